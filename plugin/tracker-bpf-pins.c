/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What outlives the process: programs, tables and links under names in a BPF file system.
 * DIRECTORY/KEY/{programs,tables,links}, where KEY says by whom they can be used: layout of the tables, a digest of all that
 * user space reads of them, and the boot.
 *
 * Invariants: KEY appears once all programs and tables are in it, by a rename; links come and go with the first and the last
 * group. The directory has one user at a time, by a lock that ends with the process.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "pins.h"
#include "text.h"
#include "tracker-bpf.h"

#define BOOT_ID "/proc/sys/kernel/random/boot_id"
#define BOOT_ID_SHOWN 8

DEFINE_CLEANUP(DIR, closedir)

/* ---- the key --------------------------------------------------------------------------------------------------------------
 */

static void digest_bytes(u64 *digest, const void *data, size_t n) {
        for (size_t i = 0; i < n; i++)
                *digest = (*digest ^ ((const unsigned char *)data)[i]) * 0x100000001b3ULL; /* FNV-1a */
}

static void digest_text(u64 *digest, const char *text) {
        digest_bytes(digest, text ?: "", strlen(text ?: "") + 1);
}

/* Where each variable of a section lies. */
static void digest_section(u64 *digest, const struct btf *btf, const struct btf_type *section) {
        const struct btf_var_secinfo *info = btf_var_secinfos(section);

        for (unsigned i = 0; i < btf_vlen(section); i++) {
                u32 place[] = {info[i].offset, info[i].size};

                digest_text(digest, btf__name_by_offset(btf, btf__type_by_id(btf, info[i].type)->name_off));
                digest_bytes(digest, place, sizeof(place));
        }
}

static u64 digest_of(const struct tracker_bpf *t) {
        const struct btf *btf = bpf_object__btf(t->skel->obj);
        const struct bpf_map *map;
        u64 digest = 0xcbf29ce484222325ULL;

        for (u32 id = 1; btf && id < btf__type_cnt(btf); id++) {
                const struct btf_type *type = btf__type_by_id(btf, id);
                const char *name = btf__name_by_offset(btf, type->name_off);

                if (btf_is_datasec(type) && (streq(name, ".bss") || streq(name, ".rodata")))
                        digest_section(&digest, btf, type);
        }
        bpf_object__for_each_map(map, t->skel->obj) {
                u32 sizes[] = {bpf_map__type(map), bpf_map__key_size(map), bpf_map__value_size(map)};

                digest_text(&digest, bpf_map__name(map));
                digest_bytes(&digest, sizes, sizeof(sizes));
        }
        for (enum loss l = 0; l < _LOSS_MAX; l++)
                digest_text(&digest, loss_name(l));
        return digest;
}

static char *key_of(const struct tracker_bpf *t) {
        _cleanup_free_ char *boot = NULL;
        size_t n;

        if (text_read_file(AT_FDCWD, BOOT_ID, 64, &boot, &n) < 0)
                return NULL;
        return format("%u-%016llx-%.*s", MP_LAYOUT, (unsigned long long)digest_of(t), BOOT_ID_SHOWN, boot);
}

/* All ends with the process, then. */
static int no_pins(struct tracker_bpf *t, int error) {
        tracker_bpf_set_ability(t, ABILITY_PINS, false, "nothing can be pinned in %s: %s", t->options.pins,
                error == -EMEDIUMTYPE ? "there is no BPF file system" : strerror(-error));
        free(t->pins);
        t->pins = NULL;
        closep(&t->pins_lock);
        t->pins_lock = -1;
        return 0;
}

/* ---- pinning --------------------------------------------------------------------------------------------------------------
 */

/* Variables are tables named like sections, and dots are the kernel's. */
static char *table_path(const char *dir, const struct bpf_map *map) {
        char *path = format("%s/tables/%s", dir, bpf_map__name(map));

        for (char *c = path ? strrchr(path, '/') : NULL; c && *c; c++)
                if (*c == '.')
                        *c = '_';
        return path;
}

static int pin_at(char *path, int fd) {
        _cleanup_free_ char *owned = path;

        if (!owned)
                return -ENOMEM;
        return bpf_obj_pin(fd, owned) < 0 ? -errno : 0;
}

static int make_directories(const char *dir) {
        static const char *const below[] = {"", "/programs", "/tables", "/links"};

        for (size_t i = 0; i < ELEMENTS(below); i++) {
                _cleanup_free_ char *path = format("%s%s", dir, below[i]);

                if (!path)
                        return -ENOMEM;
                if (mkdir(path, 0700) < 0)
                        return -errno;
        }
        return 0;
}

static int pin_all(const struct tracker_bpf *t, const char *dir) {
        struct bpf_program *program;
        struct bpf_map *map;
        int r = make_directories(dir);

        bpf_object__for_each_map(map, t->skel->obj) if (r >= 0) r = pin_at(table_path(dir, map), bpf_map__fd(map));
        bpf_object__for_each_program(program, t->skel->obj) if (r >= 0 && bpf_program__fd(program) >= 0) r =
                pin_at(format("%s/programs/%s", dir, bpf_program__name(program)), bpf_program__fd(program));
        return r;
}

void tracker_bpf_pin(struct tracker_bpf *t) {
        _cleanup_free_ char *making = t->pins ? format("%s/" PINS_MAKING, t->options.pins) : NULL;
        int r;

        if (!t->pins)
                return;
        r = making ? pin_all(t, making) : -ENOMEM;
        if (r >= 0 && rename(making, t->pins) < 0)
                r = -errno;
        if (r < 0) {
                pins_remove_tree(t->pins_lock, PINS_MAKING);
                (void)no_pins(t, r);
                return;
        }
        tracker_bpf_set_ability(t, ABILITY_PINS, true, "counting goes on without the process, by pins in %s", t->options.pins);
}

void tracker_bpf_pin_fd(struct tracker_bpf *t, size_t number, int link) {
        int r;

        if (!t->pins)
                return;
        r = pin_at(format("%s/links/%02zu", t->pins, number), link);
        if (r < 0)
                tracker_bpf_set_ability(t, ABILITY_PINS, false, "a link cannot be pinned: %s", strerror(-r));
}

void tracker_bpf_unpin_link(const struct tracker_bpf *t, size_t number) {
        _cleanup_free_ char *path = t->pins && !t->leaves ? format("%s/links/%02zu", t->pins, number) : NULL;

        if (path)
                (void)unlink(path);
}

static void close_all(int *fds, size_t n) {
        for (size_t i = 0; i < n; i++)
                closep(&fds[i]);
}

static void unmap_variables(struct tracker_bpf *t) {
        if (t->bss)
                munmap(t->bss, sizeof(*t->bss));
        if (t->rodata)
                munmap((void *)t->rodata, sizeof(*t->rodata));
        t->bss = NULL;
        t->rodata = NULL;
}

static void let_go_of_found(struct tracker_bpf *t) {
        close_all(t->runs, _RUNS);
        close_all(t->hooks, LINKS_MAX);
        close_all(t->holes, HOLES_MAX);
        unmap_variables(t);
}

void tracker_bpf_unpin(struct tracker_bpf *t) {
        if (t->pins && !t->leaves) {
                (void)pins_remove_others(t->pins_lock, "");
                (void)rmdir(t->options.pins);
        }
        if (t->adopted)
                let_go_of_found(t);
        closep(&t->pins_lock);
        t->pins_lock = -1;
        free(t->pins);
        t->pins = NULL;
}

/* ---- finding --------------------------------------------------------------------------------------------------------------
 */

int tracker_bpf_find_program(const struct tracker_bpf *t, const struct bpf_program *program) {
        _cleanup_free_ char *path = format("%s/programs/%s", t->pins, bpf_program__name(program));
        int fd = path ? bpf_obj_get(path) : -1;

        return fd < 0 ? -1 : fd;
}

static int find_tables(const struct tracker_bpf *t) {
        struct bpf_map *map;

        bpf_object__for_each_map(map, t->skel->obj) {
                _cleanup_free_ char *path = table_path(t->pins, map);
                _cleanup_close_ int fd = path ? bpf_obj_get(path) : -1;
                int r = fd < 0 ? -errno : bpf_map__reuse_fd(map, fd);

                if (r < 0)
                        return r;
        }
        return 0;
}

static int map_variables(struct tracker_bpf *t) {
        void *bss = mmap(NULL, sizeof(*t->bss), PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(t->skel->maps.bss), 0);
        void *rodata = mmap(NULL, sizeof(*t->rodata), PROT_READ, MAP_SHARED, bpf_map__fd(t->skel->maps.rodata), 0);

        t->bss = bss == MAP_FAILED ? NULL : bss;
        t->rodata = rodata == MAP_FAILED ? NULL : rodata;
        return t->bss && t->rodata ? 0 : -ENOMEM;
}

static size_t count_links(const struct tracker_bpf *t) {
        _cleanup_free_ char *path = format("%s/links", t->pins);
        _cleanup_(closedirp) DIR *d = path ? opendir(path) : NULL;
        struct dirent *entry;
        size_t n = 0;

        while (d && (entry = readdir(d)))
                n += entry->d_name[0] != '.';
        return n;
}

/* A process that died while it attached or detached left programs that do not see everything, and groups of nobody. */
static int find_links(struct tracker_bpf *t) {
        size_t n = count_links(t);

        if (n == 0 || n > LINKS_MAX || t->bss->links_attached != n)
                return -ENODATA;
        t->n_links = n;
        return 0;
}

/* Back to where nothing was found. */
static int forget(struct tracker_bpf *t, int error) {
        unmap_variables(t);
        (void)pins_remove_others(t->pins_lock, "");
        free(t->left);
        t->left = error == -ENODATA ? strdup("A former process had nothing attached, or not everything.")
                                    : format("What a former process left cannot be opened: %s.", strerror(-error));
        return 0;
}

int tracker_bpf_adopt(struct tracker_bpf *t, char **reterr) {
        _cleanup_free_ char *key = key_of(t);
        size_t others;
        int r;

        if (!key)
                return -ENOMEM;
        r = pins_lock(t->options.pins, reterr);
        if (r == -EBUSY)
                return r;
        if (r < 0)
                return no_pins(t, r);
        t->pins_lock = r;
        t->pins = format("%s/%s", t->options.pins, key);
        if (!t->pins)
                return -ENOMEM;
        others = pins_remove_others(t->pins_lock, key);
        if (access(t->pins, F_OK) < 0) {
                if (others > 0)
                        t->left = strdup("What a former process left was of another version, and was taken away.");
                return 0;
        }
        r = find_tables(t);
        if (r >= 0)
                r = map_variables(t);
        if (r >= 0)
                r = find_links(t);
        if (r < 0)
                return forget(t, r);
        tracker_bpf_set_ability(t, ABILITY_PINS, true, "counting goes on without the process, by pins in %s", t->options.pins);
        return 1;
}

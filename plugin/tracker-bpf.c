/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The BPF tracker: loads the programs of bpf/memcgprof.bpf.c, attaches them while there is a group, and reads their tables. The
 * only file that uses libbpf, and the only one in user space that knows differences between kernels' BPF.
 *
 * Invariants: programs are attached exactly while n_active > 0; a group's number is given out again only after its traces were
 * wiped from all tables; tables are read through shared memory, without a system call per element.
 */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/membarrier.h>
#include <math.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "tracker.h"

typedef uint64_t u64;
typedef uint32_t u32;
#include "bpf/shared.h"
#include "memcgprof.skel.h"

#define OBJECTS_DEFAULT (1u << 20)
#define SPILL_DEFAULT (1u << 15)
#define SITES_DEFAULT (1u << 14)
#define STACKS_DEFAULT (1u << 14)
#define USER_SAMPLE_DEFAULT (512u << 10)

/* Counters take [cpu][site] cache lines: with many CPUs the site table shrinks to stay below this. */
#define COUNTS_MAX_BYTES (128ull << 20)

enum group_state { GROUP_FREE, GROUP_ACTIVE, GROUP_DIRTY };

struct group {
        enum group_state state;
        u32 css_id;
        int64_t lost[_LOSS_MAX]; /* when the group began */
};

/* One mapped table. */
struct table {
        void *data;
        size_t bytes;
};

struct tracker_bpf {
        struct tracker base;
        struct memcgprof_bpf *skel;
        struct tracker_options options;
        unsigned n_cpus, n_sites, n_slots, n_stacks, n_active;
        struct group groups[MP_GROUPS];
        struct table objects, sites, stacks, counts, rare, group_counts;
        struct bpf_link *links[16];
        const char *sections[16]; /* of the programs that are attached; filled by tracker_bpf_hooks() */
        size_t n_links;
};

/* Which programs there are; those of frees are not needed to count only. */
enum hook_kind { ON_SOFTIRQ, ON_ALLOCATION, ON_FREE, ON_FREE_IN_INTERRUPT };

static const struct hook {
        size_t typed, raw; /* offsets in the skeleton */
        enum hook_kind kind;
} hooks[] = {
#define HOOK(name, kind) \
        { offsetof(struct memcgprof_bpf, progs.btf_##name), offsetof(struct memcgprof_bpf, progs.raw_##name), kind }
        HOOK(softirq_exit, ON_SOFTIRQ), /* exit first on and last off: no mark is left behind */
        HOOK(softirq_entry, ON_SOFTIRQ),
        HOOK(kmalloc, ON_ALLOCATION),
        HOOK(kmem_cache_alloc, ON_ALLOCATION),
        HOOK(mm_page_alloc, ON_ALLOCATION),
        HOOK(percpu_alloc_percpu, ON_ALLOCATION),
        HOOK(kfree, ON_FREE),
        HOOK(kmem_cache_free, ON_FREE),
        HOOK(mm_page_free, ON_FREE),
        HOOK(percpu_free_percpu, ON_FREE),
        HOOK(kfree_irq, ON_FREE_IN_INTERRUPT),
        HOOK(kmem_cache_free_irq, ON_FREE_IN_INTERRUPT),
        HOOK(mm_page_free_irq, ON_FREE_IN_INTERRUPT),
        HOOK(percpu_free_percpu_irq, ON_FREE_IN_INTERRUPT),
#undef HOOK
};

static struct bpf_program *hook_program(struct tracker_bpf *t, size_t i, bool raw) {
        return *(struct bpf_program **)((char *)t->skel + (raw ? hooks[i].raw : hooks[i].typed));
}

/* ---- what libbpf says, kept for our own sentence --------------------------------------------------------------------------
 */

static __thread char last_complaint[256];

static int _printf_(2, 0) keep_complaint(enum libbpf_print_level level, const char *fmt, va_list args) {
        char line[sizeof(last_complaint)];

        if (level != LIBBPF_WARN)
                return 0;
        vsnprintf(line, sizeof(line), fmt, args);
        line[strcspn(line, "\n")] = '\0';
        if (line[0])
                memcpy(last_complaint, line, sizeof(line));
        return 0;
}

static int libbpf_fail(char **reterr, int error, const char *what) {
        return fail(reterr, error, "%s: %s%s%s.", what, strerror(-error), last_complaint[0] ? "; " : "", last_complaint);
}

/* ---- constants that CO-RE cannot relocate ---------------------------------------------------------------------------------
 */

/* The value of an enumerator of any enum, anonymous ones too; -ENOENT. */
static int btf_enumerator(const struct btf *btf, const char *name, int64_t *ret) {
        for (u32 id = 1; id < btf__type_cnt(btf); id++) {
                const struct btf_type *type = btf__type_by_id(btf, id);
                const struct btf_enum *e = btf_enum(type);

                if (!btf_is_enum(type))
                        continue;
                for (unsigned i = 0; i < btf_vlen(type); i++)
                        if (streq(btf__name_by_offset(btf, e[i].name_off), name)) {
                                *ret = e[i].val;
                                return 0;
                        }
        }
        return -ENOENT;
}

static void set_constants(struct tracker_bpf *t, const struct btf *btf) {
        struct memcgprof_bpf__rodata *ro = t->skel->rodata;
        const struct constant {
                u32 *target;
                const char *bit; /* enumerator that holds the bit's number */
                u32 fallback;    /* for kernels that define a macro instead */
        } constants[] = {
                /* gfp bits became an enum in 6.9 (commit 772dd0342727); before, include/linux/gfp_types.h of 6.1 */
                {&ro->gfp_account, "___GFP_ACCOUNT_BIT", 0x400000},
                {&ro->gfp_hardwall, "___GFP_HARDWALL_BIT", 0x100000},
                /* slab flags became an enum in 6.9 (commit cc61eb851461); before, include/linux/slab.h of 6.1 */
                {&ro->slab_account, "_SLAB_ACCOUNT", 0x04000000},
        };
        int irq_stack;

        for (size_t i = 0; i < ELEMENTS(constants); i++) {
                int64_t bit;

                *constants[i].target = constants[i].fallback;
                if (btf_enumerator(btf, constants[i].bit, &bit) >= 0)
                        *constants[i].target = 1u << bit;
        }
        /* x86-64 gives interrupts a stack of THREAD_SIZE (arch/x86/include/asm/page_64_types.h), whose type is in BTF */
        irq_stack = btf__find_by_name_kind(btf, "irq_stack", BTF_KIND_STRUCT);
        ro->thread_bytes = irq_stack > 0 ? btf__type_by_id(btf, (u32)irq_stack)->size : 16384;
        /* kfuncs of 6.14 and later; found by name, because distributions carry them back */
        ro->has_cache_of = btf__find_by_name_kind(btf, "bpf_get_kmem_cache", BTF_KIND_FUNC) > 0;
}

/* ---- loading --------------------------------------------------------------------------------------------------------------
 */

static u32 power_of_two(u32 n) {
        u32 p = 1;

        while (p < n)
                p <<= 1;
        return p;
}

static void set_odds(struct mp_sample *odds, uint64_t period) {
        for (unsigned order = 0; order < MP_ORDERS; order++) {
                double bytes = (double)(4096ull << order), p = -expm1(-bytes / (double)period), weight = bytes / p;

                odds[order] = (struct mp_sample){
                        .threshold = p >= 1 ? UINT32_MAX : (u32)(p * 4294967296.0),
                        .weight = (u32)llround(weight),
                        .calls = (u32)llround((1 << MP_CALLS_SHIFT) / p),
                        .square = (u64)llround(weight * weight * (1 - p) / (4096.0 * 4096.0)),
                };
        }
}

static void complete_options(struct tracker_bpf *t) {
        struct tracker_options *o = &t->options;

        o->objects = power_of_two(o->objects ?: OBJECTS_DEFAULT);
        if (o->objects < MP_WAYS)
                o->objects = MP_WAYS;
        o->spill = o->spill ?: SPILL_DEFAULT;
        o->sites = power_of_two(o->sites ?: SITES_DEFAULT);
        while (o->sites > 1024 && (uint64_t)o->sites * t->n_cpus * sizeof(struct mp_counts) > COUNTS_MAX_BYTES)
                o->sites /= 2;
        o->stacks = power_of_two(o->stacks ?: STACKS_DEFAULT);
        o->user_sample = o->user_sample ?: USER_SAMPLE_DEFAULT;
        t->n_sites = o->sites;
        t->n_slots = o->sites + MP_CATCH_ALL;
        t->n_stacks = o->stacks;
}

static void size_tables(struct tracker_bpf *t) {
        struct memcgprof_bpf__rodata *ro = t->skel->rodata;
        const struct tracker_options *o = &t->options;

        ro->set_mask = o->objects / MP_WAYS - 1;
        ro->site_mask = t->n_sites - 1;
        ro->stack_mask = t->n_stacks - 1;
        ro->count_only = o->count_only;
        set_odds((struct mp_sample *)ro->sample, o->user_sample);
        bpf_map__set_max_entries(t->skel->maps.objects, o->objects / MP_WAYS);
        bpf_map__set_max_entries(t->skel->maps.spill, o->spill);
        bpf_map__set_max_entries(t->skel->maps.sites, t->n_sites);
        bpf_map__set_max_entries(t->skel->maps.stacks, t->n_stacks);
        bpf_map__set_max_entries(t->skel->maps.counts, t->n_slots * t->n_cpus);
        bpf_map__set_max_entries(t->skel->maps.rare, t->n_slots);
        bpf_map__set_max_entries(t->skel->maps.group_counts, MP_GROUPS * t->n_cpus);
        bpf_map__set_max_entries(t->skel->maps.cpus, t->n_cpus);
}

/* Opens the object with one flavour of each hook switched on. */
static int open_programs(struct tracker_bpf *t, const struct btf *btf, bool raw, char **reterr) {
        memcgprof_bpf__destroy(t->skel);
        t->skel = memcgprof_bpf__open();
        if (!t->skel)
                return libbpf_fail(reterr, -errno, "The BPF programs cannot be opened");
        for (size_t i = 0; i < ELEMENTS(hooks); i++) {
                bool wanted = !t->options.count_only || hooks[i].kind <= ON_ALLOCATION;

                bpf_program__set_autoload(hook_program(t, i, false), wanted && !raw);
                bpf_program__set_autoload(hook_program(t, i, true), wanted && raw);
        }
        set_constants(t, btf);
        size_tables(t);
        return 0;
}

static int load_programs(struct tracker_bpf *t, char **reterr) {
        struct btf *btf = btf__load_vmlinux_btf();
        int r;

        if (!btf)
                return libbpf_fail(
                        reterr, -ENOTSUP, "This kernel has no BTF, which the BPF programs need (CONFIG_DEBUG_INFO_BTF)");
        r = open_programs(t, btf, t->options.raw_tp, reterr);
        if (r >= 0)
                r = memcgprof_bpf__load(t->skel);
        /* 6.1 and 6.12 refuse typed programs that read an untyped pointer; raw ones load everywhere. */
        if (r < 0 && r != -EPERM && !t->options.raw_tp) {
                t->options.raw_tp = true;
                r = open_programs(t, btf, true, reterr);
                if (r >= 0)
                        r = memcgprof_bpf__load(t->skel);
        }
        btf__free(btf);
        if (r < 0)
                return libbpf_fail(reterr, r, "The kernel does not take the BPF programs");
        return 0;
}

static int map_table(const struct bpf_map *map, struct table *ret) {
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        size_t bytes = (size_t)bpf_map__value_size(map) * bpf_map__max_entries(map);
        void *data;

        bytes = (bytes + page - 1) & ~(page - 1);
        data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
        if (data == MAP_FAILED)
                return -errno;
        *ret = (struct table){.data = data, .bytes = bytes};
        return 0;
}

static int map_tables(struct tracker_bpf *t, char **reterr) {
        const struct {
                struct bpf_map *map;
                struct table *table;
        } maps[] = {
                {t->skel->maps.objects, &t->objects},
                {t->skel->maps.sites, &t->sites},
                {t->skel->maps.stacks, &t->stacks},
                {t->skel->maps.counts, &t->counts},
                {t->skel->maps.rare, &t->rare},
                {t->skel->maps.group_counts, &t->group_counts},
        };

        for (size_t i = 0; i < ELEMENTS(maps); i++) {
                int r = map_table(maps[i].map, maps[i].table);

                if (r < 0)
                        return fail(reterr, r, "The table %s cannot be mapped: %s.", bpf_map__name(maps[i].map), strerror(-r));
        }
        return 0;
}

static void detach(struct tracker_bpf *t) {
        while (t->n_links > 0)
                bpf_link__destroy(t->links[--t->n_links]);
}

static struct tracker *tracker_bpf_free(struct tracker *base) {
        struct tracker_bpf *t = (struct tracker_bpf *)base;
        struct table *tables[] = {&t->objects, &t->sites, &t->stacks, &t->counts, &t->rare, &t->group_counts};

        detach(t);
        for (size_t i = 0; i < ELEMENTS(tables); i++)
                if (tables[i]->data)
                        munmap(tables[i]->data, tables[i]->bytes);
        memcgprof_bpf__destroy(t->skel);
        free(t);
        return NULL;
}

/* Free hooks go on last, so that nothing is tracked whose free would not be seen; groups are armed later still. */
static int attach(struct tracker_bpf *t, char **reterr) {
        for (size_t i = 0; i < ELEMENTS(hooks); i++) {
                struct bpf_program *program = hook_program(t, i, t->options.raw_tp);
                struct bpf_link *link;

                if (!bpf_program__autoload(program))
                        continue;
                link = bpf_program__attach(program);
                if (!link) {
                        int r = -errno;

                        detach(t);
                        return libbpf_fail(reterr, r, bpf_program__name(program));
                }
                t->links[t->n_links++] = link;
        }
        return 0;
}

/* ---- groups ---------------------------------------------------------------------------------------------------------------
 */

/* Asks the kernel, by an iterator over this one cgroup, for the css that the programs will see. */
static int identify(struct tracker_bpf *t, const struct cgroup *cgroup, struct mp_css *ret, char **reterr) {
        union bpf_iter_link_info info = {.cgroup = {.cgroup_fd = (u32)cgroup->fd, .order = BPF_CGROUP_ITER_SELF_ONLY}};
        struct bpf_iter_attach_opts options;
        struct mp_css css = {};
        struct bpf_link *link;
        int fd, r = 0;

        memset(&options, 0, sizeof(options)); /* the padding too: libbpf 1.1 refuses other bytes there */
        options.sz = sizeof(options);
        options.link_info = &info;
        options.link_info_len = sizeof(info);
        link = bpf_program__attach_iter(t->skel->progs.identify, &options);
        if (!link)
                return errno == ENODEV || errno == ENOENT
                               ? fail(reterr, -ENODEV, "The cgroup %s is gone.", cgroup->path)
                               : libbpf_fail(reterr, -errno, "The cgroup cannot be looked up in the kernel");
        fd = bpf_iter_create(bpf_link__fd(link));
        if (fd < 0)
                r = libbpf_fail(reterr, -errno, "The cgroup cannot be looked up in the kernel");
        else if (read(fd, &css, sizeof(css)) != (ssize_t)sizeof(css))
                r = fail(reterr, -ENODEV, "The cgroup %s is gone.", cgroup->path);
        else if (!css.found)
                r = fail(reterr, -ENOTSUP, "The memory controller is not on for the cgroup %s.", cgroup->path);
        else if (css.id >= MP_CSS_IDS)
                r = fail(reterr, -ENOSPC, "The kernel has more cgroups than the group table covers (%u).", MP_CSS_IDS);
        else
                *ret = css;
        if (fd >= 0)
                close(fd);
        bpf_link__destroy(link);
        return r;
}

/* Events that programs of one kind were not run for, because they were running already on that CPU. */
static int64_t recursion_misses(struct tracker_bpf *t, enum hook_kind kind) {
        int64_t sum = 0;

        for (size_t i = 0; i < ELEMENTS(hooks); i++) {
                int fd = bpf_program__fd(hook_program(t, i, t->options.raw_tp));
                struct bpf_prog_info info = {};
                u32 length = sizeof(info);

                if (hooks[i].kind == kind && fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &length) >= 0)
                        sum += (int64_t)info.recursion_misses;
        }
        return sum;
}

static void read_losses(struct tracker_bpf *t, int64_t ret[static _LOSS_MAX]) {
        static const enum loss names[_MP_LOSSES] = {
                [MP_LOSS_OBJECTS_FULL] = LOSS_OBJECTS_FULL,
                [MP_LOSS_SITES_FULL] = LOSS_SITES_FULL,
                [MP_LOSS_STACKS_FULL] = LOSS_STACKS_FULL,
                [MP_LOSS_STACK_ERRORS] = LOSS_STACK_ERRORS,
                [MP_LOSS_STACK_MIXED] = LOSS_STACK_MIXED,
                [MP_LOSS_GROUP_LOOKUPS] = LOSS_GROUP_LOOKUPS,
                [MP_LOSS_MISSED_FREES] = LOSS_MISSED_FREES,
                [MP_LOSS_UNSIZED_FREES] = LOSS_UNSIZED_FREES,
        };
        const volatile u64 *losses = t->skel->bss->losses;

        /* caught first: what is caught meanwhile shows as a loss for a moment, never the other way */
        ret[LOSS_RECURSION] = -(int64_t)t->skel->bss->caught;
        ret[LOSS_RECURSION] += recursion_misses(t, ON_FREE);
        ret[LOSS_IRQ_UNSEEN] = recursion_misses(t, ON_ALLOCATION);
        for (size_t i = 0; i < _MP_LOSSES; i++)
                ret[names[i]] = (int64_t)losses[i];
}

/* The arm flag: from here on (or no longer) the programs find this css to be the root of a group. */
static void set_root(struct tracker_bpf *t, u32 css_id, u64 entry) {
        __atomic_store_n(&t->skel->bss->root_table[css_id], entry, __ATOMIC_SEQ_CST);
        __atomic_add_fetch(&t->skel->bss->epoch, 1, __ATOMIC_SEQ_CST);
}

static struct mp_counts *counts_at(struct tracker_bpf *t, unsigned cpu, u32 slot) {
        return (struct mp_counts *)t->counts.data + (size_t)cpu * t->n_slots + slot;
}

static bool is_dirty(const struct tracker_bpf *t, unsigned group) {
        return group < MP_GROUPS && t->groups[group].state == GROUP_DIRTY;
}

/* The group that a slot belongs to, or MP_GROUPS. */
static unsigned group_of_slot(const struct tracker_bpf *t, u32 slot) {
        u64 tag;

        if (slot >= t->n_slots)
                return MP_GROUPS;
        if (slot >= t->n_sites)
                return (slot - t->n_sites) / 16;
        tag = ((struct mp_site *)t->sites.data)[slot].tag;
        return tag && tag != MP_BUSY ? mp_tag_group(tag) : MP_GROUPS;
}

/* Programs only take objects out or put others in meanwhile; an object that is gone already is somebody else's. */
static void wipe_objects(struct tracker_bpf *t) {
        struct mp_set *sets = t->objects.data;

        for (size_t i = 0; i < t->options.objects / MP_WAYS; i++)
                for (size_t way = 0; way < MP_WAYS; way++) {
                        struct mp_object *o = &sets[i].way[way];
                        u64 key = __atomic_load_n(&o->key, __ATOMIC_ACQUIRE);

                        if (key && key != MP_BUSY && is_dirty(t, group_of_slot(t, mp_value_slot(o->value))))
                                __atomic_compare_exchange_n(&o->key, &key, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
                }
}

static void wipe_spill(struct tracker_bpf *t) {
        int fd = bpf_map__fd(t->skel->maps.spill);
        u64 key, next, value;
        bool more;

        for (more = bpf_map_get_next_key(fd, NULL, &key) >= 0; more; key = next) {
                more = bpf_map_get_next_key(fd, &key, &next) >= 0;
                if (bpf_map_lookup_elem(fd, &key, &value) >= 0 && is_dirty(t, group_of_slot(t, mp_value_slot(value))) &&
                        bpf_map_delete_elem(fd, &key) >= 0)
                        __atomic_sub_fetch(&t->skel->bss->spilled, 1, __ATOMIC_SEQ_CST);
        }
}

/* A site that goes may leave a gap before another of the same hash: that one is then made a second time, and added up when
 * read. */
static void wipe_slots(struct tracker_bpf *t) {
        for (u32 slot = 0; slot < t->n_slots; slot++) {
                if (!is_dirty(t, group_of_slot(t, slot)))
                        continue;
                for (unsigned cpu = 0; cpu < t->n_cpus; cpu++)
                        memset(counts_at(t, cpu, slot), 0, sizeof(struct mp_counts));
                memset((struct mp_rare *)t->rare.data + slot, 0, sizeof(struct mp_rare));
                if (slot < t->n_sites)
                        __atomic_store_n(&((struct mp_site *)t->sites.data)[slot].tag, 0, __ATOMIC_RELEASE);
        }
}

static void wipe_groups(struct tracker_bpf *t) {
        for (unsigned group = 0; group < MP_GROUPS; group++) {
                if (!is_dirty(t, group))
                        continue;
                for (unsigned cpu = 0; cpu < t->n_cpus; cpu++)
                        memset((struct mp_group_counts *)t->group_counts.data + cpu * MP_GROUPS + group, 0,
                                sizeof(struct mp_group_counts));
                t->groups[group].state = GROUP_FREE;
        }
}

static void tracker_bpf_clean(struct tracker *base) {
        struct tracker_bpf *t = (struct tracker_bpf *)base;
        bool dirty = false;

        for (unsigned group = 0; group < MP_GROUPS; group++)
                dirty = dirty || is_dirty(t, group);
        if (!dirty)
                return;
        /* Programs that still took somebody for a member of a group that ended are through after one grace period. */
        (void)syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
        wipe_objects(t);
        wipe_spill(t);
        wipe_slots(t);
        wipe_groups(t);
        /* Stacks are shared by groups, and the same call paths come again: kept while anybody may use them. */
        if (t->n_active == 0)
                memset(t->stacks.data, 0, t->stacks.bytes);
}

static int tracker_bpf_begin(struct tracker *base, const struct cgroup *cgroup, const struct tracker_wish *wish,
        unsigned *ret_group, char **reterr) {
        struct tracker_bpf *t = (struct tracker_bpf *)base;
        struct mp_css css = {};
        unsigned group = 0;
        int r;

        last_complaint[0] = '\0';
        r = identify(t, cgroup, &css, reterr);
        if (r < 0)
                return r;
        while (group < MP_GROUPS && t->groups[group].state != GROUP_FREE)
                group++;
        if (group == MP_GROUPS) {
                tracker_bpf_clean(base);
                for (group = 0; group < MP_GROUPS && t->groups[group].state != GROUP_FREE;)
                        group++;
        }
        if (group == MP_GROUPS)
                return fail(reterr, -ENOSPC, "All %u groups of the tables are taken.", MP_GROUPS);
        if (t->n_active == 0) {
                r = attach(t, reterr);
                if (r < 0)
                        return r;
        }
        t->n_active++;
        t->groups[group] = (struct group){.state = GROUP_ACTIVE, .css_id = css.id};
        read_losses(t, t->groups[group].lost);
        set_root(t, css.id, mp_css_entry(css.serial_nr, 0, group + 1));
        *ret_group = group;
        return 0;
}

static void tracker_bpf_end(struct tracker *base, unsigned group) {
        struct tracker_bpf *t = (struct tracker_bpf *)base;

        /* css ids are given out again: the entry may be a younger group's by now */
        if (mp_css_group1(t->skel->bss->root_table[t->groups[group].css_id]) == group + 1)
                set_root(t, t->groups[group].css_id, 0);
        t->groups[group].state = GROUP_DIRTY;
        if (--t->n_active == 0)
                detach(t);
}

/* ---- reading --------------------------------------------------------------------------------------------------------------
 */

#define READ(x) __atomic_load_n(&(x), __ATOMIC_RELAXED)

/* Freed first: an object that is freed between the two passes counts as live, never as negative. */
static void add_freed(struct tracker_bpf *t, u32 slot, struct tracker_row *row) {
        struct mp_rare *rare = (struct mp_rare *)t->rare.data + slot;
        struct tracker_counts *c = &row->counts;

        for (unsigned cpu = 0; cpu < t->n_cpus; cpu++) {
                struct mp_counts *m = counts_at(t, cpu, slot);

                c->freed_bytes += (int64_t)READ(m->freed_bytes);
                c->freed_calls += (int64_t)READ(m->freed_calls);
                if (row->estimated) {
                        row->error_bytes -= (int64_t)READ(m->freed_squares);
                        continue;
                }
                c->freed_bytes += (int64_t)READ(m->cache_freed_bytes);
                c->freed_calls += (int64_t)READ(m->cache_freed_calls);
        }
        c->freed_bytes += (int64_t)READ(rare->freed_bytes);
        c->freed_calls += (int64_t)READ(rare->freed_calls);
        c->written_off_bytes += (int64_t)READ(rare->written_off_bytes);
        c->written_off_calls += (int64_t)READ(rare->written_off_calls);
        c->untracked_bytes += (int64_t)READ(rare->untracked_bytes);
        c->untracked_calls += (int64_t)READ(rare->untracked_calls);
}

static void add_allocated(struct tracker_bpf *t, u32 slot, struct tracker_row *row) {
        for (unsigned cpu = 0; cpu < t->n_cpus; cpu++) {
                struct mp_counts *m = counts_at(t, cpu, slot);

                row->counts.allocated_bytes += (int64_t)READ(m->allocated_bytes);
                row->counts.allocated_calls += (int64_t)READ(m->allocated_calls);
                if (row->estimated)
                        row->error_bytes += (int64_t)READ(m->allocated_squares);
        }
}

static void finish_estimate(struct tracker_row *row) {
        int64_t squares = row->error_bytes > 0 ? row->error_bytes : 0;

        row->counts.allocated_calls >>= MP_CALLS_SHIFT;
        row->counts.freed_calls >>= MP_CALLS_SHIFT;
        row->error_bytes = llround(4096.0 * sqrt((double)squares));
}

static void set_source(struct tracker_bpf *t, struct tracker_row *row, u32 source, bool charged) {
        static const enum site_type types[_MP_SOURCES] = {[MP_KMALLOC] = TYPE_SLAB,
                [MP_CACHE] = TYPE_SLAB,
                [MP_PAGES] = TYPE_PAGE,
                [MP_USER] = TYPE_USER,
                [MP_PERCPU] = TYPE_PERCPU};

        row->type = types[source];
        row->charged = charged;
        row->estimated = source == MP_USER;
        row->live_known = !t->options.count_only;
        row->node = -1;
}

static void set_frames(struct tracker_bpf *t, struct tracker_row *row, u32 source, u64 id) {
        const struct mp_stack *stack = (struct mp_stack *)t->stacks.data + (id - 1);

        if (source != MP_PAGES && source != MP_USER) {
                row->n_frames = 1;
                row->frames[0] = id;
                return;
        }
        row->n_frames = stack->n < MP_FRAMES ? stack->n : MP_FRAMES;
        memcpy(row->frames, stack->frames, sizeof(stack->frames));
}

/* A row for slot `slot` when it belongs to `group`; false when it does not, or was never used. */
static bool start_row(struct tracker_bpf *t, unsigned group, u32 slot, struct tracker_row *ret) {
        const struct mp_site *site;
        u64 tag;

        *ret = (struct tracker_row){};
        if (slot >= t->n_sites) {
                unsigned index = slot - t->n_sites, source = index % 16 / 2;

                if (index / 16 != group || source >= _MP_SOURCES)
                        return false;
                set_source(t, ret, source, index & 1);
        } else {
                site = (struct mp_site *)t->sites.data + slot;
                tag = __atomic_load_n(&site->tag, __ATOMIC_ACQUIRE);
                if (!tag || tag == MP_BUSY || mp_tag_group(tag) != group)
                        return false;
                set_source(t, ret, mp_tag_source(tag), mp_tag_charged(tag));
                set_frames(t, ret, mp_tag_source(tag), site->id);
        }
        add_freed(t, slot, ret);
        return true;
}

static int read_rows(struct tracker_bpf *t, unsigned group, struct tracker_sample *sample) {
        _cleanup_free_ u32 *slots = calloc(t->n_slots, sizeof(u32));
        size_t n = 0;

        sample->rows = calloc(t->n_slots, sizeof(struct tracker_row));
        if (!slots || !sample->rows)
                return -ENOMEM;
        for (u32 slot = 0; slot < t->n_slots; slot++)
                if (start_row(t, group, slot, &sample->rows[n]))
                        slots[n++] = slot;
        for (size_t i = 0; i < n; i++)
                add_allocated(t, slots[i], &sample->rows[i]);
        for (size_t i = 0; i < n; i++) {
                struct tracker_row *row = &sample->rows[i];

                if (row->estimated)
                        finish_estimate(row);
                if (row->counts.allocated_calls || row->counts.allocated_bytes)
                        sample->rows[sample->n_rows++] = *row;
        }
        return 0;
}

static void read_group_counts(struct tracker_bpf *t, unsigned group, struct tracker_sample *sample) {
        for (unsigned cpu = 0; cpu < t->n_cpus; cpu++) {
                struct mp_group_counts *g = (struct mp_group_counts *)t->group_counts.data + cpu * MP_GROUPS + group;

                for (unsigned source = 0; source < _MP_SOURCES; source++)
                        sample->irq_bytes += (int64_t)READ(g->irq_bytes[source]);
                sample->freed_unmatched_bytes += (int64_t)(READ(g->unmatched_cache_bytes) + READ(g->unmatched_kfree_bytes) +
                                                           READ(g->unmatched_page_bytes));
        }
}

static int tracker_bpf_read(struct tracker *base, unsigned group, struct tracker_sample *ret) {
        struct tracker_bpf *t = (struct tracker_bpf *)base;
        _cleanup_(tracker_sample_done) struct tracker_sample sample = {};
        int r;

        r = read_rows(t, group, &sample);
        if (r < 0)
                return r;
        read_group_counts(t, group, &sample);
        read_losses(t, sample.lost);
        for (size_t i = 0; i < _LOSS_MAX; i++)
                sample.lost[i] -= t->groups[group].lost[i];
        *ret = sample;
        sample = (struct tracker_sample){};
        return 0;
}

static uint64_t tracker_bpf_footprint(struct tracker *base) {
        struct tracker_bpf *t = (struct tracker_bpf *)base;
        const struct table *tables[] = {&t->objects, &t->sites, &t->stacks, &t->counts, &t->rare, &t->group_counts};
        uint64_t bytes = sizeof(*t->skel->bss) + (uint64_t)t->options.spill * 64; /* a hash element is 64 bytes here */

        for (size_t i = 0; i < ELEMENTS(tables); i++)
                bytes += tables[i]->bytes;
        return bytes;
}

static int tracker_bpf_renew(struct tracker *base, unsigned group, unsigned *ret_group, char **reterr) {
        return -ENOTSUP;
}

static int tracker_bpf_fold(struct tracker *base, unsigned from, unsigned to) {
        return -ENOTSUP;
}

static void tracker_bpf_disarm(struct tracker *base, unsigned group) {
}

static int tracker_bpf_sweep(struct tracker *base, struct tracker_sweep *ret) {
        return -ENOTSUP;
}

static const struct tracker_ability *tracker_bpf_abilities(struct tracker *base, size_t *ret_n) {
        *ret_n = 0;
        return NULL;
}

static const char *const *tracker_bpf_hooks(struct tracker *base, size_t *ret_n) {
        struct tracker_bpf *t = (struct tracker_bpf *)base;
        size_t n = 0;

        for (size_t i = 0; i < ELEMENTS(hooks); i++) {
                struct bpf_program *program = hook_program(t, i, t->options.raw_tp);

                if (bpf_program__autoload(program))
                        t->sections[n++] = bpf_program__section_name(program);
        }
        *ret_n = n;
        return t->sections;
}

static const struct tracker_ops tracker_bpf_ops = {
        .backend = "bpf-tracepoints",
        .free = tracker_bpf_free,
        .begin = tracker_bpf_begin,
        .renew = tracker_bpf_renew,
        .fold = tracker_bpf_fold,
        .disarm = tracker_bpf_disarm,
        .end = tracker_bpf_end,
        .read = tracker_bpf_read,
        .sweep = tracker_bpf_sweep,
        .clean = tracker_bpf_clean,
        .footprint = tracker_bpf_footprint,
        .hooks = tracker_bpf_hooks,
        .abilities = tracker_bpf_abilities,
};

int tracker_bpf_new(const struct tracker_options *options, struct tracker **ret, char **reterr) {
        struct tracker_bpf *t = calloc(1, sizeof(*t));
        int n_cpus, r;

        if (!t)
                return -ENOMEM;
        t->base.ops = &tracker_bpf_ops;
        libbpf_set_print(keep_complaint);
        last_complaint[0] = '\0';
        n_cpus = libbpf_num_possible_cpus();
        if (n_cpus < 0) {
                free(t);
                return fail(reterr, n_cpus, "The number of CPUs cannot be read: %s.", strerror(-n_cpus));
        }
        t->n_cpus = (unsigned)n_cpus;
        if (options)
                t->options = *options;
        complete_options(t);
        r = load_programs(t, reterr);
        if (r >= 0)
                r = map_tables(t, reterr);
        if (r < 0) {
                tracker_bpf_free(&t->base);
                return r;
        }
        *ret = &t->base;
        return 0;
}

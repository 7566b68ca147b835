/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a machine supports, on made-up machines: a directory with the files that matter, a BTF written by this test, and calls
 * that answer what they are told. And once on the machine itself, where only the shape of the answer can be known.
 */
#include "machine.h"

#include <linux/btf.h>

#include "allocinfo-uapi.h"
#include "kernel-probe.h"
#include "ktypes.h"

/* ---- a machine ---- */

static struct answers {
        int load, fentry, layout_error, ioctl;
        enum cgroup_layout layout;
        uint32_t fentry_function;
} answers;

static int load_program(void) {
        return answers.load;
}

static int attach_fentry(uint32_t function) {
        answers.fentry_function = function;
        return answers.fentry;
}

static int memory_layout(enum cgroup_layout *ret, char **reterr) {
        if (answers.layout_error < 0)
                return fail(reterr, answers.layout_error, "no memory controller here");
        *ret = answers.layout;
        return 0;
}

/* The content id, and no tag that is asked for. */
static int allocinfo_ioctl(int fd, unsigned long request, void *data) {
        if (request != UAPI_CONTENT_ID)
                return -ENOENT;
        *(struct uapi_content_id *)data = (struct uapi_content_id){7};
        return answers.ioctl;
}

static ssize_t allocinfo_read_text(int fd, void *data, size_t n) {
        ssize_t r = read(fd, data, n);

        return r < 0 ? -errno : r;
}

static const struct allocinfo_ops allocinfo_calls = {allocinfo_ioctl, allocinfo_read_text};
static const struct kernel_calls calls = {load_program, attach_fentry, memory_layout, &allocinfo_calls};

static void add_file(const struct machine *m, const char *path, const void *data, size_t n) {
        machine_add(m, path, data, n, 0600);
}

static void add_text(const struct machine *m, const char *path, const char *text) {
        add_file(m, path, text, strlen(text));
}

static void remove_file(const struct machine *m, const char *path) {
        _cleanup_free_ char *full = format("%s%s", m->root, path);

        assert_int_equal(unlink(full), 0);
}

/* ---- a BTF ---- */

struct btf_image {
        char types[8192], strings[8192];
        uint32_t types_len, strings_len, n;
};

static void btf_start(struct btf_image *b) {
        memset(b, 0, sizeof *b);
        b->strings_len = 1;
}

static uint32_t btf_string(struct btf_image *b, const char *s) {
        uint32_t at = b->strings_len;

        if (!*s)
                return 0;
        assert_true(at + strlen(s) + 1 <= sizeof b->strings);
        memcpy(b->strings + at, s, strlen(s) + 1);
        b->strings_len += (uint32_t)strlen(s) + 1;
        return at;
}

static void btf_bytes(struct btf_image *b, const void *data, size_t n) {
        assert_true(b->types_len + n <= sizeof b->types);
        memcpy(b->types + b->types_len, data, n);
        b->types_len += (uint32_t)n;
}

/* Returns the new type's id. */
static uint32_t btf_type(struct btf_image *b, uint32_t kind, const char *name, uint32_t vlen) {
        struct btf_type t = {.name_off = btf_string(b, name), .info = kind << 24 | vlen};

        btf_bytes(b, &t, sizeof t);
        return ++b->n;
}

static void btf_member(struct btf_image *b, const char *name, uint32_t type) {
        struct btf_member m = {.name_off = btf_string(b, name), .type = type};

        btf_bytes(b, &m, sizeof m);
}

static size_t btf_finish(const struct btf_image *b, char *image, size_t room) {
        struct btf_header h = {
                .magic = BTF_MAGIC,
                .version = BTF_VERSION,
                .hdr_len = sizeof h,
                .type_len = b->types_len,
                .str_off = b->types_len,
                .str_len = b->strings_len,
        };
        size_t n = sizeof h + b->types_len + b->strings_len;

        assert_true(n <= room);
        memcpy(image, &h, sizeof h);
        memcpy(image + sizeof h, b->types, b->types_len);
        memcpy(image + sizeof h + b->types_len, b->strings, b->strings_len);
        return n;
}

/* One type of each kind with something behind its head, so that a wrong length shows, then what the probes ask for. */
static void btf_fill(struct btf_image *b, bool tags, const char *without) {
        static const char *const tracepoints[] = {"kmalloc", "kmem_cache_alloc", "kfree", "kmem_cache_free", "mm_page_alloc",
                "mm_page_free", "percpu_alloc_percpu", "percpu_free_percpu"};
        static const struct {
                uint32_t kind, vlen;
                size_t behind;
        } kinds[] = {{BTF_KIND_INT, 0, 4}, {BTF_KIND_PTR, 0, 0}, {BTF_KIND_ARRAY, 0, 12}, {BTF_KIND_ENUM, 2, 16},
                {BTF_KIND_FUNC_PROTO, 3, 24}, {BTF_KIND_VAR, 0, 4}, {BTF_KIND_DATASEC, 2, 24}, {BTF_KIND_FLOAT, 0, 0},
                {BTF_KIND_DECL_TAG, 0, 4}, {BTF_KIND_TYPE_TAG, 0, 0}, {BTF_KIND_ENUM64, 1, 12}};
        const char zeros[32] = {0};
        uint32_t anonymous;

        btf_start(b);
        for (size_t i = 0; i < ELEMENTS(kinds); i++) {
                btf_type(b, kinds[i].kind, "thing", kinds[i].vlen);
                btf_bytes(b, zeros, kinds[i].behind);
        }
        for (size_t i = 0; i < ELEMENTS(tracepoints); i++) {
                _cleanup_free_ char *name = format("btf_trace_%s", tracepoints[i]);

                if (!without || !streq(without, tracepoints[i]))
                        btf_type(b, BTF_KIND_TYPEDEF, name, 0);
        }
        btf_type(b, BTF_KIND_FUNC, "bpf_local_irq_save", 0);
        btf_type(b, BTF_KIND_FUNC, "bpf_fentry_test1", 0);
        /* Always there, feature or not. */
        btf_type(b, BTF_KIND_STRUCT, "alloc_tag", 1);
        btf_member(b, "alloc_tag", 1);
        anonymous = btf_type(b, BTF_KIND_STRUCT, "", 2);
        btf_member(b, "pid", 1);
        btf_member(b, tags ? "alloc_tag" : "other", 1);
        btf_type(b, BTF_KIND_STRUCT, "task_struct", 2);
        btf_member(b, "state", 1);
        btf_member(b, "", anonymous);
}

static void add_btf(const struct machine *m, bool tags, const char *without) {
        struct btf_image b;
        char image[16384];
        size_t n;

        btf_fill(&b, tags, without);
        n = btf_finish(&b, image, sizeof image);
        add_file(m, "/sys/kernel/btf/vmlinux", image, n);
}

static int machine_make(void **state) {
        struct machine *m = machine_new();

        answers = (struct answers){.layout = CGROUP_V2};
        *state = m;
        return 0;
}

static struct support *probe(const struct machine *m) {
        struct support *s = NULL;

        assert_int_equal(support_probe_at(m->root, &calls, &s), 0);
        assert_string_equal(s->release, kernel_release());
        for (size_t i = 0; i < s->n_items; i++) {
                assert_non_null(s->items[i].reason);
                assert_true(strlen(s->items[i].reason) > 10);
                assert_null(strchr(s->items[i].reason, '\n'));
        }
        return s;
}

static void expect(const struct support *s, const char *name, bool available, const char *says) {
        const struct support_item *item = support_find(s, name);

        if (!item)
                fail_msg("there is no item %s", name);
        if (item->available != available || !strstr(item->reason, says))
                fail_msg("%s: %d, %s", name, item->available, item->reason);
}

/* ---- tests ---- */

static void bare_machine(void **state) {
        const struct machine *m = *state;
        _cleanup_(support_freep) struct support *s = NULL;

        answers.load = -EPERM;
        answers.layout_error = -ENOTSUP;
        s = probe(m);
        assert_string_equal(s->backend, "none");
        assert_false(s->alloc_tags);
        expect(s, "btf", false, "CONFIG_DEBUG_INFO_BTF");
        expect(s, "bpf", false, "CAP_BPF");
        expect(s, "memory_cgroup", false, "no memory controller here");
        expect(s, "tracepoint.kmalloc", false, "not known");
        expect(s, "kfunc.bpf_local_irq_save", false, "not known");
        expect(s, "fentry", false, "not known");
        expect(s, "alloc_tags", false, "not known");
        expect(s, "kallsyms", false, "/proc/kallsyms");
        expect(s, "allocinfo", false, "CONFIG_MEM_ALLOC_PROFILING");
        expect(s, "allocinfo_ioctl", false, "CONFIG_MEM_ALLOC_PROFILING");
        expect(s, "allocinfo_accuracy", false, "CONFIG_MEM_ALLOC_PROFILING");
        expect(s, "vm.mem_profiling", false, "no sysctl");
        for (const char *const *n = (const char *const[]){"stacks", "units", NULL}; *n; n++)
                expect(s, *n, false, "not part of this version");
        expect(s, "multi", true, "any number of groups");
        expect(s, "memcg_interface", false, "no kernel");
        assert_null(support_find(s, "nonsense"));
}

static void machine_with_all(void **state) {
        const struct machine *m = *state;
        _cleanup_(support_freep) struct support *s = NULL;

        add_btf(m, true, NULL);
        add_text(m, "/proc/kallsyms", "ffffffff81000000 T f\nffffffff81000010 T g\n");
        add_text(m, "/proc/allocinfo", "allocinfo - version: 2.0\n");
        add_text(m, "/proc/sys/vm/mem_profiling", "1\n");
        add_text(m, "/proc/cmdline", "quiet cgroup.memory=nosocket xcgroup.memory=nokmem\n");
        s = probe(m);
        assert_string_equal(s->backend, "bpf-tracepoints");
        assert_true(s->alloc_tags);
        expect(s, "btf", true, "describes");
        expect(s, "bpf", true, "could be loaded");
        expect(s, "memory_cgroup", true, "on cgroup v2");
        assert_null(strstr(support_find(s, "memory_cgroup")->reason, "nokmem"));
        expect(s, "tracepoint.percpu_free_percpu", true, "percpu_free_percpu");
        expect(s, "tracepoint.alloc_tag_mem_alloced", false, "alloc_tag_mem_alloced");
        expect(s, "kfunc.bpf_local_irq_save", true, "bpf_local_irq_save");
        expect(s, "kfunc.bpf_get_kmem_cache", false, "done without");
        expect(s, "fentry", true, "bpf_fentry_test1");
        /* The id of the 21st type written. */
        assert_int_equal(answers.fentry_function, 21);
        expect(s, "kallsyms", true, "2 functions");
        expect(s, "allocinfo", true, "content id 7");
        expect(s, "allocinfo_ioctl", true, "content id 7");
        expect(s, "allocinfo_accuracy", true, "no tag");
        expect(s, "vm.mem_profiling", true, "is 1");
        assert_null(strstr(support_find(s, "vm.mem_profiling")->reason, "compressed"));
        expect(s, "alloc_tags", true, "file and line");
}

/* The kernel has them, and does not use them. */
static void tags_are_off(void **state) {
        const struct machine *m = *state;
        _cleanup_(support_freep) struct support *off = NULL, *never = NULL, *shut_down = NULL;
        _cleanup_free_ char *allocinfo = format("%s/proc/allocinfo", m->root);

        add_btf(m, true, NULL);
        add_text(m, "/proc/allocinfo", "allocinfo - version: 2.0\n");
        add_text(m, "/proc/sys/vm/mem_profiling", "0\n");
        off = probe(m);
        assert_false(off->alloc_tags);
        expect(off, "alloc_tags", false, "vm.mem_profiling is not 1");
        add_text(m, "/proc/cmdline", "quiet sysctl.vm.mem_profiling=never\n");
        never = probe(m);
        expect(never, "alloc_tags", false, "until the next boot");
        add_text(m, "/proc/cmdline", "quiet\n");
        unlink(allocinfo);
        shut_down = probe(m);
        expect(shut_down, "alloc_tags", false, "until the next boot");
}

static void every_needed_part_decides(void **state) {
        const struct machine *m = *state;

        for (const char *const *n = (const char *const[]){"kmalloc", "mm_page_free", "percpu_alloc_percpu", NULL}; *n; n++) {
                _cleanup_(support_freep) struct support *s = NULL;
                _cleanup_free_ char *item = format("tracepoint.%s", *n);

                add_btf(m, false, *n);
                s = probe(m);
                assert_string_equal(s->backend, "none");
                expect(s, item, false, *n);
                expect(s, "alloc_tags", false, "CONFIG_MEM_ALLOC_PROFILING");
        }
}

static void refusals_have_reasons(void **state) {
        const struct machine *m = *state;
        _cleanup_(support_freep) struct support *s = NULL, *t = NULL, *u = NULL;

        add_btf(m, false, NULL);
        add_text(m, "/proc/kallsyms", "0000000000000000 T f\n");
        add_text(m, "/proc/sys/kernel/kptr_restrict", "2\n");
        add_text(m, "/proc/allocinfo", "allocinfo - version: 2.0\n");
        add_text(m, "/proc/sys/vm/mem_profiling", "0\n");
        add_text(m, "/proc/cmdline", "ro cgroup.memory=nosocket,nokmem\n");
        add_text(m, "/sys/kernel/security/lockdown", "none integrity [confidentiality]\n");
        answers = (struct answers){.layout = CGROUP_HYBRID, .fentry = -EPERM, .ioctl = -ENOTTY};
        s = probe(m);
        expect(s, "kallsyms", false, "kptr_restrict is 2");
        expect(s, "allocinfo", true, "its text is read");
        expect(s, "allocinfo_ioctl", false, "no ioctl");
        expect(s, "allocinfo_accuracy", false, "is 0");
        expect(s, "vm.mem_profiling", false, "is 0");
        expect(s, "memory_cgroup", true, "nokmem");
        expect(s, "fentry", false, "policy");
        expect(s, "bpf", false, "lockdown");
        assert_string_equal(s->backend, "none");

        answers = (struct answers){.layout = CGROUP_V1, .fentry = -EOPNOTSUPP, .load = -ENOSYS, .ioctl = -EIO};
        t = probe(m);
        expect(t, "fentry", false, strerror(EOPNOTSUPP));
        expect(t, "bpf", false, "CONFIG_BPF_SYSCALL");
        expect(t, "allocinfo_ioctl", false, strerror(EIO));
        expect(t, "memory_cgroup", true, "cgroup v1");

        add_text(m, "/sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
        answers = (struct answers){0};
        u = probe(m);
        expect(u, "bpf", true, "could be loaded");
        assert_string_equal(u->backend, "bpf-tracepoints");
}

/* What a kernel with allocation profiling says when it does not profile, or not all. */
static void allocinfo_states(void **state) {
        const struct machine *m = *state;
        _cleanup_(support_freep) struct support *inaccurate = NULL, *never = NULL, *shut = NULL, *future = NULL;

        answers.ioctl = -ENOTTY;
        add_text(m, "/proc/sys/vm/mem_profiling", "1\n");
        add_text(m, "/proc/sys/vm/mem_profiling_compressed", "1\n");
        add_text(m, "/proc/allocinfo", "allocinfo - version: 2.0\n1 1 a.c:1 func:f accurate:no \n1 1 a.c:1 func:f \n");
        inaccurate = probe(m);
        expect(inaccurate, "vm.mem_profiling", true, "compressed");
        expect(inaccurate, "allocinfo_accuracy", false, "1 tags");

        add_text(m, "/proc/sys/vm/mem_profiling", "0\n");
        add_text(m, "/proc/cmdline", "sysctl.vm.mem_profiling=never\n");
        never = probe(m);
        expect(never, "allocinfo", false, "zeros only");
        expect(never, "vm.mem_profiling", false, "cannot be told to");

        remove_file(m, "/proc/allocinfo");
        add_text(m, "/proc/cmdline", "sysctl.vm.mem_profiling=1,compressed\n");
        shut = probe(m);
        expect(shut, "allocinfo", false, "shut its allocation profiling down");
        expect(shut, "vm.mem_profiling", false, "cannot be told to");

        expect(shut, "memcg_interface", false, "no kernel");
        add_text(m, "/sys/fs/cgroup/memory.allocinfo", "");
        future = probe(m);
        expect(future, "memcg_interface", true, "does not know it");
        assert_string_equal(future->backend, "none");
}

/* A file cut anywhere, and files with one wrong byte: an answer or a refusal, never a read outside (the sanitizers see to
 * that). */
static void broken_btf(void **state) {
        const struct machine *m = *state;
        _cleanup_free_ char *path = format("%s/sys/kernel/btf/vmlinux", m->root);
        struct btf_image b;
        char image[16384];
        size_t n;

        btf_fill(&b, true, NULL);
        n = btf_finish(&b, image, sizeof image);
        for (size_t cut = 0; cut < n; cut++) {
                struct ktypes *t = NULL;

                add_file(m, "/sys/kernel/btf/vmlinux", image, cut);
                assert_int_equal(ktypes_load(path, &t), -EINVAL);
                assert_null(t);
        }
        for (size_t at = 0; at < n; at++) {
                _cleanup_(ktypes_freep) struct ktypes *t = NULL;

                image[at] ^= (char)0xff;
                add_file(m, "/sys/kernel/btf/vmlinux", image, n);
                if (ktypes_load(path, &t) >= 0) {
                        ktypes_has_typedef(t, "btf_trace_kfree");
                        ktypes_has_member(t, "task_struct", "alloc_tag");
                }
                image[at] ^= (char)0xff;
        }
}

/* The last type claims one member more than the file has room for. */
static void overlong_btf(void **state) {
        const struct machine *m = *state;
        _cleanup_free_ char *path = format("%s/sys/kernel/btf/vmlinux", m->root);
        struct ktypes *t = NULL;
        struct btf_image b;
        char image[16384];
        size_t n;

        btf_start(&b);
        btf_type(&b, BTF_KIND_STRUCT, "task_struct", 2);
        btf_member(&b, "state", 1);
        n = btf_finish(&b, image, sizeof image);
        add_file(m, "/sys/kernel/btf/vmlinux", image, n);
        assert_int_equal(ktypes_load(path, &t), -EINVAL);
        assert_null(t);
}

/* An anonymous struct that contains itself is a lie, and not a way to keep us busy. */
static void cyclic_btf(void **state) {
        const struct machine *m = *state;
        _cleanup_free_ char *path = format("%s/sys/kernel/btf/vmlinux", m->root);
        _cleanup_(ktypes_freep) struct ktypes *t = NULL;
        struct btf_image b;
        char image[16384];
        size_t n;

        btf_start(&b);
        btf_type(&b, BTF_KIND_STRUCT, "task_struct", 201);
        for (int i = 0; i < 200; i++)
                btf_member(&b, "", 1);
        btf_member(&b, "", 99);
        n = btf_finish(&b, image, sizeof image);
        add_file(m, "/sys/kernel/btf/vmlinux", image, n);
        assert_int_equal(ktypes_load(path, &t), 0);
        assert_false(ktypes_has_member(t, "task_struct", "alloc_tag"));
        assert_false(ktypes_has_member(t, "no_struct", "alloc_tag"));
        assert_int_equal(ktypes_function(t, "task_struct"), 0);
}

static void possible_cpus(void **state) {
        static const struct {
                const char *list;
                unsigned n;
        } cases[] = {{"0\n", 1}, {"0-255\n", 256}, {"0-3,8,10-11\n", 7}, {"0-3", 4}};
        static const char *const none[] = {"", "\n", "x\n", "0-\n", "3-0\n", "0,,1\n", "0-99999999999\n", "-1\n"};
        const struct machine *m = *state;

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_(support_freep) struct support *s = NULL;

                add_text(m, "/sys/devices/system/cpu/possible", cases[i].list);
                s = probe(m);
                assert_int_equal(s->possible_cpus, cases[i].n);
        }
        /* Then what the C library thinks. */
        for (size_t i = 0; i < ELEMENTS(none); i++) {
                _cleanup_(support_freep) struct support *s = NULL;

                add_text(m, "/sys/devices/system/cpu/possible", none[i]);
                s = probe(m);
                assert_int_equal(s->possible_cpus, sysconf(_SC_NPROCESSORS_CONF));
        }
}

static void this_machine(void **state) {
        _cleanup_(support_freep) struct support *s = NULL;

        assert_int_equal(support_probe(&s), 0);
        assert_true(s->n_items > 20);
        assert_true(s->possible_cpus > 0);
        for (size_t i = 0; i < s->n_items; i++)
                print_message("# %s: %s, %s\n", s->items[i].name, s->items[i].available ? "yes" : "no", s->items[i].reason);
        if (!streq(s->backend, "none"))
                for (const char *const *n = (const char *const[]){"btf", "bpf", "memory_cgroup", "tracepoint.kmalloc", NULL};
                        *n; n++)
                        assert_true(support_find(s, *n)->available);
}

#define ON_MACHINE(test) cmocka_unit_test_setup_teardown(test, machine_make, machine_done)

int main(void) {
        const struct CMUnitTest tests[] = {
                ON_MACHINE(bare_machine),
                ON_MACHINE(machine_with_all),
                ON_MACHINE(tags_are_off),
                ON_MACHINE(every_needed_part_decides),
                ON_MACHINE(refusals_have_reasons),
                ON_MACHINE(allocinfo_states),
                ON_MACHINE(broken_btf),
                ON_MACHINE(overlong_btf),
                ON_MACHINE(cyclic_btf),
                ON_MACHINE(possible_cpus),
                cmocka_unit_test(this_machine),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}

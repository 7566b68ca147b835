/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What this machine supports: one table of probes, each with a sentence for people.
 *
 * Invariants: a probe never fails, it answers; every answer has a reason; nothing is judged by the kernel's version; nothing on
 * the host is changed, not even for the time of the probe, but for an empty program on a function that exists for tests.
 */
#include <fcntl.h>
#include <glob.h>
#include <sys/utsname.h>

#include "kernel-probe.h"
#include "ktypes.h"
#include "symbol.h"
#include "text.h"

#define SMALL_FILE_MAX (64 * 1024)
#define CPUS_MAX 65536
#define FENTRY_TEST "bpf_fentry_test1" /* a function that the kernel has for trying fentry on */
#define NO_BTF "not known, because the kernel's type information (BTF) cannot be read"

struct context {
        const char *root;
        const struct kernel_calls *calls;
        struct ktypes *types; /* NULL when BTF cannot be read */
        int types_error;
        const struct allocinfo_status *allocinfo;
};

struct verdict {
        bool available;
        char *reason; /* NULL: out of memory */
};

static struct verdict _printf_(2, 3) verdict(bool available, const char *fmt, ...) {
        struct verdict v = {.available = available};
        va_list ap;

        va_start(ap, fmt);
        if (vasprintf(&v.reason, fmt, ap) < 0)
                v.reason = NULL;
        va_end(ap);
        return v;
}

/* Reads a small file below the root, without the newline at its end. */
static int read_small(const struct context *c, const char *path, char **ret) {
        _cleanup_free_ char *full = format("%s%s", c->root, path);
        size_t len;
        int r;

        if (!full)
                return -ENOMEM;
        r = text_read_file(AT_FDCWD, full, SMALL_FILE_MAX, ret, &len);
        if (r >= 0 && len > 0 && (*ret)[len - 1] == '\n')
                (*ret)[len - 1] = '\0';
        return r;
}

static struct verdict probe_btf(const struct context *c, const char *argument) {
        if (c->types)
                return verdict(true, "/sys/kernel/btf/vmlinux describes this kernel's types");
        if (c->types_error == -ENOENT)
                return verdict(
                        false, "/sys/kernel/btf/vmlinux does not exist: the kernel was built without CONFIG_DEBUG_INFO_BTF");
        if (c->types_error == -EINVAL)
                return verdict(false, "/sys/kernel/btf/vmlinux is in a format that this version cannot read");
        return verdict(false, "/sys/kernel/btf/vmlinux cannot be read: %s", strerror(-c->types_error));
}

static struct verdict probe_bpf(const struct context *c, const char *argument) {
        _cleanup_free_ char *lockdown = NULL;
        int r = c->calls->load_program();

        if (r == -ENOSYS)
                return verdict(false, "the kernel was built without CONFIG_BPF_SYSCALL");
        if (r == -EPERM || r == -EACCES)
                return verdict(false, "the kernel refused to load a BPF program: run as root, or with CAP_BPF and CAP_PERFMON");
        if (r < 0)
                return verdict(false, "the kernel refused to load a BPF program: %s", strerror(-r));
        if (read_small(c, "/sys/kernel/security/lockdown", &lockdown) >= 0 && strstr(lockdown, "[confidentiality]"))
                return verdict(false, "kernel lockdown (confidentiality) forbids BPF programs to read the kernel's memory");
        return verdict(true, "a BPF program could be loaded");
}

static struct verdict probe_tracepoint(const struct context *c, const char *name) {
        _cleanup_free_ char *type = format("btf_trace_%s", name);

        if (!type)
                return (struct verdict){0};
        if (!c->types)
                return verdict(false, NO_BTF);
        if (!ktypes_has_typedef(c->types, type))
                return verdict(false, "this kernel has no tracepoint %s", name);
        return verdict(true, "this kernel has the tracepoint %s", name);
}

static struct verdict probe_kfunc(const struct context *c, const char *name) {
        if (!c->types)
                return verdict(false, NO_BTF);
        if (!ktypes_function(c->types, name))
                return verdict(false, "this kernel has no function %s for BPF programs; it is done without", name);
        return verdict(true, "this kernel has the function %s for BPF programs", name);
}

static struct verdict probe_fentry(const struct context *c, const char *argument) {
        uint32_t function;
        int r;

        if (!c->types)
                return verdict(false, NO_BTF);
        function = ktypes_function(c->types, FENTRY_TEST);
        if (!function)
                return verdict(false, "not known: this kernel lacks the function " FENTRY_TEST " that it would be tried on");
        r = c->calls->attach_fentry(function);
        if (r == -EPERM || r == -EACCES)
                return verdict(false, "the kernel refused an fentry program on " FENTRY_TEST ": its policy, or missing rights");
        if (r < 0)
                return verdict(false, "the kernel refused an fentry program on " FENTRY_TEST ": %s", strerror(-r));
        return verdict(true, "an fentry program could be attached to " FENTRY_TEST);
}

/* True when the words of the kernel's command line have cgroup.memory= with nokmem among its values. */
static bool boots_without_kmem(const struct context *c) {
        _cleanup_free_ char *line = NULL;
        char *save = NULL, *inner = NULL;

        if (read_small(c, "/proc/cmdline", &line) < 0)
                return false;
        for (char *word = strtok_r(line, " \n", &save); word; word = strtok_r(NULL, " \n", &save)) {
                if (!startswith(word, "cgroup.memory="))
                        continue;
                for (char *value = strtok_r(strchr(word, '=') + 1, ",", &inner); value; value = strtok_r(NULL, ",", &inner))
                        if (streq(value, "nokmem"))
                                return true;
        }
        return false;
}

static struct verdict probe_memory_cgroup(const struct context *c, const char *argument) {
        static const char *const where[] = {
                [CGROUP_V1] = "cgroup v1",
                [CGROUP_HYBRID] = "cgroup v1, with a v2 hierarchy beside it",
                [CGROUP_V2] = "cgroup v2",
        };
        _cleanup_free_ char *sentence = NULL;
        enum cgroup_layout layout;
        int r;

        r = c->calls->memory_layout(&layout, &sentence);
        if (r < 0)
                return verdict(false, "%s", sentence ?: strerror(-r));
        if (boots_without_kmem(c))
                return verdict(true,
                        "the memory controller is on %s, but the kernel was booted with cgroup.memory=nokmem: it charges no "
                        "kernel "
                        "memory, so all of it shows as uncharged",
                        where[layout]);
        return verdict(true, "the memory controller is on %s", where[layout]);
}

static struct verdict probe_kallsyms(const struct context *c, const char *argument) {
        _cleanup_(symbols_freep) struct symbols *symbols = NULL;
        _cleanup_free_ char *path = format("%s/proc/kallsyms", c->root), *restriction = NULL, *sentence = NULL;
        int r;

        if (!path)
                return (struct verdict){0};
        r = symbols_load(path, &symbols, &sentence);
        if (r >= 0)
                return verdict(true, "/proc/kallsyms names %zu functions", symbols_count(symbols));
        if (r != -EACCES || access(path, R_OK) < 0)
                return verdict(false, "%s", sentence ?: strerror(-r));
        if (read_small(c, "/proc/sys/kernel/kptr_restrict", &restriction) < 0)
                restriction = strdup("not readable");
        return verdict(false,
                "/proc/kallsyms hides the addresses from this process (kernel.kptr_restrict is %s): run as root, or with "
                "CAP_SYSLOG where it is below 2",
                restriction ?: "unknown");
}

#define MEM_PROFILING "/proc/sys/vm/mem_profiling"

/* Off until the next boot: by the command line, by the kernel's default, or shut down since. */
static bool never_profiles(const struct context *c) {
        _cleanup_free_ char *line = NULL, *path = format("%s/proc/allocinfo", c->root);

        if (read_small(c, "/proc/cmdline", &line) >= 0 && strstr(line, "sysctl.vm.mem_profiling=never"))
                return true;
        return path && access(path, F_OK) < 0 && errno == ENOENT;
}

static struct verdict probe_alloc_tags(const struct context *c, const char *argument) {
        _cleanup_free_ char *value = NULL;

        if (!c->types)
                return verdict(false, NO_BTF);
        /* The field, not the type: struct alloc_tag is there without the feature too. */
        if (!ktypes_has_member(c->types, "task_struct", "alloc_tag"))
                return verdict(false, "the kernel was built without CONFIG_MEM_ALLOC_PROFILING: sites are functions with "
                                      "offsets, not file and line");
        if (read_small(c, MEM_PROFILING, &value) >= 0 && streq(value, "1"))
                return verdict(true, "the kernel tags its allocations: sites are file and line");
        if (never_profiles(c))
                return verdict(false,
                        "the kernel was built with CONFIG_MEM_ALLOC_PROFILING, but its allocation profiling is off "
                        "until the next boot (never, or shut down): sites are functions with offsets");
        return verdict(false, "the kernel was built with CONFIG_MEM_ALLOC_PROFILING, but vm.mem_profiling is not 1: sites are "
                              "functions with offsets wherever an allocation comes without its tag");
}

static bool readable(const struct allocinfo_status *s) {
        return s->state == ALLOCINFO_IOCTL || s->state == ALLOCINFO_TEXT;
}

static struct verdict probe_allocinfo(const struct context *c, const char *argument) {
        return verdict(readable(c->allocinfo), "%s", c->allocinfo->reason);
}

static struct verdict probe_allocinfo_ioctl(const struct context *c, const char *argument) {
        return verdict(c->allocinfo->state == ALLOCINFO_IOCTL, "%s", c->allocinfo->reason);
}

/* Tags that the kernel itself calls inaccurate. */
static struct verdict probe_allocinfo_accuracy(const struct context *c, const char *argument) {
        _cleanup_(allocinfo_freep) struct allocinfo *a = NULL;
        _cleanup_(filter_done) struct filter inaccurate = {};
        _cleanup_free_ char *sentence = NULL;
        int r;

        if (!readable(c->allocinfo))
                return verdict(false, "%s", c->allocinfo->reason);
        r = filter_set_boolean(&inaccurate, "inaccurate", true, NULL);
        if (r >= 0)
                r = allocinfo_read(c->root, c->calls->allocinfo, &inaccurate, &a, &sentence);
        if (r < 0)
                return verdict(false, "not known: %s", sentence ?: strerror(-r));
        if (c->allocinfo->counting == COUNTING_OFF)
                return verdict(false, "vm.mem_profiling is 0: what was allocated or freed since then is not in the figures");
        if (a->total.tags > 0)
                return verdict(false,
                        "the kernel calls its figures of %llu tags inaccurate: some allocations there could not be counted",
                        (unsigned long long)a->total.tags);
        return verdict(true, "the kernel calls no tag of its own inaccurate");
}

static struct verdict probe_mem_profiling(const struct context *c, const char *argument) {
        _cleanup_free_ char *value = NULL, *shown = NULL;
        int r;

        r = read_small(c, MEM_PROFILING, &value);
        if (r == -ENOENT)
                return verdict(false, "there is no sysctl vm.mem_profiling: the kernel has no allocation profiling");
        if (r < 0)
                return verdict(false, "the sysctl vm.mem_profiling cannot be read: %s", strerror(-r));
        if (c->allocinfo->state == ALLOCINFO_NEVER || c->allocinfo->state == ALLOCINFO_SHUT)
                return verdict(false, "the kernel does not count and cannot be told to: %s", c->allocinfo->reason);
        if (streq(value, "1"))
                return verdict(true, "the sysctl vm.mem_profiling is 1: the kernel counts its allocations%s",
                        c->allocinfo->compressed ? "; its tags are compressed, so it stops for good when they run out of room"
                                                 : "");
        shown = text_escape(value, strlen(value), 16);
        return verdict(false, "the sysctl vm.mem_profiling is %s: the kernel does not count; memcgprof never changes it",
                shown ?: "?");
}

/* No kernel has such an interface yet, and nobody knows its name: one for each group would be a file in each. */
static struct verdict probe_memcg_interface(const struct context *c, const char *argument) {
        static const char *const hierarchies[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/memory"};

        for (size_t i = 0; i < ELEMENTS(hierarchies); i++) {
                _cleanup_free_ char *pattern = format("%s%s/memory.alloc*", c->root, hierarchies[i]);
                glob_t found = {};
                int r = pattern ? glob(pattern, GLOB_NOSORT, NULL, &found) : GLOB_NOSPACE;

                globfree(&found);
                if (r == GLOB_NOSPACE)
                        return (struct verdict){0};
                if (r == 0)
                        return verdict(true, "there is a memory.alloc* in %s; this version does not know it", hierarchies[i]);
        }
        return verdict(false,
                "no kernel known to this version profiles allocations per memory cgroup by itself: it is done with BPF "
                "programs");
}

static struct verdict probe_missing(const struct context *c, const char *reason) {
        return verdict(false, "%s", reason);
}

static struct verdict probe_served(const struct context *c, const char *reason) {
        return verdict(true, "%s", reason);
}

#define NOT_YET "not part of this version"

static const struct probe {
        const char *name;
        struct verdict (*answer)(const struct context *c, const char *argument);
        const char *argument;
        bool needed; /* the engine cannot work without it */
} probes[] = {
        {"btf", probe_btf, NULL, true},
        {"bpf", probe_bpf, NULL, true},
        {"memory_cgroup", probe_memory_cgroup, NULL, true},
        {"tracepoint.kmalloc", probe_tracepoint, "kmalloc", true},
        {"tracepoint.kmem_cache_alloc", probe_tracepoint, "kmem_cache_alloc", true},
        {"tracepoint.kfree", probe_tracepoint, "kfree", true},
        {"tracepoint.kmem_cache_free", probe_tracepoint, "kmem_cache_free", true},
        {"tracepoint.mm_page_alloc", probe_tracepoint, "mm_page_alloc", true},
        {"tracepoint.mm_page_free", probe_tracepoint, "mm_page_free", true},
        {"tracepoint.percpu_alloc_percpu", probe_tracepoint, "percpu_alloc_percpu", true},
        {"tracepoint.percpu_free_percpu", probe_tracepoint, "percpu_free_percpu", true},
        {"kfunc.bpf_local_irq_save", probe_kfunc, "bpf_local_irq_save", false},
        {"kfunc.bpf_get_kmem_cache", probe_kfunc, "bpf_get_kmem_cache", false},
        {"kallsyms", probe_kallsyms, NULL, false},
        {"fentry", probe_fentry, NULL, false},
        {"alloc_tags", probe_alloc_tags, NULL, false},
        {"allocinfo", probe_allocinfo, NULL, false},
        {"allocinfo_ioctl", probe_allocinfo_ioctl, NULL, false},
        {"allocinfo_accuracy", probe_allocinfo_accuracy, NULL, false},
        {"vm.mem_profiling", probe_mem_profiling, NULL, false},
        {"tracepoint.alloc_tag_mem_alloced", probe_tracepoint, "alloc_tag_mem_alloced", false},
        {"memcg_interface", probe_memcg_interface, NULL, false},
        {"multi", probe_served, "any number of groups at once, each with counters of its own", false},
        {"stacks", probe_missing, NOT_YET, false},
        {"units", probe_missing, NOT_YET, false},
};

/*
 * What could count for a profile, best first: all that it needs has to be there, and this version has to know how to use it.
 * The first two are plans that no kernel carries out yet.
 */
static const struct backend {
        const char *name;
        const char *item; /* what it needs beside what is needed anyway */
        bool known;       /* to this version */
} backends[] = {
        {"kernel-memcg", "memcg_interface", false},
        {"alloc-tag-tracepoint", "tracepoint.alloc_tag_mem_alloced", false},
        {"bpf-tracepoints", "bpf", true},
};

static const char *choose_backend(const struct support *s) {
        for (size_t i = 0; i < ELEMENTS(probes); i++)
                if (probes[i].needed && !s->items[i].available)
                        return "none";
        for (size_t i = 0; i < ELEMENTS(backends); i++)
                if (backends[i].known && support_find(s, backends[i].item)->available)
                        return backends[i].name;
        return "none";
}

static bool parse_cpu(const char **p, unsigned long *ret) {
        char *end;

        if (**p < '0' || **p > '9')
                return false;
        *ret = strtoul(*p, &end, 10);
        *p = end;
        return *ret < CPUS_MAX;
}

/* CPUs in a list as the kernel writes it, "0-3,8"; 0 when it is none. */
static unsigned count_cpus(const char *p) {
        unsigned long first, last, n = 0;

        do {
                if (!parse_cpu(&p, &first))
                        return 0;
                last = first;
                if (*p == '-' && (p++, !parse_cpu(&p, &last) || last < first))
                        return 0;
                n += last - first + 1;
        } while (*p++ == ',');
        return p[-1] == '\0' ? (unsigned)n : 0;
}

static unsigned possible_cpus(const struct context *c) {
        _cleanup_free_ char *list = NULL;
        unsigned n = read_small(c, "/sys/devices/system/cpu/possible", &list) >= 0 ? count_cpus(list) : 0;

        return n ?: (unsigned)sysconf(_SC_NPROCESSORS_CONF);
}

static int run_probes(const struct context *c, struct support *s) {
        s->items = calloc(ELEMENTS(probes), sizeof *s->items);
        if (!s->items)
                return -ENOMEM;
        for (size_t i = 0; i < ELEMENTS(probes); i++) {
                struct verdict v = probes[i].answer(c, probes[i].argument);

                if (!v.reason)
                        return -ENOMEM;
                s->items[s->n_items++] = (struct support_item){
                        .name = probes[i].name,
                        .available = v.available,
                        .reason = v.reason,
                };
        }
        s->backend = choose_backend(s);
        s->alloc_tags = support_find(s, "alloc_tags")->available;
        return 0;
}

int support_probe_at(const char *root, const struct kernel_calls *calls, struct support **ret) {
        _cleanup_(support_freep) struct support *s = calloc(1, sizeof *s);
        _cleanup_(ktypes_freep) struct ktypes *types = NULL;
        _cleanup_free_ char *path = format("%s/sys/kernel/btf/vmlinux", root);
        _cleanup_(allocinfo_status_done) struct allocinfo_status allocinfo = {};
        struct context c = {.root = root, .calls = calls, .allocinfo = &allocinfo};
        int r;

        if (!s || !path)
                return -ENOMEM;
        s->release = strdup(kernel_release());
        if (!s->release)
                return -ENOMEM;
        c.types_error = ktypes_load(path, &types);
        if (c.types_error == -ENOMEM)
                return -ENOMEM;
        c.types = types;
        r = allocinfo_probe(root, calls->allocinfo, &allocinfo);
        if (r < 0)
                return r;
        s->possible_cpus = possible_cpus(&c);
        r = run_probes(&c, s);
        if (r < 0)
                return r;
        *ret = TAKE(s);
        return 0;
}

int support_probe(struct support **ret) {
        return support_probe_at("", &kernel_calls_live, ret);
}

struct support *support_free(struct support *s) {
        if (!s)
                return NULL;
        for (size_t i = 0; i < s->n_items; i++)
                free(s->items[i].reason);
        free(s->items);
        free(s->release);
        free(s);
        return NULL;
}

const struct support_item *support_find(const struct support *s, const char *name) {
        for (size_t i = 0; i < s->n_items; i++)
                if (streq(s->items[i].name, name))
                        return &s->items[i];
        return NULL;
}

bool kernel_tags_allocations(void) {
        const struct context here = {.root = ""};
        _cleanup_free_ char *value = NULL;

        return read_small(&here, MEM_PROFILING, &value) >= 0 && streq(value, "1");
}

const char *kernel_release(void) {
        static struct utsname names;

        if (!*names.release && uname(&names) < 0)
                return "unknown";
        return names.release;
}

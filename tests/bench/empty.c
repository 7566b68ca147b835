/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>

#include "empty.h"

struct program {
        const char *hook; /* "kmalloc" of "tp_btf/kmalloc"; the tracker's */
        bool raw;         /* attached by name */
        int fd, link;
};

struct empty {
        size_t n;
        struct program programs[];
};

/* How a section's name says what a program is attached to. */
static const struct kind {
        const char *section;
        enum bpf_prog_type type;
        enum bpf_attach_type attach;
} kinds[] = {
        {"tp_btf/", BPF_PROG_TYPE_TRACING, BPF_TRACE_RAW_TP},
        {"fentry/", BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY},
        {"fexit/", BPF_PROG_TYPE_TRACING, BPF_TRACE_FEXIT},
        {"raw_tp/", BPF_PROG_TYPE_RAW_TRACEPOINT, 0},
};

static const struct kind *kind_of(const char *section) {
        for (size_t i = 0; i < ELEMENTS(kinds); i++)
                if (startswith(section, kinds[i].section))
                        return &kinds[i];
        return NULL;
}

static int type_of(const struct btf *btf, const struct kind *kind, const char *hook) {
        _cleanup_free_ char *name = format("%s%s", kind->attach == BPF_TRACE_RAW_TP ? "btf_trace_" : "", hook);

        if (!name)
                return -ENOMEM;
        return btf__find_by_name_kind(btf, name, kind->attach == BPF_TRACE_RAW_TP ? BTF_KIND_TYPEDEF : BTF_KIND_FUNC);
}

static int load(const struct btf *btf, const char *section, struct program *ret, char **reterr) {
        const struct bpf_insn nothing[] = {
                {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
                {.code = BPF_JMP | BPF_EXIT},
        };
        LIBBPF_OPTS(bpf_prog_load_opts, options);
        const struct kind *kind = kind_of(section);
        int type;

        if (!kind)
                return fail(reterr, -ENOTSUP, "It is not known how an empty program for %s is attached.", section);
        *ret = (struct program){.hook = section + strlen(kind->section), .link = -1};
        ret->raw = kind->type == BPF_PROG_TYPE_RAW_TRACEPOINT;
        options.expected_attach_type = kind->attach;
        if (!ret->raw) {
                type = type_of(btf, kind, ret->hook);
                if (type < 0)
                        return fail(reterr, type, "The kernel has no %s.", section);
                options.attach_btf_id = (uint32_t)type;
        }
        ret->fd = bpf_prog_load(kind->type, "empty", "GPL", nothing, ELEMENTS(nothing), &options);
        if (ret->fd < 0)
                return fail(reterr, -errno, "An empty program for %s cannot be loaded: %s.", section, strerror(errno));
        return 0;
}

int empty_new(struct tracker *t, struct empty **ret, char **reterr) {
        size_t n;
        const char *const *hooks = t->ops->hooks(t, &n);
        _cleanup_(empty_freep) struct empty *e = calloc(1, sizeof(*e) + n * sizeof(struct program));
        struct btf *btf = btf__load_vmlinux_btf();
        int r = btf ? 0 : -ENOTSUP;

        if (!e)
                r = -ENOMEM;
        for (; r >= 0 && e->n < n; e->n++) {
                r = load(btf, hooks[e->n], &e->programs[e->n], reterr);
                if (r < 0)
                        break;
        }
        btf__free(btf);
        if (r < 0)
                return r;
        *ret = TAKE(e);
        return 0;
}

int empty_attach(struct empty *e, char **reterr) {
        for (size_t i = 0; i < e->n; i++) {
                struct program *p = &e->programs[i];

                p->link = bpf_raw_tracepoint_open(p->raw ? p->hook : NULL, p->fd);
                if (p->link < 0) {
                        int r = -errno;

                        empty_detach(e);
                        return fail(reterr, r, "An empty program cannot be attached to %s: %s.", p->hook, strerror(-r));
                }
        }
        return 0;
}

void empty_detach(struct empty *e) {
        for (size_t i = 0; i < e->n; i++) {
                closep(&e->programs[i].link);
                e->programs[i].link = -1;
        }
}

struct empty *empty_free(struct empty *e) {
        if (!e)
                return NULL;
        empty_detach(e);
        for (size_t i = 0; i < e->n; i++)
                closep(&e->programs[i].fd);
        free(e);
        return NULL;
}

size_t empty_count(const struct empty *e) {
        return e->n;
}

int empty_statistics(void) {
        int fd = bpf_enable_stats(BPF_STATS_RUN_TIME);

        return fd < 0 ? -errno : fd;
}

uint64_t empty_allocations(const struct empty *e) {
        uint64_t sum = 0;

        for (size_t i = 0; i < e->n; i++) {
                struct bpf_prog_info info = {};
                uint32_t length = sizeof(info);

                if (strstr(e->programs[i].hook, "alloc") && bpf_obj_get_info_by_fd(e->programs[i].fd, &info, &length) >= 0)
                        sum += info.run_cnt;
        }
        return sum;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See names.h. */
#include <time.h>

#include "names.h"

#define RELOAD_INTERVAL_US (10 * 1000000)

struct names {
        struct symbols *symbols; /* NULL: not readable */
        char *kallsyms;
        int64_t loaded_us;
        struct site_memory memory;
};

static int64_t now_us(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

static void load(struct names *n) {
        struct symbols *s;

        n->loaded_us = now_us();
        if (symbols_load(n->kallsyms, &s, NULL) < 0)
                return;
        symbols_free(n->symbols);
        n->symbols = s;
        memset(&n->memory, 0, sizeof(n->memory));
}

int names_new(const char *kallsyms, struct names **ret) {
        _cleanup_(names_freep) struct names *n = calloc(1, sizeof(*n));

        if (!n)
                return -ENOMEM;
        n->kallsyms = strdup(kallsyms);
        if (!n->kallsyms)
                return -ENOMEM;
        load(n);
        *ret = TAKE(n);
        return 0;
}

struct names *names_free(struct names *n) {
        if (!n)
                return NULL;
        symbols_free(n->symbols);
        free(n->kallsyms);
        free(n);
        return NULL;
}

int names_measure(struct names *n, const struct tracker_sample *sample, struct measures *ret) {
        struct measures m;
        size_t missing;
        int r;

        r = measures_take(n->symbols, &n->memory, sample, &m, &missing);
        if (r < 0)
                return r;
        if (missing > 0 && now_us() - n->loaded_us > RELOAD_INTERVAL_US) {
                measures_done(&m);
                load(n);
                r = measures_take(n->symbols, &n->memory, sample, &m, &missing);
                if (r < 0)
                        return r;
        }
        *ret = m;
        return 0;
}

enum page_use names_page_use(struct names *n, const struct tracker_row *row) {
        struct site_verdict v;

        if ((row->type != TYPE_PAGE && row->type != TYPE_USER) || row->n_frames < 2)
                return PAGE_USE_OTHER;
        v = site_judge(n->symbols, &n->memory, row->frames, row->n_frames);
        if (v.slab_backing)
                return PAGE_USE_SLAB;
        return v.vmalloc ? PAGE_USE_VMALLOC : PAGE_USE_OTHER;
}

struct wrappers {
        struct tracker_range *ranges;
        size_t n, max;
};

static void add_wrapper(void *userdata, const char *name, uint64_t start, uint64_t end) {
        struct wrappers *w = userdata;

        if (w->n < w->max && site_is_wrapper(name))
                w->ranges[w->n++] = (struct tracker_range){.start = start, .end = end};
}

size_t names_wrappers(const struct names *n, struct tracker_range *ret, size_t max) {
        struct wrappers w = {.ranges = ret, .max = max};

        if (n->symbols)
                symbols_each(n->symbols, add_wrapper, &w);
        return w.n;
}

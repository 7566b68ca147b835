/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See names.h. The memory of answers is a table of fixed size in which a newer stack takes an older one's place. It holds
 * hashes of 62 bits and not the stacks: among the 16 thousand different stacks that a tracker keeps, two that would be taken
 * for each other have a chance of one in 10^10.
 */
#include <time.h>

#include "names.h"

#define RELOAD_INTERVAL_US (10 * 1000000)
#define ANSWERS (1u << 15)

struct names {
        struct symbols *symbols; /* NULL: not readable */
        char *kallsyms;
        int64_t loaded_us;
        uint64_t answers[ANSWERS]; /* hash of the stack, its lowest bits being the answer; 0: empty */
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
        memset(n->answers, 0, sizeof(n->answers));
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

        r = measures_take(n->symbols, sample, &m, &missing);
        if (r < 0)
                return r;
        if (missing > 0 && now_us() - n->loaded_us > RELOAD_INTERVAL_US) {
                measures_done(&m);
                load(n);
                r = measures_take(n->symbols, sample, &m, &missing);
                if (r < 0)
                        return r;
        }
        *ret = m;
        return 0;
}

/* Each frame is mixed in by a multiplication and a shift, as splitmix64 does. */
static uint64_t hash_stack(const struct tracker_row *row) {
        uint64_t h = row->n_frames;

        for (unsigned i = 0; i < row->n_frames; i++) {
                h = (h ^ row->frames[i]) * UINT64_C(0xbf58476d1ce4e5b9);
                h ^= h >> 29;
        }
        h *= UINT64_C(0x94d049bb133111eb);
        return h ^ h >> 32;
}

static enum page_use find_use(const struct names *n, const struct tracker_row *row) {
        struct site site;

        site_resolve(n->symbols, row->frames, row->n_frames, &site);
        if (site.slab_backing)
                return PAGE_USE_SLAB;
        return site.vmalloc ? PAGE_USE_VMALLOC : PAGE_USE_OTHER;
}

enum page_use names_page_use(struct names *n, const struct tracker_row *row) {
        uint64_t hash, *answer;

        if ((row->type != TYPE_PAGE && row->type != TYPE_USER) || row->n_frames < 2)
                return PAGE_USE_OTHER;
        hash = hash_stack(row) | 3;
        answer = &n->answers[(hash >> 2) % ANSWERS];
        if (!*answer || (*answer | 3) != hash)
                *answer = (hash & ~UINT64_C(3)) | find_use(n, row);
        return *answer & 3;
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

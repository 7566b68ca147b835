/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What this machine supports, each item with its reason. All probing of the kernel in user space is here; it never changes a
 * setting of the host.
 */
#pragma once

#include "util.h"

struct support_item {
        const char *name; /* e.g. "btf", "tracepoint.kmalloc", "alloc_tags" */
        bool available;
        char *reason; /* one sentence, always there */
};

struct support {
        char *release;
        const char *backend;
        bool alloc_tags;
        unsigned possible_cpus; /* what per-CPU memory is made for */
        struct support_item *items;
        size_t n_items;
};

/* Probes the machine; never fails but for -ENOMEM: what cannot be probed is an item that is not available, with the reason. */
int support_probe(struct support **ret);
struct support *support_free(struct support *s);
DEFINE_CLEANUP(struct support, support_free)

const struct support_item *support_find(const struct support *s, const char *name); /* NULL when there is no such item */

/* Whether the kernel records the sites of its allocations now (vm.mem_profiling is 1), for the documents' "kernel". */
bool kernel_tags_allocations(void);

/* uname release, for the documents' "kernel". */
const char *kernel_release(void);

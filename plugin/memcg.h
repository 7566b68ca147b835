/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The memcg's own counters: the truth that events are held against.
 *
 * v2: memory.current and memory.stat. v1: memory.usage_in_bytes, memory.kmem.usage_in_bytes and the total_ lines of
 * memory.stat, which has no breakdown of kernel memory: what a kernel does not tell stays unknown, never 0. Bytes throughout.
 * The host has no memcg that everything is charged to: its counters are those of /proc/meminfo, charged or not, and there is
 * none for kernel memory in all.
 */
#pragma once

#include "cgroup.h"

enum memcg_counter {
        MEMCG_CURRENT,
        MEMCG_KERNEL,
        MEMCG_SLAB,
        MEMCG_PERCPU,
        MEMCG_KERNEL_STACK,
        MEMCG_PAGETABLES,
        MEMCG_SOCK,
        MEMCG_VMALLOC,
        MEMCG_ZSWAP,
        MEMCG_ANON,
        MEMCG_FILE,
        MEMCG_SHMEM,
        _MEMCG_MAX
};

struct memcg_counters {
        int64_t at_us;  /* CLOCK_REALTIME */
        uint32_t known; /* bit per enum memcg_counter */
        int64_t value[_MEMCG_MAX];
};

static inline bool memcg_knows(const struct memcg_counters *c, enum memcg_counter k) {
        return c->known & (1u << k);
}

const char *memcg_counter_name(enum memcg_counter k); /* as in memory.stat; "current" for memory.current */
/* The file that tells the kernel memory: "memory.stat", "memory.kmem.usage_in_bytes"; "/proc/meminfo" for the host. */
const char *memcg_source(const struct cgroup *c);
/* The file that tells this counter, where one does. */
const char *memcg_counter_source(const struct cgroup *c, enum memcg_counter k);

/* Reads all counters. -ENODEV when the group is gone. */
int memcg_read(const struct cgroup *c, struct memcg_counters *ret);

/* Those of the host, for memcg_read and its tests; `root` is normally "/". What open and read say. */
int memcg_read_host(const char *root, struct memcg_counters *ret);

/* Parses a memory.stat text of either version into `ret` (which the caller has zeroed). For memcg_read and its tests. */
void memcg_parse_stat(const char *text, enum cgroup_layout layout, struct memcg_counters *ret);

/* The same for a /proc/meminfo. A counter is the sum of its lines; lines that a kernel has not are none of it. */
void memcg_parse_meminfo(const char *text, struct memcg_counters *ret);

/* SPDX-License-Identifier: GPL-2.0-only OR LGPL-2.1-or-later */
/*
 * What the BPF programs and user space share: the layout of tables and counters. A change here changes MP_LAYOUT.
 *
 * All tables are BPF_F_MMAPABLE arrays: page aligned (a set of the object table is one cache line) and read by user space
 * without a system call per element.
 */
#pragma once

#ifndef __VMLINUX_TYPES__
#include <linux/types.h>
#endif

#define MP_LAYOUT 1

#define MP_GROUPS 32     /* groups the tables can hold at once */
#define MP_CSS_IDS 65536 /* css ids that the group table covers; the memory controller has at most 65535 memcgs */
#define MP_WAYS 4        /* objects per set: 4 * 16 bytes, one cache line */
#define MP_FRAMES 16     /* frames kept of a page allocation's stack */
#define MP_PROBES 8      /* slots tried for a site or a stack before it counts as full */
#define MP_ORDERS 11     /* page orders 0 to 10 */
#define MP_SAMPLES 16    /* MP_ORDERS as a power of two, for the verifier */
#define MP_CALLS_SHIFT 8 /* estimated calls are counted in 1/256 */

/* Who allocates: one per allocating program, because a counter has one writing program. */
enum mp_source { MP_KMALLOC, MP_CACHE, MP_PAGES, MP_USER, MP_PERCPU, _MP_SOURCES };

enum mp_free_hook { MP_FREE_KFREE, MP_FREE_CACHE, MP_FREE_PAGE, MP_FREE_PERCPU, _MP_FREE_HOOKS };

/* Objects of different kinds never share a key: the low bits of an (at least 4-aligned) address carry the kind. */
enum mp_kind { MP_KIND_SLAB, MP_KIND_PAGE, MP_KIND_PERCPU };

/*
 * A site's slot is its index in the site table; behind those come MP_CATCH_ALL more, one per (group, source, charged): what
 * finds no room in the site or stack table is booked there, so totals stay exact when names run out.
 */
#define MP_CATCH_ALL (MP_GROUPS * 16)
#define mp_catch_all(group, source, charged) ((group)*16 + (source)*2 + (charged))

/* One object: key 0 is free, MP_BUSY is being written. */
#define MP_BUSY (~0ULL)

struct mp_object {
        __u64 key;
        __u64 value; /* mp_value() */
};

struct mp_set {
        struct mp_object way[MP_WAYS];
};

/* value = bytes (32 bits), slot (24 bits), extra (8 bits: the order of a sampled user page) */
#define mp_value(bytes, slot, extra) ((__u64)(__u32)(bytes) | (__u64)(slot) << 32 | (__u64)(extra) << 56)
#define mp_value_bytes(v) ((__u32)(v))
#define mp_value_slot(v) ((__u32)((v) >> 32) & 0xffffff)
#define mp_value_extra(v) ((__u32)((v) >> 56))

/*
 * A site: `id` is the return address of the allocation, or for pages 1 + index in the stack table. The index of the site is
 * its slot. tag 0 is free, MP_BUSY is being written.
 */
struct mp_site {
        __u64 id;
        __u64 tag; /* mp_tag() */
};

#define mp_tag(group, source, charged) ((__u64)(group) << 16 | (__u64)(source) << 8 | (__u64)(charged) << 1 | 1)
#define mp_tag_group(t) ((__u32)((t) >> 16))
#define mp_tag_source(t) ((__u32)((t) >> 8) & 0xff)
#define mp_tag_charged(t) ((__u32)((t) >> 1) & 1)

struct mp_stack {
        __u64 hash; /* 0 is free, MP_BUSY is being written */
        __u32 n;
        __u32 pad;
        __u64 frames[MP_FRAMES];
};

/*
 * Counters of one slot on one CPU: one cache line. Each field has one writing program, so plain additions lose nothing:
 * kmem_cache_free may free what kmalloc made and kfree what a cache made, hence two pairs of freed counters.
 */
struct mp_counts {
        __u64 allocated_bytes, allocated_calls;
        __u64 freed_bytes, freed_calls; /* by kfree, mm_page_free, percpu_free_percpu */
        union {
                struct {
                        __u64 cache_freed_bytes, cache_freed_calls; /* by kmem_cache_free */
                };
                struct {
                        __u64 allocated_squares, freed_squares; /* MP_USER: sum of mp_sample.square */
                };
        };
        __u64 pad[2];
};

/* Rare, written by any program on any CPU: atomics on one shared line per slot. */
struct mp_rare {
        __u64 written_off_bytes, written_off_calls;
        __u64 untracked_bytes, untracked_calls;
        __u64 freed_bytes, freed_calls; /* by the second programs of the free hooks */
};

/* Per group and CPU, one writing program each. */
struct mp_group_counts {
        __u64 irq_bytes[_MP_SOURCES];
        __u64 unmatched_cache_bytes; /* by kmem_cache_free */
        __u64 unmatched_kfree_bytes; /* by kfree */
        __u64 unmatched_page_bytes;  /* by mm_page_free */
        __u64 pad[8];
};

/* What is going on on a CPU: one cache line. */
struct mp_cpu {
        __u64 served[_MP_FREE_HOOKS]; /* the last object that the first program of each free hook served */
        __u64 in_softirq;
        __u64 pad[3];
};

/* One page order's odds of a byte sample: p = 1 - exp(-bytes / period). */
struct mp_sample {
        __u32 threshold; /* p * 2^32 */
        __u32 weight;    /* bytes / p */
        __u32 calls;     /* 1 / p in 1/256 */
        __u32 pad;
        __u64 square; /* weight^2 * (1 - p), in pages^2 */
};

enum mp_loss {
        MP_LOSS_OBJECTS_FULL,
        MP_LOSS_SITES_FULL,
        MP_LOSS_STACKS_FULL,
        MP_LOSS_STACK_ERRORS,
        MP_LOSS_STACK_MIXED,
        MP_LOSS_GROUP_LOOKUPS,
        MP_LOSS_MISSED_FREES,
        MP_LOSS_UNSIZED_FREES,
        _MP_LOSSES
};

/* What the iterator tells of a cgroup's memory css. */
struct mp_css {
        __u64 serial_nr;
        __u32 id;
        __u32 found;
};

/* css_table and root_table: serial number (40 bits), epoch (8 bits; css_table only), group + 1 (16 bits; 0: no member). */
#define MP_SERIAL_MASK ((1ULL << 40) - 1)
#define mp_css_entry(serial, epoch, group1) (((__u64)(serial)&MP_SERIAL_MASK) << 24 | ((__u64)(epoch)&0xff) << 16 | (group1))
#define mp_css_group1(e) ((__u32)(e)&0xffff)

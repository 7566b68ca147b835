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

#define MP_LAYOUT 4

#define MP_CSS_IDS 65536 /* css ids that the group table covers; the memory controller has at most 65535 memcgs */
#define MP_CPUS 4096     /* a power of two; on larger machines two CPUs would share their marks */
#define MP_WAYS 4        /* objects per set: 4 * 16 bytes, one cache line */
#define MP_FRAMES \
        10          /* frames kept of a page allocation's stack: past the wrappers, and no more different stacks than need be */
#define MP_PROBES 8 /* slots tried for a site or a stack before it counts as full */
#define MP_ORDERS 11     /* page orders 0 to 10 */
#define MP_SAMPLES 16    /* MP_ORDERS as a power of two, for the verifier */
#define MP_CALLS_SHIFT 8 /* calls of pages are counted in 1/256, because estimates of them are fractions */

/* Who allocates: one per allocating program, because a counter has one writing program. */
enum mp_source { MP_KMALLOC, MP_CACHE, MP_PAGES, MP_USER, MP_PERCPU, MP_STACKS, MP_BULK, _MP_SOURCES };

enum mp_free_hook { MP_FREE_KFREE, MP_FREE_CACHE, MP_FREE_PAGE, MP_FREE_PERCPU, _MP_FREE_HOOKS };

/* Objects of different kinds never share a key: the low bits of an (at least 4-aligned) address carry the kind. */
enum mp_kind { MP_KIND_SLAB, MP_KIND_PAGE, MP_KIND_PERCPU, MP_KIND_STACK };

/* The site table has at most so many sites; a bit for each says that it is in use, so that nobody need look at all of them. */
#define MP_SITES (1U << 20)

/* So many owners must have been read off objects, and all right, before objects are believed. */
#define MP_VERIFIED_ENOUGH 16

/* Group 0 is nobody's: objects that interrupts allocated and that may be charged to somebody later (limbo). */
#define MP_LIMBO 0

/*
 * A site's slot is its index in the site table; behind those come the catch-alls, 16 a group: what finds no room in the site or
 * stack table is booked there, so totals stay exact when names run out. They have the shared counters only (mp_rare).
 */
#define MP_CATCH_ALLS 16
#define mp_catch_all(group, source, charged) ((group)*MP_CATCH_ALLS + (source)*2 + (charged))

/* One object: key 0 is free, MP_BUSY is being written. */
#define MP_BUSY (~0ULL)

struct mp_object {
        __u64 key;
        __u64 value; /* mp_value() */
};

struct mp_set {
        struct mp_object way[MP_WAYS];
};

/*
 * value = bytes (32 bits), slot (24 bits), extra (8 bits). Of a page, bytes is its weight (what a sampled page stands for; its
 * size when it was not sampled) and extra its order and flags; of anything else extra is a generation, so that an entry that
 * was replaced meanwhile can be told from the one that was looked at.
 */
#define mp_value(bytes, slot, extra) ((__u64)(__u32)(bytes) | (__u64)(slot) << 32 | (__u64)(extra) << 56)
#define mp_value_bytes(v) ((__u32)(v))
#define mp_value_slot(v) ((__u32)((v) >> 32) & 0xffffff)
#define mp_value_extra(v) ((__u32)((v) >> 56))
#define mp_value_order(v) (mp_value_extra(v) & 15)
#define MP_PART 0x10       /* a piece of a page that was split: its call is counted with the piece that holds the head */
#define MP_SPLITTABLE 0x20 /* a page that may be freed in parts */
#define MP_LATE 0x80       /* an object in limbo; of anything else the lower seven bits are the generation */
#define MP_GENERATION 0x7f

/*
 * A site: `id` is 1 + index in the table of alloc tags when the tag has MP_ALLOC_TAG; else the return address of the
 * allocation, or for pages 1 + index in the stack table, or 1 for kernel stacks. The index of the site is its slot. tag 0 is
 * free, MP_BUSY is being written.
 */
struct mp_site {
        __u64 id;
        __u64 tag;  /* mp_tag() */
        __u64 gfp;  /* all flags that were asked with */
        __u64 deep; /* MP_DEEP: the call stands in a wrapper, and only the stack names who wanted the memory; else 0 */
};

#define MP_DEEP (1U << 31)

/* The code of a wrapper, [start, end). */
struct mp_range {
        __u64 start, end;
};

#define MP_WRAPPERS 128

/* node1: NUMA node + 1, 0 when the group does not ask for nodes */
#define mp_tag(group, source, charged, node1) \
        ((__u64)(group) << 32 | (__u64)(node1) << 16 | (__u64)(source) << 8 | (__u64)(charged) << 1 | 1)
#define mp_tag_group(t) ((__u32)((t) >> 32))
#define mp_tag_node1(t) ((__u32)((t) >> 16) & 0xffff)
#define mp_tag_source(t) ((__u32)((t) >> 8) & 0xff)
#define mp_tag_charged(t) ((__u32)((t) >> 1) & 1)

#define MP_ALLOC_TAG 4 /* the site's id is the place of an alloc tag, and not an address or a stack */
#define mp_tag_has_alloc_tag(t) ((__u32)((t) >> 2) & 1)

/* Charged pages that are counted in the totals of their group, because a row of theirs may be an estimate. */
#define mp_tag_in_page_totals(t) (mp_tag_source(t) == MP_PAGES && mp_tag_charged(t) && !mp_tag_has_alloc_tag(t))

/* What an alloc tag says: the last 63 characters of each name, as the kernel's own ioctl tells them. */
#define MP_TAG_TEXT 64

struct mp_tag_text {
        char file[MP_TAG_TEXT], function[MP_TAG_TEXT], module[MP_TAG_TEXT]; /* module "": the kernel itself */
        __u32 line, pad;
};

/*
 * An alloc tag of the kernel's (CONFIG_MEM_ALLOC_PROFILING), copied when it was first seen, because a module takes its own away
 * when it goes. address 0 is free, MP_BUSY being written; MP_TAG_GONE: another module has that address by now, and only sites
 * of before name this entry.
 */
struct mp_alloc_tag {
        __u64 address;
        __u32 modules;   /* how many modules had been loaded when it was last found to be the same */
        __u32 elsewhere; /* MP_ELSEWHERE: its pages are counted as something else; or 0 */
        __u64 pad[5];
        struct mp_tag_text text;
};

#define MP_TAG_GONE 1
#define MP_ELSEWHERE (1U << 31)

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
                        __u64 allocated_squares, freed_squares; /* pages: sums of mp_square() */
                };
        };
        __u64 pad[2];
};

/* Rare, written by any program on any CPU and by user space: atomics on one shared line per slot. */
struct mp_rare {
        __u64 allocated_bytes, allocated_calls; /* late charges, catch-alls, what a folded group had counted */
        __u64 freed_bytes, freed_calls;         /* by the second programs of the free hooks, and for the three above */
        __u64 written_off_bytes, written_off_calls;
        __u64 untracked_bytes, untracked_calls;
        __u64 squares;     /* added to allocated_squares - freed_squares */
        __u64 swept_calls; /* objects written off by a look at them; the pieces of a page are one */
};

/* Per group and CPU: one cache line per writing program, two lines in all. */
struct mp_group_counts {
        /* by mm_page_alloc and mm_page_free: charged kernel pages, each one */
        __u64 pages_bytes, pages_calls;
        __u64 pages_freed_bytes, pages_freed_calls;
        __u64 irq_bytes, kthread_bytes; /* atomic: several programs */
        __u64 unmatched_bytes;          /* atomic */
        __u64 pages_seen;               /* by mm_page_alloc: the first ones are all sampled */
        __s64 state[8];                 /* enum mp_state; one program each */
};

/* What the kernel's own tracepoints tell of a memcg, in pages. */
enum mp_state {
        MP_STATE_KMEM,
        MP_STATE_SOCK,
        MP_STATE_VMALLOC,
        MP_STATE_ANON,
        MP_STATE_FILE,
        MP_STATE_SHMEM,
        MP_STATE_PAGETABLES,
        MP_STATE_KERNEL_STACK,
        _MP_STATES
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
};

#define MP_UNKNOWN (-1) /* not told by this kernel */

/* What a memcg is charged: pages, but for zswap. */
struct mp_charges {
        __s64 memory;
        __s64 kmem, tcpmem; /* of v1 */
        __s64 kernel;       /* as in v2's memory.stat; where per-CPU memory is found */
        __s64 zswap;        /* likewise; bytes */
};

/* What was read when a group's cgroup was removed. */
struct mp_removal {
        __u64 at_ns; /* CLOCK_MONOTONIC; 0: it was not, as far as we know. Written last */
        __u64 memcg, serial_nr;
        struct mp_charges charges;
};

/* A later look: what it is told and what it answers. */
struct mp_look {
        __u64 memcg, serial_nr;
        __u64 online; /* what was left is still charged to this one */
        struct mp_charges charges;
};

/* How a group wants to be counted, and what became of its cgroup. */
struct mp_group {
        struct mp_sample kernel[MP_SAMPLES], user[MP_SAMPLES];
        __u32 ancestors[8]; /* css ids above its own: who pays for what is left when it is gone; 0: none */
        __u64 first;        /* so many kernel pages are sampled on each CPU before the odds begin to count */
        __u64 flags;
        struct mp_removal removal;
};

#define MP_GROUP_NUMA 1      /* rows by node */
#define MP_GROUP_UNSAMPLED 4 /* no stacks of pages: they are a row without a name */
#define MP_GROUP_ENDED 2     /* its cgroup is gone, or may be: what it is charged for is the parent's by then */

/* A sampled page's share of the variance of an estimate, in pages^2: w^2 (1 - p) with p = bytes / w. */
#define mp_square(weight, bytes) ((((__u64)(weight) >> 6) * (((__u64)(weight) - (bytes)) >> 6)) >> 12)
/* ... and how many calls it stands for, in 1/256. */
#define mp_page_calls(weight, order) ((__u64)(weight) >> (4 + (order)))

/* What cannot be put down to a group. */
enum mp_loss {
        MP_LOSS_LIMBO_FULL, /* objects in limbo; those of groups stand in untracked_calls */
        MP_LOSS_GROUP_LOOKUPS,
        MP_LOSS_UNSIZED_FREES,
        MP_LOSS_CHARGES,
        MP_LOSS_BULK_PAGES,
        MP_LOSS_TAGS_FULL,
        _MP_LOSSES
};

/* What falls on the group whose allocation it was: names that found no room. */
enum mp_group_loss { MP_LOSS_SITES_FULL, MP_LOSS_STACKS_FULL, MP_LOSS_STACK_ERRORS, MP_LOSS_STACK_MIXED, _MP_GROUP_LOSSES };

/* Rare, so that all CPUs share it: atomics. */
struct mp_group_losses {
        __u64 lost[_MP_GROUP_LOSSES];
        __s64 state[_MP_STATES]; /* of groups that were folded into this one: states on a CPU have one writing program each */
};

/* What the iterator tells of a cgroup's memory css. */
struct mp_css {
        __u64 serial_nr;
        __u32 id;
        __u32 found;
        __u32 ancestors[8];
        __u32 group; /* which it belongs to now; 0: none */
        __u32 pad;
};

/*
 * What user space knows of a group beside its counters. In a table only so that it outlives the process: no program reads it.
 */
struct mp_note {
        __u32 state; /* enum mp_note_state */
        __u32 armed;
        __u32 layout;  /* enum cgroup_layout of its cgroup */
        __u32 heir_of; /* the group that its cgroup's tasks were members of before; 0: none */
        __u64 born;    /* in which generation; see tracker_ops.mark */
        struct mp_css css;
        __s64 lost[16]; /* by enum loss: what the engine had lost when the group began */
        __s64 verified; /* likewise */
        __u64 state_misses;
};

enum mp_note_state { MP_NOTE_FREE, MP_NOTE_ACTIVE, MP_NOTE_DIRTY };

/* css_table and root_table: serial number (28 bits), epoch (20 bits; css_table only), group (16 bits; 0: no member). */
#define MP_SERIAL_BITS 28
#define MP_EPOCH_BITS 20
#define MP_SERIAL_MASK ((1ULL << MP_SERIAL_BITS) - 1)
#define MP_EPOCH_MASK ((1ULL << MP_EPOCH_BITS) - 1)
#define mp_css_key(serial, epoch) (((__u64)(serial)&MP_SERIAL_MASK) << MP_EPOCH_BITS | ((__u64)(epoch)&MP_EPOCH_MASK))
#define mp_css_entry(serial, epoch, group) (mp_css_key(serial, epoch) << 16 | (group))
#define mp_css_group(e) ((__u32)(e)&0xffff)

/*
 * The sweep: what it is told and what it answers. The spill comes in batches, because a run has to be short and a program of
 * 6.1 cannot begin in the middle of a hash: user space keeps the place and hands over what it read there.
 */
#define MP_SPILL_BATCH 256

struct mp_sweep {
        __u32 first, sets; /* of the object table */
        __u32 n_spilled;   /* so many of spill_batch */
        __u32 pad;
        __u64 checked, dropped, late;
};

/* How a process ended, as wait(2) tells it. */
#define MP_EXITS 4096

struct mp_exit {
        __u32 status, done;
};

/*
 * The last step of a fold: counters of `from` are added to `to` and zeroed, those of the slots in `moves` and, if asked, those
 * of the group itself. In one run of a program, because a process can be killed between any two of its instructions.
 */
#define MP_MOVES 256

struct mp_move {
        __u32 from, to; /* slots */
};

struct mp_fold {
        __u32 from, to; /* groups */
        __u32 n_moves;
        __u32 whole; /* the groups' own counters too */
        __u32 cpus;
        __u32 pad;
};

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The tracker: counts allocations per (group, site) and follows every object until it is freed.
 *
 * The table of operations has two implementations: the BPF one (tracker-bpf.c, the only user of libbpf) and a scripted one for
 * tests of the layers above. Counters only ever grow; whoever wants a baseline subtracts. Nothing here knows names or
 * documents.
 */
#pragma once

#include "cgroup.h"

enum site_type { TYPE_SLAB, TYPE_PAGE, TYPE_USER, TYPE_PERCPU, TYPE_VMALLOC, _TYPE_MAX };

/* What can be lost or refused, and never silently: one name per cause, in the documents' `lost`. */
enum loss {
        LOSS_RECURSION,     /* frees in nested interrupts that no program was run for */
        LOSS_IRQ_UNSEEN,    /* allocations in interrupts that no program was run for: missing in irq_bytes only */
        LOSS_OBJECTS_FULL,  /* objects that neither the table nor its spill could take */
        LOSS_SITES_FULL,    /* allocations booked on the catch-all site because the site table was full */
        LOSS_STACKS_FULL,   /* page allocations whose stack found no room: booked on the catch-all site */
        LOSS_STACK_ERRORS,  /* page allocations whose stack the kernel could not walk */
        LOSS_STACK_MIXED,   /* two stacks with one hash: booked on the catch-all site */
        LOSS_GROUP_LOOKUPS, /* events whose css id lies outside the group table: taken for no member */
        LOSS_MISSED_FREES,  /* frees proved missing by a new allocation at the same address (written off) */
        LOSS_UNSIZED_FREES, /* frees of earlier objects whose size the kernel does not tell */
        _LOSS_MAX
};

const char *loss_name(enum loss l);
const char *site_type_to_string(enum site_type t);

#define TRACKER_FRAMES_MAX 16

/*
 * Cumulative counters of one (group, site, type, charged). live = allocated - freed - written_off - untracked.
 */
struct tracker_counts {
        int64_t allocated_bytes, allocated_calls;
        int64_t freed_bytes, freed_calls;
        int64_t written_off_bytes, written_off_calls; /* booked as freed because their free was proved missed */
        int64_t untracked_bytes, untracked_calls;     /* allocated, but the object table had no room */
};

struct tracker_row {
        enum site_type type;
        bool charged;
        bool live_known;                     /* false for user pages: their frees are not followed */
        bool estimated;                      /* byte-sampled */
        unsigned n_frames;                   /* 1: only the call site; 0: the catch-all */
        uint64_t frames[TRACKER_FRAMES_MAX]; /* return addresses, innermost first */
        struct tracker_counts counts;
        int64_t error_bytes; /* one sigma of an estimated row */
};

struct tracker_sample {
        struct tracker_row *rows;
        size_t n_rows;
        int64_t irq_bytes;             /* allocated by interrupts that hit a member task: nobody's */
        int64_t freed_unmatched_bytes; /* charged memory from before the baseline that was freed since */
        int64_t lost[_LOSS_MAX];       /* since the group began */
};

void tracker_sample_done(struct tracker_sample *s);

struct tracker_options {
        bool count_only;      /* no free hooks, no object table: live is unknown everywhere */
        bool raw_tp;          /* attach as raw_tp even where tp_btf would do (tests) */
        uint32_t objects;     /* capacity of the object table, rounded up to a power of two; 0: default */
        uint32_t spill;       /* capacity of its spill; 0: default */
        uint32_t sites;       /* capacity of the site table; 0: default */
        uint32_t stacks;      /* capacity of the stack table; 0: default */
        uint64_t user_sample; /* bytes of user pages per stack sample; 0: default (512 KiB) */
};

struct tracker {
        const struct tracker_ops *ops;
};

struct tracker_ops {
        const char *backend; /* "bpf-tracepoints"; shown in documents */

        struct tracker *(*free)(struct tracker *t);

        /*
         * Makes `cgroup` (with its descendants) a group and arms it; attaches the programs for the first one. Counting begins
         * before the call returns. ret_group is small and unique among the living. -ENOSPC: no free group; -ENODEV: the cgroup
         * is gone.
         */
        int (*begin)(struct tracker *t, const struct cgroup *cgroup, unsigned *ret_group, char **reterr);

        /* Forgets a group and its counters; detaches the programs after the last one. */
        void (*end)(struct tracker *t, unsigned group);

        /* Freed counters are read before allocated ones, so that live errs high. */
        int (*read)(struct tracker *t, unsigned group, struct tracker_sample *ret);

        /* Zeroes what ended groups left behind, if nothing is active; meant for idle moments. */
        void (*clean)(struct tracker *t);

        /* Bytes of kernel memory that tables and counters take now. */
        uint64_t (*footprint)(struct tracker *t);
};

/* Loads the BPF programs; nothing is attached yet. -EPERM, -ENOTSUP and what libbpf says, with a sentence. */
int tracker_bpf_new(const struct tracker_options *options, struct tracker **ret, char **reterr);

static inline struct tracker *tracker_free(struct tracker *t) {
        return t ? t->ops->free(t) : NULL;
}
DEFINE_CLEANUP(struct tracker, tracker_free)

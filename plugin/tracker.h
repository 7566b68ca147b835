/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The tracker: counts allocations per (group, site) and follows every object until it is freed.
 *
 * A group is one stretch of counting for one cgroup and its descendants, but for those that are groups themselves: what is
 * allocated is booked in the innermost group, once. Nesting, baselines that move, and several views of one cgroup are made of
 * groups by the layer above (segment.c): it renews, folds and adds them up.
 *
 * The table of operations has two implementations: the BPF one (tracker-bpf.c, the only user of libbpf) and a scripted one for
 * tests of the layers above. Counters only ever grow; whoever wants a baseline subtracts. Nothing here knows names or
 * documents.
 */
#pragma once

#include "cgroup.h"
#include "memcg.h"

enum site_type { TYPE_SLAB, TYPE_PAGE, TYPE_USER, TYPE_PERCPU, TYPE_VMALLOC, _TYPE_MAX };

/* What can be lost or refused, and never silently: one name per cause, in the documents' `lost`. */
enum loss {
        LOSS_RECURSION,  /* frees in nested interrupts that no program was run for */
        LOSS_IRQ_UNSEEN, /* allocations in interrupts that no program was run for, or that found no room to wait for an owner */
        LOSS_OBJECTS_FULL,  /* objects of the group that neither the table nor its spill could take: untracked_calls */
        LOSS_SITES_FULL,    /* allocations booked on the catch-all site because the site table was full */
        LOSS_STACKS_FULL,   /* page allocations whose stack found no room: booked on the catch-all site */
        LOSS_STACK_ERRORS,  /* page allocations whose stack the kernel could not walk */
        LOSS_STACK_MIXED,   /* two stacks with one hash: booked on the catch-all site */
        LOSS_GROUP_LOOKUPS, /* events whose css id lies outside the group table: taken for no member */
        LOSS_MISSED_FREES,  /* frees of the group's, proved missing by a new allocation at the same address (written off) */
        LOSS_UNSIZED_FREES, /* frees of earlier objects whose size the kernel does not tell */
        LOSS_CHARGES,       /* charges that were inferred wrongly, of those that were verified */
        LOSS_BULK_PAGES,    /* uncharged pages that were taken in bulk, without an event: at most so many are in no row */
        LOSS_TAGS_FULL,     /* allocations named as without alloc tags, because the table of tags was full */
        LOSS_LEASE,         /* how often counting stood still, because no process cared for it any more */
        _LOSS_MAX
};

const char *loss_name(enum loss l);

/*
 * Whether a group tells how much of it fell on itself. The others are the engine's: whom they touched is not known, so that
 * each group is told all since it began.
 */
bool loss_is_own(enum loss l);

/* Whether pages were counted that no row tells, because their names found no room. */
bool lost_names(const int64_t lost[static _LOSS_MAX]);
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

void tracker_counts_add(struct tracker_counts *a, const struct tracker_counts *b, int sign);
int64_t tracker_counts_live(const struct tracker_counts *c);
int64_t tracker_counts_live_calls(const struct tracker_counts *c);

struct tracker_row {
        enum site_type type;
        bool charged;
        bool live_known;    /* false when only allocations are counted */
        bool estimated;     /* byte-sampled */
        int node;           /* NUMA node of the memory; -1: not asked for, or on no one node */
        uint32_t gfp_flags; /* all bits that this site has asked with; 0: not recorded */
        /*
         * Of a row without an address: an alloc tag (with a file), or kernel stacks (without); NULL: the frames name it. The
         * strings are the tracker's, and stay until the last group ends. Rows may be of one site by all they say.
         */
        const char *function;
        const char *file;
        const char *module; /* "": the kernel itself; of tags only */
        uint32_t line;
        unsigned n_frames;                   /* 1: only the call site; 0: named by its function, or the catch-all */
        uint64_t frames[TRACKER_FRAMES_MAX]; /* return addresses, innermost first */
        struct tracker_counts counts;
        int64_t missed_calls; /* of those written off, what a new allocation at the address proved; of charged pages by tags
                                 only */
        int64_t error_bytes;  /* one sigma of an estimated row */
};

struct tracker_sample {
        struct tracker_row *rows;
        size_t n_rows;
        int64_t irq_bytes;             /* allocated by interrupts that hit a member task: nobody's */
        int64_t kthread_bytes;         /* uncharged, by kernel threads that worked for the group: nobody's */
        int64_t freed_unmatched_bytes; /* charged memory from before the baseline that was freed since */

        /*
         * Charged kernel pages and kernel stacks, counted one by one. Where their rows are estimated (sampled), this is what
         * the rows together stand for; without sampling it is their sum.
         */
        struct tracker_counts pages;

        /* How far the memcg's own counters moved since the group began, by the kernel's tracepoints where it has them. */
        struct memcg_counters states;

        bool tagging; /* the kernel sets alloc tags: rows of kernel memory without a file came without one */

        int64_t charges_verified, charges_mismatched; /* charge is inferred; one in many is checked on the object */
        int64_t swept_at_us;                          /* last complete sweep; 0: none */
        int64_t lost[_LOSS_MAX];                      /* since the group began */
};

void tracker_sample_done(struct tracker_sample *s);

struct tracker_options {
        bool count_only;      /* no free hooks, no object table: live is unknown everywhere */
        bool raw_tp;          /* attach as raw_tp even where tp_btf would do (tests) */
        bool no_tags;         /* name sites as on a kernel without alloc tags */
        uint32_t groups;      /* how many at once; 0: default (1024) */
        uint32_t objects;     /* capacity of the object table, rounded up to a power of two; 0: default */
        uint32_t spill;       /* capacity of its spill; 0: default */
        uint32_t sites;       /* capacity of the site table; 0: default */
        uint32_t stacks;      /* capacity of the stack table; 0: default */
        uint32_t tags;        /* capacity of the table of alloc tags, where the kernel has them; 0: default */
        uint64_t user_sample; /* bytes of user pages per stack sample; 0: default (512 KiB) */

        /*
         * A directory in a BPF file system, made if need be, for one process at a time: what counts there outlives it. NULL:
         * all ends with the process.
         */
        const char *pins;
        uint64_t lease_us; /* for how long; see renew_lease. 0: default (10 minutes); UINT64_MAX: for ever */

        /*
         * For tests that must fail: "no-cache-free", "no-second-programs", "swap-groups", "shift-stride". For the bench:
         * "bare", which leaves out all that an engine could do without at the price of being wrong. NULL: none.
         */
        const char *mutation;
};

struct tracker {
        const struct tracker_ops *ops;
};

/* Pages are counted on a row without a name, and no stack is taken. A group begins so, or never is. */
#define TRACKER_NO_SAMPLES UINT64_MAX

/* How one group wants to be counted. Zero is the default. */
struct tracker_wish {
        /* Bytes of kernel pages per stack; 0: default (16 KiB); 1: every page allocation; TRACKER_NO_SAMPLES: none. */
        uint64_t page_sample;
        bool numa; /* rows by NUMA node of the memory */
};

#define TRACKER_WRAPPERS_MAX 128

/* The code of a function, [start, end). */
struct tracker_range {
        uint64_t start, end;
};

struct tracker_sweep {
        int64_t checked, dropped; /* objects */
        int64_t took_us;
};

/* What the kernel read of a memcg in the moment when its cgroup was removed. */
struct tracker_removal {
        struct memcg_counters counters;
        bool moved_known;
        int64_t moved; /* how far the counter of kernel memory has moved since; told while what was left is still charged there
                        */
};

/* What the tracker can do on this kernel beyond the necessary, for the support document. */
struct tracker_ability {
        const char *name; /* e.g. "object_check" */
        bool available;
        const char *reason; /* one clause, always there; owned by the tracker */
};

struct tracker_ops {
        const char *backend; /* "bpf-tracepoints"; shown in documents */

        struct tracker *(*free)(struct tracker *t);

        /*
         * Makes `cgroup` (with its descendants) a group and arms it; attaches the programs for the first one. Counting begins
         * before the call returns. ret_group is small and unique among the living. A cgroup is armed for one group at a time.
         * -ENOSPC: no free group, or no room left for its sites, with a sentence; -ENODEV: the cgroup is gone.
         */
        int (*begin)(struct tracker *t, const struct cgroup *cgroup, const struct tracker_wish *wish, unsigned *ret_group,
                char **reterr);

        /*
         * From now on what is allocated in the group's cgroup is booked in a new group; the old one goes on booking the frees
         * of what it counted. No event is lost or counted twice on the way. -ENOSPC as for begin.
         */
        int (*renew)(struct tracker *t, unsigned group, unsigned *ret_group, char **reterr);

        /*
         * From now on the group is counted as `wish` says, nodes left out. Rows that were not estimated may be from then on.
         * NULL: this tracker always counts the same way.
         */
        void (*set_wish)(struct tracker *t, unsigned group, const struct tracker_wish *wish);

        /*
         * Run time of all programs together, in nanoseconds, from cost(true) to cost(false). The kernel's own statistics, which
         * are on meanwhile and cost a little themselves. -EPERM, -ENOTSUP, what bpf(2) says. NULL: there is nothing to measure.
         */
        int (*cost)(struct tracker *t, bool on, uint64_t *ret_ns);

        /*
         * Adds what `from` has counted to `to` (same site: same row), and has its living objects booked there when they are
         * freed. `from` must not be armed any more (renewed, disarmed, or its cgroup gone); it reads as nothing afterwards and
         * is to be ended. -ENOSPC: `to` has no room for the sites; nothing was moved.
         */
        int (*fold)(struct tracker *t, unsigned from, unsigned to);

        /* Takes no new allocations from now on; frees go on being booked. They go to the next group above, or to none. */
        void (*disarm)(struct tracker *t, unsigned group);

        /*
         * Tells the code of functions that call the allocator for others: what is allocated from there has its site named by
         * the whole stack. At most TRACKER_WRAPPERS_MAX; NULL: this tracker has no use for them. Before the first group begins.
         */
        void (*set_wrappers)(struct tracker *t, const struct tracker_range *ranges, size_t n);

        /*
         * These four are for processes that may be killed and whose groups live on (options.pins); NULL: this tracker keeps
         * nothing. Whoever writes down which groups there are
         * asks for a number first and writes it beside them: all groups until now are those of that number or of a smaller one.
         * A group's number is not given out again before clean(), so that what was written down last must be on disk before. 0:
         * nothing would outlive this process.
         */
        uint64_t (*mark)(struct tracker *t);

        /*
         * Of the groups that a former process left, those of `groups` go on as they are. What began since `generation` by
         * renewing one of them is given back to it; all others are ended. Counts are the same ones as before, to the last
         * event. -ENODATA with a sentence when nothing was left, or not all of these; then nothing goes on.
         */
        int (*keep)(struct tracker *t, const unsigned *groups, size_t n, uint64_t generation, char **reterr);

        /* From now on free() leaves all that counts to the next process. */
        void (*leave)(struct tracker *t);

        /* Says that somebody still cares; at least so often as options.lease_us, while there is a group. */
        void (*renew_lease)(struct tracker *t);

        /*
         * Has the end of a process (number in the first pid namespace) noted, or not any more. exit_of() is its wait(2) status;
         * -ENODATA: not noted, -ENOSPC: there are too many. NULL: this tracker does not see it.
         */
        int (*follow_exit)(struct tracker *t, pid_t pid, bool on);
        int (*exit_of)(struct tracker *t, pid_t pid, int *ret_status);

        /* Forgets a group and its counters; detaches the programs after the last one. */
        void (*end)(struct tracker *t, unsigned group);

        /* Freed counters are read before allocated ones, so that live errs high. */
        int (*read)(struct tracker *t, unsigned group, struct tracker_sample *ret);

        /*
         * Between hold(true) and hold(false), which nest, what all groups share is read once: losses, and which sites there
         * are (one made meanwhile may be missing). For whoever reads many groups; nothing but reading is done meanwhile. NULL:
         * this tracker has nothing to hold.
         */
        void (*hold)(struct tracker *t, bool on);

        /*
         * The counters of the group's cgroup as they were when it was removed. -ENODATA: it was not, or nobody saw it. NULL:
         * this tracker never sees it. See tracker_removal().
         */
        int (*removal)(struct tracker *t, unsigned group, struct tracker_removal *ret);

        /*
         * Checks every tracked object that can be checked on the object itself, and books as written off what is no longer
         * allocated. Bounded by the object table. -ENOTSUP where the kernel does not let us (see abilities).
         */
        int (*sweep)(struct tracker *t, struct tracker_sweep *ret);

        /* Zeroes what ended groups left behind; meant for idle moments. */
        void (*clean)(struct tracker *t);

        /* Bytes of kernel memory that tables and counters take now. */
        uint64_t (*footprint)(struct tracker *t);

        /*
         * What is attached while there is a group: the section names of the programs ("tp_btf/kmalloc"), one entry a program.
         * For whoever wants to hold the cost against that of as many empty programs on the same hooks.
         */
        const char *const *(*hooks)(struct tracker *t, size_t *ret_n);

        /* The table of abilities; n entries. */
        const struct tracker_ability *(*abilities)(struct tracker *t, size_t *ret_n);
};

/*
 * What the tables of `options` take with so many possible CPUs: computed, nothing is allocated. per_site is what one more row
 * of a group takes out of the pool, per_group what a group takes besides.
 */
struct tracker_memory {
        uint64_t total, per_group, per_site;
        uint32_t groups, sites, objects; /* the caps */
};
void tracker_memory(const struct tracker_options *options, unsigned cpus, struct tracker_memory *ret);

/* Loads the BPF programs; nothing is attached yet. -EPERM, -ENOTSUP and what libbpf says, with a sentence. */
int tracker_bpf_new(const struct tracker_options *options, struct tracker **ret, char **reterr);

static inline void tracker_hold(struct tracker *t, bool on) {
        if (t->ops->hold)
                t->ops->hold(t, on);
}

static inline int tracker_removal(struct tracker *t, unsigned group, struct tracker_removal *ret) {
        return t->ops->removal ? t->ops->removal(t, group, ret) : -ENODATA;
}

static inline struct tracker *tracker_free(struct tracker *t) {
        return t ? t->ops->free(t) : NULL;
}
DEFINE_CLEANUP(struct tracker, tracker_free)

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the parts of the BPF tracker share: tracker-bpf.c (reading, sweeping), -group.c (groups), -load.c (loading, attaching),
 * -pins.c (what outlives the process). Nobody else includes this.
 */
#pragma once

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "tracker-tables.h"

#include "memcgprof.skel.h" /* speaks of u64 and u32 */

/* What readings of all groups share; see tracker_ops.hold. */
struct shared {
        unsigned holds;
        bool known; /* since the first of them */
        int64_t lost[_LOSS_MAX];
        uint64_t state_misses;
};

#define HOLES_MAX 8 /* functions that are followed because no tracepoint tells of them */

enum {
        ABILITY_OBJECT_CHECK,
        ABILITY_LATE_CHARGES,
        ABILITY_HOLES,
        ABILITY_STATES,
        ABILITY_REMOVAL,
        ABILITY_NODES,
        ABILITY_TAGS,
        ABILITY_PINS,
        _ABILITIES
};

#define LINKS_MAX 48

/* Programs that user space runs itself. */
enum run { RUN_IDENTIFY, RUN_SWEEP, RUN_COUNTERS, RUN_STATES, RUN_FOLD, RUN_LEASE, _RUNS };

struct tracker_bpf {
        struct tracker base;
        struct memcgprof_bpf *skel;                          /* of what a former process loaded: names and sizes only */
        struct memcgprof_bpf__bss *bss;                      /* the programs' variables */
        const struct memcgprof_bpf__rodata *rodata;          /* and constants */
        int runs[_RUNS], hooks[LINKS_MAX], holes[HOLES_MAX]; /* descriptors of programs; -1: not loaded */
        struct tracker_options options;
        struct tables tables;
        struct table notes; /* struct mp_note [tables.n_groups]; the first is limbo */
        unsigned n_active;
        struct bpf_link *links[LINKS_MAX]; /* NULL: a former process's */
        const char *sections[LINKS_MAX];   /* of the programs that are attached; filled by tracker_bpf_hooks() */
        size_t n_links;
        bool has_states, has_stack_areas, has_holes, has_cpu_offsets, has_modules;
        char hole_sections[HOLES_MAX][64];
        int64_t swept_at_us;
        int stats_fd;      /* keeps the kernel's statistics of programs on; -1: they are not */
        uint64_t stats_ns; /* run time when they were switched on */
        struct shared shared;
        struct tracker_ability abilities[_ABILITIES];
        char reasons[_ABILITIES][256];

        char *pins;    /* the directory of what outlives this process; NULL: nothing does */
        int pins_lock; /* of the directory above it, which has one user */
        bool adopted;  /* the programs are a former process's */
        bool leaves;   /* free() leaves all to the next process */
        char *left;    /* why what a former process left was of no use; NULL: it left nothing, or all was */
};

/* Of each program its kind decides whether it is loaded, and its place when it is attached. */
enum hook_kind {
        ON_SOFTIRQ,
        ON_ALLOCATION,
        ON_REMOVAL_STATES,
        ON_REMOVAL,
        ON_TASK,
        ON_STATE,
        ON_FREE,
        ON_FREE_IN_INTERRUPT,
        ON_MODULE,
        ON_HOLE
};

static inline struct tracker_bpf *tracker_bpf_of(struct tracker *base) {
        return (struct tracker_bpf *)base;
}

static inline struct mp_group *settings_of(const struct tracker_bpf *t, unsigned group) {
        return (struct mp_group *)t->tables.groups.data + group;
}

static inline struct mp_note *note_of(const struct tracker_bpf *t, unsigned group) {
        return (struct mp_note *)t->notes.data + group;
}

/* Run time of all attached programs in nanoseconds, as far as the kernel's statistics were on. */
uint64_t tracker_bpf_run_time(const struct tracker_bpf *t);

/* As recursion_misses of all loaded programs of one kind. */
uint64_t tracker_bpf_misses(const struct tracker_bpf *t, enum hook_kind kind);

/* Says what the tracker can do; `available` with a clause, which is always there. */
void _printf_(4, 5) tracker_bpf_set_ability(struct tracker_bpf *t, size_t i, bool available, const char *fmt, ...);

static inline bool is_mutated(const struct tracker_bpf *t, const char *mutation) {
        return t->options.mutation && streq(t->options.mutation, mutation);
}

int libbpf_fail(char **reterr, int error, const char *what);
void libbpf_forget_complaint(void);

/* Loads the programs for t->options and maps their tables. */
int tracker_bpf_load(struct tracker_bpf *t, char **reterr);
void tracker_bpf_unload(struct tracker_bpf *t);

int tracker_bpf_attach(struct tracker_bpf *t, char **reterr);
const char *const *tracker_bpf_hooks(struct tracker *base, size_t *ret_n);
void tracker_bpf_detach(struct tracker_bpf *t);

/* Runs one of the programs on `context`. */
int tracker_bpf_run(const struct tracker_bpf *t, enum run run, void *context, size_t bytes);

/* ---- groups: tracker-bpf-group.c; see tracker_ops ------------------------------------------------------------------------ */

int tracker_bpf_begin(
        struct tracker *base, const struct cgroup *cgroup, const struct tracker_wish *wish, unsigned *ret_group, char **reterr);
int tracker_bpf_renew(struct tracker *base, unsigned group, unsigned *ret_group, char **reterr);
int tracker_bpf_fold(struct tracker *base, unsigned from, unsigned to);
void tracker_bpf_disarm(struct tracker *base, unsigned group);
void tracker_bpf_set_wish(struct tracker *base, unsigned group, const struct tracker_wish *wish);
void tracker_bpf_end(struct tracker *base, unsigned group);
void tracker_bpf_clean(struct tracker *base);
int tracker_bpf_keep(struct tracker *base, const unsigned *groups, size_t n, uint64_t generation, char **reterr);

/* The engine's losses until now. */
void tracker_bpf_losses(const struct tracker_bpf *t, int64_t ret[static _LOSS_MAX]);

/* Whether owners of objects may be read; brings the abilities up to date. */
bool tracker_bpf_trusts_owners(struct tracker_bpf *t);

/* The spill is a hash, read bucket by bucket, so that a walk ends whatever comes and goes meanwhile. Begin with a zeroed one.
 */
struct spill_walk {
        bool begun, over;
        u32 bucket;
        u32 n; /* objects of this batch */
        u64 keys[MP_SPILL_BATCH], values[MP_SPILL_BATCH];
};

/* The next batch, which may be empty. Returns false when there is none any more. */
bool spill_next(const struct tracker_bpf *t, struct spill_walk *w);

/* ---- what outlives the process: tracker-bpf-pins.c ----------------------------------------------------------------------- */

/*
 * Takes the directory of options.pins, so that nobody else does, and finds what a former process left there. 1: programs and
 * tables of the same making, which still count: t->runs, hooks, holes and the maps of t->skel (opened, not loaded) are those.
 * 0: nothing of use, and nothing is there any more (t->left says why, if there was). -EBUSY: another process has it. A machine
 * where nothing can be pinned is no failure: ABILITY_PINS says so.
 */
int tracker_bpf_adopt(struct tracker_bpf *t, char **reterr);

/* Pins programs and tables once they are loaded. */
void tracker_bpf_pin(struct tracker_bpf *t);

/* The descriptor of a program that was found; -1: it is not there. */
int tracker_bpf_find_program(const struct tracker_bpf *t, const struct bpf_program *program);

/* Pins a link that was just attached as the one with this number, and takes one away; nothing when nothing is pinned. */
void tracker_bpf_pin_fd(struct tracker_bpf *t, size_t number, int link);
void tracker_bpf_unpin_link(const struct tracker_bpf *t, size_t number);

/* Takes all pins away, unless they are left to the next process, and gives the directory back. */
void tracker_bpf_unpin(struct tracker_bpf *t);

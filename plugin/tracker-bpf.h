/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What tracker-bpf.c (groups, reading, sweeping) and tracker-bpf-load.c (loading, attaching) share. Nobody else includes this.
 */
#pragma once

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "tracker-tables.h"

#include "memcgprof.skel.h" /* speaks of u64 and u32 */

struct group {
        enum { GROUP_FREE, GROUP_ACTIVE, GROUP_DIRTY } state;
        bool armed;
        struct mp_css css;
        enum cgroup_layout layout;   /* of its cgroup */
        int64_t lost[_LOSS_MAX];     /* by the engine, when the group began */
        int64_t verified;            /* likewise */
        uint64_t state_misses;       /* likewise: of the programs that count states */
        int64_t carried[_MEMCG_MAX]; /* states of groups that were folded into it */
};

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
        _ABILITIES
};

struct tracker_bpf {
        struct tracker base;
        struct memcgprof_bpf *skel;
        struct tracker_options options;
        struct tables tables;
        struct group *groups; /* [tables.n_groups]; the first is limbo */
        unsigned n_active;
        struct bpf_link *links[48];
        const char *sections[48]; /* of the programs that are attached; filled by tracker_bpf_hooks() */
        size_t n_links;
        bool has_states, has_stack_areas, has_holes, has_cpu_offsets, has_modules;
        char hole_sections[HOLES_MAX][64];
        int64_t swept_at_us;
        struct shared shared;
        struct tracker_ability abilities[_ABILITIES];
        char reasons[_ABILITIES][256];
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

/* Learns from an allocation of this thread where the kernel keeps its page structures; without it owners cannot be read. */
int tracker_bpf_learn(struct tracker_bpf *t, char **reterr);

int tracker_bpf_attach(struct tracker_bpf *t, char **reterr);
const char *const *tracker_bpf_hooks(struct tracker *base, size_t *ret_n);
void tracker_bpf_detach(struct tracker_bpf *t);

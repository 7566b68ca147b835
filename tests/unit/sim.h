/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A kernel in a box for tests of what stands on the tracker: memory cgroups as directories with counters in them, objects that
 * are allocated and freed, and a tracker that books them as tracker.h says. It checks what it is told to do: a group that is
 * used against the contract ends the test.
 */
#pragma once

#include "tracker.h"

#define SIM_GROUPS_MAX 4096

/* What there is to allocate; one row each. */
enum sim_site {
        SIM_CHARGED,
        SIM_UNCHARGED,
        SIM_PAGES,
        SIM_SLAB_PAGES, /* uncharged pages that back slabs: in no total */
        SIM_PERCPU,
        SIM_STACKS, /* a row without an address */
        SIM_USER,   /* estimated */
        _SIM_SITES
};

bool sim_site_charged(enum sim_site site);
enum site_type sim_site_type(enum sim_site site);
const char *sim_site_function(enum sim_site site); /* what its row is called; NULL: it has no row */

struct sim_cgroup {
        struct sim_cgroup *parent; /* NULL: the topmost one */
        char *path;
        int fd;
        uint64_t id;
        bool gone;
        unsigned group1;                /* armed for this group, less 1; 0: not armed */
        int64_t kernel, anon;           /* what it is charged for */
        bool changed;                   /* its files say something else */
        int64_t kernel_gone, anon_gone; /* when it was removed */
};

struct sim_object {
        struct sim_cgroup *cgroup;
        enum sim_site site;
        int64_t bytes;
        unsigned group1;     /* booked in this group, less 1; 0: not known to the tracker */
        bool untracked;      /* the table had no room */
        bool missed;         /* freed, and no event said so */
        int64_t born, freed; /* moments; freed 0: it lives */
};

struct sim_group {
        bool used, armed;
        bool dirty;       /* ended, and not cleaned: it may be kept still */
        unsigned heir_of; /* the group that it was renewed from, plus 1; 0: none */
        uint64_t born;    /* generation */
        struct sim_cgroup *cgroup;
        struct tracker_counts counts[_SIM_SITES];
        int64_t unmatched;
        int64_t anon; /* by the kernel's tracepoints */
        int64_t lost; /* of the engine when it began */
        struct tracker_wish wish;
};

struct sim {
        struct tracker tracker;
        char directory[40];
        int fd;
        enum cgroup_layout layout;
        struct sim_cgroup **cgroups; /* gone ones too */
        size_t n_cgroups;
        struct sim_object *objects; /* freed ones too */
        size_t n_objects;
        struct sim_group *groups;
        int64_t moment, lost, swept_at_us;
        unsigned holds;
        uint64_t generation;
        bool left; /* the tracker is freed by one who leaves it to another */

        /* what the test wants to go wrong, and sees */
        unsigned groups_max;
        bool fold_fails, sweep_unsupported;
        bool tells_removals, moves_unseen; /* tracker_ops.removal answers; but not how far counters moved since */
        unsigned n_groups, most_groups, n_renews, n_folds, n_sweeps, n_reads;
};

struct sim *sim_new(enum cgroup_layout layout);
struct sim *sim_free(struct sim *s); /* tracker_ops.free does the same: whoever hands the tracker over does not call it */

struct sim_cgroup *sim_mkdir(struct sim *s, struct sim_cgroup *parent, const char *name);
void sim_rmdir(struct sim *s, struct sim_cgroup *c);
bool sim_is_within(const struct sim_cgroup *inner, const struct sim_cgroup *outer); /* or the same */
struct cgroup *sim_open(const struct sim *s, const struct sim_cgroup *c);           /* as cgroup_open() does */

/* An object's number. */
size_t sim_alloc(struct sim *s, struct sim_cgroup *c, enum sim_site site, int64_t bytes, bool untracked);
void sim_release(struct sim *s, size_t object);
void sim_release_unseen(struct sim *s, size_t object); /* without an event: a sweep finds out */

/* Writes the counters into the directories. */
void sim_publish(struct sim *s);

/* A symbol table with all that the rows need; the caller unlinks the file. */
void sim_write_symbols(char *path_template);

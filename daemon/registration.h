/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The registry: which profiles there are, under which names they are seen, and who asked for each. Pure bookkeeping: no bus,
 * no loop, no kernel.
 *
 * Invariants: one registration per memory cgroup; each has at least one view; no two views share an object path, and an object
 * path belongs to the registration that took it last (container ids repeat over runtimes' roots: the newer one wins).
 */
#pragma once

#include "oom.h"
#include "process.h"
#include "profile.h"
#include "snapshots.h"

#define VIEWS_MAX 8       /* names for one cgroup: its containers and its path */
#define REQUESTERS_MAX 16 /* "hook", "bus:container:ID", "bus:cgroup:PATH", ... */

struct registration;
struct watch;

/* One name of a profile: an object on the bus. */
struct view {
        struct registration *registration;
        const char *kind; /* "container", "cgroup" or "host" */
        char *name;       /* container id, or path of the cgroup, as it came; "host" */
        char *id;         /* the same for people and for the bus: escaped */
        char *path;       /* object path */
};

struct registration {
        void *owner; /* the manager, for event handlers */
        struct profile *profile;
        struct watch *watch;
        struct process init; /* of the container; NONE when it was not named */
        pid_t exit_pid;      /* whose end the tracker notes for us; 0: nobody's */
        bool exit_known;     /* and it has come: */
        int exit_status;     /* as wait(2) tells it */
        uint64_t cgroup_id;
        char *cgroup;   /* escaped path */
        enum mode mode; /* in force now, or when it ended */

        struct view *views[VIEWS_MAX];
        size_t n_views;
        char *requesters[REQUESTERS_MAX];
        size_t n_requesters;

        bool ended;
        const char *end_source; /* see struct report_end */
        int64_t end_us;         /* CLOCK_REALTIME */
        int64_t refreshed_us;   /* CLOCK_MONOTONIC: counters were last read */
        bool live_known;        /* at the end; */
        int64_t live_bytes;     /* kernel memory */
        bool reported;          /* the final report was taken */
        const char *closed_by;  /* why it is in no registry any more; NULL: it is, or its report says all already */
        char *report;           /* its path, once written */
        bool written;           /* what follows, or an older text, stands in the file */
        char *saved;            /* what the next daemon has to know of it, as text; NULL: it has changed since that was made */
        struct registration *next; /* in the manager's list of retired ones */

        struct oom_counts oom; /* last good reading */
        int64_t oom_us;        /* CLOCK_MONOTONIC: memory last ran out */
        size_t oom_looks;      /* how often it was looked again since the kernel told */
        struct snapshots snapshots;
        int64_t snapshot_us;    /* CLOCK_MONOTONIC: when the newest one was taken */
        int64_t snapshot_kills; /* what had been counted by then; at the beginning without one */
        bool snapshot_due;      /* one has to wait for its turn */
        char *untold;           /* the sites that the journal will hear of, once the kills have been counted */
};

struct registry {
        struct registration **items;
        size_t n;
};

void registry_done(struct registry *g); /* must be empty */

/* Takes `r` over on success. -ENOMEM. */
int registry_add(struct registry *g, struct registration *r);
void registry_remove(struct registry *g, struct registration *r); /* gives it back to the caller */

/* The one that ended first, or NULL when none has. */
struct registration *registry_oldest_ended(const struct registry *g);

struct registration *registry_by_cgroup(const struct registry *g, uint64_t cgroup_id);
struct view *registry_by_path(const struct registry *g, const char *path);

/*
 * The view of a container: by its whole id (raw, or escaped as the bus shows it), else by a prefix of at least 12 hex digits
 * that only one has. NULL when none.
 */
struct view *registry_by_container(const struct registry *g, const char *id);

/* The view of a cgroup by its path (normal form, raw or escaped), also when the directory is gone. */
struct view *registry_by_cgroup_path(const struct registry *g, const char *path);

/* A registration without views around `profile`, which it takes over on success. -ENOMEM. */
int registration_new(struct profile *profile, struct registration **ret);
struct registration *registration_free(struct registration *r);
DEFINE_CLEANUP(struct registration, registration_free)

/* What is written down of it does not hold any more. */
void registration_changed(struct registration *r);

struct view *registration_view(const struct registration *r, const char *kind, const char *name);

/* Adds a view, or finds it: 1 when it is new, 0 when it was there, -E2BIG when there are VIEWS_MAX, -ENOMEM. */
int registration_add_view(struct registration *r, const char *kind, const char *name, struct view **ret);

/* Takes a view away; the caller frees it with view_free(). */
void registration_remove_view(struct registration *r, struct view *v);
struct view *view_free(struct view *v);

/* Adds a requester unless it is there. -E2BIG, -ENOMEM. */
int registration_add_requester(struct registration *r, const char *requester);
void registration_drop_requester(struct registration *r, const char *requester);

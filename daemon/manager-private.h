/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What manager.c (modes, ends, reports), manager-start.c (requests, admission), manager-oom.c (memory that runs out) and
 * manager-keep.c (what outlives the daemon) share. Nobody else includes this.
 */
#pragma once

#include "manager.h"
#include "report-writer.h"

struct manager {
        sd_event *event;
        struct engine *engine;
        struct state_dir *state;
        struct manager_settings settings;
        struct registry registry;

        const struct manager_listener *listener;
        void *listener_data;
        enum mode told_mode, told_effective_mode; /* what the listener knows */

        struct report_writer *writer;
        struct registration *retired; /* out of the registry, still counting in the kernel */
        sd_event_source *clean_source;

        sd_event_source *snapshot_source; /* of snapshots that are due and had to wait */
        int64_t snapshot_us;              /* CLOCK_MONOTONIC: when one was last taken */
        int64_t oom_turn_us;              /* CLOCK_MONOTONIC: when counts of some group may be read again */

        sd_event_source *budget_source;
        int64_t measuring_us; /* CLOCK_MONOTONIC: since when the programs are measured; 0: they are not */
        unsigned over_budget; /* how often in a row */

        sd_event_source *save_source, *lease_source;
        bool restored; /* what a former daemon left was taken up, or was nothing: there is something to write down */
        bool unsaved;  /* and not all is */
        size_t whole_bytes, since_bytes; /* of what is written: the last time everything, and what was added since */
        uint64_t *gone;                  /* serial numbers of profiles that are written, and are no more */
        size_t n_gone;
        bool ending;      /* profiles that are not written any more end: what is written holds meanwhile */
        bool save_failed; /* and that was said */
        bool left;        /* it counts on for the next daemon */
};

#define LEASE_RENEWALS 4 /* in the time of a lease */

/* Ready to write down what there is. */
int manager_prepare_saving(struct manager *m, char **reterr);

/* Looks at what the programs cost, from now on. */
int manager_prepare_budget(struct manager *m, char **reterr);

/* A registration will not be written any more. */
void manager_unwrite(struct manager *m, struct registration *r);

/* Writes down what there is, a moment from now: for what nobody was promised. A failure is told once. */
void manager_save_soon(struct manager *m);

int64_t monotonic_us(void);

extern const struct watch_handlers manager_watch_handlers; /* userdata: the registration */

/* The container or cgroup is over: state `ended`, report after the settle time. Later calls only refine the source. */
void manager_end(struct manager *m, struct registration *r, const char *source);

/*
 * `why`, a static string, is the report's residue.closed_by. Takes the report if it is owed, tells the listener, and retires
 * `r`: nobody can find it any more. What it holds in the kernel goes at the next idle moment, because detaching programs takes
 * longer than a starting container should wait; a profile that begins before finds them attached.
 */
void manager_release(struct manager *m, struct registration *r, const char *why);

/* All that we count, for that reason; the kernel's own record as well when the daemon itself is over. */
void manager_release_all(struct manager *m, bool record, const char *why);

/*
 * Reads what is left of something that was retired, for its report, and frees it; the other one does so with all of it. False
 * when there was nothing.
 */
bool manager_flush_one(struct manager *m);
bool manager_flush(struct manager *m);

/* Has the end of the container's first process noted by the tracker, and takes what was noted. */
void manager_follow_exit(struct manager *m, struct registration *r, pid_t pid);
void manager_take_exit(struct manager *m, struct registration *r);

/* Wipes what ended groups left, once nothing that is written down names them any more. */
void manager_clean(struct manager *m);

/* Ends the one that ended first. Returns false when there is none. */
bool manager_drop_ended(struct manager *m);

/* Reads what a removal of the cgroup would take away. */
void manager_refresh(struct registration *r);

/* Tells the listener if a mode changed since it was last told, the machine's or that of profiles. */
void manager_tell_mode(struct manager *m);

/* Handlers of the watch, and the same for whoever reads the counts as it comes round. */
uint64_t manager_oom(void *userdata, uint64_t times);
uint64_t manager_oom_again(void *userdata);
void manager_note_oom(struct registration *r);

/* Before the end: what is due is taken, and what the journal was not told yet, it is told. */
void manager_finish_oom(struct registration *r);

int manager_prepare_oom(struct manager *m, char **reterr);
void manager_done_oom(struct manager *m);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What manager.c (modes, ends, reports) and manager-start.c (requests, admission) share. Nobody else includes this. */
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
};

extern const struct watch_handlers manager_watch_handlers; /* userdata: the registration */

/* The container or cgroup is over: state `ended`, report after the settle time. Later calls only refine the source. */
void manager_end(struct manager *m, struct registration *r, const char *source);

/*
 * Takes the report if it is owed, tells the listener, and retires `r`: nobody can find it any more. What it holds in the kernel
 * goes at the next idle moment, because detaching programs takes longer than a starting container should wait; a profile that
 * begins before finds them attached.
 */
void manager_release(struct manager *m, struct registration *r);

/* Frees what was retired, now. Returns false when there was nothing. */
bool manager_flush(struct manager *m);

/* Ends the one that ended first. Returns false when there is none. */
bool manager_drop_ended(struct manager *m);

/* Reads what a removal of the cgroup would take away. */
void manager_refresh(struct registration *r);

/* Tells the listener if a mode changed since it was last told, the machine's or that of profiles. */
void manager_tell_mode(struct manager *m);

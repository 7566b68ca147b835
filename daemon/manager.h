/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The manager: the life of profiles from the first request to the final report. It knows the loop, not the bus: whoever listens
 * is told what changed and makes signals of it.
 *
 * Life of a profile
 *   active  from admission on (group.h says who is admitted beside whom). It ends when the cgroup is removed, when
 * ContainerStopped says so and nobody else asked for it, or by StopProfile, which is an operator's word and outranks every
 * requester. The exit of the container's first process ends nothing, but the memcg's counters are read at that moment. The
 * host's profile does not end: StopProfile or a group that has to be alone takes it away at once. ended   the group goes on
 * counting frees; it never holds the engine. After the settle time the final report is taken. The profile stays readable, and
 * its residue is followed, until somebody needs its place (the one that ended first goes first), StopProfile, or ResidueKeep=.
 * gone whatever removes it takes the final report first; where that has been done, the report is brought up to date: what
 * remains now, and why it is followed no longer. StopProfile on an active profile goes here at once.
 *
 * When memory runs out in the cgroup, a summary is kept for the report's snapshots and the journal names the largest sites. How
 * often that happens is bounded, for one profile and for all together: manager-oom.c.
 *
 * Decisions where the contract leaves them open
 *   - One id, another cgroup (ids repeat over runtimes' roots, and over lives of a container): the older profile is ended, its
 *     report is taken, and the newer one gets the object path.
 *   - ContainerStopped for a container whose first process was handed over as a pidfd and lives is about another container of
 *     that id, and ends nothing.
 *   - ContainerStopped within the settle time after the removal of the cgroup makes the report say `poststop`.
 *   - A mode that forbids a profile whoever runs (`off`; `multi` for the spec `single`) refuses with NotReady, not Busy: nobody
 *     holds anything, and waiting does not help.
 *   - A profile's mode is what is in force now; an ended one keeps what was in force at its end.
 *   - A new spec on an active profile changes its mode word, with the same admission as at the start. What it counts by (numa,
 *     sample, stacks=all) stays as it began; a wish for more is reported as unavailable.
 *   - The kernel's own record (manager_add_record()) outlives the mode `off`, which is for what we do, and has no final report.
 *   - Nothing in a call that a hook makes waits for the disk: reports are written by a thread of their own.
 *
 * Errors are the errnos that bus-error.h names.
 */
#pragma once

#include <systemd/sd-event.h>

#include "registration.h"
#include "state-dir.h"
#include "target.h"
#include "wish.h"

struct manager;

/*
 * How many groups the tracker needs for so many profiles: each takes one, and a second one when a profile above it begins, the
 * host's for example.
 */
static inline uint32_t groups_of_tracker(size_t profiles) {
        return (uint32_t)(2 * profiles);
}

struct manager_listener {
        void (*added)(void *userdata, const struct view *v);
        void (*removed)(void *userdata, const struct view *v);                       /* still to be found while this runs */
        void (*changed)(void *userdata, const struct view *v, const char *property); /* "State" or "Mode" */
        /* `object`: the path that the profile had; `report`: the file, "" when it could not be written. */
        void (*finished)(void *userdata, const char *object, const char *report);
        void (*mode_changed)(void *userdata, bool mode, bool effective_mode);
};

/* What an operator sets (config.h), and where. */
struct manager_settings {
        uint64_t settle_usec;       /* from the end of a profile to its final report */
        uint64_t residue_keep_usec; /* from there on, while nobody needs its place; UINT64_MAX: no limit */
        uint64_t lease_usec;        /* how long it counts on without a daemon; UINT64_MAX: for ever */
        uint64_t cpu_budget;        /* of all CPUs for the programs, in hundredths of a percent; 0: none is set */
        struct spec_caps caps;      /* of what annotations ask for */
        struct report_limits reports;
        const char *run_dir; /* where what the next daemon has to know is written down; kept, not copied */
};

/*
 * Takes none of its arguments over; all but the settings must outlive it. Mode and state are those of the state directory.
 * manager_restore() is called once before anything else.
 */
int manager_new(sd_event *event, struct engine *engine, struct state_dir *state, const struct manager_settings *settings,
        struct manager **ret, char **reterr);
struct manager *manager_free(struct manager *m); /* see manager_stop_all(): reports not written by then are lost */
DEFINE_CLEANUP(struct manager, manager_free)

/*
 * Takes up the profiles of a former daemon where the tracker has counted on. Where it has not, or the daemon was of another
 * version, those whose cgroups are still there begin anew, and the journal says so. -ENOMEM.
 */
int manager_restore(struct manager *m, char **reterr);

/* Writes down what there is, before anybody is told of it. Nothing where the tracker keeps nothing. */
void manager_save(struct manager *m);

/*
 * Leaves everything to the next daemon, counting: only manager_free() comes after it. Where nothing would count on, it is
 * manager_stop_all().
 */
void manager_leave(struct manager *m);

/*
 * Where the kernel counts its allocations itself, its record is the host's profile from now on: it costs nothing, so that no
 * mode and nobody's request concerns it, and it never ends. Elsewhere this does nothing. Files are below `root`.
 */
int manager_add_record(struct manager *m, const char *root, char **reterr);

void manager_listen(struct manager *m, const struct manager_listener *listener, void *userdata);

/* What a runtime's hook tells of a container. */
struct container_request {
        int pidfd;                          /* -1: not given; not taken over */
        uint64_t pid;                       /* UINT64_MAX: not given */
        const char *cgroup, *spec, *bundle; /* NULL: not given */
        uint64_t deadline_us;               /* CLOCK_REALTIME; 0: not given */
        struct wish wish;                   /* with the annotations taken; its contents are used up */
        char *annotation_spec;              /* of org.memcgprof.profile among them, owned */
};

#define CONTAINER_REQUEST_NONE ((struct container_request){.pidfd = -1, .pid = UINT64_MAX})
void container_request_done(struct container_request *c);

int manager_register_container(
        struct manager *m, const char *id, struct container_request *c, const struct view **ret, char **reterr);

/* Unknown ids are fine. -EINVAL for what is no id. */
int manager_container_stopped(struct manager *m, const char *id, char **reterr);

/* spec: NULL for "auto". */
int manager_start(struct manager *m, const char *target, const char *spec, const struct view **ret, char **reterr);

/* -ENXIO when no profile has that object path; -EOPNOTSUPP for the kernel's own record. */
int manager_stop(struct manager *m, const char *path, char **reterr);

/* -ENXIO when the target is not profiled, -ENOENT when there is no such target. */
int manager_get(struct manager *m, const char *target, const struct view **ret, char **reterr);

/* The mode is in force even when saving it fails (-EIO). */
int manager_set_mode(struct manager *m, const char *mode, char **reterr);

const struct registry *manager_registry(const struct manager *m);
struct engine *manager_engine(const struct manager *m);
enum mode manager_mode(const struct manager *m);
enum mode manager_effective_mode(const struct manager *m);

/* Nothing is profiled, and nothing that has ended can be read any more. The kernel's own record does not count. */
bool manager_idle(const struct manager *m);

/*
 * Ends everything, leaves nothing to a next daemon, and writes every report that is owed before it returns: for the end of the
 * daemon.
 */
void manager_stop_all(struct manager *m);

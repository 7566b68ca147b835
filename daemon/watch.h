/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What happens to a profiled cgroup on its own: its container's first process exits, its memory runs out, it becomes empty, its
 * directory is removed; and the one timer that a profile needs after its end.
 *
 * Removal is seen by IN_DELETE in the parent directory: cgroup directories of v1 never send IN_DELETE_SELF, and no directory
 * does while somebody holds it open, as a profile does. When a cgroup becomes empty v2 says so (cgroup.events); v1 has no such
 * event, so there the memcg's counters are read every two seconds: the last good reading before the removal is what the final
 * report stands on. The host is never removed: of it nothing is watched.
 *
 * Memory may run out hundreds of times a second, and v2 marks the same file at every reclaim. So the descriptor is let alone
 * for as long as the handler says, and looked at once more then.
 */
#pragma once

#include <systemd/sd-event.h>

#include "cgroup.h"
#include "process.h"

struct watch;

struct watch_handlers {
        void (*refresh)(void *userdata); /* read the counters now: they may be gone soon */
        void (*look)(void *userdata);    /* the same, as it comes round where the kernel does not tell */
        void (*exited)(void *userdata);  /* the container's first process */
        /*
         * Memory may have run out: `times`, as far as only the descriptor knows (oom.h). Returns microseconds, from 1 on, after
         * which oom_again() comes; that one returns the same, or 0 when the descriptor may tell again.
         */
        uint64_t (*oom)(void *userdata, uint64_t times);
        uint64_t (*oom_again)(void *userdata);
        void (*removed)(void *userdata); /* the directory; comes once, never from within watch_new() */
        void (*timeout)(void *userdata); /* of watch_set_timer(); comes once per setting */
};

/*
 * `init` may be NONE. `handlers` and `userdata` are kept, `cgroup` is not, but its descriptor must outlive the watch. A kernel
 * that refuses an inotify watch is no failure: the two-second look finds the removal too. Neither is one that does not tell
 * when memory runs out: then it is for whoever reads the counters to see.
 */
int watch_new(sd_event *event, const struct cgroup_root *root, const struct cgroup *cgroup, const struct process *init,
        const struct watch_handlers *handlers, void *userdata, struct watch **ret);
struct watch *watch_free(struct watch *w); /* may be called from a handler */
DEFINE_CLEANUP(struct watch, watch_free)

/* Follows the exit of another process instead. */
int watch_set_process(struct watch *w, const struct process *init);

/* Nothing but the timer matters any more. */
void watch_stop(struct watch *w);

/* One timeout, `usec` from now; an earlier one is replaced. */
int watch_set_timer(struct watch *w, uint64_t usec);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The engine: what all profiles of a process share. One per process: the tracker with its segments, the cgroup hierarchy, the
 * registry of groups, the names.
 */
#pragma once

#include "group.h"
#include "segment.h"

struct engine;

/* Takes `tracker` over. kallsyms: path of the symbol table, normally /proc/kallsyms. A missing symbol table is no failure. */
int engine_new(struct tracker *tracker, const char *kallsyms, struct engine **ret, char **reterr);
/* The same with a cgroup hierarchy that was found elsewhere (taken over too), which may be NULL where no group is looked up. */
int engine_new_at(struct tracker *tracker, struct cgroup_root *cgroups, const char *kallsyms, struct engine **ret);
struct engine *engine_free(struct engine *e); /* all profiles must be gone */
DEFINE_CLEANUP(struct engine, engine_free)

/* Profiles that are freed from now on, and the engine itself, leave what they count to the next process, if the tracker can. */
void engine_leave(struct engine *e);

/* As tracker_ops.follow_exit and exit_of; -EOPNOTSUPP where nobody sees it, and for who is not in the first pid namespace. */
int engine_follow_exit(struct engine *e, pid_t pid, bool on);
int engine_exit_of(struct engine *e, pid_t pid, int *ret_status);

/* As tracker_ops.cost; -EOPNOTSUPP where there is nothing to measure. */
int engine_cost(struct engine *e, bool on, uint64_t *ret_ns);

/* As tracker_ops.mark; 0: nothing that counts would outlive this process, and nothing need be written down. */
uint64_t engine_mark(struct engine *e);
void engine_renew_lease(struct engine *e);

const struct cgroup_root *engine_cgroups(const struct engine *e);
struct groups *engine_groups(const struct engine *e);
struct segments *engine_segments(const struct engine *e);
struct names *engine_names(const struct engine *e);
struct tracker *engine_tracker(const struct engine *e);

/* What the tracker was made with: sizes for the support document. Zero is the default. */
void engine_set_options(struct engine *e, const struct tracker_options *options);
const struct tracker_options *engine_options(const struct engine *e);

const char *engine_backend(const struct engine *e);
void engine_clean(struct engine *e); /* for idle moments; see tracker_ops.clean */

void engine_hold(struct engine *e, bool on); /* around the reading of many profiles; see tracker_ops.hold */

/*
 * Has tracked objects checked on the objects themselves, at most once in two seconds however often this is called; never again
 * when the tracker cannot. Returns how long it took in microseconds; 0: nothing was done.
 */
int64_t engine_sweep(struct engine *e);

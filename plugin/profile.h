/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A profile: the measurement of one memory cgroup from its baseline on, whoever asked for it. It owns the scope that its
 * figures come from, the baseline, and the last good reading of the memcg's own counters.
 *
 * Invariants: one profile per cgroup; counters go on after the cgroup is gone; nothing is printed and nothing calls back.
 */
#pragma once

#include "engine.h"
#include "label.h"

struct profile;
struct summary;
struct filter;

/*
 * Starts to measure `cgroup`; takes cgroup over and moves the contents of `label` in, both on success only. Group admission has
 * been done by the caller. How it is counted follows from the label's spec. -ENODEV when the cgroup went away meanwhile; else
 * what the tracker says: -ENOSPC when there is no room for one more.
 */
int profile_start(struct engine *e, struct cgroup *cgroup, struct profile_label *label, struct profile **ret, char **reterr);

/*
 * The host's profile where the kernel keeps its own record (allocinfo.h, below `root`): nothing is counted by us, no group is
 * taken, and it began with the machine. `cgroup` is the host's; taken over like the label, on success only.
 */
int profile_start_record(struct engine *e, const char *root, struct cgroup *cgroup, struct profile_label *label,
        struct profile **ret, char **reterr);
bool profile_is_record(const struct profile *p);

/* Refuses what rows of this profile cannot answer: -EINVAL with a sentence that names the key. */
int profile_check_filter(const struct profile *p, const struct filter *filter, char **reterr);

/*
 * Takes fewer stacks of pages from now on, when they cost too much: of some allocations instead of all, then of none. A wish of
 * the spec that this takes away stands among the label's gaps. 1: done; 0: there is nothing less; what scope_set_wish says.
 */
int profile_step_down(struct profile *p, char **reterr);

/* Ends the measurement and frees all. What other profiles need of its counts stays with them. */
struct profile *profile_free(struct profile *p);
DEFINE_CLEANUP(struct profile, profile_free)

const struct cgroup *profile_cgroup(const struct profile *p);
struct profile_label *profile_label(struct profile *p); /* may be changed by the owner */
enum profile_state profile_state(const struct profile *p);

/*
 * Reads the memcg's counters and what the sites explain of them, so that both are there of one moment when the cgroup is gone.
 * -ENODEV when it already is.
 */
int profile_note_counters(struct profile *p);

/* The container or cgroup has ended: state `ended`, counters of the memcg frozen at their last reading; counting goes on. */
void profile_mark_ended(struct profile *p);

/*
 * A new baseline. Memory from before it lowers no row when it is freed. -ENODEV when the cgroup is gone, -ENOSPC when the
 * tracker has no room to tell old from new; the former baseline holds then. -EOPNOTSUPP for the kernel's own record.
 */
int profile_reset(struct profile *p);

/*
 * The summary, filtered, sorted, grouped and cut as `filter` says (NULL: everything, by bytes). Owned by the caller; it does
 * not depend on the profile's further life.
 */
int profile_summary(struct profile *p, const struct filter *filter, struct summary **ret, char **reterr);

/* The same without a sweep, which takes tens of milliseconds: for a moment that is over by then. */
int profile_glance(struct profile *p, const struct filter *filter, struct summary **ret, char **reterr);

struct profile_totals {
        int64_t live_bytes, live_calls; /* charged and uncharged kernel memory */
        uint64_t lost;                  /* sum over all causes */
};

/* Without naming a single site: cheap enough to be asked of every profile at once. */
int profile_totals(struct profile *p, struct profile_totals *ret);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A profile: the measurement of one memory cgroup from its baseline on, whoever asked for it. It owns the group in the tracker,
 * the baseline, the last good reading of the memcg's own counters, and the names of sites.
 *
 * Invariants: one profile per cgroup; counters go on after the cgroup is gone; nothing is printed and nothing calls back.
 */
#pragma once

#include "group.h"
#include "label.h"
#include "memcg.h"
#include "tracker.h"

struct engine; /* one per process: tracker, cgroup root, symbols, groups */
struct profile;
struct summary;
struct filter;

/* Takes `tracker` over. kallsyms: path of the symbol table, normally /proc/kallsyms. A missing symbol table is no failure. */
int engine_new(struct tracker *tracker, const char *kallsyms, struct engine **ret, char **reterr);
struct engine *engine_free(struct engine *e); /* all profiles must be gone */
DEFINE_CLEANUP(struct engine, engine_free)

const struct cgroup_root *engine_cgroups(const struct engine *e);
struct groups *engine_groups(const struct engine *e);
const char *engine_backend(const struct engine *e);
void engine_clean(struct engine *e); /* for idle moments; see tracker_ops.clean */

/*
 * Starts to measure `cgroup`; takes cgroup over and moves the contents of `label` in, both on success only. Group admission has
 * been done by the caller. -ENODEV when the cgroup went away meanwhile; else what the tracker says.
 */
int profile_start(struct engine *e, struct cgroup *cgroup, struct profile_label *label, struct profile **ret, char **reterr);

/* Ends the group in the tracker and frees all. */
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

/* A new baseline, kept in user space. */
int profile_reset(struct profile *p);

/*
 * The summary, filtered, sorted, grouped and cut as `filter` says (NULL: everything, by bytes). Owned by the caller; it does
 * not depend on the profile's further life.
 */
int profile_summary(struct profile *p, const struct filter *filter, struct summary **ret, char **reterr);

struct profile_totals {
        int64_t live_bytes, live_calls; /* charged and uncharged kernel memory */
        uint64_t lost;                  /* sum over all causes */
};
int profile_totals(struct profile *p, struct profile_totals *ret);

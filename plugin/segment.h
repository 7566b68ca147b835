/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a profile is made of. The tracker books each allocation once, in the innermost group that is armed above its task; such
 * a group is a segment here: one stretch of time of one cgroup, less the cgroups that were armed below it. A scope is what a
 * profile measures: a cgroup with all below it from a baseline on. Its rows are those of its own segments, added up. When a
 * baseline is set, the segments in its cgroup are divided at that moment: what they counted so far becomes older, which is
 * memory from before the baseline. Older segments have no rows in the scope; what is freed in them since is its
 * freed_unmatched.
 *
 * Invariants: the armed segment of a cgroup is owned by the scope of that cgroup and by all scopes above it, and by nobody
 * else. No row of a scope ever falls below what was freed of it. Segments that count for the same scopes in the same way are
 * folded into one, so that there are never more of them than scopes times their nesting, however many come and go.
 */
#pragma once

#include "sample.h"

struct segments; /* the registry: one per tracker */
struct scope;

/* Both are kept, not taken over. NULL on ENOMEM. */
struct segments *segments_new(struct tracker *tracker, struct names *names);
struct segments *segments_free(struct segments *a); /* all scopes must have ended */
DEFINE_CLEANUP(struct segments, segments_free)

/*
 * Has `before` called whenever counts are about to be moved from one segment to another: whoever writes the segments down, for
 * a process that may be killed in the midst of it, has to do so then. Segments that are folded into one count for the same
 * scopes now, but did not when they were written down last.
 */
void segments_tell_before(struct segments *a, void (*before)(void *userdata), void *userdata);

/*
 * Puts together what need not be told apart any more. After scope_begin() and scope_renew(), once what the caller knows of the
 * scope has changed too; scope_end() does it itself, as both do on failure.
 */
void segments_tidy(struct segments *a);

/* From now on nothing is told to the tracker any more: scopes that end are forgotten, and count on for whoever comes next. */
void segments_leave(struct segments *a);

/* How many segments there are: groups of the tracker. */
size_t segments_count(const struct segments *a);

/*
 * Begins to measure `cgroup` (kept, not taken over; one scope at a time for a cgroup that exists). What the tracker says, with
 * its sentence: -ENOSPC when there is no group left for it, or for a scope below that has to be divided, and -ENODEV when the
 * cgroup is gone.
 */
int scope_begin(
        struct segments *a, const struct cgroup *cgroup, const struct tracker_wish *wish, struct scope **ret, char **reterr);

/* A new baseline. On failure (-ENOSPC, what the tracker says) the former one stays. */
int scope_renew(struct scope *s, char **reterr);

/*
 * Counts on as `wish` says, nodes left out. From samples to none a new segment begins, because what was sampled stands for what
 * was counted then; it is not undone. -EOPNOTSUPP where the tracker cannot; what scope_renew says.
 */
int scope_set_wish(struct scope *s, const struct tracker_wish *wish, char **reterr);

struct scope *scope_end(struct scope *s);

/*
 * What was counted since the baseline, added up over the segments; what was freed in older ones stands in
 * freed_unmatched_bytes. scope_sum() tells what that comes to.
 */
int scope_read(struct scope *s, struct tracker_sample *ret);
int scope_sum(struct scope *s, struct sample_sum *ret);

/* What the kernel read when the cgroup was removed. -ENODATA when it did not, or when that is still to come. */
int scope_removal(struct scope *s, struct tracker_removal *ret);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The registry of groups and the modes: who may measure now, and who holds what. Pure bookkeeping: no kernel, no clock.
 *
 * In this version there is one group at a time: `auto` is admitted like `single`. An ended group (its container is gone, its
 * residue is still followed) never holds the engine: the next one takes its place.
 */
#pragma once

#include "spec.h"

struct groups;

struct groups *groups_new(void); /* NULL on ENOMEM */
struct groups *groups_free(struct groups *g);
DEFINE_CLEANUP(struct groups, groups_free)

/*
 * Asks for a place for the cgroup `id`, called `name` towards others. 0: admitted; *ret_replaced is the cgroup id of the ended
 * group that has to go first, or 0. -EEXIST: that cgroup is a group already. -EBUSY: the sentence names the holder. -ECANCELED:
 * the mode is off. -EOPNOTSUPP: mode `multi` is not part of this version.
 */
int groups_admit(struct groups *g, uint64_t id, const char *name, enum mode wanted, uint64_t *ret_replaced, char **reterr);

void groups_mark_ended(struct groups *g, uint64_t id);
void groups_remove(struct groups *g, uint64_t id);

/*
 * Sets the admission mode. -EBUSY (with a sentence) when that contradicts what runs; -EOPNOTSUPP for `multi`. `off` is always
 * taken; the caller ends what runs.
 */
int groups_set_mode(struct groups *g, enum mode mode, char **reterr);
enum mode groups_mode(const struct groups *g);

/* What is in force: `off`, `single`, or `auto` while nothing runs. */
enum mode groups_effective_mode(const struct groups *g);

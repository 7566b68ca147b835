/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The registry of groups and the modes: who may measure now, and who holds what. Pure bookkeeping: no kernel, no clock.
 *
 * Two words decide: the mode of the machine, and the mode that a group's spec asks for.
 *   mode auto    the group's word decides. `single` is admitted only when nothing else runs, and then holds: nobody else is
 *                admitted. `auto` and `multi` share; one `auto` alone runs as single, `multi` is multi from the start.
 *   mode single  one group at a time, whatever it asked for: `multi` is a readiness to share and insists on nothing.
 *   mode multi   any number. A group that asks for `single` is refused: it could not hold what everybody may share.
 *   mode off     none.
 * The host's profile is a group like others, but for one thing: it gives way to a group that has to be alone, unless it asked
 * for `single` itself. An ended group (its cgroup is gone, its residue is still followed) holds nothing and does not count; it
 * takes a place until somebody needs that, the one that ended first going first.
 */
#pragma once

#include "spec.h"

#define GROUPS_MAX_DEFAULT 1024

struct groups;

struct groups *groups_new(void); /* with GROUPS_MAX_DEFAULT places; NULL on ENOMEM */
struct groups *groups_free(struct groups *g);
DEFINE_CLEANUP(struct groups, groups_free)

/* How many groups there may be, ended ones included. Who is there stays. */
void groups_set_max(struct groups *g, size_t max);
size_t groups_max(const struct groups *g);

struct group_request {
        uint64_t id;      /* of the cgroup */
        const char *name; /* towards others, in their errors */
        enum mode wanted; /* what its spec says */
        bool host;
};

/* Who has to go for somebody else: ids for the caller to end and to remove. */
struct groups_leaving {
        uint64_t ids[2];
        size_t n;
};

/*
 * Asks for a place. 0: admitted, and *ret_leaving has to go. -EEXIST: that cgroup is a group already. -EBUSY: the sentence
 * names who runs. -ENOSPC: no place. -ECANCELED: the machine's mode forbids it, whoever runs.
 */
int groups_admit(struct groups *g, const struct group_request *q, struct groups_leaving *ret_leaving, char **reterr);

/* One that had a place before this process began: it was admitted beside all others that are restored. -EEXIST, -ENOMEM. */
int groups_restore(struct groups *g, const struct group_request *q, bool ended);

/* Another word for a group that is active. As groups_admit(); -ENXIO when there is no such group. */
int groups_change(struct groups *g, uint64_t id, enum mode wanted, struct groups_leaving *ret_leaving, char **reterr);

void groups_mark_ended(struct groups *g, uint64_t id);
void groups_remove(struct groups *g, uint64_t id);

/*
 * Sets the machine's mode. -EBUSY (the sentence names who runs) when that contradicts what runs; nothing changes then. `off` is
 * always taken; the caller ends what runs.
 */
int groups_set_mode(struct groups *g, enum mode mode, char **reterr);
enum mode groups_mode(const struct groups *g);

/* What is in force: the machine's mode; where that is auto, `single` or `multi` by what runs, and `auto` while nothing does. */
enum mode groups_effective_mode(const struct groups *g);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Scopes and segments written down, for a process that takes over what the tracker still counts. What is read back is text from
 * a file: all of it is checked, and nothing is half done.
 */
#pragma once

#include <jansson.h>

#include "segment.h"

/* JSON text, owned by the caller; NULL on ENOMEM. Made after each change, so by hand: a thousand of them take half a
 * millisecond. */
char *segments_save(const struct segments *a);

/* What a scope is known by in what was saved. */
uint64_t scope_serial(const struct scope *s);

/* One scope that is wanted again. */
struct scope_wanted {
        uint64_t serial;
        const struct cgroup *cgroup; /* kept, not taken over */
        struct scope *scope;         /* answer; NULL: it was not saved */
};

/*
 * Fills an empty registry with the scopes that are wanted, as they were saved, and has the tracker keep their groups and end
 * all others (tracker_ops.keep, which `generation` is for). -EBADMSG when `state` makes no sense, -ENODATA when the tracker has
 * not what it says, -ENOTSUP when it keeps nothing; each with a sentence, and the registry stays empty.
 */
int segments_restore(
        struct segments *a, const json_t *state, uint64_t generation, struct scope_wanted *scopes, size_t n, char **reterr);

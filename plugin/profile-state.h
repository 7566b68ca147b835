/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Profiles written down, and taken up again by a process that finds the tracker counting on. What is read back is text from a
 * file: all of it is checked.
 */
#pragma once

#include <jansson.h>

#include "profile.h"

/* Bytes that need not be UTF-8 as a JSON string, and back (-EBADMSG for what was never written so, -ENOMEM). */
json_t *save_bytes(const char *bytes);
int take_bytes(const json_t *from, char **ret);

/* What a profile is known by in what is saved: "scope" of profile_save(). Never 0, and no other one's while the engine lives.
 */
uint64_t profile_serial(const struct profile *p);

/* All that a profile knows beside what the tracker counts. NULL on ENOMEM; not for the kernel's own record. */
json_t *profile_save(const struct profile *p);

/* Opens a cgroup of which path and id were saved; as cgroup_reopen(). */
typedef int (*cgroup_reopen_t)(const struct cgroup_root *root, const char *path, uint64_t id, struct cgroup **ret);

/*
 * Takes up profiles: `segments` is what segments_save() said when `states` were saved, and the engine has none yet. ret[i] is
 * NULL where a state made no sense, with the sentence for the first of those in *ret_first_bad (NULL: none). On failure there
 * is no profile at all, and the tracker counts nothing: what segments_restore says, -ENOMEM.
 */
int profiles_restore(struct engine *e, cgroup_reopen_t reopen, const json_t *segments, uint64_t generation,
        const json_t *const *states, size_t n, struct profile **ret, char **ret_first_bad, char **reterr);

/*
 * Where that fails: begins the profile anew, with its label and a new baseline. -ENODEV when its cgroup is gone or it had
 * ended, -EBADMSG when the state makes no sense; what profile_start says.
 */
int profile_begin_anew(struct engine *e, cgroup_reopen_t reopen, const json_t *state, struct profile **ret, char **reterr);

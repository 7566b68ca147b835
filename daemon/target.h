/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Targets: the words by which people name what to profile (container:ID, cgroup:PATH, pid:N, host; unit:NAME is a known word
 * that this version does not serve), and how one becomes a memory cgroup.
 */
#pragma once

#include "cgroup.h"
#include "process.h"

enum target_kind { TARGET_CONTAINER, TARGET_CGROUP, TARGET_PID, TARGET_UNIT, TARGET_HOST };

struct target {
        enum target_kind kind;
        const char *name; /* what stands behind the colon, points into the text that was parsed; of the host: "host" */
};

#define TARGET_ID_MAX 1024 /* bytes of a container id: what runc itself takes */

/* -EINVAL with a sentence that lists the forms; -EOPNOTSUPP for a form that this version does not serve. */
int target_parse(const char *text, struct target *ret, char **reterr);

/* -EINVAL with a sentence when no container can have this id. */
int target_check_id(const char *id, char **reterr);

/*
 * Opens the target's cgroup. -ENOENT, -ESRCH, -ENOTUNIQ: no such target (the sentence says what was tried); -EOPNOTSUPP: it
 * is the root, or a container without a cgroup of its own; -EINVAL: not a number. Nothing here looks at the registry.
 */
int target_open(const struct cgroup_root *root, const struct target *t, struct cgroup **ret, char **reterr);

/* The cgroup at a path, with the root refused by naming `host`. Errors as target_open(). */
int target_open_path(const struct cgroup_root *root, const char *path, struct cgroup **ret, char **reterr);

/*
 * The scope of the container whose init is `process` (not NONE). `bundle` may be NULL. -ESRCH when the process is gone by the
 * end of the look-up, so that a reused number never counts.
 */
int target_open_container(const struct cgroup_root *root, const struct process *process, const char *id, const char *bundle,
        struct cgroup **ret, char **reterr);

/*
 * `path` as the registry keeps it: without the mount point, with one slash in front and none doubled or at the end. NULL on
 * ENOMEM.
 */
char *target_normal_path(const struct cgroup_root *root, const char *path);

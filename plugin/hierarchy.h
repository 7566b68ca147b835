/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libcgroup behind three verbs: where the memory controller is mounted, make a group, remove an empty group.
 *
 * It is a file of its own because libcgroup has a `struct cgroup` and a `cgroup_free` too: nothing may include both
 * <libcgroup.h> and cgroup.h.
 */
#pragma once

#include "util.h"

/*
 * The mount point of the hierarchy that has the memory controller, v1 or v2; *ret_unified_too says whether a cgroup v2
 * hierarchy is mounted anywhere (which may be the same one). -ENOTSUP with a sentence when no memory controller is mounted;
 * -ENOMEM. The string is the caller's.
 */
int hierarchy_find(char **ret_mount, bool *ret_unified_too, char **reterr);

/*
 * Makes the group `path` (relative to the memory hierarchy, without a leading slash). On v2 libcgroup writes "+memory" to
 * cgroup.subtree_control of its parent, and of no other ancestor; it stays on when the group is removed. Negative errno of the
 * kernel, with a sentence.
 */
int hierarchy_make(const char *path, char **reterr);

/* Removes one group without children; `path` as above. 0 also when it is gone already; -EBUSY when something is left in it. */
int hierarchy_remove(const char *path);

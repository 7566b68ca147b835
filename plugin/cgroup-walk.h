/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Walking the groups below one, level by level, bounded. Private to cgroup*.c.
 */
#pragma once

#include "util.h"

/*
 * Limits of one walk. The names are a tenant's wherever cgroups are delegated, so a walk must end with bounded memory whatever
 * it meets. Level by level means that what tenants make deep down cannot hide what the host made above.
 */
#define CGROUP_WALK_GROUPS_MAX 65536
#define CGROUP_WALK_BYTES_MAX (16 * 1024 * 1024)
#define CGROUP_WALK_DEPTH_MAX 32

/* Called with the path of each group, e.g. "/a/b" for the group b in a of the start. 1: go on into it, 0: do not, or negative
 * errno. */
typedef int (*cgroup_visit)(const char *path, void *userdata);

/*
 * Visits all groups below the open directory `start`, which itself is not visited. Groups that go away meanwhile are passed
 * over. Returns 0, 1 when a limit cut the walk, what `visit` said when that is negative, or -ENOMEM.
 */
int cgroup_walk(int start, cgroup_visit visit, void *userdata);

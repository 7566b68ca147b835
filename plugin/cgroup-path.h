/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Paths of cgroups as text: everything about them that needs no file system, but for the two that ask /proc. Private to
 * cgroup*.c and their tests.
 *
 * Invariant: a normalized path is "/" or "/a/b": one slash before each component, none at the end, no "." and no "..".
 */
#pragma once

#include "util.h"

/* Normalizes; a missing leading slash is added. -EINVAL: empty, or has a component "..". -ENAMETOOLONG. The string is the
 * caller's. */
int cgroup_path_normalize(const char *path, char **ret);

/* The path for a sentence: escaped and bounded. NULL on ENOMEM. */
char *cgroup_path_show(const char *path);

/* Cuts the last component off a normalized path, in place; the parent of "/" is "/". */
void cgroup_path_climb(char *path);

/* True when the normalized `path` is `below` itself or an ancestor of it. */
bool cgroup_path_covers(const char *path, const char *below);

/*
 * The topmost directory on `path` whose name contains `id` as a word of its own: not within a longer word, or a container
 * called "web" would be given "/webserver". -ENOENT when there is none, or the id is empty.
 */
int cgroup_path_topmost(const char *path, const char *id, char **ret);

/* `path` down to the end of the last place where the components of `part` stand in it. -ENOENT; otherwise as normalize. */
int cgroup_path_down_to(const char *path, const char *part, char **ret);

/*
 * The path of a "slice:prefix:name" as runc and crun mean it, e.g. "machine-a.slice:libpod:ID" is
 * "/machine.slice/machine-a.slice/libpod-ID.scope". *ret is NULL when `text` has not this form. -EINVAL when a part of it
 * cannot be, -ENAMETOOLONG when no cgroup has such a name.
 */
int cgroup_path_of_unit(const char *text, char **ret);

/* The memory cgroup path of the calling process. As cgroup_path_of_pid. */
int cgroup_path_own(char **ret, char **reterr);

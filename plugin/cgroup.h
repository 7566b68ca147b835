/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory cgroups as directories: where the memory controller's hierarchy is mounted (v1, hybrid or v2; libcgroup tells), and
 * how a path, a process or a container id becomes one directory in it.
 *
 * Invariants: a path here is relative to the memory hierarchy's root and begins with "/"; the root is a
 * struct cgroup for the host's profile only. An id is the directory's inode, which is the kernel's kn->id in that hierarchy on
 * 64-bit machines.
 */
#pragma once

#include <sys/types.h>

#include "util.h"

enum cgroup_layout { CGROUP_V1, CGROUP_HYBRID, CGROUP_V2 }; /* hybrid: v2 mounted too, memory controller on v1 */

struct cgroup_root {
        char *mount; /* of the hierarchy that has the memory controller */
        enum cgroup_layout layout;
};

/* Finds the memory hierarchy. -ENOTSUP with a sentence when no memory controller is mounted. */
int cgroup_root_new(struct cgroup_root **ret, char **reterr);
struct cgroup_root *cgroup_root_free(struct cgroup_root *r);
DEFINE_CLEANUP(struct cgroup_root, cgroup_root_free)

const char *cgroup_layout_to_string(enum cgroup_layout layout);

struct cgroup {
        char *path;
        int fd; /* the directory, O_RDONLY; -1: it was gone before anybody could open it */
        uint64_t id;
        enum cgroup_layout layout;
};

/*
 * Opens the group at `path`: relative to the hierarchy, or absolute below its mount. -EINVAL for the root, for ".." and for
 * what is no cgroup directory; -ENOENT when it does not exist; -EOPNOTSUPP when the group has no memory controller of its own
 * (on v2 an ancestor is charged then). Each with a sentence.
 */
int cgroup_open(const struct cgroup_root *root, const char *path, struct cgroup **ret, char **reterr);
/* The root of the hierarchy: the whole machine, path "/". Only for the host's profile. */
int cgroup_open_host(const struct cgroup_root *root, struct cgroup **ret, char **reterr);

/*
 * The group that had this path and id when they were written down; one that is gone when it is not there any more, or another
 * one is. `path` is in normal form. -ENOMEM.
 */
int cgroup_reopen(const struct cgroup_root *root, const char *path, uint64_t id, struct cgroup **ret);

static inline bool cgroup_is_host(const struct cgroup *c) {
        return streq(c->path, "/");
}

/* True when `inner` lies strictly below `outer`; everything but the host itself lies below the host. By path. */
bool cgroup_is_below(const struct cgroup *inner, const struct cgroup *outer);

/* Under another name for the linker: libcgroup exports a cgroup_free too, and calls it, so ours must not take its place. */
struct cgroup *cgroup_free(struct cgroup *c) __asm__("memcgprof_cgroup_free");
DEFINE_CLEANUP(struct cgroup, cgroup_free)

/* True when the directory was removed: no file is found in it any more (its link count stays as it was; see cgroup.c). */
bool cgroup_gone(const struct cgroup *c);

/*
 * The memory cgroup path of a process, as /proc/PID/cgroup says. -ESRCH when there is no such process or it is dead;
 * -EOPNOTSUPP when the path lies outside this process's cgroup namespace.
 */
int cgroup_path_of_pid(pid_t pid, char **ret, char **reterr);

/* The same out of the text of a /proc/PID/cgroup. -EINVAL when it names no memory cgroup. For cgroup_path_of_pid and its tests.
 */
int cgroup_path_parse(const char *text, char **ret, char **reterr);

/*
 * The group that is charged for a process: the one of its path, or on v2 the nearest ancestor with the memory controller. What
 * cgroup_open and cgroup_path_of_pid say.
 */
int cgroup_of_pid(const struct cgroup_root *root, pid_t pid, struct cgroup **ret, char **reterr);

/*
 * A container's scope: the memory cgroup of its process, climbed to the topmost directory whose name contains `id`; when none
 * does, `cgroups_path` (linux.cgroupsPath of the bundle's config.json, or NULL), which must be the process's group or one above
 * it, or -ENOENT. -EOPNOTSUPP when the scope is the root, the caller's own group or an ancestor of it (this container has no
 * cgroup of its own); -ESRCH when the process is gone.
 */
int cgroup_of_container(const struct cgroup_root *root, pid_t pid, const char *id, const char *cgroups_path,
        struct cgroup **ret, char **reterr);

/*
 * Searches the hierarchy for a container by id: one directory named `ID`, `*-ID.scope` (but for a monitor's
 * `*conmon-ID.scope`), `docker/ID` or `libpod_parent/libpod-ID`; hex prefixes from 12 characters on when unique. -ENOENT when
 * none (the sentence lists what was tried), -ENOTUNIQ when several; besides that as cgroup_open.
 */
int cgroup_find_container(const struct cgroup_root *root, const char *id, struct cgroup **ret, char **reterr);

/* The search alone, to a path: it needs no cgroup file system below root->mount. */
int cgroup_find_container_path(const struct cgroup_root *root, const char *id, char **ret, char **reterr);

/* linux.cgroupsPath out of BUNDLE/config.json; *ret NULL when it has none. -ENOENT, -EINVAL with a sentence. */
int cgroup_path_of_bundle(const char *bundle, char **ret, char **reterr);

/*
 * Makes a group for a command below the caller's own (libcgroup); on v2 below the nearest ancestor that hands the memory
 * controller on (the caller's own group holds the caller, so it may not), else below the root. `name` is one component, made
 * unique by the caller. -EINVAL for another name, -EEXIST, or what the kernel says.
 *
 * Removal takes the groups below it too: processes that are left are moved to the parent first, or, where that may hold none,
 * to the caller's group. It retries for up to a second while the kernel still says EBUSY. A group that is gone already is no
 * error.
 */
int cgroup_create(const struct cgroup_root *root, const char *name, struct cgroup **ret, char **reterr);
int cgroup_remove(const struct cgroup_root *root, struct cgroup *c, char **reterr);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Where is measured: memory cgroups of our own, a mount namespace of our own with a tree of files on a tmpfs, and in one of the
 * cgroups the runner. The measuring process itself stays where it was started.
 */
#pragma once

#include "cgroup.h"
#include "runner.h"

struct place {
        struct cgroup_root *root;
        struct cgroup *inside, *outside, *host; /* the runner lives in `inside`; host NULL: cannot be opened */
        char *tree;                             /* mount point of the tmpfs */
        struct runner *runner;
};

/* Root only. Before any tracker is loaded: see runner.h. */
int place_new(struct place **ret, char **reterr);
struct place *place_free(struct place *p);
DEFINE_CLEANUP(struct place, place_free)

/* Puts a process into the group. */
int place_move(const struct place *p, pid_t pid, const struct cgroup *group, char **reterr);

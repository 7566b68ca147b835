/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What OCI runtimes keep about their containers under /run: the last resort for finding a container whose cgroup does not
 * carry its id.
 */
#pragma once

#include "util.h"

extern const char runtime_state_places[]; /* the directories searched, for a sentence */

/*
 * The pid of the container's init as the first runtime says that knows `id`. -ENOENT when none does or when the id cannot be a
 * directory name. The caller must check that the pid is still that container's.
 */
int runtime_state_pid(const char *id, uint64_t *ret);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How often the kernel has killed in a cgroup for want of memory. */
#pragma once

#include "cgroup.h"

/* memory.events of v2, memory.oom_control of v1. -ENOENT when the group is gone, -ENODATA when the kernel does not count. */
int oom_read_kills(const struct cgroup *c, int64_t *ret);

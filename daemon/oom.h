/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * How often the memory of a cgroup ran out, and how often the kernel killed in it for that; and a descriptor that tells when.
 *
 * v2 has both counts in memory.events, of the group and of all below it, as a profile has it; memory.events.local would leave
 * out a container's own groups. The descriptor is that file: its mark (POLLPRI) stays up until it is read, so that a reader may
 * take its time. v1 counts kills only (memory.oom_control, of the very group) and has an eventfd for the others: they are told
 * before anybody is killed, to a group and to all below the one whose limit was reached. A group that goes tells once more.
 */
#pragma once

#include "cgroup.h"

struct oom_counts {
        int64_t ooms;  /* -1: the kernel does not count them (v1) */
        int64_t kills; /* -1: not known */
};

#define OOM_COUNTS_NONE ((struct oom_counts){.ooms = -1, .kills = -1})

/* -ENOENT or -ENODEV when the group is gone, -ENODATA when the kernel does not count. */
int oom_read(const struct cgroup *c, struct oom_counts *ret);

/* A descriptor to be waited for, and for what (EPOLLIN, EPOLLPRI). -EROFS where cgroups cannot be written to (v1). */
int oom_open(const struct cgroup *c, uint32_t *ret_events);

/* Takes the mark away that oom_open()'s descriptor has up. Returns how often memory ran out since, where only it knows (v1). */
uint64_t oom_take(const struct cgroup *c, int fd);

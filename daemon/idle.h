/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The end of a daemon that nobody needs: when nothing is profiled and nothing has happened for a while it gives its name back
 * and exits; the next call starts it again (bus activation).
 *
 * Nothing is lost on the way. Whether the bus would start us again is asked first: if not, the daemon stays. The name is
 * released while the loop still runs, and the bus delivers in order: once it confirms, every call that was meant for us has
 * been answered, and a later one starts the next daemon. What such a last call began is not thrown away: then the name is taken
 * back, or, where systemd was told already that we stop, the daemon ends with EXIT_AGAIN and is started again at once.
 */
#pragma once

#include <systemd/sd-bus.h>

#include "manager.h"

#define EXIT_AGAIN 75 /* EX_TEMPFAIL; RestartForceExitStatus= of the unit has it */

struct idle;

/* `usec`: how long without any event. All arguments must outlive it; `bus` is attached to `event`. */
int idle_new(sd_event *event, sd_bus *bus, const struct manager *m, uint64_t usec, struct idle **ret);
struct idle *idle_free(struct idle *i);
DEFINE_CLEANUP(struct idle, idle_free)

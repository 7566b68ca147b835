/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Whether the daemon is stopped or restarted. Both are a SIGTERM to it; only systemd knows, by the job that it runs on the
 * unit. (The runtime directory tells it too, by RuntimeDirectoryPreserve=restart, but only once this process is gone.)
 */
#pragma once

#include <systemd/sd-bus.h>

#include "util.h"

/*
 * True when systemd's job on the unit of this process is a restart. False when it cannot be asked, within a second: then it is
 * a stop.
 */
bool restart_is_coming(sd_bus *bus);

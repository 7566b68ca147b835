/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The two calls that the hook makes to the daemon. Each connects, calls, waits until the soft deadline and leaves.
 * Failures are -EINVAL and other errnos with a sentence; the daemon's own sentence where it gave one, escaped and cut.
 */
#pragma once

#include <sys/types.h>

#include "oci-state.h"

#define CALL_SYSTEM_BUS "unix:path=/run/dbus/system_bus_socket"

struct call_container {
        const struct oci_state *state; /* for annotations and bundle */
        const char *id;
        const char *spec;
        pid_t pid;
        int pidfd;
};

int call_register(const char *address, const struct call_container *c, char **reterr);

/* Never starts a daemon: one that does not run measures nothing that could end. */
int call_stopped(const char *address, const char *id, char **reterr);

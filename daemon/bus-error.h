/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Errors on the bus. Below the bus layer an error is a negative errno with a sentence; this is the one table that gives each
 * its name:
 *
 *   -EOPNOTSUPP NotSupported   -ENXIO NoSuchProfile   -ENOENT, -ESRCH, -ENOTUNIQ NoSuchTarget   -EBUSY Busy
 *   -EBADMSG BadSpec   -EDOM BadFilter   -E2BIG Limit   -ENODEV Gone   -EAGAIN NotReady   -EINVAL InvalidArgs (standard)
 *
 * Anything else becomes the standard Failed, with the sentence.
 */
#pragma once

#include <systemd/sd-bus.h>

#include "util.h"

/* Sets `error` from `r` (negative errno) and its sentence (or NULL: the errno's own words). Returns a negative errno. */
int bus_error_set(sd_bus_error *error, int r, const char *sentence);

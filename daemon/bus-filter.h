/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The `a{sv} filter` of the reading methods, into a struct filter. */
#pragma once

#include <systemd/sd-bus.h>

#include "filter.h"

/*
 * Reads and checks the whole filter; `ret` is zeroed by the caller and to be given to filter_done() in any case. Sets `error`
 * (BadFilter naming the key) and returns a negative errno.
 */
int bus_filter_read(sd_bus_message *m, struct filter *ret, sd_bus_error *error);

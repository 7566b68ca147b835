/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The `a{sv} options` that every method ends with, read by a table.
 *
 * A key that a method does not know is refused by name (InvalidArgs), not ignored: an option may well be a restriction, and a
 * caller that meets an older daemon must learn that it was not obeyed. Who wants to be lenient asks again without it.
 */
#pragma once

#include <systemd/sd-bus.h>

#include "util.h"

enum bus_option_kind {
        BUS_OPTION_STRING,  /* const char *: valid as long as the message */
        BUS_OPTION_INTEGER, /* uint64_t: any integer type that fits */
        BUS_OPTION_FD,      /* int: valid as long as the message */
        BUS_OPTION_STRINGS, /* a{ss}: each pair goes to `pair` */
};

struct bus_option {
        const char *name;
        enum bus_option_kind kind;
        size_t offset; /* of the member in `target` */
        int (*pair)(void *target, const char *key, const char *value);
};

/*
 * Reads the dictionary into the members of `target`; what is not given stays as it was. Sets `error` and returns a negative
 * errno: unknown key, key twice, wrong type.
 */
int bus_options_read(sd_bus_message *m, const struct bus_option *table, size_t n, void *target, sd_bus_error *error);

/* For methods that know no option yet. */
int bus_options_none(sd_bus_message *m, sd_bus_error *error);

/*
 * Reads one integer of any D-Bus type out of the open variant. -ERANGE when it does not fit an int64_t, -EBADMSG when
 * `type` is no integer type.
 */
int bus_read_integer(sd_bus_message *m, char type, int64_t *ret);

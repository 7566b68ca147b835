/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Who may call what. rights.c has the table: it names each method for which polkit is asked, and the action. A method that is
 * not in it is root's, by sd-bus itself; so are the setters of properties, which have to answer at once, and what hooks call,
 * because a container must not wait for polkit.
 *
 * The gate stands before the vtables. Those of the table's methods carry RIGHTS_ASKED, or sd-bus would refuse them after the
 * gate has let them through; a test holds flags, table, bus policy and manual page against each other.
 */
#pragma once

#include "polkit.h"

#define RIGHTS_ASKED SD_BUS_VTABLE_UNPRIVILEGED

/* From now on calls on `bus` are asked about. To be called before objects are added. */
int rights_guard(sd_bus *bus, struct polkit *p, sd_bus_slot **ret);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The daemon's objects on a bus. Reading properties is open to whom the bus's policy lets in; for a method polkit is asked, or
 * it is root's (rights.h), and every change of a property is root's (sd-bus's default). Others get AccessDenied.
 */
#pragma once

#include <systemd/sd-bus.h>

#include "manager.h"

/* Largest reply that is sent as one message; what is larger is asked for by Dump. Bytes. */
#define BUS_REPLY_MAX (16u << 20)

struct bus_service; /* what is attached to a bus */

/*
 * Puts the manager, its profiles, the object manager and LogControl1 on `bus` and makes signals of what the manager tells.
 * The name is not requested yet.
 */
int bus_service_new(sd_bus *bus, struct manager *m, struct bus_service **ret);
struct bus_service *bus_service_free(struct bus_service *s);
DEFINE_CLEANUP(struct bus_service, bus_service_free)

extern const sd_bus_vtable profile_vtable[];
extern const sd_bus_vtable log_control_vtable[];

#define BUS_PATH_LOG_CONTROL "/org/freedesktop/LogControl1"
#define BUS_INTERFACE_LOG_CONTROL "org.freedesktop.LogControl1"

/* Fallback look-up of a view by object path; userdata: the manager. */
int profile_object_find(
        sd_bus *bus, const char *path, const char *interface, void *userdata, void **ret_found, sd_bus_error *error);

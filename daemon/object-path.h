/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Where things stand on the bus. */
#pragma once

#include "util.h"

#define BUS_NAME "org.memcgprof1"
#define BUS_PATH "/org/memcgprof1"
#define BUS_PATH_CONTAINER BUS_PATH "/container"
#define BUS_PATH_CGROUP BUS_PATH "/cgroup"
#define BUS_PATH_HOST BUS_PATH "/host"
#define BUS_INTERFACE_MANAGER BUS_NAME ".Manager"
#define BUS_INTERFACE_PROFILE BUS_NAME ".Profile"

/* Labels are escaped as sd_bus_path_encode() does. NULL on ENOMEM. */
char *object_path_of_container(const char *id);
char *object_path_of_cgroup(uint64_t cgroup_id);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See object-path.h. */
#include <inttypes.h>
#include <systemd/sd-bus.h>

#include "object-path.h"

static char *encode(const char *prefix, const char *label) {
        char *path;

        return sd_bus_path_encode(prefix, label, &path) < 0 ? NULL : path;
}

char *object_path_of_container(const char *id) {
        return encode(BUS_PATH_CONTAINER, id);
}

char *object_path_of_cgroup(uint64_t cgroup_id) {
        _cleanup_free_ char *label = format("%" PRIu64, cgroup_id);

        return label ? encode(BUS_PATH_CGROUP, label) : NULL;
}

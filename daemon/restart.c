/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See restart.h. */
#include "restart.h"

#define SYSTEMD "org.freedesktop.systemd1"
#define TIMEOUT_USEC UINT64_C(1000000)

static int call(sd_bus *bus, const char *path, const char *interface, const char *member, sd_bus_message **ret,
        const char *types, ...) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        va_list arguments;
        int r;

        r = sd_bus_message_new_method_call(bus, &m, SYSTEMD, path, interface, member);
        if (r < 0)
                return r;
        (void)sd_bus_message_set_auto_start(m, false);
        va_start(arguments, types);
        r = sd_bus_message_appendv(m, types, arguments);
        va_end(arguments);
        return r < 0 ? r : sd_bus_call(bus, m, TIMEOUT_USEC, NULL, ret);
}

static int get_property(sd_bus *bus, const char *path, const char *interface, const char *name, sd_bus_message **ret) {
        return call(bus, path, "org.freedesktop.DBus.Properties", "Get", ret, "ss", interface, name);
}

/* The object of the job that runs on our unit; "/" when there is none. */
static int read_job(sd_bus *bus, sd_bus_message **ret, const char **ret_path) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *unit = NULL;
        const char *path;
        uint32_t id;
        int r;

        r = call(bus, "/org/freedesktop/systemd1", SYSTEMD ".Manager", "GetUnitByPID", &unit, "u", (uint32_t)getpid());
        if (r >= 0)
                r = sd_bus_message_read(unit, "o", &path);
        if (r >= 0)
                r = get_property(bus, path, SYSTEMD ".Unit", "Job", ret);
        if (r >= 0)
                r = sd_bus_message_read(*ret, "v", "(uo)", &id, ret_path);
        return r;
}

bool restart_is_coming(sd_bus *bus) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *job = NULL, *type = NULL;
        const char *path, *word;

        if (!bus || read_job(bus, &job, &path) < 0 || streq(path, "/"))
                return false;
        if (get_property(bus, path, SYSTEMD ".Job", "JobType", &type) < 0 || sd_bus_message_read(type, "v", "s", &word) < 0)
                return false;
        return streq(word, "restart") || streq(word, "try-restart");
}

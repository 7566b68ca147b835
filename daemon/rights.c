/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See rights.h. */
#include "rights.h"
#include "object-path.h"

#define MANAGE "org.memcgprof1.manage"
#define INSPECT "org.memcgprof1.inspect"
#define INSPECT_STACKS "org.memcgprof1.inspect-stacks"

/*
 * inspect: sites, sums, and what runs. inspect-stacks: what single tasks did and when. manage: whatever changes something.
 * The last column is for a method that has another action when its first argument is this one.
 */
static const struct right {
        const char *interface, *member, *action;
        const char *argument, *its_action;
} rights[] = {
        {BUS_INTERFACE_MANAGER, "StartProfile", MANAGE},
        {BUS_INTERFACE_MANAGER, "StopProfile", MANAGE},
        {BUS_INTERFACE_MANAGER, "SetMode", MANAGE},
        {BUS_INTERFACE_MANAGER, "GetProfile", INSPECT},
        {BUS_INTERFACE_MANAGER, "ListProfiles", INSPECT},
        {BUS_INTERFACE_MANAGER, "DescribeSupport", INSPECT},
        {BUS_INTERFACE_PROFILE, "GetSummary", INSPECT},
        {BUS_INTERFACE_PROFILE, "GetSites", INSPECT},
        {BUS_INTERFACE_PROFILE, "Dump", INSPECT, "stacks", INSPECT_STACKS},
        {BUS_INTERFACE_PROFILE, "Reset", MANAGE},
};

static const struct right *find(const sd_bus_message *call) {
        sd_bus_message *m = (sd_bus_message *)call; /* sd-bus knows no const */
        const char *interface = sd_bus_message_get_interface(m), *member = sd_bus_message_get_member(m);

        for (size_t i = 0; interface && member && i < ELEMENTS(rights); i++)
                if (streq(rights[i].member, member) && streq(rights[i].interface, interface))
                        return &rights[i];
        return NULL;
}

/* A call whose argument cannot be read fails later, by its types. */
static const char *action_of(const struct right *right, sd_bus_message *m) {
        const char *argument;

        if (!right->argument)
                return right->action;
        if (sd_bus_message_read(m, "s", &argument) <= 0)
                argument = "";
        (void)sd_bus_message_rewind(m, true);
        return streq(argument, right->argument) ? right->its_action : right->action;
}

static int gate(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const struct right *right = sd_bus_message_is_method_call(m, NULL, NULL) > 0 ? find(m) : NULL;
        int r;

        if (!right)
                return 0;
        r = polkit_verify(userdata, m, action_of(right, m), error);
        if (r < 0)
                return r;
        return r > 0 ? 0 : 1; /* let through, or handled until the answer is there */
}

int rights_guard(sd_bus *bus, struct polkit *p, sd_bus_slot **ret) {
        return sd_bus_add_filter(bus, ret, gate, p);
}

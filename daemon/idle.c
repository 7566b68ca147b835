/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See idle.h.
 *
 * Why systemd hears of it before the bus does: a call that comes after the name is gone makes the bus ask systemd to start the
 * unit, and of a unit that still runs systemd says that it is started already. The call would then wait for a name that never
 * comes. Of a unit that said STOPPING=1 systemd keeps the request until the process is gone.
 */
#include <systemd/sd-daemon.h>

#include "idle.h"
#include "log.h"
#include "object-path.h"

#define DRIVER "org.freedesktop.DBus"
#define DRIVER_PATH "/org/freedesktop/DBus"

enum phase {
        PHASE_WAITING,   /* for the time to pass */
        PHASE_ASKING,    /* the bus, whether it would start us */
        PHASE_RELEASING, /* the name, until the bus says that it is gone */
        PHASE_OVER,      /* the loop is about to end, or we stay for good */
};

struct idle {
        sd_event *event;
        sd_bus *bus;
        const struct manager *manager;
        uint64_t usec;
        enum phase phase;
        bool systemd_knows;
        sd_event_source *timer, *post;
        sd_bus_slot *call;
};

static int wait_again(struct idle *i) {
        i->phase = PHASE_WAITING;
        return manager_idle(i->manager) ? sd_event_source_set_time_relative(i->timer, i->usec) < 0
                                                  ? 0
                                                  : sd_event_source_set_enabled(i->timer, SD_EVENT_ONESHOT)
                                        : sd_event_source_set_enabled(i->timer, SD_EVENT_OFF);
}

/* Runs after every event but the timer's own: something happened, so time begins anew. */
static int on_post(sd_event_source *s, void *userdata) {
        struct idle *i = userdata;

        return i->phase == PHASE_WAITING ? wait_again(i) : 0;
}

static void stay(struct idle *i, const char *why) {
        i->phase = PHASE_OVER;
        (void)sd_event_source_set_enabled(i->timer, SD_EVENT_OFF);
        log_info("Not exiting when idle: %s", why);
}

/* A call that was under way began something. */
static int come_back(struct idle *i) {
        int r;

        if (i->systemd_knows) {
                log_notice("A profile began while this daemon was about to exit: starting again.");
                i->phase = PHASE_OVER;
                return sd_event_exit(i->event, EXIT_AGAIN);
        }
        log_debug("A profile began while this daemon was about to exit: it stays.");
        r = sd_bus_request_name(i->bus, BUS_NAME, 0);
        if (r < 0) {
                log_error("Cannot get the name " BUS_NAME " back: %s.", strerror(-r));
                i->phase = PHASE_OVER;
                return sd_event_exit(i->event, r);
        }
        return wait_again(i);
}

static int on_released(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        struct idle *i = userdata;

        if (sd_bus_message_is_method_error(reply, NULL)) {
                stay(i, "the bus does not take the name back.");
                return 0;
        }
        if (!manager_idle(i->manager))
                return come_back(i);
        i->phase = PHASE_OVER;
        return sd_event_exit(i->event, 0);
}

static int release(struct idle *i) {
        int r;

        log_info("Nothing is profiled and nothing happens: exiting until the next call.");
        i->systemd_knows = sd_notify(false, "STOPPING=1") > 0;
        i->call = sd_bus_slot_unref(i->call);
        i->phase = PHASE_RELEASING;
        r = sd_bus_call_method_async(
                i->bus, &i->call, DRIVER, DRIVER_PATH, DRIVER, "ReleaseName", on_released, i, "s", BUS_NAME);
        return r < 0 ? sd_event_exit(i->event, 0) : 0;
}

static int on_listed(sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        struct idle *i = userdata;
        bool activatable = false;
        const char *name;
        int r;

        r = sd_bus_message_is_method_error(reply, NULL) ? 0 : sd_bus_message_enter_container(reply, 'a', "s");
        while (r > 0 && (r = sd_bus_message_read(reply, "s", &name)) > 0)
                activatable |= streq(name, BUS_NAME);
        if (!activatable) {
                stay(i, "this bus would not start memcgprofd again.");
                return 0;
        }
        return manager_idle(i->manager) ? release(i) : wait_again(i);
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata) {
        struct idle *i = userdata;

        if (!manager_idle(i->manager))
                return wait_again(i);
        i->call = sd_bus_slot_unref(i->call);
        i->phase = PHASE_ASKING;
        return sd_bus_call_method_async(
                i->bus, &i->call, DRIVER, DRIVER_PATH, DRIVER, "ListActivatableNames", on_listed, i, "");
}

int idle_new(sd_event *event, sd_bus *bus, const struct manager *m, uint64_t usec, struct idle **ret) {
        _cleanup_(idle_freep) struct idle *i = calloc(1, sizeof(*i));
        int r;

        if (!i)
                return -ENOMEM;
        i->event = sd_event_ref(event);
        i->bus = sd_bus_ref(bus);
        i->manager = m;
        i->usec = usec;
        r = sd_event_add_time_relative(event, &i->timer, CLOCK_MONOTONIC, usec, 0, on_timer, i);
        if (r >= 0)
                r = sd_event_add_post(event, &i->post, on_post, i);
        if (r >= 0)
                r = wait_again(i);
        if (r < 0)
                return r;
        *ret = TAKE(i);
        return 0;
}

struct idle *idle_free(struct idle *i) {
        if (!i)
                return NULL;
        sd_bus_slot_unref(i->call);
        sd_event_source_disable_unref(i->timer);
        sd_event_source_disable_unref(i->post);
        sd_bus_unref(i->bus);
        sd_event_unref(i->event);
        free(i);
        return NULL;
}

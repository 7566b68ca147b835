/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The hook as a client of the bus.
 *
 * Invariants: no environment variable is asked (the address is a parameter, the timeout is explicit); sd-bus is never given a
 * timeout of 0, which would mean its default; every wait ends at the soft deadline.
 */
#include <systemd/sd-bus.h>
#include <time.h>

#include "call.h"
#include "deadline.h"
#include "text.h"

#define NAME "org.memcgprof1"
#define PATH "/org/memcgprof1"
#define INTERFACE "org.memcgprof1.Manager"

#define RETRY_NSEC 5000000 /* between tries to get into the queue of the bus's socket */

#define SHOWN 512 /* bytes of somebody else's text that a sentence repeats */

static int out_of_time(const char *who, char **reterr) {
        return fail(reterr, -ETIMEDOUT, "The %s did not answer within %u ms.", who, deadline_soft_ms());
}

static int unreachable(const char *address, int error, char **reterr) {
        _cleanup_free_ char *shown = text_escape(address, strlen(address), SHOWN);

        return fail(reterr, error, "The bus at %s cannot be reached: %s.", shown ? shown : "?", strerror(-error));
}

static int open_bus(const char *address, sd_bus **ret) {
        _cleanup_(sd_bus_unrefp) sd_bus *bus = NULL;
        int r;

        /* Other transports start programs or leave the machine. */
        if (!startswith(address, "unix:") || strchr(address, ';'))
                return -EPROTONOSUPPORT;
        r = sd_bus_new(&bus);
        if (r >= 0)
                r = sd_bus_set_address(bus, address);
        if (r >= 0)
                r = sd_bus_set_bus_client(bus, true);
        if (r >= 0)
                r = sd_bus_negotiate_fds(bus, true);
        /* Unset, sd-bus would ask the environment for it. It counts for Hello only, and our own deadline comes first. */
        if (r >= 0)
                r = sd_bus_set_method_call_timeout(bus, 60 * UINT64_C(1000000));
        if (r >= 0)
                r = sd_bus_start(bus);
        if (r < 0)
                return r;
        *ret = TAKE(bus);
        return 0;
}

/* The queue of the socket may be full for a moment, when many containers start at once: a socket that never blocks says EAGAIN.
 */
static int open_bus_in_time(const char *address, sd_bus **ret) {
        static const struct timespec pause = {.tv_nsec = RETRY_NSEC};

        for (;;) {
                int r = open_bus(address, ret);

                if (r != -EAGAIN || deadline_left_us() < RETRY_NSEC / 1000)
                        return r;
                nanosleep(&pause, NULL);
        }
}

/* Authentication and Hello, which the timeout of a call does not cover. */
static int wait_ready(sd_bus *bus) {
        for (;;) {
                uint64_t left = deadline_left_us();
                int r = sd_bus_is_ready(bus);

                if (r != 0)
                        return r;
                if (left == 0)
                        return -ETIMEDOUT;
                r = sd_bus_process(bus, NULL);
                if (r == 0)
                        r = sd_bus_wait(bus, left);
                if (r < 0)
                        return r;
        }
}

static int connect_bus(const char *address, sd_bus **ret, char **reterr) {
        _cleanup_(sd_bus_close_unrefp) sd_bus *bus = NULL;
        int r;

        deadline_phase(PHASE_CONNECT);
        r = open_bus_in_time(address, &bus);
        if (r >= 0)
                r = wait_ready(bus);
        if (r == -ETIMEDOUT)
                return out_of_time("bus", reterr);
        if (r < 0)
                return unreachable(address, r, reterr);
        *ret = TAKE(bus);
        return 0;
}

static int explain(const sd_bus_error *error, int r, char **reterr) {
        const char *text = error->message ? error->message : error->name ? error->name : strerror(-r);
        _cleanup_free_ char *shown = NULL;

        if (deadline_left_us() == 0)
                return out_of_time("daemon", reterr);
        if (sd_bus_error_has_name(error, SD_BUS_ERROR_SERVICE_UNKNOWN) ||
                sd_bus_error_has_name(error, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
                return fail(reterr, r, "No daemon serves " NAME " on the bus.");
        shown = text_escape(text, strlen(text), SHOWN);
        return fail(reterr, r, "%s", shown ? shown : "?");
}

static int call(sd_bus *bus, sd_bus_message *m, char **reterr) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        uint64_t left = deadline_left_us();
        int r;

        deadline_phase(PHASE_CALL);
        if (left == 0)
                return out_of_time("bus", reterr);
        r = sd_bus_call(bus, m, left, &error, NULL);
        return r < 0 ? explain(&error, r, reterr) : 0;
}

/* As it is, so that whoever shows it escapes it once; but D-Bus takes no Unicode noncharacters, which go escaped. */
static int append_annotation(sd_bus_message *m, const char *key, const char *value) {
        _cleanup_free_ char *escaped = NULL;
        int r = sd_bus_message_open_container(m, 'e', "ss");

        if (r >= 0)
                r = sd_bus_message_append(m, "s", key);
        if (r >= 0)
                r = sd_bus_message_append(m, "s", value);
        if (r == -EINVAL) {
                escaped = text_escape(value, strlen(value), OCI_ANNOTATION_MAX);
                r = escaped ? sd_bus_message_append(m, "s", escaped) : -ENOMEM;
        }
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_annotations(sd_bus_message *m, const struct oci_state *state) {
        int r = sd_bus_message_open_container(m, 'e', "sv");

        if (r >= 0)
                r = sd_bus_message_append(m, "s", "annotations");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', "a{ss}");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "{ss}");
        for (const char *const *key = oci_annotations; r >= 0 && *key; key++) {
                _cleanup_free_ char *value = NULL;

                r = oci_state_annotation(state, *key, &value);
                if (r > 0)
                        r = append_annotation(m, *key, value);
        }
        for (int depth = 0; r >= 0 && depth < 3; depth++)
                r = sd_bus_message_close_container(m);
        return r;
}

/* When the hook gives up, on the clock that the daemon can compare with: a call that is read later is a stale one. */
static uint64_t deadline_realtime_us(void) {
        struct timespec now;

        clock_gettime(CLOCK_REALTIME, &now);
        return now.tv_sec * UINT64_C(1000000) + now.tv_nsec / 1000 + deadline_left_us();
}

static int append_options(sd_bus_message *m, const struct call_container *c) {
        const char *bundle = oci_state_bundle(c->state);
        int r = sd_bus_message_open_container(m, 'a', "{sv}");

        if (r >= 0)
                r = sd_bus_message_append(m, "{sv}{sv}{sv}{sv}", "pidfd", "h", c->pidfd, "pid", "u", (uint32_t)c->pid, "spec",
                        "s", c->spec, "deadline_us", "t", deadline_realtime_us());
        if (r >= 0 && bundle)
                r = sd_bus_message_append(m, "{sv}", "bundle", "s", bundle);
        if (r >= 0)
                r = append_annotations(m, c->state);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r;
}

static int new_message(sd_bus *bus, const char *member, const char *id, sd_bus_message **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r = sd_bus_message_new_method_call(bus, &m, NAME, PATH, INTERFACE, member);

        if (r >= 0)
                r = sd_bus_message_append(m, "s", id);
        if (r < 0)
                return r;
        *ret = TAKE(m);
        return 0;
}

int call_register(const char *address, const struct call_container *c, char **reterr) {
        _cleanup_(sd_bus_close_unrefp) sd_bus *bus = NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r = connect_bus(address, &bus, reterr);

        if (r < 0)
                return r;
        r = new_message(bus, "RegisterContainer", c->id, &m);
        if (r >= 0)
                r = append_options(m, c);
        if (r < 0)
                return fail(reterr, r, "The call to the daemon cannot be written: %s.", strerror(-r));
        return call(bus, m, reterr);
}

int call_stopped(const char *address, const char *id, char **reterr) {
        _cleanup_(sd_bus_close_unrefp) sd_bus *bus = NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r = connect_bus(address, &bus, reterr);

        if (r < 0)
                return r;
        r = new_message(bus, "ContainerStopped", id, &m);
        if (r >= 0)
                r = sd_bus_message_append(m, "a{sv}", 0);
        if (r >= 0)
                r = sd_bus_message_set_auto_start(m, false);
        if (r < 0)
                return fail(reterr, r, "The call to the daemon cannot be written: %s.", strerror(-r));
        return call(bus, m, reterr);
}

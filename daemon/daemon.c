/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See daemon.h. The end runs inside the loop, as an exit source ahead of the bus's own: signals about the last reports still
 * leave, and it is the same for SIGTERM, SIGINT and a bus that is gone.
 */
#include <signal.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>

#include "arguments.h"
#include "bus.h"
#include "daemon.h"
#include "idle.h"
#include "journal.h"
#include "no-tracker.h"
#include "object-path.h"
#include "restart.h"
#include "text.h"

/* Who calls us is asked of the bus while the loop waits. A bus whose queue for us is full drops the answer. */
#define CALL_USEC (UINT64_C(5) * 1000000)

#define SPILL_SHARE 32 /* of the objects; as the tracker's own sizes have it */

static int open_bus(const char *address, sd_bus **ret) {
        _cleanup_(sd_bus_unrefp) sd_bus *bus = NULL;
        int r;

        r = sd_bus_new(&bus);
        if (r >= 0)
                r = sd_bus_set_address(bus, address);
        if (r >= 0)
                r = sd_bus_set_bus_client(bus, true);
        if (r >= 0)
                r = sd_bus_negotiate_fds(bus, true);
        if (r >= 0)
                r = sd_bus_set_method_call_timeout(bus, CALL_USEC);
        if (r >= 0)
                r = sd_bus_start(bus);
        if (r < 0)
                return r;
        *ret = TAKE(bus);
        return 0;
}

/* What lives as long as the loop; freed from bottom to top. */
struct daemon {
        sd_event *event;
        struct engine *engine;
        struct state_dir *state;
        struct manager *manager;
        sd_bus *bus;
        struct bus_service *service;
        struct idle *idle;
};

static void daemon_done(struct daemon *d) {
        idle_free(d->idle);
        bus_service_free(d->service);
        sd_bus_flush_close_unref(d->bus);
        manager_free(d->manager);
        state_dir_free(d->state);
        engine_free(d->engine);
        sd_event_unref(d->event);
}

static int on_end(sd_event_source *s, void *userdata) {
        struct daemon *d = userdata;
        int code = 0;

        (void)sd_event_get_exit_code(d->event, &code);
        (void)sd_notify(false, "STOPPING=1");
        if (code == EXIT_AGAIN || restart_is_coming(d->bus))
                manager_leave(d->manager);
        else
                manager_stop_all(d->manager);
        return 0;
}

static int add_end(struct daemon *d) {
        static const int signals[] = {SIGTERM, SIGINT};
        sd_event_source *source = NULL;
        sigset_t set;
        int r = 0;

        /* Blocked for good and not by the event sources: a second signal must not cut the end short. */
        (void)sigemptyset(&set);
        for (size_t i = 0; i < ELEMENTS(signals); i++)
                (void)sigaddset(&set, signals[i]);
        (void)sigprocmask(SIG_BLOCK, &set, NULL);
        for (size_t i = 0; r >= 0 && i < ELEMENTS(signals); i++)
                r = sd_event_add_signal(d->event, NULL, signals[i], NULL, NULL);
        if (r >= 0)
                r = sd_event_add_exit(d->event, &source, on_end, d);
        if (r >= 0)
                r = sd_event_source_set_priority(source, SD_EVENT_PRIORITY_IMPORTANT);
        if (r >= 0)
                r = sd_event_source_set_floating(source, true);
        sd_event_source_unref(source);
        return r;
}

/* What may be gone at the next try is a failure of the start; what this machine cannot do is an answer to everybody who asks.
 */
static bool may_pass(int error) {
        return error == -ENOMEM || error == -EAGAIN || error == -EMFILE || error == -ENFILE || error == -EINTR;
}

static int make_tracker(
        const struct tracker_options *options, const struct daemon_setup *setup, struct tracker **ret, char **reterr) {
        _cleanup_free_ char *sentence = NULL;
        int r;

        r = setup->tracker_new(options, ret, &sentence);
        if (r >= 0)
                return 0;
        if (may_pass(r) || r == -EBUSY)
                return fail(reterr, r, "%s", sentence ? sentence : strerror(-r));
        log_error("Nothing can be measured on this machine: %s", sentence ? sentence : strerror(-r));
        return no_tracker_new(sentence ? sentence : strerror(-r), ret);
}

static int begin_engine(
        struct daemon *d, const struct arguments *a, const struct config *c, const struct daemon_setup *setup, char **reterr) {
        const struct tracker_options options = {
                .groups = groups_of_tracker(c->groups_max),
                .objects = (uint32_t)c->objects_max,
                .spill = c->objects_max ? (uint32_t)c->objects_max / SPILL_SHARE + 1 : 0,
                .sites = (uint32_t)c->sites_max,
                .stacks = (uint32_t)c->stacks_max,
                .pins = a->pins,
                .lease_us = c->lease_usec,
        };
        const struct manager_settings settings = {
                .settle_usec = c->settle_usec,
                .residue_keep_usec = c->residue_keep_usec,
                .lease_usec = c->lease_usec,
                .cpu_budget = c->cpu_budget,
                .caps = c->caps,
                .reports = {c->reports_count, c->reports_bytes, c->reports_age_usec / 1000000},
                .run_dir = a->run_dir,
        };
        struct tracker *tracker;
        int r;

        r = make_tracker(&options, setup, &tracker, reterr);
        if (r < 0)
                return r;
        r = engine_new(tracker, setup->kallsyms, &d->engine, reterr);
        if (r < 0) {
                tracker_free(tracker);
                return r;
        }
        engine_set_options(d->engine, &options);
        groups_set_max(engine_groups(d->engine), c->groups_max);
        r = manager_new(d->event, d->engine, d->state, &settings, &d->manager, reterr);
        if (r >= 0)
                r = manager_add_record(d->manager, setup->root, reterr);
        return r < 0 ? r : manager_restore(d->manager, reterr);
}

/*
 * Before the engine: loading programs takes longer than a hook waits that had the bus start us, and a bus throws away what
 * waits for a start when its sender has left. Calls wait in our own queue from here on.
 */
static int claim_name(struct daemon *d, const struct arguments *a, char **reterr) {
        int r;

        r = open_bus(a->bus, &d->bus);
        if (r < 0)
                return fail(reterr, r, "Cannot reach the bus %s: %s.", a->bus, strerror(-r));
        r = sd_bus_request_name(d->bus, BUS_NAME, 0);
        if (r == -EEXIST || r == -EALREADY)
                return fail(reterr, r, "The name " BUS_NAME " is taken: another memcgprofd serves this bus.");
        return r < 0 ? fail(reterr, r, "Cannot get the name " BUS_NAME " on %s: %s.", a->bus, strerror(-r)) : 0;
}

static int begin_bus(struct daemon *d, char **reterr) {
        int r;

        r = bus_service_new(d->bus, d->manager, &d->service);
        if (r >= 0)
                r = sd_bus_attach_event(d->bus, d->event, SD_EVENT_PRIORITY_NORMAL);
        if (r >= 0)
                r = sd_bus_set_exit_on_disconnect(d->bus, true);
        return r < 0 ? fail(reterr, r, "Cannot serve on the bus: %s.", strerror(-r)) : 0;
}

static int begin_idle(struct daemon *d, uint64_t usec, char **reterr) {
        int r = usec == 0 || usec == CONFIG_INFINITY ? 0 : idle_new(d->event, d->bus, d->manager, usec, &d->idle);

        return r < 0 ? fail(reterr, r, "Cannot prepare the exit on idle: %s.", strerror(-r)) : 0;
}

/* The exit status of the loop, or a negative errno. */
static int run(
        struct daemon *d, const struct arguments *a, const struct config *c, const struct daemon_setup *setup, char **reterr) {
        int r;

        r = sd_event_default(&d->event);
        if (r >= 0)
                r = add_end(d);
        if (r >= 0)
                r = sd_event_set_watchdog(d->event, true);
        if (r < 0)
                return fail(reterr, r, "Cannot make the event loop: %s.", strerror(-r));
        r = state_dir_open(a->state_dir, &d->state, reterr);
        if (r >= 0)
                r = claim_name(d, a, reterr);
        if (r >= 0)
                r = begin_engine(d, a, c, setup, reterr);
        if (r >= 0)
                r = begin_bus(d, reterr);
        if (r >= 0)
                r = begin_idle(d, c->idle_usec, reterr);
        if (r < 0)
                return r;
        log_info("Ready: backend %s, mode %s.", engine_backend(d->engine), mode_to_string(manager_mode(d->manager)));
        (void)sd_notify(false, "READY=1");
        r = sd_event_loop(d->event);
        return r < 0 ? fail(reterr, r, "The event loop failed: %s.", strerror(-r)) : r;
}

/* A profile holds its cgroup's directory open, and a container's the process too: the usual soft limit ends at 500 of them. */
static void raise_descriptors(void) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return;
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static void tell_config(void *userdata, const char *file, unsigned line, const char *sentence) {
        journal_config(file, line, sentence);
}

static int show_config(const struct config *c) {
        _cleanup_free_ char *text = config_format(c);

        return text && fputs(text, stdout) >= 0 && fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int daemon_run(int argc, char **argv, const struct daemon_setup *setup) {
        struct arguments a = arguments_default;
        _cleanup_(daemon_done) struct daemon d = {0};
        _cleanup_free_ char *sentence = NULL;
        struct config c;
        int r;

        r = arguments_parse(argc, argv, &a);
        if (r >= 0)
                return r;
        log_open("memcgprofd", setup->journal);
        log_set_target(a.show_config ? LOG_TARGET_CONSOLE : (enum log_target)a.log_target);
        r = arguments_configure(&a, &c, tell_config, NULL);
        if (r >= 0 && a.show_config)
                return show_config(&c);
        (void)signal(SIGPIPE, SIG_IGN);
        raise_descriptors();
        if (r >= 0)
                r = run(&d, &a, &c, setup, &sentence);
        if (r < 0)
                log_error("%s", sentence ? sentence : strerror(-r));
        return r < 0 ? EXIT_FAILURE : r;
}

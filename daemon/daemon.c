/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See daemon.h. The end runs inside the loop, as an exit source ahead of the bus's own: signals about the last reports still
 * leave, and it is the same for SIGTERM, SIGINT and a bus that is gone.
 */
#include <getopt.h>
#include <signal.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>

#include "bus.h"
#include "daemon.h"
#include "log.h"
#include "no-tracker.h"
#include "object-path.h"
#include "restart.h"
#include "text.h"

#define SYSTEM_BUS "unix:path=/run/dbus/system_bus_socket"
#define STATE_DIR "/var/lib/memcgprof"
#define RUN_DIR "/run/memcgprof"
#define PINS_DIR "/sys/fs/bpf/memcgprof"
#define SETTLE_MS UINT64_C(1000)
#define SETTLE_MS_MAX UINT64_C(600000)
#define LEASE_USEC (UINT64_C(10) * 60 * 1000000)
#define RESIDUE_KEEP_MS_MAX UINT64_C(86400000)

/* Who calls us is asked of the bus while the loop waits. A bus whose queue for us is full drops the answer. */
#define CALL_USEC (UINT64_C(5) * 1000000)

#define GROUPS_LIMIT 16384 /* of --groups-max */

#define TABLE_LIMIT (1 << 22) /* of --objects-max and the like */
#define SPILL_SHARE 32        /* of the objects; as the tracker's own sizes have it */

struct arguments {
        const char *bus, *state_dir, *run_dir, *pins;
        uint64_t settle_ms, residue_keep_ms, groups_max;
        uint64_t objects_max, sites_max, stacks_max; /* 0: as the tracker has it */
};

static const char help_text[] = "memcgprofd [OPTIONS]\n"
                                "\n"
                                "Measure which kernel code allocates the memory of containers; serve it as\n"
                                "org.memcgprof1 on D-Bus.\n"
                                "\n"
                                "  --bus=ADDRESS    Serve on this bus (default: the system bus)\n"
                                "  --state-dir=DIR  Keep reports and the mode here\n"
                                "                   (default: " STATE_DIR ")\n"
                                "  --run-dir=DIR    Write down here what the next daemon has to know\n"
                                "                   (default: " RUN_DIR ")\n"
                                "  --pins=DIR       Count on from here when the daemon is killed; a\n"
                                "                   directory of a BPF file system, or none\n"
                                "                   (default: " PINS_DIR ")\n"
                                "  --settle-ms=N    Wait so long between the end of a container and its\n"
                                "                   final report (default: 1000)\n"
                                "  --residue-keep-ms=N\n"
                                "                   Follow what is left of it so long from there on,\n"
                                "                   unless its place is needed (default: 600000)\n"
                                "  --groups-max=N   Profile at most so many groups at once\n"
                                "                   (default: 1024)\n"
                                "  --objects-max=N  Follow at most so many living objects\n"
                                "                   (default: 1048576)\n"
                                "  --sites-max=N    Keep at most so many sites, of all groups together\n"
                                "                   (default: 131072, less with many CPUs)\n"
                                "  --stacks-max=N   Keep at most so many stacks of page allocations\n"
                                "                   (default: 16384)\n"
                                "  -h --help        Show this help\n"
                                "  --version        Show the version\n";

static int usage(const char *what) {
        (void)fprintf(stderr, "memcgprofd: %s See memcgprofd --help.\n", what);
        return 2;
}

static bool parse_size(const char *text, uint64_t *ret) {
        return text_to_u64(text, ret) >= 0 && *ret >= 1 && *ret <= TABLE_LIMIT;
}

/* -1: go on; else the exit status. */
static int parse_arguments(int argc, char **argv, struct arguments *a) {
        enum { BUS = 256, STATE, RUN, PINS, SETTLE, RESIDUE_KEEP, GROUPS, OBJECTS, SITES, STACKS, VERSION };
        static const struct option options[] = {
                {"bus", required_argument, NULL, BUS},
                {"state-dir", required_argument, NULL, STATE},
                {"run-dir", required_argument, NULL, RUN},
                {"pins", required_argument, NULL, PINS},
                {"settle-ms", required_argument, NULL, SETTLE},
                {"residue-keep-ms", required_argument, NULL, RESIDUE_KEEP},
                {"groups-max", required_argument, NULL, GROUPS},
                {"objects-max", required_argument, NULL, OBJECTS},
                {"sites-max", required_argument, NULL, SITES},
                {"stacks-max", required_argument, NULL, STACKS},
                {"help", no_argument, NULL, 'h'},
                {"version", no_argument, NULL, VERSION},
                {NULL},
        };
        int c;

        while ((c = getopt_long(argc, argv, "h", options, NULL)) >= 0)
                switch (c) {
                case BUS:
                        a->bus = optarg;
                        break;
                case STATE:
                        a->state_dir = optarg;
                        break;
                case RUN:
                        a->run_dir = optarg;
                        break;
                case PINS:
                        a->pins = streq(optarg, "none") ? NULL : optarg;
                        break;
                case SETTLE:
                        if (text_to_u64(optarg, &a->settle_ms) < 0 || a->settle_ms > SETTLE_MS_MAX)
                                return usage("--settle-ms takes milliseconds from 0 to 600000.");
                        break;
                case RESIDUE_KEEP:
                        if (text_to_u64(optarg, &a->residue_keep_ms) < 0 || a->residue_keep_ms > RESIDUE_KEEP_MS_MAX)
                                return usage("--residue-keep-ms takes milliseconds from 0 to 86400000.");
                        break;
                case GROUPS:
                        if (text_to_u64(optarg, &a->groups_max) < 0 || a->groups_max < 1 || a->groups_max > GROUPS_LIMIT)
                                return usage("--groups-max takes a number from 1 to 16384.");
                        break;
                case OBJECTS:
                        if (!parse_size(optarg, &a->objects_max))
                                return usage("--objects-max takes a number from 1 to 4194304.");
                        break;
                case SITES:
                        if (!parse_size(optarg, &a->sites_max))
                                return usage("--sites-max takes a number from 1 to 4194304.");
                        break;
                case STACKS:
                        if (!parse_size(optarg, &a->stacks_max))
                                return usage("--stacks-max takes a number from 1 to 4194304.");
                        break;
                case 'h':
                        (void)fputs(help_text, stdout);
                        return 0;
                case VERSION:
                        (void)puts("memcgprof " MEMCGPROF_VERSION);
                        return 0;
                default:
                        return 2; /* getopt has said why */
                }
        return optind < argc ? usage("It takes no arguments but options.") : -1;
}

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
};

static void daemon_done(struct daemon *d) {
        bus_service_free(d->service);
        sd_bus_flush_close_unref(d->bus);
        manager_free(d->manager);
        state_dir_free(d->state);
        engine_free(d->engine);
        sd_event_unref(d->event);
}

static int on_end(sd_event_source *s, void *userdata) {
        struct daemon *d = userdata;

        (void)sd_notify(false, "STOPPING=1");
        if (restart_is_coming(d->bus))
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

static int begin_engine(struct daemon *d, const struct arguments *a, const struct daemon_setup *setup, char **reterr) {
        const struct tracker_options options = {
                .groups = groups_of_tracker(a->groups_max),
                .objects = (uint32_t)a->objects_max,
                .spill = a->objects_max ? (uint32_t)a->objects_max / SPILL_SHARE + 1 : 0,
                .sites = (uint32_t)a->sites_max,
                .stacks = (uint32_t)a->stacks_max,
                .pins = a->pins,
                .lease_us = LEASE_USEC,
        };
        const struct manager_settings settings = {
                .settle_usec = a->settle_ms * 1000,
                .residue_keep_usec = a->residue_keep_ms * 1000,
                .lease_usec = LEASE_USEC,
                .reports = report_limits_default,
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
        groups_set_max(engine_groups(d->engine), a->groups_max);
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

static int run(struct daemon *d, const struct arguments *a, const struct daemon_setup *setup, char **reterr) {
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
                r = begin_engine(d, a, setup, reterr);
        if (r >= 0)
                r = begin_bus(d, reterr);
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

int daemon_run(int argc, char **argv, const struct daemon_setup *setup) {
        struct arguments a = {.bus = SYSTEM_BUS,
                .state_dir = STATE_DIR,
                .run_dir = RUN_DIR,
                .pins = PINS_DIR,
                .settle_ms = SETTLE_MS,
                .residue_keep_ms = RESIDUE_KEEP_USEC_DEFAULT / 1000,
                .groups_max = GROUPS_MAX_DEFAULT};
        _cleanup_(daemon_done) struct daemon d = {0};
        _cleanup_free_ char *sentence = NULL;
        int r;

        r = parse_arguments(argc, argv, &a);
        if (r >= 0)
                return r;
        log_open("memcgprofd");
        (void)signal(SIGPIPE, SIG_IGN);
        raise_descriptors();
        r = run(&d, &a, setup, &sentence);
        if (r < 0)
                log_error("%s", sentence ? sentence : strerror(-r));
        return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

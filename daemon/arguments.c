/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See arguments.h. An option that overrides a key of the configuration takes what that key takes. */
#include <getopt.h>

#include "arguments.h"
#include "log.h"
#include "text.h"

#define SYSTEM_BUS "unix:path=/run/dbus/system_bus_socket"
#define STATE_DIR "/var/lib/memcgprof"
#define RUN_DIR "/run/memcgprof"
#define PINS_DIR "/sys/fs/bpf/memcgprof"

const struct arguments arguments_default = {
        .bus = SYSTEM_BUS, .state_dir = STATE_DIR, .run_dir = RUN_DIR, .pins = PINS_DIR, .config_root = ""};

/* In the order of their values among getopt's. */
static const struct {
        const char *section, *key;
        const char *unit; /* of the number that the option takes; NULL: as the key has it */
} overrides[ARGUMENTS_OVERRIDES] = {
        {"Profiles", "SettleTime", "ms"},
        {"Pools", "GroupsMax", NULL},
        {"Pools", "ObjectsMax", NULL},
        {"Pools", "SitesMax", NULL},
        {"Pools", "StacksMax", NULL},
        {"Profiles", "ResidueKeep", "ms"},
};

enum { OVERRIDE = 256, BUS = OVERRIDE + ARGUMENTS_OVERRIDES, STATE, RUN, PINS, CONFIG_ROOT, SHOW_CONFIG, TARGET, VERSION };

static const struct option options[] = {
        {"bus", required_argument, NULL, BUS},
        {"state-dir", required_argument, NULL, STATE},
        {"run-dir", required_argument, NULL, RUN},
        {"pins", required_argument, NULL, PINS},
        {"config-root", required_argument, NULL, CONFIG_ROOT},
        {"show-config", no_argument, NULL, SHOW_CONFIG},
        {"log-target", required_argument, NULL, TARGET},
        {"settle-ms", required_argument, NULL, OVERRIDE},
        {"groups-max", required_argument, NULL, OVERRIDE + 1},
        {"objects-max", required_argument, NULL, OVERRIDE + 2},
        {"sites-max", required_argument, NULL, OVERRIDE + 3},
        {"stacks-max", required_argument, NULL, OVERRIDE + 4},
        {"residue-keep-ms", required_argument, NULL, OVERRIDE + 5},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, VERSION},
        {NULL},
};

static const char help_text[] = "memcgprofd [OPTIONS]\n"
                                "\n"
                                "Measure which kernel code allocates the memory of containers; serve it as\n"
                                "org.memcgprof1 on D-Bus.\n"
                                "\n"
                                "  --bus=ADDRESS      Serve on this bus (default: the system bus)\n"
                                "  --state-dir=DIR    Keep reports and the mode here\n"
                                "                     (default: " STATE_DIR ")\n"
                                "  --run-dir=DIR      Write down here what the next daemon has to know\n"
                                "                     (default: " RUN_DIR ")\n"
                                "  --pins=DIR         Count on from here when the daemon is killed; a directory\n"
                                "                     of a BPF file system, or none\n"
                                "                     (default: " PINS_DIR ")\n"
                                "  --config-root=DIR  Look for /etc/memcgprof/memcgprofd.conf and the like below\n"
                                "                     this directory (default: /)\n"
                                "  --show-config      Print the configuration that results from all files and\n"
                                "                     options, and what is wrong in it; start nothing\n"
                                "  --log-target=WORD  Log to auto, journal, console or null (default: auto, the\n"
                                "                     journal where there is one)\n"
                                "  -h --help          Show this help\n"
                                "  --version          Show the version\n"
                                "\n"
                                "Options that override keys of the configuration:\n"
                                "  --settle-ms=N      [Profiles] SettleTime=, in milliseconds\n"
                                "  --groups-max=N     [Pools] GroupsMax=\n"
                                "  --objects-max=N    [Pools] ObjectsMax=\n"
                                "  --sites-max=N      [Pools] SitesMax=\n"
                                "  --stacks-max=N     [Pools] StacksMax=\n"
                                "  --residue-keep-ms=N\n"
                                "                     [Profiles] ResidueKeep=, in milliseconds\n";

static int usage(const char *what) {
        (void)fprintf(stderr, "memcgprofd: %s See memcgprofd --help.\n", what);
        return 2;
}

static int apply(size_t i, const char *text, struct config *c, char **reterr) {
        _cleanup_free_ char *value = NULL;
        uint64_t number;

        if (overrides[i].unit && text_to_u64(text, &number) < 0)
                return fail(reterr, -EINVAL, "It takes a number.");
        value = format("%s%s", text, overrides[i].unit ? overrides[i].unit : "");
        return value ? config_set(c, overrides[i].section, overrides[i].key, value, reterr) : -ENOMEM;
}

/* Wrong values are told at once, before a file is read. */
static int take_override(struct arguments *a, size_t i, const char *option, const char *text) {
        _cleanup_free_ char *sentence = NULL, *what = NULL;
        struct config scratch = config_default;

        a->overrides[i] = text;
        if (*text && apply(i, text, &scratch, &sentence) >= 0)
                return -1;
        what = format("--%s: %s", option, sentence ? sentence : "It takes a number.");
        return usage(what ? what : "No memory.");
}

int arguments_parse(int argc, char **argv, struct arguments *a) {
        int c, index = 0, r;

        while ((c = getopt_long(argc, argv, "h", options, &index)) >= 0)
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
                case CONFIG_ROOT:
                        a->config_root = optarg;
                        break;
                case SHOW_CONFIG:
                        a->show_config = true;
                        break;
                case TARGET:
                        a->log_target = log_target_from_string(optarg);
                        if (a->log_target < 0)
                                return usage("--log-target takes auto, journal, console or null.");
                        break;
                case 'h':
                        (void)fputs(help_text, stdout);
                        return 0;
                case VERSION:
                        (void)puts("memcgprof " MEMCGPROF_VERSION);
                        return 0;
                default:
                        if (c < OVERRIDE || c >= OVERRIDE + ARGUMENTS_OVERRIDES)
                                return 2; /* getopt has said why */
                        r = take_override(a, (size_t)(c - OVERRIDE), options[index].name, optarg);
                        if (r >= 0)
                                return r;
                }
        return optind < argc ? usage("It takes no arguments but options.") : -1;
}

int arguments_configure(const struct arguments *a, struct config *ret, config_tell_t tell, void *userdata) {
        struct config c = config_default;
        int r = config_load(&c, a->config_root, tell, userdata);

        for (size_t i = 0; r >= 0 && i < ARGUMENTS_OVERRIDES; i++)
                if (a->overrides[i])
                        r = apply(i, a->overrides[i], &c, NULL);
        if (r >= 0)
                *ret = c;
        return r;
}

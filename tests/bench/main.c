/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   bench [cost | peers | scale | summary] [--rounds N] [--ops N] [--repeats N] [--loops NAME,...] [--groups N] [--quick]
 *
 * The machine may be shared and noisy, so nothing is compared across runs: in every round all settings are measured one after
 * the other on the same loops, ratios are formed within the round, and the middle of the rounds is printed, with its quartiles.
 * The measure is CPU time of the measured process (rusage), the best of some repeats in a round. docs/performance.md says how
 * to read it. Needs root and a memory cgroup.
 */
#include <getopt.h>
#include <signal.h>

#include "bench.h"

struct bench bench;

static const struct verb {
        const char *name, *what;
        int (*run)(char **reterr);
        struct effort effort; /* unless the options say otherwise */
} verbs[] = {
        {"cost", "what an event costs, in each way of counting", cost_run, {.rounds = 31, .ops = 500, .repeats = 60}},
        {"peers", "ours beside bpftrace and memleak", peers_run, {.rounds = 9, .ops = 500, .repeats = 60}},
        {"scale", "what 1 to 1000 groups cost, in time and memory", scale_run,
                {.rounds = 9, .ops = 500, .repeats = 60, .groups = GROUPS_MAX}},
        {"summary", "the part of scale that times a summary", summary_run, {}},
};

static int usage(void) {
        fprintf(stderr,
                "usage: bench [VERB] [--rounds N (at most %d)] [--ops N] [--repeats N] [--loops NAME,...] [--groups N] "
                "[--quick]\nverbs:\n",
                ROUNDS_MAX);
        for (size_t i = 0; i < ELEMENTS(verbs); i++)
                fprintf(stderr, "  %-8s %s\n", verbs[i].name, verbs[i].what);
        fprintf(stderr, "loops:");
        for (size_t i = 0; i < _LOOPS; i++)
                fprintf(stderr, " %s", loops[i].name);
        fprintf(stderr, " (default: all; peers and scale: pipe,open)\n");
        return 2;
}

static const struct verb *find_verb(const char *name) {
        for (size_t i = 0; i < ELEMENTS(verbs); i++)
                if (streq(verbs[i].name, name))
                        return &verbs[i];
        return NULL;
}

static bool want_loops(char *names, struct effort *effort) {
        char *rest = NULL;

        memset(effort->wanted, 0, sizeof(effort->wanted));
        for (char *name = strtok_r(names, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
                size_t i = 0;

                while (i < _LOOPS && !streq(loops[i].name, name))
                        i++;
                if (i == _LOOPS)
                        return false;
                effort->wanted[i] = true;
        }
        return true;
}

static bool take_option(int c, char *argument, struct effort *effort) {
        unsigned n = argument ? (unsigned)strtoul(argument, NULL, 10) : 0;

        switch (c) {
        case 'r':
                effort->rounds = n;
                return n > 0 && n <= ROUNDS_MAX;
        case 'o':
                effort->ops = n;
                return n > 0;
        case 'p':
                effort->repeats = n;
                return n > 0;
        case 'l':
                return want_loops(argument, effort);
        case 'g':
                effort->groups = n;
                return n > 0 && n <= GROUPS_MAX;
        case 'q': /* that it runs, not what it costs */
                effort->rounds = 2;
                effort->repeats = 1;
                effort->ops = 200;
                effort->groups = 20;
                return true;
        default:
                return false;
        }
}

static void nothing_to_do(int signal_number) {
}

/* An interrupt ends the measured process, and with it the rounds: what was made is taken away again. */
static void catch_signals(void) {
        const struct sigaction action = {.sa_handler = nothing_to_do};

        (void)sigaction(SIGINT, &action, NULL);
        (void)sigaction(SIGTERM, &action, NULL);
        (void)signal(SIGPIPE, SIG_IGN);
}

static int run(const struct verb *verb) {
        _cleanup_free_ char *why = NULL;
        int r;

        catch_signals();
        r = place_new(&bench.place, &why);
        if (r >= 0)
                r = verb->run(&why);
        gauge_done(&bench.live);
        gauge_done(&bench.counting);
        place_free(bench.place);
        if (r < 0)
                fprintf(stderr, "bench: %s\n", why ?: strerror(-r));
        return r < 0;
}

int main(int argc, char **argv) {
        static const struct option options[] = {{"rounds", required_argument, NULL, 'r'}, {"ops", required_argument, NULL, 'o'},
                {"repeats", required_argument, NULL, 'p'}, {"loops", required_argument, NULL, 'l'},
                {"groups", required_argument, NULL, 'g'}, {"quick", no_argument, NULL, 'q'}, {}};
        const struct verb *verb = &verbs[0];
        int c;

        if (argc > 1 && argv[1][0] != '-') {
                verb = find_verb(argv[1]);
                if (!verb)
                        return usage();
                argv[1] = argv[0];
                argv++;
                argc--;
        }
        bench.effort = verb->effort;
        for (size_t i = 0; i < _LOOPS; i++)
                bench.effort.wanted[i] = verb->run == cost_run || i == LOOP_PIPE || i == LOOP_OPEN;
        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0)
                if (!take_option(c, optarg, &bench.effort))
                        return usage();
        if (optind < argc)
                return usage();
        setvbuf(stdout, NULL, _IOLBF, 0);
        return run(verb);
}

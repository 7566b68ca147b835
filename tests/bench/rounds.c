/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rounds.h"

int run_loops(const struct effort *effort, const struct place *place, double ret_ns[static _LOOPS]) {
        for (size_t i = 0; i < _LOOPS; i++) {
                unsigned n = loop_operations(&loops[i], effort->ops);

                if (!effort->wanted[i])
                        continue;
                for (unsigned k = 0; k < effort->repeats; k++) {
                        double ns;
                        int r = runner_run(place->runner, &loops[i], n, &ns);

                        if (r < 0)
                                return r;
                        if (k == 0 || ns < ret_ns[i])
                                ret_ns[i] = ns;
                }
        }
        return 0;
}

static int measure(struct rounds *r, const struct place *place, size_t s, unsigned round, char **reterr) {
        const struct setting *setting = &r->settings[s];
        double ns[_LOOPS] = {};
        int result;

        if (r->missing[s])
                return 0;
        result = setting->on(setting->argument, &r->missing[s]);
        if (result < 0) {
                if (!r->missing[s])
                        r->missing[s] = strdup(strerror(-result));
                return 0;
        }
        result = run_loops(r->effort, place, ns);
        setting->off();
        if (result < 0)
                return fail(reterr, result, "A loop failed: %s.", strerror(-result));
        for (size_t i = 0; i < _LOOPS; i++)
                r->figures.ns[s][i][round] = ns[i];
        return 0;
}

int rounds_run(struct rounds *r, const struct place *place, char **reterr) {
        for (unsigned round = 0; round < r->effort->rounds; round++) {
                for (size_t i = 0; i < r->n; i++) {
                        int result = measure(r, place, round % 2 ? r->n - 1 - i : i, round, reterr);

                        if (result < 0)
                                return result;
                }
                r->figures.rounds = round + 1;
        }
        return 0;
}

/* A quarter of the rounds or more in which what is divided by cost nothing: noise, whatever the ratio. */
static const char *judge(const struct series *f, const struct setting *setting, double ratio, size_t loop) {
        if (figures_added(f, (size_t)setting->against, loop).low <= 0)
                return "noise:";
        return ratio <= setting->target ? "within" : "above";
}

static void print_setting(const struct rounds *r, size_t s, size_t loop) {
        const struct series *f = &r->figures;
        const struct setting *setting = &r->settings[s];

        printf("  %-44s", setting->name);
        if (r->missing[s]) {
                printf(" not measured: %s\n", r->missing[s]);
                return;
        }
        printf(" %11.0f", figures_operation(f, s, loop).median);
        if (s > 0)
                printf(" %8.1f %8.1f", figures_slowdown(f, s, loop).median, figures_added(f, s, loop).median);
        if (setting->against > 0 && !r->missing[setting->against]) {
                struct quartiles q = figures_ratio(f, s, (size_t)setting->against, loop);

                printf(" %7.2f  (%.2f to %.2f)", q.median, q.low, q.high);
                if (setting->target > 0 && loops[loop].dense)
                        printf("  %s %.2f", judge(f, setting, q.median, loop), setting->target);
        }
        printf("\n");
}

void rounds_print(const struct rounds *r) {
        for (size_t loop = 0; loop < _LOOPS; loop++) {
                if (!r->effort->wanted[loop])
                        continue;
                printf("\n%s: %.1f allocation events an operation, %u operations, %u rounds\n", loops[loop].title,
                        r->figures.events[loop], loop_operations(&loops[loop], r->effort->ops), r->figures.rounds);
                printf("  %-44s %11s %8s %8s %7s  %s\n", "", "ns/op", "added %", "ns/event", "ratio", "(middle half)  target");
                for (size_t s = 0; s < r->n; s++)
                        print_setting(r, s, loop);
        }
}

void rounds_done(struct rounds *r) {
        for (size_t s = 0; s < r->n; s++)
                free(r->missing[s]);
}

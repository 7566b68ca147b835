/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rounds.h"

static int run_loop(const struct effort *effort, const struct place *place, const struct loop *loop, double *ret_ns) {
        for (unsigned k = 0; k < loop_repeats(loop, effort->repeats); k++) {
                double ns;
                int r = runner_run(place->runner, loop, loop_operations(loop, effort->ops), &ns);

                if (r < 0)
                        return r;
                if (k == 0 || ns < *ret_ns)
                        *ret_ns = ns;
        }
        return 0;
}

static int measure(struct rounds *r, const struct place *place, size_t s, size_t loop, unsigned round, char **reterr) {
        const struct setting *setting = &r->settings[s];
        int result;

        if (r->missing[s])
                return 0;
        result = setting->on(setting->argument, &r->missing[s]);
        if (result < 0) {
                if (!r->missing[s])
                        r->missing[s] = strdup(strerror(-result));
                return 0;
        }
        result = run_loop(r->effort, place, &loops[loop], &r->figures.ns[s][loop][round]);
        setting->off();
        return result < 0 ? fail(reterr, result, "The loop %s failed: %s.", loops[loop].name, strerror(-result)) : 0;
}

static int run_rounds(struct rounds *r, const struct place *place, size_t loop, char **reterr) {
        for (unsigned round = 0; round < r->effort->rounds; round++)
                for (size_t i = 0; i < r->n; i++) {
                        int result = measure(r, place, round % 2 ? r->n - 1 - i : i, loop, round, reterr);

                        if (result < 0)
                                return result;
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

                printf(" %7.2f  (%.2f to %.2f) %7.2f", q.median, q.low, q.high,
                        figures_best(f, s, (size_t)setting->against, loop));
                if (setting->target > 0 && loops[loop].dense)
                        printf("  %s %.2f", judge(f, setting, q.median, loop), setting->target);
        }
        printf("\n");
}

static void print_loop(const struct rounds *r, size_t loop) {
        const struct effort *e = r->effort;

        printf("\n%s: %.1f allocation events an operation, %u operations, best of %u, %u rounds\n", loops[loop].title,
                r->figures.events[loop], loop_operations(&loops[loop], e->ops), loop_repeats(&loops[loop], e->repeats),
                e->rounds);
        printf("  %-44s %11s %8s %8s %7s  %-16s %5s  %s\n", "", "ns/op", "added %", "ns/event", "ratio", "(middle half)",
                "best", "target");
        for (size_t s = 0; s < r->n; s++)
                print_setting(r, s, loop);
}

int rounds_run(struct rounds *r, const struct place *place, bool print, char **reterr) {
        r->figures.rounds = r->effort->rounds;
        for (size_t i = 0; i < _LOOPS; i++) {
                int result = r->effort->wanted[i] ? run_rounds(r, place, i, reterr) : 0;

                if (result < 0)
                        return result;
                if (print && r->effort->wanted[i])
                        print_loop(r, i);
        }
        return 0;
}

void rounds_done(struct rounds *r) {
        for (size_t s = 0; s < r->n; s++)
                free(r->missing[s]);
}

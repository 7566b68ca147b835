/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "figures.h"

static int compare_doubles(const void *a, const void *b) {
        double x = *(const double *)a, y = *(const double *)b;

        return (x > y) - (x < y);
}

/* Between two values in proportion. */
static double quantile(const double *sorted, size_t n, double q) {
        double at = q * (double)(n - 1);
        size_t below = (size_t)at, above = below + 1 < n ? below + 1 : below;

        return sorted[below] + (at - (double)below) * (sorted[above] - sorted[below]);
}

struct quartiles quartiles_of(double *values, size_t n) {
        if (n == 0)
                return (struct quartiles){};
        qsort(values, n, sizeof(double), compare_doubles);
        return (struct quartiles){quantile(values, n, 0.25), quantile(values, n, 0.5), quantile(values, n, 0.75)};
}

static double added(const struct series *f, size_t setting, size_t loop, unsigned round) {
        return f->ns[setting][loop][round] - f->ns[0][loop][round];
}

struct quartiles figures_operation(const struct series *f, size_t setting, size_t loop) {
        double values[ROUNDS_MAX];

        for (unsigned i = 0; i < f->rounds; i++)
                values[i] = f->ns[setting][loop][i];
        return quartiles_of(values, f->rounds);
}

struct quartiles figures_slowdown(const struct series *f, size_t setting, size_t loop) {
        double values[ROUNDS_MAX];

        for (unsigned i = 0; i < f->rounds; i++)
                values[i] = 100 * added(f, setting, loop, i) / f->ns[0][loop][i];
        return quartiles_of(values, f->rounds);
}

struct quartiles figures_added(const struct series *f, size_t setting, size_t loop) {
        double values[ROUNDS_MAX];

        for (unsigned i = 0; i < f->rounds; i++)
                values[i] = added(f, setting, loop, i) / f->events[loop];
        return quartiles_of(values, f->rounds);
}

struct quartiles figures_ratio(const struct series *f, size_t setting, size_t against, size_t loop) {
        double values[ROUNDS_MAX];

        for (unsigned i = 0; i < f->rounds; i++)
                values[i] = added(f, setting, loop, i) / added(f, against, loop, i);
        return quartiles_of(values, f->rounds);
}

static double least(const struct series *f, size_t setting, size_t loop) {
        double best = f->ns[setting][loop][0];

        for (unsigned i = 1; i < f->rounds; i++)
                if (f->ns[setting][loop][i] < best)
                        best = f->ns[setting][loop][i];
        return best;
}

double figures_best(const struct series *f, size_t setting, size_t against, size_t loop) {
        double base = least(f, 0, loop);

        return (least(f, setting, loop) - base) / (least(f, against, loop) - base);
}

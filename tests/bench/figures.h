/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the rounds gave: CPU time per operation by setting, loop and round, and what follows from it. Differences and ratios are
 * formed within one round, and only then is the middle of the rounds taken: what disturbs the machine for longer than a round
 * disturbs both sides of a ratio.
 */
#pragma once

#include "loops.h"

#define ROUNDS_MAX 101
#define SETTINGS_MAX 16

struct series {
        unsigned rounds;
        double ns[SETTINGS_MAX][_LOOPS][ROUNDS_MAX];
        double events[_LOOPS]; /* allocation events an operation */
};

struct quartiles {
        double low, median, high;
};

struct quartiles quartiles_of(double *values, size_t n); /* sorts them */

/* Setting 0 is the one without programs: what is added is the difference to it. */
struct quartiles figures_operation(const struct series *f, size_t setting, size_t loop);
struct quartiles figures_slowdown(const struct series *f, size_t setting, size_t loop); /* added per cent of an operation */
struct quartiles figures_added(const struct series *f, size_t setting, size_t loop);    /* ns per allocation event */
struct quartiles figures_ratio(const struct series *f, size_t setting, size_t against, size_t loop); /* of added costs */

/* The same out of the least that each of the three took in any round: what disturbs only ever adds. */
double figures_best(const struct series *f, size_t setting, size_t against, size_t loop);

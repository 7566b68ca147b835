/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rounds: in each, every setting is put on, all loops are run under it, and it is taken off again. Odd rounds go the other way,
 * so that a machine that grows slower or faster favours nobody.
 */
#pragma once

#include "figures.h"
#include "place.h"

struct effort {
        unsigned rounds, ops, repeats; /* the best of so many repeats counts */
        unsigned groups;               /* no more than so many */
        bool wanted[_LOOPS];
};

struct setting {
        const char *name;
        int against;   /* the setting that its added cost is divided by; 0: none */
        double target; /* at most this ratio; 0: none */
        int (*on)(unsigned argument, char **reterr);
        void (*off)(void);
        unsigned argument;
};

struct rounds {
        const struct effort *effort;
        const struct setting *settings; /* the first is the one without programs */
        size_t n;
        char *missing[SETTINGS_MAX]; /* why a setting is not measured */
        struct series figures;
};

/* A setting that cannot be put on is left out of all rounds; only a loop that fails ends the whole. */
int rounds_run(struct rounds *r, const struct place *place, char **reterr);

/* One table a loop. */
void rounds_print(const struct rounds *r);
void rounds_done(struct rounds *r);

/* All loops once: the best of the repeats. */
int run_loops(const struct effort *effort, const struct place *place, double ret_ns[static _LOOPS]);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rounds: in each, every setting is put on, the loop is run under it, and it is taken off again; one loop after the other, so
 * that little time lies between what is compared. Odd rounds go the other way, so that a machine that grows slower or faster
 * favours nobody.
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

/*
 * Runs all rounds of each loop and, when told to, prints the loop's table then. A setting that cannot be put on is left out
 * from then on; only a loop that fails ends the whole.
 */
int rounds_run(struct rounds *r, const struct place *place, bool print, char **reterr);
void rounds_done(struct rounds *r);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The verbs of the bench, and what they share: trackers and their floors.
 */
#pragma once

#include "empty.h"
#include "rounds.h"

#define GROUPS_MAX 1000 /* of `scale` */

struct gauge {
        struct tracker *tracker;
        struct empty *floor;
};

/* The trackers of a run; loaded once, attached by settings. */
struct bench {
        struct effort effort;
        struct place *place;
        struct gauge live, counting;
};

extern struct bench bench;

int gauge_new(const struct tracker_options *options, struct gauge *ret, char **reterr);
void gauge_done(struct gauge *g);

/* Settings that several verbs have: no programs; empty ones on the hooks of bench.live. */
int nothing_on(unsigned argument, char **reterr);
void nothing_off(void);
int floor_on(unsigned argument, char **reterr);
void floor_off(void);

/* Allocation events an operation, by loop: counted by the kernel on the floor's hooks. */
int count_events(struct series *f, char **reterr);

/* Each prints its tables. */
int cost_run(char **reterr);
int peers_run(char **reterr);
int scale_run(char **reterr);
int summary_run(char **reterr);

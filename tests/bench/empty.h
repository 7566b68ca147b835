/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The floor of every measurement: as many programs as the tracker attaches, on the same hooks, that do nothing. What they cost,
 * no engine can go below. The tracker says itself which hooks those are, so the floor cannot drift away from it.
 */
#pragma once

#include "tracker.h"

struct empty;

/* Loads one empty program for each of the tracker's hooks; nothing is attached yet. */
int empty_new(struct tracker *t, struct empty **ret, char **reterr);
struct empty *empty_free(struct empty *e);
DEFINE_CLEANUP(struct empty, empty_free)

int empty_attach(struct empty *e, char **reterr);
void empty_detach(struct empty *e);

size_t empty_count(const struct empty *e);

/*
 * How many times the hooks of allocations have fired since the kernel keeps such statistics, which it does as long as a file
 * descriptor of empty_statistics() is open. On the whole machine.
 */
int empty_statistics(void);
uint64_t empty_allocations(const struct empty *e);

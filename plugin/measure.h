/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Measures: what trackers' rows are once they have names. One measure per (site, type, charged, node); several samples may be
 * added into one set, because a profile is the sum of its groups.
 *
 * Invariants: items are sorted and distinct; names point into the symbol table that they were taken with.
 */
#pragma once

#include "site.h"
#include "tracker.h"

struct measure {
        uint64_t address; /* of the naming function + offset; 0: not known */
        enum site_type type;
        bool charged, live_known, estimated;
        int node; /* -1: not asked for */
        uint32_t gfp_flags;
        struct symbol symbol;
        struct tracker_counts counts;
        int64_t error_bytes;
};

struct measures {
        struct measure *items; /* sorted by compare_measures() */
        size_t n;
        int64_t irq_bytes, kthread_bytes, freed_unmatched;
        int64_t charges_verified, charges_mismatched;
        int64_t swept_at_us;
        struct tracker_counts pages;
        struct memcg_counters states;
        int64_t lost[_LOSS_MAX];
};

/* Names the rows of a sample. ret_missing: how many addresses no symbol holds. -ENOMEM. */
int measures_take(
        const struct symbols *symbols, const struct tracker_sample *sample, struct measures *ret, size_t *ret_missing);
void measures_done(struct measures *m);

void tracker_counts_add(struct tracker_counts *a, const struct tracker_counts *b, int sign);
int64_t tracker_counts_live(const struct tracker_counts *c);

/* Live charged kernel bytes: the events' side of the account. */
int64_t measures_explain(const struct measures *m);

/* Takes an older reading of the same groups off a newer one. */
void measures_subtract(struct measures *m, const struct measures *base);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Measures: what a tracker's rows are once they have names. One measure per (site, type, charged, node, estimated), a site
 * being an address, or all that an alloc tag says. A profile is the sum of its groups, and samples are added up before
 * (sample.h), so that what is sampled is scaled once, by the whole.
 *
 * Invariants: items are sorted and distinct, with room for one more; names point into the symbol table that they were taken
 * with (or into the tracker); after measures_scale() the charged pages of all items add up to `pages` exactly.
 */
#pragma once

#include "site.h"
#include "tracker.h"

struct measure {
        uint64_t address; /* of the naming function + offset; 0: not known, or the row has a function without an address */
        const char *file; /* of an alloc tag, which has symbol.name and symbol.module too; NULL: the site is no tag */
        uint32_t line;
        enum site_type type;
        bool charged, live_known, estimated;
        int node; /* -1: not asked for, or on no one node */
        uint32_t gfp_flags;
        struct symbol symbol;
        struct tracker_counts counts;
        int64_t missed_calls; /* as tracker_row has it */
        int64_t error_bytes;
};

struct measures {
        struct measure *items; /* sorted by compare_measures() */
        size_t n;
        bool stacks; /* charged pages were told apart by their stacks, so vmalloc is known from the others; */
        bool tags;   /* not of those that were told apart by alloc tags */
        bool tagging;
        int64_t irq_bytes, kthread_bytes, freed_unmatched;
        int64_t charges_verified, charges_mismatched;
        int64_t swept_at_us;
        struct tracker_counts pages; /* charged kernel pages, exactly */
        struct memcg_counters states;
        int64_t lost[_LOSS_MAX];
};

/* Names the rows of a sample. memory: of the symbols, or NULL; ret_missing: how many addresses no symbol holds. -ENOMEM. */
int measures_take(const struct symbols *symbols, struct site_memory *memory, const struct tracker_sample *sample,
        struct measures *ret, size_t *ret_missing);
void measures_done(struct measures *m);

/*
 * Makes sampled rows of charged pages add up to the exact `pages` (ratio estimator), each figure by its own ratio; errors
 * become those of a share of a known sum. What no sample names goes to the row without a name. Without sampling nothing
 * changes.
 */
void measures_scale(struct measures *m);

/* Errors are of independent samples: their squares add up. */
int64_t measure_add_errors(int64_t a, int64_t b);

/* True for a row that has a function but no place in it (kernel stacks). */
static inline bool measure_is_synthetic(const struct measure *m) {
        return m->address == 0 && m->symbol.name && !m->file;
}

/* How many measures from `i` on are of one site, type and charge: a row of a document. */
size_t measures_run(const struct measures *m, size_t i);

/*
 * A blind site: live is not known, because too many of its frees never reach us. `counts` are of a whole row. Charged objects
 * are checked on the object by the sweep, so a missed free of theirs is found and their live is known.
 */
bool measure_is_blind(enum site_type type, bool charged, const struct tracker_counts *counts);

/* Live charged kernel bytes: the events' side of the account. Exact also before measures_scale(). */
int64_t measures_explain(const struct measures *m);

/* Live kernel bytes and calls of both lenses, as the totals of a document: without blind sites. */
void measures_live(const struct measures *m, int64_t *ret_bytes, int64_t *ret_calls);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A summary: rows per site with the totals over all of them, at one moment. Filtering, sorting, grouping and cutting happen
 * here and nowhere else; totals are always over the whole.
 */
#pragma once

#include "allocinfo.h"
#include "filter.h"
#include "gfp.h"
#include "label.h"
#include "measure.h"

/* What is added up of a row, of one node's part of it, and of all rows. */
struct figures {
        struct tracker_counts counts;
        /* of blind sites: what stands between their allocated and freed figures is not known to live and not counted as live */
        int64_t blind_bytes, blind_calls, blind_allocated_bytes;
        int64_t error_bytes; /* one standard deviation; 0 for what is counted */
};

int64_t figures_live_bytes(const struct figures *f);
int64_t figures_live_calls(const struct figures *f);
void figures_add(struct figures *to, const struct figures *from);

struct row_part {
        int node; /* -1: on no one node */
        struct figures figures;
};

struct row {
        char *key;  /* "file:line:function[module]" of an alloc tag, "function+0xOFF[module]", or the group's name when grouped
                     */
        char *file; /* NULL: not an alloc tag's, or grouped away */
        char *function; /* NULL when grouped away */
        char *module;   /* "" for the kernel itself, NULL when grouped away */
        char *category; /* as category_of() has it, NULL when grouped away */
        bool has_offset, has_line;
        uint32_t offset, line; /* 0 where there is none */
        enum site_type type;   /* meaningless (_TYPE_MAX) when grouped over types */
        bool charged;
        bool live_known; /* false: live is null, because all of it is blind */
        bool accurate;
        bool estimated;
        struct gfp_set gfp;
        struct figures figures;
        struct row_part *parts; /* by node, ascending; none when it was not asked for */
        size_t n_parts;
};

/* Live bytes by type for one lens (charged or uncharged); kernel_bytes = slab + page + percpu + vmalloc. */
struct lens {
        int64_t kernel_bytes, error_bytes;
        int64_t by_type[_TYPE_MAX];
        bool known[_TYPE_MAX];
        bool estimated[_TYPE_MAX]; /* has rows that are scaled up from samples */
};

/* One of the memcg's counters, as far as it is known, against what the rows that stand under it hold. */
struct summary_counter {
        const char *source; /* where the growth is from: a file, "tracepoint", or NULL: not known */
        int64_t growth_bytes;
        bool explained_known;
        int64_t explained_bytes; /* live, charged; on the host uncharged too */
};

struct summary {
        /* head */
        const char *backend;
        enum profile_state state;
        enum mode mode;
        struct profile_label label; /* a copy */
        char *cgroup;
        uint64_t cgroup_id;
        int64_t started_us, at_us;
        int64_t reset_us;    /* 0: never */
        int64_t swept_at_us; /* objects were last checked on themselves; 0: never since the profile began */
        int64_t sweep_us;    /* how long that took, when it was done for this summary; 0: it was not */
        int64_t lost[_LOSS_MAX];
        bool accurate;

        /* totals */
        struct lens charged, uncharged;
        bool live_known;       /* false: the tracker only counts allocations */
        struct figures totals; /* over all rows of kernel memory */
        int64_t irq_bytes, kthread_bytes, freed_unmatched;
        bool unaccounted_known;    /* the kernel keeps a record by alloc tags; */
        int64_t unaccounted_bytes; /* live kernel memory that is not in it */
        int64_t charges_verified, charges_mismatched;

        /* reconciliation with the memcg */
        const char *source;
        bool frozen;          /* the cgroup is gone: `now` is what the kernel read then, or the last reading before */
        uint32_t at_removal;  /* the former: bit per enum memcg_counter */
        int64_t read_us;      /* when the latter were read */
        int64_t explained_us; /* when the rows were */
        struct memcg_counters baseline, now;
        int64_t growth_bytes, explained_bytes, explained_unmatched, unattributed, slack_bytes; /* of the moment of `now` */
        bool growth_known;
        struct summary_counter by_counter[_MEMCG_MAX]; /* of the moment of `now` */

        /*
         * Of the host where the kernel keeps its own record: the rows are its, and there are none here. What it does not tell
         * is not known: types, charges, all that was ever allocated and freed. Owned; NULL: the rows are the tracker's.
         */
        struct allocinfo *record;

        struct filter filter; /* as applied */
        size_t total_sites;   /* rows before filter and limit */
        struct row *rows;
        size_t n_rows;
};

struct summary *summary_free(struct summary *s);
DEFINE_CLEANUP(struct summary, summary_free)

/*
 * Fills rows, totals, lenses, losses and what else measures tell; the head and the reconciliation are the caller's. `m` is
 * scaled and need not stay. -ENOMEM: free the summary.
 */
int summary_take(struct summary *s, const struct measures *m, const struct gfp_bits *bits);

/* The same for the kernel's own record, which was read with this filter: takes it over, on success only. -ENOMEM. */
int summary_take_record(struct summary *s, struct allocinfo *record, const struct filter *filter);

void row_done(struct row *r);

/*
 * Applies `filter` to s->rows in place: drops, groups, sorts, cuts. Totals are untouched. Fills s->filter and s->total_sites.
 */
int summary_apply(struct summary *s, const struct filter *filter);

/* Keeps the first `limit` rows of one whose filter was applied, which says so from now on. */
void summary_cut(struct summary *s, size_t limit);

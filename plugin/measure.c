/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See measure.h: naming, merging, adding up. */
#include "measure.h"

static int compare_measures(const void *a, const void *b) {
        const struct measure *x = a, *y = b;

        if (x->address != y->address)
                return x->address < y->address ? -1 : 1;
        if (x->type != y->type)
                return x->type < y->type ? -1 : 1;
        return (int)x->charged - (int)y->charged ?: x->node - y->node;
}

void tracker_counts_add(struct tracker_counts *a, const struct tracker_counts *b, int sign) {
        a->allocated_bytes += sign * b->allocated_bytes;
        a->allocated_calls += sign * b->allocated_calls;
        a->freed_bytes += sign * b->freed_bytes;
        a->freed_calls += sign * b->freed_calls;
        a->written_off_bytes += sign * b->written_off_bytes;
        a->written_off_calls += sign * b->written_off_calls;
        a->untracked_bytes += sign * b->untracked_bytes;
        a->untracked_calls += sign * b->untracked_calls;
}

/* Variances add, so errors add by squares. */
static int64_t add_errors(int64_t a, int64_t b) {
        return (int64_t)__builtin_llround(__builtin_sqrt((double)a * (double)a + (double)b * (double)b));
}

static void merge_measures(struct measures *m) {
        size_t n = 0;

        qsort(m->items, m->n, sizeof(struct measure), compare_measures);
        for (size_t i = 0; i < m->n; i++) {
                struct measure *last = n > 0 ? &m->items[n - 1] : NULL;

                if (!last || compare_measures(last, &m->items[i]) != 0) {
                        m->items[n++] = m->items[i];
                        continue;
                }
                tracker_counts_add(&last->counts, &m->items[i].counts, 1);
                last->error_bytes = add_errors(last->error_bytes, m->items[i].error_bytes);
                last->gfp_flags |= m->items[i].gfp_flags;
                last->live_known = last->live_known && m->items[i].live_known;
        }
        m->n = n;
}

/* Resolves rows to measures; slab backing pages are left out, their objects are counted. Returns how many names were missing.
 */
static size_t name_rows(const struct symbols *symbols, const struct tracker_sample *sample, struct measures *m) {
        size_t missing = 0;

        m->n = 0;
        for (size_t i = 0; i < sample->n_rows; i++) {
                const struct tracker_row *row = &sample->rows[i];
                struct site site;

                site_resolve(symbols, row->frames, row->n_frames, &site);
                if (site.slab_backing && (row->type == TYPE_PAGE || row->type == TYPE_USER))
                        continue;
                if (!site.symbol.name && row->n_frames > 0)
                        missing++;
                m->items[m->n++] = (struct measure){
                        .address = site.symbol.name ? site.symbol.start + site.symbol.offset : 0,
                        .type = row->type,
                        .charged = row->charged,
                        .live_known = row->live_known,
                        .estimated = row->estimated,
                        .node = row->node,
                        .gfp_flags = row->gfp_flags,
                        .symbol = site.symbol,
                        .counts = row->counts,
                        .error_bytes = row->error_bytes,
                };
        }
        merge_measures(m);
        return missing;
}

/* Both sorted alike; a site of the base is always among the newer ones, unless it was renamed by a reload of symbols. */
void measures_subtract(struct measures *m, const struct measures *base) {
        for (size_t i = 0; i < base->n; i++) {
                struct measure *found = bsearch(&base->items[i], m->items, m->n, sizeof(struct measure), compare_measures);

                if (!found)
                        continue;
                tracker_counts_add(&found->counts, &base->items[i].counts, -1);
                found->error_bytes = add_errors(found->error_bytes, base->items[i].error_bytes);
        }
        m->irq_bytes -= base->irq_bytes;
        m->freed_unmatched -= base->freed_unmatched;
        for (size_t i = 0; i < _LOSS_MAX; i++)
                m->lost[i] -= base->lost[i];
}

int64_t tracker_counts_live(const struct tracker_counts *c) {
        return c->allocated_bytes - c->freed_bytes - c->written_off_bytes - c->untracked_bytes;
}

int64_t measures_explain(const struct measures *m) {
        int64_t bytes = 0;

        for (size_t i = 0; i < m->n; i++)
                if (m->items[i].charged && m->items[i].type != TYPE_USER)
                        bytes += tracker_counts_live(&m->items[i].counts);
        return bytes;
}

void measures_done(struct measures *m) {
        free(m->items);
        *m = (struct measures){};
}

int measures_take(
        const struct symbols *symbols, const struct tracker_sample *sample, struct measures *ret, size_t *ret_missing) {
        struct measures m = {
                .items = calloc(sample->n_rows + 1, sizeof(struct measure)),
                .irq_bytes = sample->irq_bytes,
                .kthread_bytes = sample->kthread_bytes,
                .freed_unmatched = sample->freed_unmatched_bytes,
                .charges_verified = sample->charges_verified,
                .charges_mismatched = sample->charges_mismatched,
                .swept_at_us = sample->swept_at_us,
                .pages = sample->pages,
                .states = sample->states,
        };

        if (!m.items)
                return -ENOMEM;
        memcpy(m.lost, sample->lost, sizeof(m.lost));
        *ret_missing = name_rows(symbols, sample, &m);
        *ret = m;
        return 0;
}

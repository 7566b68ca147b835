/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Measures to rows and totals: what is blind, what is accurate, and what of it all adds up to what. */
#include "category.h"
#include "summary.h"

/*
 * Objects that were written off make a row inaccurate, because what proves them (a sweep, or an address that is handed out
 * again) says nothing of the others whose frees were missed too. Only where a sweep has looked at every living object, which it
 * can with charged ones, all that were missed until then are found; then a thousandth of the calls is let pass: live is right
 * but for what was missed since the sweep, and that is of the order of what it found.
 */
#define WRITTEN_OFF_SHARE 1000

int64_t figures_live_bytes(const struct figures *f) {
        return tracker_counts_live(&f->counts) - f->blind_bytes;
}

int64_t figures_live_calls(const struct figures *f) {
        return tracker_counts_live_calls(&f->counts) - f->blind_calls;
}

void figures_add(struct figures *to, const struct figures *from) {
        tracker_counts_add(&to->counts, &from->counts, 1);
        to->blind_bytes += from->blind_bytes;
        to->blind_calls += from->blind_calls;
        to->blind_allocated_bytes += from->blind_allocated_bytes;
        to->error_bytes = measure_add_errors(to->error_bytes, from->error_bytes);
}

/* ---- rows -------------------------------------------------------------------------------------------------------------- */

static void blind(struct figures *f) {
        f->blind_bytes = tracker_counts_live(&f->counts);
        f->blind_calls = tracker_counts_live_calls(&f->counts);
        f->blind_allocated_bytes = f->counts.allocated_bytes;
}

static int fill_names(const struct measure *m, struct row *row) {
        const char *function = m->symbol.name, *module = m->symbol.module ?: "";
        char category[CATEGORY_MAX];

        row->has_offset = function && m->address != 0;
        row->offset = m->symbol.offset;
        row->has_line = m->file;
        row->line = m->line;
        row->file = m->file ? strdup(m->file) : NULL;
        row->function = function ? strdup(function) : NULL;
        row->module = function ? strdup(module) : NULL;
        if (m->file)
                row->key = site_tag_key(m->file, m->line, function, module);
        else
                row->key = measure_is_synthetic(m) ? strdup(function) : site_key(function, m->symbol.offset, module);
        category_of(m->file, function, function ? module : NULL, category);
        row->category = strdup(category);
        return row->key && row->category && (!m->file || row->file) && (!function || (row->function && row->module)) ? 0
                                                                                                                     : -ENOMEM;
}

/* Parts by node; measures come in the order of their nodes. */
static int fill_parts(const struct measure *items, size_t n, struct row *row) {
        if (items[n - 1].node < 0) /* the last is the largest: nobody asked, or there is none */
                return 0;
        row->parts = calloc(n, sizeof(struct row_part));
        if (!row->parts)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                const struct figures f = {.counts = items[i].counts, .error_bytes = items[i].error_bytes};

                if (i == 0 || items[i].node != items[i - 1].node)
                        row->parts[row->n_parts++].node = items[i].node;
                figures_add(&row->parts[row->n_parts - 1].figures, &f);
        }
        return 0;
}

static void fill_figures(const struct measure *items, size_t n, struct row *row) {
        for (size_t i = 0; i < n; i++) {
                const struct figures f = {.counts = items[i].counts, .error_bytes = items[i].error_bytes};

                figures_add(&row->figures, &f);
                row->live_known = row->live_known && items[i].live_known;
                row->estimated = row->estimated || items[i].estimated;
        }
        if (measure_is_blind(row->type, row->charged, &row->figures.counts))
                row->live_known = false;
        if (row->live_known)
                return;
        blind(&row->figures);
        for (size_t i = 0; i < row->n_parts; i++)
                blind(&row->parts[i].figures);
}

static bool is_accurate(const struct row *row, bool swept) {
        const struct tracker_counts *c = &row->figures.counts;

        if (row->estimated || !row->live_known || c->untracked_calls != 0)
                return false;
        if (c->written_off_calls == 0)
                return true;
        return swept && row->charged && c->written_off_calls < c->allocated_calls / WRITTEN_OFF_SHARE;
}

static int64_t missed(const struct measure *items, size_t n) {
        int64_t calls = 0;

        for (size_t i = 0; i < n; i++)
                calls += items[i].missed_calls;
        return calls;
}

static int fill_row(const struct measures *m, size_t first, size_t n, const struct gfp_bits *bits, struct row *row) {
        const struct measure *items = &m->items[first];
        uint32_t flags = 0;
        int r;

        *row = (struct row){.type = items->type, .charged = items->charged, .live_known = true};
        r = fill_names(items, row);
        if (r >= 0)
                r = fill_parts(items, n, row);
        if (r < 0)
                return r;
        fill_figures(items, n, row);
        for (size_t i = 0; i < n; i++)
                flags |= items[i].gfp_flags;
        row->gfp = gfp_translate(bits, flags);
        row->accurate = is_accurate(row, m->swept_at_us != 0);
        return 0;
}

/* Nothing of this site since the baseline. */
static bool is_idle(const struct measure *items, size_t n) {
        struct tracker_counts sum = {};

        for (size_t i = 0; i < n; i++)
                tracker_counts_add(&sum, &items[i].counts, 1);
        return !sum.allocated_calls && !sum.allocated_bytes && !tracker_counts_live(&sum);
}

static int fill_rows(const struct measures *m, const struct gfp_bits *bits, struct summary *s, int64_t *ret_missed_blind) {
        s->rows = calloc(m->n + 1, sizeof(struct row));
        if (!s->rows)
                return -ENOMEM;
        for (size_t i = 0, n; i < m->n; i += n) {
                struct row *row;

                n = measures_run(m, i);
                if (is_idle(&m->items[i], n))
                        continue;
                s->n_rows++;
                row = &s->rows[s->n_rows - 1];
                if (fill_row(m, i, n, bits, row) < 0)
                        return -ENOMEM;
                *ret_missed_blind += row->live_known ? 0 : missed(&m->items[i], n);
        }
        return 0;
}

/* ---- totals ------------------------------------------------------------------------------------------------------------ */

/* Sampled rows of charged pages share a sum that is exact; what else is estimated makes its lens an estimate. */
static bool shares_known_sum(const struct row *row) {
        return row->charged && (row->type == TYPE_PAGE || row->type == TYPE_VMALLOC) && (row->has_offset || !row->function);
}

static void add_to_lens(const struct row *row, struct lens *lens) {
        int64_t bytes = figures_live_bytes(&row->figures);

        lens->by_type[row->type] += bytes;
        lens->kernel_bytes += bytes;
        lens->estimated[row->type] = lens->estimated[row->type] || row->estimated;
        if (row->estimated && !shares_known_sum(row))
                lens->error_bytes = measure_add_errors(lens->error_bytes, row->figures.error_bytes);
}

static void add_totals(struct summary *s) {
        for (size_t i = 0; i < s->n_rows; i++) {
                const struct row *row = &s->rows[i];

                if (row->type == TYPE_USER)
                        continue; /* sampled: the totals of user pages come from the memcg */
                figures_add(&s->totals, &row->figures);
                add_to_lens(row, row->charged ? &s->charged : &s->uncharged);
        }
}

/*
 * What came without an alloc tag, the kernel's own profiler did not count. Kernel stacks are counted by their tasks and have a
 * tag of which we know nothing.
 */
static void add_unaccounted(const struct measures *m, struct summary *s) {
        s->unaccounted_known = m->tagging && s->live_known;
        for (size_t i = 0; i < s->n_rows; i++) {
                const struct row *row = &s->rows[i];
                bool is_stacks = row->function && !row->has_offset;

                if (row->type != TYPE_USER && !row->file && !is_stacks)
                        s->unaccounted_bytes += figures_live_bytes(&row->figures);
        }
}

/* The tracker sees frees, or it sees none at all; single rows may be blind all the same. */
static bool sees_frees(const struct measures *m) {
        bool any = false, sees = false;

        for (size_t i = 0; i < m->n; i++) {
                any = any || m->items[i].type != TYPE_USER;
                sees = sees || (m->items[i].type != TYPE_USER && m->items[i].live_known);
        }
        return sees || !any;
}

/*
 * Pages of vmalloc are told from others by their stacks: where there are pages but no stack of one, or pages that were named
 * by alloc tags, they are in `page`.
 * Uncharged ones come in bulk, without an event.
 */
static void fill_known(const struct measures *m, struct summary *s) {
        for (enum site_type type = 0; type < _TYPE_MAX; type++)
                s->charged.known[type] = s->uncharged.known[type] = s->live_known && type != TYPE_USER && type != TYPE_VMALLOC;
        s->charged.known[TYPE_VMALLOC] = s->live_known && ((m->stacks && !m->tags) || m->pages.allocated_calls == 0);
}

/*
 * Any loss makes a document inaccurate, but for frees that were missed of blind sites: a blind row claims no live figure, and
 * nor does any sum on its behalf. Pages that come in bulk are in no row wherever they are not counted either.
 */
static bool all_is_there(const struct summary *s, int64_t missed_blind) {
        for (enum loss l = 0; l < _LOSS_MAX; l++)
                if (l != LOSS_BULK_PAGES && s->lost[l] > (l == LOSS_MISSED_FREES ? missed_blind : 0))
                        return false;
        return true;
}

int summary_take(struct summary *s, const struct measures *m, const struct gfp_bits *bits) {
        int64_t missed_blind = 0;
        int r = fill_rows(m, bits, s, &missed_blind);

        if (r < 0)
                return r;
        s->live_known = sees_frees(m);
        add_totals(s);
        add_unaccounted(m, s);
        fill_known(m, s);
        s->irq_bytes = m->irq_bytes;
        s->kthread_bytes = m->kthread_bytes;
        s->freed_unmatched = m->freed_unmatched;
        s->charges_verified = m->charges_verified;
        s->charges_mismatched = m->charges_mismatched;
        s->swept_at_us = m->swept_at_us;
        memcpy(s->lost, m->lost, sizeof(s->lost));
        s->accurate = all_is_there(s, missed_blind);
        return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See sample.h: one hash table over rows, and sums. */
#include "sample.h"

/* ---- what both share ------------------------------------------------------------------------------------------------------
 */

/* What is known of every sample is known of their sum. */
static void add_states(struct memcg_counters *to, const struct memcg_counters *from, bool first) {
        to->known = first ? from->known : to->known & from->known;
        for (size_t i = 0; i < _MEMCG_MAX; i++)
                to->value[i] += from->value[i];
        if (from->at_us > to->at_us)
                to->at_us = from->at_us;
}

/* The engine's losses are told to each group since it began: the group that saw most of them saw them all. */
static void add_lost(int64_t *to, const int64_t *from) {
        for (enum loss l = 0; l < _LOSS_MAX; l++)
                if (loss_is_own(l))
                        to[l] += from[l];
                else if (from[l] > to[l])
                        to[l] = from[l];
}

/* ---- rows -----------------------------------------------------------------------------------------------------------------
 */

static uint64_t hash_string(uint64_t h, const char *s) {
        for (const char *c = s ?: ""; *c; c++)
                h = (h ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
        return h;
}

static bool same_string(const char *a, const char *b) {
        return a == b || streq(a ?: "", b ?: "");
}

/* What a row is called when no frames name it. */
static bool same_names(const struct tracker_row *a, const struct tracker_row *b) {
        return a->line == b->line && same_string(a->function, b->function) && same_string(a->file, b->file) &&
               same_string(a->module, b->module);
}

static uint64_t hash_row(const struct tracker_row *r) {
        uint64_t h = (uint64_t)r->type << 8 | (uint64_t)r->charged << 1 | r->estimated;

        h ^= (uint64_t)(unsigned)r->node << 32;
        for (unsigned i = 0; i < r->n_frames; i++) {
                h = (h ^ r->frames[i]) * UINT64_C(0xbf58476d1ce4e5b9);
                h ^= h >> 29;
        }
        h = hash_string(h, r->function);
        if (r->file)
                h = hash_string(hash_string(h ^ r->line, r->file), r->module);
        return h ^ h >> 32;
}

static bool same_row(const struct tracker_row *a, const struct tracker_row *b) {
        return a->type == b->type && a->charged == b->charged && a->estimated == b->estimated && a->node == b->node &&
               a->n_frames == b->n_frames && memcmp(a->frames, b->frames, a->n_frames * sizeof(a->frames[0])) == 0 &&
               same_names(a, b);
}

static void add_row(struct tracker_row *to, const struct tracker_row *from) {
        tracker_counts_add(&to->counts, &from->counts, 1);
        to->missed_calls += from->missed_calls;
        to->error_bytes = measure_add_errors(to->error_bytes, from->error_bytes);
        to->gfp_flags |= from->gfp_flags;
        to->live_known = to->live_known && from->live_known;
}

/* The place in the index for a row like `row`: that of the row itself, or an empty one. */
static uint32_t *place_of(const struct sample_adder *a, const struct tracker_row *row) {
        size_t i = hash_row(row) & (a->n_index - 1);

        while (a->index[i] && !same_row(&a->sample.rows[a->index[i] - 1], row))
                i = (i + 1) & (a->n_index - 1);
        return &a->index[i];
}

/* Room for n rows, with an index that is at most half full. */
static int reserve(struct sample_adder *a, size_t n) {
        struct tracker_row *rows;
        uint32_t *index;
        size_t capacity = 64;

        while (capacity < n)
                capacity *= 2;
        if (a->index && capacity <= a->capacity)
                return 0;
        rows = reallocarray(a->sample.rows, capacity, sizeof(*rows));
        if (!rows)
                return -ENOMEM;
        a->sample.rows = rows;
        index = calloc(2 * capacity, sizeof(*index));
        if (!index)
                return -ENOMEM;
        free(a->index);
        a->index = index;
        a->n_index = 2 * capacity;
        a->capacity = capacity;
        for (size_t i = 0; i < a->sample.n_rows; i++)
                *place_of(a, &a->sample.rows[i]) = (uint32_t)i + 1;
        return 0;
}

static int add_rows(struct sample_adder *a, const struct tracker_sample *from) {
        int r;

        for (size_t i = 0; i < from->n_rows; i++) {
                uint32_t *place;

                r = reserve(a, a->sample.n_rows + 1);
                if (r < 0)
                        return r;
                place = place_of(a, &from->rows[i]);
                if (*place) {
                        add_row(&a->sample.rows[*place - 1], &from->rows[i]);
                        continue;
                }
                a->sample.rows[a->sample.n_rows++] = from->rows[i];
                *place = (uint32_t)a->sample.n_rows;
        }
        return 0;
}

static void add_scalars(struct tracker_sample *to, const struct tracker_sample *from, bool first) {
        to->tagging = to->tagging || from->tagging;
        to->irq_bytes += from->irq_bytes;
        to->kthread_bytes += from->kthread_bytes;
        to->freed_unmatched_bytes += from->freed_unmatched_bytes;
        tracker_counts_add(&to->pages, &from->pages, 1);
        add_states(&to->states, &from->states, first);
        to->charges_verified += from->charges_verified;
        to->charges_mismatched += from->charges_mismatched;
        if (from->swept_at_us > to->swept_at_us)
                to->swept_at_us = from->swept_at_us;
        add_lost(to->lost, from->lost);
}

/* Whether there was anything to forget. */
static bool forget_nodes(struct tracker_sample *sample) {
        bool any = false;

        for (size_t i = 0; i < sample->n_rows; i++) {
                any = any || sample->rows[i].node != -1;
                sample->rows[i].node = -1;
        }
        return any;
}

int sample_add(struct sample_adder *a, struct tracker_sample *sample) {
        bool alike = a->any_node && forget_nodes(sample);
        int r = 0;

        add_scalars(&a->sample, sample, a->n_samples++ == 0);
        if (a->n_samples == 1 && !alike) {
                /* Most profiles are one group, whose rows are distinct: nothing to look up. */
                a->sample.rows = TAKE(sample->rows);
                a->sample.n_rows = sample->n_rows;
        } else
                r = add_rows(a, sample);
        tracker_sample_done(sample);
        return r;
}

void sample_adder_done(struct sample_adder *a) {
        tracker_sample_done(&a->sample);
        free(a->index);
        *a = (struct sample_adder){};
}

/* ---- sums -----------------------------------------------------------------------------------------------------------------
 */

static void count(struct memcg_counters *c, enum memcg_counter k, int64_t bytes) {
        c->value[k] += bytes;
        c->known |= 1u << k;
}

static void add_counts(struct sample_sum *sum, bool charged, const struct tracker_counts *c) {
        int64_t live = tracker_counts_live(c);

        sum->live_bytes += live;
        sum->live_calls += tracker_counts_live_calls(c);
        if (!charged)
                return;
        sum->charged_bytes += live;
        sum->charged_gone += c->freed_bytes + c->written_off_bytes;
}

/* The row that the tracker makes of tasks; no alloc tag has pages of that function. */
static bool is_thread_stacks(const struct tracker_row *row) {
        return row->function && !row->file;
}

/* Pages stand under many counters or none: kernel stacks have a row, and vmalloc is told by its stacks. */
static void add_counter(struct sample_sum *sum, const struct tracker_row *row) {
        struct memcg_counters *c = row->charged ? &sum->charged : &sum->uncharged;
        int64_t live = tracker_counts_live(&row->counts);

        if (row->type == TYPE_SLAB)
                count(c, MEMCG_SLAB, live);
        if (row->type == TYPE_PERCPU)
                count(c, MEMCG_PERCPU, live);
        if (row->type == TYPE_VMALLOC)
                count(c, MEMCG_VMALLOC, live);
        if (is_thread_stacks(row))
                count(c, MEMCG_KERNEL_STACK, live);
}

/* Charged pages, live: those that were counted one by one have such rows as well where the others are sampled. */
struct pages {
        int64_t counted, sampled;
        int64_t vmalloc_counted, vmalloc_sampled;
        bool stacks, tags;            /* told apart by stacks, which tell vmalloc, or by alloc tags */
        bool any, estimated;          /* rows but that of kernel stacks */
        bool nameless;                /* some have no row */
        struct tracker_counts counts; /* of all rows */
};

static void add_page(struct pages *p, enum page_use use, const struct tracker_row *row) {
        int64_t live = tracker_counts_live(&row->counts);

        *(row->estimated ? &p->sampled : &p->counted) += live;
        if (use == PAGE_USE_VMALLOC)
                *(row->estimated ? &p->vmalloc_sampled : &p->vmalloc_counted) += live;
        p->stacks = p->stacks || row->n_frames > 1;
        p->tags = p->tags || row->file;
        p->any = p->any || !is_thread_stacks(row);
        p->estimated = p->estimated || (row->estimated && !is_thread_stacks(row));
        tracker_counts_add(&p->counts, &row->counts, 1);
}

/* What sampled rows stand for is counted by the tracker, all in one, and each of them has its share; as measures_scale() does.
 */
static void add_pages(struct sample_sum *sum, const struct pages *p, const struct tracker_counts *exact) {
        const struct tracker_counts *counts = p->any && !p->estimated && !p->nameless ? &p->counts : exact;
        int64_t vmalloc = p->vmalloc_counted;

        add_counts(sum, true, counts);
        if (p->sampled > 0)
                vmalloc += (int64_t)((double)p->vmalloc_sampled * (double)(tracker_counts_live(counts) - p->counted) /
                                     (double)p->sampled);
        if (p->stacks && !p->tags)
                count(&sum->charged, MEMCG_VMALLOC, vmalloc);
}

static bool is_counted(const struct tracker_row *row, enum page_use use) {
        return row->type != TYPE_USER && row->live_known && use != PAGE_USE_SLAB &&
               !measure_is_blind(row->type, row->charged, &row->counts);
}

static void add_rows_to_sum(struct sample_sum *sum, struct names *names, const struct tracker_sample *sample) {
        struct pages pages = {.nameless = lost_names(sample->lost)};
        bool live_known = true;

        for (size_t i = 0; i < sample->n_rows; i++) {
                const struct tracker_row *row = &sample->rows[i];
                enum page_use use = names_page_use(names, row);

                live_known = live_known && row->live_known;
                if (!is_counted(row, use))
                        continue;
                add_counter(sum, row);
                if (row->type == TYPE_PAGE && row->charged)
                        add_page(&pages, use, row);
                else
                        add_counts(sum, row->charged, &row->counts);
        }
        if (live_known)
                add_pages(sum, &pages, &sample->pages);
}

void sample_sum_add(struct sample_sum *sum, struct names *names, const struct tracker_sample *sample) {
        bool first = sum->n_samples++ == 0;

        count(&sum->charged, MEMCG_SLAB, 0);
        count(&sum->charged, MEMCG_PERCPU, 0);
        add_rows_to_sum(sum, names, sample);
        sum->freed_unmatched += sample->freed_unmatched_bytes;
        add_states(&sum->states, &sample->states, first);
        add_lost(sum->lost, sample->lost);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See tracker-tables.h: from tables to rows. */
#include <math.h>

#include "tracker-tables.h"

#define READ(x) __atomic_load_n(&(x), __ATOMIC_RELAXED)

static struct mp_counts *counts_at(const struct tables *t, unsigned cpu, u32 slot) {
        return (struct mp_counts *)t->counts.data + (size_t)cpu * t->n_sites + slot;
}

static struct mp_rare *rare_at(const struct tables *t, u32 slot) {
        return (struct mp_rare *)t->rare.data + slot;
}

static struct mp_group_counts *group_counts_at(const struct tables *t, unsigned cpu, unsigned group) {
        return (struct mp_group_counts *)t->group_counts.data + (size_t)cpu * t->n_groups + group;
}

unsigned tables_group_of_slot(const struct tables *t, u32 slot) {
        u64 tag;

        if (slot >= t->n_slots)
                return MP_LIMBO;
        if (slot >= t->n_sites)
                return (slot - t->n_sites) / MP_CATCH_ALLS;
        tag = READ(((struct mp_site *)t->sites.data)[slot].tag);
        return tag && tag != MP_BUSY && mp_tag_group(tag) < t->n_groups ? mp_tag_group(tag) : MP_LIMBO;
}

void tables_done(struct tables *t) {
        free(t->listed);
        free(t->found);
        free(t->list_start);
        t->listed = t->found = t->list_start = NULL;
}

/* ---- which slots a group has ----------------------------------------------------------------------------------------------
 */

static int allocate_lists(struct tables *t) {
        if (t->listed)
                return 0;
        t->listed = calloc(t->n_sites, sizeof(u32));
        t->found = calloc(2 * (size_t)t->n_sites, sizeof(u32));
        t->list_start = calloc(t->n_groups + 2, sizeof(u32));
        return t->listed && t->found && t->list_start ? 0 : -ENOMEM;
}

/* The used slots with their groups, as of one pass; sites may be made meanwhile. */
static size_t used_slots(const struct tables *t, u32 *slots, u32 *groups) {
        size_t n = 0;

        for (u32 word = 0; word < (t->n_sites + 63) / 64; word++)
                for (u64 bits = READ(t->sites_used[word]); bits; bits &= bits - 1) {
                        u32 slot = word * 64 + (u32)__builtin_ctzll(bits);
                        unsigned group = slot < t->n_sites ? tables_group_of_slot(t, slot) : MP_LIMBO;

                        if (group == MP_LIMBO)
                                continue;
                        slots[n] = slot;
                        groups[n++] = group;
                }
        return n;
}

/* A counting sort of all used slots by group. */
int tables_list(struct tables *t) {
        u64 made = __atomic_load_n(t->sites_made, __ATOMIC_ACQUIRE) + 1;
        u32 *slots, *groups;
        size_t n;
        int r;

        r = allocate_lists(t);
        if (r < 0 || t->listed_at == made)
                return r;
        slots = t->found;
        groups = t->found + t->n_sites;
        n = used_slots(t, slots, groups);
        memset(t->list_start, 0, (t->n_groups + 2) * sizeof(u32));
        for (size_t i = 0; i < n; i++)
                t->list_start[groups[i] + 2]++;
        for (unsigned g = 2; g < t->n_groups + 2; g++)
                t->list_start[g] += t->list_start[g - 1];
        for (size_t i = 0; i < n; i++) /* [g + 1] runs from the start of g to its end */
                t->listed[t->list_start[groups[i] + 1]++] = slots[i];
        t->listed_at = made;
        return 0;
}

u32 tables_used(const struct tables *t) {
        return t->list_start[t->n_groups];
}

/* ---- rows -----------------------------------------------------------------------------------------------------------------
 */

static void add_rare_freed(const struct mp_rare *m, struct tracker_counts *c) {
        c->freed_bytes += (int64_t)READ(m->freed_bytes);
        c->freed_calls += (int64_t)READ(m->freed_calls);
        c->written_off_bytes += (int64_t)READ(m->written_off_bytes);
        c->written_off_calls += (int64_t)READ(m->written_off_calls);
        c->untracked_bytes += (int64_t)READ(m->untracked_bytes);
        c->untracked_calls += (int64_t)READ(m->untracked_calls);
}

static void add_rare_allocated(const struct mp_rare *m, struct tracker_counts *c) {
        c->allocated_bytes += (int64_t)READ(m->allocated_bytes);
        c->allocated_calls += (int64_t)READ(m->allocated_calls);
}

/* What was written off without a look at the object; in 1/256 where calls are. */
static int64_t missed_of(const struct mp_rare *m) {
        int64_t missed = (int64_t)READ(m->written_off_calls);

        return missed - (int64_t)READ(m->swept_calls);
}

static bool is_sampled(u32 source) {
        return source == MP_PAGES || source == MP_USER;
}

/* Freed first: an object that is freed between the two passes counts as live, never as negative. */
static void add_freed(const struct tables *t, u32 slot, u32 source, struct tracker_row *row) {
        struct tracker_counts *c = &row->counts;

        for (unsigned cpu = 0; cpu < t->n_cpus && slot < t->n_sites; cpu++) {
                const struct mp_counts *m = counts_at(t, cpu, slot);

                c->freed_bytes += (int64_t)READ(m->freed_bytes);
                c->freed_calls += (int64_t)READ(m->freed_calls);
                if (is_sampled(source)) {
                        row->error_bytes -= (int64_t)READ(m->freed_squares);
                        continue;
                }
                c->freed_bytes += (int64_t)READ(m->cache_freed_bytes);
                c->freed_calls += (int64_t)READ(m->cache_freed_calls);
        }
        add_rare_freed(rare_at(t, slot), c);
}

static void add_allocated(const struct tables *t, u32 slot, u32 source, struct tracker_row *row) {
        for (unsigned cpu = 0; cpu < t->n_cpus && slot < t->n_sites; cpu++) {
                const struct mp_counts *m = counts_at(t, cpu, slot);

                row->counts.allocated_bytes += (int64_t)READ(m->allocated_bytes);
                row->counts.allocated_calls += (int64_t)READ(m->allocated_calls);
                if (is_sampled(source))
                        row->error_bytes += (int64_t)READ(m->allocated_squares);
        }
        add_rare_allocated(rare_at(t, slot), &row->counts);
        if (is_sampled(source))
                row->error_bytes += (int64_t)READ(rare_at(t, slot)->squares);
}

static int64_t whole_calls(int64_t fractions) {
        return (fractions + (1 << (MP_CALLS_SHIFT - 1))) >> MP_CALLS_SHIFT;
}

/* Of a sampled row: calls were counted in fractions, error_bytes holds the variance in pages^2. */
static void finish_samples(u32 slot, const struct tables *t, struct tracker_row *row) {
        struct tracker_counts *c = &row->counts;
        int64_t squares = row->error_bytes > 0 ? row->error_bytes : 0;

        row->error_bytes = llround(4096.0 * sqrt((double)squares));
        if (slot >= t->n_sites)
                return;
        c->allocated_calls = whole_calls(c->allocated_calls);
        c->freed_calls = whole_calls(c->freed_calls);
        c->written_off_calls = whole_calls(c->written_off_calls);
        c->untracked_calls = whole_calls(c->untracked_calls);
        row->missed_calls = whole_calls(row->missed_calls);
}

static bool samples_everything(const struct tables *t, unsigned group) {
        const struct mp_group *g = (struct mp_group *)t->groups.data + group;

        return g->kernel[0].threshold == UINT32_MAX;
}

static void set_source(const struct tables *t, unsigned group, u32 source, bool charged, struct tracker_row *row) {
        static const enum site_type types[_MP_SOURCES] = {
                [MP_KMALLOC] = TYPE_SLAB,
                [MP_CACHE] = TYPE_SLAB,
                [MP_BULK] = TYPE_SLAB,
                [MP_PAGES] = TYPE_PAGE,
                [MP_STACKS] = TYPE_PAGE,
                [MP_USER] = TYPE_USER,
                [MP_PERCPU] = TYPE_PERCPU,
        };

        row->type = types[source];
        row->charged = charged;
        row->estimated = source == MP_USER || (source == MP_PAGES && !samples_everything(t, group));
        row->live_known = !t->count_only;
        row->node = -1;
        if (source == MP_STACKS)
                row->function = "alloc_thread_stack_node";
}

/* Pages with a tag are counted one by one, but for user pages. */
static void set_alloc_tag(const struct tables *t, u32 source, u64 id, struct tracker_row *row) {
        const struct mp_alloc_tag *tag = (struct mp_alloc_tag *)t->alloc_tags.data + (id - 1);

        row->estimated = source == MP_USER;
        if (id == 0 || id > t->n_tags)
                return;
        row->file = tag->text.file;
        row->line = tag->text.line;
        row->function = tag->text.function;
        row->module = tag->text.module;
}

static void set_frames(const struct tables *t, u32 source, u64 id, struct tracker_row *row) {
        const struct mp_stack *stack = (struct mp_stack *)t->stacks.data + (id - 1);

        if (source == MP_STACKS)
                return;
        if (!is_sampled(source) && source != MP_BULK) {
                row->n_frames = 1;
                row->frames[0] = id;
                return;
        }
        if (id == 0 || id > t->n_stacks)
                return;
        row->n_frames = stack->n < MP_FRAMES ? stack->n : MP_FRAMES;
        memcpy(row->frames, stack->frames, sizeof(stack->frames));
}

/* A slot being read. */
struct reading {
        u32 slot, source;
        bool in_totals;  /* sampled pages, counted one by one in the totals: of them a row tells nothing */
        bool is_counted; /* charged pages that are not in the totals of the tables */
};

static void set_missed(const struct tables *t, const struct reading *reading, struct tracker_row *row) {
        if (!reading->in_totals)
                row->missed_calls = missed_of(rare_at(t, reading->slot));
}

static struct reading reading_of(u32 slot, u64 tag) {
        u32 source = mp_tag_source(tag);

        return (struct reading){
                .slot = slot,
                .source = source,
                .in_totals = mp_tag_in_page_totals(tag),
                .is_counted = source == MP_STACKS || (source == MP_PAGES && mp_tag_charged(tag) && mp_tag_has_alloc_tag(tag)),
        };
}

static bool start_site(const struct tables *t, unsigned group, u32 slot, struct reading *ret, struct tracker_row *row) {
        const struct mp_site *site = (struct mp_site *)t->sites.data + slot;
        u64 tag = __atomic_load_n(&site->tag, __ATOMIC_ACQUIRE);

        if (!tag || tag == MP_BUSY || mp_tag_group(tag) != group || mp_tag_source(tag) >= _MP_SOURCES)
                return false;
        *row = (struct tracker_row){};
        *ret = reading_of(slot, tag);
        set_source(t, group, ret->source, mp_tag_charged(tag), row);
        if (mp_tag_has_alloc_tag(tag))
                set_alloc_tag(t, ret->source, site->id, row);
        else
                set_frames(t, ret->source, site->id, row);
        row->node = (int)mp_tag_node1(tag) - 1;
        row->gfp_flags = (u32)READ(site->gfp);
        set_missed(t, ret, row);
        add_freed(t, slot, ret->source, row);
        return true;
}

/* The catch-all of charged pages is no row: it is the shared part of the page totals. */
static bool start_catch_all(
        const struct tables *t, unsigned group, unsigned place, struct reading *ret, struct tracker_row *row) {
        u32 source = place / 2, slot = t->n_sites + group * MP_CATCH_ALLS + place;

        if (source >= _MP_SOURCES || place == mp_catch_all(0, MP_PAGES, 1))
                return false;
        *row = (struct tracker_row){};
        *ret = reading_of(slot, mp_tag(group, source, place & 1, 0));
        set_source(t, group, source, place & 1, row);
        row->function = NULL;
        set_missed(t, ret, row);
        add_freed(t, slot, source, row);
        return true;
}

static void read_page_totals(const struct tables *t, unsigned group, struct tracker_counts *ret) {
        const struct mp_rare *m = rare_at(t, t->n_sites + (u32)mp_catch_all(group, MP_PAGES, 1));

        for (unsigned cpu = 0; cpu < t->n_cpus; cpu++) {
                const struct mp_group_counts *g = group_counts_at(t, cpu, group);

                ret->freed_bytes += (int64_t)READ(g->pages_freed_bytes);
                ret->freed_calls += (int64_t)READ(g->pages_freed_calls);
        }
        add_rare_freed(m, ret);
        for (unsigned cpu = 0; cpu < t->n_cpus; cpu++) {
                const struct mp_group_counts *g = group_counts_at(t, cpu, group);

                ret->allocated_bytes += (int64_t)READ(g->pages_bytes);
                ret->allocated_calls += (int64_t)READ(g->pages_calls);
        }
        add_rare_allocated(m, ret);
}

static void add_own_losses(struct tracker_sample *sample, int64_t untracked, int64_t missed) {
        sample->lost[LOSS_OBJECTS_FULL] += untracked;
        sample->lost[LOSS_MISSED_FREES] += missed;
}

static void read_own_losses(const struct tables *t, unsigned group, const struct reading *readings, size_t n_readings,
        struct tracker_sample *sample) {
        int64_t pages = missed_of(rare_at(t, t->n_sites + (u32)mp_catch_all(group, MP_PAGES, 1)));

        for (size_t i = 0; i < n_readings; i++) {
                const struct tracker_row *row = &sample->rows[i];

                if (readings[i].in_totals)
                        pages -= (int64_t)READ(rare_at(t, readings[i].slot)->swept_calls);
                else
                        add_own_losses(sample, row->counts.untracked_calls, row->missed_calls);
        }
        add_own_losses(sample, sample->pages.untracked_calls, pages);
        if (sample->lost[LOSS_MISSED_FREES] < 0) /* a sweep is under way */
                sample->lost[LOSS_MISSED_FREES] = 0;
}

/* Where no stack was taken, the totals are a row of their own. */
static bool is_unsampled(const struct tables *t, unsigned group) {
        const struct mp_group *g = (struct mp_group *)t->groups.data + group;

        return READ(g->flags) & MP_GROUP_UNSAMPLED;
}

static void add_nameless_pages(struct tracker_sample *sample, const struct tracker_counts *totals) {
        if (totals->allocated_calls)
                sample->rows[sample->n_rows++] = (struct tracker_row){
                        .type = TYPE_PAGE, .charged = true, .live_known = true, .node = -1, .counts = *totals};
}

static int read_rows(const struct tables *t, unsigned group, struct tracker_sample *sample) {
        const u32 *slots = t->listed + t->list_start[group];
        size_t n_slots = t->list_start[group + 1] - t->list_start[group], n = 0;
        _cleanup_free_ struct reading *readings = calloc(n_slots + MP_CATCH_ALLS, sizeof(struct reading));
        struct tracker_counts totals;

        sample->rows = calloc(n_slots + MP_CATCH_ALLS + 1, sizeof(struct tracker_row));
        if (!readings || !sample->rows)
                return -ENOMEM;
        for (size_t i = 0; i < n_slots; i++)
                n += start_site(t, group, slots[i], &readings[n], &sample->rows[n]);
        for (unsigned place = 0; place < MP_CATCH_ALLS; place++)
                n += start_catch_all(t, group, place, &readings[n], &sample->rows[n]);
        read_page_totals(t, group, &sample->pages);
        for (size_t i = 0; i < n; i++)
                add_allocated(t, readings[i].slot, readings[i].source, &sample->rows[i]);
        for (size_t i = 0; i < n; i++)
                if (is_sampled(readings[i].source))
                        finish_samples(readings[i].slot, t, &sample->rows[i]);
        read_own_losses(t, group, readings, n, sample);
        totals = sample->pages;
        for (size_t i = 0; i < n; i++) {
                struct tracker_row *row = &sample->rows[i];

                if (readings[i].is_counted)
                        tracker_counts_add(&sample->pages, &row->counts, 1);
                if (row->counts.allocated_calls || row->counts.allocated_bytes)
                        sample->rows[sample->n_rows++] = *row;
        }
        if (is_unsampled(t, group))
                add_nameless_pages(sample, &totals);
        return 0;
}

/* What found no room for its name. */
static void read_group_losses(const struct tables *t, unsigned group, struct tracker_sample *sample) {
        static const enum loss names[_MP_GROUP_LOSSES] = {
                [MP_LOSS_SITES_FULL] = LOSS_SITES_FULL,
                [MP_LOSS_STACKS_FULL] = LOSS_STACKS_FULL,
                [MP_LOSS_STACK_ERRORS] = LOSS_STACK_ERRORS,
                [MP_LOSS_STACK_MIXED] = LOSS_STACK_MIXED,
        };
        const struct mp_group_losses *l = (struct mp_group_losses *)t->group_losses.data + group;

        for (size_t i = 0; i < _MP_GROUP_LOSSES; i++)
                sample->lost[names[i]] += (int64_t)READ(l->lost[i]);
}

static void read_group_counts(const struct tables *t, unsigned group, struct tracker_sample *sample) {
        static const enum memcg_counter counters[_MP_STATES] = {
                [MP_STATE_KMEM] = MEMCG_KERNEL,
                [MP_STATE_SOCK] = MEMCG_SOCK,
                [MP_STATE_VMALLOC] = MEMCG_VMALLOC,
                [MP_STATE_ANON] = MEMCG_ANON,
                [MP_STATE_FILE] = MEMCG_FILE,
                [MP_STATE_SHMEM] = MEMCG_SHMEM,
                [MP_STATE_PAGETABLES] = MEMCG_PAGETABLES,
                [MP_STATE_KERNEL_STACK] = MEMCG_KERNEL_STACK,
        };
        const struct mp_group_losses *folded = (struct mp_group_losses *)t->group_losses.data + group;

        for (unsigned s = 0; s < _MP_STATES; s++)
                sample->states.value[counters[s]] += READ(folded->state[s]) * 4096;
        for (unsigned cpu = 0; cpu < t->n_cpus; cpu++) {
                const struct mp_group_counts *g = group_counts_at(t, cpu, group);

                sample->irq_bytes += (int64_t)READ(g->irq_bytes);
                sample->kthread_bytes += (int64_t)READ(g->kthread_bytes);
                sample->freed_unmatched_bytes += (int64_t)READ(g->unmatched_bytes);
                for (unsigned s = 0; s < _MP_STATES; s++)
                        sample->states.value[counters[s]] += READ(g->state[s]) * 4096;
        }
}

int tables_read(const struct tables *t, unsigned group, struct tracker_sample *ret) {
        _cleanup_(tracker_sample_done) struct tracker_sample sample = {};
        int r = read_rows(t, group, &sample);

        if (r < 0)
                return r;
        read_group_counts(t, group, &sample);
        read_group_losses(t, group, &sample);
        *ret = sample;
        sample = (struct tracker_sample){};
        return 0;
}

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The counters of one group become part of another's. Here and not in user space, because a kill may come between any two
 * instructions there, and a counter that was added and not yet zeroed would count twice for whoever comes after.
 *
 * Invariants: nothing writes to the counters of `from` any more (user space has waited for that); programs may write to those
 * of `to`, so that these are the shared ones.
 */
#pragma once

#include "site.bpf.h"

struct mp_move moves[MP_MOVES]; /* written by user space for each run */

struct fold {
        u32 from, to; /* slots, or groups */
        u32 source;
        struct mp_rare sum;
        s64 state[_MP_STATES];
};

#define ADD_AND_CLEAR(to, from)                      \
        do {                                         \
                __sync_fetch_and_add(&(to), (from)); \
                (from) = 0;                          \
        } while (0)

INLINE void fold_rare(struct mp_rare *to, struct mp_rare *from) {
        ADD_AND_CLEAR(to->freed_bytes, from->freed_bytes);
        ADD_AND_CLEAR(to->freed_calls, from->freed_calls);
        ADD_AND_CLEAR(to->written_off_bytes, from->written_off_bytes);
        ADD_AND_CLEAR(to->written_off_calls, from->written_off_calls);
        ADD_AND_CLEAR(to->untracked_bytes, from->untracked_bytes);
        ADD_AND_CLEAR(to->untracked_calls, from->untracked_calls);
        ADD_AND_CLEAR(to->squares, from->squares);
        ADD_AND_CLEAR(to->swept_calls, from->swept_calls);
        ADD_AND_CLEAR(to->allocated_bytes, from->allocated_bytes);
        ADD_AND_CLEAR(to->allocated_calls, from->allocated_calls);
}

/* Which pair of freed counters holds what depends on the source. */
static long fold_cpu(u32 cpu, struct fold *f) {
        u32 index = cpu * (site_mask + 1) + f->from;
        struct mp_counts *c = bpf_map_lookup_elem(&counts, &index);

        if (!c)
                return 1;
        f->sum.allocated_bytes += c->allocated_bytes;
        f->sum.allocated_calls += c->allocated_calls;
        f->sum.freed_bytes += c->freed_bytes;
        f->sum.freed_calls += c->freed_calls;
        if (f->source == MP_PAGES || f->source == MP_USER) {
                f->sum.squares += c->allocated_squares - c->freed_squares;
        } else {
                f->sum.freed_bytes += c->cache_freed_bytes;
                f->sum.freed_calls += c->cache_freed_calls;
        }
        __builtin_memset(c, 0, sizeof(*c));
        return 0;
}

static long fold_slot(u32 i, struct mp_fold *work) {
        const struct mp_move *m = &moves[i & (MP_MOVES - 1)];
        struct fold f = {.from = m->from, .to = m->to, .source = mp_tag_source(tag_of(m->from))};
        struct mp_rare *to = rare_of(f.to), *from = rare_of(f.from);

        if (!to || !from)
                return 1;
        if (f.from <= site_mask)
                bpf_loop(work->cpus, fold_cpu, &f, 0);
        fold_rare(to, &f.sum);
        fold_rare(to, from);
        return 0;
}

static long fold_group_cpu(u32 cpu, struct fold *f) {
        u32 from = cpu * group_max + f->from, first = f->to;
        struct mp_group_counts *g = bpf_map_lookup_elem(&group_counts, &from);
        struct mp_group_counts *into = bpf_map_lookup_elem(&group_counts, &first);

        if (!g || !into)
                return 1;
        f->sum.allocated_bytes += g->pages_bytes;
        f->sum.allocated_calls += g->pages_calls;
        f->sum.freed_bytes += g->pages_freed_bytes;
        f->sum.freed_calls += g->pages_freed_calls;
        for (u32 i = 0; i < _MP_STATES; i++)
                f->state[i] += g->state[i];
        ADD_AND_CLEAR(into->irq_bytes, g->irq_bytes);
        ADD_AND_CLEAR(into->kthread_bytes, g->kthread_bytes);
        ADD_AND_CLEAR(into->unmatched_bytes, g->unmatched_bytes);
        __builtin_memset(g, 0, sizeof(*g));
        return 0;
}

/* Pages that are counted one by one come to the shared part of the page totals. */
INLINE void fold_groups(const struct mp_fold *work) {
        struct fold f = {.from = work->from, .to = work->to};
        struct mp_group_losses *to = bpf_map_lookup_elem(&group_losses, &f.to);
        struct mp_group_losses *from = bpf_map_lookup_elem(&group_losses, &f.from);
        struct mp_rare *pages = rare_of(catch_all(work->to, MP_PAGES, true));

        if (!to || !from || !pages)
                return;
        bpf_loop(work->cpus, fold_group_cpu, &f, 0);
        fold_rare(pages, &f.sum);
        for (u32 i = 0; i < _MP_STATES; i++) {
                __sync_fetch_and_add(&to->state[i], f.state[i]);
                ADD_AND_CLEAR(to->state[i], from->state[i]);
        }
        for (u32 i = 0; i < _MP_GROUP_LOSSES; i++)
                ADD_AND_CLEAR(to->lost[i], from->lost[i]);
}

SEC("syscall") int fold(struct mp_fold *w) {
        struct mp_fold work = *w;

        bpf_loop(work.n_moves, fold_slot, &work, 0);
        if (work.whole)
                fold_groups(&work);
        return 0;
}

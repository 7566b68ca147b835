/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pages: where the kernel has alloc tags, kernel pages are counted on their sites one by one. Without, their sites come from
 * stacks, which are dear, so that bytes are sampled; charged ones are counted one by one besides, and followed each, so that
 * their total is exact whatever the samples say.
 *
 * Invariants: every charged kernel page is in the object table, on the slot of its site or on the page totals of its
 * group; a page that is freed in parts leaves as many bytes as were given back, part by part.
 */
#pragma once

#include "object.bpf.h"
#include "owner.bpf.h"

/* A block that is freed in parts is looked for below a part only while there are such blocks: pages by order, never compound.
 */
u64 splittable[MP_SAMPLES];

/*
 * A page as a number. Verifiers since 6.12 allow no arithmetic on a typed struct page *, but the difference of two pointers is
 * a number; in raw_tp programs the argument is a number already.
 */
u64 page_origin __attribute__((aligned(64)));
u64 page_origin_address; /* the same as a number; written by identify() */

#define PAGE_NUMBER(raw, page) ((raw) ? (u64)(page) : (u64)(page) - (u64)&page_origin + page_origin_address)
#define PAGE_KEY(number) ((number) | MP_KIND_PAGE)

INLINE bool sampled(const struct mp_sample *odds) {
        return odds->threshold == ~0U || bpf_get_prandom_u32() <= odds->threshold;
}

/* Books a sampled page on its site and returns the object's value. */
INLINE u64 book_sample(u32 slot, u32 order, u32 weight) {
        struct mp_counts *c = counts_of(slot);

        if (!c) {
                count_rare_allocation(slot, weight, slot > site_mask ? 1 : mp_page_calls(weight, order));
                return mp_value(weight, slot, order);
        }
        c->allocated_bytes += weight;
        c->allocated_calls += mp_page_calls(weight, order);
        c->allocated_squares += mp_square(weight, PAGE_BYTES << order);
        return mp_value(weight, slot, order);
}

/* Marks a page that may be freed in parts. */
INLINE u64 may_split(u64 value) {
        __sync_fetch_and_add(&splittable[mp_value_order(value)], 1);
        return value | (u64)MP_SPLITTABLE << 56;
}

INLINE void no_more_split(u64 value) {
        if (mp_value_extra(value) & MP_SPLITTABLE)
                __sync_fetch_and_sub(&splittable[mp_value_order(value)], 1);
}

INLINE u64 node_tag(const struct mp_group *g, u64 page) {
        return g->flags & MP_GROUP_NUMA ? (u64)(node_of_page(page) + 1) << 16 : 0;
}

INLINE void user_page(void *ctx, u64 page, u32 order, u32 gfp, u32 group, const struct mp_group *g) {
        const struct mp_sample *odds = &g->user[order & (MP_SAMPLES - 1)];
        u64 tag, value;

        if (LIKELY(!sampled(odds)))
                return;
        tag = mp_tag(group, MP_USER, 1, 0) | node_tag(g, page);
        value = book_sample(slot_of_stack(ctx, tag, gfp), order, odds->weight);
        if (!count_only)
                track(PAGE_KEY(page), order ? may_split(value) : value); /* huge pages are split and freed in parts */
}

/* Uncharged: followed as a sample or not at all, and what backs a slab is told by its stack, in user space. */
INLINE void uncharged_page(void *ctx, u64 page, u32 order, u32 gfp, u32 group, const struct mp_group *g) {
        const struct mp_sample *odds = &g->kernel[order & (MP_SAMPLES - 1)];
        u64 tag, value;

        if (LIKELY(!sampled(odds)))
                return;
        tag = mp_tag(group, MP_PAGES, 0, 0) | node_tag(g, page);
        value = book_sample(slot_of_stack(ctx, tag, gfp), order, odds->weight);
        if (!count_only)
                track(PAGE_KEY(page), value);
}

/* A page that is counted in the totals of its group. `slot`: that of its stack, or the catch-all. */
INLINE u64 page_in_totals(struct mp_group_counts *c, u32 slot, u32 order, u32 weight) {
        c->pages_bytes += PAGE_BYTES << order;
        c->pages_calls++;
        /* without a name it counts in the total, which it does anyway */
        return slot > site_mask ? mp_value(PAGE_BYTES << order, slot, order) : book_sample(slot, order, weight);
}

INLINE void track_kernel_page(u64 page, u64 value, u32 order, u32 gfp) {
        if (!count_only)
                track(PAGE_KEY(page), order && !(gfp & gfp_comp) ? may_split(value) : value);
}

INLINE void charged_page(void *ctx, u64 page, u32 order, u32 gfp, u32 group, const struct mp_group *g) {
        const struct mp_sample *odds = &g->kernel[order & (MP_SAMPLES - 1)];
        struct mp_group_counts *c = group_counts_of(group);
        u32 slot = catch_all(group, MP_PAGES, true);
        bool first, every;

        if (!c)
                return;
        first = c->pages_seen < g->first;
        if (first)
                c->pages_seen++;
        every = first || odds->threshold == ~0U;
        if (every || sampled(odds))
                slot = slot_of_stack(ctx, mp_tag(group, MP_PAGES, 1, 0) | node_tag(g, page), gfp);
        track_kernel_page(page, page_in_totals(c, slot, order, every ? PAGE_BYTES << order : odds->weight), order, gfp);
}

/* ---- pages that have an alloc tag ----------------------------------------------------------------------------------------
 */

struct tagged_page {
        u64 page;
        u32 named, order, gfp, group;
};

/* On its site and nowhere else; in the totals when there is no room for its site. */
INLINE void charged_tagged_page(const struct tagged_page *p, const struct mp_group *g, u32 order) {
        u64 tag = mp_tag(p->group, MP_PAGES, 1, 0) | MP_ALLOC_TAG | node_tag(g, p->page), value;
        u32 slot = slot_of(p->named, tag, p->gfp);
        struct mp_group_counts *c;

        if (LIKELY(slot <= site_mask)) {
                value = book_sample(slot, order, PAGE_BYTES << order);
        } else {
                c = group_counts_of(p->group);
                if (!c)
                        return;
                value = page_in_totals(c, slot, order, 0);
        }
        track_kernel_page(p->page, value, order, p->gfp);
}

/* User pages are sampled whatever names them: they are too many to be followed each. Uncharged kernel pages are not. */
INLINE void other_tagged_page(const struct tagged_page *p, const struct mp_group *g, u32 order, bool user) {
        const struct mp_sample *odds = &g->user[order];
        u64 tag = mp_tag(p->group, user ? MP_USER : MP_PAGES, user, 0) | MP_ALLOC_TAG | node_tag(g, p->page), value;

        if (user && LIKELY(!sampled(odds)))
                return;
        value = book_sample(slot_of(p->named, tag, p->gfp), order, user ? odds->weight : PAGE_BYTES << order);
        if (!user)
                track_kernel_page(p->page, value, order, p->gfp);
        else if (!count_only)
                track(PAGE_KEY(p->page), order ? may_split(value) : value);
}

/* Apart, so that the way of pages without tags is what it is on kernels that have none. */
static __noinline int tagged_page(struct tagged_page *p) {
        struct task_struct *task = bpf_get_current_task_btf();
        struct mp_group *g = group_of(p->group);
        u32 order = p->order & (MP_SAMPLES - 1);

        if (!g)
                return 0;
        if (p->gfp & gfp_account && is_billed(task, p->group))
                charged_tagged_page(p, g, order);
        else if (UNLIKELY(task->flags & PF_KTHREAD))
                count_kthread(p->group, PAGE_BYTES << order);
        else
                other_tagged_page(p, g, order, p->gfp & gfp_hardwall);
        return 0;
}

/* Returns whether an alloc tag names the page, so that it is booked now. */
INLINE bool booked_by_tag(void *ctx, struct task_struct *task, u64 page, u32 order, u32 gfp, u32 group, bool raw) {
        struct tagged_page p = {.page = page, .order = order, .gfp = gfp, .group = group, .named = named_by_tag(task)};

        if (UNLIKELY(!p.named))
                return false;
        if (p.named & MP_ELSEWHERE)
                return true;
        if (UNLIKELY(!in_task(ctx, task, raw)))
                count_irq(group, PAGE_BYTES << (order & (MP_SAMPLES - 1)));
        else
                tagged_page(&p);
        return true;
}

/* ---- allocations ----------------------------------------------------------------------------------------------------------
 */

INLINE void page_allocated(void *ctx, u64 page, u32 order, u32 gfp, bool raw) {
        struct task_struct *task = bpf_get_current_task_btf();
        u32 group = member(task);
        bool charged = gfp & gfp_account;
        struct mp_group *g;

        if (LIKELY(!group) || order >= MP_ORDERS)
                return;
        if (follows_tags() && booked_by_tag(ctx, task, page, order, gfp, group, raw))
                return;
        asm volatile("" : "+r"(order)); /* in range already, but 6.1 forgets that over a spill, and clang drops the mask */
        if (UNLIKELY(!in_task(ctx, task, raw))) {
                count_irq(group, PAGE_BYTES << (order & (MP_SAMPLES - 1)));
                return;
        }
        g = group_of(group);
        if (!g)
                return;
        if (charged && is_billed(task, group))
                charged_page(ctx, page, order & (MP_SAMPLES - 1), gfp, group, g);
        else if (UNLIKELY(task->flags & PF_KTHREAD))
                count_kthread(group, PAGE_BYTES << (order & (MP_SAMPLES - 1)));
        else if (gfp & gfp_hardwall)
                user_page(ctx, page, order & (MP_SAMPLES - 1), gfp, group, g);
        else
                uncharged_page(ctx, page, order & (MP_SAMPLES - 1), gfp, group, g);
}

/* ---- frees ----------------------------------------------------------------------------------------------------------------
 */

/* Books a page, or a piece of one, as freed. `rarely`: by anyone but the first program of the hook. */
INLINE void book_free(u64 value, bool rarely) {
        u32 slot = mp_value_slot(value), order = mp_value_order(value), weight = mp_value_bytes(value);
        u64 calls = mp_value_extra(value) & MP_PART ? 0 : 1, bytes = PAGE_BYTES << order, tag;
        struct mp_group_counts *g;
        struct mp_counts *c = NULL;

        tag = tag_of(slot);
        if (slot <= site_mask) {
                if (!rarely)
                        c = counts_of(slot);
                if (c) {
                        c->freed_bytes += weight;
                        c->freed_calls += calls ? mp_page_calls(weight, order) : 0;
                        c->freed_squares += mp_square(weight, bytes);
                } else {
                        count_rare_free(slot, weight, calls ? mp_page_calls(weight, order) : 0);
                }
                if (!mp_tag_in_page_totals(tag))
                        return;
        } else if (!mp_tag_in_page_totals(tag)) {
                count_rare_free(slot, weight, calls);
                return;
        }
        g = rarely ? NULL : group_counts_of(mp_tag_group(tag));
        if (g) {
                g->pages_freed_bytes += bytes;
                g->pages_freed_calls += calls;
        } else {
                count_rare_free(catch_all(mp_tag_group(tag), MP_PAGES, true), bytes, calls);
        }
}

struct carving {
        u64 head, part, value;
        u32 order, part_order;
};

/*
 * A block of which a part is given back: what is left becomes as many blocks as it takes, each followed for itself. A value's
 * weight and bytes go down by the same powers of two. Returns the value of the part.
 */
static __noinline u64 carve(struct carving *v) {
        u64 value = v->value, head = v->head;
        u32 slot = mp_value_slot(value), weight = mp_value_bytes(value);
        bool has_call = !(mp_value_extra(value) & MP_PART);
        u64 squares = mp_square(weight, PAGE_BYTES << v->order), left = 0, rest, piece;
        struct mp_rare *r;

        no_more_split(value);
        for (u32 order = v->order; order > v->part_order && order < MP_SAMPLES; order--) {
                u64 half = STRUCT_PAGE << (order - 1);
                bool upper = v->part >= head + half;

                weight >>= 1;
                /* the call stays with the piece that holds the head of the block */
                rest = upper ? head : head + half;
                piece = mp_value(weight, slot, (order - 1) | (upper && has_call ? 0 : MP_PART));
                track_apart(PAGE_KEY(rest), order > 1 ? may_split(piece) : piece);
                left += mp_square(weight, PAGE_BYTES << (order - 1));
                if (upper) {
                        head += half;
                        has_call = false;
                }
        }
        left += mp_square(weight, PAGE_BYTES << v->part_order);
        r = rare_of(slot);
        if (r && slot <= site_mask)
                __sync_fetch_and_sub(&r->squares, squares - left);
        return mp_value(weight, slot, v->part_order | (has_call ? 0 : MP_PART));
}

/* The block that a part lies in, when only its head is known; 0 when there is none. Takes it out of the table. */
static __noinline u64 untrack_above(struct carving *v) {
        for (u32 order = 1; order < MP_ORDERS; order++) {
                u64 head, value;

                if (order <= v->part_order || !LOAD(splittable[order & (MP_SAMPLES - 1)]))
                        continue;
                head = v->part & ~((STRUCT_PAGE << order) - 1);
                if (head == v->part)
                        continue;
                value = untrack_apart(PAGE_KEY(head));
                if (!value)
                        continue;
                if (mp_value_order(value) < order) { /* another, smaller block */
                        track_apart(PAGE_KEY(head), value);
                        continue;
                }
                v->head = head;
                v->order = mp_value_order(value);
                v->value = value;
                return value;
        }
        return 0;
}

/* The value of what is freed now, taken out of the table; 0 when it is not followed. */
INLINE u64 untrack_page(u64 page, u32 order) {
        u64 value = untrack(PAGE_KEY(page));

        if (LIKELY(value && mp_value_order(value) <= order)) {
                no_more_split(value);
                return value;
        }
        struct carving v = {.head = page, .part = page, .part_order = order, .value = value, .order = mp_value_order(value)};

        if (!value && !untrack_above(&v))
                return 0;
        return carve(&v);
}

/* Kernel memory that a group pays for and that was allocated before the baseline: the page itself names its owner. */
INLINE void unmatched_page(const struct page *page, u32 order, bool raw) {
        u64 data = FIELD(raw, page, memcg_data);
        u32 group;

        if (LIKELY((data & MEMCG_DATA_FLAGS) != MEMCG_DATA_KMEM))
                return;
        group = group_of_memcg(PEEK((data & ~MEMCG_DATA_FLAGS) + OFFSET(struct obj_cgroup, memcg)));
        if (group)
                count_unmatched(group, PAGE_BYTES << (order & (MP_SAMPLES - 1)));
}

INLINE void page_freed(void *ctx, u64 number, const struct page *page, u32 order, bool raw) {
        u64 value;

        mark_served(MP_FREE_PAGE, PAGE_KEY(number));
        value = untrack_page(number, order);
        if (UNLIKELY(value))
                book_free(value, false);
        else if (!bare)
                unmatched_page(page, order, raw);
}

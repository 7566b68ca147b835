/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where memory comes and goes without a tracepoint: programs on the functions themselves, where the kernel allows that (fentry,
 * fexit). Optional, each for itself; what they do not see, a sweep finds or nobody.
 *
 * Invariants: all of it is rare, so everything is atomic and made by the functions that are verified apart; arguments are taken
 * by the helper (5.17), because verifiers before 7.x refuse to load a `void **`. What a program here frees, no tracepoint of
 * the same free follows (slub.c: bulk frees, sheaves); were there one, it would find the table without the object.
 */
#pragma once

#include "late.bpf.h"
#include "page.bpf.h"

INLINE u64 argument(void *ctx, u32 n) {
        u64 value = 0;

        bpf_get_func_arg(ctx, n, &value);
        return value;
}

/* Of a function that returns a bool or an int, of which the upper bits of the register say nothing. */
INLINE u32 returned(void *ctx) {
        u64 value = 0;

        bpf_get_func_ret(ctx, &value);
        return (u32)value;
}

INLINE bool returned_true(void *ctx) {
        return returned(ctx) & 0xff;
}

INLINE u32 size_of_slab_object(u64 object) {
        u64 cache = cache_at(object);

        return cache ? cache_size(cache) : 0;
}

/* ---- objects in bulk ------------------------------------------------------------------------------------------------------
 */

struct bulk {
        u64 objects; /* the address of a vector of their addresses */
        u64 site, tag;
        u32 gfp, bytes, group;
        bool nodes;
};

static __noinline int take(u64 object, u32 i, struct bulk *b) {
        u64 tag = b->tag;
        u32 slot;

        if (object <= 16)
                return 0;
        if (b->nodes && page_delta)
                tag |= (u64)(node_of_page(page_of(object)) + 1) << 16;
        slot = b->site ? slot_of(b->site, tag, b->gfp) & ~MP_DEEP : catch_all(b->group, MP_BULK, mp_tag_charged(tag));
        count_rare_allocation(slot, b->bytes, 1);
        if (!count_only)
                track_apart(object, mp_value(b->bytes, slot, i & MP_GENERATION));
        return 0;
}

static long take_one(u32 i, struct bulk *b) {
        return take(PEEK(b->objects + i * sizeof(u64)), i, b);
}

/* Whether `n` objects of b->bytes that were allocated with b->gfp are the task's, and for whom; `account` is their cache's. */
INLINE bool is_taken(u64 *ctx, struct bulk *b, u64 n, bool account) {
        struct task_struct *task = bpf_get_current_task_btf();
        const struct mp_group *g;
        bool charged;
        u32 named;

        if (!in_task(ctx, task, true)) {
                count_irq(b->group, b->bytes * n);
                return false;
        }
        charged = (b->gfp & gfp_account || account) && is_billed(task, b->group);
        if (!charged && task->flags & PF_KTHREAD) {
                count_kthread(b->group, b->bytes * n);
                return false;
        }
        b->bytes += charged ? OBJCG_BYTES : 0;
        b->tag = mp_tag(b->group, MP_BULK, charged, 0);
        named = named_by_tag(task) & ~MP_ELSEWHERE;
        if (named)
                b->tag |= MP_ALLOC_TAG;
        b->site = named ?: stack_id(ctx, b->group);
        g = group_of(b->group);
        b->nodes = g && g->flags & MP_GROUP_NUMA;
        return true;
}

/* kmem_cache_alloc_bulk(s, flags, n, p): all or none; the count until 7.1, then a bool. _noprof since 6.10. */
SEC("fexit") int hole_alloc_bulk(u64 *ctx) {
        struct kmem_cache *s = (void *)argument(ctx, 0);
        u64 n = argument(ctx, 2);
        struct bulk b = {
                .objects = argument(ctx, 3), .gfp = (u32)argument(ctx, 1), .group = member(bpf_get_current_task_btf())};

        if (LIKELY(!b.group) || !(returned(ctx) & 0xffff))
                return 0;
        b.bytes = BPF_CORE_READ(s, size);
        if (!is_taken(ctx, &b, n, BPF_CORE_READ(s, flags) & slab_account))
                return 0;
        bpf_loop((u32)n, take_one, &b, 0);
        if (page_delta)
                verify_charge(PEEK(b.objects), b.group, mp_tag_charged(b.tag));
        return 0;
}

/*
 * kmalloc_nolock(size, gfp, node), 6.18: BPF's own, in any context; what it made is freed by kfree_nolock(), or by kfree() with
 * its event. It may take an object of a larger size than it was asked for, so that the object itself is asked; the argument
 * counts where it cannot be.
 */
SEC("fexit") int hole_nolock(u64 *ctx) {
        struct bulk b = {.gfp = (u32)argument(ctx, nolock_gfp), .group = member(bpf_get_current_task_btf())};
        u64 object = 0;

        bpf_get_func_ret(ctx, &object);
        if (LIKELY(!b.group) || object <= 16)
                return 0;
        b.bytes = size_of_slab_object(object);
        if (!b.bytes)
                b.bytes = (u32)argument(ctx, 0);
        if (is_taken(ctx, &b, 1, false)) {
                take(object, 0, &b);
                if (page_delta)
                        verify_charge(object, b.group, mp_tag_charged(b.tag));
        }
        return 0;
}

/* A free of an object by whatever has no tracepoint. */
APART int freed_unseen(u64 object) {
        u64 value = object > 16 ? untrack_apart(object | MP_KIND_SLAB) : 0;
        struct owner owner;

        if (value && mp_value_extra(value) & MP_LATE)
                return free_late(object, value);
        if (value)
                return count_rare_free(mp_value_slot(value), mp_value_bytes(value), 1);
        if (object <= 16 || !objects_checked)
                return 0;
        read_owner(object, &owner);
        if (owner.memcg) {
                u32 group = group_of_memcg(owner.memcg);

                if (group)
                        count_unmatched(group, owner.size + OBJCG_BYTES);
        }
        return 0;
}

static long free_one(u32 i, u64 *objects) {
        freed_unseen(PEEK(*objects + i * sizeof(u64)));
        return 0;
}

/* kmem_cache_free_bulk(s, n, p); kfree_bulk() and with it kfree_rcu() end here too. */
SEC("fentry") int hole_free_bulk(u64 *ctx) {
        u64 objects = argument(ctx, 2);

        bpf_loop((u32)argument(ctx, 1), free_one, &objects, 0);
        return 0;
}

/* kfree_nolock(object), 6.18. */
SEC("fentry") int hole_free_nolock(u64 *ctx) {
        return freed_unseen(argument(ctx, 0));
}

/* __kfree_rcu_sheaf(s, object, ...), 6.18: true when it took the object; else that goes the old way, which ends above. */
SEC("fexit") int hole_rcu_sheaf(u64 *ctx) {
        if (returned_true(ctx))
                freed_unseen(argument(ctx, 1));
        return 0;
}

/* ---- what is charged late -------------------------------------------------------------------------------------------------
 */

/* Where a charged object goes on: at the site that made it, where that is known; else at the stack of its charge. */
INLINE u32 charged_slot(void *ctx, u64 older, u32 group, u32 gfp) {
        u32 slot = mp_value_slot(older);
        struct mp_site *site = bpf_map_lookup_elem(&sites, &slot);

        if (older && site && (mp_value_extra(older) & MP_LATE || mp_tag_has_alloc_tag(site->tag)))
                return billed_slot(site, group);
        return slot_of_stack(ctx, mp_tag(group, MP_BULK, 1, 0), gfp);
}

/* kmem_cache_charge(object, gfp), 6.12: accept() pays for its socket. What nobody paid for is the task's from now on. */
SEC("fexit") int hole_charge(u64 *ctx) {
        struct task_struct *task = bpf_get_current_task_btf();
        u64 object = argument(ctx, 0), older;
        u32 group = member(task), slot, bytes;

        if (!returned_true(ctx) || count_only)
                return 0;
        if (!group || !in_task(ctx, task, true) || !is_billed(task, group))
                return 0;
        older = untrack_apart(object);
        if (older && !(mp_value_extra(older) & MP_LATE) && mp_tag_charged(tag_of(mp_value_slot(older)))) {
                track_apart(object, older);
                return 0;
        }
        bytes = older ? mp_value_bytes(older) : size_of_slab_object(object);
        if (older && !(mp_value_extra(older) & MP_LATE))
                count_rare_free(mp_value_slot(older), bytes, 1);
        if (!bytes)
                return 0;
        slot = charged_slot(ctx, older, group, (u32)argument(ctx, 1));
        count_rare_allocation(slot, bytes + OBJCG_BYTES, 1);
        track_apart(object, mp_value(bytes + OBJCG_BYTES, slot, 0));
        return 0;
}

/* ---- pages in bulk --------------------------------------------------------------------------------------------------------
 */

/*
 * alloc_pages_bulk() and its kin: never charged (it takes single pages when asked for that), and without an event but for the
 * pages that it takes one by one. What it returns is how many pages the caller's vector has by then, those of before too:
 * counted as what may be missing among uncharged pages, no more.
 */
SEC("fexit") int hole_bulk_pages(u64 *ctx) {
        struct task_struct *task = bpf_get_current_task_btf();

        if (member(task) && in_task(ctx, task, true))
                __sync_fetch_and_add(&losses[MP_LOSS_BULK_PAGES], returned(ctx));
        return 0;
}

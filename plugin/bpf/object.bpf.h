/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The object table: which slot an object that is alive was counted on, and with how many bytes.
 *
 * Invariants: it never evicts, because eviction drops exactly the leak; what finds its set full goes to the spill, and what
 * that refuses to untracked_bytes of its site. No locks: a way is taken by compare-and-swap and given back by one store.
 */
#pragma once

#include "site.bpf.h"

const volatile u32 set_mask;    /* sets, a power of two, minus one; written before loading */
const volatile bool count_only; /* no object table: live is unknown */
u64 spilled;                    /* objects in the spill now */

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(map_flags, BPF_F_MMAPABLE);
        __type(key, u32);
        __type(value, struct mp_set);
        __uint(max_entries, 1);
} objects SEC(".maps");

INLINE bool is_page(u64 key) {
        return (key & 3) == MP_KIND_PAGE;
}

/* How many calls a page stands for: of its site in 1/256, of the totals one. The pieces of a page share one call. */
INLINE u64 page_calls(u32 slot, u64 value) {
        if (mp_value_extra(value) & MP_PART)
                return 0;
        return slot > site_mask ? 1 : mp_page_calls(mp_value_bytes(value), mp_value_order(value));
}

struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __type(key, u64);
        __type(value, u64);
        __uint(max_entries, 1);
} spill SEC(".maps");

/* What of a page is counted one by one, whatever its samples stand for; nothing for anything else. */
INLINE u32 page_totals_of(u32 slot) {
        u64 tag = tag_of(slot);

        return mp_tag_in_page_totals(tag) ? catch_all(mp_tag_group(tag), MP_PAGES, true) : slot;
}

APART int count_untracked(u64 key, u64 value) {
        u32 slot = mp_value_slot(value);
        struct mp_rare *r = rare_of(slot);

        if (mp_tag_group(tag_of(slot)) == MP_LIMBO)
                lose(MP_LOSS_LIMBO_FULL);
        if (!r)
                return 0;
        __sync_fetch_and_add(&r->untracked_bytes, mp_value_bytes(value));
        __sync_fetch_and_add(&r->untracked_calls, is_page(key) ? page_calls(slot, value) : 1);
        if (!is_page(key) || slot > site_mask || page_totals_of(slot) == slot)
                return 0;
        r = rare_of(page_totals_of(slot));
        if (!r)
                return 0;
        __sync_fetch_and_add(&r->untracked_bytes, PAGE_BYTES << mp_value_order(value));
        __sync_fetch_and_add(&r->untracked_calls, 1);
        return 0;
}

/* Its free was not seen: proved by a second allocation at its address, or by a look at the object. */
APART int write_off(u64 key, u64 value) {
        u32 slot = mp_value_slot(value);
        struct mp_rare *r = rare_of(slot);

        if (!r)
                return 0;
        __sync_fetch_and_add(&r->written_off_bytes, mp_value_bytes(value));
        __sync_fetch_and_add(&r->written_off_calls, is_page(key) ? page_calls(slot, value) : 1);
        if (!is_page(key) || slot > site_mask)
                return 0;
        __sync_fetch_and_sub(&r->squares, mp_square(mp_value_bytes(value), PAGE_BYTES << mp_value_order(value)));
        if (page_totals_of(slot) == slot)
                return 0;
        r = rare_of(page_totals_of(slot));
        if (!r)
                return 0;
        __sync_fetch_and_add(&r->written_off_bytes, PAGE_BYTES << mp_value_order(value));
        __sync_fetch_and_add(&r->written_off_calls, mp_value_extra(value) & MP_PART ? 0 : 1);
        return 0;
}

/* A second allocation at a tracked address. Objects in limbo are forgotten without a word. */
APART int replace(u64 key, u64 older) {
        return mp_tag_group(tag_of(mp_value_slot(older))) == MP_LIMBO ? 0 : write_off(key, older);
}

INLINE struct mp_set *set_of(u64 key) {
        u32 index = mix(key) & set_mask;

        return bpf_map_lookup_elem(&objects, &index);
}

APART int spill_object(u64 key, u64 value) {
        if (bpf_map_update_elem(&spill, &key, &value, BPF_ANY))
                return false;
        __sync_fetch_and_add(&spilled, 1);
        return true;
}

/* An older entry of the same address in the spill is a missed free, as one in the set is. */
APART int drop_spilled(u64 key) {
        u64 *older = bpf_map_lookup_elem(&spill, &key);

        if (!older)
                return 0;
        u64 value = *older;

        if (bpf_map_delete_elem(&spill, &key))
                return 0;
        __sync_fetch_and_sub(&spilled, 1);
        return replace(key, value);
}

INLINE void track(u64 key, u64 value) {
        struct mp_set *set = set_of(key);

        if (!set)
                return;
#pragma unroll
        for (int i = 0; i < MP_WAYS; i++) {
                u64 k = LOAD(set->way[i].key);

                if (UNLIKELY(k == key)) {
                        replace(key, LOAD(set->way[i].value));
                        STORE(set->way[i].value, value);
                        return;
                }
        }
        if (UNLIKELY(LOAD(spilled)))
                drop_spilled(key);
#pragma unroll
        for (int i = 0; i < MP_WAYS; i++) {
                if (LOAD(set->way[i].key))
                        continue;
                if (__sync_val_compare_and_swap(&set->way[i].key, 0, MP_BUSY) != 0)
                        continue;
                STORE(set->way[i].value, value);
                STORE(set->way[i].key, key);
                return;
        }
        if (!spill_object(key, value))
                count_untracked(key, value);
}

/* The same for where neither speed nor the size of the caller's frame matters. */
int track_apart(u64 key, u64 value);
u64 untrack_apart(u64 key);

APART u64 untrack_spilled(u64 key) {
        u64 *found = bpf_map_lookup_elem(&spill, &key);
        u64 value;

        if (!found)
                return 0;
        value = *found;
        if (bpf_map_delete_elem(&spill, &key))
                return 0;
        __sync_fetch_and_sub(&spilled, 1);
        return value;
}

INLINE bool in_limbo(u64 value) {
        return (s64)value < 0; /* MP_LATE is its highest bit, and of no other kind's */
}

/*
 * Takes an object out and returns its value, or 0. Nobody else can free or allocate at this address meanwhile: the event comes
 * before the kernel's allocator gets it back.
 */
INLINE u64 untrack(u64 key) {
        struct mp_set *set = set_of(key);
        u64 value;

        if (!set)
                return 0;
#pragma unroll
        for (int i = 0; i < MP_WAYS; i++) {
                if (LOAD(set->way[i].key) != key)
                        continue;
                value = LOAD(set->way[i].value);
                if (UNLIKELY(in_limbo(value)))
                        value = __sync_lock_test_and_set(&set->way[i].value, 0);
                STORE(set->way[i].key, 0);
                return value;
        }
        return UNLIKELY(LOAD(spilled)) ? untrack_spilled(key) : 0;
}

APART int track_apart(u64 key, u64 value) {
        track(key, value);
        return 0;
}

APART u64 untrack_apart(u64 key) {
        return untrack(key);
}

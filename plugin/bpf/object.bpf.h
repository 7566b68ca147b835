/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The object table: which slot an object that is alive was counted on, and with how many bytes.
 *
 * Invariants: it never evicts, because eviction drops exactly the leak; what finds its set full goes to the spill, and what
 * that refuses to untracked_bytes of its site. No locks: a way is taken by compare-and-swap and given back by one store.
 */
#pragma once

#include "site.bpf.h"

const volatile u32 set_mask; /* sets, a power of two, minus one; written before loading */
u64 spilled;                 /* objects in the spill now */

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(map_flags, BPF_F_MMAPABLE);
        __type(key, u32);
        __type(value, struct mp_set);
        __uint(max_entries, 1);
} objects SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __type(key, u64);
        __type(value, u64);
        __uint(max_entries, 1);
} spill SEC(".maps");

INLINE void count_untracked(u32 slot, u64 bytes) {
        struct mp_rare *r = bpf_map_lookup_elem(&rare, &slot);

        lose(MP_LOSS_OBJECTS_FULL);
        if (!r)
                return;
        __sync_fetch_and_add(&r->untracked_bytes, bytes);
        __sync_fetch_and_add(&r->untracked_calls, 1);
}

/* A second allocation at a tracked address: the first object's free was not seen. */
INLINE void write_off(u64 value) {
        u32 slot = mp_value_slot(value);
        struct mp_rare *r = bpf_map_lookup_elem(&rare, &slot);

        lose(MP_LOSS_MISSED_FREES);
        if (!r)
                return;
        __sync_fetch_and_add(&r->written_off_bytes, mp_value_bytes(value));
        __sync_fetch_and_add(&r->written_off_calls, 1);
}

INLINE struct mp_set *set_of(u64 key) {
        u32 index = mix(key) & set_mask;

        return bpf_map_lookup_elem(&objects, &index);
}

static __noinline bool spill_object(u64 key, u64 value) {
        if (bpf_map_update_elem(&spill, &key, &value, BPF_ANY))
                return false;
        __sync_fetch_and_add(&spilled, 1);
        return true;
}

/* An older entry of the same address in the spill is a missed free, as one in the set is. */
static __noinline void drop_spilled(u64 key) {
        u64 *older = bpf_map_lookup_elem(&spill, &key);

        if (!older)
                return;
        u64 value = *older;

        if (bpf_map_delete_elem(&spill, &key))
                return;
        __sync_fetch_and_sub(&spilled, 1);
        write_off(value);
}

INLINE void track(u64 key, u64 value) {
        struct mp_set *set = set_of(key);

        if (!set)
                return;
#pragma unroll
        for (int i = 0; i < MP_WAYS; i++) {
                u64 k = LOAD(set->way[i].key);

                if (UNLIKELY(k == key)) {
                        write_off(LOAD(set->way[i].value));
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
                count_untracked(mp_value_slot(value), mp_value_bytes(value));
}

static __noinline u64 untrack_spilled(u64 key) {
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
                STORE(set->way[i].key, 0);
                return value;
        }
        return UNLIKELY(LOAD(spilled)) ? untrack_spilled(key) : 0;
}

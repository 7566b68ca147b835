/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where allocations are counted: sites, the stacks that name some of them, and the counters of both.
 *
 * Invariants: a site's index is its slot; a counter has one writing program (a program never nests in itself on a CPU), or is
 * atomic; what finds no room for its name is counted all the same, on a catch-all.
 */
#pragma once

#include "tag.bpf.h"

/* Sizes of the tables, powers of two minus one; written before loading. */
const volatile u32 site_mask;
const volatile u32 stack_mask;
const volatile u32 group_max; /* groups, any number; the first is MP_LIMBO */

struct mp_range wrappers[MP_WRAPPERS]; /* what user space knows to call the allocator for others */
u32 n_wrappers;
u64 sites_used[MP_SITES / 64];
u64 sites_made; /* ever; user space keeps lists of slots while it stands still */

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(map_flags, BPF_F_MMAPABLE);
        __type(key, u32);
        __type(value, struct mp_site);
        __uint(max_entries, 1);
} sites SEC(".maps");

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(map_flags, BPF_F_MMAPABLE);
        __type(key, u32);
        __type(value, struct mp_stack);
        __uint(max_entries, 1);
} stacks SEC(".maps");

/* [cpu][slot] */
struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(map_flags, BPF_F_MMAPABLE);
        __type(key, u32);
        __type(value, struct mp_counts);
        __uint(max_entries, 1);
} counts SEC(".maps");

/* [slot] */
struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(map_flags, BPF_F_MMAPABLE);
        __type(key, u32);
        __type(value, struct mp_rare);
        __uint(max_entries, 1);
} rare SEC(".maps");

/* [cpu][group] */
struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(map_flags, BPF_F_MMAPABLE);
        __type(key, u32);
        __type(value, struct mp_group_counts);
        __uint(max_entries, 1);
} group_counts SEC(".maps");

/* [group] */
struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(map_flags, BPF_F_MMAPABLE);
        __type(key, u32);
        __type(value, struct mp_group_losses);
        __uint(max_entries, 1);
} group_losses SEC(".maps");

/* [group]; user space's own */
struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(map_flags, BPF_F_MMAPABLE);
        __type(key, u32);
        __type(value, struct mp_note);
        __uint(max_entries, 1);
} notes SEC(".maps");

/* A site's counters on this CPU; NULL for a catch-all, which has the shared ones only. */
INLINE struct mp_counts *counts_of(u32 slot) {
        u32 index = bpf_get_smp_processor_id() * (site_mask + 1) + slot;

        return slot <= site_mask ? bpf_map_lookup_elem(&counts, &index) : NULL;
}

INLINE struct mp_rare *rare_of(u32 slot) {
        return bpf_map_lookup_elem(&rare, &slot);
}

INLINE struct mp_group_counts *group_counts_of(u32 group) {
        u32 index = bpf_get_smp_processor_id() * group_max + group;

        return bpf_map_lookup_elem(&group_counts, &index);
}

APART int lose_own(u32 group, enum mp_group_loss cause) {
        struct mp_group_losses *l = bpf_map_lookup_elem(&group_losses, &group);

        if (l && cause < _MP_GROUP_LOSSES)
                __sync_fetch_and_add(&l->lost[cause], 1);
        return 0;
}

INLINE u32 catch_all(u32 group, u32 source, bool charged) {
        return site_mask + 1 + mp_catch_all(group, source, charged);
}

/* The tag of a slot's site; of a catch-all, one with as much as its place tells. */
INLINE u64 tag_of(u32 slot) {
        struct mp_site *site = bpf_map_lookup_elem(&sites, &slot);
        u32 place = slot - site_mask - 1;

        return site ? LOAD(site->tag) : mp_tag(place / MP_CATCH_ALLS, place % MP_CATCH_ALLS / 2, place & 1, 0);
}

APART int count_rare_allocation(u32 slot, u64 bytes, u64 calls) {
        struct mp_rare *r = rare_of(slot);

        if (!r)
                return 0;
        __sync_fetch_and_add(&r->allocated_bytes, bytes);
        __sync_fetch_and_add(&r->allocated_calls, calls);
        return 0;
}

APART int count_rare_free(u32 slot, u64 bytes, u64 calls) {
        struct mp_rare *r = rare_of(slot);

        if (!r)
                return 0;
        __sync_fetch_and_add(&r->freed_bytes, bytes);
        __sync_fetch_and_add(&r->freed_calls, calls);
        return 0;
}

/* Asked once a site. A return address may be the first one behind its function. */
APART u64 depth_of(u64 id, u64 tag) {
        if (mp_tag_has_alloc_tag(tag) || (mp_tag_source(tag) != MP_KMALLOC && mp_tag_source(tag) != MP_CACHE))
                return 0;
        for (u32 i = 0; i < MP_WRAPPERS && i < n_wrappers; i++)
                if (id > wrappers[i].start && id <= wrappers[i].end)
                        return MP_DEEP;
        return 0;
}

/* Makes a site, or finds it away from its first place; the catch-all when there is no room near it. */
APART u32 slot_made(u64 id, u64 tag, u64 gfp) {
        u64 at = mix(id + (tag << 40) + (tag >> 8));

        for (u32 i = 0; i < MP_PROBES; i++) {
                u32 index = (at + i) & site_mask;
                struct mp_site *site = bpf_map_lookup_elem(&sites, &index);
                u64 found;

                if (!site)
                        break;
                found = LOAD(site->tag);
                if (found == tag && LOAD(site->id) == id) {
                        if (gfp & ~LOAD(site->gfp))
                                __sync_fetch_and_or(&site->gfp, gfp);
                        return index | LOAD(site->deep);
                }
                /* Two CPUs may make the same site in two slots; user space adds them up. */
                if (!found && __sync_val_compare_and_swap(&site->tag, 0, MP_BUSY) == 0) {
                        STORE(site->id, id);
                        STORE(site->gfp, gfp);
                        STORE(site->deep, depth_of(id, tag));
                        STORE(site->tag, tag);
                        __sync_fetch_and_or(&sites_used[(index >> 6) & (MP_SITES / 64 - 1)], 1ULL << (index & 63));
                        __sync_fetch_and_add(&sites_made, 1);
                        return index | LOAD(site->deep);
                }
        }
        lose_own(mp_tag_group(tag), MP_LOSS_SITES_FULL);
        return catch_all(mp_tag_group(tag), mp_tag_source(tag), mp_tag_charged(tag));
}

/* With MP_DEEP when the site is a wrapper's. */
INLINE u32 slot_of(u64 id, u64 tag, u32 gfp) {
        u32 index = mix(id + (tag << 40) + (tag >> 8)) & site_mask;
        struct mp_site *site = bpf_map_lookup_elem(&sites, &index);

        if (LIKELY(site && LOAD(site->tag) == tag && LOAD(site->id) == id && !(gfp & ~LOAD(site->gfp))))
                return index | LOAD(site->deep);
        return slot_made(id, tag, gfp);
}

/* Returns how many allocations this CPU has counted there before: a cheap number that changes. */
INLINE u64 count_allocation(u32 slot, u64 bytes, u64 calls) {
        struct mp_counts *c = counts_of(slot);
        u64 before;

        if (UNLIKELY(!c)) {
                count_rare_allocation(slot, bytes, calls);
                return 1;
        }
        before = c->allocated_calls;
        c->allocated_bytes += bytes;
        c->allocated_calls = before + calls;
        return before;
}

INLINE u64 hash_frames(const u64 *frames, u32 n) {
        u64 hash = n;

        for (u32 i = 0; i < MP_FRAMES; i++)
                if (i < n)
                        hash = (hash + frames[i]) * 0x9e3779b97f4a7c15ULL, hash ^= hash >> 32;
        return hash ? hash : 1;
}

INLINE bool same_frames(const struct mp_stack *stack, const u64 *frames, u32 n) {
        u64 differ = stack->n ^ n;

        for (u32 i = 0; i < MP_FRAMES; i++)
                if (i < n)
                        differ |= stack->frames[i] ^ frames[i];
        return !differ;
}

/* Frames that are always there and say nothing: this function, its program, bpf_trace_runN. */
#define OWN_FRAMES 3

/* 1 + the stack's index in the table, or 0: booked on the catch-all, and counted. */
static __noinline u64 stack_id(void *ctx, u32 group) {
        u64 frames[MP_FRAMES] = {};
        long bytes = bpf_get_stack(ctx, frames, sizeof(frames), OWN_FRAMES);
        u32 n = (u64)bytes / sizeof(u64);
        u64 hash;

        if (bytes <= 0) {
                lose_own(group, MP_LOSS_STACK_ERRORS);
                return 0;
        }
        hash = hash_frames(frames, n);
        for (u32 i = 0; i < MP_PROBES; i++) {
                u32 index = (hash + i) & stack_mask;
                struct mp_stack *stack = bpf_map_lookup_elem(&stacks, &index);
                u64 found;

                if (!stack)
                        return 0;
                found = LOAD(stack->hash);
                if (found == hash) {
                        if (LIKELY(same_frames(stack, frames, n)))
                                return 1 + index;
                        lose_own(group, MP_LOSS_STACK_MIXED);
                        return 0;
                }
                if (!found && __sync_val_compare_and_swap(&stack->hash, 0, MP_BUSY) == 0) {
                        stack->n = n;
                        __builtin_memcpy(stack->frames, frames, sizeof(frames));
                        asm volatile("" ::: "memory");
                        STORE(stack->hash, hash);
                        return 1 + index;
                }
        }
        lose_own(group, MP_LOSS_STACKS_FULL);
        return 0;
}

/* The slot of this stack; a catch-all when stacks cannot be kept. */
INLINE u32 slot_of_stack(void *ctx, u64 tag, u32 gfp) {
        u64 id = stack_id(ctx, mp_tag_group(tag));

        return id ? slot_of(id, tag, gfp) : catch_all(mp_tag_group(tag), mp_tag_source(tag), mp_tag_charged(tag));
}

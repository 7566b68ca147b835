/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Late charges: a socket that a softirq makes for a connection belongs to nobody until accept() charges it (kmem_cache_charge,
 * which has no tracepoint; before 6.12 mem_cgroup_sk_alloc, 6.1 leaves it uncharged). Such objects wait in limbo: in the object
 * table, in the group MP_LIMBO. When they are freed, or by a sweep, the object itself says whose they became.
 */
#pragma once

#include "object.bpf.h"
#include "owner.bpf.h"

INLINE void to_limbo(struct task_struct *task, u64 site, u64 key, u64 bytes, u32 gfp) {
        u64 id = site, tag = mp_tag(MP_LIMBO, MP_CACHE, 0, 0);
        u32 slot;

        if (follows_tags())
                name_by_tag(task, &id, &tag);
        slot = slot_of(id, tag, gfp) & ~MP_DEEP;
        if (slot > site_mask)
                lose(MP_LOSS_LIMBO_FULL); /* limbo is nobody's, and so is what it loses */
        else
                track(key, mp_value(bytes, slot, MP_LATE));
}

/* The slot for what is billed to a group after it was made at `site`. */
INLINE u32 billed_slot(const struct mp_site *site, u32 group) {
        u64 tag = mp_tag(group, MP_CACHE, 1, 0) | (site->tag & MP_ALLOC_TAG);

        return slot_of(site->id, tag, site->gfp) & ~MP_DEEP;
}

/* The slot in its owner's group for an object in limbo; MP_BUSY when it is nobody's still. */
APART u64 late_slot(u64 object, u64 value) {
        u32 slot = mp_value_slot(value), group;
        struct mp_site *site = bpf_map_lookup_elem(&sites, &slot);
        struct owner owner;

        if (!site)
                return MP_BUSY;
        read_owner(object, &owner);
        if (!owner.memcg || owner.size != mp_value_bytes(value))
                return MP_BUSY;
        group = group_of_memcg(owner.memcg);
        return group ? billed_slot(site, group) : MP_BUSY;
}

/* It goes: if it had become somebody's, its life is counted there now. */
APART int free_late(u64 object, u64 value) {
        u64 slot = objects_checked ? late_slot(object, value) : MP_BUSY, bytes = mp_value_bytes(value) + OBJCG_BYTES;

        if (slot == MP_BUSY)
                return 0;
        count_rare_allocation((u32)slot, bytes, 1);
        return count_rare_free((u32)slot, bytes, 1);
}

/*
 * Moves an object that became somebody's out of limbo. Returns 1 when it did. Who frees it meanwhile takes its value out in one
 * step (untrack()), so that exactly one of the two finds it in limbo.
 */
static __noinline int charge_late(struct mp_object *o, u64 key, u64 value) {
        u64 slot = late_slot(key, value), bytes = mp_value_bytes(value) + OBJCG_BYTES, booked;

        if (slot == MP_BUSY)
                return 0;
        booked = mp_value(bytes, slot, 0);
        count_rare_allocation((u32)slot, bytes, 1);
        if (__sync_val_compare_and_swap(&o->value, value, booked) == value) {
                if (LIKELY(LOAD(o->key) == key))
                        return 1;
                /* gone, and the next one here has the same value: back with it, unless it was freed as booked already */
                if (__sync_val_compare_and_swap(&o->value, booked, value) != booked)
                        return 0;
        }
        count_rare_allocation((u32)slot, -bytes, -1ULL);
        return 0;
}

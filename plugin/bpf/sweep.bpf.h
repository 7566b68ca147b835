/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The sweep: looks at tracked objects themselves and books as written off what is no longer allocated. For frees that no
 * program sees: bulk frees, kfree_rcu, sheaves, and whatever a kernel keeps from us.
 *
 * Invariants: an entry goes only while it is still the one that was looked at (key and generation); what cannot be checked
 * (uncharged objects in slabs that live, percpu, user pages) stays.
 */
#pragma once

#include "late.bpf.h"

/* May this memcg be the one that `group` was charged to? After rmdir its objects are an ancestor's. */
INLINE bool may_own(u64 memcg, u32 group) {
        struct mp_group *g = group_of(group);
        u32 id;

        if (group_of_memcg(memcg))
                return true; /* somebody's who is measured: a stranger's allocation there would have been seen */
        if (!g || !(LOAD(g->flags) & MP_GROUP_ENDED))
                return false;
        id = (u32)PEEK(memcg + OFFSET(struct mem_cgroup, css) + OFFSET(struct cgroup_subsys_state, id));
        for (u32 i = 0; i < 8; i++)
                if (id && g->ancestors[i] == id)
                        return true;
        return false;
}

/* An uncharged object says nothing of itself; but where there is no slab, or one of another size, it is gone. */
INLINE bool uncharged_gone(u64 object, u64 bytes) {
        u64 cache = cache_at(object);

        return !cache || cache_size(cache) != bytes;
}

INLINE bool slab_gone(u64 object, u64 value, u64 tag) {
        struct owner owner;

        if (!mp_tag_charged(tag))
                return uncharged_gone(object, mp_value_bytes(value));
        read_owner(object, &owner);
        return !owner.memcg || owner.size + OBJCG_BYTES != mp_value_bytes(value) || !may_own(owner.memcg, mp_tag_group(tag));
}

INLINE bool page_gone(u64 page, u64 tag) {
        u64 data;

        if (!mp_tag_charged(tag) || mp_tag_source(tag) != MP_PAGES)
                return false;
        data = PEEK(page + OFFSET(struct page, memcg_data));
        return (data & MEMCG_DATA_FLAGS) != MEMCG_DATA_KMEM ||
               !may_own(PEEK((data & ~MEMCG_DATA_FLAGS) + OFFSET(struct obj_cgroup, memcg)), mp_tag_group(tag));
}

INLINE bool object_gone(u64 key, u64 value) {
        u64 tag = tag_of(mp_value_slot(value));

        if ((key & 3) == MP_KIND_SLAB && mp_value_slot(value) <= site_mask && mp_tag_group(tag) != MP_LIMBO)
                return slab_gone(key, value, tag);
        return is_page(key) && page_gone(key & ~3ULL, tag);
}

/* The pieces of a page are one. */
static __noinline int write_off_swept(u64 key, u64 value) {
        struct mp_rare *r = rare_of(mp_value_slot(value));

        if (r && !(is_page(key) && mp_value_extra(value) & MP_PART))
                __sync_fetch_and_add(&r->swept_calls, 1);
        return write_off(key, value);
}

static __noinline int sweep_object(struct mp_object *o, struct mp_sweep *s) {
        u64 key = LOAD(o->key), value = LOAD(o->value);

        if (!key || key == MP_BUSY)
                return 0;
        s->checked++;
        if ((key & 3) == MP_KIND_SLAB && mp_value_extra(value) & MP_LATE) {
                s->late += charge_late(o, key, value);
                return 0;
        }
        if (!object_gone(key, value) || LOAD(o->value) != value || __sync_val_compare_and_swap(&o->key, key, 0) != key)
                return 0;
        s->dropped++;
        return write_off_swept(key, value);
}

/* Written by user space for each run. */
struct mp_object spill_batch[MP_SPILL_BATCH];

/* One object of the spill. Returns 1 when it was gone. */
static __noinline int drop_if_gone(u64 key, u64 value) {
        u64 found = object_gone(key, value) ? untrack_spilled(key) : 0;

        if (found && found != value) /* another one by now */
                track_apart(key, found);
        if (found != value)
                return 0;
        write_off_swept(key, value);
        return 1;
}

static long sweep_spilled(u32 i, struct mp_sweep *s) {
        const struct mp_object *o = &spill_batch[i & (MP_SPILL_BATCH - 1)];

        s->checked++;
        s->dropped += drop_if_gone(o->key, o->value);
        return 0;
}

static long sweep_set(u32 i, struct mp_sweep *s) {
        u32 index = s->first + i;
        struct mp_set *set = bpf_map_lookup_elem(&objects, &index);

        if (!set)
                return 1;
        for (u32 way = 0; way < MP_WAYS; way++)
                sweep_object(&set->way[way], s);
        return 0;
}

SEC("syscall") int sweep(struct mp_sweep *s) {
        struct mp_sweep work = *s;

        bpf_loop(work.sets, sweep_set, &work, 0);
        bpf_loop(work.n_spilled, sweep_spilled, &work, 0);
        s->checked = work.checked;
        s->dropped = work.dropped;
        s->late = work.late;
        return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See tracker-tables.h: what ended groups leave, and how one group becomes part of another. */
#include "tracker-tables.h"

static struct mp_site *site_at(const struct tables *t, u32 slot) {
        return (struct mp_site *)t->sites.data + slot;
}

static struct mp_rare *rare_at(const struct tables *t, u32 slot) {
        return (struct mp_rare *)t->rare.data + slot;
}

static struct mp_counts *counts_at(const struct tables *t, unsigned cpu, u32 slot) {
        return (struct mp_counts *)t->counts.data + (size_t)cpu * t->n_sites + slot;
}

static struct mp_group_counts *group_counts_at(const struct tables *t, unsigned cpu, unsigned group) {
        return (struct mp_group_counts *)t->group_counts.data + (size_t)cpu * t->n_groups + group;
}

static struct mp_group_losses *group_losses_at(const struct tables *t, unsigned group) {
        return (struct mp_group_losses *)t->group_losses.data + group;
}

static void wipe_group(struct tables *t, unsigned group) {
        for (unsigned cpu = 0; cpu < t->n_cpus; cpu++)
                memset(group_counts_at(t, cpu, group), 0, sizeof(struct mp_group_counts));
        memset(group_losses_at(t, group), 0, sizeof(struct mp_group_losses));
}

/* ---- wiping ---------------------------------------------------------------------------------------------------------------
 */

/* The group that an object is booked in; of one in limbo that is MP_LIMBO. */
static unsigned group_of_object(const struct tables *t, u64 value) {
        return tables_group_of_slot(t, mp_value_slot(value));
}

/* Programs only take objects out or put others in meanwhile; an object that is gone already is somebody else's. */
static void wipe_objects(struct tables *t, const bool *dirty) {
        struct mp_set *sets = t->objects.data;

        for (size_t i = 0; i < t->n_sets; i++)
                for (size_t way = 0; way < MP_WAYS; way++) {
                        struct mp_object *o = &sets[i].way[way];
                        u64 key = __atomic_load_n(&o->key, __ATOMIC_ACQUIRE);

                        if (key && key != MP_BUSY && dirty[group_of_object(t, o->value)])
                                __atomic_compare_exchange_n(&o->key, &key, 0, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
                }
}

static void wipe_slot(struct tables *t, u32 slot) {
        for (unsigned cpu = 0; cpu < t->n_cpus && slot < t->n_sites; cpu++)
                memset(counts_at(t, cpu, slot), 0, sizeof(struct mp_counts));
        memset(rare_at(t, slot), 0, sizeof(struct mp_rare));
        if (slot >= t->n_sites)
                return;
        /* the bit first: whoever takes the free place sets it again */
        __atomic_and_fetch(&t->sites_used[slot / 64], ~(UINT64_C(1) << slot % 64), __ATOMIC_SEQ_CST);
        __atomic_store_n(&site_at(t, slot)->tag, 0, __ATOMIC_RELEASE);
}

/* The tag decides, and not tables_group_of_slot(): limbo has slots too. */
static void wipe_slots(struct tables *t, const bool *dirty) {
        for (u32 slot = 0; slot < t->n_slots; slot++) {
                u64 tag = slot < t->n_sites ? site_at(t, slot)->tag : 1;

                if (tag && tag != MP_BUSY && dirty[tables_group_of_slot(t, slot)])
                        wipe_slot(t, slot);
        }
        t->listed_at = 0;
}

/*
 * A site that goes may leave a gap before another of the same hash: that one is then made a second time, and added up when
 * read.
 */
void tables_wipe(struct tables *t, const bool *dirty, void (*grace)(void)) {
        wipe_objects(t, dirty);
        grace(); /* whoever has just taken an object out books its free before its slot is somebody else's */
        wipe_slots(t, dirty);
        for (unsigned group = 0; group < t->n_groups; group++)
                if (dirty[group])
                        wipe_group(t, group);
}

/* ---- stacks ---------------------------------------------------------------------------------------------------------------
 */

static struct mp_stack *stack_at(const struct tables *t, size_t i) {
        return (struct mp_stack *)t->stacks.data + i;
}

/* Which stacks are named by a site. NULL on ENOMEM. */
static bool *named_stacks(const struct tables *t) {
        bool *named = calloc(t->n_stacks, sizeof(bool));

        for (u32 slot = 0; named && slot < t->n_sites; slot++) {
                u64 tag = __atomic_load_n(&site_at(t, slot)->tag, __ATOMIC_ACQUIRE), id = site_at(t, slot)->id;
                u32 source = mp_tag_source(tag);

                if (tag && tag != MP_BUSY && !mp_tag_has_alloc_tag(tag) &&
                        (source == MP_PAGES || source == MP_USER || source == MP_BULK) && id && id <= t->n_stacks)
                        named[id - 1] = true;
        }
        return named;
}

static size_t stacks_used(const struct tables *t) {
        size_t n = 0;

        for (size_t i = 0; i < t->n_stacks; i++)
                n += stack_at(t, i)->hash != 0;
        return n;
}

/*
 * A program may have found a stack and be about to make a site of it: so the hash is taken away first, which lets nobody find
 * it again; after a grace period whoever had it has made the site, and then it gets its hash back.
 */
void tables_retire_stacks(struct tables *t, void (*grace)(void)) {
        _cleanup_free_ bool *before = NULL, *after = NULL;
        _cleanup_free_ u64 *hashes = NULL;

        if (stacks_used(t) <= t->n_stacks / 2)
                return;
        before = named_stacks(t);
        hashes = calloc(t->n_stacks, sizeof(u64));
        if (!before || !hashes)
                return;
        for (size_t i = 0; i < t->n_stacks; i++) {
                u64 hash = __atomic_load_n(&stack_at(t, i)->hash, __ATOMIC_ACQUIRE);

                if (before[i] || !hash || hash == MP_BUSY)
                        continue;
                hashes[i] = hash;
                __atomic_store_n(&stack_at(t, i)->hash, MP_BUSY, __ATOMIC_RELEASE);
        }
        grace();
        after = named_stacks(t);
        for (size_t i = 0; i < t->n_stacks; i++)
                if (hashes[i])
                        __atomic_store_n(&stack_at(t, i)->hash, after && !after[i] ? 0 : hashes[i], __ATOMIC_RELEASE);
}

/* ---- folding --------------------------------------------------------------------------------------------------------------
 */

/* As the programs do it (site.bpf.h, slot_made()). n_slots: no room. */
static u32 make_slot(struct tables *t, const struct mp_site *like, u64 tag) {
        u64 id = like->id, gfp = like->gfp;
        u64 at = ((id + (tag << 40) + (tag >> 8)) * 0x9e3779b97f4a7c15ULL) >> 32;

        for (u32 i = 0; i < MP_PROBES; i++) {
                u32 slot = (u32)(at + i) & (t->n_sites - 1);
                struct mp_site *site = site_at(t, slot);
                u64 found = __atomic_load_n(&site->tag, __ATOMIC_ACQUIRE);

                if (found == tag && site->id == id) {
                        __atomic_or_fetch(&site->gfp, gfp, __ATOMIC_RELAXED);
                        return slot;
                }
                if (found ||
                        !__atomic_compare_exchange_n(&site->tag, &found, MP_BUSY, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
                        continue;
                site->id = id;
                site->gfp = gfp;
                site->deep = like->deep;
                __atomic_store_n(&site->tag, tag, __ATOMIC_RELEASE);
                __atomic_or_fetch(&t->sites_used[slot / 64], UINT64_C(1) << slot % 64, __ATOMIC_SEQ_CST);
                __atomic_add_fetch(t->sites_made, 1, __ATOMIC_SEQ_CST);
                return slot;
        }
        return t->n_slots;
}

static u64 retag(u64 tag, unsigned group) {
        return (tag & UINT32_MAX) | (u64)group << 32;
}

int tables_fold_prepare(struct tables *t, unsigned from, unsigned to, u32 **ret_map) {
        _cleanup_free_ u32 *map = calloc(t->n_slots, sizeof(u32));

        if (!map)
                return -ENOMEM;
        for (u32 slot = 0; slot < t->n_sites; slot++) {
                const struct mp_site *site = site_at(t, slot);

                if (tables_group_of_slot(t, slot) != from)
                        continue;
                map[slot] = make_slot(t, site, retag(site->tag, to));
                if (map[slot] == t->n_slots)
                        return -ENOSPC;
        }
        for (unsigned place = 0; place < MP_CATCH_ALLS; place++)
                map[t->n_sites + from * MP_CATCH_ALLS + place] = t->n_sites + to * MP_CATCH_ALLS + place;
        *ret_map = TAKE(map);
        return 0;
}

u64 tables_fold_value(const struct tables *t, const u32 *map, unsigned from, u64 value) {
        u32 slot = mp_value_slot(value);

        if (slot >= t->n_slots || group_of_object(t, value) != from)
                return value;
        return (value & ~(0xffffffULL << 32)) | (u64)map[slot] << 32;
}

void tables_fold_objects(struct tables *t, const u32 *map, unsigned from) {
        struct mp_set *sets = t->objects.data;

        for (size_t i = 0; i < t->n_sets; i++)
                for (size_t way = 0; way < MP_WAYS; way++) {
                        struct mp_object *o = &sets[i].way[way];
                        u64 key = __atomic_load_n(&o->key, __ATOMIC_ACQUIRE), value, moved;

                        if (!key || key == MP_BUSY)
                                continue;
                        value = __atomic_load_n(&o->value, __ATOMIC_RELAXED);
                        moved = tables_fold_value(t, map, from, value);
                        if (moved != value)
                                __atomic_compare_exchange_n(
                                        &o->value, &value, moved, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
                }
}

void tables_wipe_group(struct tables *t, unsigned group) {
        for (u32 slot = 0; slot < t->n_slots; slot++)
                if (tables_group_of_slot(t, slot) == group)
                        wipe_slot(t, slot);
        wipe_group(t, group);
        t->listed_at = 0;
}

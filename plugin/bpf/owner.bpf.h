/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who pays for an object, read off the object itself: page, slab, vector of owners, obj_cgroup, memcg.
 *
 * Invariants: nothing here is believed before user space has seen it agree with what was inferred at many allocations
 * (objects_checked); the layout differs between kernels and may change with the next one.
 */
#pragma once

#include "site.bpf.h"

/*
 * page - address / 4096 * sizeof(struct page) of the kernel's direct map: one number that stands for vmemmap_base and
 * page_offset_base, which are not to be had. Learned from one large kmalloc, whose page and address are both told.
 */
u64 page_delta;
u32 learn_tid; /* whose */
u64 learned_page;

const volatile bool has_charge_hook; /* kmem_cache_charge() is followed: hole.bpf.h */

bool objects_checked; /* owners may be read: they were verified and never wrong */
bool late_charges;    /* whether objects of interrupts go to limbo: the same, or charges are told by a hook */
u64 charges_verified; /* how often what was inferred was held against the object */

#define STRUCT_PAGE ((u64)bpf_core_type_size(struct page))

INLINE u64 page_of(u64 address) {
        return page_delta + (address >> 12) * STRUCT_PAGE;
}

INLINE u64 compound_word(u64 page) {
        if (bpf_core_field_exists(struct page, compound_head))
                return PEEK(page + OFFSET(struct page, compound_head));
        return PEEK(page + OFFSET(struct page___info, compound_info));
}

/* The page that stands for the whole block that this one is a part of. Masks are negative numbers, small ones. */
INLINE u64 head_of(u64 page) {
        u64 word = compound_word(page);

        if (!(word & 1))
                return page;
        return UNLIKELY((s64)word >= -(s64)(PAGE_BYTES << MP_SAMPLES)) ? page & word : word - 1;
}

/* The address of a static key: whether vectors of 7.3 hold alloc tags too; 0: they do not. */
const volatile u64 tags_in_vectors;

INLINE bool vectors_have_tags(void) {
        return tags_in_vectors && (u32)PEEK(tags_in_vectors); /* atomic_t enabled */
}

INLINE bool has_owners(u64 slab) {
        return !bpf_core_field_exists(struct slab___inside, obj_exts_needs_objcg) ||
               PEEK_BITS(slab, struct slab___inside, obj_exts_needs_objcg);
}

/* Bytes from one object's owner to the next in a slab's vector. */
INLINE u64 stride_of(u64 slab, u32 size) {
        if (bpf_core_field_exists(struct slab___inside, obj_exts_in_object)) {
                if (PEEK_BITS(slab, struct slab___inside, obj_exts_in_object))
                        return size;
                return vectors_have_tags() ? 2 * owner_stride : owner_stride;
        }
        if (bpf_core_field_exists(struct slab___stride, stride))
                return PEEK_BITS(slab, struct slab___stride, stride);
        return owner_stride;
}

INLINE u32 node_of_page(u64 page) {
        return node_shift < 64 ? (u32)(PEEK(page) >> (node_shift & 63)) : 0; /* flags stand first */
}

INLINE bool is_slab(u64 page) {
        if (bpf_core_enum_value_exists(enum pagetype, PGTY_slab))
                return (u32)PEEK(page + OFFSET(struct page, page_type)) >> 24 == bpf_core_enum_value(enum pagetype, PGTY_slab);
        return PEEK(page) >> bpf_core_enum_value(enum pageflags, PG_slab) & 1;
}

INLINE u64 cache_of(u64 slab) {
        return PEEK(slab + OFFSET(struct slab, slab_cache));
}

/* The cache of a slab object, as an address; 0 when it is none, or when pages cannot be found. */
INLINE u64 cache_at(u64 object) {
        u64 page;

        if (!page_delta)
                return 0;
        page = head_of(page_of(object));
        return is_slab(page) ? cache_of(page) : 0;
}

INLINE u32 cache_size(u64 cache) {
        return (u32)PEEK(cache + OFFSET(struct kmem_cache, size));
}

/* What can be read off a slab object. */
struct owner {
        u64 memcg; /* its address; 0: charged to nobody, or free */
        u32 size;  /* of an object of its cache; 0: no slab with owners */
};

static __noinline int read_owner(u64 object, struct owner *ret) {
        u64 page = head_of(page_of(object)), vector, start, objcg;

        ret->memcg = 0;
        ret->size = 0;
        vector = PEEK(page + OFFSET(struct page, memcg_data));
        if (!(vector & MEMCG_DATA_OBJEXTS) || !(vector & ~MEMCG_DATA_FLAGS))
                return 0;
        ret->size = cache_size(cache_of(page));
        start = (page - page_delta) / STRUCT_PAGE << 12;
        if (!ret->size || object < start || object - start > PAGE_BYTES << MP_ORDERS || !has_owners(page))
                return 0;
        objcg = PEEK((vector & ~MEMCG_DATA_FLAGS) + (object - start) / ret->size * stride_of(page, ret->size));
        if (objcg)
                ret->memcg = PEEK(objcg + OFFSET(struct obj_cgroup, memcg));
        return 0;
}

INLINE void judge_charge(bool right) {
        __sync_fetch_and_add(&charges_verified, 1);
        if (!right) {
                lose(MP_LOSS_CHARGES);
                objects_checked = false;
                late_charges = has_charge_hook;
        } else if (UNLIKELY(!objects_checked) && charges_verified >= MP_VERIFIED_ENOUGH && !losses[MP_LOSS_CHARGES]) {
                objects_checked = late_charges = true;
        }
}

/* Of an object that was allocated this moment: does what was inferred hold? */
APART int verify_charge(u64 object, u32 group, bool charged) {
        struct owner owner;

        if (!page_delta)
                return 0;
        read_owner(object, &owner);
        judge_charge(charged ? owner.memcg && group_of_memcg(owner.memcg) == group : !owner.memcg);
        return 0;
}

/* The same of an object that this task allocated for itself, whoever is measured: the root's objects have no owner. */
static __noinline int verify_own(u64 object, bool charged) {
        struct task_struct *task = bpf_get_current_task_btf();
        struct cgroup_subsys_state *css = payer(task);
        struct owner owner;

        if (!page_delta || !css->parent)
                return 0;
        read_owner(object, &owner);
        judge_charge(charged ? owner.memcg + OFFSET(struct mem_cgroup, css) == (u64)css : !owner.memcg);
        return 0;
}

INLINE void count_unmatched(u32 group, u64 bytes) {
        struct mp_group_counts *g = group_counts_of(group);

        if (g)
                __sync_fetch_and_add(&g->unmatched_bytes, bytes);
}

INLINE void count_irq(u32 group, u64 bytes) {
        struct mp_group_counts *g = group_counts_of(group);

        if (g)
                __sync_fetch_and_add(&g->irq_bytes, bytes);
}

INLINE void count_kthread(u32 group, u64 bytes) {
        struct mp_group_counts *g = group_counts_of(group);

        if (g)
                __sync_fetch_and_add(&g->kthread_bytes, bytes);
}

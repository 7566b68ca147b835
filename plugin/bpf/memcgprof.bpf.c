/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The engine inside the kernel: counts what tasks of chosen memory cgroups allocate, per site, and follows each object until it
 * is freed, by whomever and wherever.
 *
 * Invariants:
 *  - The way out for a task outside all groups is the shortest one: one table load by css id.
 *  - A free is booked where its allocation was booked: the object table decides, never `current`.
 *  - The object table never evicts. What it cannot take goes to the spill, then to untracked_bytes of its site.
 *  - A counter has one writing program (a program never nests in itself on a CPU), or is atomic.
 *  - Nothing here allocates: all tables are preallocated.
 */
#include "object.bpf.h"

char LICENSE[] SEC("license") = "GPL";

const volatile bool count_only; /* no object table: live is unknown */
const volatile struct mp_sample sample[MP_SAMPLES];

u64 caught; /* frees in interrupts that only the second program saw */

/* How many calls an object stands for: one, or for a sampled page what its order stands for, in 1/256. */
INLINE u64 mp_value_calls(u64 value) {
        u32 extra = mp_value_extra(value);

        return extra ? sample[(extra - 1) & (MP_SAMPLES - 1)].calls : 1;
}

/* ---- frees: two programs a hook ------------------------------------------------------------------------------------------ */

/*
 * A softirq that lands on a running program would have every free of its RCU batch skipped by that program (1.2 % of all events
 * in a socket loop on 6.18). So each free hook has two programs. The first serves everything. The second serves interrupts
 * only: when the first is the one that was interrupted, the second still runs; else it finds the object gone already. What
 * neither saw is known exactly: the first one's misses, as the kernel counts them, less what the second one saw in its place.
 *
 * (Switching interrupts off by bpf_local_irq_save() costs as much and leaves a program's entry and exit open: of 60000 frees at
 * the release of 10000 sockets 7022 were still lost.)
 */
INLINE void mark_served(enum mp_free_hook hook, u64 key) {
        struct mp_cpu *cpu = this_cpu();

        if (cpu)
                STORE(cpu->served[hook], key);
}

/* The second program. Its counters are atomic, because it may be interrupted by itself on another hook. */
INLINE int freed_in_interrupt(void *ctx, enum mp_free_hook hook, u64 key, bool raw) {
        struct mp_rare *r;
        struct mp_cpu *cpu;
        u64 value;
        u32 slot;

        cpu = this_cpu();
        if (LIKELY(cpu && LOAD(cpu->served[hook]) == key))
                return 0;
        /* Nothing that runs as a task interrupted the first program: only the mark is another one's by now. */
        if (in_task(ctx, bpf_get_current_task_btf(), raw))
                return 0;
        __sync_fetch_and_add(&caught, 1);
        value = untrack(key);
        if (!value)
                return 0;
        slot = mp_value_slot(value);
        r = bpf_map_lookup_elem(&rare, &slot);
        if (!r)
                return 0;
        __sync_fetch_and_add(&r->freed_bytes, mp_value_bytes(value));
        __sync_fetch_and_add(&r->freed_calls, mp_value_calls(value));
        return 0;
}

/* ---- slab ---------------------------------------------------------------------------------------------------------------- */

INLINE void allocated(void *ctx, u64 site, u64 key, u64 bytes, u32 source, bool charged, bool raw) {
        struct task_struct *task = bpf_get_current_task_btf();
        u32 group1 = member(task), slot;

        if (LIKELY(!group1))
                return;
        if (UNLIKELY(!in_task(ctx, task, raw))) {
                struct mp_group_counts *g = group_counts_of(group1 - 1);

                if (g)
                        g->irq_bytes[source] += bytes;
                return;
        }
        if (charged)
                bytes += source == MP_PERCPU ? 0 : OBJCG_BYTES;
        slot = slot_of(site, group1 - 1, source, charged);
        count_allocation(slot, bytes, 1);
        if (!count_only)
                track(key, mp_value(bytes, slot, 0));
}

INLINE int on_kmalloc(u64 *ctx, bool raw) {
        u64 ptr = ctx[1], bytes = ctx[3];

        /* What is larger than the caches is counted as pages, by its page event; here it would come twice more. */
        if (ptr <= 16 || bytes > KMALLOC_MAX_CACHE)
                return 0;
        allocated(ctx, ctx[0], ptr, bytes, MP_KMALLOC, (u32)ctx[4] & gfp_account, raw);
        return 0;
}

INLINE int on_cache_alloc(u64 *ctx, bool raw) {
        struct kmem_cache *s = (void *)ctx[2];
        u64 ptr = ctx[1];

        if (ptr <= 16)
                return 0;
        allocated(ctx, ctx[0], ptr, FIELD(raw, s, size), MP_CACHE,
                ((u32)ctx[3] & gfp_account) || (FIELD(raw, s, flags) & slab_account), raw);
        return 0;
}

/* A free in a member's task of accounted memory that was allocated before the baseline. */
INLINE void unmatched_slab(void *ctx, const struct kmem_cache *s, bool raw, bool by_cache_free) {
        struct task_struct *task = bpf_get_current_task_btf();
        struct mp_group_counts *g;
        u32 group1;

        if (!(FIELD(raw, s, flags) & slab_account))
                return;
        group1 = member(task);
        if (!group1 || !in_task(ctx, task, raw))
                return;
        g = group_counts_of(group1 - 1);
        if (!g)
                return;
        if (by_cache_free)
                g->unmatched_cache_bytes += FIELD(raw, s, size) + OBJCG_BYTES;
        else
                g->unmatched_kfree_bytes += FIELD(raw, s, size) + OBJCG_BYTES;
}

INLINE void unmatched_kfree(void *ctx, u64 ptr, bool raw) {
        struct task_struct *task = bpf_get_current_task_btf();
        struct kmem_cache *s;

        if (LIKELY(!member(task)) || !in_task(ctx, task, raw))
                return;
        if (!has_cache_of) {
                lose(MP_LOSS_UNSIZED_FREES);
                return;
        }
        s = bpf_get_kmem_cache(ptr);
        if (s)
                unmatched_slab(ctx, s, false, false);
}

INLINE void freed_by_kfree(void *ctx, u64 ptr, bool raw) {
        u64 value = untrack(ptr | MP_KIND_SLAB);
        struct mp_counts *c;

        if (LIKELY(!value)) {
                unmatched_kfree(ctx, ptr, raw);
                return;
        }
        c = counts_of(mp_value_slot(value));
        if (!c)
                return;
        c->freed_bytes += mp_value_bytes(value);
        c->freed_calls++;
}

INLINE void freed_by_cache(void *ctx, u64 ptr, const struct kmem_cache *s, bool raw) {
        u64 value = untrack(ptr | MP_KIND_SLAB);
        struct mp_counts *c;

        if (LIKELY(!value)) {
                unmatched_slab(ctx, s, raw, true);
                return;
        }
        c = counts_of(mp_value_slot(value));
        if (!c)
                return;
        c->cache_freed_bytes += mp_value_bytes(value);
        c->cache_freed_calls++;
}

INLINE int on_kfree(u64 *ctx, bool raw) {
        u64 ptr = ctx[1];

        mark_served(MP_FREE_KFREE, ptr);
        if (ptr > 16)
                freed_by_kfree(ctx, ptr, raw);
        return 0;
}

INLINE int on_cache_free(u64 *ctx, bool raw) {
        u64 ptr = ctx[1];

        mark_served(MP_FREE_CACHE, ptr);
        if (ptr > 16)
                freed_by_cache(ctx, ptr, (void *)ctx[2], raw);
        return 0;
}

/* ---- pages --------------------------------------------------------------------------------------------------------------- */

/*
 * The key of a page. Verifiers since 6.12 allow no arithmetic on a typed struct page *, but the difference of two pointers is a
 * number, and as good a name; in raw_tp programs the argument is a number already.
 */
u64 page_origin __attribute__((aligned(64)));

#define PAGE_KEY(raw, page) (((raw) ? (u64)(page) : (u64)(page) - (u64)&page_origin) | MP_KIND_PAGE)

INLINE void user_page(void *ctx, u64 key, u32 order, u32 group) {
        const volatile struct mp_sample *odds;
        struct mp_counts *c;
        u32 slot;
        u64 id;

        asm volatile("" : "+r"(order)); /* in range already, but 6.1 forgets that over a spill, and clang drops the mask */
        odds = &sample[order & (MP_SAMPLES - 1)];
        if (LIKELY(bpf_get_prandom_u32() > odds->threshold))
                return;
        id = stack_id(ctx);
        slot = id ? slot_of(id, group, MP_USER, true) : catch_all(mp_tag(group, MP_USER, 1));
        c = counts_of(slot);
        if (!c)
                return;
        c->allocated_bytes += odds->weight;
        c->allocated_calls += odds->calls;
        c->allocated_squares += odds->square;
        if (!count_only)
                track(key, mp_value(odds->weight, slot, order + 1));
}

INLINE void page_allocated(void *ctx, u64 key, u32 order, u32 gfp, bool raw) {
        struct task_struct *task = bpf_get_current_task_btf();
        u32 group1 = member(task), slot;
        bool charged = gfp & gfp_account;
        struct mp_group_counts *g;
        u64 id;

        if (LIKELY(!group1) || order >= MP_ORDERS)
                return;
        if (UNLIKELY(!in_task(ctx, task, raw))) {
                g = group_counts_of(group1 - 1);
                if (g)
                        g->irq_bytes[MP_PAGES] += PAGE_BYTES << order;
                return;
        }
        if (!charged && gfp & gfp_hardwall) {
                user_page(ctx, key, order, group1 - 1);
                return;
        }
        id = stack_id(ctx);
        slot = id ? slot_of(id, group1 - 1, MP_PAGES, charged) : catch_all(mp_tag(group1 - 1, MP_PAGES, charged));
        count_allocation(slot, PAGE_BYTES << order, 1);
        if (!count_only)
                track(key, mp_value(PAGE_BYTES << order, slot, 0));
}

/* Kernel memory that a group pays for and that was allocated before the baseline: the page itself names its owner. */
INLINE void unmatched_page(const struct page *page, u32 order, bool raw) {
        u64 data = FIELD(raw, page, memcg_data), serial;
        struct mp_group_counts *g;
        struct mem_cgroup *memcg;
        u64 entry;
        u32 id;

        if (LIKELY((data & MEMCG_DATA_FLAGS) != MEMCG_DATA_KMEM))
                return;
        memcg = BPF_CORE_READ((struct obj_cgroup *)(data & ~MEMCG_DATA_FLAGS), memcg);
        id = BPF_CORE_READ(memcg, css.id);
        serial = BPF_CORE_READ(memcg, css.serial_nr);
        entry = css_table[id & (MP_CSS_IDS - 1)];
        if (entry >> 16 != ((serial & MP_SERIAL_MASK) << 8 | (epoch & 0xff)) || !mp_css_group1(entry))
                return;
        g = group_counts_of(mp_css_group1(entry) - 1);
        if (g)
                g->unmatched_page_bytes += PAGE_BYTES << order;
}

INLINE void page_freed(void *ctx, u64 key, const struct page *page, u32 order, bool raw) {
        struct mp_counts *c;
        u64 value;

        mark_served(MP_FREE_PAGE, key);
        value = untrack(key);
        if (LIKELY(!value)) {
                unmatched_page(page, order, raw);
                return;
        }
        c = counts_of(mp_value_slot(value));
        if (!c)
                return;
        c->freed_bytes += mp_value_bytes(value);
        c->freed_calls += mp_value_calls(value);
        if (mp_value_extra(value))
                c->freed_squares += sample[(mp_value_extra(value) - 1) & (MP_SAMPLES - 1)].square;
}

/* Failed allocations fire with a NULL page; the verifier asks for the check from 6.12.107 on. */
#define ON_PAGE_ALLOC(ctx, raw)                                                                   \
        ({                                                                                        \
                struct page *_page = (void *)ctx[0];                                              \
                if (_page)                                                                        \
                        page_allocated(ctx, PAGE_KEY(raw, _page), (u32)ctx[1], (u32)ctx[2], raw); \
                0;                                                                                \
        })

#define ON_PAGE_FREE(ctx, raw)                                                          \
        ({                                                                              \
                struct page *_page = (void *)ctx[0];                                    \
                if (_page)                                                              \
                        page_freed(ctx, PAGE_KEY(raw, _page), _page, (u32)ctx[1], raw); \
                0;                                                                      \
        })

#define ON_PAGE_FREE_IRQ(ctx, raw)                                                            \
        ({                                                                                    \
                struct page *_page = (void *)ctx[0];                                          \
                _page ? freed_in_interrupt(ctx, MP_FREE_PAGE, PAGE_KEY(raw, _page), raw) : 0; \
        })

/* ---- percpu -------------------------------------------------------------------------------------------------------------- */

INLINE int on_percpu_alloc(u64 *ctx, bool raw) {
        u64 ptr = ctx[7], bytes = ctx[8]; /* bytes_alloc: what the memcg is billed, for all possible CPUs */

        if (!ptr)
                return 0;
        allocated(ctx, ctx[0], ptr | MP_KIND_PERCPU, bytes, MP_PERCPU, (u32)ctx[9] & gfp_account, raw);
        return 0;
}

INLINE void percpu_freed(u64 ptr) {
        u64 value = untrack(ptr | MP_KIND_PERCPU);
        struct mp_counts *c;

        if (!value)
                return;
        c = counts_of(mp_value_slot(value));
        if (!c)
                return;
        c->freed_bytes += mp_value_bytes(value);
        c->freed_calls++;
}

INLINE int on_percpu_free(u64 *ctx, bool raw) {
        (void)raw;
        mark_served(MP_FREE_PERCPU, ctx[2] | MP_KIND_PERCPU);
        percpu_freed(ctx[2]);
        return 0;
}

/* ---- programs: tp_btf and raw_tp of each; user space loads one of the two -------------------------------------------------
 */

#define PROGRAM(name, tracepoint, body_typed, body_raw)       \
        SEC("tp_btf/" #tracepoint) int btf_##name(u64 *ctx) { \
                return body_typed;                            \
        }                                                     \
        SEC("raw_tp/" #tracepoint) int raw_##name(u64 *ctx) { \
                return body_raw;                              \
        }

PROGRAM(softirq_exit, softirq_exit, mark_softirq(0), mark_softirq(0))
PROGRAM(softirq_entry, softirq_entry, mark_softirq(1), mark_softirq(1))

#define BOTH(name, tracepoint, call) PROGRAM(name, tracepoint, call(ctx, false), call(ctx, true))

BOTH(kmalloc, kmalloc, on_kmalloc)
BOTH(kmem_cache_alloc, kmem_cache_alloc, on_cache_alloc)
BOTH(mm_page_alloc, mm_page_alloc, ON_PAGE_ALLOC)
BOTH(percpu_alloc_percpu, percpu_alloc_percpu, on_percpu_alloc)

BOTH(kfree, kfree, on_kfree)
BOTH(kmem_cache_free, kmem_cache_free, on_cache_free)
BOTH(mm_page_free, mm_page_free, ON_PAGE_FREE)
BOTH(percpu_free_percpu, percpu_free_percpu, on_percpu_free)

#define IRQ_KFREE(ctx, raw) freed_in_interrupt(ctx, MP_FREE_KFREE, (ctx)[1], raw)
#define IRQ_CACHE(ctx, raw) freed_in_interrupt(ctx, MP_FREE_CACHE, (ctx)[1], raw)
#define IRQ_PERCPU(ctx, raw) freed_in_interrupt(ctx, MP_FREE_PERCPU, (ctx)[2] | MP_KIND_PERCPU, raw)

BOTH(kfree_irq, kfree, IRQ_KFREE)
BOTH(kmem_cache_free_irq, kmem_cache_free, IRQ_CACHE)
BOTH(mm_page_free_irq, mm_page_free, ON_PAGE_FREE_IRQ)
BOTH(percpu_free_percpu_irq, percpu_free_percpu, IRQ_PERCPU)

/* ---- a cgroup's memory css, by an iterator over one cgroup: user space sees neither css ids nor serial numbers -------------
 */

SEC("iter/cgroup") int identify(struct bpf_iter__cgroup *ctx) {
        struct cgroup *cgroup = ctx->cgroup;
        struct cgroup_subsys_state *css;
        struct mp_css answer = {};

        if (!cgroup)
                return 0;
        css = cgroup->subsys[bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id)];
        if (css) {
                answer.serial_nr = css->serial_nr;
                answer.id = css->id;
                answer.found = 1;
        }
        bpf_seq_write(ctx->meta->seq, &answer, sizeof(answer));
        return 0;
}

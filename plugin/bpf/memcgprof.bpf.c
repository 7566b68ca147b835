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
#include "kernel.bpf.h"

#include "shared.h"

char LICENSE[] SEC("license") = "GPL";

#define INLINE static __always_inline
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

/* One access, in program order with the others: interrupts and other CPUs look on. x86-64 keeps the order of loads and of
 * stores. */
#define LOAD(x) (*(volatile typeof(x) *)&(x))
#define STORE(x, v) (*(volatile typeof(x) *)&(x) = (v))

/* Sizes of the tables, powers of two minus one; written before loading. */
const volatile u32 set_mask;
const volatile u32 site_mask;
const volatile u32 stack_mask;
const volatile bool count_only; /* no object table: live is unknown */
const volatile struct mp_sample sample[MP_SAMPLES];

u64 css_table[MP_CSS_IDS];  /* css id -> mp_css_entry: what that css was found to be in this epoch */
u64 root_table[MP_CSS_IDS]; /* css id -> mp_css_entry: the roots of groups; user space writes it: the arm flag */
u32 epoch;                  /* rises when root_table changes, so that older findings in css_table do not count */
u64 losses[_MP_LOSSES];
u64 spilled; /* objects in the spill now */
u64 caught;  /* frees in interrupts that only the second program saw */

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

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(map_flags, BPF_F_MMAPABLE);
        __type(key, u32);
        __type(value, struct mp_cpu);
        __uint(max_entries, 1);
} cpus SEC(".maps");

INLINE struct mp_cpu *this_cpu(void) {
        u32 index = bpf_get_smp_processor_id();

        return bpf_map_lookup_elem(&cpus, &index);
}

INLINE void lose(enum mp_loss cause) {
        __sync_fetch_and_add(&losses[cause], 1);
}

/* Fibonacci hashing: addresses differ in few middle bits; the upper half of the product depends on all of them. */
INLINE u64 mix(u64 x) {
        return (x * 0x9e3779b97f4a7c15ULL) >> 32;
}

/* ---- membership ---------------------------------------------------------------------------------------------------------- */

/* Walks up from a css that is new to this epoch and remembers what it found. Returns group + 1, or 0. */
static __noinline u32 resolve(u64 *state) {
        struct task_struct *task = bpf_get_current_task_btf();
        u32 now = LOAD(epoch), group1 = 0;
        struct cgroup_subsys_state *css, *c;

        css = task->active_memcg ? &task->active_memcg->css
                                 : task->cgroups->subsys[bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id)];
        c = css;
        for (int level = 0; level < 64 && c; level++) { /* deeper nesting than 64 is taken for no member */
                u64 entry = root_table[(u32)c->id & (MP_CSS_IDS - 1)];

                if (entry && entry >> 24 == (c->serial_nr & MP_SERIAL_MASK)) {
                        group1 = mp_css_group1(entry);
                        break;
                }
                c = c->parent;
        }
        if ((u32)css->id < MP_CSS_IDS)
                css_table[(u32)css->id & (MP_CSS_IDS - 1)] = mp_css_entry(css->serial_nr, now, group1);
        else
                lose(MP_LOSS_GROUP_LOOKUPS);
        *state = now;
        return group1;
}

/* The group of the memcg that pays for what this task allocates now (active_memcg first), + 1; 0: none. */
INLINE u32 member(struct task_struct *task) {
        struct cgroup_subsys_state *css;
        u64 entry, unused;

        if (UNLIKELY(task->active_memcg))
                css = &task->active_memcg->css;
        else
                css = task->cgroups->subsys[bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id)];
        entry = css_table[(u32)css->id & (MP_CSS_IDS - 1)];
        if (LIKELY(entry >> 16 == ((css->serial_nr & MP_SERIAL_MASK) << 8 | (epoch & 0xff))))
                return mp_css_group1(entry);
        return resolve(&unused);
}

/*
 * True in task context. The program's context lies on the stack that the kernel runs on. An interrupt out of the kernel has a
 * stack of its own on x86-64; one out of user mode stays on the task's, and so do the softirqs on its way out: those are marked
 * by their tracepoints. (A hard interrupt out of user mode that allocates by itself is taken for the task.) ksoftirqd runs
 * softirqs as a task, and is in no container.
 */
INLINE bool in_task(void *ctx, struct task_struct *task, bool raw) {
        u64 depth = ON_STACK(raw, task, ctx);
        struct mp_cpu *cpu;

        if (depth >= thread_bytes)
                return false;
        cpu = this_cpu();
        return cpu && !LOAD(cpu->in_softirq);
}

INLINE int mark_softirq(u64 running) {
        struct mp_cpu *cpu = this_cpu();

        if (cpu)
                STORE(cpu->in_softirq, running);
        return 0;
}

/* ---- counters ------------------------------------------------------------------------------------------------------------ */

INLINE struct mp_counts *counts_of(u32 slot) {
        u32 index = bpf_get_smp_processor_id() * (site_mask + 1 + MP_CATCH_ALL) + slot;

        return bpf_map_lookup_elem(&counts, &index);
}

/* How many calls an object stands for: one, or for a sampled page what its order stands for, in 1/256. */
INLINE u64 mp_value_calls(u64 value) {
        u32 extra = mp_value_extra(value);

        return extra ? sample[(extra - 1) & (MP_SAMPLES - 1)].calls : 1;
}

INLINE struct mp_group_counts *group_counts_of(u32 group) {
        u32 index = bpf_get_smp_processor_id() * MP_GROUPS + group;

        return bpf_map_lookup_elem(&group_counts, &index);
}

INLINE u32 catch_all(u64 tag) {
        return site_mask + 1 + mp_catch_all(mp_tag_group(tag), mp_tag_source(tag), mp_tag_charged(tag));
}

/* Makes a site, or finds it away from its first place; the catch-all when there is no room near it. */
static __noinline u32 slot_made(u64 id, u64 tag, u64 at) {
        for (u32 i = 0; i < MP_PROBES; i++) {
                u32 index = (at + i) & site_mask;
                struct mp_site *site = bpf_map_lookup_elem(&sites, &index);
                u64 found;

                if (!site)
                        break;
                found = LOAD(site->tag);
                if (found == tag && LOAD(site->id) == id)
                        return index;
                /* Two CPUs may make the same site in two slots; user space adds them up. */
                if (!found && __sync_val_compare_and_swap(&site->tag, 0, MP_BUSY) == 0) {
                        STORE(site->id, id);
                        STORE(site->tag, tag);
                        return index;
                }
        }
        lose(MP_LOSS_SITES_FULL);
        return catch_all(tag);
}

INLINE u32 slot_of(u64 id, u32 group, u32 source, u32 charged) {
        u64 tag = mp_tag(group, source, charged), at = mix(id + (tag << 40));
        u32 index = at & site_mask;
        struct mp_site *site = bpf_map_lookup_elem(&sites, &index);

        if (LIKELY(site && LOAD(site->tag) == tag && LOAD(site->id) == id))
                return index;
        return slot_made(id, tag, at);
}

INLINE void count_allocation(u32 slot, u64 bytes, u64 calls) {
        struct mp_counts *c = counts_of(slot);

        if (!c)
                return;
        c->allocated_bytes += bytes;
        c->allocated_calls += calls;
}

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

/* ---- the object table ---------------------------------------------------------------------------------------------------- */

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

/* ---- stacks -------------------------------------------------------------------------------------------------------------- */

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
static __noinline u64 stack_id(void *ctx) {
        u64 frames[MP_FRAMES] = {};
        long bytes = bpf_get_stack(ctx, frames, sizeof(frames), OWN_FRAMES);
        u32 n = (u64)bytes / sizeof(u64);
        u64 hash;

        if (bytes <= 0) {
                lose(MP_LOSS_STACK_ERRORS);
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
                        lose(MP_LOSS_STACK_MIXED);
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
        lose(MP_LOSS_STACKS_FULL);
        return 0;
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
        struct mp_group_counts *g = group_counts_of(group);
        const volatile struct mp_sample *odds;
        struct mp_counts *c;
        u32 slot;
        u64 id;

        if (g)
                g->user_bytes += PAGE_BYTES << order;
        odds = &sample[order];
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

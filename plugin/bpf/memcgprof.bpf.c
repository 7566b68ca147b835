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
#include "exit.bpf.h"
#include "fold.bpf.h"
#include "hole.bpf.h"
#include "lease.bpf.h"
#include "page.bpf.h"
#include "removal.bpf.h"
#include "sweep.bpf.h"

char LICENSE[] SEC("license") = "GPL";

bool nodes_wanted; /* by any group */
u64 caught;        /* frees in interrupts that only the second program saw */

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

/*
 * What the second program says of an object; its counters are atomic, because it may be interrupted by itself on another hook.
 * In a task only the mark is another one's by now, unless the first program was preempted: then the table knows.
 */
INLINE bool only_second(enum mp_free_hook hook, u64 key) {
        return UNLIKELY(LOAD(this_cpu()->served[hook]) != key);
}

INLINE void catch_one(void *ctx, u64 value, bool raw) {
        if (value || !in_task(ctx, bpf_get_current_task_btf(), raw))
                __sync_fetch_and_add(&caught, 1);
}

INLINE int freed_in_interrupt(void *ctx, enum mp_free_hook hook, u64 key, bool raw) {
        u64 value;

        if (bare || LIKELY(!only_second(hook, key)) || key <= 16) /* of nothing: 0 is the key of an empty way */
                return 0;
        value = untrack(key);
        catch_one(ctx, value, raw);
        if (!value)
                return 0;
        if (UNLIKELY(mp_value_extra(value) & MP_LATE && (key & 3) == MP_KIND_SLAB))
                return free_late(key, value);
        return count_rare_free(mp_value_slot(value), mp_value_bytes(value), 1);
}

INLINE int page_freed_in_interrupt(void *ctx, u64 page, u32 order, bool raw) {
        u64 value;

        if (bare || LIKELY(!only_second(MP_FREE_PAGE, PAGE_KEY(page))))
                return 0;
        value = untrack_page(page, order);
        catch_one(ctx, value, raw);
        if (value)
                book_free(value, true);
        return 0;
}

/* ---- slab ---------------------------------------------------------------------------------------------------------------- */

/* How often what was inferred is held against the object: at a site's first allocation on a CPU, and then at one of so many. */
#define VERIFY_EVERY 256

/* What a task allocated for its group. */
struct allocation {
        u64 site, key, bytes;
        u32 source, gfp;
        bool charged;
};

INLINE void book_barely(u32 group, const struct allocation *a) {
        u32 slot = slot_of(a->site, mp_tag(group, a->source, a->charged, 0), a->gfp);

        count_allocation(slot, a->bytes, 1);
        if (!count_only)
                track(a->key, mp_value(a->bytes, slot, 0));
}

INLINE void book_allocation(void *ctx, struct task_struct *task, u32 group, struct allocation *a) {
        bool on_slab = a->source == MP_KMALLOC || a->source == MP_CACHE, charged = a->charged && is_billed(task, group);
        u64 bytes = a->bytes + (charged && on_slab ? OBJCG_BYTES : 0), id = a->site, before, tag;
        u32 slot;

        if (bare) {
                book_barely(group, a);
                return;
        }
        if (UNLIKELY(!charged && task->flags & PF_KTHREAD)) {
                count_kthread(group, bytes);
                return;
        }
        tag = mp_tag(group, a->source, charged, 0);
        if (follows_tags() && a->source != MP_STACKS) /* the stack of a task was allocated before */
                name_by_tag(task, &id, &tag);
        if (UNLIKELY(LOAD(nodes_wanted)) && on_slab) {
                const struct mp_group *g = group_of(group);

                if (g && page_delta)
                        tag |= node_tag(g, page_of(a->key));
        }
        slot = slot_of(id, tag, a->gfp);
        if (UNLIKELY(slot & MP_DEEP)) /* only tasks come here, so that kmalloc and caches may share the stack's counters */
                slot = slot_of_stack(ctx, (tag & ~(0xffULL << 8)) | MP_BULK << 8, a->gfp);
        before = count_allocation(slot, bytes, 1);
        if (count_only)
                return;
        track(a->key, mp_value(bytes, slot, before & MP_GENERATION));
        if (UNLIKELY(!(before & (VERIFY_EVERY - 1))) && on_slab)
                verify_charge(a->key, group, charged);
}

INLINE void allocated(void *ctx, struct allocation *a, bool raw) {
        struct task_struct *task = bpf_get_current_task_btf();
        u32 group = member(task);

        if (LIKELY(!group))
                return;
        if (LIKELY(in_task(ctx, task, raw)))
                book_allocation(ctx, task, group, a);
        else
                count_irq(group, a->bytes);
}

INLINE int on_kmalloc(u64 *ctx, bool raw) {
        struct allocation a = {.site = ctx[0], .key = ctx[1], .bytes = ctx[3], .source = MP_KMALLOC, .gfp = (u32)ctx[4]};

        /* What is larger than the caches is counted as pages, by its page event; here it would come twice more. */
        if (a.key <= 16 || a.bytes > KMALLOC_MAX_CACHE)
                return 0;
        a.charged = a.gfp & gfp_account;
        allocated(ctx, &a, raw);
        return 0;
}

INLINE int on_cache_alloc(u64 *ctx, bool raw) {
        struct task_struct *task = bpf_get_current_task_btf();
        struct kmem_cache *s = (void *)ctx[2];
        struct allocation a = {.site = ctx[0], .key = ctx[1], .source = MP_CACHE, .gfp = (u32)ctx[3]};
        u32 group = member(task);
        bool account;

        if (a.key <= 16)
                return 0;
        account = FIELD(raw, s, flags) & slab_account;
        a.bytes = FIELD(raw, s, size);
        a.charged = account || (a.gfp & gfp_account);
        if (group && LIKELY(in_task(ctx, task, raw))) {
                book_allocation(ctx, task, group, &a);
                return 0;
        }
        if (group)
                count_irq(group, a.bytes);
        if (bare)
                return 0;
        /* a softirq out of user mode stays on the task's stack and is not told here: that would cost everybody a look-up */
        if (account && UNLIKELY(ON_STACK(raw, task, ctx) >= thread_bytes) && LOAD(late_charges))
                to_limbo(task, a.site, a.key, a.bytes, a.gfp);
        return 0;
}

/* A free of accounted memory that was allocated before the baseline, as far as a member's task does it: inferred. */
INLINE void infer_unmatched(u32 group, const struct kmem_cache *s, bool raw) {
        if (FIELD(raw, s, flags) & slab_account)
                count_unmatched(group, FIELD(raw, s, size) + OBJCG_BYTES);
}

/*
 * A free of something that is not followed. The object says whose it was, where that can be read; a task outside all groups
 * frees no member's memory but by chance (a descriptor passed on), and its way out is the short one.
 */
INLINE bool unmatched_by_owner(void *ctx, u64 object, struct task_struct *task, u32 group, bool raw) {
        struct owner owner;

        if (!LOAD(objects_checked))
                return false;
        if (LIKELY(!group) && in_task(ctx, task, raw))
                return true;
        read_owner(object, &owner);
        if (!owner.memcg)
                return true;
        group = group_of_memcg(owner.memcg);
        if (group)
                count_unmatched(group, owner.size + OBJCG_BYTES);
        return true;
}

INLINE void unmatched_kfree(void *ctx, u64 ptr, bool raw) {
        struct task_struct *task = bpf_get_current_task_btf();
        u32 group = member(task);
        u64 cache;

        if (bare || unmatched_by_owner(ctx, ptr, task, group, raw))
                return;
        if (LIKELY(!group) || !in_task(ctx, task, raw))
                return;
        if (has_cache_of) {
                struct kmem_cache *s = bpf_get_kmem_cache(ptr);

                if (s)
                        infer_unmatched(group, s, false);
                return;
        }
        cache = cache_at(ptr);
        if (!page_delta)
                lose(MP_LOSS_UNSIZED_FREES);
        else if (cache && (u32)PEEK(cache + OFFSET(struct kmem_cache, flags)) & slab_account)
                count_unmatched(group, cache_size(cache) + OBJCG_BYTES);
}

INLINE void unmatched_cache_free(void *ctx, u64 ptr, const struct kmem_cache *s, bool raw) {
        struct task_struct *task = bpf_get_current_task_btf();
        u32 group;

        if (bare || !(FIELD(raw, s, flags) & slab_account))
                return;
        group = member(task);
        if (unmatched_by_owner(ctx, ptr, task, group, raw))
                return;
        if (group && in_task(ctx, task, raw))
                infer_unmatched(group, s, raw);
}

INLINE void freed_by_kfree(void *ctx, u64 ptr, bool raw) {
        u64 value = untrack(ptr | MP_KIND_SLAB);
        struct mp_counts *c;

        if (LIKELY(!value)) {
                unmatched_kfree(ctx, ptr, raw);
                return;
        }
        c = counts_of(mp_value_slot(value));
        if (!c) {
                count_rare_free(mp_value_slot(value), mp_value_bytes(value), 1);
                return;
        }
        c->freed_bytes += mp_value_bytes(value);
        c->freed_calls++;
}

INLINE void freed_by_cache(void *ctx, u64 ptr, const struct kmem_cache *s, bool raw) {
        u64 value = untrack(ptr | MP_KIND_SLAB);
        struct mp_counts *c;

        if (LIKELY(!value)) {
                unmatched_cache_free(ctx, ptr, s, raw);
                return;
        }
        if (UNLIKELY(mp_value_extra(value) & MP_LATE)) {
                free_late(ptr, value);
                return;
        }
        c = counts_of(mp_value_slot(value));
        if (!c) {
                count_rare_free(mp_value_slot(value), mp_value_bytes(value), 1);
                return;
        }
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

/* Failed allocations fire with a NULL page; the verifier asks for the check from 6.12.107 on. */
#define ON_PAGE_ALLOC(ctx, raw)                                                                      \
        ({                                                                                           \
                struct page *_page = (void *)ctx[0];                                                 \
                if (_page)                                                                           \
                        page_allocated(ctx, PAGE_NUMBER(raw, _page), (u32)ctx[1], (u32)ctx[2], raw); \
                0;                                                                                   \
        })

#define ON_PAGE_FREE(ctx, raw)                                                             \
        ({                                                                                 \
                struct page *_page = (void *)ctx[0];                                       \
                if (_page)                                                                 \
                        page_freed(ctx, PAGE_NUMBER(raw, _page), _page, (u32)ctx[1], raw); \
                0;                                                                         \
        })

#define ON_PAGE_FREE_IRQ(ctx, raw)                                                                   \
        ({                                                                                           \
                struct page *_page = (void *)ctx[0];                                                 \
                _page ? page_freed_in_interrupt(ctx, PAGE_NUMBER(raw, _page), (u32)ctx[1], raw) : 0; \
        })

/* ---- percpu -------------------------------------------------------------------------------------------------------------- */

INLINE int on_percpu_alloc(u64 *ctx, bool raw) {
        struct allocation a = {
                .site = ctx[0],
                .key = ctx[7] | MP_KIND_PERCPU,
                .bytes = ctx[8], /* bytes_alloc: what the memcg is billed, for all possible CPUs */
                .source = MP_PERCPU,
                .gfp = (u32)ctx[9],
                .charged = (u32)ctx[9] & gfp_account,
        };

        if (ctx[7])
                allocated(ctx, &a, raw);
        return 0;
}

INLINE void percpu_freed(u64 ptr) {
        u64 value = untrack(ptr | MP_KIND_PERCPU);

        if (value)
                count_rare_free(mp_value_slot(value), mp_value_bytes(value), 1); /* percpu is rare enough for atomics */
}

INLINE int on_percpu_free(u64 *ctx, bool raw) {
        (void)raw;
        mark_served(MP_FREE_PERCPU, ctx[2] | MP_KIND_PERCPU);
        percpu_freed(ctx[2]);
        return 0;
}

/* ---- kernel stacks --------------------------------------------------------------------------------------------------------
 */

/*
 * The pages of a stack are charged after their page events and uncharged before, without an event: each task of a group counts
 * THREAD_SIZE from its fork (charged to the parent's memcg) to its exit (where exit_task_stack_account() gives it back).
 */
#define TASK_KEY(raw, task) (PAGE_NUMBER(raw, task) | MP_KIND_STACK)

/* A stack from before the baseline: its pages name who pays, until the task gives them back a moment later. */
static __noinline int unmatched_stack(u64 task) {
        u64 area, page, data;
        u32 group;

        if (!bpf_core_field_exists(struct task_struct, stack_vm_area))
                return 0;
        area = PEEK(task + OFFSET(struct task_struct, stack_vm_area));
        page = area ? PEEK(PEEK(area + OFFSET(struct vm_struct, pages))) : 0;
        data = page ? PEEK(page + OFFSET(struct page, memcg_data)) : 0;
        if ((data & MEMCG_DATA_FLAGS) != MEMCG_DATA_KMEM)
                return 0;
        group = group_of_memcg(PEEK((data & ~MEMCG_DATA_FLAGS) + OFFSET(struct obj_cgroup, memcg)));
        if (group)
                count_unmatched(group, thread_bytes);
        return 0;
}

INLINE int task_exits(u64 key) {
        u64 value = untrack(key);

        return value || bare ? count_rare_free(mp_value_slot(value), mp_value_bytes(value), 1) : unmatched_stack(key & ~3ULL);
}

INLINE int on_new_task(void *ctx, u64 key, bool raw) {
        struct allocation a = {
                .site = 1, .key = key, .bytes = thread_bytes, .source = MP_STACKS, .gfp = gfp_account, .charged = true};

        allocated(ctx, &a, raw);
        return 0;
}

#define ON_NEW_TASK(ctx, raw)                                \
        ({                                                   \
                struct task_struct *_task = (void *)ctx[0];  \
                on_new_task(ctx, TASK_KEY(raw, _task), raw); \
        })

#define ON_TASK_EXIT(ctx, raw)                              \
        ({                                                  \
                struct task_struct *_task = (void *)ctx[0]; \
                note_exit(ctx[0]);                          \
                task_exits(TASK_KEY(raw, _task));           \
        })

/* ---- what the kernel itself counts per memcg ------------------------------------------------------------------------------
 */

/*
 * Page-unit items only: items in bytes are rounded up to a page and negative ones mangled (6.18). Kernel stacks are in KiB,
 * always whole pages.
 */
INLINE u32 memcg_state(u32 item) {
        if (item == bpf_core_enum_value(enum memcg_stat_item, MEMCG_KMEM))
                return MP_STATE_KMEM;
        if (item == bpf_core_enum_value(enum memcg_stat_item, MEMCG_SOCK))
                return MP_STATE_SOCK;
        if (bpf_core_enum_value_exists(enum memcg_stat_item, MEMCG_VMALLOC) &&
                item == bpf_core_enum_value(enum memcg_stat_item, MEMCG_VMALLOC))
                return MP_STATE_VMALLOC;
        return _MP_STATES;
}

INLINE u32 node_state(u32 item) {
        if (item == bpf_core_enum_value(enum node_stat_item, NR_ANON_MAPPED))
                return MP_STATE_ANON;
        if (item == bpf_core_enum_value(enum node_stat_item, NR_FILE_PAGES))
                return MP_STATE_FILE;
        if (item == bpf_core_enum_value(enum node_stat_item, NR_SHMEM))
                return MP_STATE_SHMEM;
        if (item == bpf_core_enum_value(enum node_stat_item, NR_PAGETABLE))
                return MP_STATE_PAGETABLES;
        if (item == bpf_core_enum_value(enum node_stat_item, NR_KERNEL_STACK_KB))
                return MP_STATE_KERNEL_STACK;
        if (bpf_core_enum_value_exists(enum node_stat_item, NR_VMALLOC) &&
                item == bpf_core_enum_value(enum node_stat_item, NR_VMALLOC))
                return MP_STATE_VMALLOC;
        return _MP_STATES;
}

INLINE int state_changed(u64 memcg, u32 state, u64 argument) {
        struct mp_group_counts *g;
        u32 group;

        if (bare || state >= _MP_STATES)
                return 0;
        group = group_of_memcg(memcg);
        if (LIKELY(!group))
                return 0;
        g = group_counts_of(group);
        if (g)
                g->state[state & 7] += state_is_int ? (s64)(s32)argument : (s64)argument;
        return 0;
}

/* ---- learning: these are attached for a moment at loading, and look at one thread of ours -----------------------------------
 */

INLINE bool is_learning(void *ctx) {
        return (u32)bpf_get_current_pid_tgid() == learn_tid && in_task(ctx, bpf_get_current_task_btf(), true);
}

SEC("raw_tp/mm_page_alloc") int learn_page(u64 *ctx) {
        if (is_learning(ctx) && ctx[1])
                learned_page = ctx[0];
        return 0;
}

/* First where pages are (page_delta); then whether owners that are read are right. */
SEC("raw_tp/kmalloc") int learn_kmalloc(u64 *ctx) {
        if (!is_learning(ctx) || ctx[1] <= 16)
                return 0;
        named_by_tag(bpf_get_current_task_btf()); /* is there one? */
        if (ctx[3] <= KMALLOC_MAX_CACHE)
                verify_own(ctx[1], (u32)ctx[4] & gfp_account);
        else if (learned_page)
                page_delta = learned_page - (ctx[1] >> 12) * STRUCT_PAGE;
        return 0;
}

SEC("raw_tp/kmem_cache_alloc") int learn_cache(u64 *ctx) {
        if (is_learning(ctx) && ctx[1] > 16)
                verify_own(ctx[1],
                        ((u32)ctx[3] & gfp_account) || (BPF_CORE_READ((struct kmem_cache *)ctx[2], flags) & slab_account));
        return 0;
}

/* ---- programs: tp_btf and raw_tp of each; user space loads one of the two -------------------------------------------------
 */

#define ALONE(body)                            \
        ({                                     \
                if (is_preemptible)            \
                        bpf_preempt_disable(); \
                body;                          \
                if (is_preemptible)            \
                        bpf_preempt_enable();  \
                0;                             \
        })

#define PROGRAM(name, tracepoint, body_typed, body_raw)       \
        SEC("tp_btf/" #tracepoint) int btf_##name(u64 *ctx) { \
                return ALONE(body_typed);                     \
        }                                                     \
        SEC("raw_tp/" #tracepoint) int raw_##name(u64 *ctx) { \
                return ALONE(body_raw);                       \
        }

PROGRAM(softirq_exit, softirq_exit, mark_softirq(0), mark_softirq(0))
PROGRAM(softirq_entry, softirq_entry, mark_softirq(1), mark_softirq(1))

#define BOTH(name, tracepoint, call) PROGRAM(name, tracepoint, call(ctx, false), call(ctx, true))

BOTH(kmalloc, kmalloc, on_kmalloc)
BOTH(kmem_cache_alloc, kmem_cache_alloc, on_cache_alloc)
BOTH(mm_page_alloc, mm_page_alloc, ON_PAGE_ALLOC)
BOTH(percpu_alloc_percpu, percpu_alloc_percpu, on_percpu_alloc)
BOTH(task_newtask, task_newtask, ON_NEW_TASK)
BOTH(sched_process_exit, sched_process_exit, ON_TASK_EXIT)
PROGRAM(module_load, module_load, on_module_load(), on_module_load())

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

#define ON_MEMCG_STATE(ctx, raw) state_changed(ctx[0], memcg_state((u32)ctx[1]), ctx[2])
#define ON_NODE_STATE(ctx, raw) state_changed(ctx[0], node_state((u32)ctx[1]), ctx[2])

#define ON_RMDIR(ctx, raw, note)                         \
        ({                                               \
                struct cgroup *_cgroup = (void *)ctx[0]; \
                note(PAGE_NUMBER(raw, _cgroup));         \
        })
#define NOTE_STATES(ctx, raw) ON_RMDIR(ctx, raw, note_states)
#define NOTE_COUNTERS(ctx, raw) ON_RMDIR(ctx, raw, note_counters)

BOTH(cgroup_rmdir_states, cgroup_rmdir, NOTE_STATES)
BOTH(cgroup_rmdir, cgroup_rmdir, NOTE_COUNTERS)
BOTH(mod_memcg_state, mod_memcg_state, ON_MEMCG_STATE)
BOTH(mod_memcg_lruvec_state, mod_memcg_lruvec_state, ON_NODE_STATE)

/* ---- a cgroup's memory css, by an iterator over one cgroup: user space sees neither css ids nor serial numbers -------------
 */

SEC("iter/cgroup") int identify(struct bpf_iter__cgroup *ctx) {
        struct cgroup *cgroup = ctx->cgroup;
        struct cgroup_subsys_state *css;
        struct mp_css answer = {};

        page_origin_address = (u64)&page_origin;
        if (!cgroup)
                return 0;
        css = cgroup->subsys[bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id)];
        if (css) {
                answer.serial_nr = css->serial_nr;
                answer.id = css->id;
                answer.found = 1;
                answer.group = resolve((u64)css);
                css = css->parent;
                for (u32 i = 0; i < 8 && css; i++) {
                        answer.ancestors[i] = css->id;
                        css = css->parent;
                }
        }
        bpf_seq_write(ctx->meta->seq, &answer, sizeof(answer));
        return 0;
}

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Who is it: which group a task's memory belongs to, and whether it is the task at all that runs.
 *
 * Invariants: the way out for a task outside all groups is one table load by css id; what a table says of a css holds only with
 * the css's serial number and in the epoch in which it was found out.
 */
#pragma once

#include "kernel.bpf.h"
#include "shared.h"

u64 css_table[MP_CSS_IDS];  /* css id -> mp_css_entry: what that css was found to be in this epoch */
u64 root_table[MP_CSS_IDS]; /* css id -> mp_css_entry: the roots of groups; user space writes it: the arm flag */
u32 epoch;                  /* rises when root_table changes, so that older findings in css_table do not count */
u32 host_group;             /* the group of the root cgroup, which charges nobody; 0: none */
bool abandoned;             /* no daemon cares: nobody is a member (lease.bpf.h) */
u64 losses[_MP_LOSSES];

/*
 * For the bench: only what no engine that follows single objects can leave out. At an allocation: is the task a member's; at a
 * free: is the object followed; counted once per site. Written before loading, so that it costs nothing when it is not set.
 */
const volatile bool bare;

struct mp_cpu cpus[MP_CPUS] __attribute__((aligned(64)));

/* [group]: how it wants to be counted */
struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(map_flags, BPF_F_MMAPABLE);
        __type(key, u32);
        __type(value, struct mp_group);
        __uint(max_entries, 1);
} groups SEC(".maps");

INLINE struct mp_cpu *this_cpu(void) {
        return &cpus[bpf_get_smp_processor_id() & (MP_CPUS - 1)];
}

INLINE struct mp_group *group_of(u32 group) {
        return bpf_map_lookup_elem(&groups, &group);
}

INLINE void lose(enum mp_loss cause) {
        __sync_fetch_and_add(&losses[cause], 1);
}

/* Fibonacci hashing: addresses differ in few middle bits; the upper half of the product depends on all of them. */
INLINE u64 mix(u64 x) {
        return (x * 0x9e3779b97f4a7c15ULL) >> 32;
}

struct climb {
        u64 css;
        u32 group;
};

/* One step up; the last one when there is a group's root. */
static long climb_one(u32 level, struct climb *climb) {
        u64 entry = root_table[(u32)PEEK(climb->css + OFFSET(struct cgroup_subsys_state, id)) & (MP_CSS_IDS - 1)];
        u64 serial = PEEK(climb->css + OFFSET(struct cgroup_subsys_state, serial_nr));

        if (entry && entry >> (16 + MP_EPOCH_BITS) == (serial & MP_SERIAL_MASK)) {
                climb->group = mp_css_group(entry);
                return 1;
        }
        climb->css = PEEK(climb->css + OFFSET(struct cgroup_subsys_state, parent));
        return !climb->css;
}

/* Walks up from a css that is new to this epoch and remembers what it found. Returns the innermost group, or 0. */
static __noinline u32 resolve(u64 css) {
        u32 now = LOAD(epoch), css_id = (u32)PEEK(css + OFFSET(struct cgroup_subsys_state, id));
        u64 serial = PEEK(css + OFFSET(struct cgroup_subsys_state, serial_nr));
        struct climb climb = {.css = css};

        if (LIKELY(!LOAD(abandoned)))
                bpf_loop(64, climb_one, &climb, 0); /* deeper nesting than 64 is taken for no member */
        if (css_id < MP_CSS_IDS)
                css_table[css_id & (MP_CSS_IDS - 1)] = mp_css_entry(serial, now, climb.group);
        else
                lose(MP_LOSS_GROUP_LOOKUPS);
        return climb.group;
}

/* The css of the memcg that pays for what this task allocates now: active_memcg first. */
INLINE struct cgroup_subsys_state *payer(struct task_struct *task) {
        if (UNLIKELY(task->active_memcg))
                return &task->active_memcg->css;
        return task->cgroups->subsys[bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id)];
}

/*
 * Whether accounted allocations of this task are billed to anybody: not those of the root cgroup, and not those that a task
 * makes after cgroup_exit(), when mem_cgroup_exit() has taken its objcg away (the signal to its parent).
 */
INLINE bool is_billed(struct task_struct *task, u32 group) {
        if (UNLIKELY(group == LOAD(host_group)) && !BPF_CORE_READ(payer(task), parent))
                return false;
        return !bpf_core_field_exists(struct task_struct, objcg) || LIKELY(task->objcg) || task->active_memcg;
}

/* The group whose memory this task allocates now; 0: none. */
INLINE u32 member(struct task_struct *task) {
        struct cgroup_subsys_state *css = payer(task);
        u64 entry = css_table[(u32)css->id & (MP_CSS_IDS - 1)];

        if (LIKELY(entry >> 16 == mp_css_key(css->serial_nr, epoch)))
                return mp_css_group(entry);
        return resolve((u64)css);
}

/* The group of a memcg that is only an address. */
INLINE u32 group_of_memcg(u64 memcg) {
        u64 css = memcg + OFFSET(struct mem_cgroup, css), serial = PEEK(css + OFFSET(struct cgroup_subsys_state, serial_nr));
        u32 id = (u32)PEEK(css + OFFSET(struct cgroup_subsys_state, id));
        u64 entry = css_table[id & (MP_CSS_IDS - 1)];

        if (LIKELY(entry >> 16 == mp_css_key(serial, epoch)))
                return mp_css_group(entry);
        return resolve(css);
}

/*
 * True in task context. The program's context lies on the stack that the kernel runs on. An interrupt out of the kernel has a
 * stack of its own on x86-64; one out of user mode stays on the task's, and so do the softirqs on its way out: those are marked
 * by their tracepoints. (A hard interrupt out of user mode that allocates by itself is taken for the task.) ksoftirqd runs
 * softirqs as a task, and is in no container.
 */
INLINE bool in_task(void *ctx, struct task_struct *task, bool raw) {
        return ON_STACK(raw, task, ctx) < thread_bytes && !LOAD(this_cpu()->in_softirq);
}

INLINE void mark_served(enum mp_free_hook hook, u64 key) {
        if (!bare)
                STORE(this_cpu()->served[hook], key);
}

INLINE int mark_softirq(u64 running) {
        STORE(this_cpu()->in_softirq, running);
        return 0;
}

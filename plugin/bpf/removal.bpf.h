/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The end of a cgroup: what its memcg is charged in the moment of rmdir(2), which no file tells a moment later.
 *
 * cgroup_rmdir() fires when its cgroup is dead and the mutex is held still, without which offline_css() takes no css out of
 * cgroup->subsys[]: the css is there, and no task can allocate any more. What the objects left behind are charged to moves to
 * the parent only when the css goes offline, an RCU grace period and a work item later.
 *
 * Invariants: all of this is read, nothing is waited for; what a kernel does not have is MP_UNKNOWN, never 0.
 */
#pragma once

#include "member.bpf.h"

/* ---- what v2 tells as `kernel`: a sum over CPUs ---------------------------------------------------------------------------
 */

/*
 * A CPU's copy of per-CPU memory lies so far from its address. A kernel without the name of this variable (CONFIG_KALLSYMS_ALL)
 * does not load what asks for it, so all that does is programs of its own.
 */
extern const unsigned long this_cpu_off __ksym __weak;

/*
 * Where an item of memcg_stat_item stands among the counters of a memcg. They are the last ones, in the order of their
 * numbers: in 6.1 because the numbers are the places, since 6.10 (commit ff48c71c26aa) because only some items of nodes are
 * kept and these follow them all.
 */
#define STATE_PLACES (bpf_core_field_size(((struct memcg_vmstats *)0)->state) / sizeof(long))
#define STATE_PLACE(item) \
        (STATE_PLACES -   \
                (bpf_core_enum_value(enum memcg_stat_item, MEMCG_NR_STAT) - bpf_core_enum_value(enum memcg_stat_item, item)))

/* What CPUs have counted and not told yet. */
struct unflushed {
        u64 counters, place;
        s64 sum;
};

static long add_unflushed(u32 cpu, struct unflushed *u) {
        const unsigned long *offset = bpf_per_cpu_ptr(&this_cpu_off, cpu);
        u64 counters;

        if (!offset)
                return 1;
        counters = u->counters + *offset;
        u->sum += (s64)PEEK(counters + OFFSET(struct memcg_vmstats_percpu, state) + u->place * sizeof(long));
        u->sum -= (s64)PEEK(counters + OFFSET(struct memcg_vmstats_percpu, state_prev) + u->place * sizeof(long));
        return 0;
}

/* A counter as memory.stat would say it after a flush of this cgroup: what children have not passed on is missing. */
static __noinline s64 state_of(u64 memcg, u64 place) {
        u64 told = PEEK(memcg + OFFSET(struct mem_cgroup, vmstats));
        struct unflushed u = {.place = place, .counters = PEEK(memcg + OFFSET(struct mem_cgroup, vmstats_percpu))};

        u.sum = (s64)PEEK(told + OFFSET(struct memcg_vmstats, state) + place * sizeof(long));
        u.sum += (s64)PEEK(told + OFFSET(struct memcg_vmstats, state_pending) + place * sizeof(long));
        bpf_loop(MP_CPUS, add_unflushed, &u, 0);
        return u.sum > 0 ? u.sum : 0;
}

INLINE void read_states(u64 memcg, struct mp_charges *ret) {
        ret->kernel = state_of(memcg, STATE_PLACE(MEMCG_KMEM));
        ret->zswap = bpf_core_enum_value_exists(enum memcg_stat_item, MEMCG_ZSWAP_B)
                             ? state_of(memcg, STATE_PLACE(MEMCG_ZSWAP_B))
                             : MP_UNKNOWN;
}

/* ---- page counters --------------------------------------------------------------------------------------------------------
 */

#define PAGES_OF(memcg, counter)                                                                                       \
        (bpf_core_field_exists(struct mem_cgroup, counter)                                                             \
                        ? (s64)PEEK((memcg) + OFFSET(struct mem_cgroup, counter) + OFFSET(struct page_counter, usage)) \
                        : MP_UNKNOWN)

INLINE void read_counters(u64 memcg, struct mp_charges *ret) {
        ret->memory = PAGES_OF(memcg, memory);
        ret->kmem = PAGES_OF(memcg, kmem); /* v1's; 6.12 has it with CONFIG_MEMCG_V1 only */
        ret->tcpmem = PAGES_OF(memcg, tcpmem);
}

/* ---- the moment -----------------------------------------------------------------------------------------------------------
 */

/* The group whose root this css is. */
INLINE u32 group_of_root(u64 css) {
        u64 entry = root_table[(u32)PEEK(css + OFFSET(struct cgroup_subsys_state, id)) & (MP_CSS_IDS - 1)];
        u64 serial = PEEK(css + OFFSET(struct cgroup_subsys_state, serial_nr));

        return entry && entry >> (16 + MP_EPOCH_BITS) == (serial & MP_SERIAL_MASK) ? mp_css_group(entry) : 0;
}

/* The memory css of a cgroup that is being removed; 0: it is of another hierarchy, or has none of its own. */
INLINE u64 css_removed(u64 cgroup) {
        return PEEK(cgroup + OFFSET(struct cgroup, subsys) +
                    sizeof(void *) * bpf_core_enum_value(enum cgroup_subsys_id, memory_cgrp_id));
}

static __noinline int note_states(u64 cgroup) {
        u64 css = css_removed(cgroup);
        u32 group = css ? group_of_root(css) : 0;
        struct mp_group *g = group ? group_of(group) : NULL;

        if (g)
                read_states(css - OFFSET(struct mem_cgroup, css), &g->removal.charges);
        return 0;
}

/* Runs after the other one. */
static __noinline int note_counters(u64 cgroup) {
        u64 css = css_removed(cgroup);
        u32 group = css ? group_of_root(css) : 0;
        struct mp_group *g = group ? group_of(group) : NULL;

        if (!g)
                return 0;
        g->removal.memcg = css - OFFSET(struct mem_cgroup, css);
        g->removal.serial_nr = PEEK(css + OFFSET(struct cgroup_subsys_state, serial_nr));
        read_counters(g->removal.memcg, &g->removal.charges);
        __sync_fetch_and_or(&g->flags, MP_GROUP_ENDED); /* a sweep finds its objects with the parent before long */
        STORE(g->removal.at_ns, bpf_ktime_get_ns());
        return 0;
}

/* ---- once more, later -----------------------------------------------------------------------------------------------------
 */

/* Whether the css is the one that it was, and what was left is charged to it still. */
INLINE bool is_online(const struct mp_look *look) {
        u64 css = look->memcg + OFFSET(struct mem_cgroup, css);

        return PEEK(css + OFFSET(struct cgroup_subsys_state, serial_nr)) == look->serial_nr &&
               (u32)PEEK(css + OFFSET(struct cgroup_subsys_state, flags)) & CSS_ONLINE;
}

SEC("syscall") int look_at_states(struct mp_look *look) {
        struct mp_charges charges = {};

        read_states(look->memcg, &charges);
        look->charges = charges;
        look->online = is_online(look);
        return 0;
}

SEC("syscall") int look_at_counters(struct mp_look *look) {
        struct mp_charges charges = {};

        read_counters(look->memcg, &charges);
        look->charges = charges;
        look->online = is_online(look);
        return 0;
}

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How chosen processes end: containers' first ones. Their parent collects that, and before 6.15 nobody else is told (since then
 * a pidfd is, commit 7477d7dce48a). A process ends with its last thread, by the group's code or the leader's.
 *
 * Invariant: what was noted is not written over, because numbers of processes come again.
 */
#pragma once

#include "kernel.bpf.h"
#include "shared.h"

u32 exits_followed; /* so many are chosen: nobody pays for none */

struct {
        __uint(type, BPF_MAP_TYPE_HASH);
        __type(key, u32); /* tgid */
        __type(value, struct mp_exit);
        __uint(max_entries, MP_EXITS);
} exits SEC(".maps");

static __noinline int note_exit_of(u64 address) {
        struct task_struct *task = (void *)address;
        u32 tgid = (u32)BPF_CORE_READ(task, tgid);
        struct mp_exit *e = bpf_map_lookup_elem(&exits, &tgid);
        int code;

        if (!e || LOAD(e->done) || BPF_CORE_READ(task, signal, live.counter))
                return 0;
        code = BPF_CORE_READ(task, signal, group_exit_code);
        e->status = code ? code : BPF_CORE_READ(task, group_leader, exit_code);
        STORE(e->done, 1);
        return 0;
}

INLINE void note_exit(u64 task) {
        if (UNLIKELY(LOAD(exits_followed)))
                note_exit_of(task);
}

/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The lease: programs that are pinned outlive their daemon, and without one nobody reads what they count. So a daemon renews a
 * timer in the kernel now and then; when it runs out, nobody is a member of a group any more, until a daemon says so.
 *
 * Invariants: what was counted stays, and frees go on being booked. A timer lives as long as its map is held by somebody or
 * pinned.
 */
#pragma once

#include "member.bpf.h"

#define CLOCK_MONOTONIC 1

struct bpf_timer { /* include/uapi/linux/bpf.h; since 5.15 */
        u64 opaque[2];
} __attribute__((aligned(8)));

struct lease {
        struct bpf_timer timer;
};

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __type(key, u32);
        __type(value, struct lease);
        __uint(max_entries, 1);
} leases SEC(".maps");

/* User space's own: no program reads them. */
u64 generation;     /* rises when user space has written down which groups there are */
u32 links_attached; /* so many programs were attached when that was finished; 0: none, or it was not */

u64 lease_ns;      /* how long from now on; written by user space before each run */
u64 lease_expired; /* how often it ran out */

static int expire(void *map, u32 *key, struct lease *l) {
        __sync_fetch_and_add(&lease_expired, 1);
        STORE(abandoned, true);
        __sync_fetch_and_add(&epoch, 1); /* what was found out about anybody does not hold any more */
        return 0;
}

/* Not of the type that the other runs have: programs that may sleep may not have timers everywhere. */
SEC("tc") int renew_lease(void *ctx) {
        u32 key = 0;
        struct lease *l = bpf_map_lookup_elem(&leases, &key);

        if (!l)
                return 1;
        bpf_timer_init(&l->timer, &leases, CLOCK_MONOTONIC); /* fails when that was done */
        bpf_timer_set_callback(&l->timer, expire);
        return bpf_timer_start(&l->timer, lease_ns, 0) != 0;
}

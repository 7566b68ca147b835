/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Allocation flags (gfp) by name. Which bit means what differs between kernels; a set of ours does not, so sets of stored
 * documents and of living profiles are alike.
 */
#pragma once

#include "util.h"

/* In the order of 6.1's bits, which stayed where they were until kernels began to tell them. */
enum gfp_flag {
        GFP_FLAG_DMA,
        GFP_FLAG_HIGHMEM,
        GFP_FLAG_DMA32,
        GFP_FLAG_MOVABLE,
        GFP_FLAG_RECLAIMABLE,
        GFP_FLAG_HIGH,
        GFP_FLAG_IO,
        GFP_FLAG_FS,
        GFP_FLAG_ZERO,
        GFP_FLAG_ATOMIC, /* until 6.2 */
        GFP_FLAG_DIRECT_RECLAIM,
        GFP_FLAG_KSWAPD_RECLAIM,
        GFP_FLAG_WRITE,
        GFP_FLAG_NOWARN,
        GFP_FLAG_RETRY_MAYFAIL,
        GFP_FLAG_NOFAIL,
        GFP_FLAG_NORETRY,
        GFP_FLAG_MEMALLOC,
        GFP_FLAG_COMP,
        GFP_FLAG_NOMEMALLOC,
        GFP_FLAG_HARDWALL,
        GFP_FLAG_THISNODE,
        GFP_FLAG_ACCOUNT,
        GFP_FLAG_ZEROTAGS, /* from here on the bits depend on the kernel's configuration */
        GFP_FLAG_SKIP_ZERO,
        GFP_FLAG_SKIP_KASAN,
        GFP_FLAG_NOLOCKDEP,
        GFP_FLAG_NO_OBJ_EXT,
        _GFP_FLAG_MAX
};

struct gfp_set {
        uint32_t flags;   /* bit per enum gfp_flag */
        uint32_t unknown; /* bits that have no name, as the kernel counts them */
};

static inline bool gfp_empty(const struct gfp_set *s) {
        return !s->flags && !s->unknown;
}

/* Which flag each bit of one kernel is; -1: not known. */
struct gfp_bits {
        int8_t flag[32];
};

/* The kernel's own by its type information (`btf`: /sys/kernel/btf/vmlinux), those of 6.1 where it does not tell (before 6.9).
 */
void gfp_bits_load(const char *btf, struct gfp_bits *ret);

/* Those of the running kernel, read when first asked for. */
const struct gfp_bits *gfp_bits_running(void);

struct gfp_set gfp_translate(const struct gfp_bits *bits, uint32_t flags);

/* Names as the kernel prints them (%pGg): what a combination names first, then what is left of it. Not to be copied. */
struct gfp_names {
        const char *names[_GFP_FLAG_MAX + 1];
        size_t n;
        char unknown[16]; /* "0x1000000" */
};
void gfp_names(const struct gfp_set *set, struct gfp_names *ret);

/* Adds what `name` stands for. -EINVAL when it is no name of ours. */
int gfp_parse(const char *name, struct gfp_set *set);

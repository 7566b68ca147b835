/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See gfp.h. Bits: include/linux/gfp_types.h, an enum since 6.9 (commit 772dd0342727); names: include/trace/events/mmflags.h.
 */
#include <inttypes.h>

#include "gfp.h"
#include "ktypes.h"

#define BITS_OF_6_1 (GFP_FLAG_ACCOUNT + 1)

static const struct {
        const char *name, *bit; /* bit: its enumerator in the kernel */
} flags[_GFP_FLAG_MAX] = {
#define FLAG(f) [GFP_FLAG_##f] = {"__GFP_" #f, "___GFP_" #f "_BIT"}
        FLAG(DMA),
        FLAG(HIGHMEM),
        FLAG(DMA32),
        FLAG(MOVABLE),
        FLAG(RECLAIMABLE),
        FLAG(HIGH),
        FLAG(IO),
        FLAG(FS),
        FLAG(ZERO),
        FLAG(ATOMIC),
        FLAG(DIRECT_RECLAIM),
        FLAG(KSWAPD_RECLAIM),
        FLAG(WRITE),
        FLAG(NOWARN),
        FLAG(RETRY_MAYFAIL),
        FLAG(NOFAIL),
        FLAG(NORETRY),
        FLAG(MEMALLOC),
        FLAG(COMP),
        FLAG(NOMEMALLOC),
        FLAG(HARDWALL),
        FLAG(THISNODE),
        FLAG(ACCOUNT),
        FLAG(ZEROTAGS),
        FLAG(SKIP_ZERO),
        FLAG(SKIP_KASAN),
        FLAG(NOLOCKDEP),
        FLAG(NO_OBJ_EXT),
#undef FLAG
};

#define BIT(f) (1u << GFP_FLAG_##f)
#define RECLAIM (BIT(DIRECT_RECLAIM) | BIT(KSWAPD_RECLAIM))
#define KERNEL (RECLAIM | BIT(IO) | BIT(FS))

/*
 * In the kernel's order, each once what it contains cannot be there any more. __GFP_ACCOUNT keeps its own name, because whoever
 * reads a row looks for it. GFP_NOWAIT has __GFP_NOWARN in it since 6.11, which is named beside it here on every kernel.
 */
static const struct {
        const char *name;
        uint32_t flags;
} combinations[] = {
        {"GFP_HIGHUSER_MOVABLE", KERNEL | BIT(HARDWALL) | BIT(HIGHMEM) | BIT(MOVABLE)},
        {"GFP_HIGHUSER", KERNEL | BIT(HARDWALL) | BIT(HIGHMEM)},
        {"GFP_USER", KERNEL | BIT(HARDWALL)},
        {"GFP_KERNEL", KERNEL},
        {"GFP_NOFS", RECLAIM | BIT(IO)},
        {"GFP_ATOMIC", BIT(HIGH) | BIT(ATOMIC) | BIT(KSWAPD_RECLAIM)}, /* until 6.2 */
        {"GFP_ATOMIC", BIT(HIGH) | BIT(KSWAPD_RECLAIM)},
        {"GFP_NOIO", RECLAIM},
        {"GFP_NOWAIT", BIT(KSWAPD_RECLAIM)},
};

static bool ask_kernel(const char *btf, struct gfp_bits *ret) {
        _cleanup_(ktypes_freep) struct ktypes *types = NULL;
        uint32_t id;

        if (ktypes_load(btf, &types) < 0)
                return false;
        id = ktypes_enum_of(types, flags[GFP_FLAG_ACCOUNT].bit);
        for (int f = 0; id != 0 && f < _GFP_FLAG_MAX; f++) {
                int64_t bit;

                if (ktypes_enumerator(types, id, flags[f].bit, &bit) >= 0 && bit >= 0 && bit < 32)
                        ret->flag[bit] = (int8_t)f;
        }
        return id != 0;
}

void gfp_bits_load(const char *btf, struct gfp_bits *ret) {
        memset(ret->flag, -1, sizeof(ret->flag));
        if (ask_kernel(btf, ret))
                return;
        for (int f = 0; f < BITS_OF_6_1; f++)
                ret->flag[f] = (int8_t)f;
}

const struct gfp_bits *gfp_bits_running(void) {
        static struct gfp_bits bits;
        static bool loaded;

        if (!loaded)
                gfp_bits_load("/sys/kernel/btf/vmlinux", &bits);
        loaded = true;
        return &bits;
}

struct gfp_set gfp_translate(const struct gfp_bits *bits, uint32_t raw) {
        struct gfp_set set = {};

        for (int bit = 0; bit < 32; bit++) {
                if (!(raw & 1u << bit))
                        continue;
                if (bits->flag[bit] >= 0)
                        set.flags |= 1u << bits->flag[bit];
                else
                        set.unknown |= 1u << bit;
        }
        return set;
}

void gfp_names(const struct gfp_set *set, struct gfp_names *ret) {
        uint32_t left = set->flags;

        *ret = (struct gfp_names){};
        for (size_t i = 0; i < ELEMENTS(combinations); i++)
                if ((left & combinations[i].flags) == combinations[i].flags) {
                        ret->names[ret->n++] = combinations[i].name;
                        left &= ~combinations[i].flags;
                }
        for (int f = 0; f < _GFP_FLAG_MAX; f++)
                if (left & 1u << f)
                        ret->names[ret->n++] = flags[f].name;
        if (set->unknown) {
                snprintf(ret->unknown, sizeof(ret->unknown), "0x%" PRIx32, set->unknown);
                ret->names[ret->n++] = ret->unknown;
        }
}

int gfp_parse(const char *name, struct gfp_set *set) {
        char *end;

        /* of two with one name the later: the flags of the newer kernels */
        for (size_t i = ELEMENTS(combinations); i-- > 0;)
                if (streq(combinations[i].name, name)) {
                        set->flags |= combinations[i].flags;
                        return 0;
                }
        for (int f = 0; f < _GFP_FLAG_MAX; f++)
                if (streq(flags[f].name, name)) {
                        set->flags |= 1u << f;
                        return 0;
                }
        if (!startswith(name, "0x"))
                return -EINVAL;
        set->unknown |= (uint32_t)strtoul(name, &end, 16);
        return *end ? -EINVAL : 0;
}

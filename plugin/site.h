/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The name of an allocation site: which frame of a call chain wanted the memory, and how that is written. The allocator's own
 * functions and its wrappers are skipped; what the slab allocator takes for its caches is recognized, because its pages are
 * counted as objects.
 */
#pragma once

#include "symbol.h"

struct site {
        struct symbol symbol; /* name NULL: not known to kallsyms */
        bool slab_backing;    /* pages that the slab allocator cuts into objects */
        bool vmalloc;         /* pages that vmalloc maps */
};

/* What a chain of return addresses comes to, but for the name. */
struct site_verdict {
        unsigned named; /* the frame that names it, from 1 on; 0: none */
        bool slab_backing, vmalloc;
};

/*
 * Verdicts by chain, because to compare with all wrappers' names is most of the work and the same chains come again. A table of
 * fixed size in which a newer one takes an older one's place. It holds hashes of 57 bits and not the chains: among the 16
 * thousand different stacks that a tracker keeps, two that would be taken for each other have a chance of one in 10^9. All zero
 * is empty; to be emptied when the symbols change.
 */
struct site_memory {
        uint64_t answers[1 << 15];
};

/* memory: NULL for none. */
struct site_verdict site_judge(const struct symbols *symbols, struct site_memory *memory, const uint64_t *frames, unsigned n);

/*
 * Names the site of `n` return addresses, innermost first (n 0: the catch-all; its name is NULL). A chain of nothing but
 * wrappers is named by its outermost frame.
 */
void site_resolve(
        const struct symbols *symbols, struct site_memory *memory, const uint64_t *frames, unsigned n, struct site *ret);

/* True for a function of the allocator or a wrapper; compiler suffixes (".isra.0", ".cold") do not count. For tests. */
bool site_is_wrapper(const char *function);

/* "function+0xOFF[module]", without brackets for the kernel itself. NULL on ENOMEM. */
char *site_key(const char *function, uint32_t offset, const char *module);

/* Of an alloc tag: "file:line:function[module]", likewise. */
char *site_tag_key(const char *file, uint32_t line, const char *function, const char *module);

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

/*
 * Names the site of `n` return addresses, innermost first (n 0: the catch-all; its name is NULL). A chain of nothing but
 * wrappers is named by its outermost frame.
 */
void site_resolve(const struct symbols *symbols, const uint64_t *frames, unsigned n, struct site *ret);

/* True for a function of the allocator or a wrapper; compiler suffixes (".isra.0", ".cold") do not count. For tests. */
bool site_is_wrapper(const char *function);

/* "function+0xOFF[module]", without brackets for the kernel itself. NULL on ENOMEM. */
char *site_key(const char *function, uint32_t offset, const char *module);

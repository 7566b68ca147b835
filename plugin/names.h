/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Names for what the tracker counted: the kernel's symbol table with all that is asked of it. It is read again when rows come
 * from where no symbol is, because a module was loaded since, but not all the time.
 */
#pragma once

#include "measure.h"

struct names;

/* kallsyms: path of the symbol table, normally /proc/kallsyms. One that is missing or hidden is no failure. -ENOMEM. */
int names_new(const char *kallsyms, struct names **ret);
struct names *names_free(struct names *n);
DEFINE_CLEANUP(struct names, names_free)

/*
 * Names the rows of a sample. The names point into the symbol table, so that they hold until the next call of this function.
 * -ENOMEM.
 */
int names_measure(struct names *n, const struct tracker_sample *sample, struct measures *ret);

/* The code of the kernel's wrappers around its allocators, at most `max` of them; returns how many. */
size_t names_wrappers(const struct names *n, struct tracker_range *ret, size_t max);

/*
 * What the stack of a row of pages says besides a name. Backing pages of slabs are no rows: their objects are counted. Answers
 * are remembered by stack, because whoever only adds up asks nothing else.
 */
enum page_use { PAGE_USE_OTHER, PAGE_USE_SLAB, PAGE_USE_VMALLOC };
enum page_use names_page_use(struct names *n, const struct tracker_row *row);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The work that is measured. Pipes and opens are dense in allocations and carry the targets; the others show what people do.
 */
#pragma once

#include "util.h"

enum { LOOP_PIPE, LOOP_OPEN, LOOP_FORK, LOOP_MMAP, LOOP_FIND, LOOP_TAR, LOOP_PARALLEL, _LOOPS };

struct loop {
        const char *name, *title;
        unsigned share;  /* one operation for so many of the pipe loop's: all loops take about as long */
        unsigned seldom; /* one repeat for so many of the pipe loop's, where one operation takes long */
        unsigned width;  /* so many of each operation run at once, on CPUs of their own */
        bool dense;      /* mostly allocations: fit for figures per event */
        int (*run)(const char *tree, unsigned n);
};

extern const struct loop loops[_LOOPS];

/* How many of each, given the pipe loop's; at least one. */
unsigned loop_operations(const struct loop *loop, unsigned ops);
unsigned loop_repeats(const struct loop *loop, unsigned repeats);

/* Makes what find and tar go through: some hundred directories and some thousand small files below `tree`. */
int loops_make_tree(const char *tree);

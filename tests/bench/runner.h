/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The measured process. It is forked before any tracker is loaded: the tables of one are mapped, and fork would copy the page
 * tables of those mappings. It does nothing but run loops, so that what is profiled is the loop and not the measuring.
 */
#pragma once

#include <sys/types.h>

#include "loops.h"

struct runner;

/* `tree` is kept, not copied. */
int runner_new(const char *tree, struct runner **ret);
struct runner *runner_free(struct runner *r);
DEFINE_CLEANUP(struct runner, runner_free)

pid_t runner_pid(const struct runner *r);

/* CPU time of `n` operations, children included, in ns per operation and process. */
int runner_run(struct runner *r, const struct loop *loop, unsigned n, double *ret_ns);

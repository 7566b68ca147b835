/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A tracker whose groups have at least so many sites: what is missing is made up out of the kernel's own functions. Reading and
 * everything else stays the tracker's own.
 */
#pragma once

#include "tracker.h"

/* kallsyms: path. One tracker at a time. */
int padding_on(struct tracker *t, const char *kallsyms, size_t sites, char **reterr);
void padding_off(struct tracker *t);

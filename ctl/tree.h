/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rows as a tree: by the directories of their files, or of their categories where there is no file. Each branch has the sums of
 * what hangs on it. Rows of user pages hang on a branch of their own, for they are no kernel memory.
 */
#pragma once

#include <jansson.h>

/*
 * sites: rows of a memcgprof.summary or memcgprof.allocinfo, one per site. Gives an array of {name, bytes, calls, estimated} in
 * the order of printing, names indented; what a row does not know counts as 0. The caller owns it. -ENOMEM.
 */
int tree_rows(const json_t *sites, json_t **ret);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The tables behind category_of(): a category and the words that stand for it, separated by blanks. For category.c and tests.
 */
#pragma once

#include "util.h"

struct category_words {
        const char *category;
        const char *words;
};

/* Prefixes of paths in the source tree; a category that ends in "/" takes the name of the directory below. */
extern const struct category_words category_paths[];
extern const size_t category_paths_n;

/* Prefixes of functions, without leading underscores; system calls as "sys_NAME". */
extern const struct category_words category_functions[];
extern const size_t category_functions_n;

/* Modules: a word that ends in "_" is a prefix, any other a whole name. */
extern const struct category_words category_modules[];
extern const size_t category_modules_n;

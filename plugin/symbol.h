/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Kernel addresses to names, from a kallsyms file read once. Addresses go in and never come out.
 */
#pragma once

#include "util.h"

struct symbols;

struct symbol {
        const char *name;   /* owned by the table */
        const char *module; /* "" for the kernel itself */
        uint32_t offset;    /* of the address within the function */
        uint64_t start;     /* identifies the function; for comparing only, never for output */
};

/*
 * Reads a kallsyms text (`path`: /proc/kallsyms, or a fixture). -EACCES with a sentence when kptr_restrict hides the addresses
 * (all zero); -EINVAL when it has no text symbol.
 */
int symbols_load(const char *path, struct symbols **ret, char **reterr);
struct symbols *symbols_free(struct symbols *s);
DEFINE_CLEANUP(struct symbols, symbols_free)

/*
 * The function that holds `address`. -ENOENT when it lies outside every symbol (a module or BPF program loaded later: reload).
 */
int symbols_find(const struct symbols *s, uint64_t address, struct symbol *ret);

/* Calls `each` for every function of the kernel itself with its code [start, end). */
void symbols_each(
        const struct symbols *s, void (*each)(void *userdata, const char *name, uint64_t start, uint64_t end), void *userdata);

size_t symbols_count(const struct symbols *s);

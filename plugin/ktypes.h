/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kernel's own type information (BTF), for asking what this kernel has. libbpf reads it too, but its one user is the
 * tracker, and the questions here are few.
 */
#pragma once

#include "util.h"

struct ktypes;

/* Reads a BTF file, normally /sys/kernel/btf/vmlinux. -ENOENT, -EACCES and so on; -EINVAL when it is no BTF that this can read.
 */
int ktypes_load(const char *path, struct ktypes **ret);
struct ktypes *ktypes_free(struct ktypes *t);
DEFINE_CLEANUP(struct ktypes, ktypes_free)

bool ktypes_has_typedef(const struct ktypes *t, const char *name);

/* The id of a function, or 0 when there is none of that name. */
uint32_t ktypes_function(const struct ktypes *t, const char *name);

/* True when the struct has a member of that name, its anonymous structs and unions included. */
bool ktypes_has_member(const struct ktypes *t, const char *structure, const char *member);

/*
 * The enum (named or not) that has this enumerator, or 0; and the value of an enumerator in it: -ENOENT when there is none of
 * that name.
 */
uint32_t ktypes_enum_of(const struct ktypes *t, const char *enumerator);
int ktypes_enumerator(const struct ktypes *t, uint32_t id, const char *name, int64_t *ret);

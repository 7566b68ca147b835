/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Text that came from outside: kernel strings, container names, annotations. Everything here is bounded, and what is not
 * printable UTF-8 leaves as \xNN, because both jansson and D-Bus refuse a document for one wrong byte.
 */
#pragma once

#include "util.h"

/*
 * A copy of `n` bytes with control characters and bytes that are no valid UTF-8 written \xNN (backslashes are doubled only
 * where they would read as part of such an escape: before an 'x' and before an escape). At most `max` bytes of output, then
 * "...". NULL on ENOMEM.
 */
char *text_escape(const char *s, size_t n, size_t max);

/*
 * A file name of at most 100 bytes made of [A-Za-z0-9_.-] out of any id: other bytes become _XX (hex), a leading dot too, and
 * what is longer is cut and gets a 16-digit hash of the whole id, so that two ids never share a name by cutting.
 */
char *text_filename(const char *id);

/* Decimal, whole string, no sign games. -EINVAL, -ERANGE. */
int text_to_u64(const char *s, uint64_t *ret);
int text_to_i64(const char *s, int64_t *ret);

/* SIZE: decimal number of bytes, or with suffix K or M or G (binary). -EINVAL, -ERANGE above 2^62. */
int text_to_size(const char *s, uint64_t *ret);

/* Reads a whole file of at most `max` bytes (more is -E2BIG) into NUL-terminated memory; dirfd as for openat.
 * A FIFO that nobody writes to is an empty file: whoever names files must not stop the daemon. */
int text_read_file(int dirfd, const char *path, size_t max, char **ret, size_t *ret_len);

/* FNV-1a 64. Not for adversaries: used to name things. */
uint64_t text_hash(const void *data, size_t n);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Columns for people, filled from JSON: sizes in binary units, "-" for null, and no byte that a terminal would act on.
 */
#pragma once

#include <jansson.h>

#include "util.h"

/* Longest cell; what is longer ends in "...". */
#define CELL_MAX 400

struct column {
        const char *header;
        unsigned width; /* at least so wide; the widest cell decides. Ignored in the last column, which ends the line */
        bool right;     /* numbers */
        char *(*produce)(const json_t *row); /* an allocated cell of printable text; NULL on ENOMEM */
};

/*
 * Prints the headers and the first `max` (0: all) of `rows`, a JSON array. An array of 0 rows prints the headers only. -ENOMEM.
 */
int table_print(FILE *out, const struct column *columns, size_t n_columns, const json_t *rows, size_t max);

/* "12.3 MiB", "512 B", "-1.5 KiB". */
char *table_size(int64_t bytes);

/* The same with a sign always, for differences. */
char *table_signed_size(int64_t bytes);

/* "0.4 s", "12 s", "3 min 20 s", "5 h 2 min", "3 d 4 h". A negative span is none. */
char *table_span(int64_t us);

/* The member as printable text; "-" when it is absent or null. Numbers and booleans (yes, no) are put into words too. */
char *table_text(const json_t *object, const char *key);

/* The integer member, microseconds since the epoch, as local time; "-" when it is absent or null. */
char *table_time(const json_t *object, const char *key);

/* The integer member as a size; "-" when it is absent, null or no integer. */
char *table_member_size(const json_t *object, const char *key);

/*
 * A copy of `s` that is safe on a terminal: controls and invalid bytes written \xNN, at most CELL_MAX bytes; "-" for NULL. Text
 * of a document has been through this already and stays as it is there. NULL on ENOMEM.
 */
char *table_escape(const char *s);

/* The same, at most `max` bytes. */
char *table_escape_max(const char *s, size_t max);

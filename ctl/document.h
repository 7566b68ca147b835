/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * JSON documents on their way to the user: parsed, filtered, printed. Functions fail with -EBADMSG (a sentence, where there is
 * reterr) for what is no document, -ENOMEM, or -EIO; errors of the stream are found by main when it flushes.
 */
#pragma once

#include <jansson.h>

#include "filter.h"

static inline void document_unrefp(json_t **d) {
        json_decref(*d);
}

/* New reference. -EBADMSG when `text` is no JSON object. */
int document_parse(const char *text, json_t **ret, char **reterr);

/* One line of JSON. */
int document_print(FILE *out, const json_t *document);

/* The text as it is, and a newline when it ends in none. */
int document_print_text(FILE *out, const char *text);

/* How many rows `out` gets when rendered: all, or what a terminal gets, unless the filter sets a limit. 0: all. */
size_t document_rows(FILE *out, const struct filter *filter);

/*
 * Applies `filter` to the rows of a finished memcgprof.summary as the daemon would have: the members sites and filter are
 * replaced. Totals stay. -EBADMSG when it has no rows.
 */
int document_filter(json_t *summary, const struct filter *filter);

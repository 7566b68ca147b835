/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Documents as pages for people. The renderer reads JSON only, so that what a person sees is what a script gets, whoever made
 * the document and however old it is: an absent member is shown as "-".
 *
 * Each function returns 0, -EBADMSG when the document is of another format, or -ENOMEM; output errors stay in the stream.
 */
#pragma once

#include <jansson.h>

#include "util.h"

/* Rows that a terminal gets when nobody asked for more. */
#define RENDER_ROWS 20

struct render_how {
        size_t max_rows; /* 0: all rows of the document */
        bool tree;       /* of all of them, whatever max_rows says: tree.h */
};

/* A memcgprof.summary or a memcgprof.report. */
int render_summary(FILE *out, const json_t *document, struct render_how how);

/* A memcgprof.allocinfo. */
int render_allocinfo(FILE *out, const json_t *document, struct render_how how);

int render_support(FILE *out, const json_t *document);
int render_list(FILE *out, const json_t *document);

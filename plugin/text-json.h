/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * JSON written straight into one growing text, for what a document has thousands of: an object for each of them costs more
 * than all else that a summary does. Compact, members in the order of the calls, byte for byte as jansson writes them.
 */
#pragma once

#include "util.h"

/* All zero is empty. The first allocation that fails empties it, and it stays so: whoever writes asks once, at the end. */
struct text_json {
        char *text; /* not terminated */
        size_t n, room;
        bool failed;
};

void text_json_done(struct text_json *j);

/* The text, which is the caller's from now on; NULL when memory ran out on the way. */
char *text_json_take(struct text_json *j);

/* What is JSON already, or a part of it. */
void text_json_raw(struct text_json *j, const char *text, size_t n);

/* Each writes one member, or an element of a list where `name` is NULL; names are plain ASCII. */
void text_json_open(struct text_json *j, const char *name, char bracket); /* '{' or '[' */
void text_json_close(struct text_json *j, char bracket);                  /* '}' or ']' */
void text_json_null(struct text_json *j, const char *name);
void text_json_boolean(struct text_json *j, const char *name, bool value);
void text_json_integer(struct text_json *j, const char *name, int64_t value);
void text_json_string(struct text_json *j, const char *name, const char *value, size_t max); /* by text_escape(); NULL: null */

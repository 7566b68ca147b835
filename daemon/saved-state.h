/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a daemon writes down for the next one: a file of lines, the first of which is all there was, and each further one what
 * has changed since. A line is there as a whole, or it does not count. What is read is text from outside: it is parsed here,
 * and understood by whoever reads it.
 *
 * Form (memcgprof.saved, version 1): {"format", "version", "tool", "generation", "segments", "profiles": [...]}; segments as
 * segment-state.h has it, each profile {"profile": as profile-state.h, "views", "requesters", "mode", "init", "end", "report",
 * ...}. "gone" has the scopes of profiles of former lines that are no more; what is read is one such document, of all lines
 * together.
 */
#pragma once

#include <jansson.h>

#include "util.h"

#define SAVED_FORMAT "memcgprof.saved"
#define SAVED_VERSION 1

/* Writes the first line of DIRECTORY/state, a file of its own. What the file system says; the former one stays then. */
int saved_state_write(const char *directory, const char *text, size_t n);

/* Adds a line. After a failure it may be there in part, which is no line; the next one has to be a first one. */
int saved_state_append(const char *directory, const char *text, size_t n);

/* -ENOENT when there is none; -EBADMSG when it is no such document or of another version, with a sentence. */
int saved_state_read(const char *directory, json_t **ret, char **reterr);

/* The text alone, for saved_state_read() and its tests. */
int saved_state_parse(const char *text, size_t n, json_t **ret, char **reterr);

void saved_state_remove(const char *directory);

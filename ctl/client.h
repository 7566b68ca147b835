/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The daemon as seen from the command line: one function per method that a verb needs.
 *
 * Invariants: no environment variable is asked for the address; connecting, authentication and every call have a deadline, so
 * that a stopped bus or daemon ends in a sentence. All functions return with *reterr set on failure but for -ENOMEM:
 *   -ENXIO       nobody answers there: no bus, or no daemon on it
 *   -ETIMEDOUT   somebody is there and did not answer in time
 *   else         what the daemon refused, in its own words (a bus error's errno)
 */
#pragma once

#include "filter.h"
#include "report.h"

struct client;

/* address: "unix:path=..." (or "unix:abstract=..."). Connects and says Hello. */
int client_new(const char *address, struct client **ret, char **reterr);
struct client *client_free(struct client *c);
DEFINE_CLEANUP(struct client, client_free)

/* The memcgprof.support document as text. */
int client_support(struct client *c, char **ret_json, char **reterr);

/* spec may be NULL. ret_path: the profile's object. */
int client_start(struct client *c, const char *target, const char *spec, char **ret_path, char **reterr);

/* The object of the profile that measures, or measured, `target`. */
int client_find(struct client *c, const char *target, char **ret_path, char **reterr);
int client_stop(struct client *c, const char *path, char **reterr);

/* Does not start a daemon for it. */
int client_set_mode(struct client *c, const char *mode, char **reterr);

/* The memcgprof.summary document as text; one that is too large for a reply comes through a memfd (Dump). */
int client_summary(struct client *c, const char *path, const struct filter *filter, char **ret_json, char **reterr);

/* The memcgprof.list document. New reference. */
int client_list(struct client *c, json_t **ret, char **reterr);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The verbs of `memcgprof`: one table that parsing, dispatch and help share, and the functions behind it, each in the file of
 * its noun.
 */
#pragma once

#include "options.h"
#include "render.h"

enum { EXIT_USAGE = 2 };

struct verb {
        const char *name;
        const char *args; /* as shown in the help, "" for none */
        int min_args;
        int max_args;   /* -1: any number */
        unsigned takes; /* groups of options, see options.h */
        bool daemon;    /* it has nothing to say when no daemon runs; the others say so and go on */
        const char *help;

        /* Prints what it has to say and returns the exit status. `o` is parsed and checked. */
        int (*run)(const struct options *o);

        /* Of a verb with TAKES_FILTER: refuses keys that its rows cannot answer. NULL: they are rows of a summary. */
        int (*check_filter)(const struct filter *f, char **reterr);
};

extern const struct verb verbs[];
extern const size_t verbs_count;

const struct verb *verb_find(const char *name); /* NULL when there is no such verb */

/* The verbs, by file. */
int verb_support(const struct options *o); /* verb-support.c */
int verb_off(const struct options *o);     /* verb-off.c */
int verb_list(const struct options *o);    /* verb-profile.c */
int verb_start(const struct options *o);
int verb_stop(const struct options *o);
int verb_show(const struct options *o);
int verb_report(const struct options *o);    /* verb-report.c */
int verb_run(const struct options *o);       /* verb-run.c */
int verb_allocinfo(const struct options *o); /* verb-allocinfo.c */
int verb_help(const struct options *o);      /* help.c */

/*
 * Prints "memcgprof: SENTENCE" on standard error and returns EXIT_FAILURE. `sentence` may be NULL (then `error`, a negative
 * errno, speaks) and may hold anything: it is escaped.
 */
int verb_complain(int error, const char *sentence);

/* How the rows of a verb with TAKES_FILTER are shown on `out`. */
struct render_how verb_how(const struct options *o, FILE *out);

/* A sentence of our own on standard error, "memcgprof: ..."; for what goes on nevertheless. */
void verb_note(const char *format, ...) _printf_(1, 2);

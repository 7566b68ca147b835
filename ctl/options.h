/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The command line's words, parsed. One table of options (and filter_fields for those that are filter keys) feeds parsing,
 * help and, through the help text, the check of the man page.
 *
 * Invariants: parsing prints nothing and calls nothing; every usage error is one sentence; an option that the verb does not
 * take is an error and never ignored.
 */
#pragma once

#include "filter.h"

struct verb;

/* What a verb takes besides its arguments: a bit per group of options. */
enum {
        TAKES_JSON = 1 << 0,   /* it has a document */
        TAKES_FILTER = 1 << 1, /* it shows rows */
        TAKES_PINS = 1 << 5,   /* what the daemon counts by, when there is no daemon */
        TAKES_STATE = 1 << 2,  /* it looks into the daemon's state directory */
        TAKES_RUN = 1 << 3,    /* it runs a command */
        TAKES_ROOT = 1 << 4,   /* it reads the kernel's files */
};

struct options {
        const char *bus;       /* address, never NULL */
        const char *state_dir; /* never NULL */
        const char *pins;      /* never NULL */
        const char *root;      /* never NULL, "" for the machine's own */
        const char *spec;      /* NULL: not given */
        const char *output;    /* file for the document, NULL: not given */
        bool json;
        bool tree;
        bool help;
        bool version;
        struct filter filter;
        const struct verb *verb; /* NULL: none given (then help or version is set) */
        char **args;             /* the verb's own, NULL-terminated, within argv */
        int n_args;
};

struct option {
        char letter;         /* 0: none */
        const char *name;    /* without dashes */
        const char *metavar; /* NULL: takes no value */
        unsigned takes;      /* 0: every verb; else the group of options it belongs to */
        const char *help;
};

extern const struct option options_table[];
extern const size_t options_count;

/* The letter that stands for a filter key, or 0. They mean what they mean in alloctop. */
char options_letter(enum filter_key key);

/* Name of a filter key's option: its dashes for underscores. NULL on ENOMEM. */
char *options_filter_name(enum filter_key key);

/*
 * Parses argv; reorders nothing, points into it, and copies only what the filter keeps. Options may stand before and after the
 * verb and between its arguments, but for a verb that runs a command: there the first word that is no option ends them, and
 * "--" always does. -EINVAL with a sentence for every wrong use; -ENOMEM. Free with options_done() in any case.
 */
int options_parse(int argc, char **argv, struct options *ret, char **reterr);
void options_done(struct options *o);

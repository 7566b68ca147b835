/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The filter: which rows a reader wants, in which order, how many, grouped by what. One table (filter_fields) feeds the bus,
 * the command line's options, the help and the documents' "filter" member. Names and meaning are those of the kernel's
 * allocinfo filter: exact match, all given keys must hold, sizes compare signed.
 */
#pragma once

#include "util.h"

enum filter_key {
        FILTER_MODNAME,
        FILTER_FUNCTION,
        FILTER_FILENAME,
        FILTER_LINENO,
        FILTER_MIN_SIZE,
        FILTER_MAX_SIZE,
        FILTER_INACCURATE,
        FILTER_TYPE,
        FILTER_CATEGORY,
        FILTER_CHARGED,
        FILTER_NODE,
        FILTER_PID,
        FILTER_OLDER_THAN_US,
        FILTER_SORT,
        FILTER_LIMIT,
        FILTER_GROUP_BY,
        _FILTER_KEY_MAX
};

enum filter_kind { FILTER_STRING, FILTER_INTEGER, FILTER_BOOLEAN };

struct filter_field {
        const char *name; /* as on the bus and in documents; the option is the same with dashes */
        enum filter_kind kind;
        const char *metavar; /* for --help */
        const char *help;
        const char *const *words; /* NULL-terminated list of the values it takes, or NULL: anything */
};

extern const struct filter_field filter_fields[_FILTER_KEY_MAX];

enum filter_sort { SORT_BYTES, SORT_CALLS, SORT_NAME };
enum filter_group { GROUP_SITE, GROUP_FUNCTION, GROUP_FILE, GROUP_MODULE, GROUP_CATEGORY, GROUP_TYPE, GROUP_NODE };

#define FILTER_STRING_MAX 512

struct filter {
        uint32_t given; /* bit per enum filter_key */
        char *strings[_FILTER_KEY_MAX];
        int64_t integers[_FILTER_KEY_MAX];
        bool booleans[_FILTER_KEY_MAX];
};

static inline bool filter_has(const struct filter *f, enum filter_key key) {
        return f->given & (1u << key);
}

void filter_done(struct filter *f);

/*
 * Sets one key by name. -EINVAL with a sentence that names the key: unknown, of a wrong type, out of range, not among its
 * words. A key may be given once. Strings are copied.
 */
int filter_set_string(struct filter *f, const char *key, const char *value, char **reterr);
int filter_set_integer(struct filter *f, const char *key, int64_t value, char **reterr);
int filter_set_boolean(struct filter *f, const char *key, bool value, char **reterr);

/* From text, for the command line: the field's kind decides ("64K" is a size for min_size and max_size, yes/no for booleans).
 */
int filter_set_text(struct filter *f, const char *key, const char *value, char **reterr);

/* Checks what only the whole can tell: min_size above max_size is -EINVAL. Call it after the last set. */
int filter_check(const struct filter *f, char **reterr);

/* For rows of sites: -EINVAL for a key that asks what only single allocations have, as captured stacks do. */
int filter_check_summary(const struct filter *f, char **reterr);

enum filter_sort filter_sort(const struct filter *f);
enum filter_group filter_group(const struct filter *f);
int64_t filter_limit(const struct filter *f); /* INT64_MAX when not given */

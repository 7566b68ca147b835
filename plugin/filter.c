/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The filter's table and its checks. Everything that may be wrong with a filter is found here, so that what selects rows later
 * never meets a value it has to doubt.
 *
 * Invariant: a key's bit in `given` is set only together with a checked value; a refused key leaves the filter as it was.
 */
#include "filter.h"
#include "text.h"

#define VALUE_SHOWN 64 /* bytes of an offending key or value that a sentence repeats */

static const char *const type_words[] = {"slab", "page", "user", "percpu", "vmalloc", NULL};
static const char *const sort_words[] = {[SORT_BYTES] = "bytes", [SORT_CALLS] = "calls", [SORT_NAME] = "name", NULL};
static const char *const group_words[] = {
        [GROUP_SITE] = "site",
        [GROUP_FUNCTION] = "function",
        [GROUP_FILE] = "file",
        [GROUP_MODULE] = "module",
        [GROUP_CATEGORY] = "category",
        [GROUP_TYPE] = "type",
        [GROUP_NODE] = "node",
        NULL,
};

const struct filter_field filter_fields[_FILTER_KEY_MAX] = {
        [FILTER_MODNAME] = {"modname", FILTER_STRING, "NAME", "only sites of this module (exact)"},
        [FILTER_FUNCTION] = {"function", FILTER_STRING, "NAME", "only sites in this function (exact)"},
        [FILTER_FILENAME] = {"filename", FILTER_STRING, "PATH", "only sites in this source file (exact)"},
        [FILTER_LINENO] = {"lineno", FILTER_INTEGER, "N", "only sites on this line"},
        [FILTER_MIN_SIZE] = {"min_size", FILTER_INTEGER, "SIZE", "only sites with at least so many live bytes"},
        [FILTER_MAX_SIZE] = {"max_size", FILTER_INTEGER, "SIZE", "only sites with at most so many live bytes"},
        [FILTER_INACCURATE] = {"inaccurate", FILTER_BOOLEAN, "BOOL",
                "only sites whose numbers are (not) known to be inaccurate"},
        [FILTER_TYPE] = {"type", FILTER_STRING, "TYPE", "only this type of memory", type_words},
        [FILTER_CATEGORY] = {"category", FILTER_STRING, "NAME", "only this part of the kernel (exact)"},
        [FILTER_CHARGED] = {"charged", FILTER_BOOLEAN, "BOOL", "only memory that is (not) billed to the memory cgroup"},
        [FILTER_NODE] = {"node", FILTER_INTEGER, "N", "only what lies on this NUMA node (with the spec word numa)"},
        [FILTER_PID] = {"pid", FILTER_INTEGER, "PID", "only what this process allocated (stacks only)"},
        [FILTER_OLDER_THAN_US] = {"older_than_us", FILTER_INTEGER, "N", "only what is older than this (stacks only)"},
        [FILTER_SORT] = {"sort", FILTER_STRING, "ORDER", "order of the rows", sort_words},
        [FILTER_LIMIT] = {"limit", FILTER_INTEGER, "N", "at most so many rows"},
        [FILTER_GROUP_BY] = {"group_by", FILTER_STRING, "WHAT", "one row for all sites that share this", group_words},
};

/* The least an integer may be. Sizes compare signed, as in the kernel: live bytes can be negative. */
static const int64_t smallest[_FILTER_KEY_MAX] = {
        [FILTER_LINENO] = 0,
        [FILTER_MIN_SIZE] = INT64_MIN,
        [FILTER_MAX_SIZE] = INT64_MIN,
        [FILTER_NODE] = 0,
        [FILTER_PID] = 1,
        [FILTER_OLDER_THAN_US] = 0,
        [FILTER_LIMIT] = 1,
};

static const char *const kind_names[] = {
        [FILTER_STRING] = "a string",
        [FILTER_INTEGER] = "an integer",
        [FILTER_BOOLEAN] = "a boolean",
};

void filter_done(struct filter *f) {
        for (size_t i = 0; i < _FILTER_KEY_MAX; i++)
                free(f->strings[i]);
        *f = (struct filter){};
}

static int refuse(char **reterr, const char *key, const char *value, const char *why) {
        _cleanup_free_ char *shown = text_escape(value, strlen(value), VALUE_SHOWN);

        return fail(reterr, -EINVAL, "The filter key \"%s\" takes %s, not \"%s\".", key, why, shown ? shown : "?");
}

static int find_key(const char *name, char **reterr) {
        _cleanup_free_ char *shown = NULL;

        for (size_t i = 0; i < ELEMENTS(filter_fields); i++)
                if (streq(filter_fields[i].name, name))
                        return i;
        shown = text_escape(name, strlen(name), VALUE_SHOWN);
        return fail(reterr, -EINVAL, "The filter key \"%s\" is not known.", shown ? shown : "?");
}

/* The key of this name, if it may be set, now, to a value of this kind. */
static int admit(const struct filter *f, const char *name, enum filter_kind kind, char **reterr) {
        int key = find_key(name, reterr);

        if (key < 0)
                return key;
        if (filter_fields[key].kind != kind)
                return fail(reterr, -EINVAL, "The filter key \"%s\" takes %s, not %s.", name,
                        kind_names[filter_fields[key].kind], kind_names[kind]);
        if (filter_has(f, key))
                return fail(reterr, -EINVAL, "The filter key \"%s\" is given twice.", name);
        return key;
}

/* "bytes, calls or name" */
static char *list_words(const char *const *words) {
        char *list = NULL;

        for (size_t i = 0; words[i]; i++) {
                _cleanup_free_ char *before = TAKE(list);

                list = format("%s%s%s", before ? before : "", i == 0 ? "" : words[i + 1] ? ", " : " or ", words[i]);
                if (!list)
                        return NULL;
        }
        return list;
}

static int find_in(const char *const *words, const char *value) {
        for (size_t i = 0; words[i]; i++)
                if (streq(words[i], value))
                        return i;
        return -EINVAL;
}

int filter_set_string(struct filter *f, const char *key, const char *value, char **reterr) {
        int k = admit(f, key, FILTER_STRING, reterr);
        const char *const *words;
        char *copy;

        if (k < 0)
                return k;
        words = filter_fields[k].words;
        if (words && find_in(words, value) < 0) {
                _cleanup_free_ char *list = list_words(words);

                return refuse(reterr, key, value, list ? list : "one of its words");
        }
        if (strnlen(value, FILTER_STRING_MAX + 1) > FILTER_STRING_MAX)
                return fail(reterr, -EINVAL, "The filter key \"%s\" takes at most %d bytes.", key, FILTER_STRING_MAX);
        copy = strdup(value);
        if (!copy)
                return -ENOMEM;
        f->strings[k] = copy;
        f->given |= 1u << k;
        return 0;
}

int filter_set_integer(struct filter *f, const char *key, int64_t value, char **reterr) {
        int k = admit(f, key, FILTER_INTEGER, reterr);

        if (k < 0)
                return k;
        if (value < smallest[k])
                return fail(reterr, -EINVAL, "The filter key \"%s\" takes %lld or more, not %lld.", key, (long long)smallest[k],
                        (long long)value);
        f->integers[k] = value;
        f->given |= 1u << k;
        return 0;
}

int filter_set_boolean(struct filter *f, const char *key, bool value, char **reterr) {
        int k = admit(f, key, FILTER_BOOLEAN, reterr);

        if (k < 0)
                return k;
        f->booleans[k] = value;
        f->given |= 1u << k;
        return 0;
}

static int set_integer_text(struct filter *f, const char *key, bool size, const char *value, char **reterr) {
        int64_t v;
        uint64_t u;
        int r = text_to_i64(value, &v);

        if (r < 0 && size) {
                r = text_to_size(value, &u);
                if (r >= 0)
                        v = u; /* a size is at most 2^62 */
        }
        if (r == -ERANGE)
                return refuse(reterr, key, value, "a number within 64 bits");
        if (r < 0)
                return refuse(
                        reterr, key, value, size ? "a number of bytes, or one with the suffix K, M or G" : "a whole number");
        return filter_set_integer(f, key, v, reterr);
}

static int set_boolean_text(struct filter *f, const char *key, const char *value, char **reterr) {
        static const char *const words[] = {"no", "yes", "false", "true", NULL};
        int word = find_in(words, value);

        if (word < 0)
                return refuse(reterr, key, value, "yes or no");
        return filter_set_boolean(f, key, word & 1, reterr);
}

int filter_set_text(struct filter *f, const char *key, const char *value, char **reterr) {
        int k = find_key(key, reterr);

        if (k < 0)
                return k;
        switch (filter_fields[k].kind) {
        case FILTER_STRING:
                return filter_set_string(f, key, value, reterr);
        case FILTER_INTEGER:
                return set_integer_text(f, key, k == FILTER_MIN_SIZE || k == FILTER_MAX_SIZE, value, reterr);
        case FILTER_BOOLEAN:
                return set_boolean_text(f, key, value, reterr);
        }
        return -EINVAL;
}

int filter_check(const struct filter *f, char **reterr) {
        int64_t min = f->integers[FILTER_MIN_SIZE], max = f->integers[FILTER_MAX_SIZE];

        if (filter_has(f, FILTER_MIN_SIZE) && filter_has(f, FILTER_MAX_SIZE) && min > max)
                return fail(reterr, -EINVAL, "The filter key \"min_size\" (%lld) is above \"max_size\" (%lld).", (long long)min,
                        (long long)max);
        return 0;
}

int filter_check_summary(const struct filter *f, char **reterr) {
        static const enum filter_key foreign[] = {FILTER_PID, FILTER_OLDER_THAN_US};

        for (size_t i = 0; i < ELEMENTS(foreign); i++)
                if (filter_has(f, foreign[i]))
                        return fail(reterr, -EINVAL,
                                "The filter key \"%s\" selects captured stacks only: a site's row is of no one process or age.",
                                filter_fields[foreign[i]].name);
        return 0;
}

enum filter_sort filter_sort(const struct filter *f) {
        return filter_has(f, FILTER_SORT) ? (enum filter_sort)find_in(sort_words, f->strings[FILTER_SORT]) : SORT_BYTES;
}

enum filter_group filter_group(const struct filter *f) {
        return filter_has(f, FILTER_GROUP_BY) ? (enum filter_group)find_in(group_words, f->strings[FILTER_GROUP_BY])
                                              : GROUP_SITE;
}

int64_t filter_limit(const struct filter *f) {
        return filter_has(f, FILTER_LIMIT) ? f->integers[FILTER_LIMIT] : INT64_MAX;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See bus-filter.h. Which keys there are and what they take is the filter's own table; here D-Bus types become the three kinds
 * that it knows.
 */
#include "bus-filter.h"
#include "bus-error.h"
#include "bus-options.h"

static const char *const kind_types[] = {[FILTER_STRING] = "s", [FILTER_INTEGER] = "any integer type", [FILTER_BOOLEAN] = "b"};

static int set_string(sd_bus_message *m, struct filter *f, const char *key, char **reterr) {
        const char *value;
        int r;

        r = sd_bus_message_read_basic(m, 's', &value);
        return r < 0 ? r : filter_set_string(f, key, value, reterr);
}

static int set_boolean(sd_bus_message *m, struct filter *f, const char *key, char **reterr) {
        int value, r;

        r = sd_bus_message_read_basic(m, 'b', &value);
        return r < 0 ? r : filter_set_boolean(f, key, value != 0, reterr);
}

static int set_integer(sd_bus_message *m, struct filter *f, const char *key, char type, char **reterr) {
        int64_t value;
        int r;

        r = bus_read_integer(m, type, &value);
        if (r == -ERANGE)
                return fail(reterr, -EINVAL, "Filter key '%s' is out of range; give a number below 2^63.", key);
        return r < 0 ? r : filter_set_integer(f, key, value, reterr);
}

static const struct filter_field *find(const char *key) {
        for (size_t i = 0; i < _FILTER_KEY_MAX; i++)
                if (streq(filter_fields[i].name, key))
                        return &filter_fields[i];
        return NULL;
}

/* For a key that filter_set_*() were not asked about, because no kind of theirs has that D-Bus type. */
static int refuse_type(const char *key, const char *contents, char **reterr) {
        const struct filter_field *field = find(key);

        if (!field)
                return fail(reterr, -EINVAL, "Filter key '%.64s' is not known to this version; leave it out.", key);
        return fail(reterr, -EINVAL, "Filter key '%s' is of type '%.64s'; give it as '%s'.", key, contents,
                kind_types[field->kind]);
}

static int set_value(sd_bus_message *m, struct filter *f, const char *key, const char *contents, char **reterr) {
        if (streq(contents, "s"))
                return set_string(m, f, key, reterr);
        if (streq(contents, "b"))
                return set_boolean(m, f, key, reterr);
        if (strlen(contents) == 1 && strchr("ynqiuxt", contents[0]))
                return set_integer(m, f, key, contents[0], reterr);
        return refuse_type(key, contents, reterr);
}

static int read_entry(sd_bus_message *m, struct filter *f, sd_bus_error *error) {
        _cleanup_free_ char *sentence = NULL;
        const char *key, *contents;
        int r;

        r = sd_bus_message_read(m, "s", &key);
        if (r < 0)
                return r;
        r = sd_bus_message_peek_type(m, NULL, &contents);
        if (r < 0)
                return r;
        r = sd_bus_message_enter_container(m, 'v', contents);
        if (r < 0)
                return r;
        r = set_value(m, f, key, contents, &sentence);
        if (r == -EINVAL)
                return bus_error_set(error, -EDOM, sentence);
        if (r < 0)
                return bus_error_set(error, r, sentence);
        return sd_bus_message_exit_container(m);
}

int bus_filter_read(sd_bus_message *m, struct filter *ret, sd_bus_error *error) {
        _cleanup_free_ char *sentence = NULL;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                r = read_entry(m, ret, error);
                if (r < 0)
                        return r;
                r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }
        if (r < 0)
                return r;
        r = filter_check(ret, &sentence);
        if (r < 0)
                return bus_error_set(error, r == -EINVAL ? -EDOM : r, sentence);
        return sd_bus_message_exit_container(m);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See bus-options.h. */
#include "bus-options.h"
#include "bus-error.h"

int bus_read_integer(sd_bus_message *m, char type, int64_t *ret) {
        union {
                uint8_t y;
                int16_t n;
                uint16_t q;
                int32_t i;
                uint32_t u;
                int64_t x;
                uint64_t t;
        } v;
        int r;

        if (!strchr("ynqiuxt", type))
                return -EBADMSG;
        r = sd_bus_message_read_basic(m, type, &v);
        if (r < 0)
                return r;
        switch (type) {
        case 'y':
                *ret = v.y;
                break;
        case 'n':
                *ret = v.n;
                break;
        case 'q':
                *ret = v.q;
                break;
        case 'i':
                *ret = v.i;
                break;
        case 'u':
                *ret = v.u;
                break;
        case 'x':
                *ret = v.x;
                break;
        default:
                if (v.t > INT64_MAX)
                        return -ERANGE;
                *ret = (int64_t)v.t;
        }
        return 0;
}

static int read_integer(sd_bus_message *m, const char *contents, uint64_t *ret) {
        int64_t v;
        int r;

        r = strlen(contents) == 1 ? bus_read_integer(m, contents[0], &v) : -EBADMSG;
        if (r < 0)
                return r;
        if (v < 0)
                return -ERANGE;
        *ret = (uint64_t)v;
        return 0;
}

static int read_strings(sd_bus_message *m, const struct bus_option *option, void *target) {
        const char *key, *value;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{ss}");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_read(m, "{ss}", &key, &value)) > 0) {
                r = option->pair(target, key, value);
                if (r < 0)
                        return r;
        }
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

static const char *const kind_types[] = {"s", "any integer type", "h", "a{ss}"};

/* The variant is open. Returns -EBADMSG for a wrong type and -ERANGE for a number that does not fit. */
static int read_value(sd_bus_message *m, const struct bus_option *option, const char *contents, void *target) {
        void *member = (char *)target + option->offset;

        if (option->kind != BUS_OPTION_INTEGER && !streq(contents, kind_types[option->kind]))
                return -EBADMSG;
        switch (option->kind) {
        case BUS_OPTION_STRING:
                return sd_bus_message_read_basic(m, 's', member);
        case BUS_OPTION_INTEGER:
                return read_integer(m, contents, member);
        case BUS_OPTION_FD:
                return sd_bus_message_read_basic(m, 'h', member);
        case BUS_OPTION_STRINGS:
                return read_strings(m, option, target);
        }
        return -EBADMSG;
}

static int read_option(sd_bus_message *m, const struct bus_option *option, const char *key, void *target, sd_bus_error *error) {
        const char *contents;
        char type;
        int r;

        r = sd_bus_message_peek_type(m, &type, &contents);
        if (r < 0)
                return r;
        r = sd_bus_message_enter_container(m, 'v', contents);
        if (r < 0)
                return r;
        r = read_value(m, option, contents, target);
        if (r == -EBADMSG)
                return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS, "Option '%s' is of type '%s'; give it as '%s'.", key,
                        contents, kind_types[option->kind]);
        if (r == -ERANGE)
                return sd_bus_error_setf(
                        error, SD_BUS_ERROR_INVALID_ARGS, "Option '%s' is out of range; give a number from 0 to 2^63-1.", key);
        if (r < 0)
                return r;
        return sd_bus_message_exit_container(m);
}

static const struct bus_option *find(const struct bus_option *table, size_t n, const char *key) {
        for (size_t i = 0; i < n; i++)
                if (streq(table[i].name, key))
                        return &table[i];
        return NULL;
}

static int read_entry(
        sd_bus_message *m, const struct bus_option *table, size_t n, void *target, uint32_t *seen, sd_bus_error *error) {
        const struct bus_option *option;
        const char *key;
        int r;

        r = sd_bus_message_read(m, "s", &key);
        if (r < 0)
                return r;
        option = find(table, n, key);
        if (!option)
                return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS,
                        "Option '%.64s' is not known to this version (%s); leave it out.", key, MEMCGPROF_VERSION);
        if (*seen & 1u << (option - table))
                return sd_bus_error_setf(error, SD_BUS_ERROR_INVALID_ARGS, "Option '%s' is given twice; give it once.", key);
        *seen |= 1u << (option - table);
        return read_option(m, option, key, target, error);
}

int bus_options_read(sd_bus_message *m, const struct bus_option *table, size_t n, void *target, sd_bus_error *error) {
        uint32_t seen = 0;
        int r;

        r = sd_bus_message_enter_container(m, 'a', "{sv}");
        if (r < 0)
                return r;
        while ((r = sd_bus_message_enter_container(m, 'e', "sv")) > 0) {
                r = read_entry(m, table, n, target, &seen, error);
                if (r < 0)
                        return r;
                r = sd_bus_message_exit_container(m);
                if (r < 0)
                        return r;
        }
        return r < 0 ? r : sd_bus_message_exit_container(m);
}

int bus_options_none(sd_bus_message *m, sd_bus_error *error) {
        return bus_options_read(m, NULL, 0, NULL, error);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See config-value.h. Strict: a value that is half understood is refused. */
#include <ctype.h>
#include <strings.h>

#include "config-value.h"
#include "text.h"

#define SHARE_WHOLE 10000
#define FRACTION_DIGITS_MAX 6

struct unit {
        const char *name;
        uint64_t worth;
};

/* Microseconds; the first name of each worth is the one that is written. As systemd.time(7), up to weeks. */
static const struct unit span_units[] = {
        {"w", UINT64_C(604800000000)},
        {"week", UINT64_C(604800000000)},
        {"weeks", UINT64_C(604800000000)},
        {"d", UINT64_C(86400000000)},
        {"day", UINT64_C(86400000000)},
        {"days", UINT64_C(86400000000)},
        {"h", UINT64_C(3600000000)},
        {"hr", UINT64_C(3600000000)},
        {"hour", UINT64_C(3600000000)},
        {"hours", UINT64_C(3600000000)},
        {"min", UINT64_C(60000000)},
        {"m", UINT64_C(60000000)},
        {"minute", UINT64_C(60000000)},
        {"minutes", UINT64_C(60000000)},
        {"s", UINT64_C(1000000)},
        {"sec", UINT64_C(1000000)},
        {"second", UINT64_C(1000000)},
        {"seconds", UINT64_C(1000000)},
        {"", UINT64_C(1000000)},
        {"ms", UINT64_C(1000)},
        {"msec", UINT64_C(1000)},
        {"us", UINT64_C(1)},
        {"usec", UINT64_C(1)},
};

static const struct unit size_units[] = {{"G", UINT64_C(1) << 30}, {"M", UINT64_C(1) << 20}, {"K", UINT64_C(1) << 10}};

static const char *const true_words[] = {"yes", "true", "on", "1", "y", "t"};
static const char *const false_words[] = {"no", "false", "off", "0", "n", "f"};

static bool one_of(const char *text, const char *const *words, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (strcasecmp(text, words[i]) == 0)
                        return true;
        return false;
}

static int parse_bool(const char *text, uint64_t *ret) {
        bool yes = one_of(text, true_words, ELEMENTS(true_words));

        if (!yes && !one_of(text, false_words, ELEMENTS(false_words)))
                return -EINVAL;
        *ret = yes;
        return 0;
}

/* Decimal digits and perhaps a fraction, times `worth`: "1.5" of a minute. What the fraction is too fine for is cut off. */
static int scale(const char *digits, size_t n, const char *fraction, size_t n_fraction, uint64_t worth, uint64_t *ret) {
        uint64_t whole = 0, part = 0, of = 1;

        if (n == 0 || n_fraction > FRACTION_DIGITS_MAX)
                return -EINVAL;
        for (size_t i = 0; i < n; i++)
                if (__builtin_mul_overflow(whole, 10, &whole) || __builtin_add_overflow(whole, digits[i] - '0', &whole))
                        return -ERANGE;
        for (size_t i = 0; i < n_fraction; i++) {
                part = part * 10 + (uint64_t)(fraction[i] - '0');
                of *= 10;
        }
        if (__builtin_mul_overflow(whole, worth, &whole) || __builtin_mul_overflow(part, worth, &part) ||
                __builtin_add_overflow(whole, part / of, &whole))
                return -ERANGE;
        *ret = whole;
        return 0;
}

static size_t count_digits(const char *s) {
        return strspn(s, "0123456789");
}

/* One number with its unit; *p moves on behind both and the blanks around them. */
static int parse_term(const char **p, uint64_t *ret) {
        const char *digits = *p, *fraction, *name;
        size_t n = count_digits(digits), n_fraction = 0, n_name = 0;

        fraction = digits + n;
        name = fraction;
        if (*fraction == '.') {
                n_fraction = count_digits(++fraction);
                if (n_fraction == 0)
                        return -EINVAL;
                name = fraction + n_fraction;
        }
        name += strspn(name, " \t");
        while (isalpha((unsigned char)name[n_name]))
                n_name++;
        *p = name + n_name + strspn(name + n_name, " \t");
        for (size_t i = 0; i < ELEMENTS(span_units); i++)
                if (strlen(span_units[i].name) == n_name && strncmp(span_units[i].name, name, n_name) == 0)
                        return scale(digits, n, fraction, n_fraction, span_units[i].worth, ret);
        return -EINVAL;
}

static int parse_span(const char *text, uint64_t *ret) {
        const char *p = text;
        uint64_t sum = 0;

        do {
                uint64_t term;
                int r = parse_term(&p, &term);

                if (r < 0)
                        return r;
                if (__builtin_add_overflow(sum, term, &sum))
                        return -ERANGE;
        } while (*p);
        *ret = sum;
        return 0;
}

static int parse_share(const char *text, uint64_t *ret) {
        size_t n = count_digits(text), n_fraction = 0;
        const char *fraction = text + n, *end = fraction;

        if (strcasecmp(text, "off") == 0) {
                *ret = 0;
                return 0;
        }
        if (*fraction == '.') {
                n_fraction = count_digits(++fraction);
                end = fraction + n_fraction;
                if (n_fraction == 0 || n_fraction > 2)
                        return -EINVAL;
        }
        end += strspn(end, " \t");
        return streq(end, "%") ? scale(text, n, fraction, n_fraction, SHARE_WHOLE / 100, ret) : -EINVAL;
}

static int parse(enum config_kind kind, const char *text, uint64_t *ret) {
        switch (kind) {
        case CONFIG_BOOL:
                return parse_bool(text, ret);
        case CONFIG_COUNT:
                return text_to_u64(text, ret);
        case CONFIG_SIZE:
                return text_to_size(text, ret);
        case CONFIG_SPAN:
                return parse_span(text, ret);
        case CONFIG_SHARE:
                return parse_share(text, ret);
        }
        return -EINVAL;
}

static const char *what_it_is(enum config_kind kind) {
        static const char *const words[] = {
                [CONFIG_BOOL] = "yes or no",
                [CONFIG_COUNT] = "a number",
                [CONFIG_SIZE] = "a size in bytes or with K, M or G",
                [CONFIG_SPAN] = "a time such as 90s, 10min or 7d",
                [CONFIG_SHARE] = "off or a percentage",
        };

        return words[kind];
}

static int refuse(const struct config_range *range, char **reterr) {
        _cleanup_free_ char *min = config_value_format(range->kind, range->min),
                            *max = config_value_format(range->kind, range->max);

        if (range->kind == CONFIG_BOOL)
                return fail(reterr, -EINVAL, "%s", what_it_is(range->kind));
        return fail(reterr, -EINVAL, "%s from %s to %s", what_it_is(range->kind), min ? min : "?", max ? max : "?");
}

int config_value_parse(const struct config_range *range, const char *text, uint64_t *ret, char **reterr) {
        uint64_t value;

        if (range->max == UINT64_MAX && streq(text, "infinity"))
                value = UINT64_MAX;
        else if (parse(range->kind, text, &value) < 0 || value == UINT64_MAX)
                return refuse(range, reterr);
        if (range->kind == CONFIG_SHARE ? value > range->max || (value > 0 && value < range->min)
                                        : value < range->min || value > range->max)
                return refuse(range, reterr);
        *ret = value;
        return 0;
}

static char *format_size(uint64_t value) {
        for (size_t i = 0; value && i < ELEMENTS(size_units); i++)
                if (value % size_units[i].worth == 0)
                        return format("%llu%s", (unsigned long long)(value / size_units[i].worth), size_units[i].name);
        return format("%llu", (unsigned long long)value);
}

/* In the largest unit that leaves no rest. */
static char *format_span(uint64_t value) {
        for (size_t i = 0; value && i < ELEMENTS(span_units); i++)
                if (value % span_units[i].worth == 0)
                        return format("%llu%s", (unsigned long long)(value / span_units[i].worth), span_units[i].name);
        return strdup("0");
}

static char *format_share(uint64_t value) {
        unsigned whole = (unsigned)(value * 100 / SHARE_WHOLE), part = (unsigned)(value * 100 % SHARE_WHOLE) / 100;

        if (value == 0)
                return strdup("off");
        return part ? format("%u.%02u%%", whole, part) : format("%u%%", whole);
}

char *config_value_format(enum config_kind kind, uint64_t value) {
        if (value == UINT64_MAX)
                return strdup("infinity");
        switch (kind) {
        case CONFIG_BOOL:
                return strdup(value ? "yes" : "no");
        case CONFIG_COUNT:
                return format("%llu", (unsigned long long)value);
        case CONFIG_SIZE:
                return format_size(value);
        case CONFIG_SPAN:
                return format_span(value);
        case CONFIG_SHARE:
                return format_share(value);
        }
        return NULL;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fuzz target: the filter, as the command line sets it (text) and as the bus does (typed). An input is one setting in a line,
 * KEY=VALUE behind a letter for its kind: t(ext), s(tring), i(nteger), b(oolean).
 */
#include "filter.h"
#include "fuzz.h"
#include "text.h"

static int set(struct filter *f, char kind, const char *key, const char *value, char **reterr) {
        int64_t v = 0;

        switch (kind) {
        case 's':
                return filter_set_string(f, key, value, reterr);
        case 'i':
                (void)text_to_i64(value, &v);
                return filter_set_integer(f, key, v, reterr);
        case 'b':
                return filter_set_boolean(f, key, *value, reterr);
        default:
                return filter_set_text(f, key, value, reterr);
        }
}

static void check_word(const struct filter_field *field, const char *value) {
        size_t i = 0;

        demand(value && strlen(value) <= FILTER_STRING_MAX);
        if (!field->words)
                return;
        while (field->words[i] && !streq(field->words[i], value))
                i++;
        demand(field->words[i]);
}

static bool untouched(const struct filter *a, const struct filter *b) {
        return a->given == b->given && memcmp(a->strings, b->strings, sizeof a->strings) == 0 &&
               memcmp(a->integers, b->integers, sizeof a->integers) == 0 &&
               memcmp(a->booleans, b->booleans, sizeof a->booleans) == 0;
}

/* Exactly the named key came, with a value that it takes. */
static void check_taken(const struct filter *before, const struct filter *f, const char *name) {
        static const int64_t least[_FILTER_KEY_MAX] = {
                [FILTER_MIN_SIZE] = INT64_MIN, [FILTER_MAX_SIZE] = INT64_MIN, [FILTER_PID] = 1, [FILTER_LIMIT] = 1};
        uint32_t bit = before->given ^ f->given;
        int key = __builtin_ctz(bit);

        demand(bit && !(bit & (bit - 1)) && key < _FILTER_KEY_MAX && filter_has(f, key) &&
                streq(filter_fields[key].name, name));
        if (filter_fields[key].kind == FILTER_STRING)
                check_word(&filter_fields[key], f->strings[key]);
        if (filter_fields[key].kind == FILTER_INTEGER)
                demand(f->integers[key] >= least[key]);
}

/* What was taken can be said again as text and is taken as the same. */
static void check_again(const struct filter *f) {
        _cleanup_(filter_done) struct filter again = {};

        for (int key = 0; key < _FILTER_KEY_MAX; key++) {
                _cleanup_free_ char *number = format("%lld", (long long)f->integers[key]);
                enum filter_kind kind = filter_fields[key].kind;
                const char *value = kind == FILTER_STRING ? f->strings[key] : f->booleans[key] ? "yes" : "no";

                if (!filter_has(f, key))
                        continue;
                demand(filter_set_text(&again, filter_fields[key].name, kind == FILTER_INTEGER ? number : value, NULL) == 0);
                demand(again.integers[key] == f->integers[key] && again.booleans[key] == f->booleans[key]);
        }
        demand(again.given == f->given);
}

static void check_whole(const struct filter *f) {
        char *sentence = NULL;
        int r = filter_check(f, &sentence);

        fuzz_check_sentence(r, sentence);
        if (r == 0 && filter_has(f, FILTER_MIN_SIZE) && filter_has(f, FILTER_MAX_SIZE))
                demand(f->integers[FILTER_MIN_SIZE] <= f->integers[FILTER_MAX_SIZE]);
        sentence = NULL;
        r = filter_check_summary(f, &sentence);
        fuzz_check_sentence(r, sentence);
        demand(r < 0 || !(filter_has(f, FILTER_PID) || filter_has(f, FILTER_OLDER_THAN_US)));
        demand((unsigned)filter_sort(f) <= SORT_NAME && (unsigned)filter_group(f) <= GROUP_NODE && filter_limit(f) >= 1);
        check_again(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = fuzz_text(data, size);
        _cleanup_(filter_done) struct filter f = {};
        const char *p = text;
        char *line;

        while ((line = fuzz_line(&p))) {
                _cleanup_free_ char *setting = line;
                char *value = strchr(setting, '='), *sentence = NULL;
                struct filter before = f;
                int r;

                if (!value || value == setting)
                        continue;
                *value++ = '\0';
                r = set(&f, setting[0], setting + 1, value, &sentence);
                fuzz_check_sentence(r, sentence);
                if (r < 0)
                        demand(untouched(&before, &f));
                else
                        check_taken(&before, &f, setting + 1);
        }
        check_whole(&f);
        return 0;
}

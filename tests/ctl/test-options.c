/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The argument parser: what it takes, and that every wrong use is one sentence that names what was wrong. */
#include "../unit/unit.h"

#include "verb.h"

#define MAX_WORDS 16

struct parsed {
        char *words[MAX_WORDS + 2];
        struct options options;
        char *why;
        int r;
};

/* The parser moves words within argv, so it gets copies. NULL ends the list. */
static void parse(struct parsed *p, ...) {
        const char *word;
        va_list ap;
        int n = 0;

        *p = (struct parsed){};
        p->words[n++] = strdup("memcgprof");
        va_start(ap, p);
        while ((word = va_arg(ap, const char *)))
                p->words[n++] = strdup(word);
        va_end(ap);
        assert_true(n <= MAX_WORDS);
        {
                char *argv[MAX_WORDS + 2];

                memcpy(argv, p->words, sizeof(argv));
                p->r = options_parse(n, argv, &p->options, &p->why);
                /* args point into this frame's argv: keep what the test looks at */
                for (int i = 0; p->r >= 0 && i <= p->options.n_args; i++)
                        assert_true(p->options.args[i] ? i < p->options.n_args : i == p->options.n_args);
                p->options.args = NULL;
        }
}

static void parsed_done(struct parsed *p) {
        options_done(&p->options);
        free(p->why);
        for (size_t i = 0; i < ELEMENTS(p->words); i++)
                free(p->words[i]);
}

#define REFUSED(what, ...)                               \
        do {                                             \
                _cleanup_(parsed_done) struct parsed p_; \
                parse(&p_, __VA_ARGS__, NULL);           \
                assert_int_equal(p_.r, -EINVAL);         \
                assert_sentence(&p_.why, what);          \
        } while (0)

#define TAKEN(p_, ...)                                      \
        do {                                                \
                parse(p_, __VA_ARGS__, NULL);               \
                if ((p_)->r < 0)                            \
                        fail_msg("refused: %s", (p_)->why); \
        } while (0)

static void test_verbs(void **state) {
        for (size_t i = 0; i < verbs_count; i++) {
                const struct verb *v = &verbs[i];

                assert_ptr_equal(verb_find(v->name), v);
                assert_non_null(v->run);
                assert_true(v->max_args < 0 || v->min_args <= v->max_args);
                /* a verb without arguments says so, and one with some names them */
                assert_int_equal(*v->args != '\0', v->max_args != 0);
        }
        assert_null(verb_find("sho"));
        assert_null(verb_find(""));
}

static void test_arguments(void **state) {
        REFUSED("verb", "--json");
        REFUSED("frobnicate", "frobnicate");
        REFUSED("TARGET", "show");
        REFUSED("TARGET", "start");
        REFUSED("TARGET", "stop");
        REFUSED("COMMAND", "run");
        REFUSED("COMMAND", "run", "--");
        REFUSED("no argument", "list", "all");
        REFUSED("no argument", "off", "now");
        REFUSED("SPEC", "start", "a", "auto", "more");
        REFUSED("TARGET", "show", "a", "b");
        REFUSED("ID", "report", "a", "b");
}

static void test_no_words(void **state) {
        char name[] = "memcgprof", *argv[] = {name, NULL};
        struct options o;
        _cleanup_free_ char *why = NULL;

        assert_int_equal(options_parse(1, argv, &o, &why), -EINVAL);
        assert_sentence(&why, "verb");
        options_done(&o);
}

static void test_unknown_options(void **state) {
        REFUSED("--frob", "show", "a", "--frob");
        REFUSED("--frob=1", "show", "a", "--frob=1");
        REFUSED("--js", "--js", "list"); /* no abbreviations: scripts would break when options come */
        REFUSED("-x", "show", "a", "-x");
        REFUSED("--=", "show", "a", "--=");
        REFUSED("--min_size", "show", "a", "--min_size=4");
        REFUSED("\\x1b", "show", "a", "--\x1b[2J");
        REFUSED("\\x1b", "\x1b[2J");
}

static void test_values(void **state) {
        REFUSED("--bus", "list", "--bus");
        REFUSED("-n", "show", "a", "-n");
        REFUSED("--json=1", "list", "--json=1");
        REFUSED("limit", "show", "a", "-n", "many");
        REFUSED("limit", "show", "a", "-n0");
        REFUSED("limit", "show", "a", "-n", "1", "--limit=2");
        REFUSED("sort", "show", "a", "-s", "x");
        REFUSED("type", "show", "a", "--type=heap");
        REFUSED("charged", "show", "a", "--charged=perhaps");
        REFUSED("min_size", "show", "a", "--min-size=64K", "--max-size=1K");
        REFUSED("lineno", "show", "a", "--lineno=-1");
        REFUSED("bogus", "run", "--spec=auto,bogus", "true");
}

/* An option that does not belong to the verb is refused by its name. */
static void test_foreign_options(void **state) {
        REFUSED("--json", "start", "a", "--json");
        REFUSED("--json", "--json", "stop", "a");
        REFUSED("--json", "--json", "off");
        REFUSED("--limit", "list", "--limit=3");
        REFUSED("-n", "support", "-n3");
        REFUSED("--spec", "show", "a", "--spec=auto");
        REFUSED("--output", "show", "a", "--output=x");
        REFUSED("--state-dir", "show", "a", "--state-dir=/tmp");
}

static void test_defaults(void **state) {
        _cleanup_(parsed_done) struct parsed p;

        TAKEN(&p, "list");
        assert_ptr_equal(p.options.verb, verb_find("list"));
        assert_string_equal(p.options.bus, "unix:path=/run/dbus/system_bus_socket");
        assert_string_equal(p.options.state_dir, "/var/lib/memcgprof");
        assert_false(p.options.json);
        assert_int_equal(p.options.filter.given, 0);
}

static void test_anywhere(void **state) {
        _cleanup_(parsed_done) struct parsed p;

        TAKEN(&p, "--bus", "unix:path=/x", "show", "-n5", "abc", "--json", "-sc", "-m", "64K");
        assert_string_equal(p.options.bus, "unix:path=/x");
        assert_true(p.options.json);
        assert_int_equal(p.options.n_args, 1);
        assert_int_equal(filter_limit(&p.options.filter), 5);
        assert_int_equal(filter_sort(&p.options.filter), SORT_CALLS);
        assert_int_equal(p.options.filter.integers[FILTER_MIN_SIZE], 65536);
}

static void test_every_filter_option(void **state) {
        for (size_t i = 0; i < _FILTER_KEY_MAX; i++) {
                const struct filter_field *f = &filter_fields[i];
                const char *value = f->words ? f->words[0] : f->kind == FILTER_BOOLEAN ? "yes" : "7";
                _cleanup_free_ char *name = options_filter_name(i), *word = format("--%s=%s", name, value);
                _cleanup_(parsed_done) struct parsed p = {};

                assert_null(strchr(name, '_'));
                if (i == FILTER_PID || i == FILTER_OLDER_THAN_US) { /* of stacks: rows of sites do not have it */
                        REFUSED("stacks", "show", "a", word);
                        continue;
                }
                TAKEN(&p, "show", "a", word);
                assert_int_equal(p.options.filter.given, 1u << i);
        }
}

static void test_sort_letters(void **state) {
        const struct {
                const char *letter;
                enum filter_sort sort;
        } letters[] = {{"s", SORT_BYTES}, {"c", SORT_CALLS}, {"t", SORT_NAME}};

        for (size_t i = 0; i < ELEMENTS(letters); i++) {
                _cleanup_(parsed_done) struct parsed p;

                TAKEN(&p, "show", "a", "-s", letters[i].letter);
                assert_int_equal(filter_sort(&p.options.filter), letters[i].sort);
        }
}

/* A size may be negative: live bytes can be. */
static void test_negative_value(void **state) {
        _cleanup_(parsed_done) struct parsed p;

        TAKEN(&p, "show", "a", "--max-size", "-4096");
        assert_int_equal(p.options.filter.integers[FILTER_MAX_SIZE], -4096);
}

static void check_command(int n_args, const char *word, ...) {
        char *words[MAX_WORDS] = {strdup("memcgprof"), strdup("run")};
        _cleanup_free_ char *why = NULL;
        struct options o;
        char *argv[MAX_WORDS];
        int n = 2;
        va_list ap;

        va_start(ap, word);
        for (const char *w = word; w; w = va_arg(ap, const char *))
                words[n++] = strdup(w);
        va_end(ap);
        memcpy(argv, words, sizeof(argv));
        assert_int_equal(options_parse(n, argv, &o, &why), 0);
        assert_int_equal(o.n_args, n_args);
        assert_null(o.args[n_args]);
        for (int i = 0; i < n_args; i++)
                assert_string_equal(o.args[i], words[n - n_args + i]);
        options_done(&o);
        for (int i = 0; i < n; i++)
                free(words[i]);
}

/* The command's own options are its own, with "--" or without. */
static void test_command(void **state) {
        check_command(1, "true", NULL);
        check_command(2, "--", "ls", "-la", NULL);
        check_command(3, "ls", "--json", "-n5", NULL);
        check_command(3, "--spec", "auto", "--json", "ls", "--", "x", NULL);
        check_command(1, "--spec=single", "--output=/x", "--", "--weird", NULL);
}

static void test_help_and_version(void **state) {
        _cleanup_(parsed_done) struct parsed a, b, c;

        TAKEN(&a, "--help");
        assert_true(a.options.help);
        assert_null(a.options.verb);
        TAKEN(&b, "show", "-h"); /* no TARGET is needed to ask */
        assert_true(b.options.help);
        assert_ptr_equal(b.options.verb, verb_find("show"));
        TAKEN(&c, "--version");
        assert_true(c.options.version);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_verbs),
                cmocka_unit_test(test_arguments),
                cmocka_unit_test(test_no_words),
                cmocka_unit_test(test_unknown_options),
                cmocka_unit_test(test_values),
                cmocka_unit_test(test_foreign_options),
                cmocka_unit_test(test_defaults),
                cmocka_unit_test(test_anywhere),
                cmocka_unit_test(test_every_filter_option),
                cmocka_unit_test(test_sort_letters),
                cmocka_unit_test(test_negative_value),
                cmocka_unit_test(test_command),
                cmocka_unit_test(test_help_and_version),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}

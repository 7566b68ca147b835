/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The filter's table, its checks and its readings from the command line. */
#include "unit.h"

#include "filter.h"

static void test_table(void **state) {
        for (size_t i = 0; i < ELEMENTS(filter_fields); i++) {
                assert_non_null(filter_fields[i].name);
                assert_non_null(filter_fields[i].metavar);
                assert_non_null(filter_fields[i].help);
                assert_true(!filter_fields[i].words || filter_fields[i].kind == FILTER_STRING);
        }
}

static void test_defaults(void **state) {
        struct filter f = {};

        assert_int_equal(filter_sort(&f), SORT_BYTES);
        assert_int_equal(filter_group(&f), GROUP_SITE);
        assert_true(filter_limit(&f) == INT64_MAX);
        assert_int_equal(filter_check(&f, NULL), 0);
}

static void test_set(void **state) {
        struct filter f = {};

        assert_int_equal(filter_set_string(&f, "modname", "", NULL), 0); /* the kernel itself */
        assert_int_equal(filter_set_string(&f, "function", "alloc_inode", NULL), 0);
        assert_int_equal(filter_set_string(&f, "type", "vmalloc", NULL), 0);
        assert_int_equal(filter_set_string(&f, "sort", "calls", NULL), 0);
        assert_int_equal(filter_set_string(&f, "group_by", "type", NULL), 0);
        assert_int_equal(filter_set_integer(&f, "lineno", 0, NULL), 0);
        assert_int_equal(filter_set_integer(&f, "limit", 1, NULL), 0);
        assert_int_equal(filter_set_integer(&f, "min_size", -5, NULL), 0);
        assert_int_equal(filter_set_boolean(&f, "charged", true, NULL), 0);
        assert_int_equal(filter_set_boolean(&f, "inaccurate", false, NULL), 0);
        assert_int_equal(filter_check(&f, NULL), 0);
        assert_string_equal(f.strings[FILTER_MODNAME], "");
        assert_string_equal(f.strings[FILTER_FUNCTION], "alloc_inode");
        assert_true(f.integers[FILTER_MIN_SIZE] == -5);
        assert_true(filter_has(&f, FILTER_INACCURATE) && !f.booleans[FILTER_INACCURATE]);
        assert_true(f.booleans[FILTER_CHARGED]);
        assert_false(filter_has(&f, FILTER_MAX_SIZE));
        assert_int_equal(filter_sort(&f), SORT_CALLS);
        assert_int_equal(filter_group(&f), GROUP_TYPE);
        assert_true(filter_limit(&f) == 1);
        filter_done(&f);
        assert_int_equal(f.given, 0);
        assert_null(f.strings[FILTER_FUNCTION]);
        filter_done(&f);
}

static void test_unknown_and_kinds(void **state) {
        struct filter f = {};
        char *s = NULL;

        assert_int_equal(filter_set_string(&f, "nonsense\n", "x", &s), -EINVAL);
        assert_sentence(&s, "nonsense\\x0a");
        assert_int_equal(filter_set_integer(&f, "function", 1, &s), -EINVAL);
        assert_sentence(&s, "\"function\" takes a string, not an integer");
        assert_int_equal(filter_set_string(&f, "lineno", "1", &s), -EINVAL);
        assert_sentence(&s, "\"lineno\"");
        assert_int_equal(filter_set_boolean(&f, "sort", true, &s), -EINVAL);
        assert_sentence(&s, "\"sort\"");
        assert_int_equal(f.given, 0);
}

static void test_words(void **state) {
        struct filter f = {};
        char *s = NULL;

        assert_int_equal(filter_set_string(&f, "sort", "size", &s), -EINVAL);
        assert_sentence(&s, "\"sort\" takes bytes, calls or name, not \"size\"");
        assert_int_equal(filter_set_string(&f, "type", "", &s), -EINVAL);
        assert_sentence(&s, "slab, page, user, percpu or vmalloc");
        assert_int_equal(filter_set_string(&f, "group_by", "node\x1b", &s), -EINVAL);
        assert_sentence(&s, "site, function, file, module, category, type or node, not \"node\\x1b\"");
        assert_int_equal(filter_set_text(&f, "group_by", "colour", &s), -EINVAL);
        assert_sentence(&s, "\"colour\"");
        assert_int_equal(f.given, 0);
}

static void test_ranges(void **state) {
        struct filter f = {};
        char long_text[FILTER_STRING_MAX + 2];
        char *s = NULL;

        assert_int_equal(filter_set_integer(&f, "limit", 0, &s), -EINVAL);
        assert_sentence(&s, "\"limit\" takes 1 or more, not 0");
        assert_int_equal(filter_set_integer(&f, "lineno", -1, &s), -EINVAL);
        assert_sentence(&s, "\"lineno\"");
        assert_int_equal(filter_set_integer(&f, "node", -1, &s), -EINVAL);
        assert_sentence(&s, "\"node\" takes 0 or more");
        assert_int_equal(filter_set_integer(&f, "pid", 0, &s), -EINVAL);
        assert_sentence(&s, "\"pid\" takes 1 or more");
        assert_int_equal(filter_set_integer(&f, "older_than_us", -1, &s), -EINVAL);
        assert_sentence(&s, "\"older_than_us\" takes 0 or more");
        memset(long_text, 'x', sizeof(long_text) - 1);
        long_text[FILTER_STRING_MAX + 1] = '\0';
        assert_int_equal(filter_set_string(&f, "function", long_text, &s), -EINVAL);
        assert_sentence(&s, "\"function\"");
        assert_int_equal(f.given, 0);
        long_text[FILTER_STRING_MAX] = '\0';
        assert_int_equal(filter_set_string(&f, "function", long_text, NULL), 0);
        filter_done(&f);
}

static void test_twice(void **state) {
        struct filter f = {};
        char *s = NULL;

        assert_int_equal(filter_set_string(&f, "function", "a", NULL), 0);
        assert_int_equal(filter_set_string(&f, "function", "b", &s), -EINVAL);
        assert_sentence(&s, "\"function\" is given twice");
        assert_string_equal(f.strings[FILTER_FUNCTION], "a");
        assert_int_equal(filter_set_boolean(&f, "charged", true, NULL), 0);
        assert_int_equal(filter_set_text(&f, "charged", "no", &s), -EINVAL);
        assert_sentence(&s, "\"charged\" is given twice");
        assert_true(f.booleans[FILTER_CHARGED]);
        filter_done(&f);
}

static void test_check(void **state) {
        struct filter f = {};
        char *s = NULL;

        assert_int_equal(filter_set_integer(&f, "min_size", 10, NULL), 0);
        assert_int_equal(filter_set_integer(&f, "max_size", 9, NULL), 0);
        assert_int_equal(filter_check(&f, &s), -EINVAL);
        assert_sentence(&s, "\"min_size\" (10) is above \"max_size\" (9)");
        f.integers[FILTER_MAX_SIZE] = 10;
        assert_int_equal(filter_check(&f, &s), 0);
        assert_null(s);
}

/* Rows of sites are of no process and no age; what selects stacks by them is refused, and nothing else is. */
static void test_check_summary(void **state) {
        char *s = NULL;

        for (size_t i = 0; i < _FILTER_KEY_MAX; i++) {
                const struct filter_field *field = &filter_fields[i];
                bool foreign = i == FILTER_PID || i == FILTER_OLDER_THAN_US;
                struct filter f = {};

                if (field->kind == FILTER_INTEGER)
                        assert_int_equal(filter_set_integer(&f, field->name, 1, NULL), 0);
                else if (field->kind == FILTER_BOOLEAN)
                        assert_int_equal(filter_set_boolean(&f, field->name, true, NULL), 0);
                else
                        assert_int_equal(filter_set_string(&f, field->name, field->words ? field->words[0] : "x", NULL), 0);
                assert_int_equal(filter_check(&f, NULL), 0);
                assert_int_equal(filter_check_summary(&f, &s), foreign ? -EINVAL : 0);
                if (foreign) {
                        assert_non_null(strstr(s, "stacks"));
                        assert_sentence(&s, field->name);
                }
                assert_null(s);
                filter_done(&f);
        }
}

static void test_text(void **state) {
        struct filter f = {};
        char *s = NULL;

        assert_int_equal(filter_set_text(&f, "min_size", "-64", NULL), 0);
        assert_int_equal(filter_set_text(&f, "max_size", "64K", NULL), 0);
        assert_int_equal(filter_set_text(&f, "limit", "20", NULL), 0);
        assert_int_equal(filter_set_text(&f, "charged", "yes", NULL), 0);
        assert_int_equal(filter_set_text(&f, "inaccurate", "false", NULL), 0);
        assert_int_equal(filter_set_text(&f, "filename", "mm/slub.c", NULL), 0);
        assert_true(f.integers[FILTER_MIN_SIZE] == -64 && f.integers[FILTER_MAX_SIZE] == 65536);
        assert_true(f.booleans[FILTER_CHARGED] && !f.booleans[FILTER_INACCURATE]);
        assert_true(filter_limit(&f) == 20);
        filter_done(&f);
        assert_int_equal(filter_set_text(&f, "limit", "1K", &s), -EINVAL); /* a count is no size */
        assert_sentence(&s, "\"limit\" takes a whole number, not \"1K\"");
        assert_int_equal(filter_set_text(&f, "min_size", "1X", &s), -EINVAL);
        assert_sentence(&s, "\"1X\"");
        assert_int_equal(filter_set_text(&f, "min_size", "99999999999999999999", &s), -EINVAL);
        assert_sentence(&s, "64 bits");
        assert_int_equal(filter_set_text(&f, "charged", "maybe", &s), -EINVAL);
        assert_sentence(&s, "yes or no, not \"maybe\"");
        assert_int_equal(filter_set_text(&f, "colour", "red", &s), -EINVAL);
        assert_sentence(&s, "\"colour\"");
        assert_int_equal(f.given, 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_table),
                cmocka_unit_test(test_defaults),
                cmocka_unit_test(test_set),
                cmocka_unit_test(test_unknown_and_kinds),
                cmocka_unit_test(test_words),
                cmocka_unit_test(test_ranges),
                cmocka_unit_test(test_twice),
                cmocka_unit_test(test_check),
                cmocka_unit_test(test_check_summary),
                cmocka_unit_test(test_text),
        };

        return cmocka_run_group_tests_name("filter", tests, NULL, NULL);
}

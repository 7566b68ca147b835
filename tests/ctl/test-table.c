/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Units, null, escapes and columns: the parts that every page is made of. */
#include "../unit/unit.h"

#include "table.h"

/* Compares and frees. */
static void is(char *got, const char *expected) {
        assert_non_null(got);
        assert_string_equal(got, expected);
        free(got);
}

static void test_sizes(void **state) {
        is(table_size(0), "0 B");
        is(table_size(1), "1 B");
        is(table_size(1023), "1023 B");
        is(table_size(1024), "1.0 KiB");
        is(table_size(1536), "1.5 KiB");
        is(table_size((1 << 20) - 1), "1.0 MiB"); /* and not 1024.0 KiB */
        is(table_size(1 << 20), "1.0 MiB");
        is(table_size(INT64_C(64) << 20), "64.0 MiB");
        is(table_size(INT64_C(5) << 40), "5.0 TiB");
        is(table_size(INT64_MAX), "8.0 EiB");
}

static void test_signed_sizes(void **state) {
        is(table_size(-1), "-1 B");
        is(table_size(-1536), "-1.5 KiB");
        is(table_size(INT64_MIN), "-8.0 EiB");
        is(table_signed_size(0), "0 B");
        is(table_signed_size(1536), "+1.5 KiB");
        is(table_signed_size(-1536), "-1.5 KiB");
}

static void test_spans(void **state) {
        is(table_span(-1), "0.0 s");
        is(table_span(0), "0.0 s");
        is(table_span(999999), "0.9 s");
        is(table_span(9999999), "9.9 s");
        is(table_span(10000000), "10 s");
        is(table_span(59 * INT64_C(1000000)), "59 s");
        is(table_span(200 * INT64_C(1000000)), "3 min 20 s");
        is(table_span(18120 * INT64_C(1000000)), "5 h 2 min");
        is(table_span(273600 * INT64_C(1000000)), "3 d 4 h");
}

static void test_members(void **state) {
        json_t *o = json_pack("{s:s, s:i, s:b, s:b, s:n, s:f, s:[]}", "text", "word", "number", -5, "yes", 1, "no", 0, "null",
                "real", 0.5, "array");

        assert_non_null(o);
        is(table_text(o, "text"), "word");
        is(table_text(o, "number"), "-5");
        is(table_text(o, "yes"), "yes");
        is(table_text(o, "no"), "no");
        is(table_text(o, "null"), "-");
        is(table_text(o, "real"), "0.500");
        is(table_text(o, "array"), "-");
        is(table_text(o, "absent"), "-");
        is(table_text(NULL, "absent"), "-");
        is(table_member_size(o, "number"), "-5 B");
        is(table_member_size(o, "null"), "-");
        is(table_member_size(o, "text"), "-");
        json_decref(o);
}

static void test_escapes(void **state) {
        is(table_escape(NULL), "-");
        is(table_escape("plain"), "plain");
        is(table_escape("\x1b[31mred\x1b[0m"), "\\x1b[31mred\\x1b[0m");
        is(table_escape("a\nb\rc\td"), "a\\x0ab\\x0dc\\x09d");
        is(table_escape("\xc2\x9b"
                        "2J"),
                "\\xc2\\x9b2J"); /* CSI of one character */
        is(table_escape("\xff"), "\\xff");
        is(table_escape("gr\xc3\xbcn"), "gr\xc3\xbcn");
        /* a document's own escapes are not escaped once more */
        is(table_escape("\\x1b[2J"), "\\x1b[2J");
        is(table_escape("\\\\x1b"), "\\\\x1b");
        is(table_escape("\\\x1b"), "\\\\x1b");
        is(table_escape("C:\\"), "C:\\");
}

static void test_long_cell(void **state) {
        _cleanup_free_ char *huge = malloc(1 << 20), *cell = NULL;

        assert_non_null(huge);
        memset(huge, 'a', (1 << 20) - 1);
        huge[(1 << 20) - 1] = '\0';
        cell = table_escape(huge);
        assert_non_null(cell);
        assert_true(strlen(cell) <= CELL_MAX + 3);
        assert_string_equal(cell + strlen(cell) - 3, "...");
}

static char *cell_a(const json_t *row) {
        return table_text(row, "a");
}

static char *cell_b(const json_t *row) {
        return table_text(row, "b");
}

static const struct column columns[] = {{"A", 4, true, cell_a}, {"BB", 3, false, cell_b}, {"C", 9, false, cell_b}};

static char *printed(const json_t *rows, size_t max) {
        char *text = NULL;
        size_t n;
        FILE *out = open_memstream(&text, &n);

        assert_non_null(out);
        assert_int_equal(table_print(out, columns, ELEMENTS(columns), rows, max), 0);
        fclose(out);
        return text;
}

static void test_columns(void **state) {
        json_t *rows = json_pack(
                "[{s:i, s:s}, {s:i, s:s}, {s:n, s:s}]", "a", 1, "b", "x", "a", 123456, "b", "gr\xc3\xbcn", "a", "b", "\x1b");

        assert_non_null(rows);
        is(printed(rows, 0), "     A  BB    C\n"
                             "     1  x     x\n"
                             "123456  gr\xc3\xbcn  gr\xc3\xbcn\n"
                             "     -  \\x1b  \\x1b\n");
        is(printed(rows, 1), "   A  BB   C\n"
                             "   1  x    x\n");
        json_decref(rows);
}

static void test_no_rows(void **state) {
        json_t *rows = json_array();

        is(printed(rows, 0), "   A  BB   C\n");
        is(printed(NULL, 0), "   A  BB   C\n");
        json_decref(rows);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_sizes),
                cmocka_unit_test(test_signed_sizes),
                cmocka_unit_test(test_spans),
                cmocka_unit_test(test_members),
                cmocka_unit_test(test_escapes),
                cmocka_unit_test(test_long_cell),
                cmocka_unit_test(test_columns),
                cmocka_unit_test(test_no_rows),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Pages against what they should look like: fixtures/ctl/NAME.json is a document, NAME.txt its page. Besides the pages
 * themselves: whatever a document holds, nothing that a terminal acts on comes out.
 */
#include "../unit/unit.h"

#include <fcntl.h>
#include <time.h>

#include "document.h"
#include "render.h"
#include "text.h"

static char *fixture(const char *name) {
        _cleanup_free_ char *path = format("%s/ctl/%s", FIXTURES, name);
        char *text = NULL;

        assert_non_null(path);
        if (text_read_file(AT_FDCWD, path, 1 << 20, &text, NULL) < 0)
                fail_msg("%s cannot be read", path);
        return text;
}

static json_t *fixture_document(const char *name) {
        _cleanup_free_ char *text = fixture(name);
        json_t *document = NULL;

        assert_int_equal(document_parse(text, &document, NULL), 0);
        return document;
}

typedef int (*renderer_t)(FILE *out, const json_t *document);

static int render_20_rows(FILE *out, const json_t *document) {
        return render_summary(out, document, (struct render_how){.max_rows = 20});
}

static int render_2_rows(FILE *out, const json_t *document) {
        return render_summary(out, document, (struct render_how){.max_rows = 2});
}

static char *page_of(const json_t *document, renderer_t renderer, int expected) {
        char *text = NULL;
        size_t n;
        FILE *out = open_memstream(&text, &n);

        assert_non_null(out);
        assert_int_equal(renderer(out, document), expected);
        fclose(out);
        return text;
}

static void check_page(const char *name, renderer_t renderer, const char *expected_name) {
        _cleanup_(document_unrefp) json_t *document = fixture_document(name);
        _cleanup_free_ char *page = page_of(document, renderer, 0), *expected = fixture(expected_name);

        assert_string_equal(page, expected);
}

static void test_summary(void **state) {
        check_page("summary.json", render_20_rows, "summary.txt");
        check_page("summary.json", render_2_rows, "summary-2-rows.txt");
}

static int render_as_tree(FILE *out, const json_t *document) {
        return render_summary(out, document, (struct render_how){.tree = true});
}

/* By file and by category; an estimate in a branch makes its sum one. */
static void test_tree(void **state) {
        check_page("summary.json", render_as_tree, "summary-tree.txt");
}

static void test_grouped(void **state) {
        check_page("grouped.json", render_20_rows, "grouped.txt");
}

static void test_numa(void **state) {
        check_page("numa.json", render_20_rows, "numa.txt");
}

static void test_report(void **state) {
        check_page("report.json", render_20_rows, "report.txt");
}

static void test_support(void **state) {
        check_page("support.json", render_support, "support.txt");
}

static void test_list(void **state) {
        check_page("list.json", render_list, "list.txt");
}

static int render_tags(FILE *out, const json_t *document) {
        return render_allocinfo(out, document, (struct render_how){.max_rows = 5});
}

static void test_allocinfo(void **state) {
        check_page("allocinfo.json", render_tags, "allocinfo.txt");
        check_page("allocinfo-grouped.json", render_tags, "allocinfo-grouped.txt");
}

/* Wrong types, absent members and hostile names: a page all the same, and every byte of it is harmless. */
static void test_hostile(void **state) {
        _cleanup_(document_unrefp) json_t *document = fixture_document("hostile.json");
        _cleanup_free_ char *page = page_of(document, render_20_rows, 0);

        for (const unsigned char *p = (unsigned char *)page; *p; p++)
                if (*p != '\n' && (*p < 0x20 || *p >= 0x7f))
                        fail_msg("byte 0x%02x at %zu", *p, (size_t)(p - (unsigned char *)page));
        assert_non_null(strstr(page, "\\x1b[2J\\xc2\\x9b31m\\x0aname\\xe2\\x80\\xae"));
        check_page("hostile.json", render_20_rows, "hostile.txt");
}

static void test_other_formats(void **state) {
        _cleanup_(document_unrefp) json_t *summary = fixture_document("summary.json"), *none = json_object();

        free(page_of(summary, render_list, -EBADMSG));
        free(page_of(summary, render_support, -EBADMSG));
        free(page_of(summary, render_tags, -EBADMSG));
        free(page_of(none, render_20_rows, -EBADMSG));
        free(page_of(NULL, render_20_rows, -EBADMSG));
}

static void test_parse(void **state) {
        static const char *const wrong[] = {"", "{", "[]", "7", "{\"a\": 1} trailing", "{\"a\": \xff}"};
        json_t *document = NULL;

        for (size_t i = 0; i < ELEMENTS(wrong); i++) {
                char *why = NULL;

                assert_int_equal(document_parse(wrong[i], &document, &why), -EBADMSG);
                assert_null(document);
                assert_sentence(&why, "JSON");
        }
}

/* The same filter on a stored document as the daemon applies to a living profile. */
static void test_filter(void **state) {
        _cleanup_(document_unrefp) json_t *document = fixture_document("summary.json");
        _cleanup_(filter_done) struct filter f = {};
        const json_t *sites, *first, *original;
        _cleanup_(document_unrefp) json_t *before = fixture_document("summary.json");

        assert_int_equal(filter_set_text(&f, "type", "slab", NULL), 0);
        assert_int_equal(filter_set_text(&f, "charged", "yes", NULL), 0);
        assert_int_equal(filter_set_text(&f, "min_size", "1", NULL), 0);
        assert_int_equal(filter_set_text(&f, "sort", "name", NULL), 0);
        assert_int_equal(document_filter(document, &f), 0);
        sites = json_object_get(document, "sites");
        assert_int_equal(json_array_size(sites), 2);
        first = json_array_get(sites, 0);
        original = json_array_get(json_object_get(before, "sites"), 1);
        assert_string_equal(json_string_value(json_object_get(first, "function")), "alloc_pipe_info");
        /* a row that passes is the row that was there */
        assert_true(json_equal(json_object_get(first, "bytes"), json_object_get(original, "bytes")));
        assert_true(json_equal(json_object_get(first, "calls"), json_object_get(original, "calls")));
        assert_true(json_equal(json_object_get(first, "key"), json_object_get(original, "key")));
        assert_true(json_equal(json_object_get(document, "totals"), json_object_get(before, "totals")));
        assert_string_equal(json_string_value(json_object_get(json_object_get(document, "filter"), "type")), "slab");
        assert_int_equal(json_integer_value(json_object_get(document, "total_sites")), 134);
}

/* What a stored row knows of flags, blind members and nodes comes back out of it. */
static void test_filter_keeps(void **state) {
        _cleanup_(document_unrefp) json_t *document = fixture_document("numa.json"), *before = fixture_document("numa.json");
        _cleanup_(filter_done) struct filter none = {}, node = {};
        const json_t *sites = json_object_get(before, "sites"), *part;

        assert_int_equal(document_filter(document, &none), 0);
        assert_true(json_equal(json_object_get(document, "sites"), sites));
        part = json_array_get(json_object_get(json_array_get(sites, 1), "nodes"), 1);
        assert_int_equal(filter_set_integer(&node, "node", 1, NULL), 0);
        assert_int_equal(document_filter(document, &node), 0);
        sites = json_object_get(document, "sites");
        assert_int_equal(json_array_size(sites), 2);
        assert_true(json_equal(json_object_get(json_array_get(sites, 1), "bytes"), json_object_get(part, "bytes")));
        assert_true(json_equal(json_object_get(json_array_get(sites, 1), "freed_bytes"), json_object_get(part, "freed_bytes")));
}

static void test_filter_keeps_groups(void **state) {
        _cleanup_(document_unrefp) json_t *document = fixture_document("grouped.json"),
                                          *before = fixture_document("grouped.json");
        _cleanup_(filter_done) struct filter none = {};

        assert_int_equal(document_filter(document, &none), 0);
        assert_true(json_equal(json_object_get(document, "sites"), json_object_get(before, "sites")));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_summary),
                cmocka_unit_test(test_tree),
                cmocka_unit_test(test_grouped),
                cmocka_unit_test(test_numa),
                cmocka_unit_test(test_report),
                cmocka_unit_test(test_support),
                cmocka_unit_test(test_list),
                cmocka_unit_test(test_allocinfo),
                cmocka_unit_test(test_hostile),
                cmocka_unit_test(test_other_formats),
                cmocka_unit_test(test_parse),
                cmocka_unit_test(test_filter),
                cmocka_unit_test(test_filter_keeps),
                cmocka_unit_test(test_filter_keeps_groups),
        };

        setenv("TZ", "UTC", 1);
        tzset();
        return cmocka_run_group_tests(tests, NULL, NULL);
}

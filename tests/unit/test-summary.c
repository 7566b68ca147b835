/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Filtering, grouping, sorting and cutting, over rows made here; and what of it reaches the document. */
#include "unit.h"

#include "report.h"

struct sketch {
        const char *function, *module, *category;
        uint32_t offset;
        enum site_type type;
        bool charged, live_known, accurate;
        int64_t bytes, calls;
        const char *file; /* of a tag, with the offset as its line */
};

static const struct sketch sketches[] = {
        {"alloc_inode", "", "fs", 0x10, TYPE_SLAB, true, true, true, 600, 3},
        {"alloc_inode", "", "fs", 0x40, TYPE_SLAB, true, true, true, 100, 9},
        {"alloc_inode", "", "fs", 0x10, TYPE_SLAB, false, true, true, 50, 1},
        {"ext4_thing", "ext4", "fs/ext4", 0x8, TYPE_SLAB, true, true, false, -40, -1},
        {"pte_alloc_one", "", "mm", 0x19, TYPE_PAGE, true, true, true, 4096, 1},
        {"do_anonymous_page", "", "mm", 0x31e, TYPE_USER, true, false, false, 9999999, 99},
        {NULL, NULL, "other", 0, TYPE_PAGE, false, true, true, 8192, 2},
        {"alloc_fd", "", "fs", 7, TYPE_PERCPU, true, true, true, 55, 1, "fs/file.c"},
        {"dup_fd", "", "fs", 9, TYPE_PERCPU, true, true, true, 51, 1, "fs/file.c"},
};

static struct summary *make(void) {
        struct summary *s = calloc(1, sizeof(*s));

        s->backend = "scripted";
        s->state = PROFILE_ACTIVE;
        s->mode = MODE_SINGLE;
        s->label = (struct profile_label){.kind = "cgroup", .id = strdup("/x\x1b[31m\n"), .started_by = "bus"};
        s->cgroup = strdup("/x");
        s->cgroup_id = 18446744073709551615ull;
        s->source = "memory.stat";
        s->live_known = true;
        s->rows = calloc(ELEMENTS(sketches), sizeof(struct row));
        for (size_t i = 0; i < ELEMENTS(sketches); i++) {
                const struct sketch *k = &sketches[i];
                char key[64];

                snprintf(key, sizeof(key), "%s+0x%x", k->function ?: "unknown", k->offset);
                s->rows[i] = (struct row){
                        .key = strdup(key),
                        .function = k->function ? strdup(k->function) : NULL,
                        .module = k->module ? strdup(k->module) : NULL,
                        .category = strdup(k->category),
                        .file = k->file ? strdup(k->file) : NULL,
                        .has_line = k->file,
                        .line = k->file ? k->offset : 0,
                        .has_offset = k->function && !k->file,
                        .offset = k->file ? 0 : k->offset,
                        .type = k->type,
                        .charged = k->charged,
                        .live_known = k->live_known,
                        .accurate = k->accurate,
                        .estimated = k->type == TYPE_USER,
                        .figures = {.error_bytes = k->type == TYPE_USER ? 30 : 0,
                                .counts = {.allocated_bytes = k->bytes + 1000,
                                        .allocated_calls = k->calls + 10,
                                        .freed_bytes = 1000,
                                        .freed_calls = 10}},
                };
        }
        s->n_rows = ELEMENTS(sketches);
        return s;
}

/* Applies filters given as "key=value" and returns the rows' keys, in order, as one line. */
static char *keys_of(const char *filters) {
        _cleanup_(summary_freep) struct summary *s = make();
        _cleanup_(filter_done) struct filter f = {};
        _cleanup_free_ char *copy = strdup(filters);
        char *line = strdup(""), *save = NULL, *why = NULL;

        for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
                char *value = strchr(word, '=');

                *value++ = '\0';
                if (filter_set_text(&f, word, value, &why) < 0)
                        fail_msg("%s", why);
        }
        assert_int_equal(summary_apply(s, &f), 0);
        assert_int_equal(s->total_sites, ELEMENTS(sketches));
        for (size_t i = 0; i < s->n_rows; i++) {
                char *longer = format("%s%s%s", line, i ? " " : "", s->rows[i].key);

                free(line);
                line = longer;
        }
        return line;
}

static void check(const char *filters, const char *wanted) {
        _cleanup_free_ char *line = keys_of(filters);

        assert_string_equal(line, wanted);
}

static void test_sort(void **state) {
        check("", "unknown+0x0 pte_alloc_one+0x19 alloc_inode+0x10 alloc_inode+0x40 alloc_fd+0x7 dup_fd+0x9 "
                  "alloc_inode+0x10 ext4_thing+0x8 do_anonymous_page+0x31e");
        check("sort=calls limit=3", "alloc_inode+0x40 alloc_inode+0x10 unknown+0x0");
        check("sort=name limit=3", "alloc_fd+0x7 alloc_inode+0x10 alloc_inode+0x10");
}

static void test_filters(void **state) {
        check("function=pte_alloc_one", "pte_alloc_one+0x19");
        check("function=pte_alloc", "");
        check("modname=ext4", "ext4_thing+0x8");
        check("modname= type=page", "pte_alloc_one+0x19");
        check("type=slab charged=no", "alloc_inode+0x10");
        check("inaccurate=yes", "ext4_thing+0x8 do_anonymous_page+0x31e");
        check("inaccurate=no charged=no", "unknown+0x0 alloc_inode+0x10");
        check("filename=mm/memory.c", "");
        check("filename=fs/file.c", "alloc_fd+0x7 dup_fd+0x9");
        check("filename=file.c", ""); /* as the kernel's own filter: all of the name */
        check("lineno=9", "dup_fd+0x9");
        check("filename=fs/file.c lineno=7", "alloc_fd+0x7");
        check("lineno=0", ""); /* what has no line has not the line 0 */
        check("category=fs",
                "alloc_inode+0x10 alloc_inode+0x40 alloc_fd+0x7 dup_fd+0x9 alloc_inode+0x10"); /* not what is fs/ext4 */
        check("category=fs/ext4", "ext4_thing+0x8");
}

static void test_sizes_are_signed(void **state) {
        check("max_size=50", "alloc_inode+0x10 ext4_thing+0x8");
        check("min_size=101 max_size=5000", "pte_alloc_one+0x19 alloc_inode+0x10");
        check("max_size=-1", "ext4_thing+0x8");
}

static void test_groups(void **state) {
        check("group_by=file type=percpu", "fs/file.c");
        check("group_by=file charged=no", "unknown");
        check("group_by=function type=slab", "alloc_inode alloc_inode ext4_thing");
        check("group_by=module", "unknown kernel kernel ext4 kernel");
        check("group_by=category", "other mm fs fs fs/ext4 mm");
        check("group_by=type charged=yes", "page slab percpu user");
        check("group_by=type limit=1", "page");
}

static void test_groups_add_up(void **state) {
        _cleanup_(summary_freep) struct summary *s = make();
        _cleanup_(filter_done) struct filter f = {};
        int64_t bytes = 0, wanted = 0;

        for (size_t i = 0; i < s->n_rows; i++)
                wanted += figures_live_bytes(&s->rows[i].figures);
        assert_int_equal(filter_set_string(&f, "group_by", "module", NULL), 0);
        assert_int_equal(summary_apply(s, &f), 0);
        for (size_t i = 0; i < s->n_rows; i++)
                bytes += figures_live_bytes(&s->rows[i].figures);
        assert_int_equal(bytes, wanted);
}

static json_t *document_of(const struct summary *s) {
        _cleanup_free_ char *text = report_summary(s);
        json_t *o;

        assert_non_null(text);
        assert_true(text[strlen(text) - 1] == '\n');
        o = json_loads(text, 0, NULL);
        assert_non_null(o);
        return o;
}

static void test_document(void **state) {
        _cleanup_(summary_freep) struct summary *s = make();
        _cleanup_(filter_done) struct filter f = {};
        json_t *o, *row, *profile;

        assert_int_equal(filter_set_integer(&f, "limit", 1, NULL), 0);
        assert_int_equal(summary_apply(s, &f), 0);
        o = document_of(s);
        assert_int_equal(json_integer_value(json_object_get(o, "total_sites")), ELEMENTS(sketches));
        assert_int_equal(json_array_size(json_object_get(o, "sites")), 1);
        row = json_array_get(json_object_get(o, "sites"), 0);
        assert_true(json_is_null(json_object_get(row, "function")));
        assert_int_equal(json_integer_value(json_object_get(row, "bytes")), 8192);
        profile = json_object_get(o, "profile");
        assert_string_equal(json_string_value(json_object_get(profile, "id")), "/x\\x1b[31m\\x0a");
        assert_string_equal(json_string_value(json_object_get(profile, "cgroup_id")), "18446744073709551615");
        assert_int_equal(json_integer_value(json_object_get(json_object_get(o, "filter"), "limit")), 1);
        json_decref(o);
}

/* What is not known is null in the document, never 0. */
static void test_unknown_is_null(void **state) {
        _cleanup_(summary_freep) struct summary *s = make();
        json_t *o, *totals;

        assert_int_equal(summary_apply(s, NULL), 0);
        o = document_of(s);
        totals = json_object_get(json_object_get(o, "totals"), "charged");
        assert_true(json_is_null(json_object_get(totals, "vmalloc")));
        assert_true(json_is_null(json_object_get(json_object_get(o, "reconcile"), "growth_bytes")));
        assert_true(json_is_null(json_object_get(json_array_get(json_object_get(o, "sites"), 8), "bytes")));
        json_decref(o);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_sort),
                cmocka_unit_test(test_filters),
                cmocka_unit_test(test_sizes_are_signed),
                cmocka_unit_test(test_groups),
                cmocka_unit_test(test_groups_add_up),
                cmocka_unit_test(test_document),
                cmocka_unit_test(test_unknown_is_null),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}

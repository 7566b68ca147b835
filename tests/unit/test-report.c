/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rows are written as text and not by jansson: here it builds the same rows as a tree, and both texts must be the same, byte
 * for byte, whatever names and figures are in them.
 */
#include "unit.h"

#include "report.h"
#include "text.h"

#define ROUNDS 300
#define ROWS_MAX 12
#define PARTS_MAX 3

static uint64_t seed = 1;

static uint64_t any(void) {
        seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        return seed >> 24;
}

static bool maybe(void) {
        return any() % 2;
}

static int64_t any_figure(void) {
        static const int64_t corners[] = {0, 0, 1, -1, 9, 10, -10, 99, 4096, INT64_MAX / 16, INT64_MIN / 16};

        return maybe() ? corners[any() % ELEMENTS(corners)] : (int64_t)(any() % 100000000) - 50000000;
}

/* Names as nobody should choose them. What is longer than a document takes is cut, within a character if need be. */
static char *any_name(void) {
        static const char *const pieces[] = {"alloc_inode", "", "\"", "\\", "\\x41", "\\u0000", "/", "\n", "\t", "\x01", "\x7f",
                "gr\xc3\xbcn", "\xe2\x82\xac", "\xf0\x9f\x90\xa7", "\xc3", "\xe2\x82", "\xff\xfe", "\xc0\xaf", "\xed\xa0\x80",
                "\xe2\x80\xa8", "\xef\xbf\xbe", "\xc2\x9b", "'", "<b>", "a b", "+0x10[ext4]"};
        unsigned n = any() % 5, repeat = any() % 16 ? 1 : 400;
        char *name = strdup("");

        for (unsigned i = 0; i < n * repeat; i++) {
                char *longer = format("%s%s", name, pieces[any() % ELEMENTS(pieces)]);

                free(name);
                name = longer;
        }
        return name;
}

static struct figures any_figures(void) {
        return (struct figures){
                .counts = {any_figure(), any_figure(), any_figure(), any_figure(), any_figure(), any_figure(), any_figure(),
                        any_figure()},
                .blind_bytes = any_figure(),
                .blind_calls = any_figure(),
                .blind_allocated_bytes = any_figure(),
                .error_bytes = any_figure(),
        };
}

static void make_row(struct row *r) {
        *r = (struct row){
                .key = any_name(),
                .file = maybe() ? any_name() : NULL,
                .function = maybe() ? any_name() : NULL,
                .module = maybe() ? any_name() : NULL,
                .category = maybe() ? any_name() : NULL,
                .has_offset = maybe(),
                .has_line = maybe(),
                .offset = (uint32_t)any(),
                .line = (uint32_t)any(),
                .type = any() % (_TYPE_MAX + 1),
                .charged = maybe(),
                .live_known = maybe(),
                .accurate = maybe(),
                .estimated = maybe(),
                .gfp = {maybe() ? (uint32_t)any() & ((1u << _GFP_FLAG_MAX) - 1) : 0, any() % 4 ? 0 : (uint32_t)any()},
                .figures = any_figures(),
                .n_parts = maybe() ? any() % (PARTS_MAX + 1) : 0,
        };
        r->parts = calloc(PARTS_MAX, sizeof(*r->parts));
        for (size_t i = 0; i < r->n_parts; i++)
                r->parts[i] = (struct row_part){.node = (int)(any() % 4) - 1, .figures = any_figures()};
}

static struct summary *make(void) {
        struct summary *s = calloc(1, sizeof(*s));

        s->backend = s->source = "scripted";
        s->label = (struct profile_label){.kind = "cgroup", .id = any_name(), .started_by = "bus"};
        s->cgroup = any_name();
        s->cgroup_id = any();
        s->live_known = s->growth_known = true;
        s->growth_bytes = 1 + (int64_t)(any() % 1000000);
        s->explained_bytes = (int64_t)(any() % 1000000);
        s->n_rows = s->total_sites = any() % (ROWS_MAX + 1);
        s->rows = calloc(ROWS_MAX, sizeof(struct row));
        for (size_t i = 0; i < s->n_rows; i++)
                make_row(&s->rows[i]);
        return s;
}

/* ---- the same by jansson -------------------------------------------------------------------------------------------------
 */

static void set(json_t *o, const char *name, json_t *value) {
        assert_int_equal(json_object_set_new(o, name, value), 0);
}

static json_t *text_or_null(const char *s) {
        _cleanup_free_ char *escaped = s ? text_escape(s, strlen(s), 1024) : NULL;

        return escaped ? json_string(escaped) : json_null();
}

static json_t *integer_or_null(bool known, int64_t value) {
        return known ? json_integer(value) : json_null();
}

static void set_figures(json_t *o, const struct figures *f, bool live_known) {
        const struct tracker_counts *c = &f->counts;
        const struct {
                const char *name;
                int64_t value;
        } plain[] = {{"allocated_bytes", c->allocated_bytes}, {"allocated_calls", c->allocated_calls},
                {"freed_bytes", c->freed_bytes}, {"freed_calls", c->freed_calls}, {"written_off_bytes", c->written_off_bytes},
                {"written_off_calls", c->written_off_calls}, {"untracked_bytes", c->untracked_bytes},
                {"untracked_calls", c->untracked_calls}, {"blind_bytes", f->blind_bytes},
                {"blind_allocated_bytes", f->blind_allocated_bytes}};

        set(o, "bytes", integer_or_null(live_known, figures_live_bytes(f)));
        set(o, "calls", integer_or_null(live_known, figures_live_calls(f)));
        for (size_t i = 0; i < ELEMENTS(plain); i++)
                set(o, plain[i].name, json_integer(plain[i].value));
}

static json_t *gfp_json(const struct gfp_set *flags) {
        struct gfp_names names;
        json_t *a;

        if (gfp_empty(flags))
                return json_null();
        gfp_names(flags, &names);
        a = json_array();
        for (size_t i = 0; i < names.n; i++)
                json_array_append_new(a, json_string(names.names[i]));
        return a;
}

static json_t *nodes_json(const struct row *r) {
        json_t *a = json_array();

        for (size_t i = 0; i < r->n_parts; i++) {
                const struct row_part *part = &r->parts[i];
                json_t *o = json_object();

                set(o, "node", integer_or_null(part->node >= 0, part->node));
                set_figures(o, &part->figures, r->live_known);
                set(o, "error_bytes", integer_or_null(r->estimated && r->live_known, part->figures.error_bytes));
                json_array_append_new(a, o);
        }
        return a;
}

static json_t *row_json(const struct row *r) {
        json_t *o = json_object();

        set(o, "key", text_or_null(r->key));
        set(o, "file", text_or_null(r->file));
        set(o, "line", integer_or_null(r->has_line, r->line));
        set(o, "function", text_or_null(r->function));
        set(o, "offset", integer_or_null(r->has_offset, r->offset));
        set(o, "module", text_or_null(r->module));
        set(o, "category", text_or_null(r->category));
        set(o, "type", text_or_null(site_type_to_string(r->type)));
        set(o, "charged", json_boolean(r->charged));
        set_figures(o, &r->figures, r->live_known);
        set(o, "gfp_flags", gfp_json(&r->gfp));
        set(o, "accurate", json_boolean(r->accurate));
        set(o, "estimated", json_boolean(r->estimated));
        set(o, "error_bytes", integer_or_null(r->estimated && r->live_known, r->figures.error_bytes));
        set(o, "blind", json_boolean(!r->live_known));
        if (r->n_parts > 0)
                set(o, "nodes", nodes_json(r));
        return o;
}

/* ---- tests ---------------------------------------------------------------------------------------------------------------
 */

/* The document with its sites replaced by ours, as jansson writes it. */
static char *by_jansson(const char *text, const struct summary *s, bool is_final) {
        json_t *document = json_loads(text, 0, NULL), *sites = json_array();
        char *made;

        assert_non_null(document);
        for (size_t i = 0; i < s->n_rows; i++)
                json_array_append_new(sites, row_json(&s->rows[i]));
        set(is_final ? json_object_get(document, "summary") : document, "sites", sites);
        made = report_text(document);
        json_decref(document);
        assert_non_null(made);
        return made;
}

static void test_summary(void **state) {
        for (int i = 0; i < ROUNDS; i++) {
                _cleanup_(summary_freep) struct summary *s = make();
                _cleanup_free_ char *text = report_summary(s), *wanted = NULL;

                assert_non_null(text);
                wanted = by_jansson(text, s, false);
                assert_string_equal(text, wanted);
        }
}

static json_t *residue_sites(const struct summary *s) {
        json_t *sites = json_array();

        for (size_t i = 0; i < s->n_rows && json_array_size(sites) < REPORT_RESIDUE_SITES; i++)
                if (s->rows[i].type != TYPE_USER && s->rows[i].live_known && figures_live_bytes(&s->rows[i].figures) > 0)
                        json_array_append_new(sites, row_json(&s->rows[i]));
        return sites;
}

/* Snapshots are summaries as they were written, and so are the rows of the residue. */
static void test_final(void **state) {
        const struct report_end end = {.at_us = 1, .source = "stopped", .exit_code = -1, .oom_kills = -1};

        for (int i = 0; i < ROUNDS / 10; i++) {
                _cleanup_(summary_freep) struct summary *s = make(), *early = make();
                const struct report_residue residue = {.summary = s, .released_known = maybe(), .closed_by = "needed"};
                struct report_snapshot snapshots[] = {
                        {.reason = "oom", .at_us = 5, .ooms = 1, .oom_kills = -1, .summary = report_summary(early)},
                        {.reason = "oom-kill", .at_us = 6, .ooms = -1, .oom_kills = 3, .summary = report_summary(s)}};
                _cleanup_free_ char *text = report_final(s, &end, &residue, snapshots, i % 3), *wanted = NULL;
                json_t *document, *sites, *kept;

                assert_non_null(text);
                wanted = by_jansson(text, s, true);
                assert_string_equal(text, wanted);
                snapshots[1].summary[strlen(snapshots[1].summary) - 1] = '\0';
                assert_non_null(strstr(text, snapshots[1].summary)); /* the last summary itself */
                document = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
                sites = residue_sites(s);
                assert_true(json_equal(json_object_get(json_object_get(document, "residue"), "sites"), sites));
                kept = json_object_get(document, "snapshots");
                assert_int_equal(json_array_size(kept), i % 3);
                if (i % 3 == 2) {
                        assert_true(json_equal(
                                json_object_get(json_array_get(kept, 1), "summary"), json_object_get(document, "summary")));
                        assert_true(json_is_null(json_object_get(json_array_get(kept, 1), "ooms")));
                        assert_int_equal(json_integer_value(json_object_get(json_array_get(kept, 1), "oom_kills")), 3);
                }
                json_decref(sites);
                json_decref(document);
                free(snapshots[0].summary);
                free(snapshots[1].summary);
        }
}

static void test_update(void **state) {
        const struct report_end end = {.at_us = 1, .source = "stopped", .exit_code = -1, .oom_kills = -1};
        static const char *const wrong[] = {"", "{", "[]", "{}", "{\"format\":\"memcgprof.summary\"}", "{\"format\":7}"};

        for (int i = 0; i < ROUNDS / 10; i++) {
                _cleanup_(summary_freep) struct summary *s = make(), *late = make();
                const struct report_residue first = {.summary = s}, last = {.summary = late, .closed_by = "residue-keep"};
                _cleanup_free_ char *text = report_final(s, &end, &first, NULL, 0), *updated = NULL, *wanted = NULL;

                assert_int_equal(report_update(text, &end, &last, &updated), 0);
                wanted = report_final(s, &end, &last, NULL, 0);
                assert_string_equal(updated, wanted);
                for (size_t k = 0; k < ELEMENTS(wrong); k++)
                        assert_int_equal(report_update(wrong[k], &end, &last, &updated), -EBADMSG);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_summary),
                cmocka_unit_test(test_final),
                cmocka_unit_test(test_update),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}

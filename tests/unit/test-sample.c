/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Samples added up: by row, and altogether. Which rows count where is what test-profile.c holds against the whole. */
#include "unit.h"

#include "sample.h"
#include "sim.h"

static struct tracker_row make(enum site_type type, bool charged, uint64_t frame, int64_t bytes) {
        return (struct tracker_row){.type = type,
                .charged = charged,
                .live_known = true,
                .node = -1,
                .n_frames = 1,
                .frames = {frame},
                .counts = {.allocated_bytes = bytes, .allocated_calls = 1}};
}

static void put(struct tracker_sample *s, struct tracker_row row) {
        s->rows = reallocarray(s->rows, s->n_rows + 1, sizeof(row));
        assert_non_null(s->rows);
        s->rows[s->n_rows++] = row;
}

static const struct tracker_row *find(const struct sample_adder *a, const struct tracker_row *like) {
        for (size_t i = 0; i < a->sample.n_rows; i++) {
                const struct tracker_row *r = &a->sample.rows[i];

                if (r->type == like->type && r->charged == like->charged && r->node == like->node &&
                        r->frames[0] == like->frames[0] && r->estimated == like->estimated)
                        return r;
        }
        return NULL;
}

/* More rows than the first index holds, in three samples with half of each in common. */
static void rows_are_merged(void **state) {
        struct sample_adder a = {};

        for (unsigned k = 0; k < 3; k++) {
                struct tracker_sample s = {};

                for (unsigned i = 0; i < 200; i++)
                        put(&s, make(TYPE_SLAB, i % 2, k * 100 + i, 10));
                assert_int_equal(sample_add(&a, &s), 0);
                assert_null(s.rows);
        }
        assert_int_equal(a.sample.n_rows, 400);
        for (unsigned i = 0; i < 400; i++) {
                struct tracker_row row = make(TYPE_SLAB, i % 2, i, 0);

                assert_int_equal(find(&a, &row)->counts.allocated_bytes, i < 100 || i >= 300 ? 10 : 20);
        }
        sample_adder_done(&a);
}

static void different_rows_stay_apart(void **state) {
        struct tracker_row rows[12];
        struct sample_adder a = {};

        for (size_t i = 0; i < ELEMENTS(rows); i++)
                rows[i] = make(TYPE_PAGE, true, 1, 10);
        rows[1].charged = false;
        rows[2].type = TYPE_SLAB;
        rows[3].node = 1;
        rows[4].estimated = true;
        rows[5].n_frames = 2;
        rows[6].function = "alloc_thread_stack_node";
        for (size_t i = 7; i < ELEMENTS(rows); i++) { /* by alloc tags */
                rows[i].n_frames = 0;
                rows[i].line = 7;
                rows[i].file = i == 8 ? "b.c" : "a.c";
                rows[i].function = i == 9 ? "other" : "made";
                rows[i].module = i == 10 ? "module" : "";
        }
        rows[11].line = 8;
        for (unsigned k = 0; k < 2; k++) {
                struct tracker_sample s = {};

                for (size_t i = 0; i < ELEMENTS(rows); i++)
                        put(&s, rows[i]);
                assert_int_equal(sample_add(&a, &s), 0);
        }
        assert_int_equal(a.sample.n_rows, ELEMENTS(rows));
        for (size_t i = 0; i < ELEMENTS(rows); i++)
                assert_int_equal(a.sample.rows[i].counts.allocated_bytes, 20);
        sample_adder_done(&a);
}

static void what_is_not_bytes(void **state) {
        struct sample_adder a = {};

        for (int k = 1; k <= 2; k++) {
                struct tracker_sample s = {.irq_bytes = k,
                        .kthread_bytes = 10 * k,
                        .freed_unmatched_bytes = 100 * k,
                        .pages.allocated_bytes = k,
                        .charges_verified = k,
                        .swept_at_us = 7 - k,
                        .states = {.known = k == 1 ? 6 : 3, .value = {0, k, k}},
                        .lost = {[LOSS_RECURSION] = 5 * k,
                                [LOSS_OBJECTS_FULL] = k,
                                [LOSS_SITES_FULL] = 3 * k,
                                [LOSS_STACKS_FULL] = 4 * k,
                                [LOSS_MISSED_FREES] = 2 * k}};
                struct tracker_row row = make(TYPE_USER, true, 1, 10);

                row.estimated = true;
                row.error_bytes = k + 2;
                row.gfp_flags = (uint32_t)k;
                row.live_known = k == 1;
                put(&s, row);
                assert_int_equal(sample_add(&a, &s), 0);
        }
        assert_int_equal(a.sample.rows[0].error_bytes, 5); /* 3 and 4: variances add */
        assert_int_equal(a.sample.rows[0].gfp_flags, 3);
        assert_false(a.sample.rows[0].live_known);
        assert_int_equal(a.sample.irq_bytes, 3);
        assert_int_equal(a.sample.kthread_bytes, 30);
        assert_int_equal(a.sample.freed_unmatched_bytes, 300);
        assert_int_equal(a.sample.pages.allocated_bytes, 3);
        assert_int_equal(a.sample.charges_verified, 3);
        assert_int_equal(a.sample.swept_at_us, 6);
        assert_int_equal(a.sample.states.known, 2); /* what one of them does not know is not known of both */
        assert_int_equal(a.sample.states.value[1], 3);
        assert_int_equal(a.sample.lost[LOSS_RECURSION], 10);   /* the engine's, not a sum */
        assert_int_equal(a.sample.lost[LOSS_OBJECTS_FULL], 3); /* each group's own */
        assert_int_equal(a.sample.lost[LOSS_MISSED_FREES], 6);
        assert_int_equal(a.sample.lost[LOSS_SITES_FULL], 9);
        assert_int_equal(a.sample.lost[LOSS_STACKS_FULL], 12);
        sample_adder_done(&a);
}

/* Where charged pages are sampled, the count of all of them stands for the rows. */
static void sampled_pages(void **state) {
        char symbols[] = "/tmp/memcgprof-symbols-XXXXXX";
        _cleanup_(names_freep) struct names *names = NULL;
        struct tracker_sample s = {.pages = {.allocated_bytes = 1000, .allocated_calls = 10, .freed_bytes = 300}};
        struct tracker_row row = make(TYPE_PAGE, true, 1, 800);
        struct sample_sum sum = {};

        sim_write_symbols(symbols);
        assert_int_equal(names_new(symbols, &names), 0);
        unlink(symbols);
        row.estimated = true;
        put(&s, row);
        put(&s, make(TYPE_PAGE, false, 2, 50));
        put(&s, make(TYPE_SLAB, true, 3, 5));
        row = make(TYPE_SLAB, false, 4, 700); /* so many missed frees: what lives there is not known */
        row.counts.allocated_calls = row.counts.written_off_calls = 50;
        put(&s, row);
        sample_sum_add(&sum, names, &s);
        assert_int_equal(sum.charged_bytes, 705);
        assert_int_equal(sum.live_bytes, 755);
        assert_int_equal(sum.live_calls, 12);
        assert_int_equal(sum.charged_gone, 300);
        assert_int_equal(sum.charged.value[MEMCG_SLAB], 5);
        assert_int_equal(sum.charged.known, 1u << MEMCG_SLAB | 1u << MEMCG_PERCPU);
        tracker_sample_done(&s);
}

/* Pages by alloc tags are counted one by one, so that nothing of them is an estimate, and say nothing of vmalloc. */
static void tagged_pages(void **state) {
        char symbols[] = "/tmp/memcgprof-symbols-XXXXXX";
        _cleanup_(names_freep) struct names *names = NULL;
        struct tracker_sample s = {.pages = {.allocated_bytes = 8192, .allocated_calls = 2, .freed_bytes = 4096}};
        struct tracker_row row = make(TYPE_PAGE, true, 0, 8192);
        struct sample_sum sum = {};

        sim_write_symbols(symbols);
        assert_int_equal(names_new(symbols, &names), 0);
        unlink(symbols);
        row.n_frames = 0;
        row.file = "mm/memory.c";
        row.function = "pte_alloc_one";
        row.module = "";
        row.counts.freed_bytes = 4096;
        put(&s, row);
        sample_sum_add(&sum, names, &s);
        assert_int_equal(sum.charged_bytes, 4096);
        assert_int_equal(sum.charged_gone, 4096);
        assert_int_equal(sum.charged.known, 1u << MEMCG_SLAB | 1u << MEMCG_PERCPU);
        tracker_sample_done(&s);
}

/* The parts of one site by node are one when nobody asked for them, in the first sample as well. */
static void nodes_are_merged(void **state) {
        struct sample_adder a = {.any_node = true};

        for (int k = 0; k < 2; k++) {
                struct tracker_sample s = {};

                for (int node = 0; node < 3; node++) {
                        struct tracker_row row = make(TYPE_SLAB, true, 1, 10);

                        row.node = node;
                        put(&s, row);
                }
                assert_int_equal(sample_add(&a, &s), 0);
                assert_int_equal(a.sample.n_rows, 1);
        }
        assert_int_equal(a.sample.rows[0].counts.allocated_bytes, 60);
        sample_adder_done(&a);
}

/* Nothing is known to live where nobody looks at frees. */
static void counted_only(void **state) {
        char symbols[] = "/tmp/memcgprof-symbols-XXXXXX";
        _cleanup_(names_freep) struct names *names = NULL;
        struct tracker_sample s = {.pages = {.allocated_bytes = 1000, .allocated_calls = 10}};
        struct tracker_row row = make(TYPE_PAGE, true, 1, 1000);
        struct sample_sum sum = {};

        sim_write_symbols(symbols);
        assert_int_equal(names_new(symbols, &names), 0);
        unlink(symbols);
        row.live_known = false;
        put(&s, row);
        sample_sum_add(&sum, names, &s);
        assert_int_equal(sum.live_bytes, 0);
        assert_int_equal(sum.charged_bytes, 0);
        tracker_sample_done(&s);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(rows_are_merged),
                cmocka_unit_test(different_rows_stay_apart),
                cmocka_unit_test(what_is_not_bytes),
                cmocka_unit_test(nodes_are_merged),
                cmocka_unit_test(sampled_pages),
                cmocka_unit_test(tagged_pages),
                cmocka_unit_test(counted_only),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}

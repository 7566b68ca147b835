/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a tracker's rows to measures: names, sums, and the estimates of sampled pages, held against mixes whose true values are
 * known.
 */
#include "unit.h"

#include <math.h>

#include "kallsyms.h"
#include "measure.h"

/* Every function is 0x100 long. */
static const char kallsyms[] = "ffffffff81000000 T _stext\n"
                               "ffffffff81000100 T alloc_pages_noprof\n"
                               "ffffffff81000200 t vm_area_alloc_pages\n"
                               "ffffffff81000300 T __vmalloc_node_range_noprof\n"
                               "ffffffff81000400 t allocate_slab\n"
                               "ffffffff81001000 T site_0\n"
                               "ffffffff81001100 T site_1\n"
                               "ffffffff81001200 T site_2\n"
                               "ffffffff81001300 T site_3\n"
                               "ffffffff81001400 T site_4\n"
                               "ffffffff81002000 T _etext\n";

#define ALLOC_PAGES 0xffffffff81000110
#define VM_AREA 0xffffffff81000210
#define VMALLOC 0xffffffff81000310
#define SLAB 0xffffffff81000410
#define SITE(i) (0xffffffff81001010 + (uint64_t)(i)*0x100)

static int load(void **state) {
        return load_symbols(kallsyms, state);
}

/* xorshift64*: the same figures in every run. */
static uint64_t seed = 88172645463325252ull;

static uint64_t draw(void) {
        seed ^= seed >> 12;
        seed ^= seed << 25;
        seed ^= seed >> 27;
        return seed * 2685821657736338717ull;
}

static double uniform(void) {
        return (double)(draw() >> 11) / (double)(1ull << 53);
}

/* A row of charged pages of SITE(i). */
static struct tracker_row page_row(unsigned i, bool estimated, struct tracker_counts counts) {
        return (struct tracker_row){.type = TYPE_PAGE,
                .charged = true,
                .live_known = true,
                .estimated = estimated,
                .node = -1,
                .n_frames = 2,
                .frames = {ALLOC_PAGES, SITE(i)},
                .counts = counts};
}

static struct measures take(void **state, struct tracker_row *rows, size_t n, const struct tracker_counts *pages) {
        struct tracker_sample sample = {.rows = rows, .n_rows = n};
        struct measures m;
        size_t missing;

        if (pages)
                sample.pages = *pages;
        assert_int_equal(measures_take(*state, NULL, &sample, &m, &missing), 0);
        return m;
}

static const struct measure *find(const struct measures *m, const char *name) {
        for (size_t i = 0; i < m->n; i++) {
                const char *symbol = m->items[i].symbol.name;

                if (name ? symbol && streq(symbol, name) : !symbol)
                        return &m->items[i];
        }
        return NULL;
}

static void assert_counts(const struct tracker_counts *a, const struct tracker_counts *b) {
        assert_memory_equal(a, b, sizeof(*a));
}

static struct tracker_counts sum_of_pages(const struct measures *m) {
        struct tracker_counts sum = {};

        for (size_t i = 0; i < m->n; i++)
                if (m->items[i].charged && (m->items[i].type == TYPE_PAGE || m->items[i].type == TYPE_VMALLOC))
                        tracker_counts_add(&sum, &m->items[i].counts, 1);
        return sum;
}

/* ---- names ------------------------------------------------------------------------------------------------------------- */

static void test_names(void **state) {
        struct tracker_row rows[] = {
                page_row(0, false, (struct tracker_counts){4096, 1}),
                {.type = TYPE_PAGE,
                        .charged = true,
                        .node = -1,
                        .n_frames = 4,
                        .frames = {ALLOC_PAGES, VM_AREA, VMALLOC, SITE(1)}},
                {.type = TYPE_PAGE, .node = -1, .n_frames = 4, .frames = {ALLOC_PAGES, VM_AREA, VMALLOC, SITE(2)}},
                {.type = TYPE_PAGE, .charged = true, .node = -1, .n_frames = 3, .frames = {ALLOC_PAGES, SLAB, SITE(3)}},
                {.type = TYPE_PAGE,
                        .charged = true,
                        .node = -1,
                        .n_frames = 4,
                        .frames = {ALLOC_PAGES, SITE(4), VMALLOC, SITE(1)}},
                {.type = TYPE_PAGE,
                        .charged = true,
                        .node = -1,
                        .estimated = true,
                        .function = "alloc_thread_stack_node",
                        .counts = {16384, 1}},
        };
        struct measures m = take(state, rows, ELEMENTS(rows), NULL);

        assert_int_equal(find(&m, "site_0")->type, TYPE_PAGE);
        assert_int_equal(find(&m, "site_1")->type, TYPE_VMALLOC);
        assert_int_equal(find(&m, "site_2")->type, TYPE_PAGE); /* billed to nobody: bulk pages are missing */
        assert_null(find(&m, "site_3"));
        assert_int_equal(find(&m, "site_4")->type, TYPE_PAGE); /* a page table on vmalloc's way */
        assert_true(measure_is_synthetic(find(&m, "alloc_thread_stack_node")));
        assert_true(m.stacks);
        assert_int_equal(m.pages.allocated_bytes, 4096 + 16384); /* kernel stacks are among them */
        measures_scale(&m);
        assert_int_equal(tracker_counts_live(&find(&m, "alloc_thread_stack_node")->counts), 16384);
        assert_int_equal(measures_explain(&m), 4096 + 16384);
        measures_done(&m);
}

/* A row by an alloc tag; strings are copied, as a tracker may hold the same ones at several places. */
static struct tracker_row tag_row(const char *file, uint32_t line, const char *function, const char *module,
        enum site_type type, struct tracker_counts counts) {
        return (struct tracker_row){.type = type,
                .charged = true,
                .live_known = true,
                .node = -1,
                .file = strdup(file),
                .line = line,
                .function = strdup(function),
                .module = strdup(module),
                .counts = counts};
}

static void tag_rows_done(struct tracker_row *rows, size_t n) {
        for (size_t i = 0; i < n; i++) {
                free((char *)rows[i].file);
                free((char *)rows[i].function);
                free((char *)rows[i].module);
        }
}

static const struct measure *find_type(const struct measures *m, const char *name, enum site_type type) {
        for (size_t i = 0; i < m->n; i++)
                if (m->items[i].symbol.name && streq(m->items[i].symbol.name, name) && m->items[i].type == type)
                        return &m->items[i];
        return NULL;
}

/* What a tag says is the site: whatever place it is kept at, and not where its module was loaded. */
static void test_tags(void **state) {
        struct tracker_row rows[] = {
                tag_row("fs/pipe.c", 789, "alloc_pipe_info", "", TYPE_SLAB, (struct tracker_counts){1000, 10}),
                tag_row("fs/pipe.c", 789, "alloc_pipe_info", "", TYPE_SLAB, (struct tracker_counts){500, 5, 100, 1}),
                tag_row("fs/pipe.c", 789, "alloc_pipe_info", "", TYPE_PAGE, (struct tracker_counts){4096, 1}),
                tag_row("fs/pipe.c", 790, "alloc_pipe_info", "", TYPE_SLAB, (struct tracker_counts){10, 1}),
                tag_row("a.c", 1, "made", "older", TYPE_SLAB, (struct tracker_counts){20, 2}),
                tag_row("a.c", 1, "made", "newer", TYPE_SLAB, (struct tracker_counts){30, 3}),
                tag_row("b.c", 1, "made", "newer", TYPE_SLAB, (struct tracker_counts){40, 4}),
                {.type = TYPE_PAGE, .charged = true, .live_known = true, .node = -1, .function = "made", .counts = {16384, 1}},
        };
        struct measures m = take(state, rows, ELEMENTS(rows), &(struct tracker_counts){4096 + 16384, 2});
        const struct measure *first = find_type(&m, "alloc_pipe_info", TYPE_SLAB);

        assert_int_equal(m.n, 7);
        assert_int_equal(first->counts.allocated_bytes, 1500);
        assert_int_equal(first->counts.freed_calls, 1);
        assert_int_equal(first->line, 789);
        assert_false(measure_is_synthetic(first));
        assert_true(measure_is_synthetic(find(&m, "made"))); /* without a file: it comes first */
        assert_true(m.tags);
        assert_false(m.stacks);
        measures_scale(&m);
        assert_int_equal(m.n, 7);
        assert_int_equal(measures_explain(&m), 1400 + 4096 + 10 + 90 + 16384);
        measures_done(&m);
        tag_rows_done(rows, ELEMENTS(rows) - 1);
}

/* Pages by tags are counted; the others, whose allocations came without one, are brought to what is left of the sum. */
static void test_tags_among_samples(void **state) {
        const struct tracker_counts pages = {100 * 4096, 100, 10 * 4096, 10};
        struct tracker_row rows[] = {
                tag_row("mm/memory.c", 440, "pte_alloc_one", "", TYPE_PAGE, (struct tracker_counts){60 * 4096, 60, 4096, 1}),
                page_row(0, true, (struct tracker_counts){20 * 4096, 20}),
                page_row(1, true, (struct tracker_counts){30 * 4096, 30, 3 * 4096, 3}),
        };
        struct measures m = take(state, rows, ELEMENTS(rows), &pages);
        struct tracker_counts sum;

        measures_scale(&m);
        sum = sum_of_pages(&m);
        assert_counts(&sum, &pages);
        assert_counts(&find(&m, "pte_alloc_one")->counts, &rows[0].counts);
        assert_false(find(&m, "pte_alloc_one")->estimated);
        assert_true(m.tags && m.stacks);
        measures_done(&m);
        tag_rows_done(rows, 1);
}

/* ---- known mixes ------------------------------------------------------------------------------------------------------- */

#define PERIOD 16384.0

/* One site of a mix: how many allocations of how many bytes, and how many of them are freed again. */
struct part {
        unsigned site;
        int64_t bytes, calls, freed;
};

struct truth {
        int64_t live[5];
        struct tracker_counts pages;
};

/* Draws one sample of a mix, as the tracker does: a coin per allocation, weighted by 1/p. */
static struct tracker_row sample_part(const struct part *p) {
        double chance = 1 - exp(-(double)p->bytes / PERIOD), squares = 0;
        int64_t weight = llround((double)p->bytes / chance);
        struct tracker_counts c = {};
        struct tracker_row row;

        for (int64_t i = 0; i < p->calls; i++) {
                if (uniform() >= chance)
                        continue;
                c.allocated_bytes += weight;
                c.allocated_calls += llround(1 / chance);
                if (i < p->freed) {
                        c.freed_bytes += weight;
                        c.freed_calls += llround(1 / chance);
                } else
                        squares += (double)weight * (double)weight * (1 - chance);
        }
        row = page_row(p->site, true, c);
        row.error_bytes = llround(sqrt(squares));
        return row;
}

static void add_truth(const struct part *p, struct truth *t) {
        t->live[p->site] += (p->calls - p->freed) * p->bytes;
        tracker_counts_add(
                &t->pages, &(struct tracker_counts){p->calls * p->bytes, p->calls, p->freed * p->bytes, p->freed}, 1);
}

/* One run of a mix: adds to how many rows there were and how many lay within two sigma. */
static void run_mix(void **state, const struct part *mix, size_t n, unsigned *rows_seen, unsigned *within) {
        struct tracker_row rows[8];
        struct truth truth = {};
        struct tracker_counts sum;
        struct measures m;
        size_t used = 0;

        for (size_t i = 0; i < n; i++) {
                add_truth(&mix[i], &truth);
                rows[used] = sample_part(&mix[i]);
                used += rows[used].counts.allocated_calls > 0;
        }
        m = take(state, rows, used, &truth.pages);
        measures_scale(&m);
        sum = sum_of_pages(&m);
        assert_counts(&sum, &truth.pages);
        for (unsigned i = 0; i < 5; i++) {
                _cleanup_free_ char *name = format("site_%u", i);
                const struct measure *item = find(&m, name);

                if (!item)
                        continue;
                *rows_seen += 1;
                *within += llabs(tracker_counts_live(&item->counts) - truth.live[i]) <= 2 * item->error_bytes;
        }
        measures_done(&m);
}

static void check_mix(void **state, const char *name, const struct part *mix, size_t n) {
        unsigned rows = 0, within = 0;

        for (unsigned i = 0; i < 2000; i++)
                run_mix(state, mix, n, &rows, &within);
        if (within < rows * 0.95)
                fail_msg("%s: %u of %u rows lie within two sigma", name, within, rows);
        print_message("# %s: %.2f %% of %u rows within two sigma\n", name, 100.0 * within / rows, rows);
}

static void test_known_mixes(void **state) {
        static const struct part large[] = {
                {0, 4096, 2500, 500}, {1, 8192, 300}, {1, 4096, 100, 100}, {2, 16384, 50}, {3, 4096, 400}};
        static const struct part middle[] = {
                {0, 4096, 200, 20}, {1, 8192, 60}, {2, 65536, 5}, {3, 4096, 80}, {4, 4096, 300, 200}};
        static const struct part small[] = {{0, 4096, 20}, {1, 4096, 10}, {2, 4096, 5}, {3, 4096, 40}};
        static const struct part uneven[] = {{0, 4096, 5000}, {1, 4096, 100}, {2, 32768, 30}};

        check_mix(state, "large", large, ELEMENTS(large));
        check_mix(state, "middle", middle, ELEMENTS(middle));
        check_mix(state, "small", small, ELEMENTS(small));
        check_mix(state, "uneven", uneven, ELEMENTS(uneven));
}

/* ---- scaling ----------------------------------------------------------------------------------------------------------- */

static int64_t some(int64_t below) {
        return (int64_t)(draw() % (uint64_t)below);
}

/* Whatever the rows and the sums, all eight figures add up. */
static void test_sums_are_exact(void **state) {
        for (unsigned run = 0; run < 5000; run++) {
                struct tracker_row rows[5];
                struct tracker_counts pages = {some(1ll << 40), some(1 << 20), some(1ll << 38), some(1 << 18), some(1 << 20),
                                              some(100), some(1 << 20), some(100)},
                                      sum;
                size_t n = (size_t)some(6);
                struct measures m;

                for (size_t i = 0; i < n; i++) {
                        int64_t freed = some(2) * some(1ll << 33), calls = freed / 4096;

                        rows[i] = page_row((unsigned)some(5), some(4) > 0,
                                (struct tracker_counts){freed + some(1ll << 34), calls + some(9), freed, calls});
                        rows[i].error_bytes = some(1 << 20);
                }
                m = take(state, rows, n, &pages);
                pages = m.pages; /* where nothing is sampled, the rows decide */
                measures_scale(&m);
                sum = sum_of_pages(&m);
                assert_counts(&sum, &pages);
                for (size_t i = 0; i < m.n; i++)
                        assert_true(m.items[i].error_bytes >= 0);
                measures_done(&m);
        }
}

static void test_without_sampling_nothing_changes(void **state) {
        struct tracker_row rows[] = {
                page_row(0, false, (struct tracker_counts){8192, 2, 4096, 1}),
                page_row(1, false, (struct tracker_counts){4096, 1}),
        };
        struct measures m = take(state, rows, ELEMENTS(rows), NULL);

        measures_scale(&m);
        assert_int_equal(m.n, 2);
        assert_counts(&find(&m, "site_0")->counts, &rows[0].counts);
        assert_counts(&find(&m, "site_1")->counts, &rows[1].counts);
        assert_false(find(&m, "site_1")->estimated);
        assert_int_equal(find(&m, "site_1")->error_bytes, 0);
        assert_int_equal(measures_explain(&m), 8192);
        measures_done(&m);
}

/* Samples of which each stands for itself only (p = 1) are figures without an error. */
static void test_certain_samples(void **state) {
        const struct tracker_counts pages = {12288, 3};
        struct tracker_row rows[] = {
                page_row(0, true, (struct tracker_counts){8192, 2}),
                page_row(1, true, (struct tracker_counts){4096, 1}),
        };
        struct measures m = take(state, rows, ELEMENTS(rows), &pages);

        measures_scale(&m);
        assert_counts(&find(&m, "site_0")->counts, &rows[0].counts);
        assert_int_equal(find(&m, "site_0")->error_bytes, 0);
        measures_done(&m);
}

/* Pages of which no sample lives, and pages of which there is no sample at all. */
static void test_unsampled(void **state) {
        const struct tracker_counts pages = {40960, 10, 8192, 2};
        struct tracker_row rows[] = {page_row(0, true, (struct tracker_counts){16384, 4, 16384, 4})};
        struct measures m = take(state, rows, 1, &pages);
        const struct measure *unknown;

        assert_int_equal(measures_explain(&m), 32768); /* before scaling too */
        measures_scale(&m);
        unknown = find(&m, NULL);
        assert_non_null(unknown);
        assert_true(unknown->estimated && unknown->charged && unknown->live_known);
        assert_int_equal(unknown->type, TYPE_PAGE);
        assert_int_equal(tracker_counts_live(&unknown->counts), 32768);
        assert_int_equal(tracker_counts_live(&find(&m, "site_0")->counts), 0);
        assert_int_equal(find(&m, "site_0")->counts.freed_bytes, 8192);
        assert_int_equal(find(&m, "site_0")->error_bytes, 32768); /* all of it may be its own */
        measures_done(&m);

        m = take(state, NULL, 0, &pages);
        measures_scale(&m);
        assert_int_equal(m.n, 1);
        assert_counts(&m.items[0].counts, &pages);
        assert_int_equal(m.items[0].error_bytes, 0); /* so much is nobody's, for certain */
        measures_scale(&m);                          /* once more changes nothing */
        assert_counts(&m.items[0].counts, &pages);
        measures_done(&m);
}

/* ---- judging ----------------------------------------------------------------------------------------------------------- */

static bool blind(enum site_type type, bool charged, int64_t freed, int64_t written_off) {
        const struct tracker_counts c = {
                .allocated_calls = 2 * freed + written_off, .freed_calls = freed, .written_off_calls = written_off};

        return measure_is_blind(type, charged, &c);
}

static void test_blind(void **state) {
        assert_false(blind(TYPE_SLAB, false, 0, 0));
        assert_false(blind(TYPE_SLAB, false, 1000, 0));
        assert_true(blind(TYPE_SLAB, false, 0, 1));
        assert_true(blind(TYPE_SLAB, false, 50, 1));
        assert_false(blind(TYPE_SLAB, false, 990, 10)); /* one percent is not more than one percent */
        assert_true(blind(TYPE_SLAB, false, 989, 11));
        assert_false(blind(TYPE_SLAB, true, 0, 1000)); /* charged objects are checked on the object */
        assert_false(blind(TYPE_PAGE, false, 0, 1000));
}

/* Blindness is of a row: all nodes of a site together. */
static void test_live_leaves_blind_out(void **state) {
        struct tracker_row rows[] = {
                {.type = TYPE_SLAB,
                        .live_known = true,
                        .node = 0,
                        .n_frames = 1,
                        .frames = {SITE(0)},
                        .counts = {1000, 10, 100, 1}},
                {.type = TYPE_SLAB,
                        .live_known = true,
                        .node = 1,
                        .n_frames = 1,
                        .frames = {SITE(0)},
                        .counts = {900, 9, 0, 0, 100, 1}},
                {.type = TYPE_SLAB,
                        .live_known = true,
                        .node = 1,
                        .n_frames = 1,
                        .frames = {SITE(1)},
                        .counts = {64, 2, 32, 1}},
                {.type = TYPE_USER, .live_known = true, .node = 1, .n_frames = 1, .frames = {SITE(1)}, .counts = {4096, 1}},
        };
        struct measures m = take(state, rows, ELEMENTS(rows), NULL);
        int64_t bytes, calls;

        assert_int_equal(m.n, 4);
        assert_int_equal(measures_run(&m, 0), 2);
        measures_live(&m, &bytes, &calls);
        assert_int_equal(bytes, 32);
        assert_int_equal(calls, 1);
        measures_done(&m);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_tags),
                cmocka_unit_test(test_tags_among_samples),
                cmocka_unit_test(test_known_mixes),
                cmocka_unit_test(test_sums_are_exact),
                cmocka_unit_test(test_without_sampling_nothing_changes),
                cmocka_unit_test(test_certain_samples),
                cmocka_unit_test(test_unsampled),
                cmocka_unit_test(test_blind),
                cmocka_unit_test(test_live_leaves_blind_out),
        };

        return cmocka_run_group_tests(tests, load, unload_symbols);
}

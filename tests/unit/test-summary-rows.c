/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From measures to rows and totals: what is blind, accurate, estimated, on which node; and that it all adds up. */
#include "unit.h"

#include "report.h"

static struct gfp_bits bits;

static int load_bits(void **state) {
        gfp_bits_load("/nonexistent", &bits);
        return 0;
}

static struct measure measure_of(
        uint64_t address, const char *function, enum site_type type, bool charged, struct tracker_counts counts) {
        return (struct measure){
                .address = address,
                .type = type,
                .charged = charged,
                .live_known = true,
                .node = -1,
                .symbol = {.name = function, .module = "", .offset = (uint32_t)address & 0xff},
                .counts = counts,
        };
}

/* The items as they are given: sorted by address, type, charge, node. */
static struct summary *take(struct measures *m, struct measure *items, size_t n) {
        struct summary *s = calloc(1, sizeof(*s));

        m->items = items;
        m->n = n;
        assert_int_equal(summary_take(s, m, &bits), 0);
        return s;
}

/* allocated = live + freed + written off + untracked + blind */
static void check_identity(const struct summary *s) {
        const struct tracker_counts *c = &s->totals.counts;

        assert_int_equal(c->allocated_bytes, s->charged.kernel_bytes + s->uncharged.kernel_bytes + c->freed_bytes +
                                                     c->written_off_bytes + c->untracked_bytes + s->totals.blind_bytes);
        for (size_t i = 0; i < s->n_rows; i++) {
                const struct figures *f = &s->rows[i].figures;

                assert_true(s->rows[i].live_known || figures_live_bytes(f) == 0);
                assert_true(s->rows[i].live_known || figures_live_calls(f) == 0);
        }
}

static void test_names(void **state) {
        struct measures m = {};
        struct measure items[] = {
                measure_of(0, NULL, TYPE_PAGE, true, (struct tracker_counts){4096, 1}),
                measure_of(0, "alloc_thread_stack_node", TYPE_PAGE, true, (struct tracker_counts){16384, 1}),
                measure_of(0, "ext4_alloc_inode", TYPE_SLAB, true, (struct tracker_counts){900, 1}),
                measure_of(0x1010, "alloc_inode", TYPE_SLAB, true, (struct tracker_counts){600, 1}),
                measure_of(0x2010, "idle", TYPE_SLAB, true, (struct tracker_counts){}),
        };
        _cleanup_(summary_freep) struct summary *s = NULL;

        items[2].file = "fs/ext4/super.c";
        items[2].line = 1393;
        items[2].symbol.module = "ext4";
        s = take(&m, items, ELEMENTS(items));
        assert_int_equal(s->n_rows, 4);
        assert_string_equal(s->rows[0].key, "unknown");
        assert_null(s->rows[0].function);
        assert_string_equal(s->rows[0].category, "other");
        assert_string_equal(s->rows[1].key, "alloc_thread_stack_node");
        assert_string_equal(s->rows[1].function, "alloc_thread_stack_node");
        assert_false(s->rows[1].has_offset);
        assert_false(s->rows[1].has_line);
        assert_string_equal(s->rows[2].key, "fs/ext4/super.c:1393:ext4_alloc_inode[ext4]");
        assert_string_equal(s->rows[2].file, "fs/ext4/super.c");
        assert_true(s->rows[2].has_line);
        assert_int_equal(s->rows[2].line, 1393);
        assert_false(s->rows[2].has_offset);
        assert_string_equal(s->rows[3].key, "alloc_inode+0x10");
        assert_true(s->rows[3].has_offset);
        assert_string_equal(s->rows[3].category, "fs");
        check_identity(s);
}

static void test_blind(void **state) {
        struct measures m = {};
        struct measure items[] = {
                measure_of(0x1000, "seen", TYPE_SLAB, false, (struct tracker_counts){1000, 10, 400, 4}),
                measure_of(0x2000, "unseen", TYPE_SLAB, false, (struct tracker_counts){5000, 50, 3000, 30, 100, 1}),
                measure_of(0x2000, "unseen", TYPE_SLAB, true, (struct tracker_counts){5000, 50, 3000, 30, 100, 1}),
        };
        _cleanup_(summary_freep) struct summary *s = take(&m, items, ELEMENTS(items));
        const struct row *blind = &s->rows[1];

        assert_false(blind->live_known);
        assert_false(blind->accurate);
        assert_int_equal(blind->figures.blind_bytes, 1900);
        assert_int_equal(blind->figures.blind_allocated_bytes, 5000);
        assert_true(s->rows[2].live_known); /* charged objects can be checked */
        assert_true(s->live_known);
        assert_int_equal(s->uncharged.by_type[TYPE_SLAB], 600);
        assert_int_equal(s->totals.blind_bytes, 1900);
        assert_int_equal(s->totals.blind_allocated_bytes, 5000);
        check_identity(s);
}

/* A tracker that sees no frees: nothing is known to live, and that is said. */
static void test_count_only(void **state) {
        struct measures m = {};
        struct measure item = measure_of(0x1000, "site", TYPE_SLAB, true, (struct tracker_counts){1000, 10});
        _cleanup_(summary_freep) struct summary *s = NULL;

        item.live_known = false;
        s = take(&m, &item, 1);
        assert_false(s->live_known);
        assert_false(s->charged.known[TYPE_SLAB]);
        assert_int_equal(s->totals.blind_bytes, 1000);
        check_identity(s);
}

static void test_nodes(void **state) {
        struct measures m = {};
        struct measure items[] = {
                measure_of(0x1000, "spread", TYPE_SLAB, false, (struct tracker_counts){100, 1}),
                measure_of(0x1000, "spread", TYPE_SLAB, false, (struct tracker_counts){600, 6, 100, 1}),
                measure_of(0x1000, "spread", TYPE_SLAB, false, (struct tracker_counts){50, 1, 0, 0, 50, 1}),
                measure_of(0x2000, "percpu", TYPE_PERCPU, true, (struct tracker_counts){64, 1}),
        };
        _cleanup_(summary_freep) struct summary *s = NULL;

        items[1].node = 0;
        items[2].node = 1;
        items[0].gfp_flags = 0xcc0;
        items[2].gfp_flags = 0x100;
        s = take(&m, items, ELEMENTS(items));
        assert_int_equal(s->n_rows, 2);
        assert_int_equal(s->rows[0].n_parts, 3);
        assert_int_equal(s->rows[0].parts[1].node, 0);
        assert_int_equal(s->rows[0].figures.counts.allocated_bytes, 750);
        assert_false(s->rows[0].live_known); /* one proof for one free: of the whole site */
        assert_int_equal(s->rows[0].parts[1].figures.blind_bytes, 500);
        assert_int_equal(s->rows[0].gfp.flags, 1u << GFP_FLAG_IO | 1u << GFP_FLAG_FS | 1u << GFP_FLAG_DIRECT_RECLAIM |
                                                       1u << GFP_FLAG_KSWAPD_RECLAIM | 1u << GFP_FLAG_ZERO);
        assert_int_equal(s->rows[1].n_parts, 0);
        check_identity(s);
}

static bool accurate(bool charged, bool swept, int64_t calls, int64_t written_off, int64_t untracked) {
        struct measures m = {.swept_at_us = swept ? 5 : 0};
        struct measure item = measure_of(0x1000, "site", TYPE_SLAB, charged,
                (struct tracker_counts){.allocated_calls = calls,
                        .freed_calls = calls / 2,
                        .written_off_calls = written_off,
                        .untracked_calls = untracked});
        _cleanup_(summary_freep) struct summary *s = take(&m, &item, 1);

        return s->rows[0].accurate;
}

static void test_accurate(void **state) {
        assert_true(accurate(true, false, 10000, 0, 0));
        assert_false(accurate(true, true, 10000, 0, 1));
        assert_true(accurate(true, true, 10000, 9, 0));
        assert_false(accurate(true, true, 10000, 10, 0));
        assert_false(accurate(true, false, 10000, 9, 0)); /* nobody looked for the others */
        assert_false(accurate(false, true, 10000, 9, 0)); /* and nobody can */
}

/* Missed frees at a site that says it is blind leave the rest of the document as it is; one that is not among them does not. */
static void test_missed_at_blind(void **state) {
        struct measure items[] = {
                measure_of(0x1000, "blind", TYPE_SLAB, false,
                        (struct tracker_counts){.allocated_calls = 100, .freed_calls = 10, .written_off_calls = 9}),
                measure_of(0x2000, "seen", TYPE_SLAB, false,
                        (struct tracker_counts){.allocated_calls = 1000, .freed_calls = 500, .written_off_calls = 1}),
        };

        items[0].missed_calls = 5; /* the others were swept */
        for (int64_t other = 0; other < 2; other++) {
                struct measures m = {.lost = {[LOSS_MISSED_FREES] = 5 + other}};
                struct measure given[] = {items[0], items[1]};
                _cleanup_(summary_freep) struct summary *s = NULL;

                given[1].missed_calls = other;
                s = take(&m, given, 2);
                assert_false(s->rows[0].live_known);
                assert_true(s->rows[1].live_known);
                assert_int_equal(s->lost[LOSS_MISSED_FREES], 5 + other);
                assert_int_equal(s->accurate, other == 0);
        }
}

static void test_estimates(void **state) {
        struct measures m = {.stacks = true, .pages = {8192, 2}};
        struct measure items[] = {
                measure_of(0, "alloc_thread_stack_node", TYPE_PAGE, true, (struct tracker_counts){16384, 1}),
                measure_of(0x1000, "a", TYPE_PAGE, true, (struct tracker_counts){4096, 1}),
                measure_of(0x2000, "b", TYPE_VMALLOC, true, (struct tracker_counts){4096, 1}),
                measure_of(0x3000, "c", TYPE_PAGE, false, (struct tracker_counts){4096, 1}),
                measure_of(0x4000, "d", TYPE_PAGE, false, (struct tracker_counts){4096, 1}),
        };
        _cleanup_(summary_freep) struct summary *s = NULL;

        for (size_t i = 0; i < ELEMENTS(items); i++) {
                items[i].estimated = true;
                items[i].error_bytes = i == 4 ? 4 : 3;
        }
        s = take(&m, items, ELEMENTS(items));
        assert_true(s->charged.estimated[TYPE_PAGE] && s->charged.estimated[TYPE_VMALLOC]);
        assert_int_equal(s->charged.error_bytes, 3); /* of the stacks: the others share a counted sum */
        assert_int_equal(s->uncharged.error_bytes, 5);
        assert_true(s->charged.known[TYPE_VMALLOC]);
        assert_false(s->uncharged.known[TYPE_VMALLOC]);
        assert_int_equal(s->charged.by_type[TYPE_VMALLOC], 4096);
        check_identity(s);
}

/* Without a stack, vmalloc cannot be told from other pages; without pages there is none. */
static void test_vmalloc_unknown(void **state) {
        struct measures some = {.pages = {8192, 2}}, none = {};
        struct measures tagged = {.pages = {8192, 2}, .stacks = true, .tags = true};
        struct measure item = measure_of(0, NULL, TYPE_PAGE, true, (struct tracker_counts){8192, 2});
        _cleanup_(summary_freep) struct summary *s = take(&some, &item, 1), *t = take(&none, NULL, 0),
                                                *u = take(&tagged, &item, 1);

        assert_false(s->charged.known[TYPE_VMALLOC]);
        assert_true(t->charged.known[TYPE_VMALLOC]);
        assert_true(t->live_known);
        assert_false(u->charged.known[TYPE_VMALLOC]); /* tags do not tell it */
}

/* Where the kernel sets tags, what has none; user pages and kernel stacks do not come into it. */
static void test_unaccounted(void **state) {
        struct measures tagging = {.tagging = true, .pages = {24576, 3}}, silent = {.pages = {24576, 3}};
        struct measure items[] = {
                measure_of(0, "alloc_thread_stack_node", TYPE_PAGE, true, (struct tracker_counts){16384, 1}),
                measure_of(0x1000, "untold", TYPE_SLAB, true, (struct tracker_counts){100, 1}),
                measure_of(0x2000, "gone", TYPE_SLAB, true, (struct tracker_counts){100, 1, 100, 1}),
                measure_of(0x3000, "uncharged", TYPE_PAGE, false, (struct tracker_counts){4096, 1}),
                measure_of(0x4000, "user", TYPE_USER, true, (struct tracker_counts){8192, 2}),
                measure_of(0, "tagged", TYPE_SLAB, true, (struct tracker_counts){500, 1}),
        };
        _cleanup_(summary_freep) struct summary *s = NULL, *t = NULL;

        items[5].file = "fs/file.c";
        s = take(&tagging, items, ELEMENTS(items));
        t = take(&silent, items, ELEMENTS(items));
        assert_true(s->unaccounted_known);
        assert_int_equal(s->unaccounted_bytes, 100 + 4096);
        assert_false(t->unaccounted_known);
}

static void test_heads(void **state) {
        struct measures m = {
                .irq_bytes = 1, .kthread_bytes = 2, .charges_verified = 3, .charges_mismatched = 4, .swept_at_us = 5};
        _cleanup_(summary_freep) struct summary *s = NULL;

        s = take(&m, NULL, 0);
        assert_true(s->accurate);
        assert_int_equal(s->irq_bytes + s->kthread_bytes + s->charges_verified + s->charges_mismatched + s->swept_at_us, 15);
        for (enum loss l = 0; l < _LOSS_MAX; l++) {
                _cleanup_(summary_freep) struct summary *lossy = NULL;

                memset(m.lost, 0, sizeof(m.lost));
                m.lost[l] = 1;
                lossy = take(&m, NULL, 0);
                assert_int_equal(lossy->accurate, l == LOSS_BULK_PAGES); /* in no row anywhere: nothing is wrong with one */
        }
}

/* ---- groups ------------------------------------------------------------------------------------------------------------ */

/* xorshift64*: the same figures in every run. */
static uint64_t seed = 0x2545f4914f6cdd1dull;

static int64_t below(int64_t n) {
        seed ^= seed >> 12;
        seed ^= seed << 25;
        seed ^= seed >> 27;
        return (int64_t)((seed * 2685821657736338717ull >> 16) % (uint64_t)n);
}

static struct measure random_measure(size_t i) {
        static const char *const functions[] = {"alloc_inode", "ext4_alloc_inode", "shmem_alloc_inode", "pte_alloc_one",
                "sk_prot_alloc", "sock_alloc_inode", "copy_process", "zzz", NULL};
        const char *function = functions[below(ELEMENTS(functions))];
        struct tracker_counts c = {.freed_bytes = below(500), .freed_calls = below(5), .untracked_bytes = below(9)};
        struct measure m;

        c.allocated_bytes = c.freed_bytes + c.untracked_bytes + 1 + below(1000);
        c.allocated_calls = c.freed_calls + 1 + below(10);
        c.written_off_calls = c.written_off_bytes = below(4) == 0; /* makes most uncharged ones blind */
        m = measure_of(function ? 0x1000 * (i + 1) : 0, function, (enum site_type)below(_TYPE_MAX), below(2), c);
        m.estimated = below(3) == 0;
        m.live_known = below(8) != 0;
        if (function && below(4) == 0)
                m.symbol.module = below(2) ? "nf_tables" : "zfs";
        return m;
}

/* A category's rows, over both lenses and all categories: what the totals say, blind sites left out of both. */
static void check_categories(const struct summary *s) {
        struct figures sum = {};
        int64_t charged = 0, uncharged = 0;

        for (size_t i = 0; i < s->n_rows; i++) {
                const struct row *row = &s->rows[i];

                assert_string_equal(row->key, row->category);
                for (size_t k = 0; k < i; k++)
                        assert_false(streq(row->key, s->rows[k].key) && row->charged == s->rows[k].charged &&
                                     row->estimated == s->rows[k].estimated &&
                                     (row->type == TYPE_USER) == (s->rows[k].type == TYPE_USER));
                if (row->type == TYPE_USER)
                        continue; /* their total comes from the memcg */
                figures_add(&sum, &row->figures);
                *(row->charged ? &charged : &uncharged) += figures_live_bytes(&row->figures);
        }
        assert_memory_equal(&sum.counts, &s->totals.counts, sizeof(sum.counts));
        assert_int_equal(sum.blind_bytes, s->totals.blind_bytes);
        assert_int_equal(sum.blind_allocated_bytes, s->totals.blind_allocated_bytes);
        assert_int_equal(charged, s->charged.kernel_bytes);
        assert_int_equal(uncharged, s->uncharged.kernel_bytes);
}

static void test_categories_add_up(void **state) {
        for (unsigned round = 0; round < 500; round++) {
                _cleanup_(filter_done) struct filter f = {};
                _cleanup_(summary_freep) struct summary *s = NULL;
                struct measures m = {};
                struct measure items[40];
                size_t n = (size_t)below(ELEMENTS(items) + 1);

                for (size_t i = 0; i < n; i++)
                        items[i] = random_measure(i);
                s = take(&m, items, n);
                check_identity(s);
                assert_int_equal(filter_set_string(&f, "group_by", "category", NULL), 0);
                assert_int_equal(summary_apply(s, &f), 0);
                check_categories(s);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_names),
                cmocka_unit_test(test_blind),
                cmocka_unit_test(test_count_only),
                cmocka_unit_test(test_nodes),
                cmocka_unit_test(test_accurate),
                cmocka_unit_test(test_missed_at_blind),
                cmocka_unit_test(test_estimates),
                cmocka_unit_test(test_vmalloc_unknown),
                cmocka_unit_test(test_unaccounted),
                cmocka_unit_test(test_heads),
                cmocka_unit_test(test_categories_add_up),
        };

        return cmocka_run_group_tests(tests, load_bits, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The engine against this kernel, without daemon and container: each behaviour of the kernel that the accounting relies on is
 * made to happen in a group of our own and held against what the tracker says.
 */
#include "subject.h"

/*
 * For some milliseconds at a time this kernel (6.18.44) shows frees of one CPU to no tracepoint program at all: two engines
 * side by side miss the same objects, neither counts a skipped program, and the addresses are given out again. Seen in about
 * one of twenty releases, at most half of one release. A sweep finds them.
 */
static int64_t unseen(struct tracker *t, int64_t bytes) {
        return sweep(t) ? 0 : bytes / 2;
}

/* A descriptor table for 10000 descriptors is a kvmalloc of 128 KiB, which is a large kmalloc, which is pages. */
static void hold_descriptor_table(void) {
        must(dup2(0, 9999) >= 0, "dup2");
}

/* ---- tests ----------------------------------------------------------------------------------------------------------------
 */

/* Live follows the memcg's counter up and down; both flavours of attaching see the same. */
static void check_follows(const struct tracker_options *options, void (*hold)(void), void (*drop)(void)) {
        struct tracker *t = tracker_of(options);
        struct cgroup *c = group_new("follows");
        struct subject s = subject_new(c->path, hold, drop);
        int64_t before = kernel_counter(c), held_bytes, slack;
        unsigned group = begin(t, c);
        struct reading r;

        subject_step(&s);
        settle(c);
        r = reading_of(t, group);
        assert_true(charged_of(&r) > N * 1000);
        held_bytes = charged_of(&r);
        assert_near(held_bytes, kernel_counter(c) - before, SLACK);
        subject_step(&s);
        settle(c);
        slack = SLACK + unseen(t, held_bytes);
        r = reading_of(t, group);
        assert_near(charged_of(&r) - r.unmatched, kernel_counter(c) - before, slack);
        assert_true(r.lowest >= 0);
        subject_end(&s);
        t->ops->end(t, group);
        group_end(c);
        tracker_free(t);
}

static void test_typed(void **state) {
        check_follows(NULL, hold_pipes, drop_held);
}

static void test_raw(void **state) {
        check_follows(&(struct tracker_options){.raw_tp = true}, hold_pipes, drop_held);
}

/* Inodes of sockets are freed by RCU in softirqs that land on running programs: nothing of it may be missed. */
static void test_softirq_frees(void **state) {
        struct tracker *t = tracker_of(NULL);
        struct cgroup *c = group_new("softirq");
        unsigned group = begin(t, c);
        struct reading r;
        int64_t slack;

        for (unsigned round = 0; round < 10; round++) {
                struct subject s = subject_new(c->path, hold_sockets, drop_held);

                subject_step(&s);
                subject_step(&s);
                subject_end(&s);
        }
        settle(c);
        slack = SLACK + unseen(t, reading_of(t, group).allocated / 10);
        r = reading_of(t, group);
        print_message("# recursion misses %lld, missed frees %lld, left %lld of %lld bytes\n",
                (long long)r.lost[LOSS_RECURSION], (long long)r.lost[LOSS_MISSED_FREES], (long long)r.live[1][TYPE_SLAB],
                (long long)r.allocated);
        assert_true(r.lost[LOSS_RECURSION] < 100); /* with one program a hook: thousands in every second release */
        assert_near(r.live[1][TYPE_SLAB], 0, slack);
        t->ops->end(t, group);
        group_end(c);
        tracker_free(t);
}

/* Descendants belong to the group, those made later too; siblings do not. */
static void test_membership(void **state) {
        struct tracker *t = tracker_of(NULL);
        struct cgroup *c = group_new("members"), *sibling = group_new("sibling"), *child;
        struct subject outside = subject_new(sibling->path, hold_pipes, nothing), inside;
        unsigned group = begin(t, c);
        struct reading r;

        subject_step(&outside);
        r = reading_of(t, group);
        assert_int_equal(r.allocated, 0);
        child = group_below(c, "child");
        inside = subject_new(child->path, hold_pipes, nothing);
        subject_step(&inside);
        r = reading_of(t, group);
        assert_true(r.live_calls >= 4 * N);
        subject_end(&inside);
        subject_end(&outside);
        t->ops->end(t, group);
        cgroup_free(child);
        group_end(c);
        group_end(sibling);
        tracker_free(t);
}

/* What was there before the baseline and is freed after it lowers no row: it is freed_unmatched. */
static void test_baseline(void **state) {
        struct tracker *t = tracker_of(NULL);
        struct cgroup *c = group_new("baseline");
        struct subject s = subject_new(c->path, hold_pipes, drop_held);
        int64_t before, shrunk;
        struct reading r;
        unsigned group;

        subject_step(&s);
        settle(c);
        before = kernel_counter(c);
        group = begin(t, c);
        subject_step(&s);
        settle(c);
        shrunk = before - kernel_counter(c);
        r = reading_of(t, group);
        assert_true(shrunk > N * 1000);
        assert_true(r.lowest >= 0);
        assert_true(charged_of(&r) >= 0);
        /* 6.1 on v2 was seen to give back 700 and 2800 bytes more than twice the slack has room for; of what is not known */
        assert_near(r.unmatched, shrunk, (root->layout == CGROUP_V2 ? 3 : 1) * SLACK + shrunk / 100);
        subject_end(&s);
        t->ops->end(t, group);
        group_end(c);
        tracker_free(t);
}

/* A large kmalloc fires twice and its pages once more; it counts once, as pages. */
static void test_large_kmalloc(void **state) {
        struct tracker *t = tracker_of(NULL);
        struct cgroup *c = group_new("large");
        struct subject s = subject_new(c->path, hold_descriptor_table, nothing);
        unsigned group = begin(t, c);
        int64_t before = kernel_counter(c);
        struct reading r;

        subject_step(&s);
        settle(c);
        r = reading_of(t, group);
        assert_true((r.pages_known ? r.pages : r.live[1][TYPE_PAGE]) >= 128 << 10);
        assert_true(r.largest_slab <= 8192 + 8);
        assert_near(charged_of(&r), kernel_counter(c) - before, SLACK);
        subject_end(&s);
        t->ops->end(t, group);
        group_end(c);
        tracker_free(t);
}

/* User pages are estimated from samples, and the estimate says how good it is: five sigma is never. */
static void test_user_pages(void **state) {
        struct tracker *t = tracker_of(&(struct tracker_options){.user_sample = 64 << 10});
        struct cgroup *c = group_new("user");
        struct subject s = subject_new(c->path, hold_memory, nothing);
        unsigned group = begin(t, c);
        struct reading r;

        subject_step(&s);
        r = reading_of(t, group);
        assert_true(r.error > 0 && r.error < 32 << 20);
        assert_near(r.estimated, 64 << 20, 5 * r.error);
        subject_end(&s);
        t->ops->end(t, group);
        group_end(c);
        tracker_free(t);
}

/* A table that is too small loses nothing silently: what it refused stands in untracked_bytes and in lost. */
static void test_tiny_object_table(void **state) {
        struct tracker *t = tracker_of(&(struct tracker_options){.objects = 64, .spill = 64});
        struct cgroup *c = group_new("tiny-objects");
        struct subject s = subject_new(c->path, hold_pipes, drop_held);
        unsigned group = begin(t, c);
        struct reading r;

        subject_step(&s);
        r = reading_of(t, group);
        assert_true(r.lost[LOSS_OBJECTS_FULL] > 0);
        assert_true(r.untracked > 0);
        subject_step(&s);
        settle(c);
        sweep(t);
        r = reading_of(t, group);
        assert_true(r.lowest >= 0);
        assert_near(charged_of(&r), 0, SLACK + (512 << 10)); /* the descriptor table stays, and what may be unseen */
        subject_end(&s);
        t->ops->end(t, group);
        group_end(c);
        tracker_free(t);
}

/* Without room for names, totals stay exact: the catch-alls take the rest. */
static void test_tiny_name_tables(void **state) {
        struct tracker *t = tracker_of(&(struct tracker_options){.sites = 1, .stacks = 1});
        struct cgroup *c = group_new("tiny-names");
        unsigned group = begin(t, c);
        int64_t before = kernel_counter(c);
        struct subject s = subject_new(c->path, hold_pipes, nothing), t2 = subject_new(c->path, hold_memory, nothing);
        struct reading r;

        subject_step(&s);
        subject_step(&t2);
        settle(c);
        r = reading_of(t, group);
        assert_true(lost_names(r.lost)); /* by stacks, or by alloc tags */
        assert_true(r.catch_all > 0);
        /* two subjects have two kernel stacks, which the tracepoints do not show as charged */
        assert_near(charged_of(&r) - r.unmatched, kernel_counter(c) - before, SLACK + 2 * 16384);
        subject_end(&s);
        subject_end(&t2);
        t->ops->end(t, group);
        group_end(c);
        tracker_free(t);
}

/* Counting only: cumulative figures are there, live is not claimed. */
static void test_count_only(void **state) {
        struct tracker *t = tracker_of(&(struct tracker_options){.count_only = true});
        struct cgroup *c = group_new("count-only");
        struct subject s = subject_new(c->path, hold_pipes, nothing);
        unsigned group = begin(t, c);
        struct tracker_sample sample;

        subject_step(&s);
        assert_int_equal(t->ops->read(t, group, &sample), 0);
        assert_true(sample.n_rows > 0);
        for (size_t i = 0; i < sample.n_rows; i++)
                assert_false(sample.rows[i].live_known);
        tracker_sample_done(&sample);
        subject_end(&s);
        t->ops->end(t, group);
        group_end(c);
        tracker_free(t);
}

/* A new group starts from nothing, whatever the last one left in the tables. */
static void test_second_group_is_clean(void **state) {
        struct tracker *t = tracker_of(NULL);
        struct cgroup *c = group_new("first"), *d = group_new("second");
        struct subject s = subject_new(c->path, hold_pipes, drop_held);
        unsigned group = begin(t, c);
        struct reading r;

        subject_step(&s);
        t->ops->end(t, group);
        group = begin(t, d);
        subject_step(&s); /* frees what the first group had counted */
        r = reading_of(t, group);
        assert_int_equal(r.allocated, 0);
        assert_int_equal(r.lowest, 0);
        subject_end(&s);
        t->ops->end(t, group);
        group_end(c);
        group_end(d);
        tracker_free(t);
}

/* Wiping what an ended group left does not touch the one that goes on. */
static void test_clean_beside_active(void **state) {
        struct tracker *t = tracker_of(NULL);
        struct cgroup *c = group_new("ends"), *d = group_new("goes-on");
        struct subject s = subject_new(c->path, hold_pipes, drop_held), u = subject_new(d->path, hold_pipes, drop_held);
        unsigned first = begin(t, c), second = begin(t, d);
        struct reading before, after;
        int64_t slack;

        assert_int_not_equal(first, second);
        subject_step(&s);
        subject_step(&u);
        settle(d);
        before = reading_of(t, second);
        t->ops->end(t, first);
        t->ops->clean(t);
        after = reading_of(t, second);
        assert_int_equal(charged_of(&after), charged_of(&before));
        assert_int_equal(reading_of(t, first).allocated, 0);
        subject_step(&s);
        subject_step(&u);
        settle(d);
        slack = SLACK + unseen(t, before.live[1][TYPE_SLAB]);
        after = reading_of(t, second);
        assert_true(after.lowest >= 0);
        assert_near(after.live[1][TYPE_SLAB], 0, slack);
        subject_end(&s);
        subject_end(&u);
        t->ops->end(t, second);
        group_end(c);
        group_end(d);
        tracker_free(t);
}

/* The kernel gives css ids out again: ending the group of a removed cgroup must not disarm the one that has its id now. */
static void test_css_id_again(void **state) {
        struct tracker *t = tracker_of(NULL);
        struct cgroup *c = group_new("removed"), *d;
        unsigned old = begin(t, c), group;
        struct reading r;
        struct subject s;

        group_end(c);
        usleep(300000);
        d = group_new("successor");
        group = begin(t, d);
        t->ops->end(t, old);
        s = subject_new(d->path, hold_pipes, nothing);
        subject_step(&s);
        r = reading_of(t, group);
        assert_true(r.live_calls >= 4 * N);
        subject_end(&s);
        t->ops->end(t, group);
        group_end(d);
        tracker_free(t);
}

static void test_gone_cgroup(void **state) {
        struct tracker *t = tracker_of(NULL);
        struct cgroup *c = group_new("gone");
        char *why = NULL;
        unsigned group;
        int r;

        assert_int_equal(cgroup_remove(root, c, NULL), 0);
        r = t->ops->begin(t, c, &(struct tracker_wish){}, &group, &why);
        assert_int_equal(r, -ENODEV);
        assert_sentence(&why, "gone");
        cgroup_free(c);
        tracker_free(t);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_typed),
                cmocka_unit_test(test_raw),
                cmocka_unit_test(test_softirq_frees),
                cmocka_unit_test(test_membership),
                cmocka_unit_test(test_baseline),
                cmocka_unit_test(test_large_kmalloc),
                cmocka_unit_test(test_user_pages),
                cmocka_unit_test(test_tiny_object_table),
                cmocka_unit_test(test_tiny_name_tables),
                cmocka_unit_test(test_count_only),
                cmocka_unit_test(test_second_group_is_clean),
                cmocka_unit_test(test_clean_beside_active),
                cmocka_unit_test(test_css_id_again),
                cmocka_unit_test(test_gone_cgroup),
        };

        return run_program(tests, ELEMENTS(tests), argc, argv);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The engine against this kernel, without daemon and container: each behaviour of the kernel that the accounting relies on is
 * made to happen in a group of our own and held against what the tracker says.
 *
 * A subject is a child process in a group that does one thing, says so, and holds it until it is let go. Needs root; every test
 * makes its own groups and removes them.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "../unit/unit.h"
#include "filter.h"
#include "summary.h"

static struct cgroup_root *root;

/* ---- subjects -------------------------------------------------------------------------------------------------------------
 */

#define N 2000

static int held[2 * N + 64];

static void hold_pipes(void) {
        for (size_t i = 0; i < N; i++)
                if (pipe(&held[2 * i]) < 0)
                        _exit(3);
}

static void drop_pipes(void) {
        for (size_t i = 0; i < 2 * N; i++)
                close(held[i]);
}

static void hold_sockets(void) {
        for (size_t i = 0; i < N; i++)
                if (socketpair(AF_UNIX, SOCK_STREAM, 0, &held[2 * i]) < 0)
                        _exit(3);
}

static void hold_memory(void) {
        if (mmap(NULL, 64 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0) == MAP_FAILED)
                _exit(3);
}

/* A descriptor table for 10000 descriptors is a kvmalloc of 128 KiB, which is a large kmalloc, which is pages. */
static void hold_descriptor_table(void) {
        if (dup2(0, 9999) < 0)
                _exit(3);
}

static void nothing(void) {
}

struct subject {
        pid_t pid;
        int to, from;
};

static void enter(const char *path) {
        _cleanup_free_ char *file = format("%s%s/cgroup.procs", root->mount, path);
        _cleanup_fclose_ FILE *f = fopen(file, "we");

        if (!f || fprintf(f, "0\n") < 0 || fflush(f) != 0)
                _exit(4);
}

static void live_as_subject(const char *path, int in, int out, void (*hold)(void), void (*drop)(void)) {
        struct rlimit limit;
        char c;

        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves nobody behind */
        getrlimit(RLIMIT_NOFILE, &limit);
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
        enter(path);
        if (write(out, "e", 1) != 1 || read(in, &c, 1) != 1)
                _exit(5);
        hold();
        if (write(out, "h", 1) != 1 || read(in, &c, 1) != 1)
                _exit(5);
        drop();
        if (write(out, "d", 1) != 1 || read(in, &c, 1) != 1)
                _exit(5);
        _exit(0);
}

/* A subject that is in its group and has not begun yet. */
static struct subject subject_new(const char *path, void (*hold)(void), void (*drop)(void)) {
        struct subject s;
        int to[2], from[2];
        char c;

        assert_int_equal(pipe2(to, O_CLOEXEC), 0);
        assert_int_equal(pipe2(from, O_CLOEXEC), 0);
        s.pid = fork();
        assert_true(s.pid >= 0);
        if (s.pid == 0)
                live_as_subject(path, to[0], from[1], hold, drop);
        close(to[0]);
        close(from[1]);
        s.to = to[1];
        s.from = from[0];
        assert_int_equal(read(s.from, &c, 1), 1);
        return s;
}

/* The next step: hold, then drop. Returns when it is done. */
static void subject_step(struct subject *s) {
        char c;

        assert_int_equal(write(s->to, "g", 1), 1);
        assert_int_equal(read(s->from, &c, 1), 1);
}

static void subject_end(struct subject *s) {
        kill(s->pid, SIGKILL);
        waitpid(s->pid, NULL, 0);
        close(s->to);
        close(s->from);
}

/* ---- groups and readings --------------------------------------------------------------------------------------------------
 */

static struct cgroup *group_new(const char *name) {
        _cleanup_free_ char *unique = format("memcgprof-test-%d-%s", (int)getpid(), name), *why = NULL;
        struct cgroup *c = NULL;

        if (cgroup_create(root, unique, &c, &why) < 0)
                fail_msg("%s", why);
        return c;
}

static struct cgroup *group_below(const struct cgroup *parent, const char *name) {
        _cleanup_free_ char *directory = format("%s%s/%s", root->mount, parent->path, name),
                            *path = format("%s/%s", parent->path, name);
        struct cgroup *c = NULL;

        assert_int_equal(mkdir(directory, 0755), 0);
        assert_int_equal(cgroup_open(root, path, &c, NULL), 0);
        return c;
}

static void group_end(struct cgroup *c) {
        _cleanup_free_ char *why = NULL;

        if (cgroup_remove(root, c, &why) < 0)
                fail_msg("%s", why);
        cgroup_free(c);
}

static struct tracker *tracker_of(const struct tracker_options *options) {
        _cleanup_free_ char *why = NULL;
        struct tracker *t = NULL;

        if (tracker_bpf_new(options, &t, &why) < 0)
                fail_msg("%s", why);
        return t;
}

static unsigned begin(struct tracker *t, const struct cgroup *c) {
        _cleanup_free_ char *why = NULL;
        unsigned group = 0;

        if (t->ops->begin(t, c, &(struct tracker_wish){}, &group, &why) < 0)
                fail_msg("%s", why);
        return group;
}

struct reading {
        int64_t live[2][_TYPE_MAX]; /* [charged][type] */
        int64_t live_calls;         /* slab, charged */
        int64_t largest_slab;       /* bytes per call of the largest slab row */
        int64_t allocated, untracked, written_off, unmatched, irq;
        int64_t catch_all; /* allocated on catch-alls */
        int64_t lowest;    /* smallest live of a row */
        int64_t estimated, error;
        int64_t lost[_LOSS_MAX];
};

static struct reading reading_of(struct tracker *t, unsigned group) {
        struct tracker_sample s = {};
        struct reading r = {};

        assert_int_equal(t->ops->read(t, group, &s), 0);
        for (size_t i = 0; i < s.n_rows; i++) {
                const struct tracker_row *row = &s.rows[i];
                const struct tracker_counts *c = &row->counts;
                int64_t live = c->allocated_bytes - c->freed_bytes - c->written_off_bytes - c->untracked_bytes;

                r.live[row->charged][row->type] += live;
                r.lowest = live < r.lowest ? live : r.lowest;
                if (row->type == TYPE_USER) {
                        r.estimated += live;
                        r.error += row->error_bytes;
                        continue;
                }
                r.allocated += c->allocated_bytes;
                r.untracked += c->untracked_bytes;
                r.written_off += c->written_off_bytes;
                r.catch_all += row->n_frames == 0 ? c->allocated_bytes : 0;
                if (row->type != TYPE_SLAB || c->allocated_calls == 0)
                        continue;
                if (row->charged)
                        r.live_calls += c->allocated_calls - c->freed_calls - c->written_off_calls - c->untracked_calls;
                if (c->allocated_bytes / c->allocated_calls > r.largest_slab)
                        r.largest_slab = c->allocated_bytes / c->allocated_calls;
        }
        r.unmatched = s.freed_unmatched_bytes;
        r.irq = s.irq_bytes;
        memcpy(r.lost, s.lost, sizeof(r.lost));
        tracker_sample_done(&s);
        return r;
}

static int64_t charged_of(const struct reading *r) {
        return r->live[1][TYPE_SLAB] + r->live[1][TYPE_PAGE] + r->live[1][TYPE_PERCPU];
}

static int64_t kernel_counter(const struct cgroup *c) {
        struct memcg_counters m;

        assert_int_equal(memcg_read(c, &m), 0);
        assert_true(memcg_knows(&m, MEMCG_KERNEL));
        return m.value[MEMCG_KERNEL];
}

/* RCU frees in its own time: waits until the memcg's counter has stood still for half a second. */
static void settle(const struct cgroup *c) {
        int64_t last = kernel_counter(c);

        for (unsigned still = 0, tries = 0; still < 10 && tries < 200; tries++) {
                int64_t now;

                usleep(50000);
                now = kernel_counter(c);
                still = now == last ? still + 1 : 0;
                last = now;
        }
}

static void assert_near(int64_t a, int64_t b, int64_t slack) {
        if (llabs(a - b) > slack)
                fail_msg("%lld and %lld are more than %lld apart", (long long)a, (long long)b, (long long)slack);
}

#define SLACK 16384

/*
 * For some milliseconds at a time this kernel (6.18.44) shows frees of one CPU to no tracepoint program at all: two engines
 * side by side miss the same objects, neither counts a skipped program, and the addresses are given out again. Seen in about
 * one of twenty releases, at most half of one release.
 */
#define UNSEEN(bytes) ((bytes) / 2)

/* ---- tests ----------------------------------------------------------------------------------------------------------------
 */

/* Live follows the memcg's counter up and down; both flavours of attaching see the same. */
static void check_follows(const struct tracker_options *options, void (*hold)(void), void (*drop)(void)) {
        struct tracker *t = tracker_of(options);
        struct cgroup *c = group_new("follows");
        struct subject s = subject_new(c->path, hold, drop);
        int64_t before = kernel_counter(c), held_bytes;
        unsigned group = begin(t, c);
        struct reading r;

        subject_step(&s);
        r = reading_of(t, group);
        assert_true(charged_of(&r) > N * 1000);
        held_bytes = charged_of(&r);
        assert_near(held_bytes, kernel_counter(c) - before, SLACK);
        subject_step(&s);
        settle(c);
        r = reading_of(t, group);
        assert_near(charged_of(&r) - r.unmatched, kernel_counter(c) - before, SLACK + UNSEEN(held_bytes));
        assert_true(r.lowest >= 0);
        subject_end(&s);
        t->ops->end(t, group);
        group_end(c);
        tracker_free(t);
}

static void test_typed(void **state) {
        check_follows(NULL, hold_pipes, drop_pipes);
}

static void test_raw(void **state) {
        check_follows(&(struct tracker_options){.raw_tp = true}, hold_pipes, drop_pipes);
}

/* Inodes of sockets are freed by RCU in softirqs that land on running programs: nothing of it may be missed. */
static void test_softirq_frees(void **state) {
        struct tracker *t = tracker_of(NULL);
        struct cgroup *c = group_new("softirq");
        unsigned group = begin(t, c);
        struct reading r;

        for (unsigned round = 0; round < 10; round++) {
                struct subject s = subject_new(c->path, hold_sockets, drop_pipes);

                subject_step(&s);
                subject_step(&s);
                subject_end(&s);
        }
        settle(c);
        r = reading_of(t, group);
        print_message("# recursion misses %lld, missed frees %lld, left %lld of %lld bytes\n",
                (long long)r.lost[LOSS_RECURSION], (long long)r.lost[LOSS_MISSED_FREES], (long long)r.live[1][TYPE_SLAB],
                (long long)r.allocated);
        assert_true(r.lost[LOSS_RECURSION] < 100); /* with one program a hook: thousands in every second release */
        assert_near(r.live[1][TYPE_SLAB], 0, SLACK + UNSEEN(r.allocated / 10));
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
        struct subject s = subject_new(c->path, hold_pipes, drop_pipes);
        int64_t before, shrunk;
        struct reading r;
        unsigned group;

        subject_step(&s);
        before = kernel_counter(c);
        group = begin(t, c);
        subject_step(&s);
        settle(c);
        shrunk = before - kernel_counter(c);
        r = reading_of(t, group);
        assert_true(shrunk > N * 1000);
        assert_true(r.lowest >= 0);
        assert_true(charged_of(&r) >= 0);
        /* inodes go by RCU, outside the task, and cannot be known as the group's */
        assert_true(r.unmatched > shrunk / 2 && r.unmatched <= shrunk + SLACK);
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
        r = reading_of(t, group);
        assert_true(r.live[1][TYPE_PAGE] >= 128 << 10);
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
        struct subject s = subject_new(c->path, hold_pipes, drop_pipes);
        unsigned group = begin(t, c);
        struct reading r;

        subject_step(&s);
        r = reading_of(t, group);
        assert_true(r.lost[LOSS_OBJECTS_FULL] > 0);
        assert_true(r.untracked > 0);
        subject_step(&s);
        settle(c);
        r = reading_of(t, group);
        assert_true(r.lowest >= 0);
        assert_near(charged_of(&r), 0, SLACK + (512 << 10)); /* the descriptor table stays, and what UNSEEN says */
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
        assert_true(r.lost[LOSS_STACKS_FULL] > 0);
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
        struct subject s = subject_new(c->path, hold_pipes, drop_pipes);
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
        struct subject s = subject_new(c->path, hold_pipes, drop_pipes), u = subject_new(d->path, hold_pipes, drop_pipes);
        unsigned first = begin(t, c), second = begin(t, d);
        struct reading before, after;

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
        after = reading_of(t, second);
        assert_true(after.lowest >= 0);
        assert_near(after.live[1][TYPE_SLAB], 0, SLACK + UNSEEN(before.live[1][TYPE_SLAB]));
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

int main(void) {
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
        _cleanup_(tracker_freep) struct tracker *probe = NULL;
        _cleanup_free_ char *why = NULL;
        int failed;

        if (cgroup_root_new(&root, &why) < 0 || tracker_bpf_new(NULL, &probe, &why) < 0) {
                printf("1..0 # SKIP %s\n", why);
                return 0;
        }
        failed = cmocka_run_group_tests(tests, NULL, NULL);
        cgroup_root_free(root);
        return failed;
}

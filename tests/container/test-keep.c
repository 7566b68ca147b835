/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What outlives a process: an engine whose process was killed goes on counting, and the next process has every count. Each such
 * test has a mount namespace with a BPF file system of its own, so that nothing is left of it. And how other processes end.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "subject.h"

static char pins[256];

static void make_pins(void) {
        const char *dir = scratch_directory("/tmp");

        must(unshare(CLONE_NEWNS) == 0, "unshare");
        must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0, "mount private");
        must(mount("bpf", dir, "bpf", 0, NULL) == 0, "mount bpf");
        snprintf(pins, sizeof(pins), "%s/memcgprof", dir);
}

static struct tracker *pinned(void) {
        return tracker_of(&(struct tracker_options){.pins = pins});
}

/* Runs `work` in a process that is killed at its end, and does none of what a process does when it ends by itself. */
static void in_killed_process(void (*work)(struct tracker *t, const struct cgroup *c), const struct cgroup *c) {
        pid_t pid = fork();
        int status;

        if (pid == 0) {
                work(pinned(), c);
                (void)raise(SIGKILL);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

enum { GROUP, GENERATION, OTHER };

static void begin_one(struct tracker *t, const struct cgroup *c) {
        told[GROUP] = begin(t, c);
        told[GENERATION] = (int64_t)t->ops->mark(t);
}

static unsigned keep(struct tracker *t) {
        unsigned group = (unsigned)told[GROUP];
        char *why = NULL;

        if (t->ops->keep(t, &group, 1, (uint64_t)told[GENERATION], &why) < 0)
                fail_msg("%s", why);
        return group;
}

static void check_growth(struct tracker *t, unsigned group, const struct cgroup *c, int64_t before) {
        struct reading r;

        settle(c);
        (void)sweep(t);
        r = reading_of(t, group);
        print_message("# explained %lld, unmatched %lld, growth %lld, lowest %lld\n", (long long)charged_of(&r),
                (long long)r.unmatched, (long long)(kernel_counter(c) - before), (long long)r.lowest);
        assert_near(charged_of(&r) - r.unmatched, kernel_counter(c) - before, SLACK);
        assert_true(r.lowest >= 0);
        assert_int_equal(r.lost[LOSS_LEASE], 0);
}

/* Allocated by nobody's watch, and freed before and after somebody looks again. */
static void test_counts_go_on(void **state) {
        struct cgroup *c = group_new("keep");
        struct subject s = subject_new(c->path, hold_pipes, drop_held);
        struct tracker *t;
        int64_t before;
        unsigned group;

        make_pins();
        before = kernel_counter(c);
        in_killed_process(begin_one, c);
        subject_step(&s);
        settle(c);
        assert_true(kernel_counter(c) - before > N * 1000);
        t = pinned();
        group = keep(t);
        check_growth(t, group, c, before);
        subject_step(&s);
        check_growth(t, group, c, before);
        subject_end(&s);
        t->ops->end(t, group);
        tracker_free(t);
        assert_int_equal(access(pins, F_OK), -1);
        group_end(c);
}

static struct subject meanwhile; /* it is no child of who is killed: that would hold the lock on */

/* Killed after the cgroup was divided and before that was written down: the heirs give all back. */
static void renew_twice(struct tracker *t, const struct cgroup *c) {
        unsigned second, third;

        begin_one(t, c);
        second = renew(t, (unsigned)told[GROUP]);
        subject_step(&meanwhile);
        third = renew(t, second);
        assert_int_equal(t->ops->fold(t, (unsigned)told[GROUP], second), 0);
        t->ops->end(t, (unsigned)told[GROUP]);
        told[OTHER] = third;
}

static void test_heirs_give_back(void **state) {
        struct cgroup *c = group_new("heirs");
        struct subject s = subject_new(c->path, hold_pipes, drop_held);
        struct tracker *t;
        unsigned group;
        int64_t before;

        make_pins();
        meanwhile = subject_new(c->path, hold_pipes, nothing);
        before = kernel_counter(c);
        in_killed_process(renew_twice, c);
        subject_step(&s);
        t = pinned();
        group = keep(t);
        check_growth(t, group, c, before);
        assert_true(reading_of(t, group).allocated_calls >= 2 * N);
        assert_true(kernel_counter(c) - before > 2 * N * 1000);
        subject_end(&s);
        subject_end(&meanwhile);
        check_growth(t, group, c, before);
        t->ops->end(t, group);
        tracker_free(t);
        group_end(c);
}

/* What nobody names is ended, and its number is free again. */
static void test_unknown_is_ended(void **state) {
        struct cgroup *c = group_new("unknown");
        struct tracker *t;
        char *why = NULL;

        make_pins();
        in_killed_process(begin_one, c);
        t = pinned();
        assert_int_equal(t->ops->keep(t, NULL, 0, 0, &why), 0);
        assert_int_equal(begin(t, c), told[GROUP]);
        t->ops->end(t, (unsigned)told[GROUP]);
        tracker_free(t);
        group_end(c);
}

static void nothing_begun(struct tracker *t, const struct cgroup *c) {
}

/* An engine that was idle is loaded anew: a newer program takes the place of an older one. */
static void test_idle_is_not_kept(void **state) {
        struct cgroup *c = group_new("idle");
        struct tracker *t;
        char *why = NULL;

        make_pins();
        in_killed_process(nothing_begun, c);
        t = pinned();
        assert_int_equal(t->ops->keep(t, NULL, 0, 0, &why), -ENODATA);
        print_message("# %s\n", why);
        free(why);
        tracker_free(t);
        group_end(c);
}

/* One at a time. */
static void test_one_process(void **state) {
        struct tracker *t, *other = NULL;
        char *why = NULL;

        make_pins();
        t = pinned();
        assert_int_equal(tracker_bpf_new(&(struct tracker_options){.pins = pins}, &other, &why), -EBUSY);
        print_message("# %s\n", why);
        free(why);
        tracker_free(t);
}

static void begin_with_short_lease(struct tracker *t, const struct cgroup *c) {
        told[GROUP] = begin(t, c);
        told[GENERATION] = (int64_t)t->ops->mark(t);
}

/* Without anybody who cares counting stops; with somebody it goes on, and says what happened. */
static void test_lease(void **state) {
        struct cgroup *c = group_new("lease");
        struct subject s = subject_new(c->path, hold_pipes, hold_sockets);
        struct tracker_options options = {.pins = pins, .lease_us = 300000}, later = {.pins = pins};
        struct tracker *t;
        struct reading r;
        int64_t calls;
        unsigned group;
        pid_t pid;

        make_pins();
        pid = fork();
        if (pid == 0) {
                begin_with_short_lease(tracker_of(&options), c);
                (void)raise(SIGKILL);
        }
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        usleep(600000);
        subject_step(&s);
        t = tracker_of(&later);
        group = keep(t);
        calls = reading_of(t, group).allocated_calls;
        assert_true(calls < N / 10);
        t->ops->renew_lease(t);
        subject_step(&s);
        r = reading_of(t, group);
        assert_int_equal(r.lost[LOSS_LEASE], 1);
        assert_true(r.allocated_calls - calls >= N);
        subject_end(&s);
        t->ops->end(t, group);
        tracker_free(t);
        group_end(c);
}

/* ---- how processes end ----------------------------------------------------------------------------------------------------
 */

static void *leave_alone(void *status) {
        usleep(100000);
        exit(*(int *)status);
}

/* The leader goes first, and its own code is not the group's. */
static void end_by_a_thread(void) {
        static int status = 5;
        pthread_t thread;

        (void)pthread_create(&thread, NULL, leave_alone, &status);
        pthread_exit(NULL);
}

static void end_by_code(void) {
        _exit(7);
}

static void end_by_signal(void) {
        (void)raise(SIGTERM);
}

static void end_well(void) {
        _exit(0);
}

/* A process that waits for a byte, and then ends so. */
static pid_t waiting(int fds[2], void (*end)(void)) {
        pid_t pid;
        char c;

        must(pipe(fds) == 0, "pipe");
        pid = fork();
        if (pid == 0) {
                (void)!read(fds[0], &c, 1);
                end();
        }
        return pid;
}

static void test_exits(void **state) {
        static void (*const ends[])(void) = {end_by_code, end_by_signal, end_by_a_thread, end_well};
        struct cgroup *c = group_new("exits");
        struct tracker *t = tracker_of(NULL);
        unsigned group = begin(t, c);

        for (size_t i = 0; i < ELEMENTS(ends); i++) {
                int fds[2], status, told_status = -1;
                pid_t pid = waiting(fds, ends[i]);
                int r = t->ops->follow_exit(t, pid, true);

                if (r == -ENOTSUP)
                        cannot("the kernel's stacks have no areas of their own, so that no program sees exits");
                assert_int_equal(r, 0);
                assert_int_equal(t->ops->exit_of(t, pid, &told_status), -ENODATA);
                assert_int_equal(write(fds[1], "x", 1), 1);
                assert_int_equal(waitpid(pid, &status, 0), pid);
                assert_int_equal(t->ops->exit_of(t, pid, &told_status), 0);
                assert_int_equal(told_status, status & ~0x80); /* whether there was a dump */
                assert_int_equal(t->ops->follow_exit(t, pid, false), 0);
                assert_int_equal(t->ops->exit_of(t, pid, &told_status), -ENODATA);
        }
        t->ops->end(t, group);
        tracker_free(t);
        group_end(c);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_counts_go_on),
                cmocka_unit_test(test_heirs_give_back),
                cmocka_unit_test(test_unknown_is_ended),
                cmocka_unit_test(test_idle_is_not_kept),
                cmocka_unit_test(test_one_process),
                cmocka_unit_test(test_lease),
                cmocka_unit_test(test_exits),
        };

        return run_program(tests, ELEMENTS(tests), argc, argv);
}

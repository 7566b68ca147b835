/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The pidfd decides: what a number leads to is believed only while the process that was handed over lives. No bus can provoke
 * the moment between the look at the pidfd and the look at /proc/PID, so both are given here. As root only.
 */
#include "unit.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "cgroup.h"
#include "target.h"

struct live {
        struct cgroup_root *root;
        struct cgroup *group;
        char *name;
        pid_t inside, gone;     /* a process of the group, and one that has been reaped */
        int inside_fd, gone_fd; /* their pidfds */
};

static pid_t fork_sleeper(void) {
        pid_t pid = fork();

        if (pid == 0) {
                pause();
                _exit(0);
        }
        assert_true(pid > 0);
        return pid;
}

static int pidfd(pid_t pid) {
        int fd = (int)syscall(SYS_pidfd_open, pid, 0);

        assert_true(fd >= 0);
        return fd;
}

static void end(pid_t pid) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
}

static void enter(const struct cgroup *group, pid_t pid) {
        _cleanup_close_ int fd = openat(group->fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);

        assert_true(fd >= 0 && dprintf(fd, "%d", (int)pid) > 0);
}

static int prepare(void **state) {
        struct live *l = calloc(1, sizeof(*l));

        *state = l;
        l->name = format("memcgprof-test-%d", (int)getpid());
        if (geteuid() != 0 || cgroup_root_new(&l->root, NULL) < 0 || cgroup_create(l->root, l->name, &l->group, NULL) < 0)
                return 0;
        l->inside = fork_sleeper();
        l->gone = fork_sleeper();
        l->inside_fd = pidfd(l->inside);
        l->gone_fd = pidfd(l->gone);
        enter(l->group, l->inside);
        end(l->gone);
        return 0;
}

static int clean(void **state) {
        struct live *l = *state;
        int r = 0;

        if (l->group) {
                end(l->inside);
                close(l->inside_fd);
                close(l->gone_fd);
                r = cgroup_remove(l->root, l->group, NULL);
        }
        cgroup_free(l->group);
        cgroup_root_free(l->root);
        free(l->name);
        free(l);
        return r;
}

static struct live *need(void **state) {
        struct live *l = *state;

        if (!l->group)
                skip();
        return l;
}

static void test_alive(void **state) {
        struct live *l = need(state);
        const struct process process = {.fd = l->inside_fd, .pid = l->inside};
        _cleanup_(cgroup_freep) struct cgroup *cgroup = NULL;

        assert_int_equal(target_open_container(l->root, &process, l->name, NULL, &cgroup, NULL), 0);
        assert_int_equal(cgroup->id, l->group->id);
}

/* The number is a process of the group by now, the pidfd is not. */
static void test_reused(void **state) {
        struct live *l = need(state);
        const struct process process = {.fd = l->gone_fd, .pid = l->inside};
        struct cgroup *cgroup = NULL;
        char *sentence = NULL;

        assert_int_equal(target_open_container(l->root, &process, l->name, NULL, &cgroup, &sentence), -ESRCH);
        assert_null(cgroup);
        assert_sentence(&sentence, "gone");
}

/* The pidfd tells the number, and tells none when the process is gone. */
static void test_from_fd(void **state) {
        struct live *l = need(state);
        struct process process = PROCESS_NONE;
        char *sentence = NULL;

        assert_int_equal(process_from_fd(l->gone_fd, &process, &sentence), -ESRCH);
        assert_int_equal(process.fd, -1);
        assert_sentence(&sentence, "gone");
        assert_int_equal(process_from_fd(l->inside_fd, &process, NULL), 0);
        assert_int_equal(process.pid, l->inside);
        assert_true(process.handed && process_alive(&process));
        process_done(&process);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_alive, prepare, clean),
                cmocka_unit_test_setup_teardown(test_reused, prepare, clean),
                cmocka_unit_test_setup_teardown(test_from_fd, prepare, clean),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The parked child: it waits, runs, gets the signals that are its own, and its status comes back. */
#include "../unit/unit.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>

#include "command.h"

static bool nobody(pid_t sender, void *data) {
        return false;
}

/* Says that every sender is the command's, and lets it end by the other signal. */
static bool everybody(pid_t sender, void *data) {
        const struct command *c = *(struct command **)data;

        kill(c->pid, SIGUSR1);
        return true;
}

static char sh[] = "sh", dash_c[] = "-c";

/* Runs `script` to its end. */
static int run_script(const char *script, int *ret_exec_error) {
        _cleanup_free_ char *copy = strdup(script);
        char *argv[] = {sh, dash_c, copy, NULL};
        _cleanup_(command_done) struct command c;
        int status = -1;

        assert_int_equal(command_park(argv, &c, NULL), 0);
        assert_int_equal(command_release(&c, NULL), 0);
        assert_int_equal(command_wait(&c, nobody, NULL, &status, ret_exec_error), 0);
        return status;
}

static void test_status(void **state) {
        int error = -1;

        assert_int_equal(run_script("exit 0", &error), 0);
        assert_int_equal(error, 0);
        assert_int_equal(run_script("exit 42", &error), 42);
        assert_int_equal(run_script("exit 127", &error), 127);
        assert_int_equal(error, 0); /* the command's own 127 is not ours */
        assert_int_equal(run_script("kill -KILL $$", &error), 128 + SIGKILL);
}

static int run_file(const char *path, int *ret_exec_error) {
        _cleanup_free_ char *copy = strdup(path);
        char *argv[] = {copy, NULL};
        _cleanup_(command_done) struct command c;
        int status = -1;

        assert_int_equal(command_park(argv, &c, NULL), 0);
        assert_int_equal(command_release(&c, NULL), 0);
        assert_int_equal(command_wait(&c, nobody, NULL, &status, ret_exec_error), 0);
        return status;
}

static void test_not_executable(void **state) {
        int error = -1;

        assert_int_equal(run_file("/nonexistent/command", &error), 127);
        assert_int_equal(error, ENOENT);
        assert_int_equal(run_file("/dev/null", &error), 126);
        assert_int_equal(error, EACCES);
        assert_int_equal(run_file("", &error), 127);
}

/* A pipe whose end tells that nobody holds it any more: the child has gone. */
static void test_abandoned(void **state) {
        int ends[2];
        char *argv[] = {sh, dash_c, (char[]){"echo ran"}, NULL};
        struct command c;
        char byte;
        int saved = dup(STDOUT_FILENO);

        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        dup2(ends[1], STDOUT_FILENO);
        assert_int_equal(command_park(argv, &c, NULL), 0);
        dup2(saved, STDOUT_FILENO);
        close(saved);
        close(ends[1]);
        /* it waits: neither output nor end */
        assert_int_equal(poll(&(struct pollfd){.fd = ends[0], .events = POLLIN}, 1, 0), 0);
        command_done(&c);
        assert_int_equal(read(ends[0], &byte, 1), 0); /* ended without a word */
        close(ends[0]);
}

/* Killed while it waited: told as the command's end, and writing to it does not kill us. */
static void test_killed_while_parked(void **state) {
        char *argv[] = {sh, dash_c, (char[]){"exit 0"}, NULL};
        _cleanup_(command_done) struct command c;
        siginfo_t info;
        int status, error;

        assert_int_equal(command_park(argv, &c, NULL), 0);
        kill(c.pid, SIGKILL);
        assert_int_equal(waitid(P_PID, c.pid, &info, WEXITED | WNOWAIT), 0);
        assert_int_equal(command_release(&c, NULL), 0);
        assert_int_equal(command_wait(&c, nobody, NULL, &status, &error), 0);
        assert_int_equal(status, 128 + SIGKILL);
}

/* A script that says when it is ready, and gives what it got as its status. */
static int run_and_signal(command_inside_t inside, int signal_number) {
        int ready[2];
        char script[] = "trap 'exit 70' TERM; trap 'exit 71' USR1; echo; while :; do read x <&9; done";
        char *argv[] = {sh, dash_c, script, NULL};
        struct command c, *data = &c;
        int hold[2], status = -1, error, saved_out = dup(STDOUT_FILENO);
        char byte;
        pid_t sender;

        assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
        assert_int_equal(pipe(hold), 0);
        dup2(hold[0], 9); /* an input that never comes, to wait on */
        dup2(ready[1], STDOUT_FILENO);
        assert_int_equal(command_park(argv, &c, NULL), 0);
        dup2(saved_out, STDOUT_FILENO);
        assert_int_equal(command_release(&c, NULL), 0);
        assert_int_equal(read(ready[0], &byte, 1), 1);
        sender = fork();
        if (sender == 0) {
                kill(getppid(), signal_number);
                _exit(0);
        }
        assert_int_equal(command_wait(&c, inside, &data, &status, &error), 0);
        waitpid(sender, NULL, 0);
        command_done(&c);
        close(9);
        close(hold[0]);
        close(hold[1]);
        close(ready[0]);
        close(ready[1]);
        close(saved_out);
        return status;
}

static void test_signal_passed_on(void **state) {
        assert_int_equal(run_and_signal(nobody, SIGTERM), 70);
        assert_int_equal(run_and_signal(nobody, SIGUSR1), 71);
}

/* From inside the group: the command has sent it, and it is not sent back. */
static void test_signal_from_inside(void **state) {
        assert_int_equal(run_and_signal(everybody, SIGTERM), 71);
}

/* The mask is as it was, for the command and afterwards for us. */
static void test_mask(void **state) {
        sigset_t before, after;
        int error;

        sigprocmask(SIG_SETMASK, NULL, &before);
        assert_int_equal(run_script("grep -q '^SigBlk:[[:space:]]*0*$' /proc/self/status", &error), 0);
        sigprocmask(SIG_SETMASK, NULL, &after);
        for (int i = 1; i < NSIG; i++)
                assert_int_equal(sigismember(&before, i), sigismember(&after, i));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_status),
                cmocka_unit_test(test_not_executable),
                cmocka_unit_test(test_abandoned),
                cmocka_unit_test(test_killed_while_parked),
                cmocka_unit_test(test_signal_passed_on),
                cmocka_unit_test(test_signal_from_inside),
                cmocka_unit_test(test_mask),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}

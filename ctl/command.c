/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The child is forked, not spawned, because it has to stand still between its birth and its exec while the parent moves it and
 * starts the profile.
 *
 * Who sent a signal decides whether it is passed on. The terminal's (si_code SI_KERNEL) go to the whole foreground process
 * group, the command included; kill(2) on this process alone names its sender and reaches nobody else. A kill(2) on the whole
 * group cannot be told from it: then the command gets the signal twice, which is better than not at all.
 */
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>

#include "command.h"

enum { STATUS_NOT_EXECUTABLE = 126, STATUS_NOT_FOUND = 127, STATUS_SIGNAL = 128 };

static const int passed_on[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

static void wanted_signals(sigset_t *set) {
        sigemptyset(set);
        for (size_t i = 0; i < ELEMENTS(passed_on); i++)
                sigaddset(set, passed_on[i]);
        sigaddset(set, SIGCHLD);
}

/* In the child, from here on only what is safe after a fork. Does not return. */
static void child(char **argv, int fd, const sigset_t *mask) {
        int error;
        char go;
        ssize_t n;

        do
                n = read(fd, &go, 1);
        while (n < 0 && errno == EINTR);
        if (n != 1)
                _exit(EXIT_FAILURE);
        sigprocmask(SIG_SETMASK, mask, NULL);
        execvp(argv[0], argv);
        error = errno;
        n = send(fd, &error, sizeof(error), MSG_NOSIGNAL);
        _exit(n > 0 && error == ENOENT ? STATUS_NOT_FOUND : STATUS_NOT_EXECUTABLE);
}

int command_park(char **argv, struct command *ret, char **reterr) {
        struct sigaction ordinary = {.sa_handler = SIG_DFL};
        _cleanup_close_ int theirs = -1;
        int pair[2];
        sigset_t set;

        *ret = (struct command){.fd = -1};
        wanted_signals(&set);
        sigprocmask(SIG_BLOCK, &set, &ret->mask);
        /* An inherited SIG_IGN would have the kernel reap the child before its status is asked for. */
        sigaction(SIGCHLD, &ordinary, NULL);
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
                return fail(reterr, -errno, "No socket for the command: %s.", strerror(errno));
        ret->fd = pair[0];
        theirs = pair[1];
        ret->pid = fork();
        if (ret->pid == 0) {
                close(ret->fd); /* its own end must not keep it waiting */
                child(argv, theirs, &ret->mask);
        }
        if (ret->pid < 0) {
                ret->pid = 0;
                return fail(reterr, -errno, "No process for the command: %s.", strerror(errno));
        }
        return 0;
}

int command_release(struct command *c, char **reterr) {
        if (send(c->fd, "", 1, MSG_NOSIGNAL) == 1 || errno == EPIPE)
                return 0;
        return fail(reterr, -errno, "The command cannot be started: %s.", strerror(errno));
}

static void pass_on(const struct command *c, const siginfo_t *info, command_inside_t inside, void *data) {
        if (info->si_code == SI_KERNEL || info->si_pid == c->pid || inside(info->si_pid, data))
                return;
        (void)kill(c->pid, info->si_signo);
}

/* The child is gone, so this never blocks. */
static int exec_error(const struct command *c) {
        int error = 0;

        return read(c->fd, &error, sizeof(error)) == sizeof(error) ? error : 0;
}

int command_wait(struct command *c, command_inside_t inside, void *data, int *ret_status, int *ret_exec_error) {
        sigset_t set;
        int status;

        wanted_signals(&set);
        for (;;) {
                siginfo_t info;
                pid_t pid = waitpid(c->pid, &status, WNOHANG);

                if (pid == c->pid)
                        break;
                if (pid < 0)
                        return -errno;
                if (sigwaitinfo(&set, &info) > 0 && info.si_signo != SIGCHLD)
                        pass_on(c, &info, inside, data);
        }
        c->pid = 0;
        *ret_status = WIFSIGNALED(status) ? STATUS_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
        *ret_exec_error = exec_error(c);
        return 0;
}

void command_done(struct command *c) {
        const struct timespec now = {};
        sigset_t set;

        closep(&c->fd);
        if (c->pid > 0)
                (void)waitpid(c->pid, NULL, 0);
        /* The Ctrl-C that ended the command may still be waiting here, and would end this process as well. */
        wanted_signals(&set);
        while (sigtimedwait(&set, NULL, &now) > 0)
                ;
        sigprocmask(SIG_SETMASK, &c->mask, NULL);
}

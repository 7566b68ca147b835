/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "peer.h"

#define START_SECONDS 60
#define STOP_SECONDS 20
#define OUTPUT_MAX 16384

struct peer {
        pid_t pid;
        int fd;
        char output[OUTPUT_MAX]; /* the first of it */
        size_t n;
};

static int64_t now_ms(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

/* 1: more output; 0: it ended; -ETIMEDOUT. */
static int take_output(struct peer *p, int64_t until_ms) {
        struct pollfd wait = {.fd = p->fd, .events = POLLIN};
        int64_t left = until_ms - now_ms();
        char rest[4096];
        bool room = p->n + 1 < OUTPUT_MAX;
        ssize_t n;

        if (left <= 0 || poll(&wait, 1, (int)left) == 0)
                return -ETIMEDOUT;
        n = read(p->fd, room ? p->output + p->n : rest, room ? OUTPUT_MAX - 1 - p->n : sizeof(rest));
        if (n < 0)
                return errno == EINTR ? -EINTR : -EIO;
        if (room)
                p->n += (size_t)n;
        return n > 0;
}

static const char *last_line(struct peer *p) {
        char *line;

        while (p->n > 0 && p->output[p->n - 1] == '\n')
                p->n--;
        p->output[p->n] = '\0';
        line = strrchr(p->output, '\n');
        return line ? line + 1 : p->output;
}

static void run_child(const char *const *argv, const int pipe_fds[static 2]) {
        int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

        (void)dup2(null, STDIN_FILENO);
        (void)dup2(pipe_fds[1], STDOUT_FILENO);
        (void)dup2(pipe_fds[1], STDERR_FILENO);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)signal(SIGINT, SIG_DFL);
        /* as many keys as our own table holds objects: the default of 4096 would drop events */
        (void)setenv("BPFTRACE_MAP_KEYS_MAX", "1048576", 0);
        execvp(argv[0], (char *const *)argv);
        dprintf(STDERR_FILENO, "%s\n", errno == ENOENT ? "not installed" : strerror(errno));
        _exit(127);
}

int peer_start(const char *const *argv, const char *ready, struct peer **ret, char **reterr) {
        struct peer *p = calloc(1, sizeof(*p));
        int64_t until = now_ms() + START_SECONDS * 1000;
        int fds[2], r = 1;

        if (!p)
                return -ENOMEM;
        if (pipe2(fds, O_CLOEXEC) < 0) {
                free(p);
                return -errno;
        }
        p->pid = fork();
        if (p->pid == 0)
                run_child(argv, fds);
        close(fds[1]);
        p->fd = fds[0];
        while (r > 0 && !strstr(p->output, ready))
                r = take_output(p, until);
        if (r <= 0) {
                r = fail(reterr, -EPROTO, "%s: %s", argv[0], r == -ETIMEDOUT ? "not ready in time" : last_line(p));
                peer_stop(p);
                return r;
        }
        *ret = p;
        return 0;
}

struct peer *peer_stop(struct peer *p) {
        int64_t until = now_ms() + STOP_SECONDS * 1000;

        if (!p)
                return NULL;
        if (p->pid > 0) {
                (void)kill(p->pid, SIGINT);
                while (take_output(p, until) > 0)
                        ;
                (void)kill(p->pid, SIGKILL);
                while (waitpid(p->pid, NULL, 0) < 0 && errno == EINTR)
                        ;
        }
        close(p->fd);
        free(p);
        return NULL;
}

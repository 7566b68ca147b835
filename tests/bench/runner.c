/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "runner.h"

struct runner {
        pid_t pid;
        int fd;
};

struct request {
        unsigned loop, n;
};

struct answer {
        int r;
        double ns;
};

static double cpu_ns(int who) {
        struct rusage u;

        getrusage(who, &u);
        return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e9 + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e3;
}

static double cpu_of_all(void) {
        return cpu_ns(RUSAGE_SELF) + cpu_ns(RUSAGE_CHILDREN);
}

static void serve(const char *tree, int fd) {
        struct request q;

        while (read(fd, &q, sizeof(q)) == (ssize_t)sizeof(q)) {
                double start = cpu_of_all();
                struct answer a = {.r = loops[q.loop].run(tree, q.n)};

                a.ns = (cpu_of_all() - start) / q.n / loops[q.loop].width;
                if (write(fd, &a, sizeof(a)) != (ssize_t)sizeof(a))
                        break;
        }
        _exit(0);
}

int runner_new(const char *tree, struct runner **ret) {
        _cleanup_free_ struct runner *r = calloc(1, sizeof(*r));
        int fds[2];

        if (!r)
                return -ENOMEM;
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
                return -errno;
        r->pid = fork();
        if (r->pid == 0) {
                close(fds[0]);
                (void)signal(SIGINT, SIG_DFL);
                (void)signal(SIGTERM, SIG_DFL);
                (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
                serve(tree, fds[1]);
        }
        close(fds[1]);
        r->fd = fds[0];
        if (r->pid < 0) {
                int error = -errno;

                close(r->fd);
                return error;
        }
        *ret = TAKE(r);
        return 0;
}

struct runner *runner_free(struct runner *r) {
        if (!r)
                return NULL;
        close(r->fd);
        (void)kill(r->pid, SIGTERM); /* a younger runner may hold the other end too */
        while (waitpid(r->pid, NULL, 0) < 0 && errno == EINTR)
                ;
        free(r);
        return NULL;
}

pid_t runner_pid(const struct runner *r) {
        return r->pid;
}

int runner_run(struct runner *r, const struct loop *loop, unsigned n, double *ret_ns) {
        struct request q = {.loop = (unsigned)(loop - loops), .n = n};
        struct answer a;

        if (write(r->fd, &q, sizeof(q)) != (ssize_t)sizeof(q) || read(r->fd, &a, sizeof(a)) != (ssize_t)sizeof(a))
                return -EINTR; /* by the same signal as it, or its end */
        if (a.r < 0)
                return a.r;
        *ret_ns = a.ns;
        return 0;
}

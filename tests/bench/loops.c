/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "loops.h"

#define MAPPING (1u << 20)
#define DIRECTORIES 100
#define FILES 20
#define FILE_BYTES 2048

static int pipe_loop(const char *tree, unsigned n) {
        while (n-- > 0) {
                int fds[2];

                if (pipe2(fds, O_CLOEXEC) < 0)
                        return -errno;
                close(fds[0]);
                close(fds[1]);
        }
        return 0;
}

static int open_loop(const char *tree, unsigned n) {
        while (n-- > 0) {
                int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

                if (fd < 0)
                        return -errno;
                close(fd);
        }
        return 0;
}

static int mmap_loop(const char *tree, unsigned n) {
        while (n-- > 0) {
                char *p = mmap(NULL, MAPPING, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

                if (p == MAP_FAILED)
                        return -errno;
                for (size_t i = 0; i < MAPPING; i += 4096)
                        ((volatile char *)p)[i] = 1;
                munmap(p, MAPPING);
        }
        return 0;
}

static int wait_for(pid_t pid) {
        int status;

        while (waitpid(pid, &status, 0) < 0)
                if (errno != EINTR)
                        return -errno;
        return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

static int run_program(const char *const *argv) {
        pid_t pid = vfork();

        if (pid < 0)
                return -errno;
        if (pid == 0) {
                execvp(argv[0], (char *const *)argv);
                _exit(127);
        }
        return wait_for(pid);
}

static int fork_loop(const char *tree, unsigned n) {
        int r = 0;

        while (r >= 0 && n-- > 0) {
                pid_t pid = fork();

                if (pid == 0) {
                        execl("/bin/true", "true", (char *)NULL);
                        _exit(127);
                }
                r = pid < 0 ? -errno : wait_for(pid);
        }
        return r;
}

/* -size has every file looked at, which costs a name a file; the output is nothing. */
static int find_loop(const char *tree, unsigned n) {
        const char *const argv[] = {"find", tree, "-type", "f", "-size", "+1M", NULL};
        int r = 0;

        while (r >= 0 && n-- > 0)
                r = run_program(argv);
        return r;
}

/* Through a pipe: tar opens no file when it sees that the archive is /dev/null. */
static int tar_loop(const char *tree, unsigned n) {
        const char *const argv[] = {"sh", "-c", "tar -C \"$0\" -cf - . | cat >/dev/null", tree, NULL};
        int r = 0;

        while (r >= 0 && n-- > 0)
                r = run_program(argv);
        return r;
}

static int pin(unsigned nth) {
        cpu_set_t may, one;

        if (sched_getaffinity(0, sizeof(may), &may) < 0)
                return -errno;
        for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
                if (CPU_ISSET(cpu, &may) && nth-- == 0) {
                        CPU_ZERO(&one);
                        CPU_SET(cpu, &one);
                        return sched_setaffinity(0, sizeof(one), &one) < 0 ? -errno : 0;
                }
        return -ENODEV;
}

static int parallel_loop(const char *tree, unsigned n) {
        pid_t pids[2];
        int r = 0;

        for (unsigned i = 0; i < ELEMENTS(pids); i++) {
                pids[i] = fork();
                if (pids[i] == 0)
                        _exit(pin(i) < 0 || pipe_loop(tree, n) < 0);
        }
        for (unsigned i = 0; i < ELEMENTS(pids); i++) {
                int ended = pids[i] < 0 ? -EAGAIN : wait_for(pids[i]);

                r = r < 0 ? r : ended;
        }
        return r;
}

const struct loop loops[_LOOPS] = {
        [LOOP_PIPE] = {"pipe", "pipe create/close", 1, 1, 1, true, pipe_loop},
        [LOOP_OPEN] = {"open", "open/close", 1, 1, 1, true, open_loop},
        [LOOP_FORK] = {"fork", "fork, exec, exit, wait", 500, 2, 1, false, fork_loop},
        [LOOP_MMAP] = {"mmap", "mmap, touch, munmap of 1 MiB", 250, 2, 1, false, mmap_loop},
        [LOOP_FIND] = {"find", "find through 2000 files", 2000, 6, 1, false, find_loop},
        [LOOP_TAR] = {"tar", "tar of 2000 files", 2000, 12, 1, false, tar_loop},
        [LOOP_PARALLEL] = {"parallel", "pipe create/close on two CPUs", 1, 4, 2, true, parallel_loop},
};

static unsigned part(unsigned n, unsigned share) {
        return n < share ? 1 : n / share;
}

unsigned loop_operations(const struct loop *loop, unsigned ops) {
        return part(ops, loop->share);
}

unsigned loop_repeats(const struct loop *loop, unsigned repeats) {
        return part(repeats, loop->seldom);
}

static int make_file(const char *path) {
        const char bytes[FILE_BYTES] = "";
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

        if (fd < 0)
                return -errno;
        return write(fd, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes) ? 0 : -EIO;
}

int loops_make_tree(const char *tree) {
        for (unsigned i = 0; i < DIRECTORIES; i++) {
                _cleanup_free_ char *directory = format("%s/directory-%u", tree, i);

                if (!directory)
                        return -ENOMEM;
                if (mkdir(directory, 0700) < 0)
                        return -errno;
                for (unsigned k = 0; k < FILES; k++) {
                        _cleanup_free_ char *file = format("%s/file-%u", directory, k);
                        int r = file ? make_file(file) : -ENOMEM;

                        if (r < 0)
                                return r;
                }
        }
        return 0;
}

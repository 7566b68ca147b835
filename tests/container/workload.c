/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A container's only program: it holds a known number of kernel objects until it is told to let go. Built static, because the
 * container's root file system has no libraries.
 *
 * Commands come line by line on standard input, each is answered by one line on standard output:
 *
 *   hold pipes N       N pipes, two descriptors each                        ready
 *   hold sockets N     N unix sockets as N/2 connected pairs                ready
 *   hold files N       N empty files on the tmpfs of --dir                  ready
 *   hold memory BYTES  one anonymous mapping, every page touched            ready
 *   release            lets go of everything                                released
 *   churn pipes N      makes and closes N pipes, one at a time              churned ns-of-CPU-time-per-operation
 *   churn open N       opens and closes /dev/null N times                   churned ns-of-CPU-time-per-operation
 *   exit N             ends with status N                                   (none)
 *
 * What goes wrong is answered by "error: SENTENCE". Invariants: memory for the book-keeping is touched before anything is held,
 * so that holding allocates nothing in user space; end of input means exit 0.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define DESCRIPTORS_MAX 65536
#define SPARE_DESCRIPTORS 8 /* standard streams and what the runtime left open */

static int descriptors[DESCRIPTORS_MAX];
static size_t n_descriptors;
static long n_files;
static void *mapping = MAP_FAILED;
static size_t mapping_size;
static const char *directory = "/tmp";

static void answer(const char *text) {
        printf("%s\n", text);
        fflush(stdout);
}

static int answer_errno(const char *what) {
        printf("error: %s: %s\n", what, strerror(errno));
        fflush(stdout);
        return -1;
}

/* The hard limit binds: this program has no capability to lift it. */
static int reserve_descriptors(long n) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return answer_errno("getrlimit");
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
                return answer_errno("setrlimit");
        if ((rlim_t)n + SPARE_DESCRIPTORS <= limit.rlim_cur && n_descriptors + (size_t)n <= DESCRIPTORS_MAX)
                return 0;
        printf("error: %ld descriptors are needed, the limit is %llu\n", n, (unsigned long long)limit.rlim_cur);
        fflush(stdout);
        return -1;
}

static int hold_pipes(long n) {
        if (reserve_descriptors(2 * n) < 0)
                return -1;
        for (long i = 0; i < n; i++, n_descriptors += 2)
                if (pipe(descriptors + n_descriptors) < 0)
                        return answer_errno("pipe");
        return 0;
}

static int hold_sockets(long n) {
        if (reserve_descriptors(n) < 0)
                return -1;
        for (long i = 0; i < n / 2; i++, n_descriptors += 2)
                if (socketpair(AF_UNIX, SOCK_STREAM, 0, descriptors + n_descriptors) < 0)
                        return answer_errno("socketpair");
        return 0;
}

static void file_path(char *path, size_t size, long i) {
        snprintf(path, size, "%s/held-%ld", directory, i);
}

static int hold_files(long n) {
        char path[256];

        for (long i = 0; i < n; i++, n_files++) {
                int fd;

                file_path(path, sizeof(path), n_files);
                fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
                if (fd < 0)
                        return answer_errno(path);
                close(fd);
        }
        return 0;
}

static int hold_memory(long bytes) {
        if (mapping != MAP_FAILED) {
                errno = EALREADY;
                return answer_errno("memory");
        }
        mapping = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (mapping == MAP_FAILED)
                return answer_errno("mmap");
        mapping_size = bytes;
        for (long i = 0; i < bytes; i += 4096)
                ((volatile char *)mapping)[i] = 1;
        return 0;
}

static int release_all(void) {
        char path[256];

        while (n_descriptors > 0)
                close(descriptors[--n_descriptors]);
        while (n_files > 0) {
                file_path(path, sizeof(path), --n_files);
                if (unlink(path) < 0)
                        return answer_errno(path);
        }
        if (mapping != MAP_FAILED)
                munmap(mapping, mapping_size);
        mapping = MAP_FAILED;
        return 0;
}

/* User and system time of this process, in nanoseconds. */
static double cpu_time(void) {
        struct rusage usage;

        getrusage(RUSAGE_SELF, &usage);
        return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e9 + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e3;
}

static int churn_pipes(long n) {
        for (long i = 0; i < n; i++) {
                int fds[2];

                if (pipe(fds) < 0)
                        return answer_errno("pipe");
                close(fds[0]);
                close(fds[1]);
        }
        return 0;
}

static int churn_open(long n) {
        for (long i = 0; i < n; i++) {
                int fd = open("/dev/null", O_RDONLY);

                if (fd < 0)
                        return answer_errno("/dev/null");
                close(fd);
        }
        return 0;
}

struct kind {
        const char *verb, *name;
        int (*run)(long n);
};

static const struct kind kinds[] = {
        {"hold", "pipes", hold_pipes},
        {"hold", "sockets", hold_sockets},
        {"hold", "files", hold_files},
        {"hold", "memory", hold_memory},
        {"churn", "pipes", churn_pipes},
        {"churn", "open", churn_open},
};

static void run_kind(const struct kind *kind, long n) {
        double begin = cpu_time();

        if (kind->run(n) < 0)
                return;
        if (strcmp(kind->verb, "churn") != 0) {
                answer("ready");
                return;
        }
        printf("churned %.1f\n", (cpu_time() - begin) / n);
        fflush(stdout);
}

static void execute(const char *line) {
        char verb[16] = "", name[16] = "";
        long n = 0;
        int words = sscanf(line, "%15s %15s %ld", verb, name, &n);

        if (words == 2 && strcmp(verb, "exit") == 0)
                exit(atoi(name));
        if (words == 1 && strcmp(verb, "release") == 0) {
                if (release_all() == 0)
                        answer("released");
                return;
        }
        for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
                if (words == 3 && n > 0 && strcmp(kinds[i].verb, verb) == 0 && strcmp(kinds[i].name, name) == 0) {
                        run_kind(kinds + i, n);
                        return;
                }
        answer("error: not a command");
}

int main(int argc, char **argv) {
        static char line[128];

        if (argc == 3 && strcmp(argv[1], "--dir") == 0)
                directory = argv[2];
        else if (argc != 1) {
                fprintf(stderr, "usage: workload [--dir DIRECTORY]\n");
                return 64;
        }
        memset(descriptors, 0xff, sizeof(descriptors));
        answer("up"); /* also makes stdio allocate its buffers */
        while (fgets(line, sizeof(line), stdin))
                execute(line);
        return 0;
}

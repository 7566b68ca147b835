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
 *   hold processes N   N children that wait                                 ready
 *   hold threads N     N threads that wait                                  ready
 *   hold epoll N       N eventfds, all in one epoll set                     ready
 *   hold connections N N TCP connections to itself over loopback            ready
 *   release            lets go of everything                                released
 *   churn KIND N       makes and drops N of these, one at a time: pipes,    churned ns-of-CPU-time-per-operation
 *                      processes, threads, files, epoll, connections,
 *                      open (of /dev/null)
 *   exit N             ends with status N                                   (none)
 *
 * What goes wrong is answered by "error: SENTENCE". Invariants: memory for the book-keeping is touched before anything is held,
 * so that holding allocates nothing in user space, and the table of descriptors has its full size from the start; connections
 * are reset when they are closed, so that none lingers; end of input means exit 0.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DESCRIPTORS_MAX 65536
#define THREAD_STACK (64 << 10)
#define SPARE_DESCRIPTORS 8 /* standard streams and what the runtime left open */

static int descriptors[DESCRIPTORS_MAX];
static size_t n_descriptors;
static long n_files;
static void *mapping = MAP_FAILED;
static size_t mapping_size;
static const char *directory = "/tmp";
static pid_t children[1024];
static size_t n_children;
static pthread_t threads[1024];
static size_t n_threads;
static char *stacks = MAP_FAILED;
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* held while threads are to wait */
static int listener = -1;
static struct sockaddr_in address = {.sin_family = AF_INET};

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

/* The kernel's table of descriptors only grows. */
static void widen_descriptors(void) {
        struct rlimit limit;
        int fd;

        getrlimit(RLIMIT_NOFILE, &limit);
        limit.rlim_cur = limit.rlim_max < DESCRIPTORS_MAX ? limit.rlim_max : DESCRIPTORS_MAX;
        setrlimit(RLIMIT_NOFILE, &limit);
        fd = fcntl(0, F_DUPFD, (int)limit.rlim_cur - 1);
        if (fd >= 0)
                close(fd);
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

static int no_more(const char *what) {
        errno = EMFILE;
        return answer_errno(what);
}

static int hold_processes(long n) {
        if (n_children + (size_t)n > sizeof(children) / sizeof(children[0]))
                return no_more("fork");
        for (long i = 0; i < n; i++) {
                pid_t pid = fork();

                if (pid < 0)
                        return answer_errno("fork");
                if (pid == 0) {
                        prctl(PR_SET_PDEATHSIG, SIGKILL);
                        for (;;)
                                pause();
                }
                children[n_children++] = pid;
        }
        return 0;
}

static void release_processes(void) {
        for (size_t i = 0; i < n_children; i++)
                kill(children[i], SIGKILL);
        while (n_children > 0)
                waitpid(children[--n_children], NULL, 0);
}

static void *wait_at_gate(void *unused) {
        pthread_mutex_lock(&gate);
        pthread_mutex_unlock(&gate);
        return NULL;
}

/* On a stack out of one mapping: the C library would keep stacks, with a memory area each, for later threads. */
static int thread_new(pthread_t *ret, size_t i) {
        pthread_attr_t attributes;
        int r;

        if (stacks == MAP_FAILED)
                stacks = mmap(NULL, sizeof(threads) / sizeof(threads[0]) * THREAD_STACK, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (stacks == MAP_FAILED)
                return answer_errno("mmap");
        pthread_attr_init(&attributes);
        pthread_attr_setstack(&attributes, stacks + i * THREAD_STACK, THREAD_STACK);
        r = pthread_create(ret, &attributes, wait_at_gate, NULL);
        pthread_attr_destroy(&attributes);
        if (r == 0)
                return 0;
        errno = r;
        return answer_errno("pthread_create");
}

static void drop_stacks(void) {
        if (stacks != MAP_FAILED)
                munmap(stacks, sizeof(threads) / sizeof(threads[0]) * THREAD_STACK);
        stacks = MAP_FAILED;
}

static int hold_threads(long n) {
        if (n_threads + (size_t)n > sizeof(threads) / sizeof(threads[0]))
                return no_more("pthread_create");
        if (n_threads == 0)
                pthread_mutex_lock(&gate);
        for (long i = 0; i < n; i++, n_threads++)
                if (thread_new(&threads[n_threads], n_threads) < 0)
                        return -1;
        return 0;
}

static void release_threads(void) {
        if (n_threads > 0)
                pthread_mutex_unlock(&gate);
        while (n_threads > 0)
                pthread_join(threads[--n_threads], NULL);
        drop_stacks();
}

static int hold_epoll(long n) {
        struct epoll_event e = {.events = EPOLLIN};
        int set;

        if (reserve_descriptors(n + 1) < 0)
                return -1;
        set = epoll_create1(EPOLL_CLOEXEC);
        if (set < 0)
                return answer_errno("epoll_create1");
        descriptors[n_descriptors++] = set;
        for (long i = 0; i < n; i++) {
                int fd = eventfd(0, EFD_CLOEXEC);

                if (fd < 0)
                        return answer_errno("eventfd");
                descriptors[n_descriptors++] = fd;
                if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &e) < 0)
                        return answer_errno("epoll_ctl");
        }
        return 0;
}

static int listen_on_loopback(void) {
        socklen_t length = sizeof(address);

        if (listener >= 0)
                return 0;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(listener, 64) < 0 ||
                getsockname(listener, (struct sockaddr *)&address, &length) < 0)
                return answer_errno("listen");
        return 0;
}

/* A byte goes over each, so that it is a connection indeed. */
static int connection_new(int ends[2]) {
        struct linger now = {.l_onoff = 1};
        char byte = 'x';

        ends[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (ends[0] < 0 || connect(ends[0], (struct sockaddr *)&address, sizeof(address)) < 0)
                return answer_errno("connect");
        ends[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (ends[1] < 0 || write(ends[0], &byte, 1) != 1 || read(ends[1], &byte, 1) != 1)
                return answer_errno("accept");
        for (size_t i = 0; i < 2; i++)
                setsockopt(ends[i], SOL_SOCKET, SO_LINGER, &now, sizeof(now));
        return 0;
}

static int hold_connections(long n) {
        if (reserve_descriptors(2 * n + 1) < 0 || listen_on_loopback() < 0)
                return -1;
        for (long i = 0; i < n; i++, n_descriptors += 2)
                if (connection_new(descriptors + n_descriptors) < 0)
                        return -1;
        return 0;
}

static int release_all(void) {
        char path[256];

        release_processes();
        release_threads();
        while (n_descriptors > 0)
                close(descriptors[--n_descriptors]);
        if (listener >= 0)
                close(listener);
        listener = -1;
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

static int churn_processes(long n) {
        for (long i = 0; i < n; i++) {
                pid_t pid = fork();

                if (pid < 0)
                        return answer_errno("fork");
                if (pid == 0)
                        _exit(0);
                waitpid(pid, NULL, 0);
        }
        return 0;
}

static int churn_threads(long n) {
        for (long i = 0; i < n; i++) {
                pthread_t thread;

                if (thread_new(&thread, 0) < 0)
                        return -1;
                pthread_join(thread, NULL);
        }
        drop_stacks();
        return 0;
}

/* One page is written to each. */
static int churn_files(long n) {
        static const char bytes[4096];
        char path[256];

        for (long i = 0; i < n; i++) {
                int fd;

                snprintf(path, sizeof(path), "%s/churned-%ld", directory, i % 16);
                fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
                if (fd < 0 || write(fd, bytes, sizeof(bytes)) != (ssize_t)sizeof(bytes))
                        return answer_errno(path);
                close(fd);
                if (unlink(path) < 0)
                        return answer_errno(path);
        }
        return 0;
}

static int churn_epoll(long n) {
        struct epoll_event e = {.events = EPOLLIN};
        int set = epoll_create1(EPOLL_CLOEXEC), fd = eventfd(0, EFD_CLOEXEC);

        for (long i = 0; i < n; i++)
                if (epoll_ctl(set, EPOLL_CTL_ADD, fd, &e) < 0 || epoll_ctl(set, EPOLL_CTL_DEL, fd, &e) < 0)
                        return answer_errno("epoll_ctl");
        close(fd);
        close(set);
        return 0;
}

static int churn_connections(long n) {
        if (listen_on_loopback() < 0)
                return -1;
        for (long i = 0; i < n; i++) {
                int ends[2];

                if (connection_new(ends) < 0)
                        return -1;
                close(ends[0]);
                close(ends[1]);
        }
        close(listener);
        listener = -1;
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
        {"hold", "processes", hold_processes},
        {"hold", "threads", hold_threads},
        {"hold", "epoll", hold_epoll},
        {"hold", "connections", hold_connections},
        {"churn", "pipes", churn_pipes},
        {"churn", "processes", churn_processes},
        {"churn", "threads", churn_threads},
        {"churn", "files", churn_files},
        {"churn", "epoll", churn_epoll},
        {"churn", "connections", churn_connections},
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
        widen_descriptors();
        answer("up"); /* also makes stdio allocate its buffers */
        while (fgets(line, sizeof(line), stdin))
                execute(line);
        return 0;
}

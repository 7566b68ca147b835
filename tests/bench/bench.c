/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the engine costs, as a ratio to the same number of empty BPF programs on the same tracepoints.
 *
 *   bench [--rounds N] [--ops N]
 *
 * The machine may be shared and noisy, so nothing is compared across runs: in every round all settings are measured one after
 * the other on the same two loops, a ratio is formed within the round, and the median over the rounds is printed. The measure
 * is CPU time of this process (rusage), the best of five in a round. Needs root and a memory cgroup.
 */
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <getopt.h>
#include <sys/resource.h>

#include "empty.skel.h"
#include "profile.h"

#define ROUNDS_MAX 101
#define REPEATS 5

static unsigned rounds = 31, ops = 8000;

/* ---- the loops ------------------------------------------------------------------------------------------------------------
 */

static int pipe_loop(unsigned n) {
        while (n-- > 0) {
                int fds[2];

                if (pipe2(fds, O_CLOEXEC) < 0)
                        return -errno;
                close(fds[0]);
                close(fds[1]);
        }
        return 0;
}

static int open_loop(unsigned n) {
        while (n-- > 0) {
                int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

                if (fd < 0)
                        return -errno;
                close(fd);
        }
        return 0;
}

static const struct loop {
        const char *name;
        int (*run)(unsigned n);
} loops[] = {{"pipe create/close", pipe_loop}, {"open/close", open_loop}};

#define N_LOOPS ELEMENTS(loops)

static double cpu_ns(void) {
        struct rusage u;

        getrusage(RUSAGE_SELF, &u);
        return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e9 + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1e3;
}

static double time_loop(const struct loop *loop) {
        double best = 0;

        for (unsigned i = 0; i < REPEATS; i++) {
                double start = cpu_ns(), took;

                if (loop->run(ops) < 0)
                        return -1;
                took = (cpu_ns() - start) / ops;
                if (i == 0 || took < best)
                        best = took;
        }
        return best;
}

/* ---- the settings ---------------------------------------------------------------------------------------------------------
 */

enum setting { BASE, FLOOR_ALLOC, FLOOR_ALL, OUTSIDE, COUNTING, LIVE, _SETTINGS };

static const struct {
        const char *name;
        enum setting floor; /* which one it is held against */
        double reach;       /* at most this ratio */
} settings[_SETTINGS] = {
        [BASE] = {"no programs", BASE, 0},
        [FLOOR_ALLOC] = {"empty programs, allocation hooks", FLOOR_ALLOC, 0},
        [FLOOR_ALL] = {"empty programs, all hooks", FLOOR_ALL, 0},
        [OUTSIDE] = {"task outside the group", FLOOR_ALL, 1.4},
        [COUNTING] = {"in the group, counting only", FLOOR_ALLOC, 1.8},
        [LIVE] = {"in the group, live tracking", FLOOR_ALL, 2.1},
};

static struct cgroup_root *root;
static struct cgroup *group, *other; /* this process lives in `group`; `other` is profiled when it is to be outside */
static struct tracker *counting, *live;
static double events[N_LOOPS]; /* allocation events per operation */

static int move_self(const char *path) {
        _cleanup_free_ char *file = format("%s%s/cgroup.procs", root->mount, path);
        _cleanup_fclose_ FILE *f = file ? fopen(file, "we") : NULL;

        return f && fprintf(f, "%d\n", (int)getpid()) > 0 && fflush(f) == 0 ? 0 : -errno;
}

static int run_loops(double ret[static N_LOOPS]) {
        for (size_t i = 0; i < N_LOOPS; i++) {
                ret[i] = time_loop(&loops[i]);
                if (ret[i] < 0)
                        return -EIO;
        }
        return 0;
}

static int with_empty(bool all, double ret[static N_LOOPS]) {
        struct empty_bpf *skel = empty_bpf__open();
        struct bpf_program *program;
        int r;

        if (!skel)
                return -errno;
        bpf_object__for_each_program(program, skel->obj)
                bpf_program__set_autoload(program, all || !strstr(bpf_program__name(program), "free"));
        r = empty_bpf__load(skel);
        if (r >= 0)
                r = empty_bpf__attach(skel);
        if (r >= 0)
                r = run_loops(ret);
        empty_bpf__destroy(skel);
        return r;
}

static int count_events(struct tracker *t, unsigned id) {
        for (size_t i = 0; i < N_LOOPS; i++) {
                struct tracker_sample before = {}, after = {};
                int64_t calls = 0;

                if (t->ops->read(t, id, &before) < 0 || loops[i].run(10000) < 0 || t->ops->read(t, id, &after) < 0)
                        return -EIO;
                for (size_t k = 0; k < after.n_rows; k++)
                        calls += after.rows[k].counts.allocated_calls;
                for (size_t k = 0; k < before.n_rows; k++)
                        calls -= before.rows[k].counts.allocated_calls;
                events[i] = (double)calls / 10000;
                tracker_sample_done(&before);
                tracker_sample_done(&after);
        }
        return 0;
}

static int with_tracker(struct tracker *t, bool inside, double ret[static N_LOOPS]) {
        _cleanup_free_ char *why = NULL;
        unsigned id;
        int r;

        r = t->ops->begin(t, inside ? group : other, &(struct tracker_wish){}, &id, &why);
        if (r < 0) {
                fprintf(stderr, "bench: %s\n", why);
                return r;
        }
        r = run_loops(ret);
        if (inside && r >= 0 && events[0] == 0)
                r = count_events(t, id);
        t->ops->end(t, id);
        t->ops->clean(t);
        return r;
}

static int measure(enum setting s, double ret[static N_LOOPS]) {
        switch (s) {
        case BASE:
                return run_loops(ret);
        case FLOOR_ALLOC:
        case FLOOR_ALL:
                return with_empty(s == FLOOR_ALL, ret);
        case COUNTING:
                return with_tracker(counting, true, ret);
        case OUTSIDE:
        case LIVE:
                return with_tracker(live, s == LIVE, ret);
        case _SETTINGS:
        default:
                return -EINVAL;
        }
}

/* ---- the table ------------------------------------------------------------------------------------------------------------
 */

static int compare_doubles(const void *a, const void *b) {
        double x = *(const double *)a, y = *(const double *)b;

        return x < y ? -1 : x > y;
}

static double median(double *values, size_t n) {
        qsort(values, n, sizeof(double), compare_doubles);
        return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static double results[_SETTINGS][N_LOOPS][ROUNDS_MAX];

static double median_of(enum setting s, size_t loop, double (*f)(enum setting s, size_t loop, unsigned round)) {
        double values[ROUNDS_MAX];

        for (unsigned i = 0; i < rounds; i++)
                values[i] = f(s, loop, i);
        return median(values, rounds);
}

static double added_per_event(enum setting s, size_t loop, unsigned round) {
        return (results[s][loop][round] - results[BASE][loop][round]) / events[loop];
}

static double ratio(enum setting s, size_t loop, unsigned round) {
        return added_per_event(s, loop, round) / added_per_event(settings[s].floor, loop, round);
}

static double operation(enum setting s, size_t loop, unsigned round) {
        return results[s][loop][round];
}

static void print_loop(size_t loop) {
        printf("\n%s: %.1f allocation events an operation, median of %u rounds\n", loops[loop].name, events[loop], rounds);
        printf("  %-34s %10s %14s %8s %8s\n", "", "ns/op", "ns/event added", "ratio", "reach");
        for (enum setting s = BASE; s < _SETTINGS; s++) {
                printf("  %-34s %10.0f", settings[s].name, median_of(s, loop, operation));
                if (s != BASE)
                        printf(" %14.1f", median_of(s, loop, added_per_event));
                if (settings[s].reach > 0)
                        printf(" %8.2f %8.2f", median_of(s, loop, ratio), settings[s].reach);
                printf("\n");
        }
}

static int run(void) {
        for (unsigned round = 0; round < rounds; round++)
                for (enum setting s = BASE; s < _SETTINGS; s++) {
                        double ns[N_LOOPS];
                        int r = measure(s, ns);

                        if (r < 0)
                                return r;
                        for (size_t i = 0; i < N_LOOPS; i++)
                                results[s][i][round] = ns[i];
                }
        for (size_t i = 0; i < N_LOOPS; i++)
                print_loop(i);
        return 0;
}

static int set_up(char **ret_home, char **reterr) {
        const struct tracker_options count_only = {.count_only = true};
        _cleanup_free_ char *name = format("memcgprof-bench-%d", (int)getpid());
        _cleanup_free_ char *other_name = format("memcgprof-bench-%d-other", (int)getpid());
        int r;

        r = cgroup_root_new(&root, reterr);
        if (r >= 0)
                r = cgroup_path_of_pid(getpid(), ret_home, reterr);
        if (r >= 0)
                r = tracker_bpf_new(NULL, &live, reterr);
        if (r >= 0)
                r = tracker_bpf_new(&count_only, &counting, reterr);
        if (r >= 0)
                r = cgroup_create(root, name, &group, reterr);
        if (r >= 0)
                r = cgroup_create(root, other_name, &other, reterr);
        if (r >= 0)
                r = move_self(group->path);
        return r;
}

int main(int argc, char **argv) {
        static const struct option options[] = {
                {"rounds", required_argument, NULL, 'r'}, {"ops", required_argument, NULL, 'o'}, {}};
        _cleanup_free_ char *home = NULL, *why = NULL;
        int c, r;

        while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
                unsigned n = optarg ? (unsigned)strtoul(optarg, NULL, 10) : 0;

                if (c == '?' || n == 0 || (c == 'r' && n > ROUNDS_MAX)) {
                        fprintf(stderr, "usage: bench [--rounds N (at most %d)] [--ops N]\n", ROUNDS_MAX);
                        return 2;
                }
                *(c == 'r' ? &rounds : &ops) = n;
        }
        r = set_up(&home, &why);
        if (r >= 0)
                r = run();
        if (r < 0)
                fprintf(stderr, "bench: %s\n", why ?: strerror(-r));
        if (home)
                (void)move_self(home);
        if (group)
                (void)cgroup_remove(root, group, NULL);
        if (other)
                (void)cgroup_remove(root, other, NULL);
        cgroup_free(group);
        cgroup_free(other);
        tracker_free(live);
        tracker_free(counting);
        cgroup_root_free(root);
        return r < 0;
}

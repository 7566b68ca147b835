/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What many groups cost: time per event, memory, the time of a summary and of a sweep; and what loaded programs cost that are
 * attached to nothing.
 */
#include <fcntl.h>
#include <sys/resource.h>
#include <time.h>

#include "bench.h"
#include "padding.h"
#include "profile.h"
#include "report.h"

#define SUMMARY_SITES 3000
#define SUMMARY_REPEATS 21
#define HELD_PIPES 4000
#define KALLSYMS "/proc/kallsyms"
#define MIB (1024.0 * 1024)

enum { BASE, FLOOR, ONE, TEN, HUNDRED, THOUSAND, _SETTINGS };

static const unsigned sizes[_SETTINGS] = {[ONE] = 1, [TEN] = 10, [HUNDRED] = 100, [THOUSAND] = GROUPS_MAX};

/* The first is the runner's; the toucher goes through the others, so that each has sites of its own. */
static struct {
        struct cgroup *cgroups[GROUPS_MAX];
        size_t n_cgroups;
        struct runner *toucher;
        unsigned groups[GROUPS_MAX];
        size_t n_groups;
        uint64_t footprint[_SETTINGS];
} now;

/* CPU time: what a summary takes on a machine that has nothing else to do. */
static double cpu_ms(void) {
        struct timespec t;

        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
        return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* ---- groups ---------------------------------------------------------------------------------------------------------------
 */

static int make_cgroups(char **reterr) {
        int r = 0;

        for (; r >= 0 && now.n_cgroups < bench.effort.groups; now.n_cgroups++) {
                _cleanup_free_ char *name = format("memcgprof-bench-%d-%zu", (int)getpid(), now.n_cgroups);

                r = name ? cgroup_create(bench.place->root, name, &now.cgroups[now.n_cgroups], reterr) : -ENOMEM;
                if (r < 0)
                        break;
        }
        return r;
}

static void remove_cgroups(void) {
        while (now.n_cgroups > 0) {
                struct cgroup *c = now.cgroups[--now.n_cgroups];

                (void)cgroup_remove(bench.place->root, c, NULL);
                cgroup_free(c);
        }
}

static int touch(const struct cgroup *group, char **reterr) {
        static const size_t touched[] = {LOOP_PIPE, LOOP_OPEN, LOOP_MMAP};
        double ns;
        int r = place_move(bench.place, runner_pid(now.toucher), group, reterr);

        for (size_t i = 0; r >= 0 && i < ELEMENTS(touched); i++)
                r = runner_run(now.toucher, &loops[touched[i]], 1, &ns);
        return r;
}

static void shrink(size_t n) {
        struct tracker *t = bench.live.tracker;

        while (now.n_groups > n)
                t->ops->end(t, now.groups[--now.n_groups]);
        t->ops->clean(t);
}

static int grow(size_t n, char **reterr) {
        struct tracker *t = bench.live.tracker;

        while (now.n_groups < n) {
                const struct cgroup *c = now.n_groups == 0 ? bench.place->inside : now.cgroups[now.n_groups];
                int r = t->ops->begin(t, c, &(struct tracker_wish){}, &now.groups[now.n_groups], reterr);

                if (r < 0)
                        return r;
                now.n_groups++;
                if (c != bench.place->inside)
                        r = touch(c, reterr);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Groups of one size stay for the next, so that a round makes each only once. */
static int groups_on(unsigned setting, char **reterr) {
        int r;

        if (sizes[setting] > bench.effort.groups)
                return fail(reterr, -E2BIG, "left out (--groups %u)", bench.effort.groups);
        if (now.n_groups > sizes[setting])
                shrink(sizes[setting]);
        r = grow(sizes[setting], reterr);
        if (r >= 0)
                now.footprint[setting] = bench.live.tracker->ops->footprint(bench.live.tracker);
        return r;
}

static int without_groups_on(unsigned setting, char **reterr) {
        shrink(0);
        return setting == FLOOR ? floor_on(0, reterr) : 0;
}

static const struct setting settings[_SETTINGS] = {
        [BASE] = {"no programs", 0, 0, without_groups_on, nothing_off, BASE},
        [FLOOR] = {"floor: empty programs, all hooks", 0, 0, without_groups_on, floor_off, FLOOR},
        [ONE] = {"1 group", FLOOR, 1.8, groups_on, nothing_off, ONE},
        [TEN] = {"10 groups, to 1 group", ONE, 1.15, groups_on, nothing_off, TEN},
        [HUNDRED] = {"100 groups, to 1 group", ONE, 1.15, groups_on, nothing_off, HUNDRED},
        [THOUSAND] = {"1000 groups, to 1 group", ONE, 1.15, groups_on, nothing_off, THOUSAND},
};

static void print_memory(const struct rounds *rounds) {
        struct tracker_memory memory;

        printf("\nMemory of tables and counters:\n");
        for (size_t s = ONE; s < _SETTINGS; s++)
                if (!rounds->missing[s])
                        printf("  %-44s %11.1f MiB\n", settings[s].name, (double)now.footprint[s] / MIB);
        for (unsigned cpus = 2; cpus <= 256; cpus = cpus == 2 ? 64 : cpus * 4) {
                tracker_memory(&(struct tracker_options){}, cpus, &memory);
                printf("  computed for %3u possible CPUs: %.1f MiB at most, %.1f KiB a group, %.0f bytes a site, %u groups, %u "
                       "sites\n",
                        cpus, (double)memory.total / MIB, (double)memory.per_group / 1024, (double)memory.per_site,
                        memory.groups, memory.sites);
        }
}

static int measure_groups(char **reterr) {
        static struct rounds rounds = {.settings = settings, .n = _SETTINGS};
        int r;

        rounds.effort = &bench.effort;
        r = make_cgroups(reterr);
        if (r >= 0)
                r = count_events(&rounds.figures, reterr);
        if (r >= 0)
                r = rounds_run(&rounds, bench.place, true, reterr);
        if (r >= 0)
                print_memory(&rounds);
        rounds_done(&rounds);
        shrink(0);
        return r;
}

/* ---- loaded, idle ---------------------------------------------------------------------------------------------------------
 */

static int unloaded_on(unsigned argument, char **reterr) {
        gauge_done(&bench.live);
        bench.live = (struct gauge){};
        return 0;
}

static int loaded_on(unsigned argument, char **reterr) {
        return bench.live.tracker ? 0 : gauge_new(NULL, &bench.live, reterr);
}

/* Added to an operation, in per cent: nothing is attached, so there is no cost per event to divide by. */
static int measure_idle(char **reterr) {
        static const struct setting idle[] = {
                {"not loaded", 0, 0, unloaded_on, nothing_off},
                {"loaded, attached to nothing", 0, 0, loaded_on, nothing_off},
        };
        static struct rounds rounds = {.settings = idle, .n = ELEMENTS(idle)};
        int r;

        rounds.effort = &bench.effort;
        r = rounds_run(&rounds, bench.place, false, reterr);
        printf("\nLoaded and idle, added to an operation:\n");
        for (size_t i = 0; r >= 0 && i < _LOOPS; i++) {
                struct quartiles q = figures_slowdown(&rounds.figures, 1, i);

                if (bench.effort.wanted[i])
                        printf("  %-44s %+10.2f %%  (%+.2f to %+.2f)\n", loops[i].title, q.median, q.low, q.high);
        }
        if (r >= 0)
                r = loaded_on(0, reterr);
        if (r >= 0)
                printf("  %-44s %11.1f MiB\n", "memory of the tables",
                        (double)bench.live.tracker->ops->footprint(bench.live.tracker) / MIB);
        rounds_done(&rounds);
        return r;
}

/* ---- summaries, sweeps ----------------------------------------------------------------------------------------------------
 */

static int time_summary(struct profile *p, const char *title, char **reterr) {
        double summary_ms[SUMMARY_REPEATS], text_ms[SUMMARY_REPEATS], all_ms[SUMMARY_REPEATS];
        size_t sites = 0, bytes = 0;
        struct quartiles q;

        for (size_t i = 0; i < SUMMARY_REPEATS; i++) {
                _cleanup_(summary_freep) struct summary *s = NULL;
                _cleanup_free_ char *text = NULL;
                double start = cpu_ms(), middle;
                int r = profile_summary(p, NULL, &s, reterr);

                if (r < 0)
                        return r;
                middle = cpu_ms();
                text = report_summary(s);
                if (!text)
                        return -ENOMEM;
                summary_ms[i] = middle - start;
                text_ms[i] = cpu_ms() - middle;
                all_ms[i] = summary_ms[i] + text_ms[i];
                sites = s->total_sites;
                bytes = strlen(text);
        }
        q = quartiles_of(all_ms, SUMMARY_REPEATS);
        printf("  %-44s %11.1f ms  (%.1f to %.1f; %.1f reading and naming, %.1f writing), %zu sites, %zu bytes\n", title,
                q.median, q.low, q.high, quartiles_of(summary_ms, SUMMARY_REPEATS).median,
                quartiles_of(text_ms, SUMMARY_REPEATS).median, sites, bytes);
        return 0;
}

static int time_summaries(struct engine *e, char **reterr) {
        struct cgroup *cgroup = NULL;
        struct profile_label label = {.kind = "cgroup"};
        _cleanup_(profile_freep) struct profile *p = NULL;
        double ns;
        int r;

        r = cgroup_open(bench.place->root, bench.place->inside->path, &cgroup, reterr);
        if (r >= 0)
                r = profile_start(e, cgroup, &label, &p, reterr);
        if (r < 0) {
                cgroup_free(cgroup);
                return r;
        }
        for (size_t i = 0; r >= 0 && i < _LOOPS; i++)
                r = runner_run(bench.place->runner, &loops[i], 1, &ns);
        if (r >= 0)
                r = time_summary(p, "as many sites as there are", reterr);
        if (r >= 0)
                r = padding_on(bench.live.tracker, KALLSYMS, SUMMARY_SITES, reterr);
        if (r >= 0) {
                char title[64];

                snprintf(title, sizeof(title), "made up to %d sites (at most 20 ms)", SUMMARY_SITES);
                r = time_summary(p, title, reterr);
        }
        padding_off(bench.live.tracker);
        return r;
}

/* The engine takes the tracker over: this is the last part. */
static int measure_summaries(char **reterr) {
        _cleanup_(engine_freep) struct engine *e = NULL;
        int r;

        printf("\nA summary, from the tables to text, in CPU time:\n");
        r = engine_new(bench.live.tracker, KALLSYMS, &e, reterr);
        if (r < 0)
                return r;
        r = time_summaries(e, reterr);
        bench.live.tracker = NULL;
        return r;
}

static void raise_descriptors(void) {
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
                limit.rlim_cur = limit.rlim_max;
                (void)setrlimit(RLIMIT_NOFILE, &limit);
        }
}

static int hold_pipes(int fds[][2], size_t n) {
        size_t held = 0;

        while (held < n && pipe2(fds[held], O_CLOEXEC) == 0)
                held++;
        return (int)held;
}

/* This process allocates, so it is moved into the group; the tables hold some ten thousand objects. */
static int measure_sweep(char **reterr) {
        static int fds[HELD_PIPES][2];
        _cleanup_free_ char *home = NULL;
        struct tracker *t = bench.live.tracker;
        struct tracker_sweep sweep = {};
        int held = 0, r;

        raise_descriptors();
        r = cgroup_path_of_pid(getpid(), &home, reterr);
        if (r >= 0)
                r = grow(1, reterr);
        if (r >= 0)
                r = place_move(bench.place, getpid(), bench.place->inside, reterr);
        if (r >= 0) {
                held = hold_pipes(fds, HELD_PIPES);
                r = t->ops->sweep(t, &sweep);
        }
        printf("\nA sweep, with %d pipes held:\n", held);
        if (r >= 0)
                printf("  %lld objects checked, %lld dropped, %.1f ms\n", (long long)sweep.checked, (long long)sweep.dropped,
                        (double)sweep.took_us / 1000);
        else if (r == -ENOTSUP)
                printf("  not measured: this tracker cannot check objects on this kernel\n");
        while (held > 0) {
                held--;
                close(fds[held][0]);
                close(fds[held][1]);
        }
        if (home)
                (void)place_move(bench.place, getpid(), &(struct cgroup){.path = home}, NULL);
        shrink(0);
        return r == -ENOTSUP ? 0 : r;
}

int summary_run(char **reterr) {
        int r = loaded_on(0, reterr);

        return r < 0 ? r : measure_summaries(reterr);
}

int scale_run(char **reterr) {
        int r;

        r = runner_new(bench.place->tree, &now.toucher);
        if (r >= 0)
                r = measure_idle(reterr);
        if (r >= 0)
                r = measure_groups(reterr);
        if (r >= 0)
                r = measure_sweep(reterr);
        if (r >= 0)
                r = measure_summaries(reterr);
        now.toucher = runner_free(now.toucher);
        remove_cgroups();
        return r;
}

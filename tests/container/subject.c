/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>

#include "subject.h"

#define GROUPS_MAX 512
#define TEST_SECONDS 170

struct cgroup_root *root;
int held[2 * N + 64];

/* What outlives a test's process: shared with the runner. */
struct board {
        char reason[256]; /* why the test cannot run here; empty: it can */
        volatile int64_t told[TOLD];
        char directory[64];
        size_t n_groups;
        char groups[GROUPS_MAX][128];
};

static struct board *board;
volatile int64_t *told;

static const char *mutation;

/* ---- the runner -----------------------------------------------------------------------------------------------------------
 */

/* In the test's process: 0, or how many have failed. */
static int run_one(const struct CMUnitTest *test) {
        const struct CMUnitTest tests[] = {*test};

        const char *patience = getenv("MEMCGPROF_PATIENCE"); /* of emulated machines, as in tests/harness/proc.py */

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm((unsigned)(TEST_SECONDS * (patience ? atof(patience) : 1)));
        cmocka_set_message_output(CM_OUTPUT_TAP);
        return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Passes on what a test prints, but for its result, which the runner prints. */
static void forward(FILE *f) {
        static const char *const cmockas[] = {"1..", "ok", "not ok", "[", "# not ok"};
        char line[1024];

        while (fgets(line, sizeof(line), f)) {
                bool noise = false;

                for (size_t i = 0; i < ELEMENTS(cmockas); i++)
                        noise = noise || strncmp(line, cmockas[i], strlen(cmockas[i])) == 0;
                if (noise)
                        continue;
                printf("%s%s", line[0] == '#' ? "" : "# ", line);
                fflush(stdout);
        }
}

static void remove_left_groups(void) {
        while (board->n_groups > 0) {
                const char *path = board->groups[--board->n_groups];
                struct cgroup *c = NULL;

                if (cgroup_open(root, path, &c, NULL) < 0)
                        continue;
                if (cgroup_remove(root, c, NULL) < 0)
                        printf("# the group %s cannot be removed\n", path);
                cgroup_free(c);
        }
}

/* Flat: files only. */
static void remove_left_directory(void) {
        DIR *d = board->directory[0] ? opendir(board->directory) : NULL;
        struct dirent *e;

        if (!d)
                return;
        while ((e = readdir(d)))
                (void)unlinkat(dirfd(d), e->d_name, 0);
        closedir(d);
        if (rmdir(board->directory) < 0)
                printf("# %s cannot be removed: %s\n", board->directory, strerror(errno));
}

const char *scratch_directory(const char *below) {
        snprintf(board->directory, sizeof(board->directory), "%s/memcgprof-test-XXXXXX", below);
        assert_non_null(mkdtemp(board->directory));
        return board->directory;
}

static double seconds(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Returns whether it failed. */
static bool run_apart(const struct CMUnitTest *test, size_t number) {
        int out[2], status = 0;
        double began = seconds();
        FILE *f;
        pid_t pid;

        memset(board, 0, sizeof(*board));
        fflush(stdout);
        if (pipe2(out, O_CLOEXEC) < 0 || (pid = fork()) < 0) {
                perror("run_apart");
                exit(1);
        }
        if (pid == 0) {
                dup2(out[1], STDOUT_FILENO);
                dup2(out[1], STDERR_FILENO);
                exit(run_one(test));
        }
        close(out[1]);
        f = fdopen(out[0], "r");
        forward(f);
        fclose(f);
        waitpid(pid, &status, 0);
        remove_left_groups();
        remove_left_directory();
        printf("# %.1f s\n", seconds() - began);
        if (status != 0) {
                if (WIFSIGNALED(status))
                        printf("# ended by signal %d (%s)\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
                printf("not ok %zu - %s\n", number, test->name);
        } else if (board->reason[0])
                printf("ok %zu - %s # SKIP %s\n", number, test->name, board->reason);
        else
                printf("ok %zu - %s\n", number, test->name);
        return status != 0;
}

static bool is_wanted(const struct CMUnitTest *test, int argc, char **argv) {
        for (int i = 0; i < argc; i++)
                if (streq(argv[i], test->name))
                        return true;
        return argc == 0;
}

static size_t count_wanted(const struct CMUnitTest *tests, size_t n, int argc, char **argv) {
        size_t wanted = 0;

        for (size_t i = 0; i < n; i++)
                wanted += is_wanted(tests + i, argc, argv);
        return wanted;
}

int run_program(const struct CMUnitTest *tests, size_t n, int argc, char **argv) {
        _cleanup_free_ char *why = NULL;
        size_t number = 0, failed = 0;

        argc--, argv++;
        if (argc >= 2 && streq(argv[0], "--mutation")) {
                mutation = argv[1];
                argc -= 2, argv += 2;
        }
        if (argc > 0 && count_wanted(tests, n, argc, argv) != (size_t)argc) {
                fprintf(stderr, "One of the named tests does not exist.\n");
                return 64;
        }
        if (cgroup_root_new(&root, &why) < 0) {
                printf("1..0 # SKIP %s\n", why);
                return 0;
        }
        board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (board == MAP_FAILED) {
                perror("mmap");
                return 1;
        }
        told = board->told;
        printf("1..%zu\n", count_wanted(tests, n, argc, argv));
        for (size_t i = 0; i < n; i++)
                if (is_wanted(tests + i, argc, argv))
                        failed += run_apart(tests + i, ++number);
        root = cgroup_root_free(root);
        return failed > 0;
}

static bool in_subject;

void cannot(const char *reason) {
        snprintf(board->reason, sizeof(board->reason), "%s", reason);
        if (in_subject)
                _exit(77); /* who waits for this step skips */
        skip();
        abort();
}

/* ---- subjects -------------------------------------------------------------------------------------------------------------
 */

void must(bool ok, const char *what) {
        if (ok)
                return;
        fprintf(stderr, "# a subject failed: %s: %s\n", what, strerror(errno));
        _exit(3);
}

void hold_pipes(void) {
        for (size_t i = 0; i < N; i++)
                must(pipe(&held[2 * i]) == 0, "pipe");
}

void hold_sockets(void) {
        for (size_t i = 0; i < N; i++)
                must(socketpair(AF_UNIX, SOCK_STREAM, 0, &held[2 * i]) == 0, "socketpair");
}

void drop_held(void) {
        for (size_t i = 0; i < ELEMENTS(held); i++)
                if (held[i] > 2)
                        close(held[i]);
        memset(held, 0, sizeof(held));
}

/* Small pages: huge ones are so large that each is sampled, and nothing is left to estimate. */
void hold_memory(void) {
        size_t bytes = 64 << 20;
        void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        must(memory != MAP_FAILED, "mmap");
        (void)madvise(memory, bytes, MADV_NOHUGEPAGE); /* EINVAL: a kernel without them */
        memset(memory, 1, bytes);
}

void nothing(void) {
}

void enter(const char *path) {
        _cleanup_free_ char *file = format("%s%s/cgroup.procs", root->mount, path);
        _cleanup_fclose_ FILE *f = fopen(file, "we");

        must(f && fprintf(f, "0\n") >= 0 && fflush(f) == 0, file);
}

static void answer_and_wait(int in, int out) {
        char c;

        if (write(out, "d", 1) != 1 || read(in, &c, 1) != 1)
                _exit(5);
}

static void live_as_subject(const char *path, int in, int out, const subject_steps_t steps) {
        struct rlimit limit;

        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves nobody behind */
        alarm(0);
        in_subject = true;
        getrlimit(RLIMIT_NOFILE, &limit);
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
        enter(path);
        answer_and_wait(in, out);
        for (size_t i = 0; i < ELEMENTS((subject_steps_t){}) && steps[i]; i++) {
                steps[i]();
                answer_and_wait(in, out);
        }
        _exit(0);
}

struct subject subject_of(const char *path, const subject_steps_t steps) {
        struct subject s;
        int to[2], from[2];

        assert_int_equal(pipe2(to, O_CLOEXEC), 0);
        assert_int_equal(pipe2(from, O_CLOEXEC), 0);
        s.pid = fork();
        assert_true(s.pid >= 0);
        if (s.pid == 0) {
                close(to[1]);
                close(from[0]);
                live_as_subject(path, to[0], from[1], steps);
        }
        close(to[0]);
        close(from[1]);
        s.to = to[1];
        s.from = from[0];
        subject_wait(&s);
        return s;
}

struct subject subject_new(const char *path, void (*hold)(void), void (*drop)(void)) {
        return subject_of(path, (const subject_steps_t){hold, drop});
}

void subject_go(struct subject *s) {
        assert_int_equal(write(s->to, "g", 1), 1);
}

void subject_wait(struct subject *s) {
        int status = 0;
        char c;

        if (read(s->from, &c, 1) == 1)
                return;
        waitpid(s->pid, &status, 0);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
                skip();
                return;
        }
        fail_msg("a subject ended early, with status %#x", status);
}

bool subject_is_done(struct subject *s) {
        struct pollfd p = {.fd = s->from, .events = POLLIN};

        return poll(&p, 1, 0) > 0;
}

void subject_step(struct subject *s) {
        subject_go(s);
        subject_wait(s);
}

void subject_end(struct subject *s) {
        kill(s->pid, SIGKILL);
        waitpid(s->pid, NULL, 0);
        close(s->to);
        close(s->from);
}

/* ---- groups and readings --------------------------------------------------------------------------------------------------
 */

struct cgroup *group_new(const char *name) {
        _cleanup_free_ char *unique = format("memcgprof-test-%d-%s", (int)getpid(), name), *why = NULL;
        struct cgroup *c = NULL;

        if (cgroup_create(root, unique, &c, &why) < 0)
                fail_msg("%s", why);
        assert_true(board->n_groups < GROUPS_MAX);
        snprintf(board->groups[board->n_groups++], sizeof(board->groups[0]), "%s", c->path);
        return c;
}

/* On v2 children have a controller when their parent says so, which has then no tasks of its own any more. */
static void delegate_memory(const struct cgroup *parent) {
        _cleanup_free_ char *file = format("%s%s/cgroup.subtree_control", root->mount, parent->path);
        _cleanup_fclose_ FILE *f = fopen(file, "re+");

        if (f && (fputs("+memory", f) < 0 || fflush(f) != 0))
                fail_msg("%s: %s", file, strerror(errno));
}

struct cgroup *group_below(const struct cgroup *parent, const char *name) {
        _cleanup_free_ char *directory = format("%s%s/%s", root->mount, parent->path, name),
                            *path = format("%s/%s", parent->path, name);
        struct cgroup *c = NULL;

        delegate_memory(parent);
        assert_int_equal(mkdir(directory, 0755), 0);
        assert_int_equal(cgroup_open(root, path, &c, NULL), 0);
        return c;
}

void group_end(struct cgroup *c) {
        _cleanup_free_ char *why = NULL;

        if (cgroup_remove(root, c, &why) < 0)
                fail_msg("%s", why);
        cgroup_free(c);
}

struct tracker *tracker_of(const struct tracker_options *options) {
        struct tracker_options all = options ? *options : (struct tracker_options){};
        _cleanup_free_ char *why = NULL;
        struct tracker *t = NULL;
        int r;

        all.mutation = mutation ?: all.mutation;
        r = tracker_bpf_new(&all, &t, &why);
        if (r == -EPERM || r == -ENOTSUP)
                cannot(why);
        if (r < 0)
                fail_msg("%s", why);
        return t;
}

unsigned begin_with(struct tracker *t, const struct cgroup *c, const struct tracker_wish *wish) {
        _cleanup_free_ char *why = NULL;
        unsigned group = 0;

        if (t->ops->begin(t, c, wish, &group, &why) < 0)
                fail_msg("%s", why);
        return group;
}

unsigned begin(struct tracker *t, const struct cgroup *c) {
        return begin_with(t, c, &(struct tracker_wish){});
}

unsigned renew(struct tracker *t, unsigned group) {
        _cleanup_free_ char *why = NULL;
        unsigned next = 0;
        int r = t->ops->renew(t, group, &next, &why);

        if (r < 0)
                fail_msg("renew: %s", why ?: strerror(-r));
        return next;
}

uint64_t row_site(const struct tracker_row *row) {
        const char *const names[] = {row->file, row->function, row->module};
        uint64_t h = row->line;

        if (!row->file)
                return row->frames[0];
        for (size_t i = 0; i < ELEMENTS(names); i++)
                for (const char *c = names[i]; *c; c++)
                        h = (h ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
        return h;
}

int64_t row_live(const struct tracker_row *row) {
        const struct tracker_counts *c = &row->counts;

        return c->allocated_bytes - c->freed_bytes - c->written_off_bytes - c->untracked_bytes;
}

static void add_row(struct reading *r, const struct tracker_row *row) {
        const struct tracker_counts *c = &row->counts;
        int64_t live = row_live(row);

        if (row->function && !row->file) {
                r->synthetic += live;
                return;
        }
        r->live[row->charged][row->type] += live;
        if (row->type == TYPE_USER) {
                r->estimated += live;
                r->error += row->error_bytes;
                return;
        }
        if (!row->estimated && live < 0)
                print_message("# below zero: type %d, charged %d, at %#llx: %lld allocated, %lld freed, %lld written off\n",
                        (int)row->type, row->charged, (unsigned long long)row->frames[0], (long long)c->allocated_calls,
                        (long long)c->freed_calls, (long long)c->written_off_calls);
        if (!row->estimated && live < r->lowest)
                r->lowest = live;
        r->allocated += c->allocated_bytes;
        r->allocated_calls += c->allocated_calls;
        r->freed += c->freed_bytes;
        r->untracked += c->untracked_bytes;
        r->untracked_charged += row->charged ? c->untracked_bytes : 0;
        r->written_off += c->written_off_bytes;
        r->written_off_calls += c->written_off_calls;
        r->catch_all += row->n_frames == 0 && !row->file ? c->allocated_bytes : 0;
        if (row->type != TYPE_SLAB || c->allocated_calls == 0)
                return;
        if (row->charged)
                r->live_calls += c->allocated_calls - c->freed_calls - c->written_off_calls - c->untracked_calls;
        if (c->allocated_bytes / c->allocated_calls > r->largest_slab)
                r->largest_slab = c->allocated_bytes / c->allocated_calls;
}

struct reading reading_of(struct tracker *t, unsigned group) {
        struct tracker_sample s = {};
        struct reading r = {};

        assert_int_equal(t->ops->read(t, group, &s), 0);
        for (size_t i = 0; i < s.n_rows; i++)
                add_row(&r, &s.rows[i]);
        r.pages = s.pages.allocated_bytes - s.pages.freed_bytes - s.pages.written_off_bytes - s.pages.untracked_bytes;
        r.pages_known = s.pages.allocated_calls > 0;
        r.unmatched = s.freed_unmatched_bytes;
        r.irq = s.irq_bytes;
        memcpy(r.lost, s.lost, sizeof(r.lost));
        tracker_sample_done(&s);
        return r;
}

int64_t charged_of(const struct reading *r) {
        int64_t pages = r->pages_known ? r->pages : r->live[1][TYPE_PAGE] + r->synthetic;

        return r->live[1][TYPE_SLAB] + pages + r->live[1][TYPE_PERCPU] + r->live[1][TYPE_VMALLOC];
}

bool sweep(struct tracker *t) {
        struct tracker_sweep done = {};
        int r = t->ops->sweep(t, &done);

        if (r < 0 && r != -ENOTSUP)
                fail_msg("sweep: %s", strerror(-r));
        if (r >= 0)
                print_message("# sweep: %lld checked, %lld dropped, %lld us\n", (long long)done.checked,
                        (long long)done.dropped, (long long)done.took_us);
        return r >= 0;
}

bool kernel_is_from(unsigned major, unsigned minor) {
        struct utsname name;
        unsigned is_major = 0, is_minor = 0;

        uname(&name);
        sscanf(name.release, "%u.%u", &is_major, &is_minor);
        return is_major > major || (is_major == major && is_minor >= minor);
}

/* Up to 6.15 what is read flushes all counters of the cgroup, later those of one controller (commit 5da3bfa029d6). */
static void flush_counters(const struct cgroup *c) {
        _cleanup_free_ char *file = format("%s%s/cpu.stat", root->mount, c->path);
        _cleanup_fclose_ FILE *f = fopen(file, "re");
        char text[4096];

        if (f)
                (void)!fread(text, 1, sizeof(text), f);
}

int64_t kernel_counter(const struct cgroup *c) {
        struct memcg_counters m;

        flush_counters(c);
        assert_int_equal(memcg_read(c, &m), 0);
        assert_true(memcg_knows(&m, MEMCG_KERNEL));
        return m.value[MEMCG_KERNEL];
}

int64_t counter_of(const struct cgroup *c, enum memcg_counter which) {
        struct memcg_counters m;

        assert_int_equal(memcg_read(c, &m), 0);
        if (!memcg_knows(&m, which))
                cannot("the memory controller does not tell this counter");
        return m.value[which];
}

/*
 * On v2 memory.stat may be as old as two seconds and a bit, while the changes since are few (FLUSH_TIME, and
 * memcg_vmstats_needs_flush() of mm/memcontrol.c: 64 pages a CPU); see flush_counters() for who need not wait.
 */
static unsigned ticks_of_stillness(void) {
        return root->layout == CGROUP_V2 && kernel_is_from(6, 16) ? 56 : 10;
}

/*
 * The flush is deferrable work: on a CPU that sleeps it waits for ever. So each CPU in turn is kept awake for a moment, long
 * enough for a tick of any HZ.
 */
static void wake_a_cpu(void) {
        static int next;
        cpu_set_t before, one;
        double until;

        if (sched_getaffinity(0, sizeof(before), &before) < 0)
                return;
        next = (next + 1) % (int)sysconf(_SC_NPROCESSORS_CONF);
        CPU_ZERO(&one);
        CPU_SET(next, &one);
        if (sched_setaffinity(0, sizeof(one), &one) < 0)
                return;
        for (until = seconds() + 0.011; seconds() < until;)
                ;
        (void)sched_setaffinity(0, sizeof(before), &before);
}

void settle(const struct cgroup *c) {
        unsigned enough = ticks_of_stillness();
        int64_t last = kernel_counter(c);

        for (unsigned still = 0, tries = 0; still < enough && tries < 300; tries++) {
                int64_t now;

                usleep(40000);
                wake_a_cpu();
                now = kernel_counter(c);
                still = now == last ? still + 1 : 0;
                last = now;
        }
}

void assert_near_at(int64_t a, int64_t b, int64_t slack, const char *a_text, const char *b_text, const char *file, int line) {
        if (llabs(a - b) <= slack)
                return;
        print_error("%s = %lld and %s = %lld are more than %lld apart\n", a_text, (long long)a, b_text, (long long)b,
                (long long)slack);
        _fail(file, line);
}

/* ---- a group under watch --------------------------------------------------------------------------------------------------
 */

struct watch watch_with(const char *name, const struct tracker_options *options, const struct tracker_wish *wish) {
        struct watch w = {.t = tracker_of(options), .c = group_new(name)};

        w.before = kernel_counter(w.c);
        w.slab_before = root->layout == CGROUP_V2 ? counter_of(w.c, MEMCG_SLAB) : 0;
        w.group = begin_with(w.t, w.c, wish);
        return w;
}

struct watch watch(const char *name) {
        return watch_with(name, NULL, &(struct tracker_wish){});
}

static void print_losses(const struct reading *r) {
        for (size_t i = 0; i < _LOSS_MAX; i++)
                if (r->lost[i])
                        print_message("# lost: %s %lld\n", loss_name(i), (long long)r->lost[i]);
}

static struct reading read_and_print(const struct watch *w, const char *when) {
        struct reading r = reading_of(w->t, w->group);

        print_message("# %s: growth %lld, explained %lld: slab %lld, pages %lld (rows %lld), percpu %lld, stacks %lld\n", when,
                (long long)(kernel_counter(w->c) - w->before), (long long)charged_of(&r), (long long)r.live[1][TYPE_SLAB],
                (long long)r.pages, (long long)r.live[1][TYPE_PAGE], (long long)r.live[1][TYPE_PERCPU], (long long)r.synthetic);
        print_message("# %s: unmatched %lld, allocated %lld, written off %lld\n", when, (long long)r.unmatched,
                (long long)r.allocated, (long long)r.written_off);
        print_losses(&r);
        return r;
}

struct reading reading_after_sweep(const struct watch *w, const char *when) {
        settle(w->c);
        sweep(w->t);
        return read_and_print(w, when);
}

/*
 * 7.3 (not 6.12) goes on billing whole pages of what was freed by RCU in pieces (the obj_cgroup's nr_charged_bytes): 54 KiB
 * after churn of epoll items with nobody measuring. Its count of slab bytes is exact, but for what waits in a sheaf of each
 * CPU.
 */
#define IN_SHEAVES (64 << 10)

/*
 * Where programs can be preempted as they are entered (7.x), what others allocate on that CPU meanwhile is missed: told as
 * irq_unseen. It is unmatched once it is freed, and what of the unmatched is that, nobody can say: `live` less all of it or
 * less nothing, or any number between that is nearer.
 */
static int64_t explained_of(const struct reading *r, int64_t live, int64_t growth) {
        bool vague = kernel_is_from(7, 0) && r->lost[LOSS_IRQ_UNSEEN] > 0;

        if (!vague || growth < live - r->unmatched)
                return live - r->unmatched;
        return growth < live ? growth : live;
}

/*
 * A large kmalloc is pages here and slab in memory.stat (free_large_kmalloc() of mm/slub.c, NR_SLAB_UNRECLAIMABLE_B): a table
 * of 4000 descriptors is one. Which of the pages are such is not told; what comes nearest to `slab` is given.
 */
static int64_t slab_of(const struct reading *r, int64_t slab) {
        int64_t objects = explained_of(r, r->live[1][TYPE_SLAB], slab), most = objects + r->live[1][TYPE_PAGE];

        if (slab < objects)
                return objects;
        return slab < most ? slab : most;
}

static void check_reading(const struct watch *w, const struct reading *r, int64_t slack) {
        int64_t growth = kernel_counter(w->c) - w->before, explained = explained_of(r, charged_of(r), growth), slab;

        slack += llabs(growth) / 1000;
        if (kernel_is_from(7, 0) && root->layout == CGROUP_V2 && explained < growth - slack) {
                print_message("# billed without use: %lld\n", (long long)(growth - explained));
                slab = counter_of(w->c, MEMCG_SLAB) - w->slab_before;
                assert_near(slab_of(r, slab), slab, slack + IN_SHEAVES);
        } else
                assert_near(explained, growth, slack);
        assert_true(r->lowest >= 0);
}

/* What a document with these losses says of itself. */
static bool is_accurate(const struct reading *r) {
        _cleanup_(summary_freep) struct summary *s = calloc(1, sizeof(*s));
        struct measures m = {};

        memcpy(m.lost, r->lost, sizeof(m.lost));
        assert_int_equal(summary_take(s, &m, gfp_bits_running()), 0);
        return s->accurate;
}

void check_missed(const struct watch *w, const struct reading *r, int64_t slack) {
        int64_t growth = kernel_counter(w->c) - w->before, over = explained_of(r, charged_of(r), growth) - growth, swept;
        struct reading after;

        assert_true(over >= -slack - llabs(growth) / 1000);
        assert_true(r->lowest >= 0);
        sweep(w->t);
        after = reading_of(w->t, w->group);
        swept = after.written_off_calls - r->written_off_calls;
        print_message("# %lld bytes stood falsely; a sweep found %lld objects, and %lld frees are told as skipped\n",
                (long long)over, (long long)swept, (long long)r->lost[LOSS_RECURSION]);
        check_reading(w, &after, slack);
        if (swept > r->lost[LOSS_RECURSION]) {
                print_message("# more than were told: a function that frees in bulk may have been skipped\n");
                assert_false(is_accurate(r));
        }
}

struct reading check_agrees(const struct watch *w, const char *when, int64_t slack) {
        struct reading r = reading_after_sweep(w, when);

        check_reading(w, &r, slack);
        return r;
}

bool is_able(struct tracker *t, const char *ability, char reason[static 256]) {
        size_t n = 0;
        const struct tracker_ability *abilities = t->ops->abilities(t, &n);

        snprintf(reason, 256, "the tracker does not know the ability %s", ability);
        for (size_t i = 0; i < n; i++)
                if (streq(abilities[i].name, ability)) {
                        snprintf(reason, 256, "%s", abilities[i].reason);
                        return abilities[i].available;
                }
        return false;
}

void check_agrees_unswept(const struct watch *w, const char *when, int64_t slack) {
        char reason[256];
        struct reading r;

        if (!is_able(w->t, "fentry_holes", reason)) {
                print_message("# %s: only with a sweep: %s\n", when, reason);
                return;
        }
        settle(w->c);
        print_message("# without a sweep, by %s:\n", reason);
        r = read_and_print(w, when);
        if (r.lost[LOSS_RECURSION] == 0)
                check_reading(w, &r, slack);
        else
                check_missed(w, &r, slack);
}

void watch_end(struct watch *w) {
        w->t->ops->end(w->t, w->group);
        group_end(w->c);
        tracker_free(w->t);
}

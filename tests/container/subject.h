/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What programs that test the engine share: subjects, groups, readings, and a runner.
 *
 * A subject is a child process in a group that does one thing at a time, says so, and holds it until it is let go on. The
 * runner gives each test a process of its own, so that one that fails leaves no program attached, no subject alive and no
 * cgroup behind. Needs root.
 */
#pragma once

#include "../unit/unit.h"
#include "filter.h"
#include "summary.h"

extern struct cgroup_root *root;

/* ---- the runner ---------------------------------------------------------------------------------------------------------- */

/*
 * Runs the tests, each in a process of its own, and prints TAP. Arguments: [--mutation NAME] [TEST...]; without
 * names all of them. Returns the exit
 * status.
 */
int run_program(const struct CMUnitTest *tests, size_t n, int argc, char **argv);

/* Ends the running test as one that cannot run here; also out of a subject, in one of its steps. */
void __attribute__((noreturn)) cannot(const char *reason);

/* A directory for files, removed with them after the test. */
const char *scratch_directory(const char *below);

/* Shared by a test and its subjects: whatever a subject has to tell. */
extern volatile int64_t *told;
#define TOLD 16

/* ---- subjects ------------------------------------------------------------------------------------------------------------ */

struct subject {
        pid_t pid;
        int to, from;
};

typedef void (*subject_steps_t[8])(void); /* ends with NULL or when it is full */

/* A subject that is in its group and has not begun yet. */
struct subject subject_of(const char *path, const subject_steps_t steps);
struct subject subject_new(const char *path, void (*hold)(void), void (*drop)(void));

/* Lets it take its next step. subject_step returns when it is done; the other two in between let it run meanwhile. */
void subject_step(struct subject *s);
void subject_go(struct subject *s);
void subject_wait(struct subject *s);
bool subject_is_done(struct subject *s);
void subject_end(struct subject *s);

/* For steps: fails with `what` and errno unless `ok`. */
void must(bool ok, const char *what);

/* Moves the calling process into a group. */
void enter(const char *path);

/* Steps. N of each; drop_held closes every descriptor of `held`. */
#define N 2000
extern int held[2 * N + 64];
void hold_pipes(void);
void hold_sockets(void);
void hold_memory(void); /* 64 MiB, anonymous */
void drop_held(void);
void nothing(void);

/* ---- groups and readings --------------------------------------------------------------------------------------------------
 */

struct cgroup *group_new(const char *name);
struct cgroup *group_below(const struct cgroup *parent, const char *name);
void group_end(struct cgroup *c);

struct tracker *tracker_of(const struct tracker_options *options);
unsigned begin(struct tracker *t, const struct cgroup *c);
unsigned begin_with(struct tracker *t, const struct cgroup *c, const struct tracker_wish *wish);
unsigned renew(struct tracker *t, unsigned group);

struct reading {
        int64_t live[2][_TYPE_MAX]; /* [charged][type]; rows of sites */
        int64_t live_calls;         /* slab, charged */
        int64_t synthetic;          /* live of rows without a site: kernel stacks */
        int64_t pages;              /* live of charged kernel pages and stacks, counted one by one */
        bool pages_known;           /* false: their rows are the count */
        int64_t largest_slab;       /* bytes per call of the largest slab row */
        int64_t allocated, allocated_calls, freed, untracked, written_off, unmatched, irq; /* kernel memory, both lenses */
        int64_t written_off_calls;
        int64_t untracked_charged; /* of untracked, what was billed */
        int64_t catch_all;         /* allocated on catch-alls */
        int64_t lowest;            /* smallest live of a row that is no estimate */
        int64_t estimated, error;  /* user pages */
        int64_t lost[_LOSS_MAX];
};

struct reading reading_of(struct tracker *t, unsigned group);

/* Charged kernel memory that is alive, by the exact total of pages: their rows may be estimates. */
int64_t charged_of(const struct reading *r);

/* What names a row's site: its call, or a hash of all that its alloc tag says. */
uint64_t row_site(const struct tracker_row *row);

/* Live bytes of one row. */
int64_t row_live(const struct tracker_row *row);

/* Sweeps; false when this tracker cannot. */
bool sweep(struct tracker *t);

int64_t kernel_counter(const struct cgroup *c);
int64_t counter_of(const struct cgroup *c, enum memcg_counter which); /* skips when it is not told */

/* What differs in the kernel's own behaviour; the engine asks for features and never for this. */
bool kernel_is_from(unsigned major, unsigned minor);

/* RCU frees in its own time: waits until the memcg's counter has stood still for half a second. */
void settle(const struct cgroup *c);

#define assert_near(a, b, slack) assert_near_at(a, b, slack, #a, #b, __FILE__, __LINE__)
void assert_near_at(int64_t a, int64_t b, int64_t slack, const char *a_text, const char *b_text, const char *file, int line);

/* The memcg's batching and what a process allocates besides. */
#define SLACK 16384

/* What may be left of something that was allocated and let go. */
#define RESIDUE(allocated) (SLACK + (allocated) / 1000)

/* ---- a group under watch --------------------------------------------------------------------------------------------------
 */

struct watch {
        struct tracker *t;
        struct cgroup *c;
        unsigned group;
        int64_t before; /* the memcg's counter when the group began */
        int64_t slab_before;
};

struct watch watch(const char *name);
struct watch watch_with(const char *name, const struct tracker_options *options, const struct tracker_wish *wish);
void watch_end(struct watch *w);

/* At rest, swept and printed. */
struct reading reading_after_sweep(const struct watch *w, const char *when);

/*
 * The rule that everything comes down to: after a sweep, what is explained less what was there before is what the memcg's own
 * counter grew by (within slack and a thousandth), and no row is below zero. Returns what was read.
 */
struct reading check_agrees(const struct watch *w, const char *when, int64_t slack);

/*
 * The rule of a reading before a sweep, when the kernel skipped frees: nothing is missing in what is explained; a sweep finds
 * all that is too much, and no more objects than frees are told as skipped, unless the document would say that it is not
 * accurate.
 */
void check_missed(const struct watch *w, const struct reading *r, int64_t slack);

/*
 * One of the two without a sweep, where functions without tracepoints are followed; says why not where they are not.
 */
void check_agrees_unswept(const struct watch *w, const char *when, int64_t slack);

/* What the tracker says of one of its abilities, with the reason. */
bool is_able(struct tracker *t, const char *ability, char reason[static 256]);

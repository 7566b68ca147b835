/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Losses, forced: each shows in its own counter, in the group that it fell on and in no other, and nothing of it is silent.
 * Tables that are too small for names are in test-engine.c; what documents say of it all is in modes.py.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "subject.h"

#include "symbol.h"

/* Two groups of one tracker: what is done in the one is no loss of the other. */
struct two {
        struct watch busy, quiet;
};

static struct two two_new(const struct tracker_options *options) {
        struct two w = {.busy = watch_with("busy", options, &(struct tracker_wish){})};

        w.quiet = (struct watch){.t = w.busy.t, .c = group_new("quiet")};
        w.quiet.group = begin(w.quiet.t, w.quiet.c);
        return w;
}

static void two_end(struct two *w) {
        struct reading r = reading_of(w->quiet.t, w->quiet.group);

        assert_int_equal(r.lost[LOSS_OBJECTS_FULL], 0);
        assert_int_equal(r.lost[LOSS_MISSED_FREES], 0);
        w->quiet.t->ops->end(w->quiet.t, w->quiet.group);
        group_end(w->quiet.c);
        watch_end(&w->busy);
}

/* A tracker to which no free of kmem_cache_free() is shown. */
static struct two two_without_frees(uint32_t objects, uint32_t spill) {
        return two_new(&(struct tracker_options){.objects = objects, .spill = spill, .mutation = "no-cache-free"});
}

static void hold_few_pipes(void) {
        for (size_t i = 0; i < 100; i++)
                must(pipe(&held[2 * i]) == 0, "pipe");
}

/* ---- a burst, and after it ------------------------------------------------------------------------------------------------
 */

/*
 * What a burst could not place is told; when it is over, objects find room again and are followed as ever. The account balances
 * to the byte of what was refused: charged and alive it is not explained, freed it is freed_unmatched.
 */
static void test_burst(void **state) {
        struct two w = two_new(&(struct tracker_options){.objects = 4096, .spill = 512});
        struct subject s =
                subject_of(w.busy.c->path, (const subject_steps_t){hold_pipes, drop_held, hold_few_pipes, drop_held});
        struct reading burst, after, later;
        int64_t off;

        subject_step(&s);
        settle(w.busy.c); /* old descriptor tables go by RCU */
        burst = reading_of(w.busy.t, w.busy.group);
        print_message("# refused %lld objects, %lld of %lld bytes\n", (long long)burst.lost[LOSS_OBJECTS_FULL],
                (long long)burst.untracked, (long long)burst.allocated);
        assert_true(burst.lost[LOSS_OBJECTS_FULL] > N);
        assert_true(burst.untracked > N * 500);
        assert_true(burst.lowest >= 0);
        assert_near(charged_of(&burst) + burst.untracked_charged - burst.unmatched, kernel_counter(w.busy.c) - w.busy.before,
                SLACK);
        subject_step(&s);
        after = reading_after_sweep(&w.busy, "released");
        /* letting go allocates too, a little and at first into a full table */
        assert_near(after.lost[LOSS_OBJECTS_FULL], burst.lost[LOSS_OBJECTS_FULL], 20);
        assert_near(charged_of(&after), 0, SLACK + (512 << 10)); /* a descriptor table stays */
        /* in one of twenty releases frees are unseen (test-engine.c), and of what is not followed no sweep finds them */
        off = charged_of(&after) + after.untracked_charged - after.unmatched - (kernel_counter(w.busy.c) - w.busy.before);
        print_message("# off by %lld bytes\n", (long long)off);
        assert_true(off >= -SLACK && off <= SLACK + after.untracked_charged / 2);
        subject_step(&s);
        later = reading_of(w.busy.t, w.busy.group);
        assert_int_equal(later.lost[LOSS_OBJECTS_FULL], after.lost[LOSS_OBJECTS_FULL]);
        assert_int_equal(later.untracked, after.untracked);
        assert_true(charged_of(&later) - charged_of(&after) > 100 * 1000);
        subject_step(&s);
        later = reading_after_sweep(&w.busy, "released again");
        assert_near(charged_of(&later), charged_of(&after), SLACK);
        assert_true(later.lowest >= 0);
        subject_end(&s);
        two_end(&w);
}

static const enum loss folded[] = {
        LOSS_OBJECTS_FULL, LOSS_MISSED_FREES, LOSS_SITES_FULL, LOSS_STACKS_FULL, LOSS_STACK_ERRORS, LOSS_STACK_MIXED};

static int64_t sum_folded(const struct reading *r) {
        int64_t sum = 0;

        for (size_t i = 0; i < ELEMENTS(folded); i++)
                sum += r->lost[folded[i]];
        return sum;
}

/* Losses stay with rows: they follow them into another group. */
static void test_losses_are_folded(void **state) {
        struct watch w = watch_with("folded",
                &(struct tracker_options){
                        .objects = 1024, .spill = 128, .sites = 128, .stacks = 1, .mutation = "no-cache-free"},
                &(struct tracker_wish){.page_sample = 1});
        struct subject s = subject_of(w.c->path, (const subject_steps_t){hold_pipes, drop_held, hold_pipes, hold_memory});
        struct reading before, after, both;
        unsigned old = w.group;

        for (size_t i = 0; i < 3; i++)
                subject_step(&s);
        before = reading_after_sweep(&w, "held again");
        assert_true(before.lost[LOSS_OBJECTS_FULL] > 0 && before.lost[LOSS_MISSED_FREES] > 0);
        assert_true(before.lost[LOSS_STACKS_FULL] > 0);
        w.group = renew(w.t, old);
        after = reading_of(w.t, w.group);
        assert_int_equal(sum_folded(&after), 0);
        subject_step(&s);
        after = reading_of(w.t, w.group);
        assert_true(after.lost[LOSS_STACKS_FULL] > 0);
        assert_int_equal(w.t->ops->fold(w.t, old, w.group), 0);
        both = reading_of(w.t, w.group);
        for (size_t i = 0; i < ELEMENTS(folded); i++)
                assert_int_equal(both.lost[folded[i]], before.lost[folded[i]] + after.lost[folded[i]]);
        both = reading_of(w.t, old);
        assert_int_equal(sum_folded(&both), 0);
        w.t->ops->end(w.t, old);
        subject_end(&s);
        watch_end(&w);
}

/* ---- frees that no program sees -------------------------------------------------------------------------------------------
 */

/* Those that a second allocation proves are a loss; those that a sweep finds are settled, and none. */
static void test_missed_frees(void **state) {
        struct two w = two_without_frees(0, 0);
        struct subject s = subject_of(w.busy.c->path, (const subject_steps_t){hold_pipes, drop_held, hold_pipes, drop_held});
        struct reading proved, swept;

        for (size_t i = 0; i < 3; i++)
                subject_step(&s);
        proved = reading_of(w.busy.t, w.busy.group);
        assert_true(proved.lost[LOSS_MISSED_FREES] > N);
        assert_true(proved.written_off > 0);
        subject_step(&s);
        swept = reading_after_sweep(&w.busy, "released");
        if (swept.written_off == proved.written_off)
                cannot("objects cannot be checked here");
        assert_int_equal(swept.lost[LOSS_MISSED_FREES], proved.lost[LOSS_MISSED_FREES]);
        assert_near(swept.live[1][TYPE_SLAB], 0, SLACK + (64 << 10));
        assert_true(swept.lowest >= 0);
        subject_end(&s);
        two_end(&w);
}

/* What looking at one object takes, in the quietest of several sweeps that find all of them alive. */
static double us_an_object(struct tracker *t) {
        double least = 1e9;

        for (size_t i = 0; i < 8; i++) {
                struct tracker_sweep done = {};

                if (t->ops->sweep(t, &done) < 0)
                        cannot("objects cannot be checked here");
                assert_true(done.checked > 5 * N);
                if ((double)done.took_us / (double)done.checked < least)
                        least = (double)done.took_us / (double)done.checked;
        }
        return least;
}

static double us_an_object_of(const struct tracker_options *options) {
        struct watch w = watch_with("sweeps", options, &(struct tracker_wish){});
        struct subject s = subject_new(w.c->path, hold_pipes, nothing);
        double us;

        subject_step(&s);
        us = us_an_object(w.t);
        assert_int_equal(reading_of(w.t, w.group).lost[LOSS_OBJECTS_FULL], 0);
        subject_end(&s);
        watch_end(&w);
        return us;
}

/* An object in the spill takes some more than one in the table; with a program run and a system call each it was a hundred
 * times. */
static void test_spill_is_swept_fast(void **state) {
        double table = us_an_object_of(&(struct tracker_options){.objects = 1 << 16}),
               spill = us_an_object_of(&(struct tracker_options){.objects = 64, .spill = 1 << 15});

        print_message("# a sweep: %.2f us an object in the table, %.2f us one in the spill\n", table, spill);
        assert_true(spill < 1 + 20 * table);
}

/* A sweep settles what stands in the spill too. */
static void test_spill_is_swept(void **state) {
        struct two w = two_without_frees(64, 1 << 15);
        struct subject s = subject_new(w.busy.c->path, hold_pipes, drop_held);
        struct reading r;

        subject_step(&s);
        r = reading_of(w.busy.t, w.busy.group);
        assert_int_equal(r.lost[LOSS_OBJECTS_FULL], 0);
        assert_true(r.live[1][TYPE_SLAB] > N * 1000);
        subject_step(&s);
        settle(w.busy.c);
        if (!sweep(w.busy.t))
                cannot("objects cannot be checked here");
        r = reading_after_sweep(&w.busy, "released");
        assert_near(r.live[1][TYPE_SLAB], 0, SLACK + (64 << 10));
        assert_int_equal(r.lost[LOSS_MISSED_FREES], 0);
        assert_true(r.lowest >= 0);
        subject_end(&s);
        two_end(&w);
}

enum { STOP };

static void churn_pipes(void) {
        while (!told[STOP]) {
                hold_few_pipes();
                drop_held();
        }
}

/* A walk through the spill ends although what it stands on goes and comes, and takes nothing from anybody. */
static void test_spill_is_swept_under_churn(void **state) {
        struct watch w = watch_with("churn", &(struct tracker_options){.objects = 64}, &(struct tracker_wish){});
        struct subject holder = subject_new(w.c->path, hold_pipes, drop_held),
                       churner = subject_new(w.c->path, churn_pipes, nothing);
        struct reading r;

        subject_step(&holder);
        subject_go(&churner);
        for (size_t i = 0; i < 50; i++)
                if (!sweep(w.t))
                        cannot("objects cannot be checked here");
        told[STOP] = 1;
        subject_wait(&churner);
        r = check_agrees(&w, "held, after churn", SLACK);
        assert_true(r.live[1][TYPE_SLAB] > N * 1000);
        assert_int_equal(r.lost[LOSS_OBJECTS_FULL], 0);
        subject_step(&holder);
        check_agrees(&w, "released", SLACK);
        subject_end(&holder);
        subject_end(&churner);
        watch_end(&w);
}

/* ---- recursion ------------------------------------------------------------------------------------------------------------
 */

/* Frees in softirqs: sockets, by RCU; and datagrams on their way. */
static void free_in_softirqs(void) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t length = sizeof(address);
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        char bytes[512] = "";

        must(fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
                        getsockname(fd, (struct sockaddr *)&address, &length) == 0,
                "bind");
        while (!told[STOP]) {
                for (size_t i = 0; i < 200; i++)
                        must(socketpair(AF_UNIX, SOCK_STREAM, 0, &held[2 * i]) == 0, "socketpair");
                for (size_t i = 0; i < 20; i++) {
                        (void)sendto(fd, bytes, sizeof(bytes), 0, (struct sockaddr *)&address, length);
                        (void)recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);
                }
                drop_held();
        }
        close(fd);
}

/* Free programs that run in task context as often as can be. */
static void free_in_a_loop(void) {
        while (!told[STOP])
                for (size_t i = 0; i < 100; i++)
                        close(dup(0)), close(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
}

#define STORM_SECONDS 3

/*
 * How many of so many frees may be missed. On 7.x a task that is preempted as it enters a program shuts others out: of four
 * releases by four tasks 0.3 to 0.9 % were missed on two emulated CPUs, and 6.6 % without the second programs.
 */
static int64_t few_of(int64_t frees) {
        return 1 + frees / (kernel_is_from(7, 0) ? 50 : 10000);
}

/*
 * A free is lost when it comes in an interrupt that landed on the second program of its hook, which ran in an interrupt that
 * landed on the first. That takes frees in hard interrupts, and 6.18 makes next to none: of a storm's frees the first programs
 * miss some hundred, and the second ones see all but 0 to 3. So a miss cannot be had at will; what is told may be no more than
 * that, and whatever is told, the account balances. With the first programs alone: test_lost_to_recursion.
 */
static void test_recursion(void **state) {
        struct watch w = watch("recursion");
        struct subject s[4];
        struct reading r;
        int64_t missed;

        for (size_t i = 0; i < ELEMENTS(s); i++)
                s[i] = subject_new(w.c->path, i % 2 ? free_in_a_loop : free_in_softirqs, nothing);
        for (size_t i = 0; i < ELEMENTS(s); i++)
                subject_go(&s[i]);
        for (size_t i = 0; i < STORM_SECONDS * 20; i++) {
                usleep(50000);
                assert_true(reading_of(w.t, w.group).lost[LOSS_RECURSION] >= 0);
        }
        told[STOP] = 1;
        for (size_t i = 0; i < ELEMENTS(s); i++)
                subject_wait(&s[i]);
        settle(w.c);
        r = reading_of(w.t, w.group);
        missed = r.lost[LOSS_RECURSION];
        print_message(
                "# %lld allocations, of their frees %lld missed by both programs of a hook; %lld bytes left before the sweep\n",
                (long long)r.allocated_calls, (long long)missed, (long long)r.live[1][TYPE_SLAB]);
        assert_true(missed <= few_of(r.allocated_calls));
        check_agrees(&w, "after the storm", SLACK);
        for (size_t i = 0; i < ELEMENTS(s); i++)
                subject_end(&s[i]);
        watch_end(&w);
}

/* ---- what recursion costs: sockets by the ten thousand, let go by several at once -----------------------------------------
 */

#define RELEASERS 4
#define RELEASES 4
#define FEW 10 /* more than the second programs leave of all of them, but on 7.x */

static void all_step(struct subject *s) {
        for (size_t i = 0; i < RELEASERS; i++)
                subject_go(&s[i]);
        for (size_t i = 0; i < RELEASERS; i++)
                subject_wait(&s[i]);
}

/* What frees were missed in some releases, and what a sweep after each found to stand falsely as live. */
struct toll {
        int64_t missed, bytes, objects;
};

/* Of both lenses, but for user pages. */
static int64_t live_of(const struct reading *r) {
        return charged_of(r) + r->live[0][TYPE_SLAB] + r->live[0][TYPE_PAGE] + r->live[0][TYPE_PERCPU];
}

/* At rest the sweep is all that happens between two readings: what it takes from live goes to written_off. */
static void sweep_up(const struct watch *w, struct toll *toll) {
        struct reading before = reading_of(w->t, w->group), after;

        if (!sweep(w->t))
                cannot("objects cannot be checked here");
        after = reading_of(w->t, w->group);
        toll->missed = before.lost[LOSS_RECURSION];
        toll->bytes += after.written_off - before.written_off;
        toll->objects += after.written_off_calls - before.written_off_calls;
        assert_near(live_of(&before) - live_of(&after), after.written_off - before.written_off, SLACK);
        print_message("# %lld frees missed until now; %lld objects of %lld bytes stood falsely\n", (long long)toll->missed,
                (long long)toll->objects, (long long)toll->bytes);
}

static struct toll release(const struct watch *w, struct subject *s) {
        struct toll toll = {};

        for (size_t i = 0; i < RELEASES; i++) {
                all_step(s);
                all_step(s);
                settle(w->c);
                sweep_up(w, &toll);
        }
        return toll;
}

static void releasers_new(const struct watch *w, struct subject *ret) {
        const subject_steps_t steps = {
                hold_sockets, drop_held, hold_sockets, drop_held, hold_sockets, drop_held, hold_sockets, drop_held};

        for (size_t i = 0; i < RELEASERS; i++)
                ret[i] = subject_of(w->c->path, steps);
}

/* Whether the document of a group balances, to the byte, and says that it is accurate. */
static bool document_is_accurate(const struct watch *w) {
        _cleanup_(symbols_freep) struct symbols *symbols = NULL;
        _cleanup_(tracker_sample_done) struct tracker_sample sample = {};
        _cleanup_(measures_done) struct measures m = {};
        _cleanup_(summary_freep) struct summary *s = calloc(1, sizeof(*s));
        const struct tracker_counts *c = &s->totals.counts;
        size_t missing;

        assert_int_equal(symbols_load("/proc/kallsyms", &symbols, NULL), 0);
        assert_int_equal(w->t->ops->read(w->t, w->group, &sample), 0);
        assert_int_equal(measures_take(symbols, NULL, &sample, &m, &missing), 0);
        measures_scale(&m);
        assert_int_equal(summary_take(s, &m, gfp_bits_running()), 0);
        assert_int_equal(s->lost[LOSS_RECURSION], sample.lost[LOSS_RECURSION]);
        assert_int_equal(c->allocated_bytes, s->charged.kernel_bytes + s->uncharged.kernel_bytes + c->freed_bytes +
                                                     c->written_off_bytes + c->untracked_bytes + s->totals.blind_bytes);
        return s->accurate;
}

/*
 * What the second programs are for: without them a softirq that lands on a running program has its frees skipped. The kernel
 * counts each, the document says so, they stand as live until a sweep writes them off, and then the account balances.
 */
static void test_lost_to_recursion(void **state) {
        struct watch w =
                watch_with("lost", &(struct tracker_options){.mutation = "no-second-programs"}, &(struct tracker_wish){});
        struct subject s[RELEASERS];
        struct toll toll;

        releasers_new(&w, s);
        toll = release(&w, s);
        assert_true(toll.missed > FEW);
        assert_true(toll.objects > FEW);
        assert_true(toll.bytes > FEW * 64);
        assert_false(document_is_accurate(&w));
        check_agrees(&w, "after the sweeps", SLACK);
        for (size_t i = 0; i < RELEASERS; i++)
                subject_end(&s[i]);
        watch_end(&w);
}

/* kfree(NULL), ten thousand times: writev() frees a vector that it had room for itself. */
static void free_nothing(void) {
        int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
        struct iovec v = {.iov_base = (char[]){"x"}, .iov_len = 1};

        must(fd >= 0, "/dev/null");
        for (size_t i = 0; i < 10000; i++)
                must(writev(fd, &v, 1) == 1, "writev");
        close(fd);
}

/* The second programs alone, as when every free lands on a running first one: each object goes once, and nothing is no object.
 */
static void test_second_alone(void **state) {
        struct watch w = watch_with(
                "second", &(struct tracker_options){.mutation = "no-first-programs", .objects = 512}, &(struct tracker_wish){});
        struct subject s = subject_of(
                w.c->path, (const subject_steps_t){hold_few_pipes, drop_held, free_nothing, hold_few_pipes, drop_held});
        struct reading before, after;

        subject_step(&s);
        check_agrees(&w, "held", SLACK);
        subject_step(&s);
        settle(w.c);
        before = reading_of(w.t, w.group);
        subject_step(&s);
        after = reading_of(w.t, w.group);
        print_message("# freed %lld, of nothing %lld\n", (long long)before.freed, (long long)(after.freed - before.freed));
        assert_near(after.freed, before.freed, SLACK);
        subject_step(&s);
        subject_step(&s);
        check_agrees(&w, "let go", SLACK);
        subject_end(&s);
        watch_end(&w);
}

/* With them nothing is lost, or a few, which are told; no document is accurate that lost one. */
static void test_not_lost_to_recursion(void **state) {
        struct watch w = watch("not-lost");
        struct subject s[RELEASERS];
        struct toll toll;

        releasers_new(&w, s);
        toll = release(&w, s);
        assert_true(toll.missed <= FEW ||
                    (kernel_is_from(7, 0) && toll.missed <= few_of(reading_of(w.t, w.group).allocated_calls)));
        assert_true(toll.missed == 0 || !document_is_accurate(&w));
        check_agrees(&w, "after the sweeps", SLACK);
        for (size_t i = 0; i < RELEASERS; i++)
                subject_end(&s[i]);
        watch_end(&w);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_burst),
                cmocka_unit_test(test_losses_are_folded),
                cmocka_unit_test(test_missed_frees),
                cmocka_unit_test(test_spill_is_swept),
                cmocka_unit_test(test_spill_is_swept_fast),
                cmocka_unit_test(test_spill_is_swept_under_churn),
                cmocka_unit_test(test_recursion),
                cmocka_unit_test(test_lost_to_recursion),
                cmocka_unit_test(test_second_alone),
                cmocka_unit_test(test_not_lost_to_recursion),
        };

        return run_program(tests, ELEMENTS(tests), argc, argv);
}

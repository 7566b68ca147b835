/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Profiles above one another on the kernel itself: a slice and what runs in it, measured from different moments on, begun anew,
 * and ended while the others go on. What each must say is held against the memcg's own counter. The rules are tried out on a
 * kernel in a box (tests/unit/test-segment.c); here it is seen that the tracker keeps its word.
 */
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/timerfd.h>

#include "subject.h"

#include "engine.h"
#include "profile.h"

#define MORE 1000

static int more[2 * MORE];

static void hold_more(void) {
        for (size_t i = 0; i < MORE; i++)
                must(pipe(&more[2 * i]) == 0, "pipe");
}

static void drop_more(void) {
        for (size_t i = 0; i < ELEMENTS(more); i++)
                close(more[i]);
}

static struct profile *start_with(struct engine *e, const struct cgroup *c, enum stacks stacks) {
        struct profile_label label = {.kind = "cgroup", .started_by = "cli", .spec = {.mode = MODE_MULTI, .stacks = stacks}};
        struct profile *p = NULL;
        struct cgroup *own = NULL;
        char *why = NULL;

        assert_int_equal(cgroup_open(root, c->path, &own, &why), 0);
        if (profile_start(e, own, &label, &p, &why) < 0)
                fail_msg("%s", why);
        return p;
}

static struct profile *start(struct engine *e, const struct cgroup *c) {
        return start_with(e, c, STACKS_OFF);
}

struct said {
        int64_t live, unmatched, unattributed, slack, lowest;
};

static struct said ask(struct profile *p, const char *who, const char *when) {
        _cleanup_(summary_freep) struct summary *s = NULL;
        struct said said;

        settle(profile_cgroup(p));
        assert_int_equal(profile_summary(p, NULL, &s, NULL), 0);
        said = (struct said){s->explained_bytes, s->explained_unmatched, s->unattributed, s->slack_bytes + SLACK, 0};
        for (size_t i = 0; i < s->n_rows; i++)
                if (s->rows[i].charged && !s->rows[i].estimated && figures_live_bytes(&s->rows[i].figures) < said.lowest)
                        said.lowest = figures_live_bytes(&s->rows[i].figures);
        print_message("# %s, %s: live %lld, freed from before %lld, unattributed %lld\n", who, when, (long long)said.live,
                (long long)said.unmatched, (long long)said.unattributed);
        assert_true(said.lowest >= 0);
        return said;
}

/* Live and freed memory from before as wanted, and both explain what the memcg says. */
static void says(struct profile *p, const char *who, const char *when, int64_t live, int64_t unmatched) {
        struct said said = ask(p, who, when);
        int64_t near = SLACK + (live + unmatched) / 50;

        assert_near(said.live, live, near);
        assert_near(said.unmatched, unmatched, near);
        assert_near(said.unattributed, 0, said.slack + near);
}

static struct engine *engine_with(const struct tracker_options *options) {
        struct engine *e = NULL;

        assert_int_equal(engine_new(tracker_of(options), "/proc/kallsyms", &e, NULL), 0);
        return e;
}

static struct engine *engine_of(void) {
        return engine_with(NULL);
}

static void test_nested(void **state) {
        struct engine *e = engine_of();
        struct cgroup *slice = group_new("slice"), *c = group_below(slice, "c");
        struct subject s = subject_of(c->path, (const subject_steps_t){hold_pipes, hold_more, drop_held, drop_more});
        struct profile *inner = start(e, c), *outer;
        int64_t held_bytes, more_bytes;

        subject_step(&s);
        held_bytes = ask(inner, "inner", "holding").live;
        assert_true(held_bytes > N * 500);
        outer = start(e, slice);
        says(outer, "outer", "begun", 0, 0);
        subject_step(&s);
        more_bytes = ask(outer, "outer", "more").live;
        assert_true(more_bytes > MORE * 500);
        says(inner, "inner", "more", held_bytes + more_bytes, 0);
        subject_step(&s); /* what the slice knows as old */
        says(outer, "outer", "dropped", more_bytes, held_bytes);
        says(inner, "inner", "dropped", more_bytes, 0);
        profile_free(inner);
        says(outer, "outer", "inner stopped", more_bytes, held_bytes);
        assert_true(segments_count(engine_segments(e)) <= 2);
        subject_step(&s);
        says(outer, "outer", "all dropped", 0, held_bytes);
        subject_end(&s);
        profile_free(outer);
        engine_free(e);
        group_end(c);
        group_end(slice);
}

static void test_reset(void **state) {
        struct engine *e = engine_of();
        struct cgroup *c = group_new("reset");
        struct subject s = subject_of(c->path, (const subject_steps_t){hold_pipes, hold_more, drop_held, drop_more});
        struct profile *p = start(e, c);
        int64_t held_bytes, more_bytes;

        subject_step(&s);
        held_bytes = ask(p, "profile", "holding").live;
        for (int i = 0; i < 5; i++)
                assert_int_equal(profile_reset(p), 0);
        assert_true(segments_count(engine_segments(e)) <= 2);
        says(p, "profile", "reset", 0, 0);
        subject_step(&s);
        more_bytes = ask(p, "profile", "more").live;
        assert_true(more_bytes > MORE * 500);
        subject_step(&s);
        says(p, "profile", "dropped", more_bytes, held_bytes);
        subject_step(&s);
        says(p, "profile", "all dropped", 0, held_bytes);
        subject_end(&s);
        profile_free(p);
        engine_free(e);
        group_end(c);
}

/* ---- losses ---------------------------------------------------------------------------------------------------------------
 */

/* Which losses of a document are whose. */
struct verdict {
        int64_t sites, stacks, names, engines;
        bool accurate;
};

static struct verdict verdict_of(struct profile *p, const char *who) {
        _cleanup_(summary_freep) struct summary *s = NULL;
        struct verdict v = {};

        assert_int_equal(profile_summary(p, NULL, &s, NULL), 0);
        v.accurate = s->accurate;
        v.sites = s->lost[LOSS_SITES_FULL];
        v.stacks = s->lost[LOSS_STACKS_FULL];
        v.names = v.sites + v.stacks + s->lost[LOSS_STACK_ERRORS] + s->lost[LOSS_STACK_MIXED];
        for (enum loss l = 0; l < _LOSS_MAX; l++)
                v.engines += loss_is_own(l) || l == LOSS_BULK_PAGES ? 0 : s->lost[l];
        print_message("# %s: %lld without a site, %lld without a stack, the engine's %lld; %s\n", who, (long long)v.sites,
                (long long)v.stacks, (long long)v.engines, v.accurate ? "accurate" : "not accurate");
        return v;
}

static void hold_some_pipes(void) {
        for (size_t i = 0; i < 100; i++)
                must(pipe(&held[2 * i]) == 0, "pipe");
}

/* Many sites and many stacks: whatever it takes to begin and to end processes, sockets, memory. */
static void flood_names(void) {
        for (int i = 0; i < 20; i++)
                must(system("ls -l /proc/self > /dev/null") == 0, "ls");
        for (size_t i = 0; i < ELEMENTS(held); i++)
                held[i] = i % 3 == 0 ? eventfd(0, 0) : i % 3 == 1 ? timerfd_create(CLOCK_MONOTONIC, 0) : inotify_init();
        drop_held();
        hold_sockets();
        hold_memory();
        drop_held();
}

/* One floods the tables of names; the other, which has its names already, loses none and stays accurate. */
static void test_names_lost_are_own(void **state) {
        struct engine *e = engine_with(&(struct tracker_options){.sites = 64, .stacks = 16});
        struct cgroup *quiet = group_new("quiet"), *busy = group_new("busy");
        struct subject calm = subject_new(quiet->path, hold_some_pipes, drop_held),
                       loud = subject_new(busy->path, flood_names, nothing);
        struct profile *q = start(e, quiet), *b = start_with(e, busy, STACKS_ALL);
        struct verdict before, first, second;

        subject_step(&calm);
        before = verdict_of(q, "quiet, before");
        assert_int_equal(before.names, 0);
        subject_step(&loud);
        first = verdict_of(b, "busy");
        assert_true(first.sites > 0 && first.stacks > 0);
        assert_false(first.accurate);
        subject_step(&calm);
        second = verdict_of(q, "quiet");
        assert_int_equal(second.names, 0);
        assert_true(second.accurate || second.engines > 0);
        subject_end(&calm);
        subject_end(&loud);
        profile_free(q);
        profile_free(b);
        engine_free(e);
        group_end(quiet);
        group_end(busy);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_nested),
                cmocka_unit_test(test_reset),
                cmocka_unit_test(test_names_lost_are_own),
        };

        return run_program(tests, ELEMENTS(tests), argc, argv);
}

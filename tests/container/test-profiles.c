/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Profiles above one another on the kernel itself: a slice and what runs in it, measured from different moments on, begun anew,
 * and ended while the others go on. What each must say is held against the memcg's own counter. The rules are tried out on a
 * kernel in a box (tests/unit/test-segment.c); here it is seen that the tracker keeps its word.
 */
#include <fcntl.h>
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
        second = verdict_of(q, "quiet"); /* before its next step, for which there may be no room any more */
        assert_int_equal(second.names, 0);
        assert_true(second.accurate || second.engines > 0);
        subject_step(&calm);
        subject_end(&calm);
        subject_end(&loud);
        profile_free(q);
        profile_free(b);
        engine_free(e);
        group_end(quiet);
        group_end(busy);
}

/* ---- the end of a cgroup ---------------------------------------------------------------------------------------------------
 */

#define FILES 2000
#define FILE_BYTES 500 /* of kernel memory at least: an inode and a dentry */

static const char *files;

/* In a tmpfs they stay when their maker is gone, and so does what it is charged for them. */
static void make_files(void) {
        for (size_t i = 0; i < FILES; i++) {
                _cleanup_free_ char *path = format("%s/%zu", files, i);
                int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

                must(fd >= 0, path);
                close(fd);
        }
}

static void unlink_files(void) {
        for (size_t i = 0; i < FILES; i++) {
                _cleanup_free_ char *path = format("%s/%zu", files, i);

                assert_int_equal(unlink(path), 0);
        }
}

static struct summary *last_word(struct profile *p) {
        struct summary *s = NULL;

        assert_int_equal(profile_summary(p, NULL, &s, NULL), 0);
        assert_true(s->frozen);
        print_message(
                "# frozen: kernel %lld, growth %lld, explained %lld, freed from before %lld, unattributed %lld, slack %lld; "
                "explained %lld us later, rows %lld\n",
                (long long)s->now.value[MEMCG_KERNEL], (long long)s->growth_bytes, (long long)s->explained_bytes,
                (long long)s->explained_unmatched, (long long)s->unattributed, (long long)s->slack_bytes,
                (long long)(s->explained_us - s->now.at_us), (long long)s->charged.kernel_bytes);
        return s;
}

/*
 * What a cgroup leaves behind is held against its counter in the moment of its removal, whatever was read before: the last
 * reading is of a time when it held much more. Later what was left is freed elsewhere, and what was frozen stays as it was.
 */
static void check_removal(const char *name, useconds_t later) {
        struct engine *e = engine_of();
        struct cgroup *c = group_new(name);
        struct profile *p = start(e, c);
        struct summary *frozen, *after;
        int64_t read, kernel, slack;
        char reason[256];
        struct subject s;

        files = scratch_directory("/dev/shm");
        if (!is_able(engine_tracker(e), "counters_at_removal", reason))
                cannot(reason);
        s = subject_of(c->path, (const subject_steps_t){hold_pipes, make_files});
        subject_step(&s);
        subject_step(&s);
        read = ask(p, "removed", "holding").live;
        assert_int_equal(profile_note_counters(p), 0);
        subject_end(&s);
        settle(c);
        kernel = kernel_counter(c);
        print_message("# before the removal: kernel %lld\n", (long long)kernel);
        group_end(c);
        usleep(later);
        profile_mark_ended(p);
        sweep(engine_tracker(e));
        frozen = last_word(p);
        slack = SLACK + kernel / 100;
        assert_true(kernel > FILES * FILE_BYTES && kernel < read - N * 500);
        assert_true(frozen->at_removal & 1u << MEMCG_KERNEL && frozen->at_removal & 1u << MEMCG_CURRENT);
        assert_near(frozen->now.value[MEMCG_KERNEL], kernel, root->layout == CGROUP_V2 ? SLACK : 0);
        assert_near(frozen->unattributed, 0, slack);
        assert_near(frozen->charged.kernel_bytes, kernel, slack); /* the parent's by now, and alive */
        assert_int_equal(frozen->growth_bytes, frozen->explained_bytes - frozen->explained_unmatched + frozen->unattributed);
        assert_true(frozen->slack_bytes < slack + 64 * 4096 * sysconf(_SC_NPROCESSORS_ONLN));

        unlink_files();
        usleep(300000);
        after = last_word(p);
        assert_int_equal(after->now.value[MEMCG_KERNEL], frozen->now.value[MEMCG_KERNEL]);
        assert_int_equal(after->explained_bytes, frozen->explained_bytes);
        assert_int_equal(after->unattributed, frozen->unattributed);
        assert_near(after->charged.kernel_bytes, 0, slack);
        summary_free(frozen);
        summary_free(after);
        profile_free(p);
        engine_free(e);
}

static void test_removal(void **state) {
        check_removal("removed", 0);
}

/* Nobody looks for a second: by then the memcg is offline and what it was charged is its parent's. */
static void test_removal_seen_late(void **state) {
        check_removal("removed-late", 1200000);
}

/* The same of memory from before a baseline: a sweep after the removal does not take it for freed. */
static void test_removal_after_reset(void **state) {
        struct engine *e = engine_of();
        struct cgroup *c = group_new("removed-reset");
        struct profile *p = start(e, c);
        struct summary *word;
        struct subject s;

        files = scratch_directory("/dev/shm");
        s = subject_new(c->path, make_files, nothing);
        subject_step(&s);
        assert_int_equal(profile_reset(p), 0);
        subject_end(&s);
        settle(c);
        group_end(c);
        profile_mark_ended(p);
        usleep(300000);
        sweep(engine_tracker(e));
        word = last_word(p);
        assert_true(word->freed_unmatched < FILES * FILE_BYTES / 2);
        summary_free(word);
        unlink_files();
        usleep(300000);
        word = last_word(p);
        assert_true(word->freed_unmatched >= FILES * FILE_BYTES);
        summary_free(word);
        profile_free(p);
        engine_free(e);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_nested),
                cmocka_unit_test(test_reset),
                cmocka_unit_test(test_names_lost_are_own),
                cmocka_unit_test(test_removal),
                cmocka_unit_test(test_removal_seen_late),
                cmocka_unit_test(test_removal_after_reset),
        };

        return run_program(tests, ELEMENTS(tests), argc, argv);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Profiles on a kernel in a box: what random histories (test-segment.c) do not reach, or would not explain when it breaks. */
#include "unit.h"

#include <time.h>

#include "measure.h"
#include "profile.h"
#include "sim.h"
#include "summary.h"

#define MANY 1000

struct box {
        struct sim *sim;
        struct engine *engine;
        struct sim_cgroup *top;
};

static struct box open_box(enum cgroup_layout layout) {
        char symbols[] = "/tmp/memcgprof-symbols-XXXXXX";
        struct box b = {.sim = sim_new(layout)};

        sim_write_symbols(symbols);
        assert_int_equal(engine_new_at(&b.sim->tracker, NULL, symbols, &b.engine), 0);
        unlink(symbols);
        b.top = sim_mkdir(b.sim, NULL, "r");
        return b;
}

static int try_start(struct box *b, struct sim_cgroup *c, struct spec spec, struct profile **ret, char **reterr) {
        struct profile_label label = {.kind = "cgroup", .started_by = "bus", .spec = spec};
        _cleanup_(cgroup_freep) struct cgroup *cgroup = sim_open(b->sim, c);
        int r;

        sim_publish(b->sim);
        r = profile_start(b->engine, cgroup, &label, ret, reterr);
        if (r >= 0)
                (void)TAKE(cgroup);
        return r;
}

static struct profile *start(struct box *b, struct sim_cgroup *c) {
        struct profile *p;

        assert_int_equal(try_start(b, c, (struct spec){.mode = MODE_AUTO}, &p, NULL), 0);
        return p;
}

static void reset(struct box *b, struct profile *p) {
        sim_publish(b->sim);
        assert_int_equal(profile_reset(p), 0);
}

static struct summary *summarize(struct box *b, struct profile *p) {
        struct summary *s;

        sim_publish(b->sim);
        assert_int_equal(profile_summary(p, NULL, &s, NULL), 0);
        if (s->growth_known)
                assert_int_equal(s->growth_bytes, s->explained_bytes - s->explained_unmatched + s->unattributed);
        return s;
}

struct said {
        int64_t live, unmatched, unattributed;
};

static struct said ask(struct box *b, struct profile *p) {
        _cleanup_(summary_freep) struct summary *s = summarize(b, p);

        return (struct said){s->charged.kernel_bytes, s->freed_unmatched, s->unattributed};
}

static void says(struct box *b, struct profile *p, int64_t live, int64_t unmatched) {
        struct said said = ask(b, p);

        assert_int_equal(said.live, live);
        assert_int_equal(said.unmatched, unmatched);
        assert_int_equal(said.unattributed, 0);
}

/* The life of a pod: its slice is measured, its containers come, and go. */
static void nested(void **state) {
        struct box b = open_box(CGROUP_V2);
        struct sim_cgroup *inner = sim_mkdir(b.sim, b.top, "inner");
        size_t old = sim_alloc(b.sim, inner, SIM_CHARGED, 1, false);
        struct profile *i = start(&b, inner), *o;
        size_t before = sim_alloc(b.sim, inner, SIM_CHARGED, 10, false), since;

        says(&b, i, 10, 0);
        o = start(&b, b.top);
        since = sim_alloc(b.sim, inner, SIM_PAGES, 100, false);
        sim_alloc(b.sim, b.top, SIM_PERCPU, 1000, false);
        says(&b, i, 110, 0);
        says(&b, o, 1100, 0);
        sim_release(b.sim, before);
        sim_release(b.sim, old);
        says(&b, i, 100, 1);
        says(&b, o, 1100, 11);
        profile_free(i);
        says(&b, o, 1100, 11);
        assert_int_equal(b.sim->n_groups, 1 + 1); /* what was older than `o` is older still */
        sim_release(b.sim, since);
        says(&b, o, 1000, 11);
        profile_free(o);
        engine_free(b.engine);
}

static void resets(void **state) {
        struct box b = open_box(CGROUP_V2);
        struct profile *p = start(&b, b.top);
        size_t objects[3];

        for (size_t i = 0; i < ELEMENTS(objects); i++) {
                objects[i] = sim_alloc(b.sim, b.top, SIM_CHARGED, 10, false);
                b.sim->lost += 5;
                reset(&b, p);
                says(&b, p, 0, 0);
        }
        assert_int_equal(b.sim->n_groups, 2);
        sim_release(b.sim, objects[0]);
        sim_release(b.sim, objects[2]);
        says(&b, p, 0, 20);
        reset(&b, p);
        sim_release(b.sim, objects[1]);
        says(&b, p, 0, 10);
        profile_free(p);
        engine_free(b.engine);
}

/* A machine that runs for weeks: whatever comes and goes below a profile leaves its counts there, and nothing else. */
static void come_and_go(void **state) {
        struct box b = open_box(CGROUP_V2);
        struct profile *outer = start(&b, b.top);
        int64_t live = 0, allocated = 0;

        for (int i = 0; i < MANY; i++) {
                struct sim_cgroup *c = sim_mkdir(b.sim, b.top, "container");
                struct profile *p = start(&b, c);
                size_t object = sim_alloc(b.sim, c, i % SIM_STACKS, 100, false);

                if (sim_site_charged(i % SIM_STACKS))
                        live += i % 3 ? 100 : 0;
                allocated += i % SIM_STACKS == SIM_SLAB_PAGES ? 0 : 100;
                if (i % 10 == 0)
                        reset(&b, p);
                if (i % 2 == 0) {
                        sim_rmdir(b.sim, c);
                        profile_mark_ended(p);
                }
                if (i % 3 == 0)
                        sim_release(b.sim, object);
                profile_free(p);
                if (i % 2)
                        sim_rmdir(b.sim, c);
        }
        says(&b, outer, live, 0);
        assert_int_equal(b.sim->n_groups, 1);
        assert_true(b.sim->most_groups <= 4);
        {
                _cleanup_(summary_freep) struct summary *s = summarize(&b, outer);

                assert_int_equal(s->totals.counts.allocated_bytes, allocated);
        }
        profile_free(outer);
        engine_free(b.engine);
}

static int64_t now_us(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

/* As many at once as the tables hold, and one above them that comes last and begins anew. */
static void many_at_once(void **state) {
        struct box b = open_box(CGROUP_V2);
        struct profile *inner[MANY], *outer;
        struct profile_totals totals;
        int64_t began;

        for (int i = 0; i < MANY; i++) {
                _cleanup_free_ char *name = format("c%d", i);
                struct sim_cgroup *c = sim_mkdir(b.sim, b.top, name);

                inner[i] = start(&b, c);
                sim_alloc(b.sim, c, SIM_CHARGED, 1000, false);
        }
        outer = start(&b, b.top);
        assert_int_equal(b.sim->n_groups, 2 * MANY + 1);
        for (int i = 0; i < MANY; i++)
                sim_alloc(b.sim, b.sim->cgroups[i + 1], SIM_PAGES, 10, false);
        says(&b, outer, 10 * MANY, 0);
        reset(&b, outer);
        assert_int_equal(b.sim->n_groups, 2 * MANY + 2);
        says(&b, outer, 0, 0);
        began = now_us();
        for (int i = 0; i < MANY; i++) {
                assert_int_equal(profile_totals(inner[i], &totals), 0);
                assert_int_equal(totals.live_bytes, 1010);
        }
        print_message("# totals of %d profiles: %.1f ms\n", MANY, (double)(now_us() - began) / 1000);
        profile_free(outer);
        assert_int_equal(b.sim->n_groups, MANY);
        for (int i = 0; i < MANY; i++) {
                says(&b, inner[i], 1010, 0);
                profile_free(inner[i]);
        }
        engine_free(b.engine);
}

/* What ended and what began anew under the same names have nothing to do with each other. */
static void names_come_again(void **state) {
        struct box b = open_box(CGROUP_V2);
        struct sim_cgroup *slice = sim_mkdir(b.sim, b.top, "slice"), *c = sim_mkdir(b.sim, slice, "c");
        struct profile *old_slice = start(&b, slice), *old = start(&b, c), *new_slice, *new;
        size_t object = sim_alloc(b.sim, c, SIM_CHARGED, 10, false);

        sim_publish(b.sim);
        sim_rmdir(b.sim, c);
        sim_rmdir(b.sim, slice);
        profile_mark_ended(old);
        profile_mark_ended(old_slice);
        slice = sim_mkdir(b.sim, b.top, "slice");
        new_slice = start(&b, slice);
        c = sim_mkdir(b.sim, slice, "c");
        new = start(&b, c);
        sim_alloc(b.sim, c, SIM_CHARGED, 100, false);
        sim_release(b.sim, object);
        says(&b, new_slice, 100, 0);
        says(&b, new, 100, 0);
        assert_int_equal(ask(&b, old_slice).live, 0);
        assert_int_equal(ask(&b, old).live, 0);
        profile_free(old_slice);
        profile_free(new_slice);
        profile_free(old);
        profile_free(new);
        engine_free(b.engine);
}

/* Memory that an ended container left behind goes to the cgroup above, and is old when that is measured. */
static void residue_is_old(void **state) {
        struct box b = open_box(CGROUP_V2);
        struct sim_cgroup *c = sim_mkdir(b.sim, b.top, "c");
        struct profile *p = start(&b, c), *outer;
        size_t object = sim_alloc(b.sim, c, SIM_CHARGED, 10, false);

        sim_rmdir(b.sim, c);
        profile_mark_ended(p);
        outer = start(&b, b.top);
        assert_int_equal(b.sim->n_renews, 0);
        sim_release(b.sim, object);
        says(&b, outer, 0, 10);
        profile_free(p);
        says(&b, outer, 0, 10);
        profile_free(outer);
        engine_free(b.engine);
}

static void no_room(void **state) {
        struct box b = open_box(CGROUP_V2);
        struct sim_cgroup *c = sim_mkdir(b.sim, b.top, "c");
        struct profile *p = start(&b, c), *outer = NULL;
        _cleanup_free_ char *sentence = NULL;

        sim_alloc(b.sim, c, SIM_CHARGED, 10, false);
        for (unsigned room = 1; room <= 2; room++) { /* for none; for the outer one, but not to divide the inner one */
                b.sim->groups_max = room;
                assert_int_equal(try_start(&b, b.top, (struct spec){.mode = MODE_AUTO}, &outer, &sentence), -ENOSPC);
                assert_null(outer);
                free(TAKE(sentence));
                assert_int_equal(b.sim->n_groups, 1);
                says(&b, p, 10, 0);
        }
        b.sim->groups_max = 1;
        assert_int_equal(try_start(&b, b.top, (struct spec){.mode = MODE_AUTO}, &outer, &sentence), -ENOSPC);
        assert_string_equal(sentence, "All 1 groups are taken.");
        assert_int_equal(profile_reset(p), -ENOSPC);
        says(&b, p, 10, 0);
        profile_free(p);
        engine_free(b.engine);
}

static void sweeps_are_paced(void **state) {
        struct box b = open_box(CGROUP_V2);
        struct profile *p = start(&b, b.top), *other;
        struct summary *s;
        size_t object = sim_alloc(b.sim, b.top, SIM_CHARGED, 10, false);

        sim_release_unseen(b.sim, object);
        sim_publish(b.sim);
        assert_int_equal(profile_note_counters(p), 0);
        assert_int_equal(b.sim->n_sweeps, 0);
        s = summarize(&b, p);
        assert_int_equal(b.sim->n_sweeps, 1);
        assert_int_equal(s->sweep_us, 7);
        assert_true(s->swept_at_us >= s->started_us && s->swept_at_us <= s->at_us);
        assert_int_equal(s->totals.counts.written_off_bytes, 10);
        summary_free(s);
        other = start(&b, sim_mkdir(b.sim, b.top, "c"));
        s = summarize(&b, other);
        assert_int_equal(b.sim->n_sweeps, 1);
        assert_int_equal(s->sweep_us, 0);
        assert_int_equal(s->swept_at_us, 0); /* it looked at none of this one's objects */
        summary_free(s);
        profile_free(p);
        profile_free(other);
        engine_free(b.engine);
}

static void sweeps_may_be_impossible(void **state) {
        struct box b = open_box(CGROUP_V2);
        struct profile *p = start(&b, b.top);
        struct summary *s;

        b.sim->sweep_unsupported = true;
        for (int i = 0; i < 2; i++) {
                s = summarize(&b, p);
                assert_int_equal(s->swept_at_us, 0);
                summary_free(s);
        }
        assert_int_equal(b.sim->n_sweeps, 1);
        profile_free(p);
        engine_free(b.engine);
}

static void wishes(void **state) {
        static const struct {
                struct spec spec;
                struct tracker_wish wish;
        } cases[] = {
                {{.mode = MODE_AUTO}, {0, false}},
                {{.mode = MODE_AUTO, .numa = true, .sample = 65536}, {65536, true}},
                {{.mode = MODE_AUTO, .stacks = STACKS_ALL, .sample = 65536}, {1, false}},
        };
        struct box b = open_box(CGROUP_V2);

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                struct profile *p;

                assert_int_equal(try_start(&b, b.top, cases[i].spec, &p, NULL), 0);
                assert_int_equal(b.sim->groups[i].wish.page_sample, cases[i].wish.page_sample);
                assert_int_equal(b.sim->groups[i].wish.numa, cases[i].wish.numa);
                profile_free(p);
        }
        engine_free(b.engine);
}

/* The engine's losses belong to everybody who was measured then, once. */
static void losses(void **state) {
        struct box b = open_box(CGROUP_V2);
        struct profile *outer = start(&b, b.top), *inner;
        struct profile_totals totals;
        struct summary *s;

        b.sim->lost = 3;
        inner = start(&b, sim_mkdir(b.sim, b.top, "c"));
        b.sim->lost = 5;
        s = summarize(&b, inner);
        assert_int_equal(s->lost[LOSS_RECURSION], 2);
        assert_false(s->accurate);
        summary_free(s);
        profile_free(inner);
        s = summarize(&b, outer);
        assert_int_equal(s->lost[LOSS_RECURSION], 5);
        summary_free(s);
        reset(&b, outer);
        assert_int_equal(profile_totals(outer, &totals), 0);
        assert_int_equal(totals.lost, 0);
        profile_free(outer);
        engine_free(b.engine);
}

/* The last reading of the counters and what was explained then stay together, whatever is freed later. */
static void frozen(void **state) {
        struct box b = open_box(CGROUP_V1);
        struct sim_cgroup *c = sim_mkdir(b.sim, b.top, "c");
        struct profile *p = start(&b, c);
        size_t object = sim_alloc(b.sim, c, SIM_CHARGED, 10, false), user = sim_alloc(b.sim, c, SIM_USER, 100, false);
        struct summary *s;

        sim_alloc(b.sim, c, SIM_STACKS, 16384, false);
        summary_free(summarize(&b, p));
        sim_rmdir(b.sim, c);
        sim_release(b.sim, object);
        sim_release(b.sim, user);
        profile_mark_ended(p);
        s = summarize(&b, p);
        assert_true(s->frozen);
        assert_int_equal(s->state, PROFILE_ENDED);
        assert_int_equal(s->charged.kernel_bytes, 16384);
        assert_int_equal(s->explained_bytes, 16394);
        assert_int_equal(s->unattributed, 0);
        assert_int_equal(s->by_counter[MEMCG_SLAB].explained_bytes, 10);
        assert_int_equal(s->by_counter[MEMCG_KERNEL_STACK].explained_bytes, 16384);
        assert_int_equal(s->by_counter[MEMCG_ANON].growth_bytes, 100);
        assert_string_equal(s->by_counter[MEMCG_ANON].source, "tracepoint");
        assert_null(s->by_counter[MEMCG_SLAB].source); /* v1 has no such counter, and no tracepoint says it */
        assert_false(s->by_counter[MEMCG_VMALLOC].explained_known);
        summary_free(s);
        assert_int_equal(profile_reset(p), -ENODEV);
        profile_free(p);
        engine_free(b.engine);
}

/* What the kernel reads at the removal takes the place of the last reading, and what was freed before we looked is slack. */
static void frozen_at_removal(void **state) {
        for (int unseen = 0; unseen < 2; unseen++) {
                struct box b = open_box(CGROUP_V1);
                struct sim_cgroup *c = sim_mkdir(b.sim, b.top, "c");
                struct profile *p = start(&b, c);
                size_t gone = sim_alloc(b.sim, c, SIM_CHARGED, 1000, false),
                       late = sim_alloc(b.sim, c, SIM_CHARGED, 300, false), last = sim_alloc(b.sim, c, SIM_CHARGED, 50, false);
                struct summary *s;
                int64_t slack;

                b.sim->tells_removals = true;
                b.sim->moves_unseen = unseen;
                s = summarize(&b, p);
                assert_int_equal(s->explained_bytes, 1350);
                assert_int_equal(s->at_removal, 0);
                slack = s->slack_bytes;
                summary_free(s);
                sim_release(b.sim, gone);
                sim_rmdir(b.sim, c);
                sim_release(b.sim, late);
                profile_mark_ended(p);
                s = summarize(&b, p);
                assert_true(s->frozen);
                assert_int_equal(s->at_removal, 1u << MEMCG_KERNEL | 1u << MEMCG_CURRENT);
                assert_int_equal(s->growth_bytes, 350);
                assert_int_equal(s->explained_bytes, 50);
                assert_int_equal(s->unattributed, 300);
                assert_int_equal(s->slack_bytes, slack + 300);
                assert_true(s->explained_us >= s->read_us);
                summary_free(s);
                sim_release(b.sim, last);
                s = summarize(&b, p);
                assert_int_equal(s->charged.kernel_bytes, 0);
                assert_int_equal(s->growth_bytes, 350);
                assert_int_equal(s->explained_bytes, 50);
                assert_int_equal(s->slack_bytes, slack + 300);
                summary_free(s);
                profile_free(p);
                engine_free(b.engine);
        }
}

/* A profile that was stopped keeps its last reading, whatever becomes of the cgroup. */
static void removed_after_the_end(void **state) {
        struct box b = open_box(CGROUP_V2);
        struct sim_cgroup *c = sim_mkdir(b.sim, b.top, "c");
        struct profile *p = start(&b, c);
        size_t object = sim_alloc(b.sim, c, SIM_CHARGED, 10, false);
        struct summary *s;

        b.sim->tells_removals = true;
        sim_publish(b.sim);
        profile_mark_ended(p);
        sim_release(b.sim, object);
        sim_rmdir(b.sim, c);
        s = summarize(&b, p);
        assert_int_equal(s->at_removal, 0);
        assert_int_equal(s->growth_bytes, 10);
        assert_int_equal(s->explained_bytes, 10);
        summary_free(s);
        profile_free(p);
        engine_free(b.engine);
}

static void host(void **state) {
        struct box b = open_box(CGROUP_V2);
        struct cgroup *cgroup = sim_open(b.sim, b.top);
        struct profile_label label = {.kind = "host", .started_by = "bus", .spec = {.mode = MODE_MULTI}};
        struct sim_cgroup *c = sim_mkdir(b.sim, b.top, "c");
        struct profile *inner = start(&b, c), *p;
        struct summary *s;

        free(cgroup->path);
        cgroup->path = strdup("/");
        assert_int_equal(profile_start(b.engine, cgroup, &label, &p, NULL), 0);
        sim_alloc(b.sim, c, SIM_CHARGED, 10, false);
        sim_alloc(b.sim, c, SIM_UNCHARGED, 20, false);
        s = summarize(&b, p);
        assert_string_equal(s->source, "/proc/meminfo");
        assert_int_equal(s->charged.kernel_bytes, 10);
        assert_int_equal(s->uncharged.kernel_bytes, 20);
        assert_false(s->growth_known);
        assert_string_equal(s->by_counter[MEMCG_SLAB].source, "/proc/meminfo");
        assert_int_equal(s->by_counter[MEMCG_SLAB].explained_bytes, 30);
        summary_free(s);
        profile_free(inner);
        profile_free(p);
        engine_free(b.engine);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(nested),
                cmocka_unit_test(resets),
                cmocka_unit_test(come_and_go),
                cmocka_unit_test(many_at_once),
                cmocka_unit_test(names_come_again),
                cmocka_unit_test(residue_is_old),
                cmocka_unit_test(no_room),
                cmocka_unit_test(sweeps_are_paced),
                cmocka_unit_test(sweeps_may_be_impossible),
                cmocka_unit_test(wishes),
                cmocka_unit_test(losses),
                cmocka_unit_test(frozen),
                cmocka_unit_test(frozen_at_removal),
                cmocka_unit_test(removed_after_the_end),
                cmocka_unit_test(host),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}

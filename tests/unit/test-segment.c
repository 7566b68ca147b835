/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Profiles held against the truth: a random history of cgroups, objects, starts, stops and resets, after each step of which
 * every profile must say what a look at all objects says. Now and then the process is killed, after something that it had not
 * written down, and another one takes its place. It finds what a hand-made history would not think of; the seed stands in the
 * message, so that a failure comes again with SEED=n.
 */
#include "unit.h"

#include "profile-state.h"
#include "segment-state.h"
#include "sim.h"
#include "summary.h"

#define STEPS 220
#define SEEDS 40
#define PROFILES_MAX 8
#define CGROUPS_MAX 12 /* at once */

struct subject {
        struct profile *profile; /* NULL: free */
        struct sim_cgroup *cgroup;
        int64_t baseline, lost; /* moment, and what had been lost then */
        bool shadowed;          /* a profile above knew memory of it from before the baseline, and keeps it to itself */
};

struct history {
        struct sim *sim;
        struct engine *engine;
        uint64_t seed, random;
        struct subject subjects[PROFILES_MAX];
        const char *did;
        char symbols[40];
        struct saved *saved;          /* what is written down; NULL: nothing is */
        const struct subject *ending; /* it is left out of that */
        struct subject before_reset;  /* as long as that has not succeeded */
        int64_t reset_us;
        bool scarce; /* there are too few groups, or folding fails at times */
};

static unsigned dice(struct history *h, unsigned n) {
        h->random = h->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        return (unsigned)(h->random >> 33) % n;
}

/* ---- the truth -----------------------------------------------------------------------------------------------------------
 */

struct truth {
        struct tracker_counts counts[_SIM_SITES];
        int64_t unmatched;    /* charged kernel memory from before the baseline that was freed since */
        int64_t unattributed; /* what the tracker could not keep in its table */
        int64_t anon;
};

static void look_at_new(struct truth *t, const struct sim_object *o) {
        struct tracker_counts *c = &t->counts[o->site];

        c->allocated_bytes += o->bytes;
        c->allocated_calls++;
        if (o->untracked) {
                c->untracked_bytes += o->bytes;
                c->untracked_calls++;
        } else if (o->freed && o->missed) {
                c->written_off_bytes += o->bytes;
                c->written_off_calls++;
        } else if (o->freed) {
                c->freed_bytes += o->bytes;
                c->freed_calls++;
        }
        if (o->site == SIM_USER)
                t->anon += o->freed ? 0 : o->bytes;
        else if (sim_site_charged(o->site) && o->untracked && !o->freed)
                t->unattributed += o->bytes;
}

static void look_at_old(struct truth *t, const struct sim_object *o) {
        if (o->site == SIM_USER)
                t->anon -= o->bytes;
        else if (sim_site_charged(o->site) && o->untracked)
                t->unattributed -= o->bytes;
        else if (sim_site_charged(o->site))
                t->unmatched += o->bytes;
}

static struct truth truth_of(const struct history *h, const struct subject *p) {
        struct truth t = {};

        for (size_t i = 0; i < h->sim->n_objects; i++) {
                const struct sim_object *o = &h->sim->objects[i];

                if (!sim_is_within(o->cgroup, p->cgroup))
                        continue;
                if (o->born > p->baseline)
                        look_at_new(&t, o);
                else if (o->freed > p->baseline)
                        look_at_old(&t, o);
        }
        return t;
}

/* ---- what profiles say ----------------------------------------------------------------------------------------------------
 */

static void same(const struct history *h, const struct subject *p, const char *what, int64_t got, int64_t wanted) {
        if (got != wanted)
                fail_msg("seed %llu, after %s (moment %lld): %s of %s is %lld, wanted %lld", (unsigned long long)h->seed,
                        h->did, (long long)h->sim->moment, what, p->cgroup->path, (long long)got, (long long)wanted);
}

/* The row of a site; the one without an address has no name that we know. */
static const struct row *row_of(const struct summary *s, enum sim_site site) {
        for (size_t i = 0; i < s->n_rows; i++) {
                const struct row *r = &s->rows[i];
                bool ours = r->function && sim_site_function(site) && streq(r->function, sim_site_function(site));

                if (ours || (site == SIM_STACKS && (!r->function || streq(r->function, "alloc_thread_stack_node"))))
                        return r;
        }
        return NULL;
}

static void check_rows(const struct history *h, const struct subject *p, const struct summary *s, const struct truth *t) {
        static const struct tracker_counts none;
        size_t rows = 0;

        for (enum sim_site site = 0; site < _SIM_SITES; site++) {
                const struct row *row = row_of(s, site);
                const struct tracker_counts *got = row ? &row->figures.counts : &none, *wanted = &t->counts[site];

                if (site == SIM_SLAB_PAGES)
                        continue;
                rows += wanted->allocated_calls > 0;
                same(h, p, "allocated", got->allocated_bytes, wanted->allocated_bytes);
                same(h, p, "allocated calls", got->allocated_calls, wanted->allocated_calls);
                same(h, p, "freed", got->freed_bytes, wanted->freed_bytes);
                same(h, p, "freed calls", got->freed_calls, wanted->freed_calls);
                same(h, p, "written off", got->written_off_bytes, wanted->written_off_bytes);
                same(h, p, "untracked", got->untracked_bytes, wanted->untracked_bytes);
        }
        same(h, p, "the number of rows", (int64_t)s->n_rows, (int64_t)rows);
}

static void check_account(const struct history *h, const struct subject *p, const struct summary *s, const struct truth *t) {
        bool v1 = h->sim->layout != CGROUP_V2;

        if (s->frozen)
                return;
        same(h, p, "growth", s->growth_bytes, s->explained_bytes - s->explained_unmatched + s->unattributed);
        same(h, p, "the growth of anon", s->by_counter[MEMCG_ANON].growth_bytes, t->anon);
        assert_string_equal(s->by_counter[MEMCG_ANON].source, v1 ? "tracepoint" : "memory.stat");
        if (p->shadowed && s->freed_unmatched < t->unmatched)
                return;
        same(h, p, "freed_unmatched", s->freed_unmatched, t->unmatched);
        same(h, p, "unattributed", s->unattributed, t->unattributed);
}

static void check_totals(const struct history *h, const struct subject *p, const struct summary *s, const struct truth *t) {
        struct profile_totals totals;
        int64_t bytes = 0, calls = 0;

        for (enum sim_site site = 0; site < _SIM_SITES; site++) {
                const struct tracker_counts *c = &t->counts[site];

                if (site == SIM_SLAB_PAGES || site == SIM_USER ||
                        measure_is_blind(sim_site_type(site), sim_site_charged(site), c))
                        continue;
                bytes += tracker_counts_live(c);
                calls += c->allocated_calls - c->freed_calls - c->written_off_calls - c->untracked_calls;
        }
        assert_int_equal(profile_totals(p->profile, &totals), 0);
        same(h, p, "live bytes", totals.live_bytes, bytes);
        same(h, p, "live bytes of the document", s->charged.kernel_bytes + s->uncharged.kernel_bytes, bytes);
        same(h, p, "live calls", totals.live_calls, calls);
}

static void check_subject(struct history *h, struct subject *p) {
        _cleanup_(summary_freep) struct summary *s = NULL;
        struct truth t = truth_of(h, p);
        int64_t refused = 0;

        assert_int_equal(profile_summary(p->profile, NULL, &s, NULL), 0);
        check_rows(h, p, s, &t);
        check_account(h, p, s, &t);
        same(h, p, "lost", s->lost[LOSS_RECURSION], h->sim->lost - p->lost);
        for (enum sim_site site = 0; site < _SIM_SITES; site++)
                refused += t.counts[site].untracked_calls;
        same(h, p, "refused", s->lost[LOSS_OBJECTS_FULL], refused);
        check_totals(h, p, s, &t);
}

/* There are never more groups than what tells each profile's baseline from those of the profiles above it. */
static void check_groups(const struct history *h) {
        size_t most = 0;

        for (size_t i = 0; i < PROFILES_MAX; i++)
                for (size_t j = 0; h->subjects[i].profile && j < PROFILES_MAX; j++)
                        if (h->subjects[j].profile && sim_is_within(h->subjects[i].cgroup, h->subjects[j].cgroup))
                                most += j == i ? 2 : 1;
        assert_int_equal(h->sim->n_groups, segments_count(engine_segments(h->engine)));
        if (!h->scarce && h->sim->n_groups > most)
                fail_msg("seed %llu, after %s (moment %lld): %u groups, wanted at most %zu", (unsigned long long)h->seed,
                        h->did, (long long)h->sim->moment, h->sim->n_groups, most);
}

static void check_all(struct history *h) {
        sim_publish(h->sim);
        check_groups(h);
        for (size_t i = 0; i < PROFILES_MAX; i++)
                if (h->subjects[i].profile)
                        check_subject(h, &h->subjects[i]);
}

/* ---- what happens ---------------------------------------------------------------------------------------------------------
 */

static struct subject *subject_of(struct history *h, const struct sim_cgroup *c) {
        for (size_t i = 0; i < PROFILES_MAX; i++)
                if (h->subjects[i].profile && h->subjects[i].cgroup == c)
                        return &h->subjects[i];
        return NULL;
}

static struct sim_cgroup *any_cgroup(struct history *h) {
        struct sim_cgroup *c;

        do
                c = h->sim->cgroups[dice(h, (unsigned)h->sim->n_cgroups)];
        while (c->gone);
        return c;
}

static bool under_another(struct history *h, const struct sim_cgroup *c) {
        for (const struct sim_cgroup *above = c->parent; above; above = above->parent)
                if (subject_of(h, above))
                        return true;
        return false;
}

static void allocate(struct history *h) {
        h->did = "an allocation";
        sim_alloc(h->sim, any_cgroup(h), dice(h, _SIM_SITES), 1 + dice(h, 1000), dice(h, 30) == 0);
}

static void release(struct history *h, bool unseen) {
        size_t start = h->sim->n_objects ? dice(h, (unsigned)h->sim->n_objects) : 0;

        h->did = unseen ? "a free that was missed" : "a free";
        for (size_t k = 0; k < h->sim->n_objects; k++) {
                size_t i = (start + k) % h->sim->n_objects;
                struct sim_object *o = &h->sim->objects[i];
                struct tracker_sweep sweep;

                if (o->freed || (unseen && !o->group1))
                        continue;
                if (!unseen) {
                        sim_release(h->sim, i);
                        return;
                }
                sim_release_unseen(h->sim, i);
                (void)h->sim->tracker.ops->sweep(&h->sim->tracker, &sweep);
                return;
        }
}

static void start(struct history *h) {
        _cleanup_(cgroup_freep) struct cgroup *cgroup = NULL;
        _cleanup_free_ char *sentence = NULL;
        struct sim_cgroup *c = any_cgroup(h);
        struct profile_label label = {.kind = "cgroup", .started_by = "bus", .spec = {.mode = MODE_AUTO}};
        struct subject *p = h->subjects;
        int r;

        h->did = "a start";
        while (p < h->subjects + PROFILES_MAX && p->profile)
                p++;
        if (subject_of(h, c) || p == h->subjects + PROFILES_MAX)
                return;
        sim_publish(h->sim);
        cgroup = sim_open(h->sim, c);
        r = profile_start(h->engine, cgroup, &label, &p->profile, &sentence);
        if (r == -ENOSPC && h->scarce) {
                assert_non_null(strstr(sentence, "groups are taken"));
                p->profile = NULL;
                return;
        }
        assert_int_equal(r, 0);
        (void)TAKE(cgroup);
        p->cgroup = c;
        p->baseline = h->sim->moment;
        p->lost = h->sim->lost;
        p->shadowed = under_another(h, c);
}

static struct subject *any_subject(struct history *h) {
        size_t start_at = dice(h, PROFILES_MAX);

        for (size_t i = 0; i < PROFILES_MAX; i++)
                if (h->subjects[(start_at + i) % PROFILES_MAX].profile)
                        return &h->subjects[(start_at + i) % PROFILES_MAX];
        return NULL;
}

static void stop(struct history *h) {
        struct subject *p = any_subject(h);

        h->did = "a stop";
        if (!p)
                return;
        h->ending = p;
        profile_free(p->profile);
        h->ending = NULL;
        *p = (struct subject){};
}

static int64_t reset_us_of(const struct subject *p) {
        json_t *state = profile_save(p->profile);
        int64_t us = json_integer_value(json_object_get(state, "reset_us"));

        json_decref(state);
        return us;
}

static void reset(struct history *h) {
        struct subject *p = any_subject(h);
        int r;

        h->did = "a reset";
        if (!p)
                return;
        sim_publish(h->sim);
        h->before_reset = *p;
        h->reset_us = reset_us_of(p);
        p->baseline = h->sim->moment;
        p->lost = h->sim->lost;
        p->shadowed = under_another(h, p->cgroup);
        r = profile_reset(p->profile);
        if ((r == -ENODEV && p->cgroup->gone) || (r == -ENOSPC && h->scarce))
                *p = h->before_reset;
        else
                assert_int_equal(r, 0);
        h->before_reset = (struct subject){};
}

/* Few names, so that they come again. */
static void make(struct history *h) {
        struct sim_cgroup *parent = any_cgroup(h);
        char name[] = {(char)('a' + dice(h, 3)), '\0'};
        size_t there = 0;

        h->did = "a mkdir";
        for (size_t i = 0; i < h->sim->n_cgroups; i++) {
                const struct sim_cgroup *c = h->sim->cgroups[i];

                there += !c->gone;
                if (!c->gone && c->parent == parent && streq(strrchr(c->path, '/') + 1, name))
                        return;
        }
        if (there < CGROUPS_MAX && strlen(parent->path) < 10)
                sim_mkdir(h->sim, parent, name);
}

static void take_away(struct history *h) {
        struct sim_cgroup *c = any_cgroup(h);
        struct subject *p = subject_of(h, c);

        h->did = "an rmdir";
        for (size_t i = 0; i < h->sim->n_cgroups; i++)
                if (!h->sim->cgroups[i]->gone && h->sim->cgroups[i]->parent == c)
                        return;
        if (!c->parent)
                return;
        sim_rmdir(h->sim, c);
        if (p)
                profile_mark_ended(p->profile);
}

/* ---- killed ---------------------------------------------------------------------------------------------------------------
 */

struct saved {
        json_t *segments, *states[PROFILES_MAX];
        struct subject subjects[PROFILES_MAX];
        uint64_t generation;
};

static void saved_done(struct saved *s) {
        json_decref(s->segments);
        for (size_t i = 0; i < PROFILES_MAX; i++)
                json_decref(s->states[i]);
        *s = (struct saved){};
}

static void save(struct history *h) {
        struct saved *s = h->saved;
        _cleanup_free_ char *text = NULL;

        saved_done(s);
        s->generation = h->sim->tracker.ops->mark(&h->sim->tracker);
        text = segments_save(engine_segments(h->engine));
        assert_non_null(text);
        s->segments = json_loads(text, 0, NULL);
        assert_non_null(s->segments);
        for (size_t i = 0; i < PROFILES_MAX; i++) {
                if (!h->subjects[i].profile || &h->subjects[i] == h->ending)
                        continue;
                s->states[i] = profile_save(h->subjects[i].profile);
                s->subjects[i] = h->subjects[i];
                assert_non_null(s->states[i]);
                if (h->before_reset.profile == h->subjects[i].profile && reset_us_of(&h->subjects[i]) == h->reset_us)
                        s->subjects[i] = h->before_reset;
        }
}

/* In the midst of something: a baseline that fails leaves what is written down as it was, and a start is not there yet. */
static void before_move(void *userdata) {
        struct history *h = userdata;

        if (h->saved && !h->ending) /* what ends was left out before */
                save(h);
}

static void kill_engine(struct history *h) {
        engine_leave(h->engine);
        for (size_t i = 0; i < PROFILES_MAX; i++)
                if (h->subjects[i].profile)
                        profile_free(h->subjects[i].profile);
        engine_free(h->engine);
        memset(h->subjects, 0, sizeof(h->subjects));
}

/* Whose cgroups they are. */
static struct sim *reopened;

static int reopen(const struct cgroup_root *root, const char *path, uint64_t id, struct cgroup **ret) {
        for (size_t i = 0; i < reopened->n_cgroups; i++)
                if (!reopened->cgroups[i]->gone && reopened->cgroups[i]->id == id) {
                        *ret = sim_open(reopened, reopened->cgroups[i]);
                        return 0;
                }
        *ret = calloc(1, sizeof(**ret));
        **ret = (struct cgroup){.path = strdup(path), .fd = -1, .id = id, .layout = reopened->layout};
        return 0;
}

/* Written to text and read again, as it is. */
static json_t *through_text(json_t *state) {
        _cleanup_free_ char *text = json_dumps(state, 0);
        json_t *again = json_loads(text, 0, NULL);

        assert_non_null(again);
        json_decref(state);
        return again;
}

static void restore(struct history *h, struct saved *s) {
        struct profile *profiles[PROFILES_MAX];
        const json_t *states[PROFILES_MAX];
        _cleanup_free_ char *first_bad = NULL, *sentence = NULL;
        size_t n = 0;

        reopened = h->sim;
        assert_int_equal(engine_new_at(&h->sim->tracker, NULL, h->symbols, &h->engine), 0);
        for (size_t i = 0; i < PROFILES_MAX; i++)
                if (s->states[i])
                        states[n++] = s->states[i] = through_text(s->states[i]);
        if (profiles_restore(h->engine, reopen, s->segments, s->generation, states, n, profiles, &first_bad, &sentence) < 0)
                fail_msg("seed %llu: %s", (unsigned long long)h->seed, sentence);
        if (first_bad)
                fail_msg("seed %llu: %s", (unsigned long long)h->seed, first_bad);
        segments_tell_before(engine_segments(h->engine), before_move, h);
        for (size_t i = PROFILES_MAX; i-- > 0;) {
                if (!s->states[i])
                        continue;
                h->subjects[i] = s->subjects[i];
                h->subjects[i].profile = profiles[--n];
                assert_non_null(profiles[n]);
        }
}

static void a_while(struct history *h) {
        for (unsigned n = dice(h, 6); n > 0; n--)
                if (dice(h, 2))
                        allocate(h);
                else
                        release(h, false);
}

/* After something that was not written down, or just half of it; what is to end is written down before that. */
static void killed(struct history *h) {
        struct saved saved = {};

        h->saved = &saved;
        h->ending = dice(h, 3) == 0 ? any_subject(h) : NULL;
        save(h);
        if (h->ending && dice(h, 2)) {
                struct subject *p = &h->subjects[h->ending - h->subjects];

                profile_free(p->profile);
                *p = (struct subject){};
        } else if (!h->ending && dice(h, 3)) {
                a_while(h);
                if (dice(h, 2))
                        start(h);
                else
                        reset(h);
        }
        a_while(h);
        kill_engine(h);
        a_while(h);
        restore(h, &saved);
        saved_done(&saved);
        h->saved = NULL;
        h->ending = NULL;
        h->did = "a kill";
}

static void step(struct history *h) {
        unsigned n = dice(h, 106);

        if (n < 38)
                allocate(h);
        else if (n < 58)
                release(h, false);
        else if (n < 61)
                release(h, true);
        else if (n < 70)
                start(h);
        else if (n < 74)
                stop(h);
        else if (n < 80)
                reset(h);
        else if (n < 89)
                make(h);
        else if (n < 96)
                take_away(h);
        else if (n < 98)
                h->sim->lost++;
        else if (n >= 100)
                killed(h);
        else
                h->sim->fold_fails = h->scarce && dice(h, 2);
}

static void run(uint64_t seed) {
        struct history h = {
                .seed = seed, .random = seed * 7919 + 1, .scarce = seed % 4 == 3, .symbols = "/tmp/memcgprof-symbols-XXXXXX"};

        h.sim = sim_new(seed % 2 ? CGROUP_V2 : CGROUP_V1);
        if (h.scarce)
                h.sim->groups_max = 5 + (unsigned)(seed % 8);
        sim_write_symbols(h.symbols);
        assert_int_equal(engine_new_at(&h.sim->tracker, NULL, h.symbols, &h.engine), 0);
        segments_tell_before(engine_segments(h.engine), before_move, &h);
        sim_mkdir(h.sim, NULL, "r");
        for (int i = 0; i < STEPS; i++) {
                step(&h);
                h.sim->tracker.ops->clean(&h.sim->tracker); /* as an idle moment does */
                check_all(&h);
        }
        while (any_subject(&h))
                stop(&h);
        assert_int_equal(h.sim->n_groups, 0);
        unlink(h.symbols);
        engine_free(h.engine);
}

static void random_histories(void **state) {
        const char *seed = getenv("SEED");

        if (seed) {
                run(strtoull(seed, NULL, 10));
                return;
        }
        for (uint64_t i = 1; i <= SEEDS; i++)
                run(i);
}

int main(void) {
        const struct CMUnitTest tests[] = {cmocka_unit_test(random_histories)};

        return cmocka_run_group_tests(tests, NULL, NULL);
}

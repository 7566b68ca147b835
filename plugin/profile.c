/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One measurement from its baseline on: what the tracker counted since then, by site, beside what the memcg's own counters say.
 */
#include <time.h>

#include "measure.h"
#include "profile.h"
#include "summary.h"

/* A symbol that is not in the table may belong to a module that was loaded since: look again, but not all the time. */
#define RELOAD_INTERVAL_US (10 * 1000000)

struct engine {
        struct tracker *tracker;
        struct cgroup_root *cgroups;
        struct groups *groups;
        struct symbols *symbols; /* NULL: not readable */
        char *kallsyms;
        int64_t loaded_us;
};

/* The events' side of the account. */
struct explanation {
        bool known;
        int64_t charged; /* live kernel bytes */
        int64_t freed_unmatched;
};

struct profile {
        struct engine *engine;
        struct cgroup *cgroup;
        struct profile_label label;
        unsigned group;
        enum profile_state state;
        int64_t started_us, reset_us;
        struct memcg_counters baseline, last; /* last: latest good reading */
        int64_t baseline_drift;               /* between the readings around the moment of arming */
        bool gone;                            /* `last` is final */
        struct explanation noted;             /* what the sites explained when `last` was read by profile_note_counters() */
        struct measures base;                 /* at the last reset; empty before */
};

static int64_t now_us(clockid_t clock) {
        struct timespec t;

        clock_gettime(clock, &t);
        return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

/* ---- engine ---------------------------------------------------------------------------------------------------------------
 */

static void load_symbols(struct engine *e) {
        struct symbols *s;

        e->loaded_us = now_us(CLOCK_MONOTONIC);
        if (symbols_load(e->kallsyms, &s, NULL) < 0)
                return;
        symbols_free(e->symbols);
        e->symbols = s;
}

int engine_new(struct tracker *tracker, const char *kallsyms, struct engine **ret, char **reterr) {
        _cleanup_(engine_freep) struct engine *e = calloc(1, sizeof(*e));
        int r;

        if (!e)
                return -ENOMEM;
        r = cgroup_root_new(&e->cgroups, reterr);
        if (r < 0)
                return r;
        e->groups = groups_new();
        e->kallsyms = strdup(kallsyms);
        if (!e->groups || !e->kallsyms)
                return -ENOMEM;
        load_symbols(e);
        e->tracker = tracker;
        *ret = TAKE(e);
        return 0;
}

struct engine *engine_free(struct engine *e) {
        if (!e)
                return NULL;
        tracker_free(e->tracker);
        cgroup_root_free(e->cgroups);
        groups_free(e->groups);
        symbols_free(e->symbols);
        free(e->kallsyms);
        free(e);
        return NULL;
}

const struct cgroup_root *engine_cgroups(const struct engine *e) {
        return e->cgroups;
}

struct groups *engine_groups(const struct engine *e) {
        return e->groups;
}

const char *engine_backend(const struct engine *e) {
        return e->tracker->ops->backend;
}

void engine_clean(struct engine *e) {
        e->tracker->ops->clean(e->tracker);
}

/* ---- what it is --------------------------------------------------------------------------------------------------------- */

const struct cgroup *profile_cgroup(const struct profile *p) {
        return p->cgroup;
}

struct profile_label *profile_label(struct profile *p) {
        return &p->label;
}

enum profile_state profile_state(const struct profile *p) {
        return p->state;
}

/* ---- life -----------------------------------------------------------------------------------------------------------------
 */

static int64_t kernel_of(const struct memcg_counters *c) {
        if (!memcg_knows(c, MEMCG_KERNEL))
                return 0;
        /* zswap is billed without an allocation of the container's: kept out of what has to be explained */
        return c->value[MEMCG_KERNEL] - (memcg_knows(c, MEMCG_ZSWAP) ? c->value[MEMCG_ZSWAP] : 0);
}

/* Arms the group between two readings of the memcg: the truth's baseline lies between them. */
static int arm(struct profile *p, char **reterr) {
        struct tracker *t = p->engine->tracker;
        struct tracker_wish wish = {};
        struct memcg_counters after;
        int r;

        r = memcg_read(p->cgroup, &p->baseline);
        if (r < 0)
                return fail(reterr, r, "The counters of the cgroup %s cannot be read: %s.", p->cgroup->path, strerror(-r));
        r = t->ops->begin(t, p->cgroup, &wish, &p->group, reterr);
        if (r < 0)
                return r;
        if (memcg_read(p->cgroup, &after) >= 0) {
                p->baseline_drift = llabs(kernel_of(&after) - kernel_of(&p->baseline));
                p->baseline = after;
        }
        p->last = p->baseline;
        return 0;
}

int profile_start(struct engine *e, struct cgroup *cgroup, struct profile_label *label, struct profile **ret, char **reterr) {
        _cleanup_free_ struct profile *p = calloc(1, sizeof(*p));
        int r;

        if (!p)
                return -ENOMEM;
        p->engine = e;
        p->cgroup = cgroup;
        p->started_us = now_us(CLOCK_REALTIME);
        r = arm(p, reterr);
        if (r < 0)
                return r;
        p->label = *label;
        *label = (struct profile_label){};
        p->state = PROFILE_ACTIVE;
        *ret = TAKE(p);
        return 0;
}

struct profile *profile_free(struct profile *p) {
        if (!p)
                return NULL;
        p->engine->tracker->ops->end(p->engine->tracker, p->group);
        cgroup_free(p->cgroup);
        profile_label_done(&p->label);
        free(p->base.items);
        free(p);
        return NULL;
}

static int read_counters(struct profile *p) {
        struct memcg_counters c;
        int r;

        if (p->gone)
                return -ENODEV;
        r = memcg_read(p->cgroup, &c);
        if (r < 0) {
                p->gone = r == -ENODEV;
                return r;
        }
        p->last = c;
        return 0;
}

/* ---- measuring ------------------------------------------------------------------------------------------------------------
 */

/* Everything since the group began; symbols' names point into the engine's table. */
static int measure(struct profile *p, struct measures *ret) {
        _cleanup_(tracker_sample_done) struct tracker_sample sample = {};
        struct engine *e = p->engine;
        struct measures m;
        size_t missing;
        int r;

        r = e->tracker->ops->read(e->tracker, p->group, &sample);
        if (r < 0)
                return r;
        r = measures_take(e->symbols, &sample, &m, &missing);
        if (r < 0)
                return r;
        if (missing > 0 && now_us(CLOCK_MONOTONIC) - e->loaded_us > RELOAD_INTERVAL_US) {
                measures_done(&m);
                load_symbols(e);
                r = measures_take(e->symbols, &sample, &m, &missing);
                if (r < 0)
                        return r;
        }
        measures_scale(&m);
        *ret = m;
        return 0;
}

static struct explanation explain(const struct measures *m) {
        return (struct explanation){.known = true, .freed_unmatched = m->freed_unmatched, .charged = measures_explain(m)};
}

int profile_note_counters(struct profile *p) {
        struct measures m;
        int r;

        r = read_counters(p);
        if (r < 0)
                return r;
        r = measure(p, &m);
        if (r < 0)
                return r;
        measures_subtract(&m, &p->base);
        p->noted = explain(&m);
        free(m.items);
        return 0;
}

void profile_mark_ended(struct profile *p) {
        (void)profile_note_counters(p);
        p->gone = true;
        p->state = PROFILE_ENDED;
}

int profile_reset(struct profile *p) {
        struct measures m;
        int r;

        if (p->gone)
                return -ENODEV;
        r = measure(p, &m);
        if (r < 0)
                return r;
        r = read_counters(p);
        if (r < 0) {
                free(m.items);
                return r;
        }
        free(p->base.items);
        p->base = m;
        p->baseline = p->last;
        p->noted = (struct explanation){};
        p->baseline_drift = 0;
        p->reset_us = now_us(CLOCK_REALTIME);
        return 0;
}

/* ---- summary --------------------------------------------------------------------------------------------------------------
 */

static void add_user_total(const struct profile *p, struct summary *s) {
        const uint32_t both = 1u << MEMCG_ANON | 1u << MEMCG_FILE;
        const struct memcg_counters *b = &p->baseline, *n = &p->last;

        if ((b->known & n->known & both) != both)
                return;
        s->charged.known[TYPE_USER] = true;
        s->charged.by_type[TYPE_USER] =
                n->value[MEMCG_ANON] + n->value[MEMCG_FILE] - b->value[MEMCG_ANON] - b->value[MEMCG_FILE];
}

/*
 * How far the memcg's counter may stand from the events without anything being wrong: what it moved while we read, one page per
 * CPU of the object stocks, and on v2 up to 64 pages per CPU that memory.stat has not folded in yet (MEMCG_CHARGE_BATCH).
 */
static int64_t slack(const struct profile *p, int64_t drift) {
        int64_t page = sysconf(_SC_PAGESIZE), cpus = sysconf(_SC_NPROCESSORS_ONLN);
        int64_t pages = p->cgroup->layout == CGROUP_V2 ? 64 * cpus : cpus + 1;

        return drift + p->baseline_drift + pages * page;
}

/* Both sides of one moment: when the memcg is gone, what the sites explained when it was last read. */
static void reconcile(struct profile *p, struct summary *s, const struct memcg_counters *before) {
        bool noted = p->gone && p->noted.known;

        s->source = memcg_source(p->cgroup);
        s->frozen = p->gone;
        s->baseline = p->baseline;
        s->now = p->last;
        s->growth_known = memcg_knows(&p->baseline, MEMCG_KERNEL) && memcg_knows(&p->last, MEMCG_KERNEL);
        s->explained_bytes = noted ? p->noted.charged : s->charged.kernel_bytes;
        s->explained_unmatched = noted ? p->noted.freed_unmatched : s->freed_unmatched;
        s->slack_bytes = slack(p, llabs(kernel_of(&p->last) - kernel_of(before)));
        if (!s->growth_known)
                return;
        s->growth_bytes = kernel_of(&p->last) - kernel_of(&p->baseline);
        s->unattributed = s->growth_bytes - s->explained_bytes + s->explained_unmatched;
}

static int fill_head(struct profile *p, struct summary *s) {
        s->backend = engine_backend(p->engine);
        s->state = p->state;
        s->mode = MODE_SINGLE;
        s->cgroup = strdup(p->cgroup->path);
        s->cgroup_id = p->cgroup->id;
        s->started_us = p->started_us;
        s->reset_us = p->reset_us;
        s->at_us = now_us(CLOCK_REALTIME);
        return s->cgroup ? profile_label_copy(&p->label, &s->label) : -ENOMEM;
}

int profile_summary(struct profile *p, const struct filter *filter, struct summary **ret, char **reterr) {
        _cleanup_(summary_freep) struct summary *s = calloc(1, sizeof(*s));
        struct memcg_counters before;
        struct measures m;
        int r;

        if (!s)
                return -ENOMEM;
        (void)read_counters(p);
        before = p->last;
        r = measure(p, &m);
        if (r < 0)
                return fail(reterr, r, "The counters of the profile cannot be read: %s.", strerror(-r));
        (void)read_counters(p);
        measures_subtract(&m, &p->base);
        r = summary_take(s, &m, gfp_bits_running());
        free(m.items);
        add_user_total(p, s);
        reconcile(p, s, &before);
        if (r >= 0)
                r = fill_head(p, s);
        if (r >= 0)
                r = summary_apply(s, filter);
        if (r < 0)
                return r;
        *ret = TAKE(s);
        return 0;
}

int profile_totals(struct profile *p, struct profile_totals *ret) {
        struct profile_totals totals = {};
        struct measures m;
        int r;

        r = measure(p, &m);
        if (r < 0)
                return r;
        measures_subtract(&m, &p->base);
        measures_live(&m, &totals.live_bytes, &totals.live_calls);
        for (size_t i = 0; i < _LOSS_MAX; i++)
                totals.lost += (uint64_t)m.lost[i];
        free(m.items);
        *ret = totals;
        return 0;
}

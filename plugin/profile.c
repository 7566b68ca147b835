/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One measurement from its baseline on: what the tracker counted since then, by site, beside what the memcg's own counters say.
 * Which groups of the tracker that is the sum of is segment.c's business.
 */
#include <time.h>

#include "profile-private.h"
#include "summary.h"

static int64_t now_us(void) {
        struct timespec t;

        clock_gettime(CLOCK_REALTIME, &t);
        return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
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

static struct tracker_wish wish_of(const struct spec *spec) {
        return (struct tracker_wish){
                .page_sample = spec->stacks == STACKS_ALL ? 1 : spec->sample,
                .numa = spec->numa,
        };
}

/* Begins between two readings of the memcg: the truth's baseline lies between them. */
static int begin(struct profile *p, const struct spec *spec, char **reterr) {
        struct tracker_wish wish = wish_of(spec);
        int r;

        r = account_open(&p->account, p->cgroup);
        if (r < 0)
                return fail(reterr, r, "The counters of the cgroup %s cannot be read: %s.", p->cgroup->path, strerror(-r));
        r = scope_begin(engine_segments(p->engine), p->cgroup, &wish, &p->scope, reterr);
        if (r < 0)
                return r;
        account_opened(&p->account, p->cgroup);
        segments_tidy(engine_segments(p->engine));
        return 0;
}

int profile_start(struct engine *e, struct cgroup *cgroup, struct profile_label *label, struct profile **ret, char **reterr) {
        _cleanup_free_ struct profile *p = calloc(1, sizeof(*p));
        int r;

        if (!p)
                return -ENOMEM;
        p->engine = e;
        p->cgroup = cgroup;
        p->started_us = now_us();
        r = begin(p, &label->spec, reterr);
        if (r < 0)
                return r;
        p->label = *label;
        *label = (struct profile_label){};
        p->state = PROFILE_ACTIVE;
        p->mode = groups_effective_mode(engine_groups(e));
        *ret = TAKE(p);
        return 0;
}

/* When the machine was booted. */
static int64_t boot_us(void) {
        struct timespec t;

        clock_gettime(CLOCK_BOOTTIME, &t);
        return now_us() - t.tv_sec * INT64_C(1000000) - t.tv_nsec / 1000;
}

int profile_start_record(struct engine *e, const char *root, struct cgroup *cgroup, struct profile_label *label,
        struct profile **ret, char **reterr) {
        _cleanup_free_ struct profile *p = calloc(1, sizeof(*p));
        _cleanup_free_ char *copy = strdup(root);
        int r;

        if (!p || !copy)
                return -ENOMEM;
        r = account_open(&p->account, cgroup);
        if (r < 0)
                return fail(reterr, r, "The counters of the host cannot be read: %s.", strerror(-r));
        p->engine = e;
        p->cgroup = cgroup;
        p->started_us = boot_us();
        p->record_root = TAKE(copy);
        p->label = *label;
        *label = (struct profile_label){};
        p->state = PROFILE_ACTIVE;
        p->mode = groups_effective_mode(engine_groups(e));
        *ret = TAKE(p);
        return 0;
}

bool profile_is_record(const struct profile *p) {
        return p->record_root;
}

int profile_check_filter(const struct profile *p, const struct filter *filter, char **reterr) {
        return p->record_root ? allocinfo_check_filter(filter, reterr) : filter_check_summary(filter, reterr);
}

struct profile *profile_free(struct profile *p) {
        if (!p)
                return NULL;
        if (p->scope)
                scope_end(p->scope);
        free(p->record_root);
        cgroup_free(p->cgroup);
        profile_label_done(&p->label);
        free(p);
        return NULL;
}

/* Once the cgroup is gone: rows first, so that what is freed after the kernel's reading is seen to move its counter. */
static void settle(struct profile *p) {
        struct tracker_removal removal;
        struct sample_sum sum;
        bool told;

        if (p->account.settled || p->record_root)
                return;
        told = scope_sum(p->scope, &sum) >= 0 && scope_removal(p->scope, &removal) >= 0;
        account_settle(&p->account, told ? &removal : NULL, told ? &sum : NULL, now_us());
}

static int read_counters(struct profile *p) {
        int r = account_read(&p->account, p->cgroup);

        if (r == -ENODEV)
                settle(p);
        return r;
}

int profile_note_counters(struct profile *p) {
        int r;

        r = read_counters(p);
        if (r < 0 || p->record_root)
                return r;
        return scope_sum(p->scope, &p->account.noted);
}

/* The mode of an ended profile is the one it had: what is in force later is none of its business. */
static enum mode note_mode(struct profile *p) {
        enum mode mode = groups_effective_mode(engine_groups(p->engine));

        if (p->state == PROFILE_ACTIVE && mode != MODE_OFF)
                p->mode = mode;
        return p->mode;
}

void profile_mark_ended(struct profile *p) {
        (void)profile_note_counters(p);
        (void)note_mode(p);
        settle(p);
        p->state = PROFILE_ENDED;
}

static void add_gap(struct profile_label *l, const char *word, const char *reason) {
        if (l->n_gaps < ELEMENTS(l->gaps))
                l->gaps[l->n_gaps++] = (struct spec_gap){word, reason};
}

int profile_step_down(struct profile *p, char **reterr) {
        struct profile_label *l = &p->label;
        bool all = l->spec.stacks == STACKS_ALL;
        struct tracker_wish wish = {.page_sample = all ? l->spec.sample : TRACKER_NO_SAMPLES};
        int r;

        if (p->record_root || p->state != PROFILE_ACTIVE || p->unsampled)
                return 0;
        r = scope_set_wish(p->scope, &wish, reterr);
        if (r < 0)
                return r;
        if (all) {
                l->spec.stacks = STACKS_SAMPLED;
                add_gap(l, "stacks=all", "They cost more than CpuBudget= allows; pages are named by samples since then.");
        } else {
                l->spec.stacks = STACKS_OFF;
                p->unsampled = true;
                add_gap(l, "stacks", "Samples cost more than CpuBudget= allows; pages have no names since then.");
        }
        return 1;
}

int profile_reset(struct profile *p) {
        struct account account;
        int r;

        if (p->record_root)
                return -EOPNOTSUPP;
        if (p->account.gone)
                return -ENODEV;
        r = account_open(&account, p->cgroup);
        if (r == -ENODEV)
                settle(p);
        if (r < 0)
                return r;
        r = scope_renew(p->scope, NULL);
        if (r < 0)
                return r;
        account_opened(&account, p->cgroup);
        p->account = account;
        p->reset_us = now_us();
        segments_tidy(engine_segments(p->engine));
        return 0;
}

/* ---- summary --------------------------------------------------------------------------------------------------------------
 */

static void add_user_total(const struct profile *p, struct summary *s) {
        const uint32_t both = 1u << MEMCG_ANON | 1u << MEMCG_FILE;
        const struct memcg_counters *b = &p->account.baseline, *n = &p->account.last;

        if ((b->known & n->known & both) != both)
                return;
        s->charged.known[TYPE_USER] = true;
        s->charged.by_type[TYPE_USER] =
                n->value[MEMCG_ANON] + n->value[MEMCG_FILE] - b->value[MEMCG_ANON] - b->value[MEMCG_FILE];
}

static int fill_head(struct profile *p, struct summary *s) {
        s->backend = p->record_root ? "alloc-tags" : engine_backend(p->engine);
        s->state = p->state;
        s->mode = note_mode(p);
        s->cgroup = strdup(p->cgroup->path);
        s->cgroup_id = p->cgroup->id;
        s->started_us = p->started_us;
        s->reset_us = p->reset_us;
        s->at_us = now_us();
        return s->cgroup ? profile_label_copy(&p->label, &s->label) : -ENOMEM;
}

/* All that a summary says before it is filtered. */
static int fill(
        struct profile *p, const struct tracker_sample *sample, const struct memcg_counters *before, struct summary *s) {
        _cleanup_(measures_done) struct measures m = {};
        struct sample_sum sum = {};
        int r;

        r = names_measure(engine_names(p->engine), sample, &m);
        if (r < 0)
                return r;
        measures_scale(&m);
        if (m.swept_at_us < p->started_us)
                m.swept_at_us = 0; /* it looked at none of this profile's objects */
        sample_sum_add(&sum, engine_names(p->engine), sample);
        r = summary_take(s, &m, gfp_bits_running());
        if (r < 0)
                return r;
        add_user_total(p, s);
        account_fill(&p->account, p->cgroup, before, &sum, s);
        if (!p->account.gone)
                p->account.noted = sum; /* of the moment of the last reading */
        return fill_head(p, s);
}

/* Counters of /proc/meminfo stand beside the rows and are not held against them: the record began with the machine. */
static int record_summary(struct profile *p, const struct filter *filter, struct summary **ret, char **reterr) {
        _cleanup_(summary_freep) struct summary *s = calloc(1, sizeof(*s));
        _cleanup_(allocinfo_freep) struct allocinfo *record = NULL;
        const struct sample_sum none = {};
        int r;

        if (!s)
                return -ENOMEM;
        r = allocinfo_read(p->record_root, &allocinfo_ops_live, filter, &record, reterr);
        p->state = r < 0 ? PROFILE_FAILED : PROFILE_ACTIVE;
        if (r < 0)
                return r;
        (void)account_read(&p->account, p->cgroup);
        account_fill(&p->account, p->cgroup, &p->account.last, &none, s);
        r = summary_take_record(s, record, filter);
        if (r < 0)
                return r;
        (void)TAKE(record);
        r = fill_head(p, s);
        if (r < 0)
                return r;
        *ret = TAKE(s);
        return 0;
}

static int read_summary(struct profile *p, const struct filter *filter, bool sweep, struct summary **ret, char **reterr) {
        _cleanup_(summary_freep) struct summary *s = calloc(1, sizeof(*s));
        _cleanup_(tracker_sample_done) struct tracker_sample sample = {};
        struct memcg_counters before;
        int64_t sweep_us;
        int r;

        if (p->record_root)
                return record_summary(p, filter, ret, reterr);
        if (!s)
                return -ENOMEM;
        sweep_us = sweep ? engine_sweep(p->engine) : 0;
        (void)read_counters(p);
        before = p->account.last;
        r = scope_read(p->scope, &sample);
        if (r < 0)
                return fail(reterr, r, "The counters of the profile cannot be read: %s.", strerror(-r));
        (void)read_counters(p);
        r = fill(p, &sample, &before, s);
        if (r >= 0)
                r = summary_apply(s, filter);
        if (r < 0)
                return r;
        s->sweep_us = sweep_us;
        *ret = TAKE(s);
        return 0;
}

int profile_summary(struct profile *p, const struct filter *filter, struct summary **ret, char **reterr) {
        return read_summary(p, filter, true, ret, reterr);
}

int profile_glance(struct profile *p, const struct filter *filter, struct summary **ret, char **reterr) {
        return read_summary(p, filter, false, ret, reterr);
}

/* Lists go on without it where the kernel has taken its record away; a summary says why. */
static int record_totals(struct profile *p, struct profile_totals *ret) {
        _cleanup_(allocinfo_freep) struct allocinfo *a = NULL;
        int r = allocinfo_read(p->record_root, &allocinfo_ops_live, NULL, &a, NULL);

        if (r == -ENOMEM)
                return r;
        p->state = r < 0 ? PROFILE_FAILED : PROFILE_ACTIVE;
        *ret = (struct profile_totals){.live_bytes = a ? a->total.bytes : 0, .live_calls = a ? a->total.calls : 0};
        return 0;
}

int profile_totals(struct profile *p, struct profile_totals *ret) {
        struct sample_sum sum;
        int r;

        if (p->record_root)
                return record_totals(p, ret);

        r = scope_sum(p->scope, &sum);
        if (r < 0)
                return r;
        *ret = (struct profile_totals){.live_bytes = sum.live_bytes, .live_calls = sum.live_calls};
        for (size_t i = 0; i < _LOSS_MAX; i++)
                ret->lost += (uint64_t)sum.lost[i];
        return 0;
}

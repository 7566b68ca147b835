/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See reconcile.h. */
#include "reconcile.h"

static int64_t kernel_of(const struct memcg_counters *c) {
        if (!memcg_knows(c, MEMCG_KERNEL))
                return 0;
        /* zswap is billed without an allocation of the container's: kept out of what has to be explained */
        return c->value[MEMCG_KERNEL] - (memcg_knows(c, MEMCG_ZSWAP) ? c->value[MEMCG_ZSWAP] : 0);
}

/* ---- readings ------------------------------------------------------------------------------------------------------------
 */

/* What is not to change when setting the baseline fails later on is put aside by the caller. */
int account_open(struct account *a, const struct cgroup *c) {
        struct account opened = {};
        int r;

        r = memcg_read(c, &opened.baseline);
        if (r < 0)
                return r;
        opened.last = opened.baseline;
        *a = opened;
        return 0;
}

void account_opened(struct account *a, const struct cgroup *c) {
        struct memcg_counters after;

        if (memcg_read(c, &after) < 0)
                return;
        a->baseline_drift = llabs(kernel_of(&after) - kernel_of(&a->baseline));
        a->baseline = a->last = after;
}

int account_read(struct account *a, const struct cgroup *c) {
        struct memcg_counters now;
        int r;

        if (a->gone)
                return -ENODEV;
        r = memcg_read(c, &now);
        if (r < 0) {
                a->gone = r == -ENODEV;
                return r;
        }
        a->last = now;
        return 0;
}

/*
 * At most so much was freed between the removal and `sum`: what was freed since the last reading, less what the counter fell by
 * before the removal. What nobody could explain then may have been a part of that fall.
 */
static int64_t freed_after(const struct account *a, const struct memcg_counters *last, const struct sample_sum *sum) {
        const struct sample_sum *noted = &a->noted;
        int64_t freed = sum->charged_gone + sum->freed_unmatched - noted->charged_gone - noted->freed_unmatched,
                fell = kernel_of(last) - kernel_of(&a->last),
                unexplained = kernel_of(last) - kernel_of(&a->baseline) - noted->charged_bytes + noted->freed_unmatched;

        freed -= fell > 0 ? fell : 0;
        freed += llabs(unexplained);
        return freed > 0 ? freed : 0;
}

void account_settle(struct account *a, const struct tracker_removal *removal, const struct sample_sum *sum, int64_t sum_us) {
        struct memcg_counters last = a->last;

        a->gone = a->settled = true;
        a->read_us = a->last.at_us;
        if (!removal)
                return;
        for (enum memcg_counter k = 0; k < _MEMCG_MAX; k++)
                if (memcg_knows(&removal->counters, k))
                        a->last.value[k] = removal->counters.value[k];
        a->last.known |= a->at_removal = removal->counters.known;
        if (!(a->at_removal & 1u << MEMCG_KERNEL)) /* then what was explained with the last reading stays with it */
                return;
        a->last.at_us = removal->counters.at_us;
        a->removal_slack = removal->moved_known ? llabs(removal->moved) : freed_after(a, &last, sum);
        a->noted = *sum;
        a->noted_us = sum_us;
}

/* ---- the account ---------------------------------------------------------------------------------------------------------
 */

/*
 * How far the memcg's counter may stand from the events without anything being wrong: what it moved while we read, one page per
 * CPU of the object stocks, and on v2 up to 64 pages per CPU that memory.stat has not folded in yet (MEMCG_CHARGE_BATCH).
 */
static int64_t slack(const struct account *a, const struct cgroup *c, const struct memcg_counters *before) {
        int64_t page = sysconf(_SC_PAGESIZE), cpus = sysconf(_SC_NPROCESSORS_ONLN);
        int64_t pages = c->layout == CGROUP_V2 ? 64 * cpus : cpus + 1;

        return llabs(kernel_of(&a->last) - kernel_of(before)) + a->baseline_drift + a->removal_slack + pages * page;
}

static void fill_growth(const struct account *a, const struct cgroup *c, const struct sample_sum *sum, enum memcg_counter k,
        struct summary_counter *ret) {
        if (memcg_knows(&a->baseline, k) && memcg_knows(&a->last, k)) {
                ret->source = memcg_counter_source(c, k);
                ret->growth_bytes = a->last.value[k] - a->baseline.value[k];
        } else if (memcg_knows(&sum->states, k)) {
                ret->source = "tracepoint";
                ret->growth_bytes = sum->states.value[k];
        }
}

/* The host's counters make no difference between charged and not, so that both explain them. */
static void fill_explained(
        const struct cgroup *c, const struct sample_sum *sum, enum memcg_counter k, struct summary_counter *ret) {
        ret->explained_known = memcg_knows(&sum->charged, k) || (cgroup_is_host(c) && memcg_knows(&sum->uncharged, k));
        ret->explained_bytes = sum->charged.value[k] + (cgroup_is_host(c) ? sum->uncharged.value[k] : 0);
}

static void fill_counters(const struct account *a, const struct cgroup *c, const struct sample_sum *sum, struct summary *s) {
        for (enum memcg_counter k = 0; k < _MEMCG_MAX; k++) {
                struct summary_counter counter = {};

                fill_growth(a, c, sum, k, &counter);
                if (s->live_known)
                        fill_explained(c, sum, k, &counter);
                s->by_counter[k] = counter;
        }
}

void account_fill(const struct account *a, const struct cgroup *c, const struct memcg_counters *before,
        const struct sample_sum *now, struct summary *s) {
        bool noted = a->gone && a->noted.n_samples > 0;
        const struct sample_sum *sum = noted ? &a->noted : now;

        s->source = memcg_source(c);
        s->frozen = a->gone;
        s->at_removal = a->at_removal;
        s->read_us = a->settled ? a->read_us : a->last.at_us;
        s->explained_us = a->noted_us ?: s->read_us;
        s->baseline = a->baseline;
        s->now = a->last;
        s->growth_known = memcg_knows(&a->baseline, MEMCG_KERNEL) && memcg_knows(&a->last, MEMCG_KERNEL);
        s->explained_bytes = noted ? sum->charged_bytes : s->charged.kernel_bytes;
        s->explained_unmatched = sum->freed_unmatched;
        s->slack_bytes = slack(a, c, before);
        fill_counters(a, c, sum, s);
        if (!s->growth_known)
                return;
        s->growth_bytes = kernel_of(&a->last) - kernel_of(&a->baseline);
        s->unattributed = s->growth_bytes - s->explained_bytes + s->explained_unmatched;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The account between the memcg's own counters, which are the truth, and what the rows explain of it: growth since the baseline
 * on one side, live and freed memory on the other, both of one moment. When the cgroup is gone, that is the moment of its
 * removal, as far as the kernel told it then; else that of the last reading before.
 */
#pragma once

#include "sample.h"
#include "summary.h"

struct account {
        struct memcg_counters baseline, last; /* last: latest good reading */
        int64_t baseline_drift;               /* between the readings around the moment of the baseline */
        bool gone;                            /* `last` is final, but for what the kernel read at the removal */
        struct sample_sum noted;              /* what was explained when `last` was read; n_samples 0: not noted */

        /* Once it is settled what stays. */
        bool settled;
        uint32_t at_removal; /* bit per enum memcg_counter of `last`: read by the kernel when the cgroup was removed */
        int64_t read_us;     /* when the others were read */
        int64_t noted_us;    /* when `noted` was summed up, if that was after the removal; else 0 */
        int64_t removal_slack;
};

/* Before and after a baseline is set: it lies between the two readings. What memcg_read says. */
int account_open(struct account *a, const struct cgroup *c);
void account_opened(struct account *a, const struct cgroup *c);

/* Reads the counters. -ENODEV when the cgroup is gone, else what memcg_read says. */
int account_read(struct account *a, const struct cgroup *c);

/*
 * Nothing is read any more. What the kernel read at the removal takes the place of earlier readings, and `sum`, taken after it
 * at `sum_us`, that of what was explained then: both NULL when it did not. What was freed between the two is slack: by the
 * kernel's own count where it could still be asked, else as much as it can have been at most.
 */
void account_settle(struct account *a, const struct tracker_removal *removal, const struct sample_sum *sum, int64_t sum_us);

/* Fills the reconciliation of `s`, which has its totals. `before` is a.last before `sum` was taken: what it moved meanwhile is
 * slack. */
void account_fill(const struct account *a, const struct cgroup *c, const struct memcg_counters *before,
        const struct sample_sum *sum, struct summary *s);

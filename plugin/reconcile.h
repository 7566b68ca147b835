/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The account between the memcg's own counters, which are the truth, and what the rows explain of it: growth since the baseline
 * on one side, live and freed memory on the other, both of one moment. When the cgroup is gone, that is the moment of its last
 * reading.
 */
#pragma once

#include "sample.h"
#include "summary.h"

struct account {
        struct memcg_counters baseline, last; /* last: latest good reading */
        int64_t baseline_drift;               /* between the readings around the moment of the baseline */
        bool gone;                            /* `last` is final */
        struct sample_sum noted;              /* what was explained when `last` was read; n_samples 0: not noted */
};

/* Before and after a baseline is set: it lies between the two readings. What memcg_read says. */
int account_open(struct account *a, const struct cgroup *c);
void account_opened(struct account *a, const struct cgroup *c);

/* Reads the counters. -ENODEV when the cgroup is gone, else what memcg_read says. */
int account_read(struct account *a, const struct cgroup *c);

/* Fills the reconciliation of `s`, which has its totals. `before` is a.last before `sum` was taken: what it moved meanwhile is
 * slack. */
void account_fill(const struct account *a, const struct cgroup *c, const struct memcg_counters *before,
        const struct sample_sum *sum, struct summary *s);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Samples of several groups added up, by row or altogether, without naming anything.
 */
#pragma once

#include "names.h"

/* Adds rows: one for each site, type, charge and node that any of the samples has. Begin with a zeroed one. */
struct sample_adder {
        bool any_node; /* set: nodes make no difference between rows */
        struct tracker_sample sample;
        size_t n_samples;
        size_t capacity;
        uint32_t *index; /* rows by hash, 0 being empty; NULL while there is one sample */
        size_t n_index;
};

/* Takes the rows of `sample` over in any case. -ENOMEM. */
int sample_add(struct sample_adder *a, struct tracker_sample *sample);
void sample_adder_done(struct sample_adder *a);

/*
 * What samples come to. Slab backing pages are left out, as they are in measures; user pages too, because they are sampled and
 * their totals come from the memcg; and live is that of rows whose frees are seen.
 */
struct sample_sum {
        size_t n_samples;
        int64_t live_bytes, live_calls; /* kernel memory, charged and uncharged */
        int64_t charged_bytes;          /* of it, charged */
        int64_t charged_gone;           /* and what of the charged was freed or written off */
        int64_t freed_unmatched;
        /* Live bytes by the counter that the kernel keeps for such memory; known where a row says so, and for slab and percpu.
         */
        struct memcg_counters charged, uncharged;
        struct memcg_counters states; /* known where it is in every sample */
        int64_t lost[_LOSS_MAX];
};

void sample_sum_add(struct sample_sum *sum, struct names *names, const struct tracker_sample *sample);

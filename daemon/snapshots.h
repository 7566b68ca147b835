/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is kept of a profile on the way to its final report: the first summaries, and the last one. When there is trouble the
 * first ones show how it came, and the last one how it went on; those in between say it again.
 *
 * Invariants: at most SNAPSHOTS_MAX, oldest first, each some ten kilobytes of text.
 */
#pragma once

#include "report.h"

#define SNAPSHOTS_MAX 8

struct snapshots {
        struct report_snapshot items[SNAPSHOTS_MAX];
        size_t n;
};

void snapshots_done(struct snapshots *s);

/* Takes the summary of `snapshot` over. The newest one makes room when there are SNAPSHOTS_MAX. */
void snapshots_add(struct snapshots *s, const struct report_snapshot *snapshot);

/* The newest one, or NULL. */
struct report_snapshot *snapshots_last(struct snapshots *s);

/* -ENOMEM. */
int snapshots_copy(const struct snapshots *s, struct snapshots *ret);

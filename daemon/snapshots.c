/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See snapshots.h. */
#include "snapshots.h"

void snapshots_done(struct snapshots *s) {
        for (size_t i = 0; i < s->n; i++)
                free(s->items[i].summary);
        *s = (struct snapshots){};
}

void snapshots_add(struct snapshots *s, const struct report_snapshot *snapshot) {
        if (s->n == SNAPSHOTS_MAX)
                free(s->items[--s->n].summary);
        s->items[s->n++] = *snapshot;
}

struct report_snapshot *snapshots_last(struct snapshots *s) {
        return s->n > 0 ? &s->items[s->n - 1] : NULL;
}

int snapshots_copy(const struct snapshots *s, struct snapshots *ret) {
        struct snapshots copy = {};

        for (size_t i = 0; i < s->n; i++) {
                struct report_snapshot snapshot = s->items[i];

                snapshot.summary = strdup(snapshot.summary);
                if (!snapshot.summary) {
                        snapshots_done(&copy);
                        return -ENOMEM;
                }
                snapshots_add(&copy, &snapshot);
        }
        *ret = copy;
        return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See no-tracker.h. No group ever begins, so that the operations on groups are never reached. */
#include "no-tracker.h"

struct no_tracker {
        struct tracker base;
        char *reason;
        struct tracker_ability ability;
};

static struct tracker *no_tracker_free(struct tracker *t) {
        struct no_tracker *n = (struct no_tracker *)t;

        free(n->reason);
        free(n);
        return NULL;
}

static int no_tracker_begin(
        struct tracker *t, const struct cgroup *cgroup, const struct tracker_wish *wish, unsigned *ret_group, char **reterr) {
        return fail(reterr, -EOPNOTSUPP, "This machine cannot be measured (DescribeSupport says more): %s",
                ((struct no_tracker *)t)->reason);
}

static int no_tracker_renew(struct tracker *t, unsigned group, unsigned *ret_group, char **reterr) {
        return no_tracker_begin(t, NULL, NULL, ret_group, reterr);
}

static int no_tracker_fold(struct tracker *t, unsigned from, unsigned to) {
        return -ENOTSUP;
}

static void no_tracker_disarm(struct tracker *t, unsigned group) {
}

static int no_tracker_sweep(struct tracker *t, struct tracker_sweep *ret) {
        return -ENOTSUP;
}

static const struct tracker_ability *no_tracker_abilities(struct tracker *t, size_t *ret_n) {
        *ret_n = 1;
        return &((struct no_tracker *)t)->ability;
}

static void no_tracker_end(struct tracker *t, unsigned group) {
}

static int no_tracker_read(struct tracker *t, unsigned group, struct tracker_sample *ret) {
        return -EOPNOTSUPP;
}

static void no_tracker_clean(struct tracker *t) {
}

static uint64_t no_tracker_footprint(struct tracker *t) {
        return 0;
}

static const struct tracker_ops no_tracker_ops = {
        .backend = "none",
        .free = no_tracker_free,
        .begin = no_tracker_begin,
        .renew = no_tracker_renew,
        .fold = no_tracker_fold,
        .disarm = no_tracker_disarm,
        .end = no_tracker_end,
        .read = no_tracker_read,
        .sweep = no_tracker_sweep,
        .clean = no_tracker_clean,
        .footprint = no_tracker_footprint,
        .abilities = no_tracker_abilities,
};

int no_tracker_new(const char *reason, struct tracker **ret) {
        struct no_tracker *n = calloc(1, sizeof(*n));

        if (!n)
                return -ENOMEM;
        n->reason = strdup(reason);
        if (!n->reason) {
                free(n);
                return -ENOMEM;
        }
        n->ability = (struct tracker_ability){.name = "engine", .reason = n->reason};
        n->base.ops = &no_tracker_ops;
        *ret = &n->base;
        return 0;
}

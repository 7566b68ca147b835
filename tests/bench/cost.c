/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What an event costs, in each way of counting, as a ratio to empty programs on the same hooks. */
#include "bench.h"

enum {
        BASE,
        FLOOR_COUNTING,
        FLOOR,
        BARE_OUTSIDE,
        OUTSIDE,
        BARE_COUNTING,
        COUNTING,
        BARE_LIVE,
        LIVE,
        MULTI,
        MULTI_HOST,
        _SETTINGS
};

/* Groups of the running setting; all of one tracker. */
static struct {
        struct tracker *tracker;
        unsigned groups[3];
        size_t n;
} now;

static void groups_off(void) {
        while (now.n > 0)
                now.tracker->ops->end(now.tracker, now.groups[--now.n]);
        now.tracker->ops->clean(now.tracker);
}

static int group_on(struct tracker *t, const struct cgroup *cgroup, char **reterr) {
        int r;

        now.tracker = t;
        if (!cgroup)
                return fail(reterr, -ENODEV, "The root of the memory hierarchy cannot be opened.");
        r = t->ops->begin(t, cgroup, &(struct tracker_wish){}, &now.groups[now.n], reterr);
        if (r >= 0)
                now.n++;
        else
                groups_off();
        return r;
}

static struct gauge bare_live, bare_counting;

static struct tracker *tracker_of(unsigned setting) {
        switch (setting) {
        case COUNTING:
                return bench.counting.tracker;
        case BARE_COUNTING:
                return bare_counting.tracker;
        case BARE_OUTSIDE:
        case BARE_LIVE:
                return bare_live.tracker;
        default:
                return bench.live.tracker;
        }
}

static int tracker_on(unsigned setting, char **reterr) {
        struct tracker *t = tracker_of(setting);
        int r;

        r = group_on(t, setting == OUTSIDE || setting == BARE_OUTSIDE ? bench.place->outside : bench.place->inside, reterr);
        if (r >= 0 && (setting == MULTI || setting == MULTI_HOST))
                r = group_on(t, bench.place->outside, reterr);
        if (r >= 0 && setting == MULTI_HOST)
                r = group_on(t, bench.place->host, reterr);
        return r;
}

static int counting_floor_on(unsigned argument, char **reterr) {
        return empty_attach(bench.counting.floor, reterr);
}

static void counting_floor_off(void) {
        empty_detach(bench.counting.floor);
}

#define TRACKER(setting) tracker_on, groups_off, setting

static const struct setting settings[_SETTINGS] = {
        [BASE] = {"no programs", 0, 0, nothing_on, nothing_off},
        [FLOOR_COUNTING] = {"floor: empty programs, hooks of counting", 0, 0, counting_floor_on, counting_floor_off},
        [FLOOR] = {"floor: empty programs, all hooks", 0, 0, floor_on, floor_off},
        [BARE_OUTSIDE] = {"bare: task outside all groups, to its floor", FLOOR, 0, TRACKER(BARE_OUTSIDE)},
        [OUTSIDE] = {"task outside all groups, to its floor", FLOOR, 1.2, TRACKER(OUTSIDE)},
        [BARE_COUNTING] = {"bare: counting only, to its floor", FLOOR_COUNTING, 0, TRACKER(BARE_COUNTING)},
        [COUNTING] = {"in the group, counting only, to its floor", FLOOR_COUNTING, 1.5, TRACKER(COUNTING)},
        [BARE_LIVE] = {"bare: live tracking, to its floor", FLOOR, 0, TRACKER(BARE_LIVE)},
        [LIVE] = {"in the group, live tracking, to its floor", FLOOR, 1.8, TRACKER(LIVE)},
        [MULTI] = {"with a second group, to one group", LIVE, 1.1, TRACKER(MULTI)},
        [MULTI_HOST] = {"with a second group and host, to one group", LIVE, 1.5, TRACKER(MULTI_HOST)},
};

int cost_run(char **reterr) {
        static struct rounds rounds = {.settings = settings, .n = _SETTINGS};
        const struct tracker_options count_only = {.count_only = true}, bare = {.mutation = "bare"},
                                     bare_count_only = {.mutation = "bare", .count_only = true};
        int r;

        rounds.effort = &bench.effort;
        r = gauge_new(NULL, &bench.live, reterr);
        if (r >= 0)
                r = gauge_new(&count_only, &bench.counting, reterr);
        if (r >= 0)
                r = gauge_new(&bare, &bare_live, reterr);
        if (r >= 0)
                r = gauge_new(&bare_count_only, &bare_counting, reterr);
        if (r >= 0)
                r = count_events(&rounds.figures, reterr);
        if (r >= 0) {
                printf("Floors: %zu empty programs on the hooks of live tracking, %zu on those of counting.\n",
                        empty_count(bench.live.floor), empty_count(bench.counting.floor));
                r = rounds_run(&rounds, bench.place, true, reterr);
        }
        rounds_done(&rounds);
        gauge_done(&bare_live);
        gauge_done(&bare_counting);
        return r;
}

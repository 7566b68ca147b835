/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See engine.h: holding together, and pacing sweeps. */
#include <sys/stat.h>
#include <time.h>

#include "engine.h"

/* A sweep looks at every tracked object: this bounds what it may cost whoever asks often. */
#define SWEEP_INTERVAL_US (2 * 1000000)

struct engine {
        struct tracker *tracker;
        struct tracker_options options;
        struct cgroup_root *cgroups;
        struct groups *groups;
        struct names *names;
        struct segments *segments;
        bool sweeps;          /* the tracker can, as far as we know */
        int64_t attempted_us; /* CLOCK_MONOTONIC of the last sweep; 0: none */
};

static int64_t now_us(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

static void tell_wrappers(const struct engine *e) {
        struct tracker_range ranges[TRACKER_WRAPPERS_MAX];
        size_t n = names_wrappers(e->names, ranges, ELEMENTS(ranges));

        if (e->tracker->ops->set_wrappers)
                e->tracker->ops->set_wrappers(e->tracker, ranges, n);
}

int engine_new_at(struct tracker *tracker, struct cgroup_root *cgroups, const char *kallsyms, struct engine **ret) {
        _cleanup_(engine_freep) struct engine *e = calloc(1, sizeof(*e));
        int r;

        if (!e)
                return -ENOMEM;
        r = names_new(kallsyms, &e->names);
        if (r < 0)
                return r;
        e->groups = groups_new();
        e->segments = segments_new(tracker, e->names);
        if (!e->groups || !e->segments)
                return -ENOMEM;
        e->sweeps = true;
        e->tracker = tracker;
        e->cgroups = cgroups;
        tell_wrappers(e);
        *ret = TAKE(e);
        return 0;
}

int engine_new(struct tracker *tracker, const char *kallsyms, struct engine **ret, char **reterr) {
        _cleanup_(cgroup_root_freep) struct cgroup_root *cgroups = NULL;
        int r;

        r = cgroup_root_new(&cgroups, reterr);
        if (r < 0)
                return r;
        r = engine_new_at(tracker, cgroups, kallsyms, ret);
        if (r >= 0)
                (void)TAKE(cgroups);
        return r;
}

struct engine *engine_free(struct engine *e) {
        if (!e)
                return NULL;
        segments_free(e->segments);
        tracker_free(e->tracker);
        cgroup_root_free(e->cgroups);
        groups_free(e->groups);
        names_free(e->names);
        free(e);
        return NULL;
}

void engine_leave(struct engine *e) {
        if (!e->tracker->ops->leave)
                return;
        e->tracker->ops->leave(e->tracker);
        segments_leave(e->segments);
}

#define FIRST_PID_NAMESPACE 0xeffffffcu /* PROC_PID_INIT_INO, include/linux/proc_ns.h */

/* Programs know processes by their numbers in the first pid namespace. */
static bool sees_pids(void) {
        struct stat st;

        return stat("/proc/self/ns/pid", &st) == 0 && st.st_ino == FIRST_PID_NAMESPACE;
}

int engine_follow_exit(struct engine *e, pid_t pid, bool on) {
        return e->tracker->ops->follow_exit && sees_pids() ? e->tracker->ops->follow_exit(e->tracker, pid, on) : -EOPNOTSUPP;
}

int engine_exit_of(struct engine *e, pid_t pid, int *ret_status) {
        return e->tracker->ops->exit_of && sees_pids() ? e->tracker->ops->exit_of(e->tracker, pid, ret_status) : -EOPNOTSUPP;
}

int engine_cost(struct engine *e, bool on, uint64_t *ret_ns) {
        return e->tracker->ops->cost ? e->tracker->ops->cost(e->tracker, on, ret_ns) : -EOPNOTSUPP;
}

uint64_t engine_mark(struct engine *e) {
        return e->tracker->ops->mark ? e->tracker->ops->mark(e->tracker) : 0;
}

void engine_renew_lease(struct engine *e) {
        if (e->tracker->ops->renew_lease)
                e->tracker->ops->renew_lease(e->tracker);
}

const struct cgroup_root *engine_cgroups(const struct engine *e) {
        return e->cgroups;
}

struct groups *engine_groups(const struct engine *e) {
        return e->groups;
}

struct segments *engine_segments(const struct engine *e) {
        return e->segments;
}

struct names *engine_names(const struct engine *e) {
        return e->names;
}

struct tracker *engine_tracker(const struct engine *e) {
        return e->tracker;
}

void engine_set_options(struct engine *e, const struct tracker_options *options) {
        e->options = *options;
}

const struct tracker_options *engine_options(const struct engine *e) {
        return &e->options;
}

const char *engine_backend(const struct engine *e) {
        return e->tracker->ops->backend;
}

void engine_clean(struct engine *e) {
        e->tracker->ops->clean(e->tracker);
}

void engine_hold(struct engine *e, bool on) {
        tracker_hold(e->tracker, on);
}

int64_t engine_sweep(struct engine *e) {
        int64_t now = now_us();
        struct tracker_sweep done;
        int r;

        if (!e->sweeps || (e->attempted_us && now - e->attempted_us < SWEEP_INTERVAL_US))
                return 0;
        e->attempted_us = now;
        r = e->tracker->ops->sweep(e->tracker, &done);
        e->sweeps = r != -ENOTSUP;
        return r < 0 ? 0 : done.took_us;
}

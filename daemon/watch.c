/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See watch.h. All handlers return 0: sd-event would disable a source whose handler fails, and then the end of a container
 * would be missed for good.
 */
#include <sys/inotify.h>
#include <time.h>

#include "oom.h"
#include "watch.h"

#define LOOK_USEC UINT64_C(2000000)
#define TIMER_ACCURACY_USEC UINT64_C(50000)
#define OOM_ACCURACY_USEC UINT64_C(100)

struct watch {
        sd_event *event;
        const struct cgroup *cgroup;
        char *name; /* of the directory in its parent */
        const struct watch_handlers *handlers;
        void *userdata;
        sd_event_source *exit_source, *parent_source, *populated_source, *look_source, *timer_source;
        sd_event_source *oom_source, *oom_again_source; /* at most one of them is on */
        int oom_fd;
};

static void stop_oom(struct watch *w) {
        w->oom_source = sd_event_source_disable_unref(w->oom_source);
        w->oom_again_source = sd_event_source_disable_unref(w->oom_again_source);
        closep(&w->oom_fd);
        w->oom_fd = -1;
}

struct watch *watch_free(struct watch *w) {
        if (!w)
                return NULL;
        watch_stop(w);
        sd_event_source_disable_unref(w->timer_source);
        sd_event_unref(w->event);
        free(w->name);
        free(w);
        return NULL;
}

void watch_stop(struct watch *w) {
        w->exit_source = sd_event_source_disable_unref(w->exit_source);
        w->parent_source = sd_event_source_disable_unref(w->parent_source);
        w->populated_source = sd_event_source_disable_unref(w->populated_source);
        w->look_source = sd_event_source_disable_unref(w->look_source);
        stop_oom(w);
}

static int on_process_exit(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        struct watch *w = userdata;

        w->exit_source = sd_event_source_disable_unref(w->exit_source);
        w->handlers->exited(w->userdata);
        return 0;
}

static int on_parent(sd_event_source *s, const struct inotify_event *event, void *userdata) {
        struct watch *w = userdata;

        /*
         * Siblings go too, and there may be a thousand: they must cost nothing. An overflow has no name and is settled by
         * looking; only v1 renames directories, and there is the two-second look.
         */
        if (event->len > 0 ? streq(event->name, w->name) : cgroup_gone(w->cgroup))
                w->handlers->removed(w->userdata);
        return 0;
}

static int on_populated(sd_event_source *s, const struct inotify_event *event, void *userdata) {
        struct watch *w = userdata;

        w->handlers->refresh(w->userdata);
        return 0;
}

static int on_look(sd_event_source *s, uint64_t usec, void *userdata) {
        struct watch *w = userdata;

        (void)sd_event_source_set_time_relative(s, LOOK_USEC);
        if (cgroup_gone(w->cgroup))
                w->handlers->removed(w->userdata);
        else
                w->handlers->look(w->userdata);
        return 0;
}

static void look_again(struct watch *w, uint64_t usec) {
        if (sd_event_source_set_time_relative(w->oom_again_source, usec) < 0 ||
                sd_event_source_set_enabled(w->oom_again_source, SD_EVENT_ONESHOT) < 0)
                stop_oom(w);
}

static int on_oom(sd_event_source *s, int fd, uint32_t revents, void *userdata) {
        struct watch *w = userdata;
        uint64_t times = oom_take(w->cgroup, fd);

        if (cgroup_gone(w->cgroup)) {
                stop_oom(w);
                return 0;
        }
        (void)sd_event_source_set_enabled(s, SD_EVENT_OFF);
        look_again(w, w->handlers->oom(w->userdata, times));
        return 0;
}

static int on_oom_again(sd_event_source *s, uint64_t usec, void *userdata) {
        struct watch *w = userdata;
        uint64_t again = w->handlers->oom_again(w->userdata);

        if (again > 0)
                look_again(w, again);
        else
                (void)sd_event_source_set_enabled(w->oom_source, SD_EVENT_ON);
        return 0;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata) {
        struct watch *w = userdata;

        w->handlers->timeout(w->userdata);
        return 0;
}

int watch_set_process(struct watch *w, const struct process *init) {
        w->exit_source = sd_event_source_disable_unref(w->exit_source);
        return init->fd < 0 ? 0 : sd_event_add_io(w->event, &w->exit_source, init->fd, EPOLLIN, on_process_exit, w);
}

int watch_set_timer(struct watch *w, uint64_t usec) {
        w->timer_source = sd_event_source_disable_unref(w->timer_source);
        return sd_event_add_time_relative(w->event, &w->timer_source, CLOCK_BOOTTIME, usec, TIMER_ACCURACY_USEC, on_timer, w);
}

static int watch_parent(struct watch *w, const struct cgroup_root *root) {
        const char *slash = strrchr(w->cgroup->path, '/');
        _cleanup_free_ char *parent = format("%s%.*s", root->mount, (int)(slash - w->cgroup->path), w->cgroup->path);

        w->name = strdup(slash + 1);
        if (!parent || !w->name)
                return -ENOMEM;
        return sd_event_add_inotify(w->event, &w->parent_source, parent, IN_DELETE | IN_ONLYDIR, on_parent, w);
}

static int watch_populated(struct watch *w, const struct cgroup_root *root) {
        _cleanup_free_ char *path = format("%s%s/cgroup.events", root->mount, w->cgroup->path);

        if (!path)
                return -ENOMEM;
        return sd_event_add_inotify(w->event, &w->populated_source, path, IN_MODIFY, on_populated, w);
}

/* Ahead of what tells of the end, which may come right after. */
static int watch_oom(struct watch *w) {
        uint32_t events;
        int r;

        w->oom_fd = oom_open(w->cgroup, &events);
        if (w->oom_fd < 0)
                return w->oom_fd;
        r = sd_event_add_io(w->event, &w->oom_source, w->oom_fd, events, on_oom, w);
        if (r >= 0)
                r = sd_event_source_set_priority(w->oom_source, SD_EVENT_PRIORITY_IMPORTANT);
        if (r >= 0)
                r = sd_event_add_time_relative(
                        w->event, &w->oom_again_source, CLOCK_MONOTONIC, 0, OOM_ACCURACY_USEC, on_oom_again, w);
        if (r >= 0)
                r = sd_event_source_set_enabled(w->oom_again_source, SD_EVENT_OFF);
        if (r < 0)
                stop_oom(w);
        return r;
}

/* Everything that tells of its end. */
static int watch_cgroup(struct watch *w, const struct cgroup_root *root) {
        uint64_t first = LOOK_USEC;
        int seen = watch_parent(w, root);

        if (seen == -ENOMEM)
                return seen;
        /* It may have been removed before the watch was there: have a look as soon as the loop runs. */
        if (seen >= 0 && cgroup_gone(w->cgroup))
                first = 0;
        if (w->cgroup->layout == CGROUP_V2 && seen >= 0 && first > 0 && watch_populated(w, root) >= 0)
                return 0;
        return sd_event_add_time_relative(w->event, &w->look_source, CLOCK_MONOTONIC, first, TIMER_ACCURACY_USEC, on_look, w);
}

int watch_new(sd_event *event, const struct cgroup_root *root, const struct cgroup *cgroup, const struct process *init,
        const struct watch_handlers *handlers, void *userdata, struct watch **ret) {
        _cleanup_(watch_freep) struct watch *w = calloc(1, sizeof(*w));
        int r = 0;

        if (!w)
                return -ENOMEM;
        w->oom_fd = -1;
        w->event = sd_event_ref(event);
        w->cgroup = cgroup;
        w->handlers = handlers;
        w->userdata = userdata;
        if (!cgroup_is_host(cgroup))
                r = watch_cgroup(w, root);
        if (r >= 0 && !cgroup_is_host(cgroup))
                (void)watch_oom(w);
        if (r >= 0)
                r = watch_set_process(w, init);
        if (r < 0)
                return r;
        *ret = TAKE(w);
        return 0;
}

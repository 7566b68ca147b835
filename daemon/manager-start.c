/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See manager.h: requests, admission and the beginning of profiles. */
#include <time.h>

#include "allocinfo.h"
#include "journal.h"
#include "manager-private.h"
#include "object-path.h"
#include "text.h"
#include "watch.h"

#define SPEC_DEFAULT "auto"
#define HOLDER_BYTES_MAX 160     /* of a name in somebody else's error message */
#define REQUESTER_BYTES_MAX 1040 /* of a target */
#define LABEL_BYTES_MAX 4096     /* of an id or path in documents */

/* Who asks, and for what: what the ways to a profile have in common. */
struct request {
        const char *kind; /* of the view: "container", "cgroup" or "host" */
        const char *name; /* raw id or path */
        const char *requester;
        const char *started_by;
        struct wish *wish;    /* its label is used up when a profile begins */
        bool applies_spec;    /* to a profile that is there already */
        struct process *init; /* used up; may be NONE */
};

void container_request_done(struct container_request *c) {
        wish_done(&c->wish);
        free(c->annotation_spec);
}

static void tell_added(struct manager *m, const struct view *v) {
        if (m->listener)
                m->listener->added(m->listener_data, v);
}

/* Another cgroup has the container id now: whatever had it before is over, and its object path is free. */
static void supersede(struct manager *m, const struct request *q, uint64_t cgroup_id) {
        for (size_t i = 0; i < m->registry.n; i++) {
                struct registration *r = m->registry.items[i];

                if (r->cgroup_id == cgroup_id || !streq(q->kind, "container") || !registration_view(r, q->kind, q->name))
                        continue;
                manager_end(m, r, cgroup_gone(profile_cgroup(r->profile)) ? "cgroup-removed" : "stopped");
                manager_release(m, r, "needed");
                return;
        }
}

static int set_label(struct profile_label *l, const struct request *q) {
        char *id = wish_bound(q->name, LABEL_BYTES_MAX);

        if (!id)
                return -ENOMEM;
        free(l->id);
        l->id = id;
        l->kind = q->kind;
        return 0;
}

static void move_missing(char **to, char **from) {
        if (!*to)
                *to = TAKE(*from);
}

/* A second request for what is measured already: it may know more. */
static int update_label(struct registration *r, const struct request *q) {
        struct profile_label *l = profile_label(r->profile), *news = &q->wish->label;

        registration_changed(r);
        move_missing(&l->pod_namespace, &news->pod_namespace);
        move_missing(&l->pod_name, &news->pod_name);
        move_missing(&l->pod_uid, &news->pod_uid);
        move_missing(&l->container_name, &news->container_name);
        move_missing(&l->image, &news->image);
        return streq(q->kind, "container") && !streq(l->kind, "container") ? set_label(l, q) : 0;
}

/* Makes the request's name and requester part of the registration. */
static int join(struct manager *m, struct registration *r, const struct request *q, struct view **ret, char **reterr) {
        struct view *v;
        int added, error;

        error = registration_add_requester(r, q->requester);
        if (error == -E2BIG)
                return fail(reterr, error, "%zu requesters hold this profile already; StopProfile ends it for all.",
                        r->n_requesters);
        if (error < 0)
                return error;
        added = registration_add_view(r, q->kind, q->name, &v);
        if (added == -E2BIG)
                return fail(
                        reterr, added, "This cgroup has %zu names on the bus already; use %s.", r->n_views, r->views[0]->path);
        if (added < 0)
                return added;
        /* Also in place of one that has exited: a runtime may keep the directory for the container's next life. */
        if (q->init->fd >= 0 && !process_alive(&r->init)) {
                error = watch_set_process(r->watch, q->init);
                if (error < 0)
                        return error;
                process_done(&r->init);
                registration_changed(r);
                r->init = *q->init;
                manager_follow_exit(m, r, r->init.pid);
                *q->init = PROCESS_NONE;
        }
        if (added > 0)
                tell_added(m, v);
        *ret = v;
        return 0;
}

/* Ends who has to go for somebody else. */
static void send_away(struct manager *m, struct groups_leaving *leaving) {
        while (leaving->n > 0) {
                struct registration *r = registry_by_cgroup(&m->registry, leaving->ids[--leaving->n]);

                if (r)
                        manager_release(m, r, "needed");
        }
}

/* What the mode forbids is not Busy: see manager.h. */
static int admission_error(int error) {
        return error == -ECANCELED ? -EAGAIN : error;
}

static int admit(struct manager *m, const struct cgroup *cgroup, const struct request *q, struct groups_leaving *ret_leaving,
        char **reterr) {
        _cleanup_free_ char *name = NULL, *id = text_escape(q->name, strlen(q->name), HOLDER_BYTES_MAX);
        struct group_request request = {.id = cgroup->id, .wanted = q->wish->label.spec.mode, .host = cgroup_is_host(cgroup)};

        name = id ? request.host ? strdup(id) : format("%s:%s", q->kind, id) : NULL;
        if (!name)
                return -ENOMEM;
        request.name = name;
        return admission_error(groups_admit(engine_groups(m->engine), &request, ret_leaving, reterr));
}

/*
 * What a spec asks for and an active profile cannot change any more, added to the gaps of `news`; `news` then says what stays.
 */
static void keep_counting_as(const struct spec *begun, struct profile_label *news) {
        static const char why[] = "The profile counts already, as it was begun: stop it and start it again for this.";
        struct spec *s = &news->spec;

        if (s->numa && !begun->numa)
                news->gaps[news->n_gaps++] = (struct spec_gap){"numa", why};
        if (s->sample && s->sample != begun->sample)
                news->gaps[news->n_gaps++] = (struct spec_gap){"sample", why};
        if (s->stacks == STACKS_ALL && begun->stacks != STACKS_ALL)
                news->gaps[news->n_gaps++] = (struct spec_gap){"stacks=all", why};
        s->numa = begun->numa;
        s->sample = begun->sample;
        if (begun->stacks == STACKS_ALL || s->stacks == STACKS_ALL)
                s->stacks = begun->stacks;
}

/* An explicit spec is the newer word, also for a profile that is there already. On failure nothing has changed. */
static int apply_spec(struct manager *m, struct registration *r, const struct request *q, char **reterr) {
        struct profile_label *l = profile_label(r->profile), *news = &q->wish->label;
        struct groups_leaving leaving;
        size_t n = news->n_gaps;
        int error;

        /* What the kernel counts anyway needs no admission and takes no wishes. */
        if (!q->applies_spec || profile_is_record(r->profile))
                return 0;
        keep_counting_as(&l->spec, news);
        if (news->n_gaps > n && news->spec.required)
                return fail(reterr, -EOPNOTSUPP, "The spec is 'required', but '%s' is not available: %s", news->gaps[n].word,
                        news->gaps[n].reason);
        error = groups_change(engine_groups(m->engine), r->cgroup_id, news->spec.mode, &leaving, reterr);
        if (error < 0)
                return admission_error(error);
        registration_changed(r);
        l->spec = news->spec;
        memcpy(l->gaps, news->gaps, sizeof(l->gaps));
        l->n_gaps = news->n_gaps;
        send_away(m, &leaving);
        manager_tell_mode(m);
        return 0;
}

/* One more requester of an active profile, and what it brings. */
static int join_active(struct manager *m, struct registration *r, const struct request *q, struct view **ret, char **reterr) {
        int error;

        error = apply_spec(m, r, q, reterr);
        if (error < 0)
                return error;
        error = join(m, r, q, ret, reterr);
        return error < 0 ? error : update_label(r, q);
}

/* The registration around a profile that counts already. On failure the profile is freed. */
static int enroll(struct manager *m, struct profile *profile, const struct request *q, struct view **ret, char **reterr) {
        _cleanup_(profile_freep) struct profile *owned = profile;
        _cleanup_(registration_freep) struct registration *r = NULL;
        int error;

        error = registration_new(profile, &r);
        if (error < 0)
                return error;
        (void)TAKE(owned);
        r->owner = m;
        error = watch_new(m->event, engine_cgroups(m->engine), profile_cgroup(profile), &PROCESS_NONE, &manager_watch_handlers,
                r, &r->watch);
        if (error < 0)
                return fail(reterr, error, "The cgroup cannot be watched: %s.", strerror(-error));
        r->mode = manager_effective_mode(m);
        manager_refresh(r);
        error = registry_add(&m->registry, r);
        if (error < 0)
                return error;
        error = join(m, r, q, ret, reterr);
        if (error < 0) {
                registry_remove(&m->registry, r);
                manager_unwrite(m, r);
                return error;
        }
        (void)TAKE(r);
        return 0;
}

/* Something in the tracker that nobody needs: what was retired, who has to go anyway, what ended first. */
static bool make_room(struct manager *m, struct groups_leaving *leaving) {
        if (manager_flush_one(m))
                return true;
        if (leaving->n == 0)
                return manager_drop_ended(m);
        send_away(m, leaving);
        return true;
}

/*
 * Begins to count. Profiles that were retired but still count are left alone, so that programs need not be detached and
 * attached again, but for three cases: the tables are full; it is the same cgroup, which cannot be two groups at once; or it
 * lies above them, and would divide and keep what nobody wants any more.
 */
static int start(struct manager *m, struct cgroup *cgroup, struct profile_label *label, struct groups_leaving *leaving,
        struct profile **ret, char **reterr) {
        int r;

        for (const struct registration *old = m->retired; old; old = old->next)
                if (old->cgroup_id == cgroup->id || cgroup_is_below(profile_cgroup(old->profile), cgroup)) {
                        (void)manager_flush(m);
                        manager_clean(m); /* else it would still know of objects whose frees are to be ours */
                        break;
                }
        if (m->unsaved)
                manager_save(m); /* groups are wiped when there are none left */
        for (;;) {
                r = profile_start(m->engine, cgroup, label, ret, reterr);
                if (r != -ENOSPC || !make_room(m, leaving))
                        return r;
                manager_save(m); /* what was given up on the way is needed now */
        }
}

static int begin(struct manager *m, struct cgroup **cgroup, const struct request *q, struct view **ret, char **reterr) {
        struct profile_label *label = &q->wish->label;
        struct groups_leaving leaving;
        uint64_t id = (*cgroup)->id;
        struct profile *profile;
        int error;

        label->started_by = q->started_by;
        error = set_label(label, q);
        if (error < 0)
                return error;
        error = admit(m, *cgroup, q, &leaving, reterr);
        if (error < 0)
                return error;
        error = start(m, *cgroup, label, &leaving, &profile, reterr);
        if (error >= 0) {
                *cgroup = NULL;
                /* Only now: what could not begin sends nobody away. */
                send_away(m, &leaving);
                error = enroll(m, profile, q, ret, reterr);
        }
        if (error < 0) {
                groups_remove(engine_groups(m->engine), id);
                manager_tell_mode(m);
                return error;
        }
        journal_profile(LOG_INFO, JOURNAL_BEGUN, (*ret)->registration, "Profile of %s %s begins (%s).", (*ret)->kind,
                (*ret)->id, q->requester);
        manager_tell_mode(m);
        return 0;
}

/* One measurement per memcg: joins the profile of this cgroup, or begins one. 1: it is new. */
static int join_or_begin(struct manager *m, struct cgroup **cgroup, const struct request *q, struct view **ret, char **reterr) {
        struct registration *r;
        int error;

        supersede(m, q, (*cgroup)->id);
        r = registry_by_cgroup(&m->registry, (*cgroup)->id);
        if (r && !r->ended)
                return join_active(m, r, q, ret, reterr);
        if (r)
                manager_release(m, r, "needed");
        error = begin(m, cgroup, q, ret, reterr);
        return error < 0 ? error : 1;
}

/* RegisterContainer */

static uint64_t realtime_us(void) {
        struct timespec ts;

        clock_gettime(CLOCK_REALTIME, &ts);
        return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static bool in_time(const struct container_request *c) {
        return c->deadline_us == 0 || realtime_us() <= c->deadline_us;
}

static int open_scope(struct manager *m, const char *id, const struct container_request *c, struct process *init,
        struct cgroup **ret, char **reterr) {
        const struct cgroup_root *root = engine_cgroups(m->engine);
        int r;

        if (c->pidfd >= 0)
                r = process_from_fd(c->pidfd, init, reterr);
        else if (c->pid != UINT64_MAX)
                r = process_from_pid(c->pid, init, reterr);
        else if (c->cgroup)
                return target_open_path(root, c->cgroup, ret, reterr);
        else
                return fail(reterr, -EINVAL, "Nothing says where the container is; give option 'pidfd', 'pid' or 'cgroup'.");
        return r < 0 ? r : target_open_container(root, init, id, c->bundle, ret, reterr);
}

static int take_container_spec(const struct manager *m, struct container_request *c, char **reterr) {
        const char *spec = c->spec ? c->spec : c->annotation_spec ? c->annotation_spec : SPEC_DEFAULT;
        int r;

        r = wish_take_spec(&c->wish, spec, &m->settings.caps, reterr);
        if (r < 0)
                return r;
        /* The hook gave up at its deadline, and with `required` it has refused the container. */
        if (c->wish.required && !in_time(c))
                return fail(reterr, -EAGAIN, "The call was read after its deadline, when a required profile was given up.");
        return 0;
}

int manager_register_container(
        struct manager *m, const char *id, struct container_request *c, const struct view **ret, char **reterr) {
        _cleanup_(process_done) struct process init = PROCESS_NONE;
        _cleanup_(cgroup_freep) struct cgroup *cgroup = NULL;
        struct request q = {.kind = "container", .name = id, .requester = "hook", .started_by = "hook", .init = &init};
        struct view *v;
        int r;

        r = target_check_id(id, reterr);
        if (r < 0)
                return r;
        r = take_container_spec(m, c, reterr);
        if (r < 0)
                return r;
        r = open_scope(m, id, c, &init, &cgroup, reterr);
        if (r < 0)
                return r;
        q.wish = &c->wish;
        q.applies_spec = c->spec || c->annotation_spec;
        r = join_or_begin(m, &cgroup, &q, &v, reterr);
        if (r < 0)
                return r;
        /* Only a caller with a deadline holds the container back until it is answered. */
        if (r > 0)
                profile_label(v->registration->profile)->from_start = c->deadline_us > 0 && in_time(c);
        registration_changed(v->registration);
        manager_save(m);
        *ret = v;
        return 0;
}

/* StartProfile and GetProfile */

static struct view *find_known(const struct manager *m, const struct target *t) {
        _cleanup_free_ char *path = NULL;

        if (t->kind == TARGET_CONTAINER)
                return registry_by_container(&m->registry, t->name);
        if (t->kind == TARGET_HOST)
                return registry_by_path(&m->registry, BUS_PATH_HOST);
        if (t->kind != TARGET_CGROUP)
                return NULL;
        path = target_normal_path(engine_cgroups(m->engine), t->name);
        return path ? registry_by_cgroup_path(&m->registry, path) : NULL;
}

/* The container's profile is there and active: whatever its cgroup is called, no look-up is needed. */
static int start_known(struct manager *m, struct view *known, struct request *q, struct view **ret, char **reterr) {
        q->kind = known->kind;
        q->name = known->name;
        return join_active(m, known->registration, q, ret, reterr);
}

static int start_target(struct manager *m, const struct target *t, struct request *q, struct view **ret, char **reterr) {
        _cleanup_(cgroup_freep) struct cgroup *cgroup = NULL;
        _cleanup_free_ char *path = NULL;
        int r;

        r = target_open(engine_cgroups(m->engine), t, &cgroup, reterr);
        if (r < 0)
                return r;
        path = strdup(cgroup->path); /* the cgroup itself is taken over */
        if (!path)
                return -ENOMEM;
        q->kind = t->kind == TARGET_CONTAINER ? "container" : t->kind == TARGET_HOST ? "host" : "cgroup";
        q->name = t->kind == TARGET_CONTAINER || t->kind == TARGET_HOST ? t->name : path;
        return join_or_begin(m, &cgroup, q, ret, reterr);
}

int manager_start(struct manager *m, const char *text, const char *spec, const struct view **ret, char **reterr) {
        _cleanup_(process_done) struct process none = PROCESS_NONE;
        _cleanup_(wish_done) struct wish wish = {0};
        _cleanup_free_ char *requester = format("bus:%.*s", REQUESTER_BYTES_MAX, text);
        struct request q = {.requester = requester, .started_by = "bus", .wish = &wish, .applies_spec = spec, .init = &none};
        struct target target;
        struct view *known, *v;
        int r;

        if (!requester)
                return -ENOMEM;
        r = target_parse(text, &target, reterr);
        if (r < 0)
                return r;
        r = wish_take_spec(&wish, spec ? spec : SPEC_DEFAULT, NULL, reterr);
        if (r < 0)
                return r;
        known = target.kind == TARGET_CONTAINER ? find_known(m, &target) : NULL;
        if (known && !known->registration->ended)
                r = start_known(m, known, &q, &v, reterr);
        else
                r = start_target(m, &target, &q, &v, reterr);
        if (r < 0)
                return r;
        manager_save(m);
        *ret = v;
        return 0;
}

int manager_get(struct manager *m, const char *text, const struct view **ret, char **reterr) {
        _cleanup_(cgroup_freep) struct cgroup *cgroup = NULL;
        struct registration *r;
        struct target target;
        struct view *v;
        int error;

        error = target_parse(text, &target, reterr);
        if (error < 0)
                return error;
        /* First what is known: an ended container's cgroup is gone, its profile is not. */
        v = find_known(m, &target);
        if (!v) {
                error = target_open(engine_cgroups(m->engine), &target, &cgroup, reterr);
                if (error < 0)
                        return error;
                r = registry_by_cgroup(&m->registry, cgroup->id);
                if (!r)
                        return fail(reterr, -ENXIO, "%.256s is not profiled; StartProfile begins it.", text);
                v = r->views[0];
        }
        *ret = v;
        return 0;
}

/* The kernel's own record */

static bool counts_itself(const char *root, int *ret_error) {
        struct allocinfo_status status = {};
        bool counts;

        *ret_error = allocinfo_probe(root, &allocinfo_ops_live, &status);
        counts = *ret_error >= 0 && (status.state == ALLOCINFO_IOCTL || status.state == ALLOCINFO_TEXT) &&
                 status.counting == COUNTING_ON;
        allocinfo_status_done(&status);
        return counts;
}

int manager_add_record(struct manager *m, const char *root, char **reterr) {
        _cleanup_(process_done) struct process none = PROCESS_NONE;
        _cleanup_(cgroup_freep) struct cgroup *cgroup = NULL;
        _cleanup_(wish_done) struct wish wish = {};
        struct request q = {
                .kind = "host", .name = "host", .requester = "kernel", .started_by = "kernel", .wish = &wish, .init = &none};
        struct profile *profile;
        struct view *v;
        int r;

        if (!counts_itself(root, &r))
                return r < 0 ? r : 0;
        r = wish_take_spec(&wish, SPEC_DEFAULT, NULL, reterr);
        if (r >= 0)
                r = set_label(&wish.label, &q);
        if (r >= 0)
                r = cgroup_open_host(engine_cgroups(m->engine), &cgroup, reterr);
        if (r < 0)
                return r;
        wish.label.started_by = q.started_by;
        r = profile_start_record(m->engine, root, cgroup, &wish.label, &profile, reterr);
        if (r < 0)
                return r;
        (void)TAKE(cgroup);
        return enroll(m, profile, &q, &v, reterr);
}

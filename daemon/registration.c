/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See registration.h. Arrays and linear search: there are a thousand profiles at most, and a search costs less than a message.
 */

#include "registration.h"
#include "object-path.h"
#include "text.h"
#include "watch.h"

#define ID_BYTES_MAX 4096
#define PREFIX_MIN 12 /* what engines print as a short id */

void registry_done(struct registry *g) {
        free(g->items);
        *g = (struct registry){0};
}

int registry_add(struct registry *g, struct registration *r) {
        struct registration **grown = reallocarray(g->items, g->n + 1, sizeof(*grown));

        if (!grown)
                return -ENOMEM;
        g->items = grown;
        g->items[g->n++] = r;
        return 0;
}

void registry_remove(struct registry *g, struct registration *r) {
        for (size_t i = 0; i < g->n; i++) {
                if (g->items[i] != r)
                        continue;
                memmove(g->items + i, g->items + i + 1, (g->n - i - 1) * sizeof(*g->items));
                g->n--;
                return;
        }
}

struct registration *registry_oldest_ended(const struct registry *g) {
        struct registration *oldest = NULL;

        for (size_t i = 0; i < g->n; i++)
                if (g->items[i]->ended && (!oldest || g->items[i]->end_us < oldest->end_us))
                        oldest = g->items[i];
        return oldest;
}

struct registration *registry_by_cgroup(const struct registry *g, uint64_t cgroup_id) {
        for (size_t i = 0; i < g->n; i++)
                if (g->items[i]->cgroup_id == cgroup_id)
                        return g->items[i];
        return NULL;
}

struct view *registry_by_path(const struct registry *g, const char *path) {
        for (size_t i = 0; i < g->n; i++)
                for (size_t j = 0; j < g->items[i]->n_views; j++)
                        if (streq(g->items[i]->views[j]->path, path))
                                return g->items[i]->views[j];
        return NULL;
}

static bool is_short_id(const char *id) {
        size_t n = strlen(id);

        return n >= PREFIX_MIN && strspn(id, "0123456789abcdef") == n;
}

struct view *registry_by_container(const struct registry *g, const char *id) {
        struct view *only = NULL;
        size_t matches = 0;

        for (size_t i = 0; i < g->n; i++) {
                for (size_t j = 0; j < g->items[i]->n_views; j++) {
                        struct view *v = g->items[i]->views[j];

                        if (!streq(v->kind, "container"))
                                continue;
                        if (streq(v->name, id) || streq(v->id, id))
                                return v;
                        if (is_short_id(id) && startswith(v->name, id)) {
                                only = v;
                                matches++;
                        }
                }
        }
        return matches == 1 ? only : NULL;
}

struct view *registry_by_cgroup_path(const struct registry *g, const char *path) {
        for (size_t i = 0; i < g->n; i++)
                if (streq(profile_cgroup(g->items[i]->profile)->path, path) || streq(g->items[i]->cgroup, path))
                        return g->items[i]->views[0];
        return NULL;
}

int registration_new(struct profile *profile, struct registration **ret) {
        const struct cgroup *cgroup = profile_cgroup(profile);
        _cleanup_free_ struct registration *r = calloc(1, sizeof(*r));

        if (!r)
                return -ENOMEM;
        r->init = PROCESS_NONE;
        r->oom = OOM_COUNTS_NONE;
        r->cgroup_id = cgroup->id;
        r->cgroup = text_escape(cgroup->path, strlen(cgroup->path), ID_BYTES_MAX);
        if (!r->cgroup)
                return -ENOMEM;
        r->profile = profile;
        *ret = TAKE(r);
        return 0;
}

struct registration *registration_free(struct registration *r) {
        if (!r)
                return NULL;
        watch_free(r->watch);
        process_done(&r->init);
        profile_free(r->profile);
        for (size_t i = 0; i < r->n_views; i++)
                view_free(r->views[i]);
        for (size_t i = 0; i < r->n_requesters; i++)
                free(r->requesters[i]);
        free(r->cgroup);
        free(r->report);
        free(r->saved);
        free(r->untold);
        snapshots_done(&r->snapshots);
        free(r);
        return NULL;
}

void registration_changed(struct registration *r) {
        free(r->saved);
        r->saved = NULL;
}

struct view *registration_view(const struct registration *r, const char *kind, const char *name) {
        for (size_t i = 0; i < r->n_views; i++)
                if (streq(r->views[i]->kind, kind) && streq(r->views[i]->name, name))
                        return r->views[i];
        return NULL;
}

struct view *view_free(struct view *v) {
        if (!v)
                return NULL;
        free(v->name);
        free(v->id);
        free(v->path);
        free(v);
        return NULL;
}
DEFINE_CLEANUP(struct view, view_free)

static char *view_path(const struct registration *r, const char *kind, const char *name) {
        if (streq(kind, "host"))
                return strdup(BUS_PATH_HOST);
        return streq(kind, "container") ? object_path_of_container(name) : object_path_of_cgroup(r->cgroup_id);
}

static struct view *view_new(struct registration *r, const char *kind, const char *name) {
        _cleanup_(view_freep) struct view *v = calloc(1, sizeof(*v));

        if (!v)
                return NULL;
        v->registration = r;
        v->kind = kind;
        v->name = strdup(name);
        v->id = text_escape(name, strlen(name), ID_BYTES_MAX);
        v->path = view_path(r, kind, name);
        return v->name && v->id && v->path ? TAKE(v) : NULL;
}

int registration_add_view(struct registration *r, const char *kind, const char *name, struct view **ret) {
        struct view *v = registration_view(r, kind, name);

        registration_changed(r);
        if (v) {
                *ret = v;
                return 0;
        }
        if (r->n_views == VIEWS_MAX)
                return -E2BIG;
        v = view_new(r, kind, name);
        if (!v)
                return -ENOMEM;
        r->views[r->n_views++] = v;
        *ret = v;
        return 1;
}

void registration_remove_view(struct registration *r, struct view *v) {
        registration_changed(r);
        for (size_t i = 0; i < r->n_views; i++) {
                if (r->views[i] != v)
                        continue;
                memmove(r->views + i, r->views + i + 1, (r->n_views - i - 1) * sizeof(*r->views));
                r->n_views--;
                return;
        }
}

int registration_add_requester(struct registration *r, const char *requester) {
        char *copy;

        registration_changed(r);
        for (size_t i = 0; i < r->n_requesters; i++)
                if (streq(r->requesters[i], requester))
                        return 0;
        if (r->n_requesters == REQUESTERS_MAX)
                return -E2BIG;
        copy = strdup(requester);
        if (!copy)
                return -ENOMEM;
        r->requesters[r->n_requesters++] = copy;
        return 0;
}

void registration_drop_requester(struct registration *r, const char *requester) {
        registration_changed(r);
        for (size_t i = 0; i < r->n_requesters; i++) {
                if (!streq(r->requesters[i], requester))
                        continue;
                free(r->requesters[i]);
                r->requesters[i] = r->requesters[--r->n_requesters];
                return;
        }
}

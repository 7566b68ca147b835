/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * From a container's id to its cgroup, by the names that runtimes give to directories.
 *
 * Invariants: a whole id wins over prefixes; what lies below a match belongs to that container and is not looked at (a tenant
 * may have named it anything); two matches are never decided by the order of a directory.
 */
#include <ctype.h>
#include <fcntl.h>

#include "cgroup-path.h"
#include "cgroup-walk.h"
#include "cgroup.h"
#include "text.h"

/* Shortest part of an id that is taken for it, as the engines print it; longest id that is looked for. */
#define PREFIX_MIN 12
#define ID_MAX 255

struct matches {
        char *first, *second; /* the two smallest paths, so that the sentence does not depend on any order */
        size_t n;
};

struct search {
        const char *id;
        bool prefix_allowed;
        struct matches whole, prefix;
};

static void search_done(struct search *s) {
        free(s->whole.first);
        free(s->whole.second);
        free(s->prefix.first);
        free(s->prefix.second);
}

static int note(struct matches *m, const char *path) {
        char *copy = strdup(path);

        if (!copy)
                return -ENOMEM;
        m->n++;
        if (!m->first || strcmp(copy, m->first) < 0) {
                free(m->second);
                m->second = m->first;
                m->first = copy;
        } else if (!m->second || strcmp(copy, m->second) < 0) {
                free(m->second);
                m->second = copy;
        } else {
                free(copy);
        }
        return 0;
}

static bool all_hex(const char *s, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (!isxdigit((unsigned char)s[i]))
                        return false;
        return n > 0;
}

static bool ends_with(const char *s, size_t n, const char *end) {
        size_t len = strlen(end);

        return n >= len && memcmp(s + n - len, end, len) == 0;
}

/* What comes before the id in a directory's name, and what after it. "*" stands for anything that ends in a dash. */
static const struct shape {
        const char *before, *after;
        const char *parent; /* NULL: any */
} shapes[] = {
        {"", "", NULL},                   /* ID, docker/ID, kubepods/.../ID */
        {"*", ".scope", NULL},            /* libpod-ID.scope, crio-ID.scope, cri-containerd-ID.scope, docker-ID.scope */
        {"libpod-", "", "libpod_parent"}, /* podman without systemd */
};

/* The text that stands where the id should be in `name` of `n` bytes. For "*" it is what follows the dash at `dash`. */
static bool cut_out(const struct shape *shape, const char *name, size_t n, size_t dash, const char **ret, size_t *ret_len) {
        size_t before = strlen(shape->before), after = strlen(shape->after);

        if (!ends_with(name, n, shape->after))
                return false;
        if (streq(shape->before, "*")) {
                /* A container's monitor is not the container. */
                if (dash == 0 || dash + 1 + after > n || ends_with(name, dash, "conmon"))
                        return false;
                before = dash + 1;
        } else if (n < before + after || memcmp(name, shape->before, before) != 0) {
                return false;
        }
        *ret = name + before;
        *ret_len = n - before - after;
        return true;
}

static bool parent_is(const char *path, const char *name, const char *wanted) {
        size_t n = (size_t)(name - path);

        return !wanted || (n > 0 && ends_with(path, n - 1, wanted));
}

enum match { MATCH_NONE, MATCH_PREFIX, MATCH_WHOLE };

static enum match compare(const struct search *s, const char *text, size_t n) {
        size_t len = strlen(s->id);

        if (n < len || memcmp(text, s->id, len) != 0)
                return MATCH_NONE;
        if (n == len)
                return MATCH_WHOLE;
        return s->prefix_allowed && all_hex(text, n) ? MATCH_PREFIX : MATCH_NONE;
}

/* Ids may contain dashes themselves, so each dash may be the one before the id. */
static enum match match_shape(const struct search *s, const struct shape *shape, const char *name) {
        size_t n = strlen(name), len, dashes = streq(shape->before, "*") ? n : 1;
        enum match best = MATCH_NONE;
        const char *text;

        for (size_t i = 0; i < dashes; i++) {
                enum match m;

                if (dashes > 1 && name[i] != '-')
                        continue;
                if (!cut_out(shape, name, n, i, &text, &len))
                        continue;
                m = compare(s, text, len);
                if (m > best)
                        best = m;
        }
        return best;
}

static int visit(const char *path, void *userdata) {
        struct search *s = userdata;
        const char *name = strrchr(path, '/') + 1;
        enum match best = MATCH_NONE;
        int r;

        for (size_t i = 0; i < ELEMENTS(shapes); i++) {
                enum match m = parent_is(path, name, shapes[i].parent) ? match_shape(s, &shapes[i], name) : MATCH_NONE;

                if (m > best)
                        best = m;
        }
        if (best == MATCH_NONE)
                return 1;
        r = note(best == MATCH_WHOLE ? &s->whole : &s->prefix, path);
        return r < 0 ? r : 0;
}

static int explain_none(const struct cgroup_root *root, const struct search *s, const char *shown, bool cut, char **reterr) {
        const char *more = "";

        if (cut)
                more = "; the search ended early because there are too many cgroups";
        else if (s->prefix_allowed)
                more = "; longer ids that begin so were tried too";
        else if (all_hex(s->id, strlen(s->id)))
                more = "; the beginning of an id needs at least 12 characters";
        return fail(reterr, -ENOENT,
                "No cgroup below %s belongs to a container %s: tried directories named %s, *-%s.scope, docker/%s and "
                "libpod_parent/libpod-%s%s.",
                root->mount, shown, shown, shown, shown, shown, more);
}

static int decide(const struct cgroup_root *root, struct search *s, const char *shown, bool cut, char **ret, char **reterr) {
        struct matches *m = s->whole.n > 0 ? &s->whole : &s->prefix;
        _cleanup_free_ char *first = NULL, *second = NULL;

        if (m->n == 0)
                return explain_none(root, s, shown, cut, reterr);
        if (m->n == 1) {
                *ret = TAKE(m->first);
                return 0;
        }
        first = cgroup_path_show(m->first);
        second = cgroup_path_show(m->second);
        if (!first || !second)
                return -ENOMEM;
        return fail(reterr, -ENOTUNIQ,
                "%zu cgroups may belong to a container %s, among them %s and %s: give the whole id, or cgroup:PATH.", m->n,
                shown, first, second);
}

int cgroup_find_container_path(const struct cgroup_root *root, const char *id, char **ret, char **reterr) {
        _cleanup_(search_done) struct search s = {
                .id = id,
                .prefix_allowed = strlen(id) >= PREFIX_MIN && all_hex(id, strlen(id)),
        };
        _cleanup_free_ char *shown = text_escape(id, strlen(id), 80);
        _cleanup_close_ int top = -1;
        int r;

        if (!shown)
                return -ENOMEM;
        if (!*id || strlen(id) > ID_MAX || strchr(id, '/') || streq(id, ".") || streq(id, ".."))
                return fail(reterr, -ENOENT, "\"%s\" cannot be the id of a container: it is empty, too long, or has a slash.",
                        shown);
        top = open(root->mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (top < 0)
                return fail(reterr, -errno, "Cannot open the memory hierarchy at %s: %s.", root->mount, strerror(errno));
        r = cgroup_walk(top, visit, &s);
        if (r < 0)
                return r;
        return decide(root, &s, shown, r > 0, ret, reterr);
}

int cgroup_find_container(const struct cgroup_root *root, const char *id, struct cgroup **ret, char **reterr) {
        _cleanup_free_ char *path = NULL;
        int r;

        r = cgroup_find_container_path(root, id, &path, reterr);
        return r < 0 ? r : cgroup_open(root, path, ret, reterr);
}

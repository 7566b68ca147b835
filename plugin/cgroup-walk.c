/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The walk over groups, breadth first.
 *
 * Invariant: the queue holds paths that were visited and wait to be read; its bytes and its length are bounded by the limits of
 * the header.
 */
#include <dirent.h>
#include <fcntl.h>

#include "cgroup-walk.h"

struct queue {
        char **paths;
        size_t n, room, bytes;
};

static void queue_done(struct queue *q) {
        for (size_t i = 0; i < q->n; i++)
                free(q->paths[i]);
        free(q->paths);
}

/* Takes the path over, also on failure. */
static int queue_add(struct queue *q, char *path) {
        if (q->n == q->room) {
                size_t room = q->room ? q->room * 2 : 64;
                char **paths = reallocarray(q->paths, room, sizeof *paths);

                if (!paths) {
                        free(path);
                        return -ENOMEM;
                }
                q->paths = paths;
                q->room = room;
        }
        q->bytes += strlen(path) + 1;
        q->paths[q->n++] = path;
        return 0;
}

static bool queue_full(const struct queue *q) {
        return q->n >= CGROUP_WALK_GROUPS_MAX || q->bytes >= CGROUP_WALK_BYTES_MAX;
}

static size_t depth_of(const char *path) {
        size_t n = 0;

        for (; *path; path++)
                n += *path == '/';
        return n;
}

static DIR *open_group(int start, const char *path) {
        int fd = openat(start, *path ? path + 1 : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        DIR *directory;

        if (fd < 0)
                return NULL;
        directory = fdopendir(fd);
        if (!directory)
                close(fd);
        return directory;
}

static int visit_child(const char *parent, const char *name, struct queue *q, cgroup_visit visit, void *userdata) {
        char *path = format("%s/%s", parent, name);
        int r;

        if (!path)
                return -ENOMEM;
        r = visit(path, userdata);
        if (r <= 0) {
                free(path);
                return r;
        }
        return queue_add(q, path);
}

/* Visits the children of one group. 1 when a limit was met. */
static int visit_children(int start, const char *parent, struct queue *q, cgroup_visit visit, void *userdata) {
        bool deep = depth_of(parent) >= CGROUP_WALK_DEPTH_MAX;
        DIR *directory = open_group(start, parent);
        struct dirent *entry;
        int r = 0;

        if (!directory)
                return errno == ENOMEM ? -ENOMEM : 0;
        while (r == 0 && (entry = readdir(directory))) {
                if (entry->d_type != DT_DIR || streq(entry->d_name, ".") || streq(entry->d_name, ".."))
                        continue;
                r = deep || queue_full(q) ? 1 : visit_child(parent, entry->d_name, q, visit, userdata);
        }
        closedir(directory);
        return r;
}

int cgroup_walk(int start, cgroup_visit visit, void *userdata) {
        _cleanup_(queue_done) struct queue q = {0};
        bool cut = false;
        char *top = strdup("");
        int r;

        if (!top)
                return -ENOMEM;
        r = queue_add(&q, top);
        for (size_t i = 0; r >= 0 && i < q.n; i++) {
                r = visit_children(start, q.paths[i], &q, visit, userdata);
                cut |= r > 0;
        }
        return r < 0 ? r : cut;
}

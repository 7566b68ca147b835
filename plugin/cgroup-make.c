/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A group for one command, and its removal.
 *
 * Invariants: nothing is made outside the hierarchy's own rules (a v2 group that hands controllers on holds no process); what
 * is removed is the directory that was made, told by its inode, not what has its name now.
 */
#include <fcntl.h>
#include <limits.h>
#include <time.h>

#include "cgroup-path.h"
#include "cgroup-walk.h"
#include "cgroup.h"
#include "hierarchy.h"
#include "text.h"

/* Writing a process away races with its forks; each round takes those that were born meanwhile. */
#define MOVE_ROUNDS 64
#define PROCS_MAX (4 * 1024 * 1024)
#define REMOVE_US 1000000
#define PAUSE_FIRST_US 500
#define PAUSE_LAST_US 50000

static bool has_word(const char *text, const char *word) {
        size_t n = strlen(word);

        for (const char *p = text; (p = strstr(p, word)); p += n)
                if ((p == text || p[-1] == ' ') && (p[n] == ' ' || p[n] == '\n' || p[n] == '\0'))
                        return true;
        return false;
}

/* True when the v2 group hands the memory controller on to its children. */
static bool hands_memory_on(const struct cgroup_root *root, const char *path) {
        _cleanup_free_ char *file = format("%s%s/cgroup.subtree_control", root->mount, path), *text = NULL;

        return file && text_read_file(AT_FDCWD, file, 4096, &text, NULL) >= 0 && has_word(text, "memory");
}

static int parent_for_new(const struct cgroup_root *root, char **ret, char **reterr) {
        _cleanup_free_ char *path = NULL;
        int r;

        r = cgroup_path_own(&path, reterr);
        if (r < 0)
                return r;
        while (root->layout == CGROUP_V2 && !streq(path, "/") && !hands_memory_on(root, path))
                cgroup_path_climb(path);
        *ret = TAKE(path);
        return 0;
}

static bool name_ok(const char *name) {
        return *name && strlen(name) <= NAME_MAX && !strpbrk(name, "/\n") && !streq(name, ".") && !streq(name, "..");
}

int cgroup_create(const struct cgroup_root *root, const char *name, struct cgroup **ret, char **reterr) {
        _cleanup_free_ char *parent = NULL, *path = NULL, *file = NULL, *sentence = NULL;
        int r;

        if (!name_ok(name))
                return fail(reterr, -EINVAL, "That is no name for a cgroup.");
        r = parent_for_new(root, &parent, reterr);
        if (r < 0)
                return r;
        path = format("%s/%s", streq(parent, "/") ? "" : parent, name);
        file = path ? format("%s%s", root->mount, path) : NULL;
        if (!file)
                return -ENOMEM;
        if (access(file, F_OK) == 0)
                return fail(reterr, -EEXIST, "There is a cgroup of that name already.");
        r = hierarchy_make(path + 1, &sentence);
        if (r >= 0)
                r = cgroup_open(root, path, ret, &sentence);
        if (r < 0) {
                _cleanup_free_ char *shown = cgroup_path_show(path);

                rmdir(file);
                return fail(reterr, r, "Cannot make the cgroup %s: %s", shown ?: "?", sentence ?: strerror(-r));
        }
        return 0;
}

/* Writes each process of the group `from` (an open directory) into `to` (an open cgroup.procs). Returns how many were there. */
static int move_once(int from, int to) {
        _cleanup_free_ char *text = NULL;
        char *save = NULL;
        int r, n = 0;

        r = text_read_file(from, "cgroup.procs", PROCS_MAX, &text, NULL);
        if (r < 0)
                return r;
        for (char *pid = strtok_r(text, "\n", &save); pid; pid = strtok_r(NULL, "\n", &save)) {
                n++;
                if (write(to, pid, strlen(pid)) < 0 && errno != ESRCH)
                        return -errno;
        }
        return n;
}

static int move_all(const struct cgroup_root *root, int from, const char *target) {
        _cleanup_free_ char *file = format("%s%s/cgroup.procs", root->mount, target);
        _cleanup_close_ int to = -1;
        int r = 0;

        if (!file)
                return -ENOMEM;
        to = open(file, O_WRONLY | O_CLOEXEC);
        if (to < 0)
                return -errno;
        for (int i = 0; i < MOVE_ROUNDS; i++) {
                r = move_once(from, to);
                if (r <= 0)
                        return r;
        }
        return -EBUSY;
}

/* Empties one group of processes. On v2 the parent hands controllers on and may refuse them: they go where the caller is then.
 */
static int evacuate(const struct cgroup_root *root, int group, const char *parent) {
        _cleanup_free_ char *own = NULL;
        int r;

        r = move_all(root, group, parent);
        if (r != -EBUSY && r != -EOPNOTSUPP)
                return r;
        if (cgroup_path_own(&own, NULL) < 0)
                return r;
        return move_all(root, group, own);
}

struct family {
        const struct cgroup_root *root;
        const struct cgroup *top;
        const char *parent; /* of the top */
        char **paths;       /* below the top, parents before children */
        size_t n;
};

static void family_done(struct family *f) {
        for (size_t i = 0; i < f->n; i++)
                free(f->paths[i]);
        free(f->paths);
}

static int note_descendant(const char *path, void *userdata) {
        struct family *f = userdata;
        char **paths = reallocarray(f->paths, f->n + 1, sizeof *paths);

        if (!paths)
                return -ENOMEM;
        f->paths = paths;
        paths[f->n] = strdup(path);
        if (!paths[f->n])
                return -ENOMEM;
        f->n++;
        return 1;
}

/* One attempt at one group below the top, or at the top itself (path ""). */
static int remove_one(const struct family *f, const char *path) {
        _cleanup_free_ char *full = format("%s%s", f->top->path, path);
        _cleanup_close_ int fd = -1;
        int r;

        if (!full)
                return -ENOMEM;
        fd = openat(f->top->fd, *path ? path + 1 : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return errno == ENOENT ? 0 : -errno;
        r = evacuate(f->root, fd, f->parent);
        if (r == -ENOENT || r == -ENODEV)
                return 0;
        /* Threaded groups do not list processes (EOPNOTSUPP); those left with the threads' leader. */
        if (r < 0 && r != -EOPNOTSUPP)
                return r;
        return hierarchy_remove(full + 1);
}

static int remove_family(const struct cgroup_root *root, const struct cgroup *c, const char *parent) {
        _cleanup_(family_done) struct family f = {.root = root, .top = c, .parent = parent};
        int r;

        r = cgroup_walk(c->fd, note_descendant, &f);
        if (r < 0)
                return r;
        /* The leaders of threads in the groups below may be in the top one: empty that first. */
        r = evacuate(root, c->fd, parent);
        if (r < 0 && r != -ENOENT && r != -ENODEV && r != -EOPNOTSUPP)
                return r;
        for (size_t i = f.n; i > 0; i--) {
                r = remove_one(&f, f.paths[i - 1]);
                if (r < 0)
                        return r;
        }
        return remove_one(&f, "");
}

static uint64_t now_us(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

int cgroup_remove(const struct cgroup_root *root, struct cgroup *c, char **reterr) {
        uint64_t end = now_us() + REMOVE_US;
        _cleanup_free_ char *parent = strdup(c->path), *shown = cgroup_path_show(c->path);
        unsigned pause = PAUSE_FIRST_US;
        int r;

        if (!parent || !shown)
                return -ENOMEM;
        cgroup_path_climb(parent);
        /*
         * Exiting processes leave a group late, and v1 tells nobody when: the kernel has no event to wait for here.
         */
        while (!cgroup_gone(c)) {
                r = remove_family(root, c, parent);
                if (cgroup_gone(c))
                        break;
                if (r < 0 && r != -EBUSY)
                        return fail(reterr, r, "Cannot remove the cgroup %s: %s.", shown, strerror(-r));
                if (now_us() >= end)
                        return fail(reterr, -EBUSY, "Cannot remove the cgroup %s: processes are left in it.", shown);
                usleep(pause);
                pause = pause * 2 > PAUSE_LAST_US ? PAUSE_LAST_US : pause * 2;
        }
        return 0;
}

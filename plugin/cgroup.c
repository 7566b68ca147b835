/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One directory of the memory hierarchy: opening it without being led astray, and telling when it is gone.
 *
 * Invariants: every path is normalized text first ("/a/b", no "." or ".."), and every descriptor is a directory of a cgroup
 * file system that was reached without a symbolic link and without crossing a mount.
 */
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>

#include "cgroup-path.h"
#include "cgroup.h"
#include "hierarchy.h"
#include "text.h"

static const char *const layout_names[] = {
        [CGROUP_V1] = "v1",
        [CGROUP_HYBRID] = "hybrid",
        [CGROUP_V2] = "v2",
};

const char *cgroup_layout_to_string(enum cgroup_layout layout) {
        return layout_names[layout];
}

/* 1 for v1, 2 for v2, 0 for another file system, or negative errno. */
static int cgroup_version(int fd) {
        struct statfs s;

        if (fstatfs(fd, &s) < 0)
                return -errno;
        if (s.f_type == CGROUP2_SUPER_MAGIC)
                return 2;
        return s.f_type == CGROUP_SUPER_MAGIC ? 1 : 0;
}

static int open_mount(const char *mount) {
        int fd = open(mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        return fd < 0 ? -errno : fd;
}

int cgroup_root_new(struct cgroup_root **ret, char **reterr) {
        _cleanup_(cgroup_root_freep) struct cgroup_root *root = calloc(1, sizeof *root);
        _cleanup_close_ int fd = -1;
        bool unified = false;
        int r;

        if (!root)
                return fail(reterr, -ENOMEM, "Out of memory.");
        r = hierarchy_find(&root->mount, &unified, reterr);
        if (r < 0)
                return r;
        fd = open_mount(root->mount);
        if (fd < 0)
                return fail(reterr, fd, "Cannot open the memory hierarchy at %s: %s.", root->mount, strerror(-fd));
        r = cgroup_version(fd);
        if (r <= 0)
                return fail(reterr, r < 0 ? r : -ENOTSUP,
                        "%s, where the memory controller should be, is no cgroup file system.", root->mount);
        root->layout = r == 2 ? CGROUP_V2 : unified ? CGROUP_HYBRID : CGROUP_V1;
        *ret = TAKE(root);
        return 0;
}

struct cgroup_root *cgroup_root_free(struct cgroup_root *r) {
        if (r)
                free(r->mount);
        free(r);
        return NULL;
}

struct cgroup *cgroup_free(struct cgroup *c) {
        if (!c)
                return NULL;
        closep(&c->fd);
        free(c->path);
        free(c);
        return NULL;
}

/* One component after the other, for machines (or seccomp filters) without openat2. */
static int open_by_steps(int mount, const char *relative) {
        _cleanup_free_ char *copy = strdup(relative);
        _cleanup_close_ int fd = -1;
        struct stat top, here;
        char *save = NULL;

        if (!copy)
                return -ENOMEM;
        if (fstat(mount, &top) < 0)
                return -errno;
        for (char *step = strtok_r(copy, "/", &save); step; step = strtok_r(NULL, "/", &save)) {
                int next = openat(fd < 0 ? mount : fd, step, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

                if (next < 0)
                        return -errno;
                closep(&fd);
                fd = next;
                if (fstat(fd, &here) < 0)
                        return -errno;
                if (here.st_dev != top.st_dev)
                        return -EXDEV;
        }
        return TAKE_FD(fd);
}

/* Opens `relative` (normalized, not empty, no leading slash) below `mount`, never outside it. */
static int open_beneath(int mount, const char *relative) {
        struct open_how how = {
                .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC,
                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
        };
        long fd = syscall(SYS_openat2, mount, relative, &how, sizeof how);

        if (fd >= 0)
                return (int)fd;
        if (errno == ENOSYS || errno == EPERM || errno == EAGAIN)
                return open_by_steps(mount, relative);
        return -errno;
}

/*
 * The path of a group as users give it, relative to the hierarchy. Empty for the root. Text that begins with the mount point is
 * taken as absolute.
 */
static int relative_path(const struct cgroup_root *root, const char *path, char **ret) {
        size_t n = strlen(root->mount);

        if (streq(path, root->mount))
                path = "/";
        else if (strncmp(path, root->mount, n) == 0 && path[n] == '/')
                path += n;
        return cgroup_path_normalize(path, ret);
}

static int explain_open(const struct cgroup_root *root, const char *path, int error, char **reterr) {
        switch (error) {
        case -ENOENT:
                return fail(reterr, error, "There is no cgroup %s below %s.", path, root->mount);
        case -ENOTDIR:
        case -ELOOP:
        case -EXDEV:
                return fail(reterr, -EINVAL, "%s is no cgroup directory of the memory hierarchy at %s.", path, root->mount);
        case -ENAMETOOLONG:
                return fail(reterr, -EINVAL, "The cgroup path %s is too long.", path);
        default:
                return fail(reterr, error, "Cannot open the cgroup %s below %s: %s.", path, root->mount, strerror(-error));
        }
}

/* Fills a group from an open directory; takes the descriptor and the path over on success only. */
static int adopt(const struct cgroup_root *root, int *fd, char **path, struct cgroup **ret) {
        struct cgroup *c;
        struct stat st;

        if (fstat(*fd, &st) < 0)
                return -errno;
        c = calloc(1, sizeof *c);
        if (!c)
                return -ENOMEM;
        c->fd = TAKE_FD(*fd);
        c->path = TAKE(*path);
        c->id = st.st_ino;
        c->layout = root->layout;
        *ret = c;
        return 0;
}

/* Opens a normalized path. `shown` is the same, fit for people. */
static int open_normalized(
        const struct cgroup_root *root, char **path, const char *shown, bool need_memory, struct cgroup **ret, char **reterr) {
        _cleanup_close_ int mount = -1, fd = -1;
        int version;

        mount = open_mount(root->mount);
        if (mount < 0)
                return explain_open(root, shown, mount, reterr);
        fd = open_beneath(mount, streq(*path, "/") ? "." : *path + 1);
        if (fd < 0)
                return explain_open(root, shown, fd, reterr);
        version = cgroup_version(fd);
        if (version < 0)
                return explain_open(root, shown, version, reterr);
        if (version != (root->layout == CGROUP_V2 ? 2 : 1))
                return explain_open(root, shown, -EXDEV, reterr);
        if (need_memory && faccessat(fd, "memory.stat", F_OK, 0) < 0 && faccessat(fd, "cgroup.procs", F_OK, 0) < 0)
                return explain_open(root, shown, -ENOENT, reterr); /* removed since it was opened */
        if (need_memory && faccessat(fd, "memory.stat", F_OK, 0) < 0)
                return fail(reterr, -EOPNOTSUPP,
                        "The cgroup %s has no memory controller of its own: enable it in cgroup.subtree_control of its parent, "
                        "or "
                        "profile an ancestor.",
                        shown);
        return adopt(root, &fd, path, ret);
}

int cgroup_open(const struct cgroup_root *root, const char *path, struct cgroup **ret, char **reterr) {
        _cleanup_free_ char *normal = NULL, *shown = cgroup_path_show(path);
        int r;

        if (!shown)
                return -ENOMEM;
        r = relative_path(root, path, &normal);
        if (r == -EINVAL)
                return fail(reterr, r, "\"%s\" is no path of a cgroup: it is empty or has a component \"..\".", shown);
        if (r == -ENAMETOOLONG)
                return explain_open(root, shown, r, reterr);
        if (r < 0)
                return r;
        if (streq(normal, "/"))
                return fail(reterr, -EINVAL,
                        "The root cgroup is the whole machine and no group: ask for the target `host` instead.");
        return open_normalized(root, &normal, shown, true, ret, reterr);
}

int cgroup_open_host(const struct cgroup_root *root, struct cgroup **ret, char **reterr) {
        _cleanup_free_ char *path = strdup("/");

        return path ? open_normalized(root, &path, "/", false, ret, reterr) : -ENOMEM;
}

int cgroup_reopen(const struct cgroup_root *root, const char *path, uint64_t id, struct cgroup **ret) {
        _cleanup_(cgroup_freep) struct cgroup *c = NULL;
        int r = streq(path, "/") ? cgroup_open_host(root, &c, NULL) : cgroup_open(root, path, &c, NULL);

        if (r == -ENOMEM)
                return r;
        if (r >= 0 && c->id == id) {
                *ret = TAKE(c);
                return 0;
        }
        if (c)
                c = cgroup_free(c);
        c = calloc(1, sizeof *c);
        if (!c)
                return -ENOMEM;
        *c = (struct cgroup){.path = strdup(path), .fd = -1, .id = id, .layout = root->layout};
        if (!c->path)
                return -ENOMEM;
        *ret = TAKE(c);
        return 0;
}

bool cgroup_is_below(const struct cgroup *inner, const struct cgroup *outer) {
        size_t n = strlen(outer->path);

        if (cgroup_is_host(outer))
                return !cgroup_is_host(inner);
        return strncmp(inner->path, outer->path, n) == 0 && inner->path[n] == '/';
}

/*
 * Measured on Linux 6.18, v1 and v2 alike, with a directory descriptor that outlives rmdir: fstat still succeeds with the old
 * inode and st_nlink 2, fstatfs and openat(".") succeed, readdir is empty without an error; only looking up a file says ENOENT
 * (a file opened before says ENODEV). A new group of the same name is another directory and does not revive the descriptor.
 */
bool cgroup_gone(const struct cgroup *c) {
        return c->fd < 0 || (faccessat(c->fd, "cgroup.procs", F_OK, 0) < 0 && (errno == ENOENT || errno == ENODEV));
}

int cgroup_of_pid(const struct cgroup_root *root, pid_t pid, struct cgroup **ret, char **reterr) {
        _cleanup_free_ char *path = NULL;
        int r;

        r = cgroup_path_of_pid(pid, &path, reterr);
        if (r < 0)
                return r;
        while (root->layout == CGROUP_V2 && !streq(path, "/")) {
                _cleanup_free_ char *shown = cgroup_path_show(path), *sentence = NULL;

                if (!shown)
                        return -ENOMEM;
                r = open_normalized(root, &path, shown, true, ret, &sentence);
                if (r != -EOPNOTSUPP)
                        return r < 0 ? fail(reterr, r, "%s", sentence ?: strerror(-r)) : r;
                cgroup_path_climb(path);
        }
        return cgroup_open(root, path, ret, reterr);
}

/*
 * Opens what a runtime calls cgroupsPath: absolute; relative to where the runtime was, so found again as a part of the
 * process's own path; or systemd's "slice:prefix:name".
 */
static int scope_of_bundle(const char *cgroups_path, const char *process, char **ret) {
        _cleanup_free_ char *unit = NULL;
        int r;

        r = cgroup_path_of_unit(cgroups_path, &unit);
        if (r < 0)
                return r;
        if (unit) {
                *ret = TAKE(unit);
                return 0;
        }
        if (cgroups_path[0] != '/') {
                r = cgroup_path_down_to(process, cgroups_path, ret);
                if (r != -ENOENT)
                        return r;
        }
        return cgroup_path_normalize(cgroups_path, ret);
}

static int scope_path(const char *process, const char *id, const char *cgroups_path, char **ret, char **reterr) {
        _cleanup_free_ char *shown = NULL;
        int r;

        r = cgroup_path_topmost(process, id, ret);
        if (r != -ENOENT)
                return r;
        if (cgroups_path && *cgroups_path) {
                r = scope_of_bundle(cgroups_path, process, ret);
                if (r != -EINVAL && r != -ENAMETOOLONG)
                        return r;
                shown = cgroup_path_show(cgroups_path);
                return fail(reterr, -EINVAL, "linux.cgroupsPath \"%s\" of the bundle is no path of a cgroup.", shown ?: "?");
        }
        *ret = strdup(process);
        return *ret ? 0 : -ENOMEM;
}

/* A bundle may be wrong, or of a runtime that sees another hierarchy: what it names is not the container's then. */
static int check_inside(const char *scope, const char *process, const char *shown, char **reterr) {
        _cleanup_free_ char *is = NULL;

        if (cgroup_path_covers(scope, process))
                return 0;
        is = cgroup_path_show(process);
        return fail(reterr, -ENOENT, "The bundle names the cgroup %s, but the container's process is in %s.", shown, is ?: "?");
}

int cgroup_of_container(const struct cgroup_root *root, pid_t pid, const char *id, const char *cgroups_path,
        struct cgroup **ret, char **reterr) {
        _cleanup_free_ char *process = NULL, *own = NULL, *scope = NULL, *shown = NULL;
        int r;

        r = cgroup_path_of_pid(pid, &process, reterr);
        if (r < 0)
                return r;
        r = cgroup_path_own(&own, reterr);
        if (r < 0)
                return r;
        r = scope_path(process, id, cgroups_path, &scope, reterr);
        if (r < 0)
                return r;
        shown = cgroup_path_show(scope);
        if (!shown)
                return -ENOMEM;
        if (cgroup_path_covers(scope, own))
                return fail(reterr, -EOPNOTSUPP, "This container has no cgroup of its own: its process is in %s, which %s.",
                        shown, streq(scope, "/") ? "is the root" : "holds this program too");
        r = check_inside(scope, process, shown, reterr);
        if (r < 0)
                return r;
        r = open_normalized(root, &scope, shown, true, ret, reterr);
        if (r == -ENOENT) {
                /* Either the container went away meanwhile, or the bundle names what is not there. */
                _cleanup_free_ char *again = NULL;
                int gone = cgroup_path_of_pid(pid, &again, NULL);

                if (gone == -ESRCH)
                        return fail(reterr, -ESRCH, "Process %d of the container is gone.", (int)pid);
        }
        return r;
}

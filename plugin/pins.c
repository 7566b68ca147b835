/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See pins.h. */
#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "pins.h"

DEFINE_CLEANUP(DIR, closedir)

static DIR *list(int fd) {
        int again = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = again < 0 ? NULL : fdopendir(again);

        if (!d && again >= 0)
                close(again);
        return d;
}

void pins_remove_tree(int at, const char *name) {
        _cleanup_close_ int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        _cleanup_(closedirp) DIR *d = fd < 0 ? NULL : list(fd);
        struct dirent *entry;

        while (d && (entry = readdir(d))) {
                if (streq(entry->d_name, ".") || streq(entry->d_name, ".."))
                        continue;
                if (entry->d_type == DT_DIR)
                        pins_remove_tree(fd, entry->d_name);
                else
                        (void)unlinkat(fd, entry->d_name, 0);
        }
        (void)unlinkat(at, name, AT_REMOVEDIR);
}

size_t pins_remove_others(int dir, const char *keep) {
        _cleanup_(closedirp) DIR *d = list(dir);
        struct dirent *entry;
        size_t n = 0;

        while (d && (entry = readdir(d))) {
                if (entry->d_name[0] == '.' || streq(entry->d_name, keep))
                        continue;
                n += !streq(entry->d_name, PINS_MAKING);
                pins_remove_tree(dir, entry->d_name);
        }
        return n;
}

static bool is_bpf_fs(int fd) {
        struct statfs s;

        return fstatfs(fd, &s) >= 0 && s.f_type == BPF_FS_MAGIC;
}

/* The directory that it is in; a descriptor. */
static int open_parent(const char *path) {
        const char *slash = strrchr(path, '/');
        _cleanup_free_ char *parent = slash ? format("%.*s/", (int)(slash - path), path) : NULL;
        int fd = parent ? open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

        return fd < 0 ? -errno : fd;
}

int pins_lock(const char *path, char **reterr) {
        _cleanup_close_ int parent = open_parent(path), fd = -1;

        if (parent < 0)
                return parent;
        if (!is_bpf_fs(parent))
                return -EMEDIUMTYPE;
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
                return -errno;
        fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || fchmod(fd, 0700) < 0)
                return -errno;
        if (flock(fd, LOCK_EX | LOCK_NB) < 0)
                return errno == EWOULDBLOCK ? fail(reterr, -EBUSY, "Another process counts in %s.", path) : -errno;
        return TAKE_FD(fd);
}

int pins_drop(const char *path, char **reterr) {
        _cleanup_close_ int fd = -1;
        size_t n;

        if (access(path, F_OK) < 0)
                return errno == ENOENT ? 0 : fail(reterr, -errno, "%s cannot be looked at: %s.", path, strerror(errno));
        fd = pins_lock(path, reterr);
        if (fd == -EBUSY)
                return fd;
        if (fd < 0)
                return fail(reterr, fd, "%s cannot be cleared: %s.", path, strerror(-fd));
        n = pins_remove_others(fd, "");
        if (rmdir(path) < 0)
                return fail(reterr, -errno, "%s cannot be removed: %s.", path, strerror(errno));
        return n > 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The only user of libcgroup.
 *
 * Invariants: libcgroup never prints (it writes to stdout by default, which is the place of documents), and its table of mounts
 * is read anew before each use, because it is a global that does not notice a mount.
 */
#include <libcgroup.h>
#include <limits.h>
#include <mntent.h>

#include "hierarchy.h"

static void discard(void *userdata, int level, const char *fmt, va_list ap) {
}

/* libcgroup reports most failures of the kernel as one code and leaves the errno aside. */
static int to_errno(int code) {
        switch (code) {
        case 0:
                return 0;
        case ECGOTHER:
                return cgroup_get_last_errno() > 0 ? -cgroup_get_last_errno() : -EIO;
        case ECGROUPNOTOWNER:
        case ECGROUPNOTALLOWED:
                return -EACCES;
        case ECGROUPNOTEXIST:
        case ECGROUPSUBSYSNOTMOUNTED:
                return -ENOENT;
        default:
                return -EIO;
        }
}

static int start(char **reterr) {
        int code;

        cgroup_set_logger(discard, CGROUP_LOG_ERROR, NULL);
        code = cgroup_init();
        if (code == 0)
                return 0;
        return fail(reterr, -ENOTSUP, "No cgroup hierarchy is mounted (libcgroup: %s).", cgroup_strerror(code));
}

static int find_unified(bool *ret) {
        _cleanup_free_ char *buffer = malloc(PATH_MAX * 2);
        struct mntent entry;
        FILE *mounts;

        if (!buffer)
                return -ENOMEM;
        mounts = setmntent("/proc/self/mounts", "re");
        if (!mounts)
                return -errno;
        *ret = false;
        while (!*ret && getmntent_r(mounts, &entry, buffer, PATH_MAX * 2))
                *ret = streq(entry.mnt_type, "cgroup2");
        endmntent(mounts);
        return 0;
}

int hierarchy_find(char **ret_mount, bool *ret_unified_too, char **reterr) {
        char *mount = NULL;
        bool unified = false;
        int r;

        r = start(reterr);
        if (r < 0)
                return r;
        r = find_unified(&unified);
        if (r < 0)
                return fail(reterr, r, "Cannot read the table of mounts: %s.", strerror(-r));
        if (cgroup_get_subsys_mount_point("memory", &mount) != 0)
                return fail(reterr, -ENOTSUP, "No cgroup hierarchy with the memory controller is mounted.");
        *ret_mount = mount;
        *ret_unified_too = unified;
        return 0;
}

/* A description of the group for libcgroup, with the memory controller in it. */
static struct cgroup *describe(const char *path) {
        struct cgroup *group = cgroup_new_cgroup(path);

        if (group && !cgroup_add_controller(group, "memory"))
                cgroup_free(&group);
        return group;
}

int hierarchy_make(const char *path, char **reterr) {
        struct cgroup *group;
        int r;

        r = start(reterr);
        if (r < 0)
                return r;
        group = describe(path);
        if (!group)
                return -ENOMEM;
        r = to_errno(cgroup_create_cgroup(group, 1));
        cgroup_free(&group);
        return r < 0 ? fail(reterr, r, "The kernel refused to make a memory cgroup: %s.", strerror(-r)) : 0;
}

/* libcgroup 2.0 answers success when rmdir said EBUSY (measured), so the directory itself is asked. */
static int still_there(const char *path) {
        _cleanup_free_ char *directory = NULL;
        char *mount = NULL;

        if (cgroup_get_subsys_mount_point("memory", &mount) != 0)
                return -ENOENT;
        directory = format("%s/%s", mount, path);
        free(mount);
        if (!directory)
                return -ENOMEM;
        return access(directory, F_OK) == 0 ? -EBUSY : 0;
}

int hierarchy_remove(const char *path) {
        struct cgroup *group;
        int r;

        r = start(NULL);
        if (r < 0)
                return r;
        group = describe(path);
        if (!group)
                return -ENOMEM;
        r = to_errno(cgroup_delete_cgroup_ext(group, CGFLAG_DELETE_EMPTY_ONLY));
        cgroup_free(&group);
        if (r < 0 && r != -ENOENT)
                return r;
        return still_there(path);
}

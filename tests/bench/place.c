/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <sched.h>
#include <sys/mount.h>

#include "place.h"

/* Nobody else sees what is mounted here; it goes away with the last of our processes. */
static int mount_tree(struct place *p, char **reterr) {
        _cleanup_free_ char *directory = strdup("/tmp/memcgprof-bench-XXXXXX");
        int r = 0;

        if (!directory)
                return -ENOMEM;
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                return fail(reterr, -errno, "A mount namespace of our own cannot be made: %s.", strerror(errno));
        if (!mkdtemp(directory))
                return fail(reterr, -errno, "A directory cannot be made in /tmp: %s.", strerror(errno));
        if (mount("memcgprof-bench", directory, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0700") < 0) {
                r = fail(reterr, -errno, "A tmpfs cannot be mounted: %s.", strerror(errno));
                (void)rmdir(directory);
                return r;
        }
        p->tree = TAKE(directory);
        r = loops_make_tree(p->tree);
        return r < 0 ? fail(reterr, r, "The tree of files cannot be made: %s.", strerror(-r)) : 0;
}

static int make_group(struct place *p, const char *suffix, struct cgroup **ret, char **reterr) {
        _cleanup_free_ char *name = format("memcgprof-bench-%d%s", (int)getpid(), suffix);

        return name ? cgroup_create(p->root, name, ret, reterr) : -ENOMEM;
}

int place_new(struct place **ret, char **reterr) {
        _cleanup_(place_freep) struct place *p = calloc(1, sizeof(*p));
        int r;

        if (!p)
                return -ENOMEM;
        r = cgroup_root_new(&p->root, reterr);
        if (r >= 0)
                r = mount_tree(p, reterr);
        if (r >= 0)
                r = make_group(p, "", &p->inside, reterr);
        if (r >= 0)
                r = make_group(p, "-outside", &p->outside, reterr);
        if (r >= 0)
                r = runner_new(p->tree, &p->runner);
        if (r >= 0)
                r = place_move(p, runner_pid(p->runner), p->inside, reterr);
        if (r < 0)
                return r;
        (void)cgroup_open_host(p->root, &p->host, NULL);
        *ret = TAKE(p);
        return 0;
}

struct place *place_free(struct place *p) {
        if (!p)
                return NULL;
        runner_free(p->runner);
        if (p->inside)
                (void)cgroup_remove(p->root, p->inside, NULL);
        if (p->outside)
                (void)cgroup_remove(p->root, p->outside, NULL);
        if (p->tree) {
                (void)umount2(p->tree, MNT_DETACH);
                (void)rmdir(p->tree);
        }
        cgroup_free(p->inside);
        cgroup_free(p->outside);
        cgroup_free(p->host);
        cgroup_root_free(p->root);
        free(p->tree);
        free(p);
        return NULL;
}

int place_move(const struct place *p, pid_t pid, const struct cgroup *group, char **reterr) {
        _cleanup_free_ char *file = format("%s%s/cgroup.procs", p->root->mount, group->path);
        _cleanup_fclose_ FILE *f = file ? fopen(file, "we") : NULL;

        if (f && fprintf(f, "%d\n", (int)pid) > 0 && fflush(f) == 0)
                return 0;
        return fail(reterr, -errno, "Process %d cannot be moved to %s: %s.", (int)pid, group->path, strerror(errno));
}

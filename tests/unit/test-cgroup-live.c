/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Cgroups as the running kernel has them: making, opening, removing, telling when they are gone, and a container's scope. As
 * root only; everything is made below this test's own group, or in a mount namespace of its own.
 */
#include "unit.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "cgroup-path.h"
#include "cgroup.h"
#include "hierarchy.h"
#include "text.h"

struct live {
        struct cgroup_root *root;
        struct cgroup *group;
        char *name;
};

static int prepare(void **state) {
        static unsigned serial;
        struct live *l = calloc(1, sizeof *l);

        *state = l;
        l->name = format("memcgprof-test-%d-%u", (int)getpid(), serial++);
        if (geteuid() != 0 || cgroup_root_new(&l->root, NULL) < 0)
                return 0;
        if (cgroup_create(l->root, l->name, &l->group, NULL) < 0)
                l->group = NULL;
        return 0;
}

static int clean(void **state) {
        struct live *l = *state;
        int r = 0;

        if (l->group)
                r = cgroup_remove(l->root, l->group, NULL);
        cgroup_free(l->group);
        cgroup_root_free(l->root);
        free(l->name);
        free(l);
        return r;
}

static struct live *need(void **state) {
        struct live *l = *state;

        if (!l->group)
                skip();
        return l;
}

/* The file `name` in the directory `path` of the hierarchy. */
static char *in_group(const struct live *l, const char *path, const char *name) {
        return format("%s%s/%s", l->root->mount, path, name);
}

static void put(const struct live *l, const char *path, pid_t pid) {
        _cleanup_free_ char *file = in_group(l, path, "cgroup.procs");
        _cleanup_close_ int fd = open(file, O_WRONLY | O_CLOEXEC);

        assert_true(fd >= 0);
        assert_true(dprintf(fd, "%d", (int)pid) > 0);
}

static void add_child(const struct live *l, const char *path) {
        _cleanup_free_ char *full = in_group(l, path, "");

        assert_int_equal(mkdir(full, 0755), 0);
}

/* A process that does nothing until it is killed, at the latest when this one ends. */
static pid_t sleeper(void) {
        pid_t pid = fork();

        if (pid == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                for (;;)
                        pause();
        }
        assert_true(pid > 0);
        return pid;
}

static void end(pid_t pid) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
}

static void opens_what_it_made(void **state) {
        struct live *l = need(state);
        _cleanup_free_ char *absolute = in_group(l, l->group->path, ""), *file = format("%s/cgroup.procs", l->group->path);
        _cleanup_(cgroup_freep) struct cgroup *a = NULL, *b = NULL;
        struct cgroup *none = NULL;
        char *reterr = NULL;
        struct stat st;

        assert_int_equal(cgroup_open(l->root, l->group->path, &a, NULL), 0);
        assert_int_equal(cgroup_open(l->root, absolute, &b, NULL), 0);
        assert_string_equal(a->path, l->group->path);
        assert_string_equal(b->path, l->group->path);
        assert_int_equal(stat(absolute, &st), 0);
        assert_true(a->id == st.st_ino && b->id == st.st_ino && l->group->id == st.st_ino);
        assert_int_equal(a->layout, l->root->layout);
        assert_int_equal(cgroup_open(l->root, file, &none, &reterr), -EINVAL);
        assert_sentence(&reterr, "no cgroup directory");
        assert_int_equal(cgroup_open(l->root, l->root->mount, &none, &reterr), -EINVAL);
        assert_sentence(&reterr, "host");
        assert_null(none);
}

static void refuses_names(void **state) {
        struct live *l = need(state);
        struct cgroup *none = NULL;
        char *reterr = NULL;

        assert_int_equal(cgroup_create(l->root, l->name, &none, &reterr), -EEXIST);
        assert_sentence(&reterr, "already");
        for (const char *const *n = (const char *const[]){"", ".", "..", "a/b", "a\nb", NULL}; *n; n++) {
                assert_int_equal(cgroup_create(l->root, *n, &none, &reterr), -EINVAL);
                assert_sentence(&reterr, "no name");
        }
        assert_null(none);
}

static void is_gone_after_rmdir(void **state) {
        struct live *l = need(state);
        _cleanup_free_ char *directory = in_group(l, l->group->path, "");

        assert_false(cgroup_gone(l->group));
        assert_int_equal(rmdir(directory), 0);
        assert_true(cgroup_gone(l->group));
        /* Another group of the same name is another group. */
        assert_int_equal(mkdir(directory, 0755), 0);
        assert_true(cgroup_gone(l->group));
        assert_int_equal(cgroup_remove(l->root, l->group, NULL), 0);
        assert_int_equal(rmdir(directory), 0);
}

/* The same on cgroup v2 in a mount namespace of its own: no controller is needed for that. 77: cannot run here. */
static int gone_on_v2(void) {
        char top[] = "/tmp/memcgprof-cgroup2-XXXXXX";
        _cleanup_free_ char *directory = NULL;
        struct cgroup c = {.layout = CGROUP_V2};
        int r = 0;

        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || !mkdtemp(top))
                return 77;
        if (mount("none", top, "cgroup2", 0, NULL) < 0) {
                rmdir(top);
                return 77;
        }
        directory = format("%s/memcgprof-test-%d", top, (int)getpid());
        if (mkdir(directory, 0755) < 0)
                r = 77;
        if (r == 0) {
                c.fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                r = c.fd < 0 || cgroup_gone(&c);
                if (rmdir(directory) < 0 || !cgroup_gone(&c))
                        r = 2;
                closep(&c.fd);
        }
        umount2(top, MNT_DETACH);
        rmdir(top);
        return r;
}

static int in_child(int (*what)(void)) {
        pid_t pid = fork();
        int status;

        if (pid == 0)
                _exit(what());
        assert_true(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
        return WEXITSTATUS(status);
}

static void is_gone_on_v2(void **state) {
        int r = geteuid() == 0 ? in_child(gone_on_v2) : 77;

        if (r == 77)
                skip();
        assert_int_equal(r, 0);
}

/*
 * Without any cgroup mount: a plain answer. And in no case a byte on standard output, where libcgroup, told by CGROUP_LOGLEVEL
 * (see main), would write what it finds.
 */
static int no_hierarchy(void) {
        _cleanup_(cgroup_root_freep) struct cgroup_root *before = NULL, *root = NULL;
        _cleanup_free_ char *reterr = NULL;
        char buffer[64];
        int pipes[2], r;

        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || pipe2(pipes, O_NONBLOCK) < 0)
                return 77;
        dup2(pipes[1], 1);
        dup2(pipes[1], 2);
        cgroup_root_new(&before, NULL);
        if (umount2("/sys/fs/cgroup", MNT_DETACH) < 0)
                return 77;
        r = cgroup_root_new(&root, &reterr);
        fflush(NULL);
        if (read(pipes[0], buffer, sizeof buffer) > 0)
                return 3;
        return r == -ENOTSUP && reterr && strstr(reterr, "mounted") ? 0 : 4;
}

static void says_when_there_is_no_hierarchy(void **state) {
        int r = geteuid() == 0 ? in_child(no_hierarchy) : 77;

        if (r == 77)
                skip();
        assert_int_equal(r, 0);
}

static void removes_with_processes_in_it(void **state) {
        struct live *l = need(state);
        _cleanup_free_ char *inner = format("%s/inner", l->group->path), *deep = format("%s/deep", inner);
        _cleanup_free_ char *path = NULL, *parent = strdup(l->group->path);
        pid_t a = sleeper(), b = sleeper();

        /* v2 groups with processes in them and groups below work as long as no controller is handed on. */
        add_child(l, inner);
        add_child(l, deep);
        put(l, l->group->path, a);
        put(l, deep, b);
        assert_int_equal(cgroup_remove(l->root, l->group, NULL), 0);
        assert_true(cgroup_gone(l->group));
        assert_int_equal(kill(a, 0), 0);
        assert_int_equal(kill(b, 0), 0);
        assert_int_equal(cgroup_path_of_pid(a, &path, NULL), 0);
        cgroup_path_climb(parent);
        if (l->root->layout != CGROUP_V2)
                assert_string_equal(path, parent);
        assert_false(cgroup_path_covers(l->group->path, path));
        end(a);
        end(b);
        assert_int_equal(cgroup_remove(l->root, l->group, NULL), 0);
}

/* libcgroup says success here. */
static void tells_when_removal_failed(void **state) {
        struct live *l = need(state);
        pid_t pid = sleeper();

        put(l, l->group->path, pid);
        assert_int_equal(hierarchy_remove(l->group->path + 1), -EBUSY);
        assert_false(cgroup_gone(l->group));
        end(pid);
        assert_int_equal(hierarchy_remove("memcgprof-no-such-group"), 0);
}

/* Its processes fork while it is removed, and die by and by. */
static void removes_under_fire(void **state) {
        struct live *l = need(state);
        pid_t pids[4];

        for (size_t i = 0; i < ELEMENTS(pids); i++) {
                pids[i] = fork();
                if (pids[i] == 0) {
                        for (int n = 0; n < 200; n++) {
                                pid_t child = fork();

                                if (child == 0) {
                                        usleep(1000);
                                        _exit(0);
                                }
                                waitpid(child, NULL, 0);
                        }
                        _exit(0);
                }
                put(l, l->group->path, pids[i]);
        }
        assert_int_equal(cgroup_remove(l->root, l->group, NULL), 0);
        assert_true(cgroup_gone(l->group));
        for (size_t i = 0; i < ELEMENTS(pids); i++)
                waitpid(pids[i], NULL, 0);
}

static void expect_scope(const struct live *l, pid_t pid, const char *id, const char *cgroups_path, const char *expected) {
        _cleanup_(cgroup_freep) struct cgroup *c = NULL;
        _cleanup_free_ char *reterr = NULL;
        int r = cgroup_of_container(l->root, pid, id, cgroups_path, &c, &reterr);

        if (r < 0)
                fail_msg("%s: %s", id, reterr);
        assert_string_equal(c->path, expected);
}

static void expect_no_scope(
        const struct live *l, pid_t pid, const char *id, const char *cgroups_path, int error, const char *says) {
        struct cgroup *c = NULL;
        char *reterr = NULL;

        assert_int_equal(cgroup_of_container(l->root, pid, id, cgroups_path, &c, &reterr), error);
        assert_null(c);
        assert_sentence(&reterr, says);
}

static void finds_a_containers_scope(void **state) {
        struct live *l = need(state);
        _cleanup_free_ char *scope = format("%s/run-c1.scope", l->group->path), *inner = format("%s/init.scope", scope);
        _cleanup_free_ char *another = format("%s/run-c2.scope", l->group->path), *own = NULL, *relative = NULL;
        _cleanup_(cgroup_freep) struct cgroup *of_pid = NULL;
        pid_t pid = sleeper();

        add_child(l, scope);
        add_child(l, inner);
        add_child(l, another);
        put(l, inner, pid);
        relative = format("%s/run-c1.scope", l->name);
        if (l->root->layout == CGROUP_V2) {
                /* Neither has a controller of its own: what is charged is the group above. */
                assert_int_equal(cgroup_of_pid(l->root, pid, &of_pid, NULL), 0);
                assert_string_equal(of_pid->path, l->group->path);
                expect_no_scope(l, pid, "c1", NULL, -EOPNOTSUPP, "memory controller");
                end(pid);
                return;
        }
        assert_int_equal(cgroup_of_pid(l->root, pid, &of_pid, NULL), 0);
        assert_string_equal(of_pid->path, inner);
        expect_scope(l, pid, "c1", NULL, scope);
        expect_scope(l, pid, "c1", "/wrong", scope);
        expect_scope(l, pid, "other", scope, scope);
        expect_scope(l, pid, "other", relative, scope);
        expect_scope(l, pid, "other", NULL, inner);
        expect_no_scope(l, pid, "other", "/", -EOPNOTSUPP, "no cgroup of its own");
        expect_no_scope(l, pid, "other", "/a/../b", -EINVAL, "cgroupsPath");
        expect_no_scope(l, pid, "other", "/there/is/none", -ENOENT, "/there/is/none");
        expect_no_scope(l, pid, "other", another, -ENOENT, "but the container's process is in");
        assert_int_equal(cgroup_path_of_pid(getpid(), &own, NULL), 0);
        expect_no_scope(l, pid, "other", own, -EOPNOTSUPP, "no cgroup of its own");
        expect_no_scope(l, getpid(), "other", NULL, -EOPNOTSUPP, "no cgroup of its own");
        end(pid);
        expect_no_scope(l, pid, "c1", NULL, -ESRCH, "process");
        expect_no_scope(l, 0, "c1", NULL, -ESRCH, "process 0");
}

static void finds_by_id(void **state) {
        struct live *l = need(state);
        _cleanup_(cgroup_freep) struct cgroup *c = NULL;
        struct cgroup *none = NULL;
        char *reterr = NULL;

        assert_int_equal(cgroup_find_container(l->root, l->name, &c, NULL), 0);
        assert_string_equal(c->path, l->group->path);
        assert_true(c->id == l->group->id);
        assert_int_equal(cgroup_find_container(l->root, "memcgprof-no-such-container", &none, &reterr), -ENOENT);
        assert_sentence(&reterr, "memcgprof-no-such-container.scope");
}

#define LIVE(test) cmocka_unit_test_setup_teardown(test, prepare, clean)

int main(void) {
        const struct CMUnitTest tests[] = {
                LIVE(opens_what_it_made),
                LIVE(refuses_names),
                LIVE(is_gone_after_rmdir),
                cmocka_unit_test(is_gone_on_v2),
                cmocka_unit_test(says_when_there_is_no_hierarchy),
                LIVE(removes_with_processes_in_it),
                LIVE(tells_when_removal_failed),
                LIVE(removes_under_fire),
                LIVE(finds_a_containers_scope),
                LIVE(finds_by_id),
        };

        setenv("CGROUP_LOGLEVEL", "DEBUG", 1);
        return cmocka_run_group_tests(tests, NULL, NULL);
}

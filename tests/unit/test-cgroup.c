/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Cgroups without a cgroup file system: paths, /proc/PID/cgroup, bundles, the search for a container, and opening what is no
 * group.
 */
#include "unit.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "cgroup-path.h"
#include "cgroup-walk.h"
#include "cgroup.h"
#include "text.h"

#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void normalizes(void **state) {
        static const struct {
                const char *in, *out;
                int error;
        } cases[] = {
                {"/", "/", 0},
                {"//", "/", 0},
                {".", "/", 0},
                {"/./.", "/", 0},
                {"a", "/a", 0},
                {"a/b/", "/a/b", 0},
                {"//a///b//", "/a/b", 0},
                {"/a/./b", "/a/b", 0},
                {"/a/..b/c..", "/a/..b/c..", 0},
                {"/a/.b/...", "/a/.b/...", 0},
                {"", NULL, -EINVAL},
                {"..", NULL, -EINVAL},
                {"/a/../b", NULL, -EINVAL},
                {"/a/..", NULL, -EINVAL},
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_free_ char *out = NULL;

                assert_int_equal(cgroup_path_normalize(cases[i].in, &out), cases[i].error);
                if (cases[i].out)
                        assert_string_equal(out, cases[i].out);
                else
                        assert_null(out);
        }
}

static void normalize_bounds(void **state) {
        _cleanup_free_ char *out = NULL;
        char longer[5000];

        memset(longer, 'a', sizeof longer - 1);
        longer[sizeof longer - 1] = '\0';
        assert_int_equal(cgroup_path_normalize(longer, &out), -ENAMETOOLONG);
        longer[300] = '\0';
        assert_int_equal(cgroup_path_normalize(longer, &out), -ENAMETOOLONG);
        longer[255] = '\0';
        assert_int_equal(cgroup_path_normalize(longer, &out), 0);
}

static void climbs_and_covers(void **state) {
        char path[] = "/a/b";

        cgroup_path_climb(path);
        assert_string_equal(path, "/a");
        cgroup_path_climb(path);
        assert_string_equal(path, "/");
        cgroup_path_climb(path);
        assert_string_equal(path, "/");
        assert_true(cgroup_path_covers("/", "/"));
        assert_true(cgroup_path_covers("/", "/a"));
        assert_true(cgroup_path_covers("/a", "/a"));
        assert_true(cgroup_path_covers("/a", "/a/b"));
        assert_false(cgroup_path_covers("/a", "/ab"));
        assert_false(cgroup_path_covers("/a/b", "/a"));
        assert_false(cgroup_path_covers("/a", "/"));
}

static void finds_the_topmost(void **state) {
        static const struct {
                const char *path, *id, *scope;
        } cases[] = {
                {"/machine.slice/libpod-" HEX64 ".scope/container", HEX64, "/machine.slice/libpod-" HEX64 ".scope"},
                {"/docker/" HEX64 "/docker/" HEX64, HEX64, "/docker/" HEX64},
                {"/web", "web", "/web"},
                {"/a/web/b/c", "web", "/a/web"},
                {"/a/x-web.scope/web", "web", "/a/x-web.scope"},
                {"/kubepods-pod1.slice:cri-containerd:web", "web", "/kubepods-pod1.slice:cri-containerd:web"},
                {"/a/my-web_1/c", "my-web_1", "/a/my-web_1"},
                /* Within a word it is somebody else's. */
                {"/webserver/web", "web", "/webserver/web"},
                {"/system.slice/docker.service", "s", NULL},
                {"/a/xweb/weby", "web", NULL},
                {"/a/webweb", "web", NULL},
                {"/a/webweb.web", "web", "/a/webweb.web"},
                {"/a/b", "", NULL},
                {"/a/b", "a/b", NULL},
                {"/", "a", NULL},
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_free_ char *scope = NULL;

                assert_int_equal(cgroup_path_topmost(cases[i].path, cases[i].id, &scope), cases[i].scope ? 0 : -ENOENT);
                if (cases[i].scope)
                        assert_string_equal(scope, cases[i].scope);
        }
}

static void finds_a_part(void **state) {
        static const struct {
                const char *path, *part, *down_to;
        } cases[] = {
                {"/run/a/b/c", "a/b", "/run/a/b"},
                {"/a/b/a/b/c", "a/b", "/a/b/a/b"},
                {"/a/bc", "a/b", NULL},
                {"/xa/b", "a/b", NULL},
                {"/a", ".", NULL},
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_free_ char *path = NULL;

                assert_int_equal(cgroup_path_down_to(cases[i].path, cases[i].part, &path), cases[i].down_to ? 0 : -ENOENT);
                if (cases[i].down_to)
                        assert_string_equal(path, cases[i].down_to);
        }
}

static void expands_units(void **state) {
        static const struct {
                const char *text, *path;
                int error;
        } cases[] = {
                {"system.slice:runc:c1", "/system.slice/runc-c1.scope", 0},
                {":runc:c1", "/system.slice/runc-c1.scope", 0},
                {"machine-a-b.slice:libpod:c1", "/machine.slice/machine-a.slice/machine-a-b.slice/libpod-c1.scope", 0},
                {"-.slice:crio:c1", "/crio-c1.scope", 0},
                {"user.slice::c1", "/user.slice/c1.scope", 0},
                {"user.slice:x:mine.slice", "/user.slice/mine.slice", 0},
                {"/a/b", NULL, 0},
                {"a/b:c:d", NULL, 0},
                {"plain", NULL, 0},
                {"a.slice:b", NULL, -EINVAL},
                {"a.slice:b:c:d", NULL, -EINVAL},
                {"a.slice:b:", NULL, -EINVAL},
                {"a.service:b:c", NULL, -EINVAL},
                {"a--b.slice:b:c", NULL, -EINVAL},
                {".slice:b:c", NULL, -EINVAL},
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_free_ char *path = NULL;

                assert_int_equal(cgroup_path_of_unit(cases[i].text, &path), cases[i].error);
                if (cases[i].path)
                        assert_string_equal(path, cases[i].path);
                else
                        assert_null(path);
        }
}

/* A path of units grows by the square of its slice's dashes: a bundle of megabytes must not. */
static void units_are_bounded(void **state) {
        char text[600] = "", *path = NULL;

        for (size_t i = 0; i < 248; i += 2)
                memcpy(text + i, "a-", 3);
        strcat(text, "a.slice:b:c");
        assert_int_equal(cgroup_path_of_unit(text, &path), -ENAMETOOLONG);
        text[0] = '\0';
        for (size_t i = 0; i < 500; i += 2)
                memcpy(text + i, "a-", 3);
        strcat(text, "a.slice:b:c");
        assert_int_equal(cgroup_path_of_unit(text, &path), -ENAMETOOLONG);
        memset(text, 'n', 300);
        memcpy(text, ":b:", 3);
        text[300] = '\0';
        assert_int_equal(cgroup_path_of_unit(text, &path), -ENAMETOOLONG);
        assert_null(path);
}

static void parses_proc_cgroup(void **state) {
        static const struct {
                const char *fixture, *path;
                int error;
        } cases[] = {
                {"cgroup-v1", "/docker/cccc", 0},
                {"cgroup-hybrid", "/process/with:colon", 0},
                {"cgroup-v2", "/system.slice/a b.service", 0},
                {"cgroup-outside", NULL, -EOPNOTSUPP},
                {"cgroup-none", NULL, -EINVAL},
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_free_ char *file = format(FIXTURES "/proc/%s", cases[i].fixture), *text = NULL, *path = NULL;
                char *reterr = NULL;

                assert_int_equal(text_read_file(AT_FDCWD, file, 4096, &text, NULL), 0);
                assert_int_equal(cgroup_path_parse(text, &path, &reterr), cases[i].error);
                if (cases[i].path)
                        assert_string_equal(path, cases[i].path);
                else
                        assert_sentence(&reterr, "memory cgroup");
        }
}

static void parses_odd_proc_cgroup(void **state) {
        static const char *const none[] = {
                "", "\n", ":", "::", "0::", "0::relative", "0:", "0::\n", "1::/a", "memory:/a", "4:memory"};
        char *path = NULL;

        for (size_t i = 0; i < ELEMENTS(none); i++)
                assert_int_equal(cgroup_path_parse(none[i], &path, NULL), -EINVAL);
        assert_null(path);
        /* Directories may be called so; outside our namespace is only what begins with "..". */
        assert_int_equal(cgroup_path_parse("0::/...", &path, NULL), 0);
        assert_string_equal(path, "/...");
        free(TAKE(path));
        assert_int_equal(cgroup_path_parse("0::/..", &path, NULL), -EOPNOTSUPP);
        assert_int_equal(cgroup_path_parse("0::/a", &path, NULL), 0);
        assert_string_equal(path, "/a");
        free(path);
}

static void paths_of_processes(void **state) {
        char *path = NULL, *reterr = NULL;
        siginfo_t info;
        pid_t pid;

        assert_int_equal(cgroup_path_of_pid(0, &path, &reterr), -ESRCH);
        assert_sentence(&reterr, "process 0");
        assert_int_equal(cgroup_path_of_pid(-1, &path, &reterr), -ESRCH);
        assert_sentence(&reterr, "process -1");
        pid = fork();
        if (pid == 0)
                _exit(0);
        assert_int_equal(waitid(P_PID, pid, &info, WEXITED | WNOWAIT), 0);
        /* A zombie: on v1 the kernel has moved it to the root, on v2 it is still listed where it was. */
        if (cgroup_path_of_pid(pid, &path, &reterr) == -ESRCH)
                assert_sentence(&reterr, "ended");
        else
                assert_string_not_equal(path, "/");
        free(TAKE(path));
        waitpid(pid, NULL, 0);
        assert_int_equal(cgroup_path_of_pid(pid, &path, &reterr), -ESRCH);
        assert_sentence(&reterr, "no process");
        assert_null(path);
}

/* A directory tree that stands for a hierarchy. */
struct tree {
        char top[64];
        struct cgroup_root root;
};

static void tree_make(struct tree *t) {
        snprintf(t->top, sizeof t->top, "/tmp/memcgprof-cgroup-XXXXXX");
        assert_non_null(mkdtemp(t->top));
        t->root = (struct cgroup_root){.mount = t->top, .layout = CGROUP_V2};
}

static void tree_add(const struct tree *t, const char *path) {
        _cleanup_free_ char *full = format("%s/%s", t->top, path);

        for (char *slash = strchr(full + strlen(t->top) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
                *slash = '\0';
                mkdir(full, 0700);
                *slash = '/';
        }
        assert_int_equal(mkdir(full, 0700), 0);
}

static void tree_done(struct tree *t) {
        _cleanup_free_ char *command = format("rm -rf %s", t->top);

        assert_int_equal(system(command), 0);
}

static void expect_found(const struct tree *t, const char *id, const char *path) {
        char *found = NULL, *reterr = NULL;
        int r = cgroup_find_container_path(&t->root, id, &found, &reterr);

        if (r < 0)
                fail_msg("%s: %s", id, reterr);
        assert_string_equal(found, path);
        free(found);
}

static void expect_not_found(const struct tree *t, const char *id, int error, const char *says) {
        char *found = NULL, *reterr = NULL;

        assert_int_equal(cgroup_find_container_path(&t->root, id, &found, &reterr), error);
        assert_null(found);
        assert_sentence(&reterr, says);
}

static void searches_containers(void **state) {
        struct tree t;

        tree_make(&t);
        tree_add(&t, "web");
        tree_add(&t, "docker/" HEX64);
        tree_add(&t, "machine.slice/libpod-conmon-aaaabbbbccccdddd.scope");
        tree_add(&t, "machine.slice/libpod-aaaabbbbccccdddd.scope/container");
        tree_add(&t, "libpod_parent/libpod-feedfeedfeedfeed");
        tree_add(&t, "elsewhere/libpod-beefbeefbeefbeef");
        tree_add(&t, "system.slice/runc-my-long-name.scope");
        tree_add(&t, "a/one-x.scope");
        tree_add(&t, "b/two-x.scope");
        expect_found(&t, "web", "/web");
        expect_found(&t, HEX64, "/docker/" HEX64);
        expect_found(&t, "0123456789ab", "/docker/" HEX64);
        expect_found(&t, "aaaabbbbccccdddd", "/machine.slice/libpod-aaaabbbbccccdddd.scope");
        expect_found(&t, "aaaabbbbcccc", "/machine.slice/libpod-aaaabbbbccccdddd.scope");
        expect_found(&t, "feedfeedfeedfeed", "/libpod_parent/libpod-feedfeedfeedfeed");
        expect_found(&t, "feedfeedfeed", "/libpod_parent/libpod-feedfeedfeedfeed");
        expect_found(&t, "my-long-name", "/system.slice/runc-my-long-name.scope");
        expect_not_found(&t, "beefbeefbeefbeef", -ENOENT, "beefbeefbeefbeef");
        expect_not_found(&t, "0123456789a", -ENOENT, "at least 12 characters");
        expect_not_found(&t, "we", -ENOENT, "*-we.scope");
        expect_not_found(&t, "x", -ENOTUNIQ, "/a/one-x.scope and /b/two-x.scope");
        expect_not_found(&t, "", -ENOENT, "empty");
        expect_not_found(&t, "a/b", -ENOENT, "slash");
        expect_not_found(&t, "..", -ENOENT, "..");
        expect_not_found(&t, "bad\n\x1b\xff", -ENOENT, "bad\\x0a\\x1b\\xff");
        tree_done(&t);
}

static void prefixes_are_unique_or_nothing(void **state) {
        struct tree t;

        tree_make(&t);
        tree_add(&t, "docker/aaaabbbbcccc1111");
        tree_add(&t, "docker/aaaabbbbcccc2222");
        expect_not_found(&t, "aaaabbbbcccc", -ENOTUNIQ, "/docker/aaaabbbbcccc1111 and /docker/aaaabbbbcccc2222");
        expect_found(&t, "aaaabbbbcccc1", "/docker/aaaabbbbcccc1111");
        /* A whole id wins over the beginning of another. */
        tree_add(&t, "docker/aaaabbbbcccc");
        expect_found(&t, "aaaabbbbcccc", "/docker/aaaabbbbcccc");
        /* Not hex: no prefixes. */
        tree_add(&t, "zzzzzzzzzzzzzzzz");
        expect_not_found(&t, "zzzzzzzzzzzz", -ENOENT, "zzzzzzzzzzzz");
        tree_done(&t);
}

/* What a container makes below its own group cannot pose as another match. */
static void matches_hide_what_is_below(void **state) {
        struct tree t;

        tree_make(&t);
        tree_add(&t, "docker/aaaabbbbccccdddd/x-aaaabbbbccccdddd.scope");
        tree_add(&t, "docker/aaaabbbbccccdddd/web");
        expect_found(&t, "aaaabbbbccccdddd", "/docker/aaaabbbbccccdddd");
        expect_found(&t, "web", "/docker/aaaabbbbccccdddd/web");
        tree_done(&t);
}

static int count_visits(const char *path, void *userdata) {
        ++*(unsigned *)userdata;
        return 1;
}

static void walks_are_bounded(void **state) {
        _cleanup_free_ char *deep = NULL;
        _cleanup_close_ int fd = -1;
        unsigned visits = 0;
        struct tree t;
        char *p;

        tree_make(&t);
        p = deep = malloc(3 * (CGROUP_WALK_DEPTH_MAX + 8) + 1);
        for (int i = 0; i < CGROUP_WALK_DEPTH_MAX + 8; i++)
                p = stpcpy(p, i ? "/d" : "d");
        tree_add(&t, deep);
        tree_add(&t, "z");
        fd = open(t.top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_int_equal(cgroup_walk(fd, count_visits, &visits), 1);
        assert_int_equal(visits, CGROUP_WALK_DEPTH_MAX + 1);
        expect_found(&t, "z", "/z");
        expect_not_found(&t, "none", -ENOENT, "ended early");
        tree_done(&t);
}

static void expect_no_group(const struct tree *t, const char *path, int error, const char *says) {
        struct cgroup *c = NULL;
        char *reterr = NULL;

        assert_int_equal(cgroup_open(&t->root, path, &c, &reterr), error);
        assert_null(c);
        assert_sentence(&reterr, says);
}

static void refuse_all(const struct tree *t) {
        _cleanup_free_ char *mount = format("%s/", t->top), *above = format("%s/../x", t->top);

        expect_no_group(t, "/", -EINVAL, "host");
        expect_no_group(t, ".", -EINVAL, "host");
        expect_no_group(t, t->top, -EINVAL, "host");
        expect_no_group(t, mount, -EINVAL, "host");
        expect_no_group(t, above, -EINVAL, "..");
        expect_no_group(t, "/dir/../dir", -EINVAL, "..");
        expect_no_group(t, "", -EINVAL, "empty");
        expect_no_group(t, "/none", -ENOENT, "/none");
        expect_no_group(t, "/dir/none\n", -ENOENT, "/dir/none\\x0a");
        /* A directory, but of another file system than cgroup. */
        expect_no_group(t, "/dir", -EINVAL, "no cgroup directory");
        expect_no_group(t, "/link", -EINVAL, "no cgroup directory");
        expect_no_group(t, "/link/dir", -EINVAL, "no cgroup directory");
        /* Followed, it would lead to nothing. */
        expect_no_group(t, "/dangling", -EINVAL, "no cgroup directory");
        expect_no_group(t, "/file", -EINVAL, "no cgroup directory");
        expect_no_group(t, "/file/x", -EINVAL, "no cgroup directory");
}

static void tree_make_traps(struct tree *t) {
        _cleanup_free_ char *link = NULL, *dangling = NULL, *file = NULL;
        int fd;

        tree_make(t);
        tree_add(t, "dir/dir");
        link = format("%s/link", t->top);
        dangling = format("%s/dangling", t->top);
        file = format("%s/file", t->top);
        assert_int_equal(symlink("/sys/fs/cgroup", link), 0);
        assert_int_equal(symlink("nowhere", dangling), 0);
        fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        close(fd);
}

static void refuses_what_is_no_group(void **state) {
        struct tree t;

        tree_make_traps(&t);
        refuse_all(&t);
        tree_done(&t);
}

/* Makes openat2 fail with ENOSYS from here on, as old container runtimes' filters do. */
static int forbid_openat2(void) {
        struct sock_filter filter[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = {.len = ELEMENTS(filter), .filter = filter};

        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
                return -errno;
        return 0;
}

/* The filter cannot be taken off again, so this is the last test. */
static void refuses_the_same_without_openat2(void **state) {
        struct tree t;

        tree_make_traps(&t);
        if (forbid_openat2() < 0) {
                tree_done(&t);
                skip();
        }
        assert_int_equal(syscall(SYS_openat2, AT_FDCWD, "/", NULL, 0), -1);
        assert_int_equal(errno, ENOSYS);
        refuse_all(&t);
        tree_done(&t);
}

static void write_config(const struct tree *t, const char *text, size_t n) {
        _cleanup_free_ char *path = format("%s/config.json", t->top);
        _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        while (n > 0) {
                ssize_t k = write(fd, text, n);

                assert_true(k > 0);
                text += k;
                n -= (size_t)k;
        }
}

static void expect_bundle(const struct tree *t, const char *text, int error, const char *path, const char *says) {
        char *found = (char *)1, *reterr = NULL;

        write_config(t, text, strlen(text));
        assert_int_equal(cgroup_path_of_bundle(t->top, &found, &reterr), error);
        if (error < 0) {
                assert_ptr_equal(found, (char *)1);
                assert_sentence(&reterr, says);
                return;
        }
        if (!path) {
                assert_null(found);
                return;
        }
        assert_string_equal(found, path);
        free(found);
}

static void reads_bundles(void **state) {
        char *found = NULL, *reterr = NULL;
        char *large;
        struct tree t;

        tree_make(&t);
        assert_int_equal(cgroup_path_of_bundle(t.top, &found, &reterr), -ENOENT);
        assert_sentence(&reterr, "config.json");
        expect_bundle(&t, "{\"linux\":{\"cgroupsPath\":\"/a/b\"}}", 0, "/a/b", NULL);
        expect_bundle(&t, "{\"linux\":{\"cgroupsPath\":\"system.slice:runc:x\"}}", 0, "system.slice:runc:x", NULL);
        expect_bundle(&t, "{\"linux\":{\"cgroupsPath\":\"\"}}", 0, NULL, NULL);
        expect_bundle(&t, "{\"linux\":{\"cgroupsPath\":null}}", 0, NULL, NULL);
        expect_bundle(&t, "{\"linux\":{}}", 0, NULL, NULL);
        expect_bundle(&t, "{\"linux\":[]}", 0, NULL, NULL);
        expect_bundle(&t, "{}", 0, NULL, NULL);
        expect_bundle(&t, "{\"linux\":{\"cgroupsPath\":7}}", -EINVAL, NULL, "cgroupsPath");
        expect_bundle(&t, "{\"linux\":", -EINVAL, NULL, "no JSON");
        expect_bundle(&t, "", -EINVAL, NULL, "no JSON");
        large = calloc(1, 5 * 1024 * 1024);
        memset(large, '[', 5 * 1024 * 1024 - 1);
        write_config(&t, large, 5 * 1024 * 1024 - 1);
        assert_int_equal(cgroup_path_of_bundle(t.top, &found, &reterr), -E2BIG);
        assert_sentence(&reterr, "config.json");
        large[1024 * 1024] = '\0';
        expect_bundle(&t, large, -EINVAL, NULL, "no JSON");
        free(large);
        tree_done(&t);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(normalizes),
                cmocka_unit_test(normalize_bounds),
                cmocka_unit_test(climbs_and_covers),
                cmocka_unit_test(finds_the_topmost),
                cmocka_unit_test(finds_a_part),
                cmocka_unit_test(expands_units),
                cmocka_unit_test(units_are_bounded),
                cmocka_unit_test(parses_proc_cgroup),
                cmocka_unit_test(parses_odd_proc_cgroup),
                cmocka_unit_test(paths_of_processes),
                cmocka_unit_test(searches_containers),
                cmocka_unit_test(prefixes_are_unique_or_nothing),
                cmocka_unit_test(matches_hide_what_is_below),
                cmocka_unit_test(walks_are_bounded),
                cmocka_unit_test(refuses_what_is_no_group),
                cmocka_unit_test(reads_bundles),
                cmocka_unit_test(refuses_the_same_without_openat2),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The counts of memory that ran out, as files of both versions have them; that a kernel counts at all is not taken for granted.
 */
#include "unit.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include "oom.h"

static const char v2[] = "memory.events", v1[] = "memory.oom_control";

static struct {
        enum cgroup_layout layout;
        const char *file, *text;
        int r;
        int64_t ooms, kills;
} cases[] = {
        {CGROUP_V2, v2, "low 0\nhigh 3\nmax 99\noom 2\noom_kill 1\noom_group_kill 7\n", 0, 2, 1},
        {CGROUP_V2, v2, "low 0\nhigh 0\nmax 0\noom 5\n", 0, 5, -1},
        {CGROUP_V2, v2, "low 0\nhigh 0\nmax 0\noom_kill 9223372036854775807\n", 0, -1, INT64_MAX},
        {CGROUP_V2, v2, "low 0\n", -ENODATA, 0, 0},
        {CGROUP_V2, v2, "", -ENODATA, 0, 0},
        {CGROUP_V2, v1, "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", -ENOENT, 0, 0},
        {CGROUP_V1, v1, "oom_kill_disable 1\nunder_oom 1\noom_kill 3\n", 0, -1, 3},
        {CGROUP_HYBRID, v1, "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n", 0, -1, 0},
        {CGROUP_V1, v1, "oom_kill_disable 0\nunder_oom 0\n", -ENODATA, 0, 0},
        {CGROUP_V1, v2, "low 0\noom 2\noom_kill 1\n", -ENOENT, 0, 0},
};

static void test_counts(void **state) {
        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                char directory[] = "/tmp/memcgprof-test-oom-XXXXXX";
                struct cgroup c = {.layout = cases[i].layout};
                struct oom_counts counts = OOM_COUNTS_NONE;
                uint32_t events;
                int file;

                assert_non_null(mkdtemp(directory));
                c.fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
                file = openat(c.fd, cases[i].file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
                assert_int_equal(write(file, cases[i].text, strlen(cases[i].text)), strlen(cases[i].text));
                close(file);
                assert_int_equal(oom_read(&c, &counts), cases[i].r);
                assert_int_equal(counts.ooms, cases[i].r < 0 ? -1 : cases[i].ooms);
                assert_int_equal(counts.kills, cases[i].r < 0 ? -1 : cases[i].kills);
                /* what cannot be registered for (here is no cgroup.event_control) is an error, and no descriptor is left */
                if (cases[i].layout != CGROUP_V2)
                        assert_int_equal(oom_open(&c, &events), -ENOENT);
                assert_int_equal(unlinkat(c.fd, cases[i].file, 0), 0);
                close(c.fd);
                assert_int_equal(rmdir(directory), 0);
        }
}

static void test_descriptor(void **state) {
        char directory[] = "/tmp/memcgprof-test-oom-XXXXXX";
        struct cgroup c = {.layout = CGROUP_V2};
        uint32_t events = 0;
        int fd;

        assert_non_null(mkdtemp(directory));
        c.fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_int_equal(oom_open(&c, &events), -ENOENT);
        assert_int_equal(events, 0);
        close(openat(c.fd, v2, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
        fd = oom_open(&c, &events);
        assert_true(fd >= 0);
        assert_int_equal(events, EPOLLPRI);
        assert_int_equal(oom_take(&c, fd), 0);
        close(fd);
        assert_int_equal(unlinkat(c.fd, v2, 0), 0);
        close(c.fd);
        assert_int_equal(rmdir(directory), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_counts),
                cmocka_unit_test(test_descriptor),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}

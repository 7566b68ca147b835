/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The memcg's counters: recorded memory.stat files of both versions, wrong ones, a directory that stands for a group, and where
 * this runs as root a real group.
 */
#include "unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "memcg.h"
#include "text.h"

#define BIT(k) (1u << (k))

static struct memcg_counters parse(const char *fixture, enum cgroup_layout layout) {
        struct memcg_counters c = {0};
        _cleanup_free_ char *text = NULL, *path = format(FIXTURES "/memcg/%s", fixture);

        assert_int_equal(text_read_file(AT_FDCWD, path, 65536, &text, NULL), 0);
        memcg_parse_stat(text, layout, &c);
        return c;
}

static void reads_v2(void **state) {
        struct memcg_counters c = parse("v2-6.1.stat", CGROUP_V2);

        /* Recorded on 6.1 without CONFIG_ZSWAP; `current` is in a file of its own. */
        assert_int_equal(c.known, (BIT(_MEMCG_MAX) - 1) & ~(BIT(MEMCG_CURRENT) | BIT(MEMCG_ZSWAP)));
        assert_int_equal(c.value[MEMCG_ANON], 65536);
        assert_int_equal(c.value[MEMCG_KERNEL], 114688);
        assert_int_equal(c.value[MEMCG_KERNEL_STACK], 16384);
        assert_int_equal(c.value[MEMCG_PAGETABLES], 20480);
        assert_int_equal(c.value[MEMCG_SLAB], 39200);
        assert_int_equal(c.value[MEMCG_SHMEM], 0);
        assert_true(memcg_knows(&c, MEMCG_SHMEM));
        assert_false(memcg_knows(&c, MEMCG_ZSWAP));
}

static void reads_v1(void **state) {
        struct memcg_counters c = parse("v1-6.18.stat", CGROUP_HYBRID);

        /* The total_ lines, not those of the group without its descendants; no word on kernel memory. */
        assert_int_equal(c.known, BIT(MEMCG_ANON) | BIT(MEMCG_FILE) | BIT(MEMCG_SHMEM));
        assert_true(c.value[MEMCG_FILE] >= c.value[MEMCG_SHMEM]);
        assert_int_not_equal(c.value[MEMCG_ANON], 0);
        c = parse("v1-6.18.stat", CGROUP_V2);
        assert_false(memcg_knows(&c, MEMCG_ANON));
}

static void v1_lines_are_the_totals(void **state) {
        struct memcg_counters c = {0};

        memcg_parse_stat("cache 1\nrss 2\nshmem 3\ntotal_cache 40\ntotal_rss 50\ntotal_shmem 60\n", CGROUP_V1, &c);
        assert_int_equal(c.value[MEMCG_FILE], 40);
        assert_int_equal(c.value[MEMCG_ANON], 50);
        assert_int_equal(c.value[MEMCG_SHMEM], 60);
}

static void wrong_lines_stay_unknown(void **state) {
        struct memcg_counters c = parse("v2-hostile.stat", CGROUP_V2);

        assert_int_equal(c.known, BIT(MEMCG_VMALLOC) | BIT(MEMCG_PAGETABLES));
        assert_true(c.value[MEMCG_VMALLOC] == INT64_MAX);
        assert_int_equal(c.value[MEMCG_PAGETABLES], 77);
        memcg_parse_stat("", CGROUP_V2, &c);
        memcg_parse_stat("\n\n", CGROUP_V2, &c);
        assert_int_equal(c.known, BIT(MEMCG_VMALLOC) | BIT(MEMCG_PAGETABLES));
}

static void every_counter_has_a_name(void **state) {
        for (unsigned k = 0; k < _MEMCG_MAX; k++)
                assert_non_null(memcg_counter_name(k));
        assert_string_equal(memcg_counter_name(MEMCG_CURRENT), "current");
        assert_string_equal(memcg_counter_name(MEMCG_KERNEL_STACK), "kernel_stack");
}

static void write_at(int dir, const char *name, const char *text) {
        _cleanup_close_ int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

/* A directory with files in it is all that memcg_read sees of a group. */
static void reads_a_directory(void **state) {
        char dir[] = "/tmp/memcgprof-memcg-XXXXXX";
        struct cgroup c = {.path = strdupa("/g"), .layout = CGROUP_V1};
        struct memcg_counters n = {.known = 77};
        int64_t now = (int64_t)time(NULL) * 1000000;

        assert_non_null(mkdtemp(dir));
        c.fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        /* Nothing in it: to memcg_read that is a group that was removed. */
        assert_int_equal(memcg_read(&c, &n), -ENODEV);
        assert_int_equal(n.known, 77);
        write_at(c.fd, "cgroup.procs", "");
        assert_int_equal(memcg_read(&c, &n), -ENOENT);
        write_at(c.fd, "memory.usage_in_bytes", "8192\n");
        write_at(c.fd, "memory.stat", "total_rss 4096\n");
        assert_int_equal(memcg_read(&c, &n), 0);
        assert_int_equal(n.known, BIT(MEMCG_CURRENT) | BIT(MEMCG_ANON));
        write_at(c.fd, "memory.kmem.usage_in_bytes", "12288\n");
        write_at(c.fd, "memory.kmem.tcp.usage_in_bytes", "0\n");
        assert_int_equal(memcg_read(&c, &n), 0);
        assert_int_equal(n.known, BIT(MEMCG_CURRENT) | BIT(MEMCG_ANON) | BIT(MEMCG_KERNEL) | BIT(MEMCG_SOCK));
        assert_int_equal(n.value[MEMCG_KERNEL], 12288);
        assert_true(n.at_us >= now - 1000000 && n.at_us <= now + 60000000);
        assert_string_equal(memcg_source(&c), "memory.kmem.usage_in_bytes");

        c.layout = CGROUP_V2;
        write_at(c.fd, "memory.current", "16384\n");
        write_at(c.fd, "memory.stat", "anon 1\nkernel 2\n");
        assert_int_equal(memcg_read(&c, &n), 0);
        assert_int_equal(n.known, BIT(MEMCG_CURRENT) | BIT(MEMCG_ANON) | BIT(MEMCG_KERNEL));
        assert_string_equal(memcg_source(&c), "memory.stat");
        for (const char *const *f = (const char *const[]){"cgroup.procs", "memory.usage_in_bytes", "memory.stat",
                     "memory.current", "memory.kmem.usage_in_bytes", "memory.kmem.tcp.usage_in_bytes", NULL};
                *f; f++)
                assert_int_equal(unlinkat(c.fd, *f, 0), 0);
        close(c.fd);
        assert_int_equal(rmdir(dir), 0);
}

static void reads_the_host(void **state) {
        struct memcg_counters n = {.known = 77};
        struct cgroup host = {.path = strdupa("/"), .fd = -1, .layout = CGROUP_V2};

        assert_int_equal(memcg_read_host(FIXTURES "/memcg/none", &n), -ENOENT);
        assert_int_equal(n.known, 77);
        assert_int_equal(memcg_read_host(FIXTURES "/memcg/host", &n), 0);
        /* No counter for kernel memory in all, nor for what is charged, nor for sockets. */
        assert_int_equal(n.known, (BIT(_MEMCG_MAX) - 1) & ~(BIT(MEMCG_CURRENT) | BIT(MEMCG_KERNEL) | BIT(MEMCG_SOCK)));
        assert_int_equal(n.value[MEMCG_SLAB], INT64_C(302596) * 1024);
        assert_int_equal(n.value[MEMCG_FILE], (5120 + INT64_C(4000000)) * 1024);
        assert_int_equal(n.value[MEMCG_PAGETABLES], (2048 + 16) * 1024);
        assert_int_equal(n.value[MEMCG_ZSWAP], 0);
        assert_int_equal(memcg_read(&host, &n), 0);
        assert_true(memcg_knows(&n, MEMCG_SLAB));
        assert_true(n.at_us > 0);
        assert_string_equal(memcg_source(&host), "/proc/meminfo");
        assert_string_equal(memcg_counter_source(&host, MEMCG_SLAB), "/proc/meminfo");
}

static void wrong_lines_of_the_host(void **state) {
        struct memcg_counters c = {0};

        memcg_parse_meminfo("Slab:  1\nPercpu: -1 kB\nShmem: 1 kB extra\nAnonPages: 9223372036854775807 kB\nCached: 3 kB\n"
                            "Zswap\nKernelStack:5 kB\nBuffers:   99999999999999999999 kB\nVmallocUsed: 7 kB",
                &c);
        assert_int_equal(c.known, BIT(MEMCG_FILE) | BIT(MEMCG_KERNEL_STACK) | BIT(MEMCG_VMALLOC));
        assert_int_equal(c.value[MEMCG_FILE], 3 * 1024);
        memcg_parse_meminfo("", &c);
}

static void every_counter_has_a_source(void **state) {
        struct cgroup v1 = {.path = strdupa("/g"), .layout = CGROUP_HYBRID}, v2 = {.path = strdupa("/g"), .layout = CGROUP_V2};

        assert_string_equal(memcg_counter_source(&v1, MEMCG_SOCK), "memory.kmem.tcp.usage_in_bytes");
        assert_string_equal(memcg_counter_source(&v1, MEMCG_KERNEL), memcg_source(&v1));
        assert_string_equal(memcg_counter_source(&v1, MEMCG_ANON), "memory.stat");
        assert_string_equal(memcg_counter_source(&v1, MEMCG_CURRENT), "memory.usage_in_bytes");
        assert_string_equal(memcg_counter_source(&v2, MEMCG_CURRENT), "memory.current");
        assert_string_equal(memcg_counter_source(&v2, MEMCG_SOCK), "memory.stat");
}

/* The kernel itself, with memory that this test puts into a group. */
static void reads_a_live_group(void **state) {
        _cleanup_(cgroup_root_freep) struct cgroup_root *root = NULL;
        _cleanup_(cgroup_freep) struct cgroup *c = NULL;
        _cleanup_free_ char *name = format("memcgprof-test-memcg-%d", (int)getpid());
        struct memcg_counters n;

        if (geteuid() != 0 || cgroup_root_new(&root, NULL) < 0 || cgroup_create(root, name, &c, NULL) < 0)
                skip();
        assert_int_equal(memcg_read(c, &n), 0);
        assert_true(memcg_knows(&n, MEMCG_CURRENT));
        assert_true(memcg_knows(&n, MEMCG_KERNEL));
        assert_true(memcg_knows(&n, MEMCG_ANON) && memcg_knows(&n, MEMCG_FILE) && memcg_knows(&n, MEMCG_SHMEM));
        assert_int_equal(memcg_knows(&n, MEMCG_SLAB), root->layout == CGROUP_V2);
        assert_int_equal(cgroup_remove(root, c, NULL), 0);
        assert_int_equal(memcg_read(c, &n), -ENODEV);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(reads_v2),
                cmocka_unit_test(reads_v1),
                cmocka_unit_test(v1_lines_are_the_totals),
                cmocka_unit_test(wrong_lines_stay_unknown),
                cmocka_unit_test(every_counter_has_a_name),
                cmocka_unit_test(reads_a_directory),
                cmocka_unit_test(reads_the_host),
                cmocka_unit_test(wrong_lines_of_the_host),
                cmocka_unit_test(every_counter_has_a_source),
                cmocka_unit_test(reads_a_live_group),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The memcg's own counters, read as cheaply as they are read often: one openat, read and close per file, no allocation.
 *
 * Invariants: a counter is known only when the kernel said it in this reading; nothing is derived. On v1 `anon` is rss, `file`
 * is cache and `shmem` is shmem, all with descendants: v1's cache includes shmem just as v2's file does, so both mean the same.
 * `sock` on v1 is TCP's buffers only, and stands outside `current` there. On the host several lines make one counter.
 */
#include <fcntl.h>
#include <time.h>

#include "memcg.h"

/* v2 has some 60 lines of at most 40 characters, v1 less; a kernel that writes more than this loses its last lines only. */
#define STAT_MAX (16 * 1024)
#define NUMBER_MAX 32

static const char *const counter_names[_MEMCG_MAX] = {
        [MEMCG_CURRENT] = "current",
        [MEMCG_KERNEL] = "kernel",
        [MEMCG_SLAB] = "slab",
        [MEMCG_PERCPU] = "percpu",
        [MEMCG_KERNEL_STACK] = "kernel_stack",
        [MEMCG_PAGETABLES] = "pagetables",
        [MEMCG_SOCK] = "sock",
        [MEMCG_VMALLOC] = "vmalloc",
        [MEMCG_ZSWAP] = "zswap",
        [MEMCG_ANON] = "anon",
        [MEMCG_FILE] = "file",
        [MEMCG_SHMEM] = "shmem",
};

/* A line of memory.stat and the counter it is. */
struct line {
        const char *name;
        enum memcg_counter counter;
};

static const struct line lines_v2[] = {
        {"anon", MEMCG_ANON},
        {"file", MEMCG_FILE},
        {"kernel", MEMCG_KERNEL}, /* since 5.18 */
        {"kernel_stack", MEMCG_KERNEL_STACK},
        {"pagetables", MEMCG_PAGETABLES},
        {"percpu", MEMCG_PERCPU},
        {"sock", MEMCG_SOCK},
        {"vmalloc", MEMCG_VMALLOC},
        {"shmem", MEMCG_SHMEM},
        {"zswap", MEMCG_ZSWAP}, /* with CONFIG_ZSWAP */
        {"slab", MEMCG_SLAB},
};

/* Lines without total_ leave the descendants out. */
static const struct line lines_v1[] = {
        {"total_cache", MEMCG_FILE},
        {"total_rss", MEMCG_ANON},
        {"total_shmem", MEMCG_SHMEM},
};

/* Lines of /proc/meminfo; several may make one counter. */
static const struct line lines_host[] = {
        {"Buffers", MEMCG_FILE}, /* page cache of block devices: in a memcg it is in `file` */
        {"Cached", MEMCG_FILE},  /* shmem included, as in a memcg's `file` */
        {"Zswap", MEMCG_ZSWAP},
        {"AnonPages", MEMCG_ANON},
        {"Shmem", MEMCG_SHMEM},
        {"Slab", MEMCG_SLAB},
        {"KernelStack", MEMCG_KERNEL_STACK},
        {"PageTables", MEMCG_PAGETABLES},
        {"SecPageTables", MEMCG_PAGETABLES},
        {"VmallocUsed", MEMCG_VMALLOC},
        {"Percpu", MEMCG_PERCPU},
};

/* A file with one number in it. */
struct number_file {
        const char *name;
        enum memcg_counter counter;
        bool required; /* its absence means that the group has no counters at all */
};

static const struct number_file files_v2[] = {
        {"memory.current", MEMCG_CURRENT, true},
};

static const struct number_file files_v1[] = {
        {"memory.usage_in_bytes", MEMCG_CURRENT, true},
        {"memory.kmem.usage_in_bytes", MEMCG_KERNEL, false},
        {"memory.kmem.tcp.usage_in_bytes", MEMCG_SOCK, false},
};

const char *memcg_counter_name(enum memcg_counter k) {
        return counter_names[k];
}

const char *memcg_source(const struct cgroup *c) {
        if (cgroup_is_host(c))
                return "/proc/meminfo";
        return c->layout == CGROUP_V2 ? "memory.stat" : "memory.kmem.usage_in_bytes";
}

const char *memcg_counter_source(const struct cgroup *c, enum memcg_counter k) {
        if (cgroup_is_host(c))
                return "/proc/meminfo";
        if (k == MEMCG_CURRENT)
                return c->layout == CGROUP_V2 ? "memory.current" : "memory.usage_in_bytes";
        if (c->layout != CGROUP_V2 && k == MEMCG_KERNEL)
                return "memory.kmem.usage_in_bytes";
        if (c->layout != CGROUP_V2 && k == MEMCG_SOCK)
                return "memory.kmem.tcp.usage_in_bytes";
        return "memory.stat";
}

static void set(struct memcg_counters *c, enum memcg_counter k, int64_t value) {
        c->value[k] = value;
        c->known |= 1u << k;
}

/* A decimal number with `end` behind it that ends its line. Counters are never negative in these files; what does not fit is no
 * number. */
static bool parse_number_and(const char *s, const char *end, int64_t *ret) {
        int64_t value = 0;
        const char *p = s;

        for (; *p >= '0' && *p <= '9'; p++)
                if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, *p - '0', &value))
                        return false;
        if (p == s || !startswith(p, end))
                return false;
        p += strlen(end);
        if (*p != '\n' && *p != '\0')
                return false;
        *ret = value;
        return true;
}

static bool parse_number(const char *s, int64_t *ret) {
        return parse_number_and(s, "", ret);
}

static void parse_line(const char *line, size_t name_len, const struct line *lines, size_t n, struct memcg_counters *ret) {
        int64_t value;

        for (size_t i = 0; i < n; i++) {
                if (strncmp(line, lines[i].name, name_len) != 0 || lines[i].name[name_len] != '\0')
                        continue;
                if (parse_number(line + name_len + 1, &value))
                        set(ret, lines[i].counter, value);
                return;
        }
}

void memcg_parse_stat(const char *text, enum cgroup_layout layout, struct memcg_counters *ret) {
        const struct line *lines = layout == CGROUP_V2 ? lines_v2 : lines_v1;
        size_t n = layout == CGROUP_V2 ? ELEMENTS(lines_v2) : ELEMENTS(lines_v1);

        while (*text) {
                size_t len = strcspn(text, "\n"), name_len = strcspn(text, " \n");

                if (name_len < len)
                        parse_line(text, name_len, lines, n, ret);
                text += len + (text[len] == '\n');
        }
}

/* "Name:      123 kB" */
static void parse_line_host(const char *line, size_t name_len, struct memcg_counters *ret) {
        const char *number = line + name_len + 1;
        int64_t kib, bytes;

        number += strspn(number, " ");
        for (size_t i = 0; i < ELEMENTS(lines_host); i++) {
                enum memcg_counter k = lines_host[i].counter;

                if (strncmp(line, lines_host[i].name, name_len) != 0 || lines_host[i].name[name_len] != '\0')
                        continue;
                if (!parse_number_and(number, " kB", &kib) || __builtin_mul_overflow(kib, 1024, &bytes) ||
                        __builtin_add_overflow(bytes, ret->value[k], &bytes))
                        return;
                set(ret, k, bytes);
                return;
        }
}

void memcg_parse_meminfo(const char *text, struct memcg_counters *ret) {
        while (*text) {
                size_t len = strcspn(text, "\n"), name_len = strcspn(text, ":\n");

                if (name_len < len)
                        parse_line_host(text, name_len, ret);
                text += len + (text[len] == '\n');
        }
}

/* Reads a file into `buffer` of `size` bytes, NUL-terminated. -ENODEV when its group went away under the reader. */
static int read_file(int dir, const char *name, char *buffer, size_t size) {
        _cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
        size_t n = 0;

        if (fd < 0)
                return -errno;
        while (n < size - 1) {
                ssize_t k = read(fd, buffer + n, size - 1 - n);

                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                if (k == 0)
                        break;
                n += (size_t)k;
        }
        buffer[n] = '\0';
        return 0;
}

static int read_numbers(const struct cgroup *c, const struct number_file *files, size_t n, struct memcg_counters *ret) {
        char buffer[NUMBER_MAX];
        int64_t value;

        for (size_t i = 0; i < n; i++) {
                int r = read_file(c->fd, files[i].name, buffer, sizeof buffer);

                if (r == -ENOENT && !files[i].required)
                        continue;
                if (r < 0)
                        return r;
                if (parse_number(buffer, &value))
                        set(ret, files[i].counter, value);
        }
        return 0;
}

static int64_t realtime_us(void) {
        struct timespec t;

        clock_gettime(CLOCK_REALTIME, &t);
        return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int read_all(const struct cgroup *c, struct memcg_counters *counters) {
        bool v2 = c->layout == CGROUP_V2;
        char stat[STAT_MAX];
        int r;

        /* The numbers first: they cost little and are the ones that events are held against. */
        r = v2 ? read_numbers(c, files_v2, ELEMENTS(files_v2), counters)
               : read_numbers(c, files_v1, ELEMENTS(files_v1), counters);
        if (r < 0)
                return r;
        r = read_file(c->fd, "memory.stat", stat, sizeof stat);
        if (r < 0)
                return r;
        memcg_parse_stat(stat, c->layout, counters);
        return 0;
}

int memcg_read_host(const char *root, struct memcg_counters *ret) {
        struct memcg_counters counters = {.at_us = realtime_us()};
        _cleanup_free_ char *path = format("%s/proc/meminfo", root);
        char text[STAT_MAX];
        int r;

        if (!path)
                return -ENOMEM;
        r = read_file(AT_FDCWD, path, text, sizeof text);
        if (r < 0)
                return r;
        memcg_parse_meminfo(text, &counters);
        *ret = counters;
        return 0;
}

int memcg_read(const struct cgroup *c, struct memcg_counters *ret) {
        struct memcg_counters counters = {.at_us = realtime_us()};
        int r;

        if (cgroup_is_host(c))
                return memcg_read_host("/", ret);
        r = read_all(c, &counters);
        if (r < 0)
                return r == -ENODEV || c->fd < 0 || (r == -ENOENT && cgroup_gone(c)) ? -ENODEV : r;
        *ret = counters;
        return 0;
}

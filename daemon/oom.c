/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See oom.h. */
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "oom.h"
#include "text.h"

#define FILE_BYTES_MAX 4096

/* -1 when there is no such line, or no number in it. Never the first line of either file. */
static int64_t count(const char *text, const char *name) {
        const char *line = strstr(text, name);
        _cleanup_free_ char *number = NULL;
        uint64_t n;

        if (!line)
                return -1;
        line += strlen(name);
        number = strndup(line, strcspn(line, "\n"));
        return number && text_to_u64(number, &n) >= 0 && n <= INT64_MAX ? (int64_t)n : -1;
}

int oom_read(const struct cgroup *c, struct oom_counts *ret) {
        const char *file = c->layout == CGROUP_V2 ? "memory.events" : "memory.oom_control";
        _cleanup_free_ char *text = NULL;
        struct oom_counts counts;
        size_t n;
        int r;

        r = text_read_file(c->fd, file, FILE_BYTES_MAX, &text, &n);
        if (r < 0)
                return r;
        counts = (struct oom_counts){.ooms = count(text, "\noom "), .kills = count(text, "\noom_kill ")};
        if (counts.ooms < 0 && counts.kills < 0)
                return -ENODATA;
        *ret = counts;
        return 0;
}

/* "EVENTFD FD" in cgroup.event_control, which keeps no hold of the file. */
static int open_eventfd(const struct cgroup *c) {
        _cleanup_close_ int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
                            file = openat(c->fd, "memory.oom_control", O_RDONLY | O_CLOEXEC),
                            control = openat(c->fd, "cgroup.event_control", O_WRONLY | O_CLOEXEC);
        char line[32];

        if (fd < 0 || file < 0 || control < 0)
                return -errno;
        (void)snprintf(line, sizeof(line), "%d %d", fd, file);
        return write(control, line, strlen(line)) < 0 ? -errno : TAKE_FD(fd);
}

int oom_open(const struct cgroup *c, uint32_t *ret_events) {
        int fd = c->layout == CGROUP_V2 ? openat(c->fd, "memory.events", O_RDONLY | O_CLOEXEC) : open_eventfd(c);

        if (fd < 0)
                return c->layout == CGROUP_V2 ? -errno : fd;
        *ret_events = c->layout == CGROUP_V2 ? EPOLLPRI : EPOLLIN;
        (void)oom_take(c, fd); /* a file that was never read has its mark up */
        return fd;
}

uint64_t oom_take(const struct cgroup *c, int fd) {
        char text[FILE_BYTES_MAX];
        eventfd_t times = 0;

        if (c->layout == CGROUP_V2)
                (void)!pread(fd, text, sizeof(text), 0);
        else
                (void)eventfd_read(fd, &times);
        return times;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See process.h. */
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "process.h"
#include "text.h"

#define FDINFO_BYTES_MAX 4096

/* struct pidfd_info of Linux 6.15 (first size, 64 bytes), by hand because older headers lack it. */
struct pidfd_info_v0 {
        uint64_t mask, cgroupid;
        uint32_t pid, tgid, ppid;
        uint32_t uids_and_gids[8];
        int32_t exit_code;
};
_Static_assert(sizeof(struct pidfd_info_v0) == 64, "the kernel knows the structure by its size");

#define INFO_EXIT (UINT64_C(1) << 3)
#define GET_INFO _IOWR(0xFF, 11, struct pidfd_info_v0)

void process_done(struct process *p) {
        closep(&p->fd);
        *p = PROCESS_NONE;
}

/* "Pid:\tN\n" in fdinfo: N is -1 once reaped and 0 when it has no number in our namespace. */
static int read_pid(int fd, long *ret) {
        _cleanup_free_ char *path = format("/proc/self/fdinfo/%d", fd), *text = NULL;
        const char *line;
        size_t n;
        int r;

        if (!path)
                return -ENOMEM;
        r = text_read_file(AT_FDCWD, path, FDINFO_BYTES_MAX, &text, &n);
        if (r < 0)
                return r;
        line = strstr(text, "\nPid:");
        if (!line)
                return -EINVAL;
        *ret = strtol(line + strlen("\nPid:"), NULL, 10);
        return 0;
}

int process_from_fd(int fd, struct process *ret, char **reterr) {
        _cleanup_close_ int copy = -1;
        long pid;
        int r = read_pid(fd, &pid);

        if (r == -EINVAL)
                return fail(reterr, -EINVAL, "Option 'pidfd' is no pidfd; open one with pidfd_open(2).");
        if (r < 0)
                return fail(reterr, r, "The pidfd cannot be looked at: %s.", strerror(-r));
        if (pid <= 0)
                return fail(reterr, -ESRCH, "%s",
                        pid < 0 ? "The process of the pidfd is gone."
                                : "The process of the pidfd is in a pid namespace that the daemon does not see.");
        copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (copy < 0)
                return fail(reterr, -errno, "The pidfd cannot be kept: %s.", strerror(errno));
        *ret = (struct process){.fd = TAKE_FD(copy), .pid = (pid_t)pid, .handed = true};
        return 0;
}

int process_from_pid(uint64_t pid, struct process *ret, char **reterr) {
        int fd;

        if (pid == 0 || pid > INT_MAX)
                return fail(reterr, -EINVAL, "%llu is no process id; give a number from 1 on.", (unsigned long long)pid);
        fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
        if (fd < 0 && (errno == ESRCH || errno == EINVAL))
                return fail(reterr, -ESRCH, "There is no process %llu.", (unsigned long long)pid);
        if (fd < 0)
                return fail(reterr, -errno, "Process %llu cannot be opened: %s.", (unsigned long long)pid, strerror(errno));
        *ret = (struct process){.fd = fd, .pid = (pid_t)pid};
        return 0;
}

bool process_alive(const struct process *p) {
        struct pollfd pollfd = {.fd = p->fd, .events = POLLIN};

        return p->fd >= 0 && poll(&pollfd, 1, 0) == 0;
}

/* Field 22 of /proc/PID/stat; the second one is a name in parentheses, with anything in it. */
int process_born(pid_t pid, uint64_t *ret) {
        _cleanup_free_ char *path = format("/proc/%d/stat", (int)pid), *text = NULL;
        const char *at;
        size_t n;
        int r;

        if (!path)
                return -ENOMEM;
        r = text_read_file(AT_FDCWD, path, FDINFO_BYTES_MAX, &text, &n);
        at = r < 0 ? NULL : strrchr(text, ')');
        for (int field = 2; at && field < 22; field++) {
                at = strchr(at, ' ');
                at = at ? at + 1 : NULL;
        }
        if (!at)
                return -ESRCH;
        *ret = strtoull(at, NULL, 10);
        return 0;
}

int process_code_of(int status) {
        return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int process_exit_code(const struct process *p, const char **ret_reason) {
        struct pidfd_info_v0 info = {.mask = INFO_EXIT};

        if (p->fd < 0) {
                *ret_reason = "The container's process was not known.";
                return -1;
        }
        if (process_alive(p)) {
                *ret_reason = "The process had not exited.";
                return -1;
        }
        if (ioctl(p->fd, GET_INFO, &info) < 0) {
                *ret_reason = "This kernel does not keep exit codes for pidfds (6.15 and later do).";
                return -1;
        }
        if (!(info.mask & INFO_EXIT)) {
                *ret_reason = "The exit code had not been collected by the process's parent.";
                return -1;
        }
        return process_code_of(info.exit_code);
}

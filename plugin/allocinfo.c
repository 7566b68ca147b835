/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See allocinfo.h: what a kernel has to read, and one reading of it.
 *
 * Invariants: nothing is judged by the kernel's version, and not by the file's existence alone: up to 6.12 it is there and full
 * of zeros where counting was never on. vm.mem_profiling is read and never written: toggling it corrupts everybody's figures.
 */
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>

#include "allocinfo-rows.h"
#include "text.h"

#define FILE_NAME "/proc/allocinfo"
#define SYSCTL_NAME "/proc/sys/vm/mem_profiling"
#define SMALL_FILE_MAX (64 * 1024)
#define RETRIES_MAX 10 /* of walks; as the kernel's own test has it */

/* ---- the kernel, live -----------------------------------------------------------------------------------------------------
 */

static int live_ioctl(int fd, unsigned long request, void *data) {
        return ioctl(fd, request, data) < 0 ? -errno : 0;
}

static int no_ioctl(int fd, unsigned long request, void *data) {
        return -ENOTTY;
}

static ssize_t live_read(int fd, void *data, size_t n) {
        ssize_t r = read(fd, data, n);

        return r < 0 ? -errno : r;
}

const struct allocinfo_ops allocinfo_ops_live = {live_ioctl, live_read};
const struct allocinfo_ops allocinfo_ops_text = {no_ioctl, live_read};

static int open_below(const char *root, const char *path) {
        _cleanup_free_ char *full = format("%s%s", root, path);
        int fd;

        if (!full)
                return -ENOMEM;
        fd = open(full, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        return fd < 0 ? -errno : fd;
}

/* ---- what there is to read ------------------------------------------------------------------------------------------------
 */

void allocinfo_status_done(struct allocinfo_status *s) {
        free(s->reason);
        *s = (struct allocinfo_status){};
}

/* A small file's first character, '\0' when it is empty; negative errno. */
static int read_digit(const char *root, const char *path) {
        _cleanup_close_ int fd = open_below(root, path);
        char digit = '\0';

        if (fd < 0)
                return fd;
        return read(fd, &digit, 1) < 0 ? -errno : digit;
}

static enum allocinfo_counting read_counting(const char *root) {
        int digit = read_digit(root, SYSCTL_NAME);

        return digit == '1' ? COUNTING_ON : digit == '0' ? COUNTING_OFF : COUNTING_UNKNOWN;
}

/* The value of sysctl.vm.mem_profiling= on the kernel's command line, the last one if several; "" when it is not there. */
static int read_boot_value(const char *root, char **ret) {
        static const char name[] = "sysctl.vm.mem_profiling=";
        _cleanup_free_ char *path = format("%s/proc/cmdline", root), *line = NULL;
        char *save = NULL;
        const char *value = "";

        if (path && text_read_file(AT_FDCWD, path, SMALL_FILE_MAX, &line, NULL) >= 0)
                for (char *word = strtok_r(line, " \n", &save); word; word = strtok_r(NULL, " \n", &save))
                        if (startswith(word, name))
                                value = word + strlen(name);
        *ret = strdup(value);
        return path && *ret ? 0 : -ENOMEM;
}

static bool boots_with_never(const char *root, const char *boot) {
        _cleanup_free_ char *path = format("%s" SYSCTL_NAME, root);
        struct stat st;

        /* 6.10 to 6.12 let nobody write the sysctl then, and leave the file of zeros. */
        return startswith(boot, "never") || (path && stat(path, &st) >= 0 && (st.st_mode & 0222) == 0);
}

static char *say(struct allocinfo_status *s, enum allocinfo_state state, const char *reason) {
        s->state = state;
        return s->reason = strdup(reason);
}

/* There is no file. The sysctl tells a kernel that has the feature from one that has not, its command line more. */
static char *judge_absence(struct allocinfo_status *s, const char *boot) {
        if (s->counting == COUNTING_UNKNOWN)
                return say(s, ALLOCINFO_ABSENT,
                        "there is no " FILE_NAME ": the kernel was built without CONFIG_MEM_ALLOC_PROFILING");
        if (startswith(boot, "never"))
                return say(s, ALLOCINFO_NEVER,
                        "there is no " FILE_NAME ": the kernel was booted with sysctl.vm.mem_profiling=never");
        if (*boot)
                return say(s, ALLOCINFO_SHUT,
                        "there is no " FILE_NAME " any more: the kernel has shut its allocation profiling down, as it does "
                        "when tags run out of room");
        return say(s, ALLOCINFO_NEVER,
                "there is no " FILE_NAME ": the kernel has allocation profiling, but was not booted with "
                "sysctl.vm.mem_profiling=1 (or has shut it down)");
}

static char *judge_error(struct allocinfo_status *s, const char *boot, int error) {
        if (error == -ENOENT)
                return judge_absence(s, boot);
        if (error == -EACCES || error == -EPERM)
                return say(s, ALLOCINFO_DENIED, FILE_NAME " exists, but only root may read it");
        s->state = ALLOCINFO_BROKEN;
        return s->reason = format(FILE_NAME " cannot be opened: %s", strerror(-error));
}

/* It is open and CONTENT_ID was tried. */
static char *judge_open(struct allocinfo_status *s, bool never, int error) {
        static const char off[] = "; vm.mem_profiling is 0, so the figures are of the time when it was 1";
        const char *more = s->counting == COUNTING_OFF ? off : "";

        if (never && s->counting == COUNTING_OFF)
                return say(s, ALLOCINFO_NEVER,
                        FILE_NAME " holds zeros only: the kernel was booted so that allocation profiling can never be on");
        if (error >= 0) {
                s->state = ALLOCINFO_IOCTL;
                s->reason = format(
                        "the ioctl of " FILE_NAME " answers (content id %llu)%s", (unsigned long long)s->content_id, more);
        } else if (error == -ENOTTY) {
                s->state = ALLOCINFO_TEXT;
                s->reason = format(FILE_NAME " has no ioctl on this kernel: its text is read%s", more);
        } else {
                s->state = ALLOCINFO_BROKEN;
                s->reason = format("the ioctl of " FILE_NAME " failed: %s", strerror(-error));
        }
        return s->reason;
}

/* Opens the file as well: *ret_fd is -1 when that failed, with the reason in the status. */
static int examine(const char *root, const struct allocinfo_ops *ops, struct allocinfo_status *ret, int *ret_fd) {
        _cleanup_(allocinfo_status_done) struct allocinfo_status s = {.counting = read_counting(root)};
        _cleanup_close_ int fd = open_below(root, FILE_NAME);
        _cleanup_free_ char *boot = NULL;
        int r = 0;

        if (fd < 0 || s.counting == COUNTING_OFF)
                r = read_boot_value(root, &boot);
        if (r < 0)
                return r;
        if (fd < 0)
                (void)judge_error(&s, boot, fd);
        else
                (void)judge_open(&s, boot && boots_with_never(root, boot), allocinfo_content_id(fd, ops, &s.content_id));
        if (!s.reason)
                return -ENOMEM;
        *ret = s;
        s.reason = NULL;
        *ret_fd = TAKE_FD(fd);
        return 0;
}

int allocinfo_probe(const char *root, const struct allocinfo_ops *ops, struct allocinfo_status *ret) {
        _cleanup_close_ int fd = -1;
        int r = examine(root, ops, ret, &fd);

        if (r >= 0)
                ret->compressed = read_digit(root, SYSCTL_NAME "_compressed") == '1';
        return r;
}

/* ---- reading --------------------------------------------------------------------------------------------------------------
 */

struct allocinfo *allocinfo_free(struct allocinfo *a) {
        if (a)
                free(a->rows);
        free(a);
        return NULL;
}

int allocinfo_check_filter(const struct filter *f, char **reterr) {
        static const enum filter_key foreign[] = {FILTER_TYPE, FILTER_CHARGED, FILTER_NODE, FILTER_PID, FILTER_OLDER_THAN_US};
        enum filter_group group = filter_group(f);

        for (size_t i = 0; i < ELEMENTS(foreign); i++)
                if (filter_has(f, foreign[i]))
                        return fail(reterr, -EINVAL,
                                "The filter key \"%s\" asks what the kernel's allocinfo does not tell: it has file, line, "
                                "function and module, and sizes.",
                                filter_fields[foreign[i]].name);
        if (group == GROUP_TYPE || group == GROUP_NODE)
                return fail(reterr, -EINVAL,
                        "The filter key \"%s\" takes site, function, file, module or category for the kernel's allocinfo, not "
                        "\"%s\".",
                        filter_fields[FILTER_GROUP_BY].name, f->strings[FILTER_GROUP_BY]);
        return 0;
}

static int state_error(enum allocinfo_state state) {
        switch (state) {
        case ALLOCINFO_IOCTL:
        case ALLOCINFO_TEXT:
                return 0;
        case ALLOCINFO_ABSENT:
        case ALLOCINFO_NEVER:
                return -EOPNOTSUPP;
        case ALLOCINFO_SHUT:
                return -ESHUTDOWN;
        case ALLOCINFO_DENIED:
                return -EACCES;
        case ALLOCINFO_BROKEN:
        default:
                return -EIO;
        }
}

/*
 * A module that comes or goes moves tags to and fro under a walk, and the content id tells afterwards. It says nothing of the
 * counters, which are never a snapshot.
 */
static int walk_until_steady(int fd, const struct allocinfo_ops *ops, const struct allocinfo_wanted *w, struct allocinfo *a,
        struct allocinfo_list *l) {
        uint64_t after = 0;
        int r;

        for (;; a->retries++, a->content_id = after) {
                l->n = 0;
                r = allocinfo_walk_ioctl(fd, ops, w, l);
                if (r < 0)
                        return r;
                r = allocinfo_content_id(fd, ops, &after);
                if (r < 0)
                        return r == -ENOTTY || r == -EIO ? -ESHUTDOWN : r;
                if (after == a->content_id)
                        return 0;
                if (a->retries >= RETRIES_MAX)
                        return -EAGAIN;
        }
}

static int explain(int error, char **reterr) {
        if (reterr && *reterr)
                return error; /* the text reader has said it better */
        if (error == -EAGAIN)
                return fail(reterr, error,
                        "Kernel modules came and went during each of %d readings of " FILE_NAME "; try again.",
                        RETRIES_MAX + 1);
        if (error == -ESHUTDOWN)
                return fail(reterr, error, "The kernel has shut its allocation profiling down while " FILE_NAME " was read.");
        if (error == -E2BIG)
                return fail(reterr, error, FILE_NAME " has more than %zu tags.", ALLOCINFO_TAGS_MAX);
        return fail(reterr, error, FILE_NAME " cannot be read: %s.", strerror(-error));
}

static int64_t now_us(void) {
        struct timespec t;

        clock_gettime(CLOCK_REALTIME, &t);
        return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

static int read_open(int fd, const struct allocinfo_ops *ops, const struct filter *f, struct allocinfo *a, char **reterr) {
        _cleanup_(allocinfo_list_done) struct allocinfo_list list = {};
        struct allocinfo_wanted wanted;
        int r;

        allocinfo_want(f, &wanted);
        r = a->source == ALLOCINFO_IOCTL ? walk_until_steady(fd, ops, &wanted, a, &list)
                                         : allocinfo_walk_text(fd, ops, &wanted, &list, reterr);
        if (r < 0)
                return r == -ENOMEM ? r : explain(r, reterr);
        a->at_us = now_us();
        return allocinfo_list_finish(&list, f, a);
}

int allocinfo_read(
        const char *root, const struct allocinfo_ops *ops, const struct filter *filter, struct allocinfo **ret, char **reterr) {
        _cleanup_(allocinfo_status_done) struct allocinfo_status status = {};
        _cleanup_(allocinfo_freep) struct allocinfo *a = calloc(1, sizeof(*a));
        static const struct filter everything;
        _cleanup_close_ int fd = -1;
        int r;

        if (!a)
                return -ENOMEM;
        r = examine(root, ops, &status, &fd);
        if (r < 0)
                return r;
        r = state_error(status.state);
        if (r < 0)
                return fail(reterr, r, "The kernel's allocinfo cannot be read: %s.", status.reason);
        a->source = status.state;
        a->counting = status.counting;
        a->content_id = status.content_id;
        r = read_open(fd, ops, filter ?: &everything, a, reterr);
        if (r < 0)
                return r;
        *ret = TAKE(a);
        return 0;
}

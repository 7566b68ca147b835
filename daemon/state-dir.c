/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See state-dir.h. All access is relative to directory descriptors taken at start. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <time.h>

#include "state-dir.h"
#include "text.h"

#define TEMPORARY ".tmp-"
#define SUFFIX ".json"
#define MODE_BYTES_MAX 16
#define REPORT_BYTES_MAX ((size_t)1 << 30)

/* A thousand containers of a few hundred kilobytes each: weeks of a busy host, and never a full disk. */
const struct report_limits report_limits_default = {
        .count = 1000, .bytes = UINT64_C(512) << 20, .age_s = UINT64_C(90) * 24 * 3600};

struct state_dir {
        char *path; /* absolute, of reports/ */
        int fd, reports_fd;
};

DEFINE_CLEANUP(DIR, closedir)

struct state_dir *state_dir_free(struct state_dir *d) {
        if (!d)
                return NULL;
        closep(&d->fd);
        closep(&d->reports_fd);
        free(d->path);
        free(d);
        return NULL;
}

static int open_directory(int at, const char *path, char **reterr) {
        int fd;

        if (mkdirat(at, path, 0700) < 0 && errno != EEXIST)
                return fail(reterr, -errno, "Cannot make the directory %s: %s.", path, strerror(errno));
        fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return fail(reterr, -errno, "Cannot open the directory %s: %s.", path, strerror(errno));
        return fd;
}

static DIR *list(int fd) {
        _cleanup_close_ int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = copy < 0 ? NULL : fdopendir(copy);

        if (d)
                (void)TAKE_FD(copy);
        return d;
}

static void remove_unfinished(int fd) {
        _cleanup_(closedirp) DIR *d = list(fd);
        struct dirent *entry;

        while (d && (entry = readdir(d)))
                if (startswith(entry->d_name, TEMPORARY))
                        (void)unlinkat(fd, entry->d_name, 0);
}

int state_dir_open(const char *path, struct state_dir **ret, char **reterr) {
        _cleanup_(state_dir_freep) struct state_dir *d = calloc(1, sizeof(*d));
        _cleanup_free_ char *absolute = NULL;

        if (!d)
                return -ENOMEM;
        d->reports_fd = -1;
        d->fd = open_directory(AT_FDCWD, path, reterr);
        if (d->fd < 0)
                return d->fd;
        d->reports_fd = open_directory(d->fd, "reports", reterr);
        if (d->reports_fd < 0)
                return d->reports_fd;
        if (fchmod(d->reports_fd, 0700) < 0)
                return fail(reterr, -errno, "Cannot make %s/reports private: %s.", path, strerror(errno));
        absolute = realpath(path, NULL);
        d->path = absolute ? format("%s/reports", absolute) : NULL;
        if (!d->path)
                return fail(reterr, -ENOMEM, "Cannot resolve the path %s.", path);
        remove_unfinished(d->fd);
        remove_unfinished(d->reports_fd);
        *ret = TAKE(d);
        return 0;
}

static int write_all(int fd, const char *text, size_t n) {
        while (n > 0) {
                ssize_t done = write(fd, text, n);

                if (done < 0 && errno == EINTR)
                        continue;
                if (done < 0)
                        return -errno;
                text += done;
                n -= (size_t)done;
        }
        return 0;
}

/* `written`: the time that the file shall have as its own, or NULL. */
static int write_temporary(int dirfd, const char *name, const char *text, const struct timespec *written) {
        const struct timespec times[] = {
                {.tv_nsec = UTIME_OMIT}, written ? *written : (struct timespec){.tv_nsec = UTIME_OMIT}};
        _cleanup_close_ int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        int r;

        if (fd < 0)
                return -errno;
        r = write_all(fd, text, strlen(text));
        if (r >= 0 && written && futimens(fd, times) < 0)
                r = -errno;
        if (r >= 0 && fsync(fd) < 0)
                r = -errno;
        return r;
}

static int write_atomically(int dirfd, const char *name, const char *text, const struct timespec *written, char **reterr) {
        /* Whoever lists *.json must not meet it, dotfiles included. */
        _cleanup_free_ char *temporary = format(TEMPORARY "%s.part", name);
        int r;

        if (!temporary)
                return -ENOMEM;
        (void)unlinkat(dirfd, temporary, 0);
        r = write_temporary(dirfd, temporary, text, written);
        if (r >= 0 && renameat(dirfd, temporary, dirfd, name) < 0)
                r = -errno;
        if (r < 0) {
                (void)unlinkat(dirfd, temporary, 0);
                return fail(reterr, r, "Cannot write %s: %s.", name, strerror(-r));
        }
        /* The name itself must survive a crash as well; where one stood already, either file is a whole one. */
        if (!written)
                (void)fsync(dirfd);
        return 0;
}

int state_dir_read_mode(const struct state_dir *d, char **ret) {
        _cleanup_free_ char *text = NULL;
        size_t n;
        int r = text_read_file(d->fd, "mode", MODE_BYTES_MAX, &text, &n);

        if (r < 0)
                return r;
        text[strcspn(text, "\n")] = '\0';
        *ret = TAKE(text);
        return 0;
}

int state_dir_write_mode(const struct state_dir *d, const char *word, char **reterr) {
        _cleanup_free_ char *line = format("%s\n", word);

        return line ? write_atomically(d->fd, "mode", line, NULL, reterr) : -ENOMEM;
}

static int write_report(const struct state_dir *d, const char *name, const char *text, const struct timespec *written,
        char **ret_path, char **reterr) {
        _cleanup_free_ char *path = format("%s/%s" SUFFIX, d->path, name), *file = format("%s" SUFFIX, name);
        int r;

        if (!path || !file)
                return -ENOMEM;
        r = write_atomically(d->reports_fd, file, text, written, reterr);
        if (r < 0)
                return r;
        *ret_path = TAKE(path);
        return 0;
}

int state_dir_write_report(const struct state_dir *d, const char *name, const char *text, char **ret_path, char **reterr) {
        return write_report(d, name, text, NULL, ret_path, reterr);
}

int state_dir_read_report(const struct state_dir *d, const char *name, char **ret) {
        _cleanup_free_ char *file = format("%s" SUFFIX, name);
        size_t n;

        return file ? text_read_file(d->reports_fd, file, REPORT_BYTES_MAX, ret, &n) : -ENOMEM;
}

int state_dir_replace_report(const struct state_dir *d, const char *name, const char *text, char **ret_path, char **reterr) {
        _cleanup_free_ char *file = format("%s" SUFFIX, name);
        struct stat st;

        if (!file)
                return -ENOMEM;
        if (fstatat(d->reports_fd, file, &st, AT_SYMLINK_NOFOLLOW) < 0)
                return fail(reterr, -errno, "The report %s cannot be found: %s.", file, strerror(errno));
        return write_report(d, name, text, &st.st_mtim, ret_path, reterr);
}

struct old_report {
        char name[NAME_MAX + 1];
        uint64_t bytes;
        int64_t at_s;
};

static int compare_newest_first(const void *a, const void *b) {
        const struct old_report *x = a, *y = b;

        return x->at_s != y->at_s ? (x->at_s < y->at_s ? 1 : -1) : strcmp(x->name, y->name);
}

static int add_report(struct old_report **list_, size_t *n, const char *name, const struct stat *st) {
        struct old_report *grown = reallocarray(*list_, *n + 1, sizeof(*grown));

        if (!grown)
                return -ENOMEM;
        *list_ = grown;
        grown += (*n)++;
        (void)snprintf(grown->name, sizeof(grown->name), "%s", name);
        grown->bytes = (uint64_t)st->st_size;
        grown->at_s = st->st_mtime;
        return 0;
}

/* Digits, from `s` on up to `end`; with a 'T' at index `t` and a 'Z' last, when `t` is not 0. */
static bool is_digits(const char *s, const char *end, size_t t) {
        for (const char *p = s; p < end; p++)
                if (t && p == s + t ? *p != 'T' : t && p == end - 1 ? *p != 'Z' : *p < '0' || *p > '9')
                        return false;
        return s < end;
}

/* ID-20260101T000000Z-CGROUPID.json: whatever else lies here was put here by somebody, and is not ours to count or remove. */
static bool is_report(const char *name) {
        const size_t n = strlen(name), start_length = strlen("20260101T000000Z");
        const char *end, *dash;

        if (n <= strlen(SUFFIX) || *name == '.')
                return false;
        end = name + n - strlen(SUFFIX);
        if (!streq(end, SUFFIX))
                return false;
        dash = memrchr(name, '-', (size_t)(end - name));
        return dash && (size_t)(dash - name) > start_length + 1 && is_digits(dash + 1, end, 0) &&
               dash[-(ptrdiff_t)start_length - 1] == '-' && is_digits(dash - start_length, dash, strlen("20260101"));
}

static int read_reports(int fd, struct old_report **ret, size_t *ret_n) {
        _cleanup_(closedirp) DIR *d = list(fd);
        _cleanup_free_ struct old_report *reports = NULL;
        struct dirent *entry;
        struct stat st;
        size_t n = 0;

        if (!d)
                return -errno;
        while ((entry = readdir(d))) {
                if (!is_report(entry->d_name) || fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
                        !S_ISREG(st.st_mode))
                        continue;
                if (add_report(&reports, &n, entry->d_name, &st) < 0)
                        return -ENOMEM;
        }
        if (n > 0)
                qsort(reports, n, sizeof(*reports), compare_newest_first);
        *ret = TAKE(reports);
        *ret_n = n;
        return 0;
}

int state_dir_prune_reports(const struct state_dir *d, const struct report_limits *limits, const char *keep) {
        _cleanup_free_ struct old_report *reports = NULL;
        int64_t oldest = (int64_t)time(NULL) - (int64_t)limits->age_s;
        uint64_t bytes = 0;
        size_t n = 0, kept = 0;
        int r, removed = 0;

        r = read_reports(d->reports_fd, &reports, &n);
        if (r < 0)
                return r;
        for (size_t i = 0; i < n; i++) {
                const struct old_report *o = &reports[i];
                bool spared = keep && streq(o->name, keep);

                /* What goes takes no room: one that is too large by itself does not push out the older ones. */
                if (spared || (kept < limits->count && bytes + o->bytes <= limits->bytes && o->at_s >= oldest)) {
                        bytes += o->bytes;
                        kept++;
                } else if (unlinkat(d->reports_fd, o->name, 0) == 0)
                        removed++;
        }
        return removed;
}

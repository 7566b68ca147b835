/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See saved-state.h. Its place is in memory (/run), so that nothing waits for a disk, and nothing outlives the boot. */
#include <fcntl.h>
#include <sys/stat.h>

#include "saved-state.h"
#include "text.h"

#define BYTES_MAX (64u << 20)
#define NAME "state"
#define TEMPORARY ".tmp-state"

static int open_directory(const char *path) {
        int fd;

        if (mkdir(path, 0700) < 0 && errno != EEXIST)
                return -errno;
        fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

static int write_text(int dirfd, const char *text, size_t n) {
        _cleanup_close_ int fd = openat(dirfd, TEMPORARY, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

        if (fd < 0)
                return -errno;
        while (n > 0) {
                ssize_t done = write(fd, text, n);

                if (done < 0 && errno != EINTR)
                        return -errno;
                if (done > 0) {
                        text += done;
                        n -= (size_t)done;
                }
        }
        return 0;
}

int saved_state_write(const char *directory, const char *text, size_t n) {
        _cleanup_close_ int dirfd = open_directory(directory);
        int r;

        if (dirfd < 0)
                return dirfd;
        r = write_text(dirfd, text, n);
        if (r >= 0 && renameat(dirfd, TEMPORARY, dirfd, NAME) < 0)
                r = -errno;
        if (r < 0)
                (void)unlinkat(dirfd, TEMPORARY, 0);
        return r;
}

int saved_state_parse(const char *text, size_t n, json_t **ret, char **reterr) {
        json_error_t error;
        _cleanup_(json_decrefp) json_t *state = json_loadb(text, n, JSON_REJECT_DUPLICATES, &error);
        const char *format_word = json_string_value(json_object_get(state, "format"));

        if (!state)
                return fail(reterr, -EBADMSG, "it is no JSON: %s", error.text);
        if (!format_word || !streq(format_word, SAVED_FORMAT))
                return fail(reterr, -EBADMSG, "it is no document " SAVED_FORMAT);
        if (json_integer_value(json_object_get(state, "version")) != SAVED_VERSION)
                return fail(reterr, -EBADMSG, "it is of version %lld, and this daemon reads version %d",
                        (long long)json_integer_value(json_object_get(state, "version")), SAVED_VERSION);
        if (!json_is_integer(json_object_get(state, "generation")) || !json_is_object(json_object_get(state, "segments")) ||
                !json_is_array(json_object_get(state, "profiles")))
                return fail(reterr, -EBADMSG, "it lacks generation, segments or profiles");
        *ret = TAKE(state);
        return 0;
}

int saved_state_read(const char *directory, json_t **ret, char **reterr) {
        _cleanup_free_ char *path = format("%s/" NAME, directory), *text = NULL;
        size_t n;
        int r;

        if (!path)
                return -ENOMEM;
        r = text_read_file(AT_FDCWD, path, BYTES_MAX, &text, &n);
        if (r < 0)
                return r == -ENOENT ? r : fail(reterr, r, "it cannot be read: %s", strerror(-r));
        return saved_state_parse(text, n, ret, reterr);
}

void saved_state_remove(const char *directory) {
        _cleanup_free_ char *path = format("%s/" NAME, directory);

        if (path)
                (void)unlink(path);
}

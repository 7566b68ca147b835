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

static int write_all(int fd, const char *text, size_t n) {
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

static int write_text(int dirfd, const char *text, size_t n) {
        _cleanup_close_ int fd = openat(dirfd, TEMPORARY, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

        if (fd < 0)
                return -errno;
        return write_all(fd, text, n);
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

int saved_state_append(const char *directory, const char *text, size_t n) {
        _cleanup_free_ char *path = format("%s/" NAME, directory);
        _cleanup_close_ int fd = path ? open(path, O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC) : -1;

        if (!path)
                return -ENOMEM;
        return fd < 0 ? -errno : write_all(fd, text, n);
}

static int parse_line(const char *text, size_t n, json_t **ret, char **reterr) {
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

/* Profiles are told apart by their scopes; one that makes no sense is kept for who says so, by its place. */
static char *key_of(const json_t *profile, size_t line, size_t i) {
        const json_t *scope = json_object_get(json_object_get(profile, "profile"), "scope");

        return json_is_integer(scope) ? format("%lld", (long long)json_integer_value(scope)) : format("%zu-%zu", line, i);
}

static int merge(json_t *profiles, const json_t *state, size_t line) {
        const json_t *gone = json_object_get(state, "gone"), *serial;
        json_t *profile;
        size_t i;

        json_array_foreach(gone, i, serial) {
                _cleanup_free_ char *key = format("%lld", (long long)json_integer_value(serial));

                if (!key)
                        return -ENOMEM;
                (void)json_object_del(profiles, key);
        }
        json_array_foreach(json_object_get(state, "profiles"), i, profile) {
                _cleanup_free_ char *key = key_of(profile, line, i);

                if (!key || json_object_set(profiles, key, profile) < 0)
                        return -ENOMEM;
        }
        return 0;
}

/* The last line's words with the profiles of all. */
static int whole(json_t *last, json_t *profiles, json_t **ret) {
        json_t *list = json_array(), *profile;
        const char *key;
        bool ok = list;

        json_object_foreach(profiles, key, profile) ok = ok && json_array_append(list, profile) == 0;
        if (!ok || json_object_set_new(last, "profiles", list) < 0)
                return -ENOMEM;
        (void)json_object_del(last, "gone");
        *ret = json_incref(last);
        return 0;
}

int saved_state_parse(const char *text, size_t n, json_t **ret, char **reterr) {
        _cleanup_(json_decrefp) json_t *profiles = json_object(), *last = NULL;
        const char *end = text + n, *newline;

        if (!profiles)
                return -ENOMEM;
        for (size_t line = 1; (newline = memchr(text, '\n', (size_t)(end - text))); line++, text = newline + 1) {
                json_t *state;
                int r = parse_line(text, (size_t)(newline - text), &state, reterr);

                if (r < 0)
                        return r;
                json_decref(last);
                last = state;
                r = merge(profiles, state, line);
                if (r < 0)
                        return r;
        }
        return last ? whole(last, profiles, ret) : fail(reterr, -EBADMSG, "it has no whole line");
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

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The text side of cgroups: what container names, runtimes' cgroupsPath and /proc/PID/cgroup say, turned into normalized paths.
 *
 * Invariant: nothing here trusts a name. All text may have been written by a tenant.
 */
#include <ctype.h>
#include <fcntl.h>
#include <limits.h>

#include "cgroup-path.h"
#include "cgroup.h"
#include "text.h"

/* One line per hierarchy, each with a path: far more than any kernel writes. */
#define PROC_CGROUP_MAX (256 * 1024)
#define PROC_STAT_MAX 4096
#define SHOWN_MAX 200

int cgroup_path_normalize(const char *path, char **ret) {
        _cleanup_free_ char *normal = NULL;
        size_t n = 0;

        if (!*path)
                return -EINVAL;
        if (strlen(path) >= PATH_MAX - 1)
                return -ENAMETOOLONG;
        normal = malloc(strlen(path) + 2);
        if (!normal)
                return -ENOMEM;
        for (const char *p = path; *p;) {
                size_t len;

                p += strspn(p, "/");
                len = strcspn(p, "/");
                if (len > NAME_MAX)
                        return -ENAMETOOLONG;
                if (len == 2 && startswith(p, ".."))
                        return -EINVAL;
                if (len > 0 && !(len == 1 && *p == '.')) {
                        normal[n++] = '/';
                        memcpy(normal + n, p, len);
                        n += len;
                }
                p += len;
        }
        if (n == 0)
                normal[n++] = '/';
        normal[n] = '\0';
        *ret = TAKE(normal);
        return 0;
}

char *cgroup_path_show(const char *path) {
        return text_escape(path, strlen(path), SHOWN_MAX);
}

void cgroup_path_climb(char *path) {
        char *slash = strrchr(path, '/');

        if (slash)
                slash[slash == path ? 1 : 0] = '\0';
}

bool cgroup_path_covers(const char *path, const char *below) {
        size_t n = strlen(path);

        if (streq(path, "/"))
                return true;
        return strncmp(path, below, n) == 0 && (below[n] == '\0' || below[n] == '/');
}

static bool in_word(char c) {
        return isalnum((unsigned char)c);
}

/* True when the `n` bytes at `name` contain `id` with no letter or digit next to it. */
static bool has_word(const char *name, size_t n, const char *id) {
        size_t len = strlen(id);

        for (size_t i = 0; i + len <= n; i++)
                if (memcmp(name + i, id, len) == 0 && (i == 0 || !in_word(name[i - 1])) &&
                        (i + len == n || !in_word(name[i + len])))
                        return true;
        return false;
}

static int copy_prefix(const char *path, size_t n, char **ret) {
        char *copy = strndup(path, n);

        if (!copy)
                return -ENOMEM;
        *ret = copy;
        return 0;
}

int cgroup_path_topmost(const char *path, const char *id, char **ret) {
        if (!*id || strchr(id, '/'))
                return -ENOENT;
        for (const char *p = path; *p == '/' && p[1];) {
                size_t len = strcspn(++p, "/");

                if (has_word(p, len, id))
                        return copy_prefix(path, (size_t)(p - path) + len, ret);
                p += len;
        }
        return -ENOENT;
}

int cgroup_path_down_to(const char *path, const char *part, char **ret) {
        _cleanup_free_ char *normal = NULL;
        const char *last = NULL;
        size_t len;
        int r;

        r = cgroup_path_normalize(part, &normal);
        if (r < 0)
                return r;
        len = strlen(normal);
        for (const char *p = strstr(path, normal); p && len > 1; p = strstr(p + 1, normal))
                if (p[len] == '\0' || p[len] == '/')
                        last = p;
        return last ? copy_prefix(path, (size_t)(last - path) + len, ret) : -ENOENT;
}

/* "a-b.slice" to "/a.slice/a-b.slice"; "-.slice" to "". */
static char *expand_slice(const char *slice) {
        size_t stem = strlen(slice) - strlen(".slice"), size;
        char *path = NULL;
        FILE *f;

        if (streq(slice, "-.slice"))
                return strdup("");
        f = open_memstream(&path, &size);
        if (!f)
                return NULL;
        for (size_t i = 1; i <= stem; i++)
                if (i == stem || slice[i] == '-')
                        fprintf(f, "/%.*s.slice", (int)i, slice);
        if (fclose(f) != 0) {
                free(path);
                return NULL;
        }
        return path;
}

static bool is_slice(const char *name) {
        size_t n = strlen(name);

        return n > strlen(".slice") && streq(name + n - strlen(".slice"), ".slice") && !strstr(name, "--") &&
               (name[0] != '-' || streq(name, "-.slice"));
}

int cgroup_path_of_unit(const char *text, char **ret) {
        _cleanup_free_ char *copy = NULL, *slice = NULL, *path = NULL;
        char *prefix, *name;

        if (strchr(text, '/') || !strchr(text, ':')) {
                *ret = NULL;
                return 0;
        }
        copy = strdup(text);
        if (!copy)
                return -ENOMEM;
        prefix = strchr(copy, ':');
        *prefix++ = '\0';
        name = strchr(prefix, ':');
        if (!name || strchr(name + 1, ':'))
                return -EINVAL;
        *name++ = '\0';
        if (!*name || (*copy && !is_slice(copy)))
                return -EINVAL;
        if (strlen(copy) > NAME_MAX)
                return -ENAMETOOLONG; /* and its path grows by the square */
        /* An empty slice means system.slice to both runtimes when root runs them. */
        slice = expand_slice(*copy ? copy : "system.slice");
        if (!slice)
                return -ENOMEM;
        if (is_slice(name))
                path = format("%s/%s", slice, name);
        else
                path = format("%s/%s%s%s.scope", slice, prefix, *prefix ? "-" : "", name);
        return path ? cgroup_path_normalize(path, ret) : -ENOMEM;
}

/* True when the comma-separated `list` of `n` bytes has the word "memory". */
static bool lists_memory(const char *list, size_t n) {
        for (size_t i = 0; i < n;) {
                size_t len = strcspn(list + i, ",:");

                if (len == strlen("memory") && strncmp(list + i, "memory", len) == 0)
                        return true;
                i += len + 1;
        }
        return false;
}

/* The line of the memory hierarchy: "N:...,memory,...:PATH" where a v1 hierarchy has the controller, else "0::PATH". */
static const char *memory_line(const char *text, size_t *ret_len) {
        const char *found = NULL;

        for (const char *line = text; *line;) {
                size_t len = strcspn(line, "\n");
                const char *controllers = memchr(line, ':', len), *path;

                path = controllers ? memchr(controllers + 1, ':', len - (size_t)(controllers + 1 - line)) : NULL;
                if (path) {
                        size_t n = (size_t)(path - controllers - 1);
                        bool v1 = lists_memory(controllers + 1, n);

                        if (v1 || (n == 0 && startswith(line, "0:"))) {
                                found = path + 1;
                                *ret_len = len - (size_t)(path + 1 - line);
                        }
                        if (v1)
                                return found;
                }
                line += len + (line[len] == '\n');
        }
        return found;
}

int cgroup_path_parse(const char *text, char **ret, char **reterr) {
        _cleanup_free_ char *path = NULL;
        const char *found;
        size_t len = 0;
        int r;

        found = memory_line(text, &len);
        if (!found || len == 0 || *found != '/')
                return fail(reterr, -EINVAL, "The process is in no memory cgroup.");
        r = copy_prefix(found, len, &path);
        if (r < 0)
                return r;
        if (cgroup_path_covers("/..", path))
                return fail(reterr, -EOPNOTSUPP, "The process is in a memory cgroup outside this program's cgroup namespace.");
        *ret = TAKE(path);
        return 0;
}

/* True for a process that has exited and waits for its parent: the kernel has taken it out of its v1 groups. */
static bool is_zombie(const char *directory) {
        _cleanup_free_ char *path = format("%s/stat", directory), *text = NULL;
        const char *end;

        if (!path || text_read_file(AT_FDCWD, path, PROC_STAT_MAX, &text, NULL) < 0)
                return false;
        end = strrchr(text, ')');
        return end && end[1] == ' ' && (end[2] == 'Z' || end[2] == 'X');
}

#define DELETED " (deleted)"

static bool is_deleted(const char *path) {
        size_t n = strlen(path);

        return n > strlen(DELETED) && streq(path + n - strlen(DELETED), DELETED);
}

static int path_of_process(const char *directory, char **ret, char **reterr) {
        _cleanup_free_ char *file = format("%s/cgroup", directory), *text = NULL, *path = NULL;
        int r;

        if (!file)
                return -ENOMEM;
        r = text_read_file(AT_FDCWD, file, PROC_CGROUP_MAX, &text, NULL);
        if (r == -ENOENT || r == -ESRCH)
                return fail(reterr, -ESRCH, "There is no process %s.", strrchr(directory, '/') + 1);
        if (r < 0)
                return fail(reterr, r, "Cannot read %s: %s.", file, strerror(-r));
        r = cgroup_path_parse(text, &path, reterr);
        if (r < 0)
                return r;
        if ((streq(path, "/") || is_deleted(path)) && is_zombie(directory))
                return fail(reterr, -ESRCH, "Process %s has ended.", strrchr(directory, '/') + 1);
        *ret = TAKE(path);
        return 0;
}

int cgroup_path_of_pid(pid_t pid, char **ret, char **reterr) {
        char directory[32];

        if (pid <= 0)
                return fail(reterr, -ESRCH, "There is no process %d.", (int)pid);
        snprintf(directory, sizeof directory, "/proc/%d", (int)pid);
        return path_of_process(directory, ret, reterr);
}

int cgroup_path_own(char **ret, char **reterr) {
        return path_of_process("/proc/self", ret, reterr);
}

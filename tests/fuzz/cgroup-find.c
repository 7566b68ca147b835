/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fuzz target: the search for a container among directories, whose names are a tenant's. An input is the id that is looked for
 * and one directory's name in each further line.
 */
#include <limits.h>
#include <sys/stat.h>

#include "cgroup.h"
#include "fuzz.h"

#define NAMES_MAX 6

struct names {
        char *name[NAMES_MAX];
        size_t n;
};

static bool can_be_name(const char *s) {
        return *s && strlen(s) <= NAME_MAX && !strchr(s, '/') && !streq(s, ".") && !streq(s, "..");
}

static void make(const char *top, const char *text, struct names *names) {
        char *name;

        while (names->n < NAMES_MAX && (name = fuzz_line(&text))) {
                _cleanup_free_ char *path = format("%s/%s", top, name);

                if (can_be_name(name) && mkdir(path, 0700) == 0)
                        names->name[names->n++] = TAKE(name);
                free(name);
        }
}

static void unmake(const char *top, struct names *names) {
        for (size_t i = 0; i < names->n; i++) {
                _cleanup_free_ char *path = format("%s/%s", top, names->name[i]);

                demand(rmdir(path) == 0);
                free(names->name[i]);
        }
}

/* What may stand around an id in a name: nothing, or "*-" and ".scope" but for a monitor's. */
static bool names_container(const char *name, const char *id) {
        const char *last = NULL;

        if (startswith(name, id))
                return true;
        for (const char *p = strstr(name, id); p; p = strstr(p + 1, id))
                last = p > name && p[-1] == '-' ? p : last;
        return last && strlen(name) > strlen(".scope") && streq(name + strlen(name) - strlen(".scope"), ".scope");
}

static void check_found(const struct names *names, const char *id, const char *path) {
        size_t i = 0;

        demand(path[0] == '/' && fuzz_is_normal_path(path));
        while (i < names->n && !streq(names->name[i], path + 1))
                i++;
        demand(i < names->n && *id && names_container(path + 1, id));
}

static void check_not_found(const struct names *names, const char *id) {
        for (size_t i = 0; i < names->n; i++)
                demand(!streq(names->name[i], id));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = fuzz_text(data, size), *top = strdup(fuzz_directory()), *path = NULL;
        const struct cgroup_root root = {.mount = top, .layout = CGROUP_V2};
        const char *p = text;
        _cleanup_free_ char *id = fuzz_line(&p);
        struct names names = {.n = 0};
        char *sentence = NULL;
        int r;

        if (p)
                make(top, p, &names);
        r = cgroup_find_container_path(&root, id, &path, &sentence);
        fuzz_check_sentence(r, sentence);
        demand((r == 0) == (path != NULL) && (r == 0 || r == -ENOENT || r == -ENOTUNIQ));
        if (path)
                check_found(&names, id, path);
        if (r == -ENOENT)
                check_not_found(&names, id);
        unmake(top, &names);
        return 0;
}

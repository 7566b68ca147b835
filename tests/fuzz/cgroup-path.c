/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fuzz target: paths of cgroups. An input is a container's id, a cgroupsPath and, from the third line on, the text of a
 * /proc/PID/cgroup.
 */
#include "cgroup-path.h"
#include "cgroup.h"
#include "fuzz.h"

#define SHOWN_MAX 256

static const char *last_of(const char *path) {
        return strrchr(path, '/') + 1;
}

static void check_climb(const char *path) {
        _cleanup_free_ char *up = strdup(path);
        size_t left = strlen(path);

        for (; !streq(up, "/"); left--) {
                cgroup_path_climb(up);
                demand(left > 0 && fuzz_is_normal_path(up) && cgroup_path_covers(up, path));
        }
}

static char *check_normal(const char *text) {
        _cleanup_free_ char *shown = cgroup_path_show(text), *normal = NULL, *again = NULL;
        int r = cgroup_path_normalize(text, &normal);

        demand(shown && strlen(shown) < SHOWN_MAX && fuzz_is_printable(shown));
        demand((r == 0) == (normal != NULL) && (r == 0 || r == -EINVAL || r == -ENAMETOOLONG));
        if (!normal)
                return NULL;
        demand(fuzz_is_normal_path(normal));
        demand(cgroup_path_normalize(normal, &again) == 0 && streq(again, normal));
        demand(cgroup_path_covers("/", normal) && cgroup_path_covers(normal, normal));
        check_climb(normal);
        return TAKE(normal);
}

static void check_unit(const char *text) {
        _cleanup_free_ char *unit = NULL;
        int r = cgroup_path_of_unit(text, &unit);

        demand(r == 0 || (!unit && (r == -EINVAL || r == -ENAMETOOLONG)));
        if (r == 0)
                demand((unit == NULL) == (strchr(text, '/') || !strchr(text, ':')));
        if (unit) {
                const char *end = last_of(unit) + strcspn(last_of(unit), ".");

                demand(fuzz_is_normal_path(unit) && *end);
        }
}

static void check_search(const char *path, const char *id, const char *part) {
        _cleanup_free_ char *top = NULL, *down = NULL, *normal = NULL;
        int r = cgroup_path_topmost(path, id, &top);

        demand((r == 0) == (top != NULL) && (r == 0 || r == -ENOENT));
        if (top)
                demand(cgroup_path_covers(top, path) && *id && strstr(last_of(top), id));
        r = cgroup_path_down_to(path, part, &down);
        demand((r == 0) == (down != NULL));
        if (!down)
                return;
        demand(cgroup_path_normalize(part, &normal) == 0);
        demand(cgroup_path_covers(down, path) && streq(down + strlen(down) - strlen(normal), normal));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = fuzz_text(data, size), *path = NULL, *normal = NULL;
        const char *p = text;
        _cleanup_free_ char *id = fuzz_line(&p), *cgroups_path = fuzz_line(&p);
        char *sentence = NULL;
        int r;

        free(check_normal(id));
        if (cgroups_path) {
                free(check_normal(cgroups_path));
                check_unit(cgroups_path);
        }
        if (!p)
                return 0;
        r = cgroup_path_parse(p, &path, &sentence);
        fuzz_check_sentence(r, sentence);
        demand((r == 0) == (path != NULL));
        if (!path)
                return 0;
        demand(path[0] == '/' && !strchr(path, '\n') && strstr(p, path));
        normal = check_normal(path);
        if (normal)
                check_search(normal, id, cgroups_path);
        return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a container's bundle says about its cgroup. A file of its own because it is the only one of cgroup*.c that reads JSON.
 *
 * Invariant: the file is read once, whole and bounded; a bundle without linux.cgroupsPath is in order.
 */
#include <fcntl.h>
#include <jansson.h>

#include "cgroup-path.h"
#include "cgroup.h"
#include "text.h"

/* Real ones have some 10 KiB; a long list of mounts or of seccomp rules may have a hundred times that. */
#define CONFIG_MAX (4 * 1024 * 1024)

/* The text of linux.cgroupsPath, or NULL when it is absent or empty. -EINVAL when it is no text. */
static int cgroups_path_of(const json_t *config, char **ret) {
        const json_t *path = json_object_get(json_object_get(config, "linux"), "cgroupsPath");
        char *copy = NULL;

        if (path && !json_is_null(path) && !json_is_string(path))
                return -EINVAL;
        if (json_is_string(path) && *json_string_value(path)) {
                copy = strdup(json_string_value(path));
                if (!copy)
                        return -ENOMEM;
        }
        *ret = copy;
        return 0;
}

int cgroup_path_of_bundle(const char *bundle, char **ret, char **reterr) {
        _cleanup_free_ char *shown = cgroup_path_show(bundle), *file = format("%s/config.json", bundle), *text = NULL;
        json_t *config;
        json_error_t error;
        size_t len;
        int r;

        if (!shown || !file)
                return -ENOMEM;
        r = text_read_file(AT_FDCWD, file, CONFIG_MAX, &text, &len);
        if (r < 0)
                return fail(reterr, r == -ENOTDIR ? -ENOENT : r, "Cannot read config.json of the bundle %s: %s.", shown,
                        strerror(-r));
        config = json_loadb(text, len, 0, &error);
        if (!config)
                return fail(reterr, -EINVAL, "config.json of the bundle %s is no JSON (line %d).", shown, error.line);
        r = cgroups_path_of(config, ret);
        json_decref(config);
        if (r == -EINVAL)
                return fail(reterr, r, "linux.cgroupsPath in config.json of the bundle %s is no text.", shown);
        return r;
}

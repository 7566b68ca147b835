/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fuzz target: the words by which people name what to profile, and the objects and files that are named after them. */
#include <systemd/sd-bus.h>

#include "fuzz.h"
#include "object-path.h"
#include "target.h"
#include "text.h"

#define FILENAME_MAX_BYTES 100

static void check_normal(const char *text) {
        static char mount[] = "/sys/fs/cgroup/memory";
        const struct cgroup_root root = {.mount = mount};
        _cleanup_free_ char *path = target_normal_path(&root, text);

        demand(path && path[0] == '/' && !strstr(path, "//") && (path[1] == '\0' || path[strlen(path) - 1] != '/'));
        demand(strlen(path) <= strlen(text) + 1);
}

/* An object's path is valid whatever the id, and tells it back. */
static void check_object(const char *id) {
        _cleanup_free_ char *path = object_path_of_container(id), *back = NULL;

        demand(path && sd_bus_object_path_is_valid(path) > 0);
        demand(sd_bus_path_decode(path, BUS_PATH_CONTAINER, &back) > 0 && streq(back, id));
}

static void check_file(const char *id) {
        _cleanup_free_ char *name = text_filename(id);

        demand(name && *name && *name != '.' && strlen(name) <= FILENAME_MAX_BYTES);
        demand(strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-") == strlen(name));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = fuzz_text(data, size);
        struct target target = {.name = NULL};
        char *sentence = NULL;
        int r = target_parse(text, &target, &sentence);

        /* The bus escapes the daemon's sentences as they leave: these may hold anything. */
        demand((r < 0) == (sentence != NULL) && (r == 0 || r == -EINVAL || r == -EOPNOTSUPP));
        free(TAKE(sentence));
        check_normal(text);
        check_object(text);
        check_file(text);
        demand((r == 0) == (target.name != NULL));
        if (r < 0)
                return 0;
        demand(*target.name && target.name >= text && target.name <= text + size);
        demand((target.kind == TARGET_HOST) == streq(text, "host"));
        if (target.kind != TARGET_CONTAINER)
                return 0;
        r = target_check_id(target.name, &sentence);
        fuzz_check_sentence(r, sentence);
        demand((r == 0) == (strlen(target.name) <= TARGET_ID_MAX));
        return 0;
}

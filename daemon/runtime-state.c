/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See runtime-state.h. */
#include <fcntl.h>
#include <jansson.h>

#include "runtime-state.h"
#include "text.h"

/* A state.json holds the whole configuration of its container. */
#define STATE_BYTES_MAX (4u << 20)

/* Roots are the defaults of the runtimes and of the engines that call them with a root of their own. */
static const struct {
        const char *root, *file, *pid_key;
} places[] = {
        {"/run/runc", "state.json", "init_process_pid"},
        {"/run/containerd/runc/k8s.io", "state.json", "init_process_pid"},
        {"/run/containerd/runc/default", "state.json", "init_process_pid"},
        {"/run/docker/runtime-runc/moby", "state.json", "init_process_pid"},
        {"/run/crun", "status", "pid"},
};

const char runtime_state_places[] = "/run/runc, /run/containerd/runc, /run/docker/runtime-runc or /run/crun";

static int read_pid(const char *path, const char *key, uint64_t *ret) {
        _cleanup_(json_decrefp) json_t *state = NULL;
        _cleanup_free_ char *text = NULL;
        json_int_t pid;
        size_t n;
        int r;

        r = text_read_file(AT_FDCWD, path, STATE_BYTES_MAX, &text, &n);
        if (r < 0)
                return r;
        state = json_loadb(text, n, 0, NULL);
        pid = json_integer_value(json_object_get(state, key));
        if (pid <= 0)
                return -ENOENT;
        *ret = (uint64_t)pid;
        return 0;
}

int runtime_state_pid(const char *id, uint64_t *ret) {
        if (strchr(id, '/') || streq(id, ".") || streq(id, ".."))
                return -ENOENT;
        for (size_t i = 0; i < ELEMENTS(places); i++) {
                _cleanup_free_ char *path = format("%s/%s/%s", places[i].root, id, places[i].file);

                if (!path)
                        return -ENOMEM;
                if (read_pid(path, places[i].pid_key, ret) >= 0)
                        return 0;
        }
        return -ENOENT;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See target.h. */
#include "target.h"
#include "runtime-state.h"
#include "text.h"

#define FORMS "container:ID, cgroup:PATH, pid:N or host"

static const struct {
        const char *prefix;
        enum target_kind kind;
        bool served;
} kinds[] = {
        {"container:", TARGET_CONTAINER, true},
        {"cgroup:", TARGET_CGROUP, true},
        {"pid:", TARGET_PID, true},
        {"unit:", TARGET_UNIT, false},
};

static int refuse_kind(const char *word, char **reterr) {
        return fail(reterr, -EOPNOTSUPP, "Targets of the kind '%s' are not part of this version; use " FORMS ".", word);
}

int target_parse(const char *text, struct target *ret, char **reterr) {
        if (streq(text, "host")) {
                *ret = (struct target){.kind = TARGET_HOST, .name = text};
                return 0;
        }
        for (size_t i = 0; i < ELEMENTS(kinds); i++) {
                if (!startswith(text, kinds[i].prefix))
                        continue;
                if (!kinds[i].served)
                        return refuse_kind(kinds[i].prefix, reterr);
                if (text[strlen(kinds[i].prefix)] == '\0')
                        return fail(reterr, -EINVAL, "The target '%s' names nothing; use " FORMS ".", text);
                *ret = (struct target){.kind = kinds[i].kind, .name = text + strlen(kinds[i].prefix)};
                return 0;
        }
        return fail(reterr, -EINVAL, "'%.64s' is no target; use " FORMS ".", text);
}

int target_check_id(const char *id, char **reterr) {
        size_t n = strnlen(id, TARGET_ID_MAX + 1);

        if (n == 0)
                return fail(reterr, -EINVAL, "The container id is empty; give the id that the runtime uses.");
        if (n > TARGET_ID_MAX)
                return fail(
                        reterr, -EINVAL, "The container id is longer than %d bytes, which no runtime allows.", TARGET_ID_MAX);
        return 0;
}

char *target_normal_path(const struct cgroup_root *root, const char *path) {
        size_t mount = strlen(root->mount);
        char *normal, *p;

        if (strncmp(path, root->mount, mount) == 0 && (path[mount] == '/' || path[mount] == '\0'))
                path += mount;
        p = normal = malloc(strlen(path) + 2);
        if (!normal)
                return NULL;
        *p++ = '/';
        for (; *path; path++)
                if (*path != '/' || p[-1] != '/')
                        *p++ = *path;
        if (p > normal + 1 && p[-1] == '/')
                p--;
        *p = '\0';
        return normal;
}

int target_open_path(const struct cgroup_root *root, const char *path, struct cgroup **ret, char **reterr) {
        _cleanup_free_ char *normal = target_normal_path(root, path);
        int r;

        if (!normal)
                return -ENOMEM;
        if (streq(normal, "/"))
                return fail(reterr, -EOPNOTSUPP,
                        "The root cgroup is the whole host, whose target is 'host'; name that, or a group below the root.");
        r = cgroup_open(root, normal, ret, reterr);
        return r == -EINVAL ? -ENOENT : r;
}

static int open_pid(const struct cgroup_root *root, const char *text, struct cgroup **ret, char **reterr) {
        _cleanup_(cgroup_freep) struct cgroup *cgroup = NULL;
        _cleanup_(process_done) struct process process = PROCESS_NONE;
        _cleanup_free_ char *path = NULL;
        uint64_t pid;
        int r;

        if (text_to_u64(text, &pid) < 0)
                return fail(reterr, -EINVAL, "'%.32s' is no process id; give a decimal number.", text);
        r = process_from_pid(pid, &process, reterr);
        if (r < 0)
                return r;
        r = cgroup_path_of_pid(process.pid, &path, reterr);
        if (r >= 0)
                r = target_open_path(root, path, &cgroup, reterr);
        if (!process_alive(&process))
                return fail(reterr, -ESRCH, "Process %s is gone.", text);
        if (r < 0)
                return r;
        *ret = TAKE(cgroup);
        return 0;
}

int target_open_container(const struct cgroup_root *root, const struct process *process, const char *id, const char *bundle,
        struct cgroup **ret, char **reterr) {
        _cleanup_(cgroup_freep) struct cgroup *cgroup = NULL;
        _cleanup_free_ char *cgroups_path = NULL;
        int r;

        /* The bundle only helps where the process's own cgroup does not tell: an unreadable one is not a reason to fail. */
        if (bundle)
                (void)cgroup_path_of_bundle(bundle, &cgroups_path, NULL);
        r = cgroup_of_container(root, process->pid, id, cgroups_path, &cgroup, reterr);
        if (!process_alive(process))
                return fail(reterr, -ESRCH, "The container's process is gone.");
        if (r < 0)
                return r;
        *ret = TAKE(cgroup);
        return 0;
}

/* For a container that the hierarchy does not show by name: its runtime knows its process. */
static int open_by_runtime(const struct cgroup_root *root, const char *id, struct cgroup **ret, char **reterr) {
        _cleanup_(process_done) struct process process = PROCESS_NONE;
        uint64_t pid;
        int r;

        r = runtime_state_pid(id, &pid);
        if (r < 0)
                return r;
        r = process_from_pid(pid, &process, reterr);
        return r < 0 ? r : target_open_container(root, &process, id, NULL, ret, reterr);
}

static int open_container(const struct cgroup_root *root, const char *id, struct cgroup **ret, char **reterr) {
        _cleanup_free_ char *tried = NULL, *sentence = NULL;
        int r;

        r = target_check_id(id, reterr);
        if (r < 0)
                return r;
        r = cgroup_find_container(root, id, ret, &tried);
        if (r == -ENOENT) {
                r = open_by_runtime(root, id, ret, &sentence);
                if (r == -ENOENT)
                        return fail(reterr, r, "%s No runtime state was found in %s either.", tried ? tried : "Not found.",
                                runtime_state_places);
                if (r < 0)
                        return fail(reterr, r, "%s", sentence ? sentence : strerror(-r));
        }
        return r < 0 ? fail(reterr, r, "%s", tried ? tried : strerror(-r)) : 0;
}

int target_open(const struct cgroup_root *root, const struct target *t, struct cgroup **ret, char **reterr) {
        switch (t->kind) {
        case TARGET_CONTAINER:
                return open_container(root, t->name, ret, reterr);
        case TARGET_CGROUP:
                return target_open_path(root, t->name, ret, reterr);
        case TARGET_PID:
                return open_pid(root, t->name, ret, reterr);
        case TARGET_HOST:
                return cgroup_open_host(root, ret, reterr);
        case TARGET_UNIT:
                break;
        }
        return refuse_kind("unit:", reterr);
}

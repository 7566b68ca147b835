/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads the OCI state with jansson.
 *
 * Invariants: the parser never sees more than OCI_STATE_MAX bytes or DEPTH_MAX levels; what a sentence repeats of the input is
 * escaped and cut.
 */
#include <jansson.h>
#include <limits.h>

#include "oci-state.h"
#include "text.h"

/*
 * A state needs two levels; the rest is room for members that are not known yet. jansson itself stops at 2048 only, and it
 * recurses, on a stack whose limit the container's starter has set.
 */
#define DEPTH_MAX 64

#define SHOWN 64 /* bytes of a value that a sentence repeats */

#define SPEC_KEY "org.memcgprof.profile"

struct oci_state {
        json_t *root;
        json_t *annotations; /* borrowed from root; NULL when absent or no object */
};

const char *const oci_annotations[] = {
        SPEC_KEY,
        /* CRI-O; podman uses the same names for what it has */
        "io.kubernetes.pod.name",
        "io.kubernetes.pod.namespace",
        "io.kubernetes.pod.uid",
        "io.kubernetes.container.name",
        "io.kubernetes.cri-o.ImageName",
        /* containerd */
        "io.kubernetes.cri.sandbox-name",
        "io.kubernetes.cri.sandbox-namespace",
        "io.kubernetes.cri.sandbox-uid",
        "io.kubernetes.cri.container-name",
        "io.kubernetes.cri.image-name",
        NULL,
};

static const char *const sandbox_keys[] = {
        "io.kubernetes.cri-o.ContainerType",
        "io.kubernetes.cri.container-type",
};

/* Strings are told from structure exactly as far as jansson gets: both stop to agree at the first error, where it stops. */
static bool too_deep(const char *text, size_t n) {
        bool string = false;
        size_t depth = 0;

        for (size_t i = 0; i < n; i++) {
                char c = text[i];

                if (string && c == '\\')
                        i++;
                else if (c == '"')
                        string = !string;
                else if (!string && (c == '{' || c == '[') && ++depth > DEPTH_MAX)
                        return true;
                else if (!string && (c == '}' || c == ']') && depth > 0)
                        depth--;
        }
        return false;
}

static int not_json(const json_error_t *e, char **reterr) {
        _cleanup_free_ char *why = text_escape(e->text, strlen(e->text), SHOWN);

        return fail(reterr, -EINVAL, "The OCI state is not valid JSON (line %d: %s).", e->line, why ? why : "?");
}

int oci_state_parse(const char *text, size_t n, struct oci_state **ret, char **reterr) {
        struct oci_state *s;
        json_error_t error;
        json_t *root;

        if (n > OCI_STATE_MAX)
                return fail(reterr, -E2BIG, "The OCI state is larger than %d bytes.", OCI_STATE_MAX);
        if (n == 0)
                return fail(reterr, -EINVAL, "The OCI state is empty.");
        if (too_deep(text, n))
                return fail(reterr, -EINVAL, "The OCI state is nested deeper than %d levels.", DEPTH_MAX);
        /* One odd annotation must not make the whole state unreadable: hence NUL. */
        root = json_loadb(text, n, JSON_ALLOW_NUL, &error);
        if (!root)
                return not_json(&error, reterr);
        if (!json_is_object(root)) {
                json_decref(root);
                return fail(reterr, -EINVAL, "The OCI state is not a JSON object.");
        }
        s = calloc(1, sizeof(*s));
        if (!s) {
                json_decref(root);
                return -ENOMEM;
        }
        s->root = root;
        s->annotations = json_object_get(root, "annotations");
        *ret = s;
        return 0;
}

struct oci_state *oci_state_free(struct oci_state *s) {
        if (s)
                json_decref(s->root);
        free(s);
        return NULL;
}

/* No control characters, nothing that D-Bus refuses. A backslash is fine, which text_escape() might double. */
static bool harmless(const char *s, size_t n) {
        _cleanup_free_ char *copy = malloc(n + 1), *escaped = NULL;

        if (!copy)
                return false;
        for (size_t i = 0; i < n; i++)
                copy[i] = s[i] == '\\' ? '/' : s[i];
        copy[n] = '\0';
        escaped = text_escape(copy, n, n);
        return escaped && streq(escaped, copy) && strlen(copy) == n;
}

char *oci_state_label(const struct oci_state *s) {
        json_t *id = json_object_get(s->root, "id");

        if (!json_is_string(id) || json_string_length(id) == 0)
                return NULL;
        return text_escape(json_string_value(id), json_string_length(id), OCI_LABEL_MAX);
}

int oci_state_status(const struct oci_state *s, enum oci_status *ret, char **reterr) {
        static const struct {
                const char *name;
                enum oci_status status;
        } known[] = {{"creating", OCI_STARTING}, {"created", OCI_STARTING}, {"stopped", OCI_STOPPED}};
        const char *name = json_string_value(json_object_get(s->root, "status"));
        _cleanup_free_ char *shown = NULL;

        if (!name)
                return fail(reterr, -EINVAL, "The OCI state has no status, or one that is not a string.");
        for (size_t i = 0; i < ELEMENTS(known); i++)
                if (streq(name, known[i].name)) {
                        *ret = known[i].status;
                        return 0;
                }
        shown = text_escape(name, strlen(name), SHOWN);
        return fail(reterr, -EINVAL, "The status of the container is \"%s\", not creating, created or stopped.",
                shown ? shown : "?");
}

int oci_state_id(const struct oci_state *s, const char **ret, char **reterr) {
        json_t *id = json_object_get(s->root, "id");
        size_t n = json_string_length(id);

        if (!json_is_string(id))
                return fail(reterr, -EINVAL, "The OCI state has no id, or one that is not a string.");
        if (n == 0)
                return fail(reterr, -EINVAL, "The id of the container is empty.");
        if (n > OCI_ID_MAX)
                return fail(reterr, -EINVAL, "The id of the container has %zu bytes; %d are the limit.", n, OCI_ID_MAX);
        if (memchr(json_string_value(id), '/', n))
                return fail(reterr, -EINVAL, "The id of the container has a slash in it.");
        if (!harmless(json_string_value(id), n))
                return fail(reterr, -EINVAL, "The id of the container has characters in it that cannot be printed.");
        *ret = json_string_value(id);
        return 0;
}

int oci_state_pid(const struct oci_state *s, pid_t *ret, char **reterr) {
        json_t *pid = json_object_get(s->root, "pid");
        json_int_t v = json_integer_value(pid);

        if (!pid)
                return fail(reterr, -EINVAL, "The OCI state has no pid.");
        if (!json_is_integer(pid))
                return fail(reterr, -EINVAL, "The pid in the OCI state is not an integer.");
        if (v <= 0 || v > INT_MAX)
                return fail(reterr, -EINVAL, "The pid in the OCI state is %lld, which no process has.", (long long)v);
        *ret = v;
        return 0;
}

int oci_state_spec(const struct oci_state *s, const char **ret, char **reterr) {
        json_t *value = json_object_get(s->annotations, SPEC_KEY);

        if (s->annotations && !json_is_object(s->annotations) && !json_is_null(s->annotations))
                return fail(reterr, -EINVAL, "The annotations in the OCI state are not an object.");
        if (!value)
                return 0;
        if (!json_is_string(value))
                return fail(reterr, -EINVAL, "The annotation " SPEC_KEY " is not a string.");
        if (strlen(json_string_value(value)) != json_string_length(value))
                return fail(reterr, -EINVAL, "The annotation " SPEC_KEY " has a NUL byte in it.");
        *ret = json_string_value(value);
        return 1;
}

bool oci_state_is_sandbox(const struct oci_state *s) {
        for (size_t i = 0; i < ELEMENTS(sandbox_keys); i++) {
                const char *type = json_string_value(json_object_get(s->annotations, sandbox_keys[i]));

                if (type && streq(type, "sandbox"))
                        return true;
        }
        return false;
}

const char *oci_state_bundle(const struct oci_state *s) {
        json_t *bundle = json_object_get(s->root, "bundle");
        size_t n = json_string_length(bundle);
        const char *path = json_string_value(bundle);

        /* It names a file and is sent as it is, or not at all: an escaped path would be another one. */
        return path && path[0] == '/' && n < PATH_MAX && harmless(path, n) ? path : NULL;
}

int oci_state_annotation(const struct oci_state *s, const char *key, char **ret) {
        json_t *value = json_object_get(s->annotations, key);
        size_t n = json_string_length(value), max = OCI_ANNOTATION_MAX - strlen("...");
        char *text;

        if (!json_is_string(value))
                return 0;
        if (n <= max)
                max = n;
        while (max < n && (json_string_value(value)[max] & 0xc0) == 0x80) /* not within a character */
                max--;
        text = format("%.*s%s", (int)max, json_string_value(value), max < n ? "..." : "");
        if (!text)
                return -ENOMEM;
        *ret = text;
        return 1;
}

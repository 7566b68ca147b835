/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See wish.h. */
#include "wish.h"

#define FIELD_BYTES_MAX 1024

static const struct {
        const char *annotation;
        size_t offset;
} fields[] = {
        {"io.kubernetes.pod.namespace", offsetof(struct profile_label, pod_namespace)},
        {"io.kubernetes.pod.name", offsetof(struct profile_label, pod_name)},
        {"io.kubernetes.pod.uid", offsetof(struct profile_label, pod_uid)},
        {"io.kubernetes.container.name", offsetof(struct profile_label, container_name)},
        {"io.kubernetes.cri-o.ImageName", offsetof(struct profile_label, image)},
        {"io.kubernetes.cri.sandbox-namespace", offsetof(struct profile_label, pod_namespace)},
        {"io.kubernetes.cri.sandbox-name", offsetof(struct profile_label, pod_name)},
        {"io.kubernetes.cri.sandbox-uid", offsetof(struct profile_label, pod_uid)},
        {"io.kubernetes.cri.container-name", offsetof(struct profile_label, container_name)},
        {"io.kubernetes.cri.image-name", offsetof(struct profile_label, image)},
};

void wish_done(struct wish *w) {
        profile_label_done(&w->label);
}

char *wish_bound(const char *text, size_t max) {
        size_t n = strnlen(text, max + 1);

        if (n > max)
                for (n = max; n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80;)
                        n--;
        return strndup(text, n);
}

int wish_take_annotation(struct wish *w, const char *key, const char *value) {
        for (size_t i = 0; i < ELEMENTS(fields); i++) {
                char **field = (char **)((char *)&w->label + fields[i].offset);

                if (!streq(fields[i].annotation, key) || *field)
                        continue;
                *field = wish_bound(value, FIELD_BYTES_MAX);
                return *field ? 0 : -ENOMEM;
        }
        return 0;
}

int wish_take_spec(struct wish *w, const char *spec, const struct spec_caps *caps, char **reterr) {
        struct profile_label *l = &w->label;
        struct spec_gap missing[SPEC_GAPS_MAX];
        struct spec parsed;
        size_t n;
        int r;

        r = spec_parse(spec, &parsed, reterr);
        if (r == -EINVAL || r == -E2BIG)
                return -EBADMSG;
        if (r < 0)
                return r;
        if (parsed.mode == MODE_OFF)
                return fail(reterr, -EBADMSG, "The spec 'off' starts nothing; use StopProfile to end a profile.");
        w->required = parsed.required;
        l->n_gaps = caps ? spec_cap(&parsed, caps, l->gaps) : 0;
        n = spec_gaps(&parsed, missing);
        if (n > 0 && parsed.required)
                return fail(reterr, -EOPNOTSUPP, "The spec is 'required', but '%s' is not available: %s", missing[0].word,
                        missing[0].reason);
        for (size_t i = 0; i < n; i++)
                l->gaps[l->n_gaps++] = missing[i];
        l->spec = parsed;
        return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fuzz target: annotations of a container as the daemon takes them. An input is one KEY=VALUE in a line; the spec is one of
 * them. */
#include "fuzz.h"
#include "wish.h"

#define FIELD_MAX 1024 /* as wish.c has it */
#define SPEC_KEY "org.memcgprof.profile"

static void check_field(const char *field) {
        if (field)
                demand(strlen(field) <= FIELD_MAX);
}

static void check_label(const struct profile_label *l) {
        check_field(l->pod_namespace);
        check_field(l->pod_name);
        check_field(l->pod_uid);
        check_field(l->container_name);
        check_field(l->image);
        demand(l->n_gaps <= ELEMENTS(l->gaps));
        for (size_t i = 0; i < l->n_gaps; i++)
                demand(fuzz_is_printable(l->gaps[i].word) && fuzz_is_printable(l->gaps[i].reason));
}

/* Not longer, from the same beginning, and no character torn. */
static void check_bound(const char *value) {
        for (size_t max = 0; max < 6; max++) {
                _cleanup_free_ char *cut = wish_bound(value, max);

                demand(cut && strlen(cut) <= max && startswith(value, cut));
                if (fuzz_is_utf8(value, strlen(value)))
                        demand(fuzz_is_utf8(cut, strlen(cut)));
        }
}

static void take_spec(struct wish *w, const char *spec, const struct spec_caps *caps) {
        char *sentence = NULL;
        int r = wish_take_spec(w, spec, caps, &sentence);

        fuzz_check_sentence(r, sentence);
        demand(r == 0 || r == -EBADMSG || r == -EOPNOTSUPP || r == -ENOMEM);
        if (r < 0)
                return;
        demand(w->label.spec.mode != MODE_OFF);
        demand(w->required == spec_says_required(spec));
        if (!caps)
                return;
        demand(w->label.spec.mode != MODE_SINGLE && w->label.spec.stacks != STACKS_ALL && !w->label.spec.required);
        demand(w->label.spec.sample == 0 || w->label.spec.sample >= caps->min_sample);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = fuzz_text(data, size);
        _cleanup_(wish_done) struct wish w = {};
        _cleanup_(wish_done) struct wish own = {};
        const char *p = text;
        char *line;

        while ((line = fuzz_line(&p))) {
                _cleanup_free_ char *key = line;
                char *value = strchr(line, '=');

                if (!value)
                        continue;
                *value++ = '\0';
                check_bound(value);
                if (streq(key, SPEC_KEY)) {
                        take_spec(&w, value, &spec_caps_default);
                        take_spec(&own, value, NULL);
                } else {
                        demand(wish_take_annotation(&w, key, value) == 0);
                }
                check_label(&w.label);
                check_label(&own.label);
        }
        return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fuzz target: the OCI state on the hook's standard input. */
#include <jansson.h>
#include <limits.h>

#include "fuzz.h"
#include "oci-state.h"
#include "spec.h"

#define LEVELS_MAX 64 /* as oci-state.c has it */

static size_t levels(json_t *value) {
        size_t most = 0, i;
        const char *key;
        json_t *inner;

        json_object_foreach(value, key, inner) {
                size_t n = levels(inner);

                most = n > most ? n : most;
        }
        json_array_foreach(value, i, inner) {
                size_t n = levels(inner);

                most = n > most ? n : most;
        }
        return most + (json_is_object(value) || json_is_array(value));
}

static void check_id(const struct oci_state *s) {
        _cleanup_free_ char *label = oci_state_label(s);
        char *sentence = NULL;
        const char *id = NULL;
        int r = oci_state_id(s, &id, &sentence);

        fuzz_check_sentence(r, sentence);
        demand((r == 0) == (id != NULL));
        if (id)
                demand(*id && strlen(id) <= OCI_ID_MAX && !strchr(id, '/') && fuzz_is_printable(id) && label);
        if (label)
                demand(*label && strlen(label) <= OCI_LABEL_MAX + strlen("...") && fuzz_is_printable(label));
}

static void check_numbers(const struct oci_state *s) {
        enum oci_status status = OCI_STARTING;
        char *sentence = NULL;
        pid_t pid = 0;
        int r;

        r = oci_state_pid(s, &pid, &sentence);
        fuzz_check_sentence(r, sentence);
        demand(r == 0 ? pid > 0 : pid == 0);
        sentence = NULL;
        r = oci_state_status(s, &status, &sentence);
        fuzz_check_sentence(r, sentence);
        demand(r == 0 ? status == OCI_STARTING || status == OCI_STOPPED : status == OCI_STARTING);
}

/* What the hook does with the annotation: required or not is asked of the text even where it is no spec. */
static void check_spec(const struct oci_state *s) {
        const char *text = NULL;
        char *sentence = NULL;
        struct spec spec;
        int r = oci_state_spec(s, &text, &sentence);

        fuzz_check_sentence(r, sentence);
        demand((r == 1) == (text != NULL));
        if (!text)
                return;
        demand(fuzz_is_utf8(text, strlen(text)));
        sentence = NULL;
        r = spec_parse(text, &spec, &sentence);
        fuzz_check_sentence(r, sentence);
        if (r == 0)
                demand(spec_says_required(text) == spec.required);
}

static void check_texts(const struct oci_state *s) {
        const char *bundle = oci_state_bundle(s);

        (void)oci_state_is_sandbox(s);
        if (bundle)
                demand(bundle[0] == '/' && strlen(bundle) < PATH_MAX && fuzz_is_printable(bundle));
        for (size_t i = 0; oci_annotations[i]; i++) {
                _cleanup_free_ char *value = NULL;
                int r = oci_state_annotation(s, oci_annotations[i], &value);

                demand((r == 1) == (value != NULL));
                if (value)
                        demand(strlen(value) <= OCI_ANNOTATION_MAX && fuzz_is_utf8(value, strlen(value)));
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(oci_state_freep) struct oci_state *s = NULL;
        char *sentence = NULL;
        json_t *again;
        int r = oci_state_parse((const char *)data, size, &s, &sentence);

        fuzz_check_sentence(r, sentence);
        demand((r == 0) == (s != NULL));
        if (!s)
                return 0;
        again = json_loadb((const char *)data, size, JSON_ALLOW_NUL, NULL);
        demand(json_is_object(again) && levels(again) <= LEVELS_MAX);
        json_decref(again);
        check_id(s);
        check_numbers(s);
        check_spec(s);
        check_texts(s);
        return 0;
}

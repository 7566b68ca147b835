/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fuzz target: the profile spec. What is taken is written canonically, and the canonical text says the same. */
#include "spec.h"
#include "fuzz.h"

static bool same(const struct spec *a, const struct spec *b) {
        return a->mode == b->mode && a->stacks == b->stacks && a->sample == b->sample && a->numa == b->numa &&
               a->required == b->required;
}

static void check_gaps(const struct spec_gap *gaps, size_t n) {
        demand(n <= SPEC_GAPS_MAX);
        for (size_t i = 0; i < n; i++)
                demand(*gaps[i].word && *gaps[i].reason && fuzz_is_printable(gaps[i].reason));
}

static void check_canonical(const struct spec *spec) {
        _cleanup_free_ char *text = spec_format(spec), *again = NULL;
        struct spec read = {};

        demand(text && strlen(text) <= SPEC_MAX);
        demand(spec_parse(text, &read, NULL) == 0 && same(&read, spec));
        again = spec_format(&read);
        demand(again && streq(again, text));
}

static void check_caps(struct spec spec) {
        const struct spec_caps *caps = &spec_caps_default;
        struct spec_gap gaps[SPEC_GAPS_MAX];
        struct spec before = spec;
        size_t n;

        check_gaps(gaps, spec_gaps(&spec, gaps));
        n = spec_cap(&spec, caps, gaps);
        check_gaps(gaps, n);
        demand((n == 0) == same(&spec, &before));
        demand(spec.mode != MODE_SINGLE && spec.stacks != STACKS_ALL && !spec.required);
        demand(spec.sample == 0 || spec.sample >= caps->min_sample);
        demand(spec_cap(&spec, caps, gaps) == 0);
        check_canonical(&spec);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = fuzz_text(data, size);
        const struct spec untouched = {.sample = 7};
        struct spec spec = untouched;
        char *sentence = NULL;
        int r = spec_parse(text, &spec, &sentence);

        fuzz_check_sentence(r, sentence);
        if (r < 0) {
                (void)spec_says_required(text);
                demand(same(&spec, &untouched));
                return 0;
        }
        demand((unsigned)spec.mode < _MODE_MAX && (unsigned)spec.stacks < _STACKS_MAX && strlen(text) <= SPEC_MAX);
        demand(spec_says_required(text) == spec.required);
        demand(mode_from_string(mode_to_string(spec.mode)) == (int)spec.mode);
        check_canonical(&spec);
        check_caps(spec);
        return 0;
}

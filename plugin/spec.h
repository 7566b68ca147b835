/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The profile spec: the one grammar that annotations, the bus, xattrs and unit files share, e.g. "auto,stacks,sample=64K".
 * First word `off`, `on` (= auto), `auto`, `single` or `multi`; then any of `stacks`, `stacks=all`, `sample=SIZE`, `numa`,
 * `required`.
 */
#pragma once

#include "util.h"

enum mode { MODE_OFF, MODE_AUTO, MODE_SINGLE, MODE_MULTI, _MODE_MAX };

enum stacks { STACKS_OFF, STACKS_SITES, STACKS_SAMPLED, STACKS_ALL, _STACKS_MAX };

struct spec {
        enum mode mode;
        enum stacks stacks;
        uint64_t sample; /* bytes between samples; 0: not said */
        bool numa;
        bool required;
};

/* Longest text that is taken for a spec at all. */
#define SPEC_MAX 256

/*
 * Parses `text`. -EINVAL with a sentence that names the offending word; -E2BIG when longer than SPEC_MAX. Empty text is
 * -EINVAL.
 */
int spec_parse(const char *text, struct spec *ret, char **reterr);

/*
 * True when the word `required` stands in the text, even where the rest is not a spec: decides fail-open or fail-closed.
 */
bool spec_says_required(const char *text);

/* The canonical text of a spec. NULL on ENOMEM. */
char *spec_format(const struct spec *spec);

const char *mode_to_string(enum mode mode);
int mode_from_string(const char *s); /* an enum mode (`on` is auto), or -EINVAL */
const char *stacks_to_string(enum stacks stacks);

/*
 * The words of a spec that this build cannot serve yet or the kernel cannot serve. Reported in documents as
 * "unavailable": [{word, reason}]; fatal only when `required`.
 */
struct spec_gap {
        const char *word;
        const char *reason;
};

#define SPEC_GAPS_MAX 4

/* Fills up to SPEC_GAPS_MAX gaps and returns their number. */
size_t spec_gaps(const struct spec *spec, struct spec_gap *ret);

/*
 * What an annotation may ask for. Tenants write annotations, so by default: no `single`, no `stacks=all`, `sample` at least
 * 64K, no `required`.
 */
struct spec_caps {
        bool allow_single;
        bool allow_stacks_all;
        bool allow_required;
        uint64_t min_sample;
};

extern const struct spec_caps spec_caps_default;

/* Lowers `spec` to what `caps` allow; fills up to SPEC_GAPS_MAX gaps, one per capped wish, and returns their number. */
size_t spec_cap(struct spec *spec, const struct spec_caps *caps, struct spec_gap *ret);

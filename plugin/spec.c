/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The profile spec read strictly and written canonically: the same text arrives from tenants (annotations), administrators
 * (unit files) and scripts (the bus), and a typo that is silently accepted measures the wrong thing.
 *
 * Invariants: parsing what spec_format() wrote gives the same spec; no word is taken twice.
 */
#include <ctype.h>

#include "spec.h"
#include "text.h"

#define WORD_SHOWN 64 /* bytes of an offending word that a sentence repeats */

static const char *const mode_names[_MODE_MAX] = {
        [MODE_OFF] = "off",
        [MODE_AUTO] = "auto",
        [MODE_SINGLE] = "single",
        [MODE_MULTI] = "multi",
};

static const char *const stacks_names[_STACKS_MAX] = {
        [STACKS_OFF] = "off",
        [STACKS_SITES] = "sites",
        [STACKS_SAMPLED] = "sampled",
        [STACKS_ALL] = "all",
};

const struct spec_caps spec_caps_default = {.min_sample = 64 * 1024};

const char *mode_to_string(enum mode mode) {
        return mode_names[mode];
}

int mode_from_string(const char *s) {
        if (streq(s, "on"))
                return MODE_AUTO;
        for (size_t i = 0; i < ELEMENTS(mode_names); i++)
                if (streq(s, mode_names[i]))
                        return i;
        return -EINVAL;
}

const char *stacks_to_string(enum stacks stacks) {
        return stacks_names[stacks];
}

static bool blank(char c) {
        return c == ' ' || c == '\t';
}

/*
 * The next word of the list at *p, or NULL after the last; *p moves on. Blanks go only where they touch a comma: what stands
 * before the first and behind the last word is the caller's text and has to be right.
 */
static char *next_word(const char *text, const char **p) {
        const char *start = *p, *comma, *end;

        if (!start)
                return NULL;
        comma = strchrnul(start, ',');
        end = comma;
        while (start > text && start < end && blank(*start))
                start++;
        while (*comma && end > start && blank(end[-1]))
                end--;
        *p = *comma ? comma + 1 : NULL;
        return strndup(start, end - start);
}

static int refuse(char **reterr, const char *word, const char *why) {
        _cleanup_free_ char *shown = text_escape(word, strlen(word), WORD_SHOWN);

        return fail(reterr, -EINVAL, "The word \"%s\" of the profile spec %s.", shown ? shown : "?", why);
}

enum word { WORD_STACKS, WORD_STACKS_ALL, WORD_SAMPLE, WORD_NUMA, WORD_REQUIRED, _WORD_MAX };

static const struct {
        const char *text;
        bool takes_size;
        uint32_t taken; /* the words that may not stand beside it: itself, and what says the same thing otherwise */
} words[_WORD_MAX] = {
        [WORD_STACKS] = {"stacks", false, 1u << WORD_STACKS | 1u << WORD_STACKS_ALL},
        [WORD_STACKS_ALL] = {"stacks=all", false, 1u << WORD_STACKS | 1u << WORD_STACKS_ALL},
        [WORD_SAMPLE] = {"sample=", true, 1u << WORD_SAMPLE},
        [WORD_NUMA] = {"numa", false, 1u << WORD_NUMA},
        [WORD_REQUIRED] = {"required", false, 1u << WORD_REQUIRED},
};

static int find_word(const char *text) {
        for (size_t i = 0; i < ELEMENTS(words); i++)
                if (words[i].takes_size ? startswith(text, words[i].text) : streq(text, words[i].text))
                        return i;
        return -EINVAL;
}

static int parse_sample(const char *word, struct spec *spec, char **reterr) {
        const char *size = word + strlen(words[WORD_SAMPLE].text);
        int r = strchr(size, 'G') ? -EINVAL : text_to_size(size, &spec->sample);

        if (r == -ERANGE)
                return refuse(reterr, word, "has a size that is too large");
        if (r < 0)
                return refuse(reterr, word, "has no valid size: a number of bytes, or one with the suffix K or M, is needed");
        if (spec->sample == 0)
                return refuse(reterr, word, "has the size 0: at least 1 byte must lie between samples");
        return 0;
}

static int parse_word(const char *text, struct spec *spec, uint32_t *seen, char **reterr) {
        int word = find_word(text);

        if (word < 0)
                return refuse(
                        reterr, text, "is not known: stacks, stacks=all, sample=SIZE, numa or required may follow the mode");
        if (*seen & words[word].taken)
                return refuse(reterr, text, "says a second time what may be said once");
        *seen |= 1u << word;
        switch ((enum word)word) {
        case WORD_STACKS:
                spec->stacks = STACKS_SAMPLED;
                return 0;
        case WORD_STACKS_ALL:
                spec->stacks = STACKS_ALL;
                return 0;
        case WORD_SAMPLE:
                return parse_sample(text, spec, reterr);
        case WORD_NUMA:
                spec->numa = true;
                return 0;
        case WORD_REQUIRED:
                spec->required = true;
                return 0;
        case _WORD_MAX:
                break;
        }
        return -EINVAL;
}

int spec_parse(const char *text, struct spec *ret, char **reterr) {
        struct spec spec = {};
        const char *p = text;
        uint32_t seen = 0;
        size_t len = strnlen(text, SPEC_MAX + 1);

        if (len == 0)
                return fail(reterr, -EINVAL, "The profile spec is empty: off, on, auto, single or multi is needed.");
        if (len > SPEC_MAX)
                return fail(reterr, -E2BIG, "The profile spec is longer than %d bytes.", SPEC_MAX);
        for (bool first = true; p; first = false) {
                _cleanup_free_ char *word = next_word(text, &p);
                int r;

                if (!word)
                        return -ENOMEM;
                if (first) {
                        r = mode_from_string(word);
                        if (r < 0)
                                return refuse(reterr, word, "is no mode: it has to begin with off, on, auto, single or multi");
                        spec.mode = r;
                } else {
                        r = parse_word(word, &spec, &seen, reterr);
                        if (r < 0)
                                return r;
                }
        }
        *ret = spec;
        return 0;
}

bool spec_says_required(const char *text) {
        /* No memory is asked for: this decides between open and closed when other things have failed already. */
        static const char word[] = "required";

        for (const char *p = text; p; p = strchr(p, ','), p = p ? p + 1 : NULL) {
                const char *end = strchrnul(p, ',');

                while (p < end && isspace((unsigned char)*p))
                        p++;
                while (end > p && isspace((unsigned char)end[-1]))
                        end--;
                if ((size_t)(end - p) == strlen(word) && strncmp(p, word, strlen(word)) == 0)
                        return true;
        }
        return false;
}

static char *format_sample(uint64_t sample) {
        if (sample == 0)
                return strdup("");
        if (sample % (1024 * 1024) == 0)
                return format(",sample=%lluM", (unsigned long long)(sample / (1024 * 1024)));
        if (sample % 1024 == 0)
                return format(",sample=%lluK", (unsigned long long)(sample / 1024));
        return format(",sample=%llu", (unsigned long long)sample);
}

char *spec_format(const struct spec *spec) {
        /* STACKS_SITES has no word: it is chosen by calls, per site, and not by a spec. */
        static const char *const stacks[_STACKS_MAX] = {"", "", ",stacks", ",stacks=all"};
        _cleanup_free_ char *sample = format_sample(spec->sample);

        if (!sample)
                return NULL;
        return format("%s%s%s%s%s", mode_names[spec->mode], stacks[spec->stacks], sample, spec->numa ? ",numa" : "",
                spec->required ? ",required" : "");
}

/* Appends where there is room; SPEC_GAPS_MAX is the number of questions that spec_cap() asks, so nothing is ever dropped. */
static size_t add_gap(struct spec_gap *gaps, size_t n, bool present, const char *word, const char *reason) {
        if (!present || n >= SPEC_GAPS_MAX)
                return n;
        gaps[n] = (struct spec_gap){word, reason};
        return n + 1;
}

size_t spec_gaps(const struct spec *spec, struct spec_gap *ret) {
        size_t n = 0;

        n = add_gap(ret, n, spec->stacks == STACKS_SAMPLED, "stacks",
                "Allocation events and their stacks are not recorded in this version.");
        n = add_gap(ret, n, spec->stacks == STACKS_ALL, "stacks=all",
                "Every page allocation gets its site, but events and their stacks are not recorded in this version.");
        return n;
}

size_t spec_cap(struct spec *spec, const struct spec_caps *caps, struct spec_gap *ret) {
        size_t n = 0;

        if (spec->mode == MODE_SINGLE && !caps->allow_single) {
                spec->mode = MODE_AUTO;
                n = add_gap(ret, n, true, "single", "The configuration does not let annotations hold the engine alone.");
        }
        if (spec->stacks == STACKS_ALL && !caps->allow_stacks_all) {
                spec->stacks = STACKS_SAMPLED;
                n = add_gap(ret, n, true, "stacks=all", "The configuration lets annotations ask for sampled stacks only.");
        }
        if (spec->sample != 0 && spec->sample < caps->min_sample) {
                spec->sample = caps->min_sample;
                n = add_gap(
                        ret, n, true, "sample", "The configuration asks annotations for a larger distance between samples.");
        }
        if (spec->required && !caps->allow_required) {
                spec->required = false;
                n = add_gap(ret, n, true, "required", "The configuration does not let annotations make a profile required.");
        }
        return n;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A wish: what a caller wants of a profile, turned into the label that the profile carries. The spec with its gaps, and what
 * annotations say about pod and image. All of it is text from outside: bounded here, and escaped where it leaves (documents do
 * that themselves).
 */
#pragma once

#include "profile.h"

struct wish {
        struct profile_label label;
        bool required; /* as the text says, before any cap */
};

void wish_done(struct wish *w);

/*
 * Takes one annotation of the container. Those that are not in the table are ignored; CRI-O's and containerd's names for one
 * thing fill the same field, and the first one stays. -ENOMEM.
 */
int wish_take_annotation(struct wish *w, const char *key, const char *value);

/*
 * Parses `spec` and notes what it asks for and does not get: with `caps` first what those forbid (NULL: an operator's word,
 * nothing is capped), then what this build cannot serve. -EBADMSG when it is no spec or says `off`; -EOPNOTSUPP when the spec
 * is still `required` and something is missing. Each with a sentence.
 */
int wish_take_spec(struct wish *w, const char *spec, const struct spec_caps *caps, char **reterr);

/* A copy of at most `max` bytes, not cut within a UTF-8 character. NULL on ENOMEM. */
char *wish_bound(const char *text, size_t max);

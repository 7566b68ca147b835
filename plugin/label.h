/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a profile is called and how it stands: all that documents show of it beside figures.
 */
#pragma once

#include "spec.h"

/* Everything about a profile that the measurement itself does not know; shown in documents. Strings are owned, NULL: not known.
 */
struct profile_label {
        const char *kind; /* "container", "cgroup", "pid", "run" */
        char *id;
        const char *started_by; /* "hook", "unit", "xattr", "bus", "cli", "kernel" */
        bool from_start;        /* no instruction of the container ran before profiling was on */
        char *pod_namespace, *pod_name, *pod_uid, *container_name, *image;
        struct spec spec; /* as asked */
        struct spec_gap gaps[2 * SPEC_GAPS_MAX];
        size_t n_gaps;
};

void profile_label_done(struct profile_label *l);

/* A copy with strings of its own, to be released by profile_label_done(). -ENOMEM. */
int profile_label_copy(const struct profile_label *from, struct profile_label *ret);

/*
 * The same text as one that stays: for the strings above that nobody frees, when they come from outside. There are few
 * different ones, and it is NULL when there would be more than 64, or one is longer than 256 bytes.
 */
const char *label_word(const char *text);

enum profile_state { PROFILE_WAITING, PROFILE_ACTIVE, PROFILE_SUSPENDED, PROFILE_ENDED, PROFILE_FAILED };
const char *profile_state_to_string(enum profile_state s);

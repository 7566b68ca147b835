/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What happens to profiles, in the journal: lines that programs find by MESSAGE_ID= and by what they are about. memcgprofd(8)
 * and the catalog (memcgprofd.catalog) describe the same table of messages; a test holds the three together.
 */
#pragma once

#include "log.h"
#include "registration.h"

enum journal_message {
        JOURNAL_BEGUN,  /* a profile has begun */
        JOURNAL_ENDED,  /* it has ended; its report follows */
        JOURNAL_REPORT, /* the final report is on disk */
        JOURNAL_OOM,    /* memory ran out in a profiled cgroup */
        JOURNAL_MODE,   /* the admission mode was set */
        JOURNAL_LOST,   /* what a final report says is not complete */
        JOURNAL_BUDGET, /* the programs cost more than CpuBudget= allows, and a profile does with fewer stacks */
        JOURNAL_CONFIG, /* systemd's own: something in a configuration file is wrong */
        _JOURNAL_MESSAGE_MAX,
};

/* Who it is about; what is not known is NULL. */
struct journal_subject {
        const char *container; /* id */
        const char *cgroup;    /* path */
        const char *profile;   /* object path */
        const char *report;    /* file */
};

struct journal_subject journal_subject_of(const struct registration *r);

void journal_line(int level, enum journal_message message, const struct journal_subject *subject, const char *format, ...)
        _printf_(4, 5);

/* A problem of the configuration, with its place. `line` 0: the whole file. */
void journal_config(const char *file, unsigned line, const char *sentence);

#define journal_profile(level, message, r, ...)                           \
        do {                                                              \
                struct journal_subject _subject = journal_subject_of(r);  \
                                                                          \
                journal_line((level), (message), &_subject, __VA_ARGS__); \
        } while (0)

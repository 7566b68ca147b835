/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See journal.h. */
#include "journal.h"

/* For good: scripts and the catalog know them. */
static const char *const message_ids[_JOURNAL_MESSAGE_MAX] = {
        [JOURNAL_BEGUN] = "0df6a8602cde41078ea4e869a7a5ed35",
        [JOURNAL_ENDED] = "5b208c26d919437c9b63c6127319a4fb",
        [JOURNAL_REPORT] = "0885067ec5f047f3a7df3c3cce84ee1c",
        [JOURNAL_OOM] = "fddea3d3ab934026a90f1d21f106849e",
        [JOURNAL_MODE] = "1ef54c8b98934aa4bd1b4c9e9c2f2389",
        [JOURNAL_LOST] = "cd2d6d97c13043a1ab3d1d99f5313cb5",
        [JOURNAL_BUDGET] = "7a1f0c9d4be84a3f9d5a5e0b8c26f471",
        [JOURNAL_CONFIG] = "c772d24e9a884cbeb9ea12625c306c01",
};

struct journal_subject journal_subject_of(const struct registration *r) {
        struct journal_subject s = {.cgroup = r->cgroup, .profile = r->views[0]->path, .report = r->report};

        for (size_t i = 0; !s.container && i < r->n_views; i++)
                if (streq(r->views[i]->kind, "container"))
                        s.container = r->views[i]->name;
        return s;
}

void journal_line(int level, enum journal_message message, const struct journal_subject *subject, const char *fmt, ...) {
        static const struct journal_subject nobody;
        const struct journal_subject *s = subject ? subject : &nobody;
        const struct log_field fields[] = {
                {"MESSAGE_ID", message_ids[message]},
                {"MEMCGPROF_CONTAINER", s->container},
                {"MEMCGPROF_CGROUP", s->cgroup},
                {"MEMCGPROF_PROFILE", s->profile},
                {"MEMCGPROF_REPORT", s->report},
        };
        _cleanup_free_ char *line = NULL;
        va_list ap;
        int n;

        va_start(ap, fmt);
        n = vasprintf(&line, fmt, ap);
        va_end(ap);
        if (n < 0) {
                line = NULL;
                return;
        }
        log_entry(level, fields, ELEMENTS(fields), "%s", line);
}

void journal_config(const char *file, unsigned line, const char *sentence) {
        _cleanup_free_ char *number = line ? format("%u", line) : NULL;
        const struct log_field fields[] = {
                {"MESSAGE_ID", message_ids[JOURNAL_CONFIG]},
                {"CONFIG_FILE", file},
                {"CONFIG_LINE", number},
        };

        if (number)
                log_entry(LOG_WARNING, fields, ELEMENTS(fields), "%s:%s: %s", file, number, sentence);
        else
                log_entry(LOG_WARNING, fields, ELEMENTS(fields), "%s: %s", file, sentence);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What outlives the daemon: DIR/mode (the admission mode) and DIR/reports/ (one final report per profile).
 *
 * Invariants: DIR and reports/ are 0700, files 0600; a file appears under its name complete and on disk, or not at all. What
 * is here belongs to the daemon: nobody else parses `mode`, anybody may read reports.
 */
#pragma once

#include "util.h"

struct state_dir;

/* Makes what is missing (not DIR's parents) and removes unfinished files of an earlier life. Failures have a sentence. */
int state_dir_open(const char *path, struct state_dir **ret, char **reterr);
struct state_dir *state_dir_free(struct state_dir *d);
DEFINE_CLEANUP(struct state_dir, state_dir_free)

/* One word in DIR/mode. Reading: -ENOENT when there is none; at most 16 bytes. */
int state_dir_read_mode(const struct state_dir *d, char **ret);
int state_dir_write_mode(const struct state_dir *d, const char *word, char **reterr);

/* Writes reports/`name` (no slashes) and returns its absolute path. */
int state_dir_write_report(const struct state_dir *d, const char *name, const char *text, char **ret_path, char **reterr);

/*
 * One that is there already, under the same name: its text, and another text in its place that is as old as it was. -ENOENT
 * when it is gone; it does not come back.
 */
int state_dir_read_report(const struct state_dir *d, const char *name, char **ret);
int state_dir_replace_report(const struct state_dir *d, const char *name, const char *text, char **ret_path, char **reterr);

/* What reports may take; the oldest go first. */
struct report_limits {
        size_t count;
        uint64_t bytes;
        uint64_t age_s; /* since they were written first */
};

extern const struct report_limits report_limits_default;

/*
 * Removes reports beyond the limits; `keep` (the name of a file, or NULL) is spared. What is not named as reports are
 * (ID-START-CGROUPID.json) is neither counted nor removed. Returns how many went, or a negative errno.
 */
int state_dir_prune_reports(const struct state_dir *d, const struct report_limits *limits, const char *keep);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Final reports: taken from a profile at one moment, written to disk at another (report-writer.h), so that a call which ends a
 * profile does not wait for the disk. What was taken refers to nothing outside but static text.
 */
#pragma once

#include "snapshots.h"
#include "state-dir.h"

struct final_report {
        char *object; /* D-Bus path that the profile had */
        char *id;
        uint64_t cgroup_id;
        bool update;             /* one that was written before is brought up to date: end and residue */
        struct summary *summary; /* NULL: it could not be read, and there is nothing to write */
        struct report_end end;
        struct report_residue residue; /* its summary is the one above */
        struct snapshots snapshots;
};

struct final_report *final_report_free(struct final_report *f);
DEFINE_CLEANUP(struct final_report, final_report_free)

/*
 * Writes it and returns the file's absolute path. The name is made of the id, the start time and the cgroup id. A report that
 * is larger than `bytes_max` is cut to its largest rows (the summary's filter says so), or refused with -EFBIG. An update of a
 * report that is gone is -ENOENT: it was removed for its age or by somebody, and stays so.
 */
int final_report_write(struct final_report *f, const struct state_dir *d, uint64_t bytes_max, char **ret_path, char **reterr);

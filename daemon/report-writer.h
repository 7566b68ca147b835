/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writes final reports in a thread of its own: a disk that takes its time must not hold up the loop, where the hook of a
 * starting container waits. First in, first out, one at a time.
 *
 * Invariants: a report belongs to the writer from report_writer_add() until it is handed to `written`, which runs in the loop's
 * thread; the thread touches the report and the state directory, and nothing else.
 */
#pragma once

#include <systemd/sd-event.h>

#include "final-report.h"

struct report_writer;

/* `path`: of the file; NULL with `error` (negative errno) and `sentence` when it could not be written. */
typedef void (*report_written_t)(
        void *userdata, const struct final_report *f, const char *path, int error, const char *sentence);

/* `state` and `limits` must outlive the writer. */
int report_writer_new(sd_event *event, const struct state_dir *state, const struct report_limits *limits,
        report_written_t written, void *userdata, struct report_writer **ret, char **reterr);

/* Ends the thread; reports that it has not begun are dropped. See report_writer_finish(). */
struct report_writer *report_writer_free(struct report_writer *w);
DEFINE_CLEANUP(struct report_writer, report_writer_free)

/* Takes `f` over. */
void report_writer_add(struct report_writer *w, struct final_report *f);

/* Waits until everything is written, and calls `written` for it. */
void report_writer_finish(struct report_writer *w);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See final-report.h. */
#include <inttypes.h>
#include <time.h>

#include "final-report.h"
#include "text.h"

struct final_report *final_report_free(struct final_report *f) {
        if (!f)
                return NULL;
        free(f->object);
        free(f->id);
        summary_free(f->summary);
        snapshots_done(&f->snapshots);
        free(f);
        return NULL;
}

static char *file_name(const struct final_report *f) {
        _cleanup_free_ char *id = text_filename(f->id);
        time_t seconds = f->summary->started_us / 1000000;
        char started[sizeof("20260101T000000Z")];
        struct tm tm;

        if (!id || !gmtime_r(&seconds, &tm) || strftime(started, sizeof(started), "%Y%m%dT%H%M%SZ", &tm) == 0)
                return NULL;
        return format("%s-%s-%" PRIu64, id, started, f->cgroup_id);
}

/* Half of the rows go at a time, the smaller ones. */
static int fitting_text(struct final_report *f, uint64_t bytes_max, char **ret, char **reterr) {
        for (;;) {
                _cleanup_free_ char *text = report_final(f->summary, &f->end, &f->residue, f->snapshots.items, f->snapshots.n);

                if (!text)
                        return fail(reterr, -ENOMEM, "No memory for the report of %s.", f->id);
                if (strlen(text) <= bytes_max) {
                        *ret = TAKE(text);
                        return 0;
                }
                if (f->summary->n_rows == 0)
                        return fail(reterr, -EFBIG,
                                "The report of %s has %zu bytes without a row, and all reports may have %llu.", f->id,
                                strlen(text), (unsigned long long)bytes_max);
                summary_cut(f->summary, f->summary->n_rows / 2);
        }
}

static int write_update(
        const struct final_report *f, const struct state_dir *d, const char *name, char **ret_path, char **reterr) {
        _cleanup_free_ char *before = NULL, *text = NULL;
        int r;

        r = state_dir_read_report(d, name, &before);
        if (r < 0)
                return fail(reterr, r, "The report %s cannot be read: %s.", name, strerror(-r));
        r = report_update(before, &f->end, &f->residue, &text);
        if (r < 0)
                return fail(reterr, r, "The report %s cannot be brought up to date: %s.", name, strerror(-r));
        return state_dir_replace_report(d, name, text, ret_path, reterr);
}

int final_report_write(struct final_report *f, const struct state_dir *d, uint64_t bytes_max, char **ret_path, char **reterr) {
        _cleanup_free_ char *text = NULL, *name = NULL;
        int r;

        if (!f->summary)
                return fail(reterr, -ENODATA, "The counters of %s could not be read at its end.", f->id);
        name = file_name(f);
        if (!name)
                return fail(reterr, -ENOMEM, "No memory for the report of %s.", f->id);
        if (f->update)
                return write_update(f, d, name, ret_path, reterr);
        r = fitting_text(f, bytes_max, &text, reterr);
        return r < 0 ? r : state_dir_write_report(d, name, text, ret_path, reterr);
}

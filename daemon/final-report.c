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

int final_report_write(const struct final_report *f, const struct state_dir *d, char **ret_path, char **reterr) {
        _cleanup_free_ char *text = NULL, *name = NULL;

        if (!f->summary)
                return fail(reterr, -ENODATA, "The counters of %s could not be read at its end.", f->id);
        text = report_final(f->summary, &f->end);
        name = file_name(f);
        if (!text || !name)
                return fail(reterr, -ENOMEM, "No memory for the report of %s.", f->id);
        return state_dir_write_report(d, name, text, ret_path, reterr);
}

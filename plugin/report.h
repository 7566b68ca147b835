/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Documents: summaries and support as JSON (jansson). The only place that knows member names; schemas/ describes the same.
 * Kernel addresses never enter here.
 */
#pragma once

#include <jansson.h>

#include "allocinfo.h"
#include "kernel.h"
#include "summary.h"

/* Each returns a new text, one line with a newline at its end, or a new reference; NULL on ENOMEM. */
char *report_summary(const struct summary *s); /* memcgprof.summary */

/*
 * memcgprof.support: the machine's items, then what the tracker can do, and what it takes in kernel memory with these options.
 */
json_t *report_support(
        const struct support *s, const struct tracker_ability *abilities, size_t n, const struct tracker_options *options);

struct report_end {
        int64_t at_us;
        const char *source; /* "poststop", "cgroup-removed", "stopped", "daemon-start" */
        int exit_code;      /* -1: not known */
        const char *exit_code_reason;
        int64_t oom_kills; /* -1: not known */
};

/* What outlived the scope, as `summary` (unfiltered, by bytes) has it. */
struct report_residue {
        const struct summary *summary;
        bool released_known;
        int64_t released_bytes; /* of what was live at the end, gone since */
        const char *closed_by;  /* "residue-keep", "needed", "stopped", "mode-off", "daemon-stop"; NULL: still followed */
};

#define REPORT_RESIDUE_SITES 10 /* at most so many of the largest are named */

/* A summary that was kept on the way. */
struct report_snapshot {
        const char *reason; /* "oom", "oom-kill" */
        int64_t at_us;
        int64_t ooms, oom_kills; /* in the memcg until then; -1: not known */
        char *summary;           /* text of report_summary(); the caller's */
};

/* memcgprof.report; snapshots oldest first. */
char *report_final(const struct summary *s, const struct report_end *end, const struct report_residue *residue,
        const struct report_snapshot *snapshots, size_t n);

/*
 * A report that was written before, brought up to date: residue and end are replaced, all else stays as it is there. -EBADMSG
 * when `text` is no report.
 */
int report_update(const char *text, const struct report_end *end, const struct report_residue *residue, char **ret);

struct report_list_entry {
        const char *object; /* D-Bus object path */
        const char *kind, *id, *state, *mode, *cgroup;
        uint64_t cgroup_id;
        int64_t live_bytes;
        const char *pod_namespace, *pod_name, *name; /* or NULL */
};

json_t *report_list(const char *backend, const struct report_list_entry *entries, size_t n); /* memcgprof.list */

/* What the kernel's own record says of the whole machine, read with `filter`. */
char *report_allocinfo(const struct allocinfo *a, const struct filter *filter); /* memcgprof.allocinfo */

/* Compact text with a newline at the end; NULL on ENOMEM. */
char *report_text(const json_t *document);

/* "type", "charged", ... of one row for GetSites' dictionary are the same members that report_summary writes. */

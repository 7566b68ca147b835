/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See render-report.h. */
#include "render-report.h"
#include "table.h"

static char *cell_live(const json_t *row) {
        return table_member_size(row, "bytes");
}

static char *cell_calls(const json_t *row) {
        return table_text(row, "calls");
}

static char *cell_type(const json_t *row) {
        return table_text(row, "type");
}

static char *cell_charged(const json_t *row) {
        return table_text(row, "charged");
}

static char *cell_key(const json_t *row) {
        return table_text(row, "key");
}

static const struct column residue_columns[] = {
        {"LEFT", 10, true, cell_live},
        {"CALLS", 8, true, cell_calls},
        {"TYPE", 7, false, cell_type},
        {"CHG", 3, false, cell_charged},
        {"SITE", 0, false, cell_key},
};

static char *cell_at(const json_t *row) {
        return table_time(row, "at_us");
}

static char *cell_reason(const json_t *row) {
        return table_text(row, "reason");
}

static char *cell_ooms(const json_t *row) {
        return table_text(row, "ooms");
}

static char *cell_kills(const json_t *row) {
        return table_text(row, "oom_kills");
}

static const json_t *summary_of(const json_t *snapshot) {
        return json_object_get(snapshot, "summary");
}

/* Charged kernel memory, and all that the memcg was charged for by its own counter. */
static char *cell_kernel(const json_t *row) {
        return table_member_size(json_object_get(json_object_get(summary_of(row), "totals"), "charged"), "kernel_bytes");
}

static char *cell_all(const json_t *row) {
        return table_member_size(json_object_get(json_object_get(summary_of(row), "reconcile"), "counters"), "current");
}

static char *cell_largest(const json_t *row) {
        return table_text(json_array_get(json_object_get(summary_of(row), "sites"), 0), "key");
}

static const struct column snapshot_columns[] = {
        {"MEMORY RAN OUT AT", 19, false, cell_at},
        {"REASON", 8, false, cell_reason},
        {"OOMS", 4, true, cell_ooms},
        {"KILLED", 6, true, cell_kills},
        {"MEMORY", 10, true, cell_all},
        {"KERNEL", 10, true, cell_kernel},
        {"LARGEST SITE", 0, false, cell_largest},
};

static int print(FILE *out, const struct column *columns, size_t n, const json_t *rows) {
        if (json_array_size(rows) == 0)
                return 0;
        fputc('\n', out);
        return table_print(out, columns, n, rows, 0);
}

int render_aftermath(FILE *out, const json_t *report) {
        const json_t *sites = json_object_get(json_object_get(report, "residue"), "sites");
        int r;

        r = print(out, snapshot_columns, ELEMENTS(snapshot_columns), json_object_get(report, "snapshots"));
        return r < 0 ? r : print(out, residue_columns, ELEMENTS(residue_columns), sites);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Summaries, reports, allocinfo, lists and support as JSON. null means not measured, 0 means none; ids that can pass 2^53 are
 * strings; every string is escaped here, so what came from outside may be anything.
 */
#include <time.h>

#include "report.h"
#include "text-json.h"
#include "text.h"

#define STRING_MAX 1024
#define WRITING (JSON_COMPACT | JSON_REAL_PRECISION(6)) /* also what text-json.c writes */

static json_t *string_or_null(const char *s) {
        _cleanup_free_ char *escaped = s ? text_escape(s, strlen(s), STRING_MAX) : NULL;

        return escaped ? json_string_nocheck(escaped) : json_null(); /* escaping leaves valid UTF-8 only */
}

static json_t *integer_or_null(bool known, int64_t value) {
        return known ? json_integer(value) : json_null();
}

static json_t *id_string(uint64_t id) {
        char text[24];

        snprintf(text, sizeof(text), "%llu", (unsigned long long)id);
        return json_string(text);
}

static int64_t now_us(void) {
        struct timespec t;

        clock_gettime(CLOCK_REALTIME, &t);
        return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

/* ---- the head that every document has -------------------------------------------------------------------------------------
 */

static json_t *document(const char *format, const char *backend, bool alloc_tags) {
        return json_pack("{s:s, s:i, s:{s:s, s:s}, s:{s:o, s:b, s:s}}", "format", format, "version", 1, "tool", "name",
                "memcgprof", "version", MEMCGPROF_VERSION, "kernel", "release", string_or_null(kernel_release()), "alloc_tags",
                alloc_tags, "backend", backend);
}

static json_t *gaps_json(const struct profile_label *l) {
        json_t *a = json_array();

        for (size_t i = 0; i < l->n_gaps; i++)
                json_array_append_new(a, json_pack("{s:s, s:s}", "word", l->gaps[i].word, "reason", l->gaps[i].reason));
        return a;
}

static json_t *profile_json(const struct summary *s) {
        const struct profile_label *l = &s->label;
        _cleanup_free_ char *spec = spec_format(&l->spec);

        return json_pack("{s:s, s:o, s:o, s:o, s:s, s:s, s:s, s:b, s:{s:o, s:o, s:o, s:o, s:o}, s:o, s:o}", "kind", l->kind,
                "id", string_or_null(l->id), "cgroup", string_or_null(s->cgroup), "cgroup_id", id_string(s->cgroup_id), "state",
                profile_state_to_string(s->state), "mode", mode_to_string(s->mode), "started_by", l->started_by, "from_start",
                l->from_start, "pod", "namespace", string_or_null(l->pod_namespace), "name", string_or_null(l->pod_name), "uid",
                string_or_null(l->pod_uid), "container", string_or_null(l->container_name), "image", string_or_null(l->image),
                "spec", string_or_null(spec), "unavailable", gaps_json(l));
}

static json_t *lost_json(const struct summary *s) {
        json_t *o = json_object();

        for (enum loss l = 0; l < _LOSS_MAX; l++)
                json_object_set_new(o, loss_name(l), json_integer(s->lost[l]));
        return o;
}

static json_t *filter_json(const struct filter *f) {
        json_t *o = json_object();

        for (enum filter_key key = 0; key < _FILTER_KEY_MAX; key++) {
                const struct filter_field *field = &filter_fields[key];

                if (!filter_has(f, key))
                        continue;
                switch (field->kind) {
                case FILTER_STRING:
                        json_object_set_new(o, field->name, string_or_null(f->strings[key]));
                        break;
                case FILTER_INTEGER:
                        json_object_set_new(o, field->name, json_integer(f->integers[key]));
                        break;
                case FILTER_BOOLEAN:
                        json_object_set_new(o, field->name, json_boolean(f->booleans[key]));
                        break;
                }
        }
        return o;
}

/* ---- summary --------------------------------------------------------------------------------------------------------------
 */

static void set(json_t *o, const char *name, json_t *value) {
        json_object_set_new_nocheck(o, name, value); /* names are ours */
}

static void set_integer(json_t *o, const char *name, int64_t value) {
        set(o, name, json_integer(value));
}

static json_t *lens_json(const struct summary *s, const struct lens *lens) {
        json_t *o = json_pack("{s:o}", "kernel_bytes", integer_or_null(s->live_known, lens->kernel_bytes)),
               *estimated = json_array();

        for (enum site_type t = 0; t < _TYPE_MAX; t++) {
                set(o, site_type_to_string(t), integer_or_null(lens->known[t], lens->by_type[t]));
                if (lens->estimated[t])
                        json_array_append_new(estimated, json_string(site_type_to_string(t)));
        }
        set(o, "estimated", estimated);
        set(o, "error_bytes", integer_or_null(s->live_known, lens->error_bytes));
        return o;
}

static json_t *totals_json(const struct summary *s) {
        /* by the kernel's own record, which knows what lives and nothing of how it came to that */
        static const char *const untold[] = {"irq_bytes", "kthread_bytes", "allocated_bytes", "allocated_calls", "freed_bytes",
                "freed_calls", "freed_unmatched", "written_off", "untracked_bytes", "blind_bytes", "blind_allocated_bytes"};
        const struct tracker_counts *c = &s->totals.counts;
        json_t *o = json_object();

        set(o, "charged", lens_json(s, &s->charged));
        set(o, "uncharged", lens_json(s, &s->uncharged));
        set_integer(o, "irq_bytes", s->irq_bytes);
        set_integer(o, "kthread_bytes", s->kthread_bytes);
        set_integer(o, "allocated_bytes", c->allocated_bytes);
        set_integer(o, "allocated_calls", c->allocated_calls);
        set_integer(o, "freed_bytes", c->freed_bytes);
        set_integer(o, "freed_calls", c->freed_calls);
        set_integer(o, "freed_unmatched", s->freed_unmatched);
        set_integer(o, "written_off", c->written_off_bytes);
        set_integer(o, "untracked_bytes", c->untracked_bytes);
        set_integer(o, "blind_bytes", s->totals.blind_bytes);
        set_integer(o, "blind_allocated_bytes", s->totals.blind_allocated_bytes);
        set(o, "unaccounted_bytes", integer_or_null(s->unaccounted_known, s->unaccounted_bytes));
        set_integer(o, "charges_verified", s->charges_verified);
        set_integer(o, "charges_mismatched", s->charges_mismatched);
        for (size_t i = 0; s->record && i < ELEMENTS(untold); i++)
                set(o, untold[i], json_null());
        return o;
}

static json_t *counters_json(const struct memcg_counters *c) {
        json_t *o = json_object();

        for (enum memcg_counter k = 0; k < _MEMCG_MAX; k++)
                json_object_set_new(o, memcg_counter_name(k), integer_or_null(memcg_knows(c, k), c->value[k]));
        return o;
}

static json_t *growth_json(const struct summary *s, enum memcg_counter k) {
        return integer_or_null(memcg_knows(&s->baseline, k) && memcg_knows(&s->now, k), s->now.value[k] - s->baseline.value[k]);
}

/* The parts of kernel memory and what stands beside it; `current` and `kernel` are sums of these, zswap is in billed_only. */
static json_t *by_counter_json(const struct summary *s) {
        static const enum memcg_counter shown[] = {MEMCG_SLAB, MEMCG_PERCPU, MEMCG_KERNEL_STACK, MEMCG_PAGETABLES,
                MEMCG_VMALLOC, MEMCG_SOCK, MEMCG_ANON, MEMCG_FILE, MEMCG_SHMEM};
        json_t *o = json_object();

        for (size_t i = 0; i < ELEMENTS(shown); i++) {
                const struct summary_counter *c = &s->by_counter[shown[i]];

                json_object_set_new(o, memcg_counter_name(shown[i]),
                        json_pack("{s:o, s:o, s:o}", "growth_bytes", integer_or_null(c->source, c->growth_bytes), "source",
                                string_or_null(c->source), "explained_bytes",
                                integer_or_null(c->explained_known, c->explained_bytes)));
        }
        return o;
}

/* By whom what is frozen was read: the kernel, when the cgroup was removed, or we, at some time before. */
static json_t *frozen_by_json(const struct summary *s) {
        json_t *o = json_object();

        for (enum memcg_counter k = 0; k < _MEMCG_MAX; k++)
                json_object_set_new(o, memcg_counter_name(k),
                        string_or_null(!s->frozen || !memcg_knows(&s->now, k) ? NULL
                                       : s->at_removal & 1u << k              ? "rmdir"
                                                                              : "last-reading"));
        return o;
}

static json_t *reconcile_json(const struct summary *s) {
        bool known = s->growth_known && s->live_known;
        /* what was freed of the memory before the baseline made the counter grow less than what was allocated */
        int64_t to_explain = s->growth_bytes + s->explained_unmatched;
        bool measurable = known && to_explain > s->slack_bytes;
        double ratio = measurable ? (double)s->explained_bytes / (double)to_explain : 0;

        return json_pack("{s:s, s:b, s:o, s:I, s:I, s:I, s:o, s:o, s:o, s:I, s:o, s:o, s:I, s:{s:o, s:o}, s:o}", "source",
                s->source, "frozen", s->frozen, "frozen_by", frozen_by_json(s), "at_us", (json_int_t)s->now.at_us, "read_us",
                (json_int_t)s->read_us, "explained_us", (json_int_t)s->explained_us, "counters", counters_json(&s->now),
                "growth_bytes", integer_or_null(s->growth_known, s->growth_bytes), "explained_bytes",
                integer_or_null(s->live_known, s->explained_bytes), "freed_unmatched", (json_int_t)s->explained_unmatched,
                "explained_ratio", measurable ? json_real(ratio) : json_null(), "unattributed",
                integer_or_null(known, s->unattributed), "slack_bytes", (json_int_t)s->slack_bytes, "billed_only", "sock",
                growth_json(s, MEMCG_SOCK), "zswap", growth_json(s, MEMCG_ZSWAP), "by_counter", by_counter_json(s));
}

/* ---- rows: there are thousands, so they are written as text at once ---------------------------------------------------- */

static void write_string(struct text_json *j, const char *name, const char *value) {
        text_json_string(j, name, value, STRING_MAX);
}

static void write_known(struct text_json *j, const char *name, bool known, int64_t value) {
        if (known)
                text_json_integer(j, name, value);
        else
                text_json_null(j, name);
}

static void write_gfp(struct text_json *j, const struct gfp_set *flags) {
        struct gfp_names names;

        if (gfp_empty(flags)) {
                text_json_null(j, "gfp_flags");
                return;
        }
        gfp_names(flags, &names);
        text_json_open(j, "gfp_flags", '[');
        for (size_t i = 0; i < names.n; i++)
                write_string(j, NULL, names.names[i]);
        text_json_close(j, ']');
}

/* What rows and their parts by node have in common. */
static void write_figures(struct text_json *j, const struct figures *f, bool live_known) {
        const struct tracker_counts *c = &f->counts;

        write_known(j, "bytes", live_known, figures_live_bytes(f));
        write_known(j, "calls", live_known, figures_live_calls(f));
        text_json_integer(j, "allocated_bytes", c->allocated_bytes);
        text_json_integer(j, "allocated_calls", c->allocated_calls);
        text_json_integer(j, "freed_bytes", c->freed_bytes);
        text_json_integer(j, "freed_calls", c->freed_calls);
        text_json_integer(j, "written_off_bytes", c->written_off_bytes);
        text_json_integer(j, "written_off_calls", c->written_off_calls);
        text_json_integer(j, "untracked_bytes", c->untracked_bytes);
        text_json_integer(j, "untracked_calls", c->untracked_calls);
        text_json_integer(j, "blind_bytes", f->blind_bytes);
        text_json_integer(j, "blind_allocated_bytes", f->blind_allocated_bytes);
}

static void write_nodes(struct text_json *j, const struct row *r) {
        text_json_open(j, "nodes", '[');
        for (size_t i = 0; i < r->n_parts; i++) {
                const struct row_part *part = &r->parts[i];

                text_json_open(j, NULL, '{');
                write_known(j, "node", part->node >= 0, part->node);
                write_figures(j, &part->figures, r->live_known);
                write_known(j, "error_bytes", r->estimated && r->live_known, part->figures.error_bytes);
                text_json_close(j, '}');
        }
        text_json_close(j, ']');
}

static void write_row(struct text_json *j, const struct row *r) {
        text_json_open(j, NULL, '{');
        write_string(j, "key", r->key);
        write_string(j, "file", r->file);
        write_known(j, "line", r->has_line, r->line);
        write_string(j, "function", r->function);
        write_known(j, "offset", r->has_offset, r->offset);
        write_string(j, "module", r->module);
        write_string(j, "category", r->category);
        write_string(j, "type", site_type_to_string(r->type));
        text_json_boolean(j, "charged", r->charged);
        write_figures(j, &r->figures, r->live_known);
        write_gfp(j, &r->gfp);
        text_json_boolean(j, "accurate", r->accurate);
        text_json_boolean(j, "estimated", r->estimated);
        write_known(j, "error_bytes", r->estimated && r->live_known, r->figures.error_bytes);
        text_json_boolean(j, "blind", !r->live_known);
        if (r->n_parts > 0)
                write_nodes(j, r);
        text_json_close(j, '}');
}

/* ---- summary --------------------------------------------------------------------------------------------------------------
 */

/* Where a row of allocinfo is; of a group only the name that it shares is known. */
static void write_place(struct text_json *j, const struct allocinfo_row *r, enum filter_group group) {
        _cleanup_free_ char *key = allocinfo_key(r, group);
        bool site = group == GROUP_SITE;

        j->failed = j->failed || !key;
        write_string(j, "key", key);
        write_string(j, "file", site || group == GROUP_FILE ? r->file : NULL);
        write_known(j, "line", site, (int64_t)r->line);
        write_string(j, "function", site || group == GROUP_FUNCTION ? r->function : NULL);
        write_string(j, "module", site || group == GROUP_MODULE ? r->module : NULL);
        write_string(j, "category", site || group == GROUP_CATEGORY ? r->category : NULL);
}

/* How the kernel's own record was read, and its sum over what matched. */
static json_t *record_json(const struct allocinfo *a) {
        bool by_ioctl = a->source == ALLOCINFO_IOCTL;

        return json_pack("{s:s, s:o, s:i, s:o, s:I, s:I, s:I}", "source", by_ioctl ? "ioctl" : "text", "content_id",
                by_ioctl ? id_string(a->content_id) : json_null(), "retries", (int)a->retries, "counting",
                a->counting == COUNTING_UNKNOWN ? json_null() : json_boolean(a->counting == COUNTING_ON), "bytes",
                (json_int_t)a->total.bytes, "calls", (json_int_t)a->total.calls, "tags", (json_int_t)a->total.tags);
}

/* A row of it among those of a summary: all members, most of them not known. */
static void write_record_row(struct text_json *j, const struct allocinfo_row *r, enum filter_group group) {
        static const char *const untold[] = {"allocated_bytes", "allocated_calls", "freed_bytes", "freed_calls",
                "written_off_bytes", "written_off_calls", "untracked_bytes", "untracked_calls", "blind_bytes",
                "blind_allocated_bytes", "gfp_flags"};

        text_json_open(j, NULL, '{');
        write_place(j, r, group);
        text_json_null(j, "offset");
        text_json_null(j, "type");
        text_json_null(j, "charged");
        text_json_integer(j, "bytes", r->bytes);
        text_json_integer(j, "calls", r->calls);
        for (size_t i = 0; i < ELEMENTS(untold); i++)
                text_json_null(j, untold[i]);
        text_json_boolean(j, "accurate", r->accurate);
        text_json_boolean(j, "estimated", false);
        text_json_null(j, "error_bytes");
        text_json_boolean(j, "blind", false);
        text_json_close(j, '}');
}

static void set_times(json_t *o, const struct summary *s) {
        set(o, "started_us", json_integer(s->started_us));
        set(o, "at_us", json_integer(s->at_us));
        set(o, "reset_us", integer_or_null(s->reset_us != 0, s->reset_us));
}

static json_t *baseline_json(const struct summary *s) {
        return json_pack("{s:s, s:I, s:o}", "source", s->source, "at_us", (json_int_t)s->baseline.at_us, "counters",
                counters_json(&s->baseline));
}

/* All but the sites. */
static json_t *summary_head(const struct summary *s) {
        json_t *o = document("memcgprof.summary", s->backend, s->record || kernel_tags_allocations());

        set(o, "profile", profile_json(s));
        set_times(o, s);
        set(o, "lost", lost_json(s));
        set(o, "accurate", json_boolean(s->accurate));
        set(o, "filter", filter_json(&s->filter));
        set(o, "totals", totals_json(s));
        set(o, "baseline", baseline_json(s));
        set(o, "reconcile", reconcile_json(s));
        set(o, "swept_at_us", integer_or_null(s->swept_at_us != 0, s->swept_at_us));
        set(o, "sweep_us", integer_or_null(s->sweep_us != 0, s->sweep_us));
        set(o, "total_sites", json_integer((json_int_t)s->total_sites));
        if (s->record)
                set(o, "record", record_json(s->record));
        return o;
}

/* Writes an object but for its end, so that members can follow. Takes `head`. */
static int write_head(struct text_json *j, json_t *head) {
        _cleanup_free_ char *text = head ? json_dumps(head, WRITING) : NULL;

        json_decref(head);
        if (!text)
                return -ENOMEM;
        text_json_raw(j, text, strlen(text) - 1);
        return 0;
}

static int write_summary(struct text_json *j, const struct summary *s) {
        int r = write_head(j, summary_head(s));

        if (r < 0)
                return r;
        text_json_open(j, "sites", '[');
        for (size_t i = 0; i < s->n_rows; i++)
                write_row(j, &s->rows[i]);
        for (size_t i = 0; s->record && i < s->record->n_rows; i++)
                write_record_row(j, &s->record->rows[i], s->record->group);
        text_json_close(j, ']');
        text_json_close(j, '}');
        return 0;
}

char *report_summary(const struct summary *s) {
        _cleanup_(text_json_done) struct text_json j = {};

        if (write_summary(&j, s) < 0)
                return NULL;
        text_json_raw(&j, "\n", 1);
        return text_json_take(&j);
}

/* ---- allocinfo ------------------------------------------------------------------------------------------------------------
 */

static json_t *allocinfo_head(const struct allocinfo *a, const struct filter *filter) {
        json_t *o = document("memcgprof.allocinfo", "alloc-tags", a->counting != COUNTING_OFF);

        set(o, "at_us", json_integer(a->at_us));
        set(o, "source", json_string(a->source == ALLOCINFO_IOCTL ? "ioctl" : "text"));
        set(o, "content_id", a->source == ALLOCINFO_IOCTL ? id_string(a->content_id) : json_null());
        set(o, "retries", json_integer(a->retries));
        set(o, "counting", a->counting == COUNTING_UNKNOWN ? json_null() : json_boolean(a->counting == COUNTING_ON));
        set(o, "accurate", json_boolean(a->total.accurate && a->counting != COUNTING_OFF));
        set(o, "filter", filter_json(filter));
        set(o, "totals",
                json_pack("{s:I, s:I, s:I}", "bytes", (json_int_t)a->total.bytes, "calls", (json_int_t)a->total.calls, "tags",
                        (json_int_t)a->total.tags));
        set(o, "total_sites", json_integer((json_int_t)a->total_sites));
        return o;
}

static void write_allocinfo_row(struct text_json *j, const struct allocinfo_row *r, enum filter_group group) {
        text_json_open(j, NULL, '{');
        write_place(j, r, group);
        text_json_integer(j, "bytes", r->bytes);
        text_json_integer(j, "calls", r->calls);
        text_json_boolean(j, "accurate", r->accurate);
        text_json_integer(j, "tags", (int64_t)r->tags);
        text_json_close(j, '}');
}

char *report_allocinfo(const struct allocinfo *a, const struct filter *filter) {
        _cleanup_(text_json_done) struct text_json j = {};

        if (write_head(&j, allocinfo_head(a, filter)) < 0)
                return NULL;
        text_json_open(&j, "sites", '[');
        for (size_t i = 0; i < a->n_rows; i++)
                write_allocinfo_row(&j, &a->rows[i], a->group);
        text_json_close(&j, ']');
        text_json_close(&j, '}');
        text_json_raw(&j, "\n", 1);
        return text_json_take(&j);
}

/* ---- the others -----------------------------------------------------------------------------------------------------------
 */

static json_t *end_json(const struct report_end *end) {
        return json_pack("{s:I, s:s, s:o, s:o, s:o}", "at_us", (json_int_t)end->at_us, "source", end->source, "exit_code",
                integer_or_null(end->exit_code >= 0, end->exit_code), "exit_code_reason", string_or_null(end->exit_code_reason),
                "oom_kills", integer_or_null(end->oom_kills >= 0, end->oom_kills));
}

static json_t *final_head(const struct summary *s, const struct report_end *end) {
        json_t *o = document("memcgprof.report", s->backend, kernel_tags_allocations());

        set(o, "profile", profile_json(s));
        set_times(o, s);
        set(o, "lost", lost_json(s));
        set(o, "accurate", json_boolean(s->accurate));
        set(o, "end", end_json(end));
        return o;
}

/* User pages are none of it: they are the kernel's to drop, and their rows are estimates. */
static void write_residue_sites(struct text_json *j, const struct summary *s) {
        size_t n = 0;

        text_json_open(j, "sites", '[');
        for (size_t i = 0; i < s->n_rows && n < REPORT_RESIDUE_SITES; i++) {
                const struct row *r = &s->rows[i];

                if (r->type == TYPE_USER || !r->live_known || figures_live_bytes(&r->figures) <= 0)
                        continue;
                write_row(j, r);
                n++;
        }
        text_json_close(j, ']');
}

static void write_residue(struct text_json *j, const char *name, const struct report_residue *r) {
        const struct summary *s = r->summary;
        bool known = s->live_known;

        text_json_open(j, name, '{');
        write_known(j, "charged_bytes", known, s->charged.kernel_bytes);
        write_known(j, "uncharged_bytes", known, s->uncharged.kernel_bytes);
        text_json_integer(j, "at_us", s->at_us);
        write_known(j, "bytes", known, s->charged.kernel_bytes + s->uncharged.kernel_bytes);
        write_known(j, "calls", known, figures_live_calls(&s->totals));
        write_known(j, "released_bytes", known && r->released_known, r->released_bytes);
        write_string(j, "closed_by", r->closed_by);
        write_residue_sites(j, s);
        text_json_close(j, '}');
}

static void write_snapshots(struct text_json *j, const struct report_snapshot *snapshots, size_t n) {
        text_json_open(j, "snapshots", '[');
        for (size_t i = 0; i < n; i++) {
                const struct report_snapshot *p = &snapshots[i];

                text_json_open(j, NULL, '{');
                write_string(j, "reason", p->reason);
                text_json_integer(j, "at_us", p->at_us);
                write_known(j, "ooms", p->ooms >= 0, p->ooms);
                write_known(j, "oom_kills", p->oom_kills >= 0, p->oom_kills);
                text_json_raw(j, ",\"summary\":", strlen(",\"summary\":"));
                text_json_raw(j, p->summary, strcspn(p->summary, "\n"));
                text_json_close(j, '}');
        }
        text_json_close(j, ']');
}

char *report_final(const struct summary *s, const struct report_end *end, const struct report_residue *residue,
        const struct report_snapshot *snapshots, size_t n) {
        _cleanup_(text_json_done) struct text_json j = {};

        if (write_head(&j, final_head(s, end)) < 0)
                return NULL;
        write_residue(&j, "residue", residue);
        write_snapshots(&j, snapshots, n);
        text_json_raw(&j, ",\"summary\":", strlen(",\"summary\":"));
        if (write_summary(&j, s) < 0)
                return NULL;
        text_json_raw(&j, "}\n", 2);
        return text_json_take(&j);
}

static json_t *residue_json(const struct report_residue *residue) {
        _cleanup_(text_json_done) struct text_json j = {};
        _cleanup_free_ char *text = NULL;

        write_residue(&j, NULL, residue);
        text = text_json_take(&j);
        return text ? json_loads(text, 0, NULL) : NULL;
}

int report_update(const char *text, const struct report_end *end, const struct report_residue *residue, char **ret) {
        json_t *o = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        const char *name = json_string_value(json_object_get(o, "format"));
        char *made = NULL;
        int r = 0;

        if (!name || !streq(name, "memcgprof.report"))
                r = -EBADMSG;
        else if (json_object_set_new(o, "end", end_json(end)) < 0 ||
                 json_object_set_new(o, "residue", residue_json(residue)) < 0 || !(made = report_text(o)))
                r = -ENOMEM;
        json_decref(o);
        if (r >= 0)
                *ret = made;
        return r;
}

static json_t *item_json(const char *name, bool available, const char *reason) {
        return json_pack("{s:s, s:b, s:o}", "name", name, "available", available, "reason", string_or_null(reason));
}

static json_t *cpus_json(const struct tracker_options *options, unsigned cpus, bool here) {
        struct tracker_memory m;

        tracker_memory(options, cpus, &m);
        return json_pack("{s:I, s:b, s:I, s:I, s:I, s:I, s:I, s:I}", "cpus", (json_int_t)cpus, "here", here, "total_bytes",
                (json_int_t)m.total, "bytes_per_group", (json_int_t)m.per_group, "bytes_per_site", (json_int_t)m.per_site,
                "groups", (json_int_t)m.groups, "sites", (json_int_t)m.sites, "objects", (json_int_t)m.objects);
}

/* For machines of some sizes, and for this one; by size. */
static json_t *memory_json(const struct tracker_options *options, unsigned here) {
        static const unsigned sizes[] = {2, 64, 256};
        json_t *a = json_array();
        unsigned before = 0;

        for (size_t i = 0; i < ELEMENTS(sizes); i++) {
                if (here > before && here < sizes[i])
                        json_array_append_new(a, cpus_json(options, here, true));
                json_array_append_new(a, cpus_json(options, sizes[i], sizes[i] == here));
                before = sizes[i];
        }
        if (here > before)
                json_array_append_new(a, cpus_json(options, here, true));
        return a;
}

json_t *report_support(
        const struct support *s, const struct tracker_ability *abilities, size_t n, const struct tracker_options *options) {
        json_t *o = document("memcgprof.support", s->backend, s->alloc_tags);
        json_t *items = json_array();
        struct tracker_options here = *options;

        here.no_tags = !s->alloc_tags;
        set(o, "at_us", json_integer(now_us()));
        for (size_t i = 0; i < s->n_items; i++)
                json_array_append_new(items, item_json(s->items[i].name, s->items[i].available, s->items[i].reason));
        for (size_t i = 0; i < n; i++)
                json_array_append_new(items, item_json(abilities[i].name, abilities[i].available, abilities[i].reason));
        set(o, "items", items);
        set(o, "memory", memory_json(&here, s->possible_cpus));
        return o;
}

static json_t *entry_json(const struct report_list_entry *e) {
        return json_pack("{s:s, s:s, s:o, s:s, s:s, s:o, s:o, s:I, s:{s:o, s:o}, s:o}", "object", e->object, "kind", e->kind,
                "id", string_or_null(e->id), "state", e->state, "mode", e->mode, "cgroup", string_or_null(e->cgroup),
                "cgroup_id", id_string(e->cgroup_id), "live_bytes", (json_int_t)e->live_bytes, "pod", "namespace",
                string_or_null(e->pod_namespace), "name", string_or_null(e->pod_name), "name", string_or_null(e->name));
}

json_t *report_list(const char *backend, const struct report_list_entry *entries, size_t n) {
        json_t *o = document("memcgprof.list", backend, kernel_tags_allocations());
        json_t *profiles = json_array();

        set(o, "at_us", json_integer(now_us()));
        for (size_t i = 0; i < n; i++)
                json_array_append_new(profiles, entry_json(&entries[i]));
        set(o, "profiles", profiles);
        return o;
}

char *report_text(const json_t *document_) {
        _cleanup_free_ char *text = json_dumps(document_, WRITING);

        return text ? format("%s\n", text) : NULL;
}

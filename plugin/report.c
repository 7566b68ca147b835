/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Summaries, reports, lists and support as JSON. null means not measured, 0 means none; ids that can pass 2^53 are strings;
 * every string is escaped here, so what came from outside may be anything.
 */
#include <time.h>

#include "report.h"
#include "text.h"

#define STRING_MAX 1024

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
        set(o, "unaccounted_bytes", json_null()); /* the kernel's own gaps are known where it has allocation tags */
        set_integer(o, "charges_verified", s->charges_verified);
        set_integer(o, "charges_mismatched", s->charges_mismatched);
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

static json_t *reconcile_json(const struct summary *s) {
        bool known = s->growth_known && s->live_known;
        /* what was freed of the memory before the baseline made the counter grow less than what was allocated */
        int64_t to_explain = s->growth_bytes + s->explained_unmatched;
        bool measurable = known && to_explain > s->slack_bytes;
        double ratio = measurable ? (double)s->explained_bytes / (double)to_explain : 0;

        return json_pack("{s:s, s:b, s:I, s:o, s:o, s:o, s:I, s:o, s:o, s:I, s:{s:o, s:o}, s:o}", "source", s->source, "frozen",
                s->frozen, "at_us", (json_int_t)s->now.at_us, "counters", counters_json(&s->now), "growth_bytes",
                integer_or_null(s->growth_known, s->growth_bytes), "explained_bytes",
                integer_or_null(s->live_known, s->explained_bytes), "freed_unmatched", (json_int_t)s->explained_unmatched,
                "explained_ratio", measurable ? json_real(ratio) : json_null(), "unattributed",
                integer_or_null(known, s->unattributed), "slack_bytes", (json_int_t)s->slack_bytes, "billed_only", "sock",
                growth_json(s, MEMCG_SOCK), "zswap", growth_json(s, MEMCG_ZSWAP), "by_counter", by_counter_json(s));
}

static json_t *gfp_json(const struct gfp_set *flags) {
        struct gfp_names names;
        json_t *a;

        if (gfp_empty(flags))
                return json_null();
        a = json_array();
        gfp_names(flags, &names);
        for (size_t i = 0; i < names.n; i++)
                json_array_append_new(a, json_string(names.names[i]));
        return a;
}

/* What rows and their parts by node have in common. */
static void set_figures(json_t *o, const struct figures *f, bool live_known) {
        const struct tracker_counts *c = &f->counts;

        set(o, "bytes", integer_or_null(live_known, figures_live_bytes(f)));
        set(o, "calls", integer_or_null(live_known, figures_live_calls(f)));
        set_integer(o, "allocated_bytes", c->allocated_bytes);
        set_integer(o, "allocated_calls", c->allocated_calls);
        set_integer(o, "freed_bytes", c->freed_bytes);
        set_integer(o, "freed_calls", c->freed_calls);
        set_integer(o, "written_off_bytes", c->written_off_bytes);
        set_integer(o, "written_off_calls", c->written_off_calls);
        set_integer(o, "untracked_bytes", c->untracked_bytes);
        set_integer(o, "untracked_calls", c->untracked_calls);
        set_integer(o, "blind_bytes", f->blind_bytes);
        set_integer(o, "blind_allocated_bytes", f->blind_allocated_bytes);
}

static json_t *nodes_json(const struct row *r) {
        json_t *a = json_array();

        for (size_t i = 0; i < r->n_parts; i++) {
                const struct row_part *part = &r->parts[i];
                json_t *o = json_pack("{s:o}", "node", integer_or_null(part->node >= 0, part->node));

                set_figures(o, &part->figures, r->live_known);
                set(o, "error_bytes", integer_or_null(r->estimated && r->live_known, part->figures.error_bytes));
                json_array_append_new(a, o);
        }
        return a;
}

static json_t *row_json(const struct row *r) {
        json_t *o = json_object();

        set(o, "key", string_or_null(r->key));
        set(o, "file", json_null()); /* files and lines take alloc tags */
        set(o, "line", json_null());
        set(o, "function", string_or_null(r->function));
        set(o, "offset", integer_or_null(r->has_offset, r->offset));
        set(o, "module", string_or_null(r->module));
        set(o, "category", json_null());
        set(o, "type", string_or_null(site_type_to_string(r->type)));
        set(o, "charged", json_boolean(r->charged));
        set_figures(o, &r->figures, r->live_known);
        set(o, "gfp_flags", gfp_json(&r->gfp));
        set(o, "accurate", json_boolean(r->accurate));
        set(o, "estimated", json_boolean(r->estimated));
        set(o, "error_bytes", integer_or_null(r->estimated && r->live_known, r->figures.error_bytes));
        set(o, "blind", json_boolean(!r->live_known));
        if (r->n_parts > 0)
                set(o, "nodes", nodes_json(r));
        return o;
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

json_t *report_summary(const struct summary *s) {
        json_t *o = document("memcgprof.summary", s->backend, false);
        json_t *sites = json_array();

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
        for (size_t i = 0; i < s->n_rows; i++)
                json_array_append_new(sites, row_json(&s->rows[i]));
        set(o, "sites", sites);
        return o;
}

/* ---- the others -----------------------------------------------------------------------------------------------------------
 */

json_t *report_final(const struct summary *s, const struct report_end *end) {
        json_t *o = document("memcgprof.report", s->backend, false);

        set(o, "profile", profile_json(s));
        set_times(o, s);
        set(o, "lost", lost_json(s));
        set(o, "accurate", json_boolean(s->accurate));
        set(o, "end",
                json_pack("{s:I, s:s, s:o, s:o, s:o}", "at_us", (json_int_t)end->at_us, "source", end->source, "exit_code",
                        integer_or_null(end->exit_code >= 0, end->exit_code), "exit_code_reason",
                        string_or_null(end->exit_code_reason), "oom_kills",
                        integer_or_null(end->oom_kills >= 0, end->oom_kills)));
        set(o, "residue",
                json_pack("{s:o, s:o}", "charged_bytes", integer_or_null(s->live_known, s->charged.kernel_bytes),
                        "uncharged_bytes", integer_or_null(s->live_known, s->uncharged.kernel_bytes)));
        set(o, "snapshots", json_array());
        set(o, "summary", report_summary(s));
        return o;
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

        set(o, "at_us", json_integer(now_us()));
        for (size_t i = 0; i < s->n_items; i++)
                json_array_append_new(items, item_json(s->items[i].name, s->items[i].available, s->items[i].reason));
        for (size_t i = 0; i < n; i++)
                json_array_append_new(items, item_json(abilities[i].name, abilities[i].available, abilities[i].reason));
        set(o, "items", items);
        set(o, "memory", memory_json(options, s->possible_cpus));
        return o;
}

static json_t *entry_json(const struct report_list_entry *e) {
        return json_pack("{s:s, s:s, s:o, s:s, s:s, s:o, s:o, s:I, s:{s:o, s:o}, s:o}", "object", e->object, "kind", e->kind,
                "id", string_or_null(e->id), "state", e->state, "mode", e->mode, "cgroup", string_or_null(e->cgroup),
                "cgroup_id", id_string(e->cgroup_id), "live_bytes", (json_int_t)e->live_bytes, "pod", "namespace",
                string_or_null(e->pod_namespace), "name", string_or_null(e->pod_name), "name", string_or_null(e->name));
}

json_t *report_list(const char *backend, const struct report_list_entry *entries, size_t n) {
        json_t *o = document("memcgprof.list", backend, false);
        json_t *profiles = json_array();

        set(o, "at_us", json_integer(now_us()));
        for (size_t i = 0; i < n; i++)
                json_array_append_new(profiles, entry_json(&entries[i]));
        set(o, "profiles", profiles);
        return o;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Documents in and out. Filtering a finished document goes back through struct summary, so that there is one place that
 * filters, sorts and groups (summary.c) and one that writes rows (report.c).
 */
#include "document.h"
#include "render.h"
#include "report.h"

int document_parse(const char *text, json_t **ret, char **reterr) {
        json_error_t error;
        json_t *document = json_loads(text, 0, &error);

        if (!document && json_error_code(&error) == json_error_out_of_memory)
                return -ENOMEM;
        if (!document)
                return fail(reterr, -EBADMSG, "That is no JSON document: %s (line %d).", error.text, error.line);
        if (!json_is_object(document)) {
                json_decref(document);
                return fail(reterr, -EBADMSG, "That is JSON, but no document of memcgprof.");
        }
        *ret = document;
        return 0;
}

int document_print(FILE *out, const json_t *document) {
        _cleanup_free_ char *text = report_text(document);

        return text ? document_print_text(out, text) : -ENOMEM;
}

int document_print_text(FILE *out, const char *text) {
        size_t n = strlen(text);

        fputs(text, out);
        if (n == 0 || text[n - 1] != '\n')
                fputc('\n', out);
        return 0;
}

size_t document_rows(FILE *out, const struct filter *filter) {
        return filter_has(filter, FILTER_LIMIT) || !isatty(fileno(out)) ? 0 : RENDER_ROWS;
}

static int64_t integer(const json_t *o, const char *key) {
        return json_integer_value(json_object_get(o, key));
}

/* -ENOMEM, or 0; a member that is no string leaves *ret NULL. */
static int copy_string(const json_t *o, const char *key, char **ret) {
        const char *s = json_string_value(json_object_get(o, key));

        *ret = s ? strdup(s) : NULL;
        return s && !*ret ? -ENOMEM : 0;
}

static enum site_type type_of(const json_t *site) {
        const char *name = json_string_value(json_object_get(site, "type"));

        for (size_t i = 0; name && i < _TYPE_MAX; i++)
                if (streq(site_type_to_string(i), name))
                        return i;
        return _TYPE_MAX;
}

/* How many calls of blind sites are in a row follows from what lives in it. */
static void figures_of(const json_t *o, struct figures *ret) {
        const json_t *calls = json_object_get(o, "calls");
        struct tracker_counts *c = &ret->counts;

        *c = (struct tracker_counts){
                .allocated_bytes = integer(o, "allocated_bytes"),
                .allocated_calls = integer(o, "allocated_calls"),
                .freed_bytes = integer(o, "freed_bytes"),
                .freed_calls = integer(o, "freed_calls"),
                .written_off_bytes = integer(o, "written_off_bytes"),
                .written_off_calls = integer(o, "written_off_calls"),
                .untracked_bytes = integer(o, "untracked_bytes"),
                .untracked_calls = integer(o, "untracked_calls"),
        };
        ret->blind_bytes = tracker_counts_live(c) - integer(o, "bytes");
        ret->blind_calls = tracker_counts_live_calls(c) - json_integer_value(calls);
        ret->blind_allocated_bytes = integer(o, "blind_allocated_bytes");
        ret->error_bytes = integer(o, "error_bytes");
}

static int parts_of(const json_t *site, struct row *ret) {
        const json_t *nodes = json_object_get(site, "nodes"), *o;
        size_t i;

        if (json_array_size(nodes) == 0)
                return 0;
        ret->parts = calloc(json_array_size(nodes), sizeof(*ret->parts));
        if (!ret->parts)
                return -ENOMEM;
        json_array_foreach(nodes, i, o) {
                const json_t *node = json_object_get(o, "node");

                ret->parts[i].node = json_is_integer(node) ? (int)json_integer_value(node) : -1;
                figures_of(o, &ret->parts[i].figures);
        }
        ret->n_parts = i;
        return 0;
}

/* Names that this version does not know are not kept. */
static void gfp_of(const json_t *site, struct gfp_set *ret) {
        const json_t *name;
        size_t i;

        json_array_foreach(json_object_get(site, "gfp_flags"), i, name) if (json_is_string(name))(void)
                gfp_parse(json_string_value(name), ret);
}

static int names_of(const json_t *site, struct row *ret) {
        int r = copy_string(site, "key", &ret->key);

        if (r >= 0 && !ret->key)
                ret->key = strdup("?");
        if (r >= 0)
                r = copy_string(site, "file", &ret->file);
        if (r >= 0)
                r = copy_string(site, "function", &ret->function);
        if (r >= 0)
                r = copy_string(site, "module", &ret->module);
        if (r >= 0)
                r = copy_string(site, "category", &ret->category);
        return r < 0 || !ret->key ? -ENOMEM : 0;
}

static int row_of(const json_t *site, struct row *ret) {
        int r = names_of(site, ret);

        if (r >= 0)
                r = parts_of(site, ret);
        if (r < 0)
                return r;
        ret->has_offset = json_is_integer(json_object_get(site, "offset"));
        ret->offset = (uint32_t)integer(site, "offset");
        ret->has_line = json_is_integer(json_object_get(site, "line"));
        ret->line = (uint32_t)integer(site, "line");
        ret->type = type_of(site);
        ret->charged = json_is_true(json_object_get(site, "charged"));
        ret->live_known = json_is_integer(json_object_get(site, "bytes"));
        ret->accurate = json_is_true(json_object_get(site, "accurate"));
        ret->estimated = json_is_true(json_object_get(site, "estimated"));
        gfp_of(site, &ret->gfp);
        figures_of(site, &ret->figures);
        return 0;
}

static int summary_of(const json_t *sites, struct summary **ret) {
        _cleanup_(summary_freep) struct summary *s = calloc(1, sizeof(*s));
        const json_t *site;
        size_t i;
        int r;

        if (!s)
                return -ENOMEM;
        /* Only the rows are wanted back, but a head without texts is no document. */
        s->backend = s->source = s->label.kind = s->label.started_by = "";
        s->rows = calloc(json_array_size(sites) + 1, sizeof(*s->rows));
        if (!s->rows)
                return -ENOMEM;
        json_array_foreach(sites, i, site) {
                r = row_of(site, &s->rows[s->n_rows++]);
                if (r < 0)
                        return r;
        }
        *ret = TAKE(s);
        return 0;
}

int document_filter(json_t *summary, const struct filter *filter) {
        const json_t *sites = json_object_get(summary, "sites");
        _cleanup_(summary_freep) struct summary *s = NULL;
        _cleanup_(document_unrefp) json_t *made = NULL;
        _cleanup_free_ char *text = NULL;
        int r;

        if (!json_is_array(sites))
                return -EBADMSG;
        r = summary_of(sites, &s);
        if (r >= 0)
                r = summary_apply(s, filter);
        if (r < 0)
                return r;
        text = report_summary(s);
        r = text ? document_parse(text, &made, NULL) : -ENOMEM;
        if (r < 0)
                return r;
        if (json_object_set(summary, "sites", json_object_get(made, "sites")) < 0 ||
                json_object_set(summary, "filter", json_object_get(made, "filter")) < 0)
                return -ENOMEM;
        return 0;
}

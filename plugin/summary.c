/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Filtering, grouping, sorting and cutting of rows: in this order, so that a limit counts what the reader will see. */
#include "summary.h"

void row_done(struct row *r) {
        free(r->key);
        free(r->file);
        free(r->function);
        free(r->module);
        free(r->category);
        free(r->parts);
}

struct summary *summary_free(struct summary *s) {
        if (!s)
                return NULL;
        for (size_t i = 0; i < s->n_rows; i++)
                row_done(&s->rows[i]);
        free(s->rows);
        allocinfo_free(s->record);
        free(s->cgroup);
        profile_label_done(&s->label);
        filter_done(&s->filter);
        free(s);
        return NULL;
}

/* ---- filtering ------------------------------------------------------------------------------------------------------------
 */

/* What is not known equals nothing. */
static bool equals(const struct filter *f, enum filter_key key, const char *value) {
        return !filter_has(f, key) || (value && streq(f->strings[key], value));
}

static bool equals_bool(const struct filter *f, enum filter_key key, bool value) {
        return !filter_has(f, key) || f->booleans[key] == value;
}

static bool equals_line(const struct filter *f, const struct row *r) {
        return !filter_has(f, FILTER_LINENO) || (r->has_line && f->integers[FILTER_LINENO] == r->line);
}

static bool within(const struct filter *f, const struct row *r) {
        int64_t bytes = figures_live_bytes(&r->figures);

        if (!filter_has(f, FILTER_MIN_SIZE) && !filter_has(f, FILTER_MAX_SIZE))
                return true;
        return r->live_known && (!filter_has(f, FILTER_MIN_SIZE) || bytes >= f->integers[FILTER_MIN_SIZE]) &&
               (!filter_has(f, FILTER_MAX_SIZE) || bytes <= f->integers[FILTER_MAX_SIZE]);
}

static bool passes(const struct filter *f, const struct row *r) {
        return equals(f, FILTER_MODNAME, r->module) && equals(f, FILTER_FUNCTION, r->function) &&
               equals(f, FILTER_FILENAME, r->file) && equals_line(f, r) && equals(f, FILTER_CATEGORY, r->category) &&
               equals(f, FILTER_TYPE, site_type_to_string(r->type)) && equals_bool(f, FILTER_INACCURATE, !r->accurate) &&
               equals_bool(f, FILTER_CHARGED, r->charged) && within(f, r);
}

/* Leaves of a row what lies on one node. False: nothing that is known to. */
static bool take_part(struct row *r, int64_t node) {
        for (size_t i = 0; i < r->n_parts; i++) {
                if (r->parts[i].node != node)
                        continue;
                r->parts[0] = r->parts[i];
                r->n_parts = 1;
                r->figures = r->parts[0].figures;
                return true;
        }
        return false;
}

static void drop_rows(struct summary *s, const struct filter *f) {
        size_t n = 0;

        for (size_t i = 0; i < s->n_rows; i++) {
                struct row *r = &s->rows[i];

                /* sizes are those of the node's part */
                if ((!filter_has(f, FILTER_NODE) || take_part(r, f->integers[FILTER_NODE])) && passes(f, r))
                        s->rows[n++] = *r;
                else
                        row_done(r);
        }
        s->n_rows = n;
}

/* ---- grouping -------------------------------------------------------------------------------------------------------------
 */

/* A row that stands for one part of another; it has the key of its group. */
static int split_off(const struct row *r, const struct row_part *part, struct row *ret) {
        struct row piece = {
                .key = part && part->node >= 0 ? format("node%d", part->node) : strdup("unknown"),
                .type = r->type,
                .charged = r->charged,
                .live_known = r->live_known,
                .accurate = r->accurate,
                .estimated = r->estimated,
                .gfp = r->gfp,
                .figures = part ? part->figures : r->figures,
        };

        if (part && part->node >= 0) {
                piece.parts = malloc(sizeof(*part));
                piece.n_parts = 1;
                if (piece.parts)
                        piece.parts[0] = *part;
        }
        *ret = piece;
        return piece.key && (piece.parts || piece.n_parts == 0) ? 0 : -ENOMEM;
}

/* Makes one row of each part of each row. */
static int split_rows(struct summary *s) {
        struct row *pieces;
        size_t n = 0;
        int r = 0;

        for (size_t i = 0; i < s->n_rows; i++)
                n += s->rows[i].n_parts ?: 1;
        pieces = calloc(n + 1, sizeof(struct row));
        if (!pieces)
                return -ENOMEM;
        n = 0;
        for (size_t i = 0; i < s->n_rows; i++) {
                const struct row *row = &s->rows[i];

                for (size_t k = 0; r >= 0 && k < (row->n_parts ?: 1); k++)
                        r = split_off(row, row->n_parts ? &row->parts[k] : NULL, &pieces[n++]);
                row_done(&s->rows[i]);
        }
        free(s->rows);
        s->rows = pieces;
        s->n_rows = n;
        return r;
}

/* The name of the group that a row falls in; "unknown" and "kernel" stand for a missing function and the kernel itself. */
static const char *group_name(const struct row *r, enum filter_group by) {
        switch (by) {
        case GROUP_FUNCTION:
                return r->function ?: "unknown";
        case GROUP_MODULE:
                return !r->module ? "unknown" : r->module[0] ? r->module : "kernel";
        case GROUP_TYPE:
                return site_type_to_string(r->type) ?: "unknown";
        case GROUP_CATEGORY:
                return r->category ?: "unknown";
        case GROUP_FILE:
                return r->file ?: "unknown";
        case GROUP_SITE:
        case GROUP_NODE:
        default:
                return r->key;
        }
}

/*
 * Charged and uncharged are separate lenses, user pages have a total of their own, and estimates are not added to counts: such
 * rows stay apart.
 */
static int compare_groups(const void *a, const void *b, void *by) {
        const struct row *x = a, *y = b;
        int r = strcmp(group_name(x, *(enum filter_group *)by), group_name(y, *(enum filter_group *)by));

        if (r == 0)
                r = (int)x->charged - (int)y->charged;
        if (r == 0)
                r = (int)(x->type == TYPE_USER) - (int)(y->type == TYPE_USER);
        return r ?: (int)x->estimated - (int)y->estimated;
}

static int compare_parts(const void *a, const void *b) {
        const struct row_part *x = a, *y = b;

        return x->node < y->node ? -1 : x->node > y->node;
}

static int add_parts(struct row *to, const struct row *from) {
        struct row_part *parts;
        size_t n = 0;

        if (from->n_parts == 0)
                return 0;
        parts = reallocarray(to->parts, to->n_parts + from->n_parts, sizeof(*parts));
        if (!parts)
                return -ENOMEM;
        to->parts = parts;
        memcpy(parts + to->n_parts, from->parts, from->n_parts * sizeof(*parts));
        to->n_parts += from->n_parts;
        qsort(parts, to->n_parts, sizeof(*parts), compare_parts);
        for (size_t i = 0; i < to->n_parts; i++)
                if (n > 0 && parts[n - 1].node == parts[i].node)
                        figures_add(&parts[n - 1].figures, &parts[i].figures);
                else
                        parts[n++] = parts[i];
        to->n_parts = n;
        return 0;
}

/* What two members of a group do not share, the group does not have. */
static void keep_shared(char **to, const char *from) {
        if (*to && (!from || !streq(*to, from)))
                free(TAKE(*to));
}

/* A group with a blind member knows what lives in the others, and that this is not all. */
static int add_row(struct row *to, struct row *from) {
        bool partly = to->live_known != from->live_known;

        figures_add(&to->figures, &from->figures);
        to->live_known = to->live_known || from->live_known;
        to->accurate = to->accurate && from->accurate && !partly;
        to->gfp.flags |= from->gfp.flags;
        to->gfp.unknown |= from->gfp.unknown;
        if (to->type != from->type)
                to->type = _TYPE_MAX;
        keep_shared(&to->module, from->module);
        keep_shared(&to->category, from->category);
        keep_shared(&to->file, from->file);
        return add_parts(to, from);
}

/* Makes a row stand for its group: what its members do not share is not known of it. */
static int generalize(struct row *r, enum filter_group by) {
        char *key = strdup(group_name(r, by));

        if (!key)
                return -ENOMEM;
        free(r->key);
        r->key = key;
        r->offset = r->line = 0;
        r->has_offset = r->has_line = false;
        if (by != GROUP_FILE && by != GROUP_FUNCTION) {
                free(r->file);
                r->file = NULL;
        }
        if (by != GROUP_FUNCTION) {
                free(r->function);
                r->function = NULL;
        }
        if (by != GROUP_FUNCTION && by != GROUP_MODULE) {
                free(r->module);
                r->module = NULL;
        }
        if (by != GROUP_FUNCTION && by != GROUP_MODULE && by != GROUP_CATEGORY)
                free(TAKE(r->category));
        return 0;
}

static int group_rows(struct summary *s, enum filter_group by) {
        size_t n = 0;
        int r = by == GROUP_NODE ? split_rows(s) : 0;

        if (r < 0)
                return r;
        qsort_r(s->rows, s->n_rows, sizeof(struct row), compare_groups, &by);
        for (size_t i = 0; i < s->n_rows; i++) {
                if (r >= 0 && n > 0 && compare_groups(&s->rows[n - 1], &s->rows[i], &by) == 0) {
                        r = add_row(&s->rows[n - 1], &s->rows[i]);
                        row_done(&s->rows[i]);
                        continue;
                }
                s->rows[n++] = s->rows[i];
        }
        s->n_rows = n;
        for (size_t i = 0; r >= 0 && i < n; i++)
                r = generalize(&s->rows[i], by);
        return r;
}

/* ---- sorting --------------------------------------------------------------------------------------------------------------
 */

static int descending(int64_t a, int64_t b) {
        return a > b ? -1 : a < b;
}

static int by_calls(const struct figures *x, const struct figures *y) {
        return descending(figures_live_calls(x), figures_live_calls(y))
                       ?: descending(x->counts.allocated_calls, y->counts.allocated_calls);
}

static int by_bytes(const struct figures *x, const struct figures *y) {
        return descending(figures_live_bytes(x), figures_live_bytes(y))
                       ?: descending(x->counts.allocated_bytes, y->counts.allocated_bytes);
}

/* What is not known comes last; ties go by what was allocated, then by name, so that the order is always the same. */
static int compare_rows(const void *a, const void *b, void *sort) {
        const struct row *x = a, *y = b;
        int r = (int)y->live_known - (int)x->live_known;

        switch (*(enum filter_sort *)sort) {
        case SORT_NAME:
                r = 0;
                break;
        case SORT_CALLS:
                r = r ?: by_calls(&x->figures, &y->figures);
                break;
        case SORT_BYTES:
        default:
                r = r ?: by_bytes(&x->figures, &y->figures);
                break;
        }
        r = r ?: strcmp(x->key, y->key);
        r = r ?: (int)y->charged - (int)x->charged;
        r = r ?: (int)x->type - (int)y->type;
        return r ?: (int)x->estimated - (int)y->estimated;
}

static void cut_rows(struct summary *s, int64_t limit) {
        while ((int64_t)s->n_rows > limit)
                row_done(&s->rows[--s->n_rows]);
}

static int copy_filter(const struct filter *from, struct filter *to) {
        *to = *from;
        memset(to->strings, 0, sizeof(to->strings));
        for (size_t i = 0; i < _FILTER_KEY_MAX; i++) {
                if (!from->strings[i])
                        continue;
                to->strings[i] = strdup(from->strings[i]);
                if (!to->strings[i])
                        return -ENOMEM;
        }
        return 0;
}

int summary_apply(struct summary *s, const struct filter *filter) {
        static const struct filter everything;
        const struct filter *f = filter ?: &everything;
        enum filter_sort sort = filter_sort(f);
        int r;

        s->total_sites = s->n_rows;
        r = copy_filter(f, &s->filter);
        if (r < 0)
                return r;
        drop_rows(s, f);
        if (filter_group(f) != GROUP_SITE) {
                r = group_rows(s, filter_group(f));
                if (r < 0)
                        return r;
        }
        qsort_r(s->rows, s->n_rows, sizeof(struct row), compare_rows, &sort);
        cut_rows(s, filter_limit(f));
        return 0;
}

void summary_cut(struct summary *s, size_t limit) {
        cut_rows(s, (int64_t)limit);
        s->filter.given |= 1u << FILTER_LIMIT;
        s->filter.integers[FILTER_LIMIT] = (int64_t)limit;
}

int summary_take_record(struct summary *s, struct allocinfo *record, const struct filter *filter) {
        static const struct filter everything;
        int r = copy_filter(filter ?: &everything, &s->filter);

        if (r < 0)
                return r;
        s->total_sites = record->total_sites;
        s->accurate = record->total.accurate && record->counting != COUNTING_OFF;
        s->record = record;
        return 0;
}

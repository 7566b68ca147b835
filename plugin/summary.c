/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Filtering, grouping, sorting and cutting of rows: in this order, so that a limit counts what the reader will see. */
#include "summary.h"

static void row_done(struct row *r) {
        free(r->key);
        free(r->function);
        free(r->module);
}

struct summary *summary_free(struct summary *s) {
        if (!s)
                return NULL;
        for (size_t i = 0; i < s->n_rows; i++)
                row_done(&s->rows[i]);
        free(s->rows);
        free(s->cgroup);
        profile_label_done(&s->label);
        filter_done(&s->filter);
        free(s);
        return NULL;
}

int64_t row_live_bytes(const struct row *r) {
        const struct tracker_counts *c = &r->counts;

        return c->allocated_bytes - c->freed_bytes - c->written_off_bytes - c->untracked_bytes;
}

int64_t row_live_calls(const struct row *r) {
        const struct tracker_counts *c = &r->counts;

        return c->allocated_calls - c->freed_calls - c->written_off_calls - c->untracked_calls;
}

/* ---- filtering ------------------------------------------------------------------------------------------------------------
 */

/* What is not known equals nothing. */
static bool equals(const struct filter *f, enum filter_key key, const char *value) {
        return !filter_has(f, key) || (value && streq(f->strings[key], value));
}

static bool within(const struct filter *f, const struct row *r) {
        int64_t bytes = row_live_bytes(r);

        if (!filter_has(f, FILTER_MIN_SIZE) && !filter_has(f, FILTER_MAX_SIZE))
                return true;
        return r->live_known && (!filter_has(f, FILTER_MIN_SIZE) || bytes >= f->integers[FILTER_MIN_SIZE]) &&
               (!filter_has(f, FILTER_MAX_SIZE) || bytes <= f->integers[FILTER_MAX_SIZE]);
}

static bool passes(const struct filter *f, const struct row *r) {
        return equals(f, FILTER_MODNAME, r->module) && equals(f, FILTER_FUNCTION, r->function) &&
               equals(f, FILTER_FILENAME, NULL) && !filter_has(f, FILTER_LINENO) &&
               equals(f, FILTER_TYPE, site_type_to_string(r->type)) &&
               (!filter_has(f, FILTER_INACCURATE) || f->booleans[FILTER_INACCURATE] == !r->accurate) &&
               (!filter_has(f, FILTER_CHARGED) || f->booleans[FILTER_CHARGED] == r->charged) && within(f, r);
}

static void drop_rows(struct summary *s, const struct filter *f) {
        size_t n = 0;

        for (size_t i = 0; i < s->n_rows; i++)
                if (passes(f, &s->rows[i]))
                        s->rows[n++] = s->rows[i];
                else
                        row_done(&s->rows[i]);
        s->n_rows = n;
}

/* ---- grouping -------------------------------------------------------------------------------------------------------------
 */

/* The name of the group that a row falls in; "unknown" and "kernel" stand for a missing function and the kernel itself. */
static const char *group_name(const struct row *r, enum filter_group by) {
        switch (by) {
        case GROUP_FUNCTION:
                return r->function ?: "unknown";
        case GROUP_MODULE:
                return !r->module ? "unknown" : r->module[0] ? r->module : "kernel";
        case GROUP_TYPE:
                return site_type_to_string(r->type);
        case GROUP_SITE:
        default:
                return r->key;
        }
}

/* Charged and uncharged are separate lenses, and estimates are not added to counts: such rows stay apart. */
static int compare_groups(const void *a, const void *b, void *by) {
        const struct row *x = a, *y = b;
        int r = strcmp(group_name(x, *(enum filter_group *)by), group_name(y, *(enum filter_group *)by));

        if (r == 0)
                r = (int)x->charged - (int)y->charged;
        return r ?: (int)x->estimated - (int)y->estimated;
}

static void add_row(struct row *to, const struct row *from) {
        struct tracker_counts *a = &to->counts;
        const struct tracker_counts *b = &from->counts;

        a->allocated_bytes += b->allocated_bytes;
        a->allocated_calls += b->allocated_calls;
        a->freed_bytes += b->freed_bytes;
        a->freed_calls += b->freed_calls;
        a->written_off_bytes += b->written_off_bytes;
        a->written_off_calls += b->written_off_calls;
        a->untracked_bytes += b->untracked_bytes;
        a->untracked_calls += b->untracked_calls;
        to->error_bytes = (int64_t)__builtin_llround(__builtin_sqrt(
                (double)to->error_bytes * (double)to->error_bytes + (double)from->error_bytes * (double)from->error_bytes));
        to->live_known = to->live_known && from->live_known;
        to->accurate = to->accurate && from->accurate;
        if (to->type != from->type)
                to->type = _TYPE_MAX;
}

/* Makes a row stand for its group: what its members do not share is not known of it. */
static int generalize(struct row *r, enum filter_group by) {
        char *key = strdup(group_name(r, by));

        if (!key)
                return -ENOMEM;
        free(r->key);
        r->key = key;
        r->offset = 0;
        if (by != GROUP_FUNCTION) {
                free(r->function);
                r->function = NULL;
        }
        if (by == GROUP_TYPE) {
                free(r->module);
                r->module = NULL;
        }
        r->grouped = true;
        return 0;
}

static int group_rows(struct summary *s, enum filter_group by) {
        size_t n = 0;

        qsort_r(s->rows, s->n_rows, sizeof(struct row), compare_groups, &by);
        for (size_t i = 0; i < s->n_rows; i++) {
                if (n > 0 && compare_groups(&s->rows[n - 1], &s->rows[i], &by) == 0) {
                        add_row(&s->rows[n - 1], &s->rows[i]);
                        row_done(&s->rows[i]);
                        continue;
                }
                s->rows[n++] = s->rows[i];
        }
        s->n_rows = n;
        for (size_t i = 0; i < n; i++)
                if (generalize(&s->rows[i], by) < 0)
                        return -ENOMEM;
        return 0;
}

/* ---- sorting --------------------------------------------------------------------------------------------------------------
 */

static int descending(int64_t a, int64_t b) {
        return a > b ? -1 : a < b;
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
                r = r ?: descending(row_live_calls(x), row_live_calls(y)) ?: descending(x->counts.allocated_calls, y->counts.allocated_calls);
                break;
        case SORT_BYTES:
        default:
                r = r ?: descending(row_live_bytes(x), row_live_bytes(y)) ?: descending(x->counts.allocated_bytes, y->counts.allocated_bytes);
                break;
        }
        r = r ?: strcmp(x->key, y->key);
        r = r ?: (int)y->charged - (int)x->charged;
        return r ?: (int)x->type - (int)y->type;
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

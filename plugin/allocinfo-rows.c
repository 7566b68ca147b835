/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See allocinfo-rows.h. Names have a fixed room in a row: there are no texts to own, and both readers cut alike.
 *
 * Invariant: what a filter lets pass is decided here for every tag, whoever filtered before.
 */
#include "allocinfo-rows.h"

#define ROOM_FIRST 64 /* most questions have few answers */

/* ---- filtering ------------------------------------------------------------------------------------------------------------
 */

static const char *last_bytes(const char *name) {
        size_t n = strlen(name);

        return n < ALLOCINFO_NAME_SIZE ? name : name + n - (ALLOCINFO_NAME_SIZE - 1);
}

void allocinfo_want(const struct filter *f, struct allocinfo_wanted *ret) {
        static const enum filter_key named[] = {FILTER_MODNAME, FILTER_FUNCTION, FILTER_FILENAME};

        *ret = (struct allocinfo_wanted){.filter = f};
        for (size_t i = 0; i < ELEMENTS(named); i++)
                if (filter_has(f, named[i]))
                        ret->names[named[i]] = last_bytes(f->strings[named[i]]);
        /* What is built in has no module; people call it so all the same. */
        if (ret->names[FILTER_MODNAME] && streq(ret->names[FILTER_MODNAME], "vmlinux"))
                ret->names[FILTER_MODNAME] = "";
}

/* A path that was cut has lost the directories that say it. */
static void tell_category(const struct allocinfo_row *row, char ret[static CATEGORY_MAX]) {
        bool whole = strlen(row->file) < ALLOCINFO_NAME_SIZE - 1;

        category_of(whole ? row->file : NULL, row->function, row->module, ret);
}

static bool is_of(const struct allocinfo_row *row, const char *wanted) {
        char category[CATEGORY_MAX];

        tell_category(row, category);
        return streq(category, wanted);
}

static bool named(const struct allocinfo_wanted *w, enum filter_key key, const char *name) {
        return !w->names[key] || streq(w->names[key], name);
}

bool allocinfo_wants(const struct allocinfo_wanted *w, const struct allocinfo_row *row) {
        const struct filter *f = w->filter;

        return named(w, FILTER_MODNAME, row->module) && named(w, FILTER_FUNCTION, row->function) &&
               named(w, FILTER_FILENAME, row->file) &&
               (!filter_has(f, FILTER_CATEGORY) || is_of(row, f->strings[FILTER_CATEGORY])) &&
               (!filter_has(f, FILTER_LINENO) || row->line == (uint64_t)f->integers[FILTER_LINENO]) &&
               (!filter_has(f, FILTER_INACCURATE) || row->accurate != f->booleans[FILTER_INACCURATE]) &&
               (!filter_has(f, FILTER_MIN_SIZE) || row->bytes >= f->integers[FILTER_MIN_SIZE]) &&
               (!filter_has(f, FILTER_MAX_SIZE) || row->bytes <= f->integers[FILTER_MAX_SIZE]);
}

/* ---- the growing list -----------------------------------------------------------------------------------------------------
 */

void allocinfo_list_done(struct allocinfo_list *l) {
        free(l->rows);
        *l = (struct allocinfo_list){};
}

struct allocinfo_row *allocinfo_list_place(struct allocinfo_list *l, int *ret_error) {
        size_t room = l->room ? 2 * l->room : ROOM_FIRST;
        struct allocinfo_row *rows;

        if (l->n == l->room) {
                *ret_error = l->n >= ALLOCINFO_TAGS_MAX ? -E2BIG : -ENOMEM;
                rows = l->n >= ALLOCINFO_TAGS_MAX ? NULL : reallocarray(l->rows, room, sizeof(*rows));
                if (!rows)
                        return NULL;
                l->rows = rows;
                l->room = room;
        }
        return memset(l->rows + l->n, 0, sizeof(*rows));
}

void allocinfo_list_keep(struct allocinfo_list *l) {
        l->n++;
}

void allocinfo_copy_name(char *to, const char *name, size_t n) {
        size_t cut = n < ALLOCINFO_NAME_SIZE ? 0 : n - (ALLOCINFO_NAME_SIZE - 1);

        memcpy(to, name + cut, n - cut);
        to[n - cut] = '\0';
}

/* ---- adding up ------------------------------------------------------------------------------------------------------------
 */

/* What has no module is the kernel itself. */
static const char *group_name(const struct allocinfo_row *row, enum filter_group group) {
        if (group == GROUP_FUNCTION)
                return row->function;
        if (group == GROUP_FILE)
                return row->file;
        if (group == GROUP_CATEGORY)
                return row->category;
        return row->module[0] ? row->module : "kernel";
}

char *allocinfo_key(const struct allocinfo_row *row, enum filter_group group) {
        const char *module = row->module;

        if (group != GROUP_SITE)
                return strdup(group_name(row, group));
        return format("%s:%llu:%s%s%s%s", row->file, (unsigned long long)row->line, row->function, module[0] ? "[" : "", module,
                module[0] ? "]" : "");
}

static int compare_names(const void *a, const void *b, void *by) {
        const struct allocinfo_row *x = a, *y = b;
        enum filter_group group = *(enum filter_group *)by;
        int r;

        if (group != GROUP_SITE)
                return strcmp(group_name(x, group), group_name(y, group));
        r = strcmp(x->file, y->file);
        if (r == 0)
                r = x->line < y->line ? -1 : x->line > y->line;
        if (r == 0)
                r = strcmp(x->function, y->function);
        return r ?: strcmp(x->module, y->module);
}

/* Figures are text from the kernel: a sum that would not fit stays at the end of the range. */
static int64_t sum(int64_t a, int64_t b) {
        int64_t s;

        return __builtin_add_overflow(a, b, &s) ? (b < 0 ? INT64_MIN : INT64_MAX) : s;
}

static void add(struct allocinfo_row *to, const struct allocinfo_row *from) {
        to->bytes = sum(to->bytes, from->bytes);
        to->calls = sum(to->calls, from->calls);
        to->accurate = to->accurate && from->accurate;
        to->tags += from->tags;
}

/* One row for all that have the same names; leaves them in the order of names. */
static size_t merge(struct allocinfo_row *rows, size_t n, enum filter_group by) {
        size_t kept = 0;

        if (n > 0)
                qsort_r(rows, n, sizeof(*rows), compare_names, &by);
        for (size_t i = 0; i < n; i++)
                if (kept > 0 && compare_names(&rows[kept - 1], &rows[i], &by) == 0)
                        add(&rows[kept - 1], &rows[i]);
                else
                        rows[kept++] = rows[i];
        return kept;
}

struct order {
        enum filter_sort sort;
        enum filter_group group;
};

static int compare_rows(const void *a, const void *b, void *data) {
        const struct allocinfo_row *x = a, *y = b;
        struct order *o = data;
        int64_t p = o->sort == SORT_CALLS ? x->calls : x->bytes, q = o->sort == SORT_CALLS ? y->calls : y->bytes;

        if (o->sort != SORT_NAME && p != q)
                return p > q ? -1 : 1;
        return compare_names(a, b, &o->group);
}

int allocinfo_list_finish(struct allocinfo_list *l, const struct filter *f, struct allocinfo *ret) {
        struct order order = {filter_sort(f), filter_group(f)};

        ret->group = order.group;
        ret->total.accurate = true;
        for (size_t i = 0; i < l->n; i++)
                add(&ret->total, &l->rows[i]);
        ret->n_rows = ret->total_sites = merge(l->rows, l->n, GROUP_SITE);
        for (size_t i = 0; i < l->n && order.group == GROUP_CATEGORY; i++)
                tell_category(&l->rows[i], l->rows[i].category);
        if (order.group != GROUP_SITE)
                ret->n_rows = merge(l->rows, ret->n_rows, order.group);
        if (ret->n_rows > 0)
                qsort_r(l->rows, ret->n_rows, sizeof(*l->rows), compare_rows, &order);
        if ((int64_t)ret->n_rows > filter_limit(f))
                ret->n_rows = (size_t)filter_limit(f);
        for (size_t i = 0; i < ret->n_rows && order.group == GROUP_SITE; i++)
                tell_category(&l->rows[i], l->rows[i].category);
        ret->rows = TAKE(l->rows);
        *l = (struct allocinfo_list){};
        return 0;
}

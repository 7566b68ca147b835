/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Filters of every mix of keys over rows made at random, against a reference that goes by the words of the manual page and
 * shares no code with summary.c.
 */
#include "unit.h"

#include "summary.h"

#define ROWS_MAX 24
#define NODES 8

/* xorshift64*: the same figures in every run. */
static uint64_t seed = 0x9e3779b97f4a7c15ull;

static int64_t below(int64_t n) {
        seed ^= seed >> 12;
        seed ^= seed << 25;
        seed ^= seed >> 27;
        return (int64_t)((seed * 2685821657736338717ull >> 16) % (uint64_t)n);
}

static bool one_in(int64_t n) {
        return below(n) == 0;
}

static const char *const functions[] = {"alloc_inode", "sk_alloc", "pte_alloc", NULL};
static const char *const modules[] = {"", "ext4", "kvm"};
static const char *const categories[] = {"mm", "fs", "fs/ext4", "other", NULL};
static const char *const types[] = {"slab", "page", "user", "percpu", "vmalloc"};
static const char *const files[] = {"mm/memory.c", "mm", "fs/pipe.c"};
static const char *const groups[] = {"site", "function", "file", "module", "category", "type", "node"};
static const char *const sorts[] = {"bytes", "calls", "name"};

/* ---- rows -------------------------------------------------------------------------------------------------------------- */

static struct figures random_figures(bool live_known) {
        struct tracker_counts c = {
                .freed_bytes = below(500), .freed_calls = below(5), .written_off_bytes = below(9), .untracked_bytes = below(9)};
        struct figures f;

        c.allocated_bytes = c.freed_bytes + below(1000) - 100;
        c.allocated_calls = c.freed_calls + below(10) - 1;
        f = (struct figures){.counts = c};
        if (!live_known) {
                f.blind_bytes = c.allocated_bytes - c.freed_bytes - c.written_off_bytes - c.untracked_bytes;
                f.blind_calls = c.allocated_calls - c.freed_calls;
                f.blind_allocated_bytes = c.allocated_bytes;
        }
        return f;
}

static void add(struct figures *to, const struct figures *from) {
        tracker_counts_add(&to->counts, &from->counts, 1);
        to->blind_bytes += from->blind_bytes;
        to->blind_calls += from->blind_calls;
        to->blind_allocated_bytes += from->blind_allocated_bytes;
}

static struct row random_row(size_t i) {
        const char *function = functions[below(ELEMENTS(functions))], *file = function && one_in(2) ? files[below(3)] : NULL;
        struct row r = {
                .key = format("%s+0x%zx", function ?: "unknown", i),
                .function = function ? strdup(function) : NULL,
                .module = function ? strdup(modules[below(ELEMENTS(modules))]) : NULL,
                .file = file ? strdup(file) : NULL,
                .has_line = file,
                .line = file ? (uint32_t)below(4) : 0,
                .has_offset = function && !file,
                .offset = file ? 0 : (uint32_t)i,
                .type = (enum site_type)below(_TYPE_MAX),
                .charged = one_in(2),
                .live_known = !one_in(5),
                .accurate = one_in(2),
                .estimated = one_in(3),
                .gfp.flags = (uint32_t)below(256),
        };
        const char *category = categories[below(ELEMENTS(categories))];
        int node = (int)below(3) - 1;

        r.category = category ? strdup(category) : NULL;
        if (one_in(2)) {
                r.figures = random_figures(r.live_known);
                return r;
        }
        r.parts = calloc(3, sizeof(struct row_part));
        for (size_t n = (size_t)below(3) + 1; n > 0; n--, node += 1 + (int)below(2)) {
                struct row_part *part = &r.parts[r.n_parts++];

                *part = (struct row_part){.node = node, .figures = random_figures(r.live_known)};
                add(&r.figures, &part->figures);
        }
        return r;
}

static struct row copy_row(const struct row *from) {
        struct row r = *from;

        r.key = strdup(from->key);
        r.file = from->file ? strdup(from->file) : NULL;
        r.function = from->function ? strdup(from->function) : NULL;
        r.module = from->module ? strdup(from->module) : NULL;
        r.category = from->category ? strdup(from->category) : NULL;
        r.parts = from->parts ? calloc(from->n_parts, sizeof(struct row_part)) : NULL;
        if (r.parts)
                memcpy(r.parts, from->parts, from->n_parts * sizeof(struct row_part));
        return r;
}

/* ---- filters ----------------------------------------------------------------------------------------------------------- */

static void want_string(struct filter *f, const char *key, const char *value) {
        assert_int_equal(filter_set_string(f, key, value, NULL), 0);
}

static void want_integer(struct filter *f, const char *key, int64_t value) {
        assert_int_equal(filter_set_integer(f, key, value, NULL), 0);
}

static void want_boolean(struct filter *f, const char *key) {
        assert_int_equal(filter_set_boolean(f, key, one_in(2), NULL), 0);
}

static void random_filter(struct filter *f) {
        if (one_in(5))
                want_string(f, "modname", modules[below(3)]);
        if (one_in(5))
                want_string(f, "function", functions[below(3)]);
        if (one_in(5))
                want_string(f, "type", types[below(5)]);
        if (one_in(30))
                want_string(f, "category", categories[below(4)]);
        if (one_in(8))
                want_string(f, "filename", files[below(3)]);
        if (one_in(12))
                want_integer(f, "lineno", below(3));
        if (one_in(4))
                want_integer(f, "min_size", below(800) - 200);
        if (one_in(4))
                want_integer(f, "max_size", below(1000) + (filter_has(f, FILTER_MIN_SIZE) ? 600 : -100));
        if (one_in(5))
                want_boolean(f, "charged");
        if (one_in(5))
                want_boolean(f, "inaccurate");
        if (one_in(4))
                want_integer(f, "node", below(4));
        if (one_in(2))
                want_string(f, "sort", sorts[below(3)]);
        if (one_in(3))
                want_integer(f, "limit", 1 + below(8));
        if (!one_in(3))
                want_string(f, "group_by", groups[below(ELEMENTS(groups))]);
        assert_int_equal(filter_check(f, NULL), 0);
}

/* ---- the reference ----------------------------------------------------------------------------------------------------- */

/* What a row of the answer has to be. */
struct wanted {
        char key[64];
        bool charged, user, estimated, live_known, accurate, seen;
        bool some_blind;
        uint32_t gfp;
        int type;             /* -1: several */
        const char *category; /* NULL: several, or not told */
        struct figures figures;
        bool on[NODES]; /* by node + 1 */
        struct figures by_node[NODES];
};

static int64_t live(const struct figures *f) {
        const struct tracker_counts *c = &f->counts;

        return c->allocated_bytes - c->freed_bytes - c->written_off_bytes - c->untracked_bytes - f->blind_bytes;
}

static bool holds(const struct filter *f, const struct row *r, const struct figures *figures) {
        const char *const *s = (const char *const *)f->strings;

        if (filter_has(f, FILTER_MODNAME) && !(r->module && streq(r->module, s[FILTER_MODNAME])))
                return false;
        if (filter_has(f, FILTER_FUNCTION) && !(r->function && streq(r->function, s[FILTER_FUNCTION])))
                return false;
        if (filter_has(f, FILTER_CATEGORY) && !(r->category && streq(r->category, s[FILTER_CATEGORY])))
                return false;
        if (filter_has(f, FILTER_TYPE) && !streq(types[r->type], s[FILTER_TYPE]))
                return false;
        if (filter_has(f, FILTER_FILENAME) && !(r->file && streq(r->file, s[FILTER_FILENAME])))
                return false;
        if (filter_has(f, FILTER_LINENO) && !(r->file && r->line == f->integers[FILTER_LINENO]))
                return false;
        if (filter_has(f, FILTER_CHARGED) && f->booleans[FILTER_CHARGED] != r->charged)
                return false;
        if (filter_has(f, FILTER_INACCURATE) && f->booleans[FILTER_INACCURATE] == r->accurate)
                return false;
        if (filter_has(f, FILTER_MIN_SIZE) && !(r->live_known && live(figures) >= f->integers[FILTER_MIN_SIZE]))
                return false;
        return !filter_has(f, FILTER_MAX_SIZE) || (r->live_known && live(figures) <= f->integers[FILTER_MAX_SIZE]);
}

static void name_group(const char *by, const struct row *r, int node, char *ret) {
        if (streq(by, "site"))
                snprintf(ret, 64, "%s", r->key);
        else if (streq(by, "function"))
                snprintf(ret, 64, "%s", r->function ?: "unknown");
        else if (streq(by, "file"))
                snprintf(ret, 64, "%s", r->file ?: "unknown");
        else if (streq(by, "module"))
                snprintf(ret, 64, "%s", !r->module ? "unknown" : streq(r->module, "") ? "kernel" : r->module);
        else if (streq(by, "category"))
                snprintf(ret, 64, "%s", r->category ?: "unknown");
        else if (streq(by, "type"))
                snprintf(ret, 64, "%s", types[r->type]);
        else if (streq(by, "node") && node >= 0)
                snprintf(ret, 64, "node%d", node);
        else
                snprintf(ret, 64, "unknown");
}

static void add_nodes(struct wanted *w, const struct row_part *parts, size_t n) {
        for (size_t i = 0; i < n; i++) {
                w->on[parts[i].node + 1] = true;
                add(&w->by_node[parts[i].node + 1], &parts[i].figures);
        }
}

/* Books a row, or its one part. */
static void book(struct wanted *all, size_t *n, const char *by, const struct row *r, const struct row_part *part) {
        const struct figures *figures = part ? &part->figures : &r->figures;
        size_t n_parts = !part ? r->n_parts : streq(by, "node") && part->node < 0 ? 0 : 1;
        struct wanted one = {.charged = r->charged,
                .user = r->type == TYPE_USER,
                .estimated = r->estimated,
                .live_known = r->live_known,
                .some_blind = !r->live_known,
                .accurate = r->accurate,
                .gfp = r->gfp.flags,
                .type = (int)r->type,
                .figures = *figures};

        if (!streq(by, "file") && !streq(by, "type") && !streq(by, "node"))
                one.category = r->category;
        name_group(by, r, part ? part->node : -1, one.key);
        for (size_t i = 0; i < *n; i++) {
                struct wanted *w = &all[i];

                if (!streq(w->key, one.key) || w->charged != one.charged || w->user != one.user ||
                        w->estimated != one.estimated)
                        continue;
                w->live_known = w->live_known || one.live_known;
                w->some_blind = w->some_blind || one.some_blind;
                w->accurate = w->accurate && one.accurate;
                w->gfp |= one.gfp;
                w->type = w->type == one.type ? w->type : -1;
                if (w->category && !(one.category && streq(w->category, one.category)))
                        w->category = NULL;
                add(&w->figures, figures);
                add_nodes(w, part ?: r->parts, n_parts);
                return;
        }
        add_nodes(&one, part ?: r->parts, n_parts);
        all[(*n)++] = one;
}

static size_t refer(const struct filter *f, const struct row *rows, size_t n_rows, struct wanted *ret) {
        const char *by = filter_has(f, FILTER_GROUP_BY) ? f->strings[FILTER_GROUP_BY] : "site";
        size_t n = 0;

        for (size_t i = 0; i < n_rows; i++) {
                const struct row *r = &rows[i];
                bool one_node = filter_has(f, FILTER_NODE);

                if (!one_node && !holds(f, r, &r->figures))
                        continue;
                if (!one_node && (!streq(by, "node") || r->n_parts == 0)) {
                        book(ret, &n, by, r, NULL);
                        continue;
                }
                for (size_t k = 0; k < r->n_parts; k++) {
                        const struct row_part *part = &r->parts[k];

                        if (!one_node || (part->node == f->integers[FILTER_NODE] && holds(f, r, &part->figures)))
                                book(ret, &n, by, r, part);
                }
        }
        for (size_t i = 0; i < n; i++)
                ret[i].accurate = ret[i].accurate && !(ret[i].some_blind && ret[i].live_known);
        return n;
}

/* ---- comparing --------------------------------------------------------------------------------------------------------- */

static void compare_row(const struct row *got, const struct wanted *w) {
        assert_memory_equal(&got->figures.counts, &w->figures.counts, sizeof(w->figures.counts));
        assert_int_equal(got->figures.blind_bytes, w->figures.blind_bytes);
        assert_int_equal(got->figures.blind_calls, w->figures.blind_calls);
        assert_int_equal(got->figures.blind_allocated_bytes, w->figures.blind_allocated_bytes);
        assert_int_equal(got->live_known, w->live_known);
        assert_int_equal(got->accurate, w->accurate);
        assert_int_equal(got->gfp.flags, w->gfp);
        assert_int_equal(!got->category, !w->category);
        if (got->category)
                assert_string_equal(got->category, w->category);
        assert_int_equal(got->type, w->type < 0 ? _TYPE_MAX : w->type);
}

/* The order as the manual page has it; 0 where it leaves it open. */
static int64_t before(const struct filter *f, const struct row *a, const struct row *b) {
        const char *sort = filter_has(f, FILTER_SORT) ? f->strings[FILTER_SORT] : "bytes";

        if (streq(sort, "name"))
                return strcmp(b->key, a->key);
        if (a->live_known != b->live_known)
                return a->live_known ? 1 : -1;
        if (!a->live_known)
                return 0;
        return streq(sort, "calls") ? figures_live_calls(&a->figures) - figures_live_calls(&b->figures)
                                    : figures_live_bytes(&a->figures) - figures_live_bytes(&b->figures);
}

static void compare_parts(const struct row *r, const struct wanted *w) {
        size_t k = 0;

        for (int node = -1; node < NODES - 1; node++) {
                if (!w->on[node + 1])
                        continue;
                assert_true(k < r->n_parts);
                assert_int_equal(r->parts[k].node, node);
                assert_memory_equal(&r->parts[k++].figures, &w->by_node[node + 1], sizeof(struct figures));
        }
        assert_int_equal(k, r->n_parts);
}

static void compare(const struct filter *f, const struct summary *s, struct wanted *wanted, size_t n) {
        size_t limit = filter_has(f, FILTER_LIMIT) ? (size_t)f->integers[FILTER_LIMIT] : SIZE_MAX;

        assert_int_equal(s->n_rows, n < limit ? n : limit);
        for (size_t i = 0; i < s->n_rows; i++) {
                const struct row *r = &s->rows[i];
                size_t k = 0;

                while (k < n && (wanted[k].seen || !streq(wanted[k].key, r->key) || wanted[k].charged != r->charged ||
                                        wanted[k].user != (r->type == TYPE_USER) || wanted[k].estimated != r->estimated))
                        k++;
                if (k == n)
                        fail_msg("%s is not wanted", r->key);
                wanted[k].seen = true;
                compare_row(r, &wanted[k]);
                compare_parts(r, &wanted[k]);
                if (i > 0)
                        assert_true(before(f, &s->rows[i - 1], r) >= 0);
        }
        /* nothing that was cut comes before what was kept */
        for (size_t k = 0; k < n; k++) {
                struct row cut = {.key = wanted[k].key, .live_known = wanted[k].live_known, .figures = wanted[k].figures};

                if (!wanted[k].seen)
                        assert_true(before(f, &s->rows[s->n_rows - 1], &cut) >= 0);
        }
}

static void run(void) {
        _cleanup_(summary_freep) struct summary *s = calloc(1, sizeof(*s));
        _cleanup_(filter_done) struct filter f = {};
        struct wanted wanted[3 * ROWS_MAX];
        struct row rows[ROWS_MAX];
        size_t n = (size_t)below(ROWS_MAX + 1);

        s->rows = calloc(n + 1, sizeof(struct row));
        s->totals.counts.allocated_bytes = 4711;
        for (size_t i = 0; i < n; i++) {
                rows[i] = random_row(i);
                s->rows[i] = copy_row(&rows[i]);
        }
        s->n_rows = n;
        random_filter(&f);
        assert_int_equal(summary_apply(s, &f), 0);
        assert_int_equal(s->total_sites, n);
        assert_int_equal(s->totals.counts.allocated_bytes, 4711);
        compare(&f, s, wanted, refer(&f, rows, n, wanted));
        for (size_t i = 0; i < n; i++)
                row_done(&rows[i]);
}

static void test_random_filters(void **state) {
        for (unsigned i = 0; i < 20000; i++)
                run();
}

int main(void) {
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_filters)};

        return cmocka_run_group_tests(tests, NULL, NULL);
}

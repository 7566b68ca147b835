/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fuzz target: the text of /proc/allocinfo. It is read twice, whole and in small pieces, which may make no difference; the
 * size of an input chooses filter and pieces, so that the input itself is nothing but the file.
 */
#include "allocinfo-rows.h"
#include "fuzz.h"

static struct {
        const uint8_t *data;
        size_t n, at, piece;
} file;

static ssize_t read_piece(int fd, void *data, size_t n) {
        size_t k = file.n - file.at;

        k = k < n ? k : n;
        k = k < file.piece ? k : file.piece;
        memcpy(data, file.data + file.at, k);
        file.at += k;
        return (ssize_t)k;
}

static int walk(const struct filter *f, size_t piece, struct allocinfo_list *l) {
        static const struct allocinfo_ops ops = {.read = read_piece};
        struct allocinfo_wanted wanted;
        char *sentence = NULL;
        int r;

        file.at = 0;
        file.piece = piece;
        allocinfo_want(f, &wanted);
        r = allocinfo_walk_text(-1, &ops, &wanted, l, &sentence);
        fuzz_check_sentence(r, sentence);
        return r;
}

/* Made once for each: filters are not what is tried here. */
static const struct filter *choose_filter(size_t n) {
        static const struct {
                const char *key, *value, *key2, *value2;
        } settings[] = {
                {"sort", "bytes", "group_by", "site"},
                {"sort", "calls", "group_by", "function"},
                {"sort", "name", "group_by", "file"},
                {"limit", "1", "group_by", "category"},
                {"min_size", "1", "max_size", "4K"},
                {"inaccurate", "yes", "group_by", "module"},
                {"modname", "vmlinux", "limit", "2"},
        };
        static struct filter filters[ELEMENTS(settings)];
        struct filter *f = &filters[n % ELEMENTS(settings)];

        n %= ELEMENTS(settings);
        if (!f->given) {
                demand(filter_set_text(f, settings[n].key, settings[n].value, NULL) == 0);
                demand(filter_set_text(f, settings[n].key2, settings[n].value2, NULL) == 0);
                demand(allocinfo_check_filter(f, NULL) == 0);
        }
        return f;
}

static bool is_name(const char name[static ALLOCINFO_NAME_SIZE]) {
        return strnlen(name, ALLOCINFO_NAME_SIZE) < ALLOCINFO_NAME_SIZE;
}

static void check_row(const struct allocinfo_row *row) {
        demand(is_name(row->file) && is_name(row->function) && is_name(row->module));
        demand(strnlen(row->category, CATEGORY_MAX) < CATEGORY_MAX);
        demand(row->calls >= 0 && row->tags >= 1);
}

static bool same(const struct allocinfo_row *a, const struct allocinfo_row *b) {
        return streq(a->file, b->file) && streq(a->function, b->function) && streq(a->module, b->module) &&
               a->line == b->line && a->bytes == b->bytes && a->calls == b->calls && a->accurate == b->accurate;
}

/* A tag written as the kernel does is the same tag. One that begins with a blank, after cutting, cannot be written. */
static void check_again(const struct allocinfo_row *row) {
        _cleanup_(allocinfo_list_done) struct allocinfo_list l = {};
        const struct filter none = {};
        _cleanup_free_ char *text = NULL;

        if (row->file[0] == ' ')
                return;
        text = format("allocinfo - version: 2.0\n%12lld %8lld %s:%llu %s%s%sfunc:%s %s\n", (long long)row->bytes,
                (long long)row->calls, row->file, (unsigned long long)row->line, row->module[0] ? "[" : "", row->module,
                row->module[0] ? "] " : "", row->function, row->accurate ? "" : "accurate:no ");
        demand(text);
        file.data = (const uint8_t *)text;
        file.n = strlen(text);
        demand(walk(&none, SIZE_MAX, &l) == 0 && l.n == 1 && same(&l.rows[0], row));
}

static void check_order(const struct allocinfo *a, const struct filter *f) {
        for (size_t i = 1; i < a->n_rows; i++) {
                if (filter_sort(f) == SORT_BYTES)
                        demand(a->rows[i - 1].bytes >= a->rows[i].bytes);
                if (filter_sort(f) == SORT_CALLS)
                        demand(a->rows[i - 1].calls >= a->rows[i].calls);
        }
}

static void check_answer(const struct allocinfo *a, const struct filter *f, size_t kept) {
        uint64_t tags = 0;

        demand(a->total.tags == kept && a->total_sites <= kept && a->n_rows <= a->total_sites);
        demand((int64_t)a->n_rows <= filter_limit(f));
        for (size_t i = 0; i < a->n_rows; i++) {
                _cleanup_free_ char *key = allocinfo_key(&a->rows[i], a->group);

                check_row(&a->rows[i]);
                demand(key);
                demand((a->rows[i].category[0] != '\0') == (a->group == GROUP_SITE || a->group == GROUP_CATEGORY));
                tags += a->rows[i].tags;
        }
        demand(filter_has(f, FILTER_LIMIT) ? tags <= kept : tags == kept);
        check_order(a, f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_(allocinfo_freep) struct allocinfo *a = calloc(1, sizeof(*a));
        _cleanup_(allocinfo_list_done) struct allocinfo_list whole = {}, pieces = {};
        const struct filter *f = choose_filter(size);
        size_t kept;
        int r;

        demand(a);
        file.data = data;
        file.n = size;
        r = walk(f, SIZE_MAX, &whole);
        demand(walk(f, 1 + size % 61, &pieces) == r && pieces.n == whole.n);
        for (size_t i = 0; i < whole.n; i++) {
                check_row(&whole.rows[i]);
                demand(same(&whole.rows[i], &pieces.rows[i]));
        }
        if (r == 0 && whole.n > 0)
                check_again(&whole.rows[whole.n / 2]);
        kept = whole.n;
        if (r == 0) {
                demand(allocinfo_list_finish(&whole, f, a) == 0);
                check_answer(a, f, kept);
        }
        allocinfo_list_done(&pieces);
        return 0;
}

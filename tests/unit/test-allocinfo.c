/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Both readers of allocinfo on a made-up kernel: that they give the same rows for any filter, that the kernel is asked for what
 * it can answer, and what happens when it changes or goes away meanwhile.
 */
#include "machine.h"

#include "fake-allocinfo.h"

#define LONG_A "an_out_of_tree_driver_with_very_deep_directories/and_a_subsystem/and_then_some_more/file.c"
#define LONG_B "another_out_of_tree_driver_with_very_deep_directories/and_a_subsystem/and_then_some_more/file.c"
#define LONG_FUNCTION "a_function_that_somebody_gave_a_name_of_more_than_sixty_four_bytes_for_no_reason"

static const struct fake_tag tags[] = {
        {"mm/slub.c", 3061, "alloc_slab_page", NULL, 90112, 22, true},
        {"kernel/fork.c", 307, "alloc_thread_stack_node", NULL, 65536, 4},
        {"kernel/fork.c", 1700, "dup_mm", NULL, -128, 0},
        {"include/linux/slab.h", 900, "kzalloc", NULL, 4096, 1},
        {"include/linux/slab.h", 900, "kzalloc", NULL, 8192, 2, true},
        {"include/linux/slab.h", 900, "kzalloc", "veth", 100, 1},
        {"drivers/net/veth.c", 12, "veth_open", "veth", 0, 0},
        {"drivers/net/veth.c", 12, "veth_open", "veth", 2048, 2},
        {"fs/inode.c", 250, "alloc_inode", "vmlinux", 77, 1}, /* a module that calls itself so */
        {LONG_A, 1, "f", "deep", 10, 1},
        {LONG_B, 1, "f", "deep", 20, 1},
        {"net/core/sock.c", 9, LONG_FUNCTION, NULL, 333, 3},
        {"net/core/sock.c", 10, "sk_alloc", NULL, INT64_MAX, UINT64_MAX},
        {"net/core/sock.c", 10, "sk_alloc", NULL, 5, 5},
        {"net/core/sock.c", 11, "sk_less", NULL, INT64_MIN, 0},
};

static void add_text(const struct machine *m, const char *path, const char *text, mode_t mode) {
        machine_add(m, path, text, strlen(text), mode);
}

static int machine_make(void **state) {
        struct machine *m = machine_new();

        add_text(m, "/proc/allocinfo", "", 0400); /* what is read is the fake's */
        add_text(m, "/proc/sys/vm/mem_profiling", "1\n", 0644);
        fake_boot(tags, ELEMENTS(tags));
        *state = m;
        return 0;
}

/* ---- reading ---- */

static struct allocinfo *read_by(const struct machine *m, const struct allocinfo_ops *ops, const struct filter *f) {
        _cleanup_free_ char *sentence = NULL;
        struct allocinfo *a = NULL;

        fake_reopen();
        if (allocinfo_read(m->root, ops, f, &a, &sentence) < 0)
                fail_msg("not read: %s", sentence ? sentence : "?");
        return a;
}

static int refused(const struct machine *m, const struct allocinfo_ops *ops, const struct filter *f, const char *says) {
        _cleanup_free_ char *sentence = NULL;
        struct allocinfo *a = NULL;
        int r;

        fake_reopen();
        r = allocinfo_read(m->root, ops, f, &a, &sentence);
        assert_null(a);
        if (r >= 0)
                fail_msg("read, though it should say: %s", says);
        assert_sentence(&sentence, says);
        return r;
}

static void set(struct filter *f, const char *key, const char *value) {
        _cleanup_free_ char *sentence = NULL;

        if (filter_set_text(f, key, value, &sentence) < 0)
                fail_msg("%s", sentence);
}

static void same_rows(const struct allocinfo *a, const struct allocinfo *b) {
        assert_int_equal(a->n_rows, b->n_rows);
        assert_int_equal(a->total_sites, b->total_sites);
        assert_memory_equal(&a->total, &b->total, sizeof(a->total));
        for (size_t i = 0; i < a->n_rows; i++) {
                _cleanup_free_ char *x = allocinfo_key(&a->rows[i], a->group), *y = allocinfo_key(&b->rows[i], b->group);

                assert_string_equal(x, y);
                assert_int_equal(a->rows[i].bytes, b->rows[i].bytes);
                assert_int_equal(a->rows[i].calls, b->rows[i].calls);
                assert_int_equal(a->rows[i].accurate, b->rows[i].accurate);
                assert_int_equal(a->rows[i].tags, b->rows[i].tags);
        }
}

/* By ioctl, after the text gave the same. */
static struct allocinfo *read_both(const struct machine *m, const struct filter *f) {
        _cleanup_(allocinfo_freep) struct allocinfo *text = read_by(m, &fake_ops_text, f);
        struct allocinfo *a = read_by(m, &fake_ops, f);

        assert_int_equal(text->source, ALLOCINFO_TEXT);
        assert_int_equal(a->source, ALLOCINFO_IOCTL);
        assert_int_equal(a->content_id, 7);
        same_rows(a, text);
        return a;
}

static const struct allocinfo_row *find(const struct allocinfo *a, const char *key) {
        for (size_t i = 0; i < a->n_rows; i++) {
                _cleanup_free_ char *k = allocinfo_key(&a->rows[i], a->group);

                if (streq(k, key))
                        return &a->rows[i];
        }
        fail_msg("there is no row %s", key);
        return NULL;
}

/* How many rows `key`=`value` lets pass. */
static size_t count(const struct machine *m, const char *key, const char *value) {
        _cleanup_(allocinfo_freep) struct allocinfo *a = NULL;
        _cleanup_(filter_done) struct filter f = {};

        set(&f, key, value);
        a = read_both(m, &f);
        return a->n_rows;
}

static void everything(void **state) {
        _cleanup_(allocinfo_freep) struct allocinfo *a = read_both(*state, NULL);
        const struct allocinfo_row *row = find(a, "include/linux/slab.h:900:kzalloc");

        assert_int_equal(a->n_rows, 11);
        assert_int_equal(a->total.tags, ELEMENTS(tags));
        assert_false(a->total.accurate);
        /* Tags that look the same are one row, accurate when all of them are. */
        assert_int_equal(row->bytes, 12288);
        assert_int_equal(row->calls, 3);
        assert_int_equal(row->tags, 2);
        assert_false(row->accurate);
        assert_int_equal(find(a, "include/linux/slab.h:900:kzalloc[veth]")->bytes, 100);
        assert_true(find(a, "kernel/fork.c:1700:dup_mm")->accurate);
        assert_int_equal(find(a, "kernel/fork.c:1700:dup_mm")->bytes, -128);
        /* Largest first; a sum that does not fit stays at the end of the range. */
        assert_int_equal(a->rows[0].bytes, INT64_MAX);
        assert_int_equal(a->rows[0].calls, INT64_MAX);
        assert_int_equal(a->rows[10].bytes, INT64_MIN);
}

static void names_are_exact(void **state) {
        const struct machine *m = *state;

        assert_int_equal(count(m, "filename", "kernel/fork.c"), 2);
        assert_int_equal(count(m, "filename", "fork.c"), 0);
        assert_int_equal(count(m, "filename", ""), 0);
        assert_int_equal(count(m, "function", "kzalloc"), 2);
        assert_int_equal(count(m, "function", "kzallo"), 0);
        assert_int_equal(count(m, "modname", "veth"), 2);
        assert_int_equal(count(m, "lineno", "10"), 1);
        assert_int_equal(count(m, "inaccurate", "yes"), 2);
        assert_int_equal(count(m, "inaccurate", "no"), 10);
}

static void built_in_has_two_names(void **state) {
        const struct machine *m = *state;
        size_t n = count(m, "modname", "");

        assert_int_equal(n, 7);
        assert_int_equal(count(m, "modname", "vmlinux"), n);
        assert_int_equal(fake.asked.mask, UAPI_MODNAME);
        assert_int_equal(fake.asked.fields.modname[0], '\0');
}

static void long_names(void **state) {
        const struct machine *m = *state;
        _cleanup_(allocinfo_freep) struct allocinfo *a = NULL;
        _cleanup_(filter_done) struct filter f = {};
        const char *end = LONG_A + strlen(LONG_A) - 63;

        /* They end in the same 63 bytes, and more is not told of them. */
        set(&f, "filename", LONG_A);
        a = read_both(m, &f);
        assert_int_equal(a->n_rows, 1);
        assert_string_equal(a->rows[0].file, end);
        assert_int_equal(a->rows[0].tags, 2);
        assert_int_equal(a->rows[0].bytes, 30);
        assert_string_equal(fake.asked.fields.filename, end);
        assert_int_equal(count(m, "filename", end), 1);
        assert_int_equal(count(m, "filename", end + 1), 0);
        assert_int_equal(count(m, "function", LONG_FUNCTION), 1);
        assert_int_equal(count(m, "function", &LONG_FUNCTION[1]), 1);
}

static void sizes_are_signed(void **state) {
        static const struct {
                const char *min, *max;
                size_t n;
                uint64_t mask, asked_min, asked_max;
        } cases[] = {
                {"4096", NULL, 4, UAPI_MIN_SIZE, 4096, 0},
                {NULL, "100", 7, 0, 0, 0}, /* negative ones would be lost */
                {"0", "100", 5, UAPI_MIN_SIZE | UAPI_MAX_SIZE, 0, 100},
                {"-200", NULL, 10, 0, 0, 0},
                {"-200", "4", 2, 0, 0, 0},
                {NULL, "-1", 2, UAPI_MIN_SIZE | UAPI_MAX_SIZE, (uint64_t)INT64_MIN, (uint64_t)-1},
                {"-200", "-1", 1, UAPI_MIN_SIZE | UAPI_MAX_SIZE, (uint64_t)-200, (uint64_t)-1},
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_(allocinfo_freep) struct allocinfo *a = NULL;
                _cleanup_(filter_done) struct filter f = {};

                if (cases[i].min)
                        assert_int_equal(filter_set_integer(&f, "min_size", atoll(cases[i].min), NULL), 0);
                if (cases[i].max)
                        assert_int_equal(filter_set_integer(&f, "max_size", atoll(cases[i].max), NULL), 0);
                a = read_both(*state, &f);
                if (a->n_rows != cases[i].n)
                        fail_msg("case %zu: %zu rows of %llu tags", i, a->n_rows, (unsigned long long)a->total.tags);
                assert_int_equal(fake.asked.mask, cases[i].mask);
                assert_int_equal(fake.asked.min_size, cases[i].asked_min);
                assert_int_equal(fake.asked.max_size, cases[i].asked_max);
        }
}

/* The kernel is asked for what it can answer, and no oftener than there are answers. */
static void pushed_down(void **state) {
        _cleanup_(allocinfo_freep) struct allocinfo *a = NULL;
        _cleanup_(filter_done) struct filter f = {};

        set(&f, "filename", "include/linux/slab.h");
        set(&f, "function", "kzalloc");
        set(&f, "modname", "veth");
        set(&f, "lineno", "900");
        set(&f, "min_size", "1");
        set(&f, "max_size", "1K");
        set(&f, "inaccurate", "no");
        a = read_both(*state, &f);
        assert_int_equal(a->n_rows, 1);
        assert_int_equal(fake.asked.mask, UAPI_MASKS);
        assert_int_equal(fake.position, 0);
        assert_int_equal(fake.gets, 2);  /* the tag and the end */
        assert_int_equal(fake.calls, 4); /* and the content id before and after */
}

/* A filter that matches nothing is stored all the same, and stays: each walk has to begin with one of its own. */
static void filter_persists(void **state) {
        const struct machine *m = *state;
        _cleanup_(allocinfo_freep) struct allocinfo *a = NULL;
        static const struct filter none;
        struct allocinfo_wanted wanted;
        _cleanup_(allocinfo_list_done) struct allocinfo_list l = {};
        struct uapi_tag_data data;
        struct uapi_get_at at = {.pos = 1000, .filter = {.mask = UAPI_LINENO, .fields = {.lineno = 307}}};

        assert_int_equal(count(m, "function", "nobody"), 0);
        assert_int_equal(fake.filter.mask, UAPI_FUNCTION);
        /* A position behind all tags: the former filter stays. And the end of a listing is its beginning. */
        assert_int_equal(fake_ops.ioctl(-1, UAPI_GET_AT, &at), -ENOENT);
        assert_int_equal(fake.filter.mask, UAPI_FUNCTION);
        assert_int_equal(fake_ops.ioctl(-1, UAPI_GET_NEXT, &data), -ENOENT);
        at.pos = 0;
        assert_int_equal(fake_ops.ioctl(-1, UAPI_GET_AT, &at), 0);
        assert_int_equal(fake_ops.ioctl(-1, UAPI_GET_NEXT, &data), -ENOENT);
        assert_int_equal(fake_ops.ioctl(-1, UAPI_GET_NEXT, &data), 0);
        assert_int_equal(data.tag.lineno, 307);
        /* On that very file a walk for everything finds everything, once. */
        allocinfo_want(&none, &wanted);
        assert_int_equal(allocinfo_walk_ioctl(-1, &fake_ops, &wanted, &l), 0);
        assert_int_equal(l.n, ELEMENTS(tags));
}

static void sorted_grouped_cut(void **state) {
        static const char *const sorts[] = {"bytes", "calls", "name"}, *const groups[] = {"function", "file", "module"};
        static const size_t n[] = {10, 7, 4};

        for (size_t i = 0; i < ELEMENTS(sorts); i++) {
                _cleanup_(allocinfo_freep) struct allocinfo *a = NULL;
                _cleanup_(filter_done) struct filter f = {};

                set(&f, "sort", sorts[i]);
                set(&f, "limit", "4");
                a = read_both(*state, &f);
                assert_int_equal(a->n_rows, 4);
                assert_int_equal(a->total_sites, 11);
                assert_int_equal(a->total.tags, ELEMENTS(tags)); /* over the whole, whatever is shown */
        }
        for (size_t i = 0; i < ELEMENTS(groups); i++) {
                _cleanup_(allocinfo_freep) struct allocinfo *a = NULL;
                _cleanup_(filter_done) struct filter f = {};

                set(&f, "group_by", groups[i]);
                a = read_both(*state, &f);
                assert_int_equal(a->total_sites, 11);
                if (i == 0)
                        assert_int_equal(find(a, "kzalloc")->bytes, 12388);
                else if (i == 1)
                        assert_int_equal(find(a, "kernel/fork.c")->bytes, 65408);
                else
                        assert_int_equal(find(a, "veth")->bytes, 2148);
                assert_int_equal(a->n_rows, n[i]);
        }
}

static const struct allocinfo_row *of_category(const struct allocinfo *a, const char *category) {
        for (size_t i = 0; i < a->n_rows; i++)
                if (streq(a->rows[i].category, category))
                        return &a->rows[i];
        fail_msg("no row of category %s", category);
        return NULL;
}

/* By the path; by the module when the path was cut, because then it begins anywhere. */
static void categories(void **state) {
        _cleanup_(allocinfo_freep) struct allocinfo *sites = read_both(*state, NULL), *groups = NULL, *net = NULL;
        _cleanup_(filter_done) struct filter by = {}, only = {};
        uint64_t found = 0;

        for (size_t i = 0; i < sites->n_rows; i++)
                assert_string_not_equal(sites->rows[i].category, "");
        assert_string_equal(find(sites, "mm/slub.c:3061:alloc_slab_page")->category, "slab");
        set(&by, "group_by", "category");
        groups = read_both(*state, &by);
        for (size_t i = 0; i < groups->n_rows; i++)
                found += groups->rows[i].tags;
        assert_int_equal(found, ELEMENTS(tags));
        assert_int_equal(of_category(groups, "kernel")->bytes, 65408);
        assert_int_equal(of_category(groups, "module:deep")->bytes, 30);
        set(&only, "category", "net");
        net = read_both(*state, &only);
        assert_int_equal(net->n_rows, 3);
        assert_int_equal(net->total.tags, 4);
}

/* How many tags pass, by a look at each of them. */
static size_t passing(const struct filter *f) {
        size_t n = 0;

        for (size_t i = 0; i < ELEMENTS(tags); i++) {
                const struct fake_tag *t = &tags[i];
                const char *file = f->strings[FILTER_FILENAME], *module = f->strings[FILTER_MODNAME];
                bool deep = startswith(t->file, "an"), built_in = module && (!*module || streq(module, "vmlinux"));

                n += (!file || streq(file, t->file) || (deep && streq(file, LONG_B))) &&
                     (!module || (built_in ? !t->module : t->module && streq(module, t->module))) &&
                     (!filter_has(f, FILTER_MIN_SIZE) || t->bytes >= f->integers[FILTER_MIN_SIZE]) &&
                     (!filter_has(f, FILTER_MAX_SIZE) || t->bytes <= f->integers[FILTER_MAX_SIZE]) &&
                     (!filter_has(f, FILTER_INACCURATE) || t->inaccurate == f->booleans[FILTER_INACCURATE]);
        }
        return n;
}

/* Any filter at all: the same rows both ways, and those that a look at every tag finds. */
static void random_filters(void **state) {
        static const char *const files[] = {"mm/slub.c", "include/linux/slab.h", "net/core/sock.c", LONG_B, "nothing.c"},
                                 *const modules[] = {"", "vmlinux", "veth", "deep", "none"};
        static const int64_t sizes[] = {INT64_MIN, -129, -128, 0, 5, 100, 4096, 65536, INT64_MAX};

        srandom(20);
        for (size_t i = 0; i < 3000; i++) {
                _cleanup_(allocinfo_freep) struct allocinfo *a = NULL;
                _cleanup_(filter_done) struct filter f = {};
                long which = random();
                int64_t x = sizes[random() % 9], y = sizes[random() % 9];

                if (which & 1)
                        set(&f, "filename", files[random() % 5]);
                if (which & 2)
                        set(&f, "modname", modules[random() % 5]);
                if (which & 4)
                        assert_int_equal(filter_set_integer(&f, "min_size", x < y ? x : y, NULL), 0);
                if (which & 8)
                        assert_int_equal(filter_set_integer(&f, "max_size", x < y ? y : x, NULL), 0);
                if (which & 16)
                        set(&f, "inaccurate", which & 32 ? "yes" : "no");
                fake.piece = which & 64 ? 1 + (size_t)(random() % 200) : 0;
                a = read_both(*state, &f);
                assert_int_equal(a->total.tags, passing(&f));
        }
}

/* ---- a kernel that does not stand still ---- */

static const struct fake_tag other[] = {
        {"drivers/new.c", 1, "new_one", "new", 1, 1},
        {"kernel/fork.c", 307, "alloc_thread_stack_node", NULL, 65536, 4},
};

static void module_during_walk(void **state) {
        const struct machine *m = *state;

        for (unsigned at = 2; at <= ELEMENTS(tags) + 3; at++) {
                _cleanup_(allocinfo_freep) struct allocinfo *a = NULL;

                fake_boot(tags, ELEMENTS(tags));
                fake.change_at = at;
                fake.changed = other;
                fake.n_changed = ELEMENTS(other);
                a = read_by(m, &fake_ops, NULL);
                assert_int_equal(a->retries, 1);
                assert_int_equal(a->content_id, 8);
                assert_int_equal(a->n_rows, 2);
                assert_int_equal(a->total.tags, 2);
        }
}

static void modules_without_end(void **state) {
        fake.change_at = 2;
        fake.change_every = 1;
        fake.changed = other;
        fake.n_changed = ELEMENTS(other);
        assert_int_equal(refused(*state, &fake_ops, NULL, "came and went"), -EAGAIN);
        assert_true(fake.calls < 11 * (ELEMENTS(tags) + 3)); /* bounded */
}

static void shutdown_by_ioctl(void **state) {
        for (unsigned at = 2; at <= ELEMENTS(tags) + 3; at++) {
                fake.shut_down_at = at;
                assert_int_equal(refused(*state, &fake_ops, NULL, "shut its allocation profiling down"), -ESHUTDOWN);
        }
        fake.shut_down_at = 3;
        fake.error_at_shutdown = EIO;
        assert_int_equal(refused(*state, &fake_ops, NULL, "shut its allocation profiling down"), -ESHUTDOWN);
        fake.error_at_shutdown = EFAULT;
        assert_int_equal(refused(*state, &fake_ops, NULL, strerror(EFAULT)), -EFAULT);
}

/* The first call of all fails with ENOTTY: so does a kernel without ioctls, but there reading works. */
static void shutdown_by_text(void **state) {
        for (unsigned at = 1; at <= 3; at++) {
                fake.piece = 100;
                fake.shut_down_at = at;
                assert_int_equal(refused(*state, &fake_ops_text, NULL, "shut its allocation profiling down"), -ESHUTDOWN);
        }
        fake.shut_down_at = 1;
        assert_int_equal(refused(*state, &fake_ops, NULL, "shut its allocation profiling down"), -ESHUTDOWN);
}

static void interrupted(void **state) {
        _cleanup_(allocinfo_freep) struct allocinfo *a = NULL;

        fake.interrupt = 2;
        fake.piece = 50;
        a = read_by(*state, &fake_ops_text, NULL);
        assert_int_equal(a->total.tags, ELEMENTS(tags));
}

static void endless_kernel(void **state) {
        struct fake_tag *many = calloc(ALLOCINFO_TAGS_MAX + 2, sizeof(*many));

        assert_non_null(many);
        for (size_t i = 0; i < ALLOCINFO_TAGS_MAX + 2; i++)
                many[i] = tags[0];
        fake_boot(many, ALLOCINFO_TAGS_MAX + 2);
        assert_int_equal(refused(*state, &fake_ops, NULL, "more than"), -E2BIG);
        free(many);
}

/* ---- text ---- */

#define TITLE_1 "allocinfo - version: 1.0\n#     <size>  <calls> <tag info>\n"
#define TITLE_2 "allocinfo - version: 2.0\n#     <size>  <calls> <tag info>\n"

static struct allocinfo *read_text(const struct machine *m, const char *text) {
        fake.text = text;
        return read_by(m, &fake_ops_text, NULL);
}

static void odd_text(void **state) {
        const struct machine *m = *state;
        _cleanup_(allocinfo_freep) struct allocinfo *empty = read_text(m, TITLE_1), *odd = NULL;

        assert_int_equal(empty->n_rows, 0);
        odd = read_text(m, TITLE_2 "1 1 /usr/src/a [b] c/d:e.c:7 [mod] func:f \n"
                                   "           2        2 x func:y.c:8 func:g accurate:no \n"
                                   "3 3 z.c:9 func:h later:yes accurate:no\n"
                                   "4 4 w\x1b[2J.c:10 func:\xff\n");
        assert_int_equal(find(odd, "/usr/src/a [b] c/d:e.c:7:f[mod]")->bytes, 1);
        assert_false(find(odd, "x func:y.c:8:g")->accurate);
        assert_false(find(odd, "z.c:9:h")->accurate);
        assert_int_equal(find(odd, "w\x1b[2J.c:10:\xff")->calls, 4);
}

static void garbage(void **state) {
        static const struct {
                const char *text, *says;
        } cases[] = {
                {"", "empty"},
                {"\n", "Line 1"},
                {"hello\n", "Line 1 of /proc/allocinfo is not the title of allocinfo: \"hello\""},
                {"allocinfo - version: 3.0\n", "version that is not known"},
                {"allocinfo - version: 2.0", "Line 1 of /proc/allocinfo does not end"},
                {TITLE_2 "\n", "Line 3 of /proc/allocinfo is no tag"},
                {TITLE_2 "1 1 a.c:1 func:f \nx 1 a.c:1 func:f \n",
                        "Line 4 of /proc/allocinfo is no tag: \"x 1 a.c:1 func:f \""},
                {TITLE_2 "1 -1 a.c:1 func:f\n", "Line 3"},
                {TITLE_2 "1 1 a.c:1 fun:f\n", "Line 3"},
                {TITLE_2 "1 1 a.c:1 func:\n", "Line 3"},
                {TITLE_2 "1 1 a.c:1 func: f\n", "Line 3"},
                {TITLE_2 "1 1 a.c func:f\n", "Line 3"},
                {TITLE_2 "1 1 a.c:x func:f\n", "Line 3"},
                {TITLE_2 "1 1 :1 func:f\n", "Line 3"},
                {TITLE_2 "1 1 a.c:1 [] func:f\n", "Line 3"},
                {TITLE_2 "1 1 [m] func:f\n", "Line 3"},
                {TITLE_2 "1 1 a.c:1 func:f inaccurate\n", "Line 3"},
                {TITLE_2 "99999999999999999999 1 a.c:1 func:f\n", "Line 3"},
                {TITLE_2 "1\n", "Line 3"},
                {TITLE_2 "1 1 a\x1b[2J\n", "\\x1b[2J"},
                {TITLE_2 "1 1 a.c:1 func:f", "Line 3 of /proc/allocinfo does not end"},
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                fake.text = cases[i].text;
                assert_int_equal(refused(*state, &fake_ops_text, NULL, cases[i].says), -EBADMSG);
        }
}

/* Every line cut anywhere, and every byte of it wrong: rows or a sentence, and the sanitizers see the rest. */
static void broken_text(void **state) {
        const struct machine *m = *state;
        char text[] = TITLE_2 "-12 3 a/b.c:4 [mod] func:f accurate:no \n";

        for (size_t i = 0; i < sizeof(text) - 1; i++)
                for (int wrong = 0; wrong < 256; wrong += 17) {
                        _cleanup_(allocinfo_freep) struct allocinfo *a = NULL;
                        _cleanup_free_ char *sentence = NULL;
                        char right = text[i];

                        text[i] = (char)wrong;
                        fake.text = text;
                        fake_reopen();
                        if (allocinfo_read(m->root, &fake_ops_text, NULL, &a, &sentence) < 0)
                                assert_non_null(sentence);
                        text[i] = right;
                }
}

static void long_line(void **state) {
        _cleanup_free_ char *text = malloc(200000);

        memset(text, 'a', 200000);
        memcpy(text, TITLE_2, strlen(TITLE_2));
        text[199999] = '\0';
        fake.text = text;
        assert_int_equal(refused(*state, &fake_ops_text, NULL, "Line 3 of /proc/allocinfo does not end"), -EBADMSG);
}

/* Recorded texts, read as files. */
static void fixtures(void **state) {
        static const struct {
                const char *root;
                size_t rows, tags;
        } kernels[] = {{FIXTURES "/allocinfo/6.12", 12, 13}, {FIXTURES "/allocinfo/7.2", 14, 17}};

        for (size_t i = 0; i < ELEMENTS(kernels); i++) {
                _cleanup_(allocinfo_freep) struct allocinfo *a = NULL;
                _cleanup_free_ char *sentence = NULL;

                if (allocinfo_read(kernels[i].root, &allocinfo_ops_live, NULL, &a, &sentence) < 0)
                        fail_msg("%s: %s", kernels[i].root, sentence);
                assert_int_equal(a->source, ALLOCINFO_TEXT);
                assert_int_equal(a->counting, COUNTING_ON);
                assert_int_equal(a->n_rows, kernels[i].rows);
                assert_int_equal(a->total.tags, kernels[i].tags);
                assert_int_equal(a->total.accurate, i == 0);
        }
}

/* ---- states ---- */

static void expect_state(const struct machine *m, enum allocinfo_state state, const char *says, int error) {
        struct allocinfo_status s = {};

        fake_reopen();
        assert_int_equal(allocinfo_probe(m->root, &fake_ops, &s), 0);
        if (s.state != state || !strstr(s.reason, says))
                fail_msg("state %d: %s", s.state, s.reason);
        assert_null(strchr(s.reason, '\n'));
        allocinfo_status_done(&s);
        if (error < 0)
                assert_int_equal(refused(m, &fake_ops, NULL, says), error);
}

static void remove_file(const struct machine *m, const char *path) {
        _cleanup_free_ char *full = format("%s%s", m->root, path);

        assert_int_equal(unlink(full), 0);
}

static void states_with_file(void **state) {
        const struct machine *m = *state;

        expect_state(m, ALLOCINFO_IOCTL, "content id 7", 0);
        fake.no_ioctl = true;
        expect_state(m, ALLOCINFO_TEXT, "no ioctl", 0);
        add_text(m, "/proc/sys/vm/mem_profiling", "0\n", 0644);
        expect_state(m, ALLOCINFO_TEXT, "vm.mem_profiling is 0", 0);
        fake.no_ioctl = false;
        expect_state(m, ALLOCINFO_IOCTL, "vm.mem_profiling is 0", 0);
        /* As 6.12 does when it was booted with never, and with what it says on its command line. */
        add_text(m, "/proc/sys/vm/mem_profiling", "0\n", 0444);
        expect_state(m, ALLOCINFO_NEVER, "zeros only", -EOPNOTSUPP);
        add_text(m, "/proc/sys/vm/mem_profiling", "0\n", 0644);
        add_text(m, "/proc/cmdline", "quiet sysctl.vm.mem_profiling=never ro\n", 0444);
        expect_state(m, ALLOCINFO_NEVER, "zeros only", -EOPNOTSUPP);
        add_text(m, "/proc/sys/vm/mem_profiling", "1\n", 0444); /* CONFIG_MEM_ALLOC_PROFILING_DEBUG */
        expect_state(m, ALLOCINFO_IOCTL, "content id 7", 0);
        fake.shut_down_at = 1;
        fake.error_at_shutdown = EFAULT;
        expect_state(m, ALLOCINFO_BROKEN, strerror(EFAULT), -EIO);
}

static void states_without_file(void **state) {
        const struct machine *m = *state;

        remove_file(m, "/proc/allocinfo");
        add_text(m, "/proc/sys/vm/mem_profiling", "0\n", 0644);
        expect_state(m, ALLOCINFO_NEVER, "was not booted with", -EOPNOTSUPP);
        add_text(m, "/proc/cmdline", "quiet sysctl.vm.mem_profiling=never ro\n", 0444);
        expect_state(m, ALLOCINFO_NEVER, "mem_profiling=never", -EOPNOTSUPP);
        add_text(m, "/proc/cmdline", "sysctl.vm.mem_profiling=never sysctl.vm.mem_profiling=1,compressed\n", 0444);
        expect_state(m, ALLOCINFO_SHUT, "any more", -ESHUTDOWN);
        remove_file(m, "/proc/sys/vm/mem_profiling");
        expect_state(m, ALLOCINFO_ABSENT, "CONFIG_MEM_ALLOC_PROFILING", -EOPNOTSUPP);
}

static void no_rights(void **state) {
        const struct machine *m = *state;

        if (geteuid() == 0) {
                /* Root may open all: seteuid() makes this process somebody else for the moment. */
                assert_int_equal(chmod(m->root, 0755), 0);
                _cleanup_free_ char *proc = format("%s/proc", m->root);
                assert_int_equal(chmod(proc, 0755), 0);
                assert_int_equal(seteuid(65534), 0);
        } else {
                _cleanup_free_ char *file = format("%s/proc/allocinfo", m->root);
                assert_int_equal(chmod(file, 0000), 0);
        }
        expect_state(m, ALLOCINFO_DENIED, "only root", -EACCES);
        if (getuid() == 0)
                assert_int_equal(seteuid(0), 0);
}

static void compressed(void **state) {
        const struct machine *m = *state;
        struct allocinfo_status s = {};

        add_text(m, "/proc/sys/vm/mem_profiling_compressed", "1\n", 0444);
        assert_int_equal(allocinfo_probe(m->root, &fake_ops, &s), 0);
        assert_true(s.compressed);
        allocinfo_status_done(&s);
}

static void foreign_keys(void **state) {
        static const struct {
                const char *key, *value;
        } keys[] = {{"type", "slab"}, {"charged", "yes"}, {"node", "0"}, {"pid", "1"}, {"older_than_us", "1"},
                {"group_by", "node"}, {"group_by", "type"}};

        for (size_t i = 0; i < ELEMENTS(keys); i++) {
                _cleanup_(filter_done) struct filter f = {};
                _cleanup_free_ char *sentence = NULL;

                set(&f, keys[i].key, keys[i].value);
                assert_int_equal(allocinfo_check_filter(&f, &sentence), -EINVAL);
                assert_sentence(&sentence, keys[i].key);
        }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, machine_make, machine_done)

int main(void) {
        static const struct CMUnitTest tests[] = {
                TEST(everything),
                TEST(names_are_exact),
                TEST(built_in_has_two_names),
                TEST(long_names),
                TEST(sizes_are_signed),
                TEST(pushed_down),
                TEST(filter_persists),
                TEST(sorted_grouped_cut),
                TEST(categories),
                TEST(random_filters),
                TEST(module_during_walk),
                TEST(modules_without_end),
                TEST(shutdown_by_ioctl),
                TEST(shutdown_by_text),
                TEST(interrupted),
                TEST(endless_kernel),
                TEST(odd_text),
                TEST(garbage),
                TEST(broken_text),
                TEST(long_line),
                TEST(fixtures),
                TEST(states_with_file),
                TEST(states_without_file),
                TEST(no_rights),
                TEST(compressed),
                TEST(foreign_keys),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}

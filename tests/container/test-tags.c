/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sites by the kernel's alloc tags: what each sort of memory is called, that it is counted one by one, and that the kernel's
 * own counters of the same sites (/proc/allocinfo, which is of the whole host) moved by as much.
 */
#include <fcntl.h>
#include <search.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "subject.h"

/* ---- what subjects do ---------------------------------------------------------------------------------------------------- */

#define FILES 1500
#define TABLES 64 /* page tables: one for each 2 MiB that a page is touched in */

static void hold_files(void) {
        for (int i = 0; i < FILES; i++) {
                held[i] = memfd_create("tagged", MFD_CLOEXEC);
                must(held[i] >= 0 && write(held[i], "x", 1) == 1, "memfd_create");
        }
}

static char *tables;

static void hold_page_tables(void) {
        tables = mmap(NULL, (size_t)TABLES << 21, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        must(tables != MAP_FAILED, "mmap");
        must(madvise(tables, (size_t)TABLES << 21, MADV_NOHUGEPAGE) == 0, "madvise");
        for (size_t i = 0; i < TABLES; i++)
                tables[i << 21] = 1;
}

static void drop_page_tables(void) {
        must(munmap(tables, (size_t)TABLES << 21) == 0, "munmap");
}

/* Pipes with what is in them: pages of pipe_write(). */
static void hold_full_pipes(void) {
        hold_pipes();
        for (int i = 0; i < N; i++)
                must(write(held[2 * i + 1], "x", 1) == 1, "write");
}

/* Modules that allocate when they are loaded: two of them, of what the kernel has and nobody uses. */
static const char *modules[2];

static bool run(const char *command, const char *module) {
        _cleanup_free_ char *line = format("%s %s >/dev/null 2>&1", command, module);

        return line && system(line) == 0;
}

static void find_modules(void) {
        static const char *const candidates[] = {"brd", "loop", "null_blk", "nbd", "zram", "dummy", "ifb", "tun", "veth"};
        size_t n = 0;

        for (size_t i = 0; i < ELEMENTS(candidates) && n < 2; i++) {
                _cleanup_free_ char *loaded = format("/sys/module/%s", candidates[i]);

                if (access(loaded, F_OK) == 0 || !run("modprobe", candidates[i]))
                        continue;
                if (access(loaded, F_OK) == 0 && run("modprobe -r", candidates[i])) /* not built in */
                        modules[n++] = candidates[i];
        }
        if (n < 2)
                cannot("there are no two modules to load and unload");
}

static void load_first(void) {
        must(run("modprobe", modules[0]), modules[0]);
}

static void unload_first(void) {
        must(run("modprobe -r", modules[0]), modules[0]);
}

static void load_second(void) {
        must(run("modprobe", modules[1]), modules[1]);
}

static void unload_second(void) {
        must(run("modprobe -r", modules[1]), modules[1]);
}

/* ---- rows ---------------------------------------------------------------------------------------------------------------- */

/* Not where the kernel has no tags, or has them switched off. */
static struct watch watch_tags(const char *name) {
        struct tracker *t = tracker_of(NULL);
        char reason[256];

        if (!is_able(t, "tag_sites", reason))
                cannot(reason);
        tracker_free(t);
        return watch(name);
}

static struct tracker_sample sample_of(const struct watch *w) {
        struct tracker_sample s = {};

        assert_int_equal(w->t->ops->read(w->t, w->group, &s), 0);
        return s;
}

static bool is_kernel_page(const struct tracker_row *row) {
        return row->charged && row->type == TYPE_PAGE;
}

/* Live bytes of all rows of one function, or of a file when there is no function. */
static int64_t live_at(const struct tracker_sample *s, const char *file, const char *function, enum site_type type) {
        int64_t live = 0;

        for (size_t i = 0; i < s->n_rows; i++) {
                const struct tracker_row *row = &s->rows[i];

                if (row->file && streq(row->file, file) && (!function || streq(row->function, function)) && row->type == type)
                        live += row_live(row);
        }
        return live;
}

static void print_rows(const struct tracker_sample *s) {
        for (size_t i = 0; i < s->n_rows; i++) {
                const struct tracker_row *r = &s->rows[i];

                if (r->charged && row_live(r) >= 16384)
                        print_message("# %s:%u %s [%s] %s %lld\n", r->file ?: "-", r->line, r->function ?: "-", r->module ?: "",
                                site_type_to_string(r->type), (long long)row_live(r));
        }
}

/* What tags name of what was allocated, in percent. */
static double share_by_tags(const struct tracker_sample *s, enum site_type type) {
        int64_t all = 0, tagged = 0;

        for (size_t i = 0; i < s->n_rows; i++) {
                const struct tracker_row *row = &s->rows[i];

                if (!row->charged || row->type != type || (row->function && !row->file)) /* kernel stacks */
                        continue;
                all += row->counts.allocated_bytes;
                tagged += row->file ? row->counts.allocated_bytes : 0;
        }
        return all ? 100.0 * (double)tagged / (double)all : 100.0;
}

/* Pages are counted on their rows one by one, and their rows are all there is. */
static void check_pages(const struct tracker_sample *s) {
        struct tracker_counts sum = {};

        for (size_t i = 0; i < s->n_rows; i++) {
                if (!is_kernel_page(&s->rows[i]))
                        continue;
                assert_true(s->rows[i].function || s->rows[i].estimated);
                if (s->rows[i].file)
                        assert_false(s->rows[i].estimated);
                tracker_counts_add(&sum, &s->rows[i].counts, 1);
        }
        if (share_by_tags(s, TYPE_PAGE) == 100.0)
                assert_memory_equal(&sum, &s->pages, sizeof(sum));
}

static void check_names(const struct watch *w) {
        struct tracker_sample s = sample_of(w);

        print_rows(&s);
        print_message("# by tags: slab %.3f %%, pages %.3f %% of the charged bytes\n", share_by_tags(&s, TYPE_SLAB),
                share_by_tags(&s, TYPE_PAGE));
        assert_true(share_by_tags(&s, TYPE_SLAB) >= 99.0);
        assert_true(share_by_tags(&s, TYPE_PAGE) >= 99.0);
        for (size_t i = 0; i < s.n_rows; i++)
                if (s.rows[i].file) {
                        assert_true(s.rows[i].file[0] && s.rows[i].function[0] && s.rows[i].line > 0);
                        assert_string_not_equal(s.rows[i].function, "alloc_slab_page");
                }
        check_pages(&s);
        tracker_sample_done(&s);
}

struct expectation {
        const char *file, *function; /* function NULL: any */
        enum site_type type;
        int64_t bytes; /* at least */
};

/* Holds, looks, lets go, and looks whether all is gone. */
static void check_holding(
        const char *name, void (*hold)(void), void (*drop)(void), const struct expectation *wanted, size_t n) {
        struct watch w = watch_tags(name);
        struct subject s = subject_new(w.c->path, hold, drop);
        struct tracker_sample sample;

        subject_step(&s);
        check_agrees(&w, "held", SLACK);
        check_names(&w);
        sample = sample_of(&w);
        for (size_t i = 0; i < n; i++)
                if (live_at(&sample, wanted[i].file, wanted[i].function, wanted[i].type) < wanted[i].bytes)
                        fail_msg("%s %s: %lld bytes", wanted[i].file, wanted[i].function ?: "",
                                (long long)live_at(&sample, wanted[i].file, wanted[i].function, wanted[i].type));
        tracker_sample_done(&sample);
        subject_step(&s);
        check_agrees(&w, "let go", SLACK);
        subject_end(&s);
        reading_after_sweep(&w, "after the end");
        sample = sample_of(&w);
        for (size_t i = 0; i < n; i++)
                assert_near(live_at(&sample, wanted[i].file, wanted[i].function, wanted[i].type), 0, wanted[i].bytes / 1000);
        tracker_sample_done(&sample);
        watch_end(&w);
}

/* ---- the kernel's own counters ------------------------------------------------------------------------------------------- */

struct line {
        char *key;
        int64_t bytes;
};

struct lines {
        struct line *line;
        size_t n;
};

static int compare_lines(const void *a, const void *b) {
        return strcmp(((const struct line *)a)->key, ((const struct line *)b)->key);
}

/* "BYTES CALLS FILE:LINE [MODULE] func:FUNCTION [accurate:no]" */
static char *key_of(char *text, int64_t *ret_bytes) {
        char *save = NULL, *bytes = strtok_r(text, " \n", &save), *calls = strtok_r(NULL, " \n", &save),
             *place = strtok_r(NULL, " \n", &save), *word = strtok_r(NULL, " \n", &save), *module = NULL;

        if (!bytes || !calls || !place || !word)
                return NULL;
        if (word[0] == '[') {
                module = word;
                word = strtok_r(NULL, " \n", &save);
        }
        *ret_bytes = strtoll(bytes, NULL, 10);
        return word && startswith(word, "func:") ? format("%s:%s%s", place, word + strlen("func:"), module ?: "") : NULL;
}

/* Sorted; lines of one name are one. */
static struct lines read_allocinfo(void) {
        _cleanup_fclose_ FILE *f = fopen("/proc/allocinfo", "re");
        struct lines l = {};
        char text[1024];
        size_t n = 0;

        if (!f)
                cannot("/proc/allocinfo cannot be read");
        (void)setvbuf(f, NULL, _IOFBF, 1 << 20);
        while (fgets(text, sizeof(text), f)) {
                int64_t bytes;
                char *key = key_of(text, &bytes);

                if (!key)
                        continue;
                if (l.n % 1024 == 0)
                        l.line = reallocarray(l.line, l.n + 1024, sizeof(*l.line));
                assert_non_null(l.line);
                l.line[l.n++] = (struct line){.key = key, .bytes = bytes};
        }
        qsort(l.line, l.n, sizeof(*l.line), compare_lines);
        for (size_t i = 0; i < l.n; i++)
                if (n > 0 && streq(l.line[n - 1].key, l.line[i].key)) {
                        l.line[n - 1].bytes += l.line[i].bytes;
                        free(l.line[i].key);
                } else
                        l.line[n++] = l.line[i];
        l.n = n;
        return l;
}

static void lines_done(struct lines *l) {
        for (size_t i = 0; i < l->n; i++)
                free(l->line[i].key);
        free(l->line);
}

static const struct line *find_line(const struct lines *l, const char *key) {
        return bsearch(&(struct line){.key = (char *)key}, l->line, l->n, sizeof(*l->line), compare_lines);
}

/* Live bytes by key as the kernel counts them: without the pointer to the owner of a charged object. */
static struct lines our_lines(const struct tracker_sample *s) {
        struct lines l = {.line = calloc(s->n_rows + 1, sizeof(struct line))};

        for (size_t i = 0; i < s->n_rows; i++) {
                const struct tracker_row *row = &s->rows[i];
                int64_t owners = row->type == TYPE_SLAB && row->charged ? 8 * tracker_counts_live_calls(&row->counts) : 0;
                char *key = row->file ? site_tag_key(row->file, row->line, row->function, row->module) : NULL;
                struct line *same =
                        key ? lfind(&(struct line){.key = key}, l.line, &l.n, sizeof(*l.line), compare_lines) : NULL;

                if (!key || row->type == TYPE_USER) {
                        free(key);
                } else if (same) {
                        same->bytes += row_live(row) - owners;
                        free(key);
                } else
                        l.line[l.n++] = (struct line){.key = key, .bytes = row_live(row) - owners};
        }
        qsort(l.line, l.n, sizeof(*l.line), compare_lines);
        return l;
}

/* What is below this is noise of a host that does other things too. */
#define NOTABLE (64 << 10)
#define NOISE (8 << 10)

/* All sites that either side saw grow notably; what differs is printed. */
static void compare_growth(const struct lines *before, const struct lines *after, const struct lines *ours) {
        int64_t kernel_sum = 0, our_sum = 0;
        unsigned n = 0, apart = 0;

        for (size_t i = 0; i < ours->n; i++) {
                const struct line *b = find_line(before, ours->line[i].key), *a = find_line(after, ours->line[i].key);
                int64_t growth = a ? a->bytes - (b ? b->bytes : 0) : 0, mine = ours->line[i].bytes;

                if (!a)
                        fail_msg("%s is not in /proc/allocinfo", ours->line[i].key);
                if (growth < NOTABLE && mine < NOTABLE)
                        continue;
                n++;
                kernel_sum += growth;
                our_sum += mine;
                apart += llabs(growth - mine) > growth / 100 + NOISE;
                print_message("# %s: the kernel %lld, we %lld\n", ours->line[i].key, (long long)growth, (long long)mine);
        }
        for (size_t i = 0; i < after->n; i++) {
                const struct line *b = find_line(before, after->line[i].key);
                int64_t growth = after->line[i].bytes - (b ? b->bytes : 0);

                if (growth >= NOTABLE && !find_line(ours, after->line[i].key))
                        print_message("# only the kernel: %s %lld\n", after->line[i].key, (long long)growth);
        }
        print_message("# %u sites: the kernel %lld, we %lld (%+.3f %%), %u more than a hundredth apart\n", n,
                (long long)kernel_sum, (long long)our_sum, 100.0 * (double)(our_sum - kernel_sum) / (double)kernel_sum, apart);
        assert_true(n > 0);
        assert_int_equal(apart, 0);
}

/* ---- tests ----------------------------------------------------------------------------------------------------------------
 */

static void test_pipes(void **state) {
        const struct expectation wanted[] = {
                {"fs/pipe.c", "alloc_pipe_info", TYPE_SLAB, N * 1000}, {"fs/pipe.c", NULL, TYPE_PAGE, N * 4096}};

        check_holding("pipes", hold_full_pipes, drop_held, wanted, ELEMENTS(wanted));
}

static void test_sockets(void **state) {
        const struct expectation wanted[] = {{"net/core/sock.c", "sk_prot_alloc", TYPE_SLAB, N * 500},
                {"net/socket.c", "sock_alloc_inode", TYPE_SLAB, N * 300}};

        check_holding("sockets", hold_sockets, drop_held, wanted, ELEMENTS(wanted));
}

static void test_files(void **state) {
        const struct expectation wanted[] = {{"mm/shmem.c", "shmem_alloc_inode", TYPE_SLAB, FILES * 400}};

        check_holding("files", hold_files, drop_held, wanted, ELEMENTS(wanted));
}

static void test_page_tables(void **state) {
        struct watch w = watch_tags("tables");
        struct subject s = subject_new(w.c->path, hold_page_tables, drop_page_tables);
        int64_t before, after;

        subject_step(&s);
        check_agrees(&w, "held", SLACK);
        check_names(&w);
        before = reading_of(w.t, w.group).live[1][TYPE_PAGE];
        subject_step(&s);
        check_agrees(&w, "let go", SLACK);
        after = reading_of(w.t, w.group).live[1][TYPE_PAGE];
        assert_near(before - after, TABLES * 4096, 2 * 4096);
        subject_end(&s);
        watch_end(&w);
}

/* User pages are samples, under the name of their tag. */
static void test_user_pages(void **state) {
        struct watch w = watch_tags("user");
        struct subject s = subject_new(w.c->path, hold_memory, nothing);
        struct tracker_sample sample;
        int64_t live = 0;

        subject_step(&s);
        sample = sample_of(&w);
        for (size_t i = 0; i < sample.n_rows; i++) {
                const struct tracker_row *row = &sample.rows[i];

                if (row->type != TYPE_USER)
                        continue;
                assert_true(row->file && row->estimated);
                live += row_live(row);
        }
        assert_near(live, 64 << 20, 32 << 20);
        tracker_sample_done(&sample);
        subject_end(&s);
        watch_end(&w);
}

/* Nothing in the tables of stacks: all that was asked is answered by tags. */
static void test_no_stacks(void **state) {
        struct watch w = watch_with("no-stacks", &(struct tracker_options){.stacks = 1}, &(struct tracker_wish){});
        struct subject s = subject_new(w.c->path, hold_full_pipes, drop_held);
        struct reading r;
        char reason[256];

        if (!is_able(w.t, "tag_sites", reason))
                cannot(reason);
        subject_step(&s);
        subject_step(&s);
        r = reading_after_sweep(&w, "let go");
        assert_int_equal(r.lost[LOSS_STACKS_FULL] + r.lost[LOSS_STACK_MIXED] + r.lost[LOSS_STACK_ERRORS], 0);
        assert_int_equal(r.catch_all, 0);
        subject_end(&s);
        watch_end(&w);
}

/* Without room for tags everything is named as on a kernel without them, and that is said. */
static void test_full_table(void **state) {
        struct watch w = watch_tags("full"),
                     v = watch_with("tiny", &(struct tracker_options){.tags = 1}, &(struct tracker_wish){});
        struct subject s = subject_new(v.c->path, hold_pipes, drop_held);
        struct reading r;

        subject_step(&s);
        r = check_agrees(&v, "held", SLACK);
        assert_true(r.lost[LOSS_TAGS_FULL] > 0);
        assert_true(r.live_calls >= 4 * N);
        subject_step(&s);
        check_agrees(&v, "let go", SLACK);
        subject_end(&s);
        watch_end(&v);
        watch_end(&w);
}

static int64_t calls_of_module(const struct watch *w, const char *module) {
        struct tracker_sample s = sample_of(w);
        int64_t calls = 0;

        for (size_t i = 0; i < s.n_rows; i++) {
                const struct tracker_row *row = &s.rows[i];

                if (!row->file || !streq(row->module, module))
                        continue;
                assert_true(row->file[0] && row->function[0] && row->line > 0);
                calls += row->counts.allocated_calls;
        }
        tracker_sample_done(&s);
        return calls;
}

/*
 * The strings of a module outlive it, and who gets its address is somebody else: were it not told, what the second module
 * allocates would be the first one's.
 */
static void test_modules(void **state) {
        struct watch w = watch_tags("modules");
        struct subject s;
        int64_t first, second;

        find_modules();
        s = subject_of(
                w.c->path, (subject_steps_t){load_first, unload_first, load_second, unload_second, load_first, unload_first});
        subject_step(&s);
        first = calls_of_module(&w, modules[0]);
        subject_step(&s);
        subject_step(&s);
        second = calls_of_module(&w, modules[1]);
        print_message("# %s: %lld allocations, %s: %lld\n", modules[0], (long long)first, modules[1], (long long)second);
        assert_true(first > 0 && second > 0);
        subject_step(&s);
        subject_step(&s);
        assert_int_equal(calls_of_module(&w, modules[0]), 2 * first);
        assert_int_equal(calls_of_module(&w, modules[1]), second);
        subject_step(&s);
        subject_end(&s);
        watch_end(&w);
}

/* As asked: nothing of tags. */
static void test_not_wanted(void **state) {
        struct watch w = watch_with("unwanted", &(struct tracker_options){.no_tags = true}, &(struct tracker_wish){});
        struct subject s = subject_new(w.c->path, hold_pipes, drop_held);
        struct tracker_sample sample;

        subject_step(&s);
        sample = sample_of(&w);
        for (size_t i = 0; i < sample.n_rows; i++)
                assert_null(sample.rows[i].file);
        tracker_sample_done(&sample);
        subject_end(&s);
        watch_end(&w);
}

static void test_allocinfo(void **state) {
        struct watch w = watch_tags("allocinfo");
        struct subject s = subject_new(w.c->path, hold_full_pipes, nothing), t = subject_new(w.c->path, hold_sockets, nothing),
                       u = subject_new(w.c->path, hold_files, nothing);
        struct lines before = read_allocinfo(), after, ours;
        struct tracker_sample sample;

        subject_step(&s);
        subject_step(&t);
        subject_step(&u);
        reading_after_sweep(&w, "held");
        after = read_allocinfo();
        sample = sample_of(&w);
        ours = our_lines(&sample);
        compare_growth(&before, &after, &ours);
        lines_done(&before);
        lines_done(&after);
        lines_done(&ours);
        tracker_sample_done(&sample);
        subject_end(&s);
        subject_end(&t);
        subject_end(&u);
        watch_end(&w);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_pipes),
                cmocka_unit_test(test_sockets),
                cmocka_unit_test(test_files),
                cmocka_unit_test(test_page_tables),
                cmocka_unit_test(test_user_pages),
                cmocka_unit_test(test_no_stacks),
                cmocka_unit_test(test_full_table),
                cmocka_unit_test(test_not_wanted),
                cmocka_unit_test(test_modules),
                cmocka_unit_test(test_allocinfo),
        };

        return run_program(tests, ELEMENTS(tests), argc, argv);
}

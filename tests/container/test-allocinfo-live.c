/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The running kernel's allocinfo: both readers give the same rows for the same filter, the ioctls do what our made-up kernel
 * does (tests/unit/fake-allocinfo.c), and modules may come and go meanwhile. Needs a kernel with allocation profiling.
 */
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "allocinfo-rows.h"
#include "allocinfo-uapi.h"
#include "subject.h"

#define READINGS 200 /* while modules come and go */
#define REPEATS 20   /* for a time that can be measured */

static void need(enum allocinfo_state state) {
        static char reason[512];
        struct allocinfo_status s = {};

        assert_int_equal(allocinfo_probe("", &allocinfo_ops_live, &s), 0);
        snprintf(reason, sizeof(reason), "%s", s.reason);
        if (s.state != ALLOCINFO_IOCTL && s.state != state) {
                allocinfo_status_done(&s);
                cannot(reason);
        }
        allocinfo_status_done(&s);
}

static struct allocinfo *read_by(const struct allocinfo_ops *ops, const struct filter *f) {
        _cleanup_free_ char *sentence = NULL;
        struct allocinfo *a = NULL;

        if (allocinfo_read("", ops, f, &a, &sentence) < 0)
                fail_msg("not read: %s", sentence ? sentence : "?");
        return a;
}

static bool same_place(const struct allocinfo_row *x, const struct allocinfo_row *y) {
        return streq(x->file, y->file) && x->line == y->line && streq(x->function, y->function) && streq(x->module, y->module);
}

static bool same_row(const struct allocinfo_row *x, const struct allocinfo_row *y) {
        return same_place(x, y) && x->bytes == y->bytes && x->calls == y->calls && x->accurate == y->accurate &&
               x->tags == y->tags;
}

static const struct allocinfo_row *find(const struct allocinfo *a, const struct allocinfo_row *place) {
        for (size_t i = 0; i < a->n_rows; i++)
                if (same_place(&a->rows[i], place))
                        return &a->rows[i];
        return NULL;
}

/* Of `before`, the first row that both readings by ioctl tell alike and the text does not; NULL: there is none. */
static const struct allocinfo_row *first_apart(
        const struct allocinfo *before, const struct allocinfo *text, const struct allocinfo *after, size_t *ret_steady) {
        *ret_steady = 0;
        for (size_t i = 0; i < before->n_rows; i++) {
                const struct allocinfo_row *a = &before->rows[i], *b = find(after, a), *t = find(text, a);

                if (!b || !same_row(a, b) || streq(a->file, "fs/seq_file.c")) /* the buffer that the text is read through */
                        continue;
                ++*ret_steady;
                if (!t || !same_row(a, t))
                        return a;
        }
        return NULL;
}

/* And nothing more in the text, but for what a size let pass for a moment. */
static void check_no_more(const struct filter *f, const struct allocinfo *before, const struct allocinfo *text) {
        if (filter_has(f, FILTER_MIN_SIZE) || filter_has(f, FILTER_MAX_SIZE))
                return;
        for (size_t i = 0; i < text->n_rows; i++)
                assert_non_null(find(before, &text->rows[i]));
        assert_int_equal(before->total.tags, text->total.tags);
}

/*
 * The kernel goes on: what a reading by ioctl before and one after say alike, the text between them must say too. But a figure
 * may go up and come back meanwhile, so that a difference counts when it shows time after time. Returns the steady rows.
 */
static size_t compare(const struct filter *f) {
        size_t steady = 0;

        for (unsigned attempt = 0;; attempt++) {
                _cleanup_(allocinfo_freep) struct allocinfo *before = read_by(&allocinfo_ops_live, f),
                                                            *text = read_by(&allocinfo_ops_text, f),
                                                            *after = read_by(&allocinfo_ops_live, f);
                const struct allocinfo_row *apart = first_apart(before, text, after, &steady);

                assert_int_equal(before->source, ALLOCINFO_IOCTL);
                assert_int_equal(text->source, ALLOCINFO_TEXT);
                check_no_more(f, before, text);
                if (!apart)
                        return steady;
                if (attempt == 20)
                        fail_msg("%s:%llu %s: by text it is not there or has other figures", apart->file,
                                (unsigned long long)apart->line, apart->function);
        }
}

static size_t compare_by(const char *key, const char *value, const char *other_key, const char *other_value) {
        _cleanup_(filter_done) struct filter f = {};
        size_t steady;

        assert_int_equal(filter_set_text(&f, key, value, NULL), 0);
        if (other_key)
                assert_int_equal(filter_set_text(&f, other_key, other_value, NULL), 0);
        steady = compare(&f);
        print_message("# %s=%s %s=%s: %zu steady rows\n", key, value, other_key ? other_key : "",
                other_value ? other_value : "", steady);
        return steady;
}

static void test_same_rows(void **state) {
        static const struct filter everything;
        _cleanup_(allocinfo_freep) struct allocinfo *all = NULL;
        size_t steady;

        need(ALLOCINFO_IOCTL);
        all = read_by(&allocinfo_ops_live, NULL);
        steady = compare(&everything);
        print_message(
                "# %zu sites of %llu tags, %zu of them steady\n", all->n_rows, (unsigned long long)all->total.tags, steady);
        assert_true(steady > all->n_rows / 2);
        assert_true(compare_by("filename", "mm/slub.c", NULL, NULL) > 0);
        assert_true(compare_by("function", all->rows[all->n_rows / 2].function, NULL, NULL) > 0);
        assert_true(compare_by("modname", "vmlinux", NULL, NULL) > 0);
        assert_true(compare_by("modname", "", "filename", "kernel/fork.c") > 0);
        assert_true(compare_by("max_size", "0", NULL, NULL) > 0);
        (void)compare_by("min_size", "1M", NULL, NULL);
        (void)compare_by("min_size", "4K", "max_size", "64K");
        (void)compare_by("max_size", "-1", NULL, NULL);
        (void)compare_by("inaccurate", "yes", NULL, NULL);
        assert_true(compare_by("inaccurate", "no", "lineno", "0") == 0);
        for (size_t i = 0; i < all->n_rows; i++)
                if (all->rows[i].module[0]) {
                        assert_true(compare_by("modname", all->rows[i].module, NULL, NULL) > 0);
                        return;
                }
        print_message("# no module has tags here\n");
}

/* ---- what the ioctls do ---- */

static int get_at(int fd, uint64_t pos, const struct uapi_filter *f, struct uapi_tag_data *ret) {
        struct uapi_get_at at = {.pos = pos, .filter = *f};
        int r = allocinfo_ops_live.ioctl(fd, UAPI_GET_AT, &at);

        if (r >= 0)
                *ret = at.data;
        return r;
}

static int get_next(int fd, struct uapi_tag_data *ret) {
        return allocinfo_ops_live.ioctl(fd, UAPI_GET_NEXT, ret);
}

static void test_ioctls(void **state) {
        struct uapi_filter none = {}, slub = {.mask = UAPI_FILENAME, .fields.filename = "mm/slub.c"},
                           nothing = {.mask = UAPI_FUNCTION, .fields.function = "no_such_function"}, wrong = {.mask = 1u << 7},
                           crossed = {.mask = UAPI_MIN_SIZE | UAPI_MAX_SIZE, .min_size = 2, .max_size = 1};
        _cleanup_close_ int fd = -1;
        struct uapi_tag_data first, data;
        size_t n = 1;

        need(ALLOCINFO_IOCTL);
        fd = open("/proc/allocinfo", O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(get_at(fd, 0, &wrong, &data), -EINVAL);
        assert_int_equal(get_at(fd, 0, &crossed, &data), -EINVAL);
        assert_int_equal(allocinfo_ops_live.ioctl(fd, _IO(0xA6, 15), &data), -ENOTTY);
        /* A walk to the end, and around. */
        assert_int_equal(get_at(fd, 0, &slub, &first), 0);
        assert_string_equal(first.tag.filename, "mm/slub.c");
        while (get_next(fd, &data) == 0)
                n++;
        assert_int_equal(get_next(fd, &data), 0);
        assert_memory_equal(&data.tag, &first.tag, sizeof(data.tag));
        /* Behind all tags: the filter stays. Behind all that match: as well, for it was stored. */
        assert_int_equal(get_at(fd, 1u << 30, &none, &data), -ENOENT);
        assert_int_equal(get_next(fd, &data), n > 1 ? 0 : -ENOENT);
        if (n > 1)
                assert_string_equal(data.tag.filename, "mm/slub.c");
        assert_int_equal(get_at(fd, n, &slub, &data), -ENOENT);
        assert_int_equal(get_at(fd, n - 1, &slub, &data), 0);
        assert_int_equal(get_next(fd, &data), -ENOENT);
        assert_int_equal(get_at(fd, 0, &nothing, &data), -ENOENT);
        assert_int_equal(get_next(fd, &data), -ENOENT);
        print_message("# %zu tags in mm/slub.c\n", n);
}

static void test_no_rights(void **state) {
        _cleanup_free_ char *sentence = NULL;
        struct allocinfo *a = NULL;
        int r;

        need(ALLOCINFO_TEXT);
        assert_int_equal(seteuid(65534), 0);
        r = allocinfo_read("", &allocinfo_ops_live, NULL, &a, &sentence);
        assert_int_equal(seteuid(0), 0);
        assert_int_equal(r, -EACCES);
        assert_sentence(&sentence, "only root");
}

/* ---- modules ---- */

/* The first of some modules that every kernel is built with, when it can be loaded and taken away. */
static const char *find_module(void) {
        static const char *const modules[] = {"dummy", "veth", "brd", "null_blk", "bonding", "loop"};

        for (size_t i = 0; i < ELEMENTS(modules); i++) {
                _cleanup_free_ char *command =
                        format("modprobe %s 2>/dev/null && modprobe -r %s 2>/dev/null", modules[i], modules[i]);

                if (command && system(command) == 0)
                        return modules[i];
        }
        return NULL;
}

static pid_t come_and_go(const char *module) {
        _cleanup_free_ char *command = format("while modprobe %s && modprobe -r %s; do :; done", module, module);
        pid_t pid = fork();

        if (pid == 0) {
                execl("/bin/sh", "sh", "-c", command, NULL);
                _exit(127);
        }
        return pid;
}

static void test_modules(void **state) {
        const char *module = NULL;
        unsigned retries = 0, given_up = 0;
        pid_t pid;

        need(ALLOCINFO_IOCTL);
        module = find_module();
        if (!module)
                cannot("no module can be loaded and unloaded here");
        pid = come_and_go(module);
        for (size_t i = 0; i < READINGS; i++) {
                _cleanup_free_ char *sentence = NULL;
                _cleanup_(allocinfo_freep) struct allocinfo *a = NULL;
                int r = allocinfo_read("", &allocinfo_ops_live, NULL, &a, &sentence);

                if (r < 0 && r != -EAGAIN)
                        fail_msg("%s", sentence ? sentence : strerror(-r));
                given_up += r < 0;
                retries += a ? a->retries : 0;
        }
        kill(pid, SIGTERM);
        waitpid(pid, NULL, 0);
        print_message("# %d readings while %s came and went: %u walks redone, %u readings given up\n", READINGS, module,
                retries, given_up);
        assert_true(given_up < READINGS / 2);
}

/* ---- time ---- */

static double system_ms(int who) {
        struct rusage u;

        getrusage(who, &u);
        return (double)u.ru_stime.tv_sec * 1e3 + (double)u.ru_stime.tv_usec / 1e3;
}

static double reader_ms(const struct filter *f) {
        double begin = system_ms(RUSAGE_SELF);

        for (size_t i = 0; i < REPEATS; i++) {
                _cleanup_(allocinfo_freep) struct allocinfo *a = read_by(&allocinfo_ops_live, f);
        }
        return (system_ms(RUSAGE_SELF) - begin) / REPEATS;
}

/* cat alone: what it takes to read the text, without the filter behind it. */
static double cat_ms(void) {
        double begin = system_ms(RUSAGE_CHILDREN);

        for (size_t i = 0; i < REPEATS; i++)
                assert_int_equal(system("cat /proc/allocinfo >/dev/null"), 0);
        return (system_ms(RUSAGE_CHILDREN) - begin) / REPEATS;
}

/* For people: nothing is required of a machine whose other work is not known. */
static void test_time(void **state) {
        static const char *const filters[][4] = {
                {"filename", "mm/slub.c"}, {"filename", "mm/slub.c", "min_size", "1M"}, {"min_size", "1M"}};
        double cat;

        need(ALLOCINFO_IOCTL);
        cat = cat_ms();
        print_message("# cat /proc/allocinfo: %.2f ms of system time\n", cat);
        for (size_t i = 0; i < ELEMENTS(filters); i++) {
                _cleanup_(filter_done) struct filter f = {};
                double ms;

                for (size_t k = 0; k < 4 && filters[i][k]; k += 2)
                        assert_int_equal(filter_set_text(&f, filters[i][k], filters[i][k + 1], NULL), 0);
                ms = reader_ms(&f);
                print_message("# by ioctl, %s%s: %.3f ms, %.1f times less\n", filters[i][0], filters[i][2] ? " and size" : "",
                        ms, ms > 0 ? cat / ms : 0.0);
        }
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_same_rows),
                cmocka_unit_test(test_ioctls),
                cmocka_unit_test(test_no_rights),
                cmocka_unit_test(test_modules),
                cmocka_unit_test(test_time),
        };

        return run_program(tests, ELEMENTS(tests), argc, argv);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Names for kernel addresses: recorded shapes of kallsyms, wrong ones, and the machine's own table.
 */
#include "unit.h"

#include <sys/resource.h>

#include "symbol.h"

static struct symbols *load(const char *fixture) {
        _cleanup_free_ char *path = format(FIXTURES "/kallsyms/%s", fixture), *reterr = NULL;
        struct symbols *s = NULL;

        assert_int_equal(symbols_load(path, &s, &reterr), 0);
        assert_null(reterr);
        return s;
}

static void check(const struct symbols *s, uint64_t address, const char *name, const char *module, uint32_t offset) {
        struct symbol found = {0};
        int r = symbols_find(s, address, &found);

        if (!name) {
                assert_int_equal(r, -ENOENT);
                assert_null(found.name);
                return;
        }
        assert_int_equal(r, 0);
        assert_string_equal(found.name, name);
        assert_string_equal(found.module, module);
        assert_int_equal(found.offset, offset);
        assert_true(found.start + found.offset == address);
}

static void finds_functions(void **state) {
        _cleanup_(symbols_freep) struct symbols *s = load("plain");

        check(s, 0xffffffff81001000, "kmalloc_trace", "", 0);
        check(s, 0xffffffff810011ff, "kmalloc_trace", "", 0x1ff);
        check(s, 0xffffffff81001210, "local_a", "", 0);
        check(s, 0xffffffff81001520, "weak_one", "", 0x20);
        /* Data does not end a function, and has no name here. */
        check(s, 0xffffffff81001610, "weak_one", "", 0x110);
        /* The ends of sections count. */
        assert_int_equal(symbols_count(s), 17);
}

static void section_marks_are_no_functions(void **state) {
        _cleanup_(symbols_freep) struct symbols *s = load("plain");

        check(s, 0xffffffff81000000, "startup_64", "", 0);
        check(s, 0xffffffff83000000, "early_init", "", 0);
        /* Padding in front of a function belongs to the one before: a call that never returns leads there. */
        check(s, 0xffffffff81001200, "kmalloc_trace", "", 0x200);
}

static void one_name_per_address(void **state) {
        _cleanup_(symbols_freep) struct symbols *s = load("plain");

        /* Global before local, then the shorter, then the first. */
        check(s, 0xffffffff81001304, "gl_alias", "", 4);
        check(s, 0xffffffff81001404, "twin_one", "", 4);
}

static void gaps_have_no_name(void **state) {
        _cleanup_(symbols_freep) struct symbols *s = load("plain");

        check(s, 0, NULL, NULL, 0);
        check(s, 0xffffffff80ffffff, NULL, NULL, 0);
        check(s, 0xffffffff8100177f, "last_of_entry", "", 0x7f);
        check(s, 0xffffffff81001780, NULL, NULL, 0);
        check(s, 0xffffffff811fffff, NULL, NULL, 0);
        check(s, 0xffffffff812000ff, "after_gap", "", 0xff);
        check(s, 0xffffffff81200100, NULL, NULL, 0);
        check(s, 0xffffffff82ffffff, NULL, NULL, 0);
        check(s, 0xffffffff83000100, NULL, NULL, 0);
        check(s, UINT64_MAX, NULL, NULL, 0);
}

static void modules_and_programs(void **state) {
        _cleanup_(symbols_freep) struct symbols *s = load("plain");

        check(s, 0xffffffffc0000080, "ext_open", "ext_mod", 0x80);
        check(s, 0xffffffffc0000180, "ext_close", "ext_mod", 0x80);
        /* A mark of the kernel's is an ordinary name in a module. */
        check(s, 0xffffffffc0001001, "_etext", "odd_mod", 1);
        /* The last function of a module ends before the pages that a later module may get. */
        check(s, 0xffffffffc0004fff, "_etext", "odd_mod", 0x3fff);
        check(s, 0xffffffffc0005000, NULL, NULL, 0);
        check(s, 0xffffffffc0008010, "bpf_prog_6deef7357e7b4530_count", "bpf", 0x10);
        check(s, 0xffffffffc0008041, "bpf_trampoline_42", "bpf", 1);
        check(s, 0xffffffffc000c03f, "bpf_trampoline_42", "bpf", 0x3fff);
        check(s, 0xffffffffc000c040, NULL, NULL, 0);
}

static void takes_any_order_and_wrong_lines(void **state) {
        _cleanup_(symbols_freep) struct symbols *s = load("unsorted");

        assert_int_equal(symbols_count(s), 5);
        check(s, 0xffffffff81001001, "first", "", 1);
        check(s, 0xffffffff81002001, "second", "", 1);
        check(s, 0xffffffff81003001, "third", "", 1);
        check(s, 0xffffffff81004001, "fourth", "mod_with_space", 1);
        check(s, 0xffffffff81005001, "without_newline", "", 1);
}

static void refuses(const char *fixture, int error, const char *says) {
        _cleanup_free_ char *path = format(FIXTURES "/kallsyms/%s", fixture), *reterr = NULL;
        struct symbols *s = (struct symbols *)1;

        assert_int_equal(symbols_load(path, &s, &reterr), error);
        assert_ptr_equal(s, (struct symbols *)1);
        assert_non_null(strstr(reterr, says));
}

static void says_what_is_wrong(void **state) {
        refuses("hidden", -EACCES, "kptr_restrict");
        refuses("no-text", -EINVAL, "names no function");
        refuses("empty", -EINVAL, "names no function");
        refuses("there-is-no-such-file", -ENOENT, "Cannot open");
}

/* Names up to 511 long are taken, longer ones passed over, wherever they fall on the reader's buffer. */
static void bounds_lines(void **state) {
        char path[] = "/tmp/memcgprof-kallsyms-XXXXXX";
        _cleanup_(symbols_freep) struct symbols *s = NULL;
        int fd = mkstemp(path);
        FILE *f = fdopen(fd, "w");
        char name[512];
        int r;

        memset(name, 'n', sizeof name - 1);
        name[sizeof name - 1] = '\0';
        for (int i = 0; i < 300; i++)
                fprintf(f, "%016llx T %s%s\n", 0xffffffff81000000ULL + (unsigned)i * 16, name, i % 2 ? "x" : "");
        fprintf(f, "ffffffff82000000 T ");
        for (int i = 0; i < 200000; i++)
                fputc('y', f);
        fprintf(f, "\nffffffff82000010 T behind\n");
        fclose(f);
        r = symbols_load(path, &s, NULL);
        unlink(path);
        assert_int_equal(r, 0);
        assert_int_equal(symbols_count(s), 151);
        check(s, 0xffffffff82000010, "behind", "", 0);
        check(s, 0xffffffff81000010, name, "", 16);
        check(s, 0xffffffff82000000, NULL, NULL, 0);
}

static void reads_the_machine(void **state) {
        _cleanup_(symbols_freep) struct symbols *s = NULL;
        struct rusage before, after;
        long us;
        int r;

        getrusage(RUSAGE_SELF, &before);
        r = symbols_load("/proc/kallsyms", &s, NULL);
        getrusage(RUSAGE_SELF, &after);
        if (r < 0)
                skip();
        assert_true(symbols_count(s) > 1000);
        us = (after.ru_utime.tv_sec + after.ru_stime.tv_sec - before.ru_utime.tv_sec - before.ru_stime.tv_sec) * 1000000 +
             after.ru_utime.tv_usec + after.ru_stime.tv_usec - before.ru_utime.tv_usec - before.ru_stime.tv_usec;
        print_message("# %zu functions in %ld ms of CPU\n", symbols_count(s), us / 1000);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(finds_functions),
                cmocka_unit_test(section_marks_are_no_functions),
                cmocka_unit_test(one_name_per_address),
                cmocka_unit_test(gaps_have_no_name),
                cmocka_unit_test(modules_and_programs),
                cmocka_unit_test(takes_any_order_and_wrong_lines),
                cmocka_unit_test(says_what_is_wrong),
                cmocka_unit_test(bounds_lines),
                cmocka_unit_test(reads_the_machine),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}

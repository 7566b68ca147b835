/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Escaping, file names and strict numbers: what stands between outside text and documents, terminals and paths. */
#include "unit.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "text.h"

static void check_escape(const char *in, size_t n, size_t max, const char *expected) {
        /* A copy of the exact size, so that ASan sees a look beyond the end. */
        char *exact = malloc(n ? n : 1);
        _cleanup_free_ char *out = NULL;

        memcpy(exact, in, n);
        out = text_escape(exact, n, max);
        free(exact);
        assert_non_null(out);
        assert_string_equal(out, expected);
}

#define ESCAPE(in, max, expected) check_escape(in, sizeof(in) - 1, max, expected)

static void test_escape_valid(void **state) {
        ESCAPE("", 10, "");
        ESCAPE("plain text", 100, "plain text");
        ESCAPE("gr\xc3\xbcn \xe2\x82\xac \xf0\x9f\x90\xa7", 100, "gr\xc3\xbcn \xe2\x82\xac \xf0\x9f\x90\xa7");
        ESCAPE("a\\b", 100, "a\\b");
        ESCAPE("a\\x41", 100, "a\\\\x41");
        ESCAPE("\\", 100, "\\");
}

/* An odd number of backslashes in front of an x is an escape, an even one is half as many: no two texts look the same. */
static void test_escape_backslashes(void **state) {
        ESCAPE("\\x01", 100, "\\\\x01");
        ESCAPE("\\\x01", 100, "\\\\\\x01");
        ESCAPE("\\\\x01", 100, "\\\\\\\\x01");
        ESCAPE("\\\\\x01", 100, "\\\\\\\\\\x01");
        ESCAPE("\\\\a\\\\", 100, "\\\\a\\\\");
        ESCAPE("\\\\x", 3, "\\\\...");
}

static void test_escape_controls(void **state) {
        ESCAPE("a\nb\tc\x7f", 100, "a\\x0ab\\x09c\\x7f");
        ESCAPE("a\0b", 100, "a\\x00b");
        ESCAPE("\x1b[2J", 100, "\\x1b[2J");
        ESCAPE("\xc2\x9b", 100, "\\xc2\\x9b");          /* CSI in one character */
        ESCAPE("\xe2\x80\xae", 100, "\\xe2\\x80\\xae"); /* right-to-left override */
        ESCAPE("\xe2\x80\xa8", 100, "\\xe2\\x80\\xa8"); /* line separator */
}

static void test_escape_invalid(void **state) {
        ESCAPE("\xff\xfe", 100, "\\xff\\xfe");
        ESCAPE("\xc0\xaf", 100, "\\xc0\\xaf");                   /* overlong */
        ESCAPE("\xe0\x80\xaf", 100, "\\xe0\\x80\\xaf");          /* overlong */
        ESCAPE("\xf0\x80\x80\xaf", 100, "\\xf0\\x80\\x80\\xaf"); /* overlong */
        ESCAPE("\xed\xa0\x80", 100, "\\xed\\xa0\\x80");          /* surrogate */
        ESCAPE("\xf4\x90\x80\x80", 100, "\\xf4\\x90\\x80\\x80"); /* above U+10FFFF */
        ESCAPE("\xef\xbf\xbe", 100, "\\xef\\xbf\\xbe");          /* U+FFFE: sd-bus refuses it */
        ESCAPE("\xef\xb7\x90", 100, "\\xef\\xb7\\x90");          /* U+FDD0: the same */
        ESCAPE("\xe2\x82", 100, "\\xe2\\x82");                   /* cut off by the end */
        ESCAPE("\xe2\x82x", 100, "\\xe2\\x82x");
        ESCAPE("\x80", 100, "\\x80");
}

static void test_escape_max(void **state) {
        ESCAPE("abcdef", 6, "abcdef");
        ESCAPE("abcdef", 5, "abcde...");
        ESCAPE("abcdef", 0, "...");
        ESCAPE("", 0, "");
        ESCAPE("ab\n", 5, "ab...");           /* no torn escape */
        ESCAPE("ab\xe2\x82\xac", 4, "ab..."); /* no torn character */
        ESCAPE("ab\xe2\x82\xac", 5, "ab\xe2\x82\xac");
        ESCAPE("\\x", 2, "\\\\...");
}

static void check_filename(const char *id, const char *expected) {
        _cleanup_free_ char *name = text_filename(id);

        assert_string_equal(name, expected);
}

static void test_filename(void **state) {
        check_filename("box-1_a.B", "box-1_a.B");
        check_filename("", "_");
        check_filename(".", "_2e");
        check_filename("..", "_2e.");
        check_filename("../etc/passwd", "_2e._2fetc_2fpasswd");
        check_filename("a b\n\xff", "a_20b_0a_ff");
}

static void test_filename_long(void **state) {
        char id[301] = "";
        _cleanup_free_ char *whole = NULL, *a = NULL, *b = NULL, *slashes = NULL;

        memset(id, 'a', 100);
        whole = text_filename(id);
        assert_string_equal(whole, id);
        memset(id, 'a', 300);
        a = text_filename(id);
        id[299] = 'b';
        b = text_filename(id);
        assert_int_equal(strlen(a), 100);
        assert_int_equal(strlen(b), 100);
        assert_string_not_equal(a, b);
        memset(id, '/', 300);
        slashes = text_filename(id);
        assert_true(strlen(slashes) <= 100);
        assert_int_equal((strlen(slashes) - 17) % 3, 0); /* whole escapes only */
}

static void test_integers(void **state) {
        static const char *const bad[] = {"", "-", "+1", " 1", "1 ", "0x10", "1a", "--1", "1.0"};
        uint64_t u = 7;
        int64_t i = 7;

        for (size_t n = 0; n < ELEMENTS(bad); n++) {
                assert_int_equal(text_to_u64(bad[n], &u), -EINVAL);
                assert_int_equal(text_to_i64(bad[n], &i), -EINVAL);
        }
        assert_int_equal(text_to_u64("-1", &u), -EINVAL);
        assert_int_equal(text_to_u64("18446744073709551616", &u), -ERANGE);
        assert_int_equal(text_to_i64("9223372036854775808", &i), -ERANGE);
        assert_int_equal(text_to_i64("-9223372036854775809", &i), -ERANGE);
        assert_true(u == 7 && i == 7);
        assert_int_equal(text_to_u64("18446744073709551615", &u), 0);
        assert_true(u == UINT64_MAX);
        assert_int_equal(text_to_i64("-9223372036854775808", &i), 0);
        assert_true(i == INT64_MIN);
        assert_int_equal(text_to_i64("9223372036854775807", &i), 0);
        assert_true(i == INT64_MAX);
        assert_int_equal(text_to_i64("-42", &i), 0);
        assert_true(i == -42);
}

static void test_size(void **state) {
        static const char *const bad[] = {"", "K", "1k", "1KB", "1KK", "-1", "1T", "1 K", "1.5M"};
        uint64_t v = 7;

        for (size_t n = 0; n < ELEMENTS(bad); n++)
                assert_int_equal(text_to_size(bad[n], &v), -EINVAL);
        assert_int_equal(text_to_size("4611686018427387905", &v), -ERANGE);
        assert_int_equal(text_to_size("4294967297G", &v), -ERANGE);
        assert_true(v == 7);
        assert_int_equal(text_to_size("4294967296G", &v), 0);
        assert_true(v == UINT64_C(1) << 62);
        assert_int_equal(text_to_size("64K", &v), 0);
        assert_true(v == 65536);
        assert_int_equal(text_to_size("3M", &v), 0);
        assert_true(v == 3 * 1048576);
        assert_int_equal(text_to_size("0", &v), 0);
        assert_true(v == 0);
}

static void make_file(char *path, size_t n) {
        int fd = mkstemp(path);

        assert_true(fd >= 0);
        for (size_t i = 0; i < n; i++)
                assert_int_equal(write(fd, "x", 1), 1);
        close(fd);
}

static void test_read_file(void **state) {
        char path[] = "/tmp/test-text-XXXXXX";
        char *text = NULL;
        size_t len = 0;

        make_file(path, 5000);
        assert_int_equal(text_read_file(AT_FDCWD, path, 4999, &text, &len), -E2BIG);
        assert_null(text);
        assert_int_equal(text_read_file(AT_FDCWD, path, 5000, &text, &len), 0);
        assert_int_equal(len, 5000);
        assert_int_equal(strlen(text), 5000);
        free(TAKE(text));
        assert_int_equal(truncate(path, 0), 0);
        assert_int_equal(text_read_file(AT_FDCWD, path, 0, &text, NULL), 0);
        assert_string_equal(text, "");
        free(text);
        unlink(path);
        text = NULL;
        assert_int_equal(text_read_file(AT_FDCWD, path, 10, &text, &len), -ENOENT);
        assert_int_equal(text_read_file(AT_FDCWD, "/proc/self/stat", 100000, &text, &len), 0); /* its size is said to be 0 */
        assert_true(len > 0);
        free(text);
}

/* A path that somebody else names may be a FIFO, and opening one waits for its other end. */
static void test_read_fifo(void **state) {
        char directory[] = "/tmp/test-text-XXXXXX";
        _cleanup_free_ char *path = NULL, *text = NULL;

        assert_non_null(mkdtemp(directory));
        path = format("%s/fifo", directory);
        assert_int_equal(mkfifo(path, 0600), 0);
        assert_int_equal(text_read_file(AT_FDCWD, path, 10, &text, NULL), 0);
        assert_string_equal(text, "");
        unlink(path);
        rmdir(directory);
}

static void test_hash(void **state) {
        assert_true(text_hash("", 0) == UINT64_C(0xcbf29ce484222325));
        assert_true(text_hash("foobar", 6) == UINT64_C(0x85944171f73967e8)); /* from FNV's own test vectors */
}

static void test_fail(void **state) {
        char *sentence = NULL;

        assert_int_equal(fail(NULL, -EINVAL, "nobody hears"), -EINVAL);
        assert_int_equal(fail(&sentence, -EINVAL, "%s", "inner"), -EINVAL);
        assert_int_equal(fail(&sentence, -EIO, "outer: %s", sentence), -EIO);
        assert_string_equal(sentence, "outer: inner");
        free(sentence);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_escape_valid),
                cmocka_unit_test(test_escape_backslashes),
                cmocka_unit_test(test_escape_controls),
                cmocka_unit_test(test_escape_invalid),
                cmocka_unit_test(test_escape_max),
                cmocka_unit_test(test_filename),
                cmocka_unit_test(test_filename_long),
                cmocka_unit_test(test_integers),
                cmocka_unit_test(test_size),
                cmocka_unit_test(test_read_file),
                cmocka_unit_test(test_read_fifo),
                cmocka_unit_test(test_hash),
                cmocka_unit_test(test_fail),
        };

        return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}

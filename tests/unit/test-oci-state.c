/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The states that runtimes send, and those that they should not. */
#include "unit.h"

#include <fcntl.h>

#include "oci-state.h"
#include "text.h"

#define ID "34f3c0de8f7a4c1be2d95a60c7f18d3e42b9a1750c6d8e9f0a1b2c3d4e5f6071"

static char *read_fixture(const char *name, size_t *len) {
        _cleanup_free_ char *path = format(FIXTURES "/oci/%s.json", name);
        char *text = NULL;

        if (text_read_file(AT_FDCWD, path, 8 * OCI_STATE_MAX, &text, len) < 0)
                fail_msg("%s is missing", path);
        return text;
}

static struct oci_state *load(const char *name) {
        struct oci_state *s = NULL;
        char *sentence = NULL;
        size_t len;
        _cleanup_free_ char *text = read_fixture(name, &len);

        if (oci_state_parse(text, len, &s, &sentence) < 0)
                fail_msg("%s: %s", name, sentence);
        return s;
}

static void check_start(const char *name, const char *id, pid_t pid, const char *spec) {
        _cleanup_(oci_state_freep) struct oci_state *s = load(name);
        enum oci_status status;
        const char *text = NULL;
        pid_t got;

        assert_int_equal(oci_state_status(s, &status, NULL), 0);
        assert_int_equal(status, OCI_STARTING);
        assert_int_equal(oci_state_id(s, &text, NULL), 0);
        assert_string_equal(text, id);
        assert_int_equal(oci_state_pid(s, &got, NULL), 0);
        assert_int_equal(got, pid);
        text = NULL;
        assert_int_equal(oci_state_spec(s, &text, NULL), spec != NULL);
        if (spec)
                assert_string_equal(text, spec);
        assert_non_null(oci_state_bundle(s));
}

static void test_starting(void **state) {
        check_start("runc-creating", "box", 7068, "on");
        check_start("runc-creating-plain", "box", 7150, NULL);
        check_start("crun-created", ID, 4242, "auto,stacks");
        check_start("podman-created", ID, 4242, "on");
        check_start("crio-container", ID, 4242, "auto,required");
        check_start("containerd-container", ID, 4242, "on");
        check_start("annotations-null", "box", 4242, NULL);
        check_start("annotations-odd", "box", 4242, "on");
}

static void test_stopped(void **state) {
        static const char *const names[] = {"runc-stopped", "runc-stopped-plain", "crun-stopped"};

        for (size_t i = 0; i < ELEMENTS(names); i++) {
                _cleanup_(oci_state_freep) struct oci_state *s = load(names[i]);
                enum oci_status status;
                const char *id;

                assert_int_equal(oci_state_status(s, &status, NULL), 0);
                assert_int_equal(status, OCI_STOPPED);
                assert_int_equal(oci_state_id(s, &id, NULL), 0);
        }
}

static void test_sandbox(void **state) {
        static const struct {
                const char *name;
                bool sandbox;
        } cases[] = {
                {"crio-sandbox", true},
                {"containerd-sandbox", true},
                {"crio-container", false},
                {"containerd-container", false},
                {"podman-created", false},
                {"runc-creating-plain", false},
                {"bad-annotations-array", false},
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_(oci_state_freep) struct oci_state *s = load(cases[i].name);

                assert_int_equal(oci_state_is_sandbox(s), cases[i].sandbox);
        }
}

static void check_unreadable(const char *text, size_t n, int error, const char *named) {
        struct oci_state *s = NULL;
        char *exact = malloc(n + 1), *sentence = NULL;

        memcpy(exact, text, n);
        assert_int_equal(oci_state_parse(exact, n, &s, &sentence), error);
        assert_null(s);
        assert_sentence(&sentence, named);
        free(exact);
}

static void test_unreadable(void **state) {
        static const struct {
                const char *name, *named;
        } cases[] = {
                {"bad-empty", "empty"},
                {"bad-malformed", "not valid JSON"},
                {"bad-binary", "not valid JSON"},
                {"bad-id-utf8", "not valid JSON"},
                {"bad-array", "not a JSON object"},
                {"bad-deep", "deeper"},
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                size_t len;
                _cleanup_free_ char *text = read_fixture(cases[i].name, &len);

                check_unreadable(text, len, -EINVAL, cases[i].named);
        }
}

/* A state of exactly n bytes. */
static char *padded(size_t n) {
        static const char head[] = "{\"id\":\"box\",\"status\":\"stopped\",\"x\":\"", tail[] = "\"}";
        char *text = malloc(n);

        memset(text, 'x', n);
        memcpy(text, head, strlen(head));
        memcpy(text + n - strlen(tail), tail, strlen(tail));
        return text;
}

static void test_size(void **state) {
        _cleanup_free_ char *full = padded(OCI_STATE_MAX), *over = padded(OCI_STATE_MAX + 1);
        _cleanup_(oci_state_freep) struct oci_state *s = NULL;

        assert_int_equal(oci_state_parse(full, OCI_STATE_MAX, &s, NULL), 0);
        check_unreadable(over, OCI_STATE_MAX + 1, -E2BIG, "1048576");
}

static void test_depth(void **state) {
        static const char deep[] =
                "{\"id\":\"box\",\"brackets in a string\":\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
                "[[[[[[[[[[[[[[[[[[[[[[[[[\\\"[[[[[[[[[[\",\"x\":[[1],[2],{}]}";
        _cleanup_(oci_state_freep) struct oci_state *s = NULL;
        char text[200] = "";

        assert_int_equal(oci_state_parse(deep, strlen(deep), &s, NULL), 0);
        for (size_t i = 0; i < 65; i++)
                text[i] = '[';
        check_unreadable(text, 64, -EINVAL, "not valid JSON");
        check_unreadable(text, 65, -EINVAL, "deeper than 64");
}

typedef int (*getter)(const struct oci_state *s, char **reterr);

static int get_status(const struct oci_state *s, char **reterr) {
        enum oci_status status;

        return oci_state_status(s, &status, reterr);
}

static int get_id(const struct oci_state *s, char **reterr) {
        const char *id;

        return oci_state_id(s, &id, reterr);
}

static int get_pid(const struct oci_state *s, char **reterr) {
        pid_t pid;

        return oci_state_pid(s, &pid, reterr);
}

static int get_spec(const struct oci_state *s, char **reterr) {
        const char *spec;

        return oci_state_spec(s, &spec, reterr);
}

static void test_bad_members(void **state) {
        static const struct {
                const char *name;
                getter get;
                const char *named;
        } cases[] = {
                {"bad-pid-none", get_pid, "no pid"},
                {"bad-pid-zero", get_pid, "is 0,"},
                {"bad-pid-string", get_pid, "not an integer"},
                {"bad-pid-real", get_pid, "not an integer"},
                {"bad-pid-negative", get_pid, "is -1,"},
                {"bad-pid-huge", get_pid, "is 4294967296,"},
                {"bad-id-none", get_id, "no id"},
                {"bad-id-number", get_id, "not a string"},
                {"bad-id-empty", get_id, "empty"},
                {"bad-id-long", get_id, "4096 bytes"},
                {"bad-id-slash", get_id, "slash"},
                {"bad-id-newline", get_id, "cannot be printed"},
                {"bad-id-nul", get_id, "cannot be printed"},
                {"bad-status-none", get_status, "no status"},
                {"bad-status-running", get_status, "\"running\""},
                {"bad-status-number", get_status, "not a string"},
                {"bad-annotations-array", get_spec, "not an object"},
                {"bad-annotations-string", get_spec, "not an object"},
                {"bad-annotation-number", get_spec, "not a string"},
                {"bad-annotation-nul", get_spec, "NUL"},
        };

        for (size_t i = 0; i < ELEMENTS(cases); i++) {
                _cleanup_(oci_state_freep) struct oci_state *s = load(cases[i].name);
                char *sentence = NULL;

                assert_int_equal(cases[i].get(s, &sentence), -EINVAL);
                assert_sentence(&sentence, cases[i].named);
        }
}

static void check_label(const char *name, const char *expected, size_t length) {
        _cleanup_(oci_state_freep) struct oci_state *s = load(name);
        _cleanup_free_ char *label = oci_state_label(s);

        assert_non_null(label);
        assert_int_equal(strncmp(label, expected, strlen(expected)), 0);
        assert_int_equal(strlen(label), length);
}

static void test_label(void **state) {
        _cleanup_(oci_state_freep) struct oci_state *none = load("bad-id-none");

        assert_null(oci_state_label(none));
        check_label("crun-created", ID, 64);
        check_label("bad-id-long", "aaaa", OCI_LABEL_MAX + 3);
        check_label("bad-id-newline", "box\\x0amemcgprof-hook", 34);
        check_label("bad-id-nul", "bo\\x00x", 7);
}

static void test_annotations(void **state) {
        _cleanup_(oci_state_freep) struct oci_state *s = load("annotations-odd"), *array = load("bad-annotations-array");
        char *value = NULL;

        assert_int_equal(oci_state_annotation(s, "io.kubernetes.pod.name", &value), 1);
        assert_int_equal(strlen(value), OCI_ANNOTATION_MAX);
        assert_string_equal(value + OCI_ANNOTATION_MAX - 4, "x...");
        free(TAKE(value));
        assert_int_equal(oci_state_annotation(s, "io.kubernetes.pod.namespace", &value), 1);
        assert_string_equal(value, "a\nb\xef\xbf\xbe\xc2\x9b\\x41");
        free(TAKE(value));
        assert_int_equal(oci_state_annotation(s, "io.kubernetes.container.name", &value), 1);
        assert_string_equal(value, "gr\xc3\xbcn");
        free(TAKE(value));
        assert_int_equal(oci_state_annotation(s, "io.kubernetes.pod.uid", &value), 0); /* a number */
        assert_int_equal(oci_state_annotation(s, "io.kubernetes.cri.sandbox-name", &value), 0);
        assert_int_equal(oci_state_annotation(array, "org.memcgprof.profile", &value), 0);
        assert_null(value);
}

static void check_bundle(const char *json, const char *expected) {
        _cleanup_(oci_state_freep) struct oci_state *s = NULL;
        const char *bundle;

        assert_int_equal(oci_state_parse(json, strlen(json), &s, NULL), 0);
        bundle = oci_state_bundle(s);
        if (!expected)
                assert_null(bundle);
        else
                assert_string_equal(bundle, expected);
}

static void test_bundle(void **state) {
        check_bundle("{}", NULL);
        check_bundle("{\"bundle\":7}", NULL);
        check_bundle("{\"bundle\":\"\"}", NULL);
        check_bundle("{\"bundle\":\"relative\"}", NULL);
        check_bundle("{\"bundle\":\"/a\\u0000b\"}", NULL);
        check_bundle("{\"bundle\":\"/a\\nb\"}", NULL);
        check_bundle("{\"bundle\":\"/a\\ufffe\"}", NULL);
        check_bundle("{\"bundle\":\"/srv/a\\\\x2db\"}", "/srv/a\\x2db");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_starting),
                cmocka_unit_test(test_stopped),
                cmocka_unit_test(test_sandbox),
                cmocka_unit_test(test_unreadable),
                cmocka_unit_test(test_size),
                cmocka_unit_test(test_depth),
                cmocka_unit_test(test_bad_members),
                cmocka_unit_test(test_label),
                cmocka_unit_test(test_annotations),
                cmocka_unit_test(test_bundle),
        };

        return cmocka_run_group_tests_name("oci-state", tests, NULL, NULL);
}

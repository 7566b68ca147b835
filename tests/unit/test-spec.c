/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The grammar of the profile spec, its caps and its gaps. */
#include "unit.h"

#include "spec.h"

static struct spec parse(const char *text) {
        struct spec spec;
        char *sentence = NULL;

        if (spec_parse(text, &spec, &sentence) < 0)
                fail_msg("\"%s\" is refused: %s", text, sentence ? sentence : "?");
        return spec;
}

static void refused(const char *text, const char *named) {
        struct spec spec = {.mode = MODE_MULTI, .sample = 7};
        char *sentence = NULL;

        assert_int_equal(spec_parse(text, &spec, &sentence), -EINVAL);
        assert_true(spec.mode == MODE_MULTI && spec.sample == 7 && !spec.numa && !spec.required);
        assert_sentence(&sentence, named);
        assert_int_equal(spec_parse(text, &spec, NULL), -EINVAL);
}

static void test_modes(void **state) {
        assert_int_equal(parse("off").mode, MODE_OFF);
        assert_int_equal(parse("on").mode, MODE_AUTO);
        assert_int_equal(parse("auto").mode, MODE_AUTO);
        assert_int_equal(parse("single").mode, MODE_SINGLE);
        assert_int_equal(parse("multi").mode, MODE_MULTI);
        assert_int_equal(mode_from_string("on"), MODE_AUTO);
        assert_int_equal(mode_from_string("On"), -EINVAL);
        for (int i = 0; i < _MODE_MAX; i++)
                assert_int_equal(mode_from_string(mode_to_string(i)), i);
        assert_string_equal(stacks_to_string(STACKS_SAMPLED), "sampled");
}

static void test_words(void **state) {
        struct spec spec = parse("auto,stacks,sample=64K");

        assert_true(spec.mode == MODE_AUTO && spec.stacks == STACKS_SAMPLED && spec.sample == 65536);
        assert_true(!spec.numa && !spec.required);
        spec = parse("multi,required,numa,stacks=all,sample=2M");
        assert_true(spec.mode == MODE_MULTI && spec.stacks == STACKS_ALL && spec.sample == 2097152);
        assert_true(spec.numa && spec.required);
        assert_int_equal(parse("on").stacks, STACKS_OFF);
        assert_true(parse("on,sample=1").sample == 1);
        spec = parse("on , numa\t,  required");
        assert_true(spec.numa && spec.required);
}

static void test_refused(void **state) {
        refused("", "empty");
        refused(" ", "\" \"");
        refused(" on", "\" on\"");
        refused("on ", "\"on \"");
        refused("ON", "\"ON\"");
        refused("on\n", "on\\x0a");
        refused("stacks", "\"stacks\"");
        refused("on,", "\"\"");
        refused(",on", "\"\"");
        refused("on,,numa", "\"\"");
        refused("on,stakcs", "\"stakcs\"");
        refused("on,stacks=", "\"stacks=\"");
        refused("on,stacks=some", "\"stacks=some\"");
        refused("on,auto", "\"auto\"");
        refused("on,numa=1", "\"numa=1\"");
        refused("on,nu ma", "\"nu ma\"");
        refused("on,\xff\x1b[2J", "\\xff\\x1b[2J");
}

static void test_duplicates(void **state) {
        refused("on,numa,numa", "\"numa\"");
        refused("on,required,required", "\"required\"");
        refused("on,stacks,stacks", "\"stacks\"");
        refused("on,stacks,stacks=all", "\"stacks=all\"");
        refused("on,stacks=all,stacks", "\"stacks\"");
        refused("on,sample=1K,sample=2K", "\"sample=2K\"");
}

static void test_sizes(void **state) {
        refused("on,sample=", "\"sample=\"");
        refused("on,sample=0", "\"sample=0\"");
        refused("on,sample=0K", "\"sample=0K\"");
        refused("on,sample=-1", "\"sample=-1\"");
        refused("on,sample=1k", "\"sample=1k\"");
        refused("on,sample=1G", "\"sample=1G\"");
        refused("on,sample=64KB", "\"sample=64KB\"");
        refused("on,sample=99999999999999999999", "too large");
        refused("on,sample=9223372036854775807M", "too large");
}

static void test_length(void **state) {
        char text[SPEC_MAX + 2];
        struct spec spec;
        char *sentence = NULL;

        memset(text, ' ', sizeof(text));
        memcpy(text, "on,", 3);
        memcpy(text + SPEC_MAX - 4, "numa", 5);
        assert_true(parse(text).numa);
        memcpy(text + SPEC_MAX - 4, " numa", 6);
        assert_int_equal(spec_parse(text, &spec, &sentence), -E2BIG);
        assert_sentence(&sentence, "256");
}

static void test_says_required(void **state) {
        assert_true(spec_says_required("on,required"));
        assert_true(spec_says_required("on, required ,numa"));
        assert_true(spec_says_required("required"));
        assert_true(spec_says_required("garbage,,required\n"));
        assert_false(spec_says_required(""));
        assert_false(spec_says_required("on"));
        assert_false(spec_says_required("on,required=no"));
        assert_false(spec_says_required("on,unrequired"));
        assert_false(spec_says_required("on,require"));
        assert_false(spec_says_required(",,,"));
}

static void check_format(const char *text, const char *expected) {
        struct spec spec = parse(text), again;
        _cleanup_free_ char *out = spec_format(&spec);

        assert_string_equal(out, expected);
        again = parse(out);
        assert_memory_equal(&again.mode, &spec.mode, sizeof(spec.mode));
        assert_true(again.stacks == spec.stacks && again.sample == spec.sample && again.numa == spec.numa &&
                    again.required == spec.required);
}

static void test_format(void **state) {
        check_format("on", "auto");
        check_format("off", "off");
        check_format("single , required,numa,sample=65536 ,stacks", "single,stacks,sample=64K,numa,required");
        check_format("multi,stacks=all,sample=1048576", "multi,stacks=all,sample=1M");
        check_format("on,sample=1000", "auto,sample=1000");
}

static void test_gaps(void **state) {
        struct spec_gap gaps[SPEC_GAPS_MAX];
        struct spec spec = parse("multi,sample=1M,numa,required");

        assert_int_equal(spec_gaps(&spec, gaps), 0);
        spec = parse("auto,stacks");
        assert_int_equal(spec_gaps(&spec, gaps), 1);
        assert_string_equal(gaps[0].word, "stacks");
        assert_non_null(strstr(gaps[0].reason, "not recorded in this version"));
        spec = parse("auto,stacks=all");
        assert_int_equal(spec_gaps(&spec, gaps), 1);
        assert_string_equal(gaps[0].word, "stacks=all");
        assert_non_null(strstr(gaps[0].reason, "Every page allocation gets its site, but"));
}

static void test_caps(void **state) {
        const struct spec_caps all = {true, true, true, 1};
        struct spec_gap gaps[SPEC_GAPS_MAX];
        struct spec spec = parse("single,stacks=all,sample=4K,required,numa");

        assert_int_equal(spec_cap(&spec, &all, gaps), 0);
        assert_true(spec.mode == MODE_SINGLE && spec.stacks == STACKS_ALL && spec.sample == 4096 && spec.required);
        assert_int_equal(spec_cap(&spec, &spec_caps_default, gaps), 4);
        assert_true(spec.mode == MODE_AUTO && spec.stacks == STACKS_SAMPLED && spec.sample == 65536 && !spec.required);
        assert_true(spec.numa);
        assert_string_equal(gaps[0].word, "single");
        assert_string_equal(gaps[3].word, "required");
        spec = parse("multi,stacks,sample=64K");
        assert_int_equal(spec_cap(&spec, &spec_caps_default, gaps), 0);
        spec = parse("on"); /* no distance said: the default one, which is no wish */
        assert_int_equal(spec_cap(&spec, &spec_caps_default, gaps), 0);
        assert_true(spec.sample == 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_modes),
                cmocka_unit_test(test_words),
                cmocka_unit_test(test_refused),
                cmocka_unit_test(test_duplicates),
                cmocka_unit_test(test_sizes),
                cmocka_unit_test(test_length),
                cmocka_unit_test(test_says_required),
                cmocka_unit_test(test_format),
                cmocka_unit_test(test_gaps),
                cmocka_unit_test(test_caps),
        };

        return cmocka_run_group_tests_name("spec", tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The registry of groups: who gets the one place, who is told what, and the modes.
 */
#include "unit.h"

#include "group.h"

#define UNTOUCHED 4242

static void admit(
        struct groups *g, uint64_t id, const char *name, enum mode wanted, int expected, uint64_t replaced, const char *says) {
        uint64_t got = UNTOUCHED;
        char *reterr = NULL;
        int r = groups_admit(g, id, name, wanted, &got, &reterr);

        assert_int_equal(r, expected);
        if (r < 0) {
                assert_int_equal(got, UNTOUCHED);
                assert_non_null(strstr(reterr, says));
        } else {
                assert_int_equal(got, replaced);
                assert_null(reterr);
        }
        free(reterr);
}

static void one_at_a_time(void **state) {
        _cleanup_(groups_freep) struct groups *g = groups_new();

        assert_int_equal(groups_effective_mode(g), MODE_AUTO);
        admit(g, 1, "container:a", MODE_AUTO, 0, 0, NULL);
        assert_int_equal(groups_effective_mode(g), MODE_SINGLE);
        admit(g, 1, "container:a", MODE_AUTO, -EEXIST, 0, "container:a");
        admit(g, 2, "container:b", MODE_AUTO, -EBUSY, 0, "container:a");
        admit(g, 2, "container:b", MODE_SINGLE, -EBUSY, 0, "container:a");
        groups_remove(g, 2);
        admit(g, 2, "container:b", MODE_AUTO, -EBUSY, 0, "container:a");
        groups_remove(g, 1);
        assert_int_equal(groups_effective_mode(g), MODE_AUTO);
        admit(g, 2, "container:b", MODE_SINGLE, 0, 0, NULL);
}

static void an_ended_group_gives_way(void **state) {
        _cleanup_(groups_freep) struct groups *g = groups_new();

        admit(g, 1, "container:a", MODE_SINGLE, 0, 0, NULL);
        groups_mark_ended(g, 7);
        admit(g, 2, "container:b", MODE_AUTO, -EBUSY, 0, "container:a");
        groups_mark_ended(g, 1);
        assert_int_equal(groups_effective_mode(g), MODE_AUTO);
        admit(g, 1, "container:a", MODE_AUTO, -EEXIST, 0, "container:a");
        admit(g, 2, "container:b", MODE_AUTO, 0, 1, NULL);
        /* The caller ends the old one only now. */
        groups_remove(g, 1);
        assert_int_equal(groups_effective_mode(g), MODE_SINGLE);
        admit(g, 3, "container:c", MODE_AUTO, -EBUSY, 0, "container:b");
}

static void modes(void **state) {
        _cleanup_(groups_freep) struct groups *g = groups_new();
        _cleanup_free_ char *reterr = NULL;

        assert_int_equal(groups_mode(g), MODE_AUTO);
        admit(g, 1, "a", MODE_MULTI, -EOPNOTSUPP, 0, "multi");
        admit(g, 1, "a", MODE_OFF, -EINVAL, 0, "off");
        assert_int_equal(groups_set_mode(g, MODE_MULTI, &reterr), -EOPNOTSUPP);
        assert_non_null(strstr(reterr, "multi"));
        assert_int_equal(groups_set_mode(g, _MODE_MAX, NULL), -EINVAL);
        assert_int_equal(groups_mode(g), MODE_AUTO);

        assert_int_equal(groups_set_mode(g, MODE_SINGLE, NULL), 0);
        assert_int_equal(groups_mode(g), MODE_SINGLE);
        assert_int_equal(groups_effective_mode(g), MODE_AUTO);
        admit(g, 1, "a", MODE_AUTO, 0, 0, NULL);
        assert_int_equal(groups_set_mode(g, MODE_AUTO, NULL), 0);

        assert_int_equal(groups_set_mode(g, MODE_OFF, NULL), 0);
        assert_int_equal(groups_effective_mode(g), MODE_OFF);
        admit(g, 2, "b", MODE_AUTO, -ECANCELED, 0, "off");
        groups_remove(g, 1);
        admit(g, 2, "b", MODE_AUTO, -ECANCELED, 0, "off");
        assert_int_equal(groups_set_mode(g, MODE_AUTO, NULL), 0);
        admit(g, 2, "b", MODE_AUTO, 0, 0, NULL);
}

static void names_are_escaped(void **state) {
        _cleanup_(groups_freep) struct groups *g = groups_new();
        char longer[5000];

        admit(g, 1, "a\n\x1b[31m\xff", MODE_AUTO, 0, 0, NULL);
        admit(g, 2, "b", MODE_AUTO, -EBUSY, 0, "a\\x0a\\x1b[31m\\xff");
        groups_remove(g, 1);
        memset(longer, 'n', sizeof longer - 1);
        longer[sizeof longer - 1] = '\0';
        admit(g, 1, longer, MODE_AUTO, 0, 0, NULL);
        admit(g, 2, "b", MODE_AUTO, -EBUSY, 0, "n...");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(one_at_a_time),
                cmocka_unit_test(an_ended_group_gives_way),
                cmocka_unit_test(modes),
                cmocka_unit_test(names_are_escaped),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The registry of groups: who is admitted beside whom, who has to go, who is named, and the modes.
 */
#include "unit.h"

#include "group.h"

#define HOST 1000

static const struct groups_leaving untouched = {.ids = {4242, 4242}, .n = 4242};

static void check_answer(
        int r, int expected, const struct groups_leaving *leaving, uint64_t gone, char **reterr, const char *says) {
        assert_int_equal(r, expected);
        if (r < 0) {
                assert_memory_equal(leaving, &untouched, sizeof *leaving);
                assert_sentence(reterr, says);
        } else {
                assert_null(*reterr);
                assert_int_equal(leaving->n, gone ? 1 : 0);
                if (gone)
                        assert_int_equal(leaving->ids[0], gone);
        }
}

/* `gone`: who has to go, 0: nobody. The name is the letter of the id: 1 is "a". The id HOST is the host. */
static void admit(struct groups *g, uint64_t id, enum mode wanted, int expected, uint64_t gone, const char *says) {
        struct groups_leaving leaving = untouched;
        char letter[] = {(char)('a' + id - 1), '\0'};
        struct group_request q = {.id = id, .name = id == HOST ? "host" : letter, .wanted = wanted, .host = id == HOST};
        char *reterr = NULL;

        check_answer(groups_admit(g, &q, &leaving, &reterr), expected, &leaving, gone, &reterr, says);
}

static void change(struct groups *g, uint64_t id, enum mode wanted, int expected, uint64_t gone, const char *says) {
        struct groups_leaving leaving = untouched;
        char *reterr = NULL;

        check_answer(groups_change(g, id, wanted, &leaving, &reterr), expected, &leaving, gone, &reterr, says);
}

static void set_mode(struct groups *g, enum mode mode, int expected, const char *says) {
        enum mode before = groups_mode(g);
        char *reterr = NULL;

        assert_int_equal(groups_set_mode(g, mode, &reterr), expected);
        if (expected < 0)
                assert_sentence(&reterr, says);
        assert_null(reterr);
        assert_int_equal(groups_mode(g), expected < 0 ? before : mode);
}

static void autos_share(void **state) {
        _cleanup_(groups_freep) struct groups *g = groups_new();

        assert_int_equal(groups_effective_mode(g), MODE_AUTO);
        admit(g, 1, MODE_AUTO, 0, 0, NULL);
        assert_int_equal(groups_effective_mode(g), MODE_SINGLE);
        admit(g, 1, MODE_AUTO, -EEXIST, 0, "a is");
        for (uint64_t id = 2; id < 20; id++) {
                admit(g, id, MODE_AUTO, 0, 0, NULL);
                assert_int_equal(groups_effective_mode(g), MODE_MULTI);
        }
        for (uint64_t id = 19; id > 1; id--) {
                assert_int_equal(groups_effective_mode(g), MODE_MULTI);
                groups_remove(g, id);
        }
        assert_int_equal(groups_effective_mode(g), MODE_SINGLE);
        groups_remove(g, 7);
        groups_remove(g, 1);
        assert_int_equal(groups_effective_mode(g), MODE_AUTO);
}

static void multi_is_multi_from_the_start(void **state) {
        _cleanup_(groups_freep) struct groups *g = groups_new();

        admit(g, 1, MODE_MULTI, 0, 0, NULL);
        assert_int_equal(groups_effective_mode(g), MODE_MULTI);
        admit(g, 2, MODE_SINGLE, -EBUSY, 0, "a is");
        admit(g, 2, MODE_AUTO, 0, 0, NULL);
        groups_remove(g, 1);
        assert_int_equal(groups_effective_mode(g), MODE_SINGLE);
}

static void single_holds(void **state) {
        _cleanup_(groups_freep) struct groups *g = groups_new();

        admit(g, 1, MODE_SINGLE, 0, 0, NULL);
        for (enum mode wanted = MODE_AUTO; wanted <= MODE_MULTI; wanted++) {
                admit(g, 2, wanted, -EBUSY, 0, "a is");
                admit(g, HOST, wanted, -EBUSY, 0, "a is");
        }
        assert_int_equal(groups_effective_mode(g), MODE_SINGLE);
        groups_remove(g, 2);
        admit(g, 2, MODE_AUTO, -EBUSY, 0, "a is");
        groups_remove(g, 1);
        admit(g, 2, MODE_AUTO, 0, 0, NULL);
        admit(g, 1, MODE_SINGLE, -EBUSY, 0, "b is");
        admit(g, 3, MODE_AUTO, 0, 0, NULL);
        admit(g, 4, MODE_AUTO, 0, 0, NULL);
        admit(g, 1, MODE_SINGLE, -EBUSY, 0, "b and 2 more");
}

static void ended_groups_do_not_count(void **state) {
        _cleanup_(groups_freep) struct groups *g = groups_new();

        admit(g, 1, MODE_SINGLE, 0, 0, NULL);
        groups_mark_ended(g, 7);
        admit(g, 2, MODE_AUTO, -EBUSY, 0, "a is");
        groups_mark_ended(g, 1);
        assert_int_equal(groups_effective_mode(g), MODE_AUTO);
        admit(g, 1, MODE_AUTO, -EEXIST, 0, "a is");
        change(g, 1, MODE_AUTO, -ENXIO, 0, "not");
        admit(g, 2, MODE_SINGLE, 0, 0, NULL);
        assert_int_equal(groups_effective_mode(g), MODE_SINGLE);
        set_mode(g, MODE_SINGLE, 0, NULL);
        groups_mark_ended(g, 2);
        admit(g, 3, MODE_AUTO, 0, 0, NULL);
        set_mode(g, MODE_MULTI, 0, NULL);
}

static void host_is_a_group(void **state) {
        _cleanup_(groups_freep) struct groups *g = groups_new();

        admit(g, HOST, MODE_AUTO, 0, 0, NULL);
        assert_int_equal(groups_effective_mode(g), MODE_SINGLE);
        admit(g, 1, MODE_AUTO, 0, 0, NULL);
        assert_int_equal(groups_effective_mode(g), MODE_MULTI);
        /* The others decide; a refusal sends nobody away. */
        admit(g, 2, MODE_SINGLE, -EBUSY, 0, "a and 1 more");
        admit(g, HOST, MODE_AUTO, -EEXIST, 0, "host is");
        groups_remove(g, 1);
        admit(g, 2, MODE_SINGLE, 0, HOST, NULL);
        groups_remove(g, HOST);
        assert_int_equal(groups_effective_mode(g), MODE_SINGLE);
        admit(g, HOST, MODE_AUTO, -EBUSY, 0, "b is");
        groups_remove(g, 2);
        /* What the host asked for itself, it holds. */
        admit(g, HOST, MODE_SINGLE, 0, 0, NULL);
        admit(g, 2, MODE_SINGLE, -EBUSY, 0, "host is");
        admit(g, 2, MODE_AUTO, -EBUSY, 0, "host is");
}

static void another_word(void **state) {
        _cleanup_(groups_freep) struct groups *g = groups_new();

        change(g, 1, MODE_AUTO, -ENXIO, 0, "not");
        admit(g, 1, MODE_AUTO, 0, 0, NULL);
        admit(g, 2, MODE_AUTO, 0, 0, NULL);
        change(g, 1, MODE_SINGLE, -EBUSY, 0, "b is");
        groups_remove(g, 2);
        change(g, 1, MODE_SINGLE, 0, 0, NULL);
        admit(g, 2, MODE_AUTO, -EBUSY, 0, "a is");
        change(g, 1, MODE_MULTI, 0, 0, NULL);
        assert_int_equal(groups_effective_mode(g), MODE_MULTI);
        admit(g, HOST, MODE_AUTO, 0, 0, NULL);
        change(g, 1, MODE_SINGLE, 0, HOST, NULL);
        change(g, 1, MODE_OFF, -EINVAL, 0, "off");
}

static void mode_single(void **state) {
        _cleanup_(groups_freep) struct groups *g = groups_new();

        admit(g, 1, MODE_AUTO, 0, 0, NULL);
        admit(g, 2, MODE_AUTO, 0, 0, NULL);
        set_mode(g, MODE_SINGLE, -EBUSY, "a and 1 more");
        groups_remove(g, 1);
        set_mode(g, MODE_SINGLE, 0, NULL);
        assert_int_equal(groups_effective_mode(g), MODE_SINGLE);
        for (enum mode wanted = MODE_AUTO; wanted <= MODE_MULTI; wanted++)
                admit(g, 1, wanted, -EBUSY, 0, "b is");
        admit(g, HOST, MODE_AUTO, -EBUSY, 0, "b is");
        groups_remove(g, 2);
        assert_int_equal(groups_effective_mode(g), MODE_SINGLE);
        admit(g, HOST, MODE_MULTI, 0, 0, NULL);
        admit(g, 1, MODE_MULTI, 0, HOST, NULL);
        groups_remove(g, HOST);
        set_mode(g, MODE_AUTO, 0, NULL);
        admit(g, 2, MODE_AUTO, 0, 0, NULL);
        /* The host's profile beside a group is against single too: a mode ends nobody. */
        groups_remove(g, 2);
        admit(g, HOST, MODE_AUTO, 0, 0, NULL);
        set_mode(g, MODE_SINGLE, -EBUSY, "a and 1 more");
}

static void mode_multi(void **state) {
        _cleanup_(groups_freep) struct groups *g = groups_new();

        admit(g, 1, MODE_SINGLE, 0, 0, NULL);
        set_mode(g, MODE_MULTI, -EBUSY, "a is");
        change(g, 1, MODE_AUTO, 0, 0, NULL);
        set_mode(g, MODE_MULTI, 0, NULL);
        assert_int_equal(groups_effective_mode(g), MODE_MULTI);
        admit(g, HOST, MODE_AUTO, 0, 0, NULL);
        admit(g, 2, MODE_SINGLE, -ECANCELED, 0, "multi");
        change(g, 1, MODE_SINGLE, -ECANCELED, 0, "multi");
        groups_remove(g, 1);
        groups_remove(g, HOST);
        assert_int_equal(groups_effective_mode(g), MODE_MULTI);
        admit(g, 2, MODE_SINGLE, -ECANCELED, 0, "multi");
        admit(g, 2, MODE_MULTI, 0, 0, NULL);
}

static void mode_off(void **state) {
        _cleanup_(groups_freep) struct groups *g = groups_new();

        admit(g, 1, MODE_OFF, -EINVAL, 0, "off");
        set_mode(g, _MODE_MAX, -EINVAL, "no mode");
        admit(g, 1, MODE_SINGLE, 0, 0, NULL);
        set_mode(g, MODE_OFF, 0, NULL);
        assert_int_equal(groups_effective_mode(g), MODE_OFF);
        admit(g, 2, MODE_AUTO, -ECANCELED, 0, "off");
        groups_remove(g, 1);
        admit(g, 2, MODE_AUTO, -ECANCELED, 0, "off");
        set_mode(g, MODE_AUTO, 0, NULL);
        admit(g, 2, MODE_AUTO, 0, 0, NULL);
}

static void places_are_bounded(void **state) {
        _cleanup_(groups_freep) struct groups *g = groups_new();

        assert_int_equal(groups_max(g), GROUPS_MAX_DEFAULT);
        groups_set_max(g, 3);
        assert_int_equal(groups_max(g), 3);
        admit(g, 1, MODE_AUTO, 0, 0, NULL);
        admit(g, 2, MODE_AUTO, 0, 0, NULL);
        admit(g, 3, MODE_AUTO, 0, 0, NULL);
        admit(g, 4, MODE_AUTO, -ENOSPC, 0, "3 groups");
        /* Who ended first goes first, and goes only when there is no other place. */
        groups_mark_ended(g, 3);
        groups_mark_ended(g, 1);
        groups_mark_ended(g, 3);
        admit(g, 4, MODE_AUTO, 0, 3, NULL);
        groups_remove(g, 3);
        admit(g, 5, MODE_AUTO, 0, 1, NULL);
        groups_remove(g, 1);
        admit(g, 6, MODE_AUTO, -ENOSPC, 0, "3 groups");
        groups_remove(g, 4);
        admit(g, 6, MODE_AUTO, 0, 0, NULL);
        /* The place that the host's profile leaves is a place. */
        groups_set_max(g, 1);
        groups_remove(g, 2);
        groups_remove(g, 5);
        groups_remove(g, 6);
        admit(g, HOST, MODE_AUTO, 0, 0, NULL);
        admit(g, 1, MODE_AUTO, -ENOSPC, 0, "1 groups");
        admit(g, 1, MODE_SINGLE, 0, HOST, NULL);
}

static void names_are_escaped(void **state) {
        _cleanup_(groups_freep) struct groups *g = groups_new();
        struct groups_leaving leaving;
        struct group_request q = {.id = 1, .name = "a\n\x1b[31m\xff", .wanted = MODE_SINGLE};
        char longer[5000];

        assert_int_equal(groups_admit(g, &q, &leaving, NULL), 0);
        admit(g, 2, MODE_AUTO, -EBUSY, 0, "a\\x0a\\x1b[31m\\xff");
        groups_remove(g, 1);
        memset(longer, 'n', sizeof longer - 1);
        longer[sizeof longer - 1] = '\0';
        q.name = longer;
        assert_int_equal(groups_admit(g, &q, &leaving, NULL), 0);
        admit(g, 2, MODE_AUTO, -EBUSY, 0, "n...");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(autos_share),
                cmocka_unit_test(multi_is_multi_from_the_start),
                cmocka_unit_test(single_holds),
                cmocka_unit_test(ended_groups_do_not_count),
                cmocka_unit_test(host_is_a_group),
                cmocka_unit_test(another_word),
                cmocka_unit_test(mode_single),
                cmocka_unit_test(mode_multi),
                cmocka_unit_test(mode_off),
                cmocka_unit_test(places_are_bounded),
                cmocka_unit_test(names_are_escaped),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}

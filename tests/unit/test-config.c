/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The configuration: values, files and their order, and that whatever is wrong changes nothing and is told with its place. */
#include <ftw.h>
#include <sys/stat.h>

#include "unit.h"

#include "config.h"
#include "group.h"
#include "state-dir.h"

#define SECOND UINT64_C(1000000)
#define TOLD_MAX 8

struct told {
        char *lines[TOLD_MAX]; /* "FILE:LINE: SENTENCE", FILE without the root */
        size_t n, root;
};

struct fixture {
        char root[32];
        struct told told;
};

static void on_told(void *userdata, const char *file, unsigned line, const char *sentence) {
        struct told *t = userdata;

        assert_true(t->n < TOLD_MAX);
        assert_null(strchr(sentence, '\n'));
        t->lines[t->n++] = format("%s:%u: %s", *file == '/' ? file + t->root : file, line, sentence);
}

static void forget(struct told *t) {
        while (t->n > 0)
                free(t->lines[--t->n]);
}

static int setup(void **state) {
        struct fixture *f = calloc(1, sizeof(*f));

        assert_non_null(f);
        (void)strcpy(f->root, "/tmp/memcgprof-config.XXXXXX");
        assert_non_null(mkdtemp(f->root));
        f->told.root = strlen(f->root);
        *state = f;
        return 0;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
        return remove(path);
}

static int teardown(void **state) {
        struct fixture *f = *state;

        forget(&f->told);
        assert_int_equal(nftw(f->root, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
        free(f);
        return 0;
}

/* Makes the directories of `path` below the root and returns it whole, to be freed. */
static char *make_way(const struct fixture *f, const char *path) {
        char *full = format("%s%s", f->root, path);

        assert_non_null(full);
        for (char *p = full + strlen(f->root) + 1; (p = strchr(p, '/')); p++) {
                *p = '\0';
                (void)mkdir(full, 0755);
                *p = '/';
        }
        return full;
}

static void put_bytes(const struct fixture *f, const char *path, const char *text, size_t n) {
        _cleanup_free_ char *full = make_way(f, path);
        FILE *file = fopen(full, "w");

        assert_non_null(file);
        assert_int_equal(fwrite(text, 1, n, file), n);
        assert_int_equal(fclose(file), 0);
}

static void put(const struct fixture *f, const char *path, const char *text) {
        put_bytes(f, path, text, strlen(text));
}

#define MAIN "/etc/memcgprof/memcgprofd.conf"

static struct config load(struct fixture *f) {
        struct config c = config_default;

        forget(&f->told);
        assert_int_equal(config_load(&c, f->root, on_told, &f->told), 0);
        return c;
}

/* Loads without a complaint. */
static struct config load_clean(struct fixture *f) {
        struct config c = load(f);

        if (f->told.n > 0)
                fail_msg("%s", f->told.lines[0]);
        return c;
}

static void assert_told(const struct fixture *f, size_t i, const char *begin, const char *part) {
        if (i >= f->told.n)
                fail_msg("only %zu complaints: no %s", f->told.n, begin);
        if (!startswith(f->told.lines[i], begin) || !strstr(f->told.lines[i], part))
                fail_msg("\"%s\" is not \"%s...%s\"", f->told.lines[i], begin, part);
}

static bool same(const struct config *a, const struct config *b) {
        _cleanup_free_ char *x = config_format(a), *y = config_format(b);

        return streq(x, y);
}

static void test_defaults(void **state) {
        const struct config *d = &config_default;
        struct config c = load_clean(*state);

        assert_true(same(&c, d));
        assert_memory_equal(&d->caps, &spec_caps_default, sizeof(d->caps));
        assert_int_equal(d->groups_max, GROUPS_MAX_DEFAULT);
        assert_int_equal(d->reports_count, report_limits_default.count);
        assert_int_equal(d->reports_bytes, report_limits_default.bytes);
        assert_int_equal(d->reports_age_usec, report_limits_default.age_s * SECOND);
        assert_int_equal(d->settle_usec, SECOND);
        assert_int_equal(d->residue_keep_usec, 600 * SECOND);
        assert_int_equal(d->lease_usec, 600 * SECOND);
        assert_int_equal(d->idle_usec, 300 * SECOND);
        assert_int_equal(d->cpu_budget, 200);
}

static void test_all_keys(void **state) {
        struct config c;

        put(*state, MAIN,
                "# a comment\n; another\n[Annotations]\nAllowSingle=yes\nAllowStacksAll=on\nMinSample=1M\nAllowRequired=1\n"
                "[Pools]\nGroupsMax=7\nObjectsMax=4096\nSitesMax=512\nStacksMax=64\n"
                "[Reports]\nCountMax=5\nBytesMax=2G\nAgeMax=1w 2d\n"
                "[Profiles]\n  SettleTime = 250ms \nResidueKeep=infinity\nCpuBudget=0.25%\nLease=1h 30min\n"
                "[Daemon]\nIdleExit=0\n");
        c = load_clean(*state);
        assert_true(c.caps.allow_single && c.caps.allow_stacks_all && c.caps.allow_required);
        assert_int_equal(c.caps.min_sample, 1 << 20);
        assert_true(c.groups_max == 7 && c.objects_max == 4096 && c.sites_max == 512 && c.stacks_max == 64);
        assert_true(c.reports_count == 5 && c.reports_bytes == UINT64_C(2) << 30);
        assert_int_equal(c.reports_age_usec, 9 * 86400 * SECOND);
        assert_int_equal(c.settle_usec, 250000);
        assert_true(c.residue_keep_usec == CONFIG_INFINITY);
        assert_int_equal(c.cpu_budget, 25);
        assert_int_equal(c.lease_usec, 5400 * SECOND);
        assert_int_equal(c.idle_usec, 0);
}

/* What config_format() writes is read back the same. */
static void test_format(void **state) {
        _cleanup_free_ char *text = NULL;
        struct config c = config_default, again;

        c.settle_usec = 1234567;
        c.reports_bytes = (3 << 20) + 1;
        c.cpu_budget = 1205;
        c.idle_usec = CONFIG_INFINITY;
        c.groups_max = 9;
        text = config_format(&c);
        put(*state, MAIN, text);
        again = load_clean(*state);
        assert_true(same(&c, &again));
}

static uint64_t span(const char *text) {
        struct config c = config_default;
        char *sentence = NULL;

        if (config_set(&c, "Daemon", "IdleExit", text, &sentence) < 0)
                fail_msg("\"%s\": %s", text, sentence);
        return c.idle_usec;
}

static void test_spans(void **state) {
        assert_int_equal(span("90"), 90 * SECOND);
        assert_int_equal(span("90s"), 90 * SECOND);
        assert_int_equal(span("1.5min"), 90 * SECOND);
        assert_int_equal(span("1min 30"), 90 * SECOND);
        assert_int_equal(span("1min30s"), 90 * SECOND);
        assert_int_equal(span("2 hours 1 day"), (7200 + 86400) * SECOND);
        assert_int_equal(span("1500us"), 1500);
        assert_int_equal(span("0.0015s"), 1500);
        assert_true(span("infinity") == CONFIG_INFINITY);
}

static const char *const wrong_values[][4] = {
        {"Daemon", "IdleExit", "5 parsecs", "takes a time"},
        {"Daemon", "IdleExit", "-5", "takes a time"},
        {"Daemon", "IdleExit", "min", "takes a time"},
        {"Daemon", "IdleExit", "5min x", "takes a time"},
        {"Daemon", "IdleExit", "5.min", "takes a time"},
        {"Daemon", "IdleExit", "99999999999999999999", "takes a time"},
        {"Daemon", "IdleExit", "18446744073709551615us", "takes a time"},
        {"Daemon", "IdleExit", "40000000000000w", "takes a time"},
        {"Profiles", "SettleTime", "601s", "from 0 to 10min"},
        {"Profiles", "SettleTime", "infinity", "from 0 to 10min"},
        {"Profiles", "Lease", "0", "from 1s to infinity"},
        {"Profiles", "CpuBudget", "2", "off or a percentage"},
        {"Profiles", "CpuBudget", "100.01%", "from 0.01% to 100%"},
        {"Profiles", "CpuBudget", "0.001%", "off or a percentage"},
        {"Profiles", "CpuBudget", "%", "off or a percentage"},
        {"Pools", "GroupsMax", "0", "a number from 1 to 16384"},
        {"Pools", "GroupsMax", "16385", "a number from 1 to 16384"},
        {"Pools", "GroupsMax", "1K", "a number from 1 to 16384"},
        {"Pools", "GroupsMax", "infinity", "a number from 1 to 16384"},
        {"Pools", "ObjectsMax", "4194305", "from 1 to 4194304"},
        {"Reports", "BytesMax", "1023K", "from 1M to infinity"},
        {"Reports", "BytesMax", "1T", "with K, M or G"},
        {"Reports", "CountMax", "18446744073709551615", "a number from 1"},
        {"Annotations", "AllowSingle", "maybe", "takes yes or no"},
        {"Annotations", "AllowSingle", "1\x1b[2J", "\\x1b"},
        {"Annotations", "GroupsMax", "1", "belongs to the section [Pools]"},
        {"Pools", "groupsmax", "1", "no key 'groupsmax'"},
};

static void test_wrong_values(void **state) {
        for (size_t i = 0; i < ELEMENTS(wrong_values); i++) {
                const char *const *w = wrong_values[i];
                struct config c = config_default;
                char *sentence = NULL;

                if (config_set(&c, w[0], w[1], w[2], &sentence) >= 0)
                        fail_msg("%s=%s is taken", w[1], w[2]);
                assert_sentence(&sentence, w[3]);
                assert_true(same(&c, &config_default));
        }
}

/* Lines around a wrong one hold, and each complaint has its line. */
static void test_wrong_lines(void **state) {
        struct fixture *f = *state;
        struct config c;

        put(f, MAIN,
                "GroupsMax=3\n[Pools]\nGroupsMax=5\nGroupsMax=many\nNonsense\nColour=red\n\n[Poools]\nGroupsMax=6\n[X-Other]\n"
                "GroupsMax=8\n[Pools\nGroupsMax=9\n[Reports]\nCountMax=\\\n  4\nAgeMax=old\n");
        c = load(f);
        assert_int_equal(c.groups_max, 5);
        assert_int_equal(c.reports_count, 4);
        assert_int_equal(c.reports_age_usec, config_default.reports_age_usec);
        assert_int_equal(f->told.n, 7);
        assert_told(f, 0, MAIN ":1: ", "before the first [SECTION]");
        assert_told(f, 1, MAIN ":4: ", "not 'many'. The line is ignored.");
        assert_told(f, 2, MAIN ":5: ", "'Nonsense' is neither");
        assert_told(f, 3, MAIN ":6: ", "no key 'Colour'");
        assert_told(f, 4, MAIN ":8: ", "There is no section [Poools]");
        assert_told(f, 5, MAIN ":12: ", "has no ']'");
        assert_told(f, 6, MAIN ":17: ", "AgeMax=");
}

static void test_continued(void **state) {
        struct config c;

        put(*state, MAIN, "[Profiles]\nLease=1h \\\n# not this\n 30min\\\n\nSettleTime=2s\\");
        c = load(*state);
        assert_int_equal(c.lease_usec, 5400 * SECOND);
        assert_told(*state, 0, MAIN ":6: ", "SettleTime=");
}

/* An empty value takes back what an earlier file said. */
static void test_empty(void **state) {
        struct config c;

        put(*state, MAIN, "[Pools]\nGroupsMax=5\nObjectsMax=77\n");
        put(*state, "/etc/memcgprof/memcgprofd.conf.d/a.conf", "[Pools]\nGroupsMax=\nObjectsMax=\n");
        c = load_clean(*state);
        assert_true(same(&c, &config_default));
}

static uint64_t groups(struct fixture *f) {
        return load_clean(f).groups_max;
}

static void test_order(void **state) {
        struct fixture *f = *state;
        _cleanup_free_ char *mask = NULL;

        put(f, "/usr/lib/memcgprof/memcgprofd.conf", "[Pools]\nGroupsMax=1\n");
        assert_int_equal(groups(f), 1);
        put(f, "/run/memcgprof/memcgprofd.conf", "[Pools]\nGroupsMax=2\n");
        assert_int_equal(groups(f), 2);
        put(f, MAIN, "[Pools]\nGroupsMax=3\n");
        assert_int_equal(groups(f), 3);
        /* Every drop-in outranks the main file, and names decide among them, not directories. */
        put(f, "/etc/memcgprof/memcgprofd.conf.d/10-a.conf", "[Pools]\nGroupsMax=4\n");
        assert_int_equal(groups(f), 4);
        put(f, "/usr/lib/memcgprof/memcgprofd.conf.d/50-b.conf", "[Pools]\nGroupsMax=5\n");
        assert_int_equal(groups(f), 5);
        /* The same name in /run hides it, and in /etc both. */
        put(f, "/run/memcgprof/memcgprofd.conf.d/50-b.conf", "[Pools]\nGroupsMax=6\n");
        assert_int_equal(groups(f), 6);
        mask = make_way(f, "/etc/memcgprof/memcgprofd.conf.d/50-b.conf");
        assert_int_equal(symlink("/dev/null", mask), 0);
        assert_int_equal(groups(f), 4);
        /* What is not called *.conf is nobody's. */
        put(f, "/etc/memcgprof/memcgprofd.conf.d/90-c.conf~", "[Pools]\nGroupsMax=7\n");
        put(f, "/etc/memcgprof/memcgprofd.conf.d/.90-d.conf", "[Pools]\nGroupsMax=8\n");
        put(f, "/etc/memcgprof/memcgprofd.conf.d/.conf", "[Pools]\nGroupsMax=9\n");
        assert_int_equal(groups(f), 4);
}

static void test_unreadable(void **state) {
        static const char zero[] = "[Pools]\nGroupsMax=5\n\0\nGroupsMax=6\n";
        struct fixture *f = *state;
        _cleanup_free_ char *large = calloc(1, 300 * 1024), *way = NULL, *pipe = NULL;
        struct config c;

        put_bytes(f, MAIN, zero, sizeof(zero) - 1);
        memset(large, '\n', 300 * 1024 - 1);
        memcpy(large, "[Pools]\nGroupsMax=5", strlen("[Pools]\nGroupsMax=5"));
        put(f, "/etc/memcgprof/memcgprofd.conf.d/1.conf", large);
        way = make_way(f, "/etc/memcgprof/memcgprofd.conf.d/2.conf/x");
        pipe = make_way(f, "/etc/memcgprof/memcgprofd.conf.d/3.conf");
        assert_int_equal(mkfifo(pipe, 0600), 0);
        c = load(f);
        assert_true(same(&c, &config_default));
        assert_int_equal(f->told.n, 4);
        assert_told(f, 0, MAIN ":0: ", "NUL bytes");
        assert_told(f, 1, "/etc/memcgprof/memcgprofd.conf.d/1.conf:0: ", "longer than");
        assert_told(f, 2, "/etc/memcgprof/memcgprofd.conf.d/2.conf:0: ", "no file");
        assert_told(f, 3, "/etc/memcgprof/memcgprofd.conf.d/3.conf:0: ", "no file");
}

#define WITH_ROOT(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                WITH_ROOT(test_defaults),
                WITH_ROOT(test_all_keys),
                WITH_ROOT(test_format),
                cmocka_unit_test(test_spans),
                cmocka_unit_test(test_wrong_values),
                WITH_ROOT(test_wrong_lines),
                WITH_ROOT(test_continued),
                WITH_ROOT(test_empty),
                WITH_ROOT(test_order),
                WITH_ROOT(test_unreadable),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}

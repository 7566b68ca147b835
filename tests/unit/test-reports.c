/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reports on disk: each of the three limits by itself, what is not a report, a report larger than the limit, one that is
 * brought up to date, age while nobody writes; and the snapshots that wait for a report. In a directory of its own, with real
 * files.
 */
#include "unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "report-writer.h"
#include "text.h"

#define PATIENCE_USEC (UINT64_C(20) * 1000000)

struct place {
        char directory[64];
        int fd; /* of reports/ */
        struct state_dir *state;
};

static const struct report_limits none = {.count = SIZE_MAX, .bytes = UINT64_MAX, .age_s = 1000000};

static int begin(void **state) {
        struct place *p = calloc(1, sizeof(*p));
        _cleanup_free_ char *reports = NULL;

        (void)snprintf(p->directory, sizeof(p->directory), "/tmp/memcgprof-test-reports-XXXXXX");
        assert_non_null(mkdtemp(p->directory));
        assert_int_equal(state_dir_open(p->directory, &p->state, NULL), 0);
        reports = format("%s/reports", p->directory);
        p->fd = open(reports, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(p->fd >= 0);
        *state = p;
        return 0;
}

static void clear(int fd) {
        DIR *d = fdopendir(dup(fd));
        struct dirent *entry;

        rewinddir(d);
        while ((entry = readdir(d)))
                if (!streq(entry->d_name, ".") && !streq(entry->d_name, ".."))
                        (void)(unlinkat(fd, entry->d_name, 0) < 0 && unlinkat(fd, entry->d_name, AT_REMOVEDIR));
        closedir(d);
}

static int end(void **state) {
        struct place *p = *state;
        _cleanup_free_ char *reports = format("%s/reports", p->directory);

        clear(p->fd);
        assert_int_equal(rmdir(reports), 0);
        assert_int_equal(rmdir(p->directory), 0);
        close(p->fd);
        state_dir_free(p->state);
        free(p);
        return 0;
}

static void put(const struct place *p, const char *name, size_t bytes, int64_t age_s) {
        struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = time(NULL) - age_s}};
        int fd = openat(p->fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
        assert_int_equal(futimens(fd, times), 0);
        close(fd);
}

/* The i-th oldest of many: "c<i>-20260101T000000Z-<i>.json". */
static char *name_of(unsigned i) {
        return format("c%u-20260101T000000Z-%u.json", i, i);
}

static void put_reports(const struct place *p, unsigned n, size_t bytes) {
        for (unsigned i = 0; i < n; i++) {
                _cleanup_free_ char *name = name_of(i);

                put(p, name, bytes, 1000 + i);
        }
}

static void resize(const struct place *p, const char *name, off_t bytes) {
        int fd = openat(p->fd, name, O_WRONLY | O_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, bytes), 0);
        close(fd);
}

static bool is_there(const struct place *p, const char *name) {
        return faccessat(p->fd, name, F_OK, 0) == 0;
}

static void assert_left(const struct place *p, unsigned first, unsigned end_, bool there) {
        for (unsigned i = first; i < end_; i++) {
                _cleanup_free_ char *name = name_of(i);

                if (is_there(p, name) != there)
                        fail_msg("%s is %s", name, there ? "gone" : "there");
        }
}

static void test_count(void **state) {
        struct report_limits limits = none;

        limits.count = 4;
        put_reports(*state, 10, 10);
        assert_int_equal(state_dir_prune_reports(((struct place *)*state)->state, &limits, NULL), 6);
        assert_left(*state, 0, 4, true);
        assert_left(*state, 4, 10, false);
        assert_int_equal(state_dir_prune_reports(((struct place *)*state)->state, &limits, NULL), 0);
}

static void test_size(void **state) {
        struct report_limits limits = none;

        limits.bytes = 399;
        put_reports(*state, 10, 100);
        assert_int_equal(state_dir_prune_reports(((struct place *)*state)->state, &limits, NULL), 7);
        assert_left(*state, 0, 3, true);
        assert_left(*state, 3, 10, false);
}

static void test_age(void **state) {
        struct report_limits limits = none;

        limits.age_s = 1005;
        put_reports(*state, 10, 100);
        assert_int_equal(state_dir_prune_reports(((struct place *)*state)->state, &limits, NULL), 4);
        assert_left(*state, 0, 6, true);
        assert_left(*state, 6, 10, false);
}

/* The one that is kept takes its part of the limits, and one that is too large by itself takes nobody else's. */
static void test_kept_and_too_large(void **state) {
        struct place *p = *state;
        struct report_limits limits = none;
        _cleanup_free_ char *oldest = name_of(5), *huge = name_of(2);

        limits.count = 3;
        put_reports(p, 6, 100);
        assert_int_equal(state_dir_prune_reports(p->state, &limits, oldest), 2);
        assert_true(is_there(p, oldest));
        assert_left(p, 0, 3, true);
        assert_left(p, 3, 5, false);
        limits = (struct report_limits){.count = 100, .bytes = 1000, .age_s = 100000};
        resize(p, huge, 5000);
        assert_int_equal(state_dir_prune_reports(p->state, &limits, NULL), 1);
        assert_false(is_there(p, huge));
        assert_true(is_there(p, oldest));
        assert_left(p, 0, 2, true);
}

/* Nothing but what is named as reports are is counted or removed, not even with limits that let nothing stay. */
static void test_other_files(void **state) {
        static const char *const others[] = {"notes.json", ".tmp-c1-20260101T000000Z-1.json.part",
                ".c1-20260101T000000Z-1.json", "c1-20260101T000000Z-1.json.bak", "c1-20260101T000000Z-1x.json",
                "c1-20260101T000000Z-.json", "c1-2026010T0000000Z-1.json", "c1-20260101 000000Z-1.json",
                "-20260101T000000Z-1.json", "c1-1.json", ".json", "1.json", "-.json", "--.json", "20260101T000000Z-1.json"};
        const struct report_limits nothing = {.count = 0, .bytes = 0, .age_s = 0};
        struct place *p = *state;

        for (size_t i = 0; i < ELEMENTS(others); i++)
                put(p, others[i], 10, 100000);
        assert_int_equal(mkdirat(p->fd, "d-20260101T000000Z-1.json", 0700), 0);
        assert_int_equal(symlinkat("/etc/passwd", p->fd, "l-20260101T000000Z-1.json"), 0);
        put_reports(p, 3, 10);
        assert_int_equal(state_dir_prune_reports(p->state, &nothing, NULL), 3);
        assert_left(p, 0, 3, false);
        for (size_t i = 0; i < ELEMENTS(others); i++)
                if (!is_there(p, others[i]))
                        fail_msg("%s is gone", others[i]);
        assert_int_equal(faccessat(p->fd, "d-20260101T000000Z-1.json", F_OK, 0), 0);
        assert_int_equal(faccessat(p->fd, "l-20260101T000000Z-1.json", F_OK, AT_SYMLINK_NOFOLLOW), 0);
}

/* ---- writing -------------------------------------------------------------------------------------------------------------
 */

static struct summary *summary_of(size_t rows) {
        struct summary *s = calloc(1, sizeof(*s));

        s->backend = s->source = "scripted";
        s->label = (struct profile_label){.kind = "container", .id = strdup("box"), .started_by = "hook"};
        s->cgroup = strdup("/box");
        s->cgroup_id = 7;
        s->started_us = INT64_C(1767225600000000); /* 20260101T000000Z */
        s->live_known = true;
        s->n_rows = s->total_sites = rows;
        s->rows = calloc(rows + 1, sizeof(struct row));
        for (size_t i = 0; i < rows; i++)
                s->rows[i] = (struct row){
                        .key = format("site_%zu+0x10", i),
                        .type = TYPE_SLAB,
                        .live_known = true,
                        .figures.counts.allocated_bytes = (int64_t)(1000 - i),
                        .figures.counts.allocated_calls = 1,
                };
        return s;
}

static struct final_report *final_of(struct summary *s) {
        struct final_report *f = calloc(1, sizeof(*f));

        f->object = strdup("/org/memcgprof1/container/box");
        f->id = strdup("box");
        f->cgroup_id = 7;
        f->summary = s;
        f->residue = (struct report_residue){.summary = s, .released_known = true, .released_bytes = 11};
        f->end =
                (struct report_end){.at_us = 1, .source = "poststop", .exit_code = -1, .exit_code_reason = "x", .oom_kills = 2};
        return f;
}

#define BOX "box-20260101T000000Z-7"

static json_t *document_of(const struct place *p) {
        _cleanup_free_ char *text = NULL;
        json_t *o;

        assert_int_equal(state_dir_read_report(p->state, BOX, &text), 0);
        o = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(o);
        return o;
}

static size_t rows_of(const json_t *document) {
        return json_array_size(json_object_get(json_object_get(document, "summary"), "sites"));
}

static void test_cut(void **state) {
        struct place *p = *state;
        _cleanup_(final_report_freep) struct final_report *whole = final_of(summary_of(200)),
                                                          *large = final_of(summary_of(200)),
                                                          *hopeless = final_of(summary_of(200));
        _cleanup_free_ char *path = NULL, *again = NULL, *sentence = NULL;
        json_t *o, *summary;

        assert_int_equal(final_report_write(whole, p->state, UINT64_MAX, &path, NULL), 0);
        o = document_of(p);
        assert_int_equal(rows_of(o), 200);
        json_decref(o);
        assert_int_equal(final_report_write(large, p->state, 40000, &again, NULL), 0);
        assert_string_equal(again, path);
        o = document_of(p);
        summary = json_object_get(o, "summary");
        assert_in_range(rows_of(o), 1, 100);
        assert_int_equal(json_integer_value(json_object_get(json_object_get(summary, "filter"), "limit")), rows_of(o));
        assert_int_equal(json_integer_value(json_object_get(summary, "total_sites")), 200);
        assert_string_equal(
                json_string_value(json_object_get(json_array_get(json_object_get(summary, "sites"), 0), "key")), "site_0+0x10");
        json_decref(o);
        assert_int_equal(final_report_write(hopeless, p->state, 100, &again, &sentence), -EFBIG);
        assert_sentence(&sentence, "box");
        o = document_of(p);
        assert_in_range(rows_of(o), 1, 100);
        json_decref(o);
}

static const char *closed_by(const json_t *document) {
        return json_string_value(json_object_get(json_object_get(document, "residue"), "closed_by"));
}

/* Only what became of it is new; the file is as old as it was, and one that is gone does not come back. */
static void test_update(void **state) {
        struct place *p = *state;
        _cleanup_(final_report_freep) struct final_report *first = final_of(summary_of(30)), *later = final_of(summary_of(1));
        struct timespec old[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1000000000}};
        _cleanup_free_ char *path = NULL, *again = NULL, *sentence = NULL;
        json_t *before, *after;
        struct stat st;

        assert_int_equal(final_report_write(first, p->state, UINT64_MAX, &path, NULL), 0);
        assert_int_equal(utimensat(p->fd, BOX ".json", old, 0), 0);
        before = document_of(p);
        assert_null(closed_by(before));
        later->update = true;
        later->residue.closed_by = "needed";
        later->end.exit_code = 3;
        assert_int_equal(final_report_write(later, p->state, 1, &again, NULL), 0);
        assert_string_equal(again, path);
        after = document_of(p);
        assert_string_equal(closed_by(after), "needed");
        assert_int_equal(json_array_size(json_object_get(json_object_get(before, "residue"), "sites")), REPORT_RESIDUE_SITES);
        assert_int_equal(json_array_size(json_object_get(json_object_get(after, "residue"), "sites")), 1);
        assert_int_equal(json_integer_value(json_object_get(json_object_get(after, "end"), "exit_code")), 3);
        json_object_del(before, "residue");
        json_object_del(after, "residue");
        json_object_del(before, "end");
        json_object_del(after, "end");
        assert_true(json_equal(before, after));
        json_decref(before);
        json_decref(after);
        assert_int_equal(fstatat(p->fd, BOX ".json", &st, 0), 0);
        assert_int_equal(st.st_mtim.tv_sec, 1000000000);
        assert_int_equal(unlinkat(p->fd, BOX ".json", 0), 0);
        assert_int_equal(final_report_write(later, p->state, UINT64_MAX, &again, &sentence), -ENOENT);
        assert_false(is_there(p, BOX ".json"));
        put(p, BOX ".json", 10, 0);
        assert_int_equal(final_report_write(later, p->state, UINT64_MAX, &again, &sentence), -EBADMSG);
}

/* ---- the writer ----------------------------------------------------------------------------------------------------------
 */

static unsigned told;

static void on_written(void *userdata, const struct final_report *f, const char *path, int error, const char *sentence) {
        assert_int_equal(error, 0);
        assert_non_null(path);
        told++;
}

static void run_until_gone(sd_event *event, const struct place *p, const char *name) {
        uint64_t waited = 0;

        for (; is_there(p, name) && waited < PATIENCE_USEC; waited += 10000)
                assert_true(sd_event_run(event, 10000) >= 0);
        assert_false(is_there(p, name));
}

/* At the beginning, and as time goes by, without a report. */
static void test_age_without_reports(void **state) {
        struct place *p = *state;
        struct report_limits limits = none;
        struct report_writer *w;
        sd_event *event;

        limits.age_s = 1005;
        assert_true(sd_event_new(&event) >= 0);
        put(p, "before-20260101T000000Z-1.json", 10, 2000);
        put(p, "young-20260101T000000Z-1.json", 10, 10);
        assert_int_equal(report_writer_new(event, p->state, &limits, 50000, on_written, NULL, &w, NULL), 0);
        run_until_gone(event, p, "before-20260101T000000Z-1.json");
        for (unsigned i = 0; i < 3; i++) {
                put(p, "later-20260101T000000Z-2.json", 10, 2000);
                run_until_gone(event, p, "later-20260101T000000Z-2.json");
        }
        assert_true(is_there(p, "young-20260101T000000Z-1.json"));
        report_writer_free(w);
        sd_event_unref(event);
}

static void test_writer_keeps_limits(void **state) {
        struct place *p = *state;
        struct report_limits limits = none;
        struct report_writer *w;
        sd_event *event;

        limits.count = 3;
        told = 0;
        assert_true(sd_event_new(&event) >= 0);
        put_reports(p, 10, 10);
        assert_int_equal(report_writer_new(event, p->state, &limits, UINT64_MAX / 4, on_written, NULL, &w, NULL), 0);
        report_writer_add(w, final_of(summary_of(3)));
        report_writer_finish(w);
        assert_int_equal(told, 1);
        assert_true(is_there(p, BOX ".json"));
        assert_left(p, 0, 2, true);
        assert_left(p, 2, 10, false);
        report_writer_free(w);
        sd_event_unref(event);
}

/* ---- snapshots -----------------------------------------------------------------------------------------------------------
 */

static void test_snapshots(void **state) {
        struct snapshots s = {}, copy = {};

        assert_null(snapshots_last(&s));
        for (int64_t i = 0; i < 100; i++) {
                snapshots_add(
                        &s, &(struct report_snapshot){.reason = "oom", .at_us = i, .summary = format("%lld\n", (long long)i)});
                assert_int_equal(snapshots_last(&s)->at_us, i);
        }
        assert_int_equal(snapshots_copy(&s, &copy), 0);
        snapshots_done(&s);
        assert_int_equal(copy.n, SNAPSHOTS_MAX);
        for (size_t i = 0; i + 1 < copy.n; i++)
                assert_int_equal(copy.items[i].at_us, i);
        assert_int_equal(copy.items[copy.n - 1].at_us, 99);
        assert_string_equal(copy.items[copy.n - 1].summary, "99\n");
        snapshots_done(&copy);
}

#define IN_PLACE(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void) {
        const struct CMUnitTest tests[] = {
                IN_PLACE(test_count),
                IN_PLACE(test_size),
                IN_PLACE(test_age),
                IN_PLACE(test_kept_and_too_large),
                IN_PLACE(test_other_files),
                IN_PLACE(test_cut),
                IN_PLACE(test_update),
                IN_PLACE(test_age_without_reports),
                IN_PLACE(test_writer_keeps_limits),
                cmocka_unit_test(test_snapshots),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}

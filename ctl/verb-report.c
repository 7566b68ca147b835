/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The verb report: the final reports in the state directory, which stay when the daemon has gone. File names are
 * ID-START-CGROUPID.json, with the id made harmless by text_filename(); the newest are found without reading any.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "document.h"
#include "render.h"
#include "table.h"
#include "text.h"
#include "verb.h"

#define SUFFIX ".json"
#define REPORT_MAX ((size_t)64 << 20) /* bytes of one report that is read */
#define PREFIX_MIN 12                 /* digits of a container's id that stand for the whole */

DEFINE_CLEANUP(DIR, closedir)

struct entry {
        char *name;
        size_t id_length; /* of the id at the beginning of the name */
        struct timespec written;
};

struct entries {
        struct entry *entry; /* newest first */
        size_t n;
        int dirfd;
};

static void entries_done(struct entries *e) {
        for (size_t i = 0; i < e->n; i++)
                free(e->entry[i].name);
        free(e->entry);
        closep(&e->dirfd);
}

/* Length of the id in ID-START-CGROUPID.json, or 0 when the name is not of that form. */
static size_t id_length(const char *name) {
        size_t n = strlen(name), dashes = 0;

        if (n <= strlen(SUFFIX) || !streq(name + n - strlen(SUFFIX), SUFFIX) || *name == '.')
                return 0;
        while (n > 0 && dashes < 2)
                dashes += name[--n] == '-';
        return n;
}

static int newest_first(const void *a, const void *b) {
        const struct entry *x = a, *y = b;

        if (x->written.tv_sec != y->written.tv_sec)
                return x->written.tv_sec < y->written.tv_sec ? 1 : -1;
        if (x->written.tv_nsec != y->written.tv_nsec)
                return x->written.tv_nsec < y->written.tv_nsec ? 1 : -1;
        return strcmp(x->name, y->name);
}

static int entries_add(struct entries *e, const char *name) {
        struct entry *p;
        struct stat st;
        size_t n = id_length(name);

        if (n == 0 || fstatat(e->dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
                return 0;
        p = reallocarray(e->entry, e->n + 1, sizeof(*p));
        if (!p)
                return -ENOMEM;
        e->entry = p;
        p[e->n] = (struct entry){strdup(name), n, st.st_mtim};
        if (!p[e->n].name)
                return -ENOMEM;
        e->n++;
        return 0;
}

/* A state directory without reports, or none at all, is no failure. */
static int entries_read(const char *state_dir, struct entries *e, char **reterr) {
        _cleanup_(closedirp) DIR *dir = NULL;
        _cleanup_free_ char *path = format("%s/reports", state_dir);
        struct dirent *d;

        if (!path)
                return -ENOMEM;
        dir = opendir(path);
        if (!dir && errno == ENOENT)
                return 0;
        if (!dir)
                return fail(reterr, -errno, "%s cannot be read: %s.", path, strerror(errno));
        e->dirfd = fcntl(dirfd(dir), F_DUPFD_CLOEXEC, 3);
        if (e->dirfd < 0)
                return -errno;
        while ((d = readdir(dir)))
                if (entries_add(e, d->d_name) < 0)
                        return -ENOMEM;
        if (e->n > 0)
                qsort(e->entry, e->n, sizeof(*e->entry), newest_first);
        return 0;
}

static int read_document(const struct entries *e, const struct entry *entry, char **ret_text, json_t **ret, char **reterr) {
        _cleanup_free_ char *text = NULL, *why = NULL;
        int r = text_read_file(e->dirfd, entry->name, REPORT_MAX, &text, NULL);

        if (r < 0)
                return fail(reterr, r, "The report %s cannot be read: %s.", entry->name, strerror(-r));
        r = document_parse(text, ret, &why);
        if (r < 0)
                return why ? fail(reterr, r, "The report %s is broken: %s", entry->name, why) : r;
        if (ret_text)
                *ret_text = TAKE(text);
        return 0;
}

static char *cell_id(const json_t *row) {
        return table_text(json_object_get(row, "profile"), "id");
}

static char *cell_kind(const json_t *row) {
        return table_text(json_object_get(row, "profile"), "kind");
}

static char *cell_started(const json_t *row) {
        return table_time(row, "started_us");
}

static char *cell_ended(const json_t *row) {
        return table_time(json_object_get(row, "end"), "at_us");
}

static char *cell_source(const json_t *row) {
        return table_text(json_object_get(row, "end"), "source");
}

static char *cell_exit(const json_t *row) {
        return table_text(json_object_get(row, "end"), "exit_code");
}

static char *cell_kills(const json_t *row) {
        return table_text(json_object_get(row, "end"), "oom_kills");
}

/* Charged kernel memory that outlived the profile. */
static char *cell_residue(const json_t *row) {
        return table_member_size(json_object_get(row, "residue"), "charged_bytes");
}

static const struct column report_columns[] = {
        {"ENDED", 19, false, cell_ended},
        {"STARTED", 19, false, cell_started},
        {"BY", 7, false, cell_source},
        {"EXIT", 4, true, cell_exit},
        {"OOM", 3, true, cell_kills},
        {"RESIDUE", 10, true, cell_residue},
        {"KIND", 9, false, cell_kind},
        {"ID", 0, false, cell_id},
};

/* A report without its summaries is small enough to keep all of them for the table. */
static int add_head(json_t *rows, const struct entries *e, const struct entry *entry) {
        _cleanup_(document_unrefp) json_t *document = NULL;
        _cleanup_free_ char *why = NULL;
        int r = read_document(e, entry, NULL, &document, &why);

        if (r == -ENOMEM)
                return r;
        if (r < 0) {
                verb_note("%s", why);
                return 0;
        }
        (void)json_object_del(document, "summary");
        (void)json_object_del(document, "snapshots");
        return json_array_append(rows, document) < 0 ? -ENOMEM : 0;
}

static int list_reports(const struct options *o, const struct entries *e) {
        _cleanup_(document_unrefp) json_t *rows = json_array();
        size_t max = document_rows(stdout, &o->filter), shown = e->n;
        int r = rows ? 0 : -ENOMEM;

        if (filter_has(&o->filter, FILTER_LIMIT))
                max = filter_limit(&o->filter);
        if (max > 0 && shown > max)
                shown = max;
        for (size_t i = 0; r >= 0 && i < shown; i++)
                r = add_head(rows, e, &e->entry[i]);
        if (r >= 0)
                r = table_print(stdout, report_columns, ELEMENTS(report_columns), rows, 0);
        if (r >= 0 && shown < e->n)
                printf("\n%zu older ones are not shown (-n N: how many).\n", e->n - shown);
        return r;
}

/* What the user named: an id, perhaps with the kind in front as in targets, perhaps the beginning of a hexadecimal one. */
struct wanted {
        const char *kind; /* NULL: any */
        size_t kind_length;
        const char *id;
        char *file_id; /* as in file names */
        bool prefix;   /* file_id is only the beginning */
};

static int wanted_of(const char *word, struct wanted *ret) {
        static const char *const kinds[] = {"container:", "cgroup:", "pid:", "run:"};

        *ret = (struct wanted){.id = word};
        for (size_t i = 0; i < ELEMENTS(kinds); i++)
                if (startswith(word, kinds[i]))
                        *ret = (struct wanted){
                                .kind = word, .kind_length = strlen(kinds[i]) - 1, .id = word + strlen(kinds[i])};
        ret->file_id = text_filename(ret->id);
        return ret->file_id ? 0 : -ENOMEM;
}

static void wanted_done(struct wanted *w) {
        free(w->file_id);
}

static bool name_matches(const struct wanted *w, const struct entry *e) {
        size_t n = strlen(w->file_id);

        return (w->prefix ? n <= e->id_length : n == e->id_length) && memcmp(e->name, w->file_id, n) == 0;
}

static bool kind_matches(const struct wanted *w, const json_t *document) {
        const char *kind = json_string_value(json_object_get(json_object_get(document, "profile"), "kind"));

        return !w->kind || (kind && strlen(kind) == w->kind_length && memcmp(kind, w->kind, w->kind_length) == 0);
}

static int find_report(const struct entries *e, const struct wanted *w, char **ret_text, json_t **ret, char **reterr) {
        const struct entry *first = NULL;

        for (size_t i = 0; i < e->n; i++) {
                const struct entry *entry = &e->entry[i];
                _cleanup_(document_unrefp) json_t *document = NULL;
                _cleanup_free_ char *text = NULL;
                int r;

                if (!name_matches(w, entry))
                        continue;
                if (first) {
                        /* Only a prefix gets here with other ids, and it has to be unique. */
                        if (first->id_length != entry->id_length || memcmp(first->name, entry->name, first->id_length) != 0)
                                return fail(reterr, -ENOTUNIQ, "There are reports of several ids that begin with %s.", w->id);
                        continue;
                }
                r = read_document(e, entry, &text, &document, reterr);
                if (r < 0)
                        return r;
                if (!kind_matches(w, document))
                        continue;
                first = entry;
                *ret_text = TAKE(text);
                *ret = TAKE(document);
        }
        return first ? 0 : -ENOENT;
}

static int find_any(const struct options *o, const struct entries *e, char **ret_text, json_t **ret, char **reterr) {
        _cleanup_(wanted_done) struct wanted w = {};
        int r = wanted_of(o->args[0], &w);

        if (r >= 0)
                r = find_report(e, &w, ret_text, ret, reterr);
        if (r == -ENOENT && strlen(w.id) >= PREFIX_MIN && w.id[strspn(w.id, "0123456789abcdef")] == '\0') {
                w.prefix = true;
                r = find_report(e, &w, ret_text, ret, reterr);
        }
        if (r == -ENOENT)
                return fail(reterr, r, "There is no report of %s in %s/reports.", w.id, o->state_dir);
        return r;
}

static int show_report(const struct options *o, const struct entries *e, char **reterr) {
        _cleanup_(document_unrefp) json_t *document = NULL;
        _cleanup_free_ char *text = NULL;
        int r = find_any(o, e, &text, &document, reterr);

        if (r < 0)
                return r;
        if (o->filter.given == 0 && o->json)
                return document_print_text(stdout, text);
        if (o->filter.given != 0)
                r = document_filter(json_object_get(document, "summary"), &o->filter);
        if (r < 0)
                return r;
        return o->json ? document_print(stdout, document) : render_summary(stdout, document, verb_how(o, stdout));
}

/* Without an id there is a table of reports, which has neither a document nor sites. */
static int check_list_options(const struct options *o) {
        if (o->json) {
                verb_note("\"memcgprof report --json\" needs an ID; the reports are the files in %s/reports.", o->state_dir);
                return EXIT_USAGE;
        }
        if (o->tree) {
                verb_note("\"memcgprof report --tree\" needs an ID: a list of reports has no sites.");
                return EXIT_USAGE;
        }
        if (o->filter.given & ~(1u << FILTER_LIMIT)) {
                verb_note("\"memcgprof report\" without an ID takes no filter but --limit.");
                return EXIT_USAGE;
        }
        return EXIT_SUCCESS;
}

int verb_report(const struct options *o) {
        _cleanup_(entries_done) struct entries entries = {.dirfd = -1};
        _cleanup_free_ char *why = NULL;
        int r, status = o->n_args == 0 ? check_list_options(o) : EXIT_SUCCESS;

        if (status != EXIT_SUCCESS)
                return status;
        r = entries_read(o->state_dir, &entries, &why);
        if (r >= 0)
                r = o->n_args == 0 ? list_reports(o, &entries) : show_report(o, &entries, &why);
        return r < 0 ? verb_complain(r, why) : EXIT_SUCCESS;
}

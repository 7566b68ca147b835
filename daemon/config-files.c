/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The files of the configuration: which there are, in which order, and line by line.
 *
 * Invariant: a file is read whole before its first line is looked at, so that one which cannot be read, or is longer than
 * anybody writes, changes nothing.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "config-private.h"
#include "text.h"

#define NAME "memcgprofd.conf"
#define SUFFIX ".conf"
#define FILE_BYTES_MAX (256 * 1024)
#define DROPINS_MAX 256
#define SECTION_BYTES_MAX 64
#define SHOWN 64 /* bytes of a wrong word that a sentence repeats */
#define BLANKS " \t\r"

/* The first one that has a name wins it. */
static const char *const directories[] = {"/etc/memcgprof", "/run/memcgprof", "/usr/lib/memcgprof"};

struct reader {
        struct config *config;
        config_tell_t tell;
        void *userdata;

        const char *file;
        unsigned line; /* of the first line, where one is continued */
        char section[SECTION_BYTES_MAX];
        bool skipped; /* the section is nobody's, or somebody else's */
};

static void tell(const struct reader *r, unsigned line, const char *sentence, const char *outcome) {
        _cleanup_free_ char *both = sentence ? format("%s %s", sentence, outcome) : NULL;

        r->tell(r->userdata, r->file, line, both ? both : outcome);
}

static const char ignored[] = "The line is ignored.";

static char *strip(char *s) {
        size_t n;

        s += strspn(s, BLANKS);
        n = strlen(s);
        while (n > 0 && strchr(BLANKS, s[n - 1]))
                n--;
        s[n] = '\0';
        return s;
}

/* Sections that begin with X- are other programs', as in all of systemd's files. */
static int read_section(struct reader *r, char *line) {
        _cleanup_free_ char *shown = text_escape(line, strlen(line), SHOWN), *sentence = NULL;
        size_t n = strlen(line);

        if (!shown)
                return -ENOMEM;
        r->skipped = true;
        if (line[n - 1] != ']') {
                sentence = format("'%s' begins a section and has no ']'.", shown);
                tell(r, r->line, sentence, "What follows is ignored up to the next section.");
                return 0;
        }
        line[n - 1] = '\0';
        line++;
        if (startswith(line, "X-"))
                return 0;
        if (strlen(line) >= sizeof(r->section) || !config_has_section(line)) {
                sentence = format("There is no section %s.", shown);
                tell(r, r->line, sentence, "What is in it is ignored.");
                return 0;
        }
        (void)snprintf(r->section, sizeof(r->section), "%s", line);
        r->skipped = false;
        return 0;
}

static int read_assignment(struct reader *r, char *line) {
        _cleanup_free_ char *sentence = NULL, *shown = text_escape(line, strlen(line), SHOWN);
        char *equals = strchr(line, '=');
        int error;

        if (!shown)
                return -ENOMEM;
        if (!equals) {
                sentence = format("'%s' is neither a [SECTION] nor KEY=VALUE.", shown);
                tell(r, r->line, sentence, ignored);
                return 0;
        }
        if (r->skipped)
                return 0;
        if (!*r->section) {
                sentence = format("'%s' stands before the first [SECTION].", shown);
                tell(r, r->line, sentence, ignored);
                return 0;
        }
        *equals = '\0';
        error = config_set(r->config, r->section, strip(line), strip(equals + 1), &sentence);
        if (error == -ENOMEM)
                return error;
        if (error < 0)
                tell(r, r->line, sentence, ignored);
        return 0;
}

static int read_line(struct reader *r, char *line) {
        line = strip(line);
        if (!*line || *line == '#' || *line == ';')
                return 0;
        return *line == '[' ? read_section(r, line) : read_assignment(r, line);
}

/* Lines that end with a backslash go on in the next one, behind a blank; comments in between are left out. */
static int read_lines(struct reader *r, char *text) {
        char *next, *out = text, *begin = text;
        unsigned n = 0;
        int error = 0;

        r->line = 1;
        for (char *line = text; error >= 0 && line; line = next) {
                size_t length = strcspn(line, "\n");
                const char *first = line + strspn(line, BLANKS);
                bool comment = out > begin && (*first == '#' || *first == ';');

                next = line[length] ? line + length + 1 : NULL;
                n++;
                if (comment)
                        length = 0;
                memmove(out, line, length);
                out += length;
                if (next && (comment || (length > 0 && out[-1] == '\\'))) {
                        if (!comment)
                                out[-1] = ' ';
                        continue;
                }
                *out = '\0';
                error = read_line(r, begin);
                begin = out = next;
                r->line = n + 1;
        }
        return error;
}

static int read_file(struct reader *r, const char *path) {
        _cleanup_free_ char *text = NULL, *why = NULL;
        size_t n;
        int error;

        r->file = path;
        r->section[0] = '\0';
        r->skipped = false;
        error = text_read_file(AT_FDCWD, path, FILE_BYTES_MAX, &text, &n);
        if (error == -ENOMEM)
                return error;
        if (error < 0) {
                why = error == -E2BIG ? format("The file is longer than %d bytes.", FILE_BYTES_MAX)
                                      : format("The file cannot be read: %s.", strerror(-error));
                tell(r, 0, why, "It is ignored.");
                return 0;
        }
        if (strlen(text) != n) {
                tell(r, 0, "The file has NUL bytes in it.", "It is ignored.");
                return 0;
        }
        return read_lines(r, text);
}

static int read_main(struct reader *r, const char *root) {
        for (size_t i = 0; i < ELEMENTS(directories); i++) {
                _cleanup_free_ char *path = format("%s%s/" NAME, root, directories[i]);

                if (!path)
                        return -ENOMEM;
                if (access(path, F_OK) == 0)
                        return read_file(r, path);
        }
        return 0;
}

/* Drop-ins: names and where each was found first. */
struct dropin {
        char *name;
        const char *directory;
};

struct dropins {
        struct dropin items[DROPINS_MAX];
        size_t n, refused;
};

static void dropins_done(struct dropins *d) {
        for (size_t i = 0; i < d->n; i++)
                free(d->items[i].name);
}

static int add_dropin(struct dropins *d, const char *name, const char *directory) {
        for (size_t i = 0; i < d->n; i++)
                if (streq(d->items[i].name, name))
                        return 0;
        if (d->n == ELEMENTS(d->items)) {
                d->refused++;
                return 0;
        }
        d->items[d->n] = (struct dropin){strdup(name), directory};
        if (!d->items[d->n].name)
                return -ENOMEM;
        d->n++;
        return 0;
}

DEFINE_CLEANUP(DIR, closedir)

static int list_dropins(struct dropins *d, const char *root, const char *directory) {
        _cleanup_free_ char *path = format("%s%s/" NAME ".d", root, directory);
        _cleanup_(closedirp) DIR *dir = NULL;
        const struct dirent *entry;

        if (!path)
                return -ENOMEM;
        dir = opendir(path);
        while (dir && (entry = readdir(dir))) {
                size_t n = strlen(entry->d_name);

                if (*entry->d_name == '.' || n <= strlen(SUFFIX) || !streq(entry->d_name + n - strlen(SUFFIX), SUFFIX))
                        continue;
                if (add_dropin(d, entry->d_name, directory) < 0)
                        return -ENOMEM;
        }
        return 0;
}

static int compare_names(const void *a, const void *b) {
        const struct dropin *x = a, *y = b;

        return strcmp(x->name, y->name);
}

/* A link to /dev/null hides the file of its name in the directories after it. What else is no file could block. */
static int read_dropin(struct reader *r, const char *root, const struct dropin *d) {
        _cleanup_free_ char *path = format("%s%s/" NAME ".d/%s", root, d->directory, d->name);
        struct stat st;

        if (!path)
                return -ENOMEM;
        r->file = path;
        if (stat(path, &st) == 0 && S_ISCHR(st.st_mode))
                return 0;
        if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
                tell(r, 0, "This is no file.", "It is ignored.");
                return 0;
        }
        return read_file(r, path);
}

int config_load(struct config *c, const char *root, config_tell_t tell_, void *userdata) {
        _cleanup_(dropins_done) struct dropins dropins = {.n = 0};
        struct reader r = {.config = c, .tell = tell_, .userdata = userdata};
        int error;

        error = read_main(&r, root);
        for (size_t i = 0; error >= 0 && i < ELEMENTS(directories); i++)
                error = list_dropins(&dropins, root, directories[i]);
        if (error >= 0 && dropins.n > 0)
                qsort(dropins.items, dropins.n, sizeof(*dropins.items), compare_names);
        for (size_t i = 0; error >= 0 && i < dropins.n; i++)
                error = read_dropin(&r, root, &dropins.items[i]);
        if (error >= 0 && dropins.refused > 0)
                tell_(userdata, NAME ".d", 0, "There are more than 256 drop-ins; those beyond are ignored.");
        return error;
}

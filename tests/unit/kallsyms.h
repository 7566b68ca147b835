/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A symbol table of a test's own, as the state of its group. */
#pragma once

#include "unit.h"

#include "symbol.h"

/* Loads what /proc/kallsyms would say; 0 or a negative errno, as cmocka wants it of a setup. */
static inline int load_symbols(const char *kallsyms, void **state) {
        char path[] = "/tmp/memcgprof-kallsyms-XXXXXX";
        _cleanup_close_ int fd = mkstemp(path);
        int r;

        assert_true(fd >= 0);
        assert_int_equal(write(fd, kallsyms, strlen(kallsyms)), strlen(kallsyms));
        r = symbols_load(path, (struct symbols **)state, NULL);
        unlink(path);
        return r;
}

static inline int unload_symbols(void **state) {
        symbols_free(*state);
        return 0;
}

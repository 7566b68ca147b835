/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A made-up machine: a directory with the few files that matter, below which the code under test looks as below `/`. */
#pragma once

#include "unit.h"

#include <fcntl.h>
#include <sys/stat.h>

struct machine {
        char root[64];
};

/* Adds a file, or another in its place, with its directories. */
static inline void machine_add(const struct machine *m, const char *path, const void *data, size_t n, mode_t mode) {
        _cleanup_free_ char *full = format("%s%s", m->root, path);
        _cleanup_close_ int fd = -1;

        for (char *slash = strchr(full + strlen(m->root) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
                *slash = '\0';
                mkdir(full, 0700);
                *slash = '/';
        }
        (void)unlink(full);
        fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, data, n), (ssize_t)n);
        assert_int_equal(fchmod(fd, mode), 0);
}

static inline struct machine *machine_new(void) {
        struct machine *m = calloc(1, sizeof(*m));

        snprintf(m->root, sizeof(m->root), "/tmp/memcgprof-machine-XXXXXX");
        assert_non_null(mkdtemp(m->root));
        return m;
}

/* A teardown: of a test whose state is its machine. */
static inline int machine_done(void **state) {
        struct machine *m = *state;
        _cleanup_free_ char *command = format("rm -rf %s", m->root);
        int r = system(command);

        free(m);
        return r;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * memcgprof, the command line: parses, looks the verb up and runs it. What it prints on standard output has arrived there when
 * the exit status is 0.
 */
#include "help.h"

/* A full disk or a broken device shows only when the buffer goes out. */
static int finish(int status) {
        if (fflush(stdout) == 0 && !ferror(stdout))
                return status;
        verb_note("Standard output cannot be written: %s.", strerror(errno));
        return status == EXIT_SUCCESS ? EXIT_FAILURE : status;
}

static int dispatch(const struct options *o) {
        if (o->version) {
                puts("memcgprof " MEMCGPROF_VERSION);
                return EXIT_SUCCESS;
        }
        if (o->help) {
                if (o->verb)
                        help_print_verb(stdout, o->verb);
                else
                        help_print(stdout);
                return EXIT_SUCCESS;
        }
        return o->verb->run(o);
}

int main(int argc, char **argv) {
        _cleanup_(options_done) struct options options = {};
        _cleanup_free_ char *why = NULL;
        int r = options_parse(argc, argv, &options, &why);

        if (r < 0) {
                verb_complain(r, why);
                return r == -EINVAL ? EXIT_USAGE : EXIT_FAILURE;
        }
        return finish(dispatch(&options));
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * memcgprofd with a scripted tracker: memcgprofd-fake SCRIPT KALLSYMS ROOT [options of memcgprofd]. The kernel's record of
 * allocations is below ROOT, or nowhere. The journal is the socket SCRIPT.journal; without it lines go to standard error.
 */
#include <limits.h>

#include "daemon.h"
#include "fake-tracker.h"

static const char *script;

static int tracker_new(const struct tracker_options *options, struct tracker **ret, char **reterr) {
        return fake_tracker_new(script, options, ret, reterr);
}

int main(int argc, char **argv) {
        struct daemon_setup setup = {.tracker_new = tracker_new};
        char journal[PATH_MAX];

        if (argc < 4) {
                (void)fprintf(stderr, "usage: memcgprofd-fake SCRIPT KALLSYMS ROOT [OPTIONS]\n");
                return 2;
        }
        script = argv[1];
        setup.kallsyms = argv[2];
        setup.root = argv[3];
        (void)snprintf(journal, sizeof(journal), "%s.journal", script);
        setup.journal = journal;
        argv[3] = argv[0];
        return daemon_run(argc - 3, argv + 3, &setup);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* memcgprofd with a scripted tracker: memcgprofd-fake SCRIPT KALLSYMS [options of memcgprofd]. */
#include "daemon.h"
#include "fake-tracker.h"

static const char *script;

static int tracker_new(const struct tracker_options *options, struct tracker **ret, char **reterr) {
        return fake_tracker_new(script, options, ret, reterr);
}

int main(int argc, char **argv) {
        struct daemon_setup setup = {.tracker_new = tracker_new};

        if (argc < 3) {
                (void)fprintf(stderr, "usage: memcgprofd-fake SCRIPT KALLSYMS [OPTIONS]\n");
                return 2;
        }
        script = argv[1];
        setup.kallsyms = argv[2];
        argv[2] = argv[0];
        return daemon_run(argc - 2, argv + 2, &setup);
}

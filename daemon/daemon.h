/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The daemon as one function: command line, bus, loop, and the order in which things begin and end. */
#pragma once

#include "tracker.h"

struct daemon_setup {
        int (*tracker_new)(const struct tracker_options *options, struct tracker **ret, char **reterr);
        const char *kallsyms; /* path of the symbol table */
        const char *root;     /* where the kernel's files are: "" for the machine's own */
        const char *journal;  /* journald's socket; NULL for the machine's own */
};

/* Runs until SIGTERM, SIGINT, the loss of the bus or long idleness. Returns the exit status: 0, 1 failure, 2 usage, EXIT_AGAIN
 * (idle.h). */
int daemon_run(int argc, char **argv, const struct daemon_setup *setup);

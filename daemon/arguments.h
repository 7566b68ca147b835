/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The command line of memcgprofd, and the configuration that results from files and command line together. */
#pragma once

#include "config.h"

#define ARGUMENTS_OVERRIDES 6

struct arguments {
        const char *bus, *state_dir, *run_dir;
        const char *pins;        /* NULL: none */
        const char *config_root; /* the configuration's files are below it; "" for the machine's own */
        bool show_config;
        int log_target;                             /* enum log_target */
        const char *overrides[ARGUMENTS_OVERRIDES]; /* values of keys, NULL: not given. Checked already */
};

extern const struct arguments arguments_default;

/* -1: go on; else the exit status. What was wrong is said on standard error. */
int arguments_parse(int argc, char **argv, struct arguments *a);

/* Reads the files and lets the command line have the last word. See config_load(). */
int arguments_configure(const struct arguments *a, struct config *ret, config_tell_t tell, void *userdata);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What an operator sets: memcgprofd.conf(5). One file and drop-ins, looked for as systemd's own daemons do; one table of keys
 * feeds the parser, `--show-config` (which tests hold the manual page against) and those command-line options that override a
 * key.
 *
 * Invariants: a line that is wrong changes nothing, and what was in force stays; a file that cannot be read whole is not read
 * at all. Both are told with file and line, and neither keeps the daemon from starting.
 */
#pragma once

#include "spec.h"

#define CONFIG_INFINITY UINT64_MAX /* of spans, counts and sizes that may have no end */

struct config {
        struct spec_caps caps;
        uint64_t groups_max;
        uint64_t objects_max, sites_max, stacks_max; /* 0: as the tracker has it */
        uint64_t reports_count, reports_bytes, reports_age_usec;
        uint64_t settle_usec;       /* between the end of a profile and its report */
        uint64_t residue_keep_usec; /* how long an ended profile is kept; CONFIG_INFINITY: until another needs its place */
        uint64_t cpu_budget;        /* hundredths of a percent; 0: off */
        uint64_t lease_usec;        /* of what counts on without a daemon; CONFIG_INFINITY: no end */
        uint64_t idle_usec;         /* 0 or CONFIG_INFINITY: the daemon does not exit by itself */
};

extern const struct config config_default;

/* `line`: from 1 on; 0: the file as a whole. `sentence` has no file name in it. */
typedef void (*config_tell_t)(void *userdata, const char *file, unsigned line, const char *sentence);

/*
 * Reads what there is below `root` ("" for the machine's own) into `c`, which has to hold the defaults: the first
 * memcgprofd.conf of /etc/memcgprof, /run/memcgprof and /usr/lib/memcgprof, then memcgprofd.conf.d/?*.conf of all three by file
 * name; of drop-ins with one name only the first directory's is read. -ENOMEM; everything else is told.
 */
int config_load(struct config *c, const char *root, config_tell_t tell, void *userdata);

/* Sets one key by name. Empty text: the default. -ENOENT when there is no such key, -EINVAL; each with a sentence. */
int config_set(struct config *c, const char *section, const char *name, const char *text, char **reterr);

/* A configuration file that says what `c` does. NULL on ENOMEM. */
char *config_format(const struct config *c);

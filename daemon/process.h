/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A process that cannot be mistaken for another one: a pidfd. A number alone may have been given to somebody else by the time
 * it is looked at; what was learned about `pid` holds only if the pidfd is still alive afterwards.
 */
#pragma once

#include <sys/types.h>

#include "util.h"

struct process {
        int fd; /* -1: none */
        pid_t pid;
        bool handed; /* over as a pidfd, by whoever started it: a number may have been anybody's */
};

#define PROCESS_NONE ((struct process){.fd = -1})

/*
 * From a pidfd, which is duplicated. -EINVAL when it is none, -ESRCH when the process is gone or lives in a pid namespace that
 * this one does not see. Each with a sentence.
 */
int process_from_fd(int fd, struct process *ret, char **reterr);

/* From a number. -EINVAL for 0 and what is too large, -ESRCH when there is no such process. */
int process_from_pid(uint64_t pid, struct process *ret, char **reterr);

void process_done(struct process *p);

/* False once it has exited, reaped or not. */
bool process_alive(const struct process *p);

/* When a process began, in ticks since the boot: with its number the same only for the same process. -ESRCH. */
int process_born(pid_t pid, uint64_t *ret);

/* A wait(2) status as a shell says it: 128 + signal, or the code. */
int process_code_of(int status);

/*
 * How it ended, as a shell says it (128 + signal). -1 with *ret_reason (static) set to a sentence when that is not known: the
 * kernel keeps it for pidfds since 6.15, once the parent has collected it.
 */
int process_exit_code(const struct process *p, const char **ret_reason);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A command of the user's, run as a child that first waits: it is put where it belongs before its first instruction.
 *
 * Invariants: the child keeps standard streams, terminal, process group, signal mask and signal dispositions of this process
 * as they were found; a child that is never released never runs the command, not even when this process is killed.
 */
#pragma once

#include <signal.h>
#include <sys/types.h>

#include "util.h"

struct command {
        pid_t pid;     /* 0: none */
        int fd;        /* a byte to the child releases it, end of file ends it; back comes its errno when exec fails */
        sigset_t mask; /* as found */
};

/*
 * Blocks SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2 and SIGCHLD in this process and forks a child that waits. argv is
 * kept for it by the fork. Give `ret` to command_done() in any case.
 */
int command_park(char **argv, struct command *ret, char **reterr);

/* Lets the child execute the command. One that was killed while it waited is no failure: command_wait() tells. */
int command_release(struct command *c, char **reterr);

/* True when the process that sent a signal belongs to the command, and so has sent it to us by accident. */
typedef bool (*command_inside_t)(pid_t sender, void *data);

/*
 * Waits until the command has ended. Signals that were sent to this process alone are passed on; those of the terminal reach
 * the command by themselves, for it is in the same process group. *ret_status is what a shell would say: the exit status, 128
 * + the signal, 126 or 127 when it could not be executed (then *ret_exec_error is the errno, else 0).
 */
int command_wait(struct command *c, command_inside_t inside, void *data, int *ret_status, int *ret_exec_error);

/* Ends a child that still waits, forgets signals that came after the command's end, and restores the signal mask. */
void command_done(struct command *c);

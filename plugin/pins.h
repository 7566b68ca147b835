/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The directory in a BPF file system where what counts is kept over the life of processes: who has it, and taking it away. What
 * stands in it is tracker-bpf-pins.c's business; removing it needs no BPF.
 */
#pragma once

#include "util.h"

#define PINS_MAKING "making" /* what is not complete yet */

/*
 * Makes the directory if need be (mode 0700) and takes it: a descriptor, which holds the lock until it is closed. -EBUSY with a
 * sentence when another process has it; -EMEDIUMTYPE where there is no BPF file system; what mkdir and open say.
 */
int pins_lock(const char *path, char **reterr);

/* Removes an entry with all that is in it. Errors are the next user's to meet. */
void pins_remove_tree(int at, const char *name);

/* Removes all entries but `keep`. Returns how many there were, those not complete left out. */
size_t pins_remove_others(int dir, const char *keep);

/*
 * Takes everything away: what was attached by it is not any more. 0: there was nothing; 1: there was. -EBUSY with a sentence
 * when a process has it, which would have to be ended; else what went wrong, with a sentence.
 */
int pins_drop(const char *path, char **reterr);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The hook's own end: whatever stands still, the bus, the daemon, the journal, the writer of the state or the reader of
 * standard error, the container waits a fixed time at most.
 *
 * Two limits, counted from deadline_arm(). The soft one is asked for (deadline_left) and leaves time for a proper message; the
 * hard one is an alarm that ends the process wherever it is.
 */
#pragma once

#include "util.h"

/* What the hook is doing, so that the alarm can say it. */
enum phase { PHASE_STATE, PHASE_CONNECT, PHASE_CALL, PHASE_JOURNAL, _PHASE_MAX };

/* Arms the alarm: to be called before anything that can block. The process would exit with 0. */
void deadline_arm(void);

/* The profile is required: more time from the same start, and the alarm would exit with 1. */
void deadline_extend(void);

/* The daemon has agreed: nothing that happens from here on may refuse the container. */
void deadline_settled(void);

void deadline_phase(enum phase phase);

uint64_t deadline_left_us(void); /* until the soft limit; 0 when it is over */
unsigned deadline_soft_ms(void); /* the soft limit in force */

/*
 * Writes the one line that a run may put on standard error; a second one is dropped, and so is one that would block.
 * Async-signal-safe.
 */
void deadline_say(const char *line, size_t n);

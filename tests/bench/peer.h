/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Another program that observes the same events: started, waited for until it does, ended. */
#pragma once

#include "util.h"

struct peer;

/* Runs `argv` and waits until its output contains `ready`. -ENOENT: not installed; -EPROTO: its last line is the sentence. */
int peer_start(const char *const *argv, const char *ready, struct peer **ret, char **reterr);

/* Interrupts it, as a person would, and waits for its end. */
struct peer *peer_stop(struct peer *p);

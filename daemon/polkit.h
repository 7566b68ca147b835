/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Questions to polkit (org.freedesktop.PolicyKit1.Authority): may the sender of a call do what an action names?
 *
 * Nothing waits for an answer. A call whose sender is asked about is put away and comes in again when polkit has answered; by
 * then an object may be gone, so it is looked at as if it were new. An answer is good for that one call. Whatever is not a
 * clear yes is a no: polkit absent, silent, or not understood leaves root as the only one who may.
 *
 * Bounded: open questions of one user and of all, the size of a call that is put away, and the time for an answer.
 */
#pragma once

#include <systemd/sd-bus.h>

#include "util.h"

struct polkit; /* the questions of one bus */

/* The bus has an event loop attached when the first question is asked. */
int polkit_new(sd_bus *bus, struct polkit **ret);
struct polkit *polkit_free(struct polkit *p); /* calls that wait for an answer get none */
DEFINE_CLEANUP(struct polkit, polkit_free)

/*
 * 1: the sender may; root and the daemon's own user always. 0: polkit is asked; the caller has handled `m` for now. Negative
 * with `error` set: no (AccessDenied, InteractiveAuthorizationRequired), or too many questions are open (Limit).
 * `action` outlives the question.
 */
int polkit_verify(struct polkit *p, sd_bus_message *m, const char *action, sd_bus_error *error);

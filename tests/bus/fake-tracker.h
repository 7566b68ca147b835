/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A tracker without a kernel: its figures come from a script, which is read again at every reading, so that a test changes
 * them by writing a file. What it was told to do stands line by line in SCRIPT.log; it has as many groups as the options say.
 *
 * The script is one JSON object; every member may be absent:
 *   new_error, begin_error, read_error   an errno: the operation fails with it
 *   rows                      [{type, charged, live_known, estimated, frames: ["0x...", ...], allocated: [bytes, calls], freed,
 *                             written_off, untracked, error_bytes, node, gfp_flags, repeat, step}]; repeat makes that many
 *                             rows, each `step` bytes further on in its innermost frame; instead of frames a row may have
 *                             an alloc tag: {file, line, function, module}
 *   pages                     {allocated: [bytes, calls], freed}: charged pages, exactly; absent: what the rows add up to
 *   irq_bytes, kthread_bytes, freed_unmatched_bytes, charges_verified, charges_mismatched, swept_at_us, lost: {name: n}
 *
 * A group that was renewed keeps what had been allocated until then and the frees of that; its successor has the rest.
 */
#pragma once

#include "tracker.h"

/* `script` is kept, not copied. */
int fake_tracker_new(const char *script, const struct tracker_options *options, struct tracker **ret, char **reterr);

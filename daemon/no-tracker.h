/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The tracker of a machine that cannot be measured: it refuses every group with the reason that the real one gave. The daemon
 * runs on with it, so that DescribeSupport can say why, and hooks and people get a sentence instead of silence.
 */
#pragma once

#include "tracker.h"

/* `reason`: a sentence; copied. -ENOMEM. */
int no_tracker_new(const char *reason, struct tracker **ret);

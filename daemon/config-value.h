/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Values of configuration keys: read as systemd's daemons read theirs, and written so that they are read back the same. */
#pragma once

#include "util.h"

enum config_kind {
        CONFIG_BOOL,
        CONFIG_COUNT,
        CONFIG_SIZE,  /* bytes; K, M, G */
        CONFIG_SPAN,  /* microseconds; "1h 30min", seconds without a unit */
        CONFIG_SHARE, /* hundredths of a percent; `off` is 0 */
};

/* What a key takes. `infinity` is a value where `max` is UINT64_MAX. */
struct config_range {
        enum config_kind kind;
        uint64_t min, max;
};

/* -EINVAL with what the key takes, in words that follow "takes". A boolean is 0 or 1. */
int config_value_parse(const struct config_range *range, const char *text, uint64_t *ret, char **reterr);

/* NULL on ENOMEM. */
char *config_value_format(enum config_kind kind, uint64_t value);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What only reports have, as tables: which sites hold what outlived the scope, and how it was when memory ran out. */
#pragma once

#include <jansson.h>

#include "util.h"

/* Prints what there is of both, each with an empty line before it. -ENOMEM. */
int render_aftermath(FILE *out, const json_t *report);

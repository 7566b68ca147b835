/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What config.c (keys) and config-files.c (files) share. Nobody else includes this. */
#pragma once

#include "config.h"

bool config_has_section(const char *section);

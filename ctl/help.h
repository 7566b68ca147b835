/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The help texts, made of the tables of verbs, options and filter keys; no line is wider than 80 columns. */
#pragma once

#include "verb.h"

void help_print(FILE *out);
void help_print_verb(FILE *out, const struct verb *verb);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the daemon tells its operator, one line a time: to the journal, or to standard error where there is none.
 *
 * The journal's native protocol is written here instead of calling sd_journal_send(), because that blocks while journald is
 * stopped, and the hook of a starting container waits for this process. A line that the journal cannot take at once is
 * dropped, and the next line that gets through says how many were. Standard error is not waited for either: behind it there may
 * be a pipe that nobody reads.
 */
#pragma once

#include <syslog.h>

#include "util.h"

enum log_target { LOG_TARGET_AUTO, LOG_TARGET_JOURNAL, LOG_TARGET_CONSOLE, LOG_TARGET_NULL, _LOG_TARGET_MAX };

/* Both are kept, not copied. `journal`: journald's socket; NULL for the machine's own. Call it once before the first line. */
void log_open(const char *identifier, const char *journal);
const char *log_identifier(void);

/* level: LOG_ERR and so on; lines above the maximum (default LOG_INFO) are not written. */
void log_line(int level, const char *format, ...) _printf_(2, 3);

/* What a line carries besides its text, in the journal only. `value` may be any text; NULL: the field is left out. */
struct log_field {
        const char *name, *value;
};

void log_entry(int level, const struct log_field *fields, size_t n, const char *format, ...) _printf_(4, 5);

void log_set_max_level(int level);
int log_max_level(void);
void log_set_target(enum log_target target);
enum log_target log_target(void);

/* Names as org.freedesktop.LogControl1 has them; the reverse gives -EINVAL. */
const char *log_level_to_string(int level);
int log_level_from_string(const char *s);
const char *log_target_to_string(enum log_target target);
int log_target_from_string(const char *s);

#define log_error(...) log_line(LOG_ERR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_WARNING, __VA_ARGS__)
#define log_notice(...) log_line(LOG_NOTICE, __VA_ARGS__)
#define log_info(...) log_line(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)

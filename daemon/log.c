/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See log.h. State is per process: level, target, one datagram socket that is opened on first use. */
#include <sys/socket.h>
#include <sys/un.h>

#include "log.h"
#include "text.h"

#define JOURNAL_SOCKET "/run/systemd/journal/socket"
#define LINE_BYTES_MAX 2048

static struct {
        const char *identifier;
        int max_level;
        enum log_target target;
        int journal; /* connected datagram socket, or -1 */
        uint64_t dropped;
} state = {.identifier = "memcgprofd", .max_level = LOG_INFO, .journal = -1};

static const char *const level_names[] = {"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"};
static const char *const target_names[_LOG_TARGET_MAX] = {"auto", "journal", "console", "null"};

void log_open(const char *identifier) {
        state.identifier = identifier;
}

const char *log_identifier(void) {
        return state.identifier;
}

static bool journal_connect(void) {
        static const struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = JOURNAL_SOCKET};
        int fd;

        if (state.journal >= 0)
                return true;
        fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return false;
        if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
                close(fd);
                return false;
        }
        state.journal = fd;
        return true;
}

/* False when there is no journal at all; a line that a busy journal does not take counts as dropped, not as failed. */
static bool write_journal(int level, const char *line) {
        _cleanup_free_ char *entry = NULL;

        if (!journal_connect())
                return false;
        entry = format("PRIORITY=%d\nSYSLOG_IDENTIFIER=%s\nMESSAGE=%s%s\n", level, state.identifier, line,
                state.dropped > 0 ? " (earlier lines were dropped)" : "");
        if (entry && send(state.journal, entry, strlen(entry), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
                state.dropped = 0;
                return true;
        }
        if (entry && (errno == ECONNREFUSED || errno == ENOTCONN || errno == ENOENT || errno == ECONNRESET)) {
                close(TAKE_FD(state.journal));
                return false;
        }
        state.dropped++;
        return true;
}

void log_line(int level, const char *fmt, ...) {
        _cleanup_free_ char *raw = NULL, *line = NULL;
        va_list ap;
        int n;

        if (level > state.max_level || state.target == LOG_TARGET_NULL)
                return;
        va_start(ap, fmt);
        n = vasprintf(&raw, fmt, ap);
        va_end(ap);
        if (n < 0) {
                raw = NULL;
                return;
        }
        /* One line stays one line, whatever names from outside are in it. */
        line = text_escape(raw, (size_t)n, LINE_BYTES_MAX);
        if (!line)
                return;
        if (state.target != LOG_TARGET_CONSOLE && write_journal(level, line))
                return;
        if (state.target != LOG_TARGET_JOURNAL)
                (void)fprintf(stderr, "%s: %s\n", state.identifier, line);
}

void log_set_max_level(int level) {
        state.max_level = level;
}

int log_max_level(void) {
        return state.max_level;
}

void log_set_target(enum log_target target) {
        state.target = target;
}

enum log_target log_target(void) {
        return state.target;
}

static int find_name(const char *const *names, size_t n, const char *s) {
        for (size_t i = 0; i < n; i++)
                if (streq(names[i], s))
                        return (int)i;
        return -EINVAL;
}

const char *log_level_to_string(int level) {
        return level_names[level];
}

int log_level_from_string(const char *s) {
        return find_name(level_names, ELEMENTS(level_names), s);
}

const char *log_target_to_string(enum log_target target) {
        return target_names[target];
}

int log_target_from_string(const char *s) {
        return find_name(target_names, ELEMENTS(target_names), s);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See log.h. State is per process: level, target, one datagram socket that is opened on first use. */
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "log.h"
#include "text.h"

#define JOURNAL_SOCKET "/run/systemd/journal/socket"
#define LINE_BYTES_MAX 2048
#define FIELD_BYTES_MAX 4096

static struct {
        const char *identifier, *socket;
        int max_level;
        enum log_target target;
        int journal; /* connected datagram socket, or -1 */
        uint64_t dropped;
} state = {.identifier = "memcgprofd", .socket = JOURNAL_SOCKET, .max_level = LOG_INFO, .journal = -1};

static const char *const level_names[] = {"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"};
static const char *const target_names[_LOG_TARGET_MAX] = {"auto", "journal", "console", "null"};

void log_open(const char *identifier, const char *journal) {
        state.identifier = identifier;
        if (journal)
                state.socket = journal;
}

const char *log_identifier(void) {
        return state.identifier;
}

static bool journal_connect(void) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd;

        if (state.journal >= 0)
                return true;
        if (strlen(state.socket) >= sizeof(address.sun_path))
                return false;
        (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", state.socket);
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

static int append_field(FILE *f, const struct log_field *field) {
        _cleanup_free_ char *value = field->value ? text_escape(field->value, strlen(field->value), FIELD_BYTES_MAX) : NULL;

        if (!field->value)
                return 0;
        return value && fprintf(f, "%s=%s\n", field->name, value) >= 0 ? 0 : -ENOMEM;
}

/* One entry of the journal's native protocol. Every value is one line: see text_escape(). NULL on ENOMEM. */
static char *make_entry(int level, const char *line, const struct log_field *fields, size_t n, size_t *ret_size) {
        _cleanup_free_ char *entry = NULL;
        FILE *f = open_memstream(&entry, ret_size);
        int r = 0;

        if (!f)
                return NULL;
        for (size_t i = 0; r >= 0 && i < n; i++)
                r = append_field(f, &fields[i]);
        if (fprintf(f, "PRIORITY=%d\nSYSLOG_IDENTIFIER=%s\nMESSAGE=%s", level, state.identifier, line) < 0)
                r = -ENOMEM;
        if (state.dropped > 0 && fprintf(f, " (%llu earlier lines were dropped)", (unsigned long long)state.dropped) < 0)
                r = -ENOMEM;
        if (fputc('\n', f) == EOF || fclose(f) != 0)
                r = -ENOMEM;
        return r < 0 ? NULL : TAKE(entry);
}

/* False when there is no journal at all; a line that a busy journal does not take counts as dropped, not as failed. */
static bool write_journal(int level, const char *line, const struct log_field *fields, size_t n) {
        _cleanup_free_ char *entry = NULL;
        size_t size = 0;

        if (!journal_connect())
                return false;
        entry = make_entry(level, line, fields, n, &size);
        if (entry && send(state.journal, entry, size, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) {
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

/* A pipe that can be written to takes a line of this length whole; a socket is told not to wait. */
static void write_console(const char *line) {
        _cleanup_free_ char *text = format("%s: %s\n", state.identifier, line);
        struct pollfd ready = {.fd = STDERR_FILENO, .events = POLLOUT};

        if (!text || send(STDERR_FILENO, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 || errno != ENOTSOCK)
                return;
        if (poll(&ready, 1, 0) > 0 && write(STDERR_FILENO, text, strlen(text)) < 0)
                state.dropped++;
}

static void write_line(int level, const struct log_field *fields, size_t n, const char *fmt, va_list ap) _printf_(4, 0);

static void write_line(int level, const struct log_field *fields, size_t n, const char *fmt, va_list ap) {
        _cleanup_free_ char *raw = NULL, *line = NULL;
        int length;

        if (level > state.max_level || state.target == LOG_TARGET_NULL)
                return;
        length = vasprintf(&raw, fmt, ap);
        if (length < 0) {
                raw = NULL;
                return;
        }
        /* One line stays one line, whatever names from outside are in it. */
        line = text_escape(raw, (size_t)length, LINE_BYTES_MAX);
        if (!line)
                return;
        if (state.target != LOG_TARGET_CONSOLE && write_journal(level, line, fields, n))
                return;
        if (state.target != LOG_TARGET_JOURNAL)
                write_console(line);
}

void log_line(int level, const char *fmt, ...) {
        va_list ap;

        va_start(ap, fmt);
        write_line(level, NULL, 0, fmt, ap);
        va_end(ap);
}

void log_entry(int level, const struct log_field *fields, size_t n, const char *fmt, ...) {
        va_list ap;

        va_start(ap, fmt);
        write_line(level, fields, n, fmt, ap);
        va_end(ap);
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

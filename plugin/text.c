/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Text from outside made harmless, and numbers read strictly.
 *
 * Invariants: whatever text_escape() returns is accepted by jansson and by D-Bus and is one line on a terminal; every function
 * looks at no more than the bytes it was given.
 */
#include <fcntl.h>

#include "text.h"

#define SIZE_LIMIT (UINT64_C(1) << 62)

struct range {
        uint32_t first, last;
};

/*
 * Valid code points that still leave as \xNN. Surrogates and noncharacters because sd-bus refuses them; the rest because a
 * terminal or a log reader would act on them: controls, line separators, and the marks that reverse the writing direction.
 */
static const struct range unprintable[] = {
        {0x0000, 0x001f},
        {0x007f, 0x009f},
        {0x200e, 0x200f},
        {0x2028, 0x202e},
        {0x2066, 0x2069},
        {0xd800, 0xdfff},
        {0xfdd0, 0xfdef},
};

static bool code_point_ok(uint32_t c) {
        if (c > 0x10ffff || (c & 0xfffe) == 0xfffe)
                return false;
        for (size_t i = 0; i < ELEMENTS(unprintable); i++)
                if (c >= unprintable[i].first && c <= unprintable[i].last)
                        return false;
        return true;
}

/* The length of the printable character at `s`, or 0 when its first byte has to be escaped. */
static size_t printable_length(const unsigned char *s, size_t n) {
        static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000}; /* less would be an overlong form */
        uint32_t c = s[0];
        size_t len;

        if (c < 0x80)
                return code_point_ok(c) ? 1 : 0;
        len = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
        if (c < 0xc2 || c > 0xf4 || len > n)
                return 0;
        c &= 0x7f >> len;
        for (size_t i = 1; i < len; i++) {
                if ((s[i] & 0xc0) != 0x80)
                        return 0;
                c = c << 6 | (s[i] & 0x3f);
        }
        return c >= smallest[len] && code_point_ok(c) ? len : 0;
}

/*
 * How many of the backslashes at `s` are written twice: all that stand in front of an x or of what is escaped, or none. So an
 * odd number of them in front of an x is an escape, and two texts never look the same.
 */
static size_t doubled_backslashes(const unsigned char *s, const unsigned char *end) {
        const unsigned char *p = s;

        while (p < end && *p == '\\')
                p++;
        return p < end && (*p == 'x' || printable_length(p, end - p) == 0) ? p - s : 0;
}

char *text_escape(const char *s, size_t n, size_t max) {
        static const char hex[] = "0123456789abcdef";
        const unsigned char *p = (const unsigned char *)s, *end = p + n;
        /* One byte becomes four at most, and nobody wants more than `max`. */
        size_t room = n > max / 4 ? max : 4 * n, out = 0, doubled = 0; /* of the next bytes */
        char *ret = malloc(room + sizeof("..."));

        if (!ret)
                return NULL;
        while (p < end) {
                size_t len = printable_length(p, end - p);
                size_t need;

                if (*p == '\\' && (p == (const unsigned char *)s || p[-1] != '\\'))
                        doubled = doubled_backslashes(p, end);
                need = doubled ? 2 : len ? len : 4;
                if (need > max - out) {
                        memcpy(ret + out, "...", 3);
                        out += 3;
                        break;
                }
                if (doubled) {
                        memset(ret + out, '\\', 2);
                        doubled--;
                } else if (len) {
                        memcpy(ret + out, p, len);
                } else {
                        const char escape[4] = {'\\', 'x', hex[*p >> 4], hex[*p & 15]};
                        memcpy(ret + out, escape, sizeof(escape));
                }
                out += need;
                p += len ? len : 1;
        }
        ret[out] = '\0';
        return ret;
}

#define FILENAME_LENGTH 100
#define HASH_LENGTH 17 /* a dash and 16 hex digits */

char *text_filename(const char *id) {
        static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-";
        char name[FILENAME_LENGTH + sizeof("_XX")];
        size_t out = 0, cut = 0;

        for (const char *p = id; *p && out <= FILENAME_LENGTH; p++) {
                if (strchr(plain, *p) && !(*p == '.' && p == id))
                        name[out++] = *p;
                else
                        out += snprintf(name + out, sizeof("_XX"), "_%02x", (unsigned char)*p);
                if (out <= FILENAME_LENGTH - HASH_LENGTH)
                        cut = out; /* between two characters, so that no escape is torn */
        }
        if (out == 0)
                return strdup("_"); /* an empty name is no file name */
        if (out <= FILENAME_LENGTH)
                return strndup(name, out);
        return format("%.*s-%016llx", (int)cut, name, (unsigned long long)text_hash(id, strlen(id)));
}

/* Reads digits up to the first byte that is none. */
static int digits(const char *s, uint64_t *ret, const char **ret_end) {
        uint64_t v = 0;
        const char *p = s;

        for (; *p >= '0' && *p <= '9'; p++)
                if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
                        return -ERANGE;
        if (p == s)
                return -EINVAL;
        *ret = v;
        *ret_end = p;
        return 0;
}

int text_to_u64(const char *s, uint64_t *ret) {
        const char *end;
        uint64_t v;
        int r = digits(s, &v, &end);

        if (r < 0)
                return r;
        if (*end)
                return -EINVAL;
        *ret = v;
        return 0;
}

int text_to_i64(const char *s, int64_t *ret) {
        bool negative = *s == '-';
        uint64_t v;
        int r = text_to_u64(s + negative, &v);

        if (r < 0)
                return r;
        if (v > (uint64_t)INT64_MAX + negative)
                return -ERANGE;
        *ret = negative ? (int64_t)(0 - v) : (int64_t)v;
        return 0;
}

int text_to_size(const char *s, uint64_t *ret) {
        static const char suffixes[] = "KMG";
        const char *end, *suffix;
        unsigned shift = 0;
        uint64_t v;
        int r = digits(s, &v, &end);

        if (r < 0)
                return r;
        if (*end) {
                suffix = strchr(suffixes, *end);
                if (!suffix || end[1])
                        return -EINVAL;
                shift = 10 * (suffix - suffixes + 1);
        }
        if (v > SIZE_LIMIT >> shift)
                return -ERANGE;
        *ret = v << shift;
        return 0;
}

/*
 * Reads until the end of the file instead of asking for its size: what lives in /proc and /sys says 0. One byte more than
 * `max` is asked for, to tell a full file from a longer one.
 */
static int read_all(int fd, size_t max, char **ret, size_t *ret_len) {
        size_t size = 0, len = 0;
        _cleanup_free_ char *text = NULL;

        for (;;) {
                ssize_t n;

                if (size - len < 2) {
                        size_t larger = size ? 2 * size : 4096;
                        char *p = realloc(text, larger);

                        if (!p)
                                return -ENOMEM;
                        text = p;
                        size = larger;
                }
                n = read(fd, text + len, size - len - 1);
                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return -errno;
                if (n == 0)
                        break;
                len += n;
                if (len > max)
                        return -E2BIG;
        }
        text[len] = '\0';
        if (ret_len)
                *ret_len = len;
        *ret = TAKE(text);
        return 0;
}

int text_read_file(int dirfd, const char *path, size_t max, char **ret, size_t *ret_len) {
        _cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

        if (fd < 0)
                return -errno;
        return read_all(fd, max, ret, ret_len);
}

uint64_t text_hash(const void *data, size_t n) {
        const unsigned char *p = data;
        uint64_t h = UINT64_C(0xcbf29ce484222325);

        for (size_t i = 0; i < n; i++)
                h = (h ^ p[i]) * UINT64_C(0x100000001b3);
        return h;
}

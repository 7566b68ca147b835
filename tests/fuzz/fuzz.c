/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See fuzz.h. What cannot be made (memory, files) ends the process: a target that silently does nothing finds nothing. */
#include <limits.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "fuzz.h"

#define SENTENCE_MAX 4096 /* bytes: no quoted part of a sentence is longer than a path of a fixture */

_Noreturn void fuzz_broken(const char *condition, const char *file, int line) {
        fprintf(stderr, "%s:%d: not so: %s\n", file, line, condition);
        abort();
}

char *fuzz_text(const uint8_t *data, size_t size) {
        char *text = malloc(size + 1);

        demand(text);
        if (size > 0)
                memcpy(text, data, size);
        text[size] = '\0';
        return text;
}

char *fuzz_line(const char **p) {
        const char *line = *p, *end;

        if (!line)
                return NULL;
        end = strchrnul(line, '\n');
        *p = *end ? end + 1 : NULL;
        return fuzz_text((const uint8_t *)line, (size_t)(end - line));
}

/* One character at `s`, by the table of RFC 3629: its length, or 0. */
static size_t decode(const unsigned char *s, size_t n, uint32_t *ret) {
        static const struct {
                uint8_t first, last, low, high; /* range of the first byte, range of the second */
                uint8_t length;
        } forms[] = {
                {0x00, 0x7f, 0, 0, 1},
                {0xc2, 0xdf, 0x80, 0xbf, 2},
                {0xe0, 0xe0, 0xa0, 0xbf, 3},
                {0xe1, 0xec, 0x80, 0xbf, 3},
                {0xed, 0xed, 0x80, 0x9f, 3},
                {0xee, 0xef, 0x80, 0xbf, 3},
                {0xf0, 0xf0, 0x90, 0xbf, 4},
                {0xf1, 0xf3, 0x80, 0xbf, 4},
                {0xf4, 0xf4, 0x80, 0x8f, 4},
        };
        static const uint8_t masks[] = {0, 0x7f, 0x1f, 0x0f, 0x07};

        for (size_t i = 0; i < ELEMENTS(forms); i++) {
                size_t length = forms[i].length;
                uint32_t c = s[0] & masks[length];

                if (s[0] < forms[i].first || s[0] > forms[i].last)
                        continue;
                if (length > n || (length > 1 && (s[1] < forms[i].low || s[1] > forms[i].high)))
                        return 0;
                for (size_t k = 1; k < length; k++) {
                        if (s[k] < 0x80 || s[k] > 0xbf)
                                return 0;
                        c = c * 64 + (s[k] - 0x80);
                }
                *ret = c;
                return length;
        }
        return 0;
}

static bool acts_on_terminals(uint32_t c) {
        if (c < 0x20 || (c >= 0x7f && c < 0xa0))
                return true;
        if (c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069))
                return true;
        return (c >= 0xfdd0 && c <= 0xfdef) || (c & 0xffff) == 0xfffe || (c & 0xffff) == 0xffff;
}

static bool decodes(const char *s, size_t n, bool printable) {
        const unsigned char *p = (const unsigned char *)s, *end = p + n;

        while (p < end) {
                uint32_t c;
                size_t length = decode(p, (size_t)(end - p), &c);

                if (length == 0 || (printable && acts_on_terminals(c)))
                        return false;
                p += length;
        }
        return true;
}

bool fuzz_is_utf8(const char *s, size_t n) {
        return decodes(s, n, false);
}

bool fuzz_is_printable(const char *s) {
        return decodes(s, strlen(s), true);
}

void fuzz_check_sentence(int r, char *sentence) {
        demand(r <= 1);
        if (r >= 0 || r == -ENOMEM) {
                demand(!sentence);
                return;
        }
        demand(sentence);
        demand(strlen(sentence) > 1 && strlen(sentence) < SENTENCE_MAX);
        demand(sentence[strlen(sentence) - 1] == '.');
        demand(fuzz_is_printable(sentence));
        free(sentence);
}

bool fuzz_is_normal_path(const char *path) {
        if (streq(path, "/"))
                return true;
        for (const char *p = path; *p;) {
                size_t n = strcspn(p + 1, "/");

                if (*p != '/' || n == 0 || n > NAME_MAX || (n <= 2 && strspn(p + 1, ".") == n))
                        return false;
                p += 1 + n;
        }
        return *path;
}

int fuzz_file(void) {
        int fd = memfd_create("fuzz", MFD_CLOEXEC);

        demand(fd >= 0);
        return fd;
}

void fuzz_file_write(int fd, const void *data, size_t n) {
        demand(ftruncate(fd, 0) == 0);
        demand(n == 0 || pwrite(fd, data, n, 0) == (ssize_t)n);
}

char *fuzz_file_path(int fd) {
        char *path = format("/proc/self/fd/%d", fd);

        demand(path);
        return path;
}

#define LINKS_MAX 8

static char directory[PATH_MAX];
static char links[LINKS_MAX][PATH_MAX + NAME_MAX];
static size_t n_links;

static void remove_directory(void) {
        while (n_links > 0)
                (void)remove(links[--n_links]);
        rmdir(directory);
}

const char *fuzz_directory(void) {
        const char *where = getenv("TMPDIR");

        if (!*directory) {
                snprintf(directory, sizeof directory, "%s/memcgprof-fuzz-XXXXXX", where ? where : "/tmp");
                demand(mkdtemp(directory));
                atexit(remove_directory);
        }
        return directory;
}

void fuzz_directory_make(const char *name) {
        demand(n_links < LINKS_MAX);
        snprintf(links[n_links], sizeof links[0], "%s/%s", fuzz_directory(), name);
        demand(mkdir(links[n_links], 0700) == 0);
        n_links++;
}

void fuzz_directory_add(const char *name, int fd) {
        _cleanup_free_ char *path = fuzz_file_path(fd);

        demand(n_links < LINKS_MAX);
        snprintf(links[n_links], sizeof links[0], "%s/%s", fuzz_directory(), name);
        demand(symlink(path, links[n_links]) == 0);
        n_links++;
}

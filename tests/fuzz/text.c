/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fuzz target: what makes outside text harmless. It leaves as one printable line, within its bound, tells two texts apart, and
 * stands in JSON as it is; numbers are read as they are written.
 */
#include <jansson.h>

#include "fuzz.h"
#include "text-json.h"
#include "text.h"

static int hex_digit(char c) {
        const char *digits = "0123456789abcdef", *found = strchr(digits, c);

        return c && found ? (int)(found - digits) : -1;
}

/*
 * What text_escape() was given, in place. Backslashes before an x are doubled, and so are those before an escape; other ones
 * are not.
 */
static size_t unescape(char *s) {
        char *out = s, *p = s;

        while (*p) {
                size_t run = strspn(p, "\\"), written = run;

                if (run == 0) {
                        *out++ = *p++;
                        continue;
                }
                if (p[run] == 'x')
                        written = run / 2;
                memmove(out, p, written);
                out += written;
                p += run;
                if (*p == 'x' && run % 2) {
                        demand(hex_digit(p[1]) >= 0 && hex_digit(p[2]) >= 0);
                        *out++ = (char)(hex_digit(p[1]) * 16 + hex_digit(p[2]));
                        p += 3;
                }
        }
        return (size_t)(out - s);
}

static void check_escape(const char *data, size_t n, size_t max) {
        _cleanup_free_ char *whole = text_escape(data, n, SIZE_MAX), *cut = text_escape(data, n, max);
        size_t len;

        demand(whole && cut && fuzz_is_printable(whole) && fuzz_is_printable(cut));
        demand(strlen(cut) <= max + strlen("..."));
        if (!streq(cut, whole)) {
                len = strlen(cut) - strlen("...");
                demand(streq(cut + len, "...") && memcmp(cut, whole, len) == 0 && strlen(whole) > max);
        }
        len = unescape(whole);
        demand(len == n && (n == 0 || memcmp(whole, data, n) == 0));
}

static void check_json(const char *text, size_t max) {
        _cleanup_free_ char *escaped = text_escape(text, strlen(text), max), *json = NULL;
        struct text_json j = {};
        json_t *value;

        text_json_open(&j, NULL, '{');
        text_json_string(&j, "text", text, max);
        text_json_integer(&j, "max", (int64_t)max);
        text_json_close(&j, '}');
        json = text_json_take(&j);
        demand(json && escaped);
        value = json_loads(json, 0, NULL);
        demand(value && streq(json_string_value(json_object_get(value, "text")), escaped));
        demand(json_integer_value(json_object_get(value, "max")) == (json_int_t)max);
        json_decref(value);
}

static const char *without_zeros(const char *s) {
        while (s[0] == '0' && s[1] >= '0' && s[1] <= '9')
                s++;
        return s;
}

static void check_numbers(const char *text) {
        char shown[32];
        uint64_t u, size;
        int64_t i;

        if (text_to_u64(text, &u) == 0) {
                snprintf(shown, sizeof shown, "%llu", (unsigned long long)u);
                demand(streq(shown, without_zeros(text)));
                demand((text_to_size(text, &size) == 0) == (u <= UINT64_C(1) << 62));
        }
        if (text_to_i64(text, &i) == 0 && i != 0) {
                snprintf(shown, sizeof shown, "%lld", (long long)i);
                demand((i < 0) == (*text == '-') && streq(shown + (i < 0), without_zeros(text + (i < 0))));
        }
        if (text_to_size(text, &size) == 0)
                demand(size <= UINT64_C(1) << 62 && *text >= '0' && *text <= '9');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = fuzz_text(data, size);
        size_t max = size > 0 ? data[size - 1] % 80 : 0;

        check_escape((const char *)data, size, max);
        check_json(text, max);
        check_json(text, SIZE_MAX);
        check_numbers(text);
        return 0;
}

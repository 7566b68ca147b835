/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fuzz target: a configuration file. Whatever stands in it, what is in force can be written as a file that says the same. */
#include <sys/stat.h>

#include "config.h"
#include "fuzz.h"

static void tell(void *userdata, const char *file, unsigned line, const char *sentence) {
        size_t *told = userdata;

        demand(*file && *sentence && sentence[strlen(sentence) - 1] == '.');
        demand(fuzz_is_printable(sentence));
        (*told)++;
}

static void check_caps(const struct spec_caps *caps) {
        demand(caps->min_sample >= 1 && caps->min_sample <= UINT64_C(1) << 30);
}

static bool same(const struct config *a, const struct config *b) {
        _cleanup_free_ char *x = config_format(a), *y = config_format(b);

        demand(x && y);
        return streq(x, y);
}

static void load(int file, const void *data, size_t n, struct config *c, size_t *told) {
        fuzz_file_write(file, data, n);
        demand(config_load(c, fuzz_directory(), tell, told) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static int file = -1;
        struct config c = config_default, again = config_default;
        _cleanup_free_ char *text = NULL;
        size_t told = 0;

        if (file < 0) {
                file = fuzz_file();
                fuzz_directory_make("etc");
                fuzz_directory_make("etc/memcgprof");
                fuzz_directory_add("etc/memcgprof/memcgprofd.conf", file);
        }
        load(file, data, size, &c, &told);
        check_caps(&c.caps);
        demand(c.groups_max >= 1 && c.cpu_budget <= 10000);
        text = config_format(&c);
        demand(text);
        told = 0;
        load(file, text, strlen(text), &again, &told);
        demand(told == 0 && same(&c, &again));
        return 0;
}

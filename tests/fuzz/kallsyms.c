/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fuzz target: /proc/kallsyms. Functions have names out of the file and do not overlap; addresses find what holds them. */
#include "fuzz.h"
#include "symbol.h"

#define REACH_MAX (64 * 1024) /* as symbol.c has it */

struct look {
        const struct symbols *symbols;
        const uint8_t *data;
        size_t size;
        uint64_t end; /* of the function before */
        size_t n;
};

static void check_found(const struct look *look, uint64_t address) {
        struct symbol found = {};
        int r = symbols_find(look->symbols, address, &found);

        demand(r == 0 || r == -ENOENT);
        demand((r == 0) == (found.name != NULL));
        if (r < 0)
                return;
        demand(found.start <= address && address - found.start == found.offset && found.offset < REACH_MAX);
        demand(*found.name && memmem(look->data, look->size, found.name, strlen(found.name)));
        demand(!*found.module || memmem(look->data, look->size, found.module, strlen(found.module)));
}

static void check_function(void *userdata, const char *name, uint64_t start, uint64_t end) {
        struct look *look = userdata;
        struct symbol found;

        demand(*name && !strpbrk(name, " \t\n"));
        demand(start < end && start >= look->end);
        demand(symbols_find(look->symbols, start, &found) == 0);
        demand(streq(found.name, name) && found.start == start && found.offset == 0 && !*found.module);
        check_found(look, end - 1);
        check_found(look, end);
        look->end = end;
        look->n++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static int file = -1;
        static char *path;
        _cleanup_(symbols_freep) struct symbols *s = NULL;
        struct look look = {.data = data, .size = size};
        char *sentence = NULL;
        uint64_t address = 0;
        int r;

        if (file < 0) {
                file = fuzz_file();
                path = fuzz_file_path(file);
        }
        fuzz_file_write(file, data, size);
        r = symbols_load(path, &s, &sentence);
        fuzz_check_sentence(r, sentence);
        demand((r == 0) == (s != NULL));
        demand(r == 0 || r == -EINVAL || r == -EACCES || r == -E2BIG || r == -ENOMEM);
        if (!s)
                return 0;
        look.symbols = s;
        symbols_each(s, check_function, &look);
        demand(symbols_count(s) > 0 && look.n < symbols_count(s));
        memcpy(&address, data, size < sizeof address ? size : sizeof address);
        check_found(&look, 0);
        check_found(&look, address);
        check_found(&look, UINT64_MAX);
        return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Runs every file below the given directories through a fuzz target, once: what fuzzing has found stays found, in trees that
 * have no libFuzzer. Says which file it is at before it is tried, because a finding ends the process.
 */
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>

#include "fuzz.h"
#include "text.h"

#define INPUT_MAX (1024 * 1024)
#define DESCRIPTORS 8

static size_t tried;

static int try_file(const char *path, const struct stat *st, int type, struct FTW *place) {
        _cleanup_free_ char *text = NULL;
        uint8_t *exact;
        size_t n;

        if (type != FTW_F)
                return 0;
        printf("# %s\n", path);
        fflush(stdout);
        if (text_read_file(AT_FDCWD, path, INPUT_MAX, &text, &n) < 0)
                return -1;
        exact = malloc(n ? n : 1); /* without the NUL that a reader appends */
        if (!exact)
                return -1;
        memcpy(exact, text, n);
        LLVMFuzzerTestOneInput(exact, n);
        free(exact);
        tried++;
        return 0;
}

int main(int argc, char **argv) {
        bool read = argc > 1;

        printf("1..1\n");
        for (int i = 1; i < argc; i++)
                read = nftw(argv[i], try_file, DESCRIPTORS, FTW_PHYS) == 0 && read;
        printf("%s 1 - all %zu inputs of the corpus are taken\n", read && tried > 0 ? "ok" : "not ok", tried);
        return read && tried > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

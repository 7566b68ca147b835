/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fuzz target: config.json of a bundle, and what its cgroupsPath is taken for. */
#include "cgroup-path.h"
#include "cgroup.h"
#include "fuzz.h"

static void check_path(const char *path) {
        _cleanup_free_ char *unit = NULL, *normal = NULL;
        int r;

        demand(*path && fuzz_is_utf8(path, strlen(path)));
        r = cgroup_path_of_unit(path, &unit);
        demand(r == 0 || (!unit && (r == -EINVAL || r == -ENAMETOOLONG)));
        if (unit)
                demand(fuzz_is_normal_path(unit));
        r = cgroup_path_normalize(path, &normal);
        demand((r == 0) == (normal != NULL));
        if (normal)
                demand(fuzz_is_normal_path(normal));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static int file = -1;
        _cleanup_free_ char *path = NULL;
        char *sentence = NULL;
        int r;

        if (file < 0) {
                file = fuzz_file();
                fuzz_directory_add("config.json", file);
        }
        fuzz_file_write(file, data, size);
        r = cgroup_path_of_bundle(fuzz_directory(), &path, &sentence);
        fuzz_check_sentence(r, sentence);
        demand(r >= 0 || !path);
        demand(r != -ENOENT); /* it is there */
        if (path)
                check_path(path);
        return 0;
}

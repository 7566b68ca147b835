/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See oom.h. */
#include "oom.h"
#include "text.h"

#define FILE_BYTES_MAX 4096

int oom_read_kills(const struct cgroup *c, int64_t *ret) {
        const char *file = c->layout == CGROUP_V2 ? "memory.events" : "memory.oom_control";
        _cleanup_free_ char *text = NULL;
        uint64_t kills;
        char *line;
        size_t n;
        int r;

        r = text_read_file(c->fd, file, FILE_BYTES_MAX, &text, &n);
        if (r < 0)
                return r;
        /* Never the first line of either file; `oom_kill_disable` of v1 has no blank there. */
        line = strstr(text, "\noom_kill ");
        if (!line)
                return -ENODATA;
        line += strlen("\noom_kill ");
        line[strcspn(line, "\n")] = '\0';
        if (text_to_u64(line, &kills) < 0 || kills > INT64_MAX)
                return -ENODATA;
        *ret = (int64_t)kills;
        return 0;
}

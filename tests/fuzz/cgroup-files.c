/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fuzz target: the memory controller's files and /proc/meminfo. An input is tried as each of them: what a parser takes out of
 * another one's file must be in order as well.
 */
#include <fcntl.h>

#include "fuzz.h"
#include "memcg.h"
#include "oom.h"

#define BIT(k) (1u << (k))

/* v1's memory.stat has no word on kernel memory. */
static const uint32_t stat_v1 = BIT(MEMCG_ANON) | BIT(MEMCG_FILE) | BIT(MEMCG_SHMEM);

static void check(const struct memcg_counters *c, uint32_t allowed) {
        demand(!(c->known & ~allowed));
        for (int k = 0; k < _MEMCG_MAX; k++)
                demand(memcg_knows(c, k) ? c->value[k] >= 0 : c->value[k] == 0);
}

/* What was read, written as the kernel does, is read as the same. */
static void check_again(const struct memcg_counters *c) {
        struct memcg_counters again = {};
        char text[_MEMCG_MAX * 48] = "";
        size_t n = 0;

        for (int k = 0; k < _MEMCG_MAX; k++)
                if (memcg_knows(c, k))
                        n += (size_t)snprintf(
                                text + n, sizeof text - n, "%s %lld\n", memcg_counter_name(k), (long long)c->value[k]);
        memcg_parse_stat(text, CGROUP_V2, &again);
        demand(again.known == c->known && memcmp(again.value, c->value, sizeof again.value) == 0);
}

static void check_texts(const char *text) {
        struct memcg_counters v2 = {}, v1 = {}, host = {};

        memcg_parse_stat(text, CGROUP_V2, &v2);
        check(&v2, (BIT(_MEMCG_MAX) - 1) & ~BIT(MEMCG_CURRENT));
        check_again(&v2);
        memcg_parse_stat(text, CGROUP_HYBRID, &v1);
        check(&v1, stat_v1);
        memcg_parse_meminfo(text, &host);
        check(&host, (BIT(_MEMCG_MAX) - 1) & ~(BIT(MEMCG_CURRENT) | BIT(MEMCG_KERNEL) | BIT(MEMCG_SOCK)));
}

static void check_group(enum cgroup_layout layout) {
        static char path[] = "/fuzz";
        static int directory = -1;
        struct memcg_counters c = {};
        int64_t kills = -7;
        int r;

        if (directory < 0)
                directory = open(fuzz_directory(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        demand(memcg_read(&(struct cgroup){.path = path, .fd = directory, .layout = layout}, &c) == 0);
        check(&c, layout == CGROUP_V2 ? BIT(_MEMCG_MAX) - 1 : stat_v1 | BIT(MEMCG_CURRENT));
        r = oom_read_kills(&(struct cgroup){.path = path, .fd = directory, .layout = layout}, &kills);
        demand(r == 0 || r == -ENODATA || r == -E2BIG);
        demand(r == 0 ? kills >= 0 : kills == -7);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const char *const names[] = {
                "memory.current", "memory.stat", "memory.events", "memory.usage_in_bytes", "memory.oom_control"};
        _cleanup_free_ char *text = fuzz_text(data, size);
        static int file = -1;

        if (file < 0) {
                file = fuzz_file();
                for (size_t i = 0; i < ELEMENTS(names); i++)
                        fuzz_directory_add(names[i], file);
        }
        check_texts(text);
        fuzz_file_write(file, data, size);
        check_group(size % 2 ? CGROUP_V2 : CGROUP_HYBRID);
        return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which frame names a site. The table lists functions of 6.1 to 7.3; `_noprof` came with 6.10 (commit 7bd230a26648). */
#include "site.h"

/* mm/page_alloc.c, mm/mempolicy.c */
static const char *const page_wrappers[] = {
        "__alloc_frozen_pages",
        "__alloc_pages",
        "__alloc_pages_bulk",
        "__alloc_pages_slowpath",
        "__folio_alloc",
        "__get_free_pages",
        "alloc_frozen_pages",
        "alloc_pages",
        "alloc_pages_bulk",
        "alloc_pages_bulk_array_mempolicy",
        "alloc_pages_bulk_mempolicy",
        "alloc_pages_exact",
        "alloc_pages_mpol",
        "alloc_pages_node",
        "folio_alloc",
        "folio_alloc_mpol",
        "get_free_pages",
        "get_zeroed_page",
        "vma_alloc_folio",
};

/* mm/vmalloc.c, between its users and the page allocator */
static const char *const vmalloc_makers[] = {"__vmalloc_area_node", "__vmalloc_node_range", "vm_area_alloc_pages"};

static const char *const wrappers[] = {
        /* mm/slub.c, mm/slab_common.c */
        "___kmalloc_large_node",
        "__do_kmalloc_node",
        "__kmalloc",
        "__kmalloc_cache",
        "__kmalloc_cache_node",
        "__kmalloc_flags",
        "__kmalloc_large",
        "__kmalloc_large_node",
        "__kmalloc_nolock",
        "__kmalloc_node",
        "__kmalloc_node_track_caller",
        "__kvmalloc_node",
        "_kmalloc_nolock",
        "kmalloc_array",
        "kmalloc_large",
        "kmalloc_large_node",
        "kmalloc_nolock",
        "kmalloc_node_trace",
        "kmalloc_trace",
        "kmem_cache_alloc",
        "kmem_cache_alloc_lru",
        "kmem_cache_alloc_node",
        "krealloc",
        "krealloc_node_align",
        "kvmalloc_node",
        /* mm/util.c */
        "kmemdup",
        "kmemdup_array",
        "kmemdup_nul",
        "kstrdup",
        "kstrdup_const",
        "kstrndup",
        "kvmemdup",
        "kvrealloc",
        "memdup_user",
        "memdup_user_nul",
        "strndup_user",
        "vmemdup_user",
        /* mm/vmalloc.c */
        "__vmalloc",
        "__vmalloc_array",
        "__vmalloc_node",
        "vmalloc",
        "vmalloc_array",
        "vmalloc_huge",
        "vmalloc_huge_node",
        "vmalloc_node",
        "vmalloc_user",
        "vzalloc",
        "vzalloc_node",
        /* mm/mempool.c */
        "mempool_alloc",
        "mempool_alloc_pages",
        "mempool_alloc_slab",
        "mempool_kmalloc",
        "mempool_kvmalloc",
};

/* The way from a tracepoint to our programs; more of it stands in the stack when others trace the same event. */
static const char *const tracing[] = {"__traceiter_", "__bpf_trace_", "bpf_prog_", "bpf_trace_run"};

/* Any of these in the chain: the pages become a slab. */
static const char *const slab_makers[] = {"___slab_alloc", "__kmem_cache_alloc_bulk", "__slab_alloc", "alloc_slab_page",
        "alloc_slab_obj_exts", "allocate_slab", "new_slab"};

/* Compares a symbol with a plain name: "_noprof" and what begins with "." are not part of it. */
static bool names(const char *symbol, const char *plain) {
        size_t n = strlen(plain);

        if (strncmp(symbol, plain, n) != 0)
                return false;
        symbol += n;
        if (startswith(symbol, "_noprof"))
                symbol += strlen("_noprof");
        return !symbol[0] || symbol[0] == '.';
}

static bool among(const char *symbol, const char *const *table, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (names(symbol, table[i]))
                        return true;
        return false;
}

/* What stands between an event of the page allocator and whoever called that. */
static bool is_page_side(const char *function) {
        for (size_t i = 0; i < ELEMENTS(tracing); i++)
                if (startswith(function, tracing[i]))
                        return true;
        return among(function, page_wrappers, ELEMENTS(page_wrappers));
}

bool site_is_wrapper(const char *function) {
        return is_page_side(function) || among(function, wrappers, ELEMENTS(wrappers)) ||
               among(function, vmalloc_makers, ELEMENTS(vmalloc_makers));
}

/* A return address may lie just behind its function, when the call was the last instruction: look up the call itself. */
static bool find_call(const struct symbols *symbols, uint64_t address, struct symbol *ret) {
        if (!symbols || address == 0 || symbols_find(symbols, address - 1, ret) < 0)
                return false;
        ret->offset++;
        return true;
}

static struct site_verdict judge(const struct symbols *symbols, const uint64_t *frames, unsigned n) {
        struct site_verdict v = {};
        bool named = false, page_side = true;

        for (unsigned i = 0; i < n; i++) {
                struct symbol symbol;

                if (!find_call(symbols, frames[i], &symbol)) {
                        if (!named) /* a frame that nobody knows ends the search: what lies behind it is only its caller */
                                break;
                        continue;
                }
                if (n > 1 && among(symbol.name, slab_makers, ELEMENTS(slab_makers)))
                        v.slab_backing = true;
                if (named)
                        continue;
                /* only what asked the page allocator itself: vmalloc also maps, for which page tables are made */
                if (page_side && among(symbol.name, vmalloc_makers, ELEMENTS(vmalloc_makers)))
                        v.vmalloc = true;
                v.named = i + 1;
                if (v.named == n)
                        break;
                page_side = page_side && is_page_side(symbol.name);
                named = !site_is_wrapper(symbol.name);
        }
        return v;
}

/* Each frame is mixed in by a multiplication and a shift, as splitmix64 does. */
static uint64_t hash_frames(const uint64_t *frames, unsigned n) {
        uint64_t h = n;

        for (unsigned i = 0; i < n; i++) {
                h = (h ^ frames[i]) * UINT64_C(0xbf58476d1ce4e5b9);
                h ^= h >> 29;
        }
        h *= UINT64_C(0x94d049bb133111eb);
        return h ^ h >> 32;
}

/* An answer is a hash of which the lowest bits are the verdict. */
#define VERDICT_BITS 7
#define VERDICT_MASK ((UINT64_C(1) << VERDICT_BITS) - 1)

static uint64_t pack(struct site_verdict v) {
        return (uint64_t)v.named << 2 | (uint64_t)v.slab_backing << 1 | v.vmalloc;
}

static struct site_verdict unpack(uint64_t answer) {
        return (struct site_verdict){.named = (answer & VERDICT_MASK) >> 2, .slab_backing = answer & 2, .vmalloc = answer & 1};
}

struct site_verdict site_judge(const struct symbols *symbols, struct site_memory *memory, const uint64_t *frames, unsigned n) {
        uint64_t hash, *answer;

        if (!memory || n < 2 || n > VERDICT_MASK >> 2) /* one frame is judged as fast as remembered */
                return judge(symbols, frames, n);
        hash = hash_frames(frames, n) | VERDICT_MASK;
        answer = &memory->answers[(hash >> VERDICT_BITS) % ELEMENTS(memory->answers)];
        if (!*answer || (*answer | VERDICT_MASK) != hash)
                *answer = (hash & ~VERDICT_MASK) | pack(judge(symbols, frames, n));
        return unpack(*answer);
}

void site_resolve(
        const struct symbols *symbols, struct site_memory *memory, const uint64_t *frames, unsigned n, struct site *ret) {
        struct site_verdict v = site_judge(symbols, memory, frames, n);
        struct site site = {.symbol.module = "", .slab_backing = v.slab_backing, .vmalloc = v.vmalloc};

        if (v.named > 0)
                (void)find_call(symbols, frames[v.named - 1], &site.symbol);
        *ret = site;
}

char *site_key(const char *function, uint32_t offset, const char *module) {
        if (!function)
                return strdup("unknown");
        return format("%s+0x%x%s%s%s", function, offset, module[0] ? "[" : "", module, module[0] ? "]" : "");
}

char *site_tag_key(const char *file, uint32_t line, const char *function, const char *module) {
        return format("%s:%u:%s%s%s%s", file, line, function, module[0] ? "[" : "", module, module[0] ? "]" : "");
}

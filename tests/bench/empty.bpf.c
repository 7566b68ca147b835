/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The floor of every measurement: programs that do nothing, on the hooks of the engine. What they cost, no engine can go below.
 */
#define SEC(name) __attribute__((section(name), used))

char LICENSE[] SEC("license") = "GPL";

#define EMPTY(number, tracepoint)                                                \
        SEC("tp_btf/" #tracepoint) int empty##number##_##tracepoint(void *ctx) { \
                return 0;                                                        \
        }

EMPTY(1, kmalloc)
EMPTY(1, kmem_cache_alloc)
EMPTY(1, mm_page_alloc)
EMPTY(1, percpu_alloc_percpu)
EMPTY(1, kfree)
EMPTY(1, kmem_cache_free)
EMPTY(1, mm_page_free)
EMPTY(1, percpu_free_percpu)
EMPTY(2, kfree)
EMPTY(2, kmem_cache_free)
EMPTY(2, mm_page_free)
EMPTY(2, percpu_free_percpu)

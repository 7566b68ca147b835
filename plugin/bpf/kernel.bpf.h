/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Every difference between kernels that the BPF programs know, 6.1 to 7.3, each with the version or commit it comes from.
 * The types are our own declarations of just the fields that we read; CO-RE finds them in the running kernel, so the build
 * host's kernel does not matter.
 */
#pragma once

#define __VMLINUX_TYPES__
typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef _Bool bool;
#define true 1
#define false 0
#define NULL ((void *)0)
typedef __u64 u64;
typedef __u32 u32;
typedef __s32 s32;
typedef __s64 s64;

enum bpf_map_type { BPF_MAP_TYPE_HASH = 1, BPF_MAP_TYPE_ARRAY = 2 };
enum { BPF_ANY = 0, BPF_NOEXIST = 1 };
enum { BPF_F_MMAPABLE = 1U << 10 };

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#define INLINE static __always_inline
/* What is rare: the verifier looks at it once, and not at every call. Takes and returns numbers. */
#define APART __noinline
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

/* One access, in program order with the others: interrupts and other CPUs look on. x86-64 keeps the order of loads and of
 * stores. */
#define LOAD(x) (*(volatile typeof(x) *)&(x))
#define STORE(x, v) (*(volatile typeof(x) *)&(x) = (v))

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct cgroup_subsys_state {
        int id;
        u64 serial_nr;
        unsigned int flags;
        struct cgroup_subsys_state *parent;
};

#define CSS_ONLINE 2U /* include/linux/cgroup-defs.h, 6.1 to 7.3 */

/* The index depends on the configuration: always through bpf_core_enum_value(). */
enum cgroup_subsys_id { memory_cgrp_id = 4, CGROUP_SUBSYS_COUNT = 12 };

struct css_set {
        struct cgroup_subsys_state *subsys[CGROUP_SUBSYS_COUNT];
};

/* What is charged, in pages. */
struct page_counter {
        struct {
                s64 counter;
        } usage;
};

struct memcg_vmstats {
        long state[1];
        long state_pending[1]; /* children's, on its way up */
};

struct memcg_vmstats_percpu {
        long state[1];
        long state_prev[1]; /* what of it memcg_vmstats has */
};

struct mem_cgroup {
        struct cgroup_subsys_state css;
        struct page_counter memory, kmem, tcpmem;
        struct memcg_vmstats *vmstats;
        struct memcg_vmstats_percpu *vmstats_percpu;
};

struct signal_struct {
        struct {
                int counter;
        } live; /* threads that have not come to their exit yet */
        int group_exit_code;
};

struct task_struct {
        int tgid, exit_code;
        struct task_struct *group_leader;
        struct signal_struct *signal;
        struct css_set *cgroups;
        struct mem_cgroup *active_memcg; /* remote charging: loop devices, io_uring, BPF maps, fsnotify */
        struct obj_cgroup *objcg; /* since 6.7 (commit 7d0715d0d6b2); NULL in the last moments of a task: see is_billed() */
        void *stack;
        struct vm_struct *stack_vm_area; /* with CONFIG_VMAP_STACK */
        struct alloc_tag *alloc_tag;     /* since 6.10 (commit 22d407b164ff), with CONFIG_MEM_ALLOC_PROFILING */
        unsigned int flags;
};

/* In BTF without CONFIG_MEM_ALLOC_PROFILING too. modname is NULL for the kernel itself. */
struct codetag {
        unsigned int lineno;
        const char *modname, *function, *filename;
};

struct alloc_tag {
        struct codetag ct;
};

struct vm_struct {
        struct page **pages;
};

#define PF_KTHREAD 0x00200000 /* include/linux/sched.h, 6.1 to 7.3 */

struct cgroup {
        struct cgroup_subsys_state *subsys[CGROUP_SUBSYS_COUNT];
};

/*
 * Items of mod_memcg_state and mod_memcg_lruvec_state; their numbers depend on version and configuration. What vmalloc takes
 * was a memcg's item (6.18) and is a node's now (7.3).
 */
enum memcg_stat_item { MEMCG_SOCK = 1, MEMCG_VMALLOC = 2, MEMCG_KMEM = 3, MEMCG_ZSWAP_B = 4, MEMCG_NR_STAT = 5 };
enum pagetype { PGTY_slab = 0xf5 }; /* since 6.12 (commit 4ffca5a96678 and before: 6.11); else a flag: */
enum pageflags { PG_slab = 9 };
enum node_stat_item {
        NR_ANON_MAPPED = 1,
        NR_FILE_PAGES = 2,
        NR_SHMEM = 3,
        NR_KERNEL_STACK_KB = 4,
        NR_PAGETABLE = 5,
        NR_VMALLOC = 6
};

struct kmem_cache {
        unsigned int size;
        unsigned int flags; /* slab_flags_t */
};

struct obj_cgroup {
        struct mem_cgroup *memcg;
};

/*
 * What a page is, read by offset. Its flags stand first; they became a structure of one word in 6.18 (memdesc_flags_t), which
 * CO-RE would not take for a number. compound_head: bit 0 is set in
 * a tail page, the rest is its head.
 * It is called compound_info where a tail page may hold a mask of its own address instead (7.x, with the vmemmap of huge pages
 * optimized: compound_info_has_mask()). memcg_data of a slab is the vector of its objects' owners, whatever its name. What all
 * this reads is proved or refuted by the verification of charges.
 */
struct page {
        unsigned long compound_head;
        unsigned int page_type;
        unsigned long memcg_data;
};

struct page___info {
        unsigned long compound_info;
};

/* Lies on struct page (since 5.17). The cache moved: at 24 in 6.1, at 8 since 6.2 (commit 130d4df57390). */
struct slab {
        struct kmem_cache *slab_cache;
};

/*
 * How far one object's owner lies from the next, where a slab says so itself, because the owners may lie inside the objects: a
 * number of bytes (7.0, mm/slab: use stride to access slabobj_ext), since 7.3 only whether they do (commit b5bc35ace2c5). 7.3
 * puts one word for each object in a vector for its owner, where the slab needs owners, and one more for its alloc tag, where
 * the kernel has them and was not booted with vm.mem_profiling=never (mm/slab.h, slab_obj_ext_size()).
 */
struct slab___stride {
        unsigned int stride;
};

struct slab___inside {
        unsigned int obj_exts_in_object : 1;
        unsigned int obj_exts_needs_objcg : 1;
};

/* Any structure of the kernel whose first member is a plain 64-bit number: see PEEK(). */
struct timespec64 {
        s64 tv_sec;
};

struct bpf_iter__cgroup {
        struct bpf_iter_meta *meta;
        struct cgroup *cgroup;
};

struct bpf_iter_meta {
        struct seq_file *seq;
};

#pragma clang attribute pop

struct seq_file;
struct pt_regs;

/*
 * Constants that are macros or members of anonymous enums in the kernel, so that CO-RE cannot relocate them: user space finds
 * them in BTF (tracker-bpf.c, constants[]) and writes them here before loading.
 */
const volatile u32 gfp_account;  /* __GFP_ACCOUNT */
const volatile u32 gfp_hardwall; /* __GFP_HARDWALL: set in GFP_USER and its kin, never in GFP_KERNEL */
const volatile u32 gfp_comp;     /* __GFP_COMP */
const volatile u32 slab_account; /* SLAB_ACCOUNT */
const volatile u32 thread_bytes; /* THREAD_SIZE */

/*
 * task_struct.alloc_tag is there and wanted. Whoever allocates leaves a tag there for as long as it takes, unless the kernel's
 * profiling is off: since 6.13 it is NULL then (commit 07438779313c).
 */
const volatile bool has_tags;

/* What the kernel offers besides; see tracker-bpf.c, kfuncs[]. */
const volatile bool has_cache_of; /* bpf_get_kmem_cache(), 6.14+ */

extern struct kmem_cache *bpf_get_kmem_cache(u64 address) __ksym __weak;
extern void *bpf_rdonly_cast(const void *object, u32 btf_id) __ksym __weak;

/*
 * Since 7.0 (commit a46023d5616e) a task that runs a tracepoint's program can be preempted, and the kernel keeps the program
 * from everybody else on that CPU until it goes on: whole time slices of events are lost. So programs keep their CPU to
 * themselves there.
 */
const volatile bool is_preemptible;

extern void bpf_preempt_disable(void) __ksym __weak; /* 6.10 */
extern void bpf_preempt_enable(void) __ksym __weak;

const volatile bool has_rdonly_cast; /* bpf_rdonly_cast(), 6.2+ */
const volatile u32 owner_stride;     /* bytes from one object's owner to the next in a slab's vector */
const volatile u32 node_shift;       /* of the node's number in page->flags; 64: one node only */
const volatile u32 nolock_gfp;       /* which argument of kmalloc_nolock() the flags are: 7.3 may have a token before them */
const volatile bool state_is_int;    /* mod_memcg_state and mod_memcg_lruvec_state pass an int (6.18), not a long (7.2) */

/* memcg_data of a page: bit 1 marks kernel memory, then the rest is an obj_cgroup (6.1 to 7.3); bits 0 to 2 are flags. */
#define MEMCG_DATA_KMEM 2UL
#define MEMCG_DATA_FLAGS 7UL

#define MEMCG_DATA_OBJEXTS 1UL /* page is a slab and has a vector */

/*
 * One word of kernel memory at an address that is only a number. From 6.2 on a cast and a load, with faults handled by the
 * kernel (PROBE_MEM): a tenth of what the helper costs.
 */
INLINE u64 PEEK(u64 address) {
        u64 word = 0;

        if (has_rdonly_cast) {
                struct timespec64 *at = bpf_rdonly_cast((void *)address, bpf_core_type_id_kernel(struct timespec64));

                return (u64)at->tv_sec;
        }
        bpf_probe_read_kernel(&word, sizeof(word), (void *)address);
        return word;
}

#define OFFSET(type, field) ((u64)__builtin_preserve_field_info(((type *)0)->field, BPF_FIELD_BYTE_OFFSET))

/* A field of at most 32 bits, bit fields too, of a structure at an address that is only a number. */
#define PEEK_BITS(address, type, field)                                                                                      \
        (PEEK((address) + OFFSET(type, field)) << __builtin_preserve_field_info(((type *)0)->field, BPF_FIELD_LSHIFT_U64) >> \
                __builtin_preserve_field_info(((type *)0)->field, BPF_FIELD_RSHIFT_U64))

/* KMALLOC_MAX_CACHE_SIZE of SLUB; what is larger comes straight from the page allocator. */
#define KMALLOC_MAX_CACHE (2 * 4096)

#define PAGE_BYTES 4096UL

/* obj_full_size() of mm/slab.h: what the memcg is billed beside the object itself, a pointer to its owner. */
#define OBJCG_BYTES sizeof(void *)

/*
 * A field of a kernel object. tp_btf arguments are typed and load directly; in raw_tp programs they are scalars and take a
 * probe read. 6.1 and 6.12 refuse tp_btf programs that read a `const void *` argument ("type UNKNOWN is not a struct"), 6.18
 * and 7.3 do not.
 */
#define FIELD(raw, pointer, field) ((raw) ? BPF_CORE_READ(pointer, field) : (pointer)->field)

/*
 * Where on the task's stack an address lies, as a number that is huge when it lies elsewhere. The difference of two pointers is
 * a number to the verifier; what it takes task->stack for, a `void *`, differs: a pointer in 6.18 and 7.3, a number before, and
 * from the context no number may be subtracted. The helper (5.15+) costs a call and gives a pointer everywhere.
 */
#define ON_STACK(raw, task, address) \
        ((raw) ? (u64)bpf_task_pt_regs(task) - (u64)(address) : (u64)(address) - (u64)(task)->stack)

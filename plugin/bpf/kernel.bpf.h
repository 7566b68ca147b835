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
typedef __s64 s64;

enum bpf_map_type { BPF_MAP_TYPE_HASH = 1, BPF_MAP_TYPE_ARRAY = 2 };
enum { BPF_ANY = 0, BPF_NOEXIST = 1 };
enum { BPF_F_MMAPABLE = 1U << 10 };

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct cgroup_subsys_state {
        int id;
        u64 serial_nr;
        struct cgroup_subsys_state *parent;
};

/* The index depends on the configuration: always through bpf_core_enum_value(). */
enum cgroup_subsys_id { memory_cgrp_id = 4, CGROUP_SUBSYS_COUNT = 12 };

struct css_set {
        struct cgroup_subsys_state *subsys[CGROUP_SUBSYS_COUNT];
};

struct mem_cgroup {
        struct cgroup_subsys_state css;
};

struct task_struct {
        struct css_set *cgroups;
        struct mem_cgroup *active_memcg; /* remote charging: loop devices, io_uring, BPF maps, fsnotify */
        void *stack;
};

struct cgroup {
        struct cgroup_subsys_state *subsys[CGROUP_SUBSYS_COUNT];
};

struct kmem_cache {
        unsigned int size;
        unsigned int flags; /* slab_flags_t */
};

struct obj_cgroup {
        struct mem_cgroup *memcg;
};

struct page {
        unsigned long memcg_data;
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
const volatile u32 slab_account; /* SLAB_ACCOUNT */
const volatile u32 thread_bytes; /* THREAD_SIZE */

/* What the kernel offers besides; see tracker-bpf.c, kfuncs[]. */
const volatile bool has_cache_of; /* bpf_get_kmem_cache(), 6.14+ */

extern struct kmem_cache *bpf_get_kmem_cache(u64 address) __ksym __weak;

/* memcg_data of a page: bit 1 marks kernel memory, then the rest is an obj_cgroup (6.1 to 7.3); bits 0 to 2 are flags. */
#define MEMCG_DATA_KMEM 2UL
#define MEMCG_DATA_FLAGS 7UL

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

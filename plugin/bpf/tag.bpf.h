/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sites by the kernel's own alloc tags: while a task allocates, task_struct.alloc_tag points to the record of who wanted the
 * memory, past all wrappers. What it says is copied when it is first seen.
 *
 * Invariants: an entry that a site names is never written again, so that rows outlive the module they speak of; an address is
 * believed only while no module was loaded since it was last held against the tag itself. What finds no room is named as
 * without tags.
 */
#pragma once

#include "member.bpf.h"

const volatile u32 tag_mask;        /* entries, a power of two, minus one; written before loading */
const volatile bool stacks_by_task; /* kernel stacks are counted by their tasks */

u32 modules_loaded; /* user space adds one for what it may not have seen */
u64 tags_made;      /* ever */

struct {
        __uint(type, BPF_MAP_TYPE_ARRAY);
        __uint(map_flags, BPF_F_MMAPABLE);
        __type(key, u32);
        __type(value, struct mp_alloc_tag);
        __uint(max_entries, 1);
} alloc_tags SEC(".maps");

/* Nothing of what stands behind this is left in the programs of a kernel without tags: the first half is a number there. */
INLINE bool follows_tags(void) {
        return bpf_core_field_exists(struct task_struct, alloc_tag) && has_tags;
}

/* The end of a string, all of it when it is short. `to` is zeroed; what cannot be read is "". */
static __noinline int read_tail(char *to, u64 from) {
        u64 start = from;
        long n = bpf_probe_read_kernel_str(to, MP_TAG_TEXT, (void *)from);

        for (u32 i = 0; i < 16 && n == MP_TAG_TEXT; i++) {
                from += MP_TAG_TEXT - 1;
                n = bpf_probe_read_kernel_str(to, MP_TAG_TEXT, (void *)from);
        }
        if (n > 0 && from != start)
                bpf_probe_read_kernel_str(to, MP_TAG_TEXT, (void *)(from + n - MP_TAG_TEXT));
        return 0;
}

static __noinline int read_tag(u64 tag, struct mp_tag_text *ret) {
        ret->line = (u32)PEEK(tag + OFFSET(struct codetag, lineno));
        read_tail(ret->file, PEEK(tag + OFFSET(struct codetag, filename)));
        read_tail(ret->function, PEEK(tag + OFFSET(struct codetag, function)));
        read_tail(ret->module, PEEK(tag + OFFSET(struct codetag, modname)));
        return 0;
}

INLINE bool same_text(const struct mp_tag_text *a, const struct mp_tag_text *b) {
        const u64 *x = (const u64 *)a, *y = (const u64 *)b;
        u64 differ = 0;

        for (u32 i = 0; i < sizeof(*a) / sizeof(u64); i++)
                differ |= x[i] ^ y[i];
        return !differ;
}

#define IS_FUNCTION(text, name)                                            \
        ({                                                                 \
                u32 _differ = 0;                                           \
                for (u32 _i = 0; _i < sizeof(name); _i++)                  \
                        _differ |= (u32)((text)->function[_i] ^ name[_i]); \
                !_differ;                                                  \
        })

/* Pages that are counted as objects (mm/slub.c), or as the kernel stack of a task (kernel/fork.c). */
INLINE u32 counted_elsewhere(const struct mp_tag_text *text) {
        return IS_FUNCTION(text, "alloc_slab_page") || (stacks_by_task && IS_FUNCTION(text, "alloc_thread_stack_node"))
                       ? MP_ELSEWHERE
                       : 0;
}

/* At a free place, or one whose tag is another by now. */
static __noinline u32 tag_made(u64 tag) {
        u32 modules = LOAD(modules_loaded);
        struct mp_tag_text text = {};

        read_tag(tag, &text);
        for (u32 i = 0; i < MP_PROBES; i++) {
                u32 index = (mix(tag) + i) & tag_mask;
                struct mp_alloc_tag *t = bpf_map_lookup_elem(&alloc_tags, &index);
                u64 found;

                if (!t)
                        break;
                found = LOAD(t->address);
                if (found == tag && same_text(&t->text, &text)) {
                        STORE(t->modules, modules);
                        return (1 + index) | t->elsewhere;
                }
                if (found == tag)
                        STORE(t->address, MP_TAG_GONE);
                /* Two CPUs may copy the same tag to two places: names tell that it is one. */
                if (!found && __sync_val_compare_and_swap(&t->address, 0, MP_BUSY) == 0) {
                        t->text = text;
                        t->elsewhere = counted_elsewhere(&text);
                        t->modules = modules;
                        STORE(t->address, tag);
                        __sync_fetch_and_add(&tags_made, 1);
                        return (1 + index) | t->elsewhere;
                }
        }
        return 0;
}

/* Away from its first place, or not known to be the same still. */
APART u32 tag_found(u64 tag) {
        bool room = false;
        u32 named;

        if (!follows_tags()) /* it is verified all the same, but then no further */
                return 0;
        for (u32 i = 0; i < MP_PROBES && !room; i++) {
                u32 index = (mix(tag) + i) & tag_mask;
                struct mp_alloc_tag *t = bpf_map_lookup_elem(&alloc_tags, &index);
                u64 found = t ? LOAD(t->address) : MP_TAG_GONE;

                if (t && found == tag && LOAD(t->modules) == LOAD(modules_loaded))
                        return (1 + index) | t->elsewhere;
                room = !found || found == tag;
        }
        named = room ? tag_made(tag) : 0;
        if (!named)
                lose(MP_LOSS_TAGS_FULL);
        return named;
}

/* What names this task's allocation: 1 + the place of its tag, with MP_ELSEWHERE; 0: nothing does. */
INLINE u32 named_by_tag(struct task_struct *task) {
        struct mp_alloc_tag *t;
        u32 index;
        u64 tag;

        if (!follows_tags())
                return 0;
        tag = PEEK((u64)task + OFFSET(struct task_struct, alloc_tag));
        if (UNLIKELY(!tag))
                return 0;
        index = mix(tag) & tag_mask;
        t = bpf_map_lookup_elem(&alloc_tags, &index);
        if (LIKELY(t && LOAD(t->address) == tag && LOAD(t->modules) == LOAD(modules_loaded)))
                return (1 + index) | t->elsewhere;
        return tag_found(tag);
}

/* The site of an object: its tag's when it has one, else as it is. */
INLINE void name_by_tag(struct task_struct *task, u64 *id, u64 *tag) {
        u32 named = named_by_tag(task) & ~MP_ELSEWHERE;

        if (LIKELY(named)) {
                *id = named;
                *tag |= MP_ALLOC_TAG;
        }
}

/* The tags of a module are used after this at the earliest: its address may be one that an older module had. */
INLINE int on_module_load(void) {
        __sync_fetch_and_add(&modules_loaded, 1);
        return 0;
}

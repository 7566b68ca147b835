/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Loading the BPF programs: what this kernel's BTF says goes into their constants, what it lacks is left out, and they are
 * attached and detached as one. With tracker-bpf.c the only user of libbpf.
 */
#include <math.h>
#include <sys/mman.h>

#include "tracker-bpf.h"

static const struct hook {
        size_t typed, raw; /* offsets in the skeleton */
        enum hook_kind kind;
        const char *tracepoint;
} hooks[] = {
#define HOOK(name, tracepoint, kind)                                                                                      \
        {                                                                                                                 \
                offsetof(struct memcgprof_bpf, progs.btf_##name), offsetof(struct memcgprof_bpf, progs.raw_##name), kind, \
                        #tracepoint                                                                                       \
        }
        HOOK(softirq_exit, softirq_exit, ON_SOFTIRQ), /* exit first on and last off: no mark is left behind */
        HOOK(softirq_entry, softirq_entry, ON_SOFTIRQ),
        HOOK(kmalloc, kmalloc, ON_ALLOCATION),
        HOOK(kmem_cache_alloc, kmem_cache_alloc, ON_ALLOCATION),
        HOOK(mm_page_alloc, mm_page_alloc, ON_ALLOCATION),
        HOOK(percpu_alloc_percpu, percpu_alloc_percpu, ON_ALLOCATION),
        HOOK(task_newtask, task_newtask, ON_TASK),
        HOOK(cgroup_rmdir_states, cgroup_rmdir, ON_REMOVAL_STATES), /* before the other one, which says that all is there */
        HOOK(cgroup_rmdir, cgroup_rmdir, ON_REMOVAL),
        HOOK(mod_memcg_state, mod_memcg_state, ON_STATE),
        HOOK(mod_memcg_lruvec_state, mod_memcg_lruvec_state, ON_STATE),
        HOOK(sched_process_exit, sched_process_exit, ON_TASK),
        HOOK(kfree, kfree, ON_FREE),
        HOOK(kmem_cache_free, kmem_cache_free, ON_FREE),
        HOOK(mm_page_free, mm_page_free, ON_FREE),
        HOOK(percpu_free_percpu, percpu_free_percpu, ON_FREE),
        HOOK(kfree_irq, kfree, ON_FREE_IN_INTERRUPT),
        HOOK(kmem_cache_free_irq, kmem_cache_free, ON_FREE_IN_INTERRUPT),
        HOOK(mm_page_free_irq, mm_page_free, ON_FREE_IN_INTERRUPT),
        HOOK(percpu_free_percpu_irq, percpu_free_percpu, ON_FREE_IN_INTERRUPT),
        HOOK(module_load, module_load, ON_MODULE),
#undef HOOK
};

/* Functions, where there is no tracepoint: optional. A name and what it was called before. */
static const struct hole {
        size_t program; /* offset in the skeleton */
        enum bpf_attach_type attach;
        enum hook_kind kind; /* what it would be as a tracepoint */
        const char *function, *older;
} holes[] = {
#define HOLE(name, attach, ...) \
        { offsetof(struct memcgprof_bpf, progs.hole_##name), attach, __VA_ARGS__ }
        HOLE(alloc_bulk, BPF_TRACE_FEXIT, ON_ALLOCATION, "kmem_cache_alloc_bulk_noprof", "kmem_cache_alloc_bulk"),
        HOLE(bulk_pages, BPF_TRACE_FEXIT, ON_ALLOCATION, "alloc_pages_bulk_noprof", "__alloc_pages_bulk"),
        HOLE(nolock, BPF_TRACE_FEXIT, ON_ALLOCATION, "__kmalloc_nolock_noprof", "kmalloc_nolock_noprof"),
        HOLE(charge, BPF_TRACE_FEXIT, ON_FREE, "kmem_cache_charge", NULL),
        HOLE(free_bulk, BPF_TRACE_FENTRY, ON_FREE, "kmem_cache_free_bulk", NULL),
        HOLE(free_nolock, BPF_TRACE_FENTRY, ON_FREE, "kfree_nolock", NULL),
        HOLE(rcu_sheaf, BPF_TRACE_FEXIT, ON_FREE, "__kfree_rcu_sheaf", NULL),
#undef HOLE
};

/* What user space runs itself. */
static const size_t runs[_RUNS] = {
        [RUN_IDENTIFY] = offsetof(struct memcgprof_bpf, progs.identify),
        [RUN_SWEEP] = offsetof(struct memcgprof_bpf, progs.sweep),
        [RUN_COUNTERS] = offsetof(struct memcgprof_bpf, progs.look_at_counters),
        [RUN_STATES] = offsetof(struct memcgprof_bpf, progs.look_at_states),
        [RUN_FOLD] = offsetof(struct memcgprof_bpf, progs.fold),
        [RUN_LEASE] = offsetof(struct memcgprof_bpf, progs.renew_lease),
};

_Static_assert(ELEMENTS(hooks) + ELEMENTS(holes) <= LINKS_MAX && ELEMENTS(holes) <= HOLES_MAX, "each has a link");

static struct bpf_program *hole_program(const struct tracker_bpf *t, size_t i) {
        return *(struct bpf_program **)((char *)t->skel + holes[i].program);
}

static struct bpf_program *hook_program(const struct tracker_bpf *t, size_t i, bool raw) {
        return *(struct bpf_program **)((char *)t->skel + (raw ? hooks[i].raw : hooks[i].typed));
}

/* ---- what libbpf says, kept for our own sentence --------------------------------------------------------------------------
 */

static __thread char last_complaint[256];

static int _printf_(2, 0) keep_complaint(enum libbpf_print_level level, const char *fmt, va_list args) {
        char line[sizeof(last_complaint)];

        if (level != LIBBPF_WARN)
                return 0;
        vsnprintf(line, sizeof(line), fmt, args);
        line[strcspn(line, "\n")] = '\0';
        if (line[0])
                memcpy(last_complaint, line, sizeof(line));
        return 0;
}

void libbpf_forget_complaint(void) {
        last_complaint[0] = '\0';
}

int libbpf_fail(char **reterr, int error, const char *what) {
        return fail(reterr, error, "%s: %s%s%s.", what, strerror(-error), last_complaint[0] ? "; " : "", last_complaint);
}

/* ---- constants that CO-RE cannot relocate ---------------------------------------------------------------------------------
 */

/* The value of an enumerator of any enum, anonymous ones too; -ENOENT. */
static int btf_enumerator(const struct btf *btf, const char *name, int64_t *ret) {
        for (u32 id = 1; id < btf__type_cnt(btf); id++) {
                const struct btf_type *type = btf__type_by_id(btf, id);
                const struct btf_enum *e = btf_enum(type);

                if (!btf_is_enum(type))
                        continue;
                for (unsigned i = 0; i < btf_vlen(type); i++)
                        if (streq(btf__name_by_offset(btf, e[i].name_off), name)) {
                                *ret = e[i].val;
                                return 0;
                        }
        }
        return -ENOENT;
}

static const struct btf_type *btf_named(const struct btf *btf, const char *name, u32 kind) {
        int id = btf__find_by_name_kind(btf, name, kind);

        return id > 0 ? btf__type_by_id(btf, (u32)id) : NULL;
}

static const struct btf_type *btf_skip(const struct btf *btf, u32 id) {
        const struct btf_type *type = btf__type_by_id(btf, id);

        while (type && (btf_is_mod(type) || btf_is_typedef(type) || btf_is_ptr(type)))
                type = btf__type_by_id(btf, type->type);
        return type;
}

/* Bytes of an argument of a tracepoint (from 0, the hidden context not counted); 0: there is no such tracepoint. */
static u32 tracepoint_argument_size(const struct btf *btf, const char *tracepoint, u32 argument) {
        _cleanup_free_ char *name = format("btf_trace_%s", tracepoint);
        const struct btf_type *type = name ? btf_named(btf, name, BTF_KIND_TYPEDEF) : NULL;

        type = type ? btf_skip(btf, type->type) : NULL;
        if (!type || !btf_is_func_proto(type) || btf_vlen(type) <= argument + 1)
                return 0;
        type = btf_skip(btf, btf_params(type)[argument + 1].type);
        return type ? type->size : 0;
}

/* In parts without a name too, as structures with a random layout have them. */
static bool type_has_member(const struct btf *btf, const struct btf_type *type, const char *member) {
        for (unsigned i = 0; type && btf_is_composite(type) && i < btf_vlen(type); i++) {
                const struct btf_member *m = &btf_members(type)[i];
                const char *name = btf__name_by_offset(btf, m->name_off);

                if (streq(name, member) || (!*name && type_has_member(btf, btf_skip(btf, m->type), member)))
                        return true;
        }
        return false;
}

static bool has_member(const struct btf *btf, const char *structure, const char *member) {
        return type_has_member(btf, btf_named(btf, structure, BTF_KIND_STRUCT), member);
}

/* MAX_NUMNODES: a slab cache has a pointer for each node. */
static u32 max_nodes(const struct btf *btf) {
        const struct btf_type *type = btf_named(btf, "kmem_cache", BTF_KIND_STRUCT);

        for (unsigned i = 0; type && i < btf_vlen(type); i++) {
                const struct btf_member *m = &btf_members(type)[i];
                const struct btf_type *array = btf__type_by_id(btf, m->type);
                const char *name = btf__name_by_offset(btf, m->name_off);

                /* per_node, an array of structures, in 7.3 */
                if ((streq(name, "node") || streq(name, "per_node")) && array && btf_is_array(array))
                        return btf_array(array)->nelems;
        }
        return 1;
}

static void set_flags(struct memcgprof_bpf__rodata *ro, const struct btf *btf) {
        const struct constant {
                u32 *target;
                const char *bit; /* enumerator that holds the bit's number */
                u32 fallback;    /* for kernels that define a macro instead */
        } constants[] = {
                /* gfp bits became an enum in 6.9 (commit 772dd0342727); before, include/linux/gfp_types.h of 6.1 */
                {&ro->gfp_account, "___GFP_ACCOUNT_BIT", 0x400000},
                {&ro->gfp_hardwall, "___GFP_HARDWALL_BIT", 0x100000},
                {&ro->gfp_comp, "___GFP_COMP_BIT", 0x40000},
                /* slab flags became an enum in 6.9 (commit cc61eb851461); before, include/linux/slab.h of 6.1 */
                {&ro->slab_account, "_SLAB_ACCOUNT", 0x04000000},
        };

        for (size_t i = 0; i < ELEMENTS(constants); i++) {
                int64_t bit;

                *constants[i].target = constants[i].fallback;
                if (btf_enumerator(btf, constants[i].bit, &bit) >= 0)
                        *constants[i].target = 1u << bit;
        }
}

/*
 * Where a variable of the kernel lies, for programs alone; 0: it has none of that name. (An extern of the programs would have
 * libbpf read all of kallsyms by fscanf(), on every kernel.)
 */
static u64 variable_address(const char *name) {
        _cleanup_fclose_ FILE *f = fopen("/proc/kallsyms", "re");
        _cleanup_free_ char *line = NULL;
        unsigned long long address;
        size_t room = 0;
        int at;

        while (f && getline(&line, &room, f) > 0) {
                if (!strstr(line, name))
                        continue;
                line[strcspn(line, "\t\n")] = '\0';
                at = 0;
                if (sscanf(line, "%llx %*c %n", &address, &at) == 1 && at > 0 && streq(line + at, name))
                        return address;
        }
        return 0;
}

static void set_constants(struct tracker_bpf *t, const struct btf *btf) {
        struct memcgprof_bpf__rodata *ro = t->skel->rodata;
        const struct btf_type *irq_stack = btf_named(btf, "irq_stack", BTF_KIND_STRUCT);
        const struct btf_type *owner = btf_named(btf, "slabobj_ext", BTF_KIND_STRUCT);

        set_flags(ro, btf);
        /* x86-64 gives interrupts a stack of THREAD_SIZE (arch/x86/include/asm/page_64_types.h), whose type is in BTF */
        ro->thread_bytes = irq_stack ? irq_stack->size : 16384;
        /* kfuncs of 6.14 and 6.2; found by name, because distributions carry them back */
        ro->has_cache_of = btf_named(btf, "bpf_get_kmem_cache", BTF_KIND_FUNC);
        /* what guards tracepoints then (the same name before 6.13 guarded something else, and there was no such counter) */
        ro->is_preemptible = btf_named(btf, "tracepoint_srcu_srcu_data", BTF_KIND_VAR) &&
                             btf_named(btf, "srcu_ctr", BTF_KIND_STRUCT) &&
                             btf_named(btf, "bpf_preempt_disable", BTF_KIND_FUNC);
        ro->has_rdonly_cast = btf_named(btf, "bpf_rdonly_cast", BTF_KIND_FUNC);
        /* bare pointers before 6.10, words from 7.3 on (owner.bpf.h); between them a second word where there are tags */
        ro->owner_stride = owner ? owner->size : sizeof(u64);
        if (has_member(btf, "slab", "obj_exts_in_object") && has_member(btf, "task_struct", "alloc_tag"))
                ro->tags_in_vectors = variable_address("slab_obj_ext_has_codetag_key");
        if (is_mutated(t, "shift-stride"))
                ro->owner_stride += sizeof(u64);
        ro->bare = is_mutated(t, "bare");
        /* the node's number takes the highest bits of page->flags: with vmemmap there is no section before it */
        ro->node_shift = 64 - (u32)__builtin_ctz(max_nodes(btf));
        /* CONFIG_VMAP_STACK; without it the pages of a kernel stack are accounted like any others */
        t->has_stack_areas = has_member(btf, "task_struct", "stack_vm_area");
        t->has_modules = btf_named(btf, "btf_trace_module_load", BTF_KIND_TYPEDEF);
        ro->stacks_by_task = t->has_stack_areas && !t->options.count_only;
        /* the field and not the type, which is in BTF without the feature too */
        ro->has_tags = !t->options.no_tags && has_member(btf, "task_struct", "alloc_tag");
        t->has_states = tracepoint_argument_size(btf, "mod_memcg_state", 2);
        ro->state_is_int = tracepoint_argument_size(btf, "mod_memcg_state", 2) == sizeof(int);
}

/* ---- functions instead of tracepoints -------------------------------------------------------------------------------------
 */

/* The name that this kernel has for the function of a hole, and its type id; NULL: it has none. */
static const char *function_of(const struct btf *btf, const struct hole *hole, int *ret_id) {
        *ret_id = btf__find_by_name_kind(btf, hole->function, BTF_KIND_FUNC);
        if (*ret_id > 0)
                return hole->function;
        *ret_id = hole->older ? btf__find_by_name_kind(btf, hole->older, BTF_KIND_FUNC) : -ENOENT;
        return *ret_id > 0 ? hole->older : NULL;
}

/* Loads a program of a few instructions. */
static int load_small(enum bpf_attach_type attach, int btf_id, const struct bpf_insn *insns, size_t n) {
        LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = attach);
        int program;

        if (btf_id < 0)
                return btf_id;
        options.attach_btf_id = (u32)btf_id;
        program = bpf_prog_load(BPF_PROG_TYPE_TRACING, "try", "GPL", insns, n, &options);
        return program < 0 ? -errno : program;
}

#define RETURN_0                                                       \
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0}, { \
                .code = BPF_JMP | BPF_EXIT                             \
        }

/* Whether typed programs may read an untyped pointer: asked by a small one, because refusing the large ones takes long. */
static bool reads_untyped(const struct btf *btf) {
        const struct bpf_insn read_pointer[] = {
                {.code = BPF_LDX | BPF_MEM | BPF_DW, .dst_reg = BPF_REG_1, .src_reg = BPF_REG_1, .off = 8}, RETURN_0};
        int program = load_small(BPF_TRACE_RAW_TP, btf__find_by_name_kind(btf, "btf_trace_kmalloc", BTF_KIND_TYPEDEF),
                read_pointer, ELEMENTS(read_pointer));

        if (program >= 0)
                close(program);
        return program >= 0;
}

/* Whether programs find per-CPU memory: a variable of the kernel is known to them by its symbol (CONFIG_KALLSYMS_ALL). */
static bool finds_per_cpu(const struct btf *btf) {
        int variable = btf__find_by_name_kind(btf, "this_cpu_off", BTF_KIND_VAR);
        const struct bpf_insn address_of[] = {
                {.code = BPF_LD | BPF_IMM | BPF_DW, .dst_reg = BPF_REG_1, .src_reg = BPF_PSEUDO_BTF_ID, .imm = variable}, {},
                RETURN_0};
        int program = variable < 0 ? variable
                                   : load_small(BPF_TRACE_RAW_TP,
                                             btf__find_by_name_kind(btf, "btf_trace_cgroup_rmdir", BTF_KIND_TYPEDEF),
                                             address_of, ELEMENTS(address_of));

        if (program >= 0)
                close(program);
        return program >= 0;
}

/* Whether an empty program may be attached to a function: some kernels load it and refuse then. 0, or why not. */
static int try_function(const struct btf *btf) {
        const struct bpf_insn nothing[] = {RETURN_0};
        int program = load_small(BPF_TRACE_FENTRY, btf__find_by_name_kind(btf, "kmem_cache_free_bulk", BTF_KIND_FUNC), nothing,
                ELEMENTS(nothing));
        int link, r = 0;

        if (program < 0)
                return program;
        link = bpf_raw_tracepoint_open(NULL, program);
        if (link < 0)
                r = -errno;
        else
                close(link);
        close(program);
        return r;
}

static void no_holes(struct tracker_bpf *t, const char *why) {
        t->has_holes = false;
        tracker_bpf_set_ability(t, ABILITY_HOLES, false, "%s", why);
}

/* Which argument of a function has this name; 0 when none has. */
static u32 argument_named(const struct btf *btf, int function, const char *name) {
        const struct btf_type *type = btf_skip(btf, btf__type_by_id(btf, (u32)function)->type);

        for (u32 i = 0; type && btf_is_func_proto(type) && i < btf_vlen(type); i++)
                if (streq(btf__name_by_offset(btf, btf_params(type)[i].name_off), name))
                        return i;
        return 0;
}

/* What programs have to be told of a function beside its name. */
static void describe_function(struct tracker_bpf *t, const struct btf *btf, const struct hole *hole, int function) {
        if (hole->program == offsetof(struct memcgprof_bpf, progs.hole_charge))
                t->skel->rodata->has_charge_hook = t->skel->bss->late_charges = true;
        if (hole->program == offsetof(struct memcgprof_bpf, progs.hole_nolock))
                t->skel->rodata->nolock_gfp = argument_named(btf, function, "gfp_flags");
}

/* Switches on what there is a function for, and says which. */
static void open_holes(struct tracker_bpf *t, const struct btf *btf) {
        char names[256] = "";

        for (size_t i = 0; i < ELEMENTS(holes); i++) {
                int id;
                const char *function = function_of(btf, &holes[i], &id);
                bool wanted = t->has_holes && function && !(t->options.count_only && holes[i].kind > ON_ALLOCATION);
                size_t length = strlen(names);

                bpf_program__set_autoload(hole_program(t, i), false);
                if (!wanted || bpf_program__set_attach_target(hole_program(t, i), 0, function) < 0)
                        continue;
                bpf_program__set_autoload(hole_program(t, i), true);
                describe_function(t, btf, &holes[i], id);
                snprintf(t->hole_sections[i], sizeof(t->hole_sections[i]), "%s/%s",
                        holes[i].attach == BPF_TRACE_FENTRY ? "fentry" : "fexit", function);
                snprintf(names + length, sizeof(names) - length, "%s%s", length ? ", " : "", function);
        }
        if (t->has_holes)
                tracker_bpf_set_ability(
                        t, ABILITY_HOLES, names[0], "%s", names[0] ? names : "the kernel has none of the functions");
}

/* ---- loading --------------------------------------------------------------------------------------------------------------
 */

static void size_tables(struct tracker_bpf *t) {
        struct memcgprof_bpf__rodata *ro = t->skel->rodata;
        const struct tracker_options *o = &t->options;
        struct tables *tables = &t->tables;

        tables->n_tags = ro->has_tags ? o->tags : 1;
        ro->set_mask = (u32)tables->n_sets - 1;
        ro->site_mask = tables->n_sites - 1;
        ro->stack_mask = tables->n_stacks - 1;
        ro->tag_mask = tables->n_tags - 1;
        ro->group_max = tables->n_groups;
        ro->count_only = o->count_only;
        bpf_map__set_max_entries(t->skel->maps.objects, (u32)tables->n_sets);
        bpf_map__set_max_entries(t->skel->maps.spill, o->spill);
        bpf_map__set_max_entries(t->skel->maps.sites, tables->n_sites);
        bpf_map__set_max_entries(t->skel->maps.stacks, tables->n_stacks);
        bpf_map__set_max_entries(t->skel->maps.alloc_tags, tables->n_tags);
        bpf_map__set_max_entries(t->skel->maps.counts, tables->n_sites * tables->n_cpus);
        bpf_map__set_max_entries(t->skel->maps.rare, tables->n_slots);
        bpf_map__set_max_entries(t->skel->maps.groups, tables->n_groups);
        bpf_map__set_max_entries(t->skel->maps.group_counts, tables->n_groups * tables->n_cpus);
        bpf_map__set_max_entries(t->skel->maps.group_losses, tables->n_groups);
        bpf_map__set_max_entries(t->skel->maps.notes, tables->n_groups);
}

static bool is_wanted(const struct tracker_bpf *t, const struct hook *hook) {
        if (hook->kind == ON_MODULE)
                return t->skel->rodata->has_tags && t->has_modules;
        if (t->options.count_only && hook->kind > ON_ALLOCATION)
                return false;
        return (hook->kind != ON_STATE || t->has_states) && (hook->kind != ON_TASK || t->has_stack_areas) &&
               (hook->kind != ON_REMOVAL_STATES || t->has_cpu_offsets);
}

static void close_programs(struct tracker_bpf *t) {
        memcgprof_bpf__destroy(t->skel);
        t->skel = NULL;
}

/* Opens the object with one flavour of each hook switched on. */
static int open_programs(struct tracker_bpf *t, const struct btf *btf, bool raw, char **reterr) {
        t->skel = memcgprof_bpf__open();
        if (!t->skel)
                return libbpf_fail(reterr, -errno, "The BPF programs cannot be opened");
        set_constants(t, btf);
        for (size_t i = 0; i < ELEMENTS(hooks); i++) {
                bpf_program__set_autoload(hook_program(t, i, false), is_wanted(t, &hooks[i]) && !raw);
                bpf_program__set_autoload(hook_program(t, i, true), is_wanted(t, &hooks[i]) && raw);
        }
        bpf_program__set_autoload(t->skel->progs.look_at_states, t->has_cpu_offsets);
        open_holes(t, btf);
        size_tables(t);
        return 0;
}

/*
 * 6.1 and 6.12 refuse typed programs that read an untyped pointer; raw ones load everywhere. What the holes need is left out
 * before anything else is given up.
 */
static int try_to_load(struct tracker_bpf *t, const struct btf *btf, char **reterr) {
        for (;;) {
                int r = t->skel ? 0 : open_programs(t, btf, t->options.raw_tp, reterr);

                if (r >= 0)
                        r = memcgprof_bpf__load(t->skel);
                if (r >= 0 || r == -EPERM)
                        return r;
                close_programs(t);
                if (!t->options.raw_tp) {
                        t->options.raw_tp = true;
                } else if (t->has_holes) {
                        no_holes(t, last_complaint[0] ? last_complaint : strerror(-r));
                        libbpf_forget_complaint();
                } else {
                        return r;
                }
        }
}

/* What libbpf has to know of this kernel, whether programs are loaded or found. */
static void ask_kernel(struct tracker_bpf *t, const struct btf *btf) {
        int r = try_function(btf);

        t->has_holes = r >= 0;
        if (r < 0) {
                _cleanup_free_ char *why = format("the kernel lets no program attach to a function: %s", strerror(-r));

                no_holes(t, why ?: "out of memory");
        }
        t->has_cpu_offsets = finds_per_cpu(btf);
        t->options.raw_tp |= !reads_untyped(btf);
}

static int fd_of(const struct bpf_program *program) {
        int fd = bpf_program__fd(program);

        return fd < 0 ? -1 : fd;
}

static void note_loaded(struct tracker_bpf *t) {
        for (size_t i = 0; i < ELEMENTS(hooks); i++)
                t->hooks[i] = fd_of(hook_program(t, i, t->options.raw_tp));
        for (size_t i = 0; i < ELEMENTS(holes); i++)
                t->holes[i] = fd_of(hole_program(t, i));
        for (size_t i = 0; i < _RUNS; i++)
                t->runs[i] = fd_of(*(struct bpf_program **)((char *)t->skel + runs[i]));
        t->bss = t->skel->bss;
        t->rodata = t->skel->rodata;
}

static int load_anew(struct tracker_bpf *t, const struct btf *btf, char **reterr) {
        int r = try_to_load(t, btf, reterr);

        if (r < 0)
                return libbpf_fail(reterr, r, "The kernel does not take the BPF programs");
        note_loaded(t);
        t->bss->generation = 1;
        tracker_bpf_pin(t);
        return 0;
}

/* Those that are pinned are the ones that count, whatever this process would load. */
static void note_found(struct tracker_bpf *t, int (*find)(const struct tracker_bpf *, const struct bpf_program *)) {
        bool any_hole = false;

        for (size_t i = 0; i < ELEMENTS(hooks); i++) {
                t->hooks[i] = find(t, hook_program(t, i, false));
                if (t->hooks[i] >= 0)
                        continue;
                t->hooks[i] = find(t, hook_program(t, i, true));
                t->options.raw_tp |= t->hooks[i] >= 0;
        }
        for (size_t i = 0; i < ELEMENTS(holes); i++) {
                t->holes[i] = find(t, hole_program(t, i));
                any_hole |= t->holes[i] >= 0;
        }
        for (size_t i = 0; i < _RUNS; i++)
                t->runs[i] = find(t, *(struct bpf_program **)((char *)t->skel + runs[i]));
        if (t->has_holes && !any_hole)
                no_holes(t, "the programs of a former process, which go on, have none");
}

/* Sizes are what they were when the tables were made. */
static void size_found(struct tracker_bpf *t) {
        const struct memcgprof_bpf__rodata *ro = t->rodata;
        struct tables *tables = &t->tables;

        tables->n_sets = (size_t)ro->set_mask + 1;
        tables->n_sites = ro->site_mask + 1;
        tables->n_stacks = ro->stack_mask + 1;
        tables->n_tags = ro->tag_mask + 1;
        tables->n_groups = ro->group_max;
        tables->n_slots = tables->n_sites + tables->n_groups * MP_CATCH_ALLS;
        tables->count_only = t->options.count_only = ro->count_only;
        t->options.objects = (u32)tables->n_sets * MP_WAYS;
        t->options.sites = tables->n_sites;
        t->options.stacks = tables->n_stacks;
        t->options.tags = tables->n_tags;
        t->options.groups = tables->n_groups - 1;
        t->options.spill = bpf_map__max_entries(t->skel->maps.spill);
}

/* As tracker_bpf_adopt(). */
static int find_programs(struct tracker_bpf *t, const struct btf *btf, char **reterr) {
        int r;

        if (!t->options.pins) {
                tracker_bpf_set_ability(t, ABILITY_PINS, false, "not asked for");
                return 0;
        }
        r = open_programs(t, btf, t->options.raw_tp, reterr);
        if (r >= 0)
                r = tracker_bpf_adopt(t, reterr);
        if (r == 0 && t->left)
                close_programs(t); /* its tables may be the former process's */
        if (r <= 0)
                return r;
        note_found(t, tracker_bpf_find_program);
        size_found(t);
        t->adopted = true;
        return 1;
}

static int load_programs(struct tracker_bpf *t, char **reterr) {
        struct btf *btf = btf__load_vmlinux_btf();
        int r;

        if (!btf)
                return libbpf_fail(
                        reterr, -ENOTSUP, "This kernel has no BTF, which the BPF programs need (CONFIG_DEBUG_INFO_BTF)");
        ask_kernel(t, btf);
        r = find_programs(t, btf, reterr);
        if (r == 0)
                r = load_anew(t, btf, reterr);
        btf__free(btf);
        return r;
}

static int map_table(const struct bpf_map *map, struct table *ret) {
        size_t page = (size_t)sysconf(_SC_PAGESIZE);
        size_t bytes = (size_t)bpf_map__value_size(map) * bpf_map__max_entries(map);
        void *data;

        bytes = (bytes + page - 1) & ~(page - 1);
        data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
        if (data == MAP_FAILED)
                return -errno;
        *ret = (struct table){.data = data, .bytes = bytes};
        return 0;
}

static int map_tables(struct tracker_bpf *t, char **reterr) {
        struct tables *tables = &t->tables;
        const struct {
                struct bpf_map *map;
                struct table *table;
        } maps[] = {
                {t->skel->maps.objects, &tables->objects},
                {t->skel->maps.sites, &tables->sites},
                {t->skel->maps.stacks, &tables->stacks},
                {t->skel->maps.alloc_tags, &tables->alloc_tags},
                {t->skel->maps.counts, &tables->counts},
                {t->skel->maps.rare, &tables->rare},
                {t->skel->maps.groups, &tables->groups},
                {t->skel->maps.group_counts, &tables->group_counts},
                {t->skel->maps.group_losses, &tables->group_losses},
                {t->skel->maps.notes, &t->notes},
        };

        for (size_t i = 0; i < ELEMENTS(maps); i++) {
                int r = map_table(maps[i].map, maps[i].table);

                if (r < 0)
                        return fail(reterr, r, "The table %s cannot be mapped: %s.", bpf_map__name(maps[i].map), strerror(-r));
        }
        tables->sites_made = (u64 *)&t->bss->sites_made;
        tables->sites_used = (u64 *)t->bss->sites_used;
        return 0;
}

int tracker_bpf_load(struct tracker_bpf *t, char **reterr) {
        int r;

        libbpf_set_print(keep_complaint);
        libbpf_forget_complaint();
        r = load_programs(t, reterr);
        if (r < 0)
                return r;
        if (is_mutated(t, "no-first-programs")) /* they served something once */
                memset(t->bss->cpus, 0xff, sizeof(t->bss->cpus));
        return map_tables(t, reterr);
}

void tracker_bpf_unload(struct tracker_bpf *t) {
        struct tables *tables = &t->tables;
        struct table *all[] = {&tables->objects, &tables->sites, &tables->stacks, &tables->alloc_tags, &tables->counts,
                &tables->rare, &tables->groups, &tables->group_counts, &tables->group_losses, &t->notes};

        tracker_bpf_detach(t);
        tracker_bpf_unpin(t);
        for (size_t i = 0; i < ELEMENTS(all); i++)
                if (all[i]->data)
                        munmap(all[i]->data, all[i]->bytes);
        tables_done(tables);
        memcgprof_bpf__destroy(t->skel);
}

int tracker_bpf_run(const struct tracker_bpf *t, enum run run, void *context, size_t bytes) {
        LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = context, .ctx_size_in = (u32)bytes);

        return bpf_prog_test_run_opts(t->runs[run], &options);
}

/* ---- attaching ------------------------------------------------------------------------------------------------------------
 */

void tracker_bpf_detach(struct tracker_bpf *t) {
        if (t->bss && !t->leaves)
                t->bss->links_attached = 0;
        while (t->n_links > 0) {
                tracker_bpf_unpin_link(t, --t->n_links);
                bpf_link__destroy(t->links[t->n_links]);
                t->links[t->n_links] = NULL;
        }
}

static bool left_out(const struct tracker_bpf *t, const struct hook *hook) {
        if (is_mutated(t, "no-cache-free"))
                return streq(hook->tracepoint, "kmem_cache_free");
        return (is_mutated(t, "no-second-programs") && hook->kind == ON_FREE_IN_INTERRUPT) ||
               (is_mutated(t, "no-first-programs") && hook->kind == ON_FREE);
}

/* Programs of a former process are attached by descriptor: libbpf knows those only that it has loaded. */
static int attach_found(struct tracker_bpf *t, const struct bpf_program *program, int fd) {
        bool by_name = bpf_program__type(program) == BPF_PROG_TYPE_RAW_TRACEPOINT;
        int link = bpf_raw_tracepoint_open(by_name ? strrchr(bpf_program__section_name(program), '/') + 1 : NULL, fd);

        if (link < 0)
                return -errno;
        tracker_bpf_pin_fd(t, t->n_links++, link);
        close(link);
        return 0;
}

static int attach_program(struct tracker_bpf *t, const struct bpf_program *program, int fd) {
        struct bpf_link *link;

        if (t->adopted)
                return attach_found(t, program, fd);
        link = bpf_program__attach(program);
        if (!link)
                return -errno;
        tracker_bpf_pin_fd(t, t->n_links, bpf_link__fd(link));
        t->links[t->n_links++] = link;
        return 0;
}

/* What cannot be attached is done without. */
static void attach_holes(struct tracker_bpf *t) {
        for (size_t i = 0; i < ELEMENTS(holes) && t->has_holes; i++) {
                int r = t->holes[i] >= 0 ? attach_program(t, hole_program(t, i), t->holes[i]) : 0;

                if (r < 0)
                        tracker_bpf_set_ability(
                                t, ABILITY_HOLES, false, "%s cannot be attached: %s", t->hole_sections[i], strerror(-r));
        }
}

/* Free hooks go on last, so that nothing is tracked whose free would not be seen; groups are armed later still. */
int tracker_bpf_attach(struct tracker_bpf *t, char **reterr) {
        attach_holes(t);
        for (size_t i = 0; i < ELEMENTS(hooks); i++) {
                const struct bpf_program *program = hook_program(t, i, t->options.raw_tp);
                int r;

                if (t->hooks[i] < 0 || left_out(t, &hooks[i]))
                        continue;
                r = attach_program(t, program, t->hooks[i]);
                if (r < 0) {
                        tracker_bpf_detach(t);
                        return libbpf_fail(reterr, r, bpf_program__name(program));
                }
        }
        t->bss->modules_loaded++; /* for those that were loaded while nobody looked */
        t->bss->links_attached = (u32)t->n_links;
        return 0;
}

const char *const *tracker_bpf_hooks(struct tracker *base, size_t *ret_n) {
        struct tracker_bpf *t = (struct tracker_bpf *)base;
        size_t n = 0;

        for (size_t i = 0; i < ELEMENTS(hooks); i++) {
                struct bpf_program *program = hook_program(t, i, t->options.raw_tp);

                if (t->hooks[i] >= 0)
                        t->sections[n++] = bpf_program__section_name(program);
        }
        for (size_t i = 0; i < ELEMENTS(holes); i++)
                if (t->holes[i] >= 0)
                        t->sections[n++] = t->hole_sections[i];
        *ret_n = n;
        return t->sections;
}

static u64 misses_of(int program) {
        struct bpf_prog_info info = {};
        u32 size = sizeof(info);

        if (program < 0 || bpf_obj_get_info_by_fd(program, &info, &size) < 0)
                return 0;
        return info.recursion_misses;
}

static u64 run_time_of(int program) {
        struct bpf_prog_info info = {};
        u32 size = sizeof(info);

        return program >= 0 && bpf_obj_get_info_by_fd(program, &info, &size) >= 0 ? info.run_time_ns : 0;
}

uint64_t tracker_bpf_run_time(const struct tracker_bpf *t) {
        u64 ns = 0;

        for (size_t i = 0; i < ELEMENTS(hooks); i++)
                ns += run_time_of(t->hooks[i]);
        for (size_t i = 0; i < ELEMENTS(holes); i++)
                ns += run_time_of(t->holes[i]);
        return ns;
}

u64 tracker_bpf_misses(const struct tracker_bpf *t, enum hook_kind kind) {
        u64 misses = 0;

        for (size_t i = 0; i < ELEMENTS(hooks); i++)
                if (hooks[i].kind == kind)
                        misses += misses_of(t->hooks[i]);
        for (size_t i = 0; kind == ON_HOLE && i < ELEMENTS(holes); i++)
                misses += misses_of(t->holes[i]);
        return misses;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The BPF tracker: groups on top of the tables of bpf/memcgprof.bpf.c. With tracker-bpf-load.c the only user of libbpf, and the
 * only place in user space that knows differences between kernels' BPF.
 *
 * Invariants: programs are attached exactly while n_active > 0; a group's number is given out again only after its traces were
 * wiped from all tables; a cgroup is armed for at most one group.
 */
#include <linux/membarrier.h>
#include <math.h>
#include <sys/syscall.h>
#include <time.h>

#include "tracker-bpf.h"

#define SPILL_DEFAULT (1u << 15)
#define STACKS_DEFAULT (1u << 14)
#define TAGS_DEFAULT (1u << 13)
#define PAGE_SAMPLE_DEFAULT (16u << 10)
#define USER_SAMPLE_DEFAULT (512u << 10)
#define PAGES_FIRST 32 /* kernel pages that are all sampled on each CPU, so that a small group has names too */

/* A group is refused when less than 1 / ROOM_LEFT of the site table is free: probing fails there anyway. */
#define ROOM_LEFT 8

static struct tracker_bpf *of(struct tracker *base) {
        return (struct tracker_bpf *)base;
}

static int64_t now_us(clockid_t clock) {
        struct timespec ts;

        clock_gettime(clock, &ts);
        return ts.tv_sec * INT64_C(1000000) + ts.tv_nsec / 1000;
}

/* Programs that were running when this was called have ended when it returns: they run with preemption off. */
static void grace_period(void) {
        (void)syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
}

/* ---- sizes ----------------------------------------------------------------------------------------------------------------
 */

static u32 power_of_two(u32 n) {
        u32 p = 1;

        while (p < n)
                p <<= 1;
        return p;
}

static void complete_options(struct tracker_bpf *t, const struct tracker_options *options, unsigned cpus) {
        struct tracker_options *o = &t->options;
        struct tracker_memory caps;

        if (options)
                *o = *options;
        tracker_memory(o, cpus, &caps);
        o->objects = caps.objects;
        o->spill = o->spill ?: SPILL_DEFAULT;
        o->stacks = power_of_two(o->stacks ?: STACKS_DEFAULT);
        o->tags = power_of_two(o->tags ?: TAGS_DEFAULT);
        o->user_sample = o->user_sample ?: USER_SAMPLE_DEFAULT;
        t->tables.n_cpus = cpus;
        t->tables.n_sites = caps.sites;
        t->tables.n_groups = caps.groups + 1; /* and limbo */
        t->tables.n_slots = t->tables.n_sites + t->tables.n_groups * MP_CATCH_ALLS;
        t->tables.n_stacks = o->stacks;
        t->tables.n_sets = o->objects / MP_WAYS;
        t->tables.count_only = o->count_only;
}

static void set_odds(struct mp_sample *odds, uint64_t period) {
        for (unsigned order = 0; order < MP_ORDERS; order++) {
                double bytes = (double)(4096ull << order), p = period <= 1 ? 1 : -expm1(-bytes / (double)period);

                odds[order] = (struct mp_sample){
                        .threshold = p >= 1 ? UINT32_MAX : (u32)(p * 4294967296.0),
                        .weight = (u32)llround(bytes / p),
                };
        }
}

static struct mp_group *settings_of(const struct tracker_bpf *t, unsigned group) {
        return (struct mp_group *)t->tables.groups.data + group;
}

/* ---- the kernel's view of a cgroup ----------------------------------------------------------------------------------------
 */

/* Asks the kernel, by an iterator over this one cgroup, for the css that the programs will see. */
static int identify(struct tracker_bpf *t, const struct cgroup *cgroup, struct mp_css *ret, char **reterr) {
        union bpf_iter_link_info info = {.cgroup = {.cgroup_fd = (u32)cgroup->fd, .order = BPF_CGROUP_ITER_SELF_ONLY}};
        struct bpf_iter_attach_opts options;
        struct mp_css css = {};
        struct bpf_link *link;
        int fd, r = 0;

        memset(&options, 0, sizeof(options)); /* the padding too: libbpf 1.1 refuses other bytes there */
        options.sz = sizeof(options);
        options.link_info = &info;
        options.link_info_len = sizeof(info);
        link = bpf_program__attach_iter(t->skel->progs.identify, &options);
        if (!link)
                return errno == ENODEV || errno == ENOENT
                               ? fail(reterr, -ENODEV, "The cgroup %s is gone.", cgroup->path)
                               : libbpf_fail(reterr, -errno, "The cgroup cannot be looked up in the kernel");
        fd = bpf_iter_create(bpf_link__fd(link));
        if (fd < 0)
                r = libbpf_fail(reterr, -errno, "The cgroup cannot be looked up in the kernel");
        else if (read(fd, &css, sizeof(css)) != (ssize_t)sizeof(css))
                r = fail(reterr, -ENODEV, "The cgroup %s is gone.", cgroup->path);
        else if (!css.found)
                r = fail(reterr, -ENOTSUP, "The memory controller is not on for the cgroup %s.", cgroup->path);
        else if (css.id >= MP_CSS_IDS)
                r = fail(reterr, -ENOSPC, "The kernel has more cgroups than the group table covers (%u).", MP_CSS_IDS);
        else
                *ret = css;
        if (fd >= 0)
                close(fd);
        bpf_link__destroy(link);
        return r;
}

/* The arm flag: from here on (or no longer) the programs find this css to be the root of a group. */
static void set_root(struct tracker_bpf *t, u32 css_id, u64 entry) {
        u32 epoch;

        __atomic_store_n(&t->skel->bss->root_table[css_id], entry, __ATOMIC_SEQ_CST);
        epoch = __atomic_add_fetch(&t->skel->bss->epoch, 1, __ATOMIC_SEQ_CST);
        /* An entry's epoch has MP_EPOCH_BITS only: what was found out long ago must be gone before they come round again. */
        if ((epoch & (MP_EPOCH_MASK >> 1)) == 0)
                memset((void *)t->skel->bss->css_table, 0, sizeof(t->skel->bss->css_table));
}

/* For a test that must fail: the first two groups take each other's place. */
static unsigned swapped(const struct tracker_bpf *t, unsigned group) {
        bool swap = is_mutated(t, "swap-groups");

        return swap && (group == 1 || group == 2) ? 3 - group : group;
}

static void arm(struct tracker_bpf *t, unsigned group) {
        const struct mp_css *css = &t->groups[group].css;

        t->groups[group].armed = true;
        settings_of(t, group)->flags &= ~(u64)MP_GROUP_ENDED;
        if (!css->ancestors[0])
                t->skel->bss->host_group = group;
        set_root(t, css->id, mp_css_entry(css->serial_nr, 0, swapped(t, group)));
}

static void disarm(struct tracker_bpf *t, unsigned group) {
        struct group *g = &t->groups[group];

        if (!g->armed)
                return;
        g->armed = false;
        settings_of(t, group)->flags |= MP_GROUP_ENDED;
        if (t->skel->bss->host_group == group)
                t->skel->bss->host_group = 0;
        /* css ids are given out again: the entry may be a younger group's by now */
        if (mp_css_group(t->skel->bss->root_table[g->css.id]) == swapped(t, group))
                set_root(t, g->css.id, 0);
}

/* ---- losses ---------------------------------------------------------------------------------------------------------------
 */

/* The engine's. */
static void read_losses(const struct tracker_bpf *t, int64_t ret[static _LOSS_MAX]) {
        static const enum loss names[_MP_LOSSES] = {
                [MP_LOSS_LIMBO_FULL] = LOSS_IRQ_UNSEEN,
                [MP_LOSS_GROUP_LOOKUPS] = LOSS_GROUP_LOOKUPS,
                [MP_LOSS_UNSIZED_FREES] = LOSS_UNSIZED_FREES,
                [MP_LOSS_CHARGES] = LOSS_CHARGES,
                [MP_LOSS_BULK_PAGES] = LOSS_BULK_PAGES,
                [MP_LOSS_TAGS_FULL] = LOSS_TAGS_FULL,
        };
        const volatile u64 *losses = (const volatile u64 *)t->skel->bss->losses;

        memset(ret, 0, _LOSS_MAX * sizeof(*ret));
        /* caught first: what is caught meanwhile shows as a loss for a moment, never the other way */
        ret[LOSS_RECURSION] = -(int64_t)t->skel->bss->caught;
        ret[LOSS_RECURSION] += (int64_t)(tracker_bpf_misses(t, ON_FREE) + tracker_bpf_misses(t, ON_HOLE));
        ret[LOSS_IRQ_UNSEEN] = (int64_t)tracker_bpf_misses(t, ON_ALLOCATION);
        for (size_t i = 0; i < _MP_LOSSES; i++)
                ret[names[i]] += (int64_t)losses[i];
}

/* ---- abilities ------------------------------------------------------------------------------------------------------------
 */

void tracker_bpf_set_ability(struct tracker_bpf *t, size_t i, bool available, const char *fmt, ...) {
        va_list args;

        va_start(args, fmt);
        vsnprintf(t->reasons[i], sizeof(t->reasons[i]), fmt, args);
        va_end(args);
        t->abilities[i].available = available;
}

static void name_abilities(struct tracker_bpf *t) {
        static const char *const names[_ABILITIES] = {
                [ABILITY_OBJECT_CHECK] = "object_check",
                [ABILITY_LATE_CHARGES] = "late_charges",
                [ABILITY_HOLES] = "fentry_holes",
                [ABILITY_STATES] = "memcg_state_tracepoints",
                [ABILITY_REMOVAL] = "counters_at_removal",
                [ABILITY_NODES] = "nodes",
                [ABILITY_TAGS] = "tag_sites",
        };

        for (size_t i = 0; i < _ABILITIES; i++)
                t->abilities[i] = (struct tracker_ability){.name = names[i], .reason = t->reasons[i]};
}

/* What is known once the programs are loaded. */
static void init_abilities(struct tracker_bpf *t) {
        tracker_bpf_set_ability(t, ABILITY_OBJECT_CHECK, false, "no charged allocation has been verified yet");
        tracker_bpf_set_ability(t, ABILITY_LATE_CHARGES, t->skel->rodata->has_charge_hook, "%s",
                t->skel->rodata->has_charge_hook ? "kmem_cache_charge is followed" : "owners of objects cannot be read yet");
        tracker_bpf_set_ability(t, ABILITY_STATES, t->has_states, "%s",
                t->has_states ? "mod_memcg_state and mod_memcg_lruvec_state are followed"
                              : "the kernel has no tracepoints mod_memcg_state and mod_memcg_lruvec_state (6.18 has them)");
        tracker_bpf_set_ability(t, ABILITY_REMOVAL, !t->options.count_only, "%s",
                t->has_cpu_offsets
                        ? "the memcg's counters are read in rmdir(2)"
                        : "page counters are read in rmdir(2); memory.stat's are not, because the kernel has no symbol "
                          "for per-CPU memory (CONFIG_KALLSYMS_ALL)");
        tracker_bpf_set_ability(t, ABILITY_NODES, t->skel->rodata->node_shift < 64, "%s",
                t->skel->rodata->node_shift < 64 ? "the node of a page is read off its flags"
                                                 : "the kernel is built for one node only");
}

/* Seen and not asked for: allocations of our own were watched at loading, and what groups allocated since. */
static void look_for_tags(struct tracker_bpf *t) {
        u64 seen = t->skel->bss->tags_made;

        if (t->options.no_tags)
                tracker_bpf_set_ability(t, ABILITY_TAGS, false, "alloc tags are not wanted");
        else if (!t->skel->rodata->has_tags)
                tracker_bpf_set_ability(t, ABILITY_TAGS, false, "the kernel has no alloc tags");
        else if (!seen)
                tracker_bpf_set_ability(t, ABILITY_TAGS, false,
                        "allocations come without their tags, because vm.mem_profiling is off: they are named by their calls");
        else
                tracker_bpf_set_ability(
                        t, ABILITY_TAGS, true, "file and line of each allocation; tags seen: %llu", (unsigned long long)seen);
}

/* The programs decide (verify_charge()); here it becomes a sentence. */
static bool trust_owners(struct tracker_bpf *t) {
        const struct memcgprof_bpf__bss *bss = t->skel->bss;
        int64_t wrong = (int64_t)bss->losses[MP_LOSS_CHARGES], verified = (int64_t)bss->charges_verified;

        if (!bss->page_delta || !verified)
                return false;
        if (bss->objects_checked) {
                tracker_bpf_set_ability(t, ABILITY_OBJECT_CHECK, true, "owners read off %lld objects were all as inferred",
                        (long long)verified);
                if (!t->skel->rodata->has_charge_hook)
                        tracker_bpf_set_ability(
                                t, ABILITY_LATE_CHARGES, true, "objects of interrupts are looked at again when they are freed");
                return true;
        }
        if (wrong)
                tracker_bpf_set_ability(t, ABILITY_OBJECT_CHECK, false,
                        "of %lld owners read off objects %lld were not as inferred", (long long)verified, (long long)wrong);
        if (!t->skel->rodata->has_charge_hook)
                tracker_bpf_set_ability(t, ABILITY_LATE_CHARGES, false, "owners of objects cannot be read");
        return false;
}

static const struct tracker_ability *tracker_bpf_abilities(struct tracker *base, size_t *ret_n) {
        (void)trust_owners(of(base));
        look_for_tags(of(base));
        *ret_n = _ABILITIES;
        return of(base)->abilities;
}

/* ---- the spill: a hash, read bucket by bucket, so that whatever comes and goes meanwhile a walk ends -----------------------
 */

struct spill_walk {
        bool begun, over;
        u32 bucket;
        u32 n; /* objects of this batch */
        u64 keys[MP_SPILL_BATCH], values[MP_SPILL_BATCH];
};

/* The next batch, which may be empty. Returns false when there is none any more. */
static bool spill_next(const struct tracker_bpf *t, struct spill_walk *w) {
        int r;

        if (w->over)
                return false;
        w->n = MP_SPILL_BATCH;
        r = bpf_map_lookup_batch(
                bpf_map__fd(t->skel->maps.spill), w->begun ? &w->bucket : NULL, &w->bucket, w->keys, w->values, &w->n, NULL);
        w->begun = true;
        w->over = r < 0; /* -ENOENT after the last bucket; no bucket has more objects than a batch */
        if (r < 0 && r != -ENOENT)
                w->n = 0;
        return w->n > 0 || !w->over;
}

/* A batch is older than what is done with it: what was freed meanwhile, and came again for somebody else, is not touched. */
static bool is_spilled_still(int fd, u64 key, u64 value) {
        u64 now;

        return bpf_map_lookup_elem(fd, &key, &now) >= 0 && now == value;
}

/* ---- cleaning -------------------------------------------------------------------------------------------------------------
 */

static void wipe_spill(struct tracker_bpf *t, const bool *dirty) {
        int fd = bpf_map__fd(t->skel->maps.spill);
        struct spill_walk w = {};

        while (spill_next(t, &w))
                for (u32 i = 0; i < w.n; i++)
                        if (dirty[tables_group_of_slot(&t->tables, mp_value_slot(w.values[i]))] &&
                                is_spilled_still(fd, w.keys[i], w.values[i]) && bpf_map_delete_elem(fd, &w.keys[i]) >= 0)
                                __atomic_sub_fetch(&t->skel->bss->spilled, 1, __ATOMIC_SEQ_CST);
}

static void tracker_bpf_clean(struct tracker *base) {
        struct tracker_bpf *t = of(base);
        _cleanup_free_ bool *dirty = calloc(t->tables.n_groups, sizeof(bool));
        bool any = false;

        for (unsigned group = 1; dirty && group < t->tables.n_groups; group++)
                any |= dirty[group] = t->groups[group].state == GROUP_DIRTY;
        if (!any)
                return;
        dirty[MP_LIMBO] = t->n_active == 0; /* nobody saw what became of it */
        /* Programs that still took somebody for a member of a group that ended are through after one grace period. */
        grace_period();
        wipe_spill(t, dirty);
        tables_wipe(&t->tables, dirty, grace_period);
        for (unsigned group = 1; group < t->tables.n_groups; group++)
                if (dirty[group])
                        t->groups[group].state = GROUP_FREE;
        if (t->n_active > 0) {
                tables_retire_stacks(&t->tables, grace_period);
                return;
        }
        memset(t->tables.stacks.data, 0, t->tables.stacks.bytes);
        memset(t->tables.alloc_tags.data, 0, t->tables.alloc_tags.bytes);
}

/* ---- groups ---------------------------------------------------------------------------------------------------------------
 */

static unsigned find_free(const struct tracker_bpf *t) {
        unsigned group = 1;

        while (group < t->tables.n_groups && t->groups[group].state != GROUP_FREE)
                group++;
        return group;
}

/* A number for a new group, cleaned; -ENOSPC with a sentence. */
static int take_group(struct tracker_bpf *t, unsigned *ret, char **reterr) {
        unsigned group = find_free(t);
        int r;

        if (group == t->tables.n_groups) {
                tracker_bpf_clean(&t->base);
                group = find_free(t);
        }
        if (group == t->tables.n_groups)
                return fail(reterr, -ENOSPC, "All %u groups of the tables are taken.", t->tables.n_groups - 1);
        r = tables_list(&t->tables);
        if (r < 0)
                return r;
        if (t->n_active > 0 && tables_used(&t->tables) > t->tables.n_sites - t->tables.n_sites / ROOM_LEFT)
                return fail(reterr, -ENOSPC, "The table of sites is full: %u of %u are in use.", tables_used(&t->tables),
                        t->tables.n_sites);
        *ret = group;
        return 0;
}

static void start_group(struct tracker_bpf *t, unsigned group, const struct mp_css *css, enum cgroup_layout layout) {
        struct group *g = &t->groups[group];

        *g = (struct group){.state = GROUP_ACTIVE, .css = *css, .layout = layout};
        memcpy(settings_of(t, group)->ancestors, css->ancestors, sizeof(css->ancestors));
        read_losses(t, g->lost);
        g->verified = (int64_t)t->skel->bss->charges_verified;
        g->state_misses = tracker_bpf_misses(t, ON_STATE);
        t->n_active++;
        arm(t, group);
}

static void apply_wish(struct tracker_bpf *t, unsigned group, const struct tracker_wish *wish) {
        uint64_t user = wish->page_sample > 1 ? wish->page_sample : t->options.user_sample;
        struct mp_group *g = settings_of(t, group);

        memset(g, 0, sizeof(*g));
        set_odds(g->kernel, wish->page_sample ?: PAGE_SAMPLE_DEFAULT);
        set_odds(g->user, user);
        g->first = PAGES_FIRST;
        g->flags = wish->numa ? MP_GROUP_NUMA : 0;
        if (wish->numa)
                t->skel->bss->nodes_wanted = true;
}

static int tracker_bpf_begin(struct tracker *base, const struct cgroup *cgroup, const struct tracker_wish *wish,
        unsigned *ret_group, char **reterr) {
        struct tracker_bpf *t = of(base);
        struct mp_css css = {};
        unsigned group;
        int r;

        libbpf_forget_complaint();
        (void)trust_owners(t);
        r = identify(t, cgroup, &css, reterr);
        if (r >= 0)
                r = take_group(t, &group, reterr);
        if (r >= 0 && t->n_active == 0)
                r = tracker_bpf_attach(t, reterr);
        if (r < 0)
                return r;
        apply_wish(t, group, wish);
        start_group(t, group, &css, cgroup->layout);
        *ret_group = group;
        return 0;
}

static int tracker_bpf_renew(struct tracker *base, unsigned group, unsigned *ret_group, char **reterr) {
        struct tracker_bpf *t = of(base);
        unsigned fresh;
        int r;

        r = take_group(t, &fresh, reterr);
        if (r < 0)
                return r;
        *settings_of(t, fresh) = *settings_of(t, group);
        settings_of(t, group)->flags |= MP_GROUP_ENDED; /* nobody will say of this one when its cgroup goes */
        if (!t->groups[group].armed) {                  /* its cgroup is gone: the new one stays empty */
                t->groups[fresh] =
                        (struct group){.state = GROUP_ACTIVE, .css = t->groups[group].css, .layout = t->groups[group].layout};
                read_losses(t, t->groups[fresh].lost);
                t->n_active++;
        } else {
                t->groups[group].armed = false;
                start_group(t, fresh, &t->groups[group].css, t->groups[group].layout);
                if (settings_of(t, group)->removal.at_ns) /* in this very moment */
                        *settings_of(t, fresh) = *settings_of(t, group);
        }
        *ret_group = fresh;
        return 0;
}

static void tracker_bpf_set_wrappers(struct tracker *base, const struct tracker_range *ranges, size_t n) {
        struct memcgprof_bpf__bss *bss = of(base)->skel->bss;

        bss->n_wrappers = 0;
        for (size_t i = 0; i < n && i < MP_WRAPPERS; i++) {
                bss->wrappers[i].start = ranges[i].start;
                bss->wrappers[i].end = ranges[i].end;
                bss->n_wrappers = (u32)i + 1;
        }
}

static void tracker_bpf_disarm(struct tracker *base, unsigned group) {
        disarm(of(base), group);
}

static void tracker_bpf_end(struct tracker *base, unsigned group) {
        struct tracker_bpf *t = of(base);

        disarm(t, group);
        t->groups[group].state = GROUP_DIRTY;
        if (--t->n_active > 0)
                return;
        tracker_bpf_detach(t);
        t->skel->bss->nodes_wanted = false;
}

static void fold_spill(struct tracker_bpf *t, const u32 *map, unsigned from) {
        int fd = bpf_map__fd(t->skel->maps.spill);
        struct spill_walk w = {};

        while (spill_next(t, &w))
                for (u32 i = 0; i < w.n; i++) {
                        u64 moved = tables_fold_value(&t->tables, map, from, w.values[i]);

                        if (moved != w.values[i] && is_spilled_still(fd, w.keys[i], w.values[i]))
                                (void)bpf_map_update_elem(fd, &w.keys[i], &moved, BPF_EXIST);
                }
}

/* States have one writing program each, so that a group's cannot be added to another's in the table: they are kept here. */
static int carry_states(struct tracker_bpf *t, unsigned from, unsigned to) {
        _cleanup_(tracker_sample_done) struct tracker_sample sample = {};
        int r = tables_read(&t->tables, from, &sample);

        if (r < 0)
                return r;
        for (size_t i = 0; i < _MEMCG_MAX; i++)
                t->groups[to].carried[i] += sample.states.value[i] + t->groups[from].carried[i];
        memset(t->groups[from].carried, 0, sizeof(t->groups[from].carried));
        if (t->groups[from].state_misses < t->groups[to].state_misses)
                t->groups[to].state_misses = t->groups[from].state_misses; /* what either missed, their sum lacks */
        return 0;
}

static int tracker_bpf_fold(struct tracker *base, unsigned from, unsigned to) {
        struct tracker_bpf *t = of(base);
        _cleanup_free_ u32 *map = NULL;
        int r;

        if (t->groups[from].armed)
                return -EBUSY;
        grace_period(); /* whoever still took somebody for a member of `from` */
        r = tables_fold_prepare(&t->tables, from, to, &map);
        if (r >= 0)
                r = tables_list(&t->tables);
        if (r >= 0)
                r = carry_states(t, from, to);
        if (r < 0)
                return r; /* nothing was moved */
        tables_fold_objects(&t->tables, map, from);
        fold_spill(t, map, from);
        grace_period(); /* whoever was about to book a free at an old slot */
        /* once more: what was spilled or put back meanwhile */
        tables_fold_objects(&t->tables, map, from);
        tables_fold_counts(&t->tables, map, from, to);
        return 0;
}

/* ---- reading --------------------------------------------------------------------------------------------------------------
 */

static void read_states(const struct tracker_bpf *t, unsigned group, struct tracker_sample *s) {
        static const enum memcg_counter told[] = {MEMCG_KERNEL, MEMCG_SOCK, MEMCG_VMALLOC, MEMCG_ANON, MEMCG_FILE, MEMCG_SHMEM,
                MEMCG_PAGETABLES, MEMCG_KERNEL_STACK};
        bool complete = t->has_states && !t->options.count_only && t->shared.state_misses == t->groups[group].state_misses;

        s->states.at_us = now_us(CLOCK_REALTIME);
        for (size_t i = 0; i < _MEMCG_MAX; i++)
                s->states.value[i] += t->groups[group].carried[i];
        for (size_t i = 0; i < ELEMENTS(told); i++)
                s->states.known |= complete ? 1u << told[i] : 0;
}

static void tracker_bpf_hold(struct tracker *base, bool on) {
        struct shared *shared = &of(base)->shared;

        if (shared->holds == 0)
                shared->known = false;
        if (on)
                shared->holds++;
        else
                shared->holds--;
}

/* Losses are a system call a program: read after the rows, so that what is missing in those is told. */
static int read_group(struct tracker_bpf *t, unsigned group, struct tracker_sample *ret) {
        struct shared *shared = &t->shared;
        bool known = shared->known && shared->holds > 0;
        int r = known ? 0 : tables_list(&t->tables);

        if (r >= 0)
                r = tables_read(&t->tables, group, ret);
        if (r < 0 || known)
                return r;
        read_losses(t, shared->lost);
        shared->state_misses = tracker_bpf_misses(t, ON_STATE);
        shared->known = true;
        return 0;
}

static int tracker_bpf_read(struct tracker *base, unsigned group, struct tracker_sample *ret) {
        struct tracker_bpf *t = of(base);
        struct tracker_sample sample = {};
        int r;

        (void)trust_owners(t);
        r = read_group(t, group, &sample);
        if (r < 0)
                return r;
        sample.tagging = t->skel->bss->tags_made > 0;
        read_states(t, group, &sample);
        for (size_t i = 0; i < _LOSS_MAX; i++)
                sample.lost[i] += t->shared.lost[i] - t->groups[group].lost[i];
        /* what the second program caught may have been served by the first before another interrupt came */
        if (sample.lost[LOSS_RECURSION] < 0)
                sample.lost[LOSS_RECURSION] = 0;
        sample.charges_verified = (int64_t)t->skel->bss->charges_verified - t->groups[group].verified;
        sample.charges_mismatched = sample.lost[LOSS_CHARGES];
        sample.swept_at_us = t->swept_at_us;
        *ret = sample;
        return 0;
}

/* ---- removal --------------------------------------------------------------------------------------------------------------
 */

static void set_pages(struct memcg_counters *c, enum memcg_counter k, int64_t pages) {
        if (pages == MP_UNKNOWN)
                return;
        c->value[k] = pages * sysconf(_SC_PAGESIZE);
        c->known |= 1u << k;
}

/* What the files of the cgroup would have said. */
static struct memcg_counters counters_of(const struct tracker_bpf *t, unsigned group, const struct mp_charges *charges) {
        struct memcg_counters c = {};

        set_pages(&c, MEMCG_CURRENT, charges->memory);
        if (t->groups[group].layout != CGROUP_V2) {
                set_pages(&c, MEMCG_KERNEL, charges->kmem);
                set_pages(&c, MEMCG_SOCK, charges->tcpmem);
        } else if (t->has_cpu_offsets) {
                set_pages(&c, MEMCG_KERNEL, charges->kernel);
                c.value[MEMCG_ZSWAP] = charges->zswap;
                c.known |= charges->zswap != MP_UNKNOWN ? 1u << MEMCG_ZSWAP : 0;
        }
        return c;
}

static int run_look(const struct bpf_program *program, struct mp_look *look) {
        LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = look, .ctx_size_in = sizeof(*look));

        return bpf_prog_test_run_opts(bpf_program__fd(program), &options);
}

/* Asks what the removed memcg is charged now. -ENODATA when it is past being asked. */
static int look_again(const struct tracker_bpf *t, unsigned group, struct memcg_counters *ret) {
        const struct mp_removal *removal = &settings_of(t, group)->removal;
        struct mp_look look = {.memcg = removal->memcg, .serial_nr = removal->serial_nr}, states = look;
        int r = run_look(t->skel->progs.look_at_counters, &look);

        if (r >= 0 && t->has_cpu_offsets) {
                r = run_look(t->skel->progs.look_at_states, &states);
                look.charges.kernel = states.charges.kernel;
                look.charges.zswap = states.charges.zswap;
        }
        if (r < 0)
                return r;
        *ret = counters_of(t, group, &look.charges);
        return look.online ? 0 : -ENODATA;
}

static int tracker_bpf_removal(struct tracker *base, unsigned group, struct tracker_removal *ret) {
        struct tracker_bpf *t = of(base);
        const struct mp_removal *removal = &settings_of(t, group)->removal;
        uint64_t at_ns = __atomic_load_n(&removal->at_ns, __ATOMIC_ACQUIRE);
        struct tracker_removal r = {};
        struct memcg_counters later;

        if (!at_ns)
                return -ENODATA;
        r.counters = counters_of(t, group, &removal->charges);
        r.counters.at_us = now_us(CLOCK_REALTIME) - (now_us(CLOCK_MONOTONIC) - (int64_t)(at_ns / 1000));
        r.moved_known = memcg_knows(&r.counters, MEMCG_KERNEL) && look_again(t, group, &later) >= 0;
        if (r.moved_known)
                r.moved = later.value[MEMCG_KERNEL] - r.counters.value[MEMCG_KERNEL];
        *ret = r;
        return 0;
}

/* ---- sweeping -------------------------------------------------------------------------------------------------------------
 */

static int run_sweep(struct tracker_bpf *t, struct mp_sweep *work) {
        LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = work, .ctx_size_in = sizeof(*work));

        return bpf_prog_test_run_opts(bpf_program__fd(t->skel->progs.sweep), &options);
}

/* One run a batch. */
static int sweep_spill(struct tracker_bpf *t, struct tracker_sweep *total) {
        struct spill_walk w = {};
        int r = 0;

        while (r >= 0 && spill_next(t, &w)) {
                struct mp_sweep work = {.n_spilled = w.n};

                for (u32 i = 0; i < w.n; i++) {
                        t->skel->bss->spill_batch[i].key = w.keys[i];
                        t->skel->bss->spill_batch[i].value = w.values[i];
                }
                r = run_sweep(t, &work);
                total->checked += (int64_t)work.checked;
                total->dropped += (int64_t)work.dropped;
        }
        return r;
}

static int tracker_bpf_sweep(struct tracker *base, struct tracker_sweep *ret) {
        struct tracker_bpf *t = of(base);
        struct mp_sweep work = {.sets = (u32)t->tables.n_sets};
        struct tracker_sweep total = {};
        int64_t start = now_us(CLOCK_MONOTONIC);
        int r;

        if (t->options.count_only || !trust_owners(t))
                return -ENOTSUP;
        r = run_sweep(t, &work);
        if (r < 0)
                return r;
        total.checked = (int64_t)work.checked;
        total.dropped = (int64_t)work.dropped;
        r = t->skel->bss->spilled ? sweep_spill(t, &total) : 0;
        if (r < 0)
                return r;
        total.took_us = now_us(CLOCK_MONOTONIC) - start;
        t->swept_at_us = now_us(CLOCK_REALTIME);
        *ret = total;
        return 0;
}

/* ---- the tracker ----------------------------------------------------------------------------------------------------------
 */

static uint64_t tracker_bpf_footprint(struct tracker *base) {
        struct tracker_bpf *t = of(base);
        struct tracker_options options = t->options;
        struct tracker_memory memory;

        options.no_tags = !t->skel->rodata->has_tags;
        tracker_memory(&options, t->tables.n_cpus, &memory);
        return memory.total;
}

static struct tracker *tracker_bpf_free(struct tracker *base) {
        struct tracker_bpf *t = of(base);

        tracker_bpf_unload(t);
        free(t->groups);
        free(t);
        return NULL;
}

static const struct tracker_ops tracker_bpf_ops = {
        .backend = "bpf-tracepoints",
        .free = tracker_bpf_free,
        .begin = tracker_bpf_begin,
        .renew = tracker_bpf_renew,
        .fold = tracker_bpf_fold,
        .disarm = tracker_bpf_disarm,
        .set_wrappers = tracker_bpf_set_wrappers,
        .end = tracker_bpf_end,
        .read = tracker_bpf_read,
        .hold = tracker_bpf_hold,
        .removal = tracker_bpf_removal,
        .sweep = tracker_bpf_sweep,
        .clean = tracker_bpf_clean,
        .footprint = tracker_bpf_footprint,
        .hooks = tracker_bpf_hooks,
        .abilities = tracker_bpf_abilities,
};

int tracker_bpf_new(const struct tracker_options *options, struct tracker **ret, char **reterr) {
        struct tracker_bpf *t = calloc(1, sizeof(*t));
        _cleanup_free_ char *why = NULL;
        int n_cpus, r;

        if (!t)
                return -ENOMEM;
        t->base.ops = &tracker_bpf_ops;
        n_cpus = libbpf_num_possible_cpus();
        if (n_cpus < 0) {
                free(t);
                return fail(reterr, n_cpus, "The number of CPUs cannot be read: %s.", strerror(-n_cpus));
        }
        complete_options(t, options, (unsigned)n_cpus);
        t->groups = calloc(t->tables.n_groups, sizeof(struct group));
        name_abilities(t);
        r = t->groups ? tracker_bpf_load(t, reterr) : -ENOMEM;
        if (r < 0) {
                tracker_bpf_free(&t->base);
                return r;
        }
        init_abilities(t);
        if (!t->options.count_only && tracker_bpf_learn(t, &why) < 0)
                tracker_bpf_set_ability(t, ABILITY_OBJECT_CHECK, false, "%s", why ?: "out of memory");
        *ret = &t->base;
        return 0;
}

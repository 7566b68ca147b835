/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The groups of the BPF tracker: which cgroup is one, what it is counted by, how one becomes another and how it is forgotten.
 *
 * Invariants: a group's number is given out again only after its traces were wiped from all tables; a cgroup is armed for at
 * most one group; whatever is done in several steps leaves, after each of them, tables that tracker_bpf_keep() makes sense of,
 * because the process may be killed there.
 */
#include <linux/membarrier.h>
#include <math.h>
#include <sys/syscall.h>

#include "tracker-bpf.h"

#define PAGE_SAMPLE_DEFAULT (16u << 10)
#define PAGES_FIRST 32 /* kernel pages that are all sampled on each CPU, so that a small group has names too */

/* A group is refused when less than 1 / ROOM_LEFT of the site table is free: probing fails there anyway. */
#define ROOM_LEFT 8

/* Programs that were running when this was called have ended when it returns: they run with preemption off. */
static void grace_period(void) {
        (void)syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
}

static void set_odds(struct mp_sample *odds, uint64_t period) {
        if (period == TRACKER_NO_SAMPLES) {
                memset(odds, 0, MP_ORDERS * sizeof(*odds));
                return;
        }
        for (unsigned order = 0; order < MP_ORDERS; order++) {
                double bytes = (double)(4096ull << order), p = period <= 1 ? 1 : -expm1(-bytes / (double)period);

                odds[order] = (struct mp_sample){
                        .threshold = p >= 1 ? UINT32_MAX : (u32)(p * 4294967296.0),
                        .weight = (u32)llround(bytes / p),
                };
        }
}

/* ---- the kernel's view of a cgroup ----------------------------------------------------------------------------------------
 */

/* Asks the kernel, by an iterator over this one cgroup, for the css that the programs will see. */
static int iterator_over(const struct tracker_bpf *t, const struct cgroup *cgroup) {
        union bpf_iter_link_info info = {.cgroup = {.cgroup_fd = (u32)cgroup->fd, .order = BPF_CGROUP_ITER_SELF_ONLY}};
        LIBBPF_OPTS(bpf_link_create_opts, options, .iter_info = &info, .iter_info_len = sizeof(info));
        _cleanup_close_ int link = -1;
        int fd;

        link = bpf_link_create(t->runs[RUN_IDENTIFY], 0, BPF_TRACE_ITER, &options);
        if (link < 0)
                return -errno;
        fd = bpf_iter_create(link);
        return fd < 0 ? -errno : fd;
}

static int identify(const struct tracker_bpf *t, const struct cgroup *cgroup, struct mp_css *ret, char **reterr) {
        _cleanup_close_ int fd = iterator_over(t, cgroup);
        struct mp_css css = {};

        if (fd == -ENODEV || fd == -ENOENT)
                return fail(reterr, -ENODEV, "The cgroup %s is gone.", cgroup->path);
        if (fd < 0)
                return libbpf_fail(reterr, fd, "The cgroup cannot be looked up in the kernel");
        if (read(fd, &css, sizeof(css)) != (ssize_t)sizeof(css))
                return fail(reterr, -ENODEV, "The cgroup %s is gone.", cgroup->path);
        if (!css.found)
                return fail(reterr, -ENOTSUP, "The memory controller is not on for the cgroup %s.", cgroup->path);
        if (css.id >= MP_CSS_IDS)
                return fail(reterr, -ENOSPC, "The kernel has more cgroups than the group table covers (%u).", MP_CSS_IDS);
        *ret = css;
        return 0;
}

/* The arm flag: from here on (or no longer) the programs find this css to be the root of a group. */
static void set_root(struct tracker_bpf *t, u32 css_id, u64 entry) {
        u32 epoch;

        __atomic_store_n(&t->bss->root_table[css_id], entry, __ATOMIC_SEQ_CST);
        epoch = __atomic_add_fetch(&t->bss->epoch, 1, __ATOMIC_SEQ_CST);
        /* An entry's epoch has MP_EPOCH_BITS only: what was found out long ago must be gone before they come round again. */
        if ((epoch & (MP_EPOCH_MASK >> 1)) == 0)
                memset((void *)t->bss->css_table, 0, sizeof(t->bss->css_table));
}

/* For a test that must fail: the first two groups take each other's place. */
static unsigned swapped(const struct tracker_bpf *t, unsigned group) {
        bool swap = is_mutated(t, "swap-groups");

        return swap && (group == 1 || group == 2) ? 3 - group : group;
}

/* What the root table says of an armed group's css. */
static u64 root_entry(const struct tracker_bpf *t, unsigned group) {
        return mp_css_entry(note_of(t, group)->css.serial_nr, 0, swapped(t, group));
}

static void arm(struct tracker_bpf *t, unsigned group) {
        const struct mp_css *css = &note_of(t, group)->css;

        note_of(t, group)->armed = true;
        settings_of(t, group)->flags &= ~(u64)MP_GROUP_ENDED;
        if (!css->ancestors[0])
                t->bss->host_group = group;
        set_root(t, css->id, root_entry(t, group));
}

static void disarm(struct tracker_bpf *t, unsigned group) {
        struct mp_note *g = note_of(t, group);

        if (!g->armed)
                return;
        g->armed = false;
        settings_of(t, group)->flags |= MP_GROUP_ENDED;
        if (t->bss->host_group == group)
                t->bss->host_group = 0;
        /* css ids are given out again: the entry may be a younger group's by now */
        if (mp_css_group(t->bss->root_table[g->css.id]) == swapped(t, group))
                set_root(t, g->css.id, 0);
}

/* ---- cleaning -------------------------------------------------------------------------------------------------------------
 */

/* A batch is older than what is done with it: what was freed meanwhile, and came again for somebody else, is not touched. */
static bool is_spilled_still(int fd, u64 key, u64 value) {
        u64 now;

        return bpf_map_lookup_elem(fd, &key, &now) >= 0 && now == value;
}

static void wipe_spill(struct tracker_bpf *t, const bool *dirty) {
        int fd = bpf_map__fd(t->skel->maps.spill);
        struct spill_walk w = {};

        while (spill_next(t, &w))
                for (u32 i = 0; i < w.n; i++)
                        if (dirty[tables_group_of_slot(&t->tables, mp_value_slot(w.values[i]))] &&
                                is_spilled_still(fd, w.keys[i], w.values[i]) && bpf_map_delete_elem(fd, &w.keys[i]) >= 0)
                                __atomic_sub_fetch(&t->bss->spilled, 1, __ATOMIC_SEQ_CST);
}

void tracker_bpf_clean(struct tracker *base) {
        struct tracker_bpf *t = tracker_bpf_of(base);
        _cleanup_free_ bool *dirty = calloc(t->tables.n_groups, sizeof(bool));
        bool any = false;

        for (unsigned group = 1; dirty && group < t->tables.n_groups; group++)
                any |= dirty[group] = note_of(t, group)->state == MP_NOTE_DIRTY;
        if (!any)
                return;
        dirty[MP_LIMBO] = t->n_active == 0; /* nobody saw what became of it */
        /* Programs that still took somebody for a member of a group that ended are through after one grace period. */
        grace_period();
        wipe_spill(t, dirty);
        tables_wipe(&t->tables, dirty, grace_period);
        for (unsigned group = 1; group < t->tables.n_groups; group++)
                if (dirty[group])
                        note_of(t, group)->state = MP_NOTE_FREE;
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

        while (group < t->tables.n_groups && note_of(t, group)->state != MP_NOTE_FREE)
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

static void note_losses(const struct tracker_bpf *t, struct mp_note *n) {
        int64_t lost[_LOSS_MAX];

        tracker_bpf_losses(t, lost);
        for (size_t i = 0; i < _LOSS_MAX; i++)
                n->lost[i] = lost[i];
}

static void start_group(
        struct tracker_bpf *t, unsigned group, const struct mp_css *css, enum cgroup_layout layout, unsigned heir_of) {
        struct mp_note *g = note_of(t, group);

        *g = (struct mp_note){
                .state = MP_NOTE_ACTIVE, .css = *css, .layout = layout, .heir_of = heir_of, .born = t->bss->generation};
        memcpy(settings_of(t, group)->ancestors, css->ancestors, sizeof(css->ancestors));
        note_losses(t, g);
        g->verified = (int64_t)t->bss->charges_verified;
        g->state_misses = tracker_bpf_misses(t, ON_STATE);
        t->n_active++;
        arm(t, group);
}

void tracker_bpf_set_wish(struct tracker *base, unsigned group, const struct tracker_wish *wish) {
        struct tracker_bpf *t = tracker_bpf_of(base);
        uint64_t user = wish->page_sample > 1 ? wish->page_sample : t->options.user_sample;
        struct mp_group *g = settings_of(t, group);

        if (wish->page_sample == TRACKER_NO_SAMPLES) {
                g->first = 0;
                __atomic_or_fetch(&g->flags, MP_GROUP_UNSAMPLED, __ATOMIC_SEQ_CST);
        }
        set_odds(g->kernel, wish->page_sample ?: PAGE_SAMPLE_DEFAULT);
        set_odds(g->user, user);
}

static void apply_wish(struct tracker_bpf *t, unsigned group, const struct tracker_wish *wish) {
        struct mp_group *g = settings_of(t, group);

        memset(g, 0, sizeof(*g));
        g->first = PAGES_FIRST;
        g->flags = wish->numa ? MP_GROUP_NUMA : 0;
        tracker_bpf_set_wish(&t->base, group, wish);
        if (wish->numa)
                t->bss->nodes_wanted = true;
}

int tracker_bpf_begin(struct tracker *base, const struct cgroup *cgroup, const struct tracker_wish *wish, unsigned *ret_group,
        char **reterr) {
        struct tracker_bpf *t = tracker_bpf_of(base);
        struct mp_css css = {};
        unsigned group;
        int r;

        libbpf_forget_complaint();
        (void)tracker_bpf_trusts_owners(t);
        r = identify(t, cgroup, &css, reterr);
        if (r >= 0)
                r = take_group(t, &group, reterr);
        if (r >= 0 && t->n_active == 0)
                r = tracker_bpf_attach(t, reterr);
        if (r < 0)
                return r;
        apply_wish(t, group, wish);
        start_group(t, group, &css, cgroup->layout, css.group);
        if (t->n_active == 1)
                t->base.ops->renew_lease(base);
        *ret_group = group;
        return 0;
}

int tracker_bpf_renew(struct tracker *base, unsigned group, unsigned *ret_group, char **reterr) {
        struct tracker_bpf *t = tracker_bpf_of(base);
        struct mp_note *old = note_of(t, group), *new;
        unsigned fresh;
        int r;

        r = take_group(t, &fresh, reterr);
        if (r < 0)
                return r;
        new = note_of(t, fresh);
        *settings_of(t, fresh) = *settings_of(t, group);
        settings_of(t, group)->flags |= MP_GROUP_ENDED; /* nobody will say of this one when its cgroup goes */
        if (!old->armed) {                              /* its cgroup is gone: the new one stays empty */
                *new = (struct mp_note){.state = MP_NOTE_ACTIVE,
                        .css = old->css,
                        .layout = old->layout,
                        .heir_of = group,
                        .born = t->bss->generation};
                note_losses(t, new);
                t->n_active++;
        } else {
                old->armed = false;
                start_group(t, fresh, &old->css, (enum cgroup_layout)old->layout, group);
                if (settings_of(t, group)->removal.at_ns) /* in this very moment */
                        *settings_of(t, fresh) = *settings_of(t, group);
        }
        *ret_group = fresh;
        return 0;
}

void tracker_bpf_disarm(struct tracker *base, unsigned group) {
        disarm(tracker_bpf_of(base), group);
}

void tracker_bpf_end(struct tracker *base, unsigned group) {
        struct tracker_bpf *t = tracker_bpf_of(base);

        disarm(t, group);
        note_of(t, group)->state = MP_NOTE_DIRTY;
        if (--t->n_active > 0)
                return;
        tracker_bpf_detach(t);
        t->bss->nodes_wanted = false;
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

/* One run a batch. */
static int fold_counts(struct tracker_bpf *t, const u32 *map, unsigned from, unsigned to) {
        struct mp_fold work = {.from = from, .to = to, .cpus = t->tables.n_cpus};
        int r = 0;

        for (u32 slot = 0; r >= 0 && slot < t->tables.n_slots; slot++) {
                if (tables_group_of_slot(&t->tables, slot) != from)
                        continue;
                t->bss->moves[work.n_moves++] = (struct mp_move){.from = slot, .to = map[slot]};
                if (work.n_moves < MP_MOVES)
                        continue;
                r = tracker_bpf_run(t, RUN_FOLD, &work, sizeof(work));
                work.n_moves = 0;
        }
        work.whole = true;
        return r < 0 ? r : tracker_bpf_run(t, RUN_FOLD, &work, sizeof(work));
}

int tracker_bpf_fold(struct tracker *base, unsigned from, unsigned to) {
        struct tracker_bpf *t = tracker_bpf_of(base);
        _cleanup_free_ u32 *map = NULL;
        int r;

        if (note_of(t, from)->armed)
                return -EBUSY;
        grace_period(); /* whoever still took somebody for a member of `from` */
        r = tables_fold_prepare(&t->tables, from, to, &map);
        if (r < 0)
                return r; /* nothing was moved */
        tables_fold_objects(&t->tables, map, from);
        fold_spill(t, map, from);
        grace_period(); /* whoever was about to book a free at an old slot */
        /* once more: what was spilled or put back meanwhile */
        tables_fold_objects(&t->tables, map, from);
        r = fold_counts(t, map, from, to);
        if (r < 0)
                return r; /* whoever reads both finds the same sums */
        tables_wipe_group(&t->tables, from);
        if (note_of(t, from)->state_misses < note_of(t, to)->state_misses) /* what either missed, their sum lacks */
                note_of(t, to)->state_misses = note_of(t, from)->state_misses;
        return 0;
}

/* ---- keeping --------------------------------------------------------------------------------------------------------------
 */

/* The nearest group that is wanted among those whose cgroup it took over since `generation`; 0: none. */
static unsigned wanted_before(const struct tracker_bpf *t, const bool *wanted, u64 generation, unsigned group) {
        for (unsigned i = 0; i < t->tables.n_groups; i++) {
                const struct mp_note *n = note_of(t, group);

                if (n->state == MP_NOTE_FREE || n->born <= generation || n->heir_of >= t->tables.n_groups || !n->heir_of)
                        return 0;
                group = n->heir_of;
                if (wanted[group])
                        return group;
        }
        return 0;
}

static bool is_root(const struct tracker_bpf *t, unsigned group) {
        return t->bss->root_table[note_of(t, group)->css.id & (MP_CSS_IDS - 1)] == root_entry(t, group);
}

/* There was no room for what an heir had counted: documents of its group say so from now on. */
static void lose_sites(struct tracker_bpf *t, unsigned group) {
        struct mp_group_losses *l = (struct mp_group_losses *)t->tables.group_losses.data + group;

        __atomic_add_fetch(&l->lost[MP_LOSS_SITES_FULL], 1, __ATOMIC_SEQ_CST);
}

/* An heir that nobody knows of gives everything back. */
static void give_back(struct tracker_bpf *t, unsigned heir, unsigned to) {
        bool armed = is_root(t, heir);

        note_of(t, heir)->armed = armed;
        if (note_of(t, heir)->css.serial_nr != note_of(t, to)->css.serial_nr) {
                disarm(t, heir); /* a cgroup below, whose tasks are members of what is above it again */
        } else {
                if (settings_of(t, heir)->removal.at_ns)
                        settings_of(t, to)->removal = settings_of(t, heir)->removal;
                note_of(t, heir)->armed = false;
                if (armed)
                        arm(t, to);
        }
        if (tracker_bpf_fold(&t->base, heir, to) < 0)
                lose_sites(t, to);
        note_of(t, heir)->state = MP_NOTE_DIRTY;
}

static int want(struct tracker_bpf *t, const unsigned *groups, size_t n, bool *wanted, char **reterr) {
        for (size_t i = 0; i < n; i++) {
                if (groups[i] == MP_LIMBO || groups[i] >= t->tables.n_groups || note_of(t, groups[i])->state == MP_NOTE_FREE)
                        return fail(reterr, -ENODATA, "Group %u, which a profile was counted in, is not there any more.",
                                groups[i]);
                wanted[groups[i]] = true;
        }
        return 0;
}

static void settle_groups(struct tracker_bpf *t, const bool *wanted, u64 generation) {
        for (unsigned g = 1; g < t->tables.n_groups; g++) {
                if (!wanted[g])
                        continue;
                note_of(t, g)->state = MP_NOTE_ACTIVE; /* it may have been ended meanwhile, but was not wiped */
                note_of(t, g)->armed = is_root(t, g);
                t->n_active++;
        }
        for (unsigned g = 1; g < t->tables.n_groups; g++) {
                unsigned to = wanted[g] ? 0 : wanted_before(t, wanted, generation, g);

                if (to)
                        give_back(t, g, to);
        }
        for (unsigned g = 1; g < t->tables.n_groups; g++) {
                if (wanted[g] || note_of(t, g)->state == MP_NOTE_FREE)
                        continue;
                note_of(t, g)->armed = is_root(t, g);
                disarm(t, g);
                note_of(t, g)->state = MP_NOTE_DIRTY;
        }
}

int tracker_bpf_keep(struct tracker *base, const unsigned *groups, size_t n, uint64_t generation, char **reterr) {
        struct tracker_bpf *t = tracker_bpf_of(base);
        _cleanup_free_ bool *wanted = calloc(t->tables.n_groups, sizeof(bool));
        int r;

        if (!wanted)
                return -ENOMEM;
        if (!t->adopted)
                return fail(reterr, -ENODATA, "%s", t->left ?: "No former process left anything that counts.");
        r = want(t, groups, n, wanted, reterr);
        if (r < 0)
                memset(wanted, 0, t->tables.n_groups * sizeof(bool));
        settle_groups(t, wanted, generation);
        if (t->n_active == 0)
                tracker_bpf_detach(t);
        tracker_bpf_clean(base);
        return r;
}

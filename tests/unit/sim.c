/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See sim.h. */
#include "unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "measure.h"
#include "sim.h"

#define KERNEL_BEFORE (1 << 20) /* kernel memory of every cgroup that nobody has seen allocated */
#define TEXT UINT64_C(0xffffffff81000000)
#define SIZE 0x1000

static const struct {
        enum site_type type;
        bool charged;
        const char *function;
} sites[_SIM_SITES] = {
        [SIM_CHARGED] = {TYPE_SLAB, true, "charged_site"},
        [SIM_UNCHARGED] = {TYPE_SLAB, false, "uncharged_site"},
        [SIM_PAGES] = {TYPE_PAGE, true, "pages_site"},
        [SIM_SLAB_PAGES] = {TYPE_PAGE, false, NULL},
        [SIM_PERCPU] = {TYPE_PERCPU, true, "percpu_site"},
        [SIM_STACKS] = {TYPE_PAGE, true, NULL},
        [SIM_USER] = {TYPE_USER, true, "user_site"},
};

bool sim_site_charged(enum sim_site site) {
        return sites[site].charged;
}

enum site_type sim_site_type(enum sim_site site) {
        return sites[site].type;
}

const char *sim_site_function(enum sim_site site) {
        return sites[site].function;
}

/* ---- cgroups -------------------------------------------------------------------------------------------------------------
 */

static const char *const files[] = {
        "cgroup.procs", "memory.current", "memory.stat", "memory.usage_in_bytes", "memory.kmem.usage_in_bytes"};

static void write_at(int dir, const char *name, const char *text) {
        _cleanup_close_ int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
}

struct sim_cgroup *sim_mkdir(struct sim *s, struct sim_cgroup *parent, const char *name) {
        struct sim_cgroup *c = calloc(1, sizeof(*c));

        assert_non_null(c);
        c->parent = parent;
        c->path = format("%s/%s", parent ? parent->path : "", name);
        assert_int_equal(mkdirat(parent ? parent->fd : s->fd, name, 0700), 0);
        c->fd = openat(parent ? parent->fd : s->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(c->fd >= 0);
        write_at(c->fd, "cgroup.procs", "");
        c->id = s->n_cgroups + 2;
        c->kernel = KERNEL_BEFORE;
        c->changed = true;
        s->cgroups = reallocarray(s->cgroups, s->n_cgroups + 1, sizeof(struct sim_cgroup *));
        assert_non_null(s->cgroups);
        s->cgroups[s->n_cgroups++] = c;
        return c;
}

static void remove_files(int fd) {
        for (size_t i = 0; i < ELEMENTS(files); i++)
                (void)unlinkat(fd, files[i], 0);
}

void sim_rmdir(struct sim *s, struct sim_cgroup *c) {
        assert_false(c->gone);
        remove_files(c->fd);
        assert_int_equal(unlinkat(c->parent ? c->parent->fd : s->fd, strrchr(c->path, '/') + 1, AT_REMOVEDIR), 0);
        c->gone = true;
        c->kernel_gone = c->kernel;
        c->anon_gone = c->anon;
}

bool sim_is_within(const struct sim_cgroup *inner, const struct sim_cgroup *outer) {
        while (inner && inner != outer)
                inner = inner->parent;
        return inner;
}

struct cgroup *sim_open(const struct sim *s, const struct sim_cgroup *c) {
        struct cgroup *cgroup = calloc(1, sizeof(*cgroup));

        assert_non_null(cgroup);
        *cgroup = (struct cgroup){.path = strdup(c->path), .fd = dup(c->fd), .id = c->id, .layout = s->layout};
        assert_non_null(cgroup->path);
        return cgroup;
}

/* Charges a cgroup and all above it, gone or not. */
static void charge(const struct sim_object *o, int64_t bytes) {
        for (struct sim_cgroup *c = o->cgroup; c && sites[o->site].charged; c = c->parent) {
                c->kernel += o->site == SIM_USER ? 0 : bytes;
                c->anon += o->site == SIM_USER ? bytes : 0;
                c->changed = true;
        }
}

static void publish(const struct sim *s, struct sim_cgroup *c) {
        _cleanup_free_ char *current = format("%lld\n", (long long)(c->kernel + c->anon));
        _cleanup_free_ char *stat = format("anon %lld\nfile 0\nkernel %lld\n", (long long)c->anon, (long long)c->kernel);
        _cleanup_free_ char *kmem = format("%lld\n", (long long)c->kernel);

        write_at(c->fd, s->layout == CGROUP_V2 ? "memory.current" : "memory.usage_in_bytes", current);
        write_at(c->fd, "memory.stat", s->layout == CGROUP_V2 ? stat : "");
        if (s->layout != CGROUP_V2)
                write_at(c->fd, "memory.kmem.usage_in_bytes", kmem);
        c->changed = false;
}

void sim_publish(struct sim *s) {
        for (size_t i = 0; i < s->n_cgroups; i++) {
                if (!s->cgroups[i]->gone && s->cgroups[i]->changed)
                        publish(s, s->cgroups[i]);
        }
}

/* ---- objects -------------------------------------------------------------------------------------------------------------
 */

/* The group that an event in a cgroup belongs to now, less 1; 0: none. */
static unsigned innermost(const struct sim_cgroup *c) {
        while (c && (c->gone || !c->group1))
                c = c->parent;
        return c ? c->group1 : 0;
}

static void move_counters(struct sim *s, const struct sim_object *o, int64_t bytes) {
        unsigned group1 = innermost(o->cgroup);

        charge(o, bytes);
        if (group1 && o->site == SIM_USER)
                s->groups[group1 - 1].anon += bytes;
}

size_t sim_alloc(struct sim *s, struct sim_cgroup *c, enum sim_site site, int64_t bytes, bool untracked) {
        struct sim_object o = {.cgroup = c, .site = site, .bytes = bytes, .born = ++s->moment, .untracked = untracked};
        unsigned group1 = innermost(c);

        assert_false(c->gone);
        if (group1) {
                struct tracker_counts *counts = &s->groups[group1 - 1].counts[site];

                counts->allocated_bytes += bytes;
                counts->allocated_calls++;
                counts->untracked_bytes += untracked ? bytes : 0;
                counts->untracked_calls += untracked;
                o.group1 = untracked ? 0 : group1;
        }
        if (s->n_objects % 64 == 0)
                s->objects = reallocarray(s->objects, s->n_objects + 64, sizeof(*s->objects));
        assert_non_null(s->objects);
        s->objects[s->n_objects] = o;
        move_counters(s, &o, bytes);
        return s->n_objects++;
}

void sim_release(struct sim *s, size_t object) {
        struct sim_object *o = &s->objects[object];
        unsigned group1 = innermost(o->cgroup);

        assert_true(!o->freed);
        o->freed = ++s->moment;
        move_counters(s, o, -o->bytes);
        if (o->group1) {
                s->groups[o->group1 - 1].counts[o->site].freed_bytes += o->bytes;
                s->groups[o->group1 - 1].counts[o->site].freed_calls++;
        } else if (!o->untracked && group1 && sites[o->site].charged && o->site != SIM_USER)
                s->groups[group1 - 1].unmatched += o->bytes; /* inferred: from before any baseline */
}

void sim_release_unseen(struct sim *s, size_t object) {
        struct sim_object *o = &s->objects[object];

        assert_true(!o->freed && o->group1);
        o->freed = ++s->moment;
        o->missed = true;
        move_counters(s, o, -o->bytes);
}

/* ---- the tracker ---------------------------------------------------------------------------------------------------------
 */

static struct sim *of(struct tracker *t) {
        return (struct sim *)t;
}

/* Counts holds: nobody changes groups meanwhile, and each ends. */
static void sim_hold(struct tracker *t, bool on) {
        assert_true(on || of(t)->holds > 0);
        of(t)->holds += on ? 1 : -1u;
}

static struct sim_group *group_of(struct tracker *t, unsigned group) {
        assert_true(group < SIM_GROUPS_MAX && of(t)->groups[group].used);
        return &of(t)->groups[group];
}

static int sim_removal(struct tracker *t, unsigned group, struct tracker_removal *ret) {
        const struct sim_cgroup *c = group_of(t, group)->cgroup;

        if (!of(t)->tells_removals || !c->gone)
                return -ENODATA;
        *ret = (struct tracker_removal){.moved_known = !of(t)->moves_unseen, .moved = c->kernel - c->kernel_gone};
        ret->counters.at_us = of(t)->moment;
        ret->counters.known = 1u << MEMCG_KERNEL | 1u << MEMCG_CURRENT;
        ret->counters.value[MEMCG_KERNEL] = c->kernel_gone;
        ret->counters.value[MEMCG_CURRENT] = c->kernel_gone + c->anon_gone;
        return 0;
}

static bool clean(struct sim *s) {
        bool any = false;

        for (unsigned group = 0; group < SIM_GROUPS_MAX; group++) {
                if (!s->groups[group].dirty)
                        continue;
                for (size_t i = 0; i < s->n_objects; i++)
                        if (s->objects[i].group1 == group + 1)
                                s->objects[i].group1 = 0;
                s->groups[group] = (struct sim_group){};
                any = true;
        }
        return any;
}

static int take_group(struct sim *s, struct sim_cgroup *c, unsigned *ret_group, char **reterr) {
        unsigned i = 0;

        while (i < s->groups_max && (s->groups[i].used || s->groups[i].dirty))
                i++;
        if (i == s->groups_max && clean(s))
                return take_group(s, c, ret_group, reterr);
        if (i == s->groups_max)
                return fail(reterr, -ENOSPC, "All %u groups are taken.", s->groups_max);
        s->groups[i] = (struct sim_group){.used = true, .armed = true, .cgroup = c, .lost = s->lost, .born = s->generation};
        c->group1 = i + 1;
        if (++s->n_groups > s->most_groups)
                s->most_groups = s->n_groups;
        *ret_group = i;
        return 0;
}

static int sim_begin(
        struct tracker *t, const struct cgroup *cgroup, const struct tracker_wish *wish, unsigned *ret_group, char **reterr) {
        struct sim_cgroup *c = NULL;
        unsigned above1;
        int r;

        for (size_t i = 0; i < of(t)->n_cgroups; i++)
                if (of(t)->cgroups[i]->id == cgroup->id)
                        c = of(t)->cgroups[i];
        assert_non_null(c);
        assert_int_equal(of(t)->holds, 0);
        if (c->gone)
                return fail(reterr, -ENODEV, "The cgroup is gone.");
        assert_int_equal(c->group1, 0);
        above1 = innermost(c);
        r = take_group(of(t), c, ret_group, reterr);
        if (r < 0)
                return r;
        of(t)->groups[*ret_group].wish = *wish;
        of(t)->groups[*ret_group].heir_of = above1;
        return 0;
}

static int sim_renew(struct tracker *t, unsigned group, unsigned *ret_group, char **reterr) {
        struct sim_group *g = group_of(t, group);
        int r;

        assert_true(g->armed && g->cgroup->group1 == group + 1 && of(t)->holds == 0);
        of(t)->n_renews++;
        if (g->cgroup->gone)
                return -ENODEV;
        r = take_group(of(t), g->cgroup, ret_group, reterr);
        if (r < 0)
                return r;
        of(t)->groups[*ret_group].wish = g->wish;
        of(t)->groups[*ret_group].heir_of = group + 1;
        g->armed = false;
        return 0;
}

static int sim_fold(struct tracker *t, unsigned from, unsigned to) {
        struct sim_group *f = group_of(t, from), *g = group_of(t, to);

        assert_true(from != to && (!f->armed || f->cgroup->gone) && of(t)->holds == 0);
        of(t)->n_folds++;
        if (of(t)->fold_fails)
                return -ENOSPC;
        for (size_t i = 0; i < _SIM_SITES; i++)
                tracker_counts_add(&g->counts[i], &f->counts[i], 1);
        for (size_t i = 0; i < of(t)->n_objects; i++)
                if (of(t)->objects[i].group1 == from + 1)
                        of(t)->objects[i].group1 = to + 1;
        g->unmatched += f->unmatched;
        g->anon += f->anon;
        memset(f->counts, 0, sizeof(f->counts));
        f->unmatched = f->anon = 0;
        return 0;
}

static void sim_disarm(struct tracker *t, unsigned group) {
        struct sim_group *g = group_of(t, group);

        if (g->cgroup->group1 == group + 1)
                g->cgroup->group1 = 0;
        g->armed = false;
}

static void sim_end(struct tracker *t, unsigned group) {
        assert_int_equal(of(t)->holds, 0);
        sim_disarm(t, group);
        of(t)->groups[group].used = false;
        of(t)->groups[group].dirty = true;
        of(t)->n_groups--;
}

/* ---- from one process to the next ---- */

static uint64_t sim_mark(struct tracker *t) {
        return of(t)->generation++;
}

static void sim_leave(struct tracker *t) {
        of(t)->left = true;
}

static unsigned wanted_before(const struct sim *s, const bool *wanted, uint64_t generation, unsigned group) {
        while (s->groups[group].born > generation && s->groups[group].heir_of) {
                group = s->groups[group].heir_of - 1;
                if (wanted[group])
                        return group;
        }
        return SIM_GROUPS_MAX;
}

static void give_back(struct sim *s, unsigned from, unsigned to) {
        struct sim_group *f = &s->groups[from];

        if (f->cgroup->group1 == from + 1) {
                bool same = f->cgroup == s->groups[to].cgroup;

                f->cgroup->group1 = same ? to + 1 : 0;
                s->groups[to].armed |= same;
        }
        f->used = true;
        f->dirty = f->armed = false;
        assert_int_equal(sim_fold(&s->tracker, from, to), 0);
}

static int sim_keep(struct tracker *t, const unsigned *groups, size_t n, uint64_t generation, char **reterr) {
        struct sim *s = of(t);
        bool wanted[SIM_GROUPS_MAX] = {}, fails = s->fold_fails;

        s->left = false;
        s->fold_fails = false;
        s->n_groups = (unsigned)n;
        for (size_t i = 0; i < n; i++) {
                struct sim_group *g = &s->groups[groups[i]];

                assert_true(g->used || g->dirty); /* else it was given out again before that was written down */
                g->used = wanted[groups[i]] = true;
                g->armed = g->cgroup->group1 == groups[i] + 1;
                g->dirty = false;
        }
        for (unsigned i = 0; i < SIM_GROUPS_MAX; i++) {
                unsigned to = wanted[i] || (!s->groups[i].used && !s->groups[i].dirty)
                                      ? SIM_GROUPS_MAX
                                      : wanted_before(s, wanted, generation, i);

                if (to < SIM_GROUPS_MAX)
                        give_back(s, i, to);
        }
        for (unsigned i = 0; i < SIM_GROUPS_MAX; i++) {
                if (wanted[i] || !s->groups[i].used)
                        continue;
                sim_disarm(t, i);
                s->groups[i].used = false;
                s->groups[i].dirty = true;
        }
        clean(s);
        s->fold_fails = fails;
        return 0;
}

static uint64_t address_of(enum sim_site site) {
        return TEXT + (uint64_t)(site + 4) * SIZE;
}

static struct tracker_row make_row(const struct sim_group *g, enum sim_site site) {
        struct tracker_row row = {.type = sites[site].type,
                .charged = sites[site].charged,
                .live_known = true,
                .estimated = site == SIM_USER,
                .node = -1,
                .n_frames = 1,
                .counts = g->counts[site]};

        row.frames[0] = address_of(site) + 0x10;
        if (site == SIM_STACKS) {
                row.function = "alloc_thread_stack_node";
                row.n_frames = 0;
        }
        if (row.type == TYPE_PAGE && site != SIM_STACKS) {
                row.frames[0] = TEXT + SIZE + 0x10; /* __alloc_pages */
                row.frames[1] = (site == SIM_SLAB_PAGES ? TEXT + 2 * SIZE : address_of(site)) + 0x10;
                row.frames[2] = TEXT + 3 * SIZE + 0x10;
                row.n_frames = 3;
        }
        return row;
}

static int sim_read(struct tracker *t, unsigned group, struct tracker_sample *ret) {
        const struct sim_group *g = group_of(t, group);
        struct tracker_sample sample = {.rows = calloc(_SIM_SITES, sizeof(struct tracker_row))};

        assert_non_null(sample.rows);
        of(t)->n_reads++;
        for (enum sim_site site = 0; site < _SIM_SITES; site++) {
                if (g->counts[site].allocated_calls)
                        sample.rows[sample.n_rows++] = make_row(g, site);
                sample.lost[LOSS_OBJECTS_FULL] += g->counts[site].untracked_calls;
                if (sites[site].type == TYPE_PAGE && sites[site].charged)
                        tracker_counts_add(&sample.pages, &g->counts[site], 1);
        }
        sample.freed_unmatched_bytes = g->unmatched;
        sample.swept_at_us = of(t)->swept_at_us;
        sample.states.known = of(t)->layout == CGROUP_V2 ? 0 : 1u << MEMCG_ANON;
        sample.states.value[MEMCG_ANON] = g->anon;
        sample.lost[LOSS_RECURSION] = of(t)->lost - g->lost;
        *ret = sample;
        return 0;
}

static int sim_sweep(struct tracker *t, struct tracker_sweep *ret) {
        struct tracker_sweep sweep = {.took_us = 7};
        struct timespec now;

        of(t)->n_sweeps++;
        if (of(t)->sweep_unsupported)
                return -ENOTSUP;
        clock_gettime(CLOCK_REALTIME, &now);
        of(t)->swept_at_us = now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
        for (size_t i = 0; i < of(t)->n_objects; i++) {
                struct sim_object *o = &of(t)->objects[i];

                if (!o->missed || !o->group1)
                        continue;
                of(t)->groups[o->group1 - 1].counts[o->site].written_off_bytes += o->bytes;
                of(t)->groups[o->group1 - 1].counts[o->site].written_off_calls++;
                o->group1 = 0;
                sweep.dropped++;
        }
        *ret = sweep;
        return 0;
}

static void sim_clean(struct tracker *t) {
        clean(of(t));
}

static uint64_t sim_footprint(struct tracker *t) {
        return 0;
}

static const struct tracker_ability *sim_abilities(struct tracker *t, size_t *ret_n) {
        *ret_n = 0;
        return NULL;
}

static struct tracker *sim_tracker_free(struct tracker *t) {
        assert_int_equal(of(t)->holds, 0);
        if (!of(t)->left)
                sim_free(of(t));
        return NULL;
}

static const struct tracker_ops sim_ops = {
        .backend = "sim",
        .free = sim_tracker_free,
        .begin = sim_begin,
        .renew = sim_renew,
        .fold = sim_fold,
        .disarm = sim_disarm,
        .end = sim_end,
        .mark = sim_mark,
        .keep = sim_keep,
        .leave = sim_leave,
        .read = sim_read,
        .hold = sim_hold,
        .removal = sim_removal,
        .sweep = sim_sweep,
        .clean = sim_clean,
        .footprint = sim_footprint,
        .abilities = sim_abilities,
};

/* ---- the box -------------------------------------------------------------------------------------------------------------
 */

struct sim *sim_new(enum cgroup_layout layout) {
        struct sim *s = calloc(1, sizeof(*s));

        assert_non_null(s);
        s->tracker.ops = &sim_ops;
        s->layout = layout;
        s->groups_max = SIM_GROUPS_MAX;
        s->groups = calloc(SIM_GROUPS_MAX, sizeof(*s->groups));
        assert_non_null(s->groups);
        /* Counters are written all the time: rather not on a disk. */
        strcpy(s->directory, access("/dev/shm", W_OK) == 0 ? "/dev/shm/memcgprof-XXXXXX" : "/tmp/memcgprof-XXXXXX");
        assert_non_null(mkdtemp(s->directory));
        s->fd = open(s->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(s->fd >= 0);
        return s;
}

struct sim *sim_free(struct sim *s) {
        assert_int_equal(s->n_groups, 0);
        for (size_t i = s->n_cgroups; i-- > 0;) {
                struct sim_cgroup *c = s->cgroups[i];

                if (!c->gone)
                        sim_rmdir(s, c);
        }
        for (size_t i = 0; i < s->n_cgroups; i++) {
                close(s->cgroups[i]->fd);
                free(s->cgroups[i]->path);
                free(s->cgroups[i]);
        }
        close(s->fd);
        assert_int_equal(rmdir(s->directory), 0);
        free(s->cgroups);
        free(s->objects);
        free(s->groups);
        free(s);
        return NULL;
}

void sim_write_symbols(char *path_template) {
        static const char *const first[] = {"_stext", "__alloc_pages", "allocate_slab", "sys_something"};
        _cleanup_close_ int fd = mkstemp(path_template);

        assert_true(fd >= 0);
        for (size_t i = 0; i < ELEMENTS(first); i++)
                assert_true(dprintf(fd, "%016llx T %s\n", (unsigned long long)(TEXT + i * SIZE), first[i]) > 0);
        for (enum sim_site site = 0; site < _SIM_SITES; site++)
                assert_true(dprintf(fd, "%016llx T %s\n", (unsigned long long)address_of(site),
                                    sites[site].function ?: "no_site") > 0);
        assert_true(dprintf(fd, "%016llx T _etext\n", (unsigned long long)address_of(_SIM_SITES)) > 0);
}

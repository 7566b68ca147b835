/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The BPF tracker: reading the tables of bpf/memcgprof.bpf.c, and what it can do. Together with the files tracker-bpf-*.c the
 * only user of libbpf, and the only place in user space that knows differences between kernels' BPF.
 *
 * Invariants: programs are attached exactly while n_active > 0.
 */
#include <fcntl.h>
#include <sys/socket.h>
#include <time.h>

#include "tracker-bpf.h"

#define SPILL_DEFAULT (1u << 15)
#define STACKS_DEFAULT (1u << 14)
#define TAGS_DEFAULT (1u << 13)
#define USER_SAMPLE_DEFAULT (512u << 10)
#define LEASE_DEFAULT_US (UINT64_C(10) * 60 * 1000000)

static int64_t now_us(clockid_t clock) {
        struct timespec ts;

        clock_gettime(clock, &ts);
        return ts.tv_sec * INT64_C(1000000) + ts.tv_nsec / 1000;
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

/* ---- losses ---------------------------------------------------------------------------------------------------------------
 */

/* The engine's. */
void tracker_bpf_losses(const struct tracker_bpf *t, int64_t ret[static _LOSS_MAX]) {
        static const enum loss names[_MP_LOSSES] = {
                [MP_LOSS_LIMBO_FULL] = LOSS_IRQ_UNSEEN,
                [MP_LOSS_GROUP_LOOKUPS] = LOSS_GROUP_LOOKUPS,
                [MP_LOSS_UNSIZED_FREES] = LOSS_UNSIZED_FREES,
                [MP_LOSS_CHARGES] = LOSS_CHARGES,
                [MP_LOSS_BULK_PAGES] = LOSS_BULK_PAGES,
                [MP_LOSS_TAGS_FULL] = LOSS_TAGS_FULL,
        };
        const volatile u64 *losses = (const volatile u64 *)t->bss->losses;

        memset(ret, 0, _LOSS_MAX * sizeof(*ret));
        /* caught first: what is caught meanwhile shows as a loss for a moment, never the other way */
        ret[LOSS_RECURSION] = -(int64_t)t->bss->caught;
        ret[LOSS_RECURSION] += (int64_t)(tracker_bpf_misses(t, ON_FREE) + tracker_bpf_misses(t, ON_HOLE));
        ret[LOSS_IRQ_UNSEEN] = (int64_t)tracker_bpf_misses(t, ON_ALLOCATION);
        ret[LOSS_LEASE] = (int64_t)t->bss->lease_expired;
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
                [ABILITY_PINS] = "survives_daemon",
        };

        for (size_t i = 0; i < _ABILITIES; i++)
                t->abilities[i] = (struct tracker_ability){.name = names[i], .reason = t->reasons[i]};
}

/* What is known once the programs are loaded. */
static void init_abilities(struct tracker_bpf *t) {
        tracker_bpf_set_ability(t, ABILITY_OBJECT_CHECK, false, "no charged allocation has been verified yet");
        tracker_bpf_set_ability(t, ABILITY_LATE_CHARGES, t->rodata->has_charge_hook, "%s",
                t->rodata->has_charge_hook ? "kmem_cache_charge is followed" : "owners of objects cannot be read yet");
        tracker_bpf_set_ability(t, ABILITY_STATES, t->has_states, "%s",
                t->has_states ? "mod_memcg_state and mod_memcg_lruvec_state are followed"
                              : "the kernel has no tracepoints mod_memcg_state and mod_memcg_lruvec_state (6.18 has them)");
        tracker_bpf_set_ability(t, ABILITY_REMOVAL, !t->options.count_only, "%s",
                t->has_cpu_offsets
                        ? "the memcg's counters are read in rmdir(2)"
                        : "page counters are read in rmdir(2); memory.stat's are not, because the kernel has no symbol "
                          "for per-CPU memory (CONFIG_KALLSYMS_ALL)");
        tracker_bpf_set_ability(t, ABILITY_NODES, t->rodata->node_shift < 64, "%s",
                t->rodata->node_shift < 64 ? "the node of a page is read off its flags"
                                           : "the kernel is built for one node only");
}

/* Seen and not asked for: allocations of our own were watched at loading, and what groups allocated since. */
static void look_for_tags(struct tracker_bpf *t) {
        u64 seen = t->bss->tags_made;

        if (t->options.no_tags)
                tracker_bpf_set_ability(t, ABILITY_TAGS, false, "alloc tags are not wanted");
        else if (!t->rodata->has_tags)
                tracker_bpf_set_ability(t, ABILITY_TAGS, false, "the kernel has no alloc tags");
        else if (!seen)
                tracker_bpf_set_ability(t, ABILITY_TAGS, false,
                        "allocations come without their tags, because vm.mem_profiling is off: they are named by their calls");
        else
                tracker_bpf_set_ability(
                        t, ABILITY_TAGS, true, "file and line of each allocation; tags seen: %llu", (unsigned long long)seen);
}

/* The programs decide (verify_charge()); here it becomes a sentence. */
bool tracker_bpf_trusts_owners(struct tracker_bpf *t) {
        const struct memcgprof_bpf__bss *bss = t->bss;
        int64_t wrong = (int64_t)bss->losses[MP_LOSS_CHARGES], verified = (int64_t)bss->charges_verified;

        if (!bss->page_delta || !verified)
                return false;
        if (bss->objects_checked) {
                tracker_bpf_set_ability(t, ABILITY_OBJECT_CHECK, true, "owners read off %lld objects were all as inferred",
                        (long long)verified);
                if (!t->rodata->has_charge_hook)
                        tracker_bpf_set_ability(
                                t, ABILITY_LATE_CHARGES, true, "objects of interrupts are looked at again when they are freed");
                return true;
        }
        if (wrong)
                tracker_bpf_set_ability(t, ABILITY_OBJECT_CHECK, false,
                        "of %lld owners read off objects %lld were not as inferred", (long long)verified, (long long)wrong);
        if (!t->rodata->has_charge_hook)
                tracker_bpf_set_ability(t, ABILITY_LATE_CHARGES, false, "owners of objects cannot be read");
        return false;
}

static const struct tracker_ability *tracker_bpf_abilities(struct tracker *base, size_t *ret_n) {
        (void)tracker_bpf_trusts_owners(tracker_bpf_of(base));
        look_for_tags(tracker_bpf_of(base));
        *ret_n = _ABILITIES;
        return tracker_bpf_of(base)->abilities;
}

/* ---- the spill: a hash, read bucket by bucket, so that whatever comes and goes meanwhile a walk ends -----------------------
 */

bool spill_next(const struct tracker_bpf *t, struct spill_walk *w) {
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

/* ---- reading --------------------------------------------------------------------------------------------------------------
 */

static void read_states(const struct tracker_bpf *t, unsigned group, struct tracker_sample *s) {
        static const enum memcg_counter told[] = {MEMCG_KERNEL, MEMCG_SOCK, MEMCG_VMALLOC, MEMCG_ANON, MEMCG_FILE, MEMCG_SHMEM,
                MEMCG_PAGETABLES, MEMCG_KERNEL_STACK};
        bool complete = t->has_states && !t->options.count_only && t->shared.state_misses == note_of(t, group)->state_misses;

        s->states.at_us = now_us(CLOCK_REALTIME);
        for (size_t i = 0; i < ELEMENTS(told); i++)
                s->states.known |= complete ? 1u << told[i] : 0;
}

static void tracker_bpf_hold(struct tracker *base, bool on) {
        struct shared *shared = &tracker_bpf_of(base)->shared;

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
        tracker_bpf_losses(t, shared->lost);
        shared->state_misses = tracker_bpf_misses(t, ON_STATE);
        shared->known = true;
        return 0;
}

static int tracker_bpf_read(struct tracker *base, unsigned group, struct tracker_sample *ret) {
        struct tracker_bpf *t = tracker_bpf_of(base);
        struct tracker_sample sample = {};
        int r;

        (void)tracker_bpf_trusts_owners(t);
        r = read_group(t, group, &sample);
        if (r < 0)
                return r;
        sample.tagging = t->bss->tags_made > 0;
        read_states(t, group, &sample);
        for (size_t i = 0; i < _LOSS_MAX; i++)
                sample.lost[i] += t->shared.lost[i] - note_of(t, group)->lost[i];
        /* what the second program caught may have been served by the first before another interrupt came */
        if (sample.lost[LOSS_RECURSION] < 0)
                sample.lost[LOSS_RECURSION] = 0;
        sample.charges_verified = (int64_t)t->bss->charges_verified - note_of(t, group)->verified;
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
        if (note_of(t, group)->layout != CGROUP_V2) {
                set_pages(&c, MEMCG_KERNEL, charges->kmem);
                set_pages(&c, MEMCG_SOCK, charges->tcpmem);
        } else if (t->has_cpu_offsets) {
                set_pages(&c, MEMCG_KERNEL, charges->kernel);
                c.value[MEMCG_ZSWAP] = charges->zswap;
                c.known |= charges->zswap != MP_UNKNOWN ? 1u << MEMCG_ZSWAP : 0;
        }
        return c;
}

/* Asks what the removed memcg is charged now. -ENODATA when it is past being asked. */
static int look_again(const struct tracker_bpf *t, unsigned group, struct memcg_counters *ret) {
        const struct mp_removal *removal = &settings_of(t, group)->removal;
        struct mp_look look = {.memcg = removal->memcg, .serial_nr = removal->serial_nr}, states = look;
        int r = tracker_bpf_run(t, RUN_COUNTERS, &look, sizeof(look));

        if (r >= 0 && t->has_cpu_offsets) {
                r = tracker_bpf_run(t, RUN_STATES, &states, sizeof(states));
                look.charges.kernel = states.charges.kernel;
                look.charges.zswap = states.charges.zswap;
        }
        if (r < 0)
                return r;
        *ret = counters_of(t, group, &look.charges);
        return look.online ? 0 : -ENODATA;
}

static int tracker_bpf_removal(struct tracker *base, unsigned group, struct tracker_removal *ret) {
        struct tracker_bpf *t = tracker_bpf_of(base);
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

/* One run a batch. */
static int sweep_spill(struct tracker_bpf *t, struct tracker_sweep *total) {
        struct spill_walk w = {};
        int r = 0;

        while (r >= 0 && spill_next(t, &w)) {
                struct mp_sweep work = {.n_spilled = w.n};

                for (u32 i = 0; i < w.n; i++) {
                        t->bss->spill_batch[i].key = w.keys[i];
                        t->bss->spill_batch[i].value = w.values[i];
                }
                r = tracker_bpf_run(t, RUN_SWEEP, &work, sizeof(work));
                total->checked += (int64_t)work.checked;
                total->dropped += (int64_t)work.dropped;
        }
        return r;
}

static int tracker_bpf_sweep(struct tracker *base, struct tracker_sweep *ret) {
        struct tracker_bpf *t = tracker_bpf_of(base);
        struct mp_sweep work = {.sets = (u32)t->tables.n_sets};
        struct tracker_sweep total = {};
        int64_t start = now_us(CLOCK_MONOTONIC);
        int r;

        if (t->options.count_only || !tracker_bpf_trusts_owners(t))
                return -ENOTSUP;
        r = tracker_bpf_run(t, RUN_SWEEP, &work, sizeof(work));
        if (r < 0)
                return r;
        total.checked = (int64_t)work.checked;
        total.dropped = (int64_t)work.dropped;
        r = t->bss->spilled ? sweep_spill(t, &total) : 0;
        if (r < 0)
                return r;
        total.took_us = now_us(CLOCK_MONOTONIC) - start;
        t->swept_at_us = now_us(CLOCK_REALTIME);
        *ret = total;
        return 0;
}

/* ---- learning --------------------------------------------------------------------------------------------------------------
 */

/* A ring for 256 pipe buffers is a kmalloc of 10 KiB or more: straight from the page allocator, with one page event before. */
static int allocate_a_large_one(void) {
        int fds[2], r = 0;

        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;
        if (fcntl(fds[0], F_SETPIPE_SZ, 1 << 20) < 0)
                r = -errno;
        close(fds[0]);
        close(fds[1]);
        return r;
}

/* Objects of several caches and orders, charged and not, for the owners to be read off: whatever is left is freed at once. */
static void allocate_small_ones(void) {
        for (size_t i = 0; i < 4; i++) {
                int fds[2];

                if (pipe2(fds, O_CLOEXEC) >= 0) {
                        close(fds[0]);
                        close(fds[1]);
                }
                if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) >= 0) {
                        close(fds[0]);
                        close(fds[1]);
                }
        }
}

/* Where the kernel keeps its page structures, from an allocation of this thread; without it owners cannot be read. */
static int learn(struct tracker_bpf *t, char **reterr) {
        struct bpf_program *programs[] = {t->skel->progs.learn_page, t->skel->progs.learn_kmalloc, t->skel->progs.learn_cache};
        struct bpf_link *links[ELEMENTS(programs)] = {};
        int r = 0;

        t->bss->learn_tid = (u32)gettid();
        for (size_t i = 0; i < ELEMENTS(programs) && r >= 0; i++) {
                links[i] = bpf_program__attach(programs[i]);
                r = links[i] ? 0 : -errno;
        }
        if (r >= 0)
                r = allocate_a_large_one();
        if (r >= 0)
                allocate_small_ones();
        for (size_t i = 0; i < ELEMENTS(links); i++)
                bpf_link__destroy(links[i]);
        t->bss->learn_tid = 0;
        if (r < 0)
                return fail(reterr, r, "no allocations of our own could be watched: %s", strerror(-r));
        if (!t->bss->page_delta)
                return fail(reterr, -ENODATA, "a large allocation of our own was not seen");
        return 0;
}

/* ---- the tracker ----------------------------------------------------------------------------------------------------------
 */

/* The same ones again, after a restart, while programs run: none is missing for a moment. */
static void tracker_bpf_set_wrappers(struct tracker *base, const struct tracker_range *ranges, size_t n) {
        struct memcgprof_bpf__bss *bss = tracker_bpf_of(base)->bss;

        if (n > MP_WRAPPERS)
                n = MP_WRAPPERS;
        for (size_t i = 0; i < n; i++) {
                bss->wrappers[i].start = ranges[i].start;
                bss->wrappers[i].end = ranges[i].end;
        }
        bss->n_wrappers = (u32)n;
}

static int tracker_bpf_cost(struct tracker *base, bool on, uint64_t *ret_ns) {
        struct tracker_bpf *t = tracker_bpf_of(base);

        if (on && t->stats_fd < 0) {
                t->stats_fd = bpf_enable_stats(BPF_STATS_RUN_TIME);
                if (t->stats_fd < 0)
                        return -errno;
                t->stats_ns = tracker_bpf_run_time(t);
        }
        if (on)
                return 0;
        if (t->stats_fd < 0)
                return -EINVAL;
        *ret_ns = tracker_bpf_run_time(t) - t->stats_ns;
        close(t->stats_fd);
        t->stats_fd = -1;
        return 0;
}

/* A process that is chosen twice is the same one, or its number is given out again and the former one's end was read. */
static int tracker_bpf_follow_exit(struct tracker *base, pid_t pid, bool on) {
        struct tracker_bpf *t = tracker_bpf_of(base);
        int fd = bpf_map__fd(t->skel->maps.exits);
        struct mp_exit none = {};
        u32 key = (u32)pid;

        if (!t->has_stack_areas) /* its program is not loaded */
                return -ENOTSUP;
        if (on ? bpf_map_update_elem(fd, &key, &none, BPF_NOEXIST) < 0 : bpf_map_delete_elem(fd, &key) < 0)
                return errno == EEXIST || errno == ENOENT ? 0 : errno == E2BIG ? -ENOSPC : -errno;
        __atomic_add_fetch(&t->bss->exits_followed, on ? 1u : -1u, __ATOMIC_SEQ_CST);
        return 0;
}

static int tracker_bpf_exit_of(struct tracker *base, pid_t pid, int *ret_status) {
        const struct tracker_bpf *t = tracker_bpf_of(base);
        struct mp_exit e;
        u32 key = (u32)pid;

        if (bpf_map_lookup_elem(bpf_map__fd(t->skel->maps.exits), &key, &e) < 0 || !e.done)
                return -ENODATA;
        *ret_status = (int)e.status;
        return 0;
}

static uint64_t tracker_bpf_mark(struct tracker *base) {
        const struct tracker_bpf *t = tracker_bpf_of(base);

        return t->pins ? t->bss->generation++ : 0;
}

static void tracker_bpf_leave(struct tracker *base) {
        tracker_bpf_of(base)->leaves = true;
}

/* A test run of this kind of program wants a packet. */
static void tracker_bpf_renew_lease(struct tracker *base) {
        struct tracker_bpf *t = tracker_bpf_of(base);
        char packet[64] = {};
        LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = packet, .data_size_in = sizeof(packet));

        if (!t->pins || t->n_active == 0)
                return;
        t->bss->lease_ns = (t->options.lease_us ?: LEASE_DEFAULT_US) * 1000;
        if (t->options.lease_us != UINT64_MAX)
                (void)bpf_prog_test_run_opts(t->runs[RUN_LEASE], &options);
        if (!t->bss->abandoned)
                return;
        t->bss->abandoned = false;
        __atomic_add_fetch(&t->bss->epoch, 1, __ATOMIC_SEQ_CST);
}

static uint64_t tracker_bpf_footprint(struct tracker *base) {
        struct tracker_bpf *t = tracker_bpf_of(base);
        struct tracker_options options = t->options;
        struct tracker_memory memory;

        options.no_tags = !t->rodata->has_tags;
        tracker_memory(&options, t->tables.n_cpus, &memory);
        return memory.total;
}

static struct tracker *tracker_bpf_free(struct tracker *base) {
        struct tracker_bpf *t = tracker_bpf_of(base);

        closep(&t->stats_fd);
        tracker_bpf_unload(t);
        free(t->left);
        free(t);
        return NULL;
}

static const struct tracker_ops tracker_bpf_ops = {
        .backend = "bpf-tracepoints",
        .free = tracker_bpf_free,
        .begin = tracker_bpf_begin,
        .renew = tracker_bpf_renew,
        .set_wish = tracker_bpf_set_wish,
        .cost = tracker_bpf_cost,
        .fold = tracker_bpf_fold,
        .disarm = tracker_bpf_disarm,
        .set_wrappers = tracker_bpf_set_wrappers,
        .end = tracker_bpf_end,
        .follow_exit = tracker_bpf_follow_exit,
        .exit_of = tracker_bpf_exit_of,
        .mark = tracker_bpf_mark,
        .keep = tracker_bpf_keep,
        .leave = tracker_bpf_leave,
        .renew_lease = tracker_bpf_renew_lease,
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

        _Static_assert(_LOSS_MAX <= ELEMENTS(((struct mp_note *)0)->lost), "a note has room for each");
        if (!t)
                return -ENOMEM;
        t->base.ops = &tracker_bpf_ops;
        t->pins_lock = t->stats_fd = -1;
        memset(t->runs, 0xff, sizeof(t->runs));
        memset(t->hooks, 0xff, sizeof(t->hooks));
        memset(t->holes, 0xff, sizeof(t->holes));
        n_cpus = libbpf_num_possible_cpus();
        if (n_cpus < 0) {
                free(t);
                return fail(reterr, n_cpus, "The number of CPUs cannot be read: %s.", strerror(-n_cpus));
        }
        complete_options(t, options, (unsigned)n_cpus);
        name_abilities(t);
        r = tracker_bpf_load(t, reterr);
        if (r < 0) {
                tracker_bpf_free(&t->base);
                return r;
        }
        init_abilities(t);
        if (!t->options.count_only && !t->adopted && learn(t, &why) < 0)
                tracker_bpf_set_ability(t, ABILITY_OBJECT_CHECK, false, "%s", why ?: "out of memory");
        *ret = &t->base;
        return 0;
}

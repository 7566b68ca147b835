/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What every tracker shares: losses and types with their names, which documents and tables print. */
#include "tracker-tables.h"

static const struct {
        const char *name;
        bool own; /* told by group; else by the engine */
} losses[_LOSS_MAX] = {
        [LOSS_RECURSION] = {"recursion_misses", false},
        [LOSS_IRQ_UNSEEN] = {"irq_unseen", false},
        [LOSS_OBJECTS_FULL] = {"object_table_full", true},
        [LOSS_SITES_FULL] = {"site_table_full", true},
        [LOSS_STACKS_FULL] = {"stack_table_full", true},
        [LOSS_STACK_ERRORS] = {"stack_errors", true},
        [LOSS_STACK_MIXED] = {"stack_collisions", true},
        [LOSS_GROUP_LOOKUPS] = {"group_lookups", false},
        [LOSS_MISSED_FREES] = {"missed_frees", true},
        [LOSS_UNSIZED_FREES] = {"unsized_frees", false},
        [LOSS_CHARGES] = {"charge_mismatches", false},
        [LOSS_BULK_PAGES] = {"bulk_pages", false},
        [LOSS_TAGS_FULL] = {"tag_table_full", false},
        [LOSS_LEASE] = {"lease_expired", false},
};

static const char *const type_names[_TYPE_MAX] = {
        [TYPE_SLAB] = "slab",
        [TYPE_PAGE] = "page",
        [TYPE_USER] = "user",
        [TYPE_PERCPU] = "percpu",
        [TYPE_VMALLOC] = "vmalloc",
};

const char *loss_name(enum loss l) {
        return losses[l].name;
}

bool loss_is_own(enum loss l) {
        return losses[l].own;
}

bool lost_names(const int64_t lost[static _LOSS_MAX]) {
        return lost[LOSS_SITES_FULL] || lost[LOSS_STACKS_FULL] || lost[LOSS_STACK_ERRORS] || lost[LOSS_STACK_MIXED];
}

const char *site_type_to_string(enum site_type t) {
        return t < _TYPE_MAX ? type_names[t] : NULL;
}

void tracker_counts_add(struct tracker_counts *a, const struct tracker_counts *b, int sign) {
        a->allocated_bytes += sign * b->allocated_bytes;
        a->allocated_calls += sign * b->allocated_calls;
        a->freed_bytes += sign * b->freed_bytes;
        a->freed_calls += sign * b->freed_calls;
        a->written_off_bytes += sign * b->written_off_bytes;
        a->written_off_calls += sign * b->written_off_calls;
        a->untracked_bytes += sign * b->untracked_bytes;
        a->untracked_calls += sign * b->untracked_calls;
}

int64_t tracker_counts_live(const struct tracker_counts *c) {
        return c->allocated_bytes - c->freed_bytes - c->written_off_bytes - c->untracked_bytes;
}

int64_t tracker_counts_live_calls(const struct tracker_counts *c) {
        return c->allocated_calls - c->freed_calls - c->written_off_calls - c->untracked_calls;
}

/* ---- memory ---------------------------------------------------------------------------------------------------------------
 */

#define GROUPS_DEFAULT 1024
#define OBJECTS_DEFAULT (1u << 20)
#define TAGS_DEFAULT (1u << 13) /* as many as a kernel with all its modules has, about */
#define SITES_MAX (1u << 17)
#define SITES_MIN (1u << 10)

/* What the per-CPU counters of the pool may take: with many CPUs there are fewer sites. */
#define COUNTS_MAX_BYTES (128ull << 20)

static uint32_t power_of_two(uint32_t n) {
        uint32_t p = 1;

        while (p < n)
                p <<= 1;
        return p;
}

static uint32_t sites_for(unsigned cpus) {
        uint32_t sites = SITES_MAX;

        while (sites > SITES_MIN && (uint64_t)sites * cpus * sizeof(struct mp_counts) > COUNTS_MAX_BYTES)
                sites /= 2;
        return sites;
}

void tracker_memory(const struct tracker_options *o, unsigned cpus, struct tracker_memory *ret) {
        struct tracker_memory m = {.groups = o->groups ?: GROUPS_DEFAULT};
        uint64_t spill = o->spill ?: 1u << 15, stacks = power_of_two(o->stacks ?: 1u << 14);

        m.sites = o->sites ? power_of_two(o->sites < MP_SITES ? o->sites : MP_SITES) : sites_for(cpus);
        m.objects = power_of_two(o->objects ?: OBJECTS_DEFAULT);
        if (m.objects < MP_WAYS)
                m.objects = MP_WAYS;
        m.per_site = sizeof(struct mp_site) + sizeof(struct mp_rare) + (uint64_t)cpus * sizeof(struct mp_counts);
        m.per_group = sizeof(struct mp_group) + MP_CATCH_ALLS * sizeof(struct mp_rare) + sizeof(struct mp_group_losses) +
                      sizeof(struct mp_note) + (uint64_t)cpus * sizeof(struct mp_group_counts);
        m.total = (o->no_tags ? 0 : power_of_two(o->tags ?: TAGS_DEFAULT) * sizeof(struct mp_alloc_tag)) +
                  (m.groups + 1) * m.per_group + m.sites * m.per_site + m.objects / MP_WAYS * sizeof(struct mp_set) +
                  stacks * sizeof(struct mp_stack) + spill * 64 /* a hash element with its key, value and links */ +
                  MP_EXITS * 64 + 2 * MP_CSS_IDS * sizeof(u64) + MP_CPUS * sizeof(struct mp_cpu);
        *ret = m;
}

void tracker_sample_done(struct tracker_sample *s) {
        free(s->rows);
        *s = (struct tracker_sample){};
}

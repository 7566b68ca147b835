/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The tables that the BPF programs and we share, as plain memory: reading a group out of them, wiping what ended groups left,
 * folding one group into another. No libbpf and no system call in here, so that 131072 slots are read in a moment.
 *
 * Invariants: programs write meanwhile, so every access to what they write is one load, store or atomic; freed counters are
 * read before allocated ones.
 */
#pragma once

#include "tracker.h"

typedef uint64_t u64;
typedef uint32_t u32;
#include "bpf/shared.h"

/* One mapped table. */
struct table {
        void *data;
        size_t bytes;
};

struct tables {
        struct table objects, sites, stacks, alloc_tags, counts, rare, group_counts, group_losses, groups;
        unsigned n_cpus, n_sites, n_slots, n_stacks, n_tags, n_groups;
        size_t n_sets;
        bool count_only;
        u64 *sites_made; /* rises when a program makes a site */
        u64 *sites_used; /* a bit for each site */

        /* Which slots a group has: rebuilt when a site was made or slots were wiped since. */
        u32 *listed;     /* all used slots, by group */
        u32 *found;      /* the same, unsorted; and their groups */
        u32 *list_start; /* [group], n_groups + 1 */
        u64 listed_at;   /* sites_made + 1 then; 0: never */
};

void tables_done(struct tables *t); /* the lists only: mappings belong to who made them */

/* Brings the lists up to date. Only what they know is read. -ENOMEM. */
int tables_list(struct tables *t);

/* How many slots of the site table are in use, after tables_list(). */
u32 tables_used(const struct tables *t);

/* Rows, counts and own losses of a group, after tables_list(); what the engine lost and times are left to the caller. -ENOMEM.
 */
int tables_read(const struct tables *t, unsigned group, struct tracker_sample *ret);

/* The group that a slot belongs to; MP_LIMBO for a slot that is not in use. */
unsigned tables_group_of_slot(const struct tables *t, u32 slot);

/*
 * Takes the objects, slots and counters of all groups with dirty[group] out. After a grace period only, and with another one
 * between objects and slots.
 */
void tables_wipe(struct tables *t, const bool *dirty, void (*grace)(void));

/* Gives the places of stacks back that no site names, when the table is more than half full. Calls `grace` between looks. */
void tables_retire_stacks(struct tables *t, void (*grace)(void));

/*
 * A fold in four steps. First every slot of `from` gets one in `to`: ret_map[slot], n_slots long, owned by the caller; -ENOSPC
 * when there is no room, and nothing was moved. Then objects are moved, slot by slot; a program that is at one just now may
 * book its free at the old slot still, so that counters are moved only after another grace period, by a program (fold.bpf.h).
 * Last the slots of `from`, which count nothing any more, are given back.
 */
int tables_fold_prepare(struct tables *t, unsigned from, unsigned to, u32 **ret_map);
u64 tables_fold_value(const struct tables *t, const u32 *map, unsigned from, u64 value); /* as it is after the move */
void tables_fold_objects(struct tables *t, const u32 *map, unsigned from);
void tables_wipe_group(struct tables *t, unsigned group);

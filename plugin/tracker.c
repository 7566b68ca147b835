/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What every tracker shares: the names of losses and types, which documents and tables print. */
#include "tracker.h"

static const char *const loss_names[_LOSS_MAX] = {
        [LOSS_RECURSION] = "recursion_misses",
        [LOSS_IRQ_UNSEEN] = "irq_unseen",
        [LOSS_OBJECTS_FULL] = "object_table_full",
        [LOSS_SITES_FULL] = "site_table_full",
        [LOSS_STACKS_FULL] = "stack_table_full",
        [LOSS_STACK_ERRORS] = "stack_errors",
        [LOSS_STACK_MIXED] = "stack_collisions",
        [LOSS_GROUP_LOOKUPS] = "group_lookups",
        [LOSS_MISSED_FREES] = "missed_frees",
        [LOSS_UNSIZED_FREES] = "unsized_frees",
        [LOSS_CHARGES] = "charge_mismatches",
};

static const char *const type_names[_TYPE_MAX] = {
        [TYPE_SLAB] = "slab",
        [TYPE_PAGE] = "page",
        [TYPE_USER] = "user",
        [TYPE_PERCPU] = "percpu",
        [TYPE_VMALLOC] = "vmalloc",
};

const char *loss_name(enum loss l) {
        return loss_names[l];
}

const char *site_type_to_string(enum site_type t) {
        return t < _TYPE_MAX ? type_names[t] : NULL;
}

void tracker_memory(const struct tracker_options *options, unsigned cpus, struct tracker_memory *ret) {
        *ret = (struct tracker_memory){}; /* filled in with the pool */
}

void tracker_sample_done(struct tracker_sample *s) {
        free(s->rows);
        *s = (struct tracker_sample){};
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The registry of groups: at most one in this version.
 *
 * Invariants: the place is either free, or held by one cgroup id, or kept by one that has ended and gives way to anyone. No
 * call here asks a kernel or a clock, and a refused call changes nothing.
 */
#include "group.h"
#include "text.h"

#define SHOWN_MAX 120
#define NO_MULTI "the mode multi is not part of this version: use auto or single"

struct groups {
        enum mode mode;
        bool taken; /* the members below hold */
        uint64_t id;
        char *name; /* as the caller calls it, escaped */
        bool ended;
};

struct groups *groups_new(void) {
        struct groups *g = calloc(1, sizeof *g);

        if (g)
                g->mode = MODE_AUTO;
        return g;
}

struct groups *groups_free(struct groups *g) {
        if (g)
                free(g->name);
        free(g);
        return NULL;
}

static bool busy(const struct groups *g) {
        return g->taken && !g->ended;
}

/* Whether a profile may ask for this mode now. */
static int check_mode(const struct groups *g, enum mode wanted, char **reterr) {
        if (g->mode == MODE_OFF)
                return fail(reterr, -ECANCELED,
                        "Profiling is switched off on this machine (mode off): set the mode to auto first.");
        switch (wanted) {
        case MODE_AUTO:
        case MODE_SINGLE:
                return 0;
        case MODE_MULTI:
                return fail(reterr, -EOPNOTSUPP, NO_MULTI);
        case MODE_OFF:
        case _MODE_MAX:
        default:
                return fail(reterr, -EINVAL, "A profile cannot be started with the mode off.");
        }
}

int groups_admit(struct groups *g, uint64_t id, const char *name, enum mode wanted, uint64_t *ret_replaced, char **reterr) {
        char *shown;
        int r;

        r = check_mode(g, wanted, reterr);
        if (r < 0)
                return r;
        if (g->taken && g->id == id)
                return fail(reterr, -EEXIST, "%s is being profiled already.", g->name);
        if (busy(g))
                return fail(reterr, -EBUSY,
                        "%s is being profiled and this version measures one group at a time: stop it first.", g->name);
        shown = text_escape(name, strlen(name), SHOWN_MAX);
        if (!shown)
                return fail(reterr, -ENOMEM, "Out of memory.");
        *ret_replaced = g->taken ? g->id : 0;
        free(g->name);
        *g = (struct groups){.mode = g->mode, .taken = true, .id = id, .name = shown};
        return 0;
}

void groups_mark_ended(struct groups *g, uint64_t id) {
        if (g->taken && g->id == id)
                g->ended = true;
}

void groups_remove(struct groups *g, uint64_t id) {
        if (!g->taken || g->id != id)
                return;
        free(g->name);
        *g = (struct groups){.mode = g->mode};
}

int groups_set_mode(struct groups *g, enum mode mode, char **reterr) {
        switch (mode) {
        case MODE_OFF:
        case MODE_AUTO:
        case MODE_SINGLE:
                /* One group alone runs as single whatever it was admitted with, so nothing that runs contradicts these. */
                g->mode = mode;
                return 0;
        case MODE_MULTI:
                return fail(reterr, -EOPNOTSUPP, NO_MULTI);
        case _MODE_MAX:
        default:
                return fail(reterr, -EINVAL, "That is no mode.");
        }
}

enum mode groups_mode(const struct groups *g) {
        return g->mode;
}

enum mode groups_effective_mode(const struct groups *g) {
        if (g->mode == MODE_OFF)
                return MODE_OFF;
        return busy(g) ? MODE_SINGLE : MODE_AUTO;
}

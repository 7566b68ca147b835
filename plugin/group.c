/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The registry of groups. Linear searches: there are a thousand at most, and nothing here is asked per event.
 *
 * Invariants: no cgroup id twice; while an active group asked for `single`, or the mode is single, no other is active, but for
 * those that the caller was told to end; a refused call changes nothing.
 */
#include "group.h"
#include "text.h"

#define SHOWN_MAX 120
#define NOBODY UINT64_MAX /* no cgroup has this id */

struct group {
        uint64_t id;
        char *name; /* escaped */
        enum mode wanted;
        bool host;
        uint64_t ended; /* 0: active; else the number of its end, counted from 1 */
};

struct groups {
        enum mode mode;
        size_t max;
        struct group *items;
        size_t n;
        uint64_t ends;
};

struct groups *groups_new(void) {
        struct groups *g = calloc(1, sizeof *g);

        if (!g)
                return NULL;
        g->mode = MODE_AUTO;
        g->max = GROUPS_MAX_DEFAULT;
        return g;
}

struct groups *groups_free(struct groups *g) {
        if (!g)
                return NULL;
        for (size_t i = 0; i < g->n; i++)
                free(g->items[i].name);
        free(g->items);
        free(g);
        return NULL;
}

void groups_set_max(struct groups *g, size_t max) {
        g->max = max;
}

size_t groups_max(const struct groups *g) {
        return g->max;
}

static struct group *find(const struct groups *g, uint64_t id) {
        for (size_t i = 0; i < g->n; i++)
                if (g->items[i].id == id)
                        return &g->items[i];
        return NULL;
}

/* How many run beside the group `id`. */
static size_t count_others(const struct groups *g, uint64_t id) {
        size_t n = 0;

        for (size_t i = 0; i < g->n; i++)
                n += !g->items[i].ended && g->items[i].id != id;
        return n;
}

static size_t count_active(const struct groups *g) {
        return count_others(g, NOBODY);
}

static const struct group *find_active(const struct groups *g, enum mode wanted) {
        for (size_t i = 0; i < g->n; i++)
                if (!g->items[i].ended && (wanted == _MODE_MAX || g->items[i].wanted == wanted))
                        return &g->items[i];
        return NULL;
}

static const struct group *oldest_ended(const struct groups *g) {
        const struct group *oldest = NULL;

        for (size_t i = 0; i < g->n; i++)
                if (g->items[i].ended && (!oldest || g->items[i].ended < oldest->ended))
                        oldest = &g->items[i];
        return oldest;
}

/* Whether the machine's mode lets a group ask for this at all. */
static int check_mode(const struct groups *g, enum mode wanted, char **reterr) {
        if (wanted != MODE_AUTO && wanted != MODE_SINGLE && wanted != MODE_MULTI)
                return fail(reterr, -EINVAL, "A profile cannot be started with the mode off.");
        if (g->mode == MODE_OFF)
                return fail(reterr, -ECANCELED,
                        "Profiling is switched off on this machine (mode off): call SetMode with auto first.");
        if (g->mode == MODE_MULTI && wanted == MODE_SINGLE)
                return fail(reterr, -ECANCELED,
                        "The mode is multi, where groups share the engine and none holds it alone: ask for auto, or call "
                        "SetMode with auto first.");
        return 0;
}

/* Refuses `id` (or NOBODY) because `x` runs. */
static int busy(const struct groups *g, const struct group *x, uint64_t id, char **reterr) {
        size_t more = count_others(g, id) - 1;

        if (x->wanted == MODE_SINGLE)
                return fail(
                        reterr, -EBUSY, "%s is being profiled and holds the engine alone (single): stop it first.", x->name);
        if (g->mode == MODE_SINGLE)
                return fail(reterr, -EBUSY,
                        "%s is being profiled, and in the mode single one group holds the engine: stop it first, or call "
                        "SetMode with auto.",
                        x->name);
        if (more == 0)
                return fail(reterr, -EBUSY, "%s is being profiled, and single needs the engine alone: stop it first.", x->name);
        return fail(reterr, -EBUSY, "%s and %zu more are being profiled, and single needs the engine alone: stop them first.",
                x->name, more);
}

/*
 * Whether a group with this id and word may run beside those that do. *ret_host: the host's profile, if it has to give way;
 * else NULL.
 */
static int check_others(const struct groups *g, uint64_t id, enum mode wanted, const struct group **ret_host, char **reterr) {
        bool alone = wanted == MODE_SINGLE || g->mode == MODE_SINGLE;
        const struct group *host = NULL;

        for (size_t i = 0; i < g->n; i++) {
                const struct group *x = &g->items[i];

                if (x->ended || x->id == id)
                        continue;
                if (x->wanted == MODE_SINGLE || (alone && !x->host))
                        return busy(g, x, id, reterr);
                if (alone)
                        host = x;
        }
        *ret_host = host;
        return 0;
}

static void leave(struct groups_leaving *leaving, const struct group *x) {
        if (x)
                leaving->ids[leaving->n++] = x->id;
}

/* A place for one more, with the host's profile gone if it has to. */
static int make_room(const struct groups *g, struct groups_leaving *leaving, char **reterr) {
        const struct group *ended = oldest_ended(g);

        if (g->n - leaving->n < g->max)
                return 0;
        if (!ended)
                return fail(reterr, -ENOSPC,
                        "%zu groups are being profiled, as many as this daemon may have (its option --groups-max): stop one "
                        "first.",
                        g->n);
        leave(leaving, ended);
        return 0;
}

static int add(struct groups *g, const struct group_request *q) {
        struct group *grown = reallocarray(g->items, g->n + 1, sizeof *grown);
        char *name;

        if (!grown)
                return -ENOMEM;
        g->items = grown;
        name = text_escape(q->name, strlen(q->name), SHOWN_MAX);
        if (!name)
                return -ENOMEM;
        g->items[g->n++] = (struct group){.id = q->id, .name = name, .wanted = q->wanted, .host = q->host};
        return 0;
}

int groups_admit(struct groups *g, const struct group_request *q, struct groups_leaving *ret_leaving, char **reterr) {
        struct groups_leaving leaving = {};
        const struct group *host, *same = find(g, q->id);
        int r;

        r = check_mode(g, q->wanted, reterr);
        if (r < 0)
                return r;
        if (same)
                return fail(reterr, -EEXIST, "%s is being profiled already.", same->name);
        r = check_others(g, q->id, q->wanted, &host, reterr);
        if (r < 0)
                return r;
        leave(&leaving, host);
        r = make_room(g, &leaving, reterr);
        if (r < 0)
                return r;
        r = add(g, q);
        if (r < 0)
                return fail(reterr, r, "Out of memory.");
        *ret_leaving = leaving;
        return 0;
}

int groups_restore(struct groups *g, const struct group_request *q, bool ended) {
        int r;

        if (find(g, q->id))
                return -EEXIST;
        r = add(g, q);
        if (r >= 0 && ended)
                groups_mark_ended(g, q->id);
        return r;
}

int groups_change(struct groups *g, uint64_t id, enum mode wanted, struct groups_leaving *ret_leaving, char **reterr) {
        struct groups_leaving leaving = {};
        struct group *x = find(g, id);
        const struct group *host;
        int r;

        if (!x || x->ended)
                return fail(reterr, -ENXIO, "That group is not being profiled.");
        r = check_mode(g, wanted, reterr);
        if (r < 0)
                return r;
        r = check_others(g, id, wanted, &host, reterr);
        if (r < 0)
                return r;
        leave(&leaving, host);
        x->wanted = wanted;
        *ret_leaving = leaving;
        return 0;
}

void groups_mark_ended(struct groups *g, uint64_t id) {
        struct group *x = find(g, id);

        if (x && !x->ended)
                x->ended = ++g->ends;
}

void groups_remove(struct groups *g, uint64_t id) {
        struct group *x = find(g, id);

        if (!x)
                return;
        free(x->name);
        /* In order, so that errors name the one that was first. */
        memmove(x, x + 1, (size_t)(g->items + g->n - (x + 1)) * sizeof *x);
        g->n--;
}

/* What runs that contradicts the mode, or NULL. */
static const struct group *contradiction(const struct groups *g, enum mode mode) {
        if (mode == MODE_SINGLE)
                return count_active(g) > 1 ? find_active(g, _MODE_MAX) : NULL;
        return mode == MODE_MULTI ? find_active(g, MODE_SINGLE) : NULL;
}

int groups_set_mode(struct groups *g, enum mode mode, char **reterr) {
        const struct group *x;

        if (mode != MODE_OFF && mode != MODE_AUTO && mode != MODE_SINGLE && mode != MODE_MULTI)
                return fail(reterr, -EINVAL, "That is no mode.");
        x = contradiction(g, mode);
        if (x)
                return busy(g, x, NOBODY, reterr);
        g->mode = mode;
        return 0;
}

enum mode groups_mode(const struct groups *g) {
        return g->mode;
}

enum mode groups_effective_mode(const struct groups *g) {
        size_t active = count_active(g);

        if (g->mode != MODE_AUTO || active == 0)
                return g->mode;
        return active > 1 || find_active(g, MODE_MULTI) ? MODE_MULTI : MODE_SINGLE;
}

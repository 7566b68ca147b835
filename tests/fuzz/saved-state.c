/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fuzz target: what a former daemon wrote down, of whatever version it was. What is taken is written down as what it was taken
 * from, and the tracker is told of each group as its contract says.
 */
#include "saved-state.h"
#include "fuzz.h"
#include "profile-state.h"
#include "segment-state.h"

#define GROUPS 65536
#define PROFILES_MAX 8

/* A tracker that only knows which groups there are. */
static bool alive[GROUPS];
static size_t n_alive;

static int keep(struct tracker *t, const unsigned *groups, size_t n, uint64_t generation, char **reterr) {
        for (size_t i = 0; i < n; i++) {
                demand(groups[i] < GROUPS && !alive[groups[i]]);
                alive[groups[i]] = true;
        }
        n_alive += n;
        return 0;
}

static void disarm(struct tracker *t, unsigned group) {
        demand(group < GROUPS && alive[group]);
}

static void end(struct tracker *t, unsigned group) {
        demand(group < GROUPS && alive[group]);
        alive[group] = false;
        n_alive--;
}

static int fold(struct tracker *t, unsigned from, unsigned to) {
        demand(from < GROUPS && to < GROUPS && alive[from] && alive[to] && from != to);
        return 0;
}

static int begin(struct tracker *t, const struct cgroup *c, const struct tracker_wish *w, unsigned *ret, char **reterr) {
        return -ENOSPC;
}

static int renew(struct tracker *t, unsigned group, unsigned *ret, char **reterr) {
        return -ENOSPC;
}

static int read_group(struct tracker *t, unsigned group, struct tracker_sample *ret) {
        demand(group < GROUPS && alive[group]);
        *ret = (struct tracker_sample){0};
        return 0;
}

static struct tracker *free_nothing(struct tracker *t) {
        return NULL;
}

static const struct tracker_ops ops = {
        .backend = "fuzz",
        .free = free_nothing,
        .begin = begin,
        .renew = renew,
        .fold = fold,
        .disarm = disarm,
        .keep = keep,
        .end = end,
        .read = read_group,
};

static int reopen(const struct cgroup_root *root, const char *path, uint64_t id, struct cgroup **ret) {
        struct cgroup *c = calloc(1, sizeof(*c));

        demand(c && path[0] == '/' && id > 0);
        *c = (struct cgroup){.path = strdup(path), .fd = -1, .id = id, .layout = CGROUP_V2};
        demand(c->path);
        *ret = c;
        return 0;
}

struct restored {
        struct tracker tracker;
        struct engine *engine;
        struct profile *profiles[PROFILES_MAX];
        size_t n;
};

static int restore(struct restored *r, const json_t *segments, const json_t *const *states, size_t n) {
        char *first_bad = NULL, *sentence = NULL;
        int error;

        *r = (struct restored){.tracker = {&ops}, .n = n};
        demand(engine_new_at(&r->tracker, NULL, "/nonexistent", &r->engine) == 0);
        error = profiles_restore(r->engine, reopen, segments, 1, states, n, r->profiles, &first_bad, &sentence);
        fuzz_check_sentence(error, sentence);
        if (first_bad)
                demand(error == 0 && fuzz_is_printable(first_bad));
        free(first_bad);
        for (size_t i = 0; error < 0 && i < n; i++)
                demand(!r->profiles[i]);
        return error;
}

static void forget(struct restored *r) {
        for (size_t i = 0; i < r->n; i++)
                profile_free(r->profiles[i]);
        engine_free(r->engine);
        demand(n_alive == 0);
}

static json_t *segments_of(const struct engine *e) {
        _cleanup_free_ char *text = segments_save(engine_segments(e));

        demand(text);
        return json_loads(text, 0, NULL);
}

/* What was taken, as the next daemon would find it: all of it comes back. */
static void check_again(const json_t *segments, json_t *const *profiles, size_t n) {
        struct restored again;
        json_t *saved;

        demand(restore(&again, segments, (const json_t *const *)profiles, n) == 0);
        for (size_t i = 0; i < n; i++) {
                json_t *profile = again.profiles[i] ? profile_save(again.profiles[i]) : NULL;

                demand(profile && json_equal(profile, profiles[i]));
                json_decref(profile);
        }
        saved = segments_of(again.engine);
        demand(saved && json_equal(saved, segments));
        json_decref(saved);
        forget(&again);
}

/* Nothing that both know was changed on the way; what is of another type than it should be was left out. */
static void check_kept(const json_t *was, const json_t *is) {
        const char *key;
        json_t *now;

        json_object_foreach((json_t *)(uintptr_t)is, key, now) {
                const json_t *then = json_object_get(was, key);

                if (json_is_object(now))
                        check_kept(then, now);
                else if (json_is_integer(now) && json_is_integer(then) && !streq(key, "n_samples"))
                        demand(json_equal(then, now));
                else if (json_is_boolean(now) && json_is_boolean(then))
                        demand(json_equal(then, now));
                else if (json_is_string(now) && !streq(key, "cgroup_id") && !streq(key, "spec") && !streq(key, "mode"))
                        demand(json_equal(then, now));
        }
}

static void check_restored(struct restored *first, const json_t *const *states) {
        json_t *profiles[PROFILES_MAX], *segments = segments_of(first->engine);
        size_t n = 0;

        demand(segments);
        for (size_t i = 0; i < first->n; i++)
                if (first->profiles[i]) {
                        profiles[n] = profile_save(first->profiles[i]);
                        demand(profiles[n]);
                        check_kept(states[i], profiles[n]);
                        n++;
                }
        forget(first);
        check_again(segments, profiles, n);
        while (n > 0)
                json_decref(profiles[--n]);
        json_decref(segments);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        const json_t *states[PROFILES_MAX], *profiles;
        json_t *state = NULL;
        char *sentence = NULL;
        struct restored first;
        size_t n = 0;
        _cleanup_free_ char *text = fuzz_text(data, size);
        int r;

        text[size] = '\n'; /* what is not ended does not count */
        r = saved_state_parse(text, size + 1, &state, &sentence);
        demand((r == 0) == (state != NULL) && (r == 0 || r == -EBADMSG) && (r == 0) == (sentence == NULL));
        free(sentence);
        if (!state)
                return 0;
        profiles = json_object_get(state, "profiles");
        for (; n < PROFILES_MAX && n < json_array_size(profiles); n++)
                states[n] = json_object_get(json_array_get(profiles, n), "profile");
        r = restore(&first, json_object_get(state, "segments"), states, n);
        if (r == 0)
                check_restored(&first, states);
        else
                forget(&first);
        json_decref(state);
        return 0;
}

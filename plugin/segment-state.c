/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See segment-state.h. The form: {"moment", "serial", "scopes": [{"serial", "current", "let_go", "lost": {cause: n}}],
 * "segments": [{"group", "armed", "born", "parts": [[serial of the scope, "own" or "older", base]]}]}; "current" is a group, or
 * null.
 */
#include "segment-state.h"
#include "segment-private.h"

static const char *const kinds[] = {[OWN] = "own", [OLDER] = "older"};

/* ---- saving ---------------------------------------------------------------------------------------------------------------
 */

/* Text that grows. By hand and not by printf, which takes ten times as long: there may be thousands of numbers at a time. */
struct text {
        char *bytes;
        size_t n, room;
        bool failed;
};

static void put_bytes(struct text *t, const char *bytes, size_t n) {
        char *grown;

        if (t->n + n > t->room) {
                grown = realloc(t->bytes, 2 * (t->n + n) + 4096);
                if (!grown) {
                        t->failed = true;
                        return;
                }
                t->bytes = grown;
                t->room = 2 * (t->n + n) + 4096;
        }
        memcpy(t->bytes + t->n, bytes, n);
        t->n += n;
}

static void put(struct text *t, const char *words) {
        put_bytes(t, words, strlen(words));
}

static void put_number(struct text *t, int64_t number) {
        uint64_t rest = number < 0 ? -(uint64_t)number : (uint64_t)number;
        char digits[24];
        size_t at = sizeof(digits);

        do
                digits[--at] = (char)('0' + rest % 10);
        while (rest /= 10);
        if (number < 0)
                digits[--at] = '-';
        put_bytes(t, digits + at, sizeof(digits) - at);
}

static void put_member(struct text *t, const char *before, int64_t number) {
        put(t, before);
        put_number(t, number);
}

static const char *comma(size_t i) {
        return i > 0 ? "," : "";
}

static void save_segment(struct text *t, const struct segment *g) {
        put_member(t, "{\"group\":", g->group);
        put(t, g->armed ? ",\"armed\":true" : ",\"armed\":false");
        put(t, g->unsampled ? ",\"unsampled\":true" : ",\"unsampled\":false");
        put_member(t, ",\"born\":", (int64_t)g->born);
        put(t, ",\"parts\":[");
        for (size_t i = 0; i < g->n_parts; i++) {
                put(t, comma(i));
                put_member(t, "[", (int64_t)g->parts[i].scope->serial);
                put(t, g->parts[i].kind == OWN ? ",\"own\"" : ",\"older\"");
                put_member(t, ",", g->parts[i].base);
                put(t, "]");
        }
        put(t, "]}");
}

static void save_scope(struct text *t, const struct scope *s) {
        size_t n = 0;

        put_member(t, "{\"serial\":", (int64_t)s->serial);
        if (s->current)
                put_member(t, ",\"current\":", s->current->group);
        else
                put(t, ",\"current\":null");
        put_member(t, ",\"let_go\":", s->let_go);
        put(t, ",\"lost\":{");
        for (enum loss l = 0; l < _LOSS_MAX; l++) {
                if (!s->lost[l])
                        continue;
                put(t, comma(n++));
                put(t, "\"");
                put(t, loss_name(l));
                put_member(t, "\":", s->lost[l]);
        }
        put(t, "}}");
}

char *segments_save(const struct segments *a) {
        struct text t = {};

        put_member(&t, "{\"moment\":", (int64_t)a->moment);
        put_member(&t, ",\"serial\":", (int64_t)a->serial);
        put(&t, ",\"scopes\":[");
        for (size_t i = 0; i < a->n_scopes; i++) {
                put(&t, comma(i));
                save_scope(&t, a->scopes[i]);
        }
        put(&t, "],\"segments\":[");
        for (size_t i = 0; i < a->n; i++) {
                put(&t, comma(i));
                save_segment(&t, a->items[i]);
        }
        put_bytes(&t, "]}", sizeof("]}"));
        if (!t.failed)
                return t.bytes;
        free(t.bytes);
        return NULL;
}

uint64_t scope_serial(const struct scope *s) {
        return s->serial;
}

/* ---- reading --------------------------------------------------------------------------------------------------------------
 */

static int bad(char **reterr, const char *what) {
        return fail(reterr, -EBADMSG, "What was saved of the segments makes no sense: %s.", what);
}

static int take_number(const json_t *object, const char *key, int64_t lowest, int64_t *ret, char **reterr) {
        const json_t *v = json_object_get(object, key);

        if (!json_is_integer(v) || json_integer_value(v) < lowest)
                return bad(reterr, key);
        *ret = json_integer_value(v);
        return 0;
}

static struct scope_wanted *find_wanted(struct scope_wanted *scopes, size_t n, int64_t serial) {
        for (size_t i = 0; i < n; i++)
                if ((int64_t)scopes[i].serial == serial)
                        return &scopes[i];
        return NULL;
}

static void take_lost(const json_t *lost, struct scope *s) {
        for (enum loss l = 0; l < _LOSS_MAX; l++)
                s->lost[l] = json_integer_value(json_object_get(lost, loss_name(l)));
}

/* Scopes that nobody wants any more are left out, with their parts. */
static int take_scope(struct segments *a, const json_t *state, struct scope_wanted *scopes, size_t n, char **reterr) {
        struct scope_wanted *wanted;
        int64_t serial, let_go;
        int r;

        r = take_number(state, "serial", 1, &serial, reterr);
        if (r >= 0)
                r = take_number(state, "let_go", INT64_MIN, &let_go, reterr);
        if (r < 0)
                return r;
        wanted = find_wanted(scopes, n, serial);
        if (!wanted)
                return 0;
        if (wanted->scope)
                return bad(reterr, "a scope comes twice");
        r = scope_new(a, wanted->cgroup, &wanted->scope);
        if (r < 0)
                return r;
        wanted->scope->serial = (uint64_t)serial;
        wanted->scope->let_go = let_go;
        take_lost(json_object_get(state, "lost"), wanted->scope);
        return 0;
}

static int take_part(struct segment *g, const json_t *state, struct scope_wanted *scopes, size_t n, char **reterr) {
        const char *kind = json_string_value(json_array_get(state, 1));
        const json_t *serial = json_array_get(state, 0), *base = json_array_get(state, 2);
        struct scope_wanted *wanted;
        int r;

        if (json_array_size(state) != 3 || !json_is_integer(serial) || !json_is_integer(base) || !kind ||
                (!streq(kind, kinds[OWN]) && !streq(kind, kinds[OLDER])))
                return bad(reterr, "parts");
        wanted = find_wanted(scopes, n, json_integer_value(serial));
        if (!wanted || !wanted->scope)
                return 0;
        for (size_t i = 0; i < g->n_parts; i++)
                if (g->parts[i].scope == wanted->scope)
                        return bad(reterr, "a scope has two parts of one segment");
        r = segment_reserve_part(g, wanted->scope);
        if (r >= 0)
                segment_set_part(g, wanted->scope, streq(kind, kinds[OLDER]) ? OLDER : OWN, json_integer_value(base));
        return r;
}

static struct segment *find_group(const struct segments *a, int64_t group) {
        for (size_t i = 0; i < a->n; i++)
                if (a->items[i]->group == group)
                        return a->items[i];
        return NULL;
}

static int take_segment(struct segments *a, const json_t *state, struct scope_wanted *scopes, size_t n, char **reterr) {
        _cleanup_(segment_freep) struct segment *g = segment_new(a);
        const json_t *parts = json_object_get(state, "parts");
        int64_t group, born;
        int r;

        if (!g)
                return -ENOMEM;
        r = take_number(state, "group", 0, &group, reterr);
        if (r >= 0)
                r = take_number(state, "born", 0, &born, reterr);
        if (r >= 0 && (!json_is_array(parts) || !json_is_boolean(json_object_get(state, "armed")) || group > UINT16_MAX))
                r = bad(reterr, "a segment");
        if (r >= 0 && find_group(a, group))
                r = bad(reterr, "a group comes twice");
        for (size_t i = 0; r >= 0 && i < json_array_size(parts); i++)
                r = take_part(g, json_array_get(parts, i), scopes, n, reterr);
        if (r < 0 || g->n_parts == 0)
                return r;
        g->group = (unsigned)group;
        g->born = (uint64_t)born;
        g->armed = json_is_true(json_object_get(state, "armed"));
        g->unsampled = json_is_true(json_object_get(state, "unsampled"));
        a->items[a->n++] = TAKE(g);
        return 0;
}

/* An armed segment is the current one of just one scope, which owns it. */
static int take_current(struct segments *a, const json_t *state, struct scope_wanted *scopes, size_t n, char **reterr) {
        const json_t *current = json_object_get(state, "current");
        struct scope_wanted *wanted = find_wanted(scopes, n, json_integer_value(json_object_get(state, "serial")));
        struct segment *g;

        if (!wanted || json_is_null(current))
                return 0;
        g = json_is_integer(current) ? find_group(a, json_integer_value(current)) : NULL;
        for (size_t i = 0; g && i < n; i++)
                if (scopes[i].scope && scopes[i].scope->current == g)
                        g = NULL;
        for (size_t i = 0; g && i < g->n_parts; i++)
                if (g->parts[i].scope == wanted->scope && g->parts[i].kind == OWN) {
                        wanted->scope->current = g;
                        return 0;
                }
        return bad(reterr, "the current segment of a scope");
}

static int take_all(struct segments *a, const json_t *state, struct scope_wanted *scopes, size_t n, char **reterr) {
        const json_t *saved = json_object_get(state, "scopes"), *segments = json_object_get(state, "segments");
        int64_t moment, serial;
        int r;

        r = take_number(state, "moment", 0, &moment, reterr);
        if (r >= 0)
                r = take_number(state, "serial", 0, &serial, reterr);
        if (r >= 0 && (!json_is_array(saved) || !json_is_array(segments)))
                r = bad(reterr, "no scopes or no segments");
        for (size_t i = 0; r >= 0 && i < json_array_size(saved); i++)
                r = take_scope(a, json_array_get(saved, i), scopes, n, reterr);
        for (size_t i = 0; r >= 0 && i < json_array_size(segments); i++)
                r = take_segment(a, json_array_get(segments, i), scopes, n, reterr);
        for (size_t i = 0; r >= 0 && i < json_array_size(saved); i++)
                r = take_current(a, json_array_get(saved, i), scopes, n, reterr);
        if (r < 0)
                return r;
        a->moment = (uint64_t)moment;
        a->serial = (uint64_t)serial;
        return 0;
}

static int keep_groups(const struct segments *a, uint64_t generation, char **reterr) {
        _cleanup_free_ unsigned *groups = calloc(a->n + 1, sizeof(unsigned));

        if (!groups)
                return -ENOMEM;
        for (size_t i = 0; i < a->n; i++)
                groups[i] = a->items[i]->group;
        return a->tracker->ops->keep(a->tracker, groups, a->n, generation, reterr);
}

/* Whose scope is not wanted any more: as scope_end() leaves it. */
static void disarm_orphans(struct segments *a) {
        for (size_t i = 0; i < a->n; i++) {
                struct segment *g = a->items[i];
                bool is_current = false;

                for (size_t j = 0; j < a->n_scopes; j++)
                        is_current |= a->scopes[j]->current == g;
                if (!g->armed || is_current)
                        continue;
                a->tracker->ops->disarm(a->tracker, g->group);
                g->armed = false;
        }
}

/* As nothing had been taken. */
static void empty(struct segments *a, struct scope_wanted *scopes, size_t n) {
        while (a->n > 0)
                segment_free(a->items[--a->n]);
        for (size_t i = 0; i < n; i++) {
                if (!scopes[i].scope)
                        continue;
                free(scopes[i].scope->segments);
                free(scopes[i].scope);
                scopes[i].scope = NULL;
        }
        a->n_scopes = 0;
        a->moment = a->serial = 0;
}

int segments_restore(
        struct segments *a, const json_t *state, uint64_t generation, struct scope_wanted *scopes, size_t n, char **reterr) {
        int r;

        if (!a->tracker->ops->keep)
                return fail(reterr, -ENOTSUP, "This tracker keeps nothing.");
        r = take_all(a, state, scopes, n, reterr);
        if (r >= 0)
                r = keep_groups(a, generation, reterr);
        if (r < 0) {
                empty(a, scopes, n);
                return r;
        }
        disarm_orphans(a);
        segments_tidy(a);
        return 0;
}

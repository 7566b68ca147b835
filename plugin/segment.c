/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See segment.h. Who counts which segment, and how, is a list of parts in the segment: there are few, one for each profile
 * above the cgroup. Each scope has a list of the segments that it has a part of, because it is read more often than anything
 * changes.
 */
#include "segment-private.h"

/* ---- parts ----------------------------------------------------------------------------------------------------------------
 */

static struct part *find_part(struct segment *g, const struct scope *s) {
        for (size_t i = 0; i < g->n_parts; i++)
                if (g->parts[i].scope == s)
                        return &g->parts[i];
        return NULL;
}

/*
 * Makes room for a part of `s`, so that segment_set_part() cannot fail; one scope may be promised places in many segments
 * before it takes the first.
 */
int segment_reserve_part(struct segment *g, struct scope *s) {
        struct segment **segments;
        struct part *parts;

        if (g->n_parts == g->n_reserved) {
                parts = reallocarray(g->parts, g->n_parts + 4, sizeof(*parts));
                if (!parts)
                        return -ENOMEM;
                g->parts = parts;
                g->n_reserved = g->n_parts + 4;
        }
        if (s->n_segments + s->n_promised >= s->n_reserved) {
                segments = reallocarray(s->segments, 2 * s->n_reserved + 4, sizeof(struct segment *));
                if (!segments)
                        return -ENOMEM;
                s->segments = segments;
                s->n_reserved = 2 * s->n_reserved + 4;
        }
        s->n_promised++;
        return 0;
}

void segment_set_part(struct segment *g, struct scope *s, enum kind kind, int64_t base) {
        struct part *p = find_part(g, s);
        size_t at = g->n_parts;

        s->n_promised--;
        if (!p) {
                for (; at > 0 && g->parts[at - 1].scope->serial > s->serial; at--)
                        g->parts[at] = g->parts[at - 1];
                g->n_parts++;
                p = &g->parts[at];
                s->segments[s->n_segments++] = g;
        }
        *p = (struct part){.scope = s, .kind = kind, .base = base};
}

static void drop_part(struct segment *g, const struct scope *s) {
        struct part *p = find_part(g, s);

        g->n_parts--;
        memmove(p, p + 1, (size_t)(g->parts + g->n_parts - p) * sizeof(*p));
}

static void forget_segment(struct scope *s, const struct segment *g) {
        for (size_t i = 0; i < s->n_segments; i++)
                if (s->segments[i] == g)
                        s->segments[i--] = s->segments[--s->n_segments];
}

static bool same_parts(const struct segment *a, const struct segment *b) {
        if (a->n_parts != b->n_parts || a->unsampled != b->unsampled)
                return false;
        for (size_t i = 0; i < a->n_parts; i++)
                if (a->parts[i].scope != b->parts[i].scope || a->parts[i].kind != b->parts[i].kind)
                        return false;
        return true;
}

static bool has_owner(const struct segment *g) {
        for (size_t i = 0; i < g->n_parts; i++)
                if (g->parts[i].kind == OWN)
                        return true;
        return false;
}

/* ---- segments ------------------------------------------------------------------------------------------------------------
 */

struct segments *segments_new(struct tracker *tracker, struct names *names) {
        struct segments *a = calloc(1, sizeof(*a));

        if (!a)
                return NULL;
        a->tracker = tracker;
        a->names = names;
        return a;
}

struct segments *segments_free(struct segments *a) {
        if (!a)
                return NULL;
        for (size_t i = 0; a->left && i < a->n; i++) {
                a->items[i]->n_parts = 0; /* of scopes that are forgotten */
                segment_free(a->items[i]);
        }
        free(a->items);
        free(a->scopes);
        free(a);
        return NULL;
}

size_t segments_count(const struct segments *a) {
        return a->n;
}

struct segment *segment_free(struct segment *g) {
        for (size_t i = 0; i < g->n_parts; i++)
                forget_segment(g->parts[i].scope, g);
        free(g->parts);
        free(g);
        return NULL;
}
/* A segment that has no group yet; there is room for it in the registry. */
struct segment *segment_new(struct segments *a) {
        struct segment **grown = reallocarray(a->items, a->n + 1, sizeof(struct segment *));
        struct segment *g;

        if (!grown)
                return NULL;
        a->items = grown;
        g = calloc(1, sizeof(*g));
        if (g)
                g->born = a->moment;
        return g;
}

/* The segment that its scope's cgroup is booked in from now on. */
static void arm(struct segments *a, struct scope *s, struct segment *g, unsigned group) {
        g->group = group;
        g->armed = true;
        s->current = g;
        a->items[a->n++] = g;
}

static void remove_segment(struct segments *a, size_t i) {
        a->tracker->ops->end(a->tracker, a->items[i]->group);
        segment_free(a->items[i]);
        a->items[i] = a->items[--a->n];
}

static int read_segment(const struct segments *a, const struct segment *g, struct tracker_sample *ret) {
        return a->tracker->ops->read(a->tracker, g->group, ret);
}

/*
 * How much charged kernel memory was freed of what a segment counted, or freed in it without having been counted. It only
 * grows, and what it grows by after a baseline is memory from before.
 */
static int read_gone(const struct segments *a, const struct segment *g, int64_t *ret) {
        _cleanup_(tracker_sample_done) struct tracker_sample sample = {};
        struct sample_sum sum = {};
        int r;

        r = read_segment(a, g, &sample);
        if (r < 0)
                return r;
        sample_sum_add(&sum, a->names, &sample);
        *ret = sum.charged_gone + sum.freed_unmatched;
        return 0;
}

/* ---- tidying -------------------------------------------------------------------------------------------------------------
 */

/* A segment that counts for the same scopes as `g` does: the one that they allocate in, if that is among them. */
static struct segment *find_same(const struct segments *a, const struct segment *g) {
        struct segment *found = NULL;

        for (size_t i = 0; i < a->n; i++) {
                if (a->items[i] == g || !same_parts(a->items[i], g))
                        continue;
                found = a->items[i];
                if (found->armed)
                        break;
        }
        return found;
}

static bool fold(struct segments *a, const struct segment *from, struct segment *to) {
        if (a->tracker->ops->fold(a->tracker, from->group, to->group) < 0)
                return false;
        for (size_t i = 0; i < to->n_parts; i++)
                to->parts[i].base += from->parts[i].base;
        return true;
}

/*
 * A segment without rows for anybody may go when it could not be folded: what is freed of it from then on is memory that the
 * tracker has never seen, and it infers that as it does for what is older than any profile.
 */
static bool let_go(const struct segments *a, const struct segment *g) {
        int64_t gone;

        if (has_owner(g) || read_gone(a, g, &gone) < 0)
                return false;
        for (size_t i = 0; i < g->n_parts; i++)
                g->parts[i].scope->let_go += gone - g->parts[i].base;
        return true;
}

/* Whether a segment has been made superfluous. */
static bool settle(struct segments *a, const struct segment *g) {
        struct segment *same;

        if (g->armed)
                return false;
        if (g->n_parts == 0)
                return true;
        same = find_same(a, g);
        return same && (fold(a, g, same) || let_go(a, g));
}

static bool is_superfluous(const struct segments *a, const struct segment *g) {
        return !g->armed && (g->n_parts == 0 || find_same(a, g));
}

void segments_tidy(struct segments *a) {
        bool any = false;

        for (size_t i = 0; !any && i < a->n; i++)
                any = is_superfluous(a, a->items[i]);
        if (!any)
                return;
        if (a->before)
                a->before(a->userdata);
        for (size_t i = a->n; i-- > 0;)
                if (settle(a, a->items[i]))
                        remove_segment(a, i);
}

void segments_tell_before(struct segments *a, void (*before)(void *userdata), void *userdata) {
        a->before = before;
        a->userdata = userdata;
}

/* ---- scopes --------------------------------------------------------------------------------------------------------------
 */

/* A cgroup that is gone will not come back; one of the same name is another one. */
static bool scope_gone(struct scope *s) {
        s->gone = s->gone || cgroup_gone(s->cgroup);
        return s->gone;
}

/*
 * Whether a scope's memory is charged to `outer` too: also when its cgroup is gone, for what it left behind went to the cgroup
 * above. Directories of one name are told apart by their ids, which the kernel gives out in ascending order.
 */
static bool lies_below(const struct scope *s, const struct scope *outer) {
        return cgroup_is_below(s->cgroup, outer->cgroup) &&
               (cgroup_is_host(outer->cgroup) || s->cgroup->id > outer->cgroup->id);
}

int scope_new(struct segments *a, const struct cgroup *cgroup, struct scope **ret) {
        struct scope **grown = reallocarray(a->scopes, a->n_scopes + 1, sizeof(*grown)), *s;

        if (!grown)
                return -ENOMEM;
        a->scopes = grown;
        s = calloc(1, sizeof(*s));
        if (!s)
                return -ENOMEM;
        s->all = a;
        s->cgroup = cgroup;
        s->serial = ++a->serial;
        a->scopes[a->n_scopes++] = s;
        *ret = s;
        return 0;
}

static int own(struct segment *g, struct scope *s) {
        int r = segment_reserve_part(g, s);

        if (r >= 0)
                segment_set_part(g, s, OWN, 0);
        return r;
}

/* The first segment of a scope: its own and that of the scopes above. */
static int begin_current(struct scope *s, const struct tracker_wish *wish, char **reterr) {
        struct segments *a = s->all;
        _cleanup_(segment_freep) struct segment *g = segment_new(a);
        unsigned group;
        int r;

        if (!g)
                return -ENOMEM;
        for (size_t i = 0; i < a->n_scopes; i++) {
                struct scope *above = a->scopes[i];

                if (above != s && (!cgroup_is_below(s->cgroup, above->cgroup) || scope_gone(above)))
                        continue;
                r = own(g, above);
                if (r < 0)
                        return r;
        }
        r = a->tracker->ops->begin(a->tracker, s->cgroup, wish, &group, reterr);
        if (r < 0)
                return r;
        arm(a, s, TAKE(g), group);
        return 0;
}

/*
 * What the engine lost before a segment began is told by the one before it, which may be folded into another before long. The
 * tracker goes on counting there, so what is lost in this very moment is told twice rather than not at all. A group's own
 * losses stay with its rows.
 */
static void carry_losses(struct scope *s, const struct segment *before) {
        _cleanup_(tracker_sample_done) struct tracker_sample sample = {};

        if (read_segment(s->all, before, &sample) < 0)
                return;
        for (enum loss l = 0; l < _LOSS_MAX; l++)
                s->lost[l] += loss_is_own(l) ? 0 : sample.lost[l];
}

/* From now on a scope's cgroup is booked in another segment, for the same scopes and for `besides`. */
static int renew_current(struct scope *s, struct scope *besides, char **reterr) {
        struct segments *a = s->all;
        _cleanup_(segment_freep) struct segment *g = segment_new(a);
        unsigned group;
        int r = g ? own(g, besides) : -ENOMEM;

        if (g)
                g->unsampled = s->current->unsampled;

        for (size_t i = 0; r >= 0 && i < s->current->n_parts; i++)
                r = own(g, s->current->parts[i].scope);
        if (r >= 0)
                r = a->tracker->ops->renew(a->tracker, s->current->group, &group, reterr);
        if (r < 0)
                return r;
        s->current->armed = false;
        carry_losses(s, s->current);
        arm(a, s, TAKE(g), group);
        return 0;
}

/* Divides what is allocated in now, in `s` (but for what began with this baseline) and below. */
static int renew_all(struct scope *s, uint64_t moment, char **reterr) {
        struct segments *a = s->all;

        for (size_t i = 0; i < a->n_scopes; i++) {
                _cleanup_free_ char *sentence = NULL;
                struct scope *x = a->scopes[i];
                int r;

                if (!x->current || x->current->born >= moment || (x != s && !lies_below(x, s)) || scope_gone(x))
                        continue;
                r = renew_current(x, s, &sentence);
                if (r == -ENODEV && x != s)
                        x->gone = true; /* since we looked */
                else if (r < 0)
                        return sentence ? fail(reterr, r, "%s", sentence) : r;
        }
        return 0;
}

/* Whether all that a segment counted is memory of `s` from before its baseline: a part of it or of a scope below says so. */
static bool becomes_older(const struct segment *g, const struct scope *s, uint64_t moment) {
        if (g->born >= moment)
                return false;
        for (size_t i = 0; i < g->n_parts; i++)
                if (g->parts[i].scope == s || lies_below(g->parts[i].scope, s))
                        return true;
        return false;
}

/* First all that can fail, then the baseline: it is set or it is not. */
static int set_baseline(struct scope *s, uint64_t moment, char **reterr) {
        struct segments *a = s->all;
        int r = renew_all(s, moment, reterr);

        for (size_t i = 0; r >= 0 && i < a->n; i++) {
                if (!becomes_older(a->items[i], s, moment))
                        continue;
                r = segment_reserve_part(a->items[i], s);
                if (r >= 0)
                        r = read_gone(a, a->items[i], &a->items[i]->gone);
        }
        if (r < 0) {
                s->n_promised = 0;
                return r;
        }
        for (size_t i = 0; i < a->n; i++)
                if (becomes_older(a->items[i], s, moment))
                        segment_set_part(a->items[i], s, OLDER, a->items[i]->gone);
        s->let_go = 0;
        memset(s->lost, 0, sizeof(s->lost));
        return 0;
}

int scope_begin(
        struct segments *a, const struct cgroup *cgroup, const struct tracker_wish *wish, struct scope **ret, char **reterr) {
        uint64_t moment = ++a->moment;
        struct scope *s;
        int r;

        r = scope_new(a, cgroup, &s);
        if (r < 0)
                return r;
        r = begin_current(s, wish, reterr);
        if (r >= 0)
                r = set_baseline(s, moment, reterr);
        if (r < 0) {
                scope_end(s);
                return r;
        }
        *ret = s;
        return 0;
}

int scope_renew(struct scope *s, char **reterr) {
        int r = set_baseline(s, ++s->all->moment, reterr);

        if (r < 0)
                segments_tidy(s->all); /* what was divided for nothing is put together again */
        return r;
}

int scope_set_wish(struct scope *s, const struct tracker_wish *wish, char **reterr) {
        bool unsampled = wish->page_sample == TRACKER_NO_SAMPLES;
        struct segments *a = s->all;
        int r;

        if (!a->tracker->ops->set_wish)
                return fail(reterr, -EOPNOTSUPP, "This tracker always counts the same way.");
        if (!s->current || s->current->unsampled || scope_gone(s))
                return 0;
        if (unsampled) {
                r = renew_current(s, s, reterr);
                if (r < 0)
                        return r;
                s->current->unsampled = true;
        }
        a->tracker->ops->set_wish(a->tracker, s->current->group, wish);
        segments_tidy(a);
        return 0;
}

/* Its memory, and nothing else. */
static struct scope *scope_forget(struct scope *s) {
        struct segments *a = s->all;

        for (size_t i = 0; i < a->n_scopes; i++)
                if (a->scopes[i] == s)
                        a->scopes[i--] = a->scopes[--a->n_scopes];
        free(s->segments);
        free(s);
        return NULL;
}

void segments_leave(struct segments *a) {
        a->left = true;
}

struct scope *scope_end(struct scope *s) {
        struct segments *a = s->all;

        if (a->left)
                return scope_forget(s);
        if (s->current && s->current->n_parts > 1) /* else it ends at once */
                a->tracker->ops->disarm(a->tracker, s->current->group);
        if (s->current)
                s->current->armed = false;
        for (size_t i = 0; i < s->n_segments; i++)
                drop_part(s->segments[i], s);
        (void)scope_forget(s);
        segments_tidy(a);
        return NULL;
}

/* ---- reading -------------------------------------------------------------------------------------------------------------
 */

/* What was freed since the baseline of memory from before, as far as it was counted then. */
static int sum_older(const struct scope *s, int64_t *ret) {
        int64_t gone, bytes = s->let_go;
        int r;

        for (size_t i = 0; i < s->n_segments; i++) {
                const struct part *p = find_part(s->segments[i], s);

                if (p->kind != OLDER)
                        continue;
                r = read_gone(s->all, s->segments[i], &gone);
                if (r < 0)
                        return r;
                bytes += gone - p->base;
        }
        *ret = bytes;
        return 0;
}

static int read_own(const struct scope *s, const struct segment *g, struct tracker_sample *ret) {
        int r = read_segment(s->all, g, ret);

        for (size_t i = 0; r >= 0 && g == s->current && i < _LOSS_MAX; i++)
                ret->lost[i] += s->lost[i];
        return r;
}

static int add_own(const struct scope *s, struct sample_adder *adder) {
        int r = 0;

        for (size_t i = 0; r >= 0 && i < s->n_segments; i++) {
                struct tracker_sample sample;

                if (find_part(s->segments[i], s)->kind != OWN)
                        continue;
                r = read_own(s, s->segments[i], &sample);
                if (r >= 0)
                        r = sample_add(adder, &sample);
        }
        return r;
}

/* Reads all segments of a scope, with what they share read once. */
static int read_parts(const struct scope *s, struct sample_adder *adder, int64_t *ret_older) {
        int r;

        tracker_hold(s->all->tracker, true);
        r = sum_older(s, ret_older);
        if (r >= 0)
                r = add_own(s, adder);
        tracker_hold(s->all->tracker, false);
        return r;
}

int scope_read(struct scope *s, struct tracker_sample *ret) {
        _cleanup_(sample_adder_done) struct sample_adder adder = {};
        int64_t older;
        int r = read_parts(s, &adder, &older);

        if (r < 0)
                return r;
        adder.sample.freed_unmatched_bytes += older;
        *ret = adder.sample;
        adder.sample = (struct tracker_sample){};
        return 0;
}

/* Rows are put together here too, although nobody sees them: whether a site is blind is a matter of the whole row. */
int scope_sum(struct scope *s, struct sample_sum *ret) {
        _cleanup_(sample_adder_done) struct sample_adder adder = {.any_node = true};
        struct sample_sum sum = {};
        int64_t older;
        int r = read_parts(s, &adder, &older);

        if (r < 0)
                return r;
        sample_sum_add(&sum, s->all->names, &adder.sample);
        sum.freed_unmatched += older;
        *ret = sum;
        return 0;
}

int scope_removal(struct scope *s, struct tracker_removal *ret) {
        return s->current ? tracker_removal(s->all->tracker, s->current->group, ret) : -ENODATA;
}

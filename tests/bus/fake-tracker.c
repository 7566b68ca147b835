/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See fake-tracker.h. */
#include <fcntl.h>
#include <jansson.h>

#include "fake-tracker.h"
#include "text.h"

#define SCRIPT_BYTES_MAX (16u << 20)

struct fake_tracker {
        struct tracker base;
        const char *script;
        FILE *log;
        uint64_t moment;
        char **kept; /* strings of rows, each once */
        size_t n_kept;
        struct group {
                bool used;
                uint64_t born;
                bool renewed;                 /* counts no allocations any more */
                struct tracker_sample before; /* what older groups of the cgroup had counted when this one began */
                struct tracker_sample after;  /* what there was when it was renewed */
        } * groups;
        unsigned n_groups; /* as many as the options say */
};

static struct fake_tracker *of(struct tracker *t) {
        return (struct fake_tracker *)t;
}

static json_t *load(const struct fake_tracker *f) {
        _cleanup_free_ char *text = NULL;
        size_t n;

        if (text_read_file(AT_FDCWD, f->script, SCRIPT_BYTES_MAX, &text, &n) < 0)
                return NULL;
        return json_loadb(text, n, 0, NULL);
}

static int64_t number(const json_t *object, const char *key, int64_t otherwise) {
        const json_t *v = json_object_get(object, key);

        return json_is_integer(v) ? json_integer_value(v) : otherwise;
}

static bool boolean(const json_t *object, const char *key, bool otherwise) {
        const json_t *v = json_object_get(object, key);

        return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

static void pair(const json_t *row, const char *key, int64_t *bytes, int64_t *calls) {
        const json_t *v = json_object_get(row, key);

        *bytes = json_integer_value(json_array_get(v, 0));
        *calls = json_integer_value(json_array_get(v, 1));
}

static enum site_type type_of(const json_t *row) {
        const char *name = json_string_value(json_object_get(row, "type"));

        for (enum site_type t = 0; name && t < _TYPE_MAX; t++)
                if (streq(site_type_to_string(t), name))
                        return t;
        return TYPE_SLAB;
}

/* Rows keep their strings when the script is gone, as a tracker's do. */
static const char *keep(struct fake_tracker *f, const json_t *object, const char *key) {
        const char *s = json_string_value(json_object_get(object, key)) ?: "";
        char **grown;

        for (size_t i = 0; i < f->n_kept; i++)
                if (streq(f->kept[i], s))
                        return f->kept[i];
        grown = reallocarray(f->kept, f->n_kept + 1, sizeof(*grown));
        if (!grown)
                return "";
        f->kept = grown;
        f->kept[f->n_kept] = strdup(s);
        return f->kept[f->n_kept] ? f->kept[f->n_kept++] : "";
}

static void set_tag(struct fake_tracker *f, const json_t *tag, struct tracker_row *row) {
        if (!tag)
                return;
        row->file = keep(f, tag, "file");
        row->line = (uint32_t)number(tag, "line", 0);
        row->function = keep(f, tag, "function");
        row->module = keep(f, tag, "module");
}

static struct tracker_row make_row(struct fake_tracker *f, const json_t *script, int64_t i) {
        const json_t *frames = json_object_get(script, "frames"), *frame;
        struct tracker_counts *c;
        struct tracker_row row = {
                .type = type_of(script),
                .charged = boolean(script, "charged", true),
                .live_known = boolean(script, "live_known", true),
                .estimated = boolean(script, "estimated", false),
                .error_bytes = number(script, "error_bytes", 0),
                .node = (int)number(script, "node", -1),
                .gfp_flags = (uint32_t)number(script, "gfp_flags", 0),
        };
        size_t k;

        json_array_foreach(frames, k, frame) {
                if (k == TRACKER_FRAMES_MAX)
                        break;
                row.frames[k] = strtoull(json_string_value(frame), NULL, 0);
                row.n_frames++;
        }
        row.frames[0] += (uint64_t)(i * number(script, "step", 1));
        set_tag(f, json_object_get(script, "tag"), &row);
        c = &row.counts;
        pair(script, "allocated", &c->allocated_bytes, &c->allocated_calls);
        pair(script, "freed", &c->freed_bytes, &c->freed_calls);
        pair(script, "written_off", &c->written_off_bytes, &c->written_off_calls);
        pair(script, "untracked", &c->untracked_bytes, &c->untracked_calls);
        return row;
}

static int read_rows(struct fake_tracker *f, const json_t *script, struct tracker_sample *sample) {
        const json_t *rows = json_object_get(script, "rows"), *row;
        size_t k;

        json_array_foreach(rows, k, row) {
                int64_t repeat = number(row, "repeat", 1);
                struct tracker_row *grown = reallocarray(sample->rows, sample->n_rows + (size_t)repeat, sizeof(*grown));

                if (!grown)
                        return -ENOMEM;
                sample->rows = grown;
                for (int64_t i = 0; i < repeat; i++)
                        sample->rows[sample->n_rows++] = make_row(f, row, i);
        }
        return 0;
}

/* The exact figures of charged pages: what the script says, else what its rows add up to. */
static struct tracker_counts pages_of(const json_t *script, const struct tracker_sample *sample) {
        const json_t *pages = json_object_get(script, "pages");
        struct tracker_counts c = {};

        pair(pages, "allocated", &c.allocated_bytes, &c.allocated_calls);
        pair(pages, "freed", &c.freed_bytes, &c.freed_calls);
        for (size_t i = 0; !pages && i < sample->n_rows; i++) {
                const struct tracker_row *row = &sample->rows[i];

                if (!row->charged || row->type != TYPE_PAGE)
                        continue;
                c.allocated_bytes += row->counts.allocated_bytes;
                c.allocated_calls += row->counts.allocated_calls;
                c.freed_bytes += row->counts.freed_bytes;
                c.freed_calls += row->counts.freed_calls;
                c.written_off_bytes += row->counts.written_off_bytes;
                c.written_off_calls += row->counts.written_off_calls;
                c.untracked_bytes += row->counts.untracked_bytes;
                c.untracked_calls += row->counts.untracked_calls;
        }
        return c;
}

static int read_script(struct fake_tracker *f, struct tracker_sample *ret) {
        json_t *script = load(f);
        struct tracker_sample sample = {0};
        int r = -(int)number(script, "read_error", 0);

        if (r == 0)
                r = read_rows(f, script, &sample);
        sample.irq_bytes = number(script, "irq_bytes", 0);
        sample.freed_unmatched_bytes = number(script, "freed_unmatched_bytes", 0);
        sample.kthread_bytes = number(script, "kthread_bytes", 0);
        sample.charges_verified = number(script, "charges_verified", 0);
        sample.charges_mismatched = number(script, "charges_mismatched", 0);
        sample.swept_at_us = number(script, "swept_at_us", 0);
        sample.pages = pages_of(script, &sample);
        for (enum loss l = 0; l < _LOSS_MAX; l++)
                sample.lost[l] = number(json_object_get(script, "lost"), loss_name(l), 0);
        json_decref(script);
        if (r < 0) {
                free(sample.rows);
                return r;
        }
        *ret = sample;
        return 0;
}

static struct tracker_counts *counts_of(const struct tracker_sample *sample, const struct tracker_row *like) {
        for (size_t i = 0; i < sample->n_rows; i++) {
                struct tracker_row *row = &sample->rows[i];

                if (row->type == like->type && row->charged == like->charged && row->frames[0] == like->frames[0] &&
                        row->file == like->file && row->line == like->line && row->function == like->function &&
                        row->module == like->module)
                        return &row->counts;
        }
        return NULL;
}

static int64_t at_most(int64_t n, int64_t most) {
        return n < most ? n : most;
}

/* A cgroup's memory is freed in the order in which it was allocated: what earlier groups counted goes first. */
static void divide(const struct group *g, struct tracker_row *row) {
        const struct tracker_counts *before = counts_of(&g->before, row), *after = counts_of(&g->after, row);
        struct tracker_counts *c = &row->counts;

        if (g->renewed) {
                c->allocated_bytes = after ? after->allocated_bytes : 0;
                c->allocated_calls = after ? after->allocated_calls : 0;
                c->freed_bytes = at_most(c->freed_bytes, c->allocated_bytes);
                c->freed_calls = at_most(c->freed_calls, c->allocated_calls);
        }
        if (before) {
                c->freed_bytes -= at_most(c->freed_bytes, before->allocated_bytes);
                c->freed_calls -= at_most(c->freed_calls, before->allocated_calls);
                c->allocated_bytes -= before->allocated_bytes;
                c->allocated_calls -= before->allocated_calls;
        }
}

static int fake_read(struct tracker *t, unsigned group, struct tracker_sample *ret) {
        const struct group *g = &of(t)->groups[group];
        int r = read_script(of(t), ret);

        if (r < 0)
                return r;
        for (size_t i = 0; i < ret->n_rows; i++)
                divide(g, &ret->rows[i]);
        for (enum loss l = 0; l < _LOSS_MAX; l++)
                ret->lost[l] -= at_most(g->before.lost[l], ret->lost[l]);
        return 0;
}

/* n_groups: none. */
static unsigned free_group(const struct fake_tracker *f) {
        unsigned i = 0;

        while (i < f->n_groups && f->groups[i].used)
                i++;
        return i;
}

static void take_group(struct fake_tracker *f, unsigned i, unsigned *ret_group) {
        f->groups[i].used = true;
        f->groups[i].born = ++f->moment;
        *ret_group = i;
}

static int fake_begin(
        struct tracker *t, const struct cgroup *cgroup, const struct tracker_wish *wish, unsigned *ret_group, char **reterr) {
        struct fake_tracker *f = of(t);
        json_t *script = load(f);
        int r = -(int)number(script, "begin_error", 0);
        unsigned i;

        json_decref(script);
        if (r < 0)
                return fail(reterr, r, "The script says so.");
        i = free_group(f);
        if (i == f->n_groups)
                return fail(reterr, -ENOSPC, "No free group.");
        take_group(f, i, ret_group);
        (void)fprintf(f->log, "begin %u %s", i, cgroup->path);
        if (wish->page_sample)
                (void)fprintf(f->log, " page_sample=%llu", (unsigned long long)wish->page_sample);
        (void)fprintf(f->log, "%s\n", wish->numa ? " numa" : "");
        return 0;
}

static int fake_renew(struct tracker *t, unsigned group, unsigned *ret_group, char **reterr) {
        struct fake_tracker *f = of(t);
        unsigned i = free_group(f);
        int r;

        if (i == f->n_groups)
                return fail(reterr, -ENOSPC, "No free group.");
        r = read_script(f, &f->groups[i].before);
        if (r >= 0)
                r = read_script(f, &f->groups[group].after);
        if (r < 0)
                return fail(reterr, r, "The script cannot be read.");
        f->groups[group].renewed = true;
        take_group(f, i, ret_group);
        (void)fprintf(f->log, "renew %u %u\n", group, i);
        return 0;
}

/* Puts two stretches of time together that followed each other. */
static int fake_fold(struct tracker *t, unsigned from, unsigned to) {
        struct group *f = &of(t)->groups[from], *g = &of(t)->groups[to];
        struct tracker_sample sample;

        if (f->born < g->born) {
                sample = g->before;
                g->before = f->before;
                f->before = sample;
        } else {
                sample = g->after;
                g->after = f->after;
                f->after = sample;
                g->renewed = f->renewed;
        }
        (void)fprintf(of(t)->log, "fold %u %u\n", from, to);
        return 0;
}

static void fake_disarm(struct tracker *t, unsigned group) {
        (void)fprintf(of(t)->log, "disarm %u\n", group);
}

static int fake_sweep(struct tracker *t, struct tracker_sweep *ret) {
        return -ENOTSUP;
}

static const struct tracker_ability *fake_abilities(struct tracker *t, size_t *ret_n) {
        static const struct tracker_ability ability = {.name = "fake_ability", .reason = "this is a script"};

        *ret_n = 1;
        return &ability;
}

static void fake_end(struct tracker *t, unsigned group) {
        struct group *g = &of(t)->groups[group];

        tracker_sample_done(&g->before);
        tracker_sample_done(&g->after);
        *g = (struct group){};
        (void)fprintf(of(t)->log, "end %u\n", group);
}

static void fake_clean(struct tracker *t) {
        (void)fprintf(of(t)->log, "clean\n");
}

static uint64_t fake_footprint(struct tracker *t) {
        return 4096;
}

static struct tracker *fake_free(struct tracker *t) {
        struct fake_tracker *f = of(t);

        for (unsigned i = 0; i < f->n_groups; i++) {
                tracker_sample_done(&f->groups[i].before);
                tracker_sample_done(&f->groups[i].after);
        }
        (void)fprintf(f->log, "free\n");
        (void)fclose(f->log);
        for (size_t i = 0; i < f->n_kept; i++)
                free(f->kept[i]);
        free(f->kept);
        free(f->groups);
        free(f);
        return NULL;
}

static const char *const *fake_hooks(struct tracker *t, size_t *ret_n) {
        *ret_n = 0;
        return NULL;
}

static const struct tracker_ops fake_ops = {
        .backend = "fake",
        .free = fake_free,
        .begin = fake_begin,
        .renew = fake_renew,
        .fold = fake_fold,
        .disarm = fake_disarm,
        .end = fake_end,
        .read = fake_read,
        .sweep = fake_sweep,
        .clean = fake_clean,
        .footprint = fake_footprint,
        .hooks = fake_hooks,
        .abilities = fake_abilities,
};

int fake_tracker_new(const char *script, const struct tracker_options *options, struct tracker **ret, char **reterr) {
        _cleanup_free_ char *log = format("%s.log", script);
        struct fake_tracker *f = calloc(1, sizeof(*f));
        json_t *members;
        int r;

        if (!log || !f) {
                free(f);
                return -ENOMEM;
        }
        f->script = script;
        members = load(f);
        r = -(int)number(members, "new_error", 0);
        json_decref(members);
        if (r < 0) {
                free(f);
                return fail(reterr, r, "The script says that there is no tracker.");
        }
        f->n_groups = options->groups;
        f->groups = calloc(f->n_groups, sizeof(*f->groups));
        f->log = f->groups ? fopen(log, "ae") : NULL;
        if (!f->log) {
                free(f->groups);
                free(f);
                return fail(reterr, -errno, "Cannot write %s.", log);
        }
        (void)setvbuf(f->log, NULL, _IOLBF, 0);
        f->base.ops = &fake_ops;
        *ret = &f->base;
        return 0;
}

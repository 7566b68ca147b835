/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See profile-state.h. Tables of fields serve both ways. Counters stand under their names, and only those that are known: a
 * process that knows others reads what it knows.
 */
#include "profile-state.h"
#include "profile-private.h"
#include "segment-state.h"

#define STRING_BYTES_MAX 16384

/* ---- numbers --------------------------------------------------------------------------------------------------------------
 */

struct field {
        const char *key;
        size_t offset; /* of an int64_t */
};

static int64_t *number_at(const void *structure, const struct field *f) {
        return (int64_t *)((char *)(uintptr_t)structure + f->offset);
}

static void save_numbers(json_t *to, const void *structure, const struct field *fields, size_t n) {
        for (size_t i = 0; i < n; i++)
                (void)json_object_set_new(to, fields[i].key, json_integer(*number_at(structure, &fields[i])));
}

static void take_numbers(const json_t *from, const struct field *fields, size_t n, void *structure) {
        for (size_t i = 0; i < n; i++)
                *number_at(structure, &fields[i]) = json_integer_value(json_object_get(from, fields[i].key));
}

static json_t *save_counters(const struct memcg_counters *c) {
        json_t *o = json_pack("{s:I}", "at_us", (json_int_t)c->at_us);

        for (enum memcg_counter k = 0; k < _MEMCG_MAX; k++)
                if (memcg_knows(c, k))
                        (void)json_object_set_new(o, memcg_counter_name(k), json_integer(c->value[k]));
        return o;
}

static void take_counters(const json_t *from, struct memcg_counters *c) {
        c->at_us = json_integer_value(json_object_get(from, "at_us"));
        for (enum memcg_counter k = 0; k < _MEMCG_MAX; k++) {
                const json_t *v = json_object_get(from, memcg_counter_name(k));

                c->known |= json_is_integer(v) ? 1u << k : 0;
                c->value[k] = json_integer_value(v);
        }
}

/* ---- the account ----------------------------------------------------------------------------------------------------------
 */

static const struct field sum_fields[] = {
        {"live_bytes", offsetof(struct sample_sum, live_bytes)},
        {"live_calls", offsetof(struct sample_sum, live_calls)},
        {"charged_bytes", offsetof(struct sample_sum, charged_bytes)},
        {"charged_gone", offsetof(struct sample_sum, charged_gone)},
        {"freed_unmatched", offsetof(struct sample_sum, freed_unmatched)},
};

static json_t *save_sum(const struct sample_sum *sum) {
        json_t *lost = json_object(), *o;

        for (enum loss l = 0; l < _LOSS_MAX; l++)
                if (sum->lost[l])
                        (void)json_object_set_new(lost, loss_name(l), json_integer(sum->lost[l]));
        o = json_pack("{s:i, s:o, s:o, s:o, s:o}", "n_samples", (int)sum->n_samples, "charged", save_counters(&sum->charged),
                "uncharged", save_counters(&sum->uncharged), "states", save_counters(&sum->states), "lost", lost);
        save_numbers(o, sum, sum_fields, ELEMENTS(sum_fields));
        return o;
}

static void take_sum(const json_t *from, struct sample_sum *sum) {
        json_int_t n = json_integer_value(json_object_get(from, "n_samples"));

        sum->n_samples = n > 0 ? (size_t)n : 0;
        take_numbers(from, sum_fields, ELEMENTS(sum_fields), sum);
        take_counters(json_object_get(from, "charged"), &sum->charged);
        take_counters(json_object_get(from, "uncharged"), &sum->uncharged);
        take_counters(json_object_get(from, "states"), &sum->states);
        for (enum loss l = 0; l < _LOSS_MAX; l++)
                sum->lost[l] = json_integer_value(json_object_get(json_object_get(from, "lost"), loss_name(l)));
}

static const struct field account_fields[] = {
        {"baseline_drift", offsetof(struct account, baseline_drift)},
        {"read_us", offsetof(struct account, read_us)},
        {"noted_us", offsetof(struct account, noted_us)},
        {"removal_slack", offsetof(struct account, removal_slack)},
};

static json_t *save_account(const struct account *a) {
        json_t *at_removal = json_array(), *o;

        for (enum memcg_counter k = 0; k < _MEMCG_MAX; k++)
                if (a->at_removal & 1u << k)
                        (void)json_array_append_new(at_removal, json_string(memcg_counter_name(k)));
        o = json_pack("{s:o, s:o, s:o, s:o, s:b, s:b}", "baseline", save_counters(&a->baseline), "last",
                save_counters(&a->last), "noted", save_sum(&a->noted), "at_removal", at_removal, "gone", (int)a->gone,
                "settled", (int)a->settled);
        save_numbers(o, a, account_fields, ELEMENTS(account_fields));
        return o;
}

static int take_account(const json_t *from, struct account *a) {
        const json_t *at_removal = json_object_get(from, "at_removal"), *name;
        size_t i;

        if (!json_is_object(json_object_get(from, "baseline")) || !json_is_object(json_object_get(from, "last")))
                return -EBADMSG;
        take_counters(json_object_get(from, "baseline"), &a->baseline);
        take_counters(json_object_get(from, "last"), &a->last);
        take_sum(json_object_get(from, "noted"), &a->noted);
        take_numbers(from, account_fields, ELEMENTS(account_fields), a);
        a->gone = json_is_true(json_object_get(from, "gone"));
        a->settled = json_is_true(json_object_get(from, "settled"));
        json_array_foreach(at_removal, i,
                name) for (enum memcg_counter k = 0; k < _MEMCG_MAX;
                           k++) if (json_is_string(name) && streq(json_string_value(name), memcg_counter_name(k)))
                a->at_removal |= 1u << k;
        return 0;
}

/* ---- the label ------------------------------------------------------------------------------------------------------------
 */

static const struct field label_strings[] = {
        {"id", offsetof(struct profile_label, id)},
        {"pod_namespace", offsetof(struct profile_label, pod_namespace)},
        {"pod_name", offsetof(struct profile_label, pod_name)},
        {"pod_uid", offsetof(struct profile_label, pod_uid)},
        {"container_name", offsetof(struct profile_label, container_name)},
        {"image", offsetof(struct profile_label, image)},
};

static char **string_at(const struct profile_label *l, const struct field *f) {
        return (char **)((char *)(uintptr_t)l + f->offset);
}

/* Bytes as they came: JSON takes UTF-8 only, so each byte is a character of U+0000 to U+00FF. */
json_t *save_bytes(const char *bytes) {
        size_t n = strlen(bytes), at = 0;
        _cleanup_free_ char *text = malloc(2 * n + 1);

        for (size_t i = 0; text && i < n; i++) {
                unsigned char c = (unsigned char)bytes[i];

                if (c >= 0x80)
                        text[at++] = (char)(0xc0 | c >> 6);
                text[at++] = (char)(c >= 0x80 ? 0x80 | (c & 0x3f) : c);
        }
        return text ? json_stringn(text, at) : NULL;
}

/* -EBADMSG for what save_bytes() never wrote. */
int take_bytes(const json_t *from, char **ret) {
        const unsigned char *text = (const unsigned char *)json_string_value(from);
        size_t n = json_string_length(from), at = 0;
        _cleanup_free_ char *bytes = NULL;

        if (!text || n > STRING_BYTES_MAX)
                return -EBADMSG;
        bytes = malloc(n + 1);
        if (!bytes)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                unsigned c = text[i];

                if (c == 0 || c > 0xc3)
                        return -EBADMSG;
                if (c >= 0x80)
                        c = (c & 3) << 6 | (text[++i] & 0x3f);
                bytes[at++] = (char)c;
        }
        bytes[at] = '\0';
        *ret = TAKE(bytes);
        return 0;
}

static json_t *save_gaps(const struct profile_label *l) {
        json_t *gaps = json_array();

        for (size_t i = 0; i < l->n_gaps; i++)
                (void)json_array_append_new(gaps, json_pack("[s, s]", l->gaps[i].word, l->gaps[i].reason));
        return gaps;
}

static json_t *save_label(const struct profile_label *l) {
        _cleanup_free_ char *spec = spec_format(&l->spec);
        json_t *o;

        if (!spec)
                return NULL;
        o = json_pack("{s:s, s:s?, s:b, s:s, s:o}", "kind", l->kind, "started_by", l->started_by, "from_start",
                (int)l->from_start, "spec", spec, "unavailable", save_gaps(l));
        for (size_t i = 0; i < ELEMENTS(label_strings); i++) {
                const char *value = *string_at(l, &label_strings[i]);

                if (value)
                        (void)json_object_set_new(o, label_strings[i].key, save_bytes(value));
        }
        return o;
}

static int take_strings(const json_t *from, struct profile_label *l) {
        int r = 0;

        for (size_t i = 0; r >= 0 && i < ELEMENTS(label_strings); i++) {
                const json_t *value = json_object_get(from, label_strings[i].key);

                if (value)
                        r = take_bytes(value, string_at(l, &label_strings[i]));
        }
        return r;
}

static int take_gaps(const json_t *from, struct profile_label *l) {
        const json_t *gap;
        size_t i;

        json_array_foreach(from, i, gap) {
                const char *word = label_word(json_string_value(json_array_get(gap, 0)));
                const char *reason = label_word(json_string_value(json_array_get(gap, 1)));

                if (!word || !reason || l->n_gaps == ELEMENTS(l->gaps))
                        return -EBADMSG;
                l->gaps[l->n_gaps++] = (struct spec_gap){word, reason};
        }
        return 0;
}

static int take_label(const json_t *from, struct profile_label *l) {
        const char *spec = json_string_value(json_object_get(from, "spec"));
        const char *by = json_string_value(json_object_get(from, "started_by"));
        int r;

        l->kind = label_word(json_string_value(json_object_get(from, "kind")));
        l->started_by = by ? label_word(by) : NULL;
        l->from_start = json_is_true(json_object_get(from, "from_start"));
        if (!spec || !l->kind || (by && !l->started_by) || spec_parse(spec, &l->spec, NULL) < 0)
                return -EBADMSG;
        r = take_strings(from, l);
        return r < 0 ? r : take_gaps(json_object_get(from, "unavailable"), l);
}

/* ---- profiles -------------------------------------------------------------------------------------------------------------
 */

uint64_t profile_serial(const struct profile *p) {
        return scope_serial(p->scope);
}

json_t *profile_save(const struct profile *p) {
        json_t *path = save_bytes(p->cgroup->path), *label = save_label(&p->label);
        _cleanup_free_ char *id = format("%llu", (unsigned long long)p->cgroup->id);

        if (!path || !label || !id) {
                json_decref(path);
                json_decref(label);
                return NULL;
        }
        return json_pack("{s:o, s:s, s:I, s:b, s:b, s:s, s:I, s:I, s:o, s:o}", "cgroup", path, "cgroup_id", id, "scope",
                (json_int_t)scope_serial(p->scope), "ended", (int)(p->state == PROFILE_ENDED), "unsampled", (int)p->unsampled,
                "mode", mode_to_string(p->mode), "started_us", (json_int_t)p->started_us, "reset_us", (json_int_t)p->reset_us,
                "account", save_account(&p->account), "label", label);
}

static int take_cgroup(const struct engine *e, cgroup_reopen_t reopen, const json_t *from, struct cgroup **ret) {
        const char *id = json_string_value(json_object_get(from, "cgroup_id"));
        _cleanup_free_ char *path = NULL;
        char *end = NULL;
        int r;

        r = take_bytes(json_object_get(from, "cgroup"), &path);
        if (r < 0)
                return r;
        if (!id || path[0] != '/' || strtoull(id, &end, 10) == 0 || *end)
                return -EBADMSG;
        return reopen(engine_cgroups(e), path, strtoull(id, NULL, 10), ret);
}

static int take_profile(struct engine *e, cgroup_reopen_t reopen, const json_t *from, struct profile **ret) {
        _cleanup_(profile_freep) struct profile *p = calloc(1, sizeof(*p));
        const char *mode_word = json_string_value(json_object_get(from, "mode"));
        int mode = mode_word ? mode_from_string(mode_word) : -EBADMSG, r;

        if (!p)
                return -ENOMEM;
        p->engine = e;
        if (mode < 0 || json_integer_value(json_object_get(from, "scope")) < 1)
                return -EBADMSG;
        p->mode = (enum mode)mode;
        p->state = json_is_true(json_object_get(from, "ended")) ? PROFILE_ENDED : PROFILE_ACTIVE;
        p->unsampled = json_is_true(json_object_get(from, "unsampled"));
        p->started_us = json_integer_value(json_object_get(from, "started_us"));
        p->reset_us = json_integer_value(json_object_get(from, "reset_us"));
        r = take_account(json_object_get(from, "account"), &p->account);
        if (r >= 0)
                r = take_label(json_object_get(from, "label"), &p->label);
        if (r >= 0)
                r = take_cgroup(e, reopen, from, &p->cgroup);
        if (r < 0)
                return r;
        *ret = TAKE(p);
        return 0;
}

static void free_all(struct profile **profiles, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (profiles[i])
                        profiles[i] = profile_free(profiles[i]);
}

static const struct scope_wanted *find_wanted(const struct scope_wanted *wanted, size_t n, const json_t *state) {
        json_int_t serial = json_integer_value(json_object_get(state, "scope"));

        for (size_t i = 0; i < n; i++)
                if ((json_int_t)wanted[i].serial == serial)
                        return &wanted[i];
        return NULL;
}

static int take_states(struct engine *e, cgroup_reopen_t reopen, const json_t *const *states, size_t n,
        struct profile **profiles, struct scope_wanted *wanted, size_t *ret_n_wanted, char **ret_first_bad) {
        size_t n_wanted = 0;

        for (size_t i = 0; i < n; i++) {
                int r = take_profile(e, reopen, states[i], &profiles[i]);

                if (r >= 0 && find_wanted(wanted, n_wanted, states[i])) { /* two would end one scope */
                        profiles[i] = profile_free(profiles[i]);
                        r = -EBADMSG;
                }
                if (r == -ENOMEM)
                        return r;
                if (r < 0 && !*ret_first_bad)
                        *ret_first_bad = format("What was saved of profile %zu makes no sense: %s.", i + 1, strerror(-r));
                if (r >= 0)
                        wanted[n_wanted++] = (struct scope_wanted){
                                .serial = (uint64_t)json_integer_value(json_object_get(states[i], "scope")),
                                .cgroup = profiles[i]->cgroup,
                        };
        }
        *ret_n_wanted = n_wanted;
        return 0;
}

int profiles_restore(struct engine *e, cgroup_reopen_t reopen, const json_t *segments, uint64_t generation,
        const json_t *const *states, size_t n, struct profile **ret, char **ret_first_bad, char **reterr) {
        _cleanup_free_ struct scope_wanted *wanted = calloc(n + 1, sizeof(*wanted));
        _cleanup_free_ char *first_bad = NULL;
        size_t n_wanted = 0;
        int r;

        memset(ret, 0, n * sizeof(struct profile *));
        if (!wanted)
                return -ENOMEM;
        r = take_states(e, reopen, states, n, ret, wanted, &n_wanted, &first_bad);
        if (r >= 0)
                r = segments_restore(engine_segments(e), segments, generation, wanted, n_wanted, reterr);
        if (r < 0) {
                free_all(ret, n);
                return r;
        }
        for (size_t i = 0; i < n; i++) {
                if (!ret[i])
                        continue;
                ret[i]->scope = find_wanted(wanted, n_wanted, states[i])->scope;
                if (!ret[i]->scope)
                        ret[i] = profile_free(ret[i]);
        }
        *ret_first_bad = TAKE(first_bad);
        return 0;
}

int profile_begin_anew(struct engine *e, cgroup_reopen_t reopen, const json_t *state, struct profile **ret, char **reterr) {
        _cleanup_(profile_freep) struct profile *old = NULL;
        int r;

        r = take_profile(e, reopen, state, &old);
        if (r < 0)
                return r;
        if (old->state == PROFILE_ENDED || cgroup_gone(old->cgroup))
                return -ENODEV;
        old->label.from_start = false;
        r = profile_start(e, old->cgroup, &old->label, ret, reterr);
        if (r >= 0)
                old->cgroup = NULL;
        return r;
}

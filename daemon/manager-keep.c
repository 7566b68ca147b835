/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See manager.h: profiles that outlive the daemon. What there is is written down after each change, before anybody is told of
 * it; the next daemon takes it up where the tracker has counted on.
 *
 * Invariant: a profile is written down from when it counts until its counts are in its report, so that whenever the daemon is
 * killed, the next one finds it, or nobody was told that there is one.
 */
#include "journal.h"
#include "manager-private.h"
#include "object-path.h"
#include "profile-state.h"
#include "saved-state.h"
#include "segment-state.h"
#include "text.h"
#include "watch.h"

#define ID_BYTES_MAX 16384
#define SHOWN_BYTES_MAX 160

/* What the next daemon would find out by itself, or say a little worse, need not be written down for itself. */
#define SOON_USEC (UINT64_C(100) * 1000)

#define WHOLE_BYTES_MIN (256u << 10)

static const char *const kinds[] = {"container", "cgroup", "host"};
static const char *const reasons[] = {"oom", "oom-kill"};
static const char *const end_sources[] = {"poststop", "cgroup-removed", "stopped", "daemon-start"};

/* The same word as a constant; NULL: it is none of them. */
static const char *word_of(const char *const *words, size_t n, const json_t *v) {
        for (size_t i = 0; i < n; i++)
                if (json_is_string(v) && streq(json_string_value(v), words[i]))
                        return words[i];
        return NULL;
}

/* ---- saving ---------------------------------------------------------------------------------------------------------------
 */

static json_t *save_views(const struct registration *r) {
        json_t *views = json_array();

        for (size_t i = 0; i < r->n_views; i++)
                (void)json_array_append_new(views, json_pack("[s, o]", r->views[i]->kind, save_bytes(r->views[i]->name)));
        return views;
}

static json_t *save_requesters(const struct registration *r) {
        json_t *requesters = json_array();

        for (size_t i = 0; i < r->n_requesters; i++)
                (void)json_array_append_new(requesters, save_bytes(r->requesters[i]));
        return requesters;
}

/* A pid is somebody only together with the time when it began. */
static json_t *save_init(const struct registration *r) {
        uint64_t born;

        if (r->init.fd < 0 || process_born(r->init.pid, &born) < 0 || !process_alive(&r->init))
                return json_null();
        return json_pack("[I, I, b]", (json_int_t)r->init.pid, (json_int_t)born, (int)r->init.handed);
}

static json_t *save_end(const struct registration *r) {
        if (!r->ended)
                return json_null();
        return json_pack("{s:s, s:I, s:b, s:I}", "source", r->end_source, "at_us", (json_int_t)r->end_us, "live_known",
                (int)r->live_known, "live_bytes", (json_int_t)r->live_bytes);
}

static json_t *save_snapshots(const struct snapshots *s) {
        json_t *snapshots = json_array();

        for (size_t i = 0; i < s->n; i++) {
                const struct report_snapshot *x = &s->items[i];

                (void)json_array_append_new(snapshots, json_pack("[s, I, I, I, s]", x->reason, (json_int_t)x->at_us,
                                                               (json_int_t)x->ooms, (json_int_t)x->oom_kills, x->summary));
        }
        return snapshots;
}

/* A report is owed until it is on disk. */
static json_t *save_registration(const struct registration *r, bool retired) {
        json_t *profile = profile_save(r->profile);

        if (!profile)
                return NULL;
        return json_pack("{s:o, s:o, s:o, s:s, s:o, s:o, s:[I, I], s:o, s:s?, s:b, s:[i, b, i]}", "profile", profile, "views",
                save_views(r), "requesters", save_requesters(r), "mode", mode_to_string(r->mode), "init", save_init(r), "end",
                save_end(r), "ooms", (json_int_t)r->oom.ooms, (json_int_t)r->oom.kills, "snapshots",
                save_snapshots(&r->snapshots), "report", r->report, "retired", (int)retired, "exit", (int)r->exit_pid,
                (int)r->exit_known, r->exit_status);
}

/* One line of the file that is being made. */
struct line {
        FILE *to;
        const char *comma;
        bool whole; /* all there is, and not what has changed */
        bool ok;
};

static void append(struct line *l, struct registration *r, bool retired) {
        _cleanup_(json_decrefp) json_t *state = NULL;

        if (profile_is_record(r->profile) || (r->written && r->saved && !l->whole))
                return;
        if (!r->saved) {
                state = save_registration(r, retired);
                r->saved = state ? json_dumps(state, JSON_COMPACT) : NULL;
        }
        r->written = l->ok = l->ok && r->saved;
        if (!l->ok)
                return;
        fputs(l->comma, l->to);
        fputs(r->saved, l->to);
        l->comma = ",";
}

void manager_unwrite(struct manager *m, struct registration *r) {
        uint64_t *grown;

        if (!r->written)
                return;
        r->written = false;
        grown = reallocarray(m->gone, m->n_gone + 1, sizeof(*grown));
        if (!grown) {
                m->whole_bytes = 0; /* then everything is written the next time, and it is not in it */
                return;
        }
        m->gone = grown;
        m->gone[m->n_gone++] = profile_serial(r->profile);
}

/* Of those that were retired, whose reports are not on disk yet; their cgroups may be somebody else's by now. */
static void append_profiles(struct manager *m, struct line *l) {
        for (size_t i = 0; i < m->registry.n; i++)
                append(l, m->registry.items[i], false);
        for (struct registration *r = m->retired; r; r = r->next)
                if (r->report || registry_by_cgroup(&m->registry, r->cgroup_id))
                        manager_unwrite(m, r);
                else
                        append(l, r, true);
}

static void append_gone(const struct manager *m, FILE *to) {
        for (size_t i = 0; i < m->n_gone; i++)
                fprintf(to, "%s%llu", i > 0 ? "," : "", (unsigned long long)m->gone[i]);
}

static bool write_line(struct manager *m, uint64_t generation, const char *segments, struct line *l) {
        fprintf(l->to,
                "{\"format\":\"" SAVED_FORMAT "\",\"version\":%d,\"tool\":\"" MEMCGPROF_VERSION "\",\"generation\":%llu,",
                SAVED_VERSION, (unsigned long long)generation);
        fprintf(l->to, "\"segments\":%s,\"profiles\":[", segments);
        append_profiles(m, l);
        fputs("],\"gone\":[", l->to);
        append_gone(m, l->to);
        fputs("]}\n", l->to);
        return fclose(l->to) == 0 && l->ok;
}

/* Everything, when the file would be more than twice as long as that otherwise; else what has changed. */
static int save(struct manager *m, uint64_t generation) {
        _cleanup_free_ char *text = NULL, *segments = segments_save(engine_segments(m->engine));
        size_t n = 0;
        struct line l = {.to = open_memstream(&text, &n), .comma = "", .ok = segments};
        int r;

        if (!l.to)
                return -ENOMEM;
        l.whole = m->whole_bytes == 0 || m->since_bytes > m->whole_bytes + WHOLE_BYTES_MIN;
        if (!write_line(m, generation, segments ? segments : "", &l))
                return -ENOMEM;
        r = l.whole ? saved_state_write(m->settings.run_dir, text, n) : saved_state_append(m->settings.run_dir, text, n);
        if (r < 0)
                return r;
        m->whole_bytes = l.whole ? n : m->whole_bytes;
        m->since_bytes = l.whole ? 0 : m->since_bytes + n;
        m->n_gone = 0;
        return 0;
}

void manager_save(struct manager *m) {
        uint64_t generation = m->restored ? engine_mark(m->engine) : 0;
        int r;

        m->unsaved = false;
        if (!generation)
                return;
        r = save(m, generation);
        if (r < 0 && m->whole_bytes > 0) { /* half a line is no line: everything, in a file of its own */
                m->whole_bytes = 0;
                r = save(m, generation);
        }
        if (r < 0 && !m->save_failed)
                log_error("Profiles cannot be written down in %s, and would not outlive this daemon: %s.", m->settings.run_dir,
                        strerror(-r));
        m->save_failed = r < 0;
}

static int on_save(sd_event_source *s, uint64_t usec, void *userdata) {
        struct manager *m = userdata;

        if (m->unsaved)
                manager_save(m);
        return 0;
}

void manager_clean(struct manager *m) {
        manager_save(m);
        engine_clean(m->engine);
}

void manager_save_soon(struct manager *m) {
        if (m->unsaved)
                return;
        m->unsaved = true;
        (void)sd_event_source_set_time_relative(m->save_source, SOON_USEC);
        (void)sd_event_source_set_enabled(m->save_source, SD_EVENT_ONESHOT);
}

/* ---- the lease ------------------------------------------------------------------------------------------------------------
 */

static int on_lease(sd_event_source *s, uint64_t usec, void *userdata) {
        const struct manager *m = userdata;

        engine_renew_lease(m->engine);
        (void)sd_event_source_set_time_relative(s, m->settings.lease_usec / LEASE_RENEWALS);
        return 0;
}

static void before_move(void *userdata) {
        struct manager *m = userdata;

        if (!m->ending)
                manager_save(m);
}

int manager_prepare_saving(struct manager *m, char **reterr) {
        int r;

        r = sd_event_add_time_relative(m->event, &m->save_source, CLOCK_MONOTONIC, 0, 0, on_save, m);
        if (r >= 0)
                r = sd_event_source_set_enabled(m->save_source, SD_EVENT_OFF);
        if (r >= 0 && m->settings.lease_usec != UINT64_MAX) {
                r = sd_event_add_time_relative(
                        m->event, &m->lease_source, CLOCK_MONOTONIC, m->settings.lease_usec / LEASE_RENEWALS, 0, on_lease, m);
                if (r >= 0)
                        r = sd_event_source_set_enabled(m->lease_source, SD_EVENT_ON);
        }
        if (r < 0)
                return fail(reterr, r, "Cannot prepare the event loop: %s.", strerror(-r));
        segments_tell_before(engine_segments(m->engine), before_move, m);
        return 0;
}

/* ---- restoring ------------------------------------------------------------------------------------------------------------
 */

static int take_views(const json_t *from, struct registration *r) {
        const json_t *view;
        size_t i;

        json_array_foreach(from, i, view) {
                const char *kind = word_of(kinds, ELEMENTS(kinds), json_array_get(view, 0));
                _cleanup_free_ char *name = NULL;
                struct view *v;
                int error = take_bytes(json_array_get(view, 1), &name);

                if (error < 0 || !kind)
                        return error < 0 ? error : -EBADMSG;
                error = registration_add_view(r, kind, name, &v);
                if (error < 0)
                        return error;
        }
        return r->n_views > 0 ? 0 : -EBADMSG;
}

static int take_requesters(const json_t *from, struct registration *r) {
        const json_t *requester;
        size_t i;

        json_array_foreach(from, i, requester) {
                _cleanup_free_ char *name = NULL;
                int error = take_bytes(requester, &name);

                if (error >= 0)
                        error = registration_add_requester(r, name);
                if (error < 0)
                        return error;
        }
        return 0;
}

/* Nobody, when the number is somebody else's by now. */
static void take_init(const json_t *from, struct process *ret) {
        json_int_t pid = json_integer_value(json_array_get(from, 0)), born = json_integer_value(json_array_get(from, 1));
        _cleanup_(process_done) struct process p = PROCESS_NONE;
        uint64_t now;

        if (pid <= 0 || process_from_pid((uint64_t)pid, &p, NULL) < 0)
                return;
        if (process_born(p.pid, &now) < 0 || (json_int_t)now != born || !process_alive(&p))
                return;
        p.handed = json_is_true(json_array_get(from, 2));
        *ret = p;
        p = PROCESS_NONE;
}

static void take_exit(const json_t *from, struct registration *r) {
        json_int_t pid = json_integer_value(json_array_get(from, 0));

        r->exit_pid = pid > 0 && pid <= INT32_MAX ? (pid_t)pid : 0;
        r->exit_known = json_is_true(json_array_get(from, 1));
        r->exit_status = (int)json_integer_value(json_array_get(from, 2));
}

static int take_end(const json_t *state, struct registration *r) {
        const json_t *end = json_object_get(state, "end"), *report = json_object_get(state, "report");

        r->ended = json_is_object(end);
        if (!r->ended)
                return 0;
        r->end_source = word_of(end_sources, ELEMENTS(end_sources), json_object_get(end, "source"));
        r->end_us = json_integer_value(json_object_get(end, "at_us"));
        if (!r->end_source)
                return -EBADMSG;
        r->report = json_is_string(report) ? strdup(json_string_value(report)) : NULL;
        r->reported = r->report;
        r->live_known = json_is_true(json_object_get(end, "live_known"));
        r->live_bytes = json_integer_value(json_object_get(end, "live_bytes"));
        return 0;
}

static int take_snapshots(const json_t *from, struct registration *r) {
        const json_t *state;
        size_t i;

        json_array_foreach(from, i, state) {
                const char *summary = json_string_value(json_array_get(state, 4));
                struct report_snapshot snapshot = {
                        .reason = word_of(reasons, ELEMENTS(reasons), json_array_get(state, 0)),
                        .at_us = json_integer_value(json_array_get(state, 1)),
                        .ooms = json_integer_value(json_array_get(state, 2)),
                        .oom_kills = json_integer_value(json_array_get(state, 3)),
                        .summary = summary ? strdup(summary) : NULL,
                };

                if (!snapshot.summary || !snapshot.reason) {
                        free(snapshot.summary);
                        return -EBADMSG;
                }
                snapshots_add(&r->snapshots, &snapshot);
        }
        return 0;
}

/* What the registration knows beside its profile. */
static int take_registration(const json_t *state, struct registration *r) {
        const json_t *mode_word = json_object_get(state, "mode"), *ooms = json_object_get(state, "ooms");
        int mode = json_is_string(mode_word) ? mode_from_string(json_string_value(mode_word)) : -EBADMSG, error;

        if (mode < 0)
                return -EBADMSG;
        r->mode = (enum mode)mode;
        if (json_array_size(ooms) == 2)
                r->oom = (struct oom_counts){.ooms = json_integer_value(json_array_get(ooms, 0)),
                        .kills = json_integer_value(json_array_get(ooms, 1))};
        r->snapshot_kills = r->oom.kills;
        take_init(json_object_get(state, "init"), &r->init);
        take_exit(json_object_get(state, "exit"), r);
        error = take_views(json_object_get(state, "views"), r);
        if (error >= 0)
                error = take_requesters(json_object_get(state, "requesters"), r);
        if (error >= 0)
                error = take_snapshots(json_object_get(state, "snapshots"), r);
        return error < 0 ? error : take_end(state, r);
}

static int restore_place(struct manager *m, const struct registration *r) {
        const struct view *v = r->views[0];
        _cleanup_free_ char *id = text_escape(v->name, strlen(v->name), SHOWN_BYTES_MAX), *name = NULL;
        struct group_request q = {.id = r->cgroup_id,
                .wanted = profile_label(r->profile)->spec.mode,
                .host = cgroup_is_host(profile_cgroup(r->profile))};

        name = id ? q.host ? strdup(id) : format("%s:%s", v->kind, id) : NULL;
        if (!name)
                return -ENOMEM;
        q.name = name;
        return groups_restore(engine_groups(m->engine), &q, r->ended);
}

/* What went on while nobody looked. */
static void go_on(struct manager *m, struct registration *r, bool retired) {
        if (retired) { /* all but its report was done */
                manager_release(m, r, "stopped");
                return;
        }
        if (r->init.fd < 0 || !process_alive(&r->init))
                manager_take_exit(m, r);
        if (!r->ended && cgroup_gone(profile_cgroup(r->profile))) {
                manager_end(m, r, "daemon-start");
                return;
        }
        if (!r->ended) {
                manager_refresh(r);
                return;
        }
        watch_stop(r->watch);
        if (watch_set_timer(r->watch, r->reported ? m->settings.residue_keep_usec : m->settings.settle_usec) < 0)
                log_error("The end of %s cannot be waited for.", r->views[0]->id);
}

/* Takes `profile` over in any case. */
static int restore_registration(struct manager *m, const json_t *state, struct profile *profile) {
        _cleanup_(profile_freep) struct profile *owned = profile;
        _cleanup_(registration_freep) struct registration *r = NULL;
        int error;

        error = registration_new(profile, &r);
        if (error < 0)
                return error;
        (void)TAKE(owned);
        r->owner = m;
        error = take_registration(state, r);
        if (error >= 0)
                error = watch_new(m->event, engine_cgroups(m->engine), profile_cgroup(r->profile), &r->init,
                        &manager_watch_handlers, r, &r->watch);
        if (error >= 0)
                error = restore_place(m, r);
        if (error < 0)
                return error;
        error = registry_add(&m->registry, r);
        if (error < 0) {
                groups_remove(engine_groups(m->engine), r->cgroup_id);
                return error;
        }
        log_info("Profile of %s %s goes on.", r->views[0]->kind, r->views[0]->id);
        go_on(m, TAKE(r), json_is_true(json_object_get(state, "retired")));
        return 0;
}

static void restore_registrations(struct manager *m, const json_t *const *states, struct profile **profiles, size_t n) {
        for (size_t i = 0; i < n; i++) {
                int r = profiles[i] ? restore_registration(m, states[i], profiles[i]) : 0;

                if (r < 0)
                        log_error("What was written down of profile %zu makes no sense, and it is ended: %s.", i + 1,
                                strerror(-r));
        }
}

/* New baselines for those that are still there. */
static void begin_anew(struct manager *m, const json_t *const *states, struct profile **profiles, size_t n) {
        for (size_t i = 0; i < n; i++) {
                _cleanup_free_ char *sentence = NULL;
                int r = profile_begin_anew(
                        m->engine, cgroup_reopen, json_object_get(states[i], "profile"), &profiles[i], &sentence);

                if (r < 0) {
                        profiles[i] = NULL;
                        log_warning("A profile of the former daemon is lost: %s", sentence
                                                                                          ?: r == -ENODEV
                                                                                             ? "Its cgroup is gone."
                                                                                             : strerror(-r));
                }
        }
}

static int restore(struct manager *m, const json_t *saved, char **reterr) {
        const json_t *list = json_object_get(saved, "profiles");
        size_t n = json_array_size(list);
        _cleanup_free_ const json_t **states = calloc(n + 1, sizeof(*states)), **inner = calloc(n + 1, sizeof(*inner));
        _cleanup_free_ struct profile **profiles = calloc(n + 1, sizeof(*profiles));
        _cleanup_free_ char *first_bad = NULL, *sentence = NULL;
        int r;

        if (!states || !inner || !profiles)
                return -ENOMEM;
        for (size_t i = 0; i < n; i++) {
                states[i] = json_array_get(list, i);
                inner[i] = json_object_get(states[i], "profile");
        }
        r = profiles_restore(m->engine, cgroup_reopen, json_object_get(saved, "segments"),
                (uint64_t)json_integer_value(json_object_get(saved, "generation")), inner, n, profiles, &first_bad, &sentence);
        if (r == -ENOMEM)
                return r;
        if (first_bad)
                log_error("%s", first_bad);
        if (r < 0) {
                log_warning("Counting starts anew, with new baselines: %s", sentence ?: strerror(-r));
                if (manager_mode(m) != MODE_OFF)
                        begin_anew(m, states, profiles, n);
        }
        restore_registrations(m, states, profiles, n);
        if (manager_mode(m) == MODE_OFF) /* it was noted while there was no daemon */
                manager_release_all(m, false, "mode-off");
        return 0;
}

/* Nothing was written down that makes sense: what a former process left of counts is nobody's. */
static void drop_all(struct manager *m) {
        struct tracker *t = engine_tracker(m->engine);

        if (t->ops->keep)
                (void)t->ops->keep(t, NULL, 0, 0, NULL);
}

int manager_restore(struct manager *m, char **reterr) {
        _cleanup_(json_decrefp) json_t *saved = NULL;
        _cleanup_free_ char *sentence = NULL;
        int r;

        r = saved_state_read(m->settings.run_dir, &saved, &sentence);
        if (r < 0) {
                if (r != -ENOENT)
                        log_warning("What the former daemon wrote down is of no use, and counting starts anew: %s.",
                                sentence ?: strerror(-r));
                drop_all(m);
        } else {
                r = restore(m, saved, reterr);
                if (r < 0)
                        return r;
        }
        m->restored = true;
        engine_renew_lease(m->engine);
        manager_tell_mode(m);
        manager_save(m);
        return 0;
}

void manager_leave(struct manager *m) {
        if (!engine_mark(m->engine)) {
                manager_stop_all(m);
                return;
        }
        report_writer_finish(m->writer);
        (void)manager_flush(m);
        manager_save(m);
        m->left = true;
        engine_leave(m->engine);
        log_info("Counting goes on without this daemon.");
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See manager.h: construction, modes, ends and reports. How profiles begin is in manager-start.c. */
#include <time.h>

#include "journal.h"
#include "manager-private.h"
#include "saved-state.h"
#include "summary.h"
#include "watch.h"

/*
 * How long what was retired waits to be detached and wiped: 5 to 10 ms of work, which a container that starts right after
 * should not wait for; and when it comes in time it finds the programs attached.
 */
#define CLEAN_USEC (UINT64_C(300) * 1000)

/* How often the age of reports is looked at when none is written. */
#define REPORTS_LOOK_USEC (UINT64_C(24) * 3600 * 1000000)

/* Where counters are read as it comes round, groups take turns: so long lies between two of them. */
#define LOOK_SPACING_USEC INT64_C(10000)

static int64_t read_clock(clockid_t clock) {
        struct timespec ts;

        clock_gettime(clock, &ts);
        return ts.tv_sec * INT64_C(1000000) + ts.tv_nsec / 1000;
}

static int64_t now_us(void) {
        return read_clock(CLOCK_REALTIME);
}

int64_t monotonic_us(void) {
        return read_clock(CLOCK_MONOTONIC);
}

static void tell(struct manager *m, struct registration *r, const char *property) {
        for (size_t i = 0; m->listener && i < r->n_views; i++)
                m->listener->changed(m->listener_data, r->views[i], property);
}

static void change_modes(struct manager *m, enum mode effective) {
        /* What `off` ends keeps the mode that it ran in. */
        for (size_t i = 0; effective != MODE_OFF && i < m->registry.n; i++) {
                struct registration *r = m->registry.items[i];

                if (r->ended || r->mode == effective)
                        continue;
                r->mode = effective;
                registration_changed(r);
                tell(m, r, "Mode");
        }
}

void manager_tell_mode(struct manager *m) {
        enum mode mode = manager_mode(m), effective = manager_effective_mode(m);
        bool mode_changed = mode != m->told_mode, effective_changed = effective != m->told_effective_mode;

        m->told_mode = mode;
        m->told_effective_mode = effective;
        if (m->listener && (mode_changed || effective_changed))
                m->listener->mode_changed(m->listener_data, mode_changed, effective_changed);
        if (effective_changed)
                change_modes(m, effective);
}

/* Writing */

/* "recursion_misses 12, ring_drops 3"; NULL on ENOMEM. */
static char *lost_text(const struct summary *s) {
        char *text = NULL;

        for (enum loss l = 0; l < _LOSS_MAX; l++) {
                _cleanup_free_ char *before = NULL;

                if (s->lost[l] == 0)
                        continue;
                before = TAKE(text);
                text = format("%s%s%s %lld", before ? before : "", before ? ", " : "", loss_name(l), (long long)s->lost[l]);
                if (!text)
                        return NULL;
        }
        return text ? text : strdup("nothing that has a name");
}

/* By what the report itself says: its profile may be gone. */
static void tell_report(const struct final_report *f, const char *path) {
        const struct summary *s = f->summary;
        const struct journal_subject subject = {
                .container = s && streq(s->label.kind, "container") ? f->id : NULL,
                .cgroup = s ? s->cgroup : NULL,
                .profile = f->object,
                .report = path,
        };
        _cleanup_free_ char *lost = NULL;

        journal_line(LOG_INFO, JOURNAL_REPORT, &subject, "Final report of %s (%s) is in %s.", f->id, f->end.source, path);
        lost = s && !s->accurate ? lost_text(s) : NULL;
        if (lost)
                journal_line(
                        LOG_WARNING, JOURNAL_LOST, &subject, "Not all was counted of %s, says its report: %s.", f->id, lost);
}

/* The writer has done, or could not do, one report. */
static void on_written(void *userdata, const struct final_report *f, const char *path, int error, const char *sentence) {
        struct manager *m = userdata;
        struct registration *r = registry_by_cgroup(&m->registry, f->cgroup_id);

        if (f->update) {
                if (error == -ENOENT)
                        log_debug("The final report of %s is gone already.", f->id);
                else if (error < 0)
                        log_error("The final report of %s stays as it was: %s", f->id, sentence ? sentence : strerror(-error));
                else
                        log_debug("The residue in %s is up to date (%s).", path, f->residue.closed_by);
                return;
        }
        if (error < 0)
                log_error("No final report for %s: %s", f->id, sentence ? sentence : strerror(-error));
        else
                tell_report(f, path);
        for (struct registration *old = m->retired; !r && old; old = old->next)
                r = old->cgroup_id == f->cgroup_id ? old : NULL;
        if (r && r->reported && path) {
                free(r->report);
                r->report = strdup(path);
                registration_changed(r);
                manager_save_soon(m);
        }
        if (m->listener)
                m->listener->finished(m->listener_data, f->object, path ? path : "");
}

/* One at a time: whoever calls meanwhile does not wait for all that are over. */
static int on_clean(sd_event_source *s, uint64_t usec, void *userdata) {
        struct manager *m = userdata;

        if (manager_flush_one(m))
                (void)sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
        else
                manager_clean(m);
        return 0;
}

/* Ending */

void manager_refresh(struct registration *r) {
        registration_changed(r);
        r->refreshed_us = monotonic_us();
        (void)profile_note_counters(r->profile);
        manager_note_oom(r);
}

/* What remains now, of which f->summary has the sites. */
static void take_residue(const struct registration *r, struct final_report *f, const char *closed_by) {
        struct profile_totals totals;

        f->residue = (struct report_residue){.summary = f->summary, .closed_by = closed_by};
        if (!r->live_known || profile_totals(r->profile, &totals) < 0)
                return;
        f->residue.released_known = true;
        f->residue.released_bytes = r->live_bytes - totals.live_bytes;
}

static struct final_report *take_report(const struct registration *r, const char *closed_by) {
        _cleanup_(final_report_freep) struct final_report *f = calloc(1, sizeof(*f));
        _cleanup_free_ char *sentence = NULL;
        int error;

        if (!f)
                return NULL;
        f->object = strdup(r->views[0]->path);
        f->id = strdup(r->views[0]->name);
        f->cgroup_id = r->cgroup_id;
        f->end = (struct report_end){.at_us = r->end_us, .source = r->end_source, .oom_kills = r->oom.kills};
        f->end.exit_code = process_exit_code(&r->init, &f->end.exit_code_reason);
        if (f->end.exit_code < 0 && r->exit_known)
                f->end.exit_code = process_code_of(r->exit_status);
        if (!f->object || !f->id || snapshots_copy(&r->snapshots, &f->snapshots) < 0)
                return NULL;
        error = profile_summary(r->profile, NULL, &f->summary, &sentence);
        if (error >= 0)
                f->summary->mode = r->mode;
        else
                log_error("The last summary of %s failed: %s", f->id, sentence ? sentence : strerror(-error));
        take_residue(r, f, closed_by);
        return TAKE(f);
}

/* Takes the final report now, or what it has to say of the residue; the writer's thread puts it on disk. */
static void queue_report(struct manager *m, struct registration *r, const char *closed_by) {
        struct final_report *f;

        if (profile_is_record(r->profile))
                return; /* it goes on in the kernel */
        f = take_report(r, closed_by);
        if (!f) {
                log_error("No memory for the final report of %s.", r->views[0]->id);
                return;
        }
        f->update = r->reported;
        r->reported = true;
        report_writer_add(m->writer, f);
}

static void mark_ended(struct manager *m, struct registration *r, const char *source) {
        struct profile_totals totals;

        r->end_us = now_us();
        manager_refresh(r);
        manager_finish_oom(r);
        registration_changed(r);
        r->ended = true;
        r->end_source = source;
        watch_stop(r->watch);
        r->live_known = profile_totals(r->profile, &totals) >= 0;
        r->live_bytes = r->live_known ? totals.live_bytes : 0;
        profile_mark_ended(r->profile);
        groups_mark_ended(engine_groups(m->engine), r->cgroup_id);
        if (!profile_is_record(r->profile))
                journal_profile(LOG_INFO, JOURNAL_ENDED, r, "Profile of %s %s has ended (%s).", r->views[0]->kind,
                        r->views[0]->id, source);
}

void manager_end(struct manager *m, struct registration *r, const char *source) {
        if (r->ended) {
                /* The runtime's word says more than the directory's absence, if it comes in time. */
                if (!r->reported && streq(source, "poststop")) {
                        r->end_source = source;
                        registration_changed(r);
                        manager_save_soon(m);
                }
                return;
        }
        mark_ended(m, r, source);
        manager_save_soon(m);
        if (watch_set_timer(r->watch, m->settings.settle_usec) < 0)
                queue_report(m, r, NULL);
        tell(m, r, "State");
        manager_tell_mode(m);
}

void manager_release(struct manager *m, struct registration *r, const char *why) {
        manager_take_exit(m, r);
        if (!r->ended)
                mark_ended(m, r, "stopped");
        if (r->reported)
                r->closed_by = why;
        else
                queue_report(m, r, why);
        for (size_t i = 0; m->listener && i < r->n_views; i++)
                m->listener->removed(m->listener_data, r->views[i]);
        log_info("Profile of %s %s is removed.", r->views[0]->kind, r->views[0]->id);
        registry_remove(&m->registry, r);
        groups_remove(engine_groups(m->engine), r->cgroup_id);
        r->watch = watch_free(r->watch);
        registration_changed(r);
        r->next = m->retired;
        m->retired = r;
        if (m->clean_source && sd_event_source_set_time_relative(m->clean_source, CLEAN_USEC) >= 0)
                (void)sd_event_source_set_enabled(m->clean_source, SD_EVENT_ONESHOT);
        manager_tell_mode(m);
}

bool manager_drop_ended(struct manager *m) {
        struct registration *r = registry_oldest_ended(&m->registry);

        if (!r)
                return false;
        manager_release(m, r, "needed");
        return true;
}

/* Of those the next daemon would know nothing: that is written down before they end (manager-keep.c). */
static bool end_retired(struct manager *m, struct registration *list) {
        if (!list)
                return false;
        for (struct registration *r = list; r; r = r->next)
                if (r->closed_by)
                        queue_report(m, r, r->closed_by);
        for (struct registration *r = list; r; r = r->next)
                manager_unwrite(m, r);
        manager_save(m);
        m->ending = true; /* who reads it leaves their parts of segments out, so that what is folded now is the same to both */
        while (list) {
                struct registration *r = list;

                list = r->next;
                registration_free(r);
        }
        m->ending = false;
        manager_save_soon(m); /* others may have been folded */
        return true;
}

bool manager_flush_one(struct manager *m) {
        struct registration *r = m->retired;

        if (r) {
                m->retired = r->next;
                r->next = NULL;
        }
        return end_retired(m, r);
}

bool manager_flush(struct manager *m) {
        return end_retired(m, TAKE(m->retired));
}

static void on_refresh(void *userdata) {
        struct registration *r = userdata;

        manager_refresh(r);
        manager_save_soon(r->owner);
}

static void on_look(void *userdata) {
        struct registration *r = userdata;
        const struct manager *m = r->owner;

        if (monotonic_us() - r->refreshed_us >= (int64_t)m->registry.n * LOOK_SPACING_USEC)
                manager_refresh(r);
}

void manager_follow_exit(struct manager *m, struct registration *r, pid_t pid) {
        if (engine_follow_exit(m->engine, pid, true) >= 0)
                r->exit_pid = pid;
}

void manager_take_exit(struct manager *m, struct registration *r) {
        if (r->exit_pid == 0)
                return;
        r->exit_known = engine_exit_of(m->engine, r->exit_pid, &r->exit_status) >= 0;
        (void)engine_follow_exit(m->engine, r->exit_pid, false);
        r->exit_pid = 0;
        registration_changed(r);
}

static void on_exited(void *userdata) {
        struct registration *r = userdata;

        log_debug("The first process of %s has exited.", r->views[0]->id);
        manager_take_exit(r->owner, r);
        manager_refresh(r);
        manager_save_soon(r->owner);
}

static void on_removed(void *userdata) {
        struct registration *r = userdata;

        manager_end(r->owner, r, "cgroup-removed");
}

static void on_timeout(void *userdata) {
        struct registration *r = userdata;
        struct manager *m = r->owner;

        if (r->reported) {
                manager_release(m, r, "residue-keep");
                return;
        }
        queue_report(m, r, NULL);
        if (m->settings.residue_keep_usec != UINT64_MAX && watch_set_timer(r->watch, m->settings.residue_keep_usec) < 0)
                manager_release(m, r, "residue-keep");
}

const struct watch_handlers manager_watch_handlers = {
        .refresh = on_refresh,
        .look = on_look,
        .exited = on_exited,
        .oom = manager_oom,
        .oom_again = manager_oom_again,
        .removed = on_removed,
        .timeout = on_timeout,
};

int manager_container_stopped(struct manager *m, const char *id, char **reterr) {
        _cleanup_free_ char *requester = format("bus:container:%s", id);
        struct registration *r = NULL;
        int error;

        error = target_check_id(id, reterr);
        if (error < 0)
                return error;
        if (!requester)
                return -ENOMEM;
        for (size_t i = 0; !r && i < m->registry.n; i++)
                if (registration_view(m->registry.items[i], "container", id))
                        r = m->registry.items[i];
        /*
         * Ids repeat: over runtimes' roots, and runtimes free an id before they run poststop. Whose process lives has not
         * stopped; the call is about another container.
         */
        if (!r || (r->init.handed && process_alive(&r->init)))
                return 0;
        registration_drop_requester(r, "hook");
        registration_drop_requester(r, requester);
        if (r->n_requesters == 0 || r->ended || cgroup_gone(profile_cgroup(r->profile)))
                manager_end(m, r, "poststop");
        manager_save_soon(m);
        return 0;
}

int manager_stop(struct manager *m, const char *path, char **reterr) {
        struct view *v = registry_by_path(&m->registry, path);

        if (!v)
                return fail(reterr, -ENXIO, "There is no profile %s; ListProfiles names those there are.", path);
        if (profile_is_record(v->registration->profile))
                return fail(reterr, -EOPNOTSUPP,
                        "The host's profile is the kernel's own record on this machine; it costs nothing here and does not "
                        "end.");
        manager_release(m, v->registration, "stopped");
        manager_save(m);
        return 0;
}

/* Modes */

enum mode manager_mode(const struct manager *m) {
        return groups_mode(engine_groups(m->engine));
}

enum mode manager_effective_mode(const struct manager *m) {
        return groups_effective_mode(engine_groups(m->engine));
}

bool manager_idle(const struct manager *m) {
        for (size_t i = 0; i < m->registry.n; i++)
                if (!profile_is_record(m->registry.items[i]->profile))
                        return false;
        return true;
}

void manager_release_all(struct manager *m, bool record, const char *why) {
        size_t kept = 0;

        while (m->registry.n > kept)
                if (!record && profile_is_record(m->registry.items[kept]->profile))
                        kept++;
                else
                        manager_release(m, m->registry.items[kept], why);
        (void)manager_flush(m);
}

int manager_set_mode(struct manager *m, const char *text, char **reterr) {
        _cleanup_free_ char *sentence = NULL;
        int mode = mode_from_string(text), r;

        if (mode < 0 || streq(text, "on"))
                return fail(reterr, -EINVAL, "'%.32s' is no mode; use off, auto, single or multi.", text);
        r = groups_set_mode(engine_groups(m->engine), (enum mode)mode, reterr);
        if (r < 0)
                return r;
        if (mode == MODE_OFF)
                manager_release_all(m, false, "mode-off");
        journal_line(LOG_NOTICE, JOURNAL_MODE, NULL, "Mode is %s.", text);
        manager_tell_mode(m);
        manager_save(m);
        r = state_dir_write_mode(m->state, text, &sentence);
        if (r < 0) {
                log_error("The mode is not saved: %s", sentence ? sentence : strerror(-r));
                return fail(reterr, -EIO, "The mode is %s now, but it could not be saved for the next start: %s", text,
                        sentence ? sentence : strerror(-r));
        }
        return 0;
}

static void load_mode(struct manager *m) {
        _cleanup_free_ char *text = NULL;
        int mode, r = state_dir_read_mode(m->state, &text);

        if (r == -ENOENT)
                return;
        mode = r < 0 ? r : mode_from_string(text);
        /* A mode that cannot be read may have been `off`: the kill switch must not fail open. */
        if (mode < 0) {
                log_error("The saved mode cannot be read; profiling stays off until SetMode is called.");
                mode = MODE_OFF;
        }
        (void)groups_set_mode(engine_groups(m->engine), (enum mode)mode, NULL); /* nothing runs yet that could be against it */
}

/* Construction */

int manager_new(sd_event *event, struct engine *engine, struct state_dir *state, const struct manager_settings *settings,
        struct manager **ret, char **reterr) {
        _cleanup_(manager_freep) struct manager *m = calloc(1, sizeof(*m));
        int r;

        if (!m)
                return -ENOMEM;
        m->event = sd_event_ref(event);
        m->engine = engine;
        m->state = state;
        m->settings = *settings;
        r = report_writer_new(event, state, &settings->reports, REPORTS_LOOK_USEC, on_written, m, &m->writer, reterr);
        if (r < 0)
                return r;
        r = sd_event_add_time_relative(event, &m->clean_source, CLOCK_MONOTONIC, 0, 0, on_clean, m);
        if (r < 0)
                return fail(reterr, r, "Cannot prepare the event loop: %s.", strerror(-r));
        (void)sd_event_source_set_priority(m->clean_source, SD_EVENT_PRIORITY_IDLE);
        (void)sd_event_source_set_enabled(m->clean_source, SD_EVENT_OFF);
        r = manager_prepare_oom(m, reterr);
        if (r >= 0)
                r = manager_prepare_saving(m, reterr);
        if (r >= 0)
                r = manager_prepare_budget(m, reterr);
        if (r < 0)
                return r;
        load_mode(m);
        m->told_mode = manager_mode(m);
        m->told_effective_mode = manager_effective_mode(m);
        *ret = TAKE(m);
        return 0;
}

void manager_stop_all(struct manager *m) {
        manager_release_all(m, true, "daemon-stop");
        report_writer_finish(m->writer);
        m->restored = false;
        saved_state_remove(m->settings.run_dir);
}

/* Their memory: what they count goes on. */
static void forget_all(struct manager *m) {
        while (m->registry.n > 0) {
                struct registration *r = m->registry.items[m->registry.n - 1];

                registry_remove(&m->registry, r);
                registration_free(r);
        }
}

struct manager *manager_free(struct manager *m) {
        if (!m)
                return NULL;
        m->listener = NULL;
        if (m->left)
                forget_all(m);
        else
                manager_release_all(m, true, "daemon-stop");
        registry_done(&m->registry);
        report_writer_free(m->writer);
        sd_event_source_disable_unref(m->clean_source);
        sd_event_source_disable_unref(m->budget_source);
        sd_event_source_disable_unref(m->save_source);
        sd_event_source_disable_unref(m->lease_source);
        manager_done_oom(m);
        free(m->gone);
        sd_event_unref(m->event);
        free(m);
        return NULL;
}

void manager_listen(struct manager *m, const struct manager_listener *listener, void *userdata) {
        m->listener = listener;
        m->listener_data = userdata;
}

const struct registry *manager_registry(const struct manager *m) {
        return &m->registry;
}

struct engine *manager_engine(const struct manager *m) {
        return m->engine;
}

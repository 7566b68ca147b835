/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory that runs out in a profiled cgroup: a summary for the report, a line in the journal with the largest sites.
 *
 * The kernel tells before it kills, and most of what the victim held is gone milliseconds later: so the summary is taken at
 * once, and the journal hears of it when the kills have been counted. A kill right after memory ran out is the same trouble,
 * not another one: it corrects the snapshot that is there.
 *
 * Invariants, whatever containers do: counts are read at most 500 times a second for all profiles together, and of one profile
 * 50 times; a summary is taken at most twice a second, and of one profile every ten seconds. What has to wait is not forgotten:
 * the last snapshot is that of the last trouble.
 */
#include "filter.h"
#include "journal.h"
#include "manager-private.h"
#include "summary.h"

#define TURN_USEC INT64_C(2000) /* of one reading, of some 20 us */
#define SPACING_USEC INT64_C(10000000)
#define PACE_USEC INT64_C(500000) /* between two summaries, of some 20 ms with thousands of sites */

/* From one reading to the next, once the kernel has told something. */
static const int64_t looks_usec[] = {1000, 2000, 4000, 8000};

/* How long after memory ran out a kill belongs to that: v1 counts it unannounced, and the look comes every two seconds. */
#define KILL_USEC INT64_C(3000000)

#define SNAPSHOT_SITES 10
#define TOLD_SITES 3

/* Of names in the journal, whose lines have 2048 bytes: four for each of these at most, and all three sites shall be seen. */
#define KEY_BYTES_MAX 100
#define NAME_BYTES_MAX 128

/* The largest sites in words, or NULL. Kernel strings as they are, cut: the journal's line is escaped as a whole, in log.c. */
static char *largest_sites(const struct summary *s) {
        char *text = NULL;

        for (size_t i = 0; i < s->n_rows && i < TOLD_SITES; i++) {
                _cleanup_free_ char *before = TAKE(text);
                const struct row *row = &s->rows[i];

                text = format("%s%s%.*s (%lld KiB)", before ? before : "", before ? ", " : "", KEY_BYTES_MAX, row->key,
                        ((long long)figures_live_bytes(&row->figures) + 1023) / 1024);
                if (!text)
                        return NULL;
        }
        return text ? text : strdup("none is known");
}

static int keep(struct registration *r, const struct summary *s) {
        struct report_snapshot snapshot = {
                .reason = r->oom.kills > r->snapshot_kills ? "oom-kill" : "oom",
                .at_us = s->at_us,
                .ooms = r->oom.ooms,
                .oom_kills = r->oom.kills,
                .summary = report_summary(s),
        };

        if (!snapshot.summary)
                return -ENOMEM;
        registration_changed(r);
        snapshots_add(&r->snapshots, &snapshot);
        r->snapshot_kills = r->oom.kills;
        free(r->untold);
        r->untold = largest_sites(s);
        return 0;
}

static void take(struct manager *m, struct registration *r) {
        _cleanup_(filter_done) struct filter filter = {};
        _cleanup_(summary_freep) struct summary *s = NULL;
        _cleanup_free_ char *sentence = NULL;
        int error;

        r->snapshot_due = false;
        error = filter_set_integer(&filter, "limit", SNAPSHOT_SITES, &sentence);
        if (error >= 0)
                error = profile_glance(r->profile, &filter, &s, &sentence);
        if (error >= 0) {
                s->mode = r->mode;
                error = keep(r, s);
        }
        if (error < 0)
                log_error("Memory ran out in %s %s, but no summary could be kept: %s", r->views[0]->kind, r->views[0]->id,
                        sentence ? sentence : strerror(-error));
        r->snapshot_us = m->snapshot_us = monotonic_us();
}

/* When a snapshot of this profile may be taken. */
static int64_t turn_of(const struct manager *m, const struct registration *r) {
        int64_t own = r->snapshot_us ? r->snapshot_us + SPACING_USEC : 0, all = m->snapshot_us ? m->snapshot_us + PACE_USEC : 0;

        return own > all ? own : all;
}

static struct registration *next_due(const struct manager *m) {
        struct registration *next = NULL;

        for (size_t i = 0; i < m->registry.n; i++) {
                struct registration *r = m->registry.items[i];

                if (r->snapshot_due && (!next || turn_of(m, r) < turn_of(m, next)))
                        next = r;
        }
        return next;
}

static void wait_for_turns(struct manager *m) {
        struct registration *r = next_due(m);

        if (r && sd_event_source_set_time(m->snapshot_source, (uint64_t)turn_of(m, r)) >= 0)
                (void)sd_event_source_set_enabled(m->snapshot_source, SD_EVENT_ONESHOT);
}

/* Tells the journal of the newest snapshot. */
static void tell_oom(struct registration *r) {
        _cleanup_free_ char *sites = TAKE(r->untold), *kills = NULL;
        const struct view *v = r->views[0];

        if (!sites)
                return;
        kills = r->oom.kills >= 0 ? format(" (%lld tasks killed by now)", (long long)r->oom.kills) : strdup("");
        journal_profile(LOG_WARNING, JOURNAL_OOM, r, "Memory ran out in %s %.*s%s. Largest sites: %s.", v->kind, NAME_BYTES_MAX,
                v->name, kills ? kills : "", sites);
}

static int on_turn(sd_event_source *s, uint64_t usec, void *userdata) {
        struct manager *m = userdata;
        struct registration *r = next_due(m);

        if (r && turn_of(m, r) <= monotonic_us()) {
                take(m, r);
                tell_oom(r);
        }
        wait_for_turns(m);
        return 0;
}

/* The newest snapshot is of this trouble: what it says of kills was too early. */
static void correct(struct registration *r) {
        struct report_snapshot *last = snapshots_last(&r->snapshots);

        if (!last)
                return;
        registration_changed(r);
        last->reason = "oom-kill";
        last->oom_kills = r->snapshot_kills = r->oom.kills;
}

/* Reads the counts; true when there is trouble that no snapshot shows. The first reading is what was before. */
static bool is_news(struct registration *r, uint64_t times) {
        struct oom_counts before = r->oom, now = before;
        bool first = before.ooms < 0 && before.kills < 0, ran_out;

        if (oom_read(profile_cgroup(r->profile), &now) < 0 && times == 0)
                return false;
        if (profile_cgroup(r->profile)->layout != CGROUP_V2)
                now.ooms = (before.ooms < 0 ? 0 : before.ooms) + (int64_t)times;
        registration_changed(r);
        r->oom = now;
        if (first && times == 0) {
                r->snapshot_kills = now.kills;
                return false;
        }
        ran_out = now.ooms > before.ooms;
        if (ran_out)
                r->oom_us = monotonic_us();
        if (ran_out || now.kills <= before.kills)
                return ran_out;
        if (r->oom_us == 0 || monotonic_us() - r->oom_us > KILL_USEC)
                return true;
        if (!r->snapshot_due)
                correct(r);
        return false;
}

static void note(struct registration *r, uint64_t times) {
        struct manager *m = r->owner;

        if (profile_is_record(r->profile) || r->ended || !is_news(r, times))
                return;
        r->snapshot_due = true;
        if (turn_of(m, r) <= monotonic_us())
                take(m, r);
        else
                wait_for_turns(m);
}

void manager_note_oom(struct registration *r) {
        note(r, 0);
        tell_oom(r);
}

/* When counts may be read again, after `usec` at the earliest. */
static uint64_t pause_for(struct manager *m, int64_t usec) {
        int64_t now = monotonic_us();

        if (m->oom_turn_us < now)
                m->oom_turn_us = now;
        m->oom_turn_us += TURN_USEC;
        return (uint64_t)(m->oom_turn_us - now > usec ? m->oom_turn_us - now : usec);
}

uint64_t manager_oom(void *userdata, uint64_t times) {
        struct registration *r = userdata;

        note(r, times);
        r->oom_looks = 0;
        return pause_for(r->owner, looks_usec[0]);
}

uint64_t manager_oom_again(void *userdata) {
        struct registration *r = userdata;

        note(r, 0);
        if (++r->oom_looks < ELEMENTS(looks_usec))
                return pause_for(r->owner, looks_usec[r->oom_looks]);
        tell_oom(r);
        return 0;
}

void manager_finish_oom(struct registration *r) {
        if (r->snapshot_due)
                take(r->owner, r);
        tell_oom(r);
}

int manager_prepare_oom(struct manager *m, char **reterr) {
        int r;

        r = sd_event_add_time(m->event, &m->snapshot_source, CLOCK_MONOTONIC, 0, 0, on_turn, m);
        if (r >= 0)
                r = sd_event_source_set_enabled(m->snapshot_source, SD_EVENT_OFF);
        return r < 0 ? fail(reterr, r, "Cannot prepare the event loop: %s.", strerror(-r)) : 0;
}

void manager_done_oom(struct manager *m) {
        sd_event_source_disable_unref(m->snapshot_source);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the programs cost, held against CpuBudget=: the kernel measures their run time for a moment now and then, and when it is
 * too much twice in a row, profiles take fewer stacks: those that have all of them take samples, else those that sample take
 * none. What is counted stays exact; which code a page is for is what is lost, and each document says so.
 *
 * Invariants: one step at a time, so that its effect is seen before the next one; no step is undone, because it would be taken
 * again; nothing is measured while nothing is profiled.
 */
#include <time.h>

#include "journal.h"
#include "manager-private.h"

/* Measuring costs something itself (two readings of the clock for each run of a program): 4 % of the time that much. */
#define LOOK_USEC (UINT64_C(5) * 1000000)
#define WINDOW_USEC (UINT64_C(200) * 1000)
#define TIMES 2 /* in a row */

static bool anybody_counts(const struct manager *m) {
        for (size_t i = 0; i < m->registry.n; i++)
                if (!m->registry.items[i]->ended && !profile_is_record(m->registry.items[i]->profile))
                        return true;
        return false;
}

/* One step for all that take most now. Returns how many did. */
static size_t step_down(struct manager *m, bool from_all) {
        size_t n = 0;

        for (size_t i = 0; i < m->registry.n; i++) {
                struct registration *r = m->registry.items[i];
                _cleanup_free_ char *sentence = NULL;
                int error;

                if (r->ended || (profile_label(r->profile)->spec.stacks == STACKS_ALL) != from_all)
                        continue;
                error = profile_step_down(r->profile, &sentence);
                if (error < 0)
                        log_warning("The stacks of %s %s cannot be left out: %s", r->views[0]->kind, r->views[0]->id,
                                sentence ? sentence : strerror(-error));
                n += error > 0;
                registration_changed(r);
                if (error > 0)
                        journal_profile(LOG_WARNING, JOURNAL_BUDGET, r,
                                "The profile of %s %s takes %s from now on, to cost less.", r->views[0]->kind, r->views[0]->id,
                                from_all ? "samples instead of all stacks" : "no stacks of pages");
        }
        return n;
}

/* Hundredths of a percent of all CPUs. */
static uint64_t share_of(uint64_t run_ns, uint64_t usec) {
        long cpus = sysconf(_SC_NPROCESSORS_ONLN);
        uint64_t all_ns = usec * 1000 * (uint64_t)(cpus > 0 ? cpus : 1);

        return all_ns ? run_ns * 10000 / all_ns : 0;
}

static void judge(struct manager *m, uint64_t share) {
        m->over_budget = share > m->settings.cpu_budget ? m->over_budget + 1 : 0;
        log_debug("The programs take %llu.%02llu %% of the CPUs.", (unsigned long long)share / 100,
                (unsigned long long)share % 100);
        if (m->over_budget < TIMES)
                return;
        m->over_budget = 0;
        if (m->unsaved)
                manager_save(m); /* groups are wiped when there are none left */
        if (step_down(m, true) == 0 && step_down(m, false) == 0)
                return; /* there is nothing less */
        log_notice("The programs take %llu.%02llu %% of the CPUs, and CpuBudget= allows %llu.%02llu %%.",
                (unsigned long long)share / 100, (unsigned long long)share % 100,
                (unsigned long long)m->settings.cpu_budget / 100, (unsigned long long)m->settings.cpu_budget % 100);
        manager_save(m);
}

static int on_look(sd_event_source *s, uint64_t usec, void *userdata) {
        struct manager *m = userdata;
        struct engine *e = m->engine;
        uint64_t run_ns, next = LOOK_USEC;

        if (m->measuring_us) {
                if (engine_cost(e, false, &run_ns) >= 0)
                        judge(m, share_of(run_ns, (uint64_t)(monotonic_us() - m->measuring_us)));
                m->measuring_us = 0;
        } else if (anybody_counts(m) && engine_cost(e, true, NULL) >= 0) {
                m->measuring_us = monotonic_us();
                next = WINDOW_USEC;
        }
        (void)sd_event_source_set_time_relative(s, next);
        (void)sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
        return 0;
}

int manager_prepare_budget(struct manager *m, char **reterr) {
        int r;

        if (m->settings.cpu_budget == 0)
                return 0;
        r = sd_event_add_time_relative(m->event, &m->budget_source, CLOCK_MONOTONIC, LOOK_USEC, 0, on_look, m);
        return r < 0 ? fail(reterr, r, "Cannot prepare the event loop: %s.", strerror(-r)) : 0;
}

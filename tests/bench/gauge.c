/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bench.h"

int gauge_new(const struct tracker_options *options, struct gauge *ret, char **reterr) {
        int r = tracker_bpf_new(options, &ret->tracker, reterr);

        return r < 0 ? r : empty_new(ret->tracker, &ret->floor, reterr);
}

void gauge_done(struct gauge *g) {
        empty_free(g->floor);
        tracker_free(g->tracker);
}

int nothing_on(unsigned argument, char **reterr) {
        return 0;
}

void nothing_off(void) {
}

int floor_on(unsigned argument, char **reterr) {
        return empty_attach(bench.live.floor, reterr);
}

void floor_off(void) {
        empty_detach(bench.live.floor);
}

/* Others allocate meanwhile: of several countings the least is ours. */
static int count_loop(const struct loop *loop, double *ret, char **reterr) {
        unsigned n = loop_operations(loop, bench.effort.ops);

        for (unsigned i = 0; i < loop_repeats(loop, bench.effort.repeats); i++) {
                uint64_t before = empty_allocations(bench.live.floor);
                double ns, events;
                int r = runner_run(bench.place->runner, loop, n, &ns);

                if (r < 0)
                        return fail(reterr, r, "The loop %s failed: %s.", loop->name, strerror(-r));
                events = (double)(empty_allocations(bench.live.floor) - before) / n / loop->width;
                if (i == 0 || events < *ret)
                        *ret = events;
        }
        return 0;
}

int count_events(struct series *f, char **reterr) {
        _cleanup_close_ int statistics = empty_statistics();
        int r;

        if (statistics < 0)
                return fail(reterr, statistics, "The kernel does not count runs of BPF programs: %s.", strerror(-statistics));
        r = empty_attach(bench.live.floor, reterr);
        for (size_t i = 0; r >= 0 && i < _LOOPS; i++)
                if (bench.effort.wanted[i])
                        r = count_loop(&loops[i], &f->events[i], reterr);
        empty_detach(bench.live.floor);
        return r;
}

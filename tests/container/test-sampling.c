/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Estimates against the truth: two trackers watch one cgroup at the same time, one takes the stack of one page in 64 KiB, the
 * other that of every page. In many rounds of a mix of sites, the estimate of each site is held against what it was.
 */
#include <fcntl.h>
#include <math.h>
#include <sys/mman.h>

#include "names.h"
#include "subject.h"

#define ROUNDS 100
#define SAMPLE (64 << 10)
#define SITES_MAX 16
#define KERNEL_LEAST (16 << 12) /* a site with less is not judged: it has a sample or none */
#define USER_LEAST (64 << 12)

/* ---- the mix --------------------------------------------------------------------------------------------------------------
 */

#define PIPES 24 /* of 16 buffers of a page each */
#define RINGS 40 /* of 16 KiB */
#define TABLES 200
#define LARGE (2ul << 20) /* what one page of the page tables spans */
#define ANON (4ul << 20)
#define SHMEM (3ul << 20)
#define COPIED (2ul << 20)

static char *map(size_t bytes, int fd) {
        char *area = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);

        must(area != MAP_FAILED, "mmap");
        must(madvise(area, bytes, MADV_NOHUGEPAGE) == 0, "MADV_NOHUGEPAGE");
        return area;
}

/* Reading gives a zero page, which is nobody's, in a page table that is ours. */
static void fill_page_tables(void) {
        volatile char *area = map(TABLES * LARGE, -1);

        for (size_t i = 0; i < TABLES; i++)
                (void)area[i * LARGE];
}

static void fill_pipes(void) {
        static const char bytes[64 << 10];

        for (size_t i = 0; i < PIPES; i++) {
                must(pipe(&held[2 * i]) == 0, "pipe");
                must(write(held[2 * i + 1], bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes), "write");
        }
}

static void widen_pipes(void) {
        for (size_t i = 0; i < RINGS; i++) {
                int *ends = &held[2 * (PIPES + i)];

                must(pipe(ends) == 0 && fcntl(ends[0], F_SETPIPE_SZ, 1 << 20) >= 0, "pipe");
        }
}

static void fill_user_pages(void) {
        int fd = memfd_create("sampling", MFD_CLOEXEC);
        static char bytes[64 << 10];
        char *area;

        must(fd >= 0, "memfd_create");
        for (size_t at = 0; at < SHMEM; at += sizeof(bytes))
                must(write(fd, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes), "write");
        area = map(ANON, -1);
        for (size_t at = 0; at < ANON; at += 4096)
                area[at] = 1;
        area = map(COPIED, fd);
        for (size_t at = 0; at < COPIED; at += 4096)
                area[at] = 1;
}

static void hold_the_mix(void) {
        fill_page_tables();
        fill_pipes();
        widen_pipes();
        fill_user_pages();
}

/* ---- what came of it ------------------------------------------------------------------------------------------------------
 */

struct judged {
        uint64_t address;
        char name[64];
        unsigned n, within;
        double sum, squares; /* of what estimates were off by */
};

struct tally {
        struct judged sites[SITES_MAX];
        size_t n_sites;
        unsigned n, within;
};

static struct judged *judged_site(struct tally *t, const struct measure *truth) {
        size_t i = 0;

        while (i < t->n_sites && t->sites[i].address != truth->address)
                i++;
        assert_true(i < SITES_MAX);
        if (i == t->n_sites) {
                t->n_sites++;
                t->sites[i].address = truth->address;
                snprintf(t->sites[i].name, sizeof(t->sites[i].name), "%s", truth->symbol.name ?: "?");
        }
        return &t->sites[i];
}

static bool is_page(const struct measure *m) {
        return m->charged && (m->type == TYPE_PAGE || m->type == TYPE_VMALLOC) && !measure_is_synthetic(m);
}

/* A site that no sample hit is estimated to be nothing, without an error, and is wrong then. */
static void judge(struct tally *t, const struct measure *truth, const struct measures *estimates) {
        struct judged *site = judged_site(t, truth);
        double off = (double)-tracker_counts_live(&truth->counts), error = 0;

        for (size_t i = 0; i < estimates->n; i++) {
                const struct measure *m = &estimates->items[i];

                if (m->address != truth->address || m->type != truth->type || m->charged != truth->charged)
                        continue;
                off += (double)tracker_counts_live(&m->counts);
                error = hypot(error, (double)m->error_bytes);
        }
        site->n++;
        site->within += fabs(off) <= 2 * error;
        site->sum += off;
        site->squares += off * off;
}

static int64_t live_pages(const struct measures *m) {
        int64_t bytes = 0;

        for (size_t i = 0; i < m->n; i++)
                if (m->items[i].charged && (m->items[i].type == TYPE_PAGE || m->items[i].type == TYPE_VMALLOC))
                        bytes += tracker_counts_live(&m->items[i].counts);
        return bytes;
}

/* One round's reading of one tracker, as a document would have it. */
static struct measures take(struct tracker *t, unsigned group, struct names *names) {
        struct tracker_sample sample = {};
        struct measures m = {};

        assert_int_equal(t->ops->read(t, group, &sample), 0);
        assert_int_equal(names_measure(names, &sample, &m), 0);
        measures_scale(&m);
        assert_int_equal(live_pages(&m), tracker_counts_live(&m.pages)); /* rows add up to what was counted, always */
        tracker_sample_done(&sample);
        return m;
}

static void report(struct tally *t) {
        for (size_t i = 0; i < t->n_sites; i++) {
                const struct judged *s = &t->sites[i];
                double mean = s->sum / s->n, error = sqrt((s->squares / s->n - mean * mean) / (s->n - 1));

                print_message("# %s: %u of %u within two sigma, off by %.0f on average, standard error %.0f\n", s->name,
                        s->within, s->n, mean, error);
                if (s->n < ROUNDS) /* at times it was too small to be judged: the larger half only is no fair sample */
                        continue;
                t->n += s->n;
                t->within += s->within;
                /* of the six or so sites of a run one would be beyond three in every sixtieth run */
                if (fabs(mean) > 4 * error + 1)
                        fail_msg("%s is biased", s->name);
        }
        print_message("# %u of %u estimates are within two sigma: %.1f %%\n", t->within, t->n, 100.0 * t->within / t->n);
        assert_true(t->n >= 2 * ROUNDS);
        assert_true(t->within >= t->n * 9 / 10);
}

static void test_estimates(void **state) {
        /* with alloc tags there is nothing to estimate but user pages */
        const struct tracker_options small = {.objects = 1 << 16, .groups = ROUNDS + 8, .user_sample = 1, .no_tags = true};
        struct tracker *sampler = tracker_of(&small), *exact = tracker_of(&small);
        struct names *sampled_names = NULL, *exact_names = NULL;
        struct cgroup *c = group_new("sampling"), *idle = group_new("idle");
        struct tally kernel = {}, user = {};

        (void)begin(sampler, idle); /* so that programs stay attached between the rounds */
        (void)begin(exact, idle);
        assert_int_equal(names_new("/proc/kallsyms", &sampled_names), 0);
        assert_int_equal(names_new("/proc/kallsyms", &exact_names), 0);
        for (size_t round = 0; round < ROUNDS; round++) {
                unsigned some = begin_with(sampler, c, &(struct tracker_wish){.page_sample = SAMPLE}),
                         all = begin_with(exact, c, &(struct tracker_wish){.page_sample = 1});
                struct subject s = subject_new(c->path, hold_the_mix, nothing);
                struct measures estimates, truth;

                subject_step(&s);
                estimates = take(sampler, some, sampled_names);
                truth = take(exact, all, exact_names);
                assert_near(tracker_counts_live(&estimates.pages), tracker_counts_live(&truth.pages), SLACK);
                for (size_t i = 0; i < truth.n; i++) {
                        const struct measure *m = &truth.items[i];

                        assert_true(m->error_bytes == 0);
                        if (is_page(m) && tracker_counts_live(&m->counts) >= KERNEL_LEAST)
                                judge(&kernel, m, &estimates);
                        if (m->type == TYPE_USER && tracker_counts_live(&m->counts) >= USER_LEAST)
                                judge(&user, m, &estimates);
                }
                measures_done(&estimates);
                measures_done(&truth);
                subject_end(&s);
                sampler->ops->end(sampler, some);
                exact->ops->end(exact, all);
        }
        print_message("# kernel pages, one stack in %d KiB, %d rounds\n", SAMPLE >> 10, ROUNDS);
        report(&kernel);
        print_message("# user pages\n");
        report(&user);
        names_free(sampled_names);
        names_free(exact_names);
        group_end(c);
        group_end(idle);
        tracker_free(sampler);
        tracker_free(exact);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_estimates),
        };

        return run_program(tests, ELEMENTS(tests), argc, argv);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Ours beside what else can be had, on the same loops in the same rounds. bpftrace reads tracefs and filters by the process's
 * cgroup in the v2 hierarchy; both are made for it here, in our own mount namespace and as a group of our own.
 */
#include <mntent.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "bench.h"
#include "peer.h"

enum { BASE, FLOOR, LIVE, LIVE_STACKS, STACKS, STACKS_LIVE, MEMLEAK, _SETTINGS };

static struct {
        struct peer *peer;
        unsigned group;
        char *unified; /* a group in the v2 hierarchy, when memory is on v1 */
        char *filter;  /* of bpftrace */
} now;

/* ---- what bpftrace needs --------------------------------------------------------------------------------------------------
 */

static int need_tracefs(char **reterr) {
        if (access("/sys/kernel/tracing/events", F_OK) < 0 &&
                mount("tracefs", "/sys/kernel/tracing", "tracefs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
                return fail(reterr, -errno, "tracefs cannot be mounted: %s", strerror(errno));
        return 0;
}

static char *unified_mount(void) {
        FILE *f = setmntent("/proc/self/mounts", "re");
        char *found = NULL;

        for (struct mntent *m = f ? getmntent(f) : NULL; m && !found; m = getmntent(f))
                if (streq(m->mnt_type, "cgroup2"))
                        found = strdup(m->mnt_dir);
        if (f)
                endmntent(f);
        return found;
}

static int enter(const char *group) {
        _cleanup_free_ char *file = format("%s/cgroup.procs", group);
        _cleanup_fclose_ FILE *f = file ? fopen(file, "we") : NULL;

        return f && fprintf(f, "%d\n", (int)runner_pid(bench.place->runner)) > 0 && fflush(f) == 0 ? 0 : -errno;
}

/* The id that bpftrace's `cgroup` is compared with: always one of the v2 hierarchy. */
static int find_filter(char **reterr) {
        _cleanup_free_ char *mount_point = unified_mount();
        struct stat st;

        if (bench.place->root->layout == CGROUP_V2)
                now.filter = format("cgroup == %llu", (unsigned long long)bench.place->inside->id);
        else if (!mount_point)
                return fail(reterr, -ENOTSUP, "no v2 hierarchy is mounted, and bpftrace filters by no other");
        else {
                now.unified = format("%s/memcgprof-bench-%d", mount_point, (int)getpid());
                if (!now.unified || mkdir(now.unified, 0755) < 0 || enter(now.unified) < 0 || stat(now.unified, &st) < 0)
                        return fail(reterr, -errno, "no group can be made in %s: %s", mount_point, strerror(errno));
                now.filter = format("cgroup == %llu", (unsigned long long)st.st_ino);
        }
        return now.filter ? 0 : -ENOMEM;
}

static void forget_filter(void) {
        if (now.unified) {
                _cleanup_free_ char *above = strndup(now.unified, (size_t)(strrchr(now.unified, '/') - now.unified));

                (void)enter(above);
                (void)rmdir(now.unified);
        }
        free(now.unified);
        free(now.filter);
}

/* ---- settings -------------------------------------------------------------------------------------------------------------
 */

static int live_on(unsigned setting, char **reterr) {
        /* a stack for every page allocation, instead of one per 16 KiB */
        const struct tracker_wish wish = {.page_sample = setting == LIVE_STACKS ? 1 : 0};

        return bench.live.tracker->ops->begin(bench.live.tracker, bench.place->inside, &wish, &now.group, reterr);
}

static void live_off(void) {
        bench.live.tracker->ops->end(bench.live.tracker, now.group);
        bench.live.tracker->ops->clean(bench.live.tracker);
}

static const struct event {
        const char *allocation, *bytes, *release, *key;
} events[] = {
        {"kmem:kmalloc", "args->bytes_alloc", "kmem:kfree", "args->ptr"},
        {"kmem:kmem_cache_alloc", "args->bytes_alloc", "kmem:kmem_cache_free", "args->ptr"},
        {"kmem:mm_page_alloc", "(4096 << args->order)", "kmem:mm_page_free", "args->pfn"},
        {"percpu:percpu_alloc_percpu", "args->bytes_alloc", "percpu:percpu_free_percpu", "args->ptr"},
};

/* Bytes by stack: what has been allocated, and no more. */
static void write_stacks(FILE *f, const struct event *e) {
        fprintf(f, "tracepoint:%s /%s/ { @[kstack] = sum(%s); }\n", e->allocation, now.filter, e->bytes);
}

/* What is alive: an object's size and stack until it is freed. In one map, because two cost more. */
static void write_live(FILE *f, const struct event *e) {
        fprintf(f, "tracepoint:%s /%s/ { @[(uint64)%s] = ((uint64)%s, kstack); }\n", e->allocation, now.filter, e->key,
                e->bytes);
        fprintf(f, "tracepoint:%s { delete(@[(uint64)%s]); }\n", e->release, e->key);
}

static char *make_script(void (*write_event)(FILE *f, const struct event *e)) {
        char *script = NULL;
        size_t n;
        FILE *f = open_memstream(&script, &n);

        if (!f)
                return NULL;
        for (size_t i = 0; i < ELEMENTS(events); i++)
                write_event(f, &events[i]);
        fprintf(f, "interval:ms:200 { printf(\"ready\\n\"); }\n");
        if (fclose(f) == 0)
                return script;
        free(script);
        return NULL;
}

static int bpftrace_on(unsigned setting, char **reterr) {
        _cleanup_free_ char *script = NULL;
        const char *argv[] = {"bpftrace", "-e", NULL, NULL};
        int r = now.filter ? 0 : find_filter(reterr);

        if (r < 0)
                return r;
        script = make_script(setting == STACKS ? write_stacks : write_live);
        argv[2] = script;
        return script ? peer_start(argv, "ready\n", &now.peer, reterr) : -ENOMEM;
}

/* It traces the whole machine's kernel; its first report says that it does. */
static int memleak_on(unsigned setting, char **reterr) {
        static const char *const argv[] = {"memleak-bpfcc", "1", NULL};

        return peer_start(argv, "outstanding allocations", &now.peer, reterr);
}

static void peer_off(void) {
        now.peer = peer_stop(now.peer);
}

static const struct setting settings[_SETTINGS] = {
        [BASE] = {"no programs", 0, 0, nothing_on, nothing_off},
        [FLOOR] = {"floor: empty programs, to live tracking", LIVE, 0, floor_on, floor_off},
        [LIVE] = {"memcgprof, live tracking", LIVE, 0, live_on, live_off, LIVE},
        [LIVE_STACKS] = {"memcgprof, live, a stack for every page", LIVE, 0, live_on, live_off, LIVE_STACKS},
        [STACKS] = {"bpftrace, bytes by stack, in the cgroup", LIVE, 0, bpftrace_on, peer_off, STACKS},
        [STACKS_LIVE] = {"bpftrace, live objects with stacks", LIVE, 0, bpftrace_on, peer_off, STACKS_LIVE},
        [MEMLEAK] = {"memleak (bcc)", LIVE, 0, memleak_on, peer_off},
};

int peers_run(char **reterr) {
        static struct rounds rounds = {.settings = settings, .n = _SETTINGS};
        int r;

        rounds.effort = &bench.effort;
        r = need_tracefs(reterr);
        if (r >= 0)
                r = gauge_new(NULL, &bench.live, reterr);
        if (r >= 0)
                r = count_events(&rounds.figures, reterr);
        if (r >= 0) {
                printf("Ratios are to the cost that memcgprof's live tracking adds.\n");
                r = rounds_run(&rounds, bench.place, true, reterr);
        }
        rounds_done(&rounds);
        forget_filter();
        return r;
}

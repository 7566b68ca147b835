/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The traps that lie in pages: those of users, those that are freed in parts, those of stacks and of vmalloc. As test-traps.c.
 */
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>

#include "subject.h"

/* ---- page cache -----------------------------------------------------------------------------------------------------------
 */

/*
 * An eighth of 4 GiB beside an eighth of the object table: memory that a virtual machine touches for the first time is slow.
 * MEMCGPROF_TRAP_CACHE_MIB says otherwise.
 */
#define CACHE_BYTES (512ll << 20)
#define CACHE_OBJECTS (1 << 17)

static int big_file;
static int64_t big_file_bytes;

static void read_big_file(void) {
        static char buffer[1 << 20];

        for (int64_t at = 0; at < big_file_bytes; at += (int64_t)sizeof(buffer))
                must(pread(big_file, buffer, sizeof(buffer), at) == (ssize_t)sizeof(buffer), "pread");
}

static void drop_big_file(void) {
        must(posix_fadvise(big_file, 0, 0, POSIX_FADV_DONTNEED) == 0, "posix_fadvise");
}

static void make_big_file(void) {
        const char *wanted = getenv("MEMCGPROF_TRAP_CACHE_MIB");
        char path[] = "/var/tmp/memcgprof-trap-XXXXXX";
        struct sysinfo info;

        sysinfo(&info);
        big_file_bytes = wanted ? atoll(wanted) << 20 : CACHE_BYTES;
        while (big_file_bytes > (int64_t)((info.freeram + info.bufferram) * info.mem_unit / 2))
                big_file_bytes /= 2;
        big_file = mkostemp(path, O_CLOEXEC);
        assert_true(big_file >= 0);
        unlink(path);
        assert_int_equal(ftruncate(big_file, big_file_bytes), 0);
}

static void test_page_cache(void **state) {
        struct watch w = watch_with("cache", &(struct tracker_options){.objects = CACHE_OBJECTS}, &(struct tracker_wish){});
        struct subject s;
        int64_t cached, file_before = counter_of(w.c, MEMCG_FILE);
        struct reading r;

        make_big_file();
        s = subject_new(w.c->path, read_big_file, drop_big_file);
        subject_step(&s);
        cached = counter_of(w.c, MEMCG_FILE) - file_before;
        r = check_agrees(&w, "cached", SLACK);
        print_message("# page cache %lld, estimated %lld, sigma %lld; kernel pages %lld charged, %lld not\n", (long long)cached,
                (long long)r.estimated, (long long)r.error, (long long)r.live[1][TYPE_PAGE], (long long)r.live[0][TYPE_PAGE]);
        assert_true(cached > big_file_bytes / 2);
        assert_near(r.estimated, cached, 5 * r.error + (4 << 20));
        assert_int_equal(r.lost[LOSS_OBJECTS_FULL], 0);
        assert_true(r.live[0][TYPE_PAGE] < 16 << 20);
        subject_step(&s);
        r = check_agrees(&w, "dropped", SLACK);
        cached = counter_of(w.c, MEMCG_FILE) - file_before;
        assert_near(r.estimated, cached, 5 * r.error + (4 << 20));
        subject_end(&s);
        close(big_file);
        watch_end(&w);
}

/* ---- pages allocated in one piece and freed in parts ----------------------------------------------------------------------
 */

#define HUGE (2ul << 20)
#define HUGES 32

static char *huge;

static void hold_huge_pages(void) {
        char *area = mmap(NULL, (HUGES + 1) * HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), line[256];
        _cleanup_fclose_ FILE *f = fopen("/proc/self/smaps_rollup", "re");
        long kib = 0;

        must(area != MAP_FAILED && f, "mmap or smaps_rollup");
        huge = (char *)(((uintptr_t)area + HUGE - 1) & ~(HUGE - 1));
        if (madvise(huge, HUGES * HUGE, MADV_HUGEPAGE) < 0)
                cannot("this kernel has no huge pages");
        for (size_t i = 0; i < HUGES * HUGE; i += 4096)
                huge[i] = 1;
        while (fgets(line, sizeof(line), f))
                (void)sscanf(line, "AnonHugePages: %ld", &kib);
        if (kib < (long)(HUGES * HUGE / 2 / 1024))
                cannot("the kernel gives no huge pages");
}

/* Advice for a part of a huge page splits it; then its first half goes, page by page. */
static void split_huge_pages(void) {
        for (size_t i = 0; i < HUGES; i++) {
                must(madvise(huge + i * HUGE, HUGE / 2, MADV_COLD) == 0, "MADV_COLD");
                must(madvise(huge + i * HUGE, HUGE / 2, MADV_DONTNEED) == 0, "MADV_DONTNEED");
        }
}

static void drop_huge_pages(void) {
        munmap(huge, HUGES * HUGE);
}

static void check_anon(const struct watch *w, const char *when) {
        struct reading r = check_agrees(w, when, SLACK);
        int64_t anon = counter_of(w->c, MEMCG_ANON);

        print_message("# %s: anonymous %lld, estimated %lld, sigma %lld\n", when, (long long)anon, (long long)r.estimated,
                (long long)r.error);
        assert_near(r.estimated, anon, 5 * r.error + (1 << 20));
}

static void test_huge_page_split(void **state) {
        struct watch w = watch_with("thp", &(struct tracker_options){.user_sample = 64 << 10}, &(struct tracker_wish){});
        struct subject s = subject_of(w.c->path, (const subject_steps_t){hold_huge_pages, split_huge_pages, drop_huge_pages});

        subject_step(&s);
        check_anon(&w, "whole");
        subject_step(&s);
        check_anon(&w, "half of each freed");
        subject_step(&s);
        check_anon(&w, "freed");
        subject_end(&s);
        watch_end(&w);
}

/*
 * An array of 8 MiB of semaphores is larger than any kmalloc, so it is vmalloc, in huge pages that vmalloc splits at once
 * (split_page) and frees one by one: accounted, and in page events. So many are allowed in an IPC namespace of our own only.
 */
#define SEMAPHORES 128000
#define SEMAPHORE_BYTES 64

static int semaphores = -1;

static void hold_semaphores(void) {
        FILE *f;

        if (semaphores < 0) {
                if (unshare(CLONE_NEWIPC) < 0)
                        cannot("a new IPC namespace is not permitted here");
                f = fopen("/proc/sys/kernel/sem", "we");
                if (!f || fprintf(f, "%d %d 32 128\n", SEMAPHORES, SEMAPHORES) < 0 || fclose(f) != 0)
                        cannot("limits of an IPC namespace may not be set here");
        }
        semaphores = semget(IPC_PRIVATE, SEMAPHORES, 0600);
        must(semaphores >= 0, "semget");
}

static void drop_semaphores(void) {
        must(semctl(semaphores, 0, IPC_RMID) == 0, "semctl");
}

static void check_split(const char *name, uint64_t page_sample) {
        struct watch w = watch_with(name, NULL, &(struct tracker_wish){.page_sample = page_sample});
        struct subject s = subject_of(
                w.c->path, (const subject_steps_t){hold_semaphores, drop_semaphores, hold_semaphores, drop_semaphores});

        for (size_t round = 0; round < 2; round++) {
                struct reading r;
                int64_t growth;

                subject_step(&s);
                r = check_agrees(&w, "held", SLACK);
                assert_true(charged_of(&r) >= SEMAPHORES * SEMAPHORE_BYTES);
                if (page_sample == 1 && r.pages_known)
                        assert_int_equal(r.live[1][TYPE_PAGE] + r.synthetic, r.pages);
                subject_step(&s);
                r = check_agrees(&w, "freed", SLACK);
                growth = kernel_counter(w.c) - w.before;
                assert_true(growth < SEMAPHORES * SEMAPHORE_BYTES / 2);
                assert_near(charged_of(&r), growth + r.unmatched, RESIDUE(r.allocated));
        }
        subject_end(&s);
        watch_end(&w);
}

static void test_vmalloc_split(void **state) {
        check_split("split", 1);
}

/* Where page stacks are sampled, totals are exact all the same. */
static void test_vmalloc_split_sampled(void **state) {
        check_split("split-sampled", 256 << 10);
}

/* The table of a million descriptors, the other large one: it goes with the process. */
static void hold_million_descriptors(void) {
        struct rlimit limit = {.rlim_cur = 1 << 20, .rlim_max = 1 << 20};

        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
                cannot("a million descriptors are not permitted here");
        must(dup2(0, (1 << 20) - 1) >= 0, "dup2");
}

static void test_descriptor_table(void **state) {
        struct watch w = watch("descriptors");
        struct subject s = subject_new(w.c->path, hold_million_descriptors, nothing);
        struct reading r;

        subject_step(&s);
        r = check_agrees(&w, "held", SLACK);
        assert_true(charged_of(&r) >= 8 << 20);
        subject_end(&s);
        check_agrees(&w, "freed", SLACK);
        watch_end(&w);
}

/* An array map of 8 MiB: vmalloc of single pages, accounted, freed by a kernel thread. */
static void hold_array_map(void) {
        union bpf_attr attr = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4096, .max_entries = 2048};

        held[0] = (int)syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));
        must(held[0] >= 0, "BPF_MAP_CREATE");
}

static void test_vmalloc(void **state) {
        struct watch w = watch("vmalloc");
        struct subject s = subject_new(w.c->path, hold_array_map, drop_held);
        struct reading r;

        subject_step(&s);
        r = check_agrees(&w, "held", SLACK);
        assert_true(charged_of(&r) >= 8 << 20);
        subject_step(&s);
        r = check_agrees(&w, "freed", SLACK);
        assert_true(charged_of(&r) < 1 << 20);
        subject_end(&s);
        watch_end(&w);
}

/*
 * A packet socket's ring is blocks of pages that nobody pays for: they come and go as uncharged pages. Some builds of 6.18 ask
 * for them with GFP_USER (seen: "6.18.44-fc-v669", not "-v782"), and then they look like user pages, which are sampled.
 */
#define BLOCK_BYTES (64 << 10)
#define BLOCKS 64

static void hold_packet_rings(void) {
        struct tpacket_req request = {
                .tp_block_size = BLOCK_BYTES,
                .tp_block_nr = BLOCKS,
                .tp_frame_size = 2048,
                .tp_frame_nr = BLOCKS * (BLOCK_BYTES / 2048),
        };

        for (size_t i = 0; i < 4; i++) {
                held[i] = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
                if (held[i] < 0)
                        cannot("packet sockets are not permitted here");
                must(setsockopt(held[i], SOL_PACKET, PACKET_RX_RING, &request, sizeof(request)) == 0, "PACKET_RX_RING");
        }
}

static void test_packet_ring(void **state) {
        struct watch w = watch_with("packet", NULL, &(struct tracker_wish){.page_sample = 1});
        struct subject s = subject_new(w.c->path, hold_packet_rings, drop_held);
        int64_t bytes = 4ll * BLOCKS * BLOCK_BYTES;
        struct reading r;

        subject_step(&s);
        r = check_agrees(&w, "held", SLACK);
        if (r.live[0][TYPE_PAGE] < bytes / 2)
                assert_near(r.estimated, bytes, 4 * r.error);
        else
                assert_near(r.live[0][TYPE_PAGE], bytes, bytes / 100);
        subject_step(&s);
        r = check_agrees(&w, "released", SLACK);
        assert_near(r.live[0][TYPE_PAGE], 0, bytes / 100);
        assert_true(r.estimated < bytes / 2);
        subject_end(&s);
        watch_end(&w);
}

/* ---- kernel stacks, and what comes and goes with a process ----------------------------------------------------------------
 */

#define THREADS 200
#define STACK_BYTES 16384

static char thread_stacks[THREADS][8192];
static volatile int threads_go;

static int wait_for_the_end(void *unused) {
        while (!threads_go)
                syscall(SYS_futex, &threads_go, 0 /* FUTEX_WAIT */, 0, NULL, NULL, 0);
        syscall(SYS_exit, 0);
        return 0;
}

static void hold_threads(void) {
        memset(thread_stacks, 1, sizeof(thread_stacks));
        for (size_t i = 0; i < THREADS; i++)
                must(clone(wait_for_the_end, thread_stacks[i] + sizeof(thread_stacks[i]),
                             CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM, NULL) > 0,
                        "clone");
}

static void drop_threads(void) {
        threads_go = 1;
        syscall(SYS_futex, &threads_go, 1 /* FUTEX_WAKE */, INT32_MAX, NULL, NULL, 0);
        usleep(200000);
}

static void test_threads(void **state) {
        struct watch w = watch("threads");
        struct subject s = subject_new(w.c->path, hold_threads, drop_threads);
        struct reading r;

        subject_step(&s);
        r = check_agrees(&w, "held", SLACK);
        /* a row of their own where stacks are vmalloc (CONFIG_VMAP_STACK), pages like others where not; never both */
        if (r.synthetic > 0)
                assert_near(r.synthetic, THREADS * STACK_BYTES, 2 * STACK_BYTES);
        else
                assert_true((r.pages_known ? r.pages : r.live[1][TYPE_PAGE]) >= THREADS * STACK_BYTES);
        subject_step(&s);
        r = check_agrees(&w, "ended", SLACK);
        assert_near(r.synthetic, 0, 2 * STACK_BYTES);
        subject_end(&s);
        watch_end(&w);
}

static void fork_and_exit(void) {
        for (size_t i = 0; i < 100; i++) {
                pid_t pid = fork();

                must(pid >= 0, "fork");
                if (pid == 0)
                        _exit(0);
                waitpid(pid, NULL, 0);
        }
}

static void test_fork_exit(void **state) {
        struct watch w = watch("fork");
        struct subject s = subject_new(w.c->path, fork_and_exit, nothing);
        struct reading r;

        subject_step(&s);
        r = check_agrees(&w, "ended", SLACK);
        assert_near(charged_of(&r) - r.unmatched, 0, RESIDUE(r.allocated));
        assert_near(r.synthetic, 0, 2 * STACK_BYTES);
        subject_end(&s);
        watch_end(&w);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_page_cache),
                cmocka_unit_test(test_huge_page_split),
                cmocka_unit_test(test_vmalloc_split),
                cmocka_unit_test(test_vmalloc_split_sampled),
                cmocka_unit_test(test_descriptor_table),
                cmocka_unit_test(test_vmalloc),
                cmocka_unit_test(test_packet_ring),
                cmocka_unit_test(test_threads),
                cmocka_unit_test(test_fork_exit),
        };

        return run_program(tests, ELEMENTS(tests), argc, argv);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Groups against each other: memory that outlives its cgroup, moves, is shared or nested; and groups that come, go, are renewed
 * and folded while memory is allocated without pause. No event may be lost or counted twice.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <time.h>

#include "subject.h"

/* ---- memory that outlives its cgroup --------------------------------------------------------------------------------------
 */

static const char *other_path;

static void move(void) {
        enter(other_path);
}

/*
 * What was allocated in a child is freed by a task elsewhere after the child was removed, when the kernel bills it to the
 * parent: it is the child's free, and the parent's group never hears of it.
 */
static void test_freed_after_removal(void **state) {
        struct watch w = watch("parent");
        struct cgroup *child = group_below(w.c, "child"), *elsewhere = group_new("removal-elsewhere");
        struct reading before, held_there, after, parent;
        unsigned inner = begin(w.t, child);
        struct subject s;

        other_path = elsewhere->path;
        s = subject_of(child->path, (const subject_steps_t){hold_pipes, move, drop_held});
        before = reading_of(w.t, w.group);
        subject_step(&s);
        held_there = reading_of(w.t, inner);
        assert_true(charged_of(&held_there) > N * 1000);
        subject_step(&s);
        group_end(child);
        usleep(300000); /* its objects change hands now */
        subject_step(&s);
        settle(w.c);
        sweep(w.t);
        after = reading_of(w.t, inner);
        parent = reading_of(w.t, w.group);
        print_message("# the child: held %lld, left %lld; the parent: %lld before, %lld after, unmatched %lld\n",
                (long long)charged_of(&held_there), (long long)charged_of(&after), (long long)charged_of(&before),
                (long long)charged_of(&parent), (long long)parent.unmatched);
        assert_near(charged_of(&after), 0, RESIDUE(after.allocated) + (64 << 10)); /* a descriptor table stays */
        assert_true(after.lowest >= 0);
        assert_near(charged_of(&parent), charged_of(&before), SLACK);
        assert_near(parent.unmatched, before.unmatched, SLACK);
        assert_true(parent.lowest >= 0);
        subject_end(&s);
        w.t->ops->end(w.t, inner);
        watch_end(&w);
        group_end(elsewhere);
}

/* ---- a task that moves, and things that two share -------------------------------------------------------------------------
 */

/* Two groups of one tracker. */
struct pair {
        struct watch a, b;
};

static struct pair pair_new(const char *a, const char *b) {
        struct pair p = {.a = watch(a)};

        p.b = (struct watch){.t = p.a.t, .c = group_new(b)};
        p.b.before = kernel_counter(p.b.c);
        p.b.group = begin(p.b.t, p.b.c);
        return p;
}

static void pair_end(struct pair *p) {
        p->b.t->ops->end(p->b.t, p->b.group);
        group_end(p->b.c);
        watch_end(&p->a);
}

static struct reading check_let_go(const struct watch *w, const char *when) {
        struct reading r = check_agrees(w, when, SLACK);

        assert_near(charged_of(&r) - r.unmatched, 0, RESIDUE(r.allocated) + (64 << 10)); /* as above */
        assert_near(r.unmatched, 0, SLACK);
        return r;
}

static int first[2 * N + 64];

static void put_aside(void) {
        memcpy(first, held, sizeof(held));
        memset(held, 0, sizeof(held));
        enter(other_path);
}

static void drop_first(void) {
        memcpy(held, first, sizeof(held));
        drop_held();
}

static void drop_both(void) {
        drop_held();
        drop_first();
}

static void test_task_moves(void **state) {
        struct pair p = pair_new("moves-from", "moves-to");
        struct subject s;
        struct reading r;

        other_path = p.b.c->path;
        s = subject_of(p.a.c->path, (const subject_steps_t){hold_pipes, put_aside, hold_sockets, drop_both});
        subject_step(&s);
        subject_step(&s);
        r = check_agrees(&p.a, "from, moved", SLACK);
        assert_true(charged_of(&r) > N * 1000);
        r = check_agrees(&p.b, "to, moved", SLACK);
        assert_true(charged_of(&r) < 1 << 20);
        subject_step(&s);
        r = check_agrees(&p.b, "to, held", SLACK);
        assert_true(charged_of(&r) > N * 1000);
        subject_step(&s);
        check_let_go(&p.a, "from, freed in the other");
        check_let_go(&p.b, "to, freed");
        subject_end(&s);
        pair_end(&p);
}

/* Files on a tmpfs that one makes, both open, and the other removes and closes last. */
#define FILES 1000

static const char *shared_directory;

static void open_files(int flags) {
        for (size_t i = 0; i < FILES; i++) {
                char path[64];

                snprintf(path, sizeof(path), "%s/%zu", shared_directory, i);
                held[i] = open(path, flags | O_CLOEXEC, 0600);
                must(held[i] >= 0, path);
        }
}

static void make_files(void) {
        open_files(O_RDWR | O_CREAT | O_EXCL);
}

static void open_them(void) {
        open_files(O_RDONLY);
}

static void remove_them(void) {
        for (size_t i = 0; i < FILES; i++) {
                char path[64];

                snprintf(path, sizeof(path), "%s/%zu", shared_directory, i);
                must(unlink(path) == 0, path);
        }
        drop_held();
}

static void test_shared_files(void **state) {
        struct pair p = pair_new("files-maker", "files-remover");
        struct subject maker, remover;
        struct reading r;

        shared_directory = scratch_directory("/dev/shm");
        maker = subject_new(p.a.c->path, make_files, drop_held);
        remover = subject_new(p.b.c->path, open_them, remove_them);
        subject_step(&maker);
        subject_step(&remover);
        r = check_agrees(&p.a, "maker, both hold", SLACK);
        assert_true(charged_of(&r) > FILES * 700);
        check_agrees(&p.b, "other, both hold", SLACK);
        subject_step(&maker);
        r = check_agrees(&p.a, "maker, closed", SLACK);
        assert_true(charged_of(&r) > FILES * 500);
        subject_step(&remover);
        check_let_go(&p.a, "maker, removed by the other");
        check_let_go(&p.b, "other, removed");
        subject_end(&maker);
        subject_end(&remover);
        pair_end(&p);
}

/* Descriptors of pipes travel by SCM_RIGHTS; the sender closes them, and the receiver's close is the last one. */
#define PASSED 500

static int channel[2];

static void pass_one(int fd) {
        char control[CMSG_SPACE(sizeof(int))] = "", byte = 'x';
        struct iovec io = {.iov_base = &byte, .iov_len = 1};
        struct msghdr message = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);

        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(int));
        must(sendmsg(channel[0], &message, 0) == 1, "sendmsg");
}

static int take_one(void) {
        char control[CMSG_SPACE(sizeof(int))] = "", byte;
        struct iovec io = {.iov_base = &byte, .iov_len = 1};
        struct msghdr message = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
        int fd = -1;

        must(recvmsg(channel[1], &message, MSG_CMSG_CLOEXEC) == 1 && CMSG_FIRSTHDR(&message), "recvmsg");
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
        return fd;
}

static void make_and_pass(void) {
        for (size_t i = 0; i < PASSED; i++) {
                int ends[2];

                must(pipe(ends) == 0, "pipe");
                pass_one(ends[0]);
                pass_one(ends[1]);
                close(ends[0]);
                close(ends[1]);
        }
        told[0] = 1;
}

static void take_all(void) {
        for (size_t i = 0; i < 2 * PASSED; i++)
                held[i] = take_one();
}

static void test_passed_descriptors(void **state) {
        struct pair p = pair_new("sender", "receiver");
        struct subject sender, receiver;
        struct reading r;

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel), 0);
        sender = subject_new(p.a.c->path, make_and_pass, nothing);
        receiver = subject_new(p.b.c->path, take_all, drop_held);
        subject_go(&sender);
        subject_step(&receiver);
        subject_wait(&sender);
        r = check_agrees(&p.a, "sender, all passed", SLACK);
        assert_true(charged_of(&r) > PASSED * 1000);
        r = check_agrees(&p.b, "receiver, holds them", SLACK);
        assert_true(charged_of(&r) < PASSED * 1000);
        subject_step(&receiver);
        check_let_go(&p.a, "sender, closed by the other");
        check_let_go(&p.b, "receiver, closed");
        subject_end(&sender);
        subject_end(&receiver);
        pair_end(&p);
}

/*
 * Connections between two containers: each pays for its end, the accepting side for what an interrupt made on v2 only. What the
 * one has sent and the other has not read is the sender's until the receiver lets it go.
 */
#define CONNECTIONS 300

static int listener;
static struct sockaddr_in listening = {.sin_family = AF_INET};

static void accept_all(void) {
        for (size_t i = 0; i < CONNECTIONS; i++) {
                held[i] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
                must(held[i] >= 0, "accept");
        }
}

static void connect_all(void) {
        static const char bytes[4000];
        struct linger now = {.l_onoff = 1, .l_linger = 0};

        for (size_t i = 0; i < CONNECTIONS; i++) {
                held[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
                must(connect(held[i], (struct sockaddr *)&listening, sizeof(listening)) == 0, "connect");
                setsockopt(held[i], SOL_SOCKET, SO_LINGER, &now, sizeof(now)); /* reset when closed: no TIME_WAIT */
                must(send(held[i], bytes, sizeof(bytes), 0) == sizeof(bytes), "send");
        }
}

static void test_shared_sockets(void **state) {
        struct pair p = pair_new("connects", "accepts");
        struct subject client, server;
        socklen_t length = sizeof(listening);
        struct reading r;
        int64_t sent;

        listening.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_true(listener >= 0 && bind(listener, (struct sockaddr *)&listening, sizeof(listening)) == 0);
        assert_int_equal(listen(listener, 128), 0);
        assert_int_equal(getsockname(listener, (struct sockaddr *)&listening, &length), 0);
        client = subject_new(p.a.c->path, connect_all, drop_held);
        server = subject_new(p.b.c->path, accept_all, drop_held);
        subject_go(&server);
        subject_step(&client);
        subject_wait(&server);
        r = check_agrees(&p.a, "connects, both hold", SLACK);
        sent = r.live[0][TYPE_SLAB];
        assert_true(charged_of(&r) > CONNECTIONS * 1500);
        r = check_agrees(&p.b, "accepts, both hold", SLACK);
        assert_true(charged_of(&r) > CONNECTIONS * 1000);
        subject_step(&client);
        check_let_go(&p.a, "connects, closed");
        subject_step(&server);
        check_let_go(&p.b, "accepts, closed");
        r = check_let_go(&p.a, "connects, both closed");
        print_message("# uncharged objects of the sender: %lld while both held, %lld at the end\n", (long long)sent,
                (long long)r.live[0][TYPE_SLAB]);
        assert_true(sent > CONNECTIONS * 200);
        assert_true(r.live[0][TYPE_SLAB] < sent / 2); /* nobody can look at those: frees that the kernel hides stay */
        subject_end(&client);
        subject_end(&server);
        pair_end(&p);
        close(listener);
}

/* ---- nested groups --------------------------------------------------------------------------------------------------------
 */

/* Each object is booked once, in the innermost group; what both explain together is the outer memcg's growth. */
static void test_nested(void **state) {
        struct watch outer = watch("outer");
        struct cgroup *child = group_below(outer.c, "inner"), *beside = group_below(outer.c, "beside");
        struct watch inner = {.t = outer.t, .c = child};
        struct subject in, out, later;
        struct reading r, before, whole;

        inner.before = kernel_counter(child);
        inner.group = begin(inner.t, child);
        in = subject_new(child->path, hold_pipes, drop_held);
        out = subject_new(beside->path, hold_sockets, drop_held);
        subject_step(&in);
        subject_step(&out);
        r = check_agrees(&inner, "inner, held", SLACK);
        assert_true(charged_of(&r) > N * 1000);
        whole = reading_of(outer.t, outer.group);
        assert_true(charged_of(&whole) > N * 1000);
        assert_near(charged_of(&r) - r.unmatched + charged_of(&whole) - whole.unmatched, kernel_counter(outer.c) - outer.before,
                SLACK + charged_of(&whole) / 1000);

        /* disarmed, the inner one goes on booking its own frees, and new memory is the outer one's */
        outer.t->ops->disarm(outer.t, inner.group);
        before = reading_of(inner.t, inner.group);
        later = subject_new(child->path, hold_pipes, nothing);
        subject_step(&later);
        r = reading_of(inner.t, inner.group);
        assert_int_equal(r.allocated, before.allocated);
        r = reading_of(outer.t, outer.group);
        assert_true(r.allocated - whole.allocated > N * 1000);
        subject_step(&in);
        subject_step(&out);
        settle(outer.c);
        sweep(outer.t);
        r = reading_of(inner.t, inner.group);
        assert_near(charged_of(&r), 0, RESIDUE(r.allocated) + (64 << 10));
        assert_true(r.lowest >= 0);
        subject_end(&in);
        subject_end(&out);
        subject_end(&later);
        inner.t->ops->end(inner.t, inner.group);
        cgroup_free(child);
        cgroup_free(beside);
        watch_end(&outer);
}

/* ---- allocating without pause ---------------------------------------------------------------------------------------------
 */

enum { STOP, DONE };

/* Makes and closes pipes until told, and tells how many. At times some hundred are alive. */
static void make_pipes_without_pause(void) {
        int64_t done = 0;

        while (!told[STOP])
                for (size_t n = 0; n < 200; n++, done++) {
                        int *ends = &held[2 * n];

                        if (ends[0] > 0) {
                                close(ends[0]);
                                close(ends[1]);
                        }
                        must(pipe(ends) == 0, "pipe");
                }
        told[DONE] = done;
}

/* The sites that a pipe passes, each of them a known number of times a pipe. */
#define PATH_MAX_SITES 16

struct path_site {
        uint64_t address;
        bool charged;
        int64_t each; /* calls for one pipe */
        int64_t calls, live;
};

static struct path_site path[PATH_MAX_SITES];
static size_t n_path;

static void hold_200_pipes(void) {
        for (size_t i = 0; i < 200; i++)
                must(pipe(&held[2 * i]) == 0, "pipe");
}

/* Learns them in a group where nothing else happens: those that are called for each pipe exactly once, twice or three times. */
static void learn_path(struct tracker *t) {
        struct watch w = {.t = t, .c = group_new("path")};
        struct subject s = subject_new(w.c->path, hold_200_pipes, nothing);
        struct tracker_sample sample = {};

        w.group = begin(t, w.c);
        subject_step(&s);
        assert_int_equal(w.t->ops->read(w.t, w.group, &sample), 0);
        for (size_t i = 0; i < sample.n_rows && n_path < PATH_MAX_SITES; i++) {
                const struct tracker_row *row = &sample.rows[i];
                int64_t calls = row->counts.allocated_calls;

                if (row->type == TYPE_SLAB && row->charged && calls > 0 && calls % 200 == 0 && calls <= 600)
                        path[n_path++] =
                                (struct path_site){.address = row_site(row), .charged = row->charged, .each = calls / 200};
        }
        tracker_sample_done(&sample);
        subject_end(&s);
        t->ops->end(t, w.group);
        group_end(w.c);
        print_message("# a pipe passes %zu charged sites\n", n_path);
        assert_true(n_path >= 3);
}

/* Adds a group's calls at those sites. */
static void add_path(struct tracker *t, unsigned group) {
        struct tracker_sample sample = {};

        assert_int_equal(t->ops->read(t, group, &sample), 0);
        for (size_t i = 0; i < sample.n_rows; i++)
                for (size_t p = 0; p < n_path; p++)
                        if (sample.rows[i].type == TYPE_SLAB && row_site(&sample.rows[i]) == path[p].address &&
                                sample.rows[i].charged == path[p].charged) {
                                path[p].calls += sample.rows[i].counts.allocated_calls;
                                path[p].live += row_live(&sample.rows[i]);
                        }
        tracker_sample_done(&sample);
}

/* Every pipe was counted, and once. */
static void check_path(void) {
        for (size_t p = 0; p < n_path; p++)
                if (path[p].calls != path[p].each * told[DONE] || path[p].live < 0)
                        fail_msg("site %zu: %lld calls for %lld pipes, %lld for each; %lld bytes are live", p,
                                (long long)path[p].calls, (long long)told[DONE], (long long)path[p].each,
                                (long long)path[p].live);
}

static double now(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

#define RENEWALS 100

/* Renewed again and again: the old groups go on booking their frees, and together they have it all. */
static void test_renew(void **state) {
        struct watch w;
        struct subject s;
        unsigned groups[RENEWALS + 1];
        int64_t explained = 0;
        double began;

        w = watch_with("renew", &(struct tracker_options){.groups = 256}, &(struct tracker_wish){});
        learn_path(w.t);
        s = subject_new(w.c->path, make_pipes_without_pause, drop_held);
        groups[0] = w.group;
        subject_go(&s);
        began = now();
        for (size_t i = 0; i < RENEWALS; i++) {
                groups[i + 1] = renew(w.t, groups[i]);
                usleep(5000);
        }
        print_message("# %d renewals in %.1f s\n", RENEWALS, now() - began);
        told[STOP] = 1;
        subject_wait(&s);
        for (size_t i = 0; i <= RENEWALS; i++)
                add_path(w.t, groups[i]);
        check_path();
        subject_step(&s);
        settle(w.c);
        sweep(w.t);
        for (size_t i = 0; i <= RENEWALS; i++) {
                struct reading r = reading_of(w.t, groups[i]);

                assert_true(r.lowest >= 0);
                explained += charged_of(&r) - r.unmatched;
        }
        assert_near(explained, kernel_counter(w.c) - w.before, SLACK);
        subject_end(&s);
        for (size_t i = 0; i < RENEWALS; i++)
                w.t->ops->end(w.t, groups[i]);
        w.group = groups[RENEWALS];
        watch_end(&w);
}

/* Renewed and folded into the new one: one group has it all, and its living objects too. */
static void test_fold(void **state) {
        struct watch w;
        struct subject s;

        w = watch("fold");
        learn_path(w.t);
        s = subject_new(w.c->path, make_pipes_without_pause, drop_held);
        subject_go(&s);
        for (size_t i = 0; i < RENEWALS; i++) {
                unsigned old = w.group;

                w.group = renew(w.t, old);
                usleep(2000);
                assert_int_equal(w.t->ops->fold(w.t, old, w.group), 0);
                assert_int_equal(reading_of(w.t, old).allocated, 0);
                w.t->ops->end(w.t, old);
        }
        told[STOP] = 1;
        subject_wait(&s);
        add_path(w.t, w.group);
        check_path();
        check_agrees(&w, "some are alive", SLACK);
        subject_step(&s);
        check_let_go(&w, "released");
        subject_end(&s);
        watch_end(&w);
}

/* ---- the kernel's own counts ----------------------------------------------------------------------------------------------
 */

static struct memcg_counters states_of(const struct watch *w, unsigned group) {
        _cleanup_(tracker_sample_done) struct tracker_sample sample = {};
        char reason[256];

        if (!is_able(w->t, "memcg_state_tracepoints", reason))
                cannot(reason);
        assert_int_equal(w->t->ops->read(w->t, group, &sample), 0);
        return sample.states;
}

/* Folds `from` into the group under watch; what both knew, and the sum of it, is known afterwards. */
static void check_states_folded(const struct watch *w, unsigned from) {
        struct memcg_counters a = states_of(w, from), b = states_of(w, w->group), both, left;

        assert_int_equal(w->t->ops->fold(w->t, from, w->group), 0);
        both = states_of(w, w->group);
        left = states_of(w, from);
        assert_int_equal(both.known, a.known & b.known);
        print_message("# anon %lld and %lld are %lld\n", (long long)a.value[MEMCG_ANON], (long long)b.value[MEMCG_ANON],
                (long long)both.value[MEMCG_ANON]);
        for (enum memcg_counter k = 0; k < _MEMCG_MAX; k++) {
                assert_near(both.value[k], a.value[k] + b.value[k], SLACK);
                assert_near(left.value[k], 0, SLACK);
        }
        w->t->ops->end(w->t, from);
}

/*
 * What the tracepoints told of either group is told of their sum, a fold into a group that was folded into as well. Returns
 * whether all of it was known: a softirq in the midst of the program is missed, and said to be.
 */
static bool fold_states(void) {
        struct watch w = watch("states");
        struct subject s = subject_of(w.c->path, (const subject_steps_t){hold_memory, hold_memory, hold_memory, hold_pipes});
        int64_t anon = counter_of(w.c, MEMCG_ANON);
        struct memcg_counters all;

        for (size_t i = 0; i < 2; i++) {
                unsigned old = w.group;

                subject_step(&s);
                w.group = renew(w.t, old);
                subject_step(&s);
                settle(w.c);
                assert_true(states_of(&w, old).value[MEMCG_ANON] >= (int64_t)(i + 1) * (60 << 20));
                check_states_folded(&w, old);
        }
        all = states_of(&w, w.group);
        print_message("# anon %lld, by the memcg %lld\n", (long long)all.value[MEMCG_ANON],
                (long long)(counter_of(w.c, MEMCG_ANON) - anon));
        assert_near(all.value[MEMCG_ANON], counter_of(w.c, MEMCG_ANON) - anon, 1 << 20);
        assert_true(all.value[MEMCG_ANON] > 3 * (60 << 20));
        assert_true(all.value[MEMCG_KERNEL] >= 0);
        subject_end(&s);
        watch_end(&w);
        return all.known & 1u << MEMCG_KERNEL;
}

static void test_states_are_folded(void **state) {
        for (size_t i = 0; i < 5; i++)
                if (fold_states())
                        return;
        fail_msg("five times some of the states were missed");
}

/* ---- others come and go ---------------------------------------------------------------------------------------------------
 */

#define OTHERS 100
#define ALIVE 10

/*
 * What the automatic mode does under load: one group allocates all the while others begin and end. Nothing of it may be lost,
 * doubled or booked with them.
 */
static void test_others_come_and_go(void **state) {
        struct cgroup *others[ALIVE];
        unsigned groups[ALIVE];
        struct watch w;
        struct subject s;
        struct reading r;

        w = watch("goes-on");
        learn_path(w.t);
        s = subject_new(w.c->path, make_pipes_without_pause, drop_held);
        for (size_t i = 0; i < ALIVE; i++) {
                _cleanup_free_ char *name = format("comes-%zu", i);

                others[i] = group_new(name);
        }
        subject_go(&s);
        for (size_t i = 0; i < OTHERS; i++) {
                if (i >= ALIVE) {
                        r = reading_of(w.t, groups[i % ALIVE]);
                        assert_int_equal(r.allocated, 0);
                        assert_int_equal(r.lowest, 0);
                        w.t->ops->end(w.t, groups[i % ALIVE]);
                }
                groups[i % ALIVE] = begin(w.t, others[i % ALIVE]);
                if (i % 7 == 0)
                        w.t->ops->clean(w.t);
                usleep(2000);
        }
        told[STOP] = 1;
        subject_wait(&s);
        add_path(w.t, w.group);
        check_path();
        check_agrees(&w, "some are alive", SLACK);
        subject_step(&s);
        r = check_let_go(&w, "released");
        assert_int_equal(r.lost[LOSS_GROUP_LOOKUPS], 0);
        subject_end(&s);
        for (size_t i = 0; i < ALIVE; i++) {
                w.t->ops->end(w.t, groups[i]);
                group_end(others[i]);
        }
        watch_end(&w);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_freed_after_removal),
                cmocka_unit_test(test_task_moves),
                cmocka_unit_test(test_shared_files),
                cmocka_unit_test(test_passed_descriptors),
                cmocka_unit_test(test_shared_sockets),
                cmocka_unit_test(test_nested),
                cmocka_unit_test(test_renew),
                cmocka_unit_test(test_fold),
                cmocka_unit_test(test_states_are_folded),
                cmocka_unit_test(test_others_come_and_go),
        };

        return run_program(tests, ELEMENTS(tests), argc, argv);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rows by NUMA node: what a task takes on a node stands in rows of that node. Needs two nodes that have memory and CPUs. */
#include <linux/mempolicy.h>
#include <sched.h>
#include <sys/syscall.h>

#include "subject.h"

#define NODES 2

/* The first number of a list as the kernel writes it; -1: it is empty or not there. */
static int first_cpu(int node) {
        _cleanup_free_ char *path = format("/sys/devices/system/node/node%d/cpulist", node);
        _cleanup_fclose_ FILE *f = fopen(path, "re");
        int cpu;

        return f && fscanf(f, "%d", &cpu) == 1 ? cpu : -1;
}

/* Slabs are taken where the CPU is, pages of users where the policy says. */
static void go_to_node(int node) {
        unsigned long nodes = 1ul << node;
        cpu_set_t cpus;

        CPU_ZERO(&cpus);
        CPU_SET(first_cpu(node), &cpus);
        must(sched_setaffinity(0, sizeof(cpus), &cpus) == 0, "sched_setaffinity");
        must(syscall(SYS_set_mempolicy, MPOL_BIND, &nodes, sizeof(nodes) * 8) == 0, "set_mempolicy");
}

static void hold_on_node_0(void) {
        go_to_node(0);
        hold_memory();
        hold_pipes();
}

static void hold_on_node_1(void) {
        memset(held, 0, sizeof(held));
        go_to_node(1);
        hold_memory();
        hold_pipes();
}

struct by_node {
        int64_t slab[NODES], user[NODES], error, elsewhere;
};

static struct by_node read_nodes(struct tracker *t, unsigned group) {
        struct tracker_sample s = {};
        struct by_node r = {};

        assert_int_equal(t->ops->read(t, group, &s), 0);
        for (size_t i = 0; i < s.n_rows; i++) {
                const struct tracker_row *row = &s.rows[i];
                bool counts = row->type == TYPE_USER || (row->type == TYPE_SLAB && row->charged);

                if (!counts)
                        continue;
                if (row->node < 0 || row->node >= NODES)
                        r.elsewhere += row_live(row);
                else if (row->type == TYPE_USER)
                        r.user[row->node] += row_live(row), r.error += row->error_bytes;
                else
                        r.slab[row->node] += row_live(row);
        }
        tracker_sample_done(&s);
        print_message("# slab %lld and %lld, user %lld and %lld, on no node %lld\n", (long long)r.slab[0], (long long)r.slab[1],
                (long long)r.user[0], (long long)r.user[1], (long long)r.elsewhere);
        return r;
}

static void check_grew(const struct by_node *before, const struct by_node *after, int node) {
        int64_t slab = after->slab[node] - before->slab[node], others = after->slab[!node] - before->slab[!node];

        assert_true(slab > N * 1000);
        assert_true(others < slab / 5); /* partial slabs of the other node are used up first */
        assert_near(after->user[node] - before->user[node], 64 << 20, 5 * (after->error + before->error));
        assert_near(after->user[!node], before->user[!node], 4 << 20);
        assert_int_equal(after->elsewhere, 0);
}

static void test_rows_by_node(void **state) {
        struct watch w;
        struct subject s;
        struct by_node nothing_yet = {}, first, second;
        char reason[256];

        if (first_cpu(0) < 0 || first_cpu(1) < 0)
                cannot("this machine has no two NUMA nodes with CPUs");
        w = watch_with("nodes", NULL, &(struct tracker_wish){.numa = true});
        if (!is_able(w.t, "nodes", reason))
                cannot(reason);
        s = subject_of(w.c->path, (const subject_steps_t){hold_on_node_0, hold_on_node_1});
        subject_step(&s);
        first = read_nodes(w.t, w.group);
        check_grew(&nothing_yet, &first, 0);
        subject_step(&s);
        second = read_nodes(w.t, w.group);
        check_grew(&first, &second, 1);
        subject_end(&s);
        watch_end(&w);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_rows_by_node),
        };

        return run_program(tests, ELEMENTS(tests), argc, argv);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The probes that have to try: whether this kernel lets this process load and attach BPF programs.
 *
 * Invariant: what is tried is undone before the call returns, and does nothing while it is there. By bpf(2) itself, because
 * libbpf has one user only.
 */
#include <linux/bpf.h>
#include <sys/syscall.h>

#include "kernel-probe.h"

static int bpf(enum bpf_cmd command, union bpf_attr *attr) {
        long r = syscall(SYS_bpf, command, attr, sizeof *attr);

        return r < 0 ? -errno : (int)r;
}

/* r0 = 0; exit. Returns a descriptor. */
static int load(enum bpf_prog_type type, enum bpf_attach_type attach, uint32_t function) {
        static const struct bpf_insn program[] = {
                {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0},
                {.code = BPF_JMP | BPF_EXIT},
        };
        union bpf_attr attr;

        memset(&attr, 0, sizeof attr);
        attr.prog_type = type;
        attr.expected_attach_type = attach;
        attr.attach_btf_id = function;
        attr.insns = (uint64_t)(uintptr_t)program;
        attr.insn_cnt = ELEMENTS(program);
        attr.license = (uint64_t)(uintptr_t) "GPL";
        return bpf(BPF_PROG_LOAD, &attr);
}

static int load_program(void) {
        _cleanup_close_ int fd = load(BPF_PROG_TYPE_RAW_TRACEPOINT, 0, 0);

        return fd < 0 ? fd : 0;
}

static int attach_fentry(uint32_t function) {
        _cleanup_close_ int program = -1, link = -1;
        union bpf_attr attr;

        program = load(BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY, function);
        if (program < 0)
                return program;
        memset(&attr, 0, sizeof attr);
        attr.raw_tracepoint.prog_fd = (uint32_t)program;
        link = bpf(BPF_RAW_TRACEPOINT_OPEN, &attr);
        return link < 0 ? link : 0;
}

static int memory_layout(enum cgroup_layout *ret, char **reterr) {
        _cleanup_(cgroup_root_freep) struct cgroup_root *root = NULL;
        int r;

        r = cgroup_root_new(&root, reterr);
        if (r < 0)
                return r;
        *ret = root->layout;
        return 0;
}

const struct kernel_calls kernel_calls_live = {
        .load_program = load_program,
        .attach_fentry = attach_fentry,
        .memory_layout = memory_layout,
        .allocinfo = &allocinfo_ops_live,
};

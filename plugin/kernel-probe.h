/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The inner side of kernel.h: where the probes look, as parameters. Private to kernel.c, kernel-calls.c and their tests.
 */
#pragma once

#include "allocinfo.h"
#include "cgroup.h"
#include "kernel.h"

/* What only the running kernel can answer. Each returns 0 or a negative errno. */
struct kernel_calls {
        /* Loads the smallest possible tracing program and throws it away. */
        int (*load_program)(void);

        /* Attaches an empty fentry program to the function with that BTF id and detaches it at once. */
        int (*attach_fentry)(uint32_t function);

        int (*memory_layout)(enum cgroup_layout *ret, char **reterr);

        /* How /proc/allocinfo is asked. */
        const struct allocinfo_ops *allocinfo;
};

extern const struct kernel_calls kernel_calls_live;

/* As support_probe, with files below `root` ("" for the machine's own) and with these calls. */
int support_probe_at(const char *root, const struct kernel_calls *calls, struct support **ret);

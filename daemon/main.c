/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The real daemon: the BPF tracker on the running kernel. Everything else is in the library that tests link too. */
#include "daemon.h"

int main(int argc, char **argv) {
        static const struct daemon_setup setup = {.tracker_new = tracker_bpf_new, .kallsyms = "/proc/kallsyms", .root = ""};

        return daemon_run(argc, argv, &setup);
}

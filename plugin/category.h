/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The category of an allocation site: the part of the kernel that wanted the memory. One word, or a word and the name of the
 * part's part:
 *
 *     mm  slab  fs  fs/ext4  fs/tmpfs  fs/pipe  net  net/ipv4  net/unix  block  drivers/nvme  kernel  bpf  io_uring  ipc
 *     security  crypto  sound  arch  lib  virt/kvm  module:NAME  other
 *
 * It is the source directory, "fs/", "net/" and "drivers/" with the directory below, and otherwise:
 *   - "slab" is the allocator's own memory (mm/slub.c), "bpf" is kernel/bpf, "fs/tmpfs" is mm/shmem.c, "fs/pipe" is fs/pipe.c;
 *     what is net/core/ is "net"; the mm, crypto, net and kvm of an architecture are "mm", "crypto", "bpf" and "virt/kvm";
 *     init/ and usr/ are "kernel", certs/ is "crypto", rust/ is "lib".
 *   - a module that is no well-known one of the kernel's tree is "module:NAME".
 *   - what cannot be told is "other".
 *
 * Without a file (no allocation tags) a module says it by its name and the kernel's own functions by their prefixes, so there
 * it is as good as the tables in category-names.c. A file in include/ says where an inline function is and not who called it;
 * it is asked last.
 */
#pragma once

#include "util.h"

#define CATEGORY_MAX 72 /* with its NUL; "module:" and the longest name of a module fit */

/*
 * file: as an allocation tag has it, or NULL; function: NULL when not known; module: "" or NULL for the kernel itself. Any
 * bytes may be in them. Always gives an answer, cut to CATEGORY_MAX.
 */
void category_of(const char *file, const char *function, const char *module, char ret[static CATEGORY_MAX]);

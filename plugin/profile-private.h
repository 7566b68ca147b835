/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What profile.c (which measures) and profile-state.c (which writes it down) share. Nobody else includes this. */
#pragma once

#include "profile.h"
#include "reconcile.h"

struct profile {
        struct engine *engine;
        struct cgroup *cgroup;
        struct profile_label label;
        struct scope *scope; /* NULL: the kernel's own record */
        char *record_root;   /* of the files that it is read from */
        enum profile_state state;
        bool unsampled; /* pages have no names any more */
        enum mode mode; /* that was in force when it was last active */
        int64_t started_us, reset_us;
        struct account account;
};

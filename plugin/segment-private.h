/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What segment.c (which lives by it) and segment-state.c (which writes it down) share. Nobody else includes this. */
#pragma once

#include "segment.h"

enum kind { OWN, OLDER };

/* What a segment is to a scope. */
struct part {
        struct scope *scope;
        enum kind kind;
        int64_t base; /* of OLDER: what was gone of the segment when the scope's baseline was set */
};

struct segment {
        unsigned group;
        bool armed;
        bool unsampled;     /* its pages have no names: it is not folded with one whose samples stand for them */
        uint64_t born;      /* in moments of the registry */
        struct part *parts; /* by serial number of the scope */
        size_t n_parts, n_reserved;
        int64_t gone; /* when it was last read for a baseline */
};

struct scope {
        struct segments *all;
        const struct cgroup *cgroup;
        struct segment *current;   /* NULL when it cannot be allocated in any more */
        struct segment **segments; /* that it has a part of */
        size_t n_segments, n_promised, n_reserved;
        uint64_t serial;
        bool gone;               /* the cgroup is */
        int64_t let_go;          /* freed since the baseline in older segments that are no more */
        int64_t lost[_LOSS_MAX]; /* from the baseline until `current` began */
};

struct segments {
        struct tracker *tracker;
        struct names *names;
        struct segment **items;
        size_t n;
        struct scope **scopes;
        size_t n_scopes;
        uint64_t moment, serial;
        bool left; /* see segments_leave() */
        void (*before)(void *userdata);
        void *userdata;
};

/* A scope with nothing in it, in the registry. -ENOMEM. */
int scope_new(struct segments *a, const struct cgroup *cgroup, struct scope **ret);

/* Makes room for a part of `s` in `g`, and sets it; see segment.c. */
int segment_reserve_part(struct segment *g, struct scope *s);
void segment_set_part(struct segment *g, struct scope *s, enum kind kind, int64_t base);

/* A segment that has no group yet; there is room for it in the registry. NULL on ENOMEM. */
struct segment *segment_new(struct segments *a);
struct segment *segment_free(struct segment *g);
DEFINE_CLEANUP(struct segment, segment_free)

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A kernel's allocinfo, made up: tags, the three ioctls with the state that an open file has, and the text. One at a time; what
 * happens at which call is a script.
 */
#pragma once

#include "allocinfo-rows.h"
#include "allocinfo-uapi.h"

struct fake_tag {
        const char *file;
        uint64_t line;
        const char *function, *module; /* module NULL: built in */
        int64_t bytes;
        uint64_t calls;
        bool inaccurate;
};

struct fake_kernel {
        const struct fake_tag *tags;
        size_t n;
        uint64_t content_id;
        bool no_ioctl;

        /* From the call on with this number (the first one is 1; 0: never), calls fail. ENOTTY for ioctls, EIO for read(). */
        unsigned shut_down_at;
        int error_at_shutdown; /* another errno for ioctls, 0: ENOTTY */

        /* At the call with this number the other tags are there, and the content id rises; again after each so many calls. */
        unsigned change_at, change_every;
        const struct fake_tag *changed;
        size_t n_changed;

        const char *text;   /* what read() gives, NULL: made of the tags */
        size_t piece;       /* at most so many bytes for each read(), 0: no limit */
        unsigned interrupt; /* this read() fails with EINTR once */

        /* seen */
        unsigned calls, gets;
        struct uapi_filter asked; /* by the last GET_AT */
        uint64_t position;

        /* of the open file */
        struct uapi_filter filter;
        size_t next;
        bool positioned;
        char made[1 << 16];
        size_t made_n, read;
};

extern struct fake_kernel fake;
extern const struct allocinfo_ops fake_ops;      /* as the kernel is */
extern const struct allocinfo_ops fake_ops_text; /* without its ioctls */

/* A new kernel with these tags, and nothing of the former one. */
void fake_boot(const struct fake_tag *tags, size_t n);

/* The same with a file that was just opened. */
void fake_reopen(void);

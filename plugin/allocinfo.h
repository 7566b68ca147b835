/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kernel's own record of who allocated its memory: /proc/allocinfo, by ioctl where it has that, else by its text (formats
 * 1.0 and 2.0). One line of source may have several tags there (inlined functions, macros): tags that look the same are one
 * row.
 *
 * A filter chooses tags, as in the kernel, before they are added up: sizes and accuracy are those of each tag. Names are
 * compared by their last 63 bytes, which is all that the ioctl tells; the text's are cut likewise, so that both readers give
 * the same rows. The figures are what lives on the whole machine, and no snapshot: the kernel goes on while it is read.
 */
#pragma once

#include "category.h"
#include "filter.h"

#define ALLOCINFO_NAME_SIZE 64 /* with the NUL */

/* How the kernel is asked, as parameters, for tests. As ioctl(2) and read(2), but with a negative errno. */
struct allocinfo_ops {
        int (*ioctl)(int fd, unsigned long request, void *data);
        ssize_t (*read)(int fd, void *data, size_t n);
};

extern const struct allocinfo_ops allocinfo_ops_live;
extern const struct allocinfo_ops allocinfo_ops_text; /* as if the kernel had no ioctl: for comparing the readers */

/* ---- whether there is anything to read --------------------------------------------------------------------------------- */

enum allocinfo_state {
        ALLOCINFO_IOCTL,  /* to be read by ioctl */
        ALLOCINFO_TEXT,   /* to be read as text: the kernel has no ioctl for it */
        ALLOCINFO_ABSENT, /* the kernel was built without allocation profiling */
        ALLOCINFO_NEVER,  /* it was booted so that it never counts, or not told to */
        ALLOCINFO_SHUT,   /* it has shut its profiling down */
        ALLOCINFO_DENIED, /* no rights */
        ALLOCINFO_BROKEN, /* anything else */
};

/* What the sysctl vm.mem_profiling says. */
enum allocinfo_counting {
        COUNTING_UNKNOWN, /* there is none, or it cannot be read */
        COUNTING_ON,
        COUNTING_OFF, /* figures are of the time when it was on, and drift: frees are not seen */
};

struct allocinfo_status {
        enum allocinfo_state state;
        enum allocinfo_counting counting;
        bool compressed;     /* page tags are kept in page flags: the kernel shuts profiling down when they run out */
        uint64_t content_id; /* with ALLOCINFO_IOCTL */
        char *reason;        /* one clause, always there */
};

void allocinfo_status_done(struct allocinfo_status *s);

/* Files are below `root` ("" for the machine's own). Never fails but for -ENOMEM. Nothing on the host is changed. */
int allocinfo_probe(const char *root, const struct allocinfo_ops *ops, struct allocinfo_status *ret);

/* ---- rows -----------------------------------------------------------------------------------------------------------------
 */

struct allocinfo_row {
        char file[ALLOCINFO_NAME_SIZE], function[ALLOCINFO_NAME_SIZE];
        char module[ALLOCINFO_NAME_SIZE]; /* "": built in */
        uint64_t line;
        int64_t bytes, calls;        /* live; bytes may be negative */
        bool accurate;               /* of all its tags */
        uint64_t tags;               /* how many are added up here */
        char category[CATEGORY_MAX]; /* of rows of sites and of categories; "" for others */
};

struct allocinfo {
        enum allocinfo_state source; /* ALLOCINFO_IOCTL or ALLOCINFO_TEXT */
        enum allocinfo_counting counting;
        uint64_t content_id; /* by ioctl; changes when modules with tags come or go */
        unsigned retries;    /* walks that a module made worthless */
        int64_t at_us;

        struct allocinfo_row total; /* over all that matched, names empty */
        size_t total_sites;         /* rows before the limit */
        struct allocinfo_row *rows; /* sorted, grouped and cut as the filter says */
        size_t n_rows;
        enum filter_group group; /* what a row is one of */
};

struct allocinfo *allocinfo_free(struct allocinfo *a);
DEFINE_CLEANUP(struct allocinfo, allocinfo_free)

/* -EINVAL for a filter key that rows of allocinfo cannot answer, naming it. */
int allocinfo_check_filter(const struct filter *f, char **reterr);

/*
 * Reads all tags that `filter` (checked by the above) lets pass. Nothing is half done: there is an answer or a sentence.
 *   -EOPNOTSUPP  the kernel has nothing to read: ALLOCINFO_ABSENT or ALLOCINFO_NEVER
 *   -ESHUTDOWN   it has shut its profiling down, before or meanwhile
 *   -EACCES      no rights
 *   -EAGAIN      modules came and went all the time
 *   -EBADMSG     the text is of no known format; the sentence names the line
 *   -E2BIG       more tags than any kernel has
 *   else         what the kernel said; -ENOMEM
 */
int allocinfo_read(
        const char *root, const struct allocinfo_ops *ops, const struct filter *filter, struct allocinfo **ret, char **reterr);

/* What a row is called: "file:line:function[module]", or the name of its group. NULL on ENOMEM. */
char *allocinfo_key(const struct allocinfo_row *row, enum filter_group group);

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Tags as they are read become rows. Private to allocinfo*.c. */
#pragma once

#include "allocinfo.h"

#define ALLOCINFO_TAGS_MAX ((size_t)1 << 18) /* a distribution's kernel with all of its modules has some tens of thousands */

/* A filter with its names cut as the kernel cuts them. */
struct allocinfo_wanted {
        const struct filter *filter;
        const char *names[_FILTER_KEY_MAX]; /* of FILTER_MODNAME, FILTER_FUNCTION, FILTER_FILENAME; point into the filter */
};

void allocinfo_want(const struct filter *f, struct allocinfo_wanted *ret);
bool allocinfo_wants(const struct allocinfo_wanted *w, const struct allocinfo_row *row);

struct allocinfo_list {
        struct allocinfo_row *rows;
        size_t n, room;
};

void allocinfo_list_done(struct allocinfo_list *l);

/* A place for one tag more, zeroed; it counts once allocinfo_list_keep() was called. NULL with -E2BIG or -ENOMEM in *ret_error.
 */
struct allocinfo_row *allocinfo_list_place(struct allocinfo_list *l, int *ret_error);
void allocinfo_list_keep(struct allocinfo_list *l);

/* The last 63 bytes of a name. */
void allocinfo_copy_name(char *to, const char *name, size_t n);

/* Adds same tags up, fills totals, groups, sorts and cuts. Moves the rows of `l` into `ret`. -ENOMEM. */
int allocinfo_list_finish(struct allocinfo_list *l, const struct filter *f, struct allocinfo *ret);

/*
 * The two readers: both append what is wanted of all that the open file tells. By ioctl, one walk from the start to the end
 * by a kernel that may change meanwhile: allocinfo.c looks at the content id. -ESHUTDOWN, and what allocinfo_read() says.
 */
int allocinfo_walk_ioctl(int fd, const struct allocinfo_ops *ops, const struct allocinfo_wanted *w, struct allocinfo_list *l);
int allocinfo_walk_text(
        int fd, const struct allocinfo_ops *ops, const struct allocinfo_wanted *w, struct allocinfo_list *l, char **reterr);

int allocinfo_content_id(int fd, const struct allocinfo_ops *ops, uint64_t *ret);

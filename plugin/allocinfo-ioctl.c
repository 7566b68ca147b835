/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * /proc/allocinfo by ioctl: the kernel filters, and each call brings one tag that matches.
 *
 * Two of its habits decide how it is asked. A filter stays with the open file until the next GET_AT, so a walk always begins
 * with one, an empty filter included. After the last tag comes ENOENT, and the call after that begins again at the first: the
 * walk ends at the first ENOENT. (Asked for a position behind all tags it would keep the former filter; position 0 never is.)
 */
#include "allocinfo-rows.h"
#include "allocinfo-uapi.h"

_Static_assert(ALLOCINFO_NAME_SIZE == UAPI_NAME_SIZE, "rows hold what the kernel tells");

int allocinfo_content_id(int fd, const struct allocinfo_ops *ops, uint64_t *ret) {
        struct uapi_content_id content = {};
        int r = ops->ioctl(fd, UAPI_CONTENT_ID, &content);

        if (r < 0)
                return r;
        *ret = content.id;
        return 0;
}

static void push_name(struct uapi_filter *k, uint64_t bit, char *field, const char *name) {
        if (!name)
                return;
        allocinfo_copy_name(field, name, strlen(name));
        k->mask |= bit;
}

/*
 * The kernel compares unsigned, where negative bytes are the largest. Bounds of the same sign mean the same there, and a
 * least size from 0 on lets pass too much, which is dropped later. What would lose a tag is not pushed down.
 */
static void push_sizes(struct uapi_filter *k, const struct filter *f) {
        bool has_min = filter_has(f, FILTER_MIN_SIZE), has_max = filter_has(f, FILTER_MAX_SIZE);
        int64_t min = has_min ? f->integers[FILTER_MIN_SIZE] : INT64_MIN,
                max = has_max ? f->integers[FILTER_MAX_SIZE] : INT64_MAX;
        bool same_sign = (min < 0) == (max < 0);

        if (same_sign && has_min | has_max) {
                k->min_size = (uint64_t)min;
                k->mask |= UAPI_MIN_SIZE;
        }
        if (same_sign && has_max) {
                k->max_size = (uint64_t)max;
                k->mask |= UAPI_MAX_SIZE;
        }
}

static void push_down(struct uapi_filter *k, const struct allocinfo_wanted *w) {
        const struct filter *f = w->filter;

        push_name(k, UAPI_MODNAME, k->fields.modname, w->names[FILTER_MODNAME]);
        push_name(k, UAPI_FUNCTION, k->fields.function, w->names[FILTER_FUNCTION]);
        push_name(k, UAPI_FILENAME, k->fields.filename, w->names[FILTER_FILENAME]);
        if (filter_has(f, FILTER_LINENO)) {
                k->fields.lineno = (uint64_t)f->integers[FILTER_LINENO];
                k->mask |= UAPI_LINENO;
        }
        if (filter_has(f, FILTER_INACCURATE)) {
                k->inaccurate = f->booleans[FILTER_INACCURATE];
                k->mask |= UAPI_INACCURATE;
        }
        push_sizes(k, f);
}

/* Names that fill their field without an end are believed no further than that. */
static void take_name(char *to, const char *field) {
        allocinfo_copy_name(to, field, strnlen(field, UAPI_NAME_SIZE));
}

static int take(const struct uapi_tag_data *data, const struct allocinfo_wanted *w, struct allocinfo_list *l) {
        int r = 0;
        struct allocinfo_row *row = allocinfo_list_place(l, &r);

        if (!row)
                return r;
        take_name(row->file, data->tag.filename);
        take_name(row->function, data->tag.function);
        take_name(row->module, data->tag.modname);
        row->line = data->tag.lineno;
        row->bytes = (int64_t)data->bytes;
        row->calls = data->calls > INT64_MAX ? INT64_MAX : (int64_t)data->calls;
        row->accurate = data->accurate;
        row->tags = 1;
        if (allocinfo_wants(w, row))
                allocinfo_list_keep(l);
        return 0;
}

/* The file answered CONTENT_ID; when it knows its calls no more, the kernel has shut its profiling down. */
static int walk_error(int error) {
        return error == -ENOENT ? 0 : error == -ENOTTY || error == -EIO ? -ESHUTDOWN : error;
}

int allocinfo_walk_ioctl(int fd, const struct allocinfo_ops *ops, const struct allocinfo_wanted *w, struct allocinfo_list *l) {
        struct uapi_get_at first = {};
        struct uapi_tag_data *data = &first.data;
        size_t seen = 0;
        int r;

        push_down(&first.filter, w);
        for (r = ops->ioctl(fd, UAPI_GET_AT, &first); r >= 0; r = ops->ioctl(fd, UAPI_GET_NEXT, data)) {
                if (seen++ >= ALLOCINFO_TAGS_MAX)
                        return -E2BIG;
                r = take(data, w, l);
                if (r < 0)
                        return r;
        }
        return walk_error(r);
}

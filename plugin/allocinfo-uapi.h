/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What /proc/allocinfo says by ioctl, as the kernel lays it out since 7.3. Under names of our own, so that this builds where
 * the headers lack <linux/alloc_tag.h> and where they have it; a test holds the two against each other. Private to allocinfo*.c
 * and their tests.
 */
#pragma once

#include <sys/ioctl.h>

#include "util.h"

#define UAPI_NAME_SIZE 64 /* with the NUL; of a longer name the end is kept */

struct uapi_content_id {
        uint64_t id;
};

struct uapi_tag {
        char modname[UAPI_NAME_SIZE]; /* "": built in */
        char function[UAPI_NAME_SIZE];
        char filename[UAPI_NAME_SIZE];
        uint64_t lineno;
};

struct uapi_tag_data {
        struct uapi_tag tag;
        uint64_t bytes; /* signed in truth */
        uint64_t calls;
        uint8_t accurate;
        uint8_t padding[7];
};

enum {
        UAPI_MODNAME = 1 << 0,
        UAPI_FUNCTION = 1 << 1,
        UAPI_FILENAME = 1 << 2,
        UAPI_LINENO = 1 << 3,
        UAPI_INACCURATE = 1 << 4,
        UAPI_MIN_SIZE = 1 << 5,
        UAPI_MAX_SIZE = 1 << 6,
        UAPI_MASKS = (1 << 7) - 1,
};

struct uapi_filter {
        uint64_t mask;
        struct uapi_tag fields;
        uint64_t min_size, max_size; /* compared unsigned */
        uint64_t inaccurate;
};

struct uapi_get_at {
        uint64_t pos; /* among the tags that match */
        struct uapi_filter filter;
        struct uapi_tag_data data; /* the answer */
};

#define UAPI_CONTENT_ID _IOR(0xA6, 0, struct uapi_content_id)
#define UAPI_GET_AT _IOWR(0xA6, 1, struct uapi_get_at)
#define UAPI_GET_NEXT _IOR(0xA6, 2, struct uapi_tag_data)

_Static_assert(sizeof(struct uapi_tag) == 200 && sizeof(struct uapi_tag_data) == 224 && sizeof(struct uapi_filter) == 232 &&
                       sizeof(struct uapi_get_at) == 464,
        "the kernel's layout");

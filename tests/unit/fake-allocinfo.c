/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See fake-allocinfo.h. What the kernel's documents and sources say of it, written anew: a filter is stored by GET_AT unless
 * the position is behind all tags, ENOENT ends a listing, and the next GET_NEXT begins again with the filter still there.
 */
#include "fake-allocinfo.h"

#if __has_include(<linux/alloc_tag.h>)
#include <linux/alloc_tag.h>

_Static_assert(UAPI_CONTENT_ID == ALLOCINFO_IOC_CONTENT_ID && UAPI_GET_AT == ALLOCINFO_IOC_GET_AT &&
                       UAPI_GET_NEXT == ALLOCINFO_IOC_GET_NEXT,
        "ours are the kernel's numbers");
_Static_assert(offsetof(struct uapi_filter, min_size) == offsetof(struct allocinfo_filter, min_size) &&
                       offsetof(struct uapi_filter, max_size) == offsetof(struct allocinfo_filter, max_size) &&
                       offsetof(struct uapi_filter, inaccurate) == offsetof(struct allocinfo_filter, inaccurate) &&
                       offsetof(struct uapi_tag_data, accurate) == offsetof(struct allocinfo_tag_data, counter.accurate),
        "ours is the kernel's layout");
_Static_assert(UAPI_MODNAME == ALLOCINFO_FILTER_MASK_MODNAME && UAPI_FUNCTION == ALLOCINFO_FILTER_MASK_FUNCTION &&
                       UAPI_FILENAME == ALLOCINFO_FILTER_MASK_FILENAME && UAPI_LINENO == ALLOCINFO_FILTER_MASK_LINENO &&
                       UAPI_INACCURATE == ALLOCINFO_FILTER_MASK_INACCURATE && UAPI_MIN_SIZE == ALLOCINFO_FILTER_MASK_MIN_SIZE &&
                       UAPI_MAX_SIZE == ALLOCINFO_FILTER_MASK_MAX_SIZE && UAPI_MASKS == ALLOCINFO_FILTER_MASKS,
        "ours are the kernel's filters");
#endif

struct fake_kernel fake;

void fake_boot(const struct fake_tag *tags, size_t n) {
        fake = (struct fake_kernel){.tags = tags, .n = n, .content_id = 7};
}

void fake_reopen(void) {
        memset(&fake.filter, 0, sizeof(fake.filter));
        fake.next = fake.made_n = fake.read = 0;
        fake.positioned = false;
        fake.calls = fake.gets = 0;
}

static const char *cut(const char *s) {
        size_t n = strlen(s);

        return n < UAPI_NAME_SIZE ? s : s + n - (UAPI_NAME_SIZE - 1);
}

static bool same(const char *s, const char *field) {
        return strncmp(cut(s), field, UAPI_NAME_SIZE) == 0;
}

static bool matches(const struct fake_tag *t) {
        const struct uapi_filter *f = &fake.filter;

        if (f->mask & UAPI_MODNAME && !same(t->module ? t->module : "", f->fields.modname))
                return false;
        if (f->mask & UAPI_FUNCTION && !same(t->function, f->fields.function))
                return false;
        if (f->mask & UAPI_FILENAME && !same(t->file, f->fields.filename))
                return false;
        if (f->mask & UAPI_LINENO && t->line != f->fields.lineno)
                return false;
        if (f->mask & UAPI_INACCURATE && t->inaccurate != (f->inaccurate != 0))
                return false;
        if (f->mask & UAPI_MIN_SIZE && (uint64_t)t->bytes < f->min_size)
                return false;
        return !(f->mask & UAPI_MAX_SIZE) || (uint64_t)t->bytes <= f->max_size;
}

static int answer(struct uapi_tag_data *data) {
        while (fake.next < fake.n && !matches(&fake.tags[fake.next]))
                fake.next++;
        if (fake.next >= fake.n) {
                fake.positioned = false;
                return -ENOENT;
        }
        const struct fake_tag *t = &fake.tags[fake.next++];

        memset(data, 0, sizeof(*data));
        strcpy(data->tag.filename, cut(t->file));
        strcpy(data->tag.function, cut(t->function));
        strcpy(data->tag.modname, cut(t->module ? t->module : ""));
        data->tag.lineno = t->line;
        data->bytes = (uint64_t)t->bytes;
        data->calls = t->calls;
        data->accurate = !t->inaccurate;
        return 0;
}

static int get_at(struct uapi_get_at *at) {
        int r = 0;

        fake.asked = at->filter;
        fake.position = at->pos;
        if (at->filter.mask & ~(uint64_t)UAPI_MASKS)
                return -EINVAL;
        if (at->filter.mask & UAPI_MIN_SIZE && at->filter.mask & UAPI_MAX_SIZE && at->filter.min_size > at->filter.max_size)
                return -EINVAL;
        if (at->pos >= fake.n)
                return -ENOENT;
        fake.filter = at->filter;
        fake.next = 0;
        fake.positioned = true;
        for (uint64_t i = 0; r >= 0 && i <= at->pos; i++)
                r = answer(&at->data);
        return r;
}

static int get_next(struct uapi_tag_data *data) {
        if (!fake.positioned)
                fake.next = 0;
        fake.positioned = true;
        return answer(data);
}

/* True when the call that begins now fails. */
static bool count_call(void) {
        fake.calls++;
        if (fake.change_at && fake.calls == fake.change_at) {
                fake.tags = fake.changed;
                fake.n = fake.n_changed;
                fake.content_id++;
                fake.change_at = fake.change_every ? fake.calls + fake.change_every : 0;
        }
        return fake.shut_down_at && fake.calls >= fake.shut_down_at;
}

static int fake_ioctl(int fd, unsigned long request, void *data) {
        if (count_call())
                return fake.error_at_shutdown ? -fake.error_at_shutdown : -ENOTTY;
        if (fake.no_ioctl)
                return -ENOTTY;
        if (request == UAPI_CONTENT_ID) {
                *(struct uapi_content_id *)data = (struct uapi_content_id){fake.content_id};
                return 0;
        }
        fake.gets++;
        return request == UAPI_GET_AT ? get_at(data) : request == UAPI_GET_NEXT ? get_next(data) : -ENOTTY;
}

static int no_ioctl(int fd, unsigned long request, void *data) {
        return -ENOTTY;
}

static void make_text(void) {
        size_t n = (size_t)sprintf(fake.made, "allocinfo - version: 2.0\n#     <size>  <calls> <tag info>\n");

        for (size_t i = 0; i < fake.n; i++) {
                const struct fake_tag *t = &fake.tags[i];

                n += (size_t)snprintf(fake.made + n, sizeof(fake.made) - n, "%12lli %8llu %s:%llu%s%s%s func:%s%s \n",
                        (long long)t->bytes, (unsigned long long)t->calls, t->file, (unsigned long long)t->line,
                        t->module ? " [" : "", t->module ? t->module : "", t->module ? "]" : "", t->function,
                        t->inaccurate ? " accurate:no" : "");
        }
        fake.made_n = n;
}

static ssize_t fake_read(int fd, void *data, size_t n) {
        const char *text = fake.text ? fake.text : fake.made;

        if (count_call())
                return -EIO;
        if (fake.interrupt && fake.calls == fake.interrupt)
                return -EINTR;
        if (!fake.made_n && !fake.text)
                make_text();
        if (fake.text)
                fake.made_n = strlen(fake.text);
        if (fake.piece && n > fake.piece)
                n = fake.piece;
        if (n > fake.made_n - fake.read)
                n = fake.made_n - fake.read;
        memcpy(data, text + fake.read, n);
        fake.read += n;
        return (ssize_t)n;
}

const struct allocinfo_ops fake_ops = {fake_ioctl, fake_read};
const struct allocinfo_ops fake_ops_text = {no_ioctl, fake_read};

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A reader of BTF as Documentation/bpf/btf.rst has it.
 *
 * Invariant: ktypes_load walks all types once and checks every length against the file, so what comes later may follow an
 * offset that it finds in the index without checking again. Names and type ids inside types are checked where they are used.
 */
#include <fcntl.h>
#include <linux/btf.h>

#include "ktypes.h"
#include "text.h"

/* A distribution's kernel has 5 to 12 MiB and some 150000 types. */
#define BTF_SIZE_MAX (256u * 1024 * 1024)
/* Anonymous structs nest two or three deep in practice, and task_struct has some 250 members; a cycle would be a lie of the
 * file. */
#define NESTING_MAX 8
#define MEMBERS_MAX 65536

struct ktypes {
        char *data;
        const char *strings;
        uint32_t strings_len;
        const char *types;
        uint32_t *offsets; /* of each type by its id, within `types`; [0] is void and unused */
        uint32_t n, room;
};

/* How many bytes stand behind the head of a type: `fixed`, and `each` for each of its vlen parts. */
static const struct shape {
        uint8_t fixed, each;
} shapes[] = {
        [BTF_KIND_INT] = {4, 0},
        [BTF_KIND_PTR] = {0, 0},
        [BTF_KIND_ARRAY] = {sizeof(struct btf_array), 0},
        [BTF_KIND_STRUCT] = {0, sizeof(struct btf_member)},
        [BTF_KIND_UNION] = {0, sizeof(struct btf_member)},
        [BTF_KIND_ENUM] = {0, sizeof(struct btf_enum)},
        [BTF_KIND_FWD] = {0, 0},
        [BTF_KIND_TYPEDEF] = {0, 0},
        [BTF_KIND_VOLATILE] = {0, 0},
        [BTF_KIND_CONST] = {0, 0},
        [BTF_KIND_RESTRICT] = {0, 0},
        [BTF_KIND_FUNC] = {0, 0},
        [BTF_KIND_FUNC_PROTO] = {0, sizeof(struct btf_param)},
        [BTF_KIND_VAR] = {sizeof(struct btf_var), 0},
        [BTF_KIND_DATASEC] = {0, sizeof(struct btf_var_secinfo)},
        [BTF_KIND_FLOAT] = {0, 0},
        [BTF_KIND_DECL_TAG] = {sizeof(struct btf_decl_tag), 0},
        [BTF_KIND_TYPE_TAG] = {0, 0},
        [BTF_KIND_ENUM64] = {0, sizeof(struct btf_enum64)},
};

static struct btf_type head_at(const struct ktypes *t, uint32_t offset) {
        struct btf_type type;

        memcpy(&type, t->types + offset, sizeof type);
        return type;
}

static int add_offset(struct ktypes *t, uint32_t offset) {
        if (t->n == t->room) {
                uint32_t room = t->room ? t->room * 2 : 64 * 1024;
                uint32_t *offsets = reallocarray(t->offsets, room, sizeof *offsets);

                if (!offsets)
                        return -ENOMEM;
                t->offsets = offsets;
                t->room = room;
        }
        t->offsets[t->n++] = offset;
        return 0;
}

static int index_types(struct ktypes *t, uint32_t len) {
        uint32_t at = 0;
        int r;

        r = add_offset(t, 0);
        while (r >= 0 && at < len) {
                struct btf_type head;
                uint32_t kind;
                uint64_t size;

                if (len - at < sizeof head)
                        return -EINVAL;
                head = head_at(t, at);
                kind = BTF_INFO_KIND(head.info);
                /* A kind of the future has an unknown length: nothing behind it can be read. */
                if (kind == BTF_KIND_UNKN || kind >= ELEMENTS(shapes))
                        return -EINVAL;
                size = sizeof head + shapes[kind].fixed + (uint64_t)shapes[kind].each * BTF_INFO_VLEN(head.info);
                if (size > len - at)
                        return -EINVAL;
                r = add_offset(t, at);
                at += (uint32_t)size;
        }
        return r;
}

static int parse(struct ktypes *t, size_t len) {
        struct btf_header h;
        uint64_t body;

        if (len < sizeof h)
                return -EINVAL;
        memcpy(&h, t->data, sizeof h);
        if (h.magic != BTF_MAGIC || h.version != BTF_VERSION || h.hdr_len < sizeof h || h.hdr_len > len)
                return -EINVAL;
        body = len - h.hdr_len;
        if ((uint64_t)h.type_off + h.type_len > body || (uint64_t)h.str_off + h.str_len > body || h.str_len == 0)
                return -EINVAL;
        t->types = t->data + h.hdr_len + h.type_off;
        t->strings = t->data + h.hdr_len + h.str_off;
        t->strings_len = h.str_len;
        if (t->strings[0] != '\0' || t->strings[t->strings_len - 1] != '\0')
                return -EINVAL;
        return index_types(t, h.type_len);
}

int ktypes_load(const char *path, struct ktypes **ret) {
        _cleanup_(ktypes_freep) struct ktypes *t = calloc(1, sizeof *t);
        size_t len;
        int r;

        if (!t)
                return -ENOMEM;
        r = text_read_file(AT_FDCWD, path, BTF_SIZE_MAX, &t->data, &len);
        if (r >= 0)
                r = parse(t, len);
        if (r < 0)
                return r;
        *ret = TAKE(t);
        return 0;
}

struct ktypes *ktypes_free(struct ktypes *t) {
        if (!t)
                return NULL;
        free(t->data);
        free(t->offsets);
        free(t);
        return NULL;
}

static const char *name_at(const struct ktypes *t, uint32_t offset) {
        return offset < t->strings_len ? t->strings + offset : "";
}

/* The first type of that kind and name, or 0. */
static uint32_t find(const struct ktypes *t, uint32_t kind, const char *name) {
        for (uint32_t id = 1; id < t->n; id++) {
                struct btf_type head = head_at(t, t->offsets[id]);

                if (BTF_INFO_KIND(head.info) == kind && streq(name_at(t, head.name_off), name))
                        return id;
        }
        return 0;
}

bool ktypes_has_typedef(const struct ktypes *t, const char *name) {
        return find(t, BTF_KIND_TYPEDEF, name) != 0;
}

uint32_t ktypes_function(const struct ktypes *t, const char *name) {
        return find(t, BTF_KIND_FUNC, name);
}

static bool composite_has(const struct ktypes *t, uint32_t id, const char *member, int nesting, unsigned *budget) {
        struct btf_type head;
        uint32_t kind;

        if (id == 0 || id >= t->n || nesting > NESTING_MAX)
                return false;
        head = head_at(t, t->offsets[id]);
        kind = BTF_INFO_KIND(head.info);
        if (kind != BTF_KIND_STRUCT && kind != BTF_KIND_UNION)
                return false;
        for (uint32_t i = 0; i < BTF_INFO_VLEN(head.info) && *budget > 0; i++) {
                struct btf_member m;
                const char *name;

                --*budget;
                memcpy(&m, t->types + t->offsets[id] + sizeof head + i * sizeof m, sizeof m);
                name = name_at(t, m.name_off);
                if (streq(name, member) || (!*name && composite_has(t, m.type, member, nesting + 1, budget)))
                        return true;
        }
        return false;
}

bool ktypes_has_member(const struct ktypes *t, const char *structure, const char *member) {
        unsigned budget = MEMBERS_MAX;

        return composite_has(t, find(t, BTF_KIND_STRUCT, structure), member, 0, &budget);
}

int ktypes_enumerator(const struct ktypes *t, uint32_t id, const char *name, int64_t *ret) {
        struct btf_type head;

        if (id == 0 || id >= t->n)
                return -ENOENT;
        head = head_at(t, t->offsets[id]);
        if (BTF_INFO_KIND(head.info) != BTF_KIND_ENUM)
                return -ENOENT;
        for (uint32_t i = 0; i < BTF_INFO_VLEN(head.info); i++) {
                struct btf_enum e;

                memcpy(&e, t->types + t->offsets[id] + sizeof head + i * sizeof e, sizeof e);
                if (!streq(name_at(t, e.name_off), name))
                        continue;
                *ret = e.val;
                return 0;
        }
        return -ENOENT;
}

uint32_t ktypes_enum_of(const struct ktypes *t, const char *enumerator) {
        int64_t value;

        for (uint32_t id = 1; id < t->n; id++)
                if (ktypes_enumerator(t, id, enumerator, &value) >= 0)
                        return id;
        return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See tree.h. Children are found by a walk over their list, for directories have few. */
#include "tree.h"
#include "util.h"

#define DEPTH_MAX 32 /* what lies deeper hangs on the last one */

struct node {
        char *name;
        int64_t bytes, calls;
        bool estimated;
        struct node **children;
        size_t n;
};

static struct node *node_free(struct node *n) {
        if (!n)
                return NULL;
        for (size_t i = 0; i < n->n; i++)
                node_free(n->children[i]);
        free(n->children);
        free(n->name);
        free(n);
        return NULL;
}

DEFINE_CLEANUP(struct node, node_free)

/* The child of that name, made when there is none. NULL on ENOMEM. */
static struct node *child_of(struct node *parent, const char *name, size_t length) {
        struct node **children, *child;

        for (size_t i = 0; i < parent->n; i++)
                if (strlen(parent->children[i]->name) == length && memcmp(parent->children[i]->name, name, length) == 0)
                        return parent->children[i];
        children = reallocarray(parent->children, parent->n + 1, sizeof(*children));
        if (!children)
                return NULL;
        parent->children = children;
        child = calloc(1, sizeof(*child));
        if (child)
                child->name = strndup(name, length);
        if (!child || !child->name)
                return node_free(child);
        return parent->children[parent->n++] = child;
}

/* ---- where a row hangs ----------------------------------------------------------------------------------------------------
 */

static const char *text(const json_t *row, const char *key) {
        return json_string_value(json_object_get(row, key));
}

/* "file.c:12 function [module]" below its directories, or the function below its category. */
static char *leaf_of(const json_t *row) {
        const char *file = text(row, "file"), *function = text(row, "function") ?: text(row, "key"),
                   *module = text(row, "module"), *slash = file ? strrchr(file, '/') : NULL;
        _cleanup_free_ char *where = module && module[0] ? format(" [%s]", module) : strdup("");

        if (!where)
                return NULL;
        if (!file)
                return format("%s%s", function ?: "unknown", where);
        return format("%s:%lld %s%s", slash ? slash + 1 : file, json_integer_value(json_object_get(row, "line")),
                function ?: "?", where);
}

static void add_to(struct node *n, const json_t *row) {
        n->bytes += json_integer_value(json_object_get(row, "bytes"));
        n->calls += json_integer_value(json_object_get(row, "calls"));
        n->estimated = n->estimated || json_is_true(json_object_get(row, "estimated"));
}

static int hang(struct node *root, const json_t *row) {
        const char *type = text(row, "type"), *file = text(row, "file"), *path = file ?: text(row, "category") ?: "other";
        _cleanup_free_ char *leaf = leaf_of(row);
        struct node *n = root;

        if (!leaf)
                return -ENOMEM;
        if (type && streq(type, "user")) {
                n = child_of(n, "user pages", strlen("user pages"));
                if (!n)
                        return -ENOMEM;
                add_to(n, row);
        }
        for (unsigned depth = 0; depth < DEPTH_MAX; depth++) {
                size_t length = strcspn(path, "/");

                if (file && !path[length]) /* the file's own name is the leaf's */
                        break;
                n = child_of(n, path, length);
                if (!n)
                        return -ENOMEM;
                add_to(n, row);
                if (!path[length])
                        break;
                path += length + 1;
        }
        n = child_of(n, leaf, strlen(leaf));
        if (!n)
                return -ENOMEM;
        add_to(n, row);
        return 0;
}

/* ---- in the order of printing ---------------------------------------------------------------------------------------------
 */

static int by_size(const void *a, const void *b) {
        const struct node *x = *(struct node *const *)a, *y = *(struct node *const *)b;

        if (x->bytes != y->bytes)
                return x->bytes > y->bytes ? -1 : 1;
        return strcmp(x->name, y->name);
}

static int print(const struct node *n, unsigned depth, json_t *rows) {
        if (n->n > 0)
                qsort(n->children, n->n, sizeof(*n->children), by_size);
        for (size_t i = 0; i < n->n; i++) {
                const struct node *c = n->children[i];
                _cleanup_free_ char *name = format("%*s%s", (int)(2 * depth), "", c->name);
                int r = name ? json_array_append_new(
                                       rows, json_pack("{s:s, s:I, s:I, s:b}", "name", name, "bytes", (json_int_t)c->bytes,
                                                     "calls", (json_int_t)c->calls, "estimated", c->estimated))
                             : -1;

                if (r >= 0)
                        r = print(c, depth + 1, rows);
                if (r < 0)
                        return -ENOMEM;
        }
        return 0;
}

int tree_rows(const json_t *sites, json_t **ret) {
        _cleanup_(node_freep) struct node *root = calloc(1, sizeof(*root));
        json_t *rows = json_array();
        const json_t *row;
        int r = root && rows ? 0 : -ENOMEM;
        size_t i;

        json_array_foreach((json_t *)sites, i, row) if (r >= 0) r = hang(root, row);
        if (r >= 0)
                r = print(root, 0, rows);
        if (r < 0) {
                json_decref(rows);
                return r;
        }
        *ret = rows;
        return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "padding.h"

/* Every eighth is of pages, with a stack as deep as they are. */
#define PAGES_EVERY 8
#define PAGE_FRAMES 8

static struct {
        const struct tracker_ops *real;
        struct tracker_ops ops; /* the real ones, but for read */
        uint64_t *functions;
        size_t n_functions, wanted;
} padding;

static void make_row(size_t i, struct tracker_row *ret) {
        *ret = (struct tracker_row){.type = TYPE_SLAB, .charged = i % 2, .live_known = true, .node = -1, .n_frames = 1};
        if (i % PAGES_EVERY == 0) {
                ret->type = TYPE_PAGE;
                ret->n_frames = PAGE_FRAMES;
        }
        for (unsigned k = 0; k < ret->n_frames; k++)
                ret->frames[k] = padding.functions[(i * padding.n_functions / padding.wanted + k) % padding.n_functions] + 8;
        ret->counts = (struct tracker_counts){
                .allocated_bytes = 4096 + (int64_t)i, .allocated_calls = 64, .freed_bytes = 2048, .freed_calls = 32};
}

static int padded_read(struct tracker *t, unsigned group, struct tracker_sample *ret) {
        struct tracker_sample sample = {};
        struct tracker_row *rows;
        int r = padding.real->read(t, group, &sample);

        if (r < 0)
                return r;
        rows = reallocarray(sample.rows, sample.n_rows + padding.wanted, sizeof(*rows));
        if (!rows) {
                tracker_sample_done(&sample);
                return -ENOMEM;
        }
        sample.rows = rows;
        for (size_t i = sample.n_rows; i < padding.wanted; i++)
                make_row(i, &rows[sample.n_rows++]);
        *ret = sample;
        return 0;
}

static int add_function(uint64_t address) {
        uint64_t *grown;

        if ((padding.n_functions & (padding.n_functions - 1)) == 0) { /* full at every power of two */
                grown = reallocarray(padding.functions, padding.n_functions ? 2 * padding.n_functions : 1, sizeof(uint64_t));
                if (!grown)
                        return -ENOMEM;
                padding.functions = grown;
        }
        padding.functions[padding.n_functions++] = address;
        return 0;
}

static int read_functions(const char *kallsyms) {
        _cleanup_fclose_ FILE *f = fopen(kallsyms, "re");
        unsigned long long address, last = 0;
        char line[512], type;
        int r = f ? 0 : -errno;

        while (r >= 0 && fgets(line, sizeof(line), f))
                if (sscanf(line, "%llx %c", &address, &type) == 2 && (type == 't' || type == 'T') && address > last + 16) {
                        r = add_function(address);
                        last = address;
                }
        return r < 0 ? r : padding.n_functions > 0 ? 0 : -ENOENT;
}

int padding_on(struct tracker *t, const char *kallsyms, size_t sites, char **reterr) {
        int r = read_functions(kallsyms);

        if (r < 0)
                return fail(reterr, r, "No functions can be read from %s: %s.", kallsyms, strerror(-r));
        padding.wanted = sites;
        padding.real = t->ops;
        padding.ops = *t->ops;
        padding.ops.read = padded_read;
        t->ops = &padding.ops;
        return 0;
}

void padding_off(struct tracker *t) {
        if (padding.real)
                t->ops = padding.real;
        free(padding.functions);
        memset(&padding, 0, sizeof(padding));
}

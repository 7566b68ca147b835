/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A sorted table of the kernel's text symbols, made from one reading of kallsyms.
 *
 * Invariants: one entry per address, ascending; names lie in one pool and are referred to by offset; the table is bounded
 * whatever the file holds. kallsyms has no sizes, so a function ends where the next symbol begins, and at the latest after the
 * limits below.
 */
#include <fcntl.h>

#include "symbol.h"

/* KSYM_NAME_LEN is 512, a module's name is at most 56 long; the rest of a line is 20. Longer lines are not the kernel's. */
#define NAME_MAX_LEN 511
#define MODULE_MAX_LEN 63
#define LINE_MAX_LEN 1023
#define READ_SIZE (64 * 1024)
#define SYMBOLS_MAX (4u * 1024 * 1024)
#define MODULES_MAX 4096
#define POOL_MAX (256u * 1024 * 1024)

/*
 * How far the last function before a gap may reach. Of the 122043 text symbols of a 6.18 kernel the longest function is 15584
 * bytes (do_jit), and one distance before an alignment gap is 20688, so 64 KiB is ample within the kernel. After the last
 * function of a module or of a BPF program the next pages may become another module's, which must not get its name: less is
 * given there.
 */
#define KERNEL_REACH (64 * 1024)
#define MODULE_REACH (16 * 1024)

enum { ENTRY_GLOBAL = 1 << 0, ENTRY_END = 1 << 1 };

struct entry {
        uint64_t address;
        uint32_t name; /* offset in the pool */
        uint16_t module;
        uint16_t flags;
};

struct symbols {
        struct entry *entries;
        size_t n, room;
        char *pool;
        size_t pool_used, pool_room;
        uint32_t modules[MODULES_MAX]; /* offsets in the pool; [0] is the kernel itself */
        size_t n_modules;
        bool text_seen;    /* there was a text symbol */
        bool address_seen; /* and one with an address */
        bool sorted;
};

/* What a text symbol of the kernel itself stands for. */
enum meaning {
        MEANS_FUNCTION,
        MEANS_NOTHING, /* the start of a section, or padding */
        MEANS_END,     /* the end of a section: it ends the function before it and holds no address */
};

static const struct marker {
        const char *name;
        enum meaning meaning;
} markers[] = {
        {"_text", MEANS_NOTHING},
        {"_stext", MEANS_NOTHING},
        {"__pi__text", MEANS_NOTHING},
        {"_sinittext", MEANS_NOTHING},
        {"_etext", MEANS_END},
        {"_einittext", MEANS_END},
};

/*
 * Compilers pad in front of a function and name that __pfx_FUNCTION (or __cfi_FUNCTION). Left out, because a return address
 * behind a call that never returns, the last instruction of its function, lies in it and belongs to the function before.
 */
static const char *const paddings[] = {"__pfx_", "__cfi_"};

static bool ends_with(const char *name, size_t n, const char *end) {
        size_t len = strlen(end);

        return n >= len && streq(name + n - len, end);
}

static enum meaning meaning_of(const char *name, size_t n, bool in_module) {
        if (name[0] != '_')
                return MEANS_FUNCTION;
        for (size_t i = 0; i < ELEMENTS(paddings); i++)
                if (startswith(name, paddings[i]))
                        return MEANS_NOTHING;
        if (in_module)
                return MEANS_FUNCTION;
        for (size_t i = 0; i < ELEMENTS(markers); i++)
                if (streq(markers[i].name, name))
                        return markers[i].meaning;
        /* __entry_text_start, __sched_text_end and many more, differently in each version. */
        if (startswith(name, "__") && ends_with(name, n, "_text_start"))
                return MEANS_NOTHING;
        return startswith(name, "__") && ends_with(name, n, "_text_end") ? MEANS_END : MEANS_FUNCTION;
}

static int pool_add(struct symbols *s, const char *text, size_t n, uint32_t *ret) {
        if (s->pool_used + n + 1 > s->pool_room) {
                size_t room = s->pool_room ? s->pool_room * 2 : 64 * 1024;
                char *pool;

                if (room > POOL_MAX)
                        return -E2BIG;
                pool = realloc(s->pool, room);
                if (!pool)
                        return -ENOMEM;
                s->pool = pool;
                s->pool_room = room;
        }
        *ret = (uint32_t)s->pool_used;
        memcpy(s->pool + s->pool_used, text, n);
        s->pool[s->pool_used + n] = '\0';
        s->pool_used += n + 1;
        return 0;
}

/* The number of a module's name. kallsyms lists a module's symbols in a row, so the last one is nearly always it. */
static int module_number(struct symbols *s, const char *name, size_t n, uint16_t *ret) {
        int r;

        for (size_t i = s->n_modules; i > 0; i--) {
                const char *known = s->pool + s->modules[i - 1];

                if (strncmp(known, name, n) == 0 && known[n] == '\0') {
                        *ret = (uint16_t)(i - 1);
                        return 0;
                }
        }
        if (s->n_modules == MODULES_MAX)
                return -E2BIG;
        r = pool_add(s, name, n, &s->modules[s->n_modules]);
        if (r < 0)
                return r;
        *ret = (uint16_t)s->n_modules++;
        return 0;
}

static int add_entry(struct symbols *s, const struct entry *e) {
        if (s->n == s->room) {
                size_t room = s->room ? s->room * 2 : 4 * 1024;
                struct entry *entries;

                if (room > SYMBOLS_MAX)
                        return -E2BIG;
                entries = reallocarray(s->entries, room, sizeof *entries);
                if (!entries)
                        return -ENOMEM;
                s->entries = entries;
                s->room = room;
        }
        if (s->n > 0 && s->entries[s->n - 1].address > e->address)
                s->sorted = false;
        s->entries[s->n++] = *e;
        return 0;
}

/* One line of kallsyms, cut in its parts. */
struct line {
        uint64_t address;
        char type;
        const char *name, *module;
        size_t name_len, module_len;
};

static char *parse_hex(char *p, uint64_t *ret) {
        char *start = p;
        uint64_t v = 0;

        for (; p - start < 16; p++) {
                unsigned digit = (unsigned char)*p - '0';

                if (digit > 9) {
                        digit = ((unsigned char)*p | 0x20) - 'a';
                        if (digit > 5)
                                break;
                        digit += 10;
                }
                v = v << 4 | digit;
        }
        *ret = v;
        return p == start ? NULL : p;
}

/* "ADDRESS TYPE NAME" or "ADDRESS TYPE NAME\t[MODULE]", NUL-terminated; the name is made a string of its own. */
static bool parse_line(char *text, struct line *ret) {
        char *p = parse_hex(text, &ret->address);

        if (!p || p[0] != ' ' || p[1] == '\0' || p[2] != ' ')
                return false;
        ret->type = p[1];
        ret->name = p + 3;
        ret->name_len = strcspn(ret->name, " \t");
        if (ret->name_len == 0 || ret->name_len > NAME_MAX_LEN)
                return false;
        p += 3 + ret->name_len;
        ret->module = "";
        ret->module_len = 0;
        if (*p) {
                *p++ = '\0';
                p += strspn(p, " \t");
                if (*p != '[')
                        return true;
                ret->module = p + 1;
                ret->module_len = strcspn(p + 1, "]");
        }
        return ret->module_len <= MODULE_MAX_LEN;
}

/* t and T: text; w and W: weak, and text whenever it has an address in the kernel. */
static bool is_text(char type) {
        return type == 't' || type == 'T' || type == 'w' || type == 'W';
}

static int add_line(struct symbols *s, char *text) {
        enum meaning meaning;
        struct line line;
        struct entry e;
        int r;

        if (!parse_line(text, &line) || !is_text(line.type))
                return 0;
        s->text_seen = true;
        s->address_seen |= line.address != 0;
        meaning = meaning_of(line.name, line.name_len, line.module_len > 0);
        if (meaning == MEANS_NOTHING)
                return 0;
        e = (struct entry){.address = line.address};
        if (meaning == MEANS_END)
                e.flags |= ENTRY_END;
        if (line.type == 'T' || line.type == 'W')
                e.flags |= ENTRY_GLOBAL;
        r = module_number(s, line.module, line.module_len, &e.module);
        if (r < 0)
                return r;
        r = pool_add(s, line.name, line.name_len, &e.name);
        return r < 0 ? r : add_entry(s, &e);
}

/* Hands the whole lines of `buffer` on and moves the rest to its front. Lines longer than LINE_MAX_LEN are passed over. */
static int take_lines(struct symbols *s, char *buffer, size_t *n, bool *skipping) {
        char *p = buffer, *end = buffer + *n, *newline;
        int r;

        while ((newline = memchr(p, '\n', (size_t)(end - p)))) {
                *newline = '\0';
                if (!*skipping && newline - p <= LINE_MAX_LEN) {
                        r = add_line(s, p);
                        if (r < 0)
                                return r;
                }
                *skipping = false;
                p = newline + 1;
        }
        if (end - p > LINE_MAX_LEN) {
                *skipping = true;
                p = end;
        }
        *n = (size_t)(end - p);
        memmove(buffer, p, *n);
        return 0;
}

static int read_lines(struct symbols *s, int fd) {
        _cleanup_free_ char *buffer = malloc(READ_SIZE + 1);
        bool skipping = false;
        size_t n = 0;
        int r;

        if (!buffer)
                return -ENOMEM;
        for (;;) {
                ssize_t k = read(fd, buffer + n, READ_SIZE - n);

                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                if (k == 0)
                        break;
                n += (size_t)k;
                r = take_lines(s, buffer, &n, &skipping);
                if (r < 0)
                        return r;
        }
        if (n == 0 || skipping)
                return 0;
        buffer[n] = '\0';
        return add_line(s, buffer);
}

static int by_address(const void *a, const void *b) {
        const struct entry *x = a, *y = b;

        if (x->address != y->address)
                return x->address < y->address ? -1 : 1;
        return x->name < y->name ? -1 : x->name > y->name; /* the order of the file */
}

/* Of two names of one address: an end stays one; then the global name, then the shorter, then the first. */
static bool is_better(const struct symbols *s, const struct entry *candidate, const struct entry *held) {
        int rank_candidate = !!(candidate->flags & ENTRY_GLOBAL) - 2 * !!(candidate->flags & ENTRY_END);
        int rank_held = !!(held->flags & ENTRY_GLOBAL) - 2 * !!(held->flags & ENTRY_END);

        if (rank_candidate != rank_held)
                return rank_candidate > rank_held;
        return strlen(s->pool + candidate->name) < strlen(s->pool + held->name);
}

static void sort_and_unite(struct symbols *s) {
        size_t n = 0;

        if (!s->sorted)
                qsort(s->entries, s->n, sizeof *s->entries, by_address);
        for (size_t i = 0; i < s->n; i++) {
                if (n > 0 && s->entries[n - 1].address == s->entries[i].address) {
                        if (is_better(s, &s->entries[i], &s->entries[n - 1]))
                                s->entries[n - 1] = s->entries[i];
                } else {
                        s->entries[n++] = s->entries[i];
                }
        }
        s->n = n;
}

/* Gives back what doubling took too much. Failing to shrink is no failure. */
static void shrink(struct symbols *s) {
        void *p = realloc(s->entries, s->n * sizeof *s->entries);

        if (p)
                s->entries = p;
        p = realloc(s->pool, s->pool_used);
        if (p)
                s->pool = p;
}

static int load(struct symbols *s, const char *path, char **reterr) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
        uint16_t kernel;
        int r;

        if (fd < 0)
                return fail(reterr, -errno, "Cannot open the kernel's symbol table %s: %s.", path, strerror(errno));
        r = module_number(s, "", 0, &kernel);
        if (r < 0)
                return r;
        r = read_lines(s, fd);
        if (r == -E2BIG)
                return fail(reterr, r, "The kernel's symbol table %s is larger than any kernel's.", path);
        if (r < 0)
                return fail(reterr, r, "Cannot read the kernel's symbol table %s: %s.", path, strerror(-r));
        if (!s->text_seen)
                return fail(reterr, -EINVAL, "%s names no function of the kernel.", path);
        if (!s->address_seen)
                return fail(reterr, -EACCES,
                        "The kernel hides its symbol addresses in %s: run as root with CAP_SYSLOG, or look at "
                        "kernel.kptr_restrict.",
                        path);
        if (s->n == 0)
                return fail(reterr, -EINVAL, "%s names no function of the kernel.", path);
        sort_and_unite(s);
        shrink(s);
        return 0;
}

int symbols_load(const char *path, struct symbols **ret, char **reterr) {
        _cleanup_(symbols_freep) struct symbols *s = calloc(1, sizeof *s);
        int r;

        if (!s)
                return fail(reterr, -ENOMEM, "Out of memory.");
        s->sorted = true;
        r = load(s, path, reterr);
        if (r < 0)
                return r;
        *ret = TAKE(s);
        return 0;
}

struct symbols *symbols_free(struct symbols *s) {
        if (!s)
                return NULL;
        free(s->entries);
        free(s->pool);
        free(s);
        return NULL;
}

/* The last entry at or below the address, or NULL. */
static const struct entry *entry_below(const struct symbols *s, uint64_t address) {
        size_t low = 0, high = s->n;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (s->entries[middle].address <= address)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low > 0 ? &s->entries[low - 1] : NULL;
}

int symbols_find(const struct symbols *s, uint64_t address, struct symbol *ret) {
        const struct entry *e = entry_below(s, address), *next;
        uint64_t reach;

        if (!e || e->flags & ENTRY_END)
                return -ENOENT;
        next = e + 1 < s->entries + s->n ? e + 1 : NULL;
        reach = e->module != 0 && (!next || next->module != e->module) ? MODULE_REACH : KERNEL_REACH;
        if (address - e->address >= reach)
                return -ENOENT;
        *ret = (struct symbol){
                .name = s->pool + e->name,
                .module = s->pool + s->modules[e->module],
                .offset = (uint32_t)(address - e->address),
                .start = e->address,
        };
        return 0;
}

void symbols_each(
        const struct symbols *s, void (*each)(void *userdata, const char *name, uint64_t start, uint64_t end), void *userdata) {
        for (size_t i = 0; i + 1 < s->n; i++) {
                const struct entry *e = &s->entries[i];

                if (!(e->flags & ENTRY_END) && e->module == 0)
                        each(userdata, s->pool + e->name, e->address, e[1].address);
        }
}

size_t symbols_count(const struct symbols *s) {
        return s->n;
}

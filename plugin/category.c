/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Paths, modules and functions to categories, all by the longest word of a table that begins the name. The tables are written
 * by category, for people; they are sorted by word once, when first asked.
 */
#include <threads.h>

#include "category-names.h"
#include "category.h"

struct word {
        const char *text; /* n bytes within the table */
        size_t n;
        const char *category;
};

/* Larger tables would be cut; test-category finds every word of theirs. */
static struct index {
        struct word words[2048];
        size_t n;
} paths, functions, modules;

static once_flag sorted = ONCE_FLAG_INIT;

/* ---- the index --------------------------------------------------------------------------------------------------------- */

static int compare(const char *a, size_t n_a, const char *b, size_t n_b) {
        int r = memcmp(a, b, n_a < n_b ? n_a : n_b);

        return r ?: n_a < n_b ? -1 : n_a > n_b;
}

static int compare_words(const void *a, const void *b) {
        const struct word *x = a, *y = b;

        return compare(x->text, x->n, y->text, y->n);
}

static void fill(struct index *index, const struct category_words *table, size_t n) {
        for (size_t i = 0; i < n; i++) {
                const char *p = table[i].words;

                while (*(p += strspn(p, " ")) && index->n < ELEMENTS(index->words)) {
                        size_t len = strcspn(p, " ");

                        index->words[index->n++] = (struct word){.text = p, .n = len, .category = table[i].category};
                        p += len;
                }
        }
        qsort(index->words, index->n, sizeof(struct word), compare_words);
}

static void sort_tables(void) {
        fill(&paths, category_paths, category_paths_n);
        fill(&functions, category_functions, category_functions_n);
        fill(&modules, category_modules, category_modules_n);
}

/* The last word at or below the first `n` bytes of `name`, or NULL. */
static const struct word *word_below(const struct index *index, const char *name, size_t n) {
        size_t low = 0, high = index->n;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (compare(index->words[middle].text, index->words[middle].n, name, n) <= 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low > 0 ? &index->words[low - 1] : NULL;
}

/*
 * The longest word that begins the first `n` bytes of `name`. Such a word lies below the name and, sorted, whatever lies
 * between them begins with it too: so what the name and its neighbour share begins with it as well, and is shorter.
 */
static const struct word *longest(const struct index *index, const char *name, size_t n) {
        const struct word *w;

        while ((w = word_below(index, name, n))) {
                size_t same = 0;

                while (same < n && same < w->n && w->text[same] == name[same])
                        same++;
                if (same == w->n)
                        return w;
                n = same;
        }
        return NULL;
}

/* ---- what is asked ----------------------------------------------------------------------------------------------------- */

static bool say(char ret[static CATEGORY_MAX], const char *category, const char *rest, size_t n_rest) {
        snprintf(ret, CATEGORY_MAX, "%s%.*s", category, (int)(n_rest < CATEGORY_MAX ? n_rest : CATEGORY_MAX), rest);
        return true;
}

/* The part of a path that lies in the kernel's tree: builds in another directory write "./" or "../" in front. */
static const char *tree_path(const char *path) {
        while (startswith(path, "./") || startswith(path, "../"))
                path = strchr(path, '/') + 1;
        return path;
}

static bool is_header(const char *path) {
        return startswith(path, "include/") || (startswith(path, "arch/") && strstr(path, "/include/"));
}

/* A directory below that has a name gives it: "net/" of "net/ipv4/tcp.c" is "net/ipv4", of "net/socket.c" it is "net". */
static bool by_path(const char *path, char ret[static CATEGORY_MAX]) {
        const char *arch = startswith(path, "arch/") ? strchr(path + strlen("arch/"), '/') : NULL;
        const struct word *w;
        size_t n, below;

        if (path[0] == '/') /* somebody's home */
                return false;
        if (arch) {
                w = longest(&paths, arch, strlen(arch)); /* "/mm/" of "arch/x86/mm/pgtable.c" */
                if (w)
                        return say(ret, w->category, "", 0);
        }
        w = longest(&paths, path, strlen(path));
        if (!w)
                return false;
        n = strlen(w->category);
        if (w->category[n - 1] != '/')
                return say(ret, w->category, "", 0);
        below = strcspn(path + w->n, "/");
        if (path[w->n + below] == '/')
                return say(ret, w->category, path + w->n, below);
        say(ret, w->category, "", 0);
        ret[n - 1] = '\0';
        return true;
}

static bool by_module(const char *module, char ret[static CATEGORY_MAX]) {
        for (size_t n = strlen(module), len = n; n > 0;) {
                const struct word *w = longest(&modules, module, n);

                if (!w)
                        break;
                if (w->n == len || w->text[w->n - 1] == '_')
                        return say(ret, w->category, "", 0);
                n = w->n - 1;
        }
        return say(ret, "module:", module, strlen(module));
}

/* What one system call is called depends on the architecture and on who made the stack. */
static const char *const call_prefixes[] = {"x64_", "ia32_compat_", "ia32_", "x32_compat_", "arm64_compat_", "arm64_", "s390x_",
        "riscv_", "do_compat_", "se_compat_", "do_", "se_"};

static const char *plain_function(const char *function) {
        function += strspn(function, "_");
        for (size_t i = 0; i < ELEMENTS(call_prefixes); i++) {
                size_t n = strlen(call_prefixes[i]);

                if (startswith(function, call_prefixes[i]) && startswith(function + n, "sys_"))
                        return function + n;
        }
        return function;
}

static bool by_function(const char *function, char ret[static CATEGORY_MAX]) {
        const char *plain = plain_function(function);
        const struct word *w = longest(&functions, plain, strlen(plain));

        return w && say(ret, w->category, "", 0);
}

void category_of(const char *file, const char *function, const char *module, char ret[static CATEGORY_MAX]) {
        const char *path = file ? tree_path(file) : NULL;

        call_once(&sorted, sort_tables);
        if (path && !is_header(path) && by_path(path, ret))
                return;
        if (module && module[0]) {
                by_module(module, ret);
                return;
        }
        if (function && by_function(function, ret))
                return;
        if (!path || !by_path(path, ret))
                say(ret, "other", "", 0);
}

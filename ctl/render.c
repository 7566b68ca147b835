/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The pages: a header of labelled lines, the account against the memcg's own counter, the rows, and a footer over the whole.
 * What is lost is said before the rows, because it decides how to read them.
 */
#include <inttypes.h>
#include <time.h>

#include "render-report.h"
#include "render.h"
#include "table.h"
#include "tracker.h"
#include "tree.h"

#define LABEL_WIDTH 13

struct page {
        FILE *out;
        bool oom;
};

/* Prints one labelled line and frees `text`; NULL means that there was no memory for it. */
static void line(struct page *p, const char *label, char *text) {
        if (!text) {
                p->oom = true;
                return;
        }
        fprintf(p->out, "%-*s %s\n", LABEL_WIDTH, label, text);
        free(text);
}

static const json_t *get(const json_t *o, const char *key) {
        return json_object_get(o, key);
}

static int64_t integer(const json_t *o, const char *key) {
        return json_integer_value(get(o, key));
}

static bool is_format(const json_t *document, const char *name) {
        const char *format_name = json_string_value(get(document, "format"));

        return format_name && streq(format_name, name);
}

/* What a loss means for who reads the rows. */
static const char *const loss_meanings[] = {
        [LOSS_IRQ_UNSEEN] = "allocations by interrupts that no program was run for; no row misses them",
        [LOSS_RECURSION] = "events skipped by the kernel because the counting itself was running on that CPU",
        [LOSS_OBJECTS_FULL] = "objects that found no room in the object table; their frees are not seen",
        [LOSS_SITES_FULL] = "allocations booked on no site because the site table was full",
        [LOSS_STACKS_FULL] = "page allocations booked on no site because the stack table was full",
        [LOSS_STACK_ERRORS] = "page allocations whose call stack the kernel could not walk",
        [LOSS_STACK_MIXED] = "page allocations booked on no site because two stacks look the same",
        [LOSS_GROUP_LOOKUPS] = "events of cgroups outside the group table, counted for nobody",
        [LOSS_MISSED_FREES] = "objects written off: their memory was allocated again and their free never seen",
        [LOSS_UNSIZED_FREES] = "frees of older objects whose size the kernel does not tell",
        [LOSS_CHARGES] = "allocations whose owner was inferred wrongly, of those that were verified",
        [LOSS_BULK_PAGES] = "uncharged pages taken in bulk, which no tracepoint tells: at most so many are in no row",
        [LOSS_TAGS_FULL] = "allocations named by their call because the table of alloc tags was full",
        [LOSS_LEASE] = "times that counting stood still, because no daemon had cared for it for long",
};
_Static_assert(ELEMENTS(loss_meanings) == _LOSS_MAX, "every loss has a meaning");

static const char *loss_meaning(const char *name) {
        for (size_t i = 0; i < _LOSS_MAX; i++)
                if (streq(loss_name(i), name))
                        return loss_meanings[i];
        return NULL;
}

static void page_losses(struct page *p, const json_t *lost) {
        const char *key;
        json_t *value;
        size_t n = 0;

        json_object_foreach((json_t *)lost, key, value) {
                _cleanup_free_ char *name = NULL;
                const char *meaning;

                if (json_integer_value(value) == 0)
                        continue;
                n++;
                name = table_escape(key);
                meaning = loss_meaning(key);
                line(p, "lost",
                        format("%" JSON_INTEGER_FORMAT " %s%s%s", json_integer_value(value), name ? name : "?",
                                meaning ? ": " : "", meaning ? meaning : ""));
        }
        if (n == 0)
                line(p, "lost", strdup("nothing"));
}

/* "kind id", and what annotations say about it. */
static void page_target(struct page *p, const json_t *profile) {
        static const struct {
                const char *key, *label;
        } members[] = {{"namespace", "namespace"}, {"name", "pod"}, {"container", "container"}, {"image", "image"}};
        _cleanup_free_ char *kind = table_text(profile, "kind"), *id = table_text(profile, "id"),
                            *cgroup = table_text(profile, "cgroup");

        line(p, "target",
                kind && id ? format("%s%s%s", kind, streq(kind, "host") ? "" : " ", streq(kind, "host") ? "" : id) : NULL);
        line(p, "cgroup", TAKE(cgroup));
        for (size_t i = 0; i < ELEMENTS(members); i++)
                if (json_is_string(get(get(profile, "pod"), members[i].key)))
                        line(p, members[i].label, table_text(get(profile, "pod"), members[i].key));
}

static void page_unavailable(struct page *p, const json_t *profile) {
        const json_t *gap;
        size_t i;

        json_array_foreach(get(profile, "unavailable"), i, gap) {
                _cleanup_free_ char *word = table_text(gap, "word"), *reason = table_text(gap, "reason");

                line(p, "unavailable", word && reason ? format("%s: %s", word, reason) : NULL);
        }
}

static void page_how(struct page *p, const json_t *document) {
        const json_t *profile = get(document, "profile"), *kernel = get(document, "kernel");
        _cleanup_free_ char *mode = table_text(profile, "mode"), *backend = table_text(kernel, "backend"),
                            *release = table_text(kernel, "release"), *by = table_text(profile, "started_by");
        bool from_start = json_is_true(get(profile, "from_start"));

        line(p, "mode", TAKE(mode));
        line(p, "backend", backend && release ? format("%s on Linux %s", backend, release) : NULL);
        line(p, "started",
                by ? format("by %s, %s", by, from_start ? "from the first instruction" : "on what was running already") : NULL);
}

/* State and age: since the baseline, which a reset moves. */
static void page_state(struct page *p, const json_t *document) {
        const json_t *reset = get(document, "reset_us");
        int64_t since = json_is_integer(reset) ? json_integer_value(reset) : integer(document, "started_us");
        _cleanup_free_ char *state = table_text(get(document, "profile"), "state"),
                            *age = table_span(integer(document, "at_us") - since);

        line(p, "state",
                state && age ? format("%s, %s since %s", state, age, json_is_integer(reset) ? "the reset" : "the start")
                             : NULL);
}

/* The filter in one line, when there is one. */
static void page_filter(struct page *p, const json_t *filter) {
        char *text = NULL;
        const char *key;
        json_t *value;

        json_object_foreach((json_t *)filter, key, value) {
                _cleanup_free_ char *before = TAKE(text), *name = table_escape(key), *shown = table_text(filter, key);

                text = name && shown ? format("%s%s%s=%s", before ? before : "", before ? " " : "", name, shown) : NULL;
                if (!text)
                        p->oom = true;
        }
        if (text)
                line(p, "filter", text);
}

static char *time_text(int64_t us) {
        time_t t = us / 1000000;
        struct tm tm;
        char text[64];

        if (!localtime_r(&t, &tm) || strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S %Z", &tm) == 0)
                return strdup("-");
        return strdup(text);
}

static char *exit_text(const json_t *end) {
        _cleanup_free_ char *code = table_text(end, "exit_code"), *reason = table_text(end, "exit_code_reason");

        if (json_is_integer(get(end, "exit_code")))
                return TAKE(code);
        return reason ? format("not known: %s", reason) : NULL;
}

/* What is left, what went since the end, and until when that was followed. */
static void page_residue(struct page *p, const json_t *residue) {
        _cleanup_free_ char *charged = table_member_size(residue, "charged_bytes"),
                            *uncharged = table_member_size(residue, "uncharged_bytes"),
                            *released = table_member_size(residue, "released_bytes"),
                            *at = time_text(integer(residue, "at_us")), *why = table_text(residue, "closed_by");

        line(p, "residue", charged && uncharged ? format("%s charged, %s uncharged still live", charged, uncharged) : NULL);
        if (json_is_integer(get(residue, "released_bytes")))
                line(p, "released", released ? format("%s since the end", released) : NULL);
        if (json_is_string(get(residue, "closed_by")))
                line(p, "followed", at && why ? format("until %s (%s)", at, why) : NULL);
        else if (json_is_integer(get(residue, "at_us")))
                line(p, "followed", at ? format("still, when this was written at %s", at) : NULL);
}

/* Only reports have an end. */
static void page_end(struct page *p, const json_t *report) {
        const json_t *end = get(report, "end");
        _cleanup_free_ char *at = time_text(integer(end, "at_us")), *source = table_text(end, "source");

        if (!json_is_object(end))
                return;
        line(p, "ended", at && source ? format("%s (%s)", at, source) : NULL);
        line(p, "exit code", exit_text(end));
        line(p, "oom kills", table_text(end, "oom_kills"));
        page_residue(p, get(report, "residue"));
}

static void page_head(struct page *p, const json_t *document, const json_t *summary) {
        page_target(p, get(summary, "profile"));
        page_how(p, summary);
        page_state(p, summary);
        page_end(p, document);
        page_unavailable(p, get(summary, "profile"));
        page_losses(p, get(summary, "lost"));
        line(p, "accurate", strdup(json_is_true(get(summary, "accurate")) ? "yes" : "no: what was lost may be missing below"));
        page_filter(p, get(summary, "filter"));
}

static char *signed_member(const json_t *o, const char *key) {
        return json_is_integer(get(o, key)) ? table_signed_size(integer(o, key)) : strdup("-");
}

static char *explained_text(const json_t *reconcile) {
        const json_t *ratio = get(reconcile, "explained_ratio");
        _cleanup_free_ char *explained = table_member_size(reconcile, "explained_bytes");

        if (!explained || !json_is_number(ratio))
                return TAKE(explained);
        return format("%s (%.1f %%)", explained, 100 * json_number_value(ratio));
}

static const char *frozen_text(const json_t *reconcile) {
        const char *by = json_string_value(get(get(reconcile, "frozen_by"), "kernel"));

        if (!json_is_true(get(reconcile, "frozen")))
                return "";
        return by && streq(by, "rmdir") ? ", read as the cgroup went" : ", read last before the cgroup went";
}

/* The account: what the memcg itself counted against what the rows explain. */
static void page_account(struct page *p, const json_t *document) {
        const json_t *reconcile = get(document, "reconcile");
        int64_t before = integer(reconcile, "freed_unmatched");
        _cleanup_free_ char *source = table_text(reconcile, "source"), *growth = signed_member(reconcile, "growth_bytes"),
                            *rest = signed_member(reconcile, "unattributed"),
                            *slack = table_member_size(reconcile, "slack_bytes");

        fprintf(p->out, "\nKernel memory of the memcg by its own counter (%s%s):\n", source ? source : "-",
                frozen_text(reconcile));
        line(p, "growth", TAKE(growth));
        line(p, "explained", explained_text(reconcile));
        if (before != 0) {
                _cleanup_free_ char *size = table_size(before);

                line(p, "freed", size ? format("%s that were there before", size) : NULL);
        }
        line(p, "unattributed", TAKE(rest));
        line(p, "slack", TAKE(slack));
}

/* Live and cumulative figures of an estimated row carry a "~". */
static char *marked(const json_t *row, char *text) {
        _cleanup_free_ char *t = text;

        if (!t)
                return NULL;
        return json_is_true(get(row, "estimated")) && !streq(t, "-") ? format("~%s", t) : TAKE(t);
}

static char *cell_live(const json_t *row) {
        return marked(row, table_member_size(row, "bytes"));
}

static char *cell_calls(const json_t *row) {
        return marked(row, table_text(row, "calls"));
}

static char *cell_allocated(const json_t *row) {
        return marked(row, table_member_size(row, "allocated_bytes"));
}

static char *cell_type(const json_t *row) {
        return table_text(row, "type");
}

static char *cell_charged(const json_t *row) {
        return table_text(row, "charged");
}

static char *cell_category(const json_t *row) {
        return table_text(row, "category");
}

/* "file:line function [module]"; the name of a group. */
static char *tag_name(const json_t *row) {
        _cleanup_free_ char *file = table_text(row, "file"), *line_number = table_text(row, "line"),
                            *function = table_text(row, "function"), *module = table_text(row, "module");
        const char *m = json_string_value(get(row, "module"));

        if (!json_is_integer(get(row, "line")))
                return table_text(row, "key");
        if (!file || !line_number || !function || !module)
                return NULL;
        return m && *m ? format("%s:%s %s [%s]", file, line_number, function, module)
                       : format("%s:%s %s", file, line_number, function);
}

/* "function+0xoff [module]"; the key where a row has no function of its own, because it is a group or has no name. */
static char *site_name(const json_t *row) {
        _cleanup_free_ char *function = table_text(row, "function"), *module = table_text(row, "module"), *offset = NULL;
        const char *m = json_string_value(get(row, "module"));

        if (json_is_integer(get(row, "line")))
                return tag_name(row);
        if (!json_is_string(get(row, "function")))
                return table_text(row, "key");
        offset = json_is_integer(get(row, "offset")) ? format("+0x%" PRIx64, integer(row, "offset")) : strdup("");
        if (!function || !module || !offset)
                return NULL;
        return m && *m ? format("%s%s [%s]", function, offset, module) : format("%s%s", function, offset);
}

/* What a reader has to know of a row's figures. That they are estimates is said by their "~", how good they are here. */
static char *site_note(const json_t *row) {
        _cleanup_free_ char *error = NULL;

        if (json_is_true(get(row, "blind")))
                return strdup(" (blind: its frees cannot be seen)");
        if (integer(row, "blind_allocated_bytes") != 0)
                return strdup(" (without its blind sites)");
        if (json_is_true(get(row, "estimated")) && integer(row, "error_bytes") > 0) {
                error = table_member_size(row, "error_bytes");
                return error ? format(" (+-%s)", error) : NULL;
        }
        return strdup(json_is_false(get(row, "accurate")) && !json_is_true(get(row, "estimated")) ? " (inaccurate)" : "");
}

static char *cell_site(const json_t *row) {
        _cleanup_free_ char *name = site_name(row), *note = site_note(row);

        return name && note ? format("%s%s", name, note) : NULL;
}

/* "0:1.5 MiB 1:64.0 KiB"; what lies on no one node has a "-" for it. */
static char *cell_nodes(const json_t *row) {
        char *text = NULL;
        const json_t *part;
        size_t i;

        json_array_foreach(get(row, "nodes"), i, part) {
                _cleanup_free_ char *before = TAKE(text), *node = table_text(part, "node"),
                                    *size = marked(row, table_member_size(part, "bytes"));

                if (!node || !size)
                        return NULL;
                text = format("%s%s%s:%s", before ? before : "", before ? " " : "", node, size);
                if (!text)
                        return NULL;
        }
        return text ? text : strdup("-");
}

static const struct column site_columns[] = {
        {"LIVE", 10, true, cell_live},
        {"CALLS", 8, true, cell_calls},
        {"ALLOCATED", 10, true, cell_allocated},
        {"TYPE", 6, false, cell_type},
        {"CHG", 3, false, cell_charged},
        {"CATEGORY", 10, false, cell_category},
        {"SITE", 0, false, cell_site},
};

static const struct column node_columns[] = {
        {"LIVE", 10, true, cell_live},
        {"CALLS", 8, true, cell_calls},
        {"ALLOCATED", 10, true, cell_allocated},
        {"TYPE", 6, false, cell_type},
        {"CHG", 3, false, cell_charged},
        {"CATEGORY", 10, false, cell_category},
        {"NODES", 5, false, cell_nodes},
        {"SITE", 0, false, cell_site},
};

/* Rows that are of one node each say so by their name or by the filter. */
static bool has_nodes(const json_t *summary) {
        const char *group = json_string_value(get(get(summary, "filter"), "group_by"));
        const json_t *row;
        size_t i;

        if ((group && streq(group, "node")) || get(get(summary, "filter"), "node"))
                return false;
        json_array_foreach(get(summary, "sites"), i, row) if (json_array_size(get(row, "nodes")) > 0) return true;
        return false;
}

static char *cell_branch(const json_t *row) {
        return table_text(row, "name");
}

static const struct column tree_columns[] = {
        {"LIVE", 10, true, cell_live},
        {"CALLS", 8, true, cell_calls},
        {"TREE", 0, false, cell_branch},
};

static int print_tree(FILE *out, const json_t *sites) {
        json_t *rows;
        int r = tree_rows(sites, &rows);

        if (r < 0)
                return r;
        r = table_print(out, tree_columns, ELEMENTS(tree_columns), rows, 0);
        json_decref(rows);
        return r;
}

static int print_sites(FILE *out, const json_t *summary, struct render_how how) {
        const json_t *sites = get(summary, "sites");

        if (how.tree)
                return print_tree(out, sites);
        if (has_nodes(summary))
                return table_print(out, node_columns, ELEMENTS(node_columns), sites, how.max_rows);
        return table_print(out, site_columns, ELEMENTS(site_columns), sites, how.max_rows);
}

/* How many of so many rows are shown; a tree has all of them. */
static size_t rows_shown(const json_t *sites, struct render_how how) {
        size_t n = json_array_size(sites);

        return !how.tree && how.max_rows > 0 && n > how.max_rows ? how.max_rows : n;
}

/* A figure of a lens, with "~" when samples went into it. */
static char *lens_size(const json_t *lens, const char *type) {
        _cleanup_free_ char *size = table_member_size(lens, type);
        const json_t *estimated;
        size_t i;

        json_array_foreach(get(lens, "estimated"), i, estimated) {
                const char *name = json_string_value(estimated);

                if (size && name && streq(name, type) && json_is_integer(get(lens, type)))
                        return format("~%s", size);
        }
        return TAKE(size);
}

/* The sum is counted even where its parts are estimates; else it says how far it may be off. */
static char *lens_sum(const json_t *lens) {
        _cleanup_free_ char *sum = table_member_size(lens, "kernel_bytes"), *error = table_member_size(lens, "error_bytes");

        if (!sum || !error)
                return NULL;
        return integer(lens, "error_bytes") > 0 ? format("~%s +-%s", sum, error) : TAKE(sum);
}

static void foot_lens(struct page *p, const char *label, const json_t *lens) {
        _cleanup_free_ char *kernel = lens_sum(lens), *slab = lens_size(lens, "slab"), *page = lens_size(lens, "page"),
                            *percpu = lens_size(lens, "percpu"), *vmalloc = lens_size(lens, "vmalloc"),
                            *user = lens_size(lens, "user");

        line(p, label,
                kernel && slab && page && percpu && vmalloc && user
                        ? format("%s (slab %s, page %s, percpu %s, vmalloc %s), user %s", kernel, slab, page, percpu, vmalloc,
                                  user)
                        : NULL);
}

/* A line for an amount that is said only when there is any. */
static void foot_size(struct page *p, const char *label, const json_t *totals, const char *key, const char *what) {
        _cleanup_free_ char *size = table_member_size(totals, key);

        if (integer(totals, key) != 0)
                line(p, label, size ? format("%s%s", size, what) : NULL);
}

static void foot_blind(struct page *p, const json_t *totals) {
        _cleanup_free_ char *allocated = table_member_size(totals, "blind_allocated_bytes"),
                            *rest = table_member_size(totals, "blind_bytes");

        if (integer(totals, "blind_allocated_bytes") != 0)
                line(p, "blind",
                        allocated && rest
                                ? format("%s allocated at sites whose frees cannot be seen; %s of it may live", allocated, rest)
                                : NULL);
}

static void foot_flow(struct page *p, const json_t *totals) {
        _cleanup_free_ char *allocated = table_member_size(totals, "allocated_bytes"),
                            *freed = table_member_size(totals, "freed_bytes");

        line(p, "allocated",
                allocated && freed ? format("%s in %" PRId64 " calls, freed %s in %" PRId64, allocated,
                                             integer(totals, "allocated_calls"), freed, integer(totals, "freed_calls"))
                                   : NULL);
        foot_blind(p, totals);
        foot_size(p, "interrupts", totals, "irq_bytes", " more, allocated by interrupts: nobody's");
        foot_size(p, "kthreads", totals, "kthread_bytes", " more, allocated by kernel threads for it: nobody's");
        foot_size(p, "untracked", totals, "untracked_bytes", "");
        foot_size(p, "written off", totals, "written_off", "");
        foot_size(p, "unaccounted", totals, "unaccounted_bytes",
                " live without an alloc tag: the kernel's own profiler did not count it");
        if (integer(totals, "charges_verified") > 0)
                line(p, "charges",
                        format("%" PRId64 " verified, %" PRId64 " of them inferred wrongly",
                                integer(totals, "charges_verified"), integer(totals, "charges_mismatched")));
}

/* When the objects themselves were last looked at, as a span before the reading. */
static void foot_swept(struct page *p, const json_t *document) {
        _cleanup_free_ char *span = table_span(integer(document, "at_us") - integer(document, "swept_at_us"));

        if (json_is_integer(get(document, "swept_at_us")))
                line(p, "swept", span ? format("%s before this reading", span) : NULL);
}

static void page_foot(struct page *p, const json_t *document, size_t shown) {
        const json_t *totals = get(document, "totals");
        int64_t total = integer(document, "total_sites"), hidden = total - (int64_t)shown;

        fprintf(p->out, "\nLive over the whole:\n");
        foot_lens(p, "charged", get(totals, "charged"));
        foot_lens(p, "uncharged", get(totals, "uncharged"));
        foot_flow(p, totals);
        foot_swept(p, document);
        if (json_is_string(get(get(document, "filter"), "group_by")))
                line(p, "rows", format("%zu shown, made of %" PRId64 " sites at most", shown, total));
        else if (hidden > 0)
                line(p, "rows", format("%zu of %" PRId64 " shown; -n N and the filter decide", shown, total));
        else
                line(p, "rows", format("%zu, all shown", shown));
}

int render_summary(FILE *out, const json_t *document, struct render_how how) {
        const json_t *summary = is_format(document, "memcgprof.report") ? get(document, "summary") : document,
                     *sites = get(summary, "sites");
        struct page page = {.out = out};
        int r;

        if (!is_format(summary, "memcgprof.summary"))
                return -EBADMSG;
        page_head(&page, document, summary);
        page_account(&page, summary);
        fputc('\n', out);
        r = print_sites(out, summary, how);
        if (r < 0)
                return r;
        page_foot(&page, summary, rows_shown(sites, how));
        r = render_aftermath(out, document);
        return page.oom ? -ENOMEM : r;
}

/* ---- allocinfo ------------------------------------------------------------------------------------------------------------
 */

static char *cell_tag(const json_t *row) {
        _cleanup_free_ char *name = tag_name(row);

        return name ? format("%s%s", name, json_is_false(get(row, "accurate")) ? " (inaccurate)" : "") : NULL;
}

static char *cell_tags(const json_t *row) {
        return table_text(row, "tags");
}

static const struct column tag_columns[] = {
        {"LIVE", 10, true, cell_live},
        {"CALLS", 8, true, cell_calls},
        {"TAGS", 4, true, cell_tags},
        {"CATEGORY", 10, false, cell_category},
        {"SITE", 0, false, cell_tag},
};

/* Of groups, the name is all there is. */
static const struct column tag_group_columns[] = {
        {"LIVE", 10, true, cell_live},
        {"CALLS", 8, true, cell_calls},
        {"TAGS", 4, true, cell_tags},
        {"GROUP", 0, false, cell_tag},
};

static void allocinfo_page_head(struct page *p, const json_t *document) {
        const json_t *counting = get(document, "counting"), *kernel = get(document, "kernel");
        _cleanup_free_ char *source = table_text(document, "source"), *backend = table_text(kernel, "backend"),
                            *release = table_text(kernel, "release");

        line(p, "target", strdup("host"));
        line(p, "backend", source && backend && release ? format("%s by %s on Linux %s", backend, source, release) : NULL);
        if (json_is_false(counting))
                line(p, "counting", strdup("no: vm.mem_profiling is 0, and these are figures of the time when it was 1"));
        line(p, "accurate",
                strdup(json_is_true(get(document, "accurate")) ? "yes" : "no: some allocations there were not counted"));
        page_filter(p, get(document, "filter"));
}

static void allocinfo_page_foot(struct page *p, const json_t *document, size_t shown) {
        const json_t *totals = get(document, "totals");
        _cleanup_free_ char *bytes = table_member_size(totals, "bytes"), *calls = table_text(totals, "calls"),
                            *tags = table_text(totals, "tags"), *sites = table_text(document, "total_sites");

        fputc('\n', p->out);
        line(p, "matching", bytes && calls && tags ? format("%s in %s calls, %s tags", bytes, calls, tags) : NULL);
        line(p, "rows", sites ? format("%zu shown, of %s sites", shown, sites) : NULL);
}

static int print_tags(FILE *out, const json_t *document, struct render_how how) {
        const json_t *sites = get(document, "sites");
        const char *group = json_string_value(get(get(document, "filter"), "group_by"));

        if (how.tree)
                return print_tree(out, sites);
        if (group && !streq(group, "site"))
                return table_print(out, tag_group_columns, ELEMENTS(tag_group_columns), sites, how.max_rows);
        return table_print(out, tag_columns, ELEMENTS(tag_columns), sites, how.max_rows);
}

int render_allocinfo(FILE *out, const json_t *document, struct render_how how) {
        struct page page = {.out = out};
        int r;

        if (!is_format(document, "memcgprof.allocinfo"))
                return -EBADMSG;
        allocinfo_page_head(&page, document);
        fputc('\n', out);
        r = print_tags(out, document, how);
        if (r < 0)
                return r;
        allocinfo_page_foot(&page, document, rows_shown(get(document, "sites"), how));
        return page.oom ? -ENOMEM : 0;
}

/* ---- support and lists --------------------------------------------------------------------------------------------------
 */

static char *cell_name(const json_t *row) {
        return table_text(row, "name");
}

static char *cell_available(const json_t *row) {
        return table_text(row, "available");
}

static char *cell_reason(const json_t *row) {
        return table_text(row, "reason");
}

static const struct column support_columns[] = {
        {"ITEM", 12, false, cell_name},
        {"AVAILABLE", 9, false, cell_available},
        {"REASON", 0, false, cell_reason},
};

static char *cell_cpus(const json_t *row) {
        _cleanup_free_ char *cpus = table_text(row, "cpus");

        return cpus ? format("%s%s", cpus, json_is_true(get(row, "here")) ? " (here)" : "") : NULL;
}

static char *cell_total_bytes(const json_t *row) {
        return table_member_size(row, "total_bytes");
}

static char *cell_group_bytes(const json_t *row) {
        return table_member_size(row, "bytes_per_group");
}

static char *cell_site_bytes(const json_t *row) {
        return table_member_size(row, "bytes_per_site");
}

static char *cell_groups(const json_t *row) {
        return table_text(row, "groups");
}

static char *cell_sites(const json_t *row) {
        return table_text(row, "sites");
}

static char *cell_objects(const json_t *row) {
        return table_text(row, "objects");
}

static const struct column memory_columns[] = {
        {"CPUS", 4, true, cell_cpus},
        {"KERNEL MEMORY", 13, true, cell_total_bytes},
        {"A GROUP", 10, true, cell_group_bytes},
        {"A SITE", 10, true, cell_site_bytes},
        {"GROUPS", 6, true, cell_groups},
        {"SITES", 6, true, cell_sites},
        {"OBJECTS", 7, true, cell_objects},
};

int render_support(FILE *out, const json_t *document) {
        struct page page = {.out = out};
        const json_t *kernel = get(document, "kernel");
        int r;

        if (!is_format(document, "memcgprof.support"))
                return -EBADMSG;
        line(&page, "kernel", table_text(kernel, "release"));
        line(&page, "backend", table_text(kernel, "backend"));
        fputc('\n', out);
        r = table_print(out, support_columns, ELEMENTS(support_columns), get(document, "items"), 0);
        if (r < 0)
                return r;
        fprintf(out, "\nWhat profiling takes while the daemon runs, by possible CPUs:\n");
        r = table_print(out, memory_columns, ELEMENTS(memory_columns), get(document, "memory"), 0);
        return page.oom ? -ENOMEM : r;
}

static char *cell_kind(const json_t *row) {
        return table_text(row, "kind");
}

static char *cell_id(const json_t *row) {
        return table_text(row, "id");
}

static char *cell_state(const json_t *row) {
        return table_text(row, "state");
}

static char *cell_mode(const json_t *row) {
        return table_text(row, "mode");
}

static char *cell_live_total(const json_t *row) {
        return table_member_size(row, "live_bytes");
}

/* Who it is to Kubernetes, where annotations said so. */
static char *cell_pod(const json_t *row) {
        const json_t *pod = get(row, "pod");
        _cleanup_free_ char *space = table_text(pod, "namespace"), *name = table_text(pod, "name"),
                            *container = table_text(row, "name");

        if (!space || !name || !container)
                return NULL;
        if (!json_is_string(get(pod, "name")))
                return TAKE(container);
        return format("%s/%s/%s", space, name, container);
}

static char *cell_cgroup(const json_t *row) {
        return table_text(row, "cgroup");
}

static const struct column list_columns[] = {
        {"KIND", 9, false, cell_kind},
        {"ID", 12, false, cell_id},
        {"STATE", 9, false, cell_state},
        {"MODE", 6, false, cell_mode},
        {"LIVE", 10, true, cell_live_total},
        {"POD", 3, false, cell_pod},
        {"CGROUP", 0, false, cell_cgroup},
};

int render_list(FILE *out, const json_t *document) {
        if (!is_format(document, "memcgprof.list"))
                return -EBADMSG;
        return table_print(out, list_columns, ELEMENTS(list_columns), get(document, "profiles"), 0);
}

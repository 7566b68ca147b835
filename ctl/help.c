/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The help texts. Nothing here knows a verb or an option by name: whatever stands in the tables appears, and the test of the
 * man page reads it back from here.
 */
#include "help.h"

#define NAME_WIDTH 32 /* columns of the left side, indent included; longer names get a line of their own */
#define LINE_WIDTH 80

static const char targets[] = "TARGET is container:ID, cgroup:PATH, pid:N or host; a bare word is a container's\n"
                              "id. SPEC is a comma-separated list: on, auto, single or multi first, then words\n"
                              "such as numa. SIZE is a number of bytes, or one with K, M or G behind it.\n";

static void print_word_wrapped(FILE *out, const char *text, size_t *column) {
        while (*text) {
                size_t n = strcspn(text, " ");

                if (*column > NAME_WIDTH && *column + 1 + n > LINE_WIDTH) {
                        fprintf(out, "\n%*s", NAME_WIDTH, "");
                        *column = NAME_WIDTH;
                }
                *column += fprintf(out, "%s%.*s", *column > NAME_WIDTH ? " " : "", (int)n, text);
                text += n;
                text += strspn(text, " ");
        }
}

/* One entry: what to type on the left, what it does on the right, wrapped. */
static void print_entry(FILE *out, const char *left, const char *right, const char *const *words) {
        size_t column = fprintf(out, "  %s", left);

        if (column >= NAME_WIDTH) {
                fputc('\n', out);
                column = 0;
        }
        fprintf(out, "%*s", (int)(NAME_WIDTH - column), "");
        column = NAME_WIDTH;
        print_word_wrapped(out, right, &column);
        for (size_t i = 0; words && words[i]; i++) {
                _cleanup_free_ char *word = format("%s%s%s", i == 0 ? "(" : "", words[i], words[i + 1] ? "," : ")");

                if (word)
                        print_word_wrapped(out, word, &column);
        }
        fputc('\n', out);
}

static void print_option(
        FILE *out, char letter, const char *name, const char *metavar, const char *help, const char *const *words) {
        char short_form[] = {'-', letter, ',', ' ', '\0'};
        _cleanup_free_ char *left =
                format("%s--%s%s%s", letter ? short_form : "    ", name, metavar ? "=" : "", metavar ? metavar : "");

        if (left)
                print_entry(out, left, help, words);
}

static void print_options(FILE *out, unsigned takes) {
        for (size_t i = 0; i < options_count; i++) {
                const struct option *o = &options_table[i];

                if (!o->takes || o->takes & takes)
                        print_option(out, o->letter, o->name, o->metavar, o->help, NULL);
        }
}

static void print_filter(FILE *out) {
        fputs("\nFilter (all that are given must hold):\n", out);
        for (size_t i = 0; i < _FILTER_KEY_MAX; i++) {
                const struct filter_field *f = &filter_fields[i];
                _cleanup_free_ char *name = options_filter_name(i);

                if (name)
                        print_option(out, options_letter(i), name, f->metavar, f->help, f->words);
        }
        fputs("  -s also takes alloctop's letters: s (size), c (calls), t (tag: the name).\n", out);
}

void help_print(FILE *out) {
        fputs("memcgprof [OPTION...] VERB [ARGUMENT...]\n\n"
              "Shows which kernel code allocated the memory that the kernel holds for a\n"
              "container or another memory cgroup.\n\nVerbs:\n",
                out);
        for (size_t i = 0; i < verbs_count; i++) {
                const struct verb *v = &verbs[i];
                _cleanup_free_ char *left = format("%s%s%s", v->name, *v->args ? " " : "", v->args);

                if (left)
                        print_entry(out, left, v->help, NULL);
        }
        fputs("\nOptions:\n", out);
        print_options(out, ~0u);
        print_filter(out);
        fprintf(out, "\n%s\nExit status: 0, 1 failure, 2 wrong usage; run returns the command's.\n", targets);
}

void help_print_verb(FILE *out, const struct verb *v) {
        fprintf(out, "memcgprof [OPTION...] %s%s%s\n\n", v->name, *v->args ? " " : "", v->args);
        print_entry(out, v->name, v->help, NULL);
        fputs("\nOptions:\n", out);
        print_options(out, v->takes);
        if (v->takes & TAKES_FILTER)
                print_filter(out);
        if (*v->args)
                fprintf(out, "\n%s", targets);
}

int verb_help(const struct options *o) {
        const struct verb *v = NULL;

        if (o->n_args > 0) {
                v = verb_find(o->args[0]);
                if (!v) {
                        verb_note("There is no verb \"%s\" to explain; \"memcgprof --help\" lists them.", o->args[0]);
                        return EXIT_USAGE;
                }
        }
        if (v)
                help_print_verb(stdout, v);
        else
                help_print(stdout);
        return EXIT_SUCCESS;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Fuzz target: the command line. An input is one word in a line, the program's name not among them. */
#include "options.h"
#include "fuzz.h"
#include "verb.h"

#define WORDS_MAX 64

static void check_words(const struct options *o, char **argv, int argc) {
        const struct verb *v = o->verb;

        demand(o->n_args >= 0 && o->n_args <= argc && o->args == argv && !o->args[o->n_args]);
        for (int i = 0; i < o->n_args; i++)
                demand(o->args[i]);
        demand(o->bus && o->state_dir && o->root);
        if (o->help || o->version)
                return;
        demand(v && o->n_args >= v->min_args && (v->max_args < 0 || o->n_args <= v->max_args));
        demand(v->takes & TAKES_FILTER || o->filter.given == 0);
        demand(v->takes & TAKES_JSON || !o->json);
        demand(v->takes & TAKES_RUN || (!o->spec && !o->output));
        demand(!(o->tree && o->json));
        demand(filter_check(&o->filter, NULL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *text = fuzz_text(data, size);
        char *words[WORDS_MAX + 2] = {(char[]){"memcgprof"}}, *argv[WORDS_MAX + 2], *sentence = NULL;
        const char *p = text;
        struct options o;
        int argc = 1, r;

        while (argc <= WORDS_MAX && (words[argc] = fuzz_line(&p)))
                argc++;
        words[argc] = NULL;
        memcpy(argv, words, sizeof argv); /* the parser moves them */
        r = options_parse(argc, argv, &o, &sentence);
        fuzz_check_sentence(r, sentence);
        if (r >= 0)
                check_words(&o, argv, argc);
        options_done(&o);
        for (int i = 1; i < argc; i++)
                free(words[i]);
        return 0;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The verbs about profiles that the daemon has: list, start, stop, show. */
#include "client.h"
#include "document.h"
#include "render.h"
#include "spec.h"
#include "verb.h"

/*
 * What the daemon is asked for: a word with one of the known prefixes as it stands, "host" too, and any other word as a
 * container's id. The daemon decides what it serves. NULL on ENOMEM.
 */
static char *target_of(const char *word) {
        static const char *const prefixes[] = {"container:", "cgroup:", "pid:", "unit:"};

        for (size_t i = 0; i < ELEMENTS(prefixes); i++)
                if (startswith(word, prefixes[i]))
                        return strdup(word);
        return streq(word, "host") ? strdup(word) : format("container:%s", word);
}

int verb_list(const struct options *o) {
        _cleanup_(client_freep) struct client *c = NULL;
        _cleanup_(document_unrefp) json_t *document = NULL;
        _cleanup_free_ char *why = NULL;
        int r = client_new(o->bus, &c, &why);

        if (r >= 0)
                r = client_list(c, &document, &why);
        if (r >= 0)
                r = o->json ? document_print(stdout, document) : render_list(stdout, document);
        return r < 0 ? verb_complain(r, why) : EXIT_SUCCESS;
}

/* Words that this version does not serve are no failure, but whoever typed them should learn it now. */
static void note_gaps(const char *text) {
        struct spec_gap gaps[SPEC_GAPS_MAX];
        struct spec spec;
        size_t n;

        if (spec_parse(text, &spec, NULL) < 0)
                return;
        n = spec_gaps(&spec, gaps);
        for (size_t i = 0; i < n; i++)
                verb_note("%s is not available: %s", gaps[i].word, gaps[i].reason);
}

int verb_start(const struct options *o) {
        _cleanup_(client_freep) struct client *c = NULL;
        _cleanup_free_ char *target = target_of(o->args[0]), *path = NULL, *why = NULL;
        const char *spec = o->n_args > 1 ? o->args[1] : NULL;
        int r = target ? client_new(o->bus, &c, &why) : -ENOMEM;

        if (r >= 0)
                r = client_start(c, target, spec, &path, &why);
        if (r < 0)
                return verb_complain(r, why);
        if (spec)
                note_gaps(spec);
        puts(path);
        return EXIT_SUCCESS;
}

/* Connects and looks the profile of the first argument up. */
static int find_profile(const struct options *o, struct client **ret_client, char **ret_path, char **reterr) {
        _cleanup_(client_freep) struct client *c = NULL;
        _cleanup_free_ char *target = target_of(o->args[0]);
        int r = target ? client_new(o->bus, &c, reterr) : -ENOMEM;

        if (r >= 0)
                r = client_find(c, target, ret_path, reterr);
        if (r >= 0)
                *ret_client = TAKE(c);
        return r;
}

int verb_stop(const struct options *o) {
        _cleanup_(client_freep) struct client *c = NULL;
        _cleanup_free_ char *path = NULL, *why = NULL;
        int r = find_profile(o, &c, &path, &why);

        if (r >= 0)
                r = client_stop(c, path, &why);
        return r < 0 ? verb_complain(r, why) : EXIT_SUCCESS;
}

int verb_show(const struct options *o) {
        _cleanup_(client_freep) struct client *c = NULL;
        _cleanup_(document_unrefp) json_t *document = NULL;
        _cleanup_free_ char *path = NULL, *text = NULL, *why = NULL;
        int r = find_profile(o, &c, &path, &why);

        if (r >= 0)
                r = client_summary(c, path, &o->filter, &text, &why);
        if (r >= 0 && o->json)
                r = document_print_text(stdout, text);
        else if (r >= 0) {
                r = document_parse(text, &document, &why);
                if (r >= 0)
                        r = render_summary(stdout, document, verb_how(o, stdout));
        }
        return r < 0 ? verb_complain(r, why) : EXIT_SUCCESS;
}

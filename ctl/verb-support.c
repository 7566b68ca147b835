/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The verb support. The daemon is asked first, because it is the one that would measure; without it this program probes the
 * machine itself and says so.
 */
#include "client.h"
#include "document.h"
#include "render.h"
#include "verb.h"

static int ask_daemon(const struct options *o, char **ret_json, char **reterr) {
        _cleanup_(client_freep) struct client *c = NULL;
        int r = client_new(o->bus, &c, reterr);

        return r < 0 ? r : client_support(c, ret_json, reterr);
}

/* What the engine can do is known once it is loaded; why it cannot be is an item as well. */
static json_t *describe(const struct support *support) {
        static const struct tracker_options ordinary;
        _cleanup_(tracker_freep) struct tracker *tracker = NULL;
        _cleanup_free_ char *why = NULL;
        struct tracker_ability none = {.name = "engine"};
        const struct tracker_ability *abilities = &none;
        size_t n = 1;
        int r = tracker_bpf_new(&ordinary, &tracker, &why);

        none.reason = why ? why : strerror(-r);
        if (r >= 0)
                abilities = tracker->ops->abilities(tracker, &n);
        return report_support(support, abilities, n, &ordinary);
}

static int probe(char **ret_json) {
        _cleanup_(support_freep) struct support *support = NULL;
        _cleanup_(document_unrefp) json_t *document = NULL;
        char *text;
        int r = support_probe(&support);

        if (r < 0)
                return r;
        document = describe(support);
        text = document ? report_text(document) : NULL;
        if (!text)
                return -ENOMEM;
        *ret_json = text;
        return 0;
}

int verb_support(const struct options *o) {
        _cleanup_(document_unrefp) json_t *document = NULL;
        _cleanup_free_ char *text = NULL, *why = NULL, *no_daemon = NULL;
        int r = ask_daemon(o, &text, &no_daemon);

        if (r < 0) {
                verb_note("%s Probed here instead.", no_daemon ? no_daemon : "Out of memory.");
                r = probe(&text);
        }
        if (r >= 0 && o->json)
                r = document_print_text(stdout, text);
        else if (r >= 0) {
                r = document_parse(text, &document, &why);
                if (r >= 0)
                        r = render_support(stdout, document);
        }
        return r < 0 ? verb_complain(r, why) : EXIT_SUCCESS;
}

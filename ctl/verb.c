/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The table of verbs and how all of them speak to the person in front: documents and tables on standard output, sentences on
 * standard error.
 */
#include "verb.h"
#include "allocinfo.h"
#include "document.h"
#include "table.h"

#define SENTENCE_MAX 2000

const struct verb verbs[] = {
        {"support", "", 0, 0, TAKES_JSON, false, "what this machine can measure, each with its reason", verb_support},
        {"list", "", 0, 0, TAKES_JSON, true, "the profiles that the daemon has", verb_list},
        {"start", "TARGET [SPEC]", 1, 2, 0, true, "begin to profile a target", verb_start},
        {"stop", "TARGET", 1, 1, 0, true, "end the profile of a target", verb_stop},
        {"off", "", 0, 0, TAKES_STATE | TAKES_PINS, false, "kill switch: end all profiles and start none", verb_off},
        {"show", "TARGET", 1, 1, TAKES_JSON | TAKES_FILTER, true, "which kernel sites hold the target's memory", verb_show},
        {"report", "[ID]", 0, 1, TAKES_JSON | TAKES_FILTER | TAKES_STATE, false, "final reports: all, or the newest one of ID",
                verb_report},
        {"run", "[--] COMMAND [ARGUMENT...]", 1, -1, TAKES_JSON | TAKES_FILTER | TAKES_RUN, false,
                "run a command and profile it, without a daemon", verb_run},
        {"allocinfo", "", 0, 0, TAKES_JSON | TAKES_FILTER | TAKES_ROOT, false,
                "what the kernel's own allocation profiler says of the whole machine", verb_allocinfo, allocinfo_check_filter},
        {"help", "[VERB]", 0, 1, 0, false, "this text, or the one of a verb", verb_help},
};

const size_t verbs_count = ELEMENTS(verbs);

const struct verb *verb_find(const char *name) {
        for (size_t i = 0; i < verbs_count; i++)
                if (streq(verbs[i].name, name))
                        return &verbs[i];
        return NULL;
}

int verb_complain(int error, const char *sentence) {
        const char *said = sentence            ? sentence
                           : error == -EBADMSG ? "That is no document that this program knows."
                                               : strerror(-error);
        _cleanup_free_ char *shown = table_escape_max(said, SENTENCE_MAX);

        fprintf(stderr, "memcgprof: %s\n", shown ? shown : "Out of memory.");
        return EXIT_FAILURE;
}

void verb_note(const char *format, ...) {
        _cleanup_free_ char *text = NULL;
        va_list ap;
        int r;

        va_start(ap, format);
        r = vasprintf(&text, format, ap);
        va_end(ap);
        if (r < 0)
                text = NULL;
        (void)verb_complain(-ENOMEM, text);
}

struct render_how verb_how(const struct options *o, FILE *out) {
        return (struct render_how){.max_rows = document_rows(out, &o->filter), .tree = o->tree};
}

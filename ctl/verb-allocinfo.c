/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The verb allocinfo: the kernel's own record, read here and now. No daemon is asked: it could not know more, and who may read
 * /proc/allocinfo is the kernel's decision.
 */
#include "allocinfo.h"
#include "document.h"
#include "render.h"
#include "report.h"
#include "verb.h"

static int show(const struct options *o, const struct allocinfo *a, char **reterr) {
        _cleanup_free_ char *text = report_allocinfo(a, &o->filter);
        _cleanup_(document_unrefp) json_t *document = NULL;
        int r;

        if (!text)
                return -ENOMEM;
        if (o->json)
                return document_print_text(stdout, text);
        r = document_parse(text, &document, reterr);
        return r < 0 ? r : render_allocinfo(stdout, document, verb_how(o, stdout));
}

int verb_allocinfo(const struct options *o) {
        _cleanup_(allocinfo_freep) struct allocinfo *a = NULL;
        _cleanup_free_ char *why = NULL;
        int r = allocinfo_read(o->root, &allocinfo_ops_live, &o->filter, &a, &why);

        if (r >= 0)
                r = show(o, a, &why);
        return r < 0 ? verb_complain(r, why) : EXIT_SUCCESS;
}

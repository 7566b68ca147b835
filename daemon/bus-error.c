/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See bus-error.h. */
#include "bus-error.h"
#include "text.h"

#define PREFIX "org.memcgprof1.Error."
#define SENTENCE_BYTES_MAX 1024

static const struct {
        int error;
        const char *name;
} names[] = {
        {EOPNOTSUPP, PREFIX "NotSupported"},
        {ESHUTDOWN, PREFIX "NotSupported"},
        {ENXIO, PREFIX "NoSuchProfile"},
        {ENOENT, PREFIX "NoSuchTarget"},
        {ESRCH, PREFIX "NoSuchTarget"},
        {ENOTUNIQ, PREFIX "NoSuchTarget"},
        {EBUSY, PREFIX "Busy"},
        {EBADMSG, PREFIX "BadSpec"},
        {EDOM, PREFIX "BadFilter"},
        {E2BIG, PREFIX "Limit"},
        {ENOSPC, PREFIX "Limit"},
        {ENODEV, PREFIX "Gone"},
        {EAGAIN, PREFIX "NotReady"},
        {EINVAL, SD_BUS_ERROR_INVALID_ARGS},
        {ENOMEM, SD_BUS_ERROR_NO_MEMORY},
};

int bus_error_set(sd_bus_error *error, int r, const char *sentence) {
        _cleanup_free_ char *text = NULL;
        const char *name = SD_BUS_ERROR_FAILED;

        for (size_t i = 0; i < ELEMENTS(names); i++)
                if (names[i].error == -r)
                        name = names[i].name;
        /* A sentence may quote a path or a name that is no valid UTF-8; such a message could not be sent. */
        if (sentence)
                text = text_escape(sentence, strlen(sentence), SENTENCE_BYTES_MAX);
        return sd_bus_error_set(error, name, text ? text : strerror(-r));
}

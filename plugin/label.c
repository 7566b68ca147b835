/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Names of profiles and of their states. */
#include "label.h"

void profile_label_done(struct profile_label *l) {
        free(l->id);
        free(l->pod_namespace);
        free(l->pod_name);
        free(l->pod_uid);
        free(l->container_name);
        free(l->image);
        *l = (struct profile_label){};
}

static int copy_string(const char *from, char **to) {
        *to = from ? strdup(from) : NULL;
        return from && !*to ? -ENOMEM : 0;
}

int profile_label_copy(const struct profile_label *from, struct profile_label *ret) {
        struct profile_label l = *from;
        int r = 0;

        r |= copy_string(from->id, &l.id);
        r |= copy_string(from->pod_namespace, &l.pod_namespace);
        r |= copy_string(from->pod_name, &l.pod_name);
        r |= copy_string(from->pod_uid, &l.pod_uid);
        r |= copy_string(from->container_name, &l.container_name);
        r |= copy_string(from->image, &l.image);
        if (r) {
                profile_label_done(&l);
                return -ENOMEM;
        }
        *ret = l;
        return 0;
}

const char *label_word(const char *text) {
        static char *words[64];

        if (!text || strlen(text) > 256)
                return NULL;
        for (size_t i = 0; i < ELEMENTS(words); i++) {
                if (!words[i])
                        words[i] = strdup(text);
                if (!words[i] || streq(words[i], text))
                        return words[i];
        }
        return NULL;
}

const char *profile_state_to_string(enum profile_state s) {
        static const char *const names[] = {[PROFILE_WAITING] = "waiting",
                [PROFILE_ACTIVE] = "active",
                [PROFILE_SUSPENDED] = "suspended",
                [PROFILE_ENDED] = "ended",
                [PROFILE_FAILED] = "failed"};

        return names[s];
}

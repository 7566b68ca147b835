/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The OCI state that a runtime writes to a hook. Its text comes from tenants as much as from the runtime, so every member is
 * doubted on its own: a state without a usable pid still tells whether the profile was required.
 *
 * Unknown members are ignored, and so is the difference between what runc and crun write.
 */
#pragma once

#include <sys/types.h>

#include "util.h"

#define OCI_STATE_MAX (1024 * 1024) /* bytes of the whole document */
#define OCI_ID_MAX 1024             /* bytes */
#define OCI_ANNOTATION_MAX 1024     /* bytes of one value as it is sent */
#define OCI_LABEL_MAX 128           /* bytes of an id in a message */

struct oci_state;

enum oci_status {
        OCI_STARTING, /* `creating` (runc) or `created` (crun): the user's program has not begun */
        OCI_STOPPED,
};

/* The only annotations that leave the hook. NULL-terminated. */
extern const char *const oci_annotations[];

/* -EINVAL with a sentence when the text is no JSON object; -E2BIG when it is longer than OCI_STATE_MAX. */
int oci_state_parse(const char *text, size_t n, struct oci_state **ret, char **reterr);
struct oci_state *oci_state_free(struct oci_state *s);
DEFINE_CLEANUP(struct oci_state, oci_state_free)

/* The id for messages, good or bad: escaped and cut. NULL when there is none. */
char *oci_state_label(const struct oci_state *s);

/* Strings belong to the state. -EINVAL with a sentence that names the member. */
int oci_state_status(const struct oci_state *s, enum oci_status *ret, char **reterr);
int oci_state_id(const struct oci_state *s, const char **ret, char **reterr);
int oci_state_pid(const struct oci_state *s, pid_t *ret, char **reterr);

/* The text of our annotation: 1 when it is there, 0 when not. */
int oci_state_spec(const struct oci_state *s, const char **ret, char **reterr);

/* True for the container that only holds a pod's namespaces. */
bool oci_state_is_sandbox(const struct oci_state *s);

/* The bundle's directory, or NULL when it says nothing usable. */
const char *oci_state_bundle(const struct oci_state *s);

/* The value of an annotation, cut to OCI_ANNOTATION_MAX: 1 when it is there and a string, 0 when not. Valid UTF-8, but anything
 * else. */
int oci_state_annotation(const struct oci_state *s, const char *key, char **ret);

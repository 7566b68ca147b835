/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * See polkit.h.
 *
 * Invariant: a question is in the list from the moment it is sent until its call has come in again, its sender has left, or
 * the daemon ends; each of its sources (reply slot, track, idle source) goes with it.
 */
#include <inttypes.h>
#include <time.h>

#include "bus-error.h"
#include "log.h"
#include "polkit.h"
#include "text.h"

#define NAME "org.freedesktop.PolicyKit1"
#define PATH "/org/freedesktop/PolicyKit1/Authority"
#define INTERFACE "org.freedesktop.PolicyKit1.Authority"

#define ALLOW_INTERACTION 1u /* AllowUserInteraction of CheckAuthorizationFlags */

/* Without a person in between polkit answers in milliseconds; somebody who is asked for a password needs a while. */
#define ANSWER_USEC (UINT64_C(10) * 1000000)
#define ANSWER_INTERACTIVE_USEC (UINT64_C(120) * 1000000)

#define QUESTIONS_MAX 64     /* of all users */
#define USER_QUESTIONS_MAX 8 /* of one */

/* A bus carries messages of 32 MiB and more, and we keep them. What is asked about here is a name and a few keys. Bytes. */
#define CALL_MAX (64 * 1024)
#define ITEM_BYTES 16 /* that one member of a message counts besides its text */

#define TELL_USEC (UINT64_C(60) * 1000000) /* refused calls are told of at most that often */

#define SHOWN 256 /* bytes of polkit's own words in a sentence */

struct question {
        struct polkit *owner;
        struct question *next;
        sd_bus_message *call, *answer; /* answer: NULL until it is there */
        const char *action;
        uid_t uid;
        uint64_t serial; /* names the question when it is taken back */
        sd_bus_slot *slot;
        sd_bus_track *sender;
        sd_event_source *forget;
};

struct polkit {
        sd_bus *bus;
        struct question *questions;
        uint64_t serial;
        uint64_t refused, told_usec; /* calls since it was last told, CLOCK_MONOTONIC; 0: never */
};

static void question_free(struct question *q) {
        struct question **at = &q->owner->questions;

        while (*at && *at != q)
                at = &(*at)->next;
        if (*at)
                *at = q->next;
        sd_event_source_disable_unref(q->forget);
        sd_bus_slot_unref(q->slot);
        sd_bus_track_unref(q->sender);
        sd_bus_message_unref(q->answer);
        sd_bus_message_unref(q->call);
        free(q);
}
DEFINE_CLEANUP(struct question, question_free)

int polkit_new(sd_bus *bus, struct polkit **ret) {
        struct polkit *p = calloc(1, sizeof(*p));

        if (!p)
                return -ENOMEM;
        p->bus = sd_bus_ref(bus);
        *ret = p;
        return 0;
}

struct polkit *polkit_free(struct polkit *p) {
        if (!p)
                return NULL;
        while (p->questions)
                question_free(p->questions);
        sd_bus_unref(p->bus);
        free(p);
        return NULL;
}

/* Answers */

/* polkit takes the dialogue off the screen, and need not answer any more. */
static void take_back(struct question *q) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        char serial[24];

        (void)snprintf(serial, sizeof(serial), "%" PRIu64, q->serial);
        if (sd_bus_message_new_method_call(q->owner->bus, &m, NAME, PATH, INTERFACE, "CancelCheckAuthorization") < 0 ||
                sd_bus_message_append(m, "s", serial) < 0 || sd_bus_message_set_expect_reply(m, false) < 0 ||
                sd_bus_message_set_auto_start(m, false) < 0 || sd_bus_send(NULL, m, NULL) < 0)
                log_debug("A question to polkit could not be taken back.");
}

static int on_sender_gone(sd_bus_track *track, void *userdata) {
        struct question *q = userdata;

        if (!q->answer)
                take_back(q);
        question_free(q);
        return 1; /* 0 would have it called again */
}

/* The call has come in again by now, unless its object is gone. */
static int on_forget(sd_event_source *s, void *userdata) {
        question_free(userdata);
        return 0;
}

/* Has the call come in again behind those that wait, and the question forgotten after it. */
static int try_again(struct question *q) {
        int r = sd_event_add_defer(sd_bus_get_event(q->owner->bus), &q->forget, on_forget, q);

        if (r >= 0)
                r = sd_event_source_set_priority(q->forget, SD_EVENT_PRIORITY_IDLE);
        if (r >= 0)
                r = sd_bus_message_rewind(q->call, true);
        return r < 0 ? r : sd_bus_enqueue_for_read(q->owner->bus, q->call);
}

static int on_answer(sd_bus_message *answer, void *userdata, sd_bus_error *error) {
        struct question *q = userdata;
        int r;

        q->slot = sd_bus_slot_unref(q->slot);
        q->answer = sd_bus_message_ref(answer);
        if (sd_bus_message_is_method_error(answer, SD_BUS_ERROR_NO_REPLY) ||
                sd_bus_message_is_method_error(answer, SD_BUS_ERROR_TIMEOUT))
                take_back(q);
        r = try_again(q);
        if (r < 0) {
                log_error("A call that polkit has answered for cannot be taken up again: %s.", strerror(-r));
                (void)sd_bus_reply_method_errno(q->call, r, NULL);
                question_free(q);
        }
        return 1;
}

static int deny_failed(const struct question *q, const sd_bus_error *e, sd_bus_error *error) {
        const char *member = sd_bus_message_get_member(q->call), *text = e->message ?: e->name;
        _cleanup_free_ char *shown = NULL;

        if (sd_bus_error_has_names(e, SD_BUS_ERROR_SERVICE_UNKNOWN, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
                return sd_bus_error_setf(error, SD_BUS_ERROR_ACCESS_DENIED,
                        "Only root may call %s here: there is no polkit that could say who else may.", member);
        if (sd_bus_error_has_names(e, SD_BUS_ERROR_NO_REPLY, SD_BUS_ERROR_TIMEOUT))
                return sd_bus_error_setf(error, SD_BUS_ERROR_ACCESS_DENIED,
                        "polkit did not answer whether you may call %s (action %s); root may without it.", member, q->action);
        shown = text_escape(text, strlen(text), SHOWN);
        return sd_bus_error_setf(error, SD_BUS_ERROR_ACCESS_DENIED,
                "polkit failed to say whether you may call %s (action %s): %s", member, q->action, shown ?: "?");
}

/* 1 or a negative errno with `error` set. */
static int judge(const struct question *q, sd_bus_error *error) {
        const sd_bus_error *e = sd_bus_message_get_error(q->answer);
        const char *member = sd_bus_message_get_member(q->call);
        int authorized, challenge, r;

        if (e)
                return deny_failed(q, e, error);
        r = sd_bus_message_has_signature(q->answer, "(bba{ss})") ? 0 : -EBADMSG;
        if (r >= 0)
                r = sd_bus_message_enter_container(q->answer, 'r', "bba{ss}");
        if (r >= 0)
                r = sd_bus_message_read(q->answer, "bb", &authorized, &challenge);
        if (r < 0)
                return sd_bus_error_setf(error, SD_BUS_ERROR_ACCESS_DENIED,
                        "The answer of polkit whether you may call %s (action %s) is not understood.", member, q->action);
        if (authorized)
                return 1;
        if (challenge)
                return sd_bus_error_setf(error, SD_BUS_ERROR_INTERACTIVE_AUTHORIZATION_REQUIRED,
                        "To call %s a password has to be given (polkit action %s), and there is nobody to ask for it.", member,
                        q->action);
        return sd_bus_error_setf(
                error, SD_BUS_ERROR_ACCESS_DENIED, "polkit does not let you call %s (action %s).", member, q->action);
}

/* Questions */

/* What is left of `budget` after the rest of the message, or of the open container; -E2BIG when it is too little. */
static int64_t weigh(sd_bus_message *m, int64_t budget) {
        const char *contents, *text;
        union {
                uint64_t number;
                const char *text;
        } value;
        char type;
        int r;

        while ((r = sd_bus_message_peek_type(m, &type, &contents)) > 0) {
                budget -= ITEM_BYTES;
                if (budget < 0)
                        return -E2BIG;
                if (strchr("arve", type)) {
                        r = sd_bus_message_enter_container(m, type, contents);
                        budget = r < 0 ? r : weigh(m, budget);
                        r = budget < 0 ? (int)budget : sd_bus_message_exit_container(m);
                } else {
                        r = sd_bus_message_read_basic(m, type, &value);
                        text = strchr("sog", type) ? value.text : "";
                        budget -= r < 0 ? 0 : (int64_t)strnlen(text, CALL_MAX);
                }
                if (r < 0)
                        return r;
        }
        return r < 0 ? r : budget < 0 ? -E2BIG : budget;
}

static int check_size(sd_bus_message *m, sd_bus_error *error) {
        int64_t left = weigh(m, CALL_MAX);
        int r = sd_bus_message_rewind(m, true);

        if (left == -E2BIG)
                return bus_error_set(
                        error, -E2BIG, "The call is larger than the 64 KiB that a call may have when polkit is asked.");
        return left < 0 ? (int)left : r;
}

/* Everybody can bring this about at any rate. */
static void tell_refused(struct polkit *p, uid_t uid) {
        uint64_t now;

        p->refused++;
        if (sd_event_now(sd_bus_get_event(p->bus), CLOCK_MONOTONIC, &now) < 0 ||
                (p->told_usec != 0 && now - p->told_usec < TELL_USEC))
                return;
        log_warning("Calls are refused because too many wait for polkit: %" PRIu64 " since this was last said, one of user %u.",
                p->refused, (unsigned)uid);
        p->refused = 0;
        p->told_usec = now;
}

static int check_room(struct polkit *p, uid_t uid, sd_bus_error *error) {
        size_t all = 0, own = 0;

        for (const struct question *q = p->questions; q; q = q->next) {
                all++;
                own += q->uid == uid;
        }
        if (own < USER_QUESTIONS_MAX && all < QUESTIONS_MAX)
                return 0;
        tell_refused(p, uid);
        return bus_error_set(error, -E2BIG, "Too many calls wait for polkit; try again later.");
}

/* Numbers of the sender as the bus knows them; nothing is looked up in /proc, where a process may have changed since. */
static int sender_uid(sd_bus_message *m, uid_t *ret) {
        _cleanup_(sd_bus_creds_unrefp) sd_bus_creds *creds = NULL;
        int r = sd_bus_query_sender_creds(m, SD_BUS_CREDS_EUID, &creds);

        if (r < 0)
                return r;
        if (sd_bus_creds_get_augmented_mask(creds) & SD_BUS_CREDS_EUID)
                return -EPERM;
        return sd_bus_creds_get_euid(creds, ret);
}

static int write_question(const struct question *q, sd_bus_message **ret) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        unsigned flags = sd_bus_message_get_allow_interactive_authorization(q->call) > 0 ? ALLOW_INTERACTION : 0;
        char serial[24];
        int r;

        (void)snprintf(serial, sizeof(serial), "%" PRIu64, q->serial);
        r = sd_bus_message_new_method_call(q->owner->bus, &m, NAME, PATH, INTERFACE, "CheckAuthorization");
        if (r >= 0)
                r = sd_bus_message_append(
                        m, "(sa{sv})s", "system-bus-name", 1, "name", "s", sd_bus_message_get_sender(q->call), q->action);
        /* For rules: action.lookup("member"), action.lookup("object"). */
        if (r >= 0)
                r = sd_bus_message_append(m, "a{ss}us", 2, "member", sd_bus_message_get_member(q->call), "object",
                        sd_bus_message_get_path(q->call), flags, serial);
        if (r < 0)
                return r;
        *ret = TAKE(m);
        return 0;
}

static int send_question(struct question *q) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        bool interactive = sd_bus_message_get_allow_interactive_authorization(q->call) > 0;
        int r;

        r = sd_bus_track_new(q->owner->bus, &q->sender, on_sender_gone, q);
        if (r >= 0)
                r = sd_bus_track_add_sender(q->sender, q->call);
        if (r >= 0)
                r = write_question(q, &m);
        if (r >= 0)
                r = sd_bus_call_async(
                        q->owner->bus, &q->slot, m, on_answer, q, interactive ? ANSWER_INTERACTIVE_USEC : ANSWER_USEC);
        return r;
}

static int ask(struct polkit *p, sd_bus_message *m, uid_t uid, const char *action, sd_bus_error *error) {
        _cleanup_(question_freep) struct question *q = NULL;
        int r;

        r = check_room(p, uid, error);
        if (r >= 0)
                r = check_size(m, error);
        if (r < 0)
                return r;
        q = calloc(1, sizeof(*q));
        if (!q)
                return -ENOMEM;
        *q = (struct question){.owner = p,
                .next = p->questions,
                .call = sd_bus_message_ref(m),
                .action = action,
                .uid = uid,
                .serial = ++p->serial};
        p->questions = q;
        r = send_question(q);
        if (r < 0)
                return r;
        (void)TAKE(q);
        return 0;
}

int polkit_verify(struct polkit *p, sd_bus_message *m, const char *action, sd_bus_error *error) {
        uid_t uid;
        int r;

        for (struct question *q = p->questions; q; q = q->next)
                if (q->call == m && q->answer) {
                        r = judge(q, error);
                        question_free(q);
                        return r;
                }
        r = sender_uid(m, &uid);
        if (r < 0)
                return r;
        return uid == 0 || uid == geteuid() ? 1 : ask(p, m, uid, action, error);
}

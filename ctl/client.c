/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Calls to org.memcgprof1. sd-bus covers only the call itself with its timeout; connecting and authentication are waited for
 * here, against the same clock.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <systemd/sd-bus.h>
#include <time.h>

#include "client.h"
#include "text.h"

#define NAME "org.memcgprof1"
#define PATH "/org/memcgprof1"
#define MANAGER NAME ".Manager"
#define PROFILE NAME ".Profile"

#define USEC_PER_SEC UINT64_C(1000000)
#define CONNECT_US (10 * USEC_PER_SEC)
#define CALL_US (25 * USEC_PER_SEC)
#define START_US (60 * USEC_PER_SEC) /* a busy machine, and the first one attaches BPF programs */
#define MODE_US (5 * USEC_PER_SEC)   /* a kill switch does not wait */

#define SHOWN_MAX 200                  /* bytes of an address that a sentence repeats */
#define DOCUMENT_MAX ((size_t)1 << 30) /* of a dump */

struct client {
        sd_bus *bus;
        char *address; /* printable */
};

struct client *client_free(struct client *c) {
        /* No flush: all calls were waited for, and a bus that never became ready would be waited for once more. */
        sd_bus_close_unref(c->bus);
        free(c->address);
        free(c);
        return NULL;
}

static uint64_t now_us(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return t.tv_sec * USEC_PER_SEC + t.tv_nsec / 1000;
}

static int open_bus(const char *address, sd_bus **ret) {
        _cleanup_(sd_bus_unrefp) sd_bus *bus = NULL;
        int r;

        /* Other transports start programs or leave the machine. */
        if (!startswith(address, "unix:") || strchr(address, ';'))
                return -EPROTONOSUPPORT;
        r = sd_bus_new(&bus);
        if (r >= 0)
                r = sd_bus_set_address(bus, address);
        if (r >= 0)
                r = sd_bus_set_bus_client(bus, true);
        if (r >= 0)
                r = sd_bus_negotiate_fds(bus, true);
        if (r >= 0)
                r = sd_bus_set_allow_interactive_authorization(bus, true);
        if (r >= 0)
                r = sd_bus_start(bus);
        if (r < 0)
                return r;
        *ret = TAKE(bus);
        return 0;
}

static int wait_ready(sd_bus *bus, uint64_t until) {
        for (;;) {
                int r = sd_bus_is_ready(bus);
                uint64_t now = now_us();

                if (r != 0)
                        return r;
                if (now >= until)
                        return -ETIMEDOUT;
                r = sd_bus_process(bus, NULL);
                if (r == 0)
                        r = sd_bus_wait(bus, until - now);
                if (r < 0)
                        return r;
        }
}

static int explain_connect(const char *address, int r, char **reterr) {
        switch (-r) {
        case ENOMEM:
                return r;
        case ETIMEDOUT:
        case EAGAIN: /* its queue of connections is full: it does not accept */
                return fail(reterr, -ETIMEDOUT, "The bus at %s does not answer.", address);
        case ENOENT:
        case ECONNREFUSED:
                return fail(reterr, -ENXIO, "There is no bus at %s.", address);
        case EPROTONOSUPPORT:
        case EINVAL:
                return fail(reterr, -EINVAL, "\"%s\" is not the address of a bus (unix:path=...).", address);
        default:
                return fail(reterr, r, "The bus at %s cannot be reached: %s.", address, strerror(-r));
        }
}

int client_new(const char *address, struct client **ret, char **reterr) {
        _cleanup_(client_freep) struct client *c = calloc(1, sizeof(*c));
        int r;

        if (!c)
                return -ENOMEM;
        c->address = text_escape(address, strlen(address), SHOWN_MAX);
        if (!c->address)
                return -ENOMEM;
        r = open_bus(address, &c->bus);
        if (r >= 0)
                r = wait_ready(c->bus, now_us() + CONNECT_US);
        if (r < 0)
                return explain_connect(c->address, r, reterr);
        *ret = TAKE(c);
        return 0;
}

static int explain(const struct client *c, const sd_bus_error *error, int r, char **reterr) {
        if (r == -ENOMEM)
                return r;
        if (sd_bus_error_has_names(error, SD_BUS_ERROR_SERVICE_UNKNOWN, SD_BUS_ERROR_NAME_HAS_NO_OWNER))
                return fail(reterr, -ENXIO, "No memcgprofd runs on the bus at %s.", c->address);
        if (r == -ETIMEDOUT || sd_bus_error_has_names(error, SD_BUS_ERROR_NO_REPLY, SD_BUS_ERROR_TIMEOUT))
                return fail(reterr, -ETIMEDOUT, "memcgprofd does not answer.");
        if (sd_bus_error_has_name(error, SD_BUS_ERROR_ACCESS_DENIED))
                return fail(reterr, r, "This needs more rights; try as root.");
        if (sd_bus_error_is_set(error) && error->message)
                return fail(reterr, r, "%s", error->message);
        return fail(reterr, r, "The call to memcgprofd failed: %s.", strerror(-r));
}

/* Sends `m`. `error` keeps the reply's error for a caller that wants to look at its name; initialised by the caller. */
static int exchange(
        struct client *c, sd_bus_message *m, uint64_t timeout_us, sd_bus_error *error, sd_bus_message **ret, char **reterr) {
        int r = sd_bus_call(c->bus, m, timeout_us, error, ret);

        return r < 0 ? explain(c, error, r, reterr) : 0;
}

static int unwritable(int r, char **reterr) {
        if (r == -EINVAL) /* sd-bus refuses what is not UTF-8 */
                return fail(reterr, r, "An argument is not valid UTF-8.");
        return r == -ENOMEM ? r : fail(reterr, r, "The call to memcgprofd cannot be written: %s.", strerror(-r));
}

static int unreadable(int r, char **reterr) {
        return r == -ENOMEM ? r : fail(reterr, r, "The answer of memcgprofd cannot be read: %s.", strerror(-r));
}

static int manager_call(struct client *c, const char *member, sd_bus_message **ret) {
        return sd_bus_message_new_method_call(c->bus, ret, NAME, PATH, MANAGER, member);
}

/* Sends `m` and copies the reply's only member, a string or an object path. */
static int send_for_text(struct client *c, sd_bus_message *m, uint64_t timeout_us, char type, char **ret, char **reterr) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        const char *text;
        char *copy;
        int r = exchange(c, m, timeout_us, &error, &reply, reterr);

        if (r < 0)
                return r;
        r = sd_bus_message_read_basic(reply, type, &text);
        if (r <= 0)
                return unreadable(r < 0 ? r : -EBADMSG, reterr);
        copy = strdup(text);
        if (!copy)
                return -ENOMEM;
        *ret = copy;
        return 0;
}

static int send_for_nothing(struct client *c, sd_bus_message *m, uint64_t timeout_us, char **reterr) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;

        return exchange(c, m, timeout_us, &error, NULL, reterr);
}

int client_support(struct client *c, char **ret_json, char **reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r = manager_call(c, "DescribeSupport", &m);

        if (r >= 0)
                r = sd_bus_message_append(m, "a{sv}", 0);
        return r < 0 ? unwritable(r, reterr) : send_for_text(c, m, CALL_US, 's', ret_json, reterr);
}

int client_start(struct client *c, const char *target, const char *spec, char **ret_path, char **reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r = manager_call(c, "StartProfile", &m);

        if (r >= 0)
                r = spec ? sd_bus_message_append(m, "sa{sv}", target, 1, "spec", "s", spec)
                         : sd_bus_message_append(m, "sa{sv}", target, 0);
        return r < 0 ? unwritable(r, reterr) : send_for_text(c, m, START_US, 'o', ret_path, reterr);
}

int client_find(struct client *c, const char *target, char **ret_path, char **reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r = manager_call(c, "GetProfile", &m);

        if (r >= 0)
                r = sd_bus_message_append(m, "sa{sv}", target, 0);
        return r < 0 ? unwritable(r, reterr) : send_for_text(c, m, CALL_US, 'o', ret_path, reterr);
}

int client_stop(struct client *c, const char *path, char **reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r = manager_call(c, "StopProfile", &m);

        if (r >= 0)
                r = sd_bus_message_append(m, "oa{sv}", path, 0);
        return r < 0 ? unwritable(r, reterr) : send_for_nothing(c, m, CALL_US, reterr);
}

int client_set_mode(struct client *c, const char *mode, char **reterr) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int r = manager_call(c, "SetMode", &m);

        if (r >= 0)
                r = sd_bus_message_set_auto_start(m, false);
        if (r >= 0)
                r = sd_bus_message_append(m, "sa{sv}", mode, 0);
        return r < 0 ? unwritable(r, reterr) : send_for_nothing(c, m, MODE_US, reterr);
}

static int append_filter_value(sd_bus_message *m, const struct filter *f, enum filter_key key) {
        const char *name = filter_fields[key].name;

        switch (filter_fields[key].kind) {
        case FILTER_STRING:
                return sd_bus_message_append(m, "{sv}", name, "s", f->strings[key]);
        case FILTER_INTEGER:
                return sd_bus_message_append(m, "{sv}", name, "x", f->integers[key]);
        case FILTER_BOOLEAN:
                return sd_bus_message_append(m, "{sv}", name, "b", (int)f->booleans[key]);
        }
        return -EINVAL;
}

static int append_filter(sd_bus_message *m, const struct filter *f) {
        int r = sd_bus_message_open_container(m, 'a', "{sv}");

        for (size_t i = 0; r >= 0 && i < _FILTER_KEY_MAX; i++)
                if (filter_has(f, i))
                        r = append_filter_value(m, f, i);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

/* The memfd belongs to the reply; the copy of the descriptor shares its offset, hence pread. */
static int read_dump(int fd, char **ret) {
        struct stat st;
        _cleanup_free_ char *text = NULL;
        size_t done = 0;

        if (fstat(fd, &st) < 0)
                return -errno;
        if (st.st_size < 0 || (size_t)st.st_size > DOCUMENT_MAX)
                return -E2BIG;
        text = malloc(st.st_size + 1);
        if (!text)
                return -ENOMEM;
        while (done < (size_t)st.st_size) {
                ssize_t n = pread(fd, text + done, st.st_size - done, done);

                if (n <= 0)
                        return n < 0 ? -errno : -EIO;
                done += n;
        }
        text[done] = '\0';
        *ret = TAKE(text);
        return 0;
}

static int dump_summary(struct client *c, const char *path, const struct filter *f, char **ret_json, char **reterr) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        int fd, r = sd_bus_message_new_method_call(c->bus, &m, NAME, path, PROFILE, "Dump");

        if (r >= 0)
                r = sd_bus_message_append(m, "s", "summary");
        if (r >= 0)
                r = append_filter(m, f);
        if (r < 0)
                return unwritable(r, reterr);
        r = exchange(c, m, CALL_US, &error, &reply, reterr);
        if (r < 0)
                return r;
        r = sd_bus_message_read(reply, "h", &fd);
        if (r >= 0)
                r = read_dump(fd, ret_json);
        return r < 0 ? unreadable(r, reterr) : 0;
}

int client_summary(struct client *c, const char *path, const struct filter *f, char **ret_json, char **reterr) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        _cleanup_free_ char *why = NULL;
        const char *text;
        int r = sd_bus_message_new_method_call(c->bus, &m, NAME, path, PROFILE, "GetSummary");

        if (r >= 0)
                r = append_filter(m, f);
        if (r < 0)
                return unwritable(r, reterr);
        r = exchange(c, m, CALL_US, &error, &reply, &why);
        if (sd_bus_error_has_name(&error, NAME ".Error.Limit"))
                return dump_summary(c, path, f, ret_json, reterr);
        if (r < 0) {
                if (reterr)
                        *reterr = TAKE(why);
                return r;
        }
        r = sd_bus_message_read_basic(reply, 's', &text);
        if (r <= 0)
                return unreadable(r < 0 ? r : -EBADMSG, reterr);
        *ret_json = strdup(text);
        return *ret_json ? 0 : -ENOMEM;
}

struct entries {
        struct report_list_entry *entry; /* strings belong to the reply */
        size_t n;
};

static void entries_done(struct entries *e) {
        free(e->entry);
}

/* The keys of ListProfiles' dictionary that a document has; others are newer than this program and skipped. */
static int read_more(sd_bus_message *reply, struct report_list_entry *e) {
        const struct {
                const char *key;
                const char **value;
        } wanted[] = {
                {"cgroup", &e->cgroup},
                {"mode", &e->mode},
                {"namespace", &e->pod_namespace},
                {"pod", &e->pod_name},
                {"name", &e->name},
        };
        const char *key;
        int r = sd_bus_message_enter_container(reply, 'a', "{sv}");

        while (r >= 0 && (r = sd_bus_message_enter_container(reply, 'e', "sv")) > 0) {
                const char **value = NULL;

                r = sd_bus_message_read(reply, "s", &key);
                for (size_t i = 0; r >= 0 && i < ELEMENTS(wanted); i++)
                        if (streq(wanted[i].key, key))
                                value = wanted[i].value;
                if (r >= 0)
                        r = value                     ? sd_bus_message_read(reply, "v", "s", value)
                            : streq(key, "cgroup_id") ? sd_bus_message_read(reply, "v", "t", &e->cgroup_id)
                                                      : sd_bus_message_skip(reply, "v");
                if (r >= 0)
                        r = sd_bus_message_exit_container(reply);
        }
        return r < 0 ? r : sd_bus_message_exit_container(reply);
}

static int read_entry(sd_bus_message *reply, struct entries *list) {
        struct report_list_entry *p = reallocarray(list->entry, list->n + 1, sizeof(*p)), *e;
        int r;

        if (!p)
                return -ENOMEM;
        list->entry = p;
        e = &list->entry[list->n];
        *e = (struct report_list_entry){.mode = "", .cgroup = ""};
        r = sd_bus_message_read(reply, "osssx", &e->object, &e->kind, &e->id, &e->state, &e->live_bytes);
        if (r >= 0)
                r = read_more(reply, e);
        if (r >= 0)
                list->n++;
        return r;
}

static int read_entries(sd_bus_message *reply, struct entries *list) {
        int r = sd_bus_message_enter_container(reply, 'a', "(osssxa{sv})");

        while (r >= 0 && (r = sd_bus_message_enter_container(reply, 'r', "osssxa{sv}")) > 0) {
                r = read_entry(reply, list);
                if (r >= 0)
                        r = sd_bus_message_exit_container(reply);
        }
        return r;
}

static int get_backend(struct client *c, char **ret, char **reterr) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        int r = sd_bus_get_property_string(c->bus, NAME, PATH, MANAGER, "Backend", &error, ret);

        return r < 0 ? explain(c, &error, r, reterr) : 0;
}

int client_list(struct client *c, json_t **ret, char **reterr) {
        _cleanup_(sd_bus_error_free) sd_bus_error error = SD_BUS_ERROR_NULL;
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL, *reply = NULL;
        _cleanup_(entries_done) struct entries list = {};
        _cleanup_free_ char *backend = NULL;
        json_t *document;
        int r = manager_call(c, "ListProfiles", &m);

        if (r >= 0)
                r = sd_bus_message_append(m, "a{sv}", 0);
        if (r < 0)
                return unwritable(r, reterr);
        r = exchange(c, m, CALL_US, &error, &reply, reterr);
        if (r >= 0)
                r = get_backend(c, &backend, reterr);
        if (r < 0)
                return r;
        r = read_entries(reply, &list);
        if (r < 0)
                return unreadable(r, reterr);
        document = report_list(backend, list.entry, list.n);
        if (!document)
                return -ENOMEM;
        *ret = document;
        return 0;
}

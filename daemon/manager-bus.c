/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Interface org.memcgprof1.Manager and everything that is attached to the bus. Signals leave in the order in which things
 * changed: ProfileAdded before the reply that names the object, ProfileFinished when the report is on disk.
 */
#include <linux/capability.h>

#include "bus-error.h"
#include "bus-options.h"
#include "bus.h"
#include "kernel.h"
#include "log.h"
#include "object-path.h"
#include "report.h"
#include "rights.h"
#include "text.h"

#define TEXT_BYTES_MAX 1024 /* of one text from annotations */

struct bus_service {
        sd_bus *bus;
        struct manager *manager;
        struct polkit *polkit;
        sd_bus_slot *slots[8];
        size_t n_slots;
};

/* Methods */

static int reply_view(sd_bus_message *m, int r, const struct view *v, const char *sentence, sd_bus_error *error) {
        return r < 0 ? bus_error_set(error, r, sentence) : sd_bus_reply_method_return(m, "o", v->path);
}

/*
 * What hooks call is root's. A hook gives up at its deadline and leaves, and then nobody can tell any more who it was: its call
 * is taken all the same, because the bus has asked already, when it was sent: our policy lets nobody but root send these two.
 */
static int check_hook(sd_bus_message *m, sd_bus_error *error) {
        int r = sd_bus_query_sender_privilege(m, CAP_SYS_ADMIN);

        if (r > 0 || r == -ENXIO || r == -ESRCH)
                return 0;
        if (r < 0)
                return r;
        return sd_bus_error_setf(error, SD_BUS_ERROR_ACCESS_DENIED, "Only root may call %s.", sd_bus_message_get_member(m));
}

static int take_annotation(void *target, const char *key, const char *value) {
        struct container_request *c = target;

        if (!streq(key, "org.memcgprof.profile"))
                return wish_take_annotation(&c->wish, key, value);
        free(c->annotation_spec);
        c->annotation_spec = strdup(value);
        return c->annotation_spec ? 0 : -ENOMEM;
}

static const struct bus_option container_options[] = {
        {"pidfd", BUS_OPTION_FD, offsetof(struct container_request, pidfd), NULL},
        {"pid", BUS_OPTION_INTEGER, offsetof(struct container_request, pid), NULL},
        {"cgroup", BUS_OPTION_STRING, offsetof(struct container_request, cgroup), NULL},
        {"spec", BUS_OPTION_STRING, offsetof(struct container_request, spec), NULL},
        {"bundle", BUS_OPTION_STRING, offsetof(struct container_request, bundle), NULL},
        {"deadline_us", BUS_OPTION_INTEGER, offsetof(struct container_request, deadline_us), NULL},
        {"annotations", BUS_OPTION_STRINGS, 0, take_annotation},
};

static int method_register_container(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(container_request_done) struct container_request c = CONTAINER_REQUEST_NONE;
        _cleanup_free_ char *sentence = NULL;
        struct manager *manager = userdata;
        const struct view *v;
        const char *id;
        int r;

        r = check_hook(m, error);
        if (r < 0)
                return r;
        r = sd_bus_message_read(m, "s", &id);
        if (r < 0)
                return r;
        r = bus_options_read(m, container_options, ELEMENTS(container_options), &c, error);
        if (r < 0)
                return r;
        r = manager_register_container(manager, id, &c, &v, &sentence);
        if (r < 0)
                return bus_error_set(error, r, sentence);
        return sd_bus_reply_method_return(m, "os", v->path, mode_to_string(v->registration->mode));
}

static int method_container_stopped(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_free_ char *sentence = NULL;
        const char *id;
        int r;

        r = check_hook(m, error);
        if (r < 0)
                return r;
        r = sd_bus_message_read(m, "s", &id);
        if (r < 0)
                return r;
        r = bus_options_none(m, error);
        if (r < 0)
                return r;
        r = manager_container_stopped(userdata, id, &sentence);
        return r < 0 ? bus_error_set(error, r, sentence) : sd_bus_reply_method_return(m, NULL);
}

struct start_options {
        const char *spec;
};

static const struct bus_option start_options[] = {
        {"spec", BUS_OPTION_STRING, offsetof(struct start_options, spec), NULL},
};

static int method_start_profile(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_free_ char *sentence = NULL;
        struct start_options options = {0};
        const struct view *v = NULL;
        const char *target;
        int r;

        r = sd_bus_message_read(m, "s", &target);
        if (r < 0)
                return r;
        r = bus_options_read(m, start_options, ELEMENTS(start_options), &options, error);
        if (r < 0)
                return r;
        r = manager_start(userdata, target, options.spec, &v, &sentence);
        return reply_view(m, r, v, sentence, error);
}

static int method_stop_profile(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_free_ char *sentence = NULL;
        const char *path;
        int r;

        r = sd_bus_message_read(m, "o", &path);
        if (r < 0)
                return r;
        r = bus_options_none(m, error);
        if (r < 0)
                return r;
        r = manager_stop(userdata, path, &sentence);
        return r < 0 ? bus_error_set(error, r, sentence) : sd_bus_reply_method_return(m, NULL);
}

static int method_get_profile(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_free_ char *sentence = NULL;
        const struct view *v = NULL;
        const char *target;
        int r;

        r = sd_bus_message_read(m, "s", &target);
        if (r < 0)
                return r;
        r = bus_options_none(m, error);
        if (r < 0)
                return r;
        r = manager_get(userdata, target, &v, &sentence);
        return reply_view(m, r, v, sentence, error);
}

static int append_text(sd_bus_message *m, const char *key, const char *value) {
        _cleanup_free_ char *shown = value ? text_escape(value, strlen(value), TEXT_BYTES_MAX) : NULL;

        if (value && !shown)
                return -ENOMEM;
        return value ? sd_bus_message_append(m, "{sv}", key, "s", shown) : 0;
}

static int append_requesters(sd_bus_message *m, const struct registration *r) {
        int error = sd_bus_message_open_container(m, 'e', "sv");

        if (error >= 0)
                error = sd_bus_message_append(m, "s", "requesters");
        if (error >= 0)
                error = sd_bus_message_open_container(m, 'v', "as");
        if (error >= 0)
                error = sd_bus_message_open_container(m, 'a', "s");
        for (size_t i = 0; error >= 0 && i < r->n_requesters; i++)
                error = sd_bus_message_append(m, "s", r->requesters[i]);
        for (int depth = 0; error >= 0 && depth < 3; depth++)
                error = sd_bus_message_close_container(m);
        return error;
}

static int append_more(sd_bus_message *m, const struct registration *r) {
        const struct profile_label *l = profile_label(r->profile);
        int error = sd_bus_message_open_container(m, 'a', "{sv}");

        if (error >= 0)
                error = sd_bus_message_append(m, "{sv}{sv}{sv}", "cgroup", "s", r->cgroup, "cgroup_id", "t", r->cgroup_id,
                        "mode", "s", mode_to_string(r->mode));
        if (error >= 0)
                error = sd_bus_message_append(
                        m, "{sv}{sv}", "started_by", "s", l->started_by, "from_start", "b", l->from_start);
        if (error >= 0)
                error = append_text(m, "namespace", l->pod_namespace);
        if (error >= 0)
                error = append_text(m, "pod", l->pod_name);
        if (error >= 0)
                error = append_text(m, "name", l->container_name);
        if (error >= 0)
                error = append_text(m, "report", r->report);
        if (error >= 0)
                error = append_requesters(m, r);
        return error < 0 ? error : sd_bus_message_close_container(m);
}

static int append_view(sd_bus_message *m, const struct view *v, int64_t live_bytes) {
        int r = sd_bus_message_open_container(m, 'r', "osssxa{sv}");

        if (r >= 0)
                r = sd_bus_message_append(m, "osssx", v->path, v->kind, v->id,
                        profile_state_to_string(profile_state(v->registration->profile)), live_bytes);
        if (r >= 0)
                r = append_more(m, v->registration);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

/* All names of one profile: the figures are read once. */
static int append_profile(sd_bus_message *m, const struct registration *registration) {
        struct profile_totals totals = {0};
        int r = profile_totals(registration->profile, &totals);

        for (size_t i = 0; r >= 0 && i < registration->n_views; i++)
                r = append_view(m, registration->views[i], totals.live_bytes);
        return r;
}

static int append_profiles(sd_bus_message *m, const struct registry *registry) {
        int r = sd_bus_message_open_container(m, 'a', "(osssxa{sv})");

        for (size_t i = 0; r >= 0 && i < registry->n; i++)
                r = append_profile(m, registry->items[i]);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int method_list_profiles(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        int r;

        r = bus_options_none(m, error);
        if (r < 0)
                return r;
        r = sd_bus_message_new_method_return(m, &reply);
        engine_hold(manager_engine(userdata), true);
        if (r >= 0)
                r = append_profiles(reply, manager_registry(userdata));
        engine_hold(manager_engine(userdata), false);
        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static json_t *describe_support(const struct manager *m, const struct support *support) {
        struct engine *engine = manager_engine(m);
        struct tracker *t = engine_tracker(engine);
        const struct tracker_ability *abilities;
        size_t n;

        abilities = t->ops->abilities(t, &n);
        return report_support(support, abilities, n, engine_options(engine));
}

static int method_describe_support(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(support_freep) struct support *support = NULL;
        _cleanup_(json_decrefp) json_t *document = NULL;
        _cleanup_free_ char *text = NULL;
        int r;

        r = bus_options_none(m, error);
        if (r < 0)
                return r;
        r = support_probe(&support);
        if (r < 0)
                return r;
        document = describe_support(userdata, support);
        text = document ? report_text(document) : NULL;
        return text ? sd_bus_reply_method_return(m, "s", text) : -ENOMEM;
}

static int set_mode(struct manager *m, const char *mode, sd_bus_error *error) {
        _cleanup_free_ char *sentence = NULL;
        int r = manager_set_mode(m, mode, &sentence);

        return r < 0 ? bus_error_set(error, r, sentence) : 0;
}

static int method_set_mode(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *mode;
        int r;

        r = sd_bus_message_read(m, "s", &mode);
        if (r < 0)
                return r;
        r = bus_options_none(m, error);
        if (r < 0)
                return r;
        r = set_mode(userdata, mode, error);
        return r < 0 ? r : sd_bus_reply_method_return(m, NULL);
}

/* Properties */

static int property_mode(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
        void *userdata, sd_bus_error *error) {
        return sd_bus_message_append(reply, "s", mode_to_string(manager_mode(userdata)));
}

static int property_set_mode(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *value,
        void *userdata, sd_bus_error *error) {
        const char *mode;
        int r;

        r = sd_bus_message_read(value, "s", &mode);
        return r < 0 ? r : set_mode(userdata, mode, error);
}

static int property_effective_mode(sd_bus *bus, const char *path, const char *interface, const char *property,
        sd_bus_message *reply, void *userdata, sd_bus_error *error) {
        return sd_bus_message_append(reply, "s", mode_to_string(manager_effective_mode(userdata)));
}

static int property_backend(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
        void *userdata, sd_bus_error *error) {
        return sd_bus_message_append(reply, "s", engine_backend(manager_engine(userdata)));
}

static int property_version(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
        void *userdata, sd_bus_error *error) {
        return sd_bus_message_append(reply, "s", MEMCGPROF_VERSION);
}

static const sd_bus_vtable manager_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_WRITABLE_PROPERTY("Mode", "s", property_mode, property_set_mode, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("EffectiveMode", "s", property_effective_mode, 0, SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE),
        SD_BUS_PROPERTY("Backend", "s", property_backend, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_PROPERTY("Version", "s", property_version, 0, SD_BUS_VTABLE_PROPERTY_CONST),
        SD_BUS_METHOD_WITH_ARGS("RegisterContainer", SD_BUS_ARGS("s", id, "a{sv}", options),
                SD_BUS_RESULT("o", profile, "s", mode), method_register_container, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("ContainerStopped", SD_BUS_ARGS("s", id, "a{sv}", options), SD_BUS_NO_RESULT,
                method_container_stopped, SD_BUS_VTABLE_UNPRIVILEGED),
        SD_BUS_METHOD_WITH_ARGS("StartProfile", SD_BUS_ARGS("s", target, "a{sv}", options), SD_BUS_RESULT("o", profile),
                method_start_profile, RIGHTS_ASKED),
        SD_BUS_METHOD_WITH_ARGS("StopProfile", SD_BUS_ARGS("o", profile, "a{sv}", options), SD_BUS_NO_RESULT,
                method_stop_profile, RIGHTS_ASKED),
        SD_BUS_METHOD_WITH_ARGS("GetProfile", SD_BUS_ARGS("s", target, "a{sv}", options), SD_BUS_RESULT("o", profile),
                method_get_profile, RIGHTS_ASKED),
        SD_BUS_METHOD_WITH_ARGS("ListProfiles", SD_BUS_ARGS("a{sv}", options), SD_BUS_RESULT("a(osssxa{sv})", profiles),
                method_list_profiles, RIGHTS_ASKED),
        SD_BUS_METHOD_WITH_ARGS("DescribeSupport", SD_BUS_ARGS("a{sv}", options), SD_BUS_RESULT("s", json),
                method_describe_support, RIGHTS_ASKED),
        SD_BUS_METHOD_WITH_ARGS(
                "SetMode", SD_BUS_ARGS("s", mode, "a{sv}", options), SD_BUS_NO_RESULT, method_set_mode, RIGHTS_ASKED),
        SD_BUS_SIGNAL_WITH_ARGS("ProfileAdded", SD_BUS_ARGS("o", profile), 0),
        SD_BUS_SIGNAL_WITH_ARGS("ProfileRemoved", SD_BUS_ARGS("o", profile), 0),
        SD_BUS_SIGNAL_WITH_ARGS("ProfileFinished", SD_BUS_ARGS("o", profile, "s", report_path), 0),
        SD_BUS_VTABLE_END,
};

/* Signals. A signal that cannot be sent is logged; what it tells can be asked for. */

static void sent(int r, const char *what) {
        if (r < 0)
                log_debug("%s could not be sent: %s.", what, strerror(-r));
}

static void on_added(void *userdata, const struct view *v) {
        struct bus_service *s = userdata;

        sent(sd_bus_emit_object_added(s->bus, v->path), "InterfacesAdded");
        sent(sd_bus_emit_signal(s->bus, BUS_PATH, BUS_INTERFACE_MANAGER, "ProfileAdded", "o", v->path), "ProfileAdded");
}

static void on_removed(void *userdata, const struct view *v) {
        struct bus_service *s = userdata;

        sent(sd_bus_emit_object_removed(s->bus, v->path), "InterfacesRemoved");
        sent(sd_bus_emit_signal(s->bus, BUS_PATH, BUS_INTERFACE_MANAGER, "ProfileRemoved", "o", v->path), "ProfileRemoved");
}

static void on_changed(void *userdata, const struct view *v, const char *property) {
        struct bus_service *s = userdata;

        sent(sd_bus_emit_properties_changed(s->bus, v->path, BUS_INTERFACE_PROFILE, property, NULL), "PropertiesChanged");
}

static void on_finished(void *userdata, const char *object, const char *report) {
        struct bus_service *s = userdata;

        sent(sd_bus_emit_signal(s->bus, BUS_PATH, BUS_INTERFACE_MANAGER, "ProfileFinished", "os", object, report),
                "ProfileFinished");
}

static void on_mode_changed(void *userdata, bool mode, bool effective_mode) {
        struct bus_service *s = userdata;

        if (mode)
                sent(sd_bus_emit_properties_changed(s->bus, BUS_PATH, BUS_INTERFACE_MANAGER, "Mode", NULL),
                        "PropertiesChanged");
        if (effective_mode)
                sent(sd_bus_emit_properties_changed(s->bus, BUS_PATH, BUS_INTERFACE_MANAGER, "EffectiveMode", NULL),
                        "PropertiesChanged");
}

static const struct manager_listener listener = {
        .added = on_added,
        .removed = on_removed,
        .changed = on_changed,
        .finished = on_finished,
        .mode_changed = on_mode_changed,
};

/* Attachment */

static int enumerate(sd_bus *bus, const char *prefix, void *userdata, char ***ret_nodes, sd_bus_error *error) {
        const struct registry *registry = manager_registry(userdata);
        size_t n = 0;
        char **nodes;

        for (size_t i = 0; i < registry->n; i++)
                n += registry->items[i]->n_views;
        nodes = calloc(n + 1, sizeof(*nodes));
        if (!nodes)
                return -ENOMEM;
        n = 0;
        for (size_t i = 0; i < registry->n; i++)
                for (size_t j = 0; j < registry->items[i]->n_views; j++) {
                        nodes[n] = strdup(registry->items[i]->views[j]->path);
                        if (!nodes[n++]) {
                                for (size_t k = 0; k < n; k++)
                                        free(nodes[k]);
                                free(nodes);
                                return -ENOMEM;
                        }
                }
        *ret_nodes = nodes;
        return 0;
}

static sd_bus_slot **next_slot(struct bus_service *s) {
        return &s->slots[s->n_slots++];
}

static int attach(struct bus_service *s) {
        static const char *const prefixes[] = {BUS_PATH_CONTAINER, BUS_PATH_CGROUP, BUS_PATH_HOST};
        int r;

        r = rights_guard(s->bus, s->polkit, next_slot(s));
        if (r >= 0)
                r = sd_bus_add_object_manager(s->bus, next_slot(s), BUS_PATH);
        if (r >= 0)
                r = sd_bus_add_object_vtable(s->bus, next_slot(s), BUS_PATH, BUS_INTERFACE_MANAGER, manager_vtable, s->manager);
        if (r >= 0)
                r = sd_bus_add_node_enumerator(s->bus, next_slot(s), BUS_PATH, enumerate, s->manager);
        for (size_t i = 0; r >= 0 && i < ELEMENTS(prefixes); i++)
                r = sd_bus_add_fallback_vtable(s->bus, next_slot(s), prefixes[i], BUS_INTERFACE_PROFILE, profile_vtable,
                        profile_object_find, s->manager);
        if (r >= 0)
                r = sd_bus_add_object_vtable(
                        s->bus, next_slot(s), BUS_PATH_LOG_CONTROL, BUS_INTERFACE_LOG_CONTROL, log_control_vtable, NULL);
        return r;
}

int bus_service_new(sd_bus *bus, struct manager *m, struct bus_service **ret) {
        _cleanup_(bus_service_freep) struct bus_service *s = calloc(1, sizeof(*s));
        int r;

        if (!s)
                return -ENOMEM;
        s->bus = sd_bus_ref(bus);
        s->manager = m;
        r = polkit_new(bus, &s->polkit);
        if (r >= 0)
                r = attach(s);
        if (r < 0)
                return r;
        manager_listen(m, &listener, s);
        *ret = TAKE(s);
        return 0;
}

struct bus_service *bus_service_free(struct bus_service *s) {
        if (!s)
                return NULL;
        manager_listen(s->manager, NULL, NULL);
        for (size_t i = 0; i < s->n_slots; i++)
                sd_bus_slot_unref(s->slots[i]);
        polkit_free(s->polkit);
        sd_bus_unref(s->bus);
        free(s);
        return NULL;
}

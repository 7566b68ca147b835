/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Interface org.memcgprof1.Profile; userdata is the view. Readings go through summaries, so that every way of asking gives the
 * same figures. GetSites cannot say null: where live figures are not measured, bytes and calls are 0 and `blind` is true; what
 * the dictionary does not hold is null. Its names are those of the document.
 */
#include <fcntl.h>
#include <sys/mman.h>

#include "bus-error.h"
#include "bus-filter.h"
#include "bus-options.h"
#include "bus.h"
#include "report.h"
#include "rights.h"
#include "text.h"

static struct profile *profile_of(void *userdata) {
        return ((struct view *)userdata)->registration->profile;
}

static int too_large(sd_bus_error *error) {
        return bus_error_set(
                error, -E2BIG, "The reply would be larger than 16 MiB; use Dump, or ask for less with the filter key 'limit'.");
}

/* Summaries */

static int read_summary(sd_bus_message *m, void *userdata, struct summary **ret, sd_bus_error *error) {
        _cleanup_free_ char *sentence = NULL;
        _cleanup_(filter_done) struct filter filter = {0};
        int r;

        r = bus_filter_read(m, &filter, error);
        if (r < 0)
                return r;
        if (profile_check_filter(profile_of(userdata), &filter, &sentence) < 0)
                return bus_error_set(error, -EDOM, sentence);
        r = profile_summary(profile_of(userdata), &filter, ret, &sentence);
        if (r == -EBADMSG)
                r = -EIO; /* the kernel's text, and no spec of the caller's */
        return r < 0 ? bus_error_set(error, r, sentence) : 0;
}

static int read_summary_text(sd_bus_message *m, void *userdata, char **ret, sd_bus_error *error) {
        _cleanup_(summary_freep) struct summary *summary = NULL;
        int r;

        r = read_summary(m, userdata, &summary, error);
        if (r < 0)
                return r;
        *ret = report_summary(summary);
        return *ret ? 0 : -ENOMEM;
}

/*
 * A document is valid UTF-8 by its making (text_escape()). sd-bus would look at each character once more, which takes longer
 * than to write them all.
 */
static int reply_text(sd_bus_message *m, const char *text, size_t n) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        char *place;
        int r;

        r = sd_bus_message_new_method_return(m, &reply);
        if (r >= 0)
                r = sd_bus_message_append_string_space(reply, n, &place);
        if (r < 0)
                return r;
        memcpy(place, text, n + 1);
        return sd_bus_send(NULL, reply, NULL);
}

static int method_get_summary(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_free_ char *text = NULL;
        size_t n;
        int r;

        r = read_summary_text(m, userdata, &text, error);
        if (r < 0)
                return r;
        n = strlen(text);
        return n > BUS_REPLY_MAX ? too_large(error) : reply_text(m, text, n);
}

static int sealed_memfd(const char *text) {
        _cleanup_close_ int fd = memfd_create("memcgprof-dump", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        size_t n = strlen(text);

        if (fd < 0)
                return -errno;
        while (n > 0) {
                ssize_t done = write(fd, text, n);

                if (done < 0)
                        return -errno;
                text += done;
                n -= (size_t)done;
        }
        if (lseek(fd, 0, SEEK_SET) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
                return -errno;
        return TAKE_FD(fd);
}

static int method_dump(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_free_ char *text = NULL;
        _cleanup_close_ int fd = -1;
        const char *document;
        int r;

        r = sd_bus_message_read(m, "s", &document);
        if (r < 0)
                return r;
        if (streq(document, "stacks"))
                return bus_error_set(
                        error, -EOPNOTSUPP, "The document 'stacks' is not part of this version; ask for 'summary'.");
        if (!streq(document, "summary"))
                return sd_bus_error_setf(
                        error, SD_BUS_ERROR_INVALID_ARGS, "There is no document '%.64s'; ask for 'summary'.", document);
        r = read_summary_text(m, userdata, &text, error);
        if (r < 0)
                return r;
        fd = sealed_memfd(text);
        return fd < 0 ? fd : sd_bus_reply_method_return(m, "h", fd);
}

/* GetSites */

static int append_gfp(sd_bus_message *m, const struct row *row) {
        struct gfp_names names;
        int r;

        gfp_names(&row->gfp, &names);
        r = sd_bus_message_append(m, "s", "gfp_flags");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', "as");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "s");
        for (size_t i = 0; r >= 0 && i < names.n; i++)
                r = sd_bus_message_append(m, "s", names.names[i]);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

/* node, live bytes, live calls; -1 for what lies on no one node */
static int append_nodes(sd_bus_message *m, const struct row *row) {
        int r;

        r = sd_bus_message_append(m, "s", "nodes");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', "a(ixx)");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "(ixx)");
        for (size_t i = 0; r >= 0 && i < row->n_parts; i++) {
                const struct row_part *part = &row->parts[i];

                r = sd_bus_message_append(m, "(ixx)", part->node,
                        row->live_known ? figures_live_bytes(&part->figures) : INT64_C(0),
                        row->live_known ? figures_live_calls(&part->figures) : INT64_C(0));
        }
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_entry(sd_bus_message *m, int (*append)(sd_bus_message *, const struct row *), const struct row *row) {
        int r;

        r = sd_bus_message_open_container(m, 'e', "sv");
        if (r >= 0)
                r = append(m, row);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_figures(sd_bus_message *m, const struct figures *f) {
        const struct tracker_counts *c = &f->counts;
        int r;

        r = sd_bus_message_append(m, "{sv}{sv}{sv}{sv}", "allocated_bytes", "x", c->allocated_bytes, "allocated_calls", "x",
                c->allocated_calls, "freed_bytes", "x", c->freed_bytes, "freed_calls", "x", c->freed_calls);
        if (r >= 0)
                r = sd_bus_message_append(m, "{sv}{sv}{sv}{sv}", "written_off_bytes", "x", c->written_off_bytes,
                        "untracked_bytes", "x", c->untracked_bytes, "blind_bytes", "x", f->blind_bytes, "blind_allocated_bytes",
                        "x", f->blind_allocated_bytes);
        return r < 0 ? r : sd_bus_message_append(m, "{sv}", "error_bytes", "x", f->error_bytes);
}

static int append_more(sd_bus_message *m, const struct row *row) {
        int r;

        r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0)
                r = sd_bus_message_append(m, "{sv}{sv}{sv}", "key", "s", row->key, "blind", "b", !row->live_known, "estimated",
                        "b", row->estimated);
        if (r >= 0 && row->category)
                r = sd_bus_message_append(m, "{sv}", "category", "s", row->category);
        if (r >= 0)
                r = append_figures(m, &row->figures);
        if (r >= 0 && !gfp_empty(&row->gfp))
                r = append_entry(m, append_gfp, row);
        if (r >= 0 && row->n_parts > 0)
                r = append_entry(m, append_nodes, row);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

static int append_row(sd_bus_message *m, const struct row *row) {
        const char *function = row->function ? row->function : "", *module = row->module ? row->module : "";
        const char *type = row->type < _TYPE_MAX ? site_type_to_string(row->type) : "";
        int r;

        r = sd_bus_message_open_container(m, 'r', "sustssbxxba{sv}");
        /* By an alloc tag: file and line; else function and offset. */
        if (r >= 0)
                r = sd_bus_message_append(m, "sustssbxxb", row->file ?: "", row->line, function, (uint64_t)row->offset, module,
                        type, row->charged, row->live_known ? figures_live_bytes(&row->figures) : INT64_C(0),
                        row->live_known ? figures_live_calls(&row->figures) : INT64_C(0), row->accurate);
        if (r >= 0)
                r = append_more(m, row);
        return r < 0 ? r : sd_bus_message_close_container(m);
}

/* Upper bounds of what a row takes in a message besides its texts: fixed members and names with their padding, and lists. */
#define ROW_BYTES 640
#define LIST_BYTES 48
#define FLAG_BYTES 32
#define PART_BYTES 24

static size_t row_size(const struct row *row) {
        struct gfp_names names;

        gfp_names(&row->gfp, &names);
        return ROW_BYTES + (names.n > 0 ? LIST_BYTES + names.n * FLAG_BYTES : 0) +
               (row->n_parts > 0 ? LIST_BYTES + row->n_parts * PART_BYTES : 0) + strlen(row->key) +
               (row->file ? strlen(row->file) : 0) + (row->function ? strlen(row->function) : 0) +
               (row->module ? strlen(row->module) : 0) + (row->category ? strlen(row->category) : 0);
}

#define NAME_BYTES 1024

static char *shown(bool known, const char *name) {
        return known ? text_escape(name, strlen(name), NAME_BYTES) : strdup("");
}

/*
 * A row of the kernel's own record: what it does not tell is "", 0 and false here, and not in the dictionary. Modules choose
 * its names, so they are escaped as in documents.
 */
static int append_record_row(sd_bus_message *m, const struct allocinfo_row *row, enum filter_group group) {
        bool site = group == GROUP_SITE;
        _cleanup_free_ char *whole = allocinfo_key(row, group), *key = whole ? shown(true, whole) : NULL,
                            *file = shown(site || group == GROUP_FILE, row->file),
                            *function = shown(site || group == GROUP_FUNCTION, row->function),
                            *module = shown(site || group == GROUP_MODULE, row->module);

        if (!key || !file || !function || !module)
                return -ENOMEM;
        return sd_bus_message_append(m, "(sustssbxxba{sv})", file, site ? (uint32_t)row->line : 0u, function, UINT64_C(0),
                module, "", false, row->bytes, row->calls, row->accurate, 2, "key", "s", key, "tags", "x", (int64_t)row->tags);
}

static int append_rows(sd_bus_message *reply, const struct summary *summary) {
        const struct allocinfo *record = summary->record;
        int r;

        r = sd_bus_message_open_container(reply, 'a', "(sustssbxxba{sv})");
        for (size_t i = 0; r >= 0 && i < summary->n_rows; i++)
                r = append_row(reply, summary->rows + i);
        for (size_t i = 0; r >= 0 && record && i < record->n_rows; i++)
                r = append_record_row(reply, record->rows + i, record->group);
        return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int method_get_sites(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *reply = NULL;
        _cleanup_(summary_freep) struct summary *summary = NULL;
        size_t bytes = 0;
        int r;

        r = read_summary(m, userdata, &summary, error);
        if (r < 0)
                return r;
        for (size_t i = 0; i < summary->n_rows; i++)
                bytes += row_size(summary->rows + i);
        bytes += summary->record ? summary->record->n_rows * ROW_BYTES : 0;
        if (bytes > BUS_REPLY_MAX)
                return too_large(error);
        r = sd_bus_message_new_method_return(m, &reply);
        if (r >= 0)
                r = append_rows(reply, summary);
        return r < 0 ? r : sd_bus_send(NULL, reply, NULL);
}

static int method_reset(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        struct view *v = userdata;
        int r;

        r = bus_options_none(m, error);
        if (r < 0)
                return r;
        if (v->registration->ended)
                return bus_error_set(error, -ENODEV, "The profile has ended; a new baseline would have nothing to measure.");
        manager_save(v->registration->owner); /* groups are wiped when there are none left */
        r = profile_reset(v->registration->profile);
        if (r < 0)
                return bus_error_set(error, r,
                        r == -ENODEV ? "The cgroup is gone; there is no new baseline to take."
                        : r == -EOPNOTSUPP
                                ? "The host's profile is the kernel's own record on this machine; it has no baseline."
                                : NULL);
        registration_changed(v->registration);
        manager_save(v->registration->owner);
        return sd_bus_reply_method_return(m, NULL);
}

/* Properties */

static int property_text(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
        void *userdata, sd_bus_error *error) {
        const struct view *v = userdata;
        const struct registration *r = v->registration;
        const char *value;

        if (streq(property, "Kind"))
                value = v->kind;
        else if (streq(property, "Id"))
                value = v->id;
        else if (streq(property, "Cgroup"))
                value = r->cgroup;
        else if (streq(property, "Mode"))
                value = mode_to_string(r->mode);
        else
                value = profile_state_to_string(profile_state(r->profile));
        return sd_bus_message_append(reply, "s", value);
}

static int property_cgroup_id(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
        void *userdata, sd_bus_error *error) {
        return sd_bus_message_append(reply, "t", ((struct view *)userdata)->registration->cgroup_id);
}

static int property_totals(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
        void *userdata, sd_bus_error *error) {
        struct profile_totals totals;
        int r;

        r = profile_totals(profile_of(userdata), &totals);
        if (r < 0)
                return bus_error_set(error, r, NULL);
        if (streq(property, "LostEvents"))
                return sd_bus_message_append(reply, "t", totals.lost);
        return sd_bus_message_append(reply, "x", streq(property, "LiveBytes") ? totals.live_bytes : totals.live_calls);
}

int profile_object_find(
        sd_bus *bus, const char *path, const char *interface, void *userdata, void **ret_found, sd_bus_error *error) {
        struct view *v = registry_by_path(manager_registry(userdata), path);

        if (!v)
                return 0;
        *ret_found = v;
        return 1;
}

#define CONSTANT SD_BUS_VTABLE_PROPERTY_CONST
#define CHANGES SD_BUS_VTABLE_PROPERTY_EMITS_CHANGE
/* Each of these reads the kernel's tables: they are given when asked for by name, and not with every GetAll. */
#define ON_REQUEST SD_BUS_VTABLE_PROPERTY_EXPLICIT

const sd_bus_vtable profile_vtable[] = {
        SD_BUS_VTABLE_START(0),
        SD_BUS_PROPERTY("Kind", "s", property_text, 0, CONSTANT),
        SD_BUS_PROPERTY("Id", "s", property_text, 0, CONSTANT),
        SD_BUS_PROPERTY("Cgroup", "s", property_text, 0, CONSTANT),
        SD_BUS_PROPERTY("State", "s", property_text, 0, CHANGES),
        SD_BUS_PROPERTY("Mode", "s", property_text, 0, CHANGES),
        SD_BUS_PROPERTY("CgroupId", "t", property_cgroup_id, 0, CONSTANT),
        SD_BUS_PROPERTY("LiveBytes", "x", property_totals, 0, ON_REQUEST),
        SD_BUS_PROPERTY("LiveCalls", "x", property_totals, 0, ON_REQUEST),
        SD_BUS_PROPERTY("LostEvents", "t", property_totals, 0, ON_REQUEST),
        SD_BUS_METHOD_WITH_ARGS(
                "GetSummary", SD_BUS_ARGS("a{sv}", filter), SD_BUS_RESULT("s", json), method_get_summary, RIGHTS_ASKED),
        SD_BUS_METHOD_WITH_ARGS("GetSites", SD_BUS_ARGS("a{sv}", filter), SD_BUS_RESULT("a(sustssbxxba{sv})", sites),
                method_get_sites, RIGHTS_ASKED),
        SD_BUS_METHOD_WITH_ARGS(
                "Dump", SD_BUS_ARGS("s", document, "a{sv}", filter), SD_BUS_RESULT("h", fd), method_dump, RIGHTS_ASKED),
        SD_BUS_METHOD_WITH_ARGS("Reset", SD_BUS_ARGS("a{sv}", options), SD_BUS_NO_RESULT, method_reset, RIGHTS_ASKED),
        SD_BUS_VTABLE_END,
};

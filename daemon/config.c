/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* See config.h: the table of keys, and one key at a time. Which files there are is config-files.c's. */
#include "config-private.h"
#include "config-value.h"
#include "group.h"
#include "text.h"

#define GROUPS_LIMIT 16384
#define TABLE_LIMIT (1 << 22)
#define SHOWN 64 /* bytes of a wrong word that a sentence repeats */
#define SECONDS(n) ((uint64_t)(n)*1000000)
#define MINUTES(n) SECONDS(60 * (uint64_t)(n))
#define DAYS(n) MINUTES(24 * 60 * (uint64_t)(n))

/* As spec.c, group.h and state-dir.c have it where they are used without a configuration; tests hold them together. */
const struct config config_default = {
        .caps = {.min_sample = 64 * 1024},
        .groups_max = GROUPS_MAX_DEFAULT,
        .reports_count = 1000,
        .reports_bytes = UINT64_C(512) << 20,
        .reports_age_usec = DAYS(90),
        .settle_usec = SECONDS(1),
        .residue_keep_usec = MINUTES(10),
        .cpu_budget = 200,
        .lease_usec = MINUTES(10),
        .idle_usec = MINUTES(5),
};

struct key {
        const char *section, *name;
        size_t offset; /* of a bool or a uint64_t in struct config */
        struct config_range range;
        bool left_open; /* 0 is the default and means: as somebody else has it */
};

#define AT(member) offsetof(struct config, member)

static const struct key keys[] = {
        {"Annotations", "AllowSingle", AT(caps.allow_single), {CONFIG_BOOL, 0, 1}, false},
        {"Annotations", "AllowStacksAll", AT(caps.allow_stacks_all), {CONFIG_BOOL, 0, 1}, false},
        {"Annotations", "MinSample", AT(caps.min_sample), {CONFIG_SIZE, 1, UINT64_C(1) << 30}, false},
        {"Annotations", "AllowRequired", AT(caps.allow_required), {CONFIG_BOOL, 0, 1}, false},
        {"Pools", "GroupsMax", AT(groups_max), {CONFIG_COUNT, 1, GROUPS_LIMIT}, false},
        {"Pools", "ObjectsMax", AT(objects_max), {CONFIG_COUNT, 1, TABLE_LIMIT}, true},
        {"Pools", "SitesMax", AT(sites_max), {CONFIG_COUNT, 1, TABLE_LIMIT}, true},
        {"Pools", "StacksMax", AT(stacks_max), {CONFIG_COUNT, 1, TABLE_LIMIT}, true},
        {"Reports", "CountMax", AT(reports_count), {CONFIG_COUNT, 1, CONFIG_INFINITY}, false},
        {"Reports", "BytesMax", AT(reports_bytes), {CONFIG_SIZE, 1 << 20, CONFIG_INFINITY}, false},
        {"Reports", "AgeMax", AT(reports_age_usec), {CONFIG_SPAN, MINUTES(1), CONFIG_INFINITY}, false},
        {"Profiles", "SettleTime", AT(settle_usec), {CONFIG_SPAN, 0, MINUTES(10)}, false},
        {"Profiles", "ResidueKeep", AT(residue_keep_usec), {CONFIG_SPAN, 0, CONFIG_INFINITY}, false},
        {"Profiles", "CpuBudget", AT(cpu_budget), {CONFIG_SHARE, 1, 10000}, false},
        {"Profiles", "Lease", AT(lease_usec), {CONFIG_SPAN, SECONDS(1), CONFIG_INFINITY}, false},
        {"Daemon", "IdleExit", AT(idle_usec), {CONFIG_SPAN, 0, CONFIG_INFINITY}, false},
};

static uint64_t get(const struct config *c, const struct key *k) {
        const char *p = (const char *)c + k->offset;

        return k->range.kind == CONFIG_BOOL ? *(const bool *)p : *(const uint64_t *)(const void *)p;
}

static void set(struct config *c, const struct key *k, uint64_t value) {
        char *p = (char *)c + k->offset;

        if (k->range.kind == CONFIG_BOOL)
                *(bool *)p = value;
        else
                *(uint64_t *)(void *)p = value;
}

bool config_has_section(const char *section) {
        for (size_t i = 0; i < ELEMENTS(keys); i++)
                if (streq(keys[i].section, section))
                        return true;
        return false;
}

/* Whose place is another section is the usual mistake, and worth a word. */
static const struct key *find(const char *section, const char *name, const char **ret_elsewhere) {
        for (size_t i = 0; i < ELEMENTS(keys); i++)
                if (streq(keys[i].name, name)) {
                        if (streq(keys[i].section, section))
                                return &keys[i];
                        *ret_elsewhere = keys[i].section;
                }
        return NULL;
}

static int no_such_key(const char *section, const char *name, const char *elsewhere, char **reterr) {
        _cleanup_free_ char *shown = text_escape(name, strlen(name), SHOWN);

        if (elsewhere)
                return fail(reterr, -ENOENT, "%s= belongs to the section [%s], not to [%s].", name, elsewhere, section);
        return fail(reterr, -ENOENT, "The section [%s] has no key '%s'.", section, shown ? shown : "?");
}

int config_set(struct config *c, const char *section, const char *name, const char *text, char **reterr) {
        _cleanup_free_ char *wanted = NULL, *shown = NULL;
        const char *elsewhere = NULL;
        const struct key *k = find(section, name, &elsewhere);
        uint64_t value;

        if (!k)
                return no_such_key(section, name, elsewhere, reterr);
        if (!*text) {
                set(c, k, get(&config_default, k));
                return 0;
        }
        if (config_value_parse(&k->range, text, &value, &wanted) < 0) {
                shown = text_escape(text, strlen(text), SHOWN);
                return fail(reterr, -EINVAL, "%s= takes %s, not '%s'.", k->name, wanted ? wanted : "something else",
                        shown ? shown : "?");
        }
        set(c, k, value);
        return 0;
}

static int append_key(FILE *f, const struct config *c, const struct key *k) {
        uint64_t value = get(c, k);
        _cleanup_free_ char *text = k->left_open && value == 0 ? strdup("") : config_value_format(k->range.kind, value);

        return text && fprintf(f, "%s=%s\n", k->name, text) >= 0 ? 0 : -ENOMEM;
}

char *config_format(const struct config *c) {
        _cleanup_free_ char *text = NULL;
        const char *section = "";
        size_t n;
        FILE *f = open_memstream(&text, &n);
        int r = f ? 0 : -ENOMEM;

        for (size_t i = 0; r >= 0 && i < ELEMENTS(keys); i++) {
                if (!streq(section, keys[i].section) && fprintf(f, "%s[%s]\n", *section ? "\n" : "", keys[i].section) < 0)
                        r = -ENOMEM;
                section = keys[i].section;
                if (r >= 0)
                        r = append_key(f, c, &keys[i]);
        }
        if (f && fclose(f) != 0)
                r = -ENOMEM;
        return r < 0 ? NULL : TAKE(text);
}

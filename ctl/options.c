/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The option parser. Not getopt: the filter's options come from the filter's own table, sentences are ours, and a short option
 * is another name of a long one.
 */
#include "options.h"
#include "spec.h"
#include "text.h"
#include "verb.h"

#define SHOWN_MAX 64 /* bytes of an offending word that a sentence repeats */

#define BUS_DEFAULT "unix:path=/run/dbus/system_bus_socket"
#define STATE_DIR_DEFAULT "/var/lib/memcgprof"
#define PINS_DIR_DEFAULT "/sys/fs/bpf/memcgprof"

enum {
        OPTION_BUS,
        OPTION_JSON,
        OPTION_TREE,
        OPTION_ONCE,
        OPTION_SPEC,
        OPTION_OUTPUT,
        OPTION_STATE_DIR,
        OPTION_PINS,
        OPTION_ROOT,
        OPTION_HELP,
        OPTION_VERSION
};

const struct option options_table[] = {
        [OPTION_BUS] = {0, "bus", "ADDRESS", 0, "D-Bus address of the daemon's bus (default: the system bus)"},
        [OPTION_JSON] = {0, "json", NULL, TAKES_JSON, "print the JSON document, not a table"},
        [OPTION_TREE] = {'t', "tree", NULL, TAKES_FILTER, "sites as a tree of source directories, or of categories"},
        [OPTION_ONCE] = {'o', "once", NULL, TAKES_FILTER, "print once, which is all that is done (for scripts of alloctop)"},
        [OPTION_SPEC] = {0, "spec", "SPEC", TAKES_RUN, "how to profile the command (default: auto)"},
        [OPTION_OUTPUT] = {0, "output", "FILE", TAKES_RUN, "also write the JSON document to FILE"},
        [OPTION_STATE_DIR] = {0, "state-dir", "DIR", TAKES_STATE, "the daemon's state (default: " STATE_DIR_DEFAULT ")"},
        [OPTION_PINS] = {0, "pins", "DIR", TAKES_PINS, "what the daemon counts by (default: " PINS_DIR_DEFAULT ")"},
        [OPTION_ROOT] = {0, "root", "DIR", TAKES_ROOT, "read DIR/proc instead of /proc"},
        [OPTION_HELP] = {'h', "help", NULL, 0, "print this text, or the one of the verb"},
        [OPTION_VERSION] = {0, "version", NULL, 0, "print the version"},
};

const size_t options_count = ELEMENTS(options_table);

static const char filter_letters[_FILTER_KEY_MAX] = {[FILTER_LIMIT] = 'n', [FILTER_SORT] = 's', [FILTER_MIN_SIZE] = 'm'};

/* alloctop's letters for the order: size, calls, tag. */
static const struct { const char *letter, *word; } sort_letters[] = {{"s", "bytes"}, {"c", "calls"}, {"t", "name"}};

char options_letter(enum filter_key key) {
        return filter_letters[key];
}

char *options_filter_name(enum filter_key key) {
        char *name = strdup(filter_fields[key].name);

        for (char *p = name; p && *p; p++)
                if (*p == '_')
                        *p = '-';
        return name;
}

/* An option as found: one of options_table, or a filter key. */
struct found {
        int option; /* index, or -1 */
        int key;    /* enum filter_key, or -1 */
        unsigned takes;
        bool has_value;
};

static struct found found_option(size_t i) {
        return (struct found){i, -1, options_table[i].takes, options_table[i].metavar};
}

static struct found found_key(size_t key) {
        return (struct found){-1, key, TAKES_FILTER, true};
}

/* True when `word` (`n` bytes) is the filter key's name with dashes. */
static bool names_key(const char *word, size_t n, const char *key) {
        if (strlen(key) != n)
                return false;
        for (size_t i = 0; i < n; i++)
                if (word[i] != (key[i] == '_' ? '-' : key[i]))
                        return false;
        return true;
}

static int find_long(const char *word, size_t n, struct found *ret) {
        for (size_t i = 0; i < options_count; i++)
                if (strlen(options_table[i].name) == n && memcmp(options_table[i].name, word, n) == 0) {
                        *ret = found_option(i);
                        return 0;
                }
        for (size_t i = 0; i < _FILTER_KEY_MAX; i++)
                if (names_key(word, n, filter_fields[i].name)) {
                        *ret = found_key(i);
                        return 0;
                }
        return -ENOENT;
}

static int find_letter(char letter, struct found *ret) {
        for (size_t i = 0; i < options_count; i++)
                if (options_table[i].letter && options_table[i].letter == letter) {
                        *ret = found_option(i);
                        return 0;
                }
        for (size_t i = 0; i < _FILTER_KEY_MAX; i++)
                if (filter_letters[i] && filter_letters[i] == letter) {
                        *ret = found_key(i);
                        return 0;
                }
        return -ENOENT;
}

static int refuse(char **reterr, const char *word, const char *why) {
        _cleanup_free_ char *shown = text_escape(word, strlen(word), SHOWN_MAX);

        return fail(reterr, -EINVAL, "%s %s", shown ? shown : "?", why);
}

static int store_option(struct options *o, int option, const char *value) {
        switch (option) {
        case OPTION_BUS:
                o->bus = value;
                break;
        case OPTION_SPEC:
                o->spec = value;
                break;
        case OPTION_OUTPUT:
                o->output = value;
                break;
        case OPTION_PINS:
                o->pins = value;
                break;
        case OPTION_STATE_DIR:
                o->state_dir = value;
                break;
        case OPTION_ROOT:
                o->root = value;
                break;
        case OPTION_JSON:
                o->json = true;
                break;
        case OPTION_TREE:
                o->tree = true;
                break;
        case OPTION_ONCE:
                break;
        case OPTION_HELP:
                o->help = true;
                break;
        case OPTION_VERSION:
                o->version = true;
                break;
        default:
                return -EINVAL;
        }
        return 0;
}

static int store(struct options *o, const struct found *f, const char *value, char **reterr) {
        if (f->option >= 0)
                return store_option(o, f->option, value);
        if (f->key == FILTER_SORT)
                for (size_t i = 0; i < ELEMENTS(sort_letters); i++)
                        if (streq(value, sort_letters[i].letter))
                                value = sort_letters[i].word;
        return filter_set_text(&o->filter, filter_fields[f->key].name, value, reterr);
}

/* What is being parsed: the words that are left, and which groups of options came. */
struct cursor {
        char **argv;
        int argc, next;
        unsigned seen;          /* groups */
        const char *seen_as[8]; /* the word that brought each group, by bit */
};

static void note_group(struct cursor *c, unsigned takes, const char *word) {
        for (size_t bit = 0; bit < ELEMENTS(c->seen_as); bit++)
                if (takes & 1u << bit)
                        c->seen_as[bit] = word;
        c->seen |= takes;
}

/* The value that follows a name: what is attached to it, or the next word. */
static int take_value(struct cursor *c, const char *word, const char *attached, const char **ret, char **reterr) {
        if (!attached && c->next >= c->argc)
                return refuse(reterr, word, "needs a value.");
        *ret = attached ? attached : c->argv[c->next++];
        return 0;
}

static int parse_long(struct cursor *c, struct options *o, const char *word, char **reterr) {
        const char *name = word + 2, *equals = strchr(name, '='), *value = equals ? equals + 1 : NULL;
        struct found f;
        int r;

        if (find_long(name, equals ? (size_t)(equals - name) : strlen(name), &f) < 0)
                return refuse(reterr, word, "is no option of memcgprof.");
        if (!f.has_value && value)
                return refuse(reterr, word, "takes no value.");
        if (f.has_value) {
                r = take_value(c, word, value, &value, reterr);
                if (r < 0)
                        return r;
        }
        note_group(c, f.takes, word);
        return store(o, &f, value, reterr);
}

/* "-n5", "-n 5"; letters without a value may stand together. */
static int parse_short(struct cursor *c, struct options *o, const char *word, char **reterr) {
        for (const char *p = word + 1; *p; p++) {
                const char *value = NULL;
                struct found f;
                int r;

                if (find_letter(*p, &f) < 0)
                        return refuse(reterr, word, "is no option of memcgprof.");
                if (f.has_value) {
                        r = take_value(c, word, p[1] ? p + 1 : NULL, &value, reterr);
                        if (r < 0)
                                return r;
                }
                note_group(c, f.takes, word);
                r = store(o, &f, value, reterr);
                if (r < 0 || f.has_value)
                        return r;
        }
        return 0;
}

static int parse_verb(struct options *o, const char *word, char **reterr) {
        o->verb = verb_find(word);
        if (!o->verb)
                return refuse(reterr, word, "is no verb of memcgprof; \"memcgprof --help\" lists them.");
        return 0;
}

/* Sorts the words: options are stored, the verb is looked up, arguments are gathered at the front of argv. */
static int parse_words(struct cursor *c, struct options *o, char **reterr) {
        bool options_end = false;
        int r;

        while (c->next < c->argc) {
                char *word = c->argv[c->next++];

                if (!options_end && streq(word, "--")) {
                        options_end = true;
                        continue;
                }
                if (!options_end && startswith(word, "-") && word[1]) {
                        r = startswith(word, "--") ? parse_long(c, o, word, reterr) : parse_short(c, o, word, reterr);
                        if (r < 0)
                                return r;
                        continue;
                }
                if (!o->verb) {
                        r = parse_verb(o, word, reterr);
                        if (r < 0)
                                return r;
                        continue;
                }
                o->args[o->n_args++] = word;
                options_end = options_end || o->verb->takes & TAKES_RUN;
        }
        o->args[o->n_args] = NULL;
        return 0;
}

static int check_verb(const struct cursor *c, const struct options *o, char **reterr) {
        const struct verb *v = o->verb;
        unsigned foreign = c->seen & ~v->takes;
        struct spec spec;

        for (size_t bit = 0; bit < ELEMENTS(c->seen_as); bit++)
                if (foreign & 1u << bit) {
                        _cleanup_free_ char *shown = text_escape(c->seen_as[bit], strlen(c->seen_as[bit]), SHOWN_MAX);

                        return fail(
                                reterr, -EINVAL, "\"memcgprof %s\" does not take the option %s.", v->name, shown ? shown : "?");
                }
        if (o->n_args < v->min_args)
                return fail(reterr, -EINVAL, "\"memcgprof %s\" needs %s.", v->name, v->args);
        if (v->max_args == 0 && o->n_args > 0)
                return fail(reterr, -EINVAL, "\"memcgprof %s\" takes no argument.", v->name);
        if (v->max_args >= 0 && o->n_args > v->max_args)
                return fail(reterr, -EINVAL, "\"memcgprof %s\" takes no more than %s.", v->name, v->args);
        if (o->spec && spec_parse(o->spec, &spec, reterr) < 0)
                return -EINVAL;
        if (filter_check(&o->filter, reterr) < 0)
                return -EINVAL;
        if (o->tree && o->json)
                return fail(reterr, -EINVAL, "A tree is for people: --tree and --json do not go together.");
        if (o->tree && filter_group(&o->filter) != GROUP_SITE)
                return fail(reterr, -EINVAL, "A tree is made of sites: --tree and --group-by do not go together.");
        if (!(v->takes & TAKES_FILTER))
                return 0;
        return (v->check_filter ?: filter_check_summary)(&o->filter, reterr);
}

int options_parse(int argc, char **argv, struct options *ret, char **reterr) {
        struct cursor c = {.argv = argv, .argc = argc, .next = 1};
        int r;

        /* Arguments move to the front as they are found; they never overtake the word that is read next. */
        *ret = (struct options){
                .bus = BUS_DEFAULT, .state_dir = STATE_DIR_DEFAULT, .pins = PINS_DIR_DEFAULT, .root = "", .args = argv};
        r = parse_words(&c, ret, reterr);
        if (r < 0 || ret->help || ret->version)
                return r;
        if (!ret->verb)
                return fail(reterr, -EINVAL, "A verb is needed; \"memcgprof --help\" lists them.");
        return check_verb(&c, ret, reterr);
}

void options_done(struct options *o) {
        filter_done(&o->filter);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kill switch. It must work when the daemon does not: what counts is held by pins in a BPF file system then, which are
 * taken away, and the mode is noted where the daemon's next start reads it.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "client.h"
#include "pins.h"
#include "verb.h"

#define TEMPORARY ".tmp-mode" /* the daemon removes what an interrupted writer left under this name */

static int tell_daemon(const struct options *o, char **reterr) {
        _cleanup_(client_freep) struct client *c = NULL;
        int r = client_new(o->bus, &c, reterr);

        return r < 0 ? r : client_set_mode(c, "off", reterr);
}

static int write_word(int dirfd, const char *name) {
        static const char word[] = "off\n";
        _cleanup_close_ int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

        if (fd < 0)
                return -errno;
        if (write(fd, word, strlen(word)) != (ssize_t)strlen(word))
                return -EIO;
        return fsync(fd) < 0 ? -errno : 0;
}

/* One word in DIR/mode, as the daemon writes it: complete and on disk, or not there. */
static int replace_mode(const char *dir) {
        _cleanup_close_ int dirfd = -1;
        int r;

        if (mkdir(dir, 0700) < 0 && errno != EEXIST)
                return -errno;
        dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dirfd < 0)
                return -errno;
        r = write_word(dirfd, TEMPORARY);
        if (r >= 0 && renameat(dirfd, TEMPORARY, dirfd, "mode") < 0)
                r = -errno;
        if (r < 0)
                (void)unlinkat(dirfd, TEMPORARY, 0);
        else
                (void)fsync(dirfd); /* the name has to survive a crash as well */
        return r;
}

static int note_mode(const struct options *o, char **reterr) {
        int r = replace_mode(o->state_dir);

        return r < 0 ? fail(reterr, r, "The mode off cannot be noted in %s: %s.", o->state_dir, strerror(-r)) : 0;
}

/* Without a daemon. */
static int switch_off(const struct options *o, int error, const char *no_daemon) {
        _cleanup_free_ char *why = NULL;
        int r = error == -ENXIO ? pins_drop(o->pins, &why) : -EBUSY; /* one that does not answer holds them by itself */

        if (r == -EBUSY) {
                verb_note("%s Its next start finds the mode off in %s, but what it has attached stays until it ends: kill it.",
                        no_daemon, o->state_dir);
                return EXIT_FAILURE;
        }
        if (r < 0)
                return verb_complain(r, why);
        verb_note("%s %s; its next start finds the mode off in %s.", no_daemon,
                r > 0 ? "What it had left attached is detached" : "Nothing is attached", o->state_dir);
        return EXIT_SUCCESS;
}

int verb_off(const struct options *o) {
        _cleanup_free_ char *no_daemon = NULL, *why = NULL;
        int r = tell_daemon(o, &no_daemon), noted;

        if (r >= 0)
                return EXIT_SUCCESS;
        if (r != -ENXIO && r != -ETIMEDOUT)
                return verb_complain(r, no_daemon);
        noted = note_mode(o, &why);
        if (noted < 0)
                return verb_complain(noted, why);
        return switch_off(o, r, no_daemon);
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The verb run: the engine in this process, a memory cgroup made for one command, and the command in it from its first
 * instruction. Needs neither daemon nor container.
 *
 * Invariants: the command runs only when it is profiled; the group is removed on every way out; what is printed is printed
 * when the group has gone, so that a broken pipe cannot leave one behind.
 */
#include <fcntl.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>

#include "command.h"
#include "document.h"
#include "profile.h"
#include "render.h"
#include "report.h"
#include "summary.h"
#include "text.h"
#include "verb.h"

#define KALLSYMS "/proc/kallsyms"
#define PROCS_MAX (1 << 20) /* bytes of cgroup.procs that are counted */

/*
 * RCU grace periods to wait for before the last reading, some 20 ms each. What an exiting process frees goes through call_rcu,
 * some of it twice (an inode behind its dentry), and would be shown as residue: ten times "ls -lR" of a small tree showed 53 to
 * 125 KiB without waiting, 8 to 64 KiB after one period and below 1 KiB after three.
 */
#define GRACE_PERIODS 3

struct run {
        const struct options *options;
        struct spec spec;
        int output_fd;
        struct engine *engine;
        struct cgroup *cgroup; /* NULL once the profile has it */
        struct profile *profile;
        struct command command;
        bool parked;
        int status; /* of the command */
};

static const struct cgroup *run_cgroup(const struct run *run) {
        return run->profile ? profile_cgroup(run->profile) : run->cgroup;
}

/* Removes the group: the profile lets go of it first, but the directory has to stay open for that long. */
static int remove_group(struct run *run, char **reterr) {
        _cleanup_(cgroup_freep) struct cgroup *again = NULL;
        const struct cgroup *c = run_cgroup(run);
        uint64_t id;
        int r;

        if (!c)
                return 0;
        id = c->id;
        r = cgroup_open(engine_cgroups(run->engine), c->path, &again, reterr);
        if (run->profile)
                run->profile = profile_free(run->profile);
        if (run->cgroup)
                run->cgroup = cgroup_free(run->cgroup);
        if (r == -ENOENT || (r >= 0 && again->id != id)) /* somebody else was faster */
                return 0;
        return r < 0 ? r : cgroup_remove(engine_cgroups(run->engine), again, reterr);
}

static void run_done(struct run *run) {
        _cleanup_free_ char *why = NULL;

        /* The child first: it is in the group. */
        if (run->parked)
                command_done(&run->command);
        if (remove_group(run, &why) < 0)
                verb_note("%s", why ? why : "The cgroup could not be removed.");
        if (run->engine)
                engine_free(run->engine);
        closep(&run->output_fd);
}

static int check_spec(const char *text, struct spec *ret, char **reterr) {
        struct spec_gap gaps[SPEC_GAPS_MAX];
        int r = spec_parse(text, ret, reterr);

        if (r < 0)
                return r;
        if (ret->mode == MODE_OFF)
                return fail(reterr, -EINVAL, "With the spec \"off\" there is nothing to profile.");
        if (ret->required && spec_gaps(ret, gaps) > 0)
                return fail(reterr, -EOPNOTSUPP, "%s is required and not available: %s", gaps[0].word, gaps[0].reason);
        return 0;
}

/* The file is opened before the command runs and emptied when there is something to write. */
static int open_output(struct run *run, char **reterr) {
        const char *path = run->options->output;

        if (!path)
                return 0;
        run->output_fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY, 0666);
        return run->output_fd < 0 ? fail(reterr, -errno, "%s cannot be written: %s.", path, strerror(errno)) : 0;
}

static int make_engine(struct run *run, char **reterr) {
        _cleanup_(tracker_freep) struct tracker *tracker = NULL;
        const struct tracker_options ordinary = {};
        int r = tracker_bpf_new(&ordinary, &tracker, reterr);

        if (r >= 0)
                r = engine_new(tracker, KALLSYMS, &run->engine, reterr);
        if (r >= 0)
                (void)TAKE(tracker);
        return r;
}

static int make_group(struct run *run, char **reterr) {
        _cleanup_free_ char *name = format("memcgprof-run-%d", getpid());
        struct group_request q = {.name = name, .wanted = run->spec.mode};
        struct groups_leaving leaving; /* nobody: the engine is this program's own */
        int r = name ? cgroup_create(engine_cgroups(run->engine), name, &run->cgroup, reterr) : -ENOMEM;

        if (r < 0)
                return r;
        q.id = run->cgroup->id;
        return groups_admit(engine_groups(run->engine), &q, &leaving, reterr);
}

static int enter_group(const struct cgroup *c, pid_t pid, char **reterr) {
        _cleanup_close_ int fd = openat(c->fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);

        if (fd < 0 || dprintf(fd, "%d\n", pid) < 0)
                return fail(reterr, -errno, "The command cannot be put into the cgroup %s: %s.", c->path, strerror(errno));
        return 0;
}

static int begin_profile(struct run *run, char **reterr) {
        struct profile_label label = {
                .kind = "run",
                .id = strdup(run->options->args[0]), /* not its arguments: they may hold secrets */
                .started_by = "cli",
                .from_start = true,
                .spec = run->spec,
        };
        int r;

        if (!label.id)
                return -ENOMEM;
        label.n_gaps = spec_gaps(&run->spec, label.gaps);
        r = profile_start(run->engine, run->cgroup, &label, &run->profile, reterr);
        if (r < 0)
                profile_label_done(&label);
        else
                run->cgroup = NULL;
        return r;
}

/* All that has to stand before the first instruction. */
static int prepare(struct run *run, char **reterr) {
        int r;

        if (geteuid() != 0)
                return fail(reterr, -EPERM, "Only root can run a command profiled: it takes a memory cgroup and BPF programs.");
        r = check_spec(run->options->spec ? run->options->spec : "auto", &run->spec, reterr);
        if (r >= 0)
                r = open_output(run, reterr);
        if (r >= 0)
                r = make_engine(run, reterr);
        if (r < 0)
                return r;
        /* From here on no signal ends this process: there is a group to remove. */
        run->parked = true;
        r = command_park(run->options->args, &run->command, reterr);
        if (r >= 0)
                r = make_group(run, reterr);
        if (r >= 0)
                r = enter_group(run->cgroup, run->command.pid, reterr);
        return r < 0 ? r : begin_profile(run, reterr);
}

/* For command_wait: does the sender of a signal live in the command's group? */
static bool is_inside(pid_t sender, void *data) {
        const struct run *run = data;
        const char *group = profile_cgroup(run->profile)->path;
        _cleanup_free_ char *path = NULL;
        size_t n = strlen(group);

        return cgroup_path_of_pid(sender, &path, NULL) >= 0 && startswith(path, group) && (path[n] == '\0' || path[n] == '/');
}

static void note_leftovers(const struct cgroup *c) {
        _cleanup_free_ char *text = NULL;
        size_t n = 0;

        if (text_read_file(c->fd, "cgroup.procs", PROCS_MAX, &text, NULL) < 0)
                return;
        for (const char *p = text; (p = strchr(p, '\n')); p++)
                n++;
        if (n > 0)
                verb_note("The command left %zu process%s behind: still counted, and moved out of its cgroup now.", n,
                        n == 1 ? "" : "es");
}

/* Waits for what the exit of the command still has to free; see GRACE_PERIODS. Kernels without it are read at once. */
static void settle(void) {
        for (int i = 0; i < GRACE_PERIODS; i++)
                if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) < 0)
                        return;
}

static int summarize(struct run *run, json_t **ret, char **reterr) {
        _cleanup_(summary_freep) struct summary *summary = NULL;
        _cleanup_free_ char *text = NULL;
        int r;

        settle();
        note_leftovers(run_cgroup(run));
        r = profile_note_counters(run->profile);
        if (r < 0)
                return fail(reterr, r, "The memory counters of the cgroup cannot be read: %s.", strerror(-r));
        profile_mark_ended(run->profile);
        r = profile_summary(run->profile, &run->options->filter, &summary, reterr);
        if (r < 0)
                return r;
        text = report_summary(summary);
        return text ? document_parse(text, ret, reterr) : -ENOMEM;
}

static int write_output(struct run *run, const json_t *document, char **reterr) {
        _cleanup_fclose_ FILE *out = NULL;

        (void)!ftruncate(run->output_fd, 0); /* a pipe or device has no length */
        out = fdopen(run->output_fd, "w");
        if (!out)
                return -ENOMEM;
        run->output_fd = -1;
        if (document_print(out, document) < 0 || fflush(out) != 0 || ferror(out))
                return fail(reterr, -EIO, "%s cannot be written: %s.", run->options->output, strerror(errno));
        return 0;
}

static int print(struct run *run, const json_t *document, char **reterr) {
        const struct options *o = run->options;
        int r = 0;

        if (o->output)
                r = write_output(run, document, reterr);
        if (o->json)
                return r < 0 || o->output ? r : document_print(stdout, document);
        fputc('\n', stderr);
        return r < 0 ? r : render_summary(stderr, document, verb_how(o, stderr));
}

/* From the release to the printed summary. run->status is that of the command. */
static int measure(struct run *run, char **reterr) {
        _cleanup_(document_unrefp) json_t *document = NULL;
        _cleanup_free_ char *why = NULL;
        int error, r = command_release(&run->command, reterr);

        if (r >= 0)
                r = command_wait(&run->command, is_inside, run, &run->status, &error);
        if (r < 0)
                return r;
        if (error) {
                verb_note("%s cannot be executed: %s.", run->options->args[0], strerror(error));
                return 0;
        }
        r = summarize(run, &document, reterr);
        if (remove_group(run, &why) < 0)
                verb_note("%s", why ? why : "The cgroup could not be removed.");
        return r < 0 ? r : print(run, document, reterr);
}

int verb_run(const struct options *o) {
        _cleanup_(run_done) struct run run = {.options = o, .output_fd = -1, .command = {.fd = -1}};
        _cleanup_free_ char *why = NULL;
        int r = prepare(&run, &why);

        if (r < 0)
                return verb_complain(r, why);
        r = measure(&run, &why);
        if (r < 0)
                verb_complain(r, why);
        /* A failing command's status is never hidden, and neither is a lost summary. */
        return r < 0 && run.status == EXIT_SUCCESS ? EXIT_FAILURE : run.status;
}

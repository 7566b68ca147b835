/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * memcgprof-hook: tells the daemon of a container that wants to be profiled, before its first instruction, and of its end.
 *
 * Invariants: it fails open, that is with status 0, unless the annotation says `required`; it ends within its deadline
 * whatever stands still; it starts no process, asks no environment variable and prints one line at most. Whoever wrote the
 * state waits for us, so it is read to its end even when it is refused.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <syslog.h>
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>

#include "call.h"
#include "deadline.h"
#include "oci-state.h"
#include "spec.h"

#define EXIT_REFUSED 1
#define EXIT_USAGE 64

#define LINE_MAX_BYTES 1024 /* of the line on standard error: below PIPE_BUF, so that it is written whole or not at all */

static const char help[] =
        "memcgprof-hook [--bus=ADDRESS]\n"
        "\n"
        "OCI hook (createRuntime, poststop): reads the OCI state on standard input and has memcgprofd profile the\n"
        "container if its annotation org.memcgprof.profile asks for it.\n"
        "\n"
        "  --bus=ADDRESS  the bus to use instead of " CALL_SYSTEM_BUS "\n"
        "  --help         show this text\n"
        "  --version      show the version\n"
        "\n"
        "Exit status: 0, also when it failed; 1 when it failed and the profile is required; 64 when run by hand.\n";

struct job {
        const char *address;
        char *label; /* the container's id for messages, or NULL */
        bool required;
};

static _printf_(1, 2) void say(const char *fmt, ...) {
        char line[LINE_MAX_BYTES];
        va_list ap;
        int n;

        va_start(ap, fmt);
        n = vsnprintf(line, sizeof(line), fmt, ap);
        va_end(ap);
        if (n < 0)
                return;
        if ((size_t)n >= sizeof(line))
                n = sizeof(line) - 1;
        line[n] = '\n';
        deadline_say(line, n + 1);
}

/* Standard error first: the journal can block, and then the alarm ends us with everything said. */
static void report(const struct job *job, const char *sentence) {
        int priority = job->required ? LOG_ERR : LOG_WARNING;

        say("memcgprof-hook: %s%s%s", job->label ? job->label : "", job->label ? ": " : "", sentence);
        deadline_phase(PHASE_JOURNAL);
        if (job->label)
                sd_journal_send(
                        "MESSAGE=%s: %s", job->label, sentence, "PRIORITY=%i", priority, "CONTAINER_ID=%s", job->label, NULL);
        else
                sd_journal_send("MESSAGE=%s", sentence, "PRIORITY=%i", priority, NULL);
}

/* Bytes read, 0 at the end; never waits longer than the soft deadline. */
static ssize_t read_some(char *buffer, size_t size, char **reterr) {
        struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
        uint64_t left = deadline_left_us();
        ssize_t n;

        if (left == 0 || poll(&in, 1, (left + 999) / 1000) == 0)
                return fail(reterr, -ETIMEDOUT, "The OCI state did not end within %u ms.", deadline_soft_ms());
        n = read(STDIN_FILENO, buffer, size);
        if (n < 0)
                return fail(reterr, -errno, "The OCI state cannot be read: %s.", strerror(errno));
        return n;
}

/* What is too long is still read to its end, and thrown away: a runtime takes a broken pipe for a failed hook. */
static int read_state(char **ret, size_t *ret_len, char **reterr) {
        const size_t size = OCI_STATE_MAX + 1;
        _cleanup_free_ char *text = malloc(size);
        size_t len = 0;

        if (!text)
                return -ENOMEM;
        for (;;) {
                bool full = len == size;
                char *to = full ? text : text + len;
                ssize_t n = read_some(to, full ? size : size - len, reterr);

                if (n < 0)
                        return n;
                if (n == 0)
                        break;
                if (!full)
                        len += n;
        }
        *ret = TAKE(text);
        *ret_len = len;
        return 0;
}

static int open_pid(pid_t pid, int *ret, char **reterr) {
        _cleanup_close_ int fd = pidfd_open(pid, 0);
        struct pollfd end = {.fd = fd, .events = POLLIN};

        if (fd < 0 && errno == ESRCH)
                return fail(reterr, -ESRCH, "The container's process %d is gone.", (int)pid);
        if (fd < 0)
                return fail(reterr, -errno, "The container's process %d cannot be opened: %s.", (int)pid, strerror(errno));
        if (poll(&end, 1, 0) > 0) /* not reaped yet, but ended */
                return fail(reterr, -ESRCH, "The container's process %d has ended.", (int)pid);
        *ret = TAKE_FD(fd);
        return 0;
}

static int stopped(const struct job *job, const struct oci_state *state, char **reterr) {
        const char *id;
        int r = oci_state_id(state, &id, reterr);

        return r < 0 ? r : call_stopped(job->address, id, reterr);
}

static int register_container(struct job *job, const struct oci_state *state, const char *spec, char **reterr) {
        struct call_container c = {.state = state, .spec = spec};
        _cleanup_close_ int pidfd = -1;
        int r = oci_state_id(state, &c.id, reterr);

        if (r >= 0)
                r = oci_state_pid(state, &c.pid, reterr);
        if (r >= 0)
                r = open_pid(c.pid, &pidfd, reterr);
        if (r < 0)
                return r;
        c.pidfd = pidfd;
        r = call_register(job->address, &c, reterr);
        if (r >= 0)
                deadline_settled();
        return r;
}

/* Whether the container may start without a profile is found out before anything else can fail. */
static int starting(struct job *job, const struct oci_state *state, char **reterr) {
        struct spec spec;
        const char *text;
        int r = oci_state_spec(state, &text, reterr);

        if (r <= 0 || oci_state_is_sandbox(state))
                return r < 0 ? r : 0;
        r = spec_parse(text, &spec, reterr);
        if (r >= 0 && spec.mode == MODE_OFF)
                return 0;
        if (r < 0 ? spec_says_required(text) : spec.required) {
                job->required = true;
                deadline_extend();
        }
        return r < 0 ? r : register_container(job, state, text, reterr);
}

static int run(struct job *job, char **reterr) {
        _cleanup_(oci_state_freep) struct oci_state *state = NULL;
        _cleanup_free_ char *text = NULL;
        enum oci_status status;
        size_t n;
        int r;

        r = read_state(&text, &n, reterr);
        if (r >= 0)
                r = oci_state_parse(text, n, &state, reterr);
        if (r < 0)
                return r;
        job->label = oci_state_label(state);
        r = oci_state_status(state, &status, reterr);
        if (r < 0)
                return r;
        return status == OCI_STOPPED ? stopped(job, state, reterr) : starting(job, state, reterr);
}

/* Files that we open must not become standard error by taking a free number. */
static void fill_standard_fds(void) {
        int fd;

        do
                fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        while (fd >= 0 && fd <= STDERR_FILENO);
        if (fd >= 0)
                close(fd);
}

static int usage(const char *why) {
        say("memcgprof-hook: %s; see memcgprof-hook --help.", why);
        return EXIT_USAGE;
}

/* 1 to go on, 0 when all is done. getopt_long() is out: it asks the environment. */
static int parse_options(int argc, char *argv[], struct job *job) {
        static const char bus[] = "--bus=";

        for (int i = 1; i < argc; i++) {
                if (startswith(argv[i], bus))
                        job->address = argv[i] + strlen(bus);
                else if (streq(argv[i], "--help"))
                        return fputs(help, stdout) < 0 ? -EIO : 0;
                else if (streq(argv[i], "--version"))
                        return puts("memcgprof-hook " MEMCGPROF_VERSION) < 0 ? -EIO : 0;
                else
                        return -EINVAL;
        }
        return 1;
}

int main(int argc, char *argv[]) {
        struct job job = {.address = CALL_SYSTEM_BUS};
        _cleanup_free_ char *sentence = NULL, *label = NULL;
        int r;

        deadline_arm();
        signal(SIGPIPE, SIG_IGN); /* its default would end us with a failure when nobody reads standard error */
        fill_standard_fds();
        r = parse_options(argc, argv, &job);
        if (r <= 0)
                return r == -EINVAL ? usage("An argument is not known") : r < 0;
        if (isatty(STDIN_FILENO))
                return usage("It is run by container runtimes, which write an OCI state to its standard input");
        r = run(&job, &sentence);
        label = job.label;
        if (r >= 0)
                return EXIT_SUCCESS;
        report(&job, sentence ? sentence : strerror(-r));
        return job.required ? EXIT_REFUSED : EXIT_SUCCESS;
}

/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Invariants: the handler touches nothing but sig_atomic_t, constants and async-signal-safe calls; no path through this file
 * blocks.
 */
#include <poll.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>

#include "deadline.h"

/*
 * Milliseconds. Starting the process and ending it are not in them, and the promise is 1 s and 4 s in all. What lies between
 * soft and hard is for the message.
 */
static const struct limit { unsigned soft, hard; } limits[] = {[false] = {850, 950}, [true] = {3850, 3950}};

#define LINE(what) "memcgprof-hook: The time was over while " what ".\n"

static const char *const phase_lines[_PHASE_MAX] = {
        [PHASE_STATE] = LINE("reading the OCI state"),
        [PHASE_CONNECT] = LINE("connecting to the bus"),
        [PHASE_CALL] = LINE("waiting for the daemon"),
        [PHASE_JOURNAL] = LINE("writing to the journal"),
};

static struct timespec start;
static volatile sig_atomic_t required, settled, said, current_phase;

static uint64_t elapsed_us(void) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (now.tv_sec - start.tv_sec) * UINT64_C(1000000) + now.tv_nsec / 1000 - start.tv_nsec / 1000;
}

void deadline_say(const char *line, size_t n) {
        struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};

        if (said)
                return;
        said = true;
        /* A pipe that polls writable takes PIPE_BUF bytes at once: it cannot block below that. */
        if (poll(&out, 1, 0) == 1 && (out.revents & POLLOUT))
                (void)!write(STDERR_FILENO, line, n);
}

static void on_alarm(int sig) {
        const char *line = phase_lines[current_phase];

        deadline_say(line, strlen(line));
        _exit(required && !settled ? 1 : 0);
}

static void set_timer(void) {
        uint64_t hard = limits[required].hard * UINT64_C(1000), gone = elapsed_us();
        uint64_t left = hard > gone ? hard - gone : 1; /* 0 would disarm it */
        struct itimerval timer = {.it_value = {.tv_sec = left / 1000000, .tv_usec = left % 1000000}};

        setitimer(ITIMER_REAL, &timer, NULL);
}

void deadline_arm(void) {
        struct sigaction action = {.sa_handler = on_alarm};
        sigset_t set;

        clock_gettime(CLOCK_MONOTONIC, &start);
        sigaction(SIGALRM, &action, NULL);
        set_timer();
        /* The mask is the starter's; a blocked alarm is none. */
        sigemptyset(&set);
        sigaddset(&set, SIGALRM);
        sigprocmask(SIG_UNBLOCK, &set, NULL);
}

void deadline_extend(void) {
        required = true;
        set_timer();
}

void deadline_settled(void) {
        settled = true;
}

void deadline_phase(enum phase phase) {
        current_phase = phase;
}

uint64_t deadline_left_us(void) {
        uint64_t soft = limits[required].soft * UINT64_C(1000), gone = elapsed_us();

        return soft > gone ? soft - gone : 0;
}

unsigned deadline_soft_ms(void) {
        return limits[required].soft;
}

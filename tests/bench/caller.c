/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 *   caller ADDRESS OBJECT INTERFACE MEMBER TIMES
 *
 * Calls a method of the daemon that takes a{sv} and prints what each call took, in ms: with sd-bus, as the command line does. A
 * caller in Python needs more time to take a long text off the bus than all others together to make and bring it.
 */
#include <systemd/sd-bus.h>
#include <time.h>

#include "util.h"

static double now_ms(void) {
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int call(sd_bus *bus, char **argv) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *reply = NULL;
        int r;

        r = sd_bus_call_method(bus, "org.memcgprof1", argv[2], argv[3], argv[4], &error, &reply, "a{sv}", 0);
        if (r >= 0)
                r = sd_bus_message_skip(reply, NULL);
        if (r < 0)
                fprintf(stderr, "caller: %s\n", error.message ?: strerror(-r));
        sd_bus_message_unref(reply);
        sd_bus_error_free(&error);
        return r;
}

int main(int argc, char **argv) {
        sd_bus *bus = NULL;
        int r;

        if (argc != 6)
                return 2;
        r = sd_bus_new(&bus);
        if (r >= 0)
                r = sd_bus_set_address(bus, argv[1]);
        if (r >= 0)
                r = sd_bus_set_bus_client(bus, 1);
        if (r >= 0)
                r = sd_bus_start(bus);
        for (unsigned long i = 0; r >= 0 && i < strtoul(argv[5], NULL, 10); i++) {
                double start = now_ms();

                r = call(bus, argv);
                if (r >= 0)
                        printf("%.3f\n", now_ms() - start);
        }
        sd_bus_flush_close_unref(bus);
        return r < 0;
}

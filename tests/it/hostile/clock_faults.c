/* A clock that misbehaves on demand, for LD_PRELOAD, in the daemon's producer thread alone. While the folder
 * named by CLOCK_FAULTS has a file called "wedge", asking for the time does not return; one called "panic"
 * makes it fail once, which the daemon takes for the bug that it would be. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../support/preload.h"

static int on(const char *fault) {
    const char *dir = getenv("CLOCK_FAULTS");
    char path[4096];
    if (!dir) return 0;
    snprintf(path, sizeof path, "%s/%s", dir, fault);
    return access(path, F_OK) == 0;
}

static int is_producer(void) {
    char name[16] = "";
    pthread_getname_np(pthread_self(), name, sizeof name);
    return strcmp(name, "producer") == 0;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    static __thread int has_failed;
    if (is_producer()) {
        while (on("wedge")) usleep(10000);
        if (!has_failed && on("panic")) {
            has_failed = 1;
            errno = EINVAL;
            return -1;
        }
    }
    return REAL(clock_gettime)(clock, time);
}

/* A wall clock that is set while a program runs, for LD_PRELOAD: the file "offset" in the folder named by
 * CLOCK_JUMPS holds the seconds by which it differs from this machine's. The monotonic clock runs on. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "preload.h"

static time_t offset(void) {
    const char *dir = getenv("CLOCK_JUMPS");
    char path[4096], text[32] = {0};
    if (!dir) return 0;
    snprintf(path, sizeof path, "%s/offset", dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    return length > 0 ? atoll(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = REAL(clock_gettime)(clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += offset();
    return result;
}

int gettimeofday(struct timeval *now, void *zone) {
    int result = REAL(gettimeofday)(now, zone);
    if (result == 0) now->tv_sec += offset();
    return result;
}

time_t time(time_t *now) {
    time_t shown = REAL(time)(NULL) + offset();
    if (now) *now = shown;
    return shown;
}

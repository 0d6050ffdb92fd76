/* A disk that fails on demand, for LD_PRELOAD. The folder named by DISK_FAULTS is watched. While it has a
 * file called
 *   eio, fsync   every write, or every sync, fails;
 *   hang         syncs wait;
 *   enospc       the disk is full, until the spool gives up its reserve;
 *   once, from   with "K ERRNO" in it: the Kth call counted from now on fails, or all from the Kth on, and a
 *                file called "fired" says so; an ERRNO of 0 kills the process there.
 * Only the spool's database and its companions are concerned. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "preload.h"

static const char *path_of(const char *fault, char path[4096]) {
    const char *dir = getenv("DISK_FAULTS");
    if (!dir) return NULL;
    snprintf(path, 4096, "%s/%s", dir, fault);
    return path;
}

static int on(const char *fault) {
    char path[4096];
    return path_of(fault, path) && access(path, F_OK) == 0;
}

/* The numbers in a fault's file; 0: it isn't there. */
static int at_call(const char *fault, int *errno_out) {
    char path[4096], text[64];
    if (!path_of(fault, path)) return 0;
    int fd = REAL(open)(path, O_RDONLY | O_CLOEXEC), call = 0;
    if (fd < 0) return 0;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    text[length < 0 ? 0 : length] = 0;
    return sscanf(text, "%d %d", &call, errno_out) == 2 ? call : 0;
}

/* Counts a call, and says with which error it must fail. */
static int counted(void) {
    static atomic_int calls;
    int error = 0, once = at_call("once", &error), from = once ? 0 : at_call("from", &error);
    if (!once && !from) {
        atomic_store(&calls, 0);
        return 0;
    }
    int call = atomic_fetch_add(&calls, 1) + 1;
    if (once ? call != once : call < from) return 0;
    char path[4096];
    int fd = REAL(open)(path_of("fired", path), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0) close(fd);
    if (!error) kill(getpid(), SIGKILL);
    return error;
}

static int concerned(int fd) {
    char path[4096];
    if (!path_of_fd(fd, path)) return 0;
    return strstr(path, "/spool.sqlite3") != NULL;
}

static int write_fault(int fd) {
    if (!concerned(fd)) return 0;
    if (on("eio")) return EIO;
    if (on("enospc") && on("../spool.reserve")) return ENOSPC;
    return counted();
}

static int sync_fault(int fd) {
    if (!concerned(fd)) return 0;
    while (on("hang")) usleep(10 * 1000);
    return on("fsync") ? EIO : counted();
}

static int name_fault(const char *path) {
    return strstr(path, "/spool.sqlite3") ? counted() : 0;
}

#define FAIL(fault) do { int error = (fault); if (error) { errno = error; return -1; } } while (0)

ssize_t write(int fd, const void *bytes, size_t count) {
    FAIL(write_fault(fd));
    return REAL(write)(fd, bytes, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    FAIL(write_fault(fd));
    return REAL(pwrite)(fd, bytes, count, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    FAIL(write_fault(fd));
    return REAL(pwrite64)(fd, bytes, count, at);
}

int ftruncate(int fd, off_t length) {
    FAIL(concerned(fd) ? counted() : 0);
    return REAL(ftruncate)(fd, length);
}

int ftruncate64(int fd, off64_t length) {
    FAIL(concerned(fd) ? counted() : 0);
    return REAL(ftruncate64)(fd, length);
}

int fsync(int fd) {
    FAIL(sync_fault(fd));
    return REAL(fsync)(fd);
}

int fdatasync(int fd) {
    FAIL(sync_fault(fd));
    return REAL(fdatasync)(fd);
}

int unlink(const char *path) {
    FAIL(name_fault(path));
    return REAL(unlink)(path);
}

int rename(const char *from, const char *to) {
    FAIL(name_fault(to));
    return REAL(rename)(from, to);
}

#define OPEN(name)                                                                                     \
    int name(const char *path, int flags, ...) {                                                       \
        va_list rest;                                                                                  \
        va_start(rest, flags);                                                                         \
        mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(rest, mode_t) : 0;                      \
        va_end(rest);                                                                                  \
        FAIL(name_fault(path));                                                                        \
        return REAL(name)(path, flags, mode);                                                          \
    }
OPEN(open)
OPEN(open64)

/* A disk that fails on demand, for LD_PRELOAD. The folder named by DISK_FAULTS is watched: while it has a
 * file called "enospc", "eio" or "fsync", writes or syncs of the spool's database fail that way; while it has
 * one called "hang", syncs wait. "enospc" stands for a full disk: it ends when the spool gives up its reserve.
 * Only the database and its companions are concerned. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int on(const char *fault) {
    const char *dir = getenv("DISK_FAULTS");
    char path[4096];
    if (!dir) return 0;
    snprintf(path, sizeof path, "%s/%s", dir, fault);
    return access(path, F_OK) == 0;
}

static int concerned(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, "/spool.sqlite3") != NULL;
}

static int write_fault(int fd) {
    if (!concerned(fd)) return 0;
    if (on("eio")) return EIO;
    if (on("enospc") && on("../spool.reserve")) return ENOSPC;
    return 0;
}

static int sync_fault(int fd) {
    if (!concerned(fd)) return 0;
    while (on("hang")) usleep(10 * 1000);
    return on("fsync") ? EIO : 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
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

int fsync(int fd) {
    FAIL(sync_fault(fd));
    return REAL(fsync)(fd);
}

int fdatasync(int fd) {
    FAIL(sync_fault(fd));
    return REAL(fdatasync)(fd);
}

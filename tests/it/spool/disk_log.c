/* Notes what a program does with the spool's database and its log, for LD_PRELOAD, in the order in which it
 * happens: writes, truncations, syncs, and what the program says on its standard output meanwhile. From the
 * notes, in the file named by DISK_LOG, every state can be made that a power cut may leave.
 *
 * A note: kind (W, T, S or A), file (d or w), 8 bytes of offset or length, 4 bytes of count, the bytes. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include "../support/preload.h"

static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

/* d: the database; w: its log; 0: neither. */
static char file_of(int fd) {
    char path[4096];
    if (!path_of_fd(fd, path)) return 0;
    const char *name = strrchr(path, '/');
    if (!name) return 0;
    if (strcmp(name, "/spool.sqlite3") == 0) return 'd';
    return strcmp(name, "/spool.sqlite3-wal") == 0 ? 'w' : 0;
}

static void note(char kind, char file, uint64_t at, const void *bytes, uint32_t count) {
    static int log = -1;
    if (log < 0) log = open(getenv("DISK_LOG"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    char head[14] = {kind, file};
    memcpy(head + 2, &at, 8);
    memcpy(head + 10, &count, 4);
    if (REAL(write)(log, head, sizeof head) != sizeof head || REAL(write)(log, bytes, count) != count) abort();
}

/* A sync counts from its end, everything else from its beginning: what is in doubt is taken for not done. */
#define NOTED(kind, file, at, bytes, count, call)                                                      \
    do {                                                                                               \
        pthread_mutex_lock(&one_at_a_time);                                                            \
        __typeof__(call) result = call;                                                                \
        if (result >= 0) note(kind, file, at, bytes, count);                                           \
        pthread_mutex_unlock(&one_at_a_time);                                                          \
        return result;                                                                                 \
    } while (0)

ssize_t write(int fd, const void *bytes, size_t count) {
    if (fd == STDOUT_FILENO) NOTED('A', '-', 0, bytes, result, REAL(write)(fd, bytes, count));
    char file = file_of(fd);
    if (!file) return REAL(write)(fd, bytes, count);
    NOTED('W', file, lseek(fd, 0, SEEK_CUR) - result, bytes, result, REAL(write)(fd, bytes, count));
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    char file = file_of(fd);
    if (!file) return REAL(pwrite64)(fd, bytes, count, at);
    NOTED('W', file, at, bytes, result, REAL(pwrite64)(fd, bytes, count, at));
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) { return pwrite64(fd, bytes, count, at); }

int ftruncate64(int fd, off64_t length) {
    char file = file_of(fd);
    if (!file) return REAL(ftruncate64)(fd, length);
    NOTED('T', file, length, "", 0, REAL(ftruncate64)(fd, length));
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

int fdatasync(int fd) {
    char file = file_of(fd);
    if (!file) return REAL(fdatasync)(fd);
    NOTED('S', file, 0, "", 0, REAL(fdatasync)(fd));
}

int fsync(int fd) {
    char file = file_of(fd);
    if (!file) return REAL(fsync)(fd);
    NOTED('S', file, 0, "", 0, REAL(fsync)(fd));
}

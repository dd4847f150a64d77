/* Loaded by LD_PRELOAD: counts and logs what a process changes below CREATION_DIR, and at the CREATION_AT-th change kills the
   process ("kill"), fails once with EIO ("once"), or fails from there on ("dead"). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *below;
static const char *how = "";
static long at, count;
static int log_fd = -1;

__attribute__((constructor)) static void begin(void) {
    const char *log = getenv("CREATION_LOG");
    below = getenv("CREATION_DIR");
    if (getenv("CREATION_HOW")) how = getenv("CREATION_HOW");
    if (getenv("CREATION_AT")) at = atol(getenv("CREATION_AT"));
    if (log) log_fd = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* 1: it fails. */
static int change(const char *what, const char *path) {
    if (!below || !path || strncmp(path, below, strlen(below))) return 0;
    char line[600];
    int length = snprintf(line, sizeof line, "%s %s\n", what, path);
    if (log_fd >= 0) syscall(SYS_write, log_fd, line, (size_t)length);
    count++;
    if (!at || count < at) return 0;
    if (!strcmp(how, "kill")) syscall(SYS_kill, (int)syscall(SYS_getpid), SIGKILL);
    if (!strcmp(how, "once") && count > at) return 0;
    errno = EIO;
    return 1;
}

static int change_fd(const char *what, int fd) {
    char link[64], path[500];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (fd <= 2 || length < 0) return 0;
    path[length] = 0;
    return change(what, path);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = (flags & O_CREAT) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if ((flags & O_CREAT) && change("create", path)) return -1;
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

ssize_t write(int fd, const void *bytes, size_t size) {
    return change_fd("write", fd) ? -1 : syscall(SYS_write, fd, bytes, size);
}
ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t offset) {
    return change_fd("write", fd) ? -1 : syscall(SYS_pwrite64, fd, bytes, size, offset);
}
int ftruncate64(int fd, off64_t size) {
    return change_fd("write", fd) ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}
int fsync(int fd) { return change_fd("sync", fd) ? -1 : (int)syscall(SYS_fsync, fd); }
int fdatasync(int fd) { return change_fd("sync", fd) ? -1 : (int)syscall(SYS_fdatasync, fd); }
int mkdir(const char *path, mode_t mode) {
    return change("mkdir", path) ? -1 : (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}
int rename(const char *from, const char *to) {
    return change("name", to) ? -1 : (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}
int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags) {
    return change("name", to) ? -1 : (int)syscall(SYS_linkat, from_dir, from, to_dir, to, flags);
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }
int unlink(const char *path) {
    return change("remove", path) ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

/* Loaded into the hub by LD_PRELOAD: a disk and a clock that fail when the test says so. Both processes map one page. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct orders {
    int64_t fail_sync;     /* the how-manieth sync from now fails with EIO; 0: none */
    int64_t syncs;         /* syncs begun */
    int64_t failed_inode;  /* of the file whose sync failed */
    int64_t after_failure; /* syncs of that file begun after it failed */
    int64_t delay_ms;      /* each sync takes so much longer */
    int64_t limited;       /* 1: space runs out */
    int64_t space;         /* bytes that may still be written */
    int64_t refused;       /* writes refused for want of space */
    int64_t clock_s;       /* added to the time of day */
};

static struct orders *orders;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FIRE_ORDERS");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *page = mmap(NULL, sizeof *orders, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (page != MAP_FAILED) orders = page;
}

/* The inode of a file that is no log; 0: of none. */
static int64_t inode(int fd) {
    struct stat found;
    if (!orders || fd <= 2 || fstat(fd, &found) || !S_ISREG(found.st_mode)) return 0;
    return (int64_t)found.st_ino;
}

static int sync_file(long call, int fd) {
    int64_t file = inode(fd);
    if (file) {
        __atomic_add_fetch(&orders->syncs, 1, __ATOMIC_SEQ_CST);
        if (file == __atomic_load_n(&orders->failed_inode, __ATOMIC_SEQ_CST))
            __atomic_add_fetch(&orders->after_failure, 1, __ATOMIC_SEQ_CST);
        int64_t delay = __atomic_load_n(&orders->delay_ms, __ATOMIC_SEQ_CST);
        if (delay > 0) {
            struct timespec wait = {delay / 1000, (delay % 1000) * 1000000};
            nanosleep(&wait, NULL);
        }
        if (__atomic_load_n(&orders->fail_sync, __ATOMIC_SEQ_CST) > 0 &&
            __atomic_sub_fetch(&orders->fail_sync, 1, __ATOMIC_SEQ_CST) == 0) {
            __atomic_store_n(&orders->failed_inode, file, __ATOMIC_SEQ_CST);
            errno = EIO;
            return -1;
        }
    }
    return (int)syscall(call, fd);
}

int fdatasync(int fd) { return sync_file(SYS_fdatasync, fd); }
int fsync(int fd) { return sync_file(SYS_fsync, fd); }

/* 1: there is no room for so many bytes. */
static int full(int fd, int64_t bytes) {
    if (!inode(fd) || !__atomic_load_n(&orders->limited, __ATOMIC_SEQ_CST)) return 0;
    if (__atomic_sub_fetch(&orders->space, bytes, __ATOMIC_SEQ_CST) >= 0) return 0;
    __atomic_add_fetch(&orders->refused, 1, __ATOMIC_SEQ_CST);
    errno = ENOSPC;
    return 1;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    return full(fd, (int64_t)count) ? -1 : syscall(SYS_write, fd, bytes, count);
}
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    return full(fd, (int64_t)count) ? -1 : syscall(SYS_pwrite64, fd, bytes, count, at);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    if (result == 0 && clock == CLOCK_REALTIME && orders)
        now->tv_sec += __atomic_load_n(&orders->clock_s, __ATOMIC_SEQ_CST);
    return result;
}

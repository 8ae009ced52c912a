/* A library for LD_PRELOAD that makes chosen calls of libc fail, in one process only.
 *
 * $SHIM_CONTROL: a file of at least sizeof(struct control) bytes. It is mapped, so that a test can
 *     choose the calls that fail, and read how often each function was called (kit/shim.py).
 * $SHIM_ARM_AT: a script; the library is armed when the process opens it. Without it, the test sets
 *     `armed`.
 *
 * Calls are counted only while armed, and never in child processes.
 * Needs Linux, glibc, 64 bits. vfork becomes fork, because a wrapper cannot return after vfork.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

/* What can be made to fail. Several functions of libc may count as one, as open and openat do.
 * read and write are told apart by what they are called for, as each can fail in its own ways: a
 * regular file, or the pipe that was stdin or stdout at the start. On others they do not fail. */
#define FUNCTIONS(X)                                                                   \
    X(access) X(chmod) X(close) X(dup) X(flock) X(fork) X(fstat) X(ftruncate)          \
    X(getcwd) X(kill) X(lseek) X(lstat) X(malloc) X(mkdir) X(mmap) X(open) X(opendir)  \
    X(pipe) X(poll) X(pthread_create) X(read_file) X(read_stdin) X(readdir)            \
    X(readlink) X(rename) X(sem_init) X(stat) X(unlink) X(waitpid) X(write_file)       \
    X(write_stdout)

#define NUMBER(name) number_of_##name,
#define NAME(name) #name,
enum number { FUNCTIONS(NUMBER) count_of_functions };
static const char *const names[] = {FUNCTIONS(NAME)};

#define MAX_FUNCTIONS 40

struct control {
    int32_t armed;      /* written by the test, as all that follows up to `function` */
    int32_t error;      /* the errno of a call that fails; 0: the process is killed instead */
    int32_t first;      /* the first call that fails: 1, 2, ... since it was armed */
    int32_t times;      /* how many calls in a row fail */
    char function[24];  /* its name in FUNCTIONS */
    int32_t failed;     /* how many calls have failed */
    struct {
        char name[24];
        int32_t calls;  /* since it was armed */
    } seen[MAX_FUNCTIONS];
};

static struct control *control;
static pid_t owner;
static const char *arm_at;
static struct stat standard[2]; /* what stdin and stdout were */

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("SHIM_CONTROL");
    if (!path) return;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) abort();
    void *shared = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (shared == MAP_FAILED) abort();
    close(fd);
    arm_at = getenv("SHIM_ARM_AT");
    if (arm_at) arm_at = strdup(arm_at);
    /* The process shall look as it does without us. */
    unsetenv("LD_PRELOAD");
    unsetenv("SHIM_CONTROL");
    unsetenv("SHIM_ARM_AT");
    owner = getpid();
    for (int fd = 0; fd < 2; fd++) syscall(SYS_fstat, fd, &standard[fd]);
    struct control *ready = shared;
    for (int i = 0; i < count_of_functions; i++) strcpy(ready->seen[i].name, names[i]);
    __atomic_store_n(&control, ready, __ATOMIC_SEQ_CST);
}

/* Count a call, and return whether it fails; then errno is set. */
static int fails(enum number number) {
    struct control *c = __atomic_load_n(&control, __ATOMIC_SEQ_CST);
    if (!c || !__atomic_load_n(&c->armed, __ATOMIC_SEQ_CST)) return 0;
    if (getpid() != owner) return 0; /* between fork and exec */
    int32_t call = __atomic_add_fetch(&c->seen[number].calls, 1, __ATOMIC_SEQ_CST);
    if (strcmp(c->function, names[number]) != 0) return 0;
    if (call < c->first || call - c->first >= c->times) return 0;
    __atomic_add_fetch(&c->failed, 1, __ATOMIC_SEQ_CST);
    if (c->error == 0) raise(SIGKILL);
    errno = c->error;
    return 1;
}

#define REAL(symbol)                                              \
    static __typeof__(&symbol) real;                              \
    if (!real) real = (__typeof__(&symbol))dlsym(RTLD_NEXT, #symbol)

/* A function `symbol`, counted as `name`, that returns `failure` when it fails. */
#define WRAP(name, failure, result, symbol, parameters, arguments) \
    result symbol parameters {                                     \
        REAL(symbol);                                              \
        if (fails(number_of_##name)) return failure;               \
        return real arguments;                                     \
    }

/* --- Files -------------------------------------------------------------------------- */

#define MODE                                                  \
    mode_t mode = 0;                                          \
    if (flags & (O_CREAT | O_TMPFILE)) {                      \
        va_list more;                                         \
        va_start(more, flags);                                \
        mode = va_arg(more, mode_t);                          \
        va_end(more);                                         \
    }

#define OPEN(symbol)                              \
    int symbol(const char *path, int flags, ...) { \
        REAL(symbol);                             \
        MODE                                      \
        if (fails(number_of_open)) return -1;     \
        return real(path, flags, mode);           \
    }

#define OPENAT(symbol)                                       \
    int symbol(int folder, const char *path, int flags, ...) { \
        REAL(symbol);                                        \
        MODE                                                 \
        if (fails(number_of_open)) return -1;                \
        return real(folder, path, flags, mode);              \
    }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

/* Python opens its script with fopen64. It never fails: it only arms. */
static void arm_for(const char *path) {
    if (control && arm_at && strcmp(path, arm_at) == 0)
        __atomic_store_n(&control->armed, 1, __ATOMIC_SEQ_CST);
}

FILE *fopen(const char *path, const char *mode) {
    REAL(fopen);
    FILE *file = real(path, mode);
    arm_for(path);
    return file;
}

FILE *fopen64(const char *path, const char *mode) {
    REAL(fopen64);
    FILE *file = real(path, mode);
    arm_for(path);
    return file;
}

static int is_file(int fd) {
    struct stat status;
    return syscall(SYS_fstat, fd, &status) == 0 && S_ISREG(status.st_mode);
}

/* Return whether it is what fd `number` was at the start, whichever number it has now. */
static int is_standard(int fd, int number) {
    struct stat status;
    return syscall(SYS_fstat, fd, &status) == 0 && S_ISFIFO(status.st_mode) &&
           status.st_ino == standard[number].st_ino && status.st_dev == standard[number].st_dev;
}

/* As Linux does it, the file is closed all the same. */
int close(int fd) {
    REAL(close);
    int was_file = is_file(fd);
    int done = real(fd);
    if (was_file && fails(number_of_close)) return -1;
    return done;
}

ssize_t read(int fd, void *to, size_t size) {
    REAL(read);
    if (is_standard(fd, 0) && fails(number_of_read_stdin)) return -1;
    if (is_file(fd) && fails(number_of_read_file)) return -1;
    return real(fd, to, size);
}

ssize_t write(int fd, const void *from, size_t size) {
    REAL(write);
    if (is_standard(fd, 1) && fails(number_of_write_stdout)) return -1;
    if (is_file(fd) && fails(number_of_write_file)) return -1;
    return real(fd, from, size);
}

WRAP(lseek, -1, off_t, lseek, (int fd, off_t to, int from), (fd, to, from))
WRAP(lseek, -1, off64_t, lseek64, (int fd, off64_t to, int from), (fd, to, from))
WRAP(ftruncate, -1, int, ftruncate, (int fd, off_t size), (fd, size))
WRAP(ftruncate, -1, int, ftruncate64, (int fd, off64_t size), (fd, size))
WRAP(flock, -1, int, flock, (int fd, int how), (fd, how))
WRAP(dup, -1, int, dup, (int fd), (fd))
WRAP(pipe, -1, int, pipe, (int fds[2]), (fds))
WRAP(pipe, -1, int, pipe2, (int fds[2], int flags), (fds, flags))

/* Python's os.dup is an fcntl; the other uses of fcntl do not fail. */
#define FCNTL(symbol)                                                            \
    int symbol(int fd, int what, ...) {                                          \
        REAL(symbol);                                                            \
        va_list more;                                                            \
        va_start(more, what);                                                    \
        void *third = va_arg(more, void *);                                      \
        va_end(more);                                                            \
        int is_dup = what == F_DUPFD || what == F_DUPFD_CLOEXEC;                 \
        if (is_dup && fails(number_of_dup)) return -1;                           \
        return real(fd, what, third);                                            \
    }

FCNTL(fcntl)
FCNTL(fcntl64)

/* --- Paths -------------------------------------------------------------------------- */

WRAP(stat, -1, int, stat, (const char *path, struct stat *to), (path, to))
WRAP(stat, -1, int, stat64, (const char *path, struct stat64 *to), (path, to))
WRAP(lstat, -1, int, lstat, (const char *path, struct stat *to), (path, to))
WRAP(lstat, -1, int, lstat64, (const char *path, struct stat64 *to), (path, to))
WRAP(fstat, -1, int, fstat, (int fd, struct stat *to), (fd, to))
WRAP(fstat, -1, int, fstat64, (int fd, struct stat64 *to), (fd, to))
WRAP(stat, -1, int, fstatat, (int folder, const char *path, struct stat *to, int flags),
     (folder, path, to, flags))
WRAP(stat, -1, int, fstatat64, (int folder, const char *path, struct stat64 *to, int flags),
     (folder, path, to, flags))
WRAP(access, -1, int, access, (const char *path, int mode), (path, mode))
WRAP(access, -1, int, faccessat, (int folder, const char *path, int mode, int flags),
     (folder, path, mode, flags))
WRAP(readlink, -1, ssize_t, readlink, (const char *path, char *to, size_t size),
     (path, to, size))
WRAP(readlink, -1, ssize_t, readlinkat,
     (int folder, const char *path, char *to, size_t size), (folder, path, to, size))
WRAP(opendir, NULL, DIR *, opendir, (const char *path), (path))
WRAP(opendir, NULL, DIR *, fdopendir, (int fd), (fd))
WRAP(readdir, NULL, struct dirent *, readdir, (DIR *folder), (folder))
WRAP(readdir, NULL, struct dirent64 *, readdir64, (DIR *folder), (folder))
WRAP(mkdir, -1, int, mkdir, (const char *path, mode_t mode), (path, mode))
WRAP(rename, -1, int, rename, (const char *from, const char *to), (from, to))
WRAP(unlink, -1, int, unlink, (const char *path), (path))
WRAP(chmod, -1, int, chmod, (const char *path, mode_t mode), (path, mode))
WRAP(chmod, -1, int, fchmod, (int fd, mode_t mode), (fd, mode))
WRAP(getcwd, NULL, char *, getcwd, (char *to, size_t size), (to, size))

/* --- Processes and threads ---------------------------------------------------------- */

WRAP(fork, -1, pid_t, fork, (void), ())

pid_t vfork(void) { return fork(); }

WRAP(waitpid, -1, pid_t, waitpid, (pid_t pid, int *status, int options), (pid, status, options))
WRAP(kill, -1, int, kill, (pid_t pid, int number), (pid, number))
WRAP(kill, -1, int, killpg, (pid_t group, int number), (group, number))
WRAP(poll, -1, int, poll, (struct pollfd * fds, nfds_t count, int timeout), (fds, count, timeout))
/* Python before 3.14 makes one for each lock; if that fails, it has no memory for the lock. */
WRAP(sem_init, -1, int, sem_init, (sem_t * made, int shared, unsigned value),
     (made, shared, value))
/* It returns its error. */
WRAP(pthread_create, errno, int, pthread_create,
     (pthread_t * thread, const pthread_attr_t *attributes, void *(*run)(void *), void *argument),
     (thread, attributes, run, argument))

/* --- Memory ------------------------------------------------------------------------- */

/* dlsym itself may ask for memory, so the real ones go by the names that only glibc has. */
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);

void *malloc(size_t size) { return fails(number_of_malloc) ? NULL : __libc_malloc(size); }

void *calloc(size_t count, size_t size) {
    return fails(number_of_malloc) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size) {
    return fails(number_of_malloc) ? NULL : __libc_realloc(old, size);
}

WRAP(mmap, MAP_FAILED, void *, mmap,
     (void *at, size_t size, int protection, int flags, int fd, off_t from),
     (at, size, protection, flags, fd, from))
WRAP(mmap, MAP_FAILED, void *, mmap64,
     (void *at, size_t size, int protection, int flags, int fd, off64_t from),
     (at, size, protection, flags, fd, from))

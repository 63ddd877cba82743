/* Makes the n-th write, fsync or rename below a folder fail, and counts them: a library to be preloaded.
 *
 * FAILING_FOLDER   files below it count
 * FAILING_COUNTS   file of three 64-bit numbers that this maps and adds to: calls of each kind so far
 * FAILING          "write 7": which call fails (kinds: write, sync, rename); none when it is not set
 *
 * They are read at the first call after a fork, so that one process can start many runs that differ.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { WRITE, SYNC, RENAME };
static const char *const names[] = {"write", "sync", "rename"};

static pid_t ready_in = 0;
static char folder[PATH_MAX];
static size_t folder_length;
static _Atomic long long *counts;
static int failing_kind = -1;
static long long failing_at;

static void prepare(void) {
  if (ready_in == getpid()) return;
  folder_length = 0;
  failing_kind = -1;
  const char *below = getenv("FAILING_FOLDER"), *path = getenv("FAILING_COUNTS"), *which = getenv("FAILING");
  ready_in = getpid();
  if (!below || !path) return;
  int file = open(path, O_RDWR);
  if (file < 0) return;
  counts = mmap(NULL, 3 * sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (counts == MAP_FAILED) return;
  char kind[16];
  if (which && sscanf(which, "%15s %lld", kind, &failing_at) == 2)
    for (int i = 0; i < 3; i++)
      if (!strcmp(kind, names[i])) failing_kind = i;
  snprintf(folder, sizeof folder, "%s/", below);
  folder_length = strlen(folder);
}

/* Whether this call, of a file below the folder, is to fail. */
static int fails(enum kind kind, const char *path) {
  prepare();
  if (!folder_length || strncmp(path, folder, folder_length)) return 0;
  long long number = atomic_fetch_add(&counts[kind], 1) + 1;
  return (int)kind == failing_kind && number == failing_at;
}

static int file_fails(enum kind kind, int file) {
  prepare();
  if (!folder_length || file < 3) return 0;
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, sizeof path - 2);
  if (length < 0) return 0;
  strcpy(path + length, "/"); /* the folder itself counts, too */
  return fails(kind, path);
}

#define REAL(name) \
  static __typeof__(&name) real; \
  if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define REFUSED(error) (errno = (error), -1)

ssize_t write(int file, const void *data, size_t size) {
  REAL(write);
  return file_fails(WRITE, file) ? REFUSED(ENOSPC) : real(file, data, size);
}
ssize_t writev(int file, const struct iovec *data, int count) {
  REAL(writev);
  return file_fails(WRITE, file) ? REFUSED(ENOSPC) : real(file, data, count);
}
ssize_t pwrite(int file, const void *data, size_t size, off_t at) {
  REAL(pwrite);
  return file_fails(WRITE, file) ? REFUSED(ENOSPC) : real(file, data, size, at);
}
ssize_t pwrite64(int file, const void *data, size_t size, off64_t at) {
  REAL(pwrite64);
  return file_fails(WRITE, file) ? REFUSED(ENOSPC) : real(file, data, size, at);
}
size_t fwrite(const void *data, size_t size, size_t count, FILE *file) {
  REAL(fwrite);
  if (file_fails(WRITE, fileno(file))) return errno = ENOSPC, (size_t)0;
  return real(data, size, count, file);
}
int fsync(int file) {
  REAL(fsync);
  return file_fails(SYNC, file) ? REFUSED(EIO) : real(file);
}
int fdatasync(int file) {
  REAL(fdatasync);
  return file_fails(SYNC, file) ? REFUSED(EIO) : real(file);
}
int rename(const char *from, const char *to) {
  REAL(rename);
  return fails(RENAME, to) ? REFUSED(EIO) : real(from, to);
}
int renameat(int from_folder, const char *from, int to_folder, const char *to) {
  REAL(renameat);
  return fails(RENAME, to) ? REFUSED(EIO) : real(from_folder, from, to_folder, to);
}

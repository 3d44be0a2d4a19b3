/* Feeds files to a target without a fuzzer: input that touches an unreadable page, so that one byte too far is a crash.
 *
 *     replay TARGET,... FILE|FOLDER ...       each file, and every prefix of it that is shorter than LONG
 *     replay -w TARGET,... FILE|FOLDER ...    each file whole, in a block of the heap of its exact size, for valgrind
 *
 * Each input is placed twice: with an unreadable page right behind its last byte, and right before its first. Prints
 * how many inputs and bytes the target has seen. A crash says at standard error which file and which length it was.
 */
#define _GNU_SOURCE
#include "harness.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Of a longer file, every prefix would cost more than it shows: those up to LONG bytes and the last of the others. */
enum { MOST = 1 << 20, PAGE = 1 << 16, LONG = 2048, TAIL = 64 };

static target_function *target;
static const char *current;
static size_t current_size;
static int whole_only;
static unsigned char *room;     /* MOST bytes between two unreadable pages */
static unsigned long inputs, bytes, files;

static void fail(const char *what)
{
    perror(what);
    exit(2);
}

static void on_crash(int number)
{
    char line[4096];
    int n = snprintf(line, sizeof line, "signal %d at %s, first %zu bytes\n", number, current, current_size);
    if (write(2, line, (size_t)n) < 0) { /* nothing can be done about it */ }
    signal(number, SIG_DFL);
    raise(number);
}

static void make_room(void)
{
    unsigned char *all = mmap(NULL, MOST + 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED)
        fail("mmap");
    room = all + PAGE;
    if (mprotect(all, PAGE, PROT_NONE) || mprotect(room + MOST, PAGE, PROT_NONE))
        fail("mprotect");
}

static void feed(const unsigned char *data, size_t size)
{
    current_size = size;
    if (whole_only) {
        unsigned char *block = malloc(size);
        if (size && !block)
            fail("malloc");
        if (size)
            memcpy(block, data, size);
        target(block, size);
        free(block);
    } else {
        memcpy(room + MOST - size, data, size);
        target(room + MOST - size, size);
        memcpy(room, data, size);
        target(room, size);
    }
    inputs++;
    bytes += size;
}

static int feed_file(const char *path, const struct stat *status, int type, struct FTW *place)
{
    (void)place;
    static unsigned char data[MOST];
    if (type != FTW_F)
        return 0;
    if (status->st_size > MOST)
        return 0;
    current = path;
    int file = open(path, O_RDONLY);
    ssize_t size = file < 0 ? -1 : read(file, data, MOST);
    if (size < 0)
        fail(path);
    close(file);
    for (size_t n = 0; n < (size_t)size && !whole_only; n++)
        if (n < LONG || (size_t)size - n <= TAIL)
            feed(data, n);
    feed(data, (size_t)size);
    files++;
    return 0;
}

int main(int argc, char **argv)
{
    int at = 1;
    if (at < argc && strcmp(argv[at], "-w") == 0) {
        whole_only = 1;
        at++;
    }
    if (argc - at < 2) {
        fprintf(stderr, "usage: %s [-w] TARGET,... FILE|FOLDER ...\n", argv[0]);
        return 2;
    }
    make_room();
    int signals[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};
    for (size_t i = 0; !whole_only && i < sizeof signals / sizeof *signals; i++)
        signal(signals[i], on_crash);
    for (char *name = strtok(argv[at], ","); name; name = strtok(NULL, ",")) {
        target = target_of(name);
        files = inputs = bytes = 0;
        for (int i = at + 1; i < argc; i++)
            if (nftw(argv[i], feed_file, 16, FTW_PHYS))
                fail(argv[i]);
        printf("%-15s %6lu files %9lu inputs %12lu bytes\n", name, files, inputs, bytes);
    }
    return 0;
}

/* Prints digests made by every function of md5.h, for tests/_core/base/test_md5.py to compare with hashlib.
 *
 *   md5_test lanes           the names of the lanes that run here
 *   md5_test digests LANES   lines "function offset length digest", each about a piece of the same bytes: the byte at
 *                            offset i is (i * 131 + i / 256 * 7) % 256. Before the first and behind the last of these
 *                            bytes lies an unreadable page.
 *   md5_test text LANES T..  one digest for each text
 *   md5_test large           the digest of 2^29 + 3 zero bytes, of which the length in bits needs 33 bits
 *
 * Exit status 2: a broken promise found here, named on standard error.
 */
#define _DEFAULT_SOURCE
#include "md5.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { SIZE = 1 << 16, MAX_LENGTH = 300, MAX_JOBS = 2 * (MAX_LENGTH + 1) };

static void fail(const char *what)
{
    fprintf(stderr, "%s\n", what);
    exit(2);
}

/* SIZE bytes between two unreadable pages. Pages are not larger than SIZE anywhere. */
static const unsigned char *guarded_bytes(void)
{
    unsigned char *all = mmap(NULL, 3 * (size_t)SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED)
        fail("no memory");
    unsigned char *bytes = all + SIZE;
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (unsigned char)(i * 131 + i / 256 * 7);
    if (mprotect(all, SIZE, PROT_NONE) || mprotect(bytes + SIZE, SIZE, PROT_NONE) || mprotect(bytes, SIZE, PROT_READ))
        fail("cannot protect pages");
    return bytes;
}

static void print(const char *function, size_t offset, size_t length, const unsigned char digest[16])
{
    printf("%s %zu %zu ", function, offset, length);
    for (int i = 0; i < 16; i++)
        printf("%02x", digest[i]);
    printf("\n");
}

static const unsigned char *bytes;
static ad_md5_job jobs[MAX_JOBS];
static size_t count;

static void add(size_t offset, size_t length)
{
    jobs[count++] = (ad_md5_job){bytes + offset, length, NULL};
}

/* Digests lie 17 bytes apart: at odd addresses too, with a byte between them that nobody may touch. */
static void run(void)
{
    static unsigned char out[MAX_JOBS * 17];
    memset(out, 0xa5, sizeof out);
    for (size_t i = 0; i < count; i++)
        jobs[i].digest = out + 17 * i;
    ad_md5_many(jobs, count);
    for (size_t i = 0; i < MAX_JOBS; i++)
        if (out[17 * i + 16] != 0xa5 || (i >= count && out[17 * i] != 0xa5))
            fail("ad_md5_many wrote outside of a digest");
    for (size_t i = 0; i < count; i++)
        print("many", (size_t)(jobs[i].data - bytes), jobs[i].size, jobs[i].digest);
    count = 0;
}

static void single(size_t offset, size_t length)
{
    unsigned char digest[16];
    ad_md5(bytes + offset, length, digest);
    print("one", offset, length, digest);

    static const size_t steps[] = {1, 13, 63, 64, 65, 128};
    for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
        ad_md5_stream stream;
        ad_md5_init(&stream);
        for (size_t at = 0, step; at < length; at += step) {
            step = length - at < steps[s] ? length - at : steps[s];
            ad_md5_update(&stream, bytes + offset + at, step);
            ad_md5_update(&stream, NULL, 0);
        }
        ad_md5_final(&stream, digest);
        print("stream", offset, length, digest);
    }
}

static void digests(void)
{
    /* Every length, ending and beginning at an unreadable page. */
    for (size_t n = 0; n <= MAX_LENGTH; n++) {
        single(SIZE - n, n);
        add(SIZE - n, n);
        add(0, n);
    }
    run();
    /* All lanes in step: the same length in each. */
    for (size_t n = 0; n <= MAX_LENGTH; n++) {
        for (size_t i = 0; i < 33; i++)
            add(SIZE - n - i, n);
        run();
    }
    /* Any number of jobs, of mixed lengths; then with a long one, which ends alone or as one of two. */
    for (size_t jobs_wanted = 0; jobs_wanted <= 70; jobs_wanted++)
        for (size_t long_ones = 0; long_ones <= 2 && long_ones <= jobs_wanted; long_ones++) {
            for (size_t i = 0; i < jobs_wanted; i++) {
                size_t n = (jobs_wanted * 37 + i * i * 11 + i * 101) % (MAX_LENGTH + 1);
                if (i + long_ones >= jobs_wanted)
                    n = 5000 + 64 * i;
                add(SIZE - n, n);
            }
            run();
        }
    /* No data at all, in a null pointer. */
    for (size_t i = 0; i < 33; i++)
        jobs[count++] = (ad_md5_job){NULL, 0, NULL};
    static unsigned char out[33][16];
    for (size_t i = 0; i < count; i++)
        jobs[i].digest = out[i];
    ad_md5_many(jobs, count);
    for (size_t i = 0; i < count; i++)
        print("many", 0, 0, out[i]);
    ad_md5(NULL, 0, out[0]);
    print("one", 0, 0, out[0]);

    /* Two states at once are each as one alone. */
    uint32_t pair[2][4], alone[2][4];
    memcpy(pair[0], ad_md5_initial_state, sizeof pair[0]);
    memcpy(pair[1], ad_md5_initial_state, sizeof pair[1]);
    memcpy(alone, pair, sizeof alone);
    for (size_t at = 0; at + 128 <= SIZE; at += 129) {
        ad_md5_compress2(pair[0], bytes + at, pair[1], bytes + at + 64);
        ad_md5_compress(alone[0], bytes + at);
        ad_md5_compress(alone[1], bytes + at + 64);
        if (memcmp(pair, alone, sizeof pair) != 0)
            fail("ad_md5_compress2 differs from ad_md5_compress");
    }
}

static void text(int argc, char **argv)
{
    static unsigned char out[MAX_JOBS][16];
    for (int i = 0; i < argc && i < MAX_JOBS; i++)
        jobs[i] = (ad_md5_job){(const unsigned char *)argv[i], strlen(argv[i]), out[i]};
    ad_md5_many(jobs, (size_t)argc);
    for (int i = 0; i < argc; i++)
        print("many", 0, jobs[i].size, out[i]);
}

static void large(void)
{
    static const unsigned char zeros[1 << 20];
    unsigned char digest[16];
    ad_md5_stream stream;
    ad_md5_init(&stream);
    for (int i = 0; i < 512; i++)
        ad_md5_update(&stream, zeros, sizeof zeros);
    ad_md5_update(&stream, zeros, 3);
    ad_md5_final(&stream, digest);
    print("stream", 0, ((size_t)1 << 29) + 3, digest);
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"avx512", "avx2", "sse2", "neon", "scalar"};
    if (argc == 2 && strcmp(argv[1], "lanes") == 0) {
        const char *best = ad_md5_lanes();
        if (ad_md5_use_lanes("none such") != -1 || ad_md5_use_lanes("") != -1 || strcmp(ad_md5_lanes(), best) != 0)
            fail("ad_md5_use_lanes took a name of no lanes");
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (ad_md5_use_lanes(names[i]) == 0)
                printf("%s\n", ad_md5_lanes());
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "large") == 0) {
        large();
        return 0;
    }
    if (argc < 3 || ad_md5_use_lanes(argv[2]) != 0 || strcmp(ad_md5_lanes(), argv[2]) != 0)
        fail("no such lanes");
    bytes = guarded_bytes();
    if (strcmp(argv[1], "digests") == 0)
        digests();
    else if (strcmp(argv[1], "text") == 0)
        text(argc - 3, argv + 3);
    return 0;
}

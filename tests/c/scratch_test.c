/* Checks that src/_core/base/scratch.h wipes what was taken from it, before the memory is freed and before it serves
 * again, and that it keeps one block at most. What it frees is looked at here instead.
 *
 * Exit status 1: a broken promise, named on standard error. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void freed(void *memory);
#define free freed
#include "scratch.h"
#undef free

static int secrets, blocks; /* seen in freed memory; freed */

static int is_wiped(const void *memory, size_t n)
{
    const unsigned char *p = memory;
    while (n && !*p)
        p++, n--;
    return n == 0;
}

static void freed(void *memory)
{
    ad_scratch_block *block = memory;
    blocks += block != NULL;
    if (block && !block->is_plain && !is_wiped(block + 1, block->used))
        secrets++;
    free(memory);
}

static void check(int promise, const char *what)
{
    if (!promise) {
        fprintf(stderr, "%s\n", what);
        exit(1);
    }
}

static void *secret(ad_scratch *scratch, size_t n)
{
    void *place = ad_scratch_take(scratch, n);
    check(place != NULL, "no memory");
    return memset(place, 's', n);
}

int main(void)
{
    ad_scratch scratch = {NULL};
    char *first = secret(&scratch, 100);
    memset(ad_scratch_take_plain(&scratch, AD_SCRATCH_LITTLE), 's', AD_SCRATCH_LITTLE);
    ad_scratch_take_plain(&scratch, 50000);
    ad_scratch_empty(&scratch);
    check(blocks == 1, "the plain block was to be freed, and no other");
    check(is_wiped(first, 104 + AD_SCRATCH_LITTLE), "a block that is kept was to be wiped");
    check(secret(&scratch, 100) == (void *)first, "a block that is kept was to serve again");

    secret(&scratch, AD_SCRATCH_BLOCK);         /* into a second block; both are of the usual size */
    ad_scratch_empty(&scratch);
    check(blocks == 2, "one of two blocks was to be freed");
    secret(&scratch, AD_SCRATCH_BLOCK + 1);     /* larger than usual */
    ad_scratch_empty(&scratch);
    check(blocks == 4 && !scratch.blocks, "a large block was to be freed, and the one behind it");

    secret(&scratch, 1);
    ad_scratch_release(&scratch);
    check(blocks == 5 && !scratch.blocks, "at the end all was to be freed");
    ad_scratch_empty(&scratch);
    check(secrets == 0, "what was freed was to be wiped");
    return 0;
}

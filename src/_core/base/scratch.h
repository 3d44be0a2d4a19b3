/* Memory for what lives as long as one batch of work: taken piece by piece, given back all at once, and wiped then,
 * for it may hold secrets. Memory of zeros is an empty one.
 */
#ifndef AUTH_DIAMETER_SCRATCH_H
#define AUTH_DIAMETER_SCRATCH_H

#include "secret.h"

#include <stdint.h>
#include <stdlib.h>

enum {
    AD_SCRATCH_BLOCK = 16384,           /* bytes of a block, if nothing larger is asked for */
    AD_SCRATCH_SMALL = 1024,            /* the same in a small scratch */
    AD_SCRATCH_LITTLE = 2048            /* up to so many bytes it costs less to wipe them than to allocate a block */
};

typedef struct ad_scratch_block {
    struct ad_scratch_block *next;
    size_t size, used;                  /* bytes behind this */
    int is_plain;                       /* whether there is nothing to be wiped in it */
} ad_scratch_block;

typedef struct {
    ad_scratch_block *blocks;           /* the newest first */
    int is_small;                       /* for few things that live long */
} ad_scratch;

static inline size_t ad_scratch_usual(const ad_scratch *scratch)
{
    return scratch->is_small ? AD_SCRATCH_SMALL : AD_SCRATCH_BLOCK;
}

static inline void *ad_scratch_new_block(ad_scratch *scratch, size_t n)
{
    size_t usual = ad_scratch_usual(scratch), size = n < usual ? usual : n;
    ad_scratch_block *block = size <= SIZE_MAX / 2 ? malloc(sizeof *block + size) : NULL;
    if (!block)
        return NULL;
    block->next = scratch->blocks;
    block->size = size;
    block->used = n;
    block->is_plain = 0;
    scratch->blocks = block;
    return block + 1;
}

/* n bytes, aligned to 8; null if there is no memory. */
static inline void *ad_scratch_take(ad_scratch *scratch, size_t n)
{
    ad_scratch_block *block = scratch->blocks;
    n = (n + 7) & ~(size_t)7;
    if (!block || !(n <= block->size - block->used))
        return ad_scratch_new_block(scratch, n);
    void *found = (char *)(block + 1) + block->used;
    block->used += n;
    return found;
}

/* The same for what holds no secret, or is wiped by whoever takes it. */
static inline void *ad_scratch_take_plain(ad_scratch *scratch, size_t n)
{
    if (n <= AD_SCRATCH_LITTLE)
        return ad_scratch_take(scratch, n);
    ad_scratch_block *block = n <= SIZE_MAX / 2 ? malloc(sizeof *block + n) : NULL;
    ad_scratch_block **place = scratch->blocks ? &scratch->blocks->next : &scratch->blocks;
    if (!block)
        return NULL;
    block->next = *place;               /* behind the one that is taken from */
    block->size = block->used = n;
    block->is_plain = 1;
    *place = block;
    return block + 1;
}

/* Takes all pieces back, wipes them and frees the memory. */
static inline void ad_scratch_release(ad_scratch *scratch)
{
    while (scratch->blocks) {
        ad_scratch_block *block = scratch->blocks;
        scratch->blocks = block->next;
        ad_wipe(block + 1, block->is_plain ? 0 : block->used);
        free(block);
    }
}

/* The same, but a block of the usual size stays for the next batch, if it is the one that is taken from. */
static inline void ad_scratch_empty(ad_scratch *scratch)
{
    ad_scratch_block *kept = scratch->blocks;
    if (kept && !kept->is_plain && kept->size == ad_scratch_usual(scratch)) {
        scratch->blocks = kept->next;
        ad_scratch_release(scratch);
        ad_wipe(kept + 1, kept->used);
        kept->next = NULL;
        kept->used = 0;
        scratch->blocks = kept;
    } else {
        ad_scratch_release(scratch);
    }
}

#endif

/* Pieces of memory of one size that are used again and again, for what an object holds beside its own struct.
 * Malloc takes longer for pieces of this size than to fill them in. Nothing in them is wiped.
 *
 * Both functions are called with the GIL held. Without a GIL the pieces come from malloc.
 */
#ifndef AUTH_DIAMETER_SPARE_H
#define AUTH_DIAMETER_SPARE_H

#include <stddef.h>
#include <stdlib.h>

enum {
    AD_SPARE_SIZE = 768,                /* bytes of a piece */
    AD_SPARE_MOST = 1024                /* pieces that are kept */
};

#ifdef Py_GIL_DISABLED

static inline void *ad_spare_take(void)
{
    return malloc(AD_SPARE_SIZE);
}

static inline void ad_spare_give(void *piece)
{
    free(piece);
}

#else

static void *ad_spare_pieces[AD_SPARE_MOST];
static size_t ad_spare_count;

/* A piece; null if there is no memory. */
static inline void *ad_spare_take(void)
{
    return ad_spare_count ? ad_spare_pieces[--ad_spare_count] : malloc(AD_SPARE_SIZE);
}

/* Takes a piece back; null is none. */
static inline void ad_spare_give(void *piece)
{
    if (ad_spare_count < AD_SPARE_MOST && piece)
        ad_spare_pieces[ad_spare_count++] = piece;
    else
        free(piece);
}

#endif
#endif

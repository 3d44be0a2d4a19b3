/* Sets structs to zero. */
#ifndef AUTH_DIAMETER_ZERO_H
#define AUTH_DIAMETER_ZERO_H

#include <string.h>

/* memset with 0 of a struct of some hundred bytes, a size that the compiler knows. It would make a string instruction of
 * one memset, which takes longer to begin than these stores to end. */
static inline void ad_zero(void *memory, size_t size)
{
    unsigned char *p = memory;
    for (; 64 <= size; p += 64, size -= 64)
        memset(p, 0, 64);
    if (32 <= size) {
        memset(p, 0, 32);
        p += 32;
        size -= 32;
    }
    memset(p, 0, size);
}

#endif

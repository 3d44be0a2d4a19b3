/* Secrets in memory. */
#ifndef AUTH_DIAMETER_SECRET_H
#define AUTH_DIAMETER_SECRET_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Zeros that the compiler must write, though nobody reads them. */
static inline void ad_wipe(void *memory, size_t size)
{
    if (size)
        memset(memory, 0, size);
    __asm__ volatile("" : : "r"(memory) : "memory");
}

/* Whether n bytes are equal, in constant time. */
static inline int ad_same_bytes(const uint8_t *a, const uint8_t *b, size_t n)
{
    uint8_t difference = 0;
    for (size_t i = 0; i < n; i++)
        difference |= a[i] ^ b[i];
    return difference == 0;
}

#endif

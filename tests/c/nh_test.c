/* Prints what NH of src/_core/base/nh.h makes of each size of a message up to AD_NH_BLOCK, the four words of both
 * sums, and what CLNH makes of it, four more, where the machine has it. Key and message are the bytes of a simple
 * generator, which test_nh.py has, too. Then it compares the two multiplications. */
#include "nh.h"

#include <stdio.h>
#include <stdlib.h>

static uint64_t state = 1;

/* One byte of the generator of Lehmer modulo 2**31 - 1. */
static unsigned char next_byte(void)
{
    state = state * 48271 % 2147483647;
    return (unsigned char)(state >> 8);
}

static void fill(unsigned char *p, size_t n)
{
    while (n--)
        *p++ = next_byte();
}

#ifdef __SIZEOF_INT128__
static int same_products(void)
{
    static const uint64_t edges[] = {0, 1, 0xffffffffu, 0x100000000u, 0xffffffff00000000u, ~(uint64_t)0};
    __extension__ typedef unsigned __int128 wide;
    for (int i = 0; i < 10000; i++) {
        uint64_t a, b, high, low;
        fill((unsigned char *)&a, sizeof a);
        fill((unsigned char *)&b, sizeof b);
        if (i < 36) {
            a = edges[i / 6];
            b = edges[i % 6];
        }
        low = ad_nh_multiply(a, b, &high);
        if (((wide)high << 64 | low) != (wide)a * b)
            return 0;
    }
    return 1;
}
#else
static int same_products(void) { return 1; }
#endif

int main(void)
{
    uint64_t key[AD_NH_KEY], out[8];
    int n = ad_has_clnh() ? 8 : 4;
    fill((unsigned char *)key, sizeof key);
    for (size_t size = 0; size <= AD_NH_BLOCK; size++) {
        unsigned char *message = malloc(size + !size);    /* of this size, for a sanitizer */
        if (message == NULL)
            return 1;
        fill(message, size);
        ad_nh_twice(key, message, size, out);
        if (n == 8)
            ad_clnh_twice(key, message, size, out + 4);
        for (int i = 0; i < n; i++)
            printf("%016llx%c", (unsigned long long)out[i], i == n - 1 ? '\n' : ' ');
        free(message);
    }
    return same_products() ? 0 : 1;
}

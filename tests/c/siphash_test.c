/* Prints, for the key 00 01 … 0f and each message 00 01 … of 0 to 63 bytes, what SipHash-1-3 with 128 bits makes of it,
 * put together from the parts of src/_core/base/siphash.h as the paper has it: the last word holds the length. */
#include "siphash.h"

#include <stdio.h>

int main(void)
{
    unsigned char bytes[64];
    uint64_t key[2], out[2];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)i;
    memcpy(key, bytes, sizeof key);
    for (size_t size = 0; size < sizeof bytes; size++) {
        ad_siphash s;
        uint64_t last = 0;
        size_t whole = size / 8 * 8;
        memcpy(&last, bytes + whole, size - whole);
        ad_siphash_begin(&s, key);
        ad_siphash_bytes(&s, bytes, whole);
        ad_siphash_word(&s, last | (uint64_t)size << 56);
        ad_siphash_end(&s, out);
        printf("%016llx %016llx\n", (unsigned long long)out[0], (unsigned long long)out[1]);

        /* Bytes that fill no word are as if zeros followed. */
        ad_siphash padded, unpadded;
        unsigned char filled[64] = {0};
        memcpy(filled, bytes, size);
        ad_siphash_begin(&padded, key);
        ad_siphash_begin(&unpadded, key);
        ad_siphash_bytes(&padded, filled, (size + 7) / 8 * 8);
        ad_siphash_bytes(&unpadded, bytes, size);
        if (memcmp(&padded, &unpadded, sizeof padded) != 0)
            return 1;
    }
    return 0;
}

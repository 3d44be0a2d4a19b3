/* The algorithms of digests: RFC 7616, 6.1; RFC 8760. */
#ifndef AUTH_DIAMETER_ALGORITHMS_H
#define AUTH_DIAMETER_ALGORITHMS_H

#include <stddef.h>

/* In the order of their strength; those with -sess have the same hash. */
enum { AD_MD5, AD_SHA_256, AD_SHA_512_256, AD_ALGORITHM_UNKNOWN };

/* Hexadecimal digits of a digest */
enum { AD_MD5_DIGITS = 32, AD_SHA_2_DIGITS = 64 };

struct ad_algorithm {
    const char *name; /* without -sess */
    size_t name_size;
    size_t digits;
    const char *hash; /* the name in Python's hashlib */
};

static const struct ad_algorithm ad_algorithms[AD_ALGORITHM_UNKNOWN] = {
    [AD_MD5] = {"MD5", 3, AD_MD5_DIGITS, "md5"},
    [AD_SHA_256] = {"SHA-256", 7, AD_SHA_2_DIGITS, "sha256"},
    [AD_SHA_512_256] = {"SHA-512-256", 11, AD_SHA_2_DIGITS, "sha512_256"},
};

#endif

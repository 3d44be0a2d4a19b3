/* What the load generators and the stub share: a clock, a histogram of times, failing with a reason,
 * and AVPs. */
#ifndef AUTH_DIAMETER_BENCH_H
#define AUTH_DIAMETER_BENCH_H

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static inline double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline void die(const char *what)
{
    perror(what);
    exit(2);
}

static inline struct sockaddr_in address_of(const char *host, const char *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    if (inet_pton(AF_INET, host, &a.sin_addr) != 1) {
        fprintf(stderr, "%s: not an IPv4 address\n", host);
        exit(2);
    }
    return a;
}

/* Latencies in steps of 0.1 us up to 1 s; what took longer counts as that. It needs the same memory for any count. */
enum { HISTOGRAM_STEPS = 10000000 };

typedef struct {
    uint32_t count[HISTOGRAM_STEPS];
    uint64_t total;
} histogram;

static inline void histogram_add(histogram *h, double seconds)
{
    double step = seconds * 1e7;
    h->count[step < 0 ? 0 : step < HISTOGRAM_STEPS ? (uint32_t)step : HISTOGRAM_STEPS - 1]++;
    h->total++;
}

static inline double histogram_us(const histogram *h, double share)
{
    uint64_t wanted = (uint64_t)((double)h->total * share), seen = 0;
    for (uint32_t step = 0; step < HISTOGRAM_STEPS; step++)
        if ((seen += h->count[step]) > wanted)
            return step / 10.0;
    return 0;
}

/* Diameter (RFC 6733, 4.1): numbers of 4 bytes, and an AVP with its padding; where it ends. */
static inline uint32_t get(const unsigned char *p)
{
    uint32_t value;
    memcpy(&value, p, 4);
    return ntohl(value);
}

static inline void put(unsigned char *p, uint32_t value)
{
    value = htonl(value);
    memcpy(p, &value, 4);
}

static inline unsigned char *put_avp(unsigned char *p, uint32_t code, uint32_t flags, const void *data, size_t n)
{
    size_t padding = -n & 3;
    put(p, code);
    put(p + 4, flags << 24 | (uint32_t)(8 + n));
    memcpy(p + 8, data, n);
    memset(p + 8 + n, 0, padding);
    return p + 8 + n + padding;
}

#endif

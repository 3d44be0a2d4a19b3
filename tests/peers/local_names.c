/* For LD_PRELOAD: getaddrinfo() of each name that ends with NAMES_UNDER has the address 127.0.0.1. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

typedef int lookup(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found)
{
    lookup *other = (lookup *)dlsym(RTLD_NEXT, "getaddrinfo");
    const char *end = getenv("NAMES_UNDER");
    size_t n = name ? strlen(name) : 0, m = end ? strlen(end) : 0;
    if (m > 0 && n > m && strcmp(name + n - m, end) == 0)
        name = "127.0.0.1";
    return other(name, service, hints, found);
}

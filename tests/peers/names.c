/* For LD_PRELOAD: gethostbyname() of the name in NAMES_OF has the IPv4 addresses in the file NAMES_IN, one a line. The file
 * is read each time, so that a name stands for others from one moment to the next, as in a network of containers. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 16 };

struct hostent *gethostbyname(const char *name)
{
    static struct in_addr addresses[MOST];
    static char *list[MOST + 1], *no_aliases[1];
    static struct hostent found = {.h_aliases = no_aliases, .h_addrtype = AF_INET, .h_length = sizeof addresses[0]};
    const char *ours = getenv("NAMES_OF");
    if (ours == NULL || strcmp(name, ours) != 0) {
        struct hostent *(*other)(const char *) = (struct hostent * (*)(const char *)) dlsym(RTLD_NEXT, "gethostbyname");
        return other ? other(name) : NULL;
    }
    FILE *file = fopen(getenv("NAMES_IN"), "r");
    char line[64];
    int count = 0;
    while (file != NULL && count < MOST && fscanf(file, "%63s", line) == 1)
        if (inet_aton(line, &addresses[count]) != 0) {
            list[count] = (char *)&addresses[count];
            count++;
        }
    if (file != NULL)
        fclose(file);
    list[count] = NULL;
    found.h_name = (char *)ours;
    found.h_addr_list = list;
    return count > 0 ? &found : NULL;
}

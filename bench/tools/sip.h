/* What the SIP/UDP loads share: their sockets, a request with places to fill in, and replies by status. */
#ifndef AUTH_DIAMETER_BENCH_SIP_H
#define AUTH_DIAMETER_BENCH_SIP_H

#include "bench.h"

#include <sys/socket.h>

enum {
    BATCH = 64,                 /* datagrams in one system call */
    MAX_REQUEST = 16384,
    MAX_REPLY = 4096,
    MAX_WINDOW = 65536,
    MAX_SOURCES = 1024,
    DIGITS = 8,                 /* of a serial */
    SERIALS = 100000000,
    STATUSES = 1000,
};

#define GIVE_UP 10.0            /* seconds without any reply at all */

/* A UDP socket that has the server as its only partner. `own` is HOST:PORT of the socket, as a Via names it. */
typedef struct {
    int fd;
    char own[96];
} source;

/* Splits HOST:PORT and ends the program where it is none. */
static inline struct sockaddr_in address_in(const char *text)
{
    char host[64] = "", port[16] = "";
    if (sscanf(text, "%63[^:]:%15s", host, port) != 2) {
        fprintf(stderr, "%s: expected HOST:PORT\n", text);
        exit(2);
    }
    return address_of(host, port);
}

/* Opens `count` sockets. The first is bound to `bind_to`, the others to that host and ports that the kernel chooses. */
static inline void open_sources(source *sources, int count, const char *bind_to, struct sockaddr_in server)
{
    struct sockaddr_in own = address_in(bind_to);
    for (int i = 0; i < count; i++) {
        int fd = sources[i].fd = socket(AF_INET, SOCK_DGRAM, 0), buffer = 8 << 20;
        socklen_t size = sizeof own;
        char host[INET_ADDRSTRLEN];
        if (fd < 0)
            die("socket");
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
        if (bind(fd, (struct sockaddr *)&own, sizeof own) || getsockname(fd, (struct sockaddr *)&own, &size))
            die(bind_to);
        if (connect(fd, (struct sockaddr *)&server, sizeof server))
            die("connect");
        inet_ntop(AF_INET, &own.sin_addr, host, sizeof host);
        snprintf(sources[i].own, sizeof sources[i].own, "%s:%d", host, ntohs(own.sin_port));
        own.sin_port = 0;
    }
}

/* The text of a file, which the caller owns; it ends with a 0. */
static inline char *read_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    char *text = malloc(MAX_REQUEST);
    if (!file || !text)
        die(path);
    text[fread(text, 1, MAX_REQUEST - 1, file)] = 0;
    fclose(file);
    return text;
}

static inline void put_digits(char *to, uint32_t serial)
{
    for (int i = DIGITS; i-- > 0; serial /= 10)
        to[i] = (char)('0' + serial % 10);
}

/* The round that a load's slots begin with. It differs from run to run, because what has the same port as one before it
 * must not send the same requests. */
static inline uint32_t first_round(uint32_t rounds)
{
    struct timespec clock;
    clock_gettime(CLOCK_REALTIME, &clock);
    return (uint32_t)(clock.tv_nsec / 1000 + 1000000 * (clock.tv_sec % 100)) % rounds;
}

/* Status and serial of a final reply: the serial is the digits behind its first "z9hG4bK-". 0: it is none. `text` ends
 * with a 0. */
static inline int read_reply(const char *text, size_t size, uint32_t *serial)
{
    const char *branch = strstr(text, "z9hG4bK-");
    int status = size > 12 ? atoi(text + 8) : 0;
    if (!branch || status < 200 || status > 699)
        return 0;
    *serial = (uint32_t)strtoul(branch + 8, NULL, 10);
    return status;
}

static inline void print_statuses(const long statuses[STATUSES])
{
    const char *comma = "";
    printf("\"statuses\": {");
    for (int i = 0; i < STATUSES; i++)
        if (statuses[i]) {
            printf("%s\"%d\": %ld", comma, i, statuses[i]);
            comma = ", ";
        }
    printf("}");
}

/* Buffers for what one system call reads. */
typedef struct {
    char data[BATCH][MAX_REPLY];
    struct iovec parts[BATCH];
    struct mmsghdr headers[BATCH];
} inbox;

static inline void open_inbox(inbox *in)
{
    for (int i = 0; i < BATCH; i++) {
        in->parts[i] = (struct iovec){in->data[i], MAX_REPLY - 1};
        in->headers[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &in->parts[i], .msg_iovlen = 1}};
    }
}

/* How many datagrams were there; each ends with a 0. */
static inline int receive(inbox *in, int fd)
{
    int n = recvmmsg(fd, in->headers, BATCH, MSG_DONTWAIT, NULL);
    for (int i = 0; i < n; i++)
        in->data[i][in->headers[i].msg_len] = 0;
    return n;
}

#endif

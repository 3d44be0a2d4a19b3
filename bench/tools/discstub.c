/* discstub [-p PORT] [-d MICROSECONDS] [-c PER_SECOND] [-x]: a DISC that verifies nothing, so that only its client is measured.
 *
 * A question without a Response AVP (401) is answered 4001 with a Challenge, any other 2001, and a group check
 * (Service-Type "8") always 2001. Hop-by-Hop, End-to-End, SIP-MSGID and Service-Type come back. One thread; all answers
 * to what one read brought go out in one write, with -d so many microseconds later, as from a DISC across a network.
 * With -c it answers so many a second, one after the other: what comes faster waits. With -x it answers credentials 5003,
 * as our DISC answers a wrong password.
 * It also speaks standard Diameter with RFC 4740 (application 6): it answers CER, DWR and DPR, a MAR without a
 * SIP-Auth-Data-Item (376) with 1001 and a challenge, and any other with 2001.
 * Prints "listening on 127.0.0.1:PORT", and at each SIGUSR1 "asked N": so many questions so far. */
#define _GNU_SOURCE
#include "bench.h"

#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

enum {
    RESULT_CODE = 268, RESPONSE = 401, CHALLENGE = 402, SERVICE_TYPE = 404, SIP_MSGID = 406,
    SESSION_ID = 263, ORIGIN_HOST = 264, ORIGIN_REALM = 296, HOST_IP_ADDRESS = 257, VENDOR_ID = 266, PRODUCT_NAME = 269,
    AUTH_APPLICATION_ID = 258, AUTH_SESSION_STATE = 277, ITEM = 376, SCHEME = 377, AUTHENTICATE = 379,
    DIGEST_REALM = 104, DIGEST_NONCE = 105, DIGEST_QOP = 110, DIGEST_ALGORITHM = 111,
    CAPABILITIES_EXCHANGE = 257, SIP = 6,
    MANDATORY = 0x40,
    MAX_CONNECTIONS = 4096,
    BUFFER = 1 << 18,
    MAX_ANSWER = 512,
    MIN_QUESTION = 20,
};

static const char challenge[] =
    "Digest realm=\"siphub.net\", nonce=\"66f1c2a09b3d5e7f4821d0c6b5a39e88\", algorithm=MD5, qop=\"auth\"";

typedef struct {
    size_t size;
    unsigned char in[BUFFER];
} connection;

/* Answers that wait for their time; none is due before the one that came before it. */
typedef struct late {
    struct late *next;
    double due;
    connection *to;             /* NULL: it was closed meanwhile */
    int fd;
    size_t size;
    unsigned char data[];
} late;

static late *first_late, **last_late = &first_late;
static int timer = -1;
static long asked;
static int refusing;            /* -x */
static connection *connections[MAX_CONNECTIONS];
static unsigned char out[BUFFER / MIN_QUESTION * MAX_ANSWER];

static unsigned char *put_number(unsigned char *q, uint32_t code, uint32_t number)
{
    unsigned char data[4];
    put(data, number);
    return put_avp(q, code, MANDATORY, data, 4);
}

static unsigned char *put_text(unsigned char *q, uint32_t code, const char *text)
{
    return put_avp(q, code, MANDATORY, text, strlen(text));
}

static unsigned char *put_origin(unsigned char *q)
{
    return put_text(put_text(q, ORIGIN_HOST, "stub.example.net"), ORIGIN_REALM, "example.net");
}

/* Writes SIP-Auth-Data-Item with a challenge (RFC 4740, 9.5.3). */
static unsigned char *put_item(unsigned char *q)
{
    unsigned char inner[192], item[224], *p = inner;
    p = put_text(p, DIGEST_REALM, "siphub.net");
    p = put_text(p, DIGEST_NONCE, "66f1c2a09b3d5e7f4821d0c6b5a39e88");
    p = put_text(p, DIGEST_ALGORITHM, "MD5");
    p = put_text(p, DIGEST_QOP, "auth");
    unsigned char *end = put_avp(put_number(item, SCHEME, 0), AUTHENTICATE, MANDATORY, inner, (size_t)(p - inner));
    return put_avp(q, ITEM, MANDATORY, item, (size_t)(end - item));
}

/* Writes the answer to a request of standard Diameter; its end. */
static unsigned char *answer_standard(const unsigned char *request, size_t size, unsigned char *q)
{
    uint32_t command = get(request + 4) & 0xffffff;
    if (get(request + 8) != SIP) {
        q = put_origin(put_number(q, RESULT_CODE, 2001));
        if (command == CAPABILITIES_EXCHANGE) {
            q = put_avp(q, HOST_IP_ADDRESS, MANDATORY, "\0\1\177\0\0\1", 6);
            q = put_avp(put_number(q, VENDOR_ID, 0), PRODUCT_NAME, 0, "stub", 4);
            q = put_number(q, AUTH_APPLICATION_ID, SIP);
        }
        return q;
    }
    int credentials = 0;
    for (const unsigned char *p = request + 20, *end = request + size; end - p >= 8;) {
        size_t n = get(p + 4) & 0xffffff, padded = (n + 3) & ~(size_t)3;
        if (n < 8 || padded > (size_t)(end - p))
            break;
        if (get(p) == SESSION_ID) {
            memcpy(q, p, padded);
            q += padded;
        }
        credentials |= get(p) == ITEM;
        p += padded;
    }
    asked++;
    q = put_number(put_number(q, AUTH_APPLICATION_ID, SIP), RESULT_CODE, credentials ? 2001 : 1001);
    q = put_origin(put_number(q, AUTH_SESSION_STATE, 1));
    return credentials ? q : put_item(q);
}

/* Writes the answer to one whole question; the size of the answer. */
static size_t answer(const unsigned char *question, size_t size, unsigned char *to)
{
    const unsigned char *msgid = NULL, *service = NULL, *end = question + size;
    int with_credentials = 0;
    if (get(question + 8) != 1) {
        unsigned char *last = answer_standard(question, size, to + 20);
        memcpy(to, question, 20);
        put(to, 1u << 24 | (uint32_t)(last - to));
        to[4] &= 0x40;          /* flags: an answer */
        return (size_t)(last - to);
    }
    for (const unsigned char *p = question + 20; end - p >= 8;) {
        size_t n = get(p + 4) & 0xffffff;
        if (n < 8 || n > (size_t)(end - p))
            break;
        switch (get(p)) {
        case SIP_MSGID: msgid = n == 12 ? p + 8 : NULL; break;
        case SERVICE_TYPE: service = n == 9 ? p + 8 : NULL; break;
        case RESPONSE: with_credentials = 1; break;
        }
        n = (n + 3) & ~(size_t)3;
        p += n < (size_t)(end - p) ? n : (size_t)(end - p);
    }
    asked++;
    int in_group = service && *service == '8', challenged = !with_credentials && !in_group;
    unsigned char code[4], *q = to + 20;
    put(code, challenged ? 4001 : refusing && !in_group ? 5003 : 2001);
    q = put_avp(q, RESULT_CODE, MANDATORY, code, 4);
    if (msgid)
        q = put_avp(q, SIP_MSGID, 0, msgid, 4);
    if (service)
        q = put_avp(q, SERVICE_TYPE, MANDATORY, service, 1);
    if (challenged)
        q = put_avp(q, CHALLENGE, MANDATORY, challenge, sizeof challenge - 1);
    memcpy(to, question, 20);
    put(to, 1u << 24 | (uint32_t)(q - to));
    to[4] = 0;                  /* flags: an answer */
    return (size_t)(q - to);
}

static void drop(int fd)
{
    for (late *l = first_late; l; l = l->next)
        if (l->to == connections[fd])
            l->to = NULL;
    close(fd);
    free(connections[fd]);
    connections[fd] = NULL;
}

static int send_all(int fd, const unsigned char *data, size_t size)
{
    while (size) {
        ssize_t n = write(fd, data, size);
        if (n <= 0)
            return -1;
        data += n;
        size -= (size_t)n;
    }
    return 0;
}

static void set_timer(void)
{
    double in = first_late ? first_late->due - now() : 0;
    struct itimerspec when = {.it_value.tv_nsec = first_late ? (in > 1e-9 ? (long)(in * 1e9) : 1) : 0};
    timerfd_settime(timer, 0, &when, NULL);
}

static void send_later(int fd, const unsigned char *data, size_t size, double due)
{
    late *l = malloc(sizeof *l + size);
    if (!l)
        die("discstub");
    *l = (late){.due = due, .to = connections[fd], .fd = fd, .size = size};
    memcpy(l->data, data, size);
    *last_late = l;
    last_late = &l->next;
    if (first_late == l)
        set_timer();
}

static void send_due(void)
{
    uint64_t ticks;
    if (read(timer, &ticks, sizeof ticks) < 0)
        return;
    while (first_late && first_late->due <= now()) {
        late *l = first_late;
        first_late = l->next;
        if (!first_late)
            last_late = &first_late;
        if (l->to && send_all(l->fd, l->data, l->size))
            drop(l->fd);
        free(l);
    }
    set_timer();
}

static void serve(int fd, double delay, double interval)
{
    static double busy_until;
    connection *c = connections[fd];
    ssize_t n = read(fd, c->in + c->size, BUFFER - c->size);
    if (n <= 0) {
        drop(fd);
        return;
    }
    c->size += (size_t)n;
    size_t at = 0, ready = 0;
    while (c->size - at >= MIN_QUESTION) {
        size_t size = get(c->in + at) & 0xffffff;
        if (size < MIN_QUESTION || size > BUFFER) {
            drop(fd);
            return;
        }
        if (c->size - at < size)
            break;
        size_t n = answer(c->in + at, size, out + ready);
        at += size;
        if (interval > 0) {
            double start = now();
            busy_until = (busy_until > start ? busy_until : start) + interval;
            send_later(fd, out, n, busy_until + delay);
        } else {
            ready += n;
        }
    }
    memmove(c->in, c->in + at, c->size - at);
    c->size -= at;
    if (!ready)
        return;
    if (delay > 0)
        send_later(fd, out, ready, now() + delay);
    else if (send_all(fd, out, ready))
        drop(fd);
}

int main(int argc, char **argv)
{
    const char *port = "0";
    double delay = 0, interval = 0;
    int option, one = 1;
    while ((option = getopt(argc, argv, "p:d:c:x")) != -1) {
        if (option == 'p')
            port = optarg;
        else if (option == 'd')
            delay = atoi(optarg) % 1000000 * 1e-6;
        else if (option == 'c' && atof(optarg) > 0)
            interval = 1 / atof(optarg);
        else if (option == 'x')
            refusing = 1;
        else
            return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGUSR1);
    sigprocmask(SIG_BLOCK, &wanted, NULL);
    int signals = signalfd(-1, &wanted, SFD_NONBLOCK);
    struct sockaddr_in own = address_of("127.0.0.1", port);
    socklen_t own_size = sizeof own;
    int listener = socket(AF_INET, SOCK_STREAM, 0), poller = epoll_create1(0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&own, sizeof own) || listen(listener, 512) ||
        getsockname(listener, (struct sockaddr *)&own, &own_size))
        die("discstub");
    printf("listening on 127.0.0.1:%d\n", ntohs(own.sin_port));
    fflush(stdout);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[64];
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    event.data.fd = timer;
    epoll_ctl(poller, EPOLL_CTL_ADD, timer, &event);
    event.data.fd = signals;
    epoll_ctl(poller, EPOLL_CTL_ADD, signals, &event);
    for (;;) {
        int n = epoll_wait(poller, events, 64, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == timer) {
                send_due();
                continue;
            }
            if (fd == signals) {
                struct signalfd_siginfo told;
                if (read(signals, &told, sizeof told) == sizeof told) {
                    printf("asked %ld\n", asked);
                    fflush(stdout);
                }
                continue;
            }
            if (fd != listener) {
                if (connections[fd])
                    serve(fd, delay, interval);
                continue;
            }
            fd = accept(listener, NULL, NULL);
            if (fd < 0)
                continue;
            if (fd >= MAX_CONNECTIONS || !(connections[fd] = malloc(sizeof(connection)))) {
                close(fd);
                continue;
            }
            connections[fd]->size = 0;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            event.data.fd = fd;
            epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
        }
    }
}

/* canned [-p PORT] [-g] [-c]: a SIP/UDP server that thinks nothing: the least work that any server can do for a request.
 *
 * It answers each request 200 at once, whoever sent it, and asks nobody. A reply has what RFC 3261, 8.2.6 demands: the Vias,
 * From, To with a tag, Call-ID and CSeq, as the request has them. It goes to the address that the request came from, so
 * neither received nor rport is added. One system call reads up to 64 requests, another sends all their replies.
 * With -g, replies of one size that go to one address one after the other leave as a single datagram that the kernel cuts
 * up (UDP_SEGMENT). With -c, a request without Authorization is answered 401 with a challenge, always the same one; the
 * digest of the others is not verified.
 * Prints "listening on 127.0.0.1:PORT". */
#define _GNU_SOURCE
#include "bench.h"

#include <netinet/udp.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103         /* since Linux 4.18 */
#endif

enum {
    BATCH = 64,                 /* requests in one system call; also the most that one UDP_SEGMENT may have */
    MAX_REQUEST = 65536,
    MAX_REPLY = 4096,
    MAX_RUN = 65507,            /* bytes of one UDP datagram, cut up or not */
};

static const char ok[] = "SIP/2.0 200 OK\r\n", unauthorized[] = "SIP/2.0 401 Unauthorized\r\n", tag[] = ";tag=canned",
    challenge[] = "WWW-Authenticate: Digest realm=\"siphub.net\", nonce=\"66f1c2a09b3d5e7f4821d0c6b5a39e88\", "
                  "algorithm=MD5, qop=\"auth\"\r\n",
    end_of_head[] = "Content-Length: 0\r\n\r\n";

/* Replies in a row that go out together. */
typedef struct {
    struct sockaddr_in to;
    char *data;
    size_t size, segment;       /* of all, and of each but the last, which may be shorter */
    int count;
    char control[CMSG_SPACE(sizeof(uint16_t))];
} run;

static int grouping, challenging;

/* Where text is written. */
typedef struct {
    char *at, *end;             /* nothing is written past the end */
    int full;                   /* something did not fit, and was left out */
} writer;

static void put_text(writer *w, const char *text, size_t size)
{
    if (size > (size_t)(w->end - w->at)) {
        w->full = 1;
        return;
    }
    memcpy(w->at, text, size);
    w->at += size;
}

/* The letter of the compact form of a field that a reply repeats, 's' for CSeq, which has none, and 'a' for Authorization;
 * 0: another field. `size` is that of its name. */
static char field(const char *name, size_t size)
{
    static const struct { const char *name; size_t size; char letter; } known[] = {
        {"Via", 3, 'v'}, {"From", 4, 'f'}, {"To", 2, 't'}, {"Call-ID", 7, 'i'}, {"CSeq", 4, 's'},
        {"Authorization", 13, 'a'},
    };
    char first = (char)(name[0] | 32);
    if (size == 1)
        return first == 'v' || first == 'f' || first == 't' || first == 'i' ? first : 0;
    if (first != 'v' && first != 'f' && first != 't' && first != 'c' && first != 'a')
        return 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (size == known[i].size && !strncasecmp(name, known[i].name, size))
            return known[i].letter;
    return 0;
}

/* The last byte of a header field, which may have several lines; NULL: it has no end. */
static const char *end_of_field(const char *at, const char *end)
{
    do
        at = memchr(at, '\n', (size_t)(end - at));
    while (at && ++at < end && (*at == ' ' || *at == '\t'));
    return at ? at - 1 : NULL;
}

/* Writes the reply to a request, which ends with a 0; its size. 0: the request is none, or too long to answer. */
static size_t reply(const char *request, size_t size, char *to)
{
    /* The first line of both replies has its place; which one it is turns out at the end. */
    writer w = {to + sizeof unauthorized - 1, to + MAX_REPLY, 0};
    char *body = w.at;
    const char *end = request + size, *line = memchr(request, '\n', size);
    int fields = 0, authorized = 0;
    for (const char *last; line && ++line < end && *line != '\r' && *line != '\n'; line = last) {
        last = end_of_field(line, end);
        if (!last)
            return 0;
        char letter = field(line, strcspn(line, ": \t\r\n"));
        size_t field_size = (size_t)(last + 1 - line);
        if (letter == 'a')
            authorized = 1;
        if (!letter || letter == 'a')
            continue;
        fields++;
        if (letter == 't' && !memmem(line, field_size, ";tag=", 5)) {
            put_text(&w, line, field_size - 1 - (last[-1] == '\r'));
            put_text(&w, tag, sizeof tag - 1);
            put_text(&w, "\r\n", 2);
        } else {
            put_text(&w, line, field_size);
        }
    }
    if (!line || line >= end)
        return 0;               /* the empty line is missing */
    const char *status = ok;
    size_t status_size = sizeof ok - 1;
    if (challenging && !authorized) {
        put_text(&w, challenge, sizeof challenge - 1);
        status = unauthorized;
        status_size = sizeof unauthorized - 1;
    }
    put_text(&w, end_of_head, sizeof end_of_head - 1);
    if (fields < 5 || w.full)
        return 0;
    size_t rest = (size_t)(w.at - body);
    if (status_size != (size_t)(body - to))
        memmove(to + status_size, body, rest);
    memcpy(to, status, status_size);
    return status_size + rest;
}

/* Puts a reply into the last run, if it may join it; else into a new one. The number of runs. */
static int join(run *runs, int n, struct sockaddr_in to, char *data, size_t size)
{
    run *last = n ? &runs[n - 1] : NULL;
    if (grouping && last && last->to.sin_port == to.sin_port && last->to.sin_addr.s_addr == to.sin_addr.s_addr &&
        last->size == last->segment * (size_t)last->count && size <= last->segment && size <= MAX_RUN - last->size) {
        last->size += size;
        last->count++;
        return n;
    }
    runs[n] = (run){.to = to, .data = data, .size = size, .segment = size, .count = 1};
    return n + 1;
}

static void send_runs(int fd, run *runs, int n)
{
    struct mmsghdr headers[BATCH] = {0};
    struct iovec parts[BATCH];
    for (int i = 0; i < n; i++) {
        parts[i] = (struct iovec){runs[i].data, runs[i].size};
        headers[i].msg_hdr = (struct msghdr){
            .msg_name = &runs[i].to, .msg_namelen = sizeof runs[i].to, .msg_iov = &parts[i], .msg_iovlen = 1};
        if (runs[i].count == 1)
            continue;
        headers[i].msg_hdr.msg_control = runs[i].control;
        headers[i].msg_hdr.msg_controllen = sizeof runs[i].control;
        struct cmsghdr *c = CMSG_FIRSTHDR(&headers[i].msg_hdr);
        *c = (struct cmsghdr){.cmsg_level = SOL_UDP, .cmsg_type = UDP_SEGMENT, .cmsg_len = CMSG_LEN(sizeof(uint16_t))};
        uint16_t segment = (uint16_t)runs[i].segment;
        memcpy(CMSG_DATA(c), &segment, sizeof segment);
    }
    for (int sent = 0; sent < n;) {
        int k = sendmmsg(fd, headers + sent, (unsigned)(n - sent), 0);
        sent += k > 0 ? k : 1;  /* what cannot be sent is lost, as any datagram may be */
    }
}

static void serve(int fd)
{
    static char in[BATCH][MAX_REQUEST], out[BATCH * MAX_REPLY];
    static struct sockaddr_in from[BATCH];
    static struct iovec parts[BATCH];
    static struct mmsghdr headers[BATCH];
    static run runs[BATCH];
    for (;;) {
        for (int i = 0; i < BATCH; i++) {
            parts[i] = (struct iovec){in[i], MAX_REQUEST - 1};
            headers[i].msg_hdr = (struct msghdr){
                .msg_name = &from[i], .msg_namelen = sizeof from[i], .msg_iov = &parts[i], .msg_iovlen = 1};
        }
        int got = recvmmsg(fd, headers, BATCH, MSG_WAITFORONE, NULL), n = 0;
        char *at = out;
        for (int i = 0; i < got; i++) {
            in[i][headers[i].msg_len] = 0;
            size_t size = reply(in[i], headers[i].msg_len, at);
            if (size)
                n = join(runs, n, from[i], at, size);
            at += size;         /* one after the other, as a run must lie */
        }
        send_runs(fd, runs, n);
    }
}

int main(int argc, char **argv)
{
    const char *port = "0";
    int option, buffer = 8 << 20;
    while ((option = getopt(argc, argv, "p:gc")) != -1) {
        switch (option) {
        case 'p': port = optarg; break;
        case 'g': grouping = 1; break;
        case 'c': challenging = 1; break;
        default: return 2;
        }
    }
    struct sockaddr_in own = address_of("127.0.0.1", port);
    socklen_t size = sizeof own;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    if (bind(fd, (struct sockaddr *)&own, sizeof own) || getsockname(fd, (struct sockaddr *)&own, &size))
        die("canned");
    printf("listening on 127.0.0.1:%d\n", ntohs(own.sin_port));
    fflush(stdout);
    serve(fd);
}

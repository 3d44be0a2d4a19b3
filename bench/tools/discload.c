/* discload [-n COUNT] [-w WINDOW] [-c CONNECTIONS] [-m NONCES] [-u USERS] [-h HOT] [-s SEED] [-x] HOST PORT: a closed-loop
 * load on a DISC that verifies.
 *
 * Asks as a SIP server does: first without credentials until it has NONCES nonces, 256, from the DISC, then with right
 * credentials of users "u0000000", "u0000001" … of realm siphub.net, whose passwords are "p0000000", "p0000001" …
 * A user is drawn at random for each question: from all USERS, or with -h from HOT of them that are spread evenly.
 * WINDOW questions are kept under way over CONNECTIONS connections; a connection writes once for all that one read let
 * through. Each nonce is used with a nonce count that grows. With -x the questions have no credentials.
 *
 * Prints one line of JSON: answers, seconds, per_s, p50_us, p99_us, and how many answers had each Result-Code.
 * Exit status: 0 when all answers were 2001, with -x 4001, else 1. */
#define _GNU_SOURCE
#include "bench.h"
#include "md5.h"

#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    USER_NAME = 1, RESULT_CODE = 268, DESTINATION_REALM = 283, RESOURCE = 400, RESPONSE = 401, CHALLENGE = 402,
    METHOD = 403, SERVICE_TYPE = 404, SIP_MSGID = 406,
    MANDATORY = 0x40,
    MOST_NONCES = 4096,
    MAX_NONCE = 128,
    MAX_CONNECTIONS = 1024,
    MAX_WINDOW = 65536,
    BUFFER = 1 << 17,
    QUESTION = 512,             /* bytes of the longest */
};

#define REALM "siphub.net"
#define URI "sip:" REALM

typedef struct {
    int fd;
    size_t in_size, out_size;
    unsigned char in[BUFFER], *out;
} connection;

typedef struct {
    char text[MAX_NONCE];
    size_t size;
    uint32_t count;
} nonce;

static nonce nonces[MOST_NONCES];
static int nonce_count, nonces_wanted = 256;
static connection *connections;
static double sent_at[MAX_WINDOW];      /* by SIP-MSGID */
static histogram latencies;
static unsigned char (*ha1s)[32];       /* hexadecimal, by user */
static char ha2[32];
static uint64_t seed = 88172645463325252u;

static uint64_t draw(uint64_t below)    /* xorshift64* */
{
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return (uint64_t)(((unsigned __int128)(seed * 2685821657736338717u) * below) >> 64);
}

/* One of the first `users`, or of `hot` that are spread over them; -1, nobody, where there are none. */
static long draw_user(long users, long hot)
{
    if (users == 0)
        return -1;
    return hot ? (long)draw((uint64_t)hot) * (users / hot) : (long)draw((uint64_t)users);
}

static void hex(const unsigned char digest[16], char to[32])
{
    for (int i = 0; i < 16; i++) {
        to[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        to[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
}

static void md5_hex(const char *text, size_t size, char to[32])
{
    unsigned char digest[16];
    ad_md5(text, size, digest);
    hex(digest, to);
}

/* Text and numbers of a question are put together without snprintf, which took half of the time for a question. */
static char *put_text(char *to, const char *text, size_t n)
{
    memcpy(to, text, n);
    return to + n;
}

#define PUT(to, text) put_text(to, text, sizeof(text) - 1)

static inline char *put_number(char *to, unsigned long number, unsigned base, int digits)
{
    for (int i = digits; i--; number /= base)
        to[i] = "0123456789abcdef"[number % base];
    return to + digits;
}

/* What the response is the hash of (RFC 7616, 3.4.1). */
static char *put_hashed(char *to, const char *user_ha1, const nonce *with)
{
    to = put_text(to, user_ha1, 32);
    to = PUT(to, ":");
    to = put_text(to, with->text, with->size);
    to = PUT(to, ":");
    to = put_number(to, with->count, 16, 8);
    to = PUT(to, ":0a4f113b:auth:");
    return put_text(to, ha2, 32);
}

static char *put_credentials(char *to, long user, const nonce *with, const char response[32])
{
    to = PUT(to, "Digest username=\"u");
    to = put_number(to, (unsigned long)user, 10, 7);
    to = PUT(to, "\", realm=\"" REALM "\", nonce=\"");
    to = put_text(to, with->text, with->size);
    to = PUT(to, "\", uri=\"" URI "\", response=\"");
    to = put_text(to, response, 32);
    to = PUT(to, "\", algorithm=MD5, cnonce=\"0a4f113b\", qop=auth, nc=");
    return put_number(to, with->count, 16, 8);
}

/* Writes a question to `to`; its size. `user` below 0: without credentials. */
static size_t write_question(unsigned char *to, uint32_t msgid, long user)
{
    unsigned char id[4], *q = to + 20;
    char text[QUESTION], response[32], *end;
    put(id, msgid);
    q = put_avp(q, RESOURCE, MANDATORY, REALM, strlen(REALM));
    q = put_avp(q, DESTINATION_REALM, MANDATORY, REALM, strlen(REALM));
    q = put_avp(q, SERVICE_TYPE, MANDATORY, "6", 1);
    q = put_avp(q, SIP_MSGID, 0, id, 4);
    end = PUT(put_number(PUT(text, "u"), user < 0 ? 0 : (unsigned long)user, 10, 7), "@" REALM);
    q = put_avp(q, USER_NAME, MANDATORY, text, (size_t)(end - text));
    if (user >= 0) {
        nonce *with = &nonces[draw((uint64_t)nonce_count)];
        with->count++;
        md5_hex(text, (size_t)(put_hashed(text, (const char *)ha1s[user], with) - text), response);
        end = put_credentials(text, user, with, response);
        q = put_avp(q, RESPONSE, MANDATORY, text, (size_t)(end - text));
        q = put_avp(q, METHOD, MANDATORY, "REGISTER", 8);
    }
    put(to, 1u << 24 | (uint32_t)(q - to));
    put(to + 4, 0x80u << 24 | 265);
    put(to + 8, 1);
    put(to + 12, msgid);
    put(to + 16, msgid);
    return (size_t)(q - to);
}

static void flush(connection *c)
{
    for (size_t sent = 0; sent < c->out_size;) {
        ssize_t n = write(c->fd, c->out + sent, c->out_size - sent);
        if (n <= 0)
            die("write");
        sent += (size_t)n;
    }
    c->out_size = 0;
}

/* Reads one answer; its Result-Code. A nonce in it is kept. */
static uint32_t read_answer(const unsigned char *p, size_t size, uint32_t *msgid)
{
    const unsigned char *end = p + size;
    uint32_t code = 0;
    for (p += 20; end - p >= 8;) {
        size_t n = get(p + 4) & 0xffffff, padded = (n + 3) & ~(size_t)3;
        if (n < 8 || padded > (size_t)(end - p))
            break;
        if (get(p) == RESULT_CODE)
            code = get(p + 8);
        else if (get(p) == SIP_MSGID)
            *msgid = get(p + 8);
        else if (get(p) == CHALLENGE && nonce_count < nonces_wanted) {
            const char *start = memmem(p + 8, n - 8, "nonce=\"", 7);
            const char *stop = start ? memchr(start + 7, '"', (size_t)((const char *)p + n - start - 7)) : NULL;
            if (stop && stop - start - 7 < MAX_NONCE) {
                nonces[nonce_count].size = (size_t)(stop - start - 7);
                memcpy(nonces[nonce_count].text, start + 7, nonces[nonce_count].size);
                nonce_count++;
            }
        }
        p += padded;
    }
    return code;
}

typedef struct {
    long done, codes[10000];
    double seconds;
} outcome;

/* Asks `count` questions, `window` at a time; with `users` 0 without credentials. */
static outcome ask(struct pollfd *ready, int n_connections, long count, int window, long users, long hot)
{
    outcome got = {0};
    long begun = 0;
    for (int i = 0; i < window && begun < count; i++, begun++) {
        connection *c = &connections[i % n_connections];
        long user = draw_user(users, hot);
        c->out_size += write_question(c->out + c->out_size, (uint32_t)i, user);
    }
    double start = now();
    for (int i = 0; i < window; i++)
        sent_at[i] = start;
    for (int i = 0; i < n_connections; i++)
        flush(&connections[i]);
    while (got.done < count) {
        if (poll(ready, (nfds_t)n_connections, 5000) <= 0) {
            fprintf(stderr, "discload: no answer for 5 s\n");
            break;
        }
        for (int i = 0; i < n_connections; i++) {
            connection *c = &connections[i];
            if (!ready[i].revents)
                continue;
            ssize_t n = read(c->fd, c->in + c->in_size, BUFFER - c->in_size);
            if (n <= 0)
                die("discload: the connection was closed");
            c->in_size += (size_t)n;
            double came = now();
            size_t at = 0;
            while (c->in_size - at >= 20) {
                size_t size = get(c->in + at) & 0xffffff;
                if (c->in_size - at < size)
                    break;
                uint32_t msgid = 0, code = read_answer(c->in + at, size, &msgid);
                at += size;
                histogram_add(&latencies, came - sent_at[msgid % MAX_WINDOW]);
                got.codes[code % 10000]++;
                got.done++;
                if (begun < count) {
                    long user = draw_user(users, hot);
                    sent_at[msgid % MAX_WINDOW] = came;
                    c->out_size += write_question(c->out + c->out_size, msgid, user);
                    begun++;
                }
            }
            memmove(c->in, c->in + at, c->in_size - at);
            c->in_size -= at;
            flush(c);
        }
    }
    got.seconds = now() - start;
    return got;
}

int main(int argc, char **argv)
{
    long count = 100000, users = 10000, hot = 0;
    int window = 64, n_connections = 4, option, one = 1, expected = 2001;
    while ((option = getopt(argc, argv, "n:w:c:m:u:h:s:x")) != -1) {
        switch (option) {
        case 'n': count = atol(optarg); break;
        case 'w': window = atoi(optarg); break;
        case 'c': n_connections = atoi(optarg); break;
        case 'm': nonces_wanted = atoi(optarg); break;
        case 'u': users = atol(optarg); break;
        case 'h': hot = atol(optarg); break;
        case 's': seed ^= (uint64_t)atol(optarg) << 20; break;
        case 'x': expected = 4001; break;
        default: return 2;
        }
    }
    if (argc - optind != 2 || window < 1 || window > MAX_WINDOW || n_connections < 1 || n_connections > MAX_CONNECTIONS ||
        window < n_connections || users < 1 || users > 10000000 || hot > users || count < 1 ||
        nonces_wanted < 1 || nonces_wanted > MOST_NONCES) {
        fprintf(stderr, "usage: discload [-n COUNT] [-w WINDOW] [-c CONNECTIONS] [-m NONCES] [-u USERS] [-h HOT] [-s SEED] [-x] HOST PORT\n");
        return 2;
    }
    struct sockaddr_in server = address_of(argv[optind], argv[optind + 1]);
    struct pollfd ready[MAX_CONNECTIONS];
    connections = calloc((size_t)n_connections, sizeof *connections);
    for (int i = 0; i < n_connections; i++) {
        connection *c = &connections[i];
        c->fd = socket(AF_INET, SOCK_STREAM, 0);
        c->out = malloc((size_t)window * QUESTION);
        if (connect(c->fd, (struct sockaddr *)&server, sizeof server))
            die("discload: connect");
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        ready[i] = (struct pollfd){c->fd, POLLIN, 0};
    }
    ha1s = malloc((size_t)users * sizeof *ha1s);
    for (long i = 0; i < users; i++) {
        char text[64];
        int n = snprintf(text, sizeof text, "u%07ld:" REALM ":p%07ld", i, i);
        md5_hex(text, (size_t)n, (char *)ha1s[i]);
    }
    md5_hex("REGISTER:" URI, strlen("REGISTER:" URI), ha2);

    ask(ready, n_connections, nonces_wanted, window < nonces_wanted ? window : nonces_wanted, 0, 0);
    if (nonce_count == 0) {
        fprintf(stderr, "discload: no challenge came\n");
        return 1;
    }
    memset(&latencies, 0, sizeof latencies);
    outcome got = ask(ready, n_connections, count, window, expected == 2001 ? users : 0, hot);
    printf("{\"answers\": %ld, \"seconds\": %.4f, \"per_s\": %.0f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"codes\": {",
           got.done, got.seconds, (double)got.done / got.seconds, histogram_us(&latencies, 0.5),
           histogram_us(&latencies, 0.99));
    const char *comma = "";
    for (int i = 0; i < 10000; i++)
        if (got.codes[i]) {
            printf("%s\"%d\": %ld", comma, i, got.codes[i]);
            comma = ", ";
        }
    printf("}}\n");
    return got.codes[expected] != count;
}

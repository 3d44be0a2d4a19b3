/* digestload [-b HOST:PORT] [-n COUNT] [-w WINDOW] [-u USERS] [-m TIMES] [-t SECONDS] HOST PORT FILE: a SIP/UDP load on a
 * server that verifies digests itself.
 *
 * FILE holds one REGISTER. In it {serial} and {source} stand for what they are to sipload, {user} for a user, and
 * {authorization} for an Authorization field with qop=auth and its end of line, or for nothing.
 * Users are "u0000000", "u0000001" … of realm siphub.net with passwords "p0000000", "p0000001" …, and take turns. One without
 * a nonce sends no credentials and must get 401 with a challenge for MD5; then its requests have right credentials
 * with that nonce and a nonce count that grows, and must get 200. After TIMES of them, 8, the nonce is given up. Of its
 * first nonce user i makes 1 + i mod TIMES uses, so that challenges and credentials come mixed.
 * WINDOW requests are kept under way, from one address and port. What has no reply after -t, half a second, is sent again.
 * After ten seconds without any reply the program gives up.
 *
 * Prints one line of JSON: replies, challenged, let_in, wrong, seconds, per_s, resent, p50_us, p99_us, and how many replies had
 * each status. Exit status: 0 when every request got the reply that it must get, else 1. */
#define _GNU_SOURCE
#include "bench.h"
#include "md5.h"
#include "sip.h"

#include <poll.h>
#include <strings.h>
#include <unistd.h>

enum {
    MAX_NONCE = 256,
    MAX_OPAQUE = 128,
    MAX_FIELD = 1024,           /* bytes of an Authorization field */
    MAX_PIECES = 32,
};

typedef enum { END, SERIAL, SOURCE, USER, AUTHORIZATION } place;

/* A part of FILE: text, and what follows it. */
typedef struct {
    const char *text;
    size_t size;
    place then;
} piece;

#define REALM "siphub.net"
#define URI "sip:" REALM
#define CNONCE "0a4f113b"

typedef struct {
    char nonce[MAX_NONCE], opaque[MAX_OPAQUE];  /* "": none */
    char ha1[32];               /* hexadecimal */
    int uses, most;             /* of the nonce: so far, and before it is given up */
    int busy;                   /* a request is under way */
} user;

/* A request under way; its serial is as in sipload. What is in it follows from its user. */
typedef struct {
    uint32_t round;
    long user;
    double sent, tried;         /* first (0: no request under way), and last */
} slot;

static long count = 10000, user_count = 10000;
static int window = 64, times = 8;
static double resend = 0.5;

static source at;
static piece pieces[MAX_PIECES];
static user *users;
static slot slots[MAX_WINDOW];
static int free_slots[MAX_WINDOW], free_count;
static uint32_t rounds;
static histogram latencies;
static char ha2[32];
static long begun, done, challenged, let_in, wrong, resent, statuses[STATUSES];
static double last;

static void md5_hex(const char *data, size_t size, char to[32])
{
    unsigned char digest[16];
    ad_md5(data, size, digest);
    for (int i = 0; i < 16; i++) {
        to[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        to[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
}

static void make_users(void)
{
    users = calloc((size_t)user_count, sizeof *users);
    if (!users)
        die("digestload");
    for (long i = 0; i < user_count; i++) {
        char secret[64];
        int n = snprintf(secret, sizeof secret, "u%07ld:" REALM ":p%07ld", i, i);
        md5_hex(secret, (size_t)n, users[i].ha1);
        users[i].most = 1 + (int)(i % times);
    }
    md5_hex("REGISTER:" URI, strlen("REGISTER:" URI), ha2);
}

/* Writes the Authorization field for the next use of a user's nonce; its size. */
static size_t write_field(const user *u, char *to)
{
    char plain[MAX_NONCE + 128], response[32], opaque[MAX_OPAQUE + 16] = "";
    int n = snprintf(plain, sizeof plain, "%.32s:%s:%08x:" CNONCE ":auth:%.32s", u->ha1, u->nonce, u->uses + 1, ha2);
    md5_hex(plain, (size_t)n, response);
    if (*u->opaque)
        snprintf(opaque, sizeof opaque, ", opaque=\"%s\"", u->opaque);
    n = snprintf(to, MAX_FIELD,
                 "Authorization: Digest username=\"u%07ld\", realm=\"" REALM "\", nonce=\"%s\", uri=\"" URI "\", "
                 "response=\"%.32s\", algorithm=MD5, cnonce=\"" CNONCE "\"%s, qop=auth, nc=%08x\r\n",
                 (long)(u - users), u->nonce, response, opaque, u->uses + 1);
    return (size_t)n;
}

/* Splits FILE at its placeholders. */
static void read_pieces(const char *path)
{
    static const char *const names[] = {[SERIAL] = "{serial}", "{source}", "{user}", "{authorization}"};
    const char *p = read_file(path);
    for (int i = 0; i < MAX_PIECES; i++) {
        place found = END;
        const char *stop = p;
        for (; *stop && found == END; stop += found == END)
            for (place one = SERIAL; one <= AUTHORIZATION; one++)
                if (!strncmp(stop, names[one], strlen(names[one])))
                    found = one;
        pieces[i] = (piece){p, (size_t)(stop - p), found};
        if (found == END)
            return;
        p = stop + strlen(names[found]);
    }
    fprintf(stderr, "%s: more than %d placeholders\n", path, MAX_PIECES - 1);
    exit(2);
}

/* Writes the request of a slot, which follows from its user; its size. */
static size_t write_request(const slot *s, char *to)
{
    const user *u = &users[s->user];
    char serial[DIGITS + 1] = "", name[16], field[MAX_FIELD] = "";
    put_digits(serial, (uint32_t)(s - slots) + (uint32_t)window * s->round);
    snprintf(name, sizeof name, "u%07ld", s->user);
    if (*u->nonce)
        write_field(u, field);
    const char *const values[] = {"", serial, at.own, name, field};
    char *q = to;
    for (const piece *p = pieces;; p++) {
        size_t size = strlen(values[p->then]);
        if (p->size + size > (size_t)(to + MAX_REQUEST - q)) {
            fprintf(stderr, "digestload: a request of more than %d bytes\n", MAX_REQUEST);
            exit(2);
        }
        q = (char *)memcpy(q, p->text, p->size) + p->size;
        q = (char *)memcpy(q, values[p->then], size) + size;
        if (p->then == END)
            return (size_t)(q - to);
    }
}

static int send_request(slot *s)
{
    char request[MAX_REQUEST];
    return send(at.fd, request, write_request(s, request), 0) > 0;
}

/* Begins as many requests as may be under way. */
static void begin(void)
{
    static long next;
    static char requests[BATCH][MAX_REQUEST];
    struct iovec parts[BATCH];
    struct mmsghdr headers[BATCH] = {0};
    int k = 0;
    for (double sent = now(); k < BATCH && free_count && begun < count; k++, begun++) {
        slot *s = &slots[free_slots[--free_count]];
        while (users[next].busy)
            next = (next + 1) % user_count;
        users[next].busy = 1;
        s->user = next;
        next = (next + 1) % user_count;
        s->round = (s->round + 1) % rounds;
        s->sent = s->tried = sent;
        parts[k] = (struct iovec){requests[k], write_request(s, requests[k])};
        headers[k].msg_hdr = (struct msghdr){.msg_iov = &parts[k], .msg_iovlen = 1};
    }
    for (int sent = 0, n; sent < k; sent += n)
        if ((n = sendmmsg(at.fd, headers + sent, (unsigned)(k - sent), 0)) <= 0)
            return;             /* what was not sent is sent again after some time */
}

/* Copies the value of a quoted parameter of a header field; whether it is there and fits. */
static int copy_value(const char *field, const char *end, const char *name, char *to, size_t room)
{
    const char *start = memmem(field, (size_t)(end - field), name, strlen(name));
    if (!start)
        return 0;
    start += strlen(name);
    const char *stop = memchr(start, '"', (size_t)(end - start));
    if (!stop || (size_t)(stop - start) >= room)
        return 0;
    memcpy(to, start, (size_t)(stop - start));
    to[stop - start] = 0;
    return 1;
}

/* Takes nonce and opaque from the first challenge for MD5; whether there is one. */
static int take_challenge(user *u, const char *reply)
{
    static const char name[] = "WWW-Authenticate:";
    for (const char *line = reply, *end; (end = strchr(line, '\n')); line = end + 1) {
        if (strncasecmp(line, name, sizeof name - 1))
            continue;
        const char *algorithm = memmem(line, (size_t)(end - line), "algorithm=", 10);
        if (algorithm && (strncasecmp(algorithm + 10 + (algorithm[10] == '"'), "MD5", 3) || algorithm[13] == '-'))
            continue;
        if (!copy_value(line, end, "opaque=\"", u->opaque, sizeof u->opaque))
            u->opaque[0] = 0;
        return copy_value(line, end, "nonce=\"", u->nonce, sizeof u->nonce);
    }
    return 0;
}

/* Notes what the reply to a user's request says. */
static void take_status(user *u, int status, const char *reply)
{
    statuses[status]++;
    if (*u->nonce && status == 200) {
        let_in++;
        if (++u->uses < u->most)
            return;
    } else if (!*u->nonce && status == 401 && take_challenge(u, reply)) {
        challenged++;
        u->uses = 0;
        return;
    } else {
        wrong++;
    }
    *u->nonce = 0;              /* given up, or of no use */
    u->most = times;
}

static void take_reply(const char *reply, size_t size, double came)
{
    uint32_t serial = 0;
    int status = read_reply(reply, size, &serial);
    slot *s = &slots[serial % (uint32_t)window];
    if (!status || s->sent == 0 || s->round != serial / (uint32_t)window)
        return;                 /* also the second reply to a request that was sent twice */
    histogram_add(&latencies, came - s->sent);
    take_status(&users[s->user], status, reply);
    users[s->user].busy = 0;
    s->sent = 0;
    free_slots[free_count++] = (int)(s - slots);
    done++;
    last = came;
}

static void run(void)
{
    static inbox in;
    open_inbox(&in);
    double looked = last = now();
    while (done < count) {
        while (free_count && begun < count)
            begin();
        struct pollfd ready = {at.fd, POLLIN, 0};
        int n = poll(&ready, 1, 100) > 0 ? receive(&in, at.fd) : 0;
        double came = now();
        for (int i = 0; i < n; i++)
            take_reply(in.data[i], in.headers[i].msg_len, came);
        if (came - last > GIVE_UP)
            return;
        if (came - looked < resend / 5)
            continue;
        looked = came;
        for (slot *s = slots; s < slots + window; s++)
            if (s->sent != 0 && came - s->tried > resend) {
                resent += send_request(s);
                s->tried = came;
            }
    }
}

static int usage(void)
{
    fprintf(stderr, "usage: digestload [-b HOST:PORT] [-n COUNT] [-w WINDOW] [-u USERS] [-m TIMES] [-t SECONDS] "
                    "HOST PORT FILE\n");
    return 2;
}

int main(int argc, char **argv)
{
    const char *bind_to = "127.0.0.1:5066";
    int option;
    while ((option = getopt(argc, argv, "b:n:w:u:m:t:")) != -1) {
        switch (option) {
        case 'b': bind_to = optarg; break;
        case 'n': count = atol(optarg); break;
        case 'w': window = atoi(optarg); break;
        case 'u': user_count = atol(optarg); break;
        case 'm': times = atoi(optarg); break;
        case 't': resend = atof(optarg); break;
        default: return usage();
        }
    }
    if (argc - optind != 3 || window < 1 || window > MAX_WINDOW || count < 1 || count > SERIALS / 2 ||
        user_count < window || user_count > 10000000 || times < 1 || !(resend > 0))
        return usage();
    rounds = SERIALS / (uint32_t)window;
    uint32_t round = first_round(rounds);
    for (int i = 0; i < window; i++) {
        slots[i].round = round;
        free_slots[free_count++] = window - 1 - i;
    }
    open_sources(&at, 1, bind_to, address_of(argv[optind], argv[optind + 1]));
    read_pieces(argv[optind + 2]);
    make_users();
    double start = now();
    run();
    double seconds = last - start;
    printf("{\"replies\": %ld, \"challenged\": %ld, \"let_in\": %ld, \"wrong\": %ld, \"seconds\": %.4f, \"per_s\": %.0f, "
           "\"resent\": %ld, \"p50_us\": %.1f, \"p99_us\": %.1f, ", done, challenged, let_in, wrong, seconds,
           seconds > 0 ? (double)done / seconds : 0, resent, histogram_us(&latencies, 0.5),
           histogram_us(&latencies, 0.99));
    print_statuses(statuses);
    printf("}\n");
    return done != count || wrong != 0;
}

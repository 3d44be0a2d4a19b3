/* sipload [-b HOST:PORT] [-n COUNT] [-w WINDOW [-k SOURCES] [-a TIMES] | -r RATE] [-t SECONDS] HOST PORT FILE: a SIP/UDP
 * load.
 *
 * FILE holds one SIP request. In it {serial} stands for eight digits that tell one request from the next (branch, tag,
 * Call-ID) and {source} for HOST:PORT that this program is bound to, which the Via must name.
 *
 * With -w it is a closed loop: WINDOW requests are kept under way. A reply is matched by the digits behind its first
 * "z9hG4bK-". Every request is a new one, but for those that are sent again: whatever has no reply after -t, half a second.
 * After ten seconds without any reply the program gives up.
 * Without -k all requests come from one address and port, as from a proxy. With it they come from SOURCES sockets, each of
 * which has an equal share of the window, as from so many telephones or proxies; the ports of all but the first are the
 * kernel's choice. No two sockets send the same serial, and a reply must come to the socket of its request.
 * With -a each request is sent TIMES more once its reply has come, as if the reply were lost: so many retransmissions.
 * With -r it is an open loop: RATE requests a second, each when it is due, whatever becomes of the others, and once.
 * Times count from when it was due. Two seconds after the last one the program ends.
 *
 * Prints one line of JSON: replies, seconds, per_s, resent, p50_us, p99_us, and how many replies had each status;
 * with -r the times are of all but 503, and refused_p99_us is that of those.
 * Exit status: 0 when every request got its final replies, else 1. */
#define _GNU_SOURCE
#include "bench.h"
#include "sip.h"

#include <poll.h>
#include <unistd.h>

enum { MAX_PLACES = 32 };

#define LAST 2.0                /* seconds for the last replies of an open loop */

/* A request under way. Its serial is `slot + stride * round`, where there are `stride` slots: so a reply finds its slot by
 * division, and no serial comes again before nearly all have been. */
typedef struct {
    uint32_t round;
    int again;                  /* how often it is to be sent after its reply */
    double sent;                /* first; 0: no request under way here */
    double tried;               /* last */
} slot;

/* A socket with its requests. Slot i belongs to source i modulo their number. */
typedef struct {
    source at;
    size_t size, places[MAX_PLACES], place_count;       /* bytes of a request, and where its serials are */
    int batch;                  /* requests in one system call */
    char *out;                  /* so many requests, one after the other; only their serials change */
    struct mmsghdr *headers;
    int *free_slots, free_count;
} caller;

static long count = 10000;
static int window = 64, again = 0, caller_count = 1;
static double rate = 0, resend = 0.5;

static caller callers[MAX_SOURCES];
static slot slots[MAX_WINDOW];
static uint32_t stride, rounds;
static histogram latencies, refused;
static long begun, done, replies, resent, statuses[STATUSES];
static double start, last;

/* Fills in all but the serials. */
static void fill_in(caller *c, const char *path, char *to)
{
    char *text = read_file(path);
    for (const char *p = text; *p;) {
        const char *with = NULL;
        if (!strncmp(p, "{serial}", 8)) {
            if (c->place_count == MAX_PLACES) {
                fprintf(stderr, "%s: more than %d times {serial}\n", path, MAX_PLACES);
                exit(2);
            }
            c->places[c->place_count++] = c->size;
            with = "00000000";
        } else if (!strncmp(p, "{source}", 8)) {
            with = c->at.own;
        }
        size_t size = with ? strlen(with) : 1;
        if (size > MAX_REQUEST - c->size) {
            fprintf(stderr, "%s: a request of more than %d bytes\n", path, MAX_REQUEST);
            exit(2);
        }
        memcpy(to + c->size, with ? with : p, size);
        c->size += size;
        p += with ? 8 : 1;
    }
    free(text);
}

static void prepare(caller *c, const char *path)
{
    char request[MAX_REQUEST];
    fill_in(c, path, request);
    int share = window / caller_count;
    c->batch = rate > 0 || share > BATCH ? BATCH : share;
    c->out = malloc((size_t)c->batch * c->size);
    c->headers = calloc((size_t)c->batch, sizeof *c->headers);
    c->free_slots = malloc((size_t)share * sizeof *c->free_slots);
    struct iovec *parts = malloc((size_t)c->batch * sizeof *parts);
    if (!c->out || !c->headers || !c->free_slots || !parts)
        die("sipload");
    for (int i = 0; i < c->batch; i++) {
        parts[i] = (struct iovec){memcpy(c->out + (size_t)i * c->size, request, c->size), c->size};
        c->headers[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    }
    for (int i = share; i-- > 0;)
        c->free_slots[c->free_count++] = i * caller_count + (int)(c - callers);
}

static void put_serial(const caller *c, char *to, int at)
{
    for (size_t i = 0; i < c->place_count; i++)
        put_digits(to + c->places[i], (uint32_t)at + stride * slots[at].round);
}

static void send_all(caller *c, int k)
{
    for (int sent = 0; sent < k;) {
        int n = sendmmsg(c->at.fd, c->headers + sent, (unsigned)(k - sent), 0);
        if (n <= 0)
            return;             /* what was not sent is sent again after some time */
        sent += n;
    }
}

/* Sends the request of a slot once more; whether it went out. */
static int send_again(caller *c, int at)
{
    put_serial(c, c->out, at);
    return send(c->at.fd, c->out, c->size, 0) > 0;
}

/* Begins requests of one source, one batch at most; how many. */
static int begin(caller *c)
{
    int k = 0;
    double sent = now();
    while (k < c->batch && begun < count) {
        double due = rate > 0 ? start + (double)begun / rate : sent;
        if (rate > 0 ? due > sent : !c->free_count)
            break;
        /* An open loop takes the slots in turn: whoever had it has waited for some seconds. */
        int at = rate > 0 ? (int)(begun % MAX_WINDOW) : c->free_slots[--c->free_count];
        slots[at].round = (slots[at].round + 1) % rounds;
        slots[at].again = again;
        slots[at].sent = slots[at].tried = due;
        put_serial(c, c->out + (size_t)k++ * c->size, at);
        begun++;
    }
    send_all(c, k);
    return k;
}

static void take_reply(caller *c, const char *text, size_t size, double came)
{
    uint32_t serial = 0, at;
    int status = read_reply(text, size, &serial);
    if (!status)
        return;
    at = serial % stride;
    if (slots[at].sent == 0 || slots[at].round != serial / stride)
        return;                 /* the second reply to a request that was sent twice */
    if (&callers[at % (uint32_t)caller_count] != c) {
        fprintf(stderr, "sipload: a reply came to another socket than that of its request\n");
        exit(2);
    }
    histogram_add(rate > 0 && status == 503 ? &refused : &latencies, came - slots[at].sent);
    statuses[status]++;
    replies++;
    last = came;
    if (slots[at].again > 0) {
        slots[at].again--;
        slots[at].sent = slots[at].tried = came;
        send_again(c, (int)at);
        return;
    }
    slots[at].sent = 0;
    if (!(rate > 0))
        c->free_slots[c->free_count++] = (int)at;
    done++;
}

/* Sends again what has waited too long. */
static void look_after(double came)
{
    static double looked;
    if (came - looked < resend / 5)
        return;
    looked = came;
    for (int at = 0; at < window; at++)
        if (slots[at].sent != 0 && came - slots[at].tried > resend) {
            resent += send_again(&callers[at % caller_count], at);
            slots[at].tried = came;
        }
}

static void run(void)
{
    static inbox in;
    struct pollfd ready[MAX_SOURCES];
    open_inbox(&in);
    for (int i = 0; i < caller_count; i++)
        ready[i] = (struct pollfd){callers[i].at.fd, POLLIN, 0};
    start = last = now();
    while (done < count) {
        for (int i = 0; i < caller_count; i++)
            while (begin(&callers[i]) == callers[i].batch && (rate > 0 || callers[i].free_count))
                ;
        int n = poll(ready, (nfds_t)caller_count, rate > 0 ? 1 : 100);
        double came = now();
        for (int i = 0; i < caller_count && n > 0; i++) {
            if (!ready[i].revents)
                continue;
            int got = receive(&in, callers[i].at.fd);
            for (int j = 0; j < got; j++)
                take_reply(&callers[i], in.data[j], in.headers[j].msg_len, came);
        }
        if (rate > 0) {
            if (begun == count && came > start + (double)count / rate + LAST)
                return;
            continue;
        }
        if (came - last > GIVE_UP)
            return;
        look_after(came);
    }
}

static int usage(void)
{
    fprintf(stderr, "usage: sipload [-b HOST:PORT] [-n COUNT] [-w WINDOW [-k SOURCES] [-a TIMES] | -r RATE] [-t SECONDS] "
                    "HOST PORT FILE\n");
    return 2;
}

int main(int argc, char **argv)
{
    const char *bind_to = "127.0.0.1:5066";
    int option;
    while ((option = getopt(argc, argv, "b:n:w:k:a:r:t:")) != -1) {
        switch (option) {
        case 'b': bind_to = optarg; break;
        case 'n': count = atol(optarg); break;
        case 'w': window = atoi(optarg); break;
        case 'k': caller_count = atoi(optarg); break;
        case 'a': again = atoi(optarg); break;
        case 'r': rate = atof(optarg); break;
        case 't': resend = atof(optarg); break;
        default: return usage();
        }
    }
    if (argc - optind != 3 || window < 1 || window > MAX_WINDOW || count < 1 || count > SERIALS / 2 || again < 0 ||
        rate < 0 || !(resend > 0) || caller_count < 1 || caller_count > MAX_SOURCES || window % caller_count ||
        (rate > 0 && (caller_count > 1 || again)))
        return usage();
    stride = rate > 0 ? MAX_WINDOW : (uint32_t)window;
    rounds = SERIALS / stride;
    uint32_t round = first_round(rounds);
    for (int i = 0; i < MAX_WINDOW; i++)
        slots[i].round = round;
    source sources[MAX_SOURCES];
    open_sources(sources, caller_count, bind_to, address_of(argv[optind], argv[optind + 1]));
    for (int i = 0; i < caller_count; i++) {
        callers[i].at = sources[i];
        prepare(&callers[i], argv[optind + 2]);
    }
    run();
    double seconds = last - start;
    printf("{\"replies\": %ld, \"seconds\": %.4f, \"per_s\": %.0f, \"resent\": %ld, \"p50_us\": %.1f, \"p99_us\": %.1f, "
           "\"refused_p99_us\": %.1f, ", replies, seconds, seconds > 0 ? (double)replies / seconds : 0,
           resent, histogram_us(&latencies, 0.5), histogram_us(&latencies, 0.99), histogram_us(&refused, 0.99));
    print_statuses(statuses);
    printf("}\n");
    return done == count ? 0 : 1;
}

/* sipload [-b HOST:PORT] [-n COUNT] [-w WINDOW | -r RATE] [-t SECONDS] HOST PORT FILE: a SIP/UDP load.
 *
 * FILE holds one SIP request. In it {serial} stands for eight digits that tell one request from the next (branch, tag,
 * Call-ID) and {source} for HOST:PORT that this program is bound to, which the Via must name.
 *
 * With -w it is a closed loop: WINDOW requests are kept under way. A reply is matched by the digits behind its first
 * "z9hG4bK-". Every request is a new one, but for those that are sent again: whatever has no reply after -t, half a second.
 * After ten seconds without any reply the program gives up.
 * With -r it is an open loop: RATE requests a second, each when it is due, whatever becomes of the others, and once.
 * Times count from when it was due. Two seconds after the last one the program ends.
 *
 * Prints one line of JSON: replies, seconds, per_s, resent, p50_us, p99_us, and how many replies had each status;
 * with -r the times are of all but 503, and refused_p99_us is that of those.
 * Exit status: 0 when every request got a final reply, else 1. */
#define _GNU_SOURCE
#include "bench.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BATCH = 64,                 /* datagrams in one system call */
    MAX_REQUEST = 16384,
    MAX_WINDOW = 65536,
    MAX_PLACES = 32,
    DIGITS = 8,
    SERIALS = 100000000,
};

#define GIVE_UP 10.0            /* seconds without any reply at all */
#define LAST 2.0                /* seconds for the last replies of an open loop */

/* A request under way. Its serial is `slot + stride * round`, where there are `stride` slots: so a reply finds its slot by
 * division, and no serial comes again before nearly all have been. The first rounds are another in each run: what has the
 * same port as one before it must not send the same requests. */
typedef struct {
    uint32_t round;
    double sent;                /* first; 0: no request under way here */
    double tried;               /* last */
} slot;

static char request[MAX_REQUEST];
static size_t request_size, places[MAX_PLACES], place_count;
static slot slots[MAX_WINDOW];
static histogram latencies, refused;

static void read_template(const char *path, const char *source)
{
    static char text[MAX_REQUEST];
    FILE *file = fopen(path, "rb");
    if (!file)
        die(path);
    size_t n = fread(text, 1, sizeof text - 1, file), at = 0;
    fclose(file);
    text[n] = 0;
    for (size_t i = 0; i < n;) {
        const char *with = NULL;
        if (!strncmp(text + i, "{serial}", 8)) {
            if (place_count == MAX_PLACES) {
                fprintf(stderr, "%s: more than %d times {serial}\n", path, MAX_PLACES);
                exit(2);
            }
            places[place_count++] = at;
            with = "00000000";
        } else if (!strncmp(text + i, "{source}", 8)) {
            with = source;
        }
        size_t size = with ? strlen(with) : 1;
        if (at + size > sizeof request) {
            fprintf(stderr, "%s: a request of more than %d bytes\n", path, MAX_REQUEST);
            exit(2);
        }
        memcpy(request + at, with ? with : text + i, size);
        at += size;
        i += with ? 8 : 1;
    }
    request_size = at;
}

static void put_serial(char *to, uint32_t serial)
{
    char digits[DIGITS];
    for (int i = DIGITS; i-- > 0; serial /= 10)
        digits[i] = (char)('0' + serial % 10);
    for (size_t i = 0; i < place_count; i++)
        memcpy(to + places[i], digits, DIGITS);
}

int main(int argc, char **argv)
{
    const char *bind_to = "127.0.0.1:5066";
    long count = 10000;
    int window = 64, option;
    double rate = 0, resend = 0.5;
    while ((option = getopt(argc, argv, "b:n:w:r:t:")) != -1) {
        if (option == 'b')
            bind_to = optarg;
        else if (option == 'n')
            count = atol(optarg);
        else if (option == 'w')
            window = atoi(optarg);
        else if (option == 'r' && atof(optarg) > 0)
            rate = atof(optarg);
        else if (option == 't' && atof(optarg) > 0)
            resend = atof(optarg);
        else
            return 2;
    }
    if (argc - optind != 3 || window < 1 || window > MAX_WINDOW || count < 1 || count > SERIALS / 2) {
        fprintf(stderr, "usage: sipload [-b HOST:PORT] [-n COUNT] [-w WINDOW | -r RATE] [-t SECONDS] HOST PORT FILE\n");
        return 2;
    }
    char own_host[64] = "", own_port[16] = "";
    if (sscanf(bind_to, "%63[^:]:%15s", own_host, own_port) != 2) {
        fprintf(stderr, "%s: expected HOST:PORT\n", bind_to);
        return 2;
    }
    int sock = socket(AF_INET, SOCK_DGRAM, 0), buffer = 8 << 20;
    setsockopt(sock, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    struct sockaddr_in own = address_of(own_host, own_port), server = address_of(argv[optind], argv[optind + 1]);
    socklen_t own_size = sizeof own;
    if (bind(sock, (struct sockaddr *)&own, sizeof own) || getsockname(sock, (struct sockaddr *)&own, &own_size))
        die(bind_to);
    if (connect(sock, (struct sockaddr *)&server, sizeof server))
        die("connect");
    char source[96];
    snprintf(source, sizeof source, "%s:%d", own_host, ntohs(own.sin_port));
    read_template(argv[optind + 2], source);

    static char out[BATCH][MAX_REQUEST], in[BATCH][4096];
    struct iovec out_parts[BATCH], in_parts[BATCH];
    struct mmsghdr to_send[BATCH], received[BATCH];
    for (int i = 0; i < BATCH; i++) {
        memcpy(out[i], request, request_size);
        out_parts[i] = (struct iovec){out[i], request_size};
        in_parts[i] = (struct iovec){in[i], sizeof in[i] - 1};
        to_send[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &out_parts[i], .msg_iovlen = 1}};
        received[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &in_parts[i], .msg_iovlen = 1}};
    }
    static int free_slots[MAX_WINDOW];
    int free_count = window;
    const uint32_t stride = rate > 0 ? MAX_WINDOW : (uint32_t)window, rounds = SERIALS / stride;
    struct timespec clock;
    clock_gettime(CLOCK_REALTIME, &clock);
    for (int i = 0; i < MAX_WINDOW; i++)
        slots[i].round = (uint32_t)(clock.tv_nsec / 1000 + 1000000 * (clock.tv_sec % 100)) % rounds;
    for (int i = 0; i < window; i++)
        free_slots[i] = window - 1 - i;

    long begun = 0, done = 0, resent = 0, statuses[1000] = {0};
    double start = now(), last = start, looked = start;
    while (done < count) {
        int k = 0;
        double sent = now();
        while (k < BATCH && begun < count) {
            double due = rate > 0 ? start + (double)begun / rate : sent;
            if (rate > 0 ? due > sent : !free_count)
                break;
            /* An open loop takes the slots in turn: whoever had it has waited for some seconds. */
            int at = rate > 0 ? (int)(begun % MAX_WINDOW) : free_slots[--free_count];
            slots[at].round = (slots[at].round + 1) % rounds;
            slots[at].sent = slots[at].tried = due;
            put_serial(out[k++], (uint32_t)at + stride * slots[at].round);
            begun++;
        }
        for (int q = 0; q < k;) {
            int n = sendmmsg(sock, to_send + q, (unsigned)(k - q), 0);
            if (n <= 0)
                break;          /* what was not sent is sent again after the time below */
            q += n;
        }
        if (rate > 0 ? k == BATCH : free_count && begun < count)
            continue;
        struct pollfd ready = {sock, POLLIN, 0};
        int n = poll(&ready, 1, rate > 0 ? 1 : 100) > 0 ? recvmmsg(sock, received, BATCH, MSG_DONTWAIT, NULL) : 0;
        double came = now();
        for (int i = 0; i < n; i++) {
            in[i][received[i].msg_len] = 0;
            const char *branch = strstr(in[i], "z9hG4bK-");
            int status = received[i].msg_len > 12 ? atoi(in[i] + 8) : 0;
            if (!branch || status < 200 || status > 699)
                continue;
            uint32_t serial = (uint32_t)strtoul(branch + 8, NULL, 10), at = serial % stride;
            if (slots[at].sent == 0 || slots[at].round != serial / stride)
                continue;       /* the second reply to a request that was sent twice */
            histogram_add(rate > 0 && status == 503 ? &refused : &latencies, came - slots[at].sent);
            slots[at].sent = 0;
            if (!(rate > 0))
                free_slots[free_count++] = (int)at;
            statuses[status]++;
            done++;
            last = came;
        }
        if (rate > 0) {
            if (begun == count && came > start + (double)count / rate + LAST)
                break;
            continue;
        }
        if (came - last > GIVE_UP)
            break;
        if (came - looked < resend / 5)
            continue;
        looked = came;
        for (int at = 0; at < window; at++)
            if (slots[at].sent != 0 && came - slots[at].tried > resend) {
                put_serial(out[0], (uint32_t)at + stride * slots[at].round);
                resent += send(sock, out[0], request_size, 0) > 0;
                slots[at].tried = came;
            }
    }
    double seconds = last - start;
    printf("{\"replies\": %ld, \"seconds\": %.4f, \"per_s\": %.0f, \"resent\": %ld, \"p50_us\": %.1f, \"p99_us\": %.1f, "
           "\"refused_p99_us\": %.1f, \"statuses\": {", done, seconds, seconds > 0 ? (double)done / seconds : 0,
           resent, histogram_us(&latencies, 0.5), histogram_us(&latencies, 0.99), histogram_us(&refused, 0.99));
    const char *comma = "";
    for (int i = 0; i < 1000; i++)
        if (statuses[i]) {
            printf("%s\"%d\": %ld", comma, i, statuses[i]);
            comma = ", ";
        }
    printf("}}\n");
    return done == count ? 0 : 1;
}

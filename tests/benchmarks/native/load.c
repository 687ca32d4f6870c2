/*
 * A cheap load generator: many connections, one request at a time on each, streamed answers read and timed.
 *
 *     load --port PORT --path PATH --body FILE [option value ...]
 *
 * --connections N   at once (default 1)
 * --requests N      in all; or --seconds S: begin new ones for so long
 * --ramp S          over which the first requests of the connections are spread
 * --header TEXT     one more header line; may be repeated
 * --frame TEXT      what a line that is a frame begins with (default "data: {")
 * --end TEXT        what must stand in the last 16 KB of an answer
 * --deltas N        each answer has at least so many frames (0: not checked)
 * --stamps 1        the deltas carry send stamps: each answer has exactly N of them, and their delays are counted
 * --timeout S       after which a request counts as failed (default 60)
 *
 * Eight '#' in the body become the number of the request. Prints one JSON object; times are seconds.
 */
#include "common.h"

#define TAIL_BYTES 16384
#define READ_BYTES (256 * 1024)
#define COUNTER "########"

enum state { CLOSED, CONNECTING, SENDING, HEAD, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, LAST_END, LENGTH, UNTIL_CLOSE };

struct connection {
    int fd, writing;
    enum state state;
    char *request;
    size_t request_left;
    const char *request_at;
    char head[8192];
    size_t head_size;
    int status, chunked, has_length;
    uint64_t left; /* of a chunk or of the body */
    uint64_t started, first;
    long frames, stamps;
    uint64_t last_stamp;
    size_t line_size; /* of the line under way, at most the frame's prefix */
    int line_is_frame;
    char stamp[STAMP_DIGITS];
    int stamp_size; /* -1: outside of a stamp */
    char tail[2 * TAIL_BYTES];
    size_t tail_size;
};

struct samples {
    uint32_t *values; /* units of 0.1 microseconds */
    size_t count, room;
};

static int port = 0, count = 1, with_stamps = 0;
static long wanted_requests = 0, wanted_deltas = 0;
static double for_seconds = 0, ramp = 0, timeout = 60;
static const char *path = "/", *frame = "data: {", *end_mark = NULL;
static char extra_headers[4096];
static char *request, *counter;
static size_t request_size, frame_size;
static int poller;
static long begun, finished, failed, frames, deltas_seen;
static uint64_t received;
static struct samples first_frames, totals, delays;
static char first_fault[512];
static uint64_t stop_at;

/* --- Figures ------------------------------------------------------------------------------------------------------- */

static void add_sample(struct samples *samples, uint64_t nanoseconds) {
    if (samples->count == samples->room)
        samples->values = must(realloc(samples->values, sizeof(uint32_t) * (samples->room = samples->room * 2 + 4096)));
    uint64_t value = nanoseconds / 100;
    samples->values[samples->count++] = value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

static int by_value(const void *left, const void *right) {
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

static void print_samples(const char *name, struct samples *samples) {
    if (samples->count == 0) {
        printf("\"%s\": null, ", name);
        return;
    }
    qsort(samples->values, samples->count, sizeof(uint32_t), by_value);
    uint32_t *v = samples->values;
    size_t n = samples->count;
    printf("\"%s\": {\"p50\": %.7f, \"p99\": %.7f, \"max\": %.7f}, ", name, v[(n - 1) / 2] / 1e7, v[(n - 1) * 99 / 100] / 1e7,
           v[n - 1] / 1e7);
}

/* --- Answers ------------------------------------------------------------------------------------------------------- */

static void fault(struct connection *connection, const char *what) {
    failed++;
    if (first_fault[0] != 0) return;
    snprintf(first_fault, sizeof first_fault, "%s (status %d, %ld frames, %ld stamps)", what, connection->status, connection->frames,
             connection->stamps);
    size_t shown = connection->tail_size > 600 ? 600 : connection->tail_size;
    fprintf(stderr, "%s: %.*s\n", first_fault, (int)shown, connection->tail + connection->tail_size - shown);
}

static void count_frames(struct connection *connection, const char *at, const char *end, uint64_t now) {
    while (at < end) {
        while (connection->line_size < frame_size && at < end && *at != '\n') {
            connection->line_is_frame &= *at == frame[connection->line_size];
            at++;
            if (++connection->line_size == frame_size && connection->line_is_frame) {
                if (connection->frames++ == 0) connection->first = now;
            }
        }
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        if (line_end == NULL) return;
        at = line_end + 1;
        connection->line_size = 0;
        connection->line_is_frame = 1;
    }
}

static void take_stamp(struct connection *connection, uint64_t now) {
    uint64_t sent = 0;
    for (int i = 0; i < STAMP_DIGITS; i++) {
        char c = connection->stamp[i];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (digit < 0) return;
        sent = sent << 4 | (uint64_t)digit;
    }
    /* The end of an answer repeats its deltas: those stamps are no deliveries, and would hide one that was lost. */
    if (sent <= connection->last_stamp) return;
    connection->last_stamp = sent;
    connection->stamps++;
    add_sample(&delays, now > sent * 1000 ? now - sent * 1000 : 0);
}

static void find_stamps(struct connection *connection, const char *at, const char *end, uint64_t now) {
    while (at < end && connection->stamps < wanted_deltas) {
        if (connection->stamp_size < 0) {
            at = memchr(at, '@', (size_t)(end - at));
            if (at == NULL) return;
            at++;
            connection->stamp_size = 0;
            continue;
        }
        size_t missing = (size_t)(STAMP_DIGITS - connection->stamp_size);
        size_t here = (size_t)(end - at) < missing ? (size_t)(end - at) : missing;
        memcpy(connection->stamp + connection->stamp_size, at, here);
        at += here;
        connection->stamp_size += (int)here;
        if (connection->stamp_size == STAMP_DIGITS) {
            connection->stamp_size = -1;
            take_stamp(connection, now);
        }
    }
}

static void keep_tail(struct connection *connection, const char *at, size_t size) {
    if (size > TAIL_BYTES) at += size - TAIL_BYTES, size = TAIL_BYTES;
    if (connection->tail_size + size > sizeof connection->tail) {
        size_t kept = connection->tail_size < TAIL_BYTES ? connection->tail_size : TAIL_BYTES;
        memmove(connection->tail, connection->tail + connection->tail_size - kept, kept);
        connection->tail_size = kept;
    }
    memcpy(connection->tail + connection->tail_size, at, size);
    connection->tail_size += size;
}

static void take_body(struct connection *connection, const char *at, size_t size, uint64_t now) {
    received += size;
    count_frames(connection, at, at + size, now);
    if (with_stamps) find_stamps(connection, at, at + size, now);
    keep_tail(connection, at, size);
}

static int judge(struct connection *connection) {
    if (connection->status != 200) fault(connection, "refused");
    else if (end_mark && !memmem(connection->tail, connection->tail_size, end_mark, strlen(end_mark))) fault(connection, "no proper end");
    else if (with_stamps && connection->stamps != wanted_deltas) fault(connection, "deltas are missing");
    else if (!with_stamps && connection->frames < wanted_deltas) fault(connection, "frames are missing");
    else return 1;
    return 0;
}

/* --- Requests ------------------------------------------------------------------------------------------------------ */

static void drop(struct connection *connection) {
    close(connection->fd);
    connection->fd = -1;
    connection->state = CLOSED;
}

static void reset_answer(struct connection *connection) {
    connection->head_size = connection->tail_size = connection->line_size = 0;
    connection->status = connection->chunked = connection->has_length = 0;
    connection->frames = connection->stamps = 0;
    connection->first = connection->left = connection->last_stamp = 0;
    connection->line_is_frame = 1;
    connection->stamp_size = -1;
}

static int may_begin(uint64_t now) {
    return stop_at ? now < stop_at : begun < wanted_requests;
}

static void want_write(struct connection *connection, int wanted) {
    if (connection->writing == wanted) return;
    connection->writing = wanted;
    struct epoll_event event = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.ptr = connection};
    epoll_ctl(poller, EPOLL_CTL_MOD, connection->fd, &event);
}

static void send_rest(struct connection *connection) {
    while (connection->request_left) {
        ssize_t sent = write(connection->fd, connection->request_at, connection->request_left);
        if (sent < 0 && errno == EAGAIN) {
            want_write(connection, 1);
            return;
        }
        if (sent < 0) {
            fault(connection, strerror(errno));
            drop(connection);
            return;
        }
        connection->request_at += sent;
        connection->request_left -= (size_t)sent;
    }
    want_write(connection, 0);
    connection->state = HEAD;
}

static void begin(struct connection *connection, uint64_t now) {
    begun++;
    connection->started = now;
    reset_answer(connection);
    if (connection->request == NULL) {
        connection->request = must(malloc(request_size + 1));
        memcpy(connection->request, request, request_size);
    }
    if (counter != NULL) {
        char number[sizeof COUNTER];
        snprintf(number, sizeof number, "%08u", (unsigned)begun % 100000000u);
        memcpy(connection->request + (counter - request), number, sizeof COUNTER - 1);
    }
    connection->request_at = connection->request;
    connection->request_left = request_size;
    if (connection->state == CLOSED) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
        connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        set_no_delay(connection->fd);
        if (connect(connection->fd, (struct sockaddr *)&address, sizeof address) != 0 && errno != EINPROGRESS) die("cannot connect: %s", strerror(errno));
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = connection};
        epoll_ctl(poller, EPOLL_CTL_ADD, connection->fd, &event);
        connection->state = CONNECTING;
        connection->writing = 1;
        return;
    }
    connection->state = SENDING;
    send_rest(connection);
}

static void ended(struct connection *connection, int keep, uint64_t now) {
    if (judge(connection)) {
        finished++;
        frames += connection->frames;
        deltas_seen += connection->stamps;
        add_sample(&totals, now - connection->started);
        if (connection->first) add_sample(&first_frames, connection->first - connection->started);
    } else keep = 0;
    if (keep) connection->state = SENDING; /* idle, until begin() */
    else drop(connection);
    if (may_begin(now)) begin(connection, now);
}

static void read_head(struct connection *connection) {
    connection->status = atoi(connection->head + 9);
    for (char *line = connection->head; (line = strchr(line, '\n')) != NULL;) {
        line++;
        if (strncasecmp(line, "content-length:", 15) == 0) {
            connection->has_length = 1;
            connection->left = strtoull(line + 15, NULL, 10);
        } else if (strncasecmp(line, "transfer-encoding: chunked", 26) == 0) connection->chunked = 1;
    }
    connection->state = connection->chunked ? CHUNK_SIZE : connection->has_length ? LENGTH : UNTIL_CLOSE;
}

/* Takes one piece of what was read; returns how much, and 0 when the answer has ended. */
static size_t take(struct connection *connection, const char *at, size_t size, uint64_t now) {
    const char *stop;
    size_t here;
    switch (connection->state) {
    case HEAD:
        here = size < sizeof connection->head - 1 - connection->head_size ? size : sizeof connection->head - 1 - connection->head_size;
        if (here == 0) die("a head of more than %zu bytes", sizeof connection->head);
        memcpy(connection->head + connection->head_size, at, here);
        connection->head[connection->head_size + here] = 0;
        if ((stop = strstr(connection->head, "\r\n\r\n")) == NULL) {
            connection->head_size += here;
            return here;
        }
        here = (size_t)(stop + 4 - connection->head) - connection->head_size;
        stop = NULL;
        connection->head[connection->head_size + here] = 0;
        connection->head_size = 0;
        read_head(connection);
        if (connection->state == LENGTH && connection->left == 0) return 0;
        return here;
    case CHUNK_SIZE:
        for (here = 0; here < size && at[here] != '\n'; here++) {
            char c = at[here];
            int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
            if (digit >= 0) connection->left = connection->left << 4 | (uint64_t)digit;
        }
        if (here == size) return size;
        connection->state = connection->left ? CHUNK_DATA : LAST_END;
        return here + 1;
    case CHUNK_END:
    case LAST_END:
        stop = memchr(at, '\n', size);
        if (stop == NULL) return size;
        if (connection->state == LAST_END) return 0;
        connection->state = CHUNK_SIZE;
        return (size_t)(stop + 1 - at);
    case CHUNK_DATA:
    case LENGTH:
        here = size < connection->left ? size : (size_t)connection->left;
        take_body(connection, at, here, now);
        connection->left -= here;
        if (connection->left == 0 && connection->state == LENGTH) return 0;
        if (connection->left == 0) connection->state = CHUNK_END;
        return here;
    case UNTIL_CLOSE:
        take_body(connection, at, size, now);
        return size;
    default:
        return size; /* bytes that nobody asked for */
    }
}

static void receive(struct connection *connection) {
    static char buffer[READ_BYTES];
    for (;;) {
        ssize_t got = recv(connection->fd, buffer, sizeof buffer, 0);
        if (got < 0 && errno == EAGAIN) return;
        uint64_t now = now_ns();
        if (got <= 0) {
            if (connection->state == UNTIL_CLOSE && got == 0) ended(connection, 0, now);
            else if (connection->state == SENDING && connection->request_left == 0) drop(connection); /* while idle */
            else {
                fault(connection, "the connection broke");
                drop(connection);
                if (may_begin(now)) begin(connection, now);
            }
            return;
        }
        for (char *at = buffer, *end = buffer + got; at < end;) {
            size_t taken = take(connection, at, (size_t)(end - at), now);
            if (taken == 0) {
                ended(connection, 1, now);
                break; /* no answer before the next request */
            }
            at += taken;
        }
        if (connection->fd < 0 || connection->state == CONNECTING) return;
        if ((size_t)got < sizeof buffer) return;
    }
}

/* --- The run ------------------------------------------------------------------------------------------------------- */

static void read_options(int argument_count, char **arguments, const char **body_file) {
    for (int i = 1; i + 1 < argument_count; i += 2) {
        const char *name = arguments[i], *value = arguments[i + 1];
        if (!strcmp(name, "--port")) port = atoi(value);
        else if (!strcmp(name, "--path")) path = value;
        else if (!strcmp(name, "--body")) *body_file = value;
        else if (!strcmp(name, "--connections")) count = atoi(value);
        else if (!strcmp(name, "--requests")) wanted_requests = atol(value);
        else if (!strcmp(name, "--seconds")) for_seconds = atof(value);
        else if (!strcmp(name, "--ramp")) ramp = atof(value);
        else if (!strcmp(name, "--frame")) frame = value;
        else if (!strcmp(name, "--end")) end_mark = value;
        else if (!strcmp(name, "--deltas")) wanted_deltas = atol(value);
        else if (!strcmp(name, "--stamps")) with_stamps = atoi(value);
        else if (!strcmp(name, "--timeout")) timeout = atof(value);
        else if (!strcmp(name, "--header")) {
            size_t used = strlen(extra_headers);
            snprintf(extra_headers + used, sizeof extra_headers - used, "%s\r\n", value);
        } else die("unknown option %s", name);
    }
    if (port == 0 || *body_file == NULL || (wanted_requests == 0 && for_seconds == 0)) die("give --port, --body, and --requests or --seconds");
    frame_size = strlen(frame);
}

static void make_request(const char *body_file) {
    size_t body_size;
    char *body = read_file(body_file, &body_size);
    request = must(malloc(body_size + sizeof extra_headers + 1024));
    request_size = (size_t)sprintf(request, "POST %s HTTP/1.1\r\nhost: 127.0.0.1:%d\r\ncontent-type: application/json\r\n%scontent-length: %zu\r\n\r\n",
                                   path, port, extra_headers, body_size);
    memcpy(request + request_size, body, body_size);
    request_size += body_size;
    counter = memmem(request, request_size, COUNTER, sizeof COUNTER - 1);
    free(body);
}

static long give_up_late(struct connection *connections, uint64_t now) {
    long active = 0;
    for (int i = 0; i < count; i++) {
        struct connection *connection = &connections[i];
        if (connection->state == CLOSED || (connection->state == SENDING && connection->request_left == 0)) continue;
        active++;
        if ((double)(now - connection->started) / 1e9 > timeout) {
            fault(connection, "timed out");
            drop(connection);
        }
    }
    return active;
}

static void run(struct connection *connections, uint64_t started) {
    int launched = 0;
    for (uint64_t checked = 0;;) {
        uint64_t now = now_ns();
        for (; launched < count && now >= started + (uint64_t)(ramp * 1e9 * launched / count); launched++)
            if (may_begin(now)) begin(&connections[launched], now);
        int patience = launched < count ? 1 : 50;
        struct epoll_event ready[256];
        int found = epoll_wait(poller, ready, 256, patience);
        for (int i = 0; i < found; i++) {
            struct connection *connection = ready[i].data.ptr;
            if (connection->state == CLOSED) continue;
            if (ready[i].events & EPOLLOUT) {
                if (connection->state == CONNECTING) connection->state = SENDING;
                if (connection->state == SENDING && connection->request_left) send_rest(connection);
            }
            if (connection->fd >= 0 && ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(connection);
        }
        now = now_ns();
        if (finished + failed >= begun && launched == count && !may_begin(now)) return;
        if (now - checked > 200000000u) {
            checked = now;
            if (give_up_late(connections, now) == 0 && launched == count && !may_begin(now)) return;
        }
    }
}

int main(int argument_count, char **arguments) {
    const char *body_file = NULL;
    signal(SIGPIPE, SIG_IGN);
    raise_file_limit();
    read_options(argument_count, arguments, &body_file);
    make_request(body_file);
    poller = epoll_create1(EPOLL_CLOEXEC);
    struct connection *connections = must(calloc((size_t)count, sizeof *connections));
    for (int i = 0; i < count; i++) connections[i].fd = -1;
    uint64_t started = now_ns();
    if (for_seconds > 0) stop_at = started + (uint64_t)(for_seconds * 1e9);
    run(connections, started);
    printf("{\"requests\": %ld, \"failed\": %ld, \"frames\": %ld, \"stamps\": %ld, \"bytes\": %llu, ", finished, failed, frames, deltas_seen,
           (unsigned long long)received);
    print_samples("first_frame", &first_frames);
    print_samples("latency", &totals);
    print_samples("delay", &delays);
    printf("\"seconds\": %.6f, \"cpu\": %.6f, \"fault\": \"", (double)(now_ns() - started) / 1e9, cpu_seconds());
    for (const char *c = first_fault; *c; c++)
        if (*c != '"' && *c != '\\' && (unsigned char)*c >= 32) putchar(*c);
    printf("\"}\n");
    return 0;
}

/*
 * A cheap stand-in for the Codex backend: plays prepared event streams over HTTP/1.1, one HTTP chunk for each event.
 *
 *     upstream DIRECTORY
 *
 * Prints the port of 127.0.0.1 that it listens on, and serves until it is killed. DIRECTORY holds
 *     head           header lines of every stream, each ended by CR LF
 *     models.json    the answer of GET .../codex/models, with the entity tag in models.etag
 *     usage.json     the answer of GET .../wham/usage
 *     NAME.sse       a reply; a delta may hold "@000000000000", where its send stamp goes, and the events that repeat
 *                    the deltas at the end hold the same places in the same order
 *
 * A POST of .../responses chooses its reply by a word in its body: "bench:NAME:RATE:WAIT:". RATE is deltas a second,
 * 0 for as fast as the reader takes them; WAIT is the milliseconds before the first delta.
 */
#include "common.h"

#define MAX_SCRIPTS 64
#define HOLE "@000000000000"
#define MARKER "bench:"

struct event {
    uint32_t start, size; /* within wire, chunk framing included */
    uint32_t hole, holes; /* first and number of its stamp places */
    int is_delta;
};

struct script {
    char name[64];
    char *wire; /* the whole answer: head, chunks, last chunk */
    size_t size, lead; /* lead: head and all events before the first delta */
    struct event *events;
    uint32_t *holes; /* offsets within wire */
    int count, first, deltas; /* first: the first delta's number among the events */
};

struct connection {
    int fd, writing, slot; /* slot in the heap of timers, -1 when it is in none */
    char *in;
    size_t in_size, in_room;
    const char *whole; /* what is being written as it stands */
    size_t whole_left;
    char *queue; /* what a slow reader has not taken of a paced reply */
    size_t queue_size, queue_room;
    struct script *script;
    int next, stamped;
    uint64_t due, interval;
    uint64_t *stamps;
    struct connection *next_closed;
};

static struct script scripts[MAX_SCRIPTS];
static int script_count;
static const char *directory;
static char *head, *models, *usage, *not_found;
static size_t head_size, models_size, usage_size, not_found_size;
static struct connection **heap;
static int heap_size, heap_room;
static struct connection *closed; /* freed after the round of events that may still name them */
static int poller, timer;

/* --- Replies ------------------------------------------------------------------------------------------------------ */

static void find_holes(struct script *script, struct event *event, int *count, int *room) {
    const char *at = script->wire + event->start, *end = at + event->size;
    event->hole = (uint32_t)*count;
    while ((at = memmem(at, (size_t)(end - at), HOLE, sizeof HOLE - 1)) != NULL) {
        if (*count == *room) script->holes = must(realloc(script->holes, sizeof(uint32_t) * (size_t)(*room = *room * 2 + 64)));
        script->holes[(*count)++] = (uint32_t)(at + 1 - script->wire);
        event->holes++;
        at += sizeof HOLE - 1;
    }
}

static struct script *load_script(const char *name, size_t name_size) {
    for (int i = 0; i < script_count; i++)
        if (strlen(scripts[i].name) == name_size && memcmp(scripts[i].name, name, name_size) == 0) return &scripts[i];
    if (script_count == MAX_SCRIPTS || name_size >= sizeof scripts[0].name || memchr(name, '/', name_size)) return NULL;
    struct script *script = &scripts[script_count];
    memset(script, 0, sizeof *script);
    memcpy(script->name, name, name_size);
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.sse", directory, script->name);
    if (access(path, R_OK) != 0) return NULL;
    size_t size;
    char *text = read_file(path, &size), *at = text, *end = text + size, *stop;
    /* At most 10 bytes of framing for each event, and an event has more than that. */
    script->wire = must(malloc(size * 2 + head_size + 256));
    script->size = (size_t)sprintf(script->wire, "HTTP/1.1 200 OK\r\n");
    memcpy(script->wire + script->size, head, head_size);
    script->size += head_size;
    script->size += (size_t)sprintf(script->wire + script->size, "transfer-encoding: chunked\r\n\r\n");
    int room = 0, hole_count = 0, hole_room = 0;
    script->first = -1;
    while (at < end && (stop = memmem(at, (size_t)(end - at), "\n\n", 2)) != NULL) {
        stop += 2;
        if (script->count == room) script->events = must(realloc(script->events, sizeof(struct event) * (size_t)(room = room * 2 + 64)));
        struct event *event = &script->events[script->count];
        memset(event, 0, sizeof *event);
        char *line_end = memchr(at, '\n', (size_t)(stop - at));
        event->is_delta = line_end - at > 6 && memcmp(line_end - 6, ".delta", 6) == 0;
        event->start = (uint32_t)script->size;
        script->size += (size_t)sprintf(script->wire + script->size, "%zx\r\n", (size_t)(stop - at));
        memcpy(script->wire + script->size, at, (size_t)(stop - at));
        script->size += (size_t)(stop - at);
        script->size += (size_t)sprintf(script->wire + script->size, "\r\n");
        event->size = (uint32_t)script->size - event->start;
        find_holes(script, event, &hole_count, &hole_room);
        script->deltas += event->is_delta;
        if (event->is_delta && script->first < 0) {
            script->first = script->count;
            script->lead = event->start;
        }
        script->count++;
        at = stop;
    }
    if (script->first < 0) {
        script->first = script->count;
        script->lead = script->size;
    }
    script->size += (size_t)sprintf(script->wire + script->size, "0\r\n\r\n");
    free(text);
    script_count++;
    return script;
}

/* --- Timers: a heap by the moment that is due ---------------------------------------------------------------------- */

static void place(int slot, struct connection *connection) {
    heap[slot] = connection;
    connection->slot = slot;
}

static void sift(int slot, struct connection *connection) {
    while (slot > 0 && heap[(slot - 1) / 2]->due > connection->due) {
        place(slot, heap[(slot - 1) / 2]);
        slot = (slot - 1) / 2;
    }
    for (int child; (child = 2 * slot + 1) < heap_size; slot = child) {
        if (child + 1 < heap_size && heap[child + 1]->due < heap[child]->due) child++;
        if (heap[child]->due >= connection->due) break;
        place(slot, heap[child]);
    }
    place(slot, connection);
}

static void add_timer(struct connection *connection) {
    if (heap_size == heap_room) heap = must(realloc(heap, sizeof *heap * (size_t)(heap_room = heap_room * 2 + 256)));
    sift(heap_size++, connection);
}

static void remove_timer(struct connection *connection) {
    int slot = connection->slot;
    if (slot < 0) return;
    connection->slot = -1;
    struct connection *last = heap[--heap_size];
    if (last != connection) sift(slot, last);
}

static void arm(void) {
    static uint64_t armed;
    uint64_t due = heap_size ? heap[0]->due : 0;
    if (due == armed) return;
    armed = due;
    struct itimerspec when = {.it_value = {.tv_sec = (time_t)(due / 1000000000u), .tv_nsec = (long)(due % 1000000000u)}};
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
}

/* --- Connections --------------------------------------------------------------------------------------------------- */

static void close_connection(struct connection *connection) {
    if (connection->fd < 0) return;
    remove_timer(connection);
    close(connection->fd);
    connection->fd = -1;
    connection->next_closed = closed;
    closed = connection;
}

static void want_write(struct connection *connection, int wanted) {
    if (connection->writing == wanted) return;
    connection->writing = wanted;
    struct epoll_event event = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.ptr = connection};
    epoll_ctl(poller, EPOLL_CTL_MOD, connection->fd, &event);
}

/* Writes what waits; returns 0 when the socket takes no more or is gone. */
static int flush(struct connection *connection) {
    const char **from = connection->queue_size ? (const char *[]){connection->queue} : &connection->whole;
    size_t *left = connection->queue_size ? &connection->queue_size : &connection->whole_left;
    while (*left) {
        ssize_t sent = write(connection->fd, *from, *left);
        if (sent < 0 && errno == EAGAIN) {
            want_write(connection, 1);
            return 0;
        }
        if (sent <= 0) {
            close_connection(connection);
            return 0;
        }
        *left -= (size_t)sent;
        if (left == &connection->queue_size) memmove(connection->queue, connection->queue + sent, *left);
        else connection->whole += sent;
    }
    want_write(connection, 0);
    return 1;
}

static void send_now(struct connection *connection, const char *bytes, size_t size) {
    if (connection->queue_size == 0) {
        ssize_t sent = write(connection->fd, bytes, size);
        if (sent < 0 && errno != EAGAIN) {
            close_connection(connection);
            return;
        }
        if (sent > 0) bytes += sent, size -= (size_t)sent;
        if (size == 0) return;
    }
    if (connection->queue_size + size > connection->queue_room) {
        connection->queue_room = (connection->queue_size + size) * 2;
        connection->queue = must(realloc(connection->queue, connection->queue_room));
    }
    memcpy(connection->queue + connection->queue_size, bytes, size);
    connection->queue_size += size;
    want_write(connection, 1);
}

static void patch(char *place, uint64_t stamp) {
    for (int i = STAMP_DIGITS - 1; i >= 0; i--, stamp >>= 4) place[i] = "0123456789abcdef"[stamp & 15];
}

/* All up to the next delta and that itself, or the end of the reply when there is none left. */
static void play_step(struct connection *connection, uint64_t now) {
    static char *room;
    static size_t room_size;
    struct script *script = connection->script;
    int last = connection->next + 1;
    if (connection->stamped == script->deltas) last = script->count;
    else while (!script->events[last - 1].is_delta) last++;
    size_t start = script->events[connection->next].start;
    size_t end = last < script->count ? script->events[last].start : script->size;
    if (end - start > room_size) room = must(realloc(room, room_size = (end - start) * 2));
    memcpy(room, script->wire + start, end - start);
    for (int i = connection->next; i < last; i++) {
        struct event *event = &script->events[i];
        if (event->is_delta) connection->stamps[connection->stamped++] = now / 1000;
        for (uint32_t hole = 0; hole < event->holes; hole++) {
            uint64_t stamp = connection->stamps[event->is_delta ? (uint32_t)connection->stamped - 1 : hole];
            patch(room + script->holes[event->hole + hole] - start, stamp);
        }
    }
    connection->next = last;
    send_now(connection, room, end - start);
    if (connection->fd < 0) return;
    if (last == script->count) {
        remove_timer(connection);
        return;
    }
    connection->due += connection->interval;
    sift(connection->slot, connection);
}

static void start_reply(struct connection *connection, struct script *script, double rate, uint64_t wait_ms) {
    connection->script = script;
    if (rate <= 0 && wait_ms == 0) {
        connection->whole = script->wire;
        connection->whole_left = script->size;
        flush(connection);
        return;
    }
    connection->next = script->first;
    connection->stamped = 0;
    connection->stamps = must(realloc(connection->stamps, sizeof(uint64_t) * (size_t)(script->deltas + 1)));
    connection->interval = rate > 0 ? (uint64_t)(1e9 / rate) : 1;
    connection->due = now_ns() + (wait_ms ? wait_ms * 1000000u : connection->interval);
    send_now(connection, script->wire, script->first < script->count ? script->lead : script->size);
    if (connection->fd >= 0 && script->first < script->count) add_timer(connection);
}

static void answer(struct connection *connection, const char *bytes, size_t size) {
    connection->whole = bytes;
    connection->whole_left = size;
    flush(connection);
}

static void respond(struct connection *connection, const char *target, size_t target_size, const char *body, size_t size) {
    const char *marker = memmem(body, size, MARKER, sizeof MARKER - 1);
    if (memmem(target, target_size, "/codex/models", 13)) answer(connection, models, models_size);
    else if (memmem(target, target_size, "/wham/usage", 11)) answer(connection, usage, usage_size);
    else if (marker != NULL && memmem(target, target_size, "/responses", 10)) {
        const char *name = marker + sizeof MARKER - 1, *end = body + size;
        const char *stop = memchr(name, ':', (size_t)(end - name));
        struct script *script = stop ? load_script(name, (size_t)(stop - name)) : NULL;
        if (script == NULL) {
            answer(connection, not_found, not_found_size);
            return;
        }
        char *rest;
        double rate = strtod(stop + 1, &rest);
        start_reply(connection, script, rate, *rest == ':' ? strtoull(rest + 1, NULL, 10) : 0);
    } else answer(connection, not_found, not_found_size);
}

static size_t content_length(const char *text, const char *end) {
    for (const char *line = text; line && line < end; line = memchr(line, '\n', (size_t)(end - line))) {
        if (*line == '\n') line++;
        if (end - line > 15 && strncasecmp(line, "content-length:", 15) == 0) return strtoull(line + 15, NULL, 10);
    }
    return 0;
}

static void receive(struct connection *connection) {
    for (;;) {
        if (connection->in_room - connection->in_size < 16384)
            connection->in = must(realloc(connection->in, (connection->in_room = connection->in_room * 2 + 32768) + 1));
        size_t room = connection->in_room - connection->in_size;
        ssize_t got = read(connection->fd, connection->in + connection->in_size, room);
        if (got < 0 && errno == EAGAIN) return;
        if (got <= 0) {
            close_connection(connection);
            return;
        }
        connection->in_size += (size_t)got;
        connection->in[connection->in_size] = 0; /* numbers in it are read as C strings */
        char *head_end = memmem(connection->in, connection->in_size, "\r\n\r\n", 4);
        if (head_end != NULL) {
            size_t head_length = (size_t)(head_end + 4 - connection->in);
            size_t body_length = content_length(connection->in, head_end);
            if (connection->in_size >= head_length + body_length) {
                const char *line_end = memchr(connection->in, '\r', connection->in_size);
                connection->in_size = 0;
                respond(connection, connection->in, (size_t)(line_end - connection->in), head_end + 4, body_length);
                return;
            }
        }
        if ((size_t)got < room) return;
    }
}

static void accept_all(int listener) {
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct connection *connection = must(calloc(1, sizeof *connection));
        connection->fd = fd;
        connection->slot = -1;
        set_no_delay(fd);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
        epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    }
}

static void free_closed(void) {
    while (closed != NULL) {
        struct connection *connection = closed;
        closed = connection->next_closed;
        free(connection->in);
        free(connection->queue);
        free(connection->stamps);
        free(connection);
    }
}

/* --- Start --------------------------------------------------------------------------------------------------------- */

static char *whole_answer(const char *status, const char *body, size_t body_size, const char *etag, size_t *size) {
    char *text = must(malloc(body_size + 512));
    *size = (size_t)sprintf(text, "HTTP/1.1 %s\r\ncontent-type: application/json\r\n%s%s%scontent-length: %zu\r\n\r\n", status,
                            etag ? "etag: " : "", etag ? etag : "", etag ? "\r\n" : "", body_size);
    memcpy(text + *size, body, body_size);
    *size += body_size;
    return text;
}

static char *file_in_directory(const char *name, size_t *size) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return read_file(path, size);
}

static void load_answers(void) {
    size_t size;
    head = file_in_directory("head", &head_size);
    char *etag = file_in_directory("models.etag", &size), *text = file_in_directory("models.json", &size);
    models = whole_answer("200 OK", text, size, etag, &models_size);
    text = file_in_directory("usage.json", &size);
    usage = whole_answer("200 OK", text, size, NULL, &usage_size);
    not_found = whole_answer("404 Not Found", "{\"detail\":\"Not Found\"}", 22, NULL, &not_found_size);
}

static int listen_on_loopback(void) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 4096) != 0) die("cannot listen: %s", strerror(errno));
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

int main(int count, char **arguments) {
    if (count != 2) die("usage: upstream DIRECTORY");
    directory = arguments[1];
    signal(SIGPIPE, SIG_IGN);
    raise_file_limit();
    load_answers();
    poller = epoll_create1(EPOLL_CLOEXEC);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    int listener = listen_on_loopback();
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &listener};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    event.data.ptr = &timer;
    epoll_ctl(poller, EPOLL_CTL_ADD, timer, &event);
    for (;;) {
        struct epoll_event ready[256];
        int found = epoll_wait(poller, ready, 256, -1);
        for (int i = 0; i < found; i++) {
            if (ready[i].data.ptr == &listener) accept_all(listener);
            else if (ready[i].data.ptr == &timer) {
                uint64_t expirations;
                if (read(timer, &expirations, sizeof expirations) < 0) continue;
            } else {
                struct connection *connection = ready[i].data.ptr;
                if (connection->fd >= 0 && ready[i].events & EPOLLOUT) flush(connection);
                if (connection->fd >= 0 && ready[i].events & ~(uint32_t)EPOLLOUT) receive(connection);
            }
        }
        /* The clock is read for each delta: a stamp tells when its own write began. */
        for (uint64_t now; heap_size && heap[0]->due <= (now = now_ns());) play_step(heap[0], now);
        free_closed();
        arm();
    }
}

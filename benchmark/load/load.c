/* The load client that is never the bottleneck: epoll, pre-built frames, counted bytes.
 *
 * Python opens the connections and builds the frames (connect.py, stream.py), calls load_run in
 * slices of time, and decides when a run ends; this file only exchanges bytes. See native.py for
 * the other side of this interface and client.py for what it means. One thread uses it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

enum { OK = 0, MISMATCH = 1, UNASKED = 2, LOST = 3, FAILED = 4 };
enum { EVENTS = 64, BUFFER = 1 << 18, SUB_BITS = 7 };

static const uint64_t LONGEST = (1ULL << 42) - 1;

/* What Python sees; native.py declares the same fields. */
struct report {
    uint64_t messages, queued, maximum;
    uint64_t failed_message, failed_offset;
    int64_t failed_connection;
    int32_t failed_errno, expected, received;
};

struct connection {
    int fd, waiting_to_write;
    uint64_t first;     /* where in the ring this connection begins, frames */
    uint64_t queued;    /* messages that are to be sent, since the beginning */
    uint64_t sent;      /* bytes */
    uint64_t received;  /* bytes */
    uint64_t heard;     /* when a byte last came, or when a first reply became due */
    uint64_t *sent_at;  /* closed loop: when each message in flight was sent */
};

struct load {
    struct connection *connections;
    int count, epoll, sending;
    uint64_t frames, request_size, reply_size;
    char *request, *reply; /* each ring twice in a row, so that a piece of it never wraps */
    uint64_t in_flight;
    uint64_t interval;     /* open loop: nanoseconds between two messages of a connection, or 0 */
    uint64_t start, scheduled;
    uint64_t *histogram;
    struct report *report;
    char buffer[BUFFER];
};

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void record(struct load *load, uint64_t value) {
    if (value > load->report->maximum) load->report->maximum = value;
    if (value > LONGEST) value = LONGEST;
    int bits = value ? 64 - __builtin_clzll(value) : 0;
    int shift = bits > SUB_BITS + 1 ? bits - SUB_BITS - 1 : 0;
    load->histogram[((uint64_t)shift << SUB_BITS) + (value >> shift)]++;
}

/* When the message with this number over all connections is to be sent. */
static uint64_t due_at(const struct load *load, uint64_t number) {
    return load->start + number * load->interval / (uint64_t)load->count;
}

static int fail(struct load *load, struct connection *c, int how, int error) {
    load->report->failed_connection = c - load->connections;
    load->report->failed_message = c->received / load->reply_size;
    load->report->failed_errno = error;
    return how;
}

static int flush(struct load *load, struct connection *c) {
    uint64_t ring = load->frames * load->request_size;
    uint64_t end = c->queued * load->request_size;
    while (c->sent < end) {
        uint64_t left = end - c->sent;
        uint64_t from = (c->first * load->request_size + c->sent) % ring;
        ssize_t n = send(c->fd, load->request + from, left < ring ? left : ring, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EINTR) continue;
            if (errno != EAGAIN && errno != EWOULDBLOCK) return fail(load, c, LOST, errno);
            break;
        }
        c->sent += (uint64_t)n;
    }
    int waiting = c->sent < end;
    if (waiting != c->waiting_to_write) {
        struct epoll_event event = {.events = EPOLLIN | (waiting ? EPOLLOUT : 0), .data.ptr = c};
        if (epoll_ctl(load->epoll, EPOLL_CTL_MOD, c->fd, &event)) return fail(load, c, LOST, errno);
        c->waiting_to_write = waiting;
    }
    return OK;
}

static void queue(struct load *load, struct connection *c, uint64_t messages, uint64_t now) {
    if (c->queued * load->reply_size == c->received) c->heard = now;
    if (!load->interval)
        for (uint64_t i = 0; i < messages; i++) c->sent_at[(c->queued + i) % load->in_flight] = now;
    c->queued += messages;
    load->report->queued += messages;
}

static int compare(struct load *load, struct connection *c, uint64_t size) {
    uint64_t ring = load->frames * load->reply_size;
    uint64_t owed = c->queued * load->reply_size - c->received;
    uint64_t expected_size = size < owed ? size : owed;
    for (uint64_t done = 0; done < expected_size;) {
        uint64_t left = expected_size - done, piece = left < ring ? left : ring;
        const char *expected = load->reply + (c->first * load->reply_size + c->received) % ring;
        const char *received = load->buffer + done;
        if (memcmp(received, expected, piece)) {
            uint64_t i = 0;
            while (received[i] == expected[i]) i++;
            c->received += i;
            load->report->failed_offset = c->received % load->reply_size;
            load->report->expected = (unsigned char)expected[i];
            load->report->received = (unsigned char)received[i];
            return fail(load, c, MISMATCH, 0);
        }
        done += piece;
        c->received += piece;
    }
    return size > owed ? fail(load, c, UNASKED, 0) : OK;
}

static int receive(struct load *load, struct connection *c) {
    ssize_t n = recv(c->fd, load->buffer, BUFFER, 0);
    if (n == 0) return fail(load, c, LOST, 0);
    if (n < 0) return errno == EAGAIN || errno == EINTR ? OK : fail(load, c, LOST, errno);
    uint64_t now = now_ns(), before = c->received / load->reply_size;
    c->heard = now;
    int status = compare(load, c, (uint64_t)n);
    if (status) return status;
    uint64_t after = c->received / load->reply_size, number = (uint64_t)(c - load->connections);
    for (uint64_t i = before; i < after; i++) {
        uint64_t from = load->interval ? due_at(load, i * (uint64_t)load->count + number)
                                       : c->sent_at[i % load->in_flight];
        record(load, now - from);
    }
    load->report->messages += after - before;
    if (!load->sending || load->interval) return OK;
    queue(load, c, after - before, now);
    return flush(load, c);
}

static int send_due(struct load *load, uint64_t now) {
    while (due_at(load, load->scheduled) <= now) {
        struct connection *c = load->connections + load->scheduled++ % (uint64_t)load->count;
        queue(load, c, 1, now);
        int status = flush(load, c);
        if (status) return status;
    }
    return OK;
}

static int wait_for(struct load *load, struct epoll_event *events, uint64_t rest) {
    if (!load->interval) return epoll_wait(load->epoll, events, EVENTS, (int)(rest / 1000000) + 1);
    /* A schedule needs microseconds, which ppoll has and epoll_wait, with milliseconds, has not. */
    struct timespec timeout = {(time_t)(rest / 1000000000u), (long)(rest % 1000000000u)};
    struct pollfd readable = {.fd = load->epoll, .events = POLLIN};
    int n = ppoll(&readable, 1, &timeout, NULL);
    return n > 0 ? epoll_wait(load->epoll, events, EVENTS, 0) : n;
}

int load_run(struct load *load, uint64_t until) {
    struct epoll_event events[EVENTS];
    uint64_t now = now_ns();
    if (!load->start) {
        load->start = now;
        for (int i = 0; i < load->count && !load->interval; i++) {
            queue(load, load->connections + i, load->in_flight, now_ns());
            int status = flush(load, load->connections + i);
            if (status) return status;
        }
    }
    while ((now = now_ns()) < until) {
        uint64_t wake = until;
        if (load->interval && load->sending) {
            int status = send_due(load, now);
            if (status) return status;
            uint64_t due = due_at(load, load->scheduled);
            if (due < wake) wake = due;
        }
        if (!load->sending && load->report->messages == load->report->queued) return OK;
        int n = wait_for(load, events, wake > now ? wake - now : 0);
        if (n < 0 && errno == EINTR) return OK;
        if (n < 0) return FAILED;
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            int status = OK;
            if (events[i].events & EPOLLOUT) status = flush(load, c);
            if (!status && events[i].events & ~EPOLLOUT) status = receive(load, c);
            if (status) return status;
        }
    }
    return OK;
}

void load_stop_sending(struct load *load) { load->sending = 0; }

int load_silent_since(const struct load *load, uint64_t before) {
    for (int i = 0; i < load->count; i++) {
        const struct connection *c = load->connections + i;
        if (c->received < c->queued * load->reply_size && c->heard < before) return i;
    }
    return -1;
}

void load_free(struct load *load) {
    for (int i = 0; i < load->count; i++) free(load->connections[i].sent_at);
    free(load->connections);
    free(load->request);
    free(load->reply);
    free(load);
}

static char *twice(const char *ring, uint64_t size) {
    char *copy = malloc(2 * size);
    if (!copy) abort();
    memcpy(copy, ring, size);
    memcpy(copy + size, ring, size);
    return copy;
}

/* NULL when the kernel refuses; `epoll` and the descriptors stay the caller's to close. */
struct load *load_new(int epoll, const int *descriptors, int count, const char *request,
                      const char *reply, uint64_t frames, uint64_t request_size,
                      uint64_t reply_size, uint64_t in_flight, uint64_t interval,
                      uint64_t *histogram, struct report *report) {
    struct load *load = calloc(1, sizeof *load);
    if (!load || !(load->connections = calloc((size_t)count, sizeof *load->connections))) abort();
    load->epoll = epoll;
    load->sending = 1;
    load->frames = frames;
    load->request_size = request_size;
    load->reply_size = reply_size;
    load->request = twice(request, frames * request_size);
    load->reply = twice(reply, frames * reply_size);
    load->in_flight = in_flight;
    load->interval = interval;
    load->histogram = histogram;
    load->report = report;
    for (load->count = 0; load->count < count; load->count++) {
        struct connection *c = load->connections + load->count;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
        c->fd = descriptors[load->count];
        c->first = (uint64_t)load->count % frames;
        if (!(c->sent_at = calloc(in_flight, sizeof *c->sent_at))) abort();
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event)) {
            load_free(load);
            return NULL;
        }
    }
    return load;
}

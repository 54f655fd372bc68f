/* One connection's bytes: rings of frames sent, replies compared, nothing kept.
 *
 * A ring holds some frames in a row, twice, so that a piece of it never wraps; a connection sends
 * it over and over, each from another place in it. stream.py builds rings, native.py declares the
 * same structures, wire.py is the same in Python. One thread uses a wire.
 */
#ifndef WIRE_H
#define WIRE_H

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>

enum { OK = 0, MISMATCH = 1, UNASKED = 2, LOST = 3, FAILED = 4 };
enum { EVENTS = 64, BUFFER = 1 << 18 };

struct ring {
    uint64_t frames, request_size, reply_size;
    const char *request, *reply; /* each twice in a row */
};

struct failure {
    int64_t connection;
    uint64_t message, offset;
    int32_t number_of_error, expected, received;
};

struct wire {
    const struct ring *ring;
    int fd, waiting_to_write;
    uint64_t first;    /* where in the ring this connection begins, frames */
    uint64_t queued;   /* messages that are to be sent, since the beginning */
    uint64_t sent;     /* bytes */
    uint64_t received; /* bytes */
};

static inline uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline uint64_t wire_answered(const struct wire *w) {
    return w->received / w->ring->reply_size;
}

static int wire_open(struct wire *w, int epoll, int fd, const struct ring *ring, uint64_t first) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = w};
    *w = (struct wire){.ring = ring, .fd = fd, .first = first % ring->frames};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static int wire_fail(const struct wire *w, struct failure *failure, int how, int error) {
    failure->message = wire_answered(w);
    failure->number_of_error = error;
    return how;
}

/* Send what is queued, as far as the kernel takes it and `most` bytes of requests unanswered. */
static int wire_flush(struct wire *w, int epoll, uint64_t most, struct failure *failure) {
    const struct ring *ring = w->ring;
    uint64_t size = ring->frames * ring->request_size, end = w->queued * ring->request_size;
    uint64_t allowed = wire_answered(w) * ring->request_size + most;
    int refused = 0;
    if (allowed < end) end = allowed;
    while (w->sent < end && !refused) {
        uint64_t left = end - w->sent;
        uint64_t from = (w->first * ring->request_size + w->sent) % size;
        ssize_t n = send(w->fd, ring->request + from, left < size ? left : size, MSG_NOSIGNAL);
        if (n >= 0)
            w->sent += (uint64_t)n;
        else if (errno == EAGAIN || errno == EWOULDBLOCK)
            refused = 1;
        else if (errno != EINTR)
            return wire_fail(w, failure, LOST, errno);
    }
    if (refused != w->waiting_to_write) {
        struct epoll_event event = {.events = EPOLLIN | (refused ? EPOLLOUT : 0), .data.ptr = w};
        if (epoll_ctl(epoll, EPOLL_CTL_MOD, w->fd, &event))
            return wire_fail(w, failure, LOST, errno);
        w->waiting_to_write = refused;
    }
    return OK;
}

static int wire_compare(struct wire *w, const char *data, uint64_t size, struct failure *failure) {
    const struct ring *ring = w->ring;
    uint64_t length = ring->frames * ring->reply_size;
    uint64_t owed = w->queued * ring->reply_size - w->received;
    uint64_t expected_size = size < owed ? size : owed;
    for (uint64_t done = 0; done < expected_size;) {
        uint64_t left = expected_size - done, piece = left < length ? left : length;
        const char *expected = ring->reply + (w->first * ring->reply_size + w->received) % length;
        const char *received = data + done;
        if (memcmp(received, expected, piece)) {
            uint64_t i = 0;
            while (received[i] == expected[i]) i++;
            w->received += i;
            failure->offset = w->received % ring->reply_size;
            failure->expected = (unsigned char)expected[i];
            failure->received = (unsigned char)received[i];
            return wire_fail(w, failure, MISMATCH, 0);
        }
        done += piece;
        w->received += piece;
    }
    return size > owed ? wire_fail(w, failure, UNASKED, 0) : OK;
}

/* Receive once into `buffer` of BUFFER bytes, and compare. */
static int wire_receive(struct wire *w, char *buffer, struct failure *failure) {
    ssize_t n = recv(w->fd, buffer, BUFFER, 0);
    if (n == 0) return wire_fail(w, failure, LOST, 0);
    if (n > 0) return wire_compare(w, buffer, (uint64_t)n, failure);
    return errno == EAGAIN || errno == EINTR ? OK : wire_fail(w, failure, LOST, errno);
}

#endif

/* One connection's bytes: rings of frames sent, replies compared, nothing kept.
 *
 * A ring holds some frames in a row, twice, so that a piece of it never wraps; a connection sends
 * it over and over, each from another place in it. stream.py builds rings, native.py declares the
 * same structures, wire.py is the same in Python. One thread uses a wire.
 */
#ifndef WIRE_H
#define WIRE_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "inflate.h"
#include "link.h"

enum { OK = 0, MISMATCH = 1, UNASKED = 2, LOST = 3, FAILED = 4, CORRUPT = 5 };
enum { EVENTS = 64, BUFFER = 1 << 18 };
enum { PLAIN = 0, WITH_TAKEOVER = 1, WITHOUT_TAKEOVER = 2 };
enum { WHOLE_TEXT = FIN | TEXT, WHOLE_BINARY = FIN | 0x02, PING_LENGTH = 0x100 };

struct ring {
    uint64_t frames, request_size, reply_size;
    const char *request, *reply; /* each twice in a row */
    const uint64_t *starts;      /* where each request begins, and the ring ends; NULL if of equal
                                    size */
    int32_t deflate;             /* whether replies are inflated, which `reply` has inflated */
};

struct failure {
    int64_t connection;
    uint64_t message, offset;
    int32_t number_of_error, expected, received;
};

struct wire {
    const struct ring *ring;
    struct link link;
    struct inflater *inflater; /* NULL for replies that are compared as they come */
    int waiting_to_write;
    unsigned ping;     /* bytes of the server's ping still to come; PING_LENGTH before its length */
    uint64_t first;    /* where in the ring this connection begins, frames */
    uint64_t queued;   /* messages that are to be sent, since the beginning */
    uint64_t sent;     /* bytes, from the beginning of the ring */
    uint64_t received; /* bytes, from where this connection begins */
    const uint64_t *asked; /* messages to come back: as many as it sends, or as its twin does */
};

static inline uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline uint64_t wire_answered(const struct wire *w) {
    return w->received / w->ring->reply_size;
}

/* Where the request of that number begins, bytes, counted on over all rounds of the ring. */
static inline uint64_t ring_start(const struct ring *ring, uint64_t number) {
    if (!ring->starts) return number * ring->request_size;
    return number / ring->frames * ring->starts[ring->frames] + ring->starts[number % ring->frames];
}

static int wire_open(struct wire *w, int epoll, int fd, SSL *tls, const struct ring *ring,
                     uint64_t first) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = w};
    *w = (struct wire){.ring = ring, .link = {fd, tls}, .first = first % ring->frames};
    w->sent = ring_start(ring, w->first);
    w->asked = &w->queued;
#ifdef DEFLATE
    if (ring->deflate) {
        if (!(w->inflater = calloc(1, sizeof *w->inflater))) abort();
        w->inflater->takeover = ring->deflate == WITH_TAKEOVER;
        if (inflateInit2(&w->inflater->stream, -MAX_WBITS) != Z_OK) abort();
    }
#endif
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static void wire_close(struct wire *w) {
#ifdef DEFLATE
    if (w->inflater) inflateEnd(&w->inflater->stream);
    free(w->inflater);
#else
    (void)w;
#endif
}

static int wire_fail(const struct wire *w, struct failure *failure, int how, int error) {
    failure->message = wire_answered(w);
    failure->number_of_error = error;
    return how;
}

/* Send what is queued, as far as the kernel takes it and `most` bytes of requests unanswered. */
static int wire_flush(struct wire *w, int epoll, uint64_t most, struct failure *failure) {
    const struct ring *ring = w->ring;
    uint64_t size = ring_start(ring, ring->frames), end = ring_start(ring, w->first + w->queued);
    uint64_t allowed = ring_start(ring, w->first + wire_answered(w)) + most;
    int refused = 0;
    if (allowed < end) end = allowed;
    while (w->sent < end && !refused) {
        uint64_t left = end - w->sent;
        const char *from = ring->request + w->sent % size;
        ssize_t n = link_send(&w->link, from, left < size ? left : size);
        if (n > 0)
            w->sent += (uint64_t)n;
        else if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
            return wire_fail(w, failure, LOST, n ? errno : 0);
        else if (errno != EINTR)
            refused = 1;
    }
    if (refused != w->waiting_to_write) {
        struct epoll_event event = {.events = EPOLLIN | (refused ? EPOLLOUT : 0), .data.ptr = w};
        if (epoll_ctl(epoll, EPOLL_CTL_MOD, w->link.fd, &event))
            return wire_fail(w, failure, LOST, errno);
        w->waiting_to_write = refused;
    }
    return OK;
}

/* Go past a ping between two replies of a WebSocket server, as far as it is there; `done` is where
 * in the data it begins, and then where it ends. It is not answered: what we go on to send tells
 * that we are there, and an audience, which sends nothing, is for servers that do not ask. */
static int wire_skip_ping(struct wire *w, const char *data, uint64_t size, uint64_t *done,
                          struct failure *failure) {
    const struct ring *ring = w->ring;
    unsigned char usual = (unsigned char)ring->reply[0];
    if (!w->ping && *done < size && (unsigned char)data[*done] == PING &&
        (usual == WHOLE_TEXT || usual == WHOLE_BINARY) && !(w->received % ring->reply_size)) {
        w->ping = PING_LENGTH;
        (*done)++;
    }
    if (w->ping == PING_LENGTH && *done < size) {
        w->ping = (unsigned char)data[(*done)++];
        if (w->ping > MOST_CONTROL) {
            failure->offset = 1;
            failure->expected = MOST_CONTROL;
            failure->received = (int32_t)w->ping;
            return wire_fail(w, failure, MISMATCH, 0);
        }
    }
    if (w->ping == PING_LENGTH) return OK;
    uint64_t left = size - *done, piece = w->ping < left ? w->ping : left;
    w->ping -= (unsigned)piece;
    *done += piece;
    return OK;
}

static int wire_compare(struct wire *w, const char *data, uint64_t size, struct failure *failure) {
    const struct ring *ring = w->ring;
    uint64_t length = ring->frames * ring->reply_size, done = 0;
    int status = w->ping ? wire_skip_ping(w, data, size, &done, failure) : OK;
    while (!status && done < size) {
        uint64_t owed = *w->asked * ring->reply_size - w->received;
        uint64_t left = size - done < owed ? size - done : owed;
        uint64_t piece = left < length ? left : length;
        const char *expected = ring->reply + (w->first * ring->reply_size + w->received) % length;
        const char *received = data + done;
        if (!piece || memcmp(received, expected, piece)) {
            uint64_t i = 0;
            while (i < piece && received[i] == expected[i]) i++;
            w->received += i;
            done += i;
            uint64_t before = done;
            status = wire_skip_ping(w, data, size, &done, failure);
            if (status || done > before) continue;
            if (!piece) return wire_fail(w, failure, UNASKED, 0);
            failure->offset = w->received % ring->reply_size;
            failure->expected = (unsigned char)expected[i];
            failure->received = (unsigned char)received[i];
            return wire_fail(w, failure, MISMATCH, 0);
        }
        done += piece;
        w->received += piece;
    }
    return status;
}

#ifdef DEFLATE
static int wire_inflate(struct wire *w, const char *data, uint64_t size, struct failure *failure) {
    static const unsigned char TAIL[4] = {0, 0, 0xff, 0xff}; /* RFC 7692, 7.2.2 */
    char out[1 << 14];
    z_stream *stream = &w->inflater->stream;
    int ends = !data;
    stream->next_in = (unsigned char *)(ends ? (const char *)TAIL : data);
    stream->avail_in = ends ? sizeof TAIL : (unsigned)size;
    do {
        stream->next_out = (unsigned char *)out;
        stream->avail_out = sizeof out;
        int status = inflate(stream, Z_SYNC_FLUSH);
        if (status != Z_OK && status != Z_BUF_ERROR) return wire_fail(w, failure, CORRUPT, 0);
        status = wire_compare(w, out, sizeof out - stream->avail_out, failure);
        if (status) return status;
    } while (stream->avail_in || !stream->avail_out);
    if (ends && !w->inflater->takeover) inflateReset(stream);
    return OK;
}

/* The same for replies in frames that may be compressed. */
static int wire_unpack(struct wire *w, const char *data, uint64_t size, struct failure *failure) {
    struct inflater *f = w->inflater;
    int status = OK;
    while (size || (f->in_frame && !f->left)) {
        if (!f->in_frame) {
            f->head[f->have++] = (unsigned char)*data++;
            size--;
            if (f->have < head_size(f->head, f->have)) continue;
            int byte = f->head[0], expected = expected_byte(f, byte);
            f->control = byte == PING;
            int known = byte == expected || f->control;
            if (!known || f->head[1] & MASKED || (f->control && f->head[1] > MOST_CONTROL)) {
                failure->offset = known;
                failure->received = f->head[failure->offset];
                failure->expected = failure->offset ? byte & ~MASKED : expected;
                return wire_fail(w, failure, MISMATCH, 0);
            }
            f->left = payload_size(f->head);
            f->have = 0;
            f->in_frame = 1;
            if (!f->control) {
                if (!f->in_message) f->compressed = byte & RSV1;
                f->in_message = 1;
            }
        }
        uint64_t piece = f->left < size ? f->left : size;
        if (piece && !f->control)
            status = f->compressed ? wire_inflate(w, data, piece, failure)
                                   : wire_compare(w, data, piece, failure);
        if (status) return status;
        data += piece;
        size -= piece;
        f->left -= piece;
        if (f->left) continue;
        f->in_frame = 0;
        if (f->control || !(f->head[0] & FIN)) continue;
        f->in_message = 0;
        if (f->compressed && (status = wire_inflate(w, NULL, 0, failure))) return status;
        if (w->received % w->ring->reply_size) return wire_fail(w, failure, CORRUPT, 0);
    }
    return OK;
}
#else
#define wire_unpack wire_compare
#endif

/* Receive once into `buffer` of BUFFER bytes, or all that TLS has read, and compare. */
static int wire_receive(struct wire *w, char *buffer, struct failure *failure) {
    do {
        ssize_t n = link_recv(&w->link, buffer, BUFFER);
        if (n == 0) return wire_fail(w, failure, LOST, 0);
        if (n < 0)
            return errno == EAGAIN || errno == EINTR ? OK : wire_fail(w, failure, LOST, errno);
        int status = w->inflater ? wire_unpack(w, buffer, (uint64_t)n, failure)
                                 : wire_compare(w, buffer, (uint64_t)n, failure);
        if (status) return status;
    } while (link_pending(&w->link));
    return OK;
}

#endif

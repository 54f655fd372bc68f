/* An audience: one connection publishes, all of them must get every message, in order, once.
 *
 * A message goes out when the one so many before it has reached everybody. Python opens the
 * connections, calls audience_run in slices of time, and decides when a run ends. native_audience.py
 * has the other side of this interface, audience.py what it means. One thread uses it.
 */
#include <stdlib.h>

#include "histogram.h"
#include "wire.h"

/* What Python sees; native_audience.py declares the same fields. */
struct audience_report {
    uint64_t published;  /* messages sent by the publisher */
    uint64_t completed;  /* of them, those that everybody got */
    uint64_t deliveries; /* messages received, by all connections together */
    uint64_t maximum;    /* the longest time from publishing to the last delivery */
    uint64_t heard;      /* when a byte last came */
    struct failure failure;
};

struct audience {
    struct wire *wires; /* the first one publishes */
    int count, epoll, sending;
    uint64_t outstanding;
    uint64_t *sent_at;   /* when each message under way was published */
    uint64_t *remaining; /* how many have not got it yet */
    uint64_t *histogram;
    struct audience_report *report;
    char buffer[BUFFER];
};

static int fail(struct audience *a, const struct wire *w, int status) {
    a->report->failure.connection = w - a->wires;
    return status;
}

static int flush(struct audience *a) {
    return wire_flush(a->wires, a->epoll, UINT64_MAX / 2, &a->report->failure);
}

static int publish(struct audience *a) {
    struct audience_report *r = a->report;
    if (!a->sending || r->published - r->completed >= a->outstanding) return OK;
    uint64_t now = now_ns();
    if (r->published == r->completed) r->heard = now;
    while (r->published - r->completed < a->outstanding) {
        uint64_t slot = r->published++ % a->outstanding;
        a->sent_at[slot] = now;
        a->remaining[slot] = (uint64_t)a->count;
    }
    a->wires->queued = r->published;
    int status = flush(a);
    return status ? fail(a, a->wires, status) : OK;
}

static int receive(struct audience *a, struct wire *w) {
    struct audience_report *r = a->report;
    uint64_t before = wire_answered(w);
    w->queued = r->published; /* what it is owed; only the publisher sends any of it */
    int status = wire_receive(w, a->buffer, &r->failure);
    uint64_t now = now_ns(), after = wire_answered(w);
    r->heard = now;
    r->deliveries += after - before;
    for (uint64_t i = before; i < after; i++) {
        uint64_t slot = i % a->outstanding;
        if (--a->remaining[slot]) continue;
        histogram_record(a->histogram, &r->maximum, now - a->sent_at[slot]);
        r->completed++;
    }
    return status;
}

int audience_run(struct audience *a, uint64_t until) {
    struct epoll_event events[EVENTS];
    uint64_t now;
    while ((now = now_ns()) < until) {
        int status = publish(a);
        if (status) return status;
        int n = epoll_wait(a->epoll, events, EVENTS, (int)((until - now) / 1000000) + 1);
        if (n < 0 && errno == EINTR) return OK;
        if (n < 0) return FAILED;
        for (int i = 0; i < n; i++) {
            struct wire *w = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) status = flush(a);
            if (!status && events[i].events & ~EPOLLOUT) status = receive(a, w);
            if (status) return fail(a, w, status);
        }
    }
    return OK;
}

void audience_stop_publishing(struct audience *a) { a->sending = 0; }

/* A connection that has not got all that was published, or -1. */
int audience_owed(const struct audience *a) {
    for (int i = 0; i < a->count; i++)
        if (wire_answered(a->wires + i) < a->report->published) return i;
    return -1;
}

void audience_free(struct audience *a) {
    for (int i = 0; i < a->count; i++) wire_close(a->wires + i);
    free(a->wires);
    free(a->sent_at);
    free(a->remaining);
    free(a);
}

/* NULL when the kernel refuses; `epoll`, the descriptors and the ring stay the caller's. */
struct audience *audience_new(int epoll, const int *descriptors, int count,
                              const struct ring *ring, uint64_t outstanding, uint64_t *histogram,
                              struct audience_report *report) {
    struct audience *a = calloc(1, sizeof *a);
    if (!a || !(a->wires = calloc((size_t)count, sizeof *a->wires))) abort();
    if (!(a->sent_at = calloc(outstanding, sizeof *a->sent_at))) abort();
    if (!(a->remaining = calloc(outstanding, sizeof *a->remaining))) abort();
    a->count = count;
    a->epoll = epoll;
    a->sending = 1;
    a->outstanding = outstanding;
    a->histogram = histogram;
    a->report = report;
    for (int i = 0; i < count; i++) {
        if (wire_open(a->wires + i, epoll, descriptors[i], NULL, ring, 0)) {
            audience_free(a);
            return NULL;
        }
    }
    return a;
}

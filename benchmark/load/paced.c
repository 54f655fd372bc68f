/* The open loop: every message goes out when a timetable says, whatever has come back.
 *
 * Python opens the connections, lays out the timetable, and calls paced_run in slices of time;
 * native_pacing.py has the other side of this interface, pacing.py what it means. One thread.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <sys/prctl.h>

#include "wire.h"

/* What Python sees and owns; native_pacing.py declares the same fields. */
struct timetable {
    uint64_t messages;       /* of all connections */
    uint64_t next, answered; /* how many are under way or done, and done */
    const uint32_t *order;   /* the connection of each message, in the order of the times due */
    const uint64_t *begin;   /* where each connection's messages begin in the arrays below */
    const int64_t *due;      /* nanoseconds after the start, like the other two */
    int64_t *taken;          /* when it was taken up, which is late when this process was */
    int64_t *heard;          /* when its last byte was back; what it was before until then */
    struct failure failure;
};

struct paced {
    struct wire *wires;
    int count, epoll;
    uint64_t most;  /* bytes of requests in flight on a connection */
    uint64_t start; /* when the timetable begins, on now_ns's clock */
    struct timetable *timetable;
    char buffer[BUFFER];
};

static int64_t due(const struct timetable *t, const struct paced *paced) {
    uint32_t number = t->order[t->next];
    return t->due[t->begin[number] + paced->wires[number].queued];
}

static int fail(struct paced *paced, const struct wire *w, int status) {
    paced->timetable->failure.connection = w - paced->wires;
    return status;
}

static int flush(struct paced *paced, struct wire *w) {
    return wire_flush(w, paced->epoll, paced->most, &paced->timetable->failure);
}

static int take_up(struct paced *paced, int64_t now) {
    struct timetable *t = paced->timetable;
    while (t->next < t->messages && due(t, paced) <= now) {
        uint32_t number = t->order[t->next++];
        struct wire *w = paced->wires + number;
        t->taken[t->begin[number] + w->queued++] = now;
        int status = flush(paced, w);
        if (status) return fail(paced, w, status);
    }
    return OK;
}

static int receive(struct paced *paced, struct wire *w) {
    struct timetable *t = paced->timetable;
    uint64_t before = wire_answered(w);
    int status = wire_receive(w, paced->buffer, &t->failure);
    if (status) return status;
    int64_t now = (int64_t)(now_ns() - paced->start);
    uint64_t begin = t->begin[w - paced->wires], after = wire_answered(w);
    for (uint64_t i = before; i < after; i++) t->heard[begin + i] = now;
    t->answered += after - before;
    return flush(paced, w);
}

int paced_run(struct paced *paced, uint64_t until) {
    struct epoll_event events[EVENTS];
    struct timetable *t = paced->timetable;
    uint64_t now;
    while ((now = now_ns()) < until && t->answered < t->messages) {
        int status = take_up(paced, (int64_t)(now - paced->start));
        if (status) return status;
        uint64_t wake = until;
        if (t->next < t->messages && paced->start + (uint64_t)due(t, paced) < wake)
            wake = paced->start + (uint64_t)due(t, paced);
        uint64_t rest = wake - now;
        /* ppoll sleeps to the microsecond, epoll_wait to the millisecond only. */
        struct timespec timeout = {(time_t)(rest / 1000000000u), (long)(rest % 1000000000u)};
        struct pollfd readable = {.fd = paced->epoll, .events = POLLIN};
        int n = ppoll(&readable, 1, &timeout, NULL);
        if (n > 0) n = epoll_wait(paced->epoll, events, EVENTS, 0);
        if (n < 0 && errno == EINTR) return OK;
        if (n < 0) return FAILED;
        for (int i = 0; i < n; i++) {
            struct wire *w = events[i].data.ptr;
            if (events[i].events & EPOLLOUT) status = flush(paced, w);
            if (!status && events[i].events & ~EPOLLOUT) status = receive(paced, w);
            if (status) return fail(paced, w, status);
        }
    }
    return OK;
}

void paced_free(struct paced *paced) {
    for (int i = 0; i < paced->count; i++) wire_close(paced->wires + i);
    free(paced->wires);
    free(paced);
}

/* NULL when the kernel refuses; all that is passed in stays the caller's. */
struct paced *paced_new(int epoll, const int *descriptors, SSL *const *tls,
                        const struct ring *const *rings, const uint64_t *firsts, int count,
                        uint64_t most, uint64_t start, struct timetable *timetable) {
    struct paced *paced = calloc(1, sizeof *paced);
    if (!paced || !(paced->wires = calloc((size_t)count, sizeof *paced->wires))) abort();
    paced->count = count;
    paced->epoll = epoll;
    paced->most = most;
    paced->start = start;
    paced->timetable = timetable;
    /* Otherwise the kernel adds up to 50 us to each sleep, to join wake-ups. */
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    for (int i = 0; i < count; i++) {
        if (wire_open(paced->wires + i, epoll, descriptors[i], tls[i], rings[i], firsts[i])) {
            paced_free(paced);
            return NULL;
        }
    }
    return paced;
}

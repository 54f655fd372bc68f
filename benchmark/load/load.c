/* The closed loop that is never the bottleneck: a reply that comes back lets the next message go.
 *
 * What one connection sends comes back to it; or, where they are twins, to its twin, and then that
 * lets it send the next. Twins are each two in a row.
 *
 * Python opens the connections, calls load_run in slices of time, and decides when a run ends.
 * native.py has the other side of this interface, client.py what it means. One thread uses it.
 */
#include "report.h"

struct connection {
    struct wire wire;  /* first, so that a wire's address is its connection's */
    uint64_t heard;    /* when a byte last came, or when a first reply became due */
    uint64_t *sent_at; /* when each message in flight was sent */
};

struct load {
    struct connection *connections;
    int count, epoll, sending, started, twins;
    uint64_t in_flight;
    uint64_t *histogram;
    struct report *report;
    char buffer[BUFFER];
};

/* Who gets what it sends, and sends what it gets. */
static struct connection *other(const struct load *load, const struct connection *c) {
    return load->connections + ((c - load->connections) ^ load->twins);
}

static int flush(struct load *load, struct connection *c) {
    return wire_flush(&c->wire, load->epoll, UINT64_MAX / 2, &load->report->failure);
}

static int queue(struct load *load, struct connection *c, uint64_t messages, uint64_t now) {
    uint64_t queued = c->wire.queued;
    struct connection *hearer = other(load, c);
    if (queued == wire_answered(&hearer->wire)) hearer->heard = now;
    for (uint64_t i = 0; i < messages; i++) c->sent_at[(queued + i) % load->in_flight] = now;
    c->wire.queued += messages;
    load->report->queued += messages;
    return flush(load, c);
}

static int receive(struct load *load, struct connection *c) {
    uint64_t before = wire_answered(&c->wire), received = c->wire.received;
    int status = wire_receive(&c->wire, load->buffer, &load->report->failure);
    if (status) return status;
    uint64_t now = now_ns(), after = wire_answered(&c->wire);
    struct connection *sender = other(load, c);
    if (c->wire.received > received) c->heard = now;
    for (uint64_t i = before; i < after; i++) report_record(load->report, load->histogram, now - sender->sent_at[i % load->in_flight]);
    load->report->messages += after - before;
    return load->sending ? queue(load, sender, after - before, now) : OK;
}

static int fail(struct load *load, const struct connection *c, int status) {
    load->report->failure.connection = c - load->connections;
    return status;
}

int load_run(struct load *load, uint64_t until) {
    struct epoll_event events[EVENTS];
    uint64_t now;
    for (int i = 0; i < load->count && !load->started; i++) {
        int status = queue(load, load->connections + i, load->in_flight, now_ns());
        if (status) return fail(load, load->connections + i, status);
    }
    load->started = 1;
    while ((now = now_ns()) < until) {
        if (!load->sending && load->report->messages == load->report->queued) return OK;
        int n = epoll_wait(load->epoll, events, EVENTS, (int)((until - now) / 1000000) + 1);
        if (n < 0 && errno == EINTR) return OK;
        if (n < 0) return FAILED;
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            int status = OK;
            if (events[i].events & EPOLLOUT) status = flush(load, c);
            if (!status && events[i].events & ~EPOLLOUT) status = receive(load, c);
            if (status) return fail(load, c, status);
        }
    }
    return OK;
}

void load_stop_sending(struct load *load) { load->sending = 0; }

int load_silent_since(const struct load *load, uint64_t before) {
    for (int i = 0; i < load->count; i++) {
        const struct connection *c = load->connections + i;
        if (wire_answered(&c->wire) < *c->wire.asked && c->heard < before) return i;
    }
    return -1;
}

void load_free(struct load *load) {
    for (int i = 0; i < load->count; i++) {
        wire_close(&load->connections[i].wire);
        free(load->connections[i].sent_at);
    }
    free(load->connections);
    free(load);
}

/* NULL when the kernel refuses; all that is passed in stays the caller's. */
struct load *load_new(int epoll, const int *descriptors, SSL *const *tls,
                      const struct ring *const *rings, const uint64_t *firsts, int count, int twins,
                      uint64_t in_flight, uint64_t *histogram, struct report *report) {
    struct load *load = calloc(1, sizeof *load);
    if (!load || !(load->connections = calloc((size_t)count, sizeof *load->connections))) abort();
    load->epoll = epoll;
    load->sending = 1;
    load->twins = twins;
    load->in_flight = in_flight;
    load->histogram = histogram;
    load->report = report;
    for (load->count = 0; load->count < count;) {
        int i = load->count++;
        struct connection *c = load->connections + i;
        if (!(c->sent_at = calloc(in_flight, sizeof *c->sent_at))) abort();
        if (wire_open(&c->wire, epoll, descriptors[i], tls[i], rings[i], firsts[i])) {
            load_free(load);
            return NULL;
        }
    }
    for (int i = 0; i < count; i++) {
        struct connection *c = load->connections + i;
        c->wire.asked = &other(load, c)->wire.queued;
    }
    return load;
}

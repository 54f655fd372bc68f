/* Handshakes: connect, TLS where asked for, the WebSocket handshake, its close, and again.
 *
 * Each of some callers does that over and over. dialing.py has the other side of this interface,
 * client.py what it means. One thread uses it.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <unistd.h>

#include "report.h"

enum { HEAD = 4096 };
enum state { IDLE, CONNECTING, SECURING, ASKING, CLOSING };

struct caller {
    struct link link;
    enum state state;
    uint64_t began, heard, written, count;
    unsigned have;
    char head[HEAD + 1];
};

struct dial {
    struct caller *callers;
    int count, epoll, sending, port;
    void *context; /* SSL_CTX, or NULL */
    const char *host, *request, *accept, *goodbye;
    size_t goodbye_size;
    uint64_t *histogram;
    struct report *report;
};

SSL *tls_new(void *context, int fd, const char *host);
void tls_free(SSL *tls);

static void hang_up(struct caller *c) {
#ifdef TLS
    if (c->link.tls) tls_free(c->link.tls);
#endif
    if (c->state != IDLE) close(c->link.fd);
    c->link.tls = NULL;
    c->state = IDLE;
}

static int fail(struct dial *dial, const struct caller *c, int how, int error) {
    dial->report->failure.connection = c - dial->callers;
    dial->report->failure.message = c->count;
    dial->report->failure.number_of_error = error;
    return how;
}

static int call(struct dial *dial, struct caller *c) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)dial->port)};
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return fail(dial, c, LOST, errno);
    c->link.fd = fd;
    c->state = CONNECTING;
    c->have = 0;
    c->written = 0;
    c->began = c->heard = now_ns();
    dial->report->queued++;
    if (connect(fd, (struct sockaddr *)&to, sizeof to) && errno != EINPROGRESS)
        return fail(dial, c, LOST, errno);
    if (epoll_ctl(dial->epoll, EPOLL_CTL_ADD, fd, &event)) return fail(dial, c, LOST, errno);
    return OK;
}

/* 1 when all was written, 0 when there is more, -1 when the connection ended. */
static int write_all(struct caller *c, const char *data, size_t size) {
    while (c->written < size) {
        ssize_t n = link_send(&c->link, data + c->written, size - c->written);
        if (n < 0 && errno == EAGAIN) return 0;
        if (n <= 0) return -1;
        c->written += (uint64_t)n;
    }
    return 1;
}

/* The same for reading: 1 when there is something new in `head`. */
static int read_some(struct caller *c) {
    ssize_t n = link_recv(&c->link, c->head + c->have, HEAD - c->have);
    if (n < 0 && errno == EAGAIN) return 0;
    if (n <= 0) return -1;
    c->have += (unsigned)n;
    c->head[c->have] = 0;
    c->heard = now_ns();
    return 1;
}

/* Go one step on: 1 when there was one, 0 when there is nothing to do now, -1 when it failed. */
static int step(struct dial *dial, struct caller *c) {
    int error = 0, done;
    socklen_t size = sizeof error;
    switch (c->state) {
        case IDLE: return 0;
        case CONNECTING:
            getsockopt(c->link.fd, SOL_SOCKET, SO_ERROR, &error, &size);
            if ((errno = error)) return -1;
            c->state = ASKING;
#ifdef TLS
            if (dial->context) {
                if (!(c->link.tls = tls_new(dial->context, c->link.fd, dial->host))) abort();
                c->state = SECURING;
            }
#endif
            return 1;
        case SECURING:
#ifdef TLS
            ERR_clear_error();
            errno = 0;
            done = (int)link_outcome(c->link.tls, SSL_connect(c->link.tls));
            if (done < 0 && errno == EAGAIN) return 0;
            if (done <= 0) return -1;
#endif
            c->state = ASKING;
            return 1;
        case ASKING:
            done = write_all(c, dial->request, strlen(dial->request));
            if (done > 0) done = read_some(c);
            if (done <= 0) return done;
            char *end = strstr(c->head, "\r\n\r\n");
            errno = EPROTO;
            if (!end) return c->have < HEAD ? 1 : -1;
            if (strncmp(c->head, "HTTP/1.1 101 ", 13) || !strstr(c->head, dial->accept)) return -1;
            report_record(dial->report, dial->histogram, c->heard - c->began);
            c->have -= (unsigned)(end + 4 - c->head);
            memmove(c->head, end + 4, c->have + 1);
            c->written = 0;
            c->state = CLOSING;
            return 1;
        case CLOSING:
            done = write_all(c, dial->goodbye, dial->goodbye_size);
            if (done > 0) done = read_some(c);
            if (done <= 0) return done;
            errno = EPROTO;
            if ((unsigned char)c->head[0] != 0x88) return -1; /* a close, RFC 6455, 5.5.1 */
            if (c->have < 2 || c->have < 2u + (unsigned char)c->head[1]) return 1;
            hang_up(c);
            c->count++;
            dial->report->messages++;
            return 0;
    }
    return 0;
}

int dial_run(struct dial *dial, uint64_t until) {
    struct epoll_event events[EVENTS];
    uint64_t now;
    for (int i = 0; i < dial->count; i++) {
        struct caller *c = dial->callers + i;
        int status = dial->sending && c->state == IDLE ? call(dial, c) : OK;
        if (status) return status;
    }
    while ((now = now_ns()) < until) {
        if (!dial->sending && dial->report->messages == dial->report->queued) return OK;
        int n = epoll_wait(dial->epoll, events, EVENTS, (int)((until - now) / 1000000) + 1);
        if (n < 0 && errno == EINTR) return OK;
        if (n < 0) return FAILED;
        for (int i = 0; i < n; i++) {
            struct caller *c = events[i].data.ptr;
            int more;
            do {
                errno = 0;
                more = step(dial, c);
            } while (more > 0);
            if (more < 0) return fail(dial, c, LOST, errno);
            if (c->state == IDLE && dial->sending && (more = call(dial, c))) return more;
        }
    }
    return OK;
}

void dial_stop_sending(struct dial *dial) { dial->sending = 0; }

int dial_silent_since(const struct dial *dial, uint64_t before) {
    for (int i = 0; i < dial->count; i++)
        if (dial->callers[i].state != IDLE && dial->callers[i].heard < before) return i;
    return -1;
}

void dial_free(struct dial *dial) {
    for (int i = 0; i < dial->count; i++) hang_up(dial->callers + i);
    free(dial->callers);
    free(dial);
}

/* All that is passed in stays the caller's. */
struct dial *dial_new(int epoll, int count, int port, void *context, const char *host,
                      const char *request, const char *accept, const char *goodbye,
                      size_t goodbye_size, uint64_t *histogram, struct report *report) {
    struct dial *dial = calloc(1, sizeof *dial);
    if (!dial || !(dial->callers = calloc((size_t)count, sizeof *dial->callers))) abort();
    *dial = (struct dial){dial->callers, count,  epoll,   1,       port,         context,   host,
                          request,       accept, goodbye, goodbye_size, histogram, report};
    return dial;
}

/* What a wire's bytes go through: a socket, or TLS over one. With OpenSSL if TLS is defined. */
#ifndef LINK_H
#define LINK_H

#include <errno.h>
#include <sys/socket.h>
#include <sys/types.h>

#ifdef TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#else
typedef struct ssl_st SSL;
#endif

struct link {
    int fd;
    SSL *tls; /* NULL for a plain socket */
};

#ifdef TLS
/* What `n`, which SSL_read, SSL_write or SSL_connect returned, is in terms of recv: 0 at the end,
 * -1 with errno, EAGAIN where it is to be tried again. */
static ssize_t link_outcome(SSL *tls, int n) {
    if (n > 0) return n;
    switch (SSL_get_error(tls, n)) {
        case SSL_ERROR_WANT_READ:
        case SSL_ERROR_WANT_WRITE: errno = EAGAIN; return -1;
        case SSL_ERROR_ZERO_RETURN: return 0;
        case SSL_ERROR_SYSCALL: return errno ? -1 : 0;
        default: errno = EPROTO; return -1;
    }
}
#endif

static inline ssize_t link_send(struct link *link, const char *data, size_t size) {
#ifdef TLS
    if (link->tls) {
        ERR_clear_error();
        errno = 0;
        return link_outcome(link->tls, SSL_write(link->tls, data, size > 1 << 30 ? 1 << 30 : (int)size));
    }
#endif
    return send(link->fd, data, size, MSG_NOSIGNAL);
}

static inline ssize_t link_recv(struct link *link, char *buffer, size_t size) {
#ifdef TLS
    if (link->tls) {
        ERR_clear_error();
        errno = 0;
        return link_outcome(link->tls, SSL_read(link->tls, buffer, (int)size));
    }
#endif
    return recv(link->fd, buffer, size, 0);
}

/* Whether bytes were read from the socket already, of which epoll says nothing any more. */
static inline int link_pending(const struct link *link) {
#ifdef TLS
    return link->tls && SSL_has_pending(link->tls);
#else
    (void)link;
    return 0;
#endif
}

#endif

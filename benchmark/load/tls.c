/* TLS connections that the clients in C use: native_tls.py opens them. */
#ifdef TLS
#include <arpa/inet.h>
#include <openssl/x509v3.h>

#include "link.h"

/* NULL when the authority cannot be read. */
SSL_CTX *tls_context(const char *authority) {
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (!context) return NULL;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_read_ahead(context, 1); /* otherwise each record takes two reads */
    if (SSL_CTX_load_verify_locations(context, authority, NULL) == 1) return context;
    SSL_CTX_free(context);
    return NULL;
}

void tls_context_free(SSL_CTX *context) { SSL_CTX_free(context); }

/* A connection that has still to shake hands; the descriptor stays the caller's. */
SSL *tls_new(SSL_CTX *context, int fd, const char *host) {
    unsigned char address[16];
    SSL *tls = SSL_new(context);
    if (!tls) return NULL;
    SSL_set_fd(tls, fd);
    SSL_set_connect_state(tls);
    if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1) {
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls), host);
    } else {
        SSL_set1_host(tls, host);
        SSL_set_tlsext_host_name(tls, host);
    }
    return tls;
}

/* Shake hands on a blocking socket. NULL when done, otherwise what went wrong. */
const char *tls_connect(SSL *tls) {
    ERR_clear_error();
    errno = 0;
    if (SSL_connect(tls) == 1) return NULL;
    long verdict = SSL_get_verify_result(tls);
    if (verdict != X509_V_OK) return X509_verify_cert_error_string(verdict);
    const char *why = ERR_reason_error_string(ERR_peek_error());
    return why ? why : "the connection ended in the TLS handshake";
}

ssize_t tls_send(SSL *tls, const char *data, size_t size) {
    struct link link = {.tls = tls};
    return link_send(&link, data, size);
}

ssize_t tls_recv(SSL *tls, char *buffer, size_t size) {
    struct link link = {.tls = tls};
    return link_recv(&link, buffer, size);
}

void tls_free(SSL *tls) { SSL_free(tls); }
#endif

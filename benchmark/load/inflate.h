/* Replies of permessage-deflate (RFC 7692): frames taken apart and inflated, then compared.
 *
 * With zlib if DEFLATE is defined. A reply may come in fragments, and need not be compressed.
 */
#ifndef INFLATE_H
#define INFLATE_H

#include <stdint.h>
#include <string.h>

enum { TEXT = 0x01, FIN = 0x80, RSV1 = 0x40, MASKED = 0x80, PING = 0x89, MOST_CONTROL = 125 };

#ifdef DEFLATE
#include <zlib.h>

struct inflater {
    z_stream stream;
    unsigned char head[10]; /* a frame's, as far as it has come */
    unsigned have;
    uint64_t left; /* payload of the frame that is still to come */
    int in_frame, in_message, control, compressed, takeover;
};

/* How long the head is, as far as its first bytes tell. */
static unsigned head_size(const unsigned char *head, unsigned have) {
    unsigned length = have < 2 ? 0 : head[1] & 0x7f;
    return length == 126 ? 4 : length == 127 ? 10 : 2;
}

static uint64_t payload_size(const unsigned char *head) {
    unsigned size = head_size(head, 2);
    uint64_t length = 0;
    if (size == 2) return head[1] & 0x7f;
    for (unsigned i = 2; i < size; i++) length = length << 8 | head[i];
    return length;
}

/* The first byte that a frame should have, given the one that it has. */
static int expected_byte(const struct inflater *f, int byte) {
    return (byte & FIN) | (f->in_message ? 0 : (byte & RSV1) | TEXT);
}

#else
struct inflater;
#endif
#endif

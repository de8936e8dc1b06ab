/* The lines of HTTP/1 that are not field lines: a request line, a status line, a
 * chunk-size line, each whole and without its line end.
 *
 * Private to h1.c and h1_fields.c. Offsets in a fault are from the line's first byte. */
#ifndef CONNLEAK_H1_LINES_H
#define CONNLEAK_H1_LINES_H

#include "h1.h"

/* An error, and how many bytes into the message. */
struct h1_fault {
    enum h1_error error;
    uint64_t at;
};

/* Notes a fault and returns false. */
bool h1_refuse(struct h1_fault *fault, enum h1_error error, uint64_t at);

/* How many bytes from the start are token characters (RFC 9110 section 5.6.2)? */
size_t h1_token_len(const uint8_t *p, size_t len);

/* method SP request-target SP HTTP-version (RFC 9112 section 3). */
bool h1_read_request_line(const uint8_t *p, size_t n, struct h1_head *head, struct h1_fault *fault);

/* HTTP-version SP status-code [ SP reason ] (RFC 9112 section 4). */
bool h1_read_status_line(const uint8_t *p, size_t n, struct h1_head *head, struct h1_fault *fault);

/* chunk-size [ chunk-ext ] (RFC 9112 section 7.1). *extension: bytes behind the digits. */
bool h1_read_chunk_line(enum h1_side side, const uint8_t *p, size_t n, uint64_t *size, size_t *extension,
                        struct h1_fault *fault);

#endif

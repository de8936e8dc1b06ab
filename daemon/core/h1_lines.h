/* The lines of HTTP/1, each whole and without its line end: a request line, a
 * status line, a chunk-size line; and field lines, as far as they are plain.
 *
 * Private to h1.c and h1_fields.c. Offsets in a fault are from the line's first byte. */
#ifndef CONNLEAK_H1_LINES_H
#define CONNLEAK_H1_LINES_H

#include "h1.h"

#include <string.h>

/* An error, and how many bytes into the message. */
struct h1_fault {
    enum h1_error error;
    uint64_t at;
};

/* Notes a fault and returns false. */
bool h1_refuse(struct h1_fault *fault, enum h1_error error, uint64_t at);

/* Eight bytes at once, and a byte repeated over eight. */
static inline uint64_t load8(const void *p) {
    uint64_t w;
    memcpy(&w, p, 8);
    return w;
}
#define EIGHT(byte) ((byte)*0x0101010101010101u)

/* How many bytes from the start are token characters (RFC 9110 section 5.6.2)? */
size_t h1_token_len(const uint8_t *p, size_t len);

/* And how many are text: tabs, and what is no control character. Beyond ASCII anything,
 * for peers do send it raw, and it cannot be mistaken for a delimiter. */
size_t h1_text_len(const uint8_t *p, size_t len);

/* A field line that nobody could read in two ways, of at most n bytes and with its
 * CRLF: a name, a colon, text. Returns its length, 0 for any other line. The spans count
 * from its first byte; the value is without blanks around it. */
size_t h1_read_plain_field(const uint8_t *p, size_t n, struct h1_span *name, struct h1_span *value);

/* method SP request-target SP HTTP-version (RFC 9112 section 3). */
bool h1_read_request_line(const uint8_t *p, size_t n, struct h1_head *head, struct h1_fault *fault);

/* HTTP-version SP status-code [ SP reason ] (RFC 9112 section 4). */
bool h1_read_status_line(const uint8_t *p, size_t n, struct h1_head *head, struct h1_fault *fault);

/* chunk-size [ chunk-ext ] (RFC 9112 section 7.1). *extension: bytes behind the digits. */
bool h1_read_chunk_line(enum h1_side side, const uint8_t *p, size_t n, uint64_t *size, size_t *extension,
                        struct h1_fault *fault);

#endif

/* HTTP/1 framing over bytes: where a message's head and body begin and end.
 *
 * One struct h1 follows one direction of one connection, message after message.
 * It keeps no head (only a line or value that comes in pieces is put together inside):
 * spans are offsets from the first byte of the message, so a caller that wants to read
 * them keeps the head's bytes together.
 *
 * Strict: llhttp in strict mode, and our own checks where that is not strict enough;
 * of a request nothing ambiguous is accepted, ever. For responses transport-semantics.md
 * R41-R44 and R60 decide, and Go's reading of them: a lone LF may end a line of a
 * head there. What Go lets pass in a response and this refuses, since a proxy would have to
 * pass it on: folded lines, control characters, names that are no tokens, a lone LF in
 * chunked framing, versions other than 1.0 and 1.1.
 *
 *     step = h1_feed(h, data, len, &used)
 *
 * consumes bytes until there is something to tell; call again with the rest. */
#ifndef CONNLEAK_H1_H
#define CONNLEAK_H1_H

#include "lifecycle.h" /* enum body_framing */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum h1_side { H1_REQUEST, H1_RESPONSE };

enum h1_step {
    H1_MORE,  /* all bytes are consumed and valid; the message goes on */
    H1_HEAD,  /* the head is complete, used ends behind its blank line; see h1_head; then h1_begin_body */
    H1_DATA,  /* chunked or length or until-EOF: used bytes were consumed, h1_data tells which of them are body */
    H1_DONE,  /* the message is complete, used ends behind its last byte; the next feed begins a new one */
    H1_ERROR, /* see h1_error; nothing more can be read from this direction */
};

/* Names the parser knows at sight; the caller need not compare strings. */
enum h1_name {
    H1_N_OTHER,
    H1_N_HOST,
    H1_N_CONNECTION,
    H1_N_CONTENT_LENGTH,
    H1_N_TRANSFER_ENCODING,
    H1_N_UPGRADE,
    H1_N_EXPECT,
    H1_N_TE,
    H1_N_TRAILER,
    H1_N_KEEP_ALIVE,
    H1_N_PROXY_CONNECTION,
    H1_N_PROXY_AUTHENTICATE,
    H1_N_PROXY_AUTHORIZATION,
    H1_N_VIA,
    H1_N_USER_AGENT,
    H1_N_IDEMPOTENCY_KEY, /* and X-Idempotency-Key */
    H1_N_MAX_FORWARDS,
    H1_N_DATE,
    H1_N_SERVER,
};

/* Offsets from the first byte of the message's head. */
struct h1_span {
    uint32_t off, len;
};
struct h1_field {
    struct h1_span name, value;   /* value without surrounding blanks */
    uint16_t known;               /* enum h1_name */
    uint16_t named_in_connection; /* 1: a Connection field of this head names it */
};

struct h1_head {
    const struct h1_field *fields; /* in order of arrival; borrowed until the next message */
    size_t n_fields;
    struct h1_span method, target, reason; /* a reason may be empty */
    uint32_t bytes;                        /* of the whole head, blank line included */
    uint16_t status;                       /* responses */
    uint8_t major, minor;
    bool is_head, is_connect, is_safe;              /* method HEAD; CONNECT; GET, HEAD, OPTIONS or TRACE */
    bool conn_close, conn_keep_alive, conn_upgrade; /* tokens of Connection */
    bool has_upgrade, is_websocket;                 /* Upgrade field present; one equal to websocket */
    bool expect_continue;                           /* Expect: 100-continue on HTTP/1.1 */
    bool te_trailers;                               /* TE has the token trailers */
    bool chunked;                                   /* Transfer-Encoding is the single value chunked, on HTTP/1.1 */
    bool has_idempotency_key;
    struct h1_span host; /* value of Host; len 0 if absent or empty */
    bool has_host;
    uint64_t content_length; /* UNKNOWN_BYTES if absent, or overruled by chunked; equal duplicates count once */
};

enum h1_error {
    H1_E_NONE,
    H1_E_START_LINE,         /* method, target, version or status line is malformed */
    H1_E_VERSION,            /* a version that is not 1.0 or 1.1 */
    H1_E_FIELD_NAME,         /* invalid characters, or a blank before the colon */
    H1_E_FIELD_VALUE,        /* a bare CR, LF or NUL, or another control character */
    H1_E_OBS_FOLD,           /* a folded field line */
    H1_E_LINE_END,           /* a bare CR or LF where CRLF belongs */
    H1_E_HOST,               /* missing on HTTP/1.1, given twice, or not a host */
    H1_E_CONTENT_LENGTH,     /* not a number, too large, or given twice with different values */
    H1_E_LENGTH_AND_CHUNKED, /* both Content-Length and Transfer-Encoding, in a request */
    H1_E_TRANSFER_ENCODING,  /* a coding that is not the single, final chunked */
    H1_E_CHUNK,              /* a bad chunk size, extension or chunk end */
    H1_E_TRAILER,            /* a bad or too large trailer block, or a request's that frames or routes */
    H1_E_HEAD_TOO_LARGE,     /* more than max_head_bytes, or too many fields */
    H1_E_TRUNCATED,          /* the stream ended inside a message */
    N_H1_ERRORS
};

struct h1_limits {
    uint32_t max_head_bytes;    /* start line and fields, blank line included */
    uint32_t max_fields;        /* at most 65535 */
    uint32_t max_trailer_bytes; /* R60 */
};

/* How many bytes from the start may stand in a name of a host: unreserved, pct-encoded
 * and sub-delims of RFC 3986. */
size_t h1_host_len(const uint8_t *p, size_t len);

struct h1;

/* Opaque, reusable: h1_reset makes it follow a new connection, and gives back what
 * an unusually large head made it grow to. */
struct h1 *h1_new(enum h1_side side, const struct h1_limits *limits);
void h1_reset(struct h1 *h);
void h1_set_limits(struct h1 *h, const struct h1_limits *limits); /* between messages; max_fields stays */
void h1_free(struct h1 **hp);

/* Feeds len bytes, sets *used to how many were consumed. To be called again with
 * the rest until it says H1_MORE (or H1_ERROR), also when the rest is empty: the last body
 * bytes of a known length are told with H1_DATA, and the end of the message with the
 * next call, which may have no bytes to give. While in a head, all
 * bytes given are consumed with H1_MORE until the head ends; empty lines before
 * a request's start line (at most one CRLF) are consumed and not part of the message. */
enum h1_step h1_feed(struct h1 *h, const uint8_t *data, size_t len, size_t *used);

/* After H1_HEAD: the head, borrowed until the next message begins. The head's
 * bytes must lie together at `bytes` when spans are resolved: bytes + span.off. */
const struct h1_head *h1_head(const struct h1 *h);

/* A request's framing by RFC 9112 section 6; a response's by R41. `head_only`:
 * the response answers a HEAD request. A 101 and a 2xx answer to CONNECT have
 * no framing: the caller stops feeding. length is set for FRAMING_LENGTH. */
enum body_framing h1_request_framing(const struct h1_head *head, uint64_t *length);
enum body_framing h1_response_framing(const struct h1_head *head, bool head_only, uint64_t *length);

/* R43: must the connection close after this response? */
bool h1_response_closes(const struct h1_head *head, enum body_framing framing);

/* After H1_HEAD: what follows is a body of this framing; with FRAMING_NONE or
 * FRAMING_LENGTH of 0 the message is complete and the next feed begins a new one.
 * A 1xx head is followed by FRAMING_NONE. */
void h1_begin_body(struct h1 *h, enum body_framing framing, uint64_t length);

/* After H1_DATA: the body bytes among those just consumed. */
void h1_data(const struct h1 *h, const uint8_t **data, size_t *len);

/* Body bytes that passed unseen (splice, a gap in a capture): at most
 * h1_remaining, which for FRAMING_UNTIL_EOF is any number. True if the message
 * is complete with them: no H1_DONE follows, the next feed begins a new message. */
bool h1_skip(struct h1 *h, uint64_t n);

/* Body bytes still to come before the next framing byte: the rest of the length
 * or of the chunk; 0 between chunks; UNKNOWN_BYTES until EOF. */
uint64_t h1_remaining(const struct h1 *h);

/* Between messages: nothing of a next one was consumed. */
bool h1_between(const struct h1 *h);

/* The last chunk's size line was seen, the end of the message was not. */
bool h1_after_data(const struct h1 *h);

/* What Go's reader would keep in its buffer of the bytes that were fed (R100): an
 * unfinished line of a head or of a chunk's framing, or an unfinished trailer (R60). */
size_t h1_partial_line(const struct h1 *h);

/* The stream ended. H1_DONE: an until-EOF body ended well, or nothing had begun
 * (then h1_between was true); H1_ERROR with H1_E_TRUNCATED otherwise. */
enum h1_step h1_eof(struct h1 *h);

/* What was wrong, and how many bytes into the message it was found. */
enum h1_error h1_error(const struct h1 *h, uint64_t *offset);
const char *h1_error_text(enum h1_error e);

#endif

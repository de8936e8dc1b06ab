/* Heads as they go on: hop-by-hop fields out, Via in, framing said in one way. */
#ifndef CONNLEAK_HEADS_H
#define CONNLEAK_HEADS_H

#include "core/h1.h"
#include "destination.h"

/* Text under construction in memory that is large enough: the *_bound functions
 * say how much that is. */
struct head_text {
    uint8_t *p;
    size_t len;
};

struct request_head {
    const struct h1_head *head;
    const uint8_t *bytes; /* that the spans count from */
    const struct target *target;
    const char *via;       /* NULL: no Via */
    bool add_close;        /* Connection: close, for pool.disable_keep_alives */
    const char *authority; /* reverse mode, where the client sent no Host */
    long max_forwards;     /* >= 0: the value to send instead */
    enum body_framing framing;
    uint64_t content_length;
};
size_t request_head_bound(const struct request_head *r);
void request_head_write(const struct request_head *r, struct head_text *out);

/* How a response's body is framed toward the client. */
enum down_framing {
    DOWN_NONE,    /* no body */
    DOWN_LENGTH,  /* Content-Length, bytes as they come */
    DOWN_CHUNKED, /* chunks as they come */
    DOWN_ENCHUNK, /* an until-EOF body, for a client that knows chunks */
    DOWN_CLOSE,   /* until we close, for HTTP/1.0: plain bytes */
};

struct response_head {
    const struct h1_head *head;
    const uint8_t *bytes;
    const char *via;
    enum down_framing framing;
    uint64_t content_length; /* to be said; UNKNOWN_BYTES: none */
    bool say_close, say_keep_alive;
    bool upgrade;     /* 101: Connection and Upgrade go on */
    const char *date; /* added where the origin sent none (RFC 9110, 6.6.1); NULL: not (1xx) */
};
size_t response_head_bound(const struct response_head *r);
void response_head_write(const struct response_head *r, struct head_text *out);

#endif

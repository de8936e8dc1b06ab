/* One request on one connection, as the side that asked sees it: how far it got,
 * how much may be read now, and whether the connection may be kept.
 *
 * Pure: it holds facts and answers questions, it moves no bytes. The order of
 * the questions is transport-semantics.md sections 5.2, 5.6, 5.7, 7.2 and 7.3. */
#ifndef CONNLEAK_EXCHANGE_H
#define CONNLEAK_EXCHANGE_H

#include "h1.h"
#include "lifecycle.h"

/* How far the request's bytes are. */
enum write_state {
    WRITE_NOTHING, /* not one byte reached the socket (R108) */
    WRITE_PART,
    WRITE_DONE,   /* wholly written, or counted as such (R121) */
    WRITE_FAILED, /* the socket or the body's source failed (R117) */
};

/* A request with Expect: 100-continue and a body (R121). */
enum expect_state {
    EXPECT_NO,
    EXPECT_WAITING, /* head flushed, body held back */
    EXPECT_GO,      /* 100 came, or the time was up: the body flows */
    EXPECT_REFUSED, /* a final status came first: the body is never sent */
};

struct exchange {
    uint64_t body_announced, body_read; /* of the response */
    uint16_t status;                    /* 0 until a final head came */
    uint8_t n_interim;
    uint8_t write;   /* enum write_state */
    uint8_t expect;  /* enum expect_state */
    uint8_t framing; /* enum body_framing of the response */
    bool head_only;  /* the request is a HEAD */
    bool is_upgrade; /* the request asked for an upgrade */
    bool request_close;
    bool first_byte; /* one byte of any answer came */
    bool response_close;
    bool switched; /* 101 that was asked for: a raw stream */
    bool body_eof; /* end of the response seen; true at once where there is no body */
    bool canceled;
};

struct exchange_request {
    bool head_only, is_upgrade, request_close;
    bool has_body, expect_continue; /* expect_continue counts only with a body */
};

void exchange_begin(struct exchange *x, const struct exchange_request *rq);

/* What a response head means. */
enum head_verdict {
    HEAD_INTERIM,   /* a 1xx to pass on; read on */
    HEAD_CONTINUE,  /* the 100 that the request waits for; pass on, send the body */
    HEAD_SWITCH,    /* 101: the bytes that follow are opaque (R81) */
    HEAD_NO_BODY,   /* complete with its head (R44, R51) */
    HEAD_BODY,      /* a body follows, of x->framing and x->body_announced */
    HEAD_MALFORMED, /* the sixth 1xx (R80): REASON_MALFORMED_RESPONSE */
};

/* Takes a parsed head; for final heads sets status, framing, close and expect. */
enum head_verdict exchange_head(struct exchange *x, const struct h1_head *head);

/* May the connection be kept? Asked when the response is complete. */
enum keep_verdict {
    KEEP_YES,
    KEEP_NO,         /* *why says the reason */
    KEEP_WAIT_WRITE, /* R48: ask again when the write ends, or WRITE_GRACE has passed */
};
#define WRITE_GRACE MSEC(50)

/* `grace_over`: WRITE_GRACE has passed. `left_over`: bytes beyond the response
 * lie in the read buffer already; the reference would return the connection and
 * close it at once, or hand the bytes to the next request (R75, R77, a race). Here
 * they are always REASON_UNSOLICITED_RESPONSE and never reach a request. */
enum keep_verdict exchange_keep(const struct exchange *x, bool grace_over, bool left_over, enum close_reason *why);

/* Why a connection on which reading ended (EOF, or an error) must close. `eof`:
 * a clean end of the stream. Not for ends that complete an until-EOF body. */
enum close_reason exchange_read_end(const struct exchange *x, bool eof);

/* Where the exchange stands, for close.phase. `in_head`: part of a head came.
 * `after_data`: h1_after_data. */
enum close_phase exchange_phase(const struct exchange *x, bool in_head, bool after_data);

/* An idle connection became readable with these bytes: REASON_SERVER_CLOSED_IDLE
 * for "HTTP/1.x 408" (R76), else REASON_UNSOLICITED_RESPONSE. */
enum close_reason exchange_idle_bytes(const uint8_t *data, size_t len);

/* How many bytes one read(2) may ask for (R100), the model that decides FIN or
 * RST at an early close.
 *   in a head or between chunks: the free part of the read buffer, `buffered`
 *     bytes of an unfinished line being in it;
 *   in a body with `remaining` bytes to the next framing byte: straight into the
 *     copy buffer if at least read_buffer bytes are wanted, else one fill of the
 *     read buffer.
 * Never 0. */
size_t exchange_read_size(size_t read_buffer, size_t buffered, bool in_body, uint64_t remaining, size_t copy_buffer);

/* Profile go1.27: is a body of this kind, closed early, drained first? */
#define DRAIN_BYTES (256u << 10)
#define DRAIN_TIME  MSEC(50)
bool exchange_may_drain(const struct exchange *x);

#endif

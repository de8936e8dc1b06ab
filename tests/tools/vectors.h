/* What the test vectors of transport-semantics.md, section 11, are written with.
 *
 * A vector's reason code RL (Go's readLoop exiting) has several names here, which
 * say more: early_close, response_close, request_close, until_eof, server_closed,
 * malformed_response, upload_unfinished. CX is canceled before the response's head
 * and early_close behind it; HO, TM, KA, IT, SC, PK are too_many_idle_host,
 * too_many_idle, keepalives_disabled, idle_timeout, server_closed_idle and
 * unsolicited_response (read_error where the peer reset); CI and CC are both
 * close_idle_conns; RF is server_closed, TO response_header_timeout.
 *
 * The vectors that have no test at this level, and why:
 *   T21, T100        garbage collection and a Transport per request: a caller's mistakes that
 *                    a daemon with one pool cannot make
 *   T72, T144        close_notify and TLS records: what TLS reads ahead is OpenSSL's
 *   T119, T119b      how Go's writer cuts an in-memory body into segments
 *   T121             which of two kernels is faster
 *   T128, T129       redirects, and
 *   T137-T140        gzip: Go's client does both, a proxy passes bytes
 *   T132, T135, T136 CONNECT to an upstream proxy
 *   T145-T156        HTTP/2
 *   T157-T166        the downstream side of a proxy: scenarios with real sockets */
#ifndef CONNLEAK_VECTORS_H
#define CONNLEAK_VECTORS_H

#include "sim.h"
#include "tap.h"

static struct sim *s;

static inline void begin(const struct sim_conf *conf, const struct serve *answers, unsigned n) {
    sim_free(&s);
    s = sim_new(conf, answers, n);
}

/* A script for each request in turn; the last one holds for the rest. */
#define ANSWER(...)                                                                                                    \
    {                                                                                                                  \
        { __VA_ARGS__ }                                                                                                \
    }
#define ANSWERS(...)                                                                                                   \
    (const struct serve[]){__VA_ARGS__}, sizeof((const struct serve[]){__VA_ARGS__}) / sizeof(struct serve)

#define WORLD(...) begin(&(const struct sim_conf){0}, ANSWERS(__VA_ARGS__))
#define CONF(...)                                                                                                      \
    &(const struct sim_conf) {                                                                                         \
        __VA_ARGS__                                                                                                    \
    }

static inline struct sim_request *finish(struct sim_request *rq) {
    sim_wait(s, rq);
    return rq;
}

/* A request with these members and steps: started now; or carried out. */
#define START(...) sim_start(s, &(const struct sim_request){__VA_ARGS__})
#define RUN(...)   finish(START(__VA_ARGS__))
#define CALL(...)  .call = {__VA_ARGS__}
#define FULL       .call = {READ_ALL, CLOSE}
#define GET_FULL() RUN(FULL)

#define EXPECT(summary) CHECK_STR(sim_summary(s), summary)

#define HEAD_CL(n)   "HTTP/1.1 200 OK\r\nContent-Length: " n "\r\n\r\n"
#define HEAD_CHUNKED "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
#define CL5          HEAD_CL("5") "hello"
#define CHUNKED5     HEAD_CHUNKED "5\r\nhello\r\n"
#define CL0          HEAD_CL("0")

#define LEN(text) (sizeof(text) - 1)

#endif

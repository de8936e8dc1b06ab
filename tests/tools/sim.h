/* A world in which the pure core can be watched: a virtual clock, a scripted
 * server, a caller who reads bodies as he likes, and a kernel with a receive queue
 * for each connection. The pool, the parser, the exchange and the retry rule are
 * the real ones; this is their fourth driver. It reads as R100 says, so that FIN or
 * RST at a close follows from the bytes that are left in the queue.
 *
 * Time stands still while something can happen; then it jumps to the next thing. */
#ifndef CONNLEAK_SIM_H
#define CONNLEAK_SIM_H

#include "core/exchange.h"
#include "core/pool.h"
#include "core/retry.h"

#define SIM_MAX   64 /* connections, and requests, in one world */
#define SIM_STEPS 8  /* of a script */

/* ---- the server ---- */

enum serve_kind { SERVE_END, SERVE_SEND, SERVE_FIN, SERVE_RST, SERVE_STREAM };

/* at_ms counts from the arrival of the request's head. SERVE_SEND: the text and
 * behind it `fill` bytes of filler, as one segment. SERVE_STREAM: filler without end. */
struct serve_step {
    enum serve_kind kind;
    int at_ms;
    const char *text;
    size_t fill;
};
struct serve {
    struct serve_step step[SIM_STEPS];
};

#define SEND(at, text)                                                                                                 \
    { SERVE_SEND, at, text, 0 }
#define SEND_AND(at, text, fill)                                                                                       \
    { SERVE_SEND, at, text, fill }
#define FIN(at)                                                                                                        \
    { SERVE_FIN, at, NULL, 0 }
#define RST(at)                                                                                                        \
    { SERVE_RST, at, NULL, 0 }
#define STREAM(at)                                                                                                     \
    { SERVE_STREAM, at, NULL, 0 }

/* ---- the caller ---- */

enum call_kind {
    CALL_END,
    CALL_READ,     /* until n bytes are there, or the end; n as the size of the slice */
    CALL_READ_ALL, /* until EOF, in slices of 512 bytes */
    CALL_SLEEP,    /* n milliseconds */
    CALL_CLOSE,    /* the body */
    CALL_CANCEL,   /* the context */
};
struct call_step {
    enum call_kind kind;
    unsigned n;
};

#define READ(n)                                                                                                        \
    { CALL_READ, n }
#define READ_ALL                                                                                                       \
    { CALL_READ_ALL, 0 }
#define SLEEP(ms)                                                                                                      \
    { CALL_SLEEP, ms }
#define CLOSE                                                                                                          \
    { CALL_CLOSE, 0 }
#define CANCEL                                                                                                         \
    { CALL_CANCEL, 0 }

struct sim_request {
    const char *addr;      /* NULL: "a:80" */
    const char *proxy;     /* NULL: direct */
    const char *scheme;    /* NULL: "http" */
    bool is_head, is_post; /* neither: GET */
    bool request_close, upgrade, websocket;
    bool has_body, can_rewind, idempotency_key, expect_continue;
    bool ends_context;   /* its end cancels its context, as Client.Timeout and ReverseProxy do */
    int cancel_ms;       /* the context's deadline after the start; 0: none */
    int upload_ms;       /* the body takes so long to be sent; -1: for ever */
    int upload_fails_ms; /* its source fails then; 0: never */
    int write_fails_on;  /* on this connection the first write fails with nothing written */
    struct call_step call[SIM_STEPS];

    /* What came of it. */
    unsigned status;                       /* 0: failed before a head */
    uint64_t got;                          /* body bytes */
    bool eof, failed, leaked;              /* leaked: its steps ended with a body neither read nor closed */
    enum close_reason error;               /* why it failed */
    double head_ms, done_ms, body_sent_ms; /* since its start; -1: never */
    unsigned retries;
    int conn;      /* the connection that served it last, from 1; 0: none */
    bool finished; /* the caller is through with its steps */
};

/* ---- the world ---- */

struct sim_conf {
    struct pool_conf pool;
    size_t read_buffer; /* 0: 4096 */
    uint32_t max_head;  /* 0: 10 MiB */
    mono_ns header_timeout, expect_timeout;
    int dial_ms;
    int nth_dial_ms[SIM_MAX];     /* of the n-th dial, from 0; 0: dial_ms; negative: fails after so long */
    bool no_timers;               /* idle timers do not fire */
    bool serve_by_turn;           /* answer n is for a connection's n-th request, not for the n-th request of all */
    const struct serve *greeting; /* what the server does on accept */
};

struct sim;

struct sim *sim_new(const struct sim_conf *conf, const struct serve *answers, unsigned n_answers);
void sim_free(struct sim **sp);

/* Starts a request now; the returned pointer is good until sim_free. */
struct sim_request *sim_start(struct sim *s, const struct sim_request *rq);

/* Lets time pass until `rq` is finished (NULL: for exactly `ms` milliseconds); at most 10 minutes. */
void sim_wait(struct sim *s, const struct sim_request *rq);
void sim_sleep(struct sim *s, int ms);

void sim_close_idle(struct sim *s);

/* "D2 Q1,1 I0: early_close F, open": dials, requests on each, idle ones, then each
 * connection's end: reason and wire in the order of the dials. Wire: F, R, F>R
 * (FIN, then RST on the server's next data), S (the server was first). "open"; "open
 * CLOSE_WAIT" if the server has closed; "up" if it is switched. A dial that was
 * not finished is not counted. Static; good until the next call. */
const char *sim_summary(const struct sim *s);

struct pool *sim_pool(struct sim *s);
size_t sim_recv_q(const struct sim *s, int conn);
unsigned sim_late_writes(const struct sim *s, int conn, unsigned *failed); /* of the server, after the close */
bool sim_server_blocked(const struct sim *s, int conn);
unsigned sim_permits(const struct sim *s, const char *addr);

#endif

/* What is to be played: the clients of a capture and their origins' answers, as steps in time.
 *
 * Made from the wire analyser's records and transcripts. A connection's steps are in
 * the order in which they happened to it; all steps together, in the order of time.
 * What cannot be played is named, connection by connection; what the capture lacks
 * of a body is filled in, and counted. Does no I/O. */
#ifndef CONNLEAK_REPLAY_PLAN_H
#define CONNLEAK_REPLAY_PLAN_H

#include "wire/wire.h"

/* A capture is somebody else's input: what is beyond these is named and left out. */
#define PLAN_ORIGINS_MAX     1024                 /* each has a listening socket */
#define PLAN_REQUEST_MAX     ((uint64_t)64 << 20) /* bytes of one request */
#define PLAN_REQUEST_ALL_MAX ((uint64_t)1 << 30)  /* and of all of them, which are made before the first is sent */
#define PLAN_FILL_MAX        ((uint64_t)64 << 20) /* bytes filled in, in one answer */
#define PLAN_FILL_ALL_MAX    ((uint64_t)1 << 30)  /* and in all of them */
#define PLAN_BYTES_MAX       ((size_t)512 << 20)  /* of messages, kept from the capture; more is filled in */
#define PLAN_AUTHORITY_MAX   300                  /* of an origin's name */

/* Why a connection, or the rest of one, is not played. */
enum plan_gap {
#define X(sym, name, text) PLAN_##sym,
#include "replay/tbl/gaps.h"
#undef X
    N_PLAN_GAPS
};
const char *plan_gap_name(enum plan_gap g); /* "whole", "refused", ... */
const char *plan_gap_text(enum plan_gap g); /* one sentence part for people */

struct plan_origin {
    char *authority;      /* as captured: "api.example", "10.0.0.1:8080" */
    uint32_t n_exchanges; /* that are played: plan_finish counts them */
};

/* A request and its answer. */
struct plan_exchange {
    uint32_t conn, origin;
    uint32_t n_parts;        /* of the answer */
    struct wire_part *parts; /* the server's bytes from the answer's first interim head on; off from 0 */
    uint8_t *request;        /* head in absolute form, body: plan_address makes it */
    uint64_t request_len;
    uint64_t request_off, head_end, request_end; /* of the client's stream, as captured */
    uint64_t target_at, target_len;              /* in the captured head */
    uint64_t grown;                  /* by how much the request is longer than the captured one, modulo 2^64 */
    uint64_t target_key;             /* hash of method and path */
    uint8_t *head;                   /* as captured */
    uint64_t response_off;           /* of the server's stream */
    uint64_t response_len, head_len; /* captured bytes of the answer; of its heads, interim ones included */
    uint64_t done_len;           /* of response_len: where the answer ended; what follows was not asked for. NO_LEN: not
                                    complete */
    uint64_t until_client_ends;  /* of response_len: what its client had when it ended the connection. NO_LEN: all */
    uint64_t take;               /* its client reads so much of the answer at first; NO_LEN: all */
    uint64_t fill_after;         /* bytes announced beyond response_len, that the origin had still to send */
    int64_t request_ns, sent_ns; /* its head, its last byte; capture's clock; 0: has not happened */
    int64_t head_ns, done_ns;    /* of the answer */
    uint16_t status, n_interim;
    bool is_head, is_safe, absolute;
    bool is_read;         /* its head was, and is a request that a proxy takes */
    bool is_cut;          /* its client ended the connection, or stopped, before all of the request was sent */
    bool ends_connection; /* the origin's end of the connection is a part of this answer */
    char method[12];
};
#define NO_LEN UINT64_MAX

enum plan_step_kind {
    STEP_OPEN,       /* connect */
    STEP_SEND,       /* n: request bytes of the exchange up to here */
    STEP_INTERIM,    /* wait for the n-th 1xx answer */
    STEP_DONE,       /* wait for the whole answer */
    STEP_HAVE,       /* wait for n bytes of it: the capture ends there */
    STEP_TAKE,       /* read up to n bytes of the answer */
    STEP_TAIL,       /* the origin sends n bytes more that nobody asked for */
    STEP_ORIGIN_END, /* the origin ends the connection, which is idle */
    STEP_FIN,        /* the client ends it */
    STEP_RESET,
    STEP_ABANDON, /* it ends it with FIN, then closes it with bytes unread: FIN and RST */
};
struct plan_step {
    int64_t at_ns; /* capture's clock */
    uint64_t n;
    uint32_t exchange;
    uint8_t kind;
};

struct plan_conn {
    struct wire_record *record; /* owned, with its transcript */
    uint32_t first_step, n_steps;
    uint32_t first_exchange, n_exchanges;
    uint64_t had;       /* of the last answer: bytes that its client had when it ended the connection */
    uint32_t window;    /* the client's largest, where it did not keep up; 0: it did */
    uint8_t gap;        /* enum plan_gap */
    bool played;        /* some of it */
    bool origin_resets; /* the origin's end is a RST */
    bool abandons;      /* the client's FIN is followed by a RST, for bytes that it left unread */
    bool linger;        /* the client's RST had another cause than unread bytes */
};

struct plan {
    struct plan_conn *conns;
    struct plan_exchange *exchanges;
    struct plan_step *steps; /* by connection */
    uint32_t *order;         /* indices of steps by time */
    struct plan_origin *origins;
    uint32_t n_conns, n_exchanges, n_steps, n_origins;
    uint32_t conns_room, exchanges_room, steps_room;
    uint32_t *step_conn; /* of each step */
    int64_t begin_ns, end_ns;
    uint64_t filled_in, filled_out; /* bytes of answers and of requests that the capture lacks */
    uint64_t request_bytes;
    uint64_t n_filled; /* messages that have such bytes */
    uint32_t by_gap[N_PLAN_GAPS];
};

/* Takes the record. Records may come in any order. */
void plan_add(struct plan *p, struct wire_record *r);

/* All records are in: sorts, and cuts off what may not be asked of a live origin if safe_only. */
void plan_finish(struct plan *p, bool safe_only);

/* Makes the requests, `authority` of each origin being what a proxy is to dial. */
void plan_address(struct plan *p, const char *const *authority);

/* Of the first `captured` bytes of the captured request, how many that is of the one that is sent. */
uint64_t plan_sent_len(const struct plan_exchange *x, uint64_t captured);

void plan_clear(struct plan *p);

/* Fills bytes that are not known. */
void plan_fill(uint8_t *to, size_t len);

/* What tells requests apart at an origin: method and path. */
uint64_t plan_target_key(const char *method, size_t method_len, const uint8_t *path, size_t path_len);

#endif

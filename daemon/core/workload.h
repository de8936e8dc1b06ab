/* Who asked for what and when: the input of what-if and of replay.
 *
 * A workload is a table of origins, one of connections as they were, and one of
 * exchanges, each with the number of its connection and of its origin. It has
 * times, sizes and ends, and nothing of any content: what a replay needs beyond that it
 * takes from the capture itself. record/workload_json.h writes and reads it as
 * JSON Lines (connleak.workload/1).
 *
 * Times are nanoseconds since began_ns; durations that follow a time are counted
 * from it, NO_TIME where the thing has not happened or was not seen. An exchange has
 * 104 bytes, a connection 96. */
#ifndef CONNLEAK_WORKLOAD_H
#define CONNLEAK_WORKLOAD_H

#include "lifecycle.h"

#include <stddef.h>

#define NO_TIME     (-1)
#define WORKLOAD_NO UINT32_MAX /* no such row; no such text */

/* No time and no duration is longer: a hundred years. Two of them can be added. */
#define WORKLOAD_TIME_MAX SEC(INT64_C(36525) * 86400)

/* How an exchange ended. */
enum workload_end {
#define X(sym, name, text) END_##sym,
#include "tbl/workload_ends.h"
#undef X
    N_WORKLOAD_ENDS
};

/* What an exchange's `at_ns` is. */
enum workload_arrivals {
    ARRIVALS_WANTED, /* when the request wanted a connection: waits are known */
    ARRIVALS_SENT, /* when its first byte was seen: a wait before it is not, so waiting times are lower bounds. Where a
                      dial shows that a request wanted a connection, it is when that dial began */
};

/* Whom a request is for. Two exchanges with one origin may share connections. */
struct workload_origin {
    uint32_t scheme, host; /* texts: "http" or "https"; host:port */
};

/* One connection as it was. Which end it is seen from: `side`; upstream and client are
 * the end that dialed, downstream is a server's (the daemon's) view of its clients. */
#define WCONN_OPENED   0x01 /* its beginning was seen: opened_ns is true, else it is when it was first seen */
#define WCONN_DIALED   0x02 /* the TCP connection stood */
#define WCONN_TLS      0x04
#define WCONN_TO_PROXY 0x08 /* its requests are in absolute form: the peer is a forward proxy */
#define WCONN_OPAQUE   0x10 /* a tunnel, upgraded, or not to be read */
#define WCONN_PARTIAL  0x20 /* some of its exchanges are missing here, or lack their times */
struct workload_conn {
    conn_id id;        /* of its record: "c-3" */
    int64_t opened_ns; /* the dial began, or it was accepted */
    int64_t dial_ns;   /* after opened_ns: TCP stood */
    int64_t tls_ns;    /* after that: TLS stood */
    int64_t closed_ns; /* since began_ns; NO_TIME: open at the end, or the end was not seen */
    int64_t idle_ns;   /* how long it had been idle when it was closed; NO_TIME: it was not, or nobody knows */
    uint64_t bytes_in, bytes_out;
    uint64_t unread_bytes; /* received, and not read by the end that `side` names, when it closed; UNKNOWN_BYTES */
    uint32_t requests;     /* as its record counts them; the exchanges here may be fewer (WCONN_PARTIAL) */
    uint32_t client;       /* text: whose pool it belongs to: the address of the end that connected */
    uint32_t server;       /* text: address:port of the other end; WORKLOAD_NO */
    uint32_t origin;       /* of its key, or of its first exchange; WORKLOAD_NO: none was seen */
    uint8_t side, close_by, close_how, close_reason, close_phase;
    uint8_t flags; /* WCONN_* */
};

/* One request and its answer. */
#define WX_REQUEST_CLOSE  0x01 /* the request forbade reuse: Connection: close, or HTTP/1.0 */
#define WX_RESPONSE_CLOSE 0x02 /* the answer did */
#define WX_EXPECT         0x04 /* Expect: 100-continue */
#define WX_SPREAD         0x08 /* its times were not kept: it is spread evenly between those that were */
#define WX_RETRIED        0x10 /* the connection failed under it, and it was sent again on another one */
#define WX_PIPELINED      0x20 /* sent before the answer to the one before was complete */
struct workload_exchange {
    int64_t at_ns;            /* enum workload_arrivals says of what */
    int64_t waited_ns;        /* after at_ns: it was given its connection; 0 with ARRIVALS_SENT */
    int64_t sent_ns;          /* after at_ns: the request was wholly sent */
    int64_t first_ns;         /* after at_ns: the first byte of the answer (of a 1xx, if one came) */
    int64_t done_ns;          /* after at_ns: it ended, as `end` says */
    uint64_t request_body;    /* bytes */
    uint64_t announced;       /* of the answer's body; UNKNOWN_BYTES: no Content-Length */
    uint64_t body;            /* of it that passed */
    uint64_t taken;           /* of it that the client had acknowledged, or read, when it ended; UNKNOWN_BYTES */
    uint32_t request_head;    /* bytes; 0: not known */
    uint32_t response_head;   /* bytes, 1xx left out; 0: not known */
    uint32_t conn, origin;    /* rows; the origin may be WORKLOAD_NO */
    uint32_t method, path;    /* texts; WORKLOAD_NO: not seen. The path is without its query */
    uint16_t status;          /* 0: no answer */
    uint8_t end, framing;     /* enum workload_end, enum body_framing (of the answer) */
    uint8_t flags, n_interim; /* WX_*; how many 1xx */
};

/* What a workload may hold, so that none of it grows with what a file says. */
struct workload_limits {
    uint32_t exchanges, conns, origins;
    uint32_t text_bytes; /* all texts together, NULs included */
};
#define WORKLOAD_LIMITS_DEFAULT                                                                                        \
    { .exchanges = 20000000, .conns = 20000000, .origins = 1000000, .text_bytes = 512u << 20 }
#define WORKLOAD_TEXT_MAX 1024 /* bytes of one text; longer ones are cut */

struct workload {
    wall_ns began_ns;    /* the wall clock's time of 0 */
    int64_t duration_ns; /* the observation ended so long after */
    uint8_t observer;    /* enum observer */
    uint8_t arrivals;    /* enum workload_arrivals */
    bool anonymous;      /* names and paths are labels */
    struct workload_origin *origins;
    struct workload_conn *conns;
    struct workload_exchange *exchanges;
    uint32_t n_origins, n_conns, n_exchanges;
    struct workload_limits limits;
    struct workload_store *store; /* what is behind the tables */
};

struct workload *workload_new(const struct workload_limits *limits);
void workload_free(struct workload **wp);

/* Each adds a row and returns it zeroed, with its times NO_TIME and its texts and rows
 * WORKLOAD_NO; borrowed until the next one is added. NULL: the limit is reached. The
 * rows keep the order in which they are added. */
struct workload_conn *workload_add_conn(struct workload *w);
struct workload_exchange *workload_add_exchange(struct workload *w);

/* The row of the origin with this name, made if there is none; WORKLOAD_NO: a limit is reached. */
uint32_t workload_origin(struct workload *w, const char *scheme, const char *host);

/* The number of a text, the same for the same bytes; WORKLOAD_NO: the limit is reached.
 * A NUL within it ends it. */
uint32_t workload_text(struct workload *w, const char *text, size_t len);
/* The text of a number, "" for WORKLOAD_NO. Borrowed until a text is added. */
const char *workload_text_of(const struct workload *w, uint32_t text);

/* A connection's record as rows: the connection, and an exchange for each request. What its events (32 are kept)
 * tell of a request is exact; requests whose events were dropped are spread evenly between those that were not
 * (WX_SPREAD), and where a record has no events, over its life. Times are put down as they are: workload_begin
 * makes them count from the beginning. seen_ns: until when an open one was watched. False: a limit is reached. */
bool workload_add_life(struct workload *w, const struct lifecycle *l, int64_t seen_ns);

/* The connection alone. */
bool workload_add_conn_of(struct workload *w, const struct lifecycle *l);

/* How an exchange ended that was under way when its connection did. */
enum workload_end workload_end_of(const struct lifecycle *l);

/* So long after `from_ns` was at_ns: 0 where that is before it, WORKLOAD_TIME_MAX at most. */
int64_t workload_after(int64_t at_ns, int64_t from_ns);

/* Makes the times of connections and arrivals, which were those of a clock, count from began_ns (of the wall
 * clock, cut to the microsecond, as it is written), and sorts. */
void workload_begin(struct workload *w, wall_ns began_ns, wall_ns ended_ns);

/* Puts connections in the order of opening and exchanges in the order of arrival, rows
 * that were equal as they were; numbers of connections in the exchanges go along. */
void workload_sort(struct workload *w);

/* Replaces hosts, clients, servers and paths with labels: host-1.invalid:80 (ports
 * stay), client-1, /path-1. They are numbered in the order in which they appear, so that
 * nothing can be guessed from a label, as it could from a hash of a name. Methods that no RFC
 * knows become "OTHER". */
void workload_anonymise(struct workload *w);

const char *workload_end_name(enum workload_end e);
bool workload_end_parse(const char *name, size_t len, enum workload_end *out);

#endif

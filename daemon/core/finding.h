/* The rules: facts about connections go in, findings come out.
 *
 * Pure: no clock, no I/O. The daemon, the capture analyser and the tests say the same
 * struct fact; rules are small functions over one subject's connections (finding_rules.c).
 * A subject is who shows a behaviour: of client connections the client (and, in a capture,
 * the server that it talks to), of upstream connections the pool key. There is one finding
 * per kind and subject, counted up; it resolves by itself when its cause is gone.
 *
 * "Local" is the end that connected, whoever observes: of a downstream connection the
 * client, of an upstream one the daemon, as in a capture. */
#ifndef CONNLEAK_FINDING_H
#define CONNLEAK_FINDING_H

#include "lifecycle.h"
#include "stack.h"

enum finding_kind {
#define X(sym, name, severity, summary, text) FINDING_##sym,
#include "tbl/findings.h"
#undef X
    N_FINDINGS
};

enum finding_number {
#define X(sym, name, text) NUM_##sym,
#include "tbl/finding_numbers.h"
#undef X
    N_NUMBERS
};

enum severity {
#define X(sym, name, text) SEVERITY_##sym,
#include "tbl/severities.h"
#undef X
};

enum confidence {
#define X(sym, name, text) CONFIDENCE_##sym,
#include "tbl/confidences.h"
#undef X
};

/* ---- facts ---- */

enum fact_kind {
    FACT_OPENED,   /* it stands, or is begun; at_ns: when it was begun. peer, server; upstream: host */
    FACT_REQUEST,  /* a request head; method, host, tag, user_agent, flags */
    FACT_RESPONSE, /* a final response head; status, framing, bytes = announced or UNKNOWN_BYTES, flags */
    FACT_DONE,    /* the whole response has passed (to the client's socket; in a capture: is on the wire); bytes: of its
                     body, and in a capture of its head too; or 0 */
    FACT_BLOCKED, /* nothing goes out to the local end any more: its window or our socket is full */
    FACT_FLOWING, /* bytes go out again */
    FACT_OPAQUE,  /* CONNECT or Upgrade: from here on only bytes */
    FACT_ENDING,  /* the first FIN or RST of either end; by, how */
    FACT_CLOSED,  /* all is known of it; end. by BY_NONE: it is open, and the capture is over */
    FACT_WAITED,  /* upstream: a request was given this connection after `bytes` nanoseconds; FACT_LIMITED: because all
                     allowed  connections were in use */
    FACT_RETRIED, /* upstream: the request under way is sent again on another one */
    FACT_DIAL_FAILED, /* upstream: there is no connection; cause */
    FACT_SOCKET,      /* what the socket probe saw; socket */
    N_FACTS
};

/* fact.flags */
#define FACT_NO_REUSE 0x01 /* the message says Connection: close, or its framing needs it */
#define FACT_HTTP10   0x02 /* HTTP/1.0 without keep-alive */
#define FACT_PROXIED  0x04 /* a request to a forward proxy */
#define FACT_BODYLESS 0x08 /* FACT_RESPONSE: no body by its nature (HEAD, 204, 304), or of length 0 */
#define FACT_LIMITED  0x10

/* How an observer judges the last response at the end of a connection; enum early_verdict of the wire
 * has the same rows with the same meaning. */
enum fact_early {
    FACT_EARLY_NO,
    FACT_EARLY_IN_BODY,     /* proven: the local end left before the body was complete */
    FACT_EARLY_FIN_AFTER,   /* all was delivered, then the local end's FIN */
    FACT_EARLY_RST_AFTER,   /* all was delivered, then its RST */
    FACT_EARLY_NO_RESPONSE, /* it left before the response head */
    FACT_EARLY_OPEN,        /* it is open */
    FACT_EARLY_UNKNOWN
};

enum fact_rst { FACT_RST_NONE, FACT_RST_UNREAD, FACT_RST_AFTER_CLOSE, FACT_RST_REFUSED, FACT_RST_ABORT };

enum dial_cause { DIAL_CAUSE_OTHER, DIAL_CAUSE_REFUSED, DIAL_CAUSE_UNRESOLVED, DIAL_CAUSE_TIMEOUT, DIAL_CAUSE_TLS };

/* All that is known when a connection is over; of one still open when a capture ends, too (by = BY_NONE). */
struct fact_end {
    int64_t last_data_ns;         /* when bytes were last on the wire; 0: not known */
    uint64_t received_bytes;      /* that the local end's kernel had acknowledged */
    uint64_t unread_bytes;        /* UNKNOWN_BYTES; by the local end */
    uint64_t unread_if_read_4096; /* UNKNOWN_BYTES */
    uint64_t body_announced, body_read;
    uint64_t excess_bytes;
    uint64_t rst_packet;    /* 0: none */
    int64_t zero_window_ns; /* of the local end, all spells */
    uint32_t requests;
    uint32_t tls_sent; /* records of the local end after its handshake, its last alert not counted; UINT32_MAX */
    bool counts_known; /* requests and responses are */
    bool local_rst;
    bool stood; /* the handshake was complete */
    bool tls;
    bool excess_is_response; /* what came unasked began like a response, or long after the last one */
    bool unread_upload;      /* the remote end answered and closed, and the request was not wholly sent */
    uint8_t by, how;         /* enum close_by, close_how: the first FIN or RST */
    uint8_t phase;           /* enum close_phase */
    uint8_t framing;         /* enum body_framing of the last response */
    uint8_t early;           /* enum fact_early */
    uint8_t rst, rst_likely; /* enum fact_rst: proven, and what it only looks like */
    uint8_t reason;          /* enum close_reason, REASON_NONE where nobody claims one */
};

struct fact_socket {
    uint64_t recv_q;  /* of the local end: bytes that its program has not read; UNKNOWN_BYTES */
    uint64_t send_q;  /* of ours */
    bool zero_window; /* the local end's window lets nothing out */
    uint32_t pid;     /* 0: not known */
    const char *comm; /* NULL, or borrowed for the call */
};

struct fact {
    int64_t at_ns; /* never goes back by much: FACT_CLOSED may come late */
    conn_id conn;
    uint8_t kind;  /* enum fact_kind */
    uint8_t side;  /* enum side */
    uint8_t flags; /* FACT_* */
    uint8_t framing, by, how;
    uint8_t cause; /* enum dial_cause */
    uint16_t status;
    uint64_t bytes;
    struct endpoint peer;                         /* FACT_OPENED: the client's address; family ADDR_NONE: not known */
    struct endpoint server;                       /* FACT_OPENED, in a capture: the other end's */
    const char *method, *host, *tag, *user_agent; /* borrowed; NULL: not known. host of an upstream FACT_OPENED: the
                                                     pool key's host:port */
    const struct fact_end *end;
    const struct fact_socket *socket;
};

/* ---- findings ---- */

#define FINDING_IDS   20 /* connections named */
#define FINDING_HOSTS 8
#define FINDING_TEXT  96

struct finding_share { /* of one host or method */
    char name[FINDING_TEXT];
    uint64_t count;
};

struct finding_subject {
    uint8_t side;
    char key[FINDING_TEXT * 2];    /* host:port; "" : any */
    char client[64];               /* its address; "" : any */
    char tag[64], user_agent[128]; /* "" : none */
    enum stack stack;              /* what the client seems to be written with */
};

struct finding {
    uint64_t id; /* 1 for the first; never used again */
    const struct finding_subject *subject;
    uint8_t kind, severity, confidence;
    uint64_t count;
    int64_t first_ns, last_ns, resolved_ns; /* resolved_ns 0: it goes on */
    uint64_t by_status[6];                  /* [0]: no status; [1]..[5]: 1xx..5xx */
    struct finding_share by_host[FINDING_HOSTS], by_method[FINDING_HOSTS];
    uint64_t number[N_NUMBERS];
    uint64_t known; /* bits by enum finding_number */
    conn_id ids[FINDING_IDS];
    unsigned n_ids;
    uint32_t ambiguous;          /* bits by enum finding_kind: what looks the same */
    const char *observer_effect; /* static text, or NULL: the observer has no part in it */
    char comm[16];               /* "" : not known */
};

struct findings_conf {
    int64_t leak_after_ns, slow_after_ns, window_ns;
    int64_t idle_conn_timeout_ns; /* ours: what an origin's timeout is compared with; 0: none */
    uint32_t port_range;          /* local ports that there are */
    enum observer observer;
    bool forward; /* clients reach us as a forward proxy: the observer's effect is possible */
};
#define FINDINGS_CONF_DEFAULT                                                                                          \
    {                                                                                                                  \
        .leak_after_ns = SEC(30), .slow_after_ns = SEC(10), .window_ns = SEC(300), .idle_conn_timeout_ns = SEC(90),    \
        .port_range = 28232, .observer = OBSERVER_DAEMON, .forward = true                                              \
    }
/* A capture says of time only what is in it. */
#define CAPTURE_LEAK_AFTER SEC(1)

struct findings;

struct findings *findings_new(const struct findings_conf *conf);
void findings_free(struct findings **fp);
void findings_set_conf(struct findings *f, const struct findings_conf *conf);

void findings_fact(struct findings *f, const struct fact *fact);

/* Time passes: what only time shows is raised, what is over resolves. Call it about once a second. */
void findings_tick(struct findings *f, int64_t now);

/* The capture is over, and every connection's FACT_CLOSED was said, of the open ones with BY_NONE. */
void findings_end(struct findings *f, int64_t now);

/* Findings by severity, causes before what they leave behind, then by confidence and by what happened last; of what
 * still goes on, open ones first. NULL after the last. The
 * pointers are good until the next call that takes a non-const struct findings. */
const struct finding *findings_get(struct findings *f, size_t i);
unsigned findings_open(const struct findings *f); /* not resolved */
unsigned findings_open_of(const struct findings *f, enum finding_kind kind);
uint64_t findings_held(const struct findings *f); /* downstream connections held now */

/* What changed since the last call: raised, raised to a higher severity, or resolved. Bounded: where nobody asks, the
 * oldest go. */
struct finding_change {
    uint64_t id;
    bool raised; /* false: resolved */
};
bool findings_next_change(struct findings *f, struct finding_change *out);
const struct finding *findings_find(const struct findings *f, uint64_t id);

/* Connections that a look at their sockets would tell something about, at most `room` a call, each
 * in its turn; returns how many. */
struct suspect {
    conn_id conn;
    uint8_t side;
};
size_t findings_suspects(struct findings *f, int64_t now, struct suspect *out, size_t room);

/* What was learned of an origin, by the key of FACT_OPENED's host; false: nothing yet. */
struct origin_facts {
    int64_t idle_timeout_ns; /* median idle time at its closes; 0: not seen */
    uint32_t idle_observations;
    uint32_t peak_active;     /* most requests at a time */
    uint32_t sufficient_idle; /* the limit of idle connections that would have kept every one that was needed again */
};
bool findings_origin(const struct findings *f, const char *key, struct origin_facts *out);

/* The sentence with its numbers into buf, cut if it does not fit; returns its length. */
size_t finding_summary(const struct finding *fi, char *buf, size_t size);

const char *finding_name(enum finding_kind k);
bool finding_parse(const char *name, enum finding_kind *out);
const char *finding_number_name(enum finding_number n);
const char *severity_name(enum severity s);
const char *confidence_name(enum confidence c);

#endif

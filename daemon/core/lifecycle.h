/* One connection's life: events go in, a record comes out.
 *
 * The daemon's sockets, the wire analyser, the kernel probes and the simulator
 * all say what they saw as struct conn_event; lifecycle_apply folds it into
 * struct lifecycle, whoever saw it. What a source cannot see has its bit in
 * `known` off, and is null in every output. */
#ifndef CONNLEAK_LIFECYCLE_H
#define CONNLEAK_LIFECYCLE_H

#include "clock.h"
#include "ident.h"

#include <stdbool.h>
#include <stdint.h>

enum close_reason {
#define X(sym, name, go_error, text, advice) REASON_##sym,
#include "tbl/close_reasons.h"
#undef X
    N_REASONS
};

enum conn_event_kind {
#define X(sym, name, listed, text) EV_##sym,
#include "tbl/conn_events.h"
#undef X
    N_EVENTS
};

enum observer { OBSERVER_DAEMON, OBSERVER_CAPTURE, OBSERVER_KERNEL };

/* SIDE_CLIENT: a capture's records, written from the end that connected. */
enum side { SIDE_UPSTREAM, SIDE_DOWNSTREAM, SIDE_CLIENT, N_SIDES };

/* Where a life stands. */
enum life_state {
#define X(sym, name, text) LIFE_##sym,
#include "tbl/life_states.h"
#undef X
};

/* How far the exchange under way was when the connection ended. */
enum close_phase {
#define X(sym, name, text) PHASE_##sym,
#include "tbl/close_phases.h"
#undef X
};

enum close_by { BY_NONE, BY_LOCAL, BY_REMOTE };
enum close_how { HOW_NONE, HOW_FIN, HOW_RST };

enum body_framing { FRAMING_NONE, FRAMING_LENGTH, FRAMING_CHUNKED, FRAMING_UNTIL_EOF };

/* No Content-Length, or a number that cannot be known. */
#define UNKNOWN_BYTES UINT64_MAX

/* One thing that happened, at a time on the source's own clock. */
struct conn_event {
    int64_t at_ns;
    uint64_t value;  /* what the row of tbl/conn_events.h says */
    uint16_t code;   /* a status, or an enum close_reason */
    uint8_t kind;    /* enum conn_event_kind */
    uint8_t framing; /* EV_RESPONSE: enum body_framing; EV_ENDED: enum close_phase */
};

/* A listed event as a record keeps it. */
struct conn_mark {
    int64_t at_ns;
    uint32_t value; /* capped at UINT32_MAX, which then means "that or more, or unknown" */
    uint16_t code;
    uint8_t kind;
    uint8_t zero;
};

/* Marks kept per record: the first MARKS_HEAD, and the newest of the rest. */
#define MARKS_HEAD 8
#define MARKS_MAX  32

/* Bits of lifecycle.known: set where the source can see the thing at all. */
enum life_known {
    KNOW_OPENED = 1 << 0,       /* saw its beginning */
    KNOW_CLOSED = 1 << 1,       /* would have seen its end */
    KNOW_REQUESTS = 1 << 2,     /* requests, reused, retries */
    KNOW_EARLY_CLOSES = 1 << 3, /* response bodies given up */
    KNOW_BYTES_IN = 1 << 4,
    KNOW_BYTES_OUT = 1 << 5,
    KNOW_UNREAD = 1 << 6, /* bytes unread at close */
    KNOW_RST_SENT = 1 << 7,
    KNOW_RST_RECEIVED = 1 << 8,
    KNOW_BODY = 1 << 9,   /* last_body */
    KNOW_CLOSE = 1 << 10, /* close.by and close.how */
    KNOW_REASON = 1 << 11,
    KNOW_PHASE = 1 << 12,
    KNOW_DIAL = 1 << 13,         /* dial_ms, tls_ms */
    KNOW_IDLE = 1 << 14,         /* idle_ms */
    KNOW_RESPONSES = 1 << 15,    /* a capture may lack one direction and have the other */
    KNOW_CLOSE_NOTIFY = 1 << 16, /* TLS 1.3 hides it from a capture */
};
#define KNOW_ALL 0x1ffffu

/* Strings shared by many records; interned and counted by the ledger. */
struct life_key {
    const char *scheme, *addr, *proxy;
    uint32_t refs;
};
struct life_client {
    const char *tag, *user_agent; /* "" where there is none */
    const char *comm;             /* its process, as the socket probe knows it; NULL: not known */
    uint32_t pid;                 /* 0: not known */
    bool probed;                  /* recv_q is known */
    uint64_t recv_q;              /* bytes that lay unread in its receive queue at the last look */
    uint32_t refs;
};

struct wire_evidence; /* what only a capture has; probes/wire/evidence.h */

struct lifecycle {
    conn_id id;
    const struct life_key *key;       /* NULL: not known */
    const struct life_client *client; /* NULL: not known; downstream only */
    struct wire_evidence *evidence;   /* NULL unless the observer is a capture; owned by it */
    const char *tls_version;          /* static strings, NULL: plain */
    const char *tls_cipher;
    int64_t opened_ns; /* all on the source's clock; 0 = has not happened */
    int64_t dialed_ns;
    int64_t tls_ns;
    int64_t idle_since_ns;
    int64_t closed_ns;
    int64_t idle_total_ns; /* finished idle spells */
    uint64_t bytes_in, bytes_out;
    uint64_t body_announced, body_read; /* of the last response */
    uint64_t unread_bytes;              /* at close */
    struct flow_key flow;
    uint32_t requests, responses, early_closes, retries;
    uint32_t known; /* enum life_known */
    uint32_t marks_dropped;
    struct conn_mark *marks; /* the first MARKS_HEAD in order, then a ring; see lifecycle_mark */
    uint16_t n_marks, marks_room, marks_ring;
    uint8_t observer, side, state;
    uint8_t body_framing;
    uint8_t close_by, close_how, close_reason, close_phase;
    bool rst_sent, rst_received, fin_received, close_notify;
    bool fin_first;      /* the peer's FIN came before any FIN of ours or RST of either */
    bool fin_sent_first; /* ours did */
    bool opaque;         /* tunnel or upgraded */
};

/* Folds one event into a life. Never fails: when memory for marks is short, the
 * mark is dropped and counted, the numbers stay right. */
void lifecycle_apply(struct lifecycle *l, const struct conn_event *ev);

/* The i-th kept mark in order of time, i < n_marks. */
const struct conn_mark *lifecycle_mark(const struct lifecycle *l, unsigned i);

/* Requests after the first. */
uint32_t lifecycle_reused(const struct lifecycle *l);

/* Time spent idle until `now` in nanoseconds, the spell under way included. */
int64_t lifecycle_idle_ns(const struct lifecycle *l, int64_t now);

/* Gives back the marks; the struct itself is the caller's. */
void lifecycle_clear(struct lifecycle *l);

/* The tables as text; "?" for a number that is in no row. */
const char *close_reason_name(enum close_reason r);
const char *close_reason_go_error(enum close_reason r); /* "" where Go has none */
bool close_reason_parse(const char *name, enum close_reason *out);
const char *conn_event_name(enum conn_event_kind k);
const char *observer_name(enum observer o);
const char *side_name(enum side s);
const char *life_state_name(enum life_state s);
const char *close_phase_name(enum close_phase p); /* NULL for PHASE_NONE: null in JSON */
const char *close_by_name(enum close_by b);
const char *close_how_name(enum close_how h);
const char *body_framing_name(enum body_framing f);

#endif

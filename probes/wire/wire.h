/* The wire analyser: TCP segments go in, the lives of connections come out.
 *
 * Pure: it opens nothing, reads no clock, calls nobody back. Feed segments in the
 * order of capture, take the records that are finished, say when the capture is over:
 *
 *     w = wire_new(&limits);
 *     for each segment:  wire_feed(w, &seg);  while ((rec = wire_next(w))) { ...; wire_record_free(&rec); }
 *     wire_finish(w);                         while ((rec = wire_next(w))) ...
 *     wire_free(&w);
 *
 * What cannot be known stays unknown: bits of lifecycle.known are off, and
 * evidence.incomplete says why. */
#ifndef CONNLEAK_WIRE_H
#define CONNLEAK_WIRE_H

#include "evidence.h"
#include "transcript.h"

#include <stddef.h>

/* TCP flags as they stand in the header. */
#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_PSH 0x08
#define TCP_ACK 0x10

#define WIRE_NO_SCALE 0xff

/* One TCP segment as the link layers found it. */
struct wire_segment {
    int64_t at_ns;   /* on the capture's clock */
    uint64_t packet; /* its number, from 1 */
    struct endpoint src, dst;
    const uint8_t *payload; /* borrowed for the call */
    uint32_t captured;      /* bytes at payload; less than len where the snap length cut it */
    uint32_t len;           /* payload bytes that the packet had on the wire */
    uint32_t seq, ack;
    uint32_t ident;  /* of the packet: IP identification and TCP checksum; equal on copies of one packet */
    uint16_t window; /* as it stands in the header */
    uint8_t flags;
    uint8_t window_scale; /* of a SYN's option; WIRE_NO_SCALE: no such option */
    bool reversed;        /* these two are wire_prepare's */
    uint32_t hash;
};

struct wire_limits {
    size_t held_bytes; /* payload held for reordering, all connections together */
    size_t held_per_conn;
    uint32_t max_head_bytes; /* of an HTTP head */
    uint32_t lingering;      /* ended connections kept in wait for their last packets */
    int64_t linger_ns;       /* and for how long */
    bool exchanges;          /* keep evidence.exchanges */
    bool events;             /* queue what happens, for wire_next_event */
    bool targets;            /* and say of each request in it for whom and for what it is */
    size_t transcript_bytes; /* keep transcripts, with at most so many bytes of all messages together; 0: none */
};
#define WIRE_LIMITS_DEFAULT                                                                                            \
    {                                                                                                                  \
        .held_bytes = 16u << 20, .held_per_conn = 1u << 20, .max_head_bytes = 256u << 10, .lingering = 8192,           \
        .linger_ns = SEC(5), .exchanges = true                                                                         \
    }

/* A finished connection. life.evidence points at evidence. Times are on the capture's clock. */
struct wire_record {
    struct lifecycle life;
    struct life_key key; /* life.key points at it, where a Host was seen */
    struct wire_evidence evidence;
    struct wire_transcript
        *transcript; /* what was said, byte for byte; NULL unless limits.transcript_bytes asks for it */
};

/* What happened, in the order of the segments that showed it. A record comes later than the
 * events of its connection: when nothing more can be said of it. */
enum wire_event_kind {
    WIRE_OPENED,   /* its first segment; client and server as they seem to be then */
    WIRE_REQUEST,  /* a request head is complete */
    WIRE_RESPONSE, /* a final response head; bytes: announced by it, or UNKNOWN_BYTES */
    WIRE_DONE,     /* a whole response has passed; bytes: of head and body */
    WIRE_OPAQUE,   /* after CONNECT or Upgrade, which was a request too */
    WIRE_BLOCKED,  /* the client's window is zero */
    WIRE_FLOWING,  /* it is open again */
    WIRE_ENDING,   /* the first FIN or RST; by_client, how; bytes: that the client had acknowledged by then */
};
#define WIRE_TARGET_MAX 1024
struct wire_event {
    int64_t at_ns;
    uint64_t conn, packet, bytes;
    uint64_t exchange; /* WIRE_REQUEST, WIRE_RESPONSE, WIRE_DONE: which of the connection's requests, from 0 */
    struct endpoint client, server;
    const char *host,
        *user_agent; /* of the first request; NULL: not seen. Good until the connection's record is freed */
    const char *authority, *path; /* WIRE_REQUEST with limits.targets, else NULL: host:port as the request names it, and
                                     its path without the query, each cut at WIRE_TARGET_MAX. Good as the event is */
    uint64_t body_bytes;          /* WIRE_REQUEST: announced, UNKNOWN_BYTES where chunked; WIRE_DONE: of the body */
    uint32_t head_bytes;          /* WIRE_REQUEST, WIRE_RESPONSE: of the head */
    int64_t first_ns;             /* WIRE_RESPONSE: when the first head of the answer came, a 1xx too */
    uint8_t interim;              /* WIRE_RESPONSE: how many 1xx came before */
    char method[9];               /* "" : not known */
    uint16_t status;
    uint8_t kind;    /* enum wire_event_kind */
    uint8_t framing; /* enum body_framing */
    uint8_t how;     /* enum close_how */
    bool by_client;
    bool no_reuse;  /* the message says that the connection ends after it */
    bool http10;    /* for it is HTTP/1.0 without keep-alive */
    bool proxied;   /* absolute form */
    bool bodyless;  /* WIRE_RESPONSE: has none by its nature, or one of no bytes */
    bool expects;   /* WIRE_REQUEST: waits for 100 Continue before its body */
    bool pipelined; /* WIRE_REQUEST: the answer to the one before was not complete */
};

struct wire_totals {
    uint64_t segments, payload_bytes;
    uint64_t connections, open, open_peak;
    uint64_t strays; /* segments of connections that had ended long before */
};

struct wire;

struct wire *wire_new(const struct wire_limits *limits);
void wire_free(struct wire **wp);

void wire_feed(struct wire *w, struct wire_segment *s);

/* wire_feed in three steps, for readers that have many segments at hand: each step
 * for all of them before the next, so that memory is near when it is needed. */
void wire_prepare(const struct wire *w, struct wire_segment *s);
void wire_prefetch(const struct wire *w, const struct wire_segment *s);
void wire_feed_prepared(struct wire *w, const struct wire_segment *s);

/* The capture is over, and nothing is fed any more: connections that are open become
 * records too, as wire_next asks for them. */
void wire_finish(struct wire *w);

/* The next finished record, in the order in which they finished; NULL: none now. The caller owns it. */
struct wire_record *wire_next(struct wire *w);
void wire_record_free(struct wire_record **rp);

/* The next event, NULL: none now. Borrowed until the next call that feeds or asks. Take all of them before
 * wire_next: texts in them belong to connections whose records wait there. */
const struct wire_event *wire_next_event(struct wire *w);

const struct wire_totals *wire_totals(const struct wire *w);

#endif

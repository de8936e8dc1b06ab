/* Inside the wire room: what is held of one connection while it lives.
 *
 * Size matters here (a capture may hold millions of connections), and so does the
 * order of the fields: a segment in the common case touches the first cache lines
 * of a connection only. Streams are counted in 64-bit offsets from their first byte;
 * sequence numbers are turned into offsets where they come in (tcp.c). */
#ifndef CONNLEAK_WIRE_CONN_H
#define CONNLEAK_WIRE_CONN_H

#include "core/h1.h"
#include "wire/wire.h"

#define NO_INDEX  UINT32_MAX
#define NO_OFFSET UINT64_MAX
#define NO_END    0xff

/* A segment that waits: for the bytes before it, or for those of the other end
 * that its ACK says had arrived. Sorted by offset. */
struct held {
    struct held *next;
    int64_t at_ns;
    uint64_t packet;
    uint64_t off, end; /* stream offsets */
    uint64_t needs;    /* offset of the other stream that its sender had received */
    uint32_t captured;
    uint8_t bytes[];
};

/* An endpoint's state as Zeek has it; conn_state is made from two of them. */
enum zeek_end {
    ZEEK_INACTIVE,
    ZEEK_PARTIAL,
    ZEEK_SYN_SENT,
    ZEEK_SYN_ACK_SENT,
    ZEEK_ESTABLISHED,
    ZEEK_CLOSED,
    ZEEK_RESET
};

/* Where one direction's reader stands. */
enum reading {
    READ_START,      /* nothing read yet: what is spoken here is not known */
    READ_BETWEEN,    /* the next byte begins a message */
    READ_HEAD,       /* in a head; dir.h1 holds the parser, dir.head what came of it if it is cut */
    READ_LOOSE_HEAD, /* in a head whose lines end with LF alone; dir.head has all of it so far */
    READ_LENGTH,     /* in a body of `left` more bytes */
    READ_CHUNKED,    /* in a chunked body; dir.h1 */
    READ_EOF,        /* in a body that ends with the stream */
    READ_LOST,       /* position unknown: waits for a segment that begins a message */
    READ_TLS,        /* in TLS records; `left` more bytes of the one at hand */
    READ_TLS_LOST,   /* TLS, but where records begin is no longer known */
    READ_OPAQUE,     /* not ours to read: a tunnel, upgraded, or unknown */
};

#define DIR_BASED     0x01 /* base_seq is set */
#define DIR_SYN       0x02 /* its SYN (or SYN+ACK) was seen */
#define DIR_SCALED    0x08 /* the window scale is known */
#define DIR_CUT       0x10 /* the snap length cut its payload */
#define DIR_LATE      0x20 /* its base is where it was first heard of: bytes may stand before */
#define DIR_ENDED     0x40 /* its FIN was reached in the stream */
#define DIR_FIN_ACKED 0x80

struct head_bytes {
    uint32_t len, room;
    uint8_t bytes[];
};

/* One sender's stream: first what every segment needs, in two cache lines. */
struct dir {
    uint64_t next;    /* delivered up to here, gaps included */
    uint64_t max_end; /* highest offset that payload was seen up to */
    uint64_t acked;   /* highest offset that the other end acknowledged */
    uint64_t fin_off; /* where the FIN stands; NO_OFFSET */
    struct held *held;
    uint32_t base_seq; /* of offset 0 */
    uint32_t packets, payload_packets;
    uint32_t window_max; /* bytes */
    uint16_t window;     /* as last advertised, unscaled */
    uint8_t scale;
    uint8_t flags;     /* DIR_* */
    uint8_t reading;   /* enum reading */
    uint8_t zeek;      /* enum zeek_end */
    uint8_t head_tail; /* READ_TLS: bytes of record_header at hand */
    uint8_t waited;    /* segments that came while a hole was there */

    uint64_t left; /* of a body or record */
    uint64_t sent; /* highest offset that any segment of it stood at */
    uint64_t edge; /* of the other's stream: the right edge that this end's window allowed */
    int64_t zero_since_ns;
    uint64_t last_payload_packet;
    int64_t last_payload_ns;
    uint32_t print[3]; /* of the last segments, to know a copy by */
    uint32_t history;  /* bits of letters that were written */
    struct h1 *h1;

    struct head_bytes *head;
    uint64_t close_had; /* of the other's stream: what this end had acknowledged when it sent its first FIN or RST;
                           NO_OFFSET */
    int64_t close_ack;  /* and the ACK of that segment as an offset, not limited by the other's FIN; -1: it had none */
    uint64_t fin_packet, rst_packet;
    int64_t fin_ns, rst_ns, zero_ns;
    uint64_t acked_by_rst; /* of its stream, that the other end's RST was the first to acknowledge */
    uint64_t gap_bytes;
    uint32_t again; /* segments whose bytes had all been sent before */
    uint32_t retransmits, duplicates, out_of_order, conflicts, keepalives, gaps, zero_windows;
    uint16_t rsts, bad_rsts;
    uint32_t rst_seq; /* of its first RST */
    bool rst_bare;    /* which had no ACK */
    bool base_acked;  /* base_seq is what the other end acknowledged */
    uint8_t record_header[5];
};

/* A request that waits for its answer. */
#define PEND_HEAD    0x01
#define PEND_CONNECT 0x02
#define PEND_UPGRADE 0x04
#define PEND_CLOSE   0x08

struct kept_exchange {
    int64_t request_ns, response_ns, done_ns;
    uint64_t request_packet, response_packet;
    uint64_t announced, body_bytes;
    uint16_t status;
    uint8_t framing;
    uint8_t complete : 1, known : 1;
    char method[8];
};

#define KEEP_FIRST WIRE_FIRST
#define KEEP_LAST  WIRE_NEWEST

struct conn {
    struct endpoint ends[2]; /* the lower one first */
    uint32_t hash;
    uint32_t newer, older; /* linger list, or the free list */
    uint32_t incomplete;   /* enum wire_incomplete */
    uint8_t client;        /* index of the end that is the client */
    uint8_t first_from;    /* index of the end that sent the first packet */
    uint8_t roles;         /* enum wire_roles */
    uint8_t protocol;      /* enum wire_protocol */
    uint8_t last_reader;   /* whose bytes were read last, or NO_END */
    bool ended;            /* RST, or FIN of both: lingers */
    bool lingers;
    uint8_t pending_n;

    struct dir dir[2]; /* [i]: sent by ends[i] */

    int64_t last_ns;
    uint64_t last_packet;
    int64_t established_ns;
    uint64_t body, announced;           /* of the last response */
    uint8_t framing;                    /* of the last response */
    bool response_known;                /* the last exchange was read without a doubt */
    bool requests_lost, responses_lost; /* counts are lower bounds from here on */
    uint8_t n_history;
    uint8_t closer;    /* who sent the first FIN or RST: an end's index, or NO_END */
    uint8_t close_how; /* enum close_how */
    uint8_t rst_cause;
    struct transcript *transcript; /* NULL: none is kept */
    int64_t first_ns, ended_ns;

    uint64_t first_packet, syn_packet, established_packet, close_packet;
    uint64_t first_request_packet, last_request_packet, last_response_packet;
    uint64_t response_at,
        response_end; /* offsets of the last response, in the server's stream; NO_OFFSET: not begun, not complete */
    uint32_t n_requests, n_responses, pipelined;
    uint32_t cut_requests, cut_responses; /* heads of which only the beginning was seen */
    uint64_t excess;
    bool excess_is_response; /* it begins like one */
    int64_t idle_since_ns, idle_total_ns;
    int64_t done_ns; /* of the last response */
    bool request_close, response_close, proxy_form, tunnelled;
    bool bare_lf;       /* a head had lines that end with LF alone */
    bool upload_cut;    /* a request body was under way at the first FIN or RST */
    bool request_gap;   /* requests may have been lost since the last that was seen */
    bool behind_excess; /* bytes stand before the response that its reader may take for its beginning */
    bool expects;       /* the request under way waits for 100 Continue before its body */
    uint8_t n_interim;  /* 1xx since the last final answer */
    int64_t interim_ns; /* the first of them */

    uint8_t pending_first, pending_room;
    uint8_t pending_inline[8];
    uint8_t *pending; /* ring: pending_inline, or allocated */
    struct kept_exchange *kept;
    uint32_t n_kept, kept_room;
    uint64_t n_exchanges;    /* begun; kept has the first and the newest */
    uint64_t n_answered;     /* of them: whose answer is complete, or was lost */
    char *host, *user_agent; /* NULL: not seen */
    struct wire_tls *tls;
    uint64_t id;
    char history[31];
} __attribute__((aligned(64)));

#define CONNS_PER_CHUNK 256u

/* A head as it was read, for others that are the same byte for byte: clients send the
 * same requests over and over. */
#define KNOWN_HEADS 64
struct known_head {
    struct h1_head head;
    struct h1_span user_agent;
    uint32_t len; /* 0: none */
    uint8_t bytes[512];
};

/* What a packet of a connection looked like whose packets come twice. */
#define SEEN_BUCKETS 1024u
#define SEEN_WAYS    4
struct seen_print {
    uint64_t key; /* print and connection */
    int64_t at_ns;
};

struct by_id {
    uint64_t id;
    uint32_t index;
};

struct wire {
    struct known_head known_heads[2][KNOWN_HEADS]; /* by enum h1_side */
    struct wire_limits limits;
    struct wire_totals totals;
    int64_t now_ns; /* of the segment under way */

    uint64_t seed[2]; /* of the table's hashes */
    uint64_t *slots;  /* hash << 32 | index + 1; 0: empty */
    uint32_t mask, n_slots_used;
    struct conn **chunks;
    uint32_t n_chunks, free_list;
    uint32_t linger_first, linger_last, n_linger;
    uint32_t *tombs; /* hashes of connections that ended not long ago */

    bool doubled; /* some packet came twice */
    struct seen_print *prints;

    size_t held_bytes;
    size_t transcript_bytes; /* stored so far, of limits.transcript_bytes */
    struct h1 *spare[2][32]; /* parsers that nobody uses */
    unsigned n_spare[2];

    struct wire_record **out; /* queue of finished records */
    size_t out_first, out_n, out_room;

    struct wire_event *events; /* queue, emptied before the next batch */
    size_t events_first, n_events, events_room;
    struct event_texts *event_texts; /* of the events in the queue */

    struct by_id *ending; /* after wire_finish: connections that were there, in order */
    size_t ending_at, n_ending;
};

/* What a reader is given: bytes in order. data NULL: len bytes that passed unseen. */
struct piece {
    const uint8_t *data;
    uint64_t len;
    int64_t at_ns;
    uint64_t packet;
    bool begins_segment; /* the first byte was the first of a segment */
};

/* table.c */
void table_init(struct wire *w);
static inline struct conn *conn_at(const struct wire *w, uint32_t index) {
    return &w->chunks[index / CONNS_PER_CHUNK][index % CONNS_PER_CHUNK];
}
uint32_t table_find(const struct wire *w, const struct endpoint *lower, const struct endpoint *upper, uint32_t hash);
void table_add(struct wire *w, uint32_t index);
void table_remove(struct wire *w, uint32_t index);
uint32_t conn_take(struct wire *w); /* a zeroed one; aborts where memory is short */
void conn_give(struct wire *w, uint32_t index);
bool table_is_tomb(const struct wire *w, uint32_t hash);
void table_bury(struct wire *w, uint32_t hash);

/* tcp.c */
void tcp_segment(struct wire *w, struct conn *c, unsigned from, const struct wire_segment *s);
void tcp_flush(struct wire *w, struct conn *c); /* gives up waiting: the connection is over */

/* http.c: bytes of ends[from], in order; the piece is used up. */
void read_piece(struct wire *w, struct conn *c, unsigned from, struct piece *p);
void read_end(struct wire *w, struct conn *c, unsigned from, int64_t at_ns); /* its FIN was reached */
void read_lost(struct wire *w, struct conn *c, unsigned from);               /* more was said, and it cannot be read */
void read_free(struct wire *w, struct conn *c);
void keep_bytes(struct dir *d, const uint8_t *data, size_t len); /* behind those in d->head */
bool looks_like_request(const uint8_t *p, size_t len);
bool looks_like_response(const uint8_t *p, size_t len);

/* tls.c */
void tls_begin(struct conn *c);
void tls_piece(struct conn *c, unsigned from, struct piece p);
/* tls, and what its bits in `known` are, of a record; server_is_whole: nothing of the server's is missing. */
void tls_record(const struct conn *c, const struct wire_tls *t, bool server_is_whole, struct lifecycle *l);

/* history.c */
void history_put(struct conn *c, unsigned from, char letter);
static inline void history_add(struct conn *c, unsigned from, char letter) { /* the first time only */
    uint32_t bit = 1u << (letter & 31);

    if (c->dir[from].history & bit) return;
    c->dir[from].history |= bit;
    history_put(c, from, letter);
}
void history_count(struct conn *c, unsigned from, char letter, uint64_t count); /* at 1, 10, 100, ... */
void zeek_segment(struct conn *c, unsigned from, const struct wire_segment *s);
const char *zeek_conn_state(const struct conn *c);

/* transcript.c: each does nothing where no transcript is kept. */
void transcript_begin(struct wire *w, struct conn *c);
void transcript_piece(struct wire *w, struct conn *c, unsigned from, const struct piece *p);
void transcript_mark(struct conn *c, enum wire_mark_kind kind, uint64_t off, uint64_t end, uint64_t exchange,
                     const struct piece *p);
void transcript_window(struct conn *c, unsigned from, int64_t at_ns, uint64_t edge);
struct wire_transcript *transcript_end(struct conn *c); /* the caller's */

/* events.c: NULL where nobody wants them. Fill in what else is known. */
struct wire_event *happened(struct wire *w, const struct conn *c, enum wire_event_kind kind, int64_t at_ns,
                            uint64_t packet);
/* For whom the request is, and for what: into an event of it. */
void event_target(struct wire *w, struct wire_event *e, const struct h1_head *head, const uint8_t *message);
void events_free(struct wire *w);

/* record.c */
struct wire_record *record_make(const struct wire *w, struct conn *c);

#endif

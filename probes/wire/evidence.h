/* What only a capture can tell about a connection: the packets that show it, and
 * what follows from them. Stands beside a struct lifecycle, from the same end's
 * point of view: local is the client.
 *
 * Packet numbers count from 1 in the order in which packets were fed (of one
 * file: the numbers that tcpdump -# and tshark print). 0: there is no such packet. */
#ifndef CONNLEAK_WIRE_EVIDENCE_H
#define CONNLEAK_WIRE_EVIDENCE_H

#include "core/lifecycle.h"

#include <stdbool.h>
#include <stdint.h>

/* Why the first RST was sent: what is proven. What the capture only suggests is in rst_cause_likely. */
enum rst_cause {
#define X(sym, name, text) RST_CAUSE_##sym,
#include "wire/tbl/rst_causes.h"
#undef X
};

/* Was a response body given up? What lifecycle.early_closes rests on. */
enum early_verdict {
#define X(sym, name, text) EARLY_##sym,
#include "wire/tbl/early_verdicts.h"
#undef X
};

/* What the bytes are. */
enum wire_protocol {
    PROTO_NONE, /* no payload was seen */
    PROTO_HTTP1,
    PROTO_TLS,
    PROTO_HTTP2,   /* its preface in clear text */
    PROTO_UNKNOWN, /* not HTTP/1 and not TLS, or a start in mid-stream that never showed what it is */
};

/* How the ends were told apart. */
enum wire_roles {
    ROLES_HANDSHAKE, /* by SYN or SYN+ACK */
    ROLES_CONTENT,   /* by a request, a response or a TLS hello */
    ROLES_ASSUMED,   /* a guess: the sender of the first packet is called the client */
};

/* Why something cannot be known: bits. */
enum wire_incomplete {
#define X(sym, bit, name, text) INCOMPLETE_##sym = 1 << (bit),
#include "wire/tbl/incomplete.h"
#undef X
};

/* Of one sender. */
struct wire_end {
    uint64_t packets, payload_packets;
    uint64_t bytes;        /* of its stream, by sequence numbers: up to its FIN or last byte seen or acknowledged */
    uint64_t acked_bytes;  /* of its stream, acknowledged by the other end */
    uint64_t acked_by_rst; /* of these, by nothing before the other end's RST */
    uint64_t gap_bytes;    /* of its stream, not in the capture */
    uint64_t fin_packet, rst_packet; /* its first ones */
    uint64_t last_payload_packet;
    int64_t fin_ns, rst_ns, last_payload_ns;
    int64_t zero_window_ns; /* for how long it advertised a window of 0 */
    uint32_t zero_windows;  /* how many spells */
    uint32_t retransmits, duplicates, out_of_order, overlap_conflicts, keepalives, gaps, rsts, bad_rsts;
    bool crossed;      /* its first FIN or RST does not acknowledge the other end's FIN: they passed each other */
    bool window_known; /* its window scale was seen, or none is used */
    uint32_t window, window_max; /* bytes: last advertised, and the most */
    uint64_t unread_by_window;   /* a guess: how far the last window lies below the largest; UNKNOWN_BYTES */
};

/* What the last record of an end was, as far as that shows from outside. */
enum wire_alert {
    ALERT_NONE,    /* no alert */
    ALERT_CLOSE,   /* close_notify, in clear text */
    ALERT_ERROR,   /* another alert, in clear text: see error */
    ALERT_SEALED,  /* an alert, encrypted (TLS 1.2 and older) */
    ALERT_BY_SIZE, /* a guess: as long as TLS 1.3 makes an alert that it hides among the data */
    ALERT_CUT,     /* an alert of which the capture has no more than the header */
};

struct wire_tls {
    uint16_t version;    /* as negotiated (0x0303, 0x0304); 0: no ServerHello seen */
    uint16_t offered;    /* highest version in the ClientHello; 0: none seen */
    uint16_t cipher;     /* of the ServerHello */
    uint64_t records[2]; /* whole records, client and server */
    uint64_t record_bytes[2];
    uint8_t alert[2]; /* enum wire_alert: the last record */
    uint8_t error[2]; /* description of the last alert in clear text that was not close_notify (RFC 8446 section
                         6.2); 0: none */
    bool sealed[2];   /* ChangeCipherSpec has passed: what follows is encrypted */
    bool hello_read[2];
    char sni[256];          /* "" if there was none */
    char alpn_offered[128]; /* comma separated, cut if longer */
    char alpn[32];          /* chosen in clear text (TLS 1.2 and older); TLS 1.3 encrypts it: "" */
};

#define WIRE_HISTORY_MAX 33

/* One request and its answer, as far as they were seen. */
#define WIRE_FIRST  2
#define WIRE_NEWEST 4
struct wire_exchange {
    uint64_t request_packet, response_packet; /* where the heads end */
    uint64_t body_announced;                  /* UNKNOWN_BYTES: no Content-Length */
    uint64_t body_bytes;                      /* that passed */
    int64_t request_ns, response_ns, done_ns; /* 0: has not happened */
    uint16_t status;                          /* 0: no answer */
    uint8_t framing;                          /* enum body_framing */
    bool complete;                            /* the whole response passed */
    bool known;                               /* false: this answer's place in the stream is not proven */
    char method[9];                           /* "" not seen; longer names are cut */
};

struct wire_evidence {
    uint64_t first_packet, last_packet;
    uint64_t syn_packet;         /* the SYN, or the SYN+ACK where that is missing */
    uint64_t established_packet; /* the SYN+ACK */
    uint64_t close_packet;       /* the first FIN or RST of either end */
    uint64_t rst_packet;         /* the RST that rst_cause speaks of */
    uint64_t first_request_packet, last_request_packet, last_response_packet;
    int64_t first_ns, last_ns;
    struct wire_end local, remote;
    uint64_t acked_bytes;         /* payload that the client acknowledged: what its kernel had received */
    uint64_t unread_if_read_4096; /* a guess: acked_bytes less one read of 4,096 bytes; UNKNOWN_BYTES where there was no
                                     RST */
    uint64_t requests_seen, responses_seen; /* lower bounds, also where the record says null */
    uint64_t body_bytes;                    /* of the last response, that passed: whether they were read is not known */
    uint64_t last_head_at;                  /* of the last response: offset of its head in the server's stream */
    uint64_t excess_bytes;                  /* of the server, beyond an announced body with no request outstanding */
    int64_t last_done_ns;                   /* when the last response was complete; 0: never */
    uint32_t incomplete;                    /* enum wire_incomplete */
    uint32_t pipelined;                     /* requests sent before the answer to the one before was complete */
    uint32_t tunnelled;                     /* 1: opaque after CONNECT or Upgrade */
    uint8_t rst_cause, rst_cause_likely;    /* enum rst_cause */
    uint8_t early;                          /* enum early_verdict */
    uint8_t protocol, roles;                /* enum wire_protocol, enum wire_roles */
    bool established;                       /* the handshake was seen to its end */
    bool request_close;                     /* a request said Connection: close, or was HTTP/1.0 without keep-alive */
    bool response_close;                    /* the same of a response */
    bool bare_lf;                           /* a head had lines that end with LF alone */
    bool excess_is_response;                /* those bytes begin like a response */
    bool upload_cut;                        /* a request body was under way when the first end closed */
    bool proxy_form;                        /* requests in absolute form: the server is a forward proxy */
    char conn_state[8];                     /* Zeek's, of tbl/zeek_states.h */
    char history[WIRE_HISTORY_MAX];         /* Zeek's, of tbl/zeek_letters.h */
    char *host;                             /* of the first request's Host field, cut at 255 bytes; NULL: not seen */
    char *user_agent;                       /* cut at 127 */
    struct wire_tls *tls;                   /* NULL: not TLS */
    struct wire_exchange *exchanges;        /* the first WIRE_FIRST and the newest WIRE_NEWEST */
    uint32_t n_exchanges;                   /* kept */
};

const char *rst_cause_name(enum rst_cause c); /* NULL for RST_CAUSE_NONE */
const char *early_verdict_name(enum early_verdict v);
const char *wire_protocol_name(enum wire_protocol p); /* NULL for PROTO_NONE */
const char *wire_roles_name(enum wire_roles r);
const char *wire_incomplete_name(uint32_t bit); /* of one bit */

#endif

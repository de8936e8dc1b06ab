/* Two ledgers side by side: which of their records are the same connection, and
 * does what one observer claims stand up to what the packets show?
 *
 * Records are paired by 4-tuple and time, then compared in each field that both
 * sides can know, from the point of view of the end that wrote the claim. What
 * the wire cannot decide is never held against the claim; what it can decide is
 * never explained away: each cause that excuses a difference demands its own
 * proof among the packets. */
#ifndef CONNLEAK_JOIN_H
#define CONNLEAK_JOIN_H

#include "lifecycle.h"

#include <stddef.h>

enum join_field {
#define X(sym, name, kind, text) JOIN_##sym,
#include "tbl/join_fields.h"
#undef X
    N_JOIN_FIELDS
};
enum join_kind { JOIN_KIND_TIME, JOIN_KIND_COUNT, JOIN_KIND_FLAG, JOIN_KIND_BY, JOIN_KIND_HOW };

enum join_cause {
#define X(sym, name, text) JOIN_CAUSE_##sym,
#include "tbl/join_causes.h"
#undef X
    N_JOIN_CAUSES
};

enum join_verdict {
#define X(sym, name, text) JOIN_VERDICT_##sym,
#include "tbl/join_verdicts.h"
#undef X
    N_JOIN_VERDICTS
};

const char *join_field_name(enum join_field f);
enum join_kind join_field_kind(enum join_field f);
const char *join_cause_name(enum join_cause c);
const char *join_cause_text(enum join_cause c);
const char *join_verdict_name(enum join_verdict v);

/* --- Which are the same? ---------------------------------------------------- */

/* One life on one 4-tuple, as little of it as pairing needs. All times here lie
 * between 0 and JOIN_TIME_MAX, so that sums of two do not overflow. */
#define JOIN_TIME_MAX (INT64_MAX / 2 - SEC(86400))
struct join_life {
    struct flow_key flow; /* the connecting end is local */
    int64_t opened_ns;    /* or first seen */
    int64_t closed_ns;    /* 0: open when last seen */
    uint32_t ref;         /* the caller's: which record this is */
    bool opened_known;    /* its beginning was seen */
};

/* A capture's clock against the ledger's: capture time + offset_ns = ledger time. */
struct join_clock {
    int64_t offset_ns;
    int64_t slack_ns; /* times this close are the same time; at least 0 */
};

/* Sorts by flow, then time of opening, then ref. */
void join_sort(struct join_life *lives, size_t n);

/* The offset as the median of opened(a) - opened(b) over flows that have as many
 * lives on either side, those with a single one if there are any; how many there
 * were; and the span that the middle nine tenths of them lie in. Both sorted. */
struct join_offset {
    int64_t offset_ns, spread_ns;
    size_t n; /* 0: nothing to estimate from, offset_ns is 0 */
};
struct join_offset join_offset(const struct join_life *a, size_t na, const struct join_life *b, size_t nb);

/* Walks both sorted sides once and calls fn for each pair, and for each life
 * that stays alone with NULL for the other side. Lives pair when their flows are
 * equal and their times overlap, or touch within the slack; of several that
 * might, the larger overlap wins, then the nearer beginning, then the earlier.
 * Since a wrong time must not hide the record that it stands in, lives that
 * begin together or end together within the slack may pair too.
 * Memory: 40 bytes for each pair weighed within one flow. Of more than 256 lives
 * of one flow on a side, each is weighed against its nearest 16 only. */
typedef void join_pair_fn(void *arg, const struct join_life *a, const struct join_life *b);
void join_pairs(const struct join_life *a, size_t na, const struct join_life *b, size_t nb,
                const struct join_clock *clock, join_pair_fn *fn, void *arg);

/* --- Do they agree? --------------------------------------------------------- */

/* What the ledger says, in its own end's point of view; fields as in struct lifecycle. */
struct join_claim {
    conn_id id;
    int64_t opened_ns, closed_ns, seen_ns; /* wall clock of the ledger; seen: until when it was watched */
    uint64_t bytes_in, bytes_out, unread_bytes;
    uint32_t requests, reused, early_closes;
    uint32_t known; /* enum life_known */
    uint8_t side, state, close_by, close_how, close_reason;
    bool rst_sent, rst_received, opaque;
    bool accepted; /* written from the accepting end: own is JOIN_ACCEPTOR */
};

/* One end as the packets show it; 0: did not happen. */
struct join_end {
    uint64_t bytes, acked_bytes; /* payload sent; of that, acknowledged by the other end */
    uint64_t acked_by_rst;       /* of these, by nothing before the other end's RST */
    uint64_t fin_packet, rst_packet, last_payload_packet;
    int64_t fin_ns, rst_ns, last_payload_ns;
    uint64_t gone_packet; /* only the kernel can tell: its socket was gone, if without FIN or RST too */
    int64_t gone_ns;
    bool crossed;    /* its FIN or RST does not acknowledge the peer's FIN: that was not known to its kernel */
    bool window_low; /* its window is below half of its largest, or was zero: the other end may hold unsent bytes */
};
enum { JOIN_CONNECTOR, JOIN_ACCEPTOR };

/* What part of a connection the capture has no view of: bits. */
enum join_blind {
    JOIN_BLIND_START = 1 << 0, /* it began before */
    JOIN_BLIND_END = 1 << 1,   /* it was open when the capture ended, or its end was not captured */
    JOIN_BLIND_GAPS = 1 << 2,  /* bytes or a direction are missing */
    JOIN_BLIND_CUT = 1 << 3,   /* packets were cut by the snap length */
    JOIN_BLIND_ALL = 1 << 4,   /* none of it is there, and the capture lost packets: there is no view */
};
#define N_JOIN_BLINDS 5

/* What the capture shows; or what the kernel does, whose events are the packets
 * then. Times are the capture's. */
struct join_view {
    conn_id id;
    struct join_end end[2];
    int64_t opened_ns, first_ns, last_ns;
    uint64_t syn_packet, first_packet, last_packet, last_request_packet;
    uint32_t requests, responses, early_closes; /* responses: also one that nobody had asked for */
    uint32_t pipelined;    /* of the requests: sent before the answer to the one before was there */
    uint64_t last_head_at; /* offset in the accepting end's stream at which its last response begins */
    uint32_t known;        /* enum life_known */
    uint32_t blind;        /* enum join_blind */
    uint32_t unsaid;       /* bits 1 << enum join_field, as the connecting end has them: not to be compared */
    int32_t pid[2];        /* whose ends these are, where the kernel tells; 0: not known */
    bool roles_assumed;    /* which end connected is a guess */
    bool stillborn;        /* only its handshake was seen, and that failed: nothing stood that could be accepted */
};

/* What both sides cover. */
struct join_cover {
    struct join_clock clock;
    int64_t capture_first_ns, capture_last_ns; /* capture's clock */
    int64_t ledger_first_ns, ledger_last_ns;   /* ledger's clock */
    uint64_t lost_packets;                     /* by the capture's own count */
};

struct join_difference {
    uint8_t field;            /* enum join_field */
    uint8_t cause;            /* enum join_cause; JOIN_CAUSE_NONE: a disagreement */
    uint64_t ledger, capture; /* a time, a count, 0 or 1, enum close_by, enum close_how; UNKNOWN_BYTES: none */
    uint64_t packet;          /* the packet that shows it, 0: there is none */
};

struct join_result {
    enum join_verdict verdict; /* AGREE, DISAGREE, INCOMPLETE or EXPLAINED */
    uint32_t compared;         /* bits 1 << enum join_field */
    uint32_t blind;            /* INCOMPLETE: enum join_blind, why */
    uint32_t n;
    struct join_difference diff[N_JOIN_FIELDS]; /* disagreements first */
    int64_t opened_apart_ns, closed_apart_ns;   /* ledger - capture; 0 where not compared */
};
void join_compare(const struct join_claim *claim, const struct join_view *view, const struct join_cover *cover,
                  struct join_result *out);

/* A life that is on one side only: is that a fault, or could the other side not have it? */
enum join_absence {
    JOIN_ABSENT_WRONGLY,  /* it should have been there: counts as a disagreement */
    JOIN_ABSENT_LOSS,     /* the capture lost packets: perhaps all of these. Incomplete, JOIN_BLIND_ALL */
    JOIN_ABSENT_ENDPOINT, /* the other side has nothing of that address: this and what follows is not compared */
    JOIN_ABSENT_TIME,     /* it lies outside the time that the other side covers */
    JOIN_ABSENT_REFUSED,  /* the kernel refused it: the program that listens was never told */
    JOIN_ABSENT_FOREIGN,  /* the kernel says that another program made it */
};
#define N_JOIN_ABSENCES (JOIN_ABSENT_FOREIGN + 1)
const char *join_absence_name(enum join_absence a); /* "wrongly", "lost_packets", "endpoint", ... */

/* The fewest packets that a connection like this can have been. */
uint64_t join_least_packets(const struct join_claim *claim);

/* seen: the capture has connections to that address. */
enum join_absence join_absent_in_capture(const struct join_claim *claim, const struct join_cover *cover, bool seen);

/* accepts: the ledger's daemon accepts connections at that address; dials: it
 * dials that address, from the host that this connection came from. */
enum join_absence join_absent_in_ledger(const struct join_view *view, const struct join_cover *cover, bool accepts,
                                        bool dials);

#endif

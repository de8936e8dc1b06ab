/* The join of a ledger and a capture: a verdict for each connection, and the sums. */
#ifndef CONNLEAK_VERDICTS_H
#define CONNLEAK_VERDICTS_H

#include "claims.h"
#include "core/histogram.h"
#include "views.h"

#define NOBODY UINT32_MAX

/* One connection whose verdict is not simply "agree". 24 bytes each; the details
 * are compared again when they are wanted (verdicts_compare). */
struct checked {
    int64_t at_ns;        /* when it began, on the ledger's clock */
    uint32_t claim, view; /* indices of claims.lives and views.lives; NOBODY: it is not on that side */
    uint8_t verdict;      /* enum join_verdict */
};

/* What only one side has because the other does not reach that far. */
#define OUTSIDE_ENDPOINTS 16
struct outside {
    uint64_t n[N_JOIN_ABSENCES]; /* by enum join_absence; WRONGLY and LOSS are verdicts and not counted here */
    struct {
        struct endpoint at; /* the accepting end */
        uint64_t n;
    } endpoints[OUTSIDE_ENDPOINTS];
    unsigned n_endpoints;
    uint64_t elsewhere; /* of further endpoints */
};

/* Resets and unread bytes as either side counts them, over the pairs of one side of the daemon. */
struct reset_sums {
    uint64_t claimed, claimed_bytes; /* rst_sent, unread_bytes of the ledger */
    uint64_t seen, seen_bytes;       /* RSTs that ended a connection; bytes acknowledged less those read */
    uint64_t seen_after_fin;         /* RSTs that followed the same end's FIN */
};

struct verdicts {
    struct join_cover cover;
    struct join_offset offset;
    struct checked *list; /* disagreements first, then by verdict, each in the order of time */
    size_t n, room;
    uint64_t connections;             /* that were compared, or should have been */
    uint64_t counts[N_JOIN_VERDICTS]; /* their sum is `connections` */
    uint64_t causes[N_JOIN_CAUSES];   /* explained connections, by their first cause */
    uint64_t blind[N_JOIN_BLINDS];    /* incomplete ones by bit of enum join_blind */
    uint64_t absent_packets;          /* that those of JOIN_BLIND_ALL had at least */
    uint64_t fields[N_JOIN_FIELDS], wrong[N_JOIN_FIELDS], excused[N_JOIN_FIELDS]; /* compared; of these */
    struct outside outside_capture, outside_ledger; /* in the ledger only; in the capture only */
    struct reset_sums resets[N_SIDES];
    struct histogram opened_apart, closed_apart; /* nanoseconds, absolute */
};

/* Sorts the lives of both, estimates the offset between their clocks, joins,
 * compares. slack_ns: times this close are the same; lost: packets that the capture lost. */
void verdicts_make(struct verdicts *x, struct claims *claims, struct views *views, int64_t slack_ns, uint64_t lost);

/* The differences of one of the list; it must be on both sides. */
void verdicts_compare(const struct verdicts *x, const struct claims *claims, const struct views *views,
                      const struct checked *which, struct join_result *out);

/* Connections that count as disagreements: differing, or wrongly on one side only. */
uint64_t verdicts_wrong(const struct verdicts *x);
void verdicts_free(struct verdicts *x);

#endif

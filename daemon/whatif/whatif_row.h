/* What a pool did over a workload, or would have done: one row of the comparison. */
#ifndef CONNLEAK_WHATIF_ROW_H
#define CONNLEAK_WHATIF_ROW_H

#include "core/histogram.h"
#include "core/lifecycle.h"

/* A socket whose end closed first stays in TIME_WAIT for so long (Linux). */
#define TIME_WAIT_NS SEC(60)

struct whatif_row {
    uint64_t requests;       /* that were given a connection */
    uint64_t unserved;       /* that still waited at the end, or left before */
    uint64_t reused;         /* of the requests: on a connection that had carried one before */
    uint64_t dials;          /* begun */
    uint64_t standing;       /* connections that stood at the beginning already, and are no dials */
    uint64_t tls_handshakes; /* complete */
    uint64_t closes[N_REASONS];
    uint64_t peak_open, peak_idle;
    uint64_t time_wait_local, time_wait_remote; /* sockets at the peak: of this end, and of servers */
    bool waits_known;
    struct histogram wait; /* nanoseconds from wanting a connection to having it */
};

/* How many sockets are in TIME_WAIT now, and were at most. Times must not go back. */
struct time_wait {
    int64_t *since; /* a ring, the oldest first */
    uint64_t first, n, room, peak;
};
void time_wait_add(struct time_wait *t, int64_t now);
void time_wait_free(struct time_wait *t);

/* Who has a connection in TIME_WAIT that closed for that reason with a FIN: the end that closed first. */
bool reason_is_local(enum close_reason why);

#endif

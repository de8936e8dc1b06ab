/* What the kernel's tracepoints say of sockets, folded into connections.
 *
 * Pure: events go in with their times, RSTs and connections come out of two
 * queues. On one host both ends of a connection may be seen; they are folded
 * into one, whose record is written from the end that connected.
 *
 * Facts that shape this (Linux 6.18, and 5.10 to 6.1 where they differ):
 *   - a dialing socket has no local port yet when it goes to SYN_SENT, so sockets are known by
 *     their address in the kernel until they have one;
 *   - close() with bytes unread goes to CLOSE first and sends its RST afterwards: an RST comes
 *     behind the end of its connection, and on loopback even behind its own arrival;
 *   - TIME_WAIT has no socket: the connection is long closed when it answers late bytes;
 *   - an orphan in FIN_WAIT2 goes to CLOSE whether its peer's FIN has come or not. */
#ifndef CONNLEAK_TRACE_FOLD_H
#define CONNLEAK_TRACE_FOLD_H

#include "core/lifecycle.h"
#include "core/rst_reason.h"

#include <stddef.h>

enum trace_kind { TRACE_SET_STATE, TRACE_SEND_RESET, TRACE_RECEIVE_RESET };

struct trace_event {
    int64_t at_ns;        /* on the trace's clock */
    uint64_t sk;          /* the socket's address in the kernel; 0: there is none */
    struct flow_key flow; /* local: the socket's end, which for SEND_RESET is the sender; port 0: has none yet */
    const char *reason;   /* SEND_RESET, borrowed for good; NULL: not known */
    int32_t pid;          /* SET_STATE, SEND_RESET: who did it; 0: nobody did, or it is not known */
    char comm[KERNEL_COMM_MAX];
    uint8_t kind;                 /* enum trace_kind */
    uint8_t old_state, new_state; /* as in include/uapi/linux/tcp.h; SEND_RESET: new_state, or 0 */
};

/* One RST, sent by a socket of this host or received from another host. */
struct trace_reset {
    int64_t at_ns;
    struct flow_key flow; /* local: who sent it */
    conn_id conn;         /* 0: of no connection that is known */
    const char *reason;
    int32_t pid;
    char comm[KERNEL_COMM_MAX];
    int32_t owner_pid; /* where pid is 0: who dialed or closed that socket of this host; 0: not known */
    char owner_comm[KERNEL_COMM_MAX];
    uint8_t state; /* of the socket that sent or received it, before the RST ended it; 0: there was none */
    bool received; /* from another host: state and owner are the receiving socket's */
};

struct trace_record {
    struct lifecycle life; /* owns no marks */
    struct kernel_evidence evidence;
};

struct fold_limits {
    uint32_t connections; /* at a time; at least 1 */
    int64_t linger_ns;    /* a closed connection waits so long for RSTs that come late */
    int64_t arrival_ns;   /* an RST received is another host's if none was sent here within this time */
    bool all_resets;      /* the kernel tells of RSTs from TIME_WAIT and from no socket too (6.10) */
};
#define FOLD_LIMITS_DEFAULT                                                                                            \
    { .connections = 65536, .linger_ns = SEC(2), .arrival_ns = MSEC(50), .all_resets = true }

struct fold;

struct fold *fold_new(const struct fold_limits *limits);
void fold_free(struct fold **fp);

/* The next event, in the order of time. */
void fold_event(struct fold *f, const struct trace_event *ev);

/* Events were lost before the next one: what stands now may have changed unseen. */
void fold_lost(struct fold *f, uint64_t n);

/* All events before `now` have been given. */
void fold_tick(struct fold *f, int64_t now);

/* The trace is over: whatever stands is handed out as it is. */
void fold_finish(struct fold *f, int64_t now);

/* What is finished, oldest first; false: nothing at the moment. To be emptied
 * after each of the calls above. */
bool fold_next_reset(struct fold *f, struct trace_reset *out);
bool fold_next_record(struct fold *f, struct trace_record *out);

struct fold_counts {
    uint64_t events, lost, limit; /* limit: connections that were let go of because of the bound */
    uint32_t connections;         /* held now */
};
struct fold_counts fold_counts(const struct fold *f);

/* Names the first invariant that does not hold; NULL: all do. For tests. */
const char *fold_check(const struct fold *f);

#endif

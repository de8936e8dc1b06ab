/* Who gets which connection: Go's Transport pool, rule by rule.
 *
 * Pure: facts go in with a time, decisions come out of a queue. The specification
 * is transport-semantics.md beside this file; R numbers are its rules. A driver
 * feeds one input, drains the actions, arms one timer from pool_next_deadline.
 *
 *     pool_want(p, w, key, now);
 *     while (pool_next_action(p, &a)) carry_out(&a);
 *
 * Unknown or finished ids are ignored: an answer may come late. */
#ifndef CONNLEAK_POOL_H
#define CONNLEAK_POOL_H

#include "clock.h"
#include "ident.h"
#include "lifecycle.h"

enum pool_profile {
    POOL_GO1_19, /* a cancelled request's dial is aborted (R29) */
    POOL_GO1_27, /* it runs on and its connection is pooled (section 10) */
};

/* Go's names and meanings (section 2): zero and negative included. */
struct pool_conf {
    int max_idle_conns;          /* 0: no limit; < 0: all are evicted at once (T80) */
    int max_idle_conns_per_host; /* 0: 2; < 0: none is kept (R32) */
    int max_conns_per_host;      /* <= 0: no limit */
    mono_ns idle_conn_timeout;   /* <= 0: never */
    bool disable_keep_alives;
    enum pool_profile profile;
};

/* A connection is in exactly one state; the state is the list it is on. */
enum pc_state {
    PC_DIALING, /* the driver is connecting it; holds a permit; ended by pool_dialed, pool_lost or a cancelled want */
    PC_ACTIVE,  /* a request has it, or had it and left a body unread; ended by pool_put, pool_lost, pool_detach */
    PC_IDLE,    /* on its bucket's stack and the LRU; may be handed out, evicted, timed out */
    PC_GONE,    /* closed or detached: its id means nothing any more */
};

enum pool_action_kind {
    POOL_DIAL,    /* connect `conn` to `key` for `want`; answer with pool_dialed or pool_lost */
    POOL_DELIVER, /* `want` gets `conn`; reused says whether a failure may be retried (R107) */
    POOL_FAIL,    /* `want` gets the error `why` of the dial `conn` */
    POOL_CLOSE,   /* close `conn` because `why`; the pool has forgotten it */
    POOL_MOVED,   /* `conn` went from `from` to `to`; for the ledger and the gauges; comes before the
                   * action that the move is made for, and after pool_lost and pool_detach stands alone */
};

struct pool_action {
    enum pool_action_kind kind;
    conn_id conn;
    want_id want;
    const struct connect_key *key; /* POOL_DIAL; borrowed, good until the next input */
    enum close_reason why;         /* POOL_FAIL, POOL_CLOSE, POOL_MOVED to PC_GONE */
    enum pc_state from, to;        /* POOL_MOVED; a new connection comes from PC_GONE */
    bool reused;                   /* POOL_DELIVER */
};

struct pool;

struct pool *pool_new(const struct pool_conf *conf);
void pool_free(struct pool **pp);

/* New limits. They hold for what comes: nothing is closed by the change itself,
 * and idle timers already armed keep their time. Wants that waited for
 * permission to dial and have it now dial at once. */
void pool_set_conf(struct pool *p, const struct pool_conf *conf, mono_ns now);

/* A request needs a connection (R9-R18). `w` is new, else ignored; the key's strings are copied. */
void pool_want(struct pool *p, want_id w, const struct connect_key *k, mono_ns now);

/* The request's context is over: it was cancelled, or it is finished (R27-R30).
 * While it waits: the want ends. Its dial, if one still runs: aborted under
 * go1.19 (POOL_CLOSE, REASON_CANCELED), left alone under go1.27. A connection
 * that it already has is the driver's to put, or to lose. */
void pool_cancel(struct pool *p, want_id w, mono_ns now);

/* The dial of `c` succeeded: to its want, or through the return procedure (R19). */
void pool_dialed(struct pool *p, conn_id c, mono_ns now);

/* The exchange is over, or never began, and the connection may be kept: the
 * return procedure, section 4, decides. A waiter that gets the connection gets it
 * without a POOL_MOVED: it stays PC_ACTIVE. */
void pool_put(struct pool *p, conn_id c, mono_ns now);

/* The connection is gone, in whatever state: the driver closed it or saw it end.
 * A dial that fails fails its want, if that still waits (R20). A POOL_DELIVER of
 * it that was not yet taken is taken back, and its want looks for another (R12). */
void pool_lost(struct pool *p, conn_id c, enum close_reason why, mono_ns now);

/* 101 hand-over (R81): the connection lives on outside the pool, its permit is passed on. */
void pool_detach(struct pool *p, conn_id c, mono_ns now);

/* CloseIdleConnections (R39), the longest idle first. Under go1.27 it also ends
 * dials whose want is no longer waiting, the oldest first (section 10). */
void pool_close_idle(struct pool *p, mono_ns now);

/* Does what is due at `now`: idle timeouts (R36). */
void pool_tick(struct pool *p, mono_ns now);

/* When pool_tick has something to do next; NEVER if nothing. */
mono_ns pool_next_deadline(const struct pool *p);

/* Takes the oldest action off the queue. */
bool pool_next_action(struct pool *p, struct pool_action *out);

/* Has the connection been through the return procedure (R22, R107)? False for unknown ids. */
bool pool_is_reused(const struct pool *p, conn_id c);

/* The next connection id, for connections beside the pool (tunnels, attempts of a
 * dial): one row of numbers for all that goes upstream. */
conn_id pool_new_id(struct pool *p);

struct pool_counts {
    unsigned idle, active, dialing, waiting; /* open = idle + active + dialing */
};
struct pool_peaks {
    unsigned open, idle;
};

void pool_counts(const struct pool *p, struct pool_counts *out);
void pool_peaks(const struct pool *p, struct pool_peaks *out);
void pool_reset_peaks(struct pool *p); /* to the present counts */

/* One row of /pools. A bucket lives while it has connections, waiters or a count,
 * and then some, so that its totals can be read: see pool_next_bucket. */
struct pool_row {
    struct connect_key key; /* borrowed until the next input */
    struct pool_counts now;
    struct pool_peaks peak;
    unsigned permits;             /* connsPerHost; 0 where max_conns_per_host is 0 */
    uint64_t dials, gets, reuses; /* reuses: gets served without a new connection */
    mono_ns oldest_wait;          /* since when the oldest waiter waits; NEVER if none */
    uint64_t seq;                 /* order of creation */
};

/* Rows in order of creation; `after` 0 starts, else the seq of the row before.
 * False: no more. Buckets without connections and waiters beyond the newest 1,024 are dropped. */
bool pool_next_bucket(const struct pool *p, uint64_t after, struct pool_row *out);

#endif

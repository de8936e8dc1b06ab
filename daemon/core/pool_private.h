/* How the pool lies in memory. For pool.c (the rules), pool_store.c (the memory)
 * and pool_check.c alone. */
#ifndef CONNLEAK_POOL_PRIVATE_H
#define CONNLEAK_POOL_PRIVATE_H

#include "idmap.h"
#include "pool.h"

#include <sys/queue.h>

TAILQ_HEAD(conn_list, persist_conn);
TAILQ_HEAD(want_list, want_conn);

/* One connection (Go: persistConn). */
struct persist_conn {
    conn_id id;
    struct bucket *bucket;
    struct want_conn *dialer;   /* PC_DIALING: whose dial it is; NULL when that request is over */
    struct want_conn *promised; /* PC_ACTIVE: whose POOL_DELIVER is still in the queue */
    struct cohort *cohort;      /* PC_IDLE */
    mono_ns idle_since;         /* PC_IDLE: Go's idleAt */
    enum pc_state state;
    bool reused;                      /* was through the return procedure (R22) */
    TAILQ_ENTRY(persist_conn) on;     /* its state's list: pool.dialing, pool.active, cohort.conns */
    LIST_ENTRY(persist_conn) stacked; /* PC_IDLE: bucket.idle */
};

enum want_state {
    WANT_NEW,      /* is just being looked at; on no list */
    WANT_WAITING,  /* has no answer; on bucket.waiting; its dial runs, or it stands in bucket.dial_wait */
    WANT_ANSWERED, /* its POOL_DELIVER or POOL_FAIL is in the queue and may still be taken back */
    WANT_DONE,     /* answered; remembered for as long as its own dial runs (R21, R30) */
};

/* One request that needs a connection (Go: wantConn). */
struct want_conn {
    want_id id;
    struct bucket *bucket;
    struct persist_conn *dial; /* its own dial, while that runs */
    struct persist_conn *conn; /* WANT_ANSWERED: what it is given; NULL: a POOL_FAIL */
    uint64_t answer;           /* WANT_ANSWERED: the action's number */
    mono_ns since;             /* WANT_WAITING */
    enum want_state state;
    bool in_idle_wait, in_dial_wait;
    TAILQ_ENTRY(want_conn) on; /* bucket.waiting */
    TAILQ_ENTRY(want_conn) on_idle_wait;
    TAILQ_ENTRY(want_conn) on_dial_wait;
};

/* Connections with one key. */
struct bucket {
    struct connect_key key; /* its strings stand behind the struct */
    uint64_t hash, seq;
    LIST_HEAD(, persist_conn) idle; /* the newest first: a stack */
    struct want_list waiting;       /* all without an answer, in order of arrival */
    struct want_list idle_wait;     /* those that a freed connection may serve: all but R10's */
    struct want_list dial_wait;     /* those that wait for permission to dial */
    unsigned n[PC_GONE];            /* connections by state */
    unsigned n_waiting;
    struct pool_peaks peak;
    uint64_t dials, gets, reuses;
    bool quiet;                   /* no connections, no waiters: on pool.quiet, may be dropped */
    TAILQ_ENTRY(bucket) by_age;   /* pool.buckets */
    TAILQ_ENTRY(bucket) on_quiet; /* pool.quiet */
    LIST_ENTRY(bucket) chained;   /* pool.table */
};

/* The idle LRU is a list of cohorts: connections that became idle one after the
 * other under the same idle_conn_timeout. In each the order of age is that of the
 * deadlines too, so a changed timeout costs a cohort and not a search. */
struct cohort {
    mono_ns timeout;        /* <= 0: never */
    struct conn_list conns; /* the oldest first */
    TAILQ_ENTRY(cohort) by_age;
};

/* An action in the queue. `want` is there where the answer may be taken back;
 * one that was is skipped. */
struct queued {
    struct pool_action action;
    struct want_conn *want;
    bool taken_back;
};

#define SPARE_MAX 256  /* freed structs kept for reuse, of each kind */
#define QUIET_MAX 1024 /* buckets kept for their totals alone */

struct pool {
    struct pool_conf conf;
    bool conf_changed; /* limits may be exceeded by what was there before */
    bool close_idle;   /* CloseIdleConnections was called, nobody asked since (R11, R39) */

    struct idmap conns, wants, seqs;
    conn_id last_conn;
    struct conn_list dialing, active;    /* in the order in which they became it */
    TAILQ_HEAD(cohort_list, cohort) lru; /* the oldest first; what becomes idle joins the last */
    unsigned n[PC_GONE], n_waiting;
    struct pool_peaks peak;

    LIST_HEAD(bucket_chain, bucket) * table;
    size_t table_room, n_buckets; /* room is a power of two */
    uint64_t last_seq;
    TAILQ_HEAD(, bucket) buckets; /* in order of creation */
    TAILQ_HEAD(, bucket) quiet;   /* the longest quiet first */
    unsigned n_quiet;

    struct queued *queue; /* a ring: action number i is at i modulo room */
    size_t queue_room;    /* a power of two */
    uint64_t queue_first, queue_next;

    struct conn_list spare_conns;
    struct want_list spare_wants;
    unsigned n_spare_conns, n_spare_wants;
};

/* ---- pool_store.c: it decides nothing ---- */

struct bucket *bucket_find_or_make(struct pool *p, const struct connect_key *k);

/* To be called when a bucket's connections or waiters change: keeps pool.quiet. */
void bucket_settle(struct pool *p, struct bucket *b);

/* Drops buckets beyond the newest QUIET_MAX quiet ones. Only while the queue is
 * empty: a POOL_DIAL in it borrows its bucket's key. */
void buckets_trim(struct pool *p);

/* All zero but for the id; conn_make draws the next one. */
struct persist_conn *conn_make(struct pool *p);
struct want_conn *want_make(struct pool *p, want_id id);
void conn_forget(struct pool *p, struct persist_conn *pc);
void want_forget(struct pool *p, struct want_conn *w);

/* The cohort for what becomes idle now. */
struct cohort *cohort_now(struct pool *p);
void cohort_leave(struct pool *p, struct persist_conn *pc);

/* Returns the action's number; it can be taken back until it was taken. */
uint64_t queue_put(struct pool *p, const struct pool_action *a, struct want_conn *w);
void queue_take_back(struct pool *p, uint64_t number);

static inline unsigned open_of(const unsigned n[PC_GONE]) {
    return n[PC_DIALING] + n[PC_ACTIVE] + n[PC_IDLE];
}

#endif

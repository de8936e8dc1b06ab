/* The pool once more, as plainly as it can be said: arrays, linear search, Go's
 * own queues and counters, written from the prose of transport-semantics.md.
 * Slow and simple; what it does is what pool.c must do, action for action. */
#ifndef CONNLEAK_NAIVE_POOL_H
#define CONNLEAK_NAIVE_POOL_H

#include "core/pool.h"

#define NAIVE_MAX  4096 /* things of each kind in one run; more is a fault of the test */
#define NAIVE_KEYS 8

struct naive_conn {
    conn_id id;
    int key;
    enum pc_state state;
    bool reused;
    want_id dial_for; /* 0: nobody's any more */
    mono_ns idle_at, timer;
    unsigned idle_order; /* grows with every arrival in the idle list */
};

struct naive_want {
    want_id id;
    int key;
    mono_ns since;
    bool waiting; /* Go: not done */
    bool over;    /* cancelled, or finished: its context has ended */
};

struct naive_key {
    int conns_per_host;
    int n_idle_wait, n_dial_wait; /* Go: idleConnWait, connsPerHostWait; done wants are skipped when popped */
    want_id idle_wait[NAIVE_MAX], dial_wait[NAIVE_MAX];
    uint64_t dials, gets, reuses;
    struct pool_peaks peak;
};

struct naive {
    struct pool_conf conf;
    bool close_idle;
    unsigned idle_order;
    struct pool_peaks peak;
    int n_conns, n_wants, n_actions;
    struct naive_conn conns[NAIVE_MAX];
    struct naive_want wants[NAIVE_MAX];
    struct pool_action actions[NAIVE_MAX]; /* not yet taken */
    struct naive_key keys[NAIVE_KEYS];
};

void naive_init(struct naive *m, const struct pool_conf *conf);
void naive_set_conf(struct naive *m, const struct pool_conf *conf);
void naive_ask(struct naive *m, want_id w, int key, mono_ns now);
void naive_cancel(struct naive *m, want_id w, mono_ns now);
void naive_dialed(struct naive *m, conn_id c, mono_ns now);
void naive_put(struct naive *m, conn_id c, mono_ns now);
void naive_lost(struct naive *m, conn_id c, enum close_reason why, mono_ns now);
void naive_detach(struct naive *m, conn_id c);
void naive_close_idle(struct naive *m);
void naive_tick(struct naive *m, mono_ns now);
bool naive_next_action(struct naive *m, struct pool_action *out); /* without its key */
mono_ns naive_next_deadline(const struct naive *m);

/* Of one key; permits in Go's sense of the counter. */
void naive_row(const struct naive *m, int key, struct pool_row *out);
bool naive_is_reused(const struct naive *m, conn_id c);

#endif

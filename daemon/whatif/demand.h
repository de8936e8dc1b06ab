/* A workload as the pool sees it: requests that arrive, hold a connection for a time,
 * and leave it in some condition.
 *
 * One pass over the workload makes a compact row of each exchange (48 bytes), so
 * that many settings can be tried over a million of them. What servers do by themselves
 * is learned beside it (server_model.h). Pure. */
#ifndef CONNLEAK_DEMAND_H
#define CONNLEAK_DEMAND_H

#include "core/workload.h"

/* What becomes of the connection when its exchange is over. */
enum fate {
    FATE_KEEP,           /* it may be used again */
    FATE_REQUEST_CLOSE,  /* the request said close */
    FATE_RESPONSE_CLOSE, /* the answer did */
    FATE_UNTIL_EOF,      /* the answer's body ended with it */
    FATE_EARLY_CLOSE,    /* the client gave the body up: go1.27 may drain it */
    FATE_CANCELED,       /* the client left before the answer */
    FATE_FAILED,         /* the server ended it */
    FATE_SERVER_CLOSES,  /* the server closed right behind the answer, and had not said so */
    FATE_DETACH,         /* a tunnel, or upgraded */
    FATE_STAYS,          /* never over, as far as was seen */
};

struct demand {
    int64_t at_ns;       /* when it wants a connection */
    int64_t busy_ns;     /* how long it holds it; FATE_STAYS: not used */
    int64_t patience_ns; /* after at_ns it leaves, with a connection or without; NEVER: it waits */
    uint32_t origin;     /* row of the workload */
    uint32_t peer;       /* whom it was sent to: see struct demands */
    uint32_t pool;       /* whose pool it asks */
    uint32_t split;      /* number of the pair of pool and peer: a pool of its own for each, for per-origin questions */
    uint32_t
        drain_us; /* FATE_EARLY_CLOSE: how long the rest would take under go1.27; NO_DRAIN: it would not be tried */
    uint8_t fate; /* enum fate */
    bool resets;  /* FATE_EARLY_CLOSE, FATE_CANCELED: the connection ended with a RST */
};
#define NO_DRAIN UINT32_MAX

/* Peers are numbered: an origin's row; behind them the proxies, in the order of appearance. */
struct demands {
    const struct workload *w;
    struct demand *rows;
    uint32_t n;
    uint32_t n_pools, n_splits, n_peers;
    uint32_t *conn_peer;  /* of each connection of the workload; WORKLOAD_NO: it is not counted */
    uint32_t *conn_last;  /* of each connection: its newest exchange; WORKLOAD_NO: none */
    uint32_t *proxy_text; /* of peer n_origins + i: its address, a text of the workload */
    uint32_t *split_peer; /* of each split */
    enum side side;       /* whose connections are looked at */
    uint32_t n_conns;     /* of them */
    uint64_t retried;     /* exchanges left out because they were sent again */
    uint64_t spread;      /* whose times were not kept */
    uint64_t unplaced;    /* whose origin is not known */
    uint64_t opaque;      /* connections whose requests cannot be seen */
    uint64_t pipelined;   /* sent before the answer to the one before: a pool does not do that */
    uint64_t missing;     /* requests of the records for which there is no exchange */
    bool proxied, direct; /* there are such connections */
};

/* Borrows the workload for as long as it lives. The exchanges must be sorted (workload_sort). */
struct demands *demands_new(const struct workload *w);
void demands_free(struct demands **dp);

/* Why a connection ended, as its record says, or else as its last exchange shows; REASON_NONE
 * where neither does: this end closed it, for reasons of its own. */
enum close_reason demands_reason(const struct demands *d, uint32_t conn);

/* Did the server end it by itself, while it was idle and nothing had announced it? */
bool demands_closed_idle(const struct demands *d, uint32_t conn);

#endif

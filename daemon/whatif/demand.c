#include "demand.h"

#include "core/exchange.h"
#include "core/idmap.h"

#include <stdlib.h>
#include <string.h>

static void *must_have(void *memory) {
    if (!memory) abort();
    return memory;
}

/* Rows of idmaps are numbers, one more than they say, since NULL is none. */
static uint32_t number_of(struct idmap *m, uint64_t id, uint32_t *n) {
    uintptr_t have = (uintptr_t)idmap_get(m, id);

    if (have) return (uint32_t)(have - 1);
    idmap_put(m, id, (void *)((uintptr_t)++ * n)); /* NOLINT(performance-no-int-to-ptr) */
    return *n - 1;
}

/* ---- whose connections: a daemon's own pool, or the clients of a capture ---- */

static enum side side_of(const struct workload *w) {
    for (uint32_t i = 0; i < w->n_conns; i++)
        if (w->conns[i].side == SIDE_CLIENT) return SIDE_CLIENT;
    return SIDE_UPSTREAM;
}

struct grouping {
    struct idmap pools, splits, proxies;
    uint32_t *conn_pool;
    uint32_t n_proxies;
};

/* Never 0, also of two that are WORKLOAD_NO. Numbers of texts and rows end far below 2^31. */
static uint64_t pair(uint32_t high, uint32_t low) {
    return UINT64_C(1) << 63 | (uint64_t)(high + 1) << 32 | (low + 1);
}

/* A daemon has one pool. In a capture the connections of one address to origins are taken for
 * one pool, and those to each proxy for another: what processes there are it cannot tell. */
static void group_conn(struct demands *d, struct grouping *g, uint32_t row) {
    const struct workload_conn *c = &d->w->conns[row];
    uint32_t proxy = c->flags & WCONN_TO_PROXY ? c->server : WORKLOAD_NO;

    if (c->side != d->side) {
        d->conn_peer[row] = WORKLOAD_NO;
        return;
    }
    d->n_conns++;
    if (c->flags & WCONN_OPAQUE && d->conn_last[row] == WORKLOAD_NO) d->opaque++;
    if (c->flags & WCONN_TO_PROXY) {
        uint32_t n = g->n_proxies, i = number_of(&g->proxies, (uint64_t)c->server + 1, &g->n_proxies);
        if (g->n_proxies > n) {
            d->proxy_text = must_have(realloc(d->proxy_text, g->n_proxies * sizeof *d->proxy_text));
            d->proxy_text[i] = c->server;
        }
        d->conn_peer[row] = d->w->n_origins + i;
        d->proxied = true;
    } else {
        d->conn_peer[row] = c->origin; /* WORKLOAD_NO: nothing was asked on it */
        d->direct |= c->origin != WORKLOAD_NO;
    }
    g->conn_pool[row] = d->side == SIDE_UPSTREAM ? number_of(&g->pools, 1, &d->n_pools)
                                                 : number_of(&g->pools, pair(c->client, proxy), &d->n_pools);
}

/* ---- what an exchange leaves behind ---- */

/* Newer Go drains a body that is closed early, if it is short enough or of unknown length, for DRAIN_TIME
 * at most. How fast it would have come is how fast it came; what a server had not sent yet is not
 * known: then the rest of the announced length at the pace of what came. */
static uint32_t drain_time(const struct workload_exchange *x) {
    int64_t took = x->first_ns != NO_TIME && x->done_ns > x->first_ns ? x->done_ns - x->first_ns : 0;
    uint64_t left;
    double us;

    if (x->framing == FRAMING_LENGTH && x->announced > DRAIN_BYTES) return NO_DRAIN;
    if (x->framing != FRAMING_LENGTH && x->framing != FRAMING_CHUNKED) return NO_DRAIN;
    if (x->flags & (WX_REQUEST_CLOSE | WX_RESPONSE_CLOSE))
        return NO_DRAIN; /* it could not be used again all the same */
    if (x->announced == UNKNOWN_BYTES) return 0;
    left = x->announced > x->body ? x->announced - x->body : 0;
    if (left == 0 || x->body == 0) return 0;
    us = (double)took / 1000 * (double)left / (double)x->body;
    return us > (double)DRAIN_TIME / 1000 ? NO_DRAIN : (uint32_t)us;
}

static enum fate complete_fate(const struct workload_exchange *x) {
    if (x->framing == FRAMING_UNTIL_EOF) return FATE_UNTIL_EOF;
    if (x->flags & WX_RESPONSE_CLOSE) return FATE_RESPONSE_CLOSE;
    return x->flags & WX_REQUEST_CLOSE ? FATE_REQUEST_CLOSE : FATE_KEEP;
}

static enum fate fate_of(const struct workload_exchange *x) {
    switch ((enum workload_end)x->end) {
    case END_COMPLETE:
    case END_UNKNOWN:
        return complete_fate(x);
    case END_GIVEN_UP:
        return FATE_EARLY_CLOSE;
    case END_CANCELED:
        return FATE_CANCELED;
    case END_FAILED:
        return FATE_FAILED;
    case END_OPAQUE:
        return FATE_DETACH;
    case END_OPEN:
    case N_WORKLOAD_ENDS:
        break;
    }
    return FATE_STAYS;
}

/* The whole answer came, and this end's kernel then sent a RST: bytes of it lay unread. Idle
 * connections of a pool, whose answers were read, end with a FIN. */
static bool was_left_unread(const struct demands *d, uint32_t row) {
    const struct workload_exchange *x = &d->w->exchanges[row];
    const struct workload_conn *c = &d->w->conns[x->conn];

    return d->conn_last[x->conn] == row && x->end == END_COMPLETE && x->body > 0 && c->side == SIDE_CLIENT &&
           c->close_by == BY_LOCAL && c->close_how == HOW_RST;
}

/* No timer of a server is shorter. */
#define AT_ONCE MSEC(10)

static enum fate fate_on_its_connection(const struct demands *d, uint32_t row) {
    const struct workload_exchange *x = &d->w->exchanges[row];
    enum fate f = fate_of(x);

    if (f != FATE_KEEP || d->conn_last[x->conn] != row) return f;
    if (was_left_unread(d, row)) return FATE_EARLY_CLOSE;
    return demands_closed_idle(d, x->conn) && d->w->conns[x->conn].idle_ns < AT_ONCE ? FATE_SERVER_CLOSES : f;
}

static int64_t at_least_0(int64_t ns) {
    return ns > 0 ? ns : 0;
}

static void add_demand(struct demands *d, struct grouping *g, uint32_t row) {
    const struct workload_exchange *x = &d->w->exchanges[row];
    uint32_t peer = d->conn_peer[x->conn];
    struct demand *r;

    if (d->w->conns[x->conn].side != d->side) return;
    if (x->flags & WX_RETRIED) {
        d->retried++;
        return;
    }
    if (x->origin == WORKLOAD_NO) {
        d->unplaced++;
        return;
    }
    if (peer == WORKLOAD_NO || peer < d->w->n_origins) peer = x->origin;
    d->spread += (x->flags & WX_SPREAD) != 0;
    d->pipelined += (x->flags & WX_PIPELINED) != 0;
    r = &d->rows[d->n++];
    *r = (struct demand){.at_ns = x->at_ns,
                         .busy_ns = at_least_0(x->done_ns - x->waited_ns),
                         .patience_ns = NEVER,
                         .origin = x->origin,
                         .peer = peer,
                         .pool = g->conn_pool[x->conn],
                         .drain_us = NO_DRAIN,
                         .fate = (uint8_t)fate_on_its_connection(d, row)};
    r->split = number_of(&g->splits, pair(r->pool, r->peer), &d->n_splits);
    if (x->done_ns == NO_TIME && r->fate != FATE_STAYS) r->busy_ns = 0;
    if (r->fate == FATE_EARLY_CLOSE) r->drain_us = drain_time(x);
    if (r->fate == FATE_CANCELED && x->done_ns != NO_TIME) r->patience_ns = x->done_ns;
    r->resets = d->w->conns[x->conn].close_how == HOW_RST && d->w->conns[x->conn].close_by == BY_LOCAL;
}

/* Exchanges whose end is not known hold their connection as long as others of their origin do. */
static void fill_unknown_ends(struct demands *d) {
    struct mean {
        double sum;
        uint64_t n;
    } *mean = must_have(calloc((size_t)d->w->n_origins + 1, sizeof *mean));
    const struct workload *w = d->w;

    for (uint32_t i = 0; i < d->n; i++)
        if (d->rows[i].busy_ns > 0 && d->rows[i].fate == FATE_KEEP) {
            mean[d->rows[i].origin].sum += (double)d->rows[i].busy_ns;
            mean[d->rows[i].origin].n++;
        }
    for (uint32_t i = 0, at = 0; i < w->n_exchanges; i++) {
        const struct workload_exchange *x = &w->exchanges[i];
        if (w->conns[x->conn].side != d->side || x->flags & WX_RETRIED || x->origin == WORKLOAD_NO) continue;
        struct demand *r = &d->rows[at++];
        if (x->done_ns == NO_TIME && r->fate != FATE_STAYS && mean[x->origin].n)
            r->busy_ns = (int64_t)(mean[x->origin].sum / (double)mean[x->origin].n);
    }
    free(mean);
}

static void count_missing(struct demands *d) {
    uint32_t *found = must_have(calloc((size_t)d->w->n_conns + 1, sizeof *found));

    for (uint32_t i = 0; i < d->w->n_exchanges; i++) found[d->w->exchanges[i].conn]++;
    for (uint32_t i = 0; i < d->w->n_conns; i++) {
        const struct workload_conn *c = &d->w->conns[i];
        if (c->side == d->side && c->requests > found[i]) d->missing += c->requests - found[i];
    }
    free(found);
}

struct demands *demands_new(const struct workload *w) {
    struct demands *d = must_have(calloc(1, sizeof *d));
    struct grouping g = {0};

    d->w = w;
    d->side = side_of(w);
    d->conn_peer = must_have(malloc(((size_t)w->n_conns + 1) * sizeof *d->conn_peer));
    g.conn_pool = must_have(calloc((size_t)w->n_conns + 1, sizeof *g.conn_pool));
    d->rows = must_have(malloc(((size_t)w->n_exchanges + 1) * sizeof *d->rows));
    d->conn_last = must_have(malloc(((size_t)w->n_conns + 1) * sizeof *d->conn_last));
    for (uint32_t i = 0; i < w->n_conns; i++) d->conn_last[i] = WORKLOAD_NO;
    for (uint32_t i = 0; i < w->n_exchanges; i++) d->conn_last[w->exchanges[i].conn] = i;
    for (uint32_t i = 0; i < w->n_conns; i++) group_conn(d, &g, i);
    d->n_peers = w->n_origins + g.n_proxies;
    for (uint32_t i = 0; i < w->n_exchanges; i++) add_demand(d, &g, i);
    fill_unknown_ends(d);
    count_missing(d);
    d->split_peer = must_have(malloc(((size_t)d->n_splits + 1) * sizeof *d->split_peer));
    for (uint32_t i = 0; i < d->n; i++) d->split_peer[d->rows[i].split] = d->rows[i].peer;
    idmap_clear(&g.pools);
    idmap_clear(&g.splits);
    idmap_clear(&g.proxies);
    free(g.conn_pool);
    return d;
}

void demands_free(struct demands **dp) {
    struct demands *d = *dp;

    if (!d) return;
    free(d->rows);
    free(d->conn_peer);
    free(d->conn_last);
    free(d->proxy_text);
    free(d->split_peer);
    free(d);
    *dp = NULL;
}

/* ---- ends ---- */

static enum close_reason reason_of_fate(enum fate f) {
    switch (f) {
    case FATE_REQUEST_CLOSE:
        return REASON_REQUEST_CLOSE;
    case FATE_RESPONSE_CLOSE:
        return REASON_RESPONSE_CLOSE;
    case FATE_UNTIL_EOF:
        return REASON_UNTIL_EOF;
    case FATE_EARLY_CLOSE:
        return REASON_EARLY_CLOSE;
    case FATE_CANCELED:
        return REASON_CANCELED;
    case FATE_FAILED:
        return REASON_SERVER_CLOSED;
    case FATE_DETACH:
        return REASON_TUNNEL;
    case FATE_SERVER_CLOSES:
        return REASON_SERVER_CLOSED_IDLE;
    case FATE_KEEP:
    case FATE_STAYS:
        break;
    }
    return REASON_NONE;
}

enum close_reason demands_reason(const struct demands *d, uint32_t conn) {
    const struct workload_conn *c = &d->w->conns[conn];
    uint32_t last = d->conn_last[conn];
    enum close_reason why = REASON_NONE;

    if (c->close_reason != REASON_NONE) return (enum close_reason)c->close_reason;
    if (last != WORKLOAD_NO)
        why = was_left_unread(d, last) ? REASON_EARLY_CLOSE : reason_of_fate(fate_of(&d->w->exchanges[last]));
    if (why == REASON_NONE && c->close_by == BY_REMOTE && c->idle_ns != NO_TIME) return REASON_SERVER_CLOSED_IDLE;
    return why;
}

bool demands_closed_idle(const struct demands *d, uint32_t conn) {
    const struct workload_conn *c = &d->w->conns[conn];

    return c->close_by == BY_REMOTE && c->idle_ns != NO_TIME && c->requests > 0 &&
           demands_reason(d, conn) == REASON_SERVER_CLOSED_IDLE;
}

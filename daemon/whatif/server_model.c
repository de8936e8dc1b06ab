#include "server_model.h"

#include <stdlib.h>
#include <string.h>

struct dial {
    int64_t at_ns, took_ns;
};

struct server_model {
    struct server_facts *facts; /* of each peer, and behind them of all together */
    uint32_t n_peers;
    struct dial *dials; /* by peer, each in order of time */
    uint32_t *first;    /* of each peer; [n_peers]: their number */
};

static void *must_have(void *memory) {
    if (!memory) abort();
    return memory;
}

static int compare_ns(const void *a, const void *b) {
    const int64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* Rows by peer: first[p] is where those of p begin. `has` says which connections count. */
typedef bool has_fn(const struct demands *d, uint32_t conn);
static uint32_t *first_by_peer(const struct demands *d, has_fn *has) {
    uint32_t *first = must_have(calloc((size_t)d->n_peers + 2, sizeof *first));

    for (uint32_t i = 0; i < d->w->n_conns; i++)
        if (d->conn_peer[i] != WORKLOAD_NO && has(d, i)) first[d->conn_peer[i] + 1]++;
    for (uint32_t p = 0; p < d->n_peers; p++) first[p + 1] += first[p];
    return first;
}

/* ---- dials ---- */

static bool has_dial(const struct demands *d, uint32_t conn) {
    const struct workload_conn *c = &d->w->conns[conn];

    return c->flags & WCONN_OPENED && c->dial_ns != NO_TIME;
}

/* At most WORKLOAD_TIME_MAX, so that it can be added to a time. */
static int64_t dial_of(const struct workload_conn *c) {
    int64_t took = c->dial_ns + (c->tls_ns == NO_TIME ? 0 : c->tls_ns);

    return took < WORKLOAD_TIME_MAX ? took : WORKLOAD_TIME_MAX;
}

static int64_t median_dial(const struct dial *dials, uint32_t n) {
    int64_t *took, median;

    if (n == 0) return 0;
    took = must_have(malloc(n * sizeof *took));
    for (uint32_t i = 0; i < n; i++) took[i] = dials[i].took_ns;
    qsort(took, n, sizeof *took, compare_ns);
    median = took[n / 2];
    free(took);
    return median;
}

static void learn_dials(struct server_model *m, const struct demands *d) {
    uint32_t *next, n;

    m->first = first_by_peer(d, has_dial);
    n = m->first[d->n_peers];
    m->dials = must_have(calloc((size_t)n + 1, sizeof *m->dials));
    next = must_have(malloc(((size_t)d->n_peers + 1) * sizeof *next));
    memcpy(next, m->first, ((size_t)d->n_peers + 1) * sizeof *next);
    for (uint32_t i = 0; i < d->w->n_conns; i++) { /* in order of opening */
        const struct workload_conn *c = &d->w->conns[i];
        if (d->conn_peer[i] != WORKLOAD_NO && has_dial(d, i))
            m->dials[next[d->conn_peer[i]]++] = (struct dial){c->opened_ns, dial_of(c)};
    }
    free(next);
    m->facts[d->n_peers].n_dials = n;
    m->facts[d->n_peers].dial_ns = median_dial(m->dials, n);
    for (uint32_t p = 0; p < d->n_peers; p++) {
        struct server_facts *f = &m->facts[p];
        f->n_dials = m->first[p + 1] - m->first[p];
        f->dial_ns = f->n_dials ? median_dial(m->dials + m->first[p], f->n_dials) : m->facts[d->n_peers].dial_ns;
    }
}

int64_t server_dial_ns(const struct server_model *m, uint32_t peer, int64_t now, uint32_t *cursor) {
    const struct server_facts *f = server_facts(m, peer);
    const struct dial *dials;

    if (peer >= m->n_peers || f->n_dials == 0) return f->dial_ns;
    dials = m->dials + m->first[peer];
    while (*cursor + 1 < f->n_dials && dials[*cursor + 1].at_ns <= now) ++*cursor;
    return dials[*cursor].took_ns;
}

/* ---- idle timeouts ---- */

/* Idle times at which a server closes by a timer lie close together, whenever that was;
 * those of restarts and limits do not, or they all end at one moment. What is within a
 * tenth of the median, and some milliseconds, belongs to it. A close right behind the
 * answer is no timer's. */
#define TIMER_MIN   MSEC(10)
#define MOMENT      MSEC(50)
#define MOMENTS_MIN 2

struct idle_close {
    int64_t idle_ns, at_ns;
};

static int compare_idle(const void *a, const void *b) {
    const struct idle_close *x = a, *y = b;
    return x->idle_ns < y->idle_ns ? -1 : x->idle_ns > y->idle_ns;
}

static bool belongs(int64_t idle, int64_t median) {
    int64_t apart = idle > median ? idle - median : median - idle;

    return apart <= median / 10 + MSEC(10);
}

/* At how many different moments those in [from, to) came. */
static uint32_t count_moments(const struct idle_close *closes, uint32_t from, uint32_t to) {
    int64_t *at = must_have(malloc(((size_t)(to - from) + 1) * sizeof *at));
    uint32_t n = to > from;

    for (uint32_t i = from; i < to; i++) at[i - from] = closes[i].at_ns;
    qsort(at, to - from, sizeof *at, compare_ns);
    for (uint32_t i = 1; i < to - from; i++) n += at[i] - at[i - 1] > MOMENT;
    free(at);
    return n;
}

static void judge_idle(struct server_facts *f, struct idle_close *closes, uint32_t n) {
    uint32_t from = 0, to = n;
    int64_t median;

    if (n < MOMENTS_MIN) return;
    qsort(closes, n, sizeof *closes, compare_idle);
    median = closes[n / 2].idle_ns;
    while (!belongs(closes[from].idle_ns, median)) from++;
    while (!belongs(closes[to - 1].idle_ns, median)) to--;
    if ((to - from) * 2 < n || median < TIMER_MIN || count_moments(closes, from, to) < MOMENTS_MIN) return;
    f->idle_timeout_ns = median;
    f->idle_shortest_ns = closes[from].idle_ns;
    f->idle_observations = to - from;
}

/* A pause longer than the timeout that a connection lived through: then it is none. */
static void doubt_idle(struct server_model *m, const struct demands *d) {
    const struct workload *w = d->w;
    int64_t *idle_since = must_have(malloc(((size_t)w->n_conns + 1) * sizeof *idle_since));
    uint32_t *outlived = must_have(calloc((size_t)d->n_peers + 1, sizeof *outlived));

    for (uint32_t i = 0; i < w->n_conns; i++) idle_since[i] = NO_TIME;
    for (uint32_t i = 0; i < w->n_exchanges; i++) {
        const struct workload_exchange *x = &w->exchanges[i];
        uint32_t peer = d->conn_peer[x->conn];
        int64_t got = x->at_ns + x->waited_ns, since = idle_since[x->conn];
        idle_since[x->conn] = x->done_ns == NO_TIME || x->flags & WX_SPREAD ? NO_TIME : x->at_ns + x->done_ns;
        if (peer == WORKLOAD_NO || since == NO_TIME || x->flags & WX_SPREAD || x->end == END_FAILED) continue;
        int64_t timeout = m->facts[peer].idle_timeout_ns;
        if (timeout && got > since && got - since > timeout && !belongs(got - since, timeout)) outlived[peer]++;
    }
    for (uint32_t p = 0; p < d->n_peers; p++) {
        if (outlived[p] <= m->facts[p].idle_observations / 2) continue;
        m->facts[p].idle_timeout_ns = m->facts[p].idle_shortest_ns = 0;
        m->facts[p].idle_observations = 0;
    }
    free(idle_since);
    free(outlived);
}

static void learn_idle(struct server_model *m, const struct demands *d) {
    uint32_t *first = first_by_peer(d, demands_closed_idle), n = first[d->n_peers];
    struct idle_close *idle = must_have(malloc(((size_t)n + 1) * sizeof *idle));
    uint32_t *next = must_have(malloc(((size_t)d->n_peers + 1) * sizeof *next));

    memcpy(next, first, ((size_t)d->n_peers + 1) * sizeof *next);
    for (uint32_t i = 0; i < d->w->n_conns; i++)
        if (d->conn_peer[i] != WORKLOAD_NO && demands_closed_idle(d, i))
            idle[next[d->conn_peer[i]]++] = (struct idle_close){d->w->conns[i].idle_ns, d->w->conns[i].closed_ns};
    for (uint32_t p = 0; p < d->n_peers; p++) judge_idle(&m->facts[p], idle + first[p], first[p + 1] - first[p]);
    free(first);
    free(idle);
    free(next);
    doubt_idle(m, d);
}

/* ---- limits of requests per connection ---- */

/* Servers with such a limit say close with the answer to the N-th request, on each
 * connection, and none has more. One alone may be chance. */
static void learn_limits(struct server_model *m, const struct demands *d) {
    const struct workload *w = d->w;
    struct limit {
        uint32_t most, closed_at, n;
        bool differ;
    } *limits = must_have(calloc((size_t)d->n_peers + 1, sizeof *limits));
    uint32_t *served = must_have(calloc((size_t)w->n_conns + 1, sizeof *served));

    for (uint32_t i = 0; i < w->n_exchanges; i++) {
        const struct workload_exchange *x = &w->exchanges[i];
        uint32_t peer = d->conn_peer[x->conn], nth = ++served[x->conn];
        const struct workload_conn *c = &w->conns[x->conn];
        if (peer == WORKLOAD_NO || c->flags & WCONN_PARTIAL || !(c->flags & WCONN_OPENED)) continue;
        struct limit *l = &limits[peer];
        if (nth > l->most) l->most = nth;
        if (!(x->flags & WX_RESPONSE_CLOSE)) continue;
        if (l->n && nth != l->closed_at) l->differ = true;
        l->closed_at = nth;
        l->n++;
    }
    for (uint32_t p = 0; p < d->n_peers; p++) {
        const struct limit *l = &limits[p];
        if (l->n >= 2 && !l->differ && l->closed_at > 1 && l->most == l->closed_at)
            m->facts[p].requests_limit = l->closed_at;
    }
    free(limits);
    free(served);
}

/* ---- all of it ---- */

static void learn_rest(struct server_model *m, const struct demands *d) {
    for (uint32_t i = 0; i < d->w->n_conns; i++) {
        const struct workload_conn *c = &d->w->conns[i];
        if (d->conn_peer[i] == WORKLOAD_NO) continue;
        struct server_facts *f = &m->facts[d->conn_peer[i]];
        if (c->flags & WCONN_TLS) f->tls = true;
        if (!(c->flags & WCONN_OPENED) && c->requests > 0) f->standing++;
    }
    for (uint32_t p = 0; p < d->w->n_origins; p++)
        if (!strcmp(workload_text_of(d->w, d->w->origins[p].scheme), "https")) m->facts[p].tls = true;
}

struct server_model *server_model_new(const struct demands *d) {
    struct server_model *m = must_have(calloc(1, sizeof *m));

    m->n_peers = d->n_peers;
    m->facts = must_have(calloc((size_t)d->n_peers + 1, sizeof *m->facts));
    learn_dials(m, d);
    learn_idle(m, d);
    learn_limits(m, d);
    learn_rest(m, d);
    return m;
}

void server_model_free(struct server_model **mp) {
    struct server_model *m = *mp;

    if (!m) return;
    free(m->facts);
    free(m->dials);
    free(m->first);
    free(m);
    *mp = NULL;
}

const struct server_facts *server_facts(const struct server_model *m, uint32_t peer) {
    return &m->facts[peer < m->n_peers ? peer : m->n_peers];
}

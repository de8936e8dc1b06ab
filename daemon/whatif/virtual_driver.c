#include "virtual_driver.h"

#include <stdlib.h>
#include <string.h>

/* ---- what will happen: a heap of the things that are under way ---- */

enum event_kind {
    EVENT_DIALED, /* the dial of a connection is done */
    EVENT_DONE,   /* its exchange is */
    EVENT_SERVER, /* the server's idle timer, if it was not used meanwhile */
    EVENT_LEAVES, /* a request's patience is over */
    EVENT_TICK,   /* the pool's own timer */
};

struct event {
    int64_t at_ns;
    uint64_t seq; /* of equal times the first that was arranged comes first */
    uint64_t id;  /* of the connection; the row, for EVENT_LEAVES */
    uint32_t pool;
    uint32_t kind;
};

struct heap {
    struct event *events;
    size_t n, room;
    uint64_t seq;
};

static bool is_before(const struct event *a, const struct event *b) {
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->seq < b->seq;
}

static void heap_push(struct heap *h, struct event e) {
    size_t i = h->n++;

    if (h->n > h->room) {
        h->room = h->room ? h->room * 2 : 256;
        h->events = realloc(h->events, h->room * sizeof *h->events);
        if (!h->events) abort();
    }
    e.seq = h->seq++;
    for (; i > 0 && is_before(&e, &h->events[(i - 1) / 4]); i = (i - 1) / 4) h->events[i] = h->events[(i - 1) / 4];
    h->events[i] = e;
}

static struct event heap_pop(struct heap *h) {
    struct event top = h->events[0], last = h->events[--h->n];
    size_t i = 0;

    for (;;) {
        size_t child = 4 * i + 1, best = child;
        if (child >= h->n) break;
        for (size_t k = child + 1; k < child + 4 && k < h->n; k++)
            if (is_before(&h->events[k], &h->events[best])) best = k;
        if (!is_before(&h->events[best], &last)) break;
        h->events[i] = h->events[best];
        i = best;
    }
    h->events[i] = last;
    return top;
}

/* ---- pools and their connections ---- */

#define NO_ROW UINT32_MAX

struct vconn {
    int64_t idle_since; /* PC_IDLE */
    uint32_t row;       /* the demand that it serves, or was dialed for; NO_ROW */
    uint32_t served;    /* requests */
    uint32_t peer;
    uint8_t state; /* enum pc_state */
    bool armed;    /* an EVENT_SERVER is in the heap */
    bool reset;    /* its end is a RST */
    bool standing; /* it was there before the workload began */
};

struct vpool {
    struct pool *pool;
    struct vconn *conns; /* by id */
    uint64_t conns_room;
    int64_t tick_at; /* when the earliest EVENT_TICK of it comes; NEVER */
    uint32_t split;
};

struct virtual_driver {
    const struct demands *d;
    const struct server_model *m;
    struct virtual_conf conf;
    struct heap heap;
    struct vpool *pools;
    uint32_t n_pools, next; /* the next arrival */
    int64_t now;
    uint32_t *dial_cursor, *standing_left; /* of each peer */
    char **proxy_url;                      /* of each proxy; the last one stands for a proxy that nobody saw */
    uint64_t *dials_by_split;
    uint64_t n_open, n_idle, n_waiting;
    struct time_wait local, remote;
    struct whatif_row row;
    bool over;
};

static void *must_have(void *memory) {
    if (!memory) abort();
    return memory;
}

/* ---- keys ---- */

static char *make_url(const char *address) {
    size_t len = strlen(address);
    char *url = must_have(malloc(len + 8));

    memcpy(url, "http://", 7);
    memcpy(url + 7, address, len + 1);
    return url;
}

static uint32_t proxies_of(const struct virtual_driver *v) {
    return v->d->n_peers - v->d->w->n_origins;
}

/* Whom a request's connection leads to under these keys: a row of the origins, or a proxy. */
static uint32_t peer_of(const struct virtual_driver *v, const struct demand *r) {
    switch (v->conf.keys) {
    case KEYS_DIRECT:
        return r->origin;
    case KEYS_PROXY:
        return r->peer >= v->d->w->n_origins ? r->peer : v->d->n_peers;
    case KEYS_AS_SEEN:
        break;
    }
    return r->peer;
}

static struct connect_key key_of(const struct virtual_driver *v, const struct demand *r) {
    const struct workload *w = v->d->w;
    uint32_t peer = peer_of(v, r);
    struct connect_key k = {.proxy = "",
                            .scheme = workload_text_of(w, w->origins[r->origin].scheme),
                            .addr = workload_text_of(w, w->origins[r->origin].host)};

    if (peer < w->n_origins) return k;
    k.proxy = v->proxy_url[peer - w->n_origins];
    if (strcmp(k.scheme, "https") != 0) k.addr = "";
    return k;
}

/* ---- counting ---- */

static void count_state(struct virtual_driver *v, enum pc_state from, enum pc_state to) {
    v->n_open += (from == PC_GONE) - (uint64_t)(to == PC_GONE);
    v->n_idle += (to == PC_IDLE) - (uint64_t)(from == PC_IDLE);
    if (v->n_open > v->row.peak_open) v->row.peak_open = v->n_open;
    if (v->n_idle > v->row.peak_idle) v->row.peak_idle = v->n_idle;
}

static void count_close(struct virtual_driver *v, const struct vconn *c, enum pc_state from, enum close_reason why) {
    if (why < N_REASONS) v->row.closes[why]++;
    if (from == PC_DIALING || c->reset || why == REASON_UPGRADED) return;
    time_wait_add(reason_is_local(why) ? &v->local : &v->remote, v->now);
}

/* ---- carrying out what the pool decides ---- */

static struct vconn *conn_of(struct vpool *p, conn_id id) {
    if (id >= p->conns_room) {
        uint64_t room = p->conns_room ? p->conns_room * 2 : 64;
        while (room <= id) room *= 2;
        p->conns = must_have(realloc(p->conns, room * sizeof *p->conns));
        p->conns_room = room;
    }
    return &p->conns[id];
}

static void arrange(struct virtual_driver *v, struct vpool *p, enum event_kind kind, int64_t at_ns, uint64_t id) {
    heap_push(&v->heap,
              (struct event){.at_ns = at_ns, .id = id, .pool = (uint32_t)(p - v->pools), .kind = (uint32_t)kind});
}

static void dial(struct virtual_driver *v, struct vpool *p, const struct pool_action *a) {
    uint32_t row = (uint32_t)(a->want - 1);
    const struct demand *r = &v->d->rows[row];
    struct vconn *c = conn_of(p, a->conn);
    uint32_t known = peer_of(v, r) < v->d->n_peers ? peer_of(v, r) : v->d->n_peers;
    int64_t took = server_dial_ns(v->m, known, v->now, &v->dial_cursor[known]);

    c->peer = known;
    c->row = row;
    if (v->standing_left[known] > 0) {
        v->standing_left[known]--;
        v->row.standing++;
        c->standing = true;
        took = 0;
    } else {
        v->row.dials++;
        v->dials_by_split[r->split]++;
    }
    arrange(v, p, EVENT_DIALED, v->now + took, a->conn);
}

static int64_t busy_time(const struct virtual_driver *v, const struct demand *r) {
    int64_t left = r->busy_ns;

    if (r->fate == FATE_EARLY_CLOSE && v->conf.pool.profile == POOL_GO1_27 && r->drain_us != NO_DRAIN)
        left += USEC(r->drain_us);
    if (r->patience_ns == NEVER) return left;
    /* Who leaves does so at a time of its own, however long it had waited. */
    left = r->at_ns + r->patience_ns - v->now;
    return left > 0 ? left : 0;
}

static void deliver(struct virtual_driver *v, struct vpool *p, const struct pool_action *a) {
    uint32_t row = (uint32_t)(a->want - 1);
    const struct demand *r = &v->d->rows[row];
    struct vconn *c = conn_of(p, a->conn);

    v->n_waiting--;
    v->row.requests++;
    v->row.reused += c->served > 0 || (c->standing && c->served == 0);
    c->served++;
    c->row = row;
    histogram_add(&v->row.wait, (uint64_t)(v->now - r->at_ns));
    if (r->fate != FATE_STAYS) arrange(v, p, EVENT_DONE, v->now + busy_time(v, r), a->conn);
}

static void moved(struct virtual_driver *v, struct vpool *p, const struct pool_action *a) {
    struct vconn *c = conn_of(p, a->conn);
    int64_t timeout;

    if (a->from == PC_GONE) *c = (struct vconn){.row = NO_ROW, .peer = v->d->n_peers, .state = PC_GONE};
    count_state(v, a->from, a->to);
    c->state = (uint8_t)a->to;
    if (a->to == PC_GONE) count_close(v, c, a->from, a->why);
    if (a->to != PC_IDLE) return;
    c->idle_since = v->now;
    c->row = NO_ROW;
    timeout = server_facts(v->m, c->peer)->idle_timeout_ns;
    if (timeout <= 0 || c->armed) return;
    c->armed = true;
    arrange(v, p, EVENT_SERVER, v->now + timeout, a->conn);
}

/* The four steps' second and third: drain the actions, arm one timer. */
static void drive(struct virtual_driver *v, struct vpool *p) {
    int64_t deadline;

    for (struct pool_action a; pool_next_action(p->pool, &a);) {
        switch (a.kind) {
        case POOL_DIAL:
            dial(v, p, &a);
            break;
        case POOL_DELIVER:
            deliver(v, p, &a);
            break;
        case POOL_MOVED:
            moved(v, p, &a);
            break;
        case POOL_FAIL:
            v->n_waiting--;
            v->row.unserved++;
            break;
        case POOL_CLOSE: /* counted as it moved */
            break;
        }
    }
    deadline = pool_next_deadline(p->pool);
    if (deadline >= p->tick_at) return; /* an earlier one looks again */
    p->tick_at = deadline;
    arrange(v, p, EVENT_TICK, deadline, 0);
}

/* ---- what happens ---- */

static void arrive(struct virtual_driver *v) {
    uint32_t row = v->next++;
    const struct demand *r = &v->d->rows[row];
    struct vpool *p = &v->pools[v->conf.limit_of_split ? r->split : r->pool];
    struct connect_key key = key_of(v, r);

    v->n_waiting++;
    pool_want(p->pool, (want_id)row + 1, &key, v->now);
    drive(v, p);
    if (r->patience_ns != NEVER) arrange(v, p, EVENT_LEAVES, r->at_ns + r->patience_ns, row);
}

/* How the exchange of `r` leaves a connection to `peer` that has now served `served`. */
static enum close_reason verdict(const struct virtual_driver *v, const struct demand *r, const struct vconn *c) {
    uint32_t limit = server_facts(v->m, c->peer)->requests_limit;

    switch ((enum fate)r->fate) {
    case FATE_RESPONSE_CLOSE:
        if (!limit) return REASON_RESPONSE_CLOSE;
        break; /* not this request's doing, but the number's */
    case FATE_REQUEST_CLOSE:
        return REASON_REQUEST_CLOSE;
    case FATE_UNTIL_EOF:
        return REASON_UNTIL_EOF;
    case FATE_EARLY_CLOSE:
        if (v->conf.pool.profile == POOL_GO1_27 && r->drain_us != NO_DRAIN) break;
        return REASON_EARLY_CLOSE;
    case FATE_CANCELED:
        return REASON_CANCELED;
    case FATE_FAILED:
        return REASON_SERVER_CLOSED;
    case FATE_SERVER_CLOSES:
        return REASON_SERVER_CLOSED_IDLE;
    case FATE_KEEP:
    case FATE_DETACH:
    case FATE_STAYS:
        break;
    }
    return limit && c->served >= limit ? REASON_RESPONSE_CLOSE : REASON_NONE;
}

static void exchange_done(struct virtual_driver *v, struct vpool *p, conn_id id) {
    struct vconn *c = &p->conns[id];
    uint32_t row = c->row;
    const struct demand *r;
    enum close_reason why;

    if (c->state != PC_ACTIVE || row == NO_ROW) return;
    r = &v->d->rows[row];
    why = verdict(v, r, c);
    c->reset = r->resets && (why == REASON_EARLY_CLOSE || why == REASON_CANCELED);
    if (r->fate == FATE_DETACH)
        pool_detach(p->pool, id, v->now);
    else if (why != REASON_NONE)
        pool_lost(p->pool, id, why, v->now);
    else
        pool_put(p->pool, id, v->now);
    drive(v, p);
    pool_cancel(p->pool, (want_id)row + 1, v->now); /* its context ends with it (R30) */
    drive(v, p);
}

static void server_idle_timer(struct virtual_driver *v, struct vpool *p, conn_id id) {
    struct vconn *c = &p->conns[id];
    int64_t timeout = server_facts(v->m, c->peer)->idle_timeout_ns;

    c->armed = false;
    if (c->state != PC_IDLE) return;
    if (c->idle_since + timeout > v->now) {
        c->armed = true;
        arrange(v, p, EVENT_SERVER, c->idle_since + timeout, id);
        return;
    }
    pool_lost(p->pool, id, REASON_SERVER_CLOSED_IDLE, v->now);
    drive(v, p);
}

static void leaves(struct virtual_driver *v, struct vpool *p, uint32_t row) {
    uint64_t before = v->row.requests;
    struct pool_counts was, is;

    pool_counts(p->pool, &was);
    pool_cancel(p->pool, (want_id)row + 1, v->now);
    drive(v, p);
    pool_counts(p->pool, &is);
    if (is.waiting >= was.waiting || v->row.requests != before) return; /* it had its connection */
    v->n_waiting--;
    v->row.unserved++;
}

static void happen(struct virtual_driver *v, const struct event *e) {
    struct vpool *p = &v->pools[e->pool];

    switch ((enum event_kind)e->kind) {
    case EVENT_DIALED:
        if (p->conns[e->id].state != PC_DIALING) return; /* it was aborted */
        if (!p->conns[e->id].standing && server_facts(v->m, p->conns[e->id].peer)->tls) v->row.tls_handshakes++;
        pool_dialed(p->pool, e->id, v->now);
        drive(v, p);
        break;
    case EVENT_DONE:
        exchange_done(v, p, e->id);
        break;
    case EVENT_SERVER:
        server_idle_timer(v, p, e->id);
        break;
    case EVENT_LEAVES:
        leaves(v, p, (uint32_t)e->id);
        break;
    case EVENT_TICK:
        p->tick_at = NEVER;
        pool_tick(p->pool, v->now);
        drive(v, p);
        break;
    }
}

static void end(struct virtual_driver *v) {
    if (v->over) return;
    v->over = true;
    v->row.unserved += v->n_waiting;
    v->row.time_wait_local = v->local.peak;
    v->row.time_wait_remote = v->remote.peak;
    v->row.waits_known = true;
    v->n_waiting = 0;
}

bool virtual_run(struct virtual_driver *v, uint32_t steps) {
    for (; steps > 0; steps--) {
        bool arrives = v->next < v->d->n;
        int64_t at = arrives ? v->d->rows[v->next].at_ns : NEVER;

        if (v->heap.n && v->heap.events[0].at_ns <= at) {
            if (!arrives && v->heap.events[0].at_ns > v->d->w->duration_ns) break;
            struct event e = heap_pop(&v->heap);
            if (e.at_ns > v->now) v->now = e.at_ns;
            happen(v, &e);
        } else if (arrives) {
            if (at > v->now) v->now = at;
            arrive(v);
        } else {
            break;
        }
    }
    if (steps > 0) end(v);
    return steps == 0;
}

/* ---- beginning and end ---- */

static void make_pools(struct virtual_driver *v) {
    bool split = v->conf.limit_of_split != NULL;

    v->n_pools = split ? v->d->n_splits : v->d->n_pools;
    v->pools = must_have(calloc((size_t)v->n_pools + 1, sizeof *v->pools));
    for (uint32_t i = 0; i < v->n_pools; i++) {
        struct pool_conf conf = v->conf.pool;
        if (split) {
            conf.max_idle_conns = 0;
            conf.max_idle_conns_per_host = v->conf.limit_of_split[i];
        }
        v->pools[i].pool = pool_new(&conf);
        v->pools[i].tick_at = NEVER;
    }
}

struct virtual_driver *virtual_new(const struct demands *d, const struct server_model *m,
                                   const struct virtual_conf *conf) {
    struct virtual_driver *v = must_have(calloc(1, sizeof *v));
    uint32_t n_proxies;

    v->d = d;
    v->m = m;
    v->conf = *conf;
    make_pools(v);
    v->dial_cursor = must_have(calloc((size_t)d->n_peers + 1, sizeof *v->dial_cursor));
    v->standing_left = must_have(calloc((size_t)d->n_peers + 1, sizeof *v->standing_left));
    for (uint32_t i = 0; i < d->n_peers; i++) v->standing_left[i] = server_facts(m, i)->standing;
    n_proxies = proxies_of(v);
    v->proxy_url = must_have(calloc((size_t)n_proxies + 1, sizeof *v->proxy_url));
    for (uint32_t i = 0; i < n_proxies; i++) v->proxy_url[i] = make_url(workload_text_of(d->w, d->proxy_text[i]));
    v->proxy_url[n_proxies] = make_url("proxy");
    v->dials_by_split = must_have(calloc((size_t)d->n_splits + 1, sizeof *v->dials_by_split));
    return v;
}

void virtual_free(struct virtual_driver **vp) {
    struct virtual_driver *v = *vp;

    if (!v) return;
    for (uint32_t i = 0; i < v->n_pools; i++) {
        pool_free(&v->pools[i].pool);
        free(v->pools[i].conns);
    }
    for (uint32_t i = 0; i <= proxies_of(v); i++) free(v->proxy_url[i]);
    free(v->proxy_url);
    free(v->pools);
    free(v->heap.events);
    free(v->dial_cursor);
    free(v->standing_left);
    free(v->dials_by_split);
    time_wait_free(&v->local);
    time_wait_free(&v->remote);
    free(v);
    *vp = NULL;
}

uint32_t virtual_progress(const struct virtual_driver *v) {
    return v->next;
}

const struct whatif_row *virtual_row(const struct virtual_driver *v) {
    return &v->row;
}

const uint64_t *virtual_dials_by_split(const struct virtual_driver *v) {
    return v->dials_by_split;
}

unsigned virtual_peak_idle_of_split(const struct virtual_driver *v, uint32_t split) {
    struct pool_peaks peaks;

    pool_peaks(v->pools[split].pool, &peaks);
    return peaks.idle;
}

/* A record's events, as far as they were kept, as exchanges. */
#include "workload.h"

#include <stdlib.h>
#include <string.h>

/* What is being put together of one connection. */
struct reading {
    struct workload *w;
    const struct lifecycle *l;
    uint32_t conn;
    uint32_t now;    /* the exchange under way; WORKLOAD_NO: none */
    uint32_t n;      /* exchanges so far */
    int64_t done_ns; /* when the newest that is over was, on the record's clock; 0: none is */
    bool cut;        /* events are missing here: what comes before the next request belongs to one that is not known */
};

static struct workload_exchange *now_of(struct reading *r) {
    return r->now == WORKLOAD_NO ? NULL : &r->w->exchanges[r->now];
}

static bool begin(struct reading *r, int64_t at_ns, int64_t waited_ns) {
    struct workload_exchange *x = workload_add_exchange(r->w);

    if (!x) return false;
    x->conn = r->conn;
    x->origin = r->w->conns[r->conn].origin;
    x->at_ns = at_ns;
    x->waited_ns = waited_ns;
    r->now = r->w->n_exchanges - 1;
    r->n++;
    r->cut = false;
    return true;
}

static void finish(struct reading *r, enum workload_end end, int64_t at_ns) {
    struct workload_exchange *x = now_of(r);

    r->done_ns = at_ns;
    r->now = WORKLOAD_NO;
    if (!x) return;
    x->end = (uint8_t)end;
    x->done_ns = workload_after(at_ns, x->at_ns);
}

static uint64_t bytes_of(const struct conn_mark *m) {
    return m->value == UINT32_MAX ? UNKNOWN_BYTES : m->value;
}

static void body_over(struct reading *r, const struct conn_mark *m, enum workload_end end) {
    struct workload_exchange *x = now_of(r);

    if (x && m->value != UINT32_MAX) x->body = x->taken = m->value;
    finish(r, end, m->at_ns);
}

enum workload_end workload_end_of(const struct lifecycle *l) {
    switch ((enum close_reason)l->close_reason) {
    case REASON_CANCELED:
        return END_CANCELED;
    case REASON_EARLY_CLOSE:
        return END_GIVEN_UP;
    case REASON_TUNNEL:
    case REASON_UPGRADED:
        return END_OPAQUE;
    case REASON_NONE:
        return l->close_by == BY_REMOTE ? END_FAILED : END_UNKNOWN;
    case REASON_CLIENT_CLOSED:
    case REASON_CLIENT_TIMEOUT:
        return l->responses == l->requests ? END_GIVEN_UP : END_CANCELED;
    default:
        return END_FAILED;
    }
}

static bool take(struct reading *r, const struct conn_mark *m) {
    struct workload_exchange *x = now_of(r);

    switch ((enum conn_event_kind)m->kind) {
    case EV_GOT_CONN: /* upstream: a wait that does not fit has UINT32_MAX, which is the shortest that it can have been
                       */
        return begin(r, m->at_ns - m->value, m->value);
    case EV_REQUEST:
        if (x && x->sent_ns == NO_TIME && x->first_ns == NO_TIME && x->waited_ns == m->at_ns - x->at_ns) return true;
        return (x && r->l->side != SIDE_DOWNSTREAM) || begin(r, m->at_ns, 0);
    case EV_WROTE_REQUEST:
        if (x) x->sent_ns = workload_after(m->at_ns, x->at_ns), x->request_body = m->value == UINT32_MAX ? 0 : m->value;
        break;
    case EV_FIRST_BYTE:
        if (x) x->first_ns = workload_after(m->at_ns, x->at_ns);
        break;
    case EV_INTERIM:
        if (x && x->n_interim < UINT8_MAX) x->n_interim++;
        break;
    case EV_RESPONSE:
        if (!x) break;
        x->status = m->code;
        x->announced = bytes_of(m);
        x->framing = x->announced == UNKNOWN_BYTES ? FRAMING_CHUNKED : FRAMING_LENGTH;
        if (x->first_ns == NO_TIME) x->first_ns = workload_after(m->at_ns, x->at_ns);
        break;
    case EV_BODY_EOF:
        body_over(r, m, END_COMPLETE);
        break;
    case EV_EARLY_CLOSE:
        body_over(r, m, END_GIVEN_UP);
        break;
    case EV_RETRIED:
        if (x) x->flags |= WX_RETRIED;
        finish(r, END_FAILED, m->at_ns);
        break;
    case EV_UPGRADED:
    case EV_TUNNEL:
        finish(r, END_OPAQUE, m->at_ns);
        break;
    case EV_ENDED:
        if (x) finish(r, workload_end_of(r->l), m->at_ns);
        break;
    default:
        break;
    }
    return true;
}

/* ---- requests whose events were dropped ---- */

static int64_t mean_busy(const struct reading *r, uint32_t first) {
    int64_t sum = 0, n = 0;

    for (uint32_t i = first; i < r->w->n_exchanges; i++) {
        const struct workload_exchange *x = &r->w->exchanges[i];
        if (x->end != END_COMPLETE || x->done_ns == NO_TIME) continue;
        if (__builtin_add_overflow(sum, x->done_ns - x->waited_ns, &sum)) return 0;
        n++;
    }
    return n ? sum / n : 0;
}

/* Between the end of the last exchange before the gap and the beginning of the first behind it. */
static bool spread(struct reading *r, uint32_t missing, int64_t from_ns, int64_t to_ns, int64_t busy_ns) {
    int64_t span = workload_after(to_ns, from_ns), step = span / ((int64_t)missing + 1);

    if (busy_ns > step) busy_ns = step;
    for (uint32_t i = 1; i <= missing; i++) {
        if (!begin(r, from_ns + step * i, 0)) return false;
        struct workload_exchange *x = now_of(r);
        x->flags |= WX_SPREAD;
        x->end = END_COMPLETE;
        x->done_ns = busy_ns;
        x->status = 0;
    }
    r->now = WORKLOAD_NO;
    return true;
}

/* No events: the requests follow each other with equal pauses, which add up to the time it was idle. */
static bool spread_life(struct reading *r, int64_t seen_ns) {
    const struct lifecycle *l = r->l;
    int64_t from = l->tls_ns ? l->tls_ns : l->dialed_ns ? l->dialed_ns : l->opened_ns;
    int64_t life = workload_after(l->closed_ns ? l->closed_ns : seen_ns, from), n = l->requests;
    int64_t idle = l->known & KNOW_IDLE && l->idle_total_ns < life ? l->idle_total_ns : 0, step = life / n;

    for (int64_t i = 0; i < n; i++) {
        if (!begin(r, from + step * i, 0)) return false;
        struct workload_exchange *x = now_of(r);
        x->flags |= WX_SPREAD;
        x->end = END_COMPLETE;
        x->done_ns = (life - idle) / n;
        r->done_ns = x->at_ns + x->done_ns;
        if (i > 0 || l->side == SIDE_DOWNSTREAM || !(l->known & KNOW_OPENED)) continue;
        x->waited_ns = workload_after(x->at_ns, l->opened_ns); /* the one that it was dialed for */
        x->at_ns -= x->waited_ns;
        x->done_ns += x->waited_ns;
    }
    return true;
}

/* A request that was under way at the end is the last one, and how it ended is known. */
static void end_spread(struct reading *r) {
    struct workload_exchange *x = now_of(r);

    if (!x) return;
    r->now = WORKLOAD_NO;
    if (!r->l->closed_ns)
        x->end = r->l->state == LIFE_ACTIVE ? END_OPEN : END_COMPLETE;
    else if (r->l->close_phase != PHASE_IDLE && r->l->close_phase != PHASE_NONE && r->l->close_phase != PHASE_DIALING)
        x->end = (uint8_t)workload_end_of(r->l);
    else
        x->status = 200; /* tell_last may say why it was not kept */
}

static bool read_marks(struct reading *r, int64_t seen_ns) {
    const struct lifecycle *l = r->l;
    uint32_t first = r->w->n_exchanges;
    int64_t gap_from = l->opened_ns, gap_to = l->closed_ns;
    bool behind_gap = false;

    for (unsigned i = 0; i < l->n_marks; i++) {
        const struct conn_mark *m = lifecycle_mark(l, i);
        if (i == MARKS_HEAD && l->marks_dropped) {
            /* What is under way here ends in what was dropped, and is one of those. */
            if (r->now != WORKLOAD_NO && r->now == r->w->n_exchanges - 1) r->w->n_exchanges--, r->n--;
            r->now = WORKLOAD_NO;
            r->cut = behind_gap = true;
            gap_from = r->done_ns ? r->done_ns : lifecycle_mark(l, i - 1)->at_ns;
            gap_to = m->at_ns;
        }
        if (behind_gap && r->cut) gap_to = m->at_ns;
        if (!take(r, m)) return false;
    }
    if (l->requests <= r->n || !(l->known & KNOW_REQUESTS)) return true;
    r->w->conns[r->conn].flags |= WCONN_PARTIAL;
    if (!l->marks_dropped && r->n == 0) {
        if (!spread_life(r, seen_ns)) return false;
        end_spread(r);
        return true;
    }
    if (!l->marks_dropped) return true;
    return spread(r, l->requests - r->n, gap_from, gap_to, mean_busy(r, first));
}

/* ---- the connection ---- */

/* What the record says of its last response alone: how it was framed, and who ended the connection with it. */
static void tell_last(const struct reading *r) {
    const struct lifecycle *l = r->l;
    struct workload_exchange *x = NULL;

    for (uint32_t i = r->w->n_exchanges; i-- > 0 && r->w->exchanges[i].conn == r->conn;)
        if (!(r->w->exchanges[i].flags & WX_SPREAD) || r->l->n_marks == 0) {
            x = &r->w->exchanges[i];
            break;
        }
    if (!x || !x->status) return;
    if (l->known & KNOW_BODY) {
        x->framing = l->body_framing;
        x->announced = l->body_announced;
    }
    if (x->end != END_COMPLETE) return;
    if (l->close_reason == REASON_UNTIL_EOF) x->framing = FRAMING_UNTIL_EOF;
    if (l->close_reason == REASON_RESPONSE_CLOSE) x->flags |= WX_RESPONSE_CLOSE;
    if (l->close_reason == REASON_REQUEST_CLOSE) x->flags |= WX_REQUEST_CLOSE;
}

static uint32_t endpoint_name(struct workload *w, const struct endpoint *e, bool port) {
    char text[ENDPOINT_TEXT_MAX], *colon;

    if (e->family == ADDR_NONE) return WORKLOAD_NO;
    endpoint_text(e, text);
    colon = port ? NULL : strrchr(text, ':');
    if (colon) *colon = 0;
    return workload_text(w, text, strlen(text));
}

static void fill_conn(struct workload *w, struct workload_conn *c, const struct lifecycle *l) {
    bool accepted = l->side == SIDE_DOWNSTREAM;

    c->id = l->id;
    c->side = l->side;
    c->opened_ns = l->opened_ns;
    if (l->dialed_ns) c->dial_ns = workload_after(l->dialed_ns, l->opened_ns);
    if (l->tls_ns && l->dialed_ns) c->tls_ns = workload_after(l->tls_ns, l->dialed_ns);
    if (l->closed_ns) c->closed_ns = l->closed_ns;
    c->bytes_in = l->bytes_in;
    c->bytes_out = l->bytes_out;
    if (l->known & KNOW_UNREAD && l->closed_ns) c->unread_bytes = l->unread_bytes;
    c->requests = l->requests;
    c->client = endpoint_name(w, accepted ? &l->flow.remote : &l->flow.local, false);
    c->server = endpoint_name(w, accepted ? &l->flow.local : &l->flow.remote, true);
    c->close_by = l->close_by;
    c->close_how = l->close_how;
    c->close_reason = l->close_reason;
    c->close_phase = l->close_phase;
    c->flags = (uint8_t)((l->known & KNOW_OPENED ? WCONN_OPENED : 0) | (l->dialed_ns || accepted ? WCONN_DIALED : 0) |
                         (l->tls_version ? WCONN_TLS : 0) | (l->opaque ? WCONN_OPAQUE : 0));
}

/* A capture does not say the phase of an end that may have been an early close; the remote end's are none. */
static bool ended_idle(const struct lifecycle *l) {
    return l->close_phase == PHASE_IDLE ||
           (l->close_phase == PHASE_NONE && l->close_by == BY_REMOTE && l->requests == l->responses);
}

bool workload_add_conn_of(struct workload *w, const struct lifecycle *l) {
    struct workload_conn *c = workload_add_conn(w);

    if (!c) return false;
    fill_conn(w, c, l);
    if (l->key && *l->key->addr) c->origin = workload_origin(w, l->key->scheme, l->key->addr);
    return true;
}

bool workload_add_life(struct workload *w, const struct lifecycle *l, int64_t seen_ns) {
    struct reading r = {.w = w, .l = l, .conn = w->n_conns, .now = WORKLOAD_NO};
    struct workload_conn *c;

    if (!workload_add_conn_of(w, l) || !read_marks(&r, seen_ns)) return false;
    if (r.now != WORKLOAD_NO) w->exchanges[r.now].end = l->closed_ns ? END_UNKNOWN : END_OPEN;
    tell_last(&r);
    c = &w->conns[r.conn];
    if (l->closed_ns && r.done_ns && ended_idle(l)) c->idle_ns = workload_after(l->closed_ns, r.done_ns);
    return true;
}

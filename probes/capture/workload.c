#include "capture/workload.h"

#include "core/idmap.h"
#include "core/time_sort.h"

#include <stdlib.h>
#include <string.h>

/* An exchange that is not over. */
struct pending {
    uint64_t number; /* of its connection, from 0 */
    uint32_t row;
};

/* A connection whose record has not come yet. */
struct building {
    uint32_t row, last; /* last: its newest exchange */
    uint32_t n, room;   /* of pending */
    struct pending *pending;
    int64_t ending_ns; /* the first FIN or RST; 0: none yet */
    int64_t done_ns;   /* of the last response that was complete */
    uint64_t answered; /* bytes of the complete ones, heads too */
    bool client_left;  /* ending_ns is the client's: what comes after it, it does not have */
};

struct workload_builder {
    struct workload *w; /* times are the capture's own until the end */
    struct idmap conns;
    const char *full; /* which limit was reached */
};

static void *must_have(void *memory) {
    if (!memory) abort();
    return memory;
}

struct workload_builder *workload_builder_new(const struct workload_limits *limits) {
    struct workload_builder *b = must_have(calloc(1, sizeof *b));

    b->w = workload_new(limits);
    b->w->observer = OBSERVER_CAPTURE;
    b->w->arrivals = ARRIVALS_SENT;
    return b;
}

static void drop_building(struct workload_builder *b, uint64_t id, struct building *k) {
    idmap_del(&b->conns, id);
    free(k->pending);
    free(k);
}

void workload_builder_free(struct workload_builder **bp) {
    struct workload_builder *b = *bp;

    if (!b) return;
    for (size_t i = 0; i < b->conns.room; i++) {
        struct building *k = b->conns.slots[i].id ? b->conns.slots[i].thing : NULL;
        if (!k) continue;
        free(k->pending);
        free(k);
    }
    idmap_clear(&b->conns);
    workload_free(&b->w);
    free(b);
    *bp = NULL;
}

/* ---- names ---- */

static uint32_t put_text(struct workload_builder *b, const char *text, size_t len) {
    uint32_t n = workload_text(b->w, text, len);

    if (n == WORKLOAD_NO) b->full = "bytes of different names and paths";
    return n;
}

static uint32_t endpoint_name(struct workload_builder *b, const struct endpoint *e, bool port) {
    char text[ENDPOINT_TEXT_MAX], *colon;

    endpoint_text(e, text);
    colon = port ? NULL : strrchr(text, ':');
    if (colon) *colon = 0;
    return put_text(b, text, strlen(text));
}

static bool has_port(const char *authority) {
    const char *colon = strrchr(authority, ':');

    return colon && colon[1] && !strchr(colon, ']');
}

/* host:port; what names no host is called by the server's address. */
static uint32_t origin_of(struct workload_builder *b, const struct wire_event *e) {
    char host[WIRE_TARGET_MAX + 8], address[ENDPOINT_TEXT_MAX];
    uint32_t row;

    if (e->authority && *e->authority) {
        strcpy(host, e->authority);
        if (!has_port(host)) strcat(host, strcmp(e->method, "CONNECT") ? ":80" : ":443");
    } else {
        strcpy(host, endpoint_text(&e->server, address));
    }
    row = workload_origin(b->w, strcmp(e->method, "CONNECT") ? "http" : "https", host);
    if (row == WORKLOAD_NO) b->full = "origins";
    return row;
}

/* ---- events ---- */

static struct building *building_of(struct workload_builder *b, uint64_t id) {
    return idmap_get(&b->conns, id);
}

static struct building *begin_conn(struct workload_builder *b, uint64_t id, int64_t at_ns) {
    struct building *k = building_of(b, id);
    struct workload_conn *c;

    if (k) return k;
    c = workload_add_conn(b->w);
    if (!c) {
        b->full = "connections";
        return NULL;
    }
    c->id = id;
    c->side = SIDE_CLIENT;
    c->opened_ns = at_ns;
    k = must_have(calloc(1, sizeof *k));
    k->row = b->w->n_conns - 1;
    k->last = WORKLOAD_NO;
    idmap_put(&b->conns, id, k);
    return k;
}

static void add_pending(struct building *k, uint64_t number, uint32_t row) {
    if (k->n == k->room) {
        k->room = k->room ? k->room * 2 : 1;
        k->pending = must_have(realloc(k->pending, k->room * sizeof *k->pending));
    }
    k->pending[k->n++] = (struct pending){number, row};
}

static void request(struct workload_builder *b, struct building *k, const struct wire_event *e) {
    struct workload_exchange *x = workload_add_exchange(b->w);
    bool bodyless = e->body_bytes == 0;

    if (!x) {
        b->full = "exchanges";
        return;
    }
    x->conn = k->row;
    x->at_ns = e->at_ns;
    x->origin = origin_of(b, e);
    x->method = put_text(b, e->method, strlen(e->method));
    x->path = e->path ? put_text(b, e->path, strlen(e->path)) : WORKLOAD_NO;
    x->request_head = e->head_bytes;
    x->request_body = e->body_bytes == UNKNOWN_BYTES ? 0 : e->body_bytes;
    x->sent_ns = bodyless ? 0 : NO_TIME;
    x->flags = (uint8_t)((e->no_reuse ? WX_REQUEST_CLOSE : 0) | (e->expects ? WX_EXPECT : 0) |
                         (e->pipelined ? WX_PIPELINED : 0));
    if (b->w->conns[k->row].origin == WORKLOAD_NO) b->w->conns[k->row].origin = x->origin;
    k->last = b->w->n_exchanges - 1;
    add_pending(k, e->exchange, k->last);
}

/* Of one connection's exchanges the one that an answer is for; those before it were answered in what
 * the capture lacks. */
static struct workload_exchange *answered(struct workload_builder *b, struct building *k, uint64_t number) {
    uint32_t before = 0;

    while (before < k->n && k->pending[before].number < number) before++;
    k->n -= before;
    memmove(k->pending, k->pending + before, k->n * sizeof *k->pending);
    return k->n && k->pending[0].number == number ? &b->w->exchanges[k->pending[0].row] : NULL;
}

static void response(struct workload_builder *b, struct building *k, const struct wire_event *e) {
    struct workload_exchange *x = k->client_left ? NULL : answered(b, k, e->exchange);

    if (!x) return;
    x->first_ns = workload_after(e->first_ns, x->at_ns);
    x->n_interim = e->interim;
    x->status = e->status;
    x->framing = e->framing;
    x->announced = e->bytes;
    x->response_head = e->head_bytes;
    if (e->no_reuse) x->flags |= WX_RESPONSE_CLOSE;
}

static void done(struct workload_builder *b, struct building *k, const struct wire_event *e) {
    struct workload_exchange *x = k->client_left ? NULL : answered(b, k, e->exchange);

    if (k->client_left) return;
    k->done_ns = e->at_ns;
    k->answered += e->bytes;
    if (!x) return;
    x->done_ns = workload_after(e->at_ns, x->at_ns);
    x->body = x->taken = e->body_bytes;
    x->end = END_COMPLETE;
    k->n--;
    memmove(k->pending, k->pending + 1, k->n * sizeof *k->pending);
}

void workload_builder_event(struct workload_builder *b, const struct wire_event *e) {
    struct building *k = b->full ? NULL : begin_conn(b, e->conn, e->at_ns);

    if (!k) return;
    switch ((enum wire_event_kind)e->kind) {
    case WIRE_REQUEST:
        request(b, k, e);
        break;
    case WIRE_RESPONSE:
        response(b, k, e);
        break;
    case WIRE_DONE:
        done(b, k, e);
        break;
    case WIRE_OPAQUE:
        if (k->last != WORKLOAD_NO) b->w->exchanges[k->last].end = END_OPAQUE; /* which made it so */
        break;
    case WIRE_ENDING:
        if (k->ending_ns) break;
        k->ending_ns = e->at_ns;
        k->client_left = e->by_client;
        break;
    case WIRE_OPENED:
    case WIRE_BLOCKED:
    case WIRE_FLOWING:
        break;
    }
}

/* ---- records ---- */

/* How the n-th unfinished exchange ended, the first being the one that was being answered. */
static enum workload_end end_of(const struct wire_record *r, const struct workload_exchange *x, uint32_t nth) {
    const struct lifecycle *l = &r->life;

    if (l->state != LIFE_CLOSED && r->evidence.early == EARLY_OPEN) return END_OPEN;
    if (nth == 0 && r->evidence.early == EARLY_UNKNOWN) return END_UNKNOWN;
    if (l->state != LIFE_CLOSED && !l->close_how) return END_OPEN;
    if (!(l->known & KNOW_CLOSE) || l->close_by == BY_NONE) return END_UNKNOWN;
    if (l->close_by == BY_REMOTE) return END_FAILED;
    return x->status ? END_GIVEN_UP : END_CANCELED;
}

/* Of a stream that came so far, what belongs to the body of the answer under way. */
static uint64_t part_of_body(const struct building *k, const struct workload_exchange *x, uint64_t stream) {
    uint64_t before = k->answered + x->response_head, part = stream > before ? stream - before : 0;

    return part > x->announced ? x->announced : part; /* UNKNOWN_BYTES: no bound */
}

static void end_exchanges(struct workload_builder *b, struct building *k, const struct wire_record *r) {
    const struct lifecycle *l = &r->life;
    int64_t ended = k->ending_ns ? k->ending_ns : l->closed_ns;

    for (uint32_t i = 0; i < k->n; i++) {
        struct workload_exchange *x = &b->w->exchanges[k->pending[i].row];
        x->end = (uint8_t)end_of(r, x, i);
        if (x->end != END_OPEN && x->end != END_UNKNOWN && ended) x->done_ns = workload_after(ended, x->at_ns);
        if (i > 0 || !x->status) continue;
        x->body = part_of_body(k, x, r->evidence.remote.bytes);
        x->taken = part_of_body(k, x, r->evidence.acked_bytes);
    }
}

static uint8_t flags_of(const struct wire_record *r) {
    const struct lifecycle *l = &r->life;
    const struct wire_evidence *e = &r->evidence;
    uint32_t lost = INCOMPLETE_GAP_IN | INCOMPLETE_GAP_OUT | INCOMPLETE_SNAPLEN | INCOMPLETE_ONE_WAY |
                    INCOMPLETE_LIMIT | INCOMPLETE_START | INCOMPLETE_BAD_HTTP;
    bool unreadable = e->protocol == PROTO_TLS || e->protocol == PROTO_HTTP2 || e->protocol == PROTO_UNKNOWN;

    return (uint8_t)((l->known & KNOW_OPENED ? WCONN_OPENED : 0) | (l->dialed_ns || e->established ? WCONN_DIALED : 0) |
                     (e->protocol == PROTO_TLS ? WCONN_TLS : 0) | (e->proxy_form ? WCONN_TO_PROXY : 0) |
                     (e->tunnelled || unreadable ? WCONN_OPAQUE : 0) |
                     (!(l->known & KNOW_REQUESTS) && !unreadable && e->incomplete & lost ? WCONN_PARTIAL : 0));
}

void workload_builder_record(struct workload_builder *b, const struct wire_record *r) {
    const struct lifecycle *l = &r->life;
    struct building *k = b->full ? NULL : begin_conn(b, l->id, l->opened_ns);
    int64_t ended;
    struct workload_conn *c;

    if (!k) return;
    c = &b->w->conns[k->row];
    ended = k->ending_ns ? k->ending_ns : l->closed_ns;
    end_exchanges(b, k, r);
    c->opened_ns = l->opened_ns ? l->opened_ns : c->opened_ns;
    if (l->known & KNOW_DIAL) c->dial_ns = workload_after(l->dialed_ns, l->opened_ns);
    if (l->closed_ns) c->closed_ns = l->closed_ns;
    if (ended && k->n == 0 && k->done_ns) c->idle_ns = workload_after(ended, k->done_ns);
    c->bytes_in = l->bytes_in;
    c->bytes_out = l->bytes_out;
    if (l->known & KNOW_UNREAD) c->unread_bytes = l->unread_bytes;
    c->requests = l->known & KNOW_REQUESTS ? l->requests : (uint32_t)r->evidence.requests_seen;
    c->client = endpoint_name(b, &l->flow.local, false);
    c->server = endpoint_name(b, &l->flow.remote, true);
    if (l->known & KNOW_CLOSE) {
        c->close_by = l->close_by;
        c->close_how = l->close_how;
    }
    if (l->known & KNOW_PHASE) c->close_phase = l->close_phase;
    c->flags = flags_of(r);
    drop_building(b, l->id, k);
}

/* ---- when requests wanted a connection ----
 *
 * A capture shows when they were sent. But a dial is begun because a request wants a connection at
 * that moment: the one that is sent as soon as the connection stands; or, where none is, one that
 * was served by another connection, which came free while the dial ran (R21). */
#define AT_ONCE MSEC(1)

static void shift(int64_t *after_ns, int64_t by) {
    if (*after_ns != NO_TIME && *after_ns <= WORKLOAD_TIME_MAX - by) *after_ns += by;
}

static void wanted_at(struct workload_exchange *x, int64_t at_ns) {
    int64_t waited = workload_after(x->at_ns, at_ns);

    if (waited > WORKLOAD_TIME_MAX / 2) return;
    x->at_ns -= waited;
    x->waited_ns = waited;
    shift(&x->sent_ns, waited);
    shift(&x->first_ns, waited);
    shift(&x->done_ns, waited);
}

/* The dials that no request was seen to be for, of one client to one server, the oldest first. */
struct surplus {
    uint32_t first, last; /* rows of connections; WORKLOAD_NO: none */
};

struct arrivals {
    struct workload *w;
    struct idmap numbers; /* client and server: number + 1 */
    uint32_t n_groups;
    uint32_t *group, *next;  /* of each connection: its group, and the next in its list */
    uint32_t *opener;        /* of each connection: its first exchange, if that was sent at once */
    struct surplus *surplus; /* of each group */
};

static uint32_t group_of(struct arrivals *a, const struct workload_conn *c) {
    uint64_t id = ((uint64_t)c->client << 32 | c->server) + 1;
    uintptr_t have = (uintptr_t)idmap_get(&a->numbers, id);

    if (have) return (uint32_t)(have - 1);
    idmap_put(&a->numbers, id, (void *)(uintptr_t)++a->n_groups); /* NOLINT(performance-no-int-to-ptr) */
    return a->n_groups - 1;
}

/* Until when the dial ran: it stood, or was given up. */
static int64_t dialed_until(const struct workload_conn *c) {
    int64_t stood;

    if (c->dial_ns != NO_TIME) return __builtin_add_overflow(c->opened_ns, c->dial_ns, &stood) ? NEVER : stood;
    return c->closed_ns != NO_TIME ? c->closed_ns : c->opened_ns;
}

static void note_openers(struct arrivals *a) {
    const struct workload *w = a->w;

    for (uint32_t i = 0; i < w->n_conns; i++) {
        a->group[i] = group_of(a, &w->conns[i]);
        a->opener[i] = a->next[i] = WORKLOAD_NO;
    }
    for (uint32_t i = w->n_exchanges; i-- > 0;) a->opener[w->exchanges[i].conn] = i; /* in the order of capture */
    for (uint32_t i = 0; i < w->n_conns; i++) {
        const struct workload_conn *c = &w->conns[i];
        if (a->opener[i] == WORKLOAD_NO) continue;
        if (!(c->flags & WCONN_OPENED) || c->dial_ns == NO_TIME ||
            workload_after(w->exchanges[a->opener[i]].at_ns, dialed_until(c)) > AT_ONCE)
            a->opener[i] = WORKLOAD_NO;
    }
}

static void add_surplus(struct arrivals *a, uint32_t conn) {
    struct surplus *s = &a->surplus[a->group[conn]];

    if (s->first == WORKLOAD_NO)
        s->first = conn;
    else
        a->next[s->last] = conn;
    s->last = conn;
}

/* A request on a connection that was there: was it the oldest dial's that still ran? */
static void find_dial(struct arrivals *a, struct workload_exchange *x) {
    struct surplus *s = &a->surplus[a->group[x->conn]];
    const struct workload_conn *c;

    while (s->first != WORKLOAD_NO && workload_after(x->at_ns, dialed_until(&a->w->conns[s->first])) > AT_ONCE)
        s->first = a->next[s->first];
    if (s->first == WORKLOAD_NO) return;
    c = &a->w->conns[s->first];
    s->first = a->next[s->first];
    wanted_at(x, c->opened_ns);
}

/* Connections and exchanges in one row, in the order of time: a dial before what it may be for. */
static struct timed *in_order(const struct arrivals *a, size_t *n) {
    const struct workload *w = a->w;
    struct timed *rows = must_have(malloc(((size_t)w->n_conns + w->n_exchanges + 1) * sizeof *rows));

    *n = 0;
    for (uint32_t i = 0; i < w->n_conns; i++)
        if (a->opener[i] == WORKLOAD_NO && w->conns[i].flags & WCONN_OPENED && w->conns[i].opened_ns >= 0)
            rows[(*n)++] = (struct timed){w->conns[i].opened_ns, i};
    for (uint32_t i = 0; i < w->n_exchanges; i++)
        if (a->opener[w->exchanges[i].conn] != i && w->exchanges[i].at_ns >= 0)
            rows[(*n)++] = (struct timed){w->exchanges[i].at_ns, (uint64_t)w->n_conns + i};
    time_sort(rows, *n);
    return rows;
}

static void find_arrivals(struct workload *w) {
    struct arrivals a = {.w = w};
    size_t room = (size_t)w->n_conns + 1, n;
    struct timed *rows;

    a.group = must_have(malloc(room * sizeof *a.group));
    a.next = must_have(malloc(room * sizeof *a.next));
    a.opener = must_have(malloc(room * sizeof *a.opener));
    note_openers(&a);
    a.surplus = must_have(malloc(((size_t)a.n_groups + 1) * sizeof *a.surplus));
    for (uint32_t i = 0; i < a.n_groups; i++) a.surplus[i] = (struct surplus){WORKLOAD_NO, WORKLOAD_NO};
    rows = in_order(&a, &n);
    for (size_t i = 0; i < n; i++) {
        if (rows[i].what < w->n_conns)
            add_surplus(&a, (uint32_t)rows[i].what);
        else
            find_dial(&a, &w->exchanges[rows[i].what - w->n_conns]);
    }
    for (uint32_t i = 0; i < w->n_conns; i++)
        if (a.opener[i] != WORKLOAD_NO) wanted_at(&w->exchanges[a.opener[i]], w->conns[i].opened_ns);
    idmap_clear(&a.numbers);
    free(rows);
    free(a.group);
    free(a.next);
    free(a.opener);
    free(a.surplus);
}

/* ---- the end ---- */

struct workload *workload_builder_end(struct workload_builder *b, int64_t first_ns, int64_t last_ns, const char **why) {
    struct workload *w = b->w;

    *why = b->full;
    if (b->full) return NULL;
    find_arrivals(w);
    workload_begin(w, first_ns, last_ns);
    b->w = NULL;
    return w;
}

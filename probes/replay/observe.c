/* What became of each client, in the words of the capture.
 *
 * What happened on a client's socket (connected, sent, received, closed with so many
 * bytes unread) is told to a wire analyser of its own as segments. So a replayed
 * connection has a record by the same rules as the captured one, and the two can be
 * held against each other field by field, and findings drawn from both. Addresses are
 * the captured ones, times those of the capture's clock, and requests stand in the form
 * in which they were captured: the absolute form is the replay's own doing. */
#include "run.h"

#include <stdlib.h>
#include <string.h>

#define PEEK_MAX (16u << 20)
#define SCALE    8

struct seen {
    uint64_t in, out; /* of both streams */
    int64_t last_ns;
    uint32_t isn; /* of both; another for each connection, since a 4-tuple can occur again */
    bool open, fin_in;
};

struct witness {
    struct run *run;
    struct wire *wire;
    struct seen *seen;            /* by connection */
    struct wire_record **records; /* by connection */
    uint32_t *conn_of;            /* by the wire's id */
    uint32_t n_begun;
    uint64_t n_segments;
};

struct witness *witness_new(struct run *r) {
    struct wire_limits limits = WIRE_LIMITS_DEFAULT;
    struct witness *o = calloc(1, sizeof *o);
    size_t n = r->plan->n_conns + (size_t)1;

    if (!o) abort();
    limits.lingering = 0; /* nothing comes late here */
    o->run = r;
    o->wire = wire_new(&limits);
    o->seen = calloc(n, sizeof *o->seen);
    o->records = calloc(n, sizeof *o->records);
    o->conn_of = calloc(n + 1, sizeof *o->conn_of);
    if (!o->seen || !o->records || !o->conn_of) abort();
    return o;
}

void witness_free(struct witness **op) {
    struct witness *o = *op;

    if (!o) return;
    for (uint32_t i = 0; i < o->run->plan->n_conns; i++) wire_record_free(&o->records[i]);
    wire_free(&o->wire);
    free(o->seen);
    free(o->records);
    free(o->conn_of);
    free(o);
    *op = NULL;
}

static void take_records(struct witness *o) {
    struct wire_record *r;

    while ((r = wire_next(o->wire))) {
        uint32_t conn = r->life.id <= o->n_begun ? o->conn_of[r->life.id] : 0;
        if (r->life.id > o->n_begun || o->records[conn])
            wire_record_free(&r);
        else
            o->records[conn] = r;
    }
}

/* The time at which the capture has this: its clock as far as it has been played, and never backwards. */
static int64_t stamp(const struct client *c, int64_t at_ns) {
    struct seen *s = &c->run->witness->seen[c->conn];

    if (at_ns > s->last_ns) s->last_ns = at_ns;
    return s->last_ns;
}

static void tell(const struct client *c, bool from_client, uint8_t flags, const uint8_t *data, size_t len, int64_t at_ns) {
    struct witness *o = c->run->witness;
    struct seen *s = &o->seen[c->conn];
    const struct plan_conn *p = &c->run->plan->conns[c->conn];
    const struct flow_key *f = &p->record->life.flow;
    uint64_t unread = from_client ? client_unread(c) : 0, room = p->window ? p->window : 4u << 20;
    struct wire_segment g = {
        .at_ns = stamp(c, at_ns),
        .packet = ++o->n_segments,
        .src = from_client ? f->local : f->remote,
        .dst = from_client ? f->remote : f->local,
        .payload = data,
        .captured = (uint32_t)len,
        .len = (uint32_t)len,
        .seq = s->isn + (uint32_t)(from_client ? s->out : s->in) + (flags & TCP_SYN ? 0 : 1),
        .ack = flags & TCP_ACK ? s->isn + (uint32_t)(from_client ? s->in + s->fin_in : s->out) + 1 : 0,
        .window = (uint16_t)(flags & TCP_SYN ? (room < 65535 ? room : 65535) : room > unread ? (room - unread) >> SCALE : 0),
        .flags = flags,
        .window_scale = flags & TCP_SYN ? SCALE : WIRE_NO_SCALE,
    };
    g.ident = (uint32_t)o->n_segments << 16 | 1;

    wire_feed(o->wire, &g);
    if (from_client)
        s->out += len;
    else
        s->in += len;
}

void observe_open(struct client *c) {
    struct witness *o = c->run->witness;

    o->seen[c->conn] = (struct seen){.last_ns = c->run->plan->conns[c->conn].record->evidence.first_ns,
                                         .isn = (o->n_begun + 1) * 0x9e3779b1u,
                                         .open = true};
    o->conn_of[++o->n_begun] = c->conn;
    tell(c, true, TCP_SYN, NULL, 0, c->run->at_ns);
    take_records(o);
}

void observe_connected(struct client *c) {
    tell(c, false, TCP_SYN | TCP_ACK, NULL, 0, c->run->at_ns);
    tell(c, true, TCP_ACK, NULL, 0, c->run->at_ns);
}

/* Of the sent request's bytes, the captured ones that they stand for. */
static uint64_t captured_len(const struct plan_exchange *x, uint64_t sent) {
    uint64_t behind = x->target_at + x->target_len + x->grown;

    if (sent <= x->target_at) return sent;
    return sent < behind ? x->target_at : sent - x->grown;
}

void observe_sent(struct client *c, uint32_t exchange, uint64_t from, uint64_t to) {
    const struct plan_exchange *x = &c->run->plan->exchanges[exchange];
    uint64_t head = x->head_end - x->request_off, lo = captured_len(x, from), hi = captured_len(x, to);

    if (lo < head && hi > lo) {
        uint64_t end = hi < head ? hi : head;
        tell(c, true, TCP_ACK, x->head + lo, end - lo, c->run->at_ns);
        lo = end;
    }
    if (hi > lo) tell(c, true, TCP_ACK, x->request + x->grown + lo, hi - lo, c->run->at_ns);
}

/* When the capture has the bytes of the answer that come now. */
static int64_t time_of_answer(const struct client *c) {
    const struct plan_conn *p = &c->run->plan->conns[c->conn];
    const struct plan_exchange *x;
    uint64_t off = c->read;
    uint32_t lo = 0, hi;

    if (c->run->options.speed > 0 || c->exchange >= p->n_exchanges) return c->run->at_ns;
    x = &c->run->plan->exchanges[p->first_exchange + c->exchange];
    if (x->n_parts == 0) return c->run->at_ns;
    for (hi = x->n_parts - 1; lo < hi;) { /* the last part that begins at or before off */
        uint32_t mid = lo + (hi - lo + 1) / 2;
        if (x->parts[mid].off <= off)
            lo = mid;
        else
            hi = mid - 1;
    }
    return x->parts[lo].at_ns;
}

static void received(struct client *c, const uint8_t *data, size_t len) {
    int64_t at_ns = time_of_answer(c);

    tell(c, false, TCP_ACK, data, len, at_ns);
    tell(c, true, TCP_ACK, NULL, 0, at_ns);
}

void observe_received(struct client *c, const uint8_t *data, size_t len) {
    received(c, data, len);
}

void observe_proxy_end(struct client *c, bool reset) {
    struct seen *s = &c->run->witness->seen[c->conn];

    tell(c, false, reset ? TCP_RST | TCP_ACK : TCP_FIN | TCP_ACK, NULL, 0, c->run->at_ns);
    if (reset) return;
    s->fin_in = true;
    tell(c, true, TCP_ACK, NULL, 0, c->run->at_ns);
}

/* What the kernel has and nobody read was received all the same: a capture has it acknowledged. */
static void observe_unread(struct client *c) {
    uint64_t unread = client_unread(c);
    size_t len = unread < PEEK_MAX ? (size_t)unread : PEEK_MAX;
    uint8_t *bytes;
    ssize_t n;

    if (len == 0) return;
    bytes = malloc(len);
    if (!bytes) abort();
    n = recv(c->fd, bytes, len, MSG_PEEK | MSG_DONTWAIT);
    if (n > 0) received(c, bytes, (size_t)n);
    free(bytes);
}

void observe_close(struct client *c, bool reset) {
    bool unread = client_unread(c) > 0;

    observe_unread(c);
    tell(c, true, reset || unread ? TCP_RST | TCP_ACK : TCP_FIN | TCP_ACK, NULL, 0, c->run->at_ns);
    c->run->witness->seen[c->conn].open = false;
}

void witness_finish(struct witness *o) {
    for (uint32_t i = 0; i < o->run->plan->n_conns; i++)
        if (o->seen[i].open && o->run->clients[i].state == CLIENT_OPEN && !o->run->clients[i].eof)
            observe_unread(&o->run->clients[i]);
    wire_finish(o->wire);
    take_records(o);
}

struct wire_record *witness_record(const struct witness *o, uint32_t conn) {
    return o->records[conn];
}

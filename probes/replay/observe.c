/* What the clients and the stub origins tell their witnesses.
 *
 * Addresses are the captured ones and times those of the capture's clock, and requests
 * stand in the form in which they were captured: the absolute form is the replay's own doing. */
#include "run.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define PEEK_MAX (16u << 20)

void observe_open(struct client *c) {
    const struct plan_conn *p = &c->run->plan->conns[c->conn];

    struct flow_key flow = p->record->life.flow;

    flow.local.port = (uint16_t)(c->conn % 65535 + 1); /* a captured port may be used again before this one is free */
    if (flow.local.port == flow.remote.port) flow.local.port = 0; /* the same end twice would be no connection */
    witness_open(&c->run->clients_seen, &c->told, &flow, c->conn, p->window, c->run->schedule.at_ns);
}

void observe_connected(struct client *c) {
    witness_accepted(&c->run->clients_seen, &c->told, c->run->schedule.at_ns);
}

/* Of the sent request's bytes, the captured ones that they stand for. */
static uint64_t captured_len(const struct plan_exchange *x, uint64_t sent) {
    uint64_t behind = x->target_at + x->target_len + x->grown;

    if (sent <= x->target_at) return sent;
    return sent < behind ? x->target_at : sent - x->grown;
}

void observe_sent(struct client *c, uint32_t exchange, uint64_t from, uint64_t to) {
    const struct plan_exchange *x = &c->run->plan->exchanges[exchange];
    struct witness *w = &c->run->clients_seen;
    uint64_t head = x->head_end - x->request_off, lo = captured_len(x, from), hi = captured_len(x, to);

    if (lo < head && hi > lo) {
        uint64_t end = hi < head ? hi : head;
        witness_data(w, &c->told, true, x->head + lo, end - lo, 0, c->run->schedule.at_ns);
        lo = end;
    }
    if (hi > lo) witness_data(w, &c->told, true, x->request + x->grown + lo, hi - lo, 0, c->run->schedule.at_ns);
}

/* When the capture has these bytes of an answer. */
static int64_t time_of_answer(const struct run *r, const struct plan_exchange *x, uint64_t off) {
    uint32_t lo = 0, hi;

    if (r->options.speed > 0 || x->n_parts == 0) return r->schedule.at_ns;
    for (hi = x->n_parts - 1; lo < hi;) { /* the last part that begins at or before off */
        uint32_t mid = lo + (hi - lo + 1) / 2;
        if (x->parts[mid].off <= off)
            lo = mid;
        else
            hi = mid - 1;
    }
    return x->parts[lo].at_ns;
}

/* How long a window is shut depends on time, which leaps in order: there it is shut where the captured one was, for as
 * long as a rule asks. */
#define SHUT_NS MSEC(10)
static uint64_t told_unread(const struct client *c, uint64_t unread) {
    const struct plan_conn *p = &c->run->plan->conns[c->conn];
    uint64_t open = c->told.window / 2;

    return c->run->options.speed > 0 || p->record->evidence.local.zero_window_ns >= SHUT_NS || unread < open ? unread
                                                                                                             : open;
}

static void tell_received(struct client *c, const uint8_t *data, size_t len, uint64_t unread) {
    const struct plan_conn *p = &c->run->plan->conns[c->conn];
    int64_t at_ns = c->run->schedule.at_ns;

    if (c->exchange < p->n_exchanges)
        at_ns = time_of_answer(c->run, &c->run->plan->exchanges[p->first_exchange + c->exchange], c->read);
    witness_data(&c->run->clients_seen, &c->told, false, data, len, told_unread(c, unread), at_ns);
}

void observe_received(struct client *c, const uint8_t *data, size_t len, uint64_t unread) {
    size_t known = c->told_ahead < len ? (size_t)c->told_ahead : len;

    c->told_ahead -= known;
    if (len > known) tell_received(c, data + known, len - known, unread);
}

void observe_proxy_end(struct client *c, bool reset) {
    witness_ended(&c->run->clients_seen, &c->told, false, reset, c->run->schedule.at_ns);
}

/* What the kernel has and nobody read was received all the same: a capture has it acknowledged. */
void observe_unread(struct client *c) {
    uint64_t unread = client_unread(c);
    size_t len = unread < PEEK_MAX ? (size_t)unread : PEEK_MAX;
    uint8_t *bytes;
    ssize_t n;

    if (len <= c->told_ahead) return;
    bytes = malloc(len);
    if (!bytes) abort();
    n = recv(c->fd, bytes, len, MSG_PEEK | MSG_DONTWAIT);
    if (n > 0 && (uint64_t)n > c->told_ahead) {
        tell_received(c, bytes + c->told_ahead, (size_t)((uint64_t)n - c->told_ahead), unread);
        c->told_ahead = (uint64_t)n;
    }
    free(bytes);
}

void observe_close(struct client *c, bool reset) {
    bool unread = client_unread(c) > 0;

    observe_unread(c);
    if (c->shut && unread)
        witness_abandoned(&c->run->clients_seen, &c->told, c->run->schedule.at_ns);
    else
        witness_ended(&c->run->clients_seen, &c->told, true, reset || (unread && !c->shut_late),
                      c->run->schedule.at_ns);
}

void observe_finish(struct run *r) {
    for (uint32_t i = 0; i < r->plan->n_conns; i++)
        if (r->clients[i].state == CLIENT_OPEN && r->clients[i].told.open) observe_unread(&r->clients[i]);
    witness_finish(&r->clients_seen, r->plan->end_ns);
    witness_finish(&r->origins_seen, r->plan->end_ns);
}

/* ---- the origins' side ---- */

/* The proxy's connection, told as one to the captured origin. It begins with its first request: only then is it
 * known which origin that is. */
void observe_request(struct run *r, struct told *t, const struct endpoint *proxy, uint32_t ref, uint32_t exchange) {
    const struct plan_exchange *x = &r->plan->exchanges[exchange];
    const struct flow_key flow = {*proxy, r->plan->conns[x->conn].record->life.flow.remote};
    int64_t at_ns = r->options.speed > 0 ? r->schedule.at_ns : x->request_ns;

    if (!t->last_ns) {
        witness_open(&r->origins_seen, t, &flow, ref, 0, at_ns);
        witness_accepted(&r->origins_seen, t, at_ns);
    }
    witness_data(&r->origins_seen, t, true, x->head, x->head_end - x->request_off, 0, at_ns);
}

void observe_request_body(struct run *r, struct told *t, const uint8_t *data, size_t len) {
    if (t->last_ns) witness_data(&r->origins_seen, t, true, data, len, 0, r->schedule.at_ns);
}

void observe_answer(struct run *r, struct told *t, uint32_t exchange, uint64_t off, const uint8_t *data, size_t len) {
    witness_data(&r->origins_seen, t, false, data, len, 0, time_of_answer(r, &r->plan->exchanges[exchange], off));
}

void observe_origin_ended(struct run *r, struct told *t, bool by_proxy, bool reset) {
    if (t->last_ns) witness_ended(&r->origins_seen, t, by_proxy, reset, r->schedule.at_ns);
}

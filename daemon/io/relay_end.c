/* How a relay ends: completion, failure, a client that leaves, time that is up. */
#include "relay.h"

#include "facts.h"
#include "core/retry.h"
#include "live_driver.h"
#include "record/json_out.h"
#include "tunnel.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OWNER(d, member) ((struct relay *)((char *)(d)-offsetof(struct relay, member)))

static void stop_deadlines(struct relay *r) {
    struct server *s = r->s;
    deadline_stop(&s->response_q, &r->response_d);
    deadline_stop(&s->expect_q, &r->expect_d);
    deadline_stop(&s->grace_q, &r->grace_d);
    deadline_stop(&s->drain_q, &r->drain_d);
}

static void stop_up(struct relay *r) {
    if (r->up_waiting) event_del(&r->up_event);
    r->up_waiting = false;
}

#define HEAD_KEPT 4096

static void relay_spare(struct server *s, void *object) {
    struct relay *r = object;
    if (r->head.room > HEAD_KEPT) bytes_free(&r->head);
    SLIST_INSERT_HEAD(&s->spare_relays, (struct relay *)object, spare);
}

void relay_free_spares(struct server *s) {
    for (struct relay *r; (r = SLIST_FIRST(&s->spare_relays));) {
        SLIST_REMOVE_HEAD(&s->spare_relays, spare);
        bytes_free(&r->head);
        free(r);
    }
}

/* Lets go of both sides and of all that was held for them. */
void relay_over(struct relay *r) {
    struct server *s = r->s;
    if (r->state == RELAY_OVER) return;
    live_cancel(r);
    stop_deadlines(r);
    stop_up(r);
    if (r->down_waiting) event_del(&r->down_event);
    bytes_free(&r->up);
    bytes_free(&r->down);
    server_pipe_back(s, &r->pipe);
    if (r->client) r->client->relay = NULL;
    r->client = NULL;
    r->state = RELAY_OVER;
    s->gauge.requests_running--;
    s->gauge.last_request = s->now;
    server_bury(s, &r->buried, relay_spare, r);
}

enum close_phase relay_phase(const struct relay *r) {
    const struct upstream_conn *u = r->upstream;
    bool between = !u || !u->h1 || h1_between(u->h1);
    return exchange_phase(&r->x, !between && !r->x.status, u && u->h1 && r->x.status && h1_after_data(u->h1));
}

/* The connection to the origin ends here and now, because of `why`. */
void relay_drop_upstream(struct relay *r, enum close_reason why) {
    struct upstream_conn *u = r->upstream;
    if (!u) return;
    enum close_phase phase = relay_phase(r);
    stop_up(r);
    stop_deadlines(r);
    r->upstream = NULL;
    u->relay = NULL;
    upstream_lost(u, why, phase);
}

/* The exchange is over and the connection good: back to the pool. */
static void give_back(struct relay *r) {
    struct upstream_conn *u = r->upstream;
    stop_up(r);
    stop_deadlines(r);
    r->upstream = NULL;
    u->relay = NULL;
    server_h1_back(r->s, H1_RESPONSE, &u->h1);
    upstream_read_on(u);
    live_put(u);
}

/* Bytes lie behind the response: Go returns the connection first, which may evict
 * another or promise it to a waiter, and closes it the moment it looks (R75). The
 * waiter then looks for another. If the pool refuses it, that is its reason. */
static void give_back_and_close(struct relay *r, enum close_reason why) {
    struct server *s = r->s;
    struct upstream_conn *u = r->upstream;
    give_back(r);
    if (pool_is_reused(s->pool, u->id)) upstream_lost(u, why, PHASE_IDLE);
}

/* Nobody read it while the request was being finished: what came meanwhile is of no
 * exchange, and must be seen before a request can be given the connection (R171). */
static void give_back_and_look(struct relay *r) {
    struct server *s = r->s;
    struct upstream_conn *u = r->upstream;
    give_back(r);
    if (stream_unread(&u->stream) && pool_is_reused(s->pool, u->id)) upstream_look(u);
}

/* The response is complete: the connection is kept, or not. False if that depends
 * on the request, which is not written yet. */
static bool part_with_origin(struct relay *r, bool grace_over) {
    enum close_reason why = REASON_NONE;
    switch (exchange_keep(&r->x, grace_over, r->left_over, &why)) {
    case KEEP_WAIT_WRITE:
        return false;
    case KEEP_YES:
        if (r->state == RELAY_GRACE)
            give_back_and_look(r);
        else
            give_back(r);
        break;
    case KEEP_NO:
        r->upstream->upload_cut = r->x.write != WRITE_DONE;
        if (why == REASON_UNSOLICITED_RESPONSE)
            give_back_and_close(r, why);
        else
            relay_drop_upstream(r, why);
        break;
    }
    return true;
}

/* The response is complete, on our side of it: called when it is, and again in RELAY_GRACE. */
void relay_complete(struct relay *r) {
    struct server *s = r->s;
    struct upstream_conn *u = r->upstream;
    bool again = r->state == RELAY_GRACE;
    if (!again) {
        r->x.body_eof = true;
        server_event(s, u->life, EV_BODY_EOF, r->x.body_read);
        if (r->client) server_event(s, r->client->life, EV_BODY_EOF, r->body_down);
    }
    if (!part_with_origin(r, again && !r->grace_d.at && r->x.write != WRITE_DONE)) {
        r->state = RELAY_GRACE;
        upstream_read_off(u); /* as in Go: what comes now is of no exchange, and is looked at once it is idle */
        deadline_start(&s->grace_q, &r->grace_d, s->now);
        return;
    }
    if (!r->client) {
        relay_over(r);
        return;
    }
    r->state = RELAY_FLUSHING;
    relay_settle(r);
}

void relay_grace_expired(struct deadline *d, void *server) {
    (void)server;
    relay_complete(OWNER(d, grace_d));
}

/* Done with the origin: when the client has taken everything, its connection goes on or ends. */
void relay_settle(struct relay *r) {
    struct client_conn *c = r->client;
    if (relay_held_down(r)) return;
    if (r->upload == UPLOAD_OPEN && r->after == AFTER_NEXT) {
        r->state = RELAY_DISCARDING; /* the client's next request is behind the rest of this one's body */
        bytes_free(&r->up);
        deadline_start(&r->s->idle_q, &c->deadline, r->s->now);
        client_read_on(c);
        return;
    }
    if (r->state == RELAY_DISCARDING) deadline_stop(&r->s->idle_q, &c->deadline);
    enum after after = (enum after)r->after;
    enum close_reason why = (enum close_reason)r->after_reason;
    relay_over(r);
    switch (after) {
    case AFTER_NEXT:
        client_next(c);
        break;
    case AFTER_FINISH:
        client_finish(c, why);
        break;
    case AFTER_CUT:
        client_close(c, why, PHASE_IN_BODY, false);
        break;
    case AFTER_RESET:
        client_close(c, why, PHASE_IN_BODY, true);
        break;
    }
}

void relay_fail(struct relay *r, enum reply_kind kind, const char *detail, enum close_reason why) {
    struct server *s = r->s;
    if (!r->client) {
        relay_over(r);
        return;
    }
    live_cancel(r);
    r->after_reason = (uint8_t)why;
    if (r->answered) {
        /* Too late for another answer: what came goes on, and then the end shows that it is not all. */
        bool complete_looking = r->down_framing == DOWN_CLOSE;
        r->after = complete_looking ? AFTER_RESET : AFTER_CUT;
    } else {
        bool keep = r->client_keeps && r->upload != UPLOAD_OPEN && why != REASON_BAD_REQUEST;
        struct json_out o = {0};
        reply_write(&o, kind, detail, s->via, reply_date(s->now + s->to_wall_ns), !keep, r->head_only);
        struct conn_event ev = {
            .at_ns = s->now, .kind = EV_RESPONSE, .code = (uint16_t)reply_status(kind), .value = UNKNOWN_BYTES};
        ledger_apply(s->ledger, r->client->life, &ev);
        facts_response(s, r->client->life, ev.code, FRAMING_LENGTH, UNKNOWN_BYTES, !keep, r->head_only);
        r->answered = true;
        r->after = keep ? AFTER_NEXT : AFTER_FINISH;
        r->state = RELAY_FLUSHING;
        struct iovec iov = {o.data, o.len};
        relay_send_down(r, &iov, 1);
        json_out_free(&o);
        if (r->state == RELAY_OVER) return;
        server_event(s, r->client->life, EV_BODY_EOF, 0);
    }
    r->state = RELAY_FLUSHING;
    relay_settle(r);
}

/* Sends the request again on another connection (section 7.1), if it may. */
static bool retry(struct relay *r, enum close_reason why) {
    struct retry_facts f = {
        .has_host = true,
        .conn_reused = pool_is_reused(r->s->pool, r->upstream->id),
        .nothing_written = r->nothing_written,
        .has_body = r->has_body,
        .can_rewind = false,
        .safe_method = r->safe_method,
        .idempotency_key = r->idempotency_key,
        .failure = r->x.first_byte                    ? FAILED_OTHER
                   : why == REASON_SERVER_CLOSED_IDLE ? FAILED_SERVER_CLOSED
                                                      : FAILED_READ,
    };
    if (!r->client || r->answered || retry_decide(&f) != RETRY_YES) return false;
    server_event(r->s, r->upstream->life, EV_RETRIED, 0);
    relay_drop_upstream(r, why);
    r->head.off = 0;
    r->up.off = 0;
    live_cancel(r); /* that attempt's want is over */
    live_want(r);
    return true;
}

/* Reading from the origin ended, how, while the relay had the connection. */
void relay_upstream_failed(struct relay *r, enum io_result how) {
    struct server *s = r->s;
    struct upstream_conn *u = r->upstream;
    bool eof = how == IO_EOF || how == IO_CLOSE_NOTIFY;
    if (how == IO_CLOSE_NOTIFY) server_event(s, u->life, EV_CLOSE_NOTIFY, 0);
    if (how == IO_EOF) server_event(s, u->life, EV_FIN_RECEIVED, 0);
    if (how == IO_RESET) server_event(s, u->life, EV_RST_RECEIVED, 0);
    /* TLS: only close_notify ends an until-EOF body; a bare FIN may be an attacker's (RFC 9112, 9.8). */
    bool ends_well = how == IO_CLOSE_NOTIFY || (how == IO_EOF && !u->stream.ssl);
    if (ends_well && r->x.status && h1_eof(u->h1) == H1_DONE) {
        if (r->client && r->down_framing == DOWN_ENCHUNK) {
            struct iovec last = {(void *)"0\r\n\r\n", 5};
            relay_send_down(r, &last, 1);
            if (r->upstream != u) return;
        }
        relay_complete(r);
        return;
    }
    enum close_reason why = exchange_read_end(&r->x, eof);
    if (how == IO_ERROR && u->stream.ssl && u->stream.tls_failed) why = REASON_TLS_ERROR;
    if (retry(r, why)) return;
    char detail[256];
    const char *when = r->x.status       ? "in the middle of its answer's body"
                       : r->x.first_byte ? "in the middle of its answer's head"
                                         : "before it answered";
    snprintf(detail, sizeof detail, "the origin %s the connection %s",
             how == IO_RESET   ? "reset"
             : how == IO_ERROR ? "broke"
                               : "closed",
             when);
    if (how == IO_ERROR) snprintf(detail, sizeof detail, "reading the answer: %s", stream_error(&u->stream));
    relay_drop_upstream(r, why);
    relay_fail(r, r->x.first_byte && !r->x.status && eof ? REPLY_MALFORMED : REPLY_TERMINATED, detail, why);
}

/* Writing to the origin failed. An answer may lie there already: it is better than an error of ours (T121). */
void relay_write_failed(struct relay *r) {
    struct upstream_conn *u = r->upstream;
    r->x.write = WRITE_FAILED;
    stop_up(r);
    if (r->x.body_eof) { /* the answer is whole: only the connection is lost */
        relay_complete(r);
        return;
    }
    if (!r->nothing_written && !r->x.status) {
        r->up.off = r->up.len; /* nothing more goes there */
        relay_readable(r);
        if (r->upstream != u) return;
    }
    if (retry(r, REASON_WRITE_ERROR)) return;
    char detail[160];
    snprintf(detail, sizeof detail, "writing the request: %s", stream_error(&u->stream));
    if (u->stream.reset) server_event(r->s, u->life, EV_RST_RECEIVED, 0);
    relay_drop_upstream(r, REASON_WRITE_ERROR);
    relay_fail(r, REPLY_WRITE_ERROR, detail, REASON_WRITE_ERROR);
}

/* The client left; what it leaves behind of the answer. */
static void drop_or_drain(struct relay *r) {
    struct server *s = r->s;
    struct upstream_conn *u = r->upstream;
    bool in_body = r->x.status && !r->x.body_eof;
    if (r->x.body_eof && r->state == RELAY_RUNNING) { /* its leaving is no matter between us and the origin (R69) */
        server_event(s, u->life, EV_BODY_EOF, r->x.body_read);
        if (part_with_origin(r, false)) return;
    }
    if (in_body && s->conf->pool.profile == POOL_GO1_27 && r->upload != UPLOAD_OPEN && exchange_may_drain(&r->x)) {
        r->client->relay = NULL;
        r->client = NULL;
        r->state = RELAY_DRAINING;
        if (r->down_waiting) event_del(&r->down_event);
        r->down_waiting = false;
        bytes_free(&r->down);
        server_pipe_back(s, &r->pipe);
        deadline_start(&s->drain_q, &r->drain_d, s->now);
        upstream_read_on(u);
        return;
    }
    if (in_body) server_event(s, u->life, EV_EARLY_CLOSE, r->x.body_read);
    r->x.canceled = true;
    relay_drop_upstream(r, in_body                                   ? REASON_EARLY_CLOSE
                           : r->upload == UPLOAD_OPEN && r->has_body ? REASON_WRITE_ERROR
                                                                     : REASON_CANCELED);
}

/* Draining took too long, or too much came. */
void relay_give_up_drain(struct relay *r) {
    server_event(r->s, r->upstream->life, EV_EARLY_CLOSE, r->x.body_read);
    relay_drop_upstream(r, REASON_EARLY_CLOSE);
    relay_over(r);
}

void relay_drain_expired(struct deadline *d, void *server) {
    (void)server;
    relay_give_up_drain(OWNER(d, drain_d));
}

/* Body bytes that the client's socket took: what is still held here it never saw. */
static uint64_t taken_down(const struct relay *r) {
    uint64_t held = bytes_left(&r->down) + (r->pipe ? r->pipe->held : 0);
    return r->body_down > held ? r->body_down - held : 0;
}

void relay_client_gone(struct relay *r, enum io_result how) {
    struct server *s = r->s;
    struct client_conn *c = r->client;
    bool mid_answer = r->answered && (r->state != RELAY_DISCARDING);
    enum close_phase phase = r->answered ? PHASE_IN_BODY : PHASE_IN_REQUEST;
    if (r->state == RELAY_DISCARDING) phase = PHASE_IDLE;
    if (how == IO_EOF) server_event(s, c->life, EV_FIN_RECEIVED, 0);
    if (how == IO_RESET) server_event(s, c->life, EV_RST_RECEIVED, 0);
    if (how == IO_EOF && r->state == RELAY_FLUSHING && r->after != AFTER_CUT && r->after != AFTER_RESET) {
        /* The origin is done: as in Go, the rest goes out to whoever still reads. */
        r->after = AFTER_FINISH;
        r->after_reason = REASON_CLIENT_CLOSED;
        return;
    }
    if (mid_answer) server_event(s, c->life, EV_EARLY_CLOSE, taken_down(r));
    if (r->state == RELAY_DIALING) dial_cancel(&r->dial, REASON_CANCELED);
    if (r->upstream) drop_or_drain(r);
    bool draining = r->state == RELAY_DRAINING;
    if (how == IO_EOF && !r->answered && !draining && r->upload != UPLOAD_OPEN) {
        /* Only its sending side is closed, perhaps: Go takes that for gone, and says so (T160). */
        live_cancel(r);
        r->client_keeps = false;
        c->left_waiting = true;
        relay_fail(r, REPLY_CLIENT_GONE,
                   "a client that half-closes its connection is taken for gone, as by Go's server",
                   REASON_CLIENT_CLOSED);
        return;
    }
    if (!draining) relay_over(r);
    client_close(c, REASON_CLIENT_CLOSED, phase, false);
}

void relay_response_expired(struct deadline *d, void *server) {
    (void)server;
    struct relay *r = OWNER(d, response_d);
    relay_drop_upstream(r, REASON_RESPONSE_HEADER_TIMEOUT);
    relay_fail(r, REPLY_RESPONSE_TIMEOUT, "no response head within pool.response_header_timeout",
               REASON_RESPONSE_HEADER_TIMEOUT);
}

void relay_dial_failed(struct relay *r, enum dial_result result, const char *text) {
    static const enum reply_kind replies[] = {
        [DIAL_OK] = REPLY_INTERNAL,
        [DIAL_DNS_ERROR] = REPLY_DNS_ERROR,
        [DIAL_DNS_TIMEOUT] = REPLY_DNS_TIMEOUT,
        [DIAL_REFUSED] = REPLY_REFUSED,
        [DIAL_UNREACHABLE] = REPLY_UNREACHABLE,
        [DIAL_TIMEOUT] = REPLY_DIAL_TIMEOUT,
        [DIAL_LOOP] = REPLY_LOOP,
        [DIAL_DENIED] = REPLY_DENIED_DESTINATION,
        [DIAL_NO_SOCKET] = REPLY_LIMIT,
        [DIAL_TLS_CERTIFICATE] = REPLY_TLS_CERTIFICATE,
        [DIAL_TLS_ALERT] = REPLY_TLS_ALERT,
        [DIAL_TLS_ERROR] = REPLY_TLS_ERROR,
        [DIAL_TLS_TIMEOUT] = REPLY_TLS_TIMEOUT,
    };
    r->dial = NULL;
    live_cancel(r);
    relay_fail(r, replies[result], text, REASON_DIAL_ERROR);
}

void relay_shutdown(struct relay *r) {
    struct client_conn *c = r->client;
    if (r->dial) dial_cancel(&r->dial, REASON_SHUTDOWN);
    if (r->upstream) {
        if (r->x.status && !r->x.body_eof) server_event(r->s, r->upstream->life, EV_EARLY_CLOSE, r->x.body_read);
        relay_drop_upstream(r, REASON_SHUTDOWN);
    }
    bool cut = r->answered;
    relay_over(r);
    if (c) client_close(c, REASON_SHUTDOWN, cut ? PHASE_IN_BODY : PHASE_IN_REQUEST, cut);
}

/* CONNECT: a connection of its own, beside the pool. */
static void connected(struct server *s, void *arg, enum dial_result result, const char *text, struct stream *stream,
                      struct lifecycle *life) {
    struct relay *r = arg;
    if (result != DIAL_OK) {
        relay_dial_failed(r, result, text);
        return;
    }
    struct client_conn *c = r->client;
    r->dial = NULL;
    struct upstream_conn *u = upstream_adopt(s, life->id, stream, life);
    struct json_out o = {0};
    struct conn_event ev = {.at_ns = s->now, .kind = EV_RESPONSE, .code = 200, .value = UNKNOWN_BYTES};
    ledger_apply(s->ledger, c->life, &ev);
    server_event(s, life, EV_TUNNEL, 0);
    server_event(s, c->life, EV_TUNNEL, 0);
    reply_connected(&o, s->via);
    relay_over(r);
    tunnel_start(s, TUNNEL_CONNECT, c, u, o.data, o.len, o.len, c->in.p + c->in.off, bytes_left(&c->in));
    json_out_free(&o);
}

void relay_connect(struct relay *r) {
    struct server *s = r->s;
    conn_id id = pool_new_id(s->pool);
    struct lifecycle *life = ledger_open(s->ledger, SIDE_UPSTREAM, id, s->now);
    struct connect_key key = {.proxy = "", .scheme = "connect", .addr = r->target.addr};
    ledger_set_key(s->ledger, life, &key);
    facts_dialing(s, life, key.addr);
    struct dial_target target = {.host = r->target.host, .port = r->target.port, .addr = r->target.addr};
    r->state = RELAY_DIALING;
    r->dial = dial_start(s, id, &target, life, connected, r);
}

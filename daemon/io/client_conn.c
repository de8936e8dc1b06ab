#include "client_conn.h"

#include "relay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define READ_SIZE  (16u << 10)  /* one read of a request */
#define LINGER_MAX (512u << 10) /* bytes thrown away before the patience with a client ends */

static void parse(struct client_conn *c, const uint8_t *data, size_t len);

static void client_free(struct server *s, void *object) {
    struct client_conn *c = object;
    server_h1_back(s, H1_REQUEST, &c->h1);
    bytes_free(&c->in);
    free(c);
}

void client_read_on(struct client_conn *c) {
    if (c->reading || c->stream.fd < 0) return;
    c->reading = true;
    event_add(&c->event, NULL);
}

void client_read_off(struct client_conn *c) {
    if (!c->reading) return;
    c->reading = false;
    event_del(&c->event);
}

static void stop_deadline(struct client_conn *c) {
    struct server *s = c->s;
    struct deadline_queue *q = c->state == CLIENT_HEAD     ? &s->head_q
                               : c->state == CLIENT_LINGER ? &s->linger_q
                                                           : &s->idle_q;
    deadline_stop(q, &c->deadline);
}

uint64_t client_untaken(const struct lifecycle *l, const struct stream_end *end) {
    bool rst = (end->rst_received || l->rst_received) && !end->fin_received && !l->fin_received;
    if (!end->acked_known) return 0;
    if (rst) return end->unsent;
    return end->acked < l->bytes_out ? l->bytes_out - end->acked : 0;
}

/* The whole answer had gone into our kernel, so that the exchange looked finished;
 * but the client ended the connection before its kernel had taken all of it. */
static enum close_phase real_phase(struct client_conn *c, struct stream_end *end, enum close_phase phase) {
    struct lifecycle *l = c->life;
    bool ended = end->rst_received || l->rst_received || end->fin_received || l->fin_received;
    uint64_t untaken = client_untaken(l, end);
    uint64_t unacked = end->acked_known && end->acked < l->bytes_out ? l->bytes_out - end->acked : 0;
    if (phase == PHASE_IN_BODY && ended) end->untaken = untaken;
    if (phase != PHASE_IDLE || !ended || !unacked || !l->responses || l->opaque) return phase;
    if (c->left_waiting) return PHASE_IN_REQUEST; /* it gave up its request, not our words about that */
    end->answer_lost = untaken > l->body_read;
    if (end->answer_lost) return PHASE_IN_REQUEST; /* they crossed on their way */
    end->all_left = !untaken;
    server_event(c->s, l, EV_EARLY_CLOSE, l->body_read > unacked ? l->body_read - unacked : 0);
    return PHASE_IN_BODY;
}

void client_close(struct client_conn *c, enum close_reason why, enum close_phase phase, bool reset) {
    struct server *s = c->s;
    if (c->state == CLIENT_GONE) return;
    struct stream_end end;
    stop_deadline(c);
    client_read_off(c);
    if (reset) {
        stream_reset_at_close(&c->stream);
        server_event(s, c->life, EV_RST_SENT, 0);
    }
    stream_close(&c->stream, &end);
    phase = real_phase(c, &end, phase);
    server_closed(s, c->life, why, phase, &end);
    c->state = CLIENT_GONE;
    TAILQ_REMOVE(&s->clients, c, link);
    s->gauge.clients_open--;
    server_bury(s, &c->buried, client_free, c);
}

/* Nothing is under way: gives back what an idle connection does not need. */
static void become_idle(struct client_conn *c) {
    struct server *s = c->s;
    c->state = CLIENT_IDLE;
    server_h1_back(s, H1_REQUEST, &c->h1);
    bytes_free(&c->in);
    deadline_start(&s->idle_q, &c->deadline, s->now);
    client_read_on(c);
}

void client_next(struct client_conn *c) {
    server_event(c->s, c->life, EV_PUT_IDLE, 0);
    if (bytes_left(&c->in) == 0) {
        become_idle(c);
        return;
    }
    /* A pipelined request is here already. */
    struct bytes in = c->in;
    c->in = (struct bytes){0};
    c->state = CLIENT_HEAD;
    deadline_start(&c->s->head_q, &c->deadline, c->s->now);
    parse(c, in.p + in.off, bytes_left(&in));
    bytes_free(&in);
    if (c->state == CLIENT_HEAD) client_read_on(c);
}

void client_finish(struct client_conn *c, enum close_reason why) {
    struct server *s = c->s;
    c->close_reason = (uint8_t)why;
    if (c->half_closed) { /* its FIN is here: ours ends it */
        client_close(c, why, PHASE_IDLE, false);
        return;
    }
    bytes_free(&c->in);
    server_h1_back(s, H1_REQUEST, &c->h1);
    c->state = CLIENT_LINGER;
    stream_shut(&c->stream);
    server_event(s, c->life, EV_FIN_SENT, 0);
    deadline_start(&s->linger_q, &c->deadline, s->now);
    client_read_on(c);
}

static void linger_read(struct client_conn *c) {
    struct server *s = c->s;
    size_t got;
    enum io_result res = stream_read(&c->stream, s->scratch, s->scratch_size, &got);
    if (res == IO_AGAIN) return;
    if (res == IO_OK) {
        server_event(s, c->life, EV_BYTES_IN, got);
        c->lingered += (uint32_t)got;
        if (c->lingered <= LINGER_MAX) return;
    }
    if (res == IO_RESET) server_event(s, c->life, EV_RST_RECEIVED, 0);
    client_close(c, (enum close_reason)c->close_reason, PHASE_IDLE, false);
}

void client_linger_expired(struct deadline *d, void *server) {
    (void)server;
    struct client_conn *c = (struct client_conn *)((char *)d - offsetof(struct client_conn, deadline));
    client_close(c, (enum close_reason)c->close_reason, PHASE_IDLE, false);
}

/* Between requests, or with the rest of a request still to come that is answered already. */
void client_idle_expired(struct deadline *d, void *server) {
    (void)server;
    struct client_conn *c = (struct client_conn *)((char *)d - offsetof(struct client_conn, deadline));
    if (c->relay) relay_over(c->relay);
    client_close(c, REASON_CLIENT_TIMEOUT, PHASE_IDLE, false);
}

void client_head_expired(struct deadline *d, void *server) {
    (void)server;
    struct client_conn *c = (struct client_conn *)((char *)d - offsetof(struct client_conn, deadline));
    relay_refuse(c, REPLY_HEAD_TIMEOUT, "the request head was not complete within proxy.header_timeout");
}

/* The client's side ended between requests, or inside a head. */
static void ended(struct client_conn *c, enum io_result res) {
    struct server *s = c->s;
    if (res == IO_EOF) server_event(s, c->life, EV_FIN_RECEIVED, 0);
    if (res == IO_RESET) server_event(s, c->life, EV_RST_RECEIVED, 0);
    client_close(c, REASON_CLIENT_CLOSED, c->state == CLIENT_HEAD ? PHASE_IN_REQUEST : PHASE_IDLE, false);
}

static void refuse(struct client_conn *c) {
    uint64_t at;
    enum h1_error e = h1_error(c->h1, &at);
    stop_deadline(c);
    relay_refuse(c, e == H1_E_HEAD_TOO_LARGE ? REPLY_HEAD_TOO_LARGE : REPLY_BAD_REQUEST, h1_error_text(e));
}

/* While a relay has it: may it be read? What is pipelined waits, bounded, and hides
 * its end meanwhile, as in Go (R164). */
static void watch(struct client_conn *c) {
    const struct relay *r = c->relay;
    bool wants = r->upload == UPLOAD_OPEN ? relay_takes_upload(r) : bytes_left(&c->in) < READ_SIZE;
    if (wants && !c->half_closed)
        client_read_on(c);
    else
        client_read_off(c);
}

/* New bytes, not yet in c->in (which may hold the head's beginning). Returns how
 * many are left of them after a request that was answered at once. */
static size_t parse_one(struct client_conn *c, const uint8_t *data, size_t len) {
    struct server *s = c->s;
    if (!c->h1) c->h1 = server_h1(s, H1_REQUEST);
    size_t used;
    enum h1_step step = h1_feed(c->h1, data, len, &used);
    if (step == H1_MORE) {
        bytes_add(&c->in, data, len);
        if (c->state == CLIENT_IDLE) {
            deadline_stop(&s->idle_q, &c->deadline);
            c->state = CLIENT_HEAD;
            deadline_start(&s->head_q, &c->deadline, s->now);
        }
        return 0;
    }
    if (step != H1_HEAD) {
        refuse(c);
        return 0;
    }
    stop_deadline(c);
    const struct h1_head *head = h1_head(c->h1);
    struct bytes before = c->in;
    c->in = (struct bytes){0};
    const uint8_t *end = data + used;
    if (before.len) {
        bytes_add(&before, data, used);
        end = before.p + before.len;
    }
    relay_begin(c, head, end - head->bytes);
    bytes_free(&before);
    size_t rest = len - used;
    if (c->state == CLIENT_BUSY && rest) {
        size_t body = relay_upload(c->relay, data + used, rest);
        used += body;
        rest -= body;
    }
    if (c->state == CLIENT_IDLE) return rest;
    if (c->state == CLIENT_BUSY) {
        bytes_add(&c->in, data + used, rest);
        watch(c);
    }
    return 0;
}

static void parse(struct client_conn *c, const uint8_t *data, size_t len) {
    while (len) {
        size_t rest = parse_one(c, data, len);
        data += len - rest;
        len = rest;
    }
}

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

/* Bytes while a relay has the connection: of its request's body, or too early. */
static void busy_read(struct client_conn *c) {
    struct server *s = c->s;
    struct relay *r = c->relay;
    size_t got;
    bool upload = r->upload == UPLOAD_OPEN;
    size_t size = upload ? s->conf->pool.copy_buffer_size : least(READ_SIZE, s->scratch_size);
    enum io_result res = stream_read(&c->stream, s->client_scratch, size, &got);
    if (res == IO_AGAIN) return;
    if (res != IO_OK) {
        c->half_closed = res == IO_EOF;
        client_read_off(c);
        relay_client_gone(r, res);
        return;
    }
    server_event(s, c->life, EV_BYTES_IN, got);
    size_t of_body = relay_upload(r, s->client_scratch, got);
    if (c->state != CLIENT_BUSY || c->relay != r) {
        if (c->state == CLIENT_IDLE) parse(c, s->client_scratch + of_body, got - of_body);
        return;
    }
    bytes_add(&c->in, s->client_scratch + of_body, got - of_body);
    if (of_body < got)
        client_read_off(c); /* until this exchange is over */
    else
        watch(c);
}

static void on_readable(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    struct client_conn *c = arg;
    struct server *s = c->s;
    server_enter(s);
    if (!c->reading) goto out;
    if (c->state == CLIENT_BUSY) {
        busy_read(c);
    } else if (c->state == CLIENT_LINGER) {
        linger_read(c);
    } else if (c->state == CLIENT_IDLE || c->state == CLIENT_HEAD) {
        size_t got;
        enum io_result res = stream_read(&c->stream, s->client_scratch, least(READ_SIZE, s->scratch_size), &got);
        if (res == IO_OK) {
            server_event(s, c->life, EV_BYTES_IN, got);
            parse(c, s->client_scratch, got);
        } else if (res != IO_AGAIN) {
            ended(c, res);
        }
    }
out:
    server_leave(s);
}

void client_to_opaque(struct client_conn *c) {
    client_read_off(c);
    c->state = CLIENT_OPAQUE;
    server_h1_back(c->s, H1_REQUEST, &c->h1);
    bytes_free(&c->in);
}

static struct client_conn *client_new(struct server *s, int fd, const struct endpoint *local,
                                      const struct endpoint *peer) {
    struct client_conn *c = calloc(1, sizeof *c);
    if (!c) abort();
    c->s = s;
    stream_init(&c->stream, fd);
    c->life = ledger_open(s->ledger, SIDE_DOWNSTREAM, ++s->last_client_id, s->now);
    c->life->flow = (struct flow_key){.local = *local, .remote = *peer};
    event_assign(&c->event, s->base, fd, EV_READ | EV_PERSIST, on_readable, c);
    TAILQ_INSERT_TAIL(&s->clients, c, link);
    if (++s->gauge.clients_open > s->gauge.clients_peak) s->gauge.clients_peak = s->gauge.clients_open;
    server_event(s, c->life, EV_ACCEPTED, 0);
    return c;
}

void client_accept(struct server *s, int fd, const struct endpoint *local, const struct endpoint *peer) {
    struct client_conn *c = client_new(s, fd, local, peer);
    become_idle(c);
    if (!access_client_ok(s->conf, peer)) {
        s->gauge.rejected++;
        stop_deadline(c);
        relay_refuse(c, REPLY_DENIED_CLIENT, "access.allow_clients does not name this client's address");
    }
}

void client_reject(struct server *s, int fd, const struct endpoint *local, const struct endpoint *peer,
                   const char *detail) {
    struct client_conn *c = client_new(s, fd, local, peer);
    s->gauge.rejected++;
    relay_refuse(c, REPLY_LIMIT, detail);
}

void client_shutdown_all(struct server *s) {
    for (struct client_conn *c, *next = TAILQ_FIRST(&s->clients); (c = next);) {
        next = TAILQ_NEXT(c, link);
        if (c->relay)
            relay_shutdown(c->relay);
        else
            client_close(c, REASON_SHUTDOWN, PHASE_IDLE, false);
    }
}

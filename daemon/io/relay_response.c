/* A relay's second half: from the origin's socket to the client's. */
#define _GNU_SOURCE /* splice */
#include "relay.h"

#include "facts.h"
#include "live_driver.h"
#include "tunnel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sock_diag.h> /* SK_MEMINFO_ */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

/* Bodies of at least this many bytes still to come go through a pipe, unseen. With fewer the
 * two more system calls cost what the two copies do. */
#define SPLICE_LEAST  (32u << 10)
#define COPY_AT_MOST  4096 /* a body as small as this is sent from where its head is */
#define SPLICE_ROUNDS 8    /* before others get their turn */

bool relay_held_down(const struct relay *r) {
    return bytes_left(&r->down) || (r->pipe && r->pipe->held);
}

static void wait_down(struct relay *r, bool wait) {
    if (wait == r->down_waiting) return;
    r->down_waiting = wait;
    facts_blocked(r, wait);
    if (!wait) {
        event_del(&r->down_event);
        return;
    }
    event_assign(&r->down_event, r->s->base, r->client->stream.fd, EV_WRITE | EV_PERSIST, relay_down_ready, r);
    event_add(&r->down_event, NULL);
}

/* The client's socket is full, or no longer: reading ahead would hide a slow client. */
static void backpressure(struct relay *r) {
    bool held = relay_held_down(r);
    wait_down(r, held);
    if (!r->upstream || r->state == RELAY_GRACE) return;
    if (held)
        upstream_read_off(r->upstream);
    else
        upstream_read_on(r->upstream);
}

void relay_send_down(struct relay *r, const struct iovec *iov, int n) {
    struct client_conn *c = r->client;
    size_t put = 0;
    if (!relay_held_down(r)) {
        enum io_result res = stream_write(&c->stream, iov, n, &put);
        if (res != IO_OK && res != IO_AGAIN) {
            relay_client_gone(r, res);
            return;
        }
        if (put) server_event(r->s, c->life, EV_BYTES_OUT, put);
    }
    bool held = false;
    for (int i = 0; i < n; i++) {
        size_t skip = put < iov[i].iov_len ? put : iov[i].iov_len;
        put -= skip;
        bytes_add(&r->down, (const uint8_t *)iov[i].iov_base + skip, iov[i].iov_len - skip);
        held |= skip < iov[i].iov_len;
    }
    if (held) backpressure(r);
}

/* Pipe to client. False if the client is gone. */
static bool pipe_to_client(struct relay *r, bool more) {
    struct splice_pipe *p = r->pipe;
    ssize_t n = splice(p->rd, NULL, r->client->stream.fd, NULL, p->held,
                       SPLICE_F_MOVE | SPLICE_F_NONBLOCK | (more ? SPLICE_F_MORE : 0));
    if (n > 0) {
        p->held -= (size_t)n;
        server_event(r->s, r->client->life, EV_BYTES_OUT, (uint64_t)n);
        return true;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    r->client->stream.error = errno;
    relay_client_gone(r, errno == ECONNRESET ? IO_RESET : IO_ERROR);
    return false;
}

/* The client's socket has room again. */
void relay_down_ready(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    struct relay *r = arg;
    server_enter(r->s);
    if (bytes_left(&r->down)) {
        struct iovec iov = {r->down.p + r->down.off, bytes_left(&r->down)};
        size_t put;
        enum io_result res = stream_write(&r->client->stream, &iov, 1, &put);
        if (res != IO_OK && res != IO_AGAIN) {
            relay_client_gone(r, res);
            goto out;
        }
        server_event(r->s, r->client->life, EV_BYTES_OUT, put);
        r->down.off += put;
        if (bytes_left(&r->down) == 0) bytes_free(&r->down);
    }
    if (bytes_left(&r->down) == 0 && r->pipe && r->pipe->held && !pipe_to_client(r, r->state == RELAY_RUNNING))
        goto out;
    if (relay_held_down(r)) { /* it took some of it */
        facts_blocked(r, false);
        facts_blocked(r, true);
        goto out;
    }
    backpressure(r);
    if (r->state == RELAY_FLUSHING) relay_settle(r);
out:
    server_leave(r->s);
}

/* How the body goes on to this client (RFC 9112, 6.3 and 7). */
static enum down_framing choose_framing(const struct relay *r) {
    switch ((enum body_framing)r->x.framing) {
    case FRAMING_NONE:
        return DOWN_NONE;
    case FRAMING_LENGTH:
        return DOWN_LENGTH;
    case FRAMING_CHUNKED:
        return r->client_minor ? DOWN_CHUNKED : DOWN_CLOSE;
    case FRAMING_UNTIL_EOF:
        return r->client_minor ? DOWN_ENCHUNK : DOWN_CLOSE;
    }
    return DOWN_NONE;
}

/* The Content-Length to pass on, UNKNOWN_BYTES for none. */
static uint64_t said_length(const struct relay *r, const struct h1_head *head) {
    if (head->chunked || head->status == 204 || head->status < 200) return UNKNOWN_BYTES;
    if (r->x.framing == FRAMING_LENGTH || r->head_only || head->status == 304) return head->content_length;
    return UNKNOWN_BYTES;
}

static void put_head_down(struct relay *r, const struct response_head *w) {
    struct bytes *to = &r->s->head_out;
    bytes_reserve(to, response_head_bound(w));
    struct head_text out = {.p = to->p + to->len};
    response_head_write(w, &out);
    to->len += out.len;
}

/* A 1xx on its way down; HTTP/1.0 has no such thing. */
static void forward_interim(struct relay *r, const struct h1_head *head, const uint8_t *bytes) {
    struct conn_event ev = {.at_ns = r->s->now, .code = head->status, .kind = EV_INTERIM};
    ledger_apply(r->s->ledger, r->upstream->life, &ev);
    if (!r->client_minor) return;
    if (head->status == 100) {
        if (!r->client_waits) return; /* nobody waits for it, or it had one already */
        r->client_waits = false;
    }
    struct response_head w = {.head = head, .bytes = bytes, .content_length = UNKNOWN_BYTES};
    put_head_down(r, &w);
}

/* A final head: says how the answer ends for the client, and writes it. */
static void forward_final(struct relay *r, const struct h1_head *head, const uint8_t *bytes) {
    struct server *s = r->s;
    struct conn_event ev = {.at_ns = s->now,
                            .value = r->x.framing == FRAMING_LENGTH ? r->x.body_announced : UNKNOWN_BYTES,
                            .code = head->status,
                            .kind = EV_RESPONSE,
                            .framing = r->x.framing};
    ledger_apply(s->ledger, r->upstream->life, &ev);
    bool bodyless = r->x.framing == FRAMING_NONE || r->x.body_announced == 0;
    facts_response(s, r->upstream->life, head->status, (enum body_framing)r->x.framing, ev.value, r->x.response_close,
                   bodyless);
    deadline_stop(&s->response_q, &r->response_d);
    deadline_stop(&s->expect_q, &r->expect_d);
    if (!r->client) return;
    ledger_apply(s->ledger, r->client->life, &ev);
    r->down_framing = (uint8_t)choose_framing(r);
    bool body_unread = r->x.expect == EXPECT_REFUSED && r->upload == UPLOAD_OPEN;
    if (r->down_framing == DOWN_CLOSE || body_unread) r->client_keeps = false;
    r->after = r->client_keeps ? AFTER_NEXT : AFTER_FINISH;
    r->after_reason = r->down_framing == DOWN_CLOSE ? REASON_UNTIL_EOF
                      : body_unread                 ? REASON_RESPONSE_CLOSE
                                                    : REASON_REQUEST_CLOSE;
    facts_response(s, r->client->life, head->status, (enum body_framing)r->x.framing, ev.value, !r->client_keeps, bodyless);
    struct response_head w = {
        .head = head,
        .bytes = bytes,
        .via = s->conf->proxy.via ? s->via : NULL,
        .framing = (enum down_framing)r->down_framing,
        .content_length = said_length(r, head),
        .say_close = !r->client_keeps,
        .say_keep_alive = r->client_keeps && !r->client_minor,
        .date = reply_date(s->now + s->to_wall_ns),
    };
    put_head_down(r, &w);
    r->answered = true;
}

/* What one read brought for the client, gathered for one write: heads, then a run
 * of body bytes. */
struct gather {
    const uint8_t *body;
    size_t body_len;
    bool ended; /* the body's end is among it */
    bool go_on; /* the 100 that the request's body waits for is among it */
};

/* Body bytes as they go on: a chunked body either keeps its framing or, for a
 * client without chunks, loses it in place. */
static void gather_piece(struct relay *r, struct gather *g, const uint8_t *raw, size_t raw_len, const uint8_t *data,
                         size_t data_len) {
    bool as_is = r->down_framing == DOWN_CHUNKED;
    const uint8_t *p = as_is ? raw : data;
    size_t n = as_is ? raw_len : data_len;
    if (!n) return;
    if (!g->body)
        g->body = p;
    else if (g->body + g->body_len != p)
        memmove((uint8_t *)g->body + g->body_len, p, n);
    g->body_len += n;
}

static void send_gathered(struct relay *r, struct gather *g) {
    struct bytes *heads = &r->s->head_out;
    struct iovec iov[5];
    char size_line[20];
    int n = 0;
    if (!r->client) { /* draining */
        heads->len = 0;
        return;
    }
    if (heads->len && g->body_len && g->body_len <= COPY_AT_MOST && r->down_framing != DOWN_ENCHUNK) {
        bytes_add(heads, g->body, g->body_len); /* one piece costs the kernel less than two */
        g->body_len = 0;
    }
    if (heads->len) iov[n++] = (struct iovec){heads->p, heads->len};
    if (g->body_len && r->down_framing == DOWN_ENCHUNK) {
        int len = snprintf(size_line, sizeof size_line, "%zx\r\n", g->body_len);
        iov[n++] = (struct iovec){size_line, (size_t)len};
    }
    if (g->body_len) iov[n++] = (struct iovec){(void *)g->body, g->body_len};
    if (g->body_len && r->down_framing == DOWN_ENCHUNK) iov[n++] = (struct iovec){(void *)"\r\n", 2};
    if (g->ended && r->down_framing == DOWN_ENCHUNK) iov[n++] = (struct iovec){(void *)"0\r\n\r\n", 5};
    if (n) relay_send_down(r, iov, n);
    heads->len = 0;
}

static void malformed(struct relay *r, enum h1_error e) {
    relay_drop_upstream(r, REASON_MALFORMED_RESPONSE);
    relay_fail(r, e == H1_E_HEAD_TOO_LARGE ? REPLY_RESPONSE_HEAD_TOO_LARGE : REPLY_MALFORMED,
               e == H1_E_NONE ? "too many 1xx responses" : h1_error_text(e), REASON_MALFORMED_RESPONSE);
}

/* A complete head. False if the relay is through with this connection. */
static bool on_head(struct relay *r, struct gather *g, const uint8_t *bytes, const uint8_t *rest, size_t rest_len,
                    bool *complete) {
    struct upstream_conn *u = r->upstream;
    const struct h1_head *head = h1_head(u->h1);
    uint64_t length = 0;
    *complete = false;
    enum head_verdict verdict = exchange_head(&r->x, head);
    /* Answered before even its head was written: what was, must not be a request's beginning on a kept connection. */
    if (r->x.expect == EXPECT_REFUSED && bytes_left(&r->head)) r->x.write = WRITE_PART;
    switch (verdict) {
    case HEAD_INTERIM:
        h1_begin_body(u->h1, FRAMING_NONE, 0);
        forward_interim(r, head, bytes);
        return true;
    case HEAD_CONTINUE:
        h1_begin_body(u->h1, FRAMING_NONE, 0);
        deadline_stop(&r->s->expect_q, &r->expect_d);
        forward_interim(r, head, bytes);
        g->go_on = true;
        return true;
    case HEAD_SWITCH:
        relay_switch(r, head, bytes, rest, rest_len);
        return false;
    case HEAD_MALFORMED:
        malformed(r, H1_E_NONE);
        return false;
    case HEAD_NO_BODY:
        if (head->status == 101) { /* nobody asked for it (R82), and Go's ReverseProxy does not pass it on */
            relay_switch(r, head, bytes, NULL, 0);
            return false;
        }
        forward_final(r, head, bytes);
        h1_begin_body(u->h1, FRAMING_NONE, 0);
        *complete = true;
        return true;
    case HEAD_BODY:
        forward_final(r, head, bytes);
        h1_response_framing(head, r->head_only, &length);
        h1_begin_body(u->h1, (enum body_framing)r->x.framing, length);
        return true;
    }
    return false;
}

/* Keeps the part of a head that is here: [msg, end) to the front of u->head. */
static void keep_head(struct upstream_conn *u, const uint8_t *msg, const uint8_t *end) {
    size_t n = (size_t)(end - msg);
    bool inside = u->head.p && msg >= u->head.p && msg < u->head.p + u->head.room;
    if (inside) {
        memmove(u->head.p, msg, n);
        u->head.len = n;
        return;
    }
    u->head.len = 0;
    bytes_add(&u->head, msg, n);
}

static void count_body(struct relay *r, size_t n) {
    if (!n) return;
    r->x.body_read += n;
    server_event(r->s, r->upstream->life, EV_BODY_READ, n);
    if (!r->client) {
        r->discarded += n;
        return;
    }
    r->body_down += n;
    server_event(r->s, r->client->life, EV_BODY_READ, n);
}

/* What became of bytes that came. */
enum outcome {
    CAME_MORE, /* the response goes on */
    CAME_END,  /* it is complete; r->left_over says whether bytes came behind it */
    CAME_GONE, /* the relay is through with this connection, or over: touch nothing */
};

/* n bytes came; p points at them, the kept part of a head lies right before p if
 * there is one. What is for the client is gathered, not sent. */
static enum outcome received(struct relay *r, struct gather *g, const uint8_t *p, size_t n) {
    struct upstream_conn *u = r->upstream;
    const uint8_t *end = p + n, *msg = u->head.len ? u->head.p : p;
    bool complete = false;
    server_bytes_in(r->s, u->life, &u->stream, n);
    if (!r->x.first_byte) {
        r->x.first_byte = true;
        server_event(r->s, u->life, EV_FIRST_BYTE, 0);
    }
    while (p < end && !complete) {
        size_t used, len;
        const uint8_t *data, *from = p;
        enum h1_step step = h1_feed(u->h1, p, (size_t)(end - p), &used);
        p += used;
        if (step == H1_ERROR) {
            uint64_t at;
            send_gathered(r, g);
            if (r->upstream == u) malformed(r, h1_error(u->h1, &at));
            return CAME_GONE;
        }
        if (step == H1_HEAD) {
            if (!on_head(r, g, p - h1_head(u->h1)->bytes, p, (size_t)(end - p), &complete)) {
                r->s->head_out.len = 0; /* interim heads that nobody sends any more */
                return CAME_GONE;
            }
            msg = p;
            continue;
        }
        if (!r->x.status) continue; /* more of a head */
        h1_data(u->h1, &data, &len);
        if (step != H1_DATA) len = 0;
        count_body(r, len);
        gather_piece(r, g, from, used, data, len);
        /* The last byte of a known length is told as data; the end comes with the next feed. */
        if (step == H1_DATA && r->x.framing == FRAMING_LENGTH) step = h1_feed(u->h1, p, 0, &used);
        complete = step == H1_DONE;
    }
    if (!r->x.status) keep_head(u, msg, end);
    if (!complete) return CAME_MORE;
    g->ended = r->x.body_eof = true;
    r->left_over = p < end || stream_pending(&u->stream);
    if (p < end) upstream_unasked(u, p, (size_t)(end - p));
    return CAME_END;
}

/* How many bytes the client's socket can take now, by and large. The kernel counts
 * what lies around the bytes too, hence the half. */
static size_t client_room(const struct relay *r) {
    uint32_t info[SK_MEMINFO_VARS] = {0};
    socklen_t len = sizeof info;
    if (getsockopt(r->client->stream.fd, SOL_SOCKET, SO_MEMINFO, info, &len) != 0) return 0;
    uint32_t room = info[SK_MEMINFO_SNDBUF], used = info[SK_MEMINFO_WMEM_QUEUED];
    return room > used ? (room - used) / 2 : 0;
}

/* How much of a body may be read before its client has taken it: the copy buffer,
 * and more only where the client's socket has room for it this very moment. */
static size_t may_hold(const struct relay *r, uint64_t remaining) {
    size_t least = r->s->conf->pool.copy_buffer_size;
    if (remaining <= least || !r->client || r->client->stream.ssl) return least;
    size_t room = client_room(r);
    return room > least ? room : least;
}

static bool may_splice(const struct relay *r) {
    return r->client && r->x.status && r->x.framing == FRAMING_LENGTH && r->down_framing == DOWN_LENGTH &&
           !r->upstream->stream.ssl && h1_remaining(r->upstream->h1) >= SPLICE_LEAST && !bytes_left(&r->down);
}

/* Moves body bytes from socket to socket through a pipe. */
static void splice_body(struct relay *r) {
    struct upstream_conn *u = r->upstream;
    for (int round = 0; round < SPLICE_ROUNDS; round++) {
        uint64_t remaining = h1_remaining(u->h1);
        size_t want = may_hold(r, remaining);
        if (want > r->pipe->size) want = r->pipe->size;
        if (want > remaining) want = (size_t)remaining;
        ssize_t n = splice(u->stream.fd, NULL, r->pipe->wr, NULL, want, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
        if (n <= 0) {
            u->stream.error = errno;
            relay_upstream_failed(r, n == 0 ? IO_EOF : errno == ECONNRESET ? IO_RESET : IO_ERROR);
            return;
        }
        r->pipe->held += (size_t)n;
        server_event(r->s, u->life, EV_BYTES_IN, (uint64_t)n);
        count_body(r, (size_t)n);
        bool complete = r->x.body_eof = h1_skip(u->h1, (uint64_t)n);
        if (!pipe_to_client(r, !complete && (size_t)n == want)) return;
        if (complete) {
            if (r->pipe->held) wait_down(r, true);
            relay_complete(r);
            return;
        }
        if (r->pipe->held) {
            backpressure(r);
            return;
        }
        if ((size_t)n < want / 2) return; /* the socket was emptied */
    }
}

/* Go counts pool.max_response_header_bytes where it reads from the socket: no more
 * than that is asked for. False when it is used up. */
static bool head_room(const struct upstream_conn *u, size_t *size) {
    uint32_t most = u->s->conf->pool.max_response_header_bytes;
    if (u->head.len >= most) return false;
    if (*size > most - u->head.len) *size = most - u->head.len;
    return true;
}

/* One read's size and place. Returns 0 when what is gathered must be sent first. */
static size_t next_read(struct relay *r, size_t gathered, uint8_t **to) {
    struct server *s = r->s;
    struct upstream_conn *u = r->upstream;
    bool in_body = r->x.status != 0;
    uint64_t remaining = in_body ? h1_remaining(u->h1) : 0;
    size_t hold = in_body ? may_hold(r, remaining) : 0;
    size_t size = exchange_read_size(s->conf->pool.read_buffer_size, h1_partial_line(u->h1), in_body, remaining, hold);
    if (!in_body && u->head.len) {
        if (!head_room(u, &size)) return 0;
        bytes_reserve(&u->head, size);
        *to = u->head.p + u->head.len;
        return size;
    }
    if (!in_body && !head_room(u, &size)) return 0;
    if (gathered && size > s->scratch_size - gathered) return 0;
    if (size > s->scratch_size) size = s->scratch_size;
    *to = s->scratch + gathered;
    return size;
}

/* Reads what there is, up to what may be held, and sends it in one go. */
void relay_readable(struct relay *r) {
    struct upstream_conn *u = r->upstream;
    struct gather g = {0};
    size_t gathered = 0, got, size;
    bool again = true;
    enum outcome came = CAME_MORE;
    if (may_splice(r) && (r->pipe || (r->pipe = server_pipe(r->s)))) {
        splice_body(r);
        return;
    }
    while (again && came == CAME_MORE) {
        uint8_t *to;
        if ((size = next_read(r, gathered, &to)) == 0) break;
        enum io_result res = stream_read(&u->stream, to, size, &got);
        if (res == IO_AGAIN) break;
        if (res != IO_OK) {
            send_gathered(r, &g);
            if (r->upstream == u) relay_upstream_failed(r, res);
            return;
        }
        bool in_pieces = u->head.len != 0;
        if ((came = received(r, &g, to, got)) == CAME_GONE) return;
        gathered += got;
        /* Once more if the socket probably has more, and it can go along. */
        again = (got == size || stream_pending(&u->stream)) && !in_pieces && u->head.len == 0 && !may_splice(r) &&
                gathered <= r->s->conf->pool.copy_buffer_size;
    }
    if (!r->x.status && came == CAME_MORE && u->head.len >= r->s->conf->pool.max_response_header_bytes) {
        send_gathered(r, &g);
        if (r->upstream == u) malformed(r, H1_E_HEAD_TOO_LARGE);
        return;
    }
    send_gathered(r, &g);
    if (r->upstream != u) return;
    if (r->x.status) bytes_free(&u->head);
    if (g.go_on && !relay_write_up(r)) return;
    if (came == CAME_END)
        relay_complete(r);
    else if (!r->client && r->discarded > DRAIN_BYTES)
        relay_give_up_drain(r);
    else if (u->reading && stream_pending(&u->stream))
        relay_readable(r); /* decrypted bytes that no event will announce */
    else if (u->reading && again && may_splice(r) && (r->pipe || (r->pipe = server_pipe(r->s))))
        splice_body(r);
}

/* 101: both sides must name the same protocol (R167); then the bytes are theirs. */
void relay_switch(struct relay *r, const struct h1_head *head, const uint8_t *bytes, const uint8_t *rest,
                  size_t rest_len) {
    struct server *s = r->s;
    struct upstream_conn *u = r->upstream;
    const struct h1_field *theirs = NULL;
    for (size_t i = 0; i < head->n_fields && !theirs; i++)
        if (head->fields[i].known == H1_N_UPGRADE) theirs = &head->fields[i];
    bool same = r->x.switched && r->x.write == WRITE_DONE && theirs && r->client &&
                theirs->value.len == strlen(r->upgrade) &&
                strncasecmp((const char *)bytes + theirs->value.off, r->upgrade, theirs->value.len) == 0;
    if (!same) {
        relay_drop_upstream(r, REASON_MALFORMED_RESPONSE);
        relay_fail(r, REPLY_UPGRADE_FAILED, NULL, REASON_MALFORMED_RESPONSE);
        return;
    }
    struct client_conn *c = r->client;
    struct conn_event ev = {.at_ns = s->now, .code = 101, .kind = EV_RESPONSE, .value = UNKNOWN_BYTES};
    ledger_apply(s->ledger, u->life, &ev);
    ledger_apply(s->ledger, c->life, &ev);
    server_event(s, u->life, EV_UPGRADED, 0);
    server_event(s, c->life, EV_UPGRADED, 0);
    struct response_head w = {.head = head,
                              .bytes = bytes,
                              .via = s->conf->proxy.via ? s->via : NULL,
                              .content_length = UNKNOWN_BYTES,
                              .upgrade = true};
    struct bytes first = {0};
    put_head_down(r, &w);
    bytes_add(&first, s->head_out.p, s->head_out.len);
    bytes_add(&first, rest, rest_len);
    s->head_out.len = 0;
    live_detach(u);
    u->relay = NULL;
    r->upstream = NULL;
    server_h1_back(s, H1_RESPONSE, &u->h1);
    bytes_free(&u->head);
    relay_over(r);
    tunnel_start(s, TUNNEL_UPGRADE, c, u, first.p, first.len, first.len - rest_len, NULL, 0);
    bytes_free(&first);
}

/* A relay's first half: from the client's request to the origin's socket. */
#define _GNU_SOURCE /* memmem */
#include "relay.h"

#include "facts.h"
#include "live_driver.h"
#include "record/json_out.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Via fields that name us, or more proxies than any honest path has. */
#define VIA_MAX 32

static struct relay *relay_new(struct client_conn *c) {
    struct server *s = c->s;
    struct relay *r = SLIST_FIRST(&s->spare_relays);
    if (r)
        SLIST_REMOVE_HEAD(&s->spare_relays, spare);
    else if (!(r = calloc(1, sizeof *r)))
        abort();
    struct bytes head = r->head; /* its memory is kept from one use to the next */
    memset(r, 0, offsetof(struct relay, zero_to_here));
    r->s = s;
    r->client = c;
    r->head = (struct bytes){.p = head.p, .room = head.room};
    c->relay = r;
    c->state = CLIENT_BUSY;
    s->gauge.requests_running++;
    return r;
}

/* An answer of our own to a request that was read. */
static void answer(struct relay *r, enum reply_kind kind, const char *detail) {
    /* The request's body is not wanted: unless it is small and comes at once, the connection ends with the answer. */
    relay_fail(r, kind, detail, REASON_BAD_REQUEST);
}

void relay_refuse(struct client_conn *c, enum reply_kind kind, const char *detail) {
    struct relay *r = relay_new(c);
    r->client_minor = true;
    relay_fail(r, kind, detail, kind == REPLY_HEAD_TIMEOUT ? REASON_CLIENT_TIMEOUT : REASON_BAD_REQUEST);
}

static bool leads_back(const struct server *s, const struct h1_head *head, const uint8_t *bytes) {
    size_t n = strlen(s->via);
    unsigned hops = 0;
    for (size_t i = 0; i < head->n_fields; i++) {
        const struct h1_field *f = &head->fields[i];
        if (f->known != H1_N_VIA) continue;
        const char *v = (const char *)bytes + f->value.off;
        if (memmem(v, f->value.len, s->via, n)) return true;
        for (size_t j = 0; j < f->value.len; j++) hops += v[j] == ',';
        hops++;
    }
    return hops > VIA_MAX;
}

/* "Basic dXNlcjpwYXNz" to user and password; false if it is not that. */
static bool basic_credentials(const char *v, size_t len, char *user, char *password, size_t size) {
    if (len < 6 || strncasecmp(v, "Basic ", 6) != 0) return false;
    char text[512];
    size_t n = 0;
    uint32_t acc = 0;
    unsigned bits = 0;
    for (size_t i = 6; i < len && v[i] != '='; i++) {
        static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        const char *at = v[i] ? strchr(set, v[i]) : NULL;
        if (!at || n + 1 >= sizeof text) return false;
        acc = acc << 6 | (uint32_t)(at - set);
        bits += 6;
        if (bits >= 8) text[n++] = (char)(acc >> (bits -= 8));
    }
    text[n] = 0;
    char *colon = strchr(text, ':');
    if (strlen(text) != n || n >= size) return false;
    memcpy(user, text, n + 1);
    if (colon) {
        user[colon - text] = 0;
        memcpy(password, colon + 1, n - (size_t)(colon - text));
    } else {
        password[0] = 0;
    }
    return true;
}

/* Who asks: the tag from the proxy URL's user name, the User-Agent. False: 407. */
static bool know_client(struct relay *r, const struct h1_head *head, const uint8_t *bytes) {
    struct server *s = r->s;
    char user[512], password[512], agent[256];
    bool given = false;
    const struct h1_field *ua = NULL;
    user[0] = password[0] = 0;
    for (size_t i = 0; i < head->n_fields; i++) {
        const struct h1_field *f = &head->fields[i];
        if (f->known == H1_N_USER_AGENT && !ua) ua = f;
        if (f->known == H1_N_PROXY_AUTHORIZATION && !given)
            given = basic_credentials((const char *)bytes + f->value.off, f->value.len, user, password, sizeof user);
    }
    size_t n = ua ? ua->value.len : 0;
    if (n >= sizeof agent) n = sizeof agent - 1;
    if (n) memcpy(agent, bytes + ua->value.off, n);
    agent[n] = 0;
    const struct life_client *known = r->client->life->client;
    if (!known || strcmp(known->user_agent, agent) != 0 || strcmp(known->tag, user) != 0)
        ledger_set_client(s->ledger, r->client->life, user, agent);
    return !s->passwords || (given && passwords_ok(s->passwords, user, password));
}

/* TRACE and OPTIONS count down (RFC 9110, 7.6.2). Returns -2 when it is our turn to answer. */
static long max_forwards(const struct h1_head *head, const uint8_t *bytes) {
    size_t n = head->method.len;
    const uint8_t *m = bytes + head->method.off;
    if (!(n == 7 && memcmp(m, "OPTIONS", 7) == 0) && !(n == 5 && memcmp(m, "TRACE", 5) == 0)) return -1;
    for (size_t i = 0; i < head->n_fields; i++) {
        const struct h1_field *f = &head->fields[i];
        if (f->known != H1_N_MAX_FORWARDS) continue;
        long v = 0;
        for (size_t j = 0; j < f->value.len; j++) {
            uint8_t c = bytes[f->value.off + j];
            if (c < '0' || c > '9') return -1;
            if (v < 100000000) v = v * 10 + (c - '0');
        }
        return v == 0 ? -2 : v - 1;
    }
    return -1;
}

/* The protocol that an upgrade asks for; a longer name than any that exists is not passed on as one. */
static void note_upgrade(struct relay *r, const struct h1_head *head, const uint8_t *bytes) {
    r->upgrade[0] = 0;
    for (size_t i = 0; i < head->n_fields; i++) {
        const struct h1_field *f = &head->fields[i];
        if (f->known != H1_N_UPGRADE || f->value.len >= sizeof r->upgrade) continue;
        memcpy(r->upgrade, bytes + f->value.off, f->value.len);
        r->upgrade[f->value.len] = 0;
        return;
    }
}

static void write_head(struct relay *r, const struct h1_head *head, const uint8_t *bytes, enum body_framing framing,
                       uint64_t length, long forwards) {
    struct server *s = r->s;
    struct request_head w = {
        .head = head,
        .bytes = bytes,
        .target = &r->target,
        .via = s->conf->proxy.via ? s->via : NULL,
        .add_close = s->conf->pool.disable_keep_alives,
        .authority = s->conf->proxy.mode == MODE_REVERSE ? s->conf->proxy.upstream_authority : NULL,
        .max_forwards = forwards,
        .framing = framing,
        .content_length = length,
    };
    bytes_reserve(&r->head, request_head_bound(&w));
    struct head_text out = {.p = r->head.p};
    request_head_write(&w, &out);
    r->head.off = 0;
    r->head.len = out.len;
}

/* Where to: false with the answer given. */
static bool find_target(struct relay *r, const struct h1_head *head, const uint8_t *bytes) {
    struct server *s = r->s;
    const struct conf *conf = s->conf;
    enum destination_error e;
    if (conf->proxy.mode == MODE_REVERSE) {
        if (head->is_connect) {
            answer(r, REPLY_BAD_REQUEST, "CONNECT has no meaning in reverse mode");
            return false;
        }
        memset(&r->target, 0, sizeof r->target);
        e = destination_parse_path(head, bytes, &r->target);
        r->target.tls = conf->proxy.upstream_tls;
        r->target.port = conf->proxy.upstream_port;
        snprintf(r->target.host, sizeof r->target.host, "%s", conf->proxy.upstream_host);
        snprintf(r->target.addr, sizeof r->target.addr, "%s", conf->proxy.upstream_authority);
    } else {
        e = destination_parse(head, bytes, &r->target);
    }
    if (e != TARGET_OK) {
        answer(r, REPLY_BAD_REQUEST, destination_error_text(e));
        return false;
    }
    if (leads_back(s, head, bytes)) {
        answer(r, REPLY_LOOP, "a Via field names this proxy, or there are too many");
        return false;
    }
    if (!access_destination_ok(conf, r->target.host, r->target.port, NULL)) {
        answer(r, REPLY_DENIED_DESTINATION, NULL);
        return false;
    }
    facts_client_request(r, head, bytes);
    return true;
}

/* What a retry, and the exchange on the other side, must know of the request. */
static void note_request(struct relay *r, const struct h1_head *head, bool has_body) {
    r->client_minor = head->minor > 0;
    r->client_keeps = head->minor > 0 ? !head->conn_close : head->conn_keep_alive && !head->conn_close;
    r->head_only = head->is_head;
    r->is_connect = head->is_connect;
    r->safe_method = head->is_safe;
    r->idempotency_key = head->has_idempotency_key;
    r->has_body = has_body;
    r->only_h1 = head->conn_upgrade && head->is_websocket;
    r->rq = (struct exchange_request){
        .head_only = head->is_head,
        .is_upgrade = head->conn_upgrade && head->has_upgrade,
        .has_body = has_body,
        .expect_continue = head->expect_continue && has_body && r->s->conf->pool.expect_continue_timeout > 0,
    };
    r->client_waits = head->expect_continue && has_body;
}

void relay_begin(struct client_conn *c, const struct h1_head *head, const uint8_t *bytes) {
    struct server *s = c->s;
    struct relay *r = relay_new(c);
    server_event(s, c->life, EV_REQUEST, 0);
    uint64_t length = 0;
    enum body_framing framing = h1_request_framing(head, &length);
    bool has_body = framing == FRAMING_CHUNKED || (framing == FRAMING_LENGTH && length > 0);
    note_request(r, head, has_body);
    r->upload = has_body ? UPLOAD_OPEN : UPLOAD_NONE;
    long forwards = max_forwards(head, bytes);
    h1_begin_body(c->h1, r->is_connect ? FRAMING_NONE : framing, length);
    if (!know_client(r, head, bytes)) {
        answer(r, REPLY_AUTH_REQUIRED, NULL);
    } else if (s->shedding) {
        answer(r, REPLY_INTERNAL, "the ledger's file cannot be written; see the daemon's log");
    } else if (!find_target(r, head, bytes)) {
        return;
    } else if (forwards == -2) {
        bool options = head->method.len == 7;
        if (options) {
            struct json_out o = {0};
            reply_options(&o, reply_date(s->now + s->to_wall_ns), !r->client_keeps);
            struct iovec iov = {o.data, o.len};
            r->answered = true;
            r->state = RELAY_FLUSHING;
            r->after = r->client_keeps ? AFTER_NEXT : AFTER_FINISH;
            r->after_reason = REASON_REQUEST_CLOSE;
            relay_send_down(r, &iov, 1);
            json_out_free(&o);
            if (r->state == RELAY_FLUSHING) relay_settle(r);
        } else {
            answer(r, REPLY_TRACE, NULL);
        }
    } else if (r->is_connect) {
        r->upload = UPLOAD_NONE;
        relay_connect(r);
    } else {
        if (r->rq.is_upgrade) note_upgrade(r, head, bytes);
        write_head(r, head, bytes, framing, length, forwards);
        live_want(r);
    }
}

/* May body bytes go to the origin now? */
static bool body_flows(const struct relay *r) {
    return r->state != RELAY_READY && r->upstream && r->x.expect != EXPECT_WAITING && r->x.expect != EXPECT_REFUSED;
}

bool relay_takes_upload(const struct relay *r) {
    if (r->upload != UPLOAD_OPEN) return false;
    if (r->state == RELAY_DISCARDING) return true;
    return body_flows(r) && bytes_left(&r->up) == 0 && bytes_left(&r->head) == 0;
}

/* The request's body is malformed: whatever went on is incomplete. */
static void bad_body(struct relay *r) {
    uint64_t at;
    const char *what = h1_error_text(h1_error(r->client->h1, &at));
    bool whole = r->state == RELAY_GRACE || r->state == RELAY_FLUSHING || r->state == RELAY_DISCARDING;
    r->upload = UPLOAD_READ;
    r->client_keeps = false;
    if (r->upstream) relay_drop_upstream(r, REASON_WRITE_ERROR);
    if (whole && r->after == AFTER_NEXT) { /* the answer is good all the same */
        r->after = AFTER_FINISH;
        r->after_reason = REASON_BAD_REQUEST;
        if (r->state == RELAY_GRACE) r->state = RELAY_FLUSHING;
        relay_settle(r);
        return;
    }
    relay_fail(r, REPLY_BAD_REQUEST, what, REASON_BAD_REQUEST);
}

#define DISCARD_MAX (256u << 10) /* as Go's server reads off before it gives the connection up */

/* Takes what belongs to the body, counts it; returns how many bytes that is.
 * Sets r->upload when it ends; false if the body is malformed. */
static bool take_body(struct relay *r, const uint8_t *data, size_t len, size_t *taken) {
    *taken = 0;
    while (*taken < len && r->upload == UPLOAD_OPEN) {
        size_t used;
        enum h1_step step = h1_feed(r->client->h1, data + *taken, len - *taken, &used);
        *taken += used;
        if (step == H1_ERROR) return false;
        /* The last byte of a known length is told as data; the end comes with the next feed. */
        if (step == H1_DATA) step = h1_feed(r->client->h1, data + *taken, 0, &used);
        if (step == H1_DONE) r->upload = UPLOAD_READ;
    }
    return true;
}

size_t relay_upload(struct relay *r, const uint8_t *data, size_t len) {
    if (r->upload != UPLOAD_OPEN || len == 0) return 0;
    size_t n;
    if (!take_body(r, data, len, &n)) {
        bad_body(r);
        return len;
    }
    r->client_waits = false; /* it did not, or no longer does */
    if (r->state == RELAY_DISCARDING) {
        r->discarded += n;
        deadline_start(&r->s->idle_q, &r->client->deadline, r->s->now);
        if (r->discarded > DISCARD_MAX) r->after = AFTER_FINISH, r->client_keeps = false, r->upload = UPLOAD_READ;
        if (r->upload == UPLOAD_READ) relay_settle(r);
        return n;
    }
    if (r->state == RELAY_FLUSHING || r->state == RELAY_OVER || r->x.expect == EXPECT_REFUSED) return n;
    if (body_flows(r) && bytes_left(&r->head) == 0 && bytes_left(&r->up) == 0) {
        struct iovec iov = {(void *)data, n};
        size_t put;
        enum io_result res = stream_write(&r->upstream->stream, &iov, 1, &put);
        if (res != IO_OK && res != IO_AGAIN) {
            relay_write_failed(r);
            return n;
        }
        server_bytes_out(r->s, r->upstream->life, &r->upstream->stream, put);
        r->body_up += put;
        if (put) r->nothing_written = false;
        bytes_add(&r->up, data + put, n - put);
    } else {
        bytes_add(&r->up, data, n);
    }
    if (r->upstream) relay_write_up(r);
    return n;
}

static void wait_up(struct relay *r, bool wait) {
    if (wait == r->up_waiting) return;
    r->up_waiting = wait;
    if (!wait) {
        event_del(&r->up_event);
        return;
    }
    event_assign(&r->up_event, r->s->base, r->upstream->stream.fd, EV_WRITE | EV_PERSIST, relay_up_ready, r);
    event_add(&r->up_event, NULL);
}

void relay_up_ready(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    struct relay *r = arg;
    server_enter(r->s);
    if (r->upstream) relay_write_up(r);
    server_leave(r->s);
}

/* The request is wholly written: the response's time begins (R122). */
static void written(struct relay *r) {
    struct server *s = r->s;
    r->x.write = WRITE_DONE;
    server_event(s, r->upstream->life, EV_WROTE_REQUEST, r->body_up);
    if (!r->x.status) deadline_start(&s->response_q, &r->response_d, s->now);
    if (r->state == RELAY_GRACE) relay_complete(r);
}

/* Sends what lies here of head and body. False if the relay lost its connection. */
bool relay_write_up(struct relay *r) {
    struct iovec iov[2];
    int n = 0;
    if (r->x.write == WRITE_DONE) return true;
    if (bytes_left(&r->head)) iov[n++] = (struct iovec){r->head.p + r->head.off, bytes_left(&r->head)};
    if (bytes_left(&r->up) && body_flows(r)) iov[n++] = (struct iovec){r->up.p + r->up.off, bytes_left(&r->up)};
    if (n) {
        size_t put;
        enum io_result res = stream_write(&r->upstream->stream, iov, n, &put);
        if (res != IO_OK && res != IO_AGAIN) {
            relay_write_failed(r);
            return false;
        }
        if (put) {
            r->nothing_written = false;
            r->x.write = WRITE_PART;
            server_bytes_out(r->s, r->upstream->life, &r->upstream->stream, put);
        }
        size_t of_head = put < bytes_left(&r->head) ? put : bytes_left(&r->head);
        r->head.off += of_head;
        r->up.off += put - of_head;
        r->body_up += put - of_head;
    }
    bool full = bytes_left(&r->head) || (bytes_left(&r->up) && body_flows(r));
    wait_up(r, full);
    if (full) return true;
    if (bytes_left(&r->up) == 0 && r->upload != UPLOAD_OPEN)
        written(r);
    else if (r->client && relay_takes_upload(r))
        client_read_on(r->client);
    return true;
}

/* The body is wanted and no 100 came from the origin: the client may still wait
 * for the word, as from Go's server when the body is first read. False if the
 * client turned out to be gone. */
static bool tell_client_to_go_on(struct relay *r) {
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (!r->client_waits || !r->client_minor || r->answered) return true;
    struct iovec iov = {(void *)go_on, sizeof go_on - 1};
    r->client_waits = false;
    relay_send_down(r, &iov, 1);
    return r->state == RELAY_RUNNING;
}

mono_ns relay_waited(const struct relay *r) {
    return r->s->now > r->wanted_at ? r->s->now - r->wanted_at : 0;
}

void relay_deliver(struct relay *r, struct upstream_conn *u) {
    struct server *s = r->s;
    r->upstream = u;
    u->relay = r;
    r->state = RELAY_RUNNING;
    r->nothing_written = true;
    server_event(s, u->life, EV_GOT_CONN, (uint64_t)relay_waited(r));
    facts_upstream_request(r);
    server_event(s, u->life, EV_REQUEST, 0);
    exchange_begin(&r->x, &r->rq);
    r->body_up = 0;
    if (!u->h1) u->h1 = server_h1(s, H1_RESPONSE);
    upstream_read_on(u);
    if (r->x.expect == EXPECT_WAITING)
        deadline_start(&s->expect_q, &r->expect_d, s->now);
    else if (!tell_client_to_go_on(r))
        return;
    relay_write_up(r);
}

void relay_expect_expired(struct deadline *d, void *server) {
    (void)server;
    struct relay *r = (struct relay *)((char *)d - offsetof(struct relay, expect_d));
    r->x.expect = EXPECT_GO;
    if (tell_client_to_go_on(r)) relay_write_up(r);
}

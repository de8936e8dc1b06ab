#include "upstream_conn.h"

#include "facts.h"
#include "live_driver.h"
#include "relay.h"

#include <stdlib.h>
#include <string.h>

static void upstream_free(struct server *s, void *object) {
    struct upstream_conn *u = object;
    server_h1_back(s, H1_RESPONSE, &u->h1);
    bytes_free(&u->head);
    free(u);
}

static struct upstream_conn *upstream_new(struct server *s, conn_id id) {
    struct upstream_conn *u = calloc(1, sizeof *u);
    if (!u) abort();
    u->s = s;
    u->id = id;
    u->stream.fd = -1;
    idmap_put(&s->upstreams, id, u);
    return u;
}

void upstream_unasked(struct upstream_conn *u, const uint8_t *bytes, size_t len) {
    u->unasked = len;
    u->unasked_is_response = len >= 5 && memcmp(bytes, "HTTP/", 5) == 0;
}

/* Something came while no request was out: the end, or bytes that nobody asked for (R76). */
void upstream_look(struct upstream_conn *u) {
    struct server *s = u->s;
    size_t got, size = s->conf->pool.read_buffer_size;
    /* The limit of response heads holds from a response's first byte (Go: readLimit). */
    if (size > s->conf->pool.max_response_header_bytes) size = s->conf->pool.max_response_header_bytes;
    switch (stream_read(&u->stream, s->scratch, size < s->scratch_size ? size : s->scratch_size, &got)) {
    case IO_AGAIN:
        return; /* TLS: a ticket, a key update */
    case IO_OK:
        server_bytes_in(s, u->life, &u->stream, got);
        upstream_unasked(u, s->scratch, got);
        upstream_lost(u, exchange_idle_bytes(s->scratch, got), PHASE_IDLE);
        return;
    case IO_EOF:
        server_event(s, u->life, EV_FIN_RECEIVED, 0);
        upstream_lost(u, REASON_SERVER_CLOSED_IDLE, PHASE_IDLE);
        return;
    case IO_CLOSE_NOTIFY:
        server_event(s, u->life, EV_CLOSE_NOTIFY, 0);
        upstream_lost(u, REASON_SERVER_CLOSED_IDLE, PHASE_IDLE);
        return;
    case IO_RESET:
        server_event(s, u->life, EV_RST_RECEIVED, 0);
        upstream_lost(u, REASON_READ_ERROR, PHASE_IDLE);
        return;
    case IO_ERROR:
        upstream_lost(u, u->stream.tls_failed ? REASON_TLS_ERROR : REASON_READ_ERROR, PHASE_IDLE);
        return;
    }
}

static void on_readable(evutil_socket_t fd, short what, void *arg) {
    (void)fd, (void)what;
    struct upstream_conn *u = arg;
    struct server *s = u->s;
    server_enter(s);
    if (u->stream.fd >= 0 && u->reading) {
        if (u->relay)
            relay_readable(u->relay);
        else
            upstream_look(u);
    }
    server_leave(s);
}

void upstream_read_on(struct upstream_conn *u) {
    if (u->reading || u->stream.fd < 0) return;
    u->reading = true;
    event_add(&u->event, NULL);
    if (stream_pending(&u->stream)) event_active(&u->event, EV_READ, 0);
}

void upstream_read_off(struct upstream_conn *u) {
    if (!u->reading) return;
    u->reading = false;
    event_del(&u->event);
}

static void dialed(struct server *s, void *arg, enum dial_result result, const char *text, struct stream *stream,
                   struct lifecycle *life) {
    struct upstream_conn *u = arg;
    u->dial = NULL;
    if (result != DIAL_OK) {
        conn_id id = u->id;
        u->life = NULL; /* closed by the dial */
        idmap_del(&s->upstreams, id);
        server_bury(s, &u->buried, upstream_free, u);
        s->dial_result = (int)result;
        s->dial_text = text;
        pool_lost(s->pool, id, result >= DIAL_TLS_CERTIFICATE ? REASON_TLS_ERROR : REASON_DIAL_ERROR, s->now);
        live_drive(s);
        return;
    }
    u->stream = *stream;
    u->life = life;
    event_assign(&u->event, s->base, u->stream.fd, EV_READ | EV_PERSIST, on_readable, u);
    live_dialed(u);
    live_drive(s);
    if (u->stream.fd >= 0 && !u->relay) upstream_read_on(u);
}

void upstream_dial(struct server *s, conn_id id, const struct connect_key *key) {
    struct upstream_conn *u = upstream_new(s, id);
    u->pooled = true;
    u->life = ledger_open(s->ledger, SIDE_UPSTREAM, id, s->now);
    ledger_set_key(s->ledger, u->life, key);
    facts_dialing(s, u->life, key->addr);
    char host[264];
    const char *colon = strrchr(key->addr, ':');
    size_t n = (size_t)(colon - key->addr);
    bool v6 = key->addr[0] == '[';
    memcpy(host, key->addr + v6, n - 2 * v6);
    host[n - 2 * v6] = 0;
    struct dial_target target = {
        .host = host, .port = (uint16_t)atoi(colon + 1), .tls = strcmp(key->scheme, "https") == 0, .addr = key->addr};
    u->dial = dial_start(s, id, &target, u->life, dialed, u);
}

struct upstream_conn *upstream_adopt(struct server *s, conn_id id, struct stream *stream, struct lifecycle *life) {
    struct upstream_conn *u = upstream_new(s, id);
    u->stream = *stream;
    u->life = life;
    event_assign(&u->event, s->base, u->stream.fd, EV_READ | EV_PERSIST, on_readable, u);
    return u;
}

void upstream_close(struct upstream_conn *u, enum close_reason why, enum close_phase phase) {
    struct server *s = u->s;
    idmap_del(&s->upstreams, u->id);
    if (u->dial) {
        dial_cancel(&u->dial, why);
    } else if (u->stream.fd >= 0) {
        struct stream_end end;
        upstream_read_off(u);
        stream_close(&u->stream, &end);
        end.unasked = u->unasked ? u->unasked + end.unread : 0;
        end.unasked_is_response = u->unasked_is_response;
        end.upload_cut = u->upload_cut;
        server_closed(s, u->life, why, phase, &end);
    }
    u->life = NULL;
    server_bury(s, &u->buried, upstream_free, u);
}

void upstream_lost(struct upstream_conn *u, enum close_reason why, enum close_phase phase) {
    struct server *s = u->s;
    bool pooled = u->pooled;
    conn_id id = u->id;
    upstream_close(u, why, phase);
    if (pooled) pool_lost(s->pool, id, why, s->now);
}

void upstream_shutdown_all(struct server *s) {
    for (size_t i = 0; i < s->upstreams.room; i++) {
        struct upstream_conn *u = s->upstreams.slots[i].id ? s->upstreams.slots[i].thing : NULL;
        if (!u) continue;
        if (u->relay) /* go1.27: draining for nobody */
            relay_shutdown(u->relay);
        else
            upstream_close(u, REASON_SHUTDOWN, u->dial ? PHASE_DIALING : PHASE_IDLE);
        i = (size_t)-1; /* a removal moves others */
    }
}

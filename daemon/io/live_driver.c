#include "live_driver.h"

#include <string.h>

void live_want(struct relay *r) {
    struct server *s = r->s;
    r->state = RELAY_READY;
    TAILQ_INSERT_TAIL(&s->ready, r, link);
    /* Behind the callbacks of this round that are still to come: no system call. */
    event_active(s->ready_event, EV_TIMEOUT, 0);
}

/* Asks the pool for all requests that came in this round, in their order. That is when they want a connection, and not
 * when they came: what else came in this round goes before them. A nanosecond apart, so that their order can be told.
 */
void live_want_ready(struct server *s) {
    mono_ns nth = 0;

    for (struct relay *r; (r = TAILQ_FIRST(&s->ready));) {
        TAILQ_REMOVE(&s->ready, r, link);
        r->state = RELAY_WANTING;
        r->want = ++s->last_want;
        r->wanted_at = s->now + nth++;
        idmap_put(&s->wants, r->want, r);
        struct connect_key key = {
            .proxy = "", .scheme = r->target.tls ? "https" : "http", .addr = r->target.addr, .only_h1 = r->only_h1};
        pool_want(s->pool, r->want, &key, s->now);
        live_drive(s);
    }
}

void live_cancel(struct relay *r) {
    if (r->state == RELAY_READY) {
        TAILQ_REMOVE(&r->s->ready, r, link);
        r->state = RELAY_NEW;
    }
    if (!r->want) return;
    idmap_del(&r->s->wants, r->want);
    pool_cancel(r->s->pool, r->want, r->s->now);
    r->want = 0;
}

void live_dialed(struct upstream_conn *u) {
    pool_dialed(u->s->pool, u->id, u->s->now);
}

void live_put(struct upstream_conn *u) {
    pool_put(u->s->pool, u->id, u->s->now);
}

void live_detach(struct upstream_conn *u) {
    u->pooled = false;
    pool_detach(u->s->pool, u->id, u->s->now);
}

void live_close_idle(struct server *s) {
    pool_close_idle(s->pool, s->now);
}

static void deliver(struct server *s, const struct pool_action *a) {
    struct relay *r = idmap_get(&s->wants, a->want);
    struct upstream_conn *u = idmap_get(&s->upstreams, a->conn);
    if (r && u)
        relay_deliver(r, u);
    else if (u)
        live_put(u); /* the request went in the meantime: R31 */
}

static void carry_out(struct server *s, const struct pool_action *a) {
    struct upstream_conn *u;
    struct relay *r;
    switch (a->kind) {
    case POOL_DIAL:
        upstream_dial(s, a->conn, a->key);
        break;
    case POOL_DELIVER:
        deliver(s, a);
        break;
    case POOL_FAIL:
        /* upstream_conn.c left the sentence and the kind of failure with the server. */
        if ((r = idmap_get(&s->wants, a->want))) relay_dial_failed(r, (enum dial_result)s->dial_result, s->dial_text);
        break;
    case POOL_CLOSE:
        if ((u = idmap_get(&s->upstreams, a->conn))) upstream_close(u, a->why, u->dial ? PHASE_DIALING : PHASE_IDLE);
        break;
    case POOL_MOVED:
        if (a->to == PC_IDLE && (u = idmap_get(&s->upstreams, a->conn))) server_event(s, u->life, EV_PUT_IDLE, 0);
        break;
    }
}

static void arm(struct server *s) {
    mono_ns at = pool_next_deadline(s->pool);
    if (at >= s->pool_timer_at) return; /* an earlier wakeup looks again */
    mono_ns wait = (at > s->now ? at - s->now : 0) + 999999;
    struct timeval tv = {.tv_sec = wait / SEC(1), .tv_usec = (wait % SEC(1)) / 1000};
    s->pool_timer_at = at;
    event_add(s->pool_timer, &tv);
}

void live_tick(struct server *s) {
    s->pool_timer_at = NEVER;
    pool_tick(s->pool, s->now);
}

void live_drive(struct server *s) {
    if (s->driving) return;
    s->driving = true;
    for (struct pool_action a; pool_next_action(s->pool, &a);) carry_out(s, &a);
    s->driving = false;
    arm(s);
}

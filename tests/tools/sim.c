#include "sim_private.h"

#include "core/pool_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void sim_die(const char *what) {
    printf("Bail out! sim: %s\n", what);
    exit(1);
}

double sim_ms_since(const struct sim *s, mono_ns start) {
    return (double)(s->now - start) / 1e6;
}

size_t sim_read_buffer(const struct sim *s) {
    return s->conf.read_buffer ? s->conf.read_buffer : 4096;
}

/* ---- the pool ---- */

static void dial(struct sim *s, conn_id id) {
    if (id > SIM_MAX) sim_die("too many connections");
    struct line *l = calloc(1, sizeof *l);
    struct h1_limits limits = {s->conf.max_head ? s->conf.max_head : 10u << 20, 1000, (uint32_t)sim_read_buffer(s)};
    if (!l) abort();
    l->h1 = h1_new(H1_RESPONSE, &limits);
    s->lines[id] = l;
    s->n_lines = (int)id;
    int ms = s->conf.nth_dial_ms[id - 1] ? s->conf.nth_dial_ms[id - 1] : s->conf.dial_ms;
    sim_at(s, s->now + MSEC(ms < 0 ? -ms : ms), (int)id, ms < 0 ? NET_DIAL_FAILED : NET_DIALED, NULL);
}

static struct caller *caller_of(struct sim *s, want_id w) {
    for (int i = 0; i < s->n_callers; i++)
        if (s->callers[i]->want == w) return s->callers[i];
    sim_die("an answer to nobody");
    return NULL;
}

static bool drain(struct sim *s) {
    struct pool_action a;
    bool any = false;

    while (pool_next_action(s->pool, &a)) {
        any = true;
        switch (a.kind) {
        case POOL_DIAL:
            dial(s, a.conn);
            break;
        case POOL_DELIVER:
            caller_got_conn(s, caller_of(s, a.want), (int)a.conn, a.reused);
            break;
        case POOL_FAIL:
            caller_fail(s, caller_of(s, a.want), P_FAILED, a.why);
            break;
        case POOL_CLOSE:
            sim_close_line(s->lines[a.conn], a.why);
            break;
        case POOL_MOVED:
            if (a.from != PC_GONE) s->lines[a.conn]->idle = a.to == PC_IDLE;
            break;
        }
    }
    const char *broken = pool_check(s->pool);
    if (broken) sim_die(broken);
    return any;
}

/* Always one byte is being waited for on an idle connection (R14, R75, R76). */
static bool pump_idle(struct sim *s, int n) {
    struct line *l = s->lines[n];
    enum close_reason why;

    if (!l->idle) return false;
    l->at = l->n = 0;
    switch (sim_fill(l, exchange_read_size(sim_read_buffer(s), 0, false, 0, 0))) {
    case NOTHING_THERE:
        return false;
    case FILLED:
        why = exchange_idle_bytes(l->buf, l->n);
        break;
    case AT_FIN:
        why = REASON_SERVER_CLOSED_IDLE;
        break;
    default:
        why = REASON_READ_ERROR;
        break;
    }
    sim_close_line(l, why);
    pool_lost(s->pool, (conn_id)n, why, s->now);
    return true;
}

/* ---- time ---- */

static void happen(struct sim *s, const struct event *e) {
    struct line *l = s->lines[e->line];

    switch (e->kind) {
    case NET_DIALED:
        if (l->where == CLOSED) return;
        l->where = OPEN;
        l->dialed = true;
        if (s->conf.greeting) sim_serve(s, e->line, s->conf.greeting);
        pool_dialed(s->pool, (conn_id)e->line, s->now);
        break;
    case NET_DIAL_FAILED:
        sim_close_line(l, REASON_DIAL_ERROR);
        pool_lost(s->pool, (conn_id)e->line, REASON_DIAL_ERROR, s->now);
        break;
    case NET_SERVE:
        sim_serve_step(l, &e->step);
        break;
    }
}

/* The first of what is due, in the order in which it was planned. */
static bool happen_one(struct sim *s) {
    int first = -1;
    for (int i = 0; i < s->n_events; i++)
        if (s->events[i].at <= s->now && (first < 0 || s->events[i].at < s->events[first].at)) first = i;
    if (first < 0) return false;
    struct event e = s->events[first];
    memmove(&s->events[first], &s->events[first + 1], (size_t)(--s->n_events - first) * sizeof e);
    happen(s, &e);
    return true;
}

/* R171: the network first, then idle connections, then those who ask. */
static bool pump(struct sim *s) {
    if (drain(s) || happen_one(s)) return true;
    for (int i = 1; i <= s->n_lines; i++)
        if (s->lines[i] && pump_idle(s, i)) return true;
    if (!s->conf.no_timers && pool_next_deadline(s->pool) <= s->now) {
        pool_tick(s->pool, s->now);
        return true;
    }
    for (int i = 0; i < s->n_callers; i++)
        if (caller_pump(s, s->callers[i])) return true;
    return false;
}

static void sooner(mono_ns *t, mono_ns than) {
    if (than < *t) *t = than;
}

static mono_ns next_time(const struct sim *s) {
    mono_ns t = s->conf.no_timers ? NEVER : pool_next_deadline(s->pool);

    for (int i = 0; i < s->n_events; i++) sooner(&t, s->events[i].at);
    for (int i = 0; i < s->n_callers; i++) {
        const struct caller *c = s->callers[i];
        sooner(&t, c->sleep_until);
        sooner(&t, c->cancel_at);
        sooner(&t, c->grace_at);
        sooner(&t, c->upload_at);
        sooner(&t, c->upload_fails_at);
        sooner(&t, c->expect_at);
        sooner(&t, c->header_at);
    }
    return t;
}

static void run(struct sim *s, const struct sim_request *until_finished, mono_ns until) {
    for (;;) {
        while (pump(s))
            if (until_finished && until_finished->finished) break;
        while (drain(s)) continue;
        if (until_finished && until_finished->finished) return;
        mono_ns t = next_time(s);
        if (t > until) break;
        s->now = t;
    }
    s->now = until;
}

/* ---- for the tests ---- */

struct sim *sim_new(const struct sim_conf *conf, const struct serve *answers, unsigned n_answers) {
    struct sim *s = calloc(1, sizeof *s);
    if (!s) abort();
    s->conf = *conf;
    s->answers = answers;
    s->n_answers = n_answers;
    s->now = SEC(1);
    s->pool = pool_new(&conf->pool);
    return s;
}

void sim_free(struct sim **sp) {
    struct sim *s = *sp;
    if (!s) return;
    for (int i = 1; i <= s->n_lines; i++) {
        if (!s->lines[i]) continue;
        h1_free(&s->lines[i]->h1);
        free(s->lines[i]->queue);
        free(s->lines[i]);
    }
    for (int i = 0; i < s->n_callers; i++) free(s->callers[i]);
    pool_free(&s->pool);
    free(s);
    *sp = NULL;
}

struct sim_request *sim_start(struct sim *s, const struct sim_request *rq) {
    if (s->n_callers == SIM_MAX) sim_die("too many requests");
    struct caller *c = calloc(1, sizeof *c);
    if (!c) abort();
    s->callers[s->n_callers++] = c;
    c->rq = *rq;
    c->rq.head_ms = c->rq.done_ms = c->rq.body_sent_ms = -1;
    c->key = (struct connect_key){
        .proxy = rq->proxy ? rq->proxy : "",
        .scheme = rq->scheme ? rq->scheme : "http",
        .addr = rq->addr ? rq->addr : "a:80",
        .only_h1 = rq->websocket,
    };
    c->start = s->now;
    c->sleep_until = c->grace_at = NEVER;
    c->cancel_at = rq->cancel_ms ? s->now + MSEC(rq->cancel_ms) : NEVER;
    caller_stop_timers(c);
    caller_ask(s, c);
    while (drain(s)) continue;
    return &c->rq;
}

void sim_wait(struct sim *s, const struct sim_request *rq) {
    run(s, rq, s->now + SEC(600));
}
void sim_sleep(struct sim *s, int ms) {
    run(s, NULL, s->now + MSEC(ms));
}

void sim_close_idle(struct sim *s) {
    pool_close_idle(s->pool, s->now);
    drain(s);
}

static const char *wire_text(const struct line *l) {
    static const char *const text[] = {"", " F", " R", " F>R", " S"};
    return text[l->wire];
}

const char *sim_summary(const struct sim *s) {
    static char out[4096];
    struct pool_counts n;
    int dials = 0;
    size_t len;

    pool_counts(s->pool, &n);
    for (int i = 1; i <= s->n_lines; i++) dials += s->lines[i]->dialed;
    len = (size_t)snprintf(out, sizeof out, "D%d", dials);
    for (int i = 1, k = 0; i <= s->n_lines; i++)
        if (s->lines[i]->dialed)
            len += (size_t)snprintf(out + len, sizeof out - len, "%s%u", k++ ? "," : " Q", s->lines[i]->n_requests);
    len += (size_t)snprintf(out + len, sizeof out - len, " I%u", n.idle);
    for (int i = 1, k = 0; i <= s->n_lines; i++) {
        const struct line *l = s->lines[i];
        if (!l->dialed) continue;
        len += (size_t)snprintf(out + len, sizeof out - len, "%s", k++ ? ", " : ": ");
        if (l->where == CLOSED)
            len += (size_t)snprintf(out + len, sizeof out - len, "%s%s", close_reason_name(l->reason), wire_text(l));
        else
            len += (size_t)snprintf(out + len, sizeof out - len, "%s%s", l->where == SWITCHED ? "up" : "open",
                                    l->fin ? " CLOSE_WAIT" : "");
    }
    return out;
}

struct pool *sim_pool(struct sim *s) {
    return s->pool;
}
size_t sim_recv_q(const struct sim *s, int conn) {
    return s->lines[conn]->queued;
}
bool sim_server_blocked(const struct sim *s, int conn) {
    return s->lines[conn]->blocked;
}

unsigned sim_late_writes(const struct sim *s, int conn, unsigned *failed) {
    *failed = s->lines[conn]->late_failed;
    return s->lines[conn]->late_writes;
}

unsigned sim_permits(const struct sim *s, const char *addr) {
    struct pool_row r = {0};
    while (pool_next_bucket(s->pool, r.seq, &r))
        if (strcmp(r.key.addr, addr) == 0) return r.permits;
    return 0;
}

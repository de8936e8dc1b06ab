#include "sim.h"

#include "core/pool_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RBUF_MAX   (64u << 10)
#define WINDOW     (256u << 10) /* what the kernel takes for a caller that does not read */
#define EVENTS_MAX 4096

enum where { DIALING, OPEN, SWITCHED, CLOSED };
enum wire { WIRE_NONE, WIRE_F, WIRE_R, WIRE_FR, WIRE_S };

/* One connection: the kernel's end, our end, and what became of it. */
struct line {
    enum where where;
    bool dialed, idle;
    uint8_t *queue; /* the kernel's receive queue */
    size_t queued, room;
    bool fin, rst; /* from the server; behind what is queued */
    bool stream, blocked;
    uint8_t buf[RBUF_MAX]; /* the read buffer: at..n are not yet consumed */
    size_t at, n;
    struct h1 *h1;
    struct exchange x;
    struct caller *caller;
    unsigned n_requests, late_writes, late_failed;
    enum close_reason reason;
    enum wire wire;
    mono_ns closed_at;
};

enum phase {
    P_WAITING, /* for a connection */
    P_HEAD,    /* for a final head */
    P_BODY,    /* the caller's steps run; the body is on the connection */
    P_OVER,    /* the exchange has ended well; the caller's steps go on */
    P_BROKEN,  /* the body was given up, or failed */
    P_FAILED,  /* no head ever came */
};

struct caller {
    struct sim_request rq;
    want_id want;
    struct connect_key key;
    struct line *line;
    bool reused; /* the connection, when it was given */
    enum phase phase;
    bool in_grace;
    unsigned step;
    uint64_t left; /* of CALL_READ */
    bool step_begun;
    mono_ns start, sleep_until, cancel_at, grace_at, upload_at, upload_fails_at, expect_at, header_at;
};

struct event {
    mono_ns at;
    int line; /* from 1 */
    enum { NET_DIALED, NET_DIAL_FAILED, NET_SERVE } kind;
    struct serve_step step;
};

struct sim {
    struct sim_conf conf;
    const struct serve *answers;
    unsigned n_answers, n_served;
    struct pool *pool;
    mono_ns now;
    want_id last_want;
    int n_lines, n_callers, n_events;
    struct line *lines[SIM_MAX + 1];
    struct caller *callers[SIM_MAX];
    struct event events[EVENTS_MAX];
};

static void die(const char *what) {
    printf("Bail out! sim: %s\n", what);
    exit(1);
}

static double ms_since(const struct sim *s, mono_ns start) {
    return (double)(s->now - start) / 1e6;
}
static size_t read_buffer(const struct sim *s) {
    return s->conf.read_buffer ? s->conf.read_buffer : 4096;
}

/* ---- the kernel and the server ---- */

static void receive(struct line *l, const char *text, size_t len, size_t fill) {
    if (l->queued + len + fill > l->room) {
        l->room = (l->queued + len + fill) * 2;
        l->queue = realloc(l->queue, l->room);
        if (!l->queue) abort();
    }
    if (len) memcpy(l->queue + l->queued, text, len);
    memset(l->queue + l->queued + len, 'x', fill);
    l->queued += len + fill;
}

static void top_up(struct line *l) {
    if (!l->stream || l->queued >= WINDOW) return;
    receive(l, NULL, 0, WINDOW - l->queued);
    l->blocked = true;
}

/* The server writes to a connection that we have closed. */
static void late_write(struct line *l) {
    l->late_writes++;
    if (l->wire == WIRE_F)
        l->wire = WIRE_FR;
    else
        l->late_failed++;
}

static void serve_step(struct line *l, const struct serve_step *step) {
    bool closed = l->where == CLOSED;

    switch (step->kind) {
    case SERVE_SEND:
        if (closed)
            late_write(l);
        else
            receive(l, step->text, step->text ? strlen(step->text) : 0, step->fill);
        break;
    case SERVE_FIN:
        if (!closed) l->fin = true;
        break;
    case SERVE_RST:
        if (!closed) l->rst = true;
        break;
    case SERVE_STREAM:
        if (closed) late_write(l);
        l->stream = !closed;
        top_up(l);
        break;
    case SERVE_END:
        break;
    }
}

static void at(struct sim *s, mono_ns when, int line, int kind, const struct serve_step *step) {
    if (s->n_events == EVENTS_MAX) die("too many events");
    struct event *e = &s->events[s->n_events++];
    *e = (struct event){.at = when, .line = line, .kind = kind};
    if (step) e->step = *step;
}

static void serve(struct sim *s, int line, const struct serve *answer) {
    for (int i = 0; i < SIM_STEPS && answer->step[i].kind != SERVE_END; i++)
        at(s, s->now + MSEC(answer->step[i].at_ms), line, NET_SERVE, &answer->step[i]);
}

static int number_of(const struct sim *s, const struct line *l) {
    for (int i = 1; i <= s->n_lines; i++)
        if (s->lines[i] == l) return i;
    return 0;
}

/* close(2): bytes that nobody read make the kernel answer with RST (R97, R98). */
static void close_line(struct sim *s, struct line *l, enum close_reason why) {
    if (l->where == CLOSED) return;
    if (!l->dialed)
        l->wire = WIRE_NONE;
    else if (l->fin || l->rst)
        l->wire = WIRE_S;
    else
        l->wire = l->queued ? WIRE_R : WIRE_F;
    l->where = CLOSED;
    l->reason = why;
    l->closed_at = s->now;
    l->caller = NULL;
}

enum filled { FILLED, NOTHING_THERE, AT_FIN, AT_RST };

/* One read(2) of at most `size` bytes behind what the read buffer holds. */
static enum filled fill(struct line *l, size_t size) {
    if (l->at == l->n) l->at = l->n = 0;
    if (l->queued == 0) return l->rst ? AT_RST : l->fin ? AT_FIN : NOTHING_THERE;
    if (size > l->queued) size = l->queued;
    if (l->n + size > sizeof l->buf) die("the read buffer overflows");
    memcpy(l->buf + l->n, l->queue, size);
    l->n += size;
    l->queued -= size;
    memmove(l->queue, l->queue + size, l->queued);
    l->blocked = false;
    top_up(l);
    return FILLED;
}

/* ---- the request ---- */

static void ask(struct sim *s, struct caller *c) {
    c->phase = P_WAITING;
    c->line = NULL;
    c->want = ++s->last_want;
    pool_want(s->pool, c->want, &c->key, s->now);
}

static void stop_timers(struct caller *c) {
    c->upload_at = c->upload_fails_at = c->expect_at = c->header_at = NEVER;
}

static void drop_line(struct sim *s, struct caller *c, enum close_reason why) {
    int n = number_of(s, c->line);
    close_line(s, c->line, why);
    pool_lost(s->pool, (conn_id)n, why, s->now);
    c->line = NULL;
    stop_timers(c);
}

static void fail(struct sim *s, struct caller *c, enum phase phase, enum close_reason why) {
    c->phase = phase;
    c->rq.failed = true;
    c->rq.error = why;
    if (phase != P_FAILED) return;
    c->rq.finished = true;
    c->rq.done_ms = ms_since(s, c->start);
    if (c->rq.ends_context) pool_cancel(s->pool, c->want, s->now);
}

/* The exchange failed before a head: perhaps another connection fares better. */
static void fail_exchange(struct sim *s, struct caller *c, enum close_reason why, enum retry_failure failure) {
    struct retry_facts facts = {
        .has_host = true,
        .conn_reused = c->reused,
        .nothing_written = c->line->x.write == WRITE_NOTHING,
        .has_body = c->rq.has_body,
        .can_rewind = c->rq.can_rewind,
        .safe_method = !c->rq.is_post,
        .idempotency_key = c->rq.idempotency_key,
        .failure = failure,
    };
    drop_line(s, c, why);
    if (retry_decide(&facts) != RETRY_YES) {
        fail(s, c, P_FAILED, why);
        return;
    }
    c->rq.retries++;
    ask(s, c);
}

static void wrote(struct sim *s, struct caller *c) {
    c->line->x.write = WRITE_DONE;
    c->upload_at = NEVER;
    if (c->rq.has_body) c->rq.body_sent_ms = ms_since(s, c->start);
    if (s->conf.header_timeout > 0 && c->phase == P_HEAD) c->header_at = s->now + s->conf.header_timeout;
}

static void send_body(struct sim *s, struct caller *c) {
    c->expect_at = NEVER;
    if (c->rq.upload_fails_ms) c->upload_fails_at = s->now + MSEC(c->rq.upload_fails_ms);
    if (c->rq.upload_ms > 0) c->upload_at = s->now + MSEC(c->rq.upload_ms);
    if (c->rq.upload_ms == 0 && !c->rq.upload_fails_ms) wrote(s, c);
}

static void write_request(struct sim *s, struct caller *c) {
    struct line *l = c->line;
    unsigned turn = s->conf.serve_by_turn ? l->n_requests : s->n_served++;

    l->n_requests++;
    l->x.write = WRITE_PART;
    serve(s, number_of(s, l), &s->answers[turn < s->n_answers ? turn : s->n_answers - 1]);
    if (l->x.expect == EXPECT_WAITING && s->conf.expect_timeout > 0) {
        c->expect_at = s->now + s->conf.expect_timeout;
        return;
    }
    if (l->x.expect == EXPECT_WAITING) l->x.expect = EXPECT_GO;
    send_body(s, c);
}

static void got_conn(struct sim *s, struct caller *c, int n, bool reused) {
    struct line *l = s->lines[n];
    struct exchange_request rq = {
        .head_only = c->rq.is_head,
        .is_upgrade = c->rq.upgrade || c->rq.websocket,
        .request_close = c->rq.request_close,
        .has_body = c->rq.has_body,
        .expect_continue = c->rq.expect_continue,
    };
    c->line = l;
    c->rq.conn = n;
    c->reused = reused;
    c->phase = P_HEAD;
    c->in_grace = false;
    l->caller = c;
    exchange_begin(&l->x, &rq);
    if (c->rq.write_fails_on == n)
        fail_exchange(s, c, REASON_WRITE_ERROR, FAILED_OTHER);
    else
        write_request(s, c);
}

/* The response is complete: may the connection be kept? False: not known yet (R48). */
static bool settle(struct sim *s, struct caller *c, bool grace_over) {
    struct line *l = c->line;
    enum close_reason why;
    enum keep_verdict keep = exchange_keep(&l->x, grace_over, l->n > l->at, &why);

    if (keep == KEEP_WAIT_WRITE) {
        if (!c->in_grace) c->grace_at = s->now + WRITE_GRACE;
        c->in_grace = true;
        return false;
    }
    c->in_grace = false;
    c->grace_at = NEVER;
    c->phase = P_OVER;
    if (keep == KEEP_NO) {
        drop_line(s, c, why);
        return true;
    }
    c->line = NULL;
    l->caller = NULL;
    stop_timers(c);
    pool_put(s->pool, (conn_id)number_of(s, l), s->now);
    return true;
}

/* ---- the head ---- */

static void head_end(struct sim *s, struct caller *c, bool eof) {
    struct exchange *x = &c->line->x;
    fail_exchange(s, c, exchange_read_end(x, eof), x->first_byte ? FAILED_OTHER : FAILED_READ);
}

static void got_head(struct sim *s, struct caller *c) {
    struct line *l = c->line;
    const struct h1_head *head = h1_head(l->h1);
    uint64_t length;
    enum body_framing framing = h1_response_framing(head, c->rq.is_head, &length);

    switch (exchange_head(&l->x, head)) {
    case HEAD_CONTINUE:
        send_body(s, c);
        h1_begin_body(l->h1, FRAMING_NONE, 0);
        return;
    case HEAD_INTERIM:
        h1_begin_body(l->h1, FRAMING_NONE, 0);
        return;
    case HEAD_MALFORMED:
        fail_exchange(s, c, REASON_MALFORMED_RESPONSE, FAILED_OTHER);
        return;
    case HEAD_SWITCH:
        pool_detach(s->pool, (conn_id)number_of(s, l), s->now);
        l->where = SWITCHED;
        break;
    case HEAD_NO_BODY:
    case HEAD_BODY:
        h1_begin_body(l->h1, framing, length);
        break;
    }
    c->rq.status = l->x.status;
    c->phase = P_BODY;
    c->header_at = c->expect_at = NEVER;
    if (l->x.body_eof) settle(s, c, false); /* R51: before the caller sees it */
    if (!c->in_grace) c->rq.head_ms = ms_since(s, c->start);
}

static bool pump_head(struct sim *s, struct caller *c) {
    struct line *l = c->line;
    size_t used;

    if (l->at == l->n) {
        size_t size = exchange_read_size(read_buffer(s), h1_partial_line(l->h1), false, 0, 0);
        enum filled f = fill(l, size);
        if (f == NOTHING_THERE) return false;
        if (f != FILLED) {
            head_end(s, c, f == AT_FIN);
            return true;
        }
    }
    l->x.first_byte = true;
    enum h1_step step = h1_feed(l->h1, l->buf + l->at, l->n - l->at, &used);
    l->at += used;
    if (step == H1_HEAD)
        got_head(s, c);
    else if (step == H1_ERROR)
        fail_exchange(s, c, REASON_MALFORMED_RESPONSE, FAILED_OTHER);
    return true;
}

/* ---- the body ---- */

static void break_body(struct sim *s, struct caller *c, enum close_reason why) {
    drop_line(s, c, why);
    fail(s, c, P_BROKEN, why);
}

static void body_done(struct sim *s, struct caller *c) {
    c->line->x.body_eof = true;
    c->rq.eof = true;
    settle(s, c, false);
}

static void after_feed(struct sim *s, struct caller *c, enum h1_step step) {
    struct line *l = c->line;
    const uint8_t *data;
    size_t len, used;

    if (step == H1_DATA) {
        h1_data(l->h1, &data, &len);
        l->x.body_read += len;
        c->rq.got += len;
        c->left -= len < c->left ? len : c->left;
        if (h1_remaining(l->h1) == 0) step = h1_feed(l->h1, data, 0, &used); /* R57: EOF comes with the last byte */
    }
    if (step == H1_DONE) body_done(s, c);
    if (step == H1_ERROR) break_body(s, c, REASON_MALFORMED_RESPONSE);
}

/* R58: with all that was asked for in hand, the decoder goes on only if the next
 * chunk's line lies whole in the read buffer. Two bytes for the CRLF before it. */
static bool next_line_is_here(const struct line *l) {
    if (h1_after_data(l->h1) || h1_partial_line(l->h1) > 0) return true; /* R59; or found to be whole before */
    return l->n - l->at > 2 && memchr(l->buf + l->at + 2, '\n', l->n - l->at - 2);
}

/* Does a bit of a read. False: it must wait for bytes, or has all it wants. */
static bool pump_body(struct sim *s, struct caller *c, size_t slice, bool *satisfied) {
    struct line *l = c->line;
    uint64_t remaining = h1_remaining(l->h1);
    size_t used;

    *satisfied = c->left == 0 && (remaining > 0 || !next_line_is_here(l));
    if (*satisfied) return false;
    if (l->at == l->n) {
        size_t copy = remaining > 0 && c->left < slice ? (size_t)c->left : slice;
        enum filled f =
            fill(l, exchange_read_size(read_buffer(s), h1_partial_line(l->h1), remaining > 0, remaining, copy));
        if (f == NOTHING_THERE) return false;
        if (f == AT_FIN && h1_eof(l->h1) == H1_DONE)
            body_done(s, c);
        else if (f != FILLED)
            break_body(s, c, exchange_read_end(&l->x, f == AT_FIN));
        return true;
    }
    size_t most = l->n - l->at;
    if (remaining == 0)
        most = 1; /* framing, byte by byte: not one more than belongs to it */
    else if (most > remaining)
        most = (size_t)remaining;
    if (remaining > 0 && most > c->left) most = (size_t)c->left;
    enum h1_step step = h1_feed(l->h1, l->buf + l->at, most, &used);
    l->at += used;
    after_feed(s, c, step);
    return true;
}

static bool pump_raw(struct caller *c, bool *satisfied) {
    struct line *l = c->line;

    *satisfied = c->left == 0;
    if (*satisfied) return false;
    if (l->at == l->n && fill(l, 4096) != FILLED) return false;
    size_t n = l->n - l->at < c->left ? l->n - l->at : (size_t)c->left;
    l->at += n;
    c->left -= n;
    c->rq.got += n;
    return true;
}

/* ---- the caller ---- */

static void close_body(struct sim *s, struct caller *c) {
    enum close_reason why;

    if (c->phase != P_BODY) return;
    if (c->line->where == SWITCHED) {
        close_line(s, c->line, REASON_UPGRADED);
        c->line = NULL;
    } else {
        exchange_keep(&c->line->x, true, false, &why);
        drop_line(s, c, why);
    }
    c->phase = P_BROKEN;
}

/* The context ends (R27, R68, R69, R123). */
static void cancel(struct sim *s, struct caller *c) {
    enum close_reason why;

    c->cancel_at = NEVER;
    if (c->phase == P_WAITING) {
        pool_cancel(s->pool, c->want, s->now);
        fail(s, c, P_FAILED, REASON_CANCELED);
    } else if (c->phase == P_HEAD || (c->phase == P_BODY && c->line->where != SWITCHED)) {
        c->line->x.canceled = true;
        exchange_keep(&c->line->x, true, false, &why);
        drop_line(s, c, why);
        fail(s, c, c->phase == P_HEAD ? P_FAILED : P_BROKEN, why);
    }
    pool_cancel(s->pool, c->want, s->now);
}

static void next_step(struct sim *s, struct caller *c) {
    c->step++;
    c->step_begun = false;
    if (c->step < SIM_STEPS && c->rq.call[c->step].kind != CALL_END) return;
    c->rq.finished = true;
    c->rq.done_ms = ms_since(s, c->start);
    c->rq.leaked = c->phase == P_BODY;
    if (c->rq.ends_context && c->phase != P_BODY) pool_cancel(s->pool, c->want, s->now);
}

static bool step_read(struct sim *s, struct caller *c, const struct call_step *step) {
    bool all = step->kind == CALL_READ_ALL, satisfied = true;

    if (!c->step_begun) c->left = all ? UINT64_MAX : step->n;
    c->step_begun = true;
    if (c->in_grace) return false;
    if (c->phase == P_BODY) {
        size_t slice = all ? 512 : step->n;
        if (c->line->where == SWITCHED ? pump_raw(c, &satisfied) : pump_body(s, c, slice, &satisfied)) return true;
        if (!satisfied) return false;
    } else {
        c->rq.eof |= c->phase == P_OVER;
    }
    next_step(s, c);
    return true;
}

static bool pump_step(struct sim *s, struct caller *c) {
    const struct call_step *step = &c->rq.call[c->step];

    switch (step->kind) {
    case CALL_READ:
    case CALL_READ_ALL:
        return step_read(s, c, step);
    case CALL_SLEEP:
        if (!c->step_begun) c->sleep_until = s->now + MSEC(step->n);
        c->step_begun = true;
        if (s->now < c->sleep_until) return false;
        break;
    case CALL_CLOSE:
        close_body(s, c);
        break;
    case CALL_CANCEL:
        cancel(s, c);
        break;
    case CALL_END:
        break;
    }
    c->sleep_until = NEVER;
    next_step(s, c);
    return true;
}

static bool pump_timers(struct sim *s, struct caller *c) {
    if (s->now >= c->cancel_at) {
        cancel(s, c);
    } else if (s->now >= c->upload_fails_at) {
        stop_timers(c);
        c->line->x.write = WRITE_FAILED;
        if (c->phase == P_HEAD)
            fail_exchange(s, c, REASON_WRITE_ERROR, FAILED_OTHER);
        else
            break_body(s, c, REASON_WRITE_ERROR);
    } else if (s->now >= c->upload_at) {
        wrote(s, c);
        if (c->in_grace) settle(s, c, false);
    } else if (s->now >= c->expect_at) {
        c->line->x.expect = EXPECT_GO;
        send_body(s, c);
    } else if (s->now >= c->header_at) {
        fail_exchange(s, c, REASON_RESPONSE_HEADER_TIMEOUT, FAILED_OTHER);
    } else if (s->now >= c->grace_at) {
        settle(s, c, true);
    } else {
        return false;
    }
    if (c->rq.status && c->rq.head_ms < 0 && !c->in_grace) c->rq.head_ms = ms_since(s, c->start);
    return true;
}

static bool pump_caller(struct sim *s, struct caller *c) {
    if (c->phase == P_HEAD && pump_head(s, c)) return true;
    if (pump_timers(s, c)) return true;
    if (c->phase <= P_HEAD || c->rq.finished || c->rq.head_ms < 0) return false;
    return pump_step(s, c);
}

/* ---- the pool ---- */

static void dial(struct sim *s, conn_id id) {
    if (id > SIM_MAX) die("too many connections");
    struct line *l = calloc(1, sizeof *l);
    struct h1_limits limits = {s->conf.max_head ? s->conf.max_head : 10u << 20, 1000, (uint32_t)read_buffer(s)};
    if (!l) abort();
    l->h1 = h1_new(H1_RESPONSE, &limits);
    s->lines[id] = l;
    s->n_lines = (int)id;
    int ms = s->conf.nth_dial_ms[id - 1] ? s->conf.nth_dial_ms[id - 1] : s->conf.dial_ms;
    at(s, s->now + MSEC(ms < 0 ? -ms : ms), (int)id, ms < 0 ? NET_DIAL_FAILED : NET_DIALED, NULL);
}

static struct caller *caller_of(struct sim *s, want_id w) {
    for (int i = 0; i < s->n_callers; i++)
        if (s->callers[i]->want == w) return s->callers[i];
    die("an answer to nobody");
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
            got_conn(s, caller_of(s, a.want), (int)a.conn, a.reused);
            break;
        case POOL_FAIL:
            fail(s, caller_of(s, a.want), P_FAILED, a.why);
            break;
        case POOL_CLOSE:
            close_line(s, s->lines[a.conn], a.why);
            break;
        case POOL_MOVED:
            if (a.from != PC_GONE) s->lines[a.conn]->idle = a.to == PC_IDLE;
            break;
        }
    }
    const char *broken = pool_check(s->pool);
    if (broken) die(broken);
    return any;
}

/* Always one byte is being waited for on an idle connection (R14, R75, R76). */
static bool pump_idle(struct sim *s, int n) {
    struct line *l = s->lines[n];
    enum close_reason why;

    if (!l->idle) return false;
    l->at = l->n = 0;
    switch (fill(l, exchange_read_size(read_buffer(s), 0, false, 0, 0))) {
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
    close_line(s, l, why);
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
        if (s->conf.greeting) serve(s, e->line, s->conf.greeting);
        pool_dialed(s->pool, (conn_id)e->line, s->now);
        break;
    case NET_DIAL_FAILED:
        close_line(s, l, REASON_DIAL_ERROR);
        pool_lost(s->pool, (conn_id)e->line, REASON_DIAL_ERROR, s->now);
        break;
    case NET_SERVE:
        serve_step(l, &e->step);
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
        if (pump_caller(s, s->callers[i])) return true;
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
    if (s->n_callers == SIM_MAX) die("too many requests");
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
    stop_timers(c);
    ask(s, c);
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
double sim_now_ms(const struct sim *s) {
    return (double)(s->now - SEC(1)) / 1e6;
}
int sim_conns(const struct sim *s) {
    return s->n_lines;
}

unsigned sim_late_writes(const struct sim *s, int conn, unsigned *failed) {
    *failed = s->lines[conn]->late_failed;
    return s->lines[conn]->late_writes;
}

double sim_closed_ms(const struct sim *s, int conn) {
    const struct line *l = s->lines[conn];
    return l->where == CLOSED ? (double)(l->closed_at - SEC(1)) / 1e6 : -1;
}

unsigned sim_permits(const struct sim *s, const char *addr) {
    struct pool_row r = {0};
    while (pool_next_bucket(s->pool, r.seq, &r))
        if (strcmp(r.key.addr, addr) == 0) return r.permits;
    return 0;
}

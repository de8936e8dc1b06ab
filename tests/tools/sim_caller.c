#include "sim_private.h"

#include <string.h>

/* ---- the request ---- */

void caller_ask(struct sim *s, struct caller *c) {
    c->phase = P_WAITING;
    c->line = NULL;
    c->want = ++s->last_want;
    pool_want(s->pool, c->want, &c->key, s->now);
}

void caller_stop_timers(struct caller *c) {
    c->upload_at = c->upload_fails_at = c->expect_at = c->header_at = NEVER;
}

static void drop_line(struct sim *s, struct caller *c, enum close_reason why) {
    int n = sim_number_of(s, c->line);
    sim_close_line(c->line, why);
    pool_lost(s->pool, (conn_id)n, why, s->now);
    c->line = NULL;
    caller_stop_timers(c);
}

void caller_fail(struct sim *s, struct caller *c, enum phase phase, enum close_reason why) {
    c->phase = phase;
    c->rq.failed = true;
    c->rq.error = why;
    if (phase != P_FAILED) return;
    c->rq.finished = true;
    c->rq.done_ms = sim_ms_since(s, c->start);
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
        caller_fail(s, c, P_FAILED, why);
        return;
    }
    c->rq.retries++;
    caller_ask(s, c);
}

static void wrote(struct sim *s, struct caller *c) {
    c->line->x.write = WRITE_DONE;
    c->upload_at = NEVER;
    if (c->rq.has_body) c->rq.body_sent_ms = sim_ms_since(s, c->start);
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
    sim_serve(s, sim_number_of(s, l), &s->answers[turn < s->n_answers ? turn : s->n_answers - 1]);
    if (l->x.expect == EXPECT_WAITING && s->conf.expect_timeout > 0) {
        c->expect_at = s->now + s->conf.expect_timeout;
        return;
    }
    if (l->x.expect == EXPECT_WAITING) l->x.expect = EXPECT_GO;
    send_body(s, c);
}

void caller_got_conn(struct sim *s, struct caller *c, int n, bool reused) {
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
    caller_stop_timers(c);
    pool_put(s->pool, (conn_id)sim_number_of(s, l), s->now);
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
        pool_detach(s->pool, (conn_id)sim_number_of(s, l), s->now);
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
    if (!c->in_grace) c->rq.head_ms = sim_ms_since(s, c->start);
}

static bool pump_head(struct sim *s, struct caller *c) {
    struct line *l = c->line;
    size_t used;

    if (l->at == l->n) {
        size_t size = exchange_read_size(sim_read_buffer(s), h1_partial_line(l->h1), false, 0, 0);
        enum filled f = sim_fill(l, size);
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
    caller_fail(s, c, P_BROKEN, why);
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
            sim_fill(l, exchange_read_size(sim_read_buffer(s), h1_partial_line(l->h1), remaining > 0, remaining, copy));
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
    if (l->at == l->n && sim_fill(l, 4096) != FILLED) return false;
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
        sim_close_line(c->line, REASON_UPGRADED);
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
        caller_fail(s, c, P_FAILED, REASON_CANCELED);
    } else if (c->phase == P_HEAD || (c->phase == P_BODY && c->line->where != SWITCHED)) {
        c->line->x.canceled = true;
        exchange_keep(&c->line->x, true, false, &why);
        drop_line(s, c, why);
        caller_fail(s, c, c->phase == P_HEAD ? P_FAILED : P_BROKEN, why);
    }
    pool_cancel(s->pool, c->want, s->now);
}

static void next_step(struct sim *s, struct caller *c) {
    c->step++;
    c->step_begun = false;
    if (c->step < SIM_STEPS && c->rq.call[c->step].kind != CALL_END) return;
    c->rq.finished = true;
    c->rq.done_ms = sim_ms_since(s, c->start);
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
        caller_stop_timers(c);
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
    if (c->rq.status && c->rq.head_ms < 0 && !c->in_grace) c->rq.head_ms = sim_ms_since(s, c->start);
    return true;
}

bool caller_pump(struct sim *s, struct caller *c) {
    if (c->phase == P_HEAD && pump_head(s, c)) return true;
    if (pump_timers(s, c)) return true;
    if (c->phase <= P_HEAD || c->rq.finished || c->rq.head_ms < 0) return false;
    return pump_step(s, c);
}

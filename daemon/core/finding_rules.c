/* The rules about servers, dials and limits, and when which rule is asked: one small function each. */
#include "finding_private.h"

/* ---- who forbids reuse ---- */

static void forbids_reuse(struct findings *f, struct watch *w, enum finding_kind kind, uint64_t all,
                          enum finding_number of) {
    struct tally *t = tally_count(f, w->subject, kind, last_of(w));

    count_redial(t, w->subject, f->now);
    tally_set(t, of, all);
    if (t->pub.count >= OFTEN && t->pub.count * 2 >= all) tally_raise(f, t, by_rate(t), CONFIDENCE_CONFIRMED);
}

/* The request allowed reuse, and the response does not. */
static void server_forbids(struct findings *f, struct watch *w) {
    struct subject *s = w->subject;
    struct tally *t;

    if (w->responses == 1) {
        forbids_reuse(f, w, FINDING_SERVER_DISABLES_KEEPALIVE, s->responses, NUM_RESPONSES);
        return;
    }
    s->nth_times = s->nth == w->responses ? s->nth_times + 1 : 1;
    s->nth = w->responses;
    t = tally_count(f, s, FINDING_SERVER_LIMITS_REQUESTS, last_of(w));
    tally_set(t, NUM_NTH, s->nth);
    if (s->nth_times >= PAIRS) tally_raise(f, t, SEVERITY_INFO, CONFIDENCE_LIKELY);
}

/* Asked when the response head is there, since leaks and their likes go by its status. */
void rules_response(struct findings *f, struct watch *w, const struct fact *fact) {
    struct subject *s = w->subject;
    bool http10 = w->http10 || fact->flags & FACT_HTTP10;

    if (is_client(s) && http10)
        forbids_reuse(f, w, FINDING_HTTP10_NO_KEEPALIVE, s->responses, NUM_REQUESTS);
    else if (is_client(s) && w->no_reuse)
        forbids_reuse(f, w, FINDING_KEEPALIVES_DISABLED, s->responses, NUM_REQUESTS);
    else if (!w->no_reuse && fact->flags & FACT_NO_REUSE && fact->framing != FRAMING_UNTIL_EOF &&
             s->pub.side != SIDE_DOWNSTREAM) /* there it is the daemon that says so */
        server_forbids(f, w);
}

/* ---- ends by the server ---- */

static void raise_idle_ends(struct findings *f, struct subject *s, enum finding_kind kind) {
    struct tally *t = s->tally[kind];
    uint64_t redials = t ? tally_get(t, NUM_REDIALS) : 0;

    if (!t || t->pub.count < PAIRS || !redials) return;
    bool most = redials >= OFTEN && redials * 5 >= s->requests;
    tally_raise(f, t,
                kind == FINDING_SERVER_RESETS_IDLE ? SEVERITY_WARNING
                : most                             ? by_rate(t)
                                                   : SEVERITY_INFO,
                CONFIDENCE_CONFIRMED);
}

static void server_ended_idle(struct findings *f, struct watch *w, enum close_how how) {
    struct subject *s = w->subject;
    int64_t idle = w->end_ns - w->done_ns;
    enum finding_kind kind = how == HOW_RST ? FINDING_SERVER_RESETS_IDLE : FINDING_SERVER_CLOSES_IDLE;

    if (f->conf.idle_conn_timeout_ns && idle >= f->conf.idle_conn_timeout_ns) return; /* later than we would have */
    if (how == HOW_FIN && idle < AT_ONCE) { /* it never meant to keep it, and did not say so */
        forbids_reuse(f, w, FINDING_SERVER_DISABLES_KEEPALIVE, s->responses, NUM_RESPONSES);
        return;
    }
    s->idle_ends[s->n_idle_ends++ % LEARNED] = idle;
    struct tally *t = tally_count(f, s, kind, last_of(w));
    tally_set(t, NUM_OBSERVATIONS, s->n_idle_ends);
    tally_set(t, NUM_IDLE_TIMEOUT_MS, ms(subject_idle_timeout(s)));
    count_redial(t, s, w->end_ns);
    tally_set(t, NUM_REDIALS, tally_get(t, NUM_REDIALS));
    raise_idle_ends(f, s, kind);
}

static void stale_reuse(struct findings *f, struct watch *w) {
    struct tally *t = tally_count(f, w->subject, FINDING_STALE_REUSE_RACE, last_of(w));

    tally_add(t, NUM_RETRIED, w->retried);
    tally_add(t, NUM_FAILED, !w->retried);
    tally_raise(f, t, SEVERITY_WARNING, CONFIDENCE_CONFIRMED);
}

static void truncated(struct findings *f, struct watch *w, const struct fact_end *e) {
    struct tally *t = tally_count(f, w->subject, FINDING_TRUNCATED_RESPONSE, last_of(w));

    tally_set(t, NUM_BODY_READ, e->body_read);
    tally_set(t, NUM_BODY_ANNOUNCED, e->body_announced);
    tally_raise(f, t, SEVERITY_WARNING, CONFIDENCE_CONFIRMED);
}

static void unasked_bytes(struct findings *f, struct watch *w, const struct fact_end *e) {
    enum finding_kind kind = e->excess_is_response ? FINDING_UNSOLICITED_RESPONSE : FINDING_EXCESS_RESPONSE_BYTES;
    struct tally *t = tally_count(f, w->subject, kind, last_of(w));

    tally_add(t, NUM_EXCESS_BYTES, e->excess_bytes);
    tally_raise(f, t, SEVERITY_WARNING, CONFIDENCE_CONFIRMED);
}

static void early_error(struct findings *f, struct watch *w) {
    struct tally *t = tally_count(f, w->subject, FINDING_EARLY_ERROR_RESPONSE, last_of(w));
    tally_raise(f, t, SEVERITY_WARNING, CONFIDENCE_CONFIRMED);
}

static void server_ended(struct findings *f, struct watch *w, const struct fact_end *e) {
    bool framed = e->framing == FRAMING_LENGTH || e->framing == FRAMING_CHUNKED;

    if (e->phase == PHASE_IN_BODY && framed) {
        truncated(f, w, e);
    } else if (w->was_idle && w->done_ns && !w->no_reuse && !w->http10 && e->framing != FRAMING_UNTIL_EOF &&
               !e->excess_bytes) {
        server_ended_idle(f, w, (enum close_how)e->how);
    } else if (w->requests > 1 && !w->was_idle && !w->responded && !e->tls) {
        stale_reuse(f, w);
    }
}

/* ---- ends by the daemon, which knows why ---- */

static void evicted(struct findings *f, struct watch *w) {
    struct tally *t = tally_count(f, w->subject, FINDING_IDLE_CAP_CHURN, last_of(w));

    count_redial(t, w->subject, w->end_ns);
    raise_churn(f, w->subject, t);
}

static void daemon_ended(struct findings *f, struct watch *w, const struct fact_end *e) {
    switch ((enum close_reason)e->reason) {
    case REASON_EARLY_CLOSE:
        early_in_body(f, w, e);
        break;
    case REASON_TOO_MANY_IDLE:
    case REASON_TOO_MANY_IDLE_HOST:
        evicted(f, w);
        break;
    default:
        break;
    }
}

/* ---- tunnels ---- */

static uint64_t most_to_one_host(const struct finding *fi) {
    uint64_t most = 0;
    for (unsigned i = 0; i < FINDING_HOSTS; i++)
        if (fi->by_host[i].count > most) most = fi->by_host[i].count;
    return most;
}

/* Who asks many hosts once each has nothing to reuse. */
static void tunnel_ended(struct findings *f, struct watch *w, const struct fact_end *e) {
    struct subject *s = w->subject;

    if (e->received_bytes > TUNNEL_SMALL || w->end_ns - w->opened_ns > SEC(10)) return;
    struct tally *t = tally_count(f, s, FINDING_TUNNEL_CHURN, last_of(w));
    count_redial(t, s, w->end_ns);
    tally_add(t, NUM_RECEIVED_BYTES, e->received_bytes);
    tally_set(t, NUM_MEAN_BYTES, tally_get(t, NUM_RECEIVED_BYTES) / t->pub.count);
    if (most_to_one_host(&t->pub) >= TUNNELS_OFTEN && tally_get(t, NUM_REDIALS) * 2 >= t->pub.count)
        tally_raise(f, t, by_rate(t), CONFIDENCE_LIKELY);
}

/* ---- a client that does not take what it is sent ---- */

static void slow(struct findings *f, struct watch *w, int64_t blocked_ns, enum severity severity) {
    struct tally *t = tally_of(f, w->subject, FINDING_SLOW_READER);

    if (w->counted_held) return; /* nobody reads it: body_not_closed says so */
    if (!w->counted_slow) t = tally_count(f, w->subject, FINDING_SLOW_READER, last_of(w));
    w->counted_slow = true;
    tally_max(t, NUM_BLOCKED_MS, ms(blocked_ns));
    tally_raise(f, t, t->pub.id && t->pub.severity > severity ? (enum severity)t->pub.severity : severity,
                CONFIDENCE_CONFIRMED);
}

void rules_unblocked(struct findings *f, struct watch *w, int64_t at_ns) {
    if (at_ns - w->blocked_ns > w->longest_blocked_ns) w->longest_blocked_ns = at_ns - w->blocked_ns;
    if (at_ns - w->blocked_ns >= f->conf.slow_after_ns) slow(f, w, at_ns - w->blocked_ns, SEVERITY_WARNING);
}

/* Its window was shut now and then, in spells that were too short to be told, or is. */
static void was_slow(struct findings *f, struct watch *w) {
    if (w->state == WATCH_BLOCKED) rules_unblocked(f, w, f->now);
    if (w->longest_blocked_ns < f->conf.slow_after_ns) slow(f, w, w->longest_blocked_ns, SEVERITY_INFO);
}

/* ---- dials ---- */

void rules_dial_failed(struct findings *f, struct watch *w, enum dial_cause cause) {
    enum finding_kind kind = cause == DIAL_CAUSE_REFUSED ? FINDING_CONNECTION_REFUSED : FINDING_DIAL_FAILURES;
    struct tally *t = tally_count(f, w->subject, kind, last_of(w));

    if (cause == DIAL_CAUSE_UNRESOLVED) tally_add(t, NUM_UNRESOLVED, 1);
    if (cause == DIAL_CAUSE_TIMEOUT) tally_add(t, NUM_TIMED_OUT, 1);
    if (cause == DIAL_CAUSE_TLS) tally_add(t, NUM_TLS_FAILED, 1);
    tally_raise(f, t, SEVERITY_WARNING, CONFIDENCE_CONFIRMED);
}

/* The kernel keeps a local port for 60 s after its connection. */
#define RATE_OVER SEC(10)
static void dial_rate(struct findings *f, struct subject *s, int64_t at_ns) {
    if (at_ns - s->rate_since_ns >= RATE_OVER) {
        uint64_t over_s = (uint64_t)((at_ns - s->rate_since_ns) / SEC(1)); /* it is asked at a dial, however late */
        uint64_t rate = s->rate_since_ns ? s->rate_opens / over_s : 0, ports = f->conf.port_range;
        if (rate * 60 * 2 > ports) {
            struct tally *t = tally_count(f, s, FINDING_DIAL_STORM, (struct occurrence){.host = UINT8_MAX});
            tally_set(t, NUM_DIALS_PER_S, rate);
            tally_set(t, NUM_TIME_WAIT, rate * 60);
            tally_set(t, NUM_PORT_RANGE, ports);
            if (rate * 60 > ports) tally_set(t, NUM_PORTS_LEFT_S, ports / rate);
            tally_raise(f, t, rate * 60 > ports ? SEVERITY_CRITICAL : SEVERITY_WARNING, CONFIDENCE_CONFIRMED);
        }
        s->rate_since_ns = at_ns;
        s->rate_opens = 0;
    }
    s->rate_opens++;
}

void rules_opened(struct findings *f, struct subject *s, int64_t opened_ns) {
    for (unsigned k = 0; k < N_FINDINGS; k++) {
        struct tally *t = s->tally[k];
        if (!t || !t->unredialed || t->unredialed_ns >= opened_ns) continue;
        t->unredialed--;
        t->next_open = s->n_opened;
        tally_add(t, NUM_REDIALS, 1);
        switch (k) {
        case FINDING_EARLY_BODY_CLOSE:
            raise_early(f, t);
            break;
        case FINDING_IDLE_CAP_CHURN:
            raise_churn(f, s, t);
            break;
        case FINDING_TRANSPORT_PER_REQUEST:
            raise_per_request(f, t);
            break;
        case FINDING_SERVER_CLOSES_IDLE:
        case FINDING_SERVER_RESETS_IDLE:
            raise_idle_ends(f, s, (enum finding_kind)k);
            break;
        default:
            break;
        }
    }
    dial_rate(f, s, opened_ns);
}

/* ---- waiting ---- */

void rules_waited(struct findings *f, struct watch *w, uint64_t ns, bool limited) {
    struct subject *s = w->subject;

    if (!limited) return;
    struct tally *t = tally_count(f, s, FINDING_POOL_WAIT, last_of(w));
    tally_max(t, NUM_WAIT_MAX_MS, ms((int64_t)ns));
    tally_set(t, NUM_OPEN, s->n_open);
    if (t->pub.count >= OFTEN) tally_raise(f, t, SEVERITY_WARNING, CONFIDENCE_CONFIRMED);
}

/* In a capture: few connections, always busy, each taking its next request the moment that it is free. A program with
 * as many workers as connections looks the same. */
static void saturated(struct findings *f, struct subject *s) {
    if (s->pub.side != SIDE_CLIENT || !has_pool_limit(s->pub.stack) || s->n_opened < 2) return;
    if (s->last_open_ns - s->first_open_ns > MSEC(50) || s->requests < 4 * s->n_opened) return;
    if (s->prompt_reuses * 10 < s->reuses * 9 || s->busy_total_ns < (int64_t)s->requests * MSEC(5)) return;
    struct tally *t = tally_count(f, s, FINDING_POOL_WAIT, (struct occurrence){.host = UINT8_MAX});
    t->pub.count = s->prompt_reuses;
    tally_set(t, NUM_PROMPT, s->prompt_reuses);
    tally_set(t, NUM_OPEN, s->n_opened);
    tally_raise(f, t, SEVERITY_INFO, CONFIDENCE_SUSPECTED);
}

/* ---- the moments ---- */

void rules_ending(struct findings *f, struct watch *w, uint64_t received, enum close_by by, enum close_how how) {
    struct subject *s = w->subject;

    /* In a capture all is known of it now, and what explains it is near; its record may come much later. */
    if (by == BY_LOCAL && how == HOW_FIN && s->pub.side == SIDE_CLIENT && w->state == WATCH_IDLE)
        fin_after_response(f, w, w->done_ns, received);
    /* A program that ends while it holds connections: its kernel resets those with unread bytes. */
    if (by == BY_LOCAL && how == HOW_RST && is_client(s) && (w->state == WATCH_IDLE || w->state == WATCH_BLOCKED))
        held_connections(f, s, HELD_AT_EXIT);
}

void rules_closed(struct findings *f, struct watch *w, const struct fact_end *e) {
    struct subject *s = w->subject;

    if (!e->stood) {
        if (e->rst == FACT_RST_REFUSED) rules_dial_failed(f, w, DIAL_CAUSE_REFUSED);
        return;
    }
    if (e->excess_bytes) unasked_bytes(f, w, e);
    if (e->zero_window_ns >= MSEC(10) && is_client(s)) was_slow(f, w);
    if (w->was_opaque || w->state == WATCH_OPAQUE) {
        tunnel_ended(f, w, e);
        return;
    }
    if (e->tls && e->by != BY_NONE && is_client(s)) tls_per_request(f, w, e);
    if (e->unread_upload && w->status >= 400)
        early_error(f, w);
    else if (e->by == BY_LOCAL && (e->reason == REASON_NONE || is_client(s)))
        client_ended(f, w, e);
    else if (e->by == BY_LOCAL)
        daemon_ended(f, w, e);
    else if (e->by == BY_REMOTE && s->pub.side != SIDE_DOWNSTREAM) {
        if (e->tls && e->local_rst && e->early == FACT_EARLY_UNKNOWN) rst_of_unknown(f, w, e);
        server_ended(f, w, e);
    }
}

static bool is_held_kind(enum finding_kind k, const struct tally *t) {
    return t->raised_now && (k == FINDING_BODY_NOT_CLOSED || k == FINDING_TRANSPORT_PER_REQUEST);
}

static void resolve_old(struct findings *f, struct subject *s) {
    for (unsigned k = 0; k < N_FINDINGS; k++) {
        struct tally *t = s->tally[k];
        if (!t || !t->pub.id || t->pub.resolved_ns || is_held_kind((enum finding_kind)k, t)) continue;
        if (f->now - t->pub.last_ns > f->conf.window_ns) tally_resolve(f, t);
    }
}

void rules_tick(struct findings *f, struct subject *s) {
    struct watch *w;

    if (s->n_waiting) rules_settle(f, s, SETTLE_RIPE);
    held_connections(f, s, HELD_SO_FAR);
    TAILQ_FOREACH (w, &s->blocked, link) {
        if (f->now - w->blocked_ns < f->conf.slow_after_ns) break;
        slow(f, w, f->now - w->blocked_ns, SEVERITY_WARNING);
    }
    resolve_old(f, s);
}

void rules_end(struct findings *f, struct subject *s) {
    rules_settle(f, s, SETTLE_END);
    held_connections(f, s, HELD_AT_END);
    saturated(f, s);
}

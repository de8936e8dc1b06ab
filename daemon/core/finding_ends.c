/* The rules about a client's FIN or RST after a whole response: what for? A limit of idle connections that was full,
 * a body that nobody read, a client made for one request, a program that ended with all it held, or nothing at all.
 *
 * None of them shows it by itself. Each end waits until what came after explains it, or others like it do. */
#include "finding_private.h"

#include <stddef.h>

static const char *const effect_proxy_key = "Through a forward proxy Go and others pool all plain-HTTP hosts under one "
                                            "key with one limit; direct_dials says what a "
                                            "client without a proxy would have needed.";

/* ---- a FIN after the whole response ---- */

static struct occurrence waiting_occurrence(const struct close_waiting *c) {
    return (struct occurrence){
        .id = c->id, .at_ns = c->end_ns, .status = c->status, .host = c->host, .method = c->method};
}

/* Closed with another one of the same client idle, and kept: the limit of idle ones was full; unless it kept more
 * than those before, which is no limit. */
static bool another_was_kept(const struct findings *f, const struct subject *s, const struct close_waiting *c,
                             enum settle how) {
    const struct watch *w;

    if (c->idle_beside < s->kept[0] || c->idle_beside < s->kept[1]) return false;
    for (uint64_t i = 0; i < SPELLS && i < s->n_spells; i++)
        if (s->spell[i].from_ns <= c->end_ns && s->spell[i].to_ns >= c->end_ns) return true;
    TAILQ_FOREACH (w, &s->idle, link) {
        if (w->done_ns > c->end_ns) break;
        if (how == SETTLE_END || f->now - c->end_ns >= EXPLAINED_BY) return true;
    }
    return false;
}

/* Responses of this class are followed by a close, those of others are not: not the limit, but what is done with
 * such a response. Leaks on errors alone are the rule. */
static bool is_matter_of_status(const struct subject *s, const struct close_waiting *c) {
    unsigned k = class_of(c->status);
    uint64_t others = 0, others_fin = 0;

    if (k < 4 || s->fin_by[k] < OFTEN || s->fin_by[k] * 5 < s->done_by[k] * 4) return false;
    for (unsigned i = 0; i < 6; i++)
        if (i != k) others += s->done_by[i], others_fin += s->fin_by[i];
    return others >= OFTEN && others_fin * 5 <= others;
}

void raise_churn(struct findings *f, struct subject *s, struct tally *t) {
    tally_set(t, NUM_SUFFICIENT, subject_peak(s));
    tally_set(t, NUM_PEAK_ACTIVE, subject_peak(s));
    if (subject_peak(s) > s->sufficient) s->sufficient = subject_peak(s);
    if (is_client(s) && f->conf.forward && s->pub.side == SIDE_DOWNSTREAM && s->n_hosts > 1) {
        uint64_t direct = 0;
        for (unsigned i = 0; i < s->n_hosts; i++) direct += s->hosts[i].dials;
        tally_set(t, NUM_HOSTS, s->n_hosts);
        tally_set(t, NUM_DIRECT_DIALS, direct);
        t->pub.observer_effect = effect_proxy_key;
    }
    if (tally_get(t, NUM_REDIALS) >= PAIRS)
        tally_raise(f, t, t->pub.observer_effect ? SEVERITY_INFO : SEVERITY_WARNING,
                    is_client(s) ? CONFIDENCE_LIKELY : CONFIDENCE_CONFIRMED);
}

void raise_per_request(struct findings *f, struct tally *t) {
    if (tally_get(t, NUM_REDIALS) < PAIRS) return;
    /* Of who does not say what it is an early close is named first; this is what else it may be. */
    bool other = t->subject->pub.stack == STACK_UNKNOWN && t->pub.ambiguous >> FINDING_EARLY_BODY_CLOSE & 1;
    tally_raise(f, t, t->pub.observer_effect || other ? SEVERITY_INFO : by_rate(t), CONFIDENCE_SUSPECTED);
}

static void close_is_early(struct findings *f, struct subject *s, const struct close_waiting *c, const char *effect) {
    bool may_be_unread = !c->bodyless && !reads_all(s->pub.stack) && c->delivered <= own_buffer(s->pub.stack);
    struct tally *t;

    if (may_be_unread) {
        t = tally_count(f, s, FINDING_EARLY_BODY_CLOSE, waiting_occurrence(c));
        count_redial(t, s, c->end_ns);
        tally_add(t, NUM_BY_FIN, 1);
        tally_set(t, NUM_RECEIVED_BYTES, c->received);
        tally_set(t, NUM_UNREAD_IF_4096, UNKNOWN_BYTES); /* of an earlier one, which a RST ended */
        tally_set(t, NUM_REQUESTS, c->requests);
        if (c->requests == 1) t->pub.ambiguous |= bit(FINDING_TRANSPORT_PER_REQUEST);
        t->pub.observer_effect = effect ? effect : s->pub.side == SIDE_DOWNSTREAM ? effect_cut : NULL;
        raise_early(f, t);
    }
    if (c->requests != 1 || (may_be_unread && !has_sessions(s->pub.stack))) return;
    t = tally_count(f, s, FINDING_TRANSPORT_PER_REQUEST, waiting_occurrence(c));
    count_redial(t, s, c->end_ns);
    tally_set(t, NUM_CONNECTIONS, t->pub.count);
    if (may_be_unread) t->pub.ambiguous |= bit(FINDING_EARLY_BODY_CLOSE);
    t->pub.observer_effect = effect;
    raise_per_request(f, t);
}

/* ---- a RST after the whole response ---- */

/* SO_LINGER 0 looks the same: a stack that never sets it, or more bytes than one read takes, make unread ones the
 * likely cause. */
static bool is_likely_unread(const struct watch *w, const struct fact_end *e) {
    bool likely = w->subject->pub.stack != STACK_UNKNOWN || w->delivered >= MUCH_RECEIVED ||
                  (!w->delivered && e->received_bytes >= MUCH_RECEIVED);
    return likely && !w->bodyless && e->rst_likely == FACT_RST_UNREAD;
}

static void close_is_reset(struct findings *f, struct subject *s, const struct close_waiting *c) {
    struct tally *t = tally_count(f, s, FINDING_EARLY_BODY_CLOSE, waiting_occurrence(c));

    count_redial(t, s, c->end_ns);
    tally_set(t, NUM_RECEIVED_BYTES, c->received);
    tally_set(t, NUM_REQUESTS, c->requests);
    tally_set(t, NUM_REUSED, c->requests - 1);
    tally_set(t, NUM_UNREAD_IF_4096, c->unread_if_read_4096);
    if (c->rst_packet) tally_set(t, NUM_RST_PACKET, c->rst_packet);
    if (s->pub.side == SIDE_DOWNSTREAM) t->pub.observer_effect = effect_cut;
    tally_add(t, NUM_BY_RST, 1);
    raise_early(f, t);
}

/* ---- a program that ends ---- */

struct together { /* ends of one moment */
    unsigned n, passed_over, single, resets;
    int64_t first_end_ns, last_end_ns, first_done_ns, last_done_ns;
};

static bool is_of_that_moment(const struct close_waiting *c, const struct close_waiting *d) {
    int64_t apart = c->end_ns - d->end_ns;
    return d->requests && !d->bodyless && (d->rst || d->requests == 1) && apart <= AT_EXIT && -apart <= AT_EXIT;
}

static void see_together(const struct subject *s, const struct close_waiting *c, struct together *g) {
    *g = (struct together){.first_end_ns = c->end_ns, .last_end_ns = c->end_ns, .first_done_ns = c->done_ns};
    g->last_done_ns = c->done_ns;
    for (unsigned i = 0; i < s->n_waiting; i++) {
        const struct close_waiting *d = &s->waiting[i];
        if (!is_of_that_moment(c, d)) continue;
        g->n++;
        g->passed_over += d->passed_over;
        g->single += d->requests == 1;
        g->resets += d->rst;
        if (d->end_ns < g->first_end_ns) g->first_end_ns = d->end_ns;
        if (d->end_ns > g->last_end_ns) g->last_end_ns = d->end_ns;
        if (d->done_ns < g->first_done_ns) g->first_done_ns = d->done_ns;
        if (d->done_ns > g->last_done_ns) g->last_done_ns = d->done_ns;
    }
}

/* Responses came one after the other, more of them than requests ever ran at a time, each on a connection of its own
 * that was never used again; and all end at once, and nothing of the client is left: it held them till its end. Who
 * closes each for its own sake does it as far apart as the responses came. */
static bool is_exit(const struct subject *s, const struct together *g) {
    return g->n >= HELD_LEAST && g->n > subject_peak(s) + 1 && g->passed_over + 1 >= g->n &&
           (g->last_end_ns - g->first_end_ns) * SPREAD < g->last_done_ns - g->first_done_ns &&
           subject_opens_after(s, g->first_end_ns) >= s->n_open;
}

static void count_exit(struct findings *f, struct subject *s, enum finding_kind kind, const struct close_waiting *c,
                       bool ambiguous) {
    struct tally *t = tally_count(f, s, kind, waiting_occurrence(c));
    if (ambiguous)
        t->pub.ambiguous |=
            bit(kind == FINDING_BODY_NOT_CLOSED ? FINDING_TRANSPORT_PER_REQUEST : FINDING_BODY_NOT_CLOSED);
}

static void raise_exit(struct findings *f, struct subject *s, enum finding_kind kind, const struct together *g) {
    struct tally *t = s->tally[kind];

    if (!t || t->raised_now) return; /* what others hold goes on */
    if (kind == FINDING_BODY_NOT_CLOSED)
        tally_set(t, NUM_OPENS_SINCE, subject_opens_after(s, g->first_done_ns + RACE));
    else
        tally_set(t, NUM_CONNECTIONS, t->pub.count);
    tally_raise(f, t, g->resets ? SEVERITY_WARNING : by_rate(t),
                t->pub.ambiguous ? CONFIDENCE_SUSPECTED : CONFIDENCE_LIKELY);
    tally_resolve(f, t); /* it is over */
}

/* The ends of the moment of waiting[i], if it was an exit. */
static bool settle_exit(struct findings *f, struct subject *s, unsigned i) {
    const struct close_waiting first = s->waiting[i];
    struct together g;
    bool some_unread = false;

    see_together(s, &first, &g);
    if (!is_exit(s, &g)) return false;
    bool may_be_pools = !g.resets && g.single == g.n;
    for (unsigned k = 0; k < s->n_waiting; k++) {
        struct close_waiting *c = &s->waiting[k];
        if (!is_of_that_moment(&first, c)) continue;
        bool may_be_unread = c->rst || (!reads_all(s->pub.stack) && c->delivered <= own_buffer(s->pub.stack));
        if (may_be_unread) count_exit(f, s, FINDING_BODY_NOT_CLOSED, c, may_be_pools);
        if (may_be_pools) count_exit(f, s, FINDING_TRANSPORT_PER_REQUEST, c, may_be_unread);
        some_unread |= may_be_unread;
        c->state = CLOSE_TOLD;
    }
    if (some_unread) raise_exit(f, s, FINDING_BODY_NOT_CLOSED, &g);
    if (may_be_pools) raise_exit(f, s, FINDING_TRANSPORT_PER_REQUEST, &g);
    return true;
}

/* ---- what each turns out to be ---- */

/* Who used a connection before reads bodies: that it closes it now is the end of a session or of a program, unless it
 * is the status of its last response. */
static bool may_be_told(const struct subject *s, const struct close_waiting *c) {
    return c->requests == 1 || is_matter_of_status(s, c);
}

static void settle_one(struct findings *f, struct subject *s, unsigned i, enum settle how) {
    struct close_waiting *c = &s->waiting[i];
    bool keeps_none = closes_to_proxies(f, s, c->proxied);
    int64_t age = f->now - c->end_ns;

    if (c->state != CLOSE_NEW) return;
    if (!c->rst && !keeps_none && another_was_kept(f, s, c, how) && !is_matter_of_status(s, c)) {
        struct tally *t = tally_count(f, s, FINDING_IDLE_CAP_CHURN, waiting_occurrence(c));
        count_redial(t, s, c->end_ns);
        raise_churn(f, s, t);
        c->state = CLOSE_TOLD;
        return;
    }
    if (how == SETTLE_RIPE && age < (c->rst ? AT_EXIT : EXPLAINED_BY)) return;
    if (settle_exit(f, s, i)) return;
    if (c->rst) close_is_reset(f, s, c);
    c->state = c->rst ? CLOSE_TOLD : CLOSE_ALONE;
}

/* One FIN tells nothing; several of a kind within the window are a habit, and then each counts. */
static void tell_habit(struct findings *f, struct subject *s, enum settle how) {
    bool known = s->told_ns && f->now - s->told_ns <= f->conf.window_ns;
    unsigned alike = 0;

    for (unsigned i = 0; i < s->n_waiting; i++)
        alike += s->waiting[i].state == CLOSE_ALONE && may_be_told(s, &s->waiting[i]);
    for (unsigned i = 0; i < s->n_waiting; i++) {
        struct close_waiting *c = &s->waiting[i];
        if (c->state != CLOSE_ALONE) continue;
        if ((known || alike >= OFTEN) && may_be_told(s, c)) {
            s->told_ns = f->now;
            close_is_early(f, s, c, closes_to_proxies(f, s, c->proxied) ? effect_aiohttp : NULL);
            c->state = CLOSE_TOLD;
        } else if (how != SETTLE_RIPE || f->now - c->end_ns > f->conf.window_ns) {
            c->state = CLOSE_TOLD; /* it stays alone */
        }
    }
}

void rules_settle(struct findings *f, struct subject *s, enum settle how) {
    unsigned kept = 0;

    for (unsigned i = 0; i < s->n_waiting; i++) settle_one(f, s, i, how);
    tell_habit(f, s, how);
    for (unsigned i = 0; i < s->n_waiting; i++)
        if (s->waiting[i].state != CLOSE_TOLD) s->waiting[kept++] = s->waiting[i];
    s->n_waiting = kept;
}

static struct close_waiting *wait_for_others(struct findings *f, struct watch *w, uint64_t received) {
    struct subject *s = w->subject;
    struct close_waiting *c;

    if (s->n_waiting == WAITING) rules_settle(f, s, SETTLE_ALL);
    c = &s->waiting[s->n_waiting++];
    *c = (struct close_waiting){.end_ns = w->end_ns,
                                .done_ns = w->done_ns,
                                .received = received,
                                .delivered = w->delivered,
                                .unread_if_read_4096 = UNKNOWN_BYTES,
                                .id = w->id,
                                .requests = w->requests,
                                .idle_beside = w->idle_beside,
                                .status = w->status,
                                .host = w->host,
                                .method = w->method,
                                .bodyless = w->bodyless,
                                .proxied = w->proxied,
                                .passed_over = w->passed_over};
    return c;
}

static int64_t soon_after(uint64_t bytes) {
    return CLOSE_SOON + (bytes < ((uint64_t)1 << 32) ? (int64_t)bytes * SEC(1) / READ_RATE : SEC(3600));
}

void fin_after_response(struct findings *f, struct watch *w, int64_t came_ns, uint64_t received) {
    w->judged = true;
    if (w->no_reuse || w->http10 || !w->done_ns) return;
    if (w->end_ns - came_ns <= soon_after(w->delivered)) {
        w->subject->fin_by[class_of(w->status)]++;
        wait_for_others(f, w, received);
    }
}

/* Of a large body the daemon's kernel may have megabytes left when the daemon is done. */
void fin_at_last(struct findings *f, struct watch *w, const struct fact_end *e) {
    if (!w->was_idle || w->judged) return;
    fin_after_response(f, w, e->last_data_ns > w->done_ns ? e->last_data_ns : w->done_ns, e->received_bytes);
}

void rst_after_response(struct findings *f, struct watch *w, const struct fact_end *e) {
    struct close_waiting *c;

    if (!is_likely_unread(w, e)) return;
    rst_unread(f, w, e, SEVERITY_WARNING);
    if (w->counted_held) {
        held_unread(f, w);
        return;
    }
    c = wait_for_others(f, w, e->received_bytes);
    c->rst = true;
    c->requests = e->counts_known ? e->requests : w->requests;
    c->unread_if_read_4096 = e->unread_if_read_4096;
    c->rst_packet = e->rst_packet;
}

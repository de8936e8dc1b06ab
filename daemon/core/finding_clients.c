/* The rules about what clients do: bodies given up, and connections held.
 *
 * A false alarm is worse than a miss. What proves itself is raised at once; what only looks
 * like it must come again and again; and what looks the same as something else names it. */
#include "finding_private.h"

#include <string.h>

/* ---- what a client's stack does of itself ---- */

/* It reads every body that it does not refuse: a FIN after one is no early close. */
bool reads_all(enum stack st) {
    return st == STACK_CURL || st == STACK_WGET || st == STACK_AB;
}

/* Its connections commonly end with the session that made them: a FIN after one response is as likely that. Of who does
 * not say what it is nothing else is known. */
bool has_sessions(enum stack st) {
    return st == STACK_UNKNOWN || st == STACK_REQUESTS || st == STACK_URLLIB3 || st == STACK_HTTPX ||
           st == STACK_AIOHTTP || reads_all(st);
}

/* How much of a response, head and all, its own buffers can hide from its kernel: with less, an early close is a FIN.
 */
uint64_t own_buffer(enum stack st) {
    return st == STACK_GO ? 4096 : st == STACK_REQUESTS || st == STACK_URLLIB3 ? 16384 : BUFFER_MOST;
}

/* It has a pool whose size is limited, and makes requests wait for it. */
bool has_pool_limit(enum stack st) {
    return st == STACK_GO || st == STACK_APACHE || st == STACK_OKHTTP || st == STACK_AIOHTTP || st == STACK_UNDICI ||
           st == STACK_HTTPX || st == STACK_DOTNET;
}

/* aiohttp closes its connection to a plain proxy after each response and does not say so. */
bool closes_to_proxies(const struct findings *f, const struct subject *s, bool proxied) {
    return s->pub.stack == STACK_AIOHTTP && (proxied || (f->conf.forward && s->pub.side == SIDE_DOWNSTREAM));
}

/* To a plain-HTTP proxy it has one pool for whatever it asks for. OkHttp, Apache HttpClient and httpx have one for each
 * host. */
static bool pools_all_hosts(enum stack st) {
    return st == STACK_GO || st == STACK_JDK || st == STACK_JDK_URL || st == STACK_REQUESTS || st == STACK_URLLIB3 ||
           st == STACK_NODE || st == STACK_UNDICI || st == STACK_DOTNET || st == STACK_CURL;
}

static bool pools_by_host(const struct subject *s, const struct watch *w) {
    return w->proxied && s->n_hosts > 1 && !pools_all_hosts(s->pub.stack);
}

/* When a connection was opened last where this one, if it was free, could have been used. */
int64_t last_rival_ns(const struct subject *s, const struct watch *w) {
    if (!pools_by_host(s, w)) return s->last_open_ns;
    return w->host < s->n_hosts ? s->hosts[w->host].last_open_ns : 0;
}

static const char *const effect_upstream =
    "The daemon gave the body up because its client left; the finding of the downstream side names the client.";
const char *const effect_cut = "The daemon sends head and body in one write where it has both: whether a "
                               "client's early close shows FIN or RST depends "
                               "on how the answer was cut into segments.";
const char *const effect_aiohttp =
    "aiohttp closes connections to a plain-HTTP proxy after each response; without the proxy it would reuse them.";

void count_redial(struct tally *t, const struct subject *s, int64_t closed_ns) {
    uint64_t i = t->next_open;

    if (s->n_opened > OPENS && i < s->n_opened - OPENS) i = s->n_opened - OPENS;
    while (i < s->n_opened && s->opened[i % OPENS] <= closed_ns) i++;
    if (i < s->n_opened) {
        tally_add(t, NUM_REDIALS, 1);
        t->next_open = i + 1;
    } else if (!t->unredialed++) {
        t->unredialed_ns = closed_ns;
    }
}

/* ---- early_body_close and rst_unread_data ---- */

void raise_early(struct findings *f, struct tally *t) {
    uint64_t proven = tally_get(t, NUM_PROVEN), rst = tally_get(t, NUM_BY_RST), fin = tally_get(t, NUM_BY_FIN);
    uint64_t justified = tally_get(t, NUM_JUSTIFIED);
    bool rare_and_right = justified == t->pub.count && t->pub.count < TUNNELS_OFTEN && fin == 0;
    bool of_others = t->pub.observer_effect == effect_aiohttp || t->pub.observer_effect == effect_upstream;
    bool streams = tally_get(t, NUM_STREAMS) == t->pub.count;
    enum severity severity = rare_and_right || of_others || streams ? SEVERITY_INFO
                             : proven || rst                        ? SEVERITY_WARNING
                                                                    : by_rate(t);

    if (!proven && !rst && tally_get(t, NUM_REDIALS) < PAIRS) return;
    tally_raise(f, t, severity,
                proven ? CONFIDENCE_CONFIRMED
                : rst  ? CONFIDENCE_LIKELY
                       : (t->pub.ambiguous ? CONFIDENCE_SUSPECTED : CONFIDENCE_LIKELY));
}

static void count_cost(struct tally *t, const struct fact_end *e) {
    if (e->body_announced == UNKNOWN_BYTES || e->body_announced < e->body_read) return;
    uint64_t rest = e->body_announced - e->body_read;
    tally_add(t, NUM_REST_BYTES, rest);
    tally_add(t, rest > DRAIN_WORTH ? NUM_JUSTIFIED : NUM_WASTEFUL, 1);
}

static struct tally *count_early(struct findings *f, struct watch *w, const struct fact_end *e) {
    struct tally *t = tally_count(f, w->subject, FINDING_EARLY_BODY_CLOSE, last_of(w));

    count_redial(t, w->subject, w->end_ns);
    tally_set(t, NUM_RECEIVED_BYTES, e->received_bytes);
    if (e->counts_known) {
        tally_set(t, NUM_REQUESTS, e->requests);
        tally_set(t, NUM_REUSED, e->requests ? e->requests - 1 : 0);
    }
    if (e->unread_bytes != UNKNOWN_BYTES && e->unread_bytes) tally_add(t, NUM_UNREAD_BYTES, e->unread_bytes);
    tally_set(t, NUM_UNREAD_IF_4096, e->unread_if_read_4096);
    if (e->rst_packet) tally_set(t, NUM_RST_PACKET, e->rst_packet);
    if (is_client(w->subject)) {
        if (w->subject->pub.side == SIDE_DOWNSTREAM) t->pub.observer_effect = effect_cut;
    } else {
        t->pub.observer_effect = effect_upstream;
    }
    return t;
}

void rst_unread(struct findings *f, struct watch *w, const struct fact_end *e, enum severity severity) {
    struct tally *t = tally_count(f, w->subject, FINDING_RST_UNREAD_DATA, last_of(w));

    if (e->unread_bytes != UNKNOWN_BYTES) tally_add(t, NUM_UNREAD_BYTES, e->unread_bytes);
    tally_set(t, NUM_RECEIVED_BYTES, e->received_bytes);
    tally_set(t, NUM_UNREAD_IF_4096, e->unread_if_read_4096);
    if (e->rst_packet) tally_set(t, NUM_RST_PACKET, e->rst_packet);
    if (!is_client(w->subject)) t->pub.observer_effect = effect_upstream;
    tally_raise(f, t, severity, e->rst == FACT_RST_UNREAD ? CONFIDENCE_CONFIRMED : CONFIDENCE_LIKELY);
}

/* It had read the body for some time, nothing waited in its socket, as its FIN shows, nor before it: then it left
 * while it waited for more. A timeout; or a stream, which has no other end. */
static bool waited_for_more(const struct watch *w, const struct fact_end *e) {
    return is_client(w->subject) && e->how == HOW_FIN && e->rst != FACT_RST_UNREAD && !w->was_blocked &&
           w->end_ns - w->response_ns >= STREAMED;
}

void early_in_body(struct findings *f, struct watch *w, const struct fact_end *e) {
    if (w->counted_held) { /* the end of a leak */
        if (e->local_rst && e->rst == FACT_RST_UNREAD) rst_unread(f, w, e, SEVERITY_WARNING);
        return;
    }
    struct tally *t = count_early(f, w, e);

    tally_add(t, NUM_PROVEN, 1);
    count_cost(t, e);
    if (waited_for_more(w, e)) {
        tally_add(t, NUM_WAITED_FOR_MORE, 1);
        tally_set(t, NUM_WAITED_MS, ms(w->end_ns - w->request_ns));
        if (e->framing != FRAMING_LENGTH) tally_add(t, NUM_STREAMS, 1);
        t->pub.ambiguous |= bit(FINDING_REQUEST_TIMEOUT);
    }
    raise_early(f, t);
    if (e->local_rst && e->rst == FACT_RST_UNREAD)
        rst_unread(f, w, e, (enum severity)t->pub.severity); /* as right as giving it up */
}

/* Messages cannot be read (snap length, a gap), but the RST can. */
void rst_of_unknown(struct findings *f, struct watch *w, const struct fact_end *e) {
    if (e->rst_likely != FACT_RST_UNREAD || e->received_bytes < MUCH_RECEIVED) return;
    rst_unread(f, w, e, SEVERITY_WARNING);
    if (e->tls) return;
    struct tally *t = count_early(f, w, e);
    tally_add(t, NUM_BY_RST, 1);
    tally_raise(f, t, SEVERITY_WARNING, CONFIDENCE_SUSPECTED);
}

/* ---- body_not_closed and transport_per_request, by what is held ---- */

struct held {
    unsigned n, unread, read, single, in_buffer, in_queue;
    uint64_t recv_q, send_q;
    int64_t oldest_ns;
    struct watch *first;
    uint32_t pid;
};

/* A capture is given a short leak_after, for it may be short itself; but who stops reading for a second in the middle
 * of a large body, and then goes on, leaks nothing. */
static int64_t patience(const struct findings *f, const struct subject *s, enum held_when when, bool blocked) {
    int64_t least = f->conf.leak_after_ns, rest = RESTS * s->came_back_ns;

    if (!blocked) return when == HELD_AT_END ? rest : rest > least ? rest : least;
    if (when != HELD_SO_FAR || f->conf.observer != OBSERVER_CAPTURE) return least;
    return f->conf.slow_after_ns > least ? f->conf.slow_after_ns : least;
}

static bool has_rested(const struct findings *f, const struct subject *s, const struct watch *w, enum held_when when) {
    bool blocked = w->state == WATCH_BLOCKED;
    return f->now - (blocked ? w->blocked_ns : w->done_ns) >= patience(f, s, when, blocked);
}

/* `passed_over`: a new one was opened while this one could have been used. The newest held connections have not seen
 * that yet; they count where others prove the habit, if they are all of one pool. */
static bool is_held(const struct findings *f, const struct subject *s, const struct watch *w, enum held_when when,
                    bool passed_over) {
    int64_t unused_since = w->state == WATCH_BLOCKED ? w->stalled_ns : w->done_ns;

    if (!has_rested(f, s, w, when)) return false;
    return !(passed_over || pools_by_host(s, w)) || last_rival_ns(s, w) >= unused_since + RACE;
}

static void add_held(struct held *h, struct watch *w, bool blocked) {
    int64_t since = blocked ? w->blocked_ns : w->done_ns;

    h->n++;
    h->single += w->requests == 1;
    h->unread += blocked || w->send_q > 0 || (w->probed && w->recv_q > 0);
    h->read += !blocked && (w->bodyless || (w->probed && w->recv_q == 0)); /* no body: nothing to leave unread */
    h->in_buffer += !blocked && !w->bodyless && w->delivered <= own_buffer(w->subject->pub.stack);
    h->in_queue += !blocked && !w->bodyless && w->delivered <= (w->side == SIDE_DOWNSTREAM ? QUEUES_MOST : QUEUE_MOST);
    h->recv_q += w->recv_q;
    h->send_q += w->send_q;
    if (!h->first || since < h->oldest_ns) h->oldest_ns = since;
    if (!h->first) h->first = w;
    if (w->pid) h->pid = w->pid;
}

static void see_held(const struct findings *f, const struct subject *s, enum held_when when, bool passed_over,
                     struct held *h) {
    struct watch *w;

    *h = (struct held){0};
    TAILQ_FOREACH (w, &s->blocked, link) {
        if (is_held(f, s, w, when, passed_over)) add_held(h, w, true);
    }
    TAILQ_FOREACH (w, &s->idle, link) {
        bool none_since = passed_over && s->last_open_ns < w->done_ns + RACE;
        if (!has_rested(f, s, w, when) || none_since) break; /* and none of those behind it */
        if (is_held(f, s, w, when, passed_over)) add_held(h, w, false);
    }
}

static bool *counted_as(struct watch *w, enum finding_kind kind) {
    return kind == FINDING_BODY_NOT_CLOSED ? &w->counted_held : &w->counted_single;
}

/* What was suspected for this connection's sake was not so, nor for the sake of those that have not rested longer than
 * it may be; and what is left of the suspicion may be too little. */
static void was_not_held(struct findings *f, struct watch *w, enum finding_kind kind) {
    struct subject *s = w->subject;
    struct tally *t = s->tally[kind];

    if (!t || t->pub.confidence == CONFIDENCE_CONFIRMED || !*counted_as(w, kind)) return;
    *counted_as(w, kind) = false;
    tally_uncount(f, t, last_of(w));
    TAILQ_FOREACH (w, &s->idle, link) {
        if (!*counted_as(w, kind) || is_held(f, s, w, HELD_SO_FAR, false)) continue;
        *counted_as(w, kind) = false;
        tally_uncount(f, t, last_of(w));
    }
    if (t->pub.count >= HELD_LEAST) return;
    TAILQ_FOREACH (w, &s->idle, link) *counted_as(w, kind) = false;
    tally_withdraw(f, t);
}

/* The end of a leak: what its socket held shows that it was one, and no pool that nobody used. */
void held_unread(struct findings *f, struct watch *w) {
    struct tally *t = w->subject->tally[FINDING_BODY_NOT_CLOSED];

    was_not_held(f, w, FINDING_TRANSPORT_PER_REQUEST);
    if (!t || !t->pub.id) return;
    t->pub.ambiguous &= ~bit(FINDING_TRANSPORT_PER_REQUEST);
    if (t->pub.confidence < CONFIDENCE_LIKELY) t->pub.confidence = CONFIDENCE_LIKELY;
}

/* It was passed over, and is used again: several pools look like one from here, as of the processes of one program or
 * of clients behind one address, and each comes back to its own connections. */
void came_back(struct findings *f, struct watch *w, int64_t at_ns) {
    struct subject *s = w->subject;
    int64_t rest = at_ns - w->done_ns;

    if (!is_client(s) || last_rival_ns(s, w) < w->done_ns + RACE) return;
    if (rest > s->came_back_ns) s->came_back_ns = rest;
    was_not_held(f, w, FINDING_BODY_NOT_CLOSED);
    was_not_held(f, w, FINDING_TRANSPORT_PER_REQUEST);
}

static void count_held(struct findings *f, struct subject *s, enum held_when when) {
    struct watch *w;

    TAILQ_FOREACH (w, &s->blocked, link) {
        if (!is_held(f, s, w, when, false) || w->counted_held) continue;
        w->counted_held = true;
        tally_count(f, s, FINDING_BODY_NOT_CLOSED, last_of(w));
    }
    TAILQ_FOREACH (w, &s->idle, link) {
        if (!has_rested(f, s, w, when)) break;
        if (!is_held(f, s, w, when, false) || w->counted_held || w->bodyless) continue;
        w->counted_held = true;
        tally_count(f, s, FINDING_BODY_NOT_CLOSED, last_of(w));
    }
}

static void count_single(struct findings *f, struct subject *s, enum held_when when) {
    struct watch *w;

    TAILQ_FOREACH (w, &s->idle, link) {
        if (!has_rested(f, s, w, when)) break;
        if (!is_held(f, s, w, when, false) || w->counted_single || w->requests != 1) continue;
        w->counted_single = true;
        tally_count(f, s, FINDING_TRANSPORT_PER_REQUEST, last_of(w));
    }
}

static void body_not_closed(struct findings *f, struct subject *s, const struct held *h, enum held_when when,
                            bool ambiguous) {
    struct tally *t = tally_of(f, s, FINDING_BODY_NOT_CLOSED);
    void (*put)(struct tally *, enum finding_number, uint64_t) = when == HELD_AT_EXIT ? tally_max : tally_set;

    count_held(f, s, when); /* at its exit, from connection to connection, there is less and less of it */
    tally_set(t, NUM_HELD, h->n);
    tally_set(t, NUM_OLDEST_HELD_MS, ms(f->now - h->oldest_ns));
    tally_max(t, NUM_OPENS_SINCE, subject_opens_after(s, h->oldest_ns + RACE));
    if (h->recv_q) put(t, NUM_RECV_Q, h->recv_q);
    if (h->send_q) put(t, NUM_SEND_Q, h->send_q);
    if (h->pid) tally_set(t, NUM_PID, h->pid);
    memcpy(t->pub.comm, s->comm, sizeof t->pub.comm);
    if (ambiguous) t->pub.ambiguous |= bit(FINDING_TRANSPORT_PER_REQUEST);
    t->pub.last_ns = f->now;
    t->raised_now = true;
    if (!t->pub.count) return;
    tally_raise(f, t, h->unread >= 50 ? SEVERITY_CRITICAL : SEVERITY_WARNING,
                h->unread   ? CONFIDENCE_CONFIRMED
                : ambiguous ? CONFIDENCE_SUSPECTED
                            : CONFIDENCE_LIKELY);
}

static void held_per_request(struct findings *f, struct subject *s, enum held_when when, bool ambiguous) {
    struct tally *t = tally_of(f, s, FINDING_TRANSPORT_PER_REQUEST);

    count_single(f, s, when);
    tally_set(t, NUM_CONNECTIONS, t->pub.count);
    tally_set(t, NUM_OPEN, s->n_open);
    if (ambiguous) t->pub.ambiguous |= bit(FINDING_BODY_NOT_CLOSED);
    t->pub.last_ns = f->now;
    t->raised_now = true;
    if (t->pub.count) tally_raise(f, t, SEVERITY_WARNING, ambiguous ? CONFIDENCE_SUSPECTED : CONFIDENCE_LIKELY);
}

static void held_resolved(struct findings *f, struct subject *s, enum finding_kind kind) {
    struct tally *t = s->tally[kind];

    if (!t || !t->raised_now) return;
    t->raised_now = false;
    tally_set(t, kind == FINDING_BODY_NOT_CLOSED ? NUM_HELD : NUM_OPEN, 0);
    tally_resolve(f, t);
}

/* Processes that look like one client have pools of their own. The most that one of them holds; all, where not every
 * holder is known. */
static unsigned most_of_a_process(const struct findings *f, const struct subject *s, enum held_when when,
                                  const struct held *h) {
    struct {
        uint32_t pid;
        unsigned n;
    } process[PROCESSES];
    unsigned n = 0, most = 0;
    const struct watch *w;

    TAILQ_FOREACH (w, &s->idle, link) {
        unsigned i = 0;
        if (!has_rested(f, s, w, when)) break;
        if (!is_held(f, s, w, when, true)) continue;
        while (i < n && process[i].pid != w->pid) i++;
        if (!w->pid || i == PROCESSES) return h->n;
        if (i == n) process[n].pid = w->pid, process[n++].n = 0;
        if (++process[i].n > most) most = process[i].n;
    }
    return most;
}

/* A pool never has more connections open than requests once ran at a time, but for the dials of a race: more,
 * each idle since its only response while new ones are opened, are held, or of pools that nobody uses again. */
void held_connections(struct findings *f, struct subject *s, enum held_when when) {
    struct held h;
    unsigned enough = when == HELD_SO_FAR ? HELD_LEAST : HELD_LEAST_END;
    bool more_than_needed = s->n_open > subject_peak(s) + 1;

    if (!is_client(s)) return;
    see_held(f, s, when, true, &h);
    s->held = 0;
    bool too_many = more_than_needed && h.n >= enough && most_of_a_process(f, s, when, &h) >= enough;
    if (!h.unread && !too_many) {
        held_resolved(f, s, FINDING_BODY_NOT_CLOSED);
        held_resolved(f, s, FINDING_TRANSPORT_PER_REQUEST);
        return;
    }
    see_held(f, s, when, false, &h);
    /* The probe has seen them all empty, and a user-space buffer cannot hide such bodies: they were read. */
    bool were_read = h.in_queue == 0 || (h.read == h.n && h.in_buffer == 0);
    bool may_be_unread = h.unread || !(were_read || reads_all(s->pub.stack));
    bool may_be_pools = !h.unread && h.single == h.n;

    if (may_be_unread) {
        s->held = h.n;
        body_not_closed(f, s, &h, when, may_be_pools);
    }
    if (may_be_pools)
        held_per_request(f, s, when, may_be_unread);
    else
        held_resolved(f, s, FINDING_TRANSPORT_PER_REQUEST);
}

/* ---- ends by the client ---- */

static void gave_up_waiting(struct findings *f, struct watch *w) {
    struct subject *s = w->subject;
    struct occurrence o = last_of(w);

    o.status = 0; /* if there is one, it is the daemon's own */
    struct tally *t = tally_count(f, s, FINDING_REQUEST_TIMEOUT, o);

    tally_set(t, NUM_WAITED_MS, ms(w->end_ns - w->request_ns));
    /* Many at once are a program that ends; those that come one after the other run out of patience. */
    bool one_by_one = t->pub.count >= OFTEN && t->pub.last_ns - t->pub.first_ns > AT_EXIT;
    tally_raise(f, t, one_by_one ? SEVERITY_WARNING : SEVERITY_INFO,
                one_by_one ? CONFIDENCE_LIKELY : CONFIDENCE_SUSPECTED);
}

/* TLS that nobody can look into: connections opened one after the other, on each of which the client sent one record at
 * most after its handshake. */
void tls_per_request(struct findings *f, struct watch *w, const struct fact_end *e) {
    struct subject *s = w->subject;

    if (!e->stood || e->tls_sent > 1 || (e->local_rst && e->rst_likely == FACT_RST_UNREAD)) return;
    bool one_by_one = s->tls_open_ns && w->opened_ns > s->tls_open_ns + RACE;
    s->tls_open_ns = w->opened_ns;
    struct tally *t = tally_count(f, s, FINDING_TRANSPORT_PER_REQUEST, last_of(w));
    tally_set(t, NUM_CONNECTIONS, t->pub.count);
    if (one_by_one) tally_add(t, NUM_REDIALS, 1);
    if (t->pub.count >= OFTEN) raise_per_request(f, t);
}

void client_ended(struct findings *f, struct watch *w, const struct fact_end *e) {
    /* The daemon answers a client that has left, as Go does; that answer is none. */
    bool left_waiting = w->side == SIDE_DOWNSTREAM && w->unanswered;

    switch (left_waiting ? FACT_EARLY_NO_RESPONSE : (enum fact_early)e->early) {
    case FACT_EARLY_IN_BODY:
        early_in_body(f, w, e);
        break;
    case FACT_EARLY_RST_AFTER:
        rst_after_response(f, w, e);
        break;
    case FACT_EARLY_FIN_AFTER:
        fin_at_last(f, w, e);
        break;
    case FACT_EARLY_NO_RESPONSE:
        if (w->request_ns) gave_up_waiting(f, w);
        break;
    case FACT_EARLY_UNKNOWN:
        if (e->local_rst) rst_of_unknown(f, w, e);
        break;
    case FACT_EARLY_NO:
        if (e->how == HOW_FIN) fin_at_last(f, w, e); /* of a response without a body */
        break;
    case FACT_EARLY_OPEN:
        break;
    }
}

/* The store behind the rules: connections and subjects. Findings in the making are finding_tally.c's.
 *
 * A connection (struct watch) is held while it is open. It belongs to a subject as soon
 * as it is known whose it is: an upstream one by its key at once, a client's with its first
 * request. A subject keeps what the rules compare: how many are open, active and idle, the
 * newest openings, the idle spells that ended in reuse, FINs that wait for an explanation. */
#include "finding.h"

#include "finding_private.h"

#include <stdlib.h>
#include <string.h>

#define TABLE 4096

static void *must(void *memory) {
    if (!memory) abort();
    return memory;
}

struct findings *findings_new(const struct findings_conf *conf) {
    struct findings *f = must(calloc(1, sizeof *f));

    f->conf = *conf;
    f->table = must(calloc(TABLE, sizeof *f->table));
    TAILQ_INIT(&f->subjects);
    for (int i = 0; i < N_RESTS; i++) TAILQ_INIT(&f->resting[i]);
    TAILQ_INIT(&f->tallies);
    return f;
}

void findings_set_conf(struct findings *f, const struct findings_conf *conf) {
    f->conf = *conf;
}

/* ---- subjects ---- */

static uint64_t hash_subject(const struct finding_subject *p) {
    uint64_t h = bytes_hash(p->key, strlen(p->key), p->side);
    h = bytes_hash(p->client, strlen(p->client), h);
    h = bytes_hash(p->tag, strlen(p->tag), h);
    return bytes_hash(p->user_agent, strlen(p->user_agent), h);
}

static bool same_subject(const struct finding_subject *a, const struct finding_subject *b) {
    return a->side == b->side && !strcmp(a->key, b->key) && !strcmp(a->client, b->client) && !strcmp(a->tag, b->tag) &&
           !strcmp(a->user_agent, b->user_agent);
}

static void subject_free(struct findings *f, struct subject *s) {
    struct subject **at = &f->table[s->hash % TABLE];

    while (*at != s) at = &(*at)->next;
    *at = s->next;
    TAILQ_REMOVE(&f->subjects, s, link);
    f->n_subjects--;
    for (unsigned k = 0; k < N_FINDINGS; k++)
        if (s->tally[k]) tally_free(f, s->tally[k]);
    if (s->rest) TAILQ_REMOVE(&f->resting[s->rest - 1], s, rest_link);
    for (unsigned i = 0; i < s->n_hosts; i++) free(s->hosts[i].name);
    free(s);
    f->sort_is_old = true;
}

/* Of those without a connection the oldest goes, one that shows nothing before one that has findings: a client that
 * calls itself something else each time pushes out no other's. */
static bool make_room(struct findings *f) {
    for (int i = 0; i < N_RESTS; i++) {
        struct subject *s = TAILQ_FIRST(&f->resting[i]);
        if (!s) continue;
        subject_free(f, s);
        return true;
    }
    return false;
}

static struct subject *subject_find(const struct findings *f, const struct finding_subject *p, uint64_t hash) {
    struct subject *s = f->table[hash % TABLE];

    while (s && (s->hash != hash || !same_subject(&s->pub, p))) s = s->next;
    return s;
}

/* NULL: there are too many. */
static struct subject *subject_of(struct findings *f, const struct finding_subject *p) {
    uint64_t hash = hash_subject(p);
    struct subject *s = subject_find(f, p, hash);

    if (s) {
        TAILQ_REMOVE(&f->subjects, s, link);
        TAILQ_INSERT_TAIL(&f->subjects, s, link);
        s->last_ns = f->now;
        return s;
    }
    if (f->n_subjects >= MAX_SUBJECTS && !make_room(f)) return NULL;
    s = must(calloc(1, sizeof *s));
    s->pub = *p;
    s->hash = hash;
    s->last_ns = s->peak_since_ns = f->now;
    TAILQ_INIT(&s->idle);
    TAILQ_INIT(&s->blocked);
    s->next = f->table[hash % TABLE];
    f->table[hash % TABLE] = s;
    TAILQ_INSERT_TAIL(&f->subjects, s, link);
    f->n_subjects++;
    return s;
}

uint32_t subject_peak(const struct subject *s) {
    return s->peak[0] > s->peak[1] ? s->peak[0] : s->peak[1];
}

unsigned subject_opens_after(const struct subject *s, int64_t t) {
    unsigned n = 0;

    for (uint64_t i = 0; i < OPENS && i < s->n_opened; i++) n += s->opened[i] >= t;
    return n;
}

static int compare_times(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Of the newest observations; 0: there is none. */
int64_t subject_idle_timeout(const struct subject *s) {
    int64_t times[LEARNED];
    unsigned n = s->n_idle_ends < LEARNED ? s->n_idle_ends : LEARNED;

    if (!n) return 0;
    memcpy(times, s->idle_ends, n * sizeof *times);
    qsort(times, n, sizeof *times, compare_times);
    return times[n / 2];
}

static uint8_t host_of(struct subject *s, const char *name) {
    if (!name || !*name) return UINT8_MAX;
    for (uint8_t i = 0; i < s->n_hosts; i++)
        if (!strncmp(s->hosts[i].name, name, FINDING_TEXT - 1)) return i;
    if (s->n_hosts == MAX_HOSTS) return UINT8_MAX;
    s->hosts[s->n_hosts] = (struct host_share){.name = must(strndup(name, FINDING_TEXT - 1))};
    return s->n_hosts++;
}

/* ---- connections ---- */

static struct watch *watch_of(const struct findings *f, const struct fact *fact) {
    return fact->side < N_SIDES ? idmap_get(&f->watches[fact->side], fact->conn) : NULL;
}

static bool is_active(const struct watch *w) {
    return w->state == WATCH_BUSY;
}

static void enter(struct watch *w, enum watch_state to) {
    struct subject *s = w->subject;

    if (s && w->state == WATCH_IDLE) {
        TAILQ_REMOVE(&s->idle, w, link);
        s->n_idle--;
    }
    if (s && w->state == WATCH_BLOCKED) TAILQ_REMOVE(&s->blocked, w, link);
    if (s && is_active(w)) s->n_active--;
    w->state = (uint8_t)to;
    if (!s) return;
    if (to == WATCH_IDLE) {
        TAILQ_INSERT_TAIL(&s->idle, w, link);
        s->n_idle++;
    }
    if (to == WATCH_BLOCKED) TAILQ_INSERT_TAIL(&s->blocked, w, link);
    if (to == WATCH_BUSY && ++s->n_active > s->peak[0]) s->peak[0] = s->n_active;
}

/* Whose it is has become known. */
static void attach(struct findings *f, struct watch *w, const struct fact *fact, bool opaque) {
    struct finding_subject p = {.side = w->side};

    if (fact->peer.family != ADDR_NONE) w->peer = fact->peer; /* which end is the client may have become clear since */
    if (fact->server.family != ADDR_NONE) w->server = fact->server;

    if (w->side == SIDE_UPSTREAM) {
        put_text(p.key, sizeof p.key, fact->host);
    } else {
        char text[ENDPOINT_TEXT_MAX];
        if (w->peer.family != ADDR_NONE) { /* without its port */
            char *colon = strrchr(endpoint_text(&w->peer, text), ':');
            if (colon) *colon = 0;
            put_text(p.client, sizeof p.client, text);
        }
        if (w->side == SIDE_CLIENT) {
            bool by_host = fact->host && !opaque && !(fact->flags & FACT_PROXIED);
            put_text(p.key, sizeof p.key, by_host ? fact->host : endpoint_text(&w->server, text));
        }
        put_text(p.tag, sizeof p.tag, fact->tag);
        put_text(p.user_agent, sizeof p.user_agent, fact->user_agent);
        p.stack = stack_of(p.user_agent);
    }
    struct subject *s = subject_of(f, &p);
    if (!s) return;
    w->subject = s;
    s->n_watched++;
    subject_rest(f, s);
    s->n_open++;
    s->opened[s->n_opened++ % OPENS] = w->opened_ns;
    if (!s->first_open_ns) s->first_open_ns = w->opened_ns;
    if (w->opened_ns > s->last_open_ns) s->last_open_ns = w->opened_ns;
    rules_opened(f, s, w->opened_ns);
}

/* It counts as open no more; what is said of it later concerns its end alone. */
static void leave(struct watch *w) {
    enum watch_state was = (enum watch_state)w->state;

    w->was_idle = was == WATCH_IDLE || was == WATCH_SPENT;
    w->was_opaque = was == WATCH_OPAQUE;
    w->was_blocked = was == WATCH_BLOCKED;
    enter(w, WATCH_ENDING);
    if (w->subject && was != WATCH_ENDING) w->subject->n_open--;
}

void watch_free(struct findings *f, struct watch *w) {
    if (w->state != WATCH_ENDING) leave(w);
    if (w->subject) {
        w->subject->n_watched--;
        subject_rest(f, w->subject);
    }
    idmap_del(&f->watches[w->side], w->id);
    free(w);
}

static void opened(struct findings *f, const struct fact *fact) {
    struct watch *w;

    if (fact->side >= N_SIDES || !fact->conn || watch_of(f, fact)) return;
    w = must(calloc(1, sizeof *w));
    w->id = fact->conn;
    w->side = fact->side;
    w->peer = fact->peer;
    w->server = fact->server;
    w->opened_ns = fact->at_ns;
    w->host = UINT8_MAX;
    idmap_put(&f->watches[w->side], w->id, w);
    if (w->side == SIDE_UPSTREAM) attach(f, w, fact, false);
}

static void reused(struct findings *f, struct watch *w, int64_t at_ns) {
    struct subject *s = w->subject;
    int64_t gap = at_ns - w->done_ns, busy = w->done_ns - w->request_ns;

    came_back(f, w, at_ns);
    if (w->kept_beside + 1 > s->kept[0]) s->kept[0] = w->kept_beside + 1;
    s->spell[s->n_spells++ % SPELLS].from_ns = w->done_ns;
    s->spell[(s->n_spells - 1) % SPELLS].to_ns = at_ns;
    s->reuses++;
    s->prompt_reuses += gap < MSEC(2) && gap * 10 < busy;
    if (s->n_waiting) rules_settle(f, s, SETTLE_RIPE);
}

static void direct_request(struct subject *s, uint8_t host) {
    if (host >= s->n_hosts) return;
    if (s->hosts[host].idle)
        s->hosts[host].idle--;
    else
        s->hosts[host].dials++;
}

static void request(struct findings *f, struct watch *w, const struct fact *fact) {
    if (!w->subject) attach(f, w, fact, false);
    struct subject *s = w->subject;
    if (!s) return;
    if (w->state == WATCH_IDLE) reused(f, w, fact->at_ns);
    w->no_reuse = fact->flags & FACT_NO_REUSE;
    w->http10 = fact->flags & FACT_HTTP10;
    w->proxied = fact->flags & FACT_PROXIED;
    w->method = method_of(fact->method);
    w->host = host_of(s, fact->host);
    if (!w->requests && w->host < s->n_hosts && w->opened_ns > s->hosts[w->host].last_open_ns)
        s->hosts[w->host].last_open_ns = w->opened_ns;
    direct_request(s, w->host);
    w->status = 0;
    w->delivered = 0;
    w->responded = w->bodyless = w->retried = w->counted_held = w->counted_single = false;
    w->unread_since_ns = w->stalled_ns = 0;
    w->recv_q = w->send_q = 0;
    w->requests++;
    w->request_ns = fact->at_ns;
    s->requests++;
    s->last_ns = f->now;
    enter(w, WATCH_BUSY);
}

static void response(struct findings *f, struct watch *w, const struct fact *fact) {
    w->responses++;
    w->responded = true;
    w->response_ns = fact->at_ns;
    w->status = fact->status;
    w->bodyless = fact->flags & FACT_BODYLESS;
    if (!w->subject || w->state == WATCH_ENDING) return; /* an end had its reasons before */
    w->subject->responses++;
    if (w->state == WATCH_IDLE) enter(w, WATCH_BUSY); /* pipelined: its request came before the last response's end */
    rules_response(f, w, fact);
    if (fact->flags & (FACT_NO_REUSE | FACT_HTTP10)) w->no_reuse = true;
}

static void done(struct watch *w, const struct fact *fact) {
    struct subject *s = w->subject;

    w->done_ns = fact->at_ns;
    w->delivered = fact->bytes;
    if (!s || w->state == WATCH_ENDING) return;
    s->done_by[class_of(w->status)]++;
    s->busy_total_ns += w->done_ns - w->request_ns;
    if (w->host < s->n_hosts && s->hosts[w->host].idle < 2) s->hosts[w->host].idle++;
    const struct watch *last = TAILQ_LAST(&s->idle, watches);
    w->kept_beside = last && w->done_ns - last->done_ns >= SETTLED ? s->n_idle : 0;
    enter(w, w->no_reuse || w->http10 ? WATCH_SPENT : WATCH_IDLE);
}

static void blocked(struct watch *w, const struct fact *fact) {
    if (w->state != WATCH_BUSY) return;
    w->blocked_ns = fact->at_ns;
    if (!w->stalled_ns || fact->at_ns - w->flowing_ns > STALL) w->stalled_ns = fact->at_ns;
    w->counted_slow = false;
    enter(w, WATCH_BLOCKED);
}

static void flowing(struct findings *f, struct watch *w, const struct fact *fact) {
    if (w->state != WATCH_BLOCKED) return;
    rules_unblocked(f, w, fact->at_ns);
    w->flowing_ns = fact->at_ns;
    enter(w, WATCH_BUSY);
}

static void ending(struct findings *f, struct watch *w, const struct fact *fact) {
    if (w->state == WATCH_ENDING) return;
    w->end_ns = fact->at_ns;
    w->unanswered = w->state == WATCH_BUSY && !w->responded;
    w->passed_over = w->state == WATCH_IDLE && last_rival_ns(w->subject, w) >= w->done_ns + RACE;
    w->idle_beside = w->state == WATCH_IDLE ? w->subject->n_idle - 1 : 0;
    if (w->subject) rules_ending(f, w, fact->bytes, (enum close_by)fact->by, (enum close_how)fact->how);
    if (w->state == WATCH_BLOCKED) rules_unblocked(f, w, fact->at_ns);
    leave(w);
}

static void closed(struct findings *f, struct watch *w, const struct fact *fact) {
    const struct fact_end *e = fact->end;

    if (!w->subject) attach(f, w, fact, !e->requests);
    if (!w->end_ns) w->end_ns = fact->at_ns;
    if (w->subject) rules_closed(f, w, e);
    if (e->by == BY_NONE && e->reason == REASON_NONE && e->stood &&
        (w->state == WATCH_IDLE || w->state == WATCH_BLOCKED))
        return; /* open at the end of a capture: findings_end looks at it */
    watch_free(f, w);
}

static uint32_t clamp(uint64_t n) {
    return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

static void seen_socket(struct watch *w, const struct fact *fact) {
    const struct fact_socket *k = fact->socket;
    uint32_t recv_q = clamp(k->recv_q);

    if (k->pid) w->pid = k->pid;
    if (k->comm && w->subject) {
        memset(w->subject->comm, 0, sizeof w->subject->comm);
        put_text(w->subject->comm, sizeof w->subject->comm, k->comm);
    }
    w->send_q = k->zero_window && k->send_q != UNKNOWN_BYTES ? clamp(k->send_q) : 0;
    if (k->recv_q == UNKNOWN_BYTES) return;
    w->probed = true;
    if (!recv_q || recv_q < w->recv_q)
        w->unread_since_ns = recv_q ? fact->at_ns : 0; /* it reads */
    else if (!w->unread_since_ns)
        w->unread_since_ns = fact->at_ns;
    w->recv_q = recv_q;
}

void findings_fact(struct findings *f, const struct fact *fact) {
    struct watch *w;

    if (fact->at_ns > f->now) f->now = fact->at_ns;
    if (fact->kind == FACT_OPENED) {
        opened(f, fact);
        return;
    }
    if (!(w = watch_of(f, fact))) return;
    switch ((enum fact_kind)fact->kind) {
    case FACT_REQUEST:
        request(f, w, fact);
        break;
    case FACT_RESPONSE:
        response(f, w, fact);
        break;
    case FACT_DONE:
        done(w, fact);
        break;
    case FACT_BLOCKED:
        blocked(w, fact);
        break;
    case FACT_FLOWING:
        flowing(f, w, fact);
        break;
    case FACT_OPAQUE:
        enter(w, WATCH_OPAQUE);
        break;
    case FACT_ENDING:
        ending(f, w, fact);
        break;
    case FACT_CLOSED:
        closed(f, w, fact);
        break;
    case FACT_WAITED:
        if (w->subject) rules_waited(f, w, fact->bytes, fact->flags & FACT_LIMITED);
        break;
    case FACT_RETRIED:
        w->retried = true;
        break;
    case FACT_DIAL_FAILED:
        if (w->subject) rules_dial_failed(f, w, (enum dial_cause)fact->cause);
        break;
    case FACT_SOCKET:
        seen_socket(w, fact);
        break;
    case FACT_OPENED:
    case N_FACTS:
    default:
        break;
    }
}

/* ---- time ---- */

static bool is_forgotten(const struct findings *f, const struct subject *s) {
    if (s->n_watched || s->n_waiting || f->now - s->last_ns <= 2 * f->conf.window_ns) return false;
    for (unsigned k = 0; k < N_FINDINGS; k++)
        if (s->tally[k] && s->tally[k]->pub.id) return false; /* it is still to be read */
    return true;
}

void findings_tick(struct findings *f, int64_t now) {
    struct subject *s, *next;

    if (now > f->now) f->now = now;
    f->held = 0;
    for (s = TAILQ_FIRST(&f->subjects); s; s = next) {
        next = TAILQ_NEXT(s, link);
        if (f->now - s->peak_since_ns > f->conf.window_ns) {
            s->peak[1] = s->peak[0];
            s->peak[0] = s->n_active;
            s->kept[1] = s->kept[0];
            s->kept[0] = 0;
            s->peak_since_ns = f->now;
        }
        rules_tick(f, s);
        if (s->pub.side != SIDE_UPSTREAM) f->held += s->held;
        if (is_forgotten(f, s)) subject_free(f, s);
    }
}

static void free_watches(struct findings *f) {
    for (unsigned side = 0; side < N_SIDES; side++) {
        struct idmap *m = &f->watches[side];
        for (size_t i = 0; i < m->room; i++)
            if (m->slots[i].id) free(m->slots[i].thing);
        idmap_clear(m);
    }
}

void findings_end(struct findings *f, int64_t now) {
    struct subject *s;

    if (now > f->now) f->now = now;
    f->held = 0;
    TAILQ_FOREACH (s, &f->subjects, link) {
        rules_end(f, s);
        if (s->pub.side != SIDE_UPSTREAM) f->held += s->held;
    }
}

void findings_free(struct findings **fp) {
    struct findings *f = *fp;
    struct subject *s;

    if (!f) return;
    *fp = NULL;
    free_watches(f);
    while ((s = TAILQ_FIRST(&f->subjects))) subject_free(f, s);
    idmap_clear(&f->by_id);
    free(f->table);
    free(f->sorted);
    free(f);
}

/* ---- for others ---- */

static bool is_suspect(const struct findings *f, const struct watch *w) {
    const struct subject *s = w->subject;
    int64_t patience = f->conf.leak_after_ns / 4 < SEC(1) ? f->conf.leak_after_ns / 4 : SEC(1);

    if (w->side == SIDE_UPSTREAM || !s) return false;
    if (w->state == WATCH_BLOCKED) return f->now - w->blocked_ns >= patience;
    return w->state == WATCH_IDLE && !w->bodyless && f->now - w->done_ns >= patience &&
           s->last_open_ns > w->done_ns + RACE;
}

size_t findings_suspects(struct findings *f, int64_t now, struct suspect *out, size_t room) {
    size_t n = 0;
    struct subject *s;
    struct watch *w;

    if (now > f->now) f->now = now;
    /* In turns: those whose ids come after the last one of the round before go first. */
    for (int turn = 0; turn < 2 && n < room; turn++) {
        TAILQ_FOREACH (s, &f->subjects, link) {
            if (s->pub.side == SIDE_UPSTREAM || (!s->n_idle && TAILQ_EMPTY(&s->blocked))) continue;
            if (TAILQ_EMPTY(&s->blocked) && s->last_open_ns <= TAILQ_FIRST(&s->idle)->done_ns + RACE) continue;
            for (int list = 0; list < 2; list++) {
                for (w = list ? TAILQ_FIRST(&s->blocked) : TAILQ_FIRST(&s->idle); w && n < room;
                     w = TAILQ_NEXT(w, link)) {
                    if (!list && s->last_open_ns <= w->done_ns + RACE) break; /* and none of those behind it */
                    if ((w->id > f->suspect_after) == (turn == 1) || !is_suspect(f, w)) continue;
                    out[n++] = (struct suspect){w->id, w->side};
                }
            }
        }
    }
    f->suspect_after = n == room ? out[n - 1].conn : 0;
    return n;
}

bool findings_origin(const struct findings *f, const char *key, struct origin_facts *out) {
    struct finding_subject p = {.side = SIDE_UPSTREAM};
    struct subject *s;

    put_text(p.key, sizeof p.key, key);
    if (!(s = subject_find(f, &p, hash_subject(&p)))) return false;
    *out = (struct origin_facts){.idle_timeout_ns = subject_idle_timeout(s),
                                 .idle_observations = s->n_idle_ends,
                                 .peak_active = subject_peak(s),
                                 .sufficient_idle = s->sufficient};
    return true;
}

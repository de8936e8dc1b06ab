/* Which connection a segment belongs to, and when one is over. */
#include "wire/wire.h"

#include "wire/conn.h"

#include <stdlib.h>
#include <string.h>

struct wire *wire_new(const struct wire_limits *limits) {
    struct wire *w = calloc(1, sizeof *w);

    if (!w) abort();
    w->limits = *limits;
    w->linger_first = w->linger_last = NO_INDEX;
    w->now_ns = INT64_MIN;
    w->seed[0] = bytes_hash("connections", 11, 1) | 1;
    w->seed[1] = bytes_hash("connections", 11, 2);
    table_init(w);
    return w;
}

static void conn_clear(struct wire *w, struct conn *c) {
    for (int i = 0; i < 2; i++) {
        struct dir *d = &c->dir[i];
        while (d->held) {
            struct held *h = d->held;
            d->held = h->next;
            w->held_bytes -= h->captured;
            free(h);
        }
    }
    read_free(w, c);
    if (c->pending != c->pending_inline) free(c->pending);
    free(c->kept);
    free(c->host);
    free(c->user_agent);
    free(c->tls);
    struct wire_transcript *t = transcript_end(c);
    wire_transcript_free(&t);
}

void wire_free(struct wire **wp) {
    struct wire *w = *wp;
    struct wire_record *r;

    if (!w) return;
    wire_finish(w);
    while ((r = wire_next(w))) wire_record_free(&r);
    for (int side = 0; side < 2; side++)
        while (w->n_spare[side]) h1_free(&w->spare[side][--w->n_spare[side]]);
    for (uint32_t i = 0; i < w->n_chunks; i++) free(w->chunks[i]);
    free(w->chunks);
    free(w->slots);
    free(w->tombs);
    free(w->prints);
    free(w->out);
    free(w->ending);
    events_free(w);
    free(w);
    *wp = NULL;
}

static void push_record(struct wire *w, struct wire_record *r) {
    if (w->out_n == w->out_room) {
        size_t room = w->out_room ? w->out_room * 2 : 64;
        struct wire_record **out = malloc(room * sizeof *out);
        if (!out) abort();
        for (size_t i = 0; i < w->out_n; i++) out[i] = w->out[(w->out_first + i) % w->out_room];
        free(w->out);
        w->out = out;
        w->out_first = 0;
        w->out_room = room;
    }
    w->out[(w->out_first + w->out_n++) % w->out_room] = r;
}

static void linger_leave(struct wire *w, struct conn *c) {
    if (!c->lingers) return;
    if (c->older != NO_INDEX)
        conn_at(w, c->older)->newer = c->newer;
    else
        w->linger_first = c->newer;
    if (c->newer != NO_INDEX)
        conn_at(w, c->newer)->older = c->older;
    else
        w->linger_last = c->older;
    c->lingers = false;
    w->n_linger--;
}

/* An ended connection waits for the packets that are still under way to it. */
static void linger_enter(struct wire *w, struct conn *c, uint32_t index) {
    c->older = w->linger_last;
    c->newer = NO_INDEX;
    if (c->older != NO_INDEX)
        conn_at(w, c->older)->newer = index;
    else
        w->linger_first = index;
    w->linger_last = index;
    c->lingers = true;
    c->ended_ns = w->now_ns;
    w->n_linger++;
    w->totals.open--;
}

static void finish(struct wire *w, uint32_t index) {
    struct conn *c = conn_at(w, index);

    if (c->lingers)
        linger_leave(w, c);
    else
        w->totals.open--;
    tcp_flush(w, c);
    push_record(w, record_make(w, c));
    table_remove(w, index);
    if (c->ended) table_bury(w, c->hash);
    conn_clear(w, c);
    conn_give(w, index);
}

/* In line: gcc takes a function that does no more than this for one without effect, and leaves its calls out. */
#define CALLS_FOR static inline __attribute__((always_inline)) void
CALLS_FOR call_for(const struct conn *c, size_t len) {
    for (size_t at = 0; at < len; at += 64) __builtin_prefetch((const char *)c + at);
}

/* What a segment in the common case touches (conn.h). */
CALLS_FOR call_for_hot(const struct conn *c) {
    __builtin_prefetch(c);
    __builtin_prefetch(&c->dir[0]);
    __builtin_prefetch(&c->dir[0].left);
    __builtin_prefetch(&c->dir[1]);
    __builtin_prefetch(&c->dir[1].left);
    __builtin_prefetch(&c->last_ns);
}

/* Ended connections are long out of the cache when their time comes: the next two
 * are called for while others are worked on. */
CALLS_FOR call_for_next(const struct wire *w) {
    const struct conn *c;

    if (w->linger_first == NO_INDEX) return;
    c = conn_at(w, w->linger_first);
    __builtin_prefetch(&w->slots[c->hash & w->mask]);
    __builtin_prefetch(c->kept);
    __builtin_prefetch(c->host);
    __builtin_prefetch(c->user_agent);
    if (c->newer != NO_INDEX) call_for(conn_at(w, c->newer), sizeof *c);
}

static void reap(struct wire *w) {
    while (w->linger_first != NO_INDEX) {
        const struct conn *c = conn_at(w, w->linger_first);
        if (w->n_linger <= w->limits.lingering && w->now_ns - c->ended_ns < w->limits.linger_ns) break;
        finish(w, w->linger_first);
        call_for_next(w);
    }
}

/* Does this segment begin another connection between the same two ends? */
static bool begins_anew(const struct conn *c, unsigned from, const struct wire_segment *s) {
    const struct dir *d = &c->dir[from], *o = &c->dir[!from];

    if (!(s->flags & TCP_SYN) || s->flags & TCP_RST) return false;
    if (d->flags & DIR_BASED && d->base_seq == s->seq + 1) return false; /* again, or late */
    if (s->flags & TCP_ACK) return c->ended && d->flags & DIR_SYN;
    if (d->flags & DIR_SYN) return true;
    /* A SYN of the end that was not seen to send one: simultaneous open, unless all this is over. */
    return c->ended || d->flags & DIR_BASED || !(o->flags & DIR_SYN);
}

static uint32_t begin(struct wire *w, unsigned from, const struct wire_segment *s) {
    uint32_t index = conn_take(w);
    struct conn *c = conn_at(w, index);

    c->ends[from] = s->src;
    c->ends[!from] = s->dst;
    c->hash = s->hash;
    c->newer = c->older = NO_INDEX;
    c->id = ++w->totals.connections;
    c->first_ns = s->at_ns;
    c->first_packet = s->packet;
    c->client = c->first_from = (uint8_t)from;
    c->roles = ROLES_ASSUMED;
    c->closer = NO_END;
    c->response_at = c->response_end = NO_OFFSET;
    c->last_reader = NO_END;
    c->response_known = true;
    c->pending = c->pending_inline;
    c->pending_room = sizeof c->pending_inline;
    for (int i = 0; i < 2; i++) {
        c->dir[i].fin_off = NO_OFFSET;
        c->dir[i].close_had = NO_OFFSET;
    }
    if (s->flags & TCP_SYN) {
        c->roles = ROLES_HANDSHAKE;
        if (s->flags & TCP_ACK) c->client = (uint8_t)!from;
    } else {
        c->incomplete |= INCOMPLETE_START;
        c->requests_lost = c->responses_lost = true;
    }
    if (w->limits.transcript_bytes) transcript_begin(w, c);
    happened(w, c, WIRE_OPENED, s->at_ns, s->packet);
    table_add(w, index);
    if (++w->totals.open > w->totals.open_peak) w->totals.open_peak = w->totals.open;
    return index;
}

/* An endpoint as numbers: any order of them will do, so the machine's own. */
struct words {
    uint64_t a, b;
    uint32_t c;
};
static struct words words_of(const struct endpoint *e) {
    struct words w;

    memcpy(&w.a, e->addr, 8);
    memcpy(&w.b, e->addr + 8, 8);
    memcpy(&w.c, &e->port, 4);
    return w;
}
static bool above(const struct words *x, const struct words *y) {
    return x->a != y->a ? x->a > y->a : x->b != y->b ? x->b > y->b : x->c > y->c;
}
static uint64_t mix(uint64_t a, uint64_t b) {
    unsigned __int128 m = (unsigned __int128)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

/* Seeded, so that nobody can make a capture whose connections all collide. */
static uint64_t hash_words(const struct wire *w, const struct words *x) {
    return mix(x->a ^ w->seed[0], x->b ^ (uint64_t)x->c << 20 ^ w->seed[1]);
}

void wire_prepare(const struct wire *w, struct wire_segment *s) {
    struct words src = words_of(&s->src), dst = words_of(&s->dst);

    s->reversed = above(&src, &dst);
    s->hash = (uint32_t)(mix(hash_words(w, &src) + hash_words(w, &dst), w->seed[0] | 1) >> 16);
    __builtin_prefetch(&w->slots[s->hash & w->mask]);
}

void wire_prefetch(const struct wire *w, const struct wire_segment *s) {
    uint64_t slot = w->slots[s->hash & w->mask];

    if (slot >> 32 == s->hash) {
        const struct conn *c = conn_at(w, (uint32_t)slot - 1);
        if (s->flags & (TCP_PSH | TCP_SYN | TCP_FIN | TCP_RST))
            call_for(c, offsetof(struct conn, pending_first));
        else
            call_for_hot(c);
    }
}

void wire_feed(struct wire *w, struct wire_segment *s) {
    wire_prepare(w, s);
    wire_feed_prepared(w, s);
}

void wire_feed_prepared(struct wire *w, const struct wire_segment *s) {
    const struct endpoint *lower = s->reversed ? &s->dst : &s->src, *upper = s->reversed ? &s->src : &s->dst;
    unsigned from = s->reversed;
    uint32_t index = table_find(w, lower, upper, s->hash);
    struct conn *c;

    if (s->at_ns > w->now_ns) w->now_ns = s->at_ns;
    w->totals.segments++;
    w->totals.payload_bytes += s->len;
    if (index != NO_INDEX && begins_anew(conn_at(w, index), from, s)) {
        if (!conn_at(w, index)->ended) conn_at(w, index)->incomplete |= INCOMPLETE_END;
        finish(w, index);
        index = NO_INDEX;
    }
    if (index == NO_INDEX) {
        if (!(s->flags & TCP_SYN) && table_is_tomb(w, s->hash)) {
            w->totals.strays++;
            return;
        }
        index = begin(w, from, s);
    }
    c = conn_at(w, index);
    tcp_segment(w, c, from, s);
    if (c->ended && !c->lingers) linger_enter(w, c, index);
    reap(w);
}

static int compare_ids(const void *a, const void *b) {
    const struct by_id *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* In the order of their beginning, not of the table. Each becomes a record when
 * wire_next asks for it: of many open connections, one is held twice. */
void wire_finish(struct wire *w) {
    if (w->ending) return;
    w->ending = malloc((w->n_slots_used ? w->n_slots_used : 1) * sizeof *w->ending);
    if (!w->ending) abort();
    for (uint64_t i = 0; i <= w->mask; i++) {
        struct by_id *x = &w->ending[w->n_ending];
        if (!w->slots[i]) continue;
        x->index = (uint32_t)w->slots[i] - 1;
        x->id = conn_at(w, x->index)->id;
        w->n_ending++;
    }
    qsort(w->ending, w->n_ending, sizeof *w->ending, compare_ids);
}

static void finish_next(struct wire *w) {
    uint32_t index = w->ending[w->ending_at++].index;
    struct conn *c = conn_at(w, index);

    if (w->ending_at < w->n_ending) call_for(conn_at(w, w->ending[w->ending_at].index), sizeof *c);

    if (!c->ended) c->incomplete |= INCOMPLETE_CAPTURE_ENDED;
    finish(w, index);
}

struct wire_record *wire_next(struct wire *w) {
    struct wire_record *r;

    if (w->out_n == 0 && w->ending_at < w->n_ending) finish_next(w);
    if (w->out_n == 0) return NULL;
    r = w->out[w->out_first];
    w->out_first = (w->out_first + 1) % w->out_room;
    w->out_n--;
    return r;
}

const struct wire_totals *wire_totals(const struct wire *w) {
    return &w->totals;
}

void wire_record_free(struct wire_record **rp) {
    if (!*rp) return;
    free((*rp)->evidence.tls);
    free((*rp)->evidence.host);
    free((*rp)->evidence.user_agent);
    free((*rp)->evidence.exchanges);
    wire_transcript_free(&(*rp)->transcript);
    free(*rp);
    *rp = NULL;
}

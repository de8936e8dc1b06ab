#include "pool_private.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_BUCKETS 64
#define FIRST_QUEUE   64

static void *must_have(void *memory) {
    if (!memory) abort();
    return memory;
}

/* ---- buckets ---- */

static void table_grow(struct pool *p) {
    size_t room = p->table_room ? p->table_room * 2 : FIRST_BUCKETS;
    struct bucket *b;

    free(p->table);
    p->table = must_have(calloc(room, sizeof *p->table));
    p->table_room = room;
    TAILQ_FOREACH (b, &p->buckets, by_age) LIST_INSERT_HEAD(&p->table[b->hash & (room - 1)], b, chained);
}

static const char *put_string(char **to, const char *s) {
    size_t size = strlen(s) + 1;
    char *at = memcpy(*to, s, size);
    *to += size;
    return at;
}

static struct bucket *bucket_make(struct pool *p, const struct connect_key *k, uint64_t hash) {
    struct bucket *b = must_have(calloc(1, sizeof *b + strlen(k->proxy) + strlen(k->scheme) + strlen(k->addr) + 3));
    char *strings = (char *)(b + 1);

    b->key.proxy = put_string(&strings, k->proxy);
    b->key.scheme = put_string(&strings, k->scheme);
    b->key.addr = put_string(&strings, k->addr);
    b->key.only_h1 = k->only_h1;
    b->hash = hash;
    b->seq = ++p->last_seq;
    LIST_INIT(&b->idle);
    TAILQ_INIT(&b->waiting);
    TAILQ_INIT(&b->idle_wait);
    TAILQ_INIT(&b->dial_wait);
    TAILQ_INSERT_TAIL(&p->buckets, b, by_age);
    idmap_put(&p->seqs, b->seq, b);
    if (++p->n_buckets > p->table_room)
        table_grow(p);
    else
        LIST_INSERT_HEAD(&p->table[hash & (p->table_room - 1)], b, chained);
    return b;
}

static void bucket_free(struct pool *p, struct bucket *b) {
    TAILQ_REMOVE(&p->buckets, b, by_age);
    LIST_REMOVE(b, chained);
    idmap_del(&p->seqs, b->seq);
    p->n_buckets--;
    free(b);
}

struct bucket *bucket_find_or_make(struct pool *p, const struct connect_key *k) {
    uint64_t hash = connect_key_hash(k);
    struct bucket *b;

    if (p->table_room) {
        LIST_FOREACH (b, &p->table[hash & (p->table_room - 1)], chained)
            if (b->hash == hash && connect_key_equal(&b->key, k)) return b;
    }
    return bucket_make(p, k, hash);
}

void bucket_settle(struct pool *p, struct bucket *b) {
    bool quiet = open_of(b->n) + b->n_waiting == 0;

    if (quiet == b->quiet) return;
    b->quiet = quiet;
    if (quiet) {
        TAILQ_INSERT_TAIL(&p->quiet, b, on_quiet);
        p->n_quiet++;
    } else {
        TAILQ_REMOVE(&p->quiet, b, on_quiet);
        p->n_quiet--;
    }
}

void buckets_trim(struct pool *p) {
    while (p->n_quiet > QUIET_MAX) {
        struct bucket *b = TAILQ_FIRST(&p->quiet);
        TAILQ_REMOVE(&p->quiet, b, on_quiet);
        p->n_quiet--;
        bucket_free(p, b);
    }
}

/* ---- connections and wants ---- */

struct persist_conn *conn_make(struct pool *p) {
    struct persist_conn *pc = TAILQ_FIRST(&p->spare_conns);

    if (pc) {
        TAILQ_REMOVE(&p->spare_conns, pc, on);
        p->n_spare_conns--;
    } else {
        pc = must_have(malloc(sizeof *pc));
    }
    *pc = (struct persist_conn){.id = pool_new_id(p), .state = PC_GONE};
    idmap_put(&p->conns, pc->id, pc);
    return pc;
}

void conn_forget(struct pool *p, struct persist_conn *pc) {
    idmap_del(&p->conns, pc->id);
    if (p->n_spare_conns == SPARE_MAX) {
        free(pc);
        return;
    }
    TAILQ_INSERT_HEAD(&p->spare_conns, pc, on);
    p->n_spare_conns++;
}

struct want_conn *want_make(struct pool *p, want_id id) {
    struct want_conn *w = TAILQ_FIRST(&p->spare_wants);

    if (w) {
        TAILQ_REMOVE(&p->spare_wants, w, on);
        p->n_spare_wants--;
    } else {
        w = must_have(malloc(sizeof *w));
    }
    *w = (struct want_conn){.id = id, .state = WANT_NEW};
    idmap_put(&p->wants, id, w);
    return w;
}

void want_forget(struct pool *p, struct want_conn *w) {
    idmap_del(&p->wants, w->id);
    if (p->n_spare_wants == SPARE_MAX) {
        free(w);
        return;
    }
    TAILQ_INSERT_HEAD(&p->spare_wants, w, on);
    p->n_spare_wants++;
}

/* ---- cohorts of the LRU ---- */

struct cohort *cohort_now(struct pool *p) {
    struct cohort *c = TAILQ_LAST(&p->lru, cohort_list);

    if (c && c->timeout == p->conf.idle_conn_timeout) return c;
    if (c && TAILQ_EMPTY(&c->conns)) {
        c->timeout = p->conf.idle_conn_timeout;
        return c;
    }
    c = must_have(malloc(sizeof *c));
    c->timeout = p->conf.idle_conn_timeout;
    TAILQ_INIT(&c->conns);
    TAILQ_INSERT_TAIL(&p->lru, c, by_age);
    return c;
}

void cohort_leave(struct pool *p, struct persist_conn *pc) {
    struct cohort *c = pc->cohort;

    TAILQ_REMOVE(&c->conns, pc, on);
    pc->cohort = NULL;
    if (!TAILQ_EMPTY(&c->conns) || c == TAILQ_LAST(&p->lru, cohort_list)) return;
    TAILQ_REMOVE(&p->lru, c, by_age);
    free(c);
}

/* ---- the queue of actions ---- */

static void queue_grow(struct pool *p) {
    size_t room = p->queue_room ? p->queue_room * 2 : FIRST_QUEUE;
    struct queued *queue = must_have(calloc(room, sizeof *queue));

    for (uint64_t i = p->queue_first; i != p->queue_next; i++)
        queue[i & (room - 1)] = p->queue[i & (p->queue_room - 1)];
    free(p->queue);
    p->queue = queue;
    p->queue_room = room;
}

uint64_t queue_put(struct pool *p, const struct pool_action *a, struct want_conn *w) {
    if (p->queue_next - p->queue_first == p->queue_room) queue_grow(p);
    p->queue[p->queue_next & (p->queue_room - 1)] = (struct queued){.action = *a, .want = w};
    return p->queue_next++;
}

void queue_take_back(struct pool *p, uint64_t number) {
    p->queue[number & (p->queue_room - 1)].taken_back = true;
}

/* ---- all of it ---- */

struct pool *pool_new(const struct pool_conf *conf) {
    struct pool *p = must_have(calloc(1, sizeof *p));

    p->conf = *conf;
    TAILQ_INIT(&p->dialing);
    TAILQ_INIT(&p->active);
    TAILQ_INIT(&p->lru);
    TAILQ_INIT(&p->buckets);
    TAILQ_INIT(&p->quiet);
    TAILQ_INIT(&p->spare_conns);
    TAILQ_INIT(&p->spare_wants);
    return p;
}

static void free_conns(struct conn_list *l) {
    struct persist_conn *pc;
    while ((pc = TAILQ_FIRST(l))) {
        TAILQ_REMOVE(l, pc, on);
        free(pc);
    }
}

static void free_wants(struct pool *p) {
    struct want_conn *w;

    for (size_t i = 0; i < p->wants.room; i++) free(p->wants.slots[i].thing);
    while ((w = TAILQ_FIRST(&p->spare_wants))) {
        TAILQ_REMOVE(&p->spare_wants, w, on);
        free(w);
    }
}

void pool_free(struct pool **pp) {
    struct pool *p = *pp;
    struct cohort *c;
    struct bucket *b;

    if (!p) return;
    free_conns(&p->dialing);
    free_conns(&p->active);
    free_conns(&p->spare_conns);
    while ((c = TAILQ_FIRST(&p->lru))) {
        free_conns(&c->conns);
        TAILQ_REMOVE(&p->lru, c, by_age);
        free(c);
    }
    free_wants(p);
    while ((b = TAILQ_FIRST(&p->buckets))) bucket_free(p, b);
    idmap_clear(&p->conns);
    idmap_clear(&p->wants);
    idmap_clear(&p->seqs);
    free(p->table);
    free(p->queue);
    free(p);
    *pp = NULL;
}

conn_id pool_new_id(struct pool *p) {
    return ++p->last_conn;
}

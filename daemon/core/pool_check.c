#include "pool_check.h"
#include "pool_private.h"

#define MUST(cond, words)                                                                                              \
    do {                                                                                                               \
        if (!(cond)) return words;                                                                                     \
    } while (0)

/* What the walks over the lists find, to be compared with the counts. */
struct tally {
    unsigned n[PC_GONE];
    unsigned buckets, quiet, waiting;
};

static const char *check_conn(const struct pool *p, const struct persist_conn *pc, enum pc_state list) {
    MUST(pc->id != 0 && pc->id <= p->last_conn, "a connection's id was never given out");
    MUST(idmap_get(&p->conns, pc->id) == pc, "a connection cannot be found by its id");
    MUST(pc->state == list, "a connection is not in the state of its list");
    MUST(!pc->dialer || pc->state == PC_DIALING, "a connection that is not dialing belongs to a dial");
    MUST(!pc->dialer || pc->dialer->dial == pc, "a dial and its want do not agree");
    MUST(!pc->dialer || pc->dialer->bucket == pc->bucket, "a dial is for another key than its want");
    MUST(!pc->promised || pc->state == PC_ACTIVE, "a connection that is not active is promised");
    MUST(!pc->promised || pc->promised->conn == pc, "a promise and its want do not agree");
    MUST(!pc->cohort == (pc->state != PC_IDLE), "a cohort has a connection that is not idle");
    MUST(pc->state != PC_DIALING || !pc->reused, "a connection was reused before it was dialed");
    MUST(pc->state != PC_IDLE || pc->reused, "a connection became idle past the return procedure");
    return NULL;
}

static const char *check_list(const struct pool *p, const struct conn_list *l, enum pc_state state, struct tally *t) {
    const struct persist_conn *pc;
    const char *bad;

    TAILQ_FOREACH (pc, l, on) {
        if ((bad = check_conn(p, pc, state))) return bad;
        t->n[state]++;
    }
    return NULL;
}

static const char *check_lru(const struct pool *p, struct tally *t) {
    const struct cohort *c;
    const struct persist_conn *pc;
    const char *bad;
    mono_ns before = INT64_MIN;

    TAILQ_FOREACH (c, &p->lru, by_age) {
        MUST(!TAILQ_EMPTY(&c->conns) || !TAILQ_NEXT(c, by_age), "a cohort that is not the last is empty");
        if ((bad = check_list(p, &c->conns, PC_IDLE, t))) return bad;
        TAILQ_FOREACH (pc, &c->conns, on) {
            MUST(pc->cohort == c, "an idle connection is in another cohort than it thinks");
            MUST(pc->idle_since >= before, "the LRU is not in the order of age");
            before = pc->idle_since;
        }
    }
    return NULL;
}

static const char *check_want(const struct pool *p, const struct want_conn *w) {
    MUST(idmap_get(&p->wants, w->id) == w, "a want cannot be found by its id");
    MUST(w->state != WANT_NEW, "a want was left without a state");
    MUST(!w->dial || w->dial->dialer == w, "a want and its dial do not agree");
    MUST(!w->conn || w->state == WANT_ANSWERED, "a want without an answer has a connection");
    MUST(!w->conn || w->conn->promised == w, "a want and its connection do not agree");
    MUST(w->state != WANT_WAITING || !w->dial != !w->in_dial_wait, "a waiting want neither dials nor waits to dial");
    MUST(w->state == WANT_WAITING || !(w->in_idle_wait || w->in_dial_wait), "a want in a queue does not wait");
    MUST(w->state != WANT_DONE || w->dial, "a finished want is remembered for nothing");
    if (w->state != WANT_ANSWERED) return NULL;
    MUST(w->answer >= p->queue_first && w->answer < p->queue_next, "an answer is not in the queue");
    const struct queued *q = &p->queue[w->answer & (p->queue_room - 1)];
    MUST(q->want == w && !q->taken_back && q->action.want == w->id, "an answer in the queue is another want's");
    MUST(q->action.kind == (w->conn ? POOL_DELIVER : POOL_FAIL), "an answer in the queue is of another kind");
    return NULL;
}

static const char *check_queues(const struct bucket *b, struct tally *t) {
    const struct want_conn *w;
    unsigned waiting = 0, in_idle_wait = 0, in_dial_wait = 0;

    TAILQ_FOREACH (w, &b->waiting, on) {
        MUST(w->bucket == b && w->state == WANT_WAITING, "a want waits where it does not belong");
        waiting++;
        in_idle_wait += w->in_idle_wait;
        in_dial_wait += w->in_dial_wait;
    }
    TAILQ_FOREACH (w, &b->idle_wait, on_idle_wait) {
        MUST(w->bucket == b && w->in_idle_wait, "a want in idle_wait does not know it");
        in_idle_wait--;
    }
    TAILQ_FOREACH (w, &b->dial_wait, on_dial_wait) {
        MUST(w->bucket == b && w->in_dial_wait, "a want in dial_wait does not know it");
        in_dial_wait--;
    }
    MUST(in_idle_wait == 0, "idle_wait has not the wants that think so");
    MUST(in_dial_wait == 0, "dial_wait has not the wants that think so");
    MUST(waiting == b->n_waiting, "a bucket's count of waiters is wrong");
    t->waiting += waiting;
    return NULL;
}

static const char *check_limits(const struct pool *p, const struct bucket *b) {
    int per_host = p->conf.max_idle_conns_per_host, conns = p->conf.max_conns_per_host;

    MUST(LIST_EMPTY(&b->idle) || TAILQ_EMPTY(&b->idle_wait), "a want waits beside an idle connection");
    MUST(TAILQ_EMPTY(&b->dial_wait) || (conns > 0 && open_of(b->n) >= (unsigned)conns),
         "a want waits for a permission that is there");
    if (p->conf_changed) return NULL;
    MUST(conns <= 0 || open_of(b->n) <= (unsigned)conns, "max_conns_per_host is exceeded");
    MUST(b->n[PC_IDLE] <= (per_host < 0    ? 0
                           : per_host == 0 ? 2
                                           : (unsigned)per_host),
         "max_idle_conns_per_host is exceeded");
    return NULL;
}

static const char *check_bucket(const struct pool *p, const struct bucket *b, struct tally *t) {
    const struct persist_conn *pc;
    unsigned idle = 0;
    mono_ns before = INT64_MAX;
    const char *bad;

    MUST(idmap_get(&p->seqs, b->seq) == b, "a bucket cannot be found by its number");
    MUST(b->quiet == (open_of(b->n) + b->n_waiting == 0), "a bucket is quiet and is not");
    LIST_FOREACH (pc, &b->idle, stacked) {
        MUST(pc->bucket == b && pc->state == PC_IDLE, "a stack has what is not an idle connection of its key");
        MUST(pc->idle_since <= before, "a stack is not in the order of age");
        before = pc->idle_since;
        idle++;
    }
    MUST(idle == b->n[PC_IDLE], "a stack's length is not its count");
    MUST(b->peak.open >= open_of(b->n) && b->peak.idle >= idle, "a bucket's peak is below its count");
    t->buckets++;
    t->quiet += b->quiet;
    if ((bad = check_queues(b, t))) return bad;
    return check_limits(p, b);
}

static const char *check_counts(const struct pool *p, const struct tally *t) {
    unsigned sum[PC_GONE] = {0};
    const struct bucket *b;

    TAILQ_FOREACH (b, &p->buckets, by_age)
        for (unsigned s = 0; s < PC_GONE; s++) sum[s] += b->n[s];
    for (unsigned s = 0; s < PC_GONE; s++) {
        MUST(t->n[s] == p->n[s], "a list's length is not its count");
        MUST(sum[s] == p->n[s], "the buckets' counts do not add up");
    }
    MUST(p->conns.n == open_of(p->n), "there are more ids than connections");
    MUST(t->waiting == p->n_waiting, "the count of waiters is wrong");
    MUST(t->buckets == p->n_buckets && p->seqs.n == p->n_buckets, "the count of buckets is wrong");
    MUST(t->quiet == p->n_quiet, "the count of quiet buckets is wrong");
    MUST(p->peak.open >= open_of(p->n) && p->peak.idle >= p->n[PC_IDLE], "a peak is below its count");
    MUST(p->conf_changed || p->conf.max_idle_conns == 0 || (int)p->n[PC_IDLE] <= p->conf.max_idle_conns ||
             (p->conf.max_idle_conns < 0 && p->n[PC_IDLE] == 0),
         "max_idle_conns is exceeded");
    return NULL;
}

const char *pool_check(const struct pool *p) {
    struct tally t = {0};
    const struct bucket *b;
    const char *bad;

    if ((bad = check_list(p, &p->dialing, PC_DIALING, &t))) return bad;
    if ((bad = check_list(p, &p->active, PC_ACTIVE, &t))) return bad;
    if ((bad = check_lru(p, &t))) return bad;
    TAILQ_FOREACH (b, &p->buckets, by_age)
        if ((bad = check_bucket(p, b, &t))) return bad;
    for (size_t i = 0; i < p->wants.room; i++)
        if (p->wants.slots[i].id && (bad = check_want(p, p->wants.slots[i].thing))) return bad;
    return check_counts(p, &t);
}

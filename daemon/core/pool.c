/* The rules of the pool. Inputs change it at once and queue what is to be done;
 * the order of that is fixed by the order of lists, never by a hash or an address.
 *
 * Where Go counts connsPerHost, nothing is counted here: a permit is held from
 * the start of a dial until the connection is gone (R23, R26), so the count is
 * that of the bucket's connections in all states, and passing a permit on is to
 * start the next dial as soon as there is room. */
#include "pool.h"
#include "pool_private.h"

#include <stdlib.h>

/* ---- states ---- */

static const bool lawful[PC_GONE + 1][PC_GONE + 1] = {
    [PC_GONE] = {[PC_DIALING] = true},
    [PC_DIALING] = {[PC_ACTIVE] = true, [PC_IDLE] = true, [PC_GONE] = true},
    [PC_ACTIVE] = {[PC_IDLE] = true, [PC_GONE] = true},
    [PC_IDLE] = {[PC_ACTIVE] = true, [PC_GONE] = true},
};

static void leave(struct pool *p, struct persist_conn *pc) {
    switch (pc->state) {
    case PC_DIALING:
        TAILQ_REMOVE(&p->dialing, pc, on);
        break;
    case PC_ACTIVE:
        TAILQ_REMOVE(&p->active, pc, on);
        break;
    case PC_IDLE:
        LIST_REMOVE(pc, stacked);
        cohort_leave(p, pc);
        break;
    case PC_GONE:
        return;
    }
    p->n[pc->state]--;
    pc->bucket->n[pc->state]--;
}

static void join(struct pool *p, struct persist_conn *pc, mono_ns now) {
    switch (pc->state) {
    case PC_DIALING:
        TAILQ_INSERT_TAIL(&p->dialing, pc, on);
        break;
    case PC_ACTIVE:
        TAILQ_INSERT_TAIL(&p->active, pc, on);
        break;
    case PC_IDLE:
        pc->idle_since = now;
        pc->cohort = cohort_now(p);
        TAILQ_INSERT_TAIL(&pc->cohort->conns, pc, on);
        LIST_INSERT_HEAD(&pc->bucket->idle, pc, stacked);
        break;
    case PC_GONE:
        return;
    }
    p->n[pc->state]++;
    pc->bucket->n[pc->state]++;
}

static void raise_peak(struct pool_peaks *peak, const unsigned n[PC_GONE]) {
    if (open_of(n) > peak->open) peak->open = open_of(n);
    if (n[PC_IDLE] > peak->idle) peak->idle = n[PC_IDLE];
}

/* The only place where a connection changes its state. `why` counts for PC_GONE;
 * `now` for PC_IDLE. */
static void move(struct pool *p, struct persist_conn *pc, enum pc_state to, enum close_reason why, mono_ns now) {
    enum pc_state from = pc->state;

    if (!lawful[from][to]) abort();
    leave(p, pc);
    pc->state = to;
    join(p, pc, now);
    raise_peak(&p->peak, p->n);
    raise_peak(&pc->bucket->peak, pc->bucket->n);
    bucket_settle(p, pc->bucket);
    queue_put(p, &(struct pool_action){.kind = POOL_MOVED, .conn = pc->id, .why = why, .from = from, .to = to}, NULL);
}

/* ---- wants ---- */

static void start_waiting(struct pool *p, struct want_conn *w, mono_ns now) {
    struct bucket *b = w->bucket;

    w->state = WANT_WAITING;
    w->since = now;
    TAILQ_INSERT_TAIL(&b->waiting, w, on);
    b->n_waiting++;
    p->n_waiting++;
    bucket_settle(p, b);
    if (p->conf.disable_keep_alives) return; /* R10 */
    w->in_idle_wait = true;
    TAILQ_INSERT_TAIL(&b->idle_wait, w, on_idle_wait);
}

static void leave_dial_wait(struct want_conn *w) {
    if (!w->in_dial_wait) return;
    w->in_dial_wait = false;
    TAILQ_REMOVE(&w->bucket->dial_wait, w, on_dial_wait);
}

/* A want leaves both queues at once; Go leaves it there and skips it when it
 * comes to the head (R16, R24), which differs in memory alone. */
static void stop_waiting(struct pool *p, struct want_conn *w) {
    struct bucket *b = w->bucket;

    TAILQ_REMOVE(&b->waiting, w, on);
    b->n_waiting--;
    p->n_waiting--;
    if (w->in_idle_wait) TAILQ_REMOVE(&b->idle_wait, w, on_idle_wait);
    w->in_idle_wait = false;
    leave_dial_wait(w);
    bucket_settle(p, b);
}

static void deliver(struct pool *p, struct want_conn *w, struct persist_conn *pc, mono_ns now) {
    if (pc->state != PC_ACTIVE) move(p, pc, PC_ACTIVE, REASON_NONE, now);
    if (w->state == WANT_WAITING) stop_waiting(p, w);
    w->state = WANT_ANSWERED;
    w->conn = pc;
    pc->promised = w;
    w->bucket->gets++;
    w->bucket->reuses += pc->reused;
    w->answer = queue_put(
        p, &(struct pool_action){.kind = POOL_DELIVER, .conn = pc->id, .want = w->id, .reused = pc->reused}, w);
}

static void fail(struct pool *p, struct want_conn *w, conn_id c, enum close_reason why) {
    stop_waiting(p, w);
    w->state = WANT_ANSWERED;
    w->answer = queue_put(p, &(struct pool_action){.kind = POOL_FAIL, .conn = c, .want = w->id, .why = why}, w);
}

/* The answer is out. A want whose own dial runs is kept: its context may yet end
 * and take the dial with it (R30). */
static void finish(struct pool *p, struct want_conn *w) {
    w->state = WANT_DONE;
    w->conn = NULL;
    if (!w->dial) want_forget(p, w);
}

/* Takes a queued answer back; returns the connection that it was to hand over. */
static struct persist_conn *take_back(struct pool *p, struct want_conn *w) {
    struct persist_conn *pc = w->conn;

    queue_take_back(p, w->answer);
    w->state = WANT_NEW;
    w->conn = NULL;
    if (!pc) return NULL;
    pc->promised = NULL;
    w->bucket->gets--;
    w->bucket->reuses -= pc->reused;
    return pc;
}

/* ---- dialing and closing ---- */

static bool may_dial(const struct pool *p, const struct bucket *b) {
    return p->conf.max_conns_per_host <= 0 || open_of(b->n) < (unsigned)p->conf.max_conns_per_host;
}

static void start_dial(struct pool *p, struct want_conn *w, mono_ns now) {
    struct bucket *b = w->bucket;
    struct persist_conn *pc = conn_make(p);

    leave_dial_wait(w);
    pc->bucket = b;
    pc->dialer = w;
    w->dial = pc;
    b->dials++;
    move(p, pc, PC_DIALING, REASON_NONE, now);
    queue_put(p, &(struct pool_action){.kind = POOL_DIAL, .conn = pc->id, .want = w->id, .key = &b->key}, NULL);
}

/* R23: a connection's place goes to the first that waits for one. */
static void pass_permit(struct pool *p, struct bucket *b, mono_ns now) {
    while (!TAILQ_EMPTY(&b->dial_wait) && may_dial(p, b)) start_dial(p, TAILQ_FIRST(&b->dial_wait), now);
}

static struct want_conn *end_dial(struct persist_conn *pc) {
    struct want_conn *w = pc->dialer;

    pc->dialer = NULL;
    if (w) w->dial = NULL;
    return w;
}

/* Takes the connection out of the pool, and leaves its permit to be passed on. */
static void drop(struct pool *p, struct persist_conn *pc, enum close_reason why, mono_ns now) {
    end_dial(pc);
    move(p, pc, PC_GONE, why, now);
    conn_forget(p, pc);
}

static void close_conn(struct pool *p, struct persist_conn *pc, enum close_reason why, mono_ns now) {
    struct bucket *b = pc->bucket;
    conn_id id = pc->id;

    drop(p, pc, why, now);
    queue_put(p, &(struct pool_action){.kind = POOL_CLOSE, .conn = id, .why = why}, NULL);
    pass_permit(p, b, now);
}

/* ---- section 3.2: getting a connection ---- */

/* R12. A connection whose timer ought to have fired is not handed out. */
static bool is_too_old(const struct pool *p, const struct persist_conn *pc, mono_ns now) {
    return p->conf.idle_conn_timeout > 0 && now - pc->idle_since > p->conf.idle_conn_timeout;
}

static struct persist_conn *newest_idle(struct pool *p, struct bucket *b, mono_ns now) {
    struct persist_conn *pc;

    while ((pc = LIST_FIRST(&b->idle)) && is_too_old(p, pc, now)) close_conn(p, pc, REASON_IDLE_TIMEOUT, now);
    return pc;
}

/* R9: an idle connection; else the queue for the next that comes free, and at
 * the same time a dial, or the queue for permission to dial. */
static void acquire(struct pool *p, struct want_conn *w, mono_ns now) {
    struct bucket *b = w->bucket;

    if (!p->conf.disable_keep_alives) {
        p->close_idle = false; /* R11 */
        struct persist_conn *pc = newest_idle(p, b, now);
        if (pc) {
            deliver(p, w, pc, now);
            return;
        }
    }
    start_waiting(p, w, now);
    if (w->dial) return; /* R18: never a second one */
    if (may_dial(p, b)) {
        start_dial(p, w, now);
        return;
    }
    w->in_dial_wait = true;
    TAILQ_INSERT_TAIL(&b->dial_wait, w, on_dial_wait);
}

/* ---- section 4: returning a connection ---- */

static unsigned max_idle_per_host(const struct pool *p) {
    return p->conf.max_idle_conns_per_host == 0 ? 2 : (unsigned)p->conf.max_idle_conns_per_host;
}

static struct persist_conn *oldest_idle(const struct pool *p) {
    const struct cohort *c = TAILQ_FIRST(&p->lru);
    return c ? TAILQ_FIRST(&c->conns) : NULL; /* of several cohorts only the last can be empty */
}

/* R34. Room is made before the connection comes in, so that no count is ever
 * seen above its limit; the order of the two cannot be told apart otherwise. */
static void make_room(struct pool *p, mono_ns now) {
    if (p->conf.max_idle_conns == 0) return;
    while (p->n[PC_IDLE] >= (unsigned)p->conf.max_idle_conns) close_conn(p, oldest_idle(p), REASON_TOO_MANY_IDLE, now);
}

static void give_back(struct pool *p, struct persist_conn *pc, mono_ns now) {
    struct bucket *b = pc->bucket;
    struct want_conn *w;

    if (p->conf.disable_keep_alives || p->conf.max_idle_conns_per_host < 0) {
        close_conn(p, pc, REASON_KEEPALIVES_DISABLED, now);
        return;
    }
    pc->reused = true;
    if ((w = TAILQ_FIRST(&b->idle_wait))) { /* R33: before any limit */
        deliver(p, w, pc, now);
    } else if (p->close_idle) {
        close_conn(p, pc, REASON_CLOSE_IDLE_CONNS, now);
    } else if (b->n[PC_IDLE] >= max_idle_per_host(p)) {
        close_conn(p, pc, REASON_TOO_MANY_IDLE_HOST, now);
    } else if (p->conf.max_idle_conns < 0) {
        close_conn(p, pc, REASON_TOO_MANY_IDLE, now); /* it would be evicted the instant it is in (T80) */
    } else {
        make_room(p, now);
        move(p, pc, PC_IDLE, REASON_NONE, now);
    }
}

/* ---- inputs ---- */

void pool_want(struct pool *p, want_id id, const struct connect_key *k, mono_ns now) {
    struct want_conn *w;

    if (id == 0 || idmap_get(&p->wants, id)) return;
    if (p->queue_first == p->queue_next) buckets_trim(p);
    w = want_make(p, id);
    w->bucket = bucket_find_or_make(p, k);
    acquire(p, w, now);
}

void pool_cancel(struct pool *p, want_id id, mono_ns now) {
    struct want_conn *w = idmap_get(&p->wants, id);
    struct persist_conn *unused = NULL;

    if (!w) return;
    if (w->state == WANT_WAITING) stop_waiting(p, w);
    if (w->state == WANT_ANSWERED) unused = take_back(p, w);
    w->state = WANT_DONE;
    if (unused) give_back(p, unused, now);                                                       /* R28 */
    if (w->dial && p->conf.profile == POOL_GO1_19) close_conn(p, w->dial, REASON_CANCELED, now); /* R29, R30 */
    if (w->dial) end_dial(w->dial); /* newer Go: it runs on, for whoever comes */
    want_forget(p, w);
}

void pool_dialed(struct pool *p, conn_id c, mono_ns now) {
    struct persist_conn *pc = idmap_get(&p->conns, c);
    struct want_conn *w;

    if (!pc || pc->state != PC_DIALING) return;
    w = end_dial(pc);
    if (w && w->state == WANT_WAITING) {
        deliver(p, w, pc, now);
        return;
    }
    if (w && w->state == WANT_DONE) want_forget(p, w);
    give_back(p, pc, now); /* R19: its want was served otherwise, or is gone */
}

void pool_put(struct pool *p, conn_id c, mono_ns now) {
    struct persist_conn *pc = idmap_get(&p->conns, c);

    if (pc && pc->state == PC_ACTIVE && !pc->promised) give_back(p, pc, now);
}

void pool_lost(struct pool *p, conn_id c, enum close_reason why, mono_ns now) {
    struct persist_conn *pc = idmap_get(&p->conns, c);
    struct want_conn *dialer, *promised;
    struct bucket *b;

    if (!pc) return;
    b = pc->bucket;
    dialer = end_dial(pc);
    promised = pc->promised;
    if (promised) take_back(p, promised);
    drop(p, pc, why, now);
    if (dialer && dialer->state == WANT_WAITING) fail(p, dialer, c, why); /* R20 */
    if (dialer && dialer->state == WANT_DONE) want_forget(p, dialer);
    pass_permit(p, b, now);
    if (promised) acquire(p, promised, now); /* R12: broken, look for another */
}

void pool_detach(struct pool *p, conn_id c, mono_ns now) {
    struct persist_conn *pc = idmap_get(&p->conns, c);
    struct bucket *b;

    if (!pc || pc->state != PC_ACTIVE || pc->promised) return;
    b = pc->bucket;
    drop(p, pc, REASON_UPGRADED, now);
    pass_permit(p, b, now);
}

/* Newer Go: dials that nobody waits for any more are idle connections to be. */
static void close_unwanted_dials(struct pool *p, mono_ns now) {
    struct persist_conn *pc, *next;

    for (pc = TAILQ_FIRST(&p->dialing); pc; pc = next) {
        struct want_conn *w = pc->dialer;
        next = TAILQ_NEXT(pc, on);
        if (w && w->state == WANT_WAITING) continue;
        close_conn(p, pc, REASON_CLOSE_IDLE_CONNS, now);
        if (w && w->state == WANT_DONE) want_forget(p, w);
    }
}

void pool_close_idle(struct pool *p, mono_ns now) {
    struct persist_conn *pc;

    p->close_idle = true;
    while ((pc = oldest_idle(p))) close_conn(p, pc, REASON_CLOSE_IDLE_CONNS, now);
    if (p->conf.profile == POOL_GO1_27) close_unwanted_dials(p, now);
}

/* When the first idle timer of the cohort fires: that of its oldest connection. */
static mono_ns deadline(const struct cohort *c) {
    mono_ns at;
    if (c->timeout <= 0 || TAILQ_EMPTY(&c->conns)) return NEVER;
    return __builtin_add_overflow(TAILQ_FIRST(&c->conns)->idle_since, c->timeout, &at) ? NEVER : at;
}

static struct persist_conn *first_due(const struct pool *p, mono_ns now) {
    const struct cohort *c;
    TAILQ_FOREACH (c, &p->lru, by_age)
        if (deadline(c) <= now) return TAILQ_FIRST(&c->conns);
    return NULL;
}

void pool_tick(struct pool *p, mono_ns now) {
    struct persist_conn *pc;
    while ((pc = first_due(p, now))) close_conn(p, pc, REASON_IDLE_TIMEOUT, now);
}

void pool_set_conf(struct pool *p, const struct pool_conf *conf, mono_ns now) {
    struct bucket *b;

    p->conf = *conf;
    p->conf_changed = true;
    TAILQ_FOREACH (b, &p->buckets, by_age) pass_permit(p, b, now);
}

/* ---- what follows from it ---- */

bool pool_next_action(struct pool *p, struct pool_action *out) {
    while (p->queue_first != p->queue_next) {
        const struct queued *q = &p->queue[p->queue_first++ & (p->queue_room - 1)];
        if (q->taken_back) continue;
        *out = q->action;
        if (q->want) {
            if (q->want->conn) q->want->conn->promised = NULL;
            finish(p, q->want);
        }
        return true;
    }
    return false;
}

mono_ns pool_next_deadline(const struct pool *p) {
    mono_ns first = NEVER;
    const struct cohort *c;

    TAILQ_FOREACH (c, &p->lru, by_age)
        if (deadline(c) < first) first = deadline(c);
    return first;
}

bool pool_is_reused(const struct pool *p, conn_id c) {
    const struct persist_conn *pc = idmap_get(&p->conns, c);
    return pc && pc->reused;
}

static struct pool_counts counts_of(const unsigned n[PC_GONE], unsigned waiting) {
    return (struct pool_counts){
        .idle = n[PC_IDLE], .active = n[PC_ACTIVE], .dialing = n[PC_DIALING], .waiting = waiting};
}

void pool_counts(const struct pool *p, struct pool_counts *out) {
    *out = counts_of(p->n, p->n_waiting);
}

void pool_peaks(const struct pool *p, struct pool_peaks *out) {
    *out = p->peak;
}

void pool_reset_peaks(struct pool *p) {
    struct bucket *b;

    p->peak = (struct pool_peaks){.open = open_of(p->n), .idle = p->n[PC_IDLE]};
    TAILQ_FOREACH (b, &p->buckets, by_age) b->peak = (struct pool_peaks){.open = open_of(b->n), .idle = b->n[PC_IDLE]};
}

/* The bucket behind the one with number `seq`, which may be gone by now. */
static const struct bucket *bucket_after(const struct pool *p, uint64_t seq) {
    const struct bucket *b = idmap_get(&p->seqs, seq);

    if (b) return TAILQ_NEXT(b, by_age);
    for (b = TAILQ_FIRST(&p->buckets); b && b->seq <= seq;) b = TAILQ_NEXT(b, by_age);
    return b;
}

bool pool_next_bucket(const struct pool *p, uint64_t after, struct pool_row *out) {
    const struct bucket *b = bucket_after(p, after);

    if (!b) return false;
    *out = (struct pool_row){
        .key = b->key,
        .now = counts_of(b->n, b->n_waiting),
        .peak = b->peak,
        .permits = p->conf.max_conns_per_host > 0 ? open_of(b->n) : 0,
        .dials = b->dials,
        .gets = b->gets,
        .reuses = b->reuses,
        .oldest_wait = TAILQ_EMPTY(&b->waiting) ? NEVER : TAILQ_FIRST(&b->waiting)->since,
        .seq = b->seq,
    };
    return true;
}

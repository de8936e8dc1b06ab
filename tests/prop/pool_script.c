/* Random lives of a pool, written down: what is done to it, and what it did then.
 * tests/tools/gopool does the same to Go's http.Transport and compares.
 *
 *     pool_script SEED RUNS
 *
 * A step is a line: what is done, a bar, and what must be seen before the next step:
 *
 *     conf MAX_IDLE MAX_IDLE_PER_HOST MAX_CONNS_PER_HOST DISABLE_KEEP_ALIVES
 *     want W KEY | dial C KEY, deliver W C REUSED
 *     dialed C | ..        dial_error C | fail W
 *     put C | done W ..    the server answers, the response is read to its end
 *     lost C | close C ..  the server closes the connection, busy or idle
 *     detach C | done W .. the server answers 101
 *     cancel W | fail W .. the context ends; without the failure if the request is over
 *     close_idle | close C ..
 *
 * close: a connection is closed by the client; abort: a dial is. */
#include "core/pool.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define KEYS  3
#define STEPS 120

enum request { R_NONE, R_WAITS, R_RUNS, R_OVER };

struct life {
    uint64_t random;
    struct pool *pool;
    mono_ns now;
    conn_id n_conns;
    want_id n_wants;
    enum pc_state conns[STEPS + 1];
    want_id on[STEPS + 1]; /* the request that a connection carries */
    enum request wants[STEPS + 1];
};

static int below(struct life *l, int n) {
    l->random = bytes_hash(&l->random, sizeof l->random, 2);
    return (int)(l->random % (uint64_t)n);
}

static struct connect_key key_number(int i) {
    static const char *const addrs[KEYS] = {"a.test:80", "b.test:80", "c.test:80"};
    return (struct connect_key){"", "http", addrs[i], false};
}

static void note(struct life *l, const struct pool_action *a) {
    switch (a->kind) {
    case POOL_DIAL:
        printf(" dial %" PRIu64 " %s,", a->conn, a->key->addr);
        break;
    case POOL_DELIVER:
        printf(" deliver %" PRIu64 " %" PRIu64 " %d,", a->want, a->conn, a->reused);
        l->wants[a->want] = R_RUNS;
        l->on[a->conn] = a->want;
        break;
    case POOL_FAIL:
        printf(" fail %" PRIu64 ",", a->want);
        l->wants[a->want] = R_OVER;
        break;
    case POOL_CLOSE:
        break; /* its move said it */
    case POOL_MOVED:
        if (a->conn > l->n_conns) l->n_conns = a->conn;
        if (a->to == PC_GONE && a->why == REASON_CANCELED)
            printf(" abort %" PRIu64 ",", a->conn);
        else if (a->to == PC_GONE && a->why != REASON_DIAL_ERROR && a->why != REASON_UPGRADED)
            printf(" close %" PRIu64 ",", a->conn);
        l->conns[a->conn] = a->to;
        break;
    }
}

static void drain(struct life *l) {
    struct pool_action a;
    while (pool_next_action(l->pool, &a)) note(l, &a);
    putchar('\n');
}

/* A connection in that state, or 0. */
static conn_id pick_conn(struct life *l, enum pc_state state) {
    int n = (int)l->n_conns, start = below(l, n + 1);
    for (int i = 0; i <= n; i++) {
        conn_id c = (conn_id)((start + i) % (n + 1));
        if (c && l->conns[c] == state) return c;
    }
    return 0;
}

/* A request that waits, or one that is over; not one that has a connection: to
 * the pool that would be the driver's affair. */
static want_id pick_want(struct life *l) {
    int n = (int)l->n_wants, start = below(l, n + 1);
    for (int i = 0; i <= n; i++) {
        want_id w = (want_id)((start + i) % (n + 1));
        if (w && l->wants[w] != R_RUNS) return w;
    }
    return 0;
}

static void over(struct life *l, conn_id c) {
    if (!l->on[c]) return;
    printf(" done %" PRIu64 ",", l->on[c]);
    l->wants[l->on[c]] = R_OVER;
    l->on[c] = 0;
}

static void step_want(struct life *l) {
    struct connect_key k = key_number(below(l, KEYS));
    want_id w = ++l->n_wants;
    printf("want %" PRIu64 " %s |", w, k.addr);
    l->wants[w] = R_WAITS;
    pool_want(l->pool, w, &k, l->now);
    drain(l);
}

static void step_dial(struct life *l, conn_id c) {
    bool works = below(l, 6) != 0;
    printf("%s %" PRIu64 " |", works ? "dialed" : "dial_error", c);
    if (works)
        pool_dialed(l->pool, c, l->now);
    else
        pool_lost(l->pool, c, REASON_DIAL_ERROR, l->now);
    drain(l);
}

static void step_end(struct life *l, conn_id c) {
    int what = below(l, 12);
    printf("%s %" PRIu64 " |", what == 0 ? "detach" : what < 4 ? "lost" : "put", c);
    over(l, c);
    if (what == 0)
        pool_detach(l->pool, c, l->now);
    else if (what < 4)
        pool_lost(l->pool, c, REASON_SERVER_CLOSED, l->now);
    else
        pool_put(l->pool, c, l->now);
    drain(l);
}

static void step_lost_idle(struct life *l, conn_id c) {
    printf("lost %" PRIu64 " |", c);
    pool_lost(l->pool, c, REASON_SERVER_CLOSED_IDLE, l->now);
    drain(l);
}

static void step_cancel(struct life *l, want_id w) {
    printf("cancel %" PRIu64 " |", w);
    if (l->wants[w] == R_WAITS) printf(" fail %" PRIu64 ",", w);
    l->wants[w] = R_OVER;
    pool_cancel(l->pool, w, l->now);
    drain(l);
}

static void step_close_idle(struct life *l) {
    printf("close_idle |");
    pool_close_idle(l->pool, l->now);
    drain(l);
}

static void step(struct life *l) {
    int what = below(l, 40);
    conn_id c;
    want_id w;

    l->now += MSEC(1);
    if (what < 14 && l->n_wants < STEPS && l->n_conns + 2 < STEPS)
        step_want(l);
    else if (what < 22 && (c = pick_conn(l, PC_DIALING)))
        step_dial(l, c);
    else if (what < 33 && (c = pick_conn(l, PC_ACTIVE)))
        step_end(l, c);
    else if (what < 35 && (c = pick_conn(l, PC_IDLE)))
        step_lost_idle(l, c);
    else if (what < 39 && (w = pick_want(l)))
        step_cancel(l, w);
    else if (what == 39)
        step_close_idle(l);
}

static void live(uint64_t seed) {
    static const int limits[] = {0, 0, 1, 1, 2, 2, 3, 5, -1};
    static struct life l;

    l = (struct life){.random = seed, .now = SEC(1)};
    struct pool_conf conf = {
        .max_idle_conns = limits[below(&l, 9)],
        .max_idle_conns_per_host = limits[below(&l, 9)],
        .max_conns_per_host = limits[below(&l, 9)],
        .disable_keep_alives = below(&l, 10) == 0,
        .profile = POOL_GO1_19,
    };
    printf("conf %d %d %d %d %" PRIu64 "\n", conf.max_idle_conns, conf.max_idle_conns_per_host, conf.max_conns_per_host,
           conf.disable_keep_alives, seed);
    l.pool = pool_new(&conf);
    for (int i = 0; i < STEPS; i++) step(&l);
    pool_free(&l.pool);
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: pool_script SEED RUNS\n");
        return 2;
    }
    uint64_t seed = strtoull(argv[1], NULL, 0), runs = strtoull(argv[2], NULL, 0);
    for (uint64_t i = 0; i < runs; i++) live(seed + i);
    return 0;
}

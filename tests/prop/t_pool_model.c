/* The pool against a model that was written from the prose: random runs, every
 * action, count, row and deadline compared, the invariants checked after each step.
 *
 *     t_pool_model [SEED [RUNS]]      or CONNLEAK_SEED, CONNLEAK_RUNS
 *
 * One run is made from one seed, so a failure names the seed that repeats it. */
#include "core/pool_check.h"
#include "naive_pool.h"
#include "random_driver.h"

#include "tap.h"

#include <time.h>

#define STEPS 300
#define RUNS  3000

static uint64_t first_seed;
static unsigned long n_runs = RUNS;

static struct random_driver driver;
static struct naive model;
static struct step steps[STEPS];

static const char *const addrs[RANDOM_KEYS] = {"a:80", "b:80", "c:80", "d:80"};

static struct connect_key key_number(int i) {
    return (struct connect_key){"", "http", addrs[i], false};
}

static void apply(struct pool *p, const struct step *s) {
    struct connect_key k = key_number(s->key);

    switch (s->kind) {
    case STEP_WANT:
        pool_want(p, s->id, &k, s->now);
        naive_ask(&model, s->id, s->key, s->now);
        break;
    case STEP_CANCEL:
        pool_cancel(p, s->id, s->now);
        naive_cancel(&model, s->id, s->now);
        break;
    case STEP_DIALED:
        pool_dialed(p, s->id, s->now);
        naive_dialed(&model, s->id, s->now);
        break;
    case STEP_LOST:
        pool_lost(p, s->id, s->why, s->now);
        naive_lost(&model, s->id, s->why, s->now);
        break;
    case STEP_PUT:
        pool_put(p, s->id, s->now);
        naive_put(&model, s->id, s->now);
        break;
    case STEP_DETACH:
        pool_detach(p, s->id, s->now);
        naive_detach(&model, s->id);
        break;
    case STEP_CLOSE_IDLE:
        pool_close_idle(p, s->now);
        naive_close_idle(&model);
        break;
    case STEP_TICK:
        pool_tick(p, s->now);
        naive_tick(&model, s->now);
        break;
    case STEP_SET_CONF:
        pool_set_conf(p, &s->conf, s->now);
        naive_set_conf(&model, &s->conf);
        break;
    case STEP_DRAIN:
    case N_STEPS:
        break;
    }
}

static bool same_action(const struct pool_action *a, const struct pool_action *b) {
    return a->kind == b->kind && a->conn == b->conn && a->want == b->want && a->why == b->why && a->from == b->from &&
           a->to == b->to && a->reused == b->reused;
}

static const char *drain(struct pool *p, int n) {
    struct pool_action a, b;

    while (n-- > 0) {
        bool more = pool_next_action(p, &a);
        if (more != naive_next_action(&model, &b)) return "one of the two has more to do than the other";
        if (!more) return NULL;
        if (!same_action(&a, &b)) return "the two do different things";
        const char *bad = random_observe(&driver, &a);
        if (bad) return bad;
    }
    return NULL;
}

static const char *compare_rows(const struct pool *p) {
    struct pool_row got = {0}, want;

    for (int i = 0; i < driver.n_keys; i++) {
        if (!pool_next_bucket(p, got.seq, &got)) return "a row is missing";
        if (strcmp(got.key.addr, addrs[i]) != 0) return "rows are not in the order of creation";
        naive_row(&model, i, &want);
        if (memcmp(&got.now, &want.now, sizeof got.now) != 0) return "a row's counts differ";
        if (got.peak.open != want.peak.open || got.peak.idle != want.peak.idle) return "a row's peaks differ";
        if (got.permits != want.permits) return "connsPerHost differs";
        if (got.dials != want.dials || got.gets != want.gets || got.reuses != want.reuses) return "totals differ";
        if (got.oldest_wait != want.oldest_wait) return "the oldest wait differs";
    }
    return pool_next_bucket(p, got.seq, &got) ? "there is a row too many" : NULL;
}

static const char *compare(const struct pool *p) {
    const char *bad = pool_check(p);
    struct pool_peaks peak;

    if (bad) return bad;
    pool_peaks(p, &peak);
    if (peak.open != model.peak.open || peak.idle != model.peak.idle) return "the peaks differ";
    if (pool_next_deadline(p) != naive_next_deadline(&model)) return "deadlines differ";
    for (conn_id c = 1; c <= driver.n_conns; c++)
        if (pool_is_reused(p, c) != naive_is_reused(&model, c)) return "the marks of reuse differ";
    return compare_rows(p);
}

/* Everything ends: nothing may be left. */
static const char *wind_up(struct pool *p) {
    struct pool_counts n;

    for (want_id w = 1; w <= driver.n_wants; w++) {
        pool_cancel(p, w, driver.now);
        naive_cancel(&model, w, driver.now);
        if (driver.wants[w] == W_WAITS) driver.wants[w] = W_OVER;
    }
    for (conn_id c = 1; c <= (conn_id)model.n_conns; c++) {
        pool_lost(p, c, REASON_SHUTDOWN, driver.now);
        naive_lost(&model, c, REASON_SHUTDOWN, driver.now);
    }
    const char *bad = drain(p, NAIVE_MAX);
    if (bad) return bad;
    pool_counts(p, &n);
    if (n.idle + n.active + n.dialing + n.waiting > 0) return "something is left in the end";
    if (pool_next_deadline(p) != NEVER) return "an empty pool has a deadline";
    return compare(p);
}

static const char *run(uint64_t seed, int *n_steps) {
    const char *bad = NULL;

    random_begin(&driver, seed);
    naive_init(&model, &driver.conf);
    struct pool *p = pool_new(&driver.conf);
    for (*n_steps = 0; *n_steps < STEPS && !bad;) {
        struct step *s = &steps[(*n_steps)++];
        random_step(&driver, pool_next_deadline(p), s);
        apply(p, s);
        if (s->kind == STEP_DRAIN) bad = drain(p, s->n);
        if (!bad) bad = compare(p);
    }
    if (!bad) bad = wind_up(p);
    pool_free(&p);
    return bad;
}

TEST(the_pool_does_what_the_prose_says) {
    printf("# seed %" PRIu64 ", %lu runs of %d steps\n", first_seed, n_runs, STEPS);
    for (unsigned long i = 0; i < n_runs; i++) {
        int n_steps;
        const char *bad = run(first_seed + i, &n_steps);
        if (!bad) continue;
        printf("# seed %" PRIu64 " fails after %d steps; the last of them:\n", first_seed + i, n_steps);
        for (int s = n_steps > 40 ? n_steps - 40 : 0; s < n_steps; s++) step_print(&steps[s]);
        tap_fail(__FILE__, __LINE__, "%s", bad);
        return;
    }
}

int main(int argc, char **argv) {
    const char *seed = argc > 1 ? argv[1] : getenv("CONNLEAK_SEED"),
               *runs = argc > 2 ? argv[2] : getenv("CONNLEAK_RUNS");

    first_seed = seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL) * 1000003u;
    if (runs) n_runs = strtoul(runs, NULL, 0);
    return tap_run();
}

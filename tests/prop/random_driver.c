#include "random_driver.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static uint64_t draw(struct random_driver *d) {
    return d->state = bytes_hash(&d->state, sizeof d->state, 1);
}
static int below(struct random_driver *d, int n) {
    return (int)(draw(d) % (uint64_t)n);
}
static bool one_in(struct random_driver *d, int n) {
    return below(d, n) == 0;
}

static struct pool_conf random_conf(struct random_driver *d) {
    static const int limits[] = {0, 0, 1, 1, 2, 2, 3, 5, 10, -1};
    static const mono_ns timeouts[] = {0, 0, MSEC(5), MSEC(20), SEC(90), INT64_MAX};
    return (struct pool_conf){
        .max_idle_conns = limits[below(d, 10)],
        .max_idle_conns_per_host = limits[below(d, 10)],
        .max_conns_per_host = limits[below(d, 10)],
        .idle_conn_timeout = timeouts[below(d, 6)],
        .disable_keep_alives = one_in(d, 12),
        .profile = one_in(d, 2) ? POOL_GO1_19 : POOL_GO1_27,
    };
}

void random_begin(struct random_driver *d, uint64_t seed) {
    static const unsigned usual[N_STEPS] = {
        [STEP_WANT] = 8,   [STEP_CANCEL] = 3,     [STEP_DIALED] = 6, [STEP_LOST] = 2,     [STEP_PUT] = 8,
        [STEP_DETACH] = 1, [STEP_CLOSE_IDLE] = 1, [STEP_TICK] = 3,   [STEP_SET_CONF] = 0, [STEP_DRAIN] = 20};
    memset(d, 0, sizeof *d);
    d->state = seed;
    d->conf = random_conf(d);
    for (int k = 0; k < N_STEPS; k++) {
        /* Runs in which something never happens reach what the average run does not. */
        d->weight[k] = one_in(d, 6) ? 0 : usual[k] * (unsigned)(1 + below(d, 3));
    }
    d->weight[STEP_WANT] += 2;
    d->weight[STEP_DRAIN] += 2;
    if (one_in(d, 5)) d->weight[STEP_SET_CONF] = 1;
}

static enum step_kind random_kind(struct random_driver *d) {
    unsigned sum = 0;
    for (int k = 0; k < N_STEPS; k++) sum += d->weight[k];
    unsigned at = (unsigned)(draw(d) % sum);
    for (int k = 0; k < N_STEPS; k++) {
        if (at < d->weight[k]) return (enum step_kind)k;
        at -= d->weight[k];
    }
    return STEP_DRAIN;
}

/* A connection in that state, as far as this driver knows; now and then any number. */
static uint64_t random_conn(struct random_driver *d, enum pc_state state) {
    uint64_t start = draw(d) % (d->n_conns + 1);
    if (one_in(d, 50)) return draw(d) % (d->n_conns + 3);
    for (uint64_t i = 0; i <= d->n_conns; i++) {
        uint64_t id = (start + i) % (d->n_conns + 1);
        if (id && d->conns[id] == state) return id;
    }
    return 0;
}

static uint64_t random_want(struct random_driver *d) {
    uint64_t recent = d->n_wants < 20 ? d->n_wants : 20;
    return recent ? d->n_wants - draw(d) % recent : 0;
}

static mono_ns random_time(struct random_driver *d, mono_ns deadline) {
    if (deadline != NEVER && deadline >= d->now && one_in(d, 4)) return deadline + below(d, 3) - 1;
    return d->now + MSEC(below(d, 4)) + below(d, 3);
}

void random_step(struct random_driver *d, mono_ns deadline, struct step *s) {
    mono_ns then = random_time(d, deadline);

    if (then > d->now) d->now = then;
    *s = (struct step){.kind = random_kind(d), .now = d->now};
    switch (s->kind) {
    case STEP_WANT:
        s->key = below(d, d->n_keys < RANDOM_KEYS ? d->n_keys + 1 : RANDOM_KEYS);
        if (s->key == d->n_keys) d->n_keys++;
        s->id = ++d->n_wants;
        break;
    case STEP_CANCEL:
        s->id = random_want(d);
        if (s->id) d->wants[s->id] = W_OVER;
        break;
    case STEP_DIALED:
        s->id = random_conn(d, PC_DIALING);
        break;
    case STEP_LOST:
        s->id = random_conn(d, (enum pc_state)below(d, PC_GONE));
        s->why = (enum close_reason)(1 + below(d, N_REASONS - 1));
        break;
    case STEP_PUT:
    case STEP_DETACH:
        s->id = random_conn(d, PC_ACTIVE);
        if (s->id <= d->n_conns) d->with_request[s->id] = false;
        break;
    case STEP_SET_CONF:
        s->conf = d->conf = random_conf(d);
        break;
    case STEP_DRAIN:
        s->n = one_in(d, 5) ? 1 + below(d, 3) : RANDOM_THINGS;
        break;
    default:
        break;
    }
}

static const char *observe_move(struct random_driver *d, const struct pool_action *a) {
    if (a->from == PC_GONE) {
        if (a->conn != d->n_conns + 1) return "a new connection has not the next id";
        d->n_conns++;
        d->conns[a->conn] = PC_GONE;
    }
    if (a->conn > d->n_conns || d->conns[a->conn] != a->from)
        return "a connection moved from a state that it was not in";
    if ((a->to == PC_GONE) != (a->why != REASON_NONE)) return "a close without a reason, or a reason without a close";
    if (a->to == PC_IDLE && d->with_request[a->conn]) return "a connection became idle under its request";
    d->conns[a->conn] = a->to;
    return NULL;
}

static const char *observe_answer(struct random_driver *d, const struct pool_action *a) {
    if (a->want == 0 || a->want > d->n_wants) return "an answer to nobody";
    if (d->wants[a->want] == W_OVER) return "an answer to a want that was cancelled";
    if (d->wants[a->want] == W_ANSWERED) return "a second answer to one want";
    d->wants[a->want] = W_ANSWERED;
    if (a->kind == POOL_FAIL) return a->why == REASON_NONE ? "a failure without a reason" : NULL;
    if (d->with_request[a->conn]) return "one connection for two requests";
    d->with_request[a->conn] = true;
    return NULL;
}

const char *random_observe(struct random_driver *d, const struct pool_action *a) {
    switch (a->kind) {
    case POOL_MOVED:
        return observe_move(d, a);
    case POOL_DIAL:
        if (!a->key || !a->want) return "a dial for nobody or to nowhere";
        return NULL;
    case POOL_CLOSE:
        if (d->conns[a->conn] != PC_GONE) return "a close of a connection that is not gone";
        return a->why == REASON_NONE ? "a close without a reason" : NULL;
    case POOL_DELIVER:
    case POOL_FAIL:
        return observe_answer(d, a);
    }
    return "an action of no kind";
}

void step_print(const struct step *s) {
    static const char *const names[N_STEPS] = {"want",   "cancel",     "dialed", "lost",     "put",
                                               "detach", "close_idle", "tick",   "set_conf", "drain"};
    printf("#   %.6f ms %s", (double)s->now / 1e6, names[s->kind]);
    if (s->id) printf(" %" PRIu64, s->id);
    if (s->kind == STEP_WANT) printf(" key %d", s->key);
    if (s->kind == STEP_LOST) printf(" why %d", (int)s->why);
    if (s->kind == STEP_DRAIN) printf(" at most %d", s->n);
    putchar('\n');
}

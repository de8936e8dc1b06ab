/* A driver of the pool that does whatever may happen, in an order that a seed
 * decides. It knows of the pool what a real driver knows, the actions it took,
 * and says when one of them cannot be. */
#ifndef CONNLEAK_RANDOM_DRIVER_H
#define CONNLEAK_RANDOM_DRIVER_H

#include "core/pool.h"

#define RANDOM_KEYS   4
#define RANDOM_THINGS 2048 /* connections, or wants, in one run */

enum step_kind {
    STEP_WANT,
    STEP_CANCEL,
    STEP_DIALED,
    STEP_LOST,
    STEP_PUT,
    STEP_DETACH,
    STEP_CLOSE_IDLE,
    STEP_TICK,
    STEP_SET_CONF,
    STEP_DRAIN, /* take up to n actions */
    N_STEPS
};

struct step {
    enum step_kind kind;
    uint64_t id; /* of a want or a connection */
    int key;     /* keys are numbered in the order of their first use */
    int n;
    enum close_reason why;
    struct pool_conf conf;
    mono_ns now;
};

struct random_driver {
    uint64_t state; /* of the generator */
    struct pool_conf conf;
    unsigned weight[N_STEPS];
    mono_ns now;
    int n_keys;
    uint64_t n_conns, n_wants; /* ids 1..n were seen */
    enum pc_state conns[RANDOM_THINGS + 1];
    bool with_request[RANDOM_THINGS + 1]; /* delivered and not yet given back */
    enum { W_WAITS, W_ANSWERED, W_OVER } wants[RANDOM_THINGS + 1];
};

/* A random configuration and a random mixture of steps. */
void random_begin(struct random_driver *d, uint64_t seed);

/* What happens next; the caller does it to the pool. `deadline`: pool_next_deadline. */
void random_step(struct random_driver *d, mono_ns deadline, struct step *out);

/* An action was taken off the queue: NULL, or why it cannot be. */
const char *random_observe(struct random_driver *d, const struct pool_action *a);

/* One line about a step. */
void step_print(const struct step *s);

#endif

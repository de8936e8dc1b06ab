/* The pool under a virtual clock: the same core/pool.h that the daemon runs, fed with
 * a workload's arrivals and a model of its servers.
 *
 * As every driver of the pool: feed one input, drain the actions, arm one timer from
 * pool_next_deadline; and then jump to the earliest next thing. Pure, deterministic, and
 * done in slices, so that an event loop can run it beside its work. */
#ifndef CONNLEAK_VIRTUAL_DRIVER_H
#define CONNLEAK_VIRTUAL_DRIVER_H

#include "core/pool.h"
#include "server_model.h"
#include "whatif_row.h"

/* By which key requests share connections. */
enum virtual_keys {
    KEYS_AS_SEEN, /* as the connections of the workload were: to a proxy, or direct */
    KEYS_DIRECT,  /* by origin */
    KEYS_PROXY,   /* as Go does through a proxy: one key for all plain HTTP, by origin for https (R5) */
};

struct virtual_conf {
    struct pool_conf pool;
    enum virtual_keys keys;
    /* Not NULL: a pool of its own for each split (struct demands), with that limit of idle
     * connections and no other: what holds for one origin whatever the others do. */
    const int *limit_of_split;
};

struct virtual_driver;

/* Borrows both for as long as it lives. */
struct virtual_driver *virtual_new(const struct demands *d, const struct server_model *m,
                                   const struct virtual_conf *conf);
void virtual_free(struct virtual_driver **vp);

/* Handles at most `steps` arrivals and events; false: it is over. */
bool virtual_run(struct virtual_driver *v, uint32_t steps);

/* Requests that have arrived, of those that will. */
uint32_t virtual_progress(const struct virtual_driver *v);

/* After the end. Borrowed. */
const struct whatif_row *virtual_row(const struct virtual_driver *v);
/* Dials of each split. Borrowed. */
const uint64_t *virtual_dials_by_split(const struct virtual_driver *v);
/* The most idle connections that a split's own pool had; with limit_of_split only. */
unsigned virtual_peak_idle_of_split(const struct virtual_driver *v, uint32_t split);

#endif

/* The whole question: a base configuration, the combinations to compare with it, and what
 * is to be advised; done in slices.
 *
 *     job = whatif_job_new(w, &base, &sweep, true);
 *     while (whatif_job_run(job, 100000)) show(whatif_job_done(job));
 *
 * Pure. */
#ifndef CONNLEAK_WHATIF_JOB_H
#define CONNLEAK_WHATIF_JOB_H

#include "settings.h"

/* What is said of one origin (or proxy), whatever the others do. */
struct origin_advice {
    uint32_t peer; /* as in struct demands */
    uint64_t requests;
    uint64_t dials_base;       /* with the base's limit per host, and no limit on all together */
    uint64_t dials_least;      /* with no limit of idle connections at all */
    uint64_t dials_advised;    /* with max_idle_per_host */
    int max_idle_per_host;     /* the smallest that saves 95 % of the difference; the base's where that is little */
    int64_t idle_conn_timeout; /* just below the server's own; 0: nothing is known of one */
};

/* What is said of all together. */
struct whatif_advice {
    struct origin_advice *origins; /* in order of avoidable dials, most first */
    uint32_t n_origins;
    struct virtual_conf conf; /* the base with what is advised: to be set for real */
    struct whatif_row row;    /* what it would do */
    uint64_t dials_base, dials_least;
    bool is_base; /* nothing better is known than the base */
};

struct whatif_job;

/* Takes the workload. With `advise`, about 2 log2(idle connections) runs more. */
struct whatif_job *whatif_job_new(struct workload *w, const struct virtual_conf *base, const struct sweep *sweep,
                                  bool advise);
void whatif_job_free(struct whatif_job **jp);

/* Handles about `steps` arrivals and events; false: all is done. */
bool whatif_job_run(struct whatif_job *j, uint32_t steps);

/* How far it is, in thousandths. */
unsigned whatif_job_done(const struct whatif_job *j);

/* All borrowed. */
const struct workload *whatif_job_workload(const struct whatif_job *j);
const struct demands *whatif_job_demands(const struct whatif_job *j);
const struct server_model *whatif_job_servers(const struct whatif_job *j);
const struct virtual_conf *whatif_job_base(const struct whatif_job *j);
const struct sweep *whatif_job_sweep(const struct whatif_job *j);

/* Results, after the end: what really happened, what the model makes of the base, and of each combination. */
const struct whatif_row *whatif_job_observed(const struct whatif_job *j);
const struct whatif_row *whatif_job_base_row(const struct whatif_job *j);
const struct whatif_row *whatif_job_row(const struct whatif_job *j, unsigned combination);
const struct whatif_advice *whatif_job_advice(const struct whatif_job *j); /* NULL: none was asked for */

#endif

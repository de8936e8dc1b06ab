/* What servers do by themselves, as the workload shows it: how long a dial takes,
 * after which idle time they close a connection, after how many requests.
 *
 * How long an answer takes is not here: each exchange keeps its own time. Pure. */
#ifndef CONNLEAK_SERVER_MODEL_H
#define CONNLEAK_SERVER_MODEL_H

#include "demand.h"

struct server_facts {
    int64_t idle_timeout_ns;    /* the median of the idle times at which it closed connections; 0: none is known */
    int64_t idle_shortest_ns;   /* the shortest of those that belong to it */
    uint32_t idle_observations; /* how many do */
    uint32_t requests_limit;    /* it closes with the answer to this one; 0: none is known */
    uint32_t n_dials;           /* whose time is known */
    int64_t dial_ns;            /* their median, TLS included; where there are none that of all servers */
    uint32_t standing;          /* connections that stood when the observation began */
    bool tls;
};

struct server_model;

struct server_model *server_model_new(const struct demands *d);
void server_model_free(struct server_model **mp);

/* `peer` as in struct demands; one that is not there has what is known of all. */
const struct server_facts *server_facts(const struct server_model *m, uint32_t peer);

/* How long a dial takes that begins at `now`, TLS included: as long as the last one that was seen
 * to begin before, or else the first one. `now` never goes back within a run: *cursor, of
 * the caller, is 0 to begin with, one for each peer. */
int64_t server_dial_ns(const struct server_model *m, uint32_t peer, int64_t now, uint32_t *cursor);

#endif

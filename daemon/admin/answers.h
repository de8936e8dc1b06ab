/* What stands in the answers of the admin endpoint; how they travel is web.h's. */
#ifndef CONNLEAK_ADMIN_ANSWERS_H
#define CONNLEAK_ADMIN_ANSWERS_H

#include "admin.h"
#include "io/kernel_counters.h"
#include "record/json_out.h"
#include "web.h"
#include "whatif/settings.h"

/* GET /metrics: connleak.metrics/1. Fixed in size: it walks no connections. */
void metrics_write(struct json_out *o, const struct admin_env *env, const struct kernel_counts *kernel);

/* The same numbers as Prometheus text, version 0.0.4, or as OpenMetrics 1.0. */
void prometheus_write(struct json_out *o, const struct admin_env *env, const struct kernel_counts *kernel,
                      bool openmetrics);

/* GET /config: a member for each section, and in it one for each key. */
void config_write(struct json_out *o, const struct admin_env *env);

/* The lists are made in slices. A stream's state is the caller's to pass on to
 * web_stream, with its functions; `end` frees it. */
struct list_stream {
    web_more_fn *more;
    web_end_fn *end;
    void *state;
};

/* GET /ledger: every record held of the connections that began before the first
 * slice, each exactly once: the closed ones in order of closing, then the open
 * ones. One that closes meanwhile is written in whichever state it is met. A
 * reader so slow that records leave memory unread gets its answer cut off. With `events`, each with the
 * events that it has kept. */
struct list_stream ledger_stream(const struct admin_env *env, bool events);

/* GET /pools. */
struct list_stream pools_stream(const struct admin_env *env);

/* GET /connections: open ones first, the newest first, then closed ones, the last
 * closed first. */
struct conns_query {
    int side;          /* enum side, -1 any */
    int state;         /* enum life_state, -1 any; LIFE_OPEN: whatever is not closed */
    int reason;        /* enum close_reason, -1 any */
    const char *key;   /* "host:port" or "scheme://host:port", NULL any; copied */
    unsigned limit;    /* at least 1 */
    const char *after; /* the cursor that the page before gave, NULL from the start */
};
#define CONNS_LIMIT_DEFAULT 100
#define CONNS_LIMIT_MAX     1000

/* Reads parameter `name`; false if its value is none, with *expected saying what is. */
bool conns_query_set(struct conns_query *q, const char *name, const char *value, const char **expected);
struct list_stream conns_stream(const struct admin_env *env, const struct conns_query *q);

/* GET /findings: open ones first, as findings_get orders them. */
struct findings_query {
    int kind;        /* enum finding_kind, -1 any */
    int severity;    /* enum severity, -1 any */
    int open;        /* 1 open, 0 resolved, -1 any */
    const char *tag; /* of the client; NULL any */
    unsigned limit;  /* at least 1 */
    uint64_t after;  /* how many of those that match the pages before had */
};
#define FINDINGS_LIMIT_DEFAULT 100
#define FINDINGS_LIMIT_MAX     1000

/* As conns_query_set. */
bool findings_query_set(struct findings_query *q, const char *name, const char *value, const char **expected);
struct list_stream findings_stream(const struct admin_env *env, const struct findings_query *q);

/* GET /whatif: connleak.whatif/1 over the requests that ledger_recent holds, which must not be NULL. The base is
 * the configuration in force. *running counts such answers that are under way: up now, down when this one ends. */
struct list_stream whatif_stream(const struct admin_env *env, const struct sweep *sweep, bool advise,
                                 unsigned *running);

#endif

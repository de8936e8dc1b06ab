#include "answers.h"

#define NUMBER(o, key, n)              (JSON_KEY(o, key), json_u64(o, n))
#define COUNT(o, key, totals, counter) NUMBER(o, key, (totals)->count[COUNT_##counter])

static void write_pool(struct json_out *o, const struct pool *pool) {
    struct pool_counts now;
    struct pool_peaks peak;
    pool_counts(pool, &now);
    pool_peaks(pool, &peak);
    JSON_KEY(o, "pool");
    json_object(o);
    NUMBER(o, "open", (uint64_t)now.idle + now.active + now.dialing);
    NUMBER(o, "idle", now.idle);
    NUMBER(o, "active", now.active);
    NUMBER(o, "dialing", now.dialing);
    NUMBER(o, "waiting", now.waiting);
    NUMBER(o, "peak_open", peak.open);
    NUMBER(o, "peak_idle", peak.idle);
    json_object_end(o);
}

/* Reasons that occurred; the others are 0. */
static void write_closes(struct json_out *o, const struct ledger_totals *t) {
    JSON_KEY(o, "closes");
    json_object(o);
    for (unsigned r = 0; r < N_REASONS; r++)
        if (t->closes[r]) {
            json_key(o, close_reason_name((enum close_reason)r));
            json_u64(o, t->closes[r]);
        }
    json_object_end(o);
}

/* Of no values there is no quantile: null. */
static void write_quantile(struct json_out *o, const struct histogram *h, unsigned percent, bool is_ns) {
    uint64_t n = percent == 100 ? h->max : histogram_quantile(h, percent);
    if (!h->n)
        json_null(o);
    else if (is_ns)
        json_ms(o, (int64_t)n);
    else
        json_u64(o, n);
}

static void write_upstream(struct json_out *o, const struct ledger_totals *t) {
    JSON_KEY(o, "upstream");
    json_object(o);
    COUNT(o, "dials", t, CONNECTIONS);
    COUNT(o, "dial_errors", t, DIAL_ERRORS);
    COUNT(o, "requests", t, REQUESTS);
    COUNT(o, "responses", t, RESPONSES);
    COUNT(o, "reused", t, REUSED);
    JSON_KEY(o, "reuse_ratio"), json_ratio(o, t->count[COUNT_REUSED], t->count[COUNT_REQUESTS]);
    COUNT(o, "retries", t, RETRIES);
    COUNT(o, "early_body_closes", t, EARLY_CLOSES);
    COUNT(o, "rst_sent_unread", t, RST_SENT);
    COUNT(o, "unread_bytes", t, UNREAD_BYTES);
    COUNT(o, "rst_received", t, RST_RECEIVED);
    write_closes(o, t);
    COUNT(o, "bytes_in", t, BYTES_IN);
    COUNT(o, "bytes_out", t, BYTES_OUT);

    const struct histogram *requests = &t->requests_per_conn, *wait = &t->wait;
    JSON_KEY(o, "requests_per_connection");
    json_object(o);
    JSON_KEY(o, "p50"), write_quantile(o, requests, 50, false);
    JSON_KEY(o, "p90"), write_quantile(o, requests, 90, false);
    JSON_KEY(o, "max"), write_quantile(o, requests, 100, false);
    json_object_end(o);
    JSON_KEY(o, "wait_ms");
    json_object(o);
    JSON_KEY(o, "p50"), write_quantile(o, wait, 50, true);
    JSON_KEY(o, "p99"), write_quantile(o, wait, 99, true);
    JSON_KEY(o, "max"), write_quantile(o, wait, 100, true);
    json_object_end(o);
    json_object_end(o);
}

static void write_downstream(struct json_out *o, const struct ledger_totals *t, const struct admin_gauges *g) {
    JSON_KEY(o, "downstream");
    json_object(o);
    NUMBER(o, "open", t->open);
    COUNT(o, "accepted", t, CONNECTIONS);
    COUNT(o, "requests", t, REQUESTS);
    COUNT(o, "responses", t, RESPONSES);
    COUNT(o, "reused", t, REUSED);
    JSON_KEY(o, "reuse_ratio"), json_ratio(o, t->count[COUNT_REUSED], t->count[COUNT_REQUESTS]);
    COUNT(o, "early_body_closes", t, EARLY_CLOSES);
    COUNT(o, "rst_sent_unread", t, RST_SENT);
    COUNT(o, "unread_bytes", t, UNREAD_BYTES);
    COUNT(o, "rst_received", t, RST_RECEIVED);
    JSON_KEY(o, "held"), json_null(o); /* needs the socket probe */
    NUMBER(o, "rejected", g->rejected);
    write_closes(o, t);
    COUNT(o, "bytes_in", t, BYTES_IN);
    COUNT(o, "bytes_out", t, BYTES_OUT);
    json_object_end(o);
}

static void write_tunnels(struct json_out *o, const struct admin_gauges *g) {
    JSON_KEY(o, "tunnels");
    json_object(o);
    NUMBER(o, "open", g->tunnels_open);
    NUMBER(o, "total", g->tunnels_total);
    NUMBER(o, "bytes_in", g->tunnel_bytes_in);
    NUMBER(o, "bytes_out", g->tunnel_bytes_out);
    json_object_end(o);
}

static void write_kernel_count(struct json_out *o, uint64_t n) {
    if (n == KERNEL_COUNTER_UNKNOWN)
        json_null(o);
    else
        json_u64(o, n);
}

void metrics_write(struct json_out *o, const struct admin_env *env, const struct kernel_counts *kernel) {
    struct admin_gauges gauges = {0};
    mono_ns now = env->now(env->arg);
    env->gauges(env->arg, &gauges);

    json_object(o);
    JSON_KEY(o, "schema"), json_str(o, "connleak.metrics/1");
    JSON_KEY(o, "version"), json_str(o, CONNLEAK_VERSION);
    JSON_KEY(o, "started_at"), json_time(o, env->started + env->to_wall_ns);
    JSON_KEY(o, "now"), json_time(o, now + env->to_wall_ns);
    JSON_KEY(o, "uptime_s"), json_fixed(o, (now - env->started) / MSEC(1), 3);
    write_pool(o, env->pool);
    write_upstream(o, ledger_totals(env->ledger, SIDE_UPSTREAM));
    write_downstream(o, ledger_totals(env->ledger, SIDE_DOWNSTREAM), &gauges);
    write_tunnels(o, &gauges);
    JSON_KEY(o, "findings"), json_null(o); /* nobody looks for them in this version, which is not the same as none */
    JSON_KEY(o, "kernel");
    json_object(o);
    JSON_KEY(o, "tcp_abort_on_close"), write_kernel_count(o, kernel->abort_on_close);
    JSON_KEY(o, "tcp_abort_on_data"), write_kernel_count(o, kernel->abort_on_data);
    json_object_end(o);
    json_object_end(o);
    json_line(o);
}

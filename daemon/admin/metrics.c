#include "answers.h"

#define NUMBER(o, key, n)              (JO_KEY(o, key), jo_u64(o, n))
#define COUNT(o, key, totals, counter) NUMBER(o, key, (totals)->count[COUNT_##counter])

static void write_pool(struct json_out *o, const struct pool *pool) {
    struct pool_counts now;
    struct pool_peaks peak;
    pool_counts(pool, &now);
    pool_peaks(pool, &peak);
    JO_KEY(o, "pool");
    jo_object(o);
    NUMBER(o, "open", (uint64_t)now.idle + now.active + now.dialing);
    NUMBER(o, "idle", now.idle);
    NUMBER(o, "active", now.active);
    NUMBER(o, "dialing", now.dialing);
    NUMBER(o, "waiting", now.waiting);
    NUMBER(o, "peak_open", peak.open);
    NUMBER(o, "peak_idle", peak.idle);
    jo_object_end(o);
}

/* Reasons that occurred; the others are 0. */
static void write_closes(struct json_out *o, const struct ledger_totals *t) {
    JO_KEY(o, "closes");
    jo_object(o);
    for (unsigned r = 0; r < N_REASONS; r++)
        if (t->closes[r]) {
            jo_key(o, close_reason_name((enum close_reason)r));
            jo_u64(o, t->closes[r]);
        }
    jo_object_end(o);
}

/* Of no values there is no quantile: null. */
static void write_quantile(struct json_out *o, const struct histogram *h, unsigned percent, bool is_ns) {
    uint64_t n = percent == 100 ? h->max : histogram_quantile(h, percent);
    if (!h->n)
        jo_null(o);
    else if (is_ns)
        jo_ms(o, (int64_t)n);
    else
        jo_u64(o, n);
}

static void write_upstream(struct json_out *o, const struct ledger_totals *t) {
    JO_KEY(o, "upstream");
    jo_object(o);
    COUNT(o, "dials", t, CONNECTIONS);
    COUNT(o, "dial_errors", t, DIAL_ERRORS);
    COUNT(o, "requests", t, REQUESTS);
    COUNT(o, "responses", t, RESPONSES);
    COUNT(o, "reused", t, REUSED);
    JO_KEY(o, "reuse_ratio"), jo_ratio(o, t->count[COUNT_REUSED], t->count[COUNT_REQUESTS]);
    COUNT(o, "retries", t, RETRIES);
    COUNT(o, "early_body_closes", t, EARLY_CLOSES);
    COUNT(o, "rst_sent_unread", t, RST_SENT);
    COUNT(o, "unread_bytes", t, UNREAD_BYTES);
    COUNT(o, "rst_received", t, RST_RECEIVED);
    write_closes(o, t);
    COUNT(o, "bytes_in", t, BYTES_IN);
    COUNT(o, "bytes_out", t, BYTES_OUT);

    const struct histogram *requests = &t->requests_per_conn, *wait = &t->wait;
    JO_KEY(o, "requests_per_connection");
    jo_object(o);
    JO_KEY(o, "p50"), write_quantile(o, requests, 50, false);
    JO_KEY(o, "p90"), write_quantile(o, requests, 90, false);
    JO_KEY(o, "max"), write_quantile(o, requests, 100, false);
    jo_object_end(o);
    JO_KEY(o, "wait_ms");
    jo_object(o);
    JO_KEY(o, "p50"), write_quantile(o, wait, 50, true);
    JO_KEY(o, "p99"), write_quantile(o, wait, 99, true);
    JO_KEY(o, "max"), write_quantile(o, wait, 100, true);
    jo_object_end(o);
    jo_object_end(o);
}

static void write_downstream(struct json_out *o, const struct ledger_totals *t, const struct admin_gauges *g,
                             const struct findings *findings) {
    JO_KEY(o, "downstream");
    jo_object(o);
    NUMBER(o, "open", t->open);
    COUNT(o, "accepted", t, CONNECTIONS);
    COUNT(o, "requests", t, REQUESTS);
    COUNT(o, "responses", t, RESPONSES);
    COUNT(o, "reused", t, REUSED);
    JO_KEY(o, "reuse_ratio"), jo_ratio(o, t->count[COUNT_REUSED], t->count[COUNT_REQUESTS]);
    COUNT(o, "early_body_closes", t, EARLY_CLOSES);
    COUNT(o, "rst_sent_unread", t, RST_SENT);
    COUNT(o, "unread_bytes", t, UNREAD_BYTES);
    COUNT(o, "rst_received", t, RST_RECEIVED);
    JO_KEY(o, "held");
    if (findings)
        jo_u64(o, findings_held(findings));
    else
        jo_null(o);
    NUMBER(o, "rejected", g->rejected);
    write_closes(o, t);
    COUNT(o, "bytes_in", t, BYTES_IN);
    COUNT(o, "bytes_out", t, BYTES_OUT);
    jo_object_end(o);
}

static void write_tunnels(struct json_out *o, const struct admin_gauges *g) {
    JO_KEY(o, "tunnels");
    jo_object(o);
    NUMBER(o, "open", g->tunnels_open);
    NUMBER(o, "total", g->tunnels_total);
    NUMBER(o, "bytes_in", g->tunnel_bytes_in);
    NUMBER(o, "bytes_out", g->tunnel_bytes_out);
    jo_object_end(o);
}

/* Kinds of which some are open; nobody looking is null, which is not the same as none. */
static void write_findings(struct json_out *o, const struct findings *f) {
    JO_KEY(o, "findings");
    if (!f) {
        jo_null(o);
        return;
    }
    jo_object(o);
    NUMBER(o, "open", findings_open(f));
    JO_KEY(o, "by_kind");
    jo_object(o);
    for (unsigned k = 0; k < N_FINDINGS; k++) {
        unsigned n = findings_open_of(f, (enum finding_kind)k);
        if (!n) continue;
        jo_key(o, finding_name((enum finding_kind)k));
        jo_u64(o, n);
    }
    jo_object_end(o);
    jo_object_end(o);
}

static void write_kernel_count(struct json_out *o, uint64_t n) {
    if (n == KERNEL_COUNTER_UNKNOWN)
        jo_null(o);
    else
        jo_u64(o, n);
}

void metrics_write(struct json_out *o, const struct admin_env *env, const struct kernel_counts *kernel) {
    struct admin_gauges gauges = {0};
    mono_ns now = env->now(env->arg);
    env->gauges(env->arg, &gauges);

    jo_object(o);
    JO_KEY(o, "schema"), jo_str(o, "connleak.metrics/1");
    JO_KEY(o, "version"), jo_str(o, CONNLEAK_VERSION);
    JO_KEY(o, "started_at"), jo_time(o, env->started + env->to_wall_ns);
    JO_KEY(o, "now"), jo_time(o, now + env->to_wall_ns);
    JO_KEY(o, "uptime_s"), jo_fixed(o, (now - env->started) / MSEC(1), 3);
    write_pool(o, env->pool);
    write_upstream(o, ledger_totals(env->ledger, SIDE_UPSTREAM));
    write_downstream(o, ledger_totals(env->ledger, SIDE_DOWNSTREAM), &gauges, env->findings);
    write_tunnels(o, &gauges);
    write_findings(o, env->findings);
    JO_KEY(o, "kernel");
    jo_object(o);
    JO_KEY(o, "tcp_abort_on_close"), write_kernel_count(o, kernel->abort_on_close);
    JO_KEY(o, "tcp_abort_on_data"), write_kernel_count(o, kernel->abort_on_data);
    jo_object_end(o);
    jo_object_end(o);
    jo_line(o);
}

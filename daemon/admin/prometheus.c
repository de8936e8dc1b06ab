/* GET /metrics for Prometheus: the numbers of the JSON, under the names that its users expect, and in base units. No
 * label has a value that a peer could choose, so that their number is fixed. */
#include "answers.h"
#include "conf.h"

#include <string.h>

struct writer {
    struct json_out *o;
    bool openmetrics;
};

static void put(struct writer *w, const char *text) {
    jo_put(w->o, text, strlen(text));
}

static void put_number(struct writer *w, uint64_t n) {
    char text[JSON_U64_MAX];
    jo_put(w->o, text, text_u64(text, n));
}

/* OpenMetrics names a counter without the _total that its samples have. */
static void family(struct writer *w, const char *name, const char *type, const char *help) {
    size_t n = strlen(name), total = strlen("_total");
    if (w->openmetrics && strcmp(type, "counter") == 0 && n > total && strcmp(name + n - total, "_total") == 0)
        n -= total;
    put(w, "# HELP connleak_"), jo_put(w->o, name, n), put(w, " "), put(w, help);
    put(w, "\n# TYPE connleak_"), jo_put(w->o, name, n), put(w, " "), put(w, type), put(w, "\n");
}

/* labels: as they stand between the braces, or NULL. */
static void sample(struct writer *w, const char *name, const char *labels, uint64_t value) {
    put(w, "connleak_"), put(w, name);
    if (labels) put(w, "{"), put(w, labels), put(w, "}");
    put(w, " "), put_number(w, value), put(w, "\n");
}

/* A label of one word after others ("" : none). */
static void sample_of(struct writer *w, const char *name, const char *labels, const char *label, const char *word,
                      uint64_t value) {
    put(w, "connleak_"), put(w, name), put(w, "{"), put(w, labels);
    put(w, label), put(w, "=\""), put(w, word), put(w, "\"} "), put_number(w, value), put(w, "\n");
}

static const struct {
    enum side side;
    const char *label;
} sides[] = {{SIDE_UPSTREAM, "side=\"upstream\""}, {SIDE_DOWNSTREAM, "side=\"downstream\""}};
#define N_OF_SIDES (sizeof sides / sizeof *sides)

/* --- the numbers that both sides have -------------------------------------- */

static const struct {
    enum counter counter;
    const char *name, *help;
} counters[] = {
    {COUNT_CONNECTIONS, "connections_opened_total", "Connections dialed (upstream) or accepted (downstream)."},
    {COUNT_REQUESTS, "requests_total", "Requests sent (upstream) or read (downstream)."},
    {COUNT_RESPONSES, "responses_total", "Final response heads."},
    {COUNT_REUSED, "connections_reused_total", "Requests on a connection after its first."},
    {COUNT_EARLY_CLOSES, "body_closed_early_total", "Response bodies given up before their end."},
    {COUNT_UNREAD_BYTES, "unread_bytes_at_close_total",
     "Bytes that lay unread in the kernel when a connection was closed."},
    {COUNT_BYTES_IN, "received_bytes_total", "Bytes received."},
    {COUNT_BYTES_OUT, "sent_bytes_total", "Bytes sent."},
};

static void put_counters(struct writer *w, const struct ledger *l) {
    for (size_t i = 0; i < sizeof counters / sizeof *counters; i++) {
        family(w, counters[i].name, "counter", counters[i].help);
        for (size_t s = 0; s < N_OF_SIDES; s++)
            sample(w, counters[i].name, sides[s].label, ledger_totals(l, sides[s].side)->count[counters[i].counter]);
    }
}

static void put_resets(struct writer *w, const struct ledger *l) {
    family(w, "rst_total", "counter", "Connections ended by an RST: sent because bytes lay unread, or received.");
    for (size_t s = 0; s < N_OF_SIDES; s++) {
        const struct ledger_totals *t = ledger_totals(l, sides[s].side);
        bool up = sides[s].side == SIDE_UPSTREAM;
        sample_of(w, "rst_total", up ? "side=\"upstream\"," : "side=\"downstream\",", "direction", "sent",
                  t->count[COUNT_RST_SENT]);
        sample_of(w, "rst_total", up ? "side=\"upstream\"," : "side=\"downstream\",", "direction", "received",
                  t->count[COUNT_RST_RECEIVED]);
    }
}

/* Reasons that occurred. */
static void put_closes(struct writer *w, const struct ledger *l) {
    family(w, "connections_closed_total", "counter", "Connections closed, by why.");
    for (size_t s = 0; s < N_OF_SIDES; s++) {
        const struct ledger_totals *t = ledger_totals(l, sides[s].side);
        bool up = sides[s].side == SIDE_UPSTREAM;
        for (unsigned r = 0; r < N_REASONS; r++)
            if (t->closes[r])
                sample_of(w, "connections_closed_total", up ? "side=\"upstream\"," : "side=\"downstream\",", "reason",
                          close_reason_name((enum close_reason)r), t->closes[r]);
    }
}

/* --- the pool --------------------------------------------------------------- */

static void put_pool(struct writer *w, const struct admin_env *env) {
    struct pool_counts now;
    struct pool_conf limits;
    pool_counts(env->pool, &now);
    conf_pool(env->conf, &limits);
    family(w, "connections", "gauge", "Connections open now; upstream those of the pool.");
    sample_of(w, "connections", "side=\"upstream\",", "state", "active", now.active);
    sample_of(w, "connections", "side=\"upstream\",", "state", "idle", now.idle);
    sample_of(w, "connections", "side=\"upstream\",", "state", "dialing", now.dialing);
    sample_of(w, "connections", "side=\"downstream\",", "state", "open",
              ledger_totals(env->ledger, SIDE_DOWNSTREAM)->open);
    family(w, "pool_waiters", "gauge", "Requests that wait for a connection.");
    sample(w, "pool_waiters", NULL, now.waiting);
    family(w, "pool_limit", "gauge", "Limits of the pool; one that is not there is no limit.");
    int per_host = limits.max_idle_conns_per_host ? limits.max_idle_conns_per_host : 2; /* Go's default */
    sample_of(w, "pool_limit", "", "limit", "max_idle_per_host", per_host > 0 ? (uint64_t)per_host : 0);
    if (limits.max_idle_conns)
        sample_of(w, "pool_limit", "", "limit", "max_idle",
                  limits.max_idle_conns > 0 ? (uint64_t)limits.max_idle_conns : 0);
    if (limits.max_conns_per_host > 0)
        sample_of(w, "pool_limit", "", "limit", "max_per_host", (uint64_t)limits.max_conns_per_host);
    const struct ledger_totals *up = ledger_totals(env->ledger, SIDE_UPSTREAM);
    family(w, "dial_errors_total", "counter", "Dials that came to nothing.");
    sample(w, "dial_errors_total", NULL, up->count[COUNT_DIAL_ERRORS]);
    family(w, "request_retries_total", "counter", "Requests that failed on a reused connection and were sent again.");
    sample(w, "request_retries_total", NULL, up->count[COUNT_RETRIES]);
}

/* --- everything else -------------------------------------------------------- */

static void put_gauges(struct writer *w, const struct admin_env *env) {
    struct admin_gauges g = {0};
    env->gauges(env->arg, &g);
    family(w, "clients_rejected_total", "counter", "Client connections that were turned away.");
    sample(w, "clients_rejected_total", NULL, g.rejected);
    family(w, "tunnels", "gauge", "CONNECT tunnels and upgraded connections open now.");
    sample(w, "tunnels", NULL, g.tunnels_open);
    family(w, "tunnels_opened_total", "counter", "CONNECT tunnels and upgraded connections.");
    sample(w, "tunnels_opened_total", NULL, g.tunnels_total);
    family(w, "tunnel_bytes_total", "counter", "Bytes through them, from and to origins.");
    sample_of(w, "tunnel_bytes_total", "", "direction", "in", g.tunnel_bytes_in);
    sample_of(w, "tunnel_bytes_total", "", "direction", "out", g.tunnel_bytes_out);
}

/* Every kind, those of which none is open too, so that an alert has a series to look at. */
static void put_findings(struct writer *w, const struct findings *f) {
    if (!f) return;
    family(w, "suspected_leaks", "gauge", "Findings that are open, by cause: GET /findings has the evidence.");
    for (unsigned k = 0; k < N_FINDINGS; k++)
        sample_of(w, "suspected_leaks", "", "cause", finding_name((enum finding_kind)k),
                  findings_open_of(f, (enum finding_kind)k));
    family(w, "held_connections", "gauge", "Client connections with a response that is neither read nor closed.");
    sample(w, "held_connections", NULL, findings_held(f));
}

static void put_kernel(struct writer *w, const struct kernel_counts *kernel) {
    if (kernel->abort_on_close == KERNEL_COUNTER_UNKNOWN || kernel->abort_on_data == KERNEL_COUNTER_UNKNOWN) return;
    family(w, "kernel_tcp_abort_on_close_total", "counter",
           "Sockets of this network namespace closed with bytes unread, whoever owned them.");
    sample(w, "kernel_tcp_abort_on_close_total", NULL, kernel->abort_on_close);
    family(w, "kernel_tcp_abort_on_data_total", "counter", "The same, for bytes that came after a close.");
    sample(w, "kernel_tcp_abort_on_data_total", NULL, kernel->abort_on_data);
}

void prometheus_write(struct json_out *o, const struct admin_env *env, const struct kernel_counts *kernel,
                      bool openmetrics) {
    struct writer w = {o, openmetrics};
    family(&w, "build_info", "gauge", "The version, as a label.");
    sample_of(&w, "build_info", "", "version", CONNLEAK_VERSION, 1);
    family(&w, "start_time_seconds", "gauge", "When the daemon started, in seconds since 1970.");
    sample(&w, "start_time_seconds", NULL, (uint64_t)((env->started + env->to_wall_ns) / SEC(1)));
    put_counters(&w, env->ledger);
    put_resets(&w, env->ledger);
    put_closes(&w, env->ledger);
    put_pool(&w, env);
    put_gauges(&w, env);
    put_findings(&w, env->findings);
    put_kernel(&w, kernel);
    if (openmetrics) put(&w, "# EOF\n");
}

/* Which path gives which answer, and who gets one at all. */
#include "admin.h"

#include "answers.h"
#include "events.h"
#include "log/log.h"
#include "record/conn_json.h"
#include "target.h"
#include "web.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct admin {
    struct admin_env env;
    struct web *web;
    struct kernel_counters *kernel;
    struct events *events;
    struct json_out out;
    struct target target; /* of the request that is being handled */
    unsigned whatifs;     /* answers to GET /whatif that are under way */
};

#define JSON_TYPE  "application/json"
#define LINES_TYPE "application/jsonl"
#define GET        "GET, HEAD"
#define POST       "POST"

/* --- the answers ---------------------------------------------------------- */

static const char *param(const struct admin *a, const char *name) {
    for (size_t i = 0; i < a->target.n_params; i++)
        if (strcmp(a->target.param[i].name, name) == 0) return a->target.param[i].value;
    return NULL;
}

static struct json_out *empty(struct admin *a) {
    json_out_reset(&a->out);
    return &a->out;
}

static void stream(struct web_conn *c, const char *type, struct list_stream list) {
    web_stream(c, type, list.more, list.end, list.state);
}

static void refuse_param(struct web_conn *c, const char *name, const char *expected) {
    char detail[160];
    snprintf(detail, sizeof detail, "%s must be %s.", name, expected);
    web_problem(c, &(struct problem){.status = 400, .detail = detail, .parameter = name});
}

/* Rules are asked when somebody looks, so that the answer is of now and not of a second ago. */
static void look_for_causes(struct admin *a) {
    if (a->env.findings) findings_tick(a->env.findings, a->env.now(a->env.arg));
}

/* Which form of the numbers a request wants; false: one that there is not. */
static bool metrics_form(struct admin *a, struct web_conn *c, enum accept_form *out) {
    const char *format = param(a, "format");
    size_t len = 0;
    const char *accept = format ? NULL : web_field(c, "Accept", &len);
    *out = accept ? accept_form(accept, len) : ACCEPT_JSON;
    if (format && strcmp(format, "prometheus") == 0) *out = ACCEPT_TEXT;
    return !format || strcmp(format, "prometheus") == 0 || strcmp(format, "json") == 0;
}

static void get_metrics(struct admin *a, struct web_conn *c) {
    static const char *const types[] = {[ACCEPT_JSON] = JSON_TYPE,
                                        [ACCEPT_TEXT] = "text/plain; version=0.0.4; charset=utf-8",
                                        [ACCEPT_OPENMETRICS] =
                                            "application/openmetrics-text; version=1.0.0; charset=utf-8"};
    enum accept_form form;
    if (!metrics_form(a, c, &form)) {
        refuse_param(c, "format", "json or prometheus");
        return;
    }
    struct kernel_counts kernel = kernel_counters_read(a->kernel);
    struct json_out *o = empty(a);
    look_for_causes(a);
    if (form == ACCEPT_JSON)
        metrics_write(o, &a->env, &kernel);
    else
        prometheus_write(o, &a->env, &kernel, form == ACCEPT_OPENMETRICS);
    web_reply(c, 200, types[form], NULL, o);
}

static void get_config(struct admin *a, struct web_conn *c) {
    struct json_out *o = empty(a);
    config_write(o, &a->env);
    web_reply(c, 200, JSON_TYPE, NULL, o);
}

static void get_pools(struct admin *a, struct web_conn *c) {
    stream(c, JSON_TYPE, pools_stream(&a->env));
}

static void get_ledger(struct admin *a, struct web_conn *c) {
    const char *events = param(a, "events");
    if (events && strcmp(events, "true") != 0 && strcmp(events, "false") != 0)
        refuse_param(c, "events", "true or false");
    else
        stream(c, LINES_TYPE, ledger_stream(&a->env, events && strcmp(events, "true") == 0));
}

static void get_connections(struct admin *a, struct web_conn *c) {
    struct conns_query q = {.side = -1, .state = -1, .reason = -1, .limit = CONNS_LIMIT_DEFAULT};
    for (size_t i = 0; i < a->target.n_params; i++) {
        const struct target_param *p = &a->target.param[i];
        const char *expected;
        if (conns_query_set(&q, p->name, p->value, &expected)) continue;
        refuse_param(c, p->name, expected);
        return;
    }
    stream(c, JSON_TYPE, conns_stream(&a->env, &q));
}

static void get_findings(struct admin *a, struct web_conn *c) {
    struct findings_query q = {.kind = -1, .severity = -1, .open = -1, .limit = FINDINGS_LIMIT_DEFAULT};
    for (size_t i = 0; i < a->target.n_params; i++) {
        const struct target_param *p = &a->target.param[i];
        const char *expected;
        if (findings_query_set(&q, p->name, p->value, &expected)) continue;
        refuse_param(c, p->name, expected);
        return;
    }
    look_for_causes(a);
    stream(c, JSON_TYPE, findings_stream(&a->env, &q));
}

static void get_events(struct admin *a, struct web_conn *c) {
    const char *only = param(a, "only");
    enum events_class wants = !only                              ? EVENTS_ALL
                              : strcmp(only, "connections") == 0 ? EVENTS_CONNECTIONS
                              : strcmp(only, "findings") == 0    ? EVENTS_FINDINGS
                                                                 : 0;
    if (!wants)
        refuse_param(c, "only", "connections or findings");
    else if (!events_answer(a->events, c, wants))
        web_problem(c, &(struct problem){.status = 503, .detail = "There are too many listeners to events already."});
}

/* The keys of the sweep are the parameters' names; `advice` is not one of them. */
static bool take_sweep(struct admin *a, struct web_conn *c, struct sweep *sweep, bool *advise) {
    char text[TARGET_MAX + 8], error[SETTINGS_TEXT];

    for (size_t i = 0; i < a->target.n_params; i++) {
        const struct target_param *p = &a->target.param[i];
        if (strcmp(p->name, "advice") == 0) {
            *advise = strcmp(p->value, "true") == 0;
            if (*advise || strcmp(p->value, "false") == 0) continue;
            refuse_param(c, p->name, "true or false");
            return false;
        }
        snprintf(text, sizeof text, "%s=%s", p->name, p->value);
        if (sweep_add(sweep, text, error)) continue;
        web_problem(c, &(struct problem){.status = 400, .detail = error, .parameter = p->name});
        return false;
    }
    return true;
}

/* One at a time: each has a copy of all requests that are held, and the loop's time is the traffic's. */
static void get_whatif(struct admin *a, struct web_conn *c) {
    struct sweep sweep = {0};
    bool advise = true;

    if (!take_sweep(a, c, &sweep, &advise)) return;
    if (!ledger_recent(a->env.ledger))
        web_problem(c, &(struct problem){.status = 503,
                                         .detail = "No requests are held to ask about: ledger.keep_requests is 0."});
    else if (a->whatifs)
        web_problem(
            c, &(struct problem){.status = 503, .detail = "Another what-if is under way; there is one at a time."});
    else
        stream(c, JSON_TYPE, whatif_stream(&a->env, &sweep, advise, &a->whatifs));
}

static void get_connection(struct admin *a, struct web_conn *c) {
    const struct admin_env *env = &a->env;
    const char *id = a->target.path + strlen("/connections/");
    enum side side;
    conn_id n;
    const struct lifecycle *life = conn_id_parse(id, &side, &n) ? ledger_find(env->ledger, side, n) : NULL;
    if (!life) {
        web_problem(c, &(struct problem){.status = 404,
                                         .detail = "No such connection is open, nor among the closed ones that are "
                                                   "held (ledger.keep). Ids look like u-42 or d-17."});
        return;
    }
    struct conn_json how = {.to_wall_ns = env->to_wall_ns, .now_ns = env->now(env->arg), .events = true};
    struct json_out *o = empty(a);
    conn_json(o, life, &how);
    jo_line(o);
    web_reply(c, 200, JSON_TYPE, NULL, o);
}

static void reply_status(struct admin *a, struct web_conn *c, unsigned code, const char *word) {
    struct json_out *o = empty(a);
    jo_object(o);
    JO_KEY(o, "status"), jo_str(o, word);
    jo_object_end(o);
    jo_line(o);
    web_reply(c, code, JSON_TYPE, NULL, o);
}

/* Alive is whoever answers, draining too: a liveness check must not kill a drain. */
static void get_healthz(struct admin *a, struct web_conn *c) {
    reply_status(a, c, 200, "ok");
}

static void get_readyz(struct admin *a, struct web_conn *c) {
    bool draining = a->env.is_draining(a->env.arg);
    reply_status(a, c, draining ? 503 : 200, draining ? "draining" : "ready");
}

static void post_close_idle(struct admin *a, struct web_conn *c) {
    struct pool_counts before, after;
    pool_counts(a->env.pool, &before);
    a->env.close_idle(a->env.arg);
    pool_counts(a->env.pool, &after);
    unsigned closed = before.idle > after.idle ? before.idle - after.idle : 0;
    log_info("admin", "POST /close_idle: %u idle connections closed", closed);
    struct json_out *o = empty(a);
    jo_object(o);
    JO_KEY(o, "closed"), jo_u64(o, closed);
    jo_object_end(o);
    jo_line(o);
    web_reply(c, 200, JSON_TYPE, NULL, o);
}

static void post_reset_peaks(struct admin *a, struct web_conn *c) {
    struct pool_peaks peaks;
    a->env.reset_peaks(a->env.arg);
    pool_peaks(a->env.pool, &peaks);
    log_info("admin", "POST /reset_peaks: peaks begin anew");
    struct json_out *o = empty(a);
    jo_object(o);
    JO_KEY(o, "peak_open"), jo_u64(o, peaks.open);
    JO_KEY(o, "peak_idle"), jo_u64(o, peaks.idle);
    jo_object_end(o);
    jo_line(o);
    web_reply(c, 200, JSON_TYPE, NULL, o);
}

/* --- the ways to them ----------------------------------------------------- */

static const struct route {
    const char *path; /* one that ends with / stands for everything below it */
    const char *allow;
    void (*answer)(struct admin *a, struct web_conn *c);
    const char *params[9];
} routes[] = {
    {"/metrics", GET, get_metrics, {"format"}},
    {"/pools", GET, get_pools, {NULL}},
    {"/connections", GET, get_connections, {"side", "state", "key", "reason", "limit", "after"}},
    {"/connections/", GET, get_connection, {NULL}},
    {"/ledger", GET, get_ledger, {"events"}},
    {"/findings", GET, get_findings, {"kind", "severity", "state", "tag", "limit", "after"}},
    {"/events", GET, get_events, {"only"}},
    {"/config", GET, get_config, {NULL}},
    {"/whatif",
     GET,
     get_whatif,
     {"max_idle_conns", "max_idle_conns_per_host", "max_conns_per_host", "idle_conn_timeout", "disable_keep_alives",
      "profile", "keys", "advice"}},
    {"/healthz", GET, get_healthz, {NULL}},
    {"/readyz", GET, get_readyz, {NULL}},
    {"/close_idle", POST, post_close_idle, {NULL}},
    {"/reset_peaks", POST, post_reset_peaks, {NULL}},
};
#define N_ROUTES (sizeof routes / sizeof *routes)

static const char *const available[] = {
    "GET /metrics",      "GET /pools",  "GET /connections", "GET /connections/ID", "GET /ledger", "GET /findings",
    "GET /events",       "GET /config", "GET /whatif",      "GET /healthz",        "GET /readyz", "POST /close_idle",
    "POST /reset_peaks", NULL};

static const struct route *find_route(const char *path) {
    for (size_t i = 0; i < N_ROUTES; i++) {
        size_t n = strlen(routes[i].path);
        bool below = routes[i].path[n - 1] == '/';
        if (below ? strncmp(path, routes[i].path, n) == 0 && path[n] : strcmp(path, routes[i].path) == 0)
            return &routes[i];
    }
    return NULL;
}

static void refuse_path(struct admin *a, struct web_conn *c) {
    const char *path = a->target.path, *detail = "There is nothing at this path.";
    if (strcmp(path, "/") == 0)
        detail = "The live page is not in this version; its numbers are at /metrics and /pools.";
    web_problem(c, &(struct problem){.status = 404, .detail = detail, .available = available});
}

static bool is_method(const struct route *r, const struct web_conn *c) {
    if (strcmp(r->allow, POST) == 0) return web_method_is(c, "POST");
    return web_method_is(c, "GET") || web_method_is(c, "HEAD");
}

/* A parameter that means nothing here, or comes twice: it would be ignored, and is not. */
static const char *bad_param(const struct admin *a, const struct route *r) {
    for (size_t i = 0; i < a->target.n_params; i++) {
        const char *name = a->target.param[i].name;
        bool known = false;
        for (const char *const *p = r->params; *p && !known; p++) known = strcmp(*p, name) == 0;
        for (size_t j = 0; j < i; j++)
            if (strcmp(a->target.param[j].name, name) == 0) known = false;
        if (!known) return name;
    }
    return NULL;
}

static void answer(struct admin *a, struct web_conn *c) {
    const struct route *r = find_route(a->target.path);
    if (!r) {
        refuse_path(a, c);
        return;
    }
    if (!is_method(r, c)) {
        web_problem(c,
                    &(struct problem){.status = 405, .detail = "This path is for other methods.", .allow = r->allow});
        return;
    }
    const char *bad = bad_param(a, r);
    if (bad)
        web_problem(c, &(struct problem){.status = 400,
                                         .detail = "This path has no such parameter, or takes it only once.",
                                         .parameter = bad});
    else
        r->answer(a, c);
}

/* Only pages of this machine's own may ask. Whoever can reach a Unix socket may:
 * no browser can. */
static bool is_own(const struct admin *a, const struct web_conn *c) {
    struct endpoint local = web_local(c);
    size_t host_len = 0, origin_len = 0;
    const char *host = web_field(c, "Host", &host_len), *origin = web_field(c, "Origin", &origin_len);
    const char *authority = a->target.authority;
    if (local.family == ADDR_UNIX) return true;
    if (!host || !host_is_own(host, host_len, &local)) return false;
    if (authority && !host_is_own(authority, strlen(authority), &local)) return false;
    return !origin || origin_is_own(origin, origin_len, host, host_len);
}

static void handle(void *arg, struct web_conn *c) {
    struct admin *a = arg;
    size_t len;
    const char *text = web_target(c, &len);
    enum target_error e = target_parse(&a->target, text, len);
    if (!is_own(a, c))
        web_problem(c, &(struct problem){.status = 403,
                                         .detail = "This endpoint answers requests whose Host is localhost, a loopback "
                                                   "address or the address they came in at, and that come from no "
                                                   "other site's page."});
    else if (e != TARGET_OK)
        web_problem(c, &(struct problem){.status = e == TARGET_TOO_LONG ? 414 : 400, .detail = target_error_text(e)});
    else
        answer(a, c);
}

static int64_t wall_seconds(void *arg) {
    struct admin *a = arg;
    return (a->env.now(a->env.arg) + a->env.to_wall_ns) / SEC(1);
}

/* --- life ----------------------------------------------------------------- */

#define DEFAULT(field, value) (limits->field ? limits->field : (value))

static struct web_limits web_limits_of(const struct admin_limits *limits) {
    return (struct web_limits){.max_conns = DEFAULT(max_conns, 64),
                               .max_head_bytes = DEFAULT(max_head_bytes, 16 * 1024),
                               .max_body_bytes = DEFAULT(max_body_bytes, 4 * 1024),
                               .head_timeout = DEFAULT(head_timeout, SEC(5)),
                               .idle_timeout = DEFAULT(idle_timeout, SEC(60)),
                               .stall_timeout = DEFAULT(stall_timeout, SEC(30))};
}

struct admin *admin_new(struct event_base *base, const struct admin_env *env) {
    struct admin *a = calloc(1, sizeof *a);
    if (!a) abort();
    struct web_limits limits = web_limits_of(&env->limits);
    a->env = *env;
    a->kernel = kernel_counters_new();
    a->web = web_new(base, &limits, handle, wall_seconds, a);
    a->events = events_new(base, &a->env);
    return a;
}

bool admin_listen_fd(struct admin *a, int fd) {
    return web_listen_fd(a->web, fd);
}

void admin_finding(struct admin *a, const struct finding_change *change) {
    events_finding(a->events, change);
}

void admin_free(struct admin **ap) {
    struct admin *a = *ap;
    *ap = NULL;
    if (!a) return;
    web_free(&a->web);
    events_free(&a->events); /* it has no listeners any more */
    kernel_counters_free(&a->kernel);
    json_out_free(&a->out);
    free(a);
}

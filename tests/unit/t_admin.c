/* The admin endpoint's answers: each number where it belongs, null where nobody
 * knows, and a clear no to everything else. */
#include "admin_fixture.h"

/* One upstream connection with two requests, the second given up with 20,068 bytes
 * unread; one that is idle; one dial that failed; one client. */
static void some_traffic(struct fixture *f) {
    struct lifecycle *u = open_life(f, SIDE_UPSTREAM, 1);
    for (int i = 0; i < 2; i++) {
        happen(f, u, EV_GOT_CONN, i ? 0 : 1234567, 0);
        happen(f, u, EV_REQUEST, 0, 0);
        happen(f, u, EV_BYTES_OUT, 100, 0);
        happen(f, u, EV_RESPONSE, 152000, 200);
        happen(f, u, EV_BYTES_IN, 4096, 0);
        if (i == 0) {
            happen(f, u, EV_BODY_EOF, 5, 0);
            happen(f, u, EV_PUT_IDLE, 0, 0);
        }
    }
    happen(f, u, EV_EARLY_CLOSE, 3921, 0);
    close_life(f, u, REASON_EARLY_CLOSE, 20068);
    happen(f, open_life(f, SIDE_UPSTREAM, 2), EV_PUT_IDLE, 0, 0);
    f->now += MSEC(1);
    struct lifecycle *bad = ledger_open(f->ledger, SIDE_UPSTREAM, 3, f->now);
    bad->known = KNOW_ALL;
    happen(f, bad, EV_DIALING, 0, 0);
    close_life(f, bad, REASON_DIAL_ERROR, 0);
    struct lifecycle *d = open_life(f, SIDE_DOWNSTREAM, 1);
    happen(f, d, EV_REQUEST, 0, 0);
    happen(f, d, EV_BYTES_IN, 77, 0);
    happen(f, d, EV_RST_RECEIVED, 0, 0);
    close_life(f, d, REASON_CLIENT_CLOSED, 0);
    open_life(f, SIDE_DOWNSTREAM, 2);
}

TEST(metrics_have_every_number_in_its_place) {
    struct fixture *f = fx_new(100, NULL);
    some_traffic(f);
    f->now = SEC(100);
    f->pool.counts = (struct pool_counts){.idle = 2, .active = 1, .dialing = 4, .waiting = 5};
    f->pool.peaks = (struct pool_peaks){.open = 9, .idle = 3};
    f->gauges = (struct admin_gauges){6, 1, 8, 1000, 2000};
    f->findings.held = 3;
    f->findings.list[0] = (struct finding){.id = 1, .kind = FINDING_EARLY_BODY_CLOSE};
    f->findings.list[1] = (struct finding){.id = 2, .kind = FINDING_EARLY_BODY_CLOSE};
    f->findings.list[2] = (struct finding){.id = 3, .kind = FINDING_DIAL_STORM};
    f->findings.list[3] = (struct finding){.id = 4, .kind = FINDING_DIAL_FAILURES, .resolved_ns = SEC(3)};
    f->findings.n = 4;
    json_t *j = get_json(f, "/metrics", 200);
    CHECK_TEXT(j, "schema", "connleak.metrics/1");
    CHECK_TEXT(j, "version", CONNLEAK_VERSION);
    CHECK_TEXT(j, "now", "2026-01-02T03:04:05.678901Z");
    CHECK_TEXT(j, "started_at", "2026-01-02T03:03:53.378901Z");
    CHECK(json_number_value(at(j, "uptime_s")) == 12.3);
    CHECK_INT(j, "pool.open", 7);
    CHECK_INT(j, "pool.idle", 2);
    CHECK_INT(j, "pool.active", 1);
    CHECK_INT(j, "pool.dialing", 4);
    CHECK_INT(j, "pool.waiting", 5);
    CHECK_INT(j, "pool.peak_open", 9);
    CHECK_INT(j, "pool.peak_idle", 3);
    CHECK_INT(j, "upstream.dials", 3);
    CHECK_INT(j, "upstream.dial_errors", 1);
    CHECK_INT(j, "upstream.requests", 2);
    CHECK_INT(j, "upstream.responses", 2);
    CHECK_INT(j, "upstream.reused", 1);
    CHECK(json_real_value(at(j, "upstream.reuse_ratio")) == 0.5);
    CHECK_INT(j, "upstream.retries", 0);
    CHECK_INT(j, "upstream.early_body_closes", 1);
    CHECK_INT(j, "upstream.rst_sent_unread", 1);
    CHECK_INT(j, "upstream.unread_bytes", 20068);
    CHECK_INT(j, "upstream.rst_received", 0);
    CHECK_EQ(json_object_size(at(j, "upstream.closes")), 2);
    CHECK_INT(j, "upstream.closes.early_close", 1);
    CHECK_INT(j, "upstream.closes.dial_error", 1);
    CHECK_INT(j, "upstream.bytes_in", 8192);
    CHECK_INT(j, "upstream.bytes_out", 200);
    CHECK_INT(j, "upstream.requests_per_connection.max", 2);
    CHECK_INT(j, "upstream.requests_per_connection.p90", 2);
    CHECK_INT(j, "upstream.wait_ms.p50", 0);
    CHECK(json_number_value(at(j, "upstream.wait_ms.max")) == 1.234);
    CHECK_INT(j, "downstream.open", 1);
    CHECK_INT(j, "downstream.accepted", 2);
    CHECK_INT(j, "downstream.requests", 1);
    CHECK_INT(j, "downstream.early_body_closes", 0);
    CHECK_INT(j, "downstream.rst_received", 1);
    CHECK_INT(j, "downstream.rejected", 6);
    CHECK_INT(j, "downstream.bytes_in", 77);
    CHECK_INT(j, "downstream.closes.client_closed", 1);
    CHECK_INT(j, "downstream.held", 3);
    CHECK_INT(j, "tunnels.open", 1);
    CHECK_INT(j, "tunnels.total", 8);
    CHECK_INT(j, "tunnels.bytes_in", 1000);
    CHECK_INT(j, "tunnels.bytes_out", 2000);
    CHECK_INT(j, "findings.open", 3);
    CHECK_EQ(json_object_size(at(j, "findings.by_kind")), 2);
    CHECK_INT(j, "findings.by_kind.early_body_close", 2);
    CHECK_INT(j, "findings.by_kind.dial_storm", 1);
    CHECK(f->findings.ticks > 0); /* the rules were asked what they know by now */
    CHECK(at(j, "kernel.tcp_abort_on_close") && at(j, "kernel.tcp_abort_on_data"));
    json_decref(j);
    fx_free(f);
}

TEST(metrics_of_nothing_are_null_and_not_zero) {
    struct fixture *f = fx_new(100, NULL);
    json_t *j = get_json(f, "/metrics", 200);
    CHECK_NULL(j, "upstream.reuse_ratio");
    CHECK_NULL(j, "upstream.requests_per_connection.p50");
    CHECK_NULL(j, "upstream.requests_per_connection.max");
    CHECK_NULL(j, "upstream.wait_ms.p99");
    CHECK_NULL(j, "downstream.reuse_ratio");
    CHECK_INT(j, "upstream.requests", 0);
    CHECK_EQ(json_object_size(at(j, "upstream.closes")), 0);
    json_decref(j);
    fx_free(f);
}

TEST(metrics_are_json_unless_text_is_wanted) {
    struct fixture *f = fx_new(100, NULL);
    static const struct {
        const char *target, *fields, *type;
    } rows[] = {
        {"/metrics", "", "application/json"},
        {"/metrics", "Accept: */*\r\n", "application/json"},
        {"/metrics?format=json", "Accept: text/plain\r\n", "application/json"},
        {"/metrics?format=prometheus", "Accept: application/json\r\n", "text/plain; version=0.0.4; charset=utf-8"},
        {"/metrics", "Accept: text/plain\r\n", "text/plain; version=0.0.4; charset=utf-8"},
        {"/metrics", "Accept: application/openmetrics-text\r\n",
         "application/openmetrics-text; version=1.0.0; charset=utf-8"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char field[100];
        struct answer a = ask(f, "GET", rows[i].target, rows[i].fields);
        CHECK_EQ(a.status, 200);
        snprintf(field, sizeof field, "\r\nContent-Type: %s\r\n", rows[i].type);
        CHECK(strstr(a.head, field));
        answer_free(&a);
    }
    json_t *j = get_json(f, "/metrics?format=xml", 400);
    CHECK_TEXT(j, "parameter", "format");
    json_decref(j);
    fx_free(f);
}

static void has_line(const char *text, const char *line) {
    size_t n = strlen(line);
    for (const char *p = text; (p = strstr(p, line)); p += n)
        if ((p == text || p[-1] == '\n') && p[n] == '\n') return;
    CHECK_STR("(not there)", line);
}

TEST(prometheus_text_has_the_same_numbers) {
    struct fixture *f = fx_new(100, NULL);
    some_traffic(f);
    f->pool.counts = (struct pool_counts){.idle = 2, .active = 1, .dialing = 4, .waiting = 5};
    f->gauges = (struct admin_gauges){6, 1, 8, 1000, 2000};
    f->findings.held = 3;
    f->findings.list[0] = (struct finding){.id = 1, .kind = FINDING_EARLY_BODY_CLOSE};
    f->findings.n = 1;
    struct answer a = ask(f, "GET", "/metrics?format=prometheus", "");
    static const char *const lines[] = {
        "connleak_build_info{version=\"" CONNLEAK_VERSION "\"} 1",
        "connleak_start_time_seconds 1767323033",
        "# TYPE connleak_requests_total counter",
        "connleak_connections_opened_total{side=\"upstream\"} 3",
        "connleak_connections_opened_total{side=\"downstream\"} 2",
        "connleak_requests_total{side=\"upstream\"} 2",
        "connleak_connections_reused_total{side=\"upstream\"} 1",
        "connleak_body_closed_early_total{side=\"upstream\"} 1",
        "connleak_unread_bytes_at_close_total{side=\"upstream\"} 20068",
        "connleak_received_bytes_total{side=\"downstream\"} 77",
        "connleak_rst_total{side=\"upstream\",direction=\"sent\"} 1",
        "connleak_rst_total{side=\"downstream\",direction=\"received\"} 1",
        "connleak_connections_closed_total{side=\"upstream\",reason=\"early_close\"} 1",
        "connleak_connections_closed_total{side=\"downstream\",reason=\"client_closed\"} 1",
        "connleak_connections{side=\"upstream\",state=\"active\"} 1",
        "connleak_connections{side=\"upstream\",state=\"idle\"} 2",
        "connleak_connections{side=\"upstream\",state=\"dialing\"} 4",
        "connleak_connections{side=\"downstream\",state=\"open\"} 1",
        "connleak_pool_waiters 5",
        "connleak_pool_limit{limit=\"max_idle_per_host\"} 2",
        "connleak_pool_limit{limit=\"max_idle\"} 100",
        "connleak_dial_errors_total 1",
        "connleak_clients_rejected_total 6",
        "connleak_tunnels 1",
        "connleak_tunnel_bytes_total{direction=\"in\"} 1000",
        "connleak_tunnel_bytes_total{direction=\"out\"} 2000",
        "connleak_suspected_leaks{cause=\"early_body_close\"} 1",
        "connleak_suspected_leaks{cause=\"body_not_closed\"} 0",
        "connleak_held_connections 3",
    };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) has_line(a.body, lines[i]);
    CHECK(!strstr(a.body, "# EOF"));
    CHECK(!strstr(a.body, "max_per_host\"} 0"));
    answer_free(&a);
    a = ask(f, "GET", "/metrics", "Accept: application/openmetrics-text\r\n");
    has_line(a.body, "# TYPE connleak_requests counter");
    has_line(a.body, "connleak_requests_total{side=\"upstream\"} 2");
    CHECK(a.body_len > 6 && strcmp(a.body + a.body_len - 6, "# EOF\n") == 0);
    answer_free(&a);
    fx_free(f);
}

/* As a scraper reads it: families in one piece, each with a type and a help, no series twice. */
TEST(prometheus_text_is_well_formed) {
    struct fixture *f = fx_new(100, NULL);
    some_traffic(f);
    struct answer a = ask(f, "GET", "/metrics?format=prometheus", "");
    char name[128] = "", seen[16384] = "\n";
    unsigned samples = 0;
    for (char *line = strtok(a.body, "\n"); line; line = strtok(NULL, "\n")) {
        char series[256], key[300];
        if (strncmp(line, "# HELP ", 7) == 0) {
            CHECK_EQ(sscanf(line, "# HELP %127s", name), 1);
            snprintf(key, sizeof key, "\n# %s\n", name);
            CHECK(!strstr(seen, key));
            strcat(seen, key);
        } else if (strncmp(line, "# TYPE ", 7) == 0) {
            CHECK(strncmp(line + 7, name, strlen(name)) == 0);
        } else {
            CHECK(strncmp(line, name, strlen(name)) == 0 && strchr("{ ", line[strlen(name)]));
            CHECK_EQ(sscanf(line, "%255s", series), 1);
            snprintf(key, sizeof key, "\n%s\n", series);
            CHECK(!strstr(seen, key));
            strcat(seen, key);
            samples++;
        }
    }
    CHECK(samples > 50);
    answer_free(&a);
    fx_free(f);
}

TEST(config_is_what_is_in_force) {
    char err[CONF_ERROR_MAX];
    struct fixture *f = fx_new(100, NULL);
    CHECK(conf_set(f->conf, "pool.idle_conn_timeout=75s", err));
    json_t *j = get_json(f, "/config", 200);
    CHECK_TEXT(j, "schema", "connleak.config/1");
    CHECK_INT(j, "pool.max_idle_conns_per_host", 2);
    CHECK_TEXT(j, "pool.idle_conn_timeout", "1m15s");
    CHECK(json_is_false(at(j, "pool.disable_keep_alives")));
    CHECK_TEXT(j, "pool.profile", "go1.19");
    CHECK_TEXT(j, "pool.copy_buffer_size", "32k");
    CHECK_TEXT(j, "proxy.listen", "127.0.0.1:41234"); /* as bound, not as configured */
    CHECK_TEXT(j, "admin.listen", "127.0.0.1:41235, unix:/run/a.sock");
    CHECK_NULL(j, "ledger.file");
    CHECK(json_is_true(at(j, "proxy.via")));
    unsigned shown = 0;
    for (size_t i = 0; i < n_conf_params; i++) { /* each is there, and secrets are not */
        json_t *value = json_object_get(json_object_get(j, conf_params[i].section), conf_params[i].key);
        CHECK_EQ(value == NULL, (conf_params[i].flags & PF_SECRET) != 0);
        shown += value != NULL;
    }
    CHECK(shown > 40);
    json_decref(j);
    fx_free(f);
}

TEST(health) {
    struct fixture *f = fx_new(100, NULL);
    CHECK_EQ(status_of(f, "GET", "/healthz", ""), 200);
    CHECK_EQ(status_of(f, "GET", "/readyz", ""), 200);
    f->draining = true;
    CHECK_EQ(status_of(f, "GET", "/healthz", ""), 200);
    json_t *j = get_json(f, "/readyz", 503);
    CHECK_TEXT(j, "status", "draining");
    json_decref(j);
    fx_free(f);
}

TEST(the_two_posts) {
    struct fixture *f = fx_new(100, NULL);
    f->pool.counts.idle = 3;
    struct answer a = ask(f, "POST", "/close_idle", "");
    CHECK_EQ(a.status, 200);
    CHECK_STR(a.body, "{\"closed\":3}\n");
    CHECK_EQ(f->closed_idle, 1);
    answer_free(&a);
    a = ask(f, "POST", "/reset_peaks", "Content-Length: 0\r\n");
    CHECK_EQ(a.status, 200);
    CHECK_STR(a.body, "{\"peak_open\":3,\"peak_idle\":2}\n");
    CHECK_EQ(f->reset_peaks, 1);
    answer_free(&a);
    fx_free(f);
}

static void refuses_method(struct fixture *f, const char *method, const char *target, const char *allow) {
    char field[64];
    struct answer a = ask(f, method, target, "");
    CHECK_EQ(a.status, 405);
    snprintf(field, sizeof field, "\r\nAllow: %s\r\n", allow);
    CHECK(strstr(a.head, field));
    CHECK(strstr(a.head, "\r\nContent-Type: application/problem+json\r\n"));
    answer_free(&a);
}

TEST(other_methods_change_nothing) {
    static const char *const gets[] = {"/metrics", "/pools",  "/connections", "/connections/u-1", "/ledger", "/config",
                                       "/healthz", "/readyz", "/findings",    "/events",          "/whatif"};
    struct fixture *f = fx_new(100, NULL);
    for (size_t i = 0; i < sizeof gets / sizeof *gets; i++) refuses_method(f, "POST", gets[i], "GET, HEAD");
    static const char *const methods[] = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "post", "BREW", "POSTX"};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        refuses_method(f, methods[i], "/close_idle", "POST");
        refuses_method(f, methods[i], "/reset_peaks", "POST");
    }
    refuses_method(f, "get", "/metrics", "GET, HEAD");
    CHECK_EQ(f->closed_idle + f->reset_peaks, 0);
    fx_free(f);
}

TEST(paths_that_are_not_there_say_what_is) {
    static const char *const paths[] = {"/",     "/findings/",    "/event",    "/metrics/", "/Metrics",
                                        "/nope", "/connections/", "//metrics", "/ledger/1"};
    struct fixture *f = fx_new(100, NULL);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        json_t *j = get_json(f, paths[i], 404), *list = at(j, "available");
        CHECK_EQ(json_array_size(list), 13);
        CHECK_STR(json_string_value(json_array_get(list, 0)), "GET /metrics");
        CHECK_TEXT(j, "type", "about:blank");
        json_decref(j);
    }
    fx_free(f);
}

TEST(parameters_that_mean_nothing_are_named) {
    static const char *const targets[] = {
        "/metrics?x=1",         "/pools?x",    "/connections?x=", "/connections?side=upstream&x=1",
        "/connections/u-1?x=1", "/ledger?x=1", "/config?x=1",     "/healthz?x=1",
        "/connections?x=1&x=1", "/readyz?x=1", "/findings?x=1",   "/events?x=1"};
    struct fixture *f = fx_new(100, NULL);
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        json_t *j = get_json(f, targets[i], 400);
        CHECK_TEXT(j, "parameter", "x");
        json_decref(j);
    }
    json_t *j = get_json(f, "/connections?limit=5&limit=5", 400);
    CHECK_TEXT(j, "parameter", "limit");
    json_decref(j);
    CHECK_EQ(status_of(f, "POST", "/close_idle?now=1", ""), 400);
    CHECK_EQ(f->closed_idle, 0);
    fx_free(f);
}

static int raw_status(struct fixture *f, const char *request) {
    struct answer a = ask_raw(f, request);
    int status = a.complete ? a.status : -1;
    answer_free(&a);
    return status;
}

TEST(foreign_hosts_get_nothing) {
    struct fixture *f = fx_new(100, NULL);
    CHECK_EQ(raw_status(f, "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"), 200);
    CHECK_EQ(raw_status(f, "GET /healthz HTTP/1.1\r\nHost: [::1]:1\r\n\r\n"), 200);
    CHECK_EQ(raw_status(f, "GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n"), 403);
    CHECK_EQ(raw_status(f, "POST /close_idle HTTP/1.1\r\nHost: evil.example\r\n\r\n"), 403);
    CHECK_EQ(raw_status(f, "GET /nope HTTP/1.1\r\nHost: evil.example\r\n\r\n"), 403);
    CHECK_EQ(raw_status(f, "GET http://localhost/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"), 200);
    CHECK_EQ(raw_status(f, "GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"), 403);
    CHECK_EQ(raw_status(f, "GET http://localhost/healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n"), 403);
    CHECK_EQ(raw_status(f, "GET /healthz HTTP/1.0\r\n\r\n"), 403);
    CHECK_EQ(raw_status(f, "GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n"), 200);
    CHECK_EQ(raw_status(f, "GET /healthz HTTP/1.1\r\n\r\n"), 400);
    CHECK_EQ(raw_status(f, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n"), 400);
    CHECK_EQ(f->closed_idle, 0);
    fx_free(f);
}

TEST(pages_of_other_sites_change_nothing) {
    char own[64];
    struct fixture *f = fx_new(100, NULL);
    CHECK_EQ(status_of(f, "POST", "/close_idle", "Origin: http://evil.example\r\n"), 403);
    CHECK_EQ(status_of(f, "POST", "/close_idle", "Origin: null\r\n"), 403);
    CHECK_EQ(status_of(f, "GET", "/metrics", "Origin: http://evil.example\r\n"), 403);
    CHECK_EQ(f->closed_idle, 0);
    snprintf(own, sizeof own, "Origin: http://localhost:%u\r\n", f->port);
    CHECK_EQ(status_of(f, "POST", "/close_idle", own), 200);
    CHECK_EQ(f->closed_idle, 1);
    fx_free(f);
}

TEST(unix_sockets_take_any_host) {
    struct fixture *f = fx_new(100, NULL);
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "/tmp/connleak-admin-%d.sock", (int)getpid());
    unlink(at.sun_path);
    int l = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(bind(l, (struct sockaddr *)&at, sizeof at) == 0 && listen(l, 5) == 0);
    CHECK(admin_listen_fd(f->admin, l));
    struct client c = {.fd = socket(AF_UNIX, SOCK_STREAM, 0), .data = calloc(1, 1)};
    CHECK(connect(c.fd, (struct sockaddr *)&at, sizeof at) == 0);
    unlink(at.sun_path);
    fcntl(c.fd, F_SETFL, O_NONBLOCK);
    say(&c, "GET /healthz HTTP/1.1\r\nHost: anything\r\n\r\n");
    struct answer a = listen_to(f, &c, false);
    CHECK_EQ(a.status, 200);
    answer_free(&a);
    hang_up(&c);
    fx_free(f);
}

TEST(only_listening_stream_sockets_are_taken) {
    struct fixture *f = fx_new(100, NULL);
    int idle = socket(AF_INET, SOCK_STREAM, 0), datagrams = socket(AF_INET, SOCK_DGRAM, 0), p[2];
    CHECK(pipe(p) == 0);
    CHECK(!admin_listen_fd(f->admin, idle));
    CHECK(!admin_listen_fd(f->admin, datagrams));
    CHECK(!admin_listen_fd(f->admin, p[0]));
    CHECK(!admin_listen_fd(f->admin, -1));
    CHECK(close(idle) == 0 && close(datagrams) == 0 && close(p[0]) == 0 && close(p[1]) == 0); /* still ours */
    fx_free(f);
}

TEST(heads_say_what_they_must) {
    struct fixture *f = fx_new(100, NULL);
    struct answer a = ask(f, "GET", "/metrics", "");
    CHECK(strncmp(a.head, "HTTP/1.1 200 OK\r\nDate: Fri, 02 Jan 2026 03:04:05 GMT\r\n", 54) == 0);
    CHECK(strstr(a.head, "\r\nContent-Type: application/json\r\n"));
    CHECK(strstr(a.head, "\r\nCache-Control: no-store\r\n"));
    CHECK(!strstr(a.head, "Connection:"));
    answer_free(&a);
    a = ask(f, "GET", "/ledger", "");
    CHECK(strstr(a.head, "\r\nContent-Type: application/jsonl\r\n"));
    CHECK_EQ(a.body_len, 0);
    CHECK(a.complete);
    answer_free(&a);
    fx_free(f);
}

/* --- /whatif ----------------------------------------------------------------- */

static void whatif_refused(struct fixture *f, const char *query, const char *parameter, const char *words) {
    char target[300];
    snprintf(target, sizeof target, "/whatif?%s", query);
    json_t *j = get_json(f, target, 400);
    CHECK_TEXT(j, "parameter", parameter);
    CHECK(strstr(json_string_value(at(j, "detail")), words));
    json_decref(j);
}

TEST(a_what_if_takes_the_keys_of_the_pool) {
    struct fixture *f = fx_new(100, NULL);
    ledger_keep_recent(f->ledger, 100);
    fake_whatif.may_end = true;
    json_decref(get_json(f, "/whatif?max_idle_conns_per_host=2,10,100&idle_conn_timeout=30s,0", 200));
    CHECK_EQ(sweep_combinations(&fake_whatif.sweep), 6);
    CHECK(fake_whatif.advise);
    json_decref(get_json(f, "/whatif?advice=false", 200));
    CHECK(!fake_whatif.advise);
    CHECK_EQ(fake_whatif.sweep.n, 0);
    CHECK_EQ(*fake_whatif.running, 0);
    whatif_refused(f, "dial_timeout=1s", "dial_timeout", "no such parameter");
    whatif_refused(f, "max_idle_conns=x", "max_idle_conns", "expected a number from -1 to 1000000, found \"x\"");
    whatif_refused(f, "advice=1", "advice", "true or false");
    whatif_refused(
        f, "max_idle_conns=1,2,3,4,5,6,7,8,9,10&max_conns_per_host=1,2,3,4,5&max_idle_conns_per_host=1,2,3,4,5,6,7,8,9",
        "max_idle_conns_per_host", "more than 400 combinations");
    fx_free(f);
}

TEST(one_what_if_at_a_time) {
    struct fixture *f = fx_new(100, NULL);
    json_t *j = get_json(f, "/whatif", 503);
    CHECK(strstr(json_string_value(at(j, "detail")), "ledger.keep_requests"));
    json_decref(j);
    ledger_keep_recent(f->ledger, 100);
    static unsigned none;
    fake_whatif.running = &none;
    fake_whatif.may_end = false;
    struct client slow = dial(f, 0);
    say(&slow, "GET /whatif HTTP/1.1\r\nHost: localhost\r\n\r\n");
    while (*fake_whatif.running == 0) turn(f);
    j = get_json(f, "/whatif", 503);
    CHECK(strstr(json_string_value(at(j, "detail")), "one at a time"));
    json_decref(j);
    json_decref(get_json(f, "/metrics", 200)); /* others are answered meanwhile */
    fake_whatif.may_end = true;
    struct answer a = listen_to(f, &slow, false);
    CHECK(a.complete);
    CHECK_STR(a.body, "{}\n");
    answer_free(&a);
    json_decref(get_json(f, "/whatif", 200));
    hang_up(&slow);
    fx_free(f);
}

int main(void) {
    return tap_run();
}

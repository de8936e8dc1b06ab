/* The pool under a virtual clock: what it makes of small workloads that are made by
 * hand, what it learns of servers, what it advises; and what --set takes. */
#include "record/whatif_json.h"
#include "tap.h"
#include "whatif/job.h"
#include "whatif/observed.h"

static const struct workload_limits plenty = WORKLOAD_LIMITS_DEFAULT;

/* ---- workloads by hand ---- */

static struct workload *begin(void) {
    struct workload *w = workload_new(&plenty);

    w->observer = OBSERVER_DAEMON;
    w->arrivals = ARRIVALS_WANTED;
    w->duration_ns = SEC(1000);
    return w;
}

/* A connection to `host`, which took 1 ms to dial. */
static struct workload_conn *conn(struct workload *w, const char *host, double opened_ms) {
    uint32_t origin = workload_origin(w, "http", host);
    struct workload_conn *c = workload_add_conn(w);

    c->id = w->n_conns;
    c->side = w->observer == OBSERVER_DAEMON ? SIDE_UPSTREAM : SIDE_CLIENT;
    c->opened_ns = (int64_t)(opened_ms * 1e6);
    c->dial_ns = MSEC(1);
    c->origin = origin;
    c->client = workload_text(w, "10.0.0.1", 8);
    c->server = workload_text(w, "10.0.0.9:80", 11);
    c->flags = WCONN_OPENED | WCONN_DIALED;
    return c;
}

/* A complete one on the newest connection. */
static struct workload_exchange *ask(struct workload *w, double at_ms, double took_ms) {
    struct workload_conn *c = &w->conns[w->n_conns - 1];
    struct workload_exchange *x = workload_add_exchange(w);

    x->conn = w->n_conns - 1;
    x->origin = c->origin;
    x->at_ns = (int64_t)(at_ms * 1e6);
    x->done_ns = (int64_t)(took_ms * 1e6);
    x->status = 200;
    x->framing = FRAMING_LENGTH;
    x->announced = x->body = x->taken = 3000;
    x->end = END_COMPLETE;
    c->requests++;
    return x;
}

static const struct whatif_row *run(struct workload *w, struct virtual_conf conf, struct whatif_row *row) {
    struct demands *d;
    struct server_model *m;
    struct virtual_driver *v;

    workload_sort(w);
    d = demands_new(w);
    m = server_model_new(d);
    v = virtual_new(d, m, &conf);
    while (virtual_run(v, 7)) continue;
    CHECK_EQ(virtual_progress(v), d->n);
    *row = *virtual_row(v);
    virtual_free(&v);
    server_model_free(&m);
    demands_free(&d);
    return row;
}

static struct virtual_conf with(enum setting key, int64_t value) {
    struct virtual_conf conf = settings_default();

    setting_set(&conf, key, value);
    return conf;
}

/* Three at a time, five times, a second apart. */
static struct workload *bursts(void) {
    struct workload *w = begin();

    for (int i = 0; i < 5; i++)
        for (int k = 0; k < 3; k++) {
            if (i == 0) conn(w, "a:80", 0);
            ask(w, i * 1000 + k, 20)->conn = (uint32_t)k;
        }
    return w;
}

/* ---- the driver ---- */

TEST(the_default_limit_of_two_dials_a_third_each_time) {
    struct workload *w = bursts();
    struct whatif_row row;

    run(w, settings_default(), &row);
    CHECK_EQ(row.requests, 15);
    CHECK_EQ(row.dials, 7); /* 3, then 1 in each of 4 bursts */
    CHECK_EQ(row.closes[REASON_TOO_MANY_IDLE_HOST], 5);
    CHECK_EQ(row.reused, 8);
    CHECK_EQ(row.peak_open, 3);
    CHECK_EQ(row.peak_idle, 2);
    CHECK_EQ(row.time_wait_local, 5);
    CHECK_EQ(row.wait.max, MSEC(1));
    CHECK_EQ(row.unserved, 0);
    workload_free(&w);
}

TEST(a_limit_of_three_dials_three) {
    struct workload *w = bursts();
    struct whatif_row row;

    run(w, with(SET_MAX_IDLE_CONNS_PER_HOST, 3), &row);
    CHECK_EQ(row.dials, 3);
    CHECK_EQ(row.reused, 12);
    CHECK_EQ(row.closes[REASON_IDLE_TIMEOUT], 3);
    CHECK_EQ(row.peak_idle, 3);
    workload_free(&w);
}

TEST(an_idle_timeout_shorter_than_the_pause_saves_nothing) {
    struct workload *w = bursts();
    struct virtual_conf conf = with(SET_MAX_IDLE_CONNS_PER_HOST, 3);
    struct whatif_row row;

    conf.pool.idle_conn_timeout = MSEC(500);
    run(w, conf, &row);
    CHECK_EQ(row.dials, 15);
    CHECK_EQ(row.closes[REASON_IDLE_TIMEOUT], 15);
    workload_free(&w);
}

TEST(without_keep_alives_each_request_dials) {
    struct workload *w = bursts();
    struct whatif_row row;

    run(w, with(SET_DISABLE_KEEP_ALIVES, 1), &row);
    CHECK_EQ(row.dials, 15);
    CHECK_EQ(row.reused, 0);
    workload_free(&w);
}

TEST(a_limit_of_connections_makes_requests_wait) {
    struct workload *w = bursts();
    struct whatif_row row;

    run(w, with(SET_MAX_CONNS_PER_HOST, 1), &row);
    CHECK_EQ(row.dials, 1);
    CHECK_EQ(row.peak_open, 1);
    CHECK_EQ(row.requests, 15);
    /* The third of the first burst: at 2 ms, behind a dial of 1 ms and two of 20 ms. */
    CHECK_EQ(row.wait.max, MSEC(1 + 20 + 20 - 2));
    workload_free(&w);
}

TEST(who_is_served_by_another_aborts_its_own_dial_in_go1_19) {
    struct workload *w = begin();
    struct whatif_row row;

    /* The second asks while the first holds the only connection, and gets it 0.1 ms later. */
    conn(w, "a:80", 0);
    ask(w, 0, 20);
    ask(w, 20.9, 0.2);
    run(w, settings_default(), &row);
    CHECK_EQ(row.dials, 2);
    CHECK_EQ(row.closes[REASON_CANCELED], 1);
    CHECK_EQ(row.reused, 1);
    CHECK_EQ(row.time_wait_local, 1); /* of the first, at its idle timeout: an aborted dial leaves none */
    run(w, with(SET_PROFILE, POOL_GO1_27), &row);
    CHECK_EQ(row.closes[REASON_CANCELED], 0);
    workload_free(&w);
}

TEST(what_ends_a_connection_ends_it_here_too) {
    struct workload *w = begin();
    struct workload_exchange *x;
    struct whatif_row row;

    conn(w, "a:80", 0);
    ask(w, 0, 5)->flags = WX_REQUEST_CLOSE;
    ask(w, 100, 5)->flags = WX_RESPONSE_CLOSE;
    ask(w, 200, 5)->framing = FRAMING_UNTIL_EOF;
    ask(w, 300, 5)->end = END_FAILED;
    x = ask(w, 400, 5);
    x->end = END_CANCELED;
    x->status = 0;
    ask(w, 500, 5)->end = END_OPAQUE;
    ask(w, 600, 5)->end = END_OPEN;
    ask(w, 700, 5);
    run(w, settings_default(), &row);
    CHECK_EQ(row.dials, 8);
    CHECK_EQ(row.closes[REASON_REQUEST_CLOSE], 1);
    CHECK_EQ(row.closes[REASON_RESPONSE_CLOSE], 1);
    CHECK_EQ(row.closes[REASON_UNTIL_EOF], 1);
    CHECK_EQ(row.closes[REASON_SERVER_CLOSED], 1);
    CHECK_EQ(row.closes[REASON_CANCELED], 1);
    CHECK_EQ(row.closes[REASON_UPGRADED], 1);
    CHECK_EQ(row.closes[REASON_IDLE_TIMEOUT], 1);
    CHECK_EQ(row.peak_open, 2); /* the one that is never over, and the last */
    workload_free(&w);
}

/* A body given up after 1,000 of its bytes, on a connection that is closed with a RST. */
static struct workload *given_up(uint64_t announced) {
    struct workload *w = begin();
    struct workload_exchange *x;

    for (int i = 0; i < 4; i++) {
        struct workload_conn *c = conn(w, "a:80", i * 100);
        c->close_by = BY_LOCAL;
        c->close_how = HOW_RST;
        x = ask(w, i * 100, 6);
        x->end = END_GIVEN_UP;
        x->first_ns = MSEC(5);
        x->announced = announced;
        x->body = x->taken = 1000;
    }
    return w;
}

TEST(newer_go_drains_what_is_given_up_and_keeps_the_connection) {
    struct workload *w = given_up(2000);
    struct whatif_row row;

    run(w, settings_default(), &row);
    CHECK_EQ(row.dials, 4);
    CHECK_EQ(row.closes[REASON_EARLY_CLOSE], 4);
    CHECK_EQ(row.time_wait_local, 0); /* RST: no TIME_WAIT */
    run(w, with(SET_PROFILE, POOL_GO1_27), &row);
    CHECK_EQ(row.dials, 1);
    CHECK_EQ(row.closes[REASON_EARLY_CLOSE], 0);
    workload_free(&w);
}

TEST(it_drains_neither_what_is_large_nor_what_is_slow) {
    struct workload *large = given_up(300 << 10), *slow = given_up(100000);
    struct whatif_row row;

    run(large, with(SET_PROFILE, POOL_GO1_27), &row);
    CHECK_EQ(row.dials, 4);
    /* 99,000 more bytes at 1,000 a millisecond: 99 ms are more than 50. */
    run(slow, with(SET_PROFILE, POOL_GO1_27), &row);
    CHECK_EQ(row.dials, 4);
    workload_free(&large);
    workload_free(&slow);
}

TEST(it_drains_only_what_ends_and_leaves_the_connection_usable) {
    static const struct {
        enum body_framing framing;
        uint64_t announced;
        uint8_t flags;
        unsigned dials;
    } cases[] = {
        {FRAMING_LENGTH, 2000, 0, 1},
        {FRAMING_LENGTH, 2000, WX_RESPONSE_CLOSE, 4},
        {FRAMING_LENGTH, 2000, WX_REQUEST_CLOSE, 4},
        {FRAMING_CHUNKED, UNKNOWN_BYTES, 0, 1},
        {FRAMING_CHUNKED, UNKNOWN_BYTES, WX_RESPONSE_CLOSE, 4},
        {FRAMING_UNTIL_EOF, UNKNOWN_BYTES, 0, 4},
    };
    struct whatif_row row;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct workload *w = given_up(cases[i].announced);
        for (uint32_t k = 0; k < w->n_exchanges; k++) {
            w->exchanges[k].framing = (uint8_t)cases[i].framing;
            w->exchanges[k].flags = cases[i].flags;
        }
        run(w, with(SET_PROFILE, POOL_GO1_27), &row);
        if (row.dials != cases[i].dials) tap_fail(__FILE__, __LINE__, "case %zu: %" PRIu64 " dials", i, row.dials);
        workload_free(&w);
    }
}

/* In a capture: the whole answer came, and its client's kernel sent a RST all the same. */
TEST(what_was_delivered_and_left_unread_is_given_up_here_too) {
    struct workload *w = begin();
    struct whatif_row row;
    struct demands *d;

    w->observer = OBSERVER_CAPTURE;
    for (int i = 0; i < 3; i++) {
        struct workload_conn *c = conn(w, "a:80", i * 100);
        ask(w, i * 100, 5);
        c->closed_ns = MSEC(i * 100 + 8);
        c->idle_ns = MSEC(3);
        c->close_by = BY_LOCAL;
        c->close_how = HOW_RST;
    }
    d = demands_new(w);
    CHECK_EQ(d->n_conns, 3);
    CHECK_EQ(demands_reason(d, 0), REASON_EARLY_CLOSE);
    demands_free(&d);
    run(w, settings_default(), &row);
    CHECK_EQ(row.dials, 3);
    CHECK_EQ(row.closes[REASON_EARLY_CLOSE], 3);
    CHECK_EQ(row.time_wait_local, 0);
    for (uint32_t i = 0; i < 3; i++) w->conns[i].close_how = HOW_FIN; /* whatever closed it: the answer was read */
    d = demands_new(w);
    CHECK_EQ(demands_reason(d, 0), REASON_NONE);
    demands_free(&d);
    run(w, settings_default(), &row);
    CHECK_EQ(row.dials, 1);
    workload_free(&w);
}

TEST(announced_sizes_beyond_all_reason_do_no_harm) {
    struct workload *w = given_up(UINT64_C(1) << 62);
    struct whatif_row row;

    w->exchanges[0].framing = FRAMING_CHUNKED;
    w->exchanges[1].body = UINT64_MAX / 2;
    w->exchanges[2].done_ns = WORKLOAD_TIME_MAX;
    w->exchanges[3].at_ns = WORKLOAD_TIME_MAX;
    w->exchanges[3].done_ns = WORKLOAD_TIME_MAX;
    w->exchanges[3].waited_ns = WORKLOAD_TIME_MAX;
    run(w, with(SET_PROFILE, POOL_GO1_27), &row);
    CHECK_EQ(row.requests + row.unserved, 4); /* the last dial would end after the observation */
    workload_free(&w);
}

TEST(one_that_leaves_while_it_waits_is_not_served) {
    struct workload *w = begin();
    struct workload_exchange *x;
    struct whatif_row row;

    conn(w, "a:80", 0);
    ask(w, 0, 500);
    x = ask(w, 10, 50);
    x->end = END_CANCELED;
    x->status = 0;
    run(w, with(SET_MAX_CONNS_PER_HOST, 1), &row);
    CHECK_EQ(row.requests, 1);
    CHECK_EQ(row.unserved, 1);
    CHECK_EQ(row.dials, 1);
    workload_free(&w);
}

TEST(a_connection_that_stood_at_the_beginning_is_no_dial) {
    struct workload *w = begin();
    struct whatif_row row;

    conn(w, "a:80", 0)->flags = WCONN_DIALED;
    ask(w, 0, 5);
    ask(w, 100, 5);
    run(w, settings_default(), &row);
    CHECK_EQ(row.dials, 0);
    CHECK_EQ(row.standing, 1);
    CHECK_EQ(row.reused, 2);
    ask(w, 102, 5); /* beside another one: that is a dial */
    run(w, settings_default(), &row);
    CHECK_EQ(row.dials, 1);
    CHECK_EQ(row.standing, 1);
    workload_free(&w);
}

TEST(one_key_for_a_proxy_shares_its_connections_among_hosts) {
    static const char *const hosts[] = {"a:80", "b:80", "c:80", "d:80"};
    struct workload *w = begin();
    struct whatif_row row;

    for (int k = 0; k < 4; k++) conn(w, hosts[k], 0);
    for (int i = 0; i < 5; i++)
        for (uint32_t k = 0; k < 4; k++) {
            struct workload_exchange *x = ask(w, i * 1000 + (double)k, 20);
            x->conn = k;
            x->origin = w->conns[k].origin;
        }
    run(w, settings_default(), &row);
    CHECK_EQ(row.dials, 4);
    run(w, with(SET_KEYS, KEYS_PROXY), &row);
    CHECK_EQ(row.dials, 4 + 4 * 2);
    CHECK_EQ(row.peak_idle, 2);
    workload_free(&w);
}

TEST(clients_of_a_capture_have_pools_of_their_own) {
    struct workload *w = begin();
    struct whatif_row row;

    w->observer = OBSERVER_CAPTURE;
    conn(w, "a:80", 0);
    ask(w, 0, 5);
    conn(w, "a:80", 100)->client = workload_text(w, "10.0.0.2", 8);
    ask(w, 100, 5);
    run(w, settings_default(), &row);
    CHECK_EQ(row.dials, 2);
    w->conns[1].client = w->conns[0].client;
    run(w, settings_default(), &row);
    CHECK_EQ(row.dials, 1);
    workload_free(&w);
}

TEST(those_whose_client_is_not_known_are_one_client_s) {
    struct workload *w = begin();
    struct whatif_row row;
    struct demands *d;

    w->observer = OBSERVER_CAPTURE;
    for (int i = 0; i < 200; i++) { /* as a workload without "client" has them */
        conn(w, "a:80", i * 100)->client = WORKLOAD_NO;
        ask(w, i * 100, 5);
    }
    d = demands_new(w);
    CHECK_EQ(d->n_pools, 1);
    demands_free(&d);
    run(w, settings_default(), &row);
    CHECK_EQ(row.dials, 1);
    workload_free(&w);
}

TEST(the_longest_times_that_a_workload_may_have_can_be_added_up) {
    struct workload *w = begin();
    struct whatif_row row;
    double most = (double)WORKLOAD_TIME_MAX / 1e6;

    w->duration_ns = WORKLOAD_TIME_MAX;
    for (int i = 0; i < 3; i++) {
        struct workload_conn *c = conn(w, "a:80", i ? most : 0);
        struct workload_exchange *x = ask(w, i ? most : 0, most);
        c->dial_ns = c->tls_ns = c->idle_ns = WORKLOAD_TIME_MAX;
        x->waited_ns = i == 1 ? WORKLOAD_TIME_MAX : 0;
        x->sent_ns = x->first_ns = WORKLOAD_TIME_MAX;
    }
    run(w, settings_default(), &row); /* under SAN=1 nothing overflows */
    CHECK_EQ(row.requests + row.unserved, 3);
    workload_free(&w);
}

/* ---- servers ---- */

/* `n` connections, closed by the server after `idle` ms (and `step` more each time). */
static struct workload *closed_idle(int n, double idle, double step) {
    struct workload *w = begin();

    for (int i = 0; i < n; i++) {
        struct workload_conn *c = conn(w, "a:80", i * 10000);
        c->close_by = BY_REMOTE;
        c->close_how = HOW_FIN;
        c->close_phase = PHASE_IDLE;
        c->idle_ns = (int64_t)((idle + i * step) * 1e6);
        c->closed_ns = MSEC(i * 10000 + 10) + c->idle_ns;
        ask(w, i * 10000, 10);
    }
    return w;
}

static struct server_facts learned(struct workload *w) {
    struct demands *d;
    struct server_model *m;
    struct server_facts f;

    workload_sort(w);
    d = demands_new(w);
    m = server_model_new(d);
    f = *server_facts(m, 0);
    server_model_free(&m);
    demands_free(&d);
    return f;
}

TEST(an_idle_timeout_is_learned_and_closes_here_too) {
    struct workload *w = closed_idle(5, 300, 2);
    struct whatif_row row;

    CHECK_EQ(learned(w).idle_timeout_ns, MSEC(304));
    CHECK_EQ(learned(w).idle_shortest_ns, MSEC(300));
    CHECK_EQ(learned(w).idle_observations, 5);
    run(w, settings_default(), &row);
    CHECK_EQ(row.closes[REASON_SERVER_CLOSED_IDLE], 5);
    CHECK_EQ(row.dials, 5);
    CHECK_EQ(row.time_wait_remote, 5);
    workload_free(&w);
}

TEST(closes_at_random_are_no_timeout) {
    struct workload *w = closed_idle(7, 100, 1000);

    CHECK_EQ(learned(w).idle_timeout_ns, 0);
    workload_free(&w);
}

TEST(closes_at_one_moment_are_a_restart_s) {
    struct workload *w = closed_idle(5, 300, 0);

    for (uint32_t i = 0; i < w->n_conns; i++) w->conns[i].closed_ns = SEC(100) + MSEC(i);
    CHECK_EQ(learned(w).idle_timeout_ns, 0);
    workload_free(&w);
}

TEST(a_pause_that_was_outlived_is_longer_than_any_timeout) {
    struct workload *w = closed_idle(3, 300, 0);

    CHECK_EQ(learned(w).idle_timeout_ns, MSEC(300));
    conn(w, "a:80", 40000);
    for (int i = 0; i < 3; i++) ask(w, 40000 + i * 2000, 5);
    CHECK_EQ(learned(w).idle_timeout_ns, 0);
    workload_free(&w);
}

TEST(a_limit_of_requests_is_learned_and_is_the_connection_s) {
    struct workload *w = begin();
    struct whatif_row row;

    for (int i = 0; i < 3; i++) {
        conn(w, "a:80", i * 100);
        for (int k = 0; k < 4; k++) ask(w, i * 100 + k * 10, 5)->flags = k == 3 ? WX_RESPONSE_CLOSE : 0;
    }
    CHECK_EQ(learned(w).requests_limit, 4);
    run(w, settings_default(), &row);
    CHECK_EQ(row.dials, 3);
    CHECK_EQ(row.closes[REASON_RESPONSE_CLOSE], 3);
    w->exchanges[3].flags = 0;
    w->exchanges[2].flags = WX_RESPONSE_CLOSE;
    CHECK_EQ(learned(w).requests_limit, 0);
    workload_free(&w);
}

TEST(dials_take_as_long_as_those_that_were_seen) {
    struct workload *w = begin();
    struct demands *d;
    struct server_model *m;
    uint32_t cursor = 0, other = 0;

    conn(w, "a:80", 10)->dial_ns = MSEC(3);
    conn(w, "a:80", 20)->dial_ns = MSEC(7);
    w->conns[1].tls_ns = MSEC(1);
    conn(w, "a:80", 30)->dial_ns = NO_TIME;
    workload_origin(w, "http", "b:80");
    d = demands_new(w);
    m = server_model_new(d);
    CHECK_EQ(server_dial_ns(m, 0, MSEC(5), &cursor), MSEC(3));
    CHECK_EQ(server_dial_ns(m, 0, MSEC(19), &cursor), MSEC(3));
    CHECK_EQ(server_dial_ns(m, 0, MSEC(20), &cursor), MSEC(8));
    CHECK_EQ(server_dial_ns(m, 0, MSEC(99), &cursor), MSEC(8));
    CHECK_EQ(server_dial_ns(m, 1, MSEC(99), &other), MSEC(8)); /* nobody dialed it: the median of all */
    CHECK_EQ(server_dial_ns(m, 77, MSEC(99), &other), MSEC(8));
    server_model_free(&m);
    demands_free(&d);
    workload_free(&w);
}

/* ---- what was observed ---- */

TEST(the_observed_row_is_what_the_records_say) {
    struct workload *w = begin();
    struct demands *d;
    struct whatif_row row;
    struct workload_conn *c;

    c = conn(w, "a:80", 0);
    c->closed_ns = MSEC(500);
    c->close_by = BY_LOCAL;
    c->close_how = HOW_FIN;
    c->close_reason = REASON_TOO_MANY_IDLE_HOST;
    ask(w, 0, 10)->waited_ns = MSEC(2);
    ask(w, 100, 10);
    conn(w, "a:80", 50)->flags |= WCONN_TLS;
    w->conns[1].tls_ns = 5;
    ask(w, 50, 10);
    conn(w, "b:80", 60)->side = SIDE_DOWNSTREAM;
    ask(w, 60, 10);
    workload_sort(w);
    d = demands_new(w);
    observe(d, &row);
    CHECK_EQ(row.dials, 2);
    CHECK_EQ(row.requests, 3);
    CHECK_EQ(row.reused, 1);
    CHECK_EQ(row.peak_open, 2);
    CHECK_EQ(row.peak_idle, 2);
    CHECK_EQ(row.closes[REASON_TOO_MANY_IDLE_HOST], 1);
    CHECK_EQ(row.time_wait_local, 1);
    CHECK_EQ(row.tls_handshakes, 1);
    CHECK_EQ(row.wait.max, MSEC(2));
    demands_free(&d);

    conn(w, "a:80", 600)->flags &= (uint8_t)~WCONN_OPENED; /* it was there before; the first one is gone by now */
    w->conns[w->n_conns - 1].close_by = BY_REMOTE;
    w->conns[w->n_conns - 1].close_how = HOW_RST;
    w->conns[w->n_conns - 1].closed_ns = MSEC(900);
    ask(w, 600, 10);
    workload_sort(w);
    d = demands_new(w);
    observe(d, &row);
    CHECK_EQ(row.dials, 2);
    CHECK_EQ(row.standing, 1);
    CHECK_EQ(row.reused, 2);
    CHECK_EQ(row.peak_open, 2);
    CHECK_EQ(row.peak_idle, 2);
    CHECK_EQ(row.time_wait_remote, 0);
    demands_free(&d);
    workload_free(&w);
}

TEST(time_wait_lasts_a_minute) {
    struct time_wait t = {0};

    for (int i = 0; i < 200; i++) time_wait_add(&t, SEC(i));
    CHECK_EQ(t.peak, 60);
    CHECK_EQ(t.n, 60);
    time_wait_free(&t);
}

/* ---- the job ---- */

static struct whatif_job *finished(struct workload *w, const char *set, uint32_t steps) {
    struct virtual_conf base = settings_default();
    struct sweep sweep = {0};
    char error[SETTINGS_TEXT] = "";
    struct whatif_job *j;

    if (set) CHECK(sweep_add(&sweep, set, error));
    CHECK_STR(error, "");
    workload_sort(w);
    j = whatif_job_new(w, &base, &sweep, true);
    while (whatif_job_run(j, steps)) CHECK(whatif_job_done(j) <= 1000);
    CHECK_EQ(whatif_job_done(j), 1000);
    return j;
}

TEST(the_advice_is_the_smallest_limit_that_is_enough) {
    struct whatif_job *j = finished(bursts(), "max_idle_conns_per_host=1,2,3,4", 5);
    const struct whatif_advice *a = whatif_job_advice(j);
    static const uint64_t dials[] = {11, 7, 3, 3};

    for (unsigned i = 0; i < 4; i++) CHECK_EQ(whatif_job_row(j, i)->dials, dials[i]);
    CHECK_EQ(whatif_job_base_row(j)->dials, 7);
    CHECK(!a->is_base);
    CHECK_EQ(a->conf.pool.max_idle_conns_per_host, 3);
    CHECK_EQ(a->row.dials, 3);
    CHECK_EQ(a->n_origins, 1);
    CHECK_EQ(a->origins[0].max_idle_per_host, 3);
    CHECK_EQ(a->origins[0].dials_base, 7);
    CHECK_EQ(a->origins[0].dials_least, 3);
    CHECK_EQ(a->origins[0].dials_advised, 3);
    whatif_job_free(&j);
}

TEST(slices_of_any_size_give_the_same) {
    struct json_out first = {0}, second = {0};
    struct whatif_job *a = finished(bursts(), "idle_conn_timeout=1s,0", 1),
                      *b = finished(bursts(), "idle_conn_timeout=1s,0", 100000);

    whatif_json(&first, a, NULL);
    whatif_json(&second, b, NULL);
    CHECK(first.len == second.len && !memcmp(first.data, second.data, first.len));
    json_out_free(&first);
    json_out_free(&second);
    whatif_job_free(&a);
    whatif_job_free(&b);
}

TEST(a_timeout_just_below_the_server_s_is_advised) {
    struct whatif_job *j = finished(closed_idle(5, 300, 2), NULL, 100);
    const struct whatif_advice *a = whatif_job_advice(j);

    CHECK_EQ(a->origins[0].idle_conn_timeout, MSEC(270));
    CHECK_EQ(a->conf.pool.idle_conn_timeout, MSEC(270));
    CHECK_EQ(a->conf.pool.max_idle_conns_per_host, 2);
    CHECK_EQ(a->row.closes[REASON_SERVER_CLOSED_IDLE], 0);
    CHECK_EQ(a->row.dials, 5);
    whatif_job_free(&j);
}

TEST(nothing_is_advised_where_nothing_is_lost) {
    struct workload *w = begin();
    struct whatif_job *j;

    conn(w, "a:80", 0);
    for (int i = 0; i < 10; i++) ask(w, i * 100, 5);
    j = finished(w, NULL, 100);
    CHECK(whatif_job_advice(j)->is_base);
    CHECK_EQ(whatif_job_advice(j)->origins[0].max_idle_per_host, 2);
    whatif_job_free(&j);
}

TEST(the_limit_of_all_is_raised_with_that_of_each) {
    struct workload *w = begin();
    struct whatif_job *j;
    char host[16];

    for (int h = 0; h < 60; h++) {
        snprintf(host, sizeof host, "h%d:80", h);
        for (int k = 0; k < 3; k++) conn(w, host, 0);
    }
    for (int i = 0; i < 5; i++)
        for (uint32_t c = 0; c < 180; c++) {
            struct workload_exchange *x = ask(w, i * 1000 + (double)(c % 3), 20);
            x->conn = c;
            x->origin = w->conns[c].origin;
        }
    j = finished(w, NULL, 1000);
    CHECK_EQ(whatif_job_advice(j)->conf.pool.max_idle_conns_per_host, 3);
    CHECK_EQ(whatif_job_advice(j)->conf.pool.max_idle_conns, 180);
    CHECK_EQ(whatif_job_advice(j)->row.dials, 180);
    whatif_job_free(&j);
}

TEST(an_empty_workload_is_an_answer_too) {
    struct whatif_job *j = finished(begin(), "max_idle_conns=1,2", 10);
    struct json_out o = {0};

    whatif_json(&o, j, "x");
    CHECK(o.len > 100);
    CHECK(whatif_job_advice(j) == NULL);
    json_out_free(&o);
    whatif_job_free(&j);
}

TEST(notes_say_what_is_a_bound) {
    struct workload *w = bursts();
    struct whatif_job *j;
    char note[WHATIF_NOTE_TEXT];

    for (uint32_t k = 0; k < 3; k++) w->conns[k].requests = 5;
    w->conns[0].requests += 7;
    w->exchanges[3].flags |= WX_SPREAD;
    j = finished(w, NULL, 100);
    CHECK(whatif_note(j, 0, note) && strstr(note, "7 requests are not here with their times"));
    CHECK(whatif_note(j, 1, note) && strstr(note, "1 request has no time of its own"));
    CHECK(!whatif_note(j, 2, note));
    whatif_job_free(&j);
}

/* ---- settings ---- */

TEST(the_defaults_are_go_s) {
    struct virtual_conf c = settings_default();

    CHECK_EQ(c.pool.max_idle_conns, 100);
    CHECK_EQ(c.pool.max_idle_conns_per_host, 2);
    CHECK_EQ(c.pool.max_conns_per_host, 0);
    CHECK_EQ(c.pool.idle_conn_timeout, SEC(90));
    CHECK_EQ(c.pool.disable_keep_alives, 0);
    CHECK_EQ(c.pool.profile, POOL_GO1_19);
    CHECK_EQ(c.keys, KEYS_AS_SEEN);
}

TEST(every_combination_comes_once) {
    struct sweep s = {0};
    char error[SETTINGS_TEXT], text[SETTING_VALUE_TEXT];
    struct virtual_conf c = settings_default();

    CHECK(sweep_add(&s, "pool.max_idle_conns=10,20", error));
    CHECK(sweep_add(&s, "idle_conn_timeout=1m30s,500ms,0", error));
    CHECK_EQ(sweep_combinations(&s), 6);
    sweep_apply(&s, 4, &c);
    CHECK_EQ(c.pool.max_idle_conns, 20);
    CHECK_EQ(c.pool.idle_conn_timeout, MSEC(500));
    CHECK_EQ(sweep_value(&s, 1, 0), 10);
    CHECK_STR(setting_text(SET_IDLE_CONN_TIMEOUT, SEC(90), text), "1m30s");
    CHECK_STR(setting_text(SET_IDLE_CONN_TIMEOUT, 0, text), "0");
    CHECK_STR(setting_text(SET_MAX_IDLE_CONNS, -1, text), "-1");
    CHECK_STR(setting_text(SET_PROFILE, POOL_GO1_27, text), "go1.27");
    CHECK_STR(setting_text(SET_KEYS, KEYS_PROXY, text), "proxy");
    CHECK_STR(setting_text(SET_DISABLE_KEEP_ALIVES, 1, text), "true");
}

static void refused(const char *text, const char *expected) {
    struct sweep s = {0};
    char error[SETTINGS_TEXT] = "";

    CHECK(!sweep_add(&s, text, error));
    CHECK_STR(error, expected);
    CHECK_EQ(s.n, 0);
}

TEST(what_is_wrong_is_said) {
    struct sweep s = {0};
    char error[SETTINGS_TEXT], many[400] = "max_idle_conns=1";

    refused("max_idle_conns", "expected KEY=V1,V2,..., found \"max_idle_conns\"");
    refused("dial_timeout=1s",
            "no such key: \"dial_timeout\"; the keys are those limits of pool.* that decide who gets "
            "which connection, and keys");
    refused("max_idle_conns=", "max_idle_conns: expected a number from -1 to 1000000, found \"\"");
    refused("max_idle_conns=1,,2", "max_idle_conns: expected a number from -1 to 1000000, found \"\"");
    refused("max_idle_conns=1e3", "max_idle_conns: expected a number from -1 to 1000000, found \"1e3\"");
    refused("max_conns_per_host=-1", "max_conns_per_host: expected a number from 0 to 1000000, found \"-1\"");
    refused("max_idle_conns=99999999999999999999999",
            "max_idle_conns: expected a number from -1 to 1000000, found \"99999999999999999999999\"");
    refused("idle_conn_timeout=90", "idle_conn_timeout: expected a duration such as 90s, at most 8760h, found \"90\"");
    refused("profile=go1.20", "profile: expected go1.19|go1.27, found \"go1.20\"");
    refused("keys=both", "keys: expected as-seen|direct|proxy, found \"both\"");
    refused("disable_keep_alives=yes", "disable_keep_alives: expected true or false, found \"yes\"");
    for (int i = 0; i < 63; i++) strcat(many, ",1");
    CHECK(sweep_add(&s, many, error));
    CHECK(!sweep_add(&s, "max_idle_conns=2", error));
    CHECK_STR(error, "max_idle_conns is there twice");
    CHECK(!sweep_add(&s, "max_conns_per_host=1,2,3,4,5,6,7", error));
    CHECK_STR(error, "max_conns_per_host: more than 400 combinations in all");
    CHECK_EQ(sweep_combinations(&s), 64);
    strcat(many, ",1");
    refused(many, "max_idle_conns: more than 64 values");
}

int main(void) {
    return tap_run();
}

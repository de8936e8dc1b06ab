/* What is to be played: connections and workloads as steps, requests and answers. */
#include "replay/from_workload.h"
#include "talk.h"

static struct plan plan;

static void begin(void) {
    struct wire_limits limits = WIRE_LIMITS_DEFAULT;

    plan_clear(&plan);
    talk_begin();
    wire_free(&t.w);
    limits.transcript_bytes = 1u << 20;
    t.w = wire_new(&limits);
}

static void connect_client(uint16_t port) {
    t.port = port;
    t.seq[CLIENT] = 1000;
    t.seq[SERVER] = 5000;
    handshake();
}

static void finish_plan(bool safe_only) {
    struct wire_record *r;

    wire_finish(t.w);
    while ((r = wire_next(t.w))) plan_add(&plan, r);
    plan_finish(&plan, safe_only);
}

static const struct plan_step *step(unsigned i) {
    static const struct plan_step none = {.kind = UINT8_MAX};
    return i < plan.n_steps ? &plan.steps[plan.order[i]] : &none;
}

/* The steps of all connections in the order of time: "open send done fin". */
static const char *steps(void) {
    static const char *const names[] = {"open", "send", "interim", "done", "have", "take", "tail", "origin_end", "fin", "rst", "abandon"};
    static char text[512];

    *text = 0;
    for (unsigned i = 0; i < plan.n_steps && strlen(text) < 500; i++) {
        strcat(text, i ? " " : "");
        strcat(text, names[step(i)->kind]);
    }
    return text;
}

static void address(const char *to) {
    const char *all[PLAN_ORIGINS_MAX];

    for (unsigned i = 0; i < PLAN_ORIGINS_MAX; i++) all[i] = to;
    plan_address(&plan, all);
}

static const char *request(unsigned i) {
    static char text[512];
    const struct plan_exchange *x = &plan.exchanges[i];

    if (i >= plan.n_exchanges || !x->request || x->request_len >= sizeof text) return "";
    memcpy(text, x->request, x->request_len);
    text[x->request_len] = 0;
    return text;
}

/* ---- captures ---- */

TEST(a_request_its_answer_and_the_client_s_end) {
    begin();
    connect_client(4000);
    say(CLIENT, GET);
    say(SERVER, OK(3) "abc");
    ack(CLIENT);
    flags(CLIENT, TCP_FIN | TCP_ACK);
    finish_plan(false);
    CHECK_STR(steps(), "open send done fin");
    CHECK_EQ(step(1)->at_ns - step(0)->at_ns, MSEC(3));
    CHECK_EQ(plan.n_exchanges, 1);
    const struct plan_exchange *x = plan.exchanges;
    CHECK_EQ(x->status, 200);
    CHECK_EQ(x->head_len, strlen(OK(3)));
    CHECK_EQ(x->done_len, strlen(OK(3)) + 3);
    CHECK_EQ(x->take, NO_LEN);
    CHECK_STR(plan.origins[0].authority, "a.test");
    CHECK_EQ(plan.origins[0].n_exchanges, 1);
    CHECK_EQ(plan.filled_in + plan.filled_out, 0);
}

TEST(requests_are_put_into_absolute_form) {
    begin();
    connect_client(4000);
    say(CLIENT, GET);
    say(SERVER, OK(0));
    say(CLIENT, "GET http://b.test:81/x?y HTTP/1.1\r\nHost: b.test:81\r\n\r\n");
    say(SERVER, OK(0));
    say(CLIENT, "OPTIONS * HTTP/1.1\r\nHost: a.test\r\n\r\n");
    say(SERVER, OK(0));
    say(CLIENT, "POST /p HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody");
    say(SERVER, OK(0));
    finish_plan(false);
    CHECK_EQ(plan.n_origins, 2);
    address("127.0.0.1:9");
    CHECK_STR(request(0), "GET http://127.0.0.1:9/a HTTP/1.1\r\nHost: a.test\r\n\r\n");
    CHECK_STR(request(1), "GET http://127.0.0.1:9/x?y HTTP/1.1\r\nHost: b.test:81\r\n\r\n");
    CHECK_STR(request(2), "OPTIONS http://127.0.0.1:9 HTTP/1.1\r\nHost: a.test\r\n\r\n");
    CHECK_STR(request(3), "POST http://127.0.0.1:9/p HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody");
    /* Half of the target sends none of it: it is another one. */
    CHECK_EQ(plan_sent_len(&plan.exchanges[0], 5), 4);
    CHECK_EQ(plan_sent_len(&plan.exchanges[0], 6), 6 + strlen("http://127.0.0.1:9"));
    CHECK_EQ(plan_sent_len(&plan.exchanges[1], 40), 40 + strlen("127.0.0.1:9") - strlen("b.test:81"));
}

TEST(a_reset_with_bytes_unread_is_one_again) {
    begin();
    connect_client(4000);
    say(CLIENT, GET);
    say(SERVER, OK(9000));
    say_n(SERVER, 6000);
    ack(CLIENT);
    flags(CLIENT, TCP_RST | TCP_ACK);
    say_n(SERVER, 3000);
    finish_plan(false);
    const struct plan_exchange *x = plan.exchanges;
    CHECK_STR(steps(), "open send rst");
    CHECK_EQ(x->take, 4096);
    CHECK_EQ(plan.conns[0].had, strlen(OK(9000)) + 6000);
    CHECK_EQ(x->until_client_ends, plan.conns[0].had); /* the rest follows when the client is gone */
    CHECK(!plan.conns[0].linger);
}

TEST(a_fin_and_then_a_reset_for_what_lies_unread) {
    begin();
    connect_client(4000);
    say(CLIENT, GET);
    say(SERVER, OK(9000));
    say_n(SERVER, 9000);
    ack(CLIENT);
    flags(CLIENT, TCP_FIN | TCP_ACK);
    flags(CLIENT, TCP_RST | TCP_ACK);
    connect_client(4001); /* this one's answers data that came later: nothing lay unread */
    say(CLIENT, GET);
    say(SERVER, OK(9000));
    say_n(SERVER, 4000);
    ack(CLIENT);
    flags(CLIENT, TCP_FIN | TCP_ACK);
    say_n(SERVER, 5000);
    flags(CLIENT, TCP_RST);
    finish_plan(false);
    CHECK_STR(steps(), "open send done abandon open send fin");
    CHECK(plan.conns[0].abandons && !plan.conns[1].abandons);
    CHECK_EQ(plan.exchanges[0].take, 4096);
    CHECK_EQ(plan.exchanges[1].take, NO_LEN);
}

/* A witness says it so that the wire reads the same in it. */
TEST(a_fin_and_then_a_reset_as_they_are_told) {
    const struct flow_key flow = {{.addr = {10, 0, 0, 1}, .port = 40000, .family = ADDR_V4},
                                  {.addr = {10, 0, 0, 2}, .port = 80, .family = ADDR_V4}};
    struct witness seen;
    struct told told;

    witness_begin(&seen, 0);
    witness_open(&seen, &told, &flow, 0, 0, SEC(1));
    witness_accepted(&seen, &told, SEC(1));
    witness_data(&seen, &told, true, (const uint8_t *)GET, strlen(GET), 0, SEC(2));
    witness_data(&seen, &told, false, (const uint8_t *)OK(9000), strlen(OK(9000)), 0, SEC(3));
    witness_data(&seen, &told, false, NULL, 9000, 5000, SEC(3));
    witness_abandoned(&seen, &told, SEC(4));
    witness_ended(&seen, &told, true, true, SEC(5)); /* nothing more is said of it */
    witness_finish(&seen, SEC(6));
    const struct wire_record *r = witness_record(&seen, 0);
    CHECK(r && r->life.close_how == HOW_FIN && r->life.rst_sent);
    CHECK(r && r->evidence.early == EARLY_RST_AFTER_COMPLETE);
    CHECK(r && r->evidence.rst_cause_likely == RST_CAUSE_UNREAD_AT_CLOSE);
    witness_free(&seen);
}

TEST(origins_end_what_they_ended) {
    begin();
    connect_client(4000);
    say(CLIENT, GET);
    say(SERVER, OK(3) "abc");
    t.now += SEC(5);
    flags(SERVER, TCP_FIN | TCP_ACK);
    flags(CLIENT, TCP_FIN | TCP_ACK);
    connect_client(4001);
    say(CLIENT, GET);
    say(SERVER, OK(300) "abc");
    flags(SERVER, TCP_RST | TCP_ACK);
    finish_plan(false);
    CHECK_STR(steps(), "open send done origin_end fin open send origin_end");
    CHECK(!plan.exchanges[0].ends_connection && plan.exchanges[1].ends_connection);
    CHECK(!plan.conns[0].origin_resets && plan.conns[1].origin_resets);
}

TEST(an_answer_that_the_capture_ends_in) {
    begin();
    connect_client(4000);
    say(CLIENT, GET);
    say(SERVER, OK(9) "abc");
    finish_plan(false);
    CHECK_STR(steps(), "open send have");
    CHECK_EQ(step(2)->n, strlen(OK(9)) + 3);
    CHECK_EQ(plan.exchanges[0].fill_after, 6);
}

TEST(what_is_no_request_is_not_sent) {
    begin();
    connect_client(4000);
    say(CLIENT, "POST /a HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    say(CLIENT, "0\r\n\r\nGET / HTTP/1.1\r\nHost : a\r\n\r\n");
    say(SERVER, OK(0));
    finish_plan(false);
    address("b");
    CHECK_STR(request(0), "POST http://b/a HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    CHECK(!plan.exchanges[0].is_cut);
}

TEST(requests_that_are_not_whole) {
    begin();
    connect_client(4000);
    say(CLIENT, "POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\nabc");
    say(SERVER, OK(0));
    connect_client(4001);
    say(CLIENT, "POST /a HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n");
    say(SERVER, OK(0));
    finish_plan(false);
    CHECK_EQ(plan.n_exchanges, 2);
    CHECK(plan.exchanges[0].is_cut && plan.exchanges[1].is_cut);
}

TEST(what_cannot_be_played_is_named) {
    begin();
    connect_client(4000);
    say(CLIENT, "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n");
    say(SERVER, "HTTP/1.1 200 OK\r\n\r\n");
    connect_client(4001);
    say(CLIENT, "GET https://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n");
    say(SERVER, OK(0));
    connect_client(4002);
    say(CLIENT, GET);
    say(SERVER, OK(0));
    say(CLIENT, "GET / HTTP/1.1\r\nHost: a\r\nHost : b\r\n\r\n");
    say(SERVER, "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n");
    t.port = 4003;
    flags(CLIENT, TCP_SYN);
    flags(SERVER, TCP_RST | TCP_ACK);
    finish_plan(false);
    CHECK_EQ(plan.n_conns, 4);
    CHECK_EQ(plan.by_gap[PLAN_TUNNEL], 1);
    CHECK_EQ(plan.by_gap[PLAN_HTTPS], 1);
    CHECK_EQ(plan.by_gap[PLAN_REFUSED], 1);
    CHECK_STR(steps(), "open send done"); /* the third's first */
}

TEST(only_safe_methods_for_a_live_origin) {
    begin();
    connect_client(4000);
    say(CLIENT, GET);
    say(SERVER, OK(0));
    say(CLIENT, "DELETE /a HTTP/1.1\r\nHost: a.test\r\n\r\n");
    say(SERVER, OK(0));
    say(CLIENT, GET);
    say(SERVER, OK(0));
    connect_client(4001);
    say(CLIENT, "POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n");
    say(SERVER, OK(0));
    finish_plan(true);
    CHECK_STR(steps(), "open send done");
    CHECK_EQ(plan.by_gap[PLAN_UNSAFE], 2);
    CHECK_EQ(plan.origins[0].n_exchanges, 1); /* what is said to be asked is what is asked */
}

TEST(what_the_capture_lacks_is_filled_in) {
    begin();
    connect_client(4000);
    say(CLIENT, GET);
    struct wire_segment s = segment(SERVER, TCP_ACK, OK(1000), strlen(OK(1000)));
    feed(s);
    s = segment(SERVER, TCP_ACK, "x", 1000);
    s.captured = 1;
    feed(s);
    ack(CLIENT);
    finish_plan(false);
    CHECK_EQ(plan.filled_in, 999);
    CHECK_EQ(plan.n_filled, 1);
    CHECK_EQ(plan.conns[0].gap, PLAN_WHOLE);
}

/* n bytes of the server's that the capture cut off. */
static void say_cut(uint32_t n) {
    for (uint32_t left = n, len; left > 0; left -= len) {
        len = left < 1u << 20 ? left : 1u << 20;
        struct wire_segment s = segment(SERVER, TCP_ACK, NULL, len);
        s.captured = 0;
        feed(s);
        ack(CLIENT);
    }
}

TEST(one_that_is_too_large_takes_nothing_from_the_others) {
    begin();
    for (uint16_t i = 0; i < 2; i++) { /* more than may be filled in altogether, in answers none of which is played */
        connect_client((uint16_t)(4000 + i));
        say(CLIENT, GET);
        say(SERVER, "HTTP/1.1 200 OK\r\nContent-Length: 700000000\r\n\r\n");
        say_cut(700000000);
    }
    connect_client(4100);
    say(CLIENT, GET);
    say(SERVER, OK(1000));
    say_cut(1000);
    finish_plan(false);
    CHECK_EQ(plan.by_gap[PLAN_TOO_LARGE], 2);
    CHECK_EQ(plan.by_gap[PLAN_WHOLE], 1);
    CHECK_EQ(plan.filled_in, 1000); /* of what is played */
    CHECK_EQ(plan.n_filled, 1);
}

/* Which answer is whose is not known behind one that is lost: a client would wait for what nobody sends. */
TEST(behind_an_answer_that_is_lost_nothing_is_played) {
    begin();
    connect_client(4000);
    say(CLIENT, GET);
    say(SERVER, OK(3) "one");
    say(CLIENT, GET);
    lose(SERVER, strlen(OK(3)) + 3);
    say(CLIENT, GET);
    say(SERVER, OK(3) "two");
    for (int i = 0; i < 20; i++) ack(CLIENT);
    flags(CLIENT, TCP_FIN | TCP_ACK);
    finish_plan(false);
    CHECK_STR(steps(), "open send done");
    CHECK_EQ(plan.by_gap[PLAN_BYTES_LOST], 1);
    CHECK_EQ(plan.request_bytes, strlen(GET));
}

TEST(disorder_in_the_capture_never_goes_back) {
    begin();
    connect_client(4000);
    say(CLIENT, GET);
    t.now -= SEC(900); /* somebody set the clock */
    say(SERVER, OK(3) "abc");
    say(CLIENT, GET);
    t.now += SEC(2000);
    say(SERVER, OK(3) "abc");
    finish_plan(false);
    CHECK_STR(steps(), "open send done send done");
    for (unsigned i = 1; i < plan.n_steps; i++) CHECK(step(i - 1)->at_ns <= step(i)->at_ns);
    CHECK(step(plan.n_steps - 1)->at_ns <= plan.end_ns);
}

/* ---- workloads ---- */

static struct workload *work;
static const struct workload_limits plenty = WORKLOAD_LIMITS_DEFAULT;

static void begin_work(void) {
    plan_clear(&plan);
    work = workload_new(&plenty);
    work->began_ns = SEC(1700000000);
    work->duration_ns = SEC(60);
}

static struct workload_conn *add_conn(int64_t ms) {
    struct workload_conn *c = workload_add_conn(work);

    c->opened_ns = MSEC(ms);
    c->dial_ns = MSEC(1);
    c->flags = WCONN_OPENED | WCONN_DIALED;
    c->side = SIDE_CLIENT;
    c->id = 1;
    c->client = workload_text(work, "client-1", 8);
    c->server = workload_text(work, "server-1:80", 11);
    return c;
}

static struct workload_exchange *add_exchange(uint32_t conn, int64_t ms, uint64_t body) {
    struct workload_exchange *x = workload_add_exchange(work);

    x->conn = conn;
    x->origin = workload_origin(work, "http", "host-1.invalid:80");
    x->method = workload_text(work, "GET", 3);
    x->path = workload_text(work, "/path-1", 7);
    x->at_ns = MSEC(ms);
    x->first_ns = MSEC(2);
    x->done_ns = MSEC(3);
    x->status = 200;
    x->framing = FRAMING_LENGTH;
    x->announced = x->body = x->taken = body;
    x->end = END_COMPLETE;
    return x;
}

static void finish_work(void) {
    struct witness seen;

    witness_begin(&seen, 1u << 20);
    workload_sort(work);
    from_workload_add(&plan, &seen, work);
    plan_finish(&plan, false);
    witness_free(&seen);
    workload_free(&work);
}

TEST(a_workload_is_played_like_a_capture) {
    begin_work();
    struct workload_conn *c = add_conn(100);
    c->closed_ns = MSEC(500);
    c->close_by = BY_LOCAL;
    c->close_how = HOW_FIN;
    add_exchange(0, 200, 5000);
    finish_work();
    CHECK_STR(steps(), "open send done fin");
    CHECK_EQ(step(1)->at_ns - step(0)->at_ns, MSEC(100));
    CHECK_EQ(step(3)->at_ns - step(0)->at_ns, MSEC(400));
    CHECK_EQ(plan.end_ns, SEC(1700000060));
    CHECK_EQ(plan.filled_in, 5000);
    CHECK_STR(plan.origins[0].authority, "host-1.invalid:80");
}

TEST(nothing_that_a_workload_says_is_too_late_or_too_early) {
    static const int64_t began[] = {INT64_MIN, -1, 0, SEC(1700000000), SEC(INT64_C(9214646399)), INT64_MAX};

    for (unsigned i = 0; i < sizeof began / sizeof *began; i++) {
        begin_work();
        work->began_ns = began[i];
        work->duration_ns = WORKLOAD_TIME_MAX;
        struct workload_conn *c = add_conn(0);
        c->opened_ns = WORKLOAD_TIME_MAX;
        struct workload_exchange *x = add_exchange(0, 0, 10);
        x->at_ns = x->waited_ns = x->first_ns = x->done_ns = x->sent_ns = WORKLOAD_TIME_MAX;
        x->request_body = 5;
        add_conn(0)->closed_ns = 0;
        finish_work();
        CHECK(plan.begin_ns > 0 && plan.begin_ns <= plan.end_ns);
        for (unsigned k = 0; k < plan.n_steps; k++) CHECK(step(k)->at_ns >= plan.begin_ns && step(k)->at_ns <= plan.end_ns);
        CHECK_EQ(plan.n_conns, 2);
    }
}

TEST(bodies_that_are_announced_reserve_nothing) {
    begin_work();
    for (uint32_t i = 0; i < 3; i++) add_conn(i);
    struct workload_exchange *x = add_exchange(0, 10, 1);
    x->announced = UINT64_C(1) << 62;
    x->end = END_GIVEN_UP;
    add_exchange(1, 20, UINT64_C(1) << 62);
    add_exchange(2, 30, 0)->request_body = UINT64_C(1) << 62;
    finish_work();
    CHECK_EQ(plan.by_gap[PLAN_TOO_LARGE], 2);
    CHECK_EQ(plan.filled_in, 1);
    CHECK_EQ(plan.request_bytes, plan.exchanges[0].request_end); /* the first alone is played */
}

TEST(all_requests_together_have_a_limit) {
    begin_work();
    for (uint32_t i = 0; i < 40; i++) {
        add_conn(i);
        add_exchange(i, 100 + 10 * i, 1)->request_body = PLAN_REQUEST_MAX - 1000;
    }
    finish_work();
    CHECK(plan.request_bytes <= PLAN_REQUEST_ALL_MAX);
    CHECK(plan.by_gap[PLAN_TOO_LARGE] >= 24);
    CHECK(plan.by_gap[PLAN_WHOLE] >= 15);
}

TEST(a_head_of_any_length_and_a_path_of_any_bytes) {
    begin_work();
    for (uint32_t i = 0; i < 2; i++) add_conn(i);
    struct workload_exchange *x = add_exchange(0, 10, 1);
    x->request_head = x->response_head = UINT32_MAX;
    x = add_exchange(1, 20, 1);
    x->path = workload_text(work, "/ HTTP/1.1\r\n\r\nDELETE /", 23);
    finish_work();
    for (uint32_t k = 0; k < plan.n_exchanges; k++) CHECK(plan.exchanges[k].request_end < 70000);
    /* What a name smuggles in is a request of its own here, and not safe. */
    for (uint32_t k = 0; k < plan.n_exchanges; k++)
        CHECK_EQ(plan.exchanges[k].is_safe, !strcmp(plan.exchanges[k].method, "GET"));
}

TEST(a_body_that_was_refused_before_it_was_sent) {
    begin_work();
    for (uint32_t i = 0; i < 2; i++) {
        struct workload_conn *c = add_conn(100 * i);
        c->closed_ns = MSEC(100 * i + 50);
        c->close_by = BY_LOCAL;
        c->close_how = HOW_FIN;
        struct workload_exchange *x = add_exchange(i, 100 * i + 10, 5);
        x->method = workload_text(work, "POST", 4);
        x->request_body = 5000000;
        x->flags = WX_EXPECT;
        x->status = i ? 200 : 413;
    }
    finish_work();
    CHECK(plan.exchanges[0].is_cut && plan.exchanges[0].request_end == plan.exchanges[0].head_end);
    CHECK_EQ(plan.exchanges[1].request_end - plan.exchanges[1].head_end, 5000000);
}

/* Of a long connection a ledger keeps the first events and the last. */
TEST(requests_without_events_of_their_own_are_answered) {
    begin_work();
    add_conn(0);
    add_exchange(0, 10, 5);
    struct workload_exchange *x = workload_add_exchange(work);
    x->conn = 0;
    x->origin = 0;
    x->at_ns = MSEC(20);
    x->done_ns = MSEC(4);
    x->flags = WX_SPREAD;
    x->end = END_COMPLETE;
    add_exchange(0, 30, 5);
    finish_work();
    CHECK_STR(steps(), "open send done send done send done");
    CHECK_EQ(step(4)->at_ns - step(3)->at_ns, MSEC(4));
    CHECK_EQ(plan.exchanges[1].status, 200);
}

TEST(of_a_daemon_s_ledger_its_clients_are_played) {
    begin_work();
    add_conn(0)->side = SIDE_UPSTREAM;
    add_exchange(0, 10, 5);
    add_conn(0)->side = SIDE_DOWNSTREAM;
    add_exchange(1, 10, 5);
    finish_work();
    CHECK_EQ(plan.n_conns, 1);
    CHECK_STR(steps(), "open send done");
}

int main(void) {
    int rc = tap_run();
    plan_clear(&plan);
    talk_end();
    return rc;
}

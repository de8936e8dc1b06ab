/* The rules, one behaviour each, on a clock that is a variable. */
#include "core/finding.h"
#include "tap.h"

static struct findings *f;
static int64_t now;
static enum side side;
static const char *agent, *host;
static uint64_t size; /* of a response, head and body */
static uint16_t status;

static void begin(enum side of, const char *user_agent) {
    struct findings_conf conf = FINDINGS_CONF_DEFAULT;
    conf.forward = false;
    f = findings_new(&conf);
    now = SEC(1000);
    side = of;
    agent = user_agent;
    host = "api.test";
    size = 300;
    status = 200;
}

static void end(void) {
    findings_free(&f);
}

static struct fact fact_of(conn_id id, enum fact_kind kind) {
    struct fact fact = {.at_ns = now, .conn = id, .side = (uint8_t)side, .kind = (uint8_t)kind};
    fact.peer.family = ADDR_V4;
    fact.peer.addr[0] = 10;
    fact.host = host;
    fact.user_agent = agent;
    fact.method = "GET";
    return fact;
}

static void say(struct fact fact) {
    findings_fact(f, &fact);
}

static void opened(conn_id id) {
    say(fact_of(id, FACT_OPENED));
}

static void request(conn_id id, uint8_t flags) {
    struct fact fact = fact_of(id, FACT_REQUEST);
    fact.flags = flags;
    say(fact);
}

static void response(conn_id id, uint8_t flags) {
    struct fact fact = fact_of(id, FACT_RESPONSE);
    fact.status = status;
    fact.framing = FRAMING_LENGTH;
    fact.bytes = size - 100;
    fact.flags = flags;
    say(fact);
}

static void done(conn_id id) {
    struct fact fact = fact_of(id, FACT_DONE);
    fact.bytes = size;
    say(fact);
}

/* A request and its whole response, in 10 ms. */
static void exchange(conn_id id) {
    request(id, 0);
    now += MSEC(8);
    response(id, 0);
    now += MSEC(2);
    done(id);
}

static struct fact_end an_end(void) {
    return (struct fact_end){.opened_ns = now,
                             .received_bytes = size,
                             .unread_bytes = UNKNOWN_BYTES,
                             .unread_if_read_4096 = size > 4096 ? size - 4096 : UNKNOWN_BYTES,
                             .body_announced = size - 100,
                             .body_read = size - 100,
                             .requests = 1,
                             .responses = 1,
                             .tls_sent = UINT32_MAX,
                             .counts_known = true,
                             .stood = true,
                             .by = BY_LOCAL,
                             .how = HOW_FIN,
                             .framing = FRAMING_LENGTH,
                             .phase = PHASE_IDLE,
                             .early = FACT_EARLY_FIN_AFTER};
}

static void ended(conn_id id, const struct fact_end *e) {
    struct fact fact = fact_of(id, FACT_ENDING);
    fact.by = e->by;
    fact.how = e->how;
    say(fact);
    fact = fact_of(id, FACT_CLOSED);
    fact.end = e;
    say(fact);
}

static void fin(conn_id id) {
    struct fact_end e = an_end();
    ended(id, &e);
}

static void rst_in_body(conn_id id, uint64_t rest) {
    struct fact_end e = an_end();
    e.how = HOW_RST;
    e.local_rst = true;
    e.early = FACT_EARLY_IN_BODY;
    e.rst = e.rst_likely = FACT_RST_UNREAD;
    e.phase = PHASE_IN_BODY;
    e.body_read = e.body_announced > rest ? e.body_announced - rest : 0;
    ended(id, &e);
}

static void wait_for(int64_t ns) {
    for (int64_t until = now + ns; now < until;) {
        now = now + SEC(1) < until ? now + SEC(1) : until;
        findings_tick(f, now);
    }
}

static const struct finding *found(enum finding_kind kind) {
    const struct finding *fi;
    for (size_t i = 0; (fi = findings_get(f, i)); i++)
        if (fi->kind == kind) return fi;
    return NULL;
}

static unsigned n_found(void) {
    unsigned n = 0;
    while (findings_get(f, n)) n++;
    return n;
}

static void nothing(void) {
    const struct finding *fi = findings_get(f, 0);
    CHECK(!fi);
    if (fi) printf("# found %s\n", finding_name((enum finding_kind)fi->kind));
}

/* ---- healthy ---- */

TEST(a_pool_that_reuses_shows_nothing) {
    begin(SIDE_CLIENT, "Go-http-client/1.1");
    for (conn_id id = 1; id <= 8; id++) opened(id);
    for (int round = 0; round < 20; round++) {
        for (conn_id id = 1; id <= 8; id++) request(id, 0);
        now += MSEC(10);
        for (conn_id id = 1; id <= 8; id++) response(id, 0), done(id);
        wait_for(SEC(3));
    }
    wait_for(SEC(90));
    for (conn_id id = 1; id <= 8; id++) fin(id);
    findings_end(f, now);
    nothing();
    end();
}

TEST(a_client_that_ends_right_after_its_only_burst_shows_nothing) {
    begin(SIDE_CLIENT, "Go-http-client/1.1");
    for (conn_id id = 1; id <= 8; id++) opened(id), request(id, 0);
    now += MSEC(10);
    for (conn_id id = 1; id <= 8; id++) response(id, 0), done(id);
    now += MSEC(1);
    for (conn_id id = 1; id <= 8; id++) fin(id);
    wait_for(SEC(5));
    findings_end(f, now);
    nothing();
    end();
}

TEST(idle_connections_are_not_held_while_no_new_ones_are_opened) {
    begin(SIDE_DOWNSTREAM, "Go-http-client/1.1");
    for (conn_id id = 1; id <= 50; id++) opened(id), request(id, 0);
    now += MSEC(10);
    for (conn_id id = 1; id <= 50; id++) response(id, 0), done(id);
    wait_for(SEC(600));
    nothing();
    CHECK_EQ(findings_held(f), 0);
    end();
}

TEST(an_idle_timeout_of_the_client_is_no_early_close) {
    begin(SIDE_CLIENT, NULL);
    for (conn_id id = 1; id <= 10; id++) {
        opened(id);
        exchange(id);
        wait_for(SEC(4)); /* as undici */
        fin(id);
    }
    wait_for(SEC(3));
    nothing();
    end();
}

/* ---- early closes ---- */

TEST(a_reset_in_the_body_proves_an_early_close) {
    begin(SIDE_CLIENT, "Go-http-client/1.1");
    size = 24164;
    opened(1);
    request(1, 0);
    response(1, 0);
    rst_in_body(1, 1000);
    const struct finding *fi = found(FINDING_EARLY_BODY_CLOSE);
    CHECK(fi);
    if (!fi) return;
    CHECK_EQ(fi->confidence, CONFIDENCE_CONFIRMED);
    CHECK_EQ(fi->severity, SEVERITY_WARNING);
    CHECK_EQ(fi->count, 1);
    CHECK_EQ(fi->number[NUM_RECEIVED_BYTES], 24164);
    CHECK_EQ(fi->number[NUM_UNREAD_IF_4096], 20068);
    CHECK_EQ(fi->number[NUM_WASTEFUL], 1);
    CHECK_EQ(fi->number[NUM_REST_BYTES], 1000);
    CHECK_EQ(fi->by_status[2], 1);
    CHECK(!strcmp(fi->by_host[0].name, "api.test"));
    CHECK(!strcmp(fi->by_method[0].name, "GET"));
    CHECK_EQ(fi->ids[0], 1);
    CHECK_EQ(fi->subject->stack, STACK_GO);
    CHECK(found(FINDING_RST_UNREAD_DATA));
    CHECK_EQ(found(FINDING_RST_UNREAD_DATA)->confidence, CONFIDENCE_CONFIRMED);
    end();
}

TEST(giving_up_a_large_rest_is_right_and_only_told) {
    begin(SIDE_CLIENT, "aws-sdk");
    size = (uint64_t)16 << 30;
    opened(1);
    request(1, 0);
    response(1, 0);
    rst_in_body(1, (uint64_t)15 << 30);
    const struct finding *fi = found(FINDING_EARLY_BODY_CLOSE);
    CHECK(fi && fi->severity == SEVERITY_INFO);
    CHECK_EQ(fi->number[NUM_JUSTIFIED], 1);
    CHECK(found(FINDING_RST_UNREAD_DATA) && found(FINDING_RST_UNREAD_DATA)->severity == fi->severity);
    CHECK(!(fi->known >> NUM_WASTEFUL & 1));
    end();
}

TEST(a_fin_after_a_small_body_again_and_again_is_likely_an_early_close) {
    begin(SIDE_CLIENT, "Go-http-client/1.1");
    for (conn_id id = 1; id <= 4; id++) {
        opened(id);
        exchange(id);
        now += MSEC(10);
        fin(id);
        now += MSEC(10);
    }
    wait_for(SEC(2));
    const struct finding *fi = found(FINDING_EARLY_BODY_CLOSE);
    CHECK(fi);
    CHECK_EQ(fi ? fi->count : 0, 4);
    CHECK_EQ(fi ? fi->number[NUM_REDIALS] : 0, 3);
    CHECK(!found(FINDING_IDLE_CAP_CHURN));
    CHECK(!found(FINDING_RST_UNREAD_DATA));
    CHECK(!found(FINDING_TRANSPORT_PER_REQUEST)); /* named as what looks the same */
    CHECK(fi && fi->ambiguous >> FINDING_TRANSPORT_PER_REQUEST & 1);
    end();
}

TEST(a_large_body_is_with_a_slow_client_only_when_its_last_bytes_have_left) {
    begin(SIDE_DOWNSTREAM, "python-requests/2.28.1");
    size = 5 << 20;
    for (conn_id id = 1; id <= 4; id++) {
        opened(id);
        exchange(id);
        now += SEC(4);
        struct fact_end e = an_end();
        e.last_data_ns = now - MSEC(20);
        ended(id, &e);
    }
    wait_for(SEC(2));
    const struct finding *fi = found(FINDING_TRANSPORT_PER_REQUEST);
    CHECK_EQ(fi ? fi->count : 0, 4);
    CHECK_EQ(n_found(), 1);
    end();
}

TEST(two_such_fins_are_chance) {
    begin(SIDE_CLIENT, "Go-http-client/1.1");
    for (conn_id id = 1; id <= 2; id++) {
        opened(id);
        exchange(id);
        fin(id);
        now += MSEC(10);
    }
    wait_for(SEC(2));
    findings_end(f, now);
    nothing();
    end();
}

TEST(what_go_cannot_buffer_was_read_before_its_fin) {
    begin(SIDE_CLIENT, "Go-http-client/1.1");
    size = 70000;
    for (conn_id id = 1; id <= 5; id++) {
        opened(id);
        exchange(id);
        fin(id);
        now += MSEC(10);
    }
    wait_for(SEC(2));
    CHECK(!found(FINDING_EARLY_BODY_CLOSE));
    CHECK(found(FINDING_TRANSPORT_PER_REQUEST));
    end();
}

TEST(a_fin_after_no_body_is_no_early_close) {
    begin(SIDE_CLIENT, "Go-http-client/1.1");
    for (conn_id id = 1; id <= 5; id++) {
        opened(id);
        request(id, 0);
        now += MSEC(1);
        response(id, FACT_BODYLESS);
        done(id);
        struct fact_end e = an_end();
        e.early = FACT_EARLY_NO;
        ended(id, &e);
        now += MSEC(10);
    }
    wait_for(SEC(2));
    CHECK(!found(FINDING_EARLY_BODY_CLOSE));
    end();
}

TEST(curl_reads_all_it_is_a_process_per_request) {
    begin(SIDE_CLIENT, "curl/7.88.1");
    for (conn_id id = 1; id <= 5; id++) {
        opened(id);
        exchange(id);
        fin(id);
        now += MSEC(50);
    }
    wait_for(SEC(2));
    CHECK(found(FINDING_TRANSPORT_PER_REQUEST));
    CHECK_EQ(n_found(), 1);
    end();
}

TEST(leaks_on_errors_alone_are_told_from_a_full_pool_by_their_status) {
    begin(SIDE_CLIENT, "Go-http-client/1.1");
    opened(1);
    for (conn_id id = 2; id <= 9; id++) {
        status = 200;
        exchange(1); /* one good connection, idle and used all the while */
        opened(id);
        status = 404;
        exchange(id);
        now += MSEC(5);
        fin(id);
        now += MSEC(20);
    }
    status = 200;
    exchange(1);
    wait_for(SEC(3));
    const struct finding *fi = found(FINDING_EARLY_BODY_CLOSE);
    CHECK(fi);
    CHECK(fi && fi->by_status[4] >= 5 && fi->by_status[2] == 0);
    end();
}

TEST(a_reset_after_the_response_by_a_client_that_nobody_knows_proves_nothing) {
    begin(SIDE_CLIENT, NULL);
    size = 5224;
    for (conn_id id = 1; id <= 3; id++) {
        opened(id);
        exchange(id);
        struct fact_end e = an_end();
        e.how = HOW_RST;
        e.local_rst = true;
        e.early = FACT_EARLY_RST_AFTER;
        e.rst_likely = FACT_RST_UNREAD;
        ended(id, &e);
    }
    wait_for(SEC(3));
    nothing();
    end();
}

TEST(a_reset_after_the_response_by_go_is_likely_one) {
    begin(SIDE_CLIENT, "Go-http-client/1.1");
    size = 5224;
    opened(1);
    exchange(1);
    struct fact_end e = an_end();
    e.how = HOW_RST;
    e.local_rst = true;
    e.early = FACT_EARLY_RST_AFTER;
    e.rst_likely = FACT_RST_UNREAD;
    ended(1, &e);
    CHECK(found(FINDING_EARLY_BODY_CLOSE) && found(FINDING_EARLY_BODY_CLOSE)->confidence == CONFIDENCE_LIKELY);
    CHECK(found(FINDING_RST_UNREAD_DATA));
    end();
}

TEST(a_thousand_a_second_are_counted_too) {
    begin(SIDE_CLIENT, "Go-http-client/1.1");
    for (conn_id id = 1; id <= 1000; id++) {
        opened(id);
        request(id, 0);
        response(id, 0);
        done(id);
        now += USEC(500);
        fin(id);
        now += USEC(500);
    }
    wait_for(SEC(2));
    const struct finding *fi = found(FINDING_EARLY_BODY_CLOSE);
    CHECK(fi && fi->count == 1000 && fi->number[NUM_BY_FIN] == 1000 && fi->n_ids == FINDING_IDS);
    CHECK(fi && fi->number[NUM_RECEIVED_BYTES] == 300 && fi->number[NUM_REQUESTS] == 1);
    CHECK_EQ(n_found(), 1);
    end();
}

TEST(what_the_daemon_gives_up_for_its_client_says_so) {
    begin(SIDE_UPSTREAM, NULL);
    size = 5224;
    opened(1), exchange(1), request(1, 0), response(1, 0);
    struct fact_end e = an_end();
    e.reason = REASON_EARLY_CLOSE;
    e.how = HOW_RST;
    e.local_rst = true;
    e.rst = e.rst_likely = FACT_RST_UNREAD;
    e.unread_bytes = 1128;
    e.requests = 2;
    e.early = FACT_EARLY_NO;
    ended(1, &e);
    for (unsigned i = 0; i < 2; i++) {
        const struct finding *fi = found(i ? FINDING_RST_UNREAD_DATA : FINDING_EARLY_BODY_CLOSE);
        CHECK(fi && fi->observer_effect && fi->number[NUM_UNREAD_BYTES] == 1128 && fi->number[NUM_RECEIVED_BYTES] == 5224);
        if (!i) CHECK(fi && fi->number[NUM_REQUESTS] == 2 && fi->number[NUM_REUSED] == 1);
    }
    end();
}

TEST(a_full_pool_that_closes_after_errors_too_is_no_matter_of_status) {
    begin(SIDE_CLIENT, "Go-http-client/1.1");
    conn_id next = 3;
    opened(1), opened(2);
    for (unsigned r = 0; r < 6; r++) {
        conn_id first = next;
        for (; next < first + 6; next++) opened(next), request(next, 0);
        request(1, 0), request(2, 0);
        now += MSEC(10);
        for (conn_id id = 1; id <= 2; id++) status = 404, response(id, 0), done(id);
        for (conn_id id = first; id < next; id++) status = id & 1 ? 404 : 200, response(id, 0), done(id), fin(id);
        wait_for(MSEC(500));
    }
    findings_end(f, now);
    CHECK(found(FINDING_IDLE_CAP_CHURN) && found(FINDING_IDLE_CAP_CHURN)->count == 36);
    CHECK_EQ(n_found(), 1);
    end();
}

/* ---- held ---- */

static void leak_some(unsigned n) {
    for (conn_id id = 1; id <= n; id++) {
        opened(id);
        exchange(id);
        wait_for(SEC(1));
    }
}

TEST(small_leaks_and_a_transport_per_request_look_the_same_and_both_are_named) {
    begin(SIDE_DOWNSTREAM, "Go-http-client/1.1");
    leak_some(10);
    nothing(); /* too early */
    wait_for(SEC(30));
    const struct finding *a = found(FINDING_BODY_NOT_CLOSED), *b = found(FINDING_TRANSPORT_PER_REQUEST);
    CHECK(a && b);
    CHECK(a && a->ambiguous >> FINDING_TRANSPORT_PER_REQUEST & 1);
    CHECK(b && b->ambiguous >> FINDING_BODY_NOT_CLOSED & 1);
    CHECK_EQ(a ? a->confidence : 9, CONFIDENCE_SUSPECTED);
    CHECK_EQ(a ? a->number[NUM_HELD] : 0, 10);
    CHECK_EQ(a ? a->count : 0, 10);
    CHECK_EQ(b ? b->count : 0, 10); /* once each, however often it is looked at */
    CHECK_EQ(a ? a->number[NUM_OPENS_SINCE] : 0, 9);
    CHECK_EQ(findings_held(f), 10);
    end();
}

TEST(it_resolves_when_the_connections_are_gone) {
    begin(SIDE_DOWNSTREAM, "Go-http-client/1.1");
    leak_some(10);
    wait_for(SEC(30));
    CHECK_EQ(findings_open_of(f, FINDING_BODY_NOT_CLOSED), 1);
    for (conn_id id = 1; id <= 10; id++) fin(id);
    wait_for(SEC(1));
    CHECK_EQ(findings_open_of(f, FINDING_BODY_NOT_CLOSED), 0);
    CHECK(found(FINDING_BODY_NOT_CLOSED)->resolved_ns != 0);
    CHECK_EQ(found(FINDING_BODY_NOT_CLOSED)->number[NUM_HELD], 0);
    CHECK_EQ(findings_held(f), 0);
    struct finding_change c;
    unsigned raised = 0, cleared = 0;
    while (findings_next_change(f, &c)) c.raised ? raised++ : cleared++;
    CHECK_EQ(raised, 2);
    CHECK_EQ(cleared, 2);
    end();
}

static void socket_of(conn_id id, uint64_t recv_q) {
    struct fact_socket k = {.recv_q = recv_q, .send_q = 0, .pid = 4711, .comm = "checkout"};
    struct fact fact = fact_of(id, FACT_SOCKET);
    fact.socket = &k;
    say(fact);
}

TEST(unread_bytes_in_the_clients_socket_confirm_a_leak) {
    begin(SIDE_DOWNSTREAM, "Go-http-client/1.1");
    size = 70000;
    leak_some(3);
    struct suspect s[8];
    CHECK_EQ(findings_suspects(f, now, s, 8), 2); /* nothing was opened after the third */
    CHECK_EQ(s[0].conn, 1);
    socket_of(1, 67000);
    socket_of(2, 67000);
    wait_for(SEC(31));
    const struct finding *fi = found(FINDING_BODY_NOT_CLOSED);
    CHECK(fi && fi->confidence == CONFIDENCE_CONFIRMED);
    CHECK(fi && fi->number[NUM_RECV_Q] == 134000 && fi->number[NUM_PID] == 4711);
    CHECK(fi && !strcmp(fi->comm, "checkout"));
    CHECK(!found(FINDING_TRANSPORT_PER_REQUEST));
    end();
}

TEST(empty_sockets_and_large_bodies_leave_a_transport_per_request) {
    begin(SIDE_DOWNSTREAM, "Go-http-client/1.1");
    size = 70000;
    leak_some(6);
    for (conn_id id = 1; id <= 6; id++) socket_of(id, 0);
    wait_for(SEC(31));
    CHECK(!found(FINDING_BODY_NOT_CLOSED));
    const struct finding *fi = found(FINDING_TRANSPORT_PER_REQUEST);
    CHECK(fi && fi->confidence == CONFIDENCE_LIKELY && fi->number[NUM_CONNECTIONS] == 6);
    end();
}

TEST(a_few_more_bytes_do_not_end_a_stall) {
    begin(SIDE_DOWNSTREAM, "Go-http-client/1.1");
    size = 5 << 20;
    for (conn_id id = 1; id <= 3; id++) {
        opened(id);
        request(id, 0);
        response(id, 0);
        say(fact_of(id, FACT_BLOCKED));
        wait_for(SEC(1));
    }
    for (conn_id id = 1; id <= 3; id++) {
        say(fact_of(id, FACT_FLOWING));
        now += MSEC(1);
        say(fact_of(id, FACT_BLOCKED));
    }
    wait_for(SEC(31));
    const struct finding *fi = found(FINDING_BODY_NOT_CLOSED);
    CHECK_EQ(fi ? fi->number[NUM_HELD] : 0, 3);
    for (conn_id id = 1; id <= 3; id++) {
        say(fact_of(id, FACT_FLOWING));
        say(fact_of(id, FACT_BLOCKED));
    }
    wait_for(SEC(31));
    CHECK_EQ(fi ? fi->count : 0, 3); /* each response once */
    end();
}

TEST(who_reads_and_rests_is_not_held) {
    begin(SIDE_DOWNSTREAM, "Go-http-client/1.1");
    size = 5 << 20;
    for (conn_id id = 1; id <= 3; id++) {
        opened(id);
        request(id, 0);
        response(id, 0);
        say(fact_of(id, FACT_BLOCKED));
        wait_for(SEC(1));
    }
    for (conn_id id = 1; id <= 3; id++) say(fact_of(id, FACT_FLOWING));
    wait_for(SEC(2));
    for (conn_id id = 1; id <= 3; id++) say(fact_of(id, FACT_BLOCKED));
    wait_for(SEC(31));
    CHECK(!found(FINDING_BODY_NOT_CLOSED));
    end();
}

TEST(what_has_no_body_cannot_be_left_unread) {
    begin(SIDE_DOWNSTREAM, "Go-http-client/1.1");
    for (conn_id id = 1; id <= 8; id++) {
        opened(id);
        request(id, 0);
        response(id, FACT_BODYLESS);
        done(id);
        wait_for(SEC(1));
    }
    wait_for(SEC(31));
    CHECK(!found(FINDING_BODY_NOT_CLOSED));
    CHECK(found(FINDING_TRANSPORT_PER_REQUEST));
    end();
}

TEST(bytes_that_do_not_leave_us_are_a_leak_too) {
    begin(SIDE_DOWNSTREAM, "Go-http-client/1.1");
    size = 5 << 20;
    for (conn_id id = 1; id <= 3; id++) {
        opened(id);
        request(id, 0);
        response(id, 0);
        say(fact_of(id, FACT_BLOCKED));
        wait_for(SEC(1));
    }
    wait_for(SEC(31));
    const struct finding *fi = found(FINDING_BODY_NOT_CLOSED);
    CHECK(fi && fi->confidence == CONFIDENCE_CONFIRMED);
    CHECK(found(FINDING_SLOW_READER));
    end();
}

/* ---- the pool's size ---- */

static void churn(unsigned rounds) {
    conn_id next = 3;
    opened(1);
    opened(2);
    for (unsigned r = 0; r < rounds; r++) {
        conn_id first = next;
        for (; next < first + 6; next++) opened(next), request(next, 0);
        request(1, 0);
        request(2, 0);
        now += MSEC(10);
        for (conn_id id = 1; id <= 2; id++) response(id, 0), done(id);
        now += MSEC(1);
        for (conn_id id = first; id < next; id++) response(id, 0), done(id), now += USEC(200), fin(id);
        wait_for(MSEC(500));
    }
}

TEST(a_full_idle_pool_is_told_from_early_closes_by_the_connections_that_were_kept) {
    begin(SIDE_CLIENT, "Go-http-client/1.1");
    churn(5);
    findings_end(f, now);
    const struct finding *fi = found(FINDING_IDLE_CAP_CHURN);
    CHECK(fi);
    CHECK_EQ(fi ? fi->count : 0, 30);
    CHECK_EQ(fi ? fi->number[NUM_SUFFICIENT] : 0, 8);
    CHECK_EQ(n_found(), 1);
    end();
}

/* Eight at a time, of which two connections are kept; then `again` of the six are dialed again, as fast that the kept
 * ones are asked only after that. */
static void burst_and_again(unsigned again) {
    for (conn_id id = 1; id <= 8; id++) opened(id), request(id, 0);
    now += MSEC(10);
    for (conn_id id = 1; id <= 8; id++) response(id, 0), done(id);
    now += MSEC(1);
    for (conn_id id = 3; id <= 8; id++) fin(id);
    wait_for(MSEC(1300));
    for (conn_id id = 9; id < 9 + again; id++) opened(id);
    now += MSEC(1);
    request(1, 0);
    request(2, 0);
    for (conn_id id = 9; id < 9 + again; id++) request(id, 0);
    wait_for(SEC(3));
}

TEST(what_was_dialed_again_before_a_close_was_understood_counts) {
    begin(SIDE_DOWNSTREAM, "Go-http-client/1.1");
    burst_and_again(6);
    const struct finding *fi = found(FINDING_IDLE_CAP_CHURN);
    CHECK_EQ(fi ? fi->count : 0, 6);
    CHECK_EQ(fi ? fi->number[NUM_REDIALS] : 0, 6);
    end();
}

TEST(one_new_connection_does_not_replace_six) {
    begin(SIDE_DOWNSTREAM, "Go-http-client/1.1");
    burst_and_again(1);
    nothing();
    end();
}

TEST(the_daemons_own_evictions_are_known_and_the_limit_is_learned) {
    begin(SIDE_UPSTREAM, NULL);
    for (conn_id id = 1; id <= 8; id++) {
        opened(id);
        request(id, 0);
        response(id, 0);
        done(id);
        struct fact_end e = an_end();
        e.reason = REASON_TOO_MANY_IDLE_HOST;
        e.early = FACT_EARLY_NO;
        ended(id, &e);
        now += MSEC(1);
    }
    const struct finding *fi = found(FINDING_IDLE_CAP_CHURN);
    CHECK(fi && fi->confidence == CONFIDENCE_CONFIRMED && fi->subject->side == SIDE_UPSTREAM);
    struct origin_facts o;
    CHECK(findings_origin(f, "api.test", &o));
    CHECK_EQ(o.sufficient_idle, 1);
    end();
}

static void as_a_forward_proxy(void) {
    struct findings_conf conf = FINDINGS_CONF_DEFAULT;
    findings_set_conf(f, &conf);
}

TEST(who_keeps_no_connection_to_a_proxy_has_no_limit_of_them) {
    begin(SIDE_DOWNSTREAM, "Python/3.11 aiohttp/3.8.4");
    as_a_forward_proxy();
    burst_and_again(6);
    CHECK(!found(FINDING_IDLE_CAP_CHURN));
    CHECK(found(FINDING_EARLY_BODY_CLOSE) && found(FINDING_EARLY_BODY_CLOSE)->severity == SEVERITY_INFO);
    end();
}

TEST(eight_hosts_through_a_proxy_churn_and_directly_would_not) {
    static const char *const hosts[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    begin(SIDE_DOWNSTREAM, "Go-http-client/1.1");
    as_a_forward_proxy();
    conn_id next = 3;
    opened(1), opened(2);
    for (int round = 0; round < 5; round++) {
        conn_id first = next;
        for (int i = 0; i < 8; i++) {
            host = hosts[i];
            conn_id id = i < 2 ? (conn_id)i + 1 : next++;
            if (i >= 2) opened(id);
            request(id, 0);
        }
        now += MSEC(10);
        for (conn_id id = 1; id <= 2; id++) response(id, 0), done(id);
        now += MSEC(1);
        for (conn_id id = first; id < next; id++) response(id, 0), done(id), fin(id);
        wait_for(MSEC(500));
    }
    const struct finding *fi = found(FINDING_IDLE_CAP_CHURN);
    CHECK(fi && fi->severity == SEVERITY_INFO && fi->observer_effect != NULL);
    CHECK(fi && fi->number[NUM_HOSTS] == 8 && fi->number[NUM_DIRECT_DIALS] == 8);
    CHECK_EQ(fi ? fi->number[NUM_PEAK_ACTIVE] : 0, 8);
    end();
}

static void fin_after_each(unsigned n) {
    for (conn_id id = 1; id <= n; id++) {
        opened(id);
        exchange(id);
        fin(id);
        now += MSEC(10);
    }
    wait_for(SEC(2));
}

TEST(aiohttp_closes_to_proxies_of_itself) {
    begin(SIDE_DOWNSTREAM, "Python/3.11 aiohttp/3.8.4");
    as_a_forward_proxy();
    fin_after_each(5);
    const struct finding *fi;
    CHECK(n_found() > 0);
    for (size_t i = 0; (fi = findings_get(f, i)); i++) CHECK(fi->severity == SEVERITY_INFO && fi->observer_effect);
    end();
    begin(SIDE_CLIENT, "Python/3.11 aiohttp/3.8.4"); /* and to nobody else */
    fin_after_each(5);
    CHECK(found(FINDING_TRANSPORT_PER_REQUEST) && found(FINDING_TRANSPORT_PER_REQUEST)->severity == SEVERITY_WARNING);
    CHECK(found(FINDING_EARLY_BODY_CLOSE)); /* which looks the same, of so small a body */
    end();
}

static void tls_end(conn_id id, uint32_t sent) {
    struct fact_end e = an_end();
    e.tls = true;
    e.counts_known = false;
    e.requests = e.responses = 0;
    e.tls_sent = sent;
    e.early = FACT_EARLY_UNKNOWN;
    ended(id, &e);
}

TEST(tls_connections_of_one_record_each_one_after_the_other) {
    begin(SIDE_CLIENT, NULL);
    for (conn_id id = 1; id <= 4; id++) opened(id), now += MSEC(20);
    for (conn_id id = 1; id <= 4; id++) tls_end(id, 1);
    const struct finding *fi = found(FINDING_TRANSPORT_PER_REQUEST);
    CHECK(fi && fi->number[NUM_CONNECTIONS] == 4 && fi->number[NUM_REDIALS] == 3);
    end();
    begin(SIDE_CLIENT, NULL); /* a burst, or more than one request */
    for (conn_id id = 1; id <= 4; id++) opened(id);
    for (conn_id id = 1; id <= 4; id++) tls_end(id, 1);
    for (conn_id id = 5; id <= 9; id++) opened(id), now += MSEC(20);
    for (conn_id id = 5; id <= 9; id++) tls_end(id, 5);
    nothing();
    end();
}

static void opaque_reset(conn_id id, bool tls, uint64_t received) {
    struct fact_end e = an_end();
    e.tls = tls;
    e.tls_sent = 1;
    e.how = HOW_RST;
    e.local_rst = true;
    e.early = FACT_EARLY_UNKNOWN;
    e.rst_likely = FACT_RST_UNREAD;
    e.received_bytes = received;
    e.rst_packet = 33;
    opened(id);
    ended(id, &e);
    now += MSEC(30);
}

TEST(a_reset_where_messages_cannot_be_read) {
    begin(SIDE_CLIENT, NULL);
    for (conn_id id = 1; id <= 3; id++) opaque_reset(id, true, 70000);
    const struct finding *fi = found(FINDING_RST_UNREAD_DATA);
    CHECK(fi && fi->confidence == CONFIDENCE_LIKELY && fi->number[NUM_RST_PACKET] == 33);
    CHECK_EQ(n_found(), 1); /* whether a body was given up is not known */
    opaque_reset(4, false, 70000);
    CHECK(found(FINDING_EARLY_BODY_CLOSE) && found(FINDING_EARLY_BODY_CLOSE)->confidence == CONFIDENCE_SUSPECTED);
    end();
    begin(SIDE_CLIENT, NULL);
    opaque_reset(1, true, 3000);
    nothing();
    end();
}

static void in_a_capture(void) {
    begin(SIDE_CLIENT, "Go-http-client/1.1");
    struct findings_conf conf = FINDINGS_CONF_DEFAULT;
    conf.observer = OBSERVER_CAPTURE;
    conf.leak_after_ns = CAPTURE_LEAK_AFTER;
    findings_set_conf(f, &conf);
    size = 5 << 20;
    for (conn_id id = 1; id <= 3; id++) {
        opened(id);
        request(id, 0);
        response(id, 0);
        say(fact_of(id, FACT_BLOCKED));
        wait_for(SEC(1));
    }
}

TEST(who_pauses_in_a_large_body_and_reads_on_leaks_nothing) {
    in_a_capture();
    wait_for(SEC(1));
    for (conn_id id = 1; id <= 3; id++) say(fact_of(id, FACT_FLOWING)), done(id), request(id, 0);
    findings_end(f, now);
    nothing();
    end();
}

TEST(who_has_not_read_on_when_the_capture_ends_may) {
    in_a_capture();
    wait_for(SEC(1));
    nothing();
    findings_end(f, now);
    const struct finding *fi = found(FINDING_BODY_NOT_CLOSED);
    CHECK_EQ(fi ? fi->count : 0, 3);
    end();
}

TEST(a_program_that_ends_with_what_it_held) {
    begin(SIDE_CLIENT, "Go-http-client/1.1");
    struct findings_conf conf = FINDINGS_CONF_DEFAULT;
    conf.leak_after_ns = CAPTURE_LEAK_AFTER;
    findings_set_conf(f, &conf);
    size = 70000;
    for (conn_id id = 1; id <= 3; id++) opened(id), exchange(id), now += MSEC(50);
    now += SEC(1);
    for (conn_id id = 1; id <= 3; id++) {
        struct fact_end e = an_end();
        e.how = HOW_RST;
        e.local_rst = true;
        e.early = FACT_EARLY_RST_AFTER;
        e.rst_likely = FACT_RST_UNREAD;
        ended(id, &e);
    }
    CHECK(found(FINDING_BODY_NOT_CLOSED) && found(FINDING_BODY_NOT_CLOSED)->count == 3);
    CHECK(found(FINDING_RST_UNREAD_DATA) && found(FINDING_RST_UNREAD_DATA)->count == 3);
    CHECK(!found(FINDING_EARLY_BODY_CLOSE)); /* they are counted as what they are */
    end();
}

TEST(in_a_capture_a_full_pool_looks_like_connections_that_never_rest) {
    begin(SIDE_CLIENT, "Go-http-client/1.1");
    opened(1), opened(2);
    for (int i = 0; i < 8; i++) {
        request(1, 0), request(2, 0);
        now += MSEC(60);
        response(1, 0), done(1), response(2, 0), done(2);
        now += USEC(200);
    }
    findings_end(f, now);
    const struct finding *fi = found(FINDING_POOL_WAIT);
    CHECK(fi && fi->severity == SEVERITY_INFO && fi->confidence == CONFIDENCE_SUSPECTED);
    CHECK(fi && fi->count == 14 && fi->number[NUM_OPEN] == 2);
    end();
}

/* ---- who forbids reuse ---- */

static void closing_exchange(conn_id id, uint8_t asked, uint8_t said) {
    opened(id);
    request(id, asked);
    now += MSEC(5);
    response(id, said);
    done(id);
    struct fact_end e = an_end();
    e.by = BY_REMOTE;
    e.early = FACT_EARLY_NO;
    ended(id, &e);
    now += MSEC(50);
}

TEST(requests_that_ask_for_close) {
    begin(SIDE_DOWNSTREAM, "Go-http-client/1.1");
    for (conn_id id = 1; id <= 4; id++) closing_exchange(id, FACT_NO_REUSE, FACT_NO_REUSE);
    wait_for(SEC(3));
    CHECK(found(FINDING_KEEPALIVES_DISABLED));
    CHECK_EQ(n_found(), 1);
    end();
}

TEST(a_close_on_the_last_request_alone_is_good_manners) {
    begin(SIDE_DOWNSTREAM, "ab");
    for (conn_id id = 1; id <= 4; id++) {
        opened(id);
        for (int i = 0; i < 9; i++) exchange(id);
        request(id, FACT_NO_REUSE);
        response(id, FACT_NO_REUSE);
        done(id);
        struct fact_end e = an_end();
        e.by = BY_REMOTE;
        ended(id, &e);
    }
    nothing();
    end();
}

TEST(responses_that_say_close) {
    begin(SIDE_UPSTREAM, NULL);
    for (conn_id id = 1; id <= 4; id++) closing_exchange(id, 0, FACT_NO_REUSE);
    CHECK(found(FINDING_SERVER_DISABLES_KEEPALIVE));
    CHECK_EQ(n_found(), 1);
    end();
}

TEST(every_nth_response_says_close) {
    begin(SIDE_UPSTREAM, NULL);
    for (conn_id id = 1; id <= 3; id++) {
        opened(id);
        for (int i = 0; i < 99; i++) exchange(id);
        request(id, 0);
        response(id, FACT_NO_REUSE);
        done(id);
        struct fact_end e = an_end();
        e.by = BY_REMOTE;
        ended(id, &e);
    }
    const struct finding *fi = found(FINDING_SERVER_LIMITS_REQUESTS);
    CHECK(fi && fi->number[NUM_NTH] == 100 && fi->severity == SEVERITY_INFO);
    end();
}

TEST(http10) {
    begin(SIDE_CLIENT, "old");
    for (conn_id id = 1; id <= 3; id++) closing_exchange(id, FACT_HTTP10, FACT_HTTP10);
    CHECK(found(FINDING_HTTP10_NO_KEEPALIVE));
    CHECK(!found(FINDING_KEEPALIVES_DISABLED));
    end();
}

/* ---- the server's end ---- */

static void idle_end(conn_id id, int64_t idle, enum close_how how) {
    opened(id);
    exchange(id);
    now += idle;
    struct fact_end e = an_end();
    e.by = BY_REMOTE;
    e.how = (uint8_t)how;
    e.early = FACT_EARLY_NO;
    ended(id, &e);
    now += MSEC(100);
}

TEST(a_server_that_closes_idle_connections_and_its_timeout) {
    begin(SIDE_UPSTREAM, NULL);
    for (conn_id id = 1; id <= 5; id++) idle_end(id, SEC(5) + MSEC((int64_t)id), HOW_FIN);
    opened(6);
    const struct finding *fi = found(FINDING_SERVER_CLOSES_IDLE);
    CHECK(fi && fi->number[NUM_IDLE_TIMEOUT_MS] == 5003 && fi->count == 5 && fi->number[NUM_REDIALS] == 5);
    struct origin_facts o;
    CHECK(findings_origin(f, "api.test", &o) && o.idle_observations == 5 && o.idle_timeout_ns == SEC(5) + MSEC(3));
    end();
}

TEST(later_than_our_own_timeout_is_no_news) {
    begin(SIDE_UPSTREAM, NULL);
    for (conn_id id = 1; id <= 5; id++) idle_end(id, SEC(91), HOW_FIN);
    nothing();
    end();
}

TEST(a_server_that_resets_idle_connections) {
    begin(SIDE_UPSTREAM, NULL);
    for (conn_id id = 1; id <= 3; id++) idle_end(id, MSEC(250), HOW_RST);
    CHECK(found(FINDING_SERVER_RESETS_IDLE));
    CHECK(!found(FINDING_SERVER_CLOSES_IDLE));
    end();
}

TEST(a_request_on_a_connection_that_was_just_closing) {
    begin(SIDE_UPSTREAM, NULL);
    opened(1);
    exchange(1);
    now += SEC(5);
    request(1, 0);
    say(fact_of(1, FACT_RETRIED));
    struct fact_end e = an_end();
    e.by = BY_REMOTE;
    e.phase = PHASE_IN_REQUEST;
    e.early = FACT_EARLY_NO;
    ended(1, &e);
    const struct finding *fi = found(FINDING_STALE_REUSE_RACE);
    CHECK(fi && fi->number[NUM_RETRIED] == 1 && fi->number[NUM_FAILED] == 0);
    end();
}

static void broken(conn_id id, struct fact_end e) {
    opened(id);
    request(id, 0);
    response(id, 0);
    e.by = BY_REMOTE;
    ended(id, &e);
}

TEST(broken_responses) {
    begin(SIDE_UPSTREAM, NULL);
    struct fact_end e = an_end();
    e.phase = PHASE_IN_BODY;
    e.body_announced = 5000;
    e.body_read = 3000;
    broken(1, e);
    const struct finding *fi = found(FINDING_TRUNCATED_RESPONSE);
    CHECK(fi && fi->number[NUM_BODY_READ] == 3000 && fi->number[NUM_BODY_ANNOUNCED] == 5000);
    CHECK_EQ(n_found(), 1);
    e.framing = FRAMING_UNTIL_EOF; /* that is how such a body ends */
    broken(2, e);
    CHECK_EQ(found(FINDING_TRUNCATED_RESPONSE)->count, 1);
    e = an_end();
    e.excess_bytes = 500;
    broken(3, e);
    CHECK(found(FINDING_EXCESS_RESPONSE_BYTES) && found(FINDING_EXCESS_RESPONSE_BYTES)->number[NUM_EXCESS_BYTES] == 500);
    e.excess_is_response = true;
    broken(4, e);
    CHECK(found(FINDING_UNSOLICITED_RESPONSE));
    e = an_end();
    e.unread_upload = true;
    broken(5, e);
    CHECK(found(FINDING_EARLY_ERROR_RESPONSE));
    end();
}

/* ---- others ---- */

TEST(clients_that_run_out_of_patience) {
    begin(SIDE_DOWNSTREAM, "Go-http-client/1.1");
    for (conn_id id = 1; id <= 3; id++) {
        opened(id);
        request(id, 0);
        now += MSEC(250);
        struct fact_end e = an_end();
        e.early = FACT_EARLY_NO_RESPONSE;
        e.phase = PHASE_IN_REQUEST;
        ended(id, &e);
    }
    const struct finding *fi = found(FINDING_REQUEST_TIMEOUT);
    CHECK(fi && fi->severity == SEVERITY_WARNING && fi->number[NUM_WAITED_MS] == 250);
    end();
}

TEST(a_program_that_ends_takes_its_requests_with_it) {
    begin(SIDE_DOWNSTREAM, "wrk");
    for (conn_id id = 1; id <= 4; id++) opened(id), request(id, 0);
    now += MSEC(20);
    for (conn_id id = 1; id <= 4; id++) {
        struct fact_end e = an_end();
        e.early = FACT_EARLY_NO_RESPONSE;
        ended(id, &e);
    }
    CHECK(found(FINDING_REQUEST_TIMEOUT) && found(FINDING_REQUEST_TIMEOUT)->severity == SEVERITY_INFO);
    end();
}

TEST(slow_readers) {
    begin(SIDE_DOWNSTREAM, "Go-http-client/1.1");
    opened(1);
    request(1, 0);
    response(1, 0);
    say(fact_of(1, FACT_BLOCKED));
    wait_for(SEC(9));
    say(fact_of(1, FACT_FLOWING));
    nothing();
    say(fact_of(1, FACT_BLOCKED));
    wait_for(SEC(11));
    const struct finding *fi = found(FINDING_SLOW_READER);
    CHECK(fi && fi->count == 1 && fi->number[NUM_BLOCKED_MS] >= 10000);
    end();
}

TEST(waiting_for_the_pool) {
    begin(SIDE_UPSTREAM, NULL);
    opened(1);
    for (int i = 0; i < 3; i++) {
        exchange(1);
        struct fact fact = fact_of(1, FACT_WAITED);
        fact.flags = FACT_LIMITED;
        fact.bytes = (uint64_t)MSEC(60);
        say(fact);
    }
    const struct finding *fi = found(FINDING_POOL_WAIT);
    CHECK(fi && fi->count == 3 && fi->number[NUM_WAIT_MAX_MS] == 60);
    end();
}

TEST(dials_that_fail) {
    begin(SIDE_UPSTREAM, NULL);
    static const uint8_t causes[] = {DIAL_CAUSE_REFUSED, DIAL_CAUSE_UNRESOLVED, DIAL_CAUSE_TIMEOUT, DIAL_CAUSE_TLS};
    for (conn_id id = 1; id <= 4; id++) {
        opened(id);
        struct fact fact = fact_of(id, FACT_DIAL_FAILED);
        fact.cause = causes[id - 1];
        say(fact);
        struct fact_end e = an_end();
        e.stood = false;
        ended(id, &e);
    }
    CHECK(found(FINDING_CONNECTION_REFUSED) && found(FINDING_CONNECTION_REFUSED)->count == 1);
    const struct finding *fi = found(FINDING_DIAL_FAILURES);
    CHECK(fi && fi->count == 3 && fi->number[NUM_UNRESOLVED] == 1 && fi->number[NUM_TIMED_OUT] == 1);
    end();
}

TEST(more_dials_than_the_port_range_bears) {
    begin(SIDE_UPSTREAM, NULL);
    conn_id id = 0;
    for (int i = 0; i < 11 * 1000; i++) {
        opened(++id);
        request(id, 0);
        response(id, 0);
        done(id);
        struct fact_end e = an_end();
        e.reason = REASON_RESPONSE_CLOSE;
        ended(id, &e);
        now += MSEC(1);
    }
    const struct finding *fi = found(FINDING_DIAL_STORM);
    CHECK(fi && fi->number[NUM_DIALS_PER_S] == 1000 && fi->number[NUM_PORTS_LEFT_S] == 28);
    end();
}

TEST(many_small_tunnels_to_one_host) {
    begin(SIDE_DOWNSTREAM, "Go-http-client/1.1");
    size = 4000;
    for (conn_id id = 1; id <= 12; id++) {
        opened(id);
        request(id, 0);
        response(id, FACT_BODYLESS);
        say(fact_of(id, FACT_OPAQUE));
        now += MSEC(30);
        struct fact_end e = an_end();
        e.early = FACT_EARLY_NO;
        ended(id, &e);
        now += MSEC(30);
    }
    const struct finding *fi = found(FINDING_TUNNEL_CHURN);
    CHECK(fi && fi->number[NUM_MEAN_BYTES] == 4000);
    end();
}

TEST(findings_resolve_when_their_window_is_over_and_come_back_as_the_same) {
    begin(SIDE_CLIENT, "Go-http-client/1.1");
    opened(1), request(1, 0), response(1, 0), rst_in_body(1, 10);
    uint64_t id = found(FINDING_EARLY_BODY_CLOSE)->id;
    wait_for(SEC(299));
    CHECK_EQ(findings_open(f), 2);
    wait_for(SEC(2));
    CHECK_EQ(findings_open(f), 0);
    opened(2), request(2, 0), response(2, 0), rst_in_body(2, 10);
    CHECK_EQ(findings_open(f), 2);
    CHECK_EQ(found(FINDING_EARLY_BODY_CLOSE)->id, id);
    CHECK_EQ(found(FINDING_EARLY_BODY_CLOSE)->count, 2);
    CHECK(findings_find(f, id) != NULL);
    end();
}

TEST(clients_are_told_apart) {
    begin(SIDE_DOWNSTREAM, "Go-http-client/1.1");
    opened(1), request(1, 0), response(1, 0), rst_in_body(1, 10);
    agent = "python-requests/2";
    opened(2), request(2, 0), response(2, 0), rst_in_body(2, 10);
    CHECK_EQ(findings_open_of(f, FINDING_EARLY_BODY_CLOSE), 2);
    end();
}

TEST(more_subjects_than_there_is_room_for_push_out_the_oldest) {
    char name[32];
    begin(SIDE_UPSTREAM, NULL);
    for (conn_id id = 1; id <= 10000; id++) {
        snprintf(name, sizeof name, "h%u.test:80", (unsigned)id);
        host = name;
        opened(id);
        exchange(id);
        struct fact_end e = an_end();
        e.by = BY_REMOTE;
        e.phase = PHASE_IN_BODY;
        ended(id, &e);
    }
    CHECK(n_found() <= 4096);
    CHECK(n_found() >= 4000);
    end();
}

/* Two captures of different days read as one: an end is understood when the second begins. */
TEST(a_subject_stays_as_long_as_an_end_of_its_connections_is_not_understood) {
    begin(SIDE_CLIENT, "Go-http-client/1.1");
    opened(1);
    exchange(1);
    struct fact fact = fact_of(1, FACT_ENDING);
    struct fact_end e = an_end();
    fact.by = BY_LOCAL;
    fact.how = HOW_FIN;
    say(fact);
    now += SEC(86400);
    findings_tick(f, now);
    fact = fact_of(1, FACT_CLOSED);
    fact.end = &e;
    say(fact);
    end();
}

TEST(facts_about_nobody_are_ignored) {
    begin(SIDE_CLIENT, NULL);
    for (int kind = FACT_REQUEST; kind < N_FACTS; kind++) say(fact_of(77, (enum fact_kind)kind));
    opened(1);
    opened(1);
    done(1);
    say(fact_of(1, FACT_BLOCKED));
    fin(1);
    nothing();
    end();
}

int main(void) {
    return tap_run();
}

/* The rules, one behaviour each, on a clock that is a variable: what is healthy, what servers do, dials, limits, time.
 */
#include "finding_fixture.h"

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
    static const int64_t timeouts[] = {SEC(1), SEC(4)}; /* a hasty one, and undici's */
    for (unsigned i = 0; i < 2; i++) {
        begin(SIDE_CLIENT, NULL);
        for (conn_id id = 1; id <= 10; id++) {
            opened(id);
            exchange(id);
            wait_for(timeouts[i]);
            fin(id);
        }
        wait_for(SEC(3));
        nothing();
        end();
    }
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

TEST(probes_now_and_then_are_told_and_no_more) {
    for (unsigned i = 0; i < 4; i++) {
        uint8_t asked = i < 2 ? FACT_NO_REUSE : FACT_HTTP10;
        begin(SIDE_CLIENT, "kube-probe/1.27");
        for (conn_id id = 1; id <= 20; id++) closing_exchange(id, asked, asked), now += i & 1 ? MSEC(200) : SEC(3);
        CHECK_EQ(n_found(), 1);
        const struct finding *fi = findings_get(f, 0);
        CHECK(fi && fi->severity == (i & 1 ? SEVERITY_WARNING : SEVERITY_INFO) && fi->count == 20);
        end();
    }
}

TEST(what_is_said_to_a_client_that_has_left_is_no_fault) {
    begin(SIDE_CLIENT, "Go-http-client/1.1");
    for (conn_id id = 1; id <= 4; id++) {
        struct fact_end e = an_end();
        e.early = FACT_EARLY_NO_RESPONSE;
        opened(id);
        request(id, 0);
        now += MSEC(300);
        ending(id, &e);
        now += MSEC(1);
        response(id, FACT_NO_REUSE);
        done(id);
        closed(id, &e);
    }
    CHECK(found(FINDING_REQUEST_TIMEOUT));
    CHECK_EQ(n_found(), 1);
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
    CHECK(found(FINDING_EXCESS_RESPONSE_BYTES) &&
          found(FINDING_EXCESS_RESPONSE_BYTES)->number[NUM_EXCESS_BYTES] == 500);
    e.excess_is_response = true;
    broken(4, e);
    CHECK(found(FINDING_UNSOLICITED_RESPONSE));
    e = an_end();
    e.unread_upload = true;
    broken(5, e); /* answered early, and well */
    CHECK(!found(FINDING_EARLY_ERROR_RESPONSE));
    status = 413;
    broken(6, e);
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

TEST(who_reads_slowly_and_steadily_is_told_and_no_more) {
    begin(SIDE_CLIENT, "curl/7.88.1");
    opened(1);
    request(1, 0);
    response(1, 0);
    for (int i = 0; i < 20; i++) { /* --limit-rate: 18 s in all, and never 10 */
        say(fact_of(1, FACT_BLOCKED));
        wait_for(MSEC(900));
        say(fact_of(1, FACT_FLOWING));
        now += MSEC(100);
    }
    done(1);
    struct fact_end e = an_end();
    e.zero_window_ns = SEC(18);
    ended(1, &e);
    wait_for(SEC(3));
    const struct finding *fi = found(FINDING_SLOW_READER);
    CHECK(fi && fi->severity == SEVERITY_INFO && fi->count == 1 && fi->number[NUM_BLOCKED_MS] == 900);
    CHECK_EQ(n_found(), 1);
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

/* 5,000 in a second, then one much later: 500 in each of ten seconds they were not. */
TEST(a_burst_of_dials_before_a_long_pause_is_no_storm) {
    begin(SIDE_UPSTREAM, NULL);
    for (conn_id id = 1; id <= 5001; id++) {
        if (id == 5001) now += SEC(600);
        opened(id);
        exchange(id);
        struct fact_end e = an_end();
        e.reason = REASON_RESPONSE_CLOSE;
        ended(id, &e);
        now -= MSEC(10) - USEC(200);
    }
    CHECK(!found(FINDING_DIAL_STORM));
    end();
}

static void small_tunnels(unsigned hosts) {
    static const char *const names[] = {"a:443", "b:443", "c:443", "d:443"};
    begin(SIDE_DOWNSTREAM, "Go-http-client/1.1");
    size = 4000;
    for (conn_id id = 1; id <= 12; id++) {
        host = names[id % hosts];
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
}

TEST(many_small_tunnels_to_one_host) {
    small_tunnels(1);
    const struct finding *fi = found(FINDING_TUNNEL_CHURN);
    CHECK(fi && fi->number[NUM_MEAN_BYTES] == 4000 && fi->severity == SEVERITY_WARNING);
    end();
}

TEST(small_tunnels_to_several_hosts_have_nothing_to_reuse) {
    small_tunnels(4);
    nothing();
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

static void a_leak_that_is_over(enum observer observer) {
    struct findings_conf conf = FINDINGS_CONF_DEFAULT;
    begin(SIDE_CLIENT, "Go-http-client/1.1");
    conf.observer = observer;
    findings_set_conf(f, &conf);
    for (conn_id id = 1; id <= 4; id++) {
        opened(id), request(id, 0), response(id, 0), say(fact_of(id, FACT_BLOCKED));
        wait_for(SEC(1));
    }
    wait_for(SEC(31));
    for (conn_id id = 1; id <= 4; id++) rst_in_body(id, 10);
    wait_for(SEC(2));
}

TEST(the_cause_comes_before_what_it_left_behind) {
    a_leak_that_is_over(OBSERVER_CAPTURE);
    CHECK_EQ(findings_get(f, 0)->kind, FINDING_BODY_NOT_CLOSED);
    CHECK_EQ(findings_get(f, 1)->kind, FINDING_RST_UNREAD_DATA);
    end();
    a_leak_that_is_over(OBSERVER_DAEMON); /* there, what goes on comes first */
    CHECK(!findings_get(f, 0)->resolved_ns);
    end();
}

TEST(what_becomes_graver_is_told_again) {
    struct finding_change c;
    begin(SIDE_DOWNSTREAM, "Go-http-client/1.1");
    for (conn_id id = 1; id <= 3; id++) closing_exchange(id, FACT_NO_REUSE, FACT_NO_REUSE);
    CHECK(findings_next_change(f, &c) && c.raised && findings_find(f, c.id)->severity == SEVERITY_INFO);
    CHECK(!findings_next_change(f, &c));
    for (conn_id id = 4; id <= 6; id++) closing_exchange(id, FACT_NO_REUSE, FACT_NO_REUSE);
    CHECK(findings_next_change(f, &c) && c.raised && findings_find(f, c.id)->severity == SEVERITY_WARNING);
    CHECK(!findings_next_change(f, &c));
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

/* A client that calls itself something else with each request, as crawlers and attackers do. */
TEST(names_made_up_push_out_nobody_s_findings) {
    char name[32];
    struct finding_change change;
    begin(SIDE_DOWNSTREAM, "Go-http-client/1.1");
    conn_id id = 1;
    for (unsigned i = 0; i < 300; i++, id++) {
        snprintf(name, sizeof name, "leaking/%u", i);
        agent = name;
        opened(id), request(id, 0), response(id, 0), rst_in_body(id, 10);
    }
    unsigned all = findings_open_of(f, FINDING_EARLY_BODY_CLOSE);
    CHECK_EQ(all, 300);
    for (unsigned i = 0; i < 10000; i++, id++) {
        snprintf(name, sizeof name, "made-up/%u", i);
        agent = name;
        opened(id), exchange(id);
        struct fact_end e = an_end();
        e.by = BY_REMOTE;
        ended(id, &e);
        now -= MSEC(10);
    }
    CHECK_EQ(findings_open_of(f, FINDING_EARLY_BODY_CLOSE), all);
    while (findings_next_change(f, &change))
        CHECK(findings_find(f, change.id) && findings_find(f, change.id)->id == change.id);
    CHECK(!findings_find(f, 0) && !findings_find(f, 100000));
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

/* The rules about how clients end connections: bodies given up, pools too small, sessions that nobody uses again. */
#include "finding_fixture.h"

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

static void curl_every(int64_t ns, unsigned times, enum severity severity) {
    begin(SIDE_CLIENT, "curl/7.88.1");
    for (conn_id id = 1; id <= times; id++) {
        opened(id);
        exchange(id);
        fin(id);
        wait_for(ns);
    }
    wait_for(SEC(2));
    const struct finding *fi = found(FINDING_TRANSPORT_PER_REQUEST);
    CHECK(fi && fi->severity == severity && fi->count == times);
    CHECK_EQ(n_found(), 1);
    end();
}

TEST(curl_reads_all_it_is_a_process_per_request) {
    curl_every(MSEC(50), 5, SEVERITY_WARNING);
}

TEST(a_call_now_and_then_is_told_and_no_more) {
    curl_every(SEC(3), 20, SEVERITY_INFO);  /* a health check */
    curl_every(MSEC(50), 3, SEVERITY_INFO); /* a script */
}

/* Connections of several requests each, that end at once after the last. */
static void sessions(unsigned n, uint16_t last_status) {
    begin(SIDE_CLIENT, "python-requests/2.28.1");
    for (conn_id id = 1; id <= n; id++) {
        opened(id);
        for (int i = 0; i < 5; i++) exchange(id), now += MSEC(20);
        status = last_status;
        exchange(id);
        status = 200;
        fin(id);
        wait_for(MSEC(200));
    }
    wait_for(SEC(2));
}

TEST(who_used_a_connection_again_reads_bodies_and_ends_a_session_with_it) {
    sessions(12, 200);
    nothing();
    wait_for(SEC(600));
    nothing();
    end();
}

TEST(connections_that_end_with_errors_alone_show_what_is_done_with_errors) {
    sessions(12, 404);
    const struct finding *fi = found(FINDING_EARLY_BODY_CLOSE);
    CHECK(fi && fi->count == 12 && fi->by_status[4] == 12 && fi->by_status[2] == 0 && !fi->ambiguous);
    CHECK(fi && fi->confidence == CONFIDENCE_LIKELY && fi->number[NUM_REDIALS] == 11);
    CHECK_EQ(n_found(), 1);
    end();
}

TEST(a_client_that_nobody_knows_may_close_bodies_or_make_clients) {
    begin(SIDE_CLIENT, NULL);
    for (conn_id id = 1; id <= 8; id++) opened(id), exchange(id), fin(id), wait_for(MSEC(100));
    wait_for(SEC(2));
    const struct finding *a = found(FINDING_EARLY_BODY_CLOSE), *b = found(FINDING_TRANSPORT_PER_REQUEST);
    CHECK(a && a->severity == SEVERITY_WARNING && a->ambiguous >> FINDING_TRANSPORT_PER_REQUEST & 1);
    CHECK(b && b->severity == SEVERITY_INFO && b->ambiguous >> FINDING_EARLY_BODY_CLOSE & 1);
    end();
}

TEST(a_fin_at_the_end_of_a_program_is_not_one_more_of_what_resets_prove) {
    begin(SIDE_CLIENT, "Go-http-client/1.1");
    for (conn_id id = 1; id <= 6; id++)
        size = 70000, opened(id), request(id, 0), response(id, 0), rst_in_body(id, 1000);
    size = 300;
    opened(7), exchange(7), fin(7);
    wait_for(SEC(2));
    findings_end(f, now);
    const struct finding *fi = found(FINDING_EARLY_BODY_CLOSE);
    CHECK(fi && fi->count == 6 && !fi->ambiguous && !(fi->known >> NUM_BY_FIN & 1));
    end();
}

/* The client's FIN in the middle of a body, so long after its head. */
static const struct finding *left_in_body(int64_t after, enum body_framing framing) {
    begin(SIDE_CLIENT, "Go-http-client/1.1");
    for (conn_id id = 1; id <= 4; id++) {
        struct fact_end e = an_end();
        e.early = FACT_EARLY_IN_BODY;
        e.phase = PHASE_IN_BODY;
        e.framing = (uint8_t)framing;
        if (framing != FRAMING_LENGTH) e.body_announced = UNKNOWN_BYTES;
        e.body_read = 50;
        opened(id);
        request(id, 0);
        response(id, 0);
        now += after;
        ended(id, &e);
    }
    CHECK_EQ(n_found(), 1);
    return found(FINDING_EARLY_BODY_CLOSE);
}

TEST(who_leaves_while_it_waits_for_more_of_a_body_may_have_run_out_of_patience) {
    const struct finding *fi = left_in_body(MSEC(500), FRAMING_LENGTH);
    CHECK(fi && fi->severity == SEVERITY_WARNING && fi->confidence == CONFIDENCE_CONFIRMED);
    CHECK(fi && fi->ambiguous >> FINDING_REQUEST_TIMEOUT & 1 && fi->number[NUM_WAITED_FOR_MORE] == 4);
    end();
    fi = left_in_body(MSEC(20), FRAMING_LENGTH);
    CHECK(fi && fi->severity == SEVERITY_WARNING && !fi->ambiguous && !(fi->known >> NUM_WAITED_FOR_MORE & 1));
    end();
}

TEST(a_stream_has_no_other_end_than_its_client_leaving) {
    const struct finding *fi = left_in_body(SEC(60), FRAMING_CHUNKED);
    CHECK(fi && fi->severity == SEVERITY_INFO && fi->number[NUM_STREAMS] == 4);
    end();
    fi = left_in_body(MSEC(20), FRAMING_CHUNKED);
    CHECK(fi && fi->severity == SEVERITY_WARNING);
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
    wait_for(SEC(1));
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
        CHECK(fi && fi->observer_effect && fi->number[NUM_UNREAD_BYTES] == 1128 &&
              fi->number[NUM_RECEIVED_BYTES] == 5224);
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

TEST(of_a_capture_the_records_come_late_and_what_explains_them_does_not) {
    struct fact_end e = an_end();
    conn_id next = 3;
    begin(SIDE_CLIENT, "Go-http-client/1.1");
    opened(1), opened(2);
    for (unsigned r = 0; r < 20; r++) {
        conn_id first = next;
        for (; next < first + 6; next++) opened(next), request(next, 0);
        request(1, 0), request(2, 0);
        now += MSEC(10);
        for (conn_id id = 1; id <= 2; id++) response(id, 0), done(id);
        for (conn_id id = first; id < next; id++) response(id, 0), done(id), ending(id, &e);
        wait_for(MSEC(100));
    }
    int64_t last = now;
    wait_for(SEC(5));
    for (conn_id id = 3; id < next; id++) closed(id, &e);
    findings_end(f, now);
    const struct finding *fi = found(FINDING_IDLE_CAP_CHURN);
    CHECK(fi && fi->count == 120 && fi->number[NUM_REDIALS] == 114);
    CHECK(fi && fi->last_ns < last && fi->number[NUM_SUFFICIENT] == 8);
    CHECK_EQ(n_found(), 1);
    end();
}

TEST(sessions_side_by_side_that_end_one_after_the_other_fill_no_limit) {
    begin(SIDE_DOWNSTREAM, "python-requests/2.28.1");
    conn_id id[4] = {1, 2, 3, 4}, next = 5;
    for (int k = 0; k < 4; k++) opened(id[k]);
    for (int turn = 1; turn <= 60; turn++) { /* four threads, each with sessions of its own, of six requests each */
        for (int k = 0; k < 4; k++) {
            exchange(id[k]);
            now += MSEC(60);
            if ((turn + k) % 6) continue;
            fin(id[k]);
            now += MSEC(5);
            opened(id[k] = next++);
        }
    }
    wait_for(SEC(3));
    nothing();
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
    e.requests = 0;
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

int main(void) {
    return tap_run();
}

/* Test vectors T102 to T127, T141 and T142: connections that fail, requests that are sent again,
 * uploads, 1xx and 101, and the timeouts. */
#include "vectors.h"

#define OK "HTTP/1.1 200 OK\r\n"

/* ---- section 7.1: retries ---- */

/* A GET leaves one pooled connection behind; the next request meets `answer` on it. */
static void pooled(struct serve answer) {
    static struct serve answers[3];
    answers[0] = (struct serve)ANSWER(SEND(0, CL5));
    answers[1] = answer;
    answers[2] = answers[0];
    begin(&(const struct sim_conf){0}, answers, 3);
    GET_FULL();
}
#define POOLED(...) pooled((struct serve)ANSWER(__VA_ARGS__))

#define RETRIED     "D2 Q2,1 I1: server_closed S, open"
#define NOT_RETRIED "D1 Q2 I0: server_closed S"

TEST(T102_fin_instead_of_an_answer) {
    POOLED(FIN(0));
    struct sim_request *rq = GET_FULL();
    CHECK(rq->eof);
    CHECK_EQ(rq->retries, 1);
    EXPECT(RETRIED);
}

TEST(T103_rst_instead_of_an_answer) {
    POOLED(RST(0));
    CHECK_EQ(GET_FULL()->retries, 1);
    EXPECT("D2 Q2,1 I1: read_error S, open");
}

TEST(T104_a_post_is_not_sent_again) {
    POOLED(FIN(0));
    CHECK(RUN(.is_post = true, .has_body = true, .can_rewind = true, FULL)->failed);
    EXPECT(NOT_RETRIED);
}

TEST(T105_a_post_with_an_idempotency_key) {
    POOLED(FIN(0));
    CHECK(RUN(.is_post = true, .has_body = true, .can_rewind = true, .idempotency_key = true, FULL)->eof);
    EXPECT(RETRIED);
    POOLED(FIN(0));
    CHECK(RUN(.is_post = true, .has_body = true, .idempotency_key = true, FULL)->failed);
    EXPECT(NOT_RETRIED);
}

/* is_post stands for every method but the safe ones. */
TEST(T106_delete_without_a_body_and_put) {
    POOLED(FIN(0));
    CHECK(RUN(.is_post = true, FULL)->failed);
    EXPECT(NOT_RETRIED);
    POOLED(FIN(0));
    CHECK(RUN(.is_post = true, .has_body = true, .can_rewind = true, FULL)->failed);
    EXPECT(NOT_RETRIED);
}

TEST(T107_a_get_with_a_body) {
    POOLED(FIN(0));
    CHECK(RUN(.has_body = true, .can_rewind = true, FULL)->eof);
    EXPECT(RETRIED);
    POOLED(FIN(0));
    CHECK(RUN(.has_body = true, FULL)->failed);
    EXPECT(NOT_RETRIED);
}

TEST(T108_part_of_a_status_line) {
    POOLED(SEND(0, "HTTP/1.1 2"), FIN(0));
    CHECK_EQ(GET_FULL()->retries, 0);
    EXPECT(NOT_RETRIED);
}

TEST(T109_an_interim_answer_and_no_more) {
    POOLED(SEND(0, "HTTP/1.1 103 Early Hints\r\n\r\n"), FIN(0));
    struct sim_request *rq = GET_FULL();
    CHECK(rq->failed);
    CHECK_EQ(rq->retries, 0);
    EXPECT(NOT_RETRIED);
}

TEST(T110_a_fresh_connection_is_not_retried) {
    WORLD(ANSWER(FIN(0)));
    struct sim_request *rq = GET_FULL();
    CHECK(rq->failed);
    CHECK_EQ(rq->retries, 0);
    EXPECT("D1 Q1 I0: server_closed S");
}

TEST(T111_three_pooled_connections_that_all_die_on_use) {
    begin(CONF(.pool = {.max_idle_conns_per_host = 5}, .serve_by_turn = true),
          ANSWERS(ANSWER(SEND(20, CL5)), ANSWER(FIN(0))));
    for (int i = 0; i < 3; i++) START(FULL);
    sim_sleep(s, 30);
    struct sim_request *rq = GET_FULL();
    CHECK(rq->eof);
    CHECK_EQ(rq->retries, 3);
    EXPECT("D4 Q2,2,2,1 I1: server_closed S, server_closed S, server_closed S, open");
}

static struct sim_request *nothing_written(const struct sim_request *rq) {
    WORLD(ANSWER(SEND(0, CL5)));
    GET_FULL();
    struct sim_request fails = *rq;
    fails.write_fails_on = 1;
    return finish(sim_start(s, &fails));
}

TEST(T113_not_one_byte_was_written) {
    CHECK(nothing_written(&(struct sim_request){.is_post = true, .has_body = true, .can_rewind = true, FULL})->eof);
    EXPECT("D2 Q1,1 I1: write_error F, open");
    CHECK(nothing_written(&(struct sim_request){.is_post = true, FULL})->eof); /* a DELETE */
    EXPECT("D2 Q1,1 I1: write_error F, open");
    CHECK(nothing_written(&(struct sim_request){.is_post = true, .has_body = true, FULL})->failed);
    EXPECT("D1 Q1 I0: write_error F");
}

TEST(T114_408_as_an_answer) {
    POOLED(SEND(0, "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"));
    CHECK_EQ(GET_FULL()->status, 408);
    EXPECT("D1 Q2 I0: response_close F");
}

/* ---- section 7.2: uploads ---- */

TEST(T115_an_early_answer_to_an_upload_that_is_stuck) {
    WORLD(ANSWER(SEND(0, CL5)));
    struct sim_request *rq = RUN(.is_post = true, .has_body = true, .upload_ms = -1, FULL);
    CHECK_EQ((int)rq->head_ms, 0);
    CHECK_EQ((int)rq->done_ms, 50);
    CHECK(rq->eof);
    GET_FULL();
    EXPECT("D2 Q1,1 I1: upload_unfinished F, open");
}

TEST(T116_without_a_body_the_answer_itself_waits) {
    WORLD(ANSWER(SEND(0, CL0)));
    struct sim_request *rq = RUN(.is_post = true, .has_body = true, .upload_ms = -1, FULL);
    CHECK_EQ((int)rq->head_ms, 50);
    EXPECT("D1 Q1 I0: upload_unfinished F");
}

TEST(T117_the_upload_ends_in_time) {
    WORLD(ANSWER(SEND(0, CL5)));
    struct sim_request *rq = RUN(.is_post = true, .has_body = true, .upload_ms = 20, FULL);
    CHECK_EQ((int)rq->done_ms, 20);
    EXPECT("D1 Q1 I1: open");
}

TEST(T118_the_bodys_source_fails) {
    WORLD(ANSWER(SEND(500, CL5)));
    struct sim_request *rq = RUN(.is_post = true, .has_body = true, .upload_fails_ms = 20, FULL);
    CHECK_EQ(rq->error, REASON_WRITE_ERROR);
    CHECK_EQ((int)rq->done_ms, 20);
    EXPECT("D1 Q1 I0: write_error F");
}

TEST(T120_the_bodys_source_fails_while_the_answer_is_read) {
    WORLD(ANSWER(SEND(0, HEAD_CL("5") "he"), SEND(200, "llo")));
    struct sim_request *rq = RUN(.is_post = true, .has_body = true, .upload_fails_ms = 20, FULL);
    CHECK_EQ(rq->status, 200);
    CHECK_EQ(rq->got, 2);
    CHECK(rq->failed);
    CHECK_EQ(rq->error, REASON_WRITE_ERROR);
    EXPECT("D1 Q1 I0: write_error F");
}

/* ---- section 7.3: Expect, the header timeout, 1xx ---- */

#define EXPECTING .is_post = true, .has_body = true, .expect_continue = true

TEST(T122_expect_continue) {
    begin(CONF(.expect_timeout = SEC(1)), ANSWERS(ANSWER(SEND(10, "HTTP/1.1 100 Continue\r\n\r\n"), SEND(20, CL5))));
    for (int i = 0; i < 2; i++) CHECK_EQ((int)RUN(EXPECTING, FULL)->body_sent_ms, 10);
    EXPECT("D1 Q2 I1: open");

    begin(CONF(.expect_timeout = MSEC(100)), ANSWERS(ANSWER(SEND(200, CL5))));
    for (int i = 0; i < 2; i++) CHECK_EQ((int)RUN(EXPECTING, FULL)->body_sent_ms, 100);
    EXPECT("D1 Q2 I1: open");

    WORLD(ANSWER(SEND(200, CL5)));
    for (int i = 0; i < 2; i++) CHECK_EQ((int)RUN(EXPECTING, FULL)->body_sent_ms, 0);
    EXPECT("D1 Q2 I1: open");
}

TEST(T123_a_final_answer_instead_of_100) {
    begin(CONF(.expect_timeout = SEC(1)),
          ANSWERS(ANSWER(SEND(10, "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n"))));
    for (int i = 0; i < 2; i++) {
        struct sim_request *rq = RUN(EXPECTING, FULL);
        CHECK_EQ(rq->status, 417);
        CHECK(rq->body_sent_ms < 0);
    }
    EXPECT("D1 Q2 I1: open");
}

TEST(T124_response_header_timeout) {
    const struct sim_conf *conf = CONF(.header_timeout = MSEC(100));
    begin(conf, ANSWERS(ANSWER({0})));
    struct sim_request *rq = GET_FULL();
    CHECK_EQ((int)rq->done_ms, 100);
    CHECK_EQ(rq->retries, 0);
    EXPECT("D1 Q1 I0: response_header_timeout F");

    begin(conf, ANSWERS(ANSWER(SEND(0, HEAD_CL("5")), SEND(200, "hello"))));
    CHECK(GET_FULL()->eof);
    EXPECT("D1 Q1 I1: open");

    begin(conf, ANSWERS(ANSWER({0})));
    rq = RUN(.is_post = true, .has_body = true, .upload_ms = 300, FULL);
    CHECK_EQ((int)rq->done_ms, 400);
    EXPECT("D1 Q1 I0: response_header_timeout F");
}

#define HINT "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"

TEST(T125_interim_answers) {
    WORLD(ANSWER(SEND(0, HINT HINT HINT HINT HINT CL5)));
    CHECK(GET_FULL()->eof);
    EXPECT("D1 Q1 I1: open");

    WORLD(ANSWER(SEND(0, HINT HINT HINT HINT HINT HINT CL5)));
    CHECK(GET_FULL()->failed);
    EXPECT("D1 Q1 I0: malformed_response F");

    begin(CONF(.header_timeout = MSEC(150)), ANSWERS(ANSWER(SEND(60, HINT), SEND(120, HINT), SEND(180, CL5))));
    CHECK_EQ((int)GET_FULL()->done_ms, 150);
    EXPECT("D1 Q1 I0: response_header_timeout F");
}

#define SWITCH "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: foo\r\n\r\n"

TEST(T126_an_upgrade_and_five_bytes_behind_it) {
    begin(CONF(.pool = {.max_conns_per_host = 1}), ANSWERS(ANSWER(SEND(0, SWITCH "hello"))));
    struct sim_request *rq = RUN(.upgrade = true, CALL(READ(5)));
    CHECK_EQ(rq->status, 101);
    CHECK_EQ(rq->got, 5);
    EXPECT("D1 Q1 I0: up");
    CHECK_EQ(sim_permits(s, "a:80"), 0);
    RUN(.upgrade = true, CALL(READ(5), CLOSE));
    EXPECT("D2 Q1,1 I0: up, upgraded F");
}

TEST(T127_nothing_ends_an_upgraded_connection_but_close) {
    begin(CONF(.pool = {.idle_conn_timeout = MSEC(50)}), ANSWERS(ANSWER(SEND(0, SWITCH))));
    RUN(.upgrade = true, CALL(CANCEL));
    sim_close_idle(s);
    sim_sleep(s, 10000);
    EXPECT("D1 Q1 I0: up");
}

/* ---- TLS, as far as the pool has a part in it ---- */

TEST(T141_https_without_http_2) {
    begin(CONF(.pool = {.idle_conn_timeout = MSEC(100)}), ANSWERS(ANSWER(SEND(0, CL5))));
    for (int i = 0; i < 3; i++) RUN(.scheme = "https", .addr = "a:443", FULL);
    EXPECT("D1 Q3 I1: open");
    sim_sleep(s, 100);
    EXPECT("D1 Q3 I0: idle_timeout F");
}

/* A handshake is part of the dial; that its socket closes with FIN is the driver's. */
TEST(T142_a_handshake_that_fails) {
    begin(CONF(.pool = {.max_conns_per_host = 1}, .nth_dial_ms = {-100}), ANSWERS(ANSWER(SEND(0, CL5))));
    struct sim_request *rq = RUN(.scheme = "https", .addr = "a:443", FULL);
    CHECK(rq->failed);
    CHECK_EQ((int)rq->done_ms, 100);
    CHECK_EQ(sim_permits(s, "a:443"), 0);
    EXPECT("D0 I0");
}

int main(void) {
    int failed = tap_run();
    sim_free(&s);
    return failed;
}

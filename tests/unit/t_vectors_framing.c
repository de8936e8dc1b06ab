/* Test vectors T31 to T67: bytes too many, bytes too few, and who says close. */
#include "vectors.h"

#define OK "HTTP/1.1 200 OK\r\n"

TEST(T31_a_body_behind_the_answer_to_head) {
    WORLD(ANSWER(SEND(0, CL5)));
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(RUN(.is_head = true, FULL)->status, 200);
        sim_sleep(s, 100);
    }
    EXPECT("D2 Q1,1 I0: unsolicited_response F, unsolicited_response F");
}

TEST(T31_the_body_in_a_segment_of_its_own) {
    WORLD(ANSWER(SEND(0, HEAD_CL("5")), SEND(10, "hello")));
    RUN(.is_head = true, FULL);
    EXPECT("D1 Q1 I1: open");
    sim_sleep(s, 100);
    EXPECT("D1 Q1 I0: unsolicited_response F");
}

TEST(T32_a_chunked_304_that_sends_the_chunk) {
    WORLD(ANSWER(SEND(0, "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")));
    for (int i = 0; i < 2; i++) {
        GET_FULL();
        sim_sleep(s, 60);
    }
    EXPECT("D2 Q1,1 I0: unsolicited_response F, unsolicited_response F");
}

/* A race in Go; here stale bytes never become the answer to another request (R77, exchange_keep). */
TEST(T33_head_answered_with_a_body_then_get_at_once) {
    WORLD(ANSWER(SEND(0, HEAD_CL("43") "HTTP/1.1 404 Gone\r\nContent-Length: 3\r\n\r\nold")), ANSWER(SEND(0, CL5)));
    RUN(.is_head = true, FULL);
    CHECK_EQ(GET_FULL()->status, 200);
    EXPECT("D2 Q1,1 I1: unsolicited_response F, open");
}

TEST(T34_junk_behind_a_body) {
    WORLD(ANSWER(SEND(0, CL5 "junk")));
    struct sim_request *rq = GET_FULL();
    CHECK_EQ(rq->got, 5);
    CHECK(rq->eof);
    EXPECT("D1 Q1 I0: unsolicited_response F");
}

TEST(T35_100_kb_of_junk_behind_a_body) {
    WORLD(ANSWER(SEND_AND(0, CL5, 100000)));
    CHECK_EQ(GET_FULL()->got, 5);
    EXPECT("D1 Q1 I0: unsolicited_response R");
}

/* A race in Go; the order chosen is that of T33. */
TEST(T36_two_answers_to_each_request) {
    WORLD(ANSWER(SEND(0, CL5 CL5)));
    for (int i = 0; i < 2; i++) CHECK_EQ(GET_FULL()->got, 5);
    EXPECT("D2 Q1,1 I0: unsolicited_response F, unsolicited_response F");
}

TEST(T37_connection_close_from_a_server_that_stays) {
    WORLD(ANSWER(SEND(0, OK "Connection: close\r\nContent-Length: 5\r\n\r\nhello")));
    for (int i = 0; i < 2; i++) CHECK(GET_FULL()->eof);
    EXPECT("D2 Q1,1 I0: response_close F, response_close F");
}

TEST(T38_close_is_a_token_in_any_case) {
    WORLD(ANSWER(SEND(0, OK "Connection: foo, CLOSE\r\nContent-Length: 5\r\n\r\nhello")));
    for (int i = 0; i < 2; i++) GET_FULL();
    EXPECT("D2 Q1,1 I0: response_close F, response_close F");
}

TEST(T39_close_without_a_body) {
    WORLD(ANSWER(SEND(0, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")));
    for (int i = 0; i < 2; i++) GET_FULL();
    EXPECT("D2 Q1,1 I0: response_close F, response_close F");
}

TEST(T40_the_request_says_close) {
    WORLD(ANSWER(SEND(0, CL5)));
    for (int i = 0; i < 2; i++) RUN(.request_close = true, FULL);
    EXPECT("D2 Q1,1 I0: request_close F, request_close F");
}

/* The field alone, without Request.Close: nothing of it reaches the exchange (R50). */
TEST(T41_a_field_that_says_close_and_a_server_that_does_not) {
    WORLD(ANSWER(SEND(0, CL5)));
    for (int i = 0; i < 2; i++) GET_FULL();
    EXPECT("D1 Q2 I1: open");
}

TEST(T42_keep_alives_disabled) {
    begin(CONF(.pool = {.disable_keep_alives = true}), ANSWERS(ANSWER(SEND(0, CL5))));
    for (int i = 0; i < 2; i++) GET_FULL();
    EXPECT("D2 Q1,1 I0: keepalives_disabled F, keepalives_disabled F");
}

TEST(T43_a_negative_limit_per_host) {
    begin(CONF(.pool = {.max_idle_conns_per_host = -1}), ANSWERS(ANSWER(SEND(0, CL5))));
    for (int i = 0; i < 2; i++) GET_FULL();
    EXPECT("D2 Q1,1 I0: keepalives_disabled F, keepalives_disabled F");
}

TEST(T44_keep_alives_disabled_and_an_upgrade_that_is_refused) {
    begin(CONF(.pool = {.disable_keep_alives = true}), ANSWERS(ANSWER(SEND(0, CL5))));
    RUN(.upgrade = true, FULL);
    EXPECT("D1 Q1 I0: keepalives_disabled F");
}

TEST(T45_http_1_0_closes) {
    WORLD(ANSWER(SEND(0, "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello")));
    for (int i = 0; i < 2; i++) CHECK_EQ(GET_FULL()->got, 5);
    EXPECT("D2 Q1,1 I0: response_close F, response_close F");
}

TEST(T46_http_1_0_keep_alive) {
    WORLD(ANSWER(SEND(0, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello")));
    for (int i = 0; i < 2; i++) GET_FULL();
    EXPECT("D1 Q2 I1: open");
}

TEST(T47_http_1_0_keep_alive_and_close) {
    WORLD(ANSWER(SEND(0, "HTTP/1.0 200 OK\r\nConnection: keep-alive, close\r\nContent-Length: 5\r\n\r\nhello")));
    for (int i = 0; i < 2; i++) GET_FULL();
    EXPECT("D2 Q1,1 I0: response_close F, response_close F");
}

TEST(T48_http_1_0_keep_alive_without_a_length) {
    WORLD(ANSWER(SEND(0, "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nhello"), FIN(1)));
    for (int i = 0; i < 2; i++) CHECK_EQ(GET_FULL()->got, 5);
    EXPECT("D2 Q1,1 I0: until_eof S, until_eof S");
}

TEST(T49_http_1_0_knows_no_chunks) {
    WORLD(ANSWER(SEND(0, "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), FIN(1)));
    for (int i = 0; i < 2; i++) CHECK_EQ(GET_FULL()->got, LEN("5\r\nhello\r\n0\r\n\r\n"));
    EXPECT("D2 Q1,1 I0: until_eof S, until_eof S");
}

TEST(T50_no_length_and_no_chunks) {
    WORLD(ANSWER(SEND(0, OK "\r\nhello"), FIN(1)));
    for (int i = 0; i < 2; i++) {
        struct sim_request *rq = GET_FULL();
        CHECK_EQ(rq->got, 5);
        CHECK(rq->eof && !rq->failed);
    }
    EXPECT("D2 Q1,1 I0: until_eof S, until_eof S");
}

TEST(T51_until_eof_given_up) {
    WORLD(ANSWER(SEND(0, OK "\r\nhello")));
    RUN(CALL(READ(5), CLOSE));
    EXPECT("D1 Q1 I0: early_close F");
}

TEST(T52_chunked_wins_over_a_length) {
    WORLD(ANSWER(SEND(0, OK "Content-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")));
    for (int i = 0; i < 2; i++) CHECK_EQ(GET_FULL()->got, 5);
    EXPECT("D1 Q2 I1: open");
}

static void refused_twice(const char *answer, const char *summary) {
    WORLD(ANSWER(SEND(0, answer)));
    for (int i = 0; i < 2; i++) {
        struct sim_request *rq = GET_FULL();
        CHECK(rq->failed);
        CHECK_EQ(rq->retries, 0);
    }
    EXPECT(summary);
}

TEST(T53_two_lengths_that_differ) {
    refused_twice(OK "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
                  "D2 Q1,1 I0: malformed_response F, malformed_response F");
}

TEST(T53_two_lengths_that_do_not) {
    WORLD(ANSWER(SEND(0, OK "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello")));
    for (int i = 0; i < 2; i++) GET_FULL();
    EXPECT("D1 Q2 I1: open");
}

TEST(T54_another_transfer_coding) {
    refused_twice(OK "Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
                  "D2 Q1,1 I0: malformed_response F, malformed_response F");
}

TEST(T55_a_trailer) {
    WORLD(ANSWER(SEND(0, CHUNKED5 "0\r\nX-Sum: 1\r\n\r\n")));
    for (int i = 0; i < 2; i++) CHECK_EQ(GET_FULL()->got, 5);
    EXPECT("D1 Q2 I1: open");
}

TEST(T56_a_trailer_of_5000_bytes) {
    static char answer[6000] = CHUNKED5 "0\r\nX-Long: ";
    size_t at = strlen(answer);
    memset(answer + at, 'x', 5000 - LEN("X-Long: "));
    strcat(answer, "\r\n\r\n");
    WORLD(ANSWER(SEND(0, answer)));
    struct sim_request *rq = GET_FULL();
    CHECK_EQ(rq->got, 5);
    CHECK(rq->failed);
    EXPECT("D1 Q1 I0: malformed_response R");
}

static void cut_twice(const char *answer) {
    WORLD(ANSWER(SEND(0, answer), FIN(1)));
    for (int i = 0; i < 2; i++) {
        struct sim_request *rq = GET_FULL();
        CHECK_EQ(rq->got, 5);
        CHECK(rq->failed && !rq->eof);
    }
    EXPECT("D2 Q1,1 I0: server_closed S, server_closed S");
}

TEST(T57_a_length_cut_short) {
    cut_twice(HEAD_CL("100") "hello");
}

TEST(T58_chunks_cut_short) {
    cut_twice(CHUNKED5);
}

TEST(T59_a_whole_answer_and_fin) {
    WORLD(ANSWER(SEND(0, CL5), FIN(0)));
    for (int i = 0; i < 2; i++) {
        CHECK(GET_FULL()->eof);
        sim_sleep(s, 50);
    }
    EXPECT("D2 Q1,1 I0: server_closed_idle S, server_closed_idle S");
}

TEST(T60_a_whole_chunked_answer_and_fin) {
    WORLD(ANSWER(SEND(0, CHUNKED5 "0\r\n\r\n"), FIN(0)));
    CHECK(GET_FULL()->eof);
    sim_sleep(s, 1);
    EXPECT("D1 Q1 I0: server_closed_idle S");
}

/* T61 is about what a Read after Close says; that Close twice, and after EOF, is nothing, holds here too. */
TEST(T61_close_twice) {
    WORLD(ANSWER(SEND(0, CL5)));
    RUN(CALL(READ_ALL, CLOSE, CLOSE));
    RUN(CALL(READ(1), CLOSE, CLOSE, READ(1)));
    EXPECT("D1 Q2 I0: early_close F");
}

TEST(T62_keep_alive_parameters_are_ignored) {
    WORLD(ANSWER(SEND(0, OK "Keep-Alive: timeout=1, max=1\r\nContent-Length: 5\r\n\r\nhello")));
    GET_FULL();
    sim_sleep(s, 20);
    GET_FULL();
    EXPECT("D1 Q2 I1: open");
}

TEST(T63_proxy_connection_is_ignored) {
    WORLD(ANSWER(SEND(0, OK "Proxy-Connection: close\r\nContent-Length: 5\r\n\r\nhello")));
    for (int i = 0; i < 2; i++) GET_FULL();
    EXPECT("D1 Q2 I1: open");
}

TEST(T64_garbage) {
    refused_twice("garbage\r\n\r\n", "D2 Q1,1 I0: malformed_response F, malformed_response F");
}

TEST(T65_101_that_nobody_asked_for) {
    WORLD(ANSWER(SEND(0, "HTTP/1.1 101 Switching Protocols\r\n\r\n")));
    for (int i = 0; i < 2; i++) {
        struct sim_request *rq = GET_FULL();
        CHECK_EQ(rq->status, 101);
        CHECK_EQ(rq->got, 0);
    }
    EXPECT("D2 Q1,1 I0: response_close F, response_close F");
}

TEST(T66_a_head_beyond_the_limit) {
    static char answer[11000] = OK "X-Long: ";
    memset(answer + strlen(answer), 'x', 10000);
    strcat(answer, "\r\n\r\n");
    begin(CONF(.max_head = 200), ANSWERS(ANSWER(SEND(0, answer))));
    CHECK(GET_FULL()->failed);
    EXPECT("D1 Q1 I0: malformed_response R");
}

TEST(T67_the_limit_is_for_the_head_alone) {
    begin(CONF(.max_head = 200),
          ANSWERS(ANSWER(SEND_AND(0,
                                  OK "X-Fill: 01234567890123456789012345678901234567890123456789\r\n"
                                     "Content-Length: 5000\r\n\r\n",
                                  5000))));
    CHECK_EQ(GET_FULL()->got, 5000);
    EXPECT("D1 Q1 I1: open");
}

int main(void) {
    int failed = tap_run();
    sim_free(&s);
    return failed;
}

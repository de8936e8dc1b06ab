/* Test vectors T1 to T30: bodies that are read, given up, forgotten or absent. */
#include "vectors.h"

TEST(T1_read_to_eof_and_close) {
    WORLD(ANSWER(SEND(0, CL5)));
    for (int i = 0; i < 3; i++) CHECK_EQ(GET_FULL()->got, 5);
    EXPECT("D1 Q3 I1: open");
}

TEST(T2_read_to_eof_and_never_close) {
    WORLD(ANSWER(SEND(0, CL5)));
    for (int i = 0; i < 3; i++) CHECK(!RUN(CALL(READ_ALL))->leaked);
    EXPECT("D1 Q3 I1: open");
}

TEST(T3_exactly_the_length_and_no_more_with_or_without_close) {
    WORLD(ANSWER(SEND(0, CL5)));
    for (int i = 0; i < 3; i++) CHECK(RUN(CALL(READ(5)))->eof);
    for (int i = 0; i < 3; i++) RUN(CALL(READ(5), CLOSE));
    EXPECT("D1 Q6 I1: open");
}

TEST(T4_one_byte_less_is_early) {
    WORLD(ANSWER(SEND(0, CL5)));
    for (int i = 0; i < 2; i++) CHECK_EQ(RUN(CALL(READ(4), CLOSE))->got, 4);
    EXPECT("D2 Q1,1 I0: early_close F, early_close F");
}

TEST(T5_the_payload_of_a_chunked_body_in_one_segment) {
    WORLD(ANSWER(SEND(0, CHUNKED5 "0\r\n\r\n")));
    for (int i = 0; i < 3; i++) CHECK(RUN(CALL(READ(5), CLOSE))->eof);
    EXPECT("D1 Q3 I1: open");
}

TEST(T6_the_last_chunk_comes_after_the_close) {
    WORLD(ANSWER(SEND(0, CHUNKED5), SEND(150, "0\r\n\r\n")));
    struct sim_request *rq = RUN(CALL(READ(5), CLOSE));
    CHECK_EQ(rq->got, 5);
    CHECK(!rq->eof);
    EXPECT("D1 Q1 I0: early_close F");
}

TEST(T7_the_last_chunk_has_reached_the_kernel) {
    WORLD(ANSWER(SEND(0, CHUNKED5), SEND(60, "0\r\n\r\n")));
    RUN(CALL(READ(5), SLEEP(100), CLOSE));
    EXPECT("D1 Q1 I0: early_close R");
}

TEST(T8_half_of_the_end_blocks_the_read) {
    WORLD(ANSWER(SEND(0, CHUNKED5 "0\r\n"), SEND(200, "\r\n")));
    struct sim_request *rq = RUN(CALL(READ(5), CLOSE));
    CHECK_EQ((int)rq->done_ms, 200);
    CHECK(rq->eof);
    EXPECT("D1 Q1 I1: open");
}

TEST(T9_chunked_and_empty_is_a_body_all_the_same) {
    WORLD(ANSWER(SEND(0, HEAD_CHUNKED "0\r\n\r\n")));
    for (int i = 0; i < 2; i++) RUN(CALL(CLOSE));
    EXPECT("D2 Q1,1 I0: early_close F, early_close F");
}

TEST(T10_4096_bytes_lie_in_the_read_buffer) {
    WORLD(ANSWER(SEND_AND(0, HEAD_CL("9999"), 4096 - LEN(HEAD_CL("9999")))));
    RUN(CALL(CLOSE));
    EXPECT("D1 Q1 I0: early_close F");
}

TEST(T11_4097_bytes_do_not) {
    WORLD(ANSWER(SEND_AND(0, HEAD_CL("9999"), 4097 - LEN(HEAD_CL("9999")))));
    RUN(CALL(CLOSE));
    EXPECT("D1 Q1 I0: early_close R");
}

TEST(T12_a_large_body_given_up) {
    WORLD(ANSWER(SEND_AND(0, HEAD_CL("100000"), 100000)));
    for (int i = 0; i < 2; i++) RUN(CALL(SLEEP(50), CLOSE));
    EXPECT("D2 Q1,1 I0: early_close R, early_close R");
}

TEST(T13_a_larger_read_buffer_moves_the_border) {
    begin(CONF(.read_buffer = 16 << 10), ANSWERS(ANSWER(SEND_AND(0, HEAD_CL("10000"), 10000))));
    RUN(CALL(CLOSE));
    EXPECT("D1 Q1 I0: early_close F");
    WORLD(ANSWER(SEND_AND(0, HEAD_CL("10000"), 10000)));
    RUN(CALL(CLOSE));
    EXPECT("D1 Q1 I0: early_close R");
}

TEST(T14_fin_first_then_rst_on_the_servers_next_data) {
    unsigned failed;
    WORLD(ANSWER(SEND_AND(0, HEAD_CL("1000"), 500), SEND_AND(50, NULL, 250), SEND_AND(100, NULL, 250)));
    RUN(CALL(CLOSE));
    EXPECT("D1 Q1 I0: early_close F");
    sim_sleep(s, 200);
    EXPECT("D1 Q1 I0: early_close F>R");
    CHECK_EQ(sim_late_writes(s, 1, &failed), 2);
    CHECK_EQ(failed, 1);
}

TEST(T15_an_endless_stream_given_up) {
    WORLD(ANSWER(SEND(0, "HTTP/1.1 200 OK\r\n\r\n"), STREAM(0)));
    RUN(CALL(READ(10), CLOSE));
    EXPECT("D1 Q1 I0: early_close R");
}

#define LEAKY CONF(.pool = {.max_conns_per_host = 2, .idle_conn_timeout = MSEC(50)})

TEST(T16_a_body_ignored_is_in_no_timer) {
    begin(LEAKY, ANSWERS(ANSWER(SEND(0, CL5))));
    CHECK(RUN(CALL(SLEEP(0)))->leaked);
    sim_sleep(s, 100);
    EXPECT("D1 Q1 I0: open");
    CHECK_EQ(sim_permits(s, "a:80"), 1);
}

TEST(T17_a_leaked_connection_does_not_see_the_servers_fin) {
    begin(LEAKY, ANSWERS(ANSWER(SEND(0, CL5), FIN(150))));
    RUN(CALL(SLEEP(100)));
    sim_close_idle(s);
    sim_sleep(s, 100000);
    EXPECT("D1 Q1 I0: open CLOSE_WAIT");
    CHECK_EQ(sim_permits(s, "a:80"), 1);
}

TEST(T18_a_late_read_to_eof_ends_the_leak) {
    begin(LEAKY, ANSWERS(ANSWER(SEND(0, CL5), FIN(150))));
    struct sim_request *rq = START(CALL(SLEEP(500), READ_ALL));
    sim_sleep(s, 100);
    sim_close_idle(s);
    finish(rq);
    CHECK_EQ(rq->got, 5);
    CHECK(rq->eof);
    EXPECT("D1 Q1 I0: close_idle_conns S");
    CHECK_EQ(sim_permits(s, "a:80"), 0);
}

TEST(T19_ten_bodies_ignored) {
    WORLD(ANSWER(SEND(0, CL5)));
    for (int i = 0; i < 10; i++) RUN(CALL(SLEEP(0)));
    EXPECT("D10 Q1,1,1,1,1,1,1,1,1,1 I0: open, open, open, open, open, open, open, open, open, open");
}

TEST(T20_an_endless_stream_ignored_blocks_the_server) {
    WORLD(ANSWER(SEND(0, "HTTP/1.1 200 OK\r\n\r\n"), STREAM(0)));
    RUN(CALL(SLEEP(1000)));
    EXPECT("D1 Q1 I0: open");
    CHECK(sim_recv_q(s, 1) > 0);
    CHECK(sim_server_blocked(s, 1));
}

/* That a late read still gets what was buffered is the caller's side of T22; a proxy's client has none. */
TEST(T22_a_timeout_ends_the_leak_of_a_small_body) {
    WORLD(ANSWER(SEND(0, CL5)));
    RUN(.cancel_ms = 150, .ends_context = true, CALL(SLEEP(0)));
    sim_sleep(s, 149);
    EXPECT("D1 Q1 I0: open");
    sim_sleep(s, 1);
    EXPECT("D1 Q1 I0: early_close F");
}

TEST(T23_a_timeout_ends_the_leak_of_a_large_body) {
    WORLD(ANSWER(SEND_AND(0, HEAD_CL("100000"), 100000)));
    RUN(.cancel_ms = 150, CALL(SLEEP(200)));
    EXPECT("D1 Q1 I0: early_close R");
}

TEST(T24_cancelled_in_mid_body) {
    WORLD(ANSWER(SEND_AND(0, HEAD_CL("100000"), 100000)));
    struct sim_request *rq = RUN(CALL(READ(1000), CANCEL, READ_ALL));
    CHECK_EQ(rq->got, 1000);
    CHECK(rq->failed && !rq->eof);
    EXPECT("D1 Q1 I0: early_close R");
}

TEST(T25_cancelled_after_eof) {
    WORLD(ANSWER(SEND(0, CL5)));
    for (int i = 0; i < 2; i++) RUN(CALL(READ_ALL, CANCEL));
    EXPECT("D1 Q2 I1: open");
}

TEST(T26_deadline_before_the_head) {
    WORLD(ANSWER({0}));
    struct sim_request *rq = RUN(.cancel_ms = 100, FULL);
    CHECK(rq->failed);
    CHECK_EQ((int)rq->done_ms, 100);
    EXPECT("D1 Q1 I0: canceled F");
}

TEST(T27_a_read_error_closes_without_close) {
    WORLD(ANSWER(SEND(0, CHUNKED5 "5\r\nworldXX")));
    struct sim_request *rq = RUN(CALL(READ_ALL));
    CHECK_EQ(rq->got, 10);
    CHECK(rq->failed);
    EXPECT("D1 Q1 I0: malformed_response F");
}

/* The context's end stands in for a Close by somebody else: to the connection they are the same. */
TEST(T28_closed_while_a_read_blocks) {
    WORLD(ANSWER(SEND(0, HEAD_CL("50") "he")));
    struct sim_request *rq = RUN(.cancel_ms = 70, CALL(READ_ALL));
    CHECK_EQ(rq->got, 2);
    CHECK_EQ((int)rq->done_ms, 70);
    EXPECT("D1 Q1 I0: early_close F");
}

TEST(T29_head_has_no_body_whatever_its_fields_say) {
    WORLD(ANSWER(SEND(0, HEAD_CL("123"))), ANSWER(SEND(0, HEAD_CHUNKED)), ANSWER(SEND(0, "HTTP/1.1 200 OK\r\n\r\n")));
    for (int i = 0; i < 3; i++) CHECK(!RUN(.is_head = true, CALL(SLEEP(0)))->leaked);
    EXPECT("D1 Q3 I1: open");
}

TEST(T30_no_body_nothing_to_read_or_close) {
    static const char *const heads[] = {
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n",
        CL0,
        "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
    };
    for (int k = 0; k < 4; k++) {
        WORLD(ANSWER(SEND(0, heads[k])));
        for (int i = 0; i < 3; i++) RUN(CALL(SLEEP(0)));
        EXPECT("D1 Q3 I1: open");
    }
}

int main(void) {
    int failed = tap_run();
    sim_free(&s);
    return failed;
}

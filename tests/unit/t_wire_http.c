/* HTTP on reassembled streams: what is counted, what was given up, what is not known. */
#include "talk.h"

static void check_counts(unsigned requests, unsigned responses) {
    CHECK(KNOWN(KNOW_REQUESTS) && KNOWN(KNOW_RESPONSES));
    CHECK_EQ(rec->life.requests, requests);
    CHECK_EQ(rec->life.responses, responses);
}

static void close_both_ends(void) {
    flags(CLIENT, TCP_FIN | TCP_ACK);
    flags(SERVER, TCP_FIN | TCP_ACK);
    ack(CLIENT);
}

/* ---- framing ---- */

TEST(pipelined_requests_are_answered_in_order) {
    start();
    say(CLIENT, GET "HEAD /b HTTP/1.1\r\nHost: a\r\n\r\n" GET);
    say(SERVER, OK(3) "abc" OK(5000) OK(2));
    say(SERVER, "de");
    finish();
    check_counts(3, 3);
    CHECK_EQ(rec->evidence.pipelined, 2);
    CHECK_EQ(rec->evidence.n_exchanges, 3);
    CHECK_STR(rec->evidence.exchanges[1].method, "HEAD");
    CHECK_EQ(rec->evidence.exchanges[1].body_announced, 0);
    CHECK(rec->evidence.exchanges[2].complete);
    CHECK_EQ(rec->life.state, LIFE_IDLE);
}

TEST(many_pipelined_requests_are_all_remembered) {
    start();
    for (int i = 0; i < 40; i++) say(CLIENT, GET);
    for (int i = 0; i < 40; i++) say(SERVER, OK(1) "x");
    finish();
    check_counts(40, 40);
    CHECK_EQ(rec->evidence.n_exchanges, WIRE_FIRST + WIRE_NEWEST);
}

TEST(the_same_head_answers_different_requests) {
    static const char head[] = "HTTP/1.1 200 OK\r\nServer: a server with a long name, so that its head is "
                               "remembered\r\nContent-Length: 3\r\n\r\n";
    static const char get[] = "GET /a HTTP/1.1\r\nHost: a.test\r\nUser-Agent: u\r\n\r\n";
    start();
    for (int i = 0; i < 3; i++) {
        say(CLIENT, get);
        say(SERVER, head), say(SERVER, "abc");
        say(CLIENT, "HEAD /a HTTP/1.1\r\nHost: a.test\r\n\r\n");
        say(SERVER, head); /* and no body */
    }
    t.port++, t.seq[CLIENT] = 7, t.seq[SERVER] = 8; /* another connection, whose first head is known */
    handshake();
    say(CLIENT, get);
    finish();
    check_counts(6, 6);
    CHECK_EQ(rec->evidence.excess_bytes, 0);
    wire_record_free(&rec);
    rec = wire_next(t.w);
    CHECK_STR(rec->evidence.user_agent, "u");
    CHECK_STR(rec->evidence.host, "a.test");
    CHECK_EQ(rec->life.requests, 1);
}

TEST(interim_and_bodyless_responses) {
    start();
    say(CLIENT, GET);
    say(SERVER, "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n");
    say(CLIENT, GET);
    say(SERVER, "HTTP/1.1 204 No Content\r\n\r\n");
    finish();
    check_counts(2, 2);
    CHECK_EQ(rec->life.state, LIFE_IDLE);
}

TEST(a_chunked_body_with_trailers_cut_anywhere) {
    static const char body[] =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n";
    for (size_t cut = 1; cut < sizeof body - 1; cut++) {
        start();
        say(CLIENT, GET);
        feed(segment(SERVER, TCP_ACK, body, cut));
        feed(segment(SERVER, TCP_ACK, body + cut, sizeof body - 1 - cut));
        finish();
        check_counts(1, 1);
        CHECK_EQ(rec->evidence.exchanges[0].body_bytes, 8);
        CHECK(rec->evidence.exchanges[0].complete);
    }
}

TEST(a_hole_inside_a_chunk_is_passed_over) {
    start();
    say(CLIENT, GET);
    say(SERVER, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100\r\n0123456789abcdef");
    lose(SERVER, 100);
    ack(CLIENT);
    say_n(SERVER, 140);
    say(SERVER, "\r\n0\r\n\r\n");
    for (int i = 0; i < 14; i++) ack(CLIENT);
    finish();
    check_counts(1, 1);
    CHECK_EQ(rec->evidence.exchanges[0].body_bytes, 256);
    CHECK(rec->evidence.exchanges[0].complete);
}

TEST(a_body_without_a_length_ends_with_the_stream) {
    start();
    say(CLIENT, GET);
    say(SERVER, "HTTP/1.1 200 OK\r\n\r\nabc");
    say_n(SERVER, 1000);
    flags(SERVER, TCP_FIN | TCP_ACK);
    flags(CLIENT, TCP_FIN | TCP_ACK);
    finish();
    check_counts(1, 1);
    CHECK_EQ(rec->life.body_framing, FRAMING_UNTIL_EOF);
    CHECK(rec->evidence.exchanges[0].complete);
    CHECK_EQ(rec->evidence.exchanges[0].body_bytes, 1003);
    CHECK_EQ(rec->life.close_by, BY_REMOTE);
    CHECK(!KNOWN(KNOW_EARLY_CLOSES));
}

TEST(a_tunnel_is_opaque_after_its_one_request) {
    start();
    say(CLIENT, "CONNECT b.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\n");
    say(SERVER, "HTTP/1.1 200 Connection established\r\n\r\n");
    say(CLIENT, "\x16\x03\x01\x00\x05hello GET / HTTP/1.1\r\n\r\n");
    say(SERVER, "HTTP/1.1 200 OK\r\n\r\n");
    finish();
    check_counts(1, 1);
    CHECK(rec->life.opaque && rec->evidence.tunnelled);
    CHECK_EQ(rec->life.state, LIFE_OPAQUE);
    CHECK(KNOWN(KNOW_EARLY_CLOSES) && rec->life.early_closes == 0);
}

TEST(a_refused_tunnel_is_none) {
    start();
    say(CLIENT, "CONNECT b.test:443 HTTP/1.1\r\nHost: b.test:443\r\n\r\n");
    say(SERVER, "HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno");
    say(CLIENT, GET);
    say(SERVER, OK(1) "x");
    finish();
    check_counts(2, 2);
    CHECK(!rec->life.opaque);
}

TEST(an_upgrade_is_opaque_from_101_on) {
    start();
    say(CLIENT, "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    say(SERVER, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x05hello");
    say(CLIENT, "\x81\x85....");
    finish();
    check_counts(1, 1);
    CHECK(rec->life.opaque);
}

TEST(a_body_that_was_held_back_for_100_is_not_waited_for) {
    start();
    say(CLIENT, "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\nExpect: 100-continue\r\n\r\n");
    say(SERVER, "HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n");
    say(CLIENT, GET);
    say(SERVER, OK(1) "x");
    finish();
    check_counts(2, 2);
}

TEST(requests_to_a_forward_proxy) {
    start();
    say(CLIENT, "GET http://b.test/x HTTP/1.1\r\nHost: b.test\r\nUser-Agent: curl/8\r\n\r\n");
    say(SERVER, OK(0));
    finish();
    check_counts(1, 1);
    CHECK(rec->evidence.proxy_form);
    CHECK(rec->life.key == NULL);
    CHECK_STR(rec->evidence.user_agent, "curl/8");
}

TEST(lines_that_end_with_LF_alone) {
    for (int bytewise = 0; bytewise < 2; bytewise++) {
        static const char request[] = "GET /a HTTP/1.0\nHost: a.test\n\n",
                          answer[] = "HTTP/1.0 200 OK\nContent-Length: 3\n\nabc";
        start();
        for (size_t i = 0, n = bytewise ? 1 : sizeof request - 1; i < sizeof request - 1; i += n)
            feed(segment(CLIENT, TCP_ACK, request + i, n));
        for (size_t i = 0, n = bytewise ? 1 : sizeof answer - 1; i < sizeof answer - 1; i += n)
            feed(segment(SERVER, TCP_ACK, answer + i, n));
        finish();
        check_counts(1, 1);
        CHECK(rec->evidence.bare_lf);
        CHECK_STR(rec->evidence.host, "a.test");
        CHECK(rec->evidence.exchanges[0].complete);
    }
}

TEST(bytes_that_nobody_asked_for) {
    start();
    say(CLIENT, GET);
    say(SERVER, OK(3) "abcdefg"); /* four too many */
    say(SERVER, "HTTP/1.1 408 Request Timeout\r\n\r\n");
    say(CLIENT, GET);
    say(SERVER, OK(1) "x");
    finish();
    CHECK_EQ(rec->evidence.excess_bytes, 4 + 32);
    check_counts(2, 2);
}

TEST(what_is_not_HTTP_is_not_guessed_at) {
    start();
    say(SERVER, "220 mail.test ESMTP\r\n");
    say(CLIENT, "EHLO a\r\n");
    finish();
    CHECK_EQ(rec->evidence.protocol, PROTO_UNKNOWN);
    CHECK(!KNOWN(KNOW_REQUESTS) && !KNOWN(KNOW_RESPONSES) && !KNOWN(KNOW_EARLY_CLOSES));
    CHECK(KNOWN(KNOW_BYTES_IN));
    start();
    say(CLIENT, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    finish();
    CHECK_EQ(rec->evidence.protocol, PROTO_HTTP2);
}

TEST(idle_time_lies_between_messages) {
    start();
    say(CLIENT, GET);
    say(SERVER, OK(1) "x");
    t.now += SEC(3) - MSEC(1);
    say(CLIENT, GET);
    say(SERVER, OK(1) "x");
    t.now += SEC(2) - MSEC(1);
    flags(SERVER, TCP_FIN | TCP_ACK);
    flags(CLIENT, TCP_FIN | TCP_ACK);
    finish();
    CHECK(KNOWN(KNOW_IDLE));
    CHECK_EQ(lifecycle_idle_ns(&rec->life, rec->life.closed_ns), SEC(5) + MSEC(1)); /* until the client closed */
}

/* ---- early closes ---- */

static void check_early(enum early_verdict v, int n) {
    CHECK_EQ(rec->evidence.early, v);
    CHECK_EQ(KNOWN(KNOW_EARLY_CLOSES), n >= 0);
    if (n >= 0) CHECK_EQ(rec->life.early_closes, n);
}

TEST(an_RST_in_the_middle_of_a_body) {
    start();
    say(CLIENT, GET);
    say(SERVER, OK(5000));
    say_n(SERVER, 4900);
    flags(CLIENT, TCP_RST | TCP_ACK);
    finish();
    check_early(EARLY_IN_BODY, 1);
    CHECK_EQ(rec->evidence.rst_cause, RST_CAUSE_UNREAD_AT_CLOSE);
    CHECK(!KNOWN(KNOW_UNREAD));
    CHECK_EQ(rec->evidence.acked_bytes, strlen(OK(5000)) + 4900);
    CHECK_EQ(rec->evidence.remote.acked_by_rst, strlen(OK(5000)) + 4900);
    CHECK_EQ(rec->evidence.local.acked_by_rst, 0);
    CHECK_EQ(rec->evidence.unread_if_read_4096, strlen(OK(5000)) + 4900 - 4096);
    CHECK_EQ(rec->life.close_phase, PHASE_IN_BODY);
}

TEST(an_RST_acknowledges_what_had_not_been_before) {
    start();
    say(CLIENT, GET);
    say(SERVER, OK(5000));
    say_n(SERVER, 4000);
    ack(CLIENT);
    say_n(SERVER, 900);
    flags(CLIENT, TCP_RST | TCP_ACK);
    finish();
    CHECK_EQ(rec->evidence.remote.acked_by_rst, 900);
    start();
    say(CLIENT, GET);
    say(SERVER, OK(5000));
    say_n(SERVER, 4900);
    ack(CLIENT);
    flags(CLIENT, TCP_RST | TCP_ACK);
    finish();
    CHECK_EQ(rec->evidence.remote.acked_by_rst, 0);
    CHECK_EQ(rec->evidence.remote.acked_bytes, strlen(OK(5000)) + 4900);
}

TEST(a_FIN_in_the_middle_of_a_body_and_RST_for_what_comes_after) {
    start();
    say(CLIENT, GET);
    say(SERVER, OK(5000));
    ack(CLIENT);
    flags(CLIENT, TCP_FIN | TCP_ACK);
    struct wire_segment rst = segment(CLIENT, TCP_RST, NULL, 0);
    say_n(SERVER, 4000);
    feed(rst);
    finish();
    check_early(EARLY_IN_BODY, 1);
    CHECK_EQ(rec->evidence.rst_cause, RST_CAUSE_DATA_AFTER_CLOSE);
    CHECK_EQ(rec->life.close_how, HOW_FIN);
    CHECK(rec->life.rst_sent);
    CHECK(KNOWN(KNOW_UNREAD) && rec->life.unread_bytes == 0);
    CHECK_EQ(rec->life.bytes_in, strlen(OK(5000)));
}

TEST(the_rest_of_a_body_that_comes_after_the_close_does_not_complete_it) {
    start();
    say(CLIENT, GET);
    say(SERVER, OK(20));
    ack(CLIENT);
    struct wire_segment fin = segment(CLIENT, TCP_FIN | TCP_ACK, NULL, 0);
    feed(fin);
    say_n(SERVER, 20);
    finish();
    check_early(EARLY_IN_BODY, 1);
    CHECK_EQ(rec->life.bytes_in, strlen(OK(20)));
}

TEST(after_a_whole_body_FIN_and_RST_are_ambiguous) {
    start();
    say(CLIENT, GET);
    say(SERVER, OK(5) "hello");
    flags(CLIENT, TCP_FIN | TCP_ACK);
    finish();
    check_early(EARLY_FIN_AFTER_COMPLETE, -1);
    CHECK(KNOWN(KNOW_UNREAD));
    start();
    say(CLIENT, GET);
    say(SERVER, OK(5) "hello");
    flags(CLIENT, TCP_RST | TCP_ACK);
    finish();
    check_early(EARLY_RST_AFTER_COMPLETE, -1);
    CHECK_EQ(rec->evidence.rst_cause, RST_CAUSE_NONE);
    CHECK_EQ(rec->evidence.rst_cause_likely, RST_CAUSE_UNREAD_AT_CLOSE);
    CHECK(!KNOWN(KNOW_UNREAD) && !KNOWN(KNOW_PHASE));
}

TEST(an_empty_body_cannot_be_given_up) {
    start();
    say(CLIENT, GET);
    say(SERVER, OK(0));
    flags(CLIENT, TCP_RST | TCP_ACK);
    finish();
    check_early(EARLY_NO, 0);
    CHECK_EQ(rec->evidence.rst_cause_likely, RST_CAUSE_ABORT);
}

TEST(leaving_before_the_answer) {
    start();
    say(CLIENT, GET);
    ack(SERVER);
    flags(CLIENT, TCP_FIN | TCP_ACK);
    say(SERVER, OK(5) "hello");
    finish();
    check_early(EARLY_NO_RESPONSE, -1);
    CHECK_EQ(rec->life.close_phase, PHASE_IN_REQUEST);
    CHECK_EQ(rec->life.bytes_in, 0);
}

TEST(a_response_that_the_server_cuts_is_not_given_up) {
    start();
    say(CLIENT, GET);
    say(SERVER, OK(5000) "hello");
    flags(SERVER, TCP_FIN | TCP_ACK);
    flags(CLIENT, TCP_FIN | TCP_ACK);
    finish();
    check_early(EARLY_NO, 0);
    CHECK_EQ(rec->life.close_phase, PHASE_IN_BODY);
    start();
    say(CLIENT, GET);
    say(SERVER, OK(5000) "hello");
    flags(SERVER, TCP_RST | TCP_ACK);
    finish();
    check_early(EARLY_NO, 0);
    CHECK(rec->life.rst_received);
}

TEST(an_open_connection_may_yet_give_up) {
    start();
    say(CLIENT, GET);
    say(SERVER, OK(5) "hello");
    finish();
    check_early(EARLY_OPEN, -1);
    CHECK_EQ(rec->life.close_by, BY_NONE);
    CHECK(KNOWN(KNOW_CLOSE));
}

TEST(a_lost_middle_that_the_RST_acknowledges_is_a_whole_body) {
    start();
    say(CLIENT, GET);
    say(SERVER, OK(1000));
    lose(SERVER, 1000);
    flags(CLIENT, TCP_RST | TCP_ACK);
    finish();
    check_early(EARLY_RST_AFTER_COMPLETE, -1);
}

/* ---- TLS ---- */

TEST(TLS_shows_its_hellos_and_no_more) {
    static const uint8_t client[] = {22,
                                     3,
                                     1,
                                     0,
                                     0x58,
                                     1,
                                     0,
                                     0,
                                     0x54,
                                     3,
                                     3,
                                     /* random */ 0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     0,
                                     /* session */ 0,
                                     /* ciphers */ 0,
                                     2,
                                     0x13,
                                     1,
                                     /* compression */ 1,
                                     0,
                                     /* extensions */ 0,
                                     0x29,
                                     0,
                                     0,
                                     0,
                                     11,
                                     0,
                                     9,
                                     0,
                                     0,
                                     6,
                                     'a',
                                     '.',
                                     't',
                                     'e',
                                     's',
                                     't',
                                     0,
                                     16,
                                     0,
                                     11,
                                     0,
                                     9,
                                     8,
                                     'h',
                                     't',
                                     't',
                                     'p',
                                     '/',
                                     '1',
                                     '.',
                                     '1',
                                     0,
                                     43,
                                     0,
                                     7,
                                     6,
                                     0x0a,
                                     0x0a,
                                     3,
                                     4,
                                     3,
                                     3};
    static const uint8_t server[] = {22, 3, 3, 0, 0x34, 2, 0,    0, 0x30, 3, 3, 0, 0,  0, 0, 0, 0, 0, 0,
                                     0,  0, 0, 0, 0,    0, 0,    0, 0,    0, 0, 0, 0,  0, 0, 0, 0, 0, 0,
                                     0,  0, 0, 0, 0,    0, 0x13, 1, 0,    0, 6, 0, 43, 0, 2, 3, 4, 0, 0};
    start();
    feed(segment(CLIENT, TCP_ACK, client, sizeof client));
    feed(segment(SERVER, TCP_ACK, server, 20)); /* cut within the hello: what is in the first segment is read */
    finish();
    CHECK_EQ(rec->evidence.protocol, PROTO_TLS);
    CHECK(rec->evidence.tls != NULL);
    if (!rec->evidence.tls) return;
    CHECK_STR(rec->evidence.tls->sni, "a.test");
    CHECK_STR(rec->evidence.tls->alpn_offered, "http/1.1");
    CHECK_EQ(rec->evidence.tls->offered, 0x0304);
    CHECK(!KNOWN(KNOW_REQUESTS) && !KNOWN(KNOW_EARLY_CLOSES) && KNOWN(KNOW_BYTES_OUT));
    start();
    feed(segment(CLIENT, TCP_ACK, client, sizeof client));
    feed(segment(SERVER, TCP_ACK, server, sizeof server));
    finish();
    CHECK_EQ(rec->evidence.tls->version, 0x0304);
    CHECK_EQ(rec->evidence.tls->cipher, 0x1301);
    CHECK_STR(rec->life.tls_version, "TLSv1.3");
}

/* ---- TLS 1.2: what shows in clear ---- */

static uint8_t tls[4096];
static size_t tls_len;

static void tls_put(const void *p, size_t n) {
    memcpy(tls + tls_len, p, n);
    tls_len += n;
}
static void tls_record(uint8_t type, size_t n) {
    tls_put((uint8_t[]){type, 3, 3, (uint8_t)(n >> 8), (uint8_t)n}, 5);
}
static void tls_say(int from) {
    feed(segment(from, TCP_ACK | TCP_PSH, tls, tls_len));
    tls_len = 0;
}

/* A hello with `extra` bytes of a padding extension and a server name, as a handshake message. */
static void hello_message(bool is_client, uint16_t extra) {
    uint8_t body[2048] = {3, 3};
    size_t n = 34;
    uint16_t extensions;

    body[n++] = 0; /* session */
    if (is_client) body[n++] = 0, body[n++] = 2;
    body[n++] = 0xc0, body[n++] = 0x2f;
    if (is_client) body[n++] = 1;
    body[n++] = 0; /* compression */
    extensions = (uint16_t)(4 + extra + (is_client ? 15 : 0));
    body[n++] = (uint8_t)(extensions >> 8), body[n++] = (uint8_t)extensions;
    body[n++] = 0, body[n++] = 21, body[n++] = (uint8_t)(extra >> 8), body[n++] = (uint8_t)extra;
    n += extra;
    if (is_client) {
        memcpy(body + n, "\0\0\0\13\0\11\0\0\6b.test", 15);
        n += 15;
    }
    tls_put((uint8_t[]){is_client ? 1 : 2, 0, (uint8_t)(n >> 8), (uint8_t)n}, 4);
    tls_put(body, n);
}

/* Message `from` in records of `size` bytes at most. */
static void hello(int from, uint16_t extra, size_t size) {
    static uint8_t message[2048];
    size_t len;

    tls_len = 0;
    hello_message(from == CLIENT, extra);
    len = tls_len;
    memcpy(message, tls, len);
    tls_len = 0;
    for (size_t at = 0; at < len; at += size) {
        size_t n = len - at < size ? len - at : size;
        tls_record(22, n);
        tls_put(message + at, n);
    }
}

static void tls12_handshake(void) {
    start();
    hello(CLIENT, 10, 4000);
    tls_say(CLIENT);
    hello(SERVER, 0, 4000);
    tls_say(SERVER);
    for (int from = CLIENT; from <= SERVER; from++) {
        tls_record(20, 1);
        tls_put("\1", 1);
        tls_record(22, 40); /* Finished, encrypted */
        tls_len += 40;
        tls_say(from);
    }
}
static void tls12_say(int from, uint8_t type, size_t n) {
    tls_record(type, n);
    tls_len += n;
    tls_say(from);
}

TEST(tls_1_2_shows_its_cipher_and_whether_the_server_announced_its_end) {
    static const struct {
        uint8_t last_type;
        size_t last_len;
        bool fin, known, notify;
    } cases[] = {{21, 26, true, true, true},    /* an alert, then FIN */
                 {23, 26, true, true, false},   /* FIN without a word */
                 {21, 26, false, false, false}, /* an alert, and who knows what comes */
                 {23, 26, false, true, false}}; /* open: not yet */

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tls12_handshake();
        tls12_say(CLIENT, 23, 300);
        tls12_say(SERVER, cases[i].last_type, cases[i].last_len);
        if (cases[i].fin) flags(SERVER, TCP_FIN | TCP_ACK);
        ack(CLIENT);
        finish();
        CHECK_STR(rec->life.tls_version, "TLSv1.2");
        CHECK_STR(rec->life.tls_cipher, "ECDHE-RSA-AES128-GCM-SHA256");
        CHECK_EQ(KNOWN(KNOW_CLOSE_NOTIFY) != 0, cases[i].known);
        CHECK_EQ(rec->life.close_notify, cases[i].notify);
    }
    tls12_handshake(); /* two bytes of it, but encrypted: they say nothing */
    tls_record(21, 2);
    tls_put("\2\50", 2);
    tls_say(SERVER);
    flags(SERVER, TCP_FIN | TCP_ACK);
    ack(CLIENT);
    finish();
    CHECK(rec->life.close_notify && rec->evidence.tls->error[1] == 0);
    tls12_handshake(); /* a record's header is missing: where records begin is lost */
    tls12_say(SERVER, 23, 300);
    lose(SERVER, 100);
    tls12_say(SERVER, 21, 26);
    flags(SERVER, TCP_FIN | TCP_ACK);
    ack(CLIENT);
    finish();
    CHECK(!KNOWN(KNOW_CLOSE_NOTIFY) && !rec->life.close_notify);
}

TEST(a_tls_handshake_that_fails_says_why) {
    start();
    hello(CLIENT, 10, 4000);
    tls_say(CLIENT);
    hello(SERVER, 0, 4000);
    tls_say(SERVER);
    tls_record(21, 2);
    tls_put("\2\60", 2); /* fatal, unknown_ca */
    tls_say(CLIENT);
    flags(CLIENT, TCP_FIN | TCP_ACK);
    flags(SERVER, TCP_FIN | TCP_ACK);
    ack(CLIENT);
    finish();
    CHECK_EQ(rec->evidence.tls->error[0], 48);
    CHECK_EQ(rec->evidence.tls->alert[0], ALERT_ERROR);
    CHECK(KNOWN(KNOW_CLOSE_NOTIFY) && !rec->life.close_notify);
}

TEST(a_hello_is_read_however_it_is_cut) {
    for (size_t record = 60; record <= 2000; record += 485)
        for (size_t piece = 1; piece < 1600; piece = piece * 3 + 1) {
            start();
            hello(CLIENT, 1500, record);
            for (size_t at = 0; at < tls_len; at += piece)
                feed(segment(CLIENT, TCP_ACK, tls + at, tls_len - at < piece ? tls_len - at : piece));
            hello(SERVER, 700, record);
            for (size_t at = 0; at < tls_len; at += piece)
                feed(segment(SERVER, TCP_ACK, tls + at, tls_len - at < piece ? tls_len - at : piece));
            finish();
            CHECK_STR(rec->evidence.tls ? rec->evidence.tls->sni : "", "b.test");
            CHECK_STR(rec->life.tls_version ? rec->life.tls_version : "", "TLSv1.2");
        }
}

TEST(bytes_with_a_line_in_them_are_no_head_with_bare_LF) {
    start();
    say(CLIENT, "u\xf1\xa8\xa1\xa6\xad\nn\x14\xca");
    say(SERVER, "7\xbc\xa8\xf1\n\n\xde");
    finish();
    CHECK_EQ(rec->evidence.protocol, PROTO_UNKNOWN);
    CHECK(!KNOWN(KNOW_REQUESTS) && !KNOWN(KNOW_RESPONSES));
    CHECK_EQ(rec->evidence.excess_bytes, 0);
}

TEST(a_server_that_answers_half_a_line_with_what_is_not_HTTP_speaks_something_else) {
    start();
    say(CLIENT, "hello");
    say(SERVER, "world");
    finish();
    CHECK_EQ(rec->evidence.protocol, PROTO_UNKNOWN);
    CHECK(!KNOWN(KNOW_REQUESTS) && !KNOWN(KNOW_RESPONSES));
    CHECK_EQ(rec->evidence.excess_bytes, 0);
    start(); /* and HTTP may be spoken before the request is whole */
    say(CLIENT, "GET / HT");
    say(SERVER, "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n");
    finish();
    CHECK_EQ(rec->evidence.protocol, PROTO_HTTP1);
    CHECK(KNOWN(KNOW_REQUESTS));
}

TEST(what_follows_CONNECT_in_a_one_way_capture_may_be_a_tunnel) {
    static const char *const asks[] = {"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n",
                                       "GET /a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"};
    for (int i = 0; i < 2; i++) {
        talk_begin();
        flags(CLIENT, TCP_SYN);
        (void)segment(SERVER, TCP_SYN | TCP_ACK, NULL, 0);
        ack(CLIENT);
        say(CLIENT, GET);
        say(CLIENT, asks[i]);
        ack(CLIENT);
        say(CLIENT, GET);
        finish();
        CHECK(!KNOWN(KNOW_REQUESTS));
        CHECK_EQ(rec->evidence.requests_seen, 3);
    }
}

TEST(an_answer_behind_holes_on_both_sides_may_be_to_a_request_that_is_lost) {
    start();
    say(CLIENT, GET);
    say(SERVER, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n");
    lose(SERVER, 300); /* the rest of it */
    ack(CLIENT);
    lose(CLIENT, 80); /* HEAD, perhaps */
    for (int i = 0; i < 20; i++) ack(SERVER);
    say(SERVER, OK(50)); /* and then it has no body */
    ack(CLIENT);
    say(CLIENT, GET);
    say(SERVER, "HTTP/1.1 204 None\r\n\r\n");
    ack(CLIENT);
    close_both_ends();
    finish();
    CHECK(!KNOWN(KNOW_EARLY_CLOSES) && !KNOWN(KNOW_RESPONSES) && !KNOWN(KNOW_BODY));
}

TEST(a_response_behind_bytes_that_nobody_asked_for_may_be_none_to_its_reader) {
    start();
    say(CLIENT, GET);
    say(SERVER, OK(3) "abcexcess");
    say(CLIENT, GET);
    say(SERVER, OK(5000) "abc");
    flags(CLIENT, TCP_RST | TCP_ACK);
    finish();
    CHECK_EQ(rec->evidence.excess_bytes, 6);
    CHECK(!KNOWN(KNOW_EARLY_CLOSES));
    CHECK_EQ(rec->evidence.last_head_at, strlen(OK(3)) + 9);
}

TEST(that_a_body_without_a_length_is_empty_only_its_end_tells) {
    for (int server_first = 0; server_first < 2; server_first++) {
        start();
        say(CLIENT, GET);
        say(SERVER, "HTTP/1.0 200 OK\r\n\r\n");
        ack(CLIENT);
        flags(server_first ? SERVER : CLIENT, TCP_FIN | TCP_ACK);
        flags(server_first ? CLIENT : SERVER, TCP_FIN | TCP_ACK);
        finish();
        CHECK_EQ(KNOWN(KNOW_EARLY_CLOSES), server_first);
        CHECK_EQ(rec->life.early_closes, 0);
    }
}

int main(void) {
    int rc = tap_run();
    talk_end();
    return rc;
}

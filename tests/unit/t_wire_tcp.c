/* TCP as a capture shows it: order, loss, ends. */
#include "talk.h"

static void exchange(void) {
    say(CLIENT, GET);
    say(SERVER, OK(10) "0123456789");
    ack(CLIENT);
}

static void close_both(void) {
    flags(CLIENT, TCP_FIN | TCP_ACK);
    flags(SERVER, TCP_FIN | TCP_ACK);
    ack(CLIENT);
}

static void check_one_exchange(void) {
    CHECK(KNOWN(KNOW_REQUESTS) && KNOWN(KNOW_RESPONSES) && KNOWN(KNOW_BYTES_IN) && KNOWN(KNOW_BYTES_OUT));
    CHECK_EQ(rec->life.requests, 1);
    CHECK_EQ(rec->life.responses, 1);
    CHECK_EQ(rec->life.bytes_out, strlen(GET));
    CHECK_EQ(rec->life.bytes_in, strlen(OK(10)) + 10);
}

TEST(a_plain_exchange_and_close) {
    start();
    exchange();
    close_both();
    finish();
    check_one_exchange();
    CHECK_EQ(rec->life.state, LIFE_CLOSED);
    CHECK_EQ(rec->life.close_by, BY_LOCAL);
    CHECK_EQ(rec->life.close_how, HOW_FIN);
    CHECK(KNOWN(KNOW_UNREAD) && rec->life.unread_bytes == 0);
    CHECK_STR(rec->evidence.conn_state, "SF");
    CHECK_STR(rec->evidence.history, "ShADdFf");
    CHECK_EQ(rec->life.opened_ns, SEC(1000));
    CHECK_EQ(rec->evidence.close_packet, 7);
    CHECK_EQ(rec->evidence.incomplete, 0);
    CHECK(!wire_next(t.w));
}

TEST(a_retransmission_is_read_once) {
    start();
    say(CLIENT, GET);
    struct wire_segment s = segment(SERVER, TCP_ACK, OK(10) "0123456789", strlen(OK(10)) + 10);
    feed(s);
    s.packet = ++t.packet, s.ident++, s.at_ns += SEC(1);
    feed(s);
    ack(CLIENT);
    close_both();
    finish();
    check_one_exchange();
    CHECK_EQ(rec->evidence.remote.retransmits, 1);
}

TEST(a_copy_of_a_packet_is_not_a_retransmission) {
    start();
    struct wire_segment s = segment(CLIENT, TCP_ACK, GET, strlen(GET));
    feed(s);
    s.packet = ++t.packet;
    feed(s);
    finish();
    CHECK_EQ(rec->evidence.local.duplicates, 1);
    CHECK_EQ(rec->evidence.local.retransmits, 0);
    CHECK_EQ(rec->life.requests, 1);
}

TEST(segments_out_of_order_and_overlapping) {
    struct wire_segment s[3];
    start();
    say(CLIENT, GET);
    for (int i = 0; i < 3; i++) {
        static const char *const parts[] = {"HTTP/1.1 200 OK\r\nContent-", "Length: 10\r\n\r\n01234", "56789"};
        s[i] = segment(SERVER, TCP_ACK, parts[i], strlen(parts[i]));
    }
    s[2].payload = (const uint8_t *)"3456789", s[2].seq -= 2,
    s[2].len = s[2].captured = 7; /* overlaps, the same bytes */
    feed(s[2]), feed(s[1]), feed(s[0]);
    ack(CLIENT);
    close_both();
    finish();
    check_one_exchange();
    CHECK_EQ(rec->evidence.remote.overlap_conflicts, 0);
    CHECK(rec->evidence.remote.out_of_order > 0);
}

TEST(of_an_overlap_with_other_bytes_the_first_copy_wins) {
    start();
    say(CLIENT, GET);
    struct wire_segment first = segment(SERVER, TCP_ACK, "HTTP/1.1 200 OK\r\n", 17);
    struct wire_segment second = segment(SERVER, TCP_ACK, "Content-Length: 3\r\n\r\nabc", 24), other = second;
    other.payload = (const uint8_t *)"Content-Length: 9\r\n\r\nabc", other.ident++;
    feed(second), feed(other), feed(first);
    finish();
    CHECK_EQ(rec->evidence.remote.overlap_conflicts, 1);
    CHECK_EQ(rec->life.body_announced, 3);
    CHECK_EQ(rec->life.state, LIFE_IDLE);
}

TEST(an_answer_is_read_after_the_request_that_it_acknowledges) {
    start();
    struct wire_segment request = segment(CLIENT, TCP_ACK, "HEAD /a HTTP/1.1\r\nHost: a\r\n\r\n", 29);
    struct wire_segment answer = segment(SERVER, TCP_ACK, OK(5000), strlen(OK(5000)));
    feed(answer), feed(request); /* shuffled: only the request tells that no body follows */
    say(CLIENT, GET);
    say(SERVER, OK(3) "abc");
    finish();
    CHECK_EQ(rec->life.responses, 2);
    CHECK(KNOWN(KNOW_RESPONSES));
    CHECK_EQ(rec->evidence.excess_bytes, 0);
}

TEST(a_hole_in_a_body_is_bridged_by_its_length) {
    start();
    say(CLIENT, GET);
    say(SERVER, OK(3000));
    say_n(SERVER, 1000);
    lose(SERVER, 1000);
    ack(CLIENT); /* the client has it: the capture has not */
    say_n(SERVER, 1000);
    for (int i = 0; i < 10; i++) ack(CLIENT);
    say(CLIENT, GET);
    say(SERVER, OK(10) "0123456789");
    ack(CLIENT);
    close_both();
    finish();
    CHECK(KNOWN(KNOW_REQUESTS) && KNOWN(KNOW_RESPONSES) && KNOWN(KNOW_BYTES_IN));
    CHECK_EQ(rec->life.requests, 2);
    CHECK_EQ(rec->life.responses, 2);
    CHECK_EQ(rec->evidence.remote.gap_bytes, 1000);
    CHECK_EQ(rec->evidence.incomplete, INCOMPLETE_LOSS);
}

TEST(a_hole_in_a_head_makes_the_count_unknown_and_the_next_head_is_found) {
    start();
    say(CLIENT, GET);
    lose(SERVER, 200);
    ack(CLIENT);
    say(CLIENT, GET);
    say(SERVER, OK(10) "0123456789");
    for (int i = 0; i < 14; i++) ack(CLIENT);
    finish();
    CHECK(KNOWN(KNOW_REQUESTS));
    CHECK_EQ(rec->life.requests, 2);
    CHECK(!KNOWN(KNOW_RESPONSES));
    CHECK_EQ(rec->evidence.responses_seen, 1);
    CHECK(rec->evidence.incomplete & INCOMPLETE_GAP_IN);
    CHECK_STR(rec->evidence.history, "ShADgd");
}

TEST(bytes_that_nobody_acknowledged_are_not_part_of_what_was_said) {
    start();
    say(CLIENT, GET);
    lose(SERVER, 100); /* lost on the wire */
    struct wire_segment s = segment(SERVER, TCP_ACK, "HTTP/1.1 200 OK\r\n", 17);
    feed(s);
    struct wire_segment a = segment(CLIENT, TCP_ACK, NULL, 0);
    a.ack = 5001;
    for (int i = 0; i < 40; i++) a.packet = ++t.packet, a.ident += 1 << 16, a.at_ns += MSEC(1), feed(a);
    finish();
    CHECK_EQ(rec->life.responses, 0);
    CHECK_EQ(rec->evidence.remote.gaps, 0);
}

TEST(sequence_numbers_wrap) {
    talk_begin();
    t.seq[CLIENT] = UINT32_MAX - 5, t.seq[SERVER] = UINT32_MAX - 60;
    handshake();
    exchange();
    exchange();
    close_both();
    finish();
    CHECK_EQ(rec->life.requests, 2);
    CHECK_EQ(rec->life.bytes_in, 2 * (strlen(OK(10)) + 10));
}

TEST(more_than_4_GiB_pass) {
    start();
    say(CLIENT, GET);
    say(SERVER, "HTTP/1.1 200 OK\r\nContent-Length: 5000000000\r\n\r\n");
    for (uint64_t left = 5000000000; left;) {
        uint32_t n = left > 1000000 ? 1000000 : (uint32_t)left;
        say_n(SERVER, n);
        left -= n;
        ack(CLIENT);
    }
    close_both();
    finish();
    CHECK_EQ(rec->life.bytes_in, 5000000000 + 47);
    CHECK_EQ(rec->evidence.early, EARLY_FIN_AFTER_COMPLETE);
}

TEST(a_start_in_mid_stream) {
    talk_begin();
    say_n(SERVER, 300); /* some body */
    ack(CLIENT);
    say(CLIENT, GET);
    say(SERVER, OK(10) "0123456789");
    close_both();
    finish();
    CHECK_EQ(rec->life.flow.local.port, 4000);
    CHECK_EQ(rec->evidence.roles, ROLES_CONTENT);
    CHECK(rec->evidence.incomplete & INCOMPLETE_START);
    CHECK(!KNOWN(KNOW_REQUESTS) && !KNOWN(KNOW_BYTES_IN) && !KNOWN(KNOW_OPENED));
    CHECK_EQ(rec->evidence.requests_seen, 1);
    CHECK(rec->evidence.history[0] == '^');
}

TEST(the_answer_to_a_SYN_tells_who_is_who) {
    talk_begin();
    (void)segment(CLIENT, TCP_SYN, NULL, 0); /* not captured */
    flags(SERVER, TCP_SYN | TCP_ACK);
    ack(CLIENT);
    exchange();
    finish();
    CHECK_EQ(rec->life.flow.local.port, 4000);
    CHECK(KNOWN(KNOW_REQUESTS) && !KNOWN(KNOW_OPENED));
    CHECK_EQ(rec->life.requests, 1);
}

TEST(a_refused_connection) {
    talk_begin();
    flags(CLIENT, TCP_SYN);
    struct wire_segment s = segment(SERVER, TCP_RST | TCP_ACK, NULL, 0);
    s.seq = 0;
    feed(s);
    finish();
    CHECK_EQ(rec->evidence.rst_cause, RST_CAUSE_REFUSED);
    CHECK_STR(rec->evidence.conn_state, "REJ");
    CHECK_EQ(rec->life.close_by, BY_REMOTE);
    CHECK_EQ(rec->life.close_phase, PHASE_DIALING);
    CHECK(rec->life.rst_received && !rec->life.rst_sent);
}

TEST(an_RST_outside_the_window_ends_nothing) {
    start();
    exchange();
    struct wire_segment s = segment(SERVER, TCP_RST, NULL, 0);
    s.seq += 1 << 28;
    feed(s);
    exchange();
    finish();
    CHECK_EQ(rec->evidence.remote.bad_rsts, 1);
    CHECK(!rec->life.rst_received);
    CHECK_EQ(rec->life.requests, 2);
}

TEST(the_end_whose_FIN_was_acknowledged_by_the_others_closed_first) {
    start();
    exchange();
    struct wire_segment theirs = segment(SERVER, TCP_FIN | TCP_ACK, NULL, 0),
                        mine = segment(CLIENT, TCP_FIN | TCP_ACK, NULL, 0);
    feed(mine), feed(theirs); /* shuffled */
    finish();
    CHECK_EQ(rec->life.close_by, BY_REMOTE);
    CHECK_EQ(rec->life.close_how, HOW_FIN);
}

TEST(an_end_whose_FIN_is_not_in_the_capture) {
    start();
    exchange();
    (void)segment(SERVER, TCP_FIN | TCP_ACK, NULL, 0);
    flags(CLIENT, TCP_FIN | TCP_ACK); /* acknowledges one byte more than was seen */
    finish();
    CHECK(!KNOWN(KNOW_CLOSE) && !KNOWN(KNOW_BYTES_IN));
}

TEST(half_close_and_what_follows_it) {
    start();
    say(CLIENT, GET);
    flags(CLIENT, TCP_FIN | TCP_ACK);
    say(SERVER, OK(10) "0123456789");
    ack(CLIENT);
    flags(SERVER, TCP_FIN | TCP_ACK);
    ack(CLIENT);
    finish();
    CHECK_EQ(rec->life.responses, 1);
    CHECK_EQ(rec->life.bytes_in, strlen(OK(10)) + 10);
    CHECK(!KNOWN(KNOW_EARLY_CLOSES)); /* shutdown(), not close(): whether anything was given up is not known */
}

TEST(keep_alive_probes_are_no_retransmissions) {
    start();
    exchange();
    struct wire_segment s = segment(CLIENT, TCP_ACK, NULL, 0);
    s.seq--;
    feed(s);
    finish();
    CHECK_EQ(rec->evidence.local.keepalives, 1);
    CHECK_EQ(rec->evidence.local.retransmits, 0);
}

TEST(spells_of_a_zero_window) {
    start();
    say(CLIENT, GET);
    say(SERVER, OK(100));
    t.window[CLIENT] = 0;
    ack(CLIENT);
    t.now += SEC(2);
    t.window[CLIENT] = 500;
    ack(CLIENT);
    finish();
    CHECK_EQ(rec->evidence.local.zero_windows, 1);
    CHECK_EQ(rec->evidence.local.zero_window_ns, SEC(2) + MSEC(1));
    CHECK(strchr(rec->evidence.history, 'W'));
}

TEST(the_same_ends_connect_again) {
    start();
    exchange();
    flags(CLIENT, TCP_RST | TCP_ACK);
    t.seq[CLIENT] = 900000, t.seq[SERVER] = 70000;
    handshake();
    exchange();
    exchange();
    wire_finish(t.w);
    rec = wire_next(t.w);
    CHECK_EQ(rec->life.requests, 1);
    CHECK(rec->life.rst_sent);
    wire_record_free(&rec);
    rec = wire_next(t.w);
    CHECK_EQ(rec->life.requests, 2);
    CHECK_EQ(rec->life.state, LIFE_IDLE);
    CHECK(!wire_next(t.w));
}

TEST(a_new_beginning_without_an_end) {
    start();
    exchange();
    t.seq[CLIENT] = 900000;
    flags(CLIENT, TCP_SYN);
    wire_record_free(&rec);
    rec = wire_next(t.w);
    CHECK(rec && rec->evidence.incomplete & INCOMPLETE_END);
    CHECK(!KNOWN(KNOW_CLOSE) && !KNOWN(KNOW_CLOSED) && !KNOWN(KNOW_EARLY_CLOSES));
}

TEST(late_packets_of_an_ended_connection_are_no_new_one) {
    start();
    exchange();
    flags(CLIENT, TCP_RST | TCP_ACK);
    uint16_t port = t.port;
    uint32_t seq[2] = {t.seq[0], t.seq[1]};
    t.now += SEC(60);
    t.port = 4001, t.seq[0] = 1, t.seq[1] = 1;
    handshake();
    t.port = port, t.seq[0] = seq[0], t.seq[1] = seq[1];
    say_n(SERVER, 100);
    CHECK_EQ(wire_totals(t.w)->strays, 1);
    CHECK_EQ(wire_totals(t.w)->connections, 2);
    CHECK_EQ(wire_totals(t.w)->open, 1);
}

TEST(a_stream_that_is_heard_of_before_its_SYN_begins_where_the_SYN_says) {
    talk_begin();
    struct wire_segment syn = segment(CLIENT, TCP_SYN, NULL, 0), syn_ack = segment(SERVER, TCP_SYN | TCP_ACK, NULL, 0);
    struct wire_segment open = segment(CLIENT, TCP_ACK, NULL, 0);
    struct wire_segment ask = segment(CLIENT, TCP_ACK, GET, strlen(GET));
    struct wire_segment answer = segment(SERVER, TCP_ACK, OK(10) "0123456789", strlen(OK(10)) + 10);
    struct wire_segment done = segment(CLIENT, TCP_ACK, NULL, 0);

    feed(syn); /* then all in disorder: the last ACK speaks of bytes that nobody has seen */
    feed(done), feed(syn_ack), feed(answer), feed(open), feed(ask);
    close_both();
    finish();
    check_one_exchange();
    CHECK_EQ(rec->evidence.incomplete, 0);

    talk_begin();
    syn = segment(CLIENT, TCP_SYN, NULL, 0), syn_ack = segment(SERVER, TCP_SYN | TCP_ACK, NULL, 0);
    ask = segment(CLIENT, TCP_ACK, GET, strlen(GET));
    struct wire_segment first = segment(SERVER, TCP_ACK, OK(10), strlen(OK(10)));
    struct wire_segment second = segment(SERVER, TCP_ACK, "0123456789", 10);
    feed(syn), feed(ask); /* no SYN+ACK, and the request's ACK is the first: that proves where the answer begins */
    feed(second), feed(first);
    close_both();
    finish();
    check_one_exchange();
}

TEST(a_stream_moves_down_to_what_is_heard_of_it) {
    talk_begin();
    struct wire_segment syn = segment(CLIENT, TCP_SYN, NULL, 0), syn_ack = segment(SERVER, TCP_SYN | TCP_ACK, NULL, 0);
    struct wire_segment ask = segment(CLIENT, TCP_ACK, GET, strlen(GET));
    struct wire_segment answer = segment(SERVER, TCP_ACK, OK(10) "0123456789", strlen(OK(10)) + 10);
    struct wire_segment later = segment(SERVER, TCP_ACK, NULL, 0);

    feed(syn), feed(later), feed(answer), feed(syn_ack), feed(ask);
    ack(CLIENT);
    close_both();
    finish();
    check_one_exchange();
}

TEST(where_a_stream_begins_is_not_known_without_its_SYN_or_what_came_first) {
    talk_begin();
    feed(segment(CLIENT, TCP_SYN, NULL, 0));
    (void)segment(SERVER, TCP_SYN | TCP_ACK, NULL, 0); /* lost, and the request and half of its answer with it */
    lose(CLIENT, strlen(GET));
    lose(SERVER, 5000);
    say(SERVER, OK(3) "abc"); /* of the body, perhaps */
    ack(CLIENT);
    flags(CLIENT, TCP_RST | TCP_ACK);
    finish();
    CHECK(!KNOWN(KNOW_REQUESTS) && !KNOWN(KNOW_RESPONSES) && !KNOWN(KNOW_BYTES_IN) && !KNOWN(KNOW_UNREAD));
    CHECK(rec->evidence.incomplete & INCOMPLETE_GAP_IN);
    CHECK(rec->evidence.rst_cause != RST_CAUSE_REFUSED);

    talk_begin(); /* nothing of the server's is there at all, and its RST is not a refusal */
    feed(segment(CLIENT, TCP_SYN, NULL, 0));
    (void)segment(SERVER, TCP_SYN | TCP_ACK, NULL, 0);
    say(CLIENT, GET);
    lose(SERVER, 100);
    flags(SERVER, TCP_RST | TCP_ACK);
    finish();
    CHECK(rec->evidence.rst_cause != RST_CAUSE_REFUSED);
    CHECK(!KNOWN(KNOW_RESPONSES));
}

TEST(what_waits_for_a_FIN_that_is_not_there_was_said_all_the_same) {
    start();
    say(CLIENT, GET);
    ack(SERVER);
    (void)segment(CLIENT, TCP_FIN | TCP_ACK, NULL, 0);
    ack(SERVER);
    say(SERVER, OK(3) "abc");
    feed(segment(CLIENT, TCP_RST, NULL, 0));
    finish();
    CHECK_EQ(rec->life.requests, 1);
    CHECK_EQ(rec->life.responses, 1);
    CHECK(!KNOWN(KNOW_BYTES_IN)); /* the client's end is not in the capture: when it came is not known */
}

TEST(what_came_after_a_lost_end_of_the_client_was_not_received) {
    start();
    exchange();
    (void)segment(CLIENT, TCP_FIN | TCP_ACK, NULL, 0);
    ack(SERVER); /* of that FIN */
    say(SERVER, "nobody takes this");
    finish();
    CHECK(!KNOWN(KNOW_BYTES_IN) && KNOWN(KNOW_REQUESTS));
}

TEST(a_segment_behind_a_hole_that_nothing_fills_may_hold_messages) {
    start();
    say(CLIENT, GET);
    lose(SERVER, 1);
    feed(segment(SERVER, TCP_ACK, "0123456789", 10));
    t.seq[SERVER] -= 11; /* none of it is acknowledged */
    flags(CLIENT, TCP_RST | TCP_ACK);
    finish();
    CHECK_EQ(rec->evidence.remote.gap_bytes, 0);
    CHECK(!KNOWN(KNOW_RESPONSES) && KNOWN(KNOW_REQUESTS));
}

TEST(a_hole_ends_where_the_other_end_spoke) {
    start();
    say(CLIENT, GET);
    say(SERVER, OK(100));
    lose(SERVER, 100); /* the body, and the head of the next answer: one hole, with a request in its middle */
    ack(CLIENT);
    say(CLIENT, GET);
    lose(SERVER, strlen(OK(10)));
    ack(CLIENT);
    say(SERVER, "0123456789");
    ack(CLIENT);
    close_both();
    finish();
    CHECK(KNOWN(KNOW_REQUESTS) && rec->life.requests == 2);
    CHECK(!KNOWN(KNOW_RESPONSES)); /* what was the head of the second may have been anything */
    CHECK_EQ(rec->evidence.excess_bytes, 0);
    CHECK_EQ(rec->evidence.remote.gaps, 2);
}

TEST(an_answer_to_a_request_that_is_lost_makes_the_count_unknown) {
    start();
    lose(CLIENT, strlen(GET));
    say(SERVER, OK(10) "0123456789");
    say(SERVER, OK(3) "abc"); /* nobody asked for that: but who can tell? */
    ack(CLIENT);
    close_both();
    finish();
    CHECK(!KNOWN(KNOW_REQUESTS) && !KNOWN(KNOW_RESPONSES));
    CHECK_EQ(rec->evidence.responses_seen, 2);
}

TEST(where_bytes_were_lost_and_no_FIN_is_there_the_last_may_be_missing) {
    start();
    say(CLIENT, GET);
    say(SERVER, OK(3000));
    lose(SERVER, 1000);
    say_n(SERVER, 1000);
    ack(CLIENT);
    finish();
    CHECK_EQ(rec->evidence.remote.gap_bytes, 1000);
    CHECK(!KNOWN(KNOW_BYTES_IN) && KNOWN(KNOW_BYTES_OUT));
}

TEST(a_one_way_capture_is_read_as_far_as_it_goes) {
    talk_begin();
    flags(CLIENT, TCP_SYN);
    (void)segment(SERVER, TCP_SYN | TCP_ACK, NULL, 0);
    ack(CLIENT);
    say(CLIENT, GET);
    lose(SERVER, 300);
    for (int i = 0; i < 20; i++) ack(CLIENT);
    say(CLIENT, GET);
    finish();
    CHECK(rec->evidence.incomplete & INCOMPLETE_ONE_WAY);
    CHECK(!KNOWN(KNOW_RESPONSES));
    CHECK_EQ(rec->evidence.requests_seen, 2);
}

TEST(a_SYN_and_a_FIN_that_come_again_count_as_sent_again) {
    talk_begin();
    struct wire_segment syn = segment(CLIENT, TCP_SYN, NULL, 0);
    feed(syn);
    syn.packet = ++t.packet, syn.ident++, syn.at_ns += SEC(1), t.now += SEC(1);
    feed(syn);
    flags(SERVER, TCP_SYN | TCP_ACK), ack(CLIENT);
    exchange();
    struct wire_segment fin = segment(CLIENT, TCP_FIN | TCP_ACK, NULL, 0);
    feed(fin);
    fin.packet = ++t.packet, fin.ident++, fin.at_ns += MSEC(200);
    feed(fin);
    finish();
    check_one_exchange();
    CHECK_EQ(rec->evidence.local.retransmits, 2);
    CHECK_EQ(rec->evidence.local.duplicates, 0);
}

TEST(the_same_RST_and_the_same_SYN_ACK_again_are_copies_only_where_all_else_is) {
    for (int doubled = 0; doubled < 2; doubled++) {
        talk_begin();
        struct wire_segment syn = segment(CLIENT, TCP_SYN, NULL, 0),
                            answer = segment(SERVER, TCP_SYN | TCP_ACK, NULL, 0);
        feed(syn);
        if (doubled) feed(syn);
        answer.ident = 77; /* identification 0, a checksum: what Linux sends */
        feed(answer), feed(answer);
        ack(CLIENT);
        say(CLIENT, GET);
        struct wire_segment rst = segment(SERVER, TCP_RST, NULL, 0);
        rst.ident = 78;
        feed(rst), feed(rst), feed(rst);
        finish();
        CHECK_EQ(rec->evidence.local.duplicates, doubled);
        CHECK_EQ(rec->evidence.remote.duplicates, doubled ? 3 : 0);
        CHECK_EQ(rec->evidence.remote.retransmits, !doubled);
        CHECK_EQ(rec->evidence.remote.rsts, doubled ? 1 : 3);
    }
}

TEST(one_byte_that_nobody_acknowledged_is_sent_again_and_no_keep_alive_probe) {
    start();
    struct wire_segment s = segment(CLIENT, TCP_ACK, "G", 1);
    feed(s);
    s.packet = ++t.packet, s.ident++, s.at_ns += MSEC(200), t.now += MSEC(200);
    feed(s);
    ack(SERVER);
    s.packet = ++t.packet, s.ident++, s.at_ns += SEC(10), t.now += SEC(10);
    feed(s); /* and now it is one */
    finish();
    CHECK_EQ(rec->evidence.local.retransmits, 1);
    CHECK_EQ(rec->evidence.local.keepalives, 1);
}

/* The client leaves with FIN, an answer comes for the closed socket; `order`: of FIN, answer and RST. */
static void leave_and_be_answered(const char *order) {
    start();
    say(CLIENT, GET);
    struct wire_segment fin = segment(CLIENT, TCP_FIN | TCP_ACK, NULL, 0);
    struct wire_segment answer = segment(SERVER, TCP_ACK, OK(5000) "abc", strlen(OK(5000)) + 3);
    struct wire_segment rst = segment(CLIENT, TCP_RST, NULL, 0);
    for (; *order; order++) feed(*order == 'f' ? fin : *order == 'a' ? answer : rst);
    finish();
}

TEST(an_RST_behind_a_FIN_came_after_it_in_whatever_order_they_were_captured) {
    static const char *const orders[] = {"far", "rfa", "arf", "raf"};
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
        leave_and_be_answered(orders[i]);
        CHECK(KNOWN(KNOW_CLOSE));
        CHECK_EQ(rec->life.close_how, HOW_FIN);
        CHECK_EQ(rec->life.close_by, BY_LOCAL);
        CHECK_EQ(rec->evidence.close_packet, 5);
        CHECK_EQ(rec->evidence.rst_cause, RST_CAUSE_DATA_AFTER_CLOSE);
        CHECK(rec->evidence.early != EARLY_IN_BODY && !KNOWN(KNOW_EARLY_CLOSES));
    }
}

TEST(the_RST_of_a_socket_that_was_gone_does_not_show_how_it_went) {
    leave_and_be_answered("ar");
    CHECK(!KNOWN(KNOW_CLOSE) && !KNOWN(KNOW_EARLY_CLOSES) && !KNOWN(KNOW_UNREAD) && !KNOWN(KNOW_BYTES_OUT));
    CHECK_EQ(rec->evidence.rst_cause, RST_CAUSE_NONE);
    CHECK_EQ(rec->evidence.rst_cause_likely, RST_CAUSE_DATA_AFTER_CLOSE);
    CHECK_EQ(rec->evidence.unread_if_read_4096, UNKNOWN_BYTES);
}

TEST(what_an_end_had_when_it_closed_its_FIN_says_and_no_later_ACK) {
    start();
    say(CLIENT, GET);
    struct wire_segment fin = segment(CLIENT, TCP_FIN | TCP_ACK, NULL, 0); /* half-close: it reads on */
    say(SERVER, OK(10) "0123456789");
    ack(CLIENT);
    feed(fin); /* captured late */
    flags(SERVER, TCP_FIN | TCP_ACK);
    ack(CLIENT);
    finish();
    CHECK(!KNOWN(KNOW_EARLY_CLOSES));
    CHECK_EQ(rec->evidence.early, EARLY_NO_RESPONSE);
    CHECK_EQ(rec->life.bytes_in, strlen(OK(10)) + 10);
}

TEST(a_stream_begins_where_its_SYN_says_though_an_ACK_of_more_was_heard_before) {
    talk_begin();
    struct wire_segment syn = segment(CLIENT, TCP_SYN, NULL, 0), answer = segment(SERVER, TCP_SYN | TCP_ACK, NULL, 0);
    struct wire_segment hello = segment(SERVER, TCP_ACK, "220 hello\r\n", 11),
                        thanks = segment(CLIENT, TCP_ACK, NULL, 0);
    feed(syn), feed(thanks), feed(answer), feed(hello);
    close_both();
    finish();
    CHECK(KNOWN(KNOW_BYTES_IN));
    CHECK_EQ(rec->life.bytes_in, 11);
    CHECK_EQ(rec->evidence.remote.retransmits, 0);

    talk_begin(); /* without the SYN+ACK */
    syn = segment(CLIENT, TCP_SYN, NULL, 0), answer = segment(SERVER, TCP_SYN | TCP_ACK, NULL, 0);
    hello = segment(SERVER, TCP_ACK, "220 hello\r\n", 11), thanks = segment(CLIENT, TCP_ACK, NULL, 0);
    struct wire_segment more = segment(SERVER, TCP_ACK, "more", 4);
    feed(syn), feed(thanks), feed(more), feed(hello);
    ack(CLIENT);
    close_both();
    finish();
    CHECK(!KNOWN(KNOW_BYTES_IN) && !KNOWN(KNOW_RESPONSES));
}

TEST(both_ends_of_a_link_were_captured_and_a_burst_comes_before_its_copies) {
    enum { BURST = 60 };
    static struct wire_segment burst[BURST];
    talk_begin();
    for (int i = 0; i < 2; i++) {
        struct wire_segment s = segment(i ? SERVER : CLIENT, i ? TCP_SYN | TCP_ACK : TCP_SYN, NULL, 0);
        feed(s), feed(s);
    }
    ack(CLIENT);
    say(CLIENT, GET);
    for (int i = 0; i < BURST; i++) {
        static char filler[1000];
        t.now -= MSEC(1); /* all at once */
        burst[i] = i ? segment(SERVER, TCP_ACK, filler, sizeof filler)
                     : segment(SERVER, TCP_ACK, OK(59000), strlen(OK(59000)));
        feed(burst[i]);
    }
    for (int i = 0; i < BURST; i++) feed(burst[i]);
    struct wire_segment probe = segment(CLIENT, TCP_ACK, NULL, 0);
    probe.seq--, probe.ident = 99; /* identification 0 */
    feed(probe), feed(probe);
    finish();
    CHECK_EQ(rec->evidence.remote.retransmits, 0);
    CHECK_EQ(rec->evidence.remote.duplicates, BURST + 1);
    CHECK_EQ(rec->evidence.local.keepalives, 1);
    CHECK_EQ(rec->life.bytes_in, strlen(OK(59000)) + 59000);
}

TEST(FINs_that_pass_each_other_do_not_acknowledge_one_another) {
    for (int crossed = 0; crossed < 2; crossed++) {
        start();
        exchange();
        struct wire_segment mine = segment(CLIENT, TCP_FIN | TCP_ACK, NULL, 0);
        struct wire_segment theirs = segment(SERVER, TCP_FIN | TCP_ACK, NULL, 0);
        theirs.ack -= (uint32_t)crossed;
        feed(mine), feed(theirs);
        finish();
        CHECK(rec->evidence.local.crossed);
        CHECK_EQ(rec->evidence.remote.crossed, crossed);
    }
}

int main(void) {
    int rc = tap_run();
    talk_end();
    return rc;
}

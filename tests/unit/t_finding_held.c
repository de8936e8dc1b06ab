/* The rules about connections that clients hold. */
#include "finding_fixture.h"

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

TEST(bytes_stuck_on_our_side_confirm_a_leak_of_a_client_that_is_out_of_reach) {
    begin(SIDE_DOWNSTREAM, "Go-http-client/1.1");
    size = 1 << 20; /* our kernel took all of it: the exchange looks done */
    leak_some(3);
    struct fact_socket k = {.recv_q = UNKNOWN_BYTES, .send_q = 900000, .zero_window = true};
    struct fact fact = fact_of(1, FACT_SOCKET);
    fact.socket = &k;
    say(fact);
    wait_for(SEC(31));
    const struct finding *fi = found(FINDING_BODY_NOT_CLOSED);
    CHECK(fi && fi->confidence == CONFIDENCE_CONFIRMED && fi->number[NUM_SEND_Q] == 900000);
    CHECK(fi && !(fi->known >> NUM_RECV_Q & 1));
    k.zero_window = false; /* it is on its way */
    say(fact);
    wait_for(SEC(2));
    CHECK(!found(FINDING_BODY_NOT_CLOSED) || found(FINDING_BODY_NOT_CLOSED)->resolved_ns);
    end();
}

static void leak_a_megabyte(enum side of) {
    begin(of, "Go-http-client/1.1");
    size = 1 << 20;
    leak_some(6);
    wait_for(SEC(31));
}

TEST(what_is_on_the_wire_was_read_and_what_our_kernel_took_need_not_be) {
    leak_a_megabyte(SIDE_CLIENT);
    CHECK(found(FINDING_TRANSPORT_PER_REQUEST) && !found(FINDING_BODY_NOT_CLOSED));
    end();
    leak_a_megabyte(SIDE_DOWNSTREAM);
    CHECK(found(FINDING_TRANSPORT_PER_REQUEST) &&
          found(FINDING_BODY_NOT_CLOSED)); /* they look the same without a probe */
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
    three_stall();
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
    three_stall();
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
    three_stall();
    wait_for(SEC(31));
    const struct finding *fi = found(FINDING_BODY_NOT_CLOSED);
    CHECK(fi && fi->confidence == CONFIDENCE_CONFIRMED);
    CHECK(found(FINDING_SLOW_READER));
    end();
}

/* Twelve pools look like one from here: the processes of one program, or clients behind one address. Each asks once
 * in a while, and comes back to its own connection. */
static void several_pools(unsigned rounds, int64_t pause) {
    for (unsigned r = 0; r < rounds; r++) {
        for (conn_id id = 1; id <= 12; id++) {
            if (!r) opened(id);
            exchange(id);
            wait_for(pause / 12);
        }
    }
}

TEST(connections_that_are_used_again_were_not_held) {
    begin(SIDE_DOWNSTREAM, "Go-http-client/1.1");
    several_pools(1, SEC(120));
    CHECK(found(FINDING_BODY_NOT_CLOSED) && found(FINDING_TRANSPORT_PER_REQUEST)); /* so it seems, still */
    several_pools(2, SEC(120));
    nothing();
    CHECK_EQ(findings_held(f), 0);
    CHECK_EQ(findings_open(f), 0);
    struct finding_change c;
    unsigned raised = 0, cleared = 0;
    while (findings_next_change(f, &c)) c.raised ? raised++ : cleared++;
    CHECK(raised == 2 && cleared == 2);
    for (conn_id id = 13; id <= 15; id++)
        opened(id), exchange(id), wait_for(SEC(5)); /* three more, as late as the others */
    wait_for(SEC(60));
    nothing();
    wait_for(SEC(600)); /* but for ever is too long */
    CHECK(found(FINDING_BODY_NOT_CLOSED));
    end();
}

TEST(when_one_comes_back_the_others_may_rest_as_long) {
    begin(SIDE_DOWNSTREAM, "Go-http-client/1.1");
    leak_some(10);
    wait_for(SEC(30));
    CHECK_EQ(found(FINDING_BODY_NOT_CLOSED)->count, 10);
    exchange(4); /* after 36 s */
    nothing();
    wait_for(SEC(80));
    const struct finding *fi = found(FINDING_BODY_NOT_CLOSED);
    CHECK(fi && fi->count == 10 && fi->by_status[2] == 10 && fi->by_host[0].count == 10 && fi->n_ids == 10);
    end();
}

TEST(processes_have_pools_of_their_own) {
    for (unsigned processes = 1; processes <= 12; processes += 11) {
        begin(SIDE_DOWNSTREAM, "Go-http-client/1.1");
        for (conn_id id = 1; id <= 12; id++) opened(id), exchange(id), wait_for(SEC(1));
        for (conn_id id = 1; id <= 12; id++) {
            struct fact_socket k = {.pid = 1000 + (uint32_t)id % processes, .comm = "worker"};
            struct fact fact = fact_of(id, FACT_SOCKET);
            fact.socket = &k;
            say(fact);
        }
        wait_for(SEC(60));
        CHECK(!found(FINDING_BODY_NOT_CLOSED) == (processes == 12));
        if (processes == 12) nothing();
        end();
    }
}

TEST(what_a_program_held_stands_as_it_was_when_it_ended) {
    begin(SIDE_DOWNSTREAM, "Go-http-client/1.1");
    size = 30000;
    leak_some(8);
    for (conn_id id = 1; id <= 8; id++) socket_of(id, 20000);
    wait_for(SEC(31));
    for (conn_id id = 1; id <= 8; id++) {
        struct fact_end e = an_end();
        e.how = HOW_RST;
        e.local_rst = true;
        e.early = FACT_EARLY_RST_AFTER;
        e.rst_likely = FACT_RST_UNREAD;
        ended(id, &e);
    }
    wait_for(SEC(1));
    const struct finding *fi = found(FINDING_BODY_NOT_CLOSED);
    CHECK(fi && fi->resolved_ns && fi->count == 8 && fi->number[NUM_HELD] == 0);
    CHECK(fi && fi->number[NUM_RECV_Q] == 160000 && fi->number[NUM_OPENS_SINCE] == 7);
    CHECK(!found(FINDING_EARLY_BODY_CLOSE));
    end();
}

TEST(resets_at_the_end_tell_a_leak_from_pools_that_nobody_used) {
    begin(SIDE_CLIENT, NULL);
    size = 30000;
    leak_some(8);
    wait_for(SEC(31));
    CHECK(found(FINDING_BODY_NOT_CLOSED) && found(FINDING_TRANSPORT_PER_REQUEST));
    for (conn_id id = 1; id <= 8; id++) {
        struct fact_end e = an_end();
        e.how = HOW_RST;
        e.local_rst = true;
        e.early = FACT_EARLY_RST_AFTER;
        e.rst_likely = FACT_RST_UNREAD;
        ended(id, &e);
    }
    wait_for(SEC(1));
    const struct finding *fi = found(FINDING_BODY_NOT_CLOSED);
    CHECK(fi && fi->count == 8 && fi->confidence == CONFIDENCE_LIKELY && !fi->ambiguous);
    CHECK(!found(FINDING_TRANSPORT_PER_REQUEST));
    end();
}

TEST(the_end_of_a_leak_is_no_early_close) {
    begin(SIDE_DOWNSTREAM, "Go-http-client/1.1");
    size = 300000;
    for (conn_id id = 1; id <= 4; id++) {
        opened(id);
        request(id, 0);
        response(id, 0);
        say(fact_of(id, FACT_BLOCKED));
        wait_for(SEC(1));
    }
    wait_for(SEC(31));
    CHECK(found(FINDING_BODY_NOT_CLOSED) && found(FINDING_BODY_NOT_CLOSED)->count == 4);
    for (conn_id id = 1; id <= 4; id++) rst_in_body(id, 1000);
    CHECK(found(FINDING_RST_UNREAD_DATA) && found(FINDING_RST_UNREAD_DATA)->count == 4);
    CHECK(!found(FINDING_EARLY_BODY_CLOSE));
    end();
}

TEST(what_may_be_unread_is_not_likely_a_pool_for_each) {
    begin(SIDE_DOWNSTREAM, "Go-http-client/1.1");
    leak_some(6); /* of 300 bytes, which Go's own buffer has */
    for (conn_id id = 1; id <= 6; id++) socket_of(id, 0);
    wait_for(SEC(31));
    CHECK(found(FINDING_BODY_NOT_CLOSED) && found(FINDING_BODY_NOT_CLOSED)->confidence == CONFIDENCE_SUSPECTED);
    CHECK(found(FINDING_TRANSPORT_PER_REQUEST) &&
          found(FINDING_TRANSPORT_PER_REQUEST)->confidence == CONFIDENCE_SUSPECTED);
    end();
}

/* One response after the other, each on a connection of its own; then the program ends, in less than a second. */
static void leak_and_exit(unsigned n, enum close_how how, int64_t between_ends) {
    begin(SIDE_CLIENT, "Go-http-client/1.1");
    if (how == HOW_RST) size = 30000;
    for (conn_id id = 1; id <= n; id++) opened(id), exchange(id), now += MSEC(50);
    for (conn_id id = 1; id <= n; id++) {
        struct fact_end e = an_end();
        e.how = (uint8_t)how;
        if (how == HOW_RST) e.local_rst = true, e.early = FACT_EARLY_RST_AFTER, e.rst_likely = FACT_RST_UNREAD;
        ended(id, &e);
        now += between_ends;
    }
    wait_for(SEC(3));
    findings_end(f, now);
}

TEST(a_short_program_held_its_responses_till_its_end) {
    leak_and_exit(6, HOW_FIN, USEC(10));
    const struct finding *a = found(FINDING_BODY_NOT_CLOSED), *b = found(FINDING_TRANSPORT_PER_REQUEST);
    CHECK(a && a->count == 6 && a->severity == SEVERITY_WARNING && a->confidence == CONFIDENCE_SUSPECTED);
    CHECK(a && a->number[NUM_OPENS_SINCE] == 5 && a->resolved_ns && a->ambiguous >> FINDING_TRANSPORT_PER_REQUEST & 1);
    CHECK(b && b->count == 6 && b->resolved_ns && b->ambiguous >> FINDING_BODY_NOT_CLOSED & 1);
    CHECK_EQ(n_found(), 2);
    struct finding_change change;
    unsigned changes = 0;
    while (findings_next_change(f, &change)) changes++;
    CHECK_EQ(changes, 4); /* each raised and cleared, once */
    end();
}

TEST(what_it_held_unread_is_reset_at_its_end) {
    leak_and_exit(6, HOW_RST, USEC(10));
    const struct finding *fi = found(FINDING_BODY_NOT_CLOSED);
    CHECK(fi && fi->count == 6 && fi->confidence == CONFIDENCE_LIKELY && !fi->ambiguous && fi->resolved_ns);
    CHECK(found(FINDING_RST_UNREAD_DATA) && found(FINDING_RST_UNREAD_DATA)->count == 6);
    CHECK_EQ(n_found(), 2);
    end();
}

TEST(three_are_no_coincidence_and_two_are) {
    leak_and_exit(3, HOW_FIN, USEC(10));
    CHECK(found(FINDING_BODY_NOT_CLOSED) && found(FINDING_BODY_NOT_CLOSED)->severity == SEVERITY_INFO);
    end();
    leak_and_exit(2, HOW_FIN, USEC(10));
    nothing();
    end();
}

TEST(who_closes_each_for_its_own_sake_does_it_as_far_apart_as_they_came) {
    leak_and_exit(6, HOW_RST, MSEC(30));
    CHECK(found(FINDING_EARLY_BODY_CLOSE) && found(FINDING_EARLY_BODY_CLOSE)->count == 6);
    CHECK(!found(FINDING_BODY_NOT_CLOSED));
    end();
}

TEST(a_program_whose_pool_was_used_in_turn_just_ends) {
    begin(SIDE_CLIENT, "Go-http-client/1.1");
    for (int round = 0; round < 2; round++) {
        for (conn_id id = 1; id <= 8; id++) {
            if (!round) opened(id);
            exchange(id);
            now += MSEC(20);
        }
    }
    for (conn_id id = 1; id <= 8; id++) fin(id);
    wait_for(SEC(3));
    findings_end(f, now);
    nothing();
    end();
}

static void one_request_to_each_host(const char *user_agent, unsigned rounds) {
    static const char *const hosts[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    begin(SIDE_DOWNSTREAM, user_agent);
    for (conn_id id = 1; id <= 8 * rounds; id++) {
        host = hosts[id % 8];
        opened(id);
        request(id, FACT_PROXIED);
        response(id, 0);
        done(id);
        wait_for(SEC(1));
    }
    wait_for(SEC(60));
}

TEST(who_has_a_pool_for_each_host_passes_over_those_of_others) {
    one_request_to_each_host("okhttp/4.12.0", 1);
    nothing();
    end();
    one_request_to_each_host("okhttp/4.12.0", 3); /* the same hosts again, on new connections */
    CHECK(found(FINDING_BODY_NOT_CLOSED) && found(FINDING_BODY_NOT_CLOSED)->count == 16);
    end();
    one_request_to_each_host("Go-http-client/1.1", 1); /* which has one for all, to a proxy */
    CHECK(found(FINDING_BODY_NOT_CLOSED) && found(FINDING_BODY_NOT_CLOSED)->count == 8);
    end();
}

int main(void) {
    return tap_run();
}

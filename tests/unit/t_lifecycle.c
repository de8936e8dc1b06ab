/* lifecycle.h: what events make of a record. */
#include "core/lifecycle.h"

#include "tap.h"

static struct lifecycle l;
static int64_t now;

static void begin(enum side side) {
    lifecycle_clear(&l);
    l = (struct lifecycle){.id = 1, .side = (uint8_t)side, .known = KNOW_ALL, .body_announced = UNKNOWN_BYTES};
    now = SEC(100);
}

static void at(int64_t ns, enum conn_event_kind kind, uint64_t value) {
    now += ns;
    lifecycle_apply(&l, &(struct conn_event){.at_ns = now, .kind = (uint8_t)kind, .value = value});
}

static void response(uint16_t status, uint64_t announced, enum body_framing framing) {
    lifecycle_apply(
        &l, &(struct conn_event){
                .at_ns = now, .kind = EV_RESPONSE, .code = status, .value = announced, .framing = (uint8_t)framing});
}

static void closed(enum close_reason why, enum close_phase phase, uint64_t unread) {
    lifecycle_apply(
        &l, &(struct conn_event){
                .at_ns = now, .kind = EV_ENDED, .code = (uint16_t)why, .value = unread, .framing = (uint8_t)phase});
}

static void dialed(void) {
    begin(SIDE_UPSTREAM);
    at(0, EV_DIALING, 0);
    at(MSEC(2), EV_DIALED, 0);
}

static void one_request(uint64_t body) {
    at(0, EV_GOT_CONN, 0);
    at(0, EV_REQUEST, 0);
    at(0, EV_WROTE_REQUEST, 0);
    at(MSEC(1), EV_FIRST_BYTE, 0);
    response(200, body, FRAMING_LENGTH);
    at(0, EV_BODY_READ, body);
    at(0, EV_BODY_EOF, body);
}

TEST(an_upstream_life_in_full) {
    dialed();
    CHECK_EQ(l.state, LIFE_OPEN);
    one_request(100);
    CHECK_EQ(l.state, LIFE_ACTIVE);
    at(0, EV_PUT_IDLE, 0);
    CHECK_EQ(l.state, LIFE_IDLE);
    CHECK_EQ(lifecycle_idle_ns(&l, now + SEC(3)), SEC(3));
    now += SEC(5);
    one_request(200);
    at(0, EV_PUT_IDLE, 0);
    now += SEC(7);
    closed(REASON_IDLE_TIMEOUT, PHASE_IDLE, 0);

    CHECK_EQ(l.state, LIFE_CLOSED);
    CHECK_EQ(l.opened_ns, SEC(100));
    CHECK_EQ(l.dialed_ns - l.opened_ns, MSEC(2));
    CHECK_EQ(l.closed_ns, now);
    CHECK_EQ(l.requests, 2);
    CHECK_EQ(l.responses, 2);
    CHECK_EQ(lifecycle_reused(&l), 1);
    CHECK_EQ(lifecycle_idle_ns(&l, now + SEC(99)), SEC(12));
    CHECK_EQ(l.close_by, BY_LOCAL);
    CHECK_EQ(l.close_how, HOW_FIN);
    CHECK_EQ(l.close_reason, REASON_IDLE_TIMEOUT);
    CHECK_EQ(l.close_phase, PHASE_IDLE);
    CHECK(!l.rst_sent && !l.rst_received);
}

TEST(no_request_is_no_reuse) {
    dialed();
    CHECK_EQ(lifecycle_reused(&l), 0);
}

TEST(the_last_body_is_of_the_last_response) {
    dialed();
    at(0, EV_REQUEST, 0);
    response(200, 5000, FRAMING_LENGTH);
    at(0, EV_BODY_READ, 3000);
    at(0, EV_BODY_READ, 2000);
    CHECK_EQ(l.body_announced, 5000);
    CHECK_EQ(l.body_read, 5000);
    at(0, EV_REQUEST, 0);
    response(200, UNKNOWN_BYTES, FRAMING_CHUNKED);
    CHECK(l.body_announced == UNKNOWN_BYTES);
    CHECK_EQ(l.body_read, 0);
    CHECK_EQ(l.body_framing, FRAMING_CHUNKED);
    at(0, EV_BODY_READ, 7);
    at(0, EV_EARLY_CLOSE, 7);
    CHECK_EQ(l.body_read, 7);
    CHECK_EQ(l.early_closes, 1);
}

TEST(a_reset_from_the_peer_decides_over_unread_bytes) {
    dialed();
    at(0, EV_RST_RECEIVED, 0);
    closed(REASON_READ_ERROR, PHASE_IN_BODY, 10);
    CHECK_EQ(l.close_by, BY_REMOTE);
    CHECK_EQ(l.close_how, HOW_RST);
    CHECK(!l.rst_sent);
    CHECK_EQ(l.unread_bytes, 10);
}

TEST(the_first_signal_on_the_wire_decides_and_a_later_reset_is_told_beside_it) {
    dialed();
    at(0, EV_FIN_RECEIVED, 0);
    at(0, EV_RST_RECEIVED, 0);
    closed(REASON_READ_ERROR, PHASE_IN_BODY, 0);
    CHECK_EQ(l.close_by, BY_REMOTE);
    CHECK_EQ(l.close_how, HOW_FIN);
    CHECK(l.rst_received);
    dialed();
    at(0, EV_FIN_SENT, 0);
    at(0, EV_RST_RECEIVED, 0);
    closed(REASON_REQUEST_CLOSE, PHASE_IDLE, 0);
    CHECK_EQ(l.close_by, BY_LOCAL);
    CHECK_EQ(l.close_how, HOW_FIN);
    CHECK(l.rst_received);
    dialed();
    at(0, EV_FIN_SENT, 0);
    at(0, EV_FIN_RECEIVED, 0);
    closed(REASON_REQUEST_CLOSE, PHASE_IDLE, 0);
    CHECK_EQ(l.close_by, BY_LOCAL);
}

TEST(a_reset_on_purpose_is_a_reset_without_unread_bytes) {
    dialed();
    at(0, EV_RST_SENT, 0);
    closed(REASON_SERVER_CLOSED, PHASE_IN_BODY, 0);
    CHECK(l.rst_sent);
    CHECK_EQ(l.close_by, BY_LOCAL);
    CHECK_EQ(l.close_how, HOW_RST);
}

TEST(after_the_peers_fin_the_close_is_its_own_even_where_unread_bytes_make_an_rst) {
    dialed();
    at(0, EV_FIN_RECEIVED, 0);
    closed(REASON_SERVER_CLOSED, PHASE_IN_BODY, 10);
    CHECK_EQ(l.close_by, BY_REMOTE);
    CHECK_EQ(l.close_how, HOW_FIN);
    CHECK(l.rst_sent);
}

TEST(our_close_with_unread_bytes_is_an_rst) {
    dialed();
    closed(REASON_EARLY_CLOSE, PHASE_IN_BODY, 20068);
    CHECK_EQ(l.close_by, BY_LOCAL);
    CHECK_EQ(l.close_how, HOW_RST);
    CHECK(l.rst_sent);
    CHECK_EQ(l.unread_bytes, 20068);
}

TEST(a_dial_that_fails_is_closed_by_nobody) {
    begin(SIDE_UPSTREAM);
    at(0, EV_DIALING, 0);
    closed(REASON_DIAL_ERROR, PHASE_DIALING, 0);
    CHECK_EQ(l.close_by, BY_NONE);
    CHECK_EQ(l.close_how, HOW_NONE);
    CHECK_EQ(l.close_phase, PHASE_DIALING);
}

TEST(a_dial_that_is_refused_is_reset_by_the_peer) {
    begin(SIDE_UPSTREAM);
    at(0, EV_DIALING, 0);
    at(0, EV_RST_RECEIVED, 0);
    closed(REASON_DIAL_ERROR, PHASE_DIALING, 0);
    CHECK_EQ(l.close_by, BY_REMOTE);
    CHECK_EQ(l.close_how, HOW_RST);
}

TEST(a_connection_found_in_mid_stream_is_no_failed_dial) {
    begin(SIDE_CLIENT);
    l.known &= ~(uint32_t)KNOW_OPENED;
    at(0, EV_REQUEST, 0);
    closed(REASON_NONE, PHASE_NONE, 0);
    CHECK_EQ(l.close_by, BY_LOCAL);
    CHECK_EQ(l.close_how, HOW_FIN);
}

TEST(a_downstream_life_was_never_dialed_and_is_none_the_worse) {
    begin(SIDE_DOWNSTREAM);
    at(0, EV_ACCEPTED, 0);
    CHECK_EQ(l.opened_ns, SEC(100));
    CHECK_EQ(l.state, LIFE_OPEN);
    at(SEC(1), EV_REQUEST, 0);
    at(0, EV_PUT_IDLE, 0);
    CHECK_EQ(lifecycle_idle_ns(&l, now), 0); /* waiting for the first request is no idle spell */
    now += SEC(2);
    closed(REASON_CLIENT_TIMEOUT, PHASE_IDLE, 0);
    CHECK_EQ(lifecycle_idle_ns(&l, now), SEC(2));
    CHECK_EQ(l.close_by, BY_LOCAL);
    CHECK_EQ(l.close_how, HOW_FIN);
}

TEST(https_is_dialing_until_its_handshake_is_done) {
    const struct life_key key = {.scheme = "https", .addr = "a:443", .proxy = ""};
    begin(SIDE_UPSTREAM);
    l.key = &key;
    at(0, EV_DIALING, 0);
    at(0, EV_DIALED, 0);
    CHECK_EQ(l.state, LIFE_DIALING);
    at(MSEC(3), EV_TLS_DONE, 0);
    CHECK_EQ(l.state, LIFE_OPEN);
    CHECK_EQ(l.tls_ns - l.dialed_ns, MSEC(3));
    closed(REASON_TLS_ERROR, PHASE_DIALING, 0);
    CHECK_EQ(l.close_by, BY_LOCAL); /* it stood */
}

TEST(put_idle_twice_does_not_lose_the_first_spell) {
    dialed();
    at(0, EV_PUT_IDLE, 0);
    at(SEC(1), EV_PUT_IDLE, 0);
    at(SEC(1), EV_REQUEST, 0);
    CHECK_EQ(l.idle_total_ns, SEC(2));
    CHECK_EQ(l.idle_since_ns, 0);
}

TEST(a_tunnel_is_opaque_and_ends_the_idle_spell) {
    dialed();
    at(0, EV_PUT_IDLE, 0);
    at(SEC(1), EV_TUNNEL, 0);
    CHECK(l.opaque);
    CHECK_EQ(l.state, LIFE_OPAQUE);
    CHECK_EQ(lifecycle_idle_ns(&l, now + SEC(9)), SEC(1));
    at(0, EV_BYTES_IN, 12);
    at(0, EV_BYTES_OUT, 13);
    at(0, EV_BYTES_IN, 1);
    closed(REASON_TUNNEL, PHASE_NONE, 0);
    CHECK_EQ(l.bytes_in, 13);
    CHECK_EQ(l.bytes_out, 13);
    CHECK(l.opaque);
}

TEST(retries_and_close_notify_are_kept) {
    dialed();
    at(0, EV_RETRIED, 0);
    at(0, EV_CLOSE_NOTIFY, 0);
    CHECK_EQ(l.retries, 1);
    CHECK(l.close_notify);
    CHECK(!l.fin_received);
}

TEST(only_listed_events_leave_a_mark) {
    static const bool listed[] = {
#define X(sym, name, is_listed, text) is_listed,
#include "core/tbl/conn_events.h"
#undef X
    };
    for (unsigned k = 0; k < N_EVENTS; k++) {
        begin(SIDE_UPSTREAM);
        at(0, (enum conn_event_kind)k, 5);
        CHECK_EQ(l.n_marks, listed[k]);
        if (l.n_marks) CHECK_EQ(lifecycle_mark(&l, 0)->kind, k);
    }
    begin(SIDE_UPSTREAM);
    at(0, N_EVENTS, 5); /* from somewhere that knows more */
    CHECK_EQ(l.n_marks, 0);
}

TEST(marks_keep_values_capped) {
    dialed();
    response(404, UNKNOWN_BYTES, FRAMING_CHUNKED);
    at(0, EV_GOT_CONN, UINT32_MAX - 1ull);
    at(0, EV_GOT_CONN, UINT32_MAX);
    at(0, EV_GOT_CONN, UINT32_MAX + 1ull);
    CHECK_EQ(lifecycle_mark(&l, 2)->code, 404);
    CHECK_EQ(lifecycle_mark(&l, 2)->value, UINT32_MAX);
    CHECK_EQ(lifecycle_mark(&l, 3)->value, UINT32_MAX - 1ull);
    CHECK_EQ(lifecycle_mark(&l, 4)->value, UINT32_MAX);
    CHECK_EQ(lifecycle_mark(&l, 5)->value, UINT32_MAX);
}

/* Whatever their number: the first eight, and the newest of the others, in order. */
TEST(marks_are_the_first_and_the_newest) {
    for (unsigned n = 1; n < 4 * MARKS_MAX; n++) {
        begin(SIDE_UPSTREAM);
        for (unsigned i = 0; i < n; i++) at(1, EV_REQUEST, 0);
        unsigned kept = n < MARKS_MAX ? n : MARKS_MAX;
        CHECK_EQ(l.n_marks, kept);
        CHECK_EQ(l.marks_dropped, n - kept);
        CHECK(l.marks_room <= MARKS_MAX);
        for (unsigned i = 0; i < kept; i++) {
            unsigned nth = i < MARKS_HEAD ? i : i + (n - kept);
            CHECK_EQ(lifecycle_mark(&l, i)->at_ns, SEC(100) + 1 + nth);
        }
    }
}

TEST(numbers_that_are_in_no_row_are_none) {
    dialed();
    closed((enum close_reason)999, (enum close_phase)99, 0);
    CHECK_EQ(l.close_reason, REASON_NONE);
    CHECK_EQ(l.close_phase, PHASE_NONE);
    CHECK_STR(close_reason_name((enum close_reason)999), "?");
    CHECK_STR(conn_event_name((enum conn_event_kind)N_EVENTS), "?");
}

TEST(words_and_numbers_match_their_rows) {
    enum close_reason r;
    for (unsigned i = 0; i < N_REASONS; i++) {
        CHECK(close_reason_parse(close_reason_name((enum close_reason)i), &r));
        CHECK_EQ(r, i);
    }
    CHECK(!close_reason_parse("nonsense", &r));
    CHECK_STR(close_reason_name(REASON_EARLY_CLOSE), "early_close");
    CHECK_STR(close_reason_go_error(REASON_SERVER_CLOSED_IDLE), "http: server closed idle connection");
    CHECK_STR(conn_event_name(EV_PUT_IDLE), "put_idle");
    CHECK_STR(observer_name(OBSERVER_KERNEL), "kernel");
    CHECK_STR(side_name(SIDE_CLIENT), "client");
    CHECK_STR(life_state_name(LIFE_CLOSED), "closed");
    CHECK_STR(life_state_name(LIFE_OPAQUE), "opaque");
    CHECK(close_phase_name(PHASE_NONE) == NULL);
    CHECK_STR(close_phase_name(PHASE_AFTER_BODY), "after_body");
    CHECK_STR(close_by_name(BY_REMOTE), "remote");
    CHECK_STR(close_how_name(HOW_RST), "rst");
    CHECK_STR(body_framing_name(FRAMING_LENGTH), "content-length");
    CHECK_STR(body_framing_name(FRAMING_UNTIL_EOF), "until-eof");
}

int main(void) {
    int failed = tap_run();
    lifecycle_clear(&l);
    return failed;
}

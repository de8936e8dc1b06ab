/* Pairing of lives, and what a claim is held against. */
#include "core/join.h"

#include "tap.h"

#define T0 SEC(1000)

static struct flow_key flow(uint16_t client_port) {
    struct flow_key f = {.local = {.addr = {127, 0, 0, 1}, .port = client_port, .family = ADDR_V4},
                         .remote = {.addr = {127, 0, 0, 1}, .port = 80, .family = ADDR_V4}};
    return f;
}

static struct join_life life(uint16_t port, int64_t opened, int64_t closed, uint32_t ref) {
    return (struct join_life){
        .flow = flow(port), .opened_ns = opened, .closed_ns = closed, .ref = ref, .opened_known = true};
}

/* "0-1 1-0 2-": pairs in the order of the walk, by ref. */
static char pairs_text[256];

static void note_pair(void *arg, const struct join_life *a, const struct join_life *b) {
    size_t len = strlen(pairs_text);

    (void)arg;
    snprintf(pairs_text + len, sizeof pairs_text - len, "%s", len ? " " : "");
    len = strlen(pairs_text);
    if (a) snprintf(pairs_text + len, sizeof pairs_text - len, "%u", a->ref);
    len = strlen(pairs_text);
    snprintf(pairs_text + len, sizeof pairs_text - len, "-");
    len = strlen(pairs_text);
    if (b) snprintf(pairs_text + len, sizeof pairs_text - len, "%u", b->ref);
}

static const char *joined(struct join_life *a, size_t na, struct join_life *b, size_t nb, int64_t offset,
                          int64_t slack) {
    struct join_clock clock = {offset, slack};

    pairs_text[0] = 0;
    join_sort(a, na);
    join_sort(b, nb);
    join_pairs(a, na, b, nb, &clock, note_pair, NULL);
    return pairs_text;
}
#define JOINED(a, b, offset, slack) joined(a, sizeof(a) / sizeof *(a), b, sizeof(b) / sizeof *(b), offset, slack)

TEST(lives_of_one_flow_pair_when_they_overlap) {
    struct join_life a[] = {life(1, T0, T0 + SEC(1), 0), life(2, T0, T0 + SEC(1), 1)};
    struct join_life b[] = {life(2, T0 + MSEC(1), T0 + SEC(1), 7), life(1, T0 + MSEC(2), T0 + SEC(1), 8)};

    CHECK_STR(JOINED(a, b, 0, MSEC(10)), "0-8 1-7");
}

TEST(a_reused_tuple_pairs_in_the_order_of_time) {
    struct join_life a[] = {life(1, T0, T0 + SEC(1), 0), life(1, T0 + SEC(2), T0 + SEC(3), 1),
                            life(1, T0 + SEC(4), 0, 2)};
    struct join_life b[] = {life(1, T0 + SEC(4), 0, 2), life(1, T0 + SEC(2), T0 + SEC(3), 1),
                            life(1, T0, T0 + SEC(1), 0)};

    CHECK_STR(JOINED(a, b, 0, MSEC(10)), "0-0 1-1 2-2");
}

TEST(a_reused_tuple_whose_middle_one_side_lacks) {
    struct join_life a[] = {life(1, T0, T0 + SEC(1), 0), life(1, T0 + SEC(2), T0 + SEC(3), 1),
                            life(1, T0 + SEC(4), 0, 2)};
    struct join_life b[] = {life(1, T0, T0 + SEC(1), 0), life(1, T0 + SEC(4), 0, 2)};

    CHECK_STR(JOINED(a, b, 0, MSEC(10)), "0-0 1- 2-2");
}

TEST(lives_that_touch_within_the_slack_pair_with_the_larger_overlap) {
    /* b's first life touches both of a's; its second overlaps a's second wholly. */
    struct join_life a[] = {life(1, T0, T0 + SEC(1), 0), life(1, T0 + SEC(1) + MSEC(4), T0 + SEC(2), 1)};
    struct join_life b[] = {life(1, T0 + MSEC(3), T0 + SEC(1) + MSEC(6), 0),
                            life(1, T0 + SEC(1) + MSEC(8), T0 + SEC(2), 1)};

    CHECK_STR(JOINED(a, b, 0, MSEC(10)), "0-0 1-1");
}

TEST(lives_that_do_not_touch_stay_alone) {
    struct join_life a[] = {life(1, T0, T0 + SEC(1), 0)};
    struct join_life b[] = {life(1, T0 + SEC(1) + MSEC(11), T0 + SEC(2), 0)};

    CHECK_STR(JOINED(a, b, 0, MSEC(10)), "0- -0");
    CHECK_STR(JOINED(a, b, 0, MSEC(12)), "0-0");
}

TEST(other_flows_and_the_same_flow_turned_round_stay_alone) {
    struct join_life a[] = {life(1, T0, 0, 0)};
    struct join_life b[] = {life(1, T0, 0, 0), life(2, T0, 0, 1)};
    struct endpoint local = b[0].flow.local;

    b[0].flow.local = b[0].flow.remote;
    b[0].flow.remote = local;
    CHECK_STR(JOINED(a, b, 0, MSEC(10)), "0- -1 -0");
}

TEST(a_record_with_an_impossible_end_is_still_found) {
    /* closed before opened: no overlap with anything, but it began when the other did. */
    struct join_life a[] = {life(1, T0, T0 - SEC(500), 0)};
    struct join_life b[] = {life(1, T0 + MSEC(1), T0 + SEC(1), 0)};

    CHECK_STR(JOINED(a, b, 0, MSEC(10)), "0-0");
}

TEST(a_record_with_a_wrong_beginning_is_still_found_by_its_end) {
    struct join_life a[] = {life(1, T0 + SEC(100), T0 + SEC(1), 0)};
    struct join_life b[] = {life(1, T0, T0 + SEC(1), 0)};

    CHECK_STR(JOINED(a, b, 0, MSEC(10)), "0-0");
}

TEST(the_clock_offset_is_the_median_and_a_lie_does_not_move_it) {
    struct join_life a[101], b[101];
    struct join_offset o;

    for (uint16_t i = 0; i < 101; i++) {
        a[i] = life((uint16_t)(1000 + i), T0 + SEC(i), T0 + SEC(i + 1), i);
        b[i] = life((uint16_t)(1000 + i), T0 + SEC(i) - SEC(3600) - USEC(i), T0 + SEC(i + 1) - SEC(3600), i);
    }
    a[50].opened_ns += SEC(86400);
    a[51].opened_ns -= SEC(86400);
    o = join_offset(a, 101, b, 101);
    CHECK_EQ(o.n, 101);
    CHECK(o.offset_ns > SEC(3600) && o.offset_ns < SEC(3600) + USEC(101));
    CHECK(o.spread_ns < USEC(101));
    CHECK_STR(joined(a, 1, b, 1, o.offset_ns, MSEC(1)), "0-0");
}

TEST(the_clock_offset_needs_pairs_whose_beginnings_are_known) {
    struct join_life a[] = {life(1, T0, 0, 0)}, b[] = {life(1, T0 - SEC(5), 0, 0)};

    b[0].opened_known = false;
    CHECK_EQ(join_offset(a, 1, b, 1).n, 0);
    CHECK_EQ(join_offset(a, 0, b, 1).n, 0);
    b[0].opened_known = true;
    CHECK_EQ(join_offset(a, 1, b, 1).offset_ns, SEC(5));
}

TEST(many_lives_of_one_flow_pair_with_their_neighbours) {
    enum { N = 3000 };
    struct join_life *a = calloc(N, sizeof *a), *b = calloc(N, sizeof *b);
    struct join_clock clock = {0, MSEC(1)};

    for (uint32_t i = 0; i < N; i++) {
        a[i] = life(1, T0 + MSEC(10 * i), T0 + MSEC(10 * i + 8), i);
        b[i] = life(1, T0 + MSEC(10 * i + 1), T0 + MSEC(10 * i + 9), i);
    }
    pairs_text[0] = 0;
    join_pairs(a, N, b, N, &clock, note_pair, NULL);
    CHECK(!strncmp(pairs_text, "0-0 1-1 2-2 3-3 ", 16));
    free(a);
    free(b);
}

/* --- Claims ----------------------------------------------------------------- */

static const struct join_cover cover = {.clock = {0, MSEC(50)},
                                        .capture_first_ns = T0 - SEC(10),
                                        .capture_last_ns = T0 + SEC(100),
                                        .ledger_first_ns = T0 - SEC(20),
                                        .ledger_last_ns = T0 + SEC(101)};

/* An upstream connection: two requests, all read, closed by the daemon's FIN. */
static struct join_view healthy_view(void) {
    return (struct join_view){.id = 5,
                              .end = {{.bytes = 200,
                                       .acked_bytes = 200,
                                       .fin_packet = 20,
                                       .fin_ns = T0 + SEC(5),
                                       .last_payload_packet = 12,
                                       .last_payload_ns = T0 + SEC(1)},
                                      {.bytes = 9000,
                                       .acked_bytes = 9000,
                                       .fin_packet = 21,
                                       .fin_ns = T0 + SEC(5) + USEC(50),
                                       .last_payload_packet = 15,
                                       .last_payload_ns = T0 + SEC(2)}},
                              .opened_ns = T0,
                              .first_ns = T0,
                              .last_ns = T0 + SEC(5) + USEC(90),
                              .syn_packet = 3,
                              .first_packet = 3,
                              .last_packet = 22,
                              .last_request_packet = 12,
                              .requests = 2,
                              .known = KNOW_ALL & ~(uint32_t)KNOW_REASON};
}

static struct join_claim healthy_claim(void) {
    return (struct join_claim){.id = 42,
                               .opened_ns = T0 - USEC(80),
                               .closed_ns = T0 + SEC(5) + USEC(30),
                               .seen_ns = T0 + SEC(5) + USEC(30),
                               .bytes_in = 9000,
                               .bytes_out = 200,
                               .requests = 2,
                               .reused = 1,
                               .known = KNOW_ALL & ~(uint32_t)KNOW_REASON,
                               .state = LIFE_CLOSED,
                               .close_by = BY_LOCAL,
                               .close_how = HOW_FIN};
}

/* Closed by the daemon in the middle of a body: 4096 bytes read, 20068 unread. */
static struct join_view reset_view(void) {
    struct join_view v = healthy_view();

    v.requests = 1;
    v.early_closes = 1;
    v.end[JOIN_CONNECTOR] = (struct join_end){.bytes = 100,
                                              .acked_bytes = 100,
                                              .rst_packet = 18,
                                              .rst_ns = T0 + SEC(5),
                                              .last_payload_packet = 6,
                                              .last_payload_ns = T0 + MSEC(1)};
    v.end[JOIN_ACCEPTOR] = (struct join_end){
        .bytes = 30000, .acked_bytes = 24164, .last_payload_packet = 19, .last_payload_ns = T0 + SEC(5) + USEC(20)};
    return v;
}

static struct join_claim reset_claim(void) {
    struct join_claim l = healthy_claim();

    l.requests = l.early_closes = 1;
    l.reused = 0;
    l.bytes_in = 4096;
    l.unread_bytes = 20068;
    l.bytes_out = 100;
    l.rst_sent = true;
    l.close_how = HOW_RST;
    return l;
}

/* The same connections as their accepting end would have claimed them. */
static struct join_claim accepted(struct join_claim l, uint64_t bytes_in, uint64_t bytes_out) {
    bool sent = l.rst_sent;

    l.accepted = true;
    l.bytes_in = bytes_in;
    l.bytes_out = bytes_out;
    l.unread_bytes = 0;
    l.rst_sent = l.rst_received;
    l.rst_received = sent;
    l.close_by = l.close_by == BY_LOCAL ? BY_REMOTE : BY_LOCAL;
    return l;
}

static struct join_result result;

/* The verdict as text: "agree", or "disagree bytes_in=9001/9000@15 close.by=..." with the cause in brackets. */
static const char *verdict(struct join_claim l, struct join_view v, struct join_cover x) {
    static char text[1024];
    size_t len;

    join_compare(&l, &v, &x, &result);
    len = (size_t)snprintf(text, sizeof text, "%s", join_verdict_name(result.verdict));
    for (uint32_t i = 0; i < result.n; i++) {
        const struct join_difference *d = result.diff + i;
        enum join_kind kind = join_field_kind(d->field);
        len += (size_t)snprintf(text + len, sizeof text - len, " %s", join_field_name(d->field));
        if (kind != JOIN_KIND_TIME)
            len += (size_t)snprintf(text + len, sizeof text - len, "=%" PRIu64 "/%" PRIu64, d->ledger, d->capture);
        len += (size_t)snprintf(text + len, sizeof text - len, "@%" PRIu64, d->packet);
        if (d->cause) len += (size_t)snprintf(text + len, sizeof text - len, "[%s]", join_cause_name(d->cause));
    }
    return text;
}

TEST(a_true_claim_agrees_in_every_field) {
    CHECK_STR(verdict(healthy_claim(), healthy_view(), cover), "agree");
    CHECK_EQ(result.compared, (1u << N_JOIN_FIELDS) - 1);
    CHECK_EQ(result.opened_apart_ns, -USEC(80));
    CHECK_EQ(result.closed_apart_ns, USEC(30));
    CHECK_STR(verdict(reset_claim(), reset_view(), cover), "agree");
    CHECK_EQ(result.compared, (1u << N_JOIN_FIELDS) - 1);
}

TEST(the_accepting_end_sees_the_same_mirrored) {
    CHECK_STR(verdict(accepted(healthy_claim(), 200, 9000), healthy_view(), cover), "agree");
    CHECK_STR(verdict(accepted(reset_claim(), 100, 30000), reset_view(), cover), "agree");
    CHECK_STR(verdict(accepted(healthy_claim(), 9000, 200), healthy_view(), cover),
              "disagree bytes_in=9000/200@12 bytes_out=200/9000@15");
}

TEST(each_lie_about_a_healthy_connection_is_named_with_its_packet) {
    struct join_claim l;

#define LIE(change, want)                                                                                              \
    l = healthy_claim();                                                                                               \
    change;                                                                                                            \
    CHECK_STR(verdict(l, healthy_view(), cover), "disagree " want)
    LIE(l.opened_ns += MSEC(51), "opened_at@3");
    LIE(l.opened_ns -= MSEC(51), "opened_at@3");
    LIE(l.closed_ns += MSEC(51), "closed_at@20");
    LIE(l.closed_ns -= MSEC(51), "closed_at@20");
    LIE((l.closed_ns = 0, l.seen_ns = T0 + SEC(30)), "closed_at@20");
    LIE(l.requests = 3, "requests=3/2@12");
    LIE(l.reused = 2, "reused=2/1@12");
    LIE(l.bytes_in += 1, "bytes_in=9001/9000@15");
    LIE(l.bytes_in -= 1, "bytes_in=8999/9000@15");
    LIE(l.bytes_out += 1, "bytes_out=201/200@12");
    LIE(l.bytes_out -= 1, "bytes_out=199/200@12");
    LIE(l.early_closes = 1, "early_closes=1/0@20");
    LIE(l.rst_sent = true, "rst_sent=1/0@20");
    LIE(l.rst_received = true, "rst_received=1/0@21");
    LIE(l.close_by = BY_REMOTE, "close.by=2/1@20");
    LIE(l.close_how = HOW_RST, "close.how=2/1@20");
    LIE(l.unread_bytes = 1, "unread_bytes=1/0@20");
#undef LIE
}

TEST(each_lie_about_a_reset_connection_is_named_with_its_packet) {
    struct join_claim l;

#define LIE(change, want)                                                                                              \
    l = reset_claim();                                                                                                 \
    change;                                                                                                            \
    CHECK_STR(verdict(l, reset_view(), cover), "disagree " want)
    LIE(l.closed_ns += MSEC(51), "closed_at@18");
    LIE(l.requests = 0, "requests=0/1@12");
    LIE(l.early_closes = 0, "early_closes=0/1@18");
    LIE(l.bytes_out += 1, "bytes_out=101/100@6");
    LIE(l.rst_received = true, "rst_received=1/0@22");
    LIE(l.close_by = BY_REMOTE, "close.by=2/1@18");
    /* One equation, two claims: either may be the wrong one, so both are named. */
    LIE(l.bytes_in += 1, "bytes_in=4097/4096@19 unread_bytes=20068/20067@19");
    LIE(l.unread_bytes += 1, "bytes_in=4096/4095@19 unread_bytes=20069/20068@19");
#undef LIE
    /* Bytes that came in the last instant excuse too few, but never too many; and a FIN for an RST. */
    l = reset_claim();
    l.unread_bytes -= 1;
    CHECK_STR(verdict(l, reset_view(), cover),
              "explained bytes_in=4096/4097@19[arrived_at_close] unread_bytes=20067/20068@19[arrived_at_close]");
}

TEST(what_arrived_long_before_the_close_excuses_nothing) {
    struct join_claim l = reset_claim();
    struct join_view v = reset_view();

    v.end[JOIN_ACCEPTOR].last_payload_packet = 17;
    v.end[JOIN_ACCEPTOR].last_payload_ns = T0 + SEC(4);
    l.unread_bytes -= 1;
    CHECK_STR(verdict(l, v, cover), "disagree bytes_in=4096/4097@17 unread_bytes=20067/20068@17");
    l = reset_claim();
    l.rst_sent = false;
    CHECK_STR(verdict(l, v, cover), "disagree rst_sent=0/1@18");
    l = reset_claim();
    l.close_how = HOW_FIN;
    CHECK_STR(verdict(l, v, cover), "disagree close.how=1/2@18");
}

TEST(data_after_close_explains_an_rst_that_followed_the_own_fin) {
    struct join_view v = healthy_view();

    v.end[JOIN_CONNECTOR].rst_packet = 30;
    v.end[JOIN_CONNECTOR].rst_ns = T0 + SEC(6);
    v.end[JOIN_ACCEPTOR] = (struct join_end){
        .bytes = 12000, .acked_bytes = 9000, .last_payload_packet = 29, .last_payload_ns = T0 + SEC(6)};
    CHECK_STR(verdict(healthy_claim(), v, cover), "explained rst_sent=0/1@30[data_after_close]");
}

TEST(the_peers_fin_before_an_own_decision_is_simultaneous_close) {
    struct join_claim l = healthy_claim();
    struct join_view v = healthy_view();

    v.end[JOIN_ACCEPTOR].fin_packet = 19;
    v.end[JOIN_ACCEPTOR].fin_ns = T0 + SEC(5) - USEC(40);
    CHECK_STR(verdict(l, v, cover), "disagree close.by=1/2@19"); /* no reason is given: no excuse */
    l.known |= KNOW_REASON;
    l.close_reason = REASON_RESPONSE_CLOSE;
    CHECK_STR(verdict(l, v, cover), "explained close.by=1/2@19[simultaneous_close]");
    l.close_reason = REASON_SERVER_CLOSED_IDLE;
    CHECK_STR(verdict(l, v, cover), "disagree close.by=1/2@19");
    l.close_reason = REASON_IDLE_TIMEOUT;
    v.end[JOIN_ACCEPTOR].fin_ns = T0 + SEC(4); /* it lay there for a second: the daemon should have known */
    CHECK_STR(verdict(l, v, cover), "disagree close.by=1/2@19");
}

TEST(the_peers_rst_after_the_own_close_is_not_held_against_the_claim) {
    struct join_view v = healthy_view();

    v.end[JOIN_ACCEPTOR] = (struct join_end){.bytes = 9000,
                                             .acked_bytes = 9000,
                                             .last_payload_packet = 15,
                                             .rst_packet = 25,
                                             .rst_ns = T0 + SEC(5) + MSEC(1)};
    CHECK_STR(verdict(healthy_claim(), v, cover), "explained rst_received=0/1@25[rst_after_close]");
    /* The FIN that followed proves that the RST was not processed when the program closed. */
    v.end[JOIN_ACCEPTOR].rst_packet = 19;
    v.end[JOIN_ACCEPTOR].rst_ns = T0 + SEC(5) - USEC(1);
    CHECK_STR(verdict(healthy_claim(), v, cover), "disagree close.by=1/2@19 rst_received=0/1@19[rst_after_close]");
    v.end[JOIN_CONNECTOR].fin_packet = 0; /* no FIN: the daemon must have noticed */
    v.end[JOIN_CONNECTOR].fin_ns = 0;
    CHECK_STR(verdict(healthy_claim(), v, cover), "disagree rst_received=0/1@19 close.by=1/2@19 close.how=1/2@19");
}

TEST(an_rst_an_instant_behind_the_peers_fin_may_have_come_at_the_close) {
    struct join_claim l = healthy_claim();
    struct join_view v = healthy_view();

    /* The peer's FIN, its RST, and nothing of this end: its close() found the socket reset. */
    v.end[JOIN_CONNECTOR].fin_packet = 0;
    v.end[JOIN_CONNECTOR].fin_ns = 0;
    v.end[JOIN_ACCEPTOR].rst_packet = 22;
    v.end[JOIN_ACCEPTOR].rst_ns = T0 + SEC(5) + USEC(56);
    l.close_by = BY_REMOTE;
    CHECK_STR(verdict(l, v, cover), "explained rst_received=0/1@22[arrived_at_close]");
    l.close_how = HOW_RST; /* who says so has seen the RST */
    CHECK_STR(verdict(l, v, cover), "disagree rst_received=0/1@22 close.how=2/1@21");
    l.close_how = HOW_FIN;
    l.closed_ns = T0 + SEC(5) + MSEC(20); /* time enough to have seen it */
    CHECK_STR(verdict(l, v, cover), "disagree rst_received=0/1@22");
}

TEST(an_early_close_that_only_a_late_rst_showed_is_not_held_against_the_server) {
    struct join_claim l = accepted(reset_claim(), 100, 30000);
    struct join_view v = reset_view();

    /* The client's FIN, the server's FIN behind a whole answer, the client's RST. */
    l.early_closes = 0;
    l.close_how = HOW_FIN;
    l.rst_received = false;
    v.end[JOIN_CONNECTOR].fin_packet = 17;
    v.end[JOIN_CONNECTOR].fin_ns = T0 + SEC(5) - USEC(30);
    v.end[JOIN_ACCEPTOR].fin_packet = 19;
    v.end[JOIN_ACCEPTOR].fin_ns = T0 + SEC(5) - USEC(10);
    v.end[JOIN_CONNECTOR].rst_packet = 20;
    CHECK_STR(verdict(l, v, cover),
              "explained early_closes=0/1@17[rst_after_close] rst_received=0/1@20[rst_after_close]");
    l.early_closes = 2;
    CHECK_STR(verdict(l, v, cover), "disagree early_closes=2/1@17 rst_received=0/1@20[rst_after_close]");
    l.early_closes = 0;
    l.rst_received = true; /* it noticed the RST: then it can ask its kernel what was taken */
    CHECK_STR(verdict(l, v, cover), "disagree early_closes=0/1@17");
    v.end[JOIN_ACCEPTOR].last_payload_packet = 21; /* but for what its kernel still sent behind the RST */
    CHECK_STR(verdict(l, v, cover), "explained early_closes=0/1@17[discarded_by_rst]");
}

TEST(bytes_that_an_rst_discarded_were_written_and_never_sent) {
    struct join_claim l = healthy_claim();
    struct join_view v = healthy_view();

    v.end[JOIN_CONNECTOR] = (struct join_end){
        .bytes = 5000, .acked_bytes = 3000, .last_payload_packet = 14, .last_payload_ns = T0 + SEC(1)};
    v.end[JOIN_ACCEPTOR] =
        (struct join_end){.bytes = 9000, .acked_bytes = 9000, .rst_packet = 20, .rst_ns = T0 + SEC(5)};
    l.bytes_out = 70000;
    l.close_by = BY_REMOTE;
    l.close_how = HOW_RST;
    l.rst_received = true;
    CHECK_STR(verdict(l, v, cover), "explained bytes_out=70000/5000@14[discarded_by_rst]");
    v.end[JOIN_CONNECTOR].acked_bytes = 5000; /* all was acknowledged long before: nothing can have waited */
    CHECK_STR(verdict(l, v, cover), "disagree bytes_out=70000/5000@14");
    v.end[JOIN_CONNECTOR].acked_by_rst = 1448; /* but by the RST itself */
    CHECK_STR(verdict(l, v, cover), "explained bytes_out=70000/5000@14[discarded_by_rst]");
    v.end[JOIN_CONNECTOR].acked_by_rst = 0;
    v.end[JOIN_ACCEPTOR].window_low = true; /* but for the window */
    CHECK_STR(verdict(l, v, cover), "explained bytes_out=70000/5000@14[discarded_by_rst]");
    v.end[JOIN_ACCEPTOR].window_low = false;
    v.end[JOIN_CONNECTOR].last_payload_ns = T0 + SEC(5) - USEC(31); /* or because it was sending just then */
    CHECK_STR(verdict(l, v, cover), "explained bytes_out=70000/5000@14[discarded_by_rst]");
    l.bytes_out = 4999;
    CHECK_STR(verdict(l, v, cover), "disagree bytes_out=4999/5000@14");
}

TEST(a_fin_may_be_discarded_with_the_bytes_before_it) {
    struct join_claim l = healthy_claim();
    struct join_view v = healthy_view();

    l.known |= KNOW_REASON;
    l.close_reason = REASON_TUNNEL;
    l.opaque = true;
    l.bytes_out = 70000;
    l.rst_received = true;
    v.end[JOIN_CONNECTOR].fin_packet = 0;
    v.end[JOIN_CONNECTOR].fin_ns = 0;
    v.end[JOIN_CONNECTOR].acked_bytes = 100;
    v.end[JOIN_ACCEPTOR].fin_packet = 0;
    v.end[JOIN_ACCEPTOR].fin_ns = 0;
    v.end[JOIN_ACCEPTOR].rst_packet = 25;
    v.end[JOIN_ACCEPTOR].rst_ns = T0 + SEC(5) + MSEC(2);
    CHECK_STR(verdict(l, v, cover), "explained bytes_out=70000/200@12[discarded_by_rst] "
                                    "close.by=1/2@25[simultaneous_close] close.how=1/2@25[discarded_by_rst]");
}

TEST(what_goes_through_a_tunnel_is_not_counted) {
    struct join_claim l = healthy_claim();

    l.opaque = true;
    l.requests = l.reused = 0;
    CHECK_STR(verdict(l, healthy_view(), cover), "agree");
    CHECK(!(result.compared & (1u << JOIN_REQUESTS | 1u << JOIN_REUSED | 1u << JOIN_EARLY_CLOSES)));
    l.requests = 1; /* a request of its own, then an upgrade: that is counted */
    CHECK_STR(verdict(l, healthy_view(), cover), "disagree requests=1/2@12 reused=0/1@12");
}

TEST(a_fin_waits_behind_data) {
    struct join_claim l = accepted(healthy_claim(), 200, 9000);
    struct join_view v = healthy_view();

    l.close_by = BY_LOCAL;
    v.end[JOIN_ACCEPTOR].fin_packet = 19;
    v.end[JOIN_ACCEPTOR].fin_ns = T0 + SEC(5) - USEC(9);
    v.end[JOIN_ACCEPTOR].last_payload_ns = T0 + SEC(5) - USEC(30);
    l.closed_ns = T0 + SEC(1);
    CHECK_STR(verdict(l, v, cover), "explained closed_at@19[fin_behind_data]");
    v.end[JOIN_ACCEPTOR].last_payload_ns = T0 + SEC(4); /* nothing was left to send when the FIN was */
    CHECK_STR(verdict(l, v, cover), "disagree closed_at@19");
    v.end[JOIN_ACCEPTOR].last_payload_ns = T0 + SEC(5) - USEC(30);
    l.closed_ns = T0 + MSEC(900); /* before its last request had come, which it has read */
    CHECK_STR(verdict(l, v, cover), "disagree closed_at@19");
    l.bytes_in = 0, v.end[JOIN_CONNECTOR].acked_bytes = 200;
    l.closed_ns = l.opened_ns - MSEC(60);
    CHECK(strstr(verdict(l, v, cover), "closed_at@19 ") != NULL);
}

TEST(a_connection_older_than_the_capture) {
    struct join_claim l = healthy_claim();
    struct join_view v = healthy_view();

    l.opened_ns = T0 - SEC(15);
    v.known &= ~(uint32_t)(KNOW_OPENED | KNOW_REQUESTS | KNOW_BYTES_IN | KNOW_BYTES_OUT | KNOW_EARLY_CLOSES);
    v.blind = JOIN_BLIND_START;
    CHECK_STR(verdict(l, v, cover), "incomplete");
    l.opened_ns = T0; /* claims to have begun inside the capture: its SYN should be there */
    CHECK_STR(verdict(l, v, cover), "disagree opened_at@3");
    v.known = KNOW_ALL & ~(uint32_t)KNOW_OPENED; /* counts from the capture's start on */
    l.opened_ns = T0 - SEC(15);
    l.requests = 9;
    l.reused = 8;
    CHECK_STR(verdict(l, v, cover), "explained requests=9/2@12[before_capture] reused=8/1@12[before_capture]");
    l.requests = 1;
    l.reused = 0;
    CHECK_STR(verdict(l, v, cover), "disagree requests=1/2@12 reused=0/1@12");
}

TEST(a_connection_that_went_on_after_the_capture) {
    struct join_claim l = healthy_claim();
    struct join_view v = healthy_view();
    struct join_cover x = cover;

    v.end[0].fin_ns = v.end[1].fin_ns = 0;
    v.end[0].fin_packet = v.end[1].fin_packet = 0;
    v.blind = JOIN_BLIND_END;
    x.capture_last_ns = T0 + SEC(3);
    CHECK_STR(verdict(l, v, x), "explained closed_at@22[after_capture]");
    l.bytes_in += 4000;
    CHECK_STR(verdict(l, v, x), "explained closed_at@22[after_capture] bytes_in=13000/9000@15[after_capture]");
    /* The capture covers the time of the close: its FIN should be there. */
    x.capture_last_ns = T0 + SEC(30);
    CHECK_STR(verdict(healthy_claim(), v, x), "disagree closed_at@22");
    x.lost_packets = 1;
    CHECK_STR(verdict(healthy_claim(), v, x), "explained closed_at@22[lost_packets]");
    CHECK_STR(verdict(l, v, x), "explained closed_at@22[lost_packets] bytes_in=13000/9000@15[lost_packets]");
    /* What was captured, the end must have had. */
    l.bytes_in -= 8000;
    CHECK_STR(verdict(l, v, x), "disagree bytes_in=5000/9000@15 unread_bytes=0/4000@15 closed_at@22[lost_packets]");
    /* Open on both sides: there is nothing that the capture lacks. */
    l = healthy_claim();
    l.closed_ns = 0;
    l.state = LIFE_IDLE;
    l.seen_ns = T0 + SEC(31);
    CHECK_STR(verdict(l, v, x), "agree");
}

TEST(a_connection_that_went_on_after_its_record_was_written) {
    struct join_claim l = healthy_claim();

    l.closed_ns = 0;
    l.state = LIFE_IDLE;
    l.seen_ns = T0 + SEC(3);
    CHECK_STR(verdict(l, healthy_view(), cover), "explained closed_at@20[after_ledger]");
    l.requests = 1;
    l.reused = 0;
    CHECK_STR(verdict(l, healthy_view(), cover),
              "explained closed_at@20[after_ledger] requests=1/2@12[after_ledger] reused=0/1@12[after_ledger]");
    l.seen_ns = T0 + SEC(30); /* open long after the capture saw it end */
    l.requests = 2;
    l.reused = 1;
    CHECK_STR(verdict(l, healthy_view(), cover), "disagree closed_at@20");
}

TEST(a_field_is_compared_only_where_both_know_it) {
    for (uint32_t bit = 1; bit < KNOW_ALL; bit <<= 1) {
        struct join_claim l = healthy_claim();
        struct join_view v = healthy_view();
        uint32_t all, less;

        verdict(l, v, cover);
        all = result.compared;
        l.known &= ~bit;
        CHECK_STR(verdict(l, v, cover), "agree");
        less = result.compared;
        CHECK(!(less & ~all));
        CHECK_EQ(less != all, bit & (KNOW_OPENED | KNOW_CLOSED | KNOW_REQUESTS | KNOW_EARLY_CLOSES | KNOW_BYTES_IN |
                                     KNOW_BYTES_OUT | KNOW_UNREAD | KNOW_RST_SENT | KNOW_RST_RECEIVED | KNOW_CLOSE)
                                  ? 1
                                  : 0);
    }
    /* What only the capture lacks. */
    struct join_view v = healthy_view();
    v.known &= ~(uint32_t)(KNOW_REQUESTS | KNOW_EARLY_CLOSES);
    struct join_claim l = healthy_claim();
    l.requests = 77;
    l.reused = 3;
    l.early_closes = 9;
    CHECK_STR(verdict(l, v, cover), "agree");
}

TEST(the_captures_clock_is_brought_to_the_ledgers) {
    struct join_cover x = cover;
    struct join_claim l = healthy_claim();

    x.clock.offset_ns = SEC(7200);
    CHECK_STR(verdict(l, healthy_view(), x), "disagree opened_at@3 closed_at@20");
    l.opened_ns += SEC(7200);
    l.closed_ns += SEC(7200);
    CHECK_STR(verdict(l, healthy_view(), x), "agree");
}

TEST(times_as_far_apart_as_the_slack_are_the_same_time) {
    struct join_claim l = healthy_claim();

    l.opened_ns = T0 + MSEC(50);
    l.closed_ns = T0 + SEC(5) + MSEC(50);
    CHECK_STR(verdict(l, healthy_view(), cover), "agree");
    CHECK_EQ(result.closed_apart_ns, MSEC(50));
    l.opened_ns = T0 - MSEC(50);
    l.closed_ns = T0 + SEC(5) - MSEC(50);
    CHECK_STR(verdict(l, healthy_view(), cover), "agree");
    CHECK_EQ(result.closed_apart_ns, -MSEC(50));
}

TEST(a_reason_that_is_not_known_excuses_nothing) {
    struct join_claim l = healthy_claim();
    struct join_view v = healthy_view();

    v.end[JOIN_ACCEPTOR].fin_packet = 19;
    v.end[JOIN_ACCEPTOR].fin_ns = T0 + SEC(5) - USEC(40);
    l.close_reason = REASON_RESPONSE_CLOSE; /* but the bit is off */
    CHECK_STR(verdict(l, v, cover), "disagree close.by=1/2@19");
}

TEST(bytes_between_what_was_acknowledged_and_what_was_sent) {
    struct join_claim l = healthy_claim();
    struct join_view v = healthy_view();

    /* The peer's RST cut the last ACK off: the program may have read them or not. */
    v.end[JOIN_ACCEPTOR] = (struct join_end){.bytes = 9500,
                                             .acked_bytes = 9000,
                                             .last_payload_packet = 15,
                                             .last_payload_ns = T0 + SEC(5),
                                             .rst_packet = 16,
                                             .rst_ns = T0 + SEC(5)};
    v.end[JOIN_CONNECTOR].fin_packet = 0;
    v.end[JOIN_CONNECTOR].fin_ns = 0;
    l.rst_received = true;
    l.close_by = BY_REMOTE;
    l.close_how = HOW_RST;
    for (l.bytes_in = 9000; l.bytes_in <= 9500; l.bytes_in += 250) CHECK_STR(verdict(l, v, cover), "agree");
    l.bytes_in = 9501;
    CHECK_STR(verdict(l, v, cover), "disagree bytes_in=9501/9500@15");
    l.bytes_in = 8999;
    CHECK_STR(verdict(l, v, cover), "disagree bytes_in=8999/9000@15 unread_bytes=0/1@15");
    /* Without it, what was not acknowledged did not arrive. */
    v = healthy_view();
    v.end[JOIN_ACCEPTOR].bytes = 9500;
    l = healthy_claim();
    l.bytes_in = 9250;
    CHECK_STR(verdict(l, v, cover), "disagree bytes_in=9250/9000@15");
    /* An open connection's program may not have come to its bytes yet; an idle one has. */
    v.blind = JOIN_BLIND_END;
    v.end[0].fin_packet = v.end[1].fin_packet = 0;
    l.closed_ns = 0;
    l.seen_ns = T0 + SEC(5);
    l.state = LIFE_ACTIVE;
    l.bytes_in = 10;
    CHECK_STR(verdict(l, v, cover), "agree");
    l.state = LIFE_IDLE;
    v.last_ns = T0 + SEC(2);
    CHECK_STR(verdict(l, v, cover), "disagree bytes_in=10/9000@15");
}

TEST(unread_bytes_that_nobody_counted) {
    struct join_claim l = reset_claim();

    l.known &= ~(uint32_t)KNOW_UNREAD; /* RST: any number of them may have been unread, but not fewer than none */
    CHECK_STR(verdict(l, reset_view(), cover), "agree");
    l.bytes_in = 24165;
    CHECK_STR(verdict(l, reset_view(), cover), "disagree bytes_in=24165/24164@19");
    l = healthy_claim();
    l.known &= ~(uint32_t)KNOW_UNREAD; /* FIN: none was */
    l.bytes_in = 8999;
    CHECK_STR(verdict(l, healthy_view(), cover), "disagree bytes_in=8999/9000@15");
}

TEST(an_rst_that_bytes_at_the_close_caused_explains_what_the_end_took_for_a_fin) {
    struct join_claim l = reset_claim();

    l.unread_bytes = 0;
    l.bytes_in = 24164 - 500;
    l.rst_sent = false;
    l.close_how = HOW_FIN;
    CHECK_STR(verdict(l, reset_view(), cover),
              "explained bytes_in=23664/24164@19[arrived_at_close] unread_bytes=0/500@19[arrived_at_close] "
              "rst_sent=0/1@18[arrived_at_close] close.how=1/2@18[arrived_at_close]");
}

TEST(no_rst_goes_out_on_a_connection_that_the_peer_has_reset) {
    struct join_claim l = reset_claim();
    struct join_view v = reset_view();

    v.end[JOIN_CONNECTOR].rst_packet = 0;
    v.end[JOIN_CONNECTOR].rst_ns = 0;
    v.end[JOIN_ACCEPTOR].rst_packet = 18;
    v.end[JOIN_ACCEPTOR].rst_ns = T0 + SEC(5);
    l.known |= KNOW_REASON;
    l.close_reason = REASON_EARLY_CLOSE;
    CHECK_STR(verdict(l, v, cover),
              "explained rst_sent=1/0@22[simultaneous_close] rst_received=0/1@18[simultaneous_close] "
              "close.by=1/2@18[simultaneous_close]");
    v.end[JOIN_ACCEPTOR].rst_ns = T0 + SEC(4); /* the daemon had a second to notice */
    CHECK_STR(verdict(l, v, cover), "disagree closed_at@18 rst_sent=1/0@22 rst_received=0/1@18 close.by=1/2@18");
}

TEST(a_half_close_leaves_the_end_open_until_the_last_signal) {
    struct join_claim l = accepted(healthy_claim(), 200, 9000);
    struct join_view v = healthy_view();

    /* The server's FIN first, the client's three seconds later: the server may close at any time between. */
    v.end[JOIN_ACCEPTOR].fin_packet = 19;
    v.end[JOIN_ACCEPTOR].fin_ns = T0 + SEC(2);
    l.close_by = BY_LOCAL;
    for (l.closed_ns = T0 + SEC(2); l.closed_ns <= T0 + SEC(5); l.closed_ns += SEC(1))
        CHECK_STR(verdict(l, v, cover), "agree");
    l.closed_ns = T0 + SEC(5) + MSEC(51);
    CHECK_STR(verdict(l, v, cover), "disagree closed_at@19");
    l.closed_ns = 0; /* still open: not while both FINs lie behind it */
    l.seen_ns = T0 + SEC(50);
    CHECK_STR(verdict(l, v, cover), "disagree closed_at@19");
    v.end[JOIN_CONNECTOR].fin_packet = 0; /* but while the client's does not, it may */
    v.end[JOIN_CONNECTOR].fin_ns = 0;
    v.blind = JOIN_BLIND_END;
    CHECK_STR(verdict(l, v, cover), "agree");
    l = healthy_claim(); /* a client's connection that carries no tunnel has no half-close */
    l.closed_ns = T0 + SEC(6);
    CHECK_STR(verdict(l, healthy_view(), cover), "disagree closed_at@20");
    l.opaque = true;
    CHECK_STR(verdict(l, healthy_view(), cover), "disagree closed_at@20");
    l.closed_ns = T0 + SEC(5) + MSEC(40);
    CHECK_STR(verdict(l, healthy_view(), cover), "agree");
}

TEST(the_views_own_bits_are_the_connecting_ends) {
    struct join_view v = healthy_view();

    v.known &= ~(uint32_t)KNOW_BYTES_IN; /* the server's bytes are not known */
    verdict(healthy_claim(), v, cover);
    CHECK_EQ(result.compared & 1u << JOIN_BYTES_IN, 0);
    CHECK(result.compared & 1u << JOIN_BYTES_OUT);
    verdict(accepted(healthy_claim(), 200, 9000), v, cover);
    CHECK(result.compared & 1u << JOIN_BYTES_IN);
    CHECK_EQ(result.compared & 1u << JOIN_BYTES_OUT, 0);
}

/* --- On one side only -------------------------------------------------------- */

TEST(a_life_that_the_capture_lacks_counts_only_where_it_should_have_been) {
    struct join_claim l = healthy_claim();
    struct join_cover x = cover;

    CHECK_EQ(join_absent_in_capture(&l, &x, true), JOIN_ABSENT_WRONGLY);
    CHECK_EQ(join_absent_in_capture(&l, &x, false), JOIN_ABSENT_ENDPOINT);
    l.opened_ns = x.capture_first_ns - SEC(1); /* it was open before, and ended meanwhile: a FIN was due */
    CHECK_EQ(join_absent_in_capture(&l, &x, true), JOIN_ABSENT_WRONGLY);
    l.closed_ns = 0; /* open before and after: perhaps silent all the while */
    CHECK_EQ(join_absent_in_capture(&l, &x, true), JOIN_ABSENT_TIME);
    l = healthy_claim();
    x.lost_packets = 1; /* of those that it counted */
    CHECK_EQ(join_absent_in_capture(&l, &x, true), JOIN_ABSENT_LOSS);
}

TEST(a_life_that_the_ledger_lacks_counts_only_where_it_should_have_been) {
    struct join_view v = healthy_view();
    struct join_cover x = cover;

    CHECK_EQ(join_absent_in_ledger(&v, &x, false, true), JOIN_ABSENT_WRONGLY);
    CHECK_EQ(join_absent_in_ledger(&v, &x, true, false), JOIN_ABSENT_WRONGLY);
    CHECK_EQ(join_absent_in_ledger(&v, &x, false, false), JOIN_ABSENT_ENDPOINT);
    v.stillborn = true; /* who dials knows of a refusal, who listens does not */
    CHECK_EQ(join_absent_in_ledger(&v, &x, true, false), JOIN_ABSENT_REFUSED);
    CHECK_EQ(join_absent_in_ledger(&v, &x, true, true), JOIN_ABSENT_WRONGLY);
    x.ledger_first_ns = T0 + SEC(1);
    CHECK_EQ(join_absent_in_ledger(&v, &x, false, true), JOIN_ABSENT_TIME);
    x.ledger_first_ns = T0 - SEC(1);
    x.ledger_last_ns = T0 + SEC(2);
    CHECK_EQ(join_absent_in_ledger(&v, &x, false, true), JOIN_ABSENT_TIME);
}

TEST(absences_are_weighed_on_one_clock) {
    struct join_claim l = healthy_claim();
    struct join_view v = healthy_view();
    struct join_cover x = cover;

    x.clock.offset_ns = SEC(7200);
    CHECK_EQ(join_absent_in_capture(&l, &x, true), JOIN_ABSENT_TIME);
    l.opened_ns += SEC(7200);
    l.closed_ns += SEC(7200);
    CHECK_EQ(join_absent_in_capture(&l, &x, true), JOIN_ABSENT_WRONGLY);
    CHECK_EQ(join_absent_in_ledger(&v, &x, true, true), JOIN_ABSENT_TIME);
    x.ledger_first_ns += SEC(7200);
    x.ledger_last_ns += SEC(7200);
    CHECK_EQ(join_absent_in_ledger(&v, &x, true, true), JOIN_ABSENT_WRONGLY);
    /* Within the slack of the capture's edges a packet may have been missed. */
    x = cover;
    l = healthy_claim();
    l.closed_ns = 0;
    l.opened_ns = x.capture_first_ns + MSEC(49);
    CHECK_EQ(join_absent_in_capture(&l, &x, true), JOIN_ABSENT_TIME);
    l.opened_ns = x.capture_last_ns - MSEC(49);
    CHECK_EQ(join_absent_in_capture(&l, &x, true), JOIN_ABSENT_TIME);
    l.opened_ns = x.capture_last_ns - MSEC(51);
    CHECK_EQ(join_absent_in_capture(&l, &x, true), JOIN_ABSENT_WRONGLY);
}

/* Three requests, of which the third met a connection that the origin had reset. */
TEST(a_request_that_met_the_peers_rst_never_went_out) {
    struct join_view v = healthy_view();
    struct join_claim l = healthy_claim();

    v.responses = 2;
    v.end[JOIN_CONNECTOR].fin_packet = 0;
    v.end[JOIN_ACCEPTOR].fin_packet = 0;
    v.end[JOIN_ACCEPTOR].rst_packet = 20;
    v.end[JOIN_ACCEPTOR].rst_ns = T0 + SEC(5);
    l.requests = 3, l.reused = 2;
    l.rst_received = true;
    l.close_by = BY_REMOTE, l.close_how = HOW_RST;
    l.known |= KNOW_REASON;
    l.close_reason = REASON_WRITE_ERROR;
    CHECK_STR(verdict(l, v, cover), "explained requests=3/2@12[discarded_by_rst] reused=2/1@12[discarded_by_rst]");
    l.reused = 1; /* and each number on its own */
    CHECK_STR(verdict(l, v, cover), "explained requests=3/2@12[discarded_by_rst]");
    l.reused = 3;
    CHECK_STR(verdict(l, v, cover), "disagree reused=3/1@12 requests=3/2@12[discarded_by_rst]");
    l.requests = 4, l.reused = 3;
    CHECK_STR(verdict(l, v, cover), "disagree requests=4/2@12 reused=3/1@12");
    l.requests = 3, l.reused = 2;
    l.close_reason = REASON_SERVER_CLOSED_IDLE;
    CHECK_STR(verdict(l, v, cover), "disagree requests=3/2@12 reused=2/1@12");
    l.close_reason = REASON_WRITE_ERROR;
    v.responses = 1; /* one that went out had no answer: it is the one that failed */
    CHECK_STR(verdict(l, v, cover), "disagree requests=3/2@12 reused=2/1@12");
}

TEST(requests_pipelined_behind_a_close_were_never_begun) {
    struct join_view v = healthy_view();
    struct join_claim l = accepted(healthy_claim(), 200, 9000);

    l.requests = 1, l.reused = 0;
    v.responses = 1;
    v.pipelined = 1;
    CHECK_STR(verdict(l, v, cover),
              "explained requests=1/2@12[pipelined_behind_close] reused=0/1@12[pipelined_behind_close]");
    v.responses = 2; /* it was answered */
    CHECK_STR(verdict(l, v, cover), "disagree requests=1/2@12 reused=0/1@12");
    v.responses = 1;
    v.pipelined = 0; /* it came when the answer was there */
    CHECK_STR(verdict(l, v, cover), "disagree requests=1/2@12 reused=0/1@12");
    v.pipelined = 1;
    l.accepted = false;
    CHECK_EQ(strncmp(verdict(l, v, cover), "disagree", 8), 0);
}

TEST(a_response_of_which_nothing_was_read_is_none_that_was_given_up) {
    struct join_view v = reset_view();
    struct join_claim l = reset_claim();

    v.responses = 2;
    v.last_head_at = 4096;
    v.end[JOIN_ACCEPTOR].last_payload_packet = 17;
    v.end[JOIN_ACCEPTOR].last_payload_ns = T0 + SEC(5) - MSEC(2);
    l.early_closes = 0;
    CHECK_STR(verdict(l, v, cover), "explained early_closes=0/1@18[arrived_at_close]");
    v.last_head_at = 4095; /* a byte of it was */
    CHECK_STR(verdict(l, v, cover), "disagree early_closes=0/1@18");
    v.last_head_at = 4096;
    v.end[JOIN_ACCEPTOR].last_payload_ns = T0 + SEC(4); /* it had been there for long */
    CHECK_STR(verdict(l, v, cover), "disagree early_closes=0/1@18");
}

TEST(the_fin_that_completes_a_body_may_come_when_it_is_just_given_up) {
    struct join_view v = healthy_view();
    struct join_claim l = healthy_claim();

    v.end[JOIN_ACCEPTOR].fin_packet = 19;
    v.end[JOIN_ACCEPTOR].fin_ns = T0 + SEC(5) - MSEC(1);
    l.close_by = BY_REMOTE;
    l.early_closes = 1;
    l.known |= KNOW_REASON;
    l.close_reason = REASON_EARLY_CLOSE;
    CHECK_STR(verdict(l, v, cover), "explained early_closes=1/0@20[simultaneous_close]");
    v.end[JOIN_ACCEPTOR].rst_packet = 18, v.end[JOIN_ACCEPTOR].rst_ns = v.end[JOIN_ACCEPTOR].fin_ns;
    l.rst_received = true, l.close_how = HOW_RST; /* or what breaks it off */
    CHECK_STR(verdict(l, v, cover), "explained early_closes=1/0@20[simultaneous_close]");
    v.end[JOIN_ACCEPTOR].rst_packet = 0;
    l.rst_received = false, l.close_how = HOW_FIN;
    v.end[JOIN_ACCEPTOR].fin_ns = T0 + SEC(4);
    CHECK_STR(verdict(l, v, cover), "disagree early_closes=1/0@20");
}

TEST(a_client_that_leaves_when_its_answer_breaks_off_is_not_blamed_by_the_daemon) {
    struct join_view v = reset_view();
    struct join_claim l = accepted(reset_claim(), 100, 30000);

    l.early_closes = 0;
    l.known |= KNOW_REASON;
    l.close_reason = REASON_SERVER_CLOSED;
    CHECK_STR(verdict(l, v, cover), "explained early_closes=0/1@18[simultaneous_close]");
    v.end[JOIN_CONNECTOR].fin_packet = 18, v.end[JOIN_CONNECTOR].fin_ns = T0 + SEC(5);
    v.end[JOIN_CONNECTOR].rst_packet = 0;
    v.end[JOIN_ACCEPTOR].fin_packet = 20, v.end[JOIN_ACCEPTOR].fin_ns = T0 + SEC(5) + USEC(40);
    l.rst_received = false, l.close_how = HOW_FIN; /* with FIN */
    CHECK_STR(verdict(l, v, cover), "explained early_closes=0/1@18[simultaneous_close]");
    l.close_reason = REASON_CLIENT_CLOSED;
    CHECK_STR(verdict(l, v, cover), "disagree early_closes=0/1@18");
}

TEST(fins_that_pass_each_other_are_of_both_ends) {
    struct join_view v = healthy_view();
    struct join_claim l = healthy_claim();

    v.end[JOIN_ACCEPTOR].fin_packet = 19, v.end[JOIN_ACCEPTOR].fin_ns = T0 + SEC(5) - USEC(1);
    CHECK_STR(verdict(l, v, cover), "disagree close.by=1/2@19");
    v.end[JOIN_CONNECTOR].crossed = true;
    CHECK_STR(verdict(l, v, cover), "explained close.by=1/2@19[simultaneous_close]");
    l.close_by = BY_REMOTE;
    CHECK_STR(verdict(l, v, cover), "agree");
}

TEST(every_name_is_there) {
    for (unsigned f = 0; f < N_JOIN_FIELDS; f++) CHECK(strcmp(join_field_name(f), "?"));
    for (unsigned c = 0; c < N_JOIN_CAUSES; c++)
        CHECK(strcmp(join_cause_name(c), "?") && strcmp(join_cause_text(c), "?"));
    for (unsigned v = 0; v < N_JOIN_VERDICTS; v++) CHECK(strcmp(join_verdict_name(v), "?"));
    CHECK_STR(join_field_name(N_JOIN_FIELDS), "?");
    CHECK_STR(join_cause_name(N_JOIN_CAUSES), "?");
    CHECK_STR(join_verdict_name(N_JOIN_VERDICTS), "?");
}

int main(void) {
    return tap_run();
}

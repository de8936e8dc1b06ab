/* Sockets' states and RSTs folded into connections. */
#include "tap.h"
#include "trace/fold.h"

#include <netinet/tcp.h>

/* ---- a kernel in a few lines ---- */

static struct fold *fold;
static int64_t now;

static struct endpoint end(unsigned host, unsigned port) {
    return (struct endpoint){.addr = {10, 0, 0, (uint8_t)host}, .port = (uint16_t)port, .family = ADDR_V4};
}

#define CLIENT 1
#define SERVER 2

struct peer {
    uint64_t sk;
    struct flow_key flow; /* its own view */
};

static struct peer client_at(uint64_t sk, unsigned port) {
    return (struct peer){sk, {end(CLIENT, port), end(SERVER, 80)}};
}
static struct peer server_of(uint64_t sk, unsigned port) {
    return (struct peer){sk, {end(SERVER, 80), end(CLIENT, port)}};
}

static void begin_with(struct fold_limits limits) {
    fold_free(&fold);
    fold = fold_new(&limits);
    now = SEC(1000);
}
static void begin(void) {
    begin_with((struct fold_limits)FOLD_LIMITS_DEFAULT);
}

static void check(void) {
    const char *wrong = fold_check(fold);

    if (wrong) tap_fail(__FILE__, __LINE__, "does not hold: %s", wrong);
}

static void give(struct trace_event ev) {
    now += USEC(10);
    ev.at_ns = now;
    fold_event(fold, &ev);
    check();
}

static void state_by(const struct peer *p, int old_state, int new_state, int32_t pid, const char *comm) {
    struct trace_event ev = {.sk = p->sk,
                             .flow = p->flow,
                             .kind = TRACE_SET_STATE,
                             .old_state = (uint8_t)old_state,
                             .new_state = (uint8_t)new_state,
                             .pid = pid};

    snprintf(ev.comm, sizeof ev.comm, "%s", comm);
    if (old_state == TCP_CLOSE && new_state == TCP_SYN_SENT) ev.flow.local.port = 0;
    give(ev);
}
static void state(const struct peer *p, int old_state, int new_state) {
    state_by(p, old_state, new_state, 0, "");
}

static void sends_rst(const struct peer *p, int in_state, const char *reason, int32_t pid) {
    give((struct trace_event){.sk = p->sk,
                              .flow = p->flow,
                              .kind = TRACE_SEND_RESET,
                              .new_state = (uint8_t)in_state,
                              .reason = reason,
                              .pid = pid,
                              .comm = "closer"});
}
static void gets_rst(const struct peer *p) {
    give((struct trace_event){.sk = p->sk, .flow = p->flow, .kind = TRACE_RECEIVE_RESET});
}

static void dials(const struct peer *p) {
    state_by(p, TCP_CLOSE, TCP_SYN_SENT, 100, "dialer");
    now += MSEC(2);
    state(p, TCP_SYN_SENT, TCP_ESTABLISHED);
}
static void accepts(const struct peer *p) {
    state(p, TCP_LISTEN, TCP_SYN_RECV);
    state(p, TCP_SYN_RECV, TCP_ESTABLISHED);
}

static struct trace_record rec;
static bool next_record(void) {
    return fold_next_record(fold, &rec);
}
static bool finished(void) {
    now += SEC(10);
    fold_tick(fold, now);
    check();
    return next_record();
}

static struct trace_reset rst;
static bool next_reset(void) {
    return fold_next_reset(fold, &rst);
}

static const char *cause(void) {
    int first = kernel_first_rst(&rec.evidence);
    const char *name = first < 0 ? NULL : rst_proof_name(rst_reason_proves(rec.evidence.end[first].reason));

    return name ? name : "-";
}

/* ---- one life each ---- */

TEST(dialed_and_closed_by_both) {
    struct peer c = client_at(1, 4000);
    int64_t began;

    begin();
    began = now + USEC(10);
    dials(&c);
    CHECK(!next_record());
    state_by(&c, TCP_ESTABLISHED, TCP_FIN_WAIT1, 100, "dialer");
    int64_t fin = now;
    state(&c, TCP_FIN_WAIT1, TCP_FIN_WAIT2);
    state(&c, TCP_FIN_WAIT2, TCP_CLOSE);
    CHECK(!next_record()); /* it lingers: late bytes may yet be answered with RST */
    CHECK(finished());
    CHECK_EQ(rec.life.observer, OBSERVER_KERNEL);
    CHECK_EQ(rec.life.side, SIDE_CLIENT);
    CHECK_EQ(rec.life.opened_ns, began);
    CHECK_EQ(rec.life.dialed_ns - rec.life.opened_ns, MSEC(2) + USEC(10));
    CHECK_EQ(rec.life.closed_ns, fin);
    CHECK_EQ(rec.life.close_by, BY_LOCAL);
    CHECK_EQ(rec.life.close_how, HOW_FIN);
    CHECK_EQ(rec.life.state, LIFE_CLOSED);
    CHECK_EQ(rec.life.flow.local.port, 4000);
    CHECK(!rec.life.rst_sent && !rec.life.rst_received);
    CHECK_EQ(rec.life.known, KNOW_OPENED | KNOW_CLOSED | KNOW_DIAL | KNOW_RST_SENT | KNOW_RST_RECEIVED | KNOW_CLOSE);
    CHECK_EQ(rec.evidence.incomplete, 0);
    CHECK_EQ(rec.evidence.end[0].pid, 100);
    CHECK_STR(rec.evidence.end[0].comm, "dialer");
    CHECK(!rec.evidence.end[1].seen);
    CHECK(!next_record());
    CHECK(!next_reset());
}

TEST(the_remote_end_closes_first) {
    struct peer c = client_at(1, 4000);

    begin();
    dials(&c);
    state(&c, TCP_ESTABLISHED, TCP_CLOSE_WAIT);
    state(&c, TCP_CLOSE_WAIT, TCP_LAST_ACK);
    state(&c, TCP_LAST_ACK, TCP_CLOSE);
    CHECK(finished());
    CHECK_EQ(rec.life.close_by, BY_REMOTE);
    CHECK_EQ(rec.life.close_how, HOW_FIN);
    CHECK(rec.evidence.end[0].fin_event > rec.evidence.end[1].fin_event);
    CHECK(rec.evidence.end[1].fin_event > 0);
}

TEST(closed_with_bytes_unread_goes_to_close_before_its_rst) {
    struct peer c = client_at(1, 4000);

    begin();
    dials(&c);
    state_by(&c, TCP_ESTABLISHED, TCP_CLOSE, 7, "reader");
    sends_rst(&c, TCP_CLOSE, "TCP_ABORT_ON_CLOSE", 7);
    CHECK(next_reset());
    CHECK_EQ(rst.state, TCP_ESTABLISHED); /* what it was in, not what close() made of it */
    CHECK_EQ(rst.pid, 7);
    CHECK_EQ(rst.conn, 1);
    CHECK(!rst.received);
    CHECK(finished());
    CHECK(rec.life.rst_sent);
    CHECK(!rec.life.rst_received);
    CHECK_EQ(rec.life.close_by, BY_LOCAL);
    CHECK_EQ(rec.life.close_how, HOW_RST);
    CHECK_STR(cause(), "unread_at_close");
    CHECK_EQ(rec.evidence.end[0].rsts, 1);
    CHECK_EQ(rec.life.closed_ns, rec.evidence.end[0].rst_ns);
}

/* A FIN of the peer that the socket no longer took came later than its close. */
TEST(a_close_with_rst_is_first_even_if_the_peers_fin_comes_before_the_rst_is_told) {
    struct peer c = client_at(1, 4000), s = server_of(2, 4000);

    begin();
    dials(&c);
    accepts(&s);
    state(&c, TCP_ESTABLISHED, TCP_CLOSE);
    state(&s, TCP_ESTABLISHED, TCP_FIN_WAIT1);
    sends_rst(&c, TCP_CLOSE, "TCP_ABORT_ON_CLOSE", 7);
    gets_rst(&s);
    state(&s, TCP_FIN_WAIT1, TCP_CLOSE);
    CHECK(finished());
    CHECK_EQ(rec.life.close_by, BY_LOCAL);
    CHECK_EQ(rec.life.close_how, HOW_RST);
    CHECK_EQ(rec.evidence.end[1].rst_event, 0);
    CHECK(rec.evidence.end[0].rst_event < rec.evidence.end[1].fin_event); /* the RST is as old as the close */
}

TEST(unread_bytes_after_the_peers_fin) {
    struct peer c = client_at(1, 4000);

    begin();
    dials(&c);
    state(&c, TCP_ESTABLISHED, TCP_CLOSE_WAIT);
    state(&c, TCP_CLOSE_WAIT, TCP_CLOSE);
    sends_rst(&c, TCP_CLOSE, "TCP_ABORT_ON_CLOSE", 7);
    CHECK(next_reset());
    CHECK_EQ(rst.state, TCP_CLOSE_WAIT);
    CHECK(finished());
    CHECK_EQ(rec.life.close_by, BY_REMOTE);
    CHECK_EQ(rec.life.close_how, HOW_FIN);
    CHECK(rec.life.rst_sent);
    CHECK_STR(cause(), "unread_at_close");
}

TEST(data_after_close_is_answered_by_time_wait) {
    struct peer c = client_at(1, 4000), nobody = client_at(99, 4000);

    begin();
    dials(&c);
    state_by(&c, TCP_ESTABLISHED, TCP_FIN_WAIT1, 100, "dialer");
    state(&c, TCP_FIN_WAIT1, TCP_FIN_WAIT2);
    state(&c, TCP_FIN_WAIT2, TCP_CLOSE);
    now += MSEC(500);
    sends_rst(&nobody, TCP_TIME_WAIT, "TCP_TIMEWAIT_SOCKET", 0);
    sends_rst(&nobody, TCP_TIME_WAIT, "TCP_TIMEWAIT_SOCKET", 0);
    CHECK(next_reset());
    CHECK_EQ(rst.state, TCP_TIME_WAIT);
    CHECK_EQ(rst.pid, 0);
    CHECK_EQ(rst.owner_pid, 100); /* softirq has no process, its connection had one */
    CHECK(next_reset());
    CHECK(finished());
    CHECK(rec.life.rst_sent);
    CHECK_EQ(rec.life.close_by, BY_LOCAL);
    CHECK_EQ(rec.life.close_how, HOW_FIN);
    CHECK_STR(cause(), "data_after_close");
    CHECK_EQ(rec.evidence.end[0].rsts, 2);
}

TEST(after_its_time_an_rst_belongs_to_nothing) {
    struct peer c = client_at(1, 4000);

    begin();
    dials(&c);
    state(&c, TCP_ESTABLISHED, TCP_FIN_WAIT1);
    state(&c, TCP_FIN_WAIT1, TCP_CLOSE);
    CHECK(finished());
    CHECK(!rec.life.rst_sent);
    sends_rst(&c, TCP_TIME_WAIT, "TCP_TIMEWAIT_SOCKET", 0);
    CHECK(next_reset());
    CHECK_EQ(rst.conn, 0);
    CHECK(!finished());
}

/* ---- both ends here ---- */

TEST(both_ends_of_one_connection_are_one_record) {
    struct peer c = client_at(1, 4000), s = server_of(2, 4000);

    begin();
    dials(&c);
    accepts(&s);
    CHECK_EQ(fold_counts(fold).connections, 1);
    state(&c, TCP_ESTABLISHED, TCP_CLOSE);
    gets_rst(&s); /* loopback: it arrives before the kernel says that it is sent */
    state(&s, TCP_ESTABLISHED, TCP_CLOSE);
    sends_rst(&c, TCP_CLOSE, "TCP_ABORT_ON_CLOSE", 7);
    CHECK(next_reset());
    CHECK(!rst.received);
    CHECK_STR(rst.reason, "TCP_ABORT_ON_CLOSE");
    CHECK(finished());
    CHECK(!next_reset()); /* its arrival is no second RST */
    CHECK(!next_record());
    CHECK(rec.evidence.end[0].seen && rec.evidence.end[1].seen);
    CHECK(rec.life.rst_sent);
    CHECK(!rec.life.rst_received);
    CHECK_EQ(rec.evidence.end[0].rsts, 1);
    CHECK_STR(cause(), "unread_at_close");
}

TEST(an_end_that_stays_keeps_the_connection_open) {
    struct peer c = client_at(1, 4000), s = server_of(2, 4000);

    begin();
    dials(&c);
    accepts(&s);
    state(&c, TCP_ESTABLISHED, TCP_FIN_WAIT1);
    state(&s, TCP_ESTABLISHED, TCP_CLOSE_WAIT);
    state(&c, TCP_FIN_WAIT1, TCP_FIN_WAIT2);
    state(&c, TCP_FIN_WAIT2, TCP_CLOSE);
    CHECK(!finished());
    fold_finish(fold, now);
    CHECK(next_record());
    CHECK_EQ(rec.life.state, LIFE_OPEN);
    CHECK_EQ(rec.life.closed_ns, 0);
    CHECK_EQ(rec.life.close_by, BY_NONE);
    CHECK_EQ(rec.evidence.incomplete, KERNEL_OPEN_AT_END);
    CHECK(rec.evidence.end[0].fin_event);
}

TEST(simultaneous_close) {
    struct peer c = client_at(1, 4000);

    begin();
    dials(&c);
    state(&c, TCP_ESTABLISHED, TCP_FIN_WAIT1);
    state(&c, TCP_FIN_WAIT1, TCP_CLOSING);
    state(&c, TCP_CLOSING, TCP_CLOSE);
    CHECK(finished());
    CHECK_EQ(rec.life.close_by, BY_LOCAL);
    CHECK(rec.evidence.end[1].fin_event > rec.evidence.end[0].fin_event);
}

/* ---- the accepting end alone ---- */

TEST(an_accepted_connection_is_told_from_the_end_that_connected) {
    struct peer s = server_of(2, 4000);

    begin();
    accepts(&s);
    gets_rst(&s);
    state(&s, TCP_ESTABLISHED, TCP_CLOSE);
    now += MSEC(60);
    fold_tick(fold, now);
    CHECK(next_reset());
    CHECK(rst.received);
    CHECK_EQ(rst.flow.local.addr[3], CLIENT);
    CHECK_EQ(rst.state, TCP_ESTABLISHED);
    CHECK(finished());
    CHECK_EQ(rec.life.flow.local.addr[3], CLIENT);
    CHECK_EQ(rec.life.flow.remote.port, 80);
    CHECK(rec.life.rst_sent);
    CHECK_EQ(rec.life.close_by, BY_LOCAL);
    CHECK_EQ(rec.life.close_how, HOW_RST);
    CHECK(!(rec.life.known & KNOW_DIAL));
    CHECK(rec.life.known & KNOW_OPENED);
}

/* ---- dials that fail ---- */

TEST(a_refused_dial) {
    struct peer c = client_at(1, 4000), nobody = server_of(0, 4000);

    begin();
    state_by(&c, TCP_CLOSE, TCP_SYN_SENT, 100, "dialer");
    sends_rst(&nobody, 0, "NO_SOCKET", 0);
    gets_rst(&c);
    state(&c, TCP_SYN_SENT, TCP_CLOSE);
    CHECK(next_reset());
    CHECK(!rst.received);
    CHECK(finished());
    CHECK(!next_reset());
    CHECK(rec.life.rst_received);
    CHECK(!rec.life.rst_sent);
    CHECK_EQ(rec.life.close_by, BY_REMOTE);
    CHECK_EQ(rec.life.close_how, HOW_RST);
    CHECK_EQ(rec.life.dialed_ns, 0);
    CHECK_STR(cause(), "refused");
}

TEST(a_dial_that_was_given_up_was_closed_by_nobody) {
    struct peer c = client_at(1, 4000);

    begin();
    state(&c, TCP_CLOSE, TCP_SYN_SENT);
    state(&c, TCP_SYN_SENT, TCP_CLOSE);
    CHECK(finished());
    CHECK_EQ(rec.life.state, LIFE_CLOSED);
    CHECK(rec.life.known & KNOW_CLOSE);
    CHECK_EQ(rec.life.close_by, BY_NONE);
    CHECK_EQ(rec.life.close_how, HOW_NONE);
}

TEST(a_connection_that_timed_out_has_an_end_that_nobody_made) {
    struct peer c = client_at(1, 4000);

    begin();
    dials(&c);
    state(&c, TCP_ESTABLISHED, TCP_CLOSE);
    CHECK(finished());
    CHECK(!(rec.life.known & KNOW_CLOSE));
    CHECK_EQ(rec.life.state, LIFE_CLOSED);
    CHECK(rec.life.closed_ns > 0);
}

/* ---- what was there before, or is not seen ---- */

TEST(an_old_connection_is_met_in_its_middle) {
    struct peer c = client_at(1, 4000);

    begin();
    state(&c, TCP_CLOSE_WAIT, TCP_LAST_ACK);
    state(&c, TCP_LAST_ACK, TCP_CLOSE);
    CHECK(finished());
    CHECK_EQ(rec.life.close_by, BY_REMOTE);
    CHECK_EQ(rec.evidence.incomplete, KERNEL_BEGAN_BEFORE);
    CHECK_EQ(rec.evidence.roles, KERNEL_ROLES_ASSUMED);
    CHECK(!(rec.life.known & (KNOW_OPENED | KNOW_DIAL)));
    CHECK_EQ(rec.life.flow.remote.port, 80); /* the lower port serves, by guess */
}

TEST(an_old_connection_that_had_sent_its_fin_before) {
    struct peer c = client_at(1, 4000);

    begin();
    state(&c, TCP_FIN_WAIT2, TCP_CLOSE);
    CHECK(finished());
    CHECK(rec.life.known & KNOW_CLOSE);
    CHECK_EQ(rec.life.close_by, BY_LOCAL);
    CHECK_EQ(rec.life.close_how, HOW_FIN);
}

TEST(both_ends_of_an_old_connection_find_each_other) {
    struct peer c = client_at(1, 4000), s = server_of(2, 4000);

    begin();
    state(&s, TCP_ESTABLISHED, TCP_FIN_WAIT1);
    state(&c, TCP_ESTABLISHED, TCP_CLOSE_WAIT);
    state(&s, TCP_FIN_WAIT1, TCP_FIN_WAIT2);
    state(&c, TCP_CLOSE_WAIT, TCP_LAST_ACK);
    state(&s, TCP_FIN_WAIT2, TCP_CLOSE);
    state(&c, TCP_LAST_ACK, TCP_CLOSE);
    CHECK(finished());
    CHECK(!next_record());
    CHECK_EQ(rec.life.close_by, BY_REMOTE);
    CHECK(rec.evidence.end[0].seen && rec.evidence.end[1].seen);
}

TEST(a_port_that_is_used_again_is_another_connection) {
    struct peer c = client_at(1, 4000), again = client_at(1, 4000);

    begin();
    dials(&c);
    state(&c, TCP_ESTABLISHED, TCP_FIN_WAIT1);
    state(&c, TCP_FIN_WAIT1, TCP_CLOSE);
    dials(&again);
    CHECK(next_record()); /* at once: the ports are the new one's */
    CHECK_EQ(rec.life.id, 1);
    sends_rst(&again, TCP_ESTABLISHED, "TCP_KEEPALIVE_TIMEOUT", 0);
    CHECK(next_reset());
    CHECK_EQ(rst.conn, 2);
    CHECK(!rec.life.rst_sent);
}

TEST(events_that_were_lost_make_what_they_may_concern_unknown) {
    struct peer c = client_at(1, 4000), later = client_at(2, 4001);

    begin();
    dials(&c);
    fold_lost(fold, 3);
    dials(&later);
    state(&c, TCP_ESTABLISHED, TCP_FIN_WAIT1);
    state(&c, TCP_FIN_WAIT1, TCP_CLOSE);
    state(&later, TCP_ESTABLISHED, TCP_FIN_WAIT1);
    state(&later, TCP_FIN_WAIT1, TCP_CLOSE);
    CHECK(finished());
    CHECK_EQ(rec.evidence.incomplete, KERNEL_EVENTS_LOST);
    CHECK(!(rec.life.known & (KNOW_RST_SENT | KNOW_RST_RECEIVED | KNOW_CLOSE)));
    CHECK(next_record());
    CHECK_EQ(rec.evidence.incomplete, 0);
    CHECK(rec.life.known & KNOW_RST_SENT);
    CHECK_EQ(fold_counts(fold).lost, 3);
}

TEST(an_old_kernel_does_not_tell_of_rsts_from_time_wait) {
    struct fold_limits limits = FOLD_LIMITS_DEFAULT;
    struct peer c = client_at(1, 4000);

    limits.all_resets = false;
    begin_with(limits);
    dials(&c);
    state(&c, TCP_ESTABLISHED, TCP_FIN_WAIT1);
    state(&c, TCP_FIN_WAIT1, TCP_CLOSE);
    CHECK(finished());
    CHECK(!(rec.life.known & KNOW_RST_SENT));
    CHECK(rec.life.known & KNOW_RST_RECEIVED);
}

TEST(listeners_are_no_connections) {
    struct peer l = {5, {end(SERVER, 80), {.family = ADDR_V4}}};

    begin();
    state(&l, TCP_CLOSE, TCP_LISTEN);
    state(&l, TCP_LISTEN, TCP_CLOSE);
    fold_finish(fold, now);
    CHECK(!next_record());
}

/* ---- RSTs of other hosts ---- */

TEST(an_rst_from_another_host_waits_until_it_is_sure) {
    struct peer c = client_at(1, 4000);

    begin();
    dials(&c);
    gets_rst(&c);
    CHECK(!next_reset());
    now += MSEC(49);
    fold_tick(fold, now);
    CHECK(!next_reset());
    now += MSEC(2);
    fold_tick(fold, now);
    CHECK(next_reset());
    CHECK(rst.received);
    CHECK_EQ(rst.owner_pid, 100);
    CHECK_EQ(rst.reason == NULL, 1);
}

TEST(an_rst_between_sockets_of_which_nothing_is_known_is_one) {
    struct peer c = client_at(1, 4000), s = server_of(2, 4000);

    begin();
    gets_rst(&s);
    sends_rst(&c, TCP_ESTABLISHED, "TCP_ABORT_ON_DATA", 0);
    CHECK(next_reset());
    CHECK(!rst.received);
    CHECK(!finished());
    CHECK(!next_reset());
}

/* The event of its sending was lost, or is late: it is this host's all the same. */
TEST(an_rst_of_a_socket_of_this_host_is_never_another_host_s) {
    struct peer c = client_at(1, 4000), s = server_of(2, 4000);

    begin();
    dials(&c);
    accepts(&s);
    gets_rst(&s);
    now += SEC(1);
    fold_tick(fold, now);
    CHECK(!next_reset());
}

/* ---- bounds ---- */

TEST(connections_are_bounded_the_closed_go_first_then_the_quiet) {
    struct fold_limits limits = FOLD_LIMITS_DEFAULT;
    struct peer a = client_at(1, 4001), b = client_at(2, 4002), c = client_at(3, 4003), d = client_at(4, 4004);

    limits.connections = 2;
    begin_with(limits);
    dials(&a);
    dials(&b);
    state(&b, TCP_ESTABLISHED, TCP_FIN_WAIT1);
    state(&b, TCP_FIN_WAIT1, TCP_CLOSE);
    dials(&c);
    state(&c, TCP_ESTABLISHED, TCP_CLOSE_WAIT);
    state(&a, TCP_ESTABLISHED, TCP_CLOSE_WAIT);
    CHECK(next_record());
    CHECK_EQ(rec.life.id, 2);
    CHECK_EQ(rec.evidence.incomplete, 0);
    CHECK_EQ(fold_counts(fold).limit, 0);
    dials(&d);
    CHECK(next_record());
    CHECK_EQ(rec.life.id, 3);
    CHECK_EQ(rec.evidence.incomplete, KERNEL_LIMIT);
    CHECK_EQ(rec.life.state, LIFE_OPEN);
    CHECK_EQ(fold_counts(fold).limit, 1);
    CHECK_EQ(fold_counts(fold).connections, 2);
}

/* ---- anything at all ---- */

static uint64_t seed;
static unsigned below(unsigned n) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % n;
}

static void anything(void) {
    static const char *const reasons[] = {NULL, "TCP_ABORT_ON_CLOSE", "TCP_ABORT_ON_DATA", "UNHEARD_OF"};
    unsigned port = 4000 + below(4);
    bool serves = below(2);
    struct peer p = serves ? server_of(below(9), port) : client_at(below(9), port);
    struct trace_event ev = {.sk = p.sk, .flow = p.flow, .kind = (uint8_t)below(3)};

    if (below(8) == 0) ev.flow.local.port = 0;
    if (below(20) == 0) ev.flow.remote = ev.flow.local;
    ev.old_state = (uint8_t)below(KERNEL_STATES);
    ev.new_state = (uint8_t)below(KERNEL_STATES);
    ev.reason = ev.kind == TRACE_SEND_RESET ? reasons[below(4)] : NULL;
    ev.pid = (int32_t)below(3);
    memset(ev.comm, 'x', sizeof ev.comm); /* no NUL */
    give(ev);
}

static void check_record(uint64_t *n_sent) {
    const struct lifecycle *l = &rec.life;

    *n_sent += rec.evidence.end[0].rsts + rec.evidence.end[1].rsts;
    CHECK_EQ(l->rst_sent, rec.evidence.end[0].rst_event != 0);
    CHECK(l->state == LIFE_CLOSED || !l->closed_ns);
    CHECK(l->closed_ns == 0 || l->opened_ns <= l->closed_ns);
    CHECK(rec.evidence.end[0].seen || rec.evidence.end[1].seen);
    CHECK(l->close_by == BY_NONE ? l->close_how == HOW_NONE : l->close_how != HOW_NONE);
    CHECK(memchr(rec.evidence.end[0].comm, 0, KERNEL_COMM_MAX) != NULL);
}

TEST(whatever_comes_the_invariants_hold) {
    for (unsigned round = 0; round < 300 && !tap_bad; round++) {
        struct fold_limits limits = FOLD_LIMITS_DEFAULT;
        uint64_t sent = 0, listed = 0, records = 0, last = 0;

        seed = round + 1;
        limits.connections = 1 + below(5);
        begin_with(limits);
        for (unsigned i = 0; i < 400 && !tap_bad; i++) {
            anything();
            if (below(50) == 0) fold_lost(fold, below(3));
            if (below(10) == 0) now += MSEC(below(3000));
            if (below(4) == 0) fold_tick(fold, now);
            while (next_reset()) listed += !rst.received && rst.conn;
            while (next_record()) records++, check_record(&sent);
        }
        fold_finish(fold, now);
        check();
        while (next_reset()) listed += !rst.received && rst.conn;
        while (next_record()) {
            records++;
            check_record(&sent);
            last = rec.life.id > last ? rec.life.id : last;
        }
        CHECK_EQ(fold_counts(fold).connections, 0);
        CHECK(records >= last);
        CHECK(sent >= listed); /* more: what was sent before its connection was known */
        if (tap_bad) printf("# seed %u\n", round);
    }
    fold_free(&fold);
}

int main(void) {
    return tap_run();
}

/* The newest requests, as the events of their connections tell them; and the same events
 * as a workload made from a record. */
#include "core/ledger.h"
#include "core/workload.h"
#include "tap.h"

static struct ledger *l;
static struct lifecycle *life;
static int64_t now;

static void happens(enum conn_event_kind kind, uint64_t value, uint16_t code) {
    struct conn_event ev = {.at_ns = now, .value = value, .code = code, .kind = (uint8_t)kind};
    ledger_apply(l, life, &ev);
}

static void begin(size_t room) {
    const struct connect_key key = {"", "http", "a:80", false};

    l = ledger_new(OBSERVER_DAEMON, 100);
    ledger_keep_recent(l, room);
    now = SEC(10);
    life = ledger_open(l, SIDE_UPSTREAM, 1, now);
    ledger_set_key(l, life, &key);
    happens(EV_DIALING, UNKNOWN_BYTES, 0);
    now += MSEC(1);
    happens(EV_DIALED, UNKNOWN_BYTES, 0);
}

/* A request that waited 1 ms and takes 10 ms to its answer and 5 more to the end of it. */
static void ask(uint16_t status) {
    happens(EV_GOT_CONN, (uint64_t)MSEC(1), 0);
    happens(EV_REQUEST, UNKNOWN_BYTES, 0);
    happens(EV_WROTE_REQUEST, 0, 0);
    now += MSEC(10);
    happens(EV_FIRST_BYTE, UNKNOWN_BYTES, 0);
    happens(EV_RESPONSE, 3000, status);
    now += MSEC(5);
    happens(EV_BODY_EOF, 3000, 0);
    happens(EV_PUT_IDLE, UNKNOWN_BYTES, 0);
    now += MSEC(100);
}

TEST(a_request_is_put_down_when_it_is_over) {
    const struct recent_exchange *x;

    begin(100);
    ask(200);
    CHECK_EQ(recent_next(ledger_recent(l)), 1);
    x = recent_get(ledger_recent(l), 0);
    CHECK_EQ(x->conn, 1);
    CHECK_EQ(x->at_ns, SEC(10));
    CHECK_EQ(x->waited_ns, MSEC(1));
    CHECK_EQ(x->first_us, 11000);
    CHECK_EQ(x->done_ns, MSEC(16));
    CHECK_EQ(x->announced, 3000);
    CHECK_EQ(x->body, 3000);
    CHECK_EQ(x->status, 200);
    CHECK_EQ(x->end, END_COMPLETE);
    ask(404);
    CHECK_EQ(recent_next(ledger_recent(l)), 2);
    CHECK_EQ(recent_get(ledger_recent(l), 1)->status, 404);
    happens(EV_ENDED, 0, REASON_IDLE_TIMEOUT);
    CHECK_EQ(recent_next(ledger_recent(l)), 2);
    CHECK(recent_get(ledger_recent(l), 2) == NULL);
    ledger_free(&l);
}

TEST(the_newest_are_held) {
    begin(300);
    for (int i = 0; i < 1000; i++) ask((uint16_t)(i % 500));
    CHECK_EQ(recent_next(ledger_recent(l)), 1000);
    CHECK_EQ(recent_first(ledger_recent(l)), 700);
    CHECK(recent_get(ledger_recent(l), 699) == NULL);
    for (uint64_t i = 700; i < 1000; i++) CHECK_EQ(recent_get(ledger_recent(l), i)->status, i % 500);
    ledger_free(&l);
}

TEST(what_was_not_complete_says_how_it_ended) {
    const struct recent *r;

    begin(100);
    r = ledger_recent(l);
    happens(EV_GOT_CONN, 0, 0);
    happens(EV_REQUEST, UNKNOWN_BYTES, 0);
    now += MSEC(3);
    happens(EV_RETRIED, UNKNOWN_BYTES, 0);
    CHECK_EQ(recent_get(r, 0)->end, END_FAILED);
    CHECK(recent_get(r, 0)->retried);
    happens(EV_GOT_CONN, 0, 0);
    happens(EV_RESPONSE, UNKNOWN_BYTES, 200);
    now += MSEC(3);
    happens(EV_EARLY_CLOSE, 17, 0);
    CHECK_EQ(recent_get(r, 1)->end, END_GIVEN_UP);
    CHECK_EQ(recent_get(r, 1)->body, 17);
    CHECK_EQ(recent_get(r, 1)->announced, UINT32_MAX);
    happens(EV_GOT_CONN, 0, 0);
    now += MSEC(7);
    struct recent_exchange open;
    CHECK(recent_of(life, &open) && open.end == END_OPEN && open.done_ns == -1);
    happens(EV_ENDED, 0, REASON_CANCELED);
    CHECK_EQ(recent_get(r, 2)->end, END_CANCELED);
    CHECK_EQ(recent_get(r, 2)->done_ns, MSEC(7));
    ledger_free(&l);
}

TEST(downstream_is_not_looked_at_and_none_may_be_held) {
    begin(0);
    CHECK(ledger_recent(l) == NULL);
    ask(200);
    ledger_free(&l);
    begin(10);
    life = ledger_open(l, SIDE_DOWNSTREAM, 1, now);
    ask(200);
    CHECK_EQ(recent_next(ledger_recent(l)), 0);
    ledger_free(&l);
}

/* ---- a record as a workload ---- */

static struct workload *workload_of_life(int64_t seen_ns) {
    const struct workload_limits limits = WORKLOAD_LIMITS_DEFAULT;
    struct workload *w = workload_new(&limits);

    CHECK(workload_add_life(w, life, seen_ns));
    workload_begin(w, SEC(10), now);
    return w;
}

TEST(few_requests_are_told_exactly) {
    struct workload *w;

    begin(10);
    ask(200);
    ask(200);
    w = workload_of_life(now);
    CHECK_EQ(w->n_conns, 1);
    CHECK_EQ(w->conns[0].opened_ns, 0);
    CHECK_EQ(w->conns[0].dial_ns, MSEC(1));
    CHECK_EQ(w->conns[0].flags, WCONN_OPENED | WCONN_DIALED);
    CHECK_EQ(w->n_exchanges, 2);
    CHECK_EQ(w->exchanges[0].at_ns, 0);
    CHECK_EQ(w->exchanges[0].waited_ns, MSEC(1));
    CHECK_EQ(w->exchanges[0].first_ns, MSEC(11));
    CHECK_EQ(w->exchanges[0].done_ns, MSEC(16));
    CHECK_EQ(w->exchanges[0].flags, 0);
    CHECK_EQ(w->exchanges[1].at_ns, MSEC(115));
    CHECK_STR(workload_text_of(w, w->origins[w->exchanges[0].origin].host), "a:80");
    workload_free(&w);
    ledger_free(&l);
}

TEST(of_many_those_in_between_are_spread) {
    struct workload *w;
    unsigned spread = 0;

    begin(10);
    for (int i = 0; i < 50; i++) ask(200);
    w = workload_of_life(now);
    CHECK_EQ(w->n_exchanges, 50);
    CHECK(w->conns[0].flags & WCONN_PARTIAL);
    for (uint32_t i = 0; i < w->n_exchanges; i++) {
        const struct workload_exchange *x = &w->exchanges[i];
        spread += (x->flags & WX_SPREAD) != 0;
        if (i > 0) CHECK(x->at_ns >= w->exchanges[i - 1].at_ns + w->exchanges[i - 1].done_ns);
        CHECK_EQ(x->end, END_COMPLETE);
        CHECK_EQ(x->done_ns - x->waited_ns, MSEC(15)); /* as long as those that are known took */
    }
    CHECK(spread >= 45 && spread <= 47);
    CHECK_EQ(w->exchanges[0].at_ns, 0);
    workload_free(&w);
    ledger_free(&l);
}

TEST(without_events_they_fill_the_life_but_for_its_idle_time) {
    struct workload *w;

    begin(10);
    for (int i = 0; i < 4; i++) ask(200);
    lifecycle_clear(life);
    life->idle_total_ns = MSEC(400);
    now = SEC(10) + MSEC(1 + 440);
    w = workload_of_life(now);
    CHECK_EQ(w->n_exchanges, 4);
    for (uint32_t i = 0; i < 4; i++) {
        CHECK_EQ(w->exchanges[i].at_ns + w->exchanges[i].waited_ns, MSEC(1 + 110 * i));
        CHECK_EQ(w->exchanges[i].done_ns - w->exchanges[i].waited_ns, MSEC(10));
        CHECK(w->exchanges[i].flags & WX_SPREAD);
    }
    CHECK_EQ(w->exchanges[0].at_ns, 0);
    workload_free(&w);
    ledger_free(&l);
}

TEST(an_end_in_the_middle_is_the_last_one_s) {
    static const struct {
        enum close_reason why;
        enum workload_end end;
    } cases[] = {{REASON_CANCELED, END_CANCELED}, {REASON_SERVER_CLOSED, END_FAILED}, {REASON_UPGRADED, END_OPAQUE}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct workload *w;
        begin(10);
        ask(200);
        happens(EV_GOT_CONN, 0, 0);
        happens(EV_REQUEST, UNKNOWN_BYTES, 0);
        now += MSEC(9);
        happens(EV_ENDED, 0, (uint16_t)cases[i].why);
        life = (struct lifecycle *)(uintptr_t)ledger_find(l, SIDE_UPSTREAM, 1);
        w = workload_of_life(now);
        CHECK_EQ(w->n_exchanges, 2);
        CHECK_EQ(w->exchanges[1].end, cases[i].end);
        CHECK_EQ(w->exchanges[1].done_ns, MSEC(9));
        workload_free(&w);
        ledger_free(&l);
    }
}

TEST(each_end_of_an_exchange_is_told) {
    static const struct {
        enum conn_event_kind what;
        uint64_t body;
        enum workload_end end;
        unsigned flags;
    } cases[] = {{EV_BODY_EOF, 3000, END_COMPLETE, 0},
                 {EV_EARLY_CLOSE, 1000, END_GIVEN_UP, 0},
                 {EV_RETRIED, UNKNOWN_BYTES, END_FAILED, WX_RETRIED},
                 {EV_UPGRADED, UNKNOWN_BYTES, END_OPAQUE, 0},
                 {EV_TUNNEL, UNKNOWN_BYTES, END_OPAQUE, 0}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct workload *w;
        begin(10);
        happens(EV_GOT_CONN, 0, 0);
        happens(EV_REQUEST, UNKNOWN_BYTES, 0);
        now += MSEC(2);
        happens(EV_INTERIM, UNKNOWN_BYTES, 103);
        happens(EV_INTERIM, UNKNOWN_BYTES, 103);
        now += MSEC(2);
        happens(EV_RESPONSE, 3000, 200); /* no EV_FIRST_BYTE: its head is the first that is known of it */
        now += MSEC(2);
        happens(cases[i].what, cases[i].body, 0);
        now += MSEC(90);
        happens(EV_ENDED, 0, REASON_SERVER_CLOSED);
        life = (struct lifecycle *)(uintptr_t)ledger_find(l, SIDE_UPSTREAM, 1);
        w = workload_of_life(now);
        CHECK_EQ(w->n_exchanges, 1);
        CHECK_EQ(w->exchanges[0].end, cases[i].end);
        CHECK_EQ(w->exchanges[0].flags, cases[i].flags);
        CHECK_EQ(w->exchanges[0].first_ns, MSEC(4));
        CHECK_EQ(w->exchanges[0].done_ns, MSEC(6));
        CHECK_EQ(w->exchanges[0].n_interim, 2);
        CHECK_EQ(w->exchanges[0].announced, 3000);
        if (cases[i].body != UNKNOWN_BYTES) {
            CHECK_EQ(w->exchanges[0].body, cases[i].body);
            CHECK_EQ(w->exchanges[0].taken, cases[i].body);
        }
        workload_free(&w);
        ledger_free(&l);
    }
}

TEST(the_last_answer_has_what_ended_the_connection) {
    static const struct {
        enum close_reason why;
        unsigned flags;
    } cases[] = {
        {REASON_RESPONSE_CLOSE, WX_RESPONSE_CLOSE}, {REASON_REQUEST_CLOSE, WX_REQUEST_CLOSE}, {REASON_IDLE_TIMEOUT, 0}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct workload *w;
        begin(10);
        life->flow.remote = (struct endpoint){.addr = {192, 0, 2, 9}, .port = 8080, .family = ADDR_V4};
        life->flow.local = (struct endpoint){.addr = {192, 0, 2, 1}, .port = 40000, .family = ADDR_V4};
        ask(200);
        ask(200);
        happens(EV_ENDED, 0, (uint16_t)cases[i].why);
        life = (struct lifecycle *)(uintptr_t)ledger_find(l, SIDE_UPSTREAM, 1);
        w = workload_of_life(now);
        CHECK_STR(workload_text_of(w, w->conns[0].server), "192.0.2.9:8080");
        CHECK_STR(workload_text_of(w, w->conns[0].client), "192.0.2.1");
        CHECK_EQ(w->conns[0].closed_ns, now - SEC(10));
        CHECK_EQ(w->conns[0].close_reason, cases[i].why);
        CHECK_EQ(w->exchanges[0].flags, 0);
        CHECK_EQ(w->exchanges[1].flags, cases[i].flags);
        workload_free(&w);
        ledger_free(&l);
    }
}

TEST(without_events_the_last_is_as_the_connection_is) {
    static const struct {
        enum close_reason why;
        enum workload_end end;
    } cases[] = {{REASON_NONE, END_OPEN}, {REASON_CANCELED, END_CANCELED}, {REASON_EARLY_CLOSE, END_GIVEN_UP}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct conn_event ended = {.code = (uint16_t)cases[i].why, .kind = EV_ENDED, .framing = PHASE_IN_BODY};
        struct workload *w;
        begin(10);
        ask(200);
        happens(EV_GOT_CONN, 0, 0);
        happens(EV_REQUEST, UNKNOWN_BYTES, 0);
        now += MSEC(9);
        ended.at_ns = now;
        if (cases[i].why != REASON_NONE) ledger_apply(l, life, &ended);
        life = (struct lifecycle *)(uintptr_t)ledger_find(l, SIDE_UPSTREAM, 1);
        life->n_marks = 0;
        w = workload_of_life(now);
        CHECK_EQ(w->n_exchanges, 2);
        CHECK_EQ(w->exchanges[0].end, END_COMPLETE);
        CHECK_EQ(w->exchanges[1].end, cases[i].end);
        workload_free(&w);
        ledger_free(&l);
    }
}

int main(void) {
    return tap_run();
}

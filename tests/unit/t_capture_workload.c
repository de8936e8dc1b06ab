/* What the wire says, as a workload: when requests wanted a connection, and how they ended. */
#include "capture/workload.h"
#include "tap.h"

static const struct workload_limits plenty = WORKLOAD_LIMITS_DEFAULT;
#define BEGAN SEC(1700000000)

static struct workload_builder *b;
static const struct endpoint client = {.addr = {10, 0, 0, 1}, .port = 40000, .family = ADDR_V4},
                             server = {.addr = {10, 0, 0, 9}, .port = 80, .family = ADDR_V4};

static struct wire_event event(uint64_t conn, enum wire_event_kind kind, double ms) {
    return (struct wire_event){.at_ns = BEGAN + (int64_t)(ms * 1e6),
                               .conn = conn,
                               .kind = (uint8_t)kind,
                               .client = client,
                               .server = server,
                               .method = "GET",
                               .bytes = kind == WIRE_RESPONSE ? 1000 : 1100};
}

static void opened(uint64_t conn, double ms) {
    struct wire_event e = event(conn, WIRE_OPENED, ms);
    workload_builder_event(b, &e);
}

static void asked(uint64_t conn, uint64_t exchange, double ms) {
    struct wire_event e = event(conn, WIRE_REQUEST, ms);
    e.exchange = exchange;
    e.authority = "api.example";
    e.path = "/x";
    workload_builder_event(b, &e);
}

static void answered(uint64_t conn, uint64_t exchange, double ms, double done_ms) {
    struct wire_event e = event(conn, WIRE_RESPONSE, ms);
    e.exchange = exchange;
    e.status = 200;
    e.framing = FRAMING_LENGTH;
    e.head_bytes = 100;
    e.first_ns = e.at_ns;
    workload_builder_event(b, &e);
    if (done_ms < 0) return;
    e = event(conn, WIRE_DONE, done_ms);
    e.exchange = exchange;
    e.body_bytes = 1000;
    workload_builder_event(b, &e);
}

static void ended(uint64_t conn, double ms, bool by_client, enum close_how how) {
    struct wire_event e = event(conn, WIRE_ENDING, ms);
    e.by_client = by_client;
    e.how = (uint8_t)how;
    workload_builder_event(b, &e);
}

static void record(uint64_t conn, double opened_ms, double closed_ms, struct wire_record r) {
    struct lifecycle *l = &r.life;

    l->id = conn;
    l->known |= KNOW_OPENED | KNOW_DIAL | KNOW_REQUESTS | KNOW_CLOSE | KNOW_CLOSED;
    l->opened_ns = BEGAN + (int64_t)(opened_ms * 1e6);
    l->dialed_ns = l->opened_ns + MSEC(2);
    if (closed_ms > 0) l->closed_ns = BEGAN + (int64_t)(closed_ms * 1e6);
    l->state = closed_ms > 0 ? LIFE_CLOSED : LIFE_IDLE;
    l->flow = (struct flow_key){client, server};
    r.evidence.protocol = PROTO_HTTP1;
    workload_builder_record(b, &r);
}

static struct workload *over(void) {
    const char *why;
    struct workload *w = workload_builder_end(b, BEGAN, BEGAN + SEC(1), &why);

    CHECK(w != NULL);
    workload_builder_free(&b);
    return w;
}

TEST(a_dial_shows_when_the_request_it_was_for_wanted_it) {
    struct workload *w;

    b = workload_builder_new(&plenty);
    opened(1, 0);
    asked(1, 0, 2.1);
    answered(1, 0, 10, 11);
    asked(1, 1, 500); /* much later, on a connection that was there: nothing shows how long it had waited */
    answered(1, 1, 510, 511);
    record(1, 0, 0, (struct wire_record){0});
    w = over();
    CHECK_EQ(w->n_exchanges, 2);
    CHECK_EQ(w->exchanges[0].at_ns, 0);
    CHECK_EQ(w->exchanges[0].waited_ns, USEC(2100));
    CHECK_EQ(w->exchanges[0].first_ns, MSEC(10));
    CHECK_EQ(w->exchanges[0].done_ns, MSEC(11));
    CHECK_EQ(w->exchanges[1].at_ns, MSEC(500));
    CHECK_EQ(w->exchanges[1].waited_ns, 0);
    CHECK_STR(workload_text_of(w, w->origins[0].host), "api.example:80");
    CHECK_STR(workload_text_of(w, w->conns[0].client), "10.0.0.1");
    CHECK_STR(workload_text_of(w, w->conns[0].server), "10.0.0.9:80");
    workload_free(&w);
}

TEST(a_dial_that_served_nobody_was_for_one_that_another_connection_served) {
    struct workload *w;

    b = workload_builder_new(&plenty);
    opened(1, 0);
    asked(1, 0, 2);
    opened(2, 10); /* for the second request, which the first connection then serves */
    answered(1, 0, 10, 11);
    asked(1, 1, 11.5);
    answered(1, 1, 20, 21);
    asked(1, 2, 30); /* when no dial runs any more */
    answered(1, 2, 40, 41);
    record(1, 0, 0, (struct wire_record){0});
    record(2, 10, 0, (struct wire_record){0});
    w = over();
    CHECK_EQ(w->n_exchanges, 3);
    CHECK_EQ(w->exchanges[1].at_ns, MSEC(10));
    CHECK_EQ(w->exchanges[1].waited_ns, USEC(1500));
    CHECK_EQ(w->exchanges[1].done_ns, MSEC(11));
    CHECK_EQ(w->exchanges[2].at_ns, MSEC(30));
    workload_free(&w);
}

TEST(what_was_under_way_ended_as_the_connection_did) {
    static const struct {
        bool by_client, with_head;
        enum close_by by;
        enum workload_end end;
    } cases[] = {{true, true, BY_LOCAL, END_GIVEN_UP},
                 {true, false, BY_LOCAL, END_CANCELED},
                 {false, true, BY_REMOTE, END_FAILED},
                 {false, false, BY_REMOTE, END_FAILED}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct wire_record r = {.life = {.close_by = (uint8_t)cases[i].by, .close_how = HOW_RST},
                                .evidence = {.early = cases[i].with_head ? EARLY_IN_BODY : EARLY_NO_RESPONSE,
                                             .remote = {.bytes = 600},
                                             .acked_bytes = 400}};
        struct workload *w;
        b = workload_builder_new(&plenty);
        opened(1, 0);
        asked(1, 0, 2);
        if (cases[i].with_head) answered(1, 0, 10, -1);
        ended(1, 50, cases[i].by_client, HOW_RST);
        if (cases[i].by_client) answered(1, 0, 60, 61); /* too late for it */
        record(1, 0, 50, r);
        w = over();
        CHECK_EQ(w->exchanges[0].end, cases[i].end);
        CHECK_EQ(w->exchanges[0].done_ns, MSEC(50));
        CHECK_EQ(w->exchanges[0].body, cases[i].with_head ? 500 : 0);
        if (cases[i].with_head) CHECK_EQ(w->exchanges[0].taken, 300);
        workload_free(&w);
    }
}

TEST(limits_end_it_with_a_word) {
    const struct workload_limits few = {.exchanges = 1, .conns = 5, .origins = 5, .text_bytes = 4096};
    const char *why;

    b = workload_builder_new(&few);
    opened(1, 0);
    asked(1, 0, 2);
    asked(1, 1, 3);
    record(1, 0, 0, (struct wire_record){0});
    CHECK(workload_builder_end(b, BEGAN, BEGAN, &why) == NULL);
    CHECK_STR(why, "exchanges");
    workload_builder_free(&b);
}

int main(void) {
    return tap_run();
}

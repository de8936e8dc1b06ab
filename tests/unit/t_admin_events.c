/* GET /events: what happens is told in order, once, and to nobody more than he can take. */
#include "admin_fixture.h"

#include <malloc.h>

/* A listener: what came so far stays in c.data, chunk lines among it. */
static struct client listen_for(struct fixture *f, const char *query) {
    char request[128];
    struct client c = dial(f, 0);
    snprintf(request, sizeof request, "GET /events%s HTTP/1.1\r\nHost: localhost\r\n\r\n", query);
    say(&c, request);
    return c;
}

/* Turns the loop until `what` came, or 10 s have passed. */
static bool hears(struct fixture *f, struct client *c, const char *what) {
    double until = seconds() + 60;
    while (!strstr(c->data, what) && !c->eof && !c->reset && seconds() < until) {
        turn(f);
        struct pollfd p = {.fd = c->fd, .events = POLLIN};
        poll(&p, 1, 1);
        hear(c, SIZE_MAX);
    }
    return strstr(c->data, what) != NULL;
}

/* The daemon's server would do this soon after something moved. */
static void wake(struct fixture *f) {
    CHECK(f->wake != NULL);
    if (f->wake) event_active(f->wake, EV_TIMEOUT, 0);
}

static unsigned count(const char *text, const char *what) {
    unsigned n = 0;
    for (const char *p = text; (p = strstr(p, what)); p++) n++;
    return n;
}

static bool in_order(const char *text, const char *a, const char *b) {
    const char *x = strstr(text, a), *y = strstr(text, b);
    return x && y && x < y;
}

static void forget(struct client *c) {
    c->len = 0;
    c->data[0] = '\0';
}

TEST(nobody_is_watched_while_nobody_listens) {
    struct fixture *f = fx_new(100, NULL);
    CHECK(f->wake == NULL);
    struct client c = listen_for(f, "");
    CHECK(hears(f, &c, ": connleakd"));
    CHECK(strstr(c.data, "Content-Type: text/event-stream\r\n"));
    CHECK(strstr(c.data, "Cache-Control: no-store\r\n"));
    CHECK(f->wake != NULL);
    hang_up(&c);
    double until = seconds() + 60;
    while (f->wake && seconds() < until) turn(f);
    CHECK(f->wake == NULL); /* its end is seen at once, not at the next heartbeat */
    fx_free(f);
}

TEST(connections_are_told_as_they_open_and_close) {
    struct fixture *f = fx_new(100, NULL);
    struct lifecycle *before = open_life(f, SIDE_DOWNSTREAM, 1);
    close_life(f, open_life(f, SIDE_DOWNSTREAM, 2), REASON_CLIENT_CLOSED, 0);
    struct client c = listen_for(f, "");
    CHECK(hears(f, &c, ": connleakd"));
    struct lifecycle *d = open_life(f, SIDE_DOWNSTREAM, 3), *u = open_life(f, SIDE_UPSTREAM, 1);
    wake(f);
    CHECK(hears(f, &c, "\"u-1\""));
    CHECK(strstr(c.data, "event: connection_opened\ndata: {\"at\":\"2026-01-02T03:04:05."));
    CHECK(strstr(c.data, "\"id\":\"u-1\",\"side\":\"upstream\",\"remote\":null,\"host\":\"api.example:8080\"}\n\n"));
    CHECK(in_order(c.data, "\"d-3\"", "\"u-1\""));
    CHECK(!strstr(c.data, "\"d-1\"") && !strstr(c.data, "\"d-2\"")); /* as it was before: GET /connections has that */
    forget(&c);
    happen(f, u, EV_REQUEST, 0, 0);
    close_life(f, u, REASON_IDLE_TIMEOUT, 0);
    close_life(f, d, REASON_CLIENT_CLOSED, 0);
    close_life(f, before, REASON_CLIENT_TIMEOUT, 0);
    wake(f);
    CHECK(hears(f, &c, "\"d-1\""));
    CHECK(strstr(c.data, "event: connection_closed\ndata: {"));
    CHECK(strstr(c.data, "\"reason\":\"idle_timeout\",\"requests\":1,\"duration_ms\":1}"));
    CHECK(in_order(c.data, "\"u-1\"", "\"d-3\"") && in_order(c.data, "\"d-3\"", "\"d-1\""));
    CHECK_EQ(count(c.data, "connection_closed"), 3);
    CHECK_EQ(count(c.data, "connection_opened"), 0);
    hang_up(&c);
    fx_free(f);
}

TEST(a_connection_that_came_and_went_between_two_looks_is_told_whole) {
    struct fixture *f = fx_new(100, NULL);
    struct client c = listen_for(f, "");
    CHECK(hears(f, &c, ": connleakd"));
    struct lifecycle *first = open_life(f, SIDE_DOWNSTREAM, 1), *second = open_life(f, SIDE_DOWNSTREAM, 2);
    close_life(f, second, REASON_CLIENT_CLOSED, 0);
    wake(f);
    CHECK(hears(f, &c, "connection_closed"));
    CHECK_EQ(count(c.data, "connection_opened"), 2);
    CHECK(in_order(c.data, "\"d-1\"", "\"d-2\""));
    CHECK(in_order(c.data, "connection_opened", "connection_closed"));
    forget(&c);
    close_life(f, first, REASON_CLIENT_CLOSED, 0);
    wake(f);
    CHECK(hears(f, &c, "\"d-1\""));
    CHECK_EQ(count(c.data, "connection_opened"), 0);
    hang_up(&c);
    fx_free(f);
}

TEST(more_than_one_look_takes_is_told_all_the_same) {
    enum { N = 1500 };
    struct fixture *f = fx_new(5000, NULL);
    struct client c = listen_for(f, "");
    CHECK(hears(f, &c, ": connleakd"));
    for (conn_id id = 1; id <= N; id++) {
        struct lifecycle *life = open_life(f, SIDE_DOWNSTREAM, id);
        if (id % 2) close_life(f, life, REASON_CLIENT_CLOSED, 0);
    }
    wake(f);
    CHECK(hears(f, &c, "\"d-1500\""));
    double until = seconds() + 60;
    while (count(c.data, "connection_opened") < N && seconds() < until) turn(f), hear(&c, SIZE_MAX);
    CHECK_EQ(count(c.data, "connection_opened"), N);
    CHECK_EQ(count(c.data, "connection_closed"), N / 2);
    CHECK_EQ(count(c.data, "event: lost"), 0);
    hang_up(&c);
    fx_free(f);
}

static struct finding_subject client = {.side = SIDE_DOWNSTREAM, .client = "127.0.0.1", .tag = "a\nb"};

static void raise_finding(struct fixture *f, uint64_t id, bool raised) {
    admin_finding(f->admin, &(struct finding_change){.id = id, .raised = raised});
}

TEST(findings_are_told_with_all_that_is_known) {
    struct fixture *f = fx_new(100, NULL);
    f->findings.list[0] = (struct finding){.id = 7, .subject = &client, .kind = FINDING_EARLY_BODY_CLOSE, .count = 3};
    f->findings.n = 1;
    raise_finding(f, 7, true); /* nobody listens */
    struct client c = listen_for(f, "");
    CHECK(hears(f, &c, ": connleakd"));
    raise_finding(f, 7, true);
    CHECK(hears(f, &c, "\n\n\r\n"));
    CHECK(hears(f, &c, "event: finding_raised\ndata: {\"schema\":\"connleak.finding/1\",\"id\":\"f-7\","));
    CHECK(hears(f, &c, "\"advice\""));
    CHECK(strstr(c.data, "\"tag\":\"a\\nb\"")); /* a line end of a peer's does not end the event */
    CHECK_EQ(count(c.data, "finding_raised"), 1);
    f->findings.list[0].resolved_ns = SEC(101);
    raise_finding(f, 7, false);
    CHECK(hears(f, &c, "event: finding_cleared"));
    raise_finding(f, 8, true); /* forgotten already */
    CHECK(hears(f, &c, "event: finding_raised\ndata: {\"id\":\"f-8\"}\n\n"));
    hang_up(&c);
    fx_free(f);
}

TEST(a_listener_hears_only_what_it_asked_for) {
    struct fixture *f = fx_new(100, NULL);
    struct client findings = listen_for(f, "?only=findings"), conns = listen_for(f, "?only=connections");
    CHECK(hears(f, &findings, ": connleakd") && hears(f, &conns, ": connleakd"));
    open_life(f, SIDE_DOWNSTREAM, 1);
    wake(f);
    CHECK(hears(f, &conns, "\"d-1\""));
    raise_finding(f, 7, true);
    CHECK(hears(f, &findings, "finding_raised"));
    turns(f, 20);
    hear(&findings, SIZE_MAX), hear(&conns, SIZE_MAX);
    CHECK(!strstr(findings.data, "connection_opened"));
    CHECK(!strstr(conns.data, "finding_raised"));
    hang_up(&findings), hang_up(&conns);
    fx_free(f);
}

/* The sum of the numbers behind `name` in all events `lost`. */
static uint64_t lost(const char *data, const char *name) {
    uint64_t sum = 0;
    for (const char *p = data; (p = strstr(p, "event: lost\n")); p++) {
        const char *at = strstr(p, name);
        if (at) sum += strtoull(at + strlen(name) + 2, NULL, 10);
    }
    return sum;
}

/* Many more events than the ring and all socket buffers hold, for one that does not read; another hears them all. */
TEST(a_listener_that_does_not_read_loses_events_and_is_told_how_many) {
    enum { N = 60000 };
    struct fixture *f = fx_new(200000, NULL);
    struct client c = dial(f, 4096), quick = listen_for(f, "");
    say(&c, "GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n");
    CHECK(hears(f, &quick, ": connleakd") && hears(f, &c, ": connleakd"));
    unsigned heard = 0;
    for (conn_id id = 1; id <= N; id++) {
        open_life(f, SIDE_DOWNSTREAM, id);
        if (id % 400) continue;
        char last[32];
        snprintf(last, sizeof last, "\"d-%u\"", (unsigned)id);
        wake(f);
        CHECK(hears(f, &quick, last));
        heard += count(quick.data, "connection_opened");
        forget(&quick);
        turns(f, 2);
    }
    CHECK_EQ(heard, N);
    raise_finding(f, 1, true); /* a flood of connections pushes no finding out */
    CHECK(hears(f, &c, "\"d-60000\""));
    CHECK(hears(f, &c, "finding_raised"));
    CHECK(lost(c.data, "connections") > 0);
    CHECK_EQ(lost(c.data, "connections") + count(c.data, "event: connection_opened"), N);
    CHECK_EQ(lost(c.data, "findings"), 0);
    hang_up(&c), hang_up(&quick);
    fx_free(f);
}

TEST(what_left_memory_before_it_was_looked_at_is_lost_and_said) {
    struct fixture *f = fx_new(3, NULL); /* ledger.keep */
    struct client c = listen_for(f, "");
    CHECK(hears(f, &c, ": connleakd"));
    for (conn_id id = 1; id <= 10; id++) close_life(f, open_life(f, SIDE_DOWNSTREAM, id), REASON_CLIENT_CLOSED, 0);
    wake(f);
    CHECK(hears(f, &c, "\"d-10\""));
    CHECK(hears(f, &c, "event: lost"));
    CHECK_EQ(lost(c.data, "connections"), 7);
    CHECK(strstr(c.data, "event: lost\ndata: {\"connections\":7,\"findings\":0}\n\n"));
    CHECK_EQ(count(c.data, "connection_closed"), 3);
    hang_up(&c);
    fx_free(f);
}

TEST(there_may_be_so_many_listeners_and_no_more) {
    struct fixture *f = fx_new(100, &(struct admin_limits){.max_listeners = 2});
    struct client a = listen_for(f, ""), b = listen_for(f, "");
    CHECK(hears(f, &a, ": connleakd") && hears(f, &b, ": connleakd"));
    CHECK_EQ(status_of(f, "GET", "/events", ""), 503);
    CHECK_EQ(status_of(f, "GET", "/healthz", ""), 200);
    hang_up(&a);
    double until = seconds() + 60;
    int status = 503;
    while (status == 503 && seconds() < until) {
        struct client c = listen_for(f, "");
        if (hears(f, &c, "HTTP/1.1 ")) status = atoi(c.data + 9);
        hang_up(&c);
    }
    CHECK_EQ(status, 200);
    hang_up(&b);
    fx_free(f);
}

TEST(heads_alone_and_values_that_are_none) {
    struct fixture *f = fx_new(100, NULL);
    CHECK_EQ(status_of(f, "HEAD", "/events", ""), 200);
    CHECK(f->wake == NULL);
    CHECK_EQ(status_of(f, "POST", "/events", ""), 405);
    json_t *j = get_json(f, "/events?only=errors", 400);
    CHECK_TEXT(j, "parameter", "only");
    json_decref(j);
    fx_free(f);
}

/* What comes after the request is no request, since the answer never ends; and is not kept either. */
TEST(bytes_of_a_listener_are_dropped) {
    enum { MANY = 8 << 20 };
    struct fixture *f = fx_new(100, NULL);
    struct client c = listen_for(f, "");
    CHECK(hears(f, &c, ": connleakd"));
    static const char junk[16384] = "x";
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd, sent = 0;
    for (double until = seconds() + 60; sent < MANY && seconds() < until; turn(f)) {
        ssize_t n = send(c.fd, junk, sizeof junk, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n > 0) sent += (size_t)n;
    }
    CHECK(sent >= MANY);
    turns(f, 10);
    CHECK(mallinfo2().uordblks + mallinfo2().hblkhd < before + MANY / 4);
    open_life(f, SIDE_DOWNSTREAM, 1);
    wake(f);
    CHECK(hears(f, &c, "\"d-1\""));
    CHECK(!strstr(c.data, "400 Bad Request"));
    hang_up(&c);
    fx_free(f);
}

TEST(a_listener_that_heard_nothing_for_long_gets_a_comment) {
    struct fixture *f = fx_new(100, NULL);
    struct client c = listen_for(f, "?only=findings");
    CHECK(hears(f, &c, ": connleakd"));
    forget(&c);
    for (conn_id id = 1; id <= 2; id++) {
        open_life(f, SIDE_DOWNSTREAM, id); /* nothing that it asked for */
        wake(f);
        turns(f, 10);
        hear(&c, SIZE_MAX);
        CHECK_EQ(c.len > 0, id == 2);
        f->now += SEC(15);
    }
    CHECK_STR(c.data, "3\r\n:\n\n\r\n");
    hang_up(&c);
    fx_free(f);
}

TEST(the_endpoint_may_go_while_somebody_listens) {
    struct fixture *f = fx_new(100, NULL);
    struct client c = listen_for(f, "");
    CHECK(hears(f, &c, ": connleakd"));
    open_life(f, SIDE_DOWNSTREAM, 1);
    wake(f);
    fx_free(f);
    hang_up(&c);
}

int main(void) {
    return tap_run();
}

/* The admin endpoint as a server: requests in any pieces, HTTP/1 as it should be,
 * and peers that want too much. */
#include "admin_fixture.h"

#include <malloc.h>
#include <sys/resource.h>

#define HEALTH "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"

static int status_on(struct fixture *f, struct client *c, const char *request) {
    if (*request) say(c, request);
    struct answer a = listen_to(f, c, strncmp(request, "HEAD ", 5) == 0);
    int status = a.complete ? a.status : -1;
    answer_free(&a);
    return status;
}

static unsigned events(struct fixture *f) {
    turns(f, 3);
    return (unsigned)event_base_get_num_events(f->base, EVENT_BASE_COUNT_ADDED);
}

TEST(one_connection_serves_many_requests) {
    struct fixture *f = fx_new(10, NULL);
    struct client c = dial(f, 0);
    for (int i = 0; i < 5; i++) {
        CHECK_EQ(status_on(f, &c, HEALTH), 200);
        CHECK_EQ(status_on(f, &c, "GET /nope HTTP/1.1\r\nHost: localhost\r\n\r\n"), 404);
        CHECK_EQ(status_on(f, &c, "GET /ledger HTTP/1.1\r\nHost: localhost\r\n\r\n"), 200);
        CHECK_EQ(status_on(f, &c, "POST /close_idle HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"),
                 200);
    }
    CHECK(!c.eof && !c.reset);
    CHECK_EQ(f->closed_idle, 5);
    hang_up(&c);
    fx_free(f);
}

TEST(head_is_get_without_a_body) {
    static const char *const paths[] = {"/metrics", "/pools",   "/ledger", "/connections",
                                        "/config",  "/healthz", "/nope"};
    struct fixture *f = fx_new(10, NULL);
    close_life(f, open_life(f, SIDE_UPSTREAM, 1), REASON_CANCELED, 0);
    struct client c = dial(f, 0);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        char request[256];
        snprintf(request, sizeof request, "HEAD %s HTTP/1.1\r\nHost: localhost\r\n\r\n", paths[i]);
        say(&c, request);
        struct answer head = listen_to(f, &c, true);
        struct answer get = ask(f, "GET", paths[i], "");
        CHECK_EQ(head.status, get.status);
        if (strcmp(paths[i], "/metrics") != 0) CHECK_STR(head.head, get.head);
        CHECK(get.body_len > 0);
        answer_free(&head);
        answer_free(&get);
        CHECK_EQ(c.len, 0);
        CHECK_EQ(status_on(f, &c, HEALTH), 200); /* nothing of a body is in the way */
    }
    hang_up(&c);
    fx_free(f);
}

TEST(requests_in_any_pieces) {
    static const char *const request =
        "POST /close_idle HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        "5\r\nhello\r\n0\r\nX: y\r\n\r\n";
    struct fixture *f = fx_new(10, NULL);
    struct client c = dial(f, 0);
    size_t len = strlen(request);
    for (size_t step = 1; step < len; step += step < 8 ? 1 : 13) {
        for (size_t i = 0; i < len; i += step) {
            CHECK(send(c.fd, request + i, len - i < step ? len - i : step, 0) > 0);
            turns(f, 3);
        }
        CHECK_EQ(status_on(f, &c, ""), 200);
    }
    hang_up(&c);
    fx_free(f);
}

TEST(pipelined_requests_are_answered_in_order) {
    struct fixture *f = fx_new(10, NULL);
    struct client c = dial(f, 0);
    say(&c, HEALTH "GET /nope HTTP/1.1\r\nHost: localhost\r\n\r\n"
                   "POST /close_idle HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc"
                   "GET /ledger HTTP/1.1\r\nHost: localhost\r\n\r\n"
                   "\r\nGET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" HEALTH);
    CHECK_EQ(status_on(f, &c, ""), 200);
    CHECK_EQ(status_on(f, &c, ""), 404);
    CHECK_EQ(status_on(f, &c, ""), 200);
    CHECK_EQ(status_on(f, &c, ""), 200);
    CHECK_EQ(status_on(f, &c, ""), 200);
    turns(f, 3);
    hear(&c, SIZE_MAX);
    CHECK(c.eof); /* the last asked for it: at once; and what came behind is not answered */
    CHECK_EQ(c.len, 0);
    hang_up(&c);
    CHECK_EQ(events(f), 1);
    fx_free(f);
}

TEST(a_client_that_says_no_more_gets_its_answer) {
    struct fixture *f = fx_new(10, NULL);
    struct client c = dial(f, 0);
    say(&c, HEALTH);
    shutdown(c.fd, SHUT_WR);
    CHECK_EQ(status_on(f, &c, ""), 200);
    CHECK(ends(f, &c));
    hang_up(&c);
    fx_free(f);
}

TEST(expect_continue) {
    struct fixture *f = fx_new(10, NULL);
    struct client c = dial(f, 0);
    say(&c, "POST /close_idle HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    while (!strstr(c.data, "\r\n\r\n")) {
        turn(f);
        hear(&c, SIZE_MAX);
    }
    CHECK_STR(c.data, "HTTP/1.1 100 Continue\r\n\r\n");
    c.len = 0;
    *c.data = '\0';
    CHECK_EQ(status_on(f, &c, "abc"), 200);
    hang_up(&c);
    fx_free(f);
}

/* A problem, and the end of the connection without a reset. */
static void refused(struct fixture *f, const char *request, int status) {
    struct client c = dial(f, 0);
    say(&c, request);
    struct answer a = listen_to(f, &c, false);
    CHECK_EQ(a.status, status);
    if (a.status != status) printf("# %.60s\n", request);
    CHECK(a.complete && strstr(a.head, "\r\nContent-Type: application/problem+json\r\n"));
    CHECK(strstr(a.head, "\r\nConnection: close\r\n"));
    json_t *j = json_loads(a.body, 0, NULL);
    CHECK_INT(j, "status", status);
    CHECK(strlen(json_string_value(at(j, "detail"))) > 10);
    json_decref(j);
    answer_free(&a);
    CHECK(ends(f, &c));
    hang_up(&c);
}

TEST(what_is_no_http_is_refused) {
    struct fixture *f = fx_new(10, NULL);
    refused(f, "hello\r\n\r\n", 400);
    refused(f, "GET /metrics\r\n\r\n", 400);
    refused(f, "\x16\x03\x01\x02\r\n\r\n", 400); /* TLS */
    refused(f, "GET /metrics HTTP/2.0\r\nHost: localhost\r\n\r\n", 505);
    refused(f, "GET /metrics HTTP/1.1\r\n\r\n", 400);
    refused(f, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400);
    refused(f, "GET /metrics HTTP/1.1\r\nHost : localhost\r\n\r\n", 400);
    refused(f, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n", 400);
    refused(f, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n", 400);
    refused(f,
            "POST /close_idle HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            400);
    refused(f, "POST /close_idle HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400);
    CHECK_EQ(f->closed_idle, 0);
    CHECK_EQ(events(f), 1);
    fx_free(f);
}

TEST(what_is_too_large_is_refused) {
    struct fixture *f = fx_new(10, NULL);
    char *big = malloc(70000);
    snprintf(big, 70000, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: ");
    memset(big + strlen(big), 'x', 60000 - strlen(big));
    big[60000] = '\0';
    refused(f, big, 431);
    snprintf(big, 70000, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n");
    for (int i = 0; i < 300; i++) strcat(big, "X: y\r\n");
    refused(f, big, 431);
    snprintf(big, 70000, "GET /");
    memset(big + 5, 'x', 5000);
    strcpy(big + 5005, " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    refused(f, big, 414);
    refused(f, "POST /close_idle HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n", 413);
    refused(f, "POST /close_idle HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\nExpect: 100-continue\r\n\r\n",
            413);
    refused(f, "POST /close_idle HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999999999999\r\n\r\n", 413);
    snprintf(big, 70000, "POST /close_idle HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n");
    memset(big + strlen(big), 'x', 30000);
    refused(f, big, 413);
    CHECK_EQ(f->closed_idle, 0);
    free(big);
    fx_free(f);
}

TEST(who_sends_without_end_is_not_kept_in_memory) {
    struct fixture *f = fx_new(20000, NULL);
    for (unsigned i = 1; i <= 10000; i++) close_life(f, open_life(f, SIDE_UPSTREAM, i), REASON_CANCELED, 0);
    struct client c = dial(f, 4096);
    char block[4096];
    size_t sent = 0;
    memset(block, 'a', sizeof block);
    say(&c, "GET /ledger HTTP/1.1\r\nHost: localhost\r\n\r\n");
    turns(f, 5);
    for (int i = 0; i < 5000; i++) { /* up to 20 MB behind a request that is being answered */
        ssize_t n = send(c.fd, block, sizeof block, MSG_NOSIGNAL);
        if (n > 0) sent += (size_t)n;
        turn(f);
    }
    CHECK(sent < 8 << 20); /* the socket's buffers fill: nobody reads them empty */
    hang_up(&c);
    CHECK_EQ(events(f), 1);
    fx_free(f);
}

static const struct admin_limits quick = {
    .head_timeout = MSEC(50), .idle_timeout = MSEC(80), .stall_timeout = MSEC(100)};

TEST(a_head_that_trickles_is_cut_at_its_deadline) {
    struct fixture *f = fx_new(10, &quick);
    struct client c = dial(f, 0);
    double begin = seconds(), end;
    say(&c, "GET /");
    while (c.len == 0 && seconds() < begin + 60) { /* a byte a millisecond: each would renew a timeout between reads */
        if (send(c.fd, "x", 1, MSG_NOSIGNAL) < 0) break;
        turn(f);
        hear(&c, SIZE_MAX);
        poll(NULL, 0, 1);
    }
    end = seconds();
    struct answer a = take(&c, false);
    CHECK_EQ(a.status, 408);
    CHECK(end - begin < 30); /* renewed with each byte, it would last the minute */
    answer_free(&a);
    hang_up(&c);

    c = dial(f, 0);
    say(&c, "POST /close_idle HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nabc"); /* a body too */
    CHECK_EQ(status_on(f, &c, ""), 408);
    CHECK(ends(f, &c));
    hang_up(&c);
    CHECK_EQ(f->closed_idle, 0);
    fx_free(f);
}

TEST(idle_connections_end) {
    struct fixture *f = fx_new(10, &quick);
    struct client silent = dial(f, 0), served = dial(f, 0);
    CHECK_EQ(status_on(f, &served, HEALTH), 200);
    CHECK(ends(f, &silent));
    CHECK(ends(f, &served));
    CHECK_EQ(silent.len, 0);
    hang_up(&silent);
    hang_up(&served);
    CHECK_EQ(events(f), 1);
    fx_free(f);
}

TEST(a_reader_that_stalls_is_let_go) {
    struct fixture *f = fx_new(20000, &quick);
    for (unsigned i = 1; i <= 10000; i++) close_life(f, open_life(f, SIDE_UPSTREAM, i), REASON_CANCELED, 0);
    struct client c = dial(f, 4096);
    say(&c, "GET /ledger HTTP/1.1\r\nHost: localhost\r\n\r\n");
    double begin = seconds(), until = begin + 60;
    turns(f, 50);
    say(&c, "something that is not read, since the answer is not");
    if (events(f) == 1) CHECK(seconds() - begin >= 0.09); /* not before its time, which a busy machine may have taken */
    while (events(f) > 1 && seconds() < until) poll(NULL, 0, 5);
    CHECK_EQ(events(f), 1);
    CHECK(ends(f, &c)); /* not by a reset: that would be one of those that the daemon counts */
    CHECK(!strstr(c.data, "\r\n0\r\n\r\n"));
    hang_up(&c);
    fx_free(f);
}

TEST(an_answer_may_take_longer_than_a_request) {
    struct fixture *f = fx_new(20000, &(struct admin_limits){.head_timeout = MSEC(20), .idle_timeout = MSEC(20)});
    for (unsigned i = 1; i <= 10000; i++) close_life(f, open_life(f, SIDE_UPSTREAM, i), REASON_CANCELED, 0);
    struct client c = dial(f, 4096);
    say(&c, "GET /ledger HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for (int i = 0; i < 60; i++) { /* 60 ms */
        turn(f);
        poll(NULL, 0, 1);
        hear(&c, 100);
    }
    double until = seconds() + 60;
    while (!c.eof && !c.reset && memcmp(c.data + c.len - 5, "0\r\n\r\n", 5) != 0 && seconds() < until) {
        turn(f);
        hear(&c, SIZE_MAX);
    }
    struct answer a = take(&c, false);
    CHECK(a.complete);
    answer_free(&a);
    hang_up(&c);
    fx_free(f);
}

TEST(silent_connections_give_way_to_new_ones) {
    struct fixture *f = fx_new(10, &(struct admin_limits){.max_conns = 8});
    struct client c[40];
    for (int i = 0; i < 40; i++) {
        c[i] = dial(f, 0);
        if (i % 2) say(&c[i], "GET /heal"); /* half of them have begun */
        turns(f, 2);
    }
    struct client last = dial(f, 0);
    CHECK_EQ(status_on(f, &last, HEALTH), 200);
    int ended = 0;
    for (int i = 0; i < 40; i++) {
        hear(&c[i], 1);
        ended += c[i].eof;
        CHECK(!c[i].reset);
        hang_up(&c[i]);
    }
    CHECK(ended >= 32);
    hang_up(&last);
    CHECK_EQ(events(f), 1);
    fx_free(f);
}

TEST(when_all_are_being_answered_a_new_one_is_told_so) {
    struct fixture *f = fx_new(20000, &(struct admin_limits){.max_conns = 4});
    for (unsigned i = 1; i <= 10000; i++) close_life(f, open_life(f, SIDE_UPSTREAM, i), REASON_CANCELED, 0);
    struct client c[4];
    for (int i = 0; i < 4; i++) {
        c[i] = dial(f, 4096);
        say(&c[i], "GET /ledger HTTP/1.1\r\nHost: localhost\r\n\r\n");
        turns(f, 20);
    }
    refused(f, HEALTH, 503);
    struct client more[16];
    for (int i = 0; i < 16; i++) more[i] = dial(f, 0);
    turn(f);
    int told = 0;
    for (int i = 0; i < 16; i++) {
        CHECK(ends(f, &more[i]));
        told += strstr(more[i].data, "HTTP/1.1 503 ") != NULL;
        hang_up(&more[i]);
    }
    CHECK_EQ(told, 8); /* at once: the others cost even less */
    hang_up(&c[0]);
    turns(f, 20);
    struct client again = dial(f, 0);
    CHECK_EQ(status_on(f, &again, HEALTH), 200);
    hang_up(&again);
    for (int i = 1; i < 4; i++) hang_up(&c[i]);
    fx_free(f);
}

TEST(without_descriptors_one_can_still_look) {
    struct rlimit old, none;
    struct fixture *f = fx_new(10, NULL);
    struct client a = dial(f, 0), b = dial(f, 0); /* in the backlog; the descriptors run out before they are accepted */
    CHECK(getrlimit(RLIMIT_NOFILE, &old) == 0);
    none = (struct rlimit){0, old.rlim_max};
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    int probe = dup(0);
    CHECK(probe < 0 && errno == EMFILE);
    setrlimit(RLIMIT_NOFILE, &old);
    int fill[4096], n = 0;
    none.rlim_cur = 256;
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    while (n < 4096 && (fill[n] = dup(0)) >= 0) n++;
    CHECK_EQ(status_on(f, &a, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"), 200);
    CHECK(ends(f, &a));
    hang_up(&a);
    turns(f, 3);
    while (n < 4096 && (fill[n] = dup(0)) >= 0) n++; /* what both its ends were */
    CHECK_EQ(status_on(f, &b, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"), 200);
    while (n-- > 0) close(fill[n]);
    CHECK(setrlimit(RLIMIT_NOFILE, &old) == 0);
    hang_up(&b);
    fx_free(f);
}

TEST(no_answer_ends_in_a_reset_of_ours) {
    struct fixture *f = fx_new(10, NULL);
    struct client c = dial(f, 0);
    say(&c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    struct answer a = listen_to(f, &c, false);
    char block[65536] = "";
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < 100; i++) { /* more comes after the request that was said to be the last */
        send(c.fd, block, sizeof block, MSG_NOSIGNAL);
        turn(f);
    }
    CHECK(mallinfo2().uordblks < before + 500000); /* and goes nowhere */
    CHECK_EQ(a.status, 200);
    CHECK(ends(f, &c));
    CHECK(!c.reset);
    answer_free(&a);
    hang_up(&c);
    fx_free(f);
}

int main(void) {
    return tap_run();
}

/* The three lists while the records that they are made of open, close and leave:
 * in order, each once, whole, and in bounded memory whatever the reader does. */
#include "admin_fixture.h"

#include <malloc.h>

/* The n-th line's id, of JSON Lines; checks that it is a record. The caller's. */
static json_t *next_line(const char **s) {
    json_error_t err;
    const char *end = strchr(*s, '\n');
    if (!end) return NULL;
    json_t *j = json_loadb(*s, (size_t)(end - *s), 0, &err);
    CHECK(j != NULL);
    CHECK_TEXT(j, "schema", "connleak.conn/1");
    *s = end + 1;
    return j;
}

/* How often each id stands in a ledger's text, and in which state; sides by letter. */
struct tally {
    unsigned char up[20000], down[20000];
    unsigned lines, open, closed;
};

static struct tally *tally_of(const char *text) {
    struct tally *t = calloc(1, sizeof *t);
    for (json_t *j; (j = next_line(&text)); json_decref(j)) {
        const char *id = json_string_value(at(j, "id"));
        unsigned n = (unsigned)atoi(id + 2);
        if (n < 20000) (id[0] == 'u' ? t->up : t->down)[n]++;
        bool closed = strcmp(json_string_value(at(j, "state")), "closed") == 0;
        t->lines++;
        t->open += !closed;
        t->closed += closed;
    }
    return t;
}

TEST(ledger_has_the_closed_in_order_of_closing_then_the_open) {
    struct fixture *f = fx_new(100, NULL);
    struct lifecycle *u1 = open_life(f, SIDE_UPSTREAM, 1), *u2 = open_life(f, SIDE_UPSTREAM, 2);
    struct lifecycle *d1 = open_life(f, SIDE_DOWNSTREAM, 1);
    open_life(f, SIDE_DOWNSTREAM, 2);
    open_life(f, SIDE_UPSTREAM, 3);
    close_life(f, u2, REASON_IDLE_TIMEOUT, 0);
    close_life(f, d1, REASON_CLIENT_CLOSED, 0);
    close_life(f, u1, REASON_EARLY_CLOSE, 7);
    static const char *const want[] = {"u-2", "d-1", "u-1", "u-3", "d-2"};
    struct answer a = ask(f, "GET", "/ledger", "");
    CHECK(a.complete);
    const char *s = a.body;
    for (size_t i = 0; i < 5; i++) {
        json_t *j = next_line(&s);
        CHECK_TEXT(j, "id", want[i]);
        json_decref(j);
    }
    CHECK_STR(s, "");
    answer_free(&a);
    fx_free(f);
}

/* A reader that has seen the first part only, because it reads slowly. */
static struct client slow_reader_of(struct fixture *f, const char *target, const char *version) {
    char request[256];
    struct client c = dial(f, 4096);
    snprintf(request, sizeof request, "GET %s HTTP/%s\r\nHost: localhost\r\n\r\n", target, version);
    say(&c, request);
    turns(f, 50);
    hear(&c, 1024);
    CHECK(c.len > 0);
    return c;
}

static struct client slow_reader(struct fixture *f, const char *target) {
    return slow_reader_of(f, target, "1.1");
}

#define N 6000 /* of each kind: far more than all socket buffers take at once */

TEST(ledger_has_each_once_though_they_close_meanwhile) {
    struct fixture *f = fx_new(60000, NULL);
    struct lifecycle **up = calloc(N + 1, sizeof *up), **down = calloc(N + 1, sizeof *down);
    for (unsigned i = 1; i <= N; i++) {
        up[i] = open_life(f, SIDE_UPSTREAM, i);
        down[i] = open_life(f, SIDE_DOWNSTREAM, i);
    }
    for (unsigned i = 3; i <= N; i += 3) close_life(f, up[i], REASON_IDLE_TIMEOUT, 0);
    struct client c = slow_reader(f, "/ledger");
    unsigned closing = N, opened = N;
    double until = seconds() + 60;
    struct answer a = take(&c, false);
    while (!a.complete && seconds() < until) { /* between the turns some close, from both ends, and new ones come */
        answer_free(&a);
        for (int k = 0; k < 40 && closing > 1; k++, closing--) {
            if (closing % 3 == 1) close_life(f, up[closing], REASON_CANCELED, 0);
            if (closing % 4 == 1) close_life(f, down[N + 1 - closing], REASON_CLIENT_CLOSED, 0);
            if (closing % 5 == 1) close_life(f, open_life(f, SIDE_UPSTREAM, ++opened), REASON_CANCELED, 0);
            if (closing % 7 == 1) open_life(f, SIDE_UPSTREAM, ++opened);
        }
        turn(f);
        hear(&c, SIZE_MAX);
        a = strstr(c.data, "\r\n0\r\n\r\n") ? take(&c, false) : (struct answer){0};
    }
    CHECK(a.complete);
    CHECK(closing < N - 1000);
    struct tally *t = tally_of(a.body);
    CHECK_EQ(t->lines, 2 * N);
    for (unsigned i = 1; i <= N; i++) {
        CHECK_EQ(t->up[i], 1);
        CHECK_EQ(t->down[i], 1);
    }
    CHECK(t->closed > N / 3 && t->open > 0);
    free(t);
    answer_free(&a);
    hang_up(&c);
    free(up);
    free(down);
    fx_free(f);
}

/* 12,000 records are some 8 MB. */
static struct fixture *full_ledger(void) {
    struct fixture *f = fx_new(2 * N, NULL);
    for (unsigned i = 1; i <= 2 * N; i++) close_life(f, open_life(f, SIDE_UPSTREAM, i), REASON_IDLE_TIMEOUT, 0);
    return f;
}

TEST(a_reader_that_does_not_read_costs_one_slice) {
    struct fixture *f = full_ledger();
    struct client c[20];
    size_t before = mallinfo2().uordblks;
    for (int i = 0; i < 20; i++) c[i] = slow_reader(f, i % 2 ? "/ledger" : "/connections?limit=1000");
    turns(f, 500);
    size_t after = mallinfo2().uordblks;
    CHECK(after - before < 20 * 200 * 1024u);
    CHECK_EQ(status_of(f, "GET", "/metrics", ""), 200); /* and keeps nobody else waiting */
    for (int i = 0; i < 20; i++) hang_up(&c[i]);
    turns(f, 100);
    CHECK(mallinfo2().uordblks < before + 1024 * 1024);
    fx_free(f);
}

TEST(a_reader_that_vanishes_is_forgotten) {
    struct fixture *f = full_ledger();
    for (int i = 0; i < 10; i++) {
        struct client c = slow_reader(f, i % 2 ? "/ledger" : "/connections?limit=1000");
        struct linger now = {1, 0};
        if (i % 3) setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
        hang_up(&c);
        turns(f, 50);
    }
    CHECK_EQ(event_base_get_num_events(f->base, EVENT_BASE_COUNT_ADDED), 1); /* the listener */
    fx_free(f);
}

TEST(a_reader_too_slow_for_the_ledger_is_cut_off_and_not_misled) {
    struct fixture *f = full_ledger();
    struct client c = slow_reader(f, "/ledger");
    for (unsigned i = 1; i <= 2 * N; i++) close_life(f, open_life(f, SIDE_UPSTREAM, 2 * N + i), REASON_CANCELED, 0);
    ends(f, &c);
    CHECK(c.eof || c.reset);
    CHECK(!strstr(c.data, "\r\n0\r\n\r\n"));
    hang_up(&c);
    fx_free(f);
}

TEST(http_1_0_learns_of_the_cut_by_a_reset) {
    struct fixture *f = full_ledger();
    struct client c = slow_reader_of(f, "/ledger", "1.0"); /* to whom EOF would be the end of it */
    for (unsigned i = 1; i <= 2 * N; i++) close_life(f, open_life(f, SIDE_UPSTREAM, 2 * N + i), REASON_CANCELED, 0);
    ends(f, &c);
    CHECK(c.reset && !c.eof);
    hang_up(&c);
    fx_free(f);
}

TEST(http_1_0_gets_the_ledger_until_eof) {
    struct fixture *f = full_ledger();
    struct client c = dial(f, 0);
    say(&c, "GET /ledger HTTP/1.0\r\nHost: localhost\r\n\r\n");
    CHECK(ends(f, &c));
    struct answer a = take(&c, false);
    CHECK(a.complete && strstr(a.head, "\r\nConnection: close\r\n") && !strstr(a.head, "chunked"));
    struct tally *t = tally_of(a.body);
    CHECK_EQ(t->lines, 2 * N);
    free(t);
    answer_free(&a);
    hang_up(&c);
    fx_free(f);
}

TEST(pools_have_a_row_each) {
    struct fixture *f = fx_new(10, NULL);
    f->pool.first = 7;
    f->pool.last = 1030;
    char err[CONF_ERROR_MAX];
    CHECK(conf_set(f->conf, "pool.max_idle_conns_per_host=0", err));
    json_t *j = get_json(f, "/pools", 200), *rows = at(j, "pools"), *row = json_array_get(rows, 1);
    CHECK_EQ(json_array_size(rows), 1024);
    CHECK_TEXT(row, "key.scheme", "http");
    CHECK_TEXT(row, "key.host", "api.example:8080");
    CHECK_NULL(row, "key.proxy");
    CHECK_INT(row, "open", 4);
    CHECK_INT(row, "idle", 2);
    CHECK_INT(row, "active", 1);
    CHECK_INT(row, "dialing", 1);
    CHECK_INT(row, "waiting", 3);
    CHECK_INT(row, "peak_open", 5);
    CHECK_INT(row, "peak_idle", 4);
    CHECK_INT(row, "limits.max_idle_conns_per_host", 2);
    CHECK_NULL(row, "limits.max_conns_per_host");
    CHECK_INT(row, "dials", 10);
    CHECK(json_real_value(at(row, "reuse_ratio")) == 0.75);
    CHECK_INT(row, "oldest_wait_ms", 1500);
    CHECK_NULL(json_array_get(rows, 0), "oldest_wait_ms");
    json_decref(j);
    CHECK(conf_set(f->conf, "pool.max_conns_per_host=10", err));
    CHECK(conf_set(f->conf, "pool.max_idle_conns_per_host=-1", err));
    j = get_json(f, "/pools", 200);
    CHECK_INT(json_array_get(at(j, "pools"), 0), "limits.max_conns_per_host", 10);
    CHECK_INT(json_array_get(at(j, "pools"), 0), "limits.max_idle_conns_per_host", 0);
    json_decref(j);
    f->pool.last = 0;
    struct answer a = ask(f, "GET", "/pools", "");
    CHECK_STR(a.body, "{\"pools\":[]}\n");
    answer_free(&a);
    fx_free(f);
}

/* The ids of one page, with blanks between them. */
static void page(struct fixture *f, const char *target, char *ids, size_t size, char *next) {
    json_t *j = get_json(f, target, 200), *c;
    size_t i, n = 0;
    json_array_foreach(at(j, "connections"), i, c) {
        n += (size_t)snprintf(ids + n, size - n, "%s%s", i ? " " : "", json_string_value(at(c, "id")));
    }
    ids[n] = '\0';
    const char *cursor = json_string_value(at(j, "next"));
    CHECK(cursor || json_is_null(at(j, "next")));
    if (next) snprintf(next, 64, "%s", cursor ? cursor : "");
    json_decref(j);
}

static void has_page(struct fixture *f, const char *target, const char *want) {
    char ids[4096];
    page(f, target, ids, sizeof ids, NULL);
    CHECK_STR(ids, want);
}

/* u-1 and d-1 to u-6 and d-6, alternating; u-2, u-4, d-3 closed in this order. */
static struct fixture *some_lives(struct lifecycle *up[7], struct lifecycle *down[7]) {
    struct fixture *f = fx_new(100, NULL);
    for (unsigned i = 1; i <= 6; i++) {
        up[i] = open_life(f, SIDE_UPSTREAM, i);
        down[i] = open_life(f, SIDE_DOWNSTREAM, i);
    }
    happen(f, up[1], EV_PUT_IDLE, 0, 0);
    happen(f, up[3], EV_REQUEST, 0, 0);
    ledger_set_key(f->ledger, up[5], &(struct connect_key){"", "https", "b:443", false});
    close_life(f, up[2], REASON_IDLE_TIMEOUT, 0);
    close_life(f, up[4], REASON_EARLY_CLOSE, 0);
    close_life(f, down[3], REASON_CLIENT_CLOSED, 0);
    return f;
}

TEST(connections_newest_first) {
    struct lifecycle *up[7], *down[7];
    struct fixture *f = some_lives(up, down);
    has_page(f, "/connections", "d-6 u-6 d-5 u-5 d-4 u-3 d-2 d-1 u-1 d-3 u-4 u-2");
    fx_free(f);
}

TEST(connections_filtered) {
    struct lifecycle *up[7], *down[7];
    struct fixture *f = some_lives(up, down);
    has_page(f, "/connections?side=upstream", "u-6 u-5 u-3 u-1 u-4 u-2");
    has_page(f, "/connections?side=downstream", "d-6 d-5 d-4 d-2 d-1 d-3");
    has_page(f, "/connections?state=closed", "d-3 u-4 u-2");
    has_page(f, "/connections?state=open&side=upstream", "u-6 u-5 u-3 u-1");
    has_page(f, "/connections?state=idle&side=upstream", "u-1");
    has_page(f, "/connections?state=active", "u-3");
    has_page(f, "/connections?state=dialing", "");
    has_page(f, "/connections?reason=early_close", "u-4");
    has_page(f, "/connections?reason=early_close&side=downstream", "");
    has_page(f, "/connections?reason=early_close&state=idle", "");
    has_page(f, "/connections?key=b:443", "u-5");
    has_page(f, "/connections?key=https%3A%2F%2Fb%3A443", "u-5");
    has_page(f, "/connections?key=http://b:443", "");
    has_page(f, "/connections?key=api.example:8080&state=closed", "u-4 u-2");
    fx_free(f);
}

TEST(connections_bad_values_are_named) {
    static const char *const bad[][2] = {
        {"side=up", "side"},
        {"side=", "side"},
        {"state=gone", "state"},
        {"state=", "state"},
        {"reason=", "reason"},
        {"reason=none", "reason"},
        {"reason=EARLY_CLOSE", "reason"},
        {"limit=0", "limit"},
        {"limit=1001", "limit"},
        {"limit=-1", "limit"},
        {"limit=", "limit"},
        {"limit=10x", "limit"},
        {"limit=%2010", "limit"},
        {"limit=99999999999999999999", "limit"},
        {"key=", "key"},
        {"after=", "after"},
        {"after=x", "after"},
        {"after=c", "after"},
        {"after=c.", "after"},
        {"after=o.1", "after"},
        {"after=o.1.2.3", "after"},
        {"after=c.1x", "after"},
        {"after=c.99999999999999999999", "after"},
        {"after=c.-1", "after"},
        {"after=oo.1.2", "after"},
    };
    struct fixture *f = fx_new(10, NULL);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char target[128];
        snprintf(target, sizeof target, "/connections?%s", bad[i][0]);
        json_t *j = get_json(f, target, 400);
        CHECK_TEXT(j, "parameter", bad[i][1]);
        CHECK(strstr(json_string_value(at(j, "detail")), " must be "));
        json_decref(j);
    }
    fx_free(f);
}

/* All pages one after the other, `limit` rows each; `between` happens after each page. */
static void all_pages(struct fixture *f, const char *params, unsigned limit, char *ids, size_t size,
                      void (*between)(struct fixture *f, void *arg), void *arg) {
    char target[256], cursor[64] = "", rows[4096];
    size_t n = 0;
    unsigned pages = 0;
    do {
        snprintf(target, sizeof target, "/connections?limit=%u%s%s%s", limit, params, *cursor ? "&after=" : "", cursor);
        page(f, target, rows, sizeof rows, cursor);
        unsigned count = *rows ? 1 : 0;
        for (const char *p = rows; *p; p++) count += *p == ' ';
        CHECK(*cursor ? count == limit : count <= limit);
        CHECK(count > 0 || pages == 0); /* a cursor promises another row */
        n += (size_t)snprintf(ids + n, size - n, "%s%s", pages && *rows ? " " : "", rows);
        if (between) between(f, arg);
    } while (*cursor && ++pages < 100);
    CHECK(pages < 100);
}

TEST(connections_in_pages_of_any_size) {
    struct lifecycle *up[7], *down[7];
    struct fixture *f = some_lives(up, down);
    char whole[4096], ids[4096];
    static const char *const params[] = {"", "&side=upstream", "&state=closed", "&state=open", "&key=api.example:8080"};
    for (size_t i = 0; i < sizeof params / sizeof *params; i++) {
        all_pages(f, params[i], 1000, whole, sizeof whole, NULL, NULL);
        for (unsigned limit = 1; limit < 14; limit++) {
            all_pages(f, params[i], limit, ids, sizeof ids, NULL, NULL);
            CHECK_STR(ids, whole);
        }
    }
    fx_free(f);
}

struct closing {
    struct lifecycle **up;
    unsigned next;
};
static void close_next(struct fixture *f, void *arg) {
    struct closing *c = arg;
    if (c->next == 0) return;
    close_life(f, c->up[c->next], REASON_CANCELED, 0);
    c->next = c->next == 5 ? 3 : c->next == 3 ? 1 : 0;
}

TEST(connections_that_close_between_pages_are_not_left_out) {
    struct lifecycle *up[7], *down[7];
    struct fixture *f = some_lives(up, down);
    char ids[4096];
    all_pages(f, "", 2, ids, sizeof ids, close_next, &(struct closing){up, 5});
    for (unsigned i = 1; i <= 6; i++) {
        char id[16];
        snprintf(id, sizeof id, "u-%u", i);
        CHECK(strstr(ids, id));
        id[0] = 'd';
        CHECK(strstr(ids, id));
    }
    fx_free(f);
}

TEST(a_needle_among_many_records_takes_many_turns) {
    struct fixture *f = fx_new(2 * N, NULL);
    for (unsigned i = 1; i <= 2 * N; i++)
        close_life(f, open_life(f, SIDE_UPSTREAM, i), i == 5 ? REASON_EARLY_CLOSE : REASON_CANCELED, 0);
    struct client c = dial(f, 0);
    int n_turns = 0;
    say(&c, "GET /connections?reason=early_close HTTP/1.1\r\nHost: localhost\r\n\r\n");
    for (; !strstr(c.data, "\r\n0\r\n\r\n") && n_turns < 1000; n_turns++) {
        turn(f);
        hear(&c, SIZE_MAX);
    }
    CHECK(strstr(c.data, "\"id\":\"u-5\""));
    CHECK(n_turns > 2 * N / 500 && n_turns < 1000); /* others have had theirs in between */
    hang_up(&c);
    has_page(f, "/connections?reason=early_close&limit=1", "u-5");
    has_page(f, "/connections?state=dialing", "");
    fx_free(f);
}

TEST(a_stream_remembers_what_it_was_asked) {
    struct fixture *f = full_ledger();
    struct client c = slow_reader(f, "/connections?key=api.example:8080&limit=1000");
    CHECK_EQ(status_of(f, "GET", "/connections?key=another.example:99&limit=7&state=idle", ""), 200);
    struct answer a = listen_to(f, &c, false);
    json_t *j = json_loads(a.body, 0, NULL);
    CHECK_EQ(json_array_size(at(j, "connections")), 1000);
    CHECK_TEXT(j, "next", "c.11001");
    json_decref(j);
    answer_free(&a);
    hang_up(&c);
    fx_free(f);
}

TEST(one_connection_with_its_events) {
    struct fixture *f = fx_new(10, NULL);
    struct lifecycle *u = open_life(f, SIDE_UPSTREAM, 42);
    happen(f, u, EV_GOT_CONN, 0, 0);
    happen(f, u, EV_REQUEST, 0, 0);
    json_t *j = get_json(f, "/connections/u-42", 200);
    CHECK_TEXT(j, "id", "u-42");
    CHECK_TEXT(j, "state", "active");
    CHECK_EQ(json_array_size(at(j, "events")), 4);
    CHECK_TEXT(json_array_get(at(j, "events"), 0), "event", "dialing");
    json_decref(j);
    close_life(f, u, REASON_CANCELED, 0);
    j = get_json(f, "/connections/u-42", 200);
    CHECK_TEXT(j, "state", "closed");
    CHECK_EQ(json_array_size(at(j, "events")), 5);
    json_decref(j);
    static const char *const gone[] = {"/connections/u-43",  "/connections/d-42",  "/connections/42",
                                       "/connections/u-",    "/connections/u-42x", "/connections/c-42",
                                       "/connections/u-42/x"};
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++) json_decref(get_json(f, gone[i], 404));
    fx_free(f);
}

int main(void) {
    return tap_run();
}

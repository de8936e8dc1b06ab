/* A workload's tables, and what its JSON Lines say and refuse. */
#include "record/flat_json.h"
#include "record/workload_json.h"
#include "tap.h"

static const struct workload_limits plenty = WORKLOAD_LIMITS_DEFAULT;

static struct workload_conn *add_conn(struct workload *w, conn_id id, int64_t opened_ns, const char *server) {
    struct workload_conn *c = workload_add_conn(w);

    c->id = id;
    c->side = SIDE_CLIENT;
    c->opened_ns = opened_ns;
    c->client = workload_text(w, "10.0.0.1", 8);
    c->server = workload_text(w, server, strlen(server));
    return c;
}

static struct workload_exchange *add_exchange(struct workload *w, uint32_t conn, int64_t at_ns, const char *path) {
    struct workload_exchange *x = workload_add_exchange(w);

    x->conn = conn;
    x->origin = workload_origin(w, "http", "api.example:80");
    x->at_ns = at_ns;
    x->method = workload_text(w, "GET", 3);
    x->path = workload_text(w, path, strlen(path));
    x->end = END_COMPLETE;
    return x;
}

TEST(an_exchange_has_104_bytes) {
    CHECK_EQ(sizeof(struct workload_exchange), 104);
    CHECK_EQ(sizeof(struct workload_conn), 96);
}

TEST(equal_texts_and_origins_have_one_number) {
    struct workload *w = workload_new(&plenty);
    uint32_t a = workload_text(w, "alpha", 5), http, https;

    CHECK_EQ(workload_text(w, "alphabet", 5), a);
    CHECK(workload_text(w, "alph", 4) != a);
    CHECK(workload_text(w, "", 0) != a);
    CHECK_STR(workload_text_of(w, a), "alpha");
    CHECK_STR(workload_text_of(w, WORKLOAD_NO), "");
    http = workload_origin(w, "http", "a:80");
    https = workload_origin(w, "https", "a:80");
    CHECK(http != https);
    CHECK_EQ(workload_origin(w, "http", "a:80"), http);
    workload_free(&w);
}

TEST(ten_thousand_texts_keep_their_numbers) {
    struct workload *w = workload_new(&plenty);
    uint32_t numbers[10000];
    char name[32];

    for (int i = 0; i < 10000; i++)
        numbers[i] = workload_text(w, name, (size_t)snprintf(name, sizeof name, "/item/%d", i));
    for (int i = 0; i < 10000; i++) {
        snprintf(name, sizeof name, "/item/%d", i);
        CHECK_STR(workload_text_of(w, numbers[i]), name);
        CHECK_EQ(workload_origin(w, "http", name), i);
    }
    workload_free(&w);
}

TEST(limits_refuse_and_break_nothing) {
    const struct workload_limits few = {.exchanges = 2, .conns = 1, .origins = 1, .text_bytes = 4096};
    struct workload *w = workload_new(&few);
    char name[1000];
    unsigned n = 0;

    CHECK(workload_add_conn(w) != NULL);
    CHECK(workload_add_conn(w) == NULL);
    CHECK(workload_add_exchange(w) && workload_add_exchange(w));
    CHECK(workload_add_exchange(w) == NULL);
    CHECK_EQ(workload_origin(w, "http", "a:80"), 0);
    CHECK_EQ(workload_origin(w, "http", "b:80"), WORKLOAD_NO);
    CHECK_EQ(workload_origin(w, "http", "a:80"), 0);
    memset(name, 'x', sizeof name);
    for (; n < 9; n++) {
        name[0] = (char)('a' + n);
        if (workload_text(w, name, sizeof name) == WORKLOAD_NO) break;
    }
    CHECK_EQ(n, 4);
    CHECK_EQ(w->n_exchanges, 2);
    workload_free(&w);
}

TEST(sorting_is_stable_and_rows_go_along) {
    struct workload *w = workload_new(&plenty);

    add_conn(w, 2, MSEC(5), "b:1");
    add_conn(w, 1, MSEC(1), "a:1");
    add_exchange(w, 0, MSEC(9), "/late");
    add_exchange(w, 1, MSEC(2), "/first");
    add_exchange(w, 0, MSEC(2), "/second");
    workload_sort(w);
    CHECK_EQ(w->conns[0].id, 1);
    CHECK_STR(workload_text_of(w, w->exchanges[0].path), "/first");
    CHECK_STR(workload_text_of(w, w->exchanges[1].path), "/second");
    CHECK_STR(workload_text_of(w, w->exchanges[2].path), "/late");
    CHECK_EQ(w->exchanges[0].conn, 0);
    CHECK_EQ(w->exchanges[2].conn, 1);
    CHECK(add_conn(w, 3, 0, "c:1") && add_exchange(w, 2, 0, "/more"));
    workload_free(&w);
}

/* ---- anonymous ---- */

static char *written(const struct workload *w, size_t *len) {
    struct json_out o = {0};
    uint64_t at = 0;

    while (workload_json_some(&o, w, &at)) continue;
    return json_out_take(&o, len);
}

TEST(an_anonymous_one_has_no_name_in_it) {
    struct workload *w = workload_new(&plenty);
    size_t len;
    char *text;

    add_conn(w, 1, 0, "192.0.2.9:8080");
    add_exchange(w, 0, 0, "/customers/4711");
    add_exchange(w, 0, 1, "/customers/4712");
    add_exchange(w, 0, 2, "/customers/4711")->method = workload_text(w, "FROB", 4);
    workload_anonymise(w);
    CHECK_STR(workload_text_of(w, w->origins[0].host), "host-1.invalid:80");
    CHECK_STR(workload_text_of(w, w->origins[0].scheme), "http");
    CHECK_STR(workload_text_of(w, w->conns[0].server), "server-1:8080");
    CHECK_STR(workload_text_of(w, w->conns[0].client), "client-1");
    CHECK_EQ(w->exchanges[0].path, w->exchanges[2].path);
    CHECK_STR(workload_text_of(w, w->exchanges[0].path), "/path-1");
    CHECK_STR(workload_text_of(w, w->exchanges[1].path), "/path-2");
    CHECK_STR(workload_text_of(w, w->exchanges[2].method), "OTHER");
    CHECK_EQ(workload_origin(w, "http", "host-1.invalid:80"), 0);
    text = written(w, &len);
    CHECK(!strstr(text, "customers") && !strstr(text, "api") && !strstr(text, "192.0") && !strstr(text, "10.0.0"));
    CHECK(!strstr(text, "FROB"));
    CHECK(strstr(text, "\"anonymous\":true"));
    free(text);
    workload_free(&w);
}

/* ---- the text ---- */

static struct workload *read_text(const char *text, char error[256]) {
    struct workload_reader *r = workload_reader_new(&plenty);
    struct workload *w = NULL;
    bool fine = true;

    while (fine && *text) {
        size_t len = strcspn(text, "\n");
        len += text[len] == '\n';
        fine = workload_read_line(r, text, len);
        text += len;
    }
    if (fine) w = workload_read_end(r);
    strcpy(error, workload_reader_error(r));
    workload_reader_free(&r);
    return w;
}

TEST(what_is_written_reads_the_same) {
    struct workload *w = workload_new(&plenty), *again;
    struct workload_conn *c;
    struct workload_exchange *x;
    char error[256], *first, *second;
    size_t len, len2;

    w->began_ns = SEC(1767323045) + USEC(678901);
    w->duration_ns = SEC(3) + 1;
    w->observer = OBSERVER_CAPTURE;
    w->arrivals = ARRIVALS_SENT;
    c = add_conn(w, 7, 1, "[2001:db8::1]:443");
    c->dial_ns = 123456;
    c->tls_ns = MSEC(2);
    c->closed_ns = SEC(2);
    c->idle_ns = 0;
    c->bytes_in = 99;
    c->bytes_out = UINT64_C(1) << 62;
    c->unread_bytes = 0;
    c->requests = 3;
    c->origin = workload_origin(w, "https", "[2001:db8::1]:443");
    c->close_by = BY_REMOTE;
    c->close_how = HOW_RST;
    c->close_reason = REASON_SERVER_CLOSED_IDLE;
    c->close_phase = PHASE_IN_BODY;
    c->flags = WCONN_OPENED | WCONN_DIALED | WCONN_TLS | WCONN_TO_PROXY | WCONN_OPAQUE | WCONN_PARTIAL;
    add_conn(w, 8, 2, "b:1");
    x = add_exchange(w, 0, 999999999, "/a \"quoted\" \\ path\xc3\xa9");
    x->waited_ns = 1;
    x->sent_ns = 0;
    x->first_ns = 2;
    x->done_ns = SEC(1);
    x->request_body = 5;
    x->announced = UINT64_C(1) << 62;
    x->body = 1;
    x->taken = 0;
    x->request_head = 100;
    x->response_head = 200;
    x->status = 206;
    x->framing = FRAMING_LENGTH;
    x->end = END_GIVEN_UP;
    x->flags = WX_REQUEST_CLOSE | WX_RESPONSE_CLOSE | WX_EXPECT | WX_SPREAD | WX_RETRIED | WX_PIPELINED;
    x->n_interim = 2;
    add_exchange(w, 1, SEC(2), "/")->done_ns = NO_TIME;
    first = written(w, &len);
    again = read_text(first, error);
    CHECK_STR(error, "");
    if (again) {
        CHECK(!memcmp(&again->conns[0].opened_ns, &w->conns[0].opened_ns, 5 * sizeof(int64_t)));
        CHECK_EQ(again->exchanges[0].announced, INT64_C(1) << 62);
        CHECK_EQ(again->exchanges[0].at_ns, 999999999);
        CHECK_EQ(again->exchanges[1].announced, UNKNOWN_BYTES);
        CHECK_EQ(again->conns[1].unread_bytes, UNKNOWN_BYTES);
        second = written(again, &len2);
        CHECK_STR(second, first);
        free(second);
    }
    free(first);
    workload_free(&w);
    workload_free(&again);
}

#define HEADER(o, c, x)                                                                                                \
    "{\"schema\":\"connleak.workload/1\",\"observer\":\"daemon\",\"arrivals\":\"wanted\",\"began_at\":"                \
    "\"2026-01-02T03:04:05Z\",\"duration_ms\":1,\"origins\":" #o ",\"connections\":" #c ",\"exchanges\":" #x "}\n"
#define ORIGIN "{\"type\":\"origin\",\"row\":0,\"scheme\":\"http\",\"host\":\"a:80\"}\n"
#define CONN   "{\"type\":\"connection\",\"row\":0,\"id\":\"u-1\",\"opened_ms\":0}\n"

static void refused(const char *text, const char *expected) {
    char error[256];
    struct workload *w = read_text(text, error);

    CHECK(w == NULL);
    CHECK_STR(error, expected);
    workload_free(&w);
}

TEST(errors_name_the_line_and_the_field) {
    refused("", "expected a line with the schema \"connleak.workload/1\", found none");
    refused("[]\n", "line 1: column 1: expected an object, found []?");
    refused("{\"schema\":\"connleak.conn/1\"}\n",
            "line 1: schema: expected \"connleak.workload/1\" as the first field, found connleak.conn/1");
    refused(HEADER(1, 0, 0) ORIGIN ORIGIN, "line 3: row: expected rows counted from 0, without a gap, found 0");
    refused(HEADER(1, 0, 0) "{\"type\":\"origin\",\"row\":0,\"scheme\":\"ftp\",\"host\":\"a\"}\n",
            "line 2: scheme: expected http or https, found ftp");
    refused(HEADER(1, 0, 0) "{\"type\":\"origin\",\"row\":0,\"scheme\":\"http\"}\n",
            "line 2: host: expected a value, found nothing");
    refused(HEADER(0, 1, 0) "{\"type\":\"connection\",\"row\":0,\"id\":\"x\",\"opened_ms\":0}\n",
            "line 2: id: expected an id such as \"c-3\", found x");
    refused(HEADER(0, 1, 1) CONN "{\"type\":\"exchange\",\"connection\":1,\"at_ms\":0,\"end\":\"complete\"}\n",
            "line 3: connection: expected the row of a connection that came before, found 1");
    refused(HEADER(0, 1, 1) CONN
            "{\"type\":\"exchange\",\"connection\":0,\"origin\":0,\"at_ms\":0,\"end\":\"complete\"}\n",
            "line 3: origin: expected the row of an origin that came before, found 0");
    refused(HEADER(0, 1, 1) CONN "{\"type\":\"exchange\",\"connection\":0,\"at_ms\":-1,\"end\":\"complete\"}\n",
            "line 3: at_ms: expected milliseconds, at most six decimals and a hundred years, found -1");
    refused(HEADER(0, 1, 1) CONN "{\"type\":\"exchange\",\"connection\":0,\"at_ms\":1e3,\"end\":\"complete\"}\n",
            "line 3: at_ms: expected milliseconds, at most six decimals and a hundred years, found 1e3");
    refused(HEADER(0, 1, 1) CONN "{\"type\":\"exchange\",\"connection\":0,\"at_ms\":0,\"at_ms\":1,\"end\":\"open\"}\n",
            "line 3: at_ms: expected each field once, found 1");
    refused(HEADER(0, 1, 1) CONN "{\"type\":\"exchange\",\"connection\":0,\"at_ms\":0,\"end\":\"done\"}\n",
            "line 3: end: expected how it ended: complete, given_up, canceled, failed, opaque, open or unknown, found "
            "done");
    refused(HEADER(0, 1, 1) CONN "{\"type\":\"exchange\",\"connection\":0,\"at_ms\":0}\n",
            "line 3: end: expected a value, found nothing");
    refused(HEADER(0, 1, 1) CONN
            "{\"type\":\"exchange\",\"connection\":0,\"at_ms\":0,\"end\":\"open\",\"body\":9223372036854775808}\n",
            "line 3: body: expected a number of bytes, found 9223372036854775808");
    refused(HEADER(0, 1, 5) CONN, "the end: expected 5 exchanges, as the header says, found 0");
    refused(HEADER(4611686018427387904, 0, 0),
            "the end: expected 4611686018427387904 origins, as the header says, found 0");
    refused(HEADER(0, 1, 0) CONN "{\"type\":\"thing\"}\n",
            "line 3: type: expected origin, connection or exchange, found thing");
    refused(HEADER(0, 1, 0) "{\"type\":\"connection\",\"row\":0,\"id\":\"u-1\",\"opened_ms\":0",
            "line 2: column 54: expected a comma or the end of the object, found nothing");
}

TEST(limits_are_named) {
    const struct workload_limits few = {.exchanges = 1, .conns = 1, .origins = 1, .text_bytes = 4096};
    struct workload_reader *r = workload_reader_new(&few);
    char *line = malloc(WORKLOAD_LINE_MAX + 1), text[1200];

    CHECK(workload_read_line(r, HEADER(1, 2, 0), strlen(HEADER(1, 2, 0))));
    CHECK(workload_read_line(r, CONN, strlen(CONN)));
    CHECK(!workload_read_line(r, CONN, strlen(CONN)));
    CHECK_STR(workload_reader_error(r), "line 3: more than 1 connections");
    snprintf(text, sizeof text, "{\"type\":\"origin\",\"scheme\":\"http\",\"host\":\"%01030d\"}", 0);
    CHECK(!workload_read_line(r, text, strlen(text)));
    CHECK(strstr(workload_reader_error(r), "line 4: host: expected a string of at most 1,024 bytes, found 000"));
    memset(line, 'x', WORKLOAD_LINE_MAX + 1);
    CHECK(!workload_read_line(r, line, WORKLOAD_LINE_MAX + 1));
    CHECK(strstr(workload_reader_error(r), "line 5: expected a line of at most 65,536 bytes"));
    free(line);
    workload_reader_free(&r);
}

TEST(unknown_names_and_nulls_are_passed_over) {
    char error[256];
    struct workload *w = read_text(
        HEADER(1, 1,
               1) "\n" ORIGIN CONN
                  "{\"type\":\"exchange\",\"later\":{\"a\":[1,{\"b\":\"]}\"}],\"c\":{}},\"connection\":0,\"at_ms\":2.5,"
                  "\"status\":null,\"end\":\"complete\",\"more\":[]}\n",
        error);

    CHECK_STR(error, "");
    if (!w) return;
    CHECK_EQ(w->exchanges[0].at_ns, USEC(2500));
    CHECK_EQ(w->exchanges[0].status, 0);
    workload_free(&w);
}

TEST(exchanges_come_sorted_out_of_any_order) {
    char error[256];
    struct workload *w =
        read_text(HEADER(0, 1, 2) CONN "{\"type\":\"exchange\",\"connection\":0,\"at_ms\":2,\"end\":\"open\"}\n"
                                       "{\"type\":\"exchange\",\"connection\":0,\"at_ms\":1,\"end\":\"failed\"}\n",
                  error);
    CHECK(w && w->exchanges[0].end == END_FAILED);
    workload_free(&w);
}

TEST(a_header_is_known_by_its_first_field) {
    CHECK(workload_is_header(HEADER(1, 1, 1), strlen(HEADER(1, 1, 1))));
    CHECK(!workload_is_header("{\"schema\":\"connleak.conn/1\"}", 28));
    CHECK(!workload_is_header("\xa1\xb2\xc3\xd4", 4));
    CHECK(!workload_is_header("", 0));
}

/* ---- the reader of flat objects ---- */

static const char *flat_verdict(const char *line) {
    struct flat_json f;
    struct flat_field v;

    if (!flat_begin(&f, line, strlen(line))) return f.error;
    while (flat_next(&f, &v)) continue;
    return f.error ? f.error : "fine";
}

TEST(flat_json_takes_what_rfc_8259_takes) {
    static const char *const good[] = {"{}", " { } \n", "{\"a\":-0.5e+10,\"b\":true,\"c\":false,\"d\":null}",
                                       "{\"\\u0061\\n\":\"\\ud83d\\ude00\\\"\"}", "{\"a\":[[],{},[1,2,{\"b\":[]}]]}"};
    static const char *const bad[] = {"",
                                      "{",
                                      "{\"a\"}",
                                      "{\"a\":}",
                                      "{\"a\":1,}",
                                      "{,}",
                                      "{\"a\":01}",
                                      "{\"a\":1.}",
                                      "{\"a\":+1}",
                                      "{\"a\":1e}",
                                      "{\"a\":tru}",
                                      "{\"a\":\"\\x\"}",
                                      "{\"a\":\"\\u00\"}",
                                      "{\"a\":\"\\ud800\"}",
                                      "{\"a\":\"\\u0000\"}",
                                      "{\"a\":\"\t\"}",
                                      "{\"a\":[1 2]}",
                                      "{\"a\":[1,]}",
                                      "{\"a\":{\"b\"}}",
                                      "{\"a\":[}",
                                      "{\"a\":1}}",
                                      "{\"a\":1 \"b\":2}",
                                      "{a:1}",
                                      "{\"a\":\"x",
                                      "{\"a\":--1}"};

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) CHECK_STR(flat_verdict(good[i]), "fine");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (!strcmp(flat_verdict(bad[i]), "fine")) tap_fail(__FILE__, __LINE__, "taken: %s", bad[i]);
}

TEST(flat_json_has_limits) {
    char deep[2 * FLAT_DEPTH + 40], *p = deep;

    p += sprintf(p, "{\"a\":");
    for (int i = 0; i <= FLAT_DEPTH; i++) *p++ = '[';
    strcpy(p, "1");
    CHECK_STR(flat_verdict(deep), "fewer brackets within each other");
}

TEST(milliseconds_are_exact) {
    static const struct {
        const char *text;
        int64_t ns;
    } cases[] = {{"0", 0},
                 {"0.000001", 1},
                 {"1.5", 1500000},
                 {"3155760000000", -1 /* the limit, see below */},
                 {"9007199254.740993", 9007199254740993},
                 {"1.0000001", -2},
                 {"1e3", -2},
                 {"-1", -2},
                 {"18446744073709551616", -2},
                 {"3155760000001", -2}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct flat_field v = {.kind = FLAT_NUMBER, .text = cases[i].text, .len = strlen(cases[i].text)};
        int64_t ns = -2, want = cases[i].ns == -1 ? WORKLOAD_TIME_MAX : cases[i].ns;
        bool taken = flat_ms(&v, WORKLOAD_TIME_MAX, &ns);
        CHECK_EQ(taken, want != -2);
        if (taken) CHECK_EQ(ns, want);
    }
}

int main(void) {
    return tap_run();
}

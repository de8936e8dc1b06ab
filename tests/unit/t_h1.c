/* HTTP/1 framing: what is read and how; t_h1_refusals.c has what is refused, and
 * every way of cutting bytes into pieces. Vectors are those of daemon/core/transport-semantics.md. */
#include "core/h1.h"

#include "h1_trace.h"
#include "tap.h"

#include <malloc.h>

#define BYTES(s) (const uint8_t *)(s), sizeof(s) - 1
#define CHUNKED  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" /* 56 bytes */

/* --- reading one message --- */

struct reading {
    struct h1 *h;
    const uint8_t *bytes;
    const struct h1_head *head;
    size_t used;
};

static const struct h1_limits roomy = {1u << 20, 1000, 4096};

static struct reading read_head(enum h1_side side, const char *s, size_t len) {
    struct reading r = {.h = h1_new(side, &roomy), .bytes = (const uint8_t *)s};
    enum h1_step step = h1_feed(r.h, r.bytes, len, &r.used);
    CHECK_EQ(step, H1_HEAD);
    r.head = h1_head(r.h);
    return r;
}
#define READ(side, s) read_head(side, s, sizeof(s) - 1)

static bool span_is(const struct reading *r, struct h1_span s, const char *text) {
    return s.len == strlen(text) && memcmp(r->bytes + s.off, text, s.len) == 0;
}

TEST(a_request_head_in_all_its_parts) {
    static const char s[] = "POST http://a.example:8080/x?y=z HTTP/1.1\r\n"
                            "Host: a.example:8080\r\nX-Odd:\t one  two \t\r\nEmpty:\r\nBlank:  \r\n"
                            "Connection: close, X-Odd ,, upgrade\r\nUpgrade: WebSocket\r\nTE: gzip, trailers\r\n"
                            "Idempotency-Key: k\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\nabc";
    struct reading r = READ(H1_REQUEST, s);
    const struct h1_head *hd = r.head;
    CHECK_EQ(hd->bytes, sizeof s - 1 - 3);
    CHECK_EQ(r.used, hd->bytes);
    CHECK(span_is(&r, hd->method, "POST"));
    CHECK(span_is(&r, hd->target, "http://a.example:8080/x?y=z"));
    CHECK(hd->has_host && span_is(&r, hd->host, "a.example:8080"));
    CHECK_EQ(hd->major * 10 + hd->minor, 11);
    CHECK_EQ(hd->content_length, 3);
    CHECK_EQ(hd->n_fields, 10);
    CHECK(span_is(&r, hd->fields[1].name, "X-Odd") && span_is(&r, hd->fields[1].value, "one  two"));
    CHECK(span_is(&r, hd->fields[2].name, "Empty") && hd->fields[2].value.len == 0);
    CHECK(span_is(&r, hd->fields[3].name, "Blank") && hd->fields[3].value.len == 0);
    CHECK(hd->conn_close && hd->conn_upgrade && !hd->conn_keep_alive);
    CHECK(hd->has_upgrade && hd->is_websocket && hd->te_trailers && hd->expect_continue && hd->has_idempotency_key);
    CHECK(!hd->is_head && !hd->is_connect && !hd->is_safe && !hd->chunked);
    for (size_t i = 0; i < hd->n_fields; i++) {
        bool named = i == 1 || hd->fields[i].known == H1_N_UPGRADE;
        CHECK_EQ(hd->fields[i].named_in_connection, named);
    }
    h1_free(&r.h);
}

TEST(names_are_known_in_any_case_of_letters) {
    static const struct {
        const char *name;
        enum h1_name known;
    } rows[] = {
        {"Host", H1_N_HOST},
        {"cONNECTION", H1_N_CONNECTION},
        {"Content-Length", H1_N_CONTENT_LENGTH},
        {"tRANSFER-eNCODING", H1_N_TRANSFER_ENCODING},
        {"Upgrade", H1_N_UPGRADE},
        {"EXPECT", H1_N_EXPECT},
        {"te", H1_N_TE},
        {"Trailer", H1_N_TRAILER},
        {"Keep-Alive", H1_N_KEEP_ALIVE},
        {"Proxy-Connection", H1_N_PROXY_CONNECTION},
        {"Proxy-Authenticate", H1_N_PROXY_AUTHENTICATE},
        {"Proxy-Authorization", H1_N_PROXY_AUTHORIZATION},
        {"VIA", H1_N_VIA},
        {"User-agent", H1_N_USER_AGENT},
        {"Idempotency-Key", H1_N_IDEMPOTENCY_KEY},
        {"X-idempotency-Key", H1_N_IDEMPOTENCY_KEY},
        {"Max-Forwards", H1_N_MAX_FORWARDS},
        {"date", H1_N_DATE},
        {"Server", H1_N_SERVER},
        {"Hosts", H1_N_OTHER},
        {"Hos", H1_N_OTHER},
        {"Dote", H1_N_OTHER},
        {"Connectiom", H1_N_OTHER},
        {"Content_Length", H1_N_OTHER},
        {"Content-Lengtg", H1_N_OTHER},
        {"Transfer-EncodinG ", H1_N_OTHER},
        {"Transxer-Encoding", H1_N_OTHER},
        {"Proxy-Authorizatiom", H1_N_OTHER},
        {"Contfnt-Length", H1_N_OTHER},
        {"Usar-Agent", H1_N_OTHER},
        {"XX", H1_N_OTHER},
        {"X", H1_N_OTHER},
        {"Xia", H1_N_OTHER},
        {"Proxy-Connectiox", H1_N_OTHER},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (strchr(rows[i].name, ' ')) continue;
        char s[200];
        int n = snprintf(s, sizeof s, "GET / HTTP/1.0\r\n%s: 0\r\n\r\n", rows[i].name);
        /* A coding is an error on HTTP/1.0, and 0 no coding: ask of a response. */
        if (rows[i].known == H1_N_TRANSFER_ENCODING)
            n = snprintf(s, sizeof s, "HTTP/1.0 200 OK\r\n%s: 0\r\n\r\n", rows[i].name);
        struct reading r = read_head(rows[i].known == H1_N_TRANSFER_ENCODING ? H1_RESPONSE : H1_REQUEST, s, (size_t)n);
        if (r.head->n_fields != 1 || r.head->fields[0].known != rows[i].known)
            tap_fail(__FILE__, __LINE__, "%s is %u", rows[i].name, r.head->fields[0].known);
        h1_free(&r.h);
    }
}

TEST(a_token_is_only_that_token) {
    static const struct {
        const char *fields;
        const char *flags; /* close, keep-alive, upgrade; Upgrade, websocket; expect; TE trailers; idempotency */
    } rows[] = {
        {"Connection: close\r\n", "10000000"},
        {"Connection: keep-alive\r\n", "01000000"},
        {"Connection: ,, upgrade ,\r\n", "00100000"},
        {"Connection: closed, keep alive, upgrade/1, \"close\"\r\n", "00000000"},
        {"Upgrade: h2c\r\n", "00010000"},
        {"Upgrade: websocket, h2c\r\n", "00010000"},
        {"Upgrade: WebSocket\r\n", "00011000"},
        {"Upgrade: h2c\r\nUpgrade: websocket\r\n", "00011000"},
        {"Expect: 100-continued\r\n", "00000000"},
        {"Expect: 100-Continue\r\n", "00000100"},
        {"TE: gzip, trailer\r\n", "00000000"},
        {"TE: deflate;q=0.5,trailers\r\n", "00000010"},
        {"X-Idempotency-Key:\r\n", "00000001"},
        {"Keep-Alive: close\r\nProxy-Connection: close\r\nTrailer: TE\r\n", "00000000"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char s[200], flags[9] = "";
        int n = snprintf(s, sizeof s, "GET / HTTP/1.1\r\nHost: a\r\n%s\r\n", rows[i].fields);
        struct reading r = read_head(H1_REQUEST, s, (size_t)n);
        const struct h1_head *hd = r.head;
        const bool all[] = {hd->conn_close,   hd->conn_keep_alive, hd->conn_upgrade, hd->has_upgrade,
                            hd->is_websocket, hd->expect_continue, hd->te_trailers,  hd->has_idempotency_key};
        for (size_t j = 0; j < sizeof all; j++) flags[j] = all[j] ? '1' : '0';
        if (strcmp(flags, rows[i].flags) != 0) tap_fail(__FILE__, __LINE__, "%s is %s", rows[i].fields, flags);
        h1_free(&r.h);
    }
}

TEST(fields_that_connection_names_and_their_likes) {
    static const char *const rows[][2] = {
        {"X-A", "x-a"},
        {"x", "X"},
        {"X-Odd", "X-Odd"},
        {"X-Eight8", "x-eIGHT8"},
        {"X-Name-Of-Seventeen", "x-name-of-seventeen"},
        {"X-A", "X-B"},
        {"x", "y"},
        {"X-Odd", "X-Ode"},
        {"X-Odd", "Y-Odd"},
        {"X-Eight8", "X-Eighv8"},
        {"X-Eight8", "X-Eight88"},
        {"X-Name-Of-Seventeen", "Y-Name-Of-Seventeen"},
        {"X-Name-Of-Seventeen", "X-Name-Og-Seventeen"},
        {"X-Name-Of-Seventeen", "X-Name-Of-Seventeeo"},
        {"X-^A", "X-~A"},
        {"X-A@", "X-A`"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char s[200];
        int n = snprintf(s, sizeof s, "GET / HTTP/1.0\r\nConnection: a, %s\r\n%s: 1\r\n\r\n", rows[i][0], rows[i][1]);
        struct reading r = read_head(H1_REQUEST, s, (size_t)n);
        if (r.head->fields[1].named_in_connection != (i < 5))
            tap_fail(__FILE__, __LINE__, "%s, %s", rows[i][0], rows[i][1]);
        h1_free(&r.h);
    }
}

TEST(nothing_of_one_head_is_left_in_the_next) {
    static const char requests[] =
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: X-A, close, upgrade, te\r\nTE: trailers\r\n"
        "Upgrade: websocket\r\nIdempotency-Key: k\r\nExpect: 100-continue\r\n\r\n"
        "POST / HTTP/1.1\r\nHost: a\r\nX-A: b\r\nTE: x\r\nContent-Length: 0\r\n\r\n"
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nY: a\r\n\r\n"
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: a\r\n\r\n"
        "GET / HTTP/1.0\r\n\r\n";
    struct h1_trace t = {.side = H1_REQUEST};
    h1_trace_run(&t, BYTES(requests));
    CHECK_EQ(t.error, H1_E_NONE);
    CHECK_EQ(t.messages, 5);
    const char *second = strstr(t.text, "method=POST"), *third = second ? strstr(second + 1, "method=POST") : NULL;
    CHECK(second && strstr(second, "flags 000000000000") && strstr(second, "flags 000000000000") < third);
    CHECK(second && third && !memchr(second, '*', (size_t)(third - second)));
    free(t.text);

    static const char responses_[] =
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: gzip\r\nContent-Length: 0\r\n\r\n"
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
        "HTTP/1.1 304 N\r\nContent-Length: x\r\n\r\n"
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nz";
    t = (struct h1_trace){.side = H1_RESPONSE};
    h1_trace_run(&t, BYTES(responses_));
    CHECK_EQ(t.error, H1_E_NONE);
    CHECK_EQ(t.messages, 4);
    free(t.text);
}

TEST(long_values_in_pieces) {
    char *s = malloc(20000), *p = s + sprintf(s, "GET / HTTP/1.1\r\nHost: ");
    for (int i = 0; i < 900; i++) *p++ = (char)('a' + i % 26);
    p += sprintf(p, "\r\nConnection: ");
    for (int i = 0; i < 60; i++) p += sprintf(p, "x-name-number-%d,\t", i);
    p += sprintf(p, "X-Name-Last   \r\nX-Name-Number-59: a\r\nx-name-last: b\r\nX-Name-Number-60: c\r\n\r\n");
    struct h1_trace whole = {.side = H1_REQUEST};
    h1_trace_run(&whole, (uint8_t *)s, (size_t)(p - s));
    CHECK(strstr(whole.text, "*") && strstr(whole.text, "name=x-name-last"));
    for (size_t piece = 1; piece < 300; piece += 7) {
        struct h1_trace t = {.side = H1_REQUEST, .piece = piece};
        h1_trace_run(&t, (uint8_t *)s, (size_t)(p - s));
        CHECK_STR(t.text, whole.text);
        free(t.text);
    }
    free(whole.text);
    free(s);
}

TEST(methods_that_decide_something) {
    static const struct {
        const char *method;
        bool is_head, is_connect, is_safe;
    } rows[] = {
        {"GET", 0, 0, 1},  {"HEAD", 1, 0, 1}, {"OPTIONS", 0, 0, 1}, {"TRACE", 0, 0, 1}, {"CONNECT", 0, 1, 0},
        {"POST", 0, 0, 0}, {"get", 0, 0, 0},  {"HEADS", 0, 0, 0},   {"QUERY", 0, 0, 0}, {"X!#$%&'*+-.^_`|~9", 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char s[200];
        int n = snprintf(s, sizeof s, "%s a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", rows[i].method);
        struct reading r = read_head(H1_REQUEST, s, (size_t)n);
        CHECK(span_is(&r, r.head->method, rows[i].method));
        CHECK_EQ(r.head->is_head, rows[i].is_head);
        CHECK_EQ(r.head->is_connect, rows[i].is_connect);
        CHECK_EQ(r.head->is_safe, rows[i].is_safe);
        h1_free(&r.h);
    }
}

TEST(hosts_that_are_hosts) {
    static const char *const rows[] = {"",
                                       "a",
                                       "a:80",
                                       "a:",
                                       "127.0.0.1:8080",
                                       "[::1]",
                                       "[::1]:80",
                                       "[fe80::1%25eth0]:1",
                                       "under_score.example",
                                       "xn--bcher-kva.example",
                                       "a.",
                                       "a%20b",
                                       "A!$&'()*+,;="};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char s[200];
        int n = snprintf(s, sizeof s, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", rows[i]);
        struct reading r = read_head(H1_REQUEST, s, (size_t)n);
        CHECK(r.head->has_host && span_is(&r, r.head->host, rows[i]));
        h1_free(&r.h);
    }
}

TEST(raw_bytes_beyond_ascii_pass_in_targets_and_values) {
    struct reading r = READ(H1_REQUEST, "GET /b\xc3\xbc"
                                        "cher HTTP/1.1\r\nHost: a\r\nX: \xff\xfe\r\n\r\n");
    CHECK(span_is(&r, r.head->target,
                  "/b\xc3\xbc"
                  "cher"));
    CHECK(span_is(&r, r.head->fields[1].value, "\xff\xfe"));
    h1_free(&r.h);
}

TEST(request_framing) {
    static const struct {
        const char *fields;
        enum body_framing framing;
        uint64_t length;
    } rows[] = {
        {"", FRAMING_NONE, 0},
        {"Content-Length: 0\r\n", FRAMING_LENGTH, 0},
        {"Content-Length: 9223372036854775807\r\n", FRAMING_LENGTH, INT64_MAX},
        {"Content-Length: 007\r\n", FRAMING_LENGTH, 7},
        {"content-length:7\r\nCONTENT-LENGTH: \t7 \r\n", FRAMING_LENGTH, 7},
        {"Transfer-Encoding: Chunked\r\n", FRAMING_CHUNKED, 0},
        {"Transfer-Encoding:chunked \t\r\n", FRAMING_CHUNKED, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char s[200];
        uint64_t length = 99;
        int n = snprintf(s, sizeof s, "PUT / HTTP/1.1\r\nHost: a\r\n%s\r\n", rows[i].fields);
        struct reading r = read_head(H1_REQUEST, s, (size_t)n);
        CHECK_EQ(h1_request_framing(r.head, &length), rows[i].framing);
        CHECK_EQ(length, rows[i].length);
        h1_free(&r.h);
    }
}

TEST(an_http10_request_needs_no_host_and_expects_nothing) {
    struct reading r = READ(H1_REQUEST, "PUT / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n");
    CHECK(!r.head->has_host && !r.head->expect_continue);
    h1_free(&r.h);
}

/* --- responses: R41 to R44 --- */

static const struct {
    const char *vector;
    const char *head;
    bool head_only;
    enum body_framing framing;
    uint64_t length;
    bool closes;
} responses[] = {
    {"T1", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", false, FRAMING_LENGTH, 5, false},
    {"T5", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false, FRAMING_CHUNKED, 0, false},
    {"T29 length", "HTTP/1.1 200 OK\r\nContent-Length: 123\r\n\r\n", true, FRAMING_NONE, 0, false},
    {"T29 chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true, FRAMING_NONE, 0, false},
    {"T29 no framing", "HTTP/1.1 200 OK\r\n\r\n", true, FRAMING_NONE, 0, false},
    {"T30 204", "HTTP/1.1 204 No Content\r\n\r\n", false, FRAMING_NONE, 0, false},
    {"T30 304 with a length", "HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n", false, FRAMING_NONE, 0,
     false},
    {"T30 length 0", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", false, FRAMING_LENGTH, 0, false},
    {"T30 204 chunked", "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", false, FRAMING_NONE, 0, false},
    {"T37", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\n", false, FRAMING_LENGTH, 5, true},
    {"T38", "HTTP/1.1 200 OK\r\nConnection: foo, CLOSE\r\nContent-Length: 5\r\n\r\n", false, FRAMING_LENGTH, 5, true},
    {"R43 any Connection field", "HTTP/1.1 200 OK\r\nConnection: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\n",
     false, FRAMING_LENGTH, 5, true},
    {"R43 not close", "HTTP/1.1 200 OK\r\nConnection: closed, xclose\r\nContent-Length: 5\r\n\r\n", false,
     FRAMING_LENGTH, 5, false},
    {"T39", "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n", false, FRAMING_NONE, 0, true},
    {"T45", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", false, FRAMING_LENGTH, 5, true},
    {"T46", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n", false, FRAMING_LENGTH, 5, false},
    {"T47", "HTTP/1.0 200 OK\r\nConnection: keep-alive, close\r\nContent-Length: 5\r\n\r\n", false, FRAMING_LENGTH, 5,
     true},
    {"T48", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", false, FRAMING_UNTIL_EOF, 0, true},
    {"T49", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false, FRAMING_UNTIL_EOF, 0, true},
    {"R42 HTTP/1.0, any coding", "HTTP/1.0 200 OK\r\nTransfer-Encoding: gzip\r\nContent-Length: 5\r\n\r\n", false,
     FRAMING_LENGTH, 5, true},
    {"T50", "HTTP/1.1 200 OK\r\n\r\n", false, FRAMING_UNTIL_EOF, 0, true},
    {"T52", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 99\r\n\r\n", false, FRAMING_CHUNKED, 0,
     false},
    {"T52 the other way", "HTTP/1.1 200 OK\r\nContent-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n", false,
     FRAMING_CHUNKED, 0, false},
    {"R41 chunked drops any length",
     "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nContent-Length: x\r\nTransfer-Encoding: CHUNKED\r\n\r\n", false,
     FRAMING_CHUNKED, 0, false},
    {"R42 equal lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length:  5 \r\n\r\n", false, FRAMING_LENGTH,
     5, false},
    {"an empty length is none", "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n", false, FRAMING_UNTIL_EOF, 0, true},
    {"a 304 has no body whatever its length", "HTTP/1.1 304 Not Modified\r\nContent-Length: x\r\n\r\n", false,
     FRAMING_NONE, 0, false},
    {"T62", "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1, max=1\r\nContent-Length: 5\r\n\r\n", false, FRAMING_LENGTH, 5,
     false},
    {"T63", "HTTP/1.1 200 OK\r\nProxy-Connection: close\r\nContent-Length: 5\r\n\r\n", false, FRAMING_LENGTH, 5, false},
    {"T65", "HTTP/1.1 101 Switching Protocols\r\n\r\n", false, FRAMING_NONE, 0, false},
    {"R80", "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n", false, FRAMING_NONE, 0, false},
    {"no reason", "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\n", false, FRAMING_LENGTH, 5, false},
    {"an empty reason", "HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\n", false, FRAMING_LENGTH, 5, false},
    {"blanks before the status", "HTTP/1.1   200 OK\r\nContent-Length: 5\r\n\r\n", false, FRAMING_LENGTH, 5, false},
    {"a status of nobody", "HTTP/1.1 999 Odd\r\nContent-Length: 5\r\n\r\n", false, FRAMING_LENGTH, 5, false},
    {"LF for CRLF", "HTTP/1.1 200 OK\nConnection: close\nX:\nContent-Length: 5\n\n", false, FRAMING_LENGTH, 5, true},
    {"LF and CRLF", "HTTP/1.1 200 OK\r\nContent-Length: 5\nX: y\r\nConnection: close\n\r\n", false, FRAMING_LENGTH, 5,
     true},
    {"CRLF and LF", "HTTP/1.1 200 OK\nContent-Length: 5\r\n\n", false, FRAMING_LENGTH, 5, false},
};

TEST(R41_to_R44_response_framing_and_close) {
    for (size_t i = 0; i < sizeof responses / sizeof *responses; i++) {
        uint64_t length = 99;
        struct reading r = read_head(H1_RESPONSE, responses[i].head, strlen(responses[i].head));
        enum body_framing framing = h1_response_framing(r.head, responses[i].head_only, &length);
        bool closes = h1_response_closes(r.head, framing);
        if (framing != responses[i].framing || length != responses[i].length || closes != responses[i].closes)
            tap_fail(__FILE__, __LINE__, "%s: framing %d length %" PRIu64 " closes %d", responses[i].vector, framing,
                     length, closes);
        CHECK_EQ(r.used, strlen(responses[i].head));
        h1_free(&r.h);
    }
}

#define OK "HTTP/1.1 200 OK\r\n" /* 17 bytes */

TEST(reasons_and_what_responses_need_not_mind) {
    struct reading r =
        READ(H1_RESPONSE, "HTTP/1.1 404 Not  Found \r\nHost: a b\r\nHost:\r\nExpect: 100-continue\r\n\r\n");
    CHECK(span_is(&r, r.head->reason, "Not  Found "));
    CHECK_EQ(r.head->n_fields, 3);
    h1_free(&r.h);
    r = READ(H1_RESPONSE, "HTTP/1.1 404 \r\n\r\n");
    CHECK(span_is(&r, r.head->reason, ""));
    h1_free(&r.h);
}

TEST(chunk_lines_of_responses_are_read_as_go_does) {
    static const char s[] = OK "Transfer-Encoding: chunked\r\n\r\n5  "
                               "\r\nhello\r\n00A\t\r\ntherethere\r\n0005;a=\"b;c\" ; d\r\nworld\r\n0 \r\n\r\n";
    struct h1_trace t = {.side = H1_RESPONSE};
    h1_trace_run(&t, BYTES(s));
    CHECK_EQ(t.error, H1_E_NONE);
    CHECK(t.text && strstr(t.text, "body 20 bytes"));
    CHECK_EQ(t.messages, 1);
    free(t.text);
}

/* --- bodies and what follows them --- */

static void expect_step(struct h1 *h, const char *s, size_t len, enum h1_step step, size_t used, const char *data) {
    size_t n = SIZE_MAX, data_len;
    const uint8_t *p;
    CHECK_EQ(h1_feed(h, (const uint8_t *)s, len, &n), step);
    CHECK_EQ(n, used);
    h1_data(h, &p, &data_len);
    CHECK_EQ(data_len, strlen(data));
    CHECK(data_len == 0 || memcmp(p, data, data_len) == 0);
}

TEST(T57_a_length_is_counted_and_what_follows_is_left_alone) {
    struct reading r = READ(H1_RESPONSE, OK "Content-Length: 5\r\n\r\nhelloHTTP/1.1");
    h1_begin_body(r.h, FRAMING_LENGTH, 5);
    CHECK_EQ(h1_remaining(r.h), 5);
    expect_step(r.h, "hel", 3, H1_DATA, 3, "hel");
    CHECK_EQ(h1_remaining(r.h), 2);
    expect_step(r.h, "", 0, H1_MORE, 0, "");
    expect_step(r.h, "loHTTP/1.1", 10, H1_DATA, 2, "lo");
    CHECK(!h1_between(r.h));
    expect_step(r.h, "HTTP/1.1", 8, H1_DONE, 0, "");
    CHECK(h1_between(r.h));
    h1_free(&r.h);
}

TEST(chunks_with_their_ends_and_a_trailer) {
    struct reading r = READ(H1_RESPONSE, OK "Transfer-Encoding: chunked\r\n\r\n");
    h1_begin_body(r.h, FRAMING_CHUNKED, 0);
    CHECK_EQ(h1_remaining(r.h), 0);
    expect_step(r.h, "a;x=y\r\n01234", 12, H1_DATA, 12, "01234");
    CHECK_EQ(h1_remaining(r.h), 5);
    expect_step(r.h, "56789\r\n3", 8, H1_DATA, 5, "56789");
    CHECK_EQ(h1_remaining(r.h), 0);
    expect_step(r.h, "\r\n3", 3, H1_MORE, 3, "");
    CHECK_EQ(h1_partial_line(r.h), 1);
    expect_step(r.h, "\r\nabc\r\n0\r\n", 10, H1_DATA, 5, "abc");
    CHECK(!h1_after_data(r.h));
    expect_step(r.h, "\r\n0\r\n", 5, H1_MORE, 5, "");
    CHECK(h1_after_data(r.h));
    CHECK_EQ(h1_partial_line(r.h), 0);
    expect_step(r.h, "A: b", 4, H1_MORE, 4, "");
    CHECK_EQ(h1_partial_line(r.h), 4);
    expect_step(r.h, "\r\nLonger", 8, H1_MORE, 8, "");
    CHECK_EQ(h1_partial_line(r.h), 12); /* Go looks for the trailer's end before it takes any of it */
    expect_step(r.h, ": c\r\n\r\nHTTP", 11, H1_DONE, 7, "");
    CHECK(!h1_after_data(r.h) && h1_between(r.h));
    h1_free(&r.h);
}

TEST(a_response_may_have_any_trailer) {
    static const char s[] = OK "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 3\r\nX: y\r\n\r\n" OK "\r\n";
    struct h1_trace t = {.side = H1_RESPONSE};
    h1_trace_run(&t, BYTES(s));
    CHECK_EQ(t.error, H1_E_NONE);
    CHECK_EQ(t.messages, 2);
    free(t.text);
}

TEST(T48_until_eof) {
    struct reading r = READ(H1_RESPONSE, OK "\r\n");
    h1_begin_body(r.h, FRAMING_UNTIL_EOF, 0);
    CHECK_EQ(h1_remaining(r.h), UNKNOWN_BYTES);
    expect_step(r.h, "HTTP/1.1 200 OK\r\n", 17, H1_DATA, 17, "HTTP/1.1 200 OK\r\n");
    CHECK(!h1_skip(r.h, UINT64_C(1) << 40));
    CHECK_EQ(h1_eof(r.h), H1_DONE);
    CHECK(h1_between(r.h));
    h1_free(&r.h);
}

TEST(bytes_that_pass_unseen) {
    struct reading r = READ(H1_RESPONSE, OK "Content-Length: 5000000000\r\n\r\n");
    h1_begin_body(r.h, FRAMING_LENGTH, 5000000000);
    CHECK(!h1_skip(r.h, 4999999998));
    expect_step(r.h, "a", 1, H1_DATA, 1, "a");
    CHECK(!h1_skip(r.h, 0));
    CHECK_EQ(h1_remaining(r.h), 1);
    CHECK(h1_skip(r.h, 1));
    CHECK(h1_between(r.h));
    size_t used;
    static const char next[] = OK "Transfer-Encoding: chunked\r\n\r\n";
    CHECK_EQ(h1_feed(r.h, BYTES(next), &used), H1_HEAD);
    h1_begin_body(r.h, FRAMING_CHUNKED, 0);
    expect_step(r.h, "5\r\na", 4, H1_DATA, 4, "a");
    CHECK(!h1_skip(r.h, 4)); /* the chunk, not the message */
    expect_step(r.h, "\r\n0\r\n\r\n", 7, H1_DONE, 7, "");
    h1_free(&r.h);
}

TEST(a_trailer_behind_more_than_32_bits_of_body) {
    struct reading r = READ(H1_REQUEST, CHUNKED);
    h1_begin_body(r.h, FRAMING_CHUNKED, 0);
    expect_step(r.h, "140000000\r\n", 11, H1_MORE, 11, "");
    CHECK(!h1_skip(r.h, 0x140000000));
    expect_step(r.h, "\r\n0\r\nAbc", 8, H1_MORE, 8, "");
    expect_step(r.h, "d: e", 4, H1_MORE, 4, "");
    size_t used;
    uint64_t at;
    CHECK_EQ(h1_feed(r.h, BYTES("f\r\n\x01"), &used), H1_ERROR);
    CHECK_EQ(h1_error(r.h, &at), H1_E_TRAILER);
    CHECK_EQ(at, 56 + 11 + 0x140000000 + 15);
    h1_free(&r.h);
}

TEST(pipelined_requests_connect_and_upgrade_swallow_nothing) {
    static const char s[] =
        "\r\nGET /1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        "POST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
        "CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n"
        "GET /4 HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        "POST /5 HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade\r\nTransfer-Encoding: chunked\r\n\r\n"
        "1\r\nx\r\n0\r\nA: b\r\n\r\n\r\n"
        "GET /6 HTTP/1.0\r\n\r\n";
    struct h1_trace t = {.side = H1_REQUEST};
    h1_trace_run(&t, BYTES(s));
    CHECK_EQ(t.error, H1_E_NONE);
    CHECK_EQ(t.messages, 6);
    CHECK(strstr(t.text, "target=/4") && strstr(t.text, "target=/6"));
    free(t.text);
}

TEST(interim_heads_stand_before_the_final_one) {
    static const char s[] =
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" OK "Content-Length: 1\r\n\r\nz";
    struct h1_trace t = {.side = H1_RESPONSE};
    h1_trace_run(&t, BYTES(s));
    CHECK_EQ(t.messages, 3);
    CHECK_EQ(t.error, H1_E_NONE);
    free(t.text);
}

TEST(a_stream_may_end_between_messages_and_nowhere_else) {
    struct h1 *h = h1_new(H1_REQUEST, &roomy);
    CHECK(h1_between(h));
    CHECK_EQ(h1_eof(h), H1_DONE);
    expect_step(h, "\r\n", 2, H1_MORE, 2, "");
    CHECK(h1_between(h));
    CHECK_EQ(h1_eof(h), H1_DONE);
    expect_step(h, "G", 1, H1_MORE, 1, "");
    CHECK(!h1_between(h));
    CHECK_EQ(h1_partial_line(h), 1);
    CHECK_EQ(h1_eof(h), H1_ERROR);
    CHECK_EQ(h1_error(h, NULL), H1_E_TRUNCATED);
    h1_reset(h);
    CHECK_EQ(h1_error(h, NULL), H1_E_NONE);
    expect_step(h, "GET / HTTP/1.0\r\n\r\n", 18, H1_HEAD, 18, "");
    h1_free(&h);
}

TEST(unfinished_lines_are_what_a_reader_would_keep) {
    struct h1 *h = h1_new(H1_RESPONSE, &roomy);
    expect_step(h, "HTTP/1.1 200", 12, H1_MORE, 12, "");
    CHECK_EQ(h1_partial_line(h), 12);
    expect_step(h, " OK\r", 4, H1_MORE, 4, "");
    CHECK_EQ(h1_partial_line(h), 16);
    expect_step(h, "\nA: b\r\nCon", 10, H1_MORE, 10, "");
    CHECK_EQ(h1_partial_line(h), 3);
    expect_step(h, "tent-Length: 9\r\n\r", 17, H1_MORE, 17, "");
    CHECK_EQ(h1_partial_line(h), 1);
    expect_step(h, "\n", 1, H1_HEAD, 1, "");
    CHECK_EQ(h1_partial_line(h), 0);
    h1_free(&h);
}

/* --- limits --- */

static enum h1_error limited(const struct h1_limits *limits, enum h1_side side, const char *s, size_t len, size_t piece,
                             uint64_t *at) {
    struct h1_trace t = {.side = side, .limits = *limits, .piece = piece, .no_eof = true};
    h1_trace_run(&t, (const uint8_t *)s, len);
    *at = t.error_at;
    free(t.text);
    return t.error;
}

TEST(max_head_bytes_is_exact) {
    static const char s[] = "GET / HTTP/1.1\r\nHost: a\r\nFoo: bar\r\n\r\nGET";
    const size_t head = sizeof s - 1 - 3;
    for (size_t piece = 0; piece < 3; piece++) {
        uint64_t at;
        struct h1_limits l = {(uint32_t)head, 100, 100};
        CHECK_EQ(limited(&l, H1_REQUEST, s, head, piece, &at), H1_E_NONE);
        CHECK_EQ(limited(&l, H1_REQUEST, s, sizeof s - 1, piece, &at), H1_E_NONE);
        for (uint32_t max = 1; max < head; max++) {
            l.max_head_bytes = max;
            CHECK_EQ(limited(&l, H1_REQUEST, s, head, piece, &at), H1_E_HEAD_TOO_LARGE);
            CHECK_EQ(at, max);
        }
    }
}

TEST(max_fields_is_exact) {
    static const char s[] = "GET / HTTP/1.1\r\nHost: a\r\nA: 1\r\nB: 2\r\n\r\n";
    for (size_t piece = 0; piece < 2; piece++) {
        uint64_t at;
        CHECK_EQ(limited(&(struct h1_limits){1000, 3, 100}, H1_REQUEST, s, sizeof s - 1, piece, &at), H1_E_NONE);
        CHECK_EQ(limited(&(struct h1_limits){1000, 2, 100}, H1_REQUEST, s, sizeof s - 1, piece, &at),
                 H1_E_HEAD_TOO_LARGE);
        CHECK_EQ(at, 31); /* where the name begins that is too many */
    }
}

TEST(many_fields_grow_the_array_and_reset_gives_it_back) {
    char *s = malloc(200000), *p = s + sprintf(s, "GET / HTTP/1.1\r\nHost: a\r\nConnection: %s%06000d\r\n", "x", 0);
    for (int i = 0; i < 9998; i++) p += sprintf(p, "F%d: %d\r\n", i, i);
    p += sprintf(p, "\r\n");
    struct h1_limits l = {200000, 10000, 100};
    struct h1 *h = h1_new(H1_REQUEST, &l);
    size_t before = mallinfo2().uordblks;
    for (int round = 0; round < 2; round++) {
        size_t used, part = 5500; /* in the long value */
        CHECK_EQ(h1_feed(h, (uint8_t *)s, part, &used), H1_MORE);
        CHECK_EQ(h1_feed(h, (uint8_t *)s + part, (size_t)(p - s) - part, &used), H1_HEAD);
        CHECK_EQ(h1_head(h)->n_fields, 10000);
        CHECK_EQ(h1_head(h)->fields[9999].value.len, 4);
        h1_begin_body(h, FRAMING_NONE, 0);
        h1_reset(h);
        CHECK_EQ(h1_head(h)->n_fields, 0);
        CHECK(mallinfo2().uordblks < before + 10000); /* 0 under a sanitizer */
    }
    h1_free(&h);
    free(s);
}

TEST(T56_max_trailer_bytes_is_exact) {
    static const char s[] = CHUNKED "0\r\nA: b\r\nC: d\r\n\r\n";
    for (size_t piece = 0; piece < 3; piece++) {
        uint64_t at;
        CHECK_EQ(limited(&(struct h1_limits){1000, 10, 14}, H1_REQUEST, s, sizeof s - 1, piece, &at), H1_E_NONE);
        CHECK_EQ(limited(&(struct h1_limits){1000, 10, 13}, H1_REQUEST, s, sizeof s - 1, piece, &at), H1_E_TRAILER);
        CHECK_EQ(at, 59 + 13);
    }
    /* The limit does not count what came before the trailer. */
    uint64_t at;
    static const char none[] = CHUNKED "0\r\n\r\n";
    CHECK_EQ(limited(&(struct h1_limits){56, 10, 2}, H1_REQUEST, none, sizeof none - 1, 0, &at), H1_E_NONE);
}

TEST(chunk_lines_have_a_limit) {
    for (size_t piece = 0; piece < 2; piece++)
        for (size_t len = 4094; len < 4097; len++) { /* 4096 with CRLF is the most */
            char *s = malloc(9000), *p = s + sprintf(s, CHUNKED "5;");
            memset(p, 'x', len - 2);
            p += len - 2;
            p += sprintf(p, "\r\nhello\r\n0\r\n\r\n");
            uint64_t at;
            enum h1_error e = limited(&roomy, H1_REQUEST, s, (size_t)(p - s), piece, &at);
            CHECK_EQ(e, len == 4094 ? H1_E_NONE : H1_E_CHUNK);
            if (e) CHECK_EQ(at, 56 + 4096);
            free(s);
        }
}

TEST(chunk_extensions_may_not_outweigh_the_data_for_long) {
    char *s = malloc(200000), *p = s + sprintf(s, CHUNKED);
    for (int i = 0; i < 1700; i++) p += sprintf(p, "1;abcdefghi\r\nx\r\n"); /* 10 bytes for 1 */
    uint64_t at;
    size_t paid = (size_t)(p - s);
    char *twice = malloc(2 * paid + 20), *q = twice + sprintf(twice, "%s0\r\n\r\n", s);
    q += sprintf(q, "%s", s); /* each message has its own account */
    CHECK_EQ(limited(&roomy, H1_REQUEST, twice, (size_t)(q - twice), 0, &at), H1_E_NONE);
    free(twice);
    CHECK_EQ(limited(&roomy, H1_REQUEST, s, (size_t)(p - s), 0, &at), H1_E_NONE);
    for (int i = 0; i < 200; i++) p += sprintf(p, "1;abcdefghi\r\nx\r\n");
    CHECK_EQ(limited(&roomy, H1_REQUEST, s, (size_t)(p - s), 0, &at), H1_E_CHUNK);
    p = s + sprintf(s, CHUNKED);
    for (int i = 0; i < 5000; i++) p += sprintf(p, "a;abcdefghi\r\n0123456789\r\n"); /* 10 for 10 */
    CHECK_EQ(limited(&roomy, H1_REQUEST, s, (size_t)(p - s), 0, &at), H1_E_NONE);
    free(s);
}

TEST(names_in_connection_have_a_limit) {
    char *s = malloc(9000), *p = s + sprintf(s, "GET / HTTP/1.1\r\nHost: a\r\nConnection: , ,,");
    for (int i = 0; i < 64; i++) p += sprintf(p, "x%d,", i);
    char *end = p;
    p += sprintf(p, "\r\nX63: y\r\nX64: y\r\n\r\n");
    struct reading r = read_head(H1_REQUEST, s, (size_t)(p - s));
    CHECK_EQ(r.head->fields[2].named_in_connection, 1);
    CHECK_EQ(r.head->fields[3].named_in_connection, 0);
    h1_free(&r.h);
    sprintf(end, "y\r\n\r\n");
    uint64_t at;
    CHECK_EQ(limited(&roomy, H1_REQUEST, s, strlen(s), 0, &at), H1_E_HEAD_TOO_LARGE);
    free(s);
}

int main(void) {
    return tap_run();
}

/* HTTP/1 framing: what is refused and where, what is read and how, at every way
 * of cutting it into pieces. Vectors are those of daemon/core/transport-semantics.md. */
#include "core/h1.h"

#include "h1_trace.h"
#include "tap.h"

#include <malloc.h>
#include <time.h>

#define BYTES(s) (const uint8_t *)(s), sizeof(s) - 1

/* --- requests that are refused --- */

struct refusal {
    const char *what;
    const char *bytes;
    size_t len;
    enum h1_error error;
    uint64_t at;
};
#define ROW(what, bytes, error, at)                                                                                    \
    { what, bytes, sizeof(bytes) - 1, error, at }

#define GET     "GET / HTTP/1.1\r\n"                      /* 16 bytes */
#define HOST    "Host: a\r\n"                             /* 9 bytes: fields begin at 25 */
#define POST    "POST / HTTP/1.1\r\nHost: a\r\n"          /* 26 bytes */
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n" /* 56 bytes */

static const struct refusal request_refusals[] = {
    ROW("no method", " / HTTP/1.1\r\n", H1_E_START_LINE, 0),
    ROW("a TLS handshake", "\x16\x03\x01\x02\x00", H1_E_START_LINE, 0),
    ROW("a TLS handshake behind a request", GET HOST "\r\n\x16\x03", H1_E_START_LINE, 0),
    ROW("a second empty line", "\r\n\r\nGET / HTTP/1.1\r\n", H1_E_START_LINE, 0),
    ROW("an LF before the request", "\nGET / HTTP/1.1\r\n", H1_E_LINE_END, 0),
    ROW("a separator in the method, and an LF", "GE(T / HTTP/1.1\n", H1_E_START_LINE, 2),
    ROW("half an empty line", "\rGET / HTTP/1.1\r\n", H1_E_LINE_END, 0),
    ROW("a separator in the method", "GE(T / HTTP/1.1\r\n", H1_E_START_LINE, 2),
    ROW("method alone", "GET\r\n", H1_E_START_LINE, 3),
    ROW("HTTP/0.9", "GET /\r\n", H1_E_START_LINE, 5),
    ROW("no target", "GET  HTTP/1.1\r\n", H1_E_START_LINE, 4),
    ROW("two spaces before the version", "GET /  HTTP/1.1\r\n", H1_E_START_LINE, 6),
    ROW("a space in the target", "GET /a b HTTP/1.1\r\n", H1_E_START_LINE, 7),
    ROW("a tab in the target", "GET /a\tb HTTP/1.1\r\n", H1_E_START_LINE, 6),
    ROW("NUL in the target", "GET /\0 HTTP/1.1\r\n", H1_E_START_LINE, 5),
    ROW("DEL in the target", "GET /\x7f HTTP/1.1\r\n", H1_E_START_LINE, 5),
    ROW("bare CR in the target", "GET /\rX HTTP/1.1\r\n", H1_E_START_LINE, 5),
    ROW("a space behind the version", "GET / HTTP/1.1 \r\n", H1_E_START_LINE, 14),
    ROW("two CRs behind the version", "GET / HTTP/1.1\r\r\n", H1_E_START_LINE, 14),
    ROW("lower-case version", "GET / http/1.1\r\n", H1_E_START_LINE, 6),
    ROW("long version", "GET / HTTP/1.10\r\n", H1_E_START_LINE, 14),
    ROW("short version", "GET / HTTP/1\r\n", H1_E_START_LINE, 12),
    ROW("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", H1_E_VERSION, 6),
    ROW("HTTP/1.2", "GET / HTTP/1.2\r\n", H1_E_VERSION, 6),
    ROW("HTTP/0.9 by name", "GET / HTTP/0.9\r\n", H1_E_VERSION, 6),
    ROW("LF behind the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", H1_E_LINE_END, 14),

    ROW("blank before the colon", GET HOST "Foo : b\r\n\r\n", H1_E_FIELD_NAME, 28),
    ROW("tab before the colon", GET HOST "Foo\t: b\r\n\r\n", H1_E_FIELD_NAME, 28),
    ROW("no name", GET HOST ": b\r\n\r\n", H1_E_FIELD_NAME, 25),
    ROW("no colon", GET HOST "Foo\r\n\r\n", H1_E_FIELD_NAME, 28),
    ROW("a slash in a name", GET HOST "F/o: b\r\n\r\n", H1_E_FIELD_NAME, 26),
    ROW("NUL in a name", GET HOST "F\0o: b\r\n\r\n", H1_E_FIELD_NAME, 26),
    ROW("a byte beyond ASCII in a name", GET HOST "F\xc3\xb6: b\r\n\r\n", H1_E_FIELD_NAME, 26),
    ROW("CR in place of a dash", GET HOST "Content\rLength: 1\r\n\r\n", H1_E_FIELD_NAME, 32),
    ROW("vertical tab before a name", GET HOST "\vTransfer-Encoding: chunked\r\n\r\n", H1_E_FIELD_NAME, 25),
    /* llhttp knows these names, takes the blank and complains at the colon. */
    ROW("blank behind Transfer-Encoding", GET HOST "Transfer-Encoding : chunked\r\n\r\n", H1_E_FIELD_NAME, 43),
    ROW("blank behind Content-Length", GET HOST "Content-Length : 1\r\n\r\n", H1_E_FIELD_NAME, 40),

    ROW("NUL in a value", GET HOST "Foo: b\0\r\n\r\n", H1_E_FIELD_VALUE, 31),
    ROW("control character in a value", GET HOST "Foo: b\x01\r\n\r\n", H1_E_FIELD_VALUE, 31),
    ROW("vertical tab in a value", GET HOST "Foo: \vb\r\n\r\n", H1_E_FIELD_VALUE, 30),
    ROW("form feed in a value", GET HOST "Foo: b\f\r\n\r\n", H1_E_FIELD_VALUE, 31),
    ROW("DEL in a value", GET HOST "Foo: b\x7f\r\n\r\n", H1_E_FIELD_VALUE, 31),
    ROW("bare CR in a value", GET HOST "Foo: b\rc\r\n\r\n", H1_E_FIELD_VALUE, 32),
    ROW("bare CR that hides a field", GET HOST "Foo: b\rContent-Length: 5\r\n\r\n", H1_E_FIELD_VALUE, 32),
    ROW("two CRs behind a value", GET HOST "Foo: b\r\r\n\r\n", H1_E_FIELD_VALUE, 32),
    ROW("bare CR as a value", GET HOST "Foo: \rb\r\n\r\n", H1_E_FIELD_VALUE, 31),
    ROW("bare CR behind the colon", GET HOST "Foo:\r\rb\r\n\r\n", H1_E_FIELD_VALUE, 30),

    ROW("folded line", GET HOST "Foo: b\r\n c\r\n\r\n", H1_E_OBS_FOLD, 33),
    ROW("line folded with a tab", GET HOST "Foo: b\r\n\tc\r\n\r\n", H1_E_OBS_FOLD, 33),
    ROW("folded line of blanks", GET HOST "Foo: b\r\n \r\n\r\n", H1_E_OBS_FOLD, 33),
    ROW("fold behind an empty value", GET HOST "Foo:\r\n b\r\n\r\n", H1_E_OBS_FOLD, 31),
    ROW("fold behind the request line", GET " Foo: b\r\n" HOST "\r\n", H1_E_OBS_FOLD, 16),
    ROW("a coding in a fold", GET HOST "Transfer-Encoding:\r\n chunked\r\n\r\n", H1_E_OBS_FOLD, 45),
    ROW("a length in a fold", GET HOST "Content-Length:\r\n 5\r\n\r\n", H1_E_OBS_FOLD, 42),

    ROW("LF behind a field", GET "Host: a\n\r\n", H1_E_LINE_END, 23),
    ROW("LF that hides a field", GET HOST "Foo: b\nContent-Length: 5\r\n\r\n", H1_E_LINE_END, 31),
    ROW("LF in a name", GET HOST "Fo\no: b\r\n\r\n", H1_E_LINE_END, 27),
    ROW("LF as the blank line", GET HOST "\n", H1_E_LINE_END, 25),
    ROW("CR and no LF as the blank line", GET HOST "\rX", H1_E_LINE_END, 25),

    ROW("no Host", GET "Foo: b\r\n\r\n", H1_E_HOST, 26),
    ROW("no fields at all", GET "\r\n", H1_E_HOST, 18),
    ROW("two Hosts", GET HOST HOST "\r\n", H1_E_HOST, 31),
    ROW("two Hosts on HTTP/1.0", "GET / HTTP/1.0\r\n" HOST "host: b\r\n\r\n", H1_E_HOST, 31),
    ROW("a list of Hosts", GET "Host: a, b\r\n\r\n", H1_E_HOST, 22),
    ROW("userinfo in Host", GET "Host: a@b\r\n\r\n", H1_E_HOST, 22),
    ROW("a path in Host", GET "Host: a/b\r\n\r\n", H1_E_HOST, 22),
    ROW("a port that is no number", GET "Host: a:8x\r\n\r\n", H1_E_HOST, 22),
    ROW("two ports", GET "Host: a:80:80\r\n\r\n", H1_E_HOST, 22),
    ROW("an open bracket", GET "Host: [::1\r\n\r\n", H1_E_HOST, 22),
    ROW("nothing in brackets", GET "Host: []\r\n\r\n", H1_E_HOST, 22),
    ROW("a slash in brackets", GET "Host: [::1/]\r\n\r\n", H1_E_HOST, 22),
    ROW("text behind brackets", GET "Host: [::1]x\r\n\r\n", H1_E_HOST, 22),
    ROW("a quote in Host", GET "Host: a\"\r\n\r\n", H1_E_HOST, 22),

    ROW("length with a sign", POST "Content-Length: +5\r\n\r\n", H1_E_CONTENT_LENGTH, 42),
    ROW("negative length", POST "Content-Length: -5\r\n\r\n", H1_E_CONTENT_LENGTH, 42),
    ROW("two lengths in one field", POST "Content-Length: 5, 5\r\n\r\n", H1_E_CONTENT_LENGTH, 42),
    ROW("a blank in a length", POST "Content-Length:  5 6\r\n\r\n", H1_E_CONTENT_LENGTH, 43),
    ROW("an empty length", POST "Content-Length:\r\n\r\n", H1_E_CONTENT_LENGTH, 41),
    ROW("a length of blanks", POST "Content-Length:   \r\n\r\n", H1_E_CONTENT_LENGTH, 41),
    ROW("a length in hex", POST "Content-Length: 0x5\r\n\r\n", H1_E_CONTENT_LENGTH, 42),
    ROW("a length with a fraction", POST "Content-Length: 5.0\r\n\r\n", H1_E_CONTENT_LENGTH, 42),
    ROW("a length of 2^63", POST "Content-Length: 9223372036854775808\r\n\r\n", H1_E_CONTENT_LENGTH, 42),
    ROW("a length of 2^64 + 5", POST "Content-Length: 18446744073709551621\r\n\r\n", H1_E_CONTENT_LENGTH, 42),
    ROW("lengths that differ", POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", H1_E_CONTENT_LENGTH, 61),
    ROW("lengths that differ as text", POST "Content-Length: 5\r\nContent-Length: 05\r\n\r\n", H1_E_CONTENT_LENGTH, 61),

    ROW("CL.TE", POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", H1_E_LENGTH_AND_CHUNKED, 64),
    ROW("TE.CL", POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", H1_E_LENGTH_AND_CHUNKED, 70),
    ROW("CL.TE with a coding nobody knows", POST "Content-Length: 5\r\nTransfer-Encoding: x\r\n\r\n",
        H1_E_LENGTH_AND_CHUNKED, 64),
    ROW("xchunked", POST "Transfer-Encoding: xchunked\r\n\r\n", H1_E_TRANSFER_ENCODING, 45),
    ROW("chunkedx", POST "Transfer-Encoding: chunkedx\r\n\r\n", H1_E_TRANSFER_ENCODING, 45),
    ROW("quoted chunked", POST "Transfer-Encoding: \"chunked\"\r\n\r\n", H1_E_TRANSFER_ENCODING, 45),
    ROW("identity", POST "Transfer-Encoding: identity\r\n\r\n", H1_E_TRANSFER_ENCODING, 45),
    ROW("no coding", POST "Transfer-Encoding:\r\n\r\n", H1_E_TRANSFER_ENCODING, 44),
    ROW("gzip, chunked", POST "Transfer-Encoding: gzip, chunked\r\n\r\n", H1_E_TRANSFER_ENCODING, 45),
    ROW("chunked, gzip", POST "Transfer-Encoding: chunked, gzip\r\n\r\n", H1_E_TRANSFER_ENCODING, 45),
    ROW("chunked, chunked", POST "Transfer-Encoding: chunked, chunked\r\n\r\n", H1_E_TRANSFER_ENCODING, 45),
    ROW("chunked with a comma", POST "Transfer-Encoding: chunked,\r\n\r\n", H1_E_TRANSFER_ENCODING, 45),
    ROW("chunked twice", POST "Transfer-Encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
        H1_E_TRANSFER_ENCODING, 73),
    ROW("chunked, then identity", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
        H1_E_TRANSFER_ENCODING, 73),
    ROW("a coding on HTTP/1.0", "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", H1_E_TRANSFER_ENCODING, 36),

    ROW("no chunk size", CHUNKED "\r\n", H1_E_CHUNK, 56),
    ROW("a size with a sign", CHUNKED "+5\r\nhello\r\n", H1_E_CHUNK, 56),
    ROW("a negative size", CHUNKED "-1\r\n", H1_E_CHUNK, 56),
    ROW("0x", CHUNKED "0x5\r\nhello\r\n", H1_E_CHUNK, 57),
    ROW("a blank before the size", CHUNKED " 5\r\nhello\r\n", H1_E_CHUNK, 56),
    ROW("a blank behind the size", CHUNKED "5 \r\nhello\r\n", H1_E_CHUNK, 57),
    ROW("a blank before an extension", CHUNKED "5 ;a\r\nhello\r\n", H1_E_CHUNK, 57),
    ROW("two sizes", CHUNKED "5 5\r\nhello\r\n", H1_E_CHUNK, 57),
    ROW("a size of 2^63", CHUNKED "8000000000000000\r\n", H1_E_CHUNK, 71),
    ROW("a size of 2^64", CHUNKED "10000000000000000\r\n", H1_E_CHUNK, 72),
    ROW("a size of seventeen digits", CHUNKED "00000000000000005\r\nhello\r\n", H1_E_CHUNK, 72),
    ROW("no hex", CHUNKED "g\r\n", H1_E_CHUNK, 56),
    ROW("a comma for a semicolon", CHUNKED "5,a\r\nhello\r\n", H1_E_CHUNK, 57),
    ROW("NUL in an extension", CHUNKED "5;a=\0\r\nhello\r\n", H1_E_CHUNK, 60),
    ROW("bare CR in an extension", CHUNKED "5;a\rb\r\nhello\r\n", H1_E_CHUNK, 59),
    ROW("LF behind a size", CHUNKED "5\nhello\r\n", H1_E_LINE_END, 57),
    ROW("LF behind an extension", CHUNKED "5;a\nhello\r\n", H1_E_LINE_END, 59),
    ROW("LF behind the last size", CHUNKED "0\n\r\n", H1_E_LINE_END, 57),
    ROW("too much data", CHUNKED "5\r\nhello!\r\n", H1_E_CHUNK, 64),
    ROW("LF behind the data", CHUNKED "5\r\nhello\n0\r\n\r\n", H1_E_CHUNK, 64),
    ROW("CR alone behind the data", CHUNKED "5\r\nhello\r0\r\n\r\n", H1_E_CHUNK, 65),
    ROW("data and no end", CHUNKED "5\r\nhello0\r\n\r\n", H1_E_CHUNK, 64),

    ROW("blank in a trailer's name", CHUNKED "0\r\nA : b\r\n\r\n", H1_E_TRAILER, 60),
    ROW("control character in a trailer", CHUNKED "0\r\nA: \x02\r\n\r\n", H1_E_TRAILER, 62),
    ROW("a length in a trailer", CHUNKED "0\r\nA: b\r\nContent-Length: 3\r\n\r\n", H1_E_TRAILER, 65),
    ROW("a coding in a trailer", CHUNKED "0\r\ntransfer-encoding: chunked\r\n\r\n", H1_E_TRAILER, 59),
    ROW("a Host in a trailer", CHUNKED "0\r\nHost: b\r\n\r\n", H1_E_TRAILER, 59),
    ROW("folded trailer", CHUNKED "0\r\nA: b\r\n c\r\n\r\n", H1_E_TRAILER, 65),
    ROW("no trailer but a request", CHUNKED "0\r\nGET / HTTP/1.1\r\n\r\n", H1_E_TRAILER, 62),
    ROW("LF behind a trailer", CHUNKED "0\r\nA: b\n\r\n", H1_E_LINE_END, 63),
    ROW("LF for the last line", CHUNKED "0\r\n\n", H1_E_LINE_END, 59),
    ROW("CR for the last line", CHUNKED "0\r\n\rX", H1_E_LINE_END, 59),

    ROW("end in a method", "GE", H1_E_TRUNCATED, 2),
    ROW("end in the fields", GET "Ho", H1_E_TRUNCATED, 18),
    ROW("end before the blank line", GET HOST, H1_E_TRUNCATED, 25),
    ROW("end in the blank line", GET HOST "\r", H1_E_TRUNCATED, 26),
    ROW("end before the body", POST "Content-Length: 5\r\n\r\n", H1_E_TRUNCATED, 47),
    ROW("end in the body", POST "Content-Length: 5\r\n\r\nhell", H1_E_TRUNCATED, 51),
    ROW("end in a chunk size", CHUNKED "5", H1_E_TRUNCATED, 57),
    ROW("end in a chunk", CHUNKED "5\r\nhel", H1_E_TRUNCATED, 62),
    ROW("end behind a chunk's data", CHUNKED "5\r\nhello", H1_E_TRUNCATED, 64),
    ROW("end before the last chunk", CHUNKED "5\r\nhello\r\n", H1_E_TRUNCATED, 66),
    ROW("end before the trailer", CHUNKED "0\r\n", H1_E_TRUNCATED, 59),
    ROW("end in the trailer", CHUNKED "0\r\nA: b\r\n", H1_E_TRUNCATED, 65),
};

static void check_refusals(enum h1_side side, const struct refusal *rows, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const struct refusal *r = &rows[i];
        for (size_t piece = 0; piece < 2; piece++) {
            struct h1_trace t = {.side = side, .piece = piece};
            h1_trace_run(&t, (const uint8_t *)r->bytes, r->len);
            if (t.error != r->error || t.error_at != r->at)
                tap_fail(__FILE__, __LINE__, "%s, pieces of %zu: \"%s\" at %" PRIu64 ", not \"%s\" at %" PRIu64,
                         r->what, piece, h1_error_text(t.error), t.error_at, h1_error_text(r->error), r->at);
            free(t.text);
        }
    }
}

TEST(ambiguous_requests_are_refused_and_the_place_is_named) {
    check_refusals(H1_REQUEST, request_refusals, sizeof request_refusals / sizeof *request_refusals);
}

TEST(every_kind_of_error_has_a_request_that_shows_it) {
    bool seen[N_H1_ERRORS] = {[H1_E_NONE] = true, [H1_E_HEAD_TOO_LARGE] = true /* the limits' own tests */};
    for (size_t i = 0; i < sizeof request_refusals / sizeof *request_refusals; i++)
        seen[request_refusals[i].error] = true;
    for (unsigned e = 0; e < N_H1_ERRORS; e++) {
        if (!seen[e]) tap_fail(__FILE__, __LINE__, "no request for \"%s\"", h1_error_text(e));
        CHECK(strlen(h1_error_text(e)) > 5);
        if (e) CHECK(strcmp(h1_error_text(e), h1_error_text(e - 1)) != 0);
    }
}

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

TEST(a_reset_forgets_whatever_was_under_way) {
    static const char good[] = "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    struct h1 *h = h1_new(H1_REQUEST, &roomy);
    for (size_t i = 0; i < sizeof request_refusals / sizeof *request_refusals; i++) {
        size_t used;
        const uint8_t *p = (const uint8_t *)request_refusals[i].bytes;
        for (size_t at = 0; at < request_refusals[i].len; at++) { /* and every beginning of it */
            size_t done = 0;
            for (enum h1_step step = H1_HEAD; step != H1_MORE && step != H1_ERROR; done += used) {
                step = h1_feed(h, p + done, at - done, &used);
                uint64_t length;
                if (step == H1_HEAD) h1_begin_body(h, h1_request_framing(h1_head(h), &length), length);
            }
            h1_reset(h);
            CHECK(h1_between(h));
            if (h1_feed(h, BYTES(good), &used) != H1_HEAD || used != sizeof good - 1 || h1_head(h)->n_fields != 1)
                tap_fail(__FILE__, __LINE__, "%s, %zu bytes: the next head is not read", request_refusals[i].what, at);
            else
                h1_begin_body(h, FRAMING_NONE, 0);
        }
    }
    h1_free(&h);
}

TEST(long_values_in_pieces) {
    char *s = malloc(20000), *p = s + sprintf(s, GET "Host: ");
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

static const struct refusal response_refusals[] = {
    ROW("T64", "garbage\r\n\r\n", H1_E_START_LINE, 0),
    ROW("T64 without a line end", "garbage", H1_E_START_LINE, 0),
    ROW("a body where a head belongs", "<html>", H1_E_START_LINE, 0),
    ROW("an empty line first", "\r\nHTTP/1.1 200 OK\r\n\r\n", H1_E_START_LINE, 0),
    ROW("HTTPS", "HTTPS/1.1 200 OK\r\n", H1_E_START_LINE, 4),
    ROW("no version", "HTTP/ 200 OK\r\n", H1_E_START_LINE, 5),
    ROW("ICY", "ICY 200 OK\r\n", H1_E_START_LINE, 0),
    ROW("HTTP/2", "HTTP/2.0 200 OK\r\n", H1_E_VERSION, 0),
    ROW("no status", "HTTP/1.1\r\n", H1_E_START_LINE, 8),
    ROW("a status of two digits", "HTTP/1.1 20 OK\r\n", H1_E_START_LINE, 11),
    ROW("a status of four digits", "HTTP/1.1 2000 OK\r\n", H1_E_START_LINE, 12),
    ROW("a status below 100", "HTTP/1.1 099 OK\r\n", H1_E_START_LINE, 9),
    ROW("a status with a sign", "HTTP/1.1 +20 OK\r\n", H1_E_START_LINE, 9),
    ROW("a control character in the reason", "HTTP/1.1 200 O\x01K\r\n", H1_E_START_LINE, 14),
    ROW("bare CR in the reason", "HTTP/1.1 200 O\rK\r\n", H1_E_START_LINE, 14),
    ROW("T53", OK "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", H1_E_CONTENT_LENGTH, 52),
    ROW("R42 lengths that differ, on a 204", "HTTP/1.1 204 N\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        H1_E_CONTENT_LENGTH, 51),
    ROW("R42 negative", OK "Content-Length: -1\r\n\r\n", H1_E_CONTENT_LENGTH, 33),
    ROW("R42 a list", OK "Content-Length: 5, 5\r\n\r\n", H1_E_CONTENT_LENGTH, 33),
    ROW("R42 2^63", OK "Content-Length: 9223372036854775808\r\n\r\n", H1_E_CONTENT_LENGTH, 33),
    ROW("T54", OK "Transfer-Encoding: gzip, chunked\r\n\r\n", H1_E_TRANSFER_ENCODING, 36),
    ROW("R42 identity", OK "Transfer-Encoding: identity\r\n\r\n", H1_E_TRANSFER_ENCODING, 36),
    ROW("R42 a bad coding on a 204", "HTTP/1.1 204 N\r\nTransfer-Encoding: gzip\r\n\r\n", H1_E_TRANSFER_ENCODING, 35),
    ROW("R42 two fields", OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", H1_E_TRANSFER_ENCODING,
        64),
    ROW("R42 a bad coding, then chunked", OK "Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n",
        H1_E_TRANSFER_ENCODING, 36),
    ROW("folded", OK "A: b\r\n c\r\n\r\n", H1_E_OBS_FOLD, 23),
    ROW("folded behind an LF", OK "A: b\n c\r\n\r\n", H1_E_OBS_FOLD, 22),
    ROW("bare CR in a value", OK "A: b\rc\r\n\r\n", H1_E_FIELD_VALUE, 22),
    ROW("blank before the colon", OK "A : b\r\n\r\n", H1_E_FIELD_NAME, 18),
    ROW("no colon, LF", OK "Foo\n\r\n", H1_E_FIELD_NAME, 20),
    ROW("T108", "HTTP/1.1 2", H1_E_TRUNCATED, 10),
    ROW("T57", OK "Content-Length: 100\r\n\r\nhello", H1_E_TRUNCATED, 45),
    ROW("T58", OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", H1_E_TRUNCATED, 60),
    ROW("LF behind a size", OK "Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n", H1_E_LINE_END, 48),
    ROW("a blank before an extension, of which Go makes an error too", OK "Transfer-Encoding: chunked\r\n\r\n5 ;a\r\n",
        H1_E_CHUNK, 48),
    ROW("T27", OK "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX", H1_E_CHUNK, 55),
};

TEST(R42_malformed_responses) {
    check_refusals(H1_RESPONSE, response_refusals, sizeof response_refusals / sizeof *response_refusals);
}

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
    char *s = malloc(9000), *p = s + sprintf(s, GET HOST "Connection: , ,,");
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

/* --- however it is cut --- */

static const struct {
    enum h1_side side;
    const char *bytes;
} streams[] = {
    {H1_REQUEST,
     "\r\nPOST /x?y HTTP/1.1\r\nHost: a.b:80\r\nX-Foo:  bar \t\r\nConnection: X-Foo, Keep-Alive\r\nEmpty:\r\nE2:  \r\n"
     "Keep-Alive: 5\r\nTransfer-Encoding: chunked\r\n\r\n5;e=\"f\"\r\nhello\r\n00\r\nA: b\r\nBc:  d \r\n\r\n"
     "GET / HTTP/1.1\r\nhost:x\r\n\r\nPUT / HTTP/1.0\r\nContent-Length: 3\r\ncontent-length: 3\r\n\r\nabc"},
    {H1_RESPONSE, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nServer: s\r\nX:\r\nContent-Length: 11\r\nETag: "
                  "\"\xc3\xa9\"\r\n\r\nhello world"
                  "HTTP/1.1 204\r\n\r\nHTTP/1.1 200 OK\nConnection: a , close\nA: b \r\n\nuntil the end\r\n\r\n"},
    {H1_RESPONSE, "HTTP/1.1 200 OK\nContent-Length: 3\nTransfer-Encoding: chunked\n\n3  "
                  "\r\nabc\r\n1\r\n\n\r\n0;x\r\nT: u\r\nHost: x\r\n\r\nHTTP/1.1 2"},
};

static void check_cut(enum h1_side side, const char *s, size_t len, const char *whole, struct h1_trace t,
                      const char *how, size_t n) {
    t.side = side;
    h1_trace_run(&t, (const uint8_t *)s, len);
    if (strcmp(t.text, whole) != 0)
        tap_fail(__FILE__, __LINE__, "%s %zu reads differently:\n%s\nnot\n%s", how, n, t.text, whole);
    free(t.text);
}

/* Two pieces at every place, and every size of piece. */
static void check_every_cut(enum h1_side side, const char *s, size_t len) {
    struct h1_trace whole = {.side = side};
    h1_trace_run(&whole, (const uint8_t *)s, len);
    for (size_t piece = 1; piece <= len; piece++)
        check_cut(side, s, len, whole.text, (struct h1_trace){.piece = piece}, "pieces of", piece);
    check_cut(side, s, len, whole.text, (struct h1_trace){.resets = true}, "reset between messages, pieces of", 0);
    free(whole.text);
}

TEST(every_piece_size_reads_the_same) {
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++)
        check_every_cut(streams[i].side, streams[i].bytes, strlen(streams[i].bytes));
    for (size_t i = 0; i < sizeof request_refusals / sizeof *request_refusals; i++)
        check_every_cut(H1_REQUEST, request_refusals[i].bytes, request_refusals[i].len);
    for (size_t i = 0; i < sizeof response_refusals / sizeof *response_refusals; i++)
        check_every_cut(H1_RESPONSE, response_refusals[i].bytes, response_refusals[i].len);
}

TEST(every_pair_of_cuts_reads_the_same) {
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
        const uint8_t *s = (const uint8_t *)streams[i].bytes;
        size_t len = strlen(streams[i].bytes);
        struct h1_trace whole = {.side = streams[i].side};
        h1_trace_run(&whole, s, len);
        for (size_t cut = 0; cut <= len; cut++) {
            struct h1 *h = h1_new(streams[i].side, &roomy);
            size_t at = 0, messages = 0;
            for (unsigned part = 0; part < 2; part++) {
                size_t end = part ? len : cut, used;
                enum h1_step step;
                do {
                    step = h1_feed(h, s + at, end - at, &used);
                    at += used;
                    if (step == H1_HEAD) {
                        uint64_t length;
                        enum body_framing f = streams[i].side == H1_REQUEST
                                                  ? h1_request_framing(h1_head(h), &length)
                                                  : h1_response_framing(h1_head(h), false, &length);
                        h1_begin_body(h, f, length);
                        messages += f == FRAMING_NONE;
                    }
                    messages += step == H1_DONE;
                } while (step != H1_MORE && step != H1_ERROR);
            }
            messages += h1_eof(h) == H1_DONE && i == 1;
            if (messages != whole.messages)
                tap_fail(__FILE__, __LINE__, "stream %zu cut at %zu: %zu messages", i, cut, messages);
            h1_free(&h);
        }
        free(whole.text);
    }
}

TEST(random_cuts_and_skips_read_the_same) {
    uint32_t seed = (uint32_t)time(NULL);
    if (getenv("SEED")) seed = (uint32_t)strtoul(getenv("SEED"), NULL, 0);
    printf("# SEED=%u\n", seed);
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
        size_t len = strlen(streams[i].bytes);
        struct h1_trace whole = {.side = streams[i].side}, head_only = {.side = streams[i].side, .head_only = true};
        h1_trace_run(&whole, (const uint8_t *)streams[i].bytes, len);
        h1_trace_run(&head_only, (const uint8_t *)streams[i].bytes, len);
        for (unsigned round = 0; round < 500; round++) {
            seed = seed * 1664525u + 1013904223u;
            struct h1_trace t = {.seed = seed | 1, .piece = 1 + (seed >> 8) % 40, .resets = round & 1};
            check_cut(streams[i].side, streams[i].bytes, len, whole.text, t, "random cuts,", round);
            t.skip = true;
            check_cut(streams[i].side, streams[i].bytes, len, whole.text, t, "random cuts and skips,", round);
            t.skip = false;
            t.head_only = true;
            check_cut(streams[i].side, streams[i].bytes, len, head_only.text, t, "random cuts of answers to HEAD,",
                      round);
        }
        free(whole.text);
        free(head_only.text);
    }
}

int main(void) {
    return tap_run();
}

/* HTTP/1 framing: what is refused and where; and that messages, good or refused, are
 * the same at every way of cutting them into pieces. */
#include "core/h1.h"

#include "h1_trace.h"
#include "tap.h"

#include <time.h>

static const struct h1_limits roomy = {1u << 20, 1000, 4096};

/* --- requests --- */

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

/* --- responses --- */

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

/* --- afterwards --- */

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
            if (h1_feed(h, (const uint8_t *)good, sizeof good - 1, &used) != H1_HEAD || used != sizeof good - 1 ||
                h1_head(h)->n_fields != 1)
                tap_fail(__FILE__, __LINE__, "%s, %zu bytes: the next head is not read", request_refusals[i].what, at);
            else
                h1_begin_body(h, FRAMING_NONE, 0);
        }
    }
    h1_free(&h);
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

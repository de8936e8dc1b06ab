/* What a response means for its connection: the order of R45-R49, interim answers,
 * Expect, phases, and the read sizes that decide FIN or RST. */
#include "core/exchange.h"

#include "tap.h"

struct said {
    enum head_verdict verdict;
    struct exchange x;
};

/* One exchange: a request, then these response heads one after another. */
static struct said exchange_of(struct exchange_request rq, const char *heads) {
    static const struct h1_limits limits = {1u << 16, 100, 4096};
    struct said s;
    struct h1 *h = h1_new(H1_RESPONSE, &limits);
    exchange_begin(&s.x, &rq);
    s.verdict = HEAD_MALFORMED;
    for (size_t used, len = strlen(heads); len > 0; heads += used, len -= used) {
        if (h1_feed(h, (const uint8_t *)heads, len, &used) != H1_HEAD) {
            tap_fail(__FILE__, __LINE__, "not a head: %s", heads);
            break;
        }
        s.verdict = exchange_head(&s.x, h1_head(h));
        h1_begin_body(h, FRAMING_NONE, 0);
    }
    h1_free(&h);
    return s;
}

#define PLAIN ((struct exchange_request){0})
#define OK    "HTTP/1.1 200 OK\r\n"
#define EARLY "HTTP/1.1 103 Early Hints\r\n\r\n"

static enum close_reason why(const struct exchange *x, bool grace_over, bool left_over) {
    enum close_reason reason = N_REASONS;
    enum keep_verdict v = exchange_keep(x, grace_over, left_over, &reason);
    CHECK_EQ(v == KEEP_NO, reason != REASON_NONE);
    return reason;
}

static enum keep_verdict keep(const struct exchange *x, bool grace_over) {
    enum close_reason reason;
    return exchange_keep(x, grace_over, false, &reason);
}

/* The response is read to its end and the request is written. */
static struct exchange finished(struct exchange_request rq, const char *head) {
    struct said s = exchange_of(rq, head);
    s.x.write = WRITE_DONE;
    s.x.body_eof = true;
    return s.x;
}

TEST(before_any_answer) {
    struct exchange x;
    exchange_begin(&x, &(struct exchange_request){.has_body = true, .expect_continue = true, .is_upgrade = true});
    CHECK_EQ(x.write, WRITE_NOTHING);
    CHECK_EQ(x.expect, EXPECT_WAITING);
    CHECK(!x.first_byte && !x.body_eof && x.is_upgrade && x.status == 0);
    exchange_begin(&x, &(struct exchange_request){.expect_continue = true});
    CHECK_EQ(x.expect, EXPECT_NO); /* it has no body to hold back */
}

TEST(R44_which_responses_have_a_body) {
    static const struct {
        const char *vector, *head;
        bool head_only;
        enum head_verdict verdict;
        uint64_t announced;
    } rows[] = {
        {"T1", OK "Content-Length: 5\r\n\r\n", false, HEAD_BODY, 5},
        {"T9", OK "Transfer-Encoding: chunked\r\n\r\n", false, HEAD_BODY, UNKNOWN_BYTES},
        {"T29", OK "Content-Length: 123\r\n\r\n", true, HEAD_NO_BODY, 0},
        {"T29 chunked", OK "Transfer-Encoding: chunked\r\n\r\n", true, HEAD_NO_BODY, 0},
        {"T30 204", "HTTP/1.1 204 No Content\r\n\r\n", false, HEAD_NO_BODY, 0},
        {"T30 304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n", false, HEAD_NO_BODY, 0},
        {"T30 length 0", OK "Content-Length: 0\r\n\r\n", false, HEAD_NO_BODY, 0},
        {"T48", "HTTP/1.0 200 OK\r\n\r\n", false, HEAD_BODY, UNKNOWN_BYTES},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct said s = exchange_of((struct exchange_request){.head_only = rows[i].head_only}, rows[i].head);
        if (s.verdict != rows[i].verdict || s.x.body_announced != rows[i].announced)
            tap_fail(__FILE__, __LINE__, "%s: verdict %d, announced %" PRIu64, rows[i].vector, s.verdict,
                     s.x.body_announced);
        CHECK_EQ(s.x.body_eof, s.verdict == HEAD_NO_BODY);
        CHECK(s.x.first_byte);
    }
}

TEST(R45_R47_what_the_two_sides_said) {
    static const struct {
        const char *vector, *head;
        bool request_close;
        enum close_reason why;
    } rows[] = {
        {"T1", OK "Content-Length: 5\r\n\r\n", false, REASON_NONE},
        {"T37", OK "Connection: close\r\nContent-Length: 5\r\n\r\n", false, REASON_RESPONSE_CLOSE},
        {"T39", "HTTP/1.1 204 N\r\nConnection: close\r\n\r\n", false, REASON_RESPONSE_CLOSE},
        {"T40", OK "Content-Length: 5\r\n\r\n", true, REASON_REQUEST_CLOSE},
        {"(a) comes before (b)", OK "Connection: close\r\nContent-Length: 5\r\n\r\n", true, REASON_RESPONSE_CLOSE},
        {"T45", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", false, REASON_RESPONSE_CLOSE},
        {"T46", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\n", false, REASON_NONE},
        {"T48", "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", false, REASON_UNTIL_EOF},
        {"T50", OK "\r\n", false, REASON_UNTIL_EOF},
        {"T50 and close", OK "Connection: close\r\n\r\n", true, REASON_UNTIL_EOF},
        {"T52", OK "Transfer-Encoding: chunked\r\nContent-Length: 99\r\n\r\n", false, REASON_NONE},
        {"T65", "HTTP/1.1 101 Switching Protocols\r\n\r\n", false, REASON_RESPONSE_CLOSE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct exchange x = finished((struct exchange_request){.request_close = rows[i].request_close}, rows[i].head);
        enum close_reason got = why(&x, false, false);
        if (got != rows[i].why) tap_fail(__FILE__, __LINE__, "%s: %d", rows[i].vector, got);
    }
}

TEST(R64_a_body_given_up_is_named_so_whatever_else_holds) {
    struct exchange x = exchange_of(PLAIN, OK "Content-Length: 5\r\n\r\n").x;
    CHECK_EQ(why(&x, false, false), REASON_EARLY_CLOSE); /* T4; the write is not even waited for */
    x = exchange_of((struct exchange_request){.request_close = true}, OK "Connection: close\r\n\r\n").x;
    CHECK_EQ(why(&x, true, true), REASON_EARLY_CLOSE); /* T51 */
    x.canceled = true;
    CHECK_EQ(why(&x, false, false), REASON_EARLY_CLOSE);
    x = exchange_of(PLAIN, EARLY).x;
    CHECK_EQ(why(&x, false, false), REASON_CANCELED); /* no final head yet */
}

TEST(R48_the_write_is_waited_for_and_not_for_ever) {
    struct exchange x = finished(PLAIN, OK "Content-Length: 0\r\n\r\n");
    for (enum write_state w = WRITE_NOTHING; w <= WRITE_PART; w++) {
        x.write = w;
        CHECK_EQ(keep(&x, false), KEEP_WAIT_WRITE); /* T116 */
        CHECK_EQ(why(&x, true, false), REASON_UPLOAD_UNFINISHED);
    }
    x.write = WRITE_FAILED;
    CHECK_EQ(why(&x, false, false), REASON_WRITE_ERROR);
    x.write = WRITE_DONE;
    CHECK_EQ(keep(&x, false), KEEP_YES); /* T117 */
    x.write = WRITE_PART;
    x.response_close = true;
    CHECK_EQ(why(&x, false, false), REASON_RESPONSE_CLOSE); /* short-circuit: no wait */
    CHECK_EQ(WRITE_GRACE, 50 * 1000000);
}

TEST(R49_R75_cancellation_then_bytes_left_over) {
    struct exchange x = finished(PLAIN, OK "Content-Length: 5\r\n\r\n");
    CHECK_EQ(why(&x, false, true), REASON_UNSOLICITED_RESPONSE); /* T34 */
    x.canceled = true;
    CHECK_EQ(why(&x, false, true), REASON_CANCELED);
    x.canceled = false;
    x.write = WRITE_PART;
    enum close_reason reason;
    CHECK_EQ(exchange_keep(&x, false, true, &reason), KEEP_WAIT_WRITE);
}

TEST(T125_the_sixth_interim_answer_is_one_too_many) {
    struct said s = exchange_of(PLAIN, EARLY EARLY EARLY EARLY EARLY);
    CHECK_EQ(s.verdict, HEAD_INTERIM);
    CHECK_EQ(s.x.n_interim, 5);
    CHECK_EQ(s.x.status, 0);
    CHECK_EQ(exchange_of(PLAIN, EARLY EARLY EARLY EARLY EARLY EARLY).verdict, HEAD_MALFORMED);
    CHECK_EQ(exchange_of(PLAIN, EARLY EARLY EARLY EARLY EARLY OK "Content-Length: 5\r\n\r\n").verdict, HEAD_BODY);
}

TEST(R81_R82_switching_protocols) {
    static const char asked[] = "HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    struct exchange_request upgrade = {.is_upgrade = true};
    struct said s = exchange_of(upgrade, asked);
    CHECK_EQ(s.verdict, HEAD_SWITCH);
    CHECK(s.x.switched && !s.x.body_eof && s.x.body_announced == UNKNOWN_BYTES);
    CHECK_EQ(why(&s.x, false, false), REASON_UPGRADED);
    CHECK_EQ(exchange_of(PLAIN, asked).verdict, HEAD_NO_BODY); /* not asked for */
    CHECK_EQ(exchange_of(upgrade, "HTTP/1.1 101 S\r\nUpgrade: websocket\r\n\r\n").verdict, HEAD_NO_BODY);
    CHECK_EQ(exchange_of(upgrade, "HTTP/1.1 101 S\r\nConnection: Upgrade\r\n\r\n").verdict, HEAD_NO_BODY);
    CHECK_EQ(exchange_of(upgrade, OK "Connection: Upgrade\r\nUpgrade: x\r\nContent-Length: 1\r\n\r\n").verdict,
             HEAD_BODY);
}

TEST(R121_expect) {
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n", no[] = "HTTP/1.1 417 No\r\nContent-Length: 0\r\n\r\n";
    struct exchange_request expecting = {.has_body = true, .expect_continue = true};
    struct said s = exchange_of(expecting, go_on);
    CHECK_EQ(s.verdict, HEAD_CONTINUE); /* T122 */
    CHECK_EQ(s.x.expect, EXPECT_GO);
    CHECK_EQ(s.x.write, WRITE_NOTHING);
    CHECK_EQ(exchange_of(PLAIN, go_on).verdict, HEAD_INTERIM); /* nobody waits for it */
    s = exchange_of(expecting, EARLY);
    CHECK_EQ(s.verdict, HEAD_INTERIM);
    CHECK_EQ(s.x.expect, EXPECT_WAITING);
    s = exchange_of(expecting, no); /* T123 */
    CHECK_EQ(s.x.expect, EXPECT_REFUSED);
    CHECK_EQ(s.x.write, WRITE_DONE);
    CHECK_EQ(keep(&s.x, false), KEEP_YES);
    struct exchange x;
    exchange_begin(&x, &expecting);
    x.expect = EXPECT_GO; /* the time was up and the body flows */
    x.write = WRITE_PART;
    static const struct h1_head final = {.status = 417, .major = 1, .minor = 1};
    exchange_head(&x, &final);
    CHECK_EQ(x.expect, EXPECT_GO);
    CHECK_EQ(keep(&x, false), KEEP_WAIT_WRITE);
}

TEST(R93_R114_why_reading_ended) {
    struct exchange x;
    exchange_begin(&x, &PLAIN);
    CHECK_EQ(exchange_read_end(&x, true), REASON_SERVER_CLOSED); /* T110 */
    CHECK_EQ(exchange_read_end(&x, false), REASON_READ_ERROR);   /* T103 */
    x = exchange_of(PLAIN, OK "Content-Length: 100\r\n\r\n").x;
    CHECK_EQ(exchange_read_end(&x, true), REASON_SERVER_CLOSED); /* T57 */
    CHECK_EQ(exchange_read_end(&x, false), REASON_READ_ERROR);
    x.body_eof = true; /* it waits for the write */
    CHECK_EQ(exchange_read_end(&x, true), REASON_SERVER_CLOSED_IDLE);
    x.write = WRITE_FAILED;
    CHECK_EQ(exchange_read_end(&x, true), REASON_WRITE_ERROR);
    x.canceled = true;
    CHECK_EQ(exchange_read_end(&x, false), REASON_CANCELED);
}

TEST(phases) {
    struct exchange x;
    exchange_begin(&x, &PLAIN);
    CHECK_EQ(exchange_phase(&x, false, false), PHASE_IN_REQUEST);
    CHECK_EQ(exchange_phase(&x, true, false), PHASE_IN_HEADERS);
    x = exchange_of(PLAIN, EARLY).x;
    CHECK_EQ(exchange_phase(&x, false, false), PHASE_IN_REQUEST);
    x = exchange_of(PLAIN, OK "Content-Length: 5\r\n\r\n").x;
    x.body_read = 4;
    CHECK_EQ(exchange_phase(&x, false, false), PHASE_IN_BODY);
    x.body_read = 5;
    CHECK_EQ(exchange_phase(&x, false, false), PHASE_AFTER_BODY);
    x.body_eof = true;
    CHECK_EQ(exchange_phase(&x, false, false), PHASE_IDLE);
    x = exchange_of(PLAIN, OK "Transfer-Encoding: chunked\r\n\r\n").x;
    CHECK_EQ(exchange_phase(&x, false, false), PHASE_IN_BODY);
    CHECK_EQ(exchange_phase(&x, false, true), PHASE_AFTER_BODY);
}

TEST(R76_bytes_on_an_idle_connection) {
    static const struct {
        const char *bytes;
        enum close_reason why;
    } rows[] = {
        {"HTTP/1.1 408 Request Timeout\r\n", REASON_SERVER_CLOSED_IDLE}, /* T70 */
        {"HTTP/1.0 408", REASON_SERVER_CLOSED_IDLE},
        {"HTTP/1.x 408x", REASON_SERVER_CLOSED_IDLE},
        {"HTTP/1.1 40", REASON_UNSOLICITED_RESPONSE},
        {"HTTP/1.1 400 ", REASON_UNSOLICITED_RESPONSE},
        {"HTTP/2.0 408", REASON_UNSOLICITED_RESPONSE},
        {"x", REASON_UNSOLICITED_RESPONSE}, /* T71 */
        {"HTTP/1.1 200 OK\r\n", REASON_UNSOLICITED_RESPONSE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        CHECK_EQ(exchange_idle_bytes((const uint8_t *)rows[i].bytes, strlen(rows[i].bytes)), rows[i].why);
}

TEST(R100_read_sizes) {
    const size_t rb = 4096, cb = 32768;
    CHECK_EQ(exchange_read_size(rb, 0, false, 0, cb), 4096);   /* T10: an empty buffer is filled */
    CHECK_EQ(exchange_read_size(rb, 100, false, 0, cb), 3996); /* a head came in part */
    CHECK_EQ(exchange_read_size(rb, 4095, false, 0, cb), 1);
    CHECK_EQ(exchange_read_size(rb, 4096, false, 0, cb), 4096); /* a line longer than the buffer */
    CHECK_EQ(exchange_read_size(rb, 5000, false, 0, cb), 3192);
    CHECK_EQ(exchange_read_size(rb, 3, true, 0, cb), 4093);    /* between chunks */
    CHECK_EQ(exchange_read_size(rb, 0, true, 4095, cb), 4096); /* one fill, perhaps beyond the body */
    CHECK_EQ(exchange_read_size(rb, 0, true, 1, cb), 4096);
    CHECK_EQ(exchange_read_size(rb, 0, true, 4096, cb), 4096); /* straight into the caller's slice */
    CHECK_EQ(exchange_read_size(rb, 0, true, 5000, cb), 5000);
    CHECK_EQ(exchange_read_size(rb, 0, true, 1 << 20, cb), 32768);
    CHECK_EQ(exchange_read_size(rb, 0, true, UNKNOWN_BYTES, cb), 32768);
    CHECK_EQ(exchange_read_size(rb, 0, true, 1 << 20, 1000), 4096); /* a small slice: the buffer is filled */
    CHECK_EQ(exchange_read_size(16384, 0, true, 9000, cb), 16384);  /* T13 */
}

TEST(draining_in_the_go127_profile) {
    static const struct {
        const char *head;
        bool may;
    } rows[] = {
        {OK "Content-Length: 262144\r\n\r\n", true},
        {OK "Content-Length: 262145\r\n\r\n", false},
        {OK "Transfer-Encoding: chunked\r\n\r\n", true},
        {OK "\r\n", false}, /* its connection cannot be kept */
        {OK "Connection: close\r\nContent-Length: 5\r\n\r\n", false},
        {OK "Content-Length: 0\r\n\r\n", false}, /* nothing to drain */
        {EARLY, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct exchange x = exchange_of(PLAIN, rows[i].head).x;
        if (exchange_may_drain(&x) != rows[i].may) tap_fail(__FILE__, __LINE__, "%s", rows[i].head);
    }
    struct exchange x = exchange_of(PLAIN, OK "Content-Length: 5\r\n\r\n").x;
    x.canceled = true;
    CHECK(!exchange_may_drain(&x));
    x.canceled = false;
    x.write = WRITE_FAILED;
    CHECK(!exchange_may_drain(&x));
    x = exchange_of((struct exchange_request){.request_close = true}, OK "Content-Length: 5\r\n\r\n").x;
    CHECK(!exchange_may_drain(&x));
}

int main(void) {
    return tap_run();
}

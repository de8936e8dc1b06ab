/* Transcripts: what was said byte for byte, with its marks; and what it costs when nobody asks. */
#include "talk.h"

static void begin(size_t bytes) {
    struct wire_limits limits = WIRE_LIMITS_DEFAULT;

    talk_begin();
    wire_free(&t.w);
    limits.transcript_bytes = bytes;
    t.w = wire_new(&limits);
    handshake();
}

static const struct wire_mark *mark(enum wire_mark_kind kind, unsigned nth) {
    for (uint32_t i = 0; i < rec->transcript->n_marks; i++)
        if (rec->transcript->marks[i].kind == kind && nth-- == 0) return &rec->transcript->marks[i];
    return NULL;
}

TEST(nobody_asked) {
    start();
    say(CLIENT, GET);
    finish();
    CHECK(rec->transcript == NULL);
}

TEST(both_streams_and_where_messages_begin_and_end) {
    begin(1 << 20);
    say(CLIENT, GET);
    say(SERVER, "HTTP/1.1 103 Early\r\n\r\n" OK(3) "ab");
    say(SERVER, "cxx");
    finish();
    const struct wire_transcript *x = rec->transcript;
    CHECK_EQ(x->n_parts, 3);
    CHECK(!x->parts[0].from_server && x->parts[1].from_server);
    CHECK_EQ(x->parts[0].len, strlen(GET));
    CHECK(!memcmp(x->parts[0].bytes, GET, strlen(GET)));
    CHECK(!memcmp(x->parts[2].bytes, "cxx", 3));
    CHECK_EQ(mark(MARK_REQUEST, 0)->end, strlen(GET));
    CHECK_EQ(mark(MARK_INTERIM, 0)->off, 0);
    CHECK_EQ(mark(MARK_RESPONSE, 0)->off, strlen("HTTP/1.1 103 Early\r\n\r\n"));
    CHECK_EQ(mark(MARK_RESPONSE, 0)->end, strlen("HTTP/1.1 103 Early\r\n\r\n" OK(3)));
    CHECK_EQ(mark(MARK_RESPONSE_DONE, 0)->off, x->parts[2].off + 1);
    CHECK_EQ(mark(MARK_RESPONSE_DONE, 0)->part, 2);
}

TEST(answers_name_their_requests) {
    begin(1 << 20);
    say(CLIENT, GET GET);
    say(SERVER, OK(0) OK(0));
    finish();
    CHECK_EQ(mark(MARK_REQUEST, 1)->exchange, 1);
    CHECK_EQ(mark(MARK_RESPONSE, 1)->exchange, 1);
    CHECK_EQ(mark(MARK_RESPONSE_DONE, 1)->exchange, 1);
}

TEST(what_is_missing_keeps_its_place) {
    begin(1 << 20);
    say(CLIENT, GET);
    say(SERVER, OK(3000) "a");
    lose(SERVER, 2000);
    for (int i = 0; i < 20; i++) {
        ack(CLIENT);
        say_n(SERVER, 1);
    }
    finish();
    const struct wire_transcript *x = rec->transcript;
    uint64_t lacks = 0;
    for (uint32_t i = 0; i < x->n_parts; i++)
        if (!x->parts[i].bytes) lacks += x->parts[i].len;
    CHECK_EQ(lacks, 2000);
}

TEST(more_bytes_than_may_be_kept_are_counted_only) {
    begin(strlen(GET) + 10);
    say(CLIENT, GET);
    say_n(SERVER, 100);
    finish();
    CHECK(rec->transcript->parts[0].bytes != NULL);
    CHECK(rec->transcript->parts[1].bytes == NULL);
    CHECK_EQ(rec->transcript->parts[1].len, 100);
}

TEST(a_window_that_goes_down_is_told) {
    begin(1 << 20);
    say(CLIENT, GET);
    say(SERVER, OK(3000) "a");
    ack(CLIENT);
    CHECK_EQ(t.packet, 6);
    say_n(SERVER, 400);
    t.window[CLIENT] = 100;
    ack(CLIENT);
    t.window[CLIENT] = 500;
    ack(CLIENT);
    finish();
    const struct wire_transcript *x = rec->transcript;
    CHECK_EQ(x->n_windows, 2);
    CHECK(!x->windows[0].from_server);
    CHECK_EQ(x->windows[0].edge, strlen(OK(3000)) + 1 + 400 + 100);
    CHECK_EQ(x->windows[1].edge, strlen(OK(3000)) + 1 + 400 + 500);
}

int main(void) {
    int rc = tap_run();
    talk_end();
    return rc;
}

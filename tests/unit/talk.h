/* A connection as two ends speak it, for tests of the wire analyser: say what is sent,
 * segments with the right numbers come out; or change them on the way. */
#ifndef CONNLEAK_TEST_TALK_H
#define CONNLEAK_TEST_TALK_H

#include "tap.h"

#include "wire/wire.h"

enum { CLIENT, SERVER };

struct talk {
    struct wire *w;
    uint64_t packet;
    int64_t now;
    uint32_t seq[2];
    uint16_t port, window[2];
    uint8_t scale;
};

static struct talk t;
static struct wire_record *rec;

__attribute__((unused)) static void talk_begin(void) {
    static struct wire_limits limits = WIRE_LIMITS_DEFAULT;
    wire_record_free(&rec);
    wire_free(&t.w);
    t = (struct talk){.w = wire_new(&limits),
                      .now = SEC(1000),
                      .seq = {1000, 5000},
                      .port = 4000,
                      .window = {500, 500},
                      .scale = WIRE_NO_SCALE};
}

static struct wire_segment segment(int from, uint8_t flags, const void *data, size_t len) {
    struct wire_segment s = {.at_ns = t.now,
                             .flags = flags,
                             .payload = data,
                             .captured = (uint32_t)len,
                             .len = (uint32_t)len,
                             .seq = t.seq[from],
                             .ack = t.seq[!from],
                             .window = t.window[from],
                             .window_scale = t.scale};
    s.packet = ++t.packet;
    s.ident = (uint32_t)t.packet << 16;
    s.src.family = s.dst.family = ADDR_V4;
    s.src.addr[0] = s.dst.addr[0] = 10;
    s.src.addr[3] = (uint8_t)(1 + from), s.dst.addr[3] = (uint8_t)(2 - from);
    s.src.port = from == CLIENT ? t.port : 80;
    s.dst.port = from == CLIENT ? 80 : t.port;
    t.seq[from] += (uint32_t)len + ((flags & (TCP_SYN | TCP_FIN)) != 0);
    t.now += MSEC(1);
    return s;
}
static void feed(struct wire_segment s) {
    wire_feed(t.w, &s);
}
__attribute__((unused)) static void say(int from, const char *text) {
    feed(segment(from, TCP_ACK | TCP_PSH, text, strlen(text)));
}
__attribute__((unused)) static void say_n(int from, size_t n) {
    static char filler[1 << 20];
    feed(segment(from, TCP_ACK, filler, n));
}
__attribute__((unused)) static void flags(int from, uint8_t f) {
    feed(segment(from, f, NULL, 0));
}
__attribute__((unused)) static void ack(int from) {
    flags(from, TCP_ACK);
}
/* These bytes pass, and are not in the capture. */
__attribute__((unused)) static void lose(int from, size_t n) {
    t.seq[from] += (uint32_t)n;
}
__attribute__((unused)) static void handshake(void) {
    flags(CLIENT, TCP_SYN);
    flags(SERVER, TCP_SYN | TCP_ACK);
    ack(CLIENT);
}
__attribute__((unused)) static void start(void) {
    talk_begin();
    handshake();
}
/* Ends the capture; the first record is in rec. */
__attribute__((unused)) static void finish(void) {
    wire_finish(t.w);
    wire_record_free(&rec);
    rec = wire_next(t.w);
    CHECK(rec != NULL);
    if (!rec) abort();
}
__attribute__((unused)) static void talk_end(void) {
    wire_record_free(&rec);
    wire_free(&t.w);
}

#define GET        "GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n"
#define OK(length) "HTTP/1.1 200 OK\r\nContent-Length: " #length "\r\n\r\n"
#define KNOWN(bit) ((rec->life.known & (bit)) != 0)

#endif

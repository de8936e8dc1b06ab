/* HTTP on reassembled streams. The input is what the two ends say in turns: a length
 * (two bytes, the highest bit for the server), then so many bytes. It is fed as it
 * stands and in small pieces: where both were read without a doubt, they must agree. */
#include "wire/wire.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MUST(cond)                                                                                                     \
    do {                                                                                                               \
        if (!(cond)) abort();                                                                                          \
    } while (0)

struct talk {
    struct wire *w;
    uint64_t packets;
    uint32_t seq[2];
};

static void say(struct talk *t, int from, uint8_t flags, const uint8_t *data, uint32_t len) {
    struct wire_segment s = {.at_ns = (int64_t)t->packets * USEC(10) + 1,
                             .flags = flags,
                             .payload = data,
                             .captured = len,
                             .len = len,
                             .seq = t->seq[from],
                             .ack = t->seq[!from],
                             .window = 65535,
                             .window_scale = WIRE_NO_SCALE,
                             .ident = (uint32_t)t->packets << 16};
    s.packet = ++t->packets;
    s.src.family = s.dst.family = ADDR_V4;
    s.src.port = from ? 80 : 4000;
    s.dst.port = from ? 4000 : 80;
    wire_feed(t->w, &s);
    t->seq[from] += len + ((flags & (TCP_SYN | TCP_FIN)) != 0);
}

static struct wire_record *read_all(const uint8_t *data, size_t len, bool bytewise) {
    struct wire_limits limits = WIRE_LIMITS_DEFAULT;
    struct talk t = {.w = wire_new(&limits), .seq = {1000, 0xffffff00u}};
    struct wire_record *r;
    uint8_t end = len ? data[len - 1] : 0;

    say(&t, 0, TCP_SYN, NULL, 0);
    say(&t, 1, TCP_SYN | TCP_ACK, NULL, 0);
    say(&t, 0, TCP_ACK, NULL, 0);
    while (len >= 2) {
        int from = data[0] >> 7;
        size_t n = (size_t)(data[0] & 0x7f) << 8 | data[1];
        data += 2;
        len -= 2;
        if (n > len) n = len;
        if (bytewise)
            for (size_t i = 0, step; i < n; i += step) {
                step = i < 200 ? 1 : n - i < 31 ? n - i : 31;
                say(&t, from, TCP_ACK | TCP_PSH, data + i, (uint32_t)step);
            }
        else if (n)
            say(&t, from, TCP_ACK | TCP_PSH, data, (uint32_t)n);
        data += n;
        len -= n;
    }
    if (end & 1) say(&t, end >> 1 & 1, TCP_ACK | TCP_FIN, NULL, 0);
    if (end & 4) say(&t, end >> 1 & 1, TCP_ACK | TCP_RST, NULL, 0);
    wire_finish(t.w);
    r = wire_next(t.w);
    MUST(r && !wire_next(t.w));
    wire_free(&t.w);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    struct wire_record *a = read_all(data, len, false), *b = read_all(data, len, true);
    const uint32_t doubt = ~(uint32_t)INCOMPLETE_CAPTURE_ENDED;

    MUST(a->life.bytes_in == b->life.bytes_in && a->life.bytes_out == b->life.bytes_out);
    if (a->evidence.protocol == PROTO_HTTP1 && b->evidence.protocol == PROTO_HTTP1 &&
        !(a->evidence.incomplete & doubt) && !(b->evidence.incomplete & doubt) && !a->evidence.excess_bytes &&
        !b->evidence.excess_bytes) {
        MUST(a->life.requests == b->life.requests && a->life.responses == b->life.responses);
        MUST(a->life.known == b->life.known && a->life.early_closes == b->life.early_closes);
        MUST(a->life.body_announced == b->life.body_announced && a->life.body_framing == b->life.body_framing);
        MUST(a->evidence.early == b->evidence.early && a->life.state == b->life.state);
    }
    wire_record_free(&a);
    wire_record_free(&b);
    return 0;
}

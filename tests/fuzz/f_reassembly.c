/* TCP reassembly. The input is a list of segments, 8 bytes each: direction and flags,
 * where they stand relative to what was sent before, how long they are, what they
 * acknowledge. Their payload is a function of its place in the stream, so that
 * whatever order they come in, the same bytes must be read, or counted as missing. */
#include "wire/wire.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MUST(cond)                                                                                                     \
    do {                                                                                                               \
        if (!(cond)) abort();                                                                                          \
    } while (0)

enum { REVERSE = 0x80, CONFLICT = 0x40 };

static const char request[] = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n";
static const char answer[] =
    "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
    "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789";

static uint8_t byte_at(int from, uint32_t at) {
    return from ? (uint8_t)answer[at % (sizeof answer - 1)] : (uint8_t)request[at % (sizeof request - 1)];
}

static void check(const struct wire_record *r) {
    const struct wire_end *ends[2] = {&r->evidence.local, &r->evidence.remote};

    MUST(r->life.evidence == &r->evidence);
    MUST(r->life.requests <= r->evidence.requests_seen && r->life.responses <= r->evidence.responses_seen);
    MUST(memchr(r->evidence.history, 0, sizeof r->evidence.history));
    MUST(r->life.early_closes <= 1);
    for (int i = 0; i < 2; i++) MUST(ends[i]->packets >= ends[i]->payload_packets);
    MUST(!(r->life.known & KNOW_UNREAD) || r->life.unread_bytes == 0);
    MUST(r->life.idle_total_ns >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    struct wire_limits limits = WIRE_LIMITS_DEFAULT;
    struct wire *w;
    struct wire_record *r;
    uint32_t base[2] = {0, 0xfffffff0u}, sent[2] = {0, 0}; /* the second wraps soon */
    uint64_t n = 0, made = 0;
    static uint8_t payload[4096];

    limits.held_bytes = 8192; /* small, so that it is reached */
    limits.held_per_conn = 2048;
    limits.lingering = 2;
    w = wire_new(&limits);
    for (; len >= 8; data += 8, len -= 8) {
        int from = (data[0] & REVERSE) != 0;
        int32_t delta = (int16_t)(data[2] << 8 | data[3]), ack = (int16_t)(data[6] << 8 | data[7]);
        struct wire_segment s = {.at_ns = (int64_t)n * MSEC(1), .packet = ++n, .payload = payload};
        uint32_t at = sent[from] + (uint32_t)delta;

        s.src.family = s.dst.family = ADDR_V4;
        s.src.port = from ? 80 : 4000;
        s.dst.port = from ? 4000 : 80;
        s.flags = data[0] & 0x1f;
        s.window = data[1];
        s.window_scale = data[1] & 1 ? 7 : WIRE_NO_SCALE;
        s.len = (uint32_t)(data[4] << 8 | data[5]) % sizeof payload;
        s.captured = data[1] & 0x80 ? s.len / 2 : s.len;
        s.seq = base[from] + at - ((s.flags & TCP_SYN) != 0);
        s.ack = base[!from] + sent[!from] + (uint32_t)ack;
        s.ident = (uint32_t)n;
        for (uint32_t i = 0; i < s.len; i++)
            payload[i] = (uint8_t)(byte_at(from, at + i) ^ (data[0] & CONFLICT ? 1 : 0));
        if (delta >= 0) sent[from] = at + s.len;
        wire_feed(w, &s);
        while ((r = wire_next(w))) {
            check(r);
            made++;
            wire_record_free(&r);
        }
    }
    wire_finish(w);
    while ((r = wire_next(w))) {
        check(r);
        made++;
        wire_record_free(&r);
    }
    MUST(made == wire_totals(w)->connections);
    MUST(wire_totals(w)->open == 0);
    wire_free(&w);
    return 0;
}

/* Link layers, IP and TCP headers. */
#include "tap.h"

#include "capture/capture.h"

static struct wire_segment seg;

/* Ethernet, IPv4 and TCP headers of a segment with `len` payload bytes. */
static size_t v4(uint8_t *p, uint16_t total, unsigned options) {
    static const uint8_t ip[] = {0x45, 0, 0, 0, 0x12, 0x34, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2};
    static const uint8_t tcp[] = {0x9c, 0x40, 0, 80, 0, 0, 0, 7, 0, 0, 0, 9, 0x50, 0x18, 1, 0, 0xab, 0xcd, 0, 0};
    memcpy(p, ip, sizeof ip);
    p[0] = (uint8_t)(0x45 + options);
    p[2] = (uint8_t)(total >> 8), p[3] = (uint8_t)total;
    memset(p + 20, 1, options * 4);
    memcpy(p + 20 + options * 4, tcp, sizeof tcp);
    memcpy(p + 40 + options * 4, "hello", 5);
    return 45 + options * 4;
}

static size_t v6(uint8_t *p, uint16_t payload, uint8_t next) {
    memset(p, 0, 40);
    p[0] = 0x60;
    p[4] = (uint8_t)(payload >> 8), p[5] = (uint8_t)payload;
    p[6] = next;
    p[23] = 1, p[39] = 2;
    return 40;
}

static enum link_verdict decode(int32_t type, const uint8_t *data, size_t len, size_t wire) {
    struct capture_packet p = {
        .data = data, .captured = (uint32_t)len, .len = (uint32_t)wire, .link_type = type, .number = 3, .at_ns = 5};
    memset(&seg, 0xee, sizeof seg);
    return link_decode(&p, &seg);
}

static void check_segment(uint32_t len) {
    char text[ENDPOINT_TEXT_MAX];
    CHECK_EQ(seg.packet, 3);
    CHECK_EQ(seg.at_ns, 5);
    CHECK_STR(endpoint_text(&seg.src, text), "10.0.0.1:40000");
    CHECK_STR(endpoint_text(&seg.dst, text), "10.0.0.2:80");
    CHECK_EQ(seg.seq, 7);
    CHECK_EQ(seg.ack, 9);
    CHECK_EQ(seg.flags, 0x18);
    CHECK_EQ(seg.window, 256);
    CHECK_EQ(seg.ident, 0x1234abcd);
    CHECK_EQ(seg.len, len);
}

TEST(every_link_type_leads_to_the_same_segment) {
    static const struct {
        int32_t type;
        const char *bytes;
        size_t len;
    } layers[] = {
        {1, "\1\2\3\4\5\6\1\2\3\4\5\6\x08\x00", 14},
        {1, "\1\2\3\4\5\6\1\2\3\4\5\6\x81\x00\x00\x2a\x08\x00", 18},
        {1, "\1\2\3\4\5\6\1\2\3\4\5\6\x88\xa8\0\0\x81\0\0\0\x08\0", 22},
        {0, "\2\0\0\0", 4},
        {0, "\0\0\0\2", 4},
        {108, "\0\0\0\2", 4},
        {101, "", 0},
        {12, "", 0},
        {228, "", 0},
        {113, "\0\0\3\4\0\6\0\0\0\0\0\0\0\0\x08\x00", 16},
        {276, "\x08\x00\0\0\0\0\0\1\3\4\0\6\0\0\0\0\0\0\0\0", 20},
    };
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        uint8_t p[128];
        size_t n = layers[i].len;
        memcpy(p, layers[i].bytes, n);
        n += v4(p + n, 45, 0);
        CHECK_EQ(decode(layers[i].type, p, n, n), LINK_TCP);
        check_segment(5);
        CHECK(!memcmp(seg.payload, "hello", 5));
        for (size_t cut = 0; cut < n - 5; cut++)
            CHECK(decode(layers[i].type, p, cut, n) != LINK_TCP || seg.captured == 0);
    }
    CHECK_EQ(decode(147, (const uint8_t *)"", 0, 0), LINK_UNSUPPORTED);
    CHECK(!link_type_name(147));
}

TEST(padding_is_not_payload) {
    uint8_t p[128] = {0};
    size_t n = v4(p, 45, 0);
    memset(p + n, 0x55, 20);
    CHECK_EQ(decode(101, p, n + 20, n + 20), LINK_TCP);
    check_segment(5);
    CHECK_EQ(seg.captured, 5);
}

TEST(ipv4_options_are_passed_over) {
    uint8_t p[128];
    size_t n = v4(p, 45 + 12, 3);
    CHECK_EQ(decode(101, p, n, n), LINK_TCP);
    check_segment(5);
}

TEST(a_snapped_segment_knows_its_length) {
    uint8_t p[128];
    v4(p, 1500, 0);
    CHECK_EQ(decode(101, p, 43, 1500), LINK_TCP);
    check_segment(1460);
    CHECK_EQ(seg.captured, 3);
}

TEST(a_total_length_of_0_is_a_segment_above_64_KiB) {
    static uint8_t p[200000];
    v4(p, 0, 0);
    CHECK_EQ(decode(101, p, sizeof p, sizeof p), LINK_TCP);
    check_segment(sizeof p - 40);
}

TEST(a_jumbogram_says_its_length_in_an_option) {
    static uint8_t p[200000];
    size_t n = v6(p, 0, 0);
    const uint8_t hop[] = {6, 0, 0xc2, 4, 0, 1, 0x86, 0xa0}; /* 100,000 */
    uint8_t t[64];
    memcpy(p + n, hop, 8);
    v4(t, 0, 0);
    memcpy(p + n + 8, t + 20, 25);
    CHECK_EQ(decode(101, p, sizeof p, sizeof p), LINK_TCP);
    CHECK_EQ(seg.len, 100000 - 8 - 20);
}

TEST(ipv6_extension_headers_are_walked) {
    uint8_t p[200], t[64];
    size_t n = v6(p, 8 + 8 + 8 + 25, 0);
    const uint8_t chain[] = {60, 0, 1, 4, 0, 0, 0, 0, 44, 0, 1, 4, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 1};
    memcpy(p + n, chain, 24);
    v4(t, 0, 0);
    memcpy(p + n + 24, t + 20, 25);
    CHECK_EQ(decode(101, p, n + 24 + 25, n + 24 + 25), LINK_TCP); /* an atomic fragment is whole */
    CHECK_EQ(seg.len, 5);
    p[n + 19] = 1; /* more fragments */
    CHECK_EQ(decode(101, p, n + 49, n + 49), LINK_FRAGMENT);
    p[n + 16] = 59; /* no next header, behind a whole one */
    p[n + 19] = 0;
    CHECK_EQ(decode(101, p, n + 49, n + 49), LINK_OTHER);
}

TEST(fragments_are_reported_and_not_guessed) {
    uint8_t p[128];
    size_t n = v4(p, 45, 0);
    p[6] = 0x20;
    CHECK_EQ(decode(101, p, n, n), LINK_FRAGMENT);
    p[6] = 0, p[7] = 4;
    CHECK_EQ(decode(101, p, n, n), LINK_FRAGMENT);
}

TEST(headers_that_contradict_themselves) {
    uint8_t p[128];
    size_t n = v4(p, 45, 0);
    p[0] = 0x44;
    CHECK_EQ(decode(228, p, n, n), LINK_MALFORMED);
    v4(p, 30, 0);
    CHECK_EQ(decode(101, p, n, n), LINK_MALFORMED);
    v4(p, 45, 0);
    p[32] = 0x10; /* a TCP header of 4 bytes */
    CHECK_EQ(decode(101, p, n, n), LINK_MALFORMED);
    v4(p, 45, 0);
    p[9] = 17;
    CHECK_EQ(decode(101, p, n, n), LINK_OTHER);
}

TEST(a_SYN_says_its_window_scale) {
    uint8_t p[128];
    size_t n = v4(p, 48, 0);
    const uint8_t options[] = {2, 4, 5, 0xb4, 1, 3, 3, 7};
    p[33] = TCP_SYN;
    p[32] = 0x70;
    memcpy(p + 40, options, 8);
    n = 48;
    CHECK_EQ(decode(101, p, n, n), LINK_TCP);
    CHECK_EQ(seg.window_scale, 7);
    p[47] = 200; /* RFC 7323: above 14 is 14 */
    CHECK_EQ(decode(101, p, n, n), LINK_TCP);
    CHECK_EQ(seg.window_scale, 14);
    p[41] = 0; /* an option of length 0 */
    CHECK_EQ(decode(101, p, n, n), LINK_TCP);
    CHECK_EQ(seg.window_scale, WIRE_NO_SCALE);
}

int main(void) {
    return tap_run();
}

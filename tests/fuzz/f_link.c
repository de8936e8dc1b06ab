/* Link layers, IP and TCP. The input: two bytes of link type, two of the length that
 * the packet had on the wire beyond what was captured, then the packet. */
#include "capture/capture.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MUST(cond)                                                                                                     \
    do {                                                                                                               \
        if (!(cond)) abort();                                                                                          \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    struct capture_packet p = {.number = 1};
    struct wire_segment s;

    if (len < 4) return 0;
    p.link_type = data[0] << 8 | data[1];
    p.data = data + 4;
    p.captured = (uint32_t)(len - 4);
    p.len = p.captured + (uint32_t)(data[2] << 8 | data[3]);
    if (link_decode(&p, &s) != LINK_TCP) return 0;
    MUST(s.captured <= s.len);
    MUST(s.captured == 0 || (s.payload >= p.data && s.payload + s.captured <= p.data + p.captured));
    MUST(s.src.family == s.dst.family && (s.src.family == ADDR_V4 || s.src.family == ADDR_V6));
    MUST(s.window_scale == WIRE_NO_SCALE || s.window_scale <= 14);
    return 0;
}

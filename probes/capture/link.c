/* Link layers, IP and TCP: from a packet's bytes to a segment.
 *
 * Lengths come from the IP header, never from the frame: short Ethernet frames
 * are padded. The exception are segments above 64 KiB, as a host hands them to its
 * network card (TSO, BIG TCP): IPv4 then says 0, IPv6 says it in a jumbo option. */
#include "capture/capture.h"

#include <string.h>

enum {
    LT_NULL = 0,
    LT_EN10MB = 1,
    LT_DLT_RAW = 12,
    LT_OPENBSD_RAW = 14,
    LT_RAW = 101,
    LT_LOOP = 108,
    LT_SLL = 113,
    LT_IPV4 = 228,
    LT_IPV6 = 229,
    LT_SLL2 = 276
};

enum { ETHERTYPE_V4 = 0x0800, ETHERTYPE_V6 = 0x86dd };
enum {
    PROTO_HOP_BY_HOP = 0,
    PROTO_TCP = 6,
    PROTO_ROUTING = 43,
    PROTO_FRAGMENT = 44,
    PROTO_AH = 51,
    PROTO_DEST = 60,
    PROTO_MOBILITY = 135,
    PROTO_HIP = 139,
    PROTO_SHIM6 = 140
};

#define MAX_VLAN_TAGS  16
#define MAX_EXTENSIONS 16

struct cursor {
    const uint8_t *at;
    uint32_t left; /* captured bytes from `at` */
    uint32_t wire; /* bytes on the wire from `at`; at least left */
};

static uint16_t be16(const uint8_t *p) {
    return (uint16_t)(p[0] << 8 | p[1]);
}
static uint32_t be32(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static bool skip(struct cursor *c, uint32_t n) {
    if (c->left < n) return false;
    c->at += n;
    c->left -= n;
    c->wire -= n;
    return true;
}

const char *link_type_name(int32_t link_type) {
    switch (link_type) {
    case LT_NULL:
        return "NULL";
    case LT_EN10MB:
        return "EN10MB";
    case LT_DLT_RAW:
    case LT_OPENBSD_RAW:
    case LT_RAW:
        return "RAW";
    case LT_LOOP:
        return "LOOP";
    case LT_SLL:
        return "LINUX_SLL";
    case LT_IPV4:
        return "IPV4";
    case LT_IPV6:
        return "IPV6";
    case LT_SLL2:
        return "LINUX_SLL2";
    default:
        return NULL;
    }
}

static uint8_t window_scale(const uint8_t *opt, uint32_t len) {
    while (len >= 1 && opt[0] != 0) { /* 0: end of list */
        if (opt[0] == 1) {            /* no operation */
            opt++, len--;
            continue;
        }
        if (len < 2 || opt[1] < 2 || opt[1] > len) break;
        if (opt[0] == 3 && opt[1] == 3) return opt[2] > 14 ? 14 : opt[2]; /* RFC 7323 section 2.3 */
        len -= opt[1];
        opt += opt[1];
    }
    return WIRE_NO_SCALE;
}

static enum link_verdict decode_tcp(struct cursor c, uint32_t ip_payload, struct wire_segment *out) {
    const uint8_t *t = c.at;
    uint32_t header;

    if (ip_payload < 20) return LINK_MALFORMED;
    if (c.left < 20) return LINK_CUT;
    header = (uint32_t)(t[12] >> 4) * 4;
    if (header < 20 || header > ip_payload) return LINK_MALFORMED;
    out->src.port = be16(t);
    out->dst.port = be16(t + 2);
    out->seq = be32(t + 4);
    out->ack = be32(t + 8);
    out->flags = t[13];
    out->window = be16(t + 14);
    out->ident = out->ident << 16 | be16(t + 16);
    out->len = ip_payload - header;
    out->payload = t + header;
    out->captured = c.left > header ? c.left - header : 0;
    if (out->captured > out->len) out->captured = out->len;
    out->window_scale = WIRE_NO_SCALE;
    if (out->flags & TCP_SYN && header > 20)
        out->window_scale = window_scale(t + 20, (c.left < header ? c.left : header) - 20);
    return LINK_TCP;
}

static void set_v4(struct endpoint *e, const uint8_t *addr) {
    memset(e, 0, sizeof *e);
    memcpy(e->addr, addr, 4);
    e->family = ADDR_V4;
}
static void set_v6(struct endpoint *e, const uint8_t *addr) {
    memcpy(e->addr, addr, 16);
    e->family = ADDR_V6;
    e->zero = 0;
}

static enum link_verdict decode_v4(struct cursor c, struct wire_segment *out) {
    const uint8_t *ip = c.at;
    uint32_t header, total;

    if (c.left < 20) return LINK_CUT;
    header = (uint32_t)(ip[0] & 15) * 4;
    total = be16(ip + 2);
    if (ip[0] >> 4 != 4 || header < 20) return LINK_MALFORMED;
    if (total == 0) total = c.wire; /* TSO and BIG TCP: longer than the field can say */
    if (total < header) return LINK_MALFORMED;
    if (ip[9] != PROTO_TCP) return LINK_OTHER;
    if (be16(ip + 6) & 0x3fff) return LINK_FRAGMENT;
    set_v4(&out->src, ip + 12);
    set_v4(&out->dst, ip + 16);
    out->ident = be16(ip + 4);
    if (!skip(&c, header)) return LINK_CUT;
    return decode_tcp(c, total - header, out);
}

/* The jumbo payload length (RFC 2675) among hop-by-hop options, 0 if there is none. */
static uint32_t jumbo_length(const uint8_t *opt, uint32_t len) {
    while (len >= 1) {
        uint32_t size;
        if (opt[0] == 0) {
            opt++, len--;
            continue;
        }
        if (len < 2) return 0;
        size = 2u + opt[1];
        if (size > len) return 0;
        if (opt[0] == 0xc2 && opt[1] == 4) return be32(opt + 2);
        opt += size;
        len -= size;
    }
    return 0;
}

static enum link_verdict decode_v6(struct cursor c, struct wire_segment *out) {
    const uint8_t *ip = c.at;
    uint32_t payload;
    uint8_t next;

    if (c.left < 40) return LINK_CUT;
    if (ip[0] >> 4 != 6) return LINK_MALFORMED;
    payload = be16(ip + 4);
    next = ip[6];
    set_v6(&out->src, ip + 8);
    set_v6(&out->dst, ip + 24);
    out->ident = 0;
    (void)skip(&c, 40);
    if (payload == 0) payload = c.wire; /* a jumbogram, or BIG TCP without its option */
    for (int i = 0; next != PROTO_TCP; i++) {
        const uint8_t *x = c.at;
        uint32_t size, jumbo;

        if (i == MAX_EXTENSIONS) return LINK_MALFORMED;
        switch (next) {
        case PROTO_HOP_BY_HOP:
        case PROTO_ROUTING:
        case PROTO_DEST:
        case PROTO_MOBILITY:
        case PROTO_HIP:
        case PROTO_SHIM6:
            break;
        case PROTO_AH:
            break;
        case PROTO_FRAGMENT:
            if (c.left < 8) return LINK_CUT;
            if (be16(x + 2) & 0xfff9) return LINK_FRAGMENT; /* offset, or more to come */
            break;                                          /* an atomic fragment is whole (RFC 6946) */
        default:
            return LINK_OTHER;
        }
        if (c.left < 8) return LINK_CUT;
        size = next == PROTO_AH ? (x[1] + 2u) * 4 : next == PROTO_FRAGMENT ? 8 : (x[1] + 1u) * 8;
        if (size > payload) return LINK_MALFORMED;
        if (c.left < size) return LINK_CUT;
        if (next == PROTO_HOP_BY_HOP && be16(ip + 4) == 0 && (jumbo = jumbo_length(x + 2, size - 2)) != 0) {
            if (jumbo < size) return LINK_MALFORMED;
            payload = jumbo;
        }
        next = x[0];
        payload -= size;
        (void)skip(&c, size);
    }
    return decode_tcp(c, payload, out);
}

static enum link_verdict decode_ether_type(struct cursor c, uint16_t type, struct wire_segment *out) {
    for (int i = 0; type == 0x8100 || type == 0x88a8 || type == 0x9100 || type == 0x9200; i++) {
        if (i == MAX_VLAN_TAGS) return LINK_MALFORMED;
        if (c.left < 4) return LINK_CUT;
        type = be16(c.at + 2);
        (void)skip(&c, 4);
    }
    if (type == ETHERTYPE_V4) return decode_v4(c, out);
    if (type == ETHERTYPE_V6) return decode_v6(c, out);
    return LINK_OTHER;
}

static enum link_verdict decode_version(struct cursor c, struct wire_segment *out) {
    if (c.left < 1) return LINK_CUT;
    if (c.at[0] >> 4 == 4) return decode_v4(c, out);
    if (c.at[0] >> 4 == 6) return decode_v6(c, out);
    return LINK_OTHER;
}

/* The address family stands in the byte order of the machine that captured (NULL)
 * or in network order (LOOP); the numbers for IPv6 differ between systems. */
static enum link_verdict decode_loopback(struct cursor c, struct wire_segment *out) {
    uint32_t family;

    if (c.left < 4) return LINK_CUT;
    family = be32(c.at);
    if (family > 0xffff) family = __builtin_bswap32(family);
    (void)skip(&c, 4);
    if (family == 2) return decode_v4(c, out);
    if (family == 10 || family == 24 || family == 28 || family == 30) return decode_v6(c, out);
    return LINK_OTHER;
}

enum link_verdict link_decode(const struct capture_packet *p, struct wire_segment *out) {
    struct cursor c = {p->data, p->captured, p->len > p->captured ? p->len : p->captured};
    uint16_t type;

    out->at_ns = p->at_ns;
    out->packet = p->number;
    switch (p->link_type) {
    case LT_EN10MB:
        if (c.left < 14) return LINK_CUT;
        type = be16(c.at + 12);
        (void)skip(&c, 14);
        return decode_ether_type(c, type, out);
    case LT_SLL:
        if (c.left < 16) return LINK_CUT;
        type = be16(c.at + 14);
        (void)skip(&c, 16);
        return decode_ether_type(c, type, out);
    case LT_SLL2:
        if (c.left < 20) return LINK_CUT;
        type = be16(c.at);
        (void)skip(&c, 20);
        return decode_ether_type(c, type, out);
    case LT_NULL:
    case LT_LOOP:
        return decode_loopback(c, out);
    case LT_RAW:
    case LT_DLT_RAW:
    case LT_OPENBSD_RAW:
        return decode_version(c, out);
    case LT_IPV4:
        return decode_v4(c, out);
    case LT_IPV6:
        return decode_v6(c, out);
    default:
        return LINK_UNSUPPORTED;
    }
}

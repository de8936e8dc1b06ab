/* pcap and pcapng. Formats: draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng.
 *
 * libpcap is not used here because it refuses pcapng files whose interfaces differ
 * in link type or resolution, and because it copies every packet. */
#include "capture/file.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* No packet is longer; a length above it is damage, and is not waited for. */
#define MAX_RECORD     (16u << 20)
#define MAX_INTERFACES 65536u

#define AHEAD_HEADERS 128u /* of a record: its header and those of the packet */
#define AHEAD_HEAD    320u /* and as much of the payload as a head takes */
#define SMALL_RECORD  82u  /* of an ACK */

enum { PCAP_HEADER = 24, PCAP_RECORD = 16 };
enum { BLOCK_IDB = 1, BLOCK_PACKET = 2, BLOCK_SIMPLE = 3, BLOCK_STATISTICS = 5, BLOCK_ENHANCED = 6 };
#define BLOCK_SECTION    0x0a0d0d0au
#define BYTE_ORDER_MAGIC 0x1a2b3c4du

static uint32_t get32(const struct capture_file *f, const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, 4);
    return f->swapped ? __builtin_bswap32(v) : v;
}
static uint16_t get16(const struct capture_file *f, const uint8_t *p) {
    uint16_t v;
    memcpy(&v, p, 2);
    return f->swapped ? __builtin_bswap16(v) : v;
}
static uint64_t get64(const struct capture_file *f, const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return f->swapped ? __builtin_bswap64(v) : v;
}

__attribute__((format(printf, 2, 3))) static enum capture_step fault(struct capture_file *f, const char *fmt, ...) {
    va_list ap;
    int n = snprintf(f->fault, sizeof f->fault, "packet %" PRIu64 " at offset %" PRIu64 ": ", f->packets + 1,
                     f->bytes.passed);
    va_start(ap, fmt);
    if (n > 0 && (size_t)n < sizeof f->fault) vsnprintf(f->fault + n, sizeof f->fault - (size_t)n, fmt, ap);
    va_end(ap);
    return CAPTURE_FAULT;
}

/* The stream ended with fewer than `want` bytes of something. */
static enum capture_step cut(struct capture_file *f, const char *what, size_t want) {
    size_t have = (size_t)(f->bytes.end - f->bytes.at);
    if (bytes_fault(&f->bytes)[0]) return fault(f, "%s", bytes_fault(&f->bytes));
    if (have == 0) return CAPTURE_END;
    return fault(f, "%s is cut: %zu bytes expected, the file ends after %zu", what, want, have);
}

static void seen(struct capture_file *f, struct capture_packet *out) {
    f->packets++;
    if (f->packets == 1) f->first_ns = out->at_ns;
    f->last_ns = out->at_ns;
    if (out->len < out->captured) out->len = out->captured;
}

static enum capture_step pcap_next_packet(struct capture_file *f, bool at_hand, struct capture_packet *out) {
    struct bytes *b = &f->bytes;
    const uint8_t *h;
    uint32_t captured;

    if (b->end - b->at < PCAP_RECORD) {
        if (at_hand) return CAPTURE_WAIT;
        if (!bytes_need(b, PCAP_RECORD)) return cut(f, "the record's header", PCAP_RECORD);
    }
    h = b->at;
    captured = get32(f, h + 8);
    if (captured > MAX_RECORD)
        return fault(f, "a captured length of %" PRIu32 " bytes; damaged from here on", captured);
    if ((size_t)(b->end - b->at) < PCAP_RECORD + (size_t)captured) {
        if (at_hand) return CAPTURE_WAIT;
        if (!bytes_need(b, PCAP_RECORD + captured)) return cut(f, "the record", PCAP_RECORD + (size_t)captured);
        h = b->at;
    }
    out->at_ns = (int64_t)get32(f, h) * 1000000000 + (int64_t)get32(f, h + 4) * f->unit_ns;
    out->captured = captured;
    out->len = get32(f, h + 12);
    out->data = h + PCAP_RECORD;
    out->link_type = f->link_type;
    seen(f, out);
    bytes_skip(b, PCAP_RECORD + (size_t)captured);
    return CAPTURE_PACKET;
}

/* `ticks` of the interface's clock as nanoseconds since 1970. */
static int64_t ticks_ns(const struct file_interface *i, uint64_t ticks) {
    uint64_t s, rest;

    if (i->units == 1000000 && i->offset_s == 0 && ticks < (uint64_t)INT64_MAX / 1000) return (int64_t)(ticks * 1000);
    s = ticks / i->units;
    rest = ticks % i->units;
    if (s > (uint64_t)INT32_MAX * 4) s = 0; /* a time no clock shows */
    return ((int64_t)s + i->offset_s) * 1000000000 + (int64_t)((unsigned __int128)rest * 1000000000 / i->units);
}

static uint64_t resolution_units(uint8_t r) {
    uint64_t units = 1;
    unsigned n = r & 0x7f;

    if (r & 0x80) return n < 64 ? (uint64_t)1 << n : 0;
    if (n > 19) return 0;
    while (n--) units *= 10;
    return units;
}

/* Calls for each option of a block: code, length, value. */
struct option {
    uint16_t code, len;
    const uint8_t *value;
};
static bool next_option(const struct capture_file *f, const uint8_t **p, const uint8_t *end, struct option *out) {
    size_t step;

    if (end - *p < 4) return false;
    out->code = get16(f, *p);
    out->len = get16(f, *p + 2);
    out->value = *p + 4;
    step = 4 + (((size_t)out->len + 3) & ~(size_t)3);
    if (out->code == 0 || (size_t)(end - *p) < 4 + (size_t)out->len) return false;
    *p = (size_t)(end - *p) < step ? end : *p + step;
    return true;
}

static enum capture_step interface_block(struct capture_file *f, const uint8_t *body, size_t len) {
    struct file_interface *more, i = {.units = 1000000};
    const uint8_t *p = body + 8;
    struct option o;

    if (len < 8) return fault(f, "an interface description of %zu bytes, 8 expected", len);
    if (f->n_interfaces == MAX_INTERFACES) return fault(f, "more than %u interfaces", MAX_INTERFACES);
    i.link_type = get16(f, body);
    i.snaplen = get32(f, body + 4);
    while (next_option(f, &p, body + len, &o)) {
        if (o.code == 9 && o.len == 1) i.units = resolution_units(o.value[0]);
        if (o.code == 14 && o.len == 8) i.offset_s = (int64_t)get64(f, o.value);
    }
    if (i.units == 0) return fault(f, "a time resolution that does not fit 64 bits");
    if (i.offset_s > INT32_MAX * (int64_t)2 || i.offset_s < -INT32_MAX * (int64_t)2)
        return fault(f, "a time offset of %" PRId64 " seconds", i.offset_s);
    more = realloc(f->interfaces, (f->n_interfaces + 1) * sizeof *more);
    if (!more) return fault(f, "no memory for interface %" PRIu32, f->n_interfaces);
    f->interfaces = more;
    f->interfaces[f->n_interfaces++] = i;
    if (f->link_type < 0) f->link_type = i.link_type;
    return CAPTURE_WAIT;
}

static void statistics_block(struct capture_file *f, const uint8_t *body, size_t len) {
    const uint8_t *p = body + 12;
    uint64_t dropped = 0;
    bool known = false;
    struct option o;
    uint32_t id;

    if (len < 12 || (id = get32(f, body)) >= f->n_interfaces) return;
    while (next_option(f, &p, body + len, &o)) {
        if ((o.code == 5 || o.code == 7) && o.len == 8) { /* isb_ifdrop, isb_osdrop */
            dropped += get64(f, o.value);
            known = true;
        }
    }
    if (known) {
        f->interfaces[id].dropped = dropped;
        f->interfaces[id].dropped_known = true;
    }
}

uint64_t file_dropped(const struct capture_file *f, bool *known) {
    uint64_t n = f->dropped;

    *known = f->dropped_known;
    for (uint32_t i = 0; i < f->n_interfaces; i++) {
        n += f->interfaces[i].dropped;
        *known |= f->interfaces[i].dropped_known;
    }
    return n;
}

static enum capture_step enhanced_block(struct capture_file *f, uint32_t type, const uint8_t *body, size_t len,
                                        struct capture_packet *out) {
    uint32_t id;

    if (len < 20) return fault(f, "a packet block of %zu bytes, 20 expected", len);
    id = type == BLOCK_ENHANCED ? get32(f, body) : get16(f, body);
    if (id >= f->n_interfaces) return fault(f, "a packet of interface %" PRIu32 ", which was not described", id);
    out->captured = get32(f, body + 12);
    out->len = get32(f, body + 16);
    if (out->captured > len - 20)
        return fault(f, "a captured length of %" PRIu32 " in a block with room for %zu", out->captured, len - 20);
    out->at_ns = ticks_ns(&f->interfaces[id], (uint64_t)get32(f, body + 4) << 32 | get32(f, body + 8));
    out->data = body + 20;
    out->link_type = f->interfaces[id].link_type;
    seen(f, out);
    return CAPTURE_PACKET;
}

/* No time of its own: it gets that of the packet before. */
static enum capture_step simple_block(struct capture_file *f, const uint8_t *body, size_t len,
                                      struct capture_packet *out) {
    if (len < 4) return fault(f, "a simple packet block of %zu bytes, 4 expected", len);
    if (f->n_interfaces == 0) return fault(f, "a packet before any interface was described");
    out->len = get32(f, body);
    out->captured = out->len;
    if (f->interfaces[0].snaplen && out->captured > f->interfaces[0].snaplen) out->captured = f->interfaces[0].snaplen;
    if (out->captured > len - 4) out->captured = (uint32_t)(len - 4);
    out->at_ns = f->last_ns;
    out->data = body + 4;
    out->link_type = f->interfaces[0].link_type;
    f->no_time++;
    seen(f, out);
    return CAPTURE_PACKET;
}

/* A section's header: its byte order holds for its length, too. */
static bool section_order(struct capture_file *f, const uint8_t *block) {
    uint32_t magic;

    memcpy(&magic, block + 8, 4);
    if (magic != BYTE_ORDER_MAGIC && magic != __builtin_bswap32(BYTE_ORDER_MAGIC)) return false;
    f->swapped = magic != BYTE_ORDER_MAGIC;
    return true;
}

static void section_block(struct capture_file *f) {
    f->dropped = file_dropped(f, &f->dropped_known);
    f->n_interfaces = 0;
}

/* One block: CAPTURE_PACKET, a fault, or CAPTURE_WAIT for a block without a packet. */
static enum capture_step take_block(struct capture_file *f, const uint8_t *block, uint32_t len,
                                    struct capture_packet *out) {
    uint32_t type = get32(f, block);
    const uint8_t *body = block + 8;
    size_t body_len = len - 12;

    switch (type) {
    case BLOCK_SECTION:
        section_block(f);
        return CAPTURE_WAIT;
    case BLOCK_IDB:
        return interface_block(f, body, body_len);
    case BLOCK_STATISTICS:
        statistics_block(f, body, body_len);
        return CAPTURE_WAIT;
    case BLOCK_SIMPLE:
        return simple_block(f, body, body_len, out);
    case BLOCK_PACKET:
    case BLOCK_ENHANCED:
        return enhanced_block(f, type, body, body_len, out);
    default:
        return CAPTURE_WAIT; /* name resolution, comments, secrets: not needed here */
    }
}

static enum capture_step pcapng_next_packet(struct capture_file *f, bool at_hand, struct capture_packet *out) {
    struct bytes *b = &f->bytes;

    for (;;) {
        enum capture_step step;
        uint32_t len;

        if (b->end - b->at < 12) {
            if (at_hand) return CAPTURE_WAIT;
            if (!bytes_need(b, 12)) return cut(f, "a block's header", 12);
        }
        if (get32(f, b->at) == BLOCK_SECTION && !section_order(f, b->at))
            return fault(f, "a section header without its byte order mark");
        len = get32(f, b->at + 4);
        if (len < 12 || len % 4 || len > MAX_RECORD)
            return fault(f, "a block length of %" PRIu32 "; damaged from here on", len);
        if ((size_t)(b->end - b->at) < len) {
            if (at_hand) return CAPTURE_WAIT;
            if (!bytes_need(b, len)) return cut(f, "the block", len);
        }
        if (get32(f, b->at + len - 4) != len) return fault(f, "a block whose two lengths differ; damaged from here on");
        step = take_block(f, b->at, len, out);
        if (step == CAPTURE_FAULT) return step;
        bytes_skip(b, len);
        if (step == CAPTURE_PACKET) return step;
    }
}

enum capture_step file_next(struct capture_file *f, bool at_hand, struct capture_packet *out) {
    if (f->fault[0]) return CAPTURE_END;
    if (!at_hand && bytes_are_void(&f->bytes)) return fault(f, "%s", bytes_fault(&f->bytes));
    return f->is_pcapng ? pcapng_next_packet(f, at_hand, out) : pcap_next_packet(f, at_hand, out);
}

void file_look_ahead(struct capture_file *f) {
    const struct bytes *b = &f->bytes;
    const uint8_t *p = f->ahead < b->at || f->ahead > b->end ? b->at : f->ahead, *next;
    size_t left = (size_t)(b->end - p), len;

    if (!b->in_place || left < PCAP_RECORD) return;
    len = f->is_pcapng ? get32(f, p + 4) : PCAP_RECORD + (size_t)get32(f, p + 8);
    if (len > left) return;
    next = p + len;
    for (size_t at = AHEAD_HEADERS; at < AHEAD_HEAD && at < len; at += 64) __builtin_prefetch(p + at);
    if (f->is_pcapng) __builtin_prefetch(next - 4); /* where the length stands again */
    for (size_t at = 0; at < AHEAD_HEADERS; at += 64) __builtin_prefetch(next + at);
    for (size_t i = 1; i <= 2; i++) { /* a guess: large ones come in rows, with ACKs between them */
        __builtin_prefetch(next + i * f->stride);
        __builtin_prefetch(next + i * f->stride + SMALL_RECORD);
    }
    if (len > 8 * SMALL_RECORD) f->stride = (uint32_t)len;
    f->ahead = next;
}

static bool pcap_header(struct capture_file *f, char *error) {
    const uint8_t *h = f->bytes.at;
    uint32_t magic;

    memcpy(&magic, h, 4);
    switch (magic) {
    case 0xa1b2c3d4u:
        f->unit_ns = 1000;
        break;
    case 0xa1b23c4du:
        f->unit_ns = 1;
        break;
    case 0xd4c3b2a1u:
        f->unit_ns = 1000, f->swapped = true;
        break;
    case 0x4d3cb2a1u:
        f->unit_ns = 1, f->swapped = true;
        break;
    default:
        snprintf(error, CAPTURE_TEXT,
                 "%s: begins with %02x %02x %02x %02x, expected a pcap or pcapng file (or one of them as gzip)",
                 f->path, h[0], h[1], h[2], h[3]);
        return false;
    }
    if (!bytes_need(&f->bytes, PCAP_HEADER)) {
        snprintf(error, CAPTURE_TEXT, "%s: the pcap header is cut: 24 bytes expected, the file has %zu", f->path,
                 (size_t)(f->bytes.end - f->bytes.at));
        return false;
    }
    h = f->bytes.at;
    if (get16(f, h + 4) != 2) {
        snprintf(error, CAPTURE_TEXT, "%s: pcap version %u.%u, expected 2.4", f->path, get16(f, h + 4),
                 get16(f, h + 6));
        return false;
    }
    f->link_type =
        (int32_t)(get32(f, h + 20) & 0xffff); /* above it: reserved, and the length of a frame check sequence */
    bytes_skip(&f->bytes, PCAP_HEADER);
    return true;
}

bool file_open(struct capture_file *f, const char *path, char error[CAPTURE_TEXT]) {
    struct bytes b;

    memset(&b, 0, sizeof b);
    return bytes_open(&b, path, error, CAPTURE_TEXT) && file_adopt(f, &b, path, error);
}

bool file_adopt(struct capture_file *f, struct bytes *b, const char *path, char error[CAPTURE_TEXT]) {
    uint32_t magic;

    memset(f, 0, sizeof *f);
    f->link_type = -1;
    f->bytes = *b;
    memset(b, 0, sizeof *b);
    f->path = strdup(strcmp(path, "-") ? path : "stdin");
    if (!f->path) {
        snprintf(error, CAPTURE_TEXT, "%s: no memory", path);
        goto fail;
    }
    if (!bytes_need(&f->bytes, 4)) {
        snprintf(error, CAPTURE_TEXT, "%s: %zu bytes, expected a pcap or pcapng file%s%s", f->path,
                 (size_t)(f->bytes.end - f->bytes.at), bytes_fault(&f->bytes)[0] ? "; " : "", bytes_fault(&f->bytes));
        goto fail;
    }
    memcpy(&magic, f->bytes.at, 4);
    f->is_pcapng = magic == BLOCK_SECTION;
    if (!f->is_pcapng && !pcap_header(f, error)) goto fail;
    return true;
fail:
    file_close(f);
    return false;
}

void file_close(struct capture_file *f) {
    bytes_close(&f->bytes);
    free(f->interfaces);
    free(f->path);
    memset(f, 0, sizeof *f);
}

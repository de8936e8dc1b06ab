/* Writes a capture of loopback HTTP for measuring: make_capture small|mixed|many FILE [CONNECTIONS]
 *
 *   small  100,000 connections of one request each, 900,000 packets
 *   mixed  65,000 connections, 116,000 requests, some large bodies, some resets; 1.2 GiB
 *   many   2,000,000 short connections
 *
 * or as many CONNECTIONS of the same kind. 200 are under way at a time, so that neighbouring
 * packets belong to different ones. The same arguments give the same file. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACTIVE 200

enum step { SYN, SYN_ACK, ACK, REQUEST, REQUEST_ACK, BODY, BODY_ACK, CLOSE, CLOSE_ANSWER, LAST_ACK, OVER };

struct conn {
    uint32_t address, seq[2]; /* client, server */
    uint16_t port;
    enum step step;
    unsigned requests;
    uint32_t left; /* of the response, head included */
    uint32_t sent; /* since the last ACK */
    uint32_t body, segment;
    int reset;
};

static uint64_t rng = 88172645463325252u, clock_us = 1700000000000000u;
static FILE *file;
static uint8_t filler[65536];

static uint32_t chance(uint32_t n) {
    rng ^= rng << 13, rng ^= rng >> 7, rng ^= rng << 17;
    return (uint32_t)(rng >> 33) % n;
}

static void put16(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)(v >> 8), p[1] = (uint8_t)v;
}
static void put32(uint8_t *p, uint32_t v) {
    put16(p, v >> 16), put16(p + 2, v);
}

static void packet(struct conn *c, int from, uint8_t flags, const void *head, uint32_t head_len, uint32_t fill) {
    uint8_t h[66] = {0};
    uint32_t len = head_len + fill, record[4];
    static uint16_t ident;

    clock_us += 1 + chance(6);
    record[0] = (uint32_t)(clock_us / 1000000), record[1] = (uint32_t)(clock_us % 1000000);
    record[2] = record[3] = 66 + len;
    h[12] = 8;
    h[14] = 0x45;
    put16(h + 16, 52 + len);
    put16(h + 18, ++ident);
    h[22] = 64, h[23] = 6;
    put32(h + 26, from ? 0x7f000001 : c->address);
    put32(h + 30, from ? c->address : 0x7f000001);
    put16(h + 34, from ? 8080 : c->port);
    put16(h + 36, from ? c->port : 8080);
    put32(h + 38, c->seq[from]);
    if (flags != 2) put32(h + 42, c->seq[!from]);
    h[46] = 0x80, h[47] = flags;
    put16(h + 48, 512);
    put16(h + 50, (uint32_t)rng & 0xffff);
    h[54] = h[55] = 1, h[56] = 8, h[57] = 10;
    if (flags & 2) h[54] = 1, h[55] = 3, h[56] = 3, h[57] = 7;
    fwrite(record, sizeof record, 1, file);
    fwrite(h, sizeof h, 1, file);
    if (head_len) fwrite(head, head_len, 1, file);
    if (fill) fwrite(filler, fill, 1, file);
    c->seq[from] += len + ((flags & 3) != 0);
}

static void begin(struct conn *c, uint32_t n, int kind) {
    *c = (struct conn){.address = 0x7f000001 + (n / 60000 << 8), .port = (uint16_t)(2000 + n % 60000)};
    c->seq[0] = (uint32_t)rng, c->seq[1] = (uint32_t)(rng >> 32);
    c->requests = kind == 1 ? 1 + (chance(10) < 5) + (chance(10) < 3) : 1;
    c->reset = kind == 1 && chance(50) == 0;
    c->segment = kind == 1 && chance(4) == 0 ? 32768 : 1448;
    c->body = kind == 0         ? 1150
              : kind == 2       ? 100
              : chance(10) < 6  ? 300 + chance(4000)
              : chance(60) == 0 ? 1 << 19
                                : 4000 + chance(24000);
}

static void answer(struct conn *c) {
    char head[256];
    uint32_t n = (uint32_t)snprintf(
        head, sizeof head,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\n"
        "Content-Length: %u\r\n\r\n",
        c->body);
    uint32_t fill = c->body < c->segment - n ? c->body : c->segment - n;

    packet(c, 1, 0x18, head, n, fill);
    c->left = c->body - fill;
}

/* One packet; true when the connection is over. */
static int advance(struct conn *c) {
    static const char request[] = "GET /items?id=1 HTTP/1.1\r\nHost: origin.test:8080\r\nUser-Agent: "
                                  "Go-http-client/1.1\r\nAccept-Encoding: gzip\r\n\r\n";

    switch (c->step++) {
    case SYN:
        packet(c, 0, 0x02, NULL, 0, 0);
        break;
    case SYN_ACK:
        packet(c, 1, 0x12, NULL, 0, 0);
        break;
    case ACK:
        packet(c, 0, 0x10, NULL, 0, 0);
        break;
    case REQUEST:
        packet(c, 0, 0x18, request, sizeof request - 1, 0);
        c->step = BODY;
        break;
    case REQUEST_ACK:
        packet(c, 1, 0x10, NULL, 0, 0);
        break;
    case BODY:
        if (c->left == 0) {
            answer(c);
        } else {
            uint32_t n = c->left < c->segment ? c->left : c->segment;
            packet(c, 1, 0x10, NULL, 0, n);
            c->left -= n;
            if (++c->sent % 2 && c->left) c->step = BODY;
        }
        break;
    case BODY_ACK:
        if (c->reset && c->left) {
            packet(c, 0, 0x14, NULL, 0, 0);
            return 1;
        }
        packet(c, 0, 0x10, NULL, 0, 0);
        if (c->left)
            c->step = BODY;
        else if (--c->requests)
            c->step = REQUEST;
        break;
    case CLOSE:
        packet(c, 0, 0x11, NULL, 0, 0);
        break;
    case CLOSE_ANSWER:
        packet(c, 1, 0x11, NULL, 0, 0);
        break;
    case LAST_ACK:
        packet(c, 0, 0x10, NULL, 0, 0);
        return 1;
    case OVER:
        return 1;
    }
    return 0;
}

int main(int argc, char **argv) {
    static struct conn active[ACTIVE];
    uint32_t header[6] = {0xa1b2c3d4, 2 | 4 << 16, 0, 0, 262144, 1};
    int kind = argc < 3 || argc > 4        ? -1
               : !strcmp(argv[1], "small") ? 0
               : !strcmp(argv[1], "mixed") ? 1
               : !strcmp(argv[1], "many")  ? 2
                                           : -1;
    uint32_t total = kind == 0 ? 100000 : kind == 1 ? 65000 : 2000000, begun = 0, over = 0;

    if (argc == 4) total = (uint32_t)strtoul(argv[3], NULL, 10);
    if (kind < 0 || total < ACTIVE || !(file = fopen(argv[2], "wb"))) {
        fprintf(stderr, "usage: make_capture small|mixed|many FILE [CONNECTIONS, 200 or more]\n");
        return 2;
    }
    memset(filler, 'x', sizeof filler);
    fwrite(header, sizeof header, 1, file);
    for (; begun < ACTIVE; begun++) begin(&active[begun], begun, kind);
    while (over < total) {
        struct conn *c = &active[chance(ACTIVE)];
        if (c->step == OVER || !advance(c)) continue;
        over++;
        c->step = OVER;
        if (begun < total) begin(c, begun++, kind);
    }
    return fclose(file) ? 1 : 0;
}

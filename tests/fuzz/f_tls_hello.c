/* TLS from outside: the input is a length (two bytes), so many bytes of the client's
 * stream, and the rest of the server's. */
#include "wire/wire.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#define MUST(cond)                                                                                                     \
    do {                                                                                                               \
        if (!(cond)) abort();                                                                                          \
    } while (0)

static struct wire_record *talk(const uint8_t *client, size_t n_client, const uint8_t *server, size_t n_server,
                                size_t cut) {
    struct wire_limits limits = WIRE_LIMITS_DEFAULT;
    struct wire *w = wire_new(&limits);
    struct wire_segment s = {.window_scale = WIRE_NO_SCALE, .window = 65535};
    struct wire_record *r;

    s.src.family = s.dst.family = ADDR_V4;
    for (int from = 0; from < 2; from++) {
        const uint8_t *at = from ? server : client;
        size_t left = from ? n_server : n_client;
        uint32_t seq = 100;

        s.src.port = from ? 443 : 4000;
        s.dst.port = from ? 4000 : 443;
        s.seq = seq++;
        s.ack = from ? 101 : 0;
        s.flags = from ? TCP_SYN | TCP_ACK : TCP_SYN;
        s.len = s.captured = 0;
        s.packet++;
        wire_feed(w, &s);
        s.flags = TCP_ACK;
        while (left) {
            s.payload = at;
            s.captured = s.len = (uint32_t)(left < cut ? left : cut);
            s.seq = seq;
            s.ack = 101;
            s.packet++;
            s.ident += 1u << 16;
            wire_feed(w, &s);
            at += s.len;
            left -= s.len;
            seq += s.len;
        }
    }
    wire_finish(w);
    r = wire_next(w);
    MUST(r);
    wire_free(&w);
    return r;
}

static bool ends(const char *text, size_t room) {
    return memchr(text, 0, room) != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    size_t n_client;

    if (len < 2) return 0;
    n_client = (size_t)data[0] << 8 | data[1];
    data += 2;
    len -= 2;
    if (n_client > len) n_client = len;
    for (size_t cut = 1; cut <= 4096; cut *= 8) {
        struct wire_record *r = talk(data, n_client, data + n_client, len - n_client, cut);
        const struct wire_tls *t = r->evidence.tls;
        if (t) {
            MUST(ends(t->sni, sizeof t->sni) && ends(t->alpn, sizeof t->alpn) &&
                 ends(t->alpn_offered, sizeof t->alpn_offered));
            MUST(r->life.opaque && !(r->life.known & KNOW_REQUESTS));
        }
        wire_record_free(&r);
    }
    return 0;
}

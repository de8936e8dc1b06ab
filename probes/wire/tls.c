/* TLS from outside: records by their lengths, the two hellos, and what kind of
 * record came last before an end. Everything within is opaque. */
#include "wire/conn.h"

#include <stdlib.h>
#include <string.h>

enum { REC_CHANGE_CIPHER = 20, REC_ALERT = 21, REC_HANDSHAKE = 22, REC_DATA = 23 };
enum { EXT_SERVER_NAME = 0, EXT_ALPN = 16, EXT_VERSIONS = 43 };

/* TLS 1.3 hides an alert in a data record: 2 bytes, a type byte and a 16-byte tag. */
#define HIDDEN_ALERT 19

struct reader {
    const uint8_t *at, *end;
    bool ok;
};

static uint32_t take(struct reader *r, unsigned n) {
    uint32_t v = 0;

    if (!r->ok || (size_t)(r->end - r->at) < n) {
        r->ok = false;
        return 0;
    }
    while (n--) v = v << 8 | *r->at++;
    return v;
}

/* A vector with a length of n bytes before it; cut to what is there. */
static struct reader take_vector(struct reader *r, unsigned n) {
    uint32_t len = take(r, n);
    struct reader v = {r->at, r->at, r->ok};

    if (!r->ok) return v;
    if ((size_t)(r->end - r->at) < len) {
        v.end = r->end;
        r->ok = false;
    } else {
        v.end = r->at + len;
    }
    r->at = v.end;
    return v;
}

static bool printable(const uint8_t *p, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (p[i] < 0x21 || p[i] > 0x7e) return false;
    return true;
}

static void read_server_name(struct wire_tls *t, struct reader x) {
    struct reader list = take_vector(&x, 2);

    while (list.ok && list.at < list.end) {
        uint32_t type = take(&list, 1);
        struct reader name = take_vector(&list, 2);
        size_t len = (size_t)(name.end - name.at);
        if (!list.ok || type != 0 || len == 0 || len >= sizeof t->sni || !printable(name.at, len)) continue;
        memcpy(t->sni, name.at, len);
        t->sni[len] = 0;
    }
}

static void read_alpn(char *to, size_t room, struct reader x) {
    struct reader list = take_vector(&x, 2);
    size_t at = 0;

    while (list.ok && list.at < list.end) {
        struct reader name = take_vector(&list, 1);
        size_t len = (size_t)(name.end - name.at);
        if (!list.ok || !printable(name.at, len) || at + len + 2 > room) return;
        if (at) to[at++] = ',';
        memcpy(to + at, name.at, len);
        to[at += len] = 0;
    }
}

static void read_versions(struct wire_tls *t, struct reader x, bool is_client) {
    struct reader list = x;

    if (!is_client) {
        t->version = (uint16_t)take(&x, 2);
        return;
    }
    list = take_vector(&x, 1);
    while (list.ok && list.end - list.at >= 2) {
        uint16_t v = (uint16_t)take(&list, 2);
        if ((v & 0x0f0f) == 0x0a0a) continue; /* GREASE (RFC 8701) */
        if (v <= 0x0304 && v > t->offered) t->offered = v;
    }
}

static void read_extensions(struct wire_tls *t, struct reader r, bool is_client) {
    struct reader list = take_vector(&r, 2);

    while (list.ok && list.at < list.end) {
        uint32_t type = take(&list, 2);
        struct reader x = take_vector(&list, 2);
        if (!x.ok) return;
        if (type == EXT_SERVER_NAME && is_client) read_server_name(t, x);
        if (type == EXT_ALPN)
            read_alpn(is_client ? t->alpn_offered : t->alpn, is_client ? sizeof t->alpn_offered : sizeof t->alpn, x);
        if (type == EXT_VERSIONS) read_versions(t, x, is_client);
    }
}

/* A hello, as far as it is at hand. */
static void read_hello(struct wire_tls *t, const uint8_t *p, size_t len) {
    struct reader r = {p, p + len, true};
    uint32_t type = take(&r, 1), version;
    struct reader body = take_vector(&r, 3);

    if (type != 1 && type != 2) return;
    body.ok = true; /* a hello that goes on in the next record: what is here is read */
    version = take(&body, 2);
    body.at += body.end - body.at < 32 ? body.end - body.at : 32; /* random */
    take_vector(&body, 1);                                        /* session id */
    if (type == 1) {
        if (t->offered || version < 0x0300) return;
        t->offered = (uint16_t)version;
        take_vector(&body, 2); /* cipher suites */
        take_vector(&body, 1); /* compression */
    } else {
        if (version < 0x0300) return;
        t->version = (uint16_t)version;
        t->cipher = (uint16_t)take(&body, 2);
        take(&body, 1); /* compression */
    }
    if (body.ok) read_extensions(t, body, type == 1);
}

static const char *cipher_name(uint16_t id) {
    switch (id) {
#define X(number, name)                                                                                                \
    case number:                                                                                                       \
        return name;
#include "core/tbl/tls_ciphers.h"
#undef X
    default:
        return NULL;
    }
}

static const char *version_name(uint16_t v) {
    switch (v) {
    case 0x0300:
        return "SSLv3";
    case 0x0301:
        return "TLSv1";
    case 0x0302:
        return "TLSv1.1";
    case 0x0303:
        return "TLSv1.2";
    case 0x0304:
        return "TLSv1.3";
    default:
        return NULL;
    }
}

/* Whether the server announced its end. TLS 1.3 hides that among the data; before it an alert
 * is a record of its own kind, and one behind the handshake, with nothing but the FIN after it,
 * is close_notify. */
void tls_record(const struct conn *c, const struct wire_tls *t, bool server_is_whole, struct lifecycle *l) {
    const struct dir *sd = &c->dir[!c->client];

    l->tls_version = version_name(t->version);
    l->tls_cipher = cipher_name(t->cipher);
    if (!t->version || t->version >= 0x0304 || !server_is_whole || sd->reading != READ_TLS || sd->left || sd->head_tail)
        return;
    switch ((enum wire_alert)t->alert[1]) {
    case ALERT_NONE:
    case ALERT_ERROR:
        l->known |= KNOW_CLOSE_NOTIFY;
        break;
    case ALERT_CLOSE:
        l->close_notify = true;
        l->known |= KNOW_CLOSE_NOTIFY;
        break;
    case ALERT_SEALED:
        if (!sd->fin_packet) break;
        l->close_notify = true;
        l->known |= KNOW_CLOSE_NOTIFY;
        break;
    case ALERT_BY_SIZE:
    case ALERT_CUT:
        break;
    }
}

void tls_begin(struct conn *c) {
    if (!c->tls && !(c->tls = calloc(1, sizeof *c->tls))) abort();
    for (int i = 0; i < 2; i++) c->dir[i].reading = READ_TLS;
}

/* ---- records ---- */

static unsigned who_sends(const struct conn *c, unsigned from) {
    return from != c->client;
}

/* A hello may go on in the next segment, or in the next record: its bytes are kept until
 * it is whole. `whole`: no more of it will come. */
#define MAX_HELLO (32u << 10)

static void try_hello(struct conn *c, unsigned from, bool whole) {
    struct dir *d = &c->dir[from];
    struct wire_tls *t = c->tls;
    const uint8_t *p = d->head->bytes;
    size_t len = d->head->len;

    if (!whole && len < MAX_HELLO && (len < 4 || len - 4 < ((size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3]))) return;
    read_hello(t, p, len);
    t->hello_read[who_sends(c, from)] = true;
    free(d->head);
    d->head = NULL;
}

static bool in_hello(const struct conn *c, unsigned from) {
    unsigned who = who_sends(c, from);

    return c->dir[from].record_header[0] == REC_HANDSHAKE && !c->tls->hello_read[who] && !c->tls->sealed[who];
}

/* A close_notify or an error in clear text: before ChangeCipherSpec. */
static uint8_t read_alert(struct wire_tls *t, unsigned who, const uint8_t *body, size_t len, uint64_t size) {
    if (t->sealed[who] || size != 2) return ALERT_SEALED;
    if (len < 2) return ALERT_CUT;
    if (body[1] == 0) return ALERT_CLOSE;
    t->error[who] = body[1];
    return ALERT_ERROR;
}

static void record_begins(struct conn *c, unsigned from, const uint8_t header[5], const uint8_t *body, size_t len) {
    struct wire_tls *t = c->tls;
    struct dir *d = &c->dir[from];
    unsigned who = who_sends(c, from);

    d->left = (uint64_t)header[3] << 8 | header[4];
    t->records[who]++;
    t->record_bytes[who] += d->left;
    t->alert[who] = ALERT_NONE;
    if (header[0] == REC_CHANGE_CIPHER) t->sealed[who] = true;
    if (header[0] == REC_ALERT) t->alert[who] = read_alert(t, who, body, len, d->left);
    if (header[0] == REC_DATA && d->left == HIDDEN_ALERT && t->version == 0x0304) t->alert[who] = ALERT_BY_SIZE;
}

static bool plausible(const uint8_t header[5]) {
    return header[0] >= REC_CHANGE_CIPHER && header[0] <= 24 && header[1] == 3 && header[2] <= 4 &&
           ((unsigned)header[3] << 8 | header[4]) <= 16384 + 2048; /* RFC 5246 section 6.2.3 */
}

void tls_piece(struct conn *c, unsigned from, struct piece p) {
    struct dir *d = &c->dir[from];

    if (d->reading == READ_TLS_LOST) return;
    while (p.len) {
        uint64_t n;
        if (d->left) {
            n = p.len < d->left ? p.len : d->left;
            d->left -= n;
            if (in_hello(c, from)) {
                if (p.data) keep_bytes(d, p.data, n);
                if (d->head) try_hello(c, from, !p.data);
            }
        } else {
            n = 0;
            while (d->head_tail < 5 && n < p.len && p.data) d->record_header[d->head_tail++] = p.data[n++];
            if (!p.data || (d->head_tail == 5 && !plausible(d->record_header))) {
                d->reading = READ_TLS_LOST;
                return;
            }
            if (d->head_tail < 5) return;
            record_begins(c, from, d->record_header, p.data + n, p.len - n);
            d->head_tail = 0;
        }
        if (p.data) p.data += n;
        p.len -= n;
    }
}

#include "ident.h"

#include <string.h>

/* ---- hashing ----
 *
 * Each step multiplies 64 by 64 bits and folds the two halves of the product
 * into one another (the idea of wyhash). A factor of zero would forget
 * everything before it, so the constants that data is combined with are made
 * from the seed: a peer that does not know it cannot aim at them. */

static uint64_t hash_k[4] = {0x9ae16a3b2f90404fu, 0xc949c7defef3bc45u, 0xb492b66fbe98f273u, 0xd6e8feb86659fd93u};

static uint64_t fold(uint64_t a, uint64_t b) {
    unsigned __int128 m = (unsigned __int128)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static uint64_t load(const uint8_t *p, size_t len) {
    uint64_t v = 0;
    memcpy(&v, p, len);
    return v;
}

/* The last 1 to 16 bytes as two words; they overlap where that spares a loop. */
static void load_tail(const uint8_t *p, size_t len, uint64_t *a, uint64_t *b) {
    if (len >= 8) {
        *a = load(p, 8);
        *b = load(p + len - 8, 8);
    } else if (len >= 4) {
        *a = load(p, 4);
        *b = load(p + len - 4, 4);
    } else {
        *a = (uint64_t)p[0] << 16 | (uint64_t)p[len / 2] << 8 | p[len - 1];
        *b = 0;
    }
}

uint64_t bytes_hash(const void *data, size_t len, uint64_t seed) {
    const uint8_t *p = data;
    uint64_t h = fold(seed ^ hash_k[0], len ^ hash_k[1]);
    size_t left = len;

    for (; left > 16; left -= 16, p += 16) h = fold(load(p, 8) ^ hash_k[2], load(p + 8, 8) ^ h);
    if (left > 0) {
        uint64_t a, b;
        load_tail(p, left, &a, &b);
        h = fold(a ^ hash_k[2], b ^ h);
    }
    return fold(h ^ hash_k[3], len ^ hash_k[1]);
}

void hash_seed(uint64_t seed) {
    /* A counter with a bijective mixer behind it: four words that have nothing in common. */
    for (unsigned i = 0; i < 4; i++) {
        uint64_t z = seed + (i + 1) * 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 32) * 0xd6e8feb86659fd93u;
        z = (z ^ z >> 32) * 0xd6e8feb86659fd93u;
        hash_k[i] = z ^ z >> 32;
    }
}

/* ---- endpoints and flows ---- */

_Static_assert(sizeof(struct flow_key) == 40, "flow keys are hashed and compared as bytes: no padding");

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b) {
    return memcmp(a, b, sizeof *a) == 0;
}
bool flow_equal(const struct flow_key *a, const struct flow_key *b) {
    return memcmp(a, b, sizeof *a) == 0;
}
int flow_compare(const struct flow_key *a, const struct flow_key *b) {
    return memcmp(a, b, sizeof *a);
}
uint64_t flow_hash(const struct flow_key *f) {
    return bytes_hash(f, sizeof *f, 0);
}

/* ---- connect keys ---- */

bool connect_key_equal(const struct connect_key *a, const struct connect_key *b) {
    /* The address differs most often. */
    return a->only_h1 == b->only_h1 && strcmp(a->addr, b->addr) == 0 && strcmp(a->scheme, b->scheme) == 0 &&
           strcmp(a->proxy, b->proxy) == 0;
}

uint64_t connect_key_hash(const struct connect_key *k) {
    /* Each length is part of its hash, so no text can move over a border. */
    uint64_t h = bytes_hash(k->addr, strlen(k->addr), k->only_h1);
    h = bytes_hash(k->scheme, strlen(k->scheme), h);
    return *k->proxy ? bytes_hash(k->proxy, strlen(k->proxy), h) : h;
}

char *connect_key_text(const struct connect_key *k, char *buf, size_t size) {
    const char *parts[] = {k->proxy, "|", k->scheme, k->only_h1 ? ",h1|" : "|", k->addr};
    size_t at = 0;

    if (size == 0) return buf;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        size_t len = strlen(parts[i]);
        if (len > size - 1 - at) len = size - 1 - at;
        memcpy(buf + at, parts[i], len);
        at += len;
    }
    buf[at] = '\0';
    return buf;
}

/* ---- addresses as text ---- */

/* Both: at most 16 bits. */
static char *put_decimal(char *p, unsigned n) {
    if (n > 9999) *p++ = (char)('0' + n / 10000);
    if (n > 999) *p++ = (char)('0' + n / 1000 % 10);
    if (n > 99) *p++ = (char)('0' + n / 100 % 10);
    if (n > 9) *p++ = (char)('0' + n / 10 % 10);
    *p++ = (char)('0' + n % 10);
    return p;
}

static char *put_hex(char *p, unsigned n) {
    unsigned shift = n > 0xfff ? 12 : n > 0xff ? 8 : n > 0xf ? 4 : 0;

    for (;; shift -= 4) {
        *p++ = "0123456789abcdef"[n >> shift & 15];
        if (shift == 0) return p;
    }
}

static char *put_v4(char *p, const uint8_t a[4]) {
    for (unsigned i = 0; i < 4; i++) {
        if (i) *p++ = '.';
        p = put_decimal(p, a[i]);
    }
    return p;
}

static unsigned v6_group(const uint8_t a[16], unsigned i) {
    return (unsigned)a[2 * i] << 8 | a[2 * i + 1];
}

/* The longest run of two or more zero groups, the first of equals (RFC 5952, 4.2). */
static unsigned zero_run(const uint8_t a[16], unsigned n_groups, unsigned *start) {
    unsigned best = 1;
    for (unsigned i = 0; i < n_groups; i++) {
        unsigned len = 0;
        while (i + len < n_groups && v6_group(a, i + len) == 0) len++;
        if (len > best) {
            best = len;
            *start = i;
        }
        i += len;
    }
    return best > 1 ? best : 0;
}

static const uint8_t v4_mapped[12] = {[10] = 0xff, [11] = 0xff};

static char *put_v6(char *p, const uint8_t a[16]) {
    bool mapped = memcmp(a, v4_mapped, sizeof v4_mapped) == 0;
    unsigned n_groups = mapped ? 6 : 8, start = 0, run = zero_run(a, n_groups, &start);

    for (unsigned i = 0; i < n_groups;) {
        if (run && i == start) {
            *p++ = ':';
            *p++ = ':';
            i += run;
            continue;
        }
        if (i && !(run && i == start + run)) *p++ = ':';
        p = put_hex(p, v6_group(a, i++));
    }
    if (!mapped) return p;
    *p++ = ':';
    return put_v4(p, a + 12);
}

char *endpoint_text(const struct endpoint *e, char buf[ENDPOINT_TEXT_MAX]) {
    char *p = buf;

    switch ((enum addr_family)e->family) {
    case ADDR_V4:
        p = put_v4(p, e->addr);
        break;
    case ADDR_V6:
        *p++ = '[';
        p = put_v6(p, e->addr);
        *p++ = ']';
        break;
    case ADDR_UNIX:
        memcpy(buf, "unix", 5);
        return buf;
    case ADDR_NONE:
        memcpy(buf, "?", 2);
        return buf;
    }
    *p++ = ':';
    p = put_decimal(p, e->port);
    *p = '\0';
    return buf;
}

/* A number of at most `digits` digits in plain form; the place behind it, or NULL. */
static const char *take_decimal(const char *p, unsigned digits, unsigned max, unsigned *out) {
    unsigned v = 0, n = 0;

    while (n < digits && p[n] >= '0' && p[n] <= '9') v = v * 10 + (unsigned)(p[n++] - '0');
    if (n == 0 || v > max || (n > 1 && *p == '0')) return NULL;
    *out = v;
    return p + n;
}

static const char *take_v4(const char *p, uint8_t out[4]) {
    for (unsigned i = 0; i < 4; i++) {
        unsigned v;
        if (i && *p++ != '.') return NULL;
        p = take_decimal(p, 3, 255, &v);
        if (!p) return NULL;
        out[i] = (uint8_t)v;
    }
    return p;
}

static const char *take_group(const char *p, unsigned *out) {
    unsigned v = 0, n = 0;

    for (; n < 4; n++) {
        char c = p[n];
        unsigned d;
        if (c >= '0' && c <= '9')
            d = (unsigned)(c - '0');
        else if (c >= 'a' && c <= 'f')
            d = (unsigned)(c - 'a') + 10;
        else if (c >= 'A' && c <= 'F')
            d = (unsigned)(c - 'A') + 10;
        else
            break;
        v = v << 4 | d;
    }
    if (n == 0) return NULL;
    *out = v;
    return p + n;
}

/* Groups before and after "::"; a dotted IPv4 address may stand for the last two. */
static const char *take_v6(const char *p, uint8_t out[16]) {
    enum { NOWHERE = 17 };
    uint8_t a[16] = {0};
    unsigned n = 0, gap = NOWHERE; /* bytes so far; where "::" stands */

    if (p[0] == ':' && p[1] == ':') {
        gap = 0;
        p += 2;
    }
    while (*p != ']') {
        unsigned v;
        const char *end = n <= 12 ? take_v4(p, a + n) : NULL;
        if (end && *end == ']') {
            n += 4;
            p = end;
            break;
        }
        end = n <= 14 ? take_group(p, &v) : NULL;
        if (!end) return NULL;
        a[n++] = (uint8_t)(v >> 8);
        a[n++] = (uint8_t)v;
        p = end;
        if (*p == ']') break;
        if (*p++ != ':') return NULL;
        if (*p == ':') {
            if (gap != NOWHERE) return NULL;
            gap = n;
            p++;
        } else if (*p == ']') {
            return NULL; /* a single colon at the end */
        }
    }
    if (gap == NOWHERE ? n != 16 : n > 14) return NULL;
    memset(out, 0, 16);
    if (gap == NOWHERE) {
        memcpy(out, a, 16);
    } else {
        memcpy(out, a, gap);
        memcpy(out + 16 - (n - gap), a + gap, n - gap);
    }
    return p;
}

bool endpoint_parse(const char *text, struct endpoint *out) {
    struct endpoint e = {.family = ADDR_V4};
    unsigned port;
    const char *p;

    if (*text == '[') {
        e.family = ADDR_V6;
        p = take_v6(text + 1, e.addr);
        if (p && *p++ != ']') return false;
    } else {
        p = take_v4(text, e.addr);
    }
    if (!p || *p++ != ':') return false;
    p = take_decimal(p, 5, 65535, &port);
    if (!p || *p) return false;
    e.port = (uint16_t)port;
    *out = e;
    return true;
}

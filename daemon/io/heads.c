#include "heads.h"

#include <string.h>

static void put(struct head_text *t, const void *p, size_t n) {
    memcpy(t->p + t->len, p, n);
    t->len += n;
}
static void put_text(struct head_text *t, const char *s) {
    put(t, s, strlen(s));
}
#define PUT(t, literal) put(t, literal, sizeof literal - 1)

static void put_number(struct head_text *t, uint64_t v) {
    char buf[20];
    size_t i = sizeof buf;
    do {
        buf[--i] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    put(t, buf + i, sizeof buf - i);
}

/* Name, colon, value as they came, and a clean line end. */
static void put_field(struct head_text *t, const uint8_t *bytes, const struct h1_field *f) {
    put(t, bytes + f->name.off, f->name.len);
    PUT(t, ": ");
    put(t, bytes + f->value.off, f->value.len);
    PUT(t, "\r\n");
}

/* Fields that concern one connection only, or whose message we write anew
 * (RFC 9110, 7.6.1; R156). Host is written first, the framing last. */
static bool stays_here(const struct h1_field *f) {
    if (f->named_in_connection) return true;
    switch ((enum h1_name)f->known) {
    case H1_N_CONNECTION:
    case H1_N_PROXY_CONNECTION:
    case H1_N_KEEP_ALIVE:
    case H1_N_PROXY_AUTHENTICATE:
    case H1_N_PROXY_AUTHORIZATION:
    case H1_N_TE:
    case H1_N_TRANSFER_ENCODING:
    case H1_N_CONTENT_LENGTH:
    case H1_N_UPGRADE:
        return true;
    default:
        return false;
    }
}

static void put_via(struct head_text *t, unsigned minor, const char *via) {
    if (!via) return;
    if (minor)
        PUT(t, "Via: 1.1 ");
    else
        PUT(t, "Via: 1.0 ");
    put_text(t, via);
    PUT(t, "\r\n");
}

static void put_length(struct head_text *t, uint64_t n) {
    PUT(t, "Content-Length: ");
    put_number(t, n);
    PUT(t, "\r\n");
}

static const struct h1_field *find(const struct h1_head *h, enum h1_name known) {
    for (size_t i = 0; i < h->n_fields; i++)
        if (h->fields[i].known == known) return &h->fields[i];
    return NULL;
}

/* Blanks that we add where the sender had none: two bytes a field at most. */
#define SLACK 512

size_t request_head_bound(const struct request_head *r) {
    return r->head->bytes + 2 * r->head->n_fields + r->target->authority.len +
           (r->authority ? strlen(r->authority) : 0) + SLACK;
}

void request_head_write(const struct request_head *r, struct head_text *t) {
    const struct h1_head *h = r->head;
    const uint8_t *b = r->bytes;
    const struct h1_span *path = &r->target->path;
    put(t, b + h->method.off, h->method.len);
    PUT(t, " ");
    if (path->len == 0) { /* absolute-form without a path: "*" for OPTIONS (RFC 9112, 3.2.4) */
        put(t, h->method.len == 7 && memcmp(b + h->method.off, "OPTIONS", 7) == 0 ? "*" : "/", 1);
    } else {
        if (b[path->off] == '?') PUT(t, "/");
        put(t, b + path->off, path->len);
    }
    PUT(t, " HTTP/1.1\r\nHost: ");
    if (r->target->authority.len)
        put(t, b + r->target->authority.off, r->target->authority.len);
    else if (r->authority)
        put_text(t, r->authority);
    PUT(t, "\r\n");
    for (size_t i = 0; i < h->n_fields; i++) {
        const struct h1_field *f = &h->fields[i];
        if (f->known == H1_N_HOST || (f->known == H1_N_MAX_FORWARDS && r->max_forwards >= 0) || stays_here(f)) continue;
        put_field(t, b, f);
    }
    if (r->max_forwards >= 0) { /* once, however many came: request_head_bound has room for one */
        PUT(t, "Max-Forwards: ");
        put_number(t, (uint64_t)r->max_forwards);
        PUT(t, "\r\n");
    }
    if (h->te_trailers) PUT(t, "TE: trailers\r\n");
    if (r->framing == FRAMING_LENGTH) put_length(t, r->content_length);
    if (r->framing == FRAMING_CHUNKED) PUT(t, "Transfer-Encoding: chunked\r\n");
    const struct h1_field *upgrade = h->conn_upgrade ? find(h, H1_N_UPGRADE) : NULL;
    if (upgrade) {
        PUT(t, "Connection: Upgrade\r\n");
        put_field(t, b, upgrade);
    } else if (r->add_close) {
        PUT(t, "Connection: close\r\n");
    }
    put_via(t, h->minor, r->via);
    PUT(t, "\r\n");
}

size_t response_head_bound(const struct response_head *r) {
    return r->head->bytes + 2 * r->head->n_fields + SLACK;
}

void response_head_write(const struct response_head *r, struct head_text *t) {
    const struct h1_head *h = r->head;
    PUT(t, "HTTP/1.1 ");
    put_number(t, h->status);
    PUT(t, " ");
    put(t, r->bytes + h->reason.off, h->reason.len);
    PUT(t, "\r\n");
    bool dated = false;
    for (size_t i = 0; i < h->n_fields; i++) {
        const struct h1_field *f = &h->fields[i];
        if (stays_here(f)) continue;
        dated |= f->known == H1_N_DATE;
        put_field(t, r->bytes, f);
    }
    if (r->date && !dated) {
        PUT(t, "Date: ");
        put_text(t, r->date);
        PUT(t, "\r\n");
    }
    if (r->content_length != UNKNOWN_BYTES) put_length(t, r->content_length);
    if (r->framing == DOWN_CHUNKED || r->framing == DOWN_ENCHUNK) PUT(t, "Transfer-Encoding: chunked\r\n");
    if (r->upgrade) {
        const struct h1_field *upgrade = find(h, H1_N_UPGRADE);
        PUT(t, "Connection: Upgrade\r\n");
        if (upgrade) put_field(t, r->bytes, upgrade);
    } else if (r->say_close) {
        PUT(t, "Connection: close\r\n");
    } else if (r->say_keep_alive) {
        PUT(t, "Connection: keep-alive\r\n");
    }
    put_via(t, h->minor, r->via);
    PUT(t, "\r\n");
}

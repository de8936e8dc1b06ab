/* Messages made up at random, written down with what they are, and read back: the
 * reading must be what was written, in pieces of any size, with bodies skipped or not. */
#include "core/h1.h"

#include "tap.h"

#include <time.h>

#define ROUNDS     3000
#define MESSAGES   4
#define STREAM_MAX (1u << 18)

static uint32_t seed;

static uint32_t below(uint32_t n) {
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % n;
}

struct bytes {
    uint8_t p[STREAM_MAX];
    size_t len;
};

__attribute__((format(printf, 2, 3))) static void add(struct bytes *b, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    b->len += (size_t)vsnprintf((char *)b->p + b->len, STREAM_MAX - b->len, fmt, ap);
    va_end(ap);
}

static void add_any(struct bytes *b, size_t n) {
    while (n--) b->p[b->len++] = (uint8_t)below(256);
}

/* What a message is. */
struct message {
    size_t n_fields, body_at, body_len, end; /* body_at: in the bodies; end: in the stream */
    uint32_t head_bytes, status;
    char method[8];
    bool chunked, until_eof;
};

struct stream {
    enum h1_side side;
    struct bytes wire, bodies;
    struct message m[MESSAGES];
    size_t n;
};

static const char *line_end(enum h1_side side) {
    return side == H1_RESPONSE && below(6) == 0 ? "\n" : "\r\n";
}

static void write_fields(struct stream *s, struct message *m) {
    static const char *const names[] = {"Accept", "X-Trace-Id", "server", "DATE", "Cookie", "Keep-Alive", "ETag", "x"};
    for (uint32_t n = below(6); n > 0; n--, m->n_fields++) {
        add(&s->wire, "%s:%.*s", names[below(8)], (int)below(3), "  ");
        for (uint32_t len = below(4) ? below(30) : 0; len > 0; len--) add(&s->wire, "%c", "aZ0 ;,=\"\xc3\t"[below(10)]);
        add(&s->wire, "%.*s%s", (int)below(3), "\t ", line_end(s->side));
    }
}

static void write_chunks(struct stream *s, struct message *m) {
    for (uint32_t n = below(5); n > 0; n--) {
        size_t len = 1 + below(below(4) ? 40 : 3000);
        add(&s->wire, below(2) ? "%zx%s\r\n" : "%04zX%s\r\n", len, below(4) ? "" : ";name=\"value\"");
        size_t at = s->bodies.len;
        add_any(&s->bodies, len);
        memcpy(s->wire.p + s->wire.len, s->bodies.p + at, len);
        s->wire.len += len;
        m->body_len += len;
        add(&s->wire, "\r\n");
    }
    add(&s->wire, below(2) ? "0\r\n" : "00;last\r\n");
    for (uint32_t n = below(3); n > 0; n--) add(&s->wire, "X-Trailer-%u: %u\r\n", n, below(1000));
    add(&s->wire, "\r\n");
}

static void write_message(struct stream *s, bool last) {
    static const char *const methods[] = {"GET", "POST", "PUT", "M", "QUERY"};
    struct message *m = &s->m[s->n++];
    size_t from = s->wire.len;
    *m = (struct message){.body_at = s->bodies.len};
    const char *e = line_end(s->side);
    if (s->side == H1_REQUEST) {
        snprintf(m->method, sizeof m->method, "%s", methods[below(5)]);
        if (below(4) == 0) add(&s->wire, "\r\n"), from += 2;
        add(&s->wire, "%s /%u HTTP/1.1\r\nHost: h%u\r\n", m->method, below(1000), below(100));
        m->n_fields++;
    } else {
        m->status = 200 + below(100);
        if (m->status == 204) m->status = 200;
        add(&s->wire, below(2) ? "HTTP/1.1 %u Fine%s" : "HTTP/1.1 %u%s", m->status, e);
    }
    write_fields(s, m);
    size_t len = below(3) ? below(100) : below(20000);
    uint32_t kind = below(3);
    m->until_eof = s->side == H1_RESPONSE && last && kind == 0;
    m->chunked = !m->until_eof && kind == 1;
    bool bodyless = s->side == H1_REQUEST && kind == 2;
    if (m->chunked) add(&s->wire, "Transfer-Encoding: chunked%s", e);
    if (!m->chunked && !m->until_eof && !bodyless) add(&s->wire, "Content-Length: %zu%s", len, e);
    m->n_fields += m->chunked || (!m->until_eof && !bodyless);
    write_fields(s, m);
    add(&s->wire, "%s", e);
    m->head_bytes = (uint32_t)(s->wire.len - from);
    if (m->chunked) {
        write_chunks(s, m);
    } else if (!bodyless) {
        add_any(&s->bodies, len);
        memcpy(s->wire.p + s->wire.len, s->bodies.p + m->body_at, len);
        s->wire.len += len;
        m->body_len = len;
    }
    m->end = s->wire.len;
}

struct reader {
    const struct stream *s;
    struct h1 *h;
    size_t at, i, body; /* bytes of the stream; the message; bytes of its body */
    bool in_body;
};

static bool wrong(const struct reader *r, const char *what) {
    tap_fail(__FILE__, __LINE__, "message %zu at byte %zu: %s", r->i, r->at, what);
    return false;
}

static bool message_ends(struct reader *r) {
    const struct message *m = &r->s->m[r->i];
    if (r->body != m->body_len) return wrong(r, "another body length");
    if (r->at != m->end) return wrong(r, "another end");
    r->i++;
    r->body = 0;
    r->in_body = false;
    return true;
}

static bool head_comes(struct reader *r) {
    const struct message *m = &r->s->m[r->i];
    const struct h1_head *hd = h1_head(r->h);
    uint64_t length;
    if (r->i == r->s->n) return wrong(r, "one head too many");
    if (hd->bytes != m->head_bytes || hd->n_fields != m->n_fields || hd->status != m->status)
        return wrong(r, "another head");
    if (hd->method.len != strlen(m->method) || memcmp(r->s->wire.p + r->at - hd->bytes, m->method, hd->method.len) != 0)
        return wrong(r, "another method");
    bool request = r->s->side == H1_REQUEST;
    enum body_framing f = request ? h1_request_framing(hd, &length) : h1_response_framing(hd, false, &length);
    if ((f == FRAMING_CHUNKED) != m->chunked || (f == FRAMING_UNTIL_EOF) != m->until_eof)
        return wrong(r, "another framing");
    h1_begin_body(r->h, f, length);
    r->in_body = !h1_between(r->h);
    return r->in_body || message_ends(r);
}

static bool data_come(struct reader *r, const uint8_t *p, size_t n) {
    const struct message *m = &r->s->m[r->i];
    if (r->body + n > m->body_len) return wrong(r, "too much body");
    if (memcmp(p, r->s->bodies.p + m->body_at + r->body, n) != 0) return wrong(r, "another body");
    r->body += n;
    return true;
}

static bool skip_some(struct reader *r, size_t end) {
    uint64_t left = h1_remaining(r->h);
    size_t n = end - r->at;
    if (left < n) n = (size_t)left;
    if (!data_come(r, r->s->wire.p + r->at, n)) return false;
    r->at += n;
    return !h1_skip(r->h, n) || message_ends(r);
}

static bool read_back(const struct stream *s, uint32_t piece, bool skips) {
    static const struct h1_limits limits = {1u << 16, 100, 4096};
    struct reader r = {.s = s, .h = h1_new(s->side, &limits)};
    bool ok = true;
    while (ok && r.at < s->wire.len) {
        size_t end = r.at + 1 + below(piece);
        if (end > s->wire.len) end = s->wire.len;
        for (enum h1_step step = H1_HEAD; ok && step != H1_MORE;) {
            size_t used, n;
            const uint8_t *p;
            step = h1_feed(r.h, s->wire.p + r.at, end - r.at, &used);
            r.at += used;
            if (step == H1_ERROR) ok = wrong(&r, h1_error_text(h1_error(r.h, NULL)));
            if (step == H1_HEAD) ok = head_comes(&r);
            if (step == H1_DONE) ok = message_ends(&r);
            h1_data(r.h, &p, &n);
            if (step == H1_DATA) ok = data_come(&r, p, n);
            if (ok && step != H1_MORE && skips && h1_remaining(r.h) && below(2)) ok = skip_some(&r, end);
        }
    }
    if (ok && h1_eof(r.h) != H1_DONE) ok = wrong(&r, "the end of the stream is no end");
    if (ok && r.in_body) ok = message_ends(&r);
    if (ok && r.i != s->n) ok = wrong(&r, "messages are missing");
    h1_free(&r.h);
    return ok;
}

static void check_side(enum h1_side side) {
    struct stream *s = malloc(sizeof *s);
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint32_t seed_of_round = seed;
        s->side = side;
        s->n = s->wire.len = s->bodies.len = 0;
        for (uint32_t n = 1 + below(MESSAGES); n > 0; n--) write_message(s, n == 1);
        static const uint32_t pieces[] = {1, 7, 100, 5000, STREAM_MAX};
        bool small = s->wire.len < 3000;
        bool ok = read_back(s, pieces[small ? below(5) : 2 + below(3)], false);
        ok = ok && read_back(s, pieces[2 + below(3)], true);
        if (!ok) {
            tap_fail(__FILE__, __LINE__, "round %u: SEED=%u repeats it", round, seed_of_round);
            break;
        }
    }
    free(s);
}

TEST(requests_are_read_as_they_were_written) {
    check_side(H1_REQUEST);
}
TEST(responses_are_read_as_they_were_written) {
    check_side(H1_RESPONSE);
}

int main(void) {
    seed = (uint32_t)time(NULL);
    if (getenv("SEED")) seed = (uint32_t)strtoul(getenv("SEED"), NULL, 0);
    printf("# SEED=%u\n", seed);
    return tap_run();
}

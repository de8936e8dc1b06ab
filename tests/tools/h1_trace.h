/* A stream of bytes through h1, written down as text: the same text means the
 * same reading, however the stream was cut into pieces.
 *
 *     struct h1_trace t = {.side = H1_REQUEST, .piece = 1};
 *     h1_trace_run(&t, bytes, len);   ... t.text ...
 *     free(t.text);
 *
 * Each piece is fed from an allocation of its own that is gone afterwards, so that a
 * sanitizer sees whatever h1 kept. What must hold of every stream is checked on the way. */
#ifndef CONNLEAK_H1_TRACE_H
#define CONNLEAK_H1_TRACE_H

#include "core/h1.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct h1_trace {
    enum h1_side side;
    bool head_only;          /* responses answer HEAD requests */
    bool skip;               /* bodies go through h1_skip where they can */
    bool resets;             /* h1_reset between messages: it must make no difference */
    struct h1_limits limits; /* all 0: generous ones */
    size_t piece;            /* bytes a feed; 0: all at once */
    uint32_t seed;           /* not 0: pieces of random sizes up to `piece` */
    bool no_eof;             /* do not end the stream after the last byte */
    void (*on_head)(enum h1_side side, const struct h1_head *head, const uint8_t *bytes); /* may be NULL */

    char *text; /* out */
    size_t text_len, text_room;
    enum h1_error error;
    uint64_t error_at;
    size_t messages; /* completed */
    size_t used;     /* bytes consumed of the stream */
};

#define H1_TRACE_MUST(cond)                                                                                            \
    do {                                                                                                               \
        if (!(cond)) {                                                                                                 \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #cond);                                  \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

__attribute__((format(printf, 2, 3), unused)) static void h1_trace_say(struct h1_trace *t, const char *fmt, ...) {
    if (t->text_room - t->text_len < 512) {
        t->text_room = t->text_room * 2 + 1024;
        t->text = realloc(t->text, t->text_room);
        if (!t->text) abort();
    }
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(t->text + t->text_len, t->text_room - t->text_len, fmt, ap);
    va_end(ap);
    H1_TRACE_MUST(n >= 0 && n < 512);
    t->text_len += (size_t)n;
}

static uint64_t h1_trace_hash(const uint8_t *p, size_t len, uint64_t h) {
    for (size_t i = 0; i < len; i++) h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

static size_t h1_trace_piece(struct h1_trace *t, size_t left) {
    size_t n = t->piece ? t->piece : left;
    if (t->seed) {
        t->seed = t->seed * 1664525u + 1013904223u;
        n = 1 + (t->seed >> 8) % n;
    }
    return n < left ? n : left;
}

static void h1_trace_span(struct h1_trace *t, const struct h1_head *hd, const uint8_t *head, const char *what,
                          struct h1_span s) {
    H1_TRACE_MUST(s.off <= hd->bytes && s.len <= hd->bytes - s.off);
    h1_trace_say(t, " %s=", what);
    size_t n = s.len < 60 ? s.len : 60;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = head[s.off + i];
        h1_trace_say(t, c > 0x20 && c < 0x7f ? "%c" : "\\x%02x", c);
    }
    if (s.len > 60) h1_trace_say(t, "...%" PRIu32 ":%" PRIx64, s.len, h1_trace_hash(head + s.off, s.len, 1));
}

static void h1_trace_head(struct h1_trace *t, const struct h1_head *hd, const uint8_t *head, enum body_framing framing,
                          uint64_t length) {
    h1_trace_say(t, "head %" PRIu32 " bytes, %u.%u, status %u", hd->bytes, hd->major, hd->minor, hd->status);
    h1_trace_span(t, hd, head, "method", hd->method);
    h1_trace_span(t, hd, head, "target", hd->target);
    h1_trace_span(t, hd, head, "reason", hd->reason);
    if (hd->has_host) h1_trace_span(t, hd, head, "host", hd->host);
    const bool flags[] = {hd->is_head,         hd->is_connect,   hd->is_safe,     hd->conn_close,
                          hd->conn_keep_alive, hd->conn_upgrade, hd->has_upgrade, hd->is_websocket,
                          hd->expect_continue, hd->te_trailers,  hd->chunked,     hd->has_idempotency_key};
    h1_trace_say(t, " flags ");
    for (size_t i = 0; i < sizeof flags; i++) h1_trace_say(t, "%d", flags[i]);
    h1_trace_say(t, " cl %" PRId64 " framing %d %" PRIu64 "\n", (int64_t)hd->content_length, framing, length);
    uint32_t end = 0;
    for (size_t i = 0; i < hd->n_fields; i++) {
        const struct h1_field *f = &hd->fields[i];
        H1_TRACE_MUST(f->name.len > 0 && f->name.off >= end);
        H1_TRACE_MUST(f->value.off > f->name.off + f->name.len - 1);
        end = f->value.off + f->value.len;
        h1_trace_say(t, "  %u%s", f->known, f->named_in_connection ? "*" : "");
        h1_trace_span(t, hd, head, "name", f->name);
        h1_trace_span(t, hd, head, "value", f->value);
        h1_trace_say(t, "\n");
    }
}

/* Body bytes are told once per message, as their number and a hash. */
struct h1_trace_body {
    uint64_t bytes, hash;
    bool open;
};

static void h1_trace_end_body(struct h1_trace *t, struct h1_trace_body *b) {
    if (b->open) h1_trace_say(t, "body %" PRIu64 " bytes %016" PRIx64 "\n", b->bytes, b->hash);
    *b = (struct h1_trace_body){0, 1, false};
}

__attribute__((unused)) static void h1_trace_run(struct h1_trace *t, const uint8_t *bytes, size_t len) {
    static const struct h1_limits generous = {1u << 20, 1000, 4096};
    bool unlimited = t->limits.max_head_bytes == 0;
    struct h1 *h = h1_new(t->side, unlimited ? &generous : &t->limits);
    struct h1_trace_body body = {0, 1, false};
    size_t at = 0;
    bool over = false;
    h1_trace_say(t, "%s", "");
    do {
        size_t n = h1_trace_piece(t, len - at);
        uint8_t *piece = malloc(n ? n : 1);
        if (!piece) abort();
        memcpy(piece, bytes + at, n);
        size_t done = 0;
        for (enum h1_step step = H1_HEAD; step != H1_MORE && !over;) {
            size_t used = SIZE_MAX;
            bool was_between = h1_between(h);
            step = h1_feed(h, piece + done, n - done, &used);
            H1_TRACE_MUST(used <= n - done);
            H1_TRACE_MUST(step != H1_MORE || used == n - done);
            const uint8_t *data;
            size_t data_len;
            h1_data(h, &data, &data_len);
            H1_TRACE_MUST((step == H1_DATA) == (data_len > 0));
            done += used;
            switch (step) {
            case H1_MORE:
                break;
            case H1_HEAD: {
                const struct h1_head *hd = h1_head(h);
                uint64_t length;
                H1_TRACE_MUST(used > 0 && hd->bytes <= at + done);
                enum body_framing framing = t->side == H1_REQUEST ? h1_request_framing(hd, &length)
                                                                  : h1_response_framing(hd, t->head_only, &length);
                h1_trace_head(t, hd, bytes + at + done - hd->bytes, framing, length);
                if (t->on_head) t->on_head(t->side, hd, bytes + at + done - hd->bytes);
                h1_begin_body(h, framing, length);
                bool bare = framing == FRAMING_NONE || (framing == FRAMING_LENGTH && length == 0);
                H1_TRACE_MUST(h1_between(h) == bare);
                body.open = !bare;
                if (bare) t->messages++;
                break;
            }
            case H1_DATA:
                H1_TRACE_MUST(data >= piece && data + data_len <= piece + n && data_len <= used);
                body.bytes += data_len;
                body.hash = h1_trace_hash(data, data_len, body.hash);
                break;
            case H1_DONE:
                H1_TRACE_MUST(!was_between && h1_between(h));
                h1_trace_end_body(t, &body);
                h1_trace_say(t, "done\n");
                t->messages++;
                break;
            case H1_ERROR:
                over = true;
                H1_TRACE_MUST(h1_feed(h, piece, n, &used) == H1_ERROR && used == 0);
                H1_TRACE_MUST(h1_eof(h) == H1_ERROR);
                break;
            }
            bool ended = step == H1_DONE || (step == H1_HEAD && h1_between(h));
            if (t->resets && ended) h1_reset(h);
            uint64_t remaining = h1_remaining(h);
            if (t->skip && remaining > 0 && done < n) {
                size_t some = remaining < n - done ? (size_t)remaining : n - done;
                body.bytes += some;
                body.hash = h1_trace_hash(piece + done, some, body.hash);
                done += some;
                if (h1_skip(h, some)) {
                    H1_TRACE_MUST(h1_between(h));
                    h1_trace_end_body(t, &body);
                    h1_trace_say(t, "done\n");
                    t->messages++;
                }
            }
        }
        free(piece);
        at += done;
    } while (at < len && !over);
    t->used = at;
    if (!over && !t->no_eof) {
        bool was_between = h1_between(h);
        enum h1_step step = h1_eof(h);
        H1_TRACE_MUST(step == H1_DONE || step == H1_ERROR);
        H1_TRACE_MUST(!was_between || step == H1_DONE);
        if (step == H1_DONE && !was_between) {
            h1_trace_end_body(t, &body);
            h1_trace_say(t, "done at eof\n");
            t->messages++;
        }
    }
    t->error = h1_error(h, &t->error_at);
    if (t->error) {
        H1_TRACE_MUST(t->error < N_H1_ERRORS);
        h1_trace_end_body(t, &body);
        h1_trace_say(t, "error %d at %" PRIu64 ": %s\n", t->error, t->error_at, h1_error_text(t->error));
    }
    h1_free(&h);
    H1_TRACE_MUST(h == NULL);
}

#endif

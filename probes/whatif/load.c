#include "whatif/load.h"

#include "capture/bytes.h"
#include "capture/feed.h"
#include "capture/workload.h"
#include "record/conn_read.h"
#include "record/workload_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct source {
    const char *path; /* for messages */
    struct bytes bytes;
    const char *line; /* the one at hand, without its newline */
    size_t len;
    bool progress, told;
    uint64_t tell_at; /* bytes */
    char *error;
};

static struct workload *failed(struct source *s, const char *why) {
    snprintf(s->error, LOAD_TEXT, "%.200s: %.290s", s->path, why);
    return NULL;
}

#define TELL_EVERY (UINT64_C(8) << 20)

static void tell(struct source *s, uint64_t read, uint64_t size) {
    if (!s->progress || read < s->tell_at) return;
    s->tell_at = read + TELL_EVERY;
    s->told = true;
    fprintf(stderr, "\r\033[Kreading: %llu MiB", (unsigned long long)(read >> 20));
    if (size) fprintf(stderr, " of %llu", (unsigned long long)(size >> 20));
}

/* ---- lines ---- */

#define LINE_MAX_BYTES (1u << 20)

/* The next line; false at the end, or where one is longer than any that is known here. */
static bool next_line(struct source *s) {
    struct bytes *b = &s->bytes;
    size_t looked = 0;
    const uint8_t *newline;

    for (;;) {
        size_t have = (size_t)(b->end - b->at);
        newline = have > looked ? memchr(b->at + looked, '\n', have - looked) : NULL;
        if (newline || have > LINE_MAX_BYTES) break;
        looked = have;
        if (!bytes_need(b, have + 1)) break;
    }
    s->line = (const char *)b->at;
    s->len = newline ? (size_t)(newline - b->at) + 1 : (size_t)(b->end - b->at);
    if (s->len == 0) return false;
    bytes_skip(b, s->len);
    tell(s, b->stored, b->size);
    return true;
}

static struct workload *load_workload(struct source *s) {
    const struct workload_limits limits = WORKLOAD_LIMITS_DEFAULT;
    struct workload_reader *r = workload_reader_new(&limits);
    struct workload *w = NULL;
    bool fine;

    do fine = workload_read_line(r, s->line, s->len);
    while (fine && next_line(s));
    if (fine && *bytes_fault(&s->bytes))
        failed(s, bytes_fault(&s->bytes));
    else if (!fine || !(w = workload_read_end(r)))
        failed(s, workload_reader_error(r));
    workload_reader_free(&r);
    return w;
}

/* ---- ledgers ---- */

static struct workload *load_ledger(struct source *s) {
    const struct workload_limits limits = WORKLOAD_LIMITS_DEFAULT;
    struct conn_reader *r = conn_reader_new();
    struct workload *w = workload_new(&limits);
    int64_t first = INT64_MAX, last = INT64_MIN;
    bool fine = true, any = false;

    w->observer = OBSERVER_DAEMON;
    w->arrivals = ARRIVALS_WANTED;
    do {
        struct conn_record rec;
        enum conn_read result = conn_read(r, s->line, s->len, &rec);
        if (result == CONN_READ_ERROR) {
            fine = !memchr(s->line, '\n', s->len) && any; /* its writer was still at the last line */
            if (!fine) failed(s, conn_reader_error(r));
        }
        if (result != CONN_READ_OK) continue;
        any = true;
        w->observer = rec.life.observer;
        w->arrivals = w->observer == OBSERVER_DAEMON ? ARRIVALS_WANTED : ARRIVALS_SENT;
        if (rec.life.opened_ns && rec.life.opened_ns < first) first = rec.life.opened_ns;
        if (rec.seen_ns > last) last = rec.seen_ns;
        if (!workload_add_life(w, &rec.life, rec.seen_ns)) fine = failed(s, "too many requests or connections") != NULL;
        conn_record_clear(&rec);
    } while (fine && next_line(s));
    if (fine && *bytes_fault(&s->bytes)) fine = failed(s, bytes_fault(&s->bytes)) != NULL;
    if (fine && !any) fine = failed(s, "no records (connleak.conn/1) in it") != NULL;
    if (fine) workload_begin(w, first, last);
    if (!fine) workload_free(&w);
    conn_reader_free(&r);
    return w;
}

static bool is_record(const char *line, size_t len) {
    struct conn_reader *r = conn_reader_new();
    struct conn_record rec;
    enum conn_read result = conn_read(r, line, len, &rec);

    if (result == CONN_READ_OK) conn_record_clear(&rec);
    conn_reader_free(&r);
    return result == CONN_READ_OK;
}

static struct workload *load_lines(struct source *s) {
    if (!next_line(s)) return failed(s, "it is empty");
    if (workload_is_header(s->line, s->len)) return load_workload(s);
    if (is_record(s->line, s->len)) return load_ledger(s);
    return failed(s, "line 1: expected a capture, a workload (connleak.workload/1) or a ledger (connleak.conn/1)");
}

/* ---- captures ---- */

static void feed_builder(struct workload_builder *b, struct wire *w) {
    const struct wire_event *e;
    struct wire_record *r;

    while ((e = wire_next_event(w))) workload_builder_event(b, e);
    while ((r = wire_next(w))) {
        workload_builder_record(b, r);
        wire_record_free(&r);
    }
}

static struct workload *load_capture(struct source *s) {
    const struct workload_limits limits = WORKLOAD_LIMITS_DEFAULT;
    struct wire_limits wire_limits = WIRE_LIMITS_DEFAULT;
    struct feed_counts counts = {0};
    char error[CAPTURE_TEXT];
    struct capture *c = capture_adopt(&s->bytes, s->path, error);
    struct capture_source source;
    struct workload_builder *b;
    struct workload *w = NULL;
    struct wire *wire;
    const char *why;

    if (!c) {
        snprintf(s->error, LOAD_TEXT, "%s", error);
        return NULL;
    }
    wire_limits.exchanges = false;
    wire_limits.events = wire_limits.targets = true;
    wire = wire_new(&wire_limits);
    b = workload_builder_new(&limits);
    while (feed_some(c, wire, &counts) != CAPTURE_END) {
        feed_builder(b, wire);
        capture_source(c, 0, &source);
        tell(s, source.bytes, source.size);
    }
    wire_finish(wire);
    feed_builder(b, wire);
    capture_source(c, 0, &source);
    if (counts.unsupported)
        failed(s, "a link type that cannot be read; expected Ethernet, Linux cooked, loopback or raw IP");
    else if (!(w = workload_builder_end(b, source.first_ns, source.last_ns, &why)))
        snprintf(s->error, LOAD_TEXT, "%.200s: too many %s for this program", s->path, why);
    else if (*source.fault)
        failed(s, source.fault); /* and what came before it is there */
    workload_builder_free(&b);
    wire_free(&wire);
    capture_close(&c);
    return w;
}

/* JSON begins with a bracket or blanks; of captures pcapng begins with newlines, too. */
static bool is_text(struct bytes *b) {
    static const uint8_t pcapng[] = {0x0a, 0x0d, 0x0d, 0x0a};

    if (bytes_need(b, sizeof pcapng) && !memcmp(b->at, pcapng, sizeof pcapng)) return false;
    return b->at < b->end && strchr("{ \t\r\n", *b->at) && *b->at;
}

struct workload *workload_load(const char *path, bool progress, char error[LOAD_TEXT]) {
    struct source s = {
        .path = strcmp(path, "-") ? path : "stdin", .progress = progress, .tell_at = TELL_EVERY, .error = error};
    struct workload *w;

    *error = 0;
    if (!bytes_open(&s.bytes, path, error, LOAD_TEXT)) return NULL;
    if (!bytes_need(&s.bytes, 1))
        w = failed(&s, *bytes_fault(&s.bytes) ? bytes_fault(&s.bytes) : "it is empty");
    else if (is_text(&s.bytes))
        w = load_lines(&s);
    else
        w = load_capture(&s);
    if (s.told) fputs("\r\033[K", stderr);
    bytes_close(&s.bytes);
    return w;
}

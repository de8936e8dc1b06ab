#include "from_workload.h"

#include "record/json_out.h"

#include <stdlib.h>
#include <string.h>

enum moment_kind { AT_OPEN, AT_STAND, AT_REQUEST, AT_SENT, AT_ANSWER, AT_DONE, AT_END };

/* Something that happens in a workload; sorted by time, then by connection and order within it. */
struct moment {
    int64_t at_ns;
    uint32_t row; /* of a connection, or of an exchange */
    uint8_t kind; /* enum moment_kind */
};

struct reading {
    const struct workload *w;
    struct witness *to;
    struct told *told; /* by connection */
    struct moment *moments;
    size_t n, room;
    int64_t base_ns;      /* of the plan's clock: the workload's beginning */
    struct json_out text; /* a head that is being made */
};

/* ---- moments ---- */

static void add_moment(struct reading *b, int64_t at_ns, enum moment_kind kind, uint32_t row) {
    if (b->n == b->room) {
        b->room = b->room ? b->room * 2 : 1024;
        b->moments = realloc(b->moments, b->room * sizeof *b->moments);
        if (!b->moments) abort();
    }
    b->moments[b->n++] = (struct moment){at_ns, row, (uint8_t)kind};
}

static int by_time(const void *a, const void *b) {
    const struct moment *x = a, *y = b;

    if (x->at_ns != y->at_ns) return x->at_ns < y->at_ns ? -1 : 1;
    if (x->kind != y->kind) return x->kind < y->kind ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

static int64_t later(int64_t at_ns, int64_t by_ns) {
    return by_ns == NO_TIME ? at_ns : at_ns + by_ns;
}

/* A daemon has both ends of each request in its ledger: its clients are played, and what it dialed for them is not. */
static bool is_played(const struct reading *b, const struct workload_conn *c) {
    bool both = false;

    for (uint32_t i = 0; i < b->w->n_conns && !both; i++) both = b->w->conns[i].side == SIDE_DOWNSTREAM;
    return !both || c->side == SIDE_DOWNSTREAM;
}

/* When the request's body was sent, which a capture's workload does not say: at once, or when it was asked for. */
static int64_t body_sent(const struct workload_exchange *x, int64_t head_ns) {
    int64_t at_ns = x->sent_ns != NO_TIME                            ? x->at_ns + x->sent_ns
                    : x->flags & WX_EXPECT && x->first_ns != NO_TIME ? x->at_ns + x->first_ns + 1
                                                                     : head_ns;
    return at_ns > head_ns ? at_ns : head_ns;
}

/* A client that waits for 100 Continue and is refused instead keeps its body (RFC 9110 section 10.1.1). */
static bool sends_body(const struct workload_exchange *x) {
    return x->request_body && !(x->flags & WX_EXPECT && !x->n_interim && x->status >= 400);
}

/* Of one that is spread between others nothing is known but that it was answered. */
static bool is_answered(const struct workload_exchange *x) {
    return x->flags & WX_SPREAD ? x->end == END_COMPLETE : x->status && x->first_ns != NO_TIME;
}

static int64_t answered_at(const struct workload_exchange *x) {
    return later(x->at_ns, x->first_ns == NO_TIME ? x->done_ns : x->first_ns);
}

static void find_moments(struct reading *b) {
    bool downstream_only = b->w->n_conns && !is_played(b, &(struct workload_conn){.side = SIDE_UPSTREAM});
    uint8_t *skip = calloc(b->w->n_conns + (size_t)1, 1);

    if (!skip) abort();
    for (uint32_t i = 0; i < b->w->n_conns; i++) {
        const struct workload_conn *c = &b->w->conns[i];
        skip[i] = downstream_only && c->side != SIDE_DOWNSTREAM;
        if (skip[i]) continue;
        add_moment(b, c->opened_ns, AT_OPEN, i);
        if (c->flags & WCONN_DIALED) add_moment(b, later(c->opened_ns, c->dial_ns), AT_STAND, i);
        if (c->closed_ns != NO_TIME) add_moment(b, c->closed_ns, AT_END, i);
    }
    for (uint32_t i = 0; i < b->w->n_exchanges; i++) {
        const struct workload_exchange *x = &b->w->exchanges[i];
        int64_t sent = later(x->at_ns, x->waited_ns);
        if (skip[x->conn]) continue;
        add_moment(b, sent, AT_REQUEST, i);
        if (sends_body(x)) add_moment(b, body_sent(x, sent), AT_SENT, i);
        if (!is_answered(x)) continue;
        add_moment(b, answered_at(x), AT_ANSWER, i);
        add_moment(b, later(x->at_ns, x->done_ns == NO_TIME ? x->first_ns : x->done_ns), AT_DONE, i);
    }
    free(skip);
    if (b->n) qsort(b->moments, b->n, sizeof *b->moments, by_time);
}

/* ---- messages ---- */

#define PUT(b, literal) JO_PUT(&(b)->text, literal)

static void put_text(struct reading *b, const char *text) {
    jo_put(&b->text, text, strlen(text));
}

static void put_number(struct reading *b, uint64_t n) {
    char digits[JSON_U64_MAX];
    jo_put(&b->text, digits, text_u64(digits, n));
}

/* A field that makes a head as long as it was, and its end. */
static void end_head(struct reading *b, uint32_t len) {
    size_t least = b->text.len + strlen("X-Filled: \r\n\r\n");

    if (len > least && len < (64u << 10)) {
        PUT(b, "X-Filled: ");
        for (size_t n = len - least; n > 0; n--) PUT(b, "x");
        PUT(b, "\r\n");
    }
    PUT(b, "\r\n");
}

static void make_request(struct reading *b, const struct workload_exchange *x) {
    const struct workload_conn *c = &b->w->conns[x->conn];
    const char *method = workload_text_of(b->w, x->method), *path = workload_text_of(b->w, x->path),
               *host =
                   x->origin == WORKLOAD_NO ? "unknown.invalid" : workload_text_of(b->w, b->w->origins[x->origin].host);

    json_out_reset(&b->text);
    put_text(b, *method ? method : "GET");
    PUT(b, " ");
    if (c->flags & WCONN_TO_PROXY) {
        PUT(b, "http://");
        put_text(b, host);
    }
    if (*path != '/') PUT(b, "/");
    put_text(b, path);
    PUT(b, " HTTP/1.1\r\nHost: ");
    put_text(b, host);
    PUT(b, "\r\n");
    if (x->flags & WX_REQUEST_CLOSE) PUT(b, "Connection: close\r\n");
    if (x->flags & WX_EXPECT) PUT(b, "Expect: 100-continue\r\n");
    if (x->request_body) {
        PUT(b, "Content-Length: ");
        put_number(b, x->request_body);
        PUT(b, "\r\n");
    }
    end_head(b, x->request_head);
}

/* Of the body: what is told of it before the client ends. */
static uint64_t body_len(const struct workload_exchange *x) {
    uint64_t len = x->end == END_GIVEN_UP && x->taken != UNKNOWN_BYTES && x->taken < x->body ? x->taken : x->body;

    return len <= PLAN_FILL_MAX ? len : PLAN_FILL_MAX + 1; /* which is too large, and is named so */
}

static void make_interim(struct reading *b, const struct workload_exchange *x) {
    json_out_reset(&b->text);
    for (unsigned i = 0; i < x->n_interim; i++) {
        if (i == 0 && x->flags & WX_EXPECT)
            PUT(b, "HTTP/1.1 100 Continue\r\n\r\n");
        else
            PUT(b, "HTTP/1.1 103 Early Hints\r\n\r\n");
    }
}

static void make_answer(struct reading *b, const struct workload_exchange *x) {
    bool bodyless = x->status == 204 || x->status == 304;

    json_out_reset(&b->text);
    PUT(b, "HTTP/1.1 ");
    put_number(b, x->status ? x->status : 200);
    PUT(b, " Filled\r\n");
    if (x->flags & WX_RESPONSE_CLOSE) PUT(b, "Connection: close\r\n");
    if (x->framing == FRAMING_CHUNKED) {
        PUT(b, "Transfer-Encoding: chunked\r\n");
    } else if (x->framing == FRAMING_LENGTH || (x->framing == FRAMING_NONE && !bodyless)) {
        PUT(b, "Content-Length: ");
        put_number(b, x->announced == UNKNOWN_BYTES ? 0 : x->announced);
        PUT(b, "\r\n");
    }
    end_head(b, x->response_head);
}

/* ---- telling ---- */

/* In few pieces: a line of a workload is short, however large a body it announces. */
static void tell_filled(struct reading *b, struct told *t, bool by_client, uint64_t len, int64_t at_ns) {
    size_t piece = len / 8 > 1u << 20 ? (size_t)(len / 8) : 1u << 20;

    while (len > 0) {
        size_t n = len < piece ? (size_t)len : piece;
        witness_data(b->to, t, by_client, NULL, n, 0, at_ns);
        len -= n;
    }
}

static void tell_text(struct reading *b, struct told *t, bool by_client, int64_t at_ns) {
    witness_data(b->to, t, by_client, (const uint8_t *)b->text.data, b->text.len, 0, at_ns);
}

/* An address in place of a label: the same for the same one. */
static struct endpoint address_of(const struct workload *w, uint32_t text, uint8_t network, uint16_t port) {
    struct endpoint e = {
        .family = ADDR_V4, .port = port, .addr = {network, (uint8_t)(text >> 16), (uint8_t)(text >> 8), (uint8_t)text}};
    const char *colon = strrchr(workload_text_of(w, text), ':');

    if (!port && colon) e.port = (uint16_t)strtoul(colon + 1, NULL, 10);
    if (!e.port) e.port = 80;
    return e;
}

static void tell_open(struct reading *b, uint32_t row, int64_t at_ns) {
    const struct workload_conn *c = &b->w->conns[row];
    const struct flow_key flow = {address_of(b->w, c->client, 10, (uint16_t)(row % 65535 + 1)),
                                  address_of(b->w, c->server, 198, 0)};

    witness_open(b->to, &b->told[row], &flow, row, 0, at_ns);
}

/* Just enough of a ClientHello to be known as one: nothing of such a connection can be played. */
static void tell_opaque(struct reading *b, struct told *t, int64_t at_ns) {
    static const uint8_t hello[] = {22, 3, 1, 0, 5, 1, 0, 0, 1, 0};

    witness_data(b->to, t, true, hello, sizeof hello, 0, at_ns);
}

static void tell_end(struct reading *b, const struct workload_conn *c, struct told *t, int64_t at_ns) {
    bool reset = c->close_how == HOW_RST, by_client = c->close_by != BY_REMOTE;

    if (c->close_by == BY_NONE) return;
    if (c->side == SIDE_DOWNSTREAM) by_client = c->close_by != BY_LOCAL; /* seen from the accepting end */
    witness_ended(b->to, t, by_client, reset, at_ns);
    if (!by_client && !reset) witness_ended(b->to, t, true, false, at_ns);
}

static void tell_answer(struct reading *b, const struct workload_exchange *x, struct told *t, int64_t at_ns) {
    make_answer(b, x);
    tell_text(b, t, false, at_ns);
    if (x->framing != FRAMING_CHUNKED) return;
    json_out_reset(&b->text);
    if (body_len(x) > 0 || x->end != END_COMPLETE) {
        static const char hex[] = "0123456789abcdef";
        uint64_t size = body_len(x) + (x->end != END_COMPLETE); /* one that is cut is never whole */
        for (int shift = 60; shift >= 0; shift -= 4)
            if (size >> shift || shift == 0) jo_put(&b->text, &hex[size >> shift & 15], 1);
        PUT(b, "\r\n");
        tell_text(b, t, false, at_ns);
    }
}

static void tell_done(struct reading *b, const struct workload_exchange *x, struct told *t, int64_t at_ns) {
    if (x->framing == FRAMING_NONE) return;
    tell_filled(b, t, false, body_len(x), at_ns);
    if (x->framing != FRAMING_CHUNKED || x->end != END_COMPLETE) return;
    json_out_reset(&b->text);
    if (body_len(x) > 0) PUT(b, "\r\n");
    PUT(b, "0\r\n\r\n");
    tell_text(b, t, false, at_ns);
}

static void tell_moment(struct reading *b, const struct moment *m) {
    bool of_conn = m->kind == AT_OPEN || m->kind == AT_STAND || m->kind == AT_END;
    const struct workload_exchange *x = of_conn ? NULL : &b->w->exchanges[m->row];
    uint32_t row = of_conn ? m->row : x->conn;
    const struct workload_conn *c = &b->w->conns[row];
    struct told *t = &b->told[row];
    int64_t at_ns = b->base_ns + m->at_ns;

    switch ((enum moment_kind)m->kind) {
    case AT_OPEN:
        tell_open(b, row, at_ns);
        break;
    case AT_STAND:
        witness_accepted(b->to, t, at_ns);
        if (c->flags & (WCONN_TLS | WCONN_OPAQUE)) tell_opaque(b, t, at_ns);
        break;
    case AT_REQUEST:
        make_request(b, x);
        tell_text(b, t, true, at_ns);
        break;
    case AT_SENT:
        tell_filled(b, t, true, x->request_body <= PLAN_REQUEST_MAX ? x->request_body : PLAN_REQUEST_MAX + 1, at_ns);
        break;
    case AT_ANSWER:
        if (!x->n_interim) {
            tell_answer(b, x, t, at_ns);
            break;
        }
        make_interim(b, x); /* the first byte was theirs; when the final head came is not known */
        tell_text(b, t, false, at_ns);
        break;
    case AT_DONE:
        if (x->n_interim) tell_answer(b, x, t, at_ns);
        tell_done(b, x, t, at_ns);
        break;
    case AT_END:
        tell_end(b, c, t, at_ns);
        break;
    }
}

/* Times are told from here. Times of a workload are up to two hundred years, so that its own beginning will not do
 * everywhere: an int64_t of nanoseconds ends in 2262, and 0 is no time to the plan. */
static int64_t base_of(const struct workload *w) {
    const int64_t last = INT64_MAX - 2 * WORKLOAD_TIME_MAX - SEC(1);

    return w->began_ns < SEC(1) ? SEC(1) : w->began_ns > last ? last : w->began_ns;
}

void from_workload_add(struct plan *p, struct witness *to, const struct workload *w) {
    struct reading b = {.w = w, .to = to, .base_ns = base_of(w)};

    b.told = calloc(w->n_conns + (size_t)1, sizeof *b.told);
    if (!b.told) abort();
    find_moments(&b);
    for (size_t i = 0; i < b.n; i++) tell_moment(&b, &b.moments[i]);
    witness_finish(to, b.base_ns + w->duration_ns);
    for (uint32_t i = 0; i < w->n_conns; i++) {
        struct wire_record *r = witness_take(to, i);
        if (r) plan_add(p, r);
    }
    if (b.base_ns + w->duration_ns > p->end_ns) p->end_ns = b.base_ns + w->duration_ns;
    json_out_free(&b.text);
    free(b.moments);
    free(b.told);
}

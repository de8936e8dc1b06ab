/* HTTP/1 on two streams: which requests, which answers, where they end.
 *
 * Framing is daemon/core/h1's, the daemon's own. Of a body with a length only its
 * length is looked at; a head that lies whole in one segment is read where it lies.
 * Parsers are lent to a direction for a head or a chunked body and go back after it:
 * an idle connection has none. */
#include "wire/conn.h"

#include <stdlib.h>
#include <string.h>

/* ---- parsers and heads ---- */

static enum h1_side side_of(const struct conn *c, unsigned from) {
    return from == c->client ? H1_REQUEST : H1_RESPONSE;
}

static struct h1 *borrow_parser(struct wire *w, enum h1_side side) {
    struct h1_limits limits = {w->limits.max_head_bytes, 2048, w->limits.max_head_bytes};
    struct h1 *h = w->n_spare[side] ? w->spare[side][--w->n_spare[side]] : h1_new(side, &limits);

    if (!h) abort();
    return h;
}

static void return_parser(struct wire *w, struct conn *c, unsigned from) {
    struct dir *d = &c->dir[from];
    enum h1_side side = side_of(c, from);

    free(d->head);
    d->head = NULL;
    if (!d->h1) return;
    if (w->n_spare[side] == sizeof w->spare[side] / sizeof *w->spare[side]) {
        h1_free(&d->h1);
        return;
    }
    h1_reset(d->h1);
    w->spare[side][w->n_spare[side]++] = d->h1;
    d->h1 = NULL;
}

void read_free(struct wire *w, struct conn *c) {
    return_parser(w, c, 0);
    return_parser(w, c, 1);
}

void keep_bytes(struct dir *d, const uint8_t *data, size_t len) {
    size_t have = d->head ? d->head->len : 0;

    if (!d->head || d->head->room - have < len) {
        size_t room = have + len + 512;
        struct head_bytes *more = realloc(d->head, sizeof *more + room);
        if (!more) abort();
        d->head = more;
        more->room = (uint32_t)room;
    }
    memcpy(d->head->bytes + have, data, len);
    d->head->len = (uint32_t)(have + len);
}

/* ---- pending requests and kept exchanges ---- */

static void push_pending(struct conn *c, uint8_t flags) {
    if (c->pending_n == c->pending_room) {
        uint8_t *more;
        if (c->pending_room > UINT8_MAX / 2) { /* more requests in flight than any client sends */
            c->incomplete |= INCOMPLETE_LIMIT;
            c->requests_lost = c->responses_lost = true;
            return;
        }
        more = malloc(c->pending_room * 2u);
        if (!more) abort();
        for (unsigned i = 0; i < c->pending_n; i++) more[i] = c->pending[(c->pending_first + i) % c->pending_room];
        if (c->pending != c->pending_inline) free(c->pending);
        c->pending = more;
        c->pending_first = 0;
        c->pending_room = (uint8_t)(c->pending_room * 2);
    }
    c->pending[(c->pending_first + c->pending_n++) % c->pending_room] = flags;
}

static uint8_t peek_pending(const struct conn *c) {
    return c->pending_n ? c->pending[c->pending_first] : 0;
}

static void pop_pending(struct conn *c) {
    if (c->pending_n) c->pending_first = (uint8_t)((c->pending_first + 1) % c->pending_room), c->pending_n--;
    if (c->n_answered < c->n_exchanges) c->n_answered++;
}

static uint32_t kept_slot(uint64_t k) {
    return k < KEEP_FIRST ? (uint32_t)k : KEEP_FIRST + (uint32_t)((k - KEEP_FIRST) % KEEP_LAST);
}

/* The exchange whose answer is next, NULL where it is not kept. */
static struct kept_exchange *answering(struct conn *c) {
    uint64_t k = c->n_answered;

    if (k >= c->n_exchanges || (k >= KEEP_FIRST && k + KEEP_LAST < c->n_exchanges)) return NULL;
    return kept_slot(k) < c->n_kept ? &c->kept[kept_slot(k)] : NULL;
}

static struct kept_exchange *keep_exchange(const struct wire *w, struct conn *c) {
    static const uint8_t rooms[] = {1, KEEP_FIRST, KEEP_FIRST + KEEP_LAST};
    uint32_t slot = kept_slot(c->n_exchanges++);

    if (!w->limits.exchanges) return NULL;
    for (size_t i = 0; slot >= c->kept_room && i < sizeof rooms; i++) {
        struct kept_exchange *more;
        if (rooms[i] <= slot) continue;
        more = realloc(c->kept, rooms[i] * sizeof *more);
        if (!more) abort();
        c->kept = more;
        c->kept_room = rooms[i];
    }
    if (slot >= c->n_kept) c->n_kept = slot + 1;
    memset(&c->kept[slot], 0, sizeof c->kept[slot]);
    c->kept[slot].announced = UNKNOWN_BYTES;
    return &c->kept[slot];
}

/* ---- losing and finding the way ---- */

static void lose(struct wire *w, struct conn *c, unsigned from) {
    struct dir *d = &c->dir[from];

    if (from == c->client) {
        if (d->reading == READ_HEAD || d->reading == READ_LOOSE_HEAD) c->cut_requests++;
        c->requests_lost = c->request_gap = true;
        c->incomplete |= INCOMPLETE_GAP_OUT;
    } else {
        if (d->reading == READ_HEAD) c->cut_responses++;
        c->responses_lost = true;
        c->incomplete |= INCOMPLETE_GAP_IN;
    }
    c->response_known = false;
    return_parser(w, c, from);
    d->reading = READ_LOST;
}

void read_lost(struct wire *w, struct conn *c, unsigned from) {
    if (c->dir[from].reading != READ_OPAQUE) lose(w, c, from);
}

static void go_opaque(struct wire *w, struct conn *c) {
    for (unsigned i = 0; i < 2; i++) {
        return_parser(w, c, i);
        c->dir[i].reading = READ_OPAQUE;
    }
}

static void not_http(struct wire *w, struct conn *c, enum wire_protocol what) {
    c->protocol = (uint8_t)what;
    c->incomplete |= INCOMPLETE_OPAQUE;
    c->requests_lost = c->responses_lost = true;
    go_opaque(w, c);
}

static bool is_token(uint8_t b) {
    return (b >= 'A' && b <= 'Z') || (b >= 'a' && b <= 'z') || b == '-' || b == '_';
}

/* A whole request line of HTTP/1 stands at p. */
bool looks_like_request(const uint8_t *p, size_t len) {
    size_t i = 0, end;
    const uint8_t *cr;

    while (i < len && i < 24 && is_token(p[i])) i++;
    if (i < 3 || i >= len || p[i] != ' ') return false;
    cr = memchr(p, '\r', len);
    if (!cr) return false;
    end = (size_t)(cr - p);
    return end > i + 10 && !memcmp(cr - 9, " HTTP/1.", 8) && (cr[-1] == '0' || cr[-1] == '1') && end + 1 < len &&
           cr[1] == '\n';
}

bool looks_like_response(const uint8_t *p, size_t len) {
    return len >= 13 && !memcmp(p, "HTTP/1.", 7) && (p[7] == '0' || p[7] == '1') && p[8] == ' ' && p[9] >= '1' &&
           p[9] <= '5' && p[10] >= '0' && p[10] <= '9' && p[11] >= '0' && p[11] <= '9' &&
           (p[12] == ' ' || p[12] == '\r');
}

static bool looks_like_hello(const uint8_t *p, size_t len) {
    return len >= 6 && p[0] == 22 && p[1] == 3 && p[2] <= 4 && (p[5] == 1 || p[5] == 2);
}

static void take_role(struct conn *c, unsigned client) {
    if (c->roles != ROLES_ASSUMED) return;
    c->client = (uint8_t)client;
    c->roles = ROLES_CONTENT;
}

/* Position unknown: may this segment begin a message? Only if the other end spoke
 * last: a message that follows one of the same end would need that one's end. */
static void find_message(struct conn *c, unsigned from, const struct piece *p) {
    struct dir *d = &c->dir[from];

    if (!p->data || !p->begins_segment || c->last_reader == from) return;
    if (looks_like_request(p->data, p->len)) {
        take_role(c, from);
        if (from == c->client) d->reading = READ_BETWEEN;
    } else if (looks_like_response(p->data, p->len)) {
        take_role(c, !from);
        if (from == c->client || (c->pending_n == 0 && !c->requests_lost)) return;
        /* Those before were answered in what is lost; all of them, if this may be to one that is lost itself. */
        while (c->pending_n > !c->request_gap) pop_pending(c);
        d->reading = READ_BETWEEN;
    } else {
        return;
    }
    if (c->protocol == PROTO_NONE) c->protocol = PROTO_HTTP1;
}

/* The first bytes of a direction: what is spoken here? */
static void find_protocol(struct wire *w, struct conn *c, unsigned from, const struct piece *p) {
    struct dir *d = &c->dir[from];

    if (p->data && c->protocol != PROTO_HTTP1 && p->begins_segment && p->data[0] == 22 &&
        (p->len < 2 || p->data[1] == 3) && (d->next == p->len || looks_like_hello(p->data, p->len))) {
        if (looks_like_hello(p->data, p->len)) take_role(c, p->data[5] == 1 ? from : !from);
        tls_begin(c);
        c->protocol = PROTO_TLS;
        c->incomplete |= INCOMPLETE_OPAQUE;
        c->requests_lost = c->responses_lost = true;
        return;
    }
    if (!p->data || c->incomplete & INCOMPLETE_START) { /* no telling where in the stream this is */
        d->reading = READ_LOST;
        if (!(c->incomplete & INCOMPLETE_START)) lose(w, c, from);
        find_message(c, from, p);
        return;
    }
    if (from == c->client) {
        if (p->len >= 14 && !memcmp(p->data, "PRI * HTTP/2.0", 14)) {
            not_http(w, c, PROTO_HTTP2);
            return;
        }
        if (!is_token(p->data[0]) && p->data[0] != '\r') {
            not_http(w, c, PROTO_UNKNOWN);
            return;
        }
        c->protocol = PROTO_HTTP1;
    } else if (c->n_requests == 0 && !c->requests_lost) {
        if (p->data[0] != 'H') { /* a server that speaks before it was asked, and not HTTP */
            not_http(w, c, PROTO_UNKNOWN);
            return;
        }
    }
    d->reading = READ_BETWEEN;
}

/* ---- messages ---- */

static char *copy_span(const uint8_t *message, struct h1_span s, size_t max) {
    char *text = strndup((const char *)message + s.off, s.len < max ? s.len : max); /* a field holds no NUL */

    if (!text) abort();
    return text;
}

static void keep_names(struct conn *c, const struct h1_head *head, const uint8_t *message, struct h1_span user_agent) {
    if (!c->host && head->has_host) c->host = copy_span(message, head->host, 255);
    if (!c->user_agent && user_agent.len) c->user_agent = copy_span(message, user_agent, 127);
}

static struct h1_span find_user_agent(const struct h1_head *head) {
    for (size_t i = 0; i < head->n_fields; i++)
        if (head->fields[i].known == H1_N_USER_AGENT) return head->fields[i].value;
    return (struct h1_span){0, 0};
}

/* ---- heads that came before ---- */

/* Which heads may be the same: requests by their first bytes, answers by more of them,
 * since those begin alike. */
static struct known_head *known_slot(struct wire *w, enum h1_side side, const uint8_t *p, size_t len) {
    size_t n = side == H1_REQUEST ? 24 : 80;
    uint64_t hash = 0, word;

    if (len < n) return NULL;
    for (size_t i = 0; i < n; i += 8) {
        memcpy(&word, p + i, 8);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 29;
    }
    return &w->known_heads[side][hash % KNOWN_HEADS];
}

/* Byte for byte a head that was read before means the same again. */
static const struct known_head *recall_head(struct wire *w, enum h1_side side, const struct piece *p) {
    const struct known_head *k = known_slot(w, side, p->data, p->len);

    return k && k->len && k->len <= p->len && !memcmp(k->bytes, p->data, k->len) ? k : NULL;
}

/* Chunked ones are left out: their bodies need the parser. */
static void remember_head(struct wire *w, enum h1_side side, const struct h1_head *head, const uint8_t *message,
                          struct h1_span user_agent) {
    struct known_head *k = known_slot(w, side, message, head->bytes);

    if (!k || head->bytes > sizeof k->bytes || head->chunked) return;
    k->head = *head;
    k->head.fields = NULL; /* the parser's */
    k->head.n_fields = 0;
    k->user_agent = user_agent;
    k->len = head->bytes;
    memcpy(k->bytes, message, k->len);
}

/* Where a body of this framing leaves the reader; returns true if it is empty. */
static bool enter_body(struct wire *w, struct conn *c, unsigned from, enum body_framing framing, uint64_t length) {
    struct dir *d = &c->dir[from];

    if (d->h1) h1_begin_body(d->h1, framing, length); /* not for a head that was known */
    if (framing == FRAMING_CHUNKED) {
        free(d->head);
        d->head = NULL;
        d->reading = READ_CHUNKED;
        return false;
    }
    return_parser(w, c, from);
    d->left = framing == FRAMING_LENGTH ? length : 0;
    d->reading = framing == FRAMING_UNTIL_EOF ? READ_EOF : d->left ? READ_LENGTH : READ_BETWEEN;
    return d->reading == READ_BETWEEN;
}

static void say_request(struct wire *w, struct conn *c, const struct h1_head *head, const uint8_t *message,
                        enum body_framing framing, uint64_t length, const struct piece *p) {
    bool closes = head->conn_close || (head->minor == 0 && !head->conn_keep_alive);
    struct wire_event *e = happened(w, c, WIRE_REQUEST, p->at_ns, p->packet);

    if (!e) return;
    memcpy(e->method, message + head->method.off, head->method.len < 8 ? head->method.len : 8);
    e->no_reuse = closes;
    e->http10 = closes && head->minor == 0 && !head->conn_close;
    e->exchange = c->n_exchanges - 1;
    e->proxied = c->proxy_form;
    e->expects = c->expects;
    e->pipelined = c->pending_n > 1;
    e->head_bytes = head->bytes;
    e->body_bytes = framing == FRAMING_CHUNKED ? UNKNOWN_BYTES : length;
    event_target(w, e, head, message);
}

/* After CONNECT or Upgrade the answer decides whether this is HTTP still, and the capture lacks the answers. */
static bool may_have_switched(const struct conn *c) {
    const struct dir *sd = &c->dir[!c->client];

    if (sd->packets && sd->reading != READ_LOST) return false;
    for (unsigned i = 0; i < c->pending_n; i++)
        if (c->pending[(c->pending_first + i) % c->pending_room] & (PEND_CONNECT | PEND_UPGRADE)) return true;
    return false;
}

static void begin_request(struct wire *w, struct conn *c, const struct h1_head *head, const uint8_t *message,
                          struct h1_span user_agent, uint64_t raw, const struct piece *p) {
    uint64_t ends = c->dir[c->client].next - p->len;
    bool closes = head->conn_close || (head->minor == 0 && !head->conn_keep_alive);
    struct kept_exchange *x = keep_exchange(w, c);
    uint64_t length = 0;
    enum body_framing framing = h1_request_framing(head, &length);

    c->n_requests++;
    c->request_gap = false;
    if (!c->first_request_packet) c->first_request_packet = p->packet;
    c->last_request_packet = p->packet;
    if (c->idle_since_ns) {
        if (p->at_ns > c->idle_since_ns) c->idle_total_ns += p->at_ns - c->idle_since_ns;
        c->idle_since_ns = 0;
    }
    if (c->pending_n) {
        c->pipelined++;
        c->requests_lost |= may_have_switched(c);
    }
    push_pending(c, (uint8_t)((head->is_head ? PEND_HEAD : 0) | (head->is_connect ? PEND_CONNECT : 0) |
                              (head->has_upgrade ? PEND_UPGRADE : 0) | (closes ? PEND_CLOSE : 0)));
    c->request_close |= closes;
    c->expects = head->expect_continue && (framing == FRAMING_CHUNKED || length > 0);
    if (head->target.len > 7 && !memcmp(message + head->target.off, "http://", 7)) c->proxy_form = true;
    keep_names(c, head, message, user_agent);
    say_request(w, c, head, message, framing, length, p);
    if (c->transcript) transcript_mark(c, MARK_REQUEST, ends - raw, ends, c->n_exchanges - 1, p);
    if (x) {
        x->request_ns = p->at_ns;
        x->request_packet = p->packet;
        memcpy(x->method, message + head->method.off, head->method.len < 8 ? head->method.len : 8);
        x->known = !c->requests_lost;
    }
    if (!c->responses_lost) c->response_known = true;
    enter_body(w, c, c->client, framing, length);
}

/* `packet`: of the last byte; 0: it ended with the stream. */
static void end_response(struct wire *w, struct conn *c, uint64_t at, int64_t at_ns, uint64_t packet) {
    struct kept_exchange *x = answering(c);
    struct wire_event *e = happened(w, c, WIRE_DONE, at_ns, packet);

    if (e) {
        e->exchange = c->n_answered;
        e->bytes = at - c->response_at;
        e->body_bytes = c->body;
    }
    if (c->transcript) {
        struct piece last = {.at_ns = at_ns};
        transcript_mark(c, MARK_RESPONSE_DONE, at, at, c->n_answered, &last);
    }
    c->response_end = at;
    c->behind_excess = false;
    c->done_ns = at_ns;
    if (x) {
        x->done_ns = at_ns;
        x->body_bytes = c->body;
        x->complete = true;
    }
    pop_pending(c);
    if (c->pending_n == 0) c->idle_since_ns = at_ns ? at_ns : 1;
}

static void say_response(struct wire *w, struct conn *c, const struct h1_head *head, bool closes,
                         const struct piece *p) {
    struct wire_event *e = happened(w, c, WIRE_RESPONSE, p->at_ns, p->packet);

    if (!e) return;
    e->bytes = c->announced;
    e->status = head->status;
    e->framing = c->framing;
    e->no_reuse = closes;
    e->http10 = closes && head->minor == 0 && !head->conn_close;
    e->bodyless = c->framing == FRAMING_NONE || c->announced == 0;
    e->exchange = c->n_answered;
    e->head_bytes = head->bytes;
    e->interim = c->n_interim;
    e->first_ns = c->n_interim ? c->interim_ns : p->at_ns;
}

/* `at`: where the head begins and ends in the server's stream. */
static void begin_response(struct wire *w, struct conn *c, const struct h1_head *head, const struct piece *p,
                           uint64_t begins, uint64_t ends) {
    unsigned server = !c->client;
    uint8_t asked = peek_pending(c);
    uint64_t length = UNKNOWN_BYTES;
    enum body_framing framing;
    struct kept_exchange *x;
    bool switches = head->status == 101 || (asked & PEND_CONNECT && head->status >= 200 && head->status < 300);

    if (c->transcript)
        transcript_mark(c, head->status < 200 && head->status != 101 ? MARK_INTERIM : MARK_RESPONSE, begins, ends,
                        c->n_answered, p);
    if (head->status < 200 && head->status != 101) {
        if (c->n_interim == 0) c->interim_ns = p->at_ns;
        if (c->n_interim < UINT8_MAX) c->n_interim++;
        enter_body(w, c, server, FRAMING_NONE, 0);
        return;
    }
    framing = switches ? FRAMING_NONE : h1_response_framing(head, asked & PEND_HEAD, &length);
    c->n_responses++;
    c->last_response_packet = p->packet;
    c->response_at = begins;
    c->response_end = NO_OFFSET;
    c->announced = !switches && (framing == FRAMING_LENGTH || framing == FRAMING_NONE) ? length : UNKNOWN_BYTES;
    c->body = 0;
    c->framing = (uint8_t)framing;
    c->response_known = c->pending_n > 0 && !c->behind_excess;
    if (c->pending_n == 0) c->responses_lost = true; /* to what? And does a body follow? */
    bool closes = !switches && h1_response_closes(head, framing);
    c->response_close |= closes;
    say_response(w, c, head, closes, p);
    c->n_interim = 0;
    if ((x = answering(c))) {
        x->response_ns = p->at_ns;
        x->response_packet = p->packet;
        x->announced = c->announced;
        x->status = head->status;
        x->framing = (uint8_t)framing;
    }
    if (switches) {
        end_response(w, c, ends, p->at_ns, p->packet);
        c->tunnelled = true;
        c->idle_since_ns = 0;
        happened(w, c, WIRE_OPAQUE, p->at_ns, p->packet);
        go_opaque(w, c);
        return;
    }
    if (enter_body(w, c, server, framing, length)) end_response(w, c, ends, p->at_ns, p->packet);
}

static void bad_message(struct wire *w, struct conn *c, unsigned from, struct piece *p) {
    p->begins_segment = false; /* it does not begin a message, whatever it looks like */
    c->incomplete |= INCOMPLETE_BAD_HTTP;
    if (from == c->client && c->n_requests == 0 && c->n_responses == 0 && !(c->incomplete & INCOMPLETE_START)) {
        c->incomplete &= ~(uint32_t)INCOMPLETE_BAD_HTTP;
        not_http(w, c, PROTO_UNKNOWN);
        return;
    }
    lose(w, c, from);
}

/* Takes `used` bytes off a piece. */
static void take(struct piece *p, uint64_t used) {
    p->data = p->data ? p->data + used : NULL;
    p->len -= used;
    if (used) p->begins_segment = false;
}

/* What a head that was read means; `raw` is its length in the stream. */
static void begin_message(struct wire *w, struct conn *c, unsigned from, const struct h1_head *head,
                          const uint8_t *message, struct h1_span user_agent, uint64_t raw, const struct piece *p) {
    uint64_t ends = c->dir[from].next - p->len;

    if (from == c->client)
        begin_request(w, c, head, message, user_agent, raw, p);
    else
        begin_response(w, c, head, p, ends - raw, ends);
}

/* A copy of a head, or of as much of it as is here, with each bare LF as CRLF; and how long
 * the head is as it came; 0: its end is not here. */
static size_t with_crlf(const uint8_t *raw, size_t len, uint8_t *out, size_t *out_len, bool *had_bare) {
    size_t line = 0, n = 0;

    *had_bare = false;
    for (size_t i = 0; i < len; i++) {
        if (raw[i] != '\n') {
            out[n++] = raw[i];
            continue;
        }
        bool bare = i == line || raw[i - 1] != '\r', empty = i - line == (bare ? 0 : 1);
        *had_bare |= bare;
        if (bare) out[n++] = '\r';
        out[n++] = '\n';
        if (empty && line > 0) {
            *out_len = n;
            return i + 1;
        }
        line = i + 1;
    }
    *out_len = n;
    return 0;
}

/* The strict reader refused a head. Servers and clients take lines that end with LF
 * alone (RFC 9112 section 2.2), and an analyser is to see what they saw: with such
 * lines made whole, it is read again. True if that is what was wrong. */
static bool read_loose_head(struct wire *w, struct conn *c, unsigned from, struct piece *p) {
    struct dir *d = &c->dir[from];
    size_t before = d->head ? d->head->len : 0, len, out_len = 0, raw, used = 0;
    bool had_bare = false, ok;
    enum h1_step step;
    uint8_t *crlf;

    if (before + p->len > w->limits.max_head_bytes && before > 0) return false;
    len = before + (p->len < w->limits.max_head_bytes ? (size_t)p->len : w->limits.max_head_bytes);
    keep_bytes(d, p->data, len - before);
    crlf = malloc(2 * len);
    if (!crlf) abort();
    raw = with_crlf(d->head->bytes, len, crlf, &out_len, &had_bare);
    d->head->len = (uint32_t)before;
    h1_reset(d->h1);
    step = had_bare ? h1_feed(d->h1, crlf, out_len, &used) : H1_ERROR;
    ok = raw == 0 ? step == H1_MORE : raw > before && step == H1_HEAD && used == out_len;
    if (ok && raw == 0) { /* more of it is to come */
        keep_bytes(d, p->data, len - before);
        d->reading = READ_LOOSE_HEAD;
        take(p, p->len);
    } else if (ok) {
        const struct h1_head *head = h1_head(d->h1);
        c->bare_lf = true;
        take(p, raw - before);
        begin_message(w, c, from, head, crlf + out_len - head->bytes, find_user_agent(head), raw, p);
    }
    free(crlf);
    return ok;
}

static void read_head(struct wire *w, struct conn *c, unsigned from, struct piece *p) {
    struct dir *d = &c->dir[from];
    const struct h1_head *head;
    const uint8_t *message;
    const struct known_head *known;
    struct h1_span user_agent;
    size_t used = 0;
    enum h1_step step;

    if (!d->h1 && (known = recall_head(w, side_of(c, from), p))) {
        message = p->data;
        take(p, known->len);
        begin_message(w, c, from, &known->head, message, known->user_agent, known->len, p);
        return;
    }
    if (!d->h1) d->h1 = borrow_parser(w, side_of(c, from));
    d->reading = READ_HEAD;
    step = h1_feed(d->h1, p->data, p->len, &used);
    if (step == H1_ERROR) {
        if (!read_loose_head(w, c, from, p)) bad_message(w, c, from, p);
        return;
    }
    if (step == H1_MORE || d->head) keep_bytes(d, p->data, used);
    if (step == H1_MORE) {
        if (h1_between(d->h1)) d->reading = READ_BETWEEN;
        take(p, used);
        return;
    }
    head = h1_head(d->h1);
    message = (d->head ? d->head->bytes + d->head->len : p->data + used) - head->bytes;
    user_agent = find_user_agent(head);
    if (!d->head && used == head->bytes) remember_head(w, side_of(c, from), head, message, user_agent);
    take(p, used);
    begin_message(w, c, from, head, message, user_agent, head->bytes, p);
}

static void count_body(struct conn *c, unsigned from, uint64_t n) {
    if (from != c->client) c->body += n;
}

static void message_done(struct wire *w, struct conn *c, unsigned from, const struct piece *p) {
    struct dir *d = &c->dir[from];

    return_parser(w, c, from);
    d->reading = READ_BETWEEN;
    if (from != c->client) end_response(w, c, d->next - p->len, p->at_ns, p->packet);
}

static void read_length(struct wire *w, struct conn *c, unsigned from, struct piece *p) {
    struct dir *d = &c->dir[from];
    uint64_t n = p->len < d->left ? p->len : d->left;

    d->left -= n;
    count_body(c, from, n);
    take(p, n);
    if (d->left == 0) message_done(w, c, from, p);
}

static void read_chunked(struct wire *w, struct conn *c, unsigned from, struct piece *p) {
    struct dir *d = &c->dir[from];
    const uint8_t *body;
    size_t used = 0, n;

    if (!p->data) {
        if (h1_remaining(d->h1) < p->len) {
            lose(w, c, from);
            return;
        }
        count_body(c, from, p->len);
        (void)h1_skip(d->h1, p->len); /* the end of a chunk is never the end of the message */
        take(p, p->len);
        return;
    }
    switch (h1_feed(d->h1, p->data, p->len, &used)) {
    case H1_DATA:
        h1_data(d->h1, &body, &n);
        count_body(c, from, n);
        take(p, used);
        break;
    case H1_DONE:
        take(p, used);
        message_done(w, c, from, p);
        break;
    case H1_MORE:
        take(p, used);
        break;
    case H1_HEAD:
    case H1_ERROR:
        bad_message(w, c, from, p);
        break;
    }
}

static void count_excess(struct conn *c, const struct piece *p) {
    c->behind_excess = true;
    if (!c->excess && p->data) c->excess_is_response = looks_like_response(p->data, p->len);
    c->excess += p->len;
}

static bool is_unasked(const struct conn *c, unsigned from) {
    return from != c->client && c->pending_n == 0 && !c->requests_lost;
}

/* The client was to wait for 100 Continue, and the final answer came first: it may go
 * on with another request instead of the body (RFC 9110 section 10.1.1). */
static bool body_was_skipped(const struct conn *c, unsigned from, const struct piece *p) {
    return from == c->client && c->expects && c->pending_n == 0 && p->data && looks_like_request(p->data, p->len);
}

static void read_some(struct wire *w, struct conn *c, unsigned from, struct piece *p) {
    struct dir *d = &c->dir[from];

    switch (d->reading) {
    case READ_START:
        find_protocol(w, c, from, p);
        break;
    case READ_BETWEEN:
        if (is_unasked(c, from) && p->data) {
            count_excess(c, p);
            d->reading = READ_LOST; /* until the next request is answered */
            take(p, p->len);
        } else if (p->data) {
            read_head(w, c, from, p);
        } else {
            lose(w, c, from);
        }
        break;
    case READ_HEAD:
        if (p->data)
            read_head(w, c, from, p);
        else
            lose(w, c, from);
        break;
    case READ_LOOSE_HEAD:
        if (!p->data)
            lose(w, c, from);
        else if (!read_loose_head(w, c, from, p))
            bad_message(w, c, from, p);
        break;
    case READ_LENGTH:
        if (body_was_skipped(c, from, p))
            d->reading = READ_BETWEEN;
        else
            read_length(w, c, from, p);
        if (from == c->client) c->expects = false;
        break;
    case READ_CHUNKED:
        read_chunked(w, c, from, p);
        break;
    case READ_EOF:
        count_body(c, from, p->len);
        take(p, p->len);
        break;
    case READ_LOST:
        find_message(c, from, p);
        if (d->reading != READ_LOST) break;
        if (is_unasked(c, from) && p->data && (c->n_requests || c->excess)) count_excess(c, p);
        take(p, p->len);
        break;
    case READ_TLS:
    case READ_TLS_LOST:
        tls_piece(c, from, *p);
        take(p, p->len);
        break;
    case READ_OPAQUE:
        take(p, p->len);
        break;
    }
}

void read_piece(struct wire *w, struct conn *c, unsigned from, struct piece *p) {
    unsigned idle = 0; /* steps that took nothing: from one way of reading to another, and never in a circle */

    if (c->transcript) transcript_piece(w, c, from, p);
    while (p->len && idle < 8) {
        uint64_t before = p->len;
        read_some(w, c, from, p);
        idle = p->len == before ? idle + 1 : 0;
    }
    c->last_reader = (uint8_t)from;
}

void read_end(struct wire *w, struct conn *c, unsigned from, int64_t at_ns) {
    struct dir *d = &c->dir[from];

    if (d->reading == READ_EOF && from != c->client) {
        d->reading = READ_BETWEEN;
        end_response(w, c, d->next, at_ns, 0);
    }
    if (d->reading == READ_HEAD) return_parser(w, c, from);
}

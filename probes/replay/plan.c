#include "plan.h"

#include "core/h1.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const struct {
    const char *name, *text;
} gaps[N_PLAN_GAPS] = {
#define X(sym, name, text) {name, text},
#include "replay/tbl/gaps.h"
#undef X
};

const char *plan_gap_name(enum plan_gap g) {
    return gaps[g].name;
}
const char *plan_gap_text(enum plan_gap g) {
    return gaps[g].text;
}

void plan_fill(uint8_t *to, size_t len) {
    memset(to, 'x', len);
}

uint64_t plan_target_key(const char *method, size_t method_len, const uint8_t *path, size_t path_len) {
    return bytes_hash(path, path_len, bytes_hash(method, method_len, 1));
}

static void *grow(void *array, uint32_t n, uint32_t *room, size_t size) {
    if (n < *room) return array;
    if (*room > UINT32_MAX / 4) abort();
    *room = *room ? *room * 2 : 64;
    array = realloc(array, *room * size);
    if (!array) abort();
    return array;
}

/* ---- origins ---- */

static bool find_origin(struct plan *p, const uint8_t *text, size_t len, uint32_t *out) {
    for (uint32_t i = p->n_origins; i-- > 0;)
        if (strlen(p->origins[i].authority) == len && !memcmp(p->origins[i].authority, text, len)) {
            *out = i;
            return true;
        }
    if (len == 0 || len > PLAN_AUTHORITY_MAX || p->n_origins == PLAN_ORIGINS_MAX) return false;
    p->origins = realloc(p->origins, (p->n_origins + 1) * sizeof *p->origins);
    if (!p->origins) abort();
    *out = p->n_origins++;
    p->origins[*out] = (struct plan_origin){strndup((const char *)text, len), 0};
    if (!p->origins[*out].authority) abort();
    return true;
}

/* ---- one connection at a time ---- */

static int64_t first_of(int64_t a, int64_t b) {
    return !a ? b : !b || a < b ? a : b;
}

/* What plan_add has at hand while it reads one record. */
struct reading {
    struct plan *p;
    struct plan_conn *c;
    const struct wire_record *r;
    const struct wire_transcript *t;
    uint32_t conn;
    int64_t at_ns;      /* of the newest step */
    uint32_t *parts[2]; /* indices of the client's parts, and of the server's: in order of offset */
    uint32_t n_parts[2];
    int64_t client_ended_ns; /* its first FIN or RST; 0: none */
    bool is_cut;             /* there were more exchanges, and what they said is not played */
    uint32_t answer;         /* the exchange whose answer the server's next part belongs to */
};

static void index_parts(struct reading *b) {
    for (int side = 0; side < 2; side++) {
        b->parts[side] = malloc((b->t->n_parts ? b->t->n_parts : 1) * sizeof *b->parts[side]);
        if (!b->parts[side]) abort();
    }
    for (uint32_t i = 0; i < b->t->n_parts; i++) {
        int side = b->t->parts[i].from_server;
        b->parts[side][b->n_parts[side]++] = i;
    }
}

/* The first part of a side that reaches beyond `off`: index of b->parts[side]. */
static uint32_t first_beyond(const struct reading *b, int side, uint64_t off) {
    uint32_t lo = 0, hi = b->n_parts[side];

    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        const struct wire_part *x = &b->t->parts[b->parts[side][mid]];
        if (x->off + x->len <= off)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void add_step(struct reading *b, enum plan_step_kind kind, int64_t at_ns, uint32_t exchange, uint64_t n) {
    struct plan *p = b->p;

    if (at_ns < b->at_ns) at_ns = b->at_ns; /* disorder in the capture: what is read later came later */
    b->at_ns = at_ns;
    p->steps = grow(p->steps, p->n_steps, &p->steps_room, sizeof *p->steps);
    p->steps[p->n_steps++] = (struct plan_step){at_ns, n, exchange, (uint8_t)kind};
    b->c->n_steps++;
}

/* Copies off..off+len of one direction's stream; what is not there is filled in. Returns how much that is. */
static uint64_t copy_stream(const struct reading *b, int side, uint64_t off, uint64_t len, uint8_t *to) {
    uint64_t lacks = len;

    plan_fill(to, len);
    for (uint32_t i = first_beyond(b, side, off); i < b->n_parts[side]; i++) {
        const struct wire_part *x = &b->t->parts[b->parts[side][i]];
        uint64_t lo = x->off > off ? x->off : off, hi = x->off + x->len < off + len ? x->off + x->len : off + len;
        if (lo >= hi) break;
        if (!x->bytes) continue;
        memcpy(to + (lo - off), x->bytes + (lo - x->off), hi - lo);
        lacks -= hi - lo;
    }
    return lacks;
}

/* Bytes are missing: from the capture, or because they were too many to keep. */
static enum plan_gap why_missing(const struct reading *b) {
    return b->r->evidence.incomplete & (INCOMPLETE_LOSS | INCOMPLETE_SNAPLEN) ? PLAN_BYTES_LOST : PLAN_TOO_LARGE;
}

/* Where the request that is read ends, by its own framing: what follows is no part of it, and what is missing was not
 * sent. What cannot be read by it lasts until the next request. */
static void find_request_end(const struct reading *b, struct plan_exchange *x, struct h1 *h) {
    uint64_t length = 0, have = x->request_end - x->head_end;
    enum body_framing framing = h1_request_framing(h1_head(h), &length);
    enum h1_step step = H1_MORE;
    uint8_t bytes[4096];

    h1_begin_body(h, framing, length);
    if (framing != FRAMING_CHUNKED) {
        if (length > have)
            x->is_cut = true;
        else
            x->request_end = x->head_end + length;
        return;
    }
    for (uint64_t at = x->head_end, len; at < x->request_end; at += len) {
        len = x->request_end - at < sizeof bytes ? x->request_end - at : sizeof bytes;
        copy_stream(b, 0, at, len, bytes);
        for (size_t off = 0, used = 0; step != H1_DONE && step != H1_ERROR; off += used) {
            step = h1_feed(h, bytes + off, len - off, &used);
            if (step == H1_DONE) x->request_end = at + off + used;
            if (step == H1_MORE) break;
        }
        if (step == H1_DONE || step == H1_ERROR) return;
    }
    x->is_cut = true;
}

/* Reads a captured head: who is asked for what. */
static enum plan_gap read_request(struct reading *b, struct plan_exchange *x) {
    struct h1_limits limits = {256u << 10, 2048, 64u << 10};
    struct h1 *h = h1_new(H1_REQUEST, &limits);
    uint64_t len = x->head_end - x->request_off;
    const struct h1_head *head;
    const uint8_t *target, *path, *authority;
    size_t used = 0, skip = 0, target_len, authority_len, path_len;
    char server[ENDPOINT_TEXT_MAX];
    enum plan_gap gap = PLAN_MALFORMED;

    x->head = malloc(len + 1);
    if (!h || !x->head) abort();
    if (copy_stream(b, 0, x->request_off, len, x->head)) {
        gap = why_missing(b);
        goto done;
    }
    if (h1_feed(h, x->head, len, &used) != H1_HEAD || used != len) goto done;
    head = h1_head(h);
    skip = len - head->bytes; /* an empty line before it */
    target = x->head + skip + head->target.off;
    target_len = head->target.len;
    x->target_at = skip + head->target.off;
    x->target_len = target_len;
    x->is_head = head->is_head;
    x->is_safe = head->is_safe;
    memcpy(x->method, x->head + skip + head->method.off,
           head->method.len < sizeof x->method ? head->method.len : sizeof x->method - 1);
    if (head->is_connect) {
        gap = PLAN_TUNNEL;
        goto done;
    }
    if (target_len > 8 && !strncasecmp((const char *)target, "https://", 8)) {
        gap = PLAN_HTTPS;
        goto done;
    }
    x->absolute = target_len > 7 && !strncasecmp((const char *)target, "http://", 7);
    if (x->absolute) {
        authority = target + 7;
        for (authority_len = 0; authority_len < target_len - 7; authority_len++)
            if (strchr("/?#", authority[authority_len])) break;
        path = authority + authority_len;
        path_len = target_len - 7 - authority_len;
    } else {
        path = target;
        path_len = target_len;
        authority = x->head + skip + head->host.off;
        authority_len = head->host.len;
        if (!authority_len) {
            authority = (const uint8_t *)endpoint_text(&b->r->life.flow.remote, server);
            authority_len = strlen(server);
        }
    }
    if (path_len == 0) path = (const uint8_t *)"/", path_len = 1;
    x->target_key = plan_target_key((const char *)x->head + skip + head->method.off, head->method.len, path, path_len);
    gap = find_origin(b->p, authority, authority_len, &x->origin) ? PLAN_WHOLE : PLAN_TOO_LARGE;
    find_request_end(b, x, h);
done:
    h1_free(&h);
    return gap;
}

/* ---- marks: which exchanges there are ---- */

static struct plan_exchange *exchange_of(const struct reading *b, uint64_t k) {
    return k < b->c->n_exchanges ? &b->p->exchanges[b->c->first_exchange + k] : NULL;
}

static enum plan_gap find_exchanges(struct reading *b) {
    const struct wire_transcript *t = b->t;
    struct plan *p = b->p;
    uint64_t next = 0;

    for (uint32_t i = 0; i < t->n_marks; i++) {
        const struct wire_mark *m = &t->marks[i];
        struct plan_exchange *x;

        if (m->kind != MARK_REQUEST) continue;
        if (m->exchange != next++) return PLAN_BYTES_LOST;
        p->exchanges = grow(p->exchanges, p->n_exchanges, &p->exchanges_room, sizeof *p->exchanges);
        x = &p->exchanges[p->n_exchanges++];
        *x = (struct plan_exchange){.conn = b->conn,
                                    .request_off = m->off,
                                    .head_end = m->end,
                                    .request_ns = m->at_ns,
                                    .done_len = NO_LEN,
                                    .until_client_ends = NO_LEN,
                                    .take = NO_LEN,
                                    .response_off = NO_LEN};
        b->c->n_exchanges++;
    }
    for (uint32_t k = 0; k < b->c->n_exchanges; k++) { /* each request lasts until the next */
        struct plan_exchange *x = exchange_of(b, k), *y = exchange_of(b, k + 1);
        x->request_end = y ? y->request_off : b->r->evidence.local.bytes;
        if (x->request_end < x->head_end) x->request_end = x->head_end;
    }
    return PLAN_WHOLE;
}

/* "HTTP/1.1 200" */
static uint16_t read_status(const struct reading *b, uint64_t off) {
    uint8_t line[12];

    if (copy_stream(b, 1, off, sizeof line, line)) return 0;
    for (int i = 9; i < 12; i++)
        if (line[i] < '0' || line[i] > '9') return 0;
    return (uint16_t)((line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0'));
}

static void find_answers(struct reading *b) {
    const struct wire_transcript *t = b->t;

    for (uint32_t i = 0; i < t->n_marks; i++) {
        const struct wire_mark *m = &t->marks[i];
        struct plan_exchange *x = m->kind == MARK_REQUEST ? NULL : exchange_of(b, m->exchange);

        if (!x) continue;
        if (m->kind != MARK_RESPONSE_DONE && x->response_off == NO_LEN) x->response_off = m->off;
        if (x->response_off == NO_LEN || m->off < x->response_off) continue;
        if (m->kind != MARK_RESPONSE_DONE && x->head_ns) continue; /* one more that nobody asked for */
        if (m->kind == MARK_INTERIM && x->n_interim < UINT16_MAX) x->n_interim++;
        if (m->kind == MARK_RESPONSE) {
            x->head_len = m->end - x->response_off;
            x->head_ns = m->at_ns;
            x->status = read_status(b, m->off);
        }
        if (m->kind == MARK_RESPONSE_DONE && x->head_ns && x->done_len == NO_LEN) {
            x->done_len = m->off - x->response_off;
            x->done_ns = m->at_ns;
        }
    }
}

/* The server's bytes of an answer, cut out of the transcript; true if it may be filled as needed. */
static bool cut_answer(struct reading *b, struct plan_exchange *x, uint64_t end) {
    uint64_t filled = 0;
    uint32_t room = 0;

    if (x->response_off == NO_LEN) return true;
    for (uint32_t i = first_beyond(b, 1, x->response_off); i < b->n_parts[1]; i++) {
        const struct wire_part *from = &b->t->parts[b->parts[1][i]];
        uint64_t lo = from->off > x->response_off ? from->off : x->response_off,
                 hi = from->off + from->len < end ? from->off + from->len : end;
        if (lo >= hi) break;
        x->parts = grow(x->parts, x->n_parts, &room, sizeof *x->parts);
        x->parts[x->n_parts++] = (struct wire_part){.at_ns = from->at_ns,
                                                    .off = lo - x->response_off,
                                                    .len = hi - lo,
                                                    .bytes = from->bytes ? from->bytes + (lo - from->off) : NULL,
                                                    .from_server = true};
        if (!from->bytes) filled += hi - lo;
        x->response_len = hi - x->response_off;
    }
    if (x->done_len != NO_LEN && x->done_len > x->response_len) x->done_len = x->response_len;
    if (filled) b->p->n_filled++;
    b->p->filled_in += filled;
    return filled <= PLAN_FILL_MAX && b->p->filled_in <= PLAN_FILL_ALL_MAX;
}

static uint64_t part_lacks(const struct plan_exchange *x, uint64_t len) {
    uint64_t lacks = 0;

    for (uint32_t i = 0; i < x->n_parts && x->parts[i].off < len; i++)
        if (!x->parts[i].bytes) lacks += x->parts[i].len;
    return lacks;
}

static enum plan_gap cut_answers(struct reading *b) {
    const struct plan_exchange *last = b->is_cut ? exchange_of(b, b->c->n_exchanges - (uint64_t)1) : NULL;
    uint64_t end = last && last->done_len != NO_LEN ? last->response_off + last->done_len : UINT64_MAX;

    for (uint32_t k = b->c->n_exchanges; k-- > 0;) {
        struct plan_exchange *x = exchange_of(b, k);
        if (!cut_answer(b, x, end)) return PLAN_TOO_LARGE;
        if (x->n_parts && part_lacks(x, x->head_len)) return why_missing(b);
        if (x->head_ns == 0) x->n_parts = 0, x->response_len = 0; /* no final head: no answer */
        if (x->response_off != NO_LEN) end = x->response_off;
    }
    return PLAN_WHOLE;
}

/* ---- steps ---- */

/* Of the captured request's bytes, how many there are of the one that is sent. */
static void steps_of_client_part(struct reading *b, const struct wire_part *part, uint32_t *k) {
    uint64_t end = part->off + part->len;

    while (*k < b->c->n_exchanges) {
        struct plan_exchange *x = exchange_of(b, *k);
        if (end <= x->request_off) return;
        add_step(b, STEP_SEND, part->at_ns, b->c->first_exchange + *k,
                 (end < x->request_end ? end : x->request_end) - x->request_off);
        if (end < x->request_end) return;
        x->sent_ns = b->at_ns;
        (*k)++;
    }
}

static void steps_of_server_part(struct reading *b, const struct wire_part *part, uint32_t i) {
    const struct wire_transcript *t = b->t;

    /* Marks that this part completed stand in order; there are few of them. */
    uint32_t lo = 0, hi = t->n_marks;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (t->marks[mid].part < i)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (b->client_ended_ns && part->at_ns > b->client_ended_ns) return; /* nobody was there any more */
    for (; lo < t->n_marks && t->marks[lo].part == i; lo++) {
        const struct wire_mark *m = &t->marks[lo];
        struct plan_exchange *x = m->kind == MARK_REQUEST ? NULL : exchange_of(b, m->exchange);
        if (!x || !x->n_parts) continue;
        if (m->kind == MARK_INTERIM)
            add_step(b, STEP_INTERIM, m->at_ns, b->c->first_exchange + (uint32_t)m->exchange, 0);
        if (m->kind == MARK_RESPONSE_DONE)
            add_step(b, STEP_DONE, m->at_ns, b->c->first_exchange + (uint32_t)m->exchange, x->done_len);
    }
    /* Unasked, and not in the answer's own last part. */
    for (struct plan_exchange *y; (y = exchange_of(b, b->answer + 1)) && y->response_off <= part->off;) b->answer++;
    struct plan_exchange *x = exchange_of(b, b->answer);
    if (!x || x->done_len == NO_LEN || part->off < x->response_off + x->done_len ||
        part->off >= x->response_off + x->response_len)
        return;
    add_step(b, STEP_TAIL, part->at_ns, b->c->first_exchange + b->answer, part->off + part->len - x->response_off);
}

/* A client whose window went down: how far it had read, by what it let come. */
static void step_of_window(struct reading *b, const struct wire_window *win) {
    uint32_t max = b->r->evidence.local.window_max;
    struct plan_exchange *x = exchange_of(b, b->answer);
    uint64_t read = win->edge - max;

    if (win->from_server || win->edge < max || !x || !x->n_parts || read < x->response_off) return;
    read -= x->response_off;
    if (read >= x->response_len) return;
    if (read < 4096) read = 4096; /* the smallest buffer that anybody reads a head with */
    b->c->window = max;
    if (x->take == NO_LEN) x->take = read;
    add_step(b, STEP_TAKE, win->at_ns, b->c->first_exchange + b->answer, read);
}

static void steps_of_parts(struct reading *b) {
    const struct wire_transcript *t = b->t;
    uint32_t k = 0, w = 0;

    for (uint32_t i = 0; i < t->n_parts; i++) {
        while (w < t->n_windows && t->windows[w].part <= i) step_of_window(b, &t->windows[w++]);
        if (t->parts[i].from_server)
            steps_of_server_part(b, &t->parts[i], i);
        else
            steps_of_client_part(b, &t->parts[i], &k);
    }
    while (w < t->n_windows) step_of_window(b, &t->windows[w++]);
}

/* The last exchange that was answered, NULL: none. */
static struct plan_exchange *last_answered(const struct reading *b) {
    for (uint32_t k = b->c->n_exchanges; k-- > 0;)
        if (exchange_of(b, k)->n_parts) return exchange_of(b, k);
    return NULL;
}

/* How much its client had of the answer when it ended the connection, and how much of it it can have read. */
static void plan_client_end(struct reading *b, struct plan_exchange *x) {
    const struct wire_evidence *e = &b->r->evidence;
    bool resets = b->r->life.close_how == HOW_RST || b->c->abandons;
    uint64_t had = x && e->acked_bytes > x->response_off ? e->acked_bytes - x->response_off : 0;

    if (x && had > x->response_len) had = x->response_len;
    b->c->had = had;
    b->c->linger = had == 0 || e->rst_cause_likely == RST_CAUSE_ABORT;
    if (x && (e->early == EARLY_IN_BODY || e->early == EARLY_NO_RESPONSE || x->done_len == NO_LEN))
        x->until_client_ends = had;
    if (!resets || b->c->linger || !x) return;
    if (x->take == NO_LEN) x->take = 4096;
    if (x->take >= had) x->take = had - 1;
}

static void steps_of_end(struct reading *b) {
    const struct wire_evidence *e = &b->r->evidence;
    const struct lifecycle *l = &b->r->life;
    int64_t client_ns = b->client_ended_ns, server_ns = first_of(e->remote.fin_ns, e->remote.rst_ns);
    struct plan_exchange *x = last_answered(b), *last = exchange_of(b, b->c->n_exchanges ? b->c->n_exchanges - 1 : 0);
    uint32_t at = last ? (uint32_t)(last - b->p->exchanges) : 0;

    if (l->close_by == BY_REMOTE && server_ns) {
        b->c->origin_resets = l->close_how == HOW_RST;
        if (last && (last->done_len == NO_LEN || e->response_close || last->done_ns == server_ns))
            last->ends_connection = true;
        add_step(b, STEP_ORIGIN_END, server_ns, at, 0);
        if (client_ns) add_step(b, STEP_FIN, client_ns, at, 0);
    } else if (l->close_by == BY_LOCAL && client_ns) {
        b->c->abandons = l->close_how == HOW_FIN && e->local.rst_ns && e->rst_cause_likely == RST_CAUSE_UNREAD_AT_CLOSE;
        plan_client_end(b, last && last->n_parts ? last : last ? NULL : x);
        add_step(b, l->close_how == HOW_RST ? STEP_RESET : b->c->abandons ? STEP_ABANDON : STEP_FIN, client_ns, at, 0);
    } else if (last && last->n_parts && last->done_len == NO_LEN && e->remote.bytes) {
        add_step(b, STEP_HAVE, last->parts[last->n_parts - 1].at_ns, at, last->response_len);
        const struct wire_exchange *k = e->n_exchanges ? &e->exchanges[e->n_exchanges - 1] : NULL;
        if (k && k->framing == FRAMING_LENGTH && k->body_announced != UNKNOWN_BYTES &&
            k->body_announced > k->body_bytes)
            last->fill_after = k->body_announced - k->body_bytes;
    }
}

/* ---- the whole ---- */

static enum plan_gap judge(const struct wire_record *r) {
    const struct wire_evidence *e = &r->evidence;

    if (!e->established && r->life.requests == 0 && !(e->incomplete & INCOMPLETE_START)) return PLAN_REFUSED;
    if (e->tunnelled) return PLAN_TUNNEL;
    if (e->protocol != PROTO_HTTP1 && e->protocol != PROTO_NONE) return PLAN_OPAQUE;
    if (e->incomplete & (INCOMPLETE_GAP_IN | INCOMPLETE_GAP_OUT | INCOMPLETE_BAD_HTTP)) return PLAN_BYTES_LOST;
    if (e->incomplete & INCOMPLETE_START) return PLAN_BEGAN_BEFORE;
    return PLAN_WHOLE;
}

/* What is played of a connection with a gap: the exchanges before the first that cannot be. */
static void cut_exchanges(struct reading *b, uint32_t n) {
    for (uint32_t k = n; k < b->c->n_exchanges; k++) {
        struct plan_exchange *x = exchange_of(b, k);
        if (x->is_read) b->p->request_bytes -= x->request_end - x->request_off;
        free(x->parts);
        free(x->head);
    }
    b->is_cut |= n < b->c->n_exchanges;
    b->p->n_exchanges -= b->c->n_exchanges - n;
    b->c->n_exchanges = n;
}

static enum plan_gap read_requests(struct reading *b) {
    for (uint32_t k = 0; k < b->c->n_exchanges; k++) {
        struct plan_exchange *x = exchange_of(b, k);
        enum plan_gap gap = read_request(b, x);
        uint64_t len = x->request_end - x->request_off;
        if (gap == PLAN_WHOLE && (len > PLAN_REQUEST_MAX || len > PLAN_REQUEST_ALL_MAX - b->p->request_bytes))
            gap = PLAN_TOO_LARGE;
        if (gap != PLAN_WHOLE) {
            cut_exchanges(b, k);
            return gap;
        }
        b->p->request_bytes += len;
        x->is_read = true;
    }
    return PLAN_WHOLE;
}

/* Where the capture lacks an answer, it is not known which of the later ones belongs to which request. */
static uint32_t answers_known(const struct reading *b) {
    for (uint32_t k = 0; k + 1 < b->c->n_exchanges; k++) {
        const struct plan_exchange *x = exchange_of(b, k);
        if (x->done_len == NO_LEN || exchange_of(b, k + 1)->request_ns < x->head_ns) return k;
    }
    return b->c->n_exchanges;
}

/* One that cannot be played uses up none of the limits. */
static enum plan_gap read_answers(struct reading *b) {
    uint64_t filled = b->p->filled_in, n_filled = b->p->n_filled;
    enum plan_gap gap;

    find_answers(b);
    if (b->r->evidence.incomplete & INCOMPLETE_GAP_IN) cut_exchanges(b, answers_known(b));
    gap = cut_answers(b);
    if (gap == PLAN_WHOLE) return gap;
    cut_exchanges(b, 0);
    b->p->filled_in = filled;
    b->p->n_filled = n_filled;
    return gap;
}

void plan_add(struct plan *p, struct wire_record *r) {
    struct reading b = {.p = p, .r = r, .t = r->transcript, .conn = p->n_conns, .at_ns = r->evidence.first_ns};

    b.client_ended_ns = first_of(r->evidence.local.fin_ns, r->evidence.local.rst_ns);
    enum plan_gap gap = judge(r), more;

    p->conns = grow(p->conns, p->n_conns, &p->conns_room, sizeof *p->conns);
    b.c = &p->conns[p->n_conns++];
    *b.c = (struct plan_conn){.record = r, .first_step = p->n_steps, .first_exchange = p->n_exchanges};
    if (!p->begin_ns || r->evidence.first_ns < p->begin_ns) p->begin_ns = r->evidence.first_ns;
    if (r->evidence.last_ns > p->end_ns) p->end_ns = r->evidence.last_ns;
    b.c->played = gap == PLAN_WHOLE || gap == PLAN_BEGAN_BEFORE || gap == PLAN_BYTES_LOST;
    if (b.c->played) {
        b.is_cut = gap == PLAN_BYTES_LOST;
        index_parts(&b);
        more = find_exchanges(&b);
        if (more == PLAN_WHOLE) more = read_requests(&b);
        if (more != PLAN_WHOLE) gap = more;
        more = read_answers(&b);
        if (more != PLAN_WHOLE) gap = more;
        if (b.c->n_exchanges == 0 && gap != PLAN_WHOLE) b.c->played = false;
    }
    b.c->gap = (uint8_t)gap;
    if (b.c->played) {
        add_step(&b, STEP_OPEN, r->evidence.first_ns, b.c->first_exchange, 0);
        steps_of_parts(&b);
        if (gap == PLAN_WHOLE || gap == PLAN_BEGAN_BEFORE) steps_of_end(&b);
    }
    free(b.parts[0]);
    free(b.parts[1]);
}

/* ---- all of them ---- */

static void cut_unsafe(struct plan *p) {
    for (uint32_t i = 0; i < p->n_conns; i++) {
        struct plan_conn *c = &p->conns[i];
        uint32_t k = 0, n = 0;
        while (k < c->n_exchanges && p->exchanges[c->first_exchange + k].is_safe) k++;
        if (k == c->n_exchanges) continue;
        c->gap = PLAN_UNSAFE;
        for (uint32_t j = 0; j < c->n_steps; j++) { /* the steps before the first of that exchange, and none after */
            if (p->steps[c->first_step + j].exchange >= c->first_exchange + k &&
                p->steps[c->first_step + j].kind != STEP_OPEN)
                break;
            n++;
        }
        c->n_steps = n;
        c->n_exchanges = k;
        c->played = k > 0;
    }
}

static const struct plan *sorted; /* for qsort, which takes no argument */

static int by_time(const void *a, const void *b) {
    uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
    const struct plan_step *x = &sorted->steps[i], *y = &sorted->steps[j];

    if (x->at_ns != y->at_ns) return x->at_ns < y->at_ns ? -1 : 1;
    return i < j ? -1 : i > j;
}

void plan_finish(struct plan *p, bool safe_only) {
    uint32_t n = 0;

    if (safe_only) cut_unsafe(p);
    p->order = malloc((p->n_steps ? p->n_steps : 1) * sizeof *p->order);
    p->step_conn = malloc((p->n_steps ? p->n_steps : 1) * sizeof *p->step_conn);
    if (!p->order || !p->step_conn) abort();
    for (uint32_t i = 0; i < p->n_conns; i++) {
        const struct plan_conn *c = &p->conns[i];
        p->by_gap[c->gap]++;
        for (uint32_t k = 0; k < c->n_exchanges && c->played; k++)
            p->origins[p->exchanges[c->first_exchange + k].origin].n_exchanges++;
        for (uint32_t j = 0; j < c->n_steps && c->played; j++) {
            p->step_conn[c->first_step + j] = i;
            p->order[n++] = c->first_step + j;
        }
    }
    p->n_steps = n;
    sorted = p;
    if (n) qsort(p->order, n, sizeof *p->order, by_time);
    if (n && p->steps[p->order[n - 1]].at_ns > p->end_ns) p->end_ns = p->steps[p->order[n - 1]].at_ns;
}

/* The captured head with its target in absolute form, then the body. */
static void make_request(struct reading *b, struct plan_exchange *x, const char *authority) {
    struct plan *p = b->p;
    uint64_t head_len = x->head_end - x->request_off, body_len = x->request_end - x->head_end, lacks;
    const uint8_t *target = x->head + x->target_at;
    size_t skip = 0, n = strlen(authority), rest;
    uint8_t *to;

    if (x->absolute) {
        skip = 7;
        while (skip < x->target_len && !strchr("/?#", target[skip])) skip++;
    } else if (x->target_len == 1 && *target == '*') {
        skip = 1; /* RFC 9112 section 3.2.4: the last proxy makes it "*" again */
    }
    x->request_len = head_len - skip + 7 + n + body_len;
    x->grown = 7 + n - skip;
    to = x->request = malloc(x->request_len);
    if (!to) abort();
    memcpy(to, x->head, x->target_at);
    to += x->target_at;
    memcpy(to, "http://", 7);
    memcpy(to + 7, authority, n);
    to += 7 + n;
    rest = head_len - x->target_at - skip;
    memcpy(to, target + skip, rest);
    lacks = copy_stream(b, 0, x->head_end, body_len, to + rest);
    if (lacks) p->n_filled++;
    p->filled_out += lacks;
}

void plan_address(struct plan *p, const char *const *authority) {
    for (uint32_t i = 0; i < p->n_conns; i++) {
        const struct plan_conn *c = &p->conns[i];
        struct reading b = {.p = p, .t = c->record->transcript};

        if (!c->played) continue;
        index_parts(&b);
        for (uint32_t k = 0; k < c->n_exchanges; k++) {
            struct plan_exchange *x = &p->exchanges[c->first_exchange + k];
            make_request(&b, x, authority[x->origin]);
        }
        free(b.parts[0]);
        free(b.parts[1]);
    }
}

uint64_t plan_sent_len(const struct plan_exchange *x, uint64_t captured) {
    if (captured <= x->target_at) return captured;
    return captured < x->target_at + x->target_len ? x->target_at : captured + x->grown;
}

void plan_clear(struct plan *p) {
    for (uint32_t i = 0; i < p->n_exchanges; i++) {
        free(p->exchanges[i].parts);
        free(p->exchanges[i].head);
        free(p->exchanges[i].request);
    }
    for (uint32_t i = 0; i < p->n_conns; i++) wire_record_free(&p->conns[i].record);
    for (uint32_t i = 0; i < p->n_origins; i++) free(p->origins[i].authority);
    free(p->conns);
    free(p->exchanges);
    free(p->steps);
    free(p->order);
    free(p->step_conn);
    free(p->origins);
    *p = (struct plan){0};
}

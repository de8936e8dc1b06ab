/* Two tables say which fields a connection's line has and which an exchange's: in
 * which member each is kept, and what it may be. What writes and what reads go by the
 * same rows. */
#include "record/workload_json.h"

#include "record/conn_json.h"
#include "record/conn_read.h"
#include "record/flat_json.h"

#include <stdio.h>
#include <stdlib.h>

#define SCHEMA "connleak.workload/1"

enum kind {
    K_TYPE, /* "type": the word that says what the line is */
    K_ID,   /* "c-3": struct workload_conn's id and side */
    K_ROW_CONN,
    K_ROW_ORIGIN,
    K_MS,    /* int64_t of nanoseconds; left out where NO_TIME */
    K_U64,   /* left out where UNKNOWN_BYTES */
    K_COUNT, /* uint64_t, left out where 0 */
    K_U32,   /* the same of 32 bits */
    K_U16,
    K_U8,
    K_TEXT, /* the number of a text */
    K_WORD, /* uint8_t: an enum, by its names; left out where 0 */
    K_END,  /* uint8_t: enum workload_end, always written */
    K_FLAG, /* a bit of uint8_t */
};

typedef const char *word_fn(unsigned i);

struct rule {
    const char *key; /* ,"name": */
    uint16_t key_len, offset;
    uint8_t kind;
    uint8_t bit; /* K_FLAG; 1: required, for the others */
    word_fn *word;
    const char *expected;
};
#define NEEDED 1

static const char *by_word(unsigned i) {
    return i <= BY_REMOTE ? close_by_name((enum close_by)i) : NULL;
}
static const char *how_word(unsigned i) {
    return i <= HOW_RST ? close_how_name((enum close_how)i) : NULL;
}
static const char *reason_word(unsigned i) {
    return i < N_REASONS ? close_reason_name((enum close_reason)i) : NULL;
}
static const char *phase_word(unsigned i) {
    const char *name = i <= PHASE_AFTER_BODY ? close_phase_name((enum close_phase)i) : NULL;
    return name || i ? name : "";
}
static const char *framing_word(unsigned i) {
    return i <= FRAMING_UNTIL_EOF ? body_framing_name((enum body_framing)i) : NULL;
}
static const char *observer_word(unsigned i) {
    return i <= OBSERVER_KERNEL ? observer_name((enum observer)i) : NULL;
}
static const char *arrivals_word(unsigned i) {
    return i == ARRIVALS_WANTED ? "wanted" : i == ARRIVALS_SENT ? "sent" : NULL;
}

#define ROW(type, name, kind_, member, bit_, word_, expected_)                                                         \
    {                                                                                                                  \
        .key = ",\"" name "\":", .key_len = sizeof(name) + 3, .offset = offsetof(type, member), .kind = kind_,         \
        .bit = bit_, .word = word_, .expected = expected_                                                              \
    }
#define C(name, kind, member, bit, word, expected) ROW(struct workload_conn, name, kind, member, bit, word, expected)
#define X(name, kind, member, bit, word, expected)                                                                     \
    ROW(struct workload_exchange, name, kind, member, bit, word, expected)

#define MILLISECONDS "milliseconds, at most six decimals and a hundred years"
#define A_COUNT      "a count"
#define A_SIZE       "a number of bytes"
#define A_STRING     "a string"
#define A_BOOLEAN    "true or false"

static const struct rule conn_rules[] = {
    C("type", K_TYPE, id, NEEDED, NULL, ""),
    C("id", K_ID, id, NEEDED, NULL, "an id such as \"c-3\""),
    C("client", K_TEXT, client, 0, NULL, A_STRING),
    C("server", K_TEXT, server, 0, NULL, A_STRING),
    C("origin", K_ROW_ORIGIN, origin, 0, NULL, "the row of an origin that came before"),
    C("opened_ms", K_MS, opened_ns, NEEDED, NULL, MILLISECONDS),
    C("dial_ms", K_MS, dial_ns, 0, NULL, MILLISECONDS),
    C("tls_ms", K_MS, tls_ns, 0, NULL, MILLISECONDS),
    C("closed_ms", K_MS, closed_ns, 0, NULL, MILLISECONDS),
    C("idle_ms", K_MS, idle_ns, 0, NULL, MILLISECONDS),
    C("requests", K_U32, requests, 0, NULL, A_COUNT),
    C("bytes_in", K_COUNT, bytes_in, 0, NULL, A_SIZE),
    C("bytes_out", K_COUNT, bytes_out, 0, NULL, A_SIZE),
    C("unread_bytes", K_U64, unread_bytes, 0, NULL, A_SIZE),
    C("by", K_WORD, close_by, 0, by_word, "local or remote"),
    C("how", K_WORD, close_how, 0, how_word, "fin or rst"),
    C("reason", K_WORD, close_reason, 0, reason_word, "a close reason"),
    C("phase", K_WORD, close_phase, 0, phase_word, "a close phase"),
    C("opened_known", K_FLAG, flags, WCONN_OPENED, NULL, A_BOOLEAN),
    C("dialed", K_FLAG, flags, WCONN_DIALED, NULL, A_BOOLEAN),
    C("tls", K_FLAG, flags, WCONN_TLS, NULL, A_BOOLEAN),
    C("to_proxy", K_FLAG, flags, WCONN_TO_PROXY, NULL, A_BOOLEAN),
    C("opaque", K_FLAG, flags, WCONN_OPAQUE, NULL, A_BOOLEAN),
    C("partial", K_FLAG, flags, WCONN_PARTIAL, NULL, A_BOOLEAN),
};

static const struct rule exchange_rules[] = {
    X("type", K_TYPE, at_ns, NEEDED, NULL, ""),
    X("connection", K_ROW_CONN, conn, NEEDED, NULL, "the row of a connection that came before"),
    X("origin", K_ROW_ORIGIN, origin, 0, NULL, "the row of an origin that came before"),
    X("at_ms", K_MS, at_ns, NEEDED, NULL, MILLISECONDS),
    X("waited_ms", K_MS, waited_ns, 0, NULL, MILLISECONDS),
    X("method", K_TEXT, method, 0, NULL, A_STRING),
    X("path", K_TEXT, path, 0, NULL, A_STRING),
    X("request_head", K_U32, request_head, 0, NULL, A_SIZE),
    X("request_body", K_COUNT, request_body, 0, NULL, A_SIZE),
    X("sent_ms", K_MS, sent_ns, 0, NULL, MILLISECONDS),
    X("first_byte_ms", K_MS, first_ns, 0, NULL, MILLISECONDS),
    X("interim", K_U8, n_interim, 0, NULL, "a count of at most 255"),
    X("status", K_U16, status, 0, NULL, "a status of at most 999"),
    X("framing", K_WORD, framing, 0, framing_word, "a framing"),
    X("response_head", K_U32, response_head, 0, NULL, A_SIZE),
    X("announced", K_U64, announced, 0, NULL, A_SIZE),
    X("body", K_COUNT, body, 0, NULL, A_SIZE),
    X("taken", K_U64, taken, 0, NULL, A_SIZE),
    X("done_ms", K_MS, done_ns, 0, NULL, MILLISECONDS),
    X("end", K_END, end, NEEDED, NULL, "how it ended: complete, given_up, canceled, failed, opaque, open or unknown"),
    X("request_close", K_FLAG, flags, WX_REQUEST_CLOSE, NULL, A_BOOLEAN),
    X("response_close", K_FLAG, flags, WX_RESPONSE_CLOSE, NULL, A_BOOLEAN),
    X("expect", K_FLAG, flags, WX_EXPECT, NULL, A_BOOLEAN),
    X("spread", K_FLAG, flags, WX_SPREAD, NULL, A_BOOLEAN),
    X("retried", K_FLAG, flags, WX_RETRIED, NULL, A_BOOLEAN),
    X("pipelined", K_FLAG, flags, WX_PIPELINED, NULL, A_BOOLEAN),
};
#define N_RULES(rules) (sizeof(rules) / sizeof *(rules))

/* ---- writing ---- */

static void put_key(struct json_out *o, const struct rule *r) {
    jo_key_raw(o, r->key, r->key_len);
}

static void put_u64_unless(struct json_out *o, const struct rule *r, uint64_t n, uint64_t absent) {
    if (n == absent) return;
    put_key(o, r);
    jo_u64(o, n);
}

static void put_word(struct json_out *o, const struct rule *r, const char *word) {
    put_key(o, r);
    jo_word(o, word);
}

static void put_id(struct json_out *o, const struct rule *r, const struct workload_conn *c) {
    char text[CONN_ID_TEXT_MAX];

    put_word(o, r, conn_id_text((enum side)c->side, c->id, text));
}

static void put_field(struct json_out *o, const struct workload *w, const struct rule *r, const void *row,
                      const char *type) {
    const char *at = (const char *)row + r->offset;

    switch ((enum kind)r->kind) {
    case K_TYPE:
        put_word(o, r, type);
        break;
    case K_ID:
        put_id(o, r, row);
        break;
    case K_MS:
        if (*(const int64_t *)at == NO_TIME) break;
        put_key(o, r);
        jo_fixed(o, *(const int64_t *)at, 6);
        break;
    case K_U64:
        put_u64_unless(o, r, *(const uint64_t *)at, UNKNOWN_BYTES);
        break;
    case K_COUNT:
        put_u64_unless(o, r, *(const uint64_t *)at, 0);
        break;
    case K_ROW_CONN:
    case K_ROW_ORIGIN:
        put_u64_unless(o, r, *(const uint32_t *)at, WORKLOAD_NO);
        break;
    case K_U32:
        put_u64_unless(o, r, *(const uint32_t *)at, 0);
        break;
    case K_U16:
        put_u64_unless(o, r, *(const uint16_t *)at, 0);
        break;
    case K_U8:
        put_u64_unless(o, r, *(const uint8_t *)at, 0);
        break;
    case K_TEXT:
        if (*(const uint32_t *)at == WORKLOAD_NO) break;
        put_key(o, r);
        jo_str(o, workload_text_of(w, *(const uint32_t *)at));
        break;
    case K_WORD:
        if (*(const uint8_t *)at) put_word(o, r, r->word(*(const uint8_t *)at));
        break;
    case K_END:
        put_word(o, r, workload_end_name((enum workload_end) * (const uint8_t *)at));
        break;
    case K_FLAG:
        if (!(*(const uint8_t *)at & r->bit)) break;
        put_key(o, r);
        jo_bool(o, true);
        break;
    }
}

void workload_json_header(struct json_out *o, const struct workload *w) {
    jo_object(o);
    JO_KEY(o, "schema");
    jo_word(o, SCHEMA);
    JO_KEY(o, "version");
    jo_word(o, CONNLEAK_VERSION);
    JO_KEY(o, "observer");
    jo_word(o, observer_name((enum observer)w->observer));
    JO_KEY(o, "arrivals");
    jo_word(o, arrivals_word(w->arrivals));
    JO_KEY(o, "began_at");
    jo_time(o, w->began_ns);
    JO_KEY(o, "duration_ms");
    jo_fixed(o, w->duration_ns, 6);
    JO_KEY(o, "anonymous");
    jo_bool(o, w->anonymous);
    JO_KEY(o, "origins");
    jo_u64(o, w->n_origins);
    JO_KEY(o, "connections");
    jo_u64(o, w->n_conns);
    JO_KEY(o, "exchanges");
    jo_u64(o, w->n_exchanges);
    jo_object_end(o);
    jo_line(o);
}

void workload_json_origin(struct json_out *o, const struct workload *w, uint32_t row) {
    jo_object(o);
    JO_KEY(o, "type");
    jo_word(o, "origin");
    JO_KEY(o, "row");
    jo_u64(o, row);
    JO_KEY(o, "scheme");
    jo_str(o, workload_text_of(w, w->origins[row].scheme));
    JO_KEY(o, "host");
    jo_str(o, workload_text_of(w, w->origins[row].host));
    jo_object_end(o);
    jo_line(o);
}

void workload_json_conn(struct json_out *o, const struct workload *w, uint32_t row) {
    const struct workload_conn *c = &w->conns[row];

    jo_object(o);
    put_field(o, w, &conn_rules[0], c, "connection");
    JO_KEY(o, "row");
    jo_u64(o, row);
    for (size_t i = 1; i < N_RULES(conn_rules); i++) put_field(o, w, &conn_rules[i], c, NULL);
    jo_object_end(o);
    jo_line(o);
}

void workload_json_exchange(struct json_out *o, const struct workload *w, uint32_t row) {
    jo_object(o);
    for (size_t i = 0; i < N_RULES(exchange_rules); i++)
        put_field(o, w, &exchange_rules[i], &w->exchanges[row], "exchange");
    jo_object_end(o);
    jo_line(o);
}

bool workload_json_some(struct json_out *o, const struct workload *w, uint64_t *at) {
    uint64_t origins = 1 + (uint64_t)w->n_origins, conns = origins + w->n_conns, end = conns + w->n_exchanges;
    size_t full = o->len + (64u << 10);

    if (*at == end) return false;
    for (; *at < end && o->len < full; ++*at) {
        if (*at == 0)
            workload_json_header(o, w);
        else if (*at < origins)
            workload_json_origin(o, w, (uint32_t)(*at - 1));
        else if (*at < conns)
            workload_json_conn(o, w, (uint32_t)(*at - origins));
        else
            workload_json_exchange(o, w, (uint32_t)(*at - conns));
    }
    return true;
}

/* ---- reading ---- */

struct workload_reader {
    struct workload *w;
    struct flat_json line;
    uint64_t number; /* of the line */
    uint64_t announced[3];
    bool has_header;
    char error[256];
};

struct workload_reader *workload_reader_new(const struct workload_limits *limits) {
    struct workload_reader *r = calloc(1, sizeof *r);

    if (!r) abort();
    r->w = workload_new(limits);
    return r;
}

void workload_reader_free(struct workload_reader **rp) {
    struct workload_reader *r = *rp;

    if (!r) return;
    workload_free(&r->w);
    free(r);
    *rp = NULL;
}

const char *workload_reader_error(const struct workload_reader *r) {
    return r->error;
}

static bool complain(struct workload_reader *r, const char *name, size_t name_len, const char *expected,
                     const char *found, size_t found_len) {
    char shown[64];
    size_t n = 0;

    for (; n < found_len && n < sizeof shown - 4; n++) shown[n] = found[n] >= 0x20 && found[n] < 0x7f ? found[n] : '?';
    memcpy(shown + n, n < found_len ? "..." : "", n < found_len ? 4 : 1);
    snprintf(r->error, sizeof r->error, "line %llu: %.*s%sexpected %s, found %s", (unsigned long long)r->number,
             (int)(name_len < 40 ? name_len : 40), name, name_len ? ": " : "", expected, shown);
    return false;
}

static bool complain_field(struct workload_reader *r, const struct flat_field *v, const char *expected) {
    return complain(r, v->name, v->name_len, expected, v->len ? v->text : "\"\"", v->len ? v->len : 2);
}

static bool limit_reached(struct workload_reader *r, const char *what, uint64_t limit) {
    snprintf(r->error, sizeof r->error, "line %llu: more than %llu %s", (unsigned long long)r->number,
             (unsigned long long)limit, what);
    return false;
}

static bool too_many_texts(struct workload_reader *r) {
    return limit_reached(r, "bytes of different names and paths", r->w->limits.text_bytes);
}

static bool take_text(struct workload_reader *r, const struct flat_field *v, const struct rule *rule, uint32_t *out) {
    if (v->kind != FLAT_STRING) return complain_field(r, v, rule->expected);
    if (v->len > WORKLOAD_TEXT_MAX) return complain_field(r, v, "a string of at most 1,024 bytes");
    *out = workload_text(r->w, v->text, v->len);
    return *out != WORKLOAD_NO || too_many_texts(r);
}

static bool take_word(const struct flat_field *v, word_fn *word, uint8_t *out) {
    for (unsigned i = 0; word(i); i++) {
        if (!*word(i) || !flat_is(v, word(i))) continue;
        *out = (uint8_t)i;
        return true;
    }
    return false;
}

static bool take_id(const struct flat_field *v, struct workload_conn *c) {
    char text[CONN_ID_TEXT_MAX];
    enum side side;

    if (v->kind != FLAT_STRING || v->len >= sizeof text) return false;
    memcpy(text, v->text, v->len);
    text[v->len] = 0;
    if (!conn_id_parse(text, &side, &c->id)) return false;
    c->side = (uint8_t)side;
    return true;
}

static bool take_end(const struct flat_field *v, uint8_t *out) {
    enum workload_end end;

    if (v->kind != FLAT_STRING || !workload_end_parse(v->text, v->len, &end)) return false;
    *out = (uint8_t)end;
    return true;
}

static bool take_flag(const struct flat_field *v, uint8_t bit, uint8_t *out) {
    if (v->kind != FLAT_TRUE && v->kind != FLAT_FALSE) return false;
    if (v->kind == FLAT_TRUE) *out |= bit;
    return true;
}

static bool take_field(struct workload_reader *r, const struct flat_field *v, const struct rule *rule, void *row) {
    char *at = (char *)row + rule->offset;
    uint64_t n = 0;
    bool ok = false;

    switch ((enum kind)rule->kind) {
    case K_TYPE:
        ok = true;
        break;
    case K_ID:
        ok = take_id(v, row);
        break;
    case K_MS:
        ok = flat_ms(v, WORKLOAD_TIME_MAX, (int64_t *)at);
        break;
    case K_U64:
    case K_COUNT:
        ok = flat_u64(v, INT64_MAX, (uint64_t *)at);
        break;
    case K_ROW_CONN:
        ok = flat_u64(v, UINT32_MAX, &n) && n < r->w->n_conns;
        if (ok) *(uint32_t *)at = (uint32_t)n;
        break;
    case K_ROW_ORIGIN:
        ok = flat_u64(v, UINT32_MAX, &n) && n < r->w->n_origins;
        if (ok) *(uint32_t *)at = (uint32_t)n;
        break;
    case K_U32:
        ok = flat_u64(v, UINT32_MAX, &n);
        if (ok) *(uint32_t *)at = (uint32_t)n;
        break;
    case K_U16:
        ok = flat_u64(v, 999, &n);
        if (ok) *(uint16_t *)at = (uint16_t)n;
        break;
    case K_U8:
        ok = flat_u64(v, UINT8_MAX, &n);
        if (ok) *(uint8_t *)at = (uint8_t)n;
        break;
    case K_TEXT:
        return take_text(r, v, rule, (uint32_t *)at);
    case K_WORD:
        ok = take_word(v, rule->word, (uint8_t *)at);
        break;
    case K_END:
        ok = take_end(v, (uint8_t *)at);
        break;
    case K_FLAG:
        ok = take_flag(v, rule->bit, (uint8_t *)at);
        break;
    }
    return ok || complain_field(r, v, rule->expected);
}

static bool not_json(struct workload_reader *r) {
    const struct flat_json *f = &r->line;
    char where[48];

    snprintf(where, sizeof where, "column %td: ", f->at - f->begin + 1);
    return complain(r, where, strlen(where) - 2, f->error, f->at < f->end ? f->at : "nothing",
                    f->at < f->end ? (size_t)(f->end - f->at) : 7);
}

static bool is_named(const struct rule *rule, const struct flat_field *v) {
    return v->name_len == rule->key_len - 4u && !memcmp(rule->key + 2, v->name, v->name_len);
}

/* The rule for a field. Lines of ours have their fields in the order of the rules, so
 * the search begins behind the last one found. */
static const struct rule *find_rule(const struct rule *rules, size_t n, const struct flat_field *v, size_t *next) {
    for (size_t i = 0; i < n; i++) {
        size_t k = *next + i < n ? *next + i : *next + i - n;
        if (!is_named(&rules[k], v)) continue;
        *next = k + 1 < n ? k + 1 : 0;
        return &rules[k];
    }
    return NULL;
}

static bool check_row(struct workload_reader *r, const struct flat_field *v, uint32_t row) {
    uint64_t n;

    return (flat_u64(v, UINT32_MAX, &n) && n == row) || complain_field(r, v, "rows counted from 0, without a gap");
}

/* The fields behind "type"; `row` is which row the line is to be, WORKLOAD_NO for exchanges, which have no number. */
static bool read_fields(struct workload_reader *r, const struct rule *rules, size_t n, void *into, uint32_t row) {
    struct flat_field v;
    uint64_t seen = 1; /* "type" */
    size_t next = 1;

    while (flat_next(&r->line, &v)) {
        const struct rule *rule = find_rule(rules, n, &v, &next);

        if (!rule && row != WORKLOAD_NO && v.name_len == 3 && !memcmp(v.name, "row", 3)) {
            if (!check_row(r, &v, row)) return false;
            continue;
        }
        if (!rule || v.kind == FLAT_NULL) continue;
        if (seen & UINT64_C(1) << (rule - rules)) return complain_field(r, &v, "each field once");
        seen |= UINT64_C(1) << (rule - rules);
        if (!take_field(r, &v, rule, into)) return false;
    }
    if (r->line.error) return not_json(r);
    for (size_t i = 0; i < n; i++)
        if (rules[i].bit == NEEDED && rules[i].kind != K_FLAG && !(seen & UINT64_C(1) << i))
            return complain(r, rules[i].key + 2, rules[i].key_len - 4u, "a value", "nothing", 7);
    return true;
}

static bool read_conn(struct workload_reader *r) {
    uint32_t row = r->w->n_conns;
    struct workload_conn *c = workload_add_conn(r->w);

    if (!c) return limit_reached(r, "connections", r->w->limits.conns);
    return read_fields(r, conn_rules, N_RULES(conn_rules), c, row);
}

static bool read_exchange(struct workload_reader *r) {
    struct workload_exchange *x = workload_add_exchange(r->w);

    if (!x) return limit_reached(r, "exchanges", r->w->limits.exchanges);
    return read_fields(r, exchange_rules, N_RULES(exchange_rules), x, WORKLOAD_NO);
}

struct origin_line {
    uint32_t scheme, host;
    uint32_t nothing;
};
static const struct rule origin_rules[] = {
    ROW(struct origin_line, "type", K_TYPE, nothing, NEEDED, NULL, ""),
    ROW(struct origin_line, "scheme", K_TEXT, scheme, NEEDED, NULL, "http or https"),
    ROW(struct origin_line, "host", K_TEXT, host, NEEDED, NULL, A_STRING),
};

static bool read_origin(struct workload_reader *r) {
    struct origin_line o = {WORKLOAD_NO, WORKLOAD_NO, 0};
    uint32_t row = r->w->n_origins, made;
    char scheme[8] = "", host[WORKLOAD_TEXT_MAX + 1];
    const char *text;

    if (!read_fields(r, origin_rules, N_RULES(origin_rules), &o, row)) return false;
    text = workload_text_of(r->w, o.scheme);
    if (strcmp(text, "http") != 0 && strcmp(text, "https") != 0)
        return complain(r, "scheme", 6, "http or https", text, strlen(text));
    strcpy(scheme, text);
    strcpy(host, workload_text_of(r->w, o.host));
    made = workload_origin(r->w, scheme, host);
    if (made == WORKLOAD_NO) return limit_reached(r, "origins", r->w->limits.origins);
    return made == row || complain(r, "host", 4, "each origin once", host, strlen(host));
}

/* ---- the header ---- */

static bool is(const struct flat_field *v, const char *name) {
    return v->name_len == strlen(name) && !memcmp(v->name, name, v->name_len);
}

static bool take_time(const struct flat_field *v, int64_t *out) {
    char text[40];

    if (v->kind != FLAT_STRING || v->len >= sizeof text) return false;
    memcpy(text, v->text, v->len);
    text[v->len] = 0;
    return record_time_parse(text, out);
}

static bool header_field(struct workload_reader *r, const struct flat_field *v) {
    static const char *const counts[] = {"origins", "connections", "exchanges"};
    struct workload *w = r->w;

    if (is(v, "observer"))
        return take_word(v, observer_word, &w->observer) || complain_field(r, v, "daemon, capture or kernel");
    if (is(v, "arrivals")) return take_word(v, arrivals_word, &w->arrivals) || complain_field(r, v, "wanted or sent");
    if (is(v, "began_at"))
        return take_time(v, &w->began_ns) || complain_field(r, v, "a time such as \"2026-01-02T03:04:05.678901Z\"");
    if (is(v, "duration_ms"))
        return flat_ms(v, WORKLOAD_TIME_MAX, &w->duration_ns) || complain_field(r, v, MILLISECONDS);
    if (is(v, "anonymous")) {
        w->anonymous = v->kind == FLAT_TRUE;
        return v->kind == FLAT_TRUE || v->kind == FLAT_FALSE || complain_field(r, v, A_BOOLEAN);
    }
    for (size_t i = 0; i < 3; i++)
        if (is(v, counts[i])) return flat_u64(v, UINT64_MAX, &r->announced[i]) || complain_field(r, v, A_COUNT);
    return true;
}

static bool read_header(struct workload_reader *r) {
    struct flat_field v;
    bool first = true;

    while (flat_next(&r->line, &v)) {
        if (first && (!is(&v, "schema") || !flat_is(&v, SCHEMA)))
            return complain(r, "schema", 6, "\"" SCHEMA "\" as the first field", v.text, v.len);
        if (!first && !header_field(r, &v)) return false;
        first = false;
    }
    if (r->line.error) return not_json(r);
    r->has_header = true;
    return !first || complain(r, "schema", 6, "\"" SCHEMA "\"", "nothing", 7);
}

/* ---- a line ---- */

static bool read_typed(struct workload_reader *r) {
    struct flat_field v;

    if (!flat_next(&r->line, &v)) return r->line.error ? not_json(r) : complain(r, "type", 4, "a value", "nothing", 7);
    if (!is(&v, "type")) return complain(r, "", 0, "type as the first field", v.name, v.name_len);
    if (flat_is(&v, "exchange")) return read_exchange(r);
    if (flat_is(&v, "connection")) return read_conn(r);
    if (flat_is(&v, "origin")) return read_origin(r);
    return complain_field(r, &v, "origin, connection or exchange");
}

static bool is_blank(const char *line, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r' && line[i] != '\n') return false;
    return true;
}

bool workload_read_line(struct workload_reader *r, const char *line, size_t len) {
    r->number++;
    if (is_blank(line, len)) return true;
    if (len > WORKLOAD_LINE_MAX) return complain(r, "", 0, "a line of at most 65,536 bytes", line, len);
    if (!flat_begin(&r->line, line, len)) return not_json(r);
    return r->has_header ? read_typed(r) : read_header(r);
}

struct workload *workload_read_end(struct workload_reader *r) {
    static const char *const names[] = {"origins", "connections", "exchanges"};
    uint32_t found[] = {r->w->n_origins, r->w->n_conns, r->w->n_exchanges};
    struct workload *w = r->w;

    if (*r->error) return NULL;
    if (!r->has_header) {
        snprintf(r->error, sizeof r->error, "expected a line with the schema \"" SCHEMA "\", found none");
        return NULL;
    }
    for (size_t i = 0; i < 3; i++) {
        if (r->announced[i] == found[i]) continue;
        snprintf(r->error, sizeof r->error, "the end: expected %llu %s, as the header says, found %u",
                 (unsigned long long)r->announced[i], names[i], found[i]);
        return NULL;
    }
    workload_sort(w);
    r->w = NULL;
    return w;
}

bool workload_is_header(const char *line, size_t len) {
    struct flat_json f;
    struct flat_field v;

    return flat_begin(&f, line, len) && flat_next(&f, &v) && is(&v, "schema") && flat_is(&v, SCHEMA);
}

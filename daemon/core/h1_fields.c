#include "h1_fields.h"

#include <stdlib.h>
#include <string.h>

#define FIELDS_FIRST 24u /* room to begin with: most heads have fewer */

/* Room that is kept from one connection to the next. */
#define FIELDS_KEEP 96u

/* Names that a head's Connection fields may list, besides those we know: each is
 * compared with each field, so their number must stay small. */
#define NAMED_MAX 64u

/* Go parses lengths as 63 bits, and so there is room for UNKNOWN_BYTES. */
#define LENGTH_MAX ((uint64_t)INT64_MAX)

void h1_fields_init(struct h1_fields *f, uint32_t max_fields) {
    memset(f, 0, sizeof *f);
    f->max = max_fields < UINT16_MAX ? max_fields : UINT16_MAX;
    h1_fields_begin(f);
}

void h1_fields_begin(struct h1_fields *f) {
    f->head = (struct h1_head){.fields = f->field, .content_length = UNKNOWN_BYTES};
    f->n_named = f->named_known = 0;
    f->n_length = f->n_coding = f->n_host = 0;
    f->length_bad = f->length_empty = f->length_differs = f->coding_bad = false;
}

void h1_fields_clear(struct h1_fields *f) {
    free(f->field);
    free(f->hash);
    free(f->named);
    h1_fields_init(f, f->max);
}

void h1_fields_trim(struct h1_fields *f) {
    if (f->room > FIELDS_KEEP) h1_fields_clear(f);
}

static uint8_t lower(uint8_t c) {
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

/* Letters of eight bytes at once to lower case, everything else as it is. */
static uint64_t lower8(uint64_t w) {
    uint64_t low7 = w & EIGHT(0x7f);
    uint64_t from_a = low7 + EIGHT(0x80 - 'A');     /* high bit: at least 'A' */
    uint64_t past_z = low7 + EIGHT(0x80 - 'Z' - 1); /* high bit: beyond 'Z' */
    uint64_t upper = from_a & ~past_z & ~w & EIGHT(0x80);
    return w | upper >> 2;
}

static inline uint64_t load4(const void *p) {
    uint32_t w;
    memcpy(&w, p, 4);
    return w;
}

/* Is it this word, in any case of letters? `word` is in lower case, and of a known
 * length where this is inlined: then it is two or three comparisons. */
static inline bool is_word(const uint8_t *p, size_t len, const char *word, size_t word_len) {
    if (len != word_len) return false;
    if (len < 4) {
        for (size_t i = 0; i < len; i++)
            if (lower(p[i]) != (uint8_t)word[i]) return false;
        return true;
    }
    if (len < 8) return lower8(load4(p)) == load4(word) && lower8(load4(p + len - 4)) == load4(word + len - 4);
    for (size_t i = 0; i + 8 <= len; i += 8)
        if (lower8(load8(p + i)) != load8(word + i)) return false;
    return lower8(load8(p + len - 8)) == load8(word + len - 8);
}
#define IS(p, len, word) is_word(p, len, word, sizeof(word) - 1)

/* Length and one letter leave at most one name to compare with. */
enum h1_name h1_name_of(const uint8_t *p, size_t len) {
#define NAME(word, known) return IS(p, len, word) ? known : H1_N_OTHER
    if (len == 0) return H1_N_OTHER;
    switch (len) {
    case 2:
        NAME("te", H1_N_TE);
    case 3:
        NAME("via", H1_N_VIA);
    case 4:
        if (lower(p[0]) == 'h') NAME("host", H1_N_HOST);
        NAME("date", H1_N_DATE);
    case 6:
        if (lower(p[0]) == 'e') NAME("expect", H1_N_EXPECT);
        NAME("server", H1_N_SERVER);
    case 7:
        if (lower(p[0]) == 'u') NAME("upgrade", H1_N_UPGRADE);
        NAME("trailer", H1_N_TRAILER);
    case 10:
        if (lower(p[0]) == 'c') NAME("connection", H1_N_CONNECTION);
        if (lower(p[0]) == 'u') NAME("user-agent", H1_N_USER_AGENT);
        NAME("keep-alive", H1_N_KEEP_ALIVE);
    case 12:
        NAME("max-forwards", H1_N_MAX_FORWARDS);
    case 14:
        NAME("content-length", H1_N_CONTENT_LENGTH);
    case 15:
        NAME("idempotency-key", H1_N_IDEMPOTENCY_KEY);
    case 16:
        NAME("proxy-connection", H1_N_PROXY_CONNECTION);
    case 17:
        if (lower(p[0]) == 't') NAME("transfer-encoding", H1_N_TRANSFER_ENCODING);
        NAME("x-idempotency-key", H1_N_IDEMPOTENCY_KEY);
    case 18:
        NAME("proxy-authenticate", H1_N_PROXY_AUTHENTICATE);
    case 19:
        NAME("proxy-authorization", H1_N_PROXY_AUTHORIZATION);
    default:
        return H1_N_OTHER;
    }
#undef NAME
}

/* Names are told apart by 64 bits of hash, since their bytes may have come in
 * pieces that are gone. Whoever finds two names with one hash has only found another
 * way to list a field of his own message in its Connection field. */
static uint64_t name_hash(const uint8_t *p, size_t len) {
    const uint64_t k = 0x9fb21c651e98df25u;
    uint64_t h = len * 0x9e3779b97f4a7c15u;
    if (len < 4) {
        uint64_t w = 0;
        for (size_t i = 0; i < len; i++) w = w << 8 | lower(p[i]);
        h = (h ^ w) * k;
    } else if (len < 8) {
        h = (h ^ lower8(load4(p) | load4(p + len - 4) << 32)) * k;
    } else {
        for (size_t i = 0; i + 8 < len; i += 8) {
            h = (h ^ lower8(load8(p + i))) * k;
            h ^= h >> 32;
        }
        h = (h ^ lower8(load8(p + len - 8))) * k;
    }
    return h ^ h >> 29;
}

static bool more_room(struct h1_fields *f) {
    uint32_t room = f->room ? f->room * 2 : FIELDS_FIRST;
    if (room > f->max) room = f->max;
    if (room <= f->room) return false;
    struct h1_field *field = realloc(f->field, room * sizeof *field);
    if (!field) return false;
    f->field = field;
    f->head.fields = field;
    uint64_t *hash = realloc(f->hash, room * sizeof *hash);
    if (!hash) return false;
    f->hash = hash;
    f->room = room;
    return true;
}

bool h1_fields_name(struct h1_fields *f, struct h1_span where, const uint8_t *name) {
    if (f->head.n_fields == f->room && !more_room(f)) return false;
    size_t i = f->head.n_fields++;
    enum h1_name known = h1_name_of(name, where.len);
    f->field[i] = (struct h1_field){.name = where, .value = {where.off + where.len + 1, 0}, .known = (uint16_t)known};
    f->hash[i] = known == H1_N_OTHER ? name_hash(name, where.len) : 0;
    return true;
}

bool h1_barred_from_trailer(enum h1_name known) {
    switch (known) {
    case H1_N_OTHER:
    case H1_N_VIA:
    case H1_N_USER_AGENT:
    case H1_N_DATE:
    case H1_N_SERVER:
    case H1_N_IDEMPOTENCY_KEY:
        return false;
    default:
        return true;
    }
}

bool h1_fields_reads(enum h1_name known) {
    switch (known) {
    case H1_N_HOST:
    case H1_N_CONNECTION:
    case H1_N_CONTENT_LENGTH:
    case H1_N_TRANSFER_ENCODING:
    case H1_N_UPGRADE:
    case H1_N_EXPECT:
    case H1_N_TE:
        return true;
    default:
        return false;
    }
}

/* The next element of a comma-separated list, blanks around it removed; empty ones are passed over. */
static bool next_token(const uint8_t **p, const uint8_t *end, const uint8_t **token, size_t *len) {
    while (*p < end) {
        const uint8_t *from = *p, *to = memchr(from, ',', (size_t)(end - from));
        *p = to ? to + 1 : end;
        if (!to) to = end;
        while (from < to && (*from == ' ' || *from == '\t')) from++;
        while (to > from && (to[-1] == ' ' || to[-1] == '\t')) to--;
        if (from == to) continue;
        *token = from;
        *len = (size_t)(to - from);
        return true;
    }
    return false;
}

static bool remember_named(struct h1_fields *f, uint64_t hash) {
    if (!f->named) f->named = malloc(NAMED_MAX * sizeof *f->named);
    if (!f->named || f->n_named == NAMED_MAX) return false;
    f->named[f->n_named++] = hash;
    return true;
}

static bool read_connection(struct h1_fields *f, const uint8_t *p, size_t len) {
    const uint8_t *end = p + len, *token;
    size_t n;
    while (next_token(&p, end, &token, &n)) {
        if (IS(token, n, "close")) f->head.conn_close = true;
        if (IS(token, n, "keep-alive")) f->head.conn_keep_alive = true;
        if (IS(token, n, "upgrade")) f->head.conn_upgrade = true;
        enum h1_name known = h1_name_of(token, n);
        if (known != H1_N_OTHER)
            f->named_known |= 1u << known;
        else if (!remember_named(f, name_hash(token, n)))
            return false;
    }
    return true;
}

static void read_te(struct h1_fields *f, const uint8_t *p, size_t len) {
    const uint8_t *end = p + len, *token;
    size_t n;
    while (next_token(&p, end, &token, &n))
        if (IS(token, n, "trailers")) f->head.te_trailers = true;
}

/* Digits and nothing else: no sign, no list, no blank inside. */
static bool parse_length(const uint8_t *p, size_t len, uint64_t *out) {
    uint64_t v = 0;
    if (len == 0) return false;
    for (size_t i = 0; i < len; i++) {
        if (p[i] < '0' || p[i] > '9') return false;
        unsigned digit = (unsigned)(p[i] - '0');
        if (v > (LENGTH_MAX - digit) / 10) return false;
        v = v * 10 + digit;
    }
    *out = v;
    return true;
}

/* Requests are refused at the field that is wrong. Of a response it depends on
 * the rest of the head whether its length matters (R41), so that is only noted. */
static bool read_length(struct h1_fields *f, struct h1_span where, const uint8_t *p) {
    uint64_t v = UNKNOWN_BYTES, text = name_hash(p, where.len);
    bool ok = parse_length(p, where.len, &v);
    if (f->n_length++ == 0) {
        f->head.content_length = v;
        f->length_at = where.off;
        f->length_text = text;
        f->length_bad = !ok;
        f->length_empty = where.len == 0;
        return ok;
    }
    /* Equal duplicates are merged (R42), equal as text: 5 and 05 are not. */
    if (!f->length_differs && text != f->length_text) {
        f->length_differs = true;
        f->length_differs_at = where.off;
    }
    return ok && !f->length_differs;
}

size_t h1_host_len(const uint8_t *p, size_t len) {
    static const bool host[256] = {
        ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true, ['-'] = true, ['.'] = true,
        ['_'] = true,         ['~'] = true,         ['%'] = true,         ['!'] = true, ['$'] = true,
        ['&'] = true,         ['\''] = true,        ['('] = true,         [')'] = true, ['*'] = true,
        ['+'] = true,         [','] = true,         [';'] = true,         ['='] = true,
    };
    size_t i = 0;
    while (i < len && host[p[i]]) i++;
    return i;
}

/* uri-host [ ":" port ], RFC 9110 section 7.2; empty is allowed. */
static bool is_host(const uint8_t *p, size_t len) {
    size_t i = 0;
    if (len && p[0] == '[') {
        for (i = 1; i < len && (p[i] == ':' || h1_host_len(p + i, 1)); i++) {}
        if (i < 3 || i == len || p[i] != ']') return false;
        i++;
    } else {
        i = h1_host_len(p, len);
    }
    if (i == len) return true;
    if (p[i++] != ':') return false;
    for (; i < len; i++)
        if (p[i] < '0' || p[i] > '9') return false;
    return true;
}

bool h1_fields_value(struct h1_fields *f, enum h1_side side, struct h1_span where, const uint8_t *value,
                     struct h1_fault *fault) {
    struct h1_field *field = &f->field[f->head.n_fields - 1];
    bool request = side == H1_REQUEST;
    field->value = where;
    switch ((enum h1_name)field->known) {
    case H1_N_HOST:
        if (!request) break;
        if (f->n_host++ || !is_host(value, where.len)) return h1_refuse(fault, H1_E_HOST, where.off);
        f->head.has_host = true;
        f->head.host = where;
        break;
    case H1_N_CONNECTION:
        if (!read_connection(f, value, where.len)) return h1_refuse(fault, H1_E_HEAD_TOO_LARGE, where.off);
        break;
    case H1_N_CONTENT_LENGTH:
        if (!read_length(f, where, value) && request) return h1_refuse(fault, H1_E_CONTENT_LENGTH, where.off);
        if (request && f->n_coding) return h1_refuse(fault, H1_E_LENGTH_AND_CHUNKED, where.off);
        break;
    case H1_N_TRANSFER_ENCODING:
        if (!f->n_coding++) f->coding_at = where.off;
        if (f->n_coding > 1 || !IS(value, where.len, "chunked")) {
            if (!f->coding_bad) f->coding_at = where.off;
            f->coding_bad = true;
        }
        if (request && f->n_length) return h1_refuse(fault, H1_E_LENGTH_AND_CHUNKED, where.off);
        if (request && (f->coding_bad || f->head.minor == 0))
            return h1_refuse(fault, H1_E_TRANSFER_ENCODING, where.off);
        break;
    case H1_N_UPGRADE:
        f->head.has_upgrade = true;
        if (IS(value, where.len, "websocket")) f->head.is_websocket = true;
        break;
    case H1_N_EXPECT:
        if (f->head.minor > 0 && IS(value, where.len, "100-continue")) f->head.expect_continue = true;
        break;
    case H1_N_TE:
        read_te(f, value, where.len);
        break;
    case H1_N_IDEMPOTENCY_KEY:
        f->head.has_idempotency_key = true;
        break;
    default:
        break;
    }
    return true;
}

/* Fields that Connection names are for this hop only (RFC 9110 section 7.6.1). */
static void mark_named(struct h1_fields *f) {
    for (size_t i = 0; i < f->head.n_fields; i++) {
        struct h1_field *field = &f->field[i];
        if (field->known != H1_N_OTHER) {
            field->named_in_connection = f->named_known >> field->known & 1;
            continue;
        }
        for (uint32_t j = 0; j < f->n_named; j++)
            if (f->named[j] == f->hash[i]) field->named_in_connection = 1;
    }
}

static bool never_has_body(unsigned status) {
    return status < 200 || status == 204 || status == 304;
}

/* R42, in Go's order: the codings first, which may take the length out of the
 * head; then lengths that differ; then, where a body may come, one that is no number. An
 * empty length counts as none. */
static bool end_response(struct h1_fields *f, struct h1_fault *fault) {
    if (f->n_coding && f->head.minor > 0) {
        if (f->coding_bad) return h1_refuse(fault, H1_E_TRANSFER_ENCODING, f->coding_at);
        f->head.chunked = true;
        f->head.content_length = UNKNOWN_BYTES;
        return true;
    }
    if (f->length_differs) return h1_refuse(fault, H1_E_CONTENT_LENGTH, f->length_differs_at);
    if (f->length_bad && !f->length_empty && !never_has_body(f->head.status))
        return h1_refuse(fault, H1_E_CONTENT_LENGTH, f->length_at);
    return true;
}

bool h1_fields_end(struct h1_fields *f, enum h1_side side, struct h1_fault *fault) {
    if (f->n_named || f->named_known) mark_named(f);
    if (side == H1_RESPONSE) return end_response(f, fault);
    f->head.chunked = f->n_coding > 0;
    if (!f->head.has_host && f->head.minor > 0) return h1_refuse(fault, H1_E_HOST, f->head.bytes);
    return true;
}

enum body_framing h1_request_framing(const struct h1_head *head, uint64_t *length) {
    *length = 0;
    if (head->chunked) return FRAMING_CHUNKED;
    if (head->content_length == UNKNOWN_BYTES) return FRAMING_NONE;
    *length = head->content_length;
    return FRAMING_LENGTH;
}

enum body_framing h1_response_framing(const struct h1_head *head, bool head_only, uint64_t *length) {
    *length = 0;
    if (head_only || never_has_body(head->status)) return FRAMING_NONE;
    if (head->chunked) return FRAMING_CHUNKED;
    if (head->content_length == UNKNOWN_BYTES) return FRAMING_UNTIL_EOF;
    *length = head->content_length;
    return FRAMING_LENGTH;
}

bool h1_response_closes(const struct h1_head *head, enum body_framing framing) {
    if (framing == FRAMING_UNTIL_EOF || head->conn_close) return true;
    return head->minor == 0 && !head->conn_keep_alive;
}

const char *h1_error_text(enum h1_error e) {
    switch (e) {
    case H1_E_NONE:
        return "no error";
    case H1_E_START_LINE:
        return "malformed start line";
    case H1_E_VERSION:
        return "HTTP version that is neither 1.0 nor 1.1";
    case H1_E_FIELD_NAME:
        return "invalid character in a field name, or a blank before its colon";
    case H1_E_FIELD_VALUE:
        return "control character in a field value";
    case H1_E_OBS_FOLD:
        return "folded field line";
    case H1_E_LINE_END:
        return "bare CR or LF where CRLF belongs";
    case H1_E_HOST:
        return "Host missing, given twice, or not a host";
    case H1_E_CONTENT_LENGTH:
        return "Content-Length that is no number, or given twice with different values";
    case H1_E_LENGTH_AND_CHUNKED:
        return "both Content-Length and Transfer-Encoding";
    case H1_E_TRANSFER_ENCODING:
        return "Transfer-Encoding other than chunked alone";
    case H1_E_CHUNK:
        return "malformed chunk";
    case H1_E_TRAILER:
        return "malformed or too large trailer, or a field in it that belongs in the head";
    case H1_E_HEAD_TOO_LARGE:
        return "head larger than the limit";
    case H1_E_TRUNCATED:
        return "the stream ended inside a message";
    case N_H1_ERRORS:
        break;
    }
    return "?";
}

/* Lines and counters.
 *
 * This file finds where lines, heads, chunks and messages end; llhttp reads the
 * field lines, in heads and in trailers; h1_lines.c reads start lines and those of
 * chunks; h1_fields.c knows what fields mean.
 * Field lines of a head that came whole and are plain are read by h1_lines.c too, since
 * nearly all are like that and llhttp costs several times as much. The first that is
 * not is llhttp's, with all that follow it; the same bytes in small pieces are all
 * llhttp's, which is how the fuzzer holds the two against each other.
 * llhttp never sees a start line (it knows 46 methods and would refuse the others,
 * which RFC 9110 section 16.1 allows and a proxy passes on), never a blank line and
 * never a body byte. So it decides nothing about framing, nothing can make it pause or
 * swallow what follows a CONNECT or an Upgrade, and a body of any size costs it nothing.
 *
 * What llhttp is fed was looked through for line ends first, since it has been
 * lenient with them before (CVE-2022-32214, CVE-2022-35256, CVE-2023-30589): a field
 * line ends with CRLF, and the one after it does not begin with a blank. */
#include "h1.h"

#include "h1_fields.h"
#include "h1_lines.h"

#include <assert.h>
#include <llhttp.h>
#include <stdlib.h>
#include <string.h>

/* Go reads chunk-size lines of up to 4096 bytes. */
#define CHUNK_LINE_MAX 4096u

/* What chunk extensions may cost: bytes that no chunk's data makes up for. One
 * peer alone could otherwise keep us busy with lines that carry nothing (CVE-2024-22019). */
#define CHUNK_OVERHEAD_MAX (16u << 10)

/* A struct h1 that waits for its next connection keeps no more than this of carry. */
#define CARRY_KEEP 4096u

enum h1_state {
    ST_BETWEEN,    /* no byte of the next message came, save perhaps one empty line before a request */
    ST_EMPTY_LINE, /* the CR of that empty line came */
    ST_START_LINE, /* in the request line or status line */
    ST_FIELDS,     /* in the field lines, or the blank line that ends them */
    ST_HEAD_DONE,  /* H1_HEAD was said; waits for h1_begin_body */
    ST_LENGTH,     /* `left` body bytes to come; at 0 the end is still to be told */
    ST_UNTIL_EOF,  /* every byte is body */
    ST_CHUNK_LINE, /* in a chunk-size line */
    ST_CHUNK_DATA, /* `left` bytes of this chunk to come */
    ST_CHUNK_END,  /* the CRLF behind a chunk's data: `left` bytes of it */
    ST_TRAILERS,   /* behind the last chunk's line: field lines, and the blank line that ends them */
    ST_FAILED,     /* H1_ERROR was said */
};

/* Where llhttp is in a field line. */
enum line_part { IN_NAME, IN_VALUE };

struct h1 {
    enum h1_side side;
    enum h1_state state;
    struct h1_limits limits;
    uint64_t pos;  /* bytes of this message consumed */
    uint64_t left; /* see enum h1_state */
    struct h1_fault fault;
    const uint8_t *data; /* body bytes of the last feed */
    size_t data_len;

    /* The line under way, of whatever kind. */
    uint32_t line_len; /* its bytes so far, over all feeds */
    bool last_cr;      /* the last of them is a CR */
    bool held_cr;      /* it is the line's only byte: perhaps a blank line, and kept from llhttp */
    bool empty_line_seen;
    bool method_seen; /* the start line's first word is a token and ended */

    /* The name or value under way in a block of field lines: a head's, or a trailer's. */
    llhttp_t llhttp;
    bool by_llhttp;      /* it reads this block from here on */
    uint64_t block_from; /* pos where the block's offsets begin: 0 in a head */
    const uint8_t *fed;  /* what llhttp is being shown, */
    uint64_t fed_at;     /* and its offset */
    uint8_t part;        /* enum line_part */
    bool has_begun;      /* bytes of it came */
    struct h1_span span;
    uint32_t trimmed;       /* its length without blanks at its end */
    uint32_t behind_colon;  /* where a value is that turns out to be empty */
    const uint8_t *span_at; /* its bytes: in the data, or in carry */
    uint8_t *carry;         /* bytes that came in pieces; also of start lines and chunk lines */
    size_t carry_len, carry_room;

    uint32_t overhead; /* of chunk lines, less what data made up for */
    struct h1_fields fields;
};

static bool fail(struct h1 *h, enum h1_error error, uint64_t at) {
    h->fault = (struct h1_fault){error, at};
    h->state = ST_FAILED;
    return false;
}

/* --- bytes that came in pieces --- */

static bool carry(struct h1 *h, const uint8_t *p, size_t len) {
    if (h->carry_len + len > h->carry_room) {
        size_t room = h->carry_room ? h->carry_room : 128;
        while (room < h->carry_len + len) room *= 2;
        uint8_t *bytes = realloc(h->carry, room);
        if (!bytes) return fail(h, H1_E_HEAD_TOO_LARGE, h->pos);
        h->carry = bytes;
        h->carry_room = room;
    }
    memcpy(h->carry + h->carry_len, p, len);
    h->carry_len += len;
    return true;
}

/* --- field lines: llhttp's callbacks --- */

/* A piece of a name or value: what lies whole in the data is left there, and what
 * does not is in carry from its first piece on (show_llhttp saw to it). */
static int on_piece(struct h1 *h, const char *at, size_t len, bool keep) {
    const uint8_t *p = (const uint8_t *)at;
    if (len == 0) return 0;
    uint64_t off = h->fed_at + (uint64_t)(p - h->fed);
    if (!h->has_begun) {
        h->has_begun = true;
        h->span = (struct h1_span){(uint32_t)off, 0};
        h->span_at = p;
        h->carry_len = 0;
        h->trimmed = 0;
    } else if (off != h->span.off + h->span.len) {
        /* Only a fold could do that, and take_block lets none come here. */
        return fail(h, H1_E_OBS_FOLD, h->block_from + off), -1;
    } else if (keep) {
        if (!carry(h, p, len)) return -1;
        h->span_at = h->carry;
    }
    size_t n = len;
    while (n > 0 && (p[n - 1] == ' ' || p[n - 1] == '\t')) n--;
    if (n > 0) h->trimmed = h->span.len + (uint32_t)n;
    h->span.len += (uint32_t)len;
    return 0;
}

static bool in_trailers(const struct h1 *h) {
    return h->state == ST_TRAILERS;
}

static const struct h1_field *newest(const struct h1 *h) {
    return &h->fields.field[h->fields.head.n_fields - 1];
}

static bool reads_value(const struct h1 *h) {
    return !in_trailers(h) && h1_fields_reads((enum h1_name)newest(h)->known);
}

static struct h1 *h_of(const llhttp_t *l) {
    return l->data;
}

static int on_name(llhttp_t *l, const char *at, size_t len) {
    return on_piece(h_of(l), at, len, true);
}

static int on_name_end(llhttp_t *l) {
    struct h1 *h = h_of(l);
    /* llhttp may have recognised the name and would read the value its own way. */
    l->header_state = 0;
    h->part = IN_VALUE;
    h->has_begun = false;
    h->behind_colon = h->span.off + h->span.len + 1;
    if (in_trailers(h)) {
        bool barred = h->side == H1_REQUEST && h1_barred_from_trailer(h1_name_of(h->span_at, h->span.len));
        return barred ? fail(h, H1_E_TRAILER, h->block_from + h->span.off), -1 : 0;
    }
    if (h1_fields_name(&h->fields, h->span, h->span_at)) return 0;
    return fail(h, H1_E_HEAD_TOO_LARGE, h->span.off), -1;
}

static int on_value(llhttp_t *l, const char *at, size_t len) {
    return on_piece(h_of(l), at, len, reads_value(h_of(l)));
}

static int on_value_end(llhttp_t *l) {
    struct h1 *h = h_of(l);
    struct h1_span value = {h->behind_colon, 0};
    if (h->has_begun) value = (struct h1_span){h->span.off, h->trimmed};
    const uint8_t *bytes = h->has_begun ? h->span_at : (const uint8_t *)"";
    h->part = IN_NAME;
    h->has_begun = false;
    if (in_trailers(h)) return 0;
    struct h1_fault fault;
    if (h1_fields_value(&h->fields, h->side, value, bytes, &fault)) return 0;
    return fail(h, fault.error, fault.at), -1;
}

static const llhttp_settings_t line_settings = {
    .on_header_field = on_name,
    .on_header_field_complete = on_name_end,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_end,
};

/* llhttp as it is behind a start line, ready for a field line; each block begins with a copy. */
static llhttp_t behind_start_line;

__attribute__((constructor)) static void pass_start_line(void) {
    static const char start_line[] = "GET / HTTP/1.1\r\n";
    llhttp_init(&behind_start_line, HTTP_REQUEST, &line_settings);
    if (llhttp_execute(&behind_start_line, start_line, sizeof start_line - 1) != HPE_OK) abort();
}

static void block_begin(struct h1 *h) {
    h->block_from = h->state == ST_TRAILERS ? h->pos : 0;
    h->by_llhttp = false;
    h->part = IN_NAME;
    h->has_begun = h->held_cr = false;
}

/* Shows llhttp bytes of field lines that lie at offset `at` of the block. */
static bool show_llhttp(struct h1 *h, const uint8_t *p, size_t len, uint64_t at) {
    if (len == 0) return true;
    if (!h->by_llhttp) {
        h->by_llhttp = true;
        h->llhttp = behind_start_line;
        h->llhttp.data = h;
    }
    h->fed = p;
    h->fed_at = at;
    llhttp_errno_t err = llhttp_execute(&h->llhttp, (const char *)p, len);
    if (h->state == ST_FAILED) return false;
    if (err != HPE_OK) {
        const uint8_t *bad = (const uint8_t *)llhttp_get_error_pos(&h->llhttp);
        uint64_t off = bad >= p && bad <= p + len ? (uint64_t)(bad - p) : 0;
        return fail(h, h->part == IN_NAME ? H1_E_FIELD_NAME : H1_E_FIELD_VALUE, h->block_from + at + off);
    }
    bool keep = h->part == IN_NAME || reads_value(h);
    if (!h->has_begun || !keep || h->carry_len) return true;
    if (!carry(h, h->span_at, h->span.len)) return false;
    h->span_at = h->carry;
    return true;
}

/* --- field lines: where they end --- */

enum block_end {
    BLOCK_OPEN, /* all bytes taken, the block goes on */
    BLOCK_DONE, /* its blank line was taken */
    BLOCK_BAD,
};

/* The bytes of one feed that may belong to a block. */
struct block_data {
    const uint8_t *begin, *end;
    const uint8_t *p;     /* taken up to here, */
    const uint8_t *shown; /* and shown to llhttp up to here */
    uint64_t pos;         /* of begin in the message */
};

static uint64_t pos_of(const struct block_data *d, const uint8_t *p) {
    return d->pos + (uint64_t)(p - d->begin);
}

/* Shows llhttp what it has not seen, up to `to`. */
static bool show_block(struct h1 *h, struct block_data *d, const uint8_t *to) {
    return show_llhttp(h, d->shown, (size_t)(to - d->shown), pos_of(d, d->shown) - h->block_from);
}

/* Is this first byte of a line anything but a name's? */
static bool begins_oddly(uint8_t c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == ':';
}

/* Takes that byte: the blank line, or its CR at least, or nothing good. */
static bool take_odd(struct h1 *h, struct block_data *d, bool lone_lf, bool *done) {
    uint8_t c = *d->p;
    if (!show_block(h, d, d->p)) return false;
    if (c == ' ' || c == '\t') return fail(h, H1_E_OBS_FOLD, pos_of(d, d->p));
    if (c == ':') return fail(h, H1_E_FIELD_NAME, pos_of(d, d->p));
    if (c == '\n' && !lone_lf) return fail(h, H1_E_LINE_END, pos_of(d, d->p));
    *done = c == '\n';
    h->held_cr = c == '\r';
    h->line_len = 1;
    d->shown = ++d->p;
    return true;
}

/* Behind a CR at the beginning of a line comes LF or nothing good. */
static bool take_blank_line_end(struct h1 *h, struct block_data *d) {
    if (*d->p != '\n') return fail(h, H1_E_LINE_END, pos_of(d, d->p) - 1);
    d->shown = ++d->p;
    return true;
}

/* Takes a plain field line of a head without llhttp. What comes next must be here too,
 * a name or the blank line: else the value might turn out to be folded. False: not taken. */
static bool take_plain_line(struct h1 *h, struct block_data *d, bool *ok) {
    struct h1_span name, value;
    struct h1_fault fault;
    size_t left = (size_t)(d->end - d->p);
    if (h->by_llhttp || h->line_len || d->shown != d->p || in_trailers(h)) return false;
    size_t n = h1_read_plain_field(d->p, left, &name, &value);
    if (n == 0 || left - n < 2) return false;
    const uint8_t *line = d->p, *next = line + n;
    if (next[0] == '\r' ? next[1] != '\n' : begins_oddly(next[0])) return false;
    uint32_t at = (uint32_t)pos_of(d, line);
    d->shown = d->p = next;
    name.off += at;
    if (!h1_fields_name(&h->fields, name, line))
        *ok = fail(h, H1_E_HEAD_TOO_LARGE, at);
    else if (!h1_fields_value(&h->fields, h->side, (struct h1_span){value.off + at, value.len}, line + value.off,
                              &fault))
        *ok = fail(h, fault.error, fault.at);
    return true;
}

/* Takes a line, or what there is of it; llhttp is shown it later, with its neighbours. */
static bool take_field_line(struct h1 *h, struct block_data *d, bool lone_lf) {
    const uint8_t *lf = memchr(d->p, '\n', (size_t)(d->end - d->p));
    if (!lf) {
        h->line_len += (uint32_t)(d->end - d->p);
        h->last_cr = d->end[-1] == '\r';
        d->p = d->end;
        return true;
    }
    if (lf > d->p ? lf[-1] != '\r' : !h->last_cr) {
        if (!show_block(h, d, lf)) return false;
        if (!lone_lf) return fail(h, H1_E_LINE_END, pos_of(d, lf));
        if (!show_llhttp(h, (const uint8_t *)"\r\n", 2, pos_of(d, lf) - h->block_from)) return false;
        d->shown = lf + 1;
    }
    d->p = lf + 1;
    h->line_len = 0;
    return true;
}

/* Takes field lines until the blank line, *at moves behind what was taken. A
 * line may end with a lone LF where `lone_lf` says so; llhttp is then shown CRLF. */
static enum block_end take_block(struct h1 *h, const uint8_t *data, size_t len, size_t *at, bool lone_lf) {
    const uint8_t *begin = data + *at;
    struct block_data d = {.begin = begin, .end = data + len, .p = begin, .shown = begin, .pos = h->pos};
    bool done = false, ok = true;
    while (ok && !done && d.p < d.end) {
        if (h->held_cr)
            done = ok = take_blank_line_end(h, &d);
        else if (h->line_len == 0 && begins_oddly(*d.p))
            ok = take_odd(h, &d, lone_lf, &done);
        else if (!take_plain_line(h, &d, &ok))
            ok = take_field_line(h, &d, lone_lf);
    }
    if (!ok || !show_block(h, &d, d.p)) return BLOCK_BAD;
    h->pos = pos_of(&d, d.p);
    *at = (size_t)(d.p - data);
    if (!done) return BLOCK_OPEN;
    h->line_len = 0;
    /* llhttp waits for the next line before it ends a value: it might be folded. */
    if (h->part == IN_VALUE && on_value_end(&h->llhttp) != 0) return BLOCK_BAD;
    return BLOCK_DONE;
}

/* --- single lines: the start line, and those of chunks --- */

/* Takes bytes up to the end of a line. True when it is whole: *line and *n are
 * the line without its end, *lone_lf says that no CR came before its LF. */
static bool take_line(struct h1 *h, const uint8_t *data, size_t len, size_t *at, const uint8_t **line, size_t *n,
                      bool *lone_lf) {
    const uint8_t *p = data + *at, *lf = memchr(p, '\n', len - *at);
    size_t took = lf ? (size_t)(lf + 1 - p) : len - *at;
    if (h->line_len || !lf) {
        if (h->line_len == 0) h->carry_len = 0;
        if (!carry(h, p, took)) return false;
        p = h->carry;
    }
    h->line_len += (uint32_t)took;
    h->pos += took;
    *at += took;
    if (!lf) return false;
    *line = p;
    *n = h->line_len - 1;
    *lone_lf = !(*n && p[*n - 1] == '\r');
    if (!*lone_lf) --*n;
    h->line_len = 0;
    return true;
}

/* What cannot become a start line is refused before its line end comes: a TLS
 * handshake on a plain port may never send one. The first `seen` of the n bytes
 * passed already. */
static bool start_line_may_be(struct h1 *h, const uint8_t *p, size_t n, size_t seen) {
    static const char version[] = "HTTP/";
    const size_t len = sizeof version - 1;
    size_t i = seen;
    if (h->side == H1_RESPONSE) {
        while (i < n && i < len && p[i] == (uint8_t)version[i]) i++;
        return i == n || i >= len || fail(h, H1_E_START_LINE, i);
    }
    if (h->method_seen) return true;
    i += h1_token_len(p + i, n - i);
    h->method_seen = i < n && i > 0 && p[i] == ' ';
    return i == n || h->method_seen || fail(h, H1_E_START_LINE, i);
}

static bool take_start_line(struct h1 *h, const uint8_t *data, size_t len, size_t *at) {
    const uint8_t *line;
    size_t n, seen = h->line_len;
    bool lone_lf;
    if (!take_line(h, data, len, at, &line, &n, &lone_lf)) {
        if (h->state != ST_FAILED) start_line_may_be(h, h->carry, h->line_len, seen);
        return false;
    }
    if (lone_lf && h->side == H1_REQUEST)
        return start_line_may_be(h, line, n, seen < n ? seen : n) && fail(h, H1_E_LINE_END, h->pos - 1);
    bool (*read)(const uint8_t *, size_t, struct h1_head *, struct h1_fault *) =
        h->side == H1_REQUEST ? h1_read_request_line : h1_read_status_line;
    return read(line, n, &h->fields.head, &h->fault) || fail(h, h->fault.error, h->fault.at);
}

static bool take_chunk_line(struct h1 *h, const uint8_t *data, size_t len, size_t *at) {
    const uint8_t *line;
    size_t n, room = CHUNK_LINE_MAX - h->line_len;
    uint64_t line_pos = h->pos - h->line_len;
    bool lone_lf, more = len - *at > room;
    if (!take_line(h, data, more ? *at + room : len, at, &line, &n, &lone_lf)) {
        if (h->state != ST_FAILED && more) fail(h, H1_E_CHUNK, h->pos);
        return false;
    }
    size_t extension;
    if (!h1_read_chunk_line(h->side, line, n, &h->left, &extension, &h->fault))
        return fail(h, h->fault.error, line_pos + h->fault.at);
    /* Go lets a response's pass. But chunks are relayed as they came, and then it is the
     * client who may read this line otherwise. */
    if (lone_lf) return fail(h, H1_E_LINE_END, h->pos - 1);
    h->overhead += (uint32_t)extension;
    if (h->overhead > CHUNK_OVERHEAD_MAX) return fail(h, H1_E_CHUNK, line_pos + n - extension);
    h->overhead -= h->left < h->overhead ? (uint32_t)h->left : h->overhead;
    if (h->left) {
        h->state = ST_CHUNK_DATA;
        return true;
    }
    h->state = ST_TRAILERS;
    block_begin(h);
    return true;
}

/* The CRLF behind a chunk's data. */
static bool take_chunk_end(struct h1 *h, const uint8_t *data, size_t len, size_t *at) {
    for (; h->left && *at < len; --h->left, ++*at, h->pos++)
        if (data[*at] != (h->left == 2 ? '\r' : '\n')) return fail(h, H1_E_CHUNK, h->pos);
    if (h->left) return false;
    h->state = ST_CHUNK_LINE;
    return true;
}

/* --- whole messages --- */

static void message_begin(struct h1 *h) {
    h->state = ST_START_LINE;
    h->pos = 0;
    h->overhead = 0;
    h->method_seen = false;
    h->empty_line_seen = false;
    h1_fields_begin(&h->fields);
}

/* RFC 9112 section 2.2: one empty line before a request is passed over. */
static bool take_empty_line(struct h1 *h, const uint8_t *data, size_t len, size_t *at) {
    if (*at == len) return false;
    if (h->state == ST_EMPTY_LINE) {
        if (data[*at] != '\n') return fail(h, H1_E_LINE_END, 0);
        ++*at;
        h->empty_line_seen = true;
        h->state = ST_BETWEEN;
    } else if (data[*at] == '\r' && h->side == H1_REQUEST && !h->empty_line_seen) {
        ++*at;
        h->state = ST_EMPTY_LINE;
    } else {
        message_begin(h);
    }
    return true;
}

/* The part of the data that max_head_bytes or max_trailer_bytes still allows. */
static size_t allowed(const struct h1 *h, size_t at, size_t len) {
    uint64_t max = in_trailers(h) ? h->block_from + h->limits.max_trailer_bytes : h->limits.max_head_bytes;
    uint64_t room = max > h->pos ? max - h->pos : 0;
    return room < len - at ? at + (size_t)room : len;
}

/* One more part of a head. True: its end, or the next part's turn; false: no bytes are left, or it failed. */
static bool head_step(struct h1 *h, const uint8_t *data, size_t len, size_t *at) {
    size_t to = allowed(h, *at, len);
    if (h->state == ST_START_LINE) {
        if (take_start_line(h, data, to, at)) {
            h->state = ST_FIELDS;
            block_begin(h);
            return true;
        }
    } else {
        enum block_end end = take_block(h, data, to, at, h->side == H1_RESPONSE);
        if (end == BLOCK_DONE) {
            h->fields.head.bytes = (uint32_t)h->pos;
            if (!h1_fields_end(&h->fields, h->side, &h->fault)) return fail(h, h->fault.error, h->fault.at);
            h->state = ST_HEAD_DONE;
            return true;
        }
    }
    if (h->state != ST_FAILED && to < len) fail(h, H1_E_HEAD_TOO_LARGE, h->pos);
    return false;
}

/* The same for a trailer: true at its end. */
static bool trailer_step(struct h1 *h, const uint8_t *data, size_t len, size_t *at) {
    size_t to = allowed(h, *at, len);
    enum block_end end = take_block(h, data, to, at, false);
    if (end == BLOCK_DONE) return true;
    if (end == BLOCK_BAD)
        h->fault.error = h->fault.error == H1_E_LINE_END ? H1_E_LINE_END : H1_E_TRAILER;
    else if (h->pos - h->block_from >= h->limits.max_trailer_bytes)
        fail(h, H1_E_TRAILER, h->pos); /* full and not at its end: Go waits for no byte more (R60, T56) */
    return false;
}

static enum h1_step take_data(struct h1 *h, const uint8_t *data, size_t len, size_t *at) {
    uint64_t n = len - *at;
    if (h->state != ST_UNTIL_EOF) {
        if (n > h->left) n = h->left;
        h->left -= n;
    }
    h->data = data + *at;
    h->data_len = (size_t)n;
    h->pos += n;
    *at += (size_t)n;
    if (h->state == ST_CHUNK_DATA && h->left == 0) {
        h->state = ST_CHUNK_END;
        h->left = 2;
    }
    return H1_DATA;
}

enum h1_step h1_feed(struct h1 *h, const uint8_t *data, size_t len, size_t *used) {
    size_t at = 0;
    enum h1_step step = H1_MORE;
    bool on = true;
    h->data_len = 0;
    while (on) {
        switch (h->state) {
        case ST_BETWEEN:
        case ST_EMPTY_LINE:
            on = take_empty_line(h, data, len, &at);
            break;
        case ST_START_LINE:
        case ST_FIELDS:
            on = at < len && head_step(h, data, len, &at);
            break;
        case ST_HEAD_DONE:
            assert(at > 0 && "h1_begin_body comes first");
            step = H1_HEAD;
            on = false;
            break;
        case ST_LENGTH:
            if (h->left == 0) {
                h->state = ST_BETWEEN;
                step = H1_DONE;
            } else if (at < len) {
                step = take_data(h, data, len, &at);
            }
            on = false;
            break;
        case ST_UNTIL_EOF:
        case ST_CHUNK_DATA:
            if (at < len) step = take_data(h, data, len, &at);
            on = false;
            break;
        case ST_CHUNK_LINE:
            on = at < len && take_chunk_line(h, data, len, &at);
            break;
        case ST_CHUNK_END:
            on = at < len && take_chunk_end(h, data, len, &at);
            break;
        case ST_TRAILERS:
            on = false;
            if (at == len || !trailer_step(h, data, len, &at)) break;
            h->state = ST_BETWEEN;
            step = H1_DONE;
            break;
        case ST_FAILED:
            on = false;
            break;
        }
    }
    *used = at;
    return h->state == ST_FAILED ? H1_ERROR : step;
}

struct h1 *h1_new(enum h1_side side, const struct h1_limits *limits) {
    struct h1 *h = calloc(1, sizeof *h);
    if (!h) abort();
    h->side = side;
    h->limits = *limits;
    h1_fields_init(&h->fields, limits->max_fields);
    return h;
}

void h1_reset(struct h1 *h) {
    h->state = ST_BETWEEN;
    h->pos = h->left = 0;
    h->line_len = 0;
    h->empty_line_seen = false;
    h->data_len = 0;
    h->fault = (struct h1_fault){H1_E_NONE, 0};
    h1_fields_trim(&h->fields);
    if (h->carry_room > CARRY_KEEP) {
        free(h->carry);
        h->carry = NULL;
        h->carry_room = 0;
    }
}

void h1_set_limits(struct h1 *h, const struct h1_limits *limits) {
    h->limits.max_head_bytes = limits->max_head_bytes;
    h->limits.max_trailer_bytes = limits->max_trailer_bytes;
}

void h1_free(struct h1 **hp) {
    struct h1 *h = *hp;
    if (!h) return;
    h1_fields_clear(&h->fields);
    free(h->carry);
    free(h);
    *hp = NULL;
}

const struct h1_head *h1_head(const struct h1 *h) {
    return &h->fields.head;
}

void h1_data(const struct h1 *h, const uint8_t **data, size_t *len) {
    *data = h->data;
    *len = h->data_len;
}

void h1_begin_body(struct h1 *h, enum body_framing framing, uint64_t length) {
    assert(h->state == ST_HEAD_DONE);
    h->left = length;
    switch (framing) {
    case FRAMING_NONE:
        h->state = ST_BETWEEN;
        break;
    case FRAMING_LENGTH:
        h->state = length ? ST_LENGTH : ST_BETWEEN;
        break;
    case FRAMING_UNTIL_EOF:
        h->state = ST_UNTIL_EOF;
        break;
    case FRAMING_CHUNKED:
        h->state = ST_CHUNK_LINE;
        break;
    }
}

bool h1_skip(struct h1 *h, uint64_t n) {
    assert(n <= h1_remaining(h));
    h->pos += n;
    if (h->state == ST_UNTIL_EOF) return false;
    h->left -= n;
    if (h->left) return false;
    if (h->state == ST_LENGTH) h->state = ST_BETWEEN;
    if (h->state == ST_CHUNK_DATA) {
        h->state = ST_CHUNK_END;
        h->left = 2;
    }
    return h->state == ST_BETWEEN;
}

uint64_t h1_remaining(const struct h1 *h) {
    if (h->state == ST_UNTIL_EOF) return UNKNOWN_BYTES;
    return h->state == ST_LENGTH || h->state == ST_CHUNK_DATA ? h->left : 0;
}

bool h1_between(const struct h1 *h) {
    return h->state == ST_BETWEEN || h->state == ST_EMPTY_LINE;
}

bool h1_after_data(const struct h1 *h) {
    return h->state == ST_TRAILERS;
}

size_t h1_partial_line(const struct h1 *h) {
    switch (h->state) {
    case ST_START_LINE:
    case ST_FIELDS:
    case ST_CHUNK_LINE:
        return h->line_len;
    case ST_TRAILERS:
        return (size_t)(h->pos - h->block_from); /* Go looks for its end without consuming it (R60) */
    default:
        return 0;
    }
}

enum h1_step h1_eof(struct h1 *h) {
    bool well = h1_between(h) || h->state == ST_UNTIL_EOF || (h->state == ST_LENGTH && h->left == 0);
    if (h->state == ST_FAILED) return H1_ERROR;
    if (!well) {
        fail(h, H1_E_TRUNCATED, h->pos);
        return H1_ERROR;
    }
    h->state = ST_BETWEEN;
    return H1_DONE;
}

enum h1_error h1_error(const struct h1 *h, uint64_t *offset) {
    if (offset) *offset = h->fault.at;
    return h->fault.error;
}

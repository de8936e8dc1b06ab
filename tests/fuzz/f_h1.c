/* HTTP/1 framing. The input: one byte of choices, one that seeds the cuts, then the
 * stream. What must hold, beside what h1_trace.h checks of every stream:
 * the reading is the same whole, byte by byte, cut at random and with bodies skipped, and
 * a head that is accepted reads the same to a parser that knows nothing but lines
 * and colons: so nothing can stand in it that others may read otherwise. */
#include "h1_trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { CHOICE_RESPONSE = 1, CHOICE_HEAD_ONLY = 2, CHOICE_LIMITS = 4 };

/* The next line of a head and its end; a lone LF ends one in responses only. */
static const uint8_t *take_line(enum h1_side side, const uint8_t *p, const uint8_t *end, size_t *len) {
    const uint8_t *lf = memchr(p, '\n', (size_t)(end - p));
    H1_TRACE_MUST(lf);
    bool crlf = lf > p && lf[-1] == '\r';
    H1_TRACE_MUST(crlf || side == H1_RESPONSE);
    *len = (size_t)(lf - p) - crlf;
    H1_TRACE_MUST(!memchr(p, '\r', *len) && !memchr(p, 0, *len));
    return lf + 1;
}

static bool blank(uint8_t c) {
    return c == ' ' || c == '\t';
}

static bool is_token(const uint8_t *p, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (p[i] <= ' ' || p[i] >= 0x7f || strchr("\"(),/:;<=>?@[\\]{}", p[i])) return false;
    return true;
}

static bool is_value(const uint8_t *p, size_t len) {
    for (size_t i = 0; i < len; i++)
        if ((p[i] < ' ' && p[i] != '\t') || p[i] == 0x7f) return false;
    return true;
}

static bool named(const uint8_t *name, size_t len, const char *word) {
    if (len != strlen(word)) return false;
    for (size_t i = 0; i < len; i++)
        if ((name[i] | 0x20) != word[i] && name[i] != (uint8_t)word[i]) return false;
    return true;
}

static void check_head(enum h1_side side, const struct h1_head *head, const uint8_t *bytes) {
    const uint8_t *end = bytes + head->bytes, *line;
    size_t len, i = 0, n_host = 0, n_length = 0, n_coding = 0;
    const uint8_t *next = take_line(side, bytes, end, &len);
    for (line = next; next = take_line(side, line, end, &len), len > 0; line = next, i++) {
        H1_TRACE_MUST(i < head->n_fields);
        const struct h1_field *f = &head->fields[i];
        const uint8_t *colon = memchr(line, ':', len);
        H1_TRACE_MUST(colon && colon > line && !blank(colon[-1]) && !blank(*line));
        const uint8_t *value = colon + 1, *value_end = line + len;
        while (value < value_end && blank(*value)) value++;
        while (value_end > value && blank(value_end[-1])) value_end--;
        H1_TRACE_MUST(f->name.off == (size_t)(line - bytes) && f->name.len == (size_t)(colon - line));
        H1_TRACE_MUST(f->value.len == (size_t)(value_end - value));
        H1_TRACE_MUST(f->value.len == 0 || f->value.off == (size_t)(value - bytes));
        H1_TRACE_MUST(is_token(line, f->name.len) && is_value(value, f->value.len));
        bool host = named(line, f->name.len, "host"), length = named(line, f->name.len, "content-length");
        bool coding = named(line, f->name.len, "transfer-encoding");
        n_host += host, n_length += length, n_coding += coding;
        H1_TRACE_MUST(host == (f->known == H1_N_HOST) && length == (f->known == H1_N_CONTENT_LENGTH));
        H1_TRACE_MUST(coding == (f->known == H1_N_TRANSFER_ENCODING));
    }
    H1_TRACE_MUST(next == end && i == head->n_fields);
    H1_TRACE_MUST(head->major == 1 && head->minor <= 1);
    H1_TRACE_MUST(!head->chunked || (n_coding == 1 && head->minor == 1 && head->content_length == UNKNOWN_BYTES));
    if (side == H1_RESPONSE) return;
    H1_TRACE_MUST(n_coding == 0 || (n_length == 0 && head->chunked));
    H1_TRACE_MUST((n_length > 0) == (head->content_length != UNKNOWN_BYTES));
    H1_TRACE_MUST(n_host == 1 || (n_host == 0 && head->minor == 0));
    H1_TRACE_MUST(head->method.len > 0 && head->target.len > 0);
}

static void same(const struct h1_trace *a, struct h1_trace *b) {
    if (a->text_len != b->text_len || memcmp(a->text, b->text, a->text_len) != 0) {
        fprintf(stderr, "--- whole:\n%s--- pieces (%zu, skip %d):\n%s", a->text, b->piece, b->skip, b->text);
        abort();
    }
    free(b->text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
    if (len < 2) return 0;
    const struct h1_trace how = {
        .side = data[0] & CHOICE_RESPONSE ? H1_RESPONSE : H1_REQUEST,
        .head_only = data[0] & CHOICE_HEAD_ONLY,
        .limits = data[0] & CHOICE_LIMITS ? (struct h1_limits){40u + data[1], 4, 20} : (struct h1_limits){0, 0, 0},
    };
    struct h1_trace whole = how, bytewise = how, cut = how, skip = how;
    whole.on_head = check_head;
    bytewise.piece = 1;
    cut.seed = 1u + data[1];
    cut.piece = 1u + data[1] % 61;
    cut.resets = true;
    skip.skip = true;
    skip.piece = 1u + data[1] % 7;
    h1_trace_run(&whole, data + 2, len - 2);
    h1_trace_run(&bytewise, data + 2, len - 2);
    same(&whole, &bytewise);
    h1_trace_run(&cut, data + 2, len - 2);
    same(&whole, &cut);
    h1_trace_run(&skip, data + 2, len - 2);
    same(&whole, &skip);
    free(whole.text);
    return 0;
}

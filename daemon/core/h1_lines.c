#include "h1_lines.h"

#define CHUNK_MAX ((uint64_t)INT64_MAX)

bool h1_refuse(struct h1_fault *fault, enum h1_error error, uint64_t at) {
    *fault = (struct h1_fault){error, at};
    return false;
}

/* High bits where a byte of eight is at least `low`, which is above 0; exact for bytes below 0x80. */
static uint64_t at_least(uint64_t w, uint8_t low) {
    return (w & EIGHT(0x7f)) + EIGHT((uint64_t)0x80 - low);
}

/* High bits where a byte of eight is this one. */
static uint64_t equal(uint64_t w, uint8_t byte) {
    uint64_t x = w ^ EIGHT((uint64_t)byte);
    return ~(((x & EIGHT(0x7f)) + EIGHT(0x7f)) | x);
}

/* Which of the bytes is the first whose high bit is set? */
static size_t first_of(uint64_t high_bits) {
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return (size_t)__builtin_ctzll(high_bits) / 8;
#else
    return (size_t)__builtin_clzll(high_bits) / 8;
#endif
}

size_t h1_token_len(const uint8_t *p, size_t len) {
    static const bool token[256] = {
        ['!'] = true, ['#'] = true, ['$'] = true, ['%'] = true,         ['&'] = true,         ['\''] = true,
        ['*'] = true, ['+'] = true, ['-'] = true, ['.'] = true,         ['^'] = true,         ['_'] = true,
        ['`'] = true, ['|'] = true, ['~'] = true, ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true,
    };
    size_t i = 0;
    for (; len - i >= 8; i += 8) { /* most are letters and hyphens */
        uint64_t w = load8(p + i), small = w | EIGHT(0x20);
        uint64_t other = ~((at_least(small, 'a') & ~at_least(small, 'z' + 1) & ~w) | equal(w, '-')) & EIGHT(0x80);
        if (!other) continue;
        i += first_of(other);
        break;
    }
    while (i < len && token[p[i]]) i++;
    return i;
}

static bool is_digit(uint8_t c) {
    return c >= '0' && c <= '9';
}

/* Some of the eight may be a control character. */
static bool may_have_control(uint64_t w) {
    uint64_t below = (w - EIGHT(0x20)) & ~w, del = w ^ EIGHT(0x7f);
    return (below | ((del - EIGHT(1)) & ~del)) & EIGHT(0x80);
}

size_t h1_text_len(const uint8_t *p, size_t len) {
    size_t i = 0;
    for (; len - i >= 8; i += 8) {
        uint64_t w = load8(p + i);
        if (!may_have_control(w)) continue;
        uint64_t control = ~(at_least(w, 0x20) | w) & ~equal(w, '\t');
        uint64_t other = (control | equal(w, 0x7f)) & EIGHT(0x80);
        if (other) return i + first_of(other);
    }
    while (i < len && ((p[i] >= 0x20 && p[i] != 0x7f) || p[i] == '\t')) i++;
    return i;
}

static bool is_blank(uint8_t c) {
    return c == ' ' || c == '\t';
}

/* "HTTP/" DIGIT "." DIGIT at `at`. */
static bool read_version(const uint8_t *p, size_t n, size_t at, struct h1_head *head, struct h1_fault *fault) {
    static const char form[] = "HTTP/d.d";
    for (size_t i = 0; i < sizeof form - 1; i++)
        if (at + i >= n || (form[i] == 'd' ? !is_digit(p[at + i]) : p[at + i] != (uint8_t)form[i]))
            return h1_refuse(fault, H1_E_START_LINE, at + i);
    head->major = (uint8_t)(p[at + 5] - '0');
    head->minor = (uint8_t)(p[at + 7] - '0');
    return true;
}

/* Asked last, so that "HTTP/2.0" in a line that is otherwise wrong is not blamed. */
static bool check_version(const struct h1_head *head, size_t at, struct h1_fault *fault) {
    return (head->major == 1 && head->minor <= 1) || h1_refuse(fault, H1_E_VERSION, at);
}

static bool same(const uint8_t *p, size_t n, const char *word) {
    return n == strlen(word) && memcmp(p, word, n) == 0;
}

/* One space each: anything else has been read in more than one way. */
bool h1_read_request_line(const uint8_t *p, size_t n, struct h1_head *head, struct h1_fault *fault) {
    size_t method = h1_token_len(p, n);
    if (method == 0 || method == n || p[method] != ' ') return h1_refuse(fault, H1_E_START_LINE, method);
    size_t from = method + 1, to = from;
    while (to < n && p[to] > ' ' && p[to] != 0x7f) to++;
    if (to == from || to == n || p[to] != ' ') return h1_refuse(fault, H1_E_START_LINE, to);
    if (!read_version(p, n, to + 1, head, fault)) return false;
    if (n != to + 9) return h1_refuse(fault, H1_E_START_LINE, to + 9);
    head->method = (struct h1_span){0, (uint32_t)method};
    head->target = (struct h1_span){(uint32_t)from, (uint32_t)(to - from)};
    head->is_head = same(p, method, "HEAD");
    head->is_connect = same(p, method, "CONNECT");
    head->is_safe = head->is_head || same(p, method, "GET") || same(p, method, "OPTIONS") || same(p, method, "TRACE");
    return check_version(head, to + 1, fault);
}

/* Go lets the space before the reason be absent and the one before the status be many. */
bool h1_read_status_line(const uint8_t *p, size_t n, struct h1_head *head, struct h1_fault *fault) {
    if (!read_version(p, n, 0, head, fault)) return false;
    size_t at = 8;
    if (at == n || p[at] != ' ') return h1_refuse(fault, H1_E_START_LINE, at);
    while (at < n && p[at] == ' ') at++;
    for (size_t i = 0; i < 3; i++, at++) {
        if (at == n || !is_digit(p[at]) || (i == 0 && p[at] == '0')) return h1_refuse(fault, H1_E_START_LINE, at);
        head->status = (uint16_t)(head->status * 10 + (p[at] - '0'));
    }
    if (at < n && p[at] != ' ') return h1_refuse(fault, H1_E_START_LINE, at);
    if (at < n) at++;
    head->reason = (struct h1_span){(uint32_t)at, (uint32_t)(n - at)};
    at += h1_text_len(p + at, n - at);
    if (at < n) return h1_refuse(fault, H1_E_START_LINE, at);
    return check_version(head, 0, fault);
}

size_t h1_read_plain_field(const uint8_t *p, size_t n, struct h1_span *name, struct h1_span *value) {
    size_t colon = h1_token_len(p, n), from = colon + 1;
    if (colon == 0 || colon == n || p[colon] != ':') return 0;
    while (from < n && is_blank(p[from])) from++;
    size_t end = from + h1_text_len(p + from, n - from);
    if (n - end < 2 || p[end] != '\r' || p[end + 1] != '\n') return 0;
    size_t to = end;
    while (to > from && is_blank(p[to - 1])) to--;
    *name = (struct h1_span){0, (uint32_t)colon};
    *value =
        to > from ? (struct h1_span){(uint32_t)from, (uint32_t)(to - from)} : (struct h1_span){(uint32_t)colon + 1, 0};
    return end + 2;
}

static int hex(uint8_t c) {
    if (is_digit(c)) return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Extensions are looked at only as far as what must not be in them. Blanks behind
 * the size are passed over in responses and up to the line's end, as Go does: old servers
 * pad the size with them. */
bool h1_read_chunk_line(enum h1_side side, const uint8_t *p, size_t n, uint64_t *size, size_t *extension,
                        struct h1_fault *fault) {
    uint64_t v = 0;
    size_t i = 0;
    for (; i < n && hex(p[i]) >= 0; i++) {
        if (v > CHUNK_MAX >> 4 || i == 16) return h1_refuse(fault, H1_E_CHUNK, i);
        v = v << 4 | (uint64_t)hex(p[i]);
    }
    if (i == 0) return h1_refuse(fault, H1_E_CHUNK, 0);
    size_t digits = i;
    if (i < n && p[i] == ';') {
        i += h1_text_len(p + i, n - i);
        if (i < n) return h1_refuse(fault, H1_E_CHUNK, i);
    } else if (side == H1_RESPONSE) {
        while (i < n && (p[i] == ' ' || p[i] == '\t')) i++;
    }
    if (i < n) return h1_refuse(fault, H1_E_CHUNK, digits);
    *size = v;
    *extension = n - digits;
    return true;
}

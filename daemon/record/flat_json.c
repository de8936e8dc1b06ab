#include "record/flat_json.h"

#include "core/utf8.h"

#include <string.h>

static bool fail(struct flat_json *f, const char *error) {
    if (!f->error) f->error = error;
    return false;
}

static void skip_blanks(struct flat_json *f) {
    while (f->at < f->end && (*f->at == ' ' || *f->at == '\t' || *f->at == '\n' || *f->at == '\r')) f->at++;
}

static bool take(struct flat_json *f, char c) {
    skip_blanks(f);
    if (f->at == f->end || *f->at != c) return false;
    f->at++;
    return true;
}

/* ---- strings ---- */

static bool take_hex4(struct flat_json *f, unsigned *out) {
    *out = 0;
    if (f->end - f->at < 4) return fail(f, "four hexadecimal digits");
    for (unsigned i = 0; i < 4; i++, f->at++) {
        char c = *f->at;
        if (c >= '0' && c <= '9')
            *out = *out << 4 | (unsigned)(c - '0');
        else if (c >= 'a' && c <= 'f')
            *out = *out << 4 | (unsigned)(c - 'a' + 10);
        else if (c >= 'A' && c <= 'F')
            *out = *out << 4 | (unsigned)(c - 'A' + 10);
        else
            return fail(f, "four hexadecimal digits");
    }
    return true;
}

/* What stands behind \u; a pair of surrogates is one character, half a pair none. */
static bool take_unicode(struct flat_json *f, unsigned *out) {
    unsigned low;

    if (!take_hex4(f, out)) return false;
    if (*out == 0) return fail(f, "no NUL in a string");
    if (*out < 0xd800 || *out > 0xdfff) return true;
    if (*out > 0xdbff || f->end - f->at < 2 || f->at[0] != '\\' || f->at[1] != 'u') return fail(f, "a whole character");
    f->at += 2;
    if (!take_hex4(f, &low)) return false;
    if (low < 0xdc00 || low > 0xdfff) return fail(f, "a whole character");
    *out = 0x10000 + ((*out - 0xd800) << 10) + (low - 0xdc00);
    return true;
}

static size_t put_utf8(char *out, unsigned c) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

static bool take_escape(struct flat_json *f, unsigned *out) {
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const char *at;

    if (f->at == f->end) return fail(f, "the end of a string");
    if (*f->at == 'u') {
        f->at++;
        return take_unicode(f, out);
    }
    at = *f->at ? strchr(names, *f->at) : NULL;
    if (!at) return fail(f, "a known escape");
    f->at++;
    *out = (unsigned char)values[at - names];
    return true;
}

/* The rest of a string with escapes, into room bytes; what stands before f->at is there already. */
static bool undo_escapes(struct flat_json *f, char *into, size_t room, size_t *len) {
    while (f->at < f->end && *f->at != '"') {
        unsigned c = 0;
        if ((unsigned char)*f->at < 0x20) return fail(f, "no control character in a string");
        if (*len + 4 > room) return fail(f, "a shorter string");
        if (*f->at != '\\') {
            into[(*len)++] = *f->at++;
            continue;
        }
        f->at++;
        if (!take_escape(f, &c)) return false;
        *len += put_utf8(into + *len, c);
    }
    return f->at < f->end || fail(f, "the end of a string");
}

static bool is_utf8(const char *text, size_t len) {
    const unsigned char *s = (const unsigned char *)text;

    for (size_t i = 0, n; i < len; i += n) {
        n = utf8_length(s + i, len - i);
        if (n == 0) return false;
    }
    return true;
}

/* Behind the opening quote; ends behind the closing one. */
static bool take_string(struct flat_json *f, char *into, size_t room, const char **text, size_t *len) {
    const char *from = f->at;

    while (f->at < f->end && *f->at != '"' && *f->at != '\\' && (unsigned char)*f->at >= 0x20) f->at++;
    *text = from;
    *len = (size_t)(f->at - from);
    if (f->at == f->end) return fail(f, "the end of a string");
    if (*f->at != '"') {
        if (*len > room) return fail(f, "a shorter string");
        memcpy(into, from, *len);
        *text = into;
        if (!undo_escapes(f, into, room, len)) return false;
    }
    if (!is_utf8(*text, *len)) return fail(f, "UTF-8");
    f->at++;
    return true;
}

/* ---- other values ---- */

static bool is_digit(const struct flat_json *f) {
    return f->at < f->end && *f->at >= '0' && *f->at <= '9';
}

static bool take_digits(struct flat_json *f) {
    if (!is_digit(f)) return fail(f, "a digit");
    while (is_digit(f)) f->at++;
    return true;
}

static bool take_number(struct flat_json *f) {
    if (*f->at == '-') f->at++;
    if (f->at < f->end && *f->at == '0')
        f->at++;
    else if (!take_digits(f))
        return false;
    if (is_digit(f)) return fail(f, "a number without leading zeros");
    if (f->at < f->end && *f->at == '.') {
        f->at++;
        if (!take_digits(f)) return false;
    }
    if (f->at == f->end || (*f->at != 'e' && *f->at != 'E')) return true;
    f->at++;
    if (f->at < f->end && (*f->at == '+' || *f->at == '-')) f->at++;
    return take_digits(f);
}

static bool take_word(struct flat_json *f, const char *word) {
    size_t len = strlen(word);

    if ((size_t)(f->end - f->at) < len || memcmp(f->at, word, len) != 0) return fail(f, "a value");
    f->at += len;
    return true;
}

static bool take_scalar(struct flat_json *f, struct flat_field *out) {
    out->text = f->at;
    if (f->at == f->end) return fail(f, "a value");
    switch (*f->at) {
    case 't':
        out->kind = FLAT_TRUE;
        return take_word(f, "true");
    case 'f':
        out->kind = FLAT_FALSE;
        return take_word(f, "false");
    case 'n':
        out->kind = FLAT_NULL;
        return take_word(f, "null");
    case '"':
        out->kind = FLAT_STRING;
        f->at++;
        return take_string(f, f->text, sizeof f->text, &out->text, &out->len);
    default:
        out->kind = FLAT_NUMBER;
        if (*f->at != '-' && !is_digit(f)) return fail(f, "a value");
        return take_number(f);
    }
}

/* Objects and arrays: what is open stands in a stack of brackets. Where a value is
 * wanted next `want` is set, and `some` where one stands before. */
static bool pass_nested(struct flat_json *f) {
    char closing[FLAT_DEPTH];
    unsigned depth = 0;
    bool some = false;

    do {
        struct flat_field v;
        skip_blanks(f);
        if (depth > 0 && f->at < f->end && *f->at == closing[depth - 1]) {
            f->at++;
            depth--;
            some = true;
            continue;
        }
        if (some && !take(f, ',')) return fail(f, "a comma or a closing bracket");
        skip_blanks(f);
        if (depth > 0 && closing[depth - 1] == '}') {
            if (!take(f, '"')) return fail(f, "a name in quotes");
            if (!take_string(f, f->text, sizeof f->text, &v.name, &v.name_len)) return false;
            if (!take(f, ':')) return fail(f, "a colon");
            skip_blanks(f);
        }
        if (f->at < f->end && (*f->at == '{' || *f->at == '[')) {
            if (depth == FLAT_DEPTH) return fail(f, "fewer brackets within each other");
            closing[depth++] = *f->at++ == '{' ? '}' : ']';
            some = false;
            continue;
        }
        if (!take_scalar(f, &v)) return false;
        some = true;
    } while (depth > 0);
    return true;
}

/* ---- the object ---- */

bool flat_begin(struct flat_json *f, const char *line, size_t len) {
    f->begin = f->at = line;
    f->end = line + len;
    f->error = NULL;
    f->some = false;
    return take(f, '{') || fail(f, "an object");
}

bool flat_next(struct flat_json *f, struct flat_field *out) {
    if (f->error || !f->at) return false;
    if (take(f, '}')) {
        skip_blanks(f);
        if (f->at != f->end) return fail(f, "nothing behind the object");
        f->at = NULL;
        return false;
    }
    if (f->some && !take(f, ',')) return fail(f, "a comma or the end of the object");
    f->some = true;
    if (!take(f, '"')) return fail(f, "a name in quotes");
    if (!take_string(f, f->name, sizeof f->name, &out->name, &out->name_len)) return false;
    if (!take(f, ':')) return fail(f, "a colon");
    skip_blanks(f);
    if (f->at < f->end && (*f->at == '{' || *f->at == '[')) {
        out->kind = FLAT_NESTED;
        out->text = f->at;
        if (!pass_nested(f)) return false;
    } else if (!take_scalar(f, out)) {
        return false;
    }
    if (out->kind != FLAT_STRING) out->len = (size_t)(f->at - out->text);
    return true;
}

/* ---- numbers ---- */

bool flat_u64(const struct flat_field *v, uint64_t max, uint64_t *out) {
    uint64_t n = 0;

    if (v->kind != FLAT_NUMBER) return false;
    for (size_t i = 0; i < v->len; i++) {
        unsigned digit = (unsigned char)v->text[i] - (unsigned)'0';
        if (digit > 9 || __builtin_mul_overflow(n, UINT64_C(10), &n) || __builtin_add_overflow(n, digit, &n))
            return false;
    }
    *out = n;
    return n <= max;
}

bool flat_ms(const struct flat_field *v, int64_t max_ns, int64_t *out) {
    const char *dot = v->kind == FLAT_NUMBER ? memchr(v->text, '.', v->len) : NULL;
    struct flat_field whole = *v;
    uint64_t ms, ns = 0, scale = 1000000;

    if (dot) {
        whole.len = (size_t)(dot - v->text);
        if (v->len - whole.len > 7) return false;
    }
    if (!flat_u64(&whole, (uint64_t)max_ns / 1000000, &ms)) return false;
    for (const char *p = dot ? dot + 1 : v->text + v->len; p < v->text + v->len; p++) {
        if (*p < '0' || *p > '9') return false;
        scale /= 10;
        ns += scale * (unsigned)(*p - '0');
    }
    ns += ms * 1000000;
    if (ns > (uint64_t)max_ns) return false;
    *out = (int64_t)ns;
    return true;
}

bool flat_is(const struct flat_field *v, const char *word) {
    return v->kind == FLAT_STRING && v->len == strlen(word) && !memcmp(v->text, word, v->len);
}

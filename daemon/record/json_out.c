#include "record/json_out.h"

#include "core/utf8.h"

#include <stdlib.h>

/* ---- the buffer ---- */

void json_out_grow(struct json_out *o, size_t n) {
    size_t want = o->len + n, room = o->room ? o->room : 256;
    if (want < n) abort();
    while (room < want) {
        if (room > SIZE_MAX / 2) abort();
        room *= 2;
    }
    char *data = realloc(o->data, room);
    if (!data) abort();
    o->data = data;
    o->room = room;
}

void json_out_reset(struct json_out *o) {
    o->len = 0;
    o->comma = false;
}

void json_out_free(struct json_out *o) {
    free(o->data);
    *o = (struct json_out){0};
}

char *json_out_take(struct json_out *o, size_t *len) {
    *jo_reserve(o, 1) = 0;
    char *data = o->data;
    *len = o->len;
    *o = (struct json_out){0};
    return data;
}

/* ---- numbers and times as text ---- */

static const char two_digits[] = "0001020304050607080910111213141516171819"
                                 "2021222324252627282930313233343536373839"
                                 "4041424344454647484950515253545556575859"
                                 "6061626364656667686970717273747576777879"
                                 "8081828384858687888990919293949596979899";

static void put2(char *out, unsigned n) {
    memcpy(out, two_digits + 2 * (size_t)n, 2);
}

static void put4(char *out, unsigned n) {
    put2(out, n / 100);
    put2(out + 2, n % 100);
}

static const uint64_t powers_of_10[] = {
#define FOUR(n) n, n * 10, n * 100, n * 1000
    FOUR(1u),
    FOUR((uint64_t)10000),
    FOUR((uint64_t)100000000),
    FOUR((uint64_t)1000000000000),
    FOUR((uint64_t)10000000000000000),
#undef FOUR
};

static unsigned n_digits(uint64_t n) {
    unsigned bits = 64 - (unsigned)__builtin_clzll(n | 1), least = bits * 1233 >> 12; /* log10(2) is about 1233/4096 */
    return least + ((n | 1) >= powers_of_10[least]);
}

/* n in `width` digits, no more of which it has, with zeros before it. */
static void put_digits(char *out, uint64_t n, unsigned width) {
    uint32_t low;
    for (; n > UINT32_MAX; n /= 100) put2(out + (width -= 2), (unsigned)(n % 100));
    for (low = (uint32_t)n; width >= 2; low /= 100) put2(out + (width -= 2), low % 100);
    if (width) *out = (char)('0' + low);
}

size_t text_u64(char *out, uint64_t n) {
    unsigned width = n_digits(n);
    if (width == 1)
        *out = (char)('0' + n);
    else
        put_digits(out, n, width);
    return width;
}

static int64_t floor_div(int64_t n, int64_t d) {
    return n / d - (n % d < 0);
}

struct civil {
    unsigned year, month, day;
};

/* Days since 1970-01-01 to a date of the proleptic Gregorian calendar. The year
 * is taken to begin in March, so that the leap day is its last, in eras of 400
 * years, which all have the same 146,097 days. */
static struct civil civil_from_days(int64_t days) {
    int64_t z = days + 719468; /* 0000-03-01 */
    int64_t era = floor_div(z, 146097);
    unsigned day_of_era = (unsigned)(z - era * 146097);
    unsigned year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    unsigned day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    unsigned march_month = (5 * day_of_year + 2) / 153;
    unsigned month = march_month < 10 ? march_month + 3 : march_month - 9;
    return (struct civil){.year = (unsigned)(era * 400) + year_of_era + (month <= 2),
                          .month = month,
                          .day = day_of_year - (153 * march_month + 2) / 5 + 1};
}

/* Up to the fraction. 64 bits of nanoseconds reach from 1677 to 2262: years always have four digits. */
static void put_second(char out[20], int64_t seconds) {
    int64_t days = floor_div(seconds, 86400);
    unsigned in_day = (unsigned)(seconds - days * 86400);
    struct civil c = civil_from_days(days);
    memcpy(out, "yyyy-mm-ddThh:mm:ss.", 20);
    put4(out, c.year);
    put2(out + 5, c.month);
    put2(out + 8, c.day);
    put2(out + 11, in_day / 3600);
    put2(out + 14, in_day / 60 % 60);
    put2(out + 17, in_day % 60);
}

static void put_fraction(char out[7], int64_t seconds, int64_t us) {
    unsigned fraction = (unsigned)(us - seconds * 1000000);
    put2(out, fraction / 10000);
    put4(out + 2, fraction % 10000);
    out[6] = 'Z';
}

size_t text_time(char out[JSON_TIME_LEN], int64_t wall_ns) {
    int64_t us = floor_div(wall_ns, 1000), seconds = floor_div(us, 1000000);
    put_second(out, seconds);
    put_fraction(out + 20, seconds, us);
    return JSON_TIME_LEN;
}

/* ---- structure ---- */

static void put_char(struct json_out *o, char c) {
    *jo_reserve(o, 1) = c;
    o->len++;
}

static void open_bracket(struct json_out *o, char c) {
    *jo_begin(o, 1) = c;
    o->len++;
    o->comma = false;
}

static void close_bracket(struct json_out *o, char c) {
    put_char(o, c);
    o->comma = true;
}

void jo_object(struct json_out *o) {
    open_bracket(o, '{');
}
void jo_object_end(struct json_out *o) {
    close_bracket(o, '}');
}
void jo_array(struct json_out *o) {
    open_bracket(o, '[');
}
void jo_array_end(struct json_out *o) {
    close_bracket(o, ']');
}

void jo_line(struct json_out *o) {
    put_char(o, '\n');
    o->comma = false;
}

void jo_key(struct json_out *o, const char *name) {
    jo_str(o, name);
    put_char(o, ':');
    o->comma = false;
}

/* ---- values ---- */

void jo_bool(struct json_out *o, bool b) {
    if (b)
        jo_raw(o, "true", 4);
    else
        jo_raw(o, "false", 5);
}

void jo_u64(struct json_out *o, uint64_t n) {
    o->len += text_u64(jo_begin(o, JSON_U64_MAX), n);
}

static uint64_t magnitude(int64_t n) {
    return n < 0 ? -(uint64_t)n : (uint64_t)n;
}

void jo_i64(struct json_out *o, int64_t n) {
    char *start = jo_begin(o, JSON_U64_MAX + 1), *p = start;
    if (n < 0) *p++ = '-';
    p += text_u64(p, magnitude(n));
    o->len += (size_t)(p - start);
}

void jo_fixed(struct json_out *o, int64_t n, unsigned decimals) {
    char *start = jo_begin(o, JSON_U64_MAX + 2 + 9), *p = start;
    uint64_t scale = powers_of_10[decimals], value = magnitude(n), rest = value % scale;
    if (n < 0) *p++ = '-';
    p += text_u64(p, value / scale);
    if (rest) {
        *p++ = '.';
        for (; rest % 10 == 0; rest /= 10) decimals--;
        put_digits(p, rest, decimals);
        p += decimals;
    }
    o->len += (size_t)(p - start);
}

void jo_ms(struct json_out *o, int64_t ns) {
    jo_fixed(o, floor_div(ns, 1000), 3);
}

void jo_ratio(struct json_out *o, uint64_t part, uint64_t whole) {
    if (whole == 0) {
        jo_null(o);
        return;
    }
    unsigned __int128 ratio = ((unsigned __int128)part * 10000 + whole / 2) / whole;
    jo_fixed(o, ratio > INT64_MAX ? INT64_MAX : (int64_t)ratio, 4);
}

/* Times come in rows of the same second. */
void jo_time(struct json_out *o, int64_t wall_ns) {
    int64_t us = floor_div(wall_ns, 1000), seconds = floor_div(us, 1000000);
    char *p = jo_begin(o, JSON_TIME_LEN + 2);
    if (o->second != seconds || !o->second_text[0]) {
        o->second = seconds;
        put_second(o->second_text, seconds);
    }
    *p = '"';
    memcpy(p + 1, o->second_text, sizeof o->second_text);
    put_fraction(p + 1 + sizeof o->second_text, seconds, us);
    p[JSON_TIME_LEN + 1] = '"';
    o->len += JSON_TIME_LEN + 2;
}

/* ---- strings ---- */

static bool is_plain(unsigned char c) {
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

#define EIGHT(byte) ((byte)*0x0101010101010101u)

/* Are eight bytes plain? Each test leaves a high bit where a byte fails it. */
static bool is_plain8(uint64_t w) {
    uint64_t quote = w ^ EIGHT('"'), backslash = w ^ EIGHT('\\'), del = w ^ EIGHT(0x7f);
    uint64_t zeros = ((quote - EIGHT(1)) & ~quote) | ((backslash - EIGHT(1)) & ~backslash) | ((del - EIGHT(1)) & ~del);
    return !((zeros | (w - EIGHT(0x20)) | w) & EIGHT(0x80));
}

static size_t plain_len(const unsigned char *s, size_t len) {
    size_t i = 0;
    for (uint64_t w; len - i >= 8; i += 8) {
        memcpy(&w, s + i, 8);
        if (!is_plain8(w)) break;
    }
    while (i < len && is_plain(s[i])) i++;
    return i;
}

/* Writes one byte that is not plain, or one character of several; returns how
 * many bytes of s that took. out has room for six. DEL and U+0080 to U+009F are
 * escaped too, since a terminal would obey them. */
static size_t escape(char **out, const unsigned char *s, size_t len) {
    static const char hex[] = "0123456789abcdef";
    static const char shorts[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    size_t n = s[0] >= 0x80 ? utf8_length(s, len) : 0;
    if (n && !utf8_is_control(s, n)) {
        memcpy(*out, s, n);
        *out += n;
        return n;
    }
    if (s[0] >= 0x80 && !n) {
        memcpy(*out, "\xef\xbf\xbd", 3);
        *out += 3;
        return 1;
    }
    for (const char *p = shorts; *p; p += 2) {
        if ((unsigned char)p[0] != s[0]) continue;
        *(*out)++ = '\\';
        *(*out)++ = p[1];
        return 1;
    }
    unsigned char c = n ? s[n - 1] : s[0]; /* the last byte of U+0080 to U+009F is its number */
    memcpy(*out, "\\u00", 4);
    (*out)[4] = hex[c >> 4];
    (*out)[5] = hex[c & 15];
    *out += 6;
    return n ? n : 1;
}

void jo_strn(struct json_out *o, const char *text, size_t len) {
    const unsigned char *s = (const unsigned char *)text;
    size_t i = 0;
    if (len > SIZE_MAX / 6 - 3) abort();
    char *p = jo_begin(o, len + 2);
    *p++ = '"';
    i = plain_len(s, len);
    memcpy(p, s, i);
    p += i;
    o->len = (size_t)(p - o->data);
    if (i < len) { /* the rare case: from here on each byte may become six */
        p = jo_reserve(o, 6 * (len - i) + 1);
        while (i < len) {
            if (is_plain(s[i]))
                *p++ = (char)s[i++];
            else
                i += escape(&p, s + i, len - i);
        }
    }
    *p++ = '"';
    o->len = (size_t)(p - o->data);
}

void jo_word(struct json_out *o, const char *word) {
    if (!word) {
        jo_null(o);
        return;
    }
    size_t len = strlen(word);
    char *p = jo_begin(o, len + 2);
    *p = '"';
    memcpy(p + 1, word, len);
    p[len + 1] = '"';
    o->len += len + 2;
}

void jo_str(struct json_out *o, const char *s) {
    if (s)
        jo_strn(o, s, strlen(s));
    else
        jo_null(o);
}

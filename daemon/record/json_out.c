#include "record/json_out.h"

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

size_t text_u64(char *out, uint64_t n) {
    char digits[JSON_U64_MAX], *p = digits + sizeof(digits);
    while (n >= 100) {
        p -= 2;
        put2(p, (unsigned)(n % 100));
        n /= 100;
    }
    if (n >= 10) {
        p -= 2;
        put2(p, (unsigned)n);
    } else {
        *--p = (char)('0' + n);
    }
    size_t len = (size_t)(digits + sizeof(digits) - p);
    memcpy(out, p, len);
    return len;
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

/* 64 bits of nanoseconds reach from 1677 to 2262: years always have four digits. */
size_t text_time(char out[JSON_TIME_LEN], int64_t wall_ns) {
    int64_t us = floor_div(wall_ns, 1000), seconds = floor_div(us, 1000000), days = floor_div(seconds, 86400);
    unsigned fraction = (unsigned)(us - seconds * 1000000), in_day = (unsigned)(seconds - days * 86400);
    struct civil c = civil_from_days(days);
    memcpy(out, "yyyy-mm-ddThh:mm:ss.uuuuuuZ", JSON_TIME_LEN);
    put4(out, c.year);
    put2(out + 5, c.month);
    put2(out + 8, c.day);
    put2(out + 11, in_day / 3600);
    put2(out + 14, in_day / 60 % 60);
    put2(out + 17, in_day % 60);
    put2(out + 20, fraction / 10000);
    put4(out + 22, fraction % 10000);
    return JSON_TIME_LEN;
}

/* ---- structure ---- */

/* Every value begins here: the comma before it, and room for n bytes of its own. */
static char *begin_value(struct json_out *o, size_t n) {
    char *p = jo_reserve(o, n + 1);
    if (o->comma) {
        *p++ = ',';
        o->len++;
    }
    o->comma = true;
    return p;
}

static void put_char(struct json_out *o, char c) {
    *jo_reserve(o, 1) = c;
    o->len++;
}

static void open_bracket(struct json_out *o, char c) {
    *begin_value(o, 1) = c;
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

void jo_raw(struct json_out *o, const char *text, size_t len) {
    memcpy(begin_value(o, len), text, len);
    o->len += len;
}

void jo_null(struct json_out *o) {
    jo_raw(o, "null", 4);
}
void jo_bool(struct json_out *o, bool b) {
    jo_raw(o, b ? "true" : "false", b ? 4 : 5);
}

void jo_u64(struct json_out *o, uint64_t n) {
    o->len += text_u64(begin_value(o, JSON_U64_MAX), n);
}

static uint64_t magnitude(int64_t n) {
    return n < 0 ? -(uint64_t)n : (uint64_t)n;
}

void jo_i64(struct json_out *o, int64_t n) {
    char *start = begin_value(o, JSON_U64_MAX + 1), *p = start;
    if (n < 0) *p++ = '-';
    p += text_u64(p, magnitude(n));
    o->len += (size_t)(p - start);
}

void jo_fixed(struct json_out *o, int64_t n, unsigned decimals) {
    char *start = begin_value(o, JSON_U64_MAX + 2 + 9), *p = start;
    uint64_t scale = 1, value = magnitude(n);
    for (unsigned i = 0; i < decimals; i++) scale *= 10;
    if (n < 0) *p++ = '-';
    p += text_u64(p, value / scale);
    uint64_t rest = value % scale;
    if (rest) *p++ = '.';
    for (scale /= 10; rest; scale /= 10) {
        *p++ = (char)('0' + rest / scale);
        rest %= scale;
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

void jo_time(struct json_out *o, int64_t wall_ns) {
    char *p = begin_value(o, JSON_TIME_LEN + 2);
    *p = '"';
    text_time(p + 1, wall_ns);
    p[JSON_TIME_LEN + 1] = '"';
    o->len += JSON_TIME_LEN + 2;
}

/* ---- strings ---- */

size_t text_utf8_length(const unsigned char *s, size_t len) {
    unsigned char lead = s[0];
    size_t n = lead >= 0xc2 && lead <= 0xdf ? 2 : (lead & 0xf0) == 0xe0 ? 3 : lead >= 0xf0 && lead <= 0xf4 ? 4 : 0;
    if (n == 0 || n > len) return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    bool overlong = (lead == 0xe0 && s[1] < 0xa0) || (lead == 0xf0 && s[1] < 0x90);
    bool surrogate = lead == 0xed && s[1] > 0x9f;
    bool beyond = lead == 0xf4 && s[1] > 0x8f;
    return overlong || surrogate || beyond ? 0 : n;
}

static bool is_plain(unsigned char c) {
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* Writes one byte that is not plain, or one character of several; returns how
 * many bytes of s that took. out has room for six. DEL is escaped too, since a
 * terminal would obey it. */
static size_t escape(char **out, const unsigned char *s, size_t len) {
    static const char hex[] = "0123456789abcdef";
    static const char shorts[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    size_t n = s[0] >= 0x80 ? text_utf8_length(s, len) : 0;
    if (n) {
        memcpy(*out, s, n);
        *out += n;
        return n;
    }
    if (s[0] >= 0x80) {
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
    memcpy(*out, "\\u00", 4);
    (*out)[4] = hex[s[0] >> 4];
    (*out)[5] = hex[s[0] & 15];
    *out += 6;
    return 1;
}

void jo_strn(struct json_out *o, const char *text, size_t len) {
    const unsigned char *s = (const unsigned char *)text;
    size_t i = 0;
    if (len > SIZE_MAX / 6 - 3) abort();
    char *p = begin_value(o, len + 2);
    *p++ = '"';
    while (i < len && is_plain(s[i])) *p++ = (char)s[i++];
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
    char *p = begin_value(o, len + 2);
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

/* JSON text into a growing buffer: what both programs write goes through here.
 *
 * Commas look after themselves: every value and every key knows whether one
 * stands before it. Names come in compact form, without blanks.
 *
 *     struct json_out o = {0};
 *     jo_object(&o);
 *     JO_KEY(&o, "requests"); jo_u64(&o, n);
 *     jo_object_end(&o);
 *     jo_line(&o);               {"requests":12}\n
 *     write(fd, o.data, o.len);
 *     json_out_free(&o);
 *
 * The prefix is jo_, since jansson has json_object, json_array and json_null.
 * Does no I/O. When memory is short it aborts. */
#ifndef CONNLEAK_JSON_OUT_H
#define CONNLEAK_JSON_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* All zero is an empty buffer. The text is data[0..len), without a NUL. */
struct json_out {
    char *data;
    size_t len, room;
    bool comma;     /* a value stands before whatever comes next */
    int64_t second; /* the last that jo_time wrote, and its text up to the fraction; empty: none */
    char second_text[20];
};

/* Forgets the text, keeps the memory. */
void json_out_reset(struct json_out *o);
/* Gives the memory back; the struct is empty and can be used again. */
void json_out_free(struct json_out *o);
/* The caller takes the text: malloc'ed, with a NUL behind its *len bytes. The struct is empty afterwards. */
char *json_out_take(struct json_out *o, size_t *len);

/* Makes room for n more bytes; aborts where that cannot be. */
void json_out_grow(struct json_out *o, size_t n);
static inline char *jo_reserve(struct json_out *o, size_t n) {
    if (o->room - o->len < n) json_out_grow(o, n);
    return o->data + o->len;
}

/* Bytes as they are, no comma, no quotes: for text that is not JSON. */
static inline void jo_put(struct json_out *o, const char *text, size_t len) {
    memcpy(jo_reserve(o, len), text, len);
    o->len += len;
}
#define JO_PUT(o, literal) jo_put((o), "" literal "", sizeof(literal) - 1)

void jo_object(struct json_out *o);
void jo_object_end(struct json_out *o);
void jo_array(struct json_out *o);
void jo_array_end(struct json_out *o);
/* Ends a document with a newline; the next value begins a new one. */
void jo_line(struct json_out *o);

/* A key that is a literal, written as it stands (it must need no escapes). */
#define JO_KEY(o, literal) jo_key_raw((o), ",\"" literal "\":", sizeof(literal) + 3)
void jo_key(struct json_out *o, const char *name); /* any other key; escaped */

/* For JO_KEY: the text has its comma, which a first key drops, its quotes and its colon.
 * Without the comma its NUL is copied too, so that the length is known where this is inlined. */
static inline void jo_key_raw(struct json_out *o, const char *text, size_t len) {
    size_t skip = !o->comma;
    memcpy(jo_reserve(o, len), text + skip, len);
    o->len += len - skip;
    o->comma = false;
}

/* Every value begins here: the comma before it, and room for n bytes of its own. */
static inline char *jo_begin(struct json_out *o, size_t n) {
    char *p = jo_reserve(o, n + 1);
    *p = ',';
    o->len += o->comma;
    p += o->comma;
    o->comma = true;
    return p;
}

/* Values. */
/* One that is JSON already. */
static inline void jo_raw(struct json_out *o, const char *text, size_t len) {
    memcpy(jo_begin(o, len), text, len);
    o->len += len;
}
static inline void jo_null(struct json_out *o) {
    jo_raw(o, "null", 4);
}
void jo_bool(struct json_out *o, bool b);
void jo_u64(struct json_out *o, uint64_t n);
void jo_i64(struct json_out *o, int64_t n);
/* n / 10^decimals, trailing zeros of the fraction cut: (12300, 3) is 12.3. decimals <= 9. */
void jo_fixed(struct json_out *o, int64_t n, unsigned decimals);
/* Nanoseconds as milliseconds with up to three decimals, rounded down to the microsecond. */
void jo_ms(struct json_out *o, int64_t ns);
/* part / whole with up to four decimals, rounded; null where whole is 0. */
void jo_ratio(struct json_out *o, uint64_t part, uint64_t whole);
/* A string, or null for NULL; escaped by RFC 8259 section 7, and so is what a terminal would obey (DEL, U+0080 to
 * U+009F). Bytes that are not UTF-8 become U+FFFD. */
void jo_str(struct json_out *o, const char *s);
void jo_strn(struct json_out *o, const char *s, size_t len);
/* A string that is known to need no escapes, such as a word of ours; or null for NULL. */
void jo_word(struct json_out *o, const char *word);
/* Nanoseconds since 1970 as "2026-01-02T03:04:05.678901Z", rounded down to the microsecond. */
void jo_time(struct json_out *o, int64_t wall_ns);

/* The pieces, for writers of other formats: each returns how many bytes it wrote. */
#define JSON_U64_MAX  20
#define JSON_TIME_LEN 27 /* "2026-01-02T03:04:05.678901Z" */
size_t text_u64(char *out, uint64_t n);
size_t text_time(char out[JSON_TIME_LEN], int64_t wall_ns);

#endif

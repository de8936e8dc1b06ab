/* One JSON object a line whose values are no objects: read field by field, where
 * it lies, without a tree. For files of millions of short lines, for which jansson
 * takes ten times as long; what it takes for an object, RFC 8259 does too.
 *
 *     struct flat_json f;
 *     struct flat_field v;
 *     flat_begin(&f, line, len);
 *     while (flat_next(&f, &v)) ...
 *     if (f.error) ...
 *
 * Does no I/O. */
#ifndef CONNLEAK_FLAT_JSON_H
#define CONNLEAK_FLAT_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum flat_kind {
    FLAT_STRING, /* text is what stands between the quotes, its escapes undone */
    FLAT_NUMBER, /* text as it stands */
    FLAT_TRUE,
    FLAT_FALSE,
    FLAT_NULL,
    FLAT_NESTED, /* an object or an array, which was checked and passed over; text as it stands */
};

struct flat_field {
    const char *name, *text; /* borrowed: of the line, or of struct flat_json */
    size_t name_len, len;
    enum flat_kind kind;
};

#define FLAT_NAME_MAX 64   /* bytes of a name with escapes in it; without, a name may be as long as it likes */
#define FLAT_TEXT_MAX 4096 /* the same of a string */
#define FLAT_DEPTH    32   /* of objects and arrays within each other */

struct flat_json {
    const char *begin, *at, *end;
    const char *error; /* what is wrong, at `at`: static text; NULL: nothing */
    bool some;         /* a field stands before */
    char name[FLAT_NAME_MAX], text[FLAT_TEXT_MAX];
};

/* The line may end with a newline or not. False where it is no object: f->error says so. */
bool flat_begin(struct flat_json *f, const char *line, size_t len);

/* False: no more, or an error. Names that come twice come twice. */
bool flat_next(struct flat_json *f, struct flat_field *out);

/* A number without sign, fraction and exponent; false if the field is none, or greater than max. */
bool flat_u64(const struct flat_field *v, uint64_t max, uint64_t *out);

/* Milliseconds with at most six decimals as nanoseconds, exactly; false if the field is none,
 * has an exponent or a sign, or is more than max_ns. */
bool flat_ms(const struct flat_field *v, int64_t max_ns, int64_t *out);

bool flat_is(const struct flat_field *v, const char *word); /* a string with these bytes */

#endif

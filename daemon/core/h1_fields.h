/* What the fields of a head say: the half of h1 that knows names and values.
 *
 * h1.c finds lines, names and values; it hands each field here once, its bytes
 * lying together, and asks at the end of the head whether the whole makes sense.
 * Private to h1.c, h1_fields.c and their tests. */
#ifndef CONNLEAK_H1_FIELDS_H
#define CONNLEAK_H1_FIELDS_H

#include "h1_lines.h" /* struct h1_fault */

/* The fields of one message as they come in. Grows once to the size of the
 * largest head seen and is then used again. */
struct h1_fields {
    struct h1_head head;
    struct h1_field *field; /* room of them; head.fields points here */
    uint64_t *hash;         /* of each name, in lower case: what tells fields apart once their bytes are gone */
    uint32_t room, max;
    uint64_t *named; /* hashes of the names that Connection lists and enum h1_name does not have */
    uint32_t n_named;
    uint32_t named_known; /* bits 1 << enum h1_name, for those that it does have */
    uint32_t n_length, n_coding, n_host;
    uint64_t length_text;                             /* hash of the first Content-Length as it was written */
    uint32_t coding_at, length_at, length_differs_at; /* offsets of values, for h1_error */
    bool length_bad, length_empty, length_differs, coding_bad;
};

void h1_fields_init(struct h1_fields *f, uint32_t max_fields);
void h1_fields_begin(struct h1_fields *f);
void h1_fields_trim(struct h1_fields *f);  /* gives memory back if a large head took much of it */
void h1_fields_clear(struct h1_fields *f); /* gives its memory back */

/* Which name is this, in any case of letters? */
enum h1_name h1_name_of(const uint8_t *name, size_t len);

/* Is this a name that frames or routes a message, or concerns this hop alone, and so has
 * no place in a trailer (RFC 9110 section 6.5.1)? Some servers merge trailers into the
 * head all the same, so that a request could be made to read otherwise there. */
bool h1_barred_from_trailer(enum h1_name known);

/* A name came in. False: too many fields (or no memory for more). */
bool h1_fields_name(struct h1_fields *f, struct h1_span where, const uint8_t *name);

/* Do the bytes of this name's values matter to h1_fields_value? */
bool h1_fields_reads(enum h1_name known);

/* The value of the newest field, blanks around it removed; `value` may be NULL where h1_fields_reads says no. */
bool h1_fields_value(struct h1_fields *f, enum h1_side side, struct h1_span where, const uint8_t *value,
                     struct h1_fault *fault);

/* The head is complete: questions that only the whole of it answers. */
bool h1_fields_end(struct h1_fields *f, enum h1_side side, struct h1_fault *fault);

#endif

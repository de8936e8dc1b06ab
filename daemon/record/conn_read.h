/* A connleak.conn/1 record from its line of text: ledgers of other processes.
 *
 * A field that is null or missing clears its bit in `known`; fields that are not
 * known here are passed over. A field with the wrong type or an unknown word is
 * an error, never a guess. */
#ifndef CONNLEAK_CONN_READ_H
#define CONNLEAK_CONN_READ_H

#include "core/lifecycle.h"

#include <stddef.h>

/* Keeps what many records share: keys, clients, names of TLS versions and ciphers.
 * They live as long as the reader does. */
struct conn_reader;

struct conn_reader *conn_reader_new(void);
void conn_reader_free(struct conn_reader **rp);

/* A record: all times are wall-clock, so to_wall_ns is 0 for it. `life.key`,
 * `life.client` and the TLS names belong to the reader; the rest to the record. */
struct conn_record {
    struct lifecycle life;
    int64_t seen_ns; /* until when it was watched: closed, or when the record was written; 0: not known */
    uint32_t reused; /* as the record says it: crosscheck holds it against requests; 0 where null or missing */
    char *evidence;  /* the text of `evidence`, NULL where it is {} or null */
};

enum conn_read {
    CONN_READ_OK,
    CONN_READ_BLANK, /* an empty line: nothing was read */
    CONN_READ_OTHER, /* an object of another schema */
    CONN_READ_ERROR, /* see conn_reader_error */
};

/* Reads the next line, with or without its newline; every call counts as one.
 * On CONN_READ_OK the caller has *out until conn_record_clear; else it is untouched. */
enum conn_read conn_read(struct conn_reader *r, const char *line, size_t len, struct conn_record *out);

void conn_record_clear(struct conn_record *rec);

/* "line 12: close.reason: expected a close reason, found \"foo\"" for the last CONN_READ_ERROR. */
const char *conn_reader_error(const struct conn_reader *r);

/* RFC 3339 in UTC, years 1678 to 2261, which is what 64 bits of nanoseconds hold for sure; false for
 * any other text. */
bool record_time_parse(const char *text, int64_t *wall_ns);

/* Writes rec->evidence again: conn_json.evidence with the record as its arg. */
struct json_out;
void conn_record_evidence(struct json_out *o, const struct lifecycle *l, void *rec);

#endif

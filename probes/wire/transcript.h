/* What the two ends of a connection said, in order: the bytes of both streams as
 * they were delivered, with times, and where messages begin and end in them.
 *
 * An output of the wire analyser that is off unless wire_limits.transcript_bytes
 * asks for it, for those who play a connection again. Offsets count from the first
 * byte of each stream that was seen. Bytes that the capture lacks (a gap, the snap
 * length) and bytes beyond the limit keep their place and their number. */
#ifndef CONNLEAK_WIRE_TRANSCRIPT_H
#define CONNLEAK_WIRE_TRANSCRIPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that were delivered together. */
struct wire_part {
    int64_t at_ns;
    uint64_t off, len;    /* of its stream */
    const uint8_t *bytes; /* NULL: not there */
    bool from_server;
};

enum wire_mark_kind {
    MARK_REQUEST,       /* off..end: a request's head */
    MARK_INTERIM,       /* off..end: the head of a 1xx answer, which more follow */
    MARK_RESPONSE,      /* off..end: the head of the final answer */
    MARK_RESPONSE_DONE, /* off: where that answer ended */
};
struct wire_mark {
    uint64_t off, end;
    uint64_t exchange; /* which request it is or answers, from 0 */
    int64_t at_ns;
    uint32_t part; /* the part that completed it: index of parts */
    uint8_t kind;  /* enum wire_mark_kind */
};

/* Of an end whose window went down: how far it then let the other's stream come. */
struct wire_window {
    int64_t at_ns;
    uint64_t edge; /* acknowledged + window, an offset of the other's stream */
    uint32_t part; /* how many parts stood before it */
    bool from_server;
};

/* All in order of delivery. */
struct wire_transcript {
    struct wire_part *parts;
    struct wire_mark *marks;
    struct wire_window *windows;
    uint32_t n_parts, n_marks, n_windows;
};

void wire_transcript_free(struct wire_transcript **tp);

#endif

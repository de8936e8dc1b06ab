/* Somebody who saw what happened, and says it in the words of a capture.
 *
 * What happens on a played connection (connected, sent, received, ended) is told to a wire
 * analyser of its own as segments, and its events to the rules. So a replayed connection has
 * a record by the same rules as the captured one, and the findings of both can be compared. */
#ifndef CONNLEAK_REPLAY_WITNESS_H
#define CONNLEAK_REPLAY_WITNESS_H

#include "core/finding.h"
#include "wire/wire.h"

/* Findings of what one wire analyser says. */
struct diagnosis {
    struct findings *findings;
    int64_t ticked_ns;
};
void diagnosis_begin(struct diagnosis *r);
void diagnosis_events(struct diagnosis *r, struct wire *w); /* takes all events that are there; before wire_next */
void diagnosis_record(struct diagnosis *r, const struct wire_record *rec);
void diagnosis_end(struct diagnosis *r, int64_t now_ns);
void diagnosis_free(struct diagnosis *r);

/* One connection, as it is told. */
struct told {
    struct flow_key flow; /* the connecting end is local */
    uint64_t out, in;     /* bytes of the connecting end, and of the other */
    int64_t last_ns;
    uint32_t isn; /* of both; another for each connection, since a 4-tuple can occur again */
    uint32_t window;
    uint32_t ref; /* the caller's: which connection this is */
    bool open, fin_in;
};

struct witness {
    struct wire *wire;
    struct diagnosis rules;
    struct wire_record **records; /* by ref; the witness's own */
    uint32_t *ref_of;             /* by the analyser's id, less 1 */
    uint32_t n_begun, ids_room, n_records;
    uint64_t n_segments;
};

/* transcript_bytes: as in struct wire_limits. */
void witness_begin(struct witness *w, size_t transcript_bytes);
void witness_free(struct witness *w);

/* Times are the capture's; one that lies before what was said of the connection is the same as that. */
void witness_open(struct witness *w, struct told *t, const struct flow_key *flow, uint32_t ref, uint32_t window,
                  int64_t at_ns);
void witness_accepted(struct witness *w, struct told *t, int64_t at_ns);
/* data NULL: bytes that are not known. `unread`: in the connecting end's kernel, what makes its window smaller. */
void witness_data(struct witness *w, struct told *t, bool by_client, const uint8_t *data, size_t len, uint64_t unread,
                  int64_t at_ns);
void witness_ended(struct witness *w, struct told *t, bool by_client, bool reset, int64_t at_ns);
/* The connecting end's FIN, and its RST behind it. */
void witness_abandoned(struct witness *w, struct told *t, int64_t at_ns);

/* All was said. */
void witness_finish(struct witness *w, int64_t now_ns);
const struct wire_record *witness_record(const struct witness *w, uint32_t ref); /* NULL: never opened */
struct wire_record *witness_take(struct witness *w, uint32_t ref);               /* the same, the caller's now */

#endif

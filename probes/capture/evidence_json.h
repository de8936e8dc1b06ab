/* A capture's evidence as the JSON object `evidence` of a connleak.conn/1 record.
 *
 * Always there: first_packet, last_packet, close_packet, rst_packet, acked_bytes,
 * rst_cause, early_close, zero_window_ms, retransmits, gaps, incomplete, conn_state,
 * history, requests_seen, responses_seen, local and remote with packets and bytes.
 * Everything else stands there only where it says something: a count
 * that is missing is 0, a flag false, a text not seen. */
#ifndef CONNLEAK_CAPTURE_EVIDENCE_JSON_H
#define CONNLEAK_CAPTURE_EVIDENCE_JSON_H

#include "record/conn_json.h"
#include "wire/evidence.h"

/* A conn_evidence_fn for conn_json: l->evidence must be there; `how` is a struct conn_json. */
void evidence_json(struct json_out *o, const struct lifecycle *l, void *how);

#endif

/* A capture's evidence as the JSON object `evidence` of a connleak.conn/1 record. */
#ifndef CONNLEAK_CAPTURE_EVIDENCE_JSON_H
#define CONNLEAK_CAPTURE_EVIDENCE_JSON_H

#include "record/conn_json.h"
#include "wire/evidence.h"

/* A conn_evidence_fn for conn_json: l->evidence must be there; `how` is a struct conn_json. */
void evidence_json(struct json_out *o, const struct lifecycle *l, void *how);

#endif

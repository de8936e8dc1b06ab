/* What a what-if found, as text: connleak.whatif/1 (schema/connleak.whatif-1.json). */
#ifndef CONNLEAK_WHATIF_JSON_H
#define CONNLEAK_WHATIF_JSON_H

#include "record/json_out.h"
#include "whatif/job.h"

/* One object and a newline. `source`: where the workload is from, a file or null. The job is over. */
void whatif_json(struct json_out *o, const struct whatif_job *j, const char *source);

/* What is to be known of the numbers: one sentence for each thing that makes them bounds or guesses.
 * The i-th into buf, false: no more. */
#define WHATIF_NOTE_TEXT 320
bool whatif_note(const struct whatif_job *j, unsigned i, char buf[WHATIF_NOTE_TEXT]);

/* How far the model of the base is from what really happened: (model - real) / real, in
 * ten-thousandths; false: nothing to compare with. */
bool whatif_error(uint64_t model, uint64_t real, int64_t *error);

/* An origin's or a proxy's name. */
const char *whatif_peer_name(const struct demands *d, uint32_t peer);

#endif

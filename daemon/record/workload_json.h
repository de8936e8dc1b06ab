/* A workload as JSON Lines: connleak.workload/1 (schema/connleak.workload-1.json).
 *
 *     {"schema":"connleak.workload/1","observer":"capture",...,"origins":2,"connections":5,"exchanges":40}
 *     {"type":"origin","row":0,"scheme":"http","host":"host-1.invalid:80"}
 *     {"type":"connection","row":0,"id":"c-1","client":"client-1",...}
 *     {"type":"exchange","connection":0,"origin":0,"at_ms":0.5,...}
 *
 * The header first, then origins, connections and exchanges, each before what names
 * it by its row. What is not known is left out, or null. Names that are not known
 * here are passed over, so that later versions can say more.
 *
 * What is read may come from anybody: the counts of the header are compared with what
 * came and reserve nothing. */
#ifndef CONNLEAK_WORKLOAD_JSON_H
#define CONNLEAK_WORKLOAD_JSON_H

#include "core/workload.h"
#include "record/json_out.h"

/* Each writes a line, newline included. */
void workload_json_header(struct json_out *o, const struct workload *w);
void workload_json_origin(struct json_out *o, const struct workload *w, uint32_t row);
void workload_json_conn(struct json_out *o, const struct workload *w, uint32_t row);
void workload_json_exchange(struct json_out *o, const struct workload *w, uint32_t row);

/* All of it in order, as lines: each call writes some, 64 KiB or a little more, to the end
 * of `o`; false: all was written before. *at is 0 to begin with. */
bool workload_json_some(struct json_out *o, const struct workload *w, uint64_t *at);

struct workload_reader;

#define WORKLOAD_LINE_MAX (64u << 10) /* bytes of a line */

struct workload_reader *workload_reader_new(const struct workload_limits *limits);
void workload_reader_free(struct workload_reader **rp);

/* One line, with its newline or without; blank ones are passed over. False: it is wrong, and
 * workload_reader_error names the line and the field. */
bool workload_read_line(struct workload_reader *r, const char *line, size_t len);

/* All lines were read: the workload, exchanges in the order of arrival, which is the
 * caller's now; NULL where there is no header, or less came than it announces. */
struct workload *workload_read_end(struct workload_reader *r);

/* One sentence, "line 3: at_ms: expected milliseconds, found ..."; "" where all is well. */
const char *workload_reader_error(const struct workload_reader *r);

/* Is this line the header of a workload? For callers that take other files too. */
bool workload_is_header(const char *line, size_t len);

#endif

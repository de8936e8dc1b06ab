/* One connection's life as text: a connleak.conn/1 record (schema/connleak.conn-1.json).
 *
 * Times are written in microseconds, and durations are the differences of the
 * times as written: what is read back and written again is the same text. */
#ifndef CONNLEAK_CONN_JSON_H
#define CONNLEAK_CONN_JSON_H

#include "core/lifecycle.h"
#include "record/json_out.h"

/* Writes one JSON object, the value of `evidence`: what this room need not know
 * of (a capture's struct wire_evidence, text that was read from a file). */
typedef void conn_evidence_fn(struct json_out *o, const struct lifecycle *l, void *arg);

struct conn_json {
    int64_t to_wall_ns;         /* added to every time of the source's clock */
    int64_t now_ns;             /* on the source's clock: open lives have lasted, and idled, until then */
    bool events;                /* the list of marks too, and events_dropped */
    conn_evidence_fn *evidence; /* NULL: {} */
    void *arg;
};

/* One record as an object, without a newline (jo_line ends a line). Borrows everything. */
void conn_json(struct json_out *o, const struct lifecycle *l, const struct conn_json *how);

/* "u-42" upstream, "d-17" downstream, "c-3" the connecting end in a capture. */
#define CONN_ID_TEXT_MAX 24
char *conn_id_text(enum side side, conn_id id, char buf[CONN_ID_TEXT_MAX]);
bool conn_id_parse(const char *text, enum side *side, conn_id *id);

#endif

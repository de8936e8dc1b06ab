/* One finding as text: a connleak.finding/1 object (schema/connleak.finding-1.json).
 *
 * Keys, hosts, methods, tags and user agents come from peers: they are escaped,
 * and what is not UTF-8 in them becomes U+FFFD. */
#ifndef CONNLEAK_FINDING_JSON_H
#define CONNLEAK_FINDING_JSON_H

#include "core/finding.h"
#include "record/json_out.h"

/* One finding as an object, without a newline (jo_line ends a line). Borrows everything.
 * to_wall_ns is added to every time of the observer's clock. */
void finding_json(struct json_out *o, const struct finding *fi, int64_t to_wall_ns);

/* "f-3": a finding's id, as GET /findings and the events have it. */
#define FINDING_ID_TEXT_MAX 24
char *finding_id_text(uint64_t id, char buf[FINDING_ID_TEXT_MAX]);

/* Were the bodies given up cheaper to read to their end than a new connection is? NULL: not known. */
const char *finding_cost(const struct finding *fi);

#endif

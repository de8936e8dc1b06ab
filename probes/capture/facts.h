/* From what the wire analyser says to what the rules are told. */
#ifndef CONNLEAK_CAPTURE_FACTS_H
#define CONNLEAK_CAPTURE_FACTS_H

#include "core/finding.h"
#include "wire/wire.h"

void facts_event(struct findings *f, const struct wire_event *e);

/* After the connection's events. */
void facts_record(struct findings *f, const struct wire_record *r);

#endif

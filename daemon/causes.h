/* The rule engine in a live daemon: its settings, its clock, and where its news goes.
 *
 * Facts come from io/, which says them to server.findings. Time comes from here, and
 * only while it can tell something: a daemon without traffic is not woken. */
#ifndef CONNLEAK_CAUSES_H
#define CONNLEAK_CAUSES_H

#include "admin/admin.h"
#include "io/server.h"

struct causes;

/* Makes s->findings, which is gone after causes_free; s is borrowed and lives longer. */
struct causes *causes_new(struct server *s);
void causes_free(struct causes **cp);

/* Takes over what s->conf says now. */
void causes_set_conf(struct causes *c);

/* Findings that are raised and cleared are told to this endpoint too (borrowed; NULL: to nobody), beside the log. */
void causes_tell(struct causes *c, struct admin *a);

#endif

/* A workload that somebody sent, in the place of a capture: who asked for what and when,
 * with no content. Told to a witness as connections with requests and answers of the
 * same sizes, at the same times and with the same ends, so that all that follows
 * is the same as for a capture. Heads are made up and bodies filled in. Does no I/O. */
#ifndef CONNLEAK_REPLAY_FROM_WORKLOAD_H
#define CONNLEAK_REPLAY_FROM_WORKLOAD_H

#include "plan.h"
#include "witness.h"

#include "core/workload.h"

/* Adds its connections to the plan, where there are any; the witness, which was begun for it, has its findings then. */
void from_workload_add(struct plan *p, struct witness *to, const struct workload *w);

#endif

/* A workload that somebody sent, in the place of a capture: who asked for what and when,
 * with no content. Told to a witness as connections with requests and answers of the
 * same sizes, at the same times and with the same ends, so that all that follows
 * is the same as for a capture. Heads are made up and bodies filled in. */
#ifndef CONNLEAK_REPLAY_FROM_WORKLOAD_H
#define CONNLEAK_REPLAY_FROM_WORKLOAD_H

#include "plan.h"
#include "witness.h"

/* Is this file a workload (and not a capture)? "-" is not looked at: stdin is a capture. */
bool from_workload_is(const char *path);

/* Reads it and adds its connections to the plan; the witness has its findings then. False with one line in `error`. */
bool from_workload_read(struct plan *p, struct witness *w, const char *path, char error[256]);

#endif

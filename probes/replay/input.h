/* What is to be played, as a file has it: a capture, or a workload or a ledger as JSON Lines. */
#ifndef CONNLEAK_REPLAY_INPUT_H
#define CONNLEAK_REPLAY_INPUT_H

#include "plan.h"
#include "witness.h"

#define INPUT_TEXT 512

struct input {
    struct diagnosis of_capture; /* the findings of what is in it */
    struct witness of_workload;
    bool made_up; /* heads and bodies: it was no capture */
};

/* Reads it into the plan. False with one line in `error`: it cannot be read, or there is nothing in it. What is
 * wrong with a part of it alone goes to stderr. Ends with input_free either way. */
bool input_read(struct input *s, struct plan *p, const char *path, char error[INPUT_TEXT]);
void input_free(struct input *s);

const struct diagnosis *input_findings(const struct input *s);

#endif

/* What to change about a finding, in the words of what the client is written with (tbl/advice.h). */
#ifndef CONNLEAK_ADVICE_H
#define CONNLEAK_ADVICE_H

#include "finding.h"

/* The advice for a client of that stack; the general one where the stack has none of its own. Static, never empty for
 * a kind and a stack of their enums. */
const char *finding_advice(enum finding_kind k, enum stack s);

/* All that finding_advice() has for a kind: the general text first, which is of STACK_UNKNOWN, then the texts of
 * stacks, i counting from 0. False after the last. */
struct advice {
    enum stack stack;
    const char *text; /* static */
};
enum finding_kind finding_advice_like(enum finding_kind k); /* whose texts for stacks serve it: mostly k itself */
bool finding_advice_at(enum finding_kind k, unsigned i, struct advice *out);

/* The advice for a finding: that of its kind, but where its numbers point elsewhere. A body that was given up while its
 * client waited for more asks for what a timeout asks for, and one that the daemon gave up for a client of its own for
 * a look at that client. Static, never empty. */
const char *finding_remedy(const struct finding *fi);

/* What finding_remedy() would have said for other stacks, i counting from 0, where nobody knows the finding's. False
 * after the last. */
bool finding_remedy_at(const struct finding *fi, unsigned i, struct advice *out);

#endif

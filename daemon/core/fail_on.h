/* --fail-on KIND,...|any: which findings make a command exit with 99. */
#ifndef CONNLEAK_FAIL_ON_H
#define CONNLEAK_FAIL_ON_H

#include "finding.h"

/* All zero: none do. */
struct fail_on {
    uint32_t kinds; /* bits by enum finding_kind */
    bool any;       /* any of severity warning and above */
};

/* Kinds with commas between, any among them or alone; false where a word is neither. */
bool fail_on_parse(struct fail_on *f, const char *list);

bool fail_on_matches(const struct fail_on *f, enum finding_kind kind, enum severity severity);

/* Is any of the findings, open or resolved, one of them? */
bool fail_on_found(const struct fail_on *f, struct findings *findings);

#endif

/* What a client is written with, as its User-Agent suggests. A guess, and named as one. */
#ifndef CONNLEAK_STACK_H
#define CONNLEAK_STACK_H

enum stack {
#define X(sym, name, prefix, text) STACK_##sym,
#include "tbl/stacks.h"
#undef X
    N_STACKS
};

/* NULL or "" is STACK_UNKNOWN. */
enum stack stack_of(const char *user_agent);
const char *stack_name(enum stack s);
const char *stack_text(enum stack s);

#endif

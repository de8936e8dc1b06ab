#include "stack.h"

#include <stddef.h>
#include <string.h>

static const struct {
    const char *name, *prefix, *text;
} stacks[] = {
#define X(sym, name, prefix, text) {name, prefix, text},
#include "tbl/stacks.h"
#undef X
};

enum stack stack_of(const char *user_agent) {
    if (!user_agent || !*user_agent) return STACK_UNKNOWN;
    for (unsigned i = 1; i < N_STACKS; i++)
        if (!strncmp(user_agent, stacks[i].prefix, strlen(stacks[i].prefix))) return (enum stack)i;
    return STACK_UNKNOWN;
}

const char *stack_name(enum stack s) {
    return s < N_STACKS ? stacks[s].name : "?";
}

const char *stack_text(enum stack s) {
    return s < N_STACKS ? stacks[s].text : "?";
}

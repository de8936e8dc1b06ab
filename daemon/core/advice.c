#include "advice.h"

#include <stddef.h>

static const struct {
    enum finding_kind kind;
    struct advice advice;
} rows[] = {
#define X(kind, stack, text) {FINDING_##kind, {STACK_##stack, text}},
#include "tbl/advice.h"
#undef X
};

#define N_ROWS (sizeof(rows) / sizeof(*rows))

/* What is to be changed is the same. */
enum finding_kind finding_advice_like(enum finding_kind k) {
    switch ((unsigned)k) {
    case FINDING_RST_UNREAD_DATA:
        return FINDING_EARLY_BODY_CLOSE;
    case FINDING_SERVER_RESETS_IDLE:
    case FINDING_STALE_REUSE_RACE:
        return FINDING_SERVER_CLOSES_IDLE;
    }
    return k;
}

static const char *row_of(enum finding_kind k, enum stack s) {
    for (size_t i = 0; i < N_ROWS; i++)
        if (rows[i].kind == k && rows[i].advice.stack == s) return rows[i].advice.text;
    return NULL;
}

/* NULL: the stack has no words of its own. */
static const char *own(enum finding_kind k, enum stack s) {
    const char *text = row_of(k, s);
    return text || s == STACK_UNKNOWN ? text : row_of(finding_advice_like(k), s);
}

const char *finding_advice(enum finding_kind k, enum stack s) {
    const char *text = own(k, s);
    if (!text) text = row_of(k, STACK_UNKNOWN);
    return text ? text : "";
}

bool finding_advice_at(enum finding_kind k, unsigned i, struct advice *out) {
    for (unsigned s = 0; s < N_STACKS; s++) {
        const char *text = own(k, (enum stack)s);
        if (text && !i--) return *out = (struct advice){(enum stack)s, text}, true;
    }
    return false;
}

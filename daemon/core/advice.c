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

static const char *const mend_the_client =
    "Nothing here: its client left. The finding of side downstream names that client, and what to change in it.";

static bool is_for_a_client(const struct finding *fi) {
    return fi->subject->side == SIDE_UPSTREAM &&
           (fi->kind == FINDING_EARLY_BODY_CLOSE || fi->kind == FINDING_RST_UNREAD_DATA);
}

static enum finding_kind kind_of_remedy(const struct finding *fi) {
    bool waited = fi->kind == FINDING_EARLY_BODY_CLOSE && fi->number[NUM_WAITED_FOR_MORE] * 2 > fi->count;
    return waited ? FINDING_REQUEST_TIMEOUT : (enum finding_kind)fi->kind;
}

const char *finding_remedy(const struct finding *fi) {
    return is_for_a_client(fi) ? mend_the_client : finding_advice(kind_of_remedy(fi), fi->subject->stack);
}

bool finding_remedy_at(const struct finding *fi, unsigned i, struct advice *out) {
    bool known = fi->subject->stack != STACK_UNKNOWN || is_for_a_client(fi);
    return !known && finding_advice_at(kind_of_remedy(fi), i + 1, out); /* the first is the general one */
}

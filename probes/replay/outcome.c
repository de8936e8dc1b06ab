#include "outcome.h"

#include "record/json_out.h"

#include <stdlib.h>

static const char *const verdict_names[N_VERDICTS] = {
#define X(sym, name, text) name,
#include "replay/tbl/verdicts.h"
#undef X
};
static const char *const field_names[N_FIELDS] = {
#define X(sym, name) name,
    VERDICT_FIELDS(X)
#undef X
};
static const struct {
    const char *name, *text;
} causes[N_CAUSES] = {
#define X(sym, name, text) {name, text},
#include "replay/tbl/causes.h"
#undef X
};

const char *verdict_name(enum verdict v) {
    return verdict_names[v];
}
const char *outcome_field_name(enum outcome_field f) {
    return field_names[f];
}
const char *outcome_cause_name(enum outcome_cause c) {
    return causes[c].name;
}
const char *outcome_cause_text(enum outcome_cause c) {
    return causes[c].text;
}

const char *outcome_value(enum outcome_field f, uint64_t value, char buf[24]) {
    switch (f) {
    case FIELD_EARLY:
        return early_verdict_name((enum early_verdict)value);
    case FIELD_CLOSE_BY:
        return close_by_name((enum close_by)value);
    case FIELD_CLOSE_HOW:
        return close_how_name((enum close_how)value);
    case FIELD_RST_SENT:
    case FIELD_DAEMON_RST:
        return value ? "true" : "false";
    case FIELD_REQUESTS:
    case FIELD_RESPONSES:
    case FIELD_REUSED:
    case FIELD_STATUS:
    case FIELD_DAEMON_REQUESTS:
    case N_FIELDS:
        break;
    }
    buf[text_u64(buf, value)] = 0;
    return buf;
}

/* What is compared of one connection. */
struct compared {
    const struct run *r;
    const struct plan_conn *p;
    const struct client *c;
    const struct wire_record *a, *b;  /* captured, replayed */
    const struct daemon_life *daemon; /* NULL: not known */
    struct conn_outcome *out;
};

static bool answer_was_broken(const struct compared *x) {
    const struct plan_exchange *last =
        x->p->n_exchanges ? &x->r->plan->exchanges[x->p->first_exchange + x->p->n_exchanges - 1] : NULL;

    return last && x->a->life.close_by == BY_REMOTE && last->done_len == NO_LEN;
}

static bool left_before(const struct compared *x) {
    const struct plan_exchange *last =
        x->p->n_exchanges ? &x->r->plan->exchanges[x->p->first_exchange + x->p->n_exchanges - 1] : NULL;

    return last && x->a->life.close_by == BY_LOCAL && last->head_ns > x->a->life.closed_ns;
}

static enum outcome_cause explain(const struct compared *x, enum outcome_field f) {
    const struct lifecycle *a = &x->a->life, *b = &x->b->life;
    bool ended_otherwise = f == FIELD_CLOSE_BY || f == FIELD_CLOSE_HOW || f == FIELD_EARLY || f == FIELD_RST_SENT;

    if (ended_otherwise && x->c->was_kept && a->close_by == BY_REMOTE && b->close_by != BY_REMOTE)
        return CAUSE_PROXY_KEPT;
    if (x->p->abandons && (f == FIELD_DAEMON_RST || (ended_otherwise && x->c->shut_late))) return CAUSE_FIN_FIRST;
    if ((f == FIELD_RST_SENT || f == FIELD_DAEMON_RST) && a->rst_sent && !b->rst_sent && a->close_how == HOW_FIN)
        return CAUSE_DATA_AFTER_CLOSE;
    if (f == FIELD_DAEMON_RST && !a->rst_sent && !b->rst_sent && b->close_how == HOW_FIN) return CAUSE_DATA_AFTER_CLOSE;
    if (f == FIELD_RESPONSES && left_before(x) && a->responses == b->responses + 1) return CAUSE_LEFT_BEFORE;
    if (f == FIELD_CLOSE_BY && !x->c->keeps_alive && a->close_how == HOW_FIN && b->close_how == HOW_FIN &&
        x->a->evidence.early == x->b->evidence.early)
        return CAUSE_CLOSE_RACE;
    if (answer_was_broken(x)) {
        if (f == FIELD_RESPONSES || f == FIELD_STATUS) return CAUSE_PROXY_ANSWERED;
        if (ended_otherwise) return CAUSE_PROXY_ENDED;
    }
    if (f == FIELD_EARLY && x->a->evidence.early == EARLY_UNKNOWN) return CAUSE_NOT_SEEN;
    return CAUSE_NONE;
}

static void compare(struct compared *x, enum outcome_field f, bool known, uint64_t captured, uint64_t replayed) {
    if (!known || captured == replayed) return;
    x->out->diff[x->out->n++] = (struct difference){(uint8_t)f, (uint8_t)explain(x, f), captured, replayed};
}

static void compare_all(struct compared *x) {
    const struct lifecycle *a = &x->a->life, *b = &x->b->life;
    uint32_t n = x->p->n_exchanges;
    const struct plan_exchange *last = n ? &x->r->plan->exchanges[x->p->first_exchange + n - 1] : NULL;

    compare(x, FIELD_REQUESTS, a->known & KNOW_REQUESTS, a->requests, b->requests);
    compare(x, FIELD_REUSED, a->known & KNOW_REQUESTS, lifecycle_reused(a), lifecycle_reused(b));
    compare(x, FIELD_RESPONSES, a->known & KNOW_RESPONSES, a->responses, b->responses);
    if (last && last->status && x->c->status) compare(x, FIELD_STATUS, true, last->status, x->c->status);
    compare(x, FIELD_EARLY, true, x->a->evidence.early, x->b->evidence.early);
    compare(x, FIELD_CLOSE_BY, a->known & KNOW_CLOSE, a->close_by, b->close_by);
    compare(x, FIELD_CLOSE_HOW, a->known & KNOW_CLOSE, a->close_how, b->close_how);
    compare(x, FIELD_RST_SENT, a->known & KNOW_RST_SENT, a->rst_sent, b->rst_sent);
    if (!x->daemon) return;
    compare(x, FIELD_DAEMON_REQUESTS, a->known & KNOW_REQUESTS, a->requests, x->daemon->requests);
    compare(x, FIELD_DAEMON_RST, a->known & KNOW_RST_SENT, a->rst_sent, x->daemon->rst_received);
}

static enum verdict judge(const struct compared *x) {
    bool partial = x->p->gap != PLAN_WHOLE;

    for (uint32_t i = 0; i < x->out->n; i++)
        if (x->out->diff[i].cause == CAUSE_NONE) return partial ? VERDICT_PARTIAL : VERDICT_DIFFERENT;
    if (partial) return VERDICT_PARTIAL;
    return x->out->n ? VERDICT_EXPLAINED : VERDICT_SAME;
}

void outcomes_make(struct outcomes *v, const struct run *r, const struct daemon_ledger *daemon) {
    const struct plan *p = r->plan;

    v->conns = calloc(p->n_conns + (size_t)1, sizeof *v->conns);
    if (!v->conns) abort();
    for (uint32_t i = 0; i < p->n_conns; i++) {
        struct compared x = {r,
                             &p->conns[i],
                             &r->clients[i],
                             p->conns[i].record,
                             witness_record(&r->clients_seen, i),
                             daemon && daemon->lives[i].found ? &daemon->lives[i] : NULL,
                             &v->conns[i]};
        x.out->verdict = VERDICT_NOT_PLAYED;
        if (x.p->played && x.b) {
            compare_all(&x);
            x.out->trouble = (enum client_trouble)x.c->trouble;
            x.out->verdict = judge(&x);
        }
        v->count[x.out->verdict]++;
    }
}

void outcomes_free(struct outcomes *v) {
    free(v->conns);
    free(v->by_id);
    *v = (struct outcomes){0};
}

/* The findings of the capture beside those of its replay, kind by kind. */
#include "outcome.h"

#include <stdlib.h>

/* What an origin does wrong shows between proxy and origin; the proxy keeps it from its clients. */
static bool is_origins_doing(enum finding_kind k) {
    switch (k) {
    case FINDING_SERVER_DISABLES_KEEPALIVE:
    case FINDING_SERVER_LIMITS_REQUESTS:
    case FINDING_HTTP10_NO_KEEPALIVE:
    case FINDING_SERVER_CLOSES_IDLE:
    case FINDING_SERVER_RESETS_IDLE:
    case FINDING_STALE_REUSE_RACE:
    case FINDING_TRUNCATED_RESPONSE:
    case FINDING_EXCESS_RESPONSE_BYTES:
    case FINDING_UNSOLICITED_RESPONSE:
    case FINDING_EARLY_ERROR_RESPONSE:
        return true;
    default:
        return false;
    }
}

static const struct finding *find_kind(const struct diagnosis *r, enum finding_kind k, uint64_t *count) {
    const struct finding *fi, *first = NULL;

    *count = 0;
    for (size_t i = 0; (fi = findings_get(r->findings, i)); i++) {
        if (fi->kind != k) continue;
        if (!first) first = fi;
        *count += fi->count;
    }
    return first;
}

/* The outcome of a connection that a finding names, by the wire's number of it. */
static const struct conn_outcome *outcome_of(const struct outcomes *o, const struct run *r, bool captured, conn_id id,
                                             uint32_t *conn) {
    if (captured) {
        if (id >= o->n_by_id || o->by_id[id] == UINT32_MAX) return NULL;
        *conn = o->by_id[id];
    } else {
        if (id == 0 || id > r->clients_seen.n_begun) return NULL;
        *conn = r->clients_seen.ref_of[id - 1];
    }
    return &o->conns[*conn];
}

/* These are raised by how long something took, not by what was done. */
static bool is_of_time(enum finding_kind k) {
    switch (k) {
    case FINDING_BODY_NOT_CLOSED:
    case FINDING_TRANSPORT_PER_REQUEST:
    case FINDING_IDLE_CAP_CHURN:
    case FINDING_SLOW_READER:
    case FINDING_REQUEST_TIMEOUT:
    case FINDING_POOL_WAIT:
    case FINDING_DIAL_STORM:
    case FINDING_SERVER_CLOSES_IDLE:
    case FINDING_SERVER_RESETS_IDLE:
    case FINDING_STALE_REUSE_RACE:
        return true;
    default:
        return false;
    }
}

/* Its origin forbade reuse, and the proxy did not pass that on: what its client did then looks otherwise. */
static bool was_let_live(const struct run *r, uint32_t conn) {
    return r->plan->conns[conn].record->evidence.response_close && r->clients[conn].keeps_alive;
}

/* Are all connections that it names such that they could not do the same? */
static enum outcome_cause why_not(const struct outcomes *o, const struct run *r, const struct finding *fi,
                                  bool captured) {
    enum outcome_cause cause = CAUSE_NONE;

    for (unsigned i = 0; i < fi->n_ids; i++) {
        uint32_t conn = 0;
        const struct conn_outcome *c = outcome_of(o, r, captured, fi->ids[i], &conn);
        if (!c) return CAUSE_NONE;
        if (c->verdict == VERDICT_NOT_PLAYED || c->verdict == VERDICT_PARTIAL)
            cause = CAUSE_NOT_PLAYED;
        else if (c->verdict == VERDICT_EXPLAINED)
            cause = cause ? cause : (enum outcome_cause)c->diff[0].cause;
        else if (!captured && was_let_live(r, conn))
            cause = CAUSE_PROXY_KEPT;
        else
            return CAUSE_NONE;
    }
    return cause;
}

static void index_ids(struct outcomes *o, const struct run *r) {
    for (uint32_t i = 0; i < r->plan->n_conns; i++)
        if (r->plan->conns[i].record->life.id >= o->n_by_id)
            o->n_by_id = (uint32_t)r->plan->conns[i].record->life.id + 1;
    o->by_id = malloc((o->n_by_id + (size_t)1) * sizeof *o->by_id);
    if (!o->by_id) abort();
    for (uint32_t i = 0; i < o->n_by_id; i++) o->by_id[i] = UINT32_MAX;
    for (uint32_t i = 0; i < r->plan->n_conns; i++) o->by_id[r->plan->conns[i].record->life.id] = i;
}

void outcomes_findings(struct outcomes *o, const struct run *r, const struct diagnosis *captured) {
    index_ids(o, r);
    for (unsigned k = 0; k < N_FINDINGS; k++) {
        struct finding_outcome *f = &o->findings[k];
        const struct finding *a = find_kind(captured, (enum finding_kind)k, &f->captured),
                             *b = find_kind(&r->clients_seen.rules, (enum finding_kind)k, &f->clients);

        find_kind(&r->origins_seen.rules, (enum finding_kind)k, &f->origins);
        if (!is_origins_doing((enum finding_kind)k)) f->origins = 0;
        if (!a == !(f->clients || f->origins)) continue;
        if (!a && !b) { /* between proxy and origin alone */
            f->origins = 0;
            continue;
        }
        f->cause = (uint8_t)(a ? why_not(o, r, a, true) : why_not(o, r, b, false));
        if (k == FINDING_SERVER_LIMITS_REQUESTS && a && r->stub && stub_counts(r->stub).connections > 1)
            f->cause = CAUSE_POOLED;
        if (!f->cause && r->stub && r->options.speed > 0 && !r->options.pace && is_of_time((enum finding_kind)k))
            f->cause = CAUSE_NOT_PACED;
        f->differs = f->cause == CAUSE_NONE;
        o->findings_differ += f->differs;
    }
}

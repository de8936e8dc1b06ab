#include "report.h"

#include "core/human.h"

#include <inttypes.h>

#define DIFFERENT_MAX 50 /* connections that are listed; --json has all */

static void count(FILE *out, uint64_t n, const char *one, const char *many) {
    fprintf(out, "%" PRIu64 " %s", n, n == 1 ? one : many);
}

static void origins(FILE *out, const struct replay_report *r) {
    const struct plan *p = r->run->plan;

    if (!r->run->stub) return;
    for (uint32_t i = 0; i < p->n_origins && i < 10; i++)
        fprintf(out, "%-15s %s is played by %s\n", i ? "" : "origins", p->origins[i].authority,
                stub_authorities(r->run->stub)[i]);
    if (p->n_origins > 10) fprintf(out, "%-15s and %" PRIu32 " more\n", "", p->n_origins - 10);
}

static void played(FILE *out, const struct replay_report *r) {
    const struct plan *p = r->run->plan;
    const struct run *run = r->run;
    uint64_t requests = 0, answers = 0;
    uint32_t conns = 0;

    for (uint32_t i = 0; i < p->n_conns; i++) {
        conns += p->conns[i].played;
        answers += run->clients[i].answers;
        requests += p->conns[i].played ? p->conns[i].n_exchanges : 0;
    }
    fprintf(out, "%-15s ", "played");
    count(out, conns, "connection", "connections");
    fprintf(out, " of %" PRIu32 ", at most %" PRIu32 " at a time; ", p->n_conns, run->open_peak);
    count(out, requests, "request", "requests");
    fprintf(out, ", %" PRIu64 " answered whole\n", answers);
    fprintf(out, "%-15s %.3f s for %.3f s of the capture\n", "took", (double)r->took_ns / 1e9,
            (double)(p->end_ns - p->begin_ns) / 1e9);
    if (run->stub) {
        struct stub_counts n = stub_counts(run->stub);
        fprintf(out, "%-15s %" PRIu64 " requests over ", "at the origins", n.requests);
        count(out, n.connections, "connection", "connections");
        if (n.again) fprintf(out, ", %" PRIu64 " sent again by the proxy", n.again);
        if (n.strangers) fprintf(out, ", %" PRIu64 " that are not in the capture", n.strangers);
        fputs("\n", out);
    }
    if (r->daemon) {
        fprintf(out, "%-15s %" PRIu32 " of ", "the daemon has", r->daemon->found);
        count(out, conns, "connection", "connections");
        fputs(" in its ledger\n", out);
    }
    if (p->filled_in || p->filled_out) {
        fprintf(out, "%-15s %" PRIu64 " bytes of answers and %" PRIu64 " of requests that the capture lacks, in ",
                "filled in", p->filled_in, p->filled_out);
        count(out, p->n_filled, "message\n", "messages\n");
    }
}

static void gaps(FILE *out, const struct replay_report *r) {
    const struct plan *p = r->run->plan;

    for (unsigned g = PLAN_WHOLE + 1; g < N_PLAN_GAPS; g++) {
        if (!p->by_gap[g]) continue;
        fprintf(out, "%-15s ", "not all of");
        count(out, p->by_gap[g], "connection", "connections");
        fprintf(out, ": %s\n", plan_gap_text((enum plan_gap)g));
    }
}

static void one_conn(FILE *out, const struct replay_report *r, uint32_t i) {
    const struct conn_outcome *v = &r->outcomes->conns[i];
    const struct wire_record *rec = r->run->plan->conns[i].record;
    char local[ENDPOINT_TEXT_MAX], remote[ENDPOINT_TEXT_MAX], a[24], b[24];

    fprintf(out, "c-%" PRIu64 "  %s -> %s: %s\n", rec->life.id, endpoint_text(&rec->life.flow.local, local),
            endpoint_text(&rec->life.flow.remote, remote), verdict_name(v->verdict));
    for (uint32_t j = 0; j < v->n; j++) {
        const struct difference *d = &v->diff[j];
        fprintf(out, "      %-13s captured %s, replayed %s%s%s\n", outcome_field_name((enum outcome_field)d->field),
                outcome_value((enum outcome_field)d->field, d->captured, a),
                outcome_value((enum outcome_field)d->field, d->replayed, b), d->cause ? ": " : "",
                d->cause ? outcome_cause_text((enum outcome_cause)d->cause) : "");
    }
    if (v->trouble) fprintf(out, "      %s\n", client_trouble_text(v->trouble));
}

static void conns(FILE *out, const struct replay_report *r) {
    uint32_t listed = 0, left = 0;

    for (uint32_t i = 0; i < r->run->plan->n_conns; i++) {
        if (r->outcomes->conns[i].verdict != VERDICT_DIFFERENT) continue;
        if (listed++ < DIFFERENT_MAX)
            one_conn(out, r, i);
        else
            left++;
    }
    if (left) fprintf(out, "and %" PRIu32 " more that differ; --json lists them all\n", left);
}

static void explained(FILE *out, const struct replay_report *r) {
    uint32_t by_cause[N_CAUSES] = {0};

    for (uint32_t i = 0; i < r->run->plan->n_conns; i++) {
        const struct conn_outcome *v = &r->outcomes->conns[i];
        uint32_t seen = 0;
        for (uint32_t j = 0; j < v->n; j++)
            if (!(seen & 1u << v->diff[j].cause)) seen |= 1u << v->diff[j].cause, by_cause[v->diff[j].cause]++;
    }
    for (unsigned c = CAUSE_NONE + 1; c < N_CAUSES; c++)
        if (by_cause[c]) {
            fprintf(out, "%-15s ", "explained");
            count(out, by_cause[c], "connection", "connections");
            fprintf(out, ": %s\n", outcome_cause_text((enum outcome_cause)c));
        }
}

static void findings(FILE *out, const struct replay_report *r) {
    for (unsigned k = 0; k < N_FINDINGS; k++) {
        const struct finding_outcome *f = &r->outcomes->findings[k];
        if (!f->captured && !f->clients) continue;
        fprintf(out, "%-15s %-25s captured %" PRIu64 ", replayed %" PRIu64, f->differs ? "finding DIFFERS" : "finding",
                finding_name((enum finding_kind)k), f->captured, f->clients ? f->clients : f->origins);
        if (!f->clients && f->origins) fputs(" between proxy and origins", out);
        if (f->cause) fprintf(out, ": %s", outcome_cause_text((enum outcome_cause)f->cause));
        fputs("\n", out);
    }
}

void replay_text(FILE *out, const struct replay_report *r) {
    const uint32_t *n = r->outcomes->count;

    if (r->made_up)
        fprintf(out, "%-15s heads and bodies: the file is a workload, which has neither names nor content\n",
                "made up");
    origins(out, r);
    played(out, r);
    gaps(out, r);
    explained(out, r);
    findings(out, r);
    conns(out, r);
    count(out, r->run->plan->n_conns, "connection", "connections");
    fprintf(out,
            ": %" PRIu32 " same, %" PRIu32 " explained, %" PRIu32 " different, %" PRIu32 " in part, %" PRIu32
            " not played\n",
            n[VERDICT_SAME], n[VERDICT_EXPLAINED], n[VERDICT_DIFFERENT], n[VERDICT_PARTIAL], n[VERDICT_NOT_PLAYED]);
}

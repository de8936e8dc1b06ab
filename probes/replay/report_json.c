#include "report.h"

#include "record/conn_json.h"

static void put_value(struct json_out *o, enum outcome_field f, uint64_t value) {
    char buf[24];

    if (f == FIELD_EARLY || f == FIELD_CLOSE_BY || f == FIELD_CLOSE_HOW)
        jo_word(o, outcome_value(f, value, buf));
    else if (f == FIELD_RST_SENT || f == FIELD_DAEMON_RST)
        jo_bool(o, value != 0);
    else
        jo_u64(o, value);
}

static void put_daemon(struct json_out *o, const struct daemon_life *d) {
    if (!d || !d->found) {
        jo_null(o);
        return;
    }
    jo_object(o);
    JO_KEY(o, "requests");
    jo_u64(o, d->requests);
    JO_KEY(o, "early_closes");
    jo_u64(o, d->early_closes);
    JO_KEY(o, "rst_received");
    jo_bool(o, d->rst_received);
    JO_KEY(o, "closed");
    jo_bool(o, d->closed);
    jo_object_end(o);
}

static void put_conn(struct json_out *o, const struct replay_report *r, uint32_t i) {
    const struct plan_conn *p = &r->run->plan->conns[i];
    const struct conn_outcome *v = &r->outcomes->conns[i];
    const struct client *c = &r->run->clients[i];
    const struct wire_record *b = witness_record(&r->run->clients_seen, i);
    char text[ENDPOINT_TEXT_MAX], id[CONN_ID_TEXT_MAX];

    jo_object(o);
    JO_KEY(o, "id");
    jo_str(o, conn_id_text(SIDE_CLIENT, p->record->life.id, id));
    JO_KEY(o, "client");
    jo_str(o, endpoint_text(&p->record->life.flow.local, text));
    JO_KEY(o, "server");
    jo_str(o, endpoint_text(&p->record->life.flow.remote, text));
    JO_KEY(o, "verdict");
    jo_word(o, verdict_name(v->verdict));
    JO_KEY(o, "gap");
    jo_word(o, p->gap ? plan_gap_name((enum plan_gap)p->gap) : NULL);
    JO_KEY(o, "trouble");
    jo_str(o, v->trouble ? client_trouble_text(v->trouble) : NULL);
    JO_KEY(o, "played");
    if (p->played && b) {
        jo_object(o);
        JO_KEY(o, "requests");
        jo_u64(o, b->life.requests);
        JO_KEY(o, "responses");
        jo_u64(o, b->life.responses);
        JO_KEY(o, "answers");
        jo_u64(o, c->answers);
        JO_KEY(o, "early_close");
        jo_word(o, early_verdict_name((enum early_verdict)b->evidence.early));
        JO_KEY(o, "close_by");
        jo_word(o, close_by_name((enum close_by)b->life.close_by));
        JO_KEY(o, "close_how");
        jo_word(o, close_how_name((enum close_how)b->life.close_how));
        JO_KEY(o, "bytes_in");
        jo_u64(o, b->life.bytes_in);
        JO_KEY(o, "bytes_out");
        jo_u64(o, b->life.bytes_out);
        jo_object_end(o);
    } else {
        jo_null(o);
    }
    JO_KEY(o, "daemon");
    put_daemon(o, r->daemon ? &r->daemon->lives[i] : NULL);
    JO_KEY(o, "differences");
    jo_array(o);
    for (uint32_t j = 0; j < v->n; j++) {
        const struct difference *d = &v->diff[j];
        jo_object(o);
        JO_KEY(o, "field");
        jo_word(o, outcome_field_name((enum outcome_field)d->field));
        JO_KEY(o, "captured");
        put_value(o, (enum outcome_field)d->field, d->captured);
        JO_KEY(o, "replayed");
        put_value(o, (enum outcome_field)d->field, d->replayed);
        JO_KEY(o, "cause");
        jo_word(o, outcome_cause_name((enum outcome_cause)d->cause));
        jo_object_end(o);
    }
    jo_array_end(o);
    jo_object_end(o);
}

static void put_totals(struct json_out *o, const struct replay_report *r) {
    const struct plan *p = r->run->plan;
    const uint32_t *n = r->outcomes->count;

    jo_object(o);
    JO_KEY(o, "connections");
    jo_u64(o, p->n_conns);
    for (unsigned v = 0; v < N_VERDICTS; v++) {
        jo_key(o, verdict_name((enum verdict)v));
        jo_u64(o, n[v]);
    }
    JO_KEY(o, "open_peak");
    jo_u64(o, r->run->open_peak);
    JO_KEY(o, "bytes_in");
    jo_u64(o, r->run->bytes_in);
    JO_KEY(o, "bytes_out");
    jo_u64(o, r->run->bytes_out);
    JO_KEY(o, "filled_in");
    jo_u64(o, p->filled_in);
    JO_KEY(o, "filled_out");
    jo_u64(o, p->filled_out);
    JO_KEY(o, "not_all_played");
    jo_object(o);
    for (unsigned g = PLAN_WHOLE + 1; g < N_PLAN_GAPS; g++)
        if (p->by_gap[g]) {
            jo_key(o, plan_gap_name((enum plan_gap)g));
            jo_u64(o, p->by_gap[g]);
        }
    jo_object_end(o);
    jo_object_end(o);
}

static void put_origins(struct json_out *o, const struct replay_report *r) {
    const struct plan *p = r->run->plan;

    jo_array(o);
    for (uint32_t i = 0; i < p->n_origins; i++) {
        jo_object(o);
        JO_KEY(o, "host");
        jo_str(o, p->origins[i].authority);
        JO_KEY(o, "played_by");
        jo_str(o, r->run->stub ? stub_authorities(r->run->stub)[i] : p->origins[i].authority);
        JO_KEY(o, "requests");
        jo_u64(o, p->origins[i].n_exchanges);
        jo_object_end(o);
    }
    jo_array_end(o);
}

static void put_findings(struct json_out *o, const struct replay_report *r) {
    jo_array(o);
    for (unsigned k = 0; k < N_FINDINGS; k++) {
        const struct finding_outcome *f = &r->outcomes->findings[k];
        if (!f->captured && !f->clients) continue;
        jo_object(o);
        JO_KEY(o, "kind");
        jo_word(o, finding_name((enum finding_kind)k));
        JO_KEY(o, "captured");
        jo_u64(o, f->captured);
        JO_KEY(o, "at_clients");
        jo_u64(o, f->clients);
        JO_KEY(o, "at_origins");
        jo_u64(o, f->origins);
        JO_KEY(o, "differs");
        jo_bool(o, f->differs);
        JO_KEY(o, "cause");
        jo_word(o, outcome_cause_name((enum outcome_cause)f->cause));
        jo_object_end(o);
    }
    jo_array_end(o);
}

static void put_stub(struct json_out *o, const struct run *run) {
    struct stub_counts n;

    if (!run->stub) {
        jo_null(o);
        return;
    }
    n = stub_counts(run->stub);
    jo_object(o);
    JO_KEY(o, "connections");
    jo_u64(o, n.connections);
    JO_KEY(o, "requests");
    jo_u64(o, n.requests);
    JO_KEY(o, "sent_again");
    jo_u64(o, n.again);
    JO_KEY(o, "not_in_capture");
    jo_u64(o, n.strangers);
    jo_object_end(o);
}

void replay_json(FILE *out, const struct replay_report *r) {
    struct json_out o = {0};

    jo_object(&o);
    JO_KEY(&o, "schema");
    jo_str(&o, "connleak.replay/1");
    JO_KEY(&o, "file");
    jo_str(&o, r->file);
    JO_KEY(&o, "made_up");
    jo_bool(&o, r->made_up);
    JO_KEY(&o, "proxy");
    jo_str(&o, r->proxy);
    JO_KEY(&o, "origin");
    jo_word(&o, r->run->options.live ? "live" : "stub");
    JO_KEY(&o, "speed");
    if (r->run->options.speed > 0)
        jo_fixed(&o, (int64_t)(r->run->options.speed * 1000), 3);
    else
        jo_word(&o, "max");
    JO_KEY(&o, "captured_ms");
    jo_ms(&o, r->run->plan->end_ns - r->run->plan->begin_ns);
    JO_KEY(&o, "took_ms");
    jo_ms(&o, r->took_ns);
    JO_KEY(&o, "totals");
    put_totals(&o, r);
    JO_KEY(&o, "origins");
    put_origins(&o, r);
    JO_KEY(&o, "at_origins");
    put_stub(&o, r->run);
    JO_KEY(&o, "findings");
    put_findings(&o, r);
    JO_KEY(&o, "connections");
    jo_array(&o);
    for (uint32_t i = 0; i < r->run->plan->n_conns; i++) {
        put_conn(&o, r, i);
        if (o.len > 64u << 10) {
            fwrite(o.data, 1, o.len, out);
            o.len = 0;
        }
    }
    jo_array_end(&o);
    jo_object_end(&o);
    jo_line(&o);
    fwrite(o.data, 1, o.len, out);
    json_out_free(&o);
}

#include "report.h"

#include "record/conn_json.h"
#include "record/json_out.h"

/* What was formatted goes out in pieces, so that memory does not grow with the list. */
#define FLUSH_AT (256u << 10)
static void flush(FILE *out, struct json_out *o, size_t at) {
    if (o->len < at) return;
    fwrite(o->data, 1, o->len, out);
    o->len = 0;
}

static void key_u64(struct json_out *o, const char *name, uint64_t n) {
    jo_key(o, name);
    jo_u64(o, n);
}

static void put_endpoint(struct json_out *o, const struct endpoint *e) {
    char text[ENDPOINT_TEXT_MAX];

    jo_str(o, endpoint_text(e, text));
}

static void put_time(struct json_out *o, int64_t ns) {
    if (ns)
        jo_time(o, ns);
    else
        jo_null(o);
}

/* --- Sums -------------------------------------------------------------------------- */

static const char *const blind_names[N_JOIN_BLINDS] = {"start_outside", "end_outside", "gaps", "cut_packets",
                                                       "lost_packets"};

static void put_verdicts(struct json_out *o, const struct verdicts *x) {
    JO_KEY(o, "verdicts");
    jo_object(o);
    for (unsigned v = 0; v < N_JOIN_VERDICTS; v++) key_u64(o, join_verdict_name(v), x->counts[v]);
    jo_object_end(o);
    JO_KEY(o, "explained");
    jo_object(o);
    for (unsigned c = 1; c < N_JOIN_CAUSES; c++)
        if (x->causes[c]) key_u64(o, join_cause_name(c), x->causes[c]);
    jo_object_end(o);
    JO_KEY(o, "incomplete");
    jo_object(o);
    for (unsigned b = 0; b < N_JOIN_BLINDS; b++)
        if (x->blind[b]) key_u64(o, blind_names[b], x->blind[b]);
    jo_object_end(o);
}

static void put_fields(struct json_out *o, const struct verdicts *x) {
    JO_KEY(o, "fields");
    jo_object(o);
    for (unsigned f = 0; f < N_JOIN_FIELDS; f++) {
        jo_key(o, join_field_name(f));
        jo_object(o);
        key_u64(o, "compared", x->fields[f]);
        key_u64(o, "different", x->wrong[f]);
        key_u64(o, "explained", x->excused[f]);
        jo_object_end(o);
    }
    jo_object_end(o);
}

static void put_outside(struct json_out *o, const struct outside *out) {
    jo_object(o);
    for (unsigned a = JOIN_ABSENT_ENDPOINT; a < N_JOIN_ABSENCES; a++) key_u64(o, join_absence_name(a), out->n[a]);
    JO_KEY(o, "endpoints");
    jo_array(o);
    for (unsigned i = 0; i < out->n_endpoints; i++) {
        jo_object(o);
        JO_KEY(o, "at");
        put_endpoint(o, &out->endpoints[i].at);
        key_u64(o, "connections", out->endpoints[i].n);
        jo_object_end(o);
    }
    jo_array_end(o);
    jo_object_end(o);
}

static void put_resets(struct json_out *o, const struct verdicts *x) {
    JO_KEY(o, "resets");
    jo_object(o);
    for (int s = 0; s < N_SIDES; s++) {
        const struct reset_sums *r = &x->resets[s];

        if (s == SIDE_CLIENT && !r->claimed && !r->seen) continue;
        jo_key(o, side_name((enum side)s));
        jo_object(o);
        key_u64(o, "ledger", r->claimed);
        key_u64(o, "ledger_unread_bytes", r->claimed_bytes);
        key_u64(o, "capture", r->seen);
        key_u64(o, "capture_unread_bytes", r->seen_bytes);
        key_u64(o, "capture_after_fin", r->seen_after_fin);
        jo_object_end(o);
    }
    jo_object_end(o);
}

static void put_apart(struct json_out *o, const struct histogram *h) {
    jo_object(o);
    JO_KEY(o, "p50");
    jo_ms(o, (int64_t)histogram_quantile(h, 50));
    JO_KEY(o, "p99");
    jo_ms(o, (int64_t)histogram_quantile(h, 99));
    JO_KEY(o, "max");
    jo_ms(o, (int64_t)h->max);
    jo_object_end(o);
}

static void put_clock(struct json_out *o, const struct verdicts *x) {
    JO_KEY(o, "clock");
    jo_object(o);
    JO_KEY(o, "offset_ms");
    if (x->offset.n)
        jo_ms(o, x->offset.offset_ns);
    else
        jo_null(o);
    JO_KEY(o, "spread_ms");
    jo_ms(o, x->offset.spread_ns);
    key_u64(o, "pairs", x->offset.n);
    JO_KEY(o, "slack_ms");
    jo_ms(o, x->cover.clock.slack_ns);
    JO_KEY(o, "opened_apart_ms");
    put_apart(o, &x->opened_apart);
    JO_KEY(o, "closed_apart_ms");
    put_apart(o, &x->closed_apart);
    jo_object_end(o);
}

static void put_ledger(struct json_out *o, const struct report *r) {
    const struct claims *c = r->claims;

    JO_KEY(o, "ledger");
    jo_object(o);
    JO_KEY(o, "source");
    jo_str(o, r->ledger);
    key_u64(o, "records", c->n);
    key_u64(o, "without_addresses", c->no_tuple);
    JO_KEY(o, "first_at");
    put_time(o, c->first_ns);
    JO_KEY(o, "last_at");
    put_time(o, c->last_ns);
    JO_KEY(o, "cut");
    jo_bool(o, c->cut);
    jo_object_end(o);
}

static void put_captures(struct json_out *o, const struct report *r) {
    JO_KEY(o, "captures");
    jo_array(o);
    for (size_t i = 0; r->capture && i < capture_n_sources(r->capture); i++) {
        struct capture_source s;

        capture_source(r->capture, i, &s);
        jo_object(o);
        JO_KEY(o, "file");
        jo_str(o, s.path);
        key_u64(o, "packets", s.packets);
        key_u64(o, "bytes", s.bytes);
        JO_KEY(o, "first_at");
        put_time(o, s.first_ns);
        JO_KEY(o, "last_at");
        put_time(o, s.last_ns);
        JO_KEY(o, "link_type");
        jo_str(o, s.link_type >= 0 ? link_type_name(s.link_type) : NULL);
        JO_KEY(o, "dropped");
        if (s.dropped_known)
            jo_u64(o, s.dropped);
        else
            jo_null(o);
        JO_KEY(o, "faults");
        jo_array(o);
        if (*s.fault) jo_str(o, s.fault);
        jo_array_end(o);
        jo_object_end(o);
    }
    jo_array_end(o);
}

static void put_kernel(struct json_out *o, const struct report *r) {
    JO_KEY(o, "kernel");
    if (!r->kernel) {
        jo_null(o);
        return;
    }
    jo_object(o);
    JO_KEY(o, "file");
    jo_str(o, r->kernel);
    key_u64(o, "records", r->views->n);
    key_u64(o, "with_lost_events", r->lost);
    JO_KEY(o, "first_at");
    put_time(o, r->views->first_ns);
    JO_KEY(o, "last_at");
    put_time(o, r->views->last_ns);
    jo_object_end(o);
}

/* --- Connections --------------------------------------------------------------------- */

static void put_value(struct json_out *o, enum join_field field, uint64_t v) {
    if (v == UNKNOWN_BYTES) {
        jo_null(o);
        return;
    }
    switch (join_field_kind(field)) {
    case JOIN_KIND_TIME:
        jo_time(o, (int64_t)v);
        break;
    case JOIN_KIND_COUNT:
        jo_u64(o, v);
        break;
    case JOIN_KIND_FLAG:
        jo_bool(o, v != 0);
        break;
    case JOIN_KIND_BY:
        jo_str(o, close_by_name((enum close_by)v));
        break;
    case JOIN_KIND_HOW:
        jo_str(o, close_how_name((enum close_how)v));
        break;
    }
}

static void put_packet(struct json_out *o, uint64_t packet) {
    JO_KEY(o, "packet");
    if (packet)
        jo_u64(o, packet);
    else
        jo_null(o);
}

static void put_differences(struct json_out *o, const struct report *r, const struct checked *c) {
    struct join_result result;

    JO_KEY(o, "fields");
    jo_array(o);
    if (c->claim != NOBODY && c->view != NOBODY) {
        verdicts_compare(r->x, r->claims, r->views, c, &result);
        for (uint32_t i = 0; i < result.n; i++) {
            const struct join_difference *d = result.diff + i;

            jo_object(o);
            JO_KEY(o, "field");
            jo_str(o, join_field_name(d->field));
            JO_KEY(o, "ledger");
            put_value(o, d->field, d->ledger);
            JO_KEY(o, "capture");
            put_value(o, d->field, d->capture);
            put_packet(o, d->packet);
            JO_KEY(o, "cause");
            jo_str(o, d->cause ? join_cause_name(d->cause) : NULL);
            jo_object_end(o);
        }
    }
    jo_array_end(o);
}

static void put_ids(struct json_out *o, const struct report *r, const struct checked *c) {
    const struct join_life *claimed = c->claim != NOBODY ? r->claims->lives + c->claim : NULL;
    const struct join_life *viewed = c->view != NOBODY ? r->views->lives + c->view : NULL;
    const struct join_claim *l = claimed ? r->claims->claims + claimed->ref : NULL;
    char id[CONN_ID_TEXT_MAX];

    JO_KEY(o, "id");
    jo_str(o, l ? conn_id_text(l->side, l->id, id) : NULL);
    JO_KEY(o, "capture_id");
    jo_str(o, viewed ? conn_id_text(SIDE_CLIENT, r->views->views[viewed->ref].id, id) : NULL);
    JO_KEY(o, "client");
    put_endpoint(o, claimed ? &claimed->flow.local : &viewed->flow.local);
    JO_KEY(o, "server");
    put_endpoint(o, claimed ? &claimed->flow.remote : &viewed->flow.remote);
    JO_KEY(o, "opened_at");
    jo_time(o, c->at_ns);
    put_packet(o, viewed ? r->views->views[viewed->ref].first_packet : 0);
}

/* Why the capture cannot tell. */
static void put_blind(struct json_out *o, const struct report *r, const struct checked *c) {
    struct join_result result = {.blind = JOIN_BLIND_ALL};

    JO_KEY(o, "incomplete");
    if (c->verdict != JOIN_VERDICT_INCOMPLETE) {
        jo_null(o);
        return;
    }
    if (c->view != NOBODY) verdicts_compare(r->x, r->claims, r->views, c, &result);
    jo_array(o);
    for (unsigned b = 0; b < N_JOIN_BLINDS; b++)
        if (result.blind >> b & 1) jo_word(o, blind_names[b]);
    jo_array_end(o);
}

static void put_connections(FILE *out, struct json_out *o, const struct report *r) {
    JO_KEY(o, "connections");
    jo_array(o);
    for (size_t i = 0; i < r->x->n; i++) {
        const struct checked *c = r->x->list + i;

        jo_object(o);
        JO_KEY(o, "verdict");
        jo_str(o, join_verdict_name(c->verdict));
        put_blind(o, r, c);
        put_ids(o, r, c);
        put_differences(o, r, c);
        jo_object_end(o);
        flush(out, o, FLUSH_AT);
    }
    jo_array_end(o);
}

void report_json(FILE *out, const struct report *r) {
    struct json_out o = {0};
    char summary[REPORT_SUMMARY_MAX];

    jo_object(&o);
    JO_KEY(&o, "schema");
    jo_str(&o, "connleak.crosscheck/1");
    JO_KEY(&o, "witness");
    jo_word(&o, r->kernel ? "kernel" : "capture");
    JO_KEY(&o, "summary");
    jo_str(&o, report_summary(r, summary));
    JO_KEY(&o, "agree");
    jo_bool(&o, !verdicts_wrong(r->x));
    key_u64(&o, "compared", r->x->connections);
    put_verdicts(&o, r->x);
    put_fields(&o, r->x);
    put_resets(&o, r->x);
    JO_KEY(&o, "not_compared");
    jo_object(&o);
    JO_KEY(&o, "only_in_ledger");
    put_outside(&o, &r->x->outside_capture);
    JO_KEY(&o, "only_in_capture");
    put_outside(&o, &r->x->outside_ledger);
    jo_object_end(&o);
    key_u64(&o, "packets_lost", r->lost);
    JO_KEY(&o, "packets_lost_counted");
    jo_bool(&o, r->lost_counted);
    put_clock(&o, r->x);
    put_ledger(&o, r);
    put_captures(&o, r);
    put_kernel(&o, r);
    put_connections(out, &o, r);
    jo_object_end(&o);
    jo_line(&o);
    flush(out, &o, 0);
    json_out_free(&o);
}

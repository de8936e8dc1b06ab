#include "witness.h"

#include "capture/facts.h"

#include <stdlib.h>
#include <string.h>

#define SCALE       8
#define WINDOW_ELSE (4u << 20)

/* ---- rules ---- */

void diagnosis_begin(struct diagnosis *r) {
    struct findings_conf conf = FINDINGS_CONF_DEFAULT;

    conf.observer = OBSERVER_CAPTURE;
    conf.forward = false;
    conf.leak_after_ns = CAPTURE_LEAK_AFTER;
    *r = (struct diagnosis){.findings = findings_new(&conf)};
}

void diagnosis_events(struct diagnosis *r, struct wire *w) {
    const struct wire_event *e;

    while ((e = wire_next_event(w))) {
        facts_event(r->findings, e);
        if (e->at_ns - r->ticked_ns < SEC(1)) continue;
        r->ticked_ns = e->at_ns;
        findings_tick(r->findings, e->at_ns);
    }
}

void diagnosis_record(struct diagnosis *r, const struct wire_record *rec) {
    facts_record(r->findings, rec);
}

void diagnosis_end(struct diagnosis *r, int64_t now_ns) {
    findings_end(r->findings, now_ns);
}

void diagnosis_free(struct diagnosis *r) {
    findings_free(&r->findings);
}

/* ---- the witness ---- */

void witness_begin(struct witness *w, size_t transcript_bytes) {
    struct wire_limits limits = WIRE_LIMITS_DEFAULT;

    limits.lingering = 0; /* nothing comes late here */
    limits.events = true;
    limits.transcript_bytes = transcript_bytes;
    *w = (struct witness){.wire = wire_new(&limits)};
    diagnosis_begin(&w->rules);
}

void witness_free(struct witness *w) {
    for (uint32_t i = 0; i < w->n_records; i++) wire_record_free(&w->records[i]);
    free(w->records);
    free(w->ref_of);
    wire_free(&w->wire);
    diagnosis_free(&w->rules);
    *w = (struct witness){0};
}

static void keep_record(struct witness *w, struct wire_record *r) {
    uint32_t ref = r->life.id <= w->n_begun ? w->ref_of[r->life.id - 1] : w->n_records;

    diagnosis_record(&w->rules, r);
    if (ref >= w->n_records || w->records[ref])
        wire_record_free(&r);
    else
        w->records[ref] = r;
}

static void take(struct witness *w) {
    struct wire_record *r;

    diagnosis_events(&w->rules, w->wire);
    while ((r = wire_next(w->wire))) keep_record(w, r);
}

static void say(struct witness *w, struct told *t, bool by_client, uint8_t flags, const uint8_t *data, size_t len,
                uint64_t unread, int64_t at_ns) {
    uint64_t window = t->window > unread ? t->window - unread : 0;

    if (at_ns > t->last_ns) t->last_ns = at_ns;
    struct wire_segment s = {
        .at_ns = t->last_ns,
        .packet = ++w->n_segments,
        .src = by_client ? t->flow.local : t->flow.remote,
        .dst = by_client ? t->flow.remote : t->flow.local,
        .payload = data,
        .captured = data ? (uint32_t)len : 0,
        .len = (uint32_t)len,
        .seq = t->isn + (uint32_t)(by_client ? t->out : t->in) + (flags & TCP_SYN ? 0 : 1),
        .ack = flags & TCP_ACK ? t->isn + (uint32_t)(by_client ? t->in + t->fin_in : t->out) + 1 : 0,
        .window = (uint16_t)(flags & TCP_SYN ? (window < 65535 ? window : 65535) : window >> SCALE),
        .flags = flags,
        .window_scale = flags & TCP_SYN ? SCALE : WIRE_NO_SCALE,
        .ident = (uint32_t)w->n_segments << 16 | 1,
    };
    wire_feed(w->wire, &s);
    if (by_client)
        t->out += len;
    else
        t->in += len;
}

void witness_open(struct witness *w, struct told *t, const struct flow_key *flow, uint32_t ref, uint32_t window,
                  int64_t at_ns) {
    if (w->n_begun == w->ids_room) {
        w->ids_room = w->ids_room ? w->ids_room * 2 : 64;
        w->ref_of = realloc(w->ref_of, w->ids_room * sizeof *w->ref_of);
        if (!w->ref_of) abort();
    }
    if (ref >= w->n_records) {
        uint32_t n = ref < 64 ? 64 : ref * 2;
        w->records = realloc(w->records, n * sizeof *w->records);
        if (!w->records) abort();
        memset(w->records + w->n_records, 0, (n - w->n_records) * sizeof *w->records);
        w->n_records = n;
    }
    w->ref_of[w->n_begun++] = ref;
    *t = (struct told){.flow = *flow,
                       .last_ns = at_ns,
                       .isn = w->n_begun * 0x9e3779b1u,
                       .window = window ? window : WINDOW_ELSE,
                       .ref = ref,
                       .open = true};
    say(w, t, true, TCP_SYN, NULL, 0, 0, at_ns);
    take(w);
}

void witness_accepted(struct witness *w, struct told *t, int64_t at_ns) {
    if (!t->open) return;
    say(w, t, false, TCP_SYN | TCP_ACK, NULL, 0, 0, at_ns);
    say(w, t, true, TCP_ACK, NULL, 0, 0, at_ns);
}

void witness_data(struct witness *w, struct told *t, bool by_client, const uint8_t *data, size_t len, uint64_t unread,
                  int64_t at_ns) {
    if (!t->open || len == 0) return;
    say(w, t, by_client, TCP_ACK | TCP_PSH, data, len, 0, at_ns);
    say(w, t, !by_client, TCP_ACK, NULL, 0, by_client ? 0 : unread, at_ns);
}

void witness_ended(struct witness *w, struct told *t, bool by_client, bool reset, int64_t at_ns) {
    if (!t->open) return;
    say(w, t, by_client, (uint8_t)(TCP_ACK | (reset ? TCP_RST : TCP_FIN)), NULL, 0, 0, at_ns);
    if (by_client || reset) {
        t->open = false;
        return;
    }
    t->fin_in = true;
    say(w, t, true, TCP_ACK, NULL, 0, 0, at_ns);
}

void witness_abandoned(struct witness *w, struct told *t, int64_t at_ns) {
    if (!t->open) return;
    say(w, t, true, TCP_ACK | TCP_FIN, NULL, 0, 0, at_ns);
    t->out++; /* the FIN has a number, and the RST comes behind it */
    say(w, t, true, TCP_ACK | TCP_RST, NULL, 0, 0, at_ns);
    t->open = false;
}

void witness_finish(struct witness *w, int64_t now_ns) {
    take(w);
    wire_finish(w->wire);
    take(w);
    diagnosis_end(&w->rules, now_ns);
}

struct wire_record *witness_take(struct witness *w, uint32_t ref) {
    struct wire_record *r = ref < w->n_records ? w->records[ref] : NULL;

    if (r) w->records[ref] = NULL;
    return r;
}

const struct wire_record *witness_record(const struct witness *w, uint32_t ref) {
    return ref < w->n_records ? w->records[ref] : NULL;
}

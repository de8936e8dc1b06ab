#include "capture/facts.h"

#include <assert.h>

static_assert((int)FACT_EARLY_NO == EARLY_NO && (int)FACT_EARLY_IN_BODY == EARLY_IN_BODY &&
                  (int)FACT_EARLY_FIN_AFTER == EARLY_FIN_AFTER_COMPLETE &&
                  (int)FACT_EARLY_RST_AFTER == EARLY_RST_AFTER_COMPLETE &&
                  (int)FACT_EARLY_NO_RESPONSE == EARLY_NO_RESPONSE && (int)FACT_EARLY_OPEN == EARLY_OPEN &&
                  (int)FACT_EARLY_UNKNOWN == EARLY_UNKNOWN,
              "the same rows");
static_assert((int)FACT_RST_UNREAD == RST_CAUSE_UNREAD_AT_CLOSE &&
                  (int)FACT_RST_AFTER_CLOSE == RST_CAUSE_DATA_AFTER_CLOSE &&
                  (int)FACT_RST_REFUSED == RST_CAUSE_REFUSED && (int)FACT_RST_ABORT == RST_CAUSE_ABORT,
              "the same rows");

static const uint8_t kinds[] = {
    [WIRE_OPENED] = FACT_OPENED,   [WIRE_REQUEST] = FACT_REQUEST, [WIRE_RESPONSE] = FACT_RESPONSE,
    [WIRE_DONE] = FACT_DONE,       [WIRE_OPAQUE] = FACT_OPAQUE,   [WIRE_BLOCKED] = FACT_BLOCKED,
    [WIRE_FLOWING] = FACT_FLOWING, [WIRE_ENDING] = FACT_ENDING,
};

void facts_event(struct findings *f, const struct wire_event *e) {
    struct fact fact = {
        .at_ns = e->at_ns,
        .conn = e->conn,
        .kind = kinds[e->kind],
        .side = SIDE_CLIENT,
        .flags = (uint8_t)((e->no_reuse ? FACT_NO_REUSE : 0) | (e->http10 ? FACT_HTTP10 : 0) |
                           (e->proxied ? FACT_PROXIED : 0) | (e->bodyless ? FACT_BODYLESS : 0)),
        .framing = e->framing,
        .by = e->by_client ? BY_LOCAL : BY_REMOTE,
        .how = e->how,
        .status = e->status,
        .bytes = e->bytes,
        .peer = e->client,
        .server = e->server,
        .method = e->method,
        .host = e->host,
        .user_agent = e->user_agent,
    };
    findings_fact(f, &fact);
}

/* TLS 1.3: ClientHello, ChangeCipherSpec, Finished. Older: ClientHello, ClientKeyExchange, ChangeCipherSpec, Finished.
 */
static uint32_t tls_sent(const struct wire_tls *t) {
    if (!t || !t->version) return UINT32_MAX;
    uint64_t handshake = t->version >= 0x0304 ? 3 : 4, others = handshake + (t->alert[0] ? 1 : 0);
    return t->records[0] <= others ? 0 : (uint32_t)(t->records[0] - others);
}

void facts_record(struct findings *f, const struct wire_record *r) {
    const struct lifecycle *l = &r->life;
    const struct wire_evidence *e = &r->evidence;
    int64_t data =
        e->local.last_payload_ns > e->remote.last_payload_ns ? e->local.last_payload_ns : e->remote.last_payload_ns;
    struct fact_end end = {
        .last_data_ns = data,
        .received_bytes = e->acked_bytes,
        .unread_bytes = l->known & KNOW_UNREAD ? l->unread_bytes : UNKNOWN_BYTES,
        .unread_if_read_4096 = e->unread_if_read_4096,
        .body_announced = l->body_announced,
        .body_read = e->body_bytes,
        .excess_bytes = e->excess_bytes,
        .rst_packet = l->rst_sent ? e->rst_packet : 0,
        .zero_window_ns = e->local.zero_window_ns,
        .requests = l->requests,
        .tls_sent = tls_sent(e->tls),
        .counts_known = l->known & KNOW_REQUESTS,
        .local_rst = l->rst_sent,
        .stood = e->established || e->local.payload_packets || e->remote.payload_packets,
        .tls = e->protocol == PROTO_TLS,
        .excess_is_response = e->excess_is_response,
        .unread_upload = e->upload_cut && l->responses == l->requests && l->close_by == BY_REMOTE,
        .by = l->known & KNOW_CLOSE ? l->close_by : BY_NONE,
        .how = l->close_how,
        .phase = l->known & KNOW_PHASE ? l->close_phase : PHASE_NONE,
        .framing = l->body_framing,
        .early = e->early,
        .rst = e->rst_cause,
        .rst_likely = e->rst_cause_likely,
    };
    struct fact fact = {.at_ns = l->closed_ns ? l->closed_ns : e->last_ns,
                        .conn = l->id,
                        .kind = FACT_CLOSED,
                        .side = SIDE_CLIENT,
                        .peer = l->flow.local,
                        .server = l->flow.remote,
                        .host = e->host,
                        .user_agent = e->user_agent,
                        .end = &end};
    findings_fact(f, &fact);
}

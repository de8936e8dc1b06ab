#include "capture/evidence_json.h"

static void put_packet(struct json_out *o, uint64_t packet) {
    if (packet)
        jo_u64(o, packet);
    else
        jo_null(o);
}

static void put_known(struct json_out *o, uint64_t n) {
    if (n == UNKNOWN_BYTES)
        jo_null(o);
    else
        jo_u64(o, n);
}

static void put_time(struct json_out *o, int64_t ns, const struct conn_json *how) {
    if (ns)
        jo_time(o, ns + how->to_wall_ns);
    else
        jo_null(o);
}

static void put_text(struct json_out *o, const char *text) {
    jo_str(o, text && *text ? text : NULL);
}

static void put_incomplete(struct json_out *o, uint32_t bits) {
    if (!bits) {
        jo_null(o);
        return;
    }
    jo_array(o);
    for (uint32_t bit = 1; bit && bit <= bits; bit <<= 1)
        if (bits & bit) jo_str(o, wire_incomplete_name(bit));
    jo_array_end(o);
}

static void put_end(struct json_out *o, const struct wire_end *e) {
    jo_object(o);
    JO_KEY(o, "packets");
    jo_u64(o, e->packets);
    JO_KEY(o, "bytes");
    jo_u64(o, e->bytes);
    JO_KEY(o, "acked_bytes");
    jo_u64(o, e->acked_bytes);
    JO_KEY(o, "gap_bytes");
    jo_u64(o, e->gap_bytes);
    JO_KEY(o, "retransmits");
    jo_u64(o, e->retransmits);
    JO_KEY(o, "duplicates");
    jo_u64(o, e->duplicates);
    JO_KEY(o, "out_of_order");
    jo_u64(o, e->out_of_order);
    JO_KEY(o, "overlap_conflicts");
    jo_u64(o, e->overlap_conflicts);
    JO_KEY(o, "keepalives");
    jo_u64(o, e->keepalives);
    JO_KEY(o, "zero_windows");
    jo_u64(o, e->zero_windows);
    JO_KEY(o, "zero_window_ms");
    jo_ms(o, e->zero_window_ns);
    JO_KEY(o, "fin_packet");
    put_packet(o, e->fin_packet);
    JO_KEY(o, "rst_packet");
    put_packet(o, e->rst_packet);
    JO_KEY(o, "rsts");
    jo_u64(o, e->rsts);
    JO_KEY(o, "invalid_rsts");
    jo_u64(o, e->bad_rsts);
    JO_KEY(o, "last_payload_packet");
    put_packet(o, e->last_payload_packet);
    jo_object_end(o);
}

static void put_tls_version(struct json_out *o, uint16_t v) {
    if (v >= 0x0301 && v <= 0x0304) {
        char text[] = "TLSv1.x";
        text[6] = (char)('0' + (v - 0x0301));
        jo_str(o, text);
    } else if (v == 0x0300) {
        jo_str(o, "SSLv3");
    } else {
        jo_null(o);
    }
}

static void put_alert(struct json_out *o, uint8_t alert) {
    jo_str(o, alert == 1 ? "alert" : alert == 2 ? "alert_by_size" : NULL);
}

static void put_tls(struct json_out *o, const struct wire_tls *t) {
    if (!t) {
        jo_null(o);
        return;
    }
    jo_object(o);
    JO_KEY(o, "version");
    put_tls_version(o, t->version);
    JO_KEY(o, "offered");
    put_tls_version(o, t->offered);
    JO_KEY(o, "cipher_id");
    if (t->cipher)
        jo_u64(o, t->cipher);
    else
        jo_null(o);
    JO_KEY(o, "sni");
    put_text(o, t->sni);
    JO_KEY(o, "alpn");
    put_text(o, t->alpn);
    JO_KEY(o, "alpn_offered");
    put_text(o, t->alpn_offered);
    JO_KEY(o, "records_out");
    jo_u64(o, t->records[0]);
    JO_KEY(o, "records_in");
    jo_u64(o, t->records[1]);
    JO_KEY(o, "record_bytes_out");
    jo_u64(o, t->record_bytes[0]);
    JO_KEY(o, "record_bytes_in");
    jo_u64(o, t->record_bytes[1]);
    JO_KEY(o, "last_record_out");
    put_alert(o, t->alert[0]);
    JO_KEY(o, "last_record_in");
    put_alert(o, t->alert[1]);
    jo_object_end(o);
}

static void put_exchange(struct json_out *o, const struct wire_exchange *x, const struct conn_json *how) {
    jo_object(o);
    JO_KEY(o, "method");
    put_text(o, x->method);
    JO_KEY(o, "status");
    put_packet(o, x->status);
    JO_KEY(o, "framing");
    jo_str(o, x->status ? body_framing_name(x->framing) : NULL);
    JO_KEY(o, "announced");
    put_known(o, x->body_announced);
    JO_KEY(o, "body");
    jo_u64(o, x->body_bytes);
    JO_KEY(o, "complete");
    jo_bool(o, x->complete);
    JO_KEY(o, "request_at");
    put_time(o, x->request_ns, how);
    JO_KEY(o, "response_at");
    put_time(o, x->response_ns, how);
    JO_KEY(o, "done_at");
    put_time(o, x->done_ns, how);
    JO_KEY(o, "request_packet");
    put_packet(o, x->request_packet);
    JO_KEY(o, "response_packet");
    put_packet(o, x->response_packet);
    jo_object_end(o);
}

static void put_packets(struct json_out *o, const struct wire_evidence *e) {
    JO_KEY(o, "first_packet");
    put_packet(o, e->first_packet);
    JO_KEY(o, "last_packet");
    put_packet(o, e->last_packet);
    JO_KEY(o, "syn_packet");
    put_packet(o, e->syn_packet);
    JO_KEY(o, "first_request_packet");
    put_packet(o, e->first_request_packet);
    JO_KEY(o, "last_request_packet");
    put_packet(o, e->last_request_packet);
    JO_KEY(o, "last_response_packet");
    put_packet(o, e->last_response_packet);
    JO_KEY(o, "close_packet");
    put_packet(o, e->close_packet);
    JO_KEY(o, "rst_packet");
    put_packet(o, e->rst_packet);
}

static void put_reset(struct json_out *o, const struct wire_evidence *e) {
    JO_KEY(o, "acked_bytes");
    jo_u64(o, e->acked_bytes);
    JO_KEY(o, "rst_cause");
    jo_str(o, rst_cause_name(e->rst_cause));
    JO_KEY(o, "rst_cause_likely");
    jo_str(o, rst_cause_name(e->rst_cause_likely));
    JO_KEY(o, "unread_if_read_4096");
    put_known(o, e->unread_if_read_4096);
    JO_KEY(o, "unread_by_window_guess");
    put_known(o, e->local.unread_by_window);
    JO_KEY(o, "early_close");
    jo_str(o, early_verdict_name(e->early));
}

static void put_messages(struct json_out *o, const struct wire_evidence *e, const struct conn_json *how) {
    JO_KEY(o, "protocol");
    jo_str(o, wire_protocol_name(e->protocol));
    JO_KEY(o, "established");
    jo_bool(o, e->established);
    JO_KEY(o, "roles_by");
    jo_str(o, wire_roles_name(e->roles));
    JO_KEY(o, "requests_seen");
    jo_u64(o, e->requests_seen);
    JO_KEY(o, "responses_seen");
    jo_u64(o, e->responses_seen);
    JO_KEY(o, "pipelined");
    jo_u64(o, e->pipelined);
    JO_KEY(o, "excess_bytes");
    jo_u64(o, e->excess_bytes);
    JO_KEY(o, "tunnel");
    jo_bool(o, e->tunnelled);
    JO_KEY(o, "proxy_form");
    jo_bool(o, e->proxy_form);
    JO_KEY(o, "request_close");
    jo_bool(o, e->request_close);
    JO_KEY(o, "response_close");
    jo_bool(o, e->response_close);
    JO_KEY(o, "user_agent");
    put_text(o, e->user_agent);
    JO_KEY(o, "last_done_at");
    put_time(o, e->last_done_ns, how);
}

void evidence_json(struct json_out *o, const struct lifecycle *l, void *how) {
    const struct wire_evidence *e = l->evidence;

    jo_object(o);
    put_packets(o, e);
    put_reset(o, e);
    JO_KEY(o, "zero_window_ms");
    jo_ms(o, e->local.zero_window_ns);
    JO_KEY(o, "retransmits");
    jo_u64(o, (uint64_t)e->local.retransmits + e->remote.retransmits);
    JO_KEY(o, "gaps");
    jo_u64(o, (uint64_t)e->local.gaps + e->remote.gaps);
    JO_KEY(o, "gap_bytes");
    jo_u64(o, e->local.gap_bytes + e->remote.gap_bytes);
    JO_KEY(o, "incomplete");
    put_incomplete(o, e->incomplete);
    JO_KEY(o, "conn_state");
    jo_str(o, e->conn_state);
    JO_KEY(o, "history");
    jo_str(o, e->history);
    put_messages(o, e, how);
    JO_KEY(o, "first_at");
    put_time(o, e->first_ns, how);
    JO_KEY(o, "last_at");
    put_time(o, e->last_ns, how);
    JO_KEY(o, "local");
    put_end(o, &e->local);
    JO_KEY(o, "remote");
    put_end(o, &e->remote);
    JO_KEY(o, "tls");
    put_tls(o, e->tls);
    JO_KEY(o, "exchanges");
    jo_array(o);
    for (uint32_t i = 0; i < e->n_exchanges; i++) put_exchange(o, &e->exchanges[i], how);
    jo_array_end(o);
    jo_object_end(o);
}

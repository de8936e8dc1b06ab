#include "capture/evidence_json.h"

/* A key and its value where there is something to say. */
#define PUT_COUNT(o, name, n)                                                                                          \
    do {                                                                                                               \
        uint64_t n_ = (n);                                                                                             \
        if (n_) {                                                                                                      \
            JO_KEY(o, name);                                                                                           \
            jo_u64(o, n_);                                                                                             \
        }                                                                                                              \
    } while (0)
#define PUT_FLAG(o, name, flag)                                                                                        \
    do {                                                                                                               \
        if (flag) {                                                                                                    \
            JO_KEY(o, name);                                                                                           \
            jo_bool(o, true);                                                                                          \
        }                                                                                                              \
    } while (0)
#define PUT_TEXT(o, name, text)                                                                                        \
    do {                                                                                                               \
        const char *text_ = (text);                                                                                    \
        if (text_ && *text_) {                                                                                         \
            JO_KEY(o, name);                                                                                           \
            jo_str(o, text_);                                                                                          \
        }                                                                                                              \
    } while (0)

static void put_packet(struct json_out *o, uint64_t packet) {
    if (packet)
        jo_u64(o, packet);
    else
        jo_null(o);
}

static void put_incomplete(struct json_out *o, uint32_t bits) {
    if (!bits) {
        jo_null(o);
        return;
    }
    jo_array(o);
    for (uint32_t bit = 1; bit && bit <= bits; bit <<= 1)
        if (bits & bit) jo_word(o, wire_incomplete_name(bit));
    jo_array_end(o);
}

static void put_end(struct json_out *o, const struct wire_end *e) {
    jo_object(o);
    JO_KEY(o, "packets");
    jo_u64(o, e->packets);
    JO_KEY(o, "bytes");
    jo_u64(o, e->bytes);
    if (e->acked_bytes != e->bytes) {
        JO_KEY(o, "acked_bytes");
        jo_u64(o, e->acked_bytes);
    }
    PUT_COUNT(o, "gap_bytes", e->gap_bytes);
    PUT_COUNT(o, "retransmits", e->retransmits);
    PUT_COUNT(o, "duplicates", e->duplicates);
    PUT_COUNT(o, "out_of_order", e->out_of_order);
    PUT_COUNT(o, "overlap_conflicts", e->overlap_conflicts);
    PUT_COUNT(o, "keepalives", e->keepalives);
    if (e->zero_windows) {
        JO_KEY(o, "zero_windows");
        jo_u64(o, e->zero_windows);
        JO_KEY(o, "zero_window_ms");
        jo_ms(o, e->zero_window_ns);
    }
    PUT_COUNT(o, "fin_packet", e->fin_packet);
    PUT_COUNT(o, "rst_packet", e->rst_packet);
    if (e->rsts > 1) PUT_COUNT(o, "rsts", e->rsts);
    PUT_COUNT(o, "invalid_rsts", e->bad_rsts);
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

static const char *alert_name(enum wire_alert alert) {
    switch (alert) {
    case ALERT_NONE:
        return NULL;
    case ALERT_CLOSE:
        return "close_notify";
    case ALERT_ERROR:
        return "error";
    case ALERT_SEALED:
    case ALERT_CUT:
        return "alert";
    case ALERT_BY_SIZE:
        return "alert_by_size";
    }
    return NULL;
}

static void put_tls(struct json_out *o, const struct wire_tls *t) {
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
    jo_str(o, t->sni[0] ? t->sni : NULL);
    JO_KEY(o, "alpn");
    jo_str(o, t->alpn[0] ? t->alpn : NULL);
    JO_KEY(o, "alpn_offered");
    jo_str(o, t->alpn_offered[0] ? t->alpn_offered : NULL);
    JO_KEY(o, "records_out");
    jo_u64(o, t->records[0]);
    JO_KEY(o, "records_in");
    jo_u64(o, t->records[1]);
    JO_KEY(o, "record_bytes_out");
    jo_u64(o, t->record_bytes[0]);
    JO_KEY(o, "record_bytes_in");
    jo_u64(o, t->record_bytes[1]);
    JO_KEY(o, "last_record_out");
    jo_str(o, alert_name(t->alert[0]));
    JO_KEY(o, "last_record_in");
    jo_str(o, alert_name(t->alert[1]));
    PUT_COUNT(o, "error_out", t->error[0]);
    PUT_COUNT(o, "error_in", t->error[1]);
    jo_object_end(o);
}

/* Times in milliseconds since the connection's first packet. */
static void put_since(struct json_out *o, int64_t ns, int64_t first_ns) {
    if (ns)
        jo_ms(o, ns > first_ns ? ns - first_ns : 0);
    else
        jo_null(o);
}

static void put_exchange(struct json_out *o, const struct wire_exchange *x, int64_t first_ns) {
    jo_object(o);
    JO_KEY(o, "method");
    jo_str(o, x->method[0] ? x->method : NULL);
    JO_KEY(o, "status");
    put_packet(o, x->status);
    if (x->status) {
        JO_KEY(o, "framing");
        jo_word(o, body_framing_name(x->framing));
        JO_KEY(o, "announced");
        if (x->body_announced == UNKNOWN_BYTES)
            jo_null(o);
        else
            jo_u64(o, x->body_announced);
        JO_KEY(o, "body");
        jo_u64(o, x->body_bytes);
    }
    JO_KEY(o, "complete");
    jo_bool(o, x->complete);
    JO_KEY(o, "request_ms");
    put_since(o, x->request_ns, first_ns);
    JO_KEY(o, "response_ms");
    put_since(o, x->response_ns, first_ns);
    JO_KEY(o, "done_ms");
    put_since(o, x->done_ns, first_ns);
    JO_KEY(o, "request_packet");
    put_packet(o, x->request_packet);
    JO_KEY(o, "response_packet");
    put_packet(o, x->response_packet);
    jo_object_end(o);
}

static void put_packets(struct json_out *o, const struct wire_evidence *e) {
    JO_KEY(o, "first_packet");
    jo_u64(o, e->first_packet);
    JO_KEY(o, "last_packet");
    jo_u64(o, e->last_packet);
    PUT_COUNT(o, "syn_packet", e->syn_packet);
    PUT_COUNT(o, "last_request_packet", e->last_request_packet);
    PUT_COUNT(o, "last_response_packet", e->last_response_packet);
    JO_KEY(o, "close_packet");
    put_packet(o, e->close_packet);
    JO_KEY(o, "rst_packet");
    put_packet(o, e->rst_packet);
}

static void put_reset(struct json_out *o, const struct wire_evidence *e) {
    JO_KEY(o, "acked_bytes");
    jo_u64(o, e->acked_bytes);
    JO_KEY(o, "rst_cause");
    jo_word(o, rst_cause_name(e->rst_cause));
    if (e->rst_packet) {
        JO_KEY(o, "rst_cause_likely");
        jo_word(o, rst_cause_name(e->rst_cause_likely));
        if (e->unread_if_read_4096 != UNKNOWN_BYTES) PUT_COUNT(o, "unread_if_read_4096", e->unread_if_read_4096);
    }
    if (e->local.unread_by_window != UNKNOWN_BYTES) PUT_COUNT(o, "unread_by_window_guess", e->local.unread_by_window);
    JO_KEY(o, "early_close");
    jo_word(o, early_verdict_name(e->early));
}

static void put_messages(struct json_out *o, const struct wire_evidence *e) {
    PUT_TEXT(o, "protocol", wire_protocol_name(e->protocol));
    PUT_FLAG(o, "established", e->established);
    if (e->roles != ROLES_HANDSHAKE) PUT_TEXT(o, "roles_by", wire_roles_name(e->roles));
    JO_KEY(o, "requests_seen");
    jo_u64(o, e->requests_seen);
    JO_KEY(o, "responses_seen");
    jo_u64(o, e->responses_seen);
    PUT_COUNT(o, "pipelined", e->pipelined);
    PUT_COUNT(o, "excess_bytes", e->excess_bytes);
    PUT_FLAG(o, "tunnel", e->tunnelled);
    PUT_FLAG(o, "bare_lf", e->bare_lf);
    PUT_FLAG(o, "proxy_form", e->proxy_form);
    PUT_FLAG(o, "request_close", e->request_close);
    PUT_FLAG(o, "response_close", e->response_close);
    PUT_TEXT(o, "user_agent", e->user_agent);
}

void evidence_json(struct json_out *o, const struct lifecycle *l, void *arg) {
    const struct wire_evidence *e = l->evidence;
    const struct conn_json *how = arg;

    jo_object(o);
    put_packets(o, e);
    put_reset(o, e);
    JO_KEY(o, "zero_window_ms");
    jo_ms(o, e->local.zero_window_ns);
    JO_KEY(o, "retransmits");
    jo_u64(o, (uint64_t)e->local.retransmits + e->remote.retransmits);
    JO_KEY(o, "gaps");
    jo_u64(o, (uint64_t)e->local.gaps + e->remote.gaps);
    JO_KEY(o, "incomplete");
    put_incomplete(o, e->incomplete);
    JO_KEY(o, "conn_state");
    jo_word(o, e->conn_state);
    JO_KEY(o, "history");
    jo_word(o, e->history);
    put_messages(o, e);
    if (!(l->known & KNOW_OPENED)) {
        JO_KEY(o, "first_at");
        jo_time(o, e->first_ns + how->to_wall_ns);
    }
    JO_KEY(o, "last_at");
    jo_time(o, e->last_ns + how->to_wall_ns);
    JO_KEY(o, "local");
    put_end(o, &e->local);
    JO_KEY(o, "remote");
    put_end(o, &e->remote);
    if (e->tls) {
        JO_KEY(o, "tls");
        put_tls(o, e->tls);
    }
    if (e->exchanges) {
        JO_KEY(o, "exchanges");
        jo_array(o);
        for (uint32_t i = 0; i < e->n_exchanges; i++) put_exchange(o, &e->exchanges[i], e->first_ns);
        jo_array_end(o);
    }
    jo_object_end(o);
}
